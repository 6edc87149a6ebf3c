//! `breakeven prices`: what the built-in sheets hold, with source and date.

use std::fmt::Write as _;

use anyhow::Result;
use breakeven_hardware::PriceBook;

use crate::{
    cli::PricesArguments,
    console::{self, Answer},
};

pub(crate) fn prices(arguments: &PricesArguments) -> Result<Answer> {
    let book = PriceBook::built_in()?;
    let wanted = arguments.find.as_deref().unwrap_or_default().to_lowercase();
    let mut text = String::new();
    for row in &book.compute {
        let mut line = format!(
            "USD {} per hour  {} {} x{}",
            row.usd_per_hour.0.0, row.provider, row.device, row.device_count
        );
        if let Some(instance) = &row.instance {
            write!(line, " {instance}")?;
        }
        if let Some(region) = &row.region {
            write!(line, " {region}")?;
        }
        write!(line, " {}  [{}, {}]", row.term, row.origin.as_of, row.origin.source())?;
        keep(&mut text, &line, &wanted)?;
    }
    for price in &book.api {
        let rates = price.standard();
        let show = |rate: Option<breakeven_hardware::UsdPerMillionTokens>| {
            rate.map_or_else(|| "-".to_owned(), |r| r.0.0.to_string())
        };
        let line = format!(
            "USD {} in, {} out per million tokens  {} {}  [{}, {}]",
            show(rates.input),
            show(rates.output),
            price.provider,
            price.model,
            price.origin.as_of,
            price.origin.source()
        );
        keep(&mut text, &line, &wanted)?;
    }
    console::print(&text)?;
    Ok(Answer::Yes)
}

fn keep(text: &mut String, line: &str, wanted: &str) -> Result<()> {
    if line.to_lowercase().contains(wanted) {
        writeln!(text, "{line}")?;
    }
    Ok(())
}
