//! How the engine runs a model: room, threads, device. Part of every measurement, since figures without
//! them cannot be repeated.

use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

use super::batch::SlotShape;
use super::load::LoadError;
use crate::spec::DecoderSpec;

/// Which implementation runs the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// candle's own kernels over the quantised blocks: every device, and the reference.
    Candle,
    /// Weights packed for this processor's vector units (crate `breakeven-kernels`).
    Packed,
}

/// Where the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by index; needs the feature `cuda`.
    Cuda(usize),
}

impl From<DeviceChoice> for String {
    fn from(device: DeviceChoice) -> Self {
        match device {
            DeviceChoice::Cpu => "cpu".to_owned(),
            DeviceChoice::Cuda(index) => format!("cuda:{index}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "cpu" {
            return Ok(Self::Cpu);
        }
        let index = text.strip_prefix("cuda").map(|rest| rest.strip_prefix(':').unwrap_or("0"));
        index
            .and_then(|index| index.parse().ok())
            .map(Self::Cuda)
            .ok_or_else(|| format!("device is `{text}`, expected `cpu` or `cuda:N`"))
    }
}

/// Settings of one engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSettings {
    /// Threads of the packed backend; candle's own pool takes its number from `RAYON_NUM_THREADS`.
    pub threads: usize,
    /// Most sequences that run at once; fewer where `kv_memory_bytes` does not hold them.
    pub max_sequences: usize,
    /// Most tokens of one sequence, prompt and answer together; the model's own limit where that is lower.
    pub max_context: usize,
    /// Most tokens one step works on: decoding sequences take one each, prefill chunks the rest.
    pub token_budget: usize,
    /// Most requests that wait; further ones are refused.
    pub max_queue: usize,
    /// Most memory for keys and values.
    pub kv_memory_bytes: u64,
    /// Whether prompts that begin alike share what was computed for the beginning. Off in benchmarks: their
    /// prompts repeat from level to level, and hits would flatter every level but the first.
    pub prefix_cache: bool,
    /// Implementation of the matrix products.
    pub backend: Backend,
    /// Where the model runs.
    pub device: DeviceChoice,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            threads: available_parallelism().map_or(1, std::num::NonZero::get),
            max_sequences: 32,
            max_context: 2048,
            token_budget: 128,
            max_queue: 4096,
            kv_memory_bytes: 4 << 30,
            prefix_cache: false,
            backend: Backend::Packed,
            device: DeviceChoice::Cpu,
        }
    }
}

impl EngineSettings {
    /// The settings as this model can use them: context within the model's, slots within the memory.
    pub fn fitted_to(&self, spec: &DecoderSpec, kv_bytes_per_token: u64) -> Result<Self, LoadError> {
        let unsuitable = |fault: String| Err(LoadError::Unsuitable(fault));
        for (name, value) in
            [("threads", self.threads), ("max_sequences", self.max_sequences), ("max_queue", self.max_queue)]
        {
            if value == 0 {
                return unsuitable(format!("`{name}` is 0, expected at least 1"));
            }
        }
        let max_context = self.max_context.min(spec.context);
        if max_context < 2 {
            return unsuitable(format!("`max_context` is {max_context}, expected at least 2"));
        }
        let slot_bytes = kv_bytes_per_token * max_context as u64;
        let affordable = self.kv_memory_bytes / slot_bytes;
        let max_sequences = self.max_sequences.min(usize::try_from(affordable).unwrap_or(usize::MAX));
        if max_sequences == 0 {
            return unsuitable(format!(
                "one sequence of {max_context} tokens needs {slot_bytes} bytes of KV cache, \
                 `kv_memory_bytes` is {}",
                self.kv_memory_bytes
            ));
        }
        if self.token_budget <= max_sequences {
            return unsuitable(format!(
                "`token_budget` is {}, expected more than the {max_sequences} sequences that may decode at once",
                self.token_budget
            ));
        }
        let backend = match self.device {
            DeviceChoice::Cpu => self.backend,
            DeviceChoice::Cuda(_) => Backend::Candle,
        };
        Ok(Self { max_sequences, max_context, backend, ..self.clone() })
    }

    /// Room for sequences.
    pub fn slots(&self) -> SlotShape {
        SlotShape { slots: self.max_sequences, tokens: self.max_context }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[test]
    fn memory_and_model_bound_the_slots() {
        let spec = registry::find(registry::DEFAULT_MODEL).unwrap().spec;
        let settings = EngineSettings { max_context: 1 << 20, ..EngineSettings::default() };
        let fitted = settings.fitted_to(&spec, 46_080).unwrap();
        assert_eq!(fitted.max_context, 8192);
        // 4 GiB / (46,080 · 8192) = 11.37
        assert_eq!(fitted.max_sequences, 11);
        let poor = EngineSettings { kv_memory_bytes: 1 << 20, ..EngineSettings::default() };
        assert!(poor.fitted_to(&spec, 46_080).unwrap_err().to_string().contains("94371840"));
        let tight = EngineSettings { token_budget: 32, ..EngineSettings::default() };
        assert!(tight.fitted_to(&spec, 46_080).is_err());
    }

    #[test]
    fn settings_survive_json_and_unknown_keys_do_not() {
        let settings = EngineSettings { device: DeviceChoice::Cuda(1), ..EngineSettings::default() };
        let text = serde_json::to_string(&settings).unwrap();
        assert!(text.contains("\"cuda:1\""));
        assert_eq!(serde_json::from_str::<EngineSettings>(&text).unwrap(), settings);
        assert!(serde_json::from_str::<EngineSettings>(r#"{"threds": 2}"#).is_err());
        assert!(serde_json::from_str::<EngineSettings>(r#"{"device": "tpu"}"#).is_err());
    }
}
