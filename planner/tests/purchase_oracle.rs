//! Purchases across hardware types against `SciPy`'s optima (`scripts/oracles/purchases.py`).

use breakeven_planner::purchase::{
    PurchaseError,
    mix::{MachineType, cheapest_mix},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Oracle {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    demand: Vec<f64>,
    types: Vec<Offer>,
    overflow_usd_per_request: Option<f64>,
    usd: f64,
}

#[derive(Deserialize)]
struct Offer {
    capacity: f64,
    always: Option<f64>,
    hourly: Option<f64>,
}

#[test]
fn fifty_random_purchases_cost_what_scipy_s_cost() {
    let oracle: Oracle = serde_json::from_str(include_str!("oracles/purchases.json")).unwrap();
    assert_eq!(oracle.cases.len(), 50);
    for (number, case) in oracle.cases.iter().enumerate() {
        let types: Vec<MachineType> = case
            .types
            .iter()
            .map(|t| MachineType {
                name: String::new(),
                capacity_per_second: t.capacity,
                always_usd_per_hour: t.always,
                hourly_usd_per_hour: t.hourly,
            })
            .collect();
        let mix = cheapest_mix(&case.demand, &types, case.overflow_usd_per_request, 0.0).unwrap();
        assert!(
            (mix.usd - case.usd).abs() < 1e-6 * case.usd.max(1.0),
            "case {number}: {} for {}",
            mix.usd,
            case.usd
        );
        // And the mix carries what it says it does.
        for (h, demand) in case.demand.iter().enumerate() {
            let carried: f64 = types
                .iter()
                .enumerate()
                .map(|(k, t)| t.capacity_per_second * f64::from(mix.always[k] + mix.hourly[h][k]))
                .sum();
            assert!(carried + mix.overflow_per_second[h] >= demand - 1e-6, "case {number}, hour {h}");
        }
    }
}

#[test]
fn demand_that_nothing_serves_is_refused() {
    let none = MachineType {
        name: "none".to_owned(),
        capacity_per_second: 1.0,
        always_usd_per_hour: None,
        hourly_usd_per_hour: None,
    };
    assert_eq!(cheapest_mix(&[1.0], &[none], None, 0.0), Err(PurchaseError::NoOffer));
}
