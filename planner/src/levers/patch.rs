//! The product file with some of its levers on.

use std::cmp::Reverse;

use toml::{Table, Value};

use super::path::{Place, Step, at, places, put, take};
use crate::product::lever::LeverTable;

/// Tables that a lever may change. The capacity is that of the measured model under the measured SLO: another model or SLO has to be
/// measured, and what is decided or drawn is the same for all levers.
const TABLES: [&str; 7] = ["segment", "traffic", "success", "fleet", "api", "cost", "stack"];
const STAGE: &str = "stage";

/// What is wrong with a lever, and the text within its lines that names the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) at: String,
    pub(crate) message: String,
}

fn wrong(at: &str, message: impl Into<String>) -> Wrong {
    Wrong { at: at.to_owned(), message: message.into() }
}

/// Whether the `index`-th lever is among those of a mask.
pub(crate) fn is_on(on: u64, index: usize) -> bool {
    index < 64 && on >> index & 1 == 1
}

/// The file with the levers of `on` switched on: everything set, then multiplied, then added, then taken away.
///
/// # Errors
/// The first lever that does not fit the file.
pub(crate) fn patched(file: Table, levers: &[LeverTable], on: u64) -> Result<Table, Wrong> {
    let levers: Vec<&LeverTable> =
        levers.iter().enumerate().filter(|(index, _)| is_on(on, *index)).map(|(_, lever)| lever).collect();
    let mut root = Value::Table(file);
    for lever in &levers {
        for (path, value) in &lever.set {
            for place in places_of(&root, path)? {
                put(&mut root, &place, value.clone());
            }
        }
    }
    for lever in &levers {
        for (path, factor) in &lever.times {
            let quoted = quoted(path);
            for place in places_of(&root, path)? {
                let whole = is_segment_tokens(&place);
                let nothing = || wrong(&quoted, "expected a number, or a table of numbers, to multiply");
                let value = at(&mut root, &place).ok_or_else(nothing)?;
                if !multiply(value, factor.get(), whole) {
                    return Err(nothing());
                }
            }
        }
    }
    for lever in &levers {
        add(&mut root, &lever.add, lever.first)?;
    }
    let mut gone = Vec::new();
    for path in levers.iter().flat_map(|lever| &lever.without) {
        for place in places_of(&root, path)? {
            if at(&mut root, &place).is_none() {
                return Err(wrong(&quoted(path), "expected something to take away, found nothing there"));
            }
            gone.push(place);
        }
    }
    // The last of a list first, so that the others keep their numbers.
    gone.sort_by_key(|place| Reverse(place.clone()));
    gone.dedup();
    for place in gone {
        take(&mut root, &place);
    }
    match root {
        Value::Table(table) => Ok(table),
        _ => Err(wrong("name", "expected a lever that leaves the product file a table")),
    }
}

/// The path as the file has it, in quotes.
fn quoted(path: &str) -> String {
    format!("\"{path}\"")
}

fn places_of(root: &Value, path: &str) -> Result<Vec<Place>, Wrong> {
    let found = places(root, path).map_err(|message| wrong(&quoted(path), message))?;
    match found.first().and_then(|place| place.first()) {
        Some(Step::Key(table)) if table == STAGE || TABLES.contains(&table.as_str()) => Ok(found),
        Some(Step::Key(table)) => Err(wrong(&quoted(path), not_a_table(table))),
        _ => Err(wrong(&quoted(path), "expected a path that something is at, found an empty list")),
    }
}

fn not_a_table(found: &str) -> String {
    format!("expected a path that begins with {} or {STAGE}, found `{found}`", TABLES.join(", "))
}

/// Lengths of segments are whole numbers of tokens.
fn is_segment_tokens(place: &Place) -> bool {
    let is = |step: &Step, names: &[&str]| matches!(step, Step::Key(key) if names.contains(&key.as_str()));
    place.first().is_some_and(|step| is(step, &["segment"]))
        && place.iter().any(|step| is(step, &["input_tokens", "output_tokens"]))
}

/// Multiplies a number, or every number within; whether there was one.
fn multiply(value: &mut Value, factor: f64, whole: bool) -> bool {
    let number = match value {
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Table(table) => {
            let within =
                table.iter_mut().filter_map(|(_, value)| multiply(value, factor, whole).then_some(()));
            return within.count() > 0;
        }
        Value::Array(items) => {
            let within = items.iter_mut().filter_map(|value| multiply(value, factor, whole).then_some(()));
            return within.count() > 0;
        }
        _ => return false,
    };
    let product = number * factor;
    let rounded = product.round();
    let is_whole = (product - rounded).abs() < 1e-9 && rounded.abs() < 9e15;
    *value = if whole || (is_whole && matches!(value, Value::Integer(_))) {
        #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        let rounded = rounded as i64;
        Value::Integer(rounded)
    } else {
        Value::Float(product)
    };
    true
}

/// Adds lists of tables to those of the file.
fn add(root: &mut Value, more: &Table, first: bool) -> Result<(), Wrong> {
    if let Some(name) = more.keys().find(|name| *name != STAGE && !TABLES.contains(&name.as_str())) {
        return Err(wrong("add", not_a_table(name)));
    }
    let Value::Table(root) = root else { return Ok(()) };
    for (name, value) in more {
        add_at(root, name, value, first && name == STAGE)?;
    }
    Ok(())
}

fn add_at(into: &mut Table, name: &str, value: &Value, first: bool) -> Result<(), Wrong> {
    let missing = || match value {
        Value::Array(_) => Value::Array(Vec::new()),
        _ => Value::Table(Table::new()),
    };
    match (into.entry(name.to_owned()).or_insert_with(missing), value) {
        (Value::Array(items), Value::Array(more)) => {
            let place = if first { 0 } else { items.len() };
            items.splice(place..place, more.iter().cloned());
            Ok(())
        }
        (Value::Table(inner), Value::Table(more)) => {
            more.iter().try_for_each(|(name, value)| add_at(inner, name, value, false))
        }
        _ => Err(wrong("add", format!("expected a list of tables to add to, found `{name}`, which is none"))),
    }
}

/// The first path that both levers set, one the other or a part of it: then they are alternatives.
pub(crate) fn both_set(file: &Table, a: &LeverTable, b: &LeverTable) -> Option<String> {
    let root = Value::Table(file.clone());
    let of = |lever: &LeverTable| -> Vec<(String, Place)> {
        let paths = lever.set.keys().filter_map(|path| Some((path, places(&root, path).ok()?)));
        paths.flat_map(|(path, found)| found.into_iter().map(move |place| (path.clone(), place))).collect()
    };
    let theirs = of(b);
    of(a).into_iter().find_map(|(path, place)| {
        theirs.iter().any(|(_, other)| place.starts_with(other) || other.starts_with(&place)).then_some(path)
    })
}

/// What can be said against a lever by itself.
pub(crate) fn check(lever: &LeverTable) -> Result<(), Wrong> {
    if lever.name.trim().is_empty() {
        return Err(wrong("name", "expected a name, found none"));
    }
    if lever.set.is_empty() && lever.times.is_empty() && lever.add.is_empty() && lever.without.is_empty() {
        return Err(wrong(
            "name",
            "expected a lever that changes something: set, times, add or without; found none",
        ));
    }
    for (path, value) in &lever.set {
        // Dots outside of quotes make tables of what was meant as one path.
        if !path.contains(['.', '[']) && value.is_table() {
            return Err(wrong(
                path,
                format!(
                    "expected a path in quotes, such as \"{path}.key\" = value, found the table `{path}`; bare dots make tables"
                ),
            ));
        }
    }
    if let Some(path) = lever.times.keys().find(|path| lever.set.contains_key(*path)) {
        return Err(wrong(&quoted(path), "expected a path that is set or multiplied, found both"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_multiplied_in_their_kind() {
        let mut value: Value =
            Value::Table(toml::from_str("a = 30\nb = 0.5\nc = \"5 s\"\nd = [10, 20]").unwrap());
        assert!(multiply(&mut value, 0.95, false));
        assert_eq!(value["a"].as_float(), Some(28.5));
        assert_eq!(value["c"].as_str(), Some("5 s"));
        assert_eq!(value["d"][1].as_integer(), Some(19));
        let mut tokens = Value::Integer(121);
        assert!(multiply(&mut tokens, 0.8, true));
        assert_eq!(tokens.as_integer(), Some(97));
        assert!(!multiply(&mut Value::String("x".to_owned()), 2.0, false));
    }
}
