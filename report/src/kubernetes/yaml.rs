//! A manifest as a tree whose lines carry comments, written as YAML; the same tree as JSON is what schemas are held against.

use std::fmt::Write as _;

/// A value of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Text; written in quotes where YAML would read something else.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// True or false.
    Truth(bool),
    /// Keys in order, each with the comment at its end.
    Map(Vec<Entry>),
    /// Items in order.
    List(Vec<Node>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    key: String,
    value: Node,
    comment: Option<String>,
}

/// A key and its value.
pub fn entry(key: &str, value: impl Into<Node>) -> Entry {
    Entry { key: key.to_owned(), value: value.into(), comment: None }
}

/// The same with a comment saying where the value comes from.
pub fn noted(key: &str, value: impl Into<Node>, comment: impl Into<String>) -> Entry {
    Entry { comment: Some(comment.into()), ..entry(key, value) }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Node {
    fn from(value: u32) -> Self {
        Self::Whole(i64::from(value))
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Self {
        Self::Truth(value)
    }
}

impl From<Vec<Entry>> for Node {
    fn from(entries: Vec<Entry>) -> Self {
        Self::Map(entries)
    }
}

impl From<Vec<Node>> for Node {
    fn from(items: Vec<Node>) -> Self {
        Self::List(items)
    }
}

impl Node {
    /// As YAML, a document with its comments.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    /// As JSON, comments left out.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Whole(value) => (*value).into(),
            Self::Truth(value) => (*value).into(),
            Self::Map(entries) => entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
        }
    }

    fn write(&self, text: &mut String, indent: usize) {
        match self {
            Self::Map(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    // The first key of a list's item stands on the item's own line.
                    if index > 0 || !text.ends_with("- ") {
                        text.push_str(&" ".repeat(indent));
                    }
                    write_entry(entry, text, indent);
                }
            }
            Self::List(items) => {
                for item in items {
                    text.push_str(&" ".repeat(indent));
                    text.push_str("- ");
                    match item {
                        Self::Map(_) => item.write(text, indent + 2),
                        other => {
                            text.push_str(&other.scalar());
                            text.push('\n');
                        }
                    }
                }
            }
            scalar => {
                text.push_str(&scalar.scalar());
                text.push('\n');
            }
        }
    }

    fn scalar(&self) -> String {
        match self {
            Self::Text(text) if is_plain(text) => text.clone(),
            Self::Text(text) => serde_json::Value::from(text.clone()).to_string(),
            Self::Whole(value) => value.to_string(),
            Self::Truth(value) => value.to_string(),
            Self::Map(_) => "{}".to_owned(),
            Self::List(_) => "[]".to_owned(),
        }
    }
}

fn write_entry(entry: &Entry, text: &mut String, indent: usize) {
    let comment = entry.comment.as_ref().map_or_else(String::new, |c| format!(" # {}", c.replace('\n', " ")));
    let empty = matches!(&entry.value, Node::Map(e) if e.is_empty())
        || matches!(&entry.value, Node::List(i) if i.is_empty());
    match &entry.value {
        Node::Map(_) | Node::List(_) if !empty => {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}:{comment}", entry.key);
            entry.value.write(text, indent + 2);
        }
        value => {
            let _ = writeln!(text, "{}: {}{comment}", entry.key, value.scalar());
        }
    }
}

/// Text that YAML reads as that text without quotes: a word of letters that is no number, truth or null.
fn is_plain(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    first && text.chars().all(word) && !reserved.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_stand_where_yaml_would_read_something_else() {
        for (text, written) in [
            ("apps/v1", "apps/v1"),
            ("8", "\"8\""),
            ("yes", "\"yes\""),
            ("0 8 * * 1-5", "\"0 8 * * 1-5\""),
            ("a: b # c", "\"a: b # c\""),
            ("", "\"\""),
        ] {
            assert_eq!(Node::from(text).scalar(), written);
        }
    }

    #[test]
    fn a_tree_is_indented_with_its_comments() {
        let tree = Node::from(vec![
            entry("kind", "Thing"),
            noted("count", 3_u32, "from the plan"),
            entry("items", vec![Node::from(vec![entry("name", "a"), entry("on", true)]), Node::from("b")]),
            entry("none", Vec::<Entry>::new()),
        ]);
        let expected =
            "kind: Thing\ncount: 3 # from the plan\nitems:\n  - name: a\n    on: true\n  - b\nnone: {}\n";
        assert_eq!(tree.to_yaml(), expected);
    }
}
