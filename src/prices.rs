//! `breakeven prices`: list, check, import and compare price sheets, each row with its source and date.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use breakeven_hardware::{
    ApiPrice, AsOf, ComputePrice, Freshness, Origin, PriceBook, UsdPerMillionTokens,
    import::{ImportFormat, ImportSource, import as import_file},
};
use breakeven_report::table::text_table;
use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;

use crate::{
    console::{self, Answer},
    plan::{self, today},
};

/// The book that ships with the program, where a sheet is asked for.
const BUILT_IN: &str = "built-in";

#[derive(Debug, Args)]
pub(crate) struct PricesArguments {
    #[command(subcommand)]
    command: PricesCommand,
}

#[derive(Debug, Subcommand)]
enum PricesCommand {
    /// List prices with source and date; prices read more than 180 days ago are marked stale
    #[command(after_help = "Example: breakeven prices list --find h100")]
    List(ListArguments),
    /// Say what is doubtful: stale, undated, without a source, withdrawn, spot above on demand
    ///
    /// Exit code 1 where anything is, so that a pipeline can watch its sheets.
    #[command(after_help = "Example: breakeven prices check our-prices.toml")]
    Check(CheckArguments),
    /// Turn a price list that others publish into a sheet of ours
    ///
    /// All or nothing: a file with one bad value changes nothing. Importing twice changes nothing the second time.
    #[command(
        after_help = "Example: breakeven prices import litellm model_prices.json --as-of 2026-11-23 --into api.csv"
    )]
    Import(ImportArguments),
    /// Say what changed between two sheets; exit code 1 where anything did
    #[command(after_help = "Example: breakeven prices diff built-in our-prices.csv")]
    Diff(DiffArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Only rows that contain this text, upper and lower case alike
    #[arg(long)]
    find: Option<String>,
    /// Your own price sheet, laid over the built-in one (CSV or TOML; may be given more than once)
    #[arg(long = "prices", value_name = "SHEET")]
    sheets: Vec<PathBuf>,
    /// Day to judge prices against (YYYY-MM-DD); today where left out
    #[arg(long)]
    as_of: Option<Date>,
    /// How to print them
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// One line a price
    Table,
    /// The whole book, for programs
    Json,
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// Sheets to check; the built-in one where none is given
    sheets: Vec<PathBuf>,
    /// Day to judge prices against (YYYY-MM-DD); today where left out
    #[arg(long)]
    as_of: Option<Date>,
}

#[derive(Debug, Args)]
struct ImportArguments {
    /// Format: litellm, skypilot, gpuhunt, azure-retail, aws-offer, openrouter
    format: ImportFormat,
    /// File to import
    file: PathBuf,
    /// Day the file was read at its source (YYYY-MM-DD); rows with a date of their own keep it
    #[arg(long)]
    as_of: Date,
    /// Provider, where the file holds one and does not name it (skypilot)
    #[arg(long)]
    provider: Option<String>,
    /// Sheet to write (CSV); rows already in it are kept, and replaced where the import prices the same thing
    #[arg(long)]
    into: PathBuf,
}

#[derive(Debug, Args)]
struct DiffArguments {
    /// The old sheet, or `built-in`
    old: PathBuf,
    /// The new sheet, or `built-in`
    new: PathBuf,
}

pub(crate) fn prices(arguments: &PricesArguments) -> Result<Answer> {
    match &arguments.command {
        PricesCommand::List(arguments) => list(arguments),
        PricesCommand::Check(arguments) => check(arguments),
        PricesCommand::Import(arguments) => import(arguments),
        PricesCommand::Diff(arguments) => diff(arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<Answer> {
    let mut book = plan::read_prices(&arguments.sheets)?;
    let day = arguments.as_of.unwrap_or_else(today);
    let wanted = arguments.find.as_deref().unwrap_or_default().to_lowercase();
    let keeps = |cells: &[String]| cells.iter().any(|cell| cell.to_lowercase().contains(&wanted));
    book.compute.retain(|price| keeps(&compute_cells(price, day)));
    book.api.retain(|price| keeps(&api_cells(price, day)));
    if arguments.format == ListFormat::Json {
        console::print(&serde_json::to_string_pretty(&book)?)?;
        return Ok(Answer::Yes);
    }
    let mut text = String::new();
    if !book.compute.is_empty() {
        let heads = ["provider", "machine", "device", "region", "term", "USD/hour", "read on", "source"];
        let rows = book.compute.iter().map(|price| compute_cells(price, day));
        text.push_str(&text_table(&heads, rows, 5..6, None));
    }
    if !book.compute.is_empty() && !book.api.is_empty() {
        text.push('\n');
    }
    if !book.api.is_empty() {
        let heads = ["provider", "model", "USD/M input", "cached", "output", "read on", "source"];
        text.push_str(&text_table(&heads, book.api.iter().map(|price| api_cells(price, day)), 2..5, None));
    }
    if text.is_empty() {
        bail!("no price contains `{wanted}`; `breakeven prices list` shows them all");
    }
    console::print(&text)?;
    Ok(Answer::Yes)
}

fn compute_cells(price: &ComputePrice, day: Date) -> Vec<String> {
    let device = if price.device_count == 1 {
        price.device.clone()
    } else {
        format!("{} x {}", price.device_count, price.device)
    };
    vec![
        price.provider.clone(),
        price.instance.clone().or_else(|| price.sku.clone()).unwrap_or_default(),
        device,
        price.region.clone().unwrap_or_default(),
        price.term.to_string(),
        price.usd_per_hour.0.0.to_string(),
        read_on(&price.origin, day),
        price.origin.source().to_owned(),
    ]
}

fn api_cells(price: &ApiPrice, day: Date) -> Vec<String> {
    let rates = price.standard();
    let shown =
        |rate: Option<UsdPerMillionTokens>| rate.map_or_else(|| "–".to_owned(), |r| r.0.0.to_string());
    vec![
        price.provider.clone(),
        price.model.clone(),
        shown(rates.input),
        shown(rates.cached_read),
        shown(rates.output),
        read_on(&price.origin, day),
        price.origin.source().to_owned(),
    ]
}

/// The day a price was read, and whether that is too long ago.
pub(crate) fn read_on(origin: &Origin, day: Date) -> String {
    match origin.as_of.freshness(day) {
        Freshness::Fresh => origin.as_of.to_string(),
        Freshness::Stale => format!("{} stale", origin.as_of),
        Freshness::Undated => "undated stale".to_owned(),
    }
}

fn check(arguments: &CheckArguments) -> Result<Answer> {
    let mut book = PriceBook::default();
    if arguments.sheets.is_empty() {
        book = PriceBook::built_in()?;
    }
    for sheet in &arguments.sheets {
        book.overlay(read_sheet(sheet)?);
    }
    let findings = book.check(arguments.as_of.unwrap_or_else(today));
    let mut text = String::new();
    for finding in &findings {
        writeln!(text, "{finding}")?;
    }
    let priced = book.compute.len() + book.api.len();
    writeln!(text, "{priced} prices, {} to question", findings.len())?;
    console::print(&text)?;
    Ok(if findings.is_empty() { Answer::Yes } else { Answer::No })
}

fn import(arguments: &ImportArguments) -> Result<Answer> {
    let name = arguments.file.display().to_string();
    let bytes = read_file(&arguments.file)?;
    let source = ImportSource {
        file: &name,
        as_of: AsOf::Day(arguments.as_of),
        provider: arguments.provider.as_deref(),
    };
    let imported = import_file(arguments.format, &source, &bytes)?;
    let into = &arguments.into;
    let before = if into.exists() { read_sheet(into)? } else { PriceBook::default() };
    let mut after = before.clone();
    after.overlay(imported.book);
    let csv = match (after.compute.is_empty(), after.api.is_empty()) {
        (false, true) => after.compute_csv(),
        (true, false) => after.api_csv(),
        (true, true) => bail!(
            "{name}: no row of it is a price that a sheet can hold, nothing written\n{}",
            imported.report
        ),
        (false, false) => bail!(
            "`{}` holds {} prices and {name} the other kind; a sheet holds machines or APIs, import into another file",
            into.display(),
            if before.api.is_empty() { "machine" } else { "API" }
        ),
    };
    // Byte for byte the same sheet needs no comparing.
    let same = csv.as_bytes() == fs::read(into).unwrap_or_default();
    let changes = if same { 0 } else { before.diff(&after).len() };
    if !same {
        breakeven_measurement::file::write_atomically(into, csv.as_bytes())?;
    }
    console::print(&format!("{}{changes} figures changed in {}", imported.report, into.display()))?;
    Ok(Answer::Yes)
}

fn diff(arguments: &DiffArguments) -> Result<Answer> {
    let changes = read_sheet(&arguments.old)?.diff(&read_sheet(&arguments.new)?);
    let mut text = String::new();
    for change in &changes {
        writeln!(text, "{change}")?;
    }
    writeln!(text, "{} figures differ", changes.len())?;
    console::print(&text)?;
    Ok(if changes.is_empty() { Answer::Yes } else { Answer::No })
}

fn read_sheet(path: &Path) -> Result<PriceBook> {
    if path == Path::new(BUILT_IN) {
        return Ok(PriceBook::built_in()?);
    }
    Ok(PriceBook::parse(&path.display().to_string(), &read_file(path)?)?)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}
