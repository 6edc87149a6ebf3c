//! `breakeven schema`: the JSON Schema of a file.

use anyhow::Result;
use breakeven_report::schema::{File, render};
use clap::{Args, ValueEnum};

use crate::console::{self, Answer};

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// Which file
    file: Kind,
}

/// A file with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// product.toml, as the JSON value that its TOML stands for
    Product,
    /// measurement.json
    Measurement,
    /// plan.json
    Plan,
}

pub(crate) fn schema(arguments: &SchemaArguments) -> Result<Answer> {
    console::print(&render(match arguments.file {
        Kind::Product => File::Product,
        Kind::Measurement => File::Measurement,
        Kind::Plan => File::Plan,
    })?)?;
    Ok(Answer::Yes)
}
