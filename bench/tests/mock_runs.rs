//! The instrument against a target of known behaviour, in paused time: exact figures in no wall time.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{sync::Arc, time::Duration};

use breakeven_bench::{
    RunPlan, Until,
    drive::{DriveSettings, Next, Pacing, drive},
    journal::{FORMAT, Header, Journal},
    requests::RequestSource,
    run::{Durations, run},
    tally::tally,
    target::{Target, mock::Mock},
};
use breakeven_measurement::{
    FailureCause, Finding, Fraction, LatencySeries, Lengths, Metric, Quantile, RequestRate, Segment, Shard,
    Slo, Verdict, Workload, level::ArrivalProcess, run::Status,
};
use tokio::sync::watch;

const MS: Duration = Duration::from_millis(1);

fn workload() -> Workload {
    Workload {
        segments: vec![Segment {
            name: "happy path".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::constant(10).unwrap(),
            output_tokens: Lengths::constant(6).unwrap(),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: breakeven_measurement::PromptText::default(),
            session: None,
        }],
    }
}

fn slo(ttft_ms: u32, attainment: f64) -> Slo {
    Slo { ttft: Some(MS * ttft_ms), tpot: None, e2e: None, attainment: Fraction::new(attainment).unwrap() }
}

fn plan(slo: Slo) -> RunPlan {
    RunPlan {
        workload: workload(),
        slo,
        rates: None,
        durations: Durations { search: MS * 400_000, levels: [MS * 300_000; 3] },
        arrivals: ArrivalProcess::Poisson,
        trace: None,
        seed: 11,
        timeout: MS * 60_000,
        pacing: Pacing::Timer,
        most_in_flight: None,
        shard: None,
        repeats: breakeven_bench::Repeating::ONCE,
        calibration: false,
    }
}

fn source() -> RequestSource {
    RequestSource::lengths_only(&workload(), 5)
}

fn finite(series: &LatencySeries, q: f64) -> f64 {
    series.quantile(q).and_then(Quantile::finite).unwrap().as_secs_f64()
}

fn never() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    // The sender lives as long as the test process: dropping it is also allowed, and means "never".
    drop(sender);
    receiver
}

#[tokio::test(start_paused = true)]
async fn an_unloaded_target_is_timed_exactly() {
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 300, MS * 20, 64));
    let mut plan = plan(slo(1_000, 0.9));
    plan.rates = Some([1.0, 2.0, 3.0].map(|r| RequestRate::new(r).unwrap()));
    let outcome = run(&target, &plan, source(), None, never(), &mut |_| ()).await.unwrap();
    assert_eq!(outcome.status, Status::Complete);
    assert_eq!(outcome.levels.len(), 3);
    for level in &outcome.levels {
        let load = &level.overall;
        // tokio's clock steps in milliseconds, so a sleep may end up to 1 ms late.
        assert!((finite(&load.ttft, 0.5) - 0.300).abs() < 0.002, "{:?}", load.ttft);
        assert!((finite(&load.tpot, 0.5) - 0.020).abs() < 0.000_5, "{:?}", load.tpot);
        assert!((finite(&load.e2e, 0.5) - 0.400).abs() < 0.002);
        assert_eq!(load.goodput(), Some(Fraction::ONE));
        assert_eq!(load.completed, load.scheduled);
        assert_eq!(load.output_tokens.0, 6 * load.completed);
        let rates = level.rates.unwrap();
        let expected = level.target_rate.per_second();
        assert!((rates.offered_per_second / expected - 1.0).abs() < 0.2, "{rates:?}");
        // Of a machine that others share, the CPU may be stolen, whatever the mock does.
        let found: Vec<_> =
            level.validity.findings.iter().filter(|f| !matches!(f, Finding::CpuStolen { .. })).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_search_finds_the_capacity_of_a_server_of_known_capacity() {
    // Four places of 400 ms each: 10 requests a second saturate it; with a 1 s TTFT target it carries close to that.
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 300, MS * 20, 4));
    let plan = plan(slo(1_000, 0.9));
    let outcome = run(&target, &plan, source(), None, never(), &mut |_| ()).await.unwrap();
    let search = outcome.search.unwrap();
    let found = search.capacity.clone().unwrap();
    assert!((7.0..10.5).contains(&found.rate.per_second()), "{found:?}");
    assert!(
        found.low.is_none_or(|low| low <= found.rate) && found.high.is_none_or(|high| found.rate <= high)
    );
    let goodput: Vec<f64> = outcome.levels.iter().map(|l| l.overall.goodput().unwrap().get()).collect();
    assert!(goodput[0] > 0.99 && goodput[1] > 0.9 && goodput[2] < 0.9, "{goodput:?}");
}

#[tokio::test(start_paused = true)]
async fn overload_is_seen_as_a_queue_that_grows() {
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 300, MS * 20, 4));
    let mut plan = plan(slo(1_000, 0.9));
    plan.rates = Some([3.0, 7.0, 14.0].map(|r| RequestRate::new(r).unwrap()));
    let outcome = run(&target, &plan, source(), None, never(), &mut |_| ()).await.unwrap();
    let grows = |index: usize| {
        let findings = &outcome.levels[index].validity.findings;
        findings.iter().any(|f| matches!(f, Finding::NotStationary { .. }))
    };
    assert_eq!([grows(0), grows(1), grows(2)], [false, false, true]);
    let stress = &outcome.levels[2];
    assert!(stress.overall.failures.contains_key(&FailureCause::Timeout), "60 s are not enough for the last");
    assert_eq!(stress.overall.scheduled, stress.overall.completed + stress.overall.failed());
}

#[tokio::test(start_paused = true)]
async fn a_stall_delays_every_arrival_that_was_due_in_it() {
    // Nothing is answered for the first 2 s of a 20 s schedule at 50 req/s: the truth follows from the schedule.
    let mut mock = Mock::new(MS * 10, MS, 10_000);
    mock.stalled_until = Some(tokio::time::Instant::now() + MS * 2_000);
    let target: Arc<dyn Target> = Arc::new(mock);
    let mut requests = source();
    let schedule: Vec<_> = (0..1_000u32).map(|i| (MS * (i * 20), requests.draw())).collect();
    let settings = DriveSettings {
        timeout: MS * 60_000,
        drain: None,
        pacing: Pacing::Timer,
        most_in_flight: None,
        cancel: never(),
    };
    let driven = drive(&target, schedule, &settings, &mut |_, _| Next::Go).await;
    let (load, _) = tally(&driven.attempts, Duration::ZERO, &workload(), &slo(50, 0.9));
    assert_eq!((load.scheduled, load.completed, driven.unsent), (1_000, 1_000, 0));
    let mut truth: Vec<f64> =
        (0..1_000u32).map(|i| (2_000.0 - f64::from(i) * 20.0).max(0.0) / 1e3 + 0.010).collect();
    truth.sort_by(f64::total_cmp);
    for (q, index) in [(0.9, 899), (0.95, 949), (0.99, 989), (1.0, 999)] {
        let found = finite(&load.ttft, q);
        assert!(
            (found - truth[index]).abs() <= truth[index] * 0.01 + 0.002,
            "q {q}: {found} for {}",
            truth[index]
        );
    }
    let mean = load.ttft.finite_mean().unwrap().as_secs_f64();
    let expected = truth.iter().sum::<f64>() / 1_000.0;
    assert!((mean - expected).abs() < expected * 0.01 + 0.001, "{mean} for {expected}");
    // Due before 1.96 s: 98 of them, plus none after.
    assert_eq!(load.within_slo, 1_000 - truth.iter().filter(|t| **t > 0.0505).count() as u64);
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_by_cause_and_are_infinitely_slow() {
    let mut mock = Mock::new(MS * 10, MS, 100);
    mock.fail_every = 4;
    let target: Arc<dyn Target> = Arc::new(mock);
    let mut requests = source();
    let schedule: Vec<_> = (0..400u32).map(|i| (MS * (i * 50), requests.draw())).collect();
    let settings = DriveSettings {
        timeout: MS * 5_000,
        drain: None,
        pacing: Pacing::Timer,
        most_in_flight: None,
        cancel: never(),
    };
    let driven = drive(&target, schedule, &settings, &mut |_, _| Next::Go).await;
    let (load, segments) = tally(&driven.attempts, Duration::ZERO, &workload(), &slo(50, 0.9));
    assert_eq!(load.failures.get(&FailureCause::ServerError), Some(&100));
    assert_eq!(load.scheduled, load.completed + load.failed());
    assert_eq!(load.ttft.quantile(0.76), Some(Quantile::Infinite));
    assert_eq!(load.failed_tokens.0, 1_000, "ten prompt tokens of each failed attempt");
    assert_eq!(segments[0].load, load);
}

#[tokio::test(start_paused = true)]
async fn a_request_past_its_deadline_is_a_timeout() {
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 10_000, MS, 100));
    let mut requests = source();
    let settings = DriveSettings {
        timeout: MS * 3_000,
        drain: None,
        pacing: Pacing::Timer,
        most_in_flight: None,
        cancel: never(),
    };
    let schedule = vec![(MS * 100, requests.draw())];
    let driven = drive(&target, schedule, &settings, &mut |_, _| Next::Go).await;
    assert_eq!(driven.attempts[0].failure, Some(FailureCause::Timeout));
    assert!(driven.attempts[0].done >= MS * 3_100 && driven.attempts[0].done < MS * 3_110);
}

#[tokio::test(start_paused = true)]
async fn cancelling_keeps_what_finished_and_says_so() {
    let (cancel, cancelled) = watch::channel(false);
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 30, MS * 2, 64));
    let mut plan = plan(slo(1_000, 0.9));
    plan.rates = Some([4.0; 3].map(|r| RequestRate::new(r).unwrap()));
    let mut levels_started = 0;
    let outcome = run(&target, &plan, source(), None, cancelled, &mut |event| {
        if let breakeven_bench::RunEvent::LevelStarted { .. } = event {
            levels_started += 1;
        }
        if let breakeven_bench::RunEvent::Progress { progress, .. } = event
            && levels_started == 2
            && progress.completed == 500
        {
            cancel.send_replace(true);
        }
    })
    .await
    .unwrap();
    assert!(matches!(outcome.status, Status::Incomplete { .. }));
    assert_eq!(outcome.levels.len(), 2);
    let cut = &outcome.levels[1];
    assert_eq!(cut.validity.verdict, Verdict::Invalid);
    assert!(cut.validity.findings.contains(&Finding::Interrupted));
    assert!(cut.overall.completed > 200);
}

#[tokio::test(start_paused = true)]
async fn a_percentile_of_few_requests_has_no_high_end() {
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 300, MS * 20, 4));
    let mut plan = plan(slo(1_000, 0.9));
    plan.rates = Some([0.2, 0.3, 0.4].map(|r| RequestRate::new(r).unwrap()));
    let outcome = run(&target, &plan, source(), None, never(), &mut |_| ()).await.unwrap();
    for level in &outcome.levels {
        // 0.99^n > 2.5 %: with a chance above that, all of n requests lie below their 99th percentile.
        assert!((20..300).contains(&level.overall.scheduled), "{}", level.overall.scheduled);
        let within = |metric| level.headline(metric).and_then(|headline| headline.within_run).unwrap();
        assert_eq!(within(Metric::TtftP99).high, None);
        assert!(within(Metric::TtftP50).high.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn repeated_levels_add_up_and_tell_what_another_run_may_show() {
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 300, MS * 20, 4));
    let mut plan = plan(slo(1_000, 0.9));
    plan.rates = Some([2.0, 5.0, 12.0].map(|r| RequestRate::new(r).unwrap()));
    plan.repeats.least = 4.try_into().unwrap();
    let mut single = Vec::new();
    let outcome = run(&target, &plan, source(), None, never(), &mut |event| {
        if let breakeven_bench::RunEvent::LevelFinished(level) = event {
            single.push(*level);
        }
    })
    .await
    .unwrap();
    assert_eq!(outcome.repeats.map(|repeats| repeats.runs), Some(4));
    assert_eq!(single.len(), 12);
    for level in &outcome.levels {
        let runs: Vec<_> = single.iter().filter(|run| run.name == level.name).collect();
        assert_eq!(level.overall.scheduled, runs.iter().map(|run| run.overall.scheduled).sum::<u64>());
        assert_eq!(level.window, runs.iter().map(|run| run.window).sum::<Duration>());
        assert!(runs.windows(2).all(|pair| pair[0].overall != pair[1].overall), "each has its own schedule");
        let goodput = level.headline(Metric::Goodput).unwrap();
        assert_eq!(goodput.estimate, level.overall.goodput().map(Fraction::get));
        let own: Vec<_> = runs.iter().map(|run| run.overall.goodput().map(Fraction::get)).collect();
        assert_eq!(goodput.runs.iter().map(|run| run.value).collect::<Vec<_>>(), own);
    }
    let expected = &outcome.levels[1];
    let ttft = expected.headline(Metric::TtftP95).unwrap();
    let (low, high) = ttft.between_runs.and_then(|span| span.low.zip(span.high)).unwrap();
    let values: Vec<f64> = ttft.runs.iter().filter_map(|run| run.value).collect();
    let mean = values.iter().sum::<f64>() / 4.0;
    assert!(low < mean && mean < high && high - low > 0.0, "{ttft:?}");
}

#[tokio::test(start_paused = true)]
async fn levels_repeat_until_their_intervals_are_narrow_or_the_time_is_used() {
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 300, MS * 20, 4));
    let mut plan = plan(slo(1_000, 0.9));
    plan.rates = Some([2.0, 6.0, 8.0].map(|r| RequestRate::new(r).unwrap()));
    let budget = Duration::from_secs(24 * 3_600);
    let mut runs = async |width: f64, budget: Duration| {
        plan.repeats.until = Some(Until { width, budget });
        run(&target, &plan, source(), None, never(), &mut |_| ()).await.unwrap().repeats.unwrap()
    };
    let wide = runs(0.5, budget).await;
    let narrow = runs(0.1, budget).await;
    assert!(wide.runs < narrow.runs && narrow.widest.unwrap() <= 0.1, "{wide:?} {narrow:?}");
    let cut = runs(1e-9, Duration::from_secs(3_000)).await;
    // Three levels of 300 s and their drains are a little over 900 s.
    assert!(cut.runs == 3 && cut.widest.unwrap() > 1e-9, "{cut:?}");
}

#[tokio::test(start_paused = true)]
async fn the_journal_holds_every_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let header = Header {
        format: FORMAT.to_owned(),
        run_id: "run".to_owned(),
        started: "2026-11-23T12:00:00Z".parse().unwrap(),
        settings: serde_json::Value::Null,
    };
    let mut journal = Journal::create(&path, &header).unwrap();
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 30, MS * 2, 64));
    let mut plan = plan(slo(1_000, 0.9));
    plan.rates = Some([1.0; 3].map(|r| RequestRate::new(r).unwrap()));
    let outcome = run(&target, &plan, source(), Some(&mut journal), never(), &mut |_| ()).await.unwrap();
    drop(journal);
    let text = std::fs::read_to_string(&path).unwrap();
    let of_level = text.lines().filter(|l| l.contains("\"phase\":\"expected\"")).count() as u64;
    assert!(of_level >= outcome.levels[1].overall.scheduled);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[tokio::test(start_paused = true)]
async fn shards_send_the_whole_load_between_them() {
    let mut plan = plan(slo(1_000, 0.9));
    plan.rates = Some([1.0, 2.0, 3.0].map(|r| RequestRate::new(r).unwrap()));
    let mut of_shard = async |shard: Option<Shard>| {
        plan.shard = shard;
        // Enough places for all: what one generator sends does not slow another's requests.
        let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 300, MS * 20, 1_000));
        run(&target, &plan, source(), None, never(), &mut |_| ()).await.unwrap().levels
    };
    let whole = of_shard(None).await;
    let mut parts = Vec::new();
    for index in 0..3 {
        parts.push(of_shard(Some(Shard::new(index, 3).unwrap())).await);
    }
    for (index, level) in whole.iter().enumerate() {
        let mut sum = parts[0][index].overall.clone();
        sum.merge(&parts[1][index].overall);
        sum.merge(&parts[2][index].overall);
        assert_eq!(sum.scheduled, level.overall.scheduled);
        assert_eq!(
            (sum.input_tokens, sum.output_tokens),
            (level.overall.input_tokens, level.overall.output_tokens)
        );
        assert!(parts.iter().all(|part| part[index].window == level.window));
    }
}
