//! What a running phase looks like so far, in three lines: pure, so that a test can read it.

use std::time::Duration;

use breakeven_bench::drive::Progress;
use breakeven_measurement::{LatencySeries, Quantile};

/// Rates of a phase's first moments say nothing.
const SETTLED: Duration = Duration::from_secs(1);

/// A phase as far as it is.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// What runs: `expected 1.31 req/s`.
    pub(crate) label: String,
    /// Length of its schedule; zero where nobody knows.
    pub(crate) length: Duration,
    /// Length of what follows it.
    pub(crate) after: Duration,
    /// What the run has cost so far, and of what cap: `USD 0.0123 of 1.00`; none where nothing is paid.
    pub(crate) spent: Option<String>,
    progress: Progress,
    within_slo: u64,
    ttft: LatencySeries,
    tpot: LatencySeries,
}

impl Live {
    pub(crate) fn new(label: String, length: Duration, after: Duration) -> Self {
        Self { label, length, after, ..Self::default() }
    }

    /// Takes in one event; `ended` is the attempt that just ended, where one did: TTFT, TPOT, whether it met the SLO.
    pub(crate) fn note(
        &mut self,
        progress: Progress,
        ttft: Option<Duration>,
        tpot: Option<Duration>,
        within_slo: bool,
    ) {
        if progress.failed > self.progress.failed {
            self.ttft.record_infinite();
        }
        if let Some(ttft) = ttft {
            self.ttft.record(ttft);
        }
        if let Some(tpot) = tpot {
            self.tpot.record(tpot);
        }
        self.within_slo += u64::from(within_slo);
        self.progress = progress;
    }

    /// Three lines of at most `width` columns, `elapsed` after the phase began.
    pub(crate) fn lines(&self, elapsed: Duration, width: usize) -> [String; 3] {
        let p = &self.progress;
        let done = p.completed + p.failed;
        let tail = format!(
            "{done} of {}  in flight {}  {}",
            p.scheduled,
            p.sent.saturating_sub(done),
            self.time_left(elapsed)
        );
        let bar_width = width.saturating_sub(self.label.chars().count() + tail.chars().count() + 7).min(30);
        let bar =
            if bar_width < 4 { String::new() } else { format!("[{}]  ", bar(done, p.scheduled, bar_width)) };
        let rate = |count: u64| {
            if elapsed < SETTLED {
                "–".to_owned()
            } else {
                format!("{:.2}", count as f64 / elapsed.as_secs_f64())
            }
        };
        let lines = [
            format!("{}  {bar}{tail}", self.label),
            format!(
                "  offered {}  achieved {}  goodput {} req/s  failed {}{}",
                rate(p.sent),
                rate(p.completed),
                rate(self.within_slo),
                p.failed,
                self.spent.as_ref().map_or_else(String::new, |spent| format!("  spent {spent}"))
            ),
            format!("  TTFT {}  TPOT {}", percentiles(&self.ttft), percentiles(&self.tpot)),
        ];
        lines.map(|line| cut(&line, width))
    }

    /// The same on one line, for a log.
    pub(crate) fn line(&self, elapsed: Duration) -> String {
        let [head, rates, latencies] = self.lines(elapsed, usize::MAX);
        let head = head.split_once('[').map_or(head.as_str(), |(label, _)| label.trim_end()).to_owned();
        let p = &self.progress;
        let done = p.completed + p.failed;
        format!(
            "{head}: {done} of {}, {}; {}; {}",
            p.scheduled,
            self.time_left(elapsed),
            rates.trim(),
            latencies.trim()
        )
    }

    fn time_left(&self, elapsed: Duration) -> String {
        let all = |left: Duration| {
            let left = (left + self.after).as_secs();
            if self.after.is_zero() {
                String::new()
            } else {
                format!(" ({}:{:02} in all)", left / 60, left % 60)
            }
        };
        if self.length.is_zero() {
            return format!("{} s so far{}", elapsed.as_secs(), all(Duration::ZERO));
        }
        match self.length.checked_sub(elapsed) {
            Some(left) => format!("{:.0} s left{}", left.as_secs_f64().ceil(), all(left)),
            None => format!("waiting for the last{}", all(Duration::ZERO)),
        }
    }
}

fn bar(done: u64, of: u64, width: usize) -> String {
    let share = if of == 0 { 0.0 } else { (done as f64 / of as f64).min(1.0) };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of at most 30 columns"
    )]
    let filled = (share * width as f64) as usize;
    format!("{}{}", "=".repeat(filled), " ".repeat(width - filled))
}

fn percentiles(series: &LatencySeries) -> String {
    let at = |q| match series.quantile(q) {
        Some(Quantile::Finite(value)) if value >= Duration::from_secs(10) => {
            format!("{:.1}s", value.as_secs_f64())
        }
        Some(Quantile::Finite(value)) if value < Duration::from_millis(10) => {
            format!("{:.2}ms", value.as_secs_f64() * 1e3)
        }
        Some(Quantile::Finite(value)) => format!("{:.0}ms", value.as_secs_f64() * 1e3),
        Some(Quantile::Infinite) => "never".to_owned(),
        None => "–".to_owned(),
    };
    format!("p50 {} p95 {} p99 {}", at(0.5), at(0.95), at(0.99))
}

fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        let seconds = Duration::from_secs;
        let mut live = Live::new("expected  1.31 req/s".to_owned(), seconds(30), seconds(14));
        for i in 1..=20u32 {
            let failed = u64::from(i / 20);
            let completed = u64::from(i) - failed;
            let progress = Progress { scheduled: 39, sent: u64::from(i) + 3, completed, failed };
            let ttft = (failed == 0).then(|| Duration::from_millis(100) * i);
            let tpot = (failed == 0).then(|| Duration::from_millis(30));
            live.note(progress, ttft, tpot, failed == 0 && i < 16);
        }
        live
    }

    #[test]
    fn three_lines_at_80_and_120_columns() {
        let at = Duration::from_secs(16);
        for width in [80, 120] {
            assert!(live().lines(at, width).iter().all(|line| line.chars().count() <= width));
        }
        insta::assert_snapshot!(live().lines(at, 80).join("\n"));
        insta::assert_snapshot!(live().lines(at, 120).join("\n"));
        insta::assert_snapshot!(live().line(at));
    }

    #[test]
    fn what_is_paid_runs_along() {
        let mut live = live();
        live.spent = Some("USD 0.0123 of 1.00".to_owned());
        let lines = live.lines(Duration::from_secs(16), 100);
        assert!(lines[1].ends_with("failed 1  spent USD 0.0123 of 1.00"), "{}", lines[1]);
    }

    #[test]
    fn nothing_yet_is_said_as_such() {
        let live = Live::new("flat out".to_owned(), Duration::ZERO, Duration::ZERO);
        insta::assert_snapshot!(live.lines(Duration::ZERO, 80).join("\n"));
    }
}
