//! `breakeven bench`: the machine, the model, the run, the measurement file.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use breakeven_bench::{
    Durations, RunEvent, RunPlan, drive::Pacing, run as run_levels, sweep::sweep, target::http::Endpoint,
};
use breakeven_hardware::detect;
use breakeven_measurement::{
    Finding, Measurement, RequestRate, SweepPoint, file,
    run::{FORMAT, Status, Target as TargetRecord},
    self_check::NEAR_CEILING,
};
use breakeven_planner::Product;
use tokio::{runtime::Runtime, sync::watch};

use crate::{
    bench_engine,
    cli::{BenchArguments, BenchPart, Measuring},
    console::{self, Answer},
    hardware,
    interrupt::cancel_on_interrupt,
    journal::{self, Asked, Opened},
    load, plan, policy,
    progress::Bars,
    repeat, self_check,
    subject::subject,
};

/// Life of a request where the product file sets none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn bench(arguments: &BenchArguments) -> Result<Answer> {
    if let Some(BenchPart::Engine(engine)) = &arguments.part {
        return bench_engine::bench_engine(engine);
    }
    if arguments.self_check {
        return self_check::print(&load_runtime()?);
    }
    let file = arguments.product.as_deref().context("bench needs a product file")?;
    let product = plan::read_product(file)?;
    let measurement = measure(&product, file, &arguments.measuring, &arguments.out)?;
    console::note(&format!("Written to {}", arguments.out.display()));
    Ok(if interrupted(&measurement) { Answer::Interrupted } else { Answer::Yes })
}

/// Measures the product's model on this machine and writes the measurement, and every attempt beside it.
pub(crate) fn measure(
    product: &Product,
    file: &Path,
    measuring: &Measuring,
    out: &Path,
) -> Result<Measurement> {
    measure_watched(product, file, measuring, out, Watcher { tell: &mut |_| (), stop: None })
}

/// Who else follows a run, and may end it.
pub(crate) struct Watcher<'a> {
    /// Is told of every event.
    pub(crate) tell: &'a mut (dyn FnMut(&RunEvent) + Send),
    /// Ends the run where it turns true; Ctrl-C where there is none.
    pub(crate) stop: Option<watch::Receiver<bool>>,
}

/// The same, followed by somebody else too.
pub(crate) fn measure_watched(
    product: &Product,
    file: &Path,
    measuring: &Measuring,
    out: &Path,
    watcher: Watcher<'_>,
) -> Result<Measurement> {
    let Watcher { tell, stop } = watcher;
    let rates = rates(&measuring.rates)?;
    if let Some(total) = measuring.time {
        anyhow::ensure!(
            total.0 >= Duration::from_secs(1),
            "--time: expected 1 s or more, found {} s",
            total.0.as_secs_f64()
        );
    }
    let (arrivals, trace) = measuring.load.process()?;
    let machine = detect();
    console::note(&format!("Machine: {}", hardware::line(&machine)));
    let seed = measuring.seed.unwrap_or(product.bench.seed);
    let runtime = load_runtime()?;
    let mut subject = subject(product, file, measuring, seed, out, &runtime)?;
    let meter;
    (subject.target, meter) = policy::applied(product, file, subject.target, &subject.wording)?;
    let workload = product.workload();
    let run_plan = RunPlan {
        workload: workload.clone(),
        slo: product.slo(),
        rates,
        durations: match measuring.time {
            Some(total) => Durations::scaled_to(total.0),
            None if measuring.quick => Durations::QUICK,
            None => Durations::STANDARD,
        },
        arrivals,
        trace,
        seed,
        timeout: product.bench.timeout.map_or(DEFAULT_TIMEOUT, |t| t.0),
        pacing: Pacing::Precise,
        most_in_flight: None,
        repeats: measuring.repeat.repeating(),
        calibration: measuring.load.calibration() && matches!(subject.record, TargetRecord::Endpoint { .. }),
        shard: measuring.shard,
    };
    let asked = Asked {
        plan: &run_plan,
        machine: &machine,
        model: serde_json::to_value(&subject.model)?,
        target: serde_json::to_value(&subject.record)?,
    };
    let Opened { mut journal, run_id, started: began } = journal::open(out, measuring.resume, asked)?;
    let mut of_sweep = subject.source.beside(seed.wrapping_add(1));
    let sweep_plan = measuring.load.sweep(&run_plan)?;
    let mut bars = Bars::new(run_plan.durations, meter.clone());
    let (outcome, sweep) = runtime.block_on(async {
        let interrupt =
            || cancel_on_interrupt(subject.server.as_ref().map(|server| server.id()), meter.clone());
        let cancel = stop.unwrap_or_else(interrupt);
        let stopped = cancel.clone();
        let outcome = run_levels(
            &subject.target,
            &run_plan,
            subject.source,
            Some(&mut journal),
            cancel,
            &mut |event| {
                tell(&event);
                bars.show(event);
            },
        )
        .await;
        let Some(plan) = sweep_plan.filter(|_| outcome.is_ok()) else { return (outcome, Vec::new()) };
        let mut show = |point: &SweepPoint| bars.say(&load::sweep_line(point));
        match sweep(&subject.target, &plan, &mut of_sweep, Some(&mut journal), &stopped, &mut show).await {
            Ok(points) => (outcome, points),
            Err(fault) => (Err(fault.into()), Vec::new()),
        }
    });
    bars.finish();
    policy::say_spent(meter.as_deref());
    let mut outcome = outcome?;
    for line in repeat::interval_lines(&outcome.levels, outcome.repeats.as_ref()) {
        console::note(&line);
    }
    if let TargetRecord::Endpoint { url, .. } = &subject.record
        && !Endpoint::parse(url).is_ok_and(|endpoint| endpoint.is_loopback())
    {
        // What this machine draws says nothing of the one that answers.
        outcome.levels.iter_mut().for_each(|level| {
            level.resources.energy_joules = None;
            level.resources.gpus.clear();
        });
    }
    if let Status::Incomplete { reason } = &mut outcome.status
        && meter.as_ref().is_some_and(|meter| meter.is_spent())
    {
        "the spend cap is reached (bench.spend.cap_usd)".clone_into(reason);
    }
    // After the run, so that the first request does not wait for it; a run that was ended early is not kept waiting either.
    let self_check = match outcome.status {
        Status::Complete => runtime.block_on(self_check::quietly()),
        Status::Incomplete { .. } => None,
    };
    if let Some(check) = &self_check {
        for level in &mut outcome.levels {
            let over_http = matches!(subject.record, TargetRecord::Endpoint { .. });
            let share = level.rates.map_or(0.0, |rates| check.share_of_ceiling(&rates, over_http));
            if share > NEAR_CEILING {
                let mut findings = level.validity.findings.clone();
                findings.push(Finding::NearGeneratorCeiling { share });
                level.validity = findings.into();
            }
        }
    }
    let measurement = Measurement {
        format: FORMAT.to_owned(),
        run_id,
        started: began,
        breakeven_version: env!("CARGO_PKG_VERSION").to_owned(),
        status: outcome.status,
        machine,
        model: subject.model,
        target: subject.record,
        workload,
        slo: product.slo(),
        seed,
        shard: measuring.shard,
        self_check,
        merged_from: Vec::new(),
        search: outcome.search,
        levels: outcome.levels,
        sweep,
        repeats: outcome.repeats,
        steps: outcome.steps,
        imported: None,
    };
    file::write(&measurement, out)?;
    if interrupted(&measurement) {
        console::note(&format!(
            "Stopped. What finished is in {}, marked incomplete; --resume goes on from there.",
            out.display()
        ));
    }
    Ok(measurement)
}

/// The threads that requests run on.
fn load_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the load generator's threads")
}

/// Whether Ctrl-C ended the run.
pub(crate) fn interrupted(measurement: &Measurement) -> bool {
    measurement.status != Status::Complete
}

fn rates(given: &[f64]) -> Result<Option<[RequestRate; 3]>> {
    match given {
        [] => Ok(None),
        [low, middle, high] => {
            let rate = |value: f64| RequestRate::new(value).context("--rates");
            Ok(Some([rate(*low)?, rate(*middle)?, rate(*high)?]))
        }
        other => bail!(
            "--rates has {} values, expected three: baseline, expected and stress in requests per second",
            other.len()
        ),
    }
}
