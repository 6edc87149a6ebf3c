//! `breakeven report`: a plan for its readers.

use std::path::Path;

use anyhow::Result;
use breakeven_measurement::file;
use breakeven_planner::Plan;
use breakeven_report as render;

use crate::{
    cli::{Format, ReportArguments},
    console::{self, Answer},
    plan,
};

pub(crate) fn report(arguments: &ReportArguments) -> Result<Answer> {
    let plan = plan::read(&arguments.plan)?;
    if let Some(path) = &arguments.html {
        write_html(&plan, path)?;
    }
    if let Some(path) = &arguments.xlsx {
        file::write_atomically(path, &render::xlsx::render(&plan)?)?;
    }
    if let Some(path) = &arguments.focus {
        file::write_atomically(path, render::focus::render(&plan, arguments.focus_months).as_bytes())?;
    }
    console::print(&match arguments.format {
        Format::Terminal => terminal(&plan),
        Format::Markdown => render::markdown::render(&plan),
    })?;
    Ok(plan::answer(&plan))
}

/// The plan for this terminal.
pub(crate) fn terminal(plan: &Plan) -> String {
    render::terminal::render(plan, console::width(), console::color())
}

/// The plan as one self-contained page.
pub(crate) fn write_html(plan: &Plan, path: &Path) -> Result<()> {
    Ok(file::write_atomically(path, render::html::render(plan)?.as_bytes())?)
}
