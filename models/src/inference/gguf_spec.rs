//! From a GGUF header to a [`DecoderSpec`], with every tensor's presence and shape checked before any
//! weight is read.

use super::gguf::Header;
use super::load::LoadError;
use crate::spec::{Activation, DecoderSpec, Rope, RopePairing, SlidingWindow};

/// Families this engine runs, and in what they differ.
#[expect(clippy::struct_excessive_bools, reason = "each is an independent trait of a family")]
struct Family {
    architecture: &'static str,
    pairing: RopePairing,
    default_theta: f64,
    activation: Activation,
    qkv_bias: bool,
    qk_norm: bool,
    post_norms: bool,
    fused_tensors: bool,
    scaled_embedding: bool,
    /// Every n-th layer is global, where the file names a window.
    global_every: usize,
    local_theta: Option<f64>,
}

const LLAMA: Family = Family {
    architecture: "llama",
    pairing: RopePairing::Interleaved,
    default_theta: 10_000.0,
    activation: Activation::Silu,
    qkv_bias: false,
    qk_norm: false,
    post_norms: false,
    fused_tensors: false,
    scaled_embedding: false,
    global_every: 0,
    local_theta: None,
};

const FAMILIES: [Family; 5] = [
    LLAMA,
    Family { architecture: "qwen2", pairing: RopePairing::Halves, qkv_bias: true, ..LLAMA },
    Family { architecture: "qwen3", pairing: RopePairing::Halves, qk_norm: true, ..LLAMA },
    Family {
        architecture: "gemma3",
        pairing: RopePairing::Halves,
        default_theta: 1_000_000.0,
        activation: Activation::GeluTanh,
        qk_norm: true,
        post_norms: true,
        scaled_embedding: true,
        global_every: 6,
        local_theta: Some(10_000.0),
        ..LLAMA
    },
    Family { architecture: "phi3", pairing: RopePairing::Halves, fused_tensors: true, ..LLAMA },
];

struct Keys<'a> {
    header: &'a Header,
    architecture: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn count(&self, name: &str) -> Result<Option<usize>, LoadError> {
        let key = self.key(name);
        self.header
            .unsigned(&key)?
            .map(|value| {
                usize::try_from(value)
                    .map_err(|_| self.header.fault(format!("`{key}` is {value}, out of range")))
            })
            .transpose()
    }

    fn needed(&self, name: &str) -> Result<usize, LoadError> {
        self.count(name)?.ok_or_else(|| self.header.fault(format!("`{}` is missing", self.key(name))))
    }

    fn float(&self, name: &str) -> Result<Option<f64>, LoadError> {
        self.header.float(&self.key(name))
    }
}

/// Reads the spec from the metadata and checks every tensor against it.
pub fn spec(header: &Header) -> Result<DecoderSpec, LoadError> {
    let architecture = header
        .text("general.architecture")?
        .ok_or_else(|| header.fault("`general.architecture` is missing"))?;
    let Some(family) = FAMILIES.iter().find(|family| family.architecture == architecture) else {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.architecture).collect();
        return Err(
            header.fault(format!("architecture is `{architecture}`, expected one of {}", known.join(", ")))
        );
    };
    if header.unsigned("split.count")?.is_some_and(|count| count > 1) {
        return Err(header.fault("it is one part of a split model, expected a single file"));
    }
    let keys = Keys { header, architecture };
    if keys.count("expert_count")?.is_some_and(|count| count > 1) {
        return Err(header.fault("it is a mixture of experts, expected a dense model"));
    }
    let heads = keys.needed("attention.head_count")?;
    let hidden = keys.needed("embedding_length")?;
    let head_dim = match keys.count("attention.key_length")? {
        Some(width) => width,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    if let Some(width) = keys.count("attention.value_length")?
        && width != head_dim
    {
        return Err(header.fault(format!("values are {width} wide and keys {head_dim}, expected the same")));
    }
    let embedding = header
        .tensors
        .get("token_embd.weight")
        .ok_or_else(|| header.fault("tensor `token_embd.weight` is missing"))?;
    let linear_factor = linear_factor(&keys)?;
    let window = keys.count("attention.sliding_window")?.filter(|tokens| *tokens > 0);
    let spec = DecoderSpec {
        architecture: architecture.to_owned(),
        layers: keys.needed("block_count")?,
        hidden,
        heads,
        kv_heads: keys.count("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        feed_forward: keys.needed("feed_forward_length")?,
        vocabulary: embedding.dims.first().copied().unwrap_or(0),
        context: keys.needed("context_length")?,
        norm_epsilon: narrow(keys.float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5)),
        rope: Rope {
            theta: narrow(keys.float("rope.freq_base")?.unwrap_or(family.default_theta)),
            local_theta: keys.float("rope.local_freq_base")?.or(family.local_theta).map(narrow),
            linear_factor,
            dimensions: keys.count("rope.dimension_count")?.unwrap_or(head_dim),
            pairing: family.pairing,
        },
        qkv_bias: family.qkv_bias,
        qk_norm: family.qk_norm,
        post_norms: family.post_norms,
        fused_tensors: family.fused_tensors,
        tied_head: !header.tensors.contains_key("output.weight"),
        sliding_window: window
            .map(|tokens| -> Result<SlidingWindow, LoadError> {
                let every = keys.count("attention.sliding_window_type")?;
                Ok(SlidingWindow { tokens, global_every: every.unwrap_or(family.global_every) })
            })
            .transpose()?,
        activation: family.activation,
        scaled_embedding: family.scaled_embedding,
        attention_softcap: keys.float("attn_logit_softcapping")?.map(narrow),
        logit_softcap: keys.float("final_logit_softcapping")?.map(narrow),
    };
    if let Some(defect) = spec.defect() {
        return Err(header.fault(defect));
    }
    check_tensors(header, &spec)?;
    Ok(spec)
}

/// What positions are divided by; scalings this engine does not apply are refused, since they change every answer.
fn linear_factor(keys: &Keys<'_>) -> Result<Option<f32>, LoadError> {
    let header = keys.header;
    let scaling = keys.key("rope.scaling.type");
    // Files from before there were types have one key.
    let legacy = keys.float("rope.scale_linear")?.filter(|factor| (*factor - 1.0).abs() > f64::EPSILON);
    let factor = match header.text(&scaling)? {
        None | Some("none") => legacy,
        Some("linear") => match keys.float("rope.scaling.factor")? {
            None => {
                return Err(
                    header.fault(format!("`{scaling}` is `linear`, but `rope.scaling.factor` is missing"))
                );
            }
            factor => factor,
        },
        Some(kind) => {
            return Err(header.fault(format!(
                "`{scaling}` is `{kind}`, expected `none` or `linear` (Llama 3's scaling comes as a tensor and is \
                 applied); use a file without it"
            )));
        }
    };
    Ok(factor.map(narrow))
}

#[expect(clippy::cast_possible_truncation, reason = "model constants are f32 in every implementation")]
fn narrow(value: f64) -> f32 {
    value as f32
}

fn check_tensors(header: &Header, spec: &DecoderSpec) -> Result<(), LoadError> {
    for tensor in spec.tensors() {
        let info = header
            .tensors
            .get(&tensor.name)
            .ok_or_else(|| header.fault(format!("tensor `{}` is missing", tensor.name)))?;
        let expected: Vec<usize> = tensor.rows.into_iter().chain([tensor.columns]).collect();
        if info.dims != expected {
            return Err(header.fault(format!(
                "tensor `{}` has shape {:?}, expected {expected:?}",
                tensor.name, info.dims
            )));
        }
    }
    if let Some(factors) = header.tensors.get("rope_freqs.weight")
        && factors.dims != [spec.rope.dimensions / 2]
    {
        return Err(header.fault(format!(
            "tensor `rope_freqs.weight` has shape {:?}, expected [{}]",
            factors.dims,
            spec.rope.dimensions / 2
        )));
    }
    Ok(())
}
