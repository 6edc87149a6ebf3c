//! A cell of a table: its text, and where in the plan its number stands, so that a page can show the tree under it.

use serde::Serialize;

/// A cell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Figure {
    /// What is printed.
    pub(crate) text: String,
    /// The number's place as `breakeven explain` takes it; absent for words.
    pub(crate) at: Option<String>,
}

impl Figure {
    /// A number that stands at a place in the plan; one that is absent has no place.
    pub(crate) fn at(text: impl Into<String>, place: impl Into<String>) -> Self {
        let text = text.into();
        let at = (text != crate::format::ABSENT).then(|| place.into());
        Self { text, at }
    }
}

impl AsRef<str> for Figure {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl From<String> for Figure {
    fn from(text: String) -> Self {
        Self { text, at: None }
    }
}

impl From<&str> for Figure {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}
