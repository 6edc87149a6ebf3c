//! The packed products on AVX2, found at run time through `pulp`, whose tokens make the instructions safe
//! to call.

use pulp::x86::V3;
use pulp::{NullaryFnOnce, cast};
use std::arch::x86_64::{__m256, __m256i};
use std::sync::LazyLock;

use super::activations::TileBlock;
use super::packed::{ByteBlock, Group, LANES, NibbleBlock};

static AVX2: LazyLock<Option<V3>> = LazyLock::new(V3::try_new);

/// Adds a tile's products to `sums`; `false` where the machine lacks the instructions.
pub(crate) fn multiply<const N: usize>(
    group: &Group<'_>,
    tile: &[TileBlock<N>],
    sums: &mut [[f32; LANES]; N],
) -> bool {
    let Some(simd) = *AVX2 else { return false };
    match group {
        Group::Nibbles(blocks) => simd.vectorize(Nibbles { simd, blocks, tile, sums }),
        Group::Bytes(blocks) => simd.vectorize(Bytes { simd, blocks, tile, sums }),
    }
    true
}

struct Nibbles<'a, const N: usize> {
    simd: V3,
    blocks: &'a [NibbleBlock],
    tile: &'a [TileBlock<N>],
    sums: &'a mut [[f32; LANES]; N],
}

/// The four activations of vector `index`, in every lane.
#[inline(always)]
fn spread(simd: V3, quants: &[i8; 32], index: usize) -> __m256i {
    let (fours, _) = quants.as_chunks::<4>();
    let four = fours.get(index).copied().unwrap_or_default();
    simd.avx._mm256_set1_epi32(cast(four))
}

/// Adds block sums of eight rows, as 16-bit pairs, scaled to one token's totals.
#[inline(always)]
fn add_scaled(simd: V3, pairs: __m256i, scales: __m256, scale: f32, total: __m256) -> __m256 {
    let ones = simd.avx._mm256_set1_epi16(1);
    let whole = simd.avx._mm256_cvtepi32_ps(simd.avx2._mm256_madd_epi16(pairs, ones));
    let scales = simd.avx._mm256_mul_ps(scales, simd.avx._mm256_set1_ps(scale));
    simd.fma._mm256_fmadd_ps(whole, scales, total)
}

impl<const N: usize> NullaryFnOnce for Nibbles<'_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, blocks, tile, sums } = self;
        let mask = simd.avx._mm256_set1_epi8(15);
        let mut totals = [simd.avx._mm256_setzero_ps(); N];
        for (block, tile) in blocks.iter().zip(tile) {
            // Each of the eight products adds at most 2 · 15 · 127 to a 16-bit sum: 30,480 in all.
            let mut pairs = [simd.avx._mm256_setzero_si256(); N];
            for (index, vector) in block.quants.iter().enumerate() {
                let both: __m256i = cast(*vector);
                let low = simd.avx2._mm256_and_si256(both, mask);
                let high = simd.avx2._mm256_and_si256(simd.avx2._mm256_srli_epi16::<4>(both), mask);
                for (pairs, quants) in pairs.iter_mut().zip(&tile.quants) {
                    let first = simd.avx2._mm256_maddubs_epi16(low, spread(simd, quants, 2 * index));
                    let second = simd.avx2._mm256_maddubs_epi16(high, spread(simd, quants, 2 * index + 1));
                    *pairs = simd.avx2._mm256_add_epi16(*pairs, simd.avx2._mm256_add_epi16(first, second));
                }
            }
            let scales: __m256 = cast(block.scales);
            let offsets: __m256 = cast(block.offsets);
            let tokens = totals.iter_mut().zip(pairs).zip(&tile.scales).zip(&tile.sums);
            for (((total, pairs), scale), sum) in tokens {
                let scaled = add_scaled(simd, pairs, scales, *scale, *total);
                *total = simd.fma._mm256_fmadd_ps(offsets, simd.avx._mm256_set1_ps(*sum), scaled);
            }
        }
        for (sums, total) in sums.iter_mut().zip(totals) {
            *sums = cast(total);
        }
    }
}

struct Bytes<'a, const N: usize> {
    simd: V3,
    blocks: &'a [ByteBlock],
    tile: &'a [TileBlock<N>],
    sums: &'a mut [[f32; LANES]; N],
}

impl<const N: usize> NullaryFnOnce for Bytes<'_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, blocks, tile, sums } = self;
        let ones = simd.avx._mm256_set1_epi16(1);
        let mut totals = [simd.avx._mm256_setzero_ps(); N];
        for (block, tile) in blocks.iter().zip(tile) {
            let mut whole = [simd.avx._mm256_setzero_si256(); N];
            for (index, vector) in block.quants.iter().enumerate() {
                let weights: __m256i = cast(*vector);
                // The instruction wants one unsigned side: the sign moves over to the activations, which
                // never are -128. A pair's sum of at most 2 · 128 · 127 fits 16 bits.
                let sizes = simd.avx2._mm256_abs_epi8(weights);
                for (whole, quants) in whole.iter_mut().zip(&tile.quants) {
                    let signed = simd.avx2._mm256_sign_epi8(spread(simd, quants, index), weights);
                    let pairs = simd.avx2._mm256_maddubs_epi16(sizes, signed);
                    *whole = simd.avx2._mm256_add_epi32(*whole, simd.avx2._mm256_madd_epi16(pairs, ones));
                }
            }
            let scales: __m256 = cast(block.scales);
            for ((total, whole), scale) in totals.iter_mut().zip(whole).zip(&tile.scales) {
                let scales = simd.avx._mm256_mul_ps(scales, simd.avx._mm256_set1_ps(*scale));
                *total = simd.fma._mm256_fmadd_ps(simd.avx._mm256_cvtepi32_ps(whole), scales, *total);
            }
        }
        for (sums, total) in sums.iter_mut().zip(totals) {
            *sums = cast(total);
        }
    }
}
