//! The tree under any number of a plan, down to a measurement run, a price row or an assumption.
//!
//! It walks the plan's JSON, so every field that a plan has can be asked for. Members of lists are named by what identifies them:
//! `options.self_host.lines.inference`, `fleet_plan.hours[3].replicas`.

mod sections;

use std::fmt::Write as _;

use serde_json::Value;

/// Keys that name a member of a list, the first present one.
const NAMES: [&str; 7] = ["id", "line", "path", "api", "name", "by", "scenario"];
/// Suggestions for a path that is not there.
const SUGGESTIONS: usize = 5;
/// Members of a list or table shown before `…`.
const SHOWN: usize = 40;

/// A path that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan has nothing at `{path}`; near it: {}", suggestions.join(", "))]
pub struct NoSuchPath {
    /// What was asked.
    pub path: String,
    /// Paths that are there, the most alike first.
    pub suggestions: Vec<String>,
}

/// The tree under a path of a plan, as text.
///
/// # Errors
/// Where nothing is there, with the nearest paths.
pub fn explain(plan: &Value, path: &str) -> Result<String, NoSuchPath> {
    let mut at = plan;
    // The provenance that covers what is asked for: its own, else its nearest container's.
    let mut from = None;
    let mut above = Vec::new();
    let parts = split(path);
    for part in &parts {
        above.push(at);
        match step(at, part) {
            Some(next) => at = next,
            None => return Err(NoSuchPath { path: path.to_owned(), suggestions: suggest(plan, path) }),
        }
        from = provenance(at).or(from);
    }
    let mut out = String::new();
    writeln_to(&mut out, 0, &format!("{path} = {}", brief(at)));
    let key = parts.last().cloned().unwrap_or_default();
    let container = above.last().copied().unwrap_or(&Value::Null);
    if is_total(container, &key) {
        writeln_to(&mut out, 1, "the sum of its lines:");
        for line in container.get("lines").and_then(Value::as_array).into_iter().flatten() {
            let usd = line.get("usd_per_month").or_else(|| line.get("usd"));
            let name = line.get("line").and_then(Value::as_str).unwrap_or("line");
            if usd.is_some_and(|usd| !is_zero(usd)) {
                writeln_to(&mut out, 1, &format!("{name} = {}", usd.map(brief).unwrap_or_default()));
                if let Some(from) = provenance(line) {
                    tree(&mut out, 2, from);
                }
            }
        }
    } else if let Some((ratio, inputs)) = ratio(container, &key) {
        writeln_to(&mut out, 1, ratio);
        for input in inputs {
            if let Some(value) = container.get(*input) {
                writeln_to(&mut out, 2, &format!("{input} = {}", brief(value)));
            }
        }
        for input in ["requests_per_month", "mean_output_tokens"] {
            if ratio.contains(&input.replace('_', " ")) {
                let value =
                    plan.get("traffic").and_then(|traffic| traffic.get(input)).map(brief).unwrap_or_default();
                writeln_to(&mut out, 2, &format!("traffic.{input} = {value}"));
            }
        }
        writeln_to(&mut out, 1, "ask for the option's usd_per_month for the lines under it");
    } else {
        if at.is_object() || at.is_array() {
            members(&mut out, 1, at);
        }
        // A figure may have a tree of its own beside that of its row.
        let own = container.get(format!("{key}_from")).and_then(provenance);
        let from =
            own.or(from).or_else(|| (key == "success_probability").then(|| success(container)).flatten());
        let rows = if from.is_none() { sections::section(plan, &parts) } else { Vec::new() };
        match from {
            Some(from) => tree(&mut out, 1, from),
            None if rows.is_empty() => writeln_to(
                &mut out,
                1,
                "computed by the planner from the plan's other numbers (docs/METHOD.md)",
            ),
            None => rows.iter().for_each(|(depth, text)| writeln_to(&mut out, *depth, text)),
        }
    }
    Ok(out)
}

fn writeln_to(out: &mut String, depth: usize, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}{text}", "  ".repeat(depth));
}

/// Parts of a path: by dots and brackets; a quoted or bracketed part may hold dots.
pub(crate) fn split(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => {
                inside = true;
                parts.push(std::mem::take(&mut part));
            }
            ']' => inside = false,
            '.' if !inside => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}

fn step<'a>(at: &'a Value, part: &str) -> Option<&'a Value> {
    match at {
        Value::Object(fields) => fields.get(part),
        Value::Array(items) => {
            let is = |item: &&Value, is: fn(&str) -> &str| name(item).is_some_and(|name| is(&name) == part);
            let whole = items.iter().find(|item| is(item, |name| name));
            // The end of a name, where one alone ends so.
            let mut ends = items.iter().filter(|item| is(item, tail));
            let end = ends.next().filter(|_| ends.next().is_none());
            whole.or(end).or_else(|| items.get(part.parse::<usize>().ok()?))
        }
        _ => None,
    }
}

/// A name with dots in it (`gpt-4.1`) is asked for in brackets; without its kind it is short enough to type.
fn tail(name: &str) -> &str {
    name.rsplit(['/', ':']).next().unwrap_or(name)
}

fn name(item: &Value) -> Option<String> {
    NAMES.iter().find_map(|key| item.get(key)?.as_str()).map(str::to_owned)
}

/// A value's own provenance: itself, or one of its fields.
fn provenance(value: &Value) -> Option<&Value> {
    let is = |value: &&Value| {
        let kind = value.get("kind").and_then(Value::as_str);
        kind.is_some_and(|kind| {
            ["measured", "price_sheet", "published", "assumption", "computed"].contains(&kind)
        })
    };
    if is(&value) {
        Some(value)
    } else {
        ["from", "price_from"].iter().find_map(|key| value.get(key).filter(is))
    }
}

fn is_total(container: &Value, key: &str) -> bool {
    key.starts_with("usd")
        && (key == "usd_per_month" || key == "usd_total")
        && container.get("lines").is_some()
}

/// What an option's figure is the quotient of, and those of its own fields that go in.
fn ratio(container: &Value, key: &str) -> Option<(&'static str, &'static [&'static str])> {
    container.get("lines")?;
    match key {
        "usd_per_request" => Some(("usd_per_month / requests per month", &["usd_per_month"])),
        "usd_per_successful_outcome" => Some((
            "usd_per_month / (requests per month x success_probability)",
            &["usd_per_month", "success_probability"],
        )),
        "usd_per_million_output_tokens" => Some((
            "its model calls' part of the bill / (requests per month x mean output tokens), a million of them",
            &[],
        )),
        _ => None,
    }
}

/// The share that succeeds has its provenance among the unit economics.
fn success(option: &Value) -> Option<&Value> {
    let figures = option.get("unit_economics")?.as_array()?;
    let figure =
        figures.iter().find(|figure| name(figure).as_deref() == Some("usd_per_successful_outcome"))?;
    let inputs = figure.get("from")?.get("inputs")?.as_array()?;
    inputs.iter().find(|input| name(input).as_deref() == Some("share that succeeds"))?.get("from")
}

fn tree(out: &mut String, depth: usize, from: &Value) {
    let text = |key: &str| from.get(key).and_then(Value::as_str).unwrap_or("");
    match text("kind") {
        "measured" => {
            writeln_to(out, depth, &format!("measured in run {}: {}", text("run_id"), text("path")));
        }
        "price_sheet" => {
            let stale = from.get("stale").and_then(Value::as_bool).unwrap_or(false);
            let date = from.get("date").and_then(Value::as_str).unwrap_or("no date");
            let stale = if stale { ", STALE" } else { "" };
            writeln_to(out, depth, &format!("price row {} ({date}{stale}), {}", text("row"), text("source")));
        }
        "published" => writeln_to(out, depth, &format!("published: {}", text("reference"))),
        "assumption" => {
            let note =
                from.get("note").and_then(Value::as_str).map(|note| format!(" ({note})")).unwrap_or_default();
            writeln_to(out, depth, &format!("assumption at {}{note}", text("path")));
        }
        "computed" => {
            writeln_to(out, depth, &format!("= {}", text("formula")));
            for input in from.get("inputs").and_then(Value::as_array).into_iter().flatten() {
                let field = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or("");
                writeln_to(out, depth + 1, &format!("{} = {}", field("name"), field("value")));
                if let Some(from) = input.get("from") {
                    tree(out, depth + 2, from);
                }
            }
        }
        _ => {}
    }
}

fn members(out: &mut String, depth: usize, value: &Value) {
    let rows: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| *key != "from" && !key.ends_with("_from"))
            .map(|(k, v)| (k.clone(), v))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, item)| (name(item).unwrap_or_else(|| format!("[{i}]")), item))
            .collect(),
        _ => Vec::new(),
    };
    for (key, value) in rows.iter().take(SHOWN) {
        writeln_to(out, depth, &format!("{key}: {}", brief(value)));
    }
    if rows.len() > SHOWN {
        writeln_to(out, depth, &format!("… and {} more", rows.len() - SHOWN));
    }
}

/// A value in one line.
fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("{} members", items.len()),
        Value::Object(fields) => {
            let amount = ["usd_per_month", "usd", "value", "minutes", "gb", "share", "retries_per_call"]
                .iter()
                .find_map(|key| fields.get(*key));
            amount.map_or_else(|| format!("{} fields", fields.len()), brief)
        }
        other => other.to_string(),
    }
}

fn is_zero(value: &Value) -> bool {
    value.as_str().and_then(|text| text.parse::<f64>().ok()).is_some_and(|usd| usd.abs() < f64::MIN_POSITIVE)
}

/// The paths most alike, by edit distance over their parts.
fn suggest(plan: &Value, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    collect(plan, "", 0, &mut all);
    all.sort_by_key(|candidate| (distance(candidate, path), candidate.len()));
    all.dedup();
    all.truncate(SUGGESTIONS);
    all
}

fn collect(value: &Value, path: &str, depth: usize, all: &mut Vec<String>) {
    if depth > 4 || all.len() > 20_000 {
        return;
    }
    let join = |key: &str| {
        let key = if key.contains('.') { format!("[{key}]") } else { key.to_owned() };
        if path.is_empty() {
            key
        } else if key.starts_with('[') {
            format!("{path}{key}")
        } else {
            format!("{path}.{key}")
        }
    };
    let mut go = |key: &str, value: &Value| {
        let path = join(key);
        all.push(path.clone());
        collect(value, &path, depth + 1, all);
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| *key != "from" && !key.ends_with("_from"))
            .for_each(|(k, v)| go(k, v)),
        Value::Array(items) => items.iter().take(200).enumerate().for_each(|(index, item)| {
            go(&name(item).unwrap_or_else(|| index.to_string()), item);
        }),
        _ => {}
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let cost = (corner + usize::from(x != *y)).min(left + 1).min(*above + 1);
            corner = *above;
            *above = cost;
            left = cost;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> Value {
        json!({
            "traffic": {"requests_per_month": 1e6},
            "options": [{
                "id": "self_host", "usd_per_month": "110", "usd_per_request": "0.00011", "success_probability": 0.7,
                "lines": [
                    {"line": "inference", "usd_per_month": "100", "from": {"kind": "computed", "formula": "hours x price", "inputs": [
                        {"name": "hours", "value": "730.5", "from": {"kind": "measured", "run_id": "r1", "path": "search.capacity.rate"}},
                        {"name": "price", "value": "0.1", "from": {"kind": "assumption", "path": "fleet.usd_per_hour", "note": null}}
                    ]}},
                    {"line": "support", "usd_per_month": "10", "from": {"kind": "assumption", "path": "cost[0]", "note": "typed"}},
                    {"line": "storage", "usd_per_month": "0", "from": {"kind": "assumption", "path": "(none)", "note": null}}
                ]
            }]
        })
    }

    #[test]
    fn a_total_goes_down_to_run_price_and_assumption() {
        let text = explain(&plan(), "options.self_host.usd_per_month").unwrap();
        for part in ["= 110", "inference = 100", "measured in run r1", "assumption at cost[0] (typed)"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("storage"), "zeros are left out: {text}");
        let line = explain(&plan(), "options[0].lines.inference").unwrap();
        assert!(line.contains("hours x price") && line.contains("fleet.usd_per_hour"), "{line}");
    }

    #[test]
    fn a_bad_path_is_answered_with_the_nearest() {
        let error = explain(&plan(), "options.selfhost.usd_per_month").unwrap_err();
        assert_eq!(error.suggestions.first().map(String::as_str), Some("options.self_host.usd_per_month"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
