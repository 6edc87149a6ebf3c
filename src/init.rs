//! `breakeven init`: a commented product file to start from.

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    cli::{InitArguments, Pattern},
    console::{self, Answer},
};

pub(crate) fn init(arguments: &InitArguments) -> Result<Answer> {
    let (name, text) = match arguments.pattern {
        Pattern::SupportBot => ("support-bot.toml", include_str!("../examples/support-bot.toml")),
        Pattern::SupportBotWorkflow => {
            ("support-bot-workflow.toml", include_str!("../examples/support-bot-workflow.toml"))
        }
        Pattern::SalesCopilot => ("sales-copilot.toml", include_str!("../examples/sales-copilot.toml")),
        Pattern::ItOperations => ("it-operations.toml", include_str!("../examples/it-operations.toml")),
    };
    let path = arguments.out.clone().unwrap_or_else(|| PathBuf::from(name));
    // Never over somebody's work.
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&path).with_context(|| {
            format!("cannot create `{}`; choose another place with --out", path.display())
        })?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write `{}`", path.display()))?;
    console::note(&format!("Written to {0}; next: breakeven run {0}", path.display()));
    Ok(Answer::Yes)
}
