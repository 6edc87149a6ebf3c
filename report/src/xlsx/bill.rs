//! The bill, line by line and option by option, and the replicas of every hour behind it.

use breakeven_planner::{
    Plan,
    basis::{CostBasis, HAIR, OptionBasis, SupplyBasis},
    plan::LineItem,
};
use rust_xlsxwriter::{Chart, ChartType, Workbook};

use super::{
    Column, Inputs, WorkbookError, line_is_live,
    sheet::{Formats, heads, letters, sheet, text, usd},
};

/// Row of the first line, as formulas count.
pub(super) const FIRST_LINE: u32 = 4;
/// Row of the totals.
pub(super) const TOTAL: u32 = FIRST_LINE + 17;

/// A column of the bill, as formulas name it.
pub(super) fn column_of(index: usize) -> String {
    letters(u16::try_from(index + 1).unwrap_or(u16::MAX))
}

/// Writes the bill, and the sheet of hours.
pub(super) fn write(book: &mut Workbook, plan: &Plan, inputs: &Inputs<'_>) -> Result<(), WorkbookError> {
    let formats = Formats::new();
    hours(book, inputs, &formats)?;
    let page = sheet(book, "Bill")?;
    page.set_column_width(0, 30)?.set_freeze_panes(3, 1)?.set_landscape().set_print_fit_to_pages(1, 0);
    text(page, 0, 0, "Bill of a month, USD: every line of every option", &formats.title)?;
    heads(page, 2, &["line"], &formats)?;
    for (line, row) in LineItem::ALL.into_iter().zip(FIRST_LINE - 1..) {
        text(page, row, 0, line.label(), &formats.text)?;
    }
    let after = TOTAL - 1;
    for (label, row) in [
        "total",
        "a request",
        "a successful outcome",
        "as planned: total",
        "changed by",
        "lines held at the plan's figure",
    ]
    .into_iter()
    .zip(after..)
    {
        text(page, row, 0, label, &formats.head)?;
    }
    for (option, index) in inputs.options.iter().zip(0usize..) {
        let column = u16::try_from(index + 1).unwrap_or(u16::MAX);
        let name = column_of(index);
        page.set_column_width(column, 20)?;
        text(page, 2, column, &option.plan.name, &formats.head)?;
        let mut held = Vec::new();
        for (line, row) in option.plan.lines.iter().zip(FIRST_LINE - 1..) {
            let formula = inputs
                .basis
                .filter(|basis| line_is_live(basis, option, line))
                .and_then(|basis| formula_of(basis, option, line.line, "requests_per_month"));
            if let Some(formula) = formula {
                page.write_formula_with_format(row, column, formula.as_str(), &formats.money)?;
            } else {
                usd(page, row, column, line.usd_per_month, &formats.money)?;
                held.push(line.line.label());
            }
        }
        let last = TOTAL - 1;
        let total = format!("=SUM({name}{FIRST_LINE}:{name}{last})");
        page.write_formula_with_format(after, column, total.as_str(), &formats.total)?;
        if option.plan.infeasible.is_none() {
            let success = if option.basis.is_some() {
                format!("{}_success", option.prefix)
            } else {
                option.plan.success_probability.get().to_string()
            };
            let requests = if inputs.basis.is_some() {
                "requests_per_month".to_owned()
            } else {
                plan.traffic.requests_per_month.to_string()
            };
            let request = format!("={name}{TOTAL}/{requests}");
            page.write_formula_with_format(after + 1, column, request.as_str(), &formats.price)?;
            let outcome = format!("=IF({success}>0,{name}{TOTAL}/({requests}*{success}),\"\")");
            page.write_formula_with_format(after + 2, column, outcome.as_str(), &formats.price)?;
        }
        usd(page, after + 3, column, option.plan.usd_per_month, &formats.money)?;
        let change = format!("={name}{TOTAL}-{name}{}", TOTAL + 3);
        page.write_formula_with_format(after + 4, column, change.as_str(), &formats.money)?;
        let held = match &option.plan.infeasible {
            Some(why) => format!("cannot be had: {why}"),
            None if held.is_empty() => "none".to_owned(),
            None => held.join(", "),
        };
        text(page, after + 5, column, &held, &formats.note)?;
    }
    if !inputs.options.is_empty() {
        let last = u16::try_from(inputs.options.len()).unwrap_or(u16::MAX);
        let mut chart = Chart::new(ChartType::ColumnStacked);
        chart.title().set_name("Cost a month by line");
        chart.y_axis().set_name("USD/month").set_num_format("$#,##0");
        for row in FIRST_LINE - 1..TOTAL - 1 {
            chart
                .add_series()
                .set_name(("Bill", row, 0))
                .set_categories(("Bill", 2, 1, 2, last))
                .set_values(("Bill", row, 1, row, last));
        }
        chart.set_width(900).set_height(420).set_alt_text("Cost a month of every option, stacked by line");
        page.insert_chart(TOTAL + 7, 0, &chart)?;
    }
    Ok(())
}

/// One line of an option's bill at a volume, as a formula; `None` without one.
fn formula_of(basis: &CostBasis, option: &Column<'_>, line: LineItem, volume: &str) -> Option<String> {
    let one = option.basis?;
    let calls = match line {
        LineItem::Inference => Some(calls(basis, option, volume, Calls::First)?),
        LineItem::Retries => Some(calls(basis, option, volume, Calls::Retries)?),
        _ => None,
    };
    let typed = typed(one, &option.prefix, volume, Some(line.label()));
    Some(match calls {
        Some(calls) => format!("={calls}+{typed}"),
        None => format!("={typed}"),
    })
}

/// Name of the cell with the typed retries a request.
pub(super) const RETRIES: &str = "retries_per_request";
/// Name of the cell with those that were measured on our own replicas.
pub(super) const OWN_RETRIES: &str = "own_retries_per_request";

/// The cell of our own replicas' retries.
fn own_retries(basis: &CostBasis) -> &'static str {
    if basis.own_retries_per_request.is_some() { OWN_RETRIES } else { RETRIES }
}

/// Which of the model calls.
#[derive(Debug, Clone, Copy)]
enum Calls {
    First,
    Retries,
    All,
}

/// An option's whole bill at a volume, as a formula without its equals sign; `None` without one.
pub(super) fn total_at(basis: &CostBasis, option: &Column<'_>, volume: &str) -> Option<String> {
    let one = option.basis?;
    let calls = calls(basis, option, volume, Calls::All)?;
    Some(format!("({calls}+{})", typed(one, &option.prefix, volume, None)))
}

/// What the table of other costs adds.
fn typed(option: &OptionBasis, prefix: &str, volume: &str, line: Option<&str>) -> String {
    let kind = option.kind();
    let aided = if option.aided > 0.0 { format!("-{}", option.aided) } else { String::new() };
    let line = line.map(|label| format!("(cost_line=\"{label}\")*")).unwrap_or_default();
    format!(
        "SUMPRODUCT({line}((cost_only=\"all\")+(cost_only=\"{kind}\"))*(cost_per_month+cost_per_request*{volume}+cost_per_failure*{volume}*(1-{prefix}_success{aided})))"
    )
}

fn calls(basis: &CostBasis, option: &Column<'_>, volume: &str, which: Calls) -> Option<String> {
    let prefix = &option.prefix;
    let own = option.basis?;
    // Our replicas answer all attempts of a request; an API's requests are asked as often as its own users do.
    let asked = match &own.supply {
        SupplyBasis::Replicas { .. } => basis.attempts_per_request,
        _ => Some(own.asked).filter(|asked| *asked > 1.0),
    };
    let volume = &asked.map_or_else(|| volume.to_owned(), |times| format!("({volume}*{times})"));
    // Attempts per second, on average.
    let retries = match &own.supply {
        SupplyBasis::Replicas { .. } => own_retries(basis),
        _ => RETRIES,
    };
    let mean = format!("({volume}*(1+{retries})/(hours_per_month*3600))");
    let of_all = match which {
        Calls::First => format!("/(1+{retries})"),
        Calls::Retries => format!("*{retries}/(1+{retries})"),
        Calls::All => String::new(),
    };
    Some(match &own.supply {
        SupplyBasis::Replicas { pays_for_the_peak, .. } => {
            let needed = |busiest: &str| {
                format!("ROUNDUP({mean}*{busiest}*burst_factor/{prefix}_capacity-{HAIR:.9},0)")
            };
            let replicas = if *pays_for_the_peak {
                format!("(MAX(1,{})+replicas_lost)", needed("MAX(hour_busiest)"))
            } else {
                let each = needed("hour_busiest");
                let hours = basis.busiest_by_hour.len();
                format!("((SUMPRODUCT({each}+({each}<1)*(1-{each})))/{hours}+replicas_lost)")
            };
            format!("{prefix}_usd_per_hour*{replicas}*hours_per_month{of_all}")
        }
        SupplyBasis::Tokens { .. } => {
            let tokens = |mean: &str| format!("ROUND({volume}*segment_share*{mean}*{prefix}_tokens_ratio,0)");
            let requests = format!("ROUND({volume}*segment_share,0)");
            let base = format!(
                "SUMPRODUCT({}*{prefix}_input_price/1000000+{}*{prefix}_output_price/1000000+({requests}+({requests}<1)*(1-{requests}))*{prefix}_request_price)",
                tokens("segment_input_tokens"),
                tokens("segment_output_tokens"),
            );
            match which {
                Calls::First => base,
                Calls::Retries => format!("{base}*{retries}"),
                Calls::All => format!("{base}*(1+{retries})"),
            }
        }
        SupplyBasis::Provisioned { .. } => {
            let per_unit =
                |tokens: &str, unit: &str| format!("SUMPRODUCT(segment_share*{tokens})/{prefix}_{unit}");
            let wanted = format!(
                "{mean}*MAX(hour_busiest)*burst_factor*{prefix}_tokens_ratio*({}+{})",
                per_unit("segment_input_tokens", "input_per_unit"),
                per_unit("segment_output_tokens", "output_per_unit"),
            );
            format!(
                "ROUNDUP(MAX(ROUNDUP({wanted},0),{prefix}_minimum_units)/{prefix}_unit_step,0)*{prefix}_unit_step*{prefix}_usd_per_unit*hours_per_month{of_all}"
            )
        }
        SupplyBasis::DiscountedTokens { .. } | SupplyBasis::Other => return None,
    })
}

/// The week: what each hour must be ready for, and how many replicas that is.
fn hours(book: &mut Workbook, inputs: &Inputs<'_>, formats: &Formats) -> Result<(), WorkbookError> {
    let Some(basis) = inputs.basis else { return Ok(()) };
    let rows = u32::try_from(basis.busiest_by_hour.len()).unwrap_or(0);
    {
        let page = sheet(book, "Hours")?;
        page.set_column_width(0, 16)?
            .set_column_width(1, 22)?
            .set_column_width(2, 22)?
            .set_column_width(3, 16)?;
        page.set_freeze_panes(1, 0)?;
        let first = [
            "hour of the week",
            "busiest hour within the scale-up lag / mean",
            "ready for, requests/s",
            "replicas",
        ];
        heads(page, 0, &first, formats)?;
        let own = inputs
            .own()
            .filter(|own| matches!(own.basis.map(|one| &one.supply), Some(SupplyBasis::Replicas { .. })));
        for (busiest, row) in basis.busiest_by_hour.iter().zip(1u32..) {
            let hour = row - 1;
            let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
            let day = day.get(usize::try_from(hour / 24).unwrap_or(0) % 7).copied().unwrap_or_default();
            text(page, row, 0, &format!("{day} {:02}:00", hour % 24), &formats.text)?;
            page.write_number_with_format(row, 1, *busiest, &formats.number)?;
            let attempts = basis.attempts_per_request.map(|n| format!("*{n}")).unwrap_or_default();
            let retries = own_retries(basis);
            let ready = format!(
                "=requests_per_month{attempts}*(1+{retries})/(hours_per_month*3600)*B{}*burst_factor",
                row + 1
            );
            page.write_formula_with_format(row, 2, ready.as_str(), &formats.number)?;
            if let Some(own) = own {
                let replicas = format!(
                    "=MAX(1,ROUNDUP(C{}/{}_capacity-{HAIR:.9},0))+replicas_lost",
                    row + 1,
                    own.prefix
                );
                page.write_formula_with_format(row, 3, replicas.as_str(), &formats.count)?;
            }
        }
        if own.is_some() {
            let mut chart = Chart::new(ChartType::Column);
            chart.title().set_name("Replicas by hour of the week");
            chart.legend().set_hidden();
            chart.y_axis().set_name("replicas");
            chart
                .add_series()
                .set_name("replicas")
                .set_categories(("Hours", 1, 0, rows, 0))
                .set_values(("Hours", 1, 3, rows, 3));
            chart.set_width(900).set_height(320).set_alt_text("Replicas needed in every hour of the week");
            page.insert_chart(1, 5, &chart)?;
        }
    }
    book.define_name("hour_busiest", &format!("=Hours!$B$2:$B${}", rows + 1))?;
    Ok(())
}
