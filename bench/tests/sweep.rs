//! Closed loop against a target of known behaviour, in paused time.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{sync::Arc, time::Duration};

use breakeven_bench::{
    journal::{Entries, Entry, FORMAT, Header, Journal},
    requests::RequestSource,
    sweep::{SweepPlan, sweep},
    target::{Target, mock::Mock},
};
use breakeven_measurement::{Fraction, Lengths, Segment, Slo, SweepPoint, Workload};
use tokio::sync::watch;

fn plan(concurrencies: &[u32]) -> SweepPlan {
    let workload = Workload {
        segments: vec![Segment {
            name: "all".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::constant(10).unwrap(),
            output_tokens: Lengths::constant(5).unwrap(),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: breakeven_measurement::PromptText::default(),
            session: None,
        }],
    };
    SweepPlan {
        concurrencies: concurrencies.to_vec(),
        step: Duration::from_secs(100),
        workload,
        slo: Slo { ttft: None, tpot: None, e2e: None, attainment: Fraction::new(0.9).unwrap() },
        timeout: Duration::from_secs(60),
    }
}

#[tokio::test(start_paused = true)]
async fn throughput_grows_until_the_places_are_taken_and_then_only_latency_does() {
    // Four places of 500 ms: 8 requests a second at most.
    let target: Arc<dyn Target> =
        Arc::new(Mock::new(Duration::from_millis(300), Duration::from_millis(50), 4));
    let plan = plan(&[1, 2, 4, 8, 16]);
    let mut source = RequestSource::lengths_only(&plan.workload, 1);
    let (_sender, cancel) = watch::channel(false);
    let mut seen = 0;
    let points = sweep(&target, &plan, &mut source, None, &cancel, &mut |_| seen += 1).await.unwrap();
    assert_eq!((points.len(), seen), (5, 5));
    for (point, (rate, seconds)) in
        points.iter().zip([(2.0, 0.5), (4.0, 0.5), (8.0, 0.5), (8.0, 1.0), (8.0, 2.0)])
    {
        assert!((point.achieved_per_second / rate - 1.0).abs() < 0.03, "{point:?}");
        assert!((point.output_tokens_per_second / (5.0 * rate) - 1.0).abs() < 0.03);
        let mean = point.load.e2e.finite_mean().unwrap().as_secs_f64();
        assert!((mean / seconds - 1.0).abs() < 0.05, "{mean} for {seconds}");
        // Little: requests in flight = rate × time in system.
        let in_flight = point.achieved_per_second * mean;
        assert!((in_flight / f64::from(point.concurrency) - 1.0).abs() < 0.05, "{in_flight}");
    }
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_keeps_the_finished_steps() {
    let target: Arc<dyn Target> = Arc::new(Mock::new(Duration::from_millis(300), Duration::ZERO, 4));
    let plan = plan(&[1, 2, 4]);
    let mut source = RequestSource::lengths_only(&plan.workload, 1);
    let (sender, cancel) = watch::channel(false);
    let mut seen = 0;
    let points = sweep(&target, &plan, &mut source, None, &cancel, &mut |_| {
        seen += 1;
        if seen == 2 {
            sender.send_replace(true);
        }
    })
    .await
    .unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!(points[1].concurrency, 2);
}

#[tokio::test(start_paused = true)]
async fn finished_steps_are_kept_and_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attempts.jsonl");
    let header = Header {
        format: FORMAT.to_owned(),
        run_id: "run".to_owned(),
        started: "2026-11-23T12:00:00Z".parse().unwrap(),
        settings: serde_json::Value::Null,
    };
    let target: Arc<dyn Target> = Arc::new(Mock::new(Duration::from_millis(300), Duration::ZERO, 4));
    let plan = plan(&[1, 2, 4]);
    let (sender, cancel) = watch::channel(false);
    let own = RequestSource::lengths_only(&plan.workload, 1);
    let mut journal = Journal::create(&path, &header).unwrap();
    let stop = &mut |point: &SweepPoint| {
        sender.send_replace(point.concurrency == 2);
    };
    let first = sweep(&target, &plan, &mut own.beside(2), Some(&mut journal), &cancel, stop).await.unwrap();
    drop(journal);
    sender.send_replace(false);
    let (mut journal, _) = Journal::resume(&path, &header).unwrap();
    assert_eq!((journal.kept().sweep.clone(), journal.kept().requests), (first.clone(), 0));
    let second =
        sweep(&target, &plan, &mut own.beside(2), Some(&mut journal), &cancel, &mut |_| ()).await.unwrap();
    drop(journal);
    assert_eq!((first.len(), second.len(), &second[..2]), (2, 3, &first[..]));
    let (_, entries) = Entries::open(&path).unwrap();
    let mut ids: Vec<u64> = entries
        .filter_map(
            |entry| if let Entry::Attempt(line) = entry.unwrap() { Some(line.record.id) } else { None },
        )
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "no prompt was sent twice");
}
