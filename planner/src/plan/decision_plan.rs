//! What the plan says beyond one set of numbers: scenarios and stresses, the months ahead, how sure the answer is, and who pays.
//! Money is a month's unless the name says otherwise; a cost *per success* is per successful outcome.

use breakeven_hardware::Usd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LineItem, OptionPlan};

/// Scenarios crossed with stresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioMatrix {
    /// The scenarios, in the order of the rows.
    pub scenarios: Vec<Condition>,
    /// The stresses, in the order of the columns; the first is none at all.
    pub stresses: Vec<Condition>,
    /// Every cell, row by row.
    pub cells: Vec<Cell>,
}

/// A scenario or a stress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// What it changes, for a reader.
    pub changes: String,
    /// Whether it is a default of ours, hence an assumption nobody here typed.
    pub default: bool,
}

/// One scenario under one stress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the stress.
    pub stress: String,
    /// Requests a month in it.
    pub requests_per_month: f64,
    /// The cheapest option per success; absent where none can be had.
    pub choice: Option<String>,
    /// Every option's bill.
    pub options: Vec<CellOption>,
}

/// An option's bill in a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CellOption {
    /// Option id.
    pub id: String,
    /// Why it cannot be had here; absent where it can.
    pub infeasible: Option<String>,
    /// The lines that are not zero.
    pub lines: Vec<ItemAmount>,
    /// Their sum, always.
    pub usd_per_month: Usd,
    /// Over successful outcomes; absent where none succeeds or it cannot be had.
    pub usd_per_successful_outcome: Option<Usd>,
}

/// A line and its amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemAmount {
    /// Which line.
    pub line: LineItem,
    /// The amount.
    pub usd: Usd,
}

/// The months ahead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HorizonPlan {
    /// How many.
    pub months: u32,
    /// What money costs a year (effective).
    pub discount_rate_per_year: f64,
    /// What is assumed over time, for a reader.
    pub assumes: Vec<String>,
    /// Requests of each month.
    pub requests_by_month: Vec<f64>,
    /// Every option that can be had in all months.
    pub options: Vec<HorizonOption>,
    /// Options left out, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// One option over the horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HorizonOption {
    /// Option id.
    pub id: String,
    /// The bill of each month, hardware of one's own as its annuity.
    pub usd_by_month: Vec<Usd>,
    /// The lines over all months that are not zero.
    pub lines: Vec<ItemAmount>,
    /// Sum of the months, and of the lines.
    pub usd_total: Usd,
    /// Present value of what is paid: month 1 at the end of the first month, hardware of one's own when it is bought and sold.
    pub npv_usd: Usd,
    /// Paid for hardware of one's own over the horizon, at its prices; zero where none is bought.
    pub capex_usd: Usd,
    /// Against the cheapest API by present value: what is saved, present value. Absent for APIs and without one.
    pub saves_npv_usd: Option<Usd>,
    /// First month by whose end what was saved has paid back what was spent first, and stays so. Absent where it never does, where
    /// nothing is spent first, or without an API to compare with.
    pub payback_month: Option<u32>,
}

/// How sure the answer is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Uncertainty {
    /// Draws made.
    pub draws: u32,
    /// Their seed.
    pub seed: u64,
    /// Months that each draw covers: 1 without a `[horizon]`.
    pub months: u32,
    /// What is uncertain.
    pub inputs: Vec<UncertainInput>,
    /// Every option under these draws.
    pub options: Vec<OptionOdds>,
    /// P(cheapest) in each cell of the matrix; empty where nothing asks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellOdds>,
    /// Break-even volume of self-host against the cheapest API.
    pub break_even: Option<BreakEvenSpread>,
    /// Bills against volume with their spread, for the chart; empty in files of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cost_by_volume: Vec<CostSpread>,
    /// What each input does to the answer at its low and high end, widest first.
    pub tornado: Vec<TornadoBar>,
    /// The value of each input at which another option becomes the cheapest.
    pub flips: Vec<Flip>,
    /// What knowing each input would be worth, most first.
    pub measure_next: Vec<InformationValue>,
    /// What is not in the draws, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

impl Uncertainty {
    /// Names the options of a plan that the draws do not hold: mixes and hybrids are bought by a search that no draw repeats.
    pub(crate) fn leave_out(&mut self, options: &[OptionPlan]) {
        let drawn = |id: &str| self.options.iter().any(|option| option.id == id);
        let said = |id: &str| {
            let of = |line: &String| line.strip_prefix(id).is_some_and(|rest| rest.starts_with(": "));
            self.left_out.iter().any(of)
        };
        let missing: Vec<&str> = options
            .iter()
            .filter(|option| option.infeasible.is_none() && !drawn(&option.id) && !said(&option.id))
            .map(|option| option.name.as_str())
            .collect();
        if !missing.is_empty() {
            self.left_out.push(format!("{}: in the bills, not in the draws", missing.join(", ")));
        }
    }
}

/// One uncertain number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UncertainInput {
    /// Path in the product file, or `measured.capacity`.
    pub path: String,
    /// The distribution, for a reader.
    pub distribution: String,
    /// Low end, as typed or the 5 % quantile.
    pub low: f64,
    /// The value used where a point is needed.
    pub likely: f64,
    /// High end, as typed or the 95 % quantile.
    pub high: f64,
}

/// Quantiles over the draws, nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// 5 %.
    pub p5: f64,
    /// 10 %.
    pub p10: f64,
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 95 %.
    pub p95: f64,
    /// Mean.
    pub mean: f64,
}

/// One option under the draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OptionOdds {
    /// Option id.
    pub id: String,
    /// Share of draws in which it is the cheapest per success. They add up to 1.
    pub p_cheapest: f64,
    /// Share of draws in which it can be had at all (rate limits, for one); the bills are those of these draws.
    #[serde(default = "every_draw")]
    pub available: f64,
    /// Mean monthly bill over the months, USD; absent where no draw has it.
    pub usd_per_month: Option<Spread>,
    /// Over successful outcomes, USD; absent where a draw has no success.
    pub usd_per_successful_outcome: Option<Spread>,
}

/// Of plans written before they told.
fn every_draw() -> f64 {
    1.0
}

/// P(cheapest) in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CellOdds {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the stress.
    pub stress: String,
    /// Option ids with their share of draws; they add up to 1.
    pub p_cheapest: Vec<(String, f64)>,
    /// Monthly bill of the cell's most frequent winner, USD, in the draws that have it; absent where nothing can be had.
    pub usd_per_month: Option<Spread>,
}

/// One option's bill against volume under the draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostSpread {
    /// Option id.
    pub id: String,
    /// Draws looked at: the first so many.
    pub draws: u32,
    /// One a volume, ascending; volumes at which some draw cannot have the option are left out.
    pub points: Vec<VolumeSpread>,
}

/// The bill of one month at one volume, as it is now: no growth, no scenario.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeSpread {
    /// Requests a month.
    pub requests_per_month: f64,
    /// USD a month: 5 % of the draws are below.
    pub p5: f64,
    /// Median, USD a month.
    pub p50: f64,
    /// 5 % of the draws are above, USD a month.
    pub p95: f64,
}

/// Break-even volume under the draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BreakEvenSpread {
    /// Option id of the API.
    pub api: String,
    /// Draws looked at: the first so many.
    pub draws: u32,
    /// Share of draws with no break-even because self-host is cheaper at every volume.
    pub always: f64,
    /// Share of draws with none because it is dearer at every volume.
    pub never: f64,
    /// Requests a month, over the draws that have a break-even; absent where none has.
    pub requests_per_month: Option<Spread>,
    /// Mean utilisation of the replicas at the break-even volume (0 to 1), over the same draws.
    pub utilization: Option<Spread>,
}

/// One bar of the tornado: the other inputs at their likely values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TornadoBar {
    /// Path of the input.
    pub path: String,
    /// Its low value.
    pub low: f64,
    /// Its high value.
    pub high: f64,
    /// Monthly bill of the plan's choice at the low value, USD.
    pub usd_per_month_at_low: f64,
    /// And at the high value.
    pub usd_per_month_at_high: f64,
    /// How much the choice saves per success against the runner-up at the low value, USD; negative where it no longer wins.
    pub saves_per_success_at_low: f64,
    /// And at the high value.
    pub saves_per_success_at_high: f64,
    /// The cheapest option at the low value.
    pub choice_at_low: String,
    /// And at the high value.
    pub choice_at_high: String,
}

/// Where an input turns the decision; the other inputs at their likely values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Flip {
    /// Path of the input.
    pub path: String,
    /// Its present value.
    pub now: f64,
    /// The value nearest below at which another option wins, and which; absent where none does.
    pub below: Option<(f64, String)>,
    /// The value nearest above.
    pub above: Option<(f64, String)>,
    /// The values looked at, from and to.
    pub looked_at: (f64, f64),
}

/// What it would be worth to know one input exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InformationValue {
    /// Path of the input.
    pub path: String,
    /// Expected value of perfect information about this input alone, USD a month.
    pub usd_per_month: f64,
    /// Its share of the variance of the cost difference between the two cheapest options (first-order Sobol index).
    pub variance_share: f64,
}

/// One split of the bill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AllocationPlan {
    /// By what: `team`, `feature`, `customer segment`…
    pub by: String,
    /// Option id of the bill that is split: the plan's choice.
    pub option: String,
    /// What shared capacity is split by, for a reader.
    pub basis: String,
    /// The rule for idle capacity.
    pub idle_rule: String,
    /// The bill, rounded to cents.
    pub usd_per_month: Usd,
    /// Every part; their totals add up to the bill to the cent.
    pub parts: Vec<AllocationPart>,
}

/// What one part pays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AllocationPart {
    /// Its name.
    pub name: String,
    /// Its share of requests.
    pub share_of_requests: f64,
    /// Its share of the use of shared capacity.
    pub share_of_use: f64,
    /// Of its total, idle capacity, in cents.
    pub idle_usd_per_month: Usd,
    /// Every line that is not zero, in cents; idle capacity is in inference and retries.
    pub lines: Vec<ItemAmount>,
    /// The sum of its lines.
    pub usd_per_month: Usd,
}
