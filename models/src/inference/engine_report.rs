//! What `bench engine` found: medians of repeated points, and each beside the floor that the machine sets.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::throughput::{Point, Throughput, ThroughputBench, ThroughputError, Work};

/// Version of the file; readers refuse others.
pub const FORMAT: &str = "breakeven-engine-bench/1";

/// What the machine can do at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Roof {
    /// Bytes a second read from memory, all threads together.
    pub memory_bytes_per_second: f64,
    /// int8 operations a second of the instructions the kernels use; `None` where they use none.
    pub int8_operations_per_second: Option<f64>,
}

/// Which limit a phase would meet first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Reading weights and cache.
    Memory,
    /// int8 arithmetic.
    Int8,
}

/// Speed of one phase of one point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Tokens a second over all sequences: the median of the repeats.
    pub tokens_per_second: f64,
    /// The slowest repeat.
    pub lowest: f64,
    /// The fastest repeat.
    pub highest: f64,
    /// The least time the roof allows over the time it took.
    pub roofline_share: f64,
    /// The limit that sets that least time.
    pub bound: Bound,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub point: Point,
    /// How often.
    pub runs: usize,
    /// Until all prompts were in: llama-bench's `pp`, llama-batched-bench's `S_PP`.
    pub prefill: Speed,
    /// All sequences decoding together: `tg`, `S_TG`.
    pub decode: Speed,
}

impl Roof {
    /// The least seconds some work can take, and the limit that says so.
    pub fn floor(&self, work: Work) -> (f64, Bound) {
        let memory = work.bytes as f64 / self.memory_bytes_per_second;
        let compute = self.int8_operations_per_second.map_or(0.0, |peak| work.int8_operations as f64 / peak);
        if compute > memory { (compute, Bound::Int8) } else { (memory, Bound::Memory) }
    }
}

/// Median, extremes and roofline share of seconds for some tokens.
fn speed(tokens: usize, mut seconds: Vec<f64>, (floor, bound): (f64, Bound)) -> Option<Speed> {
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| tokens as f64 / seconds;
    let (fastest, slowest) = (seconds.first().copied()?, seconds.last().copied()?);
    let median = seconds.get(seconds.len() / 2).copied()?;
    Some(Speed {
        tokens_per_second: rate(median),
        lowest: rate(slowest),
        highest: rate(fastest),
        roofline_share: floor / median,
        bound,
    })
}

/// A point that has taken so long is not run again.
const ENOUGH: Duration = Duration::from_secs(15);

/// Runs a point some times, at least once; long points fewer times, as the row says.
pub fn measure(
    bench: &mut ThroughputBench,
    point: Point,
    repeats: usize,
    roof: &Roof,
) -> Result<Option<Row>, ThroughputError> {
    let begun = Instant::now();
    let mut runs: Vec<Throughput> = vec![bench.run(point)?];
    while runs.len() < repeats && begun.elapsed() < ENOUGH {
        runs.push(bench.run(point)?);
    }
    let (prefill, decode) = bench.work(point);
    let prefill = speed(
        point.batch * point.prompt_tokens,
        runs.iter().map(|run| run.prefill_seconds).collect(),
        roof.floor(prefill),
    );
    let decode = speed(
        point.batch * point.decode_tokens,
        runs.iter().map(|run| run.decode_seconds).collect(),
        roof.floor(decode),
    );
    Ok(prefill.zip(decode).map(|(prefill, decode)| Row { point, runs: runs.len(), prefill, decode }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_slower_limit() {
        let roof = Roof { memory_bytes_per_second: 10.0, int8_operations_per_second: Some(100.0) };
        let floor = |bytes, int8_operations| roof.floor(Work { bytes, int8_operations });
        assert_eq!(floor(20, 100), (2.0, Bound::Memory));
        assert_eq!(floor(20, 300), (3.0, Bound::Int8));
        let portable = Roof { int8_operations_per_second: None, ..roof };
        assert_eq!(portable.floor(Work { bytes: 20, int8_operations: 300 }), (2.0, Bound::Memory));
    }

    #[test]
    fn a_speed_is_the_median_with_its_extremes() {
        let speed = speed(12, vec![4.0, 2.0, 3.0], (1.5, Bound::Memory)).unwrap();
        let ours = [speed.tokens_per_second, speed.lowest, speed.highest, speed.roofline_share];
        assert_eq!(ours.map(f64::to_bits), [4.0, 3.0, 6.0, 0.5].map(f64::to_bits));
    }
}
