//! Break-even in the sheet itself: the planner's grid of volumes, the last one at which self-host is dearer, and the same
//! halvings of the interval behind it.

use breakeven_planner::{
    Plan,
    break_even::{HALVINGS, VOLUMES, volumes},
};
use rust_xlsxwriter::{Chart, ChartType, Workbook};

use super::{
    Column, Inputs, WorkbookError,
    bill::total_at,
    live,
    sheet::{Formats, heads, letters, sheet, text},
};

/// Row of the first volume, as formulas count.
const FIRST: u32 = 6;
/// Columns of one API: cost, dearer volume, and the five of its halvings.
const WIDTH: u16 = 7;
/// Lines of the chart; more would be a tangle.
const DRAWN: usize = 8;

/// The APIs whose break-even is live, with their first column: both sides' bills must be.
pub(super) fn contests<'a, 'b>(inputs: &'b Inputs<'a>) -> Vec<(&'b Column<'a>, u16)> {
    let Some(basis) = inputs.basis else { return Vec::new() };
    if !inputs.own().is_some_and(|own| live(basis, own) && total_at(basis, own, "A1").is_some()) {
        return Vec::new();
    }
    let own = breakeven_planner::SELF_HOST;
    let apis = inputs.options.iter().filter(|column| column.plan.id != own && column.basis.is_some());
    apis.filter(|column| live(basis, column) && total_at(basis, column, "A1").is_some())
        .zip((2u16..).step_by(usize::from(WIDTH)))
        .collect()
}

/// The cell that holds an API's break-even.
pub(super) fn result_cell(first_column: u16) -> String {
    format!("'Break-even'!${}$3", letters(first_column))
}

/// Writes the sheet.
pub(super) fn write(book: &mut Workbook, plan: &Plan, inputs: &Inputs<'_>) -> Result<(), WorkbookError> {
    let formats = Formats::new();
    let page = sheet(book, "Break-even")?;
    page.set_column_width(0, 22)?.set_column_width(1, 20)?.set_freeze_panes(FIRST - 1, 2)?;
    text(page, 0, 0, "Break-even: cost per successful outcome against volume, USD", &formats.title)?;
    let contests = contests(inputs);
    let (Some(basis), Some(own), false) = (inputs.basis, inputs.own(), contests.is_empty()) else {
        let why = "No live break-even: a bill of self-host or of every API has a line without a formula. The plan's own:";
        text(page, 1, 0, why, &formats.note)?;
        for (entry, row) in crate::view::break_evens(plan).iter().zip(2u32..) {
            text(page, row, 0, entry, &formats.text)?;
        }
        return Ok(());
    };
    text(page, 2, 0, "break-even, requests/month", &formats.head)?;
    text(page, 3, 0, "as planned", &formats.note)?;
    heads(page, FIRST - 2, &["requests/month", &own.plan.name], &formats)?;
    let grid = volumes();
    let steps = u32::try_from(grid.len()).unwrap_or(0);
    let last = FIRST + steps - 1;
    // From one volume of the grid to the next.
    let ratio = grid.get(1).copied().unwrap_or(1.0) / grid.first().copied().unwrap_or(1.0);
    let per_success = |column: &Column<'_>, volume: &str| {
        total_at(basis, column, volume).map(|total| format!("{total}/({volume}*{}_success)", column.prefix))
    };
    for (volume, row) in grid.iter().zip(FIRST - 1..) {
        page.write_number_with_format(row, 0, *volume, &formats.count)?;
        if let Some(formula) = per_success(own, &format!("$A{}", row + 1)) {
            page.write_formula_with_format(row, 1, format!("={formula}").as_str(), &formats.price)?;
        }
    }
    for (api, first) in &contests {
        let names: Vec<String> = (*first..*first + WIDTH).map(letters).collect();
        let [cost, dearer, low, high, middle, ours, theirs] = names.as_slice() else { continue };
        text(page, 1, *first, &api.plan.name, &formats.head)?;
        let columns = (*first..).take(usize::from(WIDTH));
        let labels = [
            "its cost per success",
            "volume where self-host is dearer",
            "low end",
            "high end",
            "middle",
            "self-host there",
            "the API there",
        ];
        for (label, column) in labels.into_iter().zip(columns) {
            page.set_column_width(column, 16)?;
            text(page, FIRST - 2, column, label, &formats.head)?;
        }
        for row in FIRST..=last {
            if let Some(formula) = per_success(api, &format!("$A{row}")) {
                page.write_formula_with_format(
                    row - 1,
                    *first,
                    format!("={formula}").as_str(),
                    &formats.price,
                )?;
            }
            let formula = format!("=IF($B{row}<{cost}{row},0,$A{row})");
            page.write_formula_with_format(row - 1, first + 1, formula.as_str(), &formats.count)?;
        }
        for row in FIRST..=FIRST + HALVINGS {
            let (from, to) = if row == FIRST {
                let last_dearer = format!("MAX({dearer}${FIRST}:{dearer}${last})");
                (
                    format!("=MAX({last_dearer},{})", VOLUMES.0),
                    format!("=MAX({last_dearer},{})*{ratio}", VOLUMES.0),
                )
            } else {
                let above = row - 1;
                (
                    format!("=IF({ours}{above}<{theirs}{above},{low}{above},{middle}{above})"),
                    format!("=IF({ours}{above}<{theirs}{above},{middle}{above},{high}{above})"),
                )
            };
            page.write_formula_with_format(row - 1, first + 2, from.as_str(), &formats.count)?;
            page.write_formula_with_format(row - 1, first + 3, to.as_str(), &formats.count)?;
            let formula = format!("=SQRT({low}{row}*{high}{row})");
            page.write_formula_with_format(row - 1, first + 4, formula.as_str(), &formats.count)?;
            for (column, option) in [(first + 5, own), (first + 6, *api)] {
                if let Some(formula) = per_success(option, &format!("{middle}{row}")) {
                    page.write_formula_with_format(
                        row - 1,
                        column,
                        format!("={formula}").as_str(),
                        &formats.price,
                    )?;
                }
            }
        }
        let all = format!("{dearer}{FIRST}:{dearer}{last}");
        let result = format!(
            "=IF(MAX({all})=0,\"self-host cheaper at every volume\",IF({dearer}{last}>0,\"self-host dearer up to {:.0}\",{high}{}))",
            VOLUMES.1,
            FIRST + HALVINGS
        );
        page.write_formula_with_format(2, *first, result.as_str(), &formats.count)?;
        if let Some(entry) = plan.break_evens.iter().find(|entry| entry.api == api.plan.id) {
            text(page, 3, *first, &crate::view::crossing(entry), &formats.note)?;
        }
    }
    let mut chart = Chart::new(ChartType::ScatterStraight);
    chart.title().set_name("Cost per successful outcome against volume");
    chart.x_axis().set_name("requests/month").set_log_base(10).set_min(VOLUMES.0).set_num_format("#,##0");
    chart.y_axis().set_name("USD per successful outcome").set_log_base(10).set_num_format("$0.0000");
    let drawn = std::iter::once(1).chain(contests.iter().map(|(_, first)| *first)).take(DRAWN);
    for column in drawn {
        let name = if column == 1 { ("Break-even", FIRST - 2, 1) } else { ("Break-even", 1, column) };
        chart
            .add_series()
            .set_name(name)
            .set_categories(("Break-even", FIRST - 1, 0, last - 1, 0))
            .set_values(("Break-even", FIRST - 1, column, last - 1, column));
    }
    chart
        .set_width(900)
        .set_height(420)
        .set_alt_text("Cost per successful outcome of self-host and the APIs");
    page.insert_chart(last + 2, 0, &chart)?;
    Ok(())
}
