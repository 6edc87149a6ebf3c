//! A plain CSV: a header of our column names, a row a load. Columns left out, and empty cells, are absent.

use super::{ImportError, Imported, ImportedPoint, Latencies, Tool};

/// Reads a CSV. Quoted cells are not needed by numbers and names, and are refused.
pub(super) fn read(file: &str, text: &str) -> Result<Imported, ImportError> {
    let fault = |line: usize, message: String| ImportError::Syntax { file: file.to_owned(), line, message };
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let (_, header) = lines.next().ok_or_else(|| ImportError::Empty { file: file.to_owned() })?;
    let columns: Vec<&str> = header.split(',').map(str::trim).collect();
    if let Some(unknown) = columns.iter().find(|c| !is_known(c)) {
        let known = COLUMNS.join(", ");
        return Err(fault(
            1,
            format!(
                "column `{unknown}` is not one of: {known}, and {{ttft,tpot,e2e}}_{{mean,p50,p90,p95,p99}}_seconds"
            ),
        ));
    }
    let mut imported = Imported::new(Tool::Csv, file);
    for (index, line) in lines {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if line.contains('"') || cells.len() != columns.len() {
            let message = format!("expected {} plain cells, found {}", columns.len(), cells.len());
            return Err(fault(index + 1, message));
        }
        let cell = |name: &str| {
            columns.iter().zip(&cells).find(|(c, v)| **c == name && !v.is_empty()).map(|(_, v)| *v)
        };
        let number = |name: &str| -> Result<Option<f64>, ImportError> {
            let Some(text) = cell(name) else { return Ok(None) };
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() && value >= 0.0 => Ok(Some(value)),
                _ => Err(fault(
                    index + 1,
                    format!("expected `{name}` to be a number, 0 or more, found `{text}`"),
                )),
            }
        };
        let latencies = |metric: &str| -> Result<Latencies, ImportError> {
            let at = |statistic: &str| number(&format!("{metric}_{statistic}_seconds"));
            Ok(Latencies {
                mean_seconds: at("mean")?,
                p50_seconds: at("p50")?,
                p90_seconds: at("p90")?,
                p95_seconds: at("p95")?,
                p99_seconds: at("p99")?,
            })
        };
        imported.model = imported.model.or_else(|| cell("model").map(str::to_owned));
        imported.points.push(ImportedPoint {
            label: cell("label").map_or_else(|| format!("row {index}"), str::to_owned),
            offered_per_second: number("offered_per_second")?,
            concurrency: number("concurrency")?,
            completed: number("completed")?,
            failed: number("failed")?,
            achieved_per_second: number("achieved_per_second")?,
            output_tokens_per_second: number("output_tokens_per_second")?,
            prompt_tokens_per_second: number("prompt_tokens_per_second")?,
            mean_input_tokens: number("mean_input_tokens")?,
            mean_output_tokens: number("mean_output_tokens")?,
            ttft: latencies("ttft")?,
            tpot: latencies("tpot")?,
            e2e: latencies("e2e")?,
        });
    }
    Ok(imported)
}

const COLUMNS: [&str; 11] = [
    "label",
    "model",
    "offered_per_second",
    "concurrency",
    "completed",
    "failed",
    "achieved_per_second",
    "output_tokens_per_second",
    "prompt_tokens_per_second",
    "mean_input_tokens",
    "mean_output_tokens",
];

fn is_known(column: &str) -> bool {
    let latency = |metric: &str| {
        column
            .strip_prefix(metric)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(|rest| rest.strip_suffix("_seconds"))
            .is_some_and(|s| ["mean", "p50", "p90", "p95", "p99"].contains(&s))
    };
    COLUMNS.contains(&column) || ["ttft", "tpot", "e2e"].into_iter().any(latency)
}
