//! Headline figures with their intervals: the moving-block bootstrap within runs, Student's t between them.
//!
//! Requests that follow one another share a queue, so they are drawn again in blocks of neighbours (H. R. Künsch, *Annals of
//! Statistics* 17, 1989). Blocks have n^(1/2) requests: longer than the n^(1/3) that is best for a mean, because a queue's
//! memory is long and too narrow an interval is the worse mistake. No block reaches from one run into the next.

use std::time::Duration;

use breakeven_measurement::{
    Headline, LevelResult, Metric, Slo,
    headline::{ALPHA, RunFigure, Span},
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    drive::Attempt,
    tally::{Latencies, latencies},
};

/// Drawn again this often: the ends of a 95 % interval are then the 6th value from either side.
const DRAWS: usize = 200;
/// Fewer requests give no interval.
const FEWEST: usize = 20;
/// Of more, as many are drawn, and the interval is narrowed by the square root of their share (m out of n: P. J. Bickel, F. Götze,
/// W. R. van Zwet, *Statistica Sinica* 7, 1997).
const MOST: usize = 20_000;

/// What a request of a level's window came to; no latencies where it failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestFigures(Option<Latencies>);

/// The requests due at or after `window_start`, in the order due.
pub fn figures_of(attempts: &[Attempt], window_start: Duration) -> Vec<RequestFigures> {
    let mut window: Vec<&Attempt> = attempts.iter().filter(|a| a.scheduled >= window_start).collect();
    window.sort_by_key(|a| (a.scheduled, a.id));
    window.into_iter().map(|attempt| RequestFigures(latencies(attempt))).collect()
}

/// A level's headline figures: `pooled` is the level, `runs` its runs in order with the requests of each. A run keeps the
/// intervals that it has.
pub fn headlines(
    pooled: &LevelResult,
    runs: &[(&LevelResult, &[RequestFigures])],
    slo: &Slo,
    seed: u64,
) -> Vec<Headline> {
    let figures: Vec<&[RequestFigures]> = runs.iter().map(|(_, figures)| *figures).collect();
    let spans = spans(&figures, slo, seed);
    let of_runs = |metric: Metric| {
        let of_run = |(level, _): &(&LevelResult, &[RequestFigures])| RunFigure {
            value: metric.of(&level.overall, ALPHA).map(|i| i.estimate).filter(|e| e.is_finite()),
            within_run: level.headline(metric).and_then(|headline| headline.within_run),
        };
        runs.iter().map(of_run).collect()
    };
    let headline = |metric: Metric| {
        let by_ranks = metric.of(&pooled.overall, ALPHA)?;
        let estimate = by_ranks.estimate;
        let within = spans.iter().find(|(of, _)| *of == metric).map(|(_, span)| *span);
        // Too few requests for the percentile leave its high end open by order statistics; drawing the same requests again cannot
        // close it.
        let open = !by_ranks.high.is_finite();
        // The histogram's value may lie a bucket beside the ends.
        let held = |span: Span| Span {
            low: span.low.map(|low| low.min(estimate)),
            high: span.high.filter(|_| !open).map(|high| high.max(estimate)),
        };
        Some(Headline::new(metric, estimate, within.map(held), of_runs(metric)))
    };
    Metric::OF_LEVELS.into_iter().filter_map(headline).collect()
}

/// 95 % intervals of the headline figures of the requests of all runs together; none of too few.
fn spans(runs: &[&[RequestFigures]], slo: &Slo, seed: u64) -> Vec<(Metric, Span)> {
    let count: usize = runs.iter().map(|run| run.len()).sum();
    if count < FEWEST {
        return Vec::new();
    }
    let blocks = Blocks::of(runs);
    let wanted = count.min(MOST);
    let narrowed = (wanted as f64 / count as f64).sqrt();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut columns = Columns::default();
    let mut seen: Vec<Vec<f64>> = vec![Vec::with_capacity(DRAWS); Metric::OF_LEVELS.len()];
    for _ in 0..DRAWS {
        columns.clear();
        while columns.requests() < wanted {
            for figures in blocks.draw(&mut random).iter().take(wanted - columns.requests()) {
                columns.push(figures, slo);
            }
        }
        columns.sort();
        for (seen, metric) in seen.iter_mut().zip(Metric::OF_LEVELS) {
            seen.extend(columns.value(metric));
        }
    }
    let span = |(metric, mut seen): (Metric, Vec<f64>)| {
        seen.sort_by(f64::total_cmp);
        let at = |index: usize| seen.get(index).copied();
        let cut = seen.len() / 40;
        let (low, middle, high) = (at(cut)?, at(seen.len() / 2)?, at(seen.len() - 1 - cut)?);
        let nearer = |end: f64| if middle.is_finite() { middle + (end - middle) * narrowed } else { end };
        Some((metric, Span::of(nearer(low), nearer(high))))
    };
    Metric::OF_LEVELS.into_iter().zip(seen).filter(|(_, seen)| !seen.is_empty()).filter_map(span).collect()
}

/// The blocks of neighbours that may be drawn, of all runs.
struct Blocks<'a> {
    runs: Vec<(&'a [RequestFigures], usize)>,
    starts: usize,
}

impl<'a> Blocks<'a> {
    fn of(runs: &[&'a [RequestFigures]]) -> Self {
        let with_length = |run: &&'a [RequestFigures]| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a square root of a length"
            )]
            let block = (run.len() as f64).sqrt().round() as usize;
            (*run, block.max(1))
        };
        let runs: Vec<_> = runs.iter().filter(|run| !run.is_empty()).map(with_length).collect();
        let starts = runs.iter().map(|(run, block)| run.len() + 1 - block).sum();
        Self { runs, starts }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> &'a [RequestFigures] {
        let mut start = random.random_range(0..self.starts.max(1));
        for (run, block) in &self.runs {
            let starts = run.len() + 1 - block;
            if start < starts {
                return run.get(start..start + block).unwrap_or(run);
            }
            start -= starts;
        }
        &[]
    }
}

/// Drawn requests by figure, in seconds; infinite where a request failed.
#[derive(Default)]
struct Columns {
    good: usize,
    failed: usize,
    ttft: Vec<f64>,
    tpot: Vec<f64>,
    e2e: Vec<f64>,
}

impl Columns {
    fn clear(&mut self) {
        (self.good, self.failed) = (0, 0);
        [&mut self.ttft, &mut self.tpot, &mut self.e2e].into_iter().for_each(Vec::clear);
    }

    fn requests(&self) -> usize {
        self.ttft.len()
    }

    fn push(&mut self, figures: &RequestFigures, slo: &Slo) {
        if let Some(l) = figures.0 {
            self.good += usize::from(slo.is_met(l.ttft, l.tpot, l.e2e));
            self.ttft.push(l.ttft.as_secs_f64());
            self.tpot.extend(l.tpot.map(|tpot| tpot.as_secs_f64()));
            self.e2e.push(l.e2e.as_secs_f64());
        } else {
            self.failed += 1;
            self.ttft.push(f64::INFINITY);
            self.e2e.push(f64::INFINITY);
        }
    }

    fn sort(&mut self) {
        for column in [&mut self.ttft, &mut self.tpot, &mut self.e2e] {
            column.sort_unstable_by(f64::total_cmp);
        }
    }

    fn value(&self, metric: Metric) -> Option<f64> {
        let share = |count: usize| Some(count as f64 / self.requests().max(1) as f64);
        match metric {
            Metric::Capacity => None,
            Metric::Goodput => share(self.good),
            Metric::Failed => share(self.failed),
            Metric::TtftP50 => quantile(&self.ttft, 0.5),
            Metric::TtftP95 => quantile(&self.ttft, 0.95),
            Metric::TtftP99 => quantile(&self.ttft, 0.99),
            Metric::TpotP50 => quantile(&self.tpot, 0.5),
            Metric::TpotP95 => quantile(&self.tpot, 0.95),
            Metric::E2eP50 => quantile(&self.e2e, 0.5),
            Metric::E2eP95 => quantile(&self.e2e, 0.95),
        }
    }
}

/// Nearest rank of sorted values.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank from 1 up to a length"
    )]
    let rank = (q * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use breakeven_measurement::Fraction;
    use rand_distr::{Distribution as _, Exp1};

    use super::*;

    fn answered(ttft: f64) -> RequestFigures {
        let ttft = Duration::from_secs_f64(ttft);
        RequestFigures(Some(Latencies { ttft, tpot: None, e2e: ttft }))
    }

    fn slo() -> Slo {
        let ttft = Some(Duration::from_secs(1));
        Slo { ttft, tpot: None, e2e: None, attainment: Fraction::new(0.9).unwrap() }
    }

    fn span(of: Metric, found: &[(Metric, Span)]) -> (f64, f64) {
        let (_, span) = found.iter().find(|(metric, _)| *metric == of).unwrap();
        (span.low.unwrap(), span.high.unwrap())
    }

    #[test]
    fn the_interval_of_a_median_holds_it_as_often_as_it_says() {
        let truth = 2.0f64.ln();
        let (mut inside, runs) = (0, 60);
        for seed in 0..runs {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let figures: Vec<_> = (0..300).map(|_| answered(Exp1.sample(&mut random))).collect();
            let (low, high) = span(Metric::TtftP50, &spans(&[&figures], &slo(), seed));
            inside += u32::from(low <= truth && truth <= high);
        }
        // 57 of 60 expected; 51 would be three and a half standard deviations off.
        assert!(inside >= 51, "{inside} of {runs}");
    }

    #[test]
    fn neighbours_that_share_a_queue_widen_the_interval() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        // The same 900 values, in random order and in stretches of thirty equal ones.
        let stretches: Vec<f64> = (0..30).map(|_| Exp1.sample(&mut random)).collect();
        let together: Vec<_> = (0..900usize).map(|i| answered(stretches[i / 30])).collect();
        let apart: Vec<_> = (0..900usize).map(|i| answered(stretches[i * 7 % 30])).collect();
        let width = |figures: &[RequestFigures]| {
            let (low, high) = span(Metric::TtftP50, &spans(&[figures], &slo(), 1));
            high - low
        };
        assert!(width(&together) > 2.0 * width(&apart), "{} {}", width(&together), width(&apart));
    }

    #[test]
    fn a_seed_repeats_failures_count_and_few_requests_give_none() {
        let mut figures: Vec<_> = (0..50u32).map(|i| answered(f64::from(i) * 0.03)).collect();
        let found = spans(&[&figures], &slo(), 1);
        assert_eq!(found, spans(&[&figures], &slo(), 1));
        let (low, high) = span(Metric::Goodput, &found);
        assert!(low < 0.68 && high > 0.68, "34 of 50 are within 1 s: {low} {high}");
        assert!(found.iter().all(|(metric, _)| *metric != Metric::TpotP50), "one-token answers have no TPOT");
        assert_eq!(spans(&[&figures[..19]], &slo(), 1), []);
        figures.iter_mut().skip(40).for_each(|f| *f = RequestFigures(None));
        let found = spans(&[&figures], &slo(), 1);
        let (_, p95) = found.iter().find(|(metric, _)| *metric == Metric::TtftP95).unwrap();
        assert_eq!(p95.high, None, "the 95th percentile is among the failures");
    }

    #[test]
    fn two_halves_have_the_interval_of_the_whole_about() {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        let figures: Vec<_> = (0..2_000).map(|_| answered(Exp1.sample(&mut random))).collect();
        let whole = span(Metric::TtftP50, &spans(&[&figures], &slo(), 1));
        let halves = span(Metric::TtftP50, &spans(&[&figures[..1_000], &figures[1_000..]], &slo(), 1));
        let ratio = (halves.1 - halves.0) / (whole.1 - whole.0);
        assert!((0.6..1.6).contains(&ratio), "{ratio}");
    }
}
