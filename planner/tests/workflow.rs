//! The workflow's chain against docs/METHOD.md's worked example, direct simulation and the laws of its costs.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::fmt::Write as _;

use breakeven_planner::{
    product::OnlyFor,
    workflow::{Expected, Journeys, ModelPrice, Workflow, simulate},
};
use proptest::prelude::*;

const WORKED: &str = include_str!("fixtures/worked-stages.toml");

fn price(model: &str, _prompt: f64) -> Option<ModelPrice> {
    (model == "option").then_some(ModelPrice {
        usd_per_million_input: 1.0,
        usd_per_million_output: 4.0,
        usd_per_call: 0.0,
    })
}

fn read(text: &str) -> Workflow {
    Workflow::read(text, "bot.toml", OnlyFor::SelfHost, price).unwrap()
}

fn expected(text: &str) -> Expected {
    read(text).expected().unwrap()
}

fn close(found: f64, by_hand: f64) {
    assert!((found - by_hand).abs() < 1e-8, "{found}, by hand {by_hand}");
}

#[test]
fn the_chain_is_as_docs_method_works_it() {
    let found = expected(WORKED);
    let visits: Vec<f64> = found.stages.iter().map(|stage| stage.visits).collect();
    for (found, by_hand) in visits.iter().zip([1.0, 1.057_330_83, 1.048_872_18, 0.160_902_26]) {
        close(*found, by_hand);
    }
    close(found.stages[1].retries, 0.253_759_40);
    close(found.stages[1].retried_input_tokens, 0.253_759_398_5 * 750.0);
    close(found.success, 0.839_097_74);
    close(found.escalation, 0.160_902_26);
    close(found.resolved, 0.983_909_77);
    close(found.failure, 0.016_090_23);
    close(found.minutes(), 0.965_413_53);
    close(found.usd(), 0.484_259_97);
}

#[test]
fn a_branch_may_hold_for_one_kind_of_option() {
    let text = WORKED.replace(
        "{ to = \"success\", probability = 0.8 },",
        "{ to = \"success\", probability = 0.8, only = \"self_host\" },\n{ to = \"success\", probability = 0.7, only = \"api\" },\n{ to = \"failure\", probability = 0.1, only = \"api\" },",
    );
    assert_eq!(expected(&text), expected(WORKED));
    let api = Workflow::read(&text, "bot.toml", OnlyFor::Api, price).unwrap().expected().unwrap();
    assert!(api.success < 0.8 && api.failure > 0.1);
}

#[test]
fn latency_runs_along_the_path_until_a_person() {
    let timed = |calls: &str| {
        let text = format!(
            "[[stage]]\nid = \"a\"\nkind = \"tool\"\nusd_per_call = 0\nlatency = {{ median = \"2 s\" }}\n{calls}\nbranches = [{{ to = \"b\" }}]\n\
             [[stage]]\nid = \"b\"\nkind = \"human\"\nminutes_per_visit = 60\nloaded_usd_per_hour = 1\nbranches = [{{ to = \"success\" }}]\n"
        );
        simulate(&read(&text), 100, 1).latency_seconds(0.5).unwrap()
    };
    // Two calls after one another, or at once; the hour of a person is not in it.
    close(timed("calls_per_visit = 2"), 4.0);
    close(timed("calls_per_visit = 2\nparallel = true"), 2.0);
    // Every attempt fails: 2 + 1 + 2 + 2 + 2 with waits of 1 and 2 seconds.
    close(timed("on_failure = \"b\"\nretries = { product = 1, most = 2, backoff = \"1 s\" }"), 9.0);
    assert_eq!(
        simulate(&read(WORKED), 10, 1).latency_seconds(0.5),
        None,
        "stages that do not say how long they take"
    );
}

/// The error of the worked example with one piece of text replaced.
fn refused(from: &str, to: &str) -> String {
    assert!(WORKED.contains(from), "the example lost `{from}`");
    Workflow::read(&WORKED.replacen(from, to, 1), "bot.toml", OnlyFor::Api, price).unwrap_err().to_string()
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let over = refused("probability = 0.8 }", "probability = 0.9 }");
    assert!(over.starts_with("bot.toml, line 23: `branches = [`") && over.contains("found 1.1"), "{over}");
    let under = refused("probability = 0.8 }", "probability = 0.7 }");
    assert!(under.contains("takes the rest, found 0.9"), "{under}");
    let share = refused("probability = 0.8 }", "probability = 1.8 }");
    assert!(share.contains("line 24") && share.contains("found 1.8"), "{share}");
    let unknown = refused("to = \"check\"", "to = \"chek\"");
    assert!(unknown.contains("line 13") && unknown.contains("intake, answer, check, person"), "{unknown}");
    let unreached = refused("{ to = \"check\" }", "{ to = \"person\" }");
    assert!(
        unreached.contains("line 20: `id = \"check\"`") && unreached.contains("found none that does"),
        "{unreached}"
    );
    let endless = refused(
        "branches = [{ to = \"success\", probability = 0.9 }, { to = \"failure\" }]",
        "branches = [{ to = \"person\" }]",
    );
    assert!(endless.contains("found a loop that never ends") && endless.contains("line 33"), "{endless}");
    let free = refused("usd_per_call = 0.0002\n", "");
    assert!(free.contains("line 20") && free.contains("expected a price"), "{free}");
    let minutes = refused("minutes_per_visit = 6", "minutes_per_visit = -6");
    assert!(minutes.contains("line 31") && minutes.contains("found -6"), "{minutes}");
    let model = refused("model = \"option\"", "model = \"nobody/nothing\"");
    assert!(model.contains("line 10") && model.contains("that a price sheet has"), "{model}");
    let twice = refused("id = \"check\"", "id = \"answer\"");
    assert!(twice.contains("line 20") && twice.contains("twice"), "{twice}");
}

/// A random workflow in which every stage is reached and ends are not far.
fn workflows() -> impl Strategy<Value = String> {
    let stage = (
        proptest::collection::vec(0.0..1.0_f64, 8),
        0.0..0.4_f64,
        0.0..0.2_f64,
        0_u32..4,
        prop_oneof![Just(1.0), Just(2.0), Just(1.4)],
        any::<bool>(),
    );
    proptest::collection::vec(stage, 2..6).prop_map(|stages| {
        let mut text = String::new();
        let n = stages.len();
        for (index, (weights, infrastructure, product, most, calls, person)) in stages.iter().enumerate() {
            let mut targets: Vec<String> = (0..n).map(|to| format!("s{to}")).collect();
            targets.extend(["success", "failure", "escalated"].map(str::to_owned));
            // The next stage is reached for sure, and a third of visits end.
            let mut shares: Vec<f64> = weights.iter().take(n).map(|w| w * 0.4).collect();
            if let Some(next) = shares.get_mut(index + 1) {
                *next += 0.3;
            }
            let ends = weights.iter().rev().take(3).map(|w| w + 0.1).collect::<Vec<f64>>();
            let scale = (shares.iter().sum::<f64>() * 0.5).max(0.2) / ends.iter().sum::<f64>();
            shares.extend(ends.iter().map(|w| w * scale));
            let total: f64 = shares.iter().sum();
            let kind = if *person && index + 1 == n { "human\"\nminutes_per_visit = 3\nloaded_usd_per_hour = 30" } else { "tool\"" };
            writeln!(text, "[[stage]]\nid = \"s{index}\"\nkind = \"{kind}\nusd_per_call = 0.0{}\ncalls_per_visit = {calls:?}", index + 1).unwrap();
            let branches: Vec<String> = targets
                .iter()
                .zip(&shares)
                .map(|(to, share)| format!("{{ to = \"{to}\", probability = {:.12} }}", share / total))
                .collect();
            writeln!(text, "branches = [{}]", branches.join(", ")).unwrap();
            writeln!(text, "on_failure = \"failure\"\n[stage.retries]\ninfrastructure = {infrastructure:?}\nproduct = {product:?}\nof_product = false\nmost = {most}").unwrap();
        }
        text
    })
}

/// Whether a mean over batches is the expected one, within seven of its standard errors.
fn agrees(name: &str, wanted: f64, batches: &[f64]) -> Result<(), TestCaseError> {
    let n = batches.len() as f64;
    let mean = batches.iter().sum::<f64>() / n;
    let variance = batches.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let error = (variance / n).sqrt();
    prop_assert!(
        (mean - wanted).abs() <= 7.0 * error + 1e-9,
        "{name}: {wanted} solved, {mean} ± {error} simulated"
    );
    Ok(())
}

const BATCHES: u64 = 50;
const JOURNEYS: u64 = 20_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_chain_equals_a_million_journeys(text in workflows(), seed in any::<u64>()) {
        let workflow = read(&text);
        let solved = workflow.expected().unwrap();
        let batches: Vec<Journeys> =
            (0..BATCHES).map(|batch| simulate(&workflow, JOURNEYS, seed.wrapping_add(batch))).collect();
        let of = |value: &dyn Fn(&Journeys) -> f64| -> Vec<f64> {
            batches.iter().map(|journeys| value(journeys) / JOURNEYS as f64).collect()
        };
        for (index, stage) in solved.stages.iter().enumerate() {
            agrees("visits", stage.visits, &of(&|j| j.visits[index] as f64))?;
            agrees("attempts", stage.calls + stage.retries, &of(&|j| j.attempts[index] as f64))?;
        }
        agrees("success", solved.success, &of(&|j| j.success as f64))?;
        agrees("resolved", solved.resolved, &of(&|j| j.resolved as f64))?;
        agrees("escalation", solved.escalation, &of(&|j| j.escalated as f64))?;
        agrees("USD", solved.usd(), &of(&|j| j.usd.0))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn costs_scale_and_grow_and_no_request_is_lost(text in workflows(), factor in 1.0..5.0_f64) {
        let once = expected(&text);
        let mut dearer = text.clone();
        for stage in (1..7).rev() {
            dearer = dearer.replace(&format!("usd_per_call = 0.0{stage}\n"), &format!("usd_per_call = {:?}\n", f64::from(stage) / 100.0 * factor));
        }
        let dearer = dearer.replace("loaded_usd_per_hour = 30", &format!("loaded_usd_per_hour = {:?}", 30.0 * factor));
        let more = expected(&dearer);
        prop_assert!((more.usd() - once.usd() * factor).abs() <= 1e-9 * more.usd());
        let sum: f64 = once.stages.iter().map(|stage| stage.usd + stage.retried_usd).sum();
        prop_assert!((sum - once.usd()).abs() <= 1e-12 * sum);
        prop_assert!(once.success <= once.resolved + 1e-12 && once.resolved + once.failure <= 1.0 + 1e-9);
        // One more retry costs more and never loses a request.
        let retried = text.replace("most = 0\n", "most = 1\n");
        let again = expected(&retried);
        let retries = |found: &Expected| found.stages.iter().map(|stage| stage.retries).sum::<f64>();
        prop_assert!(retries(&again) >= retries(&once) - 1e-12 && again.usd() >= once.usd() - 1e-12);
    }
}
