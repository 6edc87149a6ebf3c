//! Charts of areas: cost per successful outcome stacked by line, and the load-duration curve with what is bought for it.

use breakeven_planner::plan::{LineItem, Plan, fleet_plan::PurchaseKind};
use plotters::prelude::*;

use crate::{
    chart::{Chart, LARGEST, OPTIONS_DRAWN, finished, key},
    format::money,
    html::HtmlError,
    sureness::{moving, plain, signed},
};

/// A colour for each of the 17 lines: the middling tones of the other charts, then darker and lighter ones.
const LINES: [RGBColor; 17] = [
    RGBColor(0x2a, 0x8c, 0x5a),
    RGBColor(0x3b, 0x7d, 0xd8),
    RGBColor(0xd9, 0x6c, 0x1e),
    RGBColor(0xa3, 0x5c, 0xc9),
    RGBColor(0xc9, 0x41, 0x5e),
    RGBColor(0x1e, 0x96, 0xa8),
    RGBColor(0x99, 0x7a, 0x1f),
    RGBColor(0x7a, 0x80, 0x8a),
    RGBColor(0x5f, 0xb0, 0x86),
    RGBColor(0x7f, 0xa9, 0xe6),
    RGBColor(0xe8, 0x9a, 0x60),
    RGBColor(0xbf, 0x8d, 0xdc),
    RGBColor(0xdf, 0x85, 0x98),
    RGBColor(0x6f, 0xbf, 0xcb),
    RGBColor(0xc2, 0xa8, 0x58),
    RGBColor(0xa8, 0xac, 0xb3),
    RGBColor(0x4d, 0x4f, 0x9c),
];
/// Replicas drawn one by one; more are drawn in steps.
const REPLICAS_DRAWN: usize = 600;
const BAR: i32 = 62;

/// A filled part of a bar: from, to, bottom, top, colour.
type Area = (f64, f64, f64, f64, RGBColor);

/// Cost per successful outcome of each option, stacked by line; `None` where none can be had.
pub(crate) fn stacked(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
    let had: Vec<_> = plan
        .options
        .iter()
        .filter(|option| option.infeasible.is_none() && option.usd_per_month.to_f64() > 0.0)
        .filter_map(|option| Some((option, option.usd_per_successful_outcome?.to_f64())))
        .take(OPTIONS_DRAWN)
        .collect();
    let widest = had.iter().map(|(_, price)| *price).fold(0.0, f64::max);
    if had.is_empty() || !widest.is_normal() {
        return Ok(None);
    }
    let mut areas = Vec::new();
    let mut labels = Vec::new();
    let mut used = Vec::new();
    for ((option, price), row) in had.iter().zip(0i32..) {
        let top = -f64::from(row);
        let mut from = 0.0;
        for (line, color) in option.lines.iter().zip(LINES) {
            // The plan's own split, on the scale of a successful outcome.
            let to = from + line.usd_per_month.to_f64() / option.usd_per_month.to_f64() * price;
            if to > from {
                areas.push((from, to, top - 0.85, top - 0.4, color));
                if !used.contains(&line.line) {
                    used.push(line.line);
                }
                from = to;
            }
        }
        let shown = option.usd_per_successful_outcome.map(money).unwrap_or_default();
        labels.push((0.0, top - 0.05, format!("{}: {shown}", option.name)));
    }
    let rows = i32::try_from(had.len()).unwrap_or(1);
    let height = u32::try_from(90 + BAR * rows).unwrap_or(400);
    let legend = LineItem::ALL.into_iter().zip(LINES).filter(|(line, _)| used.contains(line));
    let legend = legend.map(|(line, color)| key(color, line.label())).collect();
    let title = "Cost per successful outcome, by line";
    let frame = Frame {
        title,
        x_label: "USD per successful outcome",
        y_label: None,
        x_format: &|value| breakeven_hardware::Usd::from_f64(*value).map(money).unwrap_or_default(),
        height,
    };
    let svg = paint(&frame, 0.0..widest * 1.02, -f64::from(rows)..0.0, &areas, &labels)
        .map_err(|what| HtmlError::Chart { title: title.to_owned(), what })?;
    Ok(Some(finished(title, &svg, legend)))
}

/// Replicas by the share of hours that need them, coloured by how they are paid; `None` without a fleet plan.
pub(crate) fn load_duration(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
    let Some(fleet) = plan.fleet_plan.as_ref().filter(|fleet| !fleet.load_duration.is_empty()) else {
        return Ok(None);
    };
    let kinds = [
        PurchaseKind::Owned,
        PurchaseKind::Reserved3y,
        PurchaseKind::Reserved1y,
        PurchaseKind::OnDemand,
        PurchaseKind::Spot,
        PurchaseKind::Overflow,
    ];
    let color_of = |kind: Option<PurchaseKind>| {
        kinds
            .iter()
            .zip(LINES)
            .find(|(one, _)| Some(**one) == kind)
            .map_or(RGBColor(0x7a, 0x80, 0x8a), |(_, color)| color)
    };
    let step = fleet.load_duration.len().div_ceil(REPLICAS_DRAWN).max(1);
    let points: Vec<_> = fleet.load_duration.iter().step_by(step).collect();
    let height = step as f64;
    let areas: Vec<Area> = points
        .iter()
        .map(|point| {
            let low = f64::from(point.replica) - 1.0;
            (0.0, point.hours_share.get(), low, low + height, color_of(point.bought))
        })
        .collect();
    let mut legend: Vec<_> = kinds
        .into_iter()
        .filter(|kind| points.iter().any(|point| point.bought == Some(*kind)))
        .map(|kind| key(color_of(Some(kind)), kind.label()))
        .collect();
    if points.iter().any(|point| point.bought.is_none()) {
        legend.push(key(color_of(None), "no price known"));
    }
    let title = "Load-duration curve and what is bought for it";
    let frame = Frame {
        title,
        x_label: "share of the hours that need it",
        y_label: Some("replica"),
        x_format: &|value| crate::format::percent(Some(*value)),
        height: 380,
    };
    let most = fleet.load_duration.iter().map(|point| f64::from(point.replica)).fold(1.0, f64::max);
    let svg = paint(&frame, 0.0..1.0, 0.0..most + height, &areas, &[])
        .map_err(|what| HtmlError::Chart { title: title.to_owned(), what })?;
    Ok(Some(finished(title, &svg, legend)))
}

/// How far each uncertain input moves the choice's lead, one at a time, widest first; `None` where none does.
pub(crate) fn tornado(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
    let bars: Vec<_> = plan.uncertainty.iter().flat_map(moving).take(OPTIONS_DRAWN).collect();
    let ends = || bars.iter().flat_map(|bar| [bar.saves_per_success_at_low, bar.saves_per_success_at_high]);
    let (left, right) = (ends().fold(0.0, f64::min), ends().fold(0.0, f64::max));
    let room = (right - left) * 0.04;
    if bars.is_empty() || !(room.is_normal() && right < LARGEST && left > -LARGEST) {
        return Ok(None);
    }
    let (wins, loses) = (RGBColor(0x2a, 0x8c, 0x5a), RGBColor(0xc9, 0x41, 0x5e));
    let mut areas = Vec::new();
    let mut labels = Vec::new();
    for (bar, row) in bars.iter().zip(0i32..) {
        let top = -f64::from(row);
        let (a, b) = (bar.saves_per_success_at_low, bar.saves_per_success_at_high);
        let (from, to) = (a.min(b), a.max(b));
        // Left of zero another option wins.
        areas.push((from.min(0.0), to.min(0.0), top - 0.85, top - 0.4, loses));
        areas.push((from.max(0.0), to.max(0.0), top - 0.85, top - 0.4, wins));
        labels.push((left, top - 0.05, format!("{}: {} to {}", bar.path, plain(bar.low), plain(bar.high))));
    }
    let rows = i32::try_from(bars.len()).unwrap_or(1);
    let legend = vec![key(wins, "the choice wins"), key(loses, "another option wins")];
    let title = "Lead of the choice, one input at a time";
    let frame = Frame {
        title,
        x_label: "USD saved per successful outcome against the next",
        y_label: None,
        x_format: &|value| signed(*value),
        height: u32::try_from(90 + BAR * rows).unwrap_or(400),
    };
    let svg = paint(&frame, left - room..right + room, -f64::from(rows)..0.0, &areas, &labels)
        .map_err(|what| HtmlError::Chart { title: title.to_owned(), what })?;
    Ok(Some(finished(title, &svg, legend)))
}

struct Frame<'a> {
    title: &'a str,
    x_label: &'a str,
    /// Label of the upright axis; without one the axis is not drawn.
    y_label: Option<&'a str>,
    x_format: &'a dyn Fn(&f64) -> String,
    height: u32,
}

fn paint(
    frame: &Frame<'_>,
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
    areas: &[Area],
    labels: &[(f64, f64, String)],
) -> Result<String, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (760, frame.height)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .margin_right(60)
            .x_label_area_size(52)
            .y_label_area_size(if frame.y_label.is_some() { 70 } else { 4 })
            .build_cartesian_2d(x, y)
            .map_err(|error| error.to_string())?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .x_desc(frame.x_label)
            .x_labels(6)
            .x_label_formatter(&frame.x_format)
            .label_style(("sans-serif", 17))
            .axis_desc_style(("sans-serif", 18));
        match frame.y_label {
            Some(label) => {
                mesh.y_desc(label).y_labels(6).y_label_formatter(&|value: &f64| format!("{value:.0}"))
            }
            None => mesh.disable_y_axis().disable_y_mesh(),
        };
        mesh.draw().map_err(|error| error.to_string())?;
        let drawn = areas.iter().map(|(from, to, low, high, color)| {
            Rectangle::new([(*from, *low), (*to, *high)], color.filled())
        });
        chart.draw_series(drawn).map_err(|error| error.to_string())?;
        let written = labels.iter().map(|(x, y, text)| {
            EmptyElement::at((*x, *y)) + Text::new(text.clone(), (4, 0), ("sans-serif", 17))
        });
        chart.draw_series(written).map_err(|error| error.to_string())?;
        root.present().map_err(|error| error.to_string())?;
    }
    debug_assert!(!frame.title.is_empty(), "every chart has a name");
    Ok(svg)
}
