//! The JSON of each tool, told apart by the keys that only it has.

use serde_json::Value;

use super::{ImportError, Imported, ImportedPoint, Latencies, Tool};

/// A place in the file; every reading of a number is checked.
#[derive(Debug, Clone, Copy)]
struct At<'a> {
    file: &'a str,
    value: &'a Value,
}

impl<'a> At<'a> {
    fn get(self, key: &str) -> Self {
        Self { value: self.value.get(key).unwrap_or(&Value::Null), ..self }
    }

    /// A number that is there and can be; absent where it is not there or null.
    fn number(self, key: &str) -> Result<Option<f64>, ImportError> {
        let value = self.value.get(key).unwrap_or(&Value::Null);
        match (value, value.as_f64()) {
            (Value::Null, _) => Ok(None),
            (_, Some(number)) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            _ => Err(ImportError::Number {
                file: self.file.to_owned(),
                path: format!("`{key}`"),
                found: value.to_string().chars().take(60).collect(),
            }),
        }
    }

    fn scaled(self, key: &str, scale: f64) -> Result<Option<f64>, ImportError> {
        Ok(self.number(key)?.map(|value| value * scale))
    }

    fn text(self, key: &str) -> Option<String> {
        self.value.get(key).and_then(Value::as_str).map(str::to_owned)
    }

    fn items(self) -> impl Iterator<Item = Self> + 'a {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().map(move |value| Self { file: self.file, value })
    }
}

pub(super) fn read(file: &str, value: &Value) -> Result<Imported, ImportError> {
    let root = At { file, value };
    let has = |key: &str| value.get(key).is_some();
    if has("aiperf_version") || (has("time_to_first_token") && has("input_config")) {
        aiperf(root)
    } else if has("benchmarks") {
        guidellm(root)
    } else if has("mean_ttft_ms") || (has("request_throughput") && has("total_output_tokens")) {
        vllm(root)
    } else if has("successes") && has("load_summary") {
        inference_perf(root)
    } else if value.get(0).is_some_and(|row| row.get("avg_ts").is_some() && row.get("n_prompt").is_some()) {
        llama_bench(root)
    } else {
        Err(ImportError::Unknown { file: file.to_owned() })
    }
}

fn aiperf(root: At<'_>) -> Result<Imported, ImportError> {
    let mut imported = Imported::new(Tool::Aiperf, root.file);
    imported.tool_version = root.text("aiperf_version");
    let config = root.get("input_config");
    imported.model = config.get("models").get("items").items().next().and_then(|m| m.text("name"));
    // Milliseconds, unless the file says seconds.
    let latencies = |key: &str| -> Result<Latencies, ImportError> {
        let of = root.get(key);
        let scale =
            if of.text("unit").is_some_and(|u| u.starts_with("sec") || u == "s") { 1.0 } else { 1e-3 };
        Ok(Latencies {
            mean_seconds: of.scaled("avg", scale)?,
            p50_seconds: of.scaled("p50", scale)?,
            p90_seconds: of.scaled("p90", scale)?,
            p95_seconds: of.scaled("p95", scale)?,
            p99_seconds: of.scaled("p99", scale)?,
        })
    };
    let avg = |key: &str| root.get(key).number("avg");
    let phase = config.get("phases").items().find(|p| p.text("kind").is_some_and(|k| k == "profiling"));
    let (rate, concurrency) = match phase {
        Some(phase) => (phase.number("rate")?, phase.number("concurrency")?),
        None => (None, None),
    };
    imported.points.push(ImportedPoint {
        label: root.text("benchmark_id").unwrap_or_else(|| "profile".to_owned()),
        offered_per_second: rate,
        concurrency,
        completed: avg("completed_request_count")?.or(avg("request_count")?),
        failed: avg("error_request_count")?,
        achieved_per_second: avg("request_throughput")?,
        output_tokens_per_second: avg("output_token_throughput")?,
        prompt_tokens_per_second: None,
        mean_input_tokens: avg("input_sequence_length")?,
        mean_output_tokens: avg("output_sequence_length")?,
        ttft: latencies("time_to_first_token")?,
        tpot: latencies("inter_token_latency")?,
        e2e: latencies("request_latency")?,
    });
    Ok(imported)
}

fn guidellm(root: At<'_>) -> Result<Imported, ImportError> {
    let mut imported = Imported::new(Tool::Guidellm, root.file);
    imported.tool_version = root.get("metadata").text("guidellm_version");
    imported.model = root.get("config").get("spec").get("backend").text("model");
    for benchmark in root.get("benchmarks").items() {
        let metrics = benchmark.get("metrics");
        let successful = |key: &str| metrics.get(key).get("successful");
        let latencies = |key: &str, scale: f64| -> Result<Latencies, ImportError> {
            let (of, p) = (successful(key), successful(key).get("percentiles"));
            Ok(Latencies {
                mean_seconds: of.scaled("mean", scale)?,
                p50_seconds: p.scaled("p50", scale)?,
                p90_seconds: p.scaled("p90", scale)?,
                p95_seconds: p.scaled("p95", scale)?,
                p99_seconds: p.scaled("p99", scale)?,
            })
        };
        let strategy = benchmark.get("config").get("strategy");
        let kind = strategy.text("type_").unwrap_or_else(|| "benchmark".to_owned());
        imported.points.push(ImportedPoint {
            offered_per_second: strategy.number("rate")?,
            // A schedule's cap is not a concurrency that was kept.
            concurrency: if kind == "concurrent" { strategy.number("streams")? } else { None },
            label: kind,
            completed: metrics.get("request_totals").number("successful")?,
            failed: metrics.get("request_totals").number("errored")?,
            achieved_per_second: successful("requests_per_second").number("mean")?,
            output_tokens_per_second: successful("output_tokens_per_second").number("mean")?,
            prompt_tokens_per_second: None,
            mean_input_tokens: successful("prompt_token_count").number("mean")?,
            mean_output_tokens: successful("output_token_count").number("mean")?,
            ttft: latencies("time_to_first_token_ms", 1e-3)?,
            tpot: latencies("inter_token_latency_ms", 1e-3)?,
            e2e: latencies("request_latency", 1.0)?,
        });
    }
    Ok(imported)
}

fn vllm(root: At<'_>) -> Result<Imported, ImportError> {
    let mut imported = Imported::new(Tool::VllmBench, root.file);
    imported.model = root.text("model_id");
    let latencies = |name: &str| -> Result<Latencies, ImportError> {
        let at = |statistic: &str| root.scaled(&format!("{statistic}_{name}_ms"), 1e-3);
        Ok(Latencies {
            mean_seconds: at("mean")?,
            p50_seconds: at("median")?.or(at("p50")?),
            p90_seconds: at("p90")?,
            p95_seconds: at("p95")?,
            p99_seconds: at("p99")?,
        })
    };
    // `inf` is all at once: no rate.
    let rate = match root.value.get("request_rate") {
        Some(Value::String(text)) => text.parse::<f64>().ok().filter(|rate| rate.is_finite()),
        _ => root.number("request_rate")?,
    };
    let completed = root.number("completed")?;
    let mean = |total: Option<f64>| total.zip(completed).filter(|(_, n)| *n > 0.0).map(|(t, n)| t / n);
    imported.points.push(ImportedPoint {
        label: root.text("label").or(root.text("date")).unwrap_or_else(|| "serve".to_owned()),
        offered_per_second: rate,
        concurrency: root.number("max_concurrency")?,
        completed,
        failed: root.number("failed")?,
        achieved_per_second: root.number("request_throughput")?,
        output_tokens_per_second: root.number("output_throughput")?,
        prompt_tokens_per_second: None,
        mean_input_tokens: mean(root.number("total_input_tokens")?),
        mean_output_tokens: mean(root.number("total_output_tokens")?),
        ttft: latencies("ttft")?,
        tpot: latencies("tpot")?,
        e2e: latencies("e2el")?,
    });
    Ok(imported)
}

fn inference_perf(root: At<'_>) -> Result<Imported, ImportError> {
    let mut imported = Imported::new(Tool::InferencePerf, root.file);
    let (load, successes) = (root.get("load_summary"), root.get("successes"));
    let latencies = |key: &str| -> Result<Latencies, ImportError> {
        let of = successes.get("latency").get(key);
        Ok(Latencies {
            mean_seconds: of.number("mean")?,
            p50_seconds: of.number("median")?.or(of.number("p50")?),
            p90_seconds: of.number("p90")?,
            p95_seconds: of.number("p95")?,
            p99_seconds: of.number("p99")?,
        })
    };
    let throughput = successes.get("throughput");
    imported.points.push(ImportedPoint {
        label: "stage".to_owned(),
        offered_per_second: load.number("requested_rate")?,
        concurrency: load.number("concurrency")?,
        completed: successes.number("count")?,
        failed: root.get("failures").number("count")?,
        achieved_per_second: throughput.number("requests_per_sec")?,
        output_tokens_per_second: throughput.number("output_tokens_per_sec")?,
        prompt_tokens_per_second: None,
        mean_input_tokens: successes.get("prompt_len").number("mean")?,
        mean_output_tokens: successes.get("output_len").number("mean")?,
        ttft: latencies("time_to_first_token")?,
        tpot: latencies("inter_token_latency")?,
        e2e: latencies("request_latency")?,
    });
    Ok(imported)
}

fn llama_bench(root: At<'_>) -> Result<Imported, ImportError> {
    let mut imported = Imported::new(Tool::LlamaBench, root.file);
    for row in root.items() {
        imported.model = imported.model.or_else(|| row.text("model_type"));
        imported.tool_version = imported.tool_version.or_else(|| row.text("build_commit"));
        let (prompt, answer) = (row.number("n_prompt")?.unwrap_or(0.0), row.number("n_gen")?.unwrap_or(0.0));
        let speed = row.number("avg_ts")?;
        let label = match (prompt > 0.0, answer > 0.0) {
            (true, true) => format!("pp{prompt}+tg{answer}"),
            (true, false) => format!("pp{prompt}"),
            _ => format!("tg{answer}"),
        };
        imported.points.push(ImportedPoint {
            label,
            // A mixed test's speed is of neither alone.
            prompt_tokens_per_second: speed.filter(|_| prompt > 0.0 && answer <= 0.0),
            output_tokens_per_second: speed.filter(|_| answer > 0.0 && prompt <= 0.0),
            mean_input_tokens: Some(prompt).filter(|n| *n > 0.0),
            mean_output_tokens: Some(answer).filter(|n| *n > 0.0),
            ..ImportedPoint::default()
        });
    }
    Ok(imported)
}
