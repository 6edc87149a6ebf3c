//! Servers that misbehave, over real sockets: every request ends as a record with a cause, none is lost, nothing panics, and no
//! key gets out.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

use std::{future::Future, io, sync::Arc, time::Duration};

use breakeven_bench::{
    drive::{Attempt, DriveSettings, Next, Pacing, drive},
    requests::Request,
    target::{
        Target,
        http::{Api, ApiKey, Client, Endpoint, HttpTarget, Sending, first_model},
    },
};
use breakeven_measurement::{FailureCause, level::TokenSource};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

const MS: Duration = Duration::from_millis(1);
const KEY: &str = "sk-hush-0123456789";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn event(data: &str) -> String {
    let text = format!("data: {data}\n\n");
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn token() -> String {
    event(r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#)
}

/// The rest of a good answer after its tokens.
fn ending() -> String {
    let finish = event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#);
    let usage =
        event(r#"{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":4,"total_tokens":15}}"#);
    format!("{finish}{usage}{}0\r\n\r\n", event("[DONE]"))
}

fn good() -> String {
    format!("{HEAD}{}{}", token().repeat(4), ending())
}

/// Reads one request: its head and body as text; `None` at the end of the connection.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

/// A server that lets `behave` have each connection. Returns its base address.
async fn server<F, R>(behave: F) -> String
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    format!("http://{address}/v1")
}

/// A server that answers each request of a connection with the same bytes, and closes the connection where it must.
async fn saying(answer: impl Into<Vec<u8>>, close: bool) -> String {
    let answer: Arc<[u8]> = answer.into().into();
    server(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            while request(&mut stream).await.is_some() {
                stream.write_all(&answer).await?;
                if close {
                    break;
                }
            }
            Ok(())
        }
    })
    .await
}

fn target(base: &str) -> Arc<dyn Target> {
    let client = Client::new(Endpoint::parse(base).unwrap(), Some(ApiKey::new(KEY).unwrap())).unwrap();
    let sending = Sending { api: Api::Chat, model: "m".to_owned(), extra_body: Map::new() };
    let target = HttpTarget::new(client, sending, Arc::new(|_| "Say \"hi\"\nplease".to_owned()));
    assert!(!format!("{target:?}").contains("hush"), "{target:?}");
    Arc::new(target)
}

/// Sends six requests 5 ms apart with a deadline of 700 ms; each must come back as a record.
async fn attempts(base: &str) -> Vec<Attempt> {
    let schedule: Vec<_> = (0..6u32)
        .map(|i| {
            (MS * (i * 5), Request { id: i.into(), input_tokens: 9, output_tokens: 4, ..Request::default() })
        })
        .collect();
    let (_, cancel) = watch::channel(false);
    let settings = DriveSettings {
        timeout: MS * 700,
        drain: None,
        pacing: Pacing::Precise,
        most_in_flight: None,
        cancel,
    };
    let driven = drive(&target(base), schedule, &settings, &mut |_, _| Next::Go).await;
    assert_eq!((driven.attempts.len(), driven.unsent), (6, 0), "no record is lost");
    for attempt in &driven.attempts {
        assert!(attempt.failure.is_some() == attempt.detail.is_some());
        let text = serde_json::to_string(attempt).unwrap() + &format!("{attempt:?}");
        assert!(!text.contains("hush"), "the key got out: {text}");
    }
    driven.attempts
}

/// Every request must fail with this cause and with words that contain `said`.
async fn expect(base: &str, cause: FailureCause, said: &str) -> Vec<Attempt> {
    let attempts = attempts(base).await;
    for attempt in &attempts {
        assert_eq!(attempt.failure, Some(cause), "{attempt:?}");
        assert!(attempt.detail.as_deref().unwrap().contains(said), "{attempt:?}");
    }
    attempts
}

#[tokio::test]
async fn a_good_server_is_read_whole_over_one_connection_at_a_time() {
    let (opened, count) = watch::channel(0);
    let (heard, hearing) = watch::channel(String::new());
    let base = server(move |mut stream| {
        opened.send_modify(|n| *n += 1);
        let heard = heard.clone();
        async move {
            while let Some(text) = request(&mut stream).await {
                heard.send_replace(text);
                stream.write_all(good().as_bytes()).await?;
            }
            Ok(())
        }
    })
    .await;
    for attempt in attempts(&base).await {
        assert_eq!(
            (attempt.failure, attempt.output_tokens, attempt.input_tokens),
            (None, 4, 11),
            "{attempt:?}"
        );
        assert_eq!((attempt.token_source, attempt.http_status), (Some(TokenSource::Usage), Some(200)));
        assert_eq!((attempt.chunk_gaps.len(), attempt.finish_reason.as_deref()), (3, Some("length")));
        assert!(attempt.sent <= attempt.first_token.unwrap() && attempt.last_token.unwrap() <= attempt.done);
    }
    assert!(*count.borrow() <= 3, "{} connections for six requests that do not overlap", *count.borrow());
    let text = hearing.borrow().clone();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
    assert!(head.contains(&format!("Authorization: Bearer {KEY}")));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["messages"][0]["content"], "Say \"hi\"\nplease");
    assert_eq!((body["max_tokens"].as_u64(), body["ignore_eos"].as_bool()), (Some(4), Some(true)));
    assert_eq!(body["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    expect(&format!("http://{address}/v1"), FailureCause::Connection, "connecting to 127.0.0.1:").await;
    expect("http://no-such-host.invalid/v1", FailureCause::Connection, "looking up no-such-host.invalid")
        .await;
}

#[tokio::test]
async fn accepts_and_hangs() {
    let base = server(|stream| async move {
        sleep(MS * 60_000).await;
        drop(stream);
        Ok(())
    })
    .await;
    for attempt in expect(&base, FailureCause::Timeout, "cut off").await {
        let life = attempt.done.saturating_sub(attempt.scheduled);
        assert!(life >= MS * 700, "{life:?}");
    }
}

#[tokio::test]
async fn closes_without_a_word() {
    let base = server(|mut stream| async move {
        request(&mut stream).await;
        Ok(())
    })
    .await;
    expect(&base, FailureCause::Connection, "closed the connection without an answer").await;
}

#[tokio::test]
async fn resets_in_the_middle_of_a_stream() {
    let base = server(|mut stream| async move {
        request(&mut stream).await;
        stream.write_all(format!("{HEAD}{}", token()).as_bytes()).await?;
        sleep(MS * 20).await;
        // Closing with unread input resets the connection.
        stream.set_zero_linger()
    })
    .await;
    for attempt in expect(&base, FailureCause::Connection, "reading the answer").await {
        assert!(attempt.first_token.is_some() && attempt.output_tokens == 1, "what came before is kept");
    }
}

#[tokio::test]
async fn closes_in_the_middle_of_a_stream_or_of_the_head() {
    let half = saying(format!("{HEAD}{}", token()), true).await;
    expect(&half, FailureCause::Connection, "the connection ended before the answer did").await;
    let head = saying(&HEAD[..30], true).await;
    expect(&head, FailureCause::Connection, "in the response head").await;
    let early = saying(format!("{HEAD}{}0\r\n\r\n", token()), false).await;
    expect(&early, FailureCause::Truncated, "without finish_reason or [DONE]").await;
}

#[tokio::test]
async fn a_storm_of_429_keeps_what_retry_after_asks() {
    for (field, expected) in [("Retry-After: 7", MS * 7_000), ("retry-after-ms: 250", MS * 250)] {
        let body = r#"{"error":{"message":"slow down, sk-hush-0123456789","type":"rate_limit"}}"#;
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\n{field}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let base = saying(answer, false).await;
        for attempt in expect(&base, FailureCause::RateLimited, "HTTP 429: slow down, [key]").await {
            assert_eq!((attempt.retry_after, attempt.http_status), (Some(expected), Some(429)));
        }
    }
}

#[tokio::test]
async fn a_date_in_retry_after_is_a_time_from_now() {
    let base = server(|mut stream| async move {
        request(&mut stream).await;
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then);
        let answer =
            format!("HTTP/1.1 503 Busy\r\nRetry-After: {}\r\nContent-Length: 0\r\n\r\n", date.unwrap());
        stream.write_all(answer.as_bytes()).await
    })
    .await;
    for attempt in expect(&base, FailureCause::ServerError, "HTTP 503").await {
        let wait = attempt.retry_after.unwrap();
        assert!((MS * 80_000..=MS * 90_000).contains(&wait), "{wait:?}");
    }
}

#[tokio::test]
async fn server_errors_error_pages_redirects_and_refusals() {
    let answer = |status: &str, fields: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let base = saying(answer("500 Oops", "", r#"{"error":{"message":"out of memory"}}"#), false).await;
    expect(&base, FailureCause::ServerError, "HTTP 500: out of memory").await;
    let page = "<!doctype html>\n<html><h1>502 Bad Gateway</h1></html>";
    let base = saying(answer("502 Bad Gateway", "Content-Type: text/html\r\n", page), true).await;
    expect(&base, FailureCause::ServerError, "<h1>502 Bad Gateway</h1>").await;
    let base = saying(answer("200 OK", "Content-Type: text/html; charset=utf-8\r\n", page), false).await;
    expect(&base, FailureCause::MalformedStream, "expected text/event-stream, found text/html").await;
    let base = saying(
        answer("200 OK", "Content-Type: application/json\r\n", r#"{"choices":[{"message":{}}]}"#),
        false,
    )
    .await;
    expect(&base, FailureCause::MalformedStream, "found application/json").await;
    let base =
        saying(answer("200 OK", "Content-Type: application/json\r\n", r#"{"error":{"code":429}}"#), false)
            .await;
    expect(&base, FailureCause::RateLimited, "the server reported").await;
    let base =
        saying(answer("307 Moved", "Location: https://elsewhere.example/v1?sig=hush\r\n", ""), false).await;
    expect(&base, FailureCause::Rejected, "redirected to https://elsewhere.example/v1; give that address")
        .await;
    let base =
        saying(answer("401 No", "", &format!(r#"{{"error":{{"message":"bad key {KEY}"}}}}"#)), false).await;
    expect(&base, FailureCause::Rejected, "HTTP 401: bad key [key]").await;
    let base =
        saying("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", false).await;
    expect(&base, FailureCause::MalformedStream, "compressed (gzip)").await;
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_stream() {
    let error = event(r#"{"error":{"code":500,"message":"engine died"}}"#);
    let base = saying(format!("{HEAD}{}{error}{}0\r\n\r\n", token(), event("[DONE]")), true).await;
    let attempts = expect(&base, FailureCause::ServerError, "the server reported: engine died").await;
    assert!(attempts.iter().all(|attempt| attempt.output_tokens == 1 && attempt.first_token.is_some()));
}

#[tokio::test]
async fn an_endless_stream_ends_at_the_limit_or_the_deadline() {
    for (pause, cause, said) in [
        (Duration::ZERO, FailureCause::MalformedStream, "still streaming after 4096 chunks"),
        (MS * 10, FailureCause::Timeout, "cut off"),
    ] {
        let base = server(move |mut stream| async move {
            request(&mut stream).await;
            stream.write_all(HEAD.as_bytes()).await?;
            loop {
                stream.write_all(token().as_bytes()).await?;
                if !pause.is_zero() {
                    sleep(pause).await;
                }
            }
        })
        .await;
        for attempt in expect(&base, cause, said).await {
            assert!(attempt.output_tokens > 10, "tokens that came are counted: {}", attempt.output_tokens);
        }
    }
}

#[tokio::test]
async fn a_line_of_a_megabyte_is_read() {
    let long = "x".repeat(1 << 20);
    let big = event(&format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{long}"}}}}]}}"#));
    let base = saying(format!("{HEAD}{big}{}", ending()), false).await;
    for attempt in attempts(&base).await {
        assert_eq!(attempt.failure, None, "{attempt:?}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let base = saying(format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(100_000)), false).await;
    expect(&base, FailureCause::MalformedStream, "a response head of more than 64 KiB").await;
}

#[tokio::test]
async fn broken_text_json_http_and_chunks() {
    let data = [&b"data: {\"choices\":[{\"delta\":{\"content\":\""[..], b"\xff\xfe", b"\"}}]}\n\n"].concat();
    let invalid =
        [format!("{HEAD}{:x}\r\n", data.len()).into_bytes(), data, b"\r\n0\r\n\r\n".to_vec()].concat();
    for (answer, said) in [
        (invalid, "invalid UTF-8"),
        (format!("{HEAD}{}", event("{\"choices\":[")).into_bytes(), "invalid JSON"),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), "not an HTTP response"),
        (format!("{HEAD}zz\r\n").into_bytes(), "broken chunked encoding"),
        (format!("{HEAD}0\r\n\r\n").into_bytes(), "no token"),
    ] {
        let base = saying(answer, true).await;
        expect(&base, FailureCause::MalformedStream, said).await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_slow_but_right() {
    let base = server(|mut stream| async move {
        stream.set_nodelay(true)?;
        request(&mut stream).await;
        for byte in good().into_bytes() {
            stream.write_all(&[byte]).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await;
    for attempt in attempts(&base).await {
        assert_eq!((attempt.failure, attempt.output_tokens), (None, 4), "{attempt:?}");
    }
    // And a loris that never gets anywhere is a timeout.
    let base = server(|mut stream| async move {
        request(&mut stream).await;
        for byte in good().into_bytes() {
            stream.write_all(&[byte]).await?;
            sleep(MS * 50).await;
        }
        Ok(())
    })
    .await;
    expect(&base, FailureCause::Timeout, "cut off").await;
}

#[tokio::test]
async fn no_done_and_a_connection_left_open_is_complete_after_a_grace() {
    let finish = event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#);
    let base = server(move |mut stream| {
        let answer = format!("{HEAD}{}{finish}", token());
        async move {
            request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await?;
            sleep(MS * 60_000).await;
            Ok(())
        }
    })
    .await;
    let (_, cancel) = watch::channel(false);
    let settings = DriveSettings {
        timeout: MS * 20_000,
        drain: None,
        pacing: Pacing::Precise,
        most_in_flight: None,
        cancel,
    };
    let request = Request { input_tokens: 9, output_tokens: 4, ..Request::default() };
    let driven = drive(&target(&base), vec![(MS, request)], &settings, &mut |_, _| Next::Go).await;
    let attempt = &driven.attempts[0];
    assert_eq!((attempt.failure, attempt.token_source), (None, Some(TokenSource::Chunks)), "{attempt:?}");
    assert!(attempt.last_token.unwrap() < MS * 900, "the wait is in `done`, not in the latency");
}

#[tokio::test]
async fn a_kept_connection_that_expired_is_opened_anew() {
    let (opened, count) = watch::channel(0);
    let base = server(move |mut stream| {
        opened.send_modify(|n| *n += 1);
        async move {
            // Answers once, promises to keep the connection, and closes it on the next request.
            request(&mut stream).await;
            stream.write_all(good().as_bytes()).await?;
            request(&mut stream).await;
            Ok(())
        }
    })
    .await;
    for attempt in attempts(&base).await {
        assert_eq!(attempt.failure, None, "{attempt:?}");
    }
    assert!(*count.borrow() >= 6);
}

#[tokio::test]
async fn tls_to_a_server_that_does_not_speak_it_or_is_not_trusted() {
    let plain = server(|mut stream| async move {
        stream.read_u8().await?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    })
    .await;
    let base = plain.replace("http://", "https://");
    expect(&base, FailureCause::Connection, "TLS: ").await;

    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der())
        .unwrap();
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certified.cert.der().clone()], key)
    .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let base = server(move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.map(drop) }
    })
    .await;
    let base = base.replace("http://127.0.0.1", "https://localhost");
    expect(&base, FailureCause::Connection, "invalid peer certificate").await;
}

#[tokio::test]
async fn models_are_asked_for_with_care() {
    let client =
        |base: &str| Client::new(Endpoint::parse(base).unwrap(), Some(ApiKey::new(KEY).unwrap())).unwrap();
    let list = r#"{"object":"list","data":[{"id":"smol"},{"id":"big"}]}"#;
    let base =
        saying(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len()), false).await;
    assert_eq!(first_model(&client(&base)).await.unwrap(), "smol");
    let said = format!("HTTP/1.1 401 No\r\nContent-Length: {}\r\n\r\n{KEY}", KEY.len());
    let base = saying(said, false).await;
    assert_eq!(first_model(&client(&base)).await.unwrap_err(), "HTTP 401: [key]");
    let base = saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", false).await;
    assert!(first_model(&client(&base)).await.unwrap_err().contains("no model in its list"));
}
