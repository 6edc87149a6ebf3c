//! The numbers of a product file as fields: which there are, how far a slider goes, and the file with others in their place.

use serde::Serialize;
use toml_edit::{DocumentMut, Item, Value};

use super::session::SessionError;

/// One number of the product file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Field {
    /// Where it is: `traffic.requests_per_month`, `api.0.tokens_ratio`.
    pub(crate) path: String,
    /// What a reader is shown.
    pub(crate) label: String,
    /// Its value in the file.
    pub(crate) value: f64,
    /// The slider's low end.
    pub(crate) low: f64,
    /// The slider's high end.
    pub(crate) high: f64,
    /// Whether the slider moves by factors.
    pub(crate) logarithmic: bool,
    /// Whether it is one of those shown first.
    pub(crate) first: bool,
}

/// Tables whose numbers say nothing about a plan that is already measured, or that no plan has: levers are off in it.
const LEFT_OUT: [&str; 2] = ["bench", "lever"];
/// Tables whose numbers come first.
const FIRST: [&str; 3] = ["traffic", "success", "fleet"];

/// Every number of a product file, in its order.
pub(crate) fn fields(document: &DocumentMut) -> Vec<Field> {
    let mut found = Vec::new();
    for (key, item) in document.iter().filter(|(key, _)| !LEFT_OUT.contains(key)) {
        walk(item, key, &mut found);
    }
    found.sort_by_key(|field| !field.first);
    found
}

fn walk(item: &Item, path: &str, found: &mut Vec<Field>) {
    match item {
        Item::Value(value) => of_value(value, path, found),
        Item::Table(table) => {
            for (key, item) in table {
                walk(item, &format!("{path}.{key}"), found);
            }
        }
        Item::ArrayOfTables(tables) => {
            for (table, index) in tables.iter().zip(0..) {
                for (key, item) in table {
                    walk(item, &format!("{path}.{index}.{key}"), found);
                }
            }
        }
        Item::None => {}
    }
}

fn of_value(value: &Value, path: &str, found: &mut Vec<Field>) {
    match value {
        Value::InlineTable(table) => {
            for (key, value) in table {
                of_value(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Integer(_) | Value::Float(_) => {
            let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
            if let Some(number) = number.filter(|number| number.is_finite()) {
                found.push(field(path, number));
            }
        }
        _ => {}
    }
}

fn field(path: &str, value: f64) -> Field {
    let name = path.rsplit('.').next().unwrap_or(path);
    let is_share =
        ["probability", "share", "attainment"].iter().any(|word| name.contains(word)) && value <= 1.0;
    let (low, high, logarithmic) = if is_share {
        (0.0, 1.0, false)
    } else if name == "requests_per_month" && value > 0.0 {
        (value / 1_000.0, value * 1_000.0, true)
    } else if value > 0.0 && value.fract() == 0.0 && value < 10.0 {
        (0.0, 20.0, false)
    } else if value > 0.0 {
        (value / 30.0, value * 30.0, true)
    } else {
        (0.0, 10.0, false)
    };
    let first = FIRST.iter().any(|table| path.starts_with(&format!("{table}.")));
    Field { path: path.to_owned(), label: path.replace('_', " "), value, low, high, logarithmic, first }
}

/// Puts a number in its place; comments and order stay.
///
/// # Errors
/// Where the file has no such number.
pub(crate) fn set(document: &mut DocumentMut, path: &str, value: f64) -> Result<(), SessionError> {
    let unknown = || SessionError::UnknownAssumption { path: path.to_owned() };
    let mut parts = path.split('.');
    let first = parts.next().ok_or_else(unknown)?;
    let mut item = document.get_mut(first).ok_or_else(unknown)?;
    for part in parts {
        item = match part.parse::<usize>() {
            Ok(index) if item.is_array_of_tables() => item.get_mut(index),
            _ => item.get_mut(part),
        }
        .ok_or_else(unknown)?;
    }
    let place = item.as_value_mut().ok_or_else(unknown)?;
    let was_whole = place.is_integer();
    if !was_whole && !place.is_float() || !value.is_finite() {
        return Err(unknown());
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    let mut new = if was_whole && value.fract() == 0.0 && value.abs() < 9e15 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    };
    *new.decor_mut() = place.decor().clone();
    *place = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "name = \"x\" # a bot\n[traffic]\nrequests_per_month = 1_000_000 # many\n[[api]]\ntokens_ratio = 1.5\n[[api]]\nlimits = { requests_per_minute = 5 }\n[bench]\nseed = 3\n";

    #[test]
    fn numbers_are_found_and_changed_and_the_rest_stays() {
        let mut document: DocumentMut = FILE.parse().unwrap();
        let paths: Vec<String> = fields(&document).into_iter().map(|field| field.path).collect();
        assert_eq!(
            paths,
            ["traffic.requests_per_month", "api.0.tokens_ratio", "api.1.limits.requests_per_minute"]
        );
        set(&mut document, "traffic.requests_per_month", 2_000_000.0).unwrap();
        set(&mut document, "api.1.limits.requests_per_minute", 7.5).unwrap();
        let text = document.to_string();
        assert!(text.contains("requests_per_month = 2000000 # many"), "{text}");
        assert!(text.contains("requests_per_minute = 7.5") && text.contains("# a bot"), "{text}");
        for path in ["name", "traffic", "traffic.nothing", "api.9.tokens_ratio", "", "bench.seed.x", "api"] {
            assert!(set(&mut document, path, 1.0).is_err(), "{path}");
        }
        assert!(set(&mut document, "api.0.tokens_ratio", f64::NAN).is_err());
    }
}
