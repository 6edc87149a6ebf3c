//! The plan as one self-contained page: works offline, light and dark, on paper and on a phone.

use breakeven_planner::Plan;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};

use crate::chart;
use crate::view::{LEVEL_HEADS, View, line_labels};

/// Why no page could be made; no plan should cause it.
#[derive(Debug, thiserror::Error)]
pub enum HtmlError {
    /// The template did not render.
    #[error("report template: {0}")]
    Template(#[from] minijinja::Error),
    /// A chart could not be drawn.
    #[error("chart `{title}`: {what}")]
    Chart {
        /// Its title.
        title: String,
        /// What the plotting library says.
        what: String,
    },
}

/// Renders the whole page. Everything that came from files is escaped.
pub fn render(plan: &Plan) -> Result<String, HtmlError> {
    let mut environment = Environment::new();
    // The `.html` ending turns escaping on.
    environment.add_template("report.html", include_str!("report.html"))?;
    let charts = [
        ("Throughput against offered load", chart::throughput(plan)?),
        ("Time to first token against offered load", chart::latency(plan)?),
        ("Cost a month against volume", chart::cost(plan)?),
    ];
    let charts: Vec<_> = charts
        .into_iter()
        .map(|(title, chart)| context! { title, chart => Value::from(Serde(&chart)) })
        .collect();
    let page = environment.get_template("report.html")?.render(context! {
        view => Value::from(Serde(View::of(plan))),
        charts,
        level_heads => LEVEL_HEADS.to_vec(),
        line_labels => line_labels(),
    })?;
    Ok(page)
}
