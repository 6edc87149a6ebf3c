//! A tile's product with AVX-512 VNNI: a lane is a row, four columns an instruction.

#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    __m512, __m512i, _mm256_loadu_si256, _mm512_add_ps, _mm512_and_si512, _mm512_cvtepi32_ps,
    _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_srli_epi16, _mm512_storeu_ps,
    _mm512_xor_si512,
};

use half::f16;

use crate::activations::ActivationRow;
use crate::format::{BLOCK, Format, TILE};
use crate::packed::{Line, Tile};

#[inline]
#[target_feature(enable = "avx512f")]
fn load(line: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(line.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_factors(factors: &[f16; TILE]) -> __m512 {
    // SAFETY: sixteen 16-bit floats are 32 bytes; the load needs no alignment.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(factors.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn four(values: &[i8; BLOCK], column: usize) -> __m512i {
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| values[column + at].cast_unsigned());
    _mm512_set1_epi32(i32::from_le_bytes([a, b, c, d]))
}

/// Sixteen results for each of `T` tokens, the bits of `portable::tile`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) fn tile<F: Format, const T: usize>(
    tile: Tile<'_>,
    rows: [ActivationRow<'_>; T],
) -> [[f32; TILE]; T] {
    let low_half = _mm512_set1_epi8(15);
    let sign = _mm512_set1_epi8(i8::MIN);
    let mut totals = [_mm512_setzero_ps(); T];
    let blocks = tile.lines.chunks_exact(F::LINES).zip(tile.factors.chunks_exact(F::FACTORS));
    for (index, (lines, factors)) in blocks.enumerate() {
        // The instruction wants unsigned weights. 8-bit ones are moved up by 128, and that is taken back in
        // the start value, as are the 8 that 4-bit ones are stored above their value.
        let shift = if F::LINES == 8 { 128 } else { F::SHIFT };
        let mut sums = rows.map(|row| _mm512_set1_epi32(-shift * row.blocks[index].sum));
        for (j, line) in lines.iter().enumerate() {
            let line = load(line);
            if F::LINES == 8 {
                let weights = _mm512_xor_si512(line, sign);
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    *sum = _mm512_dpbusd_epi32(*sum, weights, four(&row.values[index], 4 * j));
                }
            } else {
                let low = _mm512_and_si512(line, low_half);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low_half);
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    let values = &row.values[index];
                    *sum = _mm512_dpbusd_epi32(*sum, low, four(values, 4 * j));
                    *sum = _mm512_dpbusd_epi32(*sum, high, four(values, BLOCK / 2 + 4 * j));
                }
            }
        }
        let (factors, _) = factors.as_chunks::<TILE>();
        let scales = load_factors(&factors[0]);
        let minima = if F::MINIMUM { load_factors(&factors[1]) } else { _mm512_setzero_ps() };
        for t in 0..T {
            let facts = rows[t].blocks[index];
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t]), scales);
            let mut scaled = _mm512_mul_ps(scaled, _mm512_set1_ps(facts.scale));
            if F::MINIMUM {
                let minimum = _mm512_mul_ps(minima, _mm512_set1_ps(facts.scaled_sum));
                scaled = _mm512_add_ps(scaled, minimum);
            }
            totals[t] = _mm512_add_ps(totals[t], scaled);
        }
    }
    totals.map(|total| {
        let mut values = [0.0; TILE];
        // SAFETY: sixteen f32 are the 64 bytes stored; the store needs no alignment.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), total) };
        values
    })
}
