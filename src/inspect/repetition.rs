//! Cloned texture: a piece of the picture that repeats at one distance, although the source does not.
//!
//! Windows of 64 px at half size: the circular-free autocorrelation of the fine structure (by FFT), its highest peak between 7 and
//! 36 px at half size, less what the faithful enlargement has at that lag. Real brick and cloth repeat in the source as well.
//! Raw score: the worst window's excess.

use std::sync::LazyLock;

use multiversion::multiversion;
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
    let worth: Vec<usize> = (0..cols * rows).filter(|i| energy(&c, i % cols * STEP, i / cols * STEP) >= 0.15).collect();
    // Two real windows are one complex one.
    let pairs: Vec<Vec<(usize, (f32, f32))>> = worth
        .par_chunks(2)
        .map_init(
            || Box::new([[0.0f32; FFT * FFT]; 2]),
            |planes, pair| {
                let windows = [0, 1].map(|k| pair.get(k).map(|i| (i % cols * STEP, i / cols * STEP)));
                correlate(&c, windows, planes);
                pair.iter().zip(planes.iter()).map(|(i, own)| (*i, excess(own, &f, i % cols * STEP, i / cols * STEP))).collect()
            },
        )
        .collect();
    let mut found = vec![(0.0f32, 0.0f32); cols * rows];
    pairs.into_iter().flatten().for_each(|(i, v)| found[i] = v);
    let plane = |pick: fn(&(f32, f32)) -> f32| Plane { width: cols, height: rows, data: found.iter().map(pick).collect() };
    let (map, lags) = (plane(|v| v.0), plane(|v| v.1));
    let note = move |s: &Spot| {
        let lag = s.worst_in(&lags);
        format!("this texture repeats every {lag:.0} px, the source does not: {:.0} % more alike than there", s.raw * 100.0)
    };
    Outcome::Measured(Measured::peak(map, note))
}

/// Mean square of a window.
fn energy(p: &Plane, x0: usize, y0: usize) -> f32 {
    let rows = (y0..y0 + SIDE).map(|y| p.row(y)[x0..x0 + SIDE].iter().map(|v| v * v).sum::<f32>());
    rows.sum::<f32>() / (SIDE * SIDE) as f32
}

/// How much better the best lag matches than in the faithful enlargement, and that lag in output pixels; from a window's
/// autocorrelation.
fn excess(own: &[f32; FFT * FFT], f: &Plane, x0: usize, y0: usize) -> (f32, f32) {
    let mut best = (0.0f32, 0i32, 0i32);
    for dy in 0..=LAGS.1 {
        for dx in -LAGS.1..=LAGS.1 {
            if (dy == 0 && dx <= 0) || ((dx * dx + dy * dy) as f32) <= LAGS.0 * LAGS.0 {
                continue;
            }
            let rho = at(own, dx, dy);
            if rho > best.0 {
                best = (rho, dx, dy);
            }
        }
    }
    let (rho, dx, dy) = best;
    if rho < 0.3 {
        return (0.0, 0.0);
    }
    let zero = energy(f, x0, y0).max(1e-9);
    let around = (-1..=1).flat_map(|u| (-1..=1).map(move |v| (u, v)));
    let there = around.map(|(u, v)| alike(f, (x0, y0), dx + u, dy + v) / zero).fold(f32::NEG_INFINITY, f32::max);
    // A multiple of the true distance may match as well: the shortest that does is told.
    let part = |k: &i32| dx % k == 0 && dy % k == 0 && at(own, dx / k, dy / k) > 0.85 * rho;
    let k = [4, 3, 2].into_iter().find(part).unwrap_or(1) as f32;
    ((rho - there.max(0.0)).max(0.0), 2.0 * (dx as f32).hypot(dy as f32) / k)
}

/// The normalised correlation at a lag, over the part that overlaps.
fn at(correlation: &[f32; FFT * FFT], dx: i32, dy: i32) -> f32 {
    let wrap = |v: i32| v.rem_euclid(FFT as i32) as usize;
    let overlap = (SIDE as i32 - dx.abs()).max(1) * (SIDE as i32 - dy.abs()).max(1);
    let zero = correlation[0] / (SIDE * SIDE) as f32;
    correlation[wrap(dy) * FFT + wrap(dx)] / overlap as f32 / zero.max(1e-9)
}

/// The mean product of a window with itself at one lag, over the part that overlaps.
fn alike(p: &Plane, (x0, y0): (usize, usize), dx: i32, dy: i32) -> f32 {
    let (n, across, down) = (SIDE as i32, dx.abs(), dy.abs());
    if across >= n || down >= n {
        return 0.0;
    }
    // The lag and its opposite have the same sum.
    let dx = if dy < 0 { -dx } else { dx };
    let wide = (n - across) as usize;
    let (left, right) = (x0 + (-dx).max(0) as usize, x0 + dx.max(0) as usize);
    let sum: f32 = (0..(n - down) as usize)
        .map(|y| {
            let (a, b) = (&p.row(y0 + y)[left..left + wide], &p.row(y0 + y + down as usize)[right..right + wide]);
            a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()
        })
        .sum();
    sum / (wide as f32 * (n - down) as f32)
}

/// Sums of products of one or two windows with themselves at every lag; zero-padded so that nothing wraps. Of lags down the
/// columns only those up to [`LAGS`] are made.
fn correlate(p: &Plane, windows: [Option<(usize, usize)>; 2], out: &mut [[f32; FFT * FFT]; 2]) {
    let [re, im] = out;
    for (plane, window) in [&mut *re, &mut *im].into_iter().zip(windows) {
        plane.fill(0.0);
        if let Some((x0, y0)) = window {
            for (y, row) in plane.chunks_exact_mut(FFT).take(SIDE).enumerate() {
                row[..SIDE].copy_from_slice(&p.row(y0 + y)[x0..x0 + SIDE]);
            }
        }
    }
    // Columns first: half of them are empty.
    columns(re, im, SIDE);
    transpose(re);
    transpose(im);
    columns(re, im, FFT);
    // The spectra of the two windows are A = (Z(k) + Z*(-k)) / 2 and B = (Z(k) - Z*(-k)) / 2i; wanted is |A|^2 + i |B|^2.
    for y in 0..FFT {
        for x in 0..FFT {
            let (k, m) = (y * FFT + x, (FFT - y) % FFT * FFT + (FFT - x) % FFT);
            if k > m {
                continue;
            }
            let (sum, difference) = ((re[k] + re[m], im[k] - im[m]), (im[k] + im[m], re[m] - re[k]));
            let (a, b) = (sum.0 * sum.0 + sum.1 * sum.1, difference.0 * difference.0 + difference.1 * difference.1);
            (re[k], im[k]) = (0.25 * a, 0.25 * b);
            (re[m], im[m]) = (re[k], im[k]);
        }
    }
    // Even spectra: forward and backward transforms agree up to the factor.
    columns(re, im, FFT);
    transpose(re);
    transpose(im);
    columns(re, im, FFT);
    let n = 1.0 / (FFT * FFT) as f32;
    re.iter_mut().chain(im.iter_mut()).for_each(|v| *v *= n);
}

fn transpose(p: &mut [f32; FFT * FFT]) {
    const TILE: usize = 16;
    for y0 in (0..FFT).step_by(TILE) {
        for x0 in (y0..FFT).step_by(TILE) {
            for y in y0..y0 + TILE {
                for x in x0.max(y + 1)..x0 + TILE {
                    p.swap(y * FFT + x, x * FFT + y);
                }
            }
        }
    }
}

/// Transforms the first `many` columns in place by radix 2 (Cooley and Tukey 1965), all columns of a row together.
fn columns(re: &mut [f32; FFT * FFT], im: &mut [f32; FFT * FFT], many: usize) {
    static TURNS: LazyLock<Vec<(f32, f32)>> = LazyLock::new(|| {
        (0..FFT / 2)
            .map(|k| {
                let (s, c) = (-2.0 * std::f64::consts::PI * k as f64 / FFT as f64).sin_cos();
                (c as f32, s as f32)
            })
            .collect()
    });
    let bits = FFT.trailing_zeros();
    for i in 0..FFT {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            for plane in [&mut *re, &mut *im] {
                let (low, high) = plane.split_at_mut(j * FFT);
                low[i * FFT..i * FFT + many].swap_with_slice(&mut high[..many]);
            }
        }
    }
    let mut half = 1;
    while half < FFT {
        let stride = FFT / (2 * half);
        for start in (0..FFT).step_by(2 * half) {
            for k in 0..half {
                let (a, b) = ((start + k) * FFT, (start + k + half) * FFT);
                let (low_re, high_re) = re.split_at_mut(b);
                let (low_im, high_im) = im.split_at_mut(b);
                butterfly(
                    (&mut low_re[a..a + many], &mut low_im[a..a + many]),
                    (&mut high_re[..many], &mut high_im[..many]),
                    TURNS[k * stride],
                );
            }
        }
        half *= 2;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn butterfly(a: (&mut [f32], &mut [f32]), b: (&mut [f32], &mut [f32]), (c, s): (f32, f32)) {
    for (((ar, ai), br), bi) in a.0.iter_mut().zip(a.1.iter_mut()).zip(b.0.iter_mut()).zip(b.1.iter_mut()) {
        let (tr, ti) = (*br * c - *bi * s, *br * s + *bi * c);
        (*br, *bi) = (*ar - tr, *ai - ti);
        (*ar, *ai) = (*ar + tr, *ai + ti);
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
        let plane = Plane { width: SIDE, height: SIDE, data: window.clone() };
        let mut both = Box::new([[0.0f32; FFT * FFT]; 2]);
        correlate(&plane, [Some((0, 0)), None], &mut both);
        let [fast, none] = &*both;
        assert!(none.iter().all(|v| v.abs() < 1e-3));
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
            let overlap = ((SIDE as i32 - dx.abs()) * (SIDE as i32 - dy.abs())) as f32;
            assert!((alike(&plane, (0, 0), dx, dy) - got / overlap).abs() < 1e-5);
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
        let lag: f32 = (m.note)(&spot).split("every ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        // Along a side of the cloned piece, or across it.
        assert!([36.0, 51.0, 72.0, 80.0].contains(&lag), "{}", (m.note)(&spot));
        assert!(run(&cloned, &cloned).score < 0.05 && run(&truth, &truth).score < 0.05);
    }
}
