//! Yes or no for every pixel, a byte each, so that neighbourhoods are cheap.

use multiversion::multiversion;

use super::plane::{Plane, Soft};
use super::{filter, pool};

/// `height` rows of `width` bytes, 1 for yes.
#[derive(Debug, PartialEq, Eq)]
pub struct Mask {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn decide<F: Fn(f32) -> bool>(values: &[f32], out: &mut [u8], f: &F) {
    for (o, &v) in out.iter_mut().zip(values) {
        *o = u8::from(f(v));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_decided<F: Fn(f32) -> bool>(values: &[f32], out: &mut [u8], f: &F) {
    for (o, &v) in out.iter_mut().zip(values) {
        *o |= u8::from(f(v));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn join(out: &mut [u8], with: &[u8]) {
    for (o, w) in out.iter_mut().zip(with) {
        *o |= w;
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.data));
    }
}

impl Clone for Mask {
    fn clone(&self) -> Self {
        let mut data = pool::take(self.data.len());
        data.copy_from_slice(&self.data);
        Self { width: self.width, height: self.height, data }
    }
}

impl Mask {
    /// Where `f` holds.
    pub fn of(p: &Plane, f: impl Fn(f32) -> bool) -> Self {
        let mut data = pool::take(p.data.len());
        decide(&p.data, &mut data, &f);
        Self { width: p.width, height: p.height, data }
    }

    /// Adds the places where the square of the slope of a plane of this size under a Gaussian is at least `square`.
    pub fn join_steep(&mut self, p: &Plane, sigma_px: f32, square: f32) {
        let (w, h) = (self.width, self.height);
        if w == 0 || h == 0 {
            return;
        }
        let (mut soft, mut steep) = (Soft::new(sigma_px), vec![0.0f32; w]);
        let [mut above, mut here, mut below] = [vec![0.0f32; w], vec![0.0; w], vec![0.0; w]];
        soft.row(p, 0, &mut here);
        above.copy_from_slice(&here);
        for y in 0..h {
            if y + 1 < h {
                soft.row(p, y + 1, &mut below);
            } else {
                below.copy_from_slice(&here);
            }
            filter::steepness([&above, &here, &below], &mut steep);
            add_decided(&steep, &mut self.data[y * w..(y + 1) * w], &|s| s >= square);
            std::mem::swap(&mut above, &mut here);
            std::mem::swap(&mut here, &mut below);
        }
    }

    /// Every pixel as two by two, the last ones repeated to fill `width` and `height`.
    pub fn doubled(&self, width: usize, height: usize) -> Self {
        let mut data = pool::take(width * height);
        for (y, out) in data.chunks_exact_mut(width.max(1)).enumerate() {
            let row = self.row((y / 2).min(self.height - 1));
            for (o, v) in out.as_chunks_mut::<2>().0.iter_mut().zip(row) {
                *o = [*v; 2];
            }
            let filled = (2 * row.len()).min(width) & !1;
            out[filled..].fill(row[row.len() - 1]);
        }
        Self { width, height, data }
    }

    /// Nowhere.
    pub fn none(width: usize, height: usize) -> Self {
        Self { width, height, data: pool::zeros(width * height) }
    }

    /// Yes where another mask of this size is, too.
    pub fn join(&mut self, other: &Self) {
        join(&mut self.data, &other.data);
    }

    /// Row `y`.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width..(y + 1) * self.width]
    }

    /// Yes where any pixel of a square of `2 radius + 1` is.
    pub fn dilate(&self, radius: usize) -> Self {
        let (w, h) = (self.width, self.height);
        if w == 0 || h == 0 || radius == 0 {
            return self.clone();
        }
        let (wide, n) = (w + 2 * radius, 2 * radius + 1);
        // Rows above and below are no; windows grow by doubling.
        let mut rows = pool::zeros::<u8>(wide * (h + 2 * radius));
        for y in 0..h {
            let row = &mut rows[(y + radius) * wide..(y + radius + 1) * wide];
            row[radius..radius + w].copy_from_slice(self.row(y));
            grow(row, n, 1);
        }
        grow(&mut rows, n, wide);
        let mut data = pool::take(w * h);
        for (y, row) in data.chunks_exact_mut(w).enumerate() {
            row.copy_from_slice(&rows[y * wide..y * wide + w]);
        }
        pool::give(rows);
        Self { width: w, height: h, data }
    }
}

/// Every value joins those up to `n - 1` steps after it.
fn grow(values: &mut [u8], n: usize, step: usize) {
    let mut covered = 1;
    while covered < n {
        let by = covered.min(n - covered);
        shift_join(values, by * step);
        covered += by;
    }
}

/// `values[i] |= values[i + by]`, in rising order, so that what is read has not been written.
fn shift_join(values: &mut [u8], by: usize) {
    const PIECE: usize = 256;
    let mut held = [0u8; PIECE];
    let mut at = 0;
    while at + by < values.len() {
        let n = PIECE.min(values.len() - at - by);
        held[..n].copy_from_slice(&values[at + by..at + by + n]);
        join(&mut values[at..at + n], &held[..n]);
        at += n;
    }
}

/// The positions of bytes that are not 0.
pub fn hits(row: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let (whole, rest) = row.as_chunks::<16>();
    let of = |(i, c): (usize, &'_ [u8; 16])| {
        let mut left = u128::from_le_bytes(*c);
        std::iter::from_fn(move || {
            let at = left.trailing_zeros() / 8;
            (left != 0).then(|| {
                left &= !(0xff << (8 * at));
                16 * i + at as usize
            })
        })
    };
    let some = whole.iter().enumerate().filter(|(_, c)| u128::from_le_bytes(**c) != 0);
    let last = rest.iter().enumerate().filter(|(_, b)| **b != 0).map(move |(k, _)| 16 * whole.len() + k);
    some.flat_map(of).chain(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_fills_odd_sizes() {
        let m = Mask { width: 2, height: 1, data: vec![0, 1] };
        assert_eq!(m.doubled(5, 3).data, [0, 0, 1, 1, 1].repeat(3));
        assert_eq!(m.doubled(4, 2).data, [0, 0, 1, 1].repeat(2));
        assert_eq!(Mask { width: 1, height: 1, data: vec![1] }.doubled(1, 1).data, [1]);
    }

    #[test]
    fn neighbourhoods_grow_on_all_sides() {
        let mut p = Plane::new(700, 40);
        for i in [0, 699, 700 * 20 + 300, 700 * 39 + 650] {
            p.data[i] = 1.0;
        }
        let m = Mask::of(&p, |v| v > 0.5);
        assert_eq!(hits(m.row(20)).collect::<Vec<_>>(), [300]);
        let some: Vec<u8> = (0..71).map(|i| u8::from(i % 7 == 3)).collect();
        assert_eq!(hits(&some).collect::<Vec<_>>(), [3, 10, 17, 24, 31, 38, 45, 52, 59, 66]);
        for radius in [1, 3, 4, 8] {
            let slow = p.dilate(radius);
            let fast = m.dilate(radius);
            assert!(slow.data.iter().zip(&fast.data).all(|(a, b)| (*a > 0.5) == (*b == 1)), "{radius}");
        }
    }
}
