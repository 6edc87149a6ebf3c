//! Prefill and decode speed of the real weights on this machine, as a JSON line a point.
//!
//!     cargo run --release -p breakeven-models --features inference --example throughput -- candle 1,8,32

use std::error::Error;
use std::io::{Write, stdout};

use breakeven_models::inference::fetch::{FetchOptions, Silent, resolve};
use breakeven_models::inference::throughput::{Point, ThroughputBench};
use breakeven_models::inference::{Backend, EngineSettings};
use breakeven_models::registry::DEFAULT_MODEL;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let backend = match arguments.next().as_deref() {
        Some("candle") => Backend::Candle,
        None | Some("packed") => Backend::Packed,
        Some(other) => {
            return Err(format!("backend is `{other}`, expected `candle` or `packed`").into());
        }
    };
    let batches = arguments.next().unwrap_or_else(|| "1,2,4,8,16,32".to_owned());
    let batches = batches.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let most = batches.iter().copied().max().unwrap_or(1);
    let settings =
        EngineSettings { backend, max_sequences: most, max_context: 256, ..EngineSettings::default() };
    let resolved = resolve(DEFAULT_MODEL, &FetchOptions::default(), &mut Silent)?;
    let mut bench = ThroughputBench::new(resolved.model, &settings)?;
    let mut out = stdout();
    for batch in batches {
        let decode_tokens = if batch > 4 { 32 } else { 64 };
        let measured = bench.run(Point { batch, prompt_tokens: 128, decode_tokens })?;
        writeln!(out, "{}", serde_json::to_string(&measured)?)?;
    }
    Ok(())
}
