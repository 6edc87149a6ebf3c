//! Charts as inline SVG: drawn by plotters, coloured for light and dark pages, named for screen readers.

use breakeven_planner::plan::{BreakEvenOutcome, OptionKind, OptionPlan, Plan};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde::Serialize;

use crate::bars;
use crate::format::{money, rate, volume};
use crate::html::HtmlError;

const SIZE: (u32, u32) = (760, 380);
/// Middling tones: legible on white and on near-black.
const SERIES: [RGBColor; 8] = [
    RGBColor(0x2a, 0x8c, 0x5a),
    RGBColor(0x3b, 0x7d, 0xd8),
    RGBColor(0xd9, 0x6c, 0x1e),
    RGBColor(0xa3, 0x5c, 0xc9),
    RGBColor(0xc9, 0x41, 0x5e),
    RGBColor(0x1e, 0x96, 0xa8),
    RGBColor(0x99, 0x7a, 0x1f),
    RGBColor(0x7a, 0x80, 0x8a),
];
/// Lines beyond these would be a tangle; the table has them all.
pub(crate) const OPTIONS_DRAWN: usize = SERIES.len();

/// Nothing measured or billed is larger; what is, would only break the axes.
pub(crate) const LARGEST: f64 = 1e18;

/// A drawn chart and the key to its lines, which the page sets as text so that it stays legible on a phone.
#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    pub(crate) svg: String,
    pub(crate) legend: Vec<Key>,
}

/// One line of a key.
#[derive(Debug, Serialize)]
pub(crate) struct Key {
    pub(crate) color: String,
    pub(crate) name: String,
}

/// What a chart shows, axes' scales apart.
struct Frame<'a> {
    title: &'a str,
    x_label: &'a str,
    y_label: &'a str,
    x_format: &'a dyn Fn(&f64) -> String,
    y_format: &'a dyn Fn(&f64) -> String,
    series: &'a [Series],
    /// Vertical lines: where, and what to write beside them.
    marks: &'a [(f64, String)],
}

/// One line of a chart.
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Every chart of the report with its title.
pub(crate) fn all(plan: &Plan) -> Result<Vec<(&'static str, Chart)>, HtmlError> {
    let mut charts = vec![
        ("Throughput against offered load", throughput(plan)?),
        ("Time to first token against offered load", latency(plan)?),
        ("Cost a month against volume", cost(plan)?),
    ];
    // What a plan does not hold is not drawn.
    let more = [
        ("Cost per successful outcome, by line", bars::stacked(plan)?),
        ("Lead of the choice, one input at a time", bars::tornado(plan)?),
        ("Load-duration curve and what is bought for it", bars::load_duration(plan)?),
        ("A replica lost in the busiest hour", replica_loss(plan)?),
    ];
    charts.extend(more.into_iter().filter_map(|(title, chart)| Some((title, chart?))));
    Ok(charts)
}

/// Achieved rate and goodput against offered load, from the measured points.
pub(crate) fn throughput(plan: &Plan) -> Result<Chart, HtmlError> {
    let achieved = plan.load_curve.iter().map(|point| (point.offered_per_second, point.achieved_per_second));
    let good = plan.load_curve.iter().filter_map(|point| {
        Some((point.offered_per_second, point.offered_per_second * point.goodput?.get()))
    });
    let series = [series("achieved", achieved), series("within the SLO", good)];
    let top = above(series.iter().flat_map(|one| one.points.iter().map(|point| point.1))) * 1.15;
    let widest = widest(plan);
    let marks = level_marks(plan, widest);
    let frame = Frame {
        title: "Throughput against offered load",
        x_label: "offered, requests/s",
        y_label: "requests/s",
        x_format: &|value| rate(*value),
        y_format: &|value| rate(*value),
        series: &series,
        marks: &marks,
    };
    draw(&frame, 0.0..widest, 0.0..top)
}

/// TTFT against offered load, from the measured points.
pub(crate) fn latency(plan: &Plan) -> Result<Chart, HtmlError> {
    let p50 =
        plan.load_curve.iter().filter_map(|point| Some((point.offered_per_second, point.ttft_p50_seconds?)));
    let p95 =
        plan.load_curve.iter().filter_map(|point| Some((point.offered_per_second, point.ttft_p95_seconds?)));
    let series = [series("TTFT p50", p50), series("TTFT p95", p95)];
    let (low, high) =
        decades(positive_bounds(series.iter().flat_map(|one| one.points.iter().map(|point| point.1))));
    let widest = widest(plan);
    let marks = level_marks(plan, widest);
    let frame = Frame {
        title: "Time to first token against offered load",
        x_label: "offered, requests/s",
        y_label: "TTFT",
        x_format: &|value| rate(*value),
        y_format: &|value| crate::format::seconds(Some(*value)),
        series: &series,
        marks: &marks,
    };
    draw(&frame, 0.0..widest, (low..high).log_scale())
}

/// The busiest hour minute by minute while a replica is lost; `None` where that was not simulated.
fn replica_loss(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
    let Some(loss) = plan.fleet_plan.as_ref().and_then(|fleet| fleet.replica_loss.as_ref()) else {
        return Ok(None);
    };
    let good = loss.timeline.iter().filter_map(|minute| Some((minute.minute, minute.goodput?.get())));
    let fleet = f64::from(loss.replicas.max(1));
    let ready = loss.timeline.iter().map(|minute| (minute.minute, minute.ready / fleet));
    let series = [series("requests within the SLO", good), series("replicas that serve", ready)];
    let marks =
        [(loss.at_minute, "lost".to_owned()), (loss.at_minute + loss.down_minutes, "replaced".to_owned())];
    let last = above(loss.timeline.iter().map(|minute| minute.minute));
    let marks: Vec<_> = marks.into_iter().filter(|(at, _)| (0.0..=last).contains(at)).collect();
    let frame = Frame {
        title: "A replica lost in the busiest hour",
        x_label: "minutes",
        y_label: "share",
        x_format: &|value| rate(*value),
        y_format: &|value| crate::format::percent(Some(*value)),
        series: &series,
        marks: &marks,
    };
    draw(&frame, 0.0..last, 0.0..1.1).map(Some)
}

/// Monthly cost against volume, both on logarithmic axes, one line an option.
pub(crate) fn cost(plan: &Plan) -> Result<Chart, HtmlError> {
    // Self-host first: it is one side of every crossing, so it is drawn however many options rank before it.
    let is_own = |option: &&OptionPlan| matches!(option.kind, OptionKind::SelfHost { .. });
    let own = plan.options.iter().filter(is_own);
    let others = plan.options.iter().filter(|option| !is_own(option));
    let lines: Vec<Series> = own
        .chain(others)
        .take(OPTIONS_DRAWN)
        .map(|option| {
            let points = plan.cost_curve.iter().filter_map(|point| {
                let (_, cost) = point.usd_per_month.iter().find(|(id, _)| *id == option.id)?;
                Some((point.requests_per_month, cost.to_f64()))
            });
            series(&option.name, points.filter(|(volume, cost)| *volume > 0.0 && *cost > 0.0))
        })
        .collect();
    let x = positive_bounds(lines.iter().flat_map(|one| one.points.iter().map(|point| point.0)));
    let y = decades(positive_bounds(lines.iter().flat_map(|one| one.points.iter().map(|point| point.1))));
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
    marks.push((plan.traffic.requests_per_month, "this product".to_owned()));
    marks.retain(|(at, _)| (x.0..=x.1).contains(at));
    let frame = Frame {
        title: "Cost a month against volume",
        x_label: "requests a month",
        y_label: "USD a month",
        x_format: &|value| volume(*value),
        y_format: &|value| breakeven_hardware::Usd::from_f64(*value).map(money).unwrap_or_default(),
        series: &lines,
        marks: &marks,
    };
    draw(&frame, (x.0..x.1 * 1.05).log_scale(), (y.0..y.1).log_scale())
}

fn series(name: &str, points: impl Iterator<Item = (f64, f64)>) -> Series {
    let mut points: Vec<_> = points.filter(|(x, y)| x.abs() <= LARGEST && y.abs() <= LARGEST).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Series { name: name.to_owned(), points }
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

fn draw<X, Y>(frame: &Frame<'_>, x: X, y: Y) -> Result<Chart, HtmlError>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    paint(&mut svg, frame, x, y)
        .map_err(|error| HtmlError::Chart { title: frame.title.to_owned(), what: error })?;
    let legend = frame.series.iter().zip(SERIES).map(|(one, color)| key(color, &one.name)).collect();
    Ok(finished(frame.title, &svg, legend))
}

/// A line of a key.
pub(crate) fn key(RGBColor(red, green, blue): RGBColor, name: &str) -> Key {
    Key { color: format!("#{red:02x}{green:02x}{blue:02x}"), name: name.to_owned() }
}

/// A drawing with its key, named for screen readers and in the page's own ink.
pub(crate) fn finished(title: &str, svg: &str, legend: Vec<Key>) -> Chart {
    let names: Vec<&str> = legend.iter().map(|one| one.name.as_str()).collect();
    let label = escaped(&format!("{title}: {}", names.join(", ")));
    // Black becomes the page's own ink, so that axes and labels follow the theme.
    let svg = svg.replace("\"#000000\"", "\"currentColor\"").replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{label}\" "),
        1,
    );
    Chart { svg, legend }
}

/// Draws into `svg`; errors are plotters' own, in words.
fn paint<X, Y>(svg: &mut String, frame: &Frame<'_>, x: X, y: Y) -> Result<(), String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(10)
        .margin_right(60)
        .x_label_area_size(52)
        .y_label_area_size(118)
        .build_cartesian_2d(x, y)
        .map_err(|error| error.to_string())?;
    let top = chart.y_range().end;
    let bottom = chart.y_range().start;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .x_desc(frame.x_label)
        .y_desc(frame.y_label)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&frame.x_format)
        .y_label_formatter(&frame.y_format)
        .label_style(("sans-serif", 17))
        .axis_desc_style(("sans-serif", 18))
        .draw()
        .map_err(|error| error.to_string())?;
    for (index, (at, text)) in frame.marks.iter().enumerate() {
        let line = [(*at, bottom), (*at, top)];
        chart.draw_series(LineSeries::new(line, BLACK.mix(0.45))).map_err(|error| error.to_string())?;
        // Neighbouring labels step down so that close marks do not overprint.
        let drop = 4 + 18 * i32::try_from(index % 6).unwrap_or(0);
        let label = EmptyElement::at((*at, top)) + Text::new(text.clone(), (5, drop), ("sans-serif", 17));
        chart.draw_series(std::iter::once(label)).map_err(|error| error.to_string())?;
    }
    for (one, color) in frame.series.iter().zip(SERIES) {
        chart
            .draw_series(LineSeries::new(one.points.iter().copied(), color.stroke_width(2)))
            .map_err(|error| error.to_string())?;
        let dots = one.points.iter().map(|point| Circle::new(*point, 3, color.filled()));
        chart.draw_series(dots).map_err(|error| error.to_string())?;
    }
    root.present().map_err(|error| error.to_string())?;
    drop(chart);
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
