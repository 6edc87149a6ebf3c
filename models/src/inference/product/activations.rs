//! Activations rounded to eight bits, 32 at a time, once for each product.

/// Values that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Tokens that are multiplied together: the weights are read once for all of them.
pub(crate) const TILE: usize = 4;

/// Some tokens' values of one block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TileBlock<const N: usize> {
    pub(crate) quants: [[i8; BLOCK]; N],
    pub(crate) scales: [f32; N],
    /// Scale times the sum of the quants: what a constant added to every weight contributes.
    pub(crate) sums: [f32; N],
}

impl<const N: usize> Default for TileBlock<N> {
    fn default() -> Self {
        Self { quants: [[0; BLOCK]; N], scales: [0.0; N], sums: [0.0; N] }
    }
}

/// All tokens of a product, in tiles of four, and the last ones in a tile of two and of one.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    pub(crate) tokens: usize,
    pub(crate) blocks: usize,
    /// Tile after tile, block after block.
    pub(crate) fours: Vec<TileBlock<TILE>>,
    pub(crate) two: Vec<TileBlock<2>>,
    pub(crate) one: Vec<TileBlock<1>>,
}

impl Activations {
    /// Rounds [tokens, columns] values; columns are a multiple of [`BLOCK`].
    pub(crate) fn quantize(&mut self, input: &[f32], tokens: usize) {
        let columns = input.len().checked_div(tokens).unwrap_or(0);
        self.tokens = tokens;
        self.blocks = columns / BLOCK;
        let mut rows = input.chunks_exact(columns.max(1));
        self.fours.clear();
        for _ in 0..tokens / TILE {
            push_tile(&mut self.fours, &mut rows, self.blocks);
        }
        self.two.clear();
        if tokens % TILE >= 2 {
            push_tile(&mut self.two, &mut rows, self.blocks);
        }
        self.one.clear();
        if tokens % 2 == 1 {
            push_tile(&mut self.one, &mut rows, self.blocks);
        }
    }
}

fn push_tile<'a, const N: usize>(
    tiles: &mut Vec<TileBlock<N>>,
    rows: &mut impl Iterator<Item = &'a [f32]>,
    blocks: usize,
) {
    let start = tiles.len();
    tiles.resize(start + blocks, TileBlock::default());
    for (token, row) in rows.take(N).enumerate() {
        for (tile, values) in tiles.iter_mut().skip(start).zip(row.as_chunks::<BLOCK>().0) {
            let places =
                tile.quants.get_mut(token).zip(tile.scales.get_mut(token)).zip(tile.sums.get_mut(token));
            if let Some(((quants, scale), sum)) = places {
                (*scale, *sum) = quantize_block(values, quants);
            }
        }
    }
}

/// Rounds to the nearest of -127..=127 times a scale; gives the scale and scale · sum.
fn quantize_block(values: &[f32; BLOCK], quants: &mut [i8; BLOCK]) -> (f32, f32) {
    // Adding 1.5 · 2^23 leaves the rounded value in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let mut lanes = [0.0f32; 8];
    for eight in values.as_chunks::<8>().0 {
        for (lane, value) in lanes.iter_mut().zip(eight) {
            *lane = lane.max(value.abs());
        }
    }
    let largest = lanes.iter().copied().fold(0.0, f32::max);
    if largest <= 0.0 || !largest.is_finite() {
        // Not-a-number and infinity are told by the scale; zeros need none.
        quants.fill(0);
        let scale = if largest <= 0.0 { 0.0 } else { f32::NAN };
        return (scale, scale);
    }
    let scale = largest / 127.0;
    let inverse = 127.0 / largest;
    let mut sum = 0i32;
    for (quant, value) in quants.iter_mut().zip(values) {
        let [low, ..] = (value * inverse + ROUND).to_bits().to_le_bytes();
        *quant = i8::from_le_bytes([low]);
        sum += i32::from(*quant);
    }
    (scale, scale * sum as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_step() {
        let mut values = [0.0; BLOCK];
        values[0] = -127.0;
        values[1] = 0.6;
        values[2] = -0.4;
        values[3] = 126.7;
        let mut quants = [0; BLOCK];
        let (scale, sum) = quantize_block(&values, &mut quants);
        assert_eq!(quants[..4], [-127, 1, 0, 127]);
        assert!((scale - 1.0).abs() < 1e-6 && (sum - 1.0).abs() < 1e-5);
        assert_eq!(quantize_block(&[0.0; BLOCK], &mut quants), (0.0, 0.0));
        values[5] = f32::INFINITY;
        assert!(quantize_block(&values, &mut quants).0.is_nan());
    }

    #[test]
    fn every_token_has_its_tile() {
        let mut activations = Activations::default();
        for tokens in 1..12 {
            activations.quantize(&vec![1.0; tokens * 64], tokens);
            let tiled = activations.fours.len() * 4 + activations.two.len() * 2 + activations.one.len();
            assert_eq!(tiled, tokens * 2);
            assert!(activations.one.iter().all(|tile| tile.quants[0] == [127; BLOCK]));
        }
    }
}
