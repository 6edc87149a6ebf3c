//! Products of activations with packed quantised weights, and attention, for a batched decoder on the CPU.
//!
//! The one crate of the workspace with unsafe code. Weights stay in their GGUF precision, interleaved sixteen
//! rows at a time so that a vector lane is a row and no horizontal sum is ever needed; activations are
//! quantised to int8 once a product, as ggml and candle do. Every dispatch level does the same arithmetic in
//! the same order, so results are the same bits on every machine, alone or in any batch.
//!
//! ```
//! use breakeven_kernels::{Executor, PackedMatrix, QuantizedActivations, WeightType};
//! let executor = Executor::new(2);
//! let (rows, columns) = (16, 32);
//! let bytes = vec![0u8; rows * WeightType::Q8_0.row_bytes(columns).expect("a multiple of 32")];
//! let weights = PackedMatrix::pack(WeightType::Q8_0, &[(&bytes, rows)], columns)?;
//! let mut activations = QuantizedActivations::default();
//! activations.quantize(&executor, &[1.0; 32], columns)?;
//! let mut output = vec![1.0; rows];
//! executor.multiply(&weights, &activations, &mut output)?;
//! assert_eq!(output, vec![0.0; rows]);
//! # Ok::<(), breakeven_kernels::KernelError>(())
//! ```

mod activations;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_six_bits;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod error;
mod executor;
mod format;
mod k_quants;
mod lanes;
mod large_pages;
mod multiply;
mod packed;
mod peak;
mod pool;
mod portable;
mod rows;
mod shared_slice;

pub use activations::QuantizedActivations;
pub use attention::{AttentionShape, KEY_SPAN, Query};
pub use error::KernelError;
pub use executor::{Executor, Level};
pub use format::WeightType;
pub use packed::PackedMatrix;
pub use pool::Pool;
pub use rows::{GateActivation, Norm};
