//! Progress bars: one for the search, one for each level; plain lines where there is no terminal.

use std::time::Duration;

use breakeven_bench::RunEvent;
use breakeven_measurement::{LevelResult, Quantile};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console;

/// Draws a run's events.
pub(crate) struct Bars {
    bar: ProgressBar,
    interactive: bool,
    label: String,
    probes: u32,
}

impl Bars {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let interactive = !bar.is_hidden();
        Self { bar, interactive, label: String::new(), probes: 0 }
    }

    pub(crate) fn show(&mut self, event: RunEvent) {
        match event {
            RunEvent::WarmingUp => self.begin("warm-up", Duration::ZERO),
            RunEvent::Saturating => self.begin("flat out", Duration::ZERO),
            RunEvent::ProbeStarted { rate, search_progress } => {
                self.probes += 1;
                self.begin(&format!("search {:>3.0} %  {rate}", search_progress * 100.0), Duration::ZERO);
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
            RunEvent::LevelStarted { name, rate, length } => self.begin(&format!("{name:<9} {rate}"), length),
            RunEvent::Progress { progress, ttft } => {
                self.bar.set_length(progress.scheduled);
                self.bar.set_position(progress.completed + progress.failed);
                let ttft = ttft.map_or(String::new(), |t| format!("  TTFT {:.0} ms", t.as_secs_f64() * 1e3));
                let failed =
                    if progress.failed > 0 { format!("  failed {}", progress.failed) } else { String::new() };
                let in_flight = progress.sent.saturating_sub(progress.completed + progress.failed);
                self.bar.set_message(format!("in flight {in_flight}{ttft}{failed}"));
            }
            RunEvent::LevelFinished(level) => self.line(&level_line(&level)),
        }
    }

    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn begin(&mut self, label: &str, length: Duration) {
        label.clone_into(&mut self.label);
        self.bar.reset();
        self.bar.set_length(0);
        self.bar.set_message(String::new());
        let template = "{prefix:<28} [{bar:24}] {pos}/{len}  {msg}  {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_prefix(self.label.clone());
        if !self.interactive && !length.is_zero() {
            console::note(&format!("{label}: {:.0} s", length.as_secs_f64()));
        }
    }

    fn line(&self, text: &str) {
        if self.interactive {
            self.bar.println(text);
        } else {
            console::note(text);
        }
    }
}

fn level_line(level: &LevelResult) -> String {
    let load = &level.overall;
    let ms = |quantile: Option<Quantile>| match quantile {
        Some(Quantile::Finite(value)) => format!("{:.0} ms", value.as_secs_f64() * 1e3),
        Some(Quantile::Infinite) => "never".to_owned(),
        None => "-".to_owned(),
    };
    format!(
        "{:<9} {:<12} {} of {} within the SLO  TTFT p50 {} p95 {}  TPOT p50 {}  [{}]",
        level.name,
        level.target_rate.to_string(),
        load.within_slo,
        load.scheduled,
        ms(load.ttft.quantile(0.5)),
        ms(load.ttft.quantile(0.95)),
        ms(load.tpot.quantile(0.5)),
        level.validity.verdict
    )
}
