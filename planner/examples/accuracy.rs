//! Prediction against measurement: `accuracy FITTED.json OTHER.json… [--max-sequences N --token-budget N]`.
//!
//! The step model of the first measurement, fitted on its baseline and expected levels (and a server's calibration before them), predicts every level of all the
//! measurements, and the capacity under the SLO that the first one searched for. Prints a markdown table. Nothing is fitted to
//! anything else.
//!
//! Where a measurement's journal lies beside it, the very requests of a level (when each was due, how long its prompt and answer
//! were) go through the simulator: load is what a prediction is given, and another draw of it would count as its error. Without a
//! journal the level is drawn anew, twelve times.
//!
//! The last column is a control of the machine, not of the prediction: how long decode steps took, measured over fitted, of the requests
//! that had the target to themselves. A shared machine that runs 10 % slower in one level than while the model was fitted shows 1.10.

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

use breakeven_measurement::{LatencySeries, Measurement, Quantile, file, step_model::StepModel};
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
    done_ns: u64,
    input_tokens: u64,
    #[serde(default)]
    cached_tokens: u64,
    output_tokens: u64,
    chunk_gaps_ns: Vec<u64>,
}

impl Sent {
    fn computed(&self) -> u64 {
        self.input_tokens.saturating_sub(self.cached_tokens)
    }
}

/// What a level sent, as it was due; `None` without a journal beside the measurement.
fn sent(measurement: &Path, level: &str) -> Option<Vec<Sent>> {
    let file = std::fs::File::open(measurement.with_extension("attempts.jsonl")).ok()?;
    let lines = BufReader::new(file).lines().map(|line| line.expect("a line of the journal"));
    let mut sent: Vec<Sent> = lines
        .filter_map(|line| serde_json::from_str::<Line>(&line).ok()?.attempt)
        .filter(|attempt| attempt.phase == level)
        .map(|attempt| attempt.record)
        .collect();
    sent.sort_by_key(|request| request.scheduled_ns);
    (!sent.is_empty()).then_some(sent)
}

fn requests(sent: &[Sent]) -> Vec<Request> {
    let request = |sent: &Sent| Request {
        at_seconds: Duration::from_nanos(sent.scheduled_ns).as_secs_f64(),
        // What came from the server's prefix cache was not worked on, nor is it in the rows of the fit.
        prompt_tokens: u32::try_from(sent.computed()).expect("a prompt's length"),
        output_tokens: u32::try_from(sent.output_tokens).expect("an answer's length"),
        prefix: None,
    };
    sent.iter().map(request).collect()
}

/// How many requests had the target to themselves, and their decode time over what the model says of it.
fn alone(sent: &[Sent], model: &StepModel) -> Option<(usize, f64)> {
    let (mut count, mut measured, mut fitted) = (0, 0.0, 0.0);
    for (index, one) in sent.iter().enumerate() {
        let apart = |(at, other): (usize, &Sent)| {
            at == index || other.scheduled_ns > one.done_ns || other.done_ns < one.scheduled_ns
        };
        // A chunk of several tokens is not a step.
        if one.chunk_gaps_ns.len() as u64 + 1 != one.output_tokens || !sent.iter().enumerate().all(apart) {
            continue;
        }
        count += 1;
        measured += one.chunk_gaps_ns.iter().map(|gap| Duration::from_nanos(*gap).as_secs_f64()).sum::<f64>();
        fitted += (1..one.output_tokens)
            .map(|made| model.seconds(0.0, 1.0, (one.computed() + made) as f64))
            .sum::<f64>();
    }
    (fitted > 0.0).then(|| (count, measured / fitted))
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
        "| load | fit saw it | offered req/s | requests | TTFT p50 ms, measured / simulated | TTFT p95 ms | TPOT p50 ms | within SLO | lone decode steps |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (index, (measurement, path)) in files.iter().enumerate() {
        for level in &measurement.levels {
            let Some(offered) = level.rates.map(|r| r.offered_per_second) else { continue };
            let seen = index == 0 && steps.levels.contains(&level.name);
            let (workload, slo) = (&measurement.workload, &measurement.slo);
            let sent = sent(Path::new(path), &level.name.to_string());
            let control = sent.as_deref().and_then(|sent| alone(sent, &replica.fit.model));
            let (ttft, tpot, goodput) = if let Some(sent) = &sent {
                let outcome = replayed(&replica, measurement, level.warmup, requests(sent));
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
                "| {} {} | {} | {offered:.2} | {} | {} | {} | {} | {} / {} | {} |",
                index + 1,
                level.name,
                if seen { "yes" } else { "no" },
                load.scheduled,
                of(&load.ttft, &ttft, 0.5),
                of(&load.ttft, &ttft, 0.95),
                of(&load.tpot, &tpot, 0.5),
                load.goodput().map_or_else(|| "–".to_owned(), |g| g.to_string()),
                goodput.map_or_else(|| "–".to_owned(), |g| g.to_string()),
                control.map_or_else(|| "–".to_owned(), |(count, ratio)| format!("{ratio:.2} ({count})")),
            );
        }
    }
}
