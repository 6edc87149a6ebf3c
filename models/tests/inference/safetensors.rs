//! Models in the hub's layout: logits equal those of candle-transformers' own implementation of a family, which also
//! names the tensors and makes the files. Damaged files are errors.

use std::fs;
use std::path::Path;

use breakeven_models::inference::batch::{Decoder, StepBatch};
use breakeven_models::inference::fetch::{FetchOptions, Silent, resolve};
use breakeven_models::inference::{
    Backend, Engine, EngineSettings, GenerateRequest, LoadedModel, Message, Prompt,
};
use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::answer;
use crate::hub_models::{VOCABULARY, config, write};

const PROMPT: [u32; 11] = [17, 3, 250, 99, 4, 180, 77, 12, 256, 8, 201];
const NORM: &str = "model.norm.weight";

fn open(folder: &Path) -> Result<LoadedModel, String> {
    LoadedModel::open_folder(folder, "small", "test", "").map_err(|error| error.to_string())
}

fn decoder(folder: &Path, backend: Backend) -> Box<dyn Decoder> {
    let settings = EngineSettings { backend, max_sequences: 2, max_context: 64, ..EngineSettings::default() };
    open(folder).unwrap().decoder(&settings).unwrap()
}

fn compare(family: &str, dtype: DType, shards: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut theirs = write(folder.path(), family, dtype, shards);
    let mut ours = [decoder(folder.path(), Backend::Candle), decoder(folder.path(), Backend::Packed)];
    let mut tokens = PROMPT.to_vec();
    let mut fed = 0;
    let mut logits = Vec::new();
    for step in 0..24 {
        let new = &tokens[fed..];
        // candle's Gemma 3 puts values into its cache as they lie, and `slice_set` takes only contiguous ones: a prompt of several
        // tokens fails. One token at a time is contiguous, and the same model.
        let most = if family == "gemma3_text" { 1 } else { new.len() };
        let mut expected = Vec::new();
        for (index, part) in new.chunks(most).enumerate() {
            let input = Tensor::new(part, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let logits = theirs(&input, fed + index * most).unwrap();
            expected = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        }
        let mut batch = StepBatch::default();
        batch.push(1, fed, new, true);
        for ours in &mut ours {
            ours.step(&batch, &mut logits).unwrap();
            assert_eq!(expected.len(), logits.len());
            let furthest = expected.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-3, "{family} {dtype:?}: logits differ by {furthest} in step {step}");
        }
        let spread = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        assert!(spread > 0.05, "{family}: logits of at most {spread} compare nothing");
        fed = tokens.len();
        tokens.push(u32::try_from(step * 31 % VOCABULARY).unwrap());
    }
}

#[test]
fn every_family_in_f32_equals_candle() {
    for family in ["llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3"] {
        compare(family, DType::F32, 1);
    }
}

#[test]
fn half_precision_and_several_files_equal_candle() {
    compare("llama", DType::F16, 2);
    compare("llama", DType::BF16, 3);
}

#[test]
fn a_folder_runs_as_a_model_with_its_text_and_template() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), "llama", DType::BF16, 2));
    let resolved = resolve(folder.path().to_str().unwrap(), &FetchOptions::default(), &mut Silent).unwrap();
    assert_eq!(resolved.model.quantization(), "BF16");
    let chat = [Message::system(" be brief "), Message::user("hi")];
    let rendered = resolved.model.render_chat(&chat).unwrap();
    assert_eq!(rendered.as_deref(), Some("<|system|>be brief<|im_end|><|user|>hi<|im_end|>"));
    let engine =
        Engine::start(resolved.model, &EngineSettings { max_context: 64, ..EngineSettings::default() });
    let engine = engine.unwrap();
    let text = GenerateRequest { ignore_eos: true, ..GenerateRequest::new(Prompt::Text("héllo".into()), 8) };
    let answered = answer(&engine, text);
    assert_eq!(answered.tokens.len(), 8);
    let alphabet: Vec<u32> =
        (0x21..=0x7e).chain(0xa1..=0xac).chain(0xae..=0xff).chain(0x100..0x100 + 68).collect();
    let byte = |wanted: u8| {
        let code = if (0x21..=0x7e).contains(&wanted) || wanted > 0xa0 && wanted != 0xad {
            u32::from(wanted)
        } else {
            0
        };
        u32::try_from(alphabet.iter().position(|at| *at == code).unwrap()).unwrap()
    };
    let tokens: Vec<u32> = "héllo".bytes().map(byte).collect();
    let same = GenerateRequest { ignore_eos: true, ..GenerateRequest::new(Prompt::Tokens(tokens), 8) };
    assert_eq!(answer(&engine, same), answered);
}

#[test]
fn what_would_be_ignored_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), "llama", DType::F32, 1));
    let path = folder.path().join("config.json");
    for (key, value, word) in [
        ("rope_scaling", json!({ "rope_type": "yarn", "factor": 2.0 }), "yarn"),
        ("rope_parameters", json!({ "rope_theta": 1.0 }), "rope_parameters"),
        ("hidden_act", json!("relu"), "relu"),
        ("num_hidden_layers", json!(1), "model.layers.1."),
        ("num_hidden_layers", json!(3), "model.layers.2."),
        ("vocab_size", json!(321), "embed_tokens"),
        ("tie_word_embeddings", json!(null), ""),
    ] {
        let mut changed = config("llama");
        changed[key] = value;
        fs::write(&path, changed.to_string()).unwrap();
        match open(folder.path()) {
            Err(text) => assert!(text.contains(word) && !word.is_empty(), "{key}: {text}"),
            Ok(_) => assert!(word.is_empty(), "{key} was taken"),
        }
    }
}

#[test]
fn a_header_that_lies_is_an_error_without_its_memory() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), "llama", DType::F32, 1));
    let path = folder.path().join("model.safetensors");
    let good = fs::read(&path).unwrap();
    let length = usize::try_from(u64::from_le_bytes(good[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&good[8..8 + length]).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = header.clone();
        change(&mut changed);
        let text = changed.to_string();
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.bytes());
        bytes.extend(&good[8 + length..]);
        bytes
    };
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("length 2^63", [(1u64 << 63).to_le_bytes().as_slice(), &good[8..]].concat()),
        ("length beyond the file", [(good.len() as u64).to_le_bytes().as_slice(), &good[8..]].concat()),
        ("absurd shape", with(&|header| header[NORM]["shape"] = json!([u64::MAX, u64::MAX]))),
        ("other shape", with(&|header| header[NORM]["shape"] = json!([63]))),
        ("unknown type", with(&|header| header[NORM]["dtype"] = json!("I4"))),
        ("overlap", with(&|header| header[NORM]["data_offsets"] = json!([0, 256]))),
        ("backwards", with(&|header| header[NORM]["data_offsets"] = json!([256, 0]))),
        ("beyond the end", with(&|header| header[NORM]["data_offsets"] = json!([u64::MAX - 256, u64::MAX]))),
        ("missing", with(&|header| drop(header.as_object_mut().unwrap().remove(NORM)))),
        ("one byte more", [good.as_slice(), &[0]].concat()),
        ("empty", Vec::new()),
    ];
    for cut in [4, 8, 9, 8 + length, good.len() - 1] {
        cases.push(("cut", good[..cut].to_vec()));
    }
    for (what, bytes) in cases {
        fs::write(&path, bytes).unwrap();
        let error = open(folder.path()).map(|_| ()).expect_err(what);
        assert!(error.contains("model.safetensors"), "{what}: {error}");
    }
    fs::write(
        folder.path().join("model.safetensors.index.json"),
        r#"{"weight_map":{"a":"../../etc/passwd"}}"#,
    )
    .unwrap();
    assert!(open(folder.path()).unwrap_err().contains("not a file beside the index"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn damaged_side_files_are_errors_or_models(
        file in prop::sample::select(vec!["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]),
        at in any::<usize>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        drop(write(folder.path(), "llama", DType::F32, 1));
        let path = folder.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        // Of the weights, the header is what can be damaged: any data is some model.
        let most = if file == "model.safetensors" { 2_000 } else { bytes.len() };
        let at = at % most;
        bytes[at] = byte;
        bytes.truncate(if cut { at + 1 } else { bytes.len() });
        fs::write(&path, bytes).unwrap();
        drop(open(folder.path()));
    }
}
