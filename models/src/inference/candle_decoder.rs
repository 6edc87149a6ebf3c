//! The decoder on candle tensors: the path for GPUs, and the reference that the packed CPU path must match.
//!
//! All tokens of a step go through each projection together as one [tokens, hidden] matrix; attention runs
//! sequence by sequence over its KV slot.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{D, Device, Module, Tensor};

use super::batch::{Decoder, RopeTable, Run, SlotShape, StepBatch, StepError, check_copy, rope_factors};
use super::load::LoadError;
use super::tensors::TensorSource;
use crate::spec::{Activation, DecoderSpec, RopePairing};

struct Layer {
    attention_norm: Tensor,
    query: QMatMul,
    key: QMatMul,
    value: QMatMul,
    /// Fused query, key and value in one (Phi-3): then `key` and `value` are unused.
    biases: Option<[Tensor; 3]>,
    head_norms: Option<[Tensor; 2]>,
    output: QMatMul,
    post_attention_norm: Option<Tensor>,
    feed_forward_norm: Tensor,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
    post_feed_forward_norm: Option<Tensor>,
    /// Keys and values of every slot: [kv heads, slot tokens, head width] each.
    slots: Vec<(Tensor, Tensor)>,
    window: Option<usize>,
    local_rope: bool,
}

struct Rope {
    cos: Tensor,
    sin: Tensor,
}

/// Where reads go: one tensor at a time, straight to the device.
struct Loader<'a> {
    tensors: &'a mut dyn TensorSource,
    device: &'a Device,
}

impl Loader<'_> {
    fn quantized(&mut self, name: &str) -> Result<Arc<QTensor>, LoadError> {
        Ok(Arc::new(self.tensors.read(name)?.into_qtensor(name, self.device)?))
    }

    fn product(&mut self, name: &str) -> Result<QMatMul, LoadError> {
        let tensor = self.quantized(name)?;
        matmul(name, tensor)
    }

    /// Rows `start..start + count` of a fused matrix as a product of its own.
    fn part(&mut self, name: &str, start: usize, count: usize) -> Result<QMatMul, LoadError> {
        let part = self.tensors.read(name)?.rows(start, count);
        let tensor = part
            .ok_or_else(|| LoadError::Unsuitable(format!("`{name}` has no rows {start}..{}", start + count)))?
            .into_qtensor(name, self.device)?;
        matmul(name, Arc::new(tensor))
    }

    fn vector(&mut self, name: &str) -> Result<Tensor, LoadError> {
        self.tensors.read(name)?.into_f32_tensor(name, self.device)
    }

    fn vector_if(&mut self, wanted: bool, name: &str) -> Result<Option<Tensor>, LoadError> {
        wanted.then(|| self.vector(name)).transpose()
    }
}

fn matmul(name: &str, tensor: Arc<QTensor>) -> Result<QMatMul, LoadError> {
    QMatMul::from_arc(tensor).map_err(|source| LoadError::Tensor { tensor: name.to_owned(), source })
}

/// A model on a candle device.
pub struct CandleDecoder {
    spec: DecoderSpec,
    shape: SlotShape,
    device: Device,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    rope: Rope,
    local_rope: Option<Rope>,
    norm: Tensor,
    head: QMatMul,
}

impl std::fmt::Debug for CandleDecoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CandleDecoder")
            .field("spec", &self.spec)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl CandleDecoder {
    /// Places all weights and reserves the KV slots on a device.
    pub fn new(
        spec: DecoderSpec,
        tensors: &mut dyn TensorSource,
        shape: SlotShape,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let factors = rope_factors(&spec, tensors)?;
        let place = |source| LoadError::Tensor { tensor: "rope table".to_owned(), source };
        let rope = |theta: f32, factors: Option<&[f32]>| -> Result<Rope, candle_core::Error> {
            let half = spec.rope.dimensions / 2;
            let table = RopeTable::new(theta, spec.rope.dimensions, shape.tokens, factors);
            Ok(Rope {
                cos: Tensor::from_vec(table.cos, (shape.tokens, half), device)?,
                sin: Tensor::from_vec(table.sin, (shape.tokens, half), device)?,
            })
        };
        let global = rope(spec.rope.theta, factors.as_deref()).map_err(place)?;
        let local = spec.rope.local_theta.map(|theta| rope(theta, None)).transpose().map_err(place)?;
        let mut loader = Loader { tensors, device };
        let embedding = loader.quantized("token_embd.weight")?;
        let layers = (0..spec.layers)
            .map(|index| layer(&spec, index, shape, &mut loader))
            .collect::<Result<Vec<_>, _>>()?;
        let norm = loader.vector("output_norm.weight")?;
        let head = if spec.tied_head {
            matmul("token_embd.weight", Arc::clone(&embedding))?
        } else {
            loader.product("output.weight")?
        };
        Ok(Self {
            spec,
            shape,
            device: device.clone(),
            embedding,
            layers,
            rope: global,
            local_rope: local,
            norm,
            head,
        })
    }

    fn forward(&mut self, batch: &StepBatch) -> Result<Option<Tensor>, candle_core::Error> {
        let spec = &self.spec;
        let ids = Tensor::new(batch.tokens.as_slice(), &self.device)?;
        let positions: Vec<u32> = batch.positions().filter_map(|at| u32::try_from(at).ok()).collect();
        let positions = Tensor::new(positions.as_slice(), &self.device)?;
        let global = self.rope.at(&positions)?;
        let local = self.local_rope.as_ref().map(|rope| rope.at(&positions)).transpose()?;
        let mut hidden = self.embedding.embedding(&ids)?;
        if spec.scaled_embedding {
            hidden = (hidden * (spec.hidden as f64).sqrt())?;
        }
        for layer in &mut self.layers {
            let rope = match &local {
                Some(local) if layer.local_rope => local,
                _ => &global,
            };
            let normed = rms_norm(&hidden, &layer.attention_norm, spec)?;
            let mut attended = layer.attend(&normed, batch, rope, spec)?;
            if let Some(norm) = &layer.post_attention_norm {
                attended = rms_norm(&attended, norm, spec)?;
            }
            hidden = (attended + hidden)?;
            let normed = rms_norm(&hidden, &layer.feed_forward_norm, spec)?;
            let gate = layer.gate.forward(&normed)?;
            let gate = match spec.activation {
                Activation::Silu => candle_nn::ops::silu(&gate)?,
                Activation::GeluTanh => gate.gelu()?,
            };
            let mut fed = layer.down.forward(&(gate * layer.up.forward(&normed)?)?)?;
            if let Some(norm) = &layer.post_feed_forward_norm {
                fed = rms_norm(&fed, norm, spec)?;
            }
            hidden = (fed + hidden)?;
        }
        let rows: Vec<u32> =
            batch.logit_rows().into_iter().filter_map(|row| u32::try_from(row).ok()).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let last = hidden.index_select(&Tensor::new(rows.as_slice(), &self.device)?, 0)?;
        let logits = self.head.forward(&rms_norm(&last, &self.norm, spec)?)?;
        softcap(logits, spec.logit_softcap).map(Some)
    }
}

impl Rope {
    fn at(&self, positions: &Tensor) -> Result<Self, candle_core::Error> {
        Ok(Self { cos: self.cos.index_select(positions, 0)?, sin: self.sin.index_select(positions, 0)? })
    }

    /// Rotates heads laid out as [heads, tokens, head width].
    fn apply(&self, heads: &Tensor, spec: &DecoderSpec) -> Result<Tensor, candle_core::Error> {
        let rotated = spec.rope.dimensions;
        let input = heads.unsqueeze(0)?;
        let turned = input.narrow(D::Minus1, 0, rotated)?.contiguous()?;
        let turned = match spec.rope.pairing {
            RopePairing::Interleaved => candle_nn::rotary_emb::rope_i(&turned, &self.cos, &self.sin)?,
            RopePairing::Halves => candle_nn::rotary_emb::rope(&turned, &self.cos, &self.sin)?,
        };
        if rotated == spec.head_dim {
            return turned.squeeze(0);
        }
        let rest = input.narrow(D::Minus1, rotated, spec.head_dim - rotated)?;
        Tensor::cat(&[&turned, &rest.contiguous()?], D::Minus1)?.squeeze(0)
    }
}

fn layer(
    spec: &DecoderSpec,
    index: usize,
    shape: SlotShape,
    loader: &mut Loader<'_>,
) -> Result<Layer, LoadError> {
    let name = |part: &str| format!("blk.{index}.{part}");
    let (query_width, kv_width) = (spec.query_width(), spec.kv_width());
    let [query, key, value] = if spec.fused_tensors {
        let fused = name("attn_qkv.weight");
        [
            loader.part(&fused, 0, query_width)?,
            loader.part(&fused, query_width, kv_width)?,
            loader.part(&fused, query_width + kv_width, kv_width)?,
        ]
    } else {
        [
            loader.product(&name("attn_q.weight"))?,
            loader.product(&name("attn_k.weight"))?,
            loader.product(&name("attn_v.weight"))?,
        ]
    };
    let [gate, up] = if spec.fused_tensors {
        let fused = name("ffn_up.weight");
        let width = spec.feed_forward;
        [loader.part(&fused, 0, width)?, loader.part(&fused, width, width)?]
    } else {
        [loader.product(&name("ffn_gate.weight"))?, loader.product(&name("ffn_up.weight"))?]
    };
    let biases = if spec.qkv_bias {
        let [query, key, value] = [name("attn_q.bias"), name("attn_k.bias"), name("attn_v.bias")];
        Some([loader.vector(&query)?, loader.vector(&key)?, loader.vector(&value)?])
    } else {
        None
    };
    let head_norms = if spec.qk_norm {
        Some([loader.vector(&name("attn_q_norm.weight"))?, loader.vector(&name("attn_k_norm.weight"))?])
    } else {
        None
    };
    let slot = || -> Result<(Tensor, Tensor), candle_core::Error> {
        let dims = (spec.kv_heads, shape.tokens, spec.head_dim);
        let zeros = || Tensor::zeros(dims, candle_core::DType::F32, loader.device);
        Ok((zeros()?, zeros()?))
    };
    let slots = (0..shape.slots)
        .map(|_| slot())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| LoadError::Tensor { tensor: format!("KV slots of layer {index}"), source })?;
    Ok(Layer {
        attention_norm: loader.vector(&name("attn_norm.weight"))?,
        query,
        key,
        value,
        biases,
        head_norms,
        output: loader.product(&name("attn_output.weight"))?,
        post_attention_norm: loader.vector_if(spec.post_norms, &name("post_attention_norm.weight"))?,
        feed_forward_norm: loader.vector(&name("ffn_norm.weight"))?,
        gate,
        up,
        down: loader.product(&name("ffn_down.weight"))?,
        post_feed_forward_norm: loader.vector_if(spec.post_norms, &name("post_ffw_norm.weight"))?,
        slots,
        window: spec.window_of(index),
        local_rope: spec.window_of(index).is_some(),
    })
}

fn rms_norm(input: &Tensor, weight: &Tensor, spec: &DecoderSpec) -> Result<Tensor, candle_core::Error> {
    candle_nn::ops::rms_norm(input, weight, spec.norm_epsilon)
}

fn softcap(scores: Tensor, cap: Option<f32>) -> Result<Tensor, candle_core::Error> {
    match cap {
        None => Ok(scores),
        Some(cap) => (scores / f64::from(cap))?.tanh()? * f64::from(cap),
    }
}

impl Layer {
    fn attend(
        &mut self,
        normed: &Tensor,
        batch: &StepBatch,
        rope: &Rope,
        spec: &DecoderSpec,
    ) -> Result<Tensor, candle_core::Error> {
        let tokens = batch.tokens.len();
        let mut projected =
            [self.query.forward(normed)?, self.key.forward(normed)?, self.value.forward(normed)?];
        if let Some(biases) = &self.biases {
            for (output, bias) in projected.iter_mut().zip(biases) {
                *output = output.broadcast_add(bias)?;
            }
        }
        let [query, key, value] = projected;
        // [tokens, heads · width] -> [heads, tokens, width]
        let split = |tensor: Tensor, heads: usize| {
            tensor.reshape((tokens, heads, spec.head_dim))?.transpose(0, 1)?.contiguous()
        };
        let mut query = split(query, spec.heads)?;
        let mut key = split(key, spec.kv_heads)?;
        let value = split(value, spec.kv_heads)?;
        if let Some([query_norm, key_norm]) = &self.head_norms {
            query = rms_norm(&query, query_norm, spec)?;
            key = rms_norm(&key, key_norm, spec)?;
        }
        let query = rope.apply(&query, spec)?;
        let key = rope.apply(&key, spec)?;
        let mut first = 0;
        let mut outputs = Vec::with_capacity(batch.runs.len());
        for run in &batch.runs {
            let part = |tensor: &Tensor| tensor.narrow(1, first, run.count)?.contiguous();
            outputs.push(self.attend_run(&part(&query)?, &part(&key)?, &part(&value)?, run, spec)?);
            first += run.count;
        }
        self.output.forward(&Tensor::cat(&outputs, 0)?)
    }

    /// Attention of one sequence's new tokens over its slot; inputs are [heads, new tokens, width].
    fn attend_run(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        run: &Run,
        spec: &DecoderSpec,
    ) -> Result<Tensor, candle_core::Error> {
        let Some((keys, values)) = self.slots.get(run.slot) else {
            candle_core::bail!("slot {} of {}", run.slot, self.slots.len());
        };
        keys.slice_set(key, 1, run.start)?;
        values.slice_set(value, 1, run.start)?;
        let length = run.start + run.count;
        let (keys, values) = (keys.narrow(1, 0, length)?, values.narrow(1, 0, length)?);
        let group = spec.heads / spec.kv_heads;
        let query = query.reshape((spec.kv_heads, group * run.count, spec.head_dim))?;
        let scores = (query.matmul(&keys.t()?)? / (spec.head_dim as f64).sqrt())?;
        let scores = softcap(scores, spec.attention_softcap)?;
        let scores = match mask(run, self.window, query.device())? {
            None => scores,
            Some(mask) => scores
                .reshape((spec.kv_heads, group, run.count, length))?
                .broadcast_add(&mask)?
                .reshape((spec.kv_heads, group * run.count, length))?,
        };
        let attended = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&values)?;
        attended
            .reshape((spec.heads, run.count, spec.head_dim))?
            .transpose(0, 1)?
            .reshape((run.count, spec.query_width()))
    }
}

/// 0 where a new token may look, minus infinity where not: [new tokens, context]. `None` when all is seen.
fn mask(run: &Run, window: Option<usize>, device: &Device) -> Result<Option<Tensor>, candle_core::Error> {
    let length = run.start + run.count;
    if run.count == 1 && window.is_none_or(|window| length <= window) {
        return Ok(None);
    }
    let values: Vec<f32> = (run.start..length)
        .flat_map(|at| {
            let oldest = window.map_or(0, |window| (at + 1).saturating_sub(window));
            (0..length).map(move |seen| if (oldest..=at).contains(&seen) { 0.0 } else { f32::NEG_INFINITY })
        })
        .collect();
    Tensor::from_vec(values, (run.count, length), device).map(Some)
}

impl Decoder for CandleDecoder {
    fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    fn slots(&self) -> SlotShape {
        self.shape
    }

    fn kv_bytes_per_token(&self) -> u64 {
        self.spec.kv_bytes_per_token(4)
    }

    fn step(&mut self, batch: &StepBatch, logits: &mut Vec<f32>) -> Result<(), StepError> {
        batch.check(self.spec.vocabulary, self.shape)?;
        logits.clear();
        if let Some(rows) = self.forward(batch)? {
            *logits = rows.flatten_all()?.to_vec1()?;
        }
        Ok(())
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), StepError> {
        check_copy(self.shape, from, to, tokens)?;
        for layer in &self.layers {
            if let (Some(source), Some(target)) = (layer.slots.get(from), layer.slots.get(to)) {
                for (source, target) in [(&source.0, &target.0), (&source.1, &target.1)] {
                    target.slice_set(&source.narrow(1, 0, tokens)?.contiguous()?, 1, 0)?;
                }
            }
        }
        Ok(())
    }
}
