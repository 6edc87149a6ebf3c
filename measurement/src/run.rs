//! The whole measurement: what ran, where, with what settings, and what was found.

use breakeven_hardware::{Bytes, Machine};
use breakeven_models::ModelRecord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    import::Imported,
    level::{LevelName, LevelResult},
    repeats::Repeats,
    search::SearchRecord,
    self_check::SelfCheck,
    shard::Shard,
    slo::Slo,
    steps::StepEvidence,
    sweep::SweepPoint,
    workload::Workload,
};

/// The format this version writes. Bumped when the meaning of a field changes.
pub const FORMAT: &str = "breakeven.measurement/1";

/// Whether a run reached its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Status {
    /// Every level ran to the end of its schedule.
    Complete,
    /// It stopped early; what is here is what finished.
    Incomplete {
        /// Why: Ctrl-C, an error.
        reason: String,
    },
}

/// What was driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Target {
    /// The in-process engine and its settings.
    Engine(EngineRecord),
    /// An OpenAI-compatible endpoint.
    Endpoint {
        /// Base address, without credentials.
        url: String,
        /// Model name sent to it.
        model: String,
    },
    /// The built-in mock: numbers of a test, never of a model.
    Mock,
}

/// Settings of the in-process engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EngineRecord {
    /// Device: `cpu`, `cuda:0`.
    pub device: String,
    /// Matrix-product path (`packed-avx512vnni`, `candle`…).
    pub backend: String,
    /// Compute threads.
    pub threads: u32,
    /// Most sequences in one step.
    pub max_sequences: u32,
    /// Longest context of one sequence, in tokens.
    pub max_context_tokens: u32,
    /// Most tokens one step computes.
    pub step_token_budget: u32,
    /// Memory set aside for KV.
    pub kv_memory: Bytes,
    /// Seconds to load the weights.
    pub load_seconds: f64,
}

/// What a benchmark run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Measurement {
    /// [`FORMAT`] of the version that wrote it.
    pub format: String,
    /// Identifies the run in provenance trees.
    pub run_id: String,
    /// When it began.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// Version of breakeven that ran it.
    pub breakeven_version: String,
    /// Whether it reached its end.
    pub status: Status,
    /// Where it ran.
    pub machine: Machine,
    /// What ran; absent for an endpoint that does not say.
    pub model: Option<ModelRecord>,
    /// What was driven.
    pub target: Target,
    /// What was asked for.
    pub workload: Workload,
    /// What counts as good.
    pub slo: Slo,
    /// Seed of schedules, lengths and prompts.
    pub seed: u64,
    /// The part of the load that this generator sent; absent where it sent all of it. The levels' `target_rate` is
    /// then that of the whole load, of all parts together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// What the load generator could do there; absent in old files and in merged ones, whose generators keep their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_check: Option<SelfCheck>,
    /// The runs that were merged into this one; empty where it is one run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<Generator>,
    /// The search for the highest rate under the SLO; absent where rates were given.
    pub search: Option<SearchRecord>,
    /// How often the levels ran, where that was more than once; each level is then that of all its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
    /// The load levels that ran, lightest first.
    pub levels: Vec<LevelResult>,
    /// The throughput/latency curve, where a sweep was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<SweepPoint>,
    /// How long a step of the target takes; absent in old files, in merged ones, and where nothing told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<StepEvidence>,
    /// What came in from another harness; absent where we measured ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
}

/// One of the runs that a merged measurement adds up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Generator {
    /// Its run.
    pub run_id: String,
    /// When it began.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// Whether it reached its end.
    pub status: Status,
    /// Its seed.
    pub seed: u64,
    /// Which part of the load it sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Where it ran.
    pub machine: Machine,
    /// What it could do there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_check: Option<SelfCheck>,
}

impl Measurement {
    /// The level of that name, where it ran.
    pub fn level(&self, name: LevelName) -> Option<&LevelResult> {
        self.levels.iter().find(|level| level.name == name)
    }
}
