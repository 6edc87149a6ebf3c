//! A tile's product with AVX2: a lane is a row, a tile two vectors.
//!
//! For 4-bit weights pairs of products add up in 16 bits over a whole block: 8 · 2 · 15 · 127 = 30,480 at most.
//! For 8-bit ones a pair is 2 · 128 · 127 = 32,512 at most: widened at once. 6-bit ones have a file of their own.

#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_loadl_epi64, _mm_loadu_si128, _mm_prefetch, _mm256_abs_epi8,
    _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_cvtepi32_ps,
    _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_sign_epi8, _mm256_srli_epi16, _mm256_storeu_ps,
};

use half::f16;

use crate::activations::ActivationRow;
use crate::avx2_six_bits;
use crate::format::{BLOCK, Format, TILE};
use crate::packed::{Line, Tile};

/// Lines asked for ahead of those worked on: 2 KiB.
const AHEAD: usize = 32;

/// Rows of half a tile.
pub(crate) const HALF: usize = TILE / 2;

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn load(line: &Line, half: usize) -> __m256i {
    let (halves, _) = line.0.as_chunks::<32>();
    // SAFETY: half a line is 32 bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(halves[half].as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn load_factors(factors: &[f16; HALF]) -> __m256 {
    // SAFETY: eight 16-bit floats are 16 bytes; the load needs no alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(factors.as_ptr().cast()) })
}

/// Shares of half a tile as f32.
#[inline]
#[target_feature(enable = "avx2")]
fn load_shares(shares: &[u8; TILE], half: usize) -> __m256 {
    let (halves, _) = shares.as_chunks::<HALF>();
    // SAFETY: eight bytes; the load needs no alignment.
    let bytes = unsafe { _mm_loadl_epi64(halves[half].as_ptr().cast()) };
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
}

/// Asks for the lines that come [`AHEAD`] of these. One token's product of 6-bit and 8-bit weights waits for memory
/// without it; with 4-bit weights nothing is gained.
#[inline]
pub(crate) fn ahead(lines: &[Line]) {
    for at in 0..lines.len() {
        let line = lines.as_ptr().wrapping_add(AHEAD + at);
        // SAFETY: a hint; it neither reads nor faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn four(values: &[i8; BLOCK], column: usize) -> __m256i {
    // One load: of bytes picked one by one the compiler makes four where it does not unroll.
    let (fours, _) = values.as_chunks::<4>();
    _mm256_set1_epi32(i32::from_le_bytes(fours[column / 4].map(i8::cast_unsigned)))
}

/// Sixteen results for each of `T` tokens, the bits of `portable::tile`. Both halves of a tile share what is loaded of the
/// activations.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn tile<F: Format, const T: usize>(
    tile: Tile<'_>,
    rows: [ActivationRow<'_>; T],
) -> [[f32; TILE]; T] {
    if F::SIX_BITS {
        return avx2_six_bits::tile::<T, false>(tile, tile.lines, rows);
    }
    let low_half = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let mut totals = [[_mm256_setzero_ps(); T]; 2];
    for (index, lines) in tile.lines.chunks_exact(F::LINES).enumerate() {
        if T == 1 && F::LINES > 4 {
            ahead(lines);
        }
        let (factors, _) = tile.factors[index / F::STRETCHES * F::FACTORS..].as_chunks::<HALF>();
        let values = rows.map(|row| &row.values[index]);
        // 16-bit sums of 4-bit weights, 32-bit sums of 8-bit ones.
        let mut sums = [[_mm256_setzero_si256(); T]; 2];
        for (j, line) in lines.iter().enumerate() {
            let lines = [load(line, 0), load(line, 1)];
            if F::LINES == 8 {
                let sizes = lines.map(|line| _mm256_abs_epi8(line));
                for (t, values) in values.iter().enumerate() {
                    let values = four(values, 4 * j);
                    for h in 0..2 {
                        let signed = _mm256_sign_epi8(values, lines[h]);
                        let pairs = _mm256_maddubs_epi16(sizes[h], signed);
                        sums[h][t] = _mm256_add_epi32(sums[h][t], _mm256_madd_epi16(pairs, ones));
                    }
                }
                continue;
            }
            let low = lines.map(|line| _mm256_and_si256(line, low_half));
            let high = lines.map(|line| _mm256_and_si256(_mm256_srli_epi16::<4>(line), low_half));
            for (t, values) in values.iter().enumerate() {
                let (first, second) = (four(values, 4 * j), four(values, BLOCK / 2 + 4 * j));
                for h in 0..2 {
                    let sum = &mut sums[h][t];
                    *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(low[h], first));
                    *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(high[h], second));
                }
            }
        }
        for (half, totals) in totals.iter_mut().enumerate() {
            let mut scales = load_factors(&factors[half]);
            let mut minima = if F::MINIMUM { load_factors(&factors[2 + half]) } else { _mm256_setzero_ps() };
            if F::SHARES > 0 {
                let shares = &tile.shares[2 * index..2 * index + 2];
                minima = _mm256_mul_ps(minima, load_shares(&shares[1], half));
                scales = _mm256_mul_ps(scales, load_shares(&shares[0], half));
            }
            for t in 0..T {
                let facts = &rows[t].blocks[index];
                let mut sum = sums[half][t];
                if F::LINES != 8 {
                    sum = _mm256_madd_epi16(sum, ones);
                    if F::SHIFT != 0 {
                        sum = _mm256_add_epi32(sum, _mm256_set1_epi32(-F::SHIFT * facts.sum));
                    }
                }
                let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scales);
                let mut scaled = _mm256_mul_ps(scaled, _mm256_set1_ps(facts.scale));
                if F::MINIMUM {
                    let sum = if F::SHARES > 0 { facts.exact_scaled_sum() } else { facts.scaled_sum };
                    scaled = _mm256_add_ps(scaled, _mm256_mul_ps(minima, _mm256_set1_ps(sum)));
                }
                totals[t] = _mm256_add_ps(totals[t], scaled);
            }
        }
    }
    store(totals)
}

/// The totals of both halves as results of the tokens.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn store<const T: usize>(totals: [[__m256; T]; 2]) -> [[f32; TILE]; T] {
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
