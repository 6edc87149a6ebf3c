//! Prediction against measurement: `accuracy FITTED.json OTHER.json… [--max-sequences N --token-budget N]`.
//!
//! The step model of the first measurement, fitted on its baseline and expected levels alone, predicts every level of all the
//! measurements, and the capacity under the SLO that the first one searched for. Prints a markdown table. Nothing is fitted to
//! anything else.
//!
//! Where a measurement's journal lies beside it, the very requests of a level (when each was due, how long its prompt and answer
//! were) go through the simulator: load is what a prediction is given, and another draw of it would count as its error. Without a
//! journal the level is drawn anew, twelve times.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "an example that prints a table from files its caller names"
)]

use std::{
    io::{BufRead as _, BufReader},
    num::NonZeroU32,
    path::Path,
    time::Duration,
};

use breakeven_measurement::{LatencySeries, Measurement, Quantile, file};
use breakeven_planner::{
    fleet::{
        check::{capacity, simulate_level},
        replica::SimulatedReplica,
    },
    product::capacity_tables::ReplicaTable,
    simulator::{Gaps, Outcome, Request, Scenario, simulate},
};
use serde::Deserialize;

/// The lines of a journal that this example looks at.
#[derive(Deserialize)]
struct Line {
    attempt: Option<Attempted>,
}

#[derive(Deserialize)]
struct Attempted {
    phase: String,
    record: Sent,
}

#[derive(Deserialize)]
struct Sent {
    scheduled_ns: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// The requests of a level as they were due; `None` without a journal beside the measurement.
fn requests(measurement: &Path, level: &str) -> Option<Vec<Request>> {
    let file = std::fs::File::open(measurement.with_extension("attempts.jsonl")).ok()?;
    let lines = BufReader::new(file).lines().map(|line| line.expect("a line of the journal"));
    let mut sent: Vec<Request> = lines
        .filter_map(|line| serde_json::from_str::<Line>(&line).ok()?.attempt)
        .filter(|attempt| attempt.phase == level)
        .map(|Attempted { record, .. }| Request {
            at_seconds: Duration::from_nanos(record.scheduled_ns).as_secs_f64(),
            prompt_tokens: u32::try_from(record.input_tokens).expect("a prompt's length"),
            output_tokens: u32::try_from(record.output_tokens).expect("an answer's length"),
            prefix: None,
        })
        .collect();
    sent.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
    (!sent.is_empty()).then_some(sent)
}

/// What the simulator makes of the very requests of a level.
fn replayed(
    replica: &SimulatedReplica,
    measurement: &Measurement,
    warmup: Duration,
    sent: Vec<Request>,
) -> Outcome {
    let fleet = replica.fleet(1, &measurement.slo);
    simulate(&Scenario { warmup_seconds: warmup.as_secs_f64(), ..fleet }, sent).expect("settings")
}

fn ms(series: &LatencySeries, q: f64) -> Option<f64> {
    series.quantile(q).and_then(Quantile::finite).map(|d| d.as_secs_f64() * 1e3)
}

fn pair(measured: Option<f64>, simulated: Option<f64>) -> (String, Option<f64>) {
    let error = measured.zip(simulated).map(|(m, s)| s / m - 1.0);
    let text = match (measured, simulated, error) {
        (Some(m), Some(s), Some(e)) => format!("{m:.1} / {s:.1} ({:+.1} %)", e * 100.0),
        _ => "–".to_owned(),
    };
    (text, error)
}

fn main() {
    let mut table = ReplicaTable::default();
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse::<NonZeroU32>().ok());
        match argument.as_str() {
            "--max-sequences" => table.max_sequences = number(),
            "--token-budget" => table.token_budget = number(),
            _ => files.push((file::read(Path::new(&argument)).expect("a measurement"), argument)),
        }
    }
    let fitted: &Measurement = &files.first().expect("a measurement to fit on").0;
    let replica = SimulatedReplica::of(fitted, &table).expect("a step model");
    let steps = fitted.steps.as_ref().expect("it has a step model");
    let c = replica.fit.model.coefficients();
    println!(
        "Step model: {:.2} ms + {:.4} ms a prefill token + {:.3} ms a decoding sequence + {:.6} ms a context token; {} rows, R² {:.3}, median error {:.1} %.\n",
        c[0] * 1e3,
        c[1] * 1e3,
        c[2] * 1e3,
        c[3] * 1e3,
        steps.rows,
        replica.fit.r_squared,
        replica.fit.median_error * 100.0
    );
    let found = capacity(&replica, &fitted.workload, &fitted.slo).expect("settings").map(|c| c.0);
    let measured = fitted.search.as_ref().and_then(|s| s.capacity.as_ref());
    if let (Some(found), Some(measured)) = (found, measured) {
        let end = |r: Option<breakeven_measurement::RequestRate>| {
            r.map_or_else(|| "?".to_owned(), |r| format!("{:.2}", r.per_second()))
        };
        println!(
            "Capacity under the SLO: measured {:.2} req/s (95 % interval {} to {}), simulated {found:.2} ({:+.1} %).\n",
            measured.rate.per_second(),
            end(measured.low),
            end(measured.high),
            (found / measured.rate.per_second() - 1.0) * 100.0
        );
    }
    println!(
        "| load | fit saw it | offered req/s | requests | TTFT p50 ms, measured / simulated | TTFT p95 ms | TPOT p50 ms | within SLO |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (index, (measurement, path)) in files.iter().enumerate() {
        for level in &measurement.levels {
            let Some(offered) = level.rates.map(|r| r.offered_per_second) else { continue };
            let seen = index == 0 && steps.levels.contains(&level.name);
            let (workload, slo) = (&measurement.workload, &measurement.slo);
            let (ttft, tpot, goodput) = if let Some(sent) = requests(Path::new(path), &level.name.to_string())
            {
                let outcome = replayed(&replica, measurement, level.warmup, sent);
                let goodput = outcome.goodput();
                (outcome.ttft, outcome.tpot, goodput)
            } else {
                let window = (level.warmup, level.window);
                let pooled = simulate_level(&replica, workload, slo, Gaps::Exponential, offered, window)
                    .expect("settings");
                let goodput = pooled.goodput();
                (pooled.ttft, pooled.tpot, goodput)
            };
            let load = &level.overall;
            let of = |m: &LatencySeries, s: &LatencySeries, q: f64| pair(ms(m, q), ms(s, q)).0;
            println!(
                "| {} {} | {} | {offered:.2} | {} | {} | {} | {} | {} / {} |",
                index + 1,
                level.name,
                if seen { "yes" } else { "no" },
                load.scheduled,
                of(&load.ttft, &ttft, 0.5),
                of(&load.ttft, &ttft, 0.95),
                of(&load.tpot, &tpot, 0.5),
                load.goodput().map_or_else(|| "–".to_owned(), |g| g.to_string()),
                goodput.map_or_else(|| "–".to_owned(), |g| g.to_string()),
            );
        }
    }
}
