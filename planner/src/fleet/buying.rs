//! The load-duration curve and what to buy along it: exact for the one hardware type that was measured.

use std::collections::BTreeMap;

use breakeven_hardware::Usd;
use breakeven_measurement::Fraction;

use super::offers::{Offers, Overflow};
use crate::{
    plan::fleet_plan::{LoadDurationPoint, PurchaseKind, PurchaseLayer, PurchasePlan},
    purchase::{
        PurchaseError,
        one_type::{Prices, Purchase, cheapest},
    },
    traffic::{HOURS, HOURS_PER_MONTH},
};

/// Weeks of a month.
const WEEKS: f64 = HOURS_PER_MONTH / HOURS as f64;

/// Need and load of each hour, in replicas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand<'a> {
    pub(crate) needed: &'a [u32],
    /// Replicas' worth of requests, at most what is needed.
    pub(crate) load: &'a [f64],
    /// Attempts per second that one replica carries.
    pub(crate) capacity: f64,
    /// Attempts over requests.
    pub(crate) attempts_per_request: f64,
}

fn usd(value: f64) -> Usd {
    Usd::from_f64(value).unwrap_or(Usd::ZERO)
}

/// The u-th replica's own need and load.
fn unit(demand: &Demand<'_>, unit: u32) -> (Vec<u32>, Vec<f64>) {
    let hours = demand.needed.iter().zip(demand.load);
    hours
        .map(|(need, load)| {
            let needed = u32::from(*need > unit);
            (needed, (load - f64::from(unit)).clamp(0.0, f64::from(needed)))
        })
        .unzip()
}

/// What a unit's purchase mostly is.
fn main_kind(bought: &Purchase, reserved: PurchaseKind, needed_hours: f64) -> PurchaseKind {
    if bought.owned > 0 {
        return PurchaseKind::Owned;
    }
    if bought.reserved > 0 {
        return reserved;
    }
    // Hours on machines against the hours that go without one.
    let machine = bought.on_demand_hours + bought.spot_hours;
    if machine < needed_hours - machine {
        PurchaseKind::Overflow
    } else if bought.spot_hours > bought.on_demand_hours {
        PurchaseKind::Spot
    } else {
        PurchaseKind::OnDemand
    }
}

/// The load-duration curve with its layers, and the purchase; the purchase is absent where nothing on offer serves an hour.
///
/// # Errors
/// Where a number is out of its range.
pub(crate) fn buy(
    demand: &Demand<'_>,
    offers: &Offers,
    overflow: Option<&Overflow>,
) -> Result<(Vec<LoadDurationPoint>, Option<PurchasePlan>), PurchaseError> {
    let full_hour = overflow.map(|o| o.usd_per_attempt * demand.capacity * 3_600.0);
    let prices = offers.prices(full_hour);
    let reserved = offers.reserved().map_or(PurchaseKind::Reserved1y, |r| r.0);
    let peak = demand.needed.iter().copied().max().unwrap_or(0);
    let mut points = Vec::new();
    let mut layers: BTreeMap<PurchaseKind, (u32, f64, f64)> = BTreeMap::new();
    let mut overflow_hours = 0.0;
    let mut served = true;
    for number in 0..peak {
        let (needed, load) = unit(demand, number);
        let hours = needed.iter().map(|n| f64::from(*n)).sum::<f64>();
        let bought = match cheapest(&needed, &load, &prices) {
            Ok(bought) => Some(bought),
            Err(PurchaseError::NoOffer) => None,
            Err(error) => return Err(error),
        };
        let kind = bought.as_ref().map(|b| main_kind(b, reserved, hours));
        served &= bought.is_some();
        points.push(LoadDurationPoint {
            replica: number + 1,
            hours_share: Fraction::new(hours / HOURS as f64).unwrap_or(Fraction::ONE),
            bought: kind,
            usd_per_month: bought.as_ref().map(|b| usd(b.usd * WEEKS)),
        });
        if let (Some(bought), Some(kind)) = (bought, kind) {
            overflow_hours += bought.overflow_hours;
            layers.entry(kind).or_default().0 += 1;
            for (kind, hours, cost) in parts(&bought, &prices, reserved) {
                let layer = layers.entry(kind).or_default();
                layer.1 += hours * WEEKS;
                layer.2 += cost * WEEKS;
            }
        }
    }
    if !served || peak == 0 {
        return Ok((points, None));
    }
    let layers: Vec<PurchaseLayer> = layers
        .into_iter()
        .map(|(kind, (replicas, replica_hours_per_month, cost))| PurchaseLayer {
            kind,
            replicas,
            replica_hours_per_month,
            usd_per_month: usd(cost),
        })
        .collect();
    let alone = alone(demand, offers, full_hour);
    let mut list = offers.list.clone();
    list.extend(overflow.map(|o| crate::plan::fleet_plan::Offer {
        kind: PurchaseKind::Overflow,
        usd_per_hour: usd(full_hour.unwrap_or(0.0)),
        minimum_months: 0,
        from: o.from.clone(),
    }));
    let plan = PurchasePlan {
        usd_per_month: layers.iter().map(|l| l.usd_per_month).sum(),
        layers,
        alone,
        offers: list,
        overflow_api: overflow.map(|o| o.api.clone()),
        overflow_requests_per_month: overflow_hours * WEEKS * demand.capacity * 3_600.0
            / demand.attempts_per_request,
    };
    Ok((points, Some(plan)))
}

/// Hours and cost of each way in a unit's purchase; they add up to its cost.
fn parts(bought: &Purchase, prices: &Prices, reserved: PurchaseKind) -> Vec<(PurchaseKind, f64, f64)> {
    if bought.owned + bought.reserved > 0 {
        let kind = if bought.owned > 0 { PurchaseKind::Owned } else { reserved };
        return vec![(kind, HOURS as f64, bought.usd)];
    }
    let on_demand = bought.on_demand_hours * prices.on_demand_usd_per_hour.unwrap_or(0.0);
    let spot_price = prices.spot.and_then(|s| s.usd_per_useful_hour()).unwrap_or(0.0);
    let spot = bought.spot_hours * spot_price;
    let overflow = bought.overflow_hours * prices.overflow_usd_per_full_hour.unwrap_or(0.0);
    [
        (PurchaseKind::OnDemand, bought.on_demand_hours, on_demand),
        (PurchaseKind::Spot, bought.spot_hours, spot),
        (PurchaseKind::Overflow, bought.overflow_hours, overflow),
    ]
    .into_iter()
    .filter(|(_, hours, cost)| *hours > 0.0 || *cost > 0.0)
    .collect()
}

/// The whole fleet in one way alone.
fn alone(demand: &Demand<'_>, offers: &Offers, full_hour: Option<f64>) -> Vec<(PurchaseKind, Usd)> {
    let kinds = offers.list.iter().map(|o| o.kind).chain(full_hour.map(|_| PurchaseKind::Overflow));
    kinds
        .filter_map(|kind| {
            let bought = cheapest(demand.needed, demand.load, &offers.alone(kind, full_hour)).ok()?;
            Some((kind, usd(bought.usd * WEEKS)))
        })
        .collect()
}
