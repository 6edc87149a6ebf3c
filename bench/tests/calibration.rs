//! The step model of a server that keeps no step log, from what its requests show: a server of a known model, in paused time.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{sync::Arc, time::Duration};

use breakeven_bench::{
    RunEvent, RunPlan,
    drive::Pacing,
    requests::{Request, RequestSource},
    run::{Durations, RunOutcome, run},
    target::{Attempting, Outcome, Target, Trace, Usage},
};
use breakeven_measurement::{
    Fraction, Lengths, LevelName, RequestRate, Segment, Slo, Workload,
    level::{ArrivalProcess, TokenSource},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

// Whole milliseconds: tokio's clock knows no less.
const BASE_MS: u64 = 4;
const PREFILL_MS: u64 = 1;
const DECODE_MS: u64 = 6;

struct Sequence {
    prompt: u64,
    left: u64,
    started: bool,
    tokens: mpsc::UnboundedSender<Instant>,
}

/// Steps of all sequences together, one waiting prompt in each, in order of arrival.
async fn serve(mut arriving: mpsc::UnboundedReceiver<Sequence>) {
    let mut running: Vec<Sequence> = Vec::new();
    loop {
        if running.is_empty() {
            let Some(sequence) = arriving.recv().await else { return };
            running.push(sequence);
        }
        running.extend(std::iter::from_fn(|| arriving.try_recv().ok()));
        let decoding = running.iter().filter(|s| s.started).count() as u64;
        let next = running.iter().position(|s| !s.started);
        let prompt = next.and_then(|next| running.get(next)).map_or(0, |s| s.prompt);
        sleep(Duration::from_millis(BASE_MS + PREFILL_MS * prompt + DECODE_MS * decoding)).await;
        for (index, sequence) in running.iter_mut().enumerate() {
            if sequence.started || Some(index) == next {
                sequence.started = true;
                sequence.left -= 1;
                // Who no longer listens has given up; the server goes on, as servers do.
                sequence.tokens.send(Instant::now()).unwrap_or(());
            }
        }
        running.retain(|s| s.left > 0);
    }
}

#[derive(Debug)]
struct Stepping(mpsc::UnboundedSender<Sequence>);

impl Target for Stepping {
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a> {
        Box::pin(async move {
            let (tokens, mut came) = mpsc::unbounded_channel();
            let (prompt, left) = (u64::from(request.input_tokens), u64::from(request.output_tokens));
            self.0.send(Sequence { prompt, left, started: false, tokens }).unwrap();
            while let Some(at) = came.recv().await {
                trace.chunk(at, 1);
            }
            Outcome::Completed(Usage {
                input_tokens: prompt,
                cached_tokens: 0,
                output_tokens: left,
                source: TokenSource::Usage,
            })
        })
    }
}

fn workload() -> Workload {
    let lengths = |median, p90, max| Lengths::new(median, p90, Some(max)).unwrap();
    Workload { segments: vec![Segment::plain("all", 1.0, lengths(40, 80, 160), lengths(12, 20, 32))] }
}

async fn measured(calibration: bool, on_event: &mut (dyn FnMut(RunEvent) + Send)) -> RunOutcome {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(serve(receiver));
    let target: Arc<dyn Target> = Arc::new(Stepping(sender));
    let second = Duration::from_secs(1);
    let plan = RunPlan {
        workload: workload(),
        slo: Slo { ttft: Some(second), tpot: None, e2e: None, attainment: Fraction::new(0.9).unwrap() },
        rates: Some([0.5, 1.5, 4.0].map(|rate| RequestRate::new(rate).unwrap())),
        durations: Durations { search: second * 60, levels: [second * 60; 3] },
        arrivals: ArrivalProcess::Poisson,
        trace: None,
        seed: 3,
        timeout: second * 60,
        pacing: Pacing::Timer,
        most_in_flight: None,
        shard: None,
        repeats: breakeven_bench::Repeating::ONCE,
        calibration,
    };
    let (_sender, never) = watch::channel(false);
    let source = RequestSource::lengths_only(&workload(), 5);
    run(&target, &plan, source, None, never, on_event).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_alone_and_in_bursts_tell_the_steps_of_a_server() {
    let mut phases = 0;
    let outcome = measured(true, &mut |event| phases += u32::from(event == RunEvent::Calibrating)).await;
    let steps = outcome.steps.unwrap();
    assert_eq!(phases, 1);
    // 2, 4, 8… at once and five alone, two rows each, and only these beside the levels.
    assert!(steps.calibration_rows >= 2 * (5 + 2 + 4 + 8), "{}", steps.calibration_rows);
    assert!(steps.rows > steps.calibration_rows);
    assert_eq!(steps.levels, [LevelName::Baseline, LevelName::Expected]);
    let fit = steps.fit.unwrap();
    for (found, known) in fit.model.coefficients().into_iter().zip([BASE_MS, PREFILL_MS, DECODE_MS]) {
        assert!((found * 1e3 / known as f64 - 1.0).abs() < 0.15, "{known} ms: {fit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_calibration_only_the_levels_are_fitted() {
    let outcome = measured(false, &mut |event| assert_ne!(event, RunEvent::Calibrating)).await;
    assert_eq!(outcome.steps.unwrap().calibration_rows, 0);
}
