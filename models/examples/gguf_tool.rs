//! Writes GGUF files for comparisons with other engines, with candle's own quantiser and writer.
//!
//!     cargo run --release -p breakeven-models --features inference --example gguf_tool -- requantize in.gguf Q4_0 out.gguf
//!     cargo run --release -p breakeven-models --features inference --example gguf_tool -- random llama-3.2-1b Q4_K 1 out.gguf
//!
//! `requantize` rewrites the layers' matrices and leaves everything else, the embedding too, as it is, so that both
//! engines read the same bytes. `random` fills a built-in shape of the Llama family with noise: no tokenizer, so other
//! engines run it on token ids only.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;

use breakeven_models::inference::GgmlDType;
use breakeven_models::inference::gguf::type_named;
use breakeven_models::inference::random::NoiseTensors;
use breakeven_models::inference::tensors::TensorSource;
use breakeven_models::{DecoderSpec, registry};
use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Content, Value};

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["requantize", input, kind, output] => requantize(input, dtype(kind)?, output),
        ["random", model, kind, seed, output] => random(model, dtype(kind)?, seed.parse()?, output),
        _ => Err("expected `requantize IN TYPE OUT` or `random MODEL TYPE SEED OUT`".into()),
    }
}

fn dtype(name: &str) -> Fallible<GgmlDType> {
    type_named(name).ok_or_else(|| format!("type is `{name}`, expected a GGUF type like Q4_0 or Q6_K").into())
}

fn write(output: &str, metadata: &[(String, Value)], tensors: &[(String, QTensor)]) -> Fallible<()> {
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = BufWriter::new(File::create(output)?);
    gguf_file::write(&mut file, &metadata, &tensors)?;
    Ok(())
}

fn requantize(input: &str, kind: GgmlDType, output: &str) -> Fallible<()> {
    let mut file = File::open(input)?;
    let content = Content::read(&mut file)?;
    let mut names: Vec<&String> = content.tensor_infos.keys().collect();
    names.sort();
    let mut tensors = Vec::new();
    for name in names {
        let tensor = content.tensor(&mut file, name, &Device::Cpu)?;
        let is_layer = name.starts_with("blk.") && tensor.shape().rank() == 2;
        let tensor = if is_layer && tensor.dtype() != kind {
            QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, kind)?
        } else {
            tensor
        };
        tensors.push((name.clone(), tensor));
    }
    let mut metadata: Vec<(String, Value)> = content.metadata.into_iter().collect();
    metadata.sort_by(|left, right| left.0.cmp(&right.0));
    write(output, &metadata, &tensors)
}

fn random(model: &str, kind: GgmlDType, seed: u64, output: &str) -> Fallible<()> {
    let entry = registry::find(model).ok_or_else(|| format!("no built-in model `{model}`"))?;
    let spec = entry.spec;
    if spec.architecture != "llama" {
        return Err(format!("`{model}` is of the family {}, expected llama", spec.architecture).into());
    }
    let mut noise = NoiseTensors::new(&spec, kind, seed);
    let mut tensors = Vec::new();
    for tensor in spec.tensors() {
        let placed = noise.read(&tensor.name)?.into_qtensor(&tensor.name, &Device::Cpu)?;
        tensors.push((tensor.name, placed));
    }
    write(output, &llama_metadata(&spec)?, &tensors)
}

fn llama_metadata(spec: &DecoderSpec) -> Fallible<Vec<(String, Value)>> {
    let count = |value: usize| u32::try_from(value).map(Value::U32);
    let key = |name: &str| format!("llama.{name}");
    Ok(vec![
        ("general.architecture".to_owned(), Value::String("llama".to_owned())),
        (key("block_count"), count(spec.layers)?),
        (key("context_length"), count(spec.context)?),
        (key("embedding_length"), count(spec.hidden)?),
        (key("feed_forward_length"), count(spec.feed_forward)?),
        (key("attention.head_count"), count(spec.heads)?),
        (key("attention.head_count_kv"), count(spec.kv_heads)?),
        (key("attention.key_length"), count(spec.head_dim)?),
        (key("attention.value_length"), count(spec.head_dim)?),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(spec.norm_epsilon)),
        (key("rope.dimension_count"), count(spec.rope.dimensions)?),
        (key("rope.freq_base"), Value::F32(spec.rope.theta)),
        (key("vocab_size"), count(spec.vocabulary)?),
        ("tokenizer.ggml.model".to_owned(), Value::String("none".to_owned())),
    ])
}
