//! The matrix products of the processor path, behind one door: everything above works on f32 rows and does
//! not know how weights are stored.
//!
//! The types that `breakeven-kernels` packs stay as small as they are; other types are expanded to f32 and
//! multiplied by candle.

use breakeven_kernels::{Executor, GateActivation, Norm, PackedMatrix, QuantizedActivations, WeightType};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::batch::StepError;
use super::cpu_math;
use super::load::LoadError;
use super::tensors::RawTensor;

/// What products need besides their weights: threads, and scratch kept from product to product.
#[derive(Debug)]
pub(crate) struct Products {
    executor: Executor,
    activations: QuantizedActivations,
    /// What one of several matrices gave before it goes to its columns, or what weights in f32 are multiplied with.
    rows: Vec<f32>,
}

impl Products {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            executor: Executor::new(threads),
            activations: QuantizedActivations::default(),
            rows: Vec::new(),
        }
    }

    /// The threads, for the work between products.
    pub(crate) fn executor(&self) -> &Executor {
        &self.executor
    }

    /// `output` becomes input · weightsᵀ: [tokens, rows].
    pub(crate) fn multiply(
        &mut self,
        product: &Product,
        input: &[f32],
        tokens: usize,
        output: &mut Vec<f32>,
    ) -> Result<(), StepError> {
        if let Weights::Expanded(weights) = &product.0 {
            return expanded(weights, input, tokens, output);
        }
        self.activations.quantize(&self.executor, input, product.columns())?;
        self.packed(product, tokens, output)
    }

    /// The same of the RMS norm of the residual rows, after `added` has joined them.
    pub(crate) fn multiply_normed(
        &mut self,
        product: &Product,
        residual: &mut [f32],
        added: Option<(&[f32], Option<Norm<'_>>)>,
        norm: Norm<'_>,
        output: &mut Vec<f32>,
    ) -> Result<(), StepError> {
        let tokens = residual.len() / norm.weight.len().max(1);
        if let Weights::Expanded(weights) = &product.0 {
            if let Some((added, norm)) = added {
                cpu_math::join(residual, added, norm, &mut self.rows);
            }
            cpu_math::rms_norm(residual, norm.weight, norm.epsilon, &mut self.rows);
            return expanded(weights, &self.rows, tokens, output);
        }
        self.activations.quantize_normed(&self.executor, residual, added, norm)?;
        self.packed(product, tokens, output)
    }

    /// The same of activation(gate) · up, which lie side by side in a row.
    pub(crate) fn multiply_gated(
        &mut self,
        product: &Product,
        gate_up: &[f32],
        width: usize,
        activation: GateActivation,
        output: &mut Vec<f32>,
    ) -> Result<(), StepError> {
        let tokens = gate_up.len() / (2 * width).max(1);
        if let Weights::Expanded(weights) = &product.0 {
            cpu_math::gate(gate_up, width, activation, self.executor.pool(), &mut self.rows);
            return expanded(weights, &self.rows, tokens, output);
        }
        self.activations.quantize_gated(&self.executor, gate_up, width, activation)?;
        self.packed(product, tokens, output)
    }

    /// The product of packed weights with what was quantised last.
    fn packed(&mut self, product: &Product, tokens: usize, output: &mut Vec<f32>) -> Result<(), StepError> {
        match &product.0 {
            Weights::Packed(matrix) => {
                output.resize(tokens * matrix.rows(), 0.0);
                self.executor.multiply(matrix, &self.activations, output)?;
            }
            Weights::Mixed(matrices) => {
                let rows: usize = matrices.iter().map(PackedMatrix::rows).sum();
                output.resize(tokens * rows, 0.0);
                let mut first = 0;
                for matrix in matrices {
                    self.rows.resize(tokens * matrix.rows(), 0.0);
                    self.executor.multiply(matrix, &self.activations, &mut self.rows)?;
                    let parts = self.rows.chunks_exact(matrix.rows());
                    for (output, part) in output.chunks_exact_mut(rows).zip(parts) {
                        if let Some(output) = output.get_mut(first..first + part.len()) {
                            output.copy_from_slice(part);
                        }
                    }
                    first += matrix.rows();
                }
            }
            Weights::Expanded(_) => {
                return Err(StepError::Batch("weights in f32 are not packed".to_owned()));
            }
        }
        Ok(())
    }
}

/// The product of weights in f32, through candle.
fn expanded(weights: &Tensor, input: &[f32], tokens: usize, output: &mut Vec<f32>) -> Result<(), StepError> {
    let input = Tensor::from_slice(input, (tokens, weights.dim(1)?), &Device::Cpu)?;
    *output = input.matmul(&weights.t()?)?.flatten_all()?.to_vec1()?;
    Ok(())
}

/// Weights of one product: rows of one or more tensors, one below the other.
#[derive(Debug)]
pub(crate) struct Product(Weights);

#[derive(Debug)]
enum Weights {
    Packed(PackedMatrix),
    /// Tensors of several types, as `Q4_K_M` files have them: one matrix a type, rows in their order.
    Mixed(Vec<PackedMatrix>),
    Expanded(Tensor),
}

fn weight_type(dtype: GgmlDType) -> Option<WeightType> {
    match dtype {
        GgmlDType::Q4_0 => Some(WeightType::Q4_0),
        GgmlDType::Q4_1 => Some(WeightType::Q4_1),
        GgmlDType::Q8_0 => Some(WeightType::Q8_0),
        GgmlDType::Q4K => Some(WeightType::Q4K),
        GgmlDType::Q6K => Some(WeightType::Q6K),
        _ => None,
    }
}

/// The tensors as packed matrices, neighbours of one type in one; `None` where one cannot be packed.
fn pack(name: &str, parts: &[RawTensor]) -> Result<Option<Vec<PackedMatrix>>, LoadError> {
    let mut matrices = Vec::new();
    for same in
        parts.chunk_by(|left, right| left.dtype == right.dtype && left.dims.get(1) == right.dims.get(1))
    {
        let Some(first) = same.first() else { continue };
        let (Some(kind), &[_, columns]) = (weight_type(first.dtype), first.dims.as_slice()) else {
            return Ok(None);
        };
        let rows: Vec<(&[u8], usize)> = same
            .iter()
            .map(|part| (part.bytes.as_slice(), part.dims.first().copied().unwrap_or(0)))
            .collect();
        let matrix = PackedMatrix::pack(kind, &rows, columns)
            .map_err(|source| LoadError::Packing { tensor: name.to_owned(), source })?;
        matrices.push(matrix);
    }
    let columns = matrices.first().map(PackedMatrix::columns);
    let alike = matrices.iter().all(|matrix| Some(matrix.columns()) == columns);
    Ok((alike && columns.is_some()).then_some(matrices))
}

impl Product {
    /// Values taken for one token; 0 where the weights are in f32.
    fn columns(&self) -> usize {
        match &self.0 {
            Weights::Packed(matrix) => matrix.columns(),
            Weights::Mixed(matrices) => matrices.first().map_or(0, PackedMatrix::columns),
            Weights::Expanded(_) => 0,
        }
    }

    /// Joins tensors of the same number of columns.
    pub(crate) fn new(name: &str, parts: Vec<RawTensor>) -> Result<Self, LoadError> {
        if let Some(mut matrices) = pack(name, &parts)? {
            return Ok(Self(match (matrices.pop(), matrices.is_empty()) {
                (Some(matrix), true) => Weights::Packed(matrix),
                (last, _) => {
                    matrices.extend(last);
                    Weights::Mixed(matrices)
                }
            }));
        }
        let parts = parts
            .into_iter()
            .map(|part| part.into_f32_tensor(name, &Device::Cpu))
            .collect::<Result<Vec<_>, _>>()?;
        let weights =
            Tensor::cat(&parts, 0).map_err(|source| LoadError::Tensor { tensor: name.to_owned(), source })?;
        Ok(Self(Weights::Expanded(weights)))
    }
}

/// The embedding table, which may be the output head too.
pub(crate) enum Embedding {
    /// Used as a matrix as well: rows are read back out of it.
    Head(Product),
    /// Only looked up.
    Table(QTensor),
}

impl Embedding {
    pub(crate) fn new(table: RawTensor, is_head: bool) -> Result<Self, LoadError> {
        const NAME: &str = "token_embd.weight";
        if is_head {
            return Product::new(NAME, vec![table]).map(Self::Head);
        }
        table.into_qtensor(NAME, &Device::Cpu).map(Self::Table)
    }

    /// Rows of some tokens, one after the other.
    pub(crate) fn look_up(&self, tokens: &[u32], output: &mut Vec<f32>) -> Result<(), StepError> {
        let ids = |tokens: &[u32]| Tensor::new(tokens, &Device::Cpu);
        match self {
            Self::Head(Product(Weights::Packed(matrix))) => {
                output.resize(tokens.len() * matrix.columns(), 0.0);
                for (token, row) in tokens.iter().zip(output.chunks_exact_mut(matrix.columns())) {
                    matrix.dequantize_row(*token as usize, row)?;
                }
            }
            Self::Head(Product(Weights::Mixed(_))) => {
                return Err(StepError::Batch("an embedding table of several types".to_owned()));
            }
            Self::Head(Product(Weights::Expanded(table))) => {
                *output = table.index_select(&ids(tokens)?, 0)?.flatten_all()?.to_vec1()?;
            }
            Self::Table(table) => {
                *output = table.embedding(&ids(tokens)?)?.flatten_all()?.to_vec1()?;
            }
        }
        Ok(())
    }

    /// The table as the matrix of the output head, where it is one.
    pub(crate) fn head(&self) -> Option<&Product> {
        match self {
            Self::Head(product) => Some(product),
            Self::Table(_) => None,
        }
    }
}
