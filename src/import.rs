//! `breakeven import`: results of other harnesses to a measurement.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use breakeven_hardware::{Bytes, Machine};
use breakeven_measurement::{
    Measurement, file,
    import::import as read_result,
    run::{FORMAT, Status, Target},
};
use clap::Args;

use crate::{
    console::{self, Answer},
    plan::read_product,
};

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// Results of one tool on one model, one or more loads: JSON of AIPerf, GuideLLM, `vllm bench serve`, inference-perf or
    /// llama-bench, or a CSV with our column names
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// Product file: the workload that was sent, and the SLO to read the results by
    #[arg(long)]
    product: PathBuf,
    /// Machine that was measured, as `breakeven hardware --json` prints it; marked as not reported where left out
    #[arg(long)]
    machine: Option<PathBuf>,
    /// Where to write the measurement
    #[arg(long, default_value = "measurement.json")]
    out: PathBuf,
}

pub(crate) fn import(arguments: &ImportArguments) -> Result<Answer> {
    let product = read_product(&arguments.product)?;
    let mut all = None;
    for path in &arguments.results {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let found = read_result(&path.display().to_string(), &text)?;
        match &mut all {
            None => all = Some(found),
            Some(first) => {
                if let Err(other) = first.join(found) {
                    bail!(
                        "`{}` is of {} on {}, the first of {} on {}; import them into measurements of their own",
                        path.display(),
                        other.tool.label(),
                        other.model.as_deref().unwrap_or("an unnamed model"),
                        first.tool.label(),
                        first.model.as_deref().unwrap_or("an unnamed model")
                    );
                }
            }
        }
    }
    let imported = all.context("no result was given")?;
    let machine = match &arguments.machine {
        Some(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("`{}` is not a machine", path.display()))?
        }
        None => unreported(imported.tool.label())?,
    };
    let now = jiff::Timestamp::now();
    let points = imported.points.len();
    let label = imported.tool.label();
    let measurement = Measurement {
        format: FORMAT.to_owned(),
        run_id: format!("imported-{}", now.strftime("%Y%m%dT%H%M%SZ")),
        started: now,
        breakeven_version: env!("CARGO_PKG_VERSION").to_owned(),
        status: Status::Complete,
        machine,
        model: None,
        target: Target::Endpoint {
            url: format!("(imported from {label})"),
            model: imported.model.clone().unwrap_or_else(|| "unnamed model".to_owned()),
        },
        workload: product.workload(),
        slo: product.slo(),
        seed: 0,
        shard: None,
        self_check: None,
        merged_from: Vec::new(),
        search: None,
        levels: Vec::new(),
        sweep: Vec::new(),
        repeats: None,
        steps: None,
        imported: Some(imported),
    };
    file::write(&measurement, &arguments.out)?;
    console::note(&format!("{points} loads of {label} written to {}", arguments.out.display()));
    Ok(Answer::Yes)
}

/// A machine of which nothing is known; its text says so wherever it is printed, and the plan prints no count of it.
fn unreported(tool: &str) -> Result<Machine> {
    let cpu = serde_json::json!({
        "model": format!("not reported by {tool}"), "physical_cores": null, "logical_cores": 0, "simd": [],
        "last_level_cache": null
    });
    Ok(Machine {
        cpu: serde_json::from_value(cpu)?,
        memory: Bytes(0),
        gpus: Vec::new(),
        os: format!("not reported by {tool}"),
        hypervisor: None,
        container: None,
    })
}
