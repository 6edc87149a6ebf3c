//! Recorded streams of real servers through our parser, against what the OpenAI SDK makes of them; and shapes that were only
//! described, written down.

use std::{fs, ops::ControlFlow, path::PathBuf, time::Duration};

use breakeven_measurement::{FailureCause, level::TokenSource};
use serde::Deserialize;
use tokio::time::Instant;

use super::{answer::Answering, fault::Fault, sse::Parser};
use crate::{
    requests::Request,
    target::{Answer, Trace, Usage},
};

#[derive(Debug, Deserialize)]
struct Expected {
    file: String,
    events: u64,
    done: bool,
    error: bool,
    text: String,
    reasoning: String,
    tool_arguments: String,
    finish_reason: Option<String>,
    usage: Option<(Option<u64>, Option<u64>)>,
}

#[derive(Debug, Deserialize)]
struct Described {
    file: String,
    features: Vec<String>,
    content_chunks: u64,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sse")
}

fn rows<T: for<'a> Deserialize<'a>>(name: &str) -> Vec<T> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stream_of(file: &str) -> Vec<u8> {
    let bytes = fs::read(folder().join(file)).unwrap();
    if !file.ends_with(".chunks.txt") {
        return bytes;
    }
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.flat_map(|line| [b"data: ", line, b"\n\n"].concat()).collect()
}

fn request() -> Request {
    Request { id: 1, input_tokens: 7, output_tokens: 100_000, ..Request::default() }
}

#[derive(Debug, PartialEq)]
struct Read {
    events: u64,
    done: bool,
    trace: Trace,
    outcome: Result<Usage, Fault>,
}

impl Read {
    fn answer(&self) -> &Answer {
        self.trace.answer.as_ref().unwrap()
    }
}

/// Reads a stream in pieces, a microsecond apart from `start`.
fn read<'a>(start: Instant, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut trace = Trace { answer: Some(Answer::default()), ..Trace::default() };
    let mut answering = Answering::new(&request());
    let mut parser = Parser::default();
    let mut events = 0;
    let mut take = |event: super::sse::Event<'_>, answering: &mut Answering| {
        events += u64::from(!event.data.trim_ascii().is_empty());
        match answering.event(event, start, &mut trace) {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => ControlFlow::Break(fault),
        }
    };
    let mut fault = None;
    for piece in pieces {
        fault = parser.feed(piece, &mut |event| take(event, &mut answering)).unwrap().break_value();
        if fault.is_some() || answering.done {
            break;
        }
    }
    if fault.is_none() && !answering.done {
        fault = parser.finish(&mut |event| take(event, &mut answering)).unwrap().break_value();
    }
    let done = answering.done;
    let outcome = fault.map_or_else(|| answering.conclude(&request(), &trace), Err);
    Read { events, done, trace, outcome }
}

fn read_text(stream: &str) -> Read {
    read(Instant::now(), [stream.as_bytes()])
}

#[test]
fn recorded_streams_read_as_the_openai_sdk_reads_them() {
    let all = rows::<Expected>("expected.jsonl");
    assert_eq!(all.len(), 92);
    for expected in all {
        let name = &expected.file;
        let read = read(Instant::now(), [stream_of(name).as_slice()]);
        let answer = read.answer();
        assert_eq!((read.events, read.done), (expected.events, expected.done), "{name}");
        assert_eq!(answer.text, expected.text, "{name}");
        assert_eq!(answer.reasoning, expected.reasoning, "{name}");
        let arguments: String = answer.tool_calls.iter().map(|call| call.arguments.as_str()).collect();
        let mut characters =
            (arguments.chars().collect::<Vec<_>>(), expected.tool_arguments.chars().collect::<Vec<_>>());
        // Ours are by call, the recording's by time.
        characters.0.sort_unstable();
        characters.1.sort_unstable();
        assert_eq!(characters.0, characters.1, "{name}");
        assert_eq!(read.trace.finish_reason, expected.finish_reason, "{name}");
        if expected.error {
            let fault = read.outcome.unwrap_err();
            assert!(fault.detail.starts_with("the server reported: "), "{name}: {fault:?}");
            continue;
        }
        match (&read.outcome, expected.usage) {
            (Err(fault), _) => {
                let empty = expected.text.is_empty() && expected.reasoning.is_empty();
                assert!(empty && fault.detail.contains("no token"), "{name}: {fault:?}");
            }
            (Ok(usage), Some((input, Some(output)))) if output > 0 => {
                assert_eq!(usage.source, TokenSource::Usage, "{name}");
                assert_eq!(Some(usage.input_tokens), input, "{name}");
                // xAI counts reasoning apart; ours is with it.
                assert!(
                    usage.output_tokens == output || name.contains("xai") && usage.output_tokens > output,
                    "{name}"
                );
            }
            (Ok(usage), _) => {
                assert_eq!(
                    (usage.source, usage.output_tokens),
                    (TokenSource::Chunks, read.trace.tokens),
                    "{name}"
                );
                assert_eq!(usage.input_tokens, 7, "{name}: as asked, where the server does not say");
            }
        }
    }
}

#[test]
fn recorded_streams_have_the_shapes_their_index_names() {
    let mut checked = 0;
    for described in rows::<Described>("index.jsonl") {
        let name = &described.file;
        let has = |feature: &str| described.features.iter().any(|f| f == feature);
        let read = read(Instant::now(), [stream_of(name).as_slice()]);
        if has("no_DONE") && !has("error_midstream") {
            assert!(!read.done && read.outcome.is_ok(), "{name}: {:?}", read.outcome);
        }
        assert_eq!(
            has("error_midstream"),
            read.outcome.as_ref().is_err_and(|f| f.detail.contains("reported")),
            "{name}"
        );
        if has("reasoning_content") || has("reasoning") {
            assert!(!read.answer().reasoning.is_empty() || read.outcome.is_err(), "{name}");
        }
        if !has("error_midstream") {
            assert!(read.trace.tokens >= described.content_chunks, "{name}: {} chunks", read.trace.tokens);
        }
        checked += 1;
    }
    assert_eq!(checked, 92);
}

#[test]
fn the_pieces_in_which_a_stream_arrives_change_nothing() {
    let start = Instant::now();
    for expected in rows::<Expected>("expected.jsonl") {
        let stream = stream_of(&expected.file);
        let whole = read(start, [stream.as_slice()]);
        // Prime sizes cut within lines, within UTF-8 and between CR and LF.
        for size in [1, 7, 61, 1_021] {
            assert_eq!(read(start, stream.chunks(size)), whole, "{} by {size}", expected.file);
        }
        let crlf = String::from_utf8_lossy(&stream).replace('\n', "\r\n");
        assert_eq!(read(start, [crlf.as_bytes()]), whole, "{} with CRLF", expected.file);
    }
}

#[test]
fn reasoning_is_the_first_token_but_not_the_first_visible_one() {
    let start = Instant::now();
    let mut trace = Trace::default();
    let mut answering = Answering::new(&request());
    for (index, delta) in
        [r#""role":"assistant","content":"""#, r#""reasoning":"hm""#, r#""content":"yes""#].iter().enumerate()
    {
        let data = format!(r#"{{"choices":[{{"index":0,"delta":{{{delta}}}}}]}}"#);
        let at = start + Duration::from_millis(index as u64);
        answering
            .event(super::sse::Event { data: data.as_bytes(), is_error: false }, at, &mut trace)
            .unwrap();
    }
    let since = |at: Option<Instant>| at.unwrap().duration_since(start).as_millis();
    assert_eq!((since(trace.first_token), since(trace.first_visible), since(trace.last_token)), (1, 2, 2));
    assert_eq!(trace.tokens, 2);
}

#[test]
fn shapes_of_llama_cpp() {
    // b5517: timings instead of usage; progress of the prompt before the first token.
    let progress = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],\
                    \"prompt_progress\":{\"total\":237,\"cache\":0,\"processed\":128,\"time_ms\":181}}\n\n";
    let token = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"object\":\"x\"}\n\n";
    let end = "data: {\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}],\"timings\":{\"cache_n\":5,\"prompt_n\":9,\
               \"predicted_n\":3,\"predicted_ms\":1.5}}\n\ndata: [DONE]\n\n";
    let read = read_text(&format!("{progress}{token}{end}"));
    assert_eq!(read.trace.tokens, 1);
    let usage = read.outcome.unwrap();
    assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens), (14, 5, 3));
    // The error field of older builds, and the error object of newer ones.
    for error in [
        "error: {\"code\":500,\"message\":\"context full\"}\n\n",
        "data: {\"error\":{\"code\":500,\"message\":\"context full\"}}\n\n",
    ] {
        let fault = read_text(&format!("{token}{error}")).outcome.unwrap_err();
        assert_eq!(
            (fault.cause, fault.detail.as_str()),
            (FailureCause::ServerError, "the server reported: context full")
        );
    }
}

#[test]
fn shapes_of_vllm_and_sglang() {
    let vllm = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[]},\"logprobs\":null,\
                \"finish_reason\":null,\"stop_reason\":null,\"token_ids\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\
                \"a b c\",\"reasoning_content\":null},\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":4,\"total_tokens\":7,\
                \"completion_tokens\":3}}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"length\",\
                \"matched_stop\":null}],\"system_fingerprint\":\"f\"}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\
                \"completion_tokens\":3,\"total_tokens\":7,\"prompt_tokens_details\":null,\"reasoning_tokens\":0}}\n\ndata: [DONE]\n\n";
    let read = read_text(vllm);
    assert_eq!((read.trace.tokens, read.outcome.unwrap().output_tokens), (1, 3), "three tokens in one chunk");
    let died = "data: {\"error\":{\"code\":500,\"message\":\"EngineCore encountered an issue\",\"param\":null,\"type\":\"InternalServerError\"}}\n\n\
                data: [DONE]\n\n";
    assert_eq!(read_text(died).outcome.unwrap_err().cause, FailureCause::ServerError);
    // Before 0.9 an error ahead of the first token left only this.
    let fault = read_text("data: [DONE]\n\n").outcome.unwrap_err();
    assert_eq!(fault.cause, FailureCause::MalformedStream);
    assert!(fault.detail.contains("no token"), "{fault:?}");
}

#[test]
fn a_stream_that_stops_early_is_truncated_and_nonsense_is_malformed() {
    let token = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    assert_eq!(read_text(token).outcome.unwrap_err().cause, FailureCause::Truncated);
    for (bad, said) in
        [("data: {\"choices\":[\n\n", "invalid JSON"), ("data: 7\n\n", "invalid JSON"), ("", "no token")]
    {
        let fault = read_text(bad).outcome.unwrap_err();
        assert_eq!(fault.cause, FailureCause::MalformedStream, "{bad}");
        assert!(fault.detail.contains(said), "{fault:?}");
    }
    let read =
        read(Instant::now(), [&b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\"}}]}\n\n"[..]]);
    assert!(read.outcome.unwrap_err().detail.contains("invalid UTF-8"));
    // Events without the blank line between them: each line is one.
    let glued = read_text(&format!(
        "{}{}data: [DONE]\n\n",
        token.trim_end(),
        format!("\n{token}").trim_end().to_owned() + "\n"
    ));
    assert_eq!((glued.trace.tokens, glued.outcome.is_ok()), (2, true));
}

#[test]
fn a_server_that_never_ends_is_stopped() {
    let token = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n".repeat(5_000);
    let short = Request { output_tokens: 4, ..request() };
    let mut trace = Trace::default();
    let mut answering = Answering::new(&short);
    let fed = Parser::default().feed(token.as_bytes(), &mut |event| match answering.event(
        event,
        Instant::now(),
        &mut trace,
    ) {
        Ok(()) => ControlFlow::Continue(()),
        Err(fault) => ControlFlow::Break(fault),
    });
    assert!(fed.unwrap().break_value().unwrap().detail.contains("still streaming after 4096 chunks"));
}
