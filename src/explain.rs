//! `breakeven explain`: the tree under any number of a plan.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use breakeven_planner::explain::explain as tree;
use clap::Args;

use crate::{
    console::{self, Answer},
    plan,
};

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Plan
    plan: PathBuf,
    /// The number: fields by dots, members of lists by name or number (`options.self_host.lines.inference`,
    /// `fleet.replicas`, `options[api:openai/gpt-5-nano].usd_per_month`)
    #[arg(value_name = "NUMBER")]
    number: String,
}

pub(crate) fn explain(arguments: &ExplainArguments) -> Result<Answer> {
    // A plan of this version, before its fields are looked for.
    plan::read(&arguments.plan)?;
    let text = fs::read_to_string(&arguments.plan)
        .with_context(|| format!("cannot read plan `{}`", arguments.plan.display()))?;
    let plan: serde_json::Value = serde_json::from_str(&text)?;
    console::print(&tree(&plan, &arguments.number)?)?;
    Ok(Answer::Yes)
}
