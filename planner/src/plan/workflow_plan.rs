//! What a request does on its way through the stages, as part of a plan.

use serde::{Deserialize, Serialize};

use super::Provenance;
use crate::product::stage::StageKind;

/// The workflow of a request with one kind of option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WorkflowPlan {
    /// `self_host` or `api`.
    pub id: String,
    /// One row a stage, in the order of the product file.
    pub stages: Vec<StagePlan>,
    /// Share of requests that end in success without an escalation, before `success.probability`.
    pub success: f64,
    /// Share of requests that end in success, with or without an escalation.
    pub resolved: f64,
    /// Share of requests that reach an escalation.
    pub escalation: f64,
    /// Share of requests that end in failure.
    pub failure: f64,
    /// Attempts of the option's model a request, retries of the stages included, and of our own replicas repeats after long waits.
    pub attempts: f64,
    /// The same in requests as they were measured: what a replica's capacity is set against.
    pub measured_requests: f64,
    /// A person's minutes on a request.
    pub human_minutes: f64,
    /// Time of a request until its end or the first person; absent where a stage does not say how long its calls take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<JourneyLatency>,
    /// Where it comes from.
    pub from: Provenance,
}

/// Seconds along the paths, by seeded journeys one by one; percentiles are nearest rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct JourneyLatency {
    /// How many journeys.
    pub journeys: u64,
    /// Seed of their draws.
    pub seed: u64,
    /// Mean, seconds.
    pub mean_seconds: f64,
    /// Median, seconds.
    pub p50_seconds: f64,
    /// 90 % quantile, seconds.
    pub p90_seconds: f64,
    /// 95 % quantile, seconds.
    pub p95_seconds: f64,
    /// 99 % quantile, seconds.
    pub p99_seconds: f64,
    /// Where the stages' times come from.
    pub from: Provenance,
}

/// One stage, a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StagePlan {
    /// Its name.
    pub id: String,
    /// What happens there.
    pub kind: StageKind,
    /// Visits.
    pub visits: f64,
    /// Calls, each with its first attempt.
    pub calls: f64,
    /// Retries for failures of the infrastructure.
    pub infrastructure_retries: f64,
    /// Retries for failures of the product.
    pub product_retries: f64,
    /// Prompt tokens of first attempts; 0 where the stage gives none.
    pub input_tokens: f64,
    /// Answer tokens of first attempts.
    pub output_tokens: f64,
    /// Prompt tokens of retries, which may be longer.
    pub retried_input_tokens: f64,
    /// Answer tokens of retries.
    pub retried_output_tokens: f64,
    /// A person's minutes.
    pub minutes: f64,
    /// USD of first attempts and people; absent for the option's own model, whose calls are on the option's bill.
    pub usd: Option<f64>,
    /// USD of retries, likewise.
    pub retried_usd: Option<f64>,
    /// Where its USD comes from, down to the price sheet's row; absent where it has none, and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_from: Option<Provenance>,
    /// Where its USD of retries comes from, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_usd_from: Option<Provenance>,
    /// Where its visits come from.
    pub from: Provenance,
}
