//! Results of other harnesses as measurements, marked with tool and definitions. What a tool does not report is absent, never zero.
//!
//! | file | holds |
//! |---|---|
//! | `tools` | AIPerf, GuideLLM, `vllm bench serve`, inference-perf and llama-bench |
//! | `table` | a plain CSV |

mod table;
mod tools;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// NVIDIA AIPerf, `profile_export_aiperf.json`.
    Aiperf,
    /// GuideLLM, `benchmarks.json`.
    Guidellm,
    /// `vllm bench serve --save-result`.
    VllmBench,
    /// inference-perf, `summary_lifecycle_metrics.json` or a stage's.
    InferencePerf,
    /// llama.cpp's llama-bench, `-o json`.
    LlamaBench,
    /// A plain CSV with our column names.
    Csv,
}

impl Tool {
    /// The name a report prints.
    pub fn label(self) -> &'static str {
        match self {
            Self::Aiperf => "AIPerf",
            Self::Guidellm => "GuideLLM",
            Self::VllmBench => "vllm bench serve",
            Self::InferencePerf => "inference-perf",
            Self::LlamaBench => "llama-bench",
            Self::Csv => "CSV",
        }
    }

    /// How its figures are defined where that differs from ours (docs/GLOSSARY.md); looked up in its documentation and source.
    pub fn definitions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Aiperf => &[
                ("TTFT", "first response chunk of any content − request sent, not from when it was due"),
                (
                    "TPOT",
                    "its inter_token_latency: (request latency − TTFT) / (output tokens − 1), a request's mean",
                ),
                ("percentiles", "of completed requests, interpolated; failed ones are left out"),
            ],
            Self::Guidellm => &[
                ("TTFT", "first token − request sent, of successful requests"),
                (
                    "TPOT",
                    "its inter_token_latency; its own time_per_output_token counts TTFT in and is not taken",
                ),
                ("percentiles", "of successful requests"),
            ],
            Self::VllmBench => &[
                ("TTFT", "first chunk − request sent; with a concurrency cap, not from when it was due"),
                ("TPOT", "(latency − TTFT) / (output tokens − 1), a request's mean"),
                ("percentiles", "of successful requests, interpolated"),
            ],
            Self::InferencePerf => &[
                ("TTFT", "first token − request sent, of successful requests"),
                (
                    "TPOT",
                    "its inter_token_latency, pooled gaps; its time_per_output_token counts TTFT in and is not taken",
                ),
                ("percentiles", "of successful requests, interpolated"),
            ],
            Self::LlamaBench => &[(
                "throughput",
                "tokens per second of one batch, no requests, no queue: nothing about latency under load",
            )],
            Self::Csv => &[("all", "as the file's author defines them")],
        }
    }
}

/// Latencies of one metric, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Latencies {
    /// Arithmetic mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_seconds: Option<f64>,
    /// Median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_seconds: Option<f64>,
    /// 90th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_seconds: Option<f64>,
    /// 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_seconds: Option<f64>,
    /// 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_seconds: Option<f64>,
}

impl Latencies {
    /// The lowest reported percentile that a share of requests surely stays within: that share's own, or a stricter one.
    pub fn within(&self, share: f64) -> Option<f64> {
        [(0.5, self.p50_seconds), (0.9, self.p90_seconds), (0.95, self.p95_seconds), (0.99, self.p99_seconds)]
            .into_iter()
            .filter(|(q, _)| *q >= share - 1e-9)
            .find_map(|(_, value)| value)
    }
}

/// One load of an imported result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ImportedPoint {
    /// What the tool calls it.
    pub label: String,
    /// Requests per second offered by a schedule; absent where the tool kept a number in flight instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_per_second: Option<f64>,
    /// Requests kept in flight, or the cap on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<f64>,
    /// Requests completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<f64>,
    /// Requests failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<f64>,
    /// Completed requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub achieved_per_second: Option<f64>,
    /// Output tokens per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_second: Option<f64>,
    /// Prompt tokens per second, of a batch of prompts alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_per_second: Option<f64>,
    /// Mean prompt tokens of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_input_tokens: Option<f64>,
    /// Mean output tokens of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_output_tokens: Option<f64>,
    /// TTFT.
    #[serde(default)]
    pub ttft: Latencies,
    /// TPOT.
    #[serde(default)]
    pub tpot: Latencies,
    /// E2E.
    #[serde(default)]
    pub e2e: Latencies,
}

/// What came in from another harness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Imported {
    /// The tool.
    pub tool: Tool,
    /// Its version, where the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_version: Option<String>,
    /// Files read.
    pub files: Vec<String>,
    /// The model's name, where the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How its figures are defined: metric and definition.
    pub definitions: Vec<(String, String)>,
    /// Its loads.
    pub points: Vec<ImportedPoint>,
}

/// Why a result could not be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Neither JSON nor a CSV of ours.
    #[error(
        "`{file}`, line {line}: {message}; expected JSON of AIPerf, GuideLLM, vllm bench serve, inference-perf or llama-bench, or a CSV"
    )]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// JSON of nobody we know.
    #[error(
        "`{file}` is JSON of none of the tools that are known (AIPerf, GuideLLM, vllm bench serve, inference-perf, llama-bench)"
    )]
    Unknown {
        /// The file.
        file: String,
    },
    /// A number that cannot be.
    #[error("`{file}`: expected {path} to be a finite number, 0 or more, found {found}")]
    Number {
        /// The file.
        file: String,
        /// Where in it.
        path: String,
        /// What is there.
        found: String,
    },
    /// Nothing in it.
    #[error("`{file}` holds no result")]
    Empty {
        /// The file.
        file: String,
    },
}

/// Reads one result; the tool is told by what the file holds.
///
/// # Errors
/// With the file and what is wrong in it.
pub fn import(file: &str, text: &str) -> Result<Imported, ImportError> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let imported = if start.starts_with('{') || start.starts_with('[') {
        let value: Value = serde_json::from_str(start).map_err(|e| ImportError::Syntax {
            file: file.to_owned(),
            line: e.line(),
            message: e.to_string(),
        })?;
        tools::read(file, &value)?
    } else {
        table::read(file, start)?
    };
    if imported.points.is_empty() {
        return Err(ImportError::Empty { file: file.to_owned() });
    }
    Ok(imported)
}

impl Imported {
    fn new(tool: Tool, file: &str) -> Self {
        let definitions =
            tool.definitions().iter().map(|(metric, text)| ((*metric).to_owned(), (*text).to_owned()));
        Self {
            tool,
            tool_version: None,
            files: vec![file.to_owned()],
            model: None,
            definitions: definitions.collect(),
            points: Vec::new(),
        }
    }

    /// Adds another result of the same tool; the other's points where the tools differ are refused by returning it.
    ///
    /// # Errors
    /// Gives `other` back where it is another tool's or another model's.
    pub fn join(&mut self, other: Self) -> Result<(), Box<Self>> {
        if other.tool != self.tool || other.model != self.model {
            return Err(Box::new(other));
        }
        self.files.extend(other.files);
        self.points.extend(other.points);
        Ok(())
    }
}
