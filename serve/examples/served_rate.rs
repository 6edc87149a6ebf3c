//! How much of the engine's token rate survives HTTP: 16 concurrent streams in process and over loopback, interleaved.
//!
//! `cargo run --release -p breakeven-serve --example served_rate -- MODEL.gguf`

use std::{
    error::Error,
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Instant,
};

use breakeven_models::inference::{Engine, EngineSettings, Event, GenerateRequest, LoadedModel, Prompt};
use breakeven_serve::{Server, serve};
use serde_json::json;

const STREAMS: usize = 16;
const TOKENS: usize = 128;
const ROUNDS: usize = 5;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).ok_or("name a GGUF file")?;
    let model = LoadedModel::open(path.as_ref(), "model", "example", "")?;
    let engine =
        Arc::new(Engine::start(model, &EngineSettings { token_budget: 64, ..EngineSettings::default() })?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}/v1/completions", listener.local_addr()?);
    let server = Server::new(Arc::clone(&engine));
    std::thread::spawn(move || -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Ok(serve(server, listener, std::future::pending()).await?)
        })
    });
    let (mut own, mut served) = (Vec::new(), Vec::new());
    // The first round of each warms up and is not counted.
    for round in 0..=ROUNDS {
        let a = rate(|n| in_process(&engine, n))?;
        let b = rate(|n| over_http(&url, n))?;
        if round > 0 {
            own.push(a);
            served.push(b);
        }
    }
    let (own, served) = (median(&mut own), median(&mut served));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{STREAMS} streams of {TOKENS} tokens, medians of {ROUNDS} interleaved rounds, tokens/s")?;
    writeln!(out, "in process {own:.0}, over HTTP {served:.0}: {:.1} %", 100.0 * served / own)?;
    Ok(())
}

fn prompt(stream: usize) -> String {
    format!("Story number {stream}: once upon a time there was a small machine that")
}

/// Tokens a second of all streams together.
fn rate(one: impl Fn(usize) -> Result<(), Failure> + Sync) -> Result<f64, Failure> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..STREAMS)
            .map(|n| {
                scope.spawn({
                    let one = &one;
                    move || one(n)
                })
            })
            .collect();
        streams.into_iter().try_for_each(|stream| stream.join().map_err(|_| "a stream panicked")?)
    })?;
    Ok((STREAMS * TOKENS) as f64 / begun.elapsed().as_secs_f64())
}

fn in_process(engine: &Engine, stream: usize) -> Result<(), Failure> {
    let request =
        GenerateRequest { ignore_eos: true, ..GenerateRequest::new(Prompt::Text(prompt(stream)), TOKENS) };
    let mut events = engine.submit(request)?;
    while let Some(event) = events.blocking_next() {
        match event {
            Event::Token { .. } => {}
            Event::Done { .. } => return Ok(()),
            Event::Failed { error } => return Err(error.into()),
        }
    }
    Ok(())
}

fn over_http(url: &str, stream: usize) -> Result<(), Failure> {
    let body = json!({ "prompt": prompt(stream), "max_tokens": TOKENS, "temperature": 0, "ignore_eos": true, "stream": true });
    let mut response = ureq::post(url).header("content-type", "application/json").send(body.to_string())?;
    let mut text = String::new();
    response.body_mut().as_reader().read_to_string(&mut text)?;
    if text.contains("[DONE]") { Ok(()) } else { Err("the stream was cut off".into()) }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
