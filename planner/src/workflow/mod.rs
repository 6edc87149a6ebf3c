//! The workflow of a request as an absorbing Markov chain: expected visits, tokens, cost, P(success), P(escalation), latency.
//!
//! | file | holds |
//! |---|---|
//! | [`graph`] | the stages of `[[stage]]`, checked: ends are reached, every stage is priced |
//! | [`attempts`] | retries in closed form |
//! | [`chain`] | the chain solved |
//! | [`journeys`] | seeded journeys one by one: the latency along the paths, and the check of the chain |
//! | [`linear`] | a small system of linear equations |
//!
//! Nothing of the plan uses it yet.

pub mod attempts;
pub mod chain;
pub mod graph;
pub mod journeys;
pub mod linear;

pub use chain::{Expected, StageExpected};
pub use graph::{ModelPrice, Workflow, read_stages};
pub use journeys::{Journeys, simulate};
