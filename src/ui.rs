//! `breakeven ui`: the local page, and the benchmark that it may start.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use breakeven_bench::RunEvent;
use breakeven_measurement::{Measurement, file};
use breakeven_planner::Product;
use breakeven_report::ui::{Benchmark, BenchmarkEvent, Opened, Session, serve};
use clap::Args;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    bench::{self, Watcher},
    cli::Measuring,
    console::{self, Answer},
    plan,
};

/// How often a running benchmark looks whether the page wants it to end.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct UiArguments {
    /// Product file
    product: PathBuf,
    /// Measurements to plan from; more can be opened or made in the page
    #[arg(long)]
    measurement: Vec<PathBuf>,
    /// Address to listen on; only this machine can reach the default
    #[arg(long, default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
    /// Day to judge prices against (YYYY-MM-DD); today where left out
    #[arg(long)]
    as_of: Option<jiff::civil::Date>,
    /// Your own price sheet, laid over the built-in one (CSV or TOML; may be given more than once)
    #[arg(long = "prices", value_name = "SHEET")]
    sheets: Vec<PathBuf>,
    /// Folder for the measurements that the page makes
    #[arg(long, default_value = "breakeven-out")]
    out: PathBuf,
    /// How the page's benchmark measures; `bench` takes the same options
    #[command(flatten)]
    measuring: Measuring,
}

pub(crate) fn ui(arguments: UiArguments) -> Result<Answer> {
    plan::read_product(&arguments.product)?;
    let product = std::fs::read_to_string(&arguments.product)
        .with_context(|| format!("cannot read `{}`", arguments.product.display()))?;
    let mut measurements = Vec::new();
    for path in &arguments.measurement {
        measurements.push((path.display().to_string(), file::read(path)?));
    }
    let opened = Opened { product, name: arguments.product.display().to_string(), measurements };
    let session = Session::open(
        opened,
        plan::read_prices(&arguments.sheets)?,
        arguments.as_of.unwrap_or_else(plan::today),
        env!("CARGO_PKG_VERSION"),
    )?;
    let UiArguments { product, out, measuring, listen, .. } = arguments;
    let lab = Arc::new(Lab { product, out, measuring: Mutex::new(measuring) });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the page's threads")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}; choose another address with --listen"))?;
        let address = listener.local_addr().context("cannot tell the address")?;
        if !address.ip().is_loopback() {
            console::note(
                "Other machines can reach this address: they can read the plan and start benchmarks.",
            );
        }
        console::note(&format!("Open http://{address}/; Ctrl-C ends it"));
        tokio::select! {
            served = serve(listener, session, lab) => served.context("the page failed"),
            interrupt = tokio::signal::ctrl_c() => interrupt.context("cannot wait for Ctrl-C"),
        }
    })?;
    Ok(Answer::Yes)
}

/// The benchmark behind the page.
struct Lab {
    product: PathBuf,
    out: PathBuf,
    /// The options given; a run borrows them, and there is one run at a time.
    measuring: Mutex<Measuring>,
}

impl Benchmark for Lab {
    fn run(
        &self,
        product: &str,
        quick: bool,
        stop: &AtomicBool,
        tell: &mut (dyn FnMut(BenchmarkEvent) + Send),
    ) -> Result<Measurement, String> {
        self.measure(product, quick, stop, tell).map_err(|error| format!("{error:#}"))
    }
}

impl Lab {
    fn measure(
        &self,
        text: &str,
        quick: bool,
        stop: &AtomicBool,
        tell: &mut (dyn FnMut(BenchmarkEvent) + Send),
    ) -> Result<Measurement> {
        let product = Product::parse(text, &self.product.display().to_string())?;
        // What is inside is set anew below: a panic elsewhere leaves nothing half-done.
        let mut measuring = self.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        measuring.quick = quick && measuring.time.is_none();
        let out = self.out.join(format!("measurement-{}.json", jiff::Timestamp::now().as_second()));
        let (sender, receiver) = watch::channel(false);
        let over = AtomicBool::new(false);
        let mut phase = String::new();
        let mut within = 0;
        let mut tell = |event: &RunEvent| tell_of(event, &mut phase, &mut within, tell);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if stop.load(Ordering::Relaxed) {
                        sender.send_replace(true);
                    }
                    std::thread::sleep(LOOK);
                }
            });
            let watcher = Watcher { tell: &mut tell, stop: Some(receiver) };
            let measured = bench::measure_watched(&product, &self.product, &measuring, &out, watcher);
            over.store(true, Ordering::Relaxed);
            measured
        })
    }
}

/// An event of the run as the page is told it.
fn tell_of(
    event: &RunEvent,
    phase: &mut String,
    within: &mut u64,
    tell: &mut (dyn FnMut(BenchmarkEvent) + Send),
) {
    let mut begin = |name: String| {
        phase.clone_from(&name);
        *within = 0;
        BenchmarkEvent::Line { text: name }
    };
    let event = match event {
        RunEvent::WarmingUp => begin("warm-up".to_owned()),
        RunEvent::Calibrating => begin("calibration".to_owned()),
        RunEvent::Saturating => begin("flat out".to_owned()),
        RunEvent::ProbeStarted { rate, search_progress } => {
            begin(format!("search {:.0} %: {rate}", search_progress * 100.0))
        }
        RunEvent::LevelStarted { name, rate, length, .. } => {
            begin(format!("{name}: {rate} for {:.0} s", length.as_secs_f64()))
        }
        RunEvent::ProbeFinished(probe) => BenchmarkEvent::Line {
            text: format!(
                "{}: {} of {} within the SLO: {}",
                probe.rate,
                probe.within_slo,
                probe.scheduled,
                if probe.met { "met" } else { "missed" }
            ),
        },
        RunEvent::LevelFinished(level) => BenchmarkEvent::Line { text: crate::progress::level_line(level) },
        RunEvent::Progress { progress, ttft, tpot, within_slo } => {
            *within += u64::from(*within_slo);
            BenchmarkEvent::Progress {
                phase: phase.clone(),
                scheduled: progress.scheduled,
                completed: progress.completed,
                failed: progress.failed,
                within_slo: *within,
                ttft_seconds: ttft.map(|time| time.as_secs_f64()),
                tpot_seconds: tpot.map(|time| time.as_secs_f64()),
            }
        }
    };
    tell(event);
}
