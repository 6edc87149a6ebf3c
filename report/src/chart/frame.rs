//! One drawing: axes, areas, bands, lines and marks, by plotters. The one module that knows the library.

use plotters::{
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};

use super::{Chart, Key, SERIES};
use crate::html::HtmlError;

/// Nothing measured or billed is larger; what is, would only break the axes.
pub(super) const LARGEST: f64 = 1e18;
const WIDTH: u32 = 760;
/// A generous width of a letter of a label, pixels.
const LETTER: i32 = 10;

/// What a chart shows, the scales of its axes apart.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    pub(super) x_label: &'a str,
    /// Label of the upright axis; without one the axis is not drawn.
    pub(super) y_label: Option<&'a str>,
    pub(super) x_format: &'a dyn Fn(&f64) -> String,
    pub(super) y_format: &'a dyn Fn(&f64) -> String,
    pub(super) height: u32,
    pub(super) series: &'a [Series],
    /// Vertical lines: where, and what to write beside them.
    pub(super) marks: &'a [(f64, String)],
    /// Level lines likewise.
    pub(super) limits: &'a [(f64, String)],
    pub(super) areas: &'a [Area],
    /// Text: where, and what.
    pub(super) labels: &'a [(f64, f64, String)],
}

impl<'a> Frame<'a> {
    /// An empty one.
    pub(super) fn new(title: &'a str, x_label: &'a str, y_label: Option<&'a str>) -> Self {
        Self {
            title,
            x_label,
            y_label,
            x_format: &|value| crate::format::rate(*value),
            y_format: &|value| crate::format::rate(*value),
            height: 380,
            series: &[],
            marks: &[],
            limits: &[],
            areas: &[],
            labels: &[],
        }
    }
}

/// One line of a chart.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// The interval around it: where, low end, high end; drawn in its colour. None where nothing is known.
    pub(super) band: Vec<(f64, f64, f64)>,
}

impl Series {
    /// A line in the order of its points; those that no axis can hold are left out.
    pub(super) fn new(name: &str, points: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut points: Vec<_> = points.filter(|(x, y)| x.abs() <= LARGEST && y.abs() <= LARGEST).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { name: name.to_owned(), points, band: Vec::new() }
    }

    /// Its name in the key, with what the shade around it is, where there is one to see.
    fn legend(&self) -> String {
        let shaded = self.band.iter().any(|(_, low, high)| high > low);
        let shade = if shaded { " (shaded: 5 % to 95 % of the draws)" } else { "" };
        format!("{}{shade}", self.name)
    }

    /// Everything it puts on the upright axis.
    pub(super) fn heights(&self) -> impl Iterator<Item = f64> + '_ {
        let band = self.band.iter().flat_map(|(_, low, high)| [*low, *high]);
        self.points.iter().map(|point| point.1).chain(band)
    }
}

/// A filled part of a bar.
pub(super) struct Area {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) bottom: f64,
    pub(super) top: f64,
    pub(super) color: RGBColor,
}

/// Draws it with its key: the series' names, or what `legend` says.
pub(super) fn draw<X, Y>(frame: &Frame<'_>, legend: Option<Vec<Key>>, x: X, y: Y) -> Result<Chart, HtmlError>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    paint(&mut svg, frame, x, y).map_err(|what| HtmlError::Chart { title: frame.title.to_owned(), what })?;
    let legend = legend.unwrap_or_else(|| {
        frame.series.iter().zip(SERIES).map(|(one, color)| key(color, &one.legend())).collect()
    });
    let names: Vec<&str> = legend.iter().map(|one| one.name.as_str()).collect();
    let label = escaped(&format!("{}: {}", frame.title, names.join(", ")));
    // Black becomes the page's own ink, so that axes and labels follow the theme.
    let svg = svg.replace("\"#000000\"", "\"currentColor\"").replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{label}\" "),
        1,
    );
    Ok(Chart { svg, legend, figures: figures(frame) })
}

/// A line of a key.
pub(super) fn key(RGBColor(red, green, blue): RGBColor, name: &str) -> Key {
    Key { color: format!("#{red:02x}{green:02x}{blue:02x}"), name: name.to_owned() }
}

/// What the lines show, as rows of text, for who cannot see them: a row each place, a column each line.
fn figures(frame: &Frame<'_>) -> Option<super::Figures> {
    let mut places: Vec<f64> = frame.series.iter().flat_map(|one| one.points.iter().map(|p| p.0)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup_by(|a, b| a.total_cmp(b).is_eq());
    let mut heads = vec![frame.x_label.to_owned()];
    for one in frame.series {
        heads.push(one.name.clone());
        if !one.band.is_empty() {
            heads.push("5 % to 95 % of the draws".to_owned());
        }
    }
    let rows: Vec<Vec<String>> = places
        .into_iter()
        .map(|place| {
            let here = |x: f64| x.total_cmp(&place).is_eq();
            let absent = || crate::format::ABSENT.to_owned();
            let mut row = vec![(frame.x_format)(&place)];
            for one in frame.series {
                let point = one.points.iter().find(|point| here(point.0));
                row.push(point.map_or_else(absent, |point| (frame.y_format)(&point.1)));
                if !one.band.is_empty() {
                    let band = one.band.iter().find(|band| here(band.0));
                    row.push(band.map_or_else(absent, |(_, low, high)| {
                        format!("{} to {}", (frame.y_format)(low), (frame.y_format)(high))
                    }));
                }
            }
            row
        })
        .collect();
    (!rows.is_empty()).then_some(super::Figures { heads, rows })
}

/// Draws into `svg`; errors are plotters' own, in words.
fn paint<X, Y>(svg: &mut String, frame: &Frame<'_>, x: X, y: Y) -> Result<(), String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let root = SVGBackend::with_string(svg, (WIDTH, frame.height)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(10)
        .margin_right(60)
        // The first label of the lower axis is written around its end.
        .margin_left(if frame.y_label.is_some() { 10 } else { 44 })
        .x_label_area_size(52)
        .y_label_area_size(if frame.y_label.is_some() { 118 } else { 4 })
        .build_cartesian_2d(x, y)
        .map_err(|error| error.to_string())?;
    let (across, up) = (chart.x_range(), chart.y_range());
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .x_desc(frame.x_label)
        .x_labels(6)
        .x_label_formatter(&frame.x_format)
        .label_style(("sans-serif", 17))
        .axis_desc_style(("sans-serif", 18));
    match frame.y_label {
        Some(label) => mesh.y_desc(label).y_labels(6).y_label_formatter(&frame.y_format),
        None => mesh.disable_y_axis().disable_y_mesh(),
    };
    mesh.draw().map_err(|error| error.to_string())?;
    let areas = frame
        .areas
        .iter()
        .map(|area| Rectangle::new([(area.from, area.bottom), (area.to, area.top)], area.color.filled()));
    chart.draw_series(areas).map_err(|error| error.to_string())?;
    for (one, color) in frame.series.iter().zip(SERIES) {
        let above = one.band.iter().map(|(x, _, high)| (*x, *high));
        let below = one.band.iter().rev().map(|(x, low, _)| (*x, *low));
        let outline: Vec<_> = above.chain(below).collect();
        if !outline.is_empty() {
            let band = Polygon::new(outline, color.mix(0.22));
            chart.draw_series(std::iter::once(band)).map_err(|error| error.to_string())?;
        }
    }
    // Where the last label of each row ends, in pixels: a label goes into the first row that has room.
    let mut rows: Vec<i32> = Vec::new();
    let mut marks: Vec<_> = frame.marks.iter().collect();
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, text) in marks {
        let line = [(*at, up.start), (*at, up.end)];
        chart.draw_series(LineSeries::new(line, BLACK.mix(0.45))).map_err(|error| error.to_string())?;
        let (begin, _) = chart.backend_coord(&(*at, up.end));
        let end = begin + 5 + LETTER * i32::try_from(text.chars().count()).unwrap_or(0);
        let row = rows.iter().position(|last| *last < begin).unwrap_or(rows.len());
        if let Some(last) = rows.get_mut(row) {
            *last = end;
        } else {
            rows.push(end);
        }
        let drop = 4 + 18 * i32::try_from(row).unwrap_or(0);
        let label = EmptyElement::at((*at, up.end)) + Text::new(text.clone(), (5, drop), ("sans-serif", 17));
        chart.draw_series(std::iter::once(label)).map_err(|error| error.to_string())?;
    }
    for (at, text) in frame.limits {
        let line = [(across.start, *at), (across.end, *at)];
        let dashed = DashedLineSeries::new(line, 8, 5, BLACK.mix(0.8).stroke_width(2));
        chart.draw_series(dashed).map_err(|error| error.to_string())?;
        // On the side of the line that has fewer points.
        let points = || frame.series.iter().flat_map(|one| one.points.iter());
        let beneath = points().filter(|point| point.1 > *at).count() * 2 > points().count();
        let drop = if beneath { 4 } else { -19 };
        let label =
            EmptyElement::at((across.start, *at)) + Text::new(text.clone(), (6, drop), ("sans-serif", 17));
        chart.draw_series(std::iter::once(label)).map_err(|error| error.to_string())?;
    }
    for (one, color) in frame.series.iter().zip(SERIES) {
        chart
            .draw_series(LineSeries::new(one.points.iter().copied(), color.stroke_width(2)))
            .map_err(|error| error.to_string())?;
        let dots = one.points.iter().map(|point| Circle::new(*point, 3, color.filled()));
        chart.draw_series(dots).map_err(|error| error.to_string())?;
    }
    let written = frame
        .labels
        .iter()
        .map(|(x, y, text)| EmptyElement::at((*x, *y)) + Text::new(text.clone(), (4, 0), ("sans-serif", 17)));
    chart.draw_series(written).map_err(|error| error.to_string())?;
    root.present().map_err(|error| error.to_string())?;
    drop(chart);
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
