//! What the plan says of capacity and purchase: every hour's fleet and why it is that large, what to buy, what the simulator
//! found, and what losing a replica at peak does. Latencies are seconds, rates requests per second, money a month of 730.5 hours.

use breakeven_hardware::Usd;
use breakeven_measurement::{Fraction, step_model::StepModel};
use serde::{Deserialize, Serialize};

use super::Provenance;

/// Capacity and purchase of our own replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FleetPlan {
    /// The 168 hours of the week, Monday 00:00 first.
    pub hours: Vec<FleetHour>,
    /// Why the busiest hour has that many replicas: each step's count, in order, ending at the fleet.
    pub headroom: Vec<HeadroomStep>,
    /// The load-duration curve: one point a replica, the one needed longest first.
    pub load_duration: Vec<LoadDurationPoint>,
    /// The cheapest purchase, where a price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase: Option<PurchasePlan>,
    /// Traffic, fleet and cost month by month over the horizon; empty where the product file gives no growth, season or spike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub months: Vec<FleetMonth>,
    /// Launches and other short spikes, each with the fleet it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spikes: Vec<SpikeFleet>,
    /// What the simulator found; absent where the measurement holds no step model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulation: Option<SimulationCheck>,
    /// A replica lost in the busiest hour; absent where nothing can be simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_loss: Option<ReplicaLoss>,
    /// The autoscaler's settings as the simulation chose them; absent where nothing can be simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingPlan>,
    /// Timeouts and repeats solved together with the demand; absent where the product file sets no repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetryBalance>,
    /// What other latency targets would cost; absent where the product file has no `[latency]` or nothing can be simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyFrontier>,
    /// What is missing here, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The bill of our own replicas along the SLO's frontier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LatencyFrontier {
    /// From the loosest targets to the tightest.
    pub points: Vec<FrontierPoint>,
    /// Where it comes from.
    pub from: Provenance,
}

/// The bill under some targets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FrontierPoint {
    /// The SLO's targets times this; 1 is the SLO itself.
    pub times: f64,
    /// TTFT target, seconds.
    pub ttft_seconds: Option<f64>,
    /// TPOT target, seconds.
    pub tpot_seconds: Option<f64>,
    /// E2E target, seconds.
    pub e2e_seconds: Option<f64>,
    /// Requests per second that one replica carries under them; absent where no rate meets them.
    pub capacity_per_second: Option<f64>,
    /// Replicas of the busiest hour.
    pub replicas: Option<u32>,
    /// The option's bill, but for what those who give up would have been worth.
    pub usd_per_month: Option<Usd>,
    /// Bill less that of the looser targets before: the price of the tightening.
    pub usd_more: Option<Usd>,
    /// Share of the requests given up while waiting for the first token, at the mean load of the mean hour; absent without a curve.
    pub abandoned: Option<f64>,
    /// What those would have been worth; absent without `success.value_usd_per_success`.
    pub lost_usd_per_month: Option<Usd>,
    /// Whether bill and lost value together are less than under the looser targets before: the tightening pays for itself.
    pub pays: Option<bool>,
}

/// One hour of the week.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FleetHour {
    /// Mean attempts per second, deferrable work where it was moved to.
    pub mean_per_second: f64,
    /// What the hour must be ready for: the busiest hour within the scale-up lag, times the burst factor.
    pub ready_per_second: f64,
    /// Replicas to have.
    pub replicas: u32,
}

/// One step from the naive quotient to the fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HeadroomStep {
    /// What is taken into account, for a reader: `busiest hour's mean`, `scale-up lag`, `a zone lost`…
    pub because: String,
    /// Replicas with this and all steps before it.
    pub replicas: u32,
    /// Where it comes from.
    pub from: Provenance,
}

/// How a replica is paid.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PurchaseKind {
    /// Bought.
    Owned,
    /// Reserved for three years.
    Reserved3y,
    /// Reserved for a year.
    Reserved1y,
    /// By the hour.
    OnDemand,
    /// By the hour, and taken back when the provider wants it.
    Spot,
    /// No replica: its requests go to an API.
    Overflow,
}

impl PurchaseKind {
    /// The label a report prints.
    pub fn label(self) -> &'static str {
        match self {
            Self::Owned => "owned",
            Self::Reserved3y => "reserved 3 years",
            Self::Reserved1y => "reserved 1 year",
            Self::OnDemand => "on demand",
            Self::Spot => "spot",
            Self::Overflow => "API overflow",
        }
    }
}

/// The u-th replica of the load-duration curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LoadDurationPoint {
    /// Which replica, from 1; those needed longest first.
    pub replica: u32,
    /// Share of the hours that need it.
    pub hours_share: Fraction,
    /// How most of its hours are paid; absent where no price is known.
    pub bought: Option<PurchaseKind>,
    /// What it costs a month; absent likewise.
    pub usd_per_month: Option<Usd>,
}

/// The cheapest purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PurchasePlan {
    /// One layer a way of paying in use.
    pub layers: Vec<PurchaseLayer>,
    /// The sum of the layers.
    pub usd_per_month: Usd,
    /// The same fleet bought in one way alone, for each way on offer.
    pub alone: Vec<(PurchaseKind, Usd)>,
    /// Every offer that was looked at: way, USD per replica-hour, and where that comes from. Overflow is per hour of a full replica.
    pub offers: Vec<Offer>,
    /// The API that takes the overflow, where one is on offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow_api: Option<String>,
    /// Requests a month that overflow.
    pub overflow_requests_per_month: f64,
}

/// A way of paying that is on offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Offer {
    /// Which.
    pub kind: PurchaseKind,
    /// Price of a replica-hour.
    pub usd_per_hour: Usd,
    /// Months committed to, 0 for none.
    pub minimum_months: u32,
    /// Where it comes from.
    pub from: Provenance,
}

/// What is bought in one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PurchaseLayer {
    /// The way.
    pub kind: PurchaseKind,
    /// Replicas of the load-duration curve that are wholly or mostly paid so.
    pub replicas: u32,
    /// Replica-hours paid a month.
    pub replica_hours_per_month: f64,
    /// Their cost.
    pub usd_per_month: Usd,
}

/// One month of the horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FleetMonth {
    /// From 1, the month that begins on the day of the plan.
    pub month: u32,
    /// Requests of the month.
    pub requests: f64,
    /// Most replicas of any hour.
    pub peak_replicas: u32,
    /// Replica-hours needed.
    pub replica_hours: f64,
    /// Cost by the cheapest purchase over the whole horizon; absent where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
}

/// A spike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpikeFleet {
    /// Its name in the product file.
    pub name: String,
    /// Times the busiest hour.
    pub factor: f64,
    /// Hours it lasts.
    pub hours: f64,
    /// Replicas while it lasts.
    pub replicas: u32,
    /// On-demand cost of what it adds, each time; absent where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
}

/// The simulator held against the measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SimulationCheck {
    /// Seconds of an engine step, as fitted.
    pub step: StepModel,
    /// The levels whose steps it was fitted on.
    pub fitted_on: Vec<String>,
    /// Share of the variance of step seconds explained.
    pub r_squared: f64,
    /// Median of |predicted / measured − 1| over steps.
    pub median_step_error: f64,
    /// Simulated beside measured, a row a level.
    pub levels: Vec<SimulatedLevel>,
    /// Highest rate of one replica under the SLO by the simulator; absent where no rate meets it.
    pub capacity_per_second: Option<f64>,
    /// The same over the measured one in attempts, the retries that were measured with it included, minus 1.
    pub capacity_difference: Option<f64>,
    /// What binds it.
    pub binds: Option<Binding>,
    /// The busiest hour on the replicas that are left after a loss: share within the SLO.
    pub peak_goodput: Option<Fraction>,
    /// Replicas that run in it.
    pub peak_replicas: u32,
    /// Attempts per second offered in it.
    pub peak_per_second: f64,
    /// Whether the busiest hour meets the SLO's attainment.
    pub holds: bool,
}

/// One level, simulated beside measured. Latencies in seconds, absent where the rank falls among failures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SimulatedLevel {
    /// `baseline`, `expected`, `stress`.
    pub level: String,
    /// Whether the fit saw its steps.
    pub seen_by_fit: bool,
    /// Requests per second offered.
    pub offered_per_second: f64,
    /// Each figure, measured and simulated.
    pub figures: Vec<SimulatedFigure>,
}

/// One figure of a level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SimulatedFigure {
    /// `TTFT p50`, `TTFT p95`, `TPOT p50`, `E2E p95` in seconds; `within SLO` as a share; `completed` per second.
    pub name: String,
    /// As measured.
    pub measured: Option<f64>,
    /// As simulated.
    pub simulated: Option<f64>,
}

impl SimulatedFigure {
    /// Simulated over measured, minus 1.
    pub fn error(&self) -> Option<f64> {
        let (measured, simulated) = (self.measured?, self.simulated?);
        (measured > 0.0).then(|| simulated / measured - 1.0)
    }
}

/// What keeps a replica from carrying more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// Time goes to prompts and to each sequence's arithmetic.
    Compute,
    /// Time goes to reading weights and KV memory, whatever the batch.
    MemoryBandwidth,
    /// Requests wait for KV memory, or lose it to others.
    KvMemory,
    /// Requests wait for one of the batch's places.
    BatchSlots,
    /// The steps leave time over: bursts of arrivals and long requests are what misses the SLO.
    QueueingVariance,
}

impl Binding {
    /// The label a report prints.
    pub fn label(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::MemoryBandwidth => "memory bandwidth",
            Self::KvMemory => "KV memory",
            Self::BatchSlots => "places in the batch",
            Self::QueueingVariance => "queueing variance",
        }
    }
}

/// Losing a replica in the busiest hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReplicaLoss {
    /// Replicas before.
    pub replicas: u32,
    /// Attempts per second offered.
    pub offered_per_second: f64,
    /// When it goes down, minutes into the hour.
    pub at_minute: f64,
    /// Minutes until its replacement serves.
    pub down_minutes: f64,
    /// Share within the SLO of the hour without the loss.
    pub goodput_before: Option<Fraction>,
    /// Share within the SLO while it is down.
    pub goodput_during: Option<Fraction>,
    /// p95 TTFT of the hour without the loss.
    pub ttft_p95_before_seconds: Option<f64>,
    /// p95 TTFT while it is down; absent where the rank falls among failures.
    pub ttft_p95_during_seconds: Option<f64>,
    /// Requests that started again elsewhere.
    pub rerouted: u64,
    /// Minute by minute.
    pub timeline: Vec<LossMinute>,
    /// What the spare replicas cost a month: the fleet with them less the fleet without; absent where no price is known.
    pub spare_usd_per_month: Option<Usd>,
    /// Share within the SLO while one is down, had the spares not been bought.
    pub goodput_without_spares: Option<Fraction>,
}

/// An autoscaler that watches requests in flight a replica, and the schedule beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AutoscalingPlan {
    /// Requests in flight a ready replica, waiting ones included, that it steers towards.
    pub requests_in_flight_per_replica: f64,
    /// Fewest replicas: the quietest hour's.
    pub minimum_replicas: u32,
    /// Most replicas: the busiest hour's.
    pub maximum_replicas: u32,
    /// Replicas go down only to the most wanted within this time.
    pub scale_down_stabilisation_seconds: f64,
    /// From asking for a replica until it serves.
    pub scale_up_lag_seconds: f64,
    /// The hour of the week before the steepest ramp, Monday 00:00 first.
    pub ramp_hour: u32,
    /// Attempts per second before and after the ramp.
    pub ramp_per_second: (f64, f64),
    /// Whether the autoscaler alone meets the SLO on the ramp; where not, the schedule has to.
    pub reactive_holds: bool,
    /// Every target that was simulated.
    pub tried: Vec<TriedTarget>,
    /// Stretches of the week that are asked for ahead.
    pub prewarm: Vec<PrewarmWindow>,
}

/// A target of the autoscaler, simulated on the steepest ramp.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TriedTarget {
    /// Requests in flight a replica.
    pub requests_in_flight: f64,
    /// Share within the SLO.
    pub goodput: Option<Fraction>,
    /// Replica-hours of the simulated stretch.
    pub replica_hours: f64,
    /// Whether it meets the SLO's attainment.
    pub holds: bool,
}

/// A stretch of hours with more than the fewest replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PrewarmWindow {
    /// First hour of the week, Monday 00:00 is 0.
    pub from_hour: u32,
    /// The hour after the last.
    pub to_hour: u32,
    /// Replicas.
    pub replicas: u32,
}

/// One minute of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LossMinute {
    /// Minutes from the start of the hour.
    pub minute: f64,
    /// Requests that arrived.
    pub requests: u64,
    /// Share of them within the SLO; absent without requests.
    pub goodput: Option<Fraction>,
    /// Their p95 TTFT; absent where the rank falls among failures.
    pub ttft_p95_seconds: Option<f64>,
    /// Mean replicas that serve.
    pub ready: f64,
}

/// Demand, latency and repeats in balance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RetryBalance {
    /// Requests per second of the busiest moment, repeats not included.
    pub demand_per_second: f64,
    /// Attempts per second that it comes to; absent where no balance exists.
    pub attempts_per_second: Option<f64>,
    /// Share of attempts that time out there.
    pub failing: Option<f64>,
    /// Requests per second above which repeats breed repeats.
    pub unstable_above_per_second: f64,
    /// Seconds after which a user gives up and asks again.
    pub timeout_seconds: f64,
}
