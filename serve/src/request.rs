//! Bodies of OpenAI's chat and completion requests, turned into requests of the engine. What we cannot do is refused by
//! name; what changes nothing here (`user`, `metadata`…) passes unread.

use breakeven_models::inference::{GenerateRequest, Message, Prompt, Sampling};
use serde::Deserialize;

use crate::error::ApiError;

/// Answer length of a plain completion that names none, as OpenAI's.
const DEFAULT_COMPLETION_TOKENS: usize = 16;
/// OpenAI's own bound.
const MOST_STOPS: usize = 4;

/// What an accepted request asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) model: Option<String>,
    pub(crate) generate: GenerateRequest,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
}

/// Fields that chat and plain completions share.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Common {
    model: Option<String>,
    max_tokens: Option<i64>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<i64>,
    stop: Option<Stops>,
    n: Option<i64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// As vLLM has it: go on past the model's own end, for exact lengths.
    ignore_eos: Option<bool>,
    tools: Option<Vec<serde_json::Value>>,
    logprobs: Option<serde_json::Value>,
    response_format: Option<ResponseFormat>,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    r#type: String,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stops {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct ChatBody {
    messages: Vec<ChatMessage>,
    max_completion_tokens: Option<i64>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct ChatMessage {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct CompletionBody {
    prompt: CompletionPrompt,
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum CompletionPrompt {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u32>>),
}

/// Reads a chat request. `fresh_seed` is used where the request names no seed.
pub(crate) fn chat(body: &[u8], fresh_seed: u64) -> Result<Asked, ApiError> {
    let body: ChatBody = parse(body)?;
    if body.messages.is_empty() {
        return Err(ApiError::invalid("messages", "messages is empty, expected at least one"));
    }
    let messages = body
        .messages
        .into_iter()
        .map(|message| Ok(Message { role: message.role, content: text_of(message.content)? }))
        .collect::<Result<Vec<_>, ApiError>>()?;
    let limit = body.max_completion_tokens.or(body.common.max_tokens);
    // Without a limit an answer may fill the context; the engine bounds it.
    asked(body.common, Prompt::Chat(messages), limit, usize::MAX, fresh_seed)
}

/// Reads a plain completion request.
pub(crate) fn completion(body: &[u8], fresh_seed: u64) -> Result<Asked, ApiError> {
    let body: CompletionBody = parse(body)?;
    let several = || ApiError::invalid("prompt", "prompt holds several prompts, expected one a request");
    let prompt = match body.prompt {
        CompletionPrompt::Text(text) => Prompt::Text(text),
        CompletionPrompt::Tokens(tokens) => Prompt::Tokens(tokens),
        CompletionPrompt::Texts(texts) => {
            let [text] = <[String; 1]>::try_from(texts).map_err(|_| several())?;
            Prompt::Text(text)
        }
        CompletionPrompt::TokenLists(lists) => {
            let [tokens] = <[Vec<u32>; 1]>::try_from(lists).map_err(|_| several())?;
            Prompt::Tokens(tokens)
        }
    };
    let limit = body.common.max_tokens;
    asked(body.common, prompt, limit, DEFAULT_COMPLETION_TOKENS, fresh_seed)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::body(format!("the body is not what is expected: {error}")))
}

fn text_of(content: Option<Content>) -> Result<String, ApiError> {
    match content {
        None => Ok(String::new()),
        Some(Content::Text(text)) => Ok(text),
        Some(Content::Parts(parts)) => parts.into_iter().map(text_of_part).collect(),
    }
}

fn text_of_part(part: Part) -> Result<String, ApiError> {
    match part.text {
        Some(text) if part.r#type == "text" => Ok(text),
        _ => Err(ApiError::invalid(
            "messages",
            format!(
                "a message has a part of type `{}`, expected text: this model reads nothing else",
                part.r#type
            ),
        )),
    }
}

fn asked(
    common: Common,
    prompt: Prompt,
    limit: Option<i64>,
    default_limit: usize,
    fresh_seed: u64,
) -> Result<Asked, ApiError> {
    let max_tokens = match limit {
        None => default_limit,
        Some(limit) => usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or_else(|| {
            ApiError::invalid("max_tokens", format!("max_tokens is {limit}, expected at least 1"))
        })?,
    };
    refuse(&common)?;
    let stop = match common.stop {
        None => Vec::new(),
        Some(Stops::One(text)) => vec![text],
        Some(Stops::Many(texts)) => texts,
    };
    if stop.len() > MOST_STOPS || stop.iter().any(String::is_empty) {
        return Err(ApiError::invalid(
            "stop",
            format!("expected up to {MOST_STOPS} stop texts, none of them empty"),
        ));
    }
    let generate = GenerateRequest {
        sampling: sampling(common.temperature, common.top_p)?,
        stop,
        ignore_eos: common.ignore_eos.unwrap_or(false),
        seed: common.seed.map_or(fresh_seed, i64::cast_unsigned),
        ..GenerateRequest::new(prompt, max_tokens)
    };
    Ok(Asked {
        model: common.model,
        generate,
        stream: common.stream.unwrap_or(false),
        include_usage: common.stream_options.is_some_and(|options| options.include_usage),
    })
}

fn refuse(common: &Common) -> Result<(), ApiError> {
    if let Some(n) = common.n.filter(|n| *n != 1) {
        return Err(ApiError::invalid("n", format!("n is {n}, expected 1: send several requests")));
    }
    if common.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
        return Err(ApiError::invalid("tools", "tools are not supported"));
    }
    let wanted = |value: &serde_json::Value| {
        !matches!(value, serde_json::Value::Null | serde_json::Value::Bool(false))
    };
    if common.logprobs.as_ref().is_some_and(wanted) {
        return Err(ApiError::invalid("logprobs", "logprobs are not supported"));
    }
    match &common.response_format {
        Some(format) if format.r#type != "text" => Err(ApiError::invalid(
            "response_format",
            format!("response_format is `{}`, expected `text`", format.r#type),
        )),
        _ => Ok(()),
    }
}

/// OpenAI's defaults are 1 and 1; a temperature of 0 is greedy.
fn sampling(temperature: Option<f32>, top_p: Option<f32>) -> Result<Sampling, ApiError> {
    let temperature = temperature.unwrap_or(1.0);
    if !(0.0..=2.0).contains(&temperature) {
        return Err(ApiError::invalid(
            "temperature",
            format!("temperature is {temperature}, expected a number from 0 to 2"),
        ));
    }
    if temperature < f32::EPSILON {
        return Ok(Sampling::Greedy);
    }
    let top_p = top_p.unwrap_or(1.0);
    if top_p > 0.0 && top_p <= 1.0 {
        Ok(Sampling::Random { temperature, top_p })
    } else {
        Err(ApiError::invalid("top_p", format!("top_p is {top_p}, expected a number above 0 and up to 1")))
    }
}
