//! The plan: what the planner concluded, with every number's origin. The report renders it and computes nothing.

pub mod decision_plan;
pub mod economics;
pub mod fleet_plan;
pub mod workflow_plan;

use breakeven_hardware::{Usd, sheet::Term};
use breakeven_measurement::{Fraction, Headline, LevelName, RequestRate, Slo, Verdict};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// The format this version writes. Bumped when the meaning of a field changes.
pub const FORMAT: &str = "breakeven.plan/1";

/// Where a number comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Provenance {
    /// Measured in a run.
    Measured {
        /// Run id of the measurement.
        run_id: String,
        /// What in it: `levels.expected.goodput`.
        path: String,
    },
    /// A row of a price sheet.
    PriceSheet {
        /// Which row: `openai / gpt-5-nano`.
        row: String,
        /// Source address or file.
        source: String,
        /// Date the price was read; absent where the sheet does not say.
        #[schemars(with = "Option<String>")]
        date: Option<Date>,
        /// Whether it is older than the limit on the day of the plan.
        stale: bool,
    },
    /// Published by someone else.
    Published {
        /// Where.
        reference: String,
    },
    /// Typed into the product file, or a default that stands in for what it leaves out.
    Assumption {
        /// Path in the product file, for example `fleet.usd_per_hour`.
        path: String,
        /// What the file says about it, or why the default.
        note: Option<String>,
    },
    /// Computed from other numbers.
    Computed {
        /// Formula in words, with the names of its inputs.
        formula: String,
        /// The inputs.
        inputs: Vec<Input>,
    },
}

/// A named input of a computed number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Input {
    /// Name as the formula uses it, unit included.
    pub name: String,
    /// Its value, for a reader.
    pub value: String,
    /// Where it comes from.
    pub from: Provenance,
}

/// How a performance figure was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Seen.
    Measured,
    /// Between measured points.
    Interpolated,
    /// Outside them: wider error, and said.
    Extrapolated,
    /// From published specifications.
    Estimated,
}

/// The plan of one product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// [`FORMAT`] of the version that wrote it.
    pub format: String,
    /// Version of breakeven that planned.
    pub breakeven_version: String,
    /// The product's name.
    pub product: String,
    /// Day the plan is for: prices are judged stale against it.
    #[schemars(with = "String")]
    pub as_of: Date,
    /// The measurement behind it, for a reader.
    pub measured: MeasuredSummary,
    /// The product's traffic.
    pub traffic: TrafficSummary,
    /// What one replica carries and how many are needed.
    pub fleet: Fleet,
    /// Every option on the same workload, cheapest per successful outcome first; infeasible ones last.
    pub options: Vec<OptionPlan>,
    /// Self-host against each API.
    pub break_evens: Vec<BreakEven>,
    /// The answer.
    pub decision: Decision,
    /// Measured throughput and latency against offered load, for the chart.
    pub load_curve: Vec<LoadPoint>,
    /// Monthly cost of each option against volume, for the chart.
    pub cost_curve: Vec<CostPoint>,
    /// Capacity and purchase of our own replicas in full; absent where they cannot be had, and in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet_plan: Option<fleet_plan::FleetPlan>,
    /// Everything typed rather than measured or looked up.
    pub assumptions: Vec<Assumption>,
    /// What the planner found against its own result.
    pub warnings: Vec<String>,
    /// Scenarios crossed with stresses; absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenarios: Option<decision_plan::ScenarioMatrix>,
    /// The months ahead; absent without a `[horizon]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<decision_plan::HorizonPlan>,
    /// How sure the answer is, the tornado and the flips; absent where nothing is uncertain or nothing can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<decision_plan::Uncertainty>,
    /// Who pays; empty without an `[[allocation]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<decision_plan::AllocationPlan>,
    /// What the bills are computed from; absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_basis: Option<crate::basis::CostBasis>,
    /// What a request does, for our own replicas and for managed APIs; empty without a `[[stage]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflow: Vec<workflow_plan::WorkflowPlan>,
}

/// What was measured, in a reader's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MeasuredSummary {
    /// Run id.
    pub run_id: String,
    /// Machine in one line.
    pub machine: String,
    /// Model in one line.
    pub model: String,
    /// Whether the weights were real; false means seeded noise in the same shapes.
    pub real_weights: bool,
    /// Whether the run reached its end.
    pub complete: bool,
    /// The SLO in one line.
    pub slo: String,
    /// The same in numbers, for the line in the charts; absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo_limits: Option<Slo>,
    /// One row a level.
    pub levels: Vec<LevelSummary>,
}

/// One load level in a reader's terms. Latencies are seconds; absent where the rank falls among failures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LevelSummary {
    /// Which level.
    pub name: LevelName,
    /// Offered requests per second.
    pub offered_per_second: f64,
    /// Completed requests per second.
    pub achieved_per_second: f64,
    /// Share of scheduled requests within the SLO.
    pub goodput: Option<Fraction>,
    /// Median TTFT, seconds.
    pub ttft_p50_seconds: Option<f64>,
    /// p95 TTFT, seconds.
    pub ttft_p95_seconds: Option<f64>,
    /// Median TPOT, seconds.
    pub tpot_p50_seconds: Option<f64>,
    /// Median E2E, seconds.
    pub e2e_p50_seconds: Option<f64>,
    /// p95 E2E, seconds.
    pub e2e_p95_seconds: Option<f64>,
    /// Output tokens per second.
    pub output_tokens_per_second: f64,
    /// Mean sequences a step.
    pub batch_occupancy: Option<f64>,
    /// Requests scheduled in the window.
    pub scheduled: u64,
    /// Requests failed.
    pub failed: u64,
    /// Whether to believe it.
    pub verdict: Verdict,
    /// Why not.
    pub findings: Vec<String>,
    /// Its headline figures with their intervals; none in files of earlier versions and of few requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headlines: Vec<Headline>,
}

/// The product's traffic. With `[[stage]]`, rates count requests as they were measured: a call of other lengths is as many of them as its
/// tokens take time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TrafficSummary {
    /// Requests a month, retries not included.
    pub requests_per_month: f64,
    /// Attempts a month, retries included: what the target sees. With `[[stage]]`, all calls of our own model.
    pub attempts_per_month: f64,
    /// How often a request of our own replicas is asked, repeats after long waits included.
    #[serde(default = "crate::basis::once", skip_serializing_if = "crate::basis::is_once")]
    pub asked_per_request: f64,
    /// Mean attempts per second.
    pub mean_rate: RequestRate,
    /// Attempts per second in the busiest hour of the week.
    pub peak_hour_rate: RequestRate,
    /// The same with the burst factor: what the fleet is sized for.
    pub design_rate: RequestRate,
    /// Mean prompt tokens a request, each time it is asked, in the benchmarked model's tokenizer.
    pub mean_input_tokens: f64,
    /// Mean answer tokens a request.
    pub mean_output_tokens: f64,
}

/// What one replica carries and how many the traffic needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fleet {
    /// Highest rate one replica carries under the SLO.
    pub replica_capacity: Option<ReplicaCapacity>,
    /// Replicas for the design rate, none lost: the naive quotient, rounded up.
    pub replicas_naive: Option<u32>,
    /// Replicas to buy: design rate with `replicas_lost` down.
    pub replicas: Option<u32>,
    /// Replicas that may be lost without missing the SLO.
    pub replicas_lost: u32,
    /// Replicas needed in each hour of the week, Monday 00:00 first.
    pub replicas_by_hour: Vec<u32>,
    /// 1 − mean rate ÷ (replicas × capacity): capacity kept idle on average, on purpose.
    pub headroom: Option<Fraction>,
    /// Mean rate ÷ (replicas × capacity).
    pub utilization: Option<Fraction>,
    /// Where the replica count comes from.
    pub from: Provenance,
}

impl Fleet {
    /// Mean rate over the capacity of the replicas that are paid for: those of every hour where hours are rented, else all.
    pub fn paid_utilization(&self, term: Term) -> Option<f64> {
        let all = self.utilization?.get();
        let by_hour = &self.replicas_by_hour;
        match term {
            Term::OnDemand | Term::Spot if !by_hour.is_empty() => {
                let mean = by_hour.iter().map(|n| f64::from(*n)).sum::<f64>() / by_hour.len() as f64;
                Some((all * f64::from(self.replicas?) / mean.max(f64::MIN_POSITIVE)).min(1.0))
            }
            _ => Some(all),
        }
    }
}

/// The rate one replica carries under the SLO, with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReplicaCapacity {
    /// Best estimate.
    pub rate: RequestRate,
    /// Low end, where known.
    pub low: Option<RequestRate>,
    /// High end, where known.
    pub high: Option<RequestRate>,
    /// How it was obtained.
    pub basis: Basis,
}

/// One option, costed on the product's workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OptionPlan {
    /// Stable identifier: `self_host`, `api:openai/gpt-5-nano`.
    pub id: String,
    /// Name for a reader.
    pub name: String,
    /// What kind of option.
    pub kind: OptionKind,
    /// Why it cannot be had; absent where it can.
    pub infeasible: Option<String>,
    /// Every line item of DESIGN §4, in its stable order; unset lines are explicit zeros.
    pub lines: Vec<CostLine>,
    /// The sum of the lines, always.
    pub usd_per_month: Usd,
    /// Monthly cost over requests.
    pub usd_per_request: Usd,
    /// Share of requests that succeed.
    pub success_probability: Fraction,
    /// Monthly cost over successful outcomes; absent where none succeeds.
    pub usd_per_successful_outcome: Option<Usd>,
    /// Low and high end of the monthly cost where measurement noise moves it.
    pub usd_per_month_interval: Option<(Usd, Usd)>,
    /// Hourly price of a busy replica-hour's work, shown beside reservation, never instead. Self-host only.
    pub usd_per_busy_hour: Option<Usd>,
    /// Inference cost alone over generated tokens, in USD per million output tokens.
    pub usd_per_million_output_tokens: Option<Usd>,
    /// What one request, one success and one resolved ticket come to; what the product does not give is not in it. Empty where the
    /// option cannot be had, and in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unit_economics: Vec<economics::UnitFigure>,
}

/// What kind of option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OptionKind {
    /// Our own replicas of the measured machine.
    SelfHost {
        /// How many.
        replicas: u32,
        /// Price of one replica-hour.
        usd_per_replica_hour: Usd,
        /// Purchase term, as the price row or product file names it.
        term: String,
        /// Where the price comes from.
        price_from: Provenance,
    },
    /// A managed API.
    Api {
        /// Provider in the price sheet.
        provider: String,
        /// Model in the price sheet.
        model: String,
        /// Where the price comes from.
        price_from: Provenance,
    },
}

/// The full stack of DESIGN §4, in the order every report prints it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LineItem {
    /// Model calls: replica-hours, or API tokens.
    Inference,
    /// Second and later attempts.
    Retries,
    /// Guardrail and moderation calls.
    Guardrails,
    /// Calls to a fallback model or service.
    Fallbacks,
    /// Response and prefix caches.
    Caching,
    /// Embedding, retrieval, vector store.
    Retrieval,
    /// Other compute.
    Compute,
    /// Storage.
    Storage,
    /// Network egress.
    Network,
    /// Load balancing.
    LoadBalancing,
    /// Logs, traces, metrics, evaluations.
    Observability,
    /// People: escalation, QA, review, incidents.
    Support,
    /// Reviews, audit, redaction.
    Compliance,
    /// Build and run.
    Engineering,
    /// Prompt maintenance, QA review, evaluation runs, incident drills.
    OperationalDebt,
    /// Leaving the present solution, amortised.
    SwitchingCosts,
    /// Abandonment and repeats caused by latency.
    CostOfLatency,
}

impl LineItem {
    /// All lines in printing order.
    pub const ALL: [Self; 17] = [
        Self::Inference,
        Self::Retries,
        Self::Guardrails,
        Self::Fallbacks,
        Self::Caching,
        Self::Retrieval,
        Self::Compute,
        Self::Storage,
        Self::Network,
        Self::LoadBalancing,
        Self::Observability,
        Self::Support,
        Self::Compliance,
        Self::Engineering,
        Self::OperationalDebt,
        Self::SwitchingCosts,
        Self::CostOfLatency,
    ];

    /// The label a report prints.
    pub fn label(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Retries => "retries",
            Self::Guardrails => "guardrails",
            Self::Fallbacks => "fallbacks",
            Self::Caching => "caching",
            Self::Retrieval => "retrieval",
            Self::Compute => "compute",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::LoadBalancing => "load balancing",
            Self::Observability => "observability",
            Self::Support => "support",
            Self::Compliance => "compliance",
            Self::Engineering => "engineering",
            Self::OperationalDebt => "operational debt",
            Self::SwitchingCosts => "switching costs",
            Self::CostOfLatency => "cost of latency",
        }
    }
}

/// One line of an option's bill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CostLine {
    /// Which line.
    pub line: LineItem,
    /// Cost a month.
    pub usd_per_month: Usd,
    /// Where it comes from.
    pub from: Provenance,
}

/// Self-host against one API, over volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BreakEven {
    /// Option id of the API.
    pub api: String,
    /// The API's name for a reader.
    pub api_name: String,
    /// The volume from which self-host is cheaper per successful outcome and stays so.
    pub outcome: BreakEvenOutcome,
    /// Low and high end of that volume from the capacity interval, in requests a month; an end is absent where the
    /// capacity has no such end, or where no volume looked at is a break-even there.
    pub interval: (Option<f64>, Option<f64>),
}

/// Where two cost curves cross.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum BreakEvenOutcome {
    /// Self-host is cheaper from this volume on.
    At {
        /// Requests a month.
        requests_per_month: f64,
    },
    /// Self-host is cheaper at every volume looked at.
    Always,
    /// Self-host is dearer at every volume up to the largest looked at.
    Never {
        /// The largest volume looked at, in requests a month.
        up_to_requests_per_month: f64,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Decision {
    /// Option id of the cheapest feasible option per successful outcome.
    pub choice: Option<String>,
    /// One sentence: what to do and by how much.
    pub headline: String,
    /// What would change it, most important first.
    pub would_change: Vec<String>,
}

/// One point of the measured throughput/latency curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LoadPoint {
    /// Where it comes from: `probe` or a level's name.
    pub source: String,
    /// Offered requests per second.
    pub offered_per_second: f64,
    /// Completed requests per second.
    pub achieved_per_second: f64,
    /// Share within the SLO.
    pub goodput: Option<Fraction>,
    /// Median TTFT, seconds.
    pub ttft_p50_seconds: Option<f64>,
    /// p95 TTFT, seconds.
    pub ttft_p95_seconds: Option<f64>,
    /// Median TPOT, seconds.
    pub tpot_p50_seconds: Option<f64>,
    /// Output tokens per second.
    pub output_tokens_per_second: f64,
}

/// Monthly cost of every option at one volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CostPoint {
    /// Requests a month.
    pub requests_per_month: f64,
    /// Option id and monthly cost, in the order of [`Plan::options`].
    pub usd_per_month: Vec<(String, Usd)>,
}

/// A typed number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Assumption {
    /// Path in the product file.
    pub path: String,
    /// Value, for a reader, with its unit.
    pub value: String,
    /// What the file says of it, or why this default.
    pub note: Option<String>,
    /// Whether it is a default that the file leaves out.
    pub default: bool,
}
