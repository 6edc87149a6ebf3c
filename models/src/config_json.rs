//! From a Hugging Face `config.json` to a [`DecoderSpec`]: the shape of a model without its weights.
//!
//! Names and defaults are those of the configuration classes of `transformers` (Apache-2.0). What this reader does not
//! model (mixtures of experts, latent attention, state spaces) is refused by name, so that no size is ever a guess.
//! `rope_scaling` changes no size and is not read.

use serde::Deserialize;

use crate::spec::{Activation, DecoderSpec, Rope, RopePairing, SlidingWindow};

/// Why a `config.json` gives no spec.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON, or a field of another type.
    #[error("line {line}, column {column}: {message}; expected a Hugging Face config.json")]
    Parse {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser found.
        message: String,
    },
    /// A family that we do not model.
    #[error("`model_type` is `{found}`, expected one of: {}", FAMILIES.join(", "))]
    Family {
        /// What it says.
        found: String,
    },
    /// A field is missing that the family needs.
    #[error("`{field}` is missing, expected {expected}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What it holds.
        expected: &'static str,
    },
    /// A trait that would make every size wrong.
    #[error("`{field}` is {value}: {what} is not modelled, and its sizes would be wrong")]
    Unmodelled {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it means.
        what: &'static str,
    },
    /// Numbers that no model can have.
    #[error("{0}")]
    Impossible(String),
}

/// `model_type`s that we model.
const FAMILIES: [&str; 7] = ["llama", "mistral", "qwen2", "qwen3", "gemma3_text", "gemma3", "phi3"];

#[derive(Debug, Deserialize)]
struct Config {
    model_type: Option<String>,
    #[serde(rename = "text_config")]
    text: Option<Box<Config>>,
    num_hidden_layers: Option<usize>,
    hidden_size: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f32>,
    rope_local_base_freq: Option<f32>,
    partial_rotary_factor: Option<f32>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    sliding_window_pattern: Option<usize>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    num_local_experts: Option<u64>,
    num_experts: Option<u64>,
    n_routed_experts: Option<u64>,
    kv_lora_rank: Option<u64>,
}

/// Reads a model's shape from the text of its `config.json`.
///
/// # Errors
/// [`ConfigError`] names the field, its value and what was expected.
pub fn spec_from_config_json(text: &str) -> Result<DecoderSpec, ConfigError> {
    let config: Config = serde_json::from_str(text).map_err(|error| {
        let (line, column, said) = (error.line(), error.column(), error.to_string());
        let message = said.rsplit_once(" at line ").map_or(said.clone(), |(head, _)| head.to_owned());
        ConfigError::Parse { line, column, message }
    })?;
    let spec = match config {
        // Models that also see pictures hold the language model's shape one level down.
        Config { model_type: Some(outer), text: Some(inner), .. } if outer == "gemma3" => {
            family_spec("gemma3_text", &inner)?
        }
        config => {
            let family = config.model_type.clone().ok_or(ConfigError::Missing {
                field: "model_type",
                expected: "the family's name, as `llama`",
            })?;
            family_spec(&family, &config)?
        }
    };
    spec.defect().map_or(Ok(spec), |defect| Err(ConfigError::Impossible(defect)))
}

fn family_spec(family: &str, config: &Config) -> Result<DecoderSpec, ConfigError> {
    refuse_unmodelled(config)?;
    if !FAMILIES.contains(&family) {
        return Err(ConfigError::Family { found: family.to_owned() });
    }
    let gemma = matches!(family, "gemma3_text" | "gemma3");
    let qwen = matches!(family, "qwen2" | "qwen3");
    let hidden = needed(config.hidden_size, "hidden_size", "the width of the residual stream")?;
    let heads = needed(config.num_attention_heads, "num_attention_heads", "the number of query heads")?;
    let default_head_dim = if gemma { Some(256) } else { hidden.checked_div(heads) };
    let head_dim = config.head_dim.or(default_head_dim).unwrap_or(0);
    let rotated =
        config.partial_rotary_factor.map_or(Some(head_dim), |share| rotated_values(head_dim, share));
    Ok(DecoderSpec {
        architecture: match family {
            "mistral" => "llama",
            "gemma3_text" | "gemma3" => "gemma3",
            other => other,
        }
        .to_owned(),
        layers: needed(config.num_hidden_layers, "num_hidden_layers", "the number of blocks")?,
        hidden,
        heads,
        kv_heads: config.num_key_value_heads.unwrap_or(heads),
        head_dim,
        feed_forward: needed(config.intermediate_size, "intermediate_size", "the width of the MLP")?,
        vocabulary: match config.vocab_size {
            Some(size) => size,
            // The published Gemma 3 configurations leave it to the class's default.
            None if gemma => 262_208,
            None => return Err(missing("vocab_size", "the rows of the embedding")),
        },
        context: match config.max_position_embeddings {
            Some(context) => context,
            None if gemma => 131_072,
            None => return Err(missing("max_position_embeddings", "the longest context, tokens")),
        },
        norm_epsilon: config.rms_norm_eps.unwrap_or(1e-6),
        rope: Rope {
            theta: config.rope_theta.unwrap_or(if gemma { 1_000_000.0 } else { 10_000.0 }),
            local_theta: gemma.then(|| config.rope_local_base_freq.unwrap_or(10_000.0)),
            linear_factor: None,
            dimensions: rotated.unwrap_or(0),
            // Checkpoints of this format hold rotated halves in every family; GGUF's writer permutes those of `llama`.
            pairing: RopePairing::Halves,
        },
        qkv_bias: family == "qwen2" || config.attention_bias == Some(true),
        qk_norm: family == "qwen3" || gemma,
        post_norms: gemma,
        fused_tensors: family == "phi3",
        tied_head: config.tie_word_embeddings.unwrap_or(gemma),
        sliding_window: window(config, gemma, qwen),
        activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
        scaled_embedding: gemma,
        attention_softcap: config.attn_logit_softcapping,
        logit_softcap: config.final_logit_softcapping,
    })
}

fn window(config: &Config, gemma: bool, qwen: bool) -> Option<SlidingWindow> {
    // Qwen writes a window into every file and switches it off.
    if qwen && config.use_sliding_window != Some(true) {
        return None;
    }
    let global_every = if gemma { config.sliding_window_pattern.unwrap_or(6) } else { 0 };
    config.sliding_window.map(|tokens| SlidingWindow { tokens, global_every })
}

fn rotated_values(head_dim: usize, share: f32) -> Option<usize> {
    // Heads are at most a few hundred wide, so a search in integers is exact and needs no narrowing cast.
    let wanted = f64::from(share) * head_dim as f64;
    (0..=head_dim.min(1 << 14)).rev().find(|n| *n as f64 <= wanted + 1e-6)
}

fn refuse_unmodelled(config: &Config) -> Result<(), ConfigError> {
    let experts = [
        ("num_local_experts", config.num_local_experts),
        ("num_experts", config.num_experts),
        ("n_routed_experts", config.n_routed_experts),
    ];
    for (field, value) in experts {
        if let Some(count) = value.filter(|count| *count > 1) {
            return Err(ConfigError::Unmodelled {
                field,
                value: count.to_string(),
                what: "a mixture of experts",
            });
        }
    }
    config.kv_lora_rank.map_or(Ok(()), |rank| {
        Err(ConfigError::Unmodelled {
            field: "kv_lora_rank",
            value: rank.to_string(),
            what: "latent attention",
        })
    })
}

fn missing(field: &'static str, expected: &'static str) -> ConfigError {
    ConfigError::Missing { field, expected }
}

fn needed(value: Option<usize>, field: &'static str, expected: &'static str) -> Result<usize, ConfigError> {
    value.ok_or_else(|| missing(field, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size-bearing fields of eight published configurations, with parameters and 16-bit KV bytes a token worked by
    /// hand: KV is 2 (keys, values) x layers x KV heads x head width x 2 bytes.
    #[test]
    fn eight_well_known_models_have_their_published_sizes() {
        let cases = [
            // Llama-2-7B: multi-head. 2 x 32 x 32 x 128 x 2.
            (
                r#"{"model_type":"llama","hidden_size":4096,"num_hidden_layers":32,"num_attention_heads":32,
                "num_key_value_heads":32,"intermediate_size":11008,"vocab_size":32000,"max_position_embeddings":4096}"#,
                6_738_415_616,
                524_288,
            ),
            // Llama-3.1-8B. 2 x 32 x 8 x 128 x 2.
            (
                r#"{"model_type":"llama","hidden_size":4096,"num_hidden_layers":32,"num_attention_heads":32,
                "num_key_value_heads":8,"intermediate_size":14336,"vocab_size":128256,
                "max_position_embeddings":131072,"rope_theta":500000.0,"tie_word_embeddings":false}"#,
                8_030_261_248,
                131_072,
            ),
            // Llama-3.1-70B. 2 x 80 x 8 x 128 x 2.
            (
                r#"{"model_type":"llama","hidden_size":8192,"num_hidden_layers":80,"num_attention_heads":64,
                "num_key_value_heads":8,"intermediate_size":28672,"vocab_size":128256,"max_position_embeddings":131072}"#,
                70_553_706_496,
                327_680,
            ),
            // Mistral-7B-v0.1. 2 x 32 x 8 x 128 x 2.
            (
                r#"{"model_type":"mistral","hidden_size":4096,"num_hidden_layers":32,"num_attention_heads":32,
                "num_key_value_heads":8,"intermediate_size":14336,"vocab_size":32000,"max_position_embeddings":32768,
                "sliding_window":4096}"#,
                7_241_732_096,
                131_072,
            ),
            // Qwen2.5-7B: biases on q, k, v. 2 x 28 x 4 x 128 x 2.
            (
                r#"{"model_type":"qwen2","hidden_size":3584,"num_hidden_layers":28,"num_attention_heads":28,
                "num_key_value_heads":4,"intermediate_size":18944,"vocab_size":152064,"max_position_embeddings":131072,
                "sliding_window":131072,"use_sliding_window":false,"tie_word_embeddings":false}"#,
                7_615_616_512,
                57_344,
            ),
            // Qwen3-8B: norms on q and k. 2 x 36 x 8 x 128 x 2.
            (
                r#"{"model_type":"qwen3","hidden_size":4096,"num_hidden_layers":36,"num_attention_heads":32,
                "num_key_value_heads":8,"head_dim":128,"intermediate_size":12288,"vocab_size":151936,
                "max_position_embeddings":40960,"tie_word_embeddings":false}"#,
                8_190_735_360,
                147_456,
            ),
            // Gemma-3-1B: tied, heads of 256, four norms a block. 2 x 26 x 1 x 256 x 2.
            (
                r#"{"model_type":"gemma3_text","hidden_size":1152,"num_hidden_layers":26,"num_attention_heads":4,
                "num_key_value_heads":1,"head_dim":256,"intermediate_size":6912,"vocab_size":262144,
                "max_position_embeddings":32768,"sliding_window":512,"sliding_window_pattern":6}"#,
                999_885_952,
                26_624,
            ),
            // Phi-3-mini: fused projections. 2 x 32 x 32 x 96 x 2.
            (
                r#"{"model_type":"phi3","hidden_size":3072,"num_hidden_layers":32,"num_attention_heads":32,
                "num_key_value_heads":32,"intermediate_size":8192,"vocab_size":32064,"max_position_embeddings":4096,
                "sliding_window":2047}"#,
                3_821_079_552,
                393_216,
            ),
        ];
        for (text, parameters, kv_bytes) in cases {
            let spec = spec_from_config_json(text).unwrap();
            assert_eq!(spec.parameters(), parameters, "{text}");
            assert_eq!(spec.kv_bytes_per_token(2), kv_bytes, "{text}");
        }
    }

    #[test]
    fn what_is_not_modelled_is_refused_by_name() {
        let said = |text: &str| spec_from_config_json(text).unwrap_err().to_string();
        assert!(said("{\"model_type\":\"llama\"}").starts_with("`hidden_size` is missing"));
        assert!(
            said("{\"model_type\":\"mamba\"}").starts_with("`model_type` is `mamba`, expected one of: llama")
        );
        assert!(
            said("{\"model_type\":\"mixtral\",\"num_local_experts\":8}").contains("a mixture of experts")
        );
        assert!(said("{\"model_type\":\"deepseek_v3\",\"kv_lora_rank\":512}").contains("latent attention"));
        assert!(said("{\"hidden_size\":-1}").starts_with("line 1, column 17: invalid value"));
        assert!(said("{").contains("expected a Hugging Face config.json"));
        let zero = r#"{"model_type":"llama","hidden_size":64,"num_hidden_layers":0,"num_attention_heads":4,
            "intermediate_size":64,"vocab_size":10,"max_position_embeddings":8}"#;
        assert!(said(zero).starts_with("layers is 0"));
    }

    #[test]
    fn every_built_in_shape_agrees_with_its_configuration() {
        let text = r#"{"model_type":"llama","hidden_size":576,"num_hidden_layers":30,"num_attention_heads":9,
            "num_key_value_heads":3,"intermediate_size":1536,"vocab_size":49152,"max_position_embeddings":8192,
            "tie_word_embeddings":true}"#;
        let spec = spec_from_config_json(text).unwrap();
        let built_in = crate::registry::find(crate::registry::DEFAULT_MODEL).unwrap().spec;
        assert_eq!(spec.tensors(), built_in.tensors());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[-a-z0-9_{}\",:.\\[\\] ]{0,200}", layers in 0_u64..u64::MAX) {
            drop(spec_from_config_json(&text));
            let absurd = format!("{{\"model_type\":\"llama\",\"hidden_size\":{layers},\"num_hidden_layers\":{layers},\
                \"num_attention_heads\":{layers},\"intermediate_size\":1,\"vocab_size\":1,\"max_position_embeddings\":1}}");
            drop(spec_from_config_json(&absurd));
        }
    }
}
