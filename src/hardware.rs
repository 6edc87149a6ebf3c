//! `breakeven hardware`: what this machine is.

use anyhow::Result;
use breakeven_hardware::{Machine, detect};

use crate::console::{self, Answer};

pub(crate) fn hardware() -> Result<Answer> {
    let json = serde_json::to_string_pretty(&detect())?;
    console::print(&json)?;
    Ok(Answer::Yes)
}

/// The machine in one line.
pub(crate) fn line(machine: &Machine) -> String {
    let cpu = &machine.cpu;
    let gpus = if machine.gpus.is_empty() {
        "no GPU".to_owned()
    } else {
        let names: Vec<String> = machine.gpus.iter().map(|g| format!("{} {}", g.name, g.memory)).collect();
        names.join(", ")
    };
    format!("{}, {} cores, {}, {gpus}, {}", cpu.model, cpu.logical_cores, machine.memory, machine.os)
}
