//! `breakeven history`: the lab's measurements and plans in one embedded database, and machines side by side.

mod store;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use breakeven_measurement::file;
use clap::{Args, Subcommand};

use crate::{
    console::{self, Answer},
    plan,
};
use store::{Entry, Store};

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// The database; kept in your data folder where left out
    #[arg(long, env = "BREAKEVEN_HISTORY", global = true, value_name = "FILE")]
    database: Option<PathBuf>,
    #[command(subcommand)]
    command: HistoryCommand,
}

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    /// Keep a measurement, and the plan made from it
    #[command(
        after_help = "Example: breakeven history add measurement.json --plan plan.json --tag candidate"
    )]
    Add {
        /// Measurement to keep
        measurement: PathBuf,
        /// Plan made from it
        #[arg(long)]
        plan: Option<PathBuf>,
        /// Tags
        #[arg(long)]
        tag: Vec<String>,
    },
    /// List what is kept, newest first
    List {
        /// Only with this tag
        #[arg(long)]
        tag: Option<String>,
    },
    /// Add tags to a run, or take them away
    Tag {
        /// Run id, or its first letters
        run: String,
        /// Tags to add
        tags: Vec<String>,
        /// Tags to take away
        #[arg(long, value_name = "TAG")]
        remove: Vec<String>,
    },
    /// Machines side by side: goodput, latency, energy and cost, each with its interval and validity
    #[command(after_help = "Example: breakeven history compare --tag candidate")]
    Compare {
        /// Run ids, or their first letters; all where left out
        runs: Vec<String>,
        /// Only with this tag
        #[arg(long)]
        tag: Option<String>,
        /// Markdown for a pull request
        #[arg(long)]
        markdown: bool,
    },
}

pub(crate) fn history(arguments: &HistoryArguments) -> Result<Answer> {
    let store = Store::open(&place(arguments.database.clone())?)?;
    match &arguments.command {
        HistoryCommand::Add { measurement, plan, tag } => add(&store, measurement, plan.as_ref(), tag),
        HistoryCommand::List { tag } => {
            let entries = store.entries(tag.as_deref())?;
            console::print(&table::list(&entries))?;
            Ok(if entries.is_empty() { Answer::No } else { Answer::Yes })
        }
        HistoryCommand::Tag { run, tags, remove } => {
            let entry = one(&store, run)?;
            store.tag(&entry.run_id, tags, remove)?;
            console::note(&format!("{}: {}", entry.run_id, one(&store, &entry.run_id)?.tags.join(", ")));
            Ok(Answer::Yes)
        }
        HistoryCommand::Compare { runs, tag, markdown } => {
            let mut entries = store.entries(tag.as_deref())?;
            if !runs.is_empty() {
                let wanted = runs.iter().map(|run| one(&store, run)).collect::<Result<Vec<_>>>()?;
                entries.retain(|entry| wanted.iter().any(|one| one.run_id == entry.run_id));
            }
            console::print(&table::side_by_side(&entries, *markdown, console::width()))?;
            Ok(if entries.is_empty() { Answer::No } else { Answer::Yes })
        }
    }
}

fn add(
    store: &Store,
    measurement: &std::path::Path,
    plan: Option<&PathBuf>,
    tags: &[String],
) -> Result<Answer> {
    let measurement = file::read(measurement)?;
    let plan = plan.map(|path| plan::read(path)).transpose()?;
    if let Some(plan) = plan.as_ref().filter(|plan| plan.measured.run_id != measurement.run_id) {
        anyhow::bail!(
            "the plan stands on run {}, the measurement is run {}; add the measurement of that run (with [[machine]] in the product file, that of the machine that was chosen)",
            plan.measured.run_id,
            measurement.run_id
        );
    }
    let run_id = measurement.run_id.clone();
    store.add(&Entry { run_id: run_id.clone(), measurement, plan, tags: tags.to_vec() })?;
    console::note(&format!("Kept {run_id}"));
    Ok(Answer::Yes)
}

/// The one run whose id begins so.
fn one(store: &Store, begins: &str) -> Result<Entry> {
    let mut entries = store.entries(None)?;
    if let Some(exact) = entries.iter().position(|entry| entry.run_id == begins) {
        return Ok(entries.swap_remove(exact));
    }
    entries.retain(|entry| entry.run_id.starts_with(begins));
    anyhow::ensure!(
        entries.len() <= 1,
        "{} runs begin with `{begins}`: write more of the one that is meant",
        entries.len()
    );
    entries.pop().with_context(|| {
        format!("no run begins with `{begins}`; `breakeven history list` shows what is kept")
    })
}

fn place(given: Option<PathBuf>) -> Result<PathBuf> {
    match given {
        Some(path) => Ok(path),
        None => dirs::data_dir()
            .map(|folder| folder.join("breakeven").join("history.sqlite"))
            .context("no data folder on this machine: name a file with --database"),
    }
}
