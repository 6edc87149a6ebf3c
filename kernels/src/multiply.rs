//! The product of a packed matrix with rows of activations, spread over threads by tiles.

#![expect(unsafe_code, reason = "calls of code for detected instructions")]

#[cfg(target_arch = "x86_64")]
use std::cell::RefCell;

use crate::activations::QuantizedActivations;
use crate::error::KernelError;
use crate::executor::{Executor, Level};
use crate::format::{Format, Q4K, Q4One, Q4Zero, Q6K, Q8Zero, TILE, WeightType};
use crate::packed::PackedMatrix;
use crate::portable;
use crate::shared_slice::SharedSlice;
#[cfg(target_arch = "x86_64")]
use crate::{avx2, avx2_six_bits, avx512, packed::Line};

/// Parts of a product a thread takes on average: enough that a thread held up by the system does not hold up
/// the product, few enough that taking one costs nothing.
const PARTS_A_THREAD: usize = 8;

/// Tokens of a round over unpacked weights: as many as registers hold.
#[cfg(target_arch = "x86_64")]
const UNPACKED_TOKENS: usize = 4;

impl Executor {
    /// `output`, [tokens, rows], becomes activations · weightsᵀ. A token's results do not depend on the others.
    pub fn multiply(
        &self,
        weights: &PackedMatrix,
        activations: &QuantizedActivations,
        output: &mut [f32],
    ) -> Result<(), KernelError> {
        let tokens = activations.tokens();
        if tokens > 0 && activations.columns() != weights.columns() {
            let (actual, expected) = (activations.columns(), weights.columns());
            return Err(KernelError::Length { what: "activation row", actual, expected });
        }
        let expected = tokens.saturating_mul(weights.rows());
        if output.len() != expected {
            return Err(KernelError::Length { what: "output", actual: output.len(), expected });
        }
        match weights.weight_type() {
            WeightType::Q4_0 => spread::<Q4Zero>(self, weights, activations, output),
            WeightType::Q4_1 => spread::<Q4One>(self, weights, activations, output),
            WeightType::Q8_0 => spread::<Q8Zero>(self, weights, activations, output),
            WeightType::Q4K => spread::<Q4K>(self, weights, activations, output),
            WeightType::Q6K => spread::<Q6K>(self, weights, activations, output),
        }
        Ok(())
    }
}

fn spread<F: Format>(
    executor: &Executor,
    weights: &PackedMatrix,
    activations: &QuantizedActivations,
    output: &mut [f32],
) {
    let output = SharedSlice::new(output);
    let tiles = weights.tiles();
    let per_part = tiles.div_ceil(executor.pool().threads() * PARTS_A_THREAD);
    executor.pool().run(tiles.div_ceil(per_part), |part| {
        for tile in part * per_part..((part + 1) * per_part).min(tiles) {
            all_tokens::<F>(executor.level(), weights, tile, activations, &output);
        }
    });
}

/// One tile for all tokens, as many at a time as registers hold.
fn all_tokens<F: Format>(
    level: Level,
    weights: &PackedMatrix,
    tile: usize,
    activations: &QuantizedActivations,
    output: &SharedSlice<'_, f32>,
) {
    let tokens = activations.tokens();
    let mut first = 0;
    #[cfg(target_arch = "x86_64")]
    if F::SIX_BITS && level == Level::Avx2 && tokens >= UNPACKED_TOKENS {
        first = unpacked_tokens(weights, tile, activations, output);
    }
    while first < tokens {
        first += match (tokens - first, level) {
            (8.., Level::Avx512Vnni) => some_tokens::<F, 8>(level, weights, tile, activations, first, output),
            (4.., _) => some_tokens::<F, 4>(level, weights, tile, activations, first, output),
            (2.., _) => some_tokens::<F, 2>(level, weights, tile, activations, first, output),
            _ => some_tokens::<F, 1>(level, weights, tile, activations, first, output),
        };
    }
}

/// As many tokens as are whole rounds of [`UNPACKED_TOKENS`], with 6-bit weights unpacked once for all; returns their number.
#[cfg(target_arch = "x86_64")]
fn unpacked_tokens(
    weights: &PackedMatrix,
    index: usize,
    activations: &QuantizedActivations,
    output: &SharedSlice<'_, f32>,
) -> usize {
    thread_local!(static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) });
    let tile = weights.tile(index);
    let rounds = activations.tokens() / UNPACKED_TOKENS;
    LINES.with_borrow_mut(|lines| {
        // SAFETY: the caller's level is that of an executor, which exists only where AVX2 and F16C were detected.
        unsafe { avx2_six_bits::unpack(tile.lines, lines) };
        for first in (0..rounds * UNPACKED_TOKENS).step_by(UNPACKED_TOKENS) {
            let rows = std::array::from_fn(|t| activations.row(first + t));
            // SAFETY: as above.
            let results = unsafe { avx2_six_bits::tile::<UNPACKED_TOKENS, true>(tile, lines, rows) };
            write(weights, index, first, &results, output);
        }
    });
    rounds * UNPACKED_TOKENS
}

fn some_tokens<F: Format, const T: usize>(
    level: Level,
    weights: &PackedMatrix,
    index: usize,
    activations: &QuantizedActivations,
    first: usize,
    output: &SharedSlice<'_, f32>,
) -> usize {
    let tile = weights.tile(index);
    let rows = std::array::from_fn(|t| activations.row(first + t));
    let results: [[f32; TILE]; T] = match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an executor of this level exists only where its instructions were detected.
        Level::Avx512Vnni => unsafe { avx512::tile::<F, T>(tile, rows) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2::tile::<F, T>(tile, rows) },
        _ => portable::tile::<F, T>(tile, rows),
    };
    write(weights, index, first, &results, output);
    T
}

/// Puts a tile's results of some tokens where they belong.
fn write(
    weights: &PackedMatrix,
    index: usize,
    first: usize,
    results: &[[f32; TILE]],
    output: &SharedSlice<'_, f32>,
) {
    let start = index * TILE;
    let length = TILE.min(weights.rows() - start);
    for (t, result) in results.iter().enumerate() {
        // SAFETY: this tile's rows of this token, which no other part of the work writes.
        let part = unsafe { output.part((first + t) * weights.rows() + start, length) };
        part.copy_from_slice(&result[..length]);
    }
}
