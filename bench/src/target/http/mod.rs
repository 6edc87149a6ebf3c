//! An OpenAI-compatible server as a target: chat or plain completions, streamed.
//!
//! | file | holds |
//! |---|---|
//! | `endpoint` | the address, and the key that shows nowhere |
//! | `client` | connections: opened, kept, used again |
//! | `connection` | one HTTP/1.1 connection; stamps bytes as they arrive |
//! | `body` | where a body's bytes are and where it ends |
//! | `sse` | events from bytes |
//! | `event` | what servers put into events |
//! | `answer` | events to token times, counts and an outcome |
//! | `fault` | what went wrong, as a cause and a sentence |
//! | `prompt` | words for prompts where no tokenizer is at hand |

mod answer;
mod body;
mod client;
mod connection;
mod endpoint;
mod event;
mod fault;
pub mod prompt;
mod sse;

#[cfg(test)]
mod fixtures;

use std::{fmt, ops::ControlFlow, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

pub use client::{Client, ClientError};
pub use endpoint::{ApiKey, BadKey, Endpoint, EndpointError};

use crate::{
    requests::Request,
    target::{Attempting, Outcome, Target, Trace, Usage},
};
use answer::Answering;
use client::read_up_to;
use connection::{Connection, Head};
use fault::{Fault, excerpt};
use sse::Parser;

/// How long to wait for usage and `[DONE]` after the last token, and for the end of the body after `[DONE]`: servers exist
/// that send neither and keep the connection open.
const GRACE: Duration = Duration::from_secs(1);
/// Most of an error's body that is read.
const ERROR_BODY: usize = 64 << 10;

/// Which of the two streaming interfaces to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/chat/completions`: the prompt is a user message, after those of the conversation so far.
    Chat,
    /// `/completions`: the prompt is the prompt, after all that was said before.
    Completions,
}

/// Writes tokens of a prompt as text.
pub type Wording = Arc<dyn Fn(&[u32]) -> String + Send + Sync>;

/// What to send besides the prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    /// Interface.
    pub api: Api,
    /// Model name.
    pub model: String,
    /// Laid over the request body; `null` takes a field out.
    pub extra_body: Map<String, Value>,
}

/// Drives an OpenAI-compatible endpoint.
pub struct HttpTarget {
    client: Client,
    /// Request line and headers up to the length. Holds the key.
    head: Vec<u8>,
    /// The body's unchanging fields, without its braces.
    fields: Vec<u8>,
    /// Name of the field that limits the answer; `None` where it was taken out.
    limit_field: Option<&'static str>,
    api: Api,
    wording: Wording,
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTarget")
            .field("client", &self.client)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

impl HttpTarget {
    /// A target; opens no connection yet.
    ///
    /// To servers spoken to without encryption, that is one's own, `ignore_eos` is sent, so that answers have the length that
    /// was asked for. Managed services refuse unknown fields.
    pub fn new(client: Client, sending: Sending, wording: Wording) -> Self {
        let limit_field =
            if client.endpoint.host.ends_with("openai.com") { "max_completion_tokens" } else { "max_tokens" };
        let mut fields = Map::from_iter([
            ("model".to_owned(), Value::from(sending.model)),
            ("stream".to_owned(), true.into()),
            ("stream_options".to_owned(), json!({"include_usage": true})),
            ("temperature".to_owned(), 0.into()),
        ]);
        if !client.endpoint.is_encrypted() {
            fields.insert("ignore_eos".to_owned(), true.into());
        }
        let limited = !sending.extra_body.contains_key(limit_field);
        fields.extend(sending.extra_body);
        fields.retain(|_, value| !value.is_null());
        let text = Value::Object(fields).to_string();
        let below = match sending.api {
            Api::Chat => "/chat/completions",
            Api::Completions => "/completions",
        };
        let mut head = client.request_head("POST", below);
        head.extend_from_slice(
            b"Accept: text/event-stream\r\nContent-Type: application/json\r\nX-Breakeven-Request: ",
        );
        Self {
            head,
            fields: text.get(1..text.len() - 1).unwrap_or_default().as_bytes().to_vec(),
            limit_field: limited.then_some(limit_field),
            api: sending.api,
            wording,
            client,
        }
    }

    fn body(&self, request: &Request) -> Vec<u8> {
        let prompt = (self.wording)(&request.prompt);
        let mut body = Vec::with_capacity(self.fields.len() + prompt.len() + 128);
        body.push(b'{');
        body.extend_from_slice(&self.fields);
        if let Some(field) = self.limit_field {
            body.extend_from_slice(format!(",\"{field}\":{}", request.output_tokens).as_bytes());
        }
        let past = request.past.iter().map(|exchange| {
            let answer = if exchange.answer.text.is_empty() {
                (self.wording)(&exchange.answer.tokens)
            } else {
                exchange.answer.text.clone()
            };
            ((self.wording)(&exchange.prompt), answer)
        });
        let text = |text: &str, body: &mut Vec<u8>| {
            serde_json::to_writer(body, text).expect("text is JSON and memory takes it");
        };
        match self.api {
            Api::Chat => {
                body.extend_from_slice(b",\"messages\":[");
                for (message, answer) in past {
                    body.extend_from_slice(b"{\"role\":\"user\",\"content\":");
                    text(&message, &mut body);
                    body.extend_from_slice(b"},{\"role\":\"assistant\",\"content\":");
                    text(&answer, &mut body);
                    body.extend_from_slice(b"},");
                }
                body.extend_from_slice(b"{\"role\":\"user\",\"content\":");
                text(&prompt, &mut body);
                body.extend_from_slice(b"}]}");
            }
            Api::Completions => {
                let mut all: String = past.flat_map(|(message, answer)| [message, answer]).collect();
                all.push_str(&prompt);
                body.extend_from_slice(b",\"prompt\":");
                text(&all, &mut body);
                body.push(b'}');
            }
        }
        body
    }

    async fn answer(&self, request: &Request, trace: &mut Trace) -> Result<Usage, Fault> {
        let body = self.body(request);
        let (connection, head) = self
            .client
            .exchange(&|out| {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(
                    format!("{}\r\nContent-Length: {}\r\n\r\n", request.id, body.len()).as_bytes(),
                );
                out.extend_from_slice(&body);
            })
            .await?;
        trace.http_status = Some(head.status);
        if head.status != 200 {
            trace.retry_after = retry_after(&head, Timestamp::now());
        }
        let is = |kind: &str| head.content_type.starts_with(kind);
        if head.status != 200 || is("text/html") || is("application/json") {
            return Err(self.refused(connection, &head).await);
        }
        if let Some(coding) = &head.content_encoding {
            return Err(Fault::malformed(format!(
                "the answer is compressed ({coding}) although identity was asked for"
            )));
        }
        self.stream(connection, &head, request, trace).await
    }

    /// An answer that is not a stream: what it says.
    async fn refused(&self, mut connection: Connection, head: &Head) -> Fault {
        let read = timeout(GRACE, read_up_to(&mut connection, head, ERROR_BODY)).await;
        let (body, whole) = match read {
            Ok(Ok(read)) => read,
            // The status is known; a body that breaks or hangs adds nothing.
            Ok(Err(_)) | Err(_) => (Vec::new(), false),
        };
        if whole && head.keeps_alive {
            self.client.give_back(connection);
        }
        if head.status != 200 {
            return Fault::status(head.status, head.location.as_deref(), &body);
        }
        let value = serde_json::from_slice::<Value>(&body).ok();
        if let Some(error) =
            value.as_ref().and_then(|value| value.get("error")).filter(|error| !error.is_null())
        {
            return Fault::reported(error);
        }
        let kind = head.content_type.split(';').next().unwrap_or_default();
        Fault::malformed(format!("expected text/event-stream, found {kind}: {}", excerpt(&body)))
    }

    async fn stream(
        &self,
        mut connection: Connection,
        head: &Head,
        request: &Request,
        trace: &mut Trace,
    ) -> Result<Usage, Fault> {
        let mut framing = head.framing;
        let mut parser = Parser::default();
        let mut answering = Answering::new(request);
        let mut ended = false;
        while !answering.done {
            let reading = connection.body(&mut framing);
            let read = if answering.finished {
                match timeout(GRACE, reading).await {
                    Ok(read) => read,
                    Err(_) => break,
                }
            } else {
                reading.await
            };
            let mut take = |event: sse::Event<'_>, at| match answering.event(event, at, trace) {
                Ok(()) => ControlFlow::Continue(()),
                Err(fault) => ControlFlow::Break(fault),
            };
            let fed = match read {
                Ok(Some((piece, at))) => parser.feed(piece, &mut |event| take(event, at)),
                Ok(None) => {
                    ended = true;
                    let now = tokio::time::Instant::now();
                    parser.finish(&mut |event| take(event, now))
                }
                // All that was asked for has come: how the connection ends matters no more.
                Err(_) if answering.finished => break,
                Err(fault) => return Err(fault),
            };
            match fed {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(fault)) => return Err(fault),
                Err(error) => return Err(Fault::malformed(error.to_string())),
            }
            if ended {
                break;
            }
        }
        if answering.done && !ended {
            // The end of the body is nearly always in the same packet.
            ended = matches!(timeout(GRACE, connection.body(&mut framing)).await, Ok(Ok(None)));
        }
        if ended && head.keeps_alive {
            self.client.give_back(connection);
        }
        answering.conclude(request, trace)
    }
}

impl Target for HttpTarget {
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a> {
        Box::pin(async move {
            match self.answer(request, trace).await {
                Ok(usage) => Outcome::Completed(usage),
                Err(Fault { cause, detail }) => Outcome::Failed { cause, detail: self.client.scrub(detail) },
            }
        })
    }
}

/// The first model that the server lists.
///
/// # Errors
/// A sentence that says what the server answered instead.
pub async fn first_model(client: &Client) -> Result<String, String> {
    let (status, body) = client.get("/models").await.map_err(|fault| client.scrub(fault.detail))?;
    if status != 200 {
        return Err(client.scrub(Fault::status(status, None, &body).detail));
    }
    let list = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let first = list.pointer("/data/0/id").and_then(Value::as_str);
    first.map(str::to_owned).ok_or_else(|| client.scrub(format!("no model in its list: {}", excerpt(&body))))
}

/// `Retry-After` in seconds or as a date (RFC 9110, §10.2.3), or OpenAI's `retry-after-ms`.
fn retry_after(head: &Head, now: Timestamp) -> Option<Duration> {
    /// A server that asks for more than a day asks for never.
    const LONGEST: f64 = 86_400.0;
    let seconds = |text: &str| text.parse::<f64>().ok().filter(|s| (0.0..=LONGEST).contains(s));
    if let Some(milliseconds) = head.retry_after_ms.as_deref().and_then(|text| text.parse::<f64>().ok()) {
        return seconds(&(milliseconds / 1e3).to_string()).map(Duration::from_secs_f64);
    }
    let text = head.retry_after.as_deref()?;
    if let Some(seconds) = seconds(text) {
        return Some(Duration::from_secs_f64(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}
