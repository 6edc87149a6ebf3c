//! Retries a request as they were measured, in the place of `success.retries_per_request`: for our own replicas in a plan without
//! stages. Nothing was measured of an API, whose requests keep what the file types.
//!
//! A replica's capacity was measured in requests together with the retries that they made. So what is planned with measured retries asks
//! for a request of capacity, not for one and its retries: they are a share of the bill, not more of it.

use breakeven_measurement::{FailureCause, LevelName, LoadResult, Measurement, Verdict};

use crate::{
    cost::{input, typed_at},
    plan::{Input, Provenance},
    product::Product,
    workflow::measured::ENOUGH,
};

/// The key that is replaced.
pub(crate) const PATH: &str = "success.retries_per_request";
/// Typed and measured figures this close are not worth a note.
const SAME: f64 = 1e-9;

/// Extra attempts of some requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    requests: u64,
    retries: u64,
}

impl Counts {
    /// What the end of the run cut off is no request that was seen to its end, and a fallback's attempt was not the target's.
    fn of(load: &LoadResult) -> Self {
        let cut_off = load.failures.get(&FailureCause::Interrupted).copied().unwrap_or(0);
        let all: u64 = load.retries.values().sum();
        Self { requests: load.scheduled.saturating_sub(cut_off), retries: all.saturating_sub(load.fallbacks) }
    }

    fn per_request(self) -> f64 {
        if self.requests > 0 { self.retries as f64 / self.requests as f64 } else { 0.0 }
    }
}

/// Retries a request that were measured on our own replicas.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MeasuredRetries {
    run_id: String,
    overall: Counts,
    /// By segment, where the level has them.
    segments: Vec<(String, Counts)>,
    /// What a lever makes of them, as it changes the typed figure.
    times: f64,
    /// Those that a scenario or stress adds.
    more: f64,
}

impl MeasuredRetries {
    /// Of the expected level, where 64 requests or more made a retry at all: no retries say nothing, since a measurement does not hold the
    /// policy that it was made with. A figure typed as a distribution is meant to be drawn and stays.
    pub(crate) fn of(product: &Product, measurement: &Measurement) -> Option<Self> {
        let level = measurement.level(LevelName::Expected)?;
        let overall = Counts::of(&level.overall);
        if !product.stages.is_empty()
            || product.uncertain.holds(PATH)
            || overall.requests < ENOUGH
            || overall.retries == 0
            || level.validity.verdict == Verdict::Invalid
        {
            return None;
        }
        Some(Self {
            run_id: measurement.run_id.clone(),
            overall,
            segments: level.segments.iter().map(|s| (s.name.clone(), Counts::of(&s.load))).collect(),
            times: product.retrying_over.unwrap_or(1.0),
            more: 0.0,
        })
    }

    /// Extra attempts a request.
    pub(crate) fn per_request(&self) -> f64 {
        self.overall.per_request() * self.times + self.more
    }

    /// Attempts of a request that the measured capacity carries with it.
    pub(crate) fn in_capacity(&self) -> f64 {
        1.0 + self.overall.per_request()
    }

    /// The same with what a scenario or stress adds.
    pub(crate) fn and(mut self, more: f64) -> Self {
        self.more += more;
        self
    }

    /// The figure as an input of others, with where it comes from.
    pub(crate) fn input(&self) -> Input {
        let row = |name: &str, counts: Counts, path: String| {
            let value = format!("{} of {} requests", counts.retries, counts.requests);
            input(name, value, Provenance::Measured { run_id: self.run_id.clone(), path })
        };
        let mut inputs =
            vec![row("all segments", self.overall, "levels.expected.overall.retries".to_owned())];
        inputs.extend(self.segments.iter().enumerate().map(|(index, (name, counts))| {
            row(name, *counts, format!("levels.expected.segments[{index}].load.retries"))
        }));
        let mut formula =
            "retries / requests of the expected level, in the place of what the file types".to_owned();
        if (self.times - 1.0).abs() > 0.0 {
            formula.push_str(", times what a lever makes of the typed figure");
            inputs.push(input("lever, times", format!("{:.6}", self.times), typed_at(PATH, None)));
        }
        if self.more > 0.0 {
            formula.push_str(", and what the scenario or stress adds");
            inputs.push(input("added", self.more, typed_at("scenario, stress", None)));
        }
        let value = format!("{:.6}", self.per_request());
        input("retries a request", value, Provenance::Computed { formula, inputs })
    }
}

/// Attempts that a request of a measured load made, its retries included.
pub(crate) fn attempts_per_request(load: &LoadResult) -> f64 {
    1.0 + Counts::of(load).per_request()
}

/// Extra attempts a request of our own replicas: as measured where a plan takes them so, else as typed.
pub fn own_retries(product: &Product, measurement: &Measurement) -> f64 {
    let typed = product.success.retries_per_request.get();
    MeasuredRetries::of(product, measurement).map_or(typed, |found| found.per_request())
}

/// What is measured and what is typed of a plan without stages, where a reader would take one for the other.
pub(crate) fn warnings(product: &Product, measurement: &Measurement) -> Vec<String> {
    let mut all = Vec::new();
    if !product.stages.is_empty() {
        return all;
    }
    let typed = product.success.retries_per_request.get();
    match MeasuredRetries::of(product, measurement) {
        Some(found) if (found.per_request() - typed).abs() > SAME => all.push(format!(
            "{PATH}: {} retries of {} requests as measured (run {}), {:.4} a request, typed {typed}: our own replicas are planned with \
             the measured ones, APIs with the typed ones",
            found.overall.retries,
            found.overall.requests,
            found.run_id,
            found.per_request(),
        )),
        None if typed > 0.0 && product.bench.retries.is_some() && !product.uncertain.holds(PATH) => all.push(format!(
            "{PATH} is planned as typed, {typed}: run {} counted no retries at the expected level, or too few requests to say",
            measurement.run_id
        )),
        _ => {}
    }
    if let Some(level) = measurement.level(LevelName::Expected) {
        let load = &level.overall;
        let counts = Counts::of(load);
        if load.fallbacks > 0 {
            all.push(format!(
                "{} of {} requests were answered by the fallback (run {}): what its model asks for them is on no line; add a [[cost]] on the \
                 line fallbacks",
                load.fallbacks, counts.requests, measurement.run_id
            ));
        }
        let cut_off = load.failures.get(&FailureCause::Interrupted).copied().unwrap_or(0);
        let failed = load.failed() - cut_off;
        let held = if counts.requests > 0 { 1.0 - failed as f64 / counts.requests as f64 } else { 1.0 };
        let success = product.own_success();
        if counts.requests >= ENOUGH && held + SAME < success.get() {
            all.push(format!(
                "{failed} of {} requests failed for good as measured (run {}): a success share of {success} is more than the {:.1} % that came \
                 to an end; lower success.probability, or fleet.success_probability for our own replicas alone",
                counts.requests,
                measurement.run_id,
                held * 100.0
            ));
        }
    }
    all
}
