//! Small products and measurements for the planner's tests.

use std::time::Duration;

use breakeven_hardware::{Bytes, Machine, PriceBook, machine::Cpu};
use breakeven_measurement::{
    CapacityEstimate, Finding, LevelName, LevelResult, LoadResult, Measurement, RequestRate, SearchRecord,
    Validity,
    level::{ArrivalProcess, Rates, Resources},
    run::{FORMAT, Status, Target},
};
use breakeven_planner::{Plan, PlanError, PlanOptions, Product, plan};
use jiff::civil::date;

/// A product of the given traffic and fleet lines; no other costs.
pub(crate) fn product(requests: f64, extra: &str) -> Product {
    let text = format!(
        r#"
name = "test"
[model]
name = "tiny"
[slo]
ttft = "1 s"
attainment = 0.9
[[segment]]
name = "all"
weight = 1
input_tokens = {{ median = 100, p90 = 100 }}
output_tokens = {{ median = 50, p90 = 50 }}
[traffic]
requests_per_month = {requests}
{extra}
"#
    );
    Product::parse(&text, "test.toml").unwrap()
}

/// A measurement that says one replica carries `capacity` requests a second.
pub(crate) fn measurement(product: &Product, capacity: f64) -> Measurement {
    let rate = |value: f64| RequestRate::new(value).unwrap();
    let level = |name: LevelName| {
        let mut load =
            LoadResult { scheduled: 200, completed: 200, within_slo: 200, ..LoadResult::default() };
        for _ in 0..200 {
            load.ttft.record(Duration::from_millis(200));
            load.e2e.record(Duration::from_millis(900));
            load.tpot.record(Duration::from_millis(10));
        }
        let window = Duration::from_secs(100);
        LevelResult {
            headlines: Vec::new(),
            name,
            arrivals: ArrivalProcess::Poisson,
            target_rate: rate(capacity * name.share_of_capacity()),
            warmup: Duration::from_secs(10),
            window,
            rates: Rates::over(&load, window),
            overall: load,
            segments: Vec::new(),
            resources: Resources::default(),
            validity: Validity::from(Vec::<Finding>::new()),
        }
    };
    Measurement {
        format: FORMAT.to_owned(),
        run_id: "run-test".to_owned(),
        started: "2026-11-23T12:00:00Z".parse().unwrap(),
        breakeven_version: "0.0.0".to_owned(),
        status: Status::Complete,
        machine: Machine {
            cpu: serde_json::from_value::<Cpu>(serde_json::json!({
                "model": "Test CPU", "physical_cores": 2, "logical_cores": 2, "simd": [], "last_level_cache": null
            }))
            .unwrap(),
            memory: Bytes::from_gib(8),
            gpus: Vec::new(),
            os: "test".to_owned(),
            hypervisor: None,
            container: None,
        },
        model: None,
        target: Target::Mock,
        workload: product.workload(),
        slo: product.slo(),
        seed: 0,
        shard: None,
        sweep: vec![],
        steps: None,
        repeats: None,
        imported: None,
        self_check: None,
        merged_from: vec![],
        search: Some(SearchRecord {
            probes: Vec::new(),
            saturated: None,
            capacity: Some(CapacityEstimate {
                rate: rate(capacity),
                low: Some(rate(capacity * 0.8)),
                high: Some(rate(capacity * 1.2)),
            }),
        }),
        levels: LevelName::ALL.map(level).to_vec(),
    }
}

/// Plans with the built-in prices on a fixed day.
pub(crate) fn planned(product: &Product, measurement: &Measurement) -> Result<Plan, PlanError> {
    let prices = PriceBook::built_in().unwrap();
    let options = PlanOptions { as_of: date(2026, 11, 23), allow_invalid: false, version: "0.0.0" };
    plan(product, measurement, &prices, &options)
}
