//! Products of the SmolLM2-135M shapes: GOP/s, tokens a second, share of the machine's limits.
//!
//! `cargo run --release -p breakeven-kernels --example throughput -- [threads]`. Weights are random: 30 layers of
//! Q4_1 and a Q8_0 head, 100 MB, so that they come from memory as the real ones do. Levels and candle's
//! `QMatMul` take turns; figures are medians. No attention, norms or sampling: an upper bound for a decoder.

use std::borrow::Cow;
use std::error::Error;
use std::time::Instant;

use breakeven_kernels::{Executor, Level, PackedMatrix, QuantizedActivations, WeightType};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};

const LAYERS: usize = 30;
/// Rows and columns of a layer's products: query, key and value; output; gate and up; down.
const LAYER: [(usize, usize); 4] = [(960, 576), (576, 576), (3072, 576), (576, 1536)];
const HEAD: (usize, usize) = (49152, 576);

struct Model {
    packed: Vec<PackedMatrix>,
    candle: Vec<QMatMul>,
}

fn add(
    model: &mut Model,
    quantized: WeightType,
    dtype: GgmlDType,
    (rows, columns): (usize, usize),
) -> Result<(), Box<dyn Error>> {
    let length = rows * quantized.row_bytes(columns).ok_or("rows are not whole blocks")?;
    let mut state = 1u32;
    let bytes: Vec<u8> = (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // No byte of a 16-bit factor may make it infinite.
            (state >> 24) as u8 & 0x3b
        })
        .collect();
    model.packed.push(PackedMatrix::pack(quantized, &[(&bytes, rows)], columns)?);
    let storage = QStorage::from_data(Cow::Owned(bytes), &Device::Cpu, dtype)?;
    model.candle.push(QMatMul::from_qtensor(QTensor::new(storage, (rows, columns))?)?);
    Ok(())
}

fn packed_step(
    executor: &Executor,
    model: &Model,
    input: &[f32],
    tokens: usize,
    output: &mut [f32],
) -> Result<(), Box<dyn Error>> {
    let mut activations = QuantizedActivations::default();
    for matrix in &model.packed {
        activations.quantize(executor, &input[..tokens * matrix.columns()], matrix.columns())?;
        executor.multiply(matrix, &activations, &mut output[..tokens * matrix.rows()])?;
    }
    Ok(())
}

/// Bytes all threads together read a second: the roof for one token.
fn bandwidth(executor: &Executor, words: &[u64]) -> f64 {
    let part = words.len() / 64;
    let mut best = 0.0f64;
    for _ in 0..7 {
        let start = Instant::now();
        executor.pool().run(64, |index| {
            let sum = words[index * part..(index + 1) * part].iter().fold(0u64, |sum, word| sum ^ word);
            std::hint::black_box(sum);
        });
        best = best.max((part * 64 * 8) as f64 / start.elapsed().as_secs_f64());
    }
    best
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let mut model = Model { packed: Vec::new(), candle: Vec::new() };
    for _ in 0..LAYERS {
        for shape in LAYER {
            add(&mut model, WeightType::Q4_1, GgmlDType::Q4_1, shape)?;
        }
    }
    add(&mut model, WeightType::Q8_0, GgmlDType::Q8_0, HEAD)?;
    let bytes: usize = model.packed.iter().map(PackedMatrix::bytes).sum();
    let operations: usize = model.packed.iter().map(|matrix| 2 * matrix.rows() * matrix.columns()).sum();
    let levels = Level::available();
    let executors =
        levels.iter().map(|level| Executor::with_level(threads, *level)).collect::<Result<Vec<_>, _>>()?;
    let roof = bandwidth(&executors[0], &vec![1; bytes / 8]);
    println!(
        "{threads} threads, {} MB, {} MOP a token, {:.1} GB/s read",
        bytes / 1_000_000,
        operations / 1_000_000,
        roof / 1e9
    );
    println!("{:>6} {:>12} {:>9} {:>9} {:>12}", "tokens", "level", "tok/s", "GOP/s", "of bandwidth");
    for tokens in [1, 2, 4, 8, 16, 32, 128] {
        let input: Vec<f32> =
            (0..tokens * 1536).map(|index| ((index * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let mut output = vec![0.0; tokens * HEAD.0];
        let mut seconds = vec![Vec::new(); executors.len() + 1];
        for round in 0..7 {
            for (seconds, executor) in seconds.iter_mut().zip(&executors) {
                if executor.level() == Level::Portable && (round > 2 || tokens > 32) {
                    continue;
                }
                let start = Instant::now();
                packed_step(executor, &model, &input, tokens, &mut output)?;
                seconds.push(start.elapsed().as_secs_f64());
            }
            if round < 3 && tokens <= 32 {
                let start = Instant::now();
                for (matrix, packed) in model.candle.iter().zip(&model.packed) {
                    let columns = packed.columns();
                    let input =
                        Tensor::from_slice(&input[..tokens * columns], (tokens, columns), &Device::Cpu)?;
                    matrix.forward(&input)?;
                }
                seconds[executors.len()].push(start.elapsed().as_secs_f64());
            }
        }
        let names = levels.iter().map(|level| format!("{level:?}")).chain(["candle".to_owned()]);
        for (name, seconds) in names.zip(seconds).filter(|(_, seconds)| !seconds.is_empty()) {
            let step = median(seconds);
            println!(
                "{tokens:>6} {name:>12} {:>9.1} {:>9.1} {:>11.0}%",
                tokens as f64 / step,
                (tokens * operations) as f64 / step / 1e9,
                100.0 * bytes as f64 / step / roof,
            );
        }
    }
    Ok(())
}
