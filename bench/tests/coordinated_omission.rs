//! A server that stalls for 2 s in a run of 20 s at 50 requests a second: every headline figure must be what the schedule
//! says, whether requests are held back by a cap or not. Load generators that wait for answers report a tenth of it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroUsize, sync::Arc, time::Duration};

use breakeven_bench::{
    drive::{DriveSettings, Driven, Next, Pacing, drive},
    requests::RequestSource,
    tally::tally,
    target::{Target, mock::Mock},
};
use breakeven_measurement::{Fraction, LatencySeries, Lengths, Quantile, Segment, Slo, Workload};
use tokio::{sync::watch, time::Instant};

const MS: Duration = Duration::from_millis(1);
const ARRIVALS: u32 = 1_000;
const GAP: Duration = Duration::from_millis(20);
const TTFT: Duration = Duration::from_millis(50);
const TPOT: Duration = Duration::from_millis(5);
const TOKENS: u32 = 10;
const STALL: (Duration, Duration) = (Duration::from_secs(9), Duration::from_secs(11));

fn workload() -> Workload {
    Workload {
        segments: vec![Segment {
            name: "one".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::constant(10).unwrap(),
            output_tokens: Lengths::constant(TOKENS).unwrap(),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: breakeven_measurement::PromptText::default(),
            session: None,
        }],
    }
}

async fn run(most_in_flight: Option<usize>) -> Driven {
    let mut mock = Mock::new(TTFT, TPOT, 10_000);
    let start = Instant::now();
    mock.frozen = Some((start + STALL.0, start + STALL.1));
    let target: Arc<dyn Target> = Arc::new(mock);
    let mut requests = RequestSource::lengths_only(&workload(), 5);
    let schedule: Vec<_> = (0..ARRIVALS).map(|i| (GAP * i, requests.draw())).collect();
    let (_, cancel) = watch::channel(false);
    let settings = DriveSettings {
        timeout: MS * 60_000,
        drain: None,
        pacing: Pacing::Timer,
        most_in_flight: most_in_flight.and_then(NonZeroUsize::new),
        cancel,
    };
    drive(&target, schedule, &settings, &mut |_, _| Next::Go).await
}

/// TTFT and E2E of each arrival from the schedule alone: first come first served over `places`, frozen in the stall.
fn truth(places: usize) -> (Vec<Duration>, Vec<Duration>) {
    let thawed = |at: Duration| if (STALL.0..STALL.1).contains(&at) { STALL.1 } else { at };
    let mut free: BinaryHeap<_> = (0..places).map(|_| Reverse(Duration::ZERO)).collect();
    let (mut ttft, mut e2e) = (Vec::new(), Vec::new());
    for due in (0..ARRIVALS).map(|i| GAP * i) {
        let Reverse(place) = free.pop().unwrap();
        let mut at = thawed(due.max(place) + TTFT);
        ttft.push(at.saturating_sub(due));
        for _ in 1..TOKENS {
            at = thawed(at + TPOT);
        }
        e2e.push(at.saturating_sub(due));
        free.push(Reverse(at));
    }
    ttft.sort();
    e2e.sort();
    (ttft, e2e)
}

fn assert_same(name: &str, series: &LatencySeries, truth: &[Duration]) {
    let n = truth.len();
    let near = |found: Duration, expected: Duration, what: &str| {
        let (found, expected) = (found.as_secs_f64(), expected.as_secs_f64());
        assert!((found / expected - 1.0).abs() < 0.01, "{name} {what}: {found} s for {expected} s");
    };
    for (permille, what) in [(900, "p90"), (950, "p95"), (990, "p99"), (999, "p99.9"), (1_000, "max")] {
        let rank = (n * permille).div_ceil(1_000);
        let found = series.quantile(permille as f64 / 1e3).and_then(Quantile::finite).unwrap();
        near(found, truth[rank - 1], what);
    }
    near(series.finite_mean().unwrap(), truth.iter().sum::<Duration>() / ARRIVALS, "mean");
}

#[tokio::test(start_paused = true)]
async fn a_two_second_stall_is_in_every_figure_capped_or_not() {
    let slo = Slo { ttft: None, tpot: None, e2e: Some(MS * 500), attainment: Fraction::ONE };
    for cap in [None, Some(16)] {
        let driven = run(cap).await;
        let (load, _) = tally(&driven.attempts, Duration::ZERO, &workload(), &slo);
        assert_eq!((load.scheduled, load.completed, driven.unsent), (1_000, 1_000, 0), "{cap:?}");
        let (ttft, e2e) = truth(cap.unwrap_or(10_000));
        assert_same(&format!("TTFT, cap {cap:?}"), &load.ttft, &ttft);
        assert_same(&format!("E2E, cap {cap:?}"), &load.e2e, &e2e);
        let lag = load.send_lag.quantile(1.0).and_then(Quantile::finite).unwrap();
        assert_eq!(
            cap.is_some(),
            lag > MS * 1_000,
            "arrivals held by the cap are seen in the send lag: {lag:?}"
        );
    }
}
