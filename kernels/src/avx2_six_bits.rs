//! A tile's product of 6-bit weights (`Q6_K`) with AVX2: a lane is a row, half a tile a vector.
//!
//! A pair of products is 2 · 63 · 127 = 16,002 at most, so that two pairs add up in 16 bits. They are widened by the very
//! multiplication with the share of their sixteen columns, and one sum serves both halves of the 32 columns.

#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    __m256i, _mm_loadl_epi64, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
    _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_slli_epi16, _mm256_slli_epi32, _mm256_srli_epi16, _mm256_storeu_si256,
    _mm256_sub_epi32,
};

use crate::activations::{ActivationRow, BlockFacts};
use crate::avx2::{HALF, ahead, four, load, load_factors, store};
use crate::format::{BLOCK, Format, Q6K, TILE};
use crate::packed::{Line, Tile};

/// Lines of 32 columns with a byte a weight.
const UNPACKED_LINES: usize = 8;

/// Shares of half a tile, one of 32 bits a row.
#[inline]
#[target_feature(enable = "avx2")]
fn load_shares(shares: &[u8; TILE], half: usize) -> __m256i {
    let (halves, _) = shares.as_chunks::<HALF>();
    // SAFETY: eight bytes; the load needs no alignment.
    _mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(halves[half].as_ptr().cast()) })
}

/// Two whole numbers of 16 bits in each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn side_by_side(low: __m256i, high: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32::<16>(high))
}

/// What the weights are stored above their values, times the activations: 32 · (share · first sum + share · second sum).
#[inline]
#[target_feature(enable = "avx2")]
fn stored_above(shares: __m256i, facts: BlockFacts) -> __m256i {
    let second = facts.sum - facts.first_sum;
    // Sums of sixteen values are 16 · 127 at most.
    let sums = _mm256_set1_epi32((facts.first_sum & 0xffff) | (second << 16));
    _mm256_slli_epi32::<5>(_mm256_madd_epi16(shares, sums))
}

/// Eight columns of half a tile in two vectors, a byte a weight: columns 8 `pair` to 8 `pair` + 7 of the first or second sixteen.
#[inline]
#[target_feature(enable = "avx2")]
fn weights<const UNPACKED: bool>(lines: &[Line], second: bool, pair: usize, half: usize) -> [__m256i; 2] {
    if UNPACKED {
        let first = 4 * usize::from(second) + 2 * pair;
        return [load(&lines[first], half), load(&lines[first + 1], half)];
    }
    let (low_bits, upper_bits) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
    let (even, odd) = (load(&lines[2 * pair], half), load(&lines[2 * pair + 1], half));
    let bits = load(&lines[4 + pair], half);
    let [nibbles, bits] = if second {
        let nibbles = [_mm256_srli_epi16::<4>(even), _mm256_srli_epi16::<4>(odd)];
        [nibbles, [_mm256_slli_epi16::<2>(bits), _mm256_srli_epi16::<2>(bits)]]
    } else {
        [[even, odd], [_mm256_slli_epi16::<4>(bits), bits]]
    };
    let mut bytes = nibbles;
    for at in 0..2 {
        let nibbles = _mm256_and_si256(nibbles[at], low_bits);
        bytes[at] = _mm256_or_si256(nibbles, _mm256_and_si256(bits[at], upper_bits));
    }
    bytes
}

/// A byte a weight, [`UNPACKED_LINES`] for 32 columns.
#[target_feature(enable = "avx2")]
pub(crate) fn unpack(packed: &[Line], unpacked: &mut Vec<Line>) {
    unpacked.resize(packed.len() / Q6K::LINES * UNPACKED_LINES, Line([0; 64]));
    for (lines, bytes) in packed.chunks_exact(Q6K::LINES).zip(unpacked.chunks_exact_mut(UNPACKED_LINES)) {
        for (at, bytes) in bytes.chunks_exact_mut(2).enumerate() {
            for half in 0..2 {
                let weights = weights::<false>(lines, at / 2 == 1, at % 2, half);
                for (line, weights) in bytes.iter_mut().zip(weights) {
                    let (halves, _) = line.0.as_chunks_mut::<32>();
                    // SAFETY: half a line is the 32 bytes stored; the store needs no alignment.
                    unsafe { _mm256_storeu_si256(halves[half].as_mut_ptr().cast(), weights) };
                }
            }
        }
    }
}

/// Sixteen results for each of `T` tokens, the bits of `portable::tile`; `lines` are the tile's own, or those unpacked.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn tile<const T: usize, const UNPACKED: bool>(
    tile: Tile<'_>,
    lines: &[Line],
    rows: [ActivationRow<'_>; T],
) -> [[f32; TILE]; T] {
    let mut totals = [[_mm256_setzero_ps(); T]; 2];
    let stretch = if UNPACKED { UNPACKED_LINES } else { Q6K::LINES };
    for (index, lines) in lines.chunks_exact(stretch).enumerate() {
        if T == 1 {
            ahead(lines);
        }
        let (factors, _) = tile.factors[index / Q6K::STRETCHES * Q6K::FACTORS..].as_chunks::<HALF>();
        let values = rows.map(|row| &row.values[index]);
        let shares = &tile.shares[2 * index..2 * index + 2];
        let mut sums = [[_mm256_setzero_si256(); T]; 2];
        for second in [false, true] {
            let share = |half: usize| {
                let share = load_shares(&shares[usize::from(second)], half);
                side_by_side(share, share)
            };
            let share = [share(0), share(1)];
            for pair in 0..2 {
                let weights = [
                    weights::<UNPACKED>(lines, second, pair, 0),
                    weights::<UNPACKED>(lines, second, pair, 1),
                ];
                let at = BLOCK / 2 * usize::from(second) + 8 * pair;
                for (t, values) in values.iter().enumerate() {
                    let (even, odd) = (four(values, at), four(values, at + 4));
                    for half in 0..2 {
                        let pairs = _mm256_add_epi16(
                            _mm256_maddubs_epi16(weights[half][0], even),
                            _mm256_maddubs_epi16(weights[half][1], odd),
                        );
                        let shared = _mm256_madd_epi16(pairs, share[half]);
                        sums[half][t] = _mm256_add_epi32(sums[half][t], shared);
                    }
                }
            }
        }
        for (half, totals) in totals.iter_mut().enumerate() {
            let scales = load_factors(&factors[half]);
            let shares = side_by_side(load_shares(&shares[0], half), load_shares(&shares[1], half));
            for t in 0..T {
                let facts = rows[t].blocks[index];
                // Below 2²⁴, so that it becomes f32 without rounding.
                let exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums[half][t], stored_above(shares, facts)));
                let scaled = _mm256_mul_ps(_mm256_mul_ps(exact, scales), _mm256_set1_ps(facts.scale));
                totals[t] = _mm256_add_ps(totals[t], scaled);
            }
        }
    }
    store(totals)
}
