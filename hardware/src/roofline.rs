//! Measures what this processor can do: memory read bandwidth, f32 rate, int8 rate. Printed beside published figures, and the
//! floor that decode and prefill are compared with.
//!
//! The loops are safe Rust, dispatched at run time by `pulp` to the widest extension it knows without options (256 bits with
//! fused multiply-add on x86, NEON on Arm). A machine with 512-bit units or int8 dot-product instructions can do more than the
//! compute rates here; the kernels that use those say so in their own benchmarks. Bandwidth does not depend on it.

#![expect(
    clippy::inline_always,
    reason = "pulp compiles for an extension only what is inlined into its dispatch"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// How to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RooflineSettings {
    /// Threads that work at once.
    pub threads: usize,
    /// Memory read in one pass, over all threads; well above the last-level cache, or the cache is measured.
    pub buffer: Bytes,
    /// Time for each of the three measurements.
    pub budget: Duration,
}

impl RooflineSettings {
    /// All cores this process may use, four times a large cache (1 GiB at most), and a quarter of a second each.
    pub fn quick(last_level_cache: Option<Bytes>) -> Self {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let cache = last_level_cache.map_or(64 << 20, |cache| cache.0);
        let buffer = Bytes(cache.saturating_mul(4).clamp(128 << 20, 1 << 30));
        Self { threads, buffer, budget: Duration::from_millis(250) }
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Threads that worked at once.
    pub threads: usize,
    /// Memory read in one pass.
    pub buffer: Bytes,
    /// Vector extension the compute loops ran on.
    pub simd: String,
    /// Bytes a second read from memory.
    pub memory_read_bytes_per_second: Rate,
    /// f32 operations a second (a fused multiply-add is two).
    pub f32_flops_per_second: Rate,
    /// int8 operations a second in dot products added up in 32 bits (a multiply and an add are two).
    pub int8_ops_per_second: Rate,
}

impl Roofline {
    /// The shortest time to read a number of bytes once: the floor under a decode step with these weights and cache.
    pub fn read_floor(&self, bytes: Bytes) -> Option<Duration> {
        Duration::try_from_secs_f64(bytes.0 as f64 / self.memory_read_bytes_per_second.best).ok()
    }

    /// The shortest time, in seconds, to do so many int8 operations (a multiply and an add are two): the floor under a prefill
    /// with kernels of this width. Kernels that use int8 dot-product instructions can run below it.
    pub fn int8_floor(&self, operations: f64) -> f64 {
        operations / self.int8_ops_per_second.best
    }
}

/// A rate over several passes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The fastest pass: what the machine can do when nothing disturbs it.
    pub best: f64,
    /// The middle pass: what it does while others share it.
    pub median: f64,
    /// Passes timed.
    pub passes: usize,
}

/// Why nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RooflineError {
    /// The buffer could not be had.
    #[error("{0} of memory for the bandwidth test could not be had")]
    OutOfMemory(Bytes),
    /// The clock did not move during a pass.
    #[error("passes were too short for the clock to see")]
    NoTime,
}

/// Measures. Takes about three budgets, plus the time to fill the buffer.
///
/// # Errors
/// Where memory cannot be had or the clock stands still.
pub fn measure(settings: &RooflineSettings) -> Result<Roofline, RooflineError> {
    let threads = settings.threads.clamp(1, 1_024);
    let arch = Arch::new();
    let numbers = usize::try_from(settings.buffer.0 / 4).unwrap_or(usize::MAX).max(threads);
    let mut buffer: Vec<f32> = Vec::new();
    buffer.try_reserve_exact(numbers).map_err(|_| RooflineError::OutOfMemory(settings.buffer))?;
    // Filling touches every page; untouched memory is one shared page of zeros.
    buffer.resize(numbers, 1.0);
    let shares: Vec<&[f32]> = buffer.chunks(numbers.div_ceil(threads)).collect();
    let read = passes(settings.budget, threads, |thread| {
        let share = shares.get(thread).copied().unwrap_or_default();
        black_box(arch.dispatch(Sum { numbers: black_box(share) }));
        size_of_val(share) as f64
    })?;
    let multiply =
        passes(settings.budget, threads, |_| arch.dispatch(MultiplyAdd { rounds: black_box(400_000) }))?;
    let dot = passes(settings.budget, threads, |_| DotInt8 { arch, rounds: black_box(4_000) }.run())?;
    Ok(Roofline {
        threads,
        buffer: settings.buffer,
        simd: simd_name(arch).to_owned(),
        memory_read_bytes_per_second: read,
        f32_flops_per_second: multiply,
        int8_ops_per_second: dot,
    })
}

fn simd_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Scalar => "scalar",
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) => "avx2+fma (256 bits)",
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => "neon (128 bits)",
        _ => "the widest pulp knows",
    }
}

/// Runs passes until the budget is spent, all threads starting each together; `work` says how much it did.
fn passes(
    budget: Duration,
    threads: usize,
    work: impl Fn(usize) -> f64 + Sync,
) -> Result<Rate, RooflineError> {
    let mut rates = Vec::new();
    let begun = Instant::now();
    // The first pass warms caches and clocks up and is not counted; three at least make a median.
    pass(threads, &work);
    while rates.len() < 3 || begun.elapsed() < budget {
        let (done, took) = pass(threads, &work);
        if took > Duration::ZERO {
            rates.push(done / took.as_secs_f64());
        } else if begun.elapsed() > budget {
            return Err(RooflineError::NoTime);
        }
    }
    rates.sort_by(f64::total_cmp);
    let (Some(best), Some(median)) = (rates.last(), rates.get(rates.len() / 2)) else {
        return Err(RooflineError::NoTime);
    };
    Ok(Rate { best: *best, median: *median, passes: rates.len() })
}

/// One pass: what all threads did together, and the time from the common start to the last one's end.
fn pass(threads: usize, work: &(impl Fn(usize) -> f64 + Sync)) -> (f64, Duration) {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let begun = Instant::now();
                    (work(thread), begun, Instant::now())
                })
            })
            .collect();
        let done: Vec<_> = workers.into_iter().filter_map(|worker| worker.join().ok()).collect();
        let amount = done.iter().map(|(amount, _, _)| amount).sum();
        let first = done.iter().map(|(_, begun, _)| *begun).min();
        let last = done.iter().map(|(_, _, ended)| *ended).max();
        (amount, first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first))
    })
}

/// Adds up a share of the buffer: every byte is read once.
struct Sum<'a> {
    numbers: &'a [f32],
}

impl WithSimd for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (vectors, rest) = S::as_simd_f32s(self.numbers);
        // Eight sums, so that the additions' latency does not hold the loads up.
        let mut sums = [simd.splat_f32s(0.0); 8];
        let (eights, tail) = vectors.as_chunks::<8>();
        for eight in eights {
            for (sum, vector) in sums.iter_mut().zip(eight) {
                *sum = simd.add_f32s(*sum, *vector);
            }
        }
        let mut total = rest.iter().sum::<f32>();
        for vector in sums.iter().chain(tail) {
            total += simd.reduce_sum_f32s(*vector);
        }
        total
    }
}

/// Fused multiply-adds on registers alone.
struct MultiplyAdd {
    rounds: u32,
}

impl WithSimd for MultiplyAdd {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        // Ten chains: two units of four cycles' latency need eight, and ten with two factors still fit sixteen registers.
        const CHAINS: u32 = 10;
        let (factor, term) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
        let mut chains = [simd.splat_f32s(black_box(1.0)); CHAINS as usize];
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, term);
            }
        }
        let total = chains.iter().fold(simd.splat_f32s(0.0), |sum, chain| simd.add_f32s(sum, *chain));
        black_box(simd.reduce_sum_f32s(total));
        let lanes = (size_of::<S::f32s>() / size_of::<f32>()) as f64;
        f64::from(self.rounds) * f64::from(CHAINS) * lanes * 2.0
    }
}

/// Dot products of bytes that stay in the nearest cache.
struct DotInt8 {
    arch: Arch,
    rounds: u32,
}

/// Bytes in each factor of a dot product.
const DOT_BYTES: usize = 4_096;

impl DotInt8 {
    /// The amount done. 128-bit and scalar machines run what the compiler makes of the plain loop.
    fn run(self) -> f64 {
        match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::V3(simd) => self.arch.dispatch(DotAvx2 { simd, rounds: self.rounds }),
            arch => arch.dispatch(DotPlain { rounds: self.rounds }),
        }
    }
}

/// `maddubs` and `madd`: how int8 kernels multiply on machines without a dot-product instruction.
#[cfg(target_arch = "x86_64")]
struct DotAvx2 {
    simd: pulp::x86::V3,
    rounds: u32,
}

#[cfg(target_arch = "x86_64")]
impl WithSimd for DotAvx2 {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        const VECTORS: usize = DOT_BYTES / 32;
        let simd = self.simd;
        // maddubs takes one factor unsigned; both are small enough that its 16-bit sums never saturate.
        let (left, right) = ([simd.splat_i8x32(3); VECTORS], [simd.splat_i8x32(-5); VECTORS]);
        let ones = simd.splat_i16x16(1);
        let mut sums = [simd.splat_i32x8(0); 4];
        for _ in 0..self.rounds {
            let (left, right) = (black_box(&left), black_box(&right));
            for (left, right) in left.as_chunks::<4>().0.iter().zip(right.as_chunks::<4>().0) {
                for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
                    let pairs = simd.multiply_saturating_add_adjacent_i8x32(*left, *right);
                    *sum = simd
                        .wrapping_add_i32x8(*sum, simd.multiply_wrapping_add_adjacent_i16x16(pairs, ones));
                }
            }
        }
        black_box(sums);
        f64::from(self.rounds) * DOT_BYTES as f64 * 2.0
    }
}

/// The plain loop.
struct DotPlain {
    rounds: u32,
}

impl WithSimd for DotPlain {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let (left, right) = ([3_i8; DOT_BYTES], [-5_i8; DOT_BYTES]);
        let mut total = 0_i32;
        for _ in 0..self.rounds {
            let (left, right) = (black_box(&left), black_box(&right));
            let dot: i32 = left.iter().zip(right).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
            total = total.wrapping_add(dot);
        }
        black_box(total);
        f64::from(self.rounds) * DOT_BYTES as f64 * 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_counts_what_it_did() {
        let arch = Arch::new();
        let numbers: Vec<f32> = (0..1_003_u16).map(f32::from).collect();
        assert!((arch.dispatch(Sum { numbers: &numbers }) - 1_002.0 * 1_003.0 / 2.0).abs() < 1.0);
        assert!(arch.dispatch(MultiplyAdd { rounds: 3 }) >= 60.0);
        assert!((DotInt8 { arch, rounds: 2 }.run() - 16_384.0).abs() < f64::EPSILON);
        assert!((arch.dispatch(DotPlain { rounds: 2 }) - 16_384.0).abs() < f64::EPSILON);
    }

    #[test]
    fn every_rate_is_measured() {
        let settings =
            RooflineSettings { threads: 2, buffer: Bytes(1 << 20), budget: Duration::from_millis(1) };
        let roofline = measure(&settings).unwrap();
        for rate in [
            roofline.memory_read_bytes_per_second,
            roofline.f32_flops_per_second,
            roofline.int8_ops_per_second,
        ] {
            assert!(rate.passes >= 3 && rate.best >= rate.median && rate.median > 0.0, "{rate:?}");
        }
        let floor = roofline.read_floor(Bytes(1 << 30)).unwrap().as_secs_f64();
        assert!(
            (floor * roofline.memory_read_bytes_per_second.best / (1_u64 << 30) as f64 - 1.0).abs() < 1e-6
        );
    }

    #[test]
    fn a_buffer_nobody_has_is_refused() {
        let settings = RooflineSettings { threads: 1, buffer: Bytes(u64::MAX), budget: Duration::ZERO };
        assert_eq!(measure(&settings), Err(RooflineError::OutOfMemory(Bytes(u64::MAX))));
    }
}
