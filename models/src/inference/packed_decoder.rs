//! The decoder for the processor: plain f32 rows between packed matrix products, no tensor library in
//! between, nothing allocated in a step once the buffers have grown.

use breakeven_kernels::{AttentionShape, Executor, GateActivation, KEY_SPAN, KernelError, Norm, Pool, Query};

use super::batch::{Decoder, RopeTable, SlotShape, StepBatch, StepError, check_copy, rope_factors};
use super::cpu_math;
use super::load::LoadError;
use super::product::{Embedding, Product, Products};
use super::tensors::TensorSource;
use crate::spec::{Activation, DecoderSpec};

struct Layer {
    attention_norm: Vec<f32>,
    /// Query, key and value rows, one below the other.
    query_key_value: Product,
    bias: Option<Vec<f32>>,
    head_norms: Option<[Vec<f32>; 2]>,
    output: Product,
    post_attention_norm: Option<Vec<f32>>,
    feed_forward_norm: Vec<f32>,
    /// Gate rows, then up rows.
    gate_up: Product,
    down: Product,
    post_feed_forward_norm: Option<Vec<f32>>,
    /// A slot after the other, each as the kernels lay its keys out.
    keys: Vec<f32>,
    /// [slots, kv heads, slot tokens, head width].
    values: Vec<f32>,
    window: Option<usize>,
}

#[derive(Default)]
struct Buffers {
    hidden: Vec<f32>,
    normed: Vec<f32>,
    projected: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    added: Vec<f32>,
}

/// A model on this machine's processor.
pub struct PackedDecoder {
    spec: DecoderSpec,
    shape: SlotShape,
    products: Products,
    embedding: Embedding,
    layers: Vec<Layer>,
    rope: RopeTable,
    local_rope: Option<RopeTable>,
    norm: Vec<f32>,
    head: Option<Product>,
    buffers: Buffers,
}

impl std::fmt::Debug for PackedDecoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PackedDecoder").field("spec", &self.spec).finish_non_exhaustive()
    }
}

struct Loader<'a> {
    tensors: &'a mut dyn TensorSource,
}

impl Loader<'_> {
    fn vector(&mut self, name: &str) -> Result<Vec<f32>, LoadError> {
        self.tensors.read(name)?.into_f32(name)
    }

    fn vector_if(&mut self, wanted: bool, name: &str) -> Result<Option<Vec<f32>>, LoadError> {
        wanted.then(|| self.vector(name)).transpose()
    }

    fn product(&mut self, names: &[String]) -> Result<Product, LoadError> {
        let parts = names.iter().map(|name| self.tensors.read(name)).collect::<Result<Vec<_>, _>>()?;
        Product::new(names.first().map_or("", String::as_str), parts)
    }
}

impl PackedDecoder {
    /// Packs all weights, one tensor at a time, and reserves the KV slots.
    pub fn new(
        spec: DecoderSpec,
        tensors: &mut dyn TensorSource,
        shape: SlotShape,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let factors = rope_factors(&spec, tensors)?;
        let rope = |theta, factors| RopeTable::new(theta, spec.rope.dimensions, shape.tokens, factors);
        let global = rope(spec.rope.theta, factors.as_deref());
        let local = spec.rope.local_theta.map(|theta| rope(theta, None));
        let mut loader = Loader { tensors };
        let embedding = Embedding::new(loader.tensors.read("token_embd.weight")?, spec.tied_head)?;
        let layers = (0..spec.layers)
            .map(|index| layer(&spec, index, shape, &mut loader))
            .collect::<Result<_, _>>()?;
        let norm = loader.vector("output_norm.weight")?;
        let head = if spec.tied_head { None } else { Some(loader.product(&["output.weight".to_owned()])?) };
        let products = Products::new(threads);
        let buffers = Buffers::default();
        Ok(Self {
            spec,
            shape,
            products,
            embedding,
            layers,
            rope: global,
            local_rope: local,
            norm,
            head,
            buffers,
        })
    }

    fn forward(&mut self, batch: &StepBatch, logits: &mut Vec<f32>) -> Result<(), StepError> {
        let Self { spec, products, embedding, layers, buffers, .. } = self;
        let tokens = batch.tokens.len();
        embedding.look_up(&batch.tokens, &mut buffers.hidden)?;
        if spec.scaled_embedding {
            let scale = (spec.hidden as f32).sqrt();
            buffers.hidden.iter_mut().for_each(|value| *value *= scale);
        }
        let activation = match spec.activation {
            Activation::Silu => GateActivation::Silu,
            Activation::GeluTanh => GateActivation::GeluTanh,
        };
        // What the last block gave joins the residual stream on its way into the next norm.
        let mut joins: Option<Option<Norm<'_>>> = None;
        for layer in layers {
            let rope = match &self.local_rope {
                Some(local) if layer.window.is_some() => local,
                _ => &self.rope,
            };
            let added = joins.map(|norm| (buffers.added.as_slice(), norm));
            let first = norm(&layer.attention_norm, spec);
            let (hidden, projected) = (&mut buffers.hidden, &mut buffers.projected);
            products.multiply_normed(&layer.query_key_value, hidden, added, first, projected)?;
            layer.prepare(batch, buffers, rope, spec, self.shape)?;
            layer.attend(batch, buffers, spec, self.shape, products.executor())?;
            products.multiply(&layer.output, &buffers.attended, tokens, &mut buffers.added)?;

            let added = Some((
                buffers.added.as_slice(),
                layer.post_attention_norm.as_deref().map(|weight| norm(weight, spec)),
            ));
            let second = norm(&layer.feed_forward_norm, spec);
            let (hidden, gate_up) = (&mut buffers.hidden, &mut buffers.gate_up);
            products.multiply_normed(&layer.gate_up, hidden, added, second, gate_up)?;
            let width = spec.feed_forward;
            products.multiply_gated(&layer.down, &buffers.gate_up, width, activation, &mut buffers.added)?;
            joins = Some(layer.post_feed_forward_norm.as_deref().map(|weight| norm(weight, spec)));
        }
        if let Some(norm) = joins {
            cpu_math::join(&mut buffers.hidden, &buffers.added, norm, &mut buffers.normed);
        }
        let rows = batch.logit_rows();
        logits.clear();
        if rows.is_empty() {
            return Ok(());
        }
        buffers.added.clear();
        for row in &rows {
            let row = buffers.hidden.get(row * spec.hidden..(row + 1) * spec.hidden).unwrap_or_default();
            buffers.added.extend_from_slice(row);
        }
        cpu_math::rms_norm(&buffers.added, &self.norm, spec.norm_epsilon, &mut buffers.normed);
        let head = self.head.as_ref().or_else(|| embedding.head());
        let head = head.ok_or_else(|| StepError::Batch("the model has no output head".to_owned()))?;
        products.multiply(head, &buffers.normed, rows.len(), logits)?;
        cpu_math::softcap(logits, spec.logit_softcap);
        Ok(())
    }
}

fn norm<'a>(weight: &'a [f32], spec: &DecoderSpec) -> Norm<'a> {
    Norm { weight, epsilon: spec.norm_epsilon }
}

fn layer(
    spec: &DecoderSpec,
    index: usize,
    shape: SlotShape,
    loader: &mut Loader<'_>,
) -> Result<Layer, LoadError> {
    let name = |part: &str| format!("blk.{index}.{part}");
    let (query_key_value, gate_up) = if spec.fused_tensors {
        (vec![name("attn_qkv.weight")], vec![name("ffn_up.weight")])
    } else {
        (
            vec![name("attn_q.weight"), name("attn_k.weight"), name("attn_v.weight")],
            vec![name("ffn_gate.weight"), name("ffn_up.weight")],
        )
    };
    let bias = if spec.qkv_bias {
        let mut bias = loader.vector(&name("attn_q.bias"))?;
        bias.extend(loader.vector(&name("attn_k.bias"))?);
        bias.extend(loader.vector(&name("attn_v.bias"))?);
        Some(bias)
    } else {
        None
    };
    let head_norms = if spec.qk_norm {
        Some([loader.vector(&name("attn_q_norm.weight"))?, loader.vector(&name("attn_k_norm.weight"))?])
    } else {
        None
    };
    let size = || LoadError::Unsuitable("the KV cache does not fit the address space".to_owned());
    let slot_keys = attention_shape(spec, shape).key_values().ok_or_else(size)?;
    let key_values = slot_keys.checked_mul(shape.slots).ok_or_else(size)?;
    Ok(Layer {
        attention_norm: loader.vector(&name("attn_norm.weight"))?,
        query_key_value: loader.product(&query_key_value)?,
        bias,
        head_norms,
        output: loader.product(&[name("attn_output.weight")])?,
        post_attention_norm: loader.vector_if(spec.post_norms, &name("post_attention_norm.weight"))?,
        feed_forward_norm: loader.vector(&name("ffn_norm.weight"))?,
        gate_up: loader.product(&gate_up)?,
        down: loader.product(&[name("ffn_down.weight")])?,
        post_feed_forward_norm: loader.vector_if(spec.post_norms, &name("post_ffw_norm.weight"))?,
        keys: vec![0.0; key_values],
        values: vec![0.0; shape.slots * shape.tokens * spec.kv_width()],
        window: spec.window_of(index),
    })
}

fn attention_shape(spec: &DecoderSpec, shape: SlotShape) -> AttentionShape {
    AttentionShape {
        heads: spec.heads,
        kv_heads: spec.kv_heads,
        head_dim: spec.head_dim,
        slot_tokens: shape.tokens,
        scale: 1.0 / (spec.head_dim as f32).sqrt(),
        softcap: spec.attention_softcap,
    }
}

impl Layer {
    /// Biases, head norms and rotation, then keys and values to their slots.
    fn prepare(
        &mut self,
        batch: &StepBatch,
        buffers: &mut Buffers,
        rope: &RopeTable,
        spec: &DecoderSpec,
        shape: SlotShape,
    ) -> Result<(), KernelError> {
        let attention = attention_shape(spec, shape);
        let slot_keys = self.keys.len() / shape.slots;
        let (query_width, kv_width, width) = (spec.query_width(), spec.kv_width(), spec.head_dim);
        let mut rows = buffers.projected.chunks_exact_mut(query_width + 2 * kv_width);
        for run in &batch.runs {
            for position in run.start..run.start + run.count {
                let Some(row) = rows.next() else { return Ok(()) };
                if let Some(bias) = &self.bias {
                    row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                }
                let (query, rest) = row.split_at_mut(query_width);
                let (key, value) = rest.split_at_mut(kv_width);
                if let Some([query_norm, key_norm]) = &self.head_norms {
                    cpu_math::rms_norm_in_place(query, query_norm, spec.norm_epsilon);
                    cpu_math::rms_norm_in_place(key, key_norm, spec.norm_epsilon);
                }
                cpu_math::rotate(query, width, position, rope, spec.rope.pairing);
                cpu_math::rotate(key, width, position, rope, spec.rope.pairing);
                let slot = run.slot * slot_keys..(run.slot + 1) * slot_keys;
                let slot = self.keys.get_mut(slot).unwrap_or_default();
                for (head, (key, value)) in key.chunks_exact(width).zip(value.chunks_exact(width)).enumerate()
                {
                    attention.store_key(slot, head, position, key)?;
                    let at = ((run.slot * spec.kv_heads + head) * shape.tokens + position) * width;
                    if let Some(cache) = self.values.get_mut(at..at + width) {
                        cache.copy_from_slice(value);
                    }
                }
            }
        }
        Ok(())
    }

    fn attend(
        &self,
        batch: &StepBatch,
        buffers: &mut Buffers,
        spec: &DecoderSpec,
        shape: SlotShape,
        executor: &Executor,
    ) -> Result<(), KernelError> {
        let attention = attention_shape(spec, shape);
        let slot_keys = self.keys.len() / shape.slots;
        let slot_values = shape.tokens * spec.kv_width();
        let rows = buffers.projected.chunks_exact(spec.query_width() + 2 * spec.kv_width());
        let places = batch
            .runs
            .iter()
            .flat_map(|run| (run.start..run.start + run.count).map(move |position| (run.slot, position)));
        let queries: Vec<Query<'_>> = rows
            .zip(places)
            .map(|(row, (slot, position))| {
                let keys = slot * slot_keys..(slot + 1) * slot_keys;
                let values = slot * slot_values..(slot + 1) * slot_values;
                Query {
                    heads: row.get(..spec.query_width()).unwrap_or_default(),
                    keys: self.keys.get(keys).unwrap_or_default(),
                    values: self.values.get(values).unwrap_or_default(),
                    first: self.window.map_or(0, |window| (position + 1).saturating_sub(window)),
                    end: position + 1,
                }
            })
            .collect();
        buffers.attended.resize(queries.len() * spec.query_width(), 0.0);
        executor.attend(attention, &queries, &mut buffers.attended)
    }
}

impl Decoder for PackedDecoder {
    fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    fn slots(&self) -> SlotShape {
        self.shape
    }

    fn kv_bytes_per_token(&self) -> u64 {
        self.spec.kv_bytes_per_token(4)
    }

    fn pool(&self) -> Option<&Pool> {
        Some(self.products.executor().pool())
    }

    fn step(&mut self, batch: &StepBatch, logits: &mut Vec<f32>) -> Result<(), StepError> {
        batch.check(self.spec.vocabulary, self.shape)?;
        self.forward(batch, logits)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), StepError> {
        check_copy(self.shape, from, to, tokens)?;
        let (heads, width) = (self.spec.kv_heads, self.spec.head_dim);
        for layer in &mut self.layers {
            let head_keys = layer.keys.len() / self.shape.slots / heads;
            let head_values = self.shape.tokens * width;
            // Whole spans of keys: what is not the prefix's own is written before it is read.
            let key_count = tokens.div_ceil(KEY_SPAN) * KEY_SPAN * width;
            for head in 0..heads {
                let (source, target) = (from * heads + head, to * heads + head);
                let start = source * head_keys;
                layer.keys.copy_within(start..start + key_count, target * head_keys);
                let start = source * head_values;
                layer.values.copy_within(start..start + tokens * width, target * head_values);
            }
        }
        Ok(())
    }
}
