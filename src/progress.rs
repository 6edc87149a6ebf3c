//! A run's events on the terminal: three lines that follow the phase, one that stays of each; plain lines in a log.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use breakeven_bench::{Durations, RunEvent, policy::Meter};
use breakeven_measurement::LevelResult;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{console, live::Live, load::latency, policy};

/// Time between two pictures.
const REDRAW: Duration = Duration::from_millis(100);
/// Time between two lines of a log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Draws a run's events.
pub(crate) struct Bars {
    bar: ProgressBar,
    interactive: bool,
    durations: Durations,
    levels_begun: usize,
    /// What a paid endpoint costs, where the product file has its prices.
    meter: Option<Arc<Meter>>,
    live: Live,
    began: Instant,
    shown: Instant,
}

impl Bars {
    pub(crate) fn new(durations: Durations, meter: Option<Arc<Meter>>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let interactive = !bar.is_hidden();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self {
            bar,
            interactive,
            durations,
            levels_begun: 0,
            meter,
            live: Live::default(),
            began: now,
            shown: now,
        }
    }

    pub(crate) fn show(&mut self, event: RunEvent) {
        match event {
            RunEvent::WarmingUp => self.begin("warm-up".to_owned(), Duration::ZERO),
            RunEvent::Calibrating => self.begin("calibration".to_owned(), Duration::ZERO),
            RunEvent::Saturating => self.begin("flat out".to_owned(), Duration::ZERO),
            RunEvent::ProbeStarted { rate, search_progress } => {
                self.begin(format!("search {:>3.0} %  {rate}", search_progress * 100.0), Duration::ZERO);
            }
            RunEvent::ProbeFinished(probe) => {
                let verdict = if probe.met { "met" } else { "missed" };
                self.line(&format!(
                    "search    {:<12} {} of {} within the SLO: {verdict}",
                    probe.rate.to_string(),
                    probe.within_slo,
                    probe.scheduled
                ));
            }
            RunEvent::LevelStarted { name, run, rate, length } => {
                self.levels_begun += 1;
                let run = if run == 0 { String::new() } else { format!(", run {}", run + 1) };
                self.begin(format!("{name:<9} {rate}{run}"), length);
                if !self.interactive {
                    console::note(&format!("{name:<9} {rate}{run}: {:.0} s", length.as_secs_f64()));
                }
            }
            RunEvent::Progress { progress, ttft, tpot, within_slo } => {
                self.live.note(progress, ttft, tpot, within_slo);
                self.draw();
            }
            RunEvent::LevelFinished(level) => self.line(&level_line(&level)),
        }
    }

    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn begin(&mut self, label: String, length: Duration) {
        let after = self.durations.levels.iter().skip(self.levels_begun).sum();
        self.live = Live::new(label, length, after);
        self.began = Instant::now();
        self.shown = self.began;
    }

    fn draw(&mut self) {
        let now = Instant::now();
        let wait = if self.interactive { REDRAW } else { LOG_EVERY };
        if now.duration_since(self.shown) < wait {
            return;
        }
        self.shown = now;
        self.live.spent = self.meter.as_deref().map(policy::spent);
        let elapsed = now.duration_since(self.began);
        if self.interactive {
            self.bar.set_message(self.live.lines(elapsed, console::terminal_width()).join("\n"));
            self.bar.tick();
        } else {
            console::note(&self.live.line(elapsed));
        }
    }

    /// Prints a line above the bar.
    pub(crate) fn say(&self, text: &str) {
        self.line(text);
    }

    fn line(&self, text: &str) {
        if self.interactive {
            self.bar.println(text);
        } else {
            console::note(text);
        }
    }
}

/// A level that ended, in one line.
pub(crate) fn level_line(level: &LevelResult) -> String {
    let load = &level.overall;
    let energy = level
        .joules_per_request()
        .zip(level.joules_per_output_token())
        .map_or_else(String::new, |(request, token)| format!("  {request:.1} J/request {token:.3} J/token"));
    format!(
        "{:<9} {:<12} {} of {} within the SLO  TTFT p50 {} p95 {}  TPOT p50 {}{energy}  [{}]",
        level.name,
        level.target_rate.to_string(),
        load.within_slo,
        load.scheduled,
        latency(load.ttft.quantile(0.5)),
        latency(load.ttft.quantile(0.95)),
        latency(load.tpot.quantile(0.5)),
        level.validity.verdict
    )
}
