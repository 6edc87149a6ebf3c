//! Production beside the plan, for a terminal or a pull request.

use std::fmt::Write as _;

use breakeven_planner::actuals::{Actuals, Figure, Flag, FlagKind, Group, Line};
use breakeven_usage::{Dimension, source::Format};

use crate::{
    format::{ABSENT, money, percent, rate, seconds, volume},
    markdown::inline,
    titled_table::TitledTable,
};

/// Values of a label that are shown; the JSON has them all.
const SHOWN: usize = 10;
/// Causes and pairs that are shown.
const SHOWN_CAUSES: usize = 5;

/// For a terminal of `width` columns.
pub fn text(actuals: &Actuals, width: usize) -> String {
    let mut out = lead(actuals).join("\n");
    out.push('\n');
    for table in tables(actuals) {
        out.push_str(&table.text(width));
    }
    let _ = write!(out, "\n{}\n", forecast(actuals).join("\n"));
    for note in notes(actuals) {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

/// As GitHub-flavoured markdown.
pub fn markdown(actuals: &Actuals) -> String {
    let mut out = vec!["# Production against the plan".to_owned(), String::new()];
    out.extend(lead(actuals).iter().map(|line| format!("{}  ", inline(line))));
    for table in tables(actuals) {
        table.markdown(&mut out);
    }
    out.push(String::new());
    out.extend(forecast(actuals).iter().map(|line| format!("{}  ", inline(line))));
    out.push(String::new());
    out.extend(notes(actuals).iter().map(|note| format!("- {}", inline(note))));
    out.join("\n")
}

/// What was read, and the answer.
fn lead(actuals: &Actuals) -> Vec<String> {
    let source = &actuals.source;
    let format = match source.format {
        Format::Csv => "CSV",
        Format::JsonLines => "JSON lines",
        Format::Parquet => "Parquet",
    };
    let mut left_out = String::new();
    for (count, what) in [(source.refused, "refused"), (source.passed_over, "spans that are no model call")] {
        if count > 0 {
            let _ = write!(left_out, ", {} {what}", whole(count));
        }
    }
    let mut lines = vec![format!(
        "{} ({format}): {} rows, {} used{left_out}; {} to {} UTC, {} whole days",
        source.file,
        whole(source.read),
        whole(source.used),
        actuals.first_day,
        actuals.last_day,
        actuals.whole_days
    )];
    if let Some(with) = &actuals.compared_with {
        lines.push(format!("compared with the {with}"));
    }
    lines.push(match actuals.flags.len() {
        0 => "nothing is over a threshold".to_owned(),
        1 => "1 flag".to_owned(),
        count => format!("{count} flags"),
    });
    lines
}

fn tables(actuals: &Actuals) -> Vec<TitledTable> {
    let mut all = Vec::new();
    if !actuals.flags.is_empty() {
        all.push(TitledTable {
            title: "Flags".to_owned(),
            heads: vec!["flag", "of", "when", "was", "is", "why"],
            rows: actuals.flags.iter().map(flag).collect(),
            numbers: 3..5,
            after: Vec::new(),
        });
    }
    all.push(if actuals.comparison.is_empty() { unit_table(actuals) } else { comparison_table(actuals) });
    for dimension in Dimension::ALL {
        let groups: Vec<&Group> =
            actuals.groups.iter().filter(|group| group.dimension == dimension).collect();
        if !groups.is_empty() {
            all.push(group_table(dimension, &groups));
        }
    }
    let counted = [("Failures by cause", &actuals.causes), ("Fallbacks", &actuals.fallbacks)];
    for (title, counts) in counted {
        let Some(counts) = counts.as_ref().filter(|counts| !counts.is_empty()) else { continue };
        let rows = counts.iter().take(SHOWN_CAUSES).map(|(name, count)| vec![name.clone(), whole(*count)]);
        all.push(TitledTable {
            title: title.to_owned(),
            heads: vec!["", "attempts"],
            rows: rows.collect(),
            numbers: 1..2,
            after: more(counts.len(), SHOWN_CAUSES).into_iter().collect(),
        });
    }
    all
}

fn more(count: usize, shown: usize) -> Option<String> {
    (count > shown).then(|| format!("and {} more; --json has all", count - shown))
}

fn flag(flag: &Flag) -> Vec<String> {
    let of = match (flag.dimension, &flag.of) {
        (Some(dimension), Some(value)) => format!("{} {value}", dimension.name()),
        (None, Some(value)) => value.clone(),
        (_, None) => "all calls".to_owned(),
    };
    let when = match (flag.from, flag.to) {
        (Some(from), Some(to)) if from == to => from.to_string(),
        (Some(from), Some(to)) => format!("{from} to {to}"),
        _ => ABSENT.to_owned(),
    };
    let shown = |value: f64| match flag.kind {
        FlagKind::InputTokenSpike | FlagKind::OutputTokenSpike | FlagKind::OffPlan => rate(value),
        _ => percent(Some(value)),
    };
    let was = flag.was.map_or_else(|| ABSENT.to_owned(), shown);
    vec![flag.kind.name().to_owned(), of, when, was, shown(flag.is), flag.why.clone()]
}

fn comparison_table(actuals: &Actuals) -> TitledTable {
    let cells = |line: &Line| {
        let figure = |figure: Option<Figure>| figure.map_or_else(|| ABSENT.to_owned(), shown);
        let change =
            line.change.map_or_else(|| ABSENT.to_owned(), |change| format!("{:+.1} %", change * 100.0));
        vec![
            line.measure.name().to_owned(),
            figure(line.planned),
            figure(line.actual),
            change,
            line.note.clone().unwrap_or_default(),
        ]
    };
    TitledTable {
        title: "Plan and production".to_owned(),
        heads: vec!["", "plan", "production", "change", "note"],
        rows: actuals.comparison.iter().map(cells).collect(),
        numbers: 1..4,
        after: vec![
            "Infrastructure, storage, people and the rest of the bill are not in a log of model calls: those lines stay the plan's."
                .to_owned(),
        ],
    }
}

/// Without a plan to stand beside.
fn unit_table(actuals: &Actuals) -> TitledTable {
    let unit = &actuals.total;
    let usd = |usd: Option<breakeven_hardware::Usd>| usd.map_or_else(|| ABSENT.to_owned(), money);
    let number = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), rate);
    let rows = [
        ("requests", whole(unit.requests)),
        ("attempts", whole(unit.sums.attempts)),
        ("cost", usd(unit.usd)),
        ("USD a request", usd(unit.usd_per_request)),
        ("USD a completed request", usd(unit.usd_per_completed_request)),
        ("USD a success", usd(unit.usd_per_success)),
        ("retries a request", number(unit.retries_per_request)),
        ("failed attempts", percent(unit.failed_share)),
        ("fallbacks", percent(unit.fallback_share)),
        ("prompt tokens a call", number(unit.input_tokens)),
        ("of them cached", percent(unit.cached_share)),
        ("answer tokens a call", number(unit.output_tokens)),
        ("call time, median", seconds(unit.seconds_p50)),
        ("call time, p95", seconds(unit.seconds_p95)),
    ];
    TitledTable {
        title: "Unit economics of the model calls".to_owned(),
        heads: vec!["", "production"],
        rows: rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect(),
        numbers: 1..2,
        after: Vec::new(),
    }
}

fn group_table(dimension: Dimension, groups: &[&Group]) -> TitledTable {
    let cells = |group: &&Group| {
        let unit = &group.unit;
        let usd = |usd: Option<breakeven_hardware::Usd>| usd.map_or_else(|| ABSENT.to_owned(), money);
        let number = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), rate);
        vec![
            group.value.clone(),
            whole(unit.requests),
            usd(unit.usd),
            percent(group.cost_share),
            usd(unit.usd_per_completed_request),
            number(unit.input_tokens),
            number(unit.output_tokens),
            percent(unit.retries_per_request),
            percent(unit.failed_share),
            percent(unit.fallback_share),
        ]
    };
    TitledTable {
        title: format!("By {}", dimension.name()),
        heads: vec![
            dimension.name(),
            "requests",
            "cost",
            "share",
            "a completed request",
            "prompt",
            "answer",
            "retries",
            "failed",
            "fallbacks",
        ],
        rows: groups.iter().take(SHOWN).map(cells).collect(),
        numbers: 1..10,
        after: more(groups.len(), SHOWN).into_iter().collect(),
    }
}

fn forecast(actuals: &Actuals) -> Vec<String> {
    let forecast = &actuals.forecast;
    let month = format!("{:04}-{:02}", forecast.month.year(), forecast.month.month());
    let mut lines = Vec::new();
    if let Some(requests) = forecast.requests {
        let range = |low: String, high: String| {
            if low == high { String::new() } else { format!(", 95 % {low} to {high}") }
        };
        let mut line = format!(
            "{month}: {} requests{}",
            volume(requests.expected),
            range(volume(requests.low), volume(requests.high))
        );
        if let Some(usd) = forecast.usd {
            let range = range(money(usd.low), money(usd.high));
            let _ = write!(line, "; {}{range}", money(usd.expected));
        }
        let _ = write!(line, " ({} of {} days seen", forecast.days_seen, forecast.days);
        if let Some(usd) = forecast.usd {
            let _ = write!(line, ", {} on them", money(usd.so_far.rounded(2)));
        }
        let basis = if forecast.by_weekday { "each weekday by itself" } else { "all weekdays alike" };
        let _ = write!(line, "; from {} days, {basis})", forecast.basis_days);
        lines.push(line);
    } else {
        lines.push(format!("{month}: no forecast"));
    }
    lines.extend(forecast.note.iter().cloned());
    lines
}

fn notes(actuals: &Actuals) -> Vec<String> {
    let named = actuals.source.first_refused.iter().map(|row| format!("not used: {row}"));
    let rest = actuals.source.refused.saturating_sub(actuals.source.first_refused.len() as u64);
    let more = (rest > 0).then(|| format!("and {} more rows not used", whole(rest)));
    named.chain(more).chain(actuals.notes.iter().cloned()).collect()
}

fn shown(figure: Figure) -> String {
    match figure {
        Figure::Count(value) | Figure::PerSecond(value) if value < 1e6 => rate(value),
        Figure::Count(value) | Figure::PerSecond(value) => volume(value),
        Figure::Share(value) => percent(Some(value)),
        Figure::Usd(usd) => money(usd),
        Figure::Seconds(value) => seconds(Some(value)),
    }
}

/// All digits, thousands separated.
fn whole(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
