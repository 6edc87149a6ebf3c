//! `breakeven bench`: the machine, the model, the run, the measurement file.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use breakeven_bench::{
    Durations, RunEvent, RunPlan,
    drive::Pacing,
    launch::{Server, stop_group},
    policy::Meter,
    requests::RequestSource,
    run as run_levels,
    sweep::sweep,
    target::{
        Target,
        engine::EngineTarget,
        http::{Endpoint, Wording},
    },
};
use breakeven_hardware::detect;
use breakeven_measurement::{
    Measurement, RequestRate, SweepPoint, file,
    run::{FORMAT, Status, Target as TargetRecord},
};
use breakeven_models::ModelRecord;
use breakeven_planner::Product;
use tokio::{runtime::Runtime, sync::watch};

use crate::{
    bench_engine,
    cli::{BenchArguments, BenchPart, Measuring},
    console::{self, Answer},
    endpoint, hardware,
    journal::{self, Asked, Opened},
    load, model, plan, policy,
    progress::Bars,
    self_check,
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
        durations: if measuring.quick { Durations::QUICK } else { Durations::STANDARD },
        arrivals,
        trace,
        seed,
        timeout: product.bench.timeout.map_or(DEFAULT_TIMEOUT, |t| t.0),
        pacing: Pacing::Precise,
        most_in_flight: None,
        shard: measuring.shard,
    };
    let asked = Asked {
        plan: &run_plan,
        machine: &machine,
        model: serde_json::to_value(&subject.model)?,
        target: serde_json::to_value(&subject.record)?,
    };
    let Opened { mut journal, run_id, started: began } = journal::open(out, measuring.resume, asked)?;
    let self_check = runtime.block_on(self_check::quietly());
    let mut of_sweep = subject.source.beside(seed.wrapping_add(1));
    let sweep_plan = measuring.load.sweep(&run_plan)?;
    let mut bars = Bars::new(run_plan.durations);
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
        let points = sweep(&subject.target, &plan, &mut of_sweep, &stopped, &mut show).await;
        (outcome, points)
    });
    bars.finish();
    policy::say_spent(meter.as_deref());
    let mut outcome = outcome?;
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

/// What is measured.
struct Subject {
    target: Arc<dyn Target>,
    source: RequestSource,
    model: Option<ModelRecord>,
    record: TargetRecord,
    server: Option<Arc<Server>>,
    /// Writes prompts as text, for a fallback.
    wording: Wording,
}

/// The endpoint of `--target`, else the in-process engine on the product's model.
fn subject(
    product: &Product,
    file: &Path,
    measuring: &Measuring,
    seed: u64,
    out: &Path,
    runtime: &Runtime,
) -> Result<Subject> {
    let workload = product.workload();
    if let Some(address) = &measuring.endpoint.target {
        let log = out.with_file_name("server.log");
        let ready = runtime.block_on(measuring.endpoint.ready(address, &workload, seed, log))?;
        let endpoint::Ready { target, source, record, server, wording } = ready;
        return Ok(Subject { target, source, model: None, record, server, wording });
    }
    policy::check_for_engine(product)?;
    let started = model::start(product, file, measuring, seed)?;
    let record = started.engine.record().clone();
    console::note(&format!(
        "Model: {} {}, {} M parameters, ready in {:.1} s",
        record.name,
        record.quantization,
        record.parameters / 1_000_000,
        started.record.load_seconds
    ));
    let engine = Arc::clone(&started.engine);
    let source = RequestSource::new(&workload, seed, &|text| engine.codec().encode(text, false))?;
    let wording: Wording = Arc::new(move |tokens| engine.codec().decode(tokens));
    Ok(Subject {
        target: Arc::new(EngineTarget::new(started.engine)),
        wording,
        source,
        model: Some(record),
        record: TargetRecord::Engine(started.record),
        server: None,
    })
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

/// Turns true once the spend cap is reached, and on the first Ctrl-C; a second one ends the program at once, as the shell's
/// default.
fn cancel_on_interrupt(server_group: Option<u32>, meter: Option<Arc<Meter>>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    let of_meter = sender.clone();
    tokio::spawn(async move {
        if let Some(meter) = meter {
            meter.until_spent().await;
            console::note("Stopping: the spend cap is reached. Finished attempts are kept.");
            of_meter.send_replace(true);
        }
    });
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            console::note("Stopping: finished attempts are kept. Ctrl-C again stops at once.");
            sender.send_replace(true);
            if tokio::signal::ctrl_c().await.is_ok() {
                if let Some(group) = server_group {
                    stop_group(group, true);
                }
                std::process::abort();
            }
        }
        std::future::pending::<()>().await;
    });
    receiver
}
