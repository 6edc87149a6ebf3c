//! What the options cost against volume under the draws: the cost curves of the plan with an interval around them.
//!
//! The volumes are those of the plan's cost curves, and the draws the first ones of the odds (same seed, same streams), so that a chart
//! of both shows one set of worlds. The month is the one of the product file: no growth, no scenario, as in the curves.

use super::{
    answers::spread,
    draws::{Drawn, kernel_of},
    inputs::Setup,
    kernel::Kernel,
};
use crate::{
    break_even::drawn_volumes,
    plan::decision_plan::{CostSpread, VolumeSpread},
    planning::SELF_HOST,
    scenario::Factors,
};

/// Draws looked at: the 5 % quantile is then the 13th smallest.
const DRAWS: usize = 250;
/// Options looked at; more intervals on one chart would hide one another.
const OPTIONS: usize = 4;

/// Self-host, then the options with the lowest mean cost per success.
pub(super) fn cost_by_volume(setup: &Setup<'_>, drawn: &Drawn, seed: u64) -> Vec<CostSpread> {
    let mean = |index: usize| drawn.per_success_of(0).filter_map(|options| options.get(index)).sum::<f64>();
    let mut chosen: Vec<(f64, &str)> = setup
        .kernel
        .options
        .iter()
        .enumerate()
        .map(|(index, option)| {
            let rank = if option.id == SELF_HOST { f64::NEG_INFINITY } else { mean(index) };
            (rank, option.id.as_str())
        })
        .collect();
    chosen.sort_by(|a, b| a.0.total_cmp(&b.0));
    chosen.truncate(OPTIONS);
    let count = drawn.count.min(DRAWS);
    let kernels: Vec<Option<Kernel>> = (0..count).map(|draw| kernel_of(setup, seed, draw as u64).0).collect();
    chosen
        .into_iter()
        .map(|(_, id)| CostSpread {
            id: id.to_owned(),
            draws: u32::try_from(count).unwrap_or(u32::MAX),
            points: drawn_volumes().filter_map(|volume| at_volume(&kernels, id, volume)).collect(),
        })
        .filter(|option| !option.points.is_empty())
        .collect()
}

/// `None` where some draw cannot have the option: quantiles over the rest would be those of other worlds.
fn at_volume(kernels: &[Option<Kernel>], id: &str, volume: f64) -> Option<VolumeSpread> {
    let bill = |kernel: &Option<Kernel>| -> Option<f64> {
        let kernel = kernel.as_ref()?;
        let option = kernel.options.iter().find(|option| option.id == id)?;
        Some(option.cost(kernel, volume, &Factors::NONE)?.usd)
    };
    let bills: Option<Vec<f64>> = kernels.iter().map(bill).collect();
    let found = spread(bills?)?;
    Some(VolumeSpread { requests_per_month: volume, p5: found.p5, p50: found.p50, p95: found.p95 })
}
