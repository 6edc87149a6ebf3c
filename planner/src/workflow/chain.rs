//! The chain solved. Expected visits are the first row of the fundamental matrix (I − Q)⁻¹ (Kemeny and Snell, *Finite Markov
//! Chains*, 1960, §3.2), everything else is linear in them.

use super::{
    graph::{Stage, Target, Workflow},
    linear::solve,
};

/// What a request is expected to do and to cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// One row a stage, in the order of the file.
    pub stages: Vec<StageExpected>,
    /// Share of requests that end in success without reaching an escalation.
    pub success: f64,
    /// Share of requests that end in success, by a person's help too.
    pub resolved: f64,
    /// Share of requests that reach an escalation: a stage of that kind, or the end `escalated`.
    pub escalation: f64,
    /// Share of requests that end in failure.
    pub failure: f64,
}

/// One stage, a request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StageExpected {
    /// Visits.
    pub visits: f64,
    /// Calls, each with its first attempt.
    pub calls: f64,
    /// Second and later attempts.
    pub retries: f64,
    /// Those that the infrastructure causes; the product causes the rest.
    pub infrastructure_retries: f64,
    /// Prompt tokens of first attempts.
    pub input_tokens: f64,
    /// Answer tokens of first attempts.
    pub output_tokens: f64,
    /// Prompt tokens of retries.
    pub retried_input_tokens: f64,
    /// Answer tokens of retries.
    pub retried_output_tokens: f64,
    /// A person's minutes.
    pub minutes: f64,
    /// USD of first attempts and people.
    pub usd: f64,
    /// USD of retries.
    pub retried_usd: f64,
}

impl Expected {
    /// USD of a request: the sum of its stages.
    pub fn usd(&self) -> f64 {
        self.stages.iter().map(|stage| stage.usd + stage.retried_usd).sum()
    }

    /// A person's minutes on a request.
    pub fn minutes(&self) -> f64 {
        self.stages.iter().map(|stage| stage.minutes).sum()
    }
}

impl Workflow {
    /// Solves the chain; `None` where rounding leaves it without a solution, as in a loop that ends once in 10¹⁴ rounds, and of no
    /// stages.
    pub fn expected(&self) -> Option<Expected> {
        let stages = self.stages();
        let visits = self.visits(|_| false)?;
        // Once more with escalations as ends: who reaches one, and who succeeds without.
        let unaided = self.visits(|stage| stage.escalation)?;
        let ends = |visits: &[f64], target: Target, cut: bool| -> f64 {
            let stays = stages.iter().zip(visits).filter(|(stage, _)| !(cut && stage.escalation));
            stays.map(|(stage, visits)| visits * exit(stage, target)).sum()
        };
        let reached: f64 =
            stages.iter().zip(&unaided).filter(|(stage, _)| stage.escalation).map(|(_, visits)| visits).sum();
        let rows = stages.iter().zip(&visits).map(|(stage, visits)| row(stage, *visits));
        Some(Expected {
            stages: rows.collect(),
            success: share(ends(&unaided, Target::Success, true)),
            resolved: share(ends(&visits, Target::Success, false)),
            escalation: share(reached + ends(&unaided, Target::Escalated, true)),
            failure: share(ends(&visits, Target::Failure, false)),
        })
    }

    /// Expected visits of a request that begins at the first stage and stops after a visit to a stage that is `last`.
    fn visits(&self, last: impl Fn(&Stage) -> bool) -> Option<Vec<f64>> {
        let stages = self.stages();
        if stages.is_empty() {
            return None;
        }
        let n = stages.len();
        let matrix = (0..n)
            .map(|to| {
                let from = stages.iter().enumerate();
                from.map(|(at, stage)| {
                    let leads = if last(stage) { 0.0 } else { exit(stage, Target::Stage(to)) };
                    if at == to { 1.0 - leads } else { -leads }
                })
                .collect()
            })
            .collect();
        let start = (0..n).map(|at| if at == 0 { 1.0 } else { 0.0 }).collect();
        solve(matrix, start)
    }
}

/// Probability that a visit leads there.
fn exit(stage: &Stage, target: Target) -> f64 {
    stage.exits.iter().filter(|(to, _)| *to == target).map(|(_, p)| p).sum()
}

/// A probability without the rounding error of the solution.
fn share(value: f64) -> f64 {
    value.clamp(0.0, 1.0)
}

fn row(stage: &Stage, visits: f64) -> StageExpected {
    let calls = visits * stage.calls;
    let retries = calls * (stage.attempts.mean() - 1.0);
    let (input, output) = (stage.input_tokens * stage.token_share, stage.output_tokens * stage.token_share);
    let minutes = visits * stage.minutes;
    let first = (calls * input, calls * output);
    let retried = (retries * input * stage.retried_prompt_ratio, retries * output);
    let usd = |attempts: f64, (input, output): (f64, f64)| {
        attempts * stage.usd_per_attempt
            + input * stage.usd_per_input_token
            + output * stage.usd_per_output_token
    };
    StageExpected {
        visits,
        calls,
        retries,
        infrastructure_retries: retries * stage.infrastructure_share,
        input_tokens: first.0,
        output_tokens: first.1,
        retried_input_tokens: retried.0,
        retried_output_tokens: retried.1,
        minutes,
        usd: usd(calls, first) + minutes * stage.usd_per_minute,
        retried_usd: usd(retries, retried),
    }
}
