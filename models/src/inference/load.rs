//! From a weights file, or from a seed, to a model ready to run: spec, tensors, tokenizer.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;

use super::batch::Decoder;
use super::chat::{ChatTemplate, Message};
use super::decoder::build_decoder;
use super::gguf::{Header, type_name};
use super::gguf_spec;
use super::random::NoiseTensors;
use super::settings::EngineSettings;
use super::tensors::{FileTensors, TensorSource};
use super::tokenizer::TextCodec;
use crate::facts::WeightsOrigin;
use crate::spec::DecoderSpec;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read model file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what a GGUF file should be.
    #[error("bad model file {path}: {fault}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        fault: String,
    },
    /// A file of a model in the hub's layout is not what it should be.
    #[error("bad model file {path}: {fault}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        fault: String,
    },
    /// A name that is neither a file nor a built-in model.
    #[error(
        "unknown model `{name}`: expected a path to a GGUF file, a folder with config.json and *.safetensors, \
         hf:owner/name of the Hugging Face hub, or one of {choices}"
    )]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The built-in names.
        choices: String,
    },
    /// A model that the hub does not give.
    #[error("cannot get model `{model}`: {fault}")]
    Hub {
        /// As asked for.
        model: String,
        /// What is wrong and what to do.
        fault: String,
    },
    /// candle refused a tensor.
    #[error("cannot place tensor `{tensor}`")]
    Tensor {
        /// Which.
        tensor: String,
        /// candle's word.
        #[source]
        source: candle_core::Error,
    },
    /// The kernels refused a tensor.
    #[error("cannot pack tensor `{tensor}`")]
    Packing {
        /// Which.
        tensor: String,
        /// The kernels' word.
        #[source]
        source: breakeven_kernels::KernelError,
    },
    /// The chosen device is not there.
    #[error("cannot use device {device}: {fault}")]
    Device {
        /// As asked for.
        device: String,
        /// What is wrong.
        fault: String,
    },
    /// Settings and model do not fit together.
    #[error("{0}")]
    Unsuitable(String),
}

/// A model whose weights can be placed on a device: nothing big is in memory yet.
#[derive(Debug)]
pub struct LoadedModel {
    /// Registry name or file stem.
    pub name: String,
    /// The architecture.
    pub spec: DecoderSpec,
    /// Where the weights come from.
    pub origin: WeightsOrigin,
    pub(crate) codec: TextCodec,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) tensors: Box<dyn TensorSource>,
}

impl LoadedModel {
    /// Opens a GGUF file: header, tensor shapes and tokenizer are checked, weights stay on disk.
    ///
    /// `sha256` is the file's hash, computed by whoever fetched it.
    pub fn open(path: &Path, name: &str, source: &str, sha256: &str) -> Result<Self, LoadError> {
        let mut header = Header::read(path)?;
        let spec = gguf_spec::spec(&header)?;
        let codec = TextCodec::from_header(&header, spec.vocabulary)?;
        let template = ChatTemplate::from_header(&header)?;
        // Only the tensors' places are wanted from here on; a vocabulary and its merges are megabytes of small texts.
        header.metadata = HashMap::new();
        let file = File::open(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        Ok(Self {
            name: name.to_owned(),
            spec,
            origin: WeightsOrigin::File { source: source.to_owned(), sha256: sha256.to_owned() },
            codec,
            template,
            tensors: Box::new(FileTensors::new(header, file)),
        })
    }

    /// The same shapes filled with seeded noise: timings are real, texts are not.
    ///
    /// Text is encoded byte by byte, one token each, since there is no vocabulary to speak of.
    pub fn random(
        name: &str,
        spec: DecoderSpec,
        quantization: GgmlDType,
        seed: u64,
    ) -> Result<Self, LoadError> {
        if let Some(defect) = spec.defect() {
            return Err(LoadError::Unsuitable(format!("model `{name}`: {defect}")));
        }
        let codec = TextCodec::bytes(spec.vocabulary)?;
        Ok(Self {
            name: name.to_owned(),
            codec,
            template: None,
            origin: WeightsOrigin::Random { seed },
            tensors: Box::new(NoiseTensors::new(&spec, quantization, seed)),
            spec,
        })
    }

    /// Tokens of a text, as a prompt of plain text begins.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        self.codec.encode(text, true)
    }

    /// A conversation in the model's own chat template; `None` where it has none.
    pub fn render_chat(&self, messages: &[Message]) -> Result<Option<String>, String> {
        self.template.as_ref().map(|template| template.render(messages)).transpose()
    }

    /// The decoder alone, without scheduler or thread, its KV slots as the settings say: for comparing logits.
    pub fn decoder(&mut self, settings: &EngineSettings) -> Result<Box<dyn Decoder>, LoadError> {
        build_decoder(&self.spec, self.tensors.as_mut(), settings)
    }

    /// Bytes of all tensors as stored.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.total_bytes()
    }

    /// The storage type that most of the bytes have.
    pub fn quantization(&self) -> &'static str {
        type_name(self.tensors.dominant_type())
    }
}
