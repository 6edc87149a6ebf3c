//! A target of known behaviour on tokio's clock: every feature is tested against it in paused time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use breakeven_measurement::{FailureCause, level::TokenSource};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    requests::Request,
    target::{Attempting, Outcome, Target, Trace, Usage},
};

/// A server with `slots` places; each request holds one for its prefill and decode times, the rest wait in order.
#[derive(Debug, Clone)]
pub struct Mock {
    /// Time to the first token once a slot is free.
    pub ttft: Duration,
    /// Time of each further token.
    pub tpot: Duration,
    /// Every n-th request fails; 0 for none.
    pub fail_every: u64,
    /// Nothing is answered before this time, as a stalled server.
    pub stalled_until: Option<Instant>,
    /// Nothing leaves the server between these times, whatever it was doing.
    pub frozen: Option<(Instant, Instant)>,
    slots: Arc<Semaphore>,
    served: Arc<AtomicU64>,
}

impl Mock {
    /// A mock with fixed token times and room for `slots` requests at once.
    pub fn new(ttft: Duration, tpot: Duration, slots: usize) -> Self {
        Self {
            ttft,
            tpot,
            fail_every: 0,
            stalled_until: None,
            frozen: None,
            slots: Arc::new(Semaphore::new(slots)),
            served: Arc::default(),
        }
    }

    async fn answer(&self, request: &Request, trace: &mut Trace) -> Outcome {
        let Ok(_slot) = self.slots.acquire().await else {
            return Outcome::Failed { cause: FailureCause::Engine, detail: "the mock is closed".to_owned() };
        };
        if let Some(until) = self.stalled_until {
            sleep_until(until).await;
        }
        let number = self.served.fetch_add(1, Ordering::SeqCst) + 1;
        if self.fail_every > 0 && number.is_multiple_of(self.fail_every) {
            return Outcome::Failed {
                cause: FailureCause::ServerError,
                detail: "scripted failure".to_owned(),
            };
        }
        for index in 0..request.output_tokens {
            sleep(if index == 0 { self.ttft } else { self.tpot }).await;
            if let Some((from, until)) = self.frozen
                && (from..until).contains(&Instant::now())
            {
                sleep_until(until).await;
            }
            trace.chunk(Instant::now(), 1);
        }
        Outcome::Completed(Usage {
            input_tokens: request.input_tokens.into(),
            cached_tokens: 0,
            output_tokens: request.output_tokens.into(),
            source: TokenSource::Usage,
        })
    }
}

impl Target for Mock {
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a> {
        Box::pin(self.answer(request, trace))
    }
}
