//! Softmax attention of query heads over the keys and values of their slots.
//!
//! Softmax runs online over spans of keys (Milakov and Gimelshein, arXiv:1805.02867), in a fixed order, so a
//! token's result depends on neither its batch nor the machine. Query heads that share a key/value head read
//! its keys together.

#![expect(unsafe_code, reason = "calls of code for detected instructions")]

use crate::error::KernelError;
use crate::executor::{Executor, Level};
use crate::shared_slice::SharedSlice;

/// Lanes of a sum, whatever the machine's vectors are, so that results are the same everywhere.
const LANES: usize = 16;
/// Keys scored before their values are read: both stay in the first-level cache.
const SPAN: usize = 32;
/// Query heads worked on together.
const TOGETHER: usize = 8;

/// Heads of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Values of a head.
    pub head_dim: usize,
    /// Tokens a slot has room for.
    pub slot_tokens: usize,
    /// What scores are multiplied by, usually 1/√`head_dim`.
    pub scale: f32,
    /// Scores become cap · tanh(score / cap).
    pub softcap: Option<f32>,
}

/// One token and what it sees.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Query heads, [heads, `head_dim`].
    pub heads: &'a [f32],
    /// Keys of its slot, [`kv_heads`, `slot_tokens`, `head_dim`].
    pub keys: &'a [f32],
    /// Values of its slot, laid out as the keys.
    pub values: &'a [f32],
    /// First position seen: 0, or later with a sliding window.
    pub first: usize,
    /// One past the last position seen, usually its own.
    pub end: usize,
}

impl Executor {
    /// `output`, [queries, heads, `head_dim`], becomes the attention of each query.
    pub fn attend(
        &self,
        shape: AttentionShape,
        queries: &[Query<'_>],
        output: &mut [f32],
    ) -> Result<(), KernelError> {
        check(shape, queries, output)?;
        let width = shape.heads / shape.kv_heads * shape.head_dim;
        let output = SharedSlice::new(output);
        self.pool().run(queries.len() * shape.kv_heads, |part| {
            // Late tokens see most, so they go first.
            let part = queries.len() * shape.kv_heads - 1 - part;
            let (index, kv_head) = (part / shape.kv_heads, part % shape.kv_heads);
            // SAFETY: the heads of one part, which no other part writes.
            let output = unsafe { output.part(part * width, width) };
            match self.level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an executor of this level exists only where its instructions were detected.
                Level::Avx512Vnni => unsafe { group_avx512(shape, &queries[index], kv_head, output) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::Avx2 => unsafe { group_avx2(shape, &queries[index], kv_head, output) },
                _ => group(shape, &queries[index], kv_head, output),
            }
        });
        Ok(())
    }
}

fn check(shape: AttentionShape, queries: &[Query<'_>], output: &[f32]) -> Result<(), KernelError> {
    let fault = |what| Err(KernelError::Attention { what });
    if shape.kv_heads == 0 || shape.head_dim == 0 || shape.heads == 0 {
        return fault("has no heads or heads without width");
    }
    if !shape.heads.is_multiple_of(shape.kv_heads) {
        return fault("heads are not a multiple of key/value heads");
    }
    let width = shape.heads.checked_mul(shape.head_dim);
    let slot =
        shape.kv_heads.checked_mul(shape.slot_tokens).and_then(|size| size.checked_mul(shape.head_dim));
    let (Some(width), Some(slot)) = (width, slot) else { return fault("sizes overflow") };
    for query in queries {
        if query.heads.len() != width {
            return fault("query has another width than its heads");
        }
        if query.keys.len() != slot || query.values.len() != slot {
            return fault("slot has another size than its keys and values");
        }
        if query.first >= query.end || query.end > shape.slot_tokens {
            return fault("sees no positions, or positions outside its slot");
        }
    }
    let expected = queries.len().saturating_mul(width);
    if output.len() != expected {
        return Err(KernelError::Length { what: "attention output", actual: output.len(), expected });
    }
    Ok(())
}

/// The same code, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn group_avx512(shape: AttentionShape, query: &Query<'_>, kv_head: usize, output: &mut [f32]) {
    group(shape, query, kv_head, output);
}

/// The same code, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn group_avx2(shape: AttentionShape, query: &Query<'_>, kv_head: usize, output: &mut [f32]) {
    group(shape, query, kv_head, output);
}

/// The query heads that share one head of keys and values.
#[inline(always)]
fn group(shape: AttentionShape, query: &Query<'_>, kv_head: usize, output: &mut [f32]) {
    let width = shape.head_dim;
    let base = kv_head * shape.slot_tokens * width;
    let seen = base + query.first * width..base + query.end * width;
    let (keys, values) = (&query.keys[seen.clone()], &query.values[seen]);
    let heads = &query.heads[kv_head * output.len()..(kv_head + 1) * output.len()];
    let some = TOGETHER * width;
    for (heads, output) in heads.chunks(some).zip(output.chunks_mut(some)) {
        let mut running = [(f32::NEG_INFINITY, 0.0f32); TOGETHER];
        output.fill(0.0);
        for (keys, values) in keys.chunks(SPAN * width).zip(values.chunks(SPAN * width)) {
            let heads = heads.chunks_exact(width).zip(output.chunks_exact_mut(width));
            for ((head, output), running) in heads.zip(&mut running) {
                add_span(shape, head, keys, values, running, output);
            }
        }
        for (output, (_, total)) in output.chunks_exact_mut(width).zip(running) {
            output.iter_mut().for_each(|value| *value /= total);
        }
    }
}

/// Joins some keys and values to a head's highest score, sum of weights and weighted sum of values.
#[inline(always)]
fn add_span(
    shape: AttentionShape,
    head: &[f32],
    keys: &[f32],
    values: &[f32],
    (highest, total): &mut (f32, f32),
    output: &mut [f32],
) {
    let width = shape.head_dim;
    let count = keys.len() / width;
    let mut scores = [f32::NEG_INFINITY; SPAN];
    for (score, key) in scores.iter_mut().zip(keys.chunks_exact(width)) {
        *score = dot(head, key) * shape.scale;
    }
    if let Some(cap) = shape.softcap {
        scores[..count].iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
    }
    let peak = scores.iter().fold(*highest, |highest, score| if *score > highest { *score } else { highest });
    if peak > *highest {
        // The first span finds nothing to scale.
        let factor = if *total == 0.0 { 0.0 } else { exp_below_zero(*highest - peak) };
        *total *= factor;
        output.iter_mut().for_each(|value| *value *= factor);
        *highest = peak;
    }
    for score in &mut scores {
        *score = exp_below_zero(*score - peak);
    }
    scores[count..].fill(0.0);
    *total += reduce(scores);
    let (whole, rest) = output.as_chunks_mut::<LANES>();
    for (index, output) in whole.iter_mut().enumerate() {
        let mut sums = *output;
        for (score, value) in scores.iter().zip(values.chunks_exact(width)) {
            let value = &value[index * LANES..][..LANES];
            for (sum, value) in sums.iter_mut().zip(value) {
                *sum += score * value;
            }
        }
        *output = sums;
    }
    let start = width - rest.len();
    for (score, value) in scores.iter().zip(values.chunks_exact(width)) {
        for (output, value) in rest.iter_mut().zip(&value[start..]) {
            *output += score * value;
        }
    }
}

/// Scalar product of two rows of the same length.
#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (left_whole, left_rest) = left.as_chunks::<LANES>();
    let (right_whole, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left_whole.iter().zip(right_whole) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    reduce(sums) + rest
}

/// Sum of lanes, halves upon halves.
#[inline(always)]
fn reduce<const N: usize>(mut lanes: [f32; N]) -> f32 {
    let mut count = N;
    while count > 1 {
        count /= 2;
        for lane in 0..count {
            lanes[lane] += lanes[lane + count];
        }
    }
    lanes[0]
}

/// eˣ for x ≤ 0, within 2 units of the last place; 0 below -87, where f32 has no full precision left.
///
/// Cephes `expf`: x = n ln 2 + r, a polynomial in r, n put into the exponent. Plain arithmetic, so that a
/// compiler makes vectors of it, which it cannot of the library's function.
#[inline(always)]
fn exp_below_zero(x: f32) -> f32 {
    let within = if x > -87.0 { x } else { -87.0 };
    // Adding and subtracting 1.5 · 2²³ rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let n = within * std::f32::consts::LOG2_E + ROUND - ROUND;
    let r = within - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut y = 1.987_569_2e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        y = y * r + coefficient;
    }
    let y = y * r * r + r + 1.0;
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    if x > -87.0 { y * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_close_everywhere() {
        for step in 0..100_000 {
            let x = -(step as f32) * 0.0009;
            let (ours, exact) = (f64::from(exp_below_zero(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 3e-7 * exact + 1.7e-38, "{x}: {ours} {exact}");
        }
        assert!(exp_below_zero(0.0) == 1.0 && exp_below_zero(f32::NEG_INFINITY) == 0.0);
    }
}
