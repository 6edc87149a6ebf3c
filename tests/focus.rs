//! The FOCUS rows against the rules of the specification's own data model, version 1.4.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{collections::BTreeMap, fs};

use breakeven_planner::Plan;
use support::{breakeven, shown};

type Row = BTreeMap<String, String>;

/// The rows of `--focus` for the example, with the plan and the columns in order.
fn forecast(months: &str) -> (Plan, Vec<String>, Vec<Row>) {
    let folder = tempfile::tempdir().unwrap();
    let (plan, out) = (folder.path().join("plan.json"), folder.path().join("focus.csv"));
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");
    let made = breakeven(&[
        "plan",
        "examples/support-bot.toml",
        "--measurement",
        fixture,
        "--as-of",
        "2026-11-23",
        "--out",
        plan.to_str().unwrap(),
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let made = breakeven(&[
        "report",
        plan.to_str().unwrap(),
        "--focus",
        out.to_str().unwrap(),
        "--focus-months",
        months,
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let mut reader = csv::Reader::from_path(out).unwrap();
    let heads: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows = reader.deserialize().map(Result::unwrap).collect();
    (serde_json::from_str(&fs::read_to_string(plan).unwrap()).unwrap(), heads, rows)
}

/// `column, feature_level, nullable, type, allowed_values` of the specification.
fn rules() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/focus-1.4-columns.csv");
    csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect()
}

#[test]
fn every_mandatory_column_is_there_and_custom_ones_come_last_with_their_prefix() {
    let (_, heads, _) = forecast("1");
    let rules = rules();
    for rule in rules.iter().filter(|rule| rule["feature_level"] == "Mandatory") {
        assert!(heads.contains(&rule["column"]), "{} is mandatory", rule["column"]);
    }
    let known = |head: &String| rules.iter().any(|rule| rule["column"] == *head);
    let custom = heads.iter().position(|head| !known(head)).unwrap();
    assert!(heads[custom..].iter().all(|head| head.starts_with("x_") && !known(head)), "{heads:?}");
}

#[test]
fn every_cell_keeps_the_rules_of_its_column() {
    let (_, heads, rows) = forecast("12");
    for rule in rules().iter().filter(|rule| heads.contains(&rule["column"])) {
        let column = &rule["column"];
        let allowed: Vec<&str> =
            rule["allowed_values"].split(';').filter(|value| !value.is_empty()).collect();
        for row in &rows {
            let cell = &row[column];
            if cell.is_empty() {
                assert_eq!(rule["nullable"], "yes", "{column} is null");
                continue;
            }
            assert!(!cell.trim().is_empty(), "{column}: blanks");
            match rule["type"].as_str() {
                "Decimal" => {
                    // A reader that guesses types finds decimals, not whole numbers (the foundation's validator does).
                    assert!(cell.contains('.'), "{column}: {cell}");
                    assert!(cell.parse::<f64>().unwrap().is_finite(), "{column}: {cell}");
                    assert!(
                        cell.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'),
                        "{column}: {cell}"
                    );
                }
                "Date/Time" => {
                    assert!(
                        cell.parse::<jiff::Timestamp>().is_ok() && cell.len() == 20 && cell.ends_with('Z'),
                        "{cell}"
                    );
                }
                _ => {}
            }
            if column == "ServiceSubcategory" {
                let pair = format!("{}>{cell}", row["ServiceCategory"]);
                assert!(allowed.contains(&pair.as_str()), "{pair}");
            } else if !allowed.is_empty() {
                assert!(allowed.contains(&cell.as_str()), "{column}: {cell}");
            }
        }
    }
}

#[test]
fn rows_keep_the_rules_between_columns() {
    let (_, _, rows) = forecast("3");
    for row in &rows {
        // ChargeClass: null unless a correction. PricingQuantity and PricingUnit: both, for usage. Currency: ISO 4217.
        assert_eq!((row["ChargeClass"].as_str(), row["ChargeCategory"].as_str()), ("", "Usage"));
        assert!(!row["PricingQuantity"].is_empty() && !row["PricingUnit"].is_empty());
        assert_eq!(row["BillingCurrency"], "USD");
        // HostProviderName: never null, "Not Applicable" where nothing is deployed.
        let people = [
            "support",
            "compliance",
            "engineering",
            "operational debt",
            "switching costs",
            "cost of latency",
        ];
        let hosted = !people.contains(&row["x_CostLine"].as_str());
        let host = if hosted { row["ServiceProviderName"].as_str() } else { "Not Applicable" };
        assert_eq!(row["HostProviderName"], host, "{}", row["x_CostLine"]);
        // Ends are exclusive and after their starts; charges lie in their billing period.
        assert!(row["ChargePeriodStart"] < row["ChargePeriodEnd"]);
        assert!(
            row["BillingPeriodStart"] <= row["ChargePeriodStart"]
                && row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]
        );
        // No discounts are forecast: all four costs are one.
        for cost in ["ListCost", "ContractedCost", "EffectiveCost"] {
            assert_eq!(row[cost], row["BilledCost"]);
        }
    }
}

#[test]
fn months_options_and_lines_add_up_to_the_plan() {
    let (plan, _, rows) = forecast("12");
    let had: Vec<_> = plan.options.iter().filter(|option| option.infeasible.is_none()).collect();
    assert_eq!(rows.len(), 12 * had.len() * 17);
    for option in had {
        for month in ["2026-12-01T00:00:00Z", "2027-11-01T00:00:00Z"] {
            let of =
                rows.iter().filter(|row| row["x_OptionId"] == option.id && row["ChargePeriodStart"] == month);
            let sum: f64 = of.map(|row| row["BilledCost"].parse::<f64>().unwrap()).sum();
            assert!((sum - option.usd_per_month.to_f64()).abs() < 0.005, "{}: {sum}", option.id);
        }
    }
}
