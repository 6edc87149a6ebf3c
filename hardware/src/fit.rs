//! Which devices hold a model, for how many sequences of which length, and how fast they could at best run it.
//!
//! Roofline after Williams, Waterman and Patterson, "Roofline: an insightful visual performance model" (2009), applied to
//! decoding as in Pope et al., "Efficiently scaling transformer inference" (2022): a step reads the active weights and the
//! KV cache once, and computes every sequence's token. Estimates, not measurements: `efficiency` says what share of the
//! published rates is believed reachable.

use serde::{Deserialize, Serialize};

use crate::device::{Device, Precision};
use crate::units::Bytes;

/// What a model asks of a device. The numbers come from crate `models` or a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelNeeds {
    /// All weights at the chosen quantisation.
    pub weights: Bytes,
    /// Weights read for one token: fewer than all in a mixture of experts.
    pub active_weights: Bytes,
    /// KV cache of one token of one sequence, all layers.
    pub kv_bytes_per_token: u64,
    /// Layers that keep a window of the context only; absent where all see all of it.
    pub windowed_kv: Option<WindowedKv>,
    /// Floating-point operations of a decoded token: two for every weight of the layers and of the output head.
    pub flops_per_token: f64,
    /// Of a prompt token but the last: the layers alone, since only the last token's logits are needed.
    pub flops_per_prompt_token: f64,
}

/// KV cache of sliding-window layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowedKv {
    /// Their part of [`ModelNeeds::kv_bytes_per_token`].
    pub bytes_per_token: u64,
    /// Tokens they see.
    pub tokens: u64,
}

impl ModelNeeds {
    /// KV cache of one sequence of `context` tokens, in bytes, where windowed layers keep no more than their window.
    fn kv_bytes(&self, context: u64) -> u64 {
        let unseen = self.windowed_kv.map_or(0, |windowed| {
            context.saturating_sub(windowed.tokens).saturating_mul(windowed.bytes_per_token)
        });
        context.saturating_mul(self.kv_bytes_per_token).saturating_sub(unseen)
    }

    /// The longest context whose cache fits `free` bytes; `None` where no length fills them.
    fn longest_context(&self, free: u64) -> Option<u64> {
        let Some(windowed) = self.windowed_kv else { return free.checked_div(self.kv_bytes_per_token) };
        let at_window = windowed.tokens.saturating_mul(self.kv_bytes_per_token);
        if free <= at_window {
            return free.checked_div(self.kv_bytes_per_token);
        }
        let beyond = self.kv_bytes_per_token.saturating_sub(windowed.bytes_per_token);
        Some(windowed.tokens.saturating_add((free - at_window).checked_div(beyond)?))
    }

    /// Mean bytes of cache that a step reads for one sequence while its answer grows from nothing to its full length.
    fn mean_kv_bytes_read(&self, prompt: f64, output: f64) -> f64 {
        let all = (prompt + output / 2.0) * self.kv_bytes_per_token as f64;
        self.windowed_kv.map_or(all, |windowed| {
            // Mean of max(0, x − w) for x from prompt to prompt + output.
            let (window, end) = (windowed.tokens as f64, prompt + output);
            let start = prompt.max(window).min(end.max(window));
            let over = (end - window).max(0.0).powi(2) - (start - window).powi(2);
            let unseen = if output > 0.0 { over / (2.0 * output) } else { (prompt - window).max(0.0) };
            all - unseen * windowed.bytes_per_token as f64
        })
    }
}

/// How the model is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitQuestion {
    /// Devices the model is split over (tensor parallelism).
    pub devices: u32,
    /// Prompt tokens of a sequence.
    pub prompt_tokens: u64,
    /// Answer tokens of a sequence.
    pub output_tokens: u64,
    /// Number format of the matrix products.
    pub precision: Precision,
    /// Share of device memory that weights and cache may take; activations and the runtime need the rest.
    pub usable_memory_share: f64,
    /// Share of published rates believed reachable.
    pub efficiency: Efficiency,
}

/// Share of published rates believed reachable, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    /// Of memory bandwidth.
    pub bandwidth: f64,
    /// Of the matrix rate.
    pub compute: f64,
}

impl Efficiency {
    /// The roofline itself: a floor under every time.
    pub const IDEAL: Self = Self { bandwidth: 1.0, compute: 1.0 };
}

/// Whether and how a model fits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Memory that weights and cache may take, over all devices.
    pub usable_memory: Bytes,
    /// What is left of it beside the weights; `None` where the weights alone do not fit.
    pub kv_memory: Option<Bytes>,
    /// Sequences of full length that fit at once; `None` where the weights do not fit or the cache takes no room.
    pub sequences: Option<u64>,
    /// The longest context one sequence alone could have; `None` as above.
    pub max_context_tokens: Option<u64>,
    /// Best-case speed, where at least one sequence fits and the device's rate in the number format is published.
    pub speed: Option<SpeedEstimate>,
}

/// Speed by roofline. `estimated` by definition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SpeedEstimate {
    /// Sequences decoding together.
    pub sequences: u64,
    /// Time to first token of one prompt on an idle device.
    pub ttft_seconds: f64,
    /// Time per output token with one sequence.
    pub tpot_alone_seconds: f64,
    /// Time per output token with all of `sequences`.
    pub tpot_seconds: f64,
    /// Output tokens a second with all of `sequences`, prefill left out.
    pub decode_tokens_per_second: f64,
    /// What bounds decoding with all of `sequences`.
    pub decode_bound: Bound,
}

/// What bounds a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Reading weights and cache.
    Memory,
    /// The matrix rate.
    Compute,
}

/// Fits a model on a device.
pub fn fit(device: &Device, needs: &ModelNeeds, question: &FitQuestion) -> Fit {
    let devices = u64::from(question.devices.max(1));
    let usable = share(device.memory.0.saturating_mul(devices), question.usable_memory_share);
    let kv_memory = usable.checked_sub(needs.weights.0);
    let context = question.prompt_tokens.saturating_add(question.output_tokens);
    let kv_per_sequence = needs.kv_bytes(context);
    let sequences = kv_memory.and_then(|free| free.checked_div(kv_per_sequence));
    let speed = match (sequences, device.peak(question.precision)) {
        (Some(sequences), Some(peak)) if sequences > 0 => {
            Some(speed(device, needs, question, peak, sequences))
        }
        _ => None,
    };
    Fit {
        usable_memory: Bytes(usable),
        kv_memory: kv_memory.map(Bytes),
        sequences,
        max_context_tokens: kv_memory.and_then(|free| needs.longest_context(free)),
        speed,
    }
}

/// The smallest number of devices, doubling from one, that holds the model and at least one full sequence.
///
/// Doubling, because attention heads split evenly over powers of two. `None` beyond `most`.
pub fn devices_needed(
    device: &Device,
    needs: &ModelNeeds,
    question: &FitQuestion,
    most: u32,
) -> Option<(u32, Fit)> {
    let counts =
        std::iter::successors(Some(1_u32), |count| count.checked_mul(2)).take_while(|count| *count <= most);
    counts
        .map(|devices| (devices, fit(device, needs, &FitQuestion { devices, ..*question })))
        .find(|(_, fit)| fit.sequences.is_some_and(|sequences| sequences > 0))
}

/// A share of a number of bytes, in thousandths so that it stays in integers.
fn share(bytes: u64, share: f64) -> u64 {
    let thousandths = (0_u16..=1_000).rev().find(|n| f64::from(*n) <= share * 1_000.0 + 1e-9).unwrap_or(0);
    let whole = u128::from(bytes) * u128::from(thousandths) / 1_000;
    u64::try_from(whole).unwrap_or(u64::MAX)
}

fn speed(
    device: &Device,
    needs: &ModelNeeds,
    question: &FitQuestion,
    peak: f64,
    sequences: u64,
) -> SpeedEstimate {
    let devices = f64::from(question.devices.max(1));
    let bandwidth = device.memory_bandwidth_bytes_per_second * question.efficiency.bandwidth * devices;
    let compute = peak * question.efficiency.compute * devices;
    let (prompt, output) = (question.prompt_tokens as f64, question.output_tokens as f64);
    let kv_read = needs.mean_kv_bytes_read(prompt, output);
    let step = |count: f64| {
        let bytes = needs.active_weights.0 as f64 + count * kv_read;
        (bytes / bandwidth, count * needs.flops_per_token / compute)
    };
    let (read, work) = step(sequences as f64);
    let (read_alone, work_alone) = step(1.0);
    // The head works on the last token of the prompt only.
    let head = needs.flops_per_token - needs.flops_per_prompt_token;
    let prefill = (prompt * needs.flops_per_prompt_token + head) / compute;
    SpeedEstimate {
        sequences,
        ttft_seconds: prefill.max(needs.active_weights.0 as f64 / bandwidth),
        tpot_alone_seconds: read_alone.max(work_alone),
        tpot_seconds: read.max(work),
        decode_tokens_per_second: sequences as f64 / read.max(work),
        decode_bound: if read >= work { Bound::Memory } else { Bound::Compute },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::devices;
    use proptest::prelude::*;

    fn device(name: &str) -> Device {
        devices().unwrap().into_iter().find(|device| device.name == name).unwrap()
    }

    /// Llama-3.1-8B in bf16: 8.03e9 parameters of 2 bytes, 131,072 KV bytes a token (2 x 32 layers x 8 heads x 128 x 2 bytes).
    const LLAMA_8B: ModelNeeds = ModelNeeds {
        weights: Bytes(16_060_522_496),
        active_weights: Bytes(16_060_522_496),
        kv_bytes_per_token: 131_072,
        windowed_kv: None,
        // 128,256 x 4,096 weights of the head, which are in the file's 8.03e9 as the embedding is.
        flops_per_token: 2.0 * 7.50e9,
        flops_per_prompt_token: 2.0 * 6.98e9,
    };

    fn question(devices: u32) -> FitQuestion {
        FitQuestion {
            devices,
            prompt_tokens: 7_168,
            output_tokens: 1_024,
            precision: Precision::Bf16,
            usable_memory_share: 0.9,
            efficiency: Efficiency::IDEAL,
        }
    }

    #[test]
    fn llama_8b_on_an_h100_is_as_worked_by_hand() {
        let fit = fit(&device("H100-SXM"), &LLAMA_8B, &question(1));
        // 80 GiB x 0.9 = 77,309,411,328; less the weights 61,248,888,832; a sequence of 8,192 tokens takes 1 GiB.
        assert_eq!(fit.kv_memory, Some(Bytes(61_248_888_832)));
        assert_eq!(fit.sequences, Some(57));
        assert_eq!(fit.max_context_tokens, Some(467_291));
        let speed = fit.speed.unwrap();
        // Alone: (16.06 GB + 7,680 tokens x 131,072 B) / 3.35 TB/s.
        assert!(
            (speed.tpot_alone_seconds - (16_060_522_496.0 + 7_680.0 * 131_072.0) / 3.35e12).abs() < 1e-12
        );
        // Prefill: (7,168 x 13.96 GFLOP of layers + 1.04 of the head, once) / 989 TFLOPS.
        assert!((speed.ttft_seconds - (7_168.0 * 13.96e9 + 1.04e9) / 989e12).abs() < 1e-9);
        assert_eq!(speed.decode_bound, Bound::Memory);
    }

    #[test]
    fn a_seventy_billion_model_needs_two() {
        let needs = ModelNeeds {
            weights: Bytes(141_107_412_992),
            active_weights: Bytes(141_107_412_992),
            kv_bytes_per_token: 327_680,
            windowed_kv: None,
            flops_per_token: 2.0 * 69.5e9,
            flops_per_prompt_token: 2.0 * 68.5e9,
        };
        let h100 = device("H100-SXM");
        assert_eq!(fit(&h100, &needs, &question(1)).kv_memory, None);
        let two = fit(&h100, &needs, &question(2));
        assert_eq!(two.sequences, Some(5));
        assert!(fit(&device("L4"), &needs, &question(1)).speed.is_none());
    }

    /// Weights in bf16 (2 bytes x published parameters), KV bytes a token (2 x layers x KV heads x head size x 2 bytes), devices
    /// of 80 GiB at nine tenths, and the sequences of 8,192 tokens that they then hold: floor((usable - weights) / sequence).
    #[test]
    fn eight_well_known_models_fit_as_worked_by_hand() {
        let h100 = device("H100-SXM");
        for (name, parameters, layers, kv_heads, head_size, devices, sequences) in [
            ("Llama-3.1-8B", 8_030_261_248, 32, 8, 128, 1, 57),
            ("Llama-3.1-70B", 70_553_706_496, 80, 8, 128, 2, 5),
            ("Llama-3.1-405B", 405_853_388_800, 126, 8, 128, 16, 100),
            ("Mistral-7B-v0.1", 7_241_732_096, 32, 8, 128, 1, 58),
            ("Qwen2.5-7B", 7_615_616_512, 28, 4, 128, 1, 132),
            ("Mixtral-8x7B", 46_702_792_704, 32, 8, 128, 2, 57),
            ("Gemma-2-9B", 9_241_705_984, 42, 8, 256, 1, 20),
            ("SmolLM2-135M", 134_515_008, 30, 3, 64, 1, 408),
        ] {
            let needs = ModelNeeds {
                weights: Bytes(2 * parameters),
                active_weights: Bytes(2 * parameters),
                kv_bytes_per_token: 2 * layers * kv_heads * head_size * 2,
                windowed_kv: None,
                flops_per_token: 2.0 * parameters as f64,
                flops_per_prompt_token: 2.0 * parameters as f64,
            };
            let (count, fit) = devices_needed(&h100, &needs, &question(1), 16).unwrap();
            assert_eq!((count, fit.sequences), (devices, Some(sequences)), "{name}");
        }
    }

    #[test]
    fn a_window_bounds_what_its_layers_keep_and_read() {
        // Gemma-3-1B: 26 layers, every sixth global (4 of them), one KV head of 256, 16-bit values: 1,024 bytes a layer and token.
        let gemma = ModelNeeds {
            kv_bytes_per_token: 26 * 1_024,
            windowed_kv: Some(WindowedKv { bytes_per_token: 22 * 1_024, tokens: 512 }),
            ..LLAMA_8B
        };
        assert_eq!(gemma.kv_bytes(512), 512 * 26 * 1_024);
        assert_eq!(gemma.kv_bytes(2_000), (512 * 22 + 2_000 * 4) * 1_024);
        for context in [1, 511, 512, 513, 40_000] {
            assert_eq!(gemma.longest_context(gemma.kv_bytes(context)), Some(context));
        }
        // Token by token: step t of an answer reads what the cache holds then.
        for (prompt, output) in [(100, 200), (400, 400), (600, 100)] {
            let steps: u64 = (0..=output).map(|t| gemma.kv_bytes(prompt + t)).sum();
            let mean = steps as f64 / (output as f64 + 1.0);
            let found = gemma.mean_kv_bytes_read(prompt as f64, output as f64);
            assert!((found / mean - 1.0).abs() < 1e-3, "{prompt} {output}: {found} {mean}");
        }
        // Every layer windowed: beyond the window the cache does not grow.
        let all = ModelNeeds {
            windowed_kv: Some(WindowedKv { bytes_per_token: 26 * 1_024, tokens: 512 }),
            ..gemma
        };
        assert_eq!(all.longest_context(1 << 40), None);
    }

    proptest! {
        #[test]
        fn more_devices_never_hold_less(devices in 1_u32..64, prompt in 1_u64..100_000, usable in 0.0_f64..1.0) {
            let ask = |devices| FitQuestion { devices, prompt_tokens: prompt, usable_memory_share: usable, ..question(1) };
            let h100 = device("H100-SXM");
            let (fewer, more) = (fit(&h100, &LLAMA_8B, &ask(devices)), fit(&h100, &LLAMA_8B, &ask(devices + 1)));
            prop_assert!(more.sequences.unwrap_or(0) >= fewer.sequences.unwrap_or(0));
            prop_assert!(fewer.kv_memory.is_none_or(|kv| kv.0 + LLAMA_8B.weights.0 <= fewer.usable_memory.0));
            prop_assert!(fewer.usable_memory.0 <= u64::from(devices) * h100.memory.0);
        }
    }
}
