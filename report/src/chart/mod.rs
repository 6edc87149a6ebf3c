//! Charts as inline SVG: drawn by plotters, coloured for light and dark pages, named for screen readers.
//!
//! | file | holds |
//! |---|---|
//! | `frame` | a drawing: axes, lines, bands, bars, marks |
//! | `curves` | what lies along an axis: load, volume, minutes |
//! | `bars` | what adds up: cost by line, replicas by how they are paid, the tornado |

mod bars;
mod curves;
mod frame;

use breakeven_planner::plan::Plan;
use plotters::style::RGBColor;
use serde::Serialize;

use crate::html::HtmlError;

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
const OPTIONS_DRAWN: usize = SERIES.len();

/// A drawn chart and the key to its lines, which the page sets as text so that it stays legible on a phone.
#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    svg: String,
    legend: Vec<Key>,
    /// The same as text, where no other table of the page has it.
    figures: Option<Figures>,
}

/// One line of a key.
#[derive(Debug, Serialize)]
struct Key {
    color: String,
    name: String,
}

/// Rows of text under their heads.
#[derive(Debug, Serialize)]
struct Figures {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Every chart of the report with its title.
pub(crate) fn all(plan: &Plan) -> Result<Vec<(&'static str, Chart)>, HtmlError> {
    let mut charts = vec![
        ("Cost a month against volume", curves::cost(plan)?),
        ("Throughput against offered load", curves::throughput(plan)?),
        ("Time to first token against offered load", curves::first_token(plan)?),
    ];
    // What a plan does not hold is not drawn.
    let more = [
        ("Time per output token against offered load", curves::per_token(plan)?),
        ("Cost per successful outcome, by line", bars::stacked(plan)?),
        ("Lead of the choice, one input at a time", bars::tornado(plan)?),
        ("Load-duration curve and what is bought for it", bars::load_duration(plan)?),
        ("A replica lost in the busiest hour", curves::replica_loss(plan)?),
    ];
    charts.extend(more.into_iter().filter_map(|(title, chart)| Some((title, chart?))));
    Ok(charts)
}
