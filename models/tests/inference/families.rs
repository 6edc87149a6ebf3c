//! Every family's logits equal those of candle-transformers' own implementation, prompt and decoding alike.

use std::fs::File;

use breakeven_models::DecoderSpec;
use breakeven_models::inference::GgmlDType;
use breakeven_models::inference::batch::{Decoder, SlotShape, StepBatch};
use breakeven_models::inference::candle_decoder::CandleDecoder;
use breakeven_models::inference::gguf::Header;
use breakeven_models::inference::gguf_spec;
use breakeven_models::inference::tensors::FileTensors;
use breakeven_models::spec::Activation;
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Result, Tensor};
use candle_transformers::models::{
    quantized_gemma3, quantized_llama, quantized_phi3, quantized_qwen2, quantized_qwen3,
};

use crate::small;

const PROMPT: [u32; 11] = [17, 3, 250, 99, 4, 180, 77, 12, 256, 8, 201];
const STEPS: usize = 8;

type Forward = Box<dyn FnMut(&Tensor, usize) -> Result<Tensor>>;

fn reference(family: &str, content: Content, file: &mut File) -> Forward {
    let cpu = &Device::Cpu;
    match family {
        "llama" => {
            let mut model = quantized_llama::ModelWeights::from_gguf(content, file, cpu).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen2" => {
            let mut model = quantized_qwen2::ModelWeights::from_gguf(content, file, cpu).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "qwen3" => {
            let mut model = quantized_qwen3::ModelWeights::from_gguf(content, file, cpu).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        "gemma3" => {
            let mut model = quantized_gemma3::ModelWeights::from_gguf(content, file, cpu).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
        _ => {
            let mut model = quantized_phi3::ModelWeights::from_gguf(false, content, file, cpu).unwrap();
            Box::new(move |tokens, at| model.forward(tokens, at))
        }
    }
}

/// `adjust` may change the spec that the file describes, where candle-transformers departs from the family.
fn compare(family: &str, adjust: impl Fn(&mut DecoderSpec)) {
    let folder = tempfile::tempdir().unwrap();
    let path = small::write(folder.path(), &small::spec(family), GgmlDType::F32, 3);
    let header = Header::read(&path).unwrap();
    let mut spec = gguf_spec::spec(&header).unwrap();
    assert_eq!(spec, small::spec(family), "the file does not describe the spec it was written from");
    adjust(&mut spec);
    let mut tensors = FileTensors::new(header, File::open(&path).unwrap());
    let shape = SlotShape { slots: 2, tokens: 64 };
    let mut ours = CandleDecoder::new(spec, &mut tensors, shape, &Device::Cpu).unwrap();

    let mut file = File::open(&path).unwrap();
    let content = Content::read(&mut file).unwrap();
    let mut theirs = reference(family, content, &mut file);
    let mut tokens = PROMPT.to_vec();
    let mut fed = 0;
    let mut logits = Vec::new();
    for step in 0..STEPS {
        let new = &tokens[fed..];
        let input = Tensor::new(new, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let expected = theirs(&input, fed).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut batch = StepBatch::default();
        batch.push(1, fed, new, true);
        ours.step(&batch, &mut logits).unwrap();
        assert_eq!(expected.len(), logits.len());
        let furthest = expected.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-3, "{family}: logits differ by {furthest} in step {step}");
        let spread = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        assert!(spread > 0.05, "{family}: logits of at most {spread} compare nothing");
        fed = tokens.len();
        tokens.push(u32::try_from(step * 31 % small::VOCABULARY).unwrap());
    }
}

#[test]
fn llama_equals_candle() {
    compare("llama", |_| {});
}

#[test]
fn qwen2_equals_candle() {
    compare("qwen2", |_| {});
}

#[test]
fn qwen3_equals_candle() {
    compare("qwen3", |_| {});
}

#[test]
fn phi3_equals_candle() {
    compare("phi3", |_| {});
}

/// candle-transformers 0.11.1 runs Gemma's gate through `SiLU` where the model has GELU (tanh): the rest must agree.
#[test]
fn gemma3_equals_candle_but_for_its_activation() {
    compare("gemma3", |spec| spec.activation = Activation::Silu);
}

#[test]
fn linear_rope_scaling_is_read_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = small::spec("llama");
    spec.rope.linear_factor = Some(4.0);
    let path = small::write(folder.path(), &spec, GgmlDType::F32, 3);
    assert_eq!(gguf_spec::spec(&Header::read(&path).unwrap()).unwrap(), spec);
}
