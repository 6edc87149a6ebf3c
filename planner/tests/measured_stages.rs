//! What was measured of the option's calls stands in for what its stages type: docs/METHOD.md's worked example, and when it does not.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_hardware::PriceBook;
use breakeven_measurement::{
    FailureCause, LevelName, LoadResult, Measurement,
    level::{SegmentResult, TokenSource},
    run::Target,
};
use breakeven_models::Tokens;
use breakeven_planner::{
    Plan, PlanOptions, Product, SELF_HOST,
    explain::explain,
    levers::levers,
    plan::{LineItem, workflow_plan::StagePlan},
};
use jiff::civil::date;
use support::{measurement, planned, product};

const NANO: &str = "api:openai/gpt-5-nano";
const REQUESTS: f64 = 2_629_800.0;
const STAGES: &str = r#"
[success]
probability = 0.9
[fleet]
usd_per_hour = 0.5
[[api]]
provider = "openai"
model = "gpt-5-nano"
[[stage]]
id = "answer"
kind = "model_call"
model = "option"
branches = [{ to = "success" }]
retries = { infrastructure = 0.2, product = 0.05, most = 2 }
"#;

/// 205 requests on a server, counted as `bench/src/tally.rs` does: 20 were tried again and 2 of those failed for good, 5 were cut off by the
/// end of the run. Every attempt that did not hold spent 75 of 150 tokens.
fn counted(product: &Product) -> Measurement {
    let mut measured = measurement(product, 0.4);
    measured.target = Target::Endpoint { url: "http://server/v1".to_owned(), model: "m".to_owned() };
    let expected = measured.levels.iter_mut().find(|level| level.name == LevelName::Expected).unwrap();
    count(&mut expected.overall);
    measured
}

fn count(load: &mut LoadResult) {
    (load.scheduled, load.completed) = (205, 198);
    load.failures = [(FailureCause::Timeout, 2), (FailureCause::Interrupted, 5)].into();
    load.retries = [(FailureCause::ServerError, 20)].into();
    (load.input_tokens, load.output_tokens) = (Tokens(19_800), Tokens(9_900));
    load.failed_tokens = Tokens(27 * 75);
    load.token_sources = [(TokenSource::Usage, 198)].into();
}

fn answer(plan: &Plan, kind: &str) -> StagePlan {
    let workflow = plan.workflow.iter().find(|workflow| workflow.id == kind).unwrap();
    workflow.stages.iter().find(|stage| stage.id == "answer").unwrap().clone()
}

fn close(found: f64, by_hand: f64) {
    assert!((found / by_hand - 1.0).abs() < 1e-6, "{found}, by hand {by_hand}");
}

#[test]
fn measured_failures_replace_typed_ones_for_our_own_replicas_alone() {
    let product = product(REQUESTS, STAGES);
    let plan = planned(&product, &counted(&product)).unwrap();
    // 22 of 220 attempts: q = 0.1 + 0.05 typed for answers, which nobody judged. 0.15 + 0.0225 retries a call.
    let own = answer(&plan, "self_host");
    close(own.infrastructure_retries, (0.15 + 0.0225) * 0.1 / 0.15);
    close(own.product_retries, (0.15 + 0.0225) * 0.05 / 0.15);
    // An attempt spends 1 - 0.1 x (1 - 0.5) of its tokens.
    close(own.input_tokens, 100.0 * 0.95);
    close(plan.workflow[0].measured_requests, 1.1725 * 0.95);
    // 1.1139 a second on replicas of 0.4: 3, and one may be lost.
    let option = plan.options.iter().find(|option| option.id == SELF_HOST).unwrap();
    let calls: f64 = [LineItem::Inference, LineItem::Retries]
        .iter()
        .map(|item| option.lines.iter().find(|line| line.line == *item).unwrap().usd_per_month.to_f64())
        .sum();
    close(calls, 4.0 * 0.5 * 730.5);
    // An API was not measured: 0.25 + 0.0625.
    let api = answer(&plan, "api");
    close(api.infrastructure_retries + api.product_retries, 0.3125);
    close(api.input_tokens, 100.0);
    let note = plan.warnings.iter().find(|warning| warning.contains("stage `answer`")).unwrap();
    assert!(
        note.contains("22 of 220 attempts failed as measured (infrastructure, run run-test), typed 20.0 %"),
        "{note}"
    );
    let json = serde_json::to_value(&plan).unwrap();
    let of = |id: &str| explain(&json, &format!("options[{id}].unit_economics.retry_rate:answer")).unwrap();
    let text = of(SELF_HOST);
    assert!(text.contains("measured in run run-test: levels.expected.overall.failures, retries"), "{text}");
    assert!(
        text.contains("22 of 220 attempts") && text.contains("assumption at stage.answer.retries"),
        "{text}"
    );
    assert!(!of(NANO).contains("measured in run"), "{}", of(NANO));
}

#[test]
fn counts_stand_in_only_where_they_say_something() {
    let plan_of = |change: &dyn Fn(&mut Measurement)| {
        let product = product(REQUESTS, STAGES);
        let mut measured = counted(&product);
        change(&mut measured);
        answer(&planned(&product, &measured).unwrap(), "self_host")
    };
    let expected = |measured: &mut Measurement, change: &dyn Fn(&mut LoadResult)| {
        let level = measured.levels.iter_mut().find(|level| level.name == LevelName::Expected).unwrap();
        change(&mut level.overall);
    };
    let typed = 0.25 + 0.0625;
    let retries = |stage: StagePlan| stage.infrastructure_retries + stage.product_retries;
    // Too few requests.
    close(retries(plan_of(&|m| expected(m, &|load| load.scheduled = 63))), typed);
    let none = |load: &mut LoadResult| {
        load.failures.clear();
        load.retries.clear();
    };
    // No failures of an engine that has no network are no evidence; of a server they are.
    close(
        retries(plan_of(&|m| {
            m.target = Target::Mock;
            expected(m, &none);
        })),
        typed,
    );
    close(retries(plan_of(&|m| expected(m, &none))), 0.05 + 0.0025);
    // Answers that were judged and failed.
    let judged = plan_of(&|m| {
        expected(m, &|load| {
            load.failures.insert(FailureCause::FailedValidation, 11);
        });
    });
    close(judged.product_retries / judged.infrastructure_retries, 11.0 / 22.0);
    // And where a segment says what makes a success, none that failed says that none does.
    let criteria = STAGES.replacen("[success]", "", 1).replacen("probability = 0.9", "", 1);
    let text = format!(
        "name = \"t\"\n[model]\nname = \"tiny\"\n[slo]\nttft = \"1 s\"\nattainment = 0.9\n[traffic]\nrequests_per_month = {REQUESTS}\n\
         [[segment]]\nname = \"all\"\nweight = 1\ninput_tokens = {{ median = 100, p90 = 100 }}\n\
         output_tokens = {{ median = 50, p90 = 50 }}\n[segment.success]\njson = true\n[success]\nprobability = 0.9\n{criteria}"
    );
    let product = Product::parse(&text, "t.toml").unwrap();
    let plan = planned(&product, &counted(&product)).unwrap();
    assert!(answer(&plan, "self_host").product_retries.abs() < 1e-12);
}

#[test]
fn measured_lengths_replace_the_segments_in_every_bill() {
    let product = product(REQUESTS, STAGES);
    let mut measured = measurement(&product, 0.4);
    let level = measured.levels.iter_mut().find(|level| level.name == LevelName::Expected).unwrap();
    let mut load = LoadResult { completed: 128, scheduled: 128, ..LoadResult::default() };
    (load.input_tokens, load.output_tokens) = (Tokens(128 * 120), Tokens(128 * 40));
    load.token_sources = [(TokenSource::Usage, 128)].into();
    level.segments = vec![SegmentResult { name: "all".to_owned(), load }];
    let plan = planned(&product, &measured).unwrap();
    let api = answer(&plan, "api");
    close(api.input_tokens, 120.0);
    close(api.output_tokens, 40.0);
    // What was measured is what a replica's capacity is of: an attempt stays one measured request.
    close(plan.workflow[0].measured_requests, 1.3125);
    let usd = |item: LineItem| {
        let option = plan.options.iter().find(|option| option.id == NANO).unwrap();
        option.lines.iter().find(|line| line.line == item).unwrap().usd_per_month.to_f64()
    };
    close(usd(LineItem::Inference), REQUESTS * (120.0 * 0.05 + 40.0 * 0.4) / 1e6);
    assert!(plan.warnings.iter().any(|w| w.contains("120 prompt and 40 answer tokens a call as measured")));
    let json = serde_json::to_value(&plan).unwrap();
    let text = explain(&json, &format!("options[{NANO}].lines.inference")).unwrap();
    assert!(text.contains("measured in run run-test: levels.expected.segments"), "{text}");
    // Counts of streamed chunks are an estimate.
    let level = measured.levels.iter_mut().find(|level| level.name == LevelName::Expected).unwrap();
    level.segments[0].load.token_sources = [(TokenSource::Chunks, 128)].into();
    close(answer(&planned(&product, &measured).unwrap(), "api").input_tokens, 100.0);
}

#[test]
fn levers_move_what_was_measured_in_proportion() {
    let lever =
        "[[lever]]\nname = \"better prompts\"\nset = { \"stage[answer].retries.infrastructure\" = 0.1 }\n";
    let product = product(REQUESTS, &format!("{STAGES}{lever}"));
    let measured = counted(&product);
    let prices = PriceBook::built_in().unwrap();
    let options = PlanOptions { as_of: date(2026, 11, 23), allow_invalid: false, version: "0.0.0" };
    let ranking = levers(&product, &measured, &prices, &options).unwrap();
    let own = ranking.options.iter().find(|option| option.id == SELF_HOST).unwrap();
    // Half of the measured tenth: two retries at most of 0.05 + 0.05.
    let success = own.single[0].on.unwrap().success;
    close(success, 0.9 * (1.0 - 0.1_f64.powi(3)));
    close(own.off.unwrap().success, 0.9 * (1.0 - 0.15_f64.powi(3)));
}
