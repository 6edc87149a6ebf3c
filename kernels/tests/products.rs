//! Products against their definition, across levels, batches and candle's own kernels.

#[cfg(not(alone))]
use std::borrow::Cow;

use breakeven_kernels::{Executor, KernelError, Level, PackedMatrix, QuantizedActivations, WeightType};
#[cfg(not(alone))]
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
#[cfg(not(alone))]
use candle_core::{Device, Module, Tensor};
use proptest::prelude::*;

const TYPES: [WeightType; 5] =
    [WeightType::Q4_0, WeightType::Q4_1, WeightType::Q8_0, WeightType::Q4K, WeightType::Q6K];

/// The same types in candle, which `scripts/check-unsafe` leaves out: it sets `alone`.
#[cfg(not(alone))]
const CANDLE_TYPES: [GgmlDType; 5] =
    [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K];

/// Deterministic values without structure (splitmix64).
fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn activations(seed: u64, count: usize) -> Vec<f32> {
    let mut next = noise(seed);
    // Sizes from 2^-8 to 2^7, a few zeros.
    (0..count)
        .map(|_| {
            let bits = next();
            let size = (((bits >> 40) % 16) as f32 - 8.0).exp2();
            if bits.is_multiple_of(50) { 0.0 } else { ((bits & 0xffff) as f32 / 32768.0 - 1.0) * size }
        })
        .collect()
}

/// Any values and finite factors of either sign.
fn weights(seed: u64, kind: WeightType, rows: usize, columns: usize) -> Vec<u8> {
    let mut next = noise(seed);
    let mut bytes = Vec::new();
    let factor = |next: &mut dyn FnMut() -> u64| (0x2000 | (next() as u16 & 0x8fff)).to_le_bytes();
    for _ in 0..rows * columns / kind.block() {
        let factors = match kind {
            WeightType::Q4_0 | WeightType::Q8_0 => 1,
            WeightType::Q4_1 | WeightType::Q4K => 2,
            _ => 0,
        };
        for _ in 0..factors {
            bytes.extend(factor(&mut next));
        }
        // Extreme values often: they are where 16-bit sums would overflow.
        let tail = if kind == WeightType::Q6K { 2 } else { 0 };
        for _ in 0..kind.block_bytes() - 2 * factors - tail {
            let bits = next();
            bytes.push([bits as u8, 0x80, 0x7f, 0xff][(bits >> 32) as usize % 4]);
        }
        if tail > 0 {
            bytes.extend(factor(&mut next));
        }
    }
    bytes
}

/// Rows of whole blocks: about this many of 32 columns.
fn whole(kind: WeightType, stretches: usize) -> usize {
    (stretches * 32).next_multiple_of(kind.block())
}

fn product(executor: &Executor, matrix: &PackedMatrix, input: &[f32]) -> Vec<f32> {
    let mut quantized = QuantizedActivations::default();
    quantized.quantize(executor, input, matrix.columns()).unwrap();
    let mut output = vec![f32::NAN; quantized.tokens() * matrix.rows()];
    executor.multiply(matrix, &quantized, &mut output).unwrap();
    output
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[cfg(not(alone))]
fn candle(kind: GgmlDType, bytes: &[u8], rows: usize, columns: usize, input: &[f32]) -> Vec<f32> {
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, kind).unwrap();
    let matrix = QMatMul::from_qtensor(QTensor::new(storage, (rows, columns)).unwrap()).unwrap();
    let input = Tensor::from_slice(input, (input.len() / columns, columns), &Device::Cpu).unwrap();
    matrix.forward(&input).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 96 }))]

    #[test]
    fn levels_and_batches_give_the_same_bits(
        seed: u64, kind in 0usize..5, rows in 1usize..70, blocks in 1usize..9, tokens in 1usize..20,
        threads in 1usize..4,
    ) {
        let kind = TYPES[kind];
        let columns = whole(kind, blocks);
        let bytes = weights(seed, kind, rows, columns);
        let matrix = PackedMatrix::pack(kind, &[(&bytes, rows)], columns).unwrap();
        let input = activations(!seed, tokens * columns);
        let expected = product(&Executor::with_level(1, Level::Portable).unwrap(), &matrix, &input);
        for level in Level::available() {
            let executor = Executor::with_level(threads, level).unwrap();
            prop_assert_eq!(bits(&product(&executor, &matrix, &input)), bits(&expected), "{:?}", level);
            let alone: Vec<f32> =
                input.chunks(columns).flat_map(|row| product(&executor, &matrix, row)).collect();
            prop_assert_eq!(bits(&alone), bits(&expected), "alone, {:?}", level);
        }
    }

    #[test]
    fn parts_are_rows_of_the_whole(seed: u64, kind in 0usize..5, first in 1usize..40, second in 1usize..40) {
        let kind = TYPES[kind];
        let columns = whole(kind, 2);
        let (upper, lower) = (weights(seed, kind, first, columns), weights(!seed, kind, second, columns));
        let both = PackedMatrix::pack(kind, &[(&upper, first), (&lower, second)], columns).unwrap();
        let executor = Executor::new(1);
        let input = activations(seed, columns);
        let parts = [(upper, first), (lower, second)];
        let expected: Vec<f32> = parts.iter().flat_map(|(bytes, rows)| {
            product(&executor, &PackedMatrix::pack(kind, &[(bytes, *rows)], columns).unwrap(), &input)
        }).collect();
        prop_assert_eq!(bits(&product(&executor, &both, &input)), bits(&expected));
    }

    // Below 256 columns: there, with rows in whole sixteens, candle rounds activations more coarsely (of Q8_0 it is twice as far from
    // the exact product as ours, which the definition below pins).
    #[cfg(not(alone))]
    #[test]
    fn candle_agrees(seed: u64, kind in 0usize..3, rows in 1usize..40, pairs in 1usize..4, tokens in 1usize..6) {
        let (kind, dtype, columns) = (TYPES[kind], CANDLE_TYPES[kind], pairs * 64);
        let bytes = weights(seed, kind, rows, columns);
        let matrix = PackedMatrix::pack(kind, &[(&bytes, rows)], columns).unwrap();
        let input = activations(!seed, tokens * columns);
        let ours = product(&Executor::new(2), &matrix, &input);
        let theirs = candle(dtype, &bytes, rows, columns, &input);
        if kind == WeightType::Q4_1 {
            // candle has one kernel for it, whose order of sums is ours.
            prop_assert_eq!(bits(&ours), bits(&theirs));
        }
        // A bound on rounding: the size of what is summed, in units of f32.
        for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let (token, row) = (index / rows, index % rows);
            let mut values = vec![0.0; columns];
            matrix.dequantize_row(row, &mut values).unwrap();
            let input = &input[token * columns..(token + 1) * columns];
            let size: f32 = values.iter().zip(input).map(|(weight, value)| (weight * value).abs()).sum();
            prop_assert!((ours - theirs).abs() <= 1e-6 * size + 1e-6, "{} {} of {}", ours, theirs, size);
        }
    }

    /// In f64 from the expanded weights (which candle vouches for below) and activations rounded as defined.
    #[test]
    fn products_are_their_definition(
        seed: u64, kind in 0usize..5, rows in 1usize..40, blocks in 1usize..9, tokens in 1usize..10,
    ) {
        let kind = TYPES[kind];
        let columns = whole(kind, blocks);
        let bytes = weights(seed, kind, rows, columns);
        let matrix = PackedMatrix::pack(kind, &[(&bytes, rows)], columns).unwrap();
        let input = activations(!seed, tokens * columns);
        let rounded: Vec<f64> = input.chunks(32).flat_map(|block| {
            let scale = block.iter().fold(0.0f32, |most, value| most.max(value.abs())) / 127.0;
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let stored = f64::from(half::f16::from_f32(scale).to_f32());
            block.iter().map(move |value| f64::from((value * inverse).round()) * stored)
        }).collect();
        let ours = product(&Executor::new(2), &matrix, &input);
        for (index, ours) in ours.iter().enumerate() {
            let (token, row) = (index / rows, index % rows);
            let mut values = vec![0.0; columns];
            matrix.dequantize_row(row, &mut values).unwrap();
            let terms = values.iter().zip(&rounded[token * columns..]).map(|(w, v)| f64::from(*w) * v);
            let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            // Q4_1 rounds minimum times sum to 16 bits, as ggml does: a share of 2^-11 of that term. Sizes of the
            // terms before they cancel are not known here, so the bound is on what the weights could reach.
            let most: f64 = values.iter().fold(0.0f64, |most, value| most.max(f64::from(value.abs())));
            let reach: f64 = rounded[token * columns..(token + 1) * columns].iter().map(|v| v.abs()).sum();
            let bound = if kind == WeightType::Q4_1 { most * reach * 2e-3 } else { size * 1e-5 + most * reach * 1e-5 };
            prop_assert!((f64::from(*ours) - exact).abs() <= bound + 1e-12, "{ours} {exact} {size}");
        }
    }

    #[cfg(not(alone))]
    #[test]
    fn rows_expand_as_candle_expands_them(seed: u64, kind in 0usize..5, rows in 1usize..40, blocks in 1usize..6) {
        let (kind, dtype) = (TYPES[kind], CANDLE_TYPES[kind]);
        let columns = whole(kind, blocks);
        let bytes = weights(seed, kind, rows, columns);
        let matrix = PackedMatrix::pack(kind, &[(&bytes, rows)], columns).unwrap();
        // Q4_K's shares of six bits take eight here: 148 bytes for its 144.
        let growth = if kind == WeightType::Q4K { 148 } else { 144 };
        let stored = bytes.len() / rows * rows.next_multiple_of(16);
        prop_assert!(matrix.bytes() * 144 <= stored * growth);
        let storage = QStorage::from_data(Cow::Borrowed(&bytes), &Device::Cpu, dtype).unwrap();
        let whole = QTensor::new(storage, (rows, columns)).unwrap().dequantize(&Device::Cpu).unwrap();
        let whole: Vec<f32> = whole.flatten_all().unwrap().to_vec1().unwrap();
        let mut row = vec![0.0; columns];
        for (index, expected) in whole.chunks(columns).enumerate() {
            matrix.dequantize_row(index, &mut row).unwrap();
            prop_assert_eq!(bits(&row), bits(expected));
        }
    }

    #[test]
    fn wrong_sizes_are_errors(length in 0usize..2000, rows in 0usize..80, columns in 0usize..200, kind in 0usize..5) {
        let kind = TYPES[kind];
        let fits = rows > 0 && columns > 0 && kind.row_bytes(columns).is_some_and(|row| row * rows == length);
        let packed = PackedMatrix::pack(kind, &[(&vec![0; length], rows)], columns);
        prop_assert_eq!(packed.is_ok(), fits);
    }
}

#[test]
fn absurd_sizes_are_errors() {
    let pack = |rows, columns| PackedMatrix::pack(WeightType::Q4_0, &[(&[0; 18], rows)], columns);
    assert!(pack(usize::MAX, 32).is_err() && pack(1, usize::MAX - 31).is_err());
    assert_eq!(pack(1, 33).unwrap_err(), KernelError::Columns { columns: 33, block: 32 });
    assert!(pack(1, 0).is_err());
    let matrix = pack(1, 32).unwrap();
    assert!(matrix.dequantize_row(1, &mut [0.0; 32]).is_err());
    assert!(matrix.dequantize_row(0, &mut [0.0; 31]).is_err());
    let (executor, mut quantized) = (Executor::new(1), QuantizedActivations::default());
    assert!(quantized.quantize(&executor, &[0.0; 63], 32).is_err());
    quantized.quantize(&executor, &[0.0; 64], 64).unwrap();
    assert!(executor.multiply(&matrix, &quantized, &mut [0.0; 1]).is_err());
    quantized.quantize(&executor, &[0.0; 64], 32).unwrap();
    assert!(executor.multiply(&matrix, &quantized, &mut [0.0; 1]).is_err());
}

#[test]
fn activations_that_are_not_numbers_or_tiny_do_not_break_sums() {
    let bytes = weights(7, WeightType::Q8_0, 16, 32);
    let matrix = PackedMatrix::pack(WeightType::Q8_0, &[(&bytes, 16)], 32).unwrap();
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-44, -1e-44, f32::MAX, 0.0, -0.0] {
        let mut input = activations(1, 32);
        input.iter_mut().step_by(2).for_each(|value| *value = odd);
        let results = Level::available().into_iter().map(|level| {
            let output = product(&Executor::with_level(1, level).unwrap(), &matrix, &input);
            // Which NaN it is differs between machines, that it is one does not.
            output.iter().map(|value| (!value.is_nan()).then_some(value.to_bits())).collect::<Vec<_>>()
        });
        let results: Vec<_> = results.collect();
        assert!(results.iter().all(|result| *result == results[0]), "{odd}");
    }
}
