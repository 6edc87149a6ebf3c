//! The tables of `[stack]` against docs/METHOD.md's worked examples, and the laws of a bill.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_hardware::Usd;
use breakeven_planner::{
    Plan, Product, SELF_HOST,
    plan::{LineItem, Provenance},
};
use proptest::prelude::*;
use support::{measurement, planned, product};

const BASE: &str = "[success]\nprobability = 0.7\n[fleet]\nusd_per_hour = 0.5\n\
                    [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";

/// The tables that docs/METHOD.md works by hand, at a million requests a month of which 300,000 fail.
const WORKED: &str = r#"
[[stack.storage]]
gb_per_request = 0.00002
retention_months = 6
fixed_gb = 500
usd_per_gb_month = 0.02
[[stack.network]]
egress_gb_per_request = 0.00001
usd_per_gb = 0.09
[[stack.load_balancing]]
balancers = 2
usd_per_balancer_month = 18
gb_per_request = 0.00003
usd_per_gb = 0.008
[[stack.retrieval]]
queries_per_request = 1.5
usd_per_thousand_queries = 0.04
embedded_tokens_per_query = 40
usd_per_million_embedded_tokens = 0.02
stored_gb = 12
usd_per_gb_month = 0.33
index_builds_per_month = 4
tokens_per_index_build = 50_000_000
[[stack.observability]]
kind = "logs"
gb_per_request = 0.00005
sampled_share = 0.2
pipelines = 2
usd_per_gb_ingested = 0.5
hot_months = 1
hot_usd_per_gb_month = 0.1
warm_months = 2
warm_usd_per_gb_month = 0.03
archive_months = 9
archive_usd_per_gb_month = 0.004
queried_gb_per_month = 3000
usd_per_gb_queried = 0.005
[[stack.support]]
kind = "escalation"
minutes_per_100_interactions = 2
minutes_per_failure = 5
handle_time_ratio = 1.2
loaded_usd_per_hour = 30
[[stack.compliance]]
reviews_per_year = 2
usd_per_review = 6000
audits_per_year = 1
usd_per_audit = 18000
tooling_usd_per_month = 300
redaction_usd_per_million_requests = 40
[[stack.engineering]]
only = "self_host"
build_fte_months = 6
life_months = 24
run_fte = 0.5
loaded_usd_per_fte_year = 180000
[[stack.operational_debt]]
prompt_maintenance_hours_per_month = 10
qa_review_hours_per_month = 12
incident_drill_hours_per_month = 3
loaded_usd_per_hour = 80
evaluation_runs_per_month = 8
usd_per_evaluation_run = 25
growth_per_year = 0.21
[[stack.switching]]
only = "self_host"
engineering_usd = 20000
regression_usd = 5000
revalidation_usd = 4000
compliance_usd = 3000
early_exit_usd = 16000
early_exit_probability = 0.25
life_months = 36
"#;

fn made(requests: f64, tables: &str) -> (Product, Plan) {
    let product = product(requests, &format!("{BASE}{tables}"));
    let plan = planned(&product, &measurement(&product, 0.4)).unwrap();
    (product, plan)
}

fn line(plan: &Plan, id: &str, item: LineItem) -> Usd {
    let option = plan.options.iter().find(|option| option.id == id).unwrap();
    option.lines.iter().find(|line| line.line == item).unwrap().usd_per_month
}

#[test]
fn every_line_is_as_docs_method_works_it() {
    let (_, plan) = made(1_000_000.0, WORKED);
    let api = "api:openai/gpt-5-nano";
    let worked = [
        // (500 + 1,000,000 x 0.00002 x 6) x 0.02
        (SELF_HOST, LineItem::Storage, 12.40),
        // 1,000,000 x 0.00001 x 0.09
        (SELF_HOST, LineItem::Network, 0.90),
        // 2 x 18 + 30 GB x 0.008
        (SELF_HOST, LineItem::LoadBalancing, 36.24),
        // 12 x 0.33 + 4 x 50 x 0.02 + 1,500,000 x (0.00004 + 40 x 0.00000002)
        (SELF_HOST, LineItem::Retrieval, 69.16),
        // 50 GB x 0.2 x 2 x (0.5 + 0.1 + 0.06 + 0.036) + 3,000 x 0.005
        (SELF_HOST, LineItem::Observability, 28.92),
        // (20,000 + 300,000 x 5 x 1.2) minutes x 0.50
        (SELF_HOST, LineItem::Support, 910_000.0),
        // (12,000 + 18,000) / 12 + 300 + 40
        (SELF_HOST, LineItem::Compliance, 2_840.0),
        // (6 / 24 + 0.5) x 15,000
        (SELF_HOST, LineItem::Engineering, 11_250.0),
        (api, LineItem::Engineering, 0.0),
        // 25 x 80 + 8 x 25
        (api, LineItem::OperationalDebt, 2_200.0),
        // (32,000 + 4,000) / 36
        (SELF_HOST, LineItem::SwitchingCosts, 1_000.0),
        (api, LineItem::SwitchingCosts, 0.0),
    ];
    for (id, item, usd) in worked {
        let found = line(&plan, id, item).to_f64();
        assert!((found - usd).abs() < 1e-9, "{id} {item:?}: {found}, by hand {usd}");
    }
}

#[test]
fn operational_debt_grows_from_the_second_year_unless_worked_off() {
    let (product, _) = made(1_000.0, WORKED);
    let mut debt = product.stack.operational_debt.first().unwrap().clone();
    let close = |month: u32, factor: f64| (debt.growth_by_month(month) - factor).abs() < 1e-12;
    assert!(close(0, 1.0) && close(11, 1.0) && close(17, 1.1) && close(23, 1.21));
    debt.optimised = true;
    assert!((debt.growth_by_month(120) - 1.0).abs() < 1e-12);
}

#[test]
fn every_number_says_where_it_comes_from() {
    let (_, plan) = made(1_000_000.0, WORKED);
    let own = plan.options.iter().find(|option| option.id == SELF_HOST).unwrap();
    let storage = own.lines.iter().find(|line| line.line == LineItem::Storage).unwrap();
    let Provenance::Computed { formula, inputs } = &storage.from else { panic!("{:?}", storage.from) };
    assert!(formula.contains("GB-month"), "{formula}");
    let kept = inputs.iter().find(|input| input.name == "retention_months").unwrap();
    assert_eq!(kept.value, "6");
    assert!(
        matches!(&kept.from, Provenance::Assumption { path, .. } if path == "stack.storage[0].retention_months")
    );
    assert!(plan.assumptions.iter().any(|a| a.path == "stack.support[0]"));
}

#[test]
fn a_cost_beside_a_table_on_its_line_is_warned_of() {
    let warned = |tables: &str| -> Vec<String> {
        let (_, plan) = made(1_000.0, tables);
        plan.warnings.into_iter().filter(|warning| warning.contains("both count")).collect()
    };
    let network = "[[stack.network]]\nonly = \"api\"\negress_gb_per_request = 1\nusd_per_gb = 1\n";
    let cost = |only: &str| format!("[[cost]]\nline = \"network\"\n{only}usd_per_month = 5\n{network}");
    let twice = warned(&cost(""));
    assert!(
        twice.len() == 1 && twice[0].contains("cost[0]") && twice[0].contains("stack.network[0]"),
        "{twice:?}"
    );
    assert_eq!(warned(&cost("only = \"self_host\"\n")), Vec::<String>::new(), "other options");
    assert_eq!(warned(network), Vec::<String>::new());
    assert_eq!(warned(&cost("").replacen("network", "storage", 1)), Vec::<String>::new(), "other lines");
}

/// The error of a product with these tables.
fn refused(tables: &str) -> String {
    let text = include_str!("../../examples/support-bot.toml");
    Product::parse(&format!("{text}\n{tables}"), "bot.toml").unwrap_err().to_string()
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let lines = include_str!("../../examples/support-bot.toml").lines().count();
    let minutes = refused(
        "[[stack.support]]\nkind = \"QA\"\nminutes_per_100_interactions = -3\nloaded_usd_per_hour = 30\n",
    );
    assert!(minutes.starts_with(&format!("bot.toml, line {}", lines + 4)), "{minutes}");
    assert!(minutes.contains("expected a number from 0 up, found -3"), "{minutes}");
    let share =
        refused("[[stack.observability]]\nkind = \"logs\"\ngb_per_request = 1\nsampled_share = 1.5\n");
    assert!(share.starts_with(&format!("bot.toml, line {}", lines + 5)), "{share}");
    let life = refused("[[stack.switching]]\nengineering_usd = 5\nlife_months = 0\n");
    assert!(life.contains("expected a number above 0, found 0"), "{life}");
    let key = refused("[[stack.storage]]\ngb = 5\nusd_per_gb_month = 1\n");
    assert!(key.contains("unknown field `gb`") && key.contains("gb_per_request"), "{key}");
    let twice = "[[stack.network]]\negress_gb_per_request = 1\nusd_per_gb = 1\n";
    let much =
        refused(&format!("{twice}[[stack.network]]\negress_gb_per_request = 1e20\nusd_per_gb = 1e20\n"));
    assert!(much.starts_with(&format!("bot.toml, line {}: `[[stack.network]]`", lines + 5)), "{much}");
    assert!(much.contains("found 1e40 USD"), "{much}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_total_is_the_sum_and_lines_scale_with_their_drivers(
        requests in 1e3..1e7_f64,
        gb in 0.0..1e-3_f64,
        minutes in 0.0..50.0_f64,
        months in 0.0..60.0_f64,
    ) {
        let tables = |scale: f64| format!(
            "[[stack.storage]]\ngb_per_request = {:?}\nretention_months = {months:?}\nusd_per_gb_month = 0.02\n\
             [[stack.support]]\nkind = \"review\"\nminutes_per_100_interactions = {:?}\nminutes_per_failure = {:?}\nloaded_usd_per_hour = 30\n",
            gb * scale, minutes * scale, minutes * scale,
        );
        let (_, plain) = made(requests, "");
        let (_, once) = made(requests, &tables(1.0));
        let (_, thrice) = made(requests, &tables(3.0));
        for option in &once.options {
            let sum: Usd = option.lines.iter().map(|line| line.usd_per_month).sum();
            prop_assert_eq!(sum, option.usd_per_month);
            for item in [LineItem::Storage, LineItem::Support] {
                let (one, three) = (line(&once, &option.id, item).to_f64(), line(&thrice, &option.id, item).to_f64());
                prop_assert!((three - 3.0 * one).abs() <= 1e-6 * three.max(1e-6), "{three} is not three times {one}");
            }
            // What the tables add is no less and no more than their two lines.
            let added = line(&once, &option.id, LineItem::Storage) + line(&once, &option.id, LineItem::Support);
            let before = plain.options.iter().find(|o| o.id == option.id).unwrap();
            prop_assert_eq!(before.usd_per_month + added, option.usd_per_month);
        }
    }
}

#[test]
fn debt_grows_over_the_horizon_unless_it_is_worked_off() {
    let table = "[[stack.operational_debt]]\nprompt_maintenance_hours_per_month = 27.5\nloaded_usd_per_hour = 80\n\
                 growth_per_year = 0.5\n";
    let debt = |more: &str| -> Vec<f64> {
        let product = product(1e6, &format!("{BASE}[horizon]\nmonths = 24\n{table}{more}"));
        let plan = planned(&product, &measurement(&product, 4.0)).unwrap();
        let without = product_without_debt(&plan);
        let horizon = plan.horizon.as_ref().unwrap();
        let said = horizon.assumes.iter().filter(|text| text.contains("operational debt")).count();
        assert_eq!(said, 1, "{:?}", horizon.assumes);
        // The lines are the sums over the months.
        for option in &horizon.options {
            assert_eq!(option.lines.iter().map(|line| line.usd).sum::<Usd>(), option.usd_total);
        }
        let option = horizon.options.iter().find(|option| option.id == SELF_HOST).unwrap();
        option.usd_by_month.iter().map(|usd| usd.to_f64() - without).collect()
    };
    let grows = debt("");
    let close =
        |found: f64, by_hand: f64| assert!((found - by_hand).abs() < 0.005, "{found}, by hand {by_hand}");
    for month in &grows[..12] {
        close(*month, 2_200.0);
    }
    close(grows[12], 2_275.61);
    close(grows[23], 3_300.0);
    for month in debt("optimised = true\n") {
        close(month, 2_200.0);
    }
}

/// The first month's bill of our own replicas without operational debt.
fn product_without_debt(plan: &Plan) -> f64 {
    let option = plan.options.iter().find(|option| option.id == SELF_HOST).unwrap();
    let lines = option.lines.iter().filter(|line| line.line != LineItem::OperationalDebt);
    lines.map(|line| line.usd_per_month).sum::<Usd>().to_f64()
}
