//! One description of a decoder-only transformer: everything the decoder, the loader and the sizing
//! formulas need to know about a model family, as data. No weights, no candle.

use serde::{Deserialize, Serialize};

/// Which two values of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RopePairing {
    /// Neighbours (2i, 2i+1): GGUF files of the `llama` family.
    Interleaved,
    /// Halves (i, i + d/2), called NEOX in llama.cpp: Qwen, Gemma, Phi.
    Halves,
}

/// Rotary position embedding (Su et al., `RoFormer`, arXiv:2104.09864).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// Base used by layers with a sliding window, where it differs.
    pub local_theta: Option<f32>,
    /// Positions are divided by this (position interpolation, Chen et al., arXiv:2306.15595), windowed layers
    /// excepted; Llama 3's own scaling comes as a tensor of factors instead.
    #[serde(default)]
    pub linear_factor: Option<f32>,
    /// Values of each head that are rotated; the rest pass through.
    pub dimensions: usize,
    /// Which values form a pair.
    pub pairing: RopePairing,
}

/// Some layers see only the last tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SlidingWindow {
    /// Tokens a windowed layer sees, the current one included.
    pub tokens: usize,
    /// Every `global_every`-th layer sees everything; 0 means that none does.
    pub global_every: usize,
}

/// The gate's nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
}

/// A decoder-only transformer with gated MLP and grouped-query attention.
#[expect(clippy::struct_excessive_bools, reason = "each is an independent trait of a family")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DecoderSpec {
    /// Family, as GGUF's `general.architecture` names it.
    pub architecture: String,
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the MLP.
    pub feed_forward: usize,
    /// Rows of the embedding.
    pub vocabulary: usize,
    /// Longest context the model was made for, tokens.
    pub context: usize,
    /// Epsilon of every RMS norm.
    pub norm_epsilon: f32,
    /// Positions.
    pub rope: Rope,
    /// Query, key and value projections add a bias (Qwen2).
    pub qkv_bias: bool,
    /// Queries and keys are normalised per head (Qwen3, Gemma 3).
    pub qk_norm: bool,
    /// Attention and MLP outputs are normalised before they join the residual (Gemma).
    pub post_norms: bool,
    /// Query, key, value come as one tensor, and gate with up as another (Phi-3).
    pub fused_tensors: bool,
    /// The embedding serves as the output head too.
    pub tied_head: bool,
    /// Layers that see a window only.
    pub sliding_window: Option<SlidingWindow>,
    /// The gate's nonlinearity.
    pub activation: Activation,
    /// Embeddings are multiplied by the square root of `hidden` (Gemma).
    pub scaled_embedding: bool,
    /// Attention scores pass through cap · tanh(score / cap).
    pub attention_softcap: Option<f32>,
    /// Logits pass through cap · tanh(logit / cap).
    pub logit_softcap: Option<f32>,
}

/// One tensor that a model of some spec must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// GGUF name.
    pub name: String,
    /// Rows (outputs); `None` for a vector.
    pub rows: Option<usize>,
    /// Columns (inputs), or the vector's length.
    pub columns: usize,
}

impl TensorSpec {
    /// Number of values.
    pub fn elements(&self) -> u64 {
        self.rows.unwrap_or(1) as u64 * self.columns as u64
    }
}

fn matrix(name: String, rows: usize, columns: usize) -> TensorSpec {
    TensorSpec { name, rows: Some(rows), columns }
}

fn vector(name: String, length: usize) -> TensorSpec {
    TensorSpec { name, rows: None, columns: length }
}

impl DecoderSpec {
    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// The window of a layer, where it has one.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        let window = self.sliding_window?;
        let global = window.global_every > 0 && (layer + 1).is_multiple_of(window.global_every);
        (!global).then_some(window.tokens)
    }

    /// The rotary base of a layer.
    pub fn theta_of(&self, layer: usize) -> f32 {
        match (self.window_of(layer), self.rope.local_theta) {
            (Some(_), Some(local)) => local,
            _ => self.rope.theta,
        }
    }

    /// All tensors of the model, embedding first, then layer by layer.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut all = vec![matrix("token_embd.weight".into(), self.vocabulary, self.hidden)];
        for layer in 0..self.layers {
            self.push_layer(layer, &mut all);
        }
        all.push(vector("output_norm.weight".into(), self.hidden));
        if !self.tied_head {
            all.push(matrix("output.weight".into(), self.vocabulary, self.hidden));
        }
        all
    }

    fn push_layer(&self, layer: usize, all: &mut Vec<TensorSpec>) {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (hidden, query, kv) = (self.hidden, self.query_width(), self.kv_width());
        all.push(vector(name("attn_norm.weight"), hidden));
        if self.fused_tensors {
            all.push(matrix(name("attn_qkv.weight"), query + 2 * kv, hidden));
        } else {
            all.push(matrix(name("attn_q.weight"), query, hidden));
            all.push(matrix(name("attn_k.weight"), kv, hidden));
            all.push(matrix(name("attn_v.weight"), kv, hidden));
        }
        if self.qkv_bias {
            all.push(vector(name("attn_q.bias"), query));
            all.push(vector(name("attn_k.bias"), kv));
            all.push(vector(name("attn_v.bias"), kv));
        }
        if self.qk_norm {
            all.push(vector(name("attn_q_norm.weight"), self.head_dim));
            all.push(vector(name("attn_k_norm.weight"), self.head_dim));
        }
        all.push(matrix(name("attn_output.weight"), hidden, query));
        if self.post_norms {
            all.push(vector(name("post_attention_norm.weight"), hidden));
        }
        all.push(vector(name("ffn_norm.weight"), hidden));
        if self.fused_tensors {
            all.push(matrix(name("ffn_up.weight"), 2 * self.feed_forward, hidden));
        } else {
            all.push(matrix(name("ffn_gate.weight"), self.feed_forward, hidden));
            all.push(matrix(name("ffn_up.weight"), self.feed_forward, hidden));
        }
        all.push(matrix(name("ffn_down.weight"), hidden, self.feed_forward));
        if self.post_norms {
            all.push(vector(name("post_ffw_norm.weight"), hidden));
        }
    }

    /// Parameters, embedding included, a tied head counted once.
    pub fn parameters(&self) -> u64 {
        self.tensors().iter().map(TensorSpec::elements).sum()
    }

    /// Bytes of KV cache one token occupies: keys and values of every layer.
    ///
    /// Llama-3.1-8B in 16 bit: 2 · 32 layers · 8 heads · 128 · 2 bytes = 131,072.
    pub fn kv_bytes_per_token(&self, element_bytes: u64) -> u64 {
        2 * self.layers as u64 * self.kv_width() as u64 * element_bytes
    }

    /// Multiply-accumulates of all matrix products for one token, attention scores excluded: the embedding
    /// lookup costs none, the head (tied or not) costs its full matrix.
    pub fn projection_macs_per_token(&self) -> u64 {
        let layers: u64 = self
            .tensors()
            .iter()
            .filter(|tensor| tensor.rows.is_some() && tensor.name.starts_with("blk."))
            .map(TensorSpec::elements)
            .sum();
        layers + self.head_macs()
    }

    /// Of [`projection_macs_per_token`](Self::projection_macs_per_token), those of the output head: a prompt needs them for its
    /// last token only.
    pub fn head_macs(&self) -> u64 {
        self.vocabulary as u64 * self.hidden as u64
    }

    /// What makes this spec impossible, in words; `None` when it is sound.
    pub fn defect(&self) -> Option<String> {
        let zero = [
            ("layers", self.layers),
            ("hidden width", self.hidden),
            ("heads", self.heads),
            ("kv heads", self.kv_heads),
            ("head width", self.head_dim),
            ("feed-forward width", self.feed_forward),
            ("vocabulary", self.vocabulary),
            ("context", self.context),
        ]
        .into_iter()
        .find(|(_, value)| *value == 0);
        if let Some((what, _)) = zero {
            return Some(format!("{what} is 0, expected at least 1"));
        }
        for (what, value, most) in [
            ("layers", self.layers, 1 << 12),
            ("hidden width", self.hidden, 1 << 20),
            ("heads", self.heads, 1 << 14),
            ("head width", self.head_dim, 1 << 14),
            ("feed-forward width", self.feed_forward, 1 << 22),
            ("vocabulary", self.vocabulary, 1 << 24),
        ] {
            if value > most {
                return Some(format!("{what} is {value}, expected at most {most}"));
            }
        }
        if self.kv_heads > self.heads || !self.heads.is_multiple_of(self.kv_heads) {
            return Some(format!("{} kv heads do not divide {} heads", self.kv_heads, self.heads));
        }
        let rotated = self.rope.dimensions;
        if rotated == 0 || rotated > self.head_dim || !rotated.is_multiple_of(2) {
            return Some(format!(
                "{rotated} rotated values, expected an even number up to {}",
                self.head_dim
            ));
        }
        if !(self.norm_epsilon.is_finite() && self.norm_epsilon > 0.0) {
            return Some(format!("norm epsilon is {}, expected a positive number", self.norm_epsilon));
        }
        if !(self.rope.theta.is_finite() && self.rope.theta > 1.0) {
            return Some(format!("rope base is {}, expected a number above 1", self.rope.theta));
        }
        if let Some(factor) = self.rope.linear_factor
            && !(factor.is_finite() && factor > 0.0)
        {
            return Some(format!("rope scaling factor is {factor}, expected a positive number"));
        }
        if self.sliding_window.is_some_and(|window| window.tokens == 0) {
            return Some("the sliding window is 0 tokens, expected at least 1".into());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::registry;

    #[test]
    fn parameter_counts_match_the_published_ones() {
        for (name, parameters) in [
            ("smollm2-135m-instruct", 134_515_008),
            ("llama-3.2-1b", 1_235_814_400),
            ("llama-3.1-8b", 8_030_261_248),
            ("qwen3-8b", 8_190_735_360),
            ("mistral-7b", 7_248_023_552),
            ("llama-3.1-70b", 70_553_706_496),
        ] {
            let spec = &registry::find(name).unwrap().spec;
            assert_eq!(spec.parameters(), parameters, "{name}");
            assert_eq!(spec.defect(), None, "{name}");
        }
    }

    #[test]
    fn kv_bytes_follow_the_hand_count() {
        assert_eq!(registry::find("llama-3.1-8b").unwrap().spec.kv_bytes_per_token(2), 131_072);
        assert_eq!(registry::find("smollm2-135m-instruct").unwrap().spec.kv_bytes_per_token(4), 46_080);
    }

    #[test]
    fn every_sixth_layer_of_a_gemma_pattern_is_global() {
        let mut spec = registry::find("smollm2-135m-instruct").unwrap().spec;
        spec.sliding_window = Some(super::SlidingWindow { tokens: 512, global_every: 6 });
        let windowed: Vec<bool> = (0..7).map(|layer| spec.window_of(layer).is_some()).collect();
        assert_eq!(windowed, [true, true, true, true, true, false, true]);
    }
}
