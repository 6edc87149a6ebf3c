//! OTLP/JSON: `resourceSpans` a line, many spans in it. What the collector's file exporter writes.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    field::{Field, Names},
    json,
    row::{RawRow, Value},
};

#[derive(Deserialize)]
pub(crate) struct Export<'a> {
    #[serde(borrow, rename = "resourceSpans", alias = "resource_spans")]
    resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Deserialize)]
struct ResourceSpans<'a> {
    #[serde(borrow, default)]
    resource: Resource<'a>,
    #[serde(
        borrow,
        default,
        rename = "scopeSpans",
        alias = "scope_spans",
        alias = "instrumentationLibrarySpans"
    )]
    scope_spans: Vec<ScopeSpans<'a>>,
}

#[derive(Deserialize, Default)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    spans: Vec<Span<'a>>,
}

#[derive(Deserialize)]
struct Span<'a> {
    #[serde(borrow, default, rename = "traceId", alias = "trace_id")]
    trace: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "parentSpanId", alias = "parent_span_id")]
    parent: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "startTimeUnixNano", alias = "start_time_unix_nano")]
    start: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "endTimeUnixNano", alias = "end_time_unix_nano")]
    end: Option<&'a RawValue>,
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
    #[serde(borrow, default)]
    status: Status<'a>,
}

#[derive(Deserialize, Default)]
struct Status<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: AnyValue<'a>,
}

/// One of the kinds that an attribute may have; lists and maps are none of ours.
#[derive(Deserialize, Default)]
struct AnyValue<'a> {
    #[serde(
        borrow,
        default,
        rename = "stringValue",
        alias = "intValue",
        alias = "doubleValue",
        alias = "boolValue",
        alias = "string_value",
        alias = "int_value",
        alias = "double_value",
        alias = "bool_value"
    )]
    value: Option<&'a RawValue>,
}

impl<'a> Export<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Every span as a row.
    pub(crate) fn rows(&self, names: &Names, mut each: impl FnMut(&RawRow<'_>)) {
        for group in &self.resource_spans {
            for span in group.scope_spans.iter().flat_map(|scope| &scope.spans) {
                let mut row = RawRow::new();
                let raw = |raw: Option<&'a RawValue>| raw.and_then(json::value);
                let own = [
                    (Field::Trace, text(span.trace.as_ref())),
                    (Field::Parent, text(span.parent.as_ref())),
                    (Field::Name, text(span.name.as_ref())),
                    (Field::Time, raw(span.start)),
                    (Field::End, raw(span.end)),
                    (Field::Status, raw(span.status.code)),
                ];
                for (field, value) in own {
                    if let Some(value) = value {
                        row.set(field, value);
                    }
                }
                set_all(&mut row, &span.attributes, names, |_| true);
                // What a process calls itself is a label; it is no figure of the call.
                set_all(&mut row, &group.resource.attributes, names, |field| {
                    matches!(
                        field,
                        Field::Stage | Field::Route | Field::Feature | Field::Team | Field::TeamId
                    )
                });
                each(&row);
            }
        }
    }
}

fn text<'s>(text: Option<&'s Cow<'_, str>>) -> Option<Value<'s>> {
    Some(Value::Text(Cow::Borrowed(text?.as_ref())))
}

fn set_all<'a>(
    row: &mut RawRow<'a>,
    attributes: &[Attribute<'a>],
    names: &Names,
    wanted: impl Fn(Field) -> bool,
) {
    for attribute in attributes {
        let field = names.get(&attribute.key).filter(|field| wanted(*field));
        if let Some((field, value)) = field.zip(attribute.value.value.and_then(json::value)) {
            row.set(field, value);
        }
    }
}

/// Whether a line is such an export, told from its first key.
pub(crate) fn is_export(line: &[u8]) -> bool {
    let head = line.get(..line.len().min(64)).unwrap_or_default();
    let mut keys = head.split(|byte| *byte == b'"');
    keys.next().is_some_and(|before| before.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b'{'))
        && keys.next().is_some_and(|key| key == b"resourceSpans" || key == b"resource_spans")
}
