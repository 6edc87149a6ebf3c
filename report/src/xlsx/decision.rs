//! The first sheet: the answer as planned, and as the cells now say.

use breakeven_planner::Plan;
use rust_xlsxwriter::{Chart, ChartType, Workbook};

use super::{
    Inputs, WorkbookError,
    bill::{TOTAL, column_of},
    break_even::{contests, result_cell},
    sheet::{Formats, heads, sheet, text},
};

/// Row of the first option, as formulas count.
const FIRST: u32 = 9;

/// Writes the sheet.
pub(super) fn write(book: &mut Workbook, plan: &Plan, inputs: &Inputs<'_>) -> Result<(), WorkbookError> {
    let formats = Formats::new();
    let page = sheet(book, "Decision")?;
    page.set_column_width(0, 44)?.set_landscape().set_print_fit_to_pages(1, 0);
    for column in 1..=5 {
        page.set_column_width(column, 22)?;
    }
    text(page, 0, 0, &format!("{}: plan of {}", plan.product, plan.as_of), &formats.title)?;
    text(page, 2, 0, "as planned", &formats.head)?;
    text(page, 2, 1, &plan.decision.headline, &formats.text)?;
    page.merge_range(
        2,
        1,
        2,
        5,
        &plan.decision.headline.chars().take(2_000).collect::<String>(),
        &formats.text,
    )?;
    page.set_row_height(2, 48)?;
    text(page, 3, 0, "cheapest per successful outcome, by the cells", &formats.head)?;
    let had = inputs.options.iter().filter(|option| option.plan.infeasible.is_none()).count();
    let last = FIRST + u32::try_from(inputs.options.len()).unwrap_or(1).max(1) - 1;
    if had > 0 {
        let costs = format!("$D${FIRST}:$D${last}");
        let choice = format!("=INDEX($A${FIRST}:$A${last},MATCH(MIN({costs}),{costs},0))");
        page.write_formula_with_format(3, 1, choice.as_str(), &formats.title)?;
        text(page, 4, 0, "its cost per successful outcome, USD", &formats.head)?;
        page.write_formula_with_format(4, 1, format!("=MIN({costs})").as_str(), &formats.price)?;
    }
    let names = [
        "option",
        "USD/month",
        "USD/request",
        "USD/successful outcome",
        "self-host break-even, requests/month",
        "note",
    ];
    heads(page, FIRST - 2, &names, &formats)?;
    let contests = contests(inputs);
    for (option, index) in inputs.options.iter().zip(0usize..) {
        let row = FIRST - 1 + u32::try_from(index).unwrap_or(0);
        text(page, row, 0, &option.plan.name, &formats.text)?;
        if let Some(why) = &option.plan.infeasible {
            text(page, row, 5, &format!("cannot be had: {why}"), &formats.note)?;
            continue;
        }
        let column = column_of(index);
        for (cell, line, format) in
            [(1, TOTAL, &formats.money), (2, TOTAL + 1, &formats.price), (3, TOTAL + 2, &formats.price)]
        {
            page.write_formula_with_format(row, cell, format!("=Bill!{column}{line}").as_str(), format)?;
        }
        if let Some((_, first)) = contests.iter().find(|(api, _)| api.plan.id == option.plan.id) {
            page.write_formula_with_format(
                row,
                4,
                format!("={}", result_cell(*first)).as_str(),
                &formats.count,
            )?;
        }
        text(page, row, 5, &crate::view::note(plan, option.plan), &formats.note)?;
    }
    let mut row = last + 1;
    text(page, row, 0, "What would change this (as planned)", &formats.head)?;
    for change in &plan.decision.would_change {
        row += 1;
        text(page, row, 0, change, &formats.text)?;
    }
    row += 2;
    for warning in &plan.warnings {
        text(page, row, 0, &format!("warning: {warning}"), &formats.note)?;
        row += 1;
    }
    if had > 0 {
        let mut chart = Chart::new(ChartType::Bar);
        chart.title().set_name("Cost per successful outcome");
        chart.legend().set_hidden();
        chart.x_axis().set_name("USD per successful outcome").set_num_format("$0.0000");
        chart.y_axis().set_reverse();
        chart
            .add_series()
            .set_name("USD per successful outcome")
            .set_categories(("Decision", FIRST - 1, 0, last - 1, 0))
            .set_values(("Decision", FIRST - 1, 3, last - 1, 3));
        chart.set_width(900).set_height(360).set_alt_text("Cost per successful outcome of every option");
        page.insert_chart(row + 1, 0, &chart)?;
    }
    Ok(())
}
