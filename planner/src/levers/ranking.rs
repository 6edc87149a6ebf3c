//! What `breakeven levers` says: the types of its JSON.

use breakeven_hardware::Usd;
use jiff::civil::Date;
use serde::Serialize;

use crate::diff::LineChange;

/// The levers of a product, ranked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranking {
    /// The product's name.
    pub product: String,
    /// Day the prices are judged against.
    pub as_of: Date,
    /// Run id of the measurement.
    pub run_id: String,
    /// Requests a month with all levers off.
    pub requests_per_month: f64,
    /// The levers, in the order of the file.
    pub levers: Vec<LeverSummary>,
    /// Every option, cheapest per successful outcome with all levers off first; those that cannot be had last.
    pub options: Vec<OptionLevers>,
    /// The option and the levers with the lowest cost per successful outcome; absent where nothing can be had.
    pub best: Option<BestChoice>,
    /// How combinations were looked for.
    pub search: SearchSummary,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A lever as the file types it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeverSummary {
    /// Its name.
    pub name: String,
    /// What it changes: path and value, or path and factor.
    pub changes: Vec<String>,
    /// What it costs itself a month.
    pub usd_per_month: Usd,
    /// What it costs once.
    pub once_usd: Usd,
    /// Months over which that is paid off.
    pub life_months: f64,
    /// Where the figures come from.
    pub note: Option<String>,
}

/// The levers of one option.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OptionLevers {
    /// Option id.
    pub id: String,
    /// Name for a reader.
    pub name: String,
    /// With all levers off; absent where the option cannot be had so.
    pub off: Option<Figures>,
    /// Why it cannot be had.
    pub infeasible: Option<String>,
    /// Each lever alone that leaves no fewer requests succeeding and none fewer resolved: most money saved first.
    pub single: Vec<Effect>,
    /// Each lever alone that lowers one of the two: its savings are not counted.
    pub fewer_successes: Vec<Effect>,
    /// Levers that cannot be had alone with this option, or whose option cannot be had without: the reason or the figures.
    pub not_comparable: Vec<Effect>,
    /// The combination that saves most at no fewer successes; absent where the option cannot be had with all levers off.
    pub best: Option<Combination>,
}

/// One option's month.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// The bill.
    pub usd_per_month: Usd,
    /// The bill over successful outcomes; absent where nothing succeeds.
    pub usd_per_successful_outcome: Option<Usd>,
    /// Requests that succeed without an escalation.
    pub successes_per_month: f64,
    /// Requests that succeed, by the help of an escalation too.
    pub resolved_per_month: f64,
    /// Share of requests that succeed without an escalation.
    pub success: f64,
}

/// What one lever alone does to one option.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// The lever.
    pub lever: String,
    /// With it alone on; absent where the option cannot be had so.
    pub on: Option<Figures>,
    /// Why not.
    pub infeasible: Option<String>,
    /// Bill with all levers off less bill with this one on: negative where it costs more than it saves.
    pub saved_usd_per_month: Option<Usd>,
    /// Change of the successes a month.
    pub successes_change: Option<f64>,
    /// Change of the resolved requests a month.
    pub resolved_change: Option<f64>,
    /// The lines of the bill that change, the largest change first.
    pub lines: Vec<LineChange>,
    /// Months after which what was paid once is saved again; absent where nothing is paid once or it never is.
    pub payback_months: Option<f64>,
}

/// Levers that are on together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Combination {
    /// Their names, in the order of the file; none where no lever saves anything.
    pub levers: Vec<String>,
    /// The month with all of them on.
    pub on: Figures,
    /// What they save together.
    pub saved_usd_per_month: Usd,
    /// What each saves alone, added up: more where levers save the same money, less where one makes way for another.
    pub sum_of_singles_usd_per_month: Usd,
    /// The same levers switched on one after the other, at each step the one that saves most on top.
    pub steps: Vec<Step>,
}

/// One step of a combination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The lever that is switched on.
    pub lever: String,
    /// What it saves on top of those before it.
    pub saved_usd_per_month: Usd,
    /// The bill then.
    pub usd_per_month: Usd,
}

/// The cheapest of everything.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BestChoice {
    /// Option id.
    pub option: String,
    /// Its name.
    pub name: String,
    /// Levers that are on.
    pub levers: Vec<String>,
    /// USD per successful outcome.
    pub usd_per_successful_outcome: Usd,
}

/// How combinations were looked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchSummary {
    /// Whether every combination was tried; else one lever was added at a time, whichever saved most on top (greedy).
    pub every_combination: bool,
    /// Settings that were costed, all levers off included.
    pub tried: usize,
    /// Levers that set the same place of the file and are never on together: both names and the place.
    pub alternatives: Vec<(String, String, String)>,
    /// Settings that do not fit together, with the reason.
    pub refused: Vec<(Vec<String>, String)>,
}
