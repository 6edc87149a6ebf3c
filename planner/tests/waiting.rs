//! Cost of latency: who gives up and who asks again over the measured waits, as docs/METHOD.md works it, and its laws.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::time::Duration;

use breakeven_hardware::Usd;
use breakeven_measurement::{LatencySeries, LevelName, Measurement};
use breakeven_planner::{
    Plan, Product, SELF_HOST,
    explain::explain,
    plan::{LineItem, OptionPlan, economics::Quantity},
};
use proptest::prelude::*;
use support::{measurement, planned, product};

const NANO: &str = "api:openai/gpt-5-nano";
const REQUESTS: f64 = 2_629_800.0;
const FLEET: &str = "[fleet]\nusd_per_hour = 0.5\nreplicas_lost = 1\n";
const API: &str = "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";
const TYPED: &str = "ttft = { median = \"1 s\", p95 = \"1 s\" }\n";
/// Flat around the waits of [`half_slow`], so that what the histogram rounds is no matter.
const LEAVE: &str = "abandonment = [{ after = \"500 ms\", share = 0 }, { after = \"800 ms\", share = 0.02 }, \
                     { after = \"1200 ms\", share = 0.02 }, { after = \"1500 ms\", share = 0.06 }]\n";
const AGAIN: &str = "repeats = [{ after = \"800 ms\", share = 0.1 }, { after = \"1200 ms\", share = 0.1 }, \
                     { after = \"1500 ms\", share = 0.3 }]\n";

/// Half of the requests of the expected level waited a second, half two.
fn half_slow(product: &Product, capacity: f64) -> Measurement {
    let mut measured = measurement(product, capacity);
    let mut waits = LatencySeries::new();
    for request in 0..200 {
        waits.record(Duration::from_secs(if request % 2 == 0 { 1 } else { 2 }));
    }
    let expected = measured.levels.iter_mut().find(|level| level.name == LevelName::Expected).unwrap();
    expected.overall.ttft = waits;
    measured
}

fn plan_of(extra: &str) -> Plan {
    let product = product(REQUESTS, extra);
    planned(&product, &half_slow(&product, 0.4)).unwrap()
}

fn success(value: &str) -> String {
    format!("[success]\nprobability = 0.5\n{value}")
}

fn option<'a>(plan: &'a Plan, id: &str) -> &'a OptionPlan {
    plan.options.iter().find(|option| option.id == id).unwrap()
}

fn line(plan: &Plan, id: &str, item: LineItem) -> f64 {
    option(plan, id).lines.iter().find(|line| line.line == item).unwrap().usd_per_month.to_f64()
}

fn usd_of(plan: &Plan, id: &str, figure: &str) -> f64 {
    let row = option(plan, id).unit_economics.iter().find(|row| row.id == figure).unwrap();
    let Quantity::Usd(usd) = row.quantity else { panic!("{row:?}") };
    usd.to_f64()
}

fn close(found: f64, by_hand: f64) {
    assert!((found / by_hand - 1.0).abs() < 1e-9, "{found}, by hand {by_hand}");
}

#[test]
fn the_bill_is_as_docs_method_works_it() {
    let value = success("value_usd_per_success = 0.02\n");
    let plan = plan_of(&format!("{value}{FLEET}{API}{TYPED}[latency]\n{LEAVE}{AGAIN}"));
    // Ours: 0.2 are asked again, 1.25 requests a second: ceil(1.25 / 0.4) = 4 replicas, and one may be lost.
    assert_eq!(plan.fleet.replicas, Some(5));
    close(plan.traffic.attempts_per_month, REQUESTS * 1.25);
    close(line(&plan, SELF_HOST, LineItem::Inference), 1_826.25);
    // 0.04 give up, of whom half would have got what is worth USD 0.02.
    close(line(&plan, SELF_HOST, LineItem::CostOfLatency), 1_051.92);
    let own = option(&plan, SELF_HOST);
    close(own.usd_per_month.to_f64(), 2_878.17);
    close(own.success_probability.get(), 0.5);
    close(own.usd_per_successful_outcome.unwrap().to_f64(), 2_878.17 / 1_314_900.0);
    // The margin is what the successes that came about are worth, less what was paid.
    let paid = REQUESTS * 0.5 * 0.96 * 0.02 - 1_826.25;
    close(usd_of(&plan, SELF_HOST, "margin_usd_per_month"), paid);
    // The API: a second for all, 0.1 asked again, 0.02 give up; tokens of 2,922,000 requests at USD 0.05 and 0.40 a million.
    close(line(&plan, NANO, LineItem::Inference), 2.922 * (100.0 * 0.05 + 50.0 * 0.40));
    close(line(&plan, NANO, LineItem::CostOfLatency), 525.96);
    assert!(!plan.warnings.iter().any(|warning| warning.contains("waiting")), "{:?}", plan.warnings);
}

#[test]
fn without_a_value_who_gives_up_is_missing_from_the_successes() {
    let failing = "[[cost]]\nline = \"support\"\nusd_per_failure = 0.01\n";
    let plan = plan_of(&format!("{}{FLEET}{failing}[latency]\n{LEAVE}{AGAIN}", success("")));
    let own = option(&plan, SELF_HOST);
    close(own.success_probability.get(), 0.5 * 0.96);
    close(line(&plan, SELF_HOST, LineItem::Inference), 1_826.25);
    assert_eq!(option(&plan, SELF_HOST).lines.last().unwrap().usd_per_month, Usd::ZERO);
    // Who left is seen to by nobody: failures are half of all requests, as without the curve.
    let failures = REQUESTS * 0.5 * 0.01;
    close(line(&plan, SELF_HOST, LineItem::Support), failures);
    let per_success = (1_826.25 + failures) / (REQUESTS * 0.48);
    close(own.usd_per_successful_outcome.unwrap().to_f64(), per_success);
    // A success worth what it costs gives the same price of a success.
    let value = success(&format!("value_usd_per_success = {per_success:?}\n"));
    let valued = plan_of(&format!("{value}{FLEET}{failing}[latency]\n{LEAVE}{AGAIN}"));
    let valued = option(&valued, SELF_HOST).usd_per_successful_outcome.unwrap().to_f64();
    assert!((valued / per_success - 1.0).abs() < 1e-9, "{valued} {per_success}");
    let json = serde_json::to_value(&plan).unwrap();
    let text = explain(&json, "options.self_host.unit_economics.usd_per_successful_outcome").unwrap();
    assert!(text.contains("share that gives up") && text.contains("latency.abandonment"), "{text}");
}

#[test]
fn every_figure_says_where_it_comes_from() {
    let value = success("value_usd_per_success = 0.02\n");
    let noted = format!("[latency]\n{LEAVE}{AGAIN}note = \"our own logs\"\n");
    let json = serde_json::to_value(plan_of(&format!("{value}{FLEET}{API}{TYPED}{noted}"))).unwrap();
    let lost = explain(&json, "options.self_host.lines.cost_of_latency").unwrap();
    for says in [
        "requests a month x share that succeeds x share that gives up x USD of a success",
        "levels.expected.overall.ttft",
        "run-test",
        "200 requests at 70 % of the capacity: median 1.0",
        "0 by 0.5 s, 0.02 by 0.8 s, 0.02 by 1.2 s, 0.06 by 1.5 s",
        "latency.abandonment",
        "our own logs",
        "success.value_usd_per_success",
    ] {
        assert!(lost.contains(says), "{says}: {lost}");
    }
    let calls = explain(&json, "options.self_host.lines.inference").unwrap();
    for says in ["1.250000", "1 / (1 - share asked again)", "levels.expected.overall.ttft", "latency.repeats"]
    {
        assert!(calls.contains(says), "{says}: {calls}");
    }
    let api = explain(&json, "options.api:openai/gpt-5-nano.lines.inference").unwrap();
    assert!(api.contains("1.111111") && api.contains("api.openai/gpt-5-nano.ttft"), "{api}");
}

#[test]
fn an_api_that_nobody_timed_is_left_out_and_the_plan_says_so() {
    let value = success("value_usd_per_success = 0.02\n");
    let with = plan_of(&format!("{value}{FLEET}{API}[latency]\n{LEAVE}{AGAIN}"));
    let without = plan_of(&format!("{value}{FLEET}{API}"));
    assert_eq!(option(&with, NANO), option(&without, NANO));
    assert!(
        with.warnings.iter().any(|warning| warning.contains("gpt-5-nano") && warning.contains("api.ttft"))
    );
    assert!(!without.warnings.iter().any(|warning| warning.contains("waiting")));
    // Nor our own replicas, where no wait was measured.
    let product = product(REQUESTS, &format!("{value}{FLEET}[latency]\n{LEAVE}{AGAIN}"));
    let mut silent = half_slow(&product, 0.4);
    silent.levels.iter_mut().for_each(|level| level.overall.ttft = LatencySeries::new());
    let plan = planned(&product, &silent).unwrap();
    close(option(&plan, SELF_HOST).usd_per_month.to_f64(), 1_461.0);
    assert!(plan.warnings.iter().any(|warning| warning.contains("our own replicas")), "{:?}", plan.warnings);
}

#[test]
fn the_basis_of_a_spreadsheet_and_the_summary_know_repeats() {
    let other = "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-mini\"\n";
    let plan = plan_of(&format!("{}{FLEET}{API}{TYPED}{other}[latency]\n{AGAIN}", success("")));
    let basis = plan.cost_basis.as_ref().unwrap();
    assert_eq!(basis.options.len(), 3);
    for of in &basis.options {
        for item in [LineItem::Inference, LineItem::Retries] {
            let found = basis.line(of, item, REQUESTS).unwrap();
            assert!((found - line(&plan, &of.id, item)).abs() < 1e-6, "{}: {found}", of.id);
        }
    }
    let asked: Vec<f64> = basis.options.iter().map(|option| option.asked).collect();
    for (found, by_hand) in asked.into_iter().zip([1.25, 1.0 / 0.9, 1.0]) {
        close(found, by_hand);
    }
    close(plan.traffic.asked_per_request, 1.25);
    close(plan.traffic.mean_input_tokens, 100.0);
    close(plan.traffic.mean_output_tokens, 50.0);
    close(plan.traffic.attempts_per_month, 1.25 * REQUESTS);
}

#[test]
fn a_success_that_is_worth_nothing_is_none_of_value() {
    let with = |value: &str| plan_of(&format!("{}{FLEET}{API}{TYPED}[latency]\n{LEAVE}", success(value)));
    let (nothing, unsaid) = (with("value_usd_per_success = 0\n"), with(""));
    let share = |plan: &Plan| option(plan, SELF_HOST).success_probability;
    assert_eq!(share(&nothing), share(&unsaid));
}

#[test]
fn without_a_curve_nothing_changes() {
    let base = format!("{}{FLEET}{API}{TYPED}", success("value_usd_per_success = 0.02\n"));
    let (with, without) = (plan_of(&format!("{base}[latency]\ntimes = [2]\n")), plan_of(&base));
    assert_eq!(with.options, without.options);
    assert_eq!((&with.decision, &with.break_evens), (&without.decision, &without.break_evens));
    assert_eq!((&with.scenarios, &with.uncertainty), (&without.scenarios, &without.uncertainty));
    assert_eq!((&with.warnings, &with.cost_basis), (&without.warnings, &without.cost_basis));
}

#[test]
fn repeats_without_end_are_refused_with_their_place() {
    let always = "[latency]\nrepeats = [{ after = \"500 ms\", share = 1 }]\n";
    let product = product(REQUESTS, &format!("{}{FLEET}{always}", success("")));
    let error = planned(&product, &half_slow(&product, 0.4)).unwrap_err().to_string();
    for says in [
        "test.toml, line 21: `latency.repeats`",
        "found 1 over levels.expected.overall.ttft of run run-test",
        "below 1",
    ] {
        assert!(error.contains(says), "{error}");
    }
    // Where only half of them are, it ends.
    let product =
        support::product(REQUESTS, &format!("{}{FLEET}{}", success(""), always.replace("500 ms", "1900 ms")));
    let plan = planned(&product, &half_slow(&product, 0.4)).unwrap();
    assert!(plan.traffic.attempts_per_month > 2.0 * REQUESTS, "{:?}", plan.traffic);
}

#[test]
fn nonsense_is_refused() {
    let refused = |extra: &str| {
        let text = include_str!("../../examples/support-bot.toml");
        Product::parse(&format!("{text}\n{extra}"), "product.toml").unwrap_err().to_string()
    };
    let falls = "[latency]\nrepeats = [{ after = \"1 s\", share = 0.2 }, { after = \"2 s\", share = 0.1 }]\n";
    assert!(refused(falls).contains("shares never fall"), "{}", refused(falls));
    let back = "[[api]]\nprovider = \"a\"\nmodel = \"b\"\nttft = { median = \"2 s\", p95 = \"1 s\" }\n";
    assert!(refused(back).contains("expected median <= p95, found 2 s and 1 s"), "{}", refused(back));
}

#[test]
fn a_repeat_takes_the_way_through_the_stages_again_but_for_people() {
    let stages = include_str!("fixtures/worked-stages.toml");
    let base = format!("{}{FLEET}{API}{TYPED}{stages}", success(""));
    let (plain, again) = (plan_of(&base), plan_of(&format!("{base}[latency]\n{AGAIN}")));
    for (id, asked) in [(SELF_HOST, 1.25), (NANO, 1.0 / 0.9)] {
        let guardrails = |plan: &Plan| line(plan, id, LineItem::Guardrails);
        close(guardrails(&again), guardrails(&plain) * asked);
        close(line(&again, id, LineItem::Support), line(&plain, id, LineItem::Support));
    }
    close(again.traffic.attempts_per_month, plain.traffic.attempts_per_month * 1.25);
    // The bill counts whole tokens.
    let ratio = line(&again, NANO, LineItem::Retries) / line(&plain, NANO, LineItem::Retries);
    assert!((ratio * 0.9 - 1.0).abs() < 1e-6, "{ratio}");
    let json = serde_json::to_value(&again).unwrap();
    let text = explain(&json, "options.self_host.lines.guardrails").unwrap();
    assert!(text.contains("x times a request is asked") && text.contains("1.250000"), "{text}");
}

#[test]
fn the_draws_follow_shares_and_values_without_planning_anew() {
    let of = |value: &str| {
        let range = "{ low = 0.4, likely = 0.5, high = 0.6 }";
        let stages = include_str!("fixtures/worked-stages.toml");
        plan_of(&format!(
            "[success]\nprobability = {range}\n{value}{FLEET}{API}{TYPED}success_probability = {range}\n{stages}\
             [[cost]]\nline = \"compute\"\nusd_per_failure = 0.5\n[uncertainty]\ndraws = 1001\n[latency]\n{LEAVE}{AGAIN}"
        ))
    };
    let drawn = "value_usd_per_success = { low = 0.01, likely = 0.02, high = 0.04 }\n";
    for value in ["", "value_usd_per_success = 0.02\n", drawn] {
        let found = of(value).uncertainty.unwrap();
        assert!(found.inputs.len() >= 3 && found.left_out.is_empty(), "{:?}", found.left_out);
    }
    // The bar is that of the choice's bill.
    let plan = of(drawn);
    let found = plan.uncertainty.as_ref().unwrap();
    let bar = found.tornado.iter().find(|bar| bar.path == "success.value_usd_per_success").unwrap();
    let leaves = if plan.decision.choice.as_deref() == Some(SELF_HOST) { 0.04 } else { 0.02 };
    let by_hand = REQUESTS * 0.5 * 0.839_097_744_4 * leaves * (0.04 - 0.01);
    let found = bar.usd_per_month_at_high - bar.usd_per_month_at_low;
    assert!((found / by_hand - 1.0).abs() < 1e-6, "{found}, by hand {by_hand}: {bar:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn totals_are_sums_and_grow_with_both_curves(
        requests in 1e4f64..1e8, leave in 0.0f64..0.9, again in 0.0f64..0.9, more in 0.0f64..0.09, value in 1e-4f64..10.0, valued in any::<bool>(),
    ) {
        let bill = |leave: f64, again: f64| {
            let value = if valued { format!("value_usd_per_success = {value:?}\n") } else { String::new() };
            let curves = format!(
                "[latency]\ntimes = [2]\nabandonment = [{{ after = \"3 s\", share = {leave:?} }}]\nrepeats = [{{ after = \"3 s\", share = {again:?} }}]\n"
            );
            let product = product(requests, &format!("{}{FLEET}{API}{TYPED}{curves}", success(&value)));
            planned(&product, &half_slow(&product, 0.4)).unwrap()
        };
        let (base, left, asked) = (bill(leave, again), bill(leave + more, again), bill(leave, again + more));
        for option in &base.options {
            prop_assert_eq!(option.lines.iter().map(|line| line.usd_per_month).sum::<Usd>(), option.usd_per_month);
            for other in [&left, &asked] {
                let other = other.options.iter().find(|other| other.id == option.id).unwrap();
                prop_assert!(other.usd_per_month >= option.usd_per_month);
                prop_assert!(other.usd_per_successful_outcome >= option.usd_per_successful_outcome);
                prop_assert!(other.success_probability <= option.success_probability);
            }
        }
    }

    /// A distribution whose ends are its middle draws that value only: every draw's bill is then the exact plan's.
    #[test]
    fn the_fast_model_is_the_exact_one(
        requests in 1e4..5e7f64, leave in 0.0f64..0.9, again in 0.0f64..0.9, price in 0.05..5.0f64, right in 0.2..0.99f64, failing in 0.0..3.0f64,
        value in 1e-4f64..5.0, valued in any::<bool>(), staged in any::<bool>(), uncertain in any::<bool>(),
    ) {
        let point = |x: f64| format!("{{ low = {x:?}, likely = {x:?}, high = {x:?} }}");
        let value = if valued { format!("value_usd_per_success = {value:?}\n") } else { String::new() };
        let right = if uncertain { point(right) } else { format!("{right:?}") };
        let stages = if staged { include_str!("fixtures/worked-stages.toml") } else { "" };
        let extra = format!(
            "[success]\nprobability = {right}\n{value}[fleet]\nusd_per_hour = {}\n{API}{TYPED}success_probability = {right}\n\
             [[api]]\nprovider = \"openai\"\nmodel = \"gpt-4o-mini\"\nsuccess_probability = 0.7\n{stages}\
             [[cost]]\nline = \"compute\"\nusd_per_failure = {}\n[uncertainty]\ndraws = 100\n\
             [[scenario]]\nname = \"plain\"\n[[scenario]]\nname = \"worse\"\nsuccess = 0.8\ntraffic = 1.5\napi_prices = 1.2\n\
             [latency]\ntimes = [2]\nabandonment = [{{ after = \"3 s\", share = {leave:?} }}]\nrepeats = [{{ after = \"3 s\", share = {again:?} }}]\n",
            point(price), point(failing),
        );
        let product = product(requests, &extra);
        let mut measured = half_slow(&product, 4.0);
        // Nothing else uncertain.
        let capacity = measured.search.as_mut().unwrap().capacity.as_mut().unwrap();
        (capacity.low, capacity.high) = (None, None);
        let plan = planned(&product, &measured).unwrap();
        let found = plan.uncertainty.as_ref().unwrap();
        prop_assert_eq!(found.options.len(), 3);
        // No draw had to plan anew: the fast model follows success shares too.
        prop_assert!(found.left_out.is_empty(), "{:?}", found.left_out);
        for option in &found.options {
            let exact = plan.options.iter().find(|o| o.id == option.id).unwrap().usd_per_month.to_f64();
            let drawn = option.usd_per_month.unwrap();
            for drawn in [drawn.p5, drawn.mean, drawn.p95] {
                prop_assert!((drawn / exact - 1.0).abs() < 1e-9, "{}: {} {}", option.id, drawn, exact);
            }
        }
        let exact_cells = &plan.scenarios.as_ref().unwrap().cells;
        for cell in &found.cells {
            let exact = exact_cells.iter().find(|c| c.scenario == cell.scenario && c.stress == cell.stress).unwrap();
            let (winner, _) = cell.p_cheapest.iter().find(|(_, share)| *share > 0.5).unwrap();
            prop_assert_eq!(Some(winner), exact.choice.as_ref());
            let usd = exact.options.iter().find(|o| o.id == *winner).unwrap().usd_per_month.to_f64();
            let drawn = cell.usd_per_month.unwrap().p50;
            prop_assert!((drawn / usd - 1.0).abs() < 1e-9, "{}, {}: {} {}", cell.scenario, cell.stress, drawn, usd);
        }
    }
}
