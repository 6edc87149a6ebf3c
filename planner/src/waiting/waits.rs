//! Waits for the first token as a distribution, and the mean of a share over them.

use breakeven_measurement::{LatencySeries, LevelName, Measurement, Quantile};

use crate::{
    cost::typed_at,
    plan::Provenance,
    product::latency::{ShareByWait, TypedWaits},
};

/// Quantiles that stand for a distribution of waits.
const QUANTILES: u32 = 200;
/// The level that is nearest to how a fleet sized for its SLO runs.
const LEVEL: LevelName = LevelName::Expected;

/// A distribution of waits, and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Waits<'a> {
    of: Of<'a>,
    pub(crate) from: Provenance,
}

#[derive(Debug, Clone, Copy)]
enum Of<'a> {
    Measured(&'a LatencySeries),
    Typed(TypedWaits),
}

impl<'a> Waits<'a> {
    /// Of our own replicas: the TTFT measured at the expected level; `None` where there is none.
    pub(crate) fn measured(measurement: &'a Measurement) -> Option<Self> {
        let series = &measurement.level(LEVEL)?.overall.ttft;
        let from = Provenance::Measured {
            run_id: measurement.run_id.clone(),
            path: format!("levels.{LEVEL}.overall.ttft"),
        };
        (!series.is_empty()).then_some(Self { of: Of::Measured(series), from })
    }

    /// Of an API, as the product file types it.
    pub(crate) fn typed(waits: TypedWaits, path: &str) -> Self {
        Self { of: Of::Typed(waits), from: typed_at(path, None) }
    }

    /// Mean of a share over all waits.
    pub(crate) fn mean(&self, curve: &ShareByWait) -> f64 {
        match self.of {
            Of::Measured(series) => mean_share(curve, series),
            Of::Typed(waits) => mean_over(curve, |q| Some(waits.quantile(q))),
        }
    }

    /// The distribution in a line, for a reader.
    pub(crate) fn describe(&self) -> String {
        match self.of {
            Of::Measured(series) => {
                let at =
                    |q: f64| seconds(series, q).map_or_else(|| "none".to_owned(), |s| format!("{s:.3} s"));
                format!(
                    "{} requests at {:.0} % of the capacity: median {}, p95 {}",
                    series.len(),
                    LEVEL.share_of_capacity() * 100.0,
                    at(0.5),
                    at(0.95)
                )
            }
            Of::Typed(waits) => {
                format!("log-normal: median {:.3} s, p95 {:.3} s", waits.median(), waits.p95())
            }
        }
    }
}

/// Mean of a share over a series of waits; an answer that never came is waited for as long as the curve goes.
pub(crate) fn mean_share(curve: &ShareByWait, waits: &LatencySeries) -> f64 {
    mean_over(curve, |q| seconds(waits, q))
}

fn seconds(waits: &LatencySeries, q: f64) -> Option<f64> {
    waits.quantile(q).and_then(Quantile::finite).map(|wait| wait.as_secs_f64())
}

fn mean_over(curve: &ShareByWait, wait: impl Fn(f64) -> Option<f64>) -> f64 {
    let at = |index: u32| curve.share(wait((f64::from(index) + 0.5) / f64::from(QUANTILES)));
    (0..QUANTILES).map(at).sum::<f64>() / f64::from(QUANTILES)
}
