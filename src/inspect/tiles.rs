//! A picture in pieces that fit the cache: what needs many passes over a neighbourhood is done piece by piece.

use std::ops::Range;

use rayon::prelude::*;

use super::filter;
use super::plane::Plane;

/// Pieces begin and end at multiples of this; every cell's side divides it.
const UNIT: usize = 32;
/// Most units of a piece across and down.
const MOST: (usize, usize) = (16, 8);

/// A piece of a picture with some pixels around it, as far as the picture has them.
#[derive(Debug, Clone)]
pub struct Tile {
    /// Inside, in pixels of the picture.
    pub x: Range<usize>,
    pub y: Range<usize>,
    outer_x: Range<usize>,
    outer_y: Range<usize>,
}

impl Tile {
    /// A square of `side` pixels from a place on, as far as a picture of this size has it, and nothing around it.
    pub fn square((width, height): (usize, usize), (left, top): (usize, usize), side: usize) -> Self {
        let (x, y) = (left.min(width)..(left + side).min(width), top.min(height)..(top + side).min(height));
        Self { outer_x: x.clone(), outer_y: y.clone(), x, y }
    }

    /// The piece of `p` with what lies around it.
    pub fn cut(&self, p: &Plane) -> Plane {
        p.part(self.outer_x.clone(), self.outer_y.clone())
    }

    /// `f` of the pieces of two planes of one size.
    pub fn zip(&self, a: &Plane, b: &Plane, f: impl Fn(f32, f32) -> f32) -> Plane {
        let mut out = Plane::unset(self.outer_x.len(), self.outer_y.len());
        for (y, row) in self.outer_y.clone().zip(out.data.chunks_exact_mut(self.outer_x.len().max(1))) {
            filter::each_pair(&a.row(y)[self.outer_x.clone()], &b.row(y)[self.outer_x.clone()], row, &f);
        }
        out
    }

    /// Where the inside lies in what [`Tile::cut`] gives.
    pub fn inside(&self) -> (Range<usize>, Range<usize>) {
        let from = |r: &Range<usize>, o: &Range<usize>| r.start - o.start..r.end - o.start;
        (from(&self.x, &self.outer_x), from(&self.y, &self.outer_y))
    }

    /// Means of the inside over cells.
    pub fn cells(&self, p: &Plane, side: usize) -> Plane {
        let (x, y) = self.inside();
        p.cells_in(x, y, side)
    }

    /// Means over cells of what `add` adds, row by row of the cut, to sums by column of the inside.
    pub fn sums<const N: usize>(&self, side: usize, mut add: impl FnMut(usize, &mut [Vec<f32>; N])) -> [Plane; N] {
        let (x, y) = self.inside();
        let (w, h) = ((x.len() / side).max(1), (y.len() / side).max(1));
        let last = |n: usize, of: usize| of - (n - 1) * side;
        let mut out: [Plane; N] = std::array::from_fn(|_| Plane::new(w, h));
        let mut sums: [Vec<f32>; N] = std::array::from_fn(|_| vec![0.0; x.len()]);
        for cy in 0..h {
            let high = if cy + 1 == h { last(h, y.len()) } else { side };
            sums.iter_mut().for_each(|s| s.fill(0.0));
            (y.start + cy * side..y.start + cy * side + high).for_each(|y| add(y, &mut sums));
            for (o, s) in out.iter_mut().zip(&sums) {
                let cells = o.row_mut(cy);
                filter::add_runs(s, side, cells);
                cells.iter_mut().for_each(|v| *v /= (side * high) as f32);
                cells[w - 1] *= side as f32 / last(w, x.len()) as f32;
            }
        }
        out
    }

    /// The cut's rectangle in the picture.
    pub fn outer(&self) -> (Range<usize>, Range<usize>) {
        (self.outer_x.clone(), self.outer_y.clone())
    }
}

/// A picture's pieces, with at least `margin` pixels around (a multiple of 4 is taken).
pub fn tiles(size: (usize, usize), margin: usize) -> Vec<Tile> {
    tiles_of(size, margin, MOST)
}

/// Pieces of at most so many units of 32 pixels across and down.
pub fn tiles_of((width, height): (usize, usize), margin: usize, most: (usize, usize)) -> Vec<Tile> {
    let margin = margin.next_multiple_of(4);
    let axis = |length: usize, most: usize| -> Vec<(Range<usize>, Range<usize>)> {
        let units = (length / UNIT).max(1);
        let n = units.div_ceil(most);
        let edge = move |i: usize| if i == n { length } else { i * units / n * UNIT };
        (0..n)
            .map(|i| {
                let inner = edge(i)..edge(i + 1);
                (inner.clone(), inner.start.saturating_sub(margin)..(inner.end + margin).min(length))
            })
            .collect()
    };
    let (across, down) = (axis(width, most.0), axis(height, most.1));
    let tile = |(y, outer_y): &(Range<usize>, Range<usize>), (x, outer_x): &(Range<usize>, Range<usize>)| Tile {
        x: x.clone(),
        y: y.clone(),
        outer_x: outer_x.clone(),
        outer_y: outer_y.clone(),
    };
    down.iter().flat_map(|d| across.iter().map(move |a| tile(d, a))).collect()
}

/// Maps of cells of `side` pixels (a divisor of 32) from `f`, which gives those of one piece's inside.
pub fn cells<const N: usize>(size: (usize, usize), side: usize, margin: usize, f: impl Fn(&Tile) -> [Plane; N] + Sync) -> [Plane; N] {
    let pieces = tiles(size, margin);
    let made: Vec<[Plane; N]> = pieces.par_iter().map(&f).collect();
    let (w, h) = ((size.0 / side).max(1), (size.1 / side).max(1));
    std::array::from_fn(|i| {
        let mut whole = Plane::new(w, h);
        for (tile, parts) in pieces.iter().zip(&made) {
            let (x, y) = (tile.x.start / side, tile.y.start / side);
            for (r, row) in parts[i].data.chunks_exact(parts[i].width).enumerate() {
                whole.row_mut(y + r)[x..x + row.len()].copy_from_slice(row);
            }
        }
        whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::plane::Soft;

    #[test]
    fn pieces_give_what_the_whole_gives() {
        for (w, h) in [(1100, 530), (640, 40), (31, 9), (545, 289)] {
            let p = Plane { width: w, height: h, data: (0..w * h).map(|i| ((i * 7919) % 1013) as f32 / 1013.0).collect() };
            for side in [4, 32] {
                let whole = p.blur(1.3).cells(side);
                let [pieces] = cells((w, h), side, 5, |t| [t.cells(&t.cut(&p).blur(1.3), side)]);
                assert_eq!((whole.width, whole.height), (pieces.width, pieces.height));
                assert!(whole.data.iter().zip(&pieces.data).all(|(a, b)| (a - b).abs() < 1e-6), "{w}x{h} {side}");
                let [by_row] = cells((w, h), side, 5, |t| {
                    let (p, (x, _), mut soft, mut row) = (t.cut(&p), t.inside(), Soft::new(1.3), vec![]);
                    row.resize(p.width, 0.0);
                    t.sums(side, |y, [sum]| {
                        soft.row(&p, y, &mut row);
                        filter::add(&row[x.clone()], sum);
                    })
                });
                assert!(whole.data.iter().zip(&by_row.data).all(|(a, b)| (a - b).abs() < 1e-6), "{w}x{h} {side} by row");
            }
        }
    }
}
