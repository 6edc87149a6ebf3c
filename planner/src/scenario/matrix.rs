//! Every scenario under every stress.

use breakeven_hardware::Usd;

use super::{
    Factors, scenarios, stresses,
    world::{Bill, World},
};
use crate::{
    cost::decimal,
    plan::decision_plan::{Cell, CellOption, ScenarioMatrix},
    product::Product,
};

/// The matrix of a product. Each cell is costed in full, this month.
pub(crate) fn matrix(world: &World<'_>, product: &Product) -> ScenarioMatrix {
    let (scenarios, stresses) = (scenarios(product), stresses(product));
    let requests = product.traffic.requests_per_month.get();
    let mut cells = Vec::with_capacity(scenarios.len() * stresses.len());
    for scenario in &scenarios {
        for stress in &stresses {
            let at = scenario.factors.and(&stress.factors);
            let mut cell = cell(world, product, &at);
            cell.scenario.clone_from(&scenario.condition.name);
            cell.stress.clone_from(&stress.condition.name);
            cell.requests_per_month = requests * at.traffic;
            cells.push(cell);
        }
    }
    ScenarioMatrix {
        scenarios: scenarios.into_iter().map(|named| named.condition).collect(),
        stresses: stresses.into_iter().map(|named| named.condition).collect(),
        cells,
    }
}

fn cell(world: &World<'_>, product: &Product, at: &Factors) -> Cell {
    let options: Vec<CellOption> = world
        .bills(product, at)
        .into_iter()
        .map(|(id, bill)| match bill {
            Ok(bill) => had(id, bill),
            Err(reason) => CellOption {
                id,
                infeasible: Some(reason),
                lines: Vec::new(),
                usd_per_month: Usd::ZERO,
                usd_per_successful_outcome: None,
            },
        })
        .collect();
    let choice = options
        .iter()
        .filter_map(|option| Some((option.usd_per_successful_outcome?, &option.id)))
        .min()
        .map(|(_, id)| id.clone());
    Cell { scenario: String::new(), stress: String::new(), requests_per_month: 0.0, choice, options }
}

fn had(id: String, bill: Bill) -> CellOption {
    CellOption {
        id,
        infeasible: None,
        usd_per_successful_outcome: bill.usd.per(decimal(bill.successes)),
        lines: bill.lines,
        usd_per_month: bill.usd,
    }
}
