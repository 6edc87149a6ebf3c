//! How fast the simulator is: `cargo run --release -p breakeven-planner --example simulate_speed [AZURE_TRACE.csv]`.
//!
//! Prints, for the Azure conversation trace over 8 replicas (where its file is given) and for 10⁴ to 10⁷ Poisson requests,
//! the seconds, the microseconds a request, the engine steps skipped through, and the largest resident memory so far.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "an example that prints timings of constant settings"
)]

use std::time::{Duration, Instant};

use breakeven_measurement::{Fraction, Lengths, Segment, Slo, Workload};
use breakeven_planner::{
    simulator::{
        Arrivals, Gaps, Outcome, RateProfile, ReplicaSettings, Scenario, simulate, trace::parse_trace,
    },
    step_model::StepModel,
};

/// About an 8-billion-parameter model on one large GPU: a token-budget step of 2,048 takes some 110 ms.
fn scenario(replicas: u32) -> Scenario {
    let step = StepModel::new(6e-3, 5e-5, 5e-5, 6e-8).expect("constants");
    let replica = ReplicaSettings {
        max_sequences: 256,
        token_budget: 2_048,
        chunked_prefill: true,
        kv_tokens: Some(400_000),
        prefix_cache_tokens: 0,
    };
    let slo = Slo {
        ttft: Some(Duration::from_secs(2)),
        tpot: Some(Duration::from_millis(50)),
        e2e: None,
        attainment: Fraction::new(0.95).expect("constant"),
    };
    Scenario::fixed(step, replica, replicas, slo)
}

fn workload() -> Workload {
    Workload {
        segments: vec![Segment {
            name: "chat".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::new(900, 2_400, None).expect("constants"),
            output_tokens: Lengths::new(180, 420, None).expect("constants"),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: breakeven_measurement::PromptText::default(),
            session: None,
        }],
    }
}

/// Largest resident memory so far in MiB, where the system says.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next());
    kib.and_then(|k| k.parse::<f64>().ok()).map_or_else(|| "?".to_owned(), |k| format!("{:.0}", k / 1024.0))
}

fn print(name: &str, seconds: f64, outcome: &Outcome) {
    let requests = outcome.requests as f64;
    let p95 = |s: &breakeven_measurement::LatencySeries| {
        s.quantile(0.95)
            .and_then(breakeven_measurement::Quantile::finite)
            .map_or(f64::NAN, |d| d.as_secs_f64())
    };
    println!(
        "{name:<28} {seconds:>8.3} s  {:>6.2} µs/request  {:>10} steps  {:>6.1} M steps/s  p95 TTFT {:.3} s  \
         utilisation {}  Little {:.0e}  peak {} MiB",
        seconds / requests * 1e6,
        outcome.steps,
        outcome.steps as f64 / seconds / 1e6,
        p95(&outcome.ttft),
        outcome.utilization.map_or_else(|| "?".to_owned(), |u| u.to_string()),
        outcome.little_gap,
        peak_memory(),
    );
}

fn main() {
    if let Some(path) = std::env::args().nth(1) {
        let text = std::fs::read_to_string(&path).expect("the trace");
        let trace = parse_trace(&text).expect("three columns");
        for round in 1..=3 {
            let start = Instant::now();
            let outcome = simulate(&scenario(8), trace.iter().copied()).expect("a trace in order");
            print(&format!("trace, 8 replicas, round {round}"), start.elapsed().as_secs_f64(), &outcome);
        }
    }
    for requests in [10_000_u64, 100_000, 1_000_000, 10_000_000] {
        let start = Instant::now();
        let profile = RateProfile::Constant(40.0);
        let arrivals = Arrivals::new(&workload(), profile, Gaps::Exponential, f64::INFINITY, requests, 1)
            .expect("constants");
        let outcome = simulate(&scenario(8), arrivals).expect("constants");
        print(&format!("{requests} Poisson, 8 replicas"), start.elapsed().as_secs_f64(), &outcome);
    }
}
