//! The packed decoder's logits beside the candle decoder's, for every family and every packed weight type.
//!
//! Both round activations to 8 bits before each product, so a difference in the last bit of a sum may move a
//! rounded value by a whole step further on: the bound is not that of f32. For types with blocks of 32 both round
//! alike; for K-quants candle rounds over 256 values and the packed kernels over 32.

use breakeven_models::inference::GgmlDType;
use breakeven_models::inference::batch::{Decoder, SlotShape, StepBatch};
use breakeven_models::inference::candle_decoder::CandleDecoder;
use breakeven_models::inference::packed_decoder::PackedDecoder;
use breakeven_models::inference::random::NoiseTensors;
use breakeven_models::inference::sampling::greedy;
use candle_core::Device;

use crate::small;

/// Share of the spread of the logits that two decoders may differ by: blocks of 32, and of 256.
const BOUNDS: [f32; 2] = [0.03, 0.06];

fn compare(family: &str, quantization: GgmlDType) {
    let mut spec = small::spec(family);
    if quantization.block_size() == 256 {
        spec.hidden = 256;
        spec.feed_forward = 256;
        spec.heads = 256 / spec.head_dim;
    }
    if quantization == GgmlDType::Q4_1 {
        // candle's product takes this type's blocks in pairs only.
        spec.feed_forward = 128;
    }
    let bound_share = BOUNDS[usize::from(quantization.block_size() == 256)];
    let shape = SlotShape { slots: 2, tokens: 96 };
    let noise = || NoiseTensors::new(&spec, quantization, 17);
    let mut packed = PackedDecoder::new(spec.clone(), &mut noise(), shape, 2).unwrap();
    let mut candle = CandleDecoder::new(spec.clone(), &mut noise(), shape, &Device::Cpu).unwrap();
    let tokens: Vec<u32> = (0..80u32).map(|at| at * at * 31 % 256).collect();
    let mut decided = 0;
    let mut fed = 0;
    // A long prompt in two chunks, then one token at a time.
    for count in [40, 23, 1, 1, 1, 1, 1, 1, 1, 1] {
        let mut batch = StepBatch::default();
        batch.push(1, fed, &tokens[fed..fed + count], true);
        fed += count;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        packed.step(&batch, &mut ours).unwrap();
        candle.step(&batch, &mut theirs).unwrap();
        assert_eq!(ours.len(), spec.vocabulary);
        let spread = theirs.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        assert!(spread > 0.05, "{family}: logits of at most {spread} compare nothing");
        let furthest = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let bound = bound_share * spread;
        assert!(furthest <= bound, "{family} {quantization:?}: {furthest} apart, {bound} allowed");
        // Where the likeliest token wins by more than both may err, both choose it.
        let best = greedy(&theirs).unwrap();
        let next = theirs.iter().enumerate().filter(|(id, _)| *id != best as usize);
        let next = next.fold(f32::NEG_INFINITY, |most, (_, logit)| most.max(*logit));
        if theirs[best as usize] - next > 2.0 * furthest {
            decided += 1;
            assert_eq!(greedy(&ours), Some(best));
        }
    }
    assert!(decided > 0, "{family} {quantization:?}: no token was clear enough to compare");
}

#[test]
fn packed_logits_are_candles_for_every_family() {
    for family in ["llama", "qwen2", "qwen3", "gemma3", "phi3"] {
        compare(family, GgmlDType::Q8_0);
        compare(family, GgmlDType::Q4_0);
    }
}

#[test]
fn packed_logits_are_candles_for_every_type() {
    for quantization in [GgmlDType::F32, GgmlDType::F16, GgmlDType::Q4_1, GgmlDType::Q4K, GgmlDType::Q6K] {
        compare("llama", quantization);
    }
}
