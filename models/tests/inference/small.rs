//! Small random models of every family, written as GGUF files with candle's own writer.

use std::fs::File;
use std::path::{Path, PathBuf};

use breakeven_models::DecoderSpec;
use breakeven_models::inference::GgmlDType;
use breakeven_models::inference::random::NoiseTensors;
use breakeven_models::inference::tensors::TensorSource;
use breakeven_models::registry;
use breakeven_models::spec::{Activation, RopePairing, SlidingWindow};
use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Value};

pub(crate) const VOCABULARY: usize = 320;

/// A spec of a family, two layers deep (seven for Gemma, so that one is global).
pub(crate) fn spec(family: &str) -> DecoderSpec {
    let mut spec = registry::find(registry::DEFAULT_MODEL).unwrap().spec;
    family.clone_into(&mut spec.architecture);
    spec.layers = 2;
    spec.hidden = 64;
    spec.heads = 4;
    spec.kv_heads = 2;
    spec.head_dim = 16;
    spec.rope.dimensions = 16;
    spec.rope.theta = 10_000.0;
    spec.feed_forward = 96;
    spec.vocabulary = VOCABULARY;
    spec.context = 128;
    match family {
        "llama" => {}
        "qwen2" => {
            spec.rope.pairing = RopePairing::Halves;
            spec.qkv_bias = true;
        }
        "qwen3" => {
            spec.rope.pairing = RopePairing::Halves;
            spec.qk_norm = true;
            spec.head_dim = 32;
            spec.rope.dimensions = 32;
            spec.tied_head = false;
        }
        "gemma3" => {
            spec.layers = 7;
            spec.rope.pairing = RopePairing::Halves;
            spec.rope.theta = 1_000_000.0;
            spec.rope.local_theta = Some(10_000.0);
            spec.qk_norm = true;
            spec.post_norms = true;
            spec.scaled_embedding = true;
            spec.activation = Activation::GeluTanh;
            spec.sliding_window = Some(SlidingWindow { tokens: 48, global_every: 6 });
        }
        "phi3" => {
            spec.rope.pairing = RopePairing::Halves;
            spec.fused_tensors = true;
            spec.tied_head = false;
        }
        other => panic!("no small model of family {other}"),
    }
    spec
}

fn count(value: usize) -> Value {
    Value::U32(u32::try_from(value).unwrap())
}

fn metadata(spec: &DecoderSpec) -> Vec<(String, Value)> {
    let family = &spec.architecture;
    let key = |name: &str| format!("{family}.{name}");
    let mut all = vec![
        ("general.architecture".to_owned(), Value::String(family.clone())),
        // candle's quantized_qwen3 keeps its rotary table in f16 unless told so.
        ("general.dtype".to_owned(), Value::U32(0)),
        (key("block_count"), count(spec.layers)),
        (key("context_length"), count(spec.context)),
        (key("embedding_length"), count(spec.hidden)),
        (key("feed_forward_length"), count(spec.feed_forward)),
        (key("attention.head_count"), count(spec.heads)),
        (key("attention.head_count_kv"), count(spec.kv_heads)),
        (key("attention.key_length"), count(spec.head_dim)),
        (key("attention.value_length"), count(spec.head_dim)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(spec.norm_epsilon)),
        (key("rope.dimension_count"), count(spec.rope.dimensions)),
        (key("rope.freq_base"), Value::F32(spec.rope.theta)),
    ];
    if let Some(window) = spec.sliding_window {
        all.push((key("attention.sliding_window"), count(window.tokens)));
    }
    if let Some(factor) = spec.rope.linear_factor {
        all.push((key("rope.scaling.type"), Value::String("linear".to_owned())));
        all.push((key("rope.scaling.factor"), Value::F32(factor)));
    }
    all.extend(tokenizer());
    all
}

/// GPT-2's byte alphabet, one merge, and an end token.
fn tokenizer() -> Vec<(String, Value)> {
    let printable = (0x21..=0x7e).chain(0xa1..=0xac).chain(0xae..=0xff);
    let moved = (0x100..0x100 + 68).map(|code| char::from_u32(code).unwrap().to_string());
    let mut tokens: Vec<String> =
        printable.map(|code| char::from_u32(code).unwrap().to_string()).chain(moved).collect();
    tokens.extend(["!!".to_owned(), "<|im_end|>".to_owned()]);
    let end = tokens.len() - 1;
    let kinds = (0..tokens.len()).map(|id| Value::I32(if id == end { 3 } else { 1 })).collect();
    let texts = tokens.into_iter().map(Value::String).collect();
    vec![
        ("tokenizer.ggml.model".to_owned(), Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.pre".to_owned(), Value::String("smollm".to_owned())),
        ("tokenizer.ggml.tokens".to_owned(), Value::Array(texts)),
        ("tokenizer.ggml.token_type".to_owned(), Value::Array(kinds)),
        ("tokenizer.ggml.merges".to_owned(), Value::Array(vec![Value::String("! !".to_owned())])),
        ("tokenizer.ggml.eos_token_id".to_owned(), count(end)),
    ]
}

/// Writes a random model of a spec; the same seed gives the same file.
pub(crate) fn write(folder: &Path, spec: &DecoderSpec, quantization: GgmlDType, seed: u64) -> PathBuf {
    let mut noise = NoiseTensors::new(spec, quantization, seed);
    let tensors: Vec<(String, QTensor)> = spec
        .tensors()
        .into_iter()
        .map(|tensor| {
            let raw = noise.read(&tensor.name).unwrap();
            let placed = raw.into_qtensor(&tensor.name, &Device::Cpu).unwrap();
            (tensor.name, placed)
        })
        .collect();
    let metadata = metadata(spec);
    let path = folder.join(format!("{}-{seed}.gguf", spec.architecture));
    let mut file = File::create(&path).unwrap();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
    path
}
