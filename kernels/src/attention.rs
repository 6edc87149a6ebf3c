//! Softmax attention of query heads over the keys and values of their slots.
//!
//! Softmax runs online over spans of keys (Milakov and Gimelshein, arXiv:1805.02867). Spans begin at multiples
//! of [`KEY_SPAN`] whatever a query sees, and each row of queries is summed by itself in a fixed order, so a
//! token's result depends on neither its batch nor the machine. Rows that see the same slot (a prompt's tokens,
//! and query heads that share a key/value head) read its keys and values together: a span of both stays in the
//! first-level cache for all of them.

#![expect(unsafe_code, reason = "calls of code for detected instructions")]

use crate::error::KernelError;
use crate::executor::{Executor, Level};
use crate::lanes::{LANES, Lanes};
use crate::shared_slice::SharedSlice;

/// Keys laid side by side in a slot, and scored before their values are read.
pub const KEY_SPAN: usize = 32;
/// Rows (a query's head each) of one part of the work.
const PART_ROWS: usize = 32;
/// Lanes in which the highest of some scores is looked for.
const PEAK_LANES: usize = 8;

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
    /// Keys of its slot, as [`AttentionShape::store_key`] lays them out.
    pub keys: &'a [f32],
    /// Values of its slot, [`kv_heads`, `slot_tokens`, `head_dim`].
    pub values: &'a [f32],
    /// First position seen: 0, or later with a sliding window.
    pub first: usize,
    /// One past the last position seen, usually its own.
    pub end: usize,
}

impl AttentionShape {
    /// Length of a slot's keys: its tokens filled up to whole spans; `None` where that overflows.
    pub fn key_values(&self) -> Option<usize> {
        let tokens = self.slot_tokens.div_ceil(KEY_SPAN).checked_mul(KEY_SPAN)?;
        self.kv_heads.checked_mul(tokens)?.checked_mul(self.head_dim)
    }

    /// Puts a token's key of one head into its slot, [`kv_heads`, spans, `head_dim`, [`KEY_SPAN`]]: a column of
    /// neighbouring keys is one vector, so that scores need no horizontal sum.
    pub fn store_key(
        &self,
        keys: &mut [f32],
        kv_head: usize,
        position: usize,
        key: &[f32],
    ) -> Result<(), KernelError> {
        if kv_head >= self.kv_heads || position >= self.slot_tokens || key.len() != self.head_dim {
            return Err(KernelError::Attention { what: "key outside its slot" });
        }
        if Some(keys.len()) != self.key_values() {
            return Err(KernelError::Attention { what: "slot has another size than its keys and values" });
        }
        let spans = self.slot_tokens.div_ceil(KEY_SPAN);
        let start = (kv_head * spans + position / KEY_SPAN) * self.head_dim;
        let (columns, _) = keys.as_chunks_mut::<KEY_SPAN>();
        for (column, value) in columns[start..start + self.head_dim].iter_mut().zip(key) {
            column[position % KEY_SPAN] = *value;
        }
        Ok(())
    }
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
        let group = shape.heads / shape.kv_heads;
        let tiles = tiles(queries, (PART_ROWS / group).max(1));
        let output = SharedSlice::new(output);
        let parts = tiles.len() * shape.kv_heads;
        self.pool().run(parts, |part| {
            // Late tokens see most, so they go first.
            let part = parts - 1 - part;
            let (first, count) = tiles[part / shape.kv_heads];
            let tile = QueryTile {
                shape,
                first,
                queries: &queries[first..first + count],
                kv_head: part % shape.kv_heads,
                output: &output,
            };
            match self.level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an executor of this level exists only where its instructions were detected.
                Level::Avx512Vnni => unsafe { attend_avx512(&tile) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::Avx2 => unsafe { attend_avx2(&tile) },
                // SAFETY: plain arrays need no instructions.
                _ => unsafe { attend::<[f32; LANES], 1, 4>(&tile) },
            }
        });
        Ok(())
    }
}

/// Neighbouring queries of the same slot, some at a time: first query and number.
fn tiles(queries: &[Query<'_>], most: usize) -> Vec<(usize, usize)> {
    let mut tiles: Vec<(usize, usize)> = Vec::new();
    for (index, query) in queries.iter().enumerate() {
        match tiles.last_mut() {
            Some((first, count))
                if *count < most
                    && std::ptr::eq(queries[*first].keys, query.keys)
                    && std::ptr::eq(queries[*first].values, query.values) =>
            {
                *count += 1;
            }
            _ => tiles.push((index, 1)),
        }
    }
    tiles
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
    let (Some(width), Some(slot), Some(keys)) = (width, slot, shape.key_values()) else {
        return fault("sizes overflow");
    };
    for query in queries {
        if query.heads.len() != width {
            return fault("query has another width than its heads");
        }
        if query.keys.len() != keys || query.values.len() != slot {
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

/// The rows of one part: all query heads of some queries that share one head of keys and values.
struct QueryTile<'a> {
    shape: AttentionShape,
    /// Index of the first query among all.
    first: usize,
    queries: &'a [Query<'a>],
    kv_head: usize,
    output: &'a SharedSlice<'a, f32>,
}

/// How far the softmax of a row has come: its highest score, and the sum of its weights.
type Running = (f32, f32);

impl<'a> QueryTile<'a> {
    fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    fn rows(&self) -> usize {
        self.queries.len() * self.group()
    }

    fn query(&self, row: usize) -> &Query<'a> {
        &self.queries[row / self.group()]
    }

    fn head(&self, row: usize) -> &'a [f32] {
        let (group, width) = (self.group(), self.shape.head_dim);
        let head = self.kv_head * group + row % group;
        &self.query(row).heads[head * width..(head + 1) * width]
    }

    /// # Safety
    /// While a row's output lives it is not asked for again, and other parts have other queries or heads.
    #[expect(clippy::mut_from_ref, reason = "the contract keeps rows apart")]
    unsafe fn output(&self, row: usize) -> &mut [f32] {
        let (group, width) = (self.group(), self.shape.head_dim);
        let head = self.kv_head * group + row % group;
        let start = ((self.first + row / group) * self.shape.heads + head) * width;
        // SAFETY: by this function's own contract.
        unsafe { self.output.part(start, width) }
    }

    /// Columns of the keys of one span.
    fn keys(&self, span: usize) -> &'a [[f32; KEY_SPAN]] {
        let width = self.shape.head_dim;
        let start = (self.kv_head * self.shape.slot_tokens.div_ceil(KEY_SPAN) + span) * width;
        &self.queries[0].keys.as_chunks::<KEY_SPAN>().0[start..start + width]
    }

    /// Values of the positions of one span before `end`.
    fn values(&self, span: usize, end: usize) -> &'a [f32] {
        let width = self.shape.head_dim;
        let start = span * KEY_SPAN;
        let base = self.kv_head * self.shape.slot_tokens;
        &self.queries[0].values[(base + start) * width..(base + end.min(start + KEY_SPAN)) * width]
    }
}

/// The same code, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn attend_avx512(tile: &QueryTile<'_>) {
    // SAFETY: this function's own instructions.
    unsafe { attend::<std::arch::x86_64::__m512, 4, 4>(tile) }
}

/// The same code, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn attend_avx2(tile: &QueryTile<'_>) {
    // SAFETY: this function's own instructions.
    unsafe { attend::<[std::arch::x86_64::__m256; 2], 2, 2>(tile) }
}

/// `R` rows at a time, what is left one by one, and `C` vectors of a value: as many sums as there are registers for.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn attend<V: Lanes, const R: usize, const C: usize>(tile: &QueryTile<'_>) {
    for start in (0..tile.rows()).step_by(PART_ROWS) {
        let rows = start..(start + PART_ROWS).min(tile.rows());
        let seen = rows.clone().map(|row| tile.query(row));
        let first = seen.clone().map(|query| query.first).min().unwrap_or(0);
        let end = seen.map(|query| query.end).max().unwrap_or(0);
        let mut running: [Running; PART_ROWS] = [(f32::NEG_INFINITY, 0.0); PART_ROWS];
        for row in rows.clone() {
            // SAFETY: one row at a time.
            unsafe { tile.output(row) }.fill(0.0);
        }
        for span in first / KEY_SPAN..end.div_ceil(KEY_SPAN) {
            let (keys, values) = (tile.keys(span), tile.values(span, end));
            let mut row = rows.start;
            while row < rows.end {
                let running = &mut running[row - start..];
                // SAFETY: the instructions of `V`, by the contract.
                unsafe {
                    if rows.end - row >= R {
                        add_span::<V, R, C>(tile, row, span, keys, values, running);
                        row += R;
                    } else {
                        add_span::<V, 1, C>(tile, row, span, keys, values, running);
                        row += 1;
                    }
                }
            }
        }
        for row in rows.clone() {
            let total = running[row - start].1;
            // SAFETY: one row at a time.
            unsafe { tile.output(row) }.iter_mut().for_each(|value| *value /= total);
        }
    }
}

/// Joins a span of keys and values to `R` rows.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn add_span<V: Lanes, const R: usize, const C: usize>(
    tile: &QueryTile<'_>,
    first_row: usize,
    span: usize,
    keys: &[[f32; KEY_SPAN]],
    values: &[f32],
    running: &mut [Running],
) {
    let heads: [&[f32]; R] = std::array::from_fn(|row| tile.head(first_row + row));
    // SAFETY: the instructions of `V`, by the contract.
    let mut scores = unsafe { scores::<V, R>(heads, keys) };
    // SAFETY: rows of this part, each once.
    let mut outputs: [&mut [f32]; R] = std::array::from_fn(|row| unsafe { tile.output(first_row + row) });
    for row in 0..R {
        let query = tile.query(first_row + row);
        let within = |position: usize| position.saturating_sub(span * KEY_SPAN).min(KEY_SPAN);
        let seen = within(query.first)..within(query.end);
        weigh(tile.shape, &mut scores[row], seen, &mut running[row], outputs[row]);
    }
    let width = tile.shape.head_dim;
    let wide = width / (LANES * C);
    let whole = width / LANES;
    // SAFETY: the instructions of `V`, by the contract.
    unsafe {
        for block in 0..wide {
            let column = block * LANES * C;
            add_values::<V, R, C>(&scores, values, width, column, &mut outputs);
        }
        for block in wide * C..whole {
            add_values::<V, R, 1>(&scores, values, width, block * LANES, &mut outputs);
        }
    }
    if width == whole * LANES {
        return;
    }
    for (scores, output) in scores.iter().zip(&mut outputs) {
        for (score, value) in scores.iter().zip(values.chunks_exact(width)) {
            for (output, value) in output[whole * LANES..].iter_mut().zip(&value[whole * LANES..]) {
                *output += score * value;
            }
        }
    }
}

/// Scalar products of rows with the keys of a span, each summed in the order of the columns.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn scores<V: Lanes, const R: usize>(
    heads: [&[f32]; R],
    keys: &[[f32; KEY_SPAN]],
) -> [[f32; KEY_SPAN]; R] {
    let mut results = [[0.0; KEY_SPAN]; R];
    // SAFETY: the instructions of `V`, by the contract.
    unsafe {
        let mut sums = [[V::splat(0.0); KEY_SPAN / LANES]; R];
        for (column, keys) in keys.iter().enumerate() {
            let (keys, _) = keys.as_chunks::<LANES>();
            let keys: [V; KEY_SPAN / LANES] = load_all(keys);
            for row in 0..R {
                let query = V::splat(heads[row][column]);
                for part in 0..KEY_SPAN / LANES {
                    sums[row][part] = sums[row][part].add_product(query, keys[part]);
                }
            }
        }
        for (result, sums) in results.iter_mut().zip(sums) {
            for (result, sum) in result.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                sum.store(result);
            }
        }
    }
    results
}

/// Scores of one row to weights; what the row has gathered is scaled to the new highest score.
#[inline(always)]
fn weigh(
    shape: AttentionShape,
    scores: &mut [f32; KEY_SPAN],
    seen: std::ops::Range<usize>,
    (highest, total): &mut Running,
    output: &mut [f32],
) {
    if seen.is_empty() {
        *scores = [0.0; KEY_SPAN];
        return;
    }
    for score in scores.iter_mut() {
        *score *= shape.scale;
    }
    if let Some(cap) = shape.softcap {
        scores.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
    }
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    let higher = |a: f32, b: f32| if b > a { b } else { a };
    let mut peaks = [*highest; PEAK_LANES];
    for part in scores.as_chunks::<PEAK_LANES>().0 {
        peaks.iter_mut().zip(part).for_each(|(peak, score)| *peak = higher(*peak, *score));
    }
    let peak = peaks.into_iter().fold(*highest, higher);
    if peak > *highest {
        // The first span finds nothing to scale.
        let factor = if *total == 0.0 { 0.0 } else { exp_below_zero(*highest - peak) };
        *total *= factor;
        output.iter_mut().for_each(|value| *value *= factor);
        *highest = peak;
    }
    for score in scores.iter_mut() {
        *score = exp_below_zero(*score - peak);
    }
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    *total += reduce(*scores);
}

/// Adds weighted values to `C` vectors of `R` rows, in the order of the positions.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn add_values<V: Lanes, const R: usize, const C: usize>(
    scores: &[[f32; KEY_SPAN]; R],
    values: &[f32],
    width: usize,
    column: usize,
    outputs: &mut [&mut [f32]; R],
) {
    // SAFETY: the instructions of `V`, by the contract.
    unsafe {
        let mut sums = [[V::splat(0.0); C]; R];
        for (sums, output) in sums.iter_mut().zip(&*outputs) {
            *sums = load_all(output[column..].as_chunks::<LANES>().0);
        }
        for (position, value) in values.chunks_exact(width).enumerate() {
            let (parts, _) = value[column..].as_chunks::<LANES>();
            let parts: [V; C] = load_all(parts);
            for row in 0..R {
                let score = V::splat(scores[row][position]);
                for part in 0..C {
                    sums[row][part] = sums[row][part].add_product(score, parts[part]);
                }
            }
        }
        for (output, sums) in outputs.iter_mut().zip(sums) {
            let (parts, _) = output[column..].as_chunks_mut::<LANES>();
            for (part, sum) in parts.iter_mut().zip(sums) {
                sum.store(part);
            }
        }
    }
}

/// The first `N` vectors. A loop and no closure: a closure without the vectors' instructions becomes a call for each load.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn load_all<V: Lanes, const N: usize>(parts: &[[f32; LANES]]) -> [V; N] {
    // SAFETY: the instructions of `V`, by the contract.
    unsafe {
        let mut vectors = [V::splat(0.0); N];
        for (vector, part) in vectors.iter_mut().zip(&parts[..N]) {
            *vector = V::load(part);
        }
        vectors
    }
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
    // Adding 1.5 · 2²³ leaves the nearest whole number in the low bits: a conversion would not become vector code.
    const ROUND: f32 = 12_582_912.0;
    let shifted = within * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = within - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut y = 1.987_569_2e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        y = y * r + coefficient;
    }
    let y = y * r * r + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x > -87.0 { y * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_close_everywhere() {
        for step in (0..100_000).step_by(if cfg!(miri) { 997 } else { 1 }) {
            let x = -(step as f32) * 0.0009;
            let (ours, exact) = (f64::from(exp_below_zero(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 3e-7 * exact + 1.7e-38, "{x}: {ours} {exact}");
        }
        assert!(exp_below_zero(0.0) == 1.0 && exp_below_zero(f32::NEG_INFINITY) == 0.0);
    }
}
