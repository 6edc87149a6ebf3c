//! Downloads of weights on the terminal: a bar that follows the file, and a line a source; plain lines in a log.

use std::time::{Duration, Instant};

use breakeven_models::inference::fetch::{Attempt, FetchProgress};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console;

/// Time between two lines of a log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Says which source is tried, how far its file is, and why a source gave nothing.
pub(crate) struct Downloads {
    bar: ProgressBar,
    interactive: bool,
    /// Since when the current file comes, and how much of it was there before.
    began: Option<(Instant, u64)>,
    logged: Instant,
}

impl Downloads {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let interactive = !bar.is_hidden();
        let style = "  [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, interactive, began: None, logged: Instant::now() }
    }

    /// Takes the bar away, so that the next line stands where it stood.
    fn end(&mut self) {
        if self.began.take().is_some() && self.interactive {
            self.bar.finish_and_clear();
        }
    }
}

impl FetchProgress for Downloads {
    fn trying(&mut self, source: &str) {
        self.end();
        console::note(&format!("Weights: {source}"));
    }

    fn advance(&mut self, bytes: u64, of: Option<u64>) {
        let now = Instant::now();
        let (began, before) = *self.began.get_or_insert_with(|| {
            self.bar.reset();
            // What an earlier run left did not come just now: the rate begins from there.
            self.bar.set_position(bytes);
            self.bar.reset_eta();
            self.logged = now;
            (now, bytes)
        });
        if self.interactive {
            if let Some(of) = of {
                self.bar.set_length(of);
            }
            self.bar.set_position(bytes);
        } else if now.duration_since(self.logged) >= LOG_EVERY {
            self.logged = now;
            console::note(&line(bytes.saturating_sub(before), bytes, of, now.duration_since(began)));
        }
        if of == Some(bytes) {
            self.end();
        }
    }

    fn failed(&mut self, attempt: &Attempt) {
        self.end();
        console::note(&format!("Weights: nothing from {}: {}", attempt.source, attempt.failure));
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.end();
    }
}

/// A line of a log: `arrived` bytes of this run are in the `bytes` that are there.
fn line(arrived: u64, bytes: u64, of: Option<u64>, elapsed: Duration) -> String {
    let rate = arrived as f64 / elapsed.as_secs_f64().max(1e-3);
    let whole = of.filter(|of| *of > 0).map_or_else(String::new, |of| {
        let left = of.saturating_sub(bytes) as f64 / rate.max(1.0);
        format!(" of {} ({:.0} %), {left:.0} s left", HumanBytes(of), 100.0 * bytes as f64 / of as f64)
    });
    format!("Weights: {}{whole}, {:.1} MB/s", HumanBytes(bytes), rate / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_how_far_and_how_long() {
        // 10 MiB of 100 MiB, of which 5 MiB came in 10 s: 0.5 MiB/s, 90 MiB left.
        let shown = line(5 << 20, 10 << 20, Some(100 << 20), Duration::from_secs(10));
        assert_eq!(shown, "Weights: 10.00 MiB of 100.00 MiB (10 %), 180 s left, 0.5 MB/s");
        assert_eq!(line(0, 0, None, Duration::ZERO), "Weights: 0 B, 0.0 MB/s");
    }
}
