//! Energy by spatial frequency and axis, window by window: where detail ends at a sharp limit, as a low-pass leaves it that rings.

use multiversion::multiversion;
use rayon::prelude::*;

use super::filter;
use super::plane::{Plane, quantile};
use super::windows::{SIDE, STEP};

/// Limits of the bands, cycles a window of 64 px (of which 32 are the finest that pixels hold).
const LIMITS: [usize; BANDS + 1] = [11, 14, 16, 19, 22, 25, 28, 33];
const BANDS: usize = 7;
/// Frequencies that are computed.
const FIRST: usize = LIMITS[0];
const COUNT: usize = LIMITS[BANDS] - FIRST;
/// Lines that are computed together: those of a cell.
const LANES: usize = STEP;
/// What rounding to 8 bits leaves of a band.
const ROUNDING: f32 = 0.4 * (0.35 / 255.0) * (0.35 / 255.0);

/// By window (64 px, half a window apart), how much further the energy falls over a band and a half than it does in the picture's
/// median window; natural logarithm, the mean of both axes, the worst of five places in the spectrum; 0 or more.
pub fn cliffs(y: &Plane) -> Plane {
    let (w, h) = ((y.width / STEP).max(2) - 1, (y.height / STEP).max(2) - 1);
    let waves = Waves::new();
    // Energies down the columns by window and cell of columns, and along the rows by cell of rows and window.
    let (columns, rows) = rayon::join(
        || {
            strips(h, |cy, blocks, out: &mut Vec<Bands>| {
                (0..=w).for_each(|cx| out.push(blocks.energies(&waves, |b, far| fill_down(y, (cx, cy + far), b))))
            })
        },
        || {
            strips(h + 1, |cy, blocks, out: &mut Vec<Bands>| {
                fill_along(y, (0, cy), &mut blocks.pair[0]);
                for cx in 0..w {
                    fill_along(y, (cx + 1, cy), &mut blocks.pair[1]);
                    out.push(energies(&blocks.pair, &mut blocks.folded, &waves));
                    blocks.pair.swap(0, 1);
                }
            })
        },
    );
    let both = |a: &Bands, b: &Bands| -> Bands { std::array::from_fn(|k| a[k] + b[k]) };
    let window = |i: usize| (i % w, i / w);
    let down = drops(w * h, |i| {
        let (x, y) = window(i);
        both(&columns[y * (w + 1) + x], &columns[y * (w + 1) + x + 1])
    });
    let along = drops(w * h, |i| {
        let (x, y) = window(i);
        both(&rows[y * w + x], &rows[(y + 1) * w + x])
    });
    let mut out = Plane::new(w, h);
    for (i, o) in out.data.iter_mut().enumerate() {
        *o = (0..BANDS - 2).map(|k| 0.5 * (down[i][k] + along[i][k])).fold(0.0, f32::max);
    }
    out
}

/// Energy by band.
type Bands = [f32; BANDS];
/// Half a window of as many lines as a cell has: one line a lane.
type Block = [[f32; LANES]; STEP];

/// What a strip works in: both halves of a window, and the window folded.
struct Blocks {
    pair: [Block; 2],
    folded: Folded,
}

impl Blocks {
    fn energies(&mut self, waves: &Waves, fill: impl Fn(&mut Block, usize)) -> Bands {
        self.pair.iter_mut().enumerate().for_each(|(far, block)| fill(block, far));
        energies(&self.pair, &mut self.folded, waves)
    }
}

/// What `f` appends for each of `n` strips, one after another.
fn strips(n: usize, f: impl Fn(usize, &mut Blocks, &mut Vec<Bands>) + Sync) -> Vec<Bands> {
    let made: Vec<Vec<Bands>> = (0..n)
        .into_par_iter()
        .map_init(
            || Box::new(Blocks { pair: [[[0.0; LANES]; STEP]; 2], folded: [[[0.0; LANES]; QUARTER]; 4] }),
            |blocks, i| {
                let mut out = Vec::new();
                f(i, blocks, &mut out);
                out
            },
        )
        .collect();
    made.concat()
}

/// A block of a cell: columns are lanes. What the picture lacks repeats its edge.
fn fill_down(y: &Plane, (cx, cy): (usize, usize), block: &mut Block) {
    for (k, row) in block.iter_mut().enumerate() {
        let from = y.row((cy * STEP + k).min(y.height - 1));
        match from.get(cx * STEP..(cx + 1) * STEP) {
            Some(part) => row.copy_from_slice(part),
            None => row.iter_mut().enumerate().for_each(|(i, v)| *v = from[(cx * STEP + i).min(y.width - 1)]),
        }
    }
}

/// The same with rows as lanes.
fn fill_along(y: &Plane, (cx, cy): (usize, usize), block: &mut Block) {
    const SIDE: usize = 8;
    if (cx + 1) * STEP > y.width || (cy + 1) * STEP > y.height {
        for (k, row) in block.iter_mut().enumerate() {
            for (i, v) in row.iter_mut().enumerate() {
                *v = y.at((cx * STEP + k) as isize, (cy * STEP + i) as isize);
            }
        }
        return;
    }
    for i in (0..STEP).step_by(SIDE) {
        let rows: [&[f32]; SIDE] = std::array::from_fn(|r| &y.row(cy * STEP + i + r)[cx * STEP..(cx + 1) * STEP]);
        for (k, out) in block.iter_mut().enumerate() {
            for (o, row) in out[i..i + SIDE].iter_mut().zip(rows) {
                *o = row[k];
            }
        }
    }
}

/// Drops of the energy of some windows over that of the picture's median window.
fn drops(n: usize, sums: impl Fn(usize) -> Bands) -> Vec<[f32; BANDS - 2]> {
    let one = |i: usize| {
        let sums = sums(i);
        let level: Bands = std::array::from_fn(|b| {
            let n = SIDE * SIDE * (LIMITS[b + 1] - LIMITS[b]);
            (sums[b] / n as f32 + ROUNDING).ln()
        });
        std::array::from_fn(|k| level[k] - level[k + 2])
    };
    let mut drops: Vec<[f32; BANDS - 2]> = (0..n).map(one).collect();
    for k in 0..BANDS - 2 {
        let mut all: Vec<f32> = drops.iter().map(|d| d[k]).collect();
        let usual = quantile(&mut all, 0.5);
        drops.iter_mut().for_each(|d| d[k] -= usual);
    }
    drops
}

/// Half of [`STEP`].
const QUARTER: usize = STEP / 2;
/// A window under a raised cosine, folded about its middle twice: the sum of values as far on either side (even) or their difference
/// (odd); and of either, the sum and the difference of values as far from a quarter of the window. About the middle a cosine is even
/// and a sine odd, and a quarter on they are the one or the other by turns, so that a quarter of a window says it all.
type Folded = [[[f32; LANES]; QUARTER]; 4];

/// The raised cosine from the middle on; and by frequency, cosine and sine from the middle on.
struct Waves {
    window: [f32; STEP],
    turns: [[(f32, f32); QUARTER]; COUNT],
}

impl Waves {
    fn new() -> Self {
        use std::f32::consts::TAU;
        let window = std::array::from_fn(|j| 0.5 - 0.5 * (TAU * (STEP + j + 1) as f32 / (SIDE + 1) as f32).cos());
        // Twice the position is whole, and so is the remainder.
        let angle = |k: usize, j: usize| TAU * ((FIRST + k) * (2 * j + 1) % (2 * SIDE)) as f32 / (2 * SIDE) as f32;
        let turns = std::array::from_fn(|k| std::array::from_fn(|j| (angle(k, j).cos(), angle(k, j).sin())));
        Self { window, turns }
    }
}

/// Energies of a window's lines by band, of all lanes together.
fn energies(pair: &[Block; 2], folded: &mut Folded, waves: &Waves) -> Bands {
    let mut sums = [0.0; BANDS];
    if filter::fuses() {
        energies_as::<true>(pair, folded, waves, &mut sums)
    } else {
        energies_as::<false>(pair, folded, waves, &mut sums)
    }
    sums
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn energies_as<const FUSED: bool>(pair: &[Block; 2], folded: &mut Folded, waves: &Waves, sums: &mut Bands) {
    let [even_sum, even_difference, odd_sum, odd_difference] = folded;
    for j in 0..QUARTER {
        let far = STEP - 1 - j;
        let (near_after, near_before) = (&pair[1][j], &pair[0][STEP - 1 - j]);
        let (far_after, far_before) = (&pair[1][far], &pair[0][STEP - 1 - far]);
        let (near_by, far_by) = (waves.window[j], waves.window[far]);
        for i in 0..LANES {
            let (near, other) = (near_by * (near_after[i] + near_before[i]), far_by * (far_after[i] + far_before[i]));
            even_sum[j][i] = near + other;
            even_difference[j][i] = near - other;
            let (near, other) = (near_by * (near_after[i] - near_before[i]), far_by * (far_after[i] - far_before[i]));
            odd_sum[j][i] = near + other;
            odd_difference[j][i] = near - other;
        }
    }
    let (mut band, mut lanes) = (0, [[0.0f32; LANES]; BANDS]);
    for (k, turns) in waves.turns.iter().enumerate() {
        if FIRST + k >= LIMITS[band + 1] {
            band += 1;
        }
        let even = (FIRST + k).is_multiple_of(2);
        let (cosines, sines) = if even { (&*even_sum, &*odd_difference) } else { (&*even_difference, &*odd_sum) };
        let (mut re, mut im) = ([0.0f32; LANES], [0.0f32; LANES]);
        for ((c, s), (cosine, sine)) in cosines.iter().zip(sines).zip(turns) {
            for i in 0..LANES {
                re[i] = filter::fused::<FUSED>(c[i], *cosine, re[i]);
                im[i] = filter::fused::<FUSED>(s[i], *sine, im[i]);
            }
        }
        for i in 0..LANES {
            lanes[band][i] += re[i] * re[i] + im[i] * im[i];
        }
    }
    for (sum, lanes) in sums.iter_mut().zip(lanes) {
        *sum = filter::total(lanes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_windows_have_the_energies_of_whole_ones() {
        let p = Plane { width: 96, height: 70, data: (0..96 * 70).map(|i| ((i * 7919) % 1013) as f32 / 1013.0).collect() };
        let waves = Waves::new();
        let mut blocks = Blocks { pair: [[[0.0; LANES]; STEP]; 2], folded: [[[0.0; LANES]; QUARTER]; 4] };
        let down = blocks.energies(&waves, |b, far| fill_down(&p, (1, far), b));
        let turned = p.transposed();
        let along = blocks.energies(&waves, |b, far| fill_along(&turned, (far, 1), b));
        let mut slow = [0.0f64; BANDS];
        for x in 32..64 {
            for k in FIRST..LIMITS[BANDS] {
                let (mut re, mut im) = (0.0f64, 0.0f64);
                for i in 0..SIDE {
                    let window = 0.5 - 0.5 * (std::f64::consts::TAU * (i + 1) as f64 / 65.0).cos();
                    let angle = std::f64::consts::TAU * (k * i) as f64 / 64.0;
                    re += window * f64::from(p.data[i * 96 + x]) * angle.cos();
                    im += window * f64::from(p.data[i * 96 + x]) * angle.sin();
                }
                let band = (0..BANDS).find(|b| k < LIMITS[b + 1]).unwrap();
                slow[band] += re * re + im * im;
            }
        }
        for b in 0..BANDS {
            assert!((f64::from(down[b]) / slow[b] - 1.0).abs() < 1e-4, "{down:?} {slow:?}");
            assert!((along[b] / down[b] - 1.0).abs() < 1e-4);
        }
    }

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
