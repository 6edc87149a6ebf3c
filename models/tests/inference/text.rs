//! Tokenizer and chat template of the real weights against Hugging Face's own files for the model.

use crate::common::{golden_path, real_model};
use breakeven_models::inference::{Engine, EngineSettings, Message};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Sample {
    text: String,
    tokens: Vec<u32>,
}

fn engine() -> Engine {
    let settings = EngineSettings { max_sequences: 1, max_context: 64, ..EngineSettings::default() };
    Engine::start(real_model(), &settings).unwrap()
}

/// `golden/smollm2_tokens.json` holds what the `tokenizers` package makes of the model's `tokenizer.json`.
#[test]
fn tokens_equal_those_of_the_tokenizer_file() {
    let engine = engine();
    let samples: Vec<Sample> =
        serde_json::from_str(&std::fs::read_to_string(golden_path("smollm2_tokens.json")).unwrap()).unwrap();
    assert!(samples.len() > 20);
    for sample in samples {
        assert_eq!(engine.codec().encode(&sample.text, true).unwrap(), sample.tokens, "{:?}", sample.text);
        assert_eq!(engine.count_tokens(&sample.text).unwrap(), sample.tokens.len());
        if !sample.text.contains("<|") {
            assert_eq!(engine.codec().decode(&sample.tokens), sample.text);
        }
    }
}

#[test]
fn the_chat_template_is_the_files_own() {
    let engine = engine();
    let messages = [
        Message::system("Be brief."),
        Message::user("Hi"),
        Message::assistant("Hello."),
        Message::user("Bye"),
    ];
    assert_eq!(
        engine.apply_chat_template(&messages).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
         <|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    );
    let tokens = engine.codec().encode(&engine.apply_chat_template(&messages).unwrap(), false).unwrap();
    assert_eq!(tokens[0], 1, "a control token was not recognised as one");
}

#[test]
fn the_end_of_turn_is_a_stop() {
    let engine = engine();
    assert!(engine.codec().is_stop(2) && engine.codec().is_stop(0));
    assert!(!engine.codec().is_stop(100));
    assert_eq!(engine.codec().piece(2), b"");
    assert_eq!(engine.codec().piece(u32::MAX), b"");
}
