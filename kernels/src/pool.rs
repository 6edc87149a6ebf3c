//! Threads that wait for short pieces of work: they spin for a while, then sleep.
//!
//! A step of a small model is a few hundred products of some tens of microseconds, so waking a sleeping thread
//! for each would cost as much as the work. The caller works too, and never waits for a thread that has not
//! begun: on shared cores a waiting thread may be off its core just then.

#![expect(unsafe_code, reason = "lends a borrowed closure to threads")]

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};

/// Polls before a waiting thread gives its core away, some tens of microseconds.
const SPINS: u32 = if cfg!(miri) { 4 } else { 3_000 };
/// Times it gives its core away before it sleeps.
const YIELDS: u32 = if cfg!(miri) { 2 } else { 30 };

const OPEN: u64 = 1 << 31;
const WORKERS: u64 = OPEN - 1;
const ROUND: u64 = 1 << 32;

type Work = dyn Fn(usize) + Sync;

struct Job {
    work: *const Work,
    parts: usize,
}

struct Shared {
    /// Round in the upper half, whether it takes workers (`OPEN`), and how many are in it.
    state: AtomicU64,
    next_part: AtomicUsize,
    /// Written by the caller while no round is open and no worker in one, read by workers in one.
    job: UnsafeCell<Job>,
    stop: AtomicBool,
    asleep: Box<[AtomicBool]>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the one field without a lock. The caller writes it only when closed with no workers in, and
// publishes it by the release store that opens the round; a worker reads it only after entering an open round
// by an acquiring exchange, and leaves by a releasing subtraction the caller acquires before it writes again.
// The work it points to is `Sync`, and outlives the round because `run` does not return before.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is only followed inside a round.
unsafe impl Send for Shared {}

/// A fixed set of threads that share loops.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the one caller whose loop the workers help with.
    caller: Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of `threads` including the caller's; fewer if the system refuses some.
    pub fn new(threads: usize) -> Self {
        let count = threads.saturating_sub(1).min(1024);
        let idle: *const Work = &|_: usize| {};
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next_part: AtomicUsize::new(0),
            job: UnsafeCell::new(Job { work: idle, parts: 0 }),
            stop: AtomicBool::new(false),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
            panic: Mutex::new(None),
        });
        let workers = (0..count)
            .map_while(|index| {
                let shared = Arc::clone(&shared);
                let name = format!("kernel-{index}");
                thread::Builder::new().name(name).spawn(move || work(&shared, index)).ok()
            })
            .collect();
        Self { shared, workers, caller: Mutex::new(()) }
    }

    /// Threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work` once for every part from 0 to `parts`, on any of the threads, and returns when all are
    /// done. A panic in one is passed on. Within `work`, or while another thread is in `run`, it runs here.
    pub fn run(&self, parts: usize, work: impl Fn(usize) + Sync) {
        let alone = self.workers.is_empty() || parts <= 1;
        // A panic that was passed on poisoned it; the round was closed and empty by then.
        let caller = match self.caller.try_lock() {
            _ if alone => None,
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let Some(_caller) = caller else {
            (0..parts).for_each(work);
            return;
        };
        let shared = &*self.shared;
        let borrowed: *const (dyn Fn(usize) + Sync + '_) = &work;
        // SAFETY: only the lifetime changes. Workers follow the pointer inside this round alone, and `work`
        // lives until the round is closed and empty below.
        let borrowed: *const Work = unsafe { std::mem::transmute(borrowed) };
        // SAFETY: we hold `caller`, and the last caller left the round closed with no worker in it.
        unsafe { *shared.job.get() = Job { work: borrowed, parts } };
        shared.next_part.store(0, Ordering::Relaxed);
        let round = (shared.state.load(Ordering::Relaxed) & !(ROUND - 1)).wrapping_add(ROUND);
        shared.state.store(round | OPEN, Ordering::Release);
        // Pairs with the fence of a thread going to sleep: it sees the round, or we see it asleep.
        fence(Ordering::SeqCst);
        for (asleep, worker) in shared.asleep.iter().zip(&self.workers) {
            if asleep.load(Ordering::Relaxed) && asleep.swap(false, Ordering::Relaxed) {
                worker.thread().unpark();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| take_parts(shared, &work, parts)));
        if own.is_err() {
            shared.next_part.store(parts, Ordering::Relaxed);
        }
        let mut state = shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut polls = 0u32;
        while state & WORKERS != 0 {
            pause(&mut polls);
            state = shared.state.load(Ordering::Acquire);
        }
        let theirs = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        if let Some(panic) = theirs {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // Panics of the work are caught; there is nothing else to report.
            let _ = worker.join();
        }
    }
}

/// Waits a little: on the core at first, then offering it to others.
fn pause(polls: &mut u32) {
    *polls = polls.saturating_add(1);
    if *polls < SPINS {
        std::hint::spin_loop();
    } else {
        thread::yield_now();
    }
}

fn take_parts(shared: &Shared, work: &(dyn Fn(usize) + Sync), parts: usize) {
    loop {
        let part = shared.next_part.fetch_add(1, Ordering::Relaxed);
        if part >= parts {
            return;
        }
        work(part);
    }
}

fn work(shared: &Shared, index: usize) {
    let mut last = 0;
    while let Some(round) = enter(shared, index, last) {
        last = round;
        // SAFETY: inside a round `job` is not written and what it points to lives; see `Shared`.
        let (work, parts) = unsafe {
            let job = &*shared.job.get();
            (&*job.work, job.parts)
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| take_parts(shared, work, parts))) {
            shared.next_part.store(parts, Ordering::Relaxed);
            shared.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        shared.state.fetch_sub(1, Ordering::Release);
    }
}

/// Waits for a round after `last` and enters it; `None` when the pool goes.
fn enter(shared: &Shared, index: usize, last: u64) -> Option<u64> {
    let mut polls = 0u32;
    loop {
        if shared.stop.load(Ordering::Relaxed) {
            return None;
        }
        let state = shared.state.load(Ordering::Relaxed);
        let round = state & !(ROUND - 1);
        if state & OPEN != 0 && round != last {
            let entered =
                shared.state.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed);
            if entered.is_ok() {
                return Some(round);
            }
            continue;
        }
        pause(&mut polls);
        if polls >= SPINS + YIELDS {
            sleep(shared, index, last);
            polls = 0;
        }
    }
}

fn sleep(shared: &Shared, index: usize, last: u64) {
    let Some(asleep) = shared.asleep.get(index) else { return };
    asleep.store(true, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    let state = shared.state.load(Ordering::Relaxed);
    let waiting = state & OPEN == 0 || state & !(ROUND - 1) == last;
    if waiting && !shared.stop.load(Ordering::SeqCst) {
        thread::park();
    }
    asleep.store(false, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once() {
        let rounds = if cfg!(miri) { 5 } else { 2_000 };
        let pool = Pool::new(3);
        for round in 0..rounds {
            let counts: Vec<_> = (0..round % 40).map(|_| AtomicUsize::new(0)).collect();
            pool.run(counts.len(), |part| {
                counts[part].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_loop_inside_a_loop_runs() {
        let (pool, count) = (Pool::new(2), AtomicUsize::new(0));
        pool.run(4, |_| {
            pool.run(3, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
        });
        assert_eq!(count.into_inner(), 12);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        for _ in 0..20 {
            let fails = || pool.run(50, |part| assert!(part != 20, "part twenty"));
            assert!(catch_unwind(AssertUnwindSafe(fails)).is_err());
            pool.run(50, |_| {});
        }
        // And not alone from then on: each of two parts waits for the other.
        let (here, met) = (AtomicUsize::new(0), AtomicBool::new(false));
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        pool.run(2, |_| {
            here.fetch_add(1, Ordering::SeqCst);
            while !met.load(Ordering::SeqCst) && std::time::Instant::now() < until {
                if here.load(Ordering::SeqCst) == 2 {
                    met.store(true, Ordering::SeqCst);
                }
                thread::yield_now();
            }
        });
        assert!(met.load(Ordering::SeqCst) && std::time::Instant::now() < until);
    }
}
