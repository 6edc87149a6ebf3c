//! Published traces, read and replayed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

use std::{path::Path, sync::Arc, time::Duration};

use breakeven_bench::{
    RunPlan,
    drive::Pacing,
    requests::RequestSource,
    run::{Durations, run},
    target::{Target, mock::Mock},
    trace::{Trace, TraceError},
};
use breakeven_measurement::{Fraction, Lengths, RequestRate, Segment, Slo, Workload, level::ArrivalProcess};
use tokio::sync::watch;

fn fixture(name: &str) -> Trace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    Trace::read(&path).unwrap()
}

fn lengths(trace: &Trace, row: usize) -> (u32, u32) {
    let lengths = trace.rows[row].lengths.unwrap();
    (lengths.input, lengths.output)
}

#[test]
fn azure_times_are_dates_and_lengths_are_there() {
    let trace = fixture("azure-conv-excerpt.csv");
    assert_eq!(trace.rows.len(), 40);
    // 18:15:46.6805900 to 18:15:50.9951690.
    assert_eq!(trace.rows[1].at, Duration::from_micros(4_314_579));
    assert_eq!(lengths(&trace, 0), (374, 44));
    assert_eq!(trace.prefix_hit_share(), None);
}

#[test]
fn mooncake_times_are_milliseconds_and_blocks_tell_shared_prefixes() {
    let trace = fixture("mooncake-excerpt.jsonl");
    assert_eq!((trace.rows.len(), lengths(&trace, 0)), (40, (6_758, 500)));
    assert_eq!(trace.rows[1].blocks[..2], [0, 14]);
    let share = trace.prefix_hit_share().unwrap().get();
    // Every prompt but the first begins with block 0: at the very least that many hits.
    assert!(share > 0.0 && share < 1.0, "{share}");
}

#[test]
fn burstgpt_keeps_requests_without_an_answer() {
    let trace = fixture("burstgpt-shape.csv");
    assert_eq!(trace.rows[3].at, Duration::from_secs_f64(114.5));
    assert_eq!((lengths(&trace, 3), trace.unanswered), ((1_360, 1), 1));
}

#[test]
fn a_plain_csv_needs_only_arrivals_and_may_be_out_of_order() {
    let trace = Trace::parse("arrival_seconds\n7.5\n5\n6\n", "mine.csv").unwrap();
    let at: Vec<f64> = trace.rows.iter().map(|row| row.at.as_secs_f64()).collect();
    assert_eq!(at, [0.0, 1.0, 2.5]);
    assert!(trace.rows[0].lengths.is_none());
}

#[test]
fn mistakes_are_named_with_file_line_and_value() {
    let message = |text: &str| Trace::parse(text, "t.csv").unwrap_err().to_string();
    assert_eq!(
        message("arrival_seconds,input_tokens,output_tokens\n1,5,5\n2,many,5\n"),
        "`t.csv`, line 3: expected a number of tokens, found `many`"
    );
    assert_eq!(
        message("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n"),
        "`t.csv`, line 2: expected a date and time such as 2023-11-16 18:15:46.68, found `yesterday`"
    );
    assert!(message("arrival_seconds\n-1\n").contains("line 2: expected seconds, 0 or more, found `-1`"));
    assert!(message("{\"timestamp\": 0}\n").contains("line 1: expected a JSON object"));
    assert!(message("a,b\n1,2\n").contains("is the head of no trace format"));
    assert!(message("arrival_seconds\n1\n").contains("has 1 requests"));
    assert!(message("").contains("is the head of no trace format"));
    let missing = Trace::read(Path::new("no such file")).unwrap_err();
    assert!(matches!(missing, TraceError::Read { .. }));
}

#[test]
fn a_replay_keeps_proportions_brings_the_rate_asked_and_starts_over_at_the_end() {
    let trace = fixture("azure-conv-excerpt.csv");
    let rate = RequestRate::new(2.0).unwrap();
    let replay = trace.replay(rate, Duration::from_secs(20), 0);
    assert_eq!(replay.len(), 40);
    let whole = trace.rows[39].at.as_secs_f64();
    for (i, (due, row)) in replay.iter().enumerate() {
        assert_eq!(row.lengths, trace.rows[i].lengths);
        let expected = trace.rows[i].at.as_secs_f64() / whole * 20.0 * 39.0 / 40.0;
        assert!((due.as_secs_f64() - expected).abs() < 1e-6, "{due:?} {expected}");
    }
    let long = trace.replay(rate, Duration::from_secs(50), 17);
    assert_eq!(long.len(), 100, "a short trace begins again");
    assert!(long.windows(2).all(|w| w[0].0 <= w[1].0) && long[99].0 < Duration::from_secs(50));
}

#[test]
fn lengths_are_scaled_and_stay_at_least_one() {
    let trace = fixture("azure-conv-excerpt.csv").with_lengths_scaled(0.5, 0.001);
    assert_eq!(lengths(&trace, 0), (187, 1));
}

#[tokio::test(start_paused = true)]
async fn a_level_replays_the_trace_with_its_lengths() {
    let trace = Arc::new(fixture("azure-conv-excerpt.csv"));
    let workload = Workload {
        segments: vec![Segment {
            name: "all".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::constant(10).unwrap(),
            output_tokens: Lengths::constant(6).unwrap(),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: breakeven_measurement::PromptText::default(),
            session: None,
        }],
    };
    let ms = Duration::from_millis;
    let plan = RunPlan {
        workload: workload.clone(),
        slo: Slo { ttft: Some(ms(500)), tpot: None, e2e: None, attainment: Fraction::new(0.9).unwrap() },
        rates: Some([1.0, 2.0, 4.0].map(|r| RequestRate::new(r).unwrap())),
        durations: Durations { search: ms(1), levels: [ms(200_000); 3] },
        arrivals: ArrivalProcess::Trace {
            name: trace.name.clone(),
            requests: 40,
            gap_variation: trace.gap_variation(),
            lengths: true,
        },
        trace: Some(Arc::clone(&trace)),
        seed: 4,
        timeout: ms(60_000),
        pacing: Pacing::Timer,
        most_in_flight: None,
        shard: None,
        repeats: breakeven_bench::Repeating::ONCE,
        calibration: false,
    };
    let target: Arc<dyn Target> = Arc::new(Mock::new(ms(50), ms(2), 10_000));
    let source = RequestSource::lengths_only(&workload, 1);
    let (_sender, cancel) = watch::channel(false);
    let outcome = run(&target, &plan, source, None, cancel, &mut |_| ()).await.unwrap();
    for level in &outcome.levels {
        let rate = level.target_rate.per_second();
        let offered = level.rates.unwrap().offered_per_second;
        assert!((offered / rate - 1.0).abs() < 0.1, "{offered} for {rate}");
        let mean = level.overall.input_tokens.0 as f64 / level.overall.completed as f64;
        let of_trace = trace.rows.iter().map(|r| f64::from(r.lengths.unwrap().input)).sum::<f64>() / 40.0;
        assert!((mean / of_trace - 1.0).abs() < 0.1, "{mean} for {of_trace}");
    }
}
