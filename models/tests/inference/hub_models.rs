//! Small random models in the hub's layout, each with candle-transformers' own implementation of its family, which also names the tensors.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use candle_transformers::models::{gemma3, llama, mistral, phi3, qwen2, qwen3};
use serde_json::{Value, json};

pub(crate) const VOCABULARY: usize = 320;

pub(crate) type Forward = Box<dyn FnMut(&Tensor, usize) -> Result<Tensor>>;

pub(crate) fn config(family: &str) -> Value {
    let mut config = json!({
        "model_type": family, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false,
    });
    let more = match family {
        // Short enough a context that all three cases of the scaling occur.
        "llama" => json!({ "rope_scaling": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64 } }),
        "qwen2" => json!({ "tie_word_embeddings": true, "sliding_window": 64, "max_window_layers": 2,
            "use_sliding_window": false }),
        "qwen3" => json!({ "head_dim": 32, "attention_bias": false, "max_window_layers": 2,
            "use_sliding_window": false }),
        "gemma3_text" => {
            json!({ "head_dim": 16, "attention_bias": false, "hidden_activation": "gelu_pytorch_tanh",
            "hidden_act": null, "num_hidden_layers": 7, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
            "query_pre_attn_scalar": 16, "sliding_window": 64, "sliding_window_pattern": 6,
            "tie_word_embeddings": true })
        }
        "phi3" => json!({ "head_dim": null }),
        _ => json!({}),
    };
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn reference(family: &str, weights: VarBuilder<'_>) -> Forward {
    let config = config(family);
    match family {
        "llama" => {
            let config: llama::LlamaConfig = serde_json::from_value(config).unwrap();
            let config = config.into_config(false);
            let mut cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
            let model = llama::Llama::load(weights, &config).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at, &mut cache))
        }
        "mistral" => {
            let mut model = mistral::Model::new(&serde_json::from_value(config).unwrap(), weights).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen2" => {
            let config = serde_json::from_value(config).unwrap();
            let mut model = qwen2::ModelForCausalLM::new(&config, weights).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen3" => {
            let config = serde_json::from_value(config).unwrap();
            let mut model = qwen3::ModelForCausalLM::new(&config, weights).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "gemma3_text" => {
            let mut model =
                gemma3::Model::new(false, &serde_json::from_value(config).unwrap(), weights).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        _ => {
            let mut model = phi3::Model::new(&serde_json::from_value(config).unwrap(), weights).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
    }
}

/// A byte-level tokenizer without merges: a token a byte.
fn tokenizer() -> Value {
    let printable = (0x21..=0x7e).chain(0xa1..=0xac).chain(0xae..=0xff).chain(0x100..0x100 + 68);
    let vocabulary: HashMap<String, usize> =
        printable.map(|code| char::from_u32(code).unwrap().to_string()).zip(0..).collect();
    let bytes =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{ "id": 256, "content": "<|im_end|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true }],
        "pre_tokenizer": bytes, "decoder": bytes,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": [] },
    })
}

/// Writes a random model of a family as the hub would hold it, and gives candle's own implementation of it on the same
/// weights in f32 (all of them values that `dtype` holds exactly).
pub(crate) fn write(folder: &Path, family: &str, dtype: DType, shards: usize) -> Forward {
    let map = VarMap::new();
    drop(reference(family, VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu)));
    let mut parts: Vec<HashMap<String, Tensor>> = vec![HashMap::new(); shards];
    let mut names: Vec<String> = map.data().lock().unwrap().keys().cloned().collect();
    names.sort();
    let mut weight_map = serde_json::Map::new();
    for (index, name) in names.iter().enumerate() {
        let data = map.data().lock().unwrap();
        let variable = &data[name];
        let (centre, spread) = match name.contains("norm") {
            true if family == "gemma3_text" => (0.0, 0.1),
            true => (1.0, 0.1),
            false => (0.0, 0.15),
        };
        // A fixed sequence: candle has no seed for the processor.
        let count = variable.elem_count();
        let values: Vec<f32> = (0..count)
            .map(|at| {
                let drawn = (at as u64 + 1 + index as u64 * 7_919).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                centre + spread * 2.0 * ((drawn >> 40) as f32 / (1u64 << 24) as f32 - 0.5)
            })
            .collect();
        let exact =
            Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        variable.set(&exact.to_dtype(DType::F32).unwrap()).unwrap();
        let part = index % shards;
        weight_map.insert(name.clone(), json!(format!("model-{part}.safetensors")));
        parts[part].insert(name.clone(), exact);
    }
    for (index, part) in parts.iter().enumerate() {
        let name =
            if shards == 1 { "model.safetensors".to_owned() } else { format!("model-{index}.safetensors") };
        candle_core::safetensors::save(part, folder.join(name)).unwrap();
    }
    if shards > 1 {
        let index = json!({ "metadata": {}, "weight_map": weight_map });
        fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }
    fs::write(folder.join("config.json"), config(family).to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    let template = "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if loop.first and m.role == 'system' %}\
        {{ m.content | trim }}{% else %}{{ m.content.strip() }}{% endif %}{{ eos_token }}{% endfor %}";
    fs::write(folder.join("chat_template.jinja"), template).unwrap();
    let settings = json!({ "eos_token": { "content": "<|im_end|>" } });
    fs::write(folder.join("tokenizer_config.json"), settings.to_string()).unwrap();
    reference(family, VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))
}
