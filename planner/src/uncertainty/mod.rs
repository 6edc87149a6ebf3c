//! How sure the answer is: numbers as distributions, drawn together for all options.
//!
//! | file | holds |
//! |---|---|
//! | [`distribution`] | distributions by their quantile function |
//! | [`lift`] | a product file's numbers typed as distributions |
//! | [`kernel`] | the cost model in binary floating point, compiled from the exact one |
//! | [`inputs`] | what is uncertain, and which number of the kernel it sets |
//! | `parts` | the machines beside the plan's own, each the product file on another one |
//! | [`draws`] | the draws, in parallel |
//! | `answers` | odds, tornado, flips, what to measure next |
//! | `by_volume` | bills against volume with their spread |

mod answers;
mod by_volume;
pub mod distribution;
pub mod draws;
pub(crate) mod inputs;
pub mod kernel;
pub mod lift;
mod parts;

use crate::{
    horizon,
    machines::{On, Other},
    plan::decision_plan::Uncertainty,
    product::Product,
    scenario::{Factors, scenarios, stresses, world::World},
};
use draws::Cells;
use inputs::Setup;
use parts::parts;

/// Draws where each one has to read the product anew: some input is no plain number of the kernel.
const DRAWS_WITH_STRUCTURE: u32 = 1_000;

/// Uncertainty of a product's plan; `None` where nothing can be had or nothing is uncertain.
pub(crate) fn uncertainty(
    world: &World<'_>,
    product: &Product,
    on: &On,
    others: &[Other<'_>],
) -> Option<Uncertainty> {
    let setup = Setup::of(parts(world, product, on, others))?;
    let table = product.uncertainty.unwrap_or_default();
    let mut left_out = setup.left_out.clone();
    let mut count = table.draws.0.min(product.most_draws.unwrap_or(u32::MAX));
    if setup.rebuilds() && count > DRAWS_WITH_STRUCTURE {
        count = DRAWS_WITH_STRUCTURE;
        left_out.push(format!(
            "{count} draws instead of {}: {} changes more than a number of the bill, so each draw plans anew",
            table.draws.0,
            setup.rebuilding().join(", ")
        ));
    }
    let asked = product.uncertainty.is_some()
        || product.horizon.is_some()
        || !product.scenarios.is_empty()
        || !product.stresses.is_empty();
    let months = |owned: bool| horizon::months_of(product, owned);
    let mut cells = Cells {
        months: months(false),
        months_of_owned: months(true),
        names: Vec::new(),
        factors: vec![Factors::NONE],
    };
    if asked {
        for scenario in scenarios(product) {
            for stress in stresses(product) {
                cells.names.push((scenario.condition.name.clone(), stress.condition.name.clone()));
                cells.factors.push(scenario.factors.and(&stress.factors));
            }
        }
    }
    if setup.inputs.is_empty() {
        return None;
    }
    let drawn = draws::draw(&setup, &cells, count, table.seed);
    Some(answers::answers(&setup, &cells, &drawn, table.seed, left_out))
}
