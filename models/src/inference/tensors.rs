//! Where a decoder takes its tensors from: a file or a noise generator, one tensor at a time, so that no
//! second copy of the model is ever in memory.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::File;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};

use super::gguf::Header;
use super::load::LoadError;

/// One tensor as stored: rows of quantised blocks.
#[derive(Debug)]
pub struct RawTensor {
    /// Storage type.
    pub dtype: GgmlDType,
    /// Rows first.
    pub dims: Vec<usize>,
    /// Blocks, row after row.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// As candle's quantised tensor on a device.
    pub fn into_qtensor(self, name: &str, device: &Device) -> Result<QTensor, LoadError> {
        let tensor = |source| LoadError::Tensor { tensor: name.to_owned(), source };
        let storage = QStorage::from_data(self.bytes.into(), device, self.dtype).map_err(tensor)?;
        QTensor::new(storage, self.dims).map_err(tensor)
    }

    /// Some of the rows of a matrix; `None` where it has no such rows.
    pub fn rows(&self, start: usize, count: usize) -> Option<Self> {
        let &[rows, columns] = self.dims.as_slice() else { return None };
        let row = self.bytes.len().checked_div(rows)?;
        let bytes = self.bytes.get(start * row..(start + count) * row)?.to_vec();
        Some(Self { dtype: self.dtype, dims: vec![count, columns], bytes })
    }

    /// As plain f32 values.
    pub fn into_f32(self, name: &str) -> Result<Vec<f32>, LoadError> {
        self.into_f32_tensor(name, &Device::Cpu)?
            .flatten_all()
            .and_then(|tensor| tensor.to_vec1())
            .map_err(|source| LoadError::Tensor { tensor: name.to_owned(), source })
    }

    /// As a dequantised tensor on a device.
    pub fn into_f32_tensor(self, name: &str, device: &Device) -> Result<Tensor, LoadError> {
        self.into_qtensor(name, device)?
            .dequantize(device)
            .map_err(|source| LoadError::Tensor { tensor: name.to_owned(), source })
    }
}

/// Gives out the tensors of one model.
pub trait TensorSource: Debug + Send {
    /// Reads or makes one tensor.
    fn read(&mut self, name: &str) -> Result<RawTensor, LoadError>;
    /// Whether the model has a tensor of this name.
    fn has(&self, name: &str) -> bool;
    /// Bytes of all tensors as stored.
    fn total_bytes(&self) -> u64;
    /// The storage type that most bytes have.
    fn dominant_type(&self) -> GgmlDType;
}

/// Tensors of a GGUF file.
#[derive(Debug)]
pub struct FileTensors {
    header: Header,
    file: File,
}

impl FileTensors {
    /// Tensors of an opened file with its parsed header.
    pub fn new(header: Header, file: File) -> Self {
        Self { header, file }
    }
}

impl TensorSource for FileTensors {
    fn read(&mut self, name: &str) -> Result<RawTensor, LoadError> {
        let bytes = self.header.tensor_bytes(&mut self.file, name)?;
        let info = self.header.tensors.get(name).ok_or_else(|| self.header.fault(format!("no `{name}`")))?;
        Ok(RawTensor { dtype: info.dtype, dims: info.dims.clone(), bytes })
    }

    fn has(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    fn total_bytes(&self) -> u64 {
        self.header.tensors.values().map(|info| info.bytes).sum()
    }

    fn dominant_type(&self) -> GgmlDType {
        let mut bytes: HashMap<GgmlDType, u64> = HashMap::new();
        for info in self.header.tensors.values() {
            *bytes.entry(info.dtype).or_default() += info.bytes;
        }
        bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map_or(GgmlDType::F32, |(dtype, _)| dtype)
    }
}
