//! Reads a usage file and prints its totals and the time it took: the reader alone, without the program around it.
//!
//!     cargo run --release -p breakeven-usage --example analyse -- /tmp/usage.csv

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for developers")]

use std::{path::Path, time::Instant};

use breakeven_usage::{ReadOptions, read};

fn main() {
    let Some(path) = std::env::args().nth(1) else { return eprintln!("usage: analyse FILE") };
    let begun = Instant::now();
    match read(Path::new(&path), &ReadOptions::default()) {
        Ok(usage) => {
            let (took, total) = (begun.elapsed().as_secs_f64(), usage.total);
            println!(
                "{} rows in {took:.2} s: {} refused, {} days",
                usage.source.read,
                usage.source.refused,
                usage.days.len()
            );
            println!("{} retries, {} fallbacks, {} failed", total.retries, total.fallbacks, total.failed);
            println!(
                "{} + {} tokens, {:?} USD",
                total.input_tokens,
                total.output_tokens,
                total.usd().map(|usd| usd.0)
            );
        }
        Err(error) => eprintln!("error: {error}"),
    }
}
