//! Film grain.

use multiversion::multiversion;

use super::{Band, Frame, Placed, SpatialOp};
use crate::grade::param::{Rule, params};
use crate::grade::space;
use crate::lane::trace::Traced;
use crate::lane::{At, Lane, Rgb};

params! {
    /// Grain like that of film: strongest in the middle tones, gone in black and white, of a size that is a share of the picture,
    /// so that it looks alike in every resolution. The same picture always gets the same grain.
    pub struct Grain = "grain" {
        /// Its standard deviation in the middle tones, in encoded values.
        amount: f32 = 0.0, Rule::Range(0.0, 0.2), "";
        /// Its size, as a share of the longer side; never below one pixel.
        size: f32 = 0.0007, Rule::Range(0.0002, 0.01), "share of the longer side";
        /// 0 is grey grain, 1 grain of its own in each channel.
        colour: f32 = 0.25, Rule::Range(0.0, 1.0), "";
    }
}

impl SpatialOp for Grain {
    fn is_noop(&self) -> bool {
        self.amount == 0.0
    }

    fn apply(&self, frame: &Frame, _around: &Band, rows: &mut Band) {
        let (n, width) = (rows.rows * rows.width, rows.width);
        let y = rows.y;
        let (r, rest) = rows.data.split_at_mut(n);
        let (g, b) = rest.split_at_mut(n);
        let mut tile = Tile::default();
        for top in (0..n / width.max(1)).step_by(SIDE) {
            for left in (0..width).step_by(SIDE) {
                let (high, wide) = (SIDE.min(n / width - top), SIDE.min(width - left));
                square(self, frame, &mut tile, [left, y + top, wide, high]);
                for row in 0..high {
                    let span = (top + row) * width + left..(top + row) * width + left + wide;
                    lay(self, &tile.noise[row * SIDE..][..wide], &mut r[span.clone()], &mut g[span.clone()], &mut b[span]);
                }
            }
        }
    }

    fn traced(&self, c: Rgb<Traced>, at: &At<Traced>) -> Option<Rgb<Traced>> {
        Some(self.eval(c, at))
    }
}

/// Pixels along the sides of the squares that are worked out together.
const SIDE: usize = 64;

/// Noise of a square of pixels: that of all channels and of each, by rows of [`SIDE`].
///
/// The processor's own way to what [`Grain::eval`] says, to the same bit: several pixels lie between the same random values, and
/// the values of all four are worked out side by side.
#[derive(Default)]
struct Tile {
    noise: Vec<[f32; 4]>,
    grid: Vec<[f32; 4]>,
}

/// The noise of the square at x and y with so many columns and rows.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn square(op: &Grain, frame: &Frame, tile: &mut Tile, [left, top, wide, high]: [usize; 4]) {
    let step = 1.0 / (frame.long_edge() * op.size).max(1.0);
    let across = frame.width as f32 * step;
    tile.noise.clear();
    tile.noise.resize(SIDE * high, [0.0; 4]);
    for (k, turn) in LAYERS.into_iter().enumerate() {
        let place = |x: usize, y: usize| turned(x as f32 * step, y as f32 * step, across, turn);
        let ends = |from: usize, n: usize| [from, from + n - 1];
        let corners = ends(left, wide).map(|x| ends(top, high).map(|y| place(x, y)));
        let least = |i: usize| corners.iter().flatten().fold(f32::MAX, |m, c| m.min(c[i])).floor();
        let most = |i: usize| corners.iter().flatten().fold(f32::MIN, |m, c| m.max(c[i])).floor();
        // One more on every side, for what rounding does to places.
        let first = [least(0) - 1.0, least(1) - 1.0].map(|v| v.max(0.0));
        let [columns, lines] = [0, 1].map(|i| (most(i) + 2.0 - first[i]) as usize + 1);
        tile.grid.clear();
        let key = frame.key() + k as f32 * 4.0;
        for v in (0..lines).map(|v| first[1] + v as f32) {
            let own = |u: usize| [0.0, 1.0, 2.0, 3.0].map(|more| (first[0] + u as f32).random(v, key + more));
            tile.grid.extend((0..columns).map(own));
        }
        for row in 0..high {
            let noise = &mut tile.noise[row * SIDE..][..wide];
            between(noise, &tile.grid, columns, first, turn.3, |x| place(left + x, top + row));
        }
    }
}

/// Adds noise to pixels.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn lay(op: &Grain, noise: &[[f32; 4]], r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    let (grey, own) = ((1.0 - op.colour).sqrt(), op.colour.sqrt());
    for (((r, g), b), n) in r.iter_mut().zip(g).zip(b).zip(noise) {
        let luma = Lane::clamp(space::luma([*r, *g, *b]), 0.0, 1.0);
        let strength = luma * (1.0 - luma) * (op.amount * 4.0);
        *r += (n[0] * grey + n[1] * own) * strength;
        *g += (n[0] * grey + n[2] * own) * strength;
        *b += (n[0] * grey + n[3] * own) * strength;
    }
}

/// Adds `share` of what lies between the values of a grid (that begins at `first`) at the places of a row of pixels.
#[inline(always)]
fn between(noise: &mut [[f32; 4]], grid: &[[f32; 4]], columns: usize, first: [f32; 2], share: f32, place: impl Fn(usize) -> [f32; 2]) {
    let (mut cells, mut ways) = ([0usize; SIDE], [[0f32; 3]; SIDE]);
    for (x, (cell, way)) in cells.iter_mut().zip(&mut ways).take(noise.len()).enumerate() {
        let [u, v] = place(x);
        let (iu, iv) = (u.floor(), v.floor());
        let (tu, tv) = ((u - iu).smoothstep(0.0, 1.0), (v - iv).smoothstep(0.0, 1.0));
        *cell = (iv - first[1]) as i32 as usize * columns + (iu - first[0]) as i32 as usize;
        *way = [tu, tv, (variance(tu) * variance(tv)).sqrt()];
    }
    for ((n, cell), [tu, tv, deviation]) in noise.iter_mut().zip(cells).zip(ways) {
        let (Some([a, b]), Some([c, d])) = (grid[cell..].first_chunk(), grid[cell + columns..].first_chunk()) else { continue };
        for i in 0..4 {
            let (top, bottom) = (a[i] + (b[i] - a[i]) * tu, c[i] + (d[i] - c[i]) * tu);
            n[i] += (top + (bottom - top) * tv) / deviation * share;
        }
    }
}

impl Placed for Grain {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>, at: &At<L>) -> Rgb<L> {
        let one = L::lit(1.0);
        let step = one / (at.width.max(at.height) * L::lit(self.size)).max(one);
        let (x, y, across) = (at.x * step, at.y * step, at.width * step);
        let luma = space::luma(c).clamp(0.0, 1.0);
        let strength = luma * (one - luma) * L::lit(self.amount * 4.0);
        let shared = noise(x, y, across, at.key) * L::lit((1.0 - self.colour).sqrt());
        let own =
            |k: f32| if self.colour > 0.0 { noise(x, y, across, at.key + L::lit(k)) * L::lit(self.colour.sqrt()) } else { L::lit(0.0) };
        [c[0] + (shared + own(1.0)) * strength, c[1] + (shared + own(2.0)) * strength, c[2] + (shared + own(3.0)) * strength]
    }
}

/// Sine and cosine of two angles without a common period (27 and 58 degrees), size and share of each layer of noise; the squares of
/// the shares add up to one.
const LAYERS: [(f32, f32, f32, f32); 2] = [(0.454, 0.891, 1.0, 0.8), (0.848, 0.53, 1.6, 0.6)];

/// A place on the grid of a layer. `across` is the picture's width in grid steps.
#[inline(always)]
fn turned<L: Lane>(x: L, y: L, across: L, (sin, cos, finer, _): (f32, f32, f32, f32)) -> [L; 2] {
    let (sin, cos) = (L::lit(sin * finer), L::lit(cos * finer));
    // Moved by what the turn would take below zero: the grid is numbered from 0 on.
    [x * cos + y * sin, (across - x) * sin + y * cos]
}

/// Smooth noise of unit variance everywhere: a coarser and a finer layer on grids that are turned, so that neither rows and
/// columns of the picture nor a weave show.
#[inline(always)]
fn noise<L: Lane>(x: L, y: L, across: L, key: L) -> L {
    let mut sum = L::lit(0.0);
    for (k, turn) in LAYERS.into_iter().enumerate() {
        let [u, v] = turned(x, y, across, turn);
        sum = sum + layer(u, v, key + L::lit(k as f32 * 4.0)) * L::lit(turn.3);
    }
    sum
}

/// Random values on a grid, joined by a cubic step. Between grid points four values are averaged; what that takes from the
/// deviation is given back, or the grid shows as a pattern of stronger and weaker grain.
#[inline(always)]
fn layer<L: Lane>(x: L, y: L, key: L) -> L {
    let one = L::lit(1.0);
    let (ix, iy) = (x.floor(), y.floor());
    let (tx, ty) = ((x - ix).smoothstep(0.0, 1.0), (y - iy).smoothstep(0.0, 1.0));
    let (next, below) = (ix + one, iy + one);
    let top = ix.random(iy, key).mix(next.random(iy, key), tx);
    let bottom = ix.random(below, key).mix(next.random(below, key), tx);
    top.mix(bottom, ty) / (variance(tx) * variance(ty)).sqrt()
}

/// What is left of the variance between two random values.
#[inline(always)]
fn variance<L: Lane>(t: L) -> L {
    let other = L::lit(1.0) - t;
    t * t + other * other
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way by squares is the formula that graphics cards run.
    #[test]
    fn squares_of_pixels_are_what_the_formula_says() {
        for (width, height, size, colour, seed) in
            [(150, 90, 0.0007, 0.25, 7), (200, 70, 0.01, 1.0, 4_194_303), (65, 131, 0.03, 0.0, 99_999_999)]
        {
            let (op, frame) = (Grain { amount: 0.1, size, colour }, Frame { width, height, bits: 8, seed });
            let mut band = Band::new(13, width, height - 13, 3);
            band.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 251) as f32 / 250.0);
            let given = band.clone();
            op.apply(&frame, &given, &mut band);
            for (x, y) in (0..height - 13).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let c = [0, 1, 2].map(|c| given.row(c, y)[x]);
                let at = At { x: x as f32, y: (y + 13) as f32, width: width as f32, height: height as f32, key: frame.key() };
                let want = op.eval(c, &at);
                (0..3).for_each(|c| assert!((band.row(c, y)[x] - want[c]).abs() < 2e-6, "{x} {y}: {} {want:?}", band.row(c, y)[x]));
            }
        }
    }
}
