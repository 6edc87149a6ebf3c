//! JSON Schemas of the three files, generated from the types that read them.

use breakeven_planner::uncertainty::lift::TypedDistribution;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

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
    fn of<T: JsonSchema>() -> Schema {
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
    }
    let mut schema = match file {
        File::Product => of::<breakeven_planner::Product>(),
        File::Measurement => of::<breakeven_measurement::Measurement>(),
        File::Plan => of::<breakeven_planner::Plan>(),
    };
    if file == File::Product {
        or_distributions(&mut schema);
    }
    schema.insert("$id".to_owned(), format!("urn:{}", file.version().replace('/', ":")).into());
    if let (File::Measurement | File::Plan, Some(format)) = (file, schema.pointer_mut("/properties/format")) {
        *format = json!({ "const": file.version() });
    }
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Name of the definition that every number refers to.
const DISTRIBUTION: &str = "Distribution";

/// Any number of the product file may be a distribution instead.
fn or_distributions(schema: &mut Schema) {
    let own = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<TypedDistribution>();
    let mut own = own.to_value();
    // Its own definitions (the names of distributions) move up beside those of the file.
    let inner = own.as_object_mut().and_then(|own| {
        own.remove("$schema");
        own.remove("$defs")
    });
    for part in schema.ensure_object().values_mut() {
        widen(part);
    }
    let object = schema.ensure_object();
    let definitions = object.entry("$defs").or_insert_with(|| Value::Object(Map::new()));
    if let Some(definitions) = definitions.as_object_mut() {
        definitions.insert(DISTRIBUTION.to_owned(), own);
        definitions.extend(inner.into_iter().filter_map(|inner| inner.as_object().cloned()).flatten());
    }
}

/// Puts the alternative beside every schema of a number.
fn widen(schema: &mut Value) {
    let is_number = |of: &Value| {
        let one = |name: &Value| name == "number" || name == "integer";
        one(of) || of.as_array().is_some_and(|names| names.iter().any(one))
    };
    match schema {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(is_number) {
                let number = std::mem::take(fields);
                *schema = json!({ "anyOf": [number, { "$ref": format!("#/$defs/{DISTRIBUTION}") }] });
                return;
            }
            for (key, part) in fields.iter_mut() {
                // What a default or a fixed value holds is no schema.
                if !["default", "enum", "const", "examples"].contains(&key.as_str()) {
                    widen(part);
                }
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(widen),
        _ => {}
    }
}
