//! Charts of areas: cost per successful outcome stacked by line, and the load-duration curve with what is bought for it.

use breakeven_planner::plan::{LineItem, OptionPlan, Plan, fleet_plan::PurchaseKind};
use plotters::style::RGBColor;

use super::{
    Chart, Figures, OPTIONS_DRAWN,
    frame::{Area, Frame, LARGEST, draw, key},
};
use crate::{
    format::{ABSENT, money, percent},
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

/// Cost per successful outcome of each option, stacked by line; `None` where none can be had.
pub(super) fn stacked(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
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
                areas.push(Area { from, to, bottom: top - 0.85, top: top - 0.4, color });
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
    let mut frame = Frame::new("Cost per successful outcome, by line", "USD per successful outcome", None);
    frame.x_format = &|value| breakeven_hardware::Usd::from_f64(*value).map(money).unwrap_or_default();
    (frame.height, frame.areas, frame.labels) = (height, &areas, &labels);
    let mut chart = draw(&frame, Some(legend), 0.0..widest * 1.02, -f64::from(rows)..0.0)?;
    let used: Vec<_> = LineItem::ALL.into_iter().filter(|line| used.contains(line)).collect();
    let row = |(option, price): &(&OptionPlan, f64)| {
        let each = used.iter().map(|wanted| {
            let line = option.lines.iter().find(|line| line.line == *wanted)?;
            let usd = line.usd_per_month.to_f64() / option.usd_per_month.to_f64() * price;
            breakeven_hardware::Usd::from_f64(usd).map(money)
        });
        let each = each.map(|usd| usd.unwrap_or_else(|| ABSENT.to_owned()));
        std::iter::once(option.name.clone()).chain(each).collect()
    };
    let heads = std::iter::once("option").chain(used.iter().map(|line| line.label()));
    chart.figures =
        Some(Figures { heads: heads.map(str::to_owned).collect(), rows: had.iter().map(row).collect() });
    Ok(Some(chart))
}

/// Replicas by the share of hours that need them, coloured by how they are paid; `None` without a fleet plan.
pub(super) fn load_duration(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
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
            let bottom = f64::from(point.replica) - 1.0;
            let to = point.hours_share.get();
            Area { from: 0.0, to, bottom, top: bottom + height, color: color_of(point.bought) }
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
    let mut frame = Frame::new(title, "share of the hours that need it", Some("replica"));
    frame.x_format = &|value| percent(Some(*value));
    frame.y_format = &|value| format!("{value:.0}");
    frame.areas = &areas;
    let most = fleet.load_duration.iter().map(|point| f64::from(point.replica)).fold(1.0, f64::max);
    let mut chart = draw(&frame, Some(legend), 0.0..1.0, 0.0..most + height)?;
    let rows = points.iter().map(|point| {
        let bought = point.bought.map_or("no price known", PurchaseKind::label);
        vec![point.replica.to_string(), percent(Some(point.hours_share.get())), bought.to_owned()]
    });
    let heads = ["replica", "share of the hours that need it", "bought"].map(str::to_owned).to_vec();
    chart.figures = Some(Figures { heads, rows: rows.collect() });
    Ok(Some(chart))
}

/// How far each uncertain input moves the choice's lead, one at a time, widest first; `None` where none does.
pub(super) fn tornado(plan: &Plan) -> Result<Option<Chart>, HtmlError> {
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
        for (from, to, color) in [(from.min(0.0), to.min(0.0), loses), (from.max(0.0), to.max(0.0), wins)] {
            areas.push(Area { from, to, bottom: top - 0.85, top: top - 0.4, color });
        }
        labels.push((left, top - 0.05, format!("{}: {} to {}", bar.path, plain(bar.low), plain(bar.high))));
    }
    let rows = i32::try_from(bars.len()).unwrap_or(1);
    let legend = vec![key(wins, "the choice wins"), key(loses, "another option wins")];
    let title = "Lead of the choice, one input at a time";
    let mut frame = Frame::new(title, "USD saved per successful outcome against the next", None);
    frame.x_format = &|value| signed(*value);
    frame.height = u32::try_from(90 + BAR * rows).unwrap_or(400);
    (frame.areas, frame.labels) = (&areas, &labels);
    // The page's table of the same name has the figures.
    draw(&frame, Some(legend), left - room..right + room, -f64::from(rows)..0.0).map(Some)
}
