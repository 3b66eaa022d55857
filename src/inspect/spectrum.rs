//! Energy by spatial frequency and axis, window by window: where detail ends at a sharp limit, as a low-pass leaves it that rings.

use multiversion::multiversion;
use rayon::prelude::*;

use super::plane::{Plane, quantile};
use super::windows::{SIDE, STEP};

/// Limits of the bands, cycles a window of 64 px (of which 32 are the finest that pixels hold).
const LIMITS: [usize; BANDS + 1] = [11, 14, 16, 19, 22, 25, 28, 33];
const BANDS: usize = 7;
/// Frequencies that are computed.
const FIRST: usize = LIMITS[0];
const COUNT: usize = LIMITS[BANDS] - FIRST;
/// Columns that are computed together.
const LANES: usize = 16;
/// What rounding to 8 bits leaves of a band.
const ROUNDING: f32 = 0.4 * (0.35 / 255.0) * (0.35 / 255.0);

/// By window (64 px, half a window apart), how much further the energy falls over a band and a half than it does in the picture's
/// median window; natural logarithm, the mean of both axes, the worst of five places in the spectrum; 0 or more.
pub fn cliffs(y: &Plane) -> Plane {
    let (rows, columns) = rayon::join(|| drops(y), || drops(&y.transposed()));
    let (w, h) = (rows.width, rows.height);
    let mut out = Plane::new(w, h);
    for (i, o) in out.data.iter_mut().enumerate() {
        let other = i % w * h + i / w;
        *o = (0..BANDS - 2).map(|k| 0.5 * (rows.drops[i][k] + columns.drops[other][k])).fold(0.0, f32::max);
    }
    out
}

/// Drops of the energy down the columns of a picture, by window.
struct Drops {
    width: usize,
    height: usize,
    drops: Vec<[f32; BANDS - 2]>,
}

fn drops(y: &Plane) -> Drops {
    let (width, height) = ((y.width / STEP).max(2) - 1, (y.height / STEP).max(2) - 1);
    let waves = Waves::new();
    let lines: Vec<Vec<[f32; BANDS]>> = (0..height)
        .into_par_iter()
        .map(|cy| {
            // The energy of every column goes to its cell.
            let mut cells = vec![[0.0f32; BANDS]; width + 1];
            let mut piece = [[0.0f32; LANES]; SIDE];
            for x in (0..(width + 1) * STEP).step_by(LANES) {
                for (k, row) in piece.iter_mut().enumerate() {
                    let from = y.row((cy * STEP + k).min(y.height - 1));
                    for (i, v) in row.iter_mut().enumerate() {
                        *v = from[(x + i).min(y.width - 1)];
                    }
                }
                energies(&mut piece, &waves, &mut cells[x / STEP]);
            }
            cells.windows(2).map(|c| std::array::from_fn(|b| c[0][b] + c[1][b])).collect()
        })
        .collect();
    let mut drops: Vec<[f32; BANDS - 2]> = lines
        .concat()
        .iter()
        .map(|sums| {
            let level: [f32; BANDS] = std::array::from_fn(|b| {
                let n = SIDE * SIDE * (LIMITS[b + 1] - LIMITS[b]);
                (sums[b] / n as f32 + ROUNDING).ln()
            });
            std::array::from_fn(|k| level[k] - level[k + 2])
        })
        .collect();
    for k in 0..BANDS - 2 {
        let mut all: Vec<f32> = drops.iter().map(|d| d[k]).collect();
        let usual = quantile(&mut all, 0.5);
        drops.iter_mut().for_each(|d| d[k] -= usual);
    }
    Drops { width, height, drops }
}

/// A raised cosine, and cosines and sines under it.
struct Waves {
    cosine: [[f32; SIDE]; COUNT],
    sine: [[f32; SIDE]; COUNT],
}

impl Waves {
    fn new() -> Self {
        let at = |frequency: usize, i: usize, f: fn(f32) -> f32| {
            let window = 0.5 - 0.5 * (std::f32::consts::TAU * (i + 1) as f32 / (SIDE + 1) as f32).cos();
            window * f(std::f32::consts::TAU * (frequency * i % SIDE) as f32 / SIDE as f32)
        };
        let table = |f: fn(f32) -> f32| std::array::from_fn(|k| std::array::from_fn(|i| at(FIRST + k, i, f)));
        Self { cosine: table(f32::cos), sine: table(f32::sin) }
    }
}

/// Adds the energies of columns by band.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn energies(piece: &mut [[f32; LANES]; SIDE], waves: &Waves, sums: &mut [f32; BANDS]) {
    let mut band = 0;
    for (k, (cosine, sine)) in waves.cosine.iter().zip(&waves.sine).enumerate() {
        if FIRST + k >= LIMITS[band + 1] {
            band += 1;
        }
        let (mut re, mut im) = ([0.0f32; LANES], [0.0f32; LANES]);
        for (row, (c, s)) in piece.iter().zip(cosine.iter().zip(sine)) {
            for i in 0..LANES {
                re[i] += row[i] * c;
                im[i] += row[i] * s;
            }
        }
        for i in 0..LANES {
            sums[band] += re[i] * re[i] + im[i] * im[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sharp_limit_in_a_patch_is_a_cliff_and_noise_is_none() {
        let mut state = 9u32;
        let mut noise = Plane::new(384, 320);
        for v in &mut noise.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = 0.5 + 0.1 * ((state >> 8) as f32 / (1 << 24) as f32 - 0.5);
        }
        // A windowed sinc that ends at 0.29 cycles a pixel.
        let taps: Vec<f32> = (-16..=16)
            .map(|i| {
                let x = i as f32;
                let sinc = if i == 0 { 0.58 } else { (std::f32::consts::TAU * 0.29 * x).sin() / (std::f32::consts::PI * x) };
                sinc * (0.54 + 0.46 * (x / 17.0 * std::f32::consts::PI).cos())
            })
            .collect();
        let cut = noise.separable(&taps);
        let mut patched = noise.clone();
        for y in 128..256 {
            patched.row_mut(y)[128..256].copy_from_slice(&cut.row(y)[128..256]);
        }
        let (clean, found, all) = (cliffs(&noise), cliffs(&patched), cliffs(&cut));
        assert_eq!((found.width, found.height), (11, 9));
        assert!(clean.peak().0 < 1.0 && all.peak().0 < 1.0, "{} {}", clean.peak().0, all.peak().0);
        let (peak, x, y) = found.peak();
        assert!(peak > 3.0 && (4..7).contains(&x) && (4..7).contains(&y), "{peak} at {x},{y}");
        assert_eq!(cliffs(&Plane::new(40, 20)).data, [0.0]);
    }
}
