//! A whole run: warm up, search for the highest rate under the SLO, then baseline, expected and stress.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use breakeven_measurement::{
    LevelName, LevelResult, RequestRate, SearchRecord, Shard, Slo, StepEvidence, Workload,
    level::{ArrivalProcess, Rates},
    run::Status,
    search::Probe,
    step_fit::StepRow,
    steps::StepSource,
};
use serde::Serialize;
use tokio::{sync::watch, time::Instant};

use crate::{
    capacity::Evidence,
    drive::{DriveSettings, Driven, Next, Pacing, Progress, drive},
    journal::{Journal, JournalError, Kept},
    requests::{Request, RequestSource, SignedDue},
    resources::Sample,
    schedule::{arrivals, dispersion},
    search::{Search, evidence_of, evidence_of_level, is_hopeless, probe_of},
    steady::{Settling, fixed_warmup, warmup},
    step_rows::of_attempts,
    tally::{is_good, latencies, tally},
    target::Target,
    trace::Trace,
    validity::judge,
};

/// Requests sent one after another before anything is measured.
const WARMUP_REQUESTS: usize = 3;
/// Share of the search's time that the flat-out burst is sized for.
const SATURATION_SHARE: f64 = 0.25;
/// Requests of the burst over what one at a time would complete in that time: batching makes up for about as much.
const SATURATION_FACTOR: f64 = 1.5;
/// Largest burst, in requests.
const LARGEST_BURST: f64 = 20_000.0;
/// Parts the search's time is divided into: the flat-out run takes one or more, a probe one or two.
const PROBES_PLANNED: u32 = 6;
/// Requests after which a probe of a fast target ends, if it also lasted [`LEAST_PROBE_LIVES`].
const MOST_PROBE_REQUESTS: f64 = 3_000.0;
/// Lives of an unloaded request that a probe lasts at least, so that a queue has time to show.
const LEAST_PROBE_LIVES: u32 = 25;
/// Arrivals that a probe has at least, where the search's time allows.
const LEAST_PROBE_REQUESTS: f64 = 12.0;
/// Phase of the burst that gives the throughput flat out.
const FLAT_OUT: &str = "flat out";
/// Requests of the burst in flight at once: more than any server batches (a cap below its batch would read as its throughput),
/// and few enough that no accept queue of a usual size is what is measured.
const BURST_IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(2_048).expect("it is not zero");

/// How long each part runs. Draining comes on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Durations {
    /// The search for the highest rate under the SLO.
    pub search: Duration,
    /// Baseline, expected and stress.
    pub levels: [Duration; 3],
}

impl Durations {
    /// About two minutes in all, draining included.
    pub const STANDARD: Self = Self::of_seconds(32, [34, 30, 14]);
    /// About thirty seconds in all, draining included.
    pub const QUICK: Self = Self::of_seconds(9, [8, 7, 4]);

    const fn of_seconds(search: u64, [baseline, expected, stress]: [u64; 3]) -> Self {
        let seconds = Duration::from_secs;
        Self { search: seconds(search), levels: [seconds(baseline), seconds(expected), seconds(stress)] }
    }

    /// Longer or shorter in the same proportions; the whole takes about `total`.
    pub fn scaled_to(total: Duration) -> Self {
        const STANDARD_TOTAL: f64 = 120.0;
        let factor = total.as_secs_f64() / STANDARD_TOTAL;
        let standard = Self::STANDARD;
        Self { search: standard.search.mul_f64(factor), levels: standard.levels.map(|l| l.mul_f64(factor)) }
    }
}

/// What to run. Its written form is what a resumed run is held against.
#[derive(Debug, Clone, Serialize)]
pub struct RunPlan {
    /// Segments and lengths.
    pub workload: Workload,
    /// What counts as good.
    pub slo: Slo,
    /// Rates of baseline, expected and stress; `None` searches for them.
    pub rates: Option<[RequestRate; 3]>,
    /// How long.
    pub durations: Durations,
    /// How arrivals are spaced.
    pub arrivals: ArrivalProcess,
    /// The trace to replay, where the arrivals are of one. Its name and size are in `arrivals`.
    #[serde(skip)]
    pub trace: Option<Arc<Trace>>,
    /// Seed of schedules, lengths and prompts.
    pub seed: u64,
    /// Longest life of an attempt from when it was due.
    pub timeout: Duration,
    /// How the sender waits.
    pub pacing: Pacing,
    /// Most attempts at once; `None` has no cap.
    pub most_in_flight: Option<NonZeroUsize>,
    /// The part of the load to send, where several generators share it; it needs given rates, those of the whole load.
    pub shard: Option<Shard>,
}

/// What happens, for whoever draws it.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// Requests one after another, to wake the target up and see what one costs.
    WarmingUp,
    /// Far more requests at once than can be served: the throughput flat out.
    Saturating,
    /// A probe began.
    ProbeStarted {
        /// Rate offered.
        rate: RequestRate,
        /// Share of the search's time used, from 0 to 1.
        search_progress: f64,
    },
    /// A probe ended.
    ProbeFinished(Probe),
    /// A level began.
    LevelStarted {
        /// Which.
        name: LevelName,
        /// Rate offered.
        rate: RequestRate,
        /// Length of its schedule.
        length: Duration,
    },
    /// Something was sent or came back.
    Progress {
        /// Counts so far.
        progress: Progress,
        /// TTFT of the attempt that just completed.
        ttft: Option<Duration>,
        /// Its TPOT, where it has one.
        tpot: Option<Duration>,
        /// Whether it met the SLO.
        within_slo: bool,
    },
    /// A level ended.
    LevelFinished(Box<LevelResult>),
}

/// What a run found.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOutcome {
    /// The search; absent where rates were given.
    pub search: Option<SearchRecord>,
    /// The levels that ran.
    pub levels: Vec<LevelResult>,
    /// The step model of baseline and expected; absent where neither ran here.
    pub steps: Option<StepEvidence>,
    /// Whether it reached its end.
    pub status: Status,
}

/// Why a run could not go on. Requests that fail are data, not this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Records cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Shards that search for themselves would each find another rate.
    #[error("a shard needs the rates of the whole load; give them with --rates")]
    ShardWithoutRates,
    /// The target answers nothing at all.
    #[error("the target did not answer one of {WARMUP_REQUESTS} single requests: {0}")]
    NoAnswer(String),
}

struct Runner<'a> {
    target: &'a Arc<dyn Target>,
    plan: &'a RunPlan,
    source: RequestSource,
    journal: Option<&'a mut Journal>,
    journal_fault: Option<JournalError>,
    on_event: &'a mut (dyn FnMut(RunEvent) + Send),
    cancel: watch::Receiver<bool>,
    phases: u64,
    steps: Steps,
}

/// Rows for the step model. Stress is left out: it is what the model is held against.
#[derive(Debug, Default)]
struct Steps {
    rows: Vec<StepRow>,
    levels: Vec<LevelName>,
    from_requests: bool,
}

impl Steps {
    fn note(&mut self, name: LevelName, own: Vec<StepRow>, attempts: &[crate::drive::Attempt]) {
        if name == LevelName::Stress {
            return;
        }
        self.from_requests = own.is_empty();
        self.rows.extend(if self.from_requests { of_attempts(attempts) } else { own });
        self.levels.push(name);
    }

    fn evidence(self) -> Option<StepEvidence> {
        let source = if self.from_requests { StepSource::Requests } else { StepSource::EngineLog };
        StepEvidence::of(&self.rows, source, self.levels)
    }
}

/// Runs the plan against a target. Ctrl-C arrives through `cancel`; what had finished by then is returned.
///
/// # Errors
/// Where records cannot be kept, or the target answers nothing. Failed requests are part of the result.
pub async fn run(
    target: &Arc<dyn Target>,
    plan: &RunPlan,
    source: RequestSource,
    journal: Option<&mut Journal>,
    cancel: watch::Receiver<bool>,
    on_event: &mut (dyn FnMut(RunEvent) + Send),
) -> Result<RunOutcome, RunError> {
    let mut runner = Runner {
        target,
        plan,
        source,
        journal,
        journal_fault: None,
        on_event,
        cancel,
        phases: 0,
        steps: Steps::default(),
    };
    let mut outcome = RunOutcome { search: None, levels: Vec::new(), steps: None, status: Status::Complete };
    if plan.shard.is_some() && plan.rates.is_none() {
        return Err(RunError::ShardWithoutRates);
    }
    let kept = runner.journal.as_deref().map(Journal::kept).cloned().unwrap_or_default();
    runner.pass_over(&kept);
    let unloaded = if LevelName::ALL.iter().all(|name| kept.level(*name).is_some()) {
        Duration::ZERO
    } else {
        runner.warm_up().await?
    };
    let mut search = None;
    let rates = if let Some(rates) = plan.rates {
        rates
    } else {
        let (record, found, base) = match kept.searched.clone() {
            Some(searched) => {
                let found = Search::resumed(&searched.record, searched.base_rate, plan.slo.attainment);
                (searched.record, found, searched.base_rate)
            }
            None => runner.search(unloaded).await?,
        };
        outcome.search = Some(record);
        search = Some(found);
        LevelName::ALL.map(|level| base.scaled(level.share_of_capacity()).unwrap_or(base))
    };
    for ((name, rate), length) in LevelName::ALL.into_iter().zip(rates).zip(plan.durations.levels) {
        if *runner.cancel.borrow() {
            break;
        }
        let (level, evidence) = if let Some(level) = kept.level(name) {
            (runner.on_event)(RunEvent::LevelFinished(Box::new(level.clone())));
            (level.clone(), evidence_of_level(level))
        } else {
            runner.level(name, rate, length).await?
        };
        outcome.levels.push(level);
        if let Some(search) = &mut search {
            search.note(evidence);
        }
    }
    outcome.steps = std::mem::take(&mut runner.steps).evidence();
    if *runner.cancel.borrow() {
        outcome.status = Status::Incomplete { reason: "interrupted (Ctrl-C)".to_owned() };
    }
    if let (Some(record), Some(search)) = (&mut outcome.search, &search) {
        record.capacity = search.estimate();
    }
    Ok(outcome)
}

impl Runner<'_> {
    /// Draws what an earlier part of this run drew: no prompt and no schedule comes twice.
    fn pass_over(&mut self, kept: &Kept) {
        for _ in 0..kept.requests {
            self.source.draw();
        }
        self.phases = kept.phases;
    }

    /// A few requests one at a time; returns the E2E latency of the last that completed.
    async fn warm_up(&mut self) -> Result<Duration, RunError> {
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

    /// The search, and the rate that the levels are shares of: the capacity, or where every probe missed the SLO, the
    /// rate that would have been tried next.
    async fn search(&mut self, unloaded: Duration) -> Result<(SearchRecord, Search, RequestRate), RunError> {
        let plan = self.plan;
        let one_at_a_time = RequestRate::new(1.0 / unloaded.as_secs_f64()).unwrap_or_else(|_| one_a_second());
        let began = Instant::now();
        let saturated = self.saturate(unloaded).await?.unwrap_or(one_at_a_time);
        let mut search = Search::below(saturated, plan.slo.attainment);
        let mut probes: Vec<Probe> = Vec::new();
        let planned = plan.durations.search / PROBES_PLANNED;
        while let Some(rate) = search.next() {
            let used = began.elapsed_fraction(plan.durations.search);
            if *self.cancel.borrow() || (used + 0.5 / f64::from(PROBES_PLANNED) > 1.0 && !probes.is_empty()) {
                break;
            }
            (self.on_event)(RunEvent::ProbeStarted { rate, search_progress: used.min(1.0) });
            let length = probe_length(rate, planned, unloaded);
            let (times, drain) = (self.schedule(rate, length), self.probe_drain(unloaded));
            let slo = plan.slo.clone();
            let (mut good, mut judged) = (0, 0);
            let phase = format!("probe {}", probes.len() + 1);
            let driven = self
                .drive(&phase, times, Some(drain), &mut |attempt, _| {
                    if let Some(attempt) = attempt {
                        judged += 1;
                        good += u64::from(is_good(attempt, &slo));
                    }
                    if is_hopeless(good, judged, slo.attainment) { Next::Stop } else { Next::Go }
                })
                .await?;
            if driven.cancelled {
                break;
            }
            if driven.attempts.is_empty() {
                // Nothing was due in so short a probe: only the time it took is lost.
                continue;
            }
            let evidence = evidence_of(
                rate,
                length,
                &driven.attempts,
                &plan.workload,
                &plan.slo,
                dispersion(&plan.arrivals),
            );
            let probe = probe_of(rate, length, &driven, &plan.workload, &plan.slo, evidence.as_ref());
            search.note(evidence);
            (self.on_event)(RunEvent::ProbeFinished(probe.clone()));
            probes.push(probe);
        }
        self.target.take_load();
        let capacity = search.estimate();
        let base = search.best().or_else(|| search.next()).unwrap_or(one_at_a_time);
        let record = SearchRecord { probes, capacity, saturated: Some(saturated) };
        if let Some(journal) = self.journal.as_deref_mut()
            && !*self.cancel.borrow()
        {
            journal.searched(&record, base)?;
        }
        Ok((record, search, base))
    }

    /// The throughput flat out: a burst of requests, all at once, and how long it takes to complete them. `None` where
    /// nothing completes.
    ///
    /// A burst that a wide target completes in a moment is followed by larger ones until more no longer helps.
    async fn saturate(&mut self, unloaded: Duration) -> Result<Option<RequestRate>, RunError> {
        let limit = self.plan.durations.search.mul_f64(SATURATION_SHARE).max(unloaded * 4);
        let one_at_a_time = limit.as_secs_f64() / unloaded.as_secs_f64();
        let mut count = (one_at_a_time * SATURATION_FACTOR).clamp(8.0, LARGEST_BURST);
        let mut best: Option<f64> = None;
        let began = Instant::now();
        (self.on_event)(RunEvent::Saturating);
        loop {
            let requests = std::iter::repeat_with(|| (Duration::ZERO, self.source.draw()));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to 8..=LARGEST_BURST"
            )]
            let burst: Vec<_> = requests.take(count as usize).collect();
            let driven = self.drive(FLAT_OUT, burst, Some(limit * 4), &mut |_, _| Next::Go).await?;
            let done: Vec<Duration> =
                driven.attempts.iter().filter(|a| a.failure.is_none()).map(|a| a.done).collect();
            let last = done.iter().max().map_or(0.0, Duration::as_secs_f64);
            let rate = done.len() as f64 / last.max(1e-6);
            let grew = best.is_none_or(|best| rate > best * 1.2);
            if !done.is_empty() {
                best = Some(best.map_or(rate, |best| best.max(rate)));
            }
            let time_left = began.elapsed_fraction(limit) < 0.5 && last * 4.0 < limit.as_secs_f64();
            if done.is_empty() || driven.cancelled || !grew || !time_left || count >= LARGEST_BURST {
                return Ok(best.and_then(|best| RequestRate::new(best).ok()));
            }
            count = (count * 4.0).min(LARGEST_BURST);
        }
    }

    /// What is in flight after a probe's last arrival may take this long: as long as the SLO lets a request of one and a
    /// half times the mean length take. A target that does not even reach that is stopped earlier, as hopeless.
    fn probe_drain(&self, unloaded: Duration) -> Duration {
        let slo = &self.plan.slo;
        let tokens = self.plan.workload.mean_output_tokens() * 1.5;
        let allowed = match (slo.e2e, slo.ttft, slo.tpot) {
            (Some(e2e), ..) => e2e,
            (None, ttft, tpot) => {
                ttft.unwrap_or(unloaded) + tpot.map_or(unloaded * 4, |tpot| tpot.mul_f64(tokens))
            }
        };
        allowed.min(self.plan.timeout)
    }

    async fn level(
        &mut self,
        name: LevelName,
        rate: RequestRate,
        length: Duration,
    ) -> Result<(LevelResult, Option<Evidence>), RunError> {
        let plan = self.plan;
        (self.on_event)(RunEvent::LevelStarted { name, rate, length });
        let schedule = self.schedule(rate, length);
        let empty = schedule.is_empty();
        let schedule = self.own_part(schedule);
        self.target.take_load();
        let sample = Sample::now();
        let driven = self.drive(&name.to_string(), schedule, None, &mut |_, _| Next::Go).await?;
        let (mut resources, elapsed) = sample.until_now(self.target.take_load());
        self.steps.note(name, self.target.take_steps(), &driven.attempts);
        let (warmup, settling) = match plan.shard {
            None => warmup(&driven.attempts, length),
            // Each shard sees a part of the series only; their windows must not differ.
            Some(_) => (fixed_warmup(length), Settling::TooShort),
        };
        let (overall, segments) = tally(&driven.attempts, warmup, &plan.workload, &plan.slo);
        // To the end of the schedule's length and not to its last arrival, which would count n arrivals over n − 1 gaps. It is that of
        // the whole load, so that the windows of its shards are the same.
        let window = if empty { Duration::ZERO } else { length.saturating_sub(warmup) };
        let share = window.as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        resources.energy_joules = resources.energy_joules.map(|joules| joules * share);
        let validity = judge(&driven, warmup, settling, &overall, &plan.workload, &plan.slo, &resources);
        let level = LevelResult {
            name,
            arrivals: plan.arrivals.clone(),
            target_rate: rate,
            warmup,
            window,
            rates: Rates::over(&overall, window),
            overall,
            segments,
            resources,
            validity,
        };
        if let Some(journal) = self.journal.as_deref_mut()
            && !driven.cancelled
        {
            journal.level(&level)?;
        }
        (self.on_event)(RunEvent::LevelFinished(Box::new(level.clone())));
        let evidence = evidence_of(
            rate,
            length,
            &driven.attempts,
            &plan.workload,
            &plan.slo,
            dispersion(&plan.arrivals),
        );
        Ok((level, evidence))
    }

    /// A schedule of its own seed: phases never repeat one another's arrivals.
    fn schedule(&mut self, rate: RequestRate, length: Duration) -> Vec<(Duration, Request)> {
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
    fn own_part(&self, schedule: Vec<(Duration, Request)>) -> Vec<(Duration, Request)> {
        let Some(shard) = self.plan.shard else { return schedule };
        schedule
            .into_iter()
            .enumerate()
            .filter(|(i, _)| shard.sends(*i))
            .map(|(_, arrival)| arrival)
            .collect()
    }

    async fn drive(
        &mut self,
        phase: &str,
        schedule: Vec<(Duration, Request)>,
        drain: Option<Duration>,
        judge: &mut (dyn FnMut(Option<&crate::drive::Attempt>, Progress) -> Next + Send),
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

/// How long a probe runs: its share of the search, longer where it would hold few arrivals, shorter where thousands tell
/// all there is to tell.
fn probe_length(rate: RequestRate, planned: Duration, unloaded: Duration) -> Duration {
    let holding = |requests: f64| Duration::from_secs_f64(requests / rate.per_second());
    let enough = holding(MOST_PROBE_REQUESTS).max(unloaded * LEAST_PROBE_LIVES);
    holding(LEAST_PROBE_REQUESTS).clamp(planned, planned * 2).min(enough)
}

fn one_a_second() -> RequestRate {
    RequestRate::new(1.0).expect("1 is a rate")
}

trait ElapsedFraction {
    /// Time since, over `whole`.
    fn elapsed_fraction(&self, whole: Duration) -> f64;
}

impl ElapsedFraction for Instant {
    fn elapsed_fraction(&self, whole: Duration) -> f64 {
        let elapsed = Instant::now().saturating_duration_since(*self);
        elapsed.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
