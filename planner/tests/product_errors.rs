//! What is wrong with a product file is said in one line: file, line, value, expectation.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use breakeven_planner::Product;

const GOOD: &str = include_str!("../../examples/support-bot.toml");

/// The error of the example with one piece of text replaced.
fn error_of(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the example lost `{from}`");
    Product::parse(&GOOD.replacen(from, to, 1), "bot.toml").unwrap_err().to_string()
}

#[test]
fn the_examples_parse() {
    for text in [
        GOOD,
        include_str!("../../examples/sales-copilot.toml"),
        include_str!("../../examples/it-operations.toml"),
    ] {
        Product::parse(text, "example.toml").unwrap();
    }
}

#[test]
fn an_unknown_key_lists_the_choices() {
    insta::assert_snapshot!(error_of("attainment = 0.90", "atainment = 0.90"));
}

#[test]
fn a_probability_above_one() {
    insta::assert_snapshot!(error_of("probability = 0.70", "probability = 1.2"));
}

#[test]
fn a_negative_price() {
    insta::assert_snapshot!(error_of("usd_per_hour = 0.10", "usd_per_hour = -0.10"));
}

#[test]
fn a_missing_unit() {
    insta::assert_snapshot!(error_of("ttft = \"1500 ms\"", "ttft = 1500"));
}

#[test]
fn a_week_of_six_days() {
    insta::assert_snapshot!(error_of(
        "1.1, 1.1, 1.1, 1.05, 1.0, 0.7, 0.65]",
        "1.1, 1.1, 1.1, 1.05, 1.0, 0.7]"
    ));
}

#[test]
fn an_unknown_cost_line() {
    insta::assert_snapshot!(error_of("line = \"observability\"", "line = \"magic\""));
}

#[test]
fn two_segments_of_one_name() {
    insta::assert_snapshot!(error_of("name = \"edge case\"", "name = \"happy path\""));
}

#[test]
fn percentiles_out_of_order() {
    insta::assert_snapshot!(error_of("{ median = 120, p90 = 220, max = 400 }", "{ median = 120, p90 = 20 }"));
}

#[test]
fn text_that_is_not_toml() {
    insta::assert_snapshot!(error_of("[model]", "[model"));
}

#[test]
fn hardware_that_cannot_be() {
    let owned = "[fleet.owned]\nusd_per_server = 12000\naccelerators_per_server = 0\nusd_per_accelerator = 0\n\
        network_capex_share = 0\nspares_share = 0\ndiscount_rate_per_year = 0\namortisation_months = 48\nresidual_share = 0\n\
        idle_watts_per_server = 100\nload_watts_per_server = 500\npue = 0.8\ntariff = { flat = { usd_per_kwh = 0.10 } }\n\
        colocation_usd_per_kw_month = 150\nnetwork_usd_per_month = 80\nmaintenance_share_per_year = 0.06\n\
        staff_usd_per_year = 120000\nstaff_share = 0.05\n# Managed APIs";
    insta::assert_snapshot!(error_of("# Managed APIs", owned));
}

#[test]
fn retries_spend_and_success_are_read_and_their_mistakes_named() {
    let tables = "[segment.success]\njson = true\nkeys = [\"intent\"]\n\n[bench]\ntimeout = \"30 s\"\n[bench.retries]\n\
                  most = 2\ncauses = [\"rate_limited\"]\n[bench.spend]\nusd_per_million_input_tokens = 0.15\n\
                  usd_per_million_output_tokens = 0.60\ncap_usd = 1.5\n\n[traffic]";
    let text = GOOD.replacen("[traffic]", tables, 1);
    let product = Product::parse(&text, "bot.toml").unwrap();
    let retries = product.bench.retries.unwrap();
    assert_eq!((retries.most, retries.backoff.0.as_millis()), (2, 500));
    assert_eq!(product.segments.last().unwrap().success.clone().unwrap().keys, ["intent"]);
    let wrong = text.replacen("rate_limited", "bad_luck", 1);
    let message = Product::parse(&wrong, "bot.toml").unwrap_err().to_string();
    assert!(message.contains("bad_luck") && message.contains("`rate_limited`"), "{message}");
}
