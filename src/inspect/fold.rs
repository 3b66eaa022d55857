//! Phase folding: what repeats exactly every p pixels, and only that, survives a mean over equal phases.

use rayon::prelude::*;

use super::plane::Plane;
use super::tiles::{self, Tile};

/// Longest period.
const LONGEST: usize = 16;
/// Side of a block of sums.
const BLOCK: usize = 32;
/// What rounding to 8 bits leaves of a flat place, on the scale of [`super::scene::normalised`], with room for what
/// repeats in it, as in a ramp: less is nobody's pattern.
const ROUNDING: f64 = 0.1;
/// A pattern of dots has at least a third of its variance neither in its rows nor in its columns; courses of bricks have
/// hardly any there.
const CROSSED: f64 = 3.0;
/// Phases of the longest period.
const PHASES: usize = LONGEST * LONGEST;

/// Sums over blocks of 32 x 32 pixels, by the position modulo 16 along both axes.
#[derive(Debug, Clone)]
pub struct Folded {
    cols: usize,
    rows: usize,
    /// Per block.
    blocks: Vec<Sums>,
}

/// Sums of a block, or of several.
#[derive(Debug, Clone, Copy)]
struct Sums {
    phases: [f32; PHASES],
    squares: f32,
}

impl Sums {
    const NONE: Self = Self { phases: [0.0; PHASES], squares: 0.0 };

    fn add(&mut self, o: &Self) {
        self.phases.iter_mut().zip(&o.phases).for_each(|(a, b)| *a += b);
        self.squares += o.squares;
    }

    /// The share of the variance that repeats; see [`Folded::shares`].
    fn share(&self, period: usize, blocks: usize) -> f32 {
        let mut rows = [0.0f32; LONGEST * LONGEST];
        for (y, row) in self.phases.chunks_exact(LONGEST).enumerate() {
            rows[y % period * LONGEST..][..LONGEST].iter_mut().zip(row).for_each(|(a, b)| *a += b);
        }
        let n = period * period;
        let mut sums = [0.0f64; PHASES];
        for (y, row) in rows.chunks_exact(LONGEST).take(period).enumerate() {
            for part in row.chunks_exact(period) {
                sums[y * period..][..period].iter_mut().zip(part).for_each(|(a, b)| *a += f64::from(*b));
            }
        }
        let (phases, pixels) = (n as f64, (blocks * BLOCK * BLOCK) as f64);
        let each = pixels / phases;
        let mean = sums[..n].iter().sum::<f64>() / pixels;
        let variance = f64::from(self.squares) / pixels - mean * mean;
        let of_means = sums[..n].iter().map(|s| (s / each - mean).powi(2)).sum::<f64>() / phases;
        // What lines alone repeat: the means of the rows and of the columns of the pattern.
        let side = period as f64;
        let line = |at: &dyn Fn(usize, usize) -> usize| -> f64 {
            let of = |i: usize| (0..period).map(|j| sums[at(i, j)]).sum::<f64>() / (each * side);
            (0..period).map(|i| (of(i) - mean).powi(2)).sum::<f64>() / side
        };
        let crossed = of_means - line(&|i, j| i * period + j) - line(&|i, j| j * period + i);
        let chance = |terms: f64| variance * terms / pixels;
        let all = (of_means - chance(phases - 1.0)).max(0.0);
        let crossed = (crossed - chance((side - 1.0).powi(2))).max(0.0);
        (all.min(CROSSED * crossed) / (variance + ROUNDING)) as f32
    }
}

impl Folded {
    /// Folds what `f` gives for every piece of a picture of a size, with at least `margin` pixels around it; what does not fill a
    /// block at the right and at the bottom is left out.
    pub fn new(size: (usize, usize), margin: usize, f: impl Fn(&Tile) -> Plane + Sync) -> Self {
        Self::of(size, tiles::tiles(size, margin), f)
    }

    /// The same where `needed` (of a block across and down) asks for it at least; what was not asked for may have no sums.
    pub fn where_needed(
        size: (usize, usize),
        margin: usize,
        needed: impl Fn(usize, usize) -> bool,
        f: impl Fn(&Tile) -> Plane + Sync,
    ) -> Self {
        let mut pieces = tiles::tiles_of(size, margin, (4, 4));
        let blocks = |r: &std::ops::Range<usize>| r.start / BLOCK..r.end / BLOCK;
        pieces.retain(|t| blocks(&t.y).any(|y| blocks(&t.x).any(|x| needed(x, y))));
        Self::of(size, pieces, f)
    }

    fn of((width, height): (usize, usize), pieces: Vec<Tile>, f: impl Fn(&Tile) -> Plane + Sync) -> Self {
        let (cols, rows) = (width / BLOCK, height / BLOCK);
        let made: Vec<Vec<Sums>> = pieces
            .par_iter()
            .map(|tile| {
                let (plane, (x, y)) = (f(tile), tile.inside());
                let (across, down) = (x.len() / BLOCK, y.len() / BLOCK);
                (0..across * down).map(|i| block(&plane, x.start + i % across * BLOCK, y.start + i / across * BLOCK)).collect()
            })
            .collect();
        let mut blocks = vec![Sums::NONE; cols * rows];
        for (tile, sums) in pieces.iter().zip(made) {
            let (x, y, across) = (tile.x.start / BLOCK, tile.y.start / BLOCK, tile.x.len() / BLOCK);
            for (i, s) in sums.into_iter().enumerate() {
                blocks[(y + i / across) * cols + x + i % across] = s;
            }
        }
        Self { cols, rows, blocks }
    }

    /// Blocks across and down.
    pub fn size(&self) -> (usize, usize) {
        (self.cols, self.rows)
    }

    /// The share of the variance that repeats with each of `periods` (divisors of 16) in the `side` x `side` blocks from
    /// (`bx`, `by`), less what chance gives, `max(0, mean(M^2) - var / n) / (var + rounding)` for the phase means M of n pixels
    /// each; no more than three times what repeats in neither rows nor columns alone.
    pub fn shares<const N: usize>(&self, bx: usize, by: usize, side: (usize, usize), periods: [usize; N]) -> [f32; N] {
        let mut sums = Sums::NONE;
        for y in by..(by + side.1).min(self.rows) {
            for x in bx..(bx + side.0).min(self.cols) {
                sums.add(&self.blocks[y * self.cols + x]);
            }
        }
        let blocks = side.0.min(self.cols - bx) * side.1.min(self.rows - by);
        periods.map(|p| sums.share(p, blocks))
    }
}

/// Sums of the block at a place. Phases count from the picture's corner: pieces and blocks begin at multiples of 16.
fn block(p: &Plane, x0: usize, y0: usize) -> Sums {
    let mut sums = Sums::NONE;
    let mut squares = [0.0f32; LONGEST];
    for y in 0..BLOCK {
        let row = &p.row(y0 + y)[x0..x0 + BLOCK];
        let phases = &mut sums.phases[y % LONGEST * LONGEST..][..LONGEST];
        for half in row.as_chunks::<LONGEST>().0 {
            for i in 0..LONGEST {
                phases[i] += half[i];
                squares[i] += half[i] * half[i];
            }
        }
    }
    sums.squares = squares.iter().sum();
    sums
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
        let (a, b) = [&noise, &grid].map(|p| Folded::new((192, 128), 0, |t| t.cut(p))).into();
        assert_eq!(b.size(), (6, 4));
        for period in [2, 4, 8, 16] {
            assert!(a.shares(0, 0, (6, 4), [period])[0] < 0.01, "{period}");
        }
        // Variance of the pattern 0.6^2 * (1/16 - 1/256), of the noise 1/12.
        let pattern: f32 = 0.36 * (1.0 / 16.0 - 1.0 / 256.0);
        for period in [4, 8, 16] {
            let share = b.shares(1, 1, (4, 3), [period])[0];
            assert!((share - pattern / (pattern + 1.0 / 12.0 + ROUNDING as f32)).abs() < 0.02, "{period}: {share}");
        }
        assert!(b.shares(0, 0, (6, 4), [2])[0] < 0.1);
    }
}
