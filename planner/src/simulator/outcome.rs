//! What came of a simulation.

use std::time::Duration;

use breakeven_measurement::{Fraction, LatencySeries, Slo};

use super::replica::Finished;

/// What a fleet did with its requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Requests that arrived after the warm-up; the series and shares are of these.
    pub requests: u64,
    /// Of these, answered.
    pub completed: u64,
    /// Of these, within every SLO target.
    pub within_slo: u64,
    /// Of these, larger than the KV memory of a replica, and refused.
    pub refused: u64,
    /// Requests that started again because their replica went down, warm-up included.
    pub rerouted: u64,
    /// Sequences thrown out of KV memory and computed again, warm-up included.
    pub preemptions: u64,
    /// TTFT from arrival. Requests never answered are infinitely slow.
    pub ttft: LatencySeries,
    /// TPOT of requests with more than one token.
    pub tpot: LatencySeries,
    /// E2E from arrival.
    pub e2e: LatencySeries,
    /// From arrival until the first step that works on the request.
    pub wait: LatencySeries,
    /// Mean wait of answered requests, seconds, not rounded by the series.
    pub mean_wait_seconds: Option<f64>,
    /// Mean E2E of answered requests, seconds, not rounded by the series.
    pub mean_e2e_seconds: Option<f64>,
    /// From 0 to the last answer, seconds.
    pub horizon_seconds: f64,
    /// From the end of warm-up to the last arrival, seconds.
    pub window_seconds: f64,
    /// Busy share of the ready replicas' time.
    pub utilization: Option<Fraction>,
    /// Mean sequences in a step, by time.
    pub mean_batch: Option<f64>,
    /// Mean requests that wait, over the horizon.
    pub mean_queue: f64,
    /// Most requests that waited at once.
    pub peak_queue: u64,
    /// Mean requests in the fleet, counted as they come and go.
    pub mean_in_system: f64,
    /// Hours of replicas paid for, cold starts and outages included.
    pub replica_hours: f64,
    /// Most replicas ready at once.
    pub peak_replicas: u32,
    /// Prompt tokens found in a prefix cache.
    pub cached_tokens: u64,
    /// Engine steps simulated.
    pub steps: u64,
    /// How far Little's law is missed: |L − λW| / L, warm-up included; rounding error and no more.
    pub little_gap: f64,
    /// Over time, where asked for.
    pub timeline: Vec<TimelinePoint>,
}

impl Outcome {
    /// Share of all requests within every target.
    pub fn goodput(&self) -> Option<Fraction> {
        Fraction::of(self.within_slo, self.requests)
    }

    /// Requests within every target per second of the window.
    pub fn goodput_per_second(&self) -> Option<f64> {
        (self.window_seconds > 0.0).then(|| self.within_slo as f64 / self.window_seconds)
    }
}

/// One stretch of the timeline; requests count where they arrive.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelinePoint {
    /// Where it begins, seconds.
    pub from_seconds: f64,
    /// Requests that arrived in it.
    pub requests: u64,
    /// Of these, within every SLO target.
    pub within_slo: u64,
    /// Their TTFT.
    pub ttft: LatencySeries,
    /// Mean replicas that were ready.
    pub mean_ready: f64,
    /// Mean replicas paid for.
    pub mean_paid: f64,
}

/// Counts as the simulation runs.
#[derive(Debug)]
pub(crate) struct Tally {
    slo: Targets,
    warmup: f64,
    width: Option<f64>,
    pub(crate) outcome: Outcome,
    wait_total: f64,
    e2e_total: f64,
    /// Of all requests, warm-up included, for Little's law.
    sojourn_total: f64,
    in_system: u64,
    in_system_area: f64,
    seen_until: f64,
    all_waits: f64,
    /// (time, ready, paid) at each change.
    changes: Vec<(f64, u32, u32)>,
}

/// The SLO's targets as seconds, so that a request costs no conversion.
#[derive(Debug, Clone, Copy)]
struct Targets {
    ttft: f64,
    tpot: f64,
    e2e: f64,
}

/// Width of a timeline at most: beyond it the last point takes the rest.
const MOST_POINTS: usize = 20_000;

impl Tally {
    pub(crate) fn new(slo: &Slo, warmup: f64, width: Option<f64>) -> Self {
        let seconds = |target: Option<Duration>| target.map_or(f64::INFINITY, |t| t.as_secs_f64());
        let outcome = Outcome {
            requests: 0,
            completed: 0,
            within_slo: 0,
            refused: 0,
            rerouted: 0,
            preemptions: 0,
            ttft: LatencySeries::new(),
            tpot: LatencySeries::new(),
            e2e: LatencySeries::new(),
            wait: LatencySeries::new(),
            mean_wait_seconds: None,
            mean_e2e_seconds: None,
            horizon_seconds: 0.0,
            window_seconds: 0.0,
            utilization: None,
            mean_batch: None,
            mean_queue: 0.0,
            peak_queue: 0,
            mean_in_system: 0.0,
            replica_hours: 0.0,
            peak_replicas: 0,
            cached_tokens: 0,
            steps: 0,
            little_gap: 0.0,
            timeline: Vec::new(),
        };
        Self {
            slo: Targets { ttft: seconds(slo.ttft), tpot: seconds(slo.tpot), e2e: seconds(slo.e2e) },
            warmup,
            width,
            outcome,
            wait_total: 0.0,
            e2e_total: 0.0,
            sojourn_total: 0.0,
            in_system: 0,
            in_system_area: 0.0,
            seen_until: 0.0,
            all_waits: 0.0,
            changes: Vec::new(),
        }
    }

    fn point(&mut self, at: f64) -> Option<&mut TimelinePoint> {
        let width = self.width?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0; a float cast saturates"
        )]
        let index = ((at / width) as usize).min(MOST_POINTS - 1);
        let timeline = &mut self.outcome.timeline;
        while timeline.len() <= index {
            timeline.push(TimelinePoint {
                from_seconds: timeline.len() as f64 * width,
                requests: 0,
                within_slo: 0,
                ttft: LatencySeries::new(),
                mean_ready: 0.0,
                mean_paid: 0.0,
            });
        }
        timeline.get_mut(index)
    }

    fn pass(&mut self, now: f64) {
        self.in_system_area += self.in_system as f64 * (now - self.seen_until);
        self.seen_until = now;
    }

    pub(crate) fn arrived(&mut self, at: f64) {
        self.pass(at);
        self.in_system += 1;
        if at >= self.warmup {
            self.outcome.requests += 1;
            self.outcome.window_seconds = at - self.warmup;
        }
        if let Some(point) = self.point(at) {
            point.requests += 1;
        }
    }

    pub(crate) fn in_system(&self) -> u64 {
        self.in_system
    }

    /// The last time at which a request came or went, seconds.
    pub(crate) fn now(&self) -> f64 {
        self.seen_until
    }

    /// A request that no answer comes of.
    pub(crate) fn lost(&mut self, arrived: f64, now: f64) {
        self.pass(now);
        self.in_system -= 1;
        self.sojourn_total += now - arrived;
        if arrived >= self.warmup {
            for series in [&mut self.outcome.ttft, &mut self.outcome.e2e, &mut self.outcome.wait] {
                series.record_infinite();
            }
        }
        if let Some(point) = self.point(arrived) {
            point.ttft.record_infinite();
        }
    }

    pub(crate) fn finished(&mut self, request: &Finished, now: f64) {
        self.pass(now);
        self.in_system -= 1;
        let (e2e, wait) = (now - request.arrived, request.admitted - request.arrived);
        let ttft = request.first_token - request.arrived;
        self.sojourn_total += e2e;
        self.all_waits += wait;
        let tpot = (request.output_tokens > 1)
            .then(|| (now - request.first_token) / f64::from(request.output_tokens - 1));
        let good = ttft <= self.slo.ttft && e2e <= self.slo.e2e && tpot.is_none_or(|t| t <= self.slo.tpot);
        if request.arrived >= self.warmup {
            let outcome = &mut self.outcome;
            outcome.completed += 1;
            outcome.within_slo += u64::from(good);
            self.wait_total += wait;
            self.e2e_total += e2e;
            outcome.ttft.record(duration(ttft));
            outcome.e2e.record(duration(e2e));
            outcome.wait.record(duration(wait));
            if let Some(tpot) = tpot {
                outcome.tpot.record(duration(tpot));
            }
        }
        if let Some(point) = self.point(request.arrived) {
            point.within_slo += u64::from(good);
            point.ttft.record(duration(ttft));
        }
    }

    pub(crate) fn fleet_is(&mut self, now: f64, ready: u32, paid: u32) {
        self.outcome.peak_replicas = self.outcome.peak_replicas.max(ready);
        self.changes.push((now, ready, paid));
    }

    /// The outcome at the end; `busy` and `occupied` are the replicas' seconds in steps and their sequences' seconds.
    pub(crate) fn close(mut self, end: f64, busy: f64, occupied: f64) -> Outcome {
        self.pass(end.max(self.seen_until));
        let end = self.seen_until;
        let (ready, paid) = self.over(0.0, end);
        let mut timeline = std::mem::take(&mut self.outcome.timeline);
        for point in &mut timeline {
            let width = self.width.unwrap_or(f64::INFINITY);
            let to = (point.from_seconds + width).min(end);
            let (ready, paid) = self.over(point.from_seconds, to);
            let length = to - point.from_seconds;
            if length > 0.0 {
                (point.mean_ready, point.mean_paid) = (ready / length, paid / length);
            }
        }
        let mut outcome = self.outcome;
        outcome.timeline = timeline;
        let completed = outcome.completed as f64;
        outcome.mean_wait_seconds = (outcome.completed > 0).then(|| self.wait_total / completed);
        outcome.mean_e2e_seconds = (outcome.completed > 0).then(|| self.e2e_total / completed);
        outcome.horizon_seconds = end;
        outcome.replica_hours = paid / 3_600.0;
        outcome.utilization = if ready > 0.0 { Fraction::new((busy / ready).min(1.0)).ok() } else { None };
        outcome.mean_batch = (busy > 0.0).then(|| occupied / busy);
        if end > 0.0 {
            outcome.mean_queue = self.all_waits / end;
            outcome.mean_in_system = self.in_system_area / end;
        }
        if self.in_system_area > 0.0 {
            outcome.little_gap = (self.in_system_area - self.sojourn_total).abs() / self.in_system_area;
        }
        outcome
    }

    /// Replica-seconds ready and paid between two times.
    fn over(&self, from: f64, to: f64) -> (f64, f64) {
        let ends = self.changes.iter().skip(1).map(|(at, ..)| *at).chain([f64::INFINITY]);
        let (mut ready, mut paid) = (0.0, 0.0);
        for ((at, r, p), until) in self.changes.iter().zip(ends) {
            let seconds = (until.min(to) - at.max(from)).max(0.0);
            ready += f64::from(*r) * seconds;
            paid += f64::from(*p) * seconds;
        }
        (ready, paid)
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
