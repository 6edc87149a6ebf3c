//! Workload to capacity to cost to decision: pure functions, no clock, no I/O, no randomness but a seed.
//!
//! | file | holds |
//! |---|---|
//! | [`product`] | the product file, parsed once |
//! | [`traffic`] | the week's traffic and what the fleet must be ready for |
//! | [`capacity`] | what one replica carries and how many the week needs |
//! | [`queueing`] | waits in closed form, retries as load |
//! | [`simulator`] | a fleet event by event, on a step model |
//! | [`curve`] | measured points as a curve with a band |
//! | [`purchase`] | replicas of every hour, and what to buy |
//! | [`basis`] | what the bills are computed from, for a spreadsheet |
//! | [`fleet`] | the plan's capacity and purchase, from all of these |
//! | `imported` | the capacity from another harness's percentiles |
//! | [`scenario`] | scenarios crossed with stresses |
//! | [`horizon`] | the months ahead: growth, prices, present value, payback |
//! | [`machines`] | every measured machine under every term, and the cheapest of them |
//! | [`levers`] | switches of the product file, ranked by what they save |
//! | [`uncertainty`] | numbers as distributions, and how sure the answer is |
//! | [`allocation`] | who pays |
//! | [`diff`] | two plans side by side |
//! | [`actuals`] | production usage against the plan: unit economics, flags, the month forecast anew |
//! | [`explain`] | the tree under a number |
//! | `cost` | every line of an option's bill at a volume |
//! | `api_discounts` | cached and batch prices of managed APIs |
//! | `cost_models` | the options: our own replicas, and every managed API |
//! | [`workflow`] | the stages of a request as a Markov chain, their load and their bill |
//! | `measured_retries` | retries a request as measured, in the place of the typed ones |
//! | `waiting` | what waiting for the first token costs: who gives up, who asks again |
//! | [`stack`] | the lines beside inference, from their drivers |
//! | `assumptions` | what the product file types |
//! | `break_even` | where two cost curves cross |
//! | `decision` | the answer and what would change it |
//! | `economics` | what one request, success and resolved ticket come to |
//! | `summary` | the measurement in a reader's terms |
//! | [`plan`] | the plan's types |
//! | [`planning`] | all of it, in order |

pub mod actuals;
pub mod allocation;
mod api_discounts;
mod assumptions;
pub mod basis;
pub mod break_even;
pub mod capacity;
mod cost;
mod cost_models;
pub mod curve;
mod decision;
pub mod diff;
mod economics;
pub mod explain;
pub mod fleet;
pub mod horizon;
mod imported;
pub mod levers;
pub mod machines;
mod measured_retries;
mod owned;
pub mod plan;
pub mod planning;
pub mod product;
pub mod purchase;
pub mod queueing;
pub mod scenario;
pub mod simulator;
pub mod stack;
mod summary;
pub mod traffic;
pub mod uncertainty;
mod waiting;
pub mod workflow;

pub use breakeven_measurement::{step_fit, step_model};
pub use capacity::PlanError;
pub use machines::MeasuredMachine;
pub use measured_retries::own_retries;
pub use plan::Plan;
pub use planning::{PlanOptions, SELF_HOST, plan, plan_on};
pub use product::{Product, ProductError};
