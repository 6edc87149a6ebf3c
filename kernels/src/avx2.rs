//! A tile's product with AVX2: a lane is a row, a tile two vectors.
//!
//! For 4-bit weights pairs of products add up in 16 bits over a whole block: 8 · 2 · 15 · 127 = 30,480 at most.
//! For 8-bit ones a pair is 2 · 128 · 127 = 32,512 at most, for 6-bit ones 2 · 63 · 127 = 16,002: widened at once.

#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_loadl_epi64, _mm_loadu_si128, _mm_prefetch, _mm256_abs_epi8,
    _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8,
    _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_ps,
};

use half::f16;

use crate::activations::ActivationRow;
use crate::format::{BLOCK, Format, TILE};
use crate::packed::{Line, Tile};

/// Lines asked for ahead of those worked on: 2 KiB.
const AHEAD: usize = 32;

const HALF: usize = TILE / 2;

#[inline]
#[target_feature(enable = "avx2")]
fn load(line: &Line, half: usize) -> __m256i {
    let (halves, _) = line.0.as_chunks::<32>();
    // SAFETY: half a line is 32 bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(halves[half].as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load_factors(factors: &[f16; HALF]) -> __m256 {
    // SAFETY: eight 16-bit floats are 16 bytes; the load needs no alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(factors.as_ptr().cast()) })
}

/// Shares of half a tile as f32, from unsigned bytes or signed ones.
#[inline]
#[target_feature(enable = "avx2")]
fn load_shares(shares: &[u8; TILE], half: usize, signed: bool) -> __m256 {
    let (halves, _) = shares.as_chunks::<HALF>();
    // SAFETY: eight bytes; the load needs no alignment.
    let bytes = unsafe { _mm_loadl_epi64(halves[half].as_ptr().cast()) };
    _mm256_cvtepi32_ps(if signed { _mm256_cvtepi8_epi32(bytes) } else { _mm256_cvtepu8_epi32(bytes) })
}

/// Asks for the lines that come [`AHEAD`] of these. One token's product of 6-bit and 8-bit weights waits for memory
/// without it; with 4-bit weights nothing is gained.
#[inline]
fn ahead(lines: &[Line]) {
    for at in 0..lines.len() {
        let line = lines.as_ptr().wrapping_add(AHEAD + at);
        // SAFETY: a hint; it neither reads nor faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn four(values: &[i8; BLOCK], column: usize) -> __m256i {
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| values[column + at].cast_unsigned());
    _mm256_set1_epi32(i32::from_le_bytes([a, b, c, d]))
}

/// Sixteen results for each of `T` tokens, the bits of `portable::tile`.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn tile<F: Format, const T: usize>(
    tile: Tile<'_>,
    rows: [ActivationRow<'_>; T],
) -> [[f32; TILE]; T] {
    // Both halves of a tile share what is loaded of the activations; with the two sums of 6-bit weights too little
    // would stay in registers.
    if F::SIX_BITS { halves::<F, T, 1>(tile, rows) } else { halves::<F, T, 2>(tile, rows) }
}

/// `H` of a tile's two halves at a time.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn halves<F: Format, const T: usize, const H: usize>(
    tile: Tile<'_>,
    rows: [ActivationRow<'_>; T],
) -> [[f32; TILE]; T] {
    let low_half = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let upper_bits = _mm256_set1_epi8(0x30);
    let mut totals = [[_mm256_setzero_ps(); T]; 2];
    for (index, lines) in tile.lines.chunks_exact(F::LINES).enumerate() {
        if T == 1 && F::LINES > 4 {
            ahead(lines);
        }
        let (factors, _) = tile.factors[index / F::STRETCHES * F::FACTORS..].as_chunks::<HALF>();
        let values = rows.map(|row| &row.values[index]);
        for (at, totals) in totals.as_chunks_mut::<H>().0.iter_mut().enumerate() {
            let half = |h: usize| at * H + h;
            // 16-bit sums of 4-bit weights, 32-bit sums of wider ones.
            let mut sums = [[_mm256_setzero_si256(); T]; H];
            // Only where the second sixteen columns have a scale of their own.
            let mut second_sums = [[_mm256_setzero_si256(); T]; H];
            let line_pairs = if F::SIX_BITS { &lines[..4] } else { lines };
            for (j, line) in line_pairs.iter().enumerate() {
                let lines: [__m256i; H] = std::array::from_fn(|h| load(line, half(h)));
                if F::LINES == 8 {
                    let sizes = lines.map(|line| _mm256_abs_epi8(line));
                    for (t, values) in values.iter().enumerate() {
                        let values = four(values, 4 * j);
                        for h in 0..H {
                            let signed = _mm256_sign_epi8(values, lines[h]);
                            let pairs = _mm256_maddubs_epi16(sizes[h], signed);
                            sums[h][t] = _mm256_add_epi32(sums[h][t], _mm256_madd_epi16(pairs, ones));
                        }
                    }
                    continue;
                }
                let mut low = lines.map(|line| _mm256_and_si256(line, low_half));
                let mut high = lines.map(|line| _mm256_and_si256(_mm256_srli_epi16::<4>(line), low_half));
                if F::SIX_BITS {
                    for h in 0..H {
                        let bits = load(&tile.lines[index * F::LINES + 4 + j / 2], half(h));
                        let [first, second] = if j % 2 == 0 {
                            [_mm256_slli_epi16::<4>(bits), _mm256_slli_epi16::<2>(bits)]
                        } else {
                            [bits, _mm256_srli_epi16::<2>(bits)]
                        };
                        low[h] = _mm256_or_si256(low[h], _mm256_and_si256(first, upper_bits));
                        high[h] = _mm256_or_si256(high[h], _mm256_and_si256(second, upper_bits));
                    }
                }
                for (t, values) in values.iter().enumerate() {
                    let (first, second) = (four(values, 4 * j), four(values, BLOCK / 2 + 4 * j));
                    for h in 0..H {
                        let pairs = _mm256_maddubs_epi16(low[h], first);
                        let second_pairs = _mm256_maddubs_epi16(high[h], second);
                        let (sum, second) = (&mut sums[h][t], &mut second_sums[h][t]);
                        if F::SIX_BITS {
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                            *second = _mm256_add_epi32(*second, _mm256_madd_epi16(second_pairs, ones));
                        } else {
                            *sum = _mm256_add_epi16(*sum, pairs);
                            *sum = _mm256_add_epi16(*sum, second_pairs);
                        }
                    }
                }
            }
            for (h, totals) in totals.iter_mut().enumerate() {
                let half = half(h);
                let mut scales = load_factors(&factors[half]);
                let mut second_scales = _mm256_setzero_ps();
                let mut minima =
                    if F::MINIMUM { load_factors(&factors[2 + half]) } else { _mm256_setzero_ps() };
                if F::SHARES > 0 {
                    let shares = &tile.shares[2 * index..2 * index + 2];
                    if F::SIX_BITS {
                        second_scales = _mm256_mul_ps(scales, load_shares(&shares[1], half, true));
                    } else {
                        minima = _mm256_mul_ps(minima, load_shares(&shares[1], half, false));
                    }
                    scales = _mm256_mul_ps(scales, load_shares(&shares[0], half, F::SIX_BITS));
                }
                for t in 0..T {
                    let facts = &rows[t].blocks[index];
                    let mut sum = sums[h][t];
                    if F::LINES != 8 {
                        if !F::SIX_BITS {
                            sum = _mm256_madd_epi16(sum, ones);
                        }
                        if F::SHIFT != 0 {
                            let stored_above = if F::SIX_BITS { facts.first_sum } else { facts.sum };
                            sum = _mm256_add_epi32(sum, _mm256_set1_epi32(-F::SHIFT * stored_above));
                        }
                    }
                    let mut scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scales);
                    if F::SIX_BITS {
                        let shift = _mm256_set1_epi32(-F::SHIFT * (facts.sum - facts.first_sum));
                        let second = _mm256_cvtepi32_ps(_mm256_add_epi32(second_sums[h][t], shift));
                        scaled = _mm256_add_ps(scaled, _mm256_mul_ps(second, second_scales));
                    }
                    let mut scaled = _mm256_mul_ps(scaled, _mm256_set1_ps(facts.scale));
                    if F::MINIMUM {
                        let sum = if F::SHARES > 0 { facts.exact_scaled_sum() } else { facts.scaled_sum };
                        scaled = _mm256_add_ps(scaled, _mm256_mul_ps(minima, _mm256_set1_ps(sum)));
                    }
                    totals[t] = _mm256_add_ps(totals[t], scaled);
                }
            }
        }
    }
    let mut results = [[0.0; TILE]; T];
    for (half, totals) in totals.iter().enumerate() {
        for (result, total) in results.iter_mut().zip(totals) {
            let (halves, _) = result.as_chunks_mut::<HALF>();
            // SAFETY: eight f32 are the 32 bytes stored; the store needs no alignment.
            unsafe { _mm256_storeu_ps(halves[half].as_mut_ptr(), *total) };
        }
    }
    results
}
