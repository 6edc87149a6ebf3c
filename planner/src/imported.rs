//! The capacity under the SLO from another harness's percentiles.
//!
//! No request is seen, only percentiles of each metric by itself: a load meets the SLO where each metric's percentile at the SLO's share
//! (or the next stricter one that is reported) is within its target. All metrics together may be met by fewer requests than each
//! alone, so that this is an upper bound, and said to be.

use breakeven_measurement::{
    RequestRate, Slo,
    import::{Imported, ImportedPoint, Latencies},
};

use crate::{
    curve::Curve,
    plan::{Basis, ReplicaCapacity},
};

/// A metric with its target in seconds.
type Target = (fn(&ImportedPoint) -> &Latencies, f64);

fn targets(slo: &Slo) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let mut add = |of: fn(&ImportedPoint) -> &Latencies, limit: Option<std::time::Duration>| {
        targets.extend(limit.map(|limit| (of, limit.as_secs_f64())));
    };
    add(|p| &p.ttft, slo.ttft);
    add(|p| &p.tpot, slo.tpot);
    add(|p| &p.e2e, slo.e2e);
    targets
}

/// The rate of a load: what was offered, or where a number was kept in flight, what was completed.
fn rate(point: &ImportedPoint) -> Option<f64> {
    point.offered_per_second.or(point.achieved_per_second).filter(|rate| *rate > 0.0)
}

/// The highest rate under the SLO; between a load that meets it and one that does not, along each metric's curve. `None` where no load
/// meets it, or the percentiles that it asks for are not reported.
pub(crate) fn capacity(imported: &Imported, slo: &Slo) -> Option<ReplicaCapacity> {
    let (share, targets) = (slo.attainment.get(), targets(slo));
    let value = |point: &ImportedPoint, of: fn(&ImportedPoint) -> &Latencies| of(point).within(share);
    let mut loads: Vec<(f64, &ImportedPoint)> =
        imported.points.iter().filter_map(|point| Some((rate(point)?, point))).collect();
    loads.sort_by(|a, b| a.0.total_cmp(&b.0));
    let complete = |point: &ImportedPoint| {
        let lost = point.failed.unwrap_or(0.0);
        let all = lost + point.completed.unwrap_or(0.0);
        all <= 0.0 || lost / all <= 1.0 - share
    };
    let meets = |point: &ImportedPoint| {
        complete(point) && targets.iter().all(|(of, limit)| value(point, *of).is_some_and(|v| v <= *limit))
    };
    // A load above one that misses is not believed to meet it.
    let met = loads.iter().take_while(|(_, point)| meets(point)).count();
    let (lowest, _) = loads.get(met.checked_sub(1)?)?;
    let low = RequestRate::new(*lowest).ok()?;
    let Some((above, _)) = loads.get(met) else {
        return Some(ReplicaCapacity { rate: low, low: Some(low), high: None, basis: Basis::Measured });
    };
    let mut best = *above;
    for (of, limit) in &targets {
        let points: Vec<(f64, f64)> = loads
            .iter()
            .filter_map(|(rate, point)| Some((*rate, value(point, *of)?)))
            .filter(|p| p.1 > 0.0)
            .collect();
        let Ok(curve) = Curve::through(&points) else { continue };
        if curve.at(*above, None).value <= *limit {
            continue;
        }
        let (mut within, mut beyond) = (*lowest, *above);
        for _ in 0..60 {
            let middle = f64::midpoint(within, beyond);
            if curve.at(middle, None).value <= *limit {
                within = middle;
            } else {
                beyond = middle;
            }
        }
        best = best.min(within);
    }
    // Where what missed was not a curve (failures), the last load that met it stands.
    let rate = if best < *above { RequestRate::new(best).ok()? } else { low };
    Some(ReplicaCapacity {
        rate,
        low: Some(low),
        high: RequestRate::new(*above).ok(),
        basis: Basis::Interpolated,
    })
}

/// What a reader must know of an imported measurement.
pub(crate) fn warnings(imported: &Imported) -> Vec<String> {
    let definitions: Vec<String> =
        imported.definitions.iter().map(|(metric, text)| format!("{metric}: {text}")).collect();
    vec![format!(
        "imported from {}: capacity is read off percentiles of each metric by itself, an upper bound; {}",
        imported.tool.label(),
        definitions.join("; ")
    )]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use breakeven_measurement::{Fraction, import::import};

    use super::*;

    fn slo(attainment: f64) -> Slo {
        Slo {
            ttft: Some(Duration::from_secs(1)),
            tpot: None,
            e2e: None,
            attainment: Fraction::new(attainment).unwrap(),
        }
    }

    const CSV: &str =
        "offered_per_second,ttft_p50_seconds,ttft_p95_seconds\n1,0.1,0.25\n2,0.2,0.5\n4,0.5,1.0\n8,2,4\n";

    #[test]
    fn the_rate_where_the_curve_crosses_the_target() {
        let found = capacity(&import("a.csv", CSV).unwrap(), &slo(0.9)).unwrap();
        // p95 is 1.0 at 4 exactly: the load meets it, and just above it does not.
        assert!((found.rate.per_second() - 4.0).abs() < 1e-6, "{found:?}");
        assert_eq!(found.high.map(RequestRate::per_second), Some(8.0));
        assert_eq!(found.basis, Basis::Interpolated);
    }

    #[test]
    fn a_percentile_that_is_not_reported_is_not_made_up() {
        assert!(capacity(&import("a.csv", CSV).unwrap(), &slo(0.99)).is_none());
        let none = import("a.csv", "offered_per_second,completed\n1,10\n").unwrap();
        assert!(capacity(&none, &slo(0.9)).is_none());
    }

    #[test]
    fn a_lower_load_that_fails_ends_the_search() {
        let csv =
            "offered_per_second,ttft_p95_seconds,completed,failed\n1,0.2,100,0\n2,0.2,50,50\n4,0.2,100,0\n";
        let found = capacity(&import("a.csv", csv).unwrap(), &slo(0.9)).unwrap();
        assert!((found.rate.per_second() - 1.0).abs() < 1e-9, "{found:?}");
    }
}
