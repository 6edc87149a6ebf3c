//! The load client against a stub server of scripted timing that keeps its own log: timing truth, a stall, and cost.
//!
//!     cargo run --release -p breakeven-bench --example loadclient -- truth 8
//!     cargo run --release -p breakeven-bench --example loadclient -- truth 1000
//!     cargo run --release -p breakeven-bench --example loadclient -- stall
//!     cargo run --release -p breakeven-bench --example loadclient -- stub 0 0 16        (prints its address, serves)
//!     cargo run --release -p breakeven-bench --example loadclient -- cost URL 64 10000
//!
//! `scripts/client-cost` runs the last two, and `oha` beside them. Client and stub share the machine: in `truth` and `stall` the
//! stub is a thread of this process, so that both read one clock; in `cost` it is a process of its own.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers: a panic is the report")]

use std::{env, fs, time::Duration};

use breakeven_bench::{
    self_check::{Clocks, drive_for, http_target, quantile, schedule, serve_beside},
    tally::latencies,
    target::null::{NullServer, Script},
};
use tokio::{runtime::Runtime, time::Instant};

const MS: Duration = Duration::from_millis(1);

fn main() {
    let process_start = Instant::now();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match words.as_slice() {
        ["truth", streams] => truth(&runtime, streams.parse().unwrap()),
        ["stall"] => {
            stall(&runtime, None);
            stall(&runtime, Some(16));
        }
        ["stub", ttft_ms, itl_ms, tokens] => stub(ttft_ms, itl_ms, tokens),
        ["cost", url, concurrency, requests] => {
            cost(&runtime, process_start, url, concurrency.parse().unwrap(), requests.parse().unwrap());
        }
        _ => println!(
            "usage: truth STREAMS | stall | stub TTFT_MS ITL_MS TOKENS | cost URL CONCURRENCY REQUESTS"
        ),
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

/// `streams` concurrent streams, TTFT 50 ms and ITL 50 ms (10 ms below 100 streams), 64 tokens; open loop for 20 s.
fn truth(runtime: &Runtime, streams: u32) {
    let itl = if streams < 100 { MS * 10 } else { MS * 50 };
    let script = Script { ttft: MS * 50, itl, tokens: 64, stall: None };
    let life = script.ttft + itl * 63;
    let gap = life / streams;
    let count = u32::try_from(Duration::from_secs(20).as_nanos() / gap.as_nanos()).unwrap();
    let server = serve_beside(script).unwrap();
    let target = http_target(&server.base).unwrap();
    let driven = runtime.block_on(drive_for(&target, schedule(count, gap, 64), None, None));
    let failed = driven.attempts.iter().filter(|a| a.failure.is_some()).count();
    let log = server.log.take();
    let clocks = Clocks::of(&driven, &log);
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let lag =
        sorted(driven.attempts.iter().map(|a| a.sent.saturating_sub(a.scheduled).as_secs_f64()).collect());
    let ours = sorted(
        driven
            .attempts
            .iter()
            .map(|a| a.first_token.unwrap_or_default().saturating_sub(a.sent).as_secs_f64())
            .collect(),
    );
    let theirs = sorted(log.iter().map(|t| t.first.duration_since(t.received).as_secs_f64()).collect());
    let sent_last = driven.attempts.iter().map(|a| a.sent).max().unwrap_or_default().as_secs_f64();
    let offered = f64::from(count - 1) / (gap * (count - 1)).as_secs_f64();
    println!(
        "{streams} streams, {count} requests at {offered:.2}/s, {failed} failed, {} in the stub's log",
        log.len()
    );
    println!("  offered/achieved {:.5}", offered / (f64::from(count - 1) / sent_last));
    println!(
        "  send lag         p50 {} p99 {} max {}",
        milliseconds(quantile(&lag, 0.5)),
        milliseconds(quantile(&lag, 0.99)),
        milliseconds(quantile(&lag, 1.0))
    );
    println!(
        "  TTFT p99         ours {} stub's log {}",
        milliseconds(quantile(&ours, 0.99)),
        milliseconds(quantile(&theirs, 0.99))
    );
    println!(
        "  TTFT stamp error p50 {} p99 {} max {}",
        milliseconds(quantile(&clocks.ttft, 0.5)),
        milliseconds(quantile(&clocks.ttft, 0.99)),
        milliseconds(quantile(&clocks.ttft, 1.0))
    );
    println!(
        "  TPOT error       p50 {} p99 {} max {}",
        milliseconds(quantile(&clocks.tpot, 0.5)),
        milliseconds(quantile(&clocks.tpot, 0.99)),
        milliseconds(quantile(&clocks.tpot, 1.0))
    );
}

/// 50 requests a second for 20 s; the server stalls from 9 s to 11 s. Every figure against the stub's log and the schedule.
fn stall(runtime: &Runtime, cap: Option<u32>) {
    let script = Script { ttft: MS * 50, itl: MS * 5, tokens: 10, stall: Some((MS * 9_000, MS * 11_000)) };
    let server = serve_beside(script).unwrap();
    let target = http_target(&server.base).unwrap();
    let driven = runtime.block_on(drive_for(&target, schedule(1_000, MS * 20, 10), cap, None));
    let log = server.log.take();
    let mut ours: Vec<f64> =
        driven.attempts.iter().filter_map(latencies).map(|l| l.e2e.as_secs_f64()).collect();
    // The truth: when the stub sent the last token, against when the schedule said that the request was due.
    let due = |id: u64| MS * 20 * u32::try_from(id).unwrap();
    let mut truth: Vec<f64> = log
        .iter()
        .map(|t| t.last.duration_since(driven.start).saturating_sub(due(t.id)).as_secs_f64())
        .collect();
    ours.sort_by(f64::total_cmp);
    truth.sort_by(f64::total_cmp);
    println!(
        "stall, {} in flight at most: {} of 1000 arrivals, {} unsent",
        cap.map_or("any".to_owned(), |c| c.to_string()),
        ours.len(),
        driven.unsent
    );
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let row = |name: &str, ours: f64, truth: f64| {
        println!(
            "  E2E {name:<6} ours {:>9.2} ms  schedule {:>9.2} ms  off {:+.2} %",
            ours * 1e3,
            truth * 1e3,
            (ours / truth - 1.0) * 100.0
        );
    };
    row("mean", mean(&ours), mean(&truth));
    for (q, name) in [(0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")] {
        row(name, quantile(&ours, q), quantile(&truth, q));
    }
}

fn stub(ttft_ms: &str, itl_ms: &str, tokens: &str) {
    let script = Script {
        ttft: MS * ttft_ms.parse::<u32>().unwrap(),
        itl: MS * itl_ms.parse::<u32>().unwrap(),
        tokens: tokens.parse().unwrap(),
        stall: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = NullServer::bind(script).await.unwrap();
        println!("{}", server.base());
        server.serve().await;
    });
}

/// Requests as fast as they come back, `concurrency` at a time.
fn cost(runtime: &Runtime, process_start: Instant, url: &str, concurrency: u32, requests: u32) {
    let target = http_target(url).unwrap();
    let before = cpu_seconds();
    let driven =
        runtime.block_on(drive_for(&target, schedule(requests, Duration::ZERO, 16), Some(concurrency), None));
    let cpu = cpu_seconds() - before;
    let done = driven.attempts.iter().map(|a| a.done).max().unwrap_or_default().as_secs_f64();
    let first = driven.attempts.iter().map(|a| a.sent).min().unwrap_or_default();
    let failed = driven.attempts.iter().filter(|a| a.failure.is_some()).count();
    let startup = driven.start.duration_since(process_start) + first;
    let per_10_000 = 1e4 / f64::from(requests);
    println!(
        "breakeven c={concurrency}: {:.0} req/s, {:.0} events/s, {:.2} CPU s per 10,000, peak {:.0} MB, first request after {:.3} s, {failed} failed of {}",
        f64::from(requests) / done,
        f64::from(requests) * 16.0 / done,
        cpu * per_10_000,
        peak_megabytes(),
        startup.as_secs_f64(),
        driven.attempts.len()
    );
}

fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields.iter().skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

fn peak_megabytes() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1e3
}
