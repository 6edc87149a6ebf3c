//! The volume from which self-host is cheaper per successful outcome than an API, and stays so.

use breakeven_measurement::RequestRate;

use crate::{
    cost::{CostModel, Supply},
    plan::BreakEvenOutcome,
};

/// Volumes looked at, in requests a month.
pub const VOLUMES: (f64, f64) = (1e3, 1e10);
/// Points of the grid per factor of ten.
const PER_DECADE: u32 = 16;
/// Halvings of a crossing's interval: the ratio of its ends falls below 1 + 1e-9.
pub const HALVINGS: u32 = 30;

/// The grid of volumes, evenly spaced in the logarithm.
pub fn volumes() -> Vec<f64> {
    let decades = (VOLUMES.1 / VOLUMES.0).log10();
    let steps = (decades * f64::from(PER_DECADE)).round();
    std::iter::successors(Some(0.0f64), |i| (*i < steps).then_some(i + 1.0))
        .map(|i| VOLUMES.0 * 10f64.powf(i / f64::from(PER_DECADE)))
        .collect()
}

/// The volumes of the cost curves in the plan: every other one of the grid.
pub(crate) fn drawn_volumes() -> impl Iterator<Item = f64> {
    volumes().into_iter().step_by(2)
}

/// Where two cost curves cross for the last time. Replicas come in whole numbers, so there may be several crossings; the
/// one that counts is the one after which self-host stays cheaper up to the largest volume looked at.
pub(crate) fn break_even(own: &CostModel<'_>, api: &CostModel<'_>) -> BreakEvenOutcome {
    let never = BreakEvenOutcome::Never { up_to_requests_per_month: VOLUMES.1 };
    let cheaper = |volume: f64| match (own.usd_per_success(volume), api.usd_per_success(volume)) {
        (Some(own), Some(api)) => own < api,
        (own, _) => own.is_some(),
    };
    let grid = volumes();
    let Some(last_dearer) = grid.iter().rposition(|v| !cheaper(*v)) else { return BreakEvenOutcome::Always };
    let (Some(mut dearer), Some(mut beyond)) =
        (grid.get(last_dearer).copied(), grid.get(last_dearer + 1).copied())
    else {
        return never;
    };
    for _ in 0..HALVINGS {
        let middle = (dearer * beyond).sqrt();
        if cheaper(middle) {
            beyond = middle;
        } else {
            dearer = middle;
        }
    }
    BreakEvenOutcome::At { requests_per_month: beyond }
}

/// The same with another capacity of one replica.
pub(crate) fn with_capacity<'a>(own: &CostModel<'a>, rate: RequestRate) -> CostModel<'a> {
    let mut model = own.clone();
    if let Supply::SelfHost { capacity, .. } = &mut model.supply {
        *capacity = rate;
    }
    model
}
