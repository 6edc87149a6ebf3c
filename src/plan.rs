//! `breakeven plan`: a product file and a measurement to a plan.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use breakeven_hardware::PriceBook;
use breakeven_measurement::{Measurement, file};
use breakeven_planner::{
    MeasuredMachine, Plan, PlanOptions, Product, plan_on, product::machine::MachineTable,
};

use crate::{
    cli::{PlanArguments, Planning},
    console::{self, Answer},
    report,
};

pub(crate) fn plan(arguments: &PlanArguments) -> Result<Answer> {
    let product = read_product(&arguments.product)?;
    let prices = read_prices(&arguments.planning.sheets)?;
    let measurement = file::read(&arguments.measurement)?;
    refuse_shard(&measurement, &arguments.measurement)?;
    let machines = read_machines(&product, &arguments.product)?;
    let plan = make(&product, &measurement, &machines, &prices, &arguments.planning, &arguments.out)?;
    console::print(&report::terminal(&plan))?;
    console::note(&format!("Written to {}", arguments.out.display()));
    Ok(answer(&plan))
}

/// One part of a load alone carries no plan.
pub(crate) fn refuse_shard(measurement: &Measurement, path: &Path) -> Result<()> {
    if let Some(shard) = measurement.shard {
        bail!(
            "`{}` is shard {shard} of a load; `breakeven merge` adds the shards up to the measurement to plan from",
            path.display()
        );
    }
    Ok(())
}

/// Reads a product file; one message with file, line, value and expectation where it is wrong.
pub(crate) fn read_product(path: &Path) -> Result<Product> {
    let text = fs::read_to_string(path).with_context(|| {
        format!("cannot read product file `{}`; `breakeven init` writes one to start from", path.display())
    })?;
    Ok(Product::parse(&text, &path.display().to_string())?)
}

/// The measurements of the product file's `[[machine]]`s, by name.
pub(crate) fn read_machines(product: &Product, path: &Path) -> Result<Vec<(String, Measurement)>> {
    let beside = path.parent().unwrap_or(Path::new("."));
    let read = |machine: &MachineTable| {
        let name = machine.name.as_str();
        let path = beside.join(&machine.measurement);
        let measurement = file::read(&path)
            .with_context(|| format!("[[machine]] `{name}`: expected a measurement made on it"))?;
        refuse_shard(&measurement, &path)?;
        Ok((name.to_owned(), measurement))
    };
    product.machines.iter().map(read).collect()
}

/// The built-in prices with the user's own sheets laid over them.
pub(crate) fn read_prices(sheets: &[PathBuf]) -> Result<PriceBook> {
    let mut book = PriceBook::built_in()?;
    for sheet in sheets {
        let bytes =
            fs::read(sheet).with_context(|| format!("cannot read price sheet `{}`", sheet.display()))?;
        book.overlay(PriceBook::parse(&sheet.display().to_string(), &bytes)?);
    }
    Ok(book)
}

/// The day by this machine's clock.
pub(crate) fn today() -> jiff::civil::Date {
    jiff::ZonedDateTime::now().date()
}

/// Plans and writes the plan.
pub(crate) fn make(
    product: &Product,
    measurement: &Measurement,
    machines: &[(String, Measurement)],
    prices: &PriceBook,
    arguments: &Planning,
    out: &Path,
) -> Result<Plan> {
    let options = PlanOptions {
        as_of: arguments.as_of.unwrap_or_else(today),
        allow_invalid: arguments.allow_invalid,
        version: env!("CARGO_PKG_VERSION"),
    };
    let machines: Vec<MeasuredMachine<'_>> =
        machines.iter().map(|(name, measurement)| MeasuredMachine { name, measurement }).collect();
    let plan = plan_on(product, measurement, &machines, prices, &options)?;
    let json = serde_json::to_vec_pretty(&plan).context("cannot encode the plan")?;
    file::write_atomically(out, &json)?;
    Ok(plan)
}

/// Reads a plan written by this version.
pub(crate) fn read(path: &Path) -> Result<Plan> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read plan `{}`", path.display()))?;
    let plan: Plan = serde_json::from_str(&text).with_context(|| {
        format!("`{}` is not a plan of this version; `breakeven plan` writes one", path.display())
    })?;
    if plan.format != breakeven_planner::plan::FORMAT {
        bail!(
            "`{}` has format `{}`, this version reads `{}`; plan again",
            path.display(),
            plan.format,
            breakeven_planner::plan::FORMAT
        );
    }
    Ok(plan)
}

/// Whether there is anything to choose.
pub(crate) fn answer(plan: &Plan) -> Answer {
    if plan.decision.choice.is_some() { Answer::Yes } else { Answer::No }
}
