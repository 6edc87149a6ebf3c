//! Norms and gates on their way into int8, against their definitions in f64, and across levels, threads and batches.

use breakeven_kernels::{
    Executor, GateActivation, KernelError, Level, Norm, PackedMatrix, QuantizedActivations, WeightType,
};
use half::f16;
use proptest::prelude::*;

fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * 4.0
        })
        .collect()
}

/// Weights that give a row back as it was quantised.
fn identity(columns: usize) -> PackedMatrix {
    let mut bytes = Vec::new();
    for row in 0..columns {
        for block in 0..columns / 32 {
            bytes.extend(f16::ONE.to_le_bytes());
            bytes.extend((0..32).map(|at| u8::from(block * 32 + at == row)));
        }
    }
    PackedMatrix::pack(WeightType::Q8_0, &[(&bytes, columns)], columns).unwrap()
}

/// What was taken in, as f32.
fn taken(executor: &Executor, activations: &QuantizedActivations) -> Vec<f32> {
    let mut output = vec![f32::NAN; activations.tokens() * activations.columns()];
    executor.multiply(&identity(activations.columns()), activations, &mut output).unwrap();
    output
}

/// Within half a step of int8 over 32 values, and the 16 bits of their scale.
fn close(ours: &[f32], exact: &[f64]) -> Result<(), TestCaseError> {
    for (ours, exact) in ours.chunks(32).zip(exact.chunks(32)) {
        let largest = exact.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        for (ours, exact) in ours.iter().zip(exact) {
            let error = (f64::from(*ours) - exact).abs();
            prop_assert!(error <= largest * (0.501 / 127.0 + 6e-4) + 1e-6, "{} {}", ours, exact);
        }
    }
    Ok(())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn exact_norm(row: &[f64], weight: &[f32], epsilon: f32) -> Vec<f64> {
    let mean = row.iter().map(|value| value * value).sum::<f64>() / row.len() as f64;
    let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
    row.iter().zip(weight).map(|(value, weight)| value * scale * f64::from(*weight)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 96 }))]

    #[test]
    fn joined_rows_are_normed(
        seed: u64, blocks in 1usize..9, tokens in 0usize..70, threads in 1usize..4, adds: bool, twice: bool,
    ) {
        let columns = blocks * 32;
        let (start, extra) = (values(seed, tokens * columns), values(!seed, tokens * columns));
        let (weight, other) = (values(seed ^ 5, columns), values(seed ^ 6, columns));
        let norm = Norm { weight: &weight, epsilon: 1e-5 };
        let added = adds.then_some((extra.as_slice(), twice.then_some(Norm { weight: &other, epsilon: 1e-3 })));
        let (mut sums, mut exact) = (Vec::new(), Vec::new());
        for (row, extra) in start.chunks(columns).zip(extra.chunks(columns)) {
            let extra: Vec<f64> = extra.iter().copied().map(f64::from).collect();
            let extra = match (adds, twice) {
                (false, _) => vec![0.0; columns],
                (true, false) => extra,
                (true, true) => exact_norm(&extra, &other, 1e-3),
            };
            let sum: Vec<f64> = row.iter().zip(extra).map(|(value, extra)| f64::from(*value) + extra).collect();
            exact.extend(exact_norm(&sum, &weight, 1e-5));
            sums.extend(sum);
        }
        let mut reference = None;
        for level in Level::available() {
            let executor = Executor::with_level(threads, level).unwrap();
            let (mut activations, mut residual) = (QuantizedActivations::default(), start.clone());
            activations.quantize_normed(&executor, &mut residual, added, norm).unwrap();
            prop_assert_eq!(activations.tokens(), tokens);
            let ours = taken(&executor, &activations);
            close(&ours, &exact)?;
            for (ours, exact) in residual.iter().zip(&sums) {
                prop_assert!((f64::from(*ours) - exact).abs() < 1e-4);
            }
            let mut alone = Vec::new();
            for token in 0..tokens {
                let span = token * columns..(token + 1) * columns;
                let added = added.map(|(extra, norm)| (&extra[span.clone()], norm));
                activations.quantize_normed(&executor, &mut start[span].to_vec(), added, norm).unwrap();
                alone.extend(taken(&executor, &activations));
            }
            prop_assert_eq!(bits(&alone), bits(&ours));
            let found = (bits(&ours), bits(&residual));
            prop_assert_eq!(reference.get_or_insert_with(|| found.clone()), &found);
        }
    }

    #[test]
    fn gates_are_their_definition(seed: u64, blocks in 1usize..9, tokens in 0usize..70, threads in 1usize..4, silu: bool) {
        let columns = blocks * 32;
        let gate_up = values(seed, 2 * tokens * columns);
        let activation = if silu { GateActivation::Silu } else { GateActivation::GeluTanh };
        let exact: Vec<f64> = gate_up.chunks(2 * columns).flat_map(|row| {
            let (gate, up) = row.split_at(columns);
            gate.iter().zip(up).map(|(gate, up)| {
                let x = f64::from(*gate);
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                let activated = if silu { x / (1.0 + (-x).exp()) } else { 0.5 * x * (1.0 + inner.tanh()) };
                activated * f64::from(*up)
            }).collect::<Vec<_>>()
        }).collect();
        let mut reference = None;
        for level in Level::available() {
            let executor = Executor::with_level(threads, level).unwrap();
            let mut activations = QuantizedActivations::default();
            activations.quantize_gated(&executor, &gate_up, columns, activation).unwrap();
            let ours = taken(&executor, &activations);
            close(&ours, &exact)?;
            let mut alone = Vec::new();
            for row in gate_up.chunks(2 * columns) {
                activations.quantize_gated(&executor, row, columns, activation).unwrap();
                alone.extend(taken(&executor, &activations));
            }
            prop_assert_eq!(bits(&alone), bits(&ours));
            prop_assert_eq!(reference.get_or_insert_with(|| bits(&ours)), &bits(&ours));
        }
    }
}

#[test]
fn sizes_that_contradict_are_errors() {
    let (executor, mut activations) = (Executor::new(2), QuantizedActivations::default());
    let (weight, short) = ([1.0; 64], [1.0; 63]);
    let norm = Norm { weight: &weight, epsilon: 0.0 };
    let mut normed = |length: usize, added, norm| {
        activations.quantize_normed(&executor, &mut vec![0.0; length], added, norm)
    };
    assert!(normed(128, None, norm).is_ok());
    assert!(matches!(normed(100, None, norm), Err(KernelError::Length { .. })));
    assert!(matches!(normed(64, Some((&[0.0; 65][..], None)), norm), Err(KernelError::Length { .. })));
    let other = Norm { weight: &short, epsilon: 0.0 };
    assert!(matches!(normed(64, Some((&[0.0; 64][..], Some(other))), norm), Err(KernelError::Length { .. })));
    assert!(matches!(normed(63, None, other), Err(KernelError::Columns { .. })));
    assert!(normed(0, None, Norm { weight: &[], epsilon: 0.0 }).is_err());
    let mut gated = |length: usize, columns| {
        activations.quantize_gated(&executor, &vec![0.0; length], columns, GateActivation::Silu)
    };
    assert!(gated(128, 64).is_ok());
    assert!(gated(64, 64).is_err() && gated(66, 33).is_err() && gated(1, 0).is_err() && gated(0, 0).is_err());
    assert!(gated(64, usize::MAX).is_err() && gated(64, usize::MAX / 2 + 2).is_err());
}
