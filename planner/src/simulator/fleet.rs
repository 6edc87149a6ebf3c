//! The events in order: arrivals, steps, failures, cold starts, looks of the autoscaler.

#![expect(clippy::indexing_slicing, reason = "replicas are numbered by this file, below the fleet's length")]

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

use super::{
    Request,
    autoscaler::{Look, Scaling},
    clock::Clock,
    outcome::{Outcome, Tally},
    replica::Replica,
    router::{Load, Routing},
    settings::{Scenario, SimulationError},
};

/// Where a replica is in its life. All but `Off` are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off,
    Starting,
    Ready,
    /// Takes nothing new, and goes off when it is empty.
    Draining,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Control {
    Fail {
        replica: usize,
        failure: usize,
    },
    /// The machine is back, or was asked for: the cold start begins.
    Boot {
        replica: usize,
    },
    /// The cold start of this life of the replica is over.
    Serve {
        replica: usize,
        life: u32,
    },
    Look,
}

#[derive(Debug, Clone, Copy)]
struct Timed {
    at: f64,
    number: u64,
    control: Control,
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Timed {}
impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.total_cmp(&other.at).then(self.number.cmp(&other.number))
    }
}

struct Fleet<'a> {
    scenario: &'a Scenario,
    replicas: Vec<Replica>,
    phases: Vec<Phase>,
    /// Counts starts of each replica, so that a cold start that was cut short does not end.
    lives: Vec<u32>,
    loads: Vec<Load>,
    clock: Clock,
    routing: Routing,
    scaling: Option<Scaling>,
    controls: BinaryHeap<Reverse<Timed>>,
    numbered: u64,
    /// Requests that no ready replica was there for.
    gateway: VecDeque<Request>,
    queued: u64,
    busy_at_last_look: f64,
    last_look: f64,
    tally: Tally,
}

/// Runs `requests` through the fleet of `scenario` until the last is answered.
///
/// # Errors
/// Where the scenario makes no sense, or requests are out of order.
pub fn simulate(
    scenario: &Scenario,
    requests: impl IntoIterator<Item = Request>,
) -> Result<Outcome, SimulationError> {
    scenario.check()?;
    let mut fleet = Fleet::new(scenario);
    let mut requests = requests.into_iter();
    let mut next = requests.next();
    let mut last_arrival = 0.0_f64;
    loop {
        let (replica, stepped) = fleet.clock.first();
        let controlled = fleet.controls.peek().map_or(f64::INFINITY, |Reverse(timed)| timed.at);
        let arrival = next.map_or(f64::INFINITY, |request| request.at_seconds);
        if next.is_none() && fleet.tally.in_system() == 0 {
            break;
        }
        // At the same time: what was under way, then what happens to the fleet, then arrivals.
        if stepped <= controlled && stepped <= arrival && stepped.is_finite() {
            fleet.step(replica, stepped);
        } else if controlled <= arrival && controlled.is_finite() {
            fleet.control(next.is_some());
        } else if let Some(mut request) = next {
            let (at, before) = (request.at_seconds, last_arrival);
            if !(at.is_finite() && at >= before) {
                return Err(SimulationError::Order { at, before });
            }
            last_arrival = at;
            request.prompt_tokens = request.prompt_tokens.max(1);
            request.output_tokens = request.output_tokens.max(1);
            fleet.arrive(request);
            next = requests.next();
        } else {
            // Nothing can happen any more: every replica is down for ever.
            break;
        }
    }
    Ok(fleet.close())
}

impl<'a> Fleet<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let most = scenario.most_replicas() as usize;
        let at_start =
            scenario.autoscaler.map_or(scenario.replicas, |s| scenario.replicas.clamp(s.min, s.max));
        let phases: Vec<Phase> =
            (0..most).map(|i| if i < at_start as usize { Phase::Ready } else { Phase::Off }).collect();
        let mut fleet = Self {
            scenario,
            replicas: vec![Replica::new(scenario.replica, scenario.step); most],
            lives: vec![0; most],
            loads: phases.iter().map(|p| Load { ready: *p == Phase::Ready, outstanding: 0 }).collect(),
            phases,
            clock: Clock::new(most),
            routing: Routing::new(scenario.router),
            scaling: scenario.autoscaler.map(Scaling::new),
            controls: BinaryHeap::new(),
            numbered: 0,
            gateway: VecDeque::new(),
            queued: 0,
            busy_at_last_look: 0.0,
            last_look: 0.0,
            tally: Tally::new(&scenario.slo, scenario.warmup_seconds, scenario.timeline_seconds),
        };
        for (index, failure) in scenario.failures.iter().enumerate() {
            let replica = failure.replica as usize;
            fleet.at(failure.at_seconds, Control::Fail { replica, failure: index });
        }
        if let Some(scaler) = &scenario.autoscaler {
            fleet.at(scaler.every_seconds, Control::Look);
        }
        fleet.note(0.0);
        fleet
    }

    fn at(&mut self, at: f64, control: Control) {
        self.numbered += 1;
        self.controls.push(Reverse(Timed { at, number: self.numbered, control }));
    }

    /// Books how many replicas serve and are paid for.
    fn note(&mut self, now: f64) {
        let count = |phase: &dyn Fn(Phase) -> bool| {
            u32::try_from(self.phases.iter().filter(|p| phase(**p)).count()).unwrap_or(u32::MAX)
        };
        let (ready, paid) =
            (count(&|p| matches!(p, Phase::Ready | Phase::Draining)), count(&|p| p != Phase::Off));
        self.tally.fleet_is(now, ready, paid);
    }

    fn arrive(&mut self, request: Request) {
        let now = request.at_seconds;
        self.tally.arrived(now);
        let tokens = u64::from(request.prompt_tokens) + u64::from(request.output_tokens);
        if self.scenario.replica.kv_tokens.is_some_and(|limit| tokens > limit) {
            if now >= self.scenario.warmup_seconds {
                self.tally.outcome.refused += 1;
            }
            self.tally.lost(now, now);
            return;
        }
        self.route(request, now);
    }

    fn route(&mut self, request: Request, now: f64) {
        if let Some(index) = self.routing.choose(request.prefix, &self.loads) {
            let before = self.replicas[index].queued();
            self.replicas[index].take(request, now);
            self.settle(index, before);
        } else {
            self.gateway.push_back(request);
            self.waits(1, 0);
        }
    }

    /// Brings the books of a replica up to date after something happened on it.
    fn settle(&mut self, index: usize, queued_before: usize) {
        let replica = &self.replicas[index];
        let (after, outstanding) = (replica.queued(), replica.outstanding());
        self.loads[index].outstanding = u32::try_from(outstanding).unwrap_or(u32::MAX);
        self.clock.set(index, replica.next_event());
        self.waits(after as u64, queued_before as u64);
    }

    fn waits(&mut self, more: u64, fewer: u64) {
        self.queued = self.queued + more - fewer;
        self.tally.outcome.peak_queue = self.tally.outcome.peak_queue.max(self.queued);
    }

    fn step(&mut self, index: usize, now: f64) {
        let before = self.replicas[index].queued();
        let tally = &mut self.tally;
        self.replicas[index].advance(now, &mut |request| tally.finished(&request, now));
        self.settle(index, before);
        if self.phases[index] == Phase::Draining && self.replicas[index].outstanding() == 0 {
            self.phases[index] = Phase::Off;
            self.note(now);
        }
    }

    fn control(&mut self, more_to_come: bool) {
        let Some(Reverse(Timed { at: now, control, .. })) = self.controls.pop() else { return };
        match control {
            Control::Fail { replica, failure } => self.fail(replica, failure, now),
            Control::Boot { replica } => self.boot(replica, now),
            Control::Serve { replica, life } => {
                if self.phases[replica] == Phase::Starting && self.lives[replica] == life {
                    self.phases[replica] = Phase::Ready;
                    self.loads[replica].ready = true;
                    self.note(now);
                    self.empty_gateway(now);
                }
            }
            Control::Look => {
                self.look(now);
                if let (Some(scaler), true) =
                    (&self.scenario.autoscaler, more_to_come || self.tally.in_system() > 0)
                {
                    self.at(now + scaler.every_seconds, Control::Look);
                }
            }
        }
    }

    fn boot(&mut self, replica: usize, now: f64) {
        self.phases[replica] = Phase::Starting;
        self.lives[replica] += 1;
        let life = self.lives[replica];
        self.at(now + self.scenario.cold_start_seconds, Control::Serve { replica, life });
        self.note(now);
    }

    fn fail(&mut self, index: usize, failure: usize, now: f64) {
        if self.phases[index] == Phase::Off {
            return;
        }
        let down = self.scenario.failures.get(failure).map_or(0.0, |f| f.down_seconds);
        let draining = self.phases[index] == Phase::Draining;
        self.phases[index] = if draining { Phase::Off } else { Phase::Down };
        self.lives[index] += 1;
        self.loads[index].ready = false;
        let before = self.replicas[index].queued();
        let lost = self.replicas[index].fail(now);
        self.settle(index, before);
        self.note(now);
        if down.is_finite() && !draining {
            self.at(now + down, Control::Boot { replica: index });
        }
        self.tally.outcome.rerouted += lost.len() as u64;
        for request in lost {
            self.route(request, now);
        }
    }

    fn empty_gateway(&mut self, now: f64) {
        let waiting = std::mem::take(&mut self.gateway);
        self.waits(0, waiting.len() as u64);
        for request in waiting {
            self.route(request, now);
        }
    }

    fn look(&mut self, now: f64) {
        let Some(scaling) = &mut self.scaling else { return };
        let busy: f64 = self.replicas.iter().map(|r| r.busy_seconds(now)).sum();
        let count = |phases: &[Phase], which: &[Phase]| {
            u32::try_from(phases.iter().filter(|p| which.contains(p)).count()).unwrap_or(u32::MAX)
        };
        let ready = count(&self.phases, &[Phase::Ready]);
        let present = count(&self.phases, &[Phase::Ready, Phase::Starting, Phase::Down]);
        let possible = f64::from(ready.max(1)) * (now - self.last_look);
        let look = Look {
            now,
            ready,
            present,
            utilization: (busy - self.busy_at_last_look) / possible,
            queued: self.queued as f64,
            outstanding: self.tally.in_system() as f64,
        };
        (self.busy_at_last_look, self.last_look) = (busy, now);
        let wanted = scaling.wanted(look);
        for _ in present..wanted {
            // A draining replica is still warm: taking it back is free.
            let kept = self.phases.iter().position(|p| *p == Phase::Draining);
            if let Some(index) = kept {
                self.phases[index] = Phase::Ready;
                self.loads[index].ready = true;
                self.note(now);
            } else if let Some(index) = self.phases.iter().position(|p| *p == Phase::Off) {
                self.boot(index, now);
            }
        }
        for _ in wanted..present {
            self.release(now);
        }
    }

    /// Gives up one replica: one that does not serve yet, else the ready one with the fewest requests.
    fn release(&mut self, now: f64) {
        if let Some(index) = self.phases.iter().rposition(|p| *p == Phase::Starting) {
            self.phases[index] = Phase::Off;
            self.lives[index] += 1;
        } else {
            let ready = self.phases.iter().enumerate().filter(|(_, p)| **p == Phase::Ready);
            let least = ready.min_by_key(|(i, _)| (self.loads[*i].outstanding, Reverse(*i)));
            let Some((index, _)) = least else { return };
            self.loads[index].ready = false;
            let empty = self.replicas[index].outstanding() == 0;
            self.phases[index] = if empty { Phase::Off } else { Phase::Draining };
        }
        self.note(now);
    }

    fn close(mut self) -> Outcome {
        let end = self.tally.now();
        // Whoever still waits at a gateway with no replica left is never answered.
        for request in std::mem::take(&mut self.gateway) {
            self.tally.lost(request.at_seconds, end);
        }
        let (mut busy, mut occupied) = (0.0, 0.0);
        for replica in &self.replicas {
            busy += replica.busy_seconds(end);
            occupied += replica.occupied_seconds();
            self.tally.outcome.preemptions += replica.preemptions;
            self.tally.outcome.cached_tokens += replica.cached_tokens;
            self.tally.outcome.steps += replica.steps;
        }
        self.tally.close(end, busy, occupied)
    }
}
