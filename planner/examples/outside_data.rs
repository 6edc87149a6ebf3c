//! The step model on data of others: `outside_data SPLITWISE.csv MLENERGY.csv INFERENCEX.csv`.
//!
//! Each configuration's points are fitted without one of them, which is then predicted; errors are of the points left out. What is
//! fitted is the step time at a batch: of Splitwise and ML.ENERGY the time between tokens, of `InferenceX` TPOT, with the prompt tokens that
//! a closed loop works on in each step (concurrency · input / output). Prints a markdown table.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "an example that prints a table from files its caller names"
)]

use std::collections::BTreeMap;

use breakeven_planner::step_fit::{FitLimits, StepRow, fit_steps};

/// Rows of one configuration: the batch that is left out together, and its row.
type Configuration = Vec<(u64, StepRow)>;

struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(path).expect("the file");
        let mut lines = text.lines().map(|l| l.split(',').map(str::to_owned).collect::<Vec<_>>());
        let columns = lines.next().expect("a header");
        // A quoted comma would shift the cells: such lines are left out, and counted by the caller's totals.
        let rows = lines.filter(|r| r.len() == columns.len()).collect();
        Self { columns, rows }
    }

    fn text<'a>(&self, row: &'a [String], name: &str) -> &'a str {
        let at = self.columns.iter().position(|c| c == name).expect("a column");
        row.get(at).map_or("", String::as_str)
    }

    fn number(&self, row: &[String], name: &str) -> Option<f64> {
        self.text(row, name).parse().ok()
    }
}

/// Errors of the batches left out, one after another; and configurations whose fit was refused.
fn left_out(configurations: &BTreeMap<String, Configuration>, least: usize) -> (Vec<f64>, usize, usize) {
    let limits = FitLimits { rows: 3, r_squared: 0.5, median_error: 0.5 };
    let (mut errors, mut refused, mut used) = (Vec::new(), 0, 0);
    for rows in configurations.values() {
        let mut batches: Vec<u64> = rows.iter().map(|r| r.0).collect();
        batches.sort_unstable();
        batches.dedup();
        if batches.len() < least {
            continue;
        }
        used += 1;
        // Interior batches: a model may not be asked beyond what it saw here.
        for out in batches.iter().skip(1).take(batches.len() - 2) {
            let rest: Vec<StepRow> = rows.iter().filter(|r| r.0 != *out).map(|r| r.1).collect();
            let Ok(fit) = fit_steps(&rest, &limits) else {
                refused += 1;
                continue;
            };
            for (_, row) in rows.iter().filter(|r| r.0 == *out) {
                let [a, b, c, d] = fit.model.coefficients();
                let predicted = a * row.steps
                    + b * row.prefill_tokens
                    + c * row.decoding_sequences
                    + d * row.context_tokens;
                errors.push((predicted / row.seconds - 1.0).abs());
            }
        }
    }
    (errors, refused, used)
}

fn report(name: &str, configurations: &BTreeMap<String, Configuration>, least: usize) {
    let (mut errors, refused, used) = left_out(configurations, least);
    errors.sort_by(f64::total_cmp);
    let n = errors.len();
    let at =
        |share: usize| errors.get((n * share / 100).min(n.saturating_sub(1))).copied().unwrap_or(f64::NAN);
    println!(
        "| {name} | {used} | {n} | {:.1} % | {:.1} % | {:.1} % | {refused} |",
        errors.iter().sum::<f64>() / n.max(1) as f64 * 100.0,
        at(50) * 100.0,
        at(90) * 100.0
    );
}

fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a batch: small, from 1")]
    let whole = value.round() as u64;
    whole
}

fn main() {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [splitwise, mlenergy, inferencex] = files.as_slice() else {
        println!("expected three files: Splitwise, ML.ENERGY, InferenceX");
        return;
    };
    println!("| data | configurations | points left out | mean error | median | p90 | fits refused |");
    println!("|---|---|---|---|---|---|---|");
    let mut decode: BTreeMap<String, Configuration> = BTreeMap::new();
    let mut prefill: BTreeMap<String, Configuration> = BTreeMap::new();
    let table = Table::read(splitwise);
    for row in &table.rows {
        let key = ["model", "hardware", "tensor_parallel"].map(|c| table.text(row, c)).join("/");
        let of = |name: &str| table.number(row, name);
        let (Some(prompt), Some(batch), Some(answer), Some(first), Some(token)) =
            (of("prompt_size"), of("batch_size"), of("token_size"), of("prompt_time"), of("token_time"))
        else {
            continue;
        };
        let base = StepRow {
            steps: 1.0,
            prefill_tokens: 0.0,
            decoding_sequences: 0.0,
            context_tokens: 0.0,
            seconds: first / 1e3,
        };
        prefill.entry(key.clone()).or_default().push((
            whole(prompt * batch),
            StepRow { prefill_tokens: prompt * batch, context_tokens: prompt * batch, ..base },
        ));
        decode.entry(key).or_default().push((
            whole(batch),
            StepRow {
                decoding_sequences: batch,
                context_tokens: batch * (prompt + answer / 2.0),
                seconds: token / 1e3,
                ..base
            },
        ));
    }
    report("Splitwise, time of a prompt step", &prefill, 4);
    report("Splitwise, time of a token step", &decode, 4);
    let mut steps: BTreeMap<String, Configuration> = BTreeMap::new();
    let table = Table::read(mlenergy);
    for row in &table.rows {
        let names = [
            "task",
            "model_id",
            "gpu_model",
            "num_gpus",
            "weight_precision",
            "tensor_parallel",
            "expert_parallel",
            "data_parallel",
        ];
        let key = names.map(|c| table.text(row, c)).join("/");
        let of = |name: &str| table.number(row, name);
        let (Some(batch), Some(itl), Some(answer)) =
            (of("avg_batch_size"), of("median_itl_ms"), of("avg_output_len"))
        else {
            continue;
        };
        if batch > 0.0 && itl > 0.0 {
            steps.entry(key).or_default().push((
                whole(batch),
                StepRow {
                    steps: 1.0,
                    prefill_tokens: 0.0,
                    decoding_sequences: batch,
                    context_tokens: batch * answer / 2.0,
                    seconds: itl / 1e3,
                },
            ));
        }
    }
    report("ML.ENERGY, median time between tokens", &steps, 4);
    let mut steps: BTreeMap<String, Configuration> = BTreeMap::new();
    let table = Table::read(inferencex);
    for row in &table.rows {
        let names = [
            "backend",
            "backend_version",
            "model_path",
            "system",
            "precision",
            "isl",
            "osl",
            "tp_size",
            "moe_ep_size",
            "attention_dp_size",
        ];
        let of = |name: &str| table.number(row, name);
        if table.text(row, "mode") != "agg" {
            continue;
        }
        let (Some(batch), Some(tpot), Some(input), Some(output)) =
            (of("batch_size"), of("silicon_tpot_ms"), of("isl"), of("osl"))
        else {
            continue;
        };
        let key = names.map(|c| table.text(row, c)).join("/");
        steps.entry(key).or_default().push((
            whole(batch),
            StepRow {
                steps: 1.0,
                prefill_tokens: batch * input / output,
                decoding_sequences: batch,
                context_tokens: batch * (input + output / 2.0),
                seconds: tpot / 1e3,
            },
        ));
    }
    report("InferenceX, TPOT of aggregated serving", &steps, 4);
}
