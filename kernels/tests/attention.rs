//! Attention against its definition in f64, and across levels and batches.

use breakeven_kernels::{AttentionShape, Executor, Level, Query};
use proptest::prelude::*;

fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Plain keys, [kv heads, slot tokens, head width], as a slot holds them; what no token fills is not a number.
fn laid_out(shape: AttentionShape, keys: &[f32]) -> Vec<f32> {
    let mut slot = vec![f32::NAN; shape.key_values().unwrap()];
    for (index, key) in keys.chunks(shape.head_dim).enumerate() {
        shape.store_key(&mut slot, index / shape.slot_tokens, index % shape.slot_tokens, key).unwrap();
    }
    slot
}

/// `keys` are the plain ones.
fn definition(shape: AttentionShape, query: &Query<'_>, keys: &[f32]) -> Vec<f64> {
    let (width, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    let mut output = Vec::new();
    for head in 0..shape.heads {
        let at = |position: usize| (head / group * shape.slot_tokens + position) * width;
        let scores: Vec<f64> = (query.first..query.end)
            .map(|position| {
                let key = &keys[at(position)..][..width];
                let head = &query.heads[head * width..][..width];
                let score: f64 = head.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let score = score * f64::from(shape.scale);
                shape.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            })
            .collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        output.extend((0..width).map(|column| {
            let weighted = (query.first..query.end).zip(&scores).map(|(position, score)| {
                (score - highest).exp() * f64::from(query.values[at(position) + column])
            });
            weighted.sum::<f64>() / total
        }));
    }
    output
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }))]

    #[test]
    fn attention_is_its_definition(
        seed: u64, kv_heads in 1usize..4, group in 1usize..11, head_dim in 1usize..70,
        spans in prop::collection::vec((0usize..100, 1usize..100), 1..5),
        softcap in prop::option::of(1.0f32..50.0), sharpness in 0.1f32..8.0,
    ) {
        let slot_tokens = 200;
        let heads = kv_heads * group;
        let scale = sharpness / (head_dim as f32).sqrt();
        let shape = AttentionShape { heads, kv_heads, head_dim, slot_tokens, scale, softcap };
        let keys = values(seed, kv_heads * slot_tokens * head_dim);
        let slot_values = values(!seed, keys.len());
        let width = heads * head_dim;
        let inputs = values(seed ^ 99, spans.len() * width);
        let slot_keys = laid_out(shape, &keys);
        let queries: Vec<_> = spans.iter().zip(inputs.chunks(width)).map(|((first, count), heads)| {
            Query { heads, keys: &slot_keys, values: &slot_values, first: *first, end: first + count }
        }).collect();
        let expected: Vec<f64> = queries.iter().flat_map(|query| definition(shape, query, &keys)).collect();
        let mut reference = Vec::new();
        for level in Level::available() {
            let executor = Executor::with_level(2, level).unwrap();
            let mut output = vec![f32::NAN; expected.len()];
            executor.attend(shape, &queries, &mut output).unwrap();
            for (ours, expected) in output.iter().zip(&expected) {
                prop_assert!((f64::from(*ours) - expected).abs() < 1e-5, "{} {}", ours, expected);
            }
            let mut alone = vec![f32::NAN; width];
            for (query, output) in queries.iter().zip(output.chunks(width)) {
                executor.attend(shape, &[*query], &mut alone).unwrap();
                prop_assert!(alone.iter().zip(output).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            let bits: Vec<_> = output.iter().map(|value| value.to_bits()).collect();
            if reference.is_empty() { reference = bits } else { prop_assert_eq!(&bits, &reference); }
        }
    }
}

#[test]
fn contradictions_are_errors() {
    let shape =
        AttentionShape { heads: 2, kv_heads: 1, head_dim: 2, slot_tokens: 3, scale: 1.0, softcap: None };
    let (heads, slot, mut keys) = ([0.0; 4], [0.0; 6], [0.0; 64]);
    assert!(shape.store_key(&mut keys, 0, 2, &[1.0; 2]).is_ok());
    assert!(shape.store_key(&mut keys, 0, 3, &[1.0; 2]).is_err());
    assert!(shape.store_key(&mut keys, 1, 0, &[1.0; 2]).is_err());
    assert!(shape.store_key(&mut keys, 0, 0, &[1.0; 3]).is_err());
    assert!(shape.store_key(&mut keys[1..], 0, 0, &[1.0; 2]).is_err());
    let query = Query { heads: &heads, keys: &keys, values: &slot, first: 0, end: 3 };
    let attend = |shape, query, length| Executor::new(1).attend(shape, &[query], &mut vec![0.0; length]);
    assert!(attend(shape, query, 4).is_ok());
    assert!(attend(shape, query, 5).is_err());
    assert!(attend(shape, Query { end: 4, ..query }, 4).is_err());
    assert!(attend(shape, Query { first: 3, ..query }, 4).is_err());
    assert!(attend(shape, Query { keys: &keys[1..], ..query }, 4).is_err());
    assert!(attend(shape, Query { heads: &heads[1..], ..query }, 4).is_err());
    assert!(attend(AttentionShape { heads: 3, kv_heads: 2, ..shape }, query, 4).is_err());
    assert!(attend(AttentionShape { kv_heads: 0, ..shape }, query, 4).is_err());
    assert!(attend(AttentionShape { slot_tokens: usize::MAX, ..shape }, query, 4).is_err());
}
