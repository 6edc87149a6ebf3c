//! The plan as a workbook that finance can recalculate: assumptions in cells of their own, every total a formula of them.
//!
//! A cell is a live formula only where the plan's own formula, written as a spreadsheet's, gives the plan's own figure
//! ([`live`]); every other cell holds the plan's figure and says so. Formula cells carry no stored result, so that every
//! program computes them when it opens the file.

mod assumptions;
mod bill;
mod break_even;
mod decision;
mod evidence;
mod sheet;

use breakeven_planner::{
    Plan,
    basis::{CostBasis, OptionBasis},
    plan::OptionPlan,
};
use rust_xlsxwriter::{DocProperties, Workbook, XlsxError};

/// Why no workbook could be made; no plan should cause it.
#[derive(Debug, thiserror::Error)]
pub enum WorkbookError {
    /// The workbook's own rules.
    #[error("workbook: {0}")]
    Xlsx(#[from] XlsxError),
}

/// The sheets, in order.
pub const SHEETS: [&str; 7] =
    ["Decision", "Assumptions", "Bill", "Hours", "Break-even", "Measured", "Sources"];

/// A plan's figure and a formula's may differ by this share: what decimals and binary fractions round differently.
const SAME: f64 = 1e-9;

/// Renders the workbook.
///
/// # Errors
/// Where the writer refuses something; no plan should cause it.
pub fn render(plan: &Plan) -> Result<Vec<u8>, WorkbookError> {
    let mut book = Workbook::new();
    book.set_properties(
        &DocProperties::new()
            .set_title(format!("{}: plan of {}", plan.product, plan.as_of))
            .set_comment(format!("breakeven {}", plan.breakeven_version)),
    );
    for name in SHEETS {
        // No stored results: a program that trusts them would show zeros.
        book.add_worksheet().set_name(name)?.set_formula_result_default("");
    }
    let inputs = Inputs::of(plan);
    assumptions::write(&mut book, plan, &inputs)?;
    bill::write(&mut book, plan, &inputs)?;
    break_even::write(&mut book, plan, &inputs)?;
    decision::write(&mut book, plan, &inputs)?;
    evidence::write(&mut book, plan)?;
    Ok(book.save_to_buffer()?)
}

/// The plan's options beside what their bills are computed from.
struct Inputs<'a> {
    basis: Option<&'a CostBasis>,
    options: Vec<Column<'a>>,
}

/// One option: its column in every sheet, and the beginning of its names (`opt1`).
struct Column<'a> {
    plan: &'a OptionPlan,
    basis: Option<&'a OptionBasis>,
    prefix: String,
}

impl<'a> Inputs<'a> {
    fn of(plan: &'a Plan) -> Self {
        let basis = plan.cost_basis.as_ref();
        let options = plan.options.iter().enumerate().map(|(index, option)| Column {
            plan: option,
            basis: basis
                .filter(|_| option.infeasible.is_none())
                .and_then(|basis| basis.options.iter().find(|one| one.id == option.id)),
            prefix: format!("opt{}", index + 1),
        });
        Self { basis, options: options.collect() }
    }

    /// Our own replicas, where they can be had.
    fn own(&self) -> Option<&Column<'a>> {
        self.options
            .iter()
            .find(|column| column.plan.id == breakeven_planner::SELF_HOST && column.basis.is_some())
    }
}

/// Whether all lines of an option are live: the formulas of its basis give the plan's figures.
fn live(basis: &CostBasis, column: &Column<'_>) -> bool {
    column.plan.lines.iter().all(|line| line_is_live(basis, column, line))
}

fn line_is_live(basis: &CostBasis, column: &Column<'_>, line: &breakeven_planner::plan::CostLine) -> bool {
    let formula = column.basis.and_then(|option| basis.line(option, line.line, basis.requests_per_month));
    let shown = line.usd_per_month.to_f64();
    formula.is_some_and(|usd| (usd - shown).abs() <= SAME * shown.abs().max(1.0))
}
