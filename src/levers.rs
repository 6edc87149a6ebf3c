//! `breakeven levers`: what each switch of the product file saves, alone and together.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use breakeven_measurement::file;
use breakeven_planner::{PlanOptions, levers::levers as rank};
use breakeven_report::levers::{markdown, text};
use clap::Args;

use crate::{
    cli::{CompareFormat, Planning},
    console::{self, Answer},
    plan,
};

#[derive(Debug, Args)]
pub(crate) struct LeversArguments {
    /// Product file with `[[lever]]` tables
    product: PathBuf,
    /// Measurement to plan from
    #[arg(long)]
    measurement: PathBuf,
    /// Option whose levers are shown in full, by id or name, instead of the cheapest per successful outcome; JSON has all
    #[arg(long, value_name = "ID")]
    option: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = CompareFormat::Terminal)]
    format: CompareFormat,
    #[command(flatten)]
    planning: Planning,
}

pub(crate) fn levers(arguments: &LeversArguments) -> Result<Answer> {
    let product = plan::read_product(&arguments.product)?;
    if product.levers.is_empty() {
        bail!(
            "`{}` has no [[lever]], expected at least one: a name, and what it changes, such as\n  [[lever]]\n  name = \"trimming\"\n  \
             times = {{ \"segment[*].input_tokens\" = 0.8 }}",
            arguments.product.display()
        );
    }
    let prices = plan::read_prices(&arguments.planning.sheets)?;
    let measurement = file::read(&arguments.measurement)?;
    plan::refuse_shard(&measurement, &arguments.measurement)?;
    let options = PlanOptions {
        as_of: arguments.planning.as_of.unwrap_or_else(plan::today),
        allow_invalid: arguments.planning.allow_invalid,
        version: env!("CARGO_PKG_VERSION"),
    };
    let ranking = rank(&product, &measurement, &prices, &options)?;
    let option = arguments.option.as_deref();
    if let Some(id) = option
        && !ranking.options.iter().any(|option| option.id == id || option.name == id)
    {
        let known: Vec<&str> = ranking.options.iter().map(|option| option.id.as_str()).collect();
        bail!("--option: expected one of {}, found `{id}`", known.join(", "));
    }
    console::print(&match arguments.format {
        CompareFormat::Terminal => text(&ranking, option, console::width()),
        CompareFormat::Markdown => markdown(&ranking, option),
        CompareFormat::Json => serde_json::to_string_pretty(&ranking).context("cannot encode the result")?,
    })?;
    Ok(if ranking.best.is_some() { Answer::Yes } else { Answer::No })
}
