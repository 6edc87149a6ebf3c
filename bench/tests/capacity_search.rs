//! The search against queues whose capacity is known from elsewhere, in paused time: from 0.05 to 20,000 requests a
//! second.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

use std::{sync::Arc, time::Duration};

use breakeven_bench::{
    RunPlan,
    drive::Pacing,
    requests::RequestSource,
    run::{Durations, run},
    target::{Target, mock::Mock},
};
use breakeven_measurement::{
    CapacityEstimate, Fraction, Lengths, RequestRate, Segment, Slo, Workload, level::ArrivalProcess,
};
use tokio::sync::watch;

/// P(wait <= t) of M/D/1 at rate `lambda` and service time `d` (A. K. Erlang, 1909).
fn erlang_wait(lambda: f64, d: f64, t: f64) -> f64 {
    let mut sum = 0.0;
    let mut factorial = 1.0;
    let mut k = 0.0;
    while k * d <= t {
        if k > 0.0 {
            factorial *= k;
        }
        let x = lambda * (k * d - t);
        sum += x.powf(k) / factorial * (-x).exp();
        k += 1.0;
    }
    (1.0 - lambda * d) * sum
}

/// Highest rate at which `share` of M/D/1's requests wait at most `t`.
fn md1_capacity(d: f64, t: f64, share: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0 / d);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if erlang_wait(middle, d, t) >= share { low = middle } else { high = middle }
    }
    low
}

/// The same for M/D/c, by a long simulation of its own: deterministic service keeps the order, so the n-th to arrive
/// starts when the (n − c)-th has left.
fn mdc_capacity(servers: usize, d: f64, t: f64, share: f64) -> f64 {
    let good_at = |lambda: f64| {
        let mut state = 0x1234_5678_9ABC_DEFFu64;
        let mut uniform = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut leaves = vec![0.0f64; servers];
        let (mut now, mut good, n) = (0.0, 0u32, 400_000);
        for i in 0..n {
            now -= (1.0 - uniform()).ln() / lambda;
            let free = leaves[i % servers];
            let start = now.max(free);
            leaves[i % servers] = start + d;
            good += u32::from(start - now <= t);
        }
        f64::from(good) / n as f64
    };
    let (mut low, mut high) = (0.2 * servers as f64 / d, servers as f64 / d);
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        if good_at(middle) >= share { low = middle } else { high = middle }
    }
    low
}

fn workload(tokens: u32) -> Workload {
    Workload {
        segments: vec![Segment {
            name: "all".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::constant(10).unwrap(),
            output_tokens: Lengths::constant(tokens).unwrap(),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: breakeven_measurement::PromptText::default(),
            session: None,
        }],
    }
}

/// One token after `service`, `slots` at a time; TTFT within `allowed` for nine of ten.
async fn search(
    service: Duration,
    slots: usize,
    allowed: Duration,
    budget: Duration,
    seed: u64,
) -> CapacityEstimate {
    let target: Arc<dyn Target> = Arc::new(Mock::new(service, Duration::ZERO, slots));
    let workload = workload(1);
    let plan = RunPlan {
        workload: workload.clone(),
        slo: Slo { ttft: Some(allowed), tpot: None, e2e: None, attainment: Fraction::new(0.9).unwrap() },
        rates: None,
        durations: Durations { search: budget, levels: [budget, budget, budget / 2] },
        arrivals: ArrivalProcess::Poisson,
        trace: None,
        seed,
        timeout: allowed * 20,
        pacing: Pacing::Timer,
        most_in_flight: None,
        shard: None,
        repeats: breakeven_bench::Repeating::ONCE,
        calibration: false,
    };
    let source = RequestSource::lengths_only(&workload, seed);
    let (_sender, cancel) = watch::channel(false);
    let outcome = run(&target, &plan, source, None, cancel, &mut |_| ()).await.unwrap();
    let record = outcome.search.unwrap();
    record.capacity.unwrap()
}

/// How far estimates were off, over seeds.
struct Tried {
    /// Mean of |estimate / truth − 1|.
    mean: f64,
    /// Runs whose interval held the truth.
    inside: usize,
    /// Mean of high over low end.
    width: f64,
}

async fn tried(
    truth: f64,
    service: Duration,
    slots: usize,
    allowed: Duration,
    budget: Duration,
    seeds: u64,
) -> Tried {
    let mut tried = Tried { mean: 0.0, inside: 0, width: 0.0 };
    for seed in 0..seeds {
        let found = search(service, slots, allowed, budget, seed).await;
        let error = found.rate.per_second() / truth - 1.0;
        let error = error.abs();
        tried.mean += error / seeds as f64;
        let (low, high) = (
            found.low.map_or(0.0, RequestRate::per_second),
            found.high.map_or(f64::MAX, RequestRate::per_second),
        );
        tried.width += (high / low) / seeds as f64;
        tried.inside += usize::from(low <= truth && truth <= high);
    }
    tried
}

#[tokio::test(start_paused = true)]
async fn a_short_search_of_a_server_with_four_places() {
    // 400 ms each, 32 s of search: what a small machine gets by default.
    let seconds = Duration::from_secs;
    let truth = mdc_capacity(4, 0.4, 0.6, 0.9);
    let found = tried(truth, Duration::from_millis(400), 4, seconds(1), seconds(32), 20).await;
    assert!(found.mean < 0.07, "mean error {}", found.mean);
    assert!(found.width < 1.6, "{}", found.width);
    assert!(found.inside >= 16, "{} of 20", found.inside);
}

#[tokio::test(start_paused = true)]
async fn one_request_in_twenty_seconds() {
    let truth = md1_capacity(10.0, 10.0, 0.9);
    let seconds = Duration::from_secs;
    let found = tried(truth, seconds(10), 1, seconds(20), seconds(8_000), 8).await;
    assert!((0.035..0.08).contains(&truth));
    assert!(found.mean < 0.15, "mean error {}", found.mean);
    assert!(found.inside >= 6, "{} of 8", found.inside);
}

#[tokio::test(start_paused = true)]
async fn one_place_against_erlangs_formula() {
    let truth = md1_capacity(0.1, 0.4, 0.9);
    let (ms, seconds) = (Duration::from_millis, Duration::from_secs);
    let found = tried(truth, ms(100), 1, ms(500), seconds(200), 12).await;
    assert!(found.mean < 0.06, "mean error {}", found.mean);
    assert!(found.inside >= 9, "{} of 12", found.inside);
}

#[tokio::test(start_paused = true)]
async fn twenty_thousand_a_second() {
    let ms = Duration::from_millis;
    // 800 places of 40 ms: 20,000 a second flat out; at so many places the queue appears within a few per cent of it.
    let truth = mdc_capacity(800, 0.04, 0.01, 0.9);
    let found = tried(truth, ms(40), 800, ms(50), ms(1_000), 1).await;
    assert!(found.mean < 0.08, "mean error {}", found.mean);
}

#[test]
fn the_oracles_agree() {
    let (formula, simulated) = (md1_capacity(0.1, 0.4, 0.9), mdc_capacity(1, 0.1, 0.4, 0.9));
    assert!((formula / simulated - 1.0).abs() < 0.01, "{formula} {simulated}");
}
