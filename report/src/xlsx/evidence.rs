//! What was measured, and where every figure of the bill comes from: values, not formulas.

use breakeven_planner::Plan;
use rust_xlsxwriter::{Chart, ChartType, Workbook};

use super::{
    WorkbookError,
    sheet::{Formats, heads, sheet, text, usd},
};

/// Writes both sheets.
pub(super) fn write(book: &mut Workbook, plan: &Plan) -> Result<(), WorkbookError> {
    let formats = Formats::new();
    measured(book, plan, &formats)?;
    let page = sheet(book, "Sources")?;
    page.set_column_width(0, 36)?
        .set_column_width(1, 20)?
        .set_column_width(2, 16)?
        .set_column_width(3, 110)?;
    page.set_freeze_panes(1, 0)?;
    heads(page, 0, &["option", "line", "USD/month", "where it comes from"], &formats)?;
    let mut row = 1;
    for option in &plan.options {
        for line in option.lines.iter().filter(|line| !line.usd_per_month.0.is_zero()) {
            for (origin, index) in crate::view::origins(&line.from).iter().zip(0..) {
                if index == 0 {
                    text(page, row, 0, &option.name, &formats.text)?;
                    text(page, row, 1, line.line.label(), &formats.text)?;
                    usd(page, row, 2, line.usd_per_month, &formats.money)?;
                }
                let indent = "    ".repeat(origin.depth.min(20));
                text(page, row, 3, &format!("{indent}{}", origin.text), &formats.text)?;
                row += 1;
            }
        }
    }
    Ok(())
}

fn measured(book: &mut Workbook, plan: &Plan, formats: &Formats) -> Result<(), WorkbookError> {
    let page = sheet(book, "Measured")?;
    page.set_column_width(0, 16)?;
    for column in 1..=8 {
        page.set_column_width(column, 16)?;
    }
    let m = &plan.measured;
    let about = [("run", &m.run_id), ("machine", &m.machine), ("model", &m.model), ("SLO", &m.slo)];
    for ((label, value), row) in about.into_iter().zip(0u32..) {
        text(page, row, 0, label, &formats.head)?;
        text(page, row, 1, value, &formats.text)?;
    }
    let names = [
        "point",
        "offered, requests/s",
        "achieved, requests/s",
        "goodput, share",
        "TTFT p50, s",
        "TTFT p95, s",
        "TPOT p50, s",
        "output tokens/s",
    ];
    let first = 6;
    heads(page, first - 1, &names, formats)?;
    for (point, row) in plan.load_curve.iter().zip(first..) {
        text(page, row, 0, &point.source, &formats.text)?;
        let cells = [
            Some(point.offered_per_second),
            Some(point.achieved_per_second),
            point.goodput.map(breakeven_measurement::Fraction::get),
            point.ttft_p50_seconds,
            point.ttft_p95_seconds,
            point.tpot_p50_seconds,
            Some(point.output_tokens_per_second),
        ];
        for (cell, column) in cells.into_iter().zip(1u16..) {
            // What was not measured stays empty.
            if let Some(value) = cell.filter(|value| value.is_finite()) {
                page.write_number_with_format(row, column, value, &formats.number)?;
            }
        }
    }
    let rows = u32::try_from(plan.load_curve.len()).unwrap_or(0);
    if rows > 0 {
        let last = first + rows - 1;
        for (title, unit, columns, at) in [
            ("Throughput against offered load", "requests/s", [2, 2], 2),
            ("TTFT against offered load", "s", [4, 5], 20),
        ] {
            let mut chart = Chart::new(ChartType::Scatter);
            chart.title().set_name(title);
            chart.x_axis().set_name("offered, requests/s");
            chart.y_axis().set_name(unit);
            for column in columns[0]..=columns[1] {
                chart
                    .add_series()
                    .set_name(("Measured", first - 1, column))
                    .set_categories(("Measured", first, 1, last, 1))
                    .set_values(("Measured", first, column, last, column));
            }
            chart.set_alt_text(title);
            page.insert_chart(last + at, 0, &chart)?;
        }
    }
    Ok(())
}
