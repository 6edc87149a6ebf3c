//! The planner against hand-worked values and the laws that every plan obeys.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_hardware::Usd;
use breakeven_measurement::{Finding, Validity, run::Status};
use breakeven_planner::{
    SELF_HOST,
    plan::{BreakEvenOutcome, LineItem, OptionPlan, Plan},
};
use proptest::prelude::*;
use support::{measurement, planned, product};

const FLEET: &str = "[success]\nprobability = 0.5\n[fleet]\nreplicas_lost = 1\nusd_per_hour = 0.5\n";
const APIS: &str = "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n\
                    [[api]]\nprovider = \"anthropic\"\nmodel = \"claude-haiku-4-5\"\n";

fn option<'a>(plan: &'a Plan, id: &str) -> &'a OptionPlan {
    plan.options.iter().find(|o| o.id == id).unwrap()
}

#[test]
fn the_worked_example_of_docs_method() {
    let product = product(2_629_800.0, FLEET);
    let plan = planned(&product, &measurement(&product, 0.4)).unwrap();
    assert_eq!(plan.fleet.replicas_naive, Some(3));
    assert_eq!(plan.fleet.replicas, Some(4));
    let own = option(&plan, SELF_HOST);
    assert_eq!(own.usd_per_month, Usd::from_f64(1_461.0).unwrap());
    let per_success = own.usd_per_successful_outcome.unwrap().to_f64();
    assert!((per_success - 1_461.0 / 1_314_900.0).abs() < 1e-12, "{per_success}");
    // 1 request a second over 4 x 0.4.
    assert!((plan.fleet.utilization.unwrap().get() - 0.625).abs() < 1e-9);
    assert!((plan.fleet.headroom.unwrap().get() - 0.375).abs() < 1e-9);
}

#[test]
fn an_api_bill_is_tokens_times_the_published_price() {
    let product = product(1_000_000.0, &format!("{FLEET}{APIS}"));
    let plan = planned(&product, &measurement(&product, 0.4)).unwrap();
    // gpt-5-nano: USD 0.05 in, 0.40 out a million tokens; 100 M in, 50 M out: 5 + 20.
    let nano = option(&plan, "api:openai/gpt-5-nano");
    assert_eq!(nano.usd_per_month, Usd::from_f64(25.0).unwrap());
    // claude-haiku-4-5: USD 1 in, 5 out: 100 + 250.
    let haiku = option(&plan, "api:anthropic/claude-haiku-4-5");
    assert_eq!(haiku.usd_per_month, Usd::from_f64(350.0).unwrap());
}

#[test]
fn retries_are_a_line_of_their_own_in_every_option() {
    let extra = format!(
        "{}{APIS}",
        FLEET.replace("probability = 0.5", "probability = 0.5\nretries_per_request = 0.25")
    );
    let product = product(1_000_000.0, &extra);
    let plan = planned(&product, &measurement(&product, 0.4)).unwrap();
    let line = |id: &str, item: LineItem| {
        option(&plan, id).lines.iter().find(|l| l.line == item).unwrap().usd_per_month.to_f64()
    };
    assert!((line("api:openai/gpt-5-nano", LineItem::Retries) - 6.25).abs() < 1e-9);
    let ratio = line(SELF_HOST, LineItem::Retries) / line(SELF_HOST, LineItem::Inference);
    assert!((ratio - 0.25).abs() < 1e-9, "a fifth of attempts against four fifths: {ratio}");
}

#[test]
fn what_cannot_be_had_says_why_and_does_not_win() {
    let product = product(
        1_000_000.0,
        "[success]\nprobability = 0.5\n[[api]]\nprovider = \"nobody\"\nmodel = \"nothing\"\n\
         [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n",
    );
    let plan = planned(&product, &measurement(&product, 0.4)).unwrap();
    assert!(option(&plan, SELF_HOST).infeasible.as_ref().unwrap().contains("fleet.usd_per_hour"));
    assert!(option(&plan, "api:nobody/nothing").infeasible.as_ref().unwrap().contains("breakeven prices"));
    assert_eq!(plan.decision.choice.as_deref(), Some("api:openai/gpt-5-nano"));
}

#[test]
fn a_measurement_in_doubt_is_refused_unless_told_otherwise() {
    let product = product(1_000_000.0, FLEET);
    let mut broken = measurement(&product, 0.4);
    broken.levels[1].validity = Validity::from(vec![Finding::Interrupted]);
    let error = planned(&product, &broken).unwrap_err().to_string();
    assert!(error.contains("expected level of run run-test is invalid"), "{error}");
    let mut partial = measurement(&product, 0.4);
    partial.status = Status::Incomplete { reason: "Ctrl-C".to_owned() };
    assert!(planned(&product, &partial).unwrap_err().to_string().contains("incomplete"));
}

#[test]
fn nothing_within_the_slo_is_an_answer_not_a_crash() {
    let product = product(1_000_000.0, &format!("{FLEET}{APIS}"));
    let mut hopeless = measurement(&product, 0.4);
    hopeless.search.as_mut().unwrap().capacity = None;
    let plan = planned(&product, &hopeless).unwrap();
    assert!(option(&plan, SELF_HOST).infeasible.as_ref().unwrap().contains("no measured load meets the SLO"));
    assert_eq!(plan.fleet.replicas, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_total_is_the_sum_of_its_lines(
        requests in 1e3f64..1e9, fixed in 0.0f64..1e4, each in 0.0f64..0.1, failing in 0.0f64..2.0, capacity in 0.05f64..50.0,
    ) {
        let extra = format!(
            "{FLEET}{APIS}[[cost]]\nline = \"support\"\nusd_per_month = {fixed}\nusd_per_request = {each}\nusd_per_failure = {failing}\n\
             [[cost]]\nline = \"support\"\nusd_per_month = 3.25\n"
        );
        let product = product(requests, &extra);
        let plan = planned(&product, &measurement(&product, capacity)).unwrap();
        for option in &plan.options {
            prop_assert_eq!(option.lines.len(), LineItem::ALL.len());
            let sum: Usd = option.lines.iter().map(|l| l.usd_per_month).sum();
            prop_assert_eq!(sum, option.usd_per_month);
        }
    }

    #[test]
    fn more_load_never_needs_fewer_replicas(requests in 1e3f64..1e9, more in 1.0f64..10.0, capacity in 0.05f64..50.0) {
        let replicas = |requests: f64| {
            let product = product(requests, FLEET);
            planned(&product, &measurement(&product, capacity)).unwrap().fleet.replicas.unwrap()
        };
        prop_assert!(replicas(requests * more) >= replicas(requests));
    }

    #[test]
    fn a_dearer_machine_never_makes_self_host_cheaper(price in 0.01f64..100.0, more in 1.0f64..10.0) {
        let cost = |price: f64| {
            let product = product(1e6, &FLEET.replace("usd_per_hour = 0.5", &format!("usd_per_hour = {price}")));
            option(&planned(&product, &measurement(&product, 0.4)).unwrap(), SELF_HOST).usd_per_month
        };
        prop_assert!(cost(price * more) >= cost(price));
    }

    #[test]
    fn self_host_is_cheaper_just_above_a_break_even_and_dearer_just_below(capacity in 0.5f64..20.0) {
        let at = |requests: f64| {
            let product = product(requests, &format!("{FLEET}{APIS}"));
            planned(&product, &measurement(&product, capacity)).unwrap()
        };
        let plan = at(1e6);
        let haiku = plan.break_evens.iter().find(|b| b.api.contains("haiku")).unwrap();
        let BreakEvenOutcome::At { requests_per_month } = haiku.outcome else {
            return Err(TestCaseError::fail(format!("{:?}", haiku.outcome)));
        };
        let cheaper = |requests: f64| {
            let plan = at(requests);
            option(&plan, SELF_HOST).usd_per_month < option(&plan, &haiku.api).usd_per_month
        };
        prop_assert!(cheaper(requests_per_month * 1.001));
        prop_assert!(!cheaper(requests_per_month * 0.999));
    }
}

/// One server of ours for each replica, all figures round: worked in docs/METHOD.md.
const OWNED: &str = "[success]\nprobability = 1.0\n[fleet]\nreplicas_lost = 1\nterm = \"owned\"\n[fleet.owned]\n\
    usd_per_server = 12000\naccelerators_per_server = 0\nusd_per_accelerator = 0\nnetwork_capex_share = 0\nspares_share = 0\n\
    discount_rate_per_year = 0\namortisation_months = 48\nresidual_share = 0\nidle_watts_per_server = 100\n\
    load_watts_per_server = 500\npue = 1.25\ntariff = { flat = { usd_per_kwh = 0.10 } }\ncolocation_usd_per_kw_month = 150\n\
    network_usd_per_month = 80\nmaintenance_share_per_year = 0.06\nstaff_usd_per_year = 120000\nstaff_share = 0.05\n";

#[test]
fn owned_servers_cost_what_the_six_lines_say() {
    let product = product(2_629_800.0, OWNED);
    let mut measurement = measurement(&product, 0.4);
    let own = |m: &breakeven_measurement::Measurement| {
        let plan = planned(&product, m).unwrap();
        option(&plan, SELF_HOST).usd_per_month.to_f64()
    };
    // 4 servers, 62.5 % busy. Annuity 4 x 12,000 / 48 = 1,000. Power 100 + 400 x 0.625 = 350 W: 4 x 0.35 kW x 730.5 h x 1.25 x
    // 0.10 = 127.8375. Colocation 4 x 0.5 x 150 = 300. Maintenance 48,000 x 0.06 / 12 = 240. Network 80. Staff 500.
    assert!((own(&measurement) - (1_000.0 + 127.8375 + 300.0 + 240.0 + 80.0 + 500.0)).abs() < 1e-6);
    // A measured 380 W at the expected level's 70 % load: 100 + 280 x 0.625 / 0.7 = 350 W, the same again.
    for level in &mut measurement.levels {
        level.resources.energy_joules = Some(380.0 * level.window.as_secs_f64());
    }
    assert!((own(&measurement) - 2_247.837_5).abs() < 1e-6, "{}", own(&measurement));
}

#[test]
fn a_rate_limit_is_a_limit_of_the_managed_side() {
    let api = "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";
    let limited = |limits: &str| {
        let product = product(2_629_800.0, &format!("{FLEET}{api}{limits}"));
        planned(&product, &measurement(&product, 0.4)).unwrap()
    };
    // One request a second, flat: 60 a minute of 150 tokens.
    let enough = limited("limits = { requests_per_minute = 60, tokens_per_minute = 9001 }\n");
    assert_eq!(option(&enough, "api:openai/gpt-5-nano").infeasible, None);
    let short = limited("limits = { requests_per_minute = 60, tokens_per_minute = 8999 }\n");
    let reason = option(&short, "api:openai/gpt-5-nano").infeasible.clone().unwrap();
    assert!(reason.contains("9000 of 8999 tokens a minute"), "{reason}");
}

#[test]
fn provisioned_throughput_is_paid_by_the_unit() {
    let offer = "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n[api.provisioned]\nusd_per_unit_hour = 2\nminimum_units = 3\n\
        unit_step = 2\ninput_tokens_per_second_per_unit = 100\noutput_tokens_per_second_per_unit = 25\n";
    let product = product(2_629_800.0, &format!("{FLEET}{offer}"));
    let plan = planned(&product, &measurement(&product, 0.4)).unwrap();
    // 100 prompt tokens a second are 1 unit, 50 answer tokens are 2: 3, sold in twos: 4 x 2 x 730.5.
    assert_eq!(option(&plan, "api:openai/gpt-5-nano").usd_per_month, Usd::from_f64(5_844.0).unwrap());
}
