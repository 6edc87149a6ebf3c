//! Two plans side by side: what changed in the answer, line by line, and which inputs moved it.

use breakeven_hardware::Usd;
use serde::Serialize;

use crate::plan::{LineItem, OptionPlan, Plan};

/// A figure in both plans; absent where a plan has none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What: a path of the product file, or a figure's name.
    pub what: String,
    /// In the first plan, for a reader.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}

/// One line of an option's bill in both plans, USD a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LineChange {
    /// Which line.
    pub line: LineItem,
    /// In the first plan.
    pub a: Usd,
    /// In the second.
    pub b: Usd,
}

/// One option in both plans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OptionChange {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The bill in the first plan; absent where it cannot be had there.
    pub a: Option<Usd>,
    /// The bill in the second.
    pub b: Option<Usd>,
    /// USD per successful outcome, likewise.
    pub per_success: (Option<Usd>, Option<Usd>),
    /// The lines that differ. Their differences add up to that of the bills where both can be had.
    pub lines: Vec<LineChange>,
}

/// What changed from one plan to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanDiff {
    /// Choice of both.
    pub choice: (Option<String>, Option<String>),
    /// USD per successful outcome of each plan's own choice.
    pub per_success: (Option<Usd>, Option<Usd>),
    /// Change of that as a share of the first; absent where a plan has no choice or the first costs nothing.
    pub change: Option<f64>,
    /// Options that differ, in the order of the second plan, then those only the first has.
    pub options: Vec<OptionChange>,
    /// Assumptions and measured figures that differ: why.
    pub causes: Vec<Change>,
}

impl PlanDiff {
    /// Whether a release gate should stop: the choice costs more a success by over `threshold` (a share), or is gone.
    pub fn fails(&self, threshold: f64) -> bool {
        match (self.per_success, self.change) {
            ((Some(_), None), _) => true,
            (_, Some(change)) => change > threshold,
            _ => false,
        }
    }
}

/// The differences of `b` from `a`.
pub fn diff(a: &Plan, b: &Plan) -> PlanDiff {
    let per_success = (chosen(a), chosen(b));
    let change = match per_success {
        (Some(a), Some(b)) if a > Usd::ZERO => Some(b.to_f64() / a.to_f64() - 1.0),
        (Some(a), Some(b)) if a == b => Some(0.0),
        _ => None,
    };
    let of = |plan: &'_ Plan, id: &str| plan.options.iter().find(|option| option.id == id).cloned();
    let mut options = Vec::new();
    for option in &b.options {
        options.extend(option_change(of(a, &option.id).as_ref(), Some(option)));
    }
    for option in a.options.iter().filter(|option| of(b, &option.id).is_none()) {
        options.extend(option_change(Some(option), None));
    }
    PlanDiff {
        choice: (a.decision.choice.clone(), b.decision.choice.clone()),
        per_success,
        change,
        options,
        causes: causes(a, b),
    }
}

fn chosen(plan: &Plan) -> Option<Usd> {
    let choice = plan.decision.choice.as_ref()?;
    plan.options.iter().find(|option| option.id == *choice)?.usd_per_successful_outcome
}

fn option_change(a: Option<&OptionPlan>, b: Option<&OptionPlan>) -> Option<OptionChange> {
    let had = |option: Option<&OptionPlan>| option.filter(|option| option.infeasible.is_none()).cloned();
    let named = b.or(a)?;
    let (a, b) = (had(a), had(b));
    let amount = |option: &Option<OptionPlan>, line: LineItem| {
        let lines = option.iter().flat_map(|option| &option.lines);
        lines.filter(|cost| cost.line == line).map(|cost| cost.usd_per_month).sum::<Usd>()
    };
    let mut items: Vec<LineItem> =
        [&a, &b].into_iter().flatten().flat_map(|option| option.lines.iter().map(|line| line.line)).collect();
    items.sort_unstable();
    items.dedup();
    let lines: Vec<LineChange> = items
        .into_iter()
        .map(|line| LineChange { line, a: amount(&a, line), b: amount(&b, line) })
        .filter(|change| change.a != change.b)
        .collect();
    let per = |option: &Option<OptionPlan>| option.as_ref().and_then(|o| o.usd_per_successful_outcome);
    let bill = |option: &Option<OptionPlan>| option.as_ref().map(|option| option.usd_per_month);
    let changed = !lines.is_empty() || per(&a) != per(&b) || bill(&a).is_some() != bill(&b).is_some();
    changed.then(|| OptionChange {
        id: named.id.clone(),
        name: named.name.clone(),
        a: bill(&a),
        b: bill(&b),
        per_success: (per(&a), per(&b)),
        lines,
    })
}

fn causes(a: &Plan, b: &Plan) -> Vec<Change> {
    let mut all = Vec::new();
    let mut note = |what: &str, a: Option<String>, b: Option<String>| {
        if a != b {
            all.push(Change { what: what.to_owned(), a, b });
        }
    };
    note("measured run", Some(a.measured.run_id.clone()), Some(b.measured.run_id.clone()));
    note("model", Some(a.measured.model.clone()), Some(b.measured.model.clone()));
    note("machine", Some(a.measured.machine.clone()), Some(b.measured.machine.clone()));
    let capacity = |plan: &Plan| plan.fleet.replica_capacity.as_ref().map(|c| c.rate.to_string());
    note("capacity of a replica", capacity(a), capacity(b));
    let replicas = |plan: &Plan| plan.fleet.replicas.map(|count| count.to_string());
    note("replicas", replicas(a), replicas(b));
    note("prices as of", Some(a.as_of.to_string()), Some(b.as_of.to_string()));
    let value = |plan: &Plan, path: &str| {
        plan.assumptions.iter().find(|assumption| assumption.path == path).map(|found| found.value.clone())
    };
    let mut paths: Vec<&String> =
        a.assumptions.iter().chain(&b.assumptions).map(|assumption| &assumption.path).collect();
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|path| seen.insert(path.as_str()));
    for path in paths {
        note(path, value(a, path), value(b, path));
    }
    all
}
