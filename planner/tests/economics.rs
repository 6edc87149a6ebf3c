//! Unit economics as docs/METHOD.md works them: what is given has a row, what is not has none.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_planner::{
    Plan, SELF_HOST,
    explain::explain,
    plan::economics::{Quantity, UnitFigure},
};
use support::{measurement, planned, product};

const NANO: &str = "api:openai/gpt-5-nano";
const REQUESTS: f64 = 2_629_800.0;

const HEAD: &str = r#"
[success]
probability = 0.9
value_usd_per_success = 2
value_usd_per_escalated_success = 1
[fleet]
usd_per_hour = 0.5
[[api]]
provider = "openai"
model = "gpt-5-nano"
"#;
/// The workflow that docs/METHOD.md works by hand.
const WORKED: &str = include_str!("fixtures/worked-stages.toml");

fn plan_of(extra: &str) -> Plan {
    let product = product(REQUESTS, extra);
    planned(&product, &measurement(&product, 0.4)).unwrap()
}

fn figures(plan: &Plan, id: &str) -> Vec<UnitFigure> {
    plan.options.iter().find(|option| option.id == id).unwrap().unit_economics.clone()
}

fn value(plan: &Plan, id: &str, figure: &str) -> Option<f64> {
    let found = figures(plan, id).into_iter().find(|found| found.id == figure)?;
    Some(match found.quantity {
        Quantity::Usd(usd) => usd.to_f64(),
        Quantity::Minutes(v) | Quantity::Gb(v) | Quantity::Share(v) | Quantity::RetriesPerCall(v) => v,
    })
}

fn close(found: Option<f64>, by_hand: f64) {
    let found = found.unwrap();
    assert!((found / by_hand - 1.0).abs() < 1e-6, "{found}, by hand {by_hand}");
}

#[test]
fn the_table_is_as_docs_method_works_it() {
    let stack = "[[stack.storage]]\ngb_per_request = 0.00002\nretention_months = 0\nusd_per_gb_month = 0\n\
                 [[stack.observability]]\nkind = \"logs\"\ngb_per_request = 0.00005\nsampled_share = 0.2\npipelines = 2\n";
    let plan = plan_of(&format!("{HEAD}{WORKED}{stack}"));
    // 180.736960 for answers, 51.718576 for their retries, 814.644812 for guardrails, 1,269,422.255331 for people.
    let total = 180.736_960 + 51.718_576 + 814.644_812 + 1_269_422.255_331;
    close(value(&plan, NANO, "usd_per_completed_request"), total / (REQUESTS * 0.983_909_774));
    close(value(&plan, NANO, "retry_rate:answer"), 0.24);
    close(value(&plan, NANO, "infrastructure_usd_per_1000_requests"), (total - 1_269_422.255_331) / 2_629.8);
    close(value(&plan, NANO, "gb_stored_per_request"), 0.000_04);
    close(value(&plan, NANO, "human_minutes_per_100_interactions"), 96.541_353_4);
    close(value(&plan, NANO, "usd_per_successful_outcome"), total / (REQUESTS * 0.755_187_97));
    // 0.75518797 unaided and right, 0.14481203 by a person.
    close(value(&plan, NANO, "usd_per_resolved_ticket"), total / (REQUESTS * 0.9));
    let worth = REQUESTS * (2.0 * 0.755_187_97 + 0.144_812_03);
    close(value(&plan, NANO, "margin_usd_per_month"), worth - total);
    close(value(&plan, NANO, "margin_usd_per_request"), (worth - total) / REQUESTS);
    close(value(&plan, NANO, "margin_share"), 1.0 - total / worth);
    // The other stages make no retries.
    assert_eq!(value(&plan, NANO, "retry_rate:check"), None);
    let json = serde_json::to_value(&plan).unwrap();
    let text = explain(&json, "options.self_host.unit_economics.human_minutes_per_100_interactions").unwrap();
    assert!(text.contains("stage.person.minutes_per_visit") && text.contains("96.54"), "{text}");
}

#[test]
fn what_is_not_given_is_not_in_the_table() {
    let plain = "[success]\nprobability = 0.7\n[fleet]\nusd_per_hour = 0.5\n[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";
    let plan = plan_of(plain);
    for id in [SELF_HOST, NANO] {
        let ids: Vec<String> = figures(&plan, id).into_iter().map(|figure| figure.id).collect();
        assert_eq!(ids, ["infrastructure_usd_per_1000_requests", "usd_per_successful_outcome"], "{id}");
    }
    // A table that says nothing of a request, and support of one kind of option.
    let some = "[[stack.storage]]\nretention_months = 0\nfixed_gb = 5\nusd_per_gb_month = 1\n\
                [[stack.support]]\nkind = \"QA\"\nonly = \"api\"\nminutes_per_100_interactions = 3\nminutes_per_failure = 2\nloaded_usd_per_hour = 20\n";
    let plan = plan_of(&format!("{plain}{some}"));
    assert_eq!(value(&plan, NANO, "gb_stored_per_request"), None);
    assert_eq!(value(&plan, SELF_HOST, "human_minutes_per_100_interactions"), None);
    // 3 and 30 failures of 2 minutes.
    close(value(&plan, NANO, "human_minutes_per_100_interactions"), 63.0);
}
