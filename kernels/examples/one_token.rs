//! One token's products by weight type: bytes of weights read a second, and their share of what plain reading reaches.
//!
//! `cargo run --release -p breakeven-kernels --example one_token -- [threads]`. A product of 100 MB and more, so that weights come
//! from memory; types, levels and plain reading take turns, figures are medians.

use std::{error::Error, time::Instant};

use breakeven_kernels::{Executor, PackedMatrix, QuantizedActivations, WeightType};

const COLUMNS: usize = 2_048;
const ROWS: usize = 65_536;
const ROUNDS: usize = 9;

fn matrix(weight_type: WeightType) -> Result<PackedMatrix, Box<dyn Error>> {
    let length = ROWS * weight_type.row_bytes(COLUMNS).ok_or("rows are not whole blocks")?;
    let mut state = 1u32;
    let bytes: Vec<u8> = (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // No byte of a 16-bit factor may make it infinite.
            (state >> 24) as u8 & 0x3b
        })
        .collect();
    Ok(PackedMatrix::pack(weight_type, &[(&bytes, ROWS)], COLUMNS)?)
}

/// Seconds that reading `words` takes.
fn read(executor: &Executor, words: &[u64]) -> f64 {
    let part = words.len() / 64;
    let start = Instant::now();
    executor.pool().run(64, |index| {
        let sum = words[index * part..(index + 1) * part].iter().fold(0u64, |sum, word| sum ^ word);
        std::hint::black_box(sum);
    });
    start.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let executor = Executor::new(threads);
    let types = [WeightType::Q4_0, WeightType::Q4_1, WeightType::Q8_0, WeightType::Q4K, WeightType::Q6K];
    let matrices = types.into_iter().map(matrix).collect::<Result<Vec<_>, _>>()?;
    let input: Vec<f32> = (0..COLUMNS).map(|index| ((index * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let mut activations = QuantizedActivations::default();
    activations.quantize(&executor, &input, COLUMNS)?;
    let mut output = vec![0.0; ROWS];
    let words = vec![1u64; 20 << 20];
    let (mut plain, mut seconds) = (Vec::new(), vec![Vec::new(); types.len()]);
    for _ in 0..ROUNDS {
        plain.push(read(&executor, &words));
        for (seconds, matrix) in seconds.iter_mut().zip(&matrices) {
            let start = Instant::now();
            executor.multiply(matrix, &activations, &mut output)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let roof = (words.len() * 8) as f64 / median(&mut plain);
    println!("{threads} threads, {:?}, plain reading {:.1} GB/s", executor.level(), roof / 1e9);
    for ((weight_type, matrix), seconds) in types.iter().zip(&matrices).zip(&mut seconds) {
        let rate = matrix.bytes() as f64 / median(seconds);
        println!(
            "{weight_type:>6?} {:>6.1} GB/s {:>5.0} % of plain reading",
            rate / 1e9,
            100.0 * rate / roof
        );
    }
    Ok(())
}
