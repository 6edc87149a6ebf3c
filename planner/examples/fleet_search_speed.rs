//! How fast fleets are searched: `cargo run --release -p breakeven-planner --example fleet_search_speed`.
//!
//! Fifty made-up hardware types of 1 to 200 replicas: 10,000 fleets in closed form, and the cheapest that the simulation confirms.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "an example that prints timings of constant settings"
)]

use std::time::{Duration, Instant};

use breakeven_measurement::{Fraction, Lengths, Segment, Slo, Workload, step_fit::StepFit};
use breakeven_planner::{
    fleet::{
        replica::SimulatedReplica,
        search::{FleetType, candidates, cheapest_that_holds},
    },
    simulator::ReplicaSettings,
    step_model::StepModel,
};

fn main() {
    let types: Vec<FleetType> = (0..50)
        .map(|i| {
            let speed = 1.0 + f64::from(i) / 10.0;
            let model =
                StepModel::new(0.012 / speed, 1e-4 / speed, 1e-4 / speed, 1e-7 / speed).expect("constants");
            let fit = StepFit {
                model,
                half_widths: [None; 4],
                rows: 1_000,
                r_squared: 0.99,
                median_error: 0.02,
                p90_error: 0.05,
            };
            let settings = ReplicaSettings {
                max_sequences: 256,
                token_budget: 2_048,
                chunked_prefill: true,
                kv_tokens: Some(400_000),
                prefix_cache_tokens: 0,
            };
            let usd_per_hour = 0.9 * speed.powf(1.1);
            FleetType { name: format!("type {i}"), replica: SimulatedReplica { fit, settings }, usd_per_hour }
        })
        .collect();
    let workload = Workload {
        segments: vec![Segment {
            name: "chat".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::new(900, 2_400, None).expect("constants"),
            output_tokens: Lengths::new(180, 420, None).expect("constants"),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            session: None,
            text: breakeven_measurement::PromptText::default(),
        }],
    };
    let slo = Slo {
        ttft: Some(Duration::from_secs(2)),
        tpot: Some(Duration::from_millis(50)),
        e2e: None,
        attainment: Fraction::new(0.95).expect("constant"),
    };
    for round in 1..=3 {
        let start = Instant::now();
        let found = candidates(&types, 200, &workload, &slo, 60.0, 1);
        let closed = start.elapsed().as_secs_f64();
        let best = cheapest_that_holds(&types, &found, &workload, &slo, (60.0, 1), 60).expect("settings");
        let all = start.elapsed().as_secs_f64();
        println!(
            "round {round}: 10,000 fleets in {closed:.3} s, {} meet the SLO in closed form, confirmed by simulation in {all:.3} s in all: {}",
            found.len(),
            best.map_or_else(
                || "none".to_owned(),
                |b| format!(
                    "{} x {} at {:.2} USD an hour",
                    b.replicas,
                    types.get(b.of_type).map_or("?", |t| t.name.as_str()),
                    b.usd_per_hour
                )
            )
        );
    }
}
