//! The draws. Draw i takes its uniform numbers from stream i of one counter-based generator (`ChaCha8`: D. J. Bernstein, 2008), so any
//! number of threads gives the same figures, and all options, cells and months of a draw share them (common random numbers).

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

use super::{
    inputs::Setup,
    kernel::{Cost, Kernel},
};
use crate::scenario::Factors;

/// What every draw is costed under.
#[derive(Debug, Clone)]
pub struct Cells {
    /// What changes month by month.
    pub months: Vec<Factors>,
    /// The same for hardware of one's own, which keeps the price that it was bought at.
    pub months_of_owned: Vec<Factors>,
    /// Scenario and stress of each cell after the first.
    pub names: Vec<(String, String)>,
    /// What changes in each cell; the first is the plan itself.
    pub factors: Vec<Factors>,
}

/// Costs of every option in every cell of every draw, over all months.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Draws.
    pub count: usize,
    /// Options.
    pub options: usize,
    /// Cells.
    pub cells: usize,
    /// Mean monthly USD, by draw, cell, option; NaN where it cannot be had.
    pub usd: Vec<f64>,
    /// USD per success, likewise; infinite where it cannot be had.
    pub per_success: Vec<f64>,
    /// The inputs' values, by draw and input.
    pub values: Vec<f64>,
}

impl Drawn {
    /// Monthly USD of one option in one cell, draw by draw.
    pub fn usd_of(&self, cell: usize, option: usize) -> impl Iterator<Item = f64> + '_ {
        self.usd.iter().skip(cell * self.options + option).step_by(self.cells * self.options).copied()
    }

    /// USD per success of the options of one cell, draw by draw.
    pub fn per_success_of(&self, cell: usize) -> impl Iterator<Item = &[f64]> + '_ {
        self.per_success.chunks_exact(self.options).skip(cell).step_by(self.cells)
    }

    /// Share of draws in which each option is the cheapest of a cell. The first of equals wins, so they add up to 1; all are 0 where
    /// no draw has an option.
    pub fn p_cheapest(&self, cell: usize) -> Vec<f64> {
        let mut wins = vec![0_u32; self.options];
        for options in self.per_success_of(cell) {
            if let Some(winner) = cheapest(options)
                && let Some(count) = wins.get_mut(winner)
            {
                *count += 1;
            }
        }
        let decided: u32 = wins.iter().sum();
        wins.into_iter().map(|count| f64::from(count) / f64::from(decided.max(1))).collect()
    }
}

/// The first of the cheapest; `None` where none can be had.
pub(crate) fn cheapest(per_success: &[f64]) -> Option<usize> {
    let finite = per_success.iter().enumerate().filter(|(_, usd)| usd.is_finite());
    finite.min_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index)
}

/// An option's cost over all months: mean monthly bill and cost per success.
pub(crate) fn over_months(kernel: &Kernel, option: usize, cell: &Factors, cells: &Cells) -> (f64, f64) {
    let Some(kernel_of) = kernel.options.get(option) else { return (f64::NAN, f64::INFINITY) };
    let months = if kernel_of.is_owned { &cells.months_of_owned } else { &cells.months };
    let mut sum = Cost { usd: 0.0, successes: 0.0 };
    for month in months {
        match kernel_of.cost(kernel, kernel.requests, &cell.and(month)) {
            Some(cost) => {
                sum.usd += cost.usd;
                sum.successes += cost.successes;
            }
            None => return (f64::NAN, f64::INFINITY),
        }
    }
    (sum.usd / months.len() as f64, sum.per_success())
}

/// The uniform numbers of a draw.
pub(crate) fn uniforms(seed: u64, draw: u64, count: usize) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(draw);
    // 53 bits, the middle of each step: never 0 and never 1.
    (0..count).map(|_| ((random.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64).collect()
}

/// The kernel of one draw and its inputs' values.
pub(crate) fn kernel_of(setup: &Setup<'_>, seed: u64, draw: u64) -> (Option<Kernel>, Vec<f64>) {
    let uniforms = uniforms(seed, draw, setup.inputs.len());
    let values: Vec<f64> = setup.inputs.iter().zip(uniforms).map(|(input, u)| input.sampler.at(u)).collect();
    let set: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
    (setup.kernel_at(&set), values)
}

/// Draws in parallel, on as many threads as the machine offers.
pub(crate) fn draw(setup: &Setup<'_>, cells: &Cells, count: u32, seed: u64) -> Drawn {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    draw_on(setup, cells, count, seed, threads)
}

/// Draws on a number of threads; the number changes nothing but the time.
pub(crate) fn draw_on(setup: &Setup<'_>, cells: &Cells, count: u32, seed: u64, threads: usize) -> Drawn {
    let (count, options) = (count as usize, setup.kernel.options.len());
    let width = cells.factors.len() * options;
    let inputs = setup.inputs.len();
    let mut drawn = Drawn {
        count,
        options,
        cells: cells.factors.len(),
        usd: vec![f64::NAN; count * width],
        per_success: vec![f64::INFINITY; count * width],
        values: vec![0.0; count * inputs],
    };
    let part = count.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let usd = drawn.usd.chunks_mut(part * width);
        let per_success = drawn.per_success.chunks_mut(part * width);
        let mut values = drawn.values.chunks_mut((part * inputs).max(1));
        for (index, (usd, per_success)) in usd.zip(per_success).enumerate() {
            let values = values.next().unwrap_or_default();
            let first = index * part;
            scope.spawn(move || {
                let rows = usd.chunks_exact_mut(width).zip(per_success.chunks_exact_mut(width));
                for (row, (usd, per_success)) in rows.enumerate() {
                    let (kernel, drawn) = kernel_of(setup, seed, (first + row) as u64);
                    for (at, value) in values.iter_mut().skip(row * inputs).zip(drawn) {
                        *at = value;
                    }
                    let Some(kernel) = kernel else { continue };
                    evaluate(&kernel, setup, cells, usd, per_success);
                }
            });
        }
    });
    drawn
}

fn evaluate(kernel: &Kernel, setup: &Setup<'_>, cells: &Cells, usd: &mut [f64], per_success: &mut [f64]) {
    let options = setup.kernel.options.len();
    let rows = usd.chunks_exact_mut(options).zip(per_success.chunks_exact_mut(options));
    for (factors, (usd, per_success)) in cells.factors.iter().zip(rows) {
        for (index, (usd, per_success)) in usd.iter_mut().zip(per_success).enumerate() {
            // A draw may take an option away, so options are found by name, at their old place first.
            let id = setup.kernel.options.get(index).map(|option| option.id.as_str());
            let same = kernel.options.get(index).map(|option| option.id.as_str()) == id;
            let at = if same {
                Some(index)
            } else {
                kernel.options.iter().position(|o| Some(o.id.as_str()) == id)
            };
            if let Some(at) = at {
                (*usd, *per_success) = over_months(kernel, at, factors, cells);
            }
        }
    }
}
