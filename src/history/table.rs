//! Runs as tables: a list, and machines side by side.

use breakeven_hardware::Usd;
use breakeven_measurement::{LevelName, LevelResult, Metric, Verdict, headline::Span};
use breakeven_planner::{
    Plan, SELF_HOST,
    plan::{Basis, LineItem, OptionPlan},
};
use breakeven_report::{
    format::{ABSENT, money, rate},
    intervals,
    table::text_table,
};

use super::store::Entry;
use crate::hardware;

/// All intervals are at 95 %.
const ALPHA: f64 = 0.05;

/// What is kept, a line a run.
pub(super) fn list(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "Nothing is kept. `breakeven history add measurement.json` keeps a run.\n".to_owned();
    }
    let rows = entries.iter().map(|entry| {
        let model = entry.measurement.model.as_ref().map_or(ABSENT, |model| model.name.as_str());
        vec![
            entry.run_id.clone(),
            entry.measurement.started.strftime("%Y-%m-%d %H:%M").to_string(),
            model.to_owned(),
            hardware::line(&entry.measurement.machine),
            if entry.plan.is_some() { "yes" } else { "no" }.to_owned(),
            entry.tags.join(", "),
        ]
    });
    text_table(&["run", "started", "model", "machine", "plan", "tags"], rows, 0..0, None)
}

/// What the side-by-side table shows of a run, in order.
const ROWS: [&str; 13] = [
    "machine",
    "model",
    "carries under the SLO, req/s",
    "goodput at expected load",
    "TTFT p50 at expected load",
    "TTFT p95 at expected load",
    "TPOT p50 at expected load",
    "joules per output token",
    "USD per million output tokens",
    "USD per successful outcome",
    "validity of the expected level",
    "run complete",
    "tags",
];

/// The lab's table of candidate machines: a column a run.
pub(super) fn side_by_side(entries: &[Entry], markdown: bool, width: usize) -> String {
    if entries.is_empty() {
        return list(entries);
    }
    let columns: Vec<[String; 13]> = entries.iter().map(cells).collect();
    let rows = ROWS.iter().enumerate().map(|(row, label)| {
        let cells = columns.iter().filter_map(|column| column.get(row).cloned());
        std::iter::once((*label).to_owned()).chain(cells).collect::<Vec<String>>()
    });
    let ids = entries.iter().map(|entry| entry.run_id.as_str());
    let heads: Vec<&str> = std::iter::once("").chain(ids).collect();
    let note = "Intervals are at 95 %, between runs where levels ran several times, else within; those of money follow from the capacity's. – is not known.\n";
    if markdown {
        let mut out = row_of(&heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>());
        out.extend(["|---|", &"---|".repeat(entries.len()), "\n"]);
        out.extend(rows.map(|row| row_of(&row)));
        out.push('\n');
        return out + note;
    }
    text_table(&heads, rows, 0..0, Some(width)) + "\n" + note
}

fn row_of(cells: &[String]) -> String {
    let escaped = cells.iter().map(|cell| {
        let clean: String = cell.chars().filter(|letter| !letter.is_control()).collect();
        clean.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
    });
    format!("| {} |\n", escaped.collect::<Vec<_>>().join(" | "))
}

fn cells(entry: &Entry) -> [String; 13] {
    let measurement = &entry.measurement;
    let level = measurement.level(LevelName::Expected);
    let measured = |metric: Metric| level.map_or_else(not_run, |level| measured(level, metric));
    let capacity = measurement.search.as_ref().and_then(|search| search.capacity.as_ref()).map_or_else(
        || ABSENT.to_owned(),
        |found| {
            let end = |rate_at: Option<breakeven_measurement::RequestRate>| {
                rate_at.map_or_else(|| ABSENT.to_owned(), |value| rate(value.per_second()))
            };
            with_interval(&rate(found.rate.per_second()), &end(found.low), &end(found.high))
        },
    );
    let own = entry.plan.as_ref().ok_or("no plan is kept").and_then(|plan| {
        let own = plan.options.iter().find(|option| option.id == SELF_HOST && option.infeasible.is_none());
        Ok((plan, own.ok_or("cannot be had, says the plan")?))
    });
    [
        hardware::line(&measurement.machine),
        measurement
            .model
            .as_ref()
            .map_or_else(|| ABSENT.to_owned(), |m| format!("{} {}", m.name, m.quantization)),
        capacity,
        measured(Metric::Goodput),
        measured(Metric::TtftP50),
        measured(Metric::TtftP95),
        measured(Metric::TpotP50),
        level.map_or_else(not_run, joules_per_token),
        own.as_ref().map_or_else(|why| (*why).to_owned(), |(plan, own)| on_capacity(plan, &per_million(own))),
        own.as_ref().map_or_else(|why| (*why).to_owned(), |(plan, own)| on_capacity(plan, &per_success(own))),
        level.map_or_else(not_run, |level| level.validity.verdict.to_string()),
        if measurement.status == breakeven_measurement::run::Status::Complete { "yes" } else { "no" }
            .to_owned(),
        entry.tags.join(", "),
    ]
}

fn with_interval(estimate: &str, low: &str, high: &str) -> String {
    if low == ABSENT && high == ABSENT {
        estimate.to_owned()
    } else {
        format!("{estimate} ({low} to {high})")
    }
}

fn not_run() -> String {
    "did not run".to_owned()
}

/// A figure of a level with the widest interval that is known, and its validity where that is not clean: between runs where it ran
/// several times, else from the requests within.
fn measured(level: &LevelResult, metric: Metric) -> String {
    let kept = level.headline(metric);
    // Files of earlier versions keep no intervals: those of independent requests then.
    let plain = metric.of(&level.overall, ALPHA);
    let (estimate, span) = match (kept, plain) {
        (Some(kept), plain) => (
            kept.estimate,
            kept.between_runs
                .or(kept.within_run)
                .or_else(|| plain.map(|found| Span::of(found.low, found.high))),
        ),
        (None, Some(found)) => (Some(found.estimate), Some(Span::of(found.low, found.high))),
        (None, None) => return ABSENT.to_owned(),
    };
    let figure = intervals::figure(metric, estimate.filter(|value| value.is_finite()));
    let interval = span.map_or_else(String::new, |span| format!(" ({})", intervals::span(metric, span)));
    format!("{figure}{interval}{}", doubt(level))
}

/// What a figure of a level that is not clean says beside it.
fn doubt(level: &LevelResult) -> String {
    match level.validity.verdict {
        Verdict::Valid => String::new(),
        verdict => format!(", {verdict}"),
    }
}

/// Energy over output tokens; a run reads the meter once, so that there is no interval.
fn joules_per_token(level: &LevelResult) -> String {
    let tokens = level.overall.output_tokens.0;
    match level.resources.energy_joules.filter(|_| tokens > 0) {
        Some(joules) => format!("{} (one reading){}", rate(joules / tokens as f64), doubt(level)),
        None => "not measured".to_owned(),
    }
}

/// Money that moves with the capacity, and how that was obtained where it was not measured.
fn on_capacity(plan: &Plan, text: &str) -> String {
    match plan.fleet.replica_capacity.as_ref().map(|capacity| capacity.basis) {
        Some(Basis::Interpolated) => format!("{text}, interpolated"),
        Some(Basis::Extrapolated) => format!("{text}, extrapolated"),
        Some(Basis::Estimated) => format!("{text}, estimated"),
        Some(Basis::Measured) | None => text.to_owned(),
    }
}

/// Only the model calls move with the capacity, so the interval of the month is theirs too.
fn per_million(option: &OptionPlan) -> String {
    let Some(price) = option.usd_per_million_output_tokens else { return ABSENT.to_owned() };
    let calls: Usd = option
        .lines
        .iter()
        .filter(|line| matches!(line.line, LineItem::Inference | LineItem::Retries))
        .map(|line| line.usd_per_month)
        .sum();
    let at = |month: Usd| {
        let moved = calls + month - option.usd_per_month;
        moved.per(calls.0).map(|ratio| money(price.times(ratio.0)))
    };
    match option.usd_per_month_interval.and_then(|(low, high)| at(low).zip(at(high))) {
        Some((low, high)) => with_interval(&money(price), &low, &high),
        None => format!("{} (interval not known)", money(price)),
    }
}

fn per_success(option: &OptionPlan) -> String {
    let Some(price) = option.usd_per_successful_outcome else { return ABSENT.to_owned() };
    let at = |month: Usd| month.per(option.usd_per_month.0).map(|ratio| money(price.times(ratio.0)));
    match option.usd_per_month_interval.and_then(|(low, high)| at(low).zip(at(high))) {
        Some((low, high)) => with_interval(&money(price), &low, &high),
        None => format!("{} (interval not known)", money(price)),
    }
}
