//! A whole run: warm up, search for the highest rate under the SLO, calibrate where the target keeps no step log, then baseline,
//! expected and stress.

mod calibration_phase;
mod level_phase;
mod runner;
mod search_phase;

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use breakeven_measurement::{
    LevelName, LevelResult, Repeats, RequestRate, SearchRecord, Shard, Slo, StepEvidence, Workload,
    level::ArrivalProcess, run::Status, search::Probe,
};
use serde::Serialize;
use tokio::{sync::watch, time::Instant};

use self::{
    level_phase::{Ran, together, widest},
    runner::{Runner, Steps},
};
use crate::{
    drive::{Pacing, Progress},
    journal::{Journal, JournalError, Kept},
    requests::RequestSource,
    search::{Search, evidence_of_level},
    target::Target,
    trace::Trace,
};

/// Requests sent one after another before anything is measured.
const WARMUP_REQUESTS: usize = 3;
/// Phase of the burst that gives the throughput flat out.
const FLAT_OUT: &str = "flat out";
/// Phase of the requests that tell how long a server's steps take.
pub(crate) const CALIBRATION: &str = "calibration";

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

/// How often the levels run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Repeating {
    /// At least this often.
    pub least: NonZeroU32,
    /// And until intervals are narrow enough; `None` for `least` runs exactly.
    pub until: Option<Until>,
}

/// When enough runs are enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Until {
    /// Half-width of the headline intervals of baseline and expected (goodput, TTFT p50 and p95, TPOT p50): points of a share, else a
    /// share of the figure.
    pub width: f64,
    /// No run begins that would end after this much time of levels.
    pub budget: Duration,
}

impl Repeating {
    /// Every level once.
    pub const ONCE: Self = Self { least: NonZeroU32::MIN, until: None };

    /// Whether the levels run once more, after `runs` of them in `elapsed`.
    fn goes_on(self, runs: u32, elapsed: Duration, widest: impl FnOnce() -> Option<f64>) -> bool {
        if runs < self.least.get() {
            return true;
        }
        let Some(until) = self.until else { return false };
        let one_more = elapsed + elapsed / runs.max(1);
        one_more <= until.budget && widest().is_none_or(|widest| widest > until.width)
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
    /// How often the levels run; the search runs once.
    pub repeats: Repeating,
    /// Whether the target keeps no step log, so that requests in bursts and alone must tell how long its steps take.
    pub calibration: bool,
    /// The part of the load to send, where several generators share it; it needs given rates, those of the whole load.
    pub shard: Option<Shard>,
}

/// What happens, for whoever draws it.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// Requests one after another, to wake the target up and see what one costs.
    WarmingUp,
    /// Requests in bursts, then alone with prompts of several lengths, to see how long its steps take.
    Calibrating,
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
        /// Which run of it, from 0.
        run: u32,
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
    /// The levels that ran, each that of all its runs.
    pub levels: Vec<LevelResult>,
    /// How often they ran, where that was asked for.
    pub repeats: Option<Repeats>,
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
    let mut outcome =
        RunOutcome { search: None, levels: Vec::new(), repeats: None, steps: None, status: Status::Complete };
    if plan.shard.is_some() && plan.rates.is_none() {
        return Err(RunError::ShardWithoutRates);
    }
    let kept = runner.journal.as_deref().map(Journal::kept).cloned().unwrap_or_default();
    runner.pass_over(&kept);
    let last_run = plan.repeats.least.get() - 1;
    let levels_kept = LevelName::ALL.iter().all(|name| kept.level(*name, last_run).is_some());
    let unloaded = if levels_kept { Duration::ZERO } else { runner.warm_up().await? };
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
    // Shards would burst into one another.
    if plan.calibration && plan.shard.is_none() && !levels_kept && !*runner.cancel.borrow() {
        runner.calibrate().await?;
    }
    let phases: Vec<_> = LevelName::ALL.into_iter().zip(rates).zip(plan.durations.levels).collect();
    let mut runs = [const { Vec::new() }; 3];
    let began = Instant::now();
    let mut done = 0;
    let mut levels = Vec::new();
    while done == 0 || plan.repeats.goes_on(done, began.elapsed(), || widest(&levels)) {
        for (((name, rate), length), runs) in phases.iter().zip(&mut runs) {
            if *runner.cancel.borrow() {
                break;
            }
            let ran = runner.level_or_kept(&kept, *name, done, *rate, *length).await?;
            if ran.interrupted && done > 0 {
                // A part of a run is no run; its attempts are in the journal.
                break;
            }
            if let Some(search) = &mut search {
                search.note(ran.evidence);
            }
            runs.push(ran);
        }
        levels = runs.iter().filter_map(|runs: &Vec<Ran>| together(runs, &plan.slo, plan.seed)).collect();
        if *runner.cancel.borrow() {
            break;
        }
        done += 1;
    }
    let until_width = plan.repeats.until.map(|until| until.width);
    outcome.repeats = (done > 1 || until_width.is_some()).then(|| Repeats {
        runs: done,
        until_width,
        widest: widest(&levels),
    });
    outcome.levels = levels;
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
    /// A run of a level, or what an earlier part of this run kept of it.
    async fn level_or_kept(
        &mut self,
        kept: &Kept,
        name: LevelName,
        run: u32,
        rate: RequestRate,
        length: Duration,
    ) -> Result<Ran, RunError> {
        let Some(kept) = kept.level(name, run) else { return self.level(name, run, rate, length).await };
        (self.on_event)(RunEvent::LevelFinished(Box::new(kept.result.clone())));
        let evidence = evidence_of_level(&kept.result);
        Ok(Ran { level: kept.result.clone(), figures: kept.figures.clone(), evidence, interrupted: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_on_until_narrow_enough_or_out_of_time() {
        let seconds = Duration::from_secs;
        let three = NonZeroU32::new(3).unwrap();
        let exactly = Repeating { least: three, until: None };
        assert!(exactly.goes_on(2, seconds(20), || None) && !exactly.goes_on(3, seconds(30), || None));
        let until = Repeating { least: three, until: Some(Until { width: 0.05, budget: seconds(100) }) };
        assert!(until.goes_on(2, seconds(1_000), || Some(0.01)), "the least number is a promise");
        assert!(until.goes_on(3, seconds(30), || Some(0.2)) && until.goes_on(3, seconds(30), || None));
        assert!(!until.goes_on(3, seconds(30), || Some(0.05)), "narrow enough");
        assert!(!until.goes_on(9, seconds(91), || Some(0.2)), "a tenth run of 10 s would end after 100 s");
    }
}
