//! One JSON object a line: a span with its attributes flat, as OpenTelemetry's SDKs print it, LiteLLM's spend log, or our own columns by
//! name. Values that nobody asked for are skipped where they lie; nothing is copied but what has escapes.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    field::{Field, Names},
    row::{RawRow, Value},
};

/// Where in the object we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The object itself, a span's attributes, or what LiteLLM's users log beside a call.
    Row,
    /// `resource` of a span.
    Resource,
    /// `status` of a span.
    Status,
    /// `metadata` of a spend log.
    Metadata,
    /// The provider's usage record in it.
    Usage,
    /// Why the call failed.
    Error,
}

enum Step {
    Skip,
    Set(Field),
    Enter(Place),
}

fn step(place: Place, key: &str, names: &Names) -> Step {
    let set = |field: Option<Field>| field.map_or(Step::Skip, Step::Set);
    match (place, key) {
        (Place::Row, "attributes" | "context") | (Place::Metadata, "spend_logs_metadata") => {
            Step::Enter(Place::Row)
        }
        (Place::Row, "resource") | (Place::Resource, "attributes") => Step::Enter(Place::Resource),
        (Place::Row, "metadata") => Step::Enter(Place::Metadata),
        (Place::Metadata, "usage_object" | "additional_usage_values")
        | (Place::Usage, "prompt_tokens_details" | "input_tokens_details") => Step::Enter(Place::Usage),
        (Place::Metadata, "error_information") => Step::Enter(Place::Error),
        (Place::Row, key) => set(names.get(key)),
        // What a process calls itself is a label; it is no figure of the call.
        (Place::Resource, key) => set(names.get(key).filter(|field| {
            matches!(field, Field::Stage | Field::Route | Field::Feature | Field::Team | Field::TeamId)
        })),
        (Place::Status, "status_code" | "code") | (Place::Metadata, "status") => Step::Set(Field::Status),
        (Place::Metadata, "user_api_key_team_alias") => set(names.get(key)),
        (Place::Metadata, "attempted_fallbacks") => Step::Set(Field::Fallbacks),
        (Place::Metadata, "original_model_group") => Step::Set(Field::OriginalModel),
        (Place::Usage, "cached_tokens" | "cache_read_input_tokens") => Step::Set(Field::CachedTokens),
        (Place::Error, "error_class") => Step::Set(Field::Error),
        (Place::Error, "error_code") => Step::Set(Field::ErrorCode),
        _ => Step::Skip,
    }
}

/// Reads a line into a row.
pub(crate) fn read<'a>(line: &'a [u8], names: &Names, row: &mut RawRow<'a>) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(line);
    reader.deserialize_map(Object { place: Place::Row, names, row })?;
    reader.end()
}

struct Object<'r, 'n, 'a> {
    place: Place,
    names: &'n Names,
    row: &'r mut RawRow<'a>,
}

impl<'a> DeserializeSeed<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(step) = map.next_key_seed(Key { place: self.place, names: self.names })? {
            match step {
                Step::Skip => drop(map.next_value::<IgnoredAny>()?),
                Step::Set(field) => {
                    let raw = map.next_value::<&'a RawValue>()?;
                    if field == Field::Status && self.place == Place::Row && raw.get().starts_with('{') {
                        let inner = Object { place: Place::Status, names: self.names, row: self.row };
                        serde_json::Deserializer::from_str(raw.get())
                            .deserialize_map(inner)
                            .map_err(serde::de::Error::custom)?;
                    } else if let Some(value) = value(raw) {
                        self.row.set(field, value);
                    }
                }
                Step::Enter(place) => {
                    map.next_value_seed(Object { place, names: self.names, row: self.row })?;
                }
            }
        }
        Ok(())
    }

    /// LiteLLM's metadata is JSON in a text in some exports.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if self.place == Place::Row || !text.trim_start().starts_with('{') {
            return Ok(());
        }
        let mut inner = RawRow::new();
        serde_json::Deserializer::from_str(text)
            .deserialize_map(Object { place: self.place, names: self.names, row: &mut inner })
            .map_err(E::custom)?;
        self.row.take(inner);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

struct Key<'n> {
    place: Place,
    names: &'n Names,
}

impl<'a> DeserializeSeed<'a> for Key<'_> {
    type Value = Step;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Step, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Step;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Step, E> {
        Ok(step(self.place, key, self.names))
    }
}

/// A JSON value as a row's; `None` of null.
pub(crate) fn value(raw: &RawValue) -> Option<Value<'_>> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'n' => None,
        b'{' | b'[' => Some(Value::Structure),
        b'"' => {
            let inner = text.get(1..text.len() - 1)?;
            if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
                return Some(Value::Text(Cow::Borrowed(inner)));
            }
            String::deserialize(raw).ok().map(|text| Value::Text(Cow::Owned(text)))
        }
        _ => Some(Value::Text(Cow::Borrowed(text))),
    }
}
