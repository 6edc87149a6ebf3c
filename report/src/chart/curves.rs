//! What lies along an axis: throughput and latency against load, cost against volume, minutes of an outage.

use std::time::Duration;

use breakeven_hardware::Usd;
use breakeven_measurement::Slo;
use breakeven_planner::plan::{BreakEvenOutcome, LoadPoint, OptionKind, OptionPlan, Plan};
use plotters::prelude::IntoLogRange as _;

use super::{
    Chart, OPTIONS_DRAWN,
    frame::{Frame, LARGEST, Series, draw},
};
use crate::{
    format::{money, percent, seconds, volume},
    html::HtmlError,
};

/// Achieved rate and goodput against offered load, from the measured points, with the share that the SLO asks for.
pub(super) fn throughput(plan: &Plan) -> Result<Chart, HtmlError> {
    let achieved = plan.load_curve.iter().map(|point| (point.offered_per_second, point.achieved_per_second));
    let good = plan.load_curve.iter().filter_map(|point| {
        Some((point.offered_per_second, point.offered_per_second * point.goodput?.get()))
    });
    let mut series = vec![Series::new("achieved", achieved), Series::new("within the SLO", good)];
    if let Some(slo) = &plan.measured.slo_limits {
        let asked = plan.load_curve.iter().map(|point| point.offered_per_second);
        let name = format!("what the SLO asks: {} of offered", percent(Some(slo.attainment.get())));
        series.push(Series::new(&name, asked.map(|offered| (offered, offered * slo.attainment.get()))));
    }
    let top = above(series.iter().flat_map(Series::heights)) * 1.15;
    let widest = widest(plan);
    let marks = level_marks(plan, widest);
    let mut frame = Frame::new("Throughput against offered load", "offered, requests/s", Some("requests/s"));
    (frame.series, frame.marks) = (&series, &marks);
    draw(&frame, None, 0.0..widest, 0.0..top)
}

/// TTFT against offered load, from the measured points, with the SLO's limit.
pub(super) fn first_token(plan: &Plan) -> Result<Chart, HtmlError> {
    let limit = |slo: &Slo| slo.ttft;
    let series = [
        latency_series(plan, "TTFT p50", |point| point.ttft_p50_seconds),
        latency_series(plan, "TTFT p95", |point| point.ttft_p95_seconds),
    ];
    latency(plan, "Time to first token against offered load", "TTFT", &series, limit)
}

/// TPOT likewise; `None` where no point has one.
pub(super) fn per_token(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
    let series = [latency_series(plan, "TPOT p50", |point| point.tpot_p50_seconds)];
    if series.iter().all(|one| one.points.is_empty()) {
        return Ok(None);
    }
    latency(plan, "Time per output token against offered load", "TPOT", &series, |slo| slo.tpot).map(Some)
}

fn latency_series(plan: &Plan, name: &str, of: fn(&LoadPoint) -> Option<f64>) -> Series {
    Series::new(name, plan.load_curve.iter().filter_map(|point| Some((point.offered_per_second, of(point)?))))
}

fn latency(
    plan: &Plan,
    title: &str,
    what: &str,
    series: &[Series],
    limit: fn(&Slo) -> Option<Duration>,
) -> Result<Chart, HtmlError> {
    let mut limits = Vec::new();
    if let Some(slo) = &plan.measured.slo_limits
        && let Some(limit) = limit(slo).map(|limit| limit.as_secs_f64())
    {
        let share = percent(Some(slo.attainment.get()));
        limits.push((limit, format!("SLO {} for {share}", seconds(Some(limit)))));
    }
    limits.retain(|(at, _)| (1.0 / LARGEST..LARGEST).contains(at));
    let heights = series.iter().flat_map(Series::heights).chain(limits.iter().map(|(at, _)| at * ROOM));
    let (low, high) = decades(positive_bounds(heights));
    let widest = widest(plan);
    let marks = level_marks(plan, widest);
    let mut frame = Frame::new(title, "offered, requests/s", Some(what));
    frame.y_format = &|value| seconds(Some(*value));
    (frame.series, frame.marks, frame.limits) = (series, &marks, &limits);
    draw(&frame, None, 0.0..widest, (low..high).log_scale())
}

/// What a level line is written above needs this much more of a logarithmic axis.
const ROOM: f64 = 1.6;

/// The busiest hour minute by minute while a replica is lost; `None` where that was not simulated.
pub(super) fn replica_loss(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
    let Some(loss) = plan.fleet_plan.as_ref().and_then(|fleet| fleet.replica_loss.as_ref()) else {
        return Ok(None);
    };
    let good = loss.timeline.iter().filter_map(|minute| Some((minute.minute, minute.goodput?.get())));
    let fleet = f64::from(loss.replicas.max(1));
    let ready = loss.timeline.iter().map(|minute| (minute.minute, minute.ready / fleet));
    let series = [Series::new("requests within the SLO", good), Series::new("replicas that serve", ready)];
    let marks =
        [(loss.at_minute, "lost".to_owned()), (loss.at_minute + loss.down_minutes, "replaced".to_owned())];
    let last = above(loss.timeline.iter().map(|minute| minute.minute));
    let marks: Vec<_> = marks.into_iter().filter(|(at, _)| (0.0..=last).contains(at)).collect();
    let asked = plan.measured.slo_limits.as_ref().map(|slo| slo.attainment.get());
    let limits: Vec<_> =
        asked.map(|share| (share, format!("SLO {}", percent(Some(share))))).into_iter().collect();
    let mut frame = Frame::new("A replica lost in the busiest hour", "minutes", Some("share"));
    frame.y_format = &|value| percent(Some(*value));
    (frame.series, frame.marks, frame.limits) = (&series, &marks, &limits);
    draw(&frame, None, 0.0..last, 0.0..1.1).map(Some)
}

/// Monthly cost against volume, both on logarithmic axes, one line an option, with what the draws say of it.
pub(super) fn cost(plan: &Plan) -> Result<Chart, HtmlError> {
    // Self-host first: it is one side of every crossing, so it is drawn however many options rank before it.
    let is_own = |option: &&OptionPlan| matches!(option.kind, OptionKind::SelfHost { .. });
    let own = plan.options.iter().filter(is_own);
    let others = plan.options.iter().filter(|option| !is_own(option));
    let mut lines: Vec<Series> = own
        .chain(others)
        .map(|option| cost_line(plan, option))
        .filter(|line| !line.points.is_empty())
        .collect();
    lines.truncate(OPTIONS_DRAWN);
    let x = positive_bounds(lines.iter().flat_map(|one| one.points.iter().map(|point| point.0)));
    let y = decades(positive_bounds(lines.iter().flat_map(Series::heights)));
    let mut marks: Vec<(f64, String)> = plan
        .break_evens
        .iter()
        .filter_map(|entry| match entry.outcome {
            BreakEvenOutcome::At { requests_per_month } => {
                Some((requests_per_month, format!("break-even {}", volume(requests_per_month))))
            }
            BreakEvenOutcome::Always | BreakEvenOutcome::Never { .. } => None,
        })
        .collect();
    marks.truncate(MARKS);
    marks.push((plan.traffic.requests_per_month, "this product".to_owned()));
    marks.retain(|(at, _)| (x.0..=x.1).contains(at));
    let mut frame = Frame::new("Cost a month against volume", "requests a month", Some("USD a month"));
    frame.x_format = &|value| volume(*value);
    frame.y_format = &|value| Usd::from_f64(*value).map(money).unwrap_or_default();
    (frame.series, frame.marks) = (&lines, &marks);
    draw(&frame, None, (x.0..x.1 * 1.05).log_scale(), (y.0..y.1).log_scale())
}

/// Break-evens marked: their labels step down six times before they would overprint, and the last step is the product's own.
const MARKS: usize = 5;

fn cost_line(plan: &Plan, option: &OptionPlan) -> Series {
    let points = plan.cost_curve.iter().filter_map(|point| {
        let (_, cost) = point.usd_per_month.iter().find(|(id, _)| *id == option.id)?;
        Some((point.requests_per_month, cost.to_f64()))
    });
    let drawable = |value: f64| (1.0 / LARGEST..LARGEST).contains(&value);
    let mut line = Series::new(&option.name, points.filter(|(x, y)| drawable(*x) && drawable(*y)));
    let found = plan.uncertainty.iter().flat_map(|found| &found.cost_by_volume);
    let band = found.filter(|found| found.id == option.id).flat_map(|found| &found.points);
    line.band = band
        .map(|point| (point.requests_per_month, point.p5, point.p95))
        .filter(|(x, low, high)| drawable(*x) && drawable(*low) && drawable(*high))
        .collect();
    line
}

/// The highest value; 1 where there is none above zero, so that an axis always has a length.
fn above(values: impl Iterator<Item = f64>) -> f64 {
    let high = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if high > 0.0 { high.min(LARGEST) } else { 1.0 }
}

/// Whole decades around two positive values: a logarithmic axis labels only these.
fn decades((low, high): (f64, f64)) -> (f64, f64) {
    (10f64.powf(low.log10().floor()) * 0.99, 10f64.powf(high.log10().ceil()) * 1.01)
}

/// Lowest and highest positive value; a decade where there are none or one.
fn positive_bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| (1.0 / LARGEST..LARGEST).contains(value))
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    if high == 0.0 {
        (1.0, 10.0)
    } else if high <= low {
        (low / 3.0, low * 3.0)
    } else {
        (low, high)
    }
}

/// The end of the offered-load axis: points and level marks all fit.
fn widest(plan: &Plan) -> f64 {
    let points = plan.load_curve.iter().map(|point| point.offered_per_second);
    let levels = plan.measured.levels.iter().map(|level| level.offered_per_second);
    above(points.chain(levels)) * 1.08
}

/// Marks outside the axis are left out: the plotting library overflows on far ones.
fn level_marks(plan: &Plan, widest: f64) -> Vec<(f64, String)> {
    let levels =
        plan.measured.levels.iter().filter(|level| (0.0..=widest).contains(&level.offered_per_second));
    levels.map(|level| (level.offered_per_second, level.name.to_string())).collect()
}
