//! `breakeven merge`: what several generators measured of one load, as one measurement.

use anyhow::Result;
use breakeven_measurement::{
    file,
    merge::{Part, merge as merge_parts},
    run::Status,
};

use crate::{
    cli::MergeArguments,
    console::{self, Answer},
};

pub(crate) fn merge(arguments: &MergeArguments) -> Result<Answer> {
    let names: Vec<String> = arguments.measurements.iter().map(|path| path.display().to_string()).collect();
    let read = arguments.measurements.iter().map(|path| file::read(path)).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<Part<'_>> =
        names.iter().zip(&read).map(|(name, measurement)| Part { name, measurement }).collect();
    let merged = merge_parts(&parts)?;
    file::write(&merged, &arguments.out)?;
    for level in &merged.levels {
        let load = &level.overall;
        console::note(&format!(
            "{:<9} {:<12} {} of {} within the SLO  [{}]",
            level.name,
            level.target_rate.to_string(),
            load.within_slo,
            load.scheduled,
            level.validity.verdict
        ));
    }
    if let Status::Incomplete { reason } = &merged.status {
        console::note(&format!("Incomplete: {reason}"));
    }
    console::note(&format!("{} runs merged into {}", merged.merged_from.len(), arguments.out.display()));
    Ok(Answer::Yes)
}
