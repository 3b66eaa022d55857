//! One channel of some rows, and the separable filters that every detector builds on.

use std::ops::Range;

use rayon::prelude::*;

use super::{filter, pool};
use crate::band::Band;
use crate::error::Result;
use crate::resample::{Filter, Scaler};

/// `height` rows of `width` values, row by row.
#[derive(Debug, PartialEq, Default)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<f32>,
}

impl Drop for Plane {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.data));
    }
}

impl Clone for Plane {
    fn clone(&self) -> Self {
        self.part(0..self.width, 0..self.height)
    }
}

impl Plane {
    /// A plane of zeros.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, data: pool::zeros(width * height) }
    }

    /// A plane of any values, all of which will be written.
    pub fn unset(width: usize, height: usize) -> Self {
        Self { width, height, data: pool::take(width * height) }
    }

    /// The values alone.
    pub fn into_data(mut self) -> Vec<f32> {
        std::mem::take(&mut self.data)
    }

    /// Row `y`.
    pub fn row(&self, y: usize) -> &[f32] {
        &self.data[y * self.width..(y + 1) * self.width]
    }

    /// Row `y`, writable.
    pub fn row_mut(&mut self, y: usize) -> &mut [f32] {
        &mut self.data[y * self.width..(y + 1) * self.width]
    }

    /// The value at a position that is moved inside the plane.
    pub fn at(&self, x: isize, y: isize) -> f32 {
        let clamp = |v: isize, n: usize| v.clamp(0, n as isize - 1) as usize;
        self.data[clamp(y, self.height) * self.width + clamp(x, self.width)]
    }

    /// Bilinear value at a position in pixels, centres at integers, moved inside the plane.
    pub fn sample(&self, x: f32, y: f32) -> f32 {
        let (x0, y0) = (x.floor(), y.floor());
        let (fx, fy) = (x - x0, y - y0);
        let (xi, yi) = (x0 as isize, y0 as isize);
        let top = self.at(xi, yi) * (1.0 - fx) + self.at(xi + 1, yi) * fx;
        let bottom = self.at(xi, yi + 1) * (1.0 - fx) + self.at(xi + 1, yi + 1) * fx;
        top * (1.0 - fy) + bottom * fy
    }

    /// Fills every row by `f`, which gets a scratch value, the row's index and the row; large planes by several threads.
    pub fn fill<S>(&mut self, scratch: impl Fn() -> S + Sync + Send, f: impl Fn(&mut S, usize, &mut [f32]) + Sync + Send) {
        let w = self.width;
        if w == 0 {
            return;
        }
        if self.data.len() < ALONE {
            let mut scratch = scratch();
            self.data.chunks_exact_mut(w).enumerate().for_each(|(y, row)| f(&mut scratch, y, row));
            return;
        }
        let strip = (CHUNK / w).clamp(1, 64);
        self.data.par_chunks_mut(w * strip).enumerate().for_each(|(i, rows)| {
            let mut scratch = scratch();
            rows.chunks_exact_mut(w).enumerate().for_each(|(y, row)| f(&mut scratch, i * strip + y, row));
        });
    }

    /// `f` of every value.
    pub fn map(&self, f: impl Fn(f32) -> f32 + Sync) -> Self {
        let mut out = Self::unset(self.width, self.height);
        out.fill(|| (), |(), y, row| filter::each(self.row(y), row, &f));
        out
    }

    /// `f` of every pair of values of two planes of one size.
    pub fn zip(&self, other: &Self, f: impl Fn(f32, f32) -> f32 + Sync) -> Self {
        debug_assert_eq!((self.width, self.height), (other.width, other.height));
        let mut out = Self::unset(self.width, self.height);
        out.fill(|| (), |(), y, row| filter::each_pair(self.row(y), other.row(y), row, &f));
        out
    }

    /// `f` of every three values of planes of one size.
    pub fn zip3(&self, b: &Self, c: &Self, f: impl Fn(f32, f32, f32) -> f32 + Sync) -> Self {
        debug_assert_eq!((self.width, self.height, b.data.len()), (b.width, c.height, c.data.len()));
        let mut out = Self::unset(self.width, self.height);
        out.fill(|| (), |(), y, row| filter::each_triple(self.row(y), b.row(y), c.row(y), row, &f));
        out
    }

    /// A rectangle of the plane.
    pub fn part(&self, x: Range<usize>, y: Range<usize>) -> Self {
        let mut out = Self::unset(x.len(), y.len());
        for (y, row) in y.zip(out.data.chunks_exact_mut(x.len().max(1))) {
            row.copy_from_slice(&self.row(y)[x.clone()]);
        }
        out
    }

    /// Gaussian of `sigma_px`, cut at three sigma, edge values repeated.
    pub fn blur(&self, sigma_px: f32) -> Self {
        self.separable(&gaussian(sigma_px))
    }

    /// Square of what a Gaussian of `sigma_px` takes away.
    pub fn detail(&self, sigma_px: f32) -> Self {
        let mut out = self.blur(sigma_px);
        out.fill(|| (), |(), y, row| filter::square_difference(row, self.row(y)));
        out
    }

    /// Mean over a square of `2 radius + 1` pixels, edge values repeated.
    pub fn mean(&self, radius: usize) -> Self {
        let n = 2 * radius + 1;
        self.separable(&vec![1.0 / n as f32; n])
    }

    /// Convolution of rows and columns with an odd number of symmetric taps, edge values repeated.
    pub fn separable(&self, taps: &[f32]) -> Self {
        let mut out = Self::unset(self.width, self.height);
        out.fill(|| Soft::with(taps.to_vec()), |soft, y, row| soft.row(self, y, row));
        out
    }

    /// Mean over cells of `side` x `side` values; what does not fill a cell joins the last one of its row or column.
    pub fn cells(&self, side: usize) -> Self {
        self.cells_in(0..self.width, 0..self.height, side)
    }

    /// [`Plane::cells`] of a rectangle.
    pub fn cells_in(&self, x: Range<usize>, y: Range<usize>, side: usize) -> Self {
        let (w, h) = ((x.len() / side).max(1), (y.len() / side).max(1));
        let mut out = Self::new(w, h);
        let (last_w, last_h) = (x.len() - (w - 1) * side, y.len() - (h - 1) * side);
        let cells = |cy: usize, sums: &mut [f32]| {
            let high = if cy + 1 == h { last_h } else { side };
            let from = y.start + cy * side;
            for y in from..from + high {
                filter::add_runs(&self.row(y)[x.clone()], side, sums);
            }
            for (cx, sum) in sums.iter_mut().enumerate() {
                *sum /= ((if cx + 1 == w { last_w } else { side }) * high) as f32;
            }
        };
        if x.len() * y.len() < ALONE {
            out.data.chunks_exact_mut(w).enumerate().for_each(|(cy, sums)| cells(cy, sums));
        } else {
            out.data.par_chunks_exact_mut(w).enumerate().for_each(|(cy, sums)| cells(cy, sums));
        }
        out
    }

    /// Rows and columns exchanged.
    pub fn transposed(&self) -> Self {
        const TILE: usize = 32;
        let (w, h) = (self.width, self.height);
        let mut out = Self::new(h, w);
        out.data.par_chunks_mut((h * TILE).max(1)).enumerate().for_each(|(t, out)| {
            let x0 = t * TILE;
            for y0 in (0..h).step_by(TILE) {
                for (x, out) in out.chunks_mut(h).enumerate() {
                    for (y, v) in out.iter_mut().enumerate().take((y0 + TILE).min(h)).skip(y0) {
                        *v = self.data[y * w + x0 + x];
                    }
                }
            }
        });
        out
    }

    /// Largest value in a square of `2 radius + 1`, edge values repeated.
    pub fn dilate(&self, radius: usize) -> Self {
        let (w, h) = (self.width, self.height);
        let mut out = Self::unset(w, h);
        out.fill(
            || vec![f32::NEG_INFINITY; w + 2 * radius],
            |padded, y, out| {
                let high = &mut padded[radius..radius + w];
                high.copy_from_slice(self.row(y));
                for other in (y.saturating_sub(radius)..(y + radius + 1).min(h)).filter(|o| *o != y) {
                    filter::raise(high, self.row(other));
                }
                out.copy_from_slice(&padded[..w]);
                for i in 1..=2 * radius {
                    filter::raise(out, &padded[i..i + w]);
                }
            },
        );
        out
    }

    /// Central differences along x and y, half the step over the two neighbours; edge values repeated.
    pub fn gradients(&self) -> (Self, Self) {
        let (w, h) = (self.width, self.height);
        let (mut gx, mut gy) = (Self::unset(w, h), Self::unset(w, h));
        gx.fill(
            || (),
            |(), y, out| {
                let row = self.row(y);
                if w > 2 {
                    filter::each_pair(&row[..w - 2], &row[2..], &mut out[1..w - 1], &|l, r| 0.5 * (r - l));
                }
                out[0] = 0.5 * (row[1.min(w - 1)] - row[0]);
                out[w - 1] = 0.5 * (row[w - 1] - row[w.saturating_sub(2)]);
            },
        );
        gy.fill(
            || (),
            |(), y, out| {
                let (above, below) = (self.row(y.saturating_sub(1)), self.row((y + 1).min(h - 1)));
                filter::each_pair(above, below, out, &|a, b| 0.5 * (b - a));
            },
        );
        (gx, gy)
    }

    /// Square of the gradient's length, per pixel.
    pub fn steepness(&self) -> Self {
        let (w, h) = (self.width, self.height);
        let mut out = Self::unset(w, h);
        out.fill(|| (), |(), y, row| filter::steepness([self.row(y.saturating_sub(1)), self.row(y), self.row((y + 1).min(h - 1))], row));
        out
    }

    /// Length of the gradient, per pixel.
    pub fn slope(&self) -> Self {
        self.steepness().map(f32::sqrt)
    }

    /// Variance under a Gaussian window of `sigma_px`.
    pub fn variance(&self, sigma_px: f32) -> Self {
        let mean = self.blur(sigma_px);
        self.map(|v| v * v).blur(sigma_px).zip(&mean, |q, m| (q - m * m).max(0.0))
    }

    /// The same picture at another size; `filter` widens when reducing.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for an empty size.
    pub fn resize(&self, width: usize, height: usize, filter: Filter) -> Result<Self> {
        if (width, height) == (self.width, self.height) {
            return Ok(self.clone());
        }
        let scaler = Scaler::new(self.width, self.height, width, height, filter, None)?;
        let source = Band { y: 0, width: self.width, rows: self.height, channels: 1, data: self.data.clone() };
        let parts: Vec<Band> = (0..height.div_ceil(STRIP))
            .into_par_iter()
            .map(|i| scaler.rows(&source, i * STRIP..((i + 1) * STRIP).min(height)))
            .collect::<Result<_>>()?;
        Ok(Self { width, height, data: parts.into_iter().flat_map(|p| p.data).collect() })
    }

    /// The largest value and where it is; (0, 0) and minus infinity for an empty plane.
    pub fn peak(&self) -> (f32, usize, usize) {
        let mut best = (f32::NEG_INFINITY, 0, 0);
        for (i, &v) in self.data.iter().enumerate() {
            if v > best.0 {
                best = (v, i % self.width, i / self.width);
            }
        }
        best
    }

    /// The value below which the share `q` (0..1) of all values lies; 0 for an empty plane.
    pub fn quantile(&self, q: f32) -> f32 {
        quantile(&mut self.data.clone(), q)
    }
}

/// Makes single rows of a smoothed plane, so that what only passes by needs no plane of its own.
#[derive(Debug)]
pub struct Soft {
    taps: Vec<f32>,
    padded: Vec<f32>,
}

impl Soft {
    /// By a Gaussian of `sigma_px`.
    pub fn new(sigma_px: f32) -> Self {
        Self::with(gaussian(sigma_px))
    }

    /// By an odd number of symmetric taps.
    pub fn with(taps: Vec<f32>) -> Self {
        Self { taps, padded: Vec::new() }
    }

    /// Row `y` of the plane's convolution along rows and columns, edge values repeated.
    pub fn row(&mut self, p: &Plane, y: usize, out: &mut [f32]) {
        self.part(p, y, 0..p.width, out);
    }

    /// The columns `x` of [`Soft::row`].
    pub fn part(&mut self, p: &Plane, y: usize, x: Range<usize>, out: &mut [f32]) {
        let radius = self.taps.len() / 2;
        self.padded.resize(x.len() + 2 * radius, 0.0);
        // What the plane has of the columns that are needed.
        let (left, right) = (x.start.saturating_sub(radius), (x.end + radius).min(p.width));
        let (before, has) = (left + radius - x.start, right - left);
        let from = |i: usize| &p.row((y + i).saturating_sub(radius).min(p.height - 1))[left..right];
        let middle = &mut self.padded[before..before + has];
        let mut few: [&[f32]; 64] = [&[]; 64];
        if self.taps.len() <= few.len() {
            for (i, r) in few.iter_mut().take(self.taps.len()).enumerate() {
                *r = from(i);
            }
            filter::down(&few[..self.taps.len()], &self.taps, middle);
        } else {
            filter::down(&(0..self.taps.len()).map(from).collect::<Vec<_>>(), &self.taps, middle);
        }
        let (first, last) = (self.padded[before], self.padded[before + has - 1]);
        self.padded[..before].fill(first);
        self.padded[before + has..].fill(last);
        filter::across(&self.padded, &self.taps, out);
    }
}

/// Taps of a Gaussian of `sigma_px`, cut at three sigma; their sum is 1.
pub fn gaussian(sigma_px: f32) -> Vec<f32> {
    let radius = reach(sigma_px);
    let taps: Vec<f32> = (0..=2 * radius).map(|i| (-0.5 * ((i as f32 - radius as f32) / sigma_px).powi(2)).exp()).collect();
    let sum: f32 = taps.iter().sum();
    taps.iter().map(|t| t / sum).collect()
}

/// Pixels on each side that a Gaussian of `sigma_px` takes in.
pub fn reach(sigma_px: f32) -> usize {
    (3.0 * sigma_px).ceil().max(1.0) as usize
}

/// Values a thread takes at once.
const CHUNK: usize = 1 << 15;
/// A plane of fewer values is one thread's work.
const ALONE: usize = 1 << 18;
/// Rows a thread resamples at once.
const STRIP: usize = 64;

/// The value below which the share `q` (0..1) of `values` lies; reorders them. 0 if there are none.
pub fn quantile(values: &mut [f32], q: f32) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let at = ((values.len() - 1) as f32 * q.clamp(0.0, 1.0)).round() as usize;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

/// The same of the values that are `ok`, of many: those are counted by their leading digits, and only what shares the digits of the
/// one that is wanted is put in order.
pub fn quantile_where(values: &[f32], ok: &[bool], q: f32) -> f32 {
    const DIGITS: u32 = 13;
    // Rises with the number.
    let key = |v: f32| {
        let bits = v.to_bits();
        (if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }) >> (32 - DIGITS)
    };
    let picked = || values.iter().zip(ok).filter(|(_, ok)| **ok).map(|(v, _)| *v);
    let mut counts = vec![0u32; 1 << DIGITS];
    picked().for_each(|v| counts[key(v) as usize] += 1);
    let all: u32 = counts.iter().sum();
    let mut at = (all.saturating_sub(1) as f32 * q.clamp(0.0, 1.0)).round() as usize;
    for (digits, count) in (0u32..).zip(counts) {
        if at < count as usize {
            let mut near: Vec<f32> = picked().filter(|v| key(*v) == digits).collect();
            return *near.select_nth_unstable_by(at, f32::total_cmp).1;
        }
        at -= count as usize;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_constants_and_spread_a_point() {
        let flat = Plane { width: 9, height: 7, data: vec![0.25; 63] };
        for f in [flat.blur(1.5), flat.mean(2)] {
            assert!(f.data.iter().all(|v| (v - 0.25).abs() < 1e-6));
        }
        let mut point = Plane::new(31, 31);
        point.data[15 * 31 + 15] = 1.0;
        let b = point.blur(2.0);
        let by_formula = |d2: f32| (-d2 / 8.0).exp() / (8.0 * std::f32::consts::PI);
        assert!((b.data[15 * 31 + 15] - by_formula(0.0)).abs() < 5e-4);
        assert!((b.data[17 * 31 + 18] - by_formula(13.0)).abs() < 5e-4);
        assert!((point.mean(1).data[14 * 31 + 16] - 1.0 / 9.0).abs() < 1e-6);
    }

    #[test]
    fn a_part_of_a_soft_row_is_that_of_the_whole() {
        let p = Plane { width: 150, height: 9, data: (0..150 * 9).map(|i| ((i * 7919) % 1013) as f32 / 1013.0).collect() };
        let mut soft = Soft::new(2.0);
        for y in [0, 4, 8] {
            let mut whole = vec![0.0; 150];
            soft.row(&p, y, &mut whole);
            for x in [0..150, 0..40, 3..90, 20..145, 100..150, 149..150] {
                let mut part = vec![0.0; x.len()];
                soft.part(&p, y, x.clone(), &mut part);
                assert!(part.iter().zip(&whole[x]).all(|(a, b)| (a - b).abs() < 1e-6));
            }
        }
    }

    #[test]
    fn rows_and_columns_change_places() {
        let p = Plane { width: 70, height: 41, data: (0..70 * 41).map(|v| v as f32).collect() };
        let t = p.transposed();
        assert_eq!((t.width, t.height, t.data[33 * 41 + 40]), (41, 70, (40 * 70 + 33) as f32));
        assert_eq!(t.transposed(), p);
    }

    #[test]
    fn quantiles_and_samples() {
        assert_eq!(quantile(&mut [5.0, 1.0, 3.0, 2.0, 4.0], 0.5), 3.0);
        assert_eq!(quantile(&mut [], 0.5), 0.0);
        let many: Vec<f32> = (0..3000).map(|i| ((i * 7919) % 1013) as f32 / 100.0 - 3.0).collect();
        let ok: Vec<bool> = (0..3000).map(|i| i % 3 != 1).collect();
        for q in [0.0, 0.03, 0.25, 0.5, 0.97, 1.0] {
            let mut picked: Vec<f32> = many.iter().zip(&ok).filter(|(_, ok)| **ok).map(|(v, _)| *v).collect();
            assert_eq!(quantile_where(&many, &ok, q), quantile(&mut picked, q));
        }
        assert_eq!(quantile_where(&many, &[false; 3000], 0.5), 0.0);
        let p = Plane { width: 2, height: 2, data: vec![0.0, 1.0, 2.0, 3.0] };
        assert_eq!(p.sample(0.5, 0.5), 1.5);
        assert_eq!(p.sample(9.0, -3.0), 1.0);
    }
}
