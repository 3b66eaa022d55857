//! What the source does not explain of the reduced result.
//!
//! The result, reduced to the source's size, is fitted to the source by one global robust regression on itself, its first and
//! second derivatives and the Laplacian of its Laplacian: gain, offset, sub-pixel phase and an unknown blur drop out. What
//! remains is judged against what is usual for places of equal contrast in the same picture.

use multiversion::multiversion;

use super::filter;
use super::plane::{Plane, quantile};

/// The residual of a fit, at the source's size.
#[derive(Debug, Clone, Default)]
pub struct Residual {
    /// Source minus fit, without its low frequencies (sigma 8 px), nominal -1..1.
    pub value: Plane,
    /// Local residual over what is usual at places of this contrast; about 1 where all is well.
    pub relative: Plane,
}

const TERMS: usize = 8;

/// Fits `reduced` to `source` (both luma, one size).
pub fn fit(source: &Plane, reduced: &Plane) -> Residual {
    let basis = basis(reduced);
    let n = source.data.len();
    let mut weights = vec![1.0f32; n];
    let mut residual = vec![0.0f32; n];
    for _ in 0..4 {
        let solution = solve(&basis, &source.data, &weights);
        explain(&basis, &source.data, &solution.map(|v| v as f32), &mut residual);
        let mut sizes: Vec<f32> = residual.iter().map(|r| r.abs()).collect();
        let scale = 2.0 * (1.4826 * quantile(&mut sizes, 0.5) + 0.5 / 255.0);
        filter::each(&residual, &mut weights, &|r| 1.0 / (1.0 + (r / scale) * (r / scale)));
    }
    let raw = Plane { width: source.width, height: source.height, data: residual };
    let value = raw.zip(&raw.blur(8.0), |r, m| r - m);
    let size = value.map(|v| v * v).blur(1.3).map(f32::sqrt);
    let contrast = source.variance(1.0).blur(1.3).map(f32::sqrt);
    let usual = Bins::new(&size, &contrast).usual(0.5, true);
    let relative = size.zip(&contrast.map(|c| usual.at(c)), |e, u| e / (u + 0.0015));
    Residual { value, relative }
}

/// Reduced, its derivatives, the Laplacian of its Laplacian, and 1.
fn basis(d: &Plane) -> [Vec<f32>; TERMS] {
    let (dx, dy) = d.gradients();
    let second = |p: &Plane| {
        let (w, h) = (p.width, p.height);
        let [mut xx, mut yy, mut xy] = [Plane::new(w, h), Plane::new(w, h), Plane::new(w, h)];
        for y in 0..h {
            let (up, down) = (p.row(y.saturating_sub(1)), p.row((y + 1).min(h - 1)));
            let row = p.row(y);
            for x in 0..w {
                let (l, r) = (x.saturating_sub(1), (x + 1).min(w - 1));
                xx.data[y * w + x] = row[r] - 2.0 * row[x] + row[l];
                yy.data[y * w + x] = down[x] - 2.0 * row[x] + up[x];
                xy.data[y * w + x] = 0.25 * (down[r] + up[l] - up[r] - down[l]);
            }
        }
        (xx, yy, xy)
    };
    let (xx, yy, xy) = second(d);
    let laplacian = xx.zip(&yy, |a, b| a + b);
    let (a, b, _) = second(&laplacian);
    let bilaplacian = a.zip(&b, |a, b| a + b);
    let ones = Plane { width: d.width, height: d.height, data: vec![1.0; d.data.len()] };
    [d.clone(), dx, dy, xx, yy, xy, bilaplacian, ones].map(Plane::into_data)
}

/// Target minus the fit.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn explain(basis: &[Vec<f32>; TERMS], target: &[f32], solution: &[f32; TERMS], residual: &mut [f32]) {
    residual.copy_from_slice(target);
    for (s, term) in solution.iter().zip(basis) {
        for (r, t) in residual.iter_mut().zip(term) {
            *r -= s * t;
        }
    }
}

/// Values whose products are summed at once, in lanes.
const PIECE: usize = 256;
const LANES: usize = 16;

/// Adds the weighted products of all terms, and with the target, to a matrix.
// Indices of a matrix that is read and written at once.
#[allow(clippy::needless_range_loop)]
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn products(basis: &[Vec<f32>; TERMS], target: &[f32], weights: &[f32], m: &mut [[f64; TERMS + 1]; TERMS]) {
    let n = target.len();
    let mut values = [[0.0f64; PIECE]; TERMS + 1];
    for from in (0..n).step_by(PIECE) {
        let to = (from + PIECE).min(n);
        // What is missing at the end counts as 0.
        for (t, v) in values.iter_mut().enumerate() {
            let slice = if t < TERMS { &basis[t][from..to] } else { &target[from..to] };
            v[slice.len()..].fill(0.0);
            v.iter_mut().zip(slice).for_each(|(v, s)| *v = f64::from(*s));
        }
        let mut weighed = [0.0f64; PIECE];
        for a in 0..TERMS {
            for ((w, v), s) in weighed.iter_mut().zip(&values[a]).zip(&weights[from..to]) {
                *w = v * f64::from(*s);
            }
            weighed[to - from..].fill(0.0);
            for b in a..=TERMS {
                let mut sum = [0.0f64; LANES];
                for (x, y) in weighed.as_chunks::<LANES>().0.iter().zip(values[b].as_chunks::<LANES>().0) {
                    for i in 0..LANES {
                        sum[i] += x[i] * y[i];
                    }
                }
                m[a][b] += sum.iter().sum::<f64>();
            }
        }
    }
}

/// Weighted least squares by normal equations.
// Indices of a matrix that is read and written at once.
#[allow(clippy::needless_range_loop)]
fn solve(basis: &[Vec<f32>; TERMS], target: &[f32], weights: &[f32]) -> [f64; TERMS] {
    let mut m = [[0.0f64; TERMS + 1]; TERMS];
    products(basis, target, weights, &mut m);
    for a in 0..TERMS {
        for b in 0..a {
            m[a][b] = m[b][a];
        }
        m[a][a] += 1e-9 * target.len() as f64;
    }
    // Gauss with pivots: eight unknowns.
    for a in 0..TERMS {
        let best = (a..TERMS).max_by(|&i, &j| m[i][a].abs().total_cmp(&m[j][a].abs())).unwrap_or(a);
        m.swap(a, best);
        if m[a][a].abs() < 1e-30 {
            continue;
        }
        for i in a + 1..TERMS {
            let factor = m[i][a] / m[a][a];
            for j in a..=TERMS {
                m[i][j] -= factor * m[a][j];
            }
        }
    }
    let mut x = [0.0; TERMS];
    for a in (0..TERMS).rev() {
        let known: f64 = (a + 1..TERMS).map(|b| m[a][b] * x[b]).sum();
        x[a] = if m[a][a].abs() < 1e-30 { 0.0 } else { (m[a][TERMS] - known) / m[a][a] };
    }
    x
}

/// Values among places with about the same of another measure: eight bins of equal count.
#[derive(Debug)]
pub struct Bins(Vec<(f32, Vec<f32>)>);

/// What is usual, by that other measure; linear between the middles of the bins.
#[derive(Debug)]
pub struct Usual(Vec<(f32, f32)>);

impl Bins {
    /// Sorts `value` into bins of equal count of `by`.
    pub fn new(value: &Plane, by: &Plane) -> Self {
        const BINS: usize = 8;
        let mut pairs: Vec<(f32, f32)> = by.data.iter().copied().zip(value.data.iter().copied()).collect();
        let size = pairs.len().div_ceil(BINS).max(1);
        part(&mut pairs, size);
        let bins = pairs.chunks_mut(size).map(|bin| {
            let middle = bin.select_nth_unstable_by(bin.len() / 2, |a, b| a.0.total_cmp(&b.0)).1.0;
            (middle, bin.iter().map(|p| p.1).collect())
        });
        Self(bins.collect())
    }

    /// The `q` quantile of every bin; with `rising` it never falls from bin to bin.
    pub fn usual(&self, q: f32, rising: bool) -> Usual {
        let mut knots: Vec<(f32, f32)> = Vec::new();
        for (middle, values) in &self.0 {
            let v = quantile(&mut values.clone(), q);
            let floor = if rising { knots.last().map_or(v, |k| k.1) } else { v };
            knots.push((*middle, v.max(floor)));
        }
        Usual(knots)
    }
}

/// Orders pairs so far that every run of `size` holds smaller first values than those after it.
fn part(pairs: &mut [(f32, f32)], size: usize) {
    let runs = pairs.len().div_ceil(size);
    if runs < 2 {
        return;
    }
    let at = runs / 2 * size;
    pairs.select_nth_unstable_by(at, |a, b| a.0.total_cmp(&b.0));
    let (low, high) = pairs.split_at_mut(at);
    part(low, size);
    part(high, size);
}

impl Usual {
    /// What is usual where the other measure is `at`.
    pub fn at(&self, at: f32) -> f32 {
        let knots = &self.0;
        let above = knots.iter().take_while(|k| k.0 < at).count();
        match (above.checked_sub(1).map(|i| knots[i]), knots.get(above)) {
            (None, Some(k)) => k.1,
            (Some(k), None) => k.1,
            (Some(a), Some(b)) if b.0 > a.0 => a.1 + (b.1 - a.1) * (at - a.0) / (b.0 - a.0),
            (Some(_), Some(b)) => b.1,
            (None, None) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wavy(width: usize, height: usize, shift: f32) -> Plane {
        let mut p = Plane::new(width, height);
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 + shift, y as f32);
                p.data[y * width + x] = 0.5 + 0.15 * (u * 0.31).sin() * (v * 0.17).cos() + 0.1 * (u * 0.05 + v * 0.4).sin();
            }
        }
        p
    }

    #[test]
    fn gain_offset_and_a_shift_leave_nothing() {
        let source = wavy(80, 60, 0.0);
        let drifted = wavy(80, 60, 0.3).map(|v| 0.97 * v + 0.02);
        let r = fit(&source, &drifted);
        let inside = |p: &Plane| (10..50).flat_map(|y| p.row(y)[10..70].to_vec()).fold(0.0f32, |a, v| a.max(v.abs()));
        assert!(inside(&r.value) < 1.0 / 255.0, "{}", inside(&r.value));
    }

    #[test]
    fn what_is_not_in_the_source_stands_out() {
        let source = wavy(80, 60, 0.0);
        let mut other = source.clone();
        for y in 28..34 {
            for x in 38..44 {
                other.data[y * 80 + x] += 0.08;
            }
        }
        let (peak, x, y) = fit(&source, &other).relative.peak();
        assert!(peak > 4.0 && (36..46).contains(&x) && (26..36).contains(&y), "{peak} at {x},{y}");
    }

    #[test]
    fn bins_follow_the_median() {
        let by = Plane { width: 400, height: 1, data: (0..400).map(|i| i as f32).collect() };
        let value = by.map(|v| 2.0 * v);
        let m = Bins::new(&value, &by).usual(0.5, true);
        assert!((m.at(200.0) - 400.0).abs() < 4.0);
        assert!((0..400).all(|i| m.at(i as f32 + 1.0) >= m.at(i as f32)));
    }
}
