//! The plan as text: every figure formatted once, so that all outputs print the same number.

use std::collections::BTreeSet;

use breakeven_hardware::Usd;
use breakeven_planner::plan::{
    Basis, BreakEven, BreakEvenOutcome, CostLine, OptionKind, OptionPlan, Plan, Provenance,
};
use serde::Serialize;

use crate::{
    figure::Figure,
    format::{ABSENT, money, percent, rate, seconds, volume},
    sureness::{TableView, odds_of_choice, tables},
};

/// Everything the outputs print, in reading order.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    pub(crate) product: String,
    pub(crate) as_of: String,
    pub(crate) version: String,
    pub(crate) headline: String,
    pub(crate) would_change: Vec<String>,
    pub(crate) at_a_glance: Vec<(&'static str, String)>,
    pub(crate) options: Vec<OptionView>,
    pub(crate) levels: Vec<LevelView>,
    pub(crate) measured: Vec<(String, String)>,
    pub(crate) traffic: String,
    pub(crate) fleet: String,
    pub(crate) fleet_from: Vec<Origin>,
    pub(crate) break_evens: Vec<String>,
    pub(crate) assumptions: Vec<AssumptionView>,
    pub(crate) typed: usize,
    pub(crate) defaults: usize,
    pub(crate) warnings: Vec<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) findings: Vec<String>,
    /// What a request does, and what it comes to for each option.
    pub(crate) economics: Vec<TableView>,
    /// How sure the answer is, and what follows from it.
    pub(crate) tables: Vec<TableView>,
    /// What the draws leave out.
    pub(crate) left_out: Vec<String>,
}

/// One option.
#[derive(Debug, Serialize)]
pub(crate) struct OptionView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) chosen: bool,
    pub(crate) self_host: bool,
    pub(crate) feasible: bool,
    pub(crate) per_month: Figure,
    pub(crate) per_thousand: Figure,
    pub(crate) per_success: Figure,
    pub(crate) success: Figure,
    pub(crate) per_million_tokens: Figure,
    pub(crate) note: String,
    pub(crate) lines: Vec<LineView>,
    pub(crate) price_from: Vec<Origin>,
}

/// One cost line.
#[derive(Debug, Serialize)]
pub(crate) struct LineView {
    pub(crate) label: &'static str,
    pub(crate) amount: Figure,
    pub(crate) zero: bool,
}

/// One row of a provenance tree, flattened with its depth.
#[derive(Debug, Serialize)]
pub(crate) struct Origin {
    pub(crate) depth: usize,
    pub(crate) text: String,
}

/// One load level.
#[derive(Debug, Serialize)]
pub(crate) struct LevelView {
    pub(crate) cells: Vec<Figure>,
    pub(crate) name: String,
    pub(crate) verdict: String,
}

/// Column heads of [`LevelView::cells`].
pub(crate) const LEVEL_HEADS: [&str; 9] = [
    "level",
    "offered /s",
    "achieved /s",
    "goodput",
    "TTFT p50",
    "TTFT p95",
    "TPOT p50",
    "tok/s",
    "validity",
];

/// One assumption.
#[derive(Debug, Serialize)]
pub(crate) struct AssumptionView {
    pub(crate) path: String,
    pub(crate) value: String,
    pub(crate) note: String,
    pub(crate) default: bool,
}

impl View {
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut warnings = Vec::new();
        if !plan.measured.real_weights {
            warnings.push("the weights were seeded noise: timings are real, texts are not".to_owned());
        }
        if !plan.measured.complete {
            warnings.push("the measurement was cut short".to_owned());
        }
        warnings.extend(plan.warnings.iter().cloned());
        Self {
            product: plan.product.clone(),
            as_of: plan.as_of.to_string(),
            version: plan.breakeven_version.clone(),
            headline: plan.decision.headline.clone(),
            would_change: plan.decision.would_change.clone(),
            at_a_glance: at_a_glance(plan),
            options: plan.options.iter().map(|option| option_view(plan, option)).collect(),
            levels: levels(plan),
            measured: vec![
                ("machine".to_owned(), plan.measured.machine.clone()),
                ("model".to_owned(), plan.measured.model.clone()),
                ("SLO".to_owned(), plan.measured.slo.clone()),
                ("run".to_owned(), plan.measured.run_id.clone()),
            ],
            traffic: traffic(plan),
            fleet: fleet(plan),
            fleet_from: origins(&plan.fleet.from),
            break_evens: break_evens(plan),
            assumptions: plan
                .assumptions
                .iter()
                .map(|assumption| AssumptionView {
                    path: assumption.path.clone(),
                    value: assumption.value.clone(),
                    note: assumption.note.clone().unwrap_or_default(),
                    default: assumption.default,
                })
                .collect(),
            typed: plan.assumptions.iter().filter(|assumption| !assumption.default).count(),
            defaults: plan.assumptions.iter().filter(|assumption| assumption.default).count(),
            warnings,
            sources: sources(plan),
            findings: findings(plan),
            economics: crate::economics::tables(plan),
            tables: tables(plan),
            left_out: plan.uncertainty.iter().flat_map(|found| found.left_out.clone()).collect(),
        }
    }

    /// The options whose bills a short report prints: the chosen one and self-host.
    pub(crate) fn billed(&self) -> impl Iterator<Item = &OptionView> {
        self.options.iter().filter(|option| option.chosen || option.self_host)
    }
}

/// Things that would change the decision which the first screen names.
pub(crate) const GLANCE: usize = 3;

/// What the first screen says under the answer: how sure, the break-even with its interval, what would change it.
fn at_a_glance(plan: &Plan) -> Vec<(&'static str, String)> {
    let mut facts = vec![("how sure", how_sure(plan))];
    // The API that self-host is up against: the choice, or the cheapest one.
    let mut rivals = plan.options.iter().filter(|option| option.infeasible.is_none());
    let rival = rivals.find(|option| matches!(option.kind, OptionKind::Api { .. }));
    if let Some(entry) = rival.and_then(|api| plan.break_evens.iter().find(|entry| entry.api == api.id)) {
        facts.push(("break-even", break_even(entry)));
    }
    let changes = plan.decision.would_change.iter().take(GLANCE);
    facts.extend(changes.map(|change| ("would change it", change.clone())));
    facts
}

/// What the plan rests on, in one line.
fn how_sure(plan: &Plan) -> String {
    let levels: Vec<String> =
        plan.measured.levels.iter().map(|level| format!("{} {}", level.name, level.verdict)).collect();
    let mut parts = vec![if levels.is_empty() { "no load level".to_owned() } else { levels.join(", ") }];
    parts.extend(odds_of_choice(plan));
    let own = plan.options.iter().find(|option| matches!(option.kind, OptionKind::SelfHost { .. }));
    if let Some((low, high)) =
        own.and_then(|own| own.usd_per_month_interval).filter(|(low, high)| low != high)
    {
        parts.push(format!("self-host {} to {} a month", money(low), money(high)));
    }
    parts.join("; ")
}

fn option_view(plan: &Plan, option: &OptionPlan) -> OptionView {
    let (self_host, price) = match &option.kind {
        OptionKind::SelfHost { price_from, .. } => (true, price_from),
        OptionKind::Api { price_from, .. } => (false, price_from),
    };
    let at = |text: String, key: &str| Figure::at(text, format!("options[{}].{key}", option.id));
    let money_if = |usd: Option<Usd>| usd.map_or_else(|| ABSENT.to_owned(), money);
    OptionView {
        id: option.id.clone(),
        name: option.name.clone(),
        chosen: plan.decision.choice.as_deref() == Some(option.id.as_str()),
        self_host,
        feasible: option.infeasible.is_none(),
        per_month: at(money(option.usd_per_month), "usd_per_month"),
        per_thousand: at(money(option.usd_per_request.times(1000.into())), "usd_per_request"),
        per_success: at(money_if(option.usd_per_successful_outcome), "usd_per_successful_outcome"),
        success: at(percent(Some(option.success_probability.get())), "success_probability"),
        per_million_tokens: at(
            money_if(option.usd_per_million_output_tokens),
            "usd_per_million_output_tokens",
        ),
        note: note(plan, option),
        lines: option.lines.iter().map(|line| line_view(&option.id, line)).collect(),
        price_from: origins(price),
    }
}

pub(crate) fn note(plan: &Plan, option: &OptionPlan) -> String {
    if let Some(why) = &option.infeasible {
        return format!("infeasible: {why}");
    }
    match &option.kind {
        OptionKind::SelfHost { replicas, usd_per_replica_hour, term, .. } => {
            let mut note = format!(
                "{replicas} {} at {}/h, {term}",
                plural(*replicas, "replica"),
                money(*usd_per_replica_hour)
            );
            if let Some((low, high)) = option.usd_per_month_interval {
                note.push_str(&interval_text(low, high));
            }
            note
        }
        OptionKind::Api { .. } => {
            plan.break_evens.iter().find(|entry| entry.api == option.id).map(crossing).unwrap_or_default()
        }
    }
}

fn interval_text(low: Usd, high: Usd) -> String {
    if low == high { String::new() } else { format!("; {} to {} a month", money(low), money(high)) }
}

fn line_view(option: &str, line: &CostLine) -> LineView {
    let (label, amount) = (line.line.label(), money(line.usd_per_month));
    let zero = line.usd_per_month == Usd::ZERO;
    // Where nothing is paid there is nothing under it.
    let place = || format!("options[{option}].lines[{}]", label.replace(' ', "_"));
    LineView { label, amount: if zero { amount.into() } else { Figure::at(amount, place()) }, zero }
}

fn levels(plan: &Plan) -> Vec<LevelView> {
    plan.measured
        .levels
        .iter()
        .map(|level| {
            let at =
                |text: String, key: &str| Figure::at(text, format!("measured.levels[{}].{key}", level.name));
            let goodput = percent(level.goodput.map(breakeven_measurement::Fraction::get));
            LevelView {
                name: level.name.to_string(),
                verdict: level.verdict.to_string(),
                cells: vec![
                    level.name.to_string().into(),
                    at(rate(level.offered_per_second), "offered_per_second"),
                    at(rate(level.achieved_per_second), "achieved_per_second"),
                    at(goodput, "goodput"),
                    at(seconds(level.ttft_p50_seconds), "ttft_p50_seconds"),
                    at(seconds(level.ttft_p95_seconds), "ttft_p95_seconds"),
                    at(seconds(level.tpot_p50_seconds), "tpot_p50_seconds"),
                    at(rate(level.output_tokens_per_second), "output_tokens_per_second"),
                    level.verdict.to_string().into(),
                ],
            }
        })
        .collect()
}

fn findings(plan: &Plan) -> Vec<String> {
    plan.measured
        .levels
        .iter()
        .flat_map(|level| level.findings.iter().map(move |finding| format!("{}: {finding}", level.name)))
        .collect()
}

fn traffic(plan: &Plan) -> String {
    let traffic = &plan.traffic;
    format!(
        "{} requests a month ({} attempts); mean {}/s, busiest hour {}/s, sized for {}/s; {} tokens in, {} out",
        volume(traffic.requests_per_month),
        volume(traffic.attempts_per_month),
        rate(traffic.mean_rate.per_second()),
        rate(traffic.peak_hour_rate.per_second()),
        rate(traffic.design_rate.per_second()),
        rate(traffic.mean_input_tokens),
        rate(traffic.mean_output_tokens),
    )
}

fn fleet(plan: &Plan) -> String {
    let fleet = &plan.fleet;
    let mut parts = Vec::new();
    match &fleet.replica_capacity {
        Some(capacity) => {
            let basis = match capacity.basis {
                Basis::Measured => "measured",
                Basis::Interpolated => "interpolated",
                Basis::Extrapolated => "extrapolated",
                Basis::Estimated => "estimated",
            };
            let end = |rate_at: Option<breakeven_measurement::RequestRate>| {
                rate_at.map_or_else(|| ABSENT.to_owned(), |value| rate(value.per_second()))
            };
            let interval = if capacity.low.is_some() || capacity.high.is_some() {
                format!(" ({} to {})", end(capacity.low), end(capacity.high))
            } else {
                String::new()
            };
            parts.push(format!(
                "one replica carries {}/s{interval}, {basis}",
                rate(capacity.rate.per_second())
            ));
        }
        None => parts.push("no replica carries this load under the SLO".to_owned()),
    }
    if let Some(replicas) = fleet.replicas {
        let naive = fleet.replicas_naive.map(|naive| format!("; {naive} with none lost")).unwrap_or_default();
        parts.push(format!(
            "{replicas} {} ({} may be lost{naive})",
            plural(replicas, "replica"),
            fleet.replicas_lost
        ));
    }
    if let Some(headroom) = fleet.headroom {
        parts.push(format!("headroom {}", percent(Some(headroom.get()))));
    }
    if let Some(utilization) = fleet.utilization {
        parts.push(format!("utilisation {}", percent(Some(utilization.get()))));
    }
    parts.join(", ")
}

pub(crate) fn crossing(entry: &BreakEven) -> String {
    let end = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), volume);
    let interval = match entry.interval {
        (None, None) => String::new(),
        (low, high) => format!(" ({} to {})", end(low), end(high)),
    };
    match entry.outcome {
        BreakEvenOutcome::At { requests_per_month } => {
            format!("self-host cheaper from {} requests a month{interval}", volume(requests_per_month))
        }
        BreakEvenOutcome::Always => "self-host cheaper at every volume".to_owned(),
        BreakEvenOutcome::Never { up_to_requests_per_month } => {
            format!("self-host dearer up to {} requests a month{interval}", volume(up_to_requests_per_month))
        }
    }
}

fn break_even(entry: &BreakEven) -> String {
    format!("{}: {}", entry.api_name, crossing(entry))
}

/// All break-evens, a line each.
pub(crate) fn break_evens(plan: &Plan) -> Vec<String> {
    plan.break_evens.iter().map(break_even).collect()
}

/// Where an option's price comes from, in one line.
pub(crate) fn price_origin(option: &OptionPlan) -> String {
    let (OptionKind::SelfHost { price_from, .. } | OptionKind::Api { price_from, .. }) = &option.kind;
    origin_text(price_from)
}

fn plural(count: u32, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// Price rows used anywhere in the plan, each once.
fn sources(plan: &Plan) -> Vec<String> {
    let mut found = BTreeSet::new();
    for option in &plan.options {
        let (OptionKind::SelfHost { price_from, .. } | OptionKind::Api { price_from, .. }) = &option.kind;
        collect_sources(price_from, &mut found);
        for line in &option.lines {
            collect_sources(&line.from, &mut found);
        }
    }
    found.into_iter().collect()
}

fn collect_sources(from: &Provenance, found: &mut BTreeSet<String>) {
    match from {
        Provenance::PriceSheet { .. } => {
            found.insert(origin_text(from));
        }
        Provenance::Computed { inputs, .. } => {
            for input in inputs {
                collect_sources(&input.from, found);
            }
        }
        Provenance::Measured { .. } | Provenance::Published { .. } | Provenance::Assumption { .. } => {}
    }
}

fn origin_text(from: &Provenance) -> String {
    match from {
        Provenance::Measured { run_id, path } => format!("measured in run {run_id}: {path}"),
        Provenance::PriceSheet { row, source, date, stale } => {
            let date = date.map_or_else(|| "no date".to_owned(), |date| date.to_string());
            format!("{row}: {source}, {date}{}", if *stale { " (stale)" } else { "" })
        }
        Provenance::Published { reference } => format!("published: {reference}"),
        Provenance::Assumption { path, note } => match note {
            Some(note) => format!("assumption {path}: {note}"),
            None => format!("assumption {path}"),
        },
        Provenance::Computed { formula, .. } => format!("= {formula}"),
    }
}

/// The provenance tree in reading order.
pub(crate) fn origins(from: &Provenance) -> Vec<Origin> {
    let mut rows = Vec::new();
    push_origin(from, 0, String::new(), &mut rows);
    rows
}

fn push_origin(from: &Provenance, depth: usize, lead: String, rows: &mut Vec<Origin>) {
    rows.push(Origin { depth, text: lead + &origin_text(from) });
    if let Provenance::Computed { inputs, .. } = from {
        for input in inputs {
            push_origin(&input.from, depth + 1, format!("{} = {} — ", input.name, input.value), rows);
        }
    }
}
