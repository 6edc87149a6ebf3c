//! One run of a level, and the runs of a level as one.

use std::time::Duration;

use breakeven_measurement::{
    Headline, LevelName, LevelResult, Metric, RequestRate, Slo, level::Rates, repeats::pool,
};

use super::{RunError, RunEvent, runner::Runner};
use crate::{
    bootstrap::{RequestFigures, figures_of, headlines},
    capacity::Evidence,
    drive::Next,
    resources::Sample,
    schedule::dispersion,
    search::evidence_of,
    steady::{Settling, fixed_warmup, warmup},
    tally::tally,
    validity::judge,
};

/// One run of a level.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    pub(super) level: LevelResult,
    /// The requests of its window.
    pub(super) figures: Vec<RequestFigures>,
    /// What it says of the capacity.
    pub(super) evidence: Option<Evidence>,
    /// Whether Ctrl-C ended it.
    pub(super) interrupted: bool,
}

/// The runs of a level as one, with the intervals of its headline figures; `None` of none.
pub(super) fn together(runs: &[Ran], slo: &Slo, seed: u64) -> Option<LevelResult> {
    if let [only] = runs {
        return Some(only.level.clone());
    }
    let levels: Vec<LevelResult> = runs.iter().map(|run| run.level.clone()).collect();
    let mut pooled = pool(&levels)?;
    let with_figures: Vec<_> = runs.iter().map(|run| (&run.level, run.figures.as_slice())).collect();
    pooled.headlines = headlines(&pooled, &with_figures, slo, seed);
    Some(pooled)
}

/// The figures that decide whether there are runs enough. Percentiles further out would take runs without end, and under stress
/// latency depends on how long the level runs.
fn decides(level: LevelName, metric: Metric) -> bool {
    level != LevelName::Stress
        && matches!(metric, Metric::Goodput | Metric::TtftP50 | Metric::TtftP95 | Metric::TpotP50)
}

/// The widest of the deciding intervals, as half its width; `None` where one is not bounded.
pub(super) fn widest(levels: &[LevelResult]) -> Option<f64> {
    let headlines =
        levels.iter().flat_map(|level| level.headlines.iter().map(|headline| (level.name, headline)));
    headlines
        .filter(|(level, headline)| decides(*level, headline.metric))
        .map(|(_, headline)| headline.half_width())
        .collect::<Option<Vec<f64>>>()?
        .into_iter()
        .reduce(f64::max)
}

impl Runner<'_> {
    /// Runs a level once; `run` counts from 0.
    pub(super) async fn level(
        &mut self,
        name: LevelName,
        run: u32,
        rate: RequestRate,
        length: Duration,
    ) -> Result<Ran, RunError> {
        let plan = self.plan;
        (self.on_event)(RunEvent::LevelStarted { name, run, rate, length });
        let schedule = self.schedule(rate, length);
        let empty = schedule.is_empty();
        let schedule = self.own_part(schedule);
        self.target.take_load();
        let sample = Sample::now();
        let phase = if run == 0 { name.to_string() } else { format!("{name}, run {}", run + 1) };
        let driven = self.drive(&phase, schedule, None, &mut |_, _| Next::Go).await?;
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
        let mut level = LevelResult {
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
            headlines: Vec::new(),
        };
        let figures = figures_of(&driven.attempts, warmup);
        level.headlines = own_headlines(&level, &figures, &plan.slo, plan.seed);
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
        Ok(Ran { level, figures, evidence, interrupted: driven.cancelled })
    }
}

fn own_headlines(level: &LevelResult, figures: &[RequestFigures], slo: &Slo, seed: u64) -> Vec<Headline> {
    headlines(level, &[(level, figures)], slo, seed)
}
