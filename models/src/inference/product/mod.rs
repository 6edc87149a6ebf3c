//! The matrix products of the processor path, behind one door: everything above works on f32 rows and does
//! not know how weights are stored.
//!
//! Types of four bits (`Q4_0`, `Q4_1`, `Q4_K`) and `Q8_0` stay as small as they are, laid out for this
//! machine's vector units and multiplied as integers; other types are expanded to f32.

mod activations;
mod blocks;
mod packed;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};

use super::batch::StepError;
use super::load::LoadError;
use super::tensors::RawTensor;
use activations::Activations;
use packed::PackedMatrix;

/// What products need besides their weights: threads and scratch, kept from product to product.
#[derive(Debug)]
pub(crate) struct Products {
    threads: rayon::ThreadPool,
    activations: Activations,
    tiles: Vec<f32>,
}

impl Products {
    pub(crate) fn new(threads: usize) -> Result<Self, LoadError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("breakeven-cpu-{index}"))
            .build()
            .map_err(|error| LoadError::Unsuitable(format!("cannot start {threads} threads: {error}")))?;
        Ok(Self { threads, activations: Activations::default(), tiles: Vec::new() })
    }

    /// The threads, for work other than products.
    pub(crate) fn threads(&self) -> &rayon::ThreadPool {
        &self.threads
    }

    /// `output` becomes input · weightsᵀ: [tokens, rows].
    pub(crate) fn multiply(
        &mut self,
        product: &Product,
        input: &[f32],
        tokens: usize,
        output: &mut Vec<f32>,
    ) -> Result<(), StepError> {
        match &product.0 {
            Weights::Packed(matrix) => {
                self.activations.quantize(input, tokens);
                let Self { threads, activations, tiles } = self;
                threads.install(|| matrix.multiply(activations, tiles, output));
            }
            Weights::Expanded(weights) => {
                let input = Tensor::from_slice(input, (tokens, weights.dim(1)?), &Device::Cpu)?;
                *output = input.matmul(&weights.t()?)?.flatten_all()?.to_vec1()?;
            }
        }
        Ok(())
    }
}

/// Weights of one product: rows of one or more tensors, one below the other.
#[derive(Debug)]
pub(crate) struct Product(Weights);

#[derive(Debug)]
enum Weights {
    Packed(PackedMatrix),
    Expanded(Tensor),
}

impl Product {
    /// Joins tensors of the same number of columns.
    pub(crate) fn new(name: &str, parts: Vec<RawTensor>) -> Result<Self, LoadError> {
        if let Some(matrix) = PackedMatrix::new(&parts) {
            return Ok(Self(Weights::Packed(matrix)));
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
        let rows = |tokens: &[u32]| Tensor::new(tokens, &Device::Cpu);
        match self {
            Self::Head(Product(Weights::Packed(matrix))) => {
                output.clear();
                tokens.iter().for_each(|token| matrix.push_row(*token as usize, output));
            }
            Self::Head(Product(Weights::Expanded(table))) => {
                *output = table.index_select(&rows(tokens)?, 0)?.flatten_all()?.to_vec1()?;
            }
            Self::Table(table) => {
                *output = table.embedding(&rows(tokens)?)?.flatten_all()?.to_vec1()?;
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
