//! Stream events of OpenAI-compatible servers, as they really are: usage in a chunk without choices, in the last chunk or in
//! every one; reasoning under three names; content as a list; tool calls in pieces; errors in the middle.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::target::ToolCall;

/// One `data:` object.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(crate) choices: Choices<'a>,
    #[serde(default)]
    pub(crate) usage: Option<UsageRecord>,
    #[serde(default)]
    pub(crate) error: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) x_groq: Option<GroqRecord>,
    #[serde(default)]
    pub(crate) timings: Option<Timings>,
}

/// Groq's place for usage and errors.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct GroqRecord {
    #[serde(default)]
    pub(crate) usage: Option<UsageRecord>,
    #[serde(default)]
    pub(crate) error: Option<serde_json::Value>,
}

/// llama.cpp's timings, where it sends no usage.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the server's names")]
pub(crate) struct Timings {
    #[serde(default)]
    pub(crate) cache_n: Option<u64>,
    #[serde(default)]
    pub(crate) prompt_n: Option<u64>,
    #[serde(default)]
    pub(crate) predicted_n: Option<u64>,
}

/// A usage record. Servers leave out what they do not know.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct UsageRecord {
    #[serde(default)]
    pub(crate) prompt_tokens: Option<u64>,
    #[serde(default)]
    pub(crate) completion_tokens: Option<u64>,
    #[serde(default)]
    pub(crate) total_tokens: Option<u64>,
    #[serde(default)]
    pub(crate) prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    pub(crate) completion_tokens_details: Option<CompletionDetails>,
    /// The name that `DeepSeek` gives it.
    #[serde(default)]
    pub(crate) prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct PromptDetails {
    #[serde(default)]
    pub(crate) cached_tokens: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct CompletionDetails {
    #[serde(default)]
    pub(crate) reasoning_tokens: Option<u64>,
}

impl UsageRecord {
    pub(crate) fn cached(&self) -> Option<u64> {
        self.prompt_tokens_details.and_then(|details| details.cached_tokens).or(self.prompt_cache_hit_tokens)
    }

    /// Output tokens, reasoning included. xAI leaves reasoning out of `completion_tokens` and in the total: where the total
    /// says so exactly, it is added.
    pub(crate) fn output(&self) -> Option<u64> {
        let completion = self.completion_tokens?;
        let reasoning =
            self.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0);
        let apart = self
            .prompt_tokens
            .zip(self.total_tokens)
            .is_some_and(|(prompt, total)| reasoning > 0 && total == prompt + completion + reasoning);
        Some(if apart { completion + reasoning } else { completion })
    }
}

/// All choices of a chunk, folded: nothing is allocated for the usual one.
#[derive(Debug, Default)]
pub(crate) struct Choices<'a> {
    /// Text of the first choice.
    pub(crate) first: Option<Delta<'a>>,
    /// Whether any choice carries what a user sees.
    pub(crate) visible: bool,
    /// Whether any carries reasoning.
    pub(crate) reasoning: bool,
    /// Why generation ended, where it has.
    pub(crate) finish_reason: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    /// Plain completions.
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Word<'a>>,
}

/// What a choice adds.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Delta<'a> {
    #[serde(borrow, default)]
    pub(crate) content: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) reasoning_content: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) reasoning: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) refusal: Text<'a>,
    #[serde(default)]
    pub(crate) tool_calls: Option<Vec<ToolDelta>>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ToolDelta {
    #[serde(default)]
    pub(crate) index: Option<usize>,
    #[serde(default)]
    pub(crate) function: Option<FunctionDelta>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct FunctionDelta {
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) arguments: Option<String>,
}

impl ToolDelta {
    fn is_empty(&self) -> bool {
        self.function.as_ref().is_none_or(|function| {
            let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
            empty(&function.name) && empty(&function.arguments)
        })
    }

    /// Adds this piece to the calls so far.
    pub(crate) fn add_to(&self, calls: &mut Vec<ToolCall>) {
        /// More calls than any model makes; a larger index is nonsense and lands in the last one.
        const MOST: usize = 128;
        let index = self.index.unwrap_or(calls.len().saturating_sub(1)).min(MOST);
        if calls.len() <= index {
            calls.resize_with(index + 1, ToolCall::default);
        }
        if let (Some(call), Some(function)) = (calls.get_mut(index), &self.function) {
            call.name.push_str(function.name.as_deref().unwrap_or_default());
            call.arguments.push_str(function.arguments.as_deref().unwrap_or_default());
        }
    }
}

impl Delta<'_> {
    fn is_visible(&self) -> bool {
        !self.content.visible.is_empty()
            || !self.refusal.visible.is_empty()
            || self.tool_calls.iter().flatten().any(|call| !call.is_empty())
    }

    fn is_reasoning(&self) -> bool {
        !self.reasoning_content.visible.is_empty()
            || !self.reasoning.visible.is_empty()
            || !self.content.thinking.is_empty()
    }
}

/// A text, or a list of typed parts (Mistral), or nothing.
#[derive(Debug, Default)]
pub(crate) struct Text<'a> {
    pub(crate) visible: Cow<'a, str>,
    pub(crate) thinking: String,
}

/// A string that is borrowed where it can be.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Folding<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Folding<'a> {
            type Value = Choices<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Choices::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut folded = Choices::default();
                while let Some(choice) = list.next_element::<Choice<'a>>()? {
                    let mut delta = choice.delta.unwrap_or_default();
                    if delta.content.visible.is_empty() && !choice.text.visible.is_empty() {
                        delta.content = choice.text;
                    }
                    folded.visible |= delta.is_visible();
                    folded.reasoning |= delta.is_reasoning();
                    folded.finish_reason = folded
                        .finish_reason
                        .or(choice.finish_reason.map(|Word(word)| word).filter(|w| !w.is_empty()));
                    if choice.index.unwrap_or(0) == 0 {
                        folded.first.get_or_insert(delta);
                    }
                }
                Ok(folded)
            }
        }
        deserializer.deserialize_any(Folding(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading(PhantomData))
    }
}

/// Takes any JSON as text: servers disagree, and a field that is not text carries none.
struct Reading<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for Reading<'a> {
    type Value = Text<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a list of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text { visible: Cow::Borrowed(text), thinking: String::new() })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text { visible: Cow::Owned(text.to_owned()), thinking: String::new() })
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut all = Text::default();
        while let Some(part) = parts.next_element::<Text<'a>>()? {
            all.visible.to_mut().push_str(&part.visible);
            all.thinking.push_str(&part.thinking);
        }
        Ok(all)
    }

    /// A part: `{"type":"text","text":…}` or `{"type":"thinking","thinking":[…]}`.
    fn visit_map<A: MapAccess<'de>>(self, mut part: A) -> Result<Self::Value, A::Error> {
        let mut all = Text::default();
        while let Some(key) = part.next_key::<Word<'a>>()? {
            match key.0.as_ref() {
                "text" => all.visible.to_mut().push_str(&part.next_value::<Text<'a>>()?.visible),
                "thinking" | "reasoning" => {
                    let inner = part.next_value::<Text<'a>>()?;
                    all.thinking.push_str(&inner.visible);
                    all.thinking.push_str(&inner.thinking);
                }
                _ => {
                    part.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(all)
    }
}
