//! What a device can do through candle: bytes copied and half-precision operations a second. The GPU's counterpart of the
//! processor's roofline in crate `hardware`, which sees no candle.
//!
//! A copy reads and writes every byte, so its rate counts each byte twice, as a memory's published bandwidth does. A product
//! of two square matrices of `n` rows is 2 n³ operations.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};

use super::{decoder::open_device, load::LoadError, settings::DeviceChoice};

/// How to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRooflineSettings {
    /// Bytes copied in one pass; well above the device's caches.
    pub copy_bytes: usize,
    /// Rows and columns of the square matrices.
    pub matrix_rows: usize,
    /// Time for each of the two measurements.
    pub budget: Duration,
}

impl DeviceRooflineSettings {
    /// A quarter of a GiB and 4,096 rows, a quarter of a second each: enough to fill an accelerator.
    pub const QUICK: Self =
        Self { copy_bytes: 256 << 20, matrix_rows: 4_096, budget: Duration::from_millis(250) };
}

/// What was measured: the best pass of each.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceRoofline {
    /// Bytes a second, reads and writes both counted.
    pub copy_bytes_per_second: f64,
    /// Operations a second of a square matrix product.
    pub half_flops_per_second: f64,
    /// Number format of the product: `bf16`, or `f16` where the device has no bf16.
    pub format: &'static str,
}

/// Measures a device. Takes about two budgets, plus the time to make the operands.
///
/// # Errors
/// Where the device cannot be opened, has not the memory, or runs no half-precision product.
pub fn measure(choice: DeviceChoice, settings: &DeviceRooflineSettings) -> Result<DeviceRoofline, LoadError> {
    let device = open_device(choice)?;
    measure_opened(&device, settings)
        .map_err(|error| LoadError::Device { device: String::from(choice), fault: error.to_string() })
}

fn measure_opened(device: &Device, settings: &DeviceRooflineSettings) -> candle_core::Result<DeviceRoofline> {
    let words = (settings.copy_bytes / 4).max(1);
    let source = Tensor::ones(words, DType::F32, device)?;
    let copied = best(device, settings.budget, || source.copy().map(drop))?;
    let (format, multiplied) = half_product(device, settings)?;
    let rows = settings.matrix_rows as f64;
    Ok(DeviceRoofline {
        copy_bytes_per_second: 2.0 * 4.0 * words as f64 / copied.as_secs_f64(),
        half_flops_per_second: 2.0 * rows.powi(3) / multiplied.as_secs_f64(),
        format,
    })
}

/// The fastest product in bf16, or in f16 where the device refuses bf16.
fn half_product(
    device: &Device,
    settings: &DeviceRooflineSettings,
) -> candle_core::Result<(&'static str, Duration)> {
    let rows = settings.matrix_rows.max(1);
    let timed = |dtype: DType| {
        let matrix = Tensor::ones((rows, rows), dtype, device)?;
        best(device, settings.budget, || matrix.matmul(&matrix).map(drop))
    };
    match timed(DType::BF16) {
        Ok(time) => Ok(("bf16", time)),
        Err(_) => Ok(("f16", timed(DType::F16)?)),
    }
}

/// The shortest pass within the budget, three passes at least after one that warms up. Each pass waits for the device.
fn best(
    device: &Device,
    budget: Duration,
    work: impl Fn() -> candle_core::Result<()>,
) -> candle_core::Result<Duration> {
    let pass = || {
        let begun = Instant::now();
        work()?;
        device.synchronize()?;
        Ok::<_, candle_core::Error>(begun.elapsed().max(Duration::from_nanos(1)))
    };
    pass()?;
    let begun = Instant::now();
    let mut shortest = Duration::MAX;
    let mut passes = 0;
    while passes < 3 || begun.elapsed() < budget {
        shortest = shortest.min(pass()?);
        passes += 1;
    }
    Ok(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_positive_finite_rates() {
        let settings =
            DeviceRooflineSettings { copy_bytes: 1 << 20, matrix_rows: 64, budget: Duration::from_millis(5) };
        let found = measure(DeviceChoice::Cpu, &settings).unwrap();
        assert!(found.copy_bytes_per_second.is_finite() && found.copy_bytes_per_second > 0.0);
        assert!(found.half_flops_per_second.is_finite() && found.half_flops_per_second > 0.0);
        assert!(["bf16", "f16"].contains(&found.format));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_gpu_without_cuda_is_a_clear_error() {
        let said = measure(DeviceChoice::Cuda(0), &DeviceRooflineSettings::QUICK).unwrap_err().to_string();
        assert!(!said.is_empty());
    }
}
