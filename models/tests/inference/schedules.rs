//! A sequence's tokens do not depend on its company: not on who else runs, when they came, how prompts were
//! cut into chunks, or how long they had to wait for a slot.

use breakeven_models::inference::batch::{Decoder, SlotShape, StepBatch};
use breakeven_models::inference::candle_decoder::CandleDecoder;
use breakeven_models::inference::random::NoiseTensors;
use breakeven_models::inference::{
    Backend, Engine, EngineSettings, Event, GenerateRequest, GgmlDType, LoadedModel, Prompt,
};
use candle_core::Device;
use proptest::prelude::*;

use crate::common::{answer, collect};
use crate::small;

/// Of the random weights.
const SEED: u64 = 11;

#[derive(Debug, Clone)]
struct Job {
    prompt: Vec<u32>,
    max_tokens: usize,
    /// Tokens to read from the request before this one until this one is handed in.
    after: usize,
}

fn job() -> impl Strategy<Value = Job> {
    (prop::collection::vec(0u32..256, 1..60), 1usize..12, 0usize..4)
        .prop_map(|(prompt, max_tokens, after)| Job { prompt, max_tokens, after })
}

fn engine(family: &str, backend: Backend, quantization: GgmlDType, slots: usize, budget: usize) -> Engine {
    engine_with(family, backend, quantization, slots, budget, false)
}

fn engine_with(
    family: &str,
    backend: Backend,
    quantization: GgmlDType,
    slots: usize,
    budget: usize,
    prefix_cache: bool,
) -> Engine {
    let settings = EngineSettings {
        prefix_cache,
        backend,
        max_sequences: slots,
        max_context: 96,
        token_budget: budget,
        ..EngineSettings::default()
    };
    let model = LoadedModel::random(family, small::spec(family), quantization, SEED).unwrap();
    Engine::start(model, &settings).unwrap()
}

fn request(job: &Job) -> GenerateRequest {
    GenerateRequest {
        ignore_eos: true,
        ..GenerateRequest::new(Prompt::Tokens(job.prompt.clone()), job.max_tokens)
    }
}

/// How a sequence's tokens are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// The same tokens: every sum is the same whatever else is in the step.
    Exact,
    /// f32 products whose order of summation depends on the number of rows: each token is the likeliest alone after
    /// the same tokens, or short of it by at most [`NEAR_TIE`] of the logits' spread.
    ToRounding,
}

/// Share of the largest logit. f32 sums over a few hundred products in another order differ by some 1e-6 of it.
const NEAR_TIE: f32 = 2e-5;

/// Logits after a prompt and after each of some tokens, computed alone.
fn alone_step(decoder: &mut CandleDecoder, at: usize, tokens: &[u32]) -> Vec<f32> {
    let mut batch = StepBatch::default();
    batch.push(0, at, tokens, true);
    let mut logits = Vec::new();
    decoder.step(&batch, &mut logits).unwrap();
    logits
}

/// Holds tokens that came in company against the logits alone.
fn judge(family: &str, quantization: GgmlDType, job: &Job, tokens: &[u32]) -> Result<(), TestCaseError> {
    let spec = small::spec(family);
    let mut noise = NoiseTensors::new(&spec, quantization, SEED);
    let shape = SlotShape { slots: 1, tokens: 96 };
    let mut decoder = CandleDecoder::new(spec, &mut noise, shape, &Device::Cpu).unwrap();
    prop_assert_eq!(tokens.len(), job.max_tokens);
    let mut at = 0;
    let mut new = job.prompt.clone();
    for (index, &token) in tokens.iter().enumerate() {
        let logits = alone_step(&mut decoder, at, &new);
        at += new.len();
        let spread = logits.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        let best = logits.iter().fold(f32::NEG_INFINITY, |most, logit| most.max(*logit));
        let short = best - logits[token as usize];
        prop_assert!(
            short <= NEAR_TIE * spread,
            "token {} of {:?} is {}: alone it is {} short of the likeliest, of a spread of {}",
            index,
            job,
            token,
            short,
            spread
        );
        new = vec![token];
    }
    Ok(())
}

fn check(
    family: &str,
    backend: Backend,
    quantization: GgmlDType,
    jobs: &[Job],
    slots: usize,
    extra: usize,
) -> Result<(), TestCaseError> {
    let measure = if backend == Backend::Packed { Measure::Exact } else { Measure::ToRounding };
    let alone = engine(family, backend, quantization, 1, 128);
    let expected: Vec<_> = jobs.iter().map(|job| answer(&alone, request(job))).collect();
    let mixed = engine(family, backend, quantization, slots, slots + extra);
    let mut streams = Vec::new();
    for job in jobs {
        if let Some((stream, seen)) = streams.last_mut() {
            for _ in 0..job.after {
                let stream: &mut breakeven_models::inference::EventStream = stream;
                let event = stream.blocking_next();
                <Vec<_> as Extend<_>>::extend(seen, event);
            }
        }
        streams.push((mixed.submit(request(job)).unwrap(), Vec::new()));
    }
    for (((stream, seen), expected), job) in streams.into_iter().zip(expected).zip(jobs) {
        let given = collect(stream, seen);
        if measure == Measure::Exact {
            prop_assert_eq!(given, expected);
        } else if given != expected {
            judge(family, quantization, job, &given.tokens)?;
        }
    }
    let steps = mixed.take_step_log();
    let prefilled: usize = steps.iter().map(|step| step.prefill_tokens).sum();
    let decoded: usize = steps.iter().map(|step| step.decoding_sequences).sum();
    // One-token chunks at a prompt's end count as decoding: only the sum is certain.
    let worked: usize = jobs.iter().map(|job| job.prompt.len() + job.max_tokens - 1).sum();
    prop_assert_eq!(prefilled + decoded, worked);
    prop_assert!(steps.iter().all(|step| step.prefill_tokens + step.decoding_sequences <= slots + extra));
    Ok(())
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig::with_cases(count)
}

proptest! {
    #![proptest_config(cases(16))]
    #[test]
    fn llama_on_candle(jobs in prop::collection::vec(job(), 1..7), slots in 1usize..5, extra in 1usize..40) {
        check("llama", Backend::Candle, GgmlDType::F32, &jobs, slots, extra)?;
    }

    #[test]
    fn llama_on_packed(jobs in prop::collection::vec(job(), 1..7), slots in 1usize..5, extra in 1usize..40) {
        check("llama", Backend::Packed, GgmlDType::Q8_0, &jobs, slots, extra)?;
    }

    #[test]
    fn gemma3_with_its_window_on_candle(jobs in prop::collection::vec(job(), 1..5), slots in 1usize..4, extra in 1usize..40) {
        check("gemma3", Backend::Candle, GgmlDType::F32, &jobs, slots, extra)?;
    }
}

/// Prompts that begin alike, through the prefix cache, with some cancelled half way: the tokens are those of each alone.
fn check_shared(
    backend: Backend,
    quantization: GgmlDType,
    tails: &[Vec<u32>],
    slots: usize,
    budget: usize,
) -> Result<usize, TestCaseError> {
    let shared: Vec<u32> = (0..40).map(|at| at * 7 % 256).collect();
    let jobs = tails.iter().enumerate().map(|(index, tail)| {
        let prompt = shared[..40 - index % 3 * 10].iter().chain(tail).copied().collect();
        Job { prompt, max_tokens: 6, after: 0 }
    });
    let jobs: Vec<Job> = jobs.collect();
    let alone = engine("llama", backend, quantization, 1, 128);
    let expected: Vec<_> = jobs.iter().map(|job| answer(&alone, request(job))).collect();
    let cached = engine_with("llama", backend, quantization, slots, slots + budget, true);
    let mut hits = 0;
    for (index, (job, expected)) in jobs.iter().zip(&expected).enumerate() {
        // Every third has a companion that gives up after its first token.
        let mut companion = (index % 3 == 2).then(|| cached.submit(request(job)).unwrap());
        let mut stream = cached.submit(request(job)).unwrap();
        drop(companion.take().map(|mut stream| stream.blocking_next()));
        let mut tokens = Vec::new();
        loop {
            match stream.blocking_next().unwrap() {
                Event::Token { id, .. } => tokens.push(id),
                Event::Done { cached_tokens, prompt_tokens, .. } => {
                    prop_assert!(cached_tokens < prompt_tokens);
                    hits += cached_tokens;
                    break;
                }
                Event::Failed { error } => return Err(TestCaseError::fail(error.to_string())),
            }
        }
        if backend == Backend::Packed {
            prop_assert_eq!(&tokens, &expected.tokens);
        } else if tokens != expected.tokens {
            judge("llama", quantization, job, &tokens)?;
        }
    }
    Ok(hits)
}

proptest! {
    #![proptest_config(cases(12))]
    #[test]
    fn a_shared_prefix_changes_no_token(
        tails in prop::collection::vec(prop::collection::vec(0u32..256, 1..30), 2..6),
        slots in 1usize..4,
        budget in 1usize..40,
    ) {
        let hits = check_shared(Backend::Packed, GgmlDType::Q8_0, &tails, slots, budget)?;
        prop_assert!(hits > 0, "nothing was ever found in the cache");
        let hits = check_shared(Backend::Candle, GgmlDType::F32, &tails, slots, budget)?;
        prop_assert!(hits > 0, "nothing was ever found in the cache");
    }
}

/// How far logits in company are from those alone: the figure that [`NEAR_TIE`] is set by, and a fault would show here
/// whether or not it moves a token.
fn furthest_apart(family: &str, cuts: &[usize], companions: usize) -> f32 {
    let spec = small::spec(family);
    let decoder = |slots| {
        let mut noise = NoiseTensors::new(&spec, GgmlDType::F32, SEED);
        CandleDecoder::new(spec.clone(), &mut noise, SlotShape { slots, tokens: 96 }, &Device::Cpu).unwrap()
    };
    let (mut alone, mut mixed) = (decoder(1), decoder(companions + 1));
    let tokens: Vec<u32> = (0..90).map(|at| at * at * 37 % 256).collect();
    let mut apart = 0.0f32;
    let mut at = 0;
    for (step, cut) in cuts.iter().enumerate() {
        let new = &tokens[at..at + cut];
        let expected = alone_step(&mut alone, at, new);
        let mut batch = StepBatch::default();
        // Companions come before and behind, one or two tokens each.
        for other in 0..companions {
            if other == companions / 2 {
                batch.push(companions, at, new, true);
            }
            batch.push(other, 2 * step, &[u32::try_from(other).unwrap(), 7][..=(step + other) % 2], false);
        }
        if companions == 0 {
            batch.push(0, at, new, true);
        }
        let mut logits = Vec::new();
        mixed.step(&batch, &mut logits).unwrap();
        let spread = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        for (ours, theirs) in logits.iter().zip(&expected) {
            apart = apart.max((ours - theirs).abs() / spread);
        }
        at += cut;
    }
    apart
}

proptest! {
    #![proptest_config(cases(12))]
    #[test]
    fn logits_in_company_are_those_alone_to_rounding(
        cuts in prop::collection::vec(1usize..9, 1..10),
        companions in 0usize..8,
        family in prop::sample::select(vec!["llama", "qwen2", "qwen3", "gemma3", "phi3"]),
    ) {
        let apart = furthest_apart(family, &cuts, companions);
        prop_assert!(apart <= NEAR_TIE / 2.0, "{family}: {apart} of the spread");
    }
}
