//! Seeded random weights in any architecture's shapes: what a model costs to run depends on its shapes, not
//! on what it learnt.

use std::collections::HashMap;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::gguf::stored_bytes;
use super::load::LoadError;
use super::tensors::{RawTensor, TensorSource};
use crate::spec::{DecoderSpec, TensorSpec};

/// Rows quantised at a time: bounds the f32 scratch to a few megabytes.
const ROWS_AT_ONCE: usize = 256;

/// Makes a model's tensors from a seed, each from its own stream, so that order does not matter.
#[derive(Debug)]
pub struct NoiseTensors {
    tensors: HashMap<String, (usize, TensorSpec)>,
    quantization: GgmlDType,
    seed: u64,
}

impl NoiseTensors {
    /// Noise for all tensors of a spec; matrices are stored as `quantization`, vectors as f32.
    pub fn new(spec: &DecoderSpec, quantization: GgmlDType, seed: u64) -> Self {
        let tensors = spec
            .tensors()
            .into_iter()
            .enumerate()
            .map(|(index, tensor)| (tensor.name.clone(), (index, tensor)))
            .collect();
        Self { tensors, quantization, seed }
    }

    /// Rows that the wished type's blocks do not divide are stored as `Q8_0`, and failing that as f32.
    fn type_of(&self, tensor: &TensorSpec) -> GgmlDType {
        if tensor.rows.is_none() {
            return GgmlDType::F32;
        }
        [self.quantization, GgmlDType::Q8_0]
            .into_iter()
            .find(|dtype| tensor.columns.is_multiple_of(dtype.block_size()))
            .unwrap_or(GgmlDType::F32)
    }

    fn bytes_of(&self, tensor: &TensorSpec) -> u64 {
        stored_bytes(self.type_of(tensor), tensor.elements()).unwrap_or(0)
    }
}

impl TensorSource for NoiseTensors {
    fn read(&mut self, name: &str) -> Result<RawTensor, LoadError> {
        let (index, tensor) = self
            .tensors
            .get(name)
            .ok_or_else(|| LoadError::Unsuitable(format!("the model has no tensor `{name}`")))?;
        let dtype = self.type_of(tensor);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(*index as u64 + 1);
        let columns = tensor.columns;
        let Some(rows) = tensor.rows else {
            // Norm weights near 1 and biases alike: values only have to be finite and lively.
            let bias = tensor.name.rsplit('.').next() == Some("bias");
            let values = (0..columns).map(|_| rng.random_range(-0.1..0.1) + if bias { 0.0 } else { 1.0f32 });
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            return Ok(RawTensor { dtype, dims: vec![columns], bytes });
        };
        // Uniform with the variance 1 / columns keeps activations of order one through every layer.
        let bound = (3.0 / columns as f32).sqrt();
        let mut bytes = Vec::new();
        let mut left = rows;
        while left > 0 {
            let count = left.min(ROWS_AT_ONCE);
            let values: Vec<f32> = (0..count * columns).map(|_| rng.random_range(-bound..bound)).collect();
            let chunk = Tensor::from_vec(values, (count, columns), &Device::Cpu)
                .and_then(|tensor| QTensor::quantize(&tensor, dtype))
                .and_then(|tensor| tensor.data().map(std::borrow::Cow::into_owned))
                .map_err(|source| LoadError::Tensor { tensor: name.to_owned(), source })?;
            bytes.extend_from_slice(&chunk);
            left -= count;
        }
        Ok(RawTensor { dtype, dims: vec![rows, columns], bytes })
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn total_bytes(&self) -> u64 {
        self.tensors.values().map(|(_, tensor)| self.bytes_of(tensor)).sum()
    }

    fn dominant_type(&self) -> GgmlDType {
        self.quantization
    }
}
