//! Answers counted by our tokenizer: instead of chunks, and beside the server's own record.

use std::{sync::Arc, time::Duration};

use breakeven_bench::{
    drive::{DriveSettings, Next, Pacing, drive},
    requests::{Request, RequestSource},
    tally::tally,
    target::{
        Attempting, Outcome, Target, Trace, Usage,
        counted::{Count, Counted},
    },
};
use breakeven_measurement::{Fraction, Lengths, LoadResult, Segment, Slo, Workload, level::TokenSource};
use tokio::{sync::watch, time::Instant};

/// Streams four words in two chunks, and says that it made `claimed` tokens where it says anything.
#[derive(Debug)]
struct FourWords {
    claimed: Option<u64>,
}

impl Target for FourWords {
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a> {
        Box::pin(async move {
            for text in ["one two", " three four"] {
                trace.chunk(Instant::now(), 1);
                if let Some(answer) = &mut trace.answer {
                    answer.text.push_str(text);
                }
            }
            Outcome::Completed(Usage {
                input_tokens: request.input_tokens.into(),
                cached_tokens: 0,
                output_tokens: self.claimed.unwrap_or(2),
                source: if self.claimed.is_some() { TokenSource::Usage } else { TokenSource::Chunks },
            })
        })
    }
}

async fn of(claimed: Option<u64>) -> LoadResult {
    counted(claimed, Arc::new(|text| Some(text.split_whitespace().count() as u64))).await
}

async fn counted(claimed: Option<u64>, count: Count) -> LoadResult {
    let tokens = |count| Lengths::constant(count).expect("above 0");
    let workload = Workload { segments: vec![Segment::plain("all", 1.0, tokens(8), tokens(4))] };
    let target: Arc<dyn Target> = Arc::new(Counted { target: Arc::new(FourWords { claimed }), count });
    let mut source = RequestSource::lengths_only(&workload, 1);
    let schedule = (0..10).map(|i| (Duration::from_millis(i * 50), source.draw())).collect();
    let (_keep, cancel) = watch::channel(false);
    let settings = DriveSettings {
        timeout: Duration::from_secs(60),
        drain: None,
        pacing: Pacing::Timer,
        most_in_flight: None,
        cancel,
    };
    let driven = drive(&target, schedule, &settings, &mut |_, _| Next::Go).await;
    let attainment = Fraction::new(0.9).expect("a share");
    tally(&driven.attempts, Duration::ZERO, &workload, &Slo { ttft: None, tpot: None, e2e: None, attainment })
        .0
}

#[tokio::test(start_paused = true)]
async fn chunks_of_several_tokens_are_counted_by_the_tokenizer() {
    let load = of(None).await;
    assert_eq!((load.output_tokens.0, load.counts_checked), (40, 0));
    assert_eq!(load.token_sources.get(&TokenSource::Tokenizer), Some(&10));
}

#[tokio::test(start_paused = true)]
async fn what_the_tokenizer_cannot_encode_is_counted_by_chunks() {
    let load = counted(None, Arc::new(|_| None)).await;
    assert!(
        load.output_tokens.0 > 0 && load.token_sources.get(&TokenSource::Chunks) == Some(&10),
        "{load:?}"
    );
    let load = counted(Some(9), Arc::new(|_| None)).await;
    assert_eq!((load.output_tokens.0, load.counts_checked), (90, 0), "nothing to compare with");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_counts_otherwise_is_found_out_and_still_believed() {
    let load = of(Some(9)).await;
    assert_eq!((load.output_tokens.0, load.counts_checked, load.counts_disagreeing), (90, 10, 10));
    let load = of(Some(5)).await;
    assert_eq!((load.counts_checked, load.counts_disagreeing), (10, 0), "one more is the end of the text");
}
