//! The journal beside a measurement: begun anew, or gone on with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use breakeven_bench::{
    RunPlan,
    journal::{FORMAT, Header, Journal},
};
use breakeven_hardware::Machine;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::console;

/// What decides a measurement, as a resumed run is held against it.
pub(crate) struct Asked<'a> {
    pub(crate) plan: &'a RunPlan,
    pub(crate) machine: &'a Machine,
    /// The model's record.
    pub(crate) model: Value,
    /// The target's settings.
    pub(crate) target: Value,
}

impl Asked<'_> {
    fn settings(mut self) -> Value {
        // Where the weights lay and how long they took to load decide nothing.
        for (of, key) in [(self.model.get_mut("weights"), "source"), (Some(&mut self.target), "load_seconds")]
        {
            if let Some(Value::Object(record)) = of {
                record.remove(key);
            }
        }
        json!({
            "plan": self.plan,
            "model": self.model,
            "target": self.target,
            "cpu": self.machine.cpu.model,
            "breakeven_version": env!("CARGO_PKG_VERSION"),
        })
    }
}

/// A journal and the run that it belongs to.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) run_id: String,
    pub(crate) started: Timestamp,
}

/// Begins a journal beside `out`, or goes on with the one that is there.
pub(crate) fn open(out: &Path, resume: bool, asked: Asked<'_>) -> Result<Opened> {
    let path = beside(out);
    let started = Timestamp::now();
    let seed = asked.plan.seed;
    let shard = asked.plan.shard.map_or(String::new(), |shard| format!("-{}of{}", shard.index(), shard.of()));
    let header = Header {
        format: FORMAT.to_owned(),
        run_id: format!("run-{}-{seed}{shard}", started.as_millisecond()),
        started,
        settings: asked.settings(),
    };
    if resume {
        let (journal, earlier) = Journal::resume(&path, &header).context("cannot resume")?;
        let kept = journal.kept().levels.iter();
        let levels: Vec<String> = kept.map(|level| level.result.name.to_string()).collect();
        let kept = if levels.is_empty() { "no level yet".to_owned() } else { levels.join(", ") };
        console::note(&format!("Resuming {} from {}: kept {kept}", earlier.run_id, path.display()));
        return Ok(Opened { journal, run_id: earlier.run_id, started: earlier.started });
    }
    keep_previous(&path)?;
    let journal = Journal::create(&path, &header)?;
    Ok(Opened { journal, run_id: header.run_id, started })
}

/// `attempts.jsonl` beside `measurement.json`, `lab.attempts.jsonl` beside `lab.json`: shards written into one folder
/// keep journals of their own.
pub(crate) fn beside(out: &Path) -> PathBuf {
    match out.file_stem() {
        Some(stem) if stem != "measurement" => {
            let mut name = stem.to_owned();
            name.push(".attempts.jsonl");
            out.with_file_name(name)
        }
        _ => out.with_file_name("attempts.jsonl"),
    }
}

/// Records are not overwritten by the next run: the one before is kept.
fn keep_previous(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let previous = path.with_extension("previous.jsonl");
    fs::rename(path, &previous)
        .with_context(|| format!("cannot move the earlier journal to `{}`", previous.display()))?;
    console::note(&format!("The earlier journal is kept as {}", previous.display()));
    Ok(())
}
