//! `breakeven run`: measure, plan, report.

use anyhow::Result;

use crate::{
    bench,
    cli::RunArguments,
    console::{self, Answer},
    plan, report,
};

pub(crate) fn run(arguments: &RunArguments) -> Result<Answer> {
    let out = &arguments.out;
    // Everything that can be wrong with the input is found before two minutes are spent.
    let product = plan::read_product(&arguments.product)?;
    let prices = plan::read_prices(&arguments.planning.sheets)?;
    let machines = plan::read_machines(&product, &arguments.product)?;
    let measurement =
        bench::measure(&product, &arguments.product, &arguments.measuring, &out.join("measurement.json"))?;
    if bench::interrupted(&measurement) {
        return Ok(Answer::Interrupted);
    }
    let plan =
        plan::make(&product, &measurement, &machines, &prices, &arguments.planning, &out.join("plan.json"))?;
    report::write_html(&plan, &out.join("report.html"))?;
    console::print(&report::terminal(&plan))?;
    console::note(&format!(
        "Written to {}: measurement.json, attempts.jsonl, plan.json, report.html",
        out.display()
    ));
    Ok(plan::answer(&plan))
}
