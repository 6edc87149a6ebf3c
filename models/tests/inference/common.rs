//! What several test files need: the real weights, and small models made on the spot.

use std::path::PathBuf;
use std::sync::OnceLock;

use breakeven_models::inference::fetch::{FetchOptions, FoundFile, Silent, WeightsChoice, find_file};
use breakeven_models::inference::{Engine, EngineSettings, Event, EventStream, GenerateRequest, LoadedModel};
use breakeven_models::registry;

/// The default model's real weights; where no source has them the test fails and says what was tried.
pub(crate) fn real_weights() -> FoundFile {
    static FOUND: OnceLock<FoundFile> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let file = registry::find(registry::DEFAULT_MODEL).unwrap().weights.unwrap();
        let options = FetchOptions { weights: WeightsChoice::Real, ..FetchOptions::default() };
        match find_file(&file, &options, &mut Silent) {
            Ok((found, _)) => found,
            Err(attempts) => panic!("the tests need the real weights, and no source has them: {attempts:#?}"),
        }
    });
    found.clone()
}

pub(crate) fn real_model() -> LoadedModel {
    let found = real_weights();
    LoadedModel::open(&found.path, registry::DEFAULT_MODEL, &found.source, &found.sha256).unwrap()
}

pub(crate) fn real_engine(settings: &EngineSettings) -> Engine {
    Engine::start(real_model(), settings).unwrap()
}

pub(crate) fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// What a finished request gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) tokens: Vec<u32>,
    pub(crate) text: String,
}

/// Runs one request to its end on the calling thread.
pub(crate) fn answer(engine: &Engine, request: GenerateRequest) -> Answered {
    collect(engine.submit(request).unwrap(), Vec::new())
}

/// Reads a stream to its end; `seen` are events already taken from it.
pub(crate) fn collect(mut stream: EventStream, seen: Vec<Event>) -> Answered {
    let mut seen = seen.into_iter();
    let mut answered = Answered::default();
    loop {
        match seen.next().or_else(|| stream.blocking_next()).unwrap() {
            Event::Token { id, text, .. } => {
                answered.tokens.push(id);
                answered.text.push_str(&text.unwrap_or_default());
            }
            Event::Done { output_tokens, .. } => {
                assert_eq!(output_tokens, answered.tokens.len());
                assert_eq!(stream.blocking_next(), None);
                return answered;
            }
            Event::Failed { error } => panic!("{error}"),
        }
    }
}
