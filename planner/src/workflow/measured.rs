//! What was measured of the calls of the option's model, in the place of what its stages type: how many attempts fail and what they
//! spend, and how many tokens a call has. For our own replicas: nothing was measured of an API.
//!
//! Counts are those of the expected level. A retry policy is a decision and stays as typed.

use breakeven_measurement::{
    Fraction, LevelName, LoadResult, Measurement, Segment, Verdict,
    level::{FailureCause, TokenSource},
    run::Target,
};

use crate::{
    cost::input,
    plan::{Input, Provenance},
    product::{
        Product,
        stage::{StageRetries, StageTable},
    },
};

/// Requests from which counts stand in for typed shares: as many as a p90 needs.
pub(crate) const ENOUGH: u64 = 64;
/// Typed and measured shares this close are not worth a note.
const SAME: f64 = 1e-9;

/// Attempts of some requests and how many of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    attempts: u64,
    infrastructure: u64,
    product: u64,
}

impl Counts {
    /// An attempt that failed was tried again or was its request's last. What the end of the run cut off neither failed nor held; a
    /// fallback's attempt was not the target's, though where it failed too its cause cannot be told apart.
    fn of(load: &LoadResult) -> Self {
        let failed = |infrastructure: bool| -> u64 {
            let attempts = load.failures.iter().chain(&load.retries);
            let counted = attempts.filter(|(cause, _)| **cause != FailureCause::Interrupted);
            counted
                .filter(|(cause, _)| cause.is_infrastructure() == infrastructure)
                .map(|(_, count)| count)
                .sum()
        };
        let cut_off = load.failures.get(&FailureCause::Interrupted).copied().unwrap_or(0);
        let tried = load.scheduled + load.retries.values().sum::<u64>();
        let attempts = tried.saturating_sub(cut_off + load.fallbacks);
        Self { attempts, infrastructure: failed(true), product: failed(false) }
    }

    fn share(self, count: u64) -> f64 {
        if self.attempts > 0 { (count as f64 / self.attempts as f64).min(1.0) } else { 0.0 }
    }
}

/// The measured calls of a product's own model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MeasuredCalls {
    run_id: String,
    overall: Counts,
    /// By segment, where the level has them.
    segments: Vec<(String, Counts)>,
    /// Which of the two shares stand in for typed ones.
    infrastructure: bool,
    product: bool,
    /// Share of a whole attempt's tokens that a failed one spends, where any failed.
    token_share: Option<f64>,
}

impl MeasuredCalls {
    /// Of a product with stages; `None` where nothing that was counted says more than what is typed.
    ///
    /// A count of no failures says something where the target can fail that way: infrastructure where it was a server on a network
    /// (the in-process engine has none), answers where a segment says what makes one a success.
    pub(crate) fn of(product: &Product, measurement: &Measurement) -> Option<Self> {
        let level = measurement.level(LevelName::Expected)?;
        let load = &level.overall;
        if product.stages.is_empty() || load.scheduled < ENOUGH || level.validity.verdict == Verdict::Invalid
        {
            return None;
        }
        let overall = Counts::of(load);
        let served = matches!(measurement.target, Target::Endpoint { .. });
        let judged = product.segments.iter().any(|segment| segment.success.is_some());
        let (infrastructure, answers) = (served || overall.infrastructure > 0, judged || overall.product > 0);
        (infrastructure || answers).then(|| Self {
            run_id: measurement.run_id.clone(),
            overall,
            segments: level.segments.iter().map(|s| (s.name.clone(), Counts::of(&s.load))).collect(),
            infrastructure,
            product: answers,
            token_share: token_share(load),
        })
    }

    /// The stages with the measured shares in the place of the typed ones: infrastructure of every call of the option's model, answers of
    /// those calls that are as long as the product's segments, which is what was asked.
    pub(crate) fn stages(&self, tables: &[StageTable]) -> Vec<StageTable> {
        let mut tables = tables.to_vec();
        for table in tables.iter_mut().filter(|table| table.is_option()) {
            let (times_infrastructure, times_product) = table.failing_over.unwrap_or((1.0, 1.0));
            let share = |value: f64| Fraction::new(value.min(1.0)).unwrap_or(Fraction::ONE);
            let mut retries = table.retries.unwrap_or(StageRetries::never());
            let spent = self.token_share.and_then(|spent| Fraction::new(spent).ok());
            if self.infrastructure {
                retries.infrastructure =
                    share(self.overall.share(self.overall.infrastructure) * times_infrastructure);
                retries.infrastructure_token_share = spent.unwrap_or(retries.infrastructure_token_share);
            }
            if self.product && is_of_segments(table) {
                let rest = 1.0 - retries.infrastructure.get();
                retries.product = share((self.overall.share(self.overall.product) * times_product).min(rest));
                retries.product_token_share = spent.unwrap_or(retries.product_token_share);
            }
            table.retries = Some(retries);
        }
        tables
    }

    /// Whether a figure of a stage is the measured one.
    pub(crate) fn replaces(&self, table: &StageTable, infrastructure: bool) -> bool {
        let kind = if infrastructure { self.infrastructure } else { self.product && is_of_segments(table) };
        table.is_option() && kind
    }

    /// Where a share comes from.
    pub(crate) fn from(&self, infrastructure: bool) -> Provenance {
        let of = |counts: Counts| if infrastructure { counts.infrastructure } else { counts.product };
        let measured =
            |path: &str| Provenance::Measured { run_id: self.run_id.clone(), path: path.to_owned() };
        let row = |name: &str, counts: Counts, path: &str| -> Input {
            input(name, format!("{} of {} attempts", of(counts), counts.attempts), measured(path))
        };
        let mut inputs = vec![row("all segments", self.overall, "levels.expected.overall.failures, retries")];
        inputs.extend(self.segments.iter().enumerate().map(|(index, (name, counts))| {
            row(name, *counts, &format!("levels.expected.segments[{index}].load.failures, retries"))
        }));
        let what = if infrastructure { "infrastructure" } else { "answer" };
        Provenance::Computed {
            formula: format!(
                "failed attempts ({what}) / attempts of the expected level, in the place of what the file types"
            ),
            inputs,
        }
    }

    /// What differs from what is typed.
    pub(crate) fn notes(&self, tables: &[StageTable]) -> Vec<String> {
        let mut notes = Vec::new();
        for table in tables.iter().filter(|table| table.is_option()) {
            let typed = table.retries.unwrap_or(StageRetries::never());
            for (infrastructure, what, typed, count) in [
                (true, "infrastructure", typed.infrastructure, self.overall.infrastructure),
                (false, "answers", typed.product, self.overall.product),
            ] {
                let measured = self.overall.share(count);
                if self.replaces(table, infrastructure) && (measured - typed.get()).abs() > SAME {
                    notes.push(format!(
                        "stage `{}`: {count} of {} attempts failed as measured ({what}, run {}), typed {typed}: our own replicas are planned \
                         with the measured share",
                        table.id, self.overall.attempts, self.run_id
                    ));
                }
            }
        }
        notes
    }
}

/// Whether its calls are as long as the product's segments.
fn is_of_segments(table: &StageTable) -> bool {
    table.input_tokens.is_none() && table.output_tokens.is_none()
}

/// Attempts that failed: tried again, or the last of their requests.
fn failed_attempts(load: &LoadResult) -> u64 {
    load.failed() + load.retries.values().sum::<u64>()
}

/// Tokens of a failed attempt over those of a completed one, 1 at most.
fn token_share(load: &LoadResult) -> Option<f64> {
    let failed = failed_attempts(load);
    if failed == 0 || load.completed == 0 {
        return None;
    }
    let whole = (load.input_tokens.0 + load.output_tokens.0) as f64 / load.completed as f64;
    (whole > 0.0).then(|| (load.failed_tokens.0 as f64 / failed as f64 / whole).clamp(0.0, 1.0))
}

/// Mean prompt and answer tokens of the calls of each segment as measured, in the workload's order; `None` where fewer than 64 completed,
/// where answers were counted by their chunks, where the file's segment is not the one that was measured, and where its lengths are typed
/// as distributions, which are meant to be drawn.
pub(crate) fn lengths(product: &Product, measurement: &Measurement) -> Vec<Option<(f64, f64)>> {
    // A lever may have added segments, which nobody measured.
    let file = product.measured_workload();
    let of = |name: &str| {
        let (index, segment) = file.segments.iter().enumerate().find(|(_, segment)| segment.name == name)?;
        let alike = |other: &&Segment| {
            other.name == name
                && (other.input_tokens, other.output_tokens) == (segment.input_tokens, segment.output_tokens)
                && other.session == segment.session
        };
        measurement.workload.segments.iter().find(alike)?;
        let drawn = ["input_tokens", "output_tokens"]
            .iter()
            .any(|key| product.uncertain.holds(&format!("segment[{index}].{key}")));
        let level = measurement.level(LevelName::Expected).filter(|_| !drawn)?;
        let load = &level.segments.iter().find(|segment| segment.name == name)?.load;
        let counted = !load.token_sources.contains_key(&TokenSource::Chunks);
        let mean = |tokens: breakeven_models::Tokens| tokens.0 as f64 / load.completed as f64;
        (counted && load.completed >= ENOUGH && level.validity.verdict != Verdict::Invalid)
            .then(|| (mean(load.input_tokens), mean(load.output_tokens)))
    };
    product.workload().segments.iter().map(|segment| of(&segment.name)).collect()
}

/// Whether the lengths of some segment are measured.
pub(crate) fn some_lengths(product: &Product, measurement: &Measurement) -> bool {
    lengths(product, measurement).iter().any(Option::is_some)
}

/// A difference of tokens this small is not worth a note.
const SAME_LENGTH: f64 = 0.05;

/// Segments whose calls were measured to be of other lengths than are typed.
pub(crate) fn length_notes(product: &Product, measurement: &Measurement) -> Vec<String> {
    let workload = product.workload();
    let planned = if product.stages.is_empty() { "APIs are priced" } else { "the stages are planned" };
    let rows = workload.segments.iter().zip(lengths(product, measurement));
    rows.filter_map(|(segment, measured)| {
        let (input, output) = measured?;
        let typed = (segment.mean_input_tokens(), segment.output_tokens.mean());
        let differs = |measured: f64, typed: f64| (measured / typed - 1.0).abs() > SAME_LENGTH;
        (differs(input, typed.0) || differs(output, typed.1)).then(|| {
            format!(
                "segment `{}`: {input:.0} prompt and {output:.0} answer tokens a call as measured (run {}), typed {:.0} and {:.0}: \
                 {planned} with the measured ones",
                segment.name, measurement.run_id, typed.0, typed.1
            )
        })
    })
    .collect()
}
