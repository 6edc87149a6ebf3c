//! The assumptions: every number that a formula reads, in a cell with a name, a unit and a source.

use breakeven_planner::{
    Plan,
    basis::{CostBasis, SupplyBasis},
};
use rust_xlsxwriter::{RowNum, Workbook, Worksheet, XlsxError};

use super::{
    Column, Inputs, WorkbookError,
    bill::{OWN_RETRIES, RETRIES},
    sheet::{Formats, Kind, heads, letters, sheet, text, usd},
};

const SHEET: &str = "Assumptions";
/// Rows left free under the typed costs, which the formulas already read.
const SPARE_ROWS: u32 = 5;

/// Writes the sheet and defines its names.
pub(super) fn write(book: &mut Workbook, plan: &Plan, inputs: &Inputs<'_>) -> Result<(), WorkbookError> {
    let formats = Formats::new();
    let mut names = Vec::new();
    {
        let page = sheet(book, SHEET)?;
        page.set_column_width(0, 46)?.set_column_width(1, 16)?.set_column_width(2, 24)?;
        page.set_column_width(3, 34)?.set_column_width(4, 60)?.set_column_width(5, 16)?;
        page.set_freeze_panes(3, 1)?.set_landscape().set_print_fit_to_pages(1, 0);
        text(page, 0, 0, "Assumptions: change a yellow cell, and every sheet follows", &formats.title)?;
        heads(page, 2, &["assumption", "value", "unit", "name in formulas", "where from"], &formats)?;
        if let Some(basis) = inputs.basis {
            let mut writer = Writer { page, formats: &formats, row: 3, names: &mut names };
            writer.product(basis)?;
            for column in &inputs.options {
                writer.option(plan, column)?;
            }
            writer.segments(basis)?;
            for column in &inputs.options {
                writer.prices(basis, column)?;
            }
            writer.typed(basis)?;
            writer.rest(plan)?;
        } else {
            let why = "This plan was written by an earlier version and carries no cost basis: all sheets hold its figures. \
                       Plan again for live formulas.";
            text(page, 3, 0, why, &formats.note)?;
        }
    }
    for (name, range) in names {
        book.define_name(name, &range)?;
    }
    Ok(())
}

struct Writer<'a> {
    page: &'a mut Worksheet,
    formats: &'a Formats,
    row: RowNum,
    names: &'a mut Vec<(String, String)>,
}

impl Writer<'_> {
    /// One named cell.
    fn named(
        &mut self,
        label: &str,
        value: f64,
        kind: Kind,
        unit: &str,
        name: &str,
        from: &str,
    ) -> Result<(), XlsxError> {
        let row = self.row;
        text(self.page, row, 0, label, &self.formats.text)?;
        self.page.write_number_with_format(row, 1, value, &self.formats.input(kind))?;
        text(self.page, row, 2, unit, &self.formats.note)?;
        text(self.page, row, 3, name, &self.formats.note)?;
        text(self.page, row, 4, from, &self.formats.note)?;
        self.names.push((name.to_owned(), format!("={SHEET}!$B${}", row + 1)));
        self.row += 1;
        Ok(())
    }

    fn section(&mut self, title: &str, more: &[&str]) -> Result<(), XlsxError> {
        self.row += 1;
        let all: Vec<&str> = std::iter::once(title).chain(more.iter().copied()).collect();
        heads(self.page, self.row, &all, self.formats)?;
        self.row += 1;
        Ok(())
    }

    fn product(&mut self, basis: &CostBasis) -> Result<(), XlsxError> {
        let typed = "product file";
        self.named(
            "Requests a month",
            basis.requests_per_month,
            Kind::Count,
            "requests/month",
            "requests_per_month",
            &format!("{typed}: traffic.requests_per_month"),
        )?;
        self.named(
            "Retries a request",
            basis.retries_per_request,
            Kind::Number,
            "extra attempts/request",
            RETRIES,
            &format!("{typed}: success.retries_per_request"),
        )?;
        if let Some(measured) = basis.own_retries_per_request {
            self.named(
                "Retries a request of our own replicas",
                measured,
                Kind::Number,
                "extra attempts/request",
                OWN_RETRIES,
                "measured, in the place of success.retries_per_request",
            )?;
        }
        self.named(
            "Peak minute over the mean of its hour",
            basis.burst_factor,
            Kind::Number,
            "factor",
            "burst_factor",
            &format!("{typed}: traffic.burst_factor"),
        )?;
        self.named(
            "Replicas that may be down",
            f64::from(basis.replicas_lost),
            Kind::Count,
            "replicas",
            "replicas_lost",
            &format!("{typed}: fleet.replicas_lost"),
        )?;
        self.named(
            "Hours of a month",
            basis.hours_per_month,
            Kind::Number,
            "hours/month",
            "hours_per_month",
            "365.25 days x 24 h / 12",
        )
    }

    fn option(&mut self, plan: &Plan, column: &Column<'_>) -> Result<(), XlsxError> {
        let Some(basis) = column.basis else { return Ok(()) };
        let prefix = &column.prefix;
        self.section(&format!("Option {}: {}", prefix.trim_start_matches("opt"), column.plan.name), &[])?;
        self.named(
            "Requests that succeed",
            basis.success_probability,
            Kind::Share,
            "share of requests",
            &format!("{prefix}_success"),
            "product file: success_probability of the option, or success.probability",
        )?;
        let price_from = crate::view::price_origin(column.plan);
        match &basis.supply {
            SupplyBasis::Replicas { capacity_per_second, usd_per_replica_hour, .. } => {
                let measured = format!("measured in run {}", plan.measured.run_id);
                self.named(
                    "Requests that one replica carries under the SLO",
                    *capacity_per_second,
                    Kind::Number,
                    "requests/s",
                    &format!("{prefix}_capacity"),
                    &measured,
                )?;
                self.named(
                    "Price of a replica-hour",
                    usd_per_replica_hour.to_f64(),
                    Kind::Price,
                    "USD/replica-hour",
                    &format!("{prefix}_usd_per_hour"),
                    &price_from,
                )
            }
            SupplyBasis::Tokens { tokens_ratio, .. } => self.ratio(*tokens_ratio, prefix),
            SupplyBasis::Provisioned {
                usd_per_unit_hour,
                minimum_units,
                unit_step,
                input_tokens_per_second_per_unit,
                output_tokens_per_second_per_unit,
                tokens_ratio,
            } => {
                self.ratio(*tokens_ratio, prefix)?;
                for (label, value, kind, unit, name) in [
                    (
                        "Price of a unit-hour",
                        usd_per_unit_hour.to_f64(),
                        Kind::Price,
                        "USD/unit-hour",
                        "usd_per_unit",
                    ),
                    (
                        "Fewest units",
                        f64::from((*minimum_units).max(1)),
                        Kind::Count,
                        "units",
                        "minimum_units",
                    ),
                    (
                        "Units are sold in multiples of",
                        f64::from((*unit_step).max(1)),
                        Kind::Count,
                        "units",
                        "unit_step",
                    ),
                    (
                        "Prompt tokens of one unit",
                        *input_tokens_per_second_per_unit,
                        Kind::Number,
                        "tokens/s",
                        "input_per_unit",
                    ),
                    (
                        "Answer tokens of one unit",
                        *output_tokens_per_second_per_unit,
                        Kind::Number,
                        "tokens/s",
                        "output_per_unit",
                    ),
                ] {
                    self.named(label, value, kind, unit, &format!("{prefix}_{name}"), &price_from)?;
                }
                Ok(())
            }
            SupplyBasis::DiscountedTokens { .. } | SupplyBasis::Other => {
                let why = if matches!(basis.supply, SupplyBasis::Other) {
                    "owned hardware: its model calls stay at the plan's figure; plan again to change them"
                } else {
                    "cached or batch prices: its model calls stay at the plan's figure; plan again to change them"
                };
                text(self.page, self.row, 0, why, &self.formats.note)?;
                self.row += 1;
                Ok(())
            }
        }
    }

    fn ratio(&mut self, ratio: f64, prefix: &str) -> Result<(), XlsxError> {
        self.named(
            "Tokens of the same text in its tokenizer, over ours",
            ratio,
            Kind::Number,
            "factor",
            &format!("{prefix}_tokens_ratio"),
            "product file: tokens_ratio of the API; 1 where left out",
        )
    }

    /// The table of segments, and the names of its columns.
    fn segments(&mut self, basis: &CostBasis) -> Result<(), XlsxError> {
        self.section(
            "Traffic segment",
            &["weight", "share of requests", "mean prompt tokens", "mean answer tokens"],
        )?;
        let (first, last) = self.block(basis.segments.len());
        for segment in &basis.segments {
            let row = self.row;
            text(self.page, row, 0, &segment.name, &self.formats.text)?;
            self.page.write_number_with_format(row, 1, segment.weight, &self.formats.input(Kind::Number))?;
            let share = format!("=B{}/SUM(B${first}:B${last})", row + 1);
            self.page.write_formula_with_format(row, 2, share.as_str(), &self.formats.share)?;
            self.page.write_number_with_format(
                row,
                3,
                segment.input_tokens,
                &self.formats.input(Kind::Number),
            )?;
            self.page.write_number_with_format(
                row,
                4,
                segment.output_tokens,
                &self.formats.input(Kind::Number),
            )?;
            self.row += 1;
        }
        for (name, column) in
            [("segment_share", 2), ("segment_input_tokens", 3), ("segment_output_tokens", 4)]
        {
            self.range(name, column, first, last);
        }
        Ok(())
    }

    /// An API's prices, one row a segment: tiers are decided by a request's own length.
    fn prices(&mut self, basis: &CostBasis, column: &Column<'_>) -> Result<(), XlsxError> {
        let Some(SupplyBasis::Tokens { prices, .. }) = column.basis.map(|one| &one.supply) else {
            return Ok(());
        };
        let title = format!("Prices of {}, by segment", column.plan.name);
        let from = crate::view::price_origin(column.plan);
        self.section(
            &title,
            &[
                "USD/million prompt tokens",
                "USD/million answer tokens",
                "USD/request",
                &format!("where from: {from}"),
            ],
        )?;
        let (first, last) = self.block(prices.len());
        let one_price = prices.iter().all(|price| Some(price) == prices.first());
        for (price, segment) in prices.iter().zip(&basis.segments) {
            let row = self.row;
            text(self.page, row, 0, &segment.name, &self.formats.text)?;
            let amounts = [price.usd_per_million_input, price.usd_per_million_output, price.usd_per_request];
            for (amount, cell) in amounts.into_iter().zip(1u16..) {
                if one_price && row + 1 > first {
                    // The same price for all: the first row is the one to change.
                    let formula = format!("={}${first}", letters(cell));
                    self.page.write_formula_with_format(row, cell, formula.as_str(), &self.formats.price)?;
                } else {
                    usd(self.page, row, cell, amount, &self.formats.input(Kind::Price))?;
                }
            }
            self.row += 1;
        }
        for (name, cell) in [("input_price", 1), ("output_price", 2), ("request_price", 3)] {
            self.range(&format!("{}_{name}", column.prefix), cell, first, last);
        }
        Ok(())
    }

    /// The rest of the bill, with free rows.
    fn typed(&mut self, basis: &CostBasis) -> Result<(), XlsxError> {
        self.section(
            "Other costs: line",
            &["USD/month", "USD/request", "USD/failed request", "note", "only (all, self_host, api)"],
        )?;
        let spare = usize::try_from(SPARE_ROWS).unwrap_or(5);
        let (first, last) = self.block(basis.typed.len() + spare);
        for cost in &basis.typed {
            let row = self.row;
            text(self.page, row, 0, cost.line.label(), &self.formats.text)?;
            for (amount, column) in
                [cost.usd_per_month, cost.usd_per_request, cost.usd_per_failure].into_iter().zip(1u16..)
            {
                usd(self.page, row, column, amount, &self.formats.input(Kind::Price))?;
            }
            let note =
                cost.note.as_ref().map_or_else(|| cost.path.clone(), |note| format!("{}: {note}", cost.path));
            text(self.page, row, 4, &note, &self.formats.note)?;
            text(self.page, row, 5, cost.only.as_deref().unwrap_or("all"), &self.formats.text)?;
            self.row += 1;
        }
        for row in self.row..self.row + SPARE_ROWS {
            for column in [0, 1, 2, 3, 5] {
                self.page.write_blank(row, column, &self.formats.input(Kind::Price))?;
            }
            text(
                self.page,
                row,
                4,
                "free row: a line's name in column A, all, self_host or api in F",
                &self.formats.note,
            )?;
        }
        self.row += SPARE_ROWS;
        for (name, column) in [
            ("cost_line", 0),
            ("cost_per_month", 1),
            ("cost_per_request", 2),
            ("cost_per_failure", 3),
            ("cost_only", 5),
        ] {
            self.range(name, column, first, last);
        }
        Ok(())
    }

    /// What the plan assumes beside: for reading.
    fn rest(&mut self, plan: &Plan) -> Result<(), XlsxError> {
        self.section("Everything typed or assumed, as the plan lists it", &["value", "", "", "note"])?;
        for assumption in &plan.assumptions {
            let row = self.row;
            text(self.page, row, 0, &assumption.path, &self.formats.text)?;
            text(self.page, row, 1, &assumption.value, &self.formats.text)?;
            let note = assumption.note.clone().unwrap_or_default();
            let note = if assumption.default { format!("default. {note}") } else { note };
            text(self.page, row, 4, &note, &self.formats.note)?;
            self.row += 1;
        }
        Ok(())
    }

    /// First and last row of a block that begins here, as formulas count.
    fn block(&self, rows: usize) -> (u32, u32) {
        (self.row + 1, self.row + u32::try_from(rows.max(1)).unwrap_or(1))
    }

    fn range(&mut self, name: &str, column: u16, first: u32, last: u32) {
        let column = letters(column);
        self.names.push((name.to_owned(), format!("={SHEET}!${column}${first}:${column}${last}")));
    }
}
