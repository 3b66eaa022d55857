//! Gaussian blur of one channel.
//!
//! Wide ones work on a smaller picture: the mean of blocks that begin at multiples of their size, a narrow Gaussian over them, and
//! straight lines between their middles. Cost per pixel then hardly depends on the width.

use multiversion::multiversion;

use crate::band::Band;

/// One channel blurred with a Gaussian of `sigma` pixels, rows `from..to` of it. What lies outside of the picture is taken to be
/// like its edge; `plane` holds at least [`reach`] rows on either side, as far as the picture goes.
pub(super) fn blurred(plane: &Band, sigma: f32, from: usize, to: usize) -> Band {
    let step = step(sigma);
    if step == 1 {
        return narrow(plane, sigma, from, to);
    }
    let small = reduced(plane, step);
    // Block and share of the next one that a row or column lies at.
    let place = |at: usize, first: usize, end: usize| {
        let p = (at as f32 + 0.5) / step as f32 - 0.5;
        let block = p.floor();
        let clamped = |b: f32| (b.max(0.0) as usize).clamp(first, end - 1);
        (clamped(block), clamped(block + 1.0), p - block)
    };
    let (top, bottom) = (place(from, small.y, small.end()).0, place(to - 1, small.y, small.end()).1 + 1);
    let small = narrow(&small, small_sigma(sigma, step), top, bottom);
    let mut out = Band::new(from, plane.width, to - from, 1);
    let columns: Vec<_> = (0..plane.width).map(|x| place(x, 0, small.width)).collect();
    let mut line = vec![0.0; small.width];
    for y in from..to {
        let (a, b, t) = place(y, top, bottom);
        let (a, b) = (small.row(0, a - top), small.row(0, b - top));
        line.iter_mut().zip(a).zip(b).for_each(|((l, a), b)| *l = a + (b - a) * t);
        for (o, (a, b, t)) in out.row_mut(0, y - from).iter_mut().zip(&columns) {
            *o = line[*a] + (line[*b] - line[*a]) * t;
        }
    }
    out
}

/// Rows on either side that [`blurred`] needs.
pub(super) fn reach(sigma: f32) -> usize {
    match step(sigma) {
        1 => taps(sigma),
        // Its Gaussian, the block that a row lies between, and one that is not whole.
        step => (taps(small_sigma(sigma, step)) + 2) * step,
    }
}

/// Pixels per block: a power of two that leaves a Gaussian of two to four blocks.
fn step(sigma: f32) -> usize {
    let mut step = 1;
    while sigma >= 4.0 * step as f32 {
        step *= 2;
    }
    step
}

/// What is left to blur, in blocks: means and lines have blurred already, by the variance of a box and of a triangle.
fn small_sigma(sigma: f32, step: usize) -> f32 {
    let s = (step * step) as f32;
    ((sigma * sigma - (s - 1.0) / 12.0 - s / 6.0) / s).sqrt()
}

/// Pixels on either side that a Gaussian takes in.
fn taps(sigma: f32) -> usize {
    (3.0 * sigma).ceil().max(1.0) as usize
}

/// Means of blocks; `y` and rows of the result count blocks. A block that is cut at the top is left out.
fn reduced(plane: &Band, step: usize) -> Band {
    let (first, end) = (plane.y.div_ceil(step), plane.end().div_ceil(step));
    let mut out = Band::new(first, plane.width.div_ceil(step), end - first, 1);
    let mut sum = vec![0.0f32; plane.width];
    for block in first..end {
        let rows = block * step..((block + 1) * step).min(plane.end());
        let count = rows.len() as f32;
        sum.fill(0.0);
        for y in rows {
            sum.iter_mut().zip(plane.row(0, y - plane.y)).for_each(|(s, v)| *s += v);
        }
        for (o, part) in out.row_mut(0, block - first).iter_mut().zip(sum.chunks(step)) {
            *o = part.iter().sum::<f32>() / (count * part.len() as f32);
        }
    }
    out
}

/// The Gaussian itself, downwards and then across.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn narrow(plane: &Band, sigma: f32, from: usize, to: usize) -> Band {
    let reach = taps(sigma);
    let raw: Vec<f32> = (0..=2 * reach).map(|i| (-0.5 * ((i as f32 - reach as f32) / sigma).powi(2)).exp()).collect();
    let total: f32 = raw.iter().sum();
    let kernel: Vec<f32> = raw.iter().map(|v| v / total).collect();
    let (width, mut out) = (plane.width, Band::new(from, plane.width, to - from, 1));
    let mut padded = vec![0.0; width + 2 * reach];
    for y in from..to {
        padded.fill(0.0);
        for (i, k) in kernel.iter().enumerate() {
            let row = (y + i).saturating_sub(reach).clamp(plane.y, plane.end() - 1) - plane.y;
            padded[reach..reach + width].iter_mut().zip(plane.row(0, row)).for_each(|(o, v)| *o += k * v);
        }
        let (first, last) = (padded[reach], padded[reach + width - 1]);
        padded[..reach].fill(first);
        padded[reach + width..].fill(last);
        let row = out.row_mut(0, y - from);
        for (i, k) in kernel.iter().enumerate() {
            row.iter_mut().zip(&padded[i..]).for_each(|(o, v)| *o += k * v);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Band {
        let mut plane = Band::new(0, 203, 331, 1);
        for y in 0..331 {
            for x in 0..203 {
                let noise = ((x * 7919 + y * 104_729) % 1009) as f32 / 1009.0;
                let edge = if x > 90 && y > 140 { 0.6 } else { 0.2 };
                plane.row_mut(0, y)[x] = edge + 0.2 * noise;
            }
        }
        plane
    }

    /// The smaller picture against the Gaussian itself, at every step and between.
    #[test]
    fn wide_ones_are_close_to_a_gaussian() {
        let plane = picture();
        for sigma in [4.0, 5.5, 7.9, 8.0, 13.0, 16.1, 31.0] {
            assert!(step(sigma) > 1);
            let (got, want) = (blurred(&plane, sigma, 0, 331), narrow(&plane, sigma, 0, 331));
            for y in 0..331 {
                for x in 0..203 {
                    let inside = (40..163).contains(&x) && (40..291).contains(&y);
                    let off = (got.row(0, y)[x] - want.row(0, y)[x]).abs();
                    assert!(off < if inside { 0.006 } else { 0.03 }, "sigma {sigma} at {x}, {y}: {off}");
                }
            }
        }
    }

    #[test]
    fn rows_around_are_enough_wherever_the_cut_is() {
        let plane = picture();
        for sigma in [0.8, 3.0, 4.0, 9.0, 21.0] {
            let (whole, reach) = (blurred(&plane, sigma, 0, 331), reach(sigma));
            for (from, to) in [(0, 7), (97, 161), (100, 101), (300, 331)] {
                let part = plane.slice(usize::saturating_sub(from, reach), (to + reach).min(331));
                assert_eq!(blurred(&part, sigma, from, to), whole.slice(from, to), "sigma {sigma}, rows {from} to {to}");
            }
        }
    }

    #[test]
    fn flat_stays_flat() {
        let mut plane = Band::new(0, 50, 50, 1);
        plane.data.fill(0.4);
        for sigma in [1.0, 6.0, 20.0] {
            assert!(blurred(&plane, sigma, 0, 50).data.iter().all(|v| (v - 0.4).abs() < 1e-6));
        }
    }
}
