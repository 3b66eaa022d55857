//! Cloned texture: a piece of the picture that repeats at one distance, although the source does not.
//!
//! Windows of 64 px at half size: the circular-free autocorrelation of the fine structure (by FFT), its highest peak between 7 and
//! 36 px at half size, less what the faithful enlargement has at that lag. Real brick and cloth repeat in the source as well.
//! Raw score: the worst window's excess.

use rayon::prelude::*;

use super::plane::Plane;
use super::scene::normalised;
use super::{Measured, Outcome, Scene, Spot};

/// Side of a window and its step, at half size; side of the transform.
const SIDE: usize = 64;
const STEP: usize = 32;
const FFT: usize = 128;
/// Lags looked at.
const LAGS: (f32, i32) = (7.0, 36);

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let Some(f) = scene.faithful_luma() else {
        return Outcome::NotApplicable("there is no source to tell clones from real repetition");
    };
    let c = scene.luma();
    if c.width < 2 * SIDE || c.height < 2 * SIDE {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    let (c, f) = (normalised(&c.cells(2)), normalised(&f.cells(2)));
    let (cols, rows) = ((c.width - SIDE) / STEP + 1, (c.height - SIDE) / STEP + 1);
    let found: Vec<(f32, f32)> = (0..cols * rows).into_par_iter().map(|i| excess(&c, &f, i % cols * STEP, i / cols * STEP)).collect();
    let plane = |pick: fn(&(f32, f32)) -> f32| Plane { width: cols, height: rows, data: found.iter().map(pick).collect() };
    let (map, lags) = (plane(|v| v.0), plane(|v| v.1));
    let note = move |s: &Spot| {
        let lag = s.worst_in(&lags);
        format!("this texture repeats every {lag:.0} px, the source does not: {:.0} % more alike than there", s.raw * 100.0)
    };
    Outcome::Measured(Measured::peak(map, note))
}

/// How much better the best lag matches than in the faithful enlargement, and that lag in output pixels.
fn excess(c: &Plane, f: &Plane, x0: usize, y0: usize) -> (f32, f32) {
    let window = |p: &Plane| -> Vec<f32> { (y0..y0 + SIDE).flat_map(|y| p.row(y)[x0..x0 + SIDE].iter().copied()).collect() };
    let mine = window(c);
    let energy = mine.iter().map(|v| v * v).sum::<f32>() / mine.len() as f32;
    if energy < 0.15 {
        return (0.0, 0.0);
    }
    let own = autocorrelation(&mine);
    let mut best = (0.0f32, 0i32, 0i32);
    for dy in 0..=LAGS.1 {
        for dx in -LAGS.1..=LAGS.1 {
            if (dy == 0 && dx <= 0) || ((dx * dx + dy * dy) as f32) <= LAGS.0 * LAGS.0 {
                continue;
            }
            let rho = at(&own, dx, dy);
            if rho > best.0 {
                best = (rho, dx, dy);
            }
        }
    }
    let (rho, dx, dy) = best;
    if rho < 0.3 {
        return (0.0, 0.0);
    }
    let theirs = autocorrelation(&window(f));
    let around = (-1..=1).flat_map(|u| (-1..=1).map(move |v| (u, v)));
    let there = around.map(|(u, v)| at(&theirs, dx + u, dy + v)).fold(f32::NEG_INFINITY, f32::max);
    ((rho - there.max(0.0)).max(0.0), 2.0 * (dx as f32).hypot(dy as f32))
}

/// The normalised correlation at a lag, over the part that overlaps.
fn at(correlation: &[f32], dx: i32, dy: i32) -> f32 {
    let wrap = |v: i32| v.rem_euclid(FFT as i32) as usize;
    let overlap = (SIDE as i32 - dx.abs()).max(1) * (SIDE as i32 - dy.abs()).max(1);
    let zero = correlation[0] / (SIDE * SIDE) as f32;
    correlation[wrap(dy) * FFT + wrap(dx)] / overlap as f32 / zero.max(1e-9)
}

/// Sums of products of a window with itself at every lag; `FFT` x `FFT`, zero-padded so that nothing wraps.
fn autocorrelation(window: &[f32]) -> Vec<f32> {
    let (mut re, mut im) = (vec![0.0f32; FFT * FFT], vec![0.0f32; FFT * FFT]);
    for (y, row) in window.chunks_exact(SIDE).enumerate() {
        re[y * FFT..y * FFT + SIDE].copy_from_slice(row);
    }
    transform(&mut re, &mut im);
    for (r, i) in re.iter_mut().zip(&mut im) {
        (*r, *i) = (*r * *r + *i * *i, 0.0);
    }
    // The power spectrum is even: forward and backward transforms agree up to the factor.
    transform(&mut re, &mut im);
    let n = (FFT * FFT) as f32;
    re.iter().map(|v| v / n).collect()
}

/// Two-dimensional FFT of `FFT` x `FFT` values: rows, then columns.
fn transform(re: &mut [f32], im: &mut [f32]) {
    for (r, i) in re.chunks_exact_mut(FFT).zip(im.chunks_exact_mut(FFT)) {
        fft(r, i);
    }
    let (mut r, mut i) = ([0.0f32; FFT], [0.0f32; FFT]);
    for x in 0..FFT {
        for y in 0..FFT {
            (r[y], i[y]) = (re[y * FFT + x], im[y * FFT + x]);
        }
        fft(&mut r, &mut i);
        for y in 0..FFT {
            (re[y * FFT + x], im[y * FFT + x]) = (r[y], i[y]);
        }
    }
}

/// Radix-2 transform in place (Cooley and Tukey 1965); the length is a power of two.
fn fft(re: &mut [f32], im: &mut [f32]) {
    use std::sync::LazyLock;
    static TURNS: LazyLock<Vec<(f32, f32)>> = LazyLock::new(|| {
        (0..FFT / 2)
            .map(|k| {
                let (s, c) = (-2.0 * std::f64::consts::PI * k as f64 / FFT as f64).sin_cos();
                (c as f32, s as f32)
            })
            .collect()
    });
    let n = re.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            re.swap(i, j);
            im.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        let stride = FFT / (2 * half);
        for start in (0..n).step_by(2 * half) {
            for k in 0..half {
                let (c, s) = TURNS[k * stride];
                let (a, b) = (start + k, start + k + half);
                let (tr, ti) = (re[b] * c - im[b] * s, re[b] * s + im[b] * c);
                (re[b], im[b]) = (re[a] - tr, im[a] - ti);
                (re[a], im[a]) = (re[a] + tr, im[a] + ti);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;

    fn random(width: usize, height: usize) -> Plane {
        let mut state = 9u32;
        let mut p = Plane::new(width, height);
        for v in &mut p.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (state >> 8) as f32 / (1 << 24) as f32;
        }
        p.blur(1.5).map(|v| 0.5 + 1.5 * (v - 0.5))
    }

    #[test]
    fn the_transform_agrees_with_the_sum() {
        let p = random(SIDE, SIDE);
        let mean = p.data.iter().sum::<f32>() / p.data.len() as f32;
        let window: Vec<f32> = p.data.iter().map(|v| v - mean).collect();
        let fast = autocorrelation(&window);
        for (dx, dy) in [(0i32, 0i32), (3, 0), (-7, 5), (20, 31)] {
            let mut sum = 0.0f64;
            for y in 0..SIDE as i32 {
                for x in 0..SIDE as i32 {
                    let (u, v) = (x + dx, y + dy);
                    if (0..SIDE as i32).contains(&u) && (0..SIDE as i32).contains(&v) {
                        sum += f64::from(window[(y * SIDE as i32 + x) as usize]) * f64::from(window[(v * SIDE as i32 + u) as usize]);
                    }
                }
            }
            let got = fast[dy.rem_euclid(FFT as i32) as usize * FFT + dx.rem_euclid(FFT as i32) as usize];
            assert!((f64::from(got) - sum).abs() < 1e-3 * (1.0 + sum.abs()), "{dx},{dy}: {got} {sum}");
        }
    }

    #[test]
    fn clones_count_and_repetition_of_the_source_does_not() {
        let truth = random(384, 320);
        let mut cloned = truth.clone();
        for y in 96..256 {
            for x in 96..288 {
                cloned.data[y * 384 + x] = truth.data[(100 + y % 36) * 384 + 100 + x % 36];
            }
        }
        let run = |c: &Plane, f: &Plane| {
            let of = |p: &Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
            let mut scene = Scene::alone(of(c));
            scene.faithful = Some(of(f));
            match measure(&scene) {
                Outcome::Measured(m) => m,
                Outcome::NotApplicable(why) => panic!("{why}"),
            }
        };
        let m = run(&cloned, &truth);
        assert!(m.score > 0.5, "{}", m.score);
        let spot = super::super::regions::find(&m.map, &m, (384, 320), f64::from(m.score) - 0.01).remove(0);
        assert!((m.note)(&spot).contains("every 36 px"), "{}", (m.note)(&spot));
        assert!(run(&cloned, &cloned).score < 0.05 && run(&truth, &truth).score < 0.05);
    }
}
