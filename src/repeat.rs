//! `--repeat`: levels that run several times, and what their intervals say.

use std::num::NonZeroU32;

use breakeven_bench::{Repeating, Until};
use breakeven_measurement::{Headline, LevelResult, Metric, Repeats, headline::Span};
use breakeven_planner::product::TextDuration;
use breakeven_report::intervals;
use clap::Args;

/// How often the levels run.
#[derive(Debug, Args)]
pub(crate) struct RepeatArguments {
    /// Run baseline, expected and stress this often, each time on other arrivals and prompts: intervals between runs then stand beside
    /// those within
    #[arg(long, value_name = "RUNS", default_value = "1")]
    repeat: NonZeroU32,
    /// Go on until goodput, TTFT p50 and p95 and TPOT p50 of baseline and expected are known to within this: points of a share, per cent
    /// of a latency
    #[arg(long, value_name = "WIDTH", requires = "time_budget", conflicts_with = "shard", value_parser = crate::cli::percentage)]
    until_width: Option<f64>,
    /// Begin no further run that would take the levels beyond this time (`20min`, `2h`)
    #[arg(long, value_name = "TIME", requires = "until_width")]
    time_budget: Option<TextDuration>,
}

impl RepeatArguments {
    /// As the run takes it.
    pub(crate) fn repeating(&self) -> Repeating {
        let both = self.until_width.zip(self.time_budget);
        let until = both.map(|(width, budget)| Until { width, budget: budget.0 });
        Repeating { least: self.repeat, until }
    }
}

/// The intervals of all levels: a line within the runs, a line between them.
pub(crate) fn interval_lines(levels: &[LevelResult], repeats: Option<&Repeats>) -> Vec<String> {
    let mut lines = Vec::new();
    for level in levels {
        let within = spans(level, |headline| headline.within_run);
        let between = spans(level, |headline| headline.between_runs);
        for (what, found) in [("95 % in run", within), ("95 % of runs", between)] {
            lines.extend(found.map(|found| format!("{:<9} {what:<12} {found}", level.name)));
        }
    }
    lines.extend(repeats.map(summary));
    lines
}

/// The ends of the shown figures; none where nothing is known.
fn spans(level: &LevelResult, of: impl Fn(&Headline) -> Option<Span>) -> Option<String> {
    let one = |metric: &Metric| {
        let found = of(level.headline(*metric)?)?;
        Some(format!("{} {}", metric.label(), intervals::span(*metric, found)))
    };
    let found: Vec<String> = intervals::SHOWN.iter().filter_map(one).collect();
    (!found.is_empty()).then(|| found.join("  "))
}

fn summary(repeats: &Repeats) -> String {
    let widest = repeats.widest.map_or_else(
        || "not all bounded".to_owned(),
        |widest| format!("all within ±{:.1} %", widest * 100.0),
    );
    let asked = repeats.until_width.map_or_else(String::new, |width| {
        let reached = repeats.widest.is_some_and(|widest| widest <= width);
        let missed = if reached { "" } else { ": not reached, raise --time-budget" };
        format!(" (asked for ±{:.1} %{missed})", width * 100.0)
    });
    format!("{} runs of each level; intervals of baseline and expected {widest}{asked}", repeats.runs)
}
