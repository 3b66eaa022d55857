//! Other sizes of a plane, as two passes of weights: smoothing and reducing in one, and enlarging.
//!
//! The area mean is that of [`crate::resample::Filter::Box`]: equal weights for the pixels whose centres lie inside.

use std::ops::Range;

use rayon::prelude::*;

use super::filter;
use super::plane::{Plane, gaussian};

/// For every position of the new axis: the first old position and the weights from there on.
#[derive(Debug, Clone)]
pub struct Axis(Vec<(usize, Vec<f32>)>);

impl Axis {
    /// Means over areas; when enlarging, the nearest.
    pub fn area(from: usize, to: usize) -> Self {
        // The scaler's step and arithmetic, so that both draw the line at the same pixel.
        let unit = f64::from(2u32).powi(52 - (usize::BITS - from.leading_zeros()) as i32);
        let step = (from as f64 / to as f64 * unit).floor() / unit;
        let wide = step.max(1.0);
        let by = 1.0 / wide;
        let inside = |at: usize, middle: f64| {
            let x = (at as f64 - (middle - 0.5)) * by;
            x > -0.5 && x <= 0.5
        };
        let one = |i: usize| {
            let middle = (i as f64 + 0.5) * step;
            let low = (middle - 0.5 * wide).floor().max(0.0) as usize;
            let high = ((middle + 0.5 * wide).ceil() as usize).min(from);
            let first = (low..high).find(|&x| inside(x, middle)).unwrap_or(low.min(from - 1));
            let n = (first..high).filter(|&x| inside(x, middle)).count().max(1);
            (first, vec![1.0 / n as f32; n])
        };
        Self((0..to).map(one).collect())
    }

    /// Between the two nearest.
    pub fn linear(from: usize, to: usize) -> Self {
        let step = from as f64 / to as f64;
        let one = |i: usize| {
            let at = ((i as f64 + 0.5) * step - 0.5).clamp(0.0, (from - 1) as f64);
            let first = (at.floor() as usize).min(from.saturating_sub(2));
            let share = (at - first as f64) as f32;
            (first, if from == 1 { vec![1.0] } else { vec![1.0 - share, share] })
        };
        Self((0..to).map(one).collect())
    }

    /// Keys' cubic with a = -0.5 between the four nearest, for enlarging.
    pub fn cubic(from: usize, to: usize) -> Self {
        let step = from as f64 / to as f64;
        let key = |x: f64| match x.abs() {
            x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            _ => 0.0,
        };
        let one = |i: usize| {
            let at = (i as f64 + 0.5) * step - 0.5;
            let low = (at.floor() - 1.0).max(0.0) as usize;
            let high = ((at.floor() + 3.0) as usize).clamp(low + 1, from);
            let weights: Vec<f64> = (low..high).map(|x| key(x as f64 - at)).collect();
            let sum: f64 = weights.iter().sum();
            (low, weights.iter().map(|w| (w / sum) as f32).collect())
        };
        Self((0..to).map(one).collect())
    }

    /// The same after a convolution with symmetric taps of the old axis, edge values repeated.
    fn after(self, taps: &[f32], from: usize) -> Self {
        let radius = taps.len() / 2;
        let one = |(first, weights): (usize, Vec<f32>)| {
            let low = first.saturating_sub(radius);
            let high = (first + weights.len() + radius).min(from);
            let mut both = vec![0.0f32; high - low];
            for (i, w) in weights.iter().enumerate() {
                for (k, t) in taps.iter().enumerate() {
                    let at = (first + i + k).saturating_sub(radius).min(from - 1);
                    both[at - low] += w * t;
                }
            }
            (low, both)
        };
        Self(self.0.into_iter().map(one).collect())
    }

    /// The new row of an old one.
    pub fn apply(&self, row: &[f32], out: &mut [f32]) {
        for (o, (first, weights)) in out.iter_mut().zip(&self.0) {
            *o = dot(&row[*first..*first + weights.len()], weights);
        }
    }
}

#[inline]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    if let ([a0, a1], [b0, b1]) = (a, b) {
        return a0 * b0 + a1 * b1;
    }
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sum = [0.0f32; 8];
    for (a, b) in a8.iter().zip(b8) {
        for i in 0..8 {
            sum[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sum.iter().sum::<f32>() + rest
}

/// A rectangle of what a plane becomes when its axes change as given: columns first, then rows. For reducing.
fn reduced(p: &Plane, (x, y): (&Axis, &Axis), rows: Range<usize>) -> Plane {
    let mut out = Plane::unset(x.0.len(), rows.len());
    let mut between = vec![0.0f32; p.width];
    for ((first, weights), out) in y.0[rows].iter().zip(out.data.chunks_exact_mut(x.0.len())) {
        let from: Vec<&[f32]> = (*first..first + weights.len()).map(|y| p.row(y)).collect();
        filter::weigh(&from, weights, &mut between);
        x.apply(&between, out);
    }
    out
}

/// A rectangle of what a plane becomes when its axes change as given: rows first, then columns. For enlarging.
pub fn window(p: &Plane, axes: (&Axis, &Axis), across: Range<usize>, down: Range<usize>) -> Plane {
    window_of(p, (0, 0), axes, across, down)
}

/// The same of a plane of which `p` is the part from `from` on, as far as it is needed.
pub fn window_of(p: &Plane, from: (usize, usize), (x, y): (&Axis, &Axis), across: Range<usize>, down: Range<usize>) -> Plane {
    let mut out = Plane::unset(across.len(), down.len());
    let part = Axis(x.0[across.clone()].iter().map(|(first, weights)| (first - from.0, weights.clone())).collect());
    // The last rows of the plane at the new width.
    let mut wide: Vec<(usize, Vec<f32>)> = Vec::new();
    let mut spare: Vec<Vec<f32>> = Vec::new();
    for ((first, weights), out) in y.0[down].iter().zip(out.data.chunks_exact_mut(across.len().max(1))) {
        let needed = *first..first + weights.len();
        wide.extract_if(.., |(at, _)| !needed.contains(at)).for_each(|(_, row)| spare.push(row));
        for at in needed.clone() {
            if wide.iter().all(|(w, _)| *w != at) {
                let mut row = spare.pop().unwrap_or_else(|| vec![0.0; across.len()]);
                part.apply(p.row(at - from.1), &mut row);
                wide.push((at, row));
            }
        }
        wide.sort_by_key(|w| w.0);
        let mut few: [&[f32]; 8] = [&[]; 8];
        if wide.len() <= few.len() {
            few.iter_mut().zip(&wide).for_each(|(f, (_, row))| *f = row);
            filter::weigh(&few[..wide.len()], weights, out);
        } else {
            let from: Vec<&[f32]> = wide.iter().map(|(_, row)| row.as_slice()).collect();
            filter::weigh(&from, weights, out);
        }
    }
    out
}

/// One value of what a plane becomes when its axes change as given.
pub fn between(p: &Plane, (x, y): (&Axis, &Axis), at_x: usize, at_y: usize) -> f32 {
    let ((x0, across), (y0, down)) = (&x.0[at_x], &y.0[at_y]);
    down.iter().enumerate().map(|(i, t)| t * dot(&p.row(y0 + i)[*x0..x0 + across.len()], across)).sum()
}

/// Area means of `p` after a Gaussian of `sigma_px` (none for 0), edge values repeated.
pub fn reduce(p: &Plane, sigma_px: f32, width: usize, height: usize) -> Plane {
    if p.data.is_empty() || width == 0 || height == 0 {
        return Plane::new(width, height);
    }
    let axis = |from, to| {
        let area = Axis::area(from, to);
        if sigma_px > 0.0 { area.after(&gaussian(sigma_px), from) } else { area }
    };
    let (x, y) = (axis(p.width, width), axis(p.height, height));
    let strip = (height / 32).clamp(1, 64);
    let parts: Vec<Plane> =
        (0..height.div_ceil(strip)).into_par_iter().map(|i| reduced(p, (&x, &y), i * strip..((i + 1) * strip).min(height))).collect();
    Plane { width, height, data: parts.iter().map(|p| p.data.as_slice()).collect::<Vec<_>>().concat() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resample::Filter;

    fn waves(width: usize, height: usize) -> Plane {
        let data = (0..width * height).map(|i| ((i % width) as f32 * 0.7).sin() * ((i / width) as f32 * 0.4).cos()).collect();
        Plane { width, height, data }
    }

    fn far(a: &Plane, b: &Plane) -> f32 {
        assert_eq!((a.width, a.height), (b.width, b.height));
        a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn reducing_is_smoothing_and_then_the_area_mean() {
        let p = waves(103, 81);
        for (w, h) in [(26, 20), (51, 41), (103, 81), (41, 27), (1, 1)] {
            let slow = p.blur(1.2).resize(w, h, Filter::Box).unwrap();
            let d = far(&reduce(&p, 1.2, w, h), &slow);
            assert!(d < 2e-6, "{w}x{h}: {d}");
            assert!(far(&reduce(&p, 0.0, w, h), &p.resize(w, h, Filter::Box).unwrap()) < 2e-6, "{w}x{h}, area alone");
        }
    }

    #[test]
    fn between_two_is_what_the_scaler_gives() {
        let p = waves(26, 20);
        for (w, h) in [(103, 81), (52, 40), (26, 20)] {
            let (x, y) = (Axis::linear(26, w), Axis::linear(20, h));
            assert!(far(&window(&p, (&x, &y), 0..w, 0..h), &p.resize(w, h, Filter::Bilinear).unwrap()) < 2e-6);
            let (x, y) = (Axis::cubic(26, w), Axis::cubic(20, h));
            assert!(far(&window(&p, (&x, &y), 0..w, 0..h), &p.resize(w, h, Filter::CatmullRom).unwrap()) < 2e-6);
        }
    }
}
