//! Writes a book back as sheets that read the same: what an import leaves behind.

use rust_decimal::Decimal;

use super::PriceBook;
use super::api::{API_COLUMNS, ApiPrice, Service, TokenRates};
use super::compute::{COMPUTE_COLUMNS, ComputePrice};
use super::currency::Conversion;
use super::origin::Origin;
use super::table::Columns;
use crate::money::Usd;

impl PriceBook {
    /// The compute prices as a CSV sheet.
    pub fn compute_csv(&self) -> String {
        sheet(COMPUTE_COLUMNS, self.compute.iter().map(compute_cells))
    }

    /// The API prices as a CSV sheet.
    pub fn api_csv(&self) -> String {
        sheet(API_COLUMNS, self.api.iter().flat_map(api_rows))
    }
}

/// The filled cells of a row, by column.
type Cells = Vec<(&'static str, String)>;

fn sheet(columns: Columns, rows: impl Iterator<Item = Cells>) -> String {
    let header: Vec<&str> =
        columns.required.iter().chain(columns.optional.unwrap_or_default()).copied().collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |cells: &[&str]| {
        // Writing into memory cannot fail, and all rows have the header's length.
        drop(writer.write_record(cells));
    };
    write(&header);
    for cells in rows {
        let value = |column: &&str| {
            cells.iter().find(|(name, _)| name == column).map_or("", |(_, text)| text.as_str())
        };
        write(&header.iter().map(value).collect::<Vec<_>>());
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn compute_cells(price: &ComputePrice) -> Cells {
    let mut cells = vec![
        ("provider", price.provider.clone()),
        ("device", price.device.clone()),
        ("device_count", price.device_count.to_string()),
        ("term", price.term.to_string()),
        ("price_per_hour", amount(price.usd_per_hour.0, price.converted.as_ref())),
    ];
    let optional = [
        ("region", &price.region),
        ("instance", &price.instance),
        ("sku", &price.sku),
        ("tier", &price.tier),
    ];
    cells.extend(optional.into_iter().filter_map(|(column, text)| Some((column, text.clone()?))));
    cells.extend(price.device_memory.map(|memory| ("device_memory_gb", (memory.0 >> 30).to_string())));
    cells.extend(origin(&price.origin));
    cells.extend(currency(price.converted.as_ref()));
    cells
}

/// One row for each step of each class of service, ordinary service first.
fn api_rows(price: &ApiPrice) -> Vec<Cells> {
    let mut rows = Vec::new();
    for (service, schedule) in &price.services {
        let has_base = *service == Service::Standard || !schedule.base.is_empty();
        let base = has_base.then_some((0, schedule.base));
        let steps =
            base.into_iter().chain(schedule.tiers.iter().map(|tier| (tier.above_input_tokens, tier.rates)));
        for (above_input_tokens, rates) in steps {
            let mut cells = vec![
                ("provider", price.provider.clone()),
                ("model", price.model.clone()),
                ("service", service.to_string()),
            ];
            if above_input_tokens > 0 {
                cells.push(("above_input_tokens", above_input_tokens.to_string()));
            } else if *service == Service::Standard {
                let fee = |fee: Option<Usd>| fee.map(|fee| amount(fee, price.converted.as_ref()));
                let whole = [
                    ("price_per_request", fee(price.usd_per_request)),
                    ("price_per_tool_call", fee(price.usd_per_tool_call)),
                    ("max_input_tokens", price.max_input_tokens.map(|tokens| tokens.to_string())),
                    ("max_output_tokens", price.max_output_tokens.map(|tokens| tokens.to_string())),
                    ("deprecated_on", price.deprecated_on.map(|date| date.to_string())),
                ];
                cells.extend(whole.into_iter().filter_map(|(column, text)| Some((column, text?))));
            }
            cells.extend(rate_cells(&rates, price.converted.as_ref()));
            cells.extend(origin(&price.origin));
            cells.extend(currency(price.converted.as_ref()));
            rows.push(cells);
        }
    }
    rows
}

fn rate_cells(rates: &TokenRates, converted: Option<&Conversion>) -> Cells {
    let columns = [
        ("input_per_million_tokens", rates.input),
        ("output_per_million_tokens", rates.output),
        ("reasoning_per_million_tokens", rates.reasoning),
        ("cached_read_per_million_tokens", rates.cached_read),
        ("cache_write_per_million_tokens", rates.cache_write),
        ("cache_write_1h_per_million_tokens", rates.cache_write_1h),
    ];
    columns.into_iter().filter_map(|(column, rate)| Some((column, amount(rate?.0, converted)))).collect()
}

/// An amount in the currency it was listed in.
fn amount(usd: Usd, converted: Option<&Conversion>) -> String {
    let listed = converted.and_then(|rate| usd.0.checked_div(rate.usd_per_unit)).unwrap_or(usd.0);
    // A quotient may run on for 28 digits; what was listed had few.
    let listed: Decimal = if converted.is_some() { listed.round_dp(12) } else { listed };
    listed.normalize().to_string()
}

fn currency(converted: Option<&Conversion>) -> Cells {
    match converted {
        None => vec![("currency", "USD".to_owned())],
        Some(rate) => vec![
            ("currency", rate.currency.clone()),
            ("usd_per_unit", rate.usd_per_unit.to_string()),
            ("rate_date", rate.rate_date.to_string()),
        ],
    }
}

fn origin(origin: &Origin) -> Cells {
    let mut cells = vec![("date", origin.as_of.to_string())];
    cells.extend(origin.source_url.clone().map(|url| ("source_url", url)));
    cells.extend(origin.dataset.clone().map(|dataset| ("dataset", dataset)));
    cells
}
