//! Load: arrival schedules, workloads, targets, recorder, validity, search.
//!
//! | file | holds |
//! |---|---|
//! | [`schedule`] | when requests are due: absolute, seeded |
//! | [`trace`] | arrivals and lengths of real services, from published traces |
//! | [`requests`] | what each request asks: segment, lengths, a unique prompt |
//! | [`target`] | what is driven: the mock, the in-process engine, an OpenAI-compatible server |
//! | [`policy`] | retries, fallback, spend cap: a target with a client's policy in front |
//! | [`criteria`] | what makes an answer a success |
//! | [`drive`] | a schedule through a target, open loop or capped: what was sent, what came back |
//! | [`self_check`] | the generator measured by itself, against targets that answer at once |
//! | `send` | the sender: each request at its due time, on a clock of its own |
//! | [`launch`] | starting the server that is measured, and stopping it whatever happens |
//! | [`journal`] | every attempt on disk as it finishes, and going on from there |
//! | [`export`] | journals and measurements as CSV, Parquet and histogram logs |
//! | [`bootstrap`] | a level's headline figures with their intervals |
//! | [`tally`] | attempts to [`breakeven_measurement::LoadResult`] |
//! | [`search`] | the highest rate under the SLO: which rate to try next |
//! | [`capacity`] | the capacity that all probes and levels together support |
//! | [`steady`] | when a series has settled: MSER-5 |
//! | [`step_rows`] | rows for the step model from a target without a step log |
//! | [`sweep`] | closed loop at one concurrency after another |
//! | [`validity`] | findings against a level |
//! | [`resources`] | CPU, memory, steal beside a level |
//! | [`run`] | search, then baseline, expected and stress |
//!
//! The crate prints nothing: [`run::RunEvent`]s say what happens. It knows no money.

pub mod bootstrap;
pub mod capacity;
pub mod criteria;
pub mod drive;
pub mod export;
pub mod journal;
pub mod launch;
mod nanoseconds;
pub mod policy;
pub mod requests;
pub mod resources;
pub mod run;
pub mod schedule;
pub mod search;
pub mod self_check;
mod send;
pub mod steady;
pub mod step_rows;
pub mod sweep;
pub mod tally;
pub mod target;
mod texts;
pub mod trace;
pub mod validity;

pub use run::{Durations, Repeating, RunEvent, RunPlan, Until, run};
