//! A tile's product with AVX-512 VNNI: a lane is a row, four columns an instruction.

#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_loadu_si256, _mm512_add_ps,
    _mm512_and_si512, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi16, _mm512_srli_epi16,
    _mm512_storeu_ps, _mm512_xor_si512,
};

use half::f16;

use crate::activations::ActivationRow;
use crate::format::{BLOCK, Format, TILE};
use crate::packed::{Line, Tile};

/// Lines asked for ahead of those worked on: 2 KiB.
const AHEAD: usize = 32;

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

/// Shares as f32, from unsigned bytes or signed ones.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_shares(shares: &[u8; TILE], signed: bool) -> __m512 {
    // SAFETY: sixteen bytes; the load needs no alignment.
    let bytes = unsafe { _mm_loadu_si128(shares.as_ptr().cast()) };
    _mm512_cvtepi32_ps(if signed { _mm512_cvtepi8_epi32(bytes) } else { _mm512_cvtepu8_epi32(bytes) })
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
#[target_feature(enable = "avx512f")]
fn four(values: &[i8; BLOCK], column: usize) -> __m512i {
    // One load: of bytes picked one by one the compiler makes four where it does not unroll.
    let (fours, _) = values.as_chunks::<4>();
    _mm512_set1_epi32(i32::from_le_bytes(fours[column / 4].map(i8::cast_unsigned)))
}

/// Sixteen results for each of `T` tokens, the bits of `portable::tile`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) fn tile<F: Format, const T: usize>(
    tile: Tile<'_>,
    rows: [ActivationRow<'_>; T],
) -> [[f32; TILE]; T] {
    let low_half = _mm512_set1_epi8(15);
    let sign = _mm512_set1_epi8(i8::MIN);
    let upper_bits = _mm512_set1_epi8(0x30);
    let mut totals = [_mm512_setzero_ps(); T];
    for (index, lines) in tile.lines.chunks_exact(F::LINES).enumerate() {
        if T == 1 && F::LINES > 4 {
            ahead(lines);
        }
        // The instruction wants unsigned weights. 8-bit ones are moved up by 128, and that is taken back in
        // the start value, as is what narrower ones are stored above their value.
        let shift = if F::LINES == 8 { 128 } else { F::SHIFT };
        let start = |sum: i32| _mm512_set1_epi32(-shift * sum);
        let mut sums = rows.map(|row| {
            let facts = row.blocks[index];
            start(if F::SIX_BITS { facts.first_sum } else { facts.sum })
        });
        // Only where the second sixteen columns have a scale of their own.
        let mut second_sums = rows.map(|row| start(row.blocks[index].sum - row.blocks[index].first_sum));
        let line_pairs = if F::SIX_BITS { &lines[..4] } else { lines };
        for (j, line) in line_pairs.iter().enumerate() {
            let line = load(line);
            if F::LINES == 8 {
                let weights = _mm512_xor_si512(line, sign);
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    *sum = _mm512_dpbusd_epi32(*sum, weights, four(&row.values[index], 4 * j));
                }
                continue;
            }
            let mut low = _mm512_and_si512(line, low_half);
            let mut high = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low_half);
            if F::SIX_BITS {
                let bits = load(&lines[4 + j / 2]);
                let [first, second] = if j % 2 == 0 {
                    [_mm512_slli_epi16::<4>(bits), _mm512_slli_epi16::<2>(bits)]
                } else {
                    [bits, _mm512_srli_epi16::<2>(bits)]
                };
                low = _mm512_or_si512(low, _mm512_and_si512(first, upper_bits));
                high = _mm512_or_si512(high, _mm512_and_si512(second, upper_bits));
            }
            for ((sum, second), row) in sums.iter_mut().zip(&mut second_sums).zip(&rows) {
                let values = &row.values[index];
                *sum = _mm512_dpbusd_epi32(*sum, low, four(values, 4 * j));
                let second = if F::SIX_BITS { second } else { sum };
                *second = _mm512_dpbusd_epi32(*second, high, four(values, BLOCK / 2 + 4 * j));
            }
        }
        let (factors, _) = tile.factors[index / F::STRETCHES * F::FACTORS..].as_chunks::<TILE>();
        let mut scales = load_factors(&factors[0]);
        let mut minima = if F::MINIMUM { load_factors(&factors[1]) } else { _mm512_setzero_ps() };
        let mut two_shares = [_mm512_setzero_ps(); 2];
        if F::SHARES > 0 {
            let shares = &tile.shares[2 * index..2 * index + 2];
            two_shares = [load_shares(&shares[0], F::SIX_BITS), load_shares(&shares[1], F::SIX_BITS)];
            if !F::SIX_BITS {
                minima = _mm512_mul_ps(minima, two_shares[1]);
                scales = _mm512_mul_ps(scales, two_shares[0]);
            }
        }
        for t in 0..T {
            let facts = rows[t].blocks[index];
            let mut sum = _mm512_cvtepi32_ps(sums[t]);
            if F::SIX_BITS {
                // Whole numbers below 2²⁴: nothing is rounded.
                let second = _mm512_mul_ps(_mm512_cvtepi32_ps(second_sums[t]), two_shares[1]);
                sum = _mm512_add_ps(_mm512_mul_ps(sum, two_shares[0]), second);
            }
            let mut scaled = _mm512_mul_ps(_mm512_mul_ps(sum, scales), _mm512_set1_ps(facts.scale));
            if F::MINIMUM {
                let sum = if F::SHARES > 0 { facts.exact_scaled_sum() } else { facts.scaled_sum };
                scaled = _mm512_add_ps(scaled, _mm512_mul_ps(minima, _mm512_set1_ps(sum)));
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
