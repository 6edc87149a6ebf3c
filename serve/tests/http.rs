//! The server over real sockets: shapes, streams, refusals, cancellation, metrics.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use breakeven_models::{
    DecoderSpec,
    inference::{Engine, EngineSettings, Event, GenerateRequest, GgmlDType, LoadedModel, Prompt},
    registry,
};
use breakeven_serve::{Server, serve};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A Llama of two narrow layers: every byte of text is a token, and every answer takes milliseconds.
fn spec(context: usize) -> DecoderSpec {
    let mut spec = registry::find("smollm2-135m-instruct").unwrap().spec;
    spec.layers = 2;
    spec.hidden = 64;
    (spec.heads, spec.kv_heads, spec.head_dim) = (2, 1, 32);
    spec.rope.dimensions = 32;
    spec.feed_forward = 128;
    spec.vocabulary = 320;
    spec.context = context;
    spec
}

fn engine(context: usize) -> Arc<Engine> {
    let model = LoadedModel::random("tiny", spec(context), GgmlDType::Q8_0, 1).unwrap();
    let settings =
        EngineSettings { max_sequences: 8, max_context: context, threads: 1, ..EngineSettings::default() };
    Arc::new(Engine::start(model, &settings).unwrap())
}

struct Running {
    address: SocketAddr,
    engine: Arc<Engine>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<std::io::Result<()>>>,
}

impl Running {
    fn start() -> Self {
        Self::with_context(512)
    }

    fn with_context(context: usize) -> Self {
        let engine = engine(context);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = Server::new(Arc::clone(&engine));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                serve(server, listener, async move { drop(stopped.await) }).await
            })
        });
        Self { address, engine, stop: Some(stop), thread: Some(thread) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn post(&self, path: &str, body: &str) -> (u16, ureq::Body) {
        let agent =
            ureq::Agent::new_with_config(ureq::config::Config::builder().http_status_as_error(false).build());
        let response =
            agent.post(self.url(path)).header("content-type", "application/json").send(body).unwrap();
        (response.status().as_u16(), response.into_body())
    }

    fn json(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = self.post(path, &body.to_string());
        (status, serde_json::from_reader(body.into_reader()).unwrap())
    }

    fn get(&self, path: &str) -> String {
        ureq::get(self.url(path)).call().unwrap().body_mut().read_to_string().unwrap()
    }

    /// The `data:` lines of a streamed answer.
    fn stream(&self, path: &str, body: &Value) -> Vec<String> {
        let (status, body) = self.post(path, &body.to_string());
        assert_eq!(status, 200);
        let lines = BufReader::new(body.into_reader()).lines().map(Result::unwrap);
        lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)).collect()
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

fn chat(extra: &Value) -> Value {
    let mut body = json!({ "model": "tiny", "messages": [{ "role": "user", "content": "héllo" }], "max_tokens": 12,
        "temperature": 0, "ignore_eos": true });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// What the engine alone says to a plain prompt, greedily.
fn alone(engine: &Engine, prompt: &str, tokens: usize) -> String {
    let request =
        GenerateRequest { ignore_eos: true, ..GenerateRequest::new(Prompt::Text(prompt.to_owned()), tokens) };
    let mut events = engine.submit(request).unwrap();
    let mut text = String::new();
    while let Some(event) = events.blocking_next() {
        match event {
            Event::Token { text: piece, .. } => text.push_str(&piece.unwrap_or_default()),
            Event::Done { .. } => return text,
            Event::Failed { error } => panic!("{error}"),
        }
    }
    text
}

#[test]
fn a_chat_answer_has_openais_shape_and_exact_usage() {
    let server = Running::start();
    let (status, body) = server.json(CHAT, &chat(&json!({})));
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "tiny");
    assert_eq!(body["choices"][0]["message"]["role"], "assistant");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    // Without a template: "user: héllo\nassistant:", a token a byte.
    let prompt = "user: héllo\nassistant:".len();
    assert_eq!(body["usage"]["prompt_tokens"], prompt);
    assert_eq!(body["usage"]["completion_tokens"], 12);
    assert_eq!(body["usage"]["total_tokens"], prompt + 12);
    assert_eq!(server.metric("breakeven_generation_tokens_total"), 12);
    assert_eq!(server.metric("breakeven_request_success_total{finished_reason=\"length\"}"), 1);
    assert_eq!(server.metric("breakeven_time_to_first_token_seconds_count"), 1);
}

#[test]
fn a_stream_says_role_text_reason_usage_and_done() {
    let server = Running::start();
    let options = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let lines = server.stream(CHAT, &chat(&options));
    assert_eq!(lines.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        lines[..lines.len() - 1].iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"])
    );
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let usage = chunks.last().unwrap();
    assert_eq!(
        (usage["choices"].as_array().unwrap().len(), &usage["usage"]["completion_tokens"]),
        (0, &json!(12))
    );
    let end = &chunks[chunks.len() - 2]["choices"][0];
    assert_eq!((&end["finish_reason"], &end["delta"]), (&json!("length"), &json!({})));
    let streamed: String =
        chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    let (_, whole) = server.json(CHAT, &chat(&json!({})));
    assert_eq!(streamed, whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert!(
        !server.stream(CHAT, &chat(&json!({ "stream": true }))).iter().any(|line| line.contains("\"usage\""))
    );
}

#[test]
fn concurrent_streams_say_what_the_engine_says_alone() {
    let server = Running::start();
    let prompts: Vec<String> = (0..8).map(|n| format!("prompt {n} ") + &"x".repeat(n * 7)).collect();
    let expected: Vec<String> = prompts.iter().map(|prompt| alone(&server.engine, prompt, 24)).collect();
    std::thread::scope(|scope| {
        for (prompt, expected) in prompts.iter().zip(&expected) {
            let server = &server;
            scope.spawn(move || {
                let body = json!({ "prompt": prompt, "max_tokens": 24, "temperature": 0, "ignore_eos": true, "stream": true });
                let lines = server.stream(COMPLETIONS, &body);
                let text: String = lines
                    .iter()
                    .filter(|line| *line != "[DONE]")
                    .map(|line| serde_json::from_str::<Value>(line).unwrap())
                    .filter_map(|chunk| chunk["choices"][0]["text"].as_str().map(str::to_owned))
                    .collect();
                assert_eq!(&text, expected);
            });
        }
    });
}

#[test]
fn prompts_come_as_text_tokens_or_one_of_a_list() {
    let server = Running::start();
    let ask = |prompt: Value| {
        server.json(COMPLETIONS, &json!({ "prompt": prompt, "max_tokens": 3, "temperature": 0 }))
    };
    let text = ask(json!("abc"));
    assert_eq!(text.0, 200, "{}", text.1);
    assert_eq!(ask(json!(["abc"])).1["choices"], text.1["choices"]);
    assert_eq!(ask(json!([1, 2, 3])).0, 200);
    assert_eq!(ask(json!(["a", "b"])).0, 400);
    // OpenAI's default is 16 tokens.
    let (_, body) = server.json(COMPLETIONS, &json!({ "prompt": "abc", "ignore_eos": true }));
    assert_eq!(body["usage"]["completion_tokens"], 16);
}

#[test]
fn a_seed_repeats_a_draw_and_a_stop_text_ends_it() {
    let server = Running::start();
    let draw = |seed: u64| {
        server.json(CHAT, &chat(&json!({ "temperature": 1.5, "seed": seed }))).1["choices"].clone()
    };
    assert_eq!(draw(1), draw(1));
    assert!((2..20).any(|seed| draw(seed) != draw(1)));
    let whole = alone(&server.engine, "abc", 40);
    let stop: String = whole.chars().skip(3).take(1).collect();
    let body =
        json!({ "prompt": "abc", "max_tokens": 40, "temperature": 0, "stop": stop, "ignore_eos": true });
    let (_, answer) = server.json(COMPLETIONS, &body);
    let text = answer["choices"][0]["text"].as_str().unwrap();
    assert!(!text.contains(&stop), "{text:?} {stop:?}");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[test]
fn wrong_requests_get_a_status_and_an_error_object() {
    let server = Running::start();
    let cases = [
        (CHAT, "{", 400, "body"),
        (CHAT, "[]", 400, "body"),
        (CHAT, "\u{0}\u{1}", 400, "body"),
        (CHAT, r#"{"messages":[]}"#, 400, "messages is empty"),
        (
            CHAT,
            r#"{"messages":[{"role":"user","content":"a"}],"model":"gpt-9"}"#,
            404,
            "`gpt-9` does not exist",
        ),
        (CHAT, r#"{"messages":[{"role":"user","content":"a"}],"max_tokens":-3}"#, 400, "max_tokens is -3"),
        (CHAT, r#"{"messages":[{"role":"user","content":"a"}],"max_tokens":0}"#, 400, "max_tokens is 0"),
        (CHAT, r#"{"messages":[{"role":"user","content":"a"}],"temperature":-1}"#, 400, "temperature is -1"),
        (CHAT, r#"{"messages":[{"role":"user","content":"a"}],"top_p":0}"#, 400, "top_p is 0"),
        (CHAT, r#"{"messages":[{"role":"user","content":"a"}],"n":2}"#, 400, "n is 2"),
        (CHAT, r#"{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function"}]}"#, 400, "tools"),
        (CHAT, r#"{"messages":[{"role":"user","content":"a"}],"logprobs":true}"#, 400, "logprobs"),
        (CHAT, r#"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#, 400, "image_url"),
        (CHAT, r#"{"messages":[{"role":"user","content":"a"}],"stop":["","b"]}"#, 400, "stop"),
        (COMPLETIONS, r#"{"max_tokens":3}"#, 400, "prompt"),
        (COMPLETIONS, r#"{"prompt":""}"#, 400, "prompt"),
        (COMPLETIONS, r#"{"prompt":[99999]}"#, 400, "99999"),
        ("/v1/embeddings", "{}", 404, "no such path"),
    ];
    for (path, body, status, said) in cases {
        let (found, answer) = server.post(path, body);
        let mut text = String::new();
        answer.into_reader().read_to_string(&mut text).unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{body}: {text}"));
        assert_eq!(found, status, "{body}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{body}: {message}");
        assert!(answer["error"]["type"].is_string());
    }
    let long = json!({ "prompt": "x".repeat(600), "max_tokens": 4 });
    let (status, answer) = server.json(COMPLETIONS, &long);
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("context_length_exceeded")));
    let huge = "x".repeat(9 << 20);
    // The server answers before it has read all of it; a client that is still sending may see a closed connection instead.
    let agent =
        ureq::Agent::new_with_config(ureq::config::Config::builder().http_status_as_error(false).build());
    match agent.post(server.url(COMPLETIONS)).header("content-type", "application/json").send(&huge) {
        Ok(response) => assert_eq!(response.status().as_u16(), 413),
        Err(error) => assert!(matches!(error, ureq::Error::Io(_)), "{error}"),
    }
    // It still answers.
    assert_eq!(server.json(CHAT, &chat(&json!({}))).0, 200);
}

#[test]
fn a_client_that_goes_away_frees_its_slot() {
    let server = Running::with_context(4_096);
    let body = chat(&json!({ "stream": true, "max_tokens": 4_000 })).to_string();
    {
        let (_, answer) = server.post(CHAT, &body);
        let mut lines = BufReader::new(answer.into_reader()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("data: "));
    }
    let begun = Instant::now();
    while server.engine.stats().running > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the sequence goes on for nobody");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.metric("breakeven_request_cancelled_total"), 1);
    assert!(server.metric("breakeven_generation_tokens_total") < 4_000);
}

#[test]
fn models_and_health_answer() {
    let server = Running::start();
    let models: Value = serde_json::from_str(&server.get("/v1/models")).unwrap();
    assert_eq!(
        (&models["data"][0]["id"], &models["data"][0]["max_model_len"]),
        (&json!("tiny"), &json!(512))
    );
    assert!(server.get("/health").contains("ok"));
    let metrics = server.get("/metrics");
    for name in [
        "num_requests_running",
        "num_requests_waiting",
        "kv_cache_usage_perc",
        "time_per_output_token_seconds",
    ] {
        assert!(metrics.contains(&format!("breakeven_{name}")), "{metrics}");
    }
    assert!(metrics.trim_end().ends_with("# EOF"));
}
