//! `[[stack.…]]`: the lines beside inference, by drivers that a person can measure. What each comes to is in [`crate::stack`].

use breakeven_measurement::Fraction;
use serde::Deserialize;

use super::{
    OnlyFor,
    text::{NonNegative, Positive, Price},
};

/// `[stack]`. A table may stand more than once, each for other options (`only`) or another part of the same line.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StackTables {
    /// What requests leave behind.
    pub storage: Vec<StorageTable>,
    /// Traffic out of the network.
    pub network: Vec<NetworkTable>,
    /// Load balancers.
    pub load_balancing: Vec<LoadBalancingTable>,
    /// Vector store, queries and index builds.
    pub retrieval: Vec<RetrievalTable>,
    /// Logs, traces, metrics, evaluations: one table a kind of signal.
    pub observability: Vec<ObservabilityTable>,
    /// People's minutes: one table a kind of work.
    pub support: Vec<SupportTable>,
    /// Reviews, audits, tooling, redaction.
    pub compliance: Vec<ComplianceTable>,
    /// Building and running.
    pub engineering: Vec<EngineeringTable>,
    /// Work that keeps the product as good as it was.
    pub operational_debt: Vec<OperationalDebtTable>,
    /// Moving to the option.
    pub switching: Vec<SwitchingTable>,
}

/// `[[stack.storage]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageTable {
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Gigabytes kept of a request.
    #[serde(default)]
    pub gb_per_request: NonNegative,
    /// Months they are kept.
    #[serde(default)]
    pub retention_months: NonNegative,
    /// Gigabytes kept whatever the traffic (weights, backups).
    #[serde(default)]
    pub fixed_gb: NonNegative,
    /// Price of a gigabyte for a month.
    pub usd_per_gb_month: Price,
}

/// `[[stack.network]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkTable {
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Gigabytes that leave the network a request.
    pub egress_gb_per_request: NonNegative,
    /// Price of a gigabyte out.
    pub usd_per_gb: Price,
}

/// `[[stack.load_balancing]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancingTable {
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Balancers that run all month.
    #[serde(default)]
    pub balancers: NonNegative,
    /// Price of one a month.
    #[serde(default)]
    pub usd_per_balancer_month: Price,
    /// Gigabytes through it a request.
    #[serde(default)]
    pub gb_per_request: NonNegative,
    /// Price of a gigabyte through it.
    #[serde(default)]
    pub usd_per_gb: Price,
}

/// `[[stack.retrieval]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrievalTable {
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Queries a request.
    #[serde(default)]
    pub queries_per_request: NonNegative,
    /// Price of a thousand queries.
    #[serde(default)]
    pub usd_per_thousand_queries: Price,
    /// Tokens of a query that are embedded.
    #[serde(default)]
    pub embedded_tokens_per_query: NonNegative,
    /// Price of a million embedded tokens.
    #[serde(default)]
    pub usd_per_million_embedded_tokens: Price,
    /// Gigabytes of vectors kept.
    #[serde(default)]
    pub stored_gb: NonNegative,
    /// Price of a gigabyte of vectors for a month.
    #[serde(default)]
    pub usd_per_gb_month: Price,
    /// Times a month the index is built anew.
    #[serde(default)]
    pub index_builds_per_month: NonNegative,
    /// Tokens embedded by a build.
    #[serde(default)]
    pub tokens_per_index_build: NonNegative,
}

/// `[[stack.observability]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObservabilityTable {
    /// What is observed: logs, traces, metrics, evaluations.
    pub kind: String,
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Gigabytes a request writes before sampling.
    pub gb_per_request: NonNegative,
    /// Share that is kept; all where left out.
    #[serde(default = "all")]
    pub sampled_share: Fraction,
    /// Pipelines that each take the data in; 1 where left out, 2 where every log goes to two systems.
    #[serde(default = "one")]
    pub pipelines: Positive,
    /// Price of a gigabyte taken in.
    #[serde(default)]
    pub usd_per_gb_ingested: Price,
    /// Months in the hot tier.
    #[serde(default)]
    pub hot_months: NonNegative,
    /// Price of a gigabyte for a month there.
    #[serde(default)]
    pub hot_usd_per_gb_month: Price,
    /// Months in the warm tier, after the hot one.
    #[serde(default)]
    pub warm_months: NonNegative,
    /// Price of a gigabyte for a month there.
    #[serde(default)]
    pub warm_usd_per_gb_month: Price,
    /// Months in the archive, after the warm tier.
    #[serde(default)]
    pub archive_months: NonNegative,
    /// Price of a gigabyte for a month there.
    #[serde(default)]
    pub archive_usd_per_gb_month: Price,
    /// Gigabytes that queries read a month.
    #[serde(default)]
    pub queried_gb_per_month: NonNegative,
    /// Price of a gigabyte read.
    #[serde(default)]
    pub usd_per_gb_queried: Price,
}

/// `[[stack.support]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SupportTable {
    /// What is done: escalation, QA, review, incidents.
    pub kind: String,
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// A person's minutes for every 100 requests, whatever came of them.
    #[serde(default)]
    pub minutes_per_100_interactions: NonNegative,
    /// A person's minutes on a request that did not succeed.
    #[serde(default)]
    pub minutes_per_failure: NonNegative,
    /// Handle time of those over handle time without the product: 1.2 where a handed-over case takes a fifth longer; 1 where
    /// left out.
    #[serde(default = "one")]
    pub handle_time_ratio: Positive,
    /// Loaded cost of an hour: wage, benefits, workplace.
    pub loaded_usd_per_hour: Price,
}

/// `[[stack.compliance]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComplianceTable {
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Reviews a year.
    #[serde(default)]
    pub reviews_per_year: NonNegative,
    /// Price of a review.
    #[serde(default)]
    pub usd_per_review: Price,
    /// Audits a year.
    #[serde(default)]
    pub audits_per_year: NonNegative,
    /// Price of an audit.
    #[serde(default)]
    pub usd_per_audit: Price,
    /// Tools.
    #[serde(default)]
    pub tooling_usd_per_month: Price,
    /// Taking personal data out of a million requests.
    #[serde(default)]
    pub redaction_usd_per_million_requests: Price,
}

/// `[[stack.engineering]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineeringTable {
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Person-months to build it, once.
    #[serde(default)]
    pub build_fte_months: NonNegative,
    /// Months over which that is paid off.
    #[serde(default = "three_years")]
    pub life_months: Positive,
    /// People who keep it running.
    #[serde(default)]
    pub run_fte: NonNegative,
    /// Loaded cost of a person for a year.
    pub loaded_usd_per_fte_year: Price,
}

/// `[[stack.operational_debt]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationalDebtTable {
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Hours a month on prompts that stopped working.
    #[serde(default)]
    pub prompt_maintenance_hours_per_month: NonNegative,
    /// Hours a month reading samples of answers.
    #[serde(default)]
    pub qa_review_hours_per_month: NonNegative,
    /// Hours a month of incident drills.
    #[serde(default)]
    pub incident_drill_hours_per_month: NonNegative,
    /// Loaded cost of an hour.
    #[serde(default)]
    pub loaded_usd_per_hour: Price,
    /// Evaluation runs a month.
    #[serde(default)]
    pub evaluation_runs_per_month: NonNegative,
    /// Price of a run.
    #[serde(default)]
    pub usd_per_evaluation_run: Price,
    /// Growth a year from the second year on; none where left out.
    #[serde(default)]
    pub growth_per_year: NonNegative,
    /// Whether someone works it off, so that it does not grow.
    #[serde(default)]
    pub optimised: bool,
}

/// `[[stack.switching]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchingTable {
    /// The options it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figures come from.
    pub note: Option<String>,
    /// Engineering, once.
    #[serde(default)]
    pub engineering_usd: Price,
    /// Regression tests, once.
    #[serde(default)]
    pub regression_usd: Price,
    /// Validating anew, once.
    #[serde(default)]
    pub revalidation_usd: Price,
    /// Compliance, once.
    #[serde(default)]
    pub compliance_usd: Price,
    /// What leaving before the end costs.
    #[serde(default)]
    pub early_exit_usd: Price,
    /// How likely that is; 0 where left out.
    #[serde(default = "none")]
    pub early_exit_probability: Fraction,
    /// Months the option is expected to be used.
    pub life_months: Positive,
}

fn all() -> Fraction {
    Fraction::ONE
}

fn none() -> Fraction {
    Fraction::ZERO
}

fn one() -> Positive {
    Positive::try_from(1.0).expect("1 is above 0")
}

fn three_years() -> Positive {
    Positive::try_from(36.0).expect("36 is above 0")
}
