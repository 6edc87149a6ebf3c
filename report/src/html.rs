//! The plan as one self-contained page: works offline, light and dark, on paper and on a phone.

use breakeven_planner::Plan;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};

use crate::chart;
use crate::trees;
use crate::view::{LEVEL_HEADS, View};

/// Why no page could be made; no plan should cause it.
#[derive(Debug, thiserror::Error)]
pub enum HtmlError {
    /// The template did not render.
    #[error("report template: {0}")]
    Template(#[from] minijinja::Error),
    /// The plan could not be searched for the trees under its numbers.
    #[error("plan: {0}")]
    Plan(#[from] serde_json::Error),
    /// A chart could not be drawn.
    #[error("chart `{title}`: {what}")]
    Chart {
        /// Its title.
        title: String,
        /// What the plotting library says.
        what: String,
    },
}

/// The templates; the `.html` ending turns escaping on.
pub(crate) fn environment() -> Result<Environment<'static>, HtmlError> {
    let mut environment = Environment::new();
    environment.add_template("report.html", include_str!("report.html"))?;
    environment.add_template("main.html", include_str!("main.html"))?;
    Ok(environment)
}

/// The stylesheet of every page.
pub(crate) const CSS: &str = include_str!("report.css");

/// Renders the whole page. Everything that came from files is escaped.
///
/// # Errors
/// Where a chart cannot be drawn; no plan should cause it.
pub fn render(plan: &Plan) -> Result<String, HtmlError> {
    whole(plan, "report.html")
}

/// The report without the page around it.
///
/// # Errors
/// As [`render`].
pub(crate) fn fragment(plan: &Plan) -> Result<String, HtmlError> {
    whole(plan, "main.html")
}

/// The same without the trees under its numbers, which are the half of it.
///
/// # Errors
/// As [`render`].
pub(crate) fn draft(plan: &Plan) -> Result<String, HtmlError> {
    let mut environment = environment()?;
    trees::none(&mut environment);
    Ok(environment.get_template("main.html")?.render(values(plan)?)?)
}

fn whole(plan: &Plan, template: &str) -> Result<String, HtmlError> {
    let mut environment = environment()?;
    trees::add(&mut environment, plan)?;
    Ok(environment.get_template(template)?.render(values(plan)?)?)
}

/// What the templates read.
fn values(plan: &Plan) -> Result<Value, HtmlError> {
    let charts: Vec<_> = chart::all(plan)?
        .into_iter()
        .map(|(title, chart)| context! { title, chart => Value::from(Serde(&chart)) })
        .collect();
    Ok(context! {
        view => Value::from(Serde(View::of(plan))),
        charts,
        css => CSS,
        level_heads => LEVEL_HEADS.to_vec(),
    })
}
