//! Parts of a plan whose numbers carry no provenance of their own, because all of them come about in the same way.

use serde_json::Value;

/// How a number without provenance came about: the rows of its tree, each with its depth. Empty where it is said nowhere.
pub(super) fn section(plan: &Value, parts: &[String]) -> Vec<(usize, String)> {
    let named: Vec<&str> = parts.iter().map(String::as_str).collect();
    match named.as_slice() {
        ["measured", rest @ ..] => measured(plan, &rest.join(".")),
        ["load_curve", ..] => measured(plan, "each point's own level, repeat or probe"),
        ["uncertainty", what, ..] => drawn(plan, what),
        ["scenarios", "cells", index, ..] => cell(plan, index),
        ["horizon", ..] => horizon(plan),
        ["allocations", by, ..] => allocation(plan, by),
        ["break_evens", ..] => vec![
            (1, "both options costed in full at 113 volumes from 1,000 to 10,000,000,000 requests a month; the volume".into()),
            (1, "after which self-host stays the cheaper one, refined by bisection; the interval is the same at the ends of".into()),
            (1, "the measured capacity's interval (docs/METHOD.md, Break-even)".into()),
            (1, format!("capacity of a replica = {}", text(plan, &["fleet", "replica_capacity", "rate"]))),
        ],
        ["traffic", key] => traffic(plan, key),
        ["fleet", "utilization"] => utilization(plan),
        ["fleet", "headroom"] => vec![(1, "1 - utilization: capacity kept idle on average, on purpose; ask for fleet.utilization".into())],
        _ => Vec::new(),
    }
}

fn utilization(plan: &Value) -> Vec<(usize, String)> {
    let measured = plan.get("cost_basis").and_then(|basis| basis.get("own_retries_per_request"));
    let measured = measured.filter(|retries| !retries.is_null()).map(super::brief);
    // A measured capacity is of requests with their retries, the mean rate of attempts.
    let held = if measured.is_some() { " / (1 + measured retries a request)" } else { "" };
    let mut rows = vec![
        (1, format!("mean rate{held} / (replicas x capacity of a replica)")),
        (2, format!("mean rate = {}/s", text(plan, &["traffic", "mean_rate"]))),
    ];
    rows.extend(measured.map(|retries| (2, format!("measured retries a request = {retries}"))));
    rows.push((2, format!("replicas = {}", text(plan, &["fleet", "replicas"]))));
    rows.push((
        2,
        format!("capacity of a replica = {}/s", text(plan, &["fleet", "replica_capacity", "rate"])),
    ));
    rows
}

fn text(plan: &Value, path: &[&str]) -> String {
    let found = path.iter().try_fold(plan, |at, key| at.get(*key));
    found.map_or_else(|| "absent".to_owned(), super::brief)
}

fn measured(plan: &Value, what: &str) -> Vec<(usize, String)> {
    vec![
        (1, format!("measured in run {}: {what}", text(plan, &["measured", "run_id"]))),
        (2, text(plan, &["measured", "model"])),
        (2, text(plan, &["measured", "machine"])),
        (2, format!("SLO {}", text(plan, &["measured", "slo"]))),
    ]
}

/// What the draws are of.
fn drawn(plan: &Value, what: &str) -> Vec<(usize, String)> {
    let Some(found) = plan.get("uncertainty") else { return Vec::new() };
    let how = match what {
        "tornado" => {
            "the plan anew with one input at its low and its high end, all others at their likely value"
                .to_owned()
        }
        "flips" => {
            "the plan anew along one input until another option is the cheapest, all others as they are"
                .to_owned()
        }
        "inputs" => "an input of the draws".to_owned(),
        _ => format!(
            "the plan anew in {} draws of the uncertain inputs (seed {}), the same draws for every option",
            text(found, &["draws"]),
            text(found, &["seed"])
        ),
    };
    let mut rows = vec![(1, format!("{how} (docs/METHOD.md, Planning)"))];
    for input in found.get("inputs").and_then(Value::as_array).into_iter().flatten() {
        let of = |key: &str| text(input, &[key]);
        rows.push((
            2,
            format!(
                "{}: {}, {} to {}, likely {}",
                of("path"),
                of("distribution"),
                of("low"),
                of("high"),
                of("likely")
            ),
        ));
    }
    rows
}

fn cell(plan: &Value, index: &str) -> Vec<(usize, String)> {
    let Some(matrix) = plan.get("scenarios") else { return Vec::new() };
    let cell =
        matrix.get("cells").zip(index.parse::<usize>().ok()).and_then(|(cells, index)| cells.get(index));
    let Some(cell) = cell else { return Vec::new() };
    let mut rows = vec![(1, "the whole plan anew with these assumptions changed:".to_owned())];
    for (kind, list) in [("scenario", "scenarios"), ("stress", "stresses")] {
        let name = text(cell, &[kind]);
        let conditions = matrix.get(list).and_then(Value::as_array);
        let condition = conditions.into_iter().flatten().find(|condition| text(condition, &["name"]) == name);
        let changes = condition.map_or_else(String::new, |condition| text(condition, &["changes"]));
        rows.push((2, format!("{kind} {name}: {changes}")));
    }
    rows
}

fn horizon(plan: &Value) -> Vec<(usize, String)> {
    let Some(found) = plan.get("horizon") else { return Vec::new() };
    let mut rows = vec![(1, format!("the plan anew in each of {} months, with:", text(found, &["months"])))];
    let assumes = found.get("assumes").and_then(Value::as_array).into_iter().flatten();
    rows.extend(assumes.map(|assumption| (2, super::brief(assumption))));
    rows
}

fn allocation(plan: &Value, by: &str) -> Vec<(usize, String)> {
    let Some(split) = plan.get("allocations").and_then(|all| super::step(all, by)) else { return Vec::new() };
    let of = |key: &str| text(split, &[key]);
    vec![
        (1, format!("part of the bill of {}, {} to the cent", of("option"), of("usd_per_month"))),
        (2, of("basis")),
        (2, of("idle_rule")),
    ]
}

fn traffic(plan: &Value, key: &str) -> Vec<(usize, String)> {
    let formula = match key {
        "attempts_per_month" => {
            "requests a month x times each is asked x (1 + retries a request); with [[stage]], all calls of our own model"
        }
        "mean_rate" => "attempts a month / (730.5 x 3,600 s)",
        "peak_hour_rate" => "mean rate x the busiest hour of the week over the mean hour",
        "design_rate" => "peak hour's rate x burst factor",
        "mean_input_tokens" | "mean_output_tokens" => "segments' means, weighted by their share of requests",
        _ => return Vec::new(),
    };
    vec![
        (1, formula.to_owned()),
        (2, format!("requests a month = {}", text(plan, &["traffic", "requests_per_month"]))),
    ]
}
