//! What went wrong with one exchange: always a recorded outcome with a cause, never an error of the run.

use std::io;

use breakeven_measurement::FailureCause;

/// Most of a server's own words that a record keeps.
const LONGEST_EXCERPT: usize = 200;

/// A failed exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) cause: FailureCause,
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn new(cause: FailureCause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }

    /// Could not connect, or the connection broke.
    pub(crate) fn connection(what: &str, error: &io::Error) -> Self {
        Self::new(FailureCause::Connection, format!("{what}: {error}"))
    }

    /// The server broke HTTP, SSE or JSON.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(FailureCause::MalformedStream, detail)
    }

    /// An answer whose status is not 200.
    pub(crate) fn status(status: u16, location: Option<&str>, body: &[u8]) -> Self {
        let cause = match status {
            429 => FailureCause::RateLimited,
            // 408: the server's own timeout for us; 529: overloaded, in Anthropic's word.
            408 | 500..=599 => FailureCause::ServerError,
            _ => FailureCause::Rejected,
        };
        let detail = match (status, location) {
            (300..=399, Some(location)) => {
                let location = location.split('?').next().unwrap_or_default();
                format!("HTTP {status}: redirected to {location}; give that address as the target")
            }
            _ => format!("HTTP {status}: {}", said(body)),
        };
        Self::new(cause, detail)
    }

    /// An error object inside a stream or a JSON body.
    pub(crate) fn reported(error: &serde_json::Value) -> Self {
        let code = ["code", "status_code", "status", "http_code"].iter().find_map(|key| {
            let value = error.get(key)?;
            value.as_u64().or_else(|| value.as_str()?.parse().ok())
        });
        let kind = error.get("type").and_then(serde_json::Value::as_str).unwrap_or_default();
        let cause = match code {
            Some(429) => FailureCause::RateLimited,
            Some(400..=499) => FailureCause::Rejected,
            None if kind.contains("rate_limit") => FailureCause::RateLimited,
            None if kind.contains("invalid_request") => FailureCause::Rejected,
            Some(_) | None => FailureCause::ServerError,
        };
        Self::new(cause, format!("the server reported: {}", said_in(error)))
    }
}

/// The message in an error body, or the start of the body.
fn said(body: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => said_in(value.get("error").unwrap_or(&value)),
        Err(_) => excerpt(body),
    }
}

fn said_in(error: &serde_json::Value) -> String {
    let message = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
    match message.as_str() {
        Some(text) => excerpt(text.as_bytes()),
        None => excerpt(message.to_string().as_bytes()),
    }
}

/// The start of some bytes as one line of text.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let start = bytes.get(..LONGEST_EXCERPT * 2).unwrap_or(bytes);
    let text = String::from_utf8_lossy(start);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    if line.is_empty() {
        return "an empty body".to_owned();
    }
    let cut: String = line.chars().take(LONGEST_EXCERPT).collect();
    if cut.len() < line.len() || start.len() < bytes.len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_cause_and_keeps_the_servers_words() {
        let of = |status, body: &str| Fault::status(status, None, body.as_bytes());
        assert_eq!(of(429, "{}").cause, FailureCause::RateLimited);
        assert_eq!(of(503, "").detail, "HTTP 503: an empty body");
        assert_eq!(of(401, r#"{"error":{"message":"no such key"}}"#).detail, "HTTP 401: no such key");
        assert_eq!(of(502, "<html>\n <h1>Bad\tGateway</h1>").detail, "HTTP 502: <html> <h1>Bad Gateway</h1>");
        let moved = Fault::status(307, Some("https://b.example/v1?token=hush"), b"");
        assert_eq!(moved.cause, FailureCause::Rejected);
        assert!(moved.detail.contains("https://b.example/v1;") && !moved.detail.contains("hush"));
        assert!(of(500, &"é".repeat(5_000)).detail.len() < 900);
    }

    #[test]
    fn a_reported_error_is_judged_by_its_code_or_type() {
        let of = |text: &str| Fault::reported(&serde_json::from_str(text).unwrap()).cause;
        assert_eq!(of(r#"{"code":429,"message":"slow down"}"#), FailureCause::RateLimited);
        assert_eq!(of(r#"{"code":"400"}"#), FailureCause::Rejected);
        assert_eq!(of(r#"{"type":"rate_limit_exceeded"}"#), FailureCause::RateLimited);
        assert_eq!(of(r#""engine died""#), FailureCause::ServerError);
    }
}
