//! A comparison of two measurements, for a terminal or a pull request.

use breakeven_measurement::{
    compare::{Comparison, Row, Verdict},
    metric::{Metric, Unit},
};

use crate::{
    format::{self, ABSENT},
    table::{align_right, new_table},
    terminal::plain,
};

const HEADS: [&str; 7] = ["level", "metric", "A", "B", "change", "interval", "shown"];

/// Metrics over the threshold that the headline names; the table has all.
const NAMED: usize = 3;

/// The comparison as a table with its answer above, `width` columns wide.
pub fn terminal(comparison: &Comparison, width: usize) -> String {
    let mut table = new_table();
    table.set_header(HEADS);
    for row in &comparison.rows {
        table.add_row(cells(row));
    }
    align_right(&mut table, 2..6);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    let mut out =
        format!("{}\n\nA  {}\nB  {}\n\n", headline(comparison), plain(&comparison.a), plain(&comparison.b));
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
    for note in notes(comparison) {
        out.push_str(&wrapped(&note, width));
    }
    out
}

/// The same for a pull request.
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = format!(
        "**{}**\n\nA: `{}`, B: `{}`\n\n| {} |\n|---|---|---:|---:|---:|---:|---|\n",
        headline(comparison),
        plain(&comparison.a),
        plain(&comparison.b),
        HEADS.join(" | ")
    );
    for row in &comparison.rows {
        out.extend(["| ", &cells(row).join(" | "), " |\n"]);
    }
    out.push('\n');
    for note in notes(comparison) {
        out.extend(["- ", &note, "\n"]);
    }
    out
}

/// The answer in one line.
pub fn headline(comparison: &Comparison) -> String {
    let count = |verdict| comparison.rows.iter().filter(|row| row.verdict == verdict).count();
    let over: Vec<String> =
        comparison.rows.iter().filter(|row| row.over_threshold).map(|row| name(row).join(" ")).collect();
    let threshold = format::percent(Some(comparison.threshold));
    let (better, worse) = (count(Verdict::Better), count(Verdict::Worse));
    let rest =
        format!("{better} better, {worse} worse, {} no difference shown", count(Verdict::NoDifferenceShown));
    if over.is_empty() {
        format!("Nothing is shown to be worse by more than {threshold}: {rest}")
    } else {
        let more = over.len().saturating_sub(NAMED);
        let named: Vec<String> = over.into_iter().take(NAMED).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("Worse by more than {threshold}: {}{more} ({rest})", named.join(", "))
    }
}

fn name(row: &Row) -> [String; 2] {
    [row.level.map_or_else(|| "search".to_owned(), |level| level.to_string()), row.metric.label().to_owned()]
}

fn cells(row: &Row) -> [String; 7] {
    let unit = row.metric.unit();
    let value = |value: Option<f64>| match unit {
        // A TPOT is of completed requests only: without a value there was none. The others were infinite.
        Unit::Seconds if value.is_none() && !matches!(row.metric, Metric::TpotP50 | Metric::TpotP95) => {
            "never".to_owned()
        }
        Unit::Seconds => format::seconds(value),
        Unit::Share => format::percent(value),
        Unit::RequestsPerSecond => {
            value.map_or_else(|| ABSENT.to_owned(), |v| format!("{} req/s", format::rate(v)))
        }
    };
    let comparable = row.verdict != Verdict::NotComparable;
    let interval = if comparable {
        let end = |end: Option<f64>| end.map_or_else(|| "?".to_owned(), |end| change(end, unit));
        format!("{} … {}", end(row.low), end(row.high))
    } else {
        ABSENT.to_owned()
    };
    let shown = match row.verdict {
        Verdict::Better => "better",
        Verdict::Worse if row.over_threshold => "WORSE",
        Verdict::Worse => "worse",
        Verdict::NoDifferenceShown => "no difference shown",
        Verdict::NotComparable => "not comparable",
    };
    let [level, metric] = name(row);
    let delta = row.change.map_or_else(|| ABSENT.to_owned(), |delta| change(delta, unit));
    [level, metric, value(row.a), value(row.b), delta, interval, shown.to_owned()]
}

/// A change with its sign: per cent of a value, points of a share.
fn change(change: f64, unit: Unit) -> String {
    let points = change * 100.0;
    let digits = format!("{points:+.1}");
    let digits = if digits == "-0.0" { "+0.0".to_owned() } else { digits };
    match unit {
        Unit::Share => format!("{digits} pt"),
        Unit::Seconds | Unit::RequestsPerSecond => format!("{digits} %"),
    }
}

fn notes(comparison: &Comparison) -> Vec<String> {
    let mut notes = vec![format!(
        "Intervals: {} each, so that all {} together hold with {} (Bonferroni); ? is no bound. They treat requests as \
         independent; under a queue they are not, and two runs of one system may differ by more.",
        format::percent(Some((comparison.row_confidence * 1e4).floor() / 1e4)),
        comparison.rows.iter().filter(|row| row.verdict != Verdict::NotComparable).count(),
        format::percent(Some(comparison.joint_confidence)),
    )];
    notes.extend(comparison.notes.iter().map(|note| plain(note)));
    notes
}

fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut line = "  -".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > width && line.trim() != "-" {
            out.push_str(&line);
            out.push('\n');
            "   ".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
    out
}
