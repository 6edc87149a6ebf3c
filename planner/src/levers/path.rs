//! Places in a product file by their paths: `stage[answer].branches[success].probability`, `segment[*].input_tokens.median`.

use toml::Value;

use crate::explain::split;

/// Keys that name a member of a list.
const NAMES: [&str; 6] = ["id", "name", "to", "line", "kind", "model"];
/// Names that an error lists.
const LISTED: usize = 12;

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The value of a key.
    Key(String),
    /// A member of a list.
    At(usize),
}

/// A place as steps from the root.
pub(super) type Place = Vec<Step>;

/// The places of a path. Keys that a table has not may be new, in which case nothing is at the place yet.
///
/// # Errors
/// The part that is not there, with what is.
pub(super) fn places(root: &Value, path: &str) -> Result<Vec<Place>, String> {
    let parts = split(path);
    if parts.is_empty() {
        return Err("expected a path of the product file, found none".to_owned());
    }
    let mut found: Vec<(Place, Option<&Value>)> = vec![(Vec::new(), Some(root))];
    for part in &parts {
        let mut next = Vec::new();
        for (place, at) in found {
            for (step, value) in below(at, part)? {
                let mut place = place.clone();
                place.push(step);
                next.push((place, value));
            }
        }
        found = next;
    }
    Ok(found.into_iter().map(|(place, _)| place).collect())
}

fn below<'a>(at: Option<&'a Value>, part: &str) -> Result<Vec<(Step, Option<&'a Value>)>, String> {
    match at {
        None => Ok(vec![(Step::Key(part.to_owned()), None)]),
        Some(Value::Table(table)) => Ok(vec![(Step::Key(part.to_owned()), table.get(part))]),
        Some(Value::Array(items)) => members(items, part),
        Some(other) => Err(format!("expected a table or a list above `{part}`, found {other}")),
    }
}

fn members<'a>(items: &'a [Value], part: &str) -> Result<Vec<(Step, Option<&'a Value>)>, String> {
    let numbered = || items.iter().enumerate();
    let one = |(index, item)| (Step::At(index), Some(item));
    if part == "*" {
        return Ok(numbered().map(one).collect());
    }
    let named: Vec<_> = numbered().filter(|(_, item)| names(item).iter().any(|name| name == part)).collect();
    match named.as_slice() {
        [found] => Ok(vec![one(*found)]),
        [] => {
            if let Some(found) = part.parse::<usize>().ok().and_then(|index| Some((index, items.get(index)?)))
            {
                return Ok(vec![one(found)]);
            }
            let known: Vec<String> =
                items.iter().filter_map(|item| names(item).into_iter().next()).take(LISTED).collect();
            let last = items.len().saturating_sub(1);
            Err(format!(
                "expected a member of the list ({}), its number (0 to {last}) or *, found `{part}`",
                known.join(", ")
            ))
        }
        several => {
            let numbers: Vec<String> = several.iter().map(|(index, _)| index.to_string()).collect();
            Err(format!("expected one member, found `{part}` at {}; use the number", numbers.join(", ")))
        }
    }
}

/// What a member may be called.
fn names(item: &Value) -> Vec<String> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let mut all: Vec<String> = NAMES.iter().filter_map(|key| text(key)).map(str::to_owned).collect();
    if let (Some(provider), Some(model)) = (text("provider"), text("model")) {
        all.insert(0, format!("{provider}/{model}"));
    }
    all
}

/// What is at a place.
pub(super) fn at<'a>(root: &'a mut Value, place: &[Step]) -> Option<&'a mut Value> {
    place.iter().try_fold(root, |at, step| match (step, at) {
        (Step::Key(key), Value::Table(table)) => table.get_mut(key),
        (Step::At(index), Value::Array(items)) => items.get_mut(*index),
        _ => None,
    })
}

/// Puts a value at a place, and the tables above it where they are missing.
pub(super) fn put(root: &mut Value, place: &[Step], value: Value) {
    let Some((last, above)) = place.split_last() else { return };
    let mut at = root;
    for step in above {
        let next = match (step, at) {
            (Step::Key(key), Value::Table(table)) => {
                table.entry(key.clone()).or_insert_with(|| Value::Table(toml::Table::new()))
            }
            (Step::At(index), Value::Array(items)) => match items.get_mut(*index) {
                Some(next) => next,
                None => return,
            },
            _ => return,
        };
        at = next;
    }
    match (last, at) {
        (Step::Key(key), Value::Table(table)) => drop(table.insert(key.clone(), value)),
        (Step::At(index), Value::Array(items)) => {
            if let Some(item) = items.get_mut(*index) {
                *item = value;
            }
        }
        _ => {}
    }
}

/// Takes away what is at a place.
pub(super) fn take(root: &mut Value, place: &[Step]) {
    let Some((last, above)) = place.split_last() else { return };
    match (last, at(root, above)) {
        (Step::Key(key), Some(Value::Table(table))) => drop(table.remove(key)),
        (Step::At(index), Some(Value::Array(items))) if *index < items.len() => drop(items.remove(*index)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Value {
        let text = "[traffic]\nx = 1\n[[stage]]\nid = \"a\"\nbranches = [{ to = \"b\" }, { to = \"success\" }]\n[[stage]]\nid = \"b\"\n\
                    [[api]]\nprovider = \"openai\"\nmodel = \"gpt-4.1\"\n[[cost]]\nline = \"support\"\n[[cost]]\nline = \"support\"\n";
        Value::Table(toml::from_str(text).unwrap())
    }

    #[test]
    fn members_go_by_name_number_or_all() {
        let key = |key: &str| Step::Key(key.to_owned());
        let found = |path: &str| places(&file(), path);
        let branch = vec![key("stage"), Step::At(0), key("branches"), Step::At(1), key("probability")];
        assert_eq!(found("stage[a].branches[success].probability"), Ok(vec![branch.clone()]));
        assert_eq!(found("stage.0.branches.1.probability"), Ok(vec![branch]));
        assert_eq!(found("stage[*].note").unwrap().len(), 2);
        assert_eq!(found("api[openai/gpt-4.1].x").unwrap().len(), 1);
        assert!(found("stage[c].note").unwrap_err().contains("(a, b)"));
        assert!(found("cost[support].note").unwrap_err().contains("at 0, 1"));
        assert!(found("traffic.x.y").unwrap_err().contains("above `y`"));
    }

    #[test]
    fn values_are_put_and_taken() {
        let mut root = file();
        put(&mut root, &places(&file(), "stage[b].retries.most").unwrap()[0], Value::Integer(2));
        let most = places(&root, "stage[b].retries.most").unwrap();
        assert_eq!(at(&mut root, &most[0]), Some(&mut Value::Integer(2)));
        take(&mut root, &places(&file(), "stage[a]").unwrap()[0]);
        assert_eq!(root["stage"].as_array().map(Vec::len), Some(1));
    }
}
