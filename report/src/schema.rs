//! JSON Schemas of the three files, generated from the types that read them.

use schemars::{JsonSchema, generate::SchemaSettings};

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// `product.toml`, as the JSON value that its TOML stands for.
    Product,
    /// `measurement.json`.
    Measurement,
    /// `plan.json`.
    Plan,
}

impl File {
    /// Every file.
    pub const ALL: [Self; 3] = [Self::Product, Self::Measurement, Self::Plan];

    /// Name of the schema, and the stem of its file under `docs/schema/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Measurement => "measurement",
            Self::Plan => "plan",
        }
    }

    /// The format and version that the schema describes.
    pub fn version(self) -> &'static str {
        match self {
            Self::Product => "breakeven.product/1",
            Self::Measurement => breakeven_measurement::run::FORMAT,
            Self::Plan => breakeven_planner::plan::FORMAT,
        }
    }
}

/// The schema of a file (draft 2020-12), pretty-printed with a last newline.
///
/// # Errors
/// Where the schema cannot be encoded; no type of ours causes it.
pub fn render(file: File) -> Result<String, serde_json::Error> {
    fn of<T: JsonSchema>() -> schemars::Schema {
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
    }
    let mut schema = match file {
        File::Product => of::<breakeven_planner::Product>(),
        File::Measurement => of::<breakeven_measurement::Measurement>(),
        File::Plan => of::<breakeven_planner::Plan>(),
    };
    schema.insert("$id".to_owned(), format!("urn:{}", file.version().replace('/', ":")).into());
    if let (File::Measurement | File::Plan, Some(format)) = (file, schema.pointer_mut("/properties/format")) {
        *format = serde_json::json!({ "const": file.version() });
    }
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}
