//! The cheapest mix of several hardware types: a mixed-integer program, the only place that knows the solver.
//!
//! Minimise Σ hours·always price·a(k) + Σ hours(h)·hourly price·x(k, h) + Σ hours(h)·overflow price·o(h), such that
//! Σ capacity(k)·(a(k) + x(k, h)) + o(h) ≥ demand(h); a and x whole, o not. Hours of equal demand are one hour of more weight.

use good_lp::{
    Expression, Solution, SolverModel, Variable, WithMipGap as _, constraint, default_solver, variable,
    variables,
};

use super::{PurchaseError, price, require};

/// A hardware type on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineType {
    /// Its name.
    pub name: String,
    /// Requests per second that one replica on it carries under the SLO.
    pub capacity_per_second: f64,
    /// Price of an hour paid whether used or not (reserved or owned); absent where not on offer.
    pub always_usd_per_hour: Option<f64>,
    /// Price of an hour used (on demand, or spot with its lost work); absent where not on offer.
    pub hourly_usd_per_hour: Option<f64>,
}

/// What to have of each type.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// Replicas paid always, by type.
    pub always: Vec<u32>,
    /// Replicas paid by the hour, for each hour, by type.
    pub hourly: Vec<Vec<u32>>,
    /// Requests per second sent to the API, for each hour.
    pub overflow_per_second: Vec<f64>,
    /// Cost of all hours.
    pub usd: f64,
}

/// The cheapest mix for `demand_per_second` of each hour. `overflow_usd_per_request` is the API's price. A mix that costs at most `gap`
/// more than the cheapest, as a share, is good enough; 0 for none: fleets of hundreds have very many mixes of nearly the same cost.
///
/// # Errors
/// Where nothing on offer serves the demand, a number is out of its range, or the solver fails.
pub fn cheapest_mix(
    demand_per_second: &[f64],
    types: &[MachineType],
    overflow_usd_per_request: Option<f64>,
    gap: f32,
) -> Result<Mix, PurchaseError> {
    check(demand_per_second, types, overflow_usd_per_request)?;
    let hours = demand_per_second.len() as f64;
    let mut levels: Vec<(f64, f64)> = Vec::new();
    let mut sorted = demand_per_second.to_vec();
    sorted.sort_by(f64::total_cmp);
    for same in sorted.chunk_by(|a, b| a.total_cmp(b).is_eq()) {
        levels.extend(same.first().map(|demand| (*demand, same.len() as f64)));
    }
    let mut problem = variables!();
    let mut cost = Expression::from(0.0);
    let always: Vec<Option<Variable>> = types
        .iter()
        .map(|machine| {
            machine.always_usd_per_hour.map(|usd| {
                let count = problem.add(variable().integer().min(0));
                cost += count * (usd * hours);
                count
            })
        })
        .collect();
    let mut at_level = Vec::new();
    for (demand, weight) in &levels {
        let hourly: Vec<Option<Variable>> = types
            .iter()
            .map(|machine| {
                machine.hourly_usd_per_hour.map(|usd| {
                    let count = problem.add(variable().integer().min(0));
                    cost += count * (usd * weight);
                    count
                })
            })
            .collect();
        let overflow = overflow_usd_per_request.map(|usd| {
            let rate = problem.add(variable().min(0));
            cost += rate * (usd * 3_600.0 * weight);
            rate
        });
        at_level.push((*demand, hourly, overflow));
    }
    let mut model = problem
        .minimise(cost.clone())
        .using(default_solver)
        .with_mip_gap(gap)
        .map_err(|error| PurchaseError::Solver(format!("{error:?}")))?;
    for (demand, hourly, overflow) in &at_level {
        let mut carried = Expression::from(0.0);
        for ((machine, a), x) in types.iter().zip(&always).zip(hourly) {
            for count in [a, x].into_iter().flatten() {
                carried += *count * machine.capacity_per_second;
            }
        }
        if let Some(rate) = overflow {
            carried += *rate;
        }
        model = model.with(constraint!(carried >= *demand));
    }
    let solution = model.solve().map_err(|error| match error {
        good_lp::ResolutionError::Infeasible => PurchaseError::NoOffer,
        other => PurchaseError::Solver(other.to_string()),
    })?;
    let whole = |variable: &Option<Variable>| {
        let value = variable.map_or(0.0, |v| solution.value(v)).round().clamp(0.0, f64::from(u32::MAX));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a u32")]
        let value = value as u32;
        value
    };
    let level_of = |demand: &f64| at_level.iter().find(|(level, ..)| level.total_cmp(demand).is_eq());
    let of_hours = || demand_per_second.iter().filter_map(level_of);
    Ok(Mix {
        always: always.iter().map(whole).collect(),
        hourly: of_hours().map(|(_, hourly, _)| hourly.iter().map(whole).collect()).collect(),
        overflow_per_second: of_hours()
            .map(|(.., o)| o.map_or(0.0, |o| solution.value(o).max(0.0)))
            .collect(),
        usd: solution.eval(&cost),
    })
}

fn check(demand: &[f64], types: &[MachineType], overflow: Option<f64>) -> Result<(), PurchaseError> {
    for rate in demand {
        require(rate.is_finite() && *rate >= 0.0, "an hour's demand", "0 or more", *rate)?;
    }
    for machine in types {
        let capacity = machine.capacity_per_second;
        require(capacity.is_finite() && capacity > 0.0, "the capacity of a replica", "above 0", capacity)?;
        for usd in [machine.always_usd_per_hour, machine.hourly_usd_per_hour].into_iter().flatten() {
            price("a machine's price", usd)?;
        }
    }
    overflow.map_or(Ok(()), |usd| price("the overflow price", usd))
}
