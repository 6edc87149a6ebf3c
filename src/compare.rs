//! `breakeven compare`: what changed between two measurements, and whether a gate should let it pass.

use anyhow::{Context as _, Result};
use breakeven_measurement::{
    compare::{CompareOptions, compare as compare_measurements},
    file,
};
use breakeven_report::comparison;

use crate::{
    cli::{CompareArguments, CompareFormat},
    console::{self, Answer},
};

pub(crate) fn compare(arguments: &CompareArguments) -> Result<Answer> {
    let (a, b) = (file::read(&arguments.a)?, file::read(&arguments.b)?);
    let options = CompareOptions { threshold: arguments.threshold, allow_invalid: arguments.allow_invalid };
    let found = compare_measurements(&a, &b, &options).with_context(|| {
        format!("cannot compare `{}` (A) with `{}` (B)", arguments.a.display(), arguments.b.display())
    })?;
    match arguments.format {
        CompareFormat::Terminal => console::print(&comparison::terminal(&found, console::width()))?,
        CompareFormat::Markdown => console::print(&comparison::markdown(&found))?,
        CompareFormat::Json => console::print(&serde_json::to_string_pretty(&found)?)?,
    }
    Ok(if found.fails() { Answer::No } else { Answer::Yes })
}
