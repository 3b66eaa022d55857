//! The ASC CDL that comes nearest to a look.

use super::Correction;
use crate::color::{White, delta_e_2000, srgb_to_lab};

/// Parameters: slope, offset, logarithm of power (three each), saturation.
const N: usize = 10;
type P = [f64; N];

/// The correction nearest to `look` on encoded values, and how far off it is: the median and the largest CIEDE2000 over a
/// grid of colours in sRGB.
pub fn nearest(look: impl Fn([f32; 3]) -> [f32; 3]) -> (Correction, f64, f64) {
    let samples = samples(9);
    let wanted: Vec<[f32; 3]> = samples.iter().map(|c| look(*c)).collect();
    let correction = levenberg_marquardt(&samples, &wanted);
    let mut off: Vec<f64> = samples
        .iter()
        .zip(&wanted)
        .map(|(c, w)| {
            let lab = |c: [f32; 3]| srgb_to_lab(c.map(|v| f64::from(v.clamp(0.0, 1.0))), White::D65);
            delta_e_2000(lab(correction.apply(*c)), lab(*w))
        })
        .collect();
    off.sort_by(f64::total_cmp);
    (correction, off[off.len() / 2], off[off.len() - 1])
}

/// `n` steps per channel.
fn samples(n: usize) -> Vec<[f32; 3]> {
    let step = |i: usize| i as f32 / (n - 1) as f32;
    (0..n * n * n).map(|i| [step(i % n), step(i / n % n), step(i / n / n)]).collect()
}

fn correction(p: &P) -> Correction {
    let three = |at: usize, f: fn(f64) -> f64| [0, 1, 2].map(|k| f(p[at + k]) as f32);
    Correction {
        id: String::new(),
        slope: three(0, |v| v.max(0.0)),
        offset: three(3, |v| v),
        power: three(6, f64::exp),
        saturation: p[9].max(0.0) as f32,
    }
}

/// Sum of squared differences, and the differences themselves.
fn residuals(p: &P, samples: &[[f32; 3]], wanted: &[[f32; 3]]) -> (f64, Vec<f64>) {
    let c = correction(p);
    let r: Vec<f64> = samples
        .iter()
        .zip(wanted)
        .flat_map(|(s, w)| (0..3).map(move |k| (k, s, w)).map(|(k, s, w)| f64::from(c.apply(*s)[k] - w[k])).collect::<Vec<_>>())
        .collect();
    (r.iter().map(|v| v * v).sum(), r)
}

/// Damped least squares with a numerical Jacobian; from the identity it converges in a few steps.
fn levenberg_marquardt(samples: &[[f32; 3]], wanted: &[[f32; 3]]) -> Correction {
    const STEP: f64 = 1e-3;
    let mut p: P = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let (mut sum, mut r) = residuals(&p, samples, wanted);
    let mut damping = 1e-3;
    for _ in 0..200 {
        let columns: Vec<Vec<f64>> = (0..N)
            .map(|i| {
                let mut q = p;
                q[i] += STEP;
                let ahead = residuals(&q, samples, wanted).1;
                ahead.iter().zip(&r).map(|(a, b)| (a - b) / STEP).collect()
            })
            .collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut better = false;
        for _ in 0..10 {
            let mut m = [[0.0; N + 1]; N];
            for i in 0..N {
                for j in 0..N {
                    m[i][j] = dot(&columns[i], &columns[j]);
                }
                m[i][i] = m[i][i] * (1.0 + damping) + 1e-9;
                m[i][N] = -dot(&columns[i], &r);
            }
            let step = solve(m);
            let mut q = p;
            (0..N).for_each(|i| q[i] = (p[i] + step[i]).clamp(-8.0, 8.0));
            let (s, next) = residuals(&q, samples, wanted);
            if s < sum {
                better = sum - s > sum * 1e-9;
                (p, sum, r) = (q, s, next);
                damping *= 0.3;
                break;
            }
            damping *= 4.0;
        }
        if !better {
            break;
        }
    }
    correction(&p)
}

/// Gauss elimination with pivots; a direction that means nothing stays 0.
fn solve(mut m: [[f64; N + 1]; N]) -> P {
    for i in 0..N {
        let pivot = (i..N).max_by(|a, b| m[*a][i].abs().total_cmp(&m[*b][i].abs())).unwrap_or(i);
        m.swap(i, pivot);
        if m[i][i].abs() < 1e-15 {
            continue;
        }
        for k in i + 1..N {
            let (f, row) = (m[k][i] / m[i][i], m[i]);
            m[k].iter_mut().zip(row).skip(i).for_each(|(v, above)| *v -= f * above);
        }
    }
    let mut x = [0.0; N];
    for i in (0..N).rev() {
        let rest: f64 = (i + 1..N).map(|j| m[i][j] * x[j]).sum();
        x[i] = if m[i][i].abs() < 1e-15 { 0.0 } else { (m[i][N] - rest) / m[i][i] };
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_cdl_is_found_again() {
        let given = Correction {
            slope: [1.1, 0.95, 0.9],
            offset: [-0.02, 0.01, 0.03],
            power: [1.1, 0.9, 1.2],
            saturation: 0.8,
            ..Correction::default()
        };
        let (found, median, most) = nearest(|c| given.apply(c));
        assert!(median < 0.05 && most < 0.5, "{median} {most} {found:?}");
        let (found, _, most) = nearest(|c| c);
        assert!(most < 1e-3, "{found:?}");
    }

    #[test]
    fn what_is_none_is_told() {
        let (_, median, most) = nearest(|[r, g, b]| [b, r, g]);
        assert!(median > 5.0 && most > 20.0, "{median} {most}");
    }
}
