//! Which attempts repeat a failed one: the one thing that needs rows in the file's order.

use std::{collections::BTreeMap, sync::Mutex};

use crate::{aggregate::NO_CELL, hash::Map, instant::SECOND, money::AttoUsd, sums::Retry};

/// Cells an attempt is counted in: five labels and the day.
pub(crate) const CELLS: usize = 6;
/// An attempt this long after a failure is another request: LiteLLM's default timeout of a request, 600 s.
pub const RETRY_WITHIN_SECONDS: i64 = 600;
/// Failed requests that are remembered at once.
const REMEMBERED: usize = 1 << 20;

/// What is needed of an attempt to find out what it repeats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) request: Option<u64>,
    pub(crate) model: Option<u64>,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) failed: bool,
    pub(crate) stated_retry: bool,
    pub(crate) fallback: bool,
    pub(crate) cells: [u32; CELLS],
    pub(crate) tokens: u64,
    pub(crate) usd: AttoUsd,
}

impl Attempt {
    /// Whether it can be, or be followed by, a retry.
    pub(crate) fn matters(&self) -> bool {
        self.request.is_some() || self.stated_retry
    }
}

/// A failed attempt that nothing has followed yet.
#[derive(Debug, Clone, Copy)]
struct Failed {
    end: i64,
    model: Option<u64>,
}

/// Attempts of all threads, taken in the file's order.
#[derive(Debug)]
pub(crate) struct Sequence(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    next: u64,
    waiting: BTreeMap<u64, (usize, Vec<Attempt>)>,
    failed: Map<u64, Failed>,
    forgotten: u64,
    cleared: i64,
    found: Vec<Map<(u8, u32), Retry>>,
}

impl Sequence {
    pub(crate) fn new(threads: usize) -> Self {
        Self(Mutex::new(Inner {
            next: 0,
            waiting: BTreeMap::new(),
            failed: Map::default(),
            forgotten: 0,
            cleared: i64::MIN / 2,
            found: (0..threads).map(|_| Map::default()).collect(),
        }))
    }

    /// Hands over the attempts of a part of the file; those of the parts before it are taken first. Gives back an empty buffer.
    pub(crate) fn hand_over(&self, part: u64, thread: usize, attempts: Vec<Attempt>) -> Vec<Attempt> {
        let mut inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.waiting.insert(part, (thread, attempts));
        let mut spare = Vec::new();
        loop {
            let next = inner.next;
            let Some((thread, mut attempts)) = inner.waiting.remove(&next) else { break };
            for attempt in &attempts {
                inner.take(thread, attempt);
            }
            inner.next += 1;
            attempts.clear();
            spare = attempts;
        }
        spare
    }

    #[expect(clippy::type_complexity, reason = "one caller takes it apart at once")]
    /// What was found, by thread and cell, and how many failures were forgotten for want of room.
    pub(crate) fn finish(self) -> (Vec<Map<(u8, u32), Retry>>, u64) {
        let inner = self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        (inner.found, inner.forgotten)
    }
}

impl Inner {
    fn take(&mut self, thread: usize, attempt: &Attempt) {
        let within = RETRY_WITHIN_SECONDS * SECOND;
        let before = attempt.request.and_then(|request| self.failed.get(&request)).copied();
        // One that began before the failure ended ran beside it, and leaves it to be followed.
        let before = before.filter(|failed| (failed.end..=failed.end + within).contains(&attempt.start));
        if let Some(request) = attempt.request.filter(|_| before.is_some()) {
            self.failed.remove(&request);
        }
        if attempt.stated_retry || before.is_some() {
            let other_model =
                before.and_then(|failed| failed.model.zip(attempt.model)).is_some_and(|(a, b)| a != b);
            let found = Retry {
                retries: 1,
                fallbacks: u64::from(other_model && !attempt.fallback),
                tokens: attempt.tokens,
                usd: attempt.usd,
            };
            if let Some(cells) = self.found.get_mut(thread) {
                for (place, cell) in (0..).zip(attempt.cells) {
                    if cell != NO_CELL {
                        cells.entry((place, cell)).or_default().add(&found);
                    }
                }
            }
        }
        if let Some(request) = attempt.request.filter(|_| attempt.failed) {
            self.remember(request, Failed { end: attempt.end, model: attempt.model });
        }
    }

    fn remember(&mut self, request: u64, failed: Failed) {
        // Looked through at most once a minute of the log, so that a log of failures alone is read as fast as another.
        if self.failed.len() >= REMEMBERED && failed.end >= self.cleared + 60 * SECOND {
            self.cleared = failed.end;
            let oldest = failed.end - RETRY_WITHIN_SECONDS * SECOND;
            self.failed.retain(|_, other| other.end >= oldest);
        }
        if self.failed.len() >= REMEMBERED {
            self.forgotten += 1;
        } else {
            self.failed.insert(request, failed);
        }
    }
}

impl Retry {
    fn add(&mut self, other: &Self) {
        self.retries += other.retries;
        self.fallbacks += other.fallbacks;
        self.tokens += other.tokens;
        self.usd += other.usd;
    }
}
