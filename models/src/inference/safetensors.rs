//! Weights as Hugging Face stores them: `*.safetensors` (f32, f16, bf16), one file or several, tensors by their names
//! there. The header is read and checked first; a tensor's bytes are read when a decoder asks for it.
//!
//! Format: <https://github.com/huggingface/safetensors> (8 bytes of length, a JSON header, the data without gaps).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use serde::Deserialize;

use super::load::LoadError;
use super::tensors::{RawTensor, TensorSource};
use crate::spec::{DecoderSpec, TensorSpec};

/// The reference implementation's own bound.
const MOST_HEADER_BYTES: u64 = 100_000_000;
/// GGUF's name of the factors that Llama 3 divides its rotary frequencies by.
const ROPE_FACTORS: &str = "rope_freqs.weight";

#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Where a tensor lies.
#[derive(Debug)]
struct Place {
    file: usize,
    dtype: GgmlDType,
    dims: Vec<usize>,
    offset: u64,
    bytes: u64,
}

/// Tensors of one model, under the names that GGUF gives them.
#[derive(Debug)]
pub(crate) struct SafeTensors {
    files: Vec<(PathBuf, File)>,
    places: HashMap<String, Place>,
    /// Norm weights are stored less 1 (Gemma).
    norms_less_one: bool,
    rope_factors: Option<Vec<f32>>,
}

fn fault(path: &Path, fault: String) -> LoadError {
    LoadError::Weights { path: path.to_owned(), fault }
}

/// Reads the header of one file; `file` is its index among the model's.
fn read_header(path: &Path, opened: &mut File, file: usize) -> Result<HashMap<String, Place>, LoadError> {
    let read = |source| LoadError::Read { path: path.to_owned(), source };
    let wrong = |text: String| fault(path, text);
    let total = opened.metadata().map_err(read)?.len();
    let mut length = [0; 8];
    opened.read_exact(&mut length).map_err(read)?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER_BYTES || length.saturating_add(8) > total {
        return Err(wrong(format!("the header has {length} bytes by its own word, the file {total}")));
    }
    let mut text = Vec::new();
    opened.by_ref().take(length).read_to_end(&mut text).map_err(read)?;
    let header: HashMap<String, serde_json::Value> =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("the header is not JSON: {error}")))?;
    let mut entries = Vec::new();
    for (name, value) in header {
        if name == "__metadata__" {
            continue;
        }
        let entry: Entry =
            serde_json::from_value(value).map_err(|error| wrong(format!("tensor `{name}`: {error}")))?;
        entries.push((name, entry));
    }
    entries.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
    let mut end = 0;
    let mut places = HashMap::new();
    for (name, entry) in entries {
        let Entry { dtype, shape, data_offsets: [first, last] } = entry;
        if first != end || last < first {
            return Err(wrong(format!("`{name}` is at {first}..{last}, expected it to begin at {end}")));
        }
        end = last;
        let (dtype, width) = match dtype.as_str() {
            "F32" => (GgmlDType::F32, 4),
            "F16" => (GgmlDType::F16, 2),
            "BF16" => (GgmlDType::BF16, 2),
            other => return Err(wrong(format!("`{name}` is {other}, expected F32, F16 or BF16"))),
        };
        let bytes = shape.iter().try_fold(width, |bytes: u64, dim| bytes.checked_mul(*dim));
        if bytes != Some(last - first) {
            return Err(wrong(format!("`{name}` of shape {shape:?} has {} bytes", last - first)));
        }
        let dims = shape.iter().map(|dim| usize::try_from(*dim)).collect::<Result<Vec<_>, _>>();
        let dims = dims.map_err(|_| wrong(format!("`{name}` of shape {shape:?} is too large")))?;
        places.insert(name, Place { file, dtype, dims, offset: 8 + length + first, bytes: last - first });
    }
    if 8 + length + end != total {
        return Err(wrong(format!("it has {total} bytes, expected {} for its tensors", 8 + length + end)));
    }
    Ok(places)
}

/// The name that Hugging Face's implementation of the family gives a tensor.
fn hub_name(spec: &DecoderSpec, name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        "output.weight" => return Some("lm_head.weight".to_owned()),
        _ => {}
    }
    let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = part.rsplit_once('.')?;
    let there = match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_qkv" => "self_attn.qkv_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" if spec.post_norms => "pre_feedforward_layernorm",
        "post_attention_norm" | "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" if spec.fused_tensors => "mlp.gate_up_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        "post_ffw_norm" => "post_feedforward_layernorm",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{there}.{kind}"))
}

impl SafeTensors {
    /// Opens a model's files and holds every tensor that the spec wants against them, and the other way round: a tensor
    /// that the decoder would not use is an error, since answers without it would be wrong.
    pub(crate) fn open(
        paths: Vec<PathBuf>,
        spec: &DecoderSpec,
        rope_factors: Option<Vec<f32>>,
    ) -> Result<Self, LoadError> {
        let mut found = HashMap::new();
        let mut files = Vec::new();
        for path in paths {
            let mut file =
                File::open(&path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
            for (name, place) in read_header(&path, &mut file, files.len())? {
                // Gemma 3 that also sees pictures holds its text model one level down.
                let name = name.strip_prefix("language_model.").map(str::to_owned).unwrap_or(name);
                if found.insert(name.clone(), place).is_some() {
                    return Err(fault(&path, format!("`{name}` is there twice")));
                }
            }
            files.push((path, file));
        }
        let shown = files.first().map_or_else(PathBuf::new, |(path, _)| path.clone());
        let mut places = HashMap::new();
        for tensor in spec.tensors() {
            let there = hub_name(spec, &tensor.name).unwrap_or_default();
            let place =
                found.remove(&there).ok_or_else(|| fault(&shown, format!("tensor `{there}` is missing")))?;
            if place.dims != dims_of(&tensor) {
                let expected = dims_of(&tensor);
                return Err(fault(&shown, format!("`{there}` is {:?}, expected {expected:?}", place.dims)));
            }
            places.insert(tensor.name, place);
        }
        let of_no_use = |name: &str| {
            name.ends_with("rotary_emb.inv_freq")
                || (spec.tied_head && name == "lm_head.weight")
                || ["vision_tower.", "multi_modal_projector."].iter().any(|part| name.starts_with(part))
        };
        let rest: HashSet<&str> = found.keys().map(String::as_str).filter(|name| !of_no_use(name)).collect();
        if let Some(name) = rest.iter().min() {
            let text = format!(
                "tensor `{name}` and {} more are not part of a {}",
                rest.len() - 1,
                spec.architecture
            );
            return Err(fault(&shown, text));
        }
        Ok(Self { files, places, norms_less_one: spec.architecture == "gemma3", rope_factors })
    }
}

fn dims_of(tensor: &TensorSpec) -> Vec<usize> {
    tensor.rows.into_iter().chain([tensor.columns]).collect()
}

impl TensorSource for SafeTensors {
    fn read(&mut self, name: &str) -> Result<RawTensor, LoadError> {
        if let (ROPE_FACTORS, Some(factors)) = (name, &self.rope_factors) {
            let bytes = factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
            return Ok(RawTensor { dtype: GgmlDType::F32, dims: vec![factors.len()], bytes });
        }
        let place = self
            .places
            .get(name)
            .ok_or_else(|| LoadError::Unsuitable(format!("the model has no tensor `{name}`")))?;
        let Some((path, file)) = self.files.get_mut(place.file) else {
            return Err(LoadError::Unsuitable(format!("`{name}` is in a file that was not opened")));
        };
        // The length was checked against the file's when it was opened.
        let mut bytes = vec![0; usize::try_from(place.bytes).unwrap_or(0)];
        file.seek(SeekFrom::Start(place.offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| LoadError::Read { path: path.clone(), source })?;
        let raw = RawTensor { dtype: place.dtype, dims: place.dims.clone(), bytes };
        if self.norms_less_one && name.ends_with("norm.weight") {
            let dims = raw.dims.clone();
            let values = raw.into_f32(name)?;
            let bytes = values.into_iter().flat_map(|value| (value + 1.0).to_le_bytes()).collect();
            return Ok(RawTensor { dtype: GgmlDType::F32, dims, bytes });
        }
        Ok(raw)
    }

    fn has(&self, name: &str) -> bool {
        self.places.contains_key(name) || (name == ROPE_FACTORS && self.rope_factors.is_some())
    }

    fn total_bytes(&self) -> u64 {
        self.places.values().map(|place| place.bytes).sum()
    }

    fn dominant_type(&self) -> GgmlDType {
        let most = self.places.values().max_by_key(|place| place.bytes);
        most.map_or(GgmlDType::F32, |place| place.dtype)
    }
}
