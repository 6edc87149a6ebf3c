//! A folder as the Hugging Face hub lays models out: `config.json`, `*.safetensors`, `tokenizer.json`,
//! `tokenizer_config.json`, `generation_config.json`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::chat::ChatTemplate;
use super::load::{LoadError, LoadedModel};
use super::safetensors::SafeTensors;
use super::tokenizer::TextCodec;
use crate::config_json::spec_from_config_json;
use crate::facts::WeightsOrigin;
use crate::spec::{Activation, DecoderSpec};

/// Larger side files are not what they are said to be; real tokenizers take some 30 MB.
const MOST_SIDE_BYTES: u64 = 200 << 20;

fn fault(path: &Path, text: impl Into<String>) -> LoadError {
    LoadError::Weights { path: path.to_owned(), fault: text.into() }
}

fn text(path: &Path) -> Result<String, LoadError> {
    let read = |source| LoadError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(read)?;
    let mut text = String::new();
    file.take(MOST_SIDE_BYTES).read_to_string(&mut text).map_err(read)?;
    Ok(text)
}

fn json(path: &Path) -> Result<Value, LoadError> {
    serde_json::from_str(&text(path)?).map_err(|error| fault(path, error.to_string()))
}

/// A file that may be absent.
fn json_if(path: &Path) -> Result<Value, LoadError> {
    if path.is_file() { json(path) } else { Ok(Value::Null) }
}

/// The weights files of a folder: those the index names, else the one there is.
pub(crate) fn weights_files(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let index = folder.join("model.safetensors.index.json");
    if !index.is_file() {
        return Ok(vec![folder.join("model.safetensors")]);
    }
    let names = json(&index)?;
    let names: BTreeSet<&str> = names
        .get("weight_map")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.values().filter_map(Value::as_str))
        .collect();
    if names.is_empty() {
        return Err(fault(&index, "`weight_map` is missing or empty"));
    }
    let inside = |name: &&str| Path::new(name).components().count() == 1 && !name.starts_with("..");
    match names.iter().find(|name| !inside(name)) {
        Some(name) => Err(fault(&index, format!("`{name}` is not a file beside the index"))),
        None => Ok(names.into_iter().map(|name| folder.join(name)).collect()),
    }
}

impl LoadedModel {
    /// Opens a folder of the hub's layout: configuration, headers, shapes and tokenizer are checked, weights stay on disk.
    ///
    /// # Errors
    /// [`LoadError`] names the file and what is wrong with it. A rotary scaling other than `linear` and `llama3` is refused.
    pub fn open_folder(folder: &Path, name: &str, source: &str, sha256: &str) -> Result<Self, LoadError> {
        let path = folder.join("config.json");
        let config_text = text(&path)?;
        let mut spec =
            spec_from_config_json(&config_text).map_err(|error| fault(&path, error.to_string()))?;
        let mut config: Value =
            serde_json::from_str(&config_text).map_err(|error| fault(&path, error.to_string()))?;
        if let Some(inner) = config.get_mut("text_config") {
            config = inner.take();
        }
        refuse_what_would_be_ignored(&config, &spec).map_err(|text| fault(&path, text))?;
        let factors = rope_scaling(&config, &mut spec).map_err(|text| fault(&path, text))?;
        if let Some(defect) = spec.defect() {
            return Err(fault(&path, defect));
        }
        let tensors = SafeTensors::open(weights_files(folder)?, &spec, factors)?;
        let settings = json_if(&folder.join("tokenizer_config.json"))?;
        let generation = json_if(&folder.join("generation_config.json"))?;
        let mut stops = ids(&generation, "eos_token_id");
        stops.extend(ids(&config, "eos_token_id"));
        let path = folder.join("tokenizer.json");
        let codec = TextCodec::from_tokenizer_json(&text(&path)?, spec.vocabulary, &stops)
            .map_err(|text| fault(&path, text))?;
        Ok(Self {
            name: name.to_owned(),
            origin: WeightsOrigin::File { source: source.to_owned(), sha256: sha256.to_owned() },
            codec,
            template: template(folder, &settings)?,
            tensors: Box::new(tensors),
            spec,
        })
    }
}

/// One id or several.
fn ids(value: &Value, key: &str) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value.get(key) {
        Some(Value::Array(several)) => several.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// What changes answers and is not part of a [`DecoderSpec`].
fn refuse_what_would_be_ignored(config: &Value, spec: &DecoderSpec) -> Result<(), String> {
    let expected = match spec.activation {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
    };
    for key in ["hidden_act", "hidden_activation"] {
        if let Some(found) = config.get(key).and_then(Value::as_str)
            && found != expected
            && !(spec.activation == Activation::Silu && found == "swish")
        {
            return Err(format!("`{key}` is `{found}`, expected `{expected}`"));
        }
    }
    if spec.architecture.starts_with("qwen") && spec.sliding_window.is_some() {
        return Err("`use_sliding_window` is true: windows of this family are not supported".to_owned());
    }
    if let Some(scalar) = config.get("query_pre_attn_scalar").and_then(Value::as_f64)
        && (scalar - spec.head_dim as f64).abs() > 0.5
    {
        return Err(format!(
            "`query_pre_attn_scalar` is {scalar}, expected the head width {}",
            spec.head_dim
        ));
    }
    if config.get("rope_parameters").is_some_and(|value| !value.is_null()) {
        return Err("`rope_parameters` is not read yet, expected `rope_theta` and `rope_scaling`".to_owned());
    }
    Ok(())
}

/// Applies `rope_scaling`: `linear` to the spec; of `llama3` the factor of each frequency
/// (`transformers`, `_compute_llama3_parameters`).
fn rope_scaling(config: &Value, spec: &mut DecoderSpec) -> Result<Option<Vec<f32>>, String> {
    let Some(scaling) = config.get("rope_scaling").filter(|value| !value.is_null()) else { return Ok(None) };
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Value::as_str);
    let number = |key: &str| {
        let value = scaling.get(key).and_then(Value::as_f64).filter(|value| *value > 0.0);
        value.ok_or_else(|| format!("`rope_scaling.{key}` is missing, expected a number above 0"))
    };
    match kind {
        Some("default") => Ok(None),
        Some("linear") => {
            spec.rope.linear_factor = Some(narrow(number("factor")?));
            Ok(None)
        }
        Some("llama3") => {
            let factor = number("factor")?;
            let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
            let context = number("original_max_position_embeddings")?;
            let width = spec.rope.dimensions;
            let factors = (0..width / 2).map(|pair| {
                let exponent = (2 * pair) as f64 / width as f64;
                let wave_length = std::f64::consts::TAU * f64::from(spec.rope.theta).powf(exponent);
                if wave_length < context / high {
                    1.0
                } else if wave_length > context / low {
                    factor
                } else {
                    let smooth = (context / wave_length - low) / (high - low);
                    1.0 / ((1.0 - smooth) / factor + smooth)
                }
            });
            Ok(Some(factors.map(narrow).collect()))
        }
        other => Err(format!(
            "`rope_scaling` is of type `{}`, expected default, linear or llama3",
            other.unwrap_or("(none)")
        )),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "model constants are f32 in every implementation")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// The model's own chat template: a file of its own, or part of the tokenizer's configuration.
fn template(folder: &Path, settings: &Value) -> Result<Option<ChatTemplate>, LoadError> {
    let path = folder.join("chat_template.jinja");
    let (path, source) = if path.is_file() {
        let source = text(&path)?;
        (path, source)
    } else {
        let named_default = |several: &Vec<Value>| {
            let entry =
                several.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))?;
            entry.get("template")?.as_str().map(str::to_owned)
        };
        let source = match settings.get("chat_template") {
            Some(Value::String(source)) => Some(source.clone()),
            Some(Value::Array(several)) => named_default(several),
            _ => None,
        };
        let Some(source) = source else { return Ok(None) };
        (folder.join("tokenizer_config.json"), source)
    };
    // A token is a text, or an object with the text in `content`.
    let token = |key: &str| {
        let value = settings.get(key)?;
        value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
    };
    let (bos, eos) = (token("bos_token").unwrap_or_default(), token("eos_token").unwrap_or_default());
    ChatTemplate::new(&source, bos, eos)
        .map(Some)
        .map_err(|error| fault(&path, format!("the chat template does not parse: {error}")))
}
