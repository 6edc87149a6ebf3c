//! The workflow of a request as an absorbing Markov chain: expected visits, tokens, cost, P(success), P(escalation), latency.
//!
//! | file | holds |
//! |---|---|
//! | [`graph`] | the stages of `[[stage]]`, checked: ends are reached, every stage is priced |
//! | [`attempts`] | retries in closed form |
//! | [`chain`] | the chain solved |
//! | [`journeys`] | seeded journeys one by one: the latency along the paths, and the check of the chain |
//! | [`linear`] | a small system of linear equations |
//! | `load` | what a request asks of the model under comparison, in the terms of capacity and bills |
//! | `bill` | what the other stages cost, as entries of the bill |
//! | `measured` | failures and tokens as measured, in the place of typed ones |
//! | `latency` | the journeys' times in the plan |
//! | `summary` | the workflow as the plan shows it |

pub mod attempts;
pub(crate) mod bill;
pub mod chain;
pub mod graph;
pub mod journeys;
pub(crate) mod latency;
pub mod linear;
pub(crate) mod load;
pub(crate) mod measured;
pub(crate) mod summary;

pub use bill::measured_requests;
pub use chain::{Expected, StageExpected};
pub use graph::{ModelPrice, Workflow, read_stages};
pub use journeys::{Journeys, simulate};
