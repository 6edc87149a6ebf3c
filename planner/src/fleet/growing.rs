//! The months ahead: fleet and purchase as traffic grows, with commitments that are paid to their end.

use breakeven_hardware::Usd;

use super::offers::{Offers, Overflow};
use crate::{
    plan::fleet_plan::FleetMonth,
    purchase::{
        PurchaseError,
        fleet_hours::{FleetPolicy, fleet_hours},
        horizon::{Commitment, cheapest_way},
        one_type::{Prices, cheapest},
    },
    traffic::{HOURS, HOURS_PER_MONTH, Week},
};

/// Most replicas that are decided one by one over the months.
const MOST_REPLICAS: u32 = 20_000;

/// What the months are computed from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Horizon<'a> {
    pub(crate) week: &'a Week,
    /// Attempts per second of the present month, mean.
    pub(crate) mean: f64,
    pub(crate) capacity: f64,
    pub(crate) policy: &'a FleetPolicy,
    pub(crate) requests_per_month: f64,
    /// Each month's traffic over the present one.
    pub(crate) factors: &'a [f64],
}

/// Each month, with its share of the cheapest purchase; the cost is absent where nothing on offer serves an hour.
pub(crate) fn months(
    horizon: &Horizon<'_>,
    offers: &Offers,
    overflow: Option<&Overflow>,
) -> Result<Vec<FleetMonth>, PurchaseError> {
    let per_month = HOURS_PER_MONTH / HOURS as f64;
    let mut months = Vec::new();
    let mut demands = Vec::new();
    for (index, factor) in horizon.factors.iter().enumerate() {
        let rate = |shape: &[f64]| -> Vec<f64> { shape.iter().map(|v| v * horizon.mean * factor).collect() };
        let needed = fleet_hours(&rate(&horizon.week.ready), horizon.capacity, horizon.policy)?;
        let load: Vec<f64> = rate(&horizon.week.mean)
            .into_iter()
            .zip(&needed)
            .map(|(rate, n)| (rate / horizon.capacity).min(f64::from(*n)))
            .collect();
        let total: f64 = needed.iter().map(|n| f64::from(*n)).sum();
        months.push(FleetMonth {
            month: u32::try_from(index + 1).unwrap_or(u32::MAX),
            requests: horizon.requests_per_month * factor,
            peak_replicas: needed.iter().copied().max().unwrap_or(0),
            replica_hours: total * per_month,
            usd: None,
        });
        demands.push((needed, load));
    }
    let peak = months.iter().map(|m| m.peak_replicas).max().unwrap_or(0);
    let all = offers.prices(overflow.map(|o| o.usd_per_attempt * horizon.capacity * 3_600.0));
    let hourly = Prices { reserved_usd_per_hour: None, owned_usd_per_hour: None, ..all };
    let commitments: Vec<Commitment> = offers
        .list
        .iter()
        .filter(|o| o.minimum_months > 0 || o.kind == crate::plan::fleet_plan::PurchaseKind::Owned)
        .map(|o| Commitment {
            usd_per_month: o.usd_per_hour.to_f64() * HOURS_PER_MONTH,
            // What is bought is kept to the end of the months looked at.
            term_months: match o.minimum_months {
                0 => u32::try_from(horizon.factors.len()).unwrap_or(1).max(1),
                months => months,
            },
        })
        .collect();
    let mut cost = vec![0.0; months.len()];
    for unit in 0..peak.min(MOST_REPLICAS) {
        let by_hour: Vec<f64> = demands
            .iter()
            .map(|(needed, load)| {
                let one: Vec<u32> = needed.iter().map(|n| u32::from(*n > unit)).collect();
                let of_unit = load.iter().zip(&one);
                let of_unit: Vec<f64> =
                    of_unit.map(|(l, n)| (l - f64::from(unit)).clamp(0.0, f64::from(*n))).collect();
                cheapest(&one, &of_unit, &hourly).map_or(f64::INFINITY, |b| b.usd * per_month)
            })
            .collect();
        let way = cheapest_way(&by_hour, &commitments);
        if !way.usd.is_finite() {
            return Ok(months);
        }
        for ((sum, how), hourly) in cost.iter_mut().zip(&way.months).zip(&by_hour) {
            *sum += how.and_then(|i| commitments.get(i)).map_or(*hourly, |c| c.usd_per_month);
        }
    }
    if peak <= MOST_REPLICAS {
        for (month, cost) in months.iter_mut().zip(cost) {
            month.usd = Usd::from_f64(cost);
        }
    }
    Ok(months)
}
