//! The most int8 arithmetic an executor's level can do: the roof that products are compared with.

#![expect(unsafe_code, reason = "calls of code for detected instructions")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::executor::{Executor, Level};

/// Sums that do not wait for each other, so that an instruction's latency does not count.
const CHAINS: usize = 12;
/// Instructions on each sum in one piece of work.
const ROUNDS: u32 = 20_000;

impl Executor {
    /// int8 operations a second (a multiply and an add are two) on registers alone, all threads together: the
    /// best of the passes that fit the budget. `None` for the portable level, which has no such instruction.
    pub fn int8_peak(&self, budget: Duration) -> Option<f64> {
        let operations_an_instruction = match self.level() {
            Level::Portable => return None,
            Level::Avx2 => 64.0,
            Level::Avx512Vnni => 128.0,
        };
        let parts = self.pool().threads() * 8;
        let work = f64::from(ROUNDS) * CHAINS as f64 * parts as f64 * operations_an_instruction;
        let begun = Instant::now();
        let mut best: f64 = 0.0;
        loop {
            let pass = Instant::now();
            self.pool().run(parts, |_| loops(self.level()));
            let seconds = pass.elapsed().as_secs_f64();
            if seconds > 0.0 {
                best = best.max(work / seconds);
            }
            if begun.elapsed() >= budget {
                return (best > 0.0).then_some(best);
            }
        }
    }
}

fn loops(level: Level) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an executor of this level exists only where its instructions were detected.
        Level::Avx512Vnni => unsafe { avx512() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2() },
        _ => {}
    }
}

/// `vpdpbusd`, 64 products an instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn avx512() {
    use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_set1_epi8, _mm512_setzero_si512};
    let (left, right) = (_mm512_set1_epi8(black_box(3)), _mm512_set1_epi8(black_box(-5)));
    let mut sums = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, left, right);
        }
    }
    black_box(sums);
}

/// `vpmaddubsw` with 16-bit sums, 32 products a pair of instructions, as the kernels of this level do. Each sum
/// is a factor of the next product, so that no product can be taken out of the loop.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2() {
    use std::arch::x86_64::{_mm256_add_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_setzero_si256};
    let right = _mm256_set1_epi8(black_box(-5));
    let mut sums = [_mm256_setzero_si256(); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(*sum, right));
        }
    }
    black_box(sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it works for as long as a clock says, and Miri takes for ever")]
    fn vector_levels_have_a_peak_and_the_portable_one_has_none() {
        for level in Level::available() {
            let executor = Executor::with_level(1, level).unwrap();
            let peak = executor.int8_peak(Duration::from_millis(1));
            assert_eq!(peak.is_some(), level != Level::Portable);
            assert!(peak.is_none_or(|peak| peak > 1e6));
        }
    }
}
