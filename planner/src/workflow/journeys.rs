//! Seeded journeys, one by one. The latency along the paths comes from here; the chain is held to the rest.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::graph::{Stage, Target, Workflow};

/// What journeys did.
#[derive(Debug, Clone, PartialEq)]
pub struct Journeys {
    /// How many.
    pub count: u64,
    /// Visits of each stage, in the order of the file.
    pub visits: Vec<u64>,
    /// Attempts of each stage.
    pub attempts: Vec<u64>,
    /// Journeys that ended in success without an escalation.
    pub success: u64,
    /// Journeys that ended in success.
    pub resolved: u64,
    /// Journeys that reached an escalation.
    pub escalated: u64,
    /// USD of each journey: sum, and sum of squares.
    pub usd: (f64, f64),
    /// Seconds of each journey until its end or the first person, sorted; absent where a stage does not say how long it takes.
    pub seconds: Option<Vec<f64>>,
}

impl Journeys {
    /// Nearest-rank quantile of the latency; `q` is from 0 to 1.
    pub fn latency_seconds(&self, q: f64) -> Option<f64> {
        let seconds = self.seconds.as_ref()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank within the count; the cast saturates"
        )]
        let rank = (q * seconds.len() as f64).ceil().max(1.0) as usize;
        seconds.get(rank.min(seconds.len()).checked_sub(1)?).copied()
    }
}

/// One visit: attempts made, and seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Visit {
    attempts: u32,
    usd: f64,
    seconds: f64,
    failed: bool,
}

/// Follows `count` requests.
pub fn simulate(workflow: &Workflow, count: u64, seed: u64) -> Journeys {
    let stages = workflow.stages();
    let timed = stages.iter().all(|stage| stage.latency.is_some() || stage.escalation);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut all = Journeys {
        count,
        visits: vec![0; stages.len()],
        attempts: vec![0; stages.len()],
        success: 0,
        resolved: 0,
        escalated: 0,
        usd: (0.0, 0.0),
        seconds: timed.then(Vec::new),
    };
    for _ in 0..count {
        let (mut at, mut usd, mut seconds, mut escalated) = (Target::Stage(0), 0.0, 0.0, false);
        while let Target::Stage(index) = at {
            let Some(stage) = stages.get(index) else { break };
            escalated |= stage.escalation;
            let visit = visit(stage, timed, &mut rng);
            if let (Some(visits), Some(attempts)) = (all.visits.get_mut(index), all.attempts.get_mut(index)) {
                *visits += 1;
                *attempts += u64::from(visit.attempts);
            }
            usd += visit.usd;
            if !escalated {
                seconds += visit.seconds;
            }
            at = leave(stage, visit.failed, &mut rng);
        }
        escalated |= at == Target::Escalated;
        all.success += u64::from(at == Target::Success && !escalated);
        all.resolved += u64::from(at == Target::Success);
        all.escalated += u64::from(escalated);
        all.usd = (all.usd.0 + usd, all.usd.1 + usd * usd);
        if let Some(list) = &mut all.seconds {
            list.push(seconds);
        }
    }
    if let Some(list) = &mut all.seconds {
        list.sort_by(f64::total_cmp);
    }
    all
}

fn visit(stage: &Stage, timed: bool, rng: &mut ChaCha8Rng) -> Visit {
    let mut visit = Visit { usd: stage.minutes * stage.usd_per_minute, ..Visit::default() };
    let mut calls = stage.calls.floor();
    if stage.calls.fract() > 0.0 && rng.random::<f64>() < stage.calls.fract() {
        calls += 1.0;
    }
    let mut made = 0.0;
    while made < calls {
        made += 1.0;
        let (mut retry, mut seconds) = (0, 0.0);
        loop {
            visit.attempts += 1;
            let longer = if retry == 0 { 1.0 } else { stage.retried_prompt_ratio };
            visit.usd += stage.usd_per_attempt
                + stage.token_share
                    * (stage.input_tokens * longer * stage.usd_per_input_token
                        + stage.output_tokens * stage.usd_per_output_token);
            if let Some(latency) = stage.latency.filter(|_| timed) {
                seconds += latency.at_deviate(StandardNormal.sample(rng));
            }
            let drawn: f64 = rng.random();
            if drawn >= stage.attempts.retried + stage.attempts.lost {
                break;
            }
            if drawn >= stage.attempts.retried || retry >= stage.attempts.most {
                visit.failed = true;
                break;
            }
            let (first, longest) = stage.backoff_seconds;
            seconds += (first * f64::from(retry).exp2()).min(longest);
            retry += 1;
        }
        visit.seconds = if stage.parallel { visit.seconds.max(seconds) } else { visit.seconds + seconds };
    }
    visit
}

/// The way out: the last of the stage's exits is that of failed visits, the others those of good ones.
fn leave(stage: &Stage, failed: bool, rng: &mut ChaCha8Rng) -> Target {
    let Some(((on_failure, _), good)) = stage.exits.split_last() else { return Target::Failure };
    if failed {
        return *on_failure;
    }
    let total: f64 = good.iter().map(|(_, p)| p).sum();
    let mut drawn = rng.random::<f64>() * total;
    for (target, p) in good {
        drawn -= p;
        if drawn < 0.0 {
            return *target;
        }
    }
    // Rounding of the last step.
    good.iter().rfind(|(_, p)| *p > 0.0).map_or(*on_failure, |(target, _)| *target)
}
