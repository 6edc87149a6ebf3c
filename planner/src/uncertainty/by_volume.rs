//! What the options cost against volume under the draws: the cost curves of the plan with an interval around them.
//!
//! The volumes are those of the plan's cost curves, and the draws the first ones of the odds (same seed, same streams), so that a chart
//! of both shows one set of worlds. The month is the one of the product file: no growth, no scenario, as in the curves.

use std::thread;

use super::{
    answers::{joined, spread},
    draws::{Drawn, kernel_of},
    inputs::Setup,
    kernel::{Kernel, OptionKernel},
};
use crate::{
    break_even::drawn_volumes,
    plan::decision_plan::{CostSpread, VolumeSpread},
    planning::SELF_HOST,
    scenario::Factors,
};

/// Draws looked at: the 5 % quantile is then the 13th smallest.
const DRAWS: usize = 250;
/// The same of a draft, which a whole plan soon replaces: the 5th smallest.
const DRAWS_OF_A_DRAFT: usize = 100;
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
    let count = drawn.count.min(if setup.is_draft() { DRAWS_OF_A_DRAFT } else { DRAWS });
    let kernels: Vec<Option<Kernel>> = (0..count).map(|draw| kernel_of(setup, seed, draw as u64).0).collect();
    let spread_of = |id: &str| CostSpread {
        id: id.to_owned(),
        draws: u32::try_from(count).unwrap_or(u32::MAX),
        points: points(&kernels, id),
    };
    let spreads: Vec<CostSpread> = thread::scope(|scope| {
        let spread_of = &spread_of;
        let running: Vec<_> = chosen.iter().map(|(_, id)| scope.spawn(move || spread_of(id))).collect();
        running.into_iter().map(joined).collect()
    });
    spreads.into_iter().filter(|option| !option.points.is_empty()).collect()
}

/// None at a volume where some draw cannot have the option: quantiles over the rest would be those of other worlds.
fn points(kernels: &[Option<Kernel>], id: &str) -> Vec<VolumeSpread> {
    let of_draw = kernels.iter().map(|kernel| {
        let kernel = kernel.as_ref()?;
        Some((kernel, kernel.options.iter().find(|option| option.id == id)?))
    });
    let Some(options) = of_draw.collect::<Option<Vec<(&Kernel, &OptionKernel)>>>() else { return Vec::new() };
    let at_volume = |volume: f64| -> Option<VolumeSpread> {
        let bills = options
            .iter()
            .map(|(kernel, option)| Some(option.cost(kernel, volume, &Factors::NONE)?.usd))
            .collect::<Option<Vec<f64>>>()?;
        let found = spread(bills)?;
        Some(VolumeSpread { requests_per_month: volume, p5: found.p5, p50: found.p50, p95: found.p95 })
    };
    drawn_volumes().filter_map(at_volume).collect()
}
