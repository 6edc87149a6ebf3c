//! `breakeven actuals`: production usage beside the plan.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use breakeven_planner::actuals::{Expected, Thresholds, actuals as compare, prices};
use breakeven_report::actuals::{markdown, text};
use breakeven_usage::{Prices, ReadOptions, field::Renamed, read};
use clap::Args;

use crate::{
    cli::CompareFormat,
    console::{self, Answer},
    plan,
};

#[derive(Debug, Args)]
pub(crate) struct ActualsArguments {
    /// Usage: OpenTelemetry `GenAI` spans or LiteLLM spend logs as JSON lines, CSV with a header, or Parquet
    usage: PathBuf,
    /// Plan to compare with; its prices stand in where the log records no cost
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Product file to compare with where there is no plan: requests, retries, tokens and success
    #[arg(long, conflicts_with = "plan")]
    product: Option<PathBuf>,
    /// Option of the plan to compare with, instead of the API whose model answers most calls
    #[arg(long, value_name = "ID", requires = "plan")]
    option: Option<String>,
    /// A column, key or attribute of yours for one of our fields (`feature=service.namespace`); again for more
    #[arg(long, value_name = "FIELD=NAME")]
    column: Vec<Renamed>,
    /// A name that is asked for and the model it stands for (`fast-chat=gpt-4o-mini`): its answering is no fallback
    #[arg(long, value_name = "NAME=MODEL", value_parser = alias)]
    alias: Vec<(String, String)>,
    /// Share of rows that may be wrong before the file is refused
    #[arg(long, default_value = "1%", value_parser = crate::cli::percentage)]
    bad_rows: f64,
    /// Change against the plan that is flagged
    #[arg(long, default_value = "10%", value_parser = crate::cli::percentage)]
    threshold: f64,
    /// Share of the cost from which a new route, or a model that is not planned, is flagged
    #[arg(long, default_value = "5%", value_parser = crate::cli::percentage)]
    costly: f64,
    /// Exit code 1 where anything is flagged
    #[arg(long)]
    fail_on_flags: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = CompareFormat::Terminal)]
    format: CompareFormat,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// `NAME=MODEL`.
fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, model)) if !name.is_empty() && !model.is_empty() => {
            Ok((name.to_owned(), model.to_owned()))
        }
        _ => Err(format!("expected NAME=MODEL, found `{text}`")),
    }
}

pub(crate) fn actuals(arguments: &ActualsArguments) -> Result<Answer> {
    let plan = arguments.plan.as_deref().map(plan::read).transpose()?;
    let product = arguments.product.as_deref().map(plan::read_product).transpose()?;
    let usage = read(
        &arguments.usage,
        &ReadOptions {
            renamed: arguments.column.clone(),
            aliases: arguments.alias.clone(),
            prices: plan.as_ref().map_or_else(Prices::default, prices),
            most_refused: arguments.bad_rows,
            ..ReadOptions::default()
        },
    )?;
    let expected = match (&plan, &product, &arguments.product) {
        (Some(plan), _, _) => Some(Expected::of_plan(plan, &usage, arguments.option.as_deref())?),
        (None, Some(product), Some(path)) => Some(Expected::of_product(product, &path.display().to_string())),
        _ => None,
    };
    let thresholds =
        Thresholds { off_plan: arguments.threshold, costly_share: arguments.costly, ..Thresholds::default() };
    let found = compare(&usage, expected.as_ref(), &thresholds);
    let format = if arguments.json { CompareFormat::Json } else { arguments.format };
    console::print(&match format {
        CompareFormat::Terminal => text(&found, console::width()),
        CompareFormat::Markdown => markdown(&found),
        CompareFormat::Json => serde_json::to_string_pretty(&found).context("cannot encode the result")?,
    })?;
    let fails = arguments.fail_on_flags && !found.flags.is_empty();
    Ok(if fails { Answer::No } else { Answer::Yes })
}
