//! What one request asks of the model under comparison, in the terms of the bills: calls by their length, and demand on a replica.
//!
//! A replica's capacity is measured in requests of the product's segments. A call of other lengths counts as so many of them as its
//! tokens take time: (p · prompt + d · answer) over the same of the measured mean, with p and d the measured seconds of a prompt and of
//! an answer token (as the bill is split among teams, `allocation`). A call as long as the segments' counts as one, whatever p and d.

use breakeven_measurement::Measurement;

use super::{Expected, Workflow};
use crate::{
    allocation::seconds_per_token,
    cost::{SegmentTokens, input, typed_at},
    measured_retries::MeasuredRetries,
    plan::Provenance,
    product::Product,
    waiting::Waiting,
};

/// What a request asks of one kind of option.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Load {
    /// First attempts, by length; the share of each is its calls a request.
    pub(crate) first: Vec<SegmentTokens>,
    /// Retries that the stages make, likewise.
    pub(crate) retried: Vec<SegmentTokens>,
    /// First attempts of a request, in requests as they were measured.
    pub(crate) demand: f64,
    /// Retries of the stages, over first attempts, both in requests as they were measured.
    pub(crate) retried_share: f64,
    /// Attempts of a request, retries of the stages included.
    pub(crate) attempts: f64,
    /// Share of requests that the workflow brings to `success` without an escalation.
    pub(crate) success: f64,
    /// Share of requests that an escalation brings to `success`.
    pub(crate) aided: f64,
    /// Prompt and answer tokens a request of the stages that give their own.
    pub(crate) fixed_tokens: (f64, f64),
    /// How often a request spends its segment's prompt and answer tokens beside those.
    pub(crate) of_segment: (f64, f64),
    /// What waiting makes of it, already in the figures above; `None` where nothing is known of that.
    pub(crate) waiting: Option<Waiting>,
    /// Retries a request that were measured, in the place of the typed ones; `None` where those hold.
    pub(crate) retries: Option<MeasuredRetries>,
    /// The run that prompt and answer lengths of the segments come from, where some of them are measured.
    pub(crate) lengths_from: Option<String>,
    /// The workflow behind it; `None` without stages.
    pub(crate) workflow: Option<Solved>,
}

/// A workflow and what it comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Solved {
    pub(crate) workflow: Workflow,
    pub(crate) expected: Expected,
    /// Where the calls come from, stage by stage.
    pub(crate) from: Provenance,
}

/// Of both kinds of option.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loads {
    pub(crate) own: Load,
    /// Of an API, whatever its waits.
    pub(crate) api: Load,
    /// Of each API with its waits, in the file's order; empty where no wait matters.
    pub(crate) apis: Vec<Load>,
}

impl Loads {
    /// Without stages: each request is one call, as long as its segment's.
    pub(crate) fn plain(product: &Product) -> Self {
        let load = Load {
            first: SegmentTokens::of(&product.workload()),
            retried: Vec::new(),
            demand: 1.0,
            retried_share: 0.0,
            attempts: 1.0,
            success: 1.0,
            aided: 0.0,
            fixed_tokens: (0.0, 0.0),
            of_segment: (1.0, 1.0),
            waiting: None,
            retries: None,
            lengths_from: None,
            workflow: None,
        };
        Self { own: load.clone(), api: load, apis: Vec::new() }
    }

    /// Without stages, with what was measured in the place of what is typed: lengths of calls for every option, retries for our own
    /// replicas.
    pub(crate) fn measured(product: &Product, measurement: &Measurement) -> Self {
        let mut loads = Self::plain(product);
        let lengths = segment_tokens(product, measurement);
        let from = super::measured::some_lengths(product, measurement).then(|| measurement.run_id.clone());
        for load in [&mut loads.own, &mut loads.api] {
            load.first.clone_from(&lengths);
            load.lengths_from.clone_from(&from);
        }
        if let Some(longer) = product.longer {
            loads = loads.longer(longer, measurement);
        }
        if let Some(retries) = MeasuredRetries::of(product, measurement) {
            // The capacity is of requests with their retries: an attempt is a part of one.
            loads.own.demand /= retries.in_capacity();
            loads.own.retries = Some(retries);
        }
        loads
    }

    /// Of the `index`-th API.
    pub(crate) fn of_api(&self, index: usize) -> &Load {
        self.apis.get(index).unwrap_or(&self.api)
    }

    /// The same where segments are longer than was measured: a call is as many measured requests as its tokens take time.
    fn longer(mut self, longer: (f64, f64), measurement: &Measurement) -> Self {
        let measured = Measured::of(measurement);
        self.own.demand = 1.0 + measured.more(longer);
        self
    }

    /// Whether a request takes the same way through the stages with either kind, so that one option may serve what another began.
    pub(crate) fn are_alike(&self) -> bool {
        let of = |load: &Load| load.workflow.as_ref().map(|solved| solved.expected.clone());
        of(&self.own) == of(&self.api)
    }
}

/// Seconds of a prompt and of an answer token, or 1 of each where no level has them, and the mean request that was measured.
#[derive(Debug, Clone, Copy)]
struct Measured {
    prompt: f64,
    answer: f64,
    input_tokens: f64,
    output_tokens: f64,
}

impl Measured {
    fn of(measurement: &Measurement) -> Self {
        let (prompt, answer) = seconds_per_token(measurement).unwrap_or((1.0, 1.0));
        let workload = &measurement.workload;
        let (input_tokens, output_tokens) = (workload.mean_input_tokens(), workload.mean_output_tokens());
        Self { prompt, answer, input_tokens, output_tokens }
    }

    /// How many measured requests a call of so many tokens is.
    fn calls(&self, input_tokens: f64, output_tokens: f64) -> f64 {
        (self.prompt * input_tokens + self.answer * output_tokens)
            / (self.prompt * self.input_tokens + self.answer * self.output_tokens)
    }

    /// How many more than one a measured request is whose prompt and answer are so many times as long.
    fn more(&self, (prompt, answer): (f64, f64)) -> f64 {
        self.calls(self.input_tokens * (prompt - 1.0), self.output_tokens * (answer - 1.0))
    }
}

impl Load {
    /// Of a workflow. `segments` are the lengths of calls without tokens of their own ([`segment_tokens`]); `product.longer`
    /// says how many times as long their prompts and answers are as the measured ones, where a lever changes them.
    pub(crate) fn of(
        workflow: Workflow,
        expected: Expected,
        segments: &[SegmentTokens],
        product: &Product,
        measurement: &Measurement,
    ) -> Self {
        let measured = Measured::of(measurement);
        let (longer_prompt, longer_answer) = product.longer.unwrap_or((1.0, 1.0));
        let mut load = Self {
            first: Vec::new(),
            retried: Vec::new(),
            demand: 0.0,
            retried_share: 0.0,
            attempts: 0.0,
            success: expected.success,
            aided: (expected.resolved - expected.success).max(0.0),
            fixed_tokens: (0.0, 0.0),
            of_segment: (0.0, 0.0),
            waiting: None,
            retries: None,
            lengths_from: None,
            workflow: None,
        };
        let mut retried_demand = 0.0;
        for (stage, row) in workflow.stages().iter().zip(&expected.stages).filter(|(stage, _)| stage.option) {
            load.attempts += row.calls + row.retries;
            let (spent, ratio) = (stage.token_share, stage.retried_prompt_ratio);
            let lengths = if stage.of_segments {
                load.of_segment.0 += spent * (row.calls + row.retries * ratio);
                load.of_segment.1 += spent * (row.calls + row.retries);
                segments.to_vec()
            } else {
                load.fixed_tokens.0 += row.input_tokens + row.retried_input_tokens;
                load.fixed_tokens.1 += row.output_tokens + row.retried_output_tokens;
                vec![SegmentTokens::new(1.0, stage.input_tokens, stage.output_tokens)]
            };
            // How many measured requests one attempt is.
            let weight = |longer: f64| {
                if stage.of_segments {
                    spent * (1.0 + measured.more((longer_prompt * longer, longer_answer)))
                } else {
                    spent * measured.calls(stage.input_tokens * longer, stage.output_tokens)
                }
            };
            load.demand += row.calls * weight(1.0);
            retried_demand += row.retries * weight(ratio);
            for segment in lengths {
                let (share, input, output) = segment.parts();
                // An attempt that spends a share of its tokens counts as that share of a whole one: its length decides its price tier.
                let of = |calls: f64, longer: f64| {
                    SegmentTokens::new(share * calls * spent, input * longer, output)
                        .sharing(segment.prefix())
                };
                load.first.push(of(row.calls, 1.0));
                if row.retries > 0.0 {
                    load.retried.push(of(row.retries, ratio));
                }
            }
        }
        load.retried_share = if load.demand > 0.0 { retried_demand / load.demand } else { 0.0 };
        let lengths_measured = super::measured::some_lengths(product, measurement);
        let from = calls_from(&workflow, &expected, measurement, lengths_measured);
        load.workflow = Some(Solved { workflow, expected, from });
        load
    }

    /// The same where requests are asked again, and their users may leave: every attempt is made as often as a request is asked.
    pub(crate) fn waited(mut self, waiting: Waiting) -> Self {
        let asked = waiting.asked;
        for segment in self.first.iter_mut().chain(&mut self.retried) {
            let (share, input, output) = segment.parts();
            *segment = SegmentTokens::new(share * asked, input, output).sharing(segment.prefix());
        }
        self.demand *= asked;
        self.attempts *= asked;
        self.fixed_tokens = (self.fixed_tokens.0 * asked, self.fixed_tokens.1 * asked);
        self.of_segment = (self.of_segment.0 * asked, self.of_segment.1 * asked);
        self.success *= waiting.kept();
        self.waiting = Some(waiting);
        self
    }

    /// How often a request is asked, its first time included.
    pub(crate) fn asked(&self) -> f64 {
        self.waiting.as_ref().map_or(1.0, |waiting| waiting.asked)
    }

    /// What waiting leaves of the successes.
    pub(crate) fn kept(&self) -> f64 {
        self.waiting.as_ref().map_or(1.0, Waiting::kept)
    }

    /// All attempts that the stages make, in requests as they were measured.
    pub(crate) fn in_all(&self) -> f64 {
        self.demand * (1.0 + self.retried_share)
    }

    /// Mean prompt tokens of a request's first attempts.
    pub(crate) fn input_tokens(&self) -> f64 {
        tokens(&self.first).0
    }

    /// Mean answer tokens of a request's first attempts.
    pub(crate) fn output_tokens(&self) -> f64 {
        tokens(&self.first).1
    }

    /// Mean prompt and answer tokens of a request, retries of the stages included.
    pub(crate) fn all_tokens(&self) -> (f64, f64) {
        let (first, retried) = (tokens(&self.first), tokens(&self.retried));
        (first.0 + retried.0, first.1 + retried.1)
    }

    /// Retries' share of what all attempts ask for, with `retries` more attempts for each of the stages'. `retried` is what the
    /// stages' own retries ask for over what first attempts do.
    pub(crate) fn retries_of_all(retried: f64, retries: f64) -> f64 {
        (retries + retried * (1.0 + retries)) / ((1.0 + retried) * (1.0 + retries))
    }
}

/// Lengths of the segments' calls: as measured where enough were, else as typed. What a lever makes of a segment's typed lengths it makes
/// of the measured ones. `product.longer` is of the mean call, in which shares change too, and the bills have those from the segments.
pub(crate) fn segment_tokens(product: &Product, measurement: &Measurement) -> Vec<SegmentTokens> {
    let (workload, before) = (product.workload(), product.measured_workload());
    let typed = SegmentTokens::of(&workload).into_iter().zip(&workload.segments);
    typed
        .zip(super::measured::lengths(product, measurement))
        .map(|((typed, segment), measured)| {
            let Some((input, output)) = measured else { return typed };
            let before = before.segments.iter().find(|before| before.name == segment.name);
            let (prompt, answer) = before.map_or((1.0, 1.0), |before| {
                let over = |now: f64, before: f64| if before > 0.0 { now / before } else { 1.0 };
                (
                    over(segment.mean_input_tokens(), before.mean_input_tokens()),
                    over(segment.output_tokens.mean(), before.output_tokens.mean()),
                )
            });
            SegmentTokens::new(typed.parts().0, input * prompt, output * answer).sharing(typed.prefix())
        })
        .collect()
}

/// Sums of prompt and answer tokens.
pub(crate) fn tokens(lengths: &[SegmentTokens]) -> (f64, f64) {
    let sum = |of: fn((f64, f64, f64)) -> f64| lengths.iter().map(|length| of(length.parts())).sum();
    (sum(|(share, input, _)| share * input), sum(|(share, _, output)| share * output))
}

/// Where a request's calls of the option come from.
fn calls_from(
    workflow: &Workflow,
    expected: &Expected,
    measurement: &Measurement,
    lengths_measured: bool,
) -> Provenance {
    let stages = workflow.stages().iter().enumerate().zip(&expected.stages);
    let inputs = stages.filter(|((_, stage), _)| stage.option).flat_map(|((index, stage), row)| {
        let path = format!("stage.{}", stage.id);
        let mut inputs = vec![
            input(
                &format!("calls of {}", stage.id),
                format!("{:.6}", row.calls),
                visits_from(workflow, expected, index),
            ),
            input(
                &format!("prompt and answer tokens of a call of {}", stage.id),
                format!(
                    "{:.1} + {:.1}",
                    stage.input_tokens * stage.token_share,
                    stage.output_tokens * stage.token_share
                ),
                if stage.of_segments && lengths_measured {
                    let path = "levels.expected.segments, input_tokens and output_tokens".to_owned();
                    Provenance::Measured { run_id: measurement.run_id.clone(), path }
                } else if stage.of_segments {
                    typed_at("segment", Some("the stage gives no tokens of its own".to_owned()))
                } else {
                    typed_at(&format!("{path}.input_tokens, output_tokens"), None)
                },
            ),
        ];
        if row.retries > 0.0 {
            inputs.push(input(
                &format!("retries of {}, infrastructure + product", stage.id),
                format!(
                    "{:.6} + {:.6}",
                    row.infrastructure_retries,
                    row.retries - row.infrastructure_retries
                ),
                Provenance::Computed {
                    formula:
                        "calls x (q + ... + q^most), q the share of attempts that fail and are tried again"
                            .to_owned(),
                    inputs: vec![
                        input("infrastructure", "share of attempts", stage.failures_from(true)),
                        input("product", "share of attempts", stage.failures_from(false)),
                        input("most", stage.attempts.most, typed_at(&format!("{path}.retries.most"), None)),
                    ],
                },
            ));
        }
        inputs
    });
    Provenance::Computed {
        formula: "expected calls of the stages that ask the option's model, a request".to_owned(),
        inputs: inputs.collect(),
    }
}

/// Where the visits of a stage come from.
pub(crate) fn visits_from(workflow: &Workflow, expected: &Expected, index: usize) -> Provenance {
    let rows = workflow.stages().iter().zip(&expected.stages);
    let leading = rows.filter_map(|(stage, row)| {
        let share: f64 = stage
            .exits
            .iter()
            .filter(|(target, _)| *target == super::graph::Target::Stage(index))
            .map(|(_, p)| p)
            .sum();
        (share > 0.0).then(|| {
            let value = format!("{share:.6} of {:.6} visits", row.visits);
            input(
                &format!("from {}", stage.id),
                value,
                typed_at(&format!("stage.{}.branches", stage.id), None),
            )
        })
    });
    Provenance::Computed {
        formula: "expected visits of the workflow, an absorbing Markov chain: (I - Q')^-1 (docs/METHOD.md)"
            .to_owned(),
        inputs: leading.collect(),
    }
}
