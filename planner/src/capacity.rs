//! What one replica carries, and how many the week needs.

use breakeven_measurement::{CapacityEstimate, LevelName, Measurement, RequestRate, Verdict, run::Status};

use crate::{
    imported,
    plan::{Basis, ReplicaCapacity},
    purchase::{
        PurchaseError,
        fleet_hours::{FleetPolicy, fleet_hours},
    },
    traffic::Week,
};

/// Why no plan can be made from a measurement.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A level that the plan rests on is invalid.
    #[error(
        "the {level} level of run {run_id} is invalid: {findings}; measure again, or plan with --allow-invalid and have \
         the report say so"
    )]
    InvalidLevel {
        /// Which.
        level: LevelName,
        /// In which run.
        run_id: String,
        /// Why.
        findings: String,
    },
    /// The run stopped early.
    #[error(
        "run {run_id} is incomplete: {reason}; measure again, or plan with --allow-invalid and have the report say so"
    )]
    Incomplete {
        /// Which run.
        run_id: String,
        /// Why it stopped.
        reason: String,
    },
    /// A split of the bill that names what the product has not.
    #[error("{0}")]
    Allocation(String),
    /// A stage of the workflow that cannot be priced.
    #[error("{0}")]
    Stage(String),
    /// Waits that make every request be asked again.
    #[error("{0}")]
    Latency(String),
    /// A number left the range of its type.
    #[error("{what} is out of range: {value}; check the traffic and prices in the product file")]
    OutOfRange {
        /// What.
        what: &'static str,
        /// Its value.
        value: f64,
    },
}

/// Refuses a measurement that the plan may not rest on; with `allow`, returns the refusals as warnings.
pub fn check(measurement: &Measurement, allow: bool) -> Result<Vec<String>, PlanError> {
    let mut refusals = Vec::new();
    if let Status::Incomplete { reason } = &measurement.status {
        let (run_id, reason) = (measurement.run_id.clone(), reason.clone());
        refusals.push(PlanError::Incomplete { run_id, reason });
    }
    let mut warnings = measurement.imported.as_ref().map(imported::warnings).unwrap_or_default();
    for level in &measurement.levels {
        let validity = &level.validity;
        let findings: Vec<String> = validity.findings.iter().map(ToString::to_string).collect();
        let findings = findings.join("; ");
        match (validity.verdict, level.name) {
            (Verdict::Valid, _) => {}
            (Verdict::Invalid, LevelName::Baseline | LevelName::Expected) => {
                let run_id = measurement.run_id.clone();
                refusals.push(PlanError::InvalidLevel { level: level.name, run_id, findings });
            }
            // Stress is there to be broken; the capacity does not rest on it.
            (verdict, name) => {
                warnings.push(format!(
                    "the {name} level is {verdict}: {} findings beside it",
                    validity.findings.len()
                ));
            }
        }
    }
    match refusals.into_iter().next() {
        Some(refusal) if !allow => Err(refusal),
        Some(refusal) => {
            warnings.insert(0, format!("planned against advice: {refusal}"));
            Ok(warnings)
        }
        None => Ok(warnings),
    }
}

/// The rate one replica carries under the SLO: the search's estimate, or where rates were given, the highest level that
/// met the SLO. `None` where nothing met it.
pub fn replica_capacity(measurement: &Measurement) -> Option<ReplicaCapacity> {
    if let Some(imported) = &measurement.imported {
        return imported::capacity(imported, &measurement.slo);
    }
    if let Some(search) = &measurement.search {
        let CapacityEstimate { rate, low, high } = search.capacity.clone()?;
        return Some(ReplicaCapacity { rate, low, high, basis: Basis::Measured });
    }
    let met = |level: &&breakeven_measurement::LevelResult| {
        level.overall.goodput().is_some_and(|goodput| goodput >= measurement.slo.attainment)
    };
    let rate = measurement
        .levels
        .iter()
        .filter(met)
        .map(|level| level.target_rate)
        .max_by(|a, b| a.per_second().total_cmp(&b.per_second()))?;
    Some(ReplicaCapacity { rate, low: Some(rate), high: None, basis: Basis::Measured })
}

/// Replicas for each hour of the week: the smallest number that carries the hour's readiness, plus those that may be
/// lost, a zone, and a rolling upgrade's (DESIGN §4).
///
/// # Errors
/// Where a number of the policy is out of its range.
pub fn replicas_by_hour(
    week: &Week,
    mean: RequestRate,
    capacity: RequestRate,
    policy: &FleetPolicy,
) -> Result<Vec<u32>, PurchaseError> {
    let ready: Vec<f64> = week.ready.iter().map(|factor| mean.per_second() * factor).collect();
    fleet_hours(&ready, capacity.per_second(), policy)
}

/// The quotient rounded up. A hair above a whole number is rounding error, not a replica.
pub fn replicas_for(rate: f64, capacity: f64) -> u32 {
    let quotient = (rate / capacity - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a u32 above")]
    let whole = quotient as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotient_is_rounded_up_but_not_by_rounding_error() {
        assert_eq!(replicas_for(0.3, 0.1), 3, "0.3 / 0.1 is 2.9999999999999996");
        assert_eq!(replicas_for(0.7, 0.1), 7, "0.7 / 0.1 is 6.999999999999999");
        assert_eq!(replicas_for(3.0 * 1.1, 1.1), 3, "3.3000000000000003 / 1.1");
        assert_eq!(replicas_for(3.01, 1.0), 4);
        assert_eq!(replicas_for(f64::INFINITY, 1.0), u32::MAX);
    }
}
