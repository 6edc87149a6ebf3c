//! What the draws say: odds, budgets, break-even, tornado, flips, and what to measure next.

use std::thread;

use super::{
    by_volume::cost_by_volume,
    draws::{Cells, Drawn, cheapest, kernel_of, over_months},
    inputs::Setup,
    kernel::Kernel,
};
use crate::{
    plan::decision_plan::{
        BreakEvenSpread, CellOdds, Flip, InformationValue, OptionOdds, Spread, TornadoBar, UncertainInput,
        Uncertainty,
    },
    planning::SELF_HOST,
    scenario::Factors,
};

/// Draws whose break-even is looked for: each is a search of its own.
const BREAK_EVEN_DRAWS: usize = 1_000;
/// The same of a draft, which a whole plan soon replaces.
const BREAK_EVEN_DRAWS_OF_A_DRAFT: usize = 250;
/// Volumes looked at, a factor of ten apart, and points between.
const DECADES: (i32, i32) = (3, 10);
const PER_DECADE: i32 = 8;
/// Values of an input looked at on each side for a flip.
const FLIP_STEPS: u32 = 48;
/// A plain number is followed down to a tenth and up to ten times itself.
const FLIP_REACH: f64 = 10.0;

pub(super) fn answers(
    setup: &Setup<'_>,
    cells: &Cells,
    drawn: &Drawn,
    seed: u64,
    left_out: Vec<String>,
) -> Uncertainty {
    // Each of these looks at many kernels, and none needs another's answer.
    let (break_even, cost_by_volume, (tornado, flips)) = thread::scope(|scope| {
        let crossings = scope.spawn(|| break_even(setup, drawn, seed));
        let volumes = scope.spawn(|| cost_by_volume(setup, drawn, seed));
        let moved = (tornado(setup, cells), flips(setup, cells));
        (joined(crossings), joined(volumes), moved)
    });
    let odds = drawn.p_cheapest(0);
    let options = setup
        .kernel
        .options
        .iter()
        .enumerate()
        .map(|(index, option)| {
            let bills: Vec<f64> = drawn.usd_of(0, index).filter(|usd| usd.is_finite()).collect();
            let per_success: Vec<f64> =
                drawn.per_success_of(0).filter_map(|options| options.get(index).copied()).collect();
            OptionOdds {
                id: option.id.clone(),
                p_cheapest: odds.get(index).copied().unwrap_or(0.0),
                available: bills.len() as f64 / drawn.count.max(1) as f64,
                usd_per_month: spread(bills),
                usd_per_successful_outcome: per_success
                    .iter()
                    .all(|usd| usd.is_finite())
                    .then(|| spread(per_success))
                    .flatten(),
            }
        })
        .collect();
    Uncertainty {
        draws: u32::try_from(drawn.count).unwrap_or(u32::MAX),
        seed,
        months: u32::try_from(cells.months.len()).unwrap_or(u32::MAX),
        inputs: setup.inputs.iter().map(input).collect(),
        options,
        cells: cell_odds(setup, cells, drawn),
        break_even,
        cost_by_volume,
        tornado,
        flips,
        measure_next: information(setup, cells, drawn),
        left_out,
    }
}

/// What a thread found; its panic goes on here.
pub(super) fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn input(input: &super::inputs::Input) -> UncertainInput {
    let (low, high) = input.distribution.ends();
    UncertainInput {
        path: input.path.clone(),
        distribution: input.distribution.to_string(),
        low,
        likely: input.distribution.likely(),
        high,
    }
}

/// Quantiles by nearest rank; `None` of nothing.
pub(super) fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let at = |percent: usize| values.get((n * percent).div_ceil(100).max(1) - 1).copied();
    Some(Spread {
        p5: at(5)?,
        p10: at(10)?,
        p50: at(50)?,
        p90: at(90)?,
        p95: at(95)?,
        mean: values.iter().sum::<f64>() / n as f64,
    })
}

fn cell_odds(setup: &Setup<'_>, cells: &Cells, drawn: &Drawn) -> Vec<CellOdds> {
    cells
        .names
        .iter()
        .enumerate()
        .map(|(index, (scenario, stress))| {
            let odds = drawn.p_cheapest(index + 1);
            let first = odds.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            let usd = first
                .map(|(option, _)| drawn.usd_of(index + 1, option).filter(|usd| usd.is_finite()).collect());
            CellOdds {
                scenario: scenario.clone(),
                stress: stress.clone(),
                p_cheapest: setup.kernel.options.iter().map(|o| o.id.clone()).zip(odds).collect(),
                usd_per_month: usd.and_then(spread),
            }
        })
        .collect()
}

fn volumes() -> Vec<f64> {
    (DECADES.0 * PER_DECADE..=DECADES.1 * PER_DECADE)
        .map(|step| 10f64.powf(f64::from(step) / f64::from(PER_DECADE)))
        .collect()
}

/// The last crossing of self-host and the API with the lowest mean cost per success, in each of the first draws.
fn break_even(setup: &Setup<'_>, drawn: &Drawn, seed: u64) -> Option<BreakEvenSpread> {
    setup.kernel.options.iter().position(|option| option.id == SELF_HOST)?;
    let mean = |index: usize| drawn.per_success_of(0).filter_map(|options| options.get(index)).sum::<f64>();
    let (api, _) = (0..setup.kernel.options.len())
        .filter(|index| setup.kernel.options.get(*index).is_some_and(|o| o.api.is_some()))
        .map(|index| (index, mean(index)))
        .min_by(|a, b| a.1.total_cmp(&b.1))?;
    let api = setup.kernel.options.get(api)?.id.clone();
    let grid = volumes();
    let most = if setup.is_draft() { BREAK_EVEN_DRAWS_OF_A_DRAFT } else { BREAK_EVEN_DRAWS };
    let count = drawn.count.min(most);
    let (mut always, mut never) = (0_u32, 0_u32);
    let (mut at, mut busy) = (Vec::new(), Vec::new());
    for draw in 0..count {
        let Some(kernel) = kernel_of(setup, seed, draw as u64).0 else { continue };
        let find = |id: &str| kernel.options.iter().find(|option| option.id == id);
        let (Some(own), Some(api)) = (find(SELF_HOST), find(&api)) else { continue };
        let cheaper = |volume: f64| {
            let per = |option: &super::kernel::OptionKernel| {
                option
                    .cost(&kernel, volume, &Factors::NONE)
                    .map_or(f64::INFINITY, super::kernel::Cost::per_success)
            };
            per(own) < per(api)
        };
        match last_crossing(&grid, cheaper) {
            Crossing::Always => always += 1,
            Crossing::Never => never += 1,
            Crossing::At(volume) => {
                at.push(volume);
                busy.extend(own.utilization(&kernel, volume));
            }
        }
    }
    Some(BreakEvenSpread {
        api,
        draws: u32::try_from(count).unwrap_or(u32::MAX),
        always: f64::from(always) / count.max(1) as f64,
        never: f64::from(never) / count.max(1) as f64,
        requests_per_month: spread(at),
        utilization: spread(busy),
    })
}

enum Crossing {
    Always,
    Never,
    At(f64),
}

fn last_crossing(grid: &[f64], cheaper: impl Fn(f64) -> bool) -> Crossing {
    let Some(last_dearer) = grid.iter().rposition(|volume| !cheaper(*volume)) else {
        return Crossing::Always;
    };
    let (Some(mut dearer), Some(mut beyond)) =
        (grid.get(last_dearer).copied(), grid.get(last_dearer + 1).copied())
    else {
        return Crossing::Never;
    };
    for _ in 0..20 {
        let middle = (dearer * beyond).sqrt();
        if cheaper(middle) {
            beyond = middle;
        } else {
            dearer = middle;
        }
    }
    Crossing::At(beyond)
}

/// Costs per success and bills of all options, in the order of the setup's.
fn costs(setup: &Setup<'_>, kernel: &Kernel, cells: &Cells) -> Vec<(f64, f64)> {
    setup
        .kernel
        .options
        .iter()
        .map(|wanted| match kernel.options.iter().position(|option| option.id == wanted.id) {
            Some(index) => over_months(kernel, index, &Factors::NONE, cells),
            None => (f64::NAN, f64::INFINITY),
        })
        .collect()
}

fn winner(setup: &Setup<'_>, kernel: &Kernel, cells: &Cells) -> Option<usize> {
    let per_success: Vec<f64> = costs(setup, kernel, cells).into_iter().map(|(_, per)| per).collect();
    cheapest(&per_success)
}

fn id(setup: &Setup<'_>, option: Option<usize>) -> String {
    option
        .and_then(|index| setup.kernel.options.get(index))
        .map_or_else(|| "none".to_owned(), |o| o.id.clone())
}

fn at_one(setup: &Setup<'_>, index: usize, value: f64) -> Option<Kernel> {
    let mut values = vec![None; setup.inputs.len()];
    if let Some(at) = values.get_mut(index) {
        *at = Some(value);
    }
    setup.kernel_at(&values)
}

fn tornado(setup: &Setup<'_>, cells: &Cells) -> Vec<TornadoBar> {
    let Some(choice) = winner(setup, &setup.kernel, cells) else { return Vec::new() };
    let look = |index: usize, value: f64| -> Option<(f64, f64, String)> {
        let kernel = at_one(setup, index, value)?;
        let costs = costs(setup, &kernel, cells);
        let (usd, own) = costs.get(choice).copied()?;
        let others = costs.iter().enumerate().filter(|(index, _)| *index != choice).map(|(_, (_, per))| *per);
        let saves = others.fold(f64::INFINITY, f64::min) - own;
        Some((usd, saves, id(setup, winner(setup, &kernel, cells))))
    };
    let mut bars: Vec<TornadoBar> = setup
        .inputs
        .iter()
        .enumerate()
        .filter_map(|(index, input)| {
            let (low, high) = input.distribution.ends();
            let (a, b) = (look(index, low)?, look(index, high)?);
            // What cannot be had at an end has no bar.
            [a.0, a.1, b.0, b.1].iter().all(|v| v.is_finite()).then(|| TornadoBar {
                path: input.path.clone(),
                low,
                high,
                usd_per_month_at_low: a.0,
                usd_per_month_at_high: b.0,
                saves_per_success_at_low: a.1,
                saves_per_success_at_high: b.1,
                choice_at_low: a.2,
                choice_at_high: b.2,
            })
        })
        .collect();
    let width = |bar: &TornadoBar| (bar.saves_per_success_at_high - bar.saves_per_success_at_low).abs();
    bars.sort_by(|a, b| width(b).total_cmp(&width(a)));
    bars
}

fn flips(setup: &Setup<'_>, cells: &Cells) -> Vec<Flip> {
    let mut all = Vec::new();
    for (index, input) in setup.inputs.iter().enumerate() {
        let (low, high) = input.distribution.range();
        let reach = match input.number {
            // Further than believed, where the number may go there.
            Some(_) if low > 0.0 => (low / FLIP_REACH, high * FLIP_REACH),
            _ => (low, high),
        };
        let reach = if bounded(&input.path) { (reach.0, reach.1.min(1.0)) } else { reach };
        all.push(flip(setup, cells, &input.path, input.distribution.likely(), reach, |value| {
            at_one(setup, index, value)
        }));
    }
    for (path, number, parts, now) in setup.plain() {
        let high = if bounded(&path) { 1.0 } else { now * FLIP_REACH };
        all.push(flip(setup, cells, &path, now, (now / FLIP_REACH, high), |value| {
            let mut kernel = setup.kernel.clone();
            number.set(&mut kernel, value, parts);
            Some(kernel)
        }));
    }
    // Those that need the smallest step come first, those that never flip last.
    let step = |flip: &Flip| {
        let ratio = |to: &Option<(f64, String)>| {
            to.as_ref().map_or(f64::INFINITY, |(value, _)| (value / flip.now).ln().abs())
        };
        ratio(&flip.below).min(ratio(&flip.above))
    };
    all.sort_by(|a, b| step(a).total_cmp(&step(b)));
    all
}

/// Whether the number is a share of at most 1.
fn bounded(path: &str) -> bool {
    path.contains("probability") || path.ends_with("_share")
}

fn flip(
    setup: &Setup<'_>,
    cells: &Cells,
    path: &str,
    now: f64,
    (from, to): (f64, f64),
    kernel_at: impl Fn(f64) -> Option<Kernel>,
) -> Flip {
    let choice = |value: f64| kernel_at(value).and_then(|kernel| winner(setup, &kernel, cells));
    let present = choice(now);
    let towards = |end: f64| -> Option<(f64, String)> {
        let mut near = now;
        for step in 1..=FLIP_STEPS {
            let share = f64::from(step) / f64::from(FLIP_STEPS);
            let value = if now > 0.0 && end > 0.0 {
                now * (end / now).powf(share)
            } else {
                now + (end - now) * share
            };
            let other = choice(value);
            if other == present {
                near = value;
                continue;
            }
            let mut far = value;
            for _ in 0..40 {
                let middle = f64::midpoint(near, far);
                if choice(middle) == present {
                    near = middle;
                } else {
                    far = middle;
                }
            }
            return Some((far, id(setup, choice(far))));
        }
        None
    };
    Flip { path: path.to_owned(), now, below: towards(from), above: towards(to), looked_at: (from, to) }
}

/// What perfect knowledge of each input alone would save a month, and its share of the variance.
///
/// Draws are sorted by the input and cut into bins; within a bin the input is as good as known (M. Strong, J. E. Oakley, *Medical
/// Decision Making* 33, 2013). The same sum over bins of draws in their own order, which know nothing, is the noise and is taken off.
/// The variance share is the variance of the bins' means over the whole, noise taken off likewise: the first-order index of
/// I. M. Sobol', 1993, for the difference between the two options that are the cheapest on average.
fn information(setup: &Setup<'_>, cells: &Cells, drawn: &Drawn) -> Vec<InformationValue> {
    // Cost per success of what can be had in all draws, in dollars of a month's successes of the first option.
    let rows: Vec<&[f64]> =
        drawn.per_success_of(0).filter(|row| row.iter().all(|usd| usd.is_finite())).collect();
    let successes = {
        let month = setup.kernel.options.first().and_then(|option| {
            option.cost(&setup.kernel, setup.kernel.requests, cells.months.first().unwrap_or(&Factors::NONE))
        });
        month.map_or(0.0, |cost| cost.successes)
    };
    let bins = (drawn.count / 100).clamp(5, 50);
    if rows.len() != drawn.count || drawn.options < 2 {
        return Vec::new();
    }
    let means = |chunk: &[usize]| -> Vec<f64> {
        let mut sum = vec![0.0; drawn.options];
        for row in chunk.iter().filter_map(|index| rows.get(*index)) {
            for (sum, usd) in sum.iter_mut().zip(*row) {
                *sum += usd;
            }
        }
        sum.iter().map(|sum| sum / chunk.len() as f64).collect()
    };
    let whole: Vec<usize> = (0..drawn.count).collect();
    let overall = means(&whole);
    let mut order: Vec<usize> = (0..drawn.options).collect();
    order.sort_by(|a, b| {
        let mean = |i: &usize| overall.get(*i).copied().unwrap_or(f64::INFINITY);
        mean(a).total_cmp(&mean(b))
    });
    let (Some(first), Some(second)) = (order.first().copied(), order.get(1).copied()) else {
        return Vec::new();
    };
    let difference =
        |row: &[f64]| row.get(second).copied().unwrap_or(0.0) - row.get(first).copied().unwrap_or(0.0);
    let mean_difference = rows.iter().map(|row| difference(row)).sum::<f64>() / drawn.count as f64;
    let variance =
        rows.iter().map(|row| (difference(row) - mean_difference).powi(2)).sum::<f64>() / drawn.count as f64;
    let best = overall.iter().copied().fold(f64::INFINITY, f64::min);
    // Saved by choosing anew in each bin, and the variance between bins.
    let of_order = |order: &[usize]| -> (f64, f64) {
        let chunks = order.chunks(drawn.count.div_ceil(bins));
        chunks.fold((0.0, 0.0), |(saved, between), chunk| {
            let means = means(chunk);
            let weight = chunk.len() as f64 / drawn.count as f64;
            let cheapest = means.iter().copied().fold(f64::INFINITY, f64::min);
            (
                saved + weight * (best - cheapest),
                between + weight * (difference(&means) - mean_difference).powi(2),
            )
        })
    };
    let (noise, noise_between) = of_order(&whole);
    let inputs = setup.inputs.len();
    let mut all: Vec<InformationValue> = setup
        .inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let value = |draw: &usize| drawn.values.get(draw * inputs + index).copied().unwrap_or(0.0);
            let mut order = whole.clone();
            order.sort_by(|a, b| value(a).total_cmp(&value(b)).then(a.cmp(b)));
            let (saved, between) = of_order(&order);
            InformationValue {
                path: input.path.clone(),
                usd_per_month: ((saved - noise) * successes).max(0.0),
                variance_share: if variance > 0.0 {
                    ((between - noise_between) / variance).clamp(0.0, 1.0)
                } else {
                    0.0
                },
            }
        })
        .collect();
    all.sort_by(|a, b| {
        b.usd_per_month.total_cmp(&a.usd_per_month).then(b.variance_share.total_cmp(&a.variance_share))
    });
    all
}
