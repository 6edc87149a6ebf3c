//! Where kernels run: a pool of threads and the instructions to use.

use crate::error::KernelError;
use crate::pool::Pool;

/// Instructions the kernels use. All levels give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// No more than the target the crate was compiled for.
    Portable,
    /// AVX2 and F16C: x86-64 since 2013.
    Avx2,
    /// AVX-512 F, BW and VNNI: Ice Lake, Zen 4 and later.
    Avx512Vnni,
}

impl Level {
    /// Levels this machine has, slowest first.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c");
            if avx2 {
                levels.push(Self::Avx2);
            }
            // Miri knows the instructions of AVX2 and few of AVX-512.
            if avx2
                && !cfg!(miri)
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
            {
                levels.push(Self::Avx512Vnni);
            }
        }
        levels
    }
}

/// Threads and instructions for products and attention.
#[derive(Debug)]
pub struct Executor {
    pool: Pool,
    level: Level,
}

impl Executor {
    /// This many threads, the caller's among them, at the machine's best level.
    pub fn new(threads: usize) -> Self {
        let level = Level::available().into_iter().max().unwrap_or(Level::Portable);
        Self { pool: Pool::new(threads), level }
    }

    /// The same at a chosen level, for comparison.
    pub fn with_level(threads: usize, level: Level) -> Result<Self, KernelError> {
        if !Level::available().contains(&level) {
            return Err(KernelError::Level(level));
        }
        Ok(Self { pool: Pool::new(threads), level })
    }

    /// Instructions used.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The threads, for other work between products.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}
