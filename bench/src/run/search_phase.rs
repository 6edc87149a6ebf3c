//! The search of a run: flat out first, then probes, as [`Search`] chooses them.

use std::time::Duration;

use breakeven_measurement::{RequestRate, SearchRecord, search::Probe};
use tokio::time::Instant;

use super::{FLAT_OUT, RunError, RunEvent, runner::Runner};
use crate::{
    drive::Next,
    schedule::dispersion,
    search::{Search, evidence_of, is_hopeless, probe_of},
    tally::is_good,
};

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

impl Runner<'_> {
    /// The search, and the rate that the levels are shares of: the capacity, or where every probe missed the SLO, the
    /// rate that would have been tried next.
    pub(super) async fn search(
        &mut self,
        unloaded: Duration,
    ) -> Result<(SearchRecord, Search, RequestRate), RunError> {
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
