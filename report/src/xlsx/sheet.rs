//! Cells: formats, and writing that keeps a file's text text.

use breakeven_hardware::Usd;
use rust_xlsxwriter::{
    ColNum, Color, Format, FormatAlign, FormatBorder, RowNum, Workbook, Worksheet, XlsxError,
};

/// The formats of the workbook, made once.
pub(super) struct Formats {
    pub(super) title: Format,
    pub(super) head: Format,
    pub(super) text: Format,
    pub(super) note: Format,
    pub(super) money: Format,
    pub(super) total: Format,
    pub(super) price: Format,
    pub(super) count: Format,
    pub(super) number: Format,
    pub(super) share: Format,
}

/// What a number of a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Price,
    Count,
    Number,
    Share,
}

const MONEY: &str = "$#,##0.00;[Red]-$#,##0.00";
const PRICE: &str = "$#,##0.00######";
const COUNT: &str = "#,##0";
const NUMBER: &str = "#,##0.######";
const SHARE: &str = "0.0##%";

impl Formats {
    pub(super) fn new() -> Self {
        let number = |format: &str| Format::new().set_num_format(format);
        Self {
            title: Format::new().set_bold().set_font_size(14),
            head: Format::new()
                .set_bold()
                .set_text_wrap()
                .set_align(FormatAlign::Top)
                .set_border_bottom(FormatBorder::Thin),
            text: Format::new().set_text_wrap().set_align(FormatAlign::Top),
            note: Format::new().set_font_color(Color::Gray).set_text_wrap().set_align(FormatAlign::Top),
            money: number(MONEY),
            total: number(MONEY).set_bold().set_border_top(FormatBorder::Thin),
            price: number(PRICE),
            count: number(COUNT),
            number: number(NUMBER),
            share: number(SHARE),
        }
    }

    pub(super) fn of(&self, kind: Kind) -> &Format {
        match kind {
            Kind::Price => &self.price,
            Kind::Count => &self.count,
            Kind::Number => &self.number,
            Kind::Share => &self.share,
        }
    }

    /// A cell to change: blue on pale yellow, as models in finance mark their inputs.
    pub(super) fn input(&self, kind: Kind) -> Format {
        self.of(kind)
            .clone()
            .set_font_color(Color::RGB(0x1f_3f_bf))
            .set_background_color(Color::RGB(0xff_f8_d6))
            .set_border(FormatBorder::Hair)
    }
}

/// A sheet by its name.
pub(super) fn sheet<'a>(book: &'a mut Workbook, name: &str) -> Result<&'a mut Worksheet, XlsxError> {
    book.worksheet_from_name(name)
}

/// A row of heads.
pub(super) fn heads(
    sheet: &mut Worksheet,
    row: RowNum,
    heads: &[&str],
    formats: &Formats,
) -> Result<(), XlsxError> {
    for (head, column) in heads.iter().zip(0..) {
        sheet.write_string_with_format(row, column, *head, &formats.head)?;
    }
    Ok(())
}

/// Text of a file: never a formula, whatever it begins with, and no longer than a cell holds.
pub(super) fn text(
    sheet: &mut Worksheet,
    row: RowNum,
    column: ColNum,
    text: &str,
    format: &Format,
) -> Result<(), XlsxError> {
    let clean: String = text.chars().filter(|letter| !letter.is_control()).take(2_000).collect();
    sheet.write_string_with_format(row, column, clean, format)?;
    Ok(())
}

/// An amount of the plan as a number.
pub(super) fn usd(
    sheet: &mut Worksheet,
    row: RowNum,
    column: ColNum,
    amount: Usd,
    format: &Format,
) -> Result<(), XlsxError> {
    sheet.write_number_with_format(row, column, amount.to_f64(), format)?;
    Ok(())
}

/// `A`, `B`, … `AA` of a column from 0.
pub(super) fn letters(column: ColNum) -> String {
    rust_xlsxwriter::utility::column_number_to_name(column)
}
