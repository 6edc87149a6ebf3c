//! The engine as a service: limits, refusals, cancellation, shutting down. Nothing hangs and nothing is lost.

use breakeven_models::inference::{
    Backend, Engine, EngineSettings, Event, EventStream, FinishReason, GenerateRequest, GgmlDType,
    LoadedModel, Message, Prompt, RequestError, Sampling, SubmitError,
};

use crate::common::{answer, collect};
use crate::small;

fn settings() -> EngineSettings {
    EngineSettings {
        backend: Backend::Candle,
        max_sequences: 1,
        max_context: 64,
        token_budget: 16,
        ..EngineSettings::default()
    }
}

fn engine(settings: &EngineSettings) -> Engine {
    let model = LoadedModel::random("small", small::spec("llama"), GgmlDType::Q8_0, 2).unwrap();
    Engine::start(model, settings).unwrap()
}

fn request(prompt: &str, max_tokens: usize) -> GenerateRequest {
    GenerateRequest::new(Prompt::Text(prompt.to_owned()), max_tokens)
}

fn last_event(mut stream: EventStream) -> Event {
    loop {
        match stream.blocking_next().unwrap() {
            Event::Token { .. } => {}
            last => return last,
        }
    }
}

#[test]
fn the_context_ends_an_answer_and_the_figures_add_up() {
    let engine = engine(&settings());
    let stream = engine.submit(request("0123456789", 1000)).unwrap();
    let Event::Done { reason, prompt_tokens, cached_tokens, output_tokens, .. } = last_event(stream) else {
        panic!("it failed");
    };
    assert_eq!((reason, prompt_tokens, cached_tokens, output_tokens), (FinishReason::Length, 10, 0, 54));
    let record = engine.record();
    assert_eq!(record.kv_bytes_per_token, 2 * 2 * 32 * 4);
    assert_eq!(record.parameters, small::spec("llama").parameters());
}

#[test]
fn a_dropped_stream_frees_its_slot_for_the_next() {
    let engine = engine(&EngineSettings { max_context: 128, ..settings() });
    let mut abandoned = engine.submit(request("first", 1000)).unwrap();
    assert!(matches!(abandoned.blocking_next(), Some(Event::Token { .. })));
    let waiting = engine.submit(request("cancelled before it runs", 5)).unwrap();
    let second = engine.submit(request("second", 3)).unwrap();
    drop((abandoned, waiting));
    assert_eq!(collect(second, Vec::new()).tokens.len(), 3);
    drop(answer(&engine, request("third", 1)));
    let stats = engine.stats();
    assert_eq!(stats.queued, 0);
    let steps = engine.take_step_log();
    assert!(steps.len() < 128, "the abandoned request ran to its end: {} steps", steps.len());
    assert!(engine.take_step_log().is_empty());
}

#[test]
fn bad_requests_are_refused_at_once_with_the_reason() {
    let engine = engine(&EngineSettings { max_queue: 2, ..settings() });
    let refusal = |request| engine.submit(request).unwrap_err();
    assert_eq!(refusal(request("", 5)), SubmitError::EmptyPrompt);
    assert_eq!(refusal(request("a", 0)), SubmitError::NoTokens);
    assert_eq!(refusal(request(&"a".repeat(64), 5)), SubmitError::PromptTooLong { tokens: 64, context: 64 });
    let unknown = GenerateRequest::new(Prompt::Tokens(vec![1, 320]), 5);
    assert_eq!(refusal(unknown), SubmitError::UnknownToken { token: 320, vocabulary: 320 });
    let cold = Sampling::Random { temperature: -1.0, top_p: 1.0 };
    assert!(matches!(
        refusal(GenerateRequest { sampling: cold, ..request("a", 5) }),
        SubmitError::Sampling(_)
    ));
    // One runs, two wait, the fourth finds the queue full; none of the three is lost.
    let mut running = engine.submit(request("a", 60)).unwrap();
    let first = running.blocking_next().unwrap();
    let others = [engine.submit(request("b", 2)).unwrap(), engine.submit(request("c", 2)).unwrap()];
    let fourth = engine.submit(request("d", 2));
    if let Err(error) = &fourth {
        assert_eq!(*error, SubmitError::QueueFull(2));
    }
    assert_eq!(collect(running, vec![first]).tokens.len(), 60);
    for stream in others {
        assert_eq!(collect(stream, Vec::new()).tokens.len(), 2);
    }
}

#[test]
fn shutting_down_tells_every_request() {
    let engine = engine(&settings());
    let streams: Vec<EventStream> = (0..4).map(|_| engine.submit(request("hello", 50)).unwrap()).collect();
    drop(engine);
    for stream in streams {
        match last_event(stream) {
            Event::Failed { error } => assert_eq!(error, RequestError::Stopped),
            Event::Done { output_tokens, .. } => assert_eq!(output_tokens, 50),
            Event::Token { .. } => unreachable!(),
        }
    }
}

#[test]
fn random_sampling_repeats_with_its_seed() {
    let engine = engine(&EngineSettings { max_sequences: 3, token_budget: 64, ..settings() });
    let sampling = Sampling::Random { temperature: 1.5, top_p: 0.9 };
    let draw = |seed| answer(&engine, GenerateRequest { sampling, seed, ..request("dice", 30) }).tokens;
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_stop_text_ends_the_answer_before_it() {
    let engine = engine(&settings());
    let whole = answer(&engine, request("text", 40));
    let characters: Vec<char> = whole.text.chars().collect();
    let stop: String = characters[10..12].iter().collect();
    let at = whole.text.find(&stop).unwrap();
    let stopped = GenerateRequest { stop: vec![stop], ..request("text", 40) };
    let mut stream = engine.submit(stopped).unwrap();
    let mut text = String::new();
    loop {
        match stream.blocking_next().unwrap() {
            Event::Token { text: piece, .. } => text.push_str(&piece.unwrap_or_default()),
            Event::Done { reason, .. } => break assert_eq!(reason, FinishReason::Stop),
            Event::Failed { error } => panic!("{error}"),
        }
    }
    assert_eq!(text, whole.text[..at]);
}

#[tokio::test(flavor = "current_thread")]
async fn events_arrive_in_an_async_runtime_too() {
    let engine = engine(&settings());
    let chat = Prompt::Chat(vec![Message::user("hi")]);
    let mut stream = engine.submit(GenerateRequest::new(chat, 4)).unwrap();
    let mut times = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Token { at, .. } | Event::Done { at, .. } => times.push(at),
            Event::Failed { error } => panic!("{error}"),
        }
    }
    assert_eq!(times.len(), 5);
    assert!(times.is_sorted());
}

#[test]
fn settings_that_cannot_work_are_refused_before_weights_are_read() {
    for (bad, word) in [
        (EngineSettings { max_sequences: 0, ..settings() }, "max_sequences"),
        (EngineSettings { kv_memory_bytes: 10, ..settings() }, "kv_memory_bytes"),
        (EngineSettings { token_budget: 1, ..settings() }, "token_budget"),
        (EngineSettings { threads: 0, ..settings() }, "threads"),
    ] {
        let model = LoadedModel::random("small", small::spec("llama"), GgmlDType::Q8_0, 2).unwrap();
        let error = Engine::start(model, &bad).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
