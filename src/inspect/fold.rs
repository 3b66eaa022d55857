//! Phase folding: what repeats exactly every p pixels, and only that, survives a mean over equal phases.

use rayon::prelude::*;

use super::plane::Plane;

/// Longest period.
const LONGEST: usize = 16;
/// Side of a block of sums.
const BLOCK: usize = 32;

/// Sums over blocks of 32 x 32 pixels, by the position modulo 16 along both axes.
#[derive(Debug, Clone)]
pub struct Folded {
    cols: usize,
    rows: usize,
    /// Per block: 256 sums, then the sum of squares.
    blocks: Vec<([f32; LONGEST * LONGEST], f32)>,
}

impl Folded {
    /// Folds a plane; what does not fill a block at the right and at the bottom is left out.
    pub fn new(p: &Plane) -> Self {
        let (cols, rows) = (p.width / BLOCK, p.height / BLOCK);
        let blocks = (0..cols * rows)
            .into_par_iter()
            .map(|i| {
                let (x0, y0) = (i % cols * BLOCK, i / cols * BLOCK);
                let (mut sums, mut squares) = ([0.0f32; LONGEST * LONGEST], 0.0);
                for y in y0..y0 + BLOCK {
                    let row = &p.row(y)[x0..x0 + BLOCK];
                    let at = (y % LONGEST) * LONGEST;
                    for half in row.chunks_exact(LONGEST) {
                        for (s, v) in sums[at..at + LONGEST].iter_mut().zip(half) {
                            *s += v;
                        }
                    }
                    squares += row.iter().map(|v| v * v).sum::<f32>();
                }
                (sums, squares)
            })
            .collect();
        Self { cols, rows, blocks }
    }

    /// Blocks across and down.
    pub fn size(&self) -> (usize, usize) {
        (self.cols, self.rows)
    }

    /// The share of the variance that repeats with `period` (a divisor of 16) in the `side` x `side` blocks from (`bx`, `by`),
    /// less what chance gives: `max(0, mean(M^2) - var / n) / var` for the phase means M of n pixels each.
    pub fn share(&self, bx: usize, by: usize, side: (usize, usize), period: usize) -> f32 {
        let mut sums = [0.0f64; LONGEST * LONGEST];
        let mut squares = 0.0f64;
        for y in by..(by + side.1).min(self.rows) {
            for x in bx..(bx + side.0).min(self.cols) {
                let (block, square) = &self.blocks[y * self.cols + x];
                for (i, v) in block.iter().enumerate() {
                    sums[(i / LONGEST % period) * period + i % LONGEST % period] += f64::from(*v);
                }
                squares += f64::from(*square);
            }
        }
        let blocks = (side.0.min(self.cols - bx) * side.1.min(self.rows - by)) as f64;
        let (phases, pixels) = ((period * period) as f64, blocks * (BLOCK * BLOCK) as f64);
        let each = pixels / phases;
        let mean = sums.iter().take(period * period).sum::<f64>() / pixels;
        let variance = squares / pixels - mean * mean;
        let of_means = sums.iter().take(period * period).map(|s| (s / each - mean).powi(2)).sum::<f64>() / phases;
        if variance <= 1e-12 { 0.0 } else { ((of_means - variance * (phases - 1.0) / pixels).max(0.0) / variance) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_repeats_counts() {
        let mut state = 5u32;
        let mut noise = Plane::new(192, 128);
        for v in &mut noise.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        }
        let mut grid = noise.clone();
        for y in 0..128 {
            for x in 0..192 {
                grid.data[y * 192 + x] += if x % 4 == 1 && y % 4 == 2 { 0.6 } else { 0.0 };
            }
        }
        let (a, b) = (Folded::new(&noise), Folded::new(&grid));
        assert_eq!(b.size(), (6, 4));
        for period in [2, 4, 8, 16] {
            assert!(a.share(0, 0, (6, 4), period) < 0.01, "{period}");
        }
        // Variance of the pattern 0.6^2 * (1/16 - 1/256), of the noise 1/12.
        let pattern = 0.36 * (1.0 / 16.0 - 1.0 / 256.0);
        for period in [4, 8, 16] {
            let share = b.share(1, 1, (4, 3), period);
            assert!((share - pattern / (pattern + 1.0 / 12.0)).abs() < 0.02, "{period}: {share}");
        }
        assert!(b.share(0, 0, (6, 4), 2) < 0.1);
    }
}
