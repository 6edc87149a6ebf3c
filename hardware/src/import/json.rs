//! Reads JSON with the line of every entry, so that a bad value deep in a 3 MB file is pointed at.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::sheet::SheetError;
use crate::sheet::row::{price, shortened};
use crate::sheet::table::{TEXT_LIMIT_BYTES, line_at, text};

use rust_decimal::Decimal;

/// A JSON file being read.
#[derive(Debug)]
pub(super) struct JsonFile<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

/// The entries of a JSON object in file order, values unread.
#[derive(Debug)]
pub(super) struct Object<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

/// The items of a JSON array, unread.
#[derive(Debug)]
pub(super) struct Array<'a>(pub(super) Vec<&'a RawValue>);

impl<'a> JsonFile<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Result<Self, SheetError> {
        Ok(Self { file, text: text(file, bytes, TEXT_LIMIT_BYTES)? })
    }

    /// The whole file as something.
    pub(super) fn root<T: Deserialize<'a>>(&self, expected: &str) -> Result<T, SheetError> {
        serde_json::from_str(self.text).map_err(|error| self.syntax(&error, 0, expected))
    }

    /// A value that was left unread before, as something.
    pub(super) fn read<T: Deserialize<'a>>(
        &self,
        raw: &'a RawValue,
        expected: &str,
    ) -> Result<T, SheetError> {
        serde_json::from_str(raw.get()).map_err(|error| self.syntax(&error, self.line(raw) - 1, expected))
    }

    /// The line where a value begins. Counts from the start of the file: for errors and for rows kept, not for every value.
    pub(super) fn line(&self, raw: &RawValue) -> u64 {
        line_at(self.text.as_bytes(), self.offset(raw))
    }

    /// Where in the file a value begins.
    pub(super) fn offset(&self, raw: &RawValue) -> usize {
        // A borrowed raw value is a slice of the text, so the distance of their addresses is its offset.
        (raw.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    /// A price: a number from 0 to 1e9, exactly as written, or such a number as text; `null` is none.
    pub(super) fn price(&self, key: &str, raw: &RawValue) -> Result<Option<Decimal>, SheetError> {
        let written = raw.get();
        if written == "null" {
            return Ok(None);
        }
        let number = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(written);
        match price(number) {
            Some(price) => Ok(Some(price)),
            None => Err(self.bad(key, raw, "a price: a number from 0 to 1e9")),
        }
    }

    /// A price of one token: as [`Self::price`], up to 1,000, so that a million tokens stay within what a sheet may say.
    pub(super) fn token_price(&self, key: &str, raw: &RawValue) -> Result<Option<Decimal>, SheetError> {
        match self.price(key, raw)? {
            Some(price) if price > Decimal::ONE_THOUSAND => {
                Err(self.bad(key, raw, "a price of one token: a number from 0 to 1000"))
            }
            price => Ok(price),
        }
    }

    pub(super) fn bad(&self, key: &str, raw: &RawValue, expected: &str) -> SheetError {
        SheetError::Value {
            file: self.file.to_owned(),
            line: self.line(raw),
            column: key.to_owned(),
            value: shortened(raw.get()),
            expected: expected.to_owned(),
        }
    }

    fn syntax(&self, error: &serde_json::Error, lines_before: u64, expected: &str) -> SheetError {
        SheetError::Syntax {
            file: self.file.to_owned(),
            line: lines_before + u64::try_from(error.line()).unwrap_or(0).max(1),
            message: error.to_string(),
            expected: expected.to_owned(),
        }
    }
}

impl<'a> Object<'a> {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// The text of a key without the white space around it, as sheets hold it; `None` where it is missing, empty or no text.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let text: String = serde_json::from_str(self.get(key)?.get()).ok()?;
        let trimmed = text.trim();
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }

    /// The first key that is there twice, with the offending second value.
    pub(super) fn repeated(&self) -> Option<(&str, &'a RawValue)> {
        let mut seen = std::collections::HashSet::new();
        self.0
            .iter()
            .find(|(name, _)| !seen.insert(name.as_ref()))
            .map(|(name, value)| (name.as_ref(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object<'de>, M::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    entries.push((key.0, map.next_value()?));
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A key, borrowed from the text where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Array<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Array<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Array<'de>, S::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Array(items))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}
