//! Conversations: each turn follows the answer of the one before by its think time, and all of them are counted.

use std::{sync::Arc, time::Duration};

use breakeven_bench::{
    drive::{Attempt, DriveSettings, Next, Pacing, drive},
    requests::{RequestSource, SignedDue},
    target::{Target, mock::Mock},
};
use breakeven_measurement::{Lengths, Segment, Session, Workload};
use tokio::sync::watch;

const MS: Duration = Duration::from_millis(1);

fn chat(turns: u32) -> Workload {
    let tokens = |count| Lengths::constant(count).expect("above 0");
    let plain = Segment::plain("chat", 1.0, tokens(20), tokens(5));
    Workload { segments: vec![Segment { session: Some(Session { turns, think_seconds: 2.0 }), ..plain }] }
}

async fn driven(starts: &[u64], turns: u32) -> Vec<Attempt> {
    let mut source = RequestSource::lengths_only(&chat(turns), 1);
    let schedule =
        starts.iter().filter_map(|s| source.draw_conversation(SignedDue::In(Duration::from_secs(*s))));
    let schedule = schedule.collect();
    let (_keep, cancel) = watch::channel(false);
    let settings = DriveSettings {
        timeout: Duration::from_secs(60),
        drain: None,
        pacing: Pacing::Timer,
        most_in_flight: None,
        cancel,
    };
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 100, MS * 50, 100));
    let mut attempts = drive(&target, schedule, &settings, &mut |_, _| Next::Go).await;
    assert_eq!(attempts.unsent, 0);
    attempts.attempts.sort_by_key(|a| a.scheduled);
    attempts.attempts
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_due_its_think_time_after_the_answer() {
    // The second conversation only marks the end of the schedule.
    let attempts = driven(&[1, 100], 3).await;
    let of_first: Vec<_> = attempts.iter().filter(|a| a.scheduled < Duration::from_secs(90)).collect();
    assert_eq!(of_first.len(), 3);
    assert!(of_first.windows(2).all(|pair| pair[1].scheduled == pair[0].done + Duration::from_secs(2)));
    let inputs: Vec<u64> = of_first.iter().map(|a| a.input_tokens).collect();
    assert_eq!(inputs, [20, 20 + 5 + 20, 20 + 5 + 20 + 5 + 20]);
}

#[tokio::test(start_paused = true)]
async fn turns_after_the_last_arrival_belong_to_no_window() {
    let attempts = driven(&[1, 4], 5).await;
    assert!(attempts.iter().all(|a| a.scheduled <= Duration::from_secs(4)), "{}", attempts.len());
    assert_eq!(attempts.len(), 3, "two turns of the first, and the first of the second");
}
