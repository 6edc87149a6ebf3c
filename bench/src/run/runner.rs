//! What every phase of a run does: draw a schedule, drive it through the target, keep its records.

use std::{sync::Arc, time::Duration};

use breakeven_measurement::{
    LevelName, RequestRate, StepEvidence, level::ArrivalProcess, step_fit::StepRow, steps::StepSource,
};
use tokio::sync::watch;

use super::{FLAT_OUT, RunError, RunEvent, RunPlan, WARMUP_REQUESTS};
use crate::{
    drive::{Attempt, DriveSettings, Driven, Next, Progress, drive},
    journal::{Journal, JournalError, Kept},
    requests::{Request, RequestSource, SignedDue},
    schedule::arrivals,
    step_rows::of_attempts,
    tally::latencies,
    target::Target,
};

/// Requests of the burst in flight at once: more than any server batches (a cap below its batch would read as its throughput),
/// and few enough that no accept queue of a usual size is what is measured.
const BURST_IN_FLIGHT: std::num::NonZeroUsize = std::num::NonZeroUsize::new(2_048).expect("it is not zero");

/// A run under way.
pub(super) struct Runner<'a> {
    pub(super) target: &'a Arc<dyn Target>,
    pub(super) plan: &'a RunPlan,
    pub(super) source: RequestSource,
    pub(super) journal: Option<&'a mut Journal>,
    pub(super) journal_fault: Option<JournalError>,
    pub(super) on_event: &'a mut (dyn FnMut(RunEvent) + Send),
    pub(super) cancel: watch::Receiver<bool>,
    pub(super) phases: u64,
    pub(super) steps: Steps,
}

/// Rows for the step model. Stress is left out: it is what the model is held against.
#[derive(Debug, Default)]
pub(super) struct Steps {
    rows: Vec<StepRow>,
    levels: Vec<LevelName>,
    from_requests: bool,
    calibration: u64,
}

impl Steps {
    pub(super) fn note(&mut self, name: LevelName, own: Vec<StepRow>, attempts: &[Attempt]) {
        if name == LevelName::Stress {
            return;
        }
        self.from_requests = own.is_empty();
        self.rows.extend(if self.from_requests { of_attempts(attempts) } else { own });
        self.levels.push(name);
    }

    /// Of one drive: its times count from its own start.
    pub(super) fn note_calibration(&mut self, attempts: &[Attempt]) {
        let rows = of_attempts(attempts);
        self.from_requests = true;
        self.calibration += rows.len() as u64;
        self.rows.extend(rows);
    }

    /// `None` where no level was fitted: calibration alone is no measured load.
    pub(super) fn evidence(self) -> Option<StepEvidence> {
        if self.levels.is_empty() {
            return None;
        }
        let source = if self.from_requests { StepSource::Requests } else { StepSource::EngineLog };
        let evidence = StepEvidence::of(&self.rows, source, self.levels)?;
        Some(StepEvidence { calibration_rows: self.calibration, ..evidence })
    }
}

impl Runner<'_> {
    /// Draws what an earlier part of this run drew: no prompt and no schedule comes twice.
    pub(super) fn pass_over(&mut self, kept: &Kept) {
        for _ in 0..kept.requests {
            self.source.draw();
        }
        self.phases = kept.phases;
    }

    /// A few requests one at a time; returns the E2E latency of the last that completed.
    pub(super) async fn warm_up(&mut self) -> Result<Duration, RunError> {
        (self.on_event)(RunEvent::WarmingUp);
        let mut unloaded = None;
        let mut fault = "no request was sent".to_owned();
        for _ in 0..WARMUP_REQUESTS {
            if *self.cancel.borrow() {
                break;
            }
            let schedule = vec![(Duration::ZERO, self.source.draw())];
            let driven = self.drive("warm-up", schedule, None, &mut |_, _| Next::Go).await?;
            for attempt in &driven.attempts {
                match latencies(attempt) {
                    Some(l) => unloaded = Some(l.e2e),
                    None => fault = attempt.detail.clone().unwrap_or_else(|| "no token came".to_owned()),
                }
            }
            if driven.cancelled {
                break;
            }
        }
        self.target.take_load();
        match unloaded {
            Some(e2e) => Ok(e2e.max(Duration::from_micros(50))),
            None if *self.cancel.borrow() => Ok(Duration::from_secs(1)),
            None => Err(RunError::NoAnswer(fault)),
        }
    }

    /// A schedule of its own seed: phases never repeat one another's arrivals.
    pub(super) fn schedule(&mut self, rate: RequestRate, length: Duration) -> Vec<(Duration, Request)> {
        self.phases += 1;
        let seed = self.plan.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.phases);
        let Some(trace) = &self.plan.trace else {
            return self.conversations(rate, length, seed);
        };
        // Each phase replays another stretch of the trace.
        let first = usize::try_from(seed >> 8).unwrap_or(0) % trace.rows.len();
        let lengths = matches!(self.plan.arrivals, ArrivalProcess::Trace { lengths: true, .. });
        let rows = trace.replay(rate, length, first);
        rows.into_iter()
            .map(|(due, row)| (due, self.source.draw_of(row.lengths.filter(|_| lengths))))
            .collect()
    }

    /// Arrivals of conversations, at the rate that makes `rate` requests of them. Those that began before the phase and still go
    /// on are in it, so that its load is steady from the start.
    fn conversations(&mut self, rate: RequestRate, length: Duration, seed: u64) -> Vec<(Duration, Request)> {
        let before = self.source.longest_thinking();
        let begun = rate.scaled(1.0 / self.source.mean_turns()).unwrap_or(rate);
        let times = arrivals(&self.plan.arrivals, begun, length + before, seed);
        let due = |at: Duration| match at.checked_sub(before) {
            Some(at) => SignedDue::In(at),
            None => SignedDue::Ago(before.saturating_sub(at)),
        };
        let mut schedule: Vec<(Duration, Request)> =
            times.into_iter().filter_map(|at| self.source.draw_conversation(due(at))).collect();
        schedule.sort_by_key(|(due, _)| *due);
        schedule
    }

    /// The arrivals of this generator's shard. All are drawn first: every shard draws the same.
    pub(super) fn own_part(&self, schedule: Vec<(Duration, Request)>) -> Vec<(Duration, Request)> {
        let Some(shard) = self.plan.shard else { return schedule };
        schedule
            .into_iter()
            .enumerate()
            .filter(|(i, _)| shard.sends(*i))
            .map(|(_, arrival)| arrival)
            .collect()
    }

    pub(super) async fn drive(
        &mut self,
        phase: &str,
        schedule: Vec<(Duration, Request)>,
        drain: Option<Duration>,
        judge: &mut (dyn FnMut(Option<&Attempt>, Progress) -> Next + Send),
    ) -> Result<Driven, RunError> {
        let settings = DriveSettings {
            timeout: self.plan.timeout,
            drain,
            pacing: self.plan.pacing,
            most_in_flight: self.plan.most_in_flight.or((phase == FLAT_OUT).then_some(BURST_IN_FLIGHT)),
            cancel: self.cancel.clone(),
        };
        let slo = &self.plan.slo;
        let (journal, fault, on_event) = (&mut self.journal, &mut self.journal_fault, &mut self.on_event);
        let driven = drive(self.target, schedule, &settings, &mut |attempt, progress| {
            if let (Some(journal), Some(attempt)) = (journal.as_deref_mut(), attempt)
                && let Err(error) = journal.append(phase, attempt)
            {
                *fault = Some(error);
                return Next::Stop;
            }
            let ended = attempt.and_then(latencies);
            let within_slo = ended.is_some_and(|l| slo.is_met(l.ttft, l.tpot, l.e2e));
            let (ttft, tpot) = (ended.map(|l| l.ttft), ended.and_then(|l| l.tpot));
            on_event(RunEvent::Progress { progress, ttft, tpot, within_slo });
            judge(attempt, progress)
        })
        .await;
        match self.journal_fault.take() {
            Some(error) => Err(error.into()),
            None => Ok(driven),
        }
    }
}
