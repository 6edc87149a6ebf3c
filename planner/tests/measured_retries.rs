//! What was measured stands in for what is typed in plans without stages: docs/METHOD.md's worked example, and when it does not.

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
    Plan, PlanOptions, Product, SELF_HOST, actuals::Expected, explain::explain, levers::levers,
    plan::LineItem, plan::OptionPlan,
};
use breakeven_usage::{ReadOptions, read_bytes};
use jiff::civil::date;
use support::{measurement, planned, product};

const NANO: &str = "api:openai/gpt-5-nano";
/// One a second.
const REQUESTS: f64 = 2_629_800.0;
const FILE: &str = "[success]\nprobability = 0.9\nretries_per_request = 0.05\n[fleet]\nusd_per_hour = 0.5\n\
                    [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";

/// 205 requests, counted as `bench/src/tally.rs` does: 24 second attempts, four of which a fallback made, and 5 requests cut off by the end.
fn counted(product: &Product, capacity: f64) -> Measurement {
    let mut measured = measurement(product, capacity);
    measured.target = Target::Endpoint { url: "http://server/v1".to_owned(), model: "m".to_owned() };
    expected(&mut measured, |load| {
        (load.scheduled, load.completed) = (205, 198);
        load.failures = [(FailureCause::Timeout, 2), (FailureCause::Interrupted, 5)].into();
        load.retries = [(FailureCause::ServerError, 24)].into();
        load.fallbacks = 4;
    });
    measured
}

fn expected(measured: &mut Measurement, change: impl Fn(&mut LoadResult)) {
    let level = measured.levels.iter_mut().find(|level| level.name == LevelName::Expected).unwrap();
    change(&mut level.overall);
}

fn option<'a>(plan: &'a Plan, id: &str) -> &'a OptionPlan {
    plan.options.iter().find(|option| option.id == id).unwrap()
}

fn usd(option: &OptionPlan, item: LineItem) -> f64 {
    option.lines.iter().find(|line| line.line == item).unwrap().usd_per_month.to_f64()
}

fn close(found: f64, by_hand: f64) {
    assert!((found / by_hand - 1.0).abs() < 1e-9, "{found}, by hand {by_hand}");
}

/// The workbook's way to a line is the plan's, and the lines add up.
fn agrees_with_its_basis(plan: &Plan) {
    let basis = plan.cost_basis.as_ref().unwrap();
    for one in &basis.options {
        let option = option(plan, &one.id);
        for line in &option.lines {
            let found = basis.line(one, line.line, basis.requests_per_month).unwrap();
            let shown = line.usd_per_month.to_f64();
            assert!(
                (found - shown).abs() <= 1e-9 * shown.abs().max(1.0),
                "{} {:?}: {found}, {shown}",
                one.id,
                line.line
            );
        }
        let sum: f64 = option.lines.iter().map(|line| line.usd_per_month.to_f64()).sum();
        close(sum, option.usd_per_month.to_f64());
    }
}

#[test]
fn measured_retries_are_a_share_of_what_was_measured_and_no_more_load() {
    let product = product(REQUESTS, FILE);
    let plan = planned(&product, &counted(&product, 0.5)).unwrap();
    // 20 of 200. A replica carries 0.5 requests a second with their retries: 2, and one may be lost. As typed they were 1.05 / 0.5: 3.
    let own = option(&plan, SELF_HOST);
    close(own.usd_per_month.to_f64(), 3.0 * 0.5 * 730.5);
    close(usd(own, LineItem::Retries), 3.0 * 0.5 * 730.5 * 0.1 / 1.1);
    close(plan.traffic.attempts_per_month, REQUESTS * 1.1);
    // Published rates are of attempts, as their month is; production counts an API's calls with their typed retries.
    close(plan.traffic.mean_rate.per_second(), 1.1);
    close(plan.traffic.peak_hour_rate.per_second(), 1.1);
    let usage = read_bytes("log.csv", "time,model\n2026-11-02T12:00:00Z,m\n".into(), &ReadOptions::default());
    let usage = usage.unwrap();
    let busiest =
        |id: &str| Expected::of_plan(&plan, &usage, Some(id)).unwrap().busiest_hour_per_second.unwrap();
    close(busiest(SELF_HOST), 1.1);
    close(busiest(NANO), 1.05);
    close(plan.fleet.utilization.unwrap().get(), 1.0 / (0.5 * 3.0));
    // Nothing was measured of the API.
    let api = option(&plan, NANO);
    close(usd(api, LineItem::Inference), REQUESTS * (100.0 * 0.05 + 50.0 * 0.4) / 1e6);
    close(usd(api, LineItem::Retries), REQUESTS * (100.0 * 0.05 + 50.0 * 0.4) / 1e6 * 0.05);
    agrees_with_its_basis(&plan);
    // The surge adds a quarter: 1.35 attempts, of which a measured request holds 1.1.
    let cells = &plan.scenarios.as_ref().unwrap().cells;
    let surge = cells.iter().find(|c| c.scenario == "expected" && c.stress == "retry surge").unwrap();
    let own = surge.options.iter().find(|option| option.id == SELF_HOST).unwrap();
    close(own.usd_per_month.to_f64(), 4.0 * 0.5 * 730.5);
    let retries = own.lines.iter().find(|line| line.line == LineItem::Retries).unwrap();
    close(retries.usd.to_f64(), 4.0 * 0.5 * 730.5 * 0.35 / 1.35);
    // Said once, with both numbers; and so are the fallback's calls, which nobody prices.
    let of = |what: &str| plan.warnings.iter().filter(|w| w.contains(what)).collect::<Vec<_>>();
    let said = of("20 retries of 200 requests as measured (run run-test), 0.1000 a request, typed 0.05");
    assert_eq!(said.len(), 1, "{:?}", plan.warnings);
    assert_eq!(of("4 of 200 requests were answered by the fallback").len(), 1, "{:?}", plan.warnings);
    let json = serde_json::to_value(&plan).unwrap();
    let text = explain(&json, &format!("options[{SELF_HOST}].lines.retries")).unwrap();
    assert!(text.contains("measured in run run-test: levels.expected.overall.retries"), "{text}");
    assert!(text.contains("20 of 200 requests"), "{text}");
    let text = explain(&json, &format!("options[{NANO}].lines.retries")).unwrap();
    assert!(text.contains("success.retries_per_request") && !text.contains("overall.retries"), "{text}");
}

#[test]
fn the_draws_retry_as_the_plan_does() {
    // Too narrow to move a bill: the draws must give the plan's own.
    let text = FILE
        .replace("usd_per_hour = 0.5", "usd_per_hour = { low = 0.4999999, likely = 0.5, high = 0.5000001 }");
    let product = product(REQUESTS, &text);
    let mut measured = counted(&product, 0.5);
    if let Some(capacity) = measured.search.as_mut().and_then(|search| search.capacity.as_mut()) {
        (capacity.low, capacity.high) = (None, None);
    }
    let plan = planned(&product, &measured).unwrap();
    let drawn = plan.uncertainty.as_ref().unwrap();
    for id in [SELF_HOST, NANO] {
        let odds = drawn.options.iter().find(|option| option.id == id).unwrap();
        let (mean, bill) = (odds.usd_per_month.unwrap().mean, option(&plan, id).usd_per_month.to_f64());
        assert!((mean / bill - 1.0).abs() < 1e-7, "{id}: {mean}, {bill}");
    }
}

#[test]
fn the_typed_figure_stays_where_nothing_was_measured_or_it_is_drawn() {
    let own_retries = |text: &str, change: &dyn Fn(&mut LoadResult)| {
        let product = product(REQUESTS, text);
        let mut measured = counted(&product, 0.5);
        expected(&mut measured, change);
        let plan = planned(&product, &measured).unwrap();
        agrees_with_its_basis(&plan);
        let own = option(&plan, SELF_HOST);
        let calls = usd(own, LineItem::Inference) + usd(own, LineItem::Retries);
        close(calls, if usd(own, LineItem::Retries) / calls > 0.09 { 1_095.75 } else { 1_461.0 });
        (usd(own, LineItem::Retries) / calls, plan.warnings)
    };
    let typed = 0.05 / 1.05;
    // No retry was made: there may have been no policy.
    let (share, said) = own_retries(FILE, &|load| load.retries.clear());
    close(share, typed);
    let file = product(REQUESTS, FILE);
    let plan = planned(&file, &measurement(&file, 0.5)).unwrap();
    let shown =
        plan.assumptions.iter().find(|assumption| assumption.path == "success.retries_per_request").unwrap();
    assert!(shown.note.as_ref().unwrap().contains("the measurement counted none"), "{shown:?}");
    assert!(!said.iter().any(|w| w.contains("retries of")), "{said:?}");
    let policy = format!("{FILE}[bench.retries]\nmost = 2\n");
    let (share, said) = own_retries(&policy, &|load| load.retries.clear());
    close(share, typed);
    assert!(
        said.iter().any(|w| w.contains("is planned as typed, 0.05: run run-test counted no retries")),
        "{said:?}"
    );
    // Too few requests.
    close(own_retries(FILE, &|load| load.scheduled = 68).0, typed);
    close(own_retries(FILE, &|load| load.scheduled = 69).0, (20.0 / 64.0) / (84.0 / 64.0));
    // A figure that is typed to be drawn.
    let drawn = FILE.replace("= 0.05", "= { low = 0.01, likely = 0.05, high = 0.2 }");
    close(own_retries(&drawn, &|_| {}).0, typed);
}

#[test]
fn requests_that_failed_for_good_are_held_against_the_typed_success() {
    let product = product(REQUESTS, FILE);
    let mut measured = counted(&product, 0.5);
    let said = |measured: &Measurement| {
        let plan = planned(&product, measured).unwrap();
        plan.warnings.into_iter().find(|w| w.contains("failed for good"))
    };
    // 2 of 200 leave room for 0.9; 30 do not.
    assert_eq!(said(&measured), None);
    expected(&mut measured, |load| {
        load.failures.insert(FailureCause::Timeout, 30);
    });
    let said = said(&measured).unwrap();
    assert!(said.contains("30 of 200 requests") && said.contains("85.0 %"), "{said}");
}

#[test]
fn measured_lengths_price_the_apis() {
    let text = "[success]\nprobability = 0.9\n[fleet]\nusd_per_hour = 0.5\n[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n\
                [[allocation]]\nby = \"team\"\npart = [{ name = \"a\", requests = 1, segment = \"all\" }]\n";
    let file = product(REQUESTS, text);
    let counted = |product: &Product| {
        let mut measured = measurement(product, 0.5);
        let level = measured.levels.iter_mut().find(|level| level.name == LevelName::Expected).unwrap();
        let mut load = LoadResult { completed: 128, scheduled: 128, ..LoadResult::default() };
        (load.input_tokens, load.output_tokens) = (Tokens(128 * 120), Tokens(128 * 40));
        load.token_sources = [(TokenSource::Usage, 128)].into();
        level.segments = vec![SegmentResult { name: "all".to_owned(), load }];
        measured
    };
    let bill = |plan: &Plan| usd(option(plan, NANO), LineItem::Inference);
    let of = |input: f64, output: f64| REQUESTS * (input * 0.05 + output * 0.4) / 1e6;
    let plan = planned(&file, &counted(&file)).unwrap();
    close(bill(&plan), of(120.0, 40.0));
    agrees_with_its_basis(&plan);
    close(plan.traffic.mean_input_tokens, 120.0);
    // Capacity is of the measured requests, whatever their length.
    close(option(&plan, SELF_HOST).usd_per_month.to_f64(), 3.0 * 0.5 * 730.5);
    let said: Vec<_> =
        plan.warnings.iter().filter(|w| w.contains("120 prompt and 40 answer tokens")).collect();
    assert!(
        said.len() == 1 && said[0].contains("typed 100 and 50: APIs are priced with"),
        "{:?}",
        plan.warnings
    );
    let json = serde_json::to_value(&plan).unwrap();
    let text = explain(&json, &format!("options[{NANO}].lines.inference")).unwrap();
    assert!(text.contains("measured in run run-test: levels.expected.segments, input_tokens"), "{text}");
    // A segment that was changed after the measurement is another one.
    let measured = counted(&file);
    let mut other = file.clone();
    other.segments = Product::parse(
        "name = \"t\"\n[model]\nname = \"tiny\"\n[slo]\nttft = \"1 s\"\nattainment = 0.9\n[[segment]]\nname = \"all\"\nweight = 1\n\
         input_tokens = { median = 200, p90 = 200 }\noutput_tokens = { median = 50, p90 = 50 }\n[traffic]\nrequests_per_month = 1\n\
         [success]\nprobability = 0.9\n",
        "t.toml",
    )
    .unwrap()
    .segments;
    close(bill(&planned(&other, &measured).unwrap()), of(200.0, 50.0));
}

#[test]
fn a_lever_on_the_typed_retries_moves_the_measured_ones_alike() {
    let lever = "[[lever]]\nname = \"fewer\"\nset = { \"success.retries_per_request\" = 0.025 }\n";
    let product = product(REQUESTS, &format!("{FILE}{lever}"));
    let measured = counted(&product, 0.01);
    let prices = PriceBook::built_in().unwrap();
    let options = PlanOptions { as_of: date(2026, 11, 23), allow_invalid: false, version: "0.0.0" };
    let ranking = levers(&product, &measured, &prices, &options).unwrap();
    let own = ranking.options.iter().find(|option| option.id == SELF_HOST).unwrap();
    // 100 replicas; with 1.05 attempts of the 1.1 that a measured request holds, 95.45: 96.
    close(own.single[0].saved_usd_per_month.unwrap().to_f64(), 4.0 * 0.5 * 730.5);
}

#[test]
fn a_lever_on_the_segments_counts_once_in_measured_lengths() {
    let segment = |table: &str, name: &str, input: u32| {
        format!(
            "[[{table}]]\nname = \"{name}\"\nweight = 1\ninput_tokens = {{ median = {input}, p90 = {input} }}\n\
             output_tokens = {{ median = 50, p90 = 50 }}\n"
        )
    };
    // What a lever saves of the API's bill, as prompt tokens a request.
    let saved = |segments: &[(&str, u32)], lever: &str| {
        let head = "name = \"t\"\n[model]\nname = \"tiny\"\n[slo]\nttft = \"1 s\"\nattainment = 0.9\n";
        let tables: String = segments.iter().map(|(name, input)| segment("segment", name, *input)).collect();
        let text = format!(
            "{head}{tables}[traffic]\nrequests_per_month = {REQUESTS}\n[success]\nprobability = 0.9\n[fleet]\nusd_per_hour = 0.5\n\
             [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n[[lever]]\nname = \"l\"\n{lever}"
        );
        let product = Product::parse(&text, "t.toml").unwrap();
        let mut measured = measurement(&product, 0.5);
        let level = measured.levels.iter_mut().find(|level| level.name == LevelName::Expected).unwrap();
        let counted = segments.iter().map(|(name, input)| {
            let mut load = LoadResult { completed: 128, scheduled: 128, ..LoadResult::default() };
            (load.input_tokens, load.output_tokens) = (Tokens(128 * u64::from(*input)), Tokens(128 * 50));
            load.token_sources = [(TokenSource::Usage, 128)].into();
            SegmentResult { name: (*name).to_owned(), load }
        });
        level.segments = counted.collect();
        let prices = PriceBook::built_in().unwrap();
        let options = PlanOptions { as_of: date(2026, 11, 23), allow_invalid: false, version: "0.0.0" };
        let ranking = levers(&product, &measured, &prices, &options).unwrap();
        let api = ranking.options.iter().find(|option| option.id == NANO).unwrap();
        let effect = &api.single[0];
        effect.saved_usd_per_month.unwrap().to_f64() * 1e6 / REQUESTS / 0.05
    };
    let both = [("short", 100), ("long", 1_000)];
    // 550 before; then 775, 100 and 550 (of 100).
    close(saved(&both, "set = { \"segment[1].weight\" = 3 }\n"), 550.0 - 775.0);
    close(saved(&both, "without = [\"segment[1]\"]\n"), 550.0 - 100.0);
    close(saved(&both[..1], &segment("lever.add.segment", "long", 1_000)), 100.0 - 550.0);
    // A prompt that is cut is cut in its own segment: (100 + 500) / 2.
    let half = "set = { \"segment[1].input_tokens\" = { median = 500, p90 = 500 } }\n";
    close(saved(&both, half), 550.0 - 300.0);
}
