//! A product with `[[stage]]` in the plan: docs/METHOD.md's worked example, the laws of a bill, and the fast model of the draws.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_hardware::{PriceBook, Usd};
use breakeven_planner::{
    Plan, Product, SELF_HOST,
    explain::explain,
    plan::{LineItem, OptionPlan},
    product::OnlyFor,
    workflow::{ModelPrice, Workflow, simulate},
};
use proptest::prelude::*;
use support::{measurement, planned, product};

const NANO: &str = "api:openai/gpt-5-nano";
const BASE: &str = "[success]\nprobability = 0.9\n[fleet]\nusd_per_hour = 0.5\n\
                    [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";

/// The workflow that docs/METHOD.md works by hand.
const WORKED: &str = include_str!("fixtures/worked-stages.toml");

/// The check is made by another model of the price sheet, and tries again.
const OTHER_MODEL: &str = "kind = \"guardrail\"\nmodel = \"openai/gpt-4o-mini\"\ninput_tokens = { mean = 300 }\n\
                           output_tokens = { mean = 20 }\nretries = { product = 0.1, most = 1 }\n";

fn with_other_model() -> String {
    WORKED.replacen("kind = \"guardrail\"\nusd_per_call = 0.0002\n", OTHER_MODEL, 1)
}

fn plan_of(requests: f64, capacity: f64, extra: &str) -> Plan {
    let product = product(requests, extra);
    planned(&product, &measurement(&product, capacity)).unwrap()
}

fn option<'a>(plan: &'a Plan, id: &str) -> &'a OptionPlan {
    plan.options.iter().find(|option| option.id == id).unwrap()
}

fn line(plan: &Plan, id: &str, item: LineItem) -> f64 {
    option(plan, id).lines.iter().find(|line| line.line == item).unwrap().usd_per_month.to_f64()
}

fn close(found: f64, by_hand: f64) {
    assert!((found / by_hand - 1.0).abs() < 1e-6, "{found}, by hand {by_hand}");
}

/// As `close`, but for what the histogram of the measured latencies rounds.
fn near(found: f64, by_hand: f64) {
    assert!((found / by_hand - 1.0).abs() < 1e-4, "{found}, by hand {by_hand}");
}

#[test]
fn the_bill_is_as_docs_method_works_it() {
    let plan = plan_of(2_629_800.0, 0.4, &format!("{BASE}{WORKED}"));
    // One request a second asks for 1.05733083 answers of (0.002 x 500 + 0.01 x 100) / (0.002 x 100 + 0.01 x 50) measured requests and
    // 0.25375940 retries of (0.002 x 750 + 0.01 x 100) / 0.7.
    let [own, api] = plan.workflow.as_slice() else { panic!("{:?}", plan.workflow) };
    near(own.measured_requests, 3.927_228_79);
    close(own.attempts, 1.057_330_83 + 0.253_759_40);
    assert_eq!((own.id.as_str(), api.id.as_str()), ("self_host", "api"));
    assert_eq!(own.stages, api.stages);
    // 3.927 / 0.4 a replica: 10, and one may be lost. 11 x 0.50 x 730.5, of which 0.3 of 1.3 are retries.
    near(line(&plan, SELF_HOST, LineItem::Inference), 4_017.75 / 1.3);
    near(line(&plan, SELF_HOST, LineItem::Retries), 4_017.75 * 0.3 / 1.3);
    // USD 0.05 a million prompt tokens and 0.40 a million answer tokens.
    let requests = 2_629_800.0;
    let calls = requests * 1.057_330_827_1;
    let retries = requests * 0.253_759_398_5;
    close(line(&plan, NANO, LineItem::Inference), calls * (500.0 * 0.05 + 100.0 * 0.4) / 1e6);
    close(line(&plan, NANO, LineItem::Retries), retries * (750.0 * 0.05 + 100.0 * 0.4) / 1e6);
    for id in [SELF_HOST, NANO] {
        close(line(&plan, id, LineItem::Guardrails), requests * (0.0001 + 0.0002 * 1.048_872_180_5));
        close(line(&plan, id, LineItem::Support), requests * 0.160_902_255_6 * 3.0);
        // The workflow's success, of which 0.9 is right.
        let success = option(&plan, id).success_probability.get();
        close(success, 0.9 * 0.839_097_744_4);
        let price = option(&plan, id).usd_per_successful_outcome.unwrap().to_f64();
        close(price, option(&plan, id).usd_per_month.to_f64() / (requests * success));
    }
    near(plan.traffic.mean_rate.per_second(), 3.927_228_79);
    assert!(
        plan.warnings.iter().any(|warning| warning.contains("capacity is converted")),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn one_stage_is_no_stage() {
    let one = "[[stage]]\nid = \"answer\"\nkind = \"model_call\"\nmodel = \"option\"\nbranches = [{ to = \"success\" }]\n";
    let rest = "[[api]]\nprovider = \"gemini\"\nmodel = \"gemini/gemini-2.5-flash-lite\"\n[[cost]]\nline = \"support\"\nusd_per_failure = 0.3\n\
                [horizon]\nmonths = 6\ngrowth_per_month = 0.1\n";
    let retries = BASE.replace("[fleet]", "retries_per_request = 0.1\n[fleet]");
    let (with, without) =
        (plan_of(3e6, 4.0, &format!("{retries}{rest}{one}")), plan_of(3e6, 4.0, &format!("{retries}{rest}")));
    for (with, without) in with.options.iter().zip(&without.options) {
        assert_eq!(with.id, without.id);
        for (with, without) in with.lines.iter().zip(&without.lines) {
            assert!(
                (with.usd_per_month - without.usd_per_month).to_f64().abs() < 1e-9,
                "{with:?} {without:?}"
            );
        }
    }
    let months = |plan: &Plan| -> Vec<f64> {
        plan.horizon.as_ref().unwrap().options.iter().map(|option| option.usd_total.to_f64()).collect()
    };
    for (with, without) in months(&with).into_iter().zip(months(&without)) {
        assert!((with / without - 1.0).abs() < 1e-12, "{with} {without}");
    }
    assert_eq!(with.uncertainty, without.uncertainty);
    assert_eq!(with.break_evens, without.break_evens);
    assert_eq!(with.traffic, without.traffic);
    assert!(without.workflow.is_empty());
}

/// The sum of its lines in every option, scenario, month and part.
fn sums(plan: &Plan) {
    for option in plan.options.iter().filter(|option| option.infeasible.is_none()) {
        assert_eq!(option.lines.iter().map(|line| line.usd_per_month).sum::<Usd>(), option.usd_per_month);
    }
    for cell in &plan.scenarios.as_ref().unwrap().cells {
        for option in cell.options.iter().filter(|option| option.infeasible.is_none()) {
            assert_eq!(option.lines.iter().map(|line| line.usd).sum::<Usd>(), option.usd_per_month);
        }
    }
    for option in &plan.horizon.as_ref().unwrap().options {
        assert_eq!(option.usd_by_month.iter().copied().sum::<Usd>(), option.usd_total);
        assert_eq!(option.lines.iter().map(|line| line.usd).sum::<Usd>(), option.usd_total);
    }
    let [split] = plan.allocations.as_slice() else { panic!("{:?}", plan.allocations) };
    assert_eq!(split.parts.iter().map(|part| part.usd_per_month).sum::<Usd>(), split.usd_per_month);
    for part in &split.parts {
        assert_eq!(part.lines.iter().map(|line| line.usd).sum::<Usd>(), part.usd_per_month);
    }
}

const MONTHS: &str = "[horizon]\nmonths = 12\ngrowth_per_month = 0.05\napi_price_change_per_year = -0.4\n\
                      [[allocation]]\nby = \"team\"\n[[allocation.part]]\nname = \"a\"\nrequests = 2\n[[allocation.part]]\nname = \"b\"\nrequests = 1\n";

#[test]
fn totals_are_sums_of_lines_with_stages() {
    for fleet in ["", "[fleet.purchase]\noverflow = true\nreserved_1y_usd_per_hour = 0.3\n"] {
        let base = BASE.replace("[[api]]", &format!("{fleet}[[api]]"));
        let plan = plan_of(4_000_000.0, 2.0, &format!("{base}{}{MONTHS}", with_other_model()));
        assert!(fleet.is_empty() || plan.options.iter().any(|option| option.id.starts_with("hybrid:")));
        sums(&plan);
    }
}

#[test]
fn api_prices_move_the_stages_that_ask_an_api() {
    let plan = plan_of(1e6, 4.0, &format!("{BASE}{}", with_other_model()));
    let cell = |stress: &str| {
        let cells = &plan.scenarios.as_ref().unwrap().cells;
        let cell = cells.iter().find(|cell| cell.scenario == "expected" && cell.stress == stress).unwrap();
        let own = cell.options.iter().find(|option| option.id == SELF_HOST).unwrap().clone();
        let of = |item| own.lines.iter().find(|line| line.line == item).unwrap().usd.to_f64();
        (of(LineItem::Guardrails), of(LineItem::Inference))
    };
    let (plain, machines) = cell("none");
    let (dearer, same) = cell("API prices rise");
    // 1,000,000 x (0.0001 for the intake + the check's 1.04887218 calls of 300 + 20 tokens at USD 0.15 and 0.60 a million).
    let check = dearer - plain;
    close(check, 0.3 * (plain - 100.0));
    close(same, machines);
}

#[test]
fn a_number_explains_itself_down_to_stage_visits_and_price() {
    let plan = plan_of(1e6, 4.0, &format!("{BASE}{}", with_other_model()));
    let json = serde_json::to_value(&plan).unwrap();
    let text = explain(&json, "options.self_host.lines.guardrails").unwrap();
    for part in [
        "visits a request = 1.04",
        "stage.answer.branches",
        "price row openai / gpt-4o-mini",
        "assumption at stage.intake.usd_per_call",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = explain(&json, "options.self_host.lines.support").unwrap();
    assert!(
        text.contains("minutes a visit = 6")
            && text.contains("assumption at stage.person.loaded_usd_per_hour"),
        "{text}"
    );
    let text = explain(&json, "options.self_host.lines.inference").unwrap();
    assert!(
        text.contains("calls of answer") && text.contains("retries of answer, infrastructure + product"),
        "{text}"
    );
    let text = explain(&json, "workflow.api.stages.answer.visits").unwrap();
    assert!(text.contains("from check = 0.1485"), "{text}");
    // A stage's own dollars go down to their prices.
    for (path, parts) in [
        ("workflow.api.stages.check.usd", ["visits a request = 1.04", "price row openai / gpt-4o-mini"]),
        (
            "workflow.self_host.stages.intake.usd",
            ["visits a request = 1", "assumption at stage.intake.usd_per_call"],
        ),
        (
            "workflow.api.stages.person.usd",
            ["minutes a visit = 6", "assumption at stage.person.loaded_usd_per_hour"],
        ),
    ] {
        let text = explain(&json, path).unwrap();
        assert!(parts.iter().all(|part| text.contains(part)), "{path}: {text}");
    }
}

#[test]
fn latency_runs_along_the_paths_where_every_stage_says_its_time() {
    let stages = "[[stage]]\nid = \"look\"\nkind = \"tool\"\nusd_per_call = 0\nlatency = { median = \"2 s\" }\n\
                  branches = [{ to = \"success\", probability = 0.25 }, { to = \"answer\" }]\n\
                  [[stage]]\nid = \"answer\"\nkind = \"model_call\"\nmodel = \"option\"\nbranches = [{ to = \"success\" }]\n";
    let plan = plan_of(1e6, 4.0, &format!("{BASE}{stages}"));
    let [own, api] = plan.workflow.as_slice() else { panic!("{:?}", plan.workflow) };
    // Every measured request took 0.9 s; nobody measured the API.
    let found = own.latency.as_ref().unwrap();
    assert!((found.mean_seconds - (2.0 + 0.75 * 0.9)).abs() < 0.02, "{found:?}");
    for quantile in [found.p50_seconds, found.p90_seconds, found.p99_seconds] {
        assert!((quantile - 2.9).abs() < 0.005, "{found:?}");
    }
    assert_eq!(api.latency, None);
    let json = serde_json::to_value(&plan).unwrap();
    let text = explain(&json, "workflow.self_host.latency.p90_seconds").unwrap();
    assert!(text.contains("measured in run run-test") && text.contains("stage.look.latency"), "{text}");
    let typed =
        stages.replace("model = \"option\"\n", "model = \"option\"\nlatency = { median = \"4 s\" }\n");
    let plan = plan_of(1e6, 4.0, &format!("{BASE}{typed}"));
    for workflow in &plan.workflow {
        assert!((workflow.latency.as_ref().unwrap().p50_seconds - 6.0).abs() < 1e-9, "{workflow:?}");
    }
}

/// The error of a product file with one piece of the worked example replaced.
fn refused(from: &str, to: &str) -> String {
    assert!(WORKED.contains(from), "the example lost `{from}`");
    let text = include_str!("../../examples/support-bot.toml");
    let text = format!("{text}\n{}", WORKED.replacen(from, to, 1));
    Product::parse(&text, "bot.toml").unwrap_err().to_string()
}

#[test]
fn nonsense_is_refused_with_its_place() {
    for (from, to, says) in [
        ("probability = 0.8 }", "probability = 0.9 }", "found 1.1"),
        ("{ to = \"check\" }", "{ to = \"person\" }", "found none that does"),
        (
            "branches = [{ to = \"success\", probability = 0.9 }, { to = \"failure\" }]",
            "branches = [{ to = \"person\" }]",
            "found a loop that never ends",
        ),
        ("usd_per_call = 0.0002\n", "", "expected a price"),
        ("minutes_per_visit = 6", "minutes_per_visit = -6", "found -6"),
        ("usd_per_call = 0.0002\n", "usd_per_call = 0\nminutes_per_visit = 2\n", "with loaded_usd_per_hour"),
        ("model = \"option\"", "usd_per_call = 0", "found none for options of kind self_host"),
        ("model = \"option\"", "model = \"option\"\nusd_per_call = 0.001", "a stage of their own"),
        (
            "usd_per_call = 0.0002\n",
            "usd_per_million_input_tokens = 1\ninput_tokens = { mean = 10 }\noutput_tokens = { mean = 10 }\n",
            "expected usd_per_million_output_tokens",
        ),
        (
            "probability = 0.15 }",
            "probability = { low = 0.1, likely = 0.15, high = 0.3 } }",
            "narrow the distribution",
        ),
    ] {
        let error = refused(from, to);
        assert!(error.starts_with("bot.toml, line ") && error.contains(says), "{to}: {error}");
    }
    // What only the price sheets know is said when the plan is made, at the same place.
    let unknown = WORKED.replacen("kind = \"guardrail\"\nusd_per_call = 0.0002", "kind = \"guardrail\"\nmodel = \"nobody/nothing\"\ninput_tokens = { mean = 1 }\noutput_tokens = { mean = 1 }", 1);
    let product = product(1e6, &format!("{BASE}{unknown}"));
    let error = planned(&product, &measurement(&product, 4.0)).unwrap_err().to_string();
    assert!(
        error.starts_with("test.toml, line ")
            && error.contains("`model = \"nobody/nothing\"`")
            && error.contains("that a price sheet has"),
        "{error}"
    );
}

/// The check by a model whose prompts cost twice as much above 200,000 tokens.
fn long_check(prompt: u32, retries: &str) -> Result<Plan, String> {
    let check = format!(
        "kind = \"guardrail\"\nmodel = \"gemini/gemini-2.5-pro\"\ninput_tokens = {{ mean = {prompt} }}\noutput_tokens = {{ mean = 20 }}\n{retries}"
    );
    let text = WORKED.replacen("kind = \"guardrail\"\nusd_per_call = 0.0002\n", &check, 1);
    let product = product(1e6, &format!("{BASE}{text}"));
    planned(&product, &measurement(&product, 4.0)).map_err(|error| error.to_string())
}

#[test]
fn what_one_row_of_a_sheet_cannot_price_is_refused() {
    let retries = "retries = { product = 0.1, most = 1, retried_prompt_ratio = 1.5 }\n";
    assert!(long_check(120_000, retries).is_ok());
    let error = long_check(150_000, retries).unwrap_err();
    assert!(error.contains("stage `check`") && error.contains("in one price tier"), "{error}");
    assert!(long_check(150_000, "").is_ok());
    let error = long_check(9_000_000, "").unwrap_err();
    assert!(error.contains("expected prompts of at most"), "{error}");
}

#[test]
fn a_failure_that_a_person_resolved_costs_no_failure() {
    let cost = "[[cost]]\nline = \"compliance\"\nusd_per_failure = 2\n";
    let plan = plan_of(1e6, 4.0, &format!("{BASE}{cost}{WORKED}"));
    // 0.9 of 0.83909774 succeed unaided, a person resolves 0.14481203.
    close(
        line(&plan, SELF_HOST, LineItem::Compliance),
        2e6 * (1.0 - 0.9 * 0.839_097_744_4 - 0.144_812_030_1),
    );
}

/// A prompt of 210,000 tokens takes the tier above 200,000, though one attempt in ten fails before it spends a token.
#[test]
fn attempts_that_spend_nothing_do_not_change_the_price_tier() {
    let text = "[[stage]]\nid = \"answer\"\nkind = \"model_call\"\nmodel = \"option\"\ninput_tokens = { mean = 210000 }\n\
                output_tokens = { mean = 1 }\nbranches = [{ to = \"success\" }]\n\
                retries = { infrastructure = 0.1, most = 0, infrastructure_token_share = 0.0 }\n";
    let base = BASE.replace("openai", "gemini").replace("gpt-5-nano", "gemini-2.5-pro");
    let plan = plan_of(1e6, 4.0, &format!("{base}{text}"));
    let prices = PriceBook::built_in().unwrap();
    let row = prices.find_api("gemini", "gemini-2.5-pro").unwrap();
    let (rates, _) = row.rates(breakeven_hardware::Service::Standard, 210_000);
    let (input, output) = (rates.input.unwrap().0.to_f64(), rates.output.unwrap().0.to_f64());
    close(
        line(&plan, "api:gemini/gemini-2.5-pro", LineItem::Inference),
        1e6 * 0.9 * (210_000.0 * input + output) / 1e6,
    );
}

#[test]
fn a_hybrid_is_left_out_where_the_ways_differ() {
    let text = WORKED.replace(
        "{ to = \"success\", probability = 0.8 },",
        "{ to = \"success\", probability = 0.8, only = \"self_host\" },\n{ to = \"success\", probability = 0.7, only = \"api\" },\n{ to = \"failure\", probability = 0.1, only = \"api\" },",
    );
    let base = BASE.replace("[[api]]", "[fleet.purchase]\noverflow = true\n[[api]]");
    let plan = plan_of(4_000_000.0, 2.0, &format!("{base}{text}"));
    assert!(!plan.options.iter().any(|option| option.id.starts_with("hybrid:")));
    let notes = &plan.fleet_plan.as_ref().unwrap().notes;
    assert!(notes.iter().any(|note| note.starts_with("no hybrid")), "{notes:?}");
    let success = |id: &str| option(&plan, id).success_probability.get();
    assert!(success(NANO) < success(SELF_HOST));
}

#[test]
fn the_bill_of_an_api_is_what_journeys_pay() {
    let text = with_other_model();
    let requests = 1e9;
    let plan = plan_of(requests, 4.0, &format!("{BASE}{text}"));
    let prices = PriceBook::built_in().unwrap();
    let price_of = |model: &str, _: f64| {
        let name = if model == "option" { "gpt-5-nano" } else { model.strip_prefix("openai/")? };
        let rates = prices.find_api("openai", name)?.standard();
        Some(ModelPrice {
            usd_per_million_input: rates.input?.0.to_f64(),
            usd_per_million_output: rates.output?.0.to_f64(),
            usd_per_call: 0.0,
        })
    };
    let workflow = Workflow::read(&text, "test.toml", OnlyFor::Api, price_of).unwrap();
    let count = 400_000;
    let journeys = simulate(&workflow, count, 11);
    let mean = journeys.usd.0 / count as f64;
    let error = ((journeys.usd.1 / count as f64 - mean * mean) / count as f64).sqrt();
    let planned = option(&plan, NANO).usd_per_month.to_f64() / requests;
    assert!((planned - mean).abs() < 5.0 * error, "{planned} planned, {mean} ± {error} simulated");
    let [_, api] = plan.workflow.as_slice() else { panic!() };
    let share = |n: u64| n as f64 / count as f64;
    for (planned, simulated) in [
        (api.success, share(journeys.success)),
        (api.resolved, share(journeys.resolved)),
        (api.escalation, share(journeys.escalated)),
    ] {
        assert!((planned - simulated).abs() < 5.0 * (0.25 / count as f64).sqrt(), "{planned} {simulated}");
    }
    // And those tried again, by stage.
    for (stage, attempts) in api.stages.iter().zip(&journeys.attempts) {
        let planned = stage.calls + stage.infrastructure_retries + stage.product_retries;
        assert!((planned - share(*attempts)).abs() < 0.01, "{}: {planned} {}", stage.id, share(*attempts));
    }
}

/// A number as a distribution whose ends are its middle.
fn point(x: f64) -> String {
    format!("{{ low = {x:?}, likely = {x:?}, high = {x:?} }}")
}

/// Every draw is the exact plan's, here and under every scenario and stress.
fn draws_are_exact(plan: &Plan) -> Result<(), TestCaseError> {
    let found = plan.uncertainty.as_ref().unwrap();
    for option in &found.options {
        let exact = plan.options.iter().find(|o| o.id == option.id).unwrap().usd_per_month.to_f64();
        let drawn = option.usd_per_month.unwrap();
        for drawn in [drawn.p5, drawn.mean, drawn.p95] {
            prop_assert!((drawn / exact - 1.0).abs() < 1e-9, "{}: {} {}", option.id, drawn, exact);
        }
        let exact =
            plan.options.iter().find(|o| o.id == option.id).unwrap().usd_per_successful_outcome.unwrap();
        let drawn = option.usd_per_successful_outcome.unwrap().p50;
        prop_assert!((drawn / exact.to_f64() - 1.0).abs() < 1e-9, "{}: {} {}", option.id, drawn, exact);
    }
    let exact_cells = &plan.scenarios.as_ref().unwrap().cells;
    prop_assert!(!found.cells.is_empty());
    for cell in &found.cells {
        let exact =
            exact_cells.iter().find(|c| c.scenario == cell.scenario && c.stress == cell.stress).unwrap();
        let (winner, _) = cell.p_cheapest.iter().find(|(_, share)| *share > 0.5).unwrap();
        prop_assert_eq!(Some(winner), exact.choice.as_ref());
        let usd = exact.options.iter().find(|o| o.id == *winner).unwrap().usd_per_month.to_f64();
        let drawn = cell.usd_per_month.unwrap().p50;
        prop_assert!(
            (drawn / usd - 1.0).abs() < 1e-9,
            "{}, {}: {} {}",
            cell.scenario,
            cell.stress,
            drawn,
            usd
        );
    }
    Ok(())
}

/// The product's text with one of its numbers at a point, and its plan without noise of the capacity.
fn exact_plan(requests: f64, extra: &str) -> Plan {
    let product = product(requests, extra);
    let mut measured = measurement(&product, 4.0);
    let capacity = measured.search.as_mut().unwrap().capacity.as_mut().unwrap();
    (capacity.low, capacity.high) = (None, None);
    planned(&product, &measured).unwrap()
}

#[test]
fn a_stage_s_own_number_is_planned_anew() {
    let stages = WORKED
        .replace("probability = 0.15 }", &format!("probability = {} }}", point(0.1)))
        .replace("{ to = \"person\", probability = 0.05 },", "{ to = \"person\" },")
        .replace("minutes_per_visit = 6", &format!("minutes_per_visit = {}", point(7.0)))
        .replace("{ mean = 500 }", &format!("{{ mean = {} }}", point(321.0)));
    let plan = exact_plan(2e6, &format!("{BASE}[uncertainty]\ndraws = 100\n{stages}"));
    draws_are_exact(&plan).unwrap();
    // And a number that moves moves the bill.
    let wide = stages.replace(&point(7.0), "{ low = 2, likely = 7, high = 30 }");
    let plan = exact_plan(2e6, &format!("{BASE}[uncertainty]\ndraws = 100\n{wide}"));
    let own = plan.uncertainty.as_ref().unwrap().options.iter().find(|o| o.id == SELF_HOST).unwrap();
    let spread = own.usd_per_month.unwrap();
    assert!(spread.p95 > spread.p5 * 1.5, "{spread:?}");
}

proptest! {
    // Each case plans in full.
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_model_is_the_exact_one_with_stages(
        term in prop::sample::select(vec!["on_demand", "reserved-1y"]), apis in 0_usize..3, requests in 1e4..5e7f64,
        price in 0.05..5.0f64, retries in 0.0..0.5f64, success in 0.2..1.0f64, failing in 0.0..2.0f64, own_tokens in any::<bool>(),
        infrastructure in 0.0..0.4f64, loops in 0.0..0.6f64,
    ) {
        let apis = [
            "",
            "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n",
            "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\nsuccess_probability = { low = 0.8, likely = 0.8, high = 0.8 }\n\
             [[api]]\nprovider = \"openai\"\nmodel = \"gpt-4o-mini\"\nsuccess_probability = 0.7\n[api.provisioned]\nusd_per_unit_hour = 2\n\
             minimum_units = 1\nunit_step = 1\ninput_tokens_per_second_per_unit = 900\noutput_tokens_per_second_per_unit = 250\n",
        ][apis];
        let mut stages = with_other_model()
            .replace("infrastructure = 0.2", &format!("infrastructure = {infrastructure:?}"))
            .replace("probability = 0.8 }", &format!("probability = {:?} }}", 0.95 - loops))
            .replace("probability = 0.15 }", &format!("probability = {loops:?} }}"));
        if !own_tokens {
            stages = stages.replacen("input_tokens = { mean = 500 }\noutput_tokens = { mean = 100 }\n", "", 1);
        }
        let extra = format!(
            "[success]\nprobability = {success:?}\nretries_per_request = {}\n[fleet]\nusd_per_hour = {}\nterm = \"{term}\"\n{apis}\
             [[cost]]\nline = \"support\"\nusd_per_failure = {}\n[uncertainty]\ndraws = 100\n{stages}",
            point(retries), point(price), point(failing),
        );
        let plan = exact_plan(requests, &extra);
        let slow: Vec<_> = plan.uncertainty.as_ref().unwrap().left_out.clone();
        prop_assert!(slow.is_empty(), "{slow:?}");
        draws_are_exact(&plan)?;
    }

    #[test]
    fn costs_grow_with_each_price_and_with_retries(more in 1.0..4.0f64, which in 0_usize..8, requests in 1e5..1e7f64) {
        let (from, to) = [
            ("usd_per_call = 0.0001", format!("usd_per_call = {:?}", 0.0001 * more)),
            ("minutes_per_visit = 6", format!("minutes_per_visit = {:?}", 6.0 * more)),
            ("loaded_usd_per_hour = 30", format!("loaded_usd_per_hour = {:?}", 30.0 * more)),
            ("infrastructure = 0.2", format!("infrastructure = {:?}", 0.2 * more)),
            ("retried_prompt_ratio = 1.5", format!("retried_prompt_ratio = {:?}", 1.5 * more)),
            ("{ mean = 500 }", format!("{{ mean = {:?} }}", 500.0 * more)),
            ("{ mean = 20 }", format!("{{ mean = {:?} }}", 20.0 * more)),
            ("product = 0.1", format!("product = {:?}", 0.1 * more)),
        ][which].clone();
        let before = with_other_model();
        prop_assert!(before.contains(from));
        let after = before.replacen(from, &to, 1);
        let (before, after) = (plan_of(requests, 4.0, &format!("{BASE}{before}")), plan_of(requests, 4.0, &format!("{BASE}{after}")));
        for id in [SELF_HOST, NANO] {
            // Failed calls that go to a person are dearer; they never make the request cheaper than it was. A check that fails ends the
            // request, which saves what came after it: there it is a success that gets dearer.
            let usd = |plan: &Plan| match which {
                7 => option(plan, id).usd_per_successful_outcome.unwrap(),
                _ => option(plan, id).usd_per_month,
            };
            let (before, after) = (usd(&before), usd(&after));
            prop_assert!(after.to_f64() >= before.to_f64() * (1.0 - 1e-12), "{id}: {before} {after} with {to}");
        }
    }
}
