//! What a benchmark run found: the one file that passes from the lab to the planner.
//!
//! | file | holds |
//! |---|---|
//! | [`run`] | the whole file: machine, model, target, levels, search |
//! | [`level`] | one load level, overall and by traffic segment |
//! | [`headline`], [`metric`] | the figures a level is judged by, and their intervals within a run and between runs |
//! | [`repeats`] | the runs of a level that was measured several times, as one |
//! | [`series`] | one latency series as an HdrHistogram, failures as +infinity |
//! | [`hlog`] | latency series as an HdrHistogram interval log |
//! | [`search`] | the search for the highest rate under the SLO |
//! | [`sweep`] | the throughput/latency curve of a closed loop |
//! | [`slo`], [`workload`] | what was asked: targets, segments, lengths |
//! | [`validity`] | whether a level may be believed, with reasons |
//! | [`shard`], [`merge`] | one generator's part of a load, and the parts added up again |
//! | [`compare`], [`interval`] | two measurements side by side, and how sure a difference is |
//! | [`import`] | results of other harnesses |
//! | [`steps`] | how long a step of the target takes: the fitted model and a sample of the log |
//! | [`step_model`], [`step_fit`] | the model and its fit, non-negative least squares |
//! | [`quantity`] | rates and fractions that cannot hold nonsense |
//! | [`file`] | reading and writing, whole or not at all |

pub mod compare;
pub mod file;
mod findings;
pub mod headline;
pub mod hlog;
pub mod import;
pub mod interval;
mod least_squares;
pub mod level;
pub mod merge;
pub mod metric;
pub mod quantity;
pub mod repeats;
pub mod run;
pub mod search;
pub mod self_check;
pub mod series;
pub mod shard;
pub mod slo;
pub mod step_fit;
pub mod step_model;
pub mod steps;
pub mod sweep;
pub mod validity;
pub mod workload;

pub use headline::Headline;
pub use level::{FailureCause, LevelName, LevelResult, LoadResult};
pub use metric::Metric;
pub use quantity::{Fraction, RequestRate};
pub use repeats::Repeats;
pub use run::Measurement;
pub use search::{CapacityEstimate, SearchRecord};
pub use self_check::SelfCheck;
pub use series::{LatencySeries, Quantile};
pub use shard::Shard;
pub use slo::Slo;
pub use steps::StepEvidence;
pub use sweep::SweepPoint;
pub use validity::{Finding, Validity, Verdict};
pub use workload::{Lengths, PromptText, Segment, Session, Workload};
