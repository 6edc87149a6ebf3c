//! A tile's product with AVX2: a lane is a row, a tile two vectors.
//!
//! For 4-bit weights pairs of products add up in 16 bits over a whole block: 8 · 2 · 15 · 127 = 30,480 at most.
//! For 8-bit ones a pair is 2 · 128 · 127 = 32,512 at most, and is widened at once.

#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_cvtph_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_srli_epi16,
    _mm256_storeu_ps,
};

use half::f16;

use crate::activations::ActivationRow;
use crate::format::{BLOCK, Format, TILE};
use crate::packed::{Line, Tile};

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
    let low_half = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let mut totals = [[_mm256_setzero_ps(); T]; 2];
    let blocks = tile.lines.chunks_exact(F::LINES).zip(tile.factors.chunks_exact(F::FACTORS));
    for (index, (lines, factors)) in blocks.enumerate() {
        let (factors, _) = factors.as_chunks::<HALF>();
        for (half, totals) in totals.iter_mut().enumerate() {
            // 16-bit sums of 4-bit weights, 32-bit sums of 8-bit weights.
            let mut sums = [_mm256_setzero_si256(); T];
            for (j, line) in lines.iter().enumerate() {
                let line = load(line, half);
                if F::LINES == 8 {
                    let sizes = _mm256_abs_epi8(line);
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        let signed = _mm256_sign_epi8(four(&row.values[index], 4 * j), line);
                        let pairs = _mm256_maddubs_epi16(sizes, signed);
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                    }
                } else {
                    let low = _mm256_and_si256(line, low_half);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(line), low_half);
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        let values = &row.values[index];
                        let pairs = _mm256_maddubs_epi16(low, four(values, 4 * j));
                        *sum = _mm256_add_epi16(*sum, pairs);
                        let pairs = _mm256_maddubs_epi16(high, four(values, BLOCK / 2 + 4 * j));
                        *sum = _mm256_add_epi16(*sum, pairs);
                    }
                }
            }
            let scales = load_factors(&factors[half]);
            let minima = if F::MINIMUM { load_factors(&factors[2 + half]) } else { _mm256_setzero_ps() };
            for t in 0..T {
                let facts = rows[t].blocks[index];
                let mut sum = sums[t];
                if F::LINES != 8 {
                    let shift = _mm256_set1_epi32(-F::SHIFT * facts.sum);
                    sum = _mm256_add_epi32(_mm256_madd_epi16(sum, ones), shift);
                }
                let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scales);
                let mut scaled = _mm256_mul_ps(scaled, _mm256_set1_ps(facts.scale));
                if F::MINIMUM {
                    let minimum = _mm256_mul_ps(minima, _mm256_set1_ps(facts.scaled_sum));
                    scaled = _mm256_add_ps(scaled, minimum);
                }
                totals[t] = _mm256_add_ps(totals[t], scaled);
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
