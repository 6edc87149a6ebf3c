//! Prints this machine and its measured roofline as JSON: `cargo run --release -p breakeven-hardware --example roofline`.

use std::io::Write;

use breakeven_hardware::detect;
use breakeven_hardware::roofline::{RooflineSettings, measure};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machine = detect();
    let roofline = measure(&RooflineSettings::quick(machine.cpu.last_level_cache))?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &(machine, roofline))?;
    Ok(writeln!(out)?)
}
