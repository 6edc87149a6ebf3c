//! `breakeven diff`: what changed from one plan to another, and whether a release gate should let it pass.

use std::path::PathBuf;

use anyhow::Result;
use breakeven_planner::diff::diff as difference;
use breakeven_report::difference::text;
use clap::Args;

use crate::{
    console::{self, Answer},
    plan,
};

#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// Plan before
    a: PathBuf,
    /// Plan after
    b: PathBuf,
    /// Rise of the choice's cost per successful outcome that fails
    #[arg(long, default_value = "5%", value_parser = crate::cli::percentage)]
    threshold: f64,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn diff(arguments: &DiffArguments) -> Result<Answer> {
    let found = difference(&plan::read(&arguments.a)?, &plan::read(&arguments.b)?);
    if arguments.json {
        console::print(&serde_json::to_string_pretty(&found)?)?;
    } else {
        console::print(&text(&found, arguments.threshold))?;
    }
    Ok(if found.fails(arguments.threshold) { Answer::No } else { Answer::Yes })
}
