//! The time of a request along its paths, from seeded journeys: until its end or the first person.

use breakeven_measurement::{LevelName, Measurement, Quantile};

use super::{Workflow, journeys::simulate};
use crate::{
    cost::{input, typed_at},
    plan::{Provenance, workflow_plan::JourneyLatency},
    product::stage::Quantiles,
};

/// Journeys of a plan: the 99 % quantile rests on the 200 slowest.
const JOURNEYS: u64 = 20_000;
const SEED: u64 = 1;

/// E2E latency of a measured request at the expected load, retries of the benchmark included; `None` where a rank falls among failures.
pub(crate) fn measured(measurement: &Measurement) -> Option<Quantiles> {
    let e2e = &measurement.level(LevelName::Expected)?.overall.e2e;
    let at = |q: f64| e2e.quantile(q).and_then(Quantile::finite).map(|time| time.as_secs_f64());
    Quantiles::new(at(0.5)?, at(0.9)?, Some(at(0.99)?))
}

/// The latency of a workflow; `None` where a stage that is no person's does not say how long it takes.
pub(crate) fn of(workflow: &Workflow, run_id: &str) -> Option<JourneyLatency> {
    let journeys = simulate(workflow, JOURNEYS, SEED);
    let seconds = journeys.seconds.as_ref()?;
    let at = |q: f64| journeys.latency_seconds(q);
    let inputs = workflow.stages().iter().filter(|stage| !stage.escalation).map(|stage| {
        let value = stage.latency.map_or_else(String::new, |latency| {
            format!("median {:.3} s, p90 {:.3} s", latency.at_deviate(0.0), latency.at_deviate(Z90))
        });
        let from = if stage.latency_measured {
            Provenance::Measured { run_id: run_id.to_owned(), path: "levels.expected.e2e".to_owned() }
        } else {
            typed_at(&format!("stage.{}.latency", stage.id), None)
        };
        input(&format!("a call of {}", stage.id), value, from)
    });
    Some(JourneyLatency {
        journeys: JOURNEYS,
        seed: SEED,
        mean_seconds: seconds.iter().sum::<f64>() / seconds.len() as f64,
        p50_seconds: at(0.5)?,
        p90_seconds: at(0.9)?,
        p95_seconds: at(0.95)?,
        p99_seconds: at(0.99)?,
        from: Provenance::Computed {
            formula: "journeys through the stages one by one, calls independent of each other, with waits before retries".to_owned(),
            inputs: inputs.collect(),
        },
    })
}

/// Standard normal deviate of 90 %.
const Z90: f64 = 1.281_551_565_544_6;
