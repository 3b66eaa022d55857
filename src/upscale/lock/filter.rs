//! Linear filters along one direction: a row of weights per output sample, the same one away from the ends.
//!
//! Plain loops over slices in a fixed order: they become SIMD, and a sample does not depend on how an image was cut.

/// A banded matrix from `inputs` to `outputs` samples.
#[derive(Debug)]
pub(super) struct Taps {
    outputs: usize,
    /// Output `i` in the middle begins at input `stride * i + offset`.
    stride: usize,
    offset: isize,
    middle: Vec<f32>,
    /// Start and weights of the outputs near either end.
    head: Vec<(usize, Vec<f32>)>,
    tail: Vec<(usize, Vec<f32>)>,
}

/// Keys' cubic with a = -0.5, the kernel of [`crate::resample::Filter::CatmullRom`].
fn cubic(x: f64) -> f64 {
    let a = x.abs();
    match a {
        _ if a < 1.0 => (1.5 * a - 2.5) * a * a + 1.0,
        _ if a < 2.0 => ((-0.5 * a + 2.5) * a - 4.0) * a + 2.0,
        _ => 0.0,
    }
}

/// Weights of all inputs within `radius` of `at` (in input samples), summing to 1.
fn around(at: f64, radius: f64, inputs: usize, kernel: impl Fn(f64) -> f64) -> (usize, Vec<f64>) {
    let from = ((at - radius).floor() + 1.0).max(0.0) as usize;
    let to = ((at + radius).ceil() as usize).min(inputs);
    let weights: Vec<f64> = (from..to).map(|j| kernel(j as f64 - at)).collect();
    let sum: f64 = weights.iter().sum();
    (from, weights.iter().map(|w| w / sum).collect())
}

/// Source sample `i` of `n` from a result `scale` times as large: the antialiased cubic.
fn reduced(i: usize, n: usize, scale: usize) -> (usize, Vec<f64>) {
    let s = scale as f64;
    around((i as f64 + 0.5) * s - 0.5, 2.0 * s, n * scale, |d| cubic(d / s))
}

/// Result sample `j` from `n` source samples: cubic interpolation.
fn enlarged(j: usize, n: usize, scale: usize) -> (usize, Vec<f64>) {
    around((j as f64 + 0.5) / scale as f64 - 0.5, 2.0, n, cubic)
}

/// Reach of [`Taps::sharpen`] and how far from the ends its weights differ.
pub(super) const SHARPEN_REACH: usize = 6;
const SHARPEN_ENDS: usize = 8;

impl Taps {
    fn new(outputs: usize, stride: usize, ends: usize, row: impl Fn(usize) -> (usize, Vec<f64>)) -> Self {
        let single = |i| {
            let (start, weights) = row(i);
            (start, weights.iter().map(|w| *w as f32).collect::<Vec<_>>())
        };
        let ends = if outputs > 2 * ends { ends } else { outputs };
        let head: Vec<_> = (0..ends).map(single).collect();
        let tail: Vec<_> = (outputs - ends..outputs).filter(|i| *i >= ends).map(single).collect();
        let (start, middle) = single(outputs / 2);
        Self { outputs, stride, offset: start as isize - (stride * (outputs / 2)) as isize, middle, head, tail }
    }

    /// Antialiased cubic reduction to `n` samples.
    pub fn reduce(n: usize, scale: usize) -> Self {
        Self::new(n, scale, 2, |i| reduced(i, n, scale))
    }

    /// Binomial blur, standard deviation 1 sample, reach 2.
    pub fn blur(n: usize) -> Self {
        Self::new(n, 1, 2, |i| around(i as f64, 2.5, n, |d| [6.0, 4.0, 1.0][d.abs() as usize]))
    }

    /// The inverse of enlarging and reducing again, so that reducing what was sharpened and enlarged gives the input back.
    ///
    /// Enlarging and reducing is a matrix with rows of at most 7 weights; the rows of its inverse fall off by 0.3 per
    /// sample and are cut at 6. It is inverted for a line of at most 32 samples; in longer ones the middle repeats.
    pub fn sharpen(n: usize, scale: usize) -> Self {
        let m = n.min(4 * SHARPEN_ENDS);
        let up: Vec<_> = (0..m * scale).map(|j| enlarged(j, m, scale)).collect();
        let rows: Vec<Vec<f64>> = (0..m)
            .map(|i| {
                let mut row = vec![0.0; m];
                let (from, weights) = reduced(i, m, scale);
                for (w, (start, share)) in weights.iter().zip(&up[from..]) {
                    share.iter().enumerate().for_each(|(k, v)| row[start + k] += w * v);
                }
                row
            })
            .collect();
        let inverse = invert(rows);
        Self::new(n, 1, SHARPEN_ENDS, |i| {
            let short = match n - i {
                _ if n == m || i < SHARPEN_ENDS => i,
                left if left <= SHARPEN_ENDS => m - left,
                _ => m / 2,
            };
            let (from, to) = (short.saturating_sub(SHARPEN_REACH), (short + SHARPEN_REACH + 1).min(m));
            let sum: f64 = inverse[short][from..to].iter().sum();
            (from + i - short, inverse[short][from..to].iter().map(|w| w / sum).collect())
        })
    }

    /// First input and weights of output `i`.
    pub fn at(&self, i: usize) -> (usize, &[f32]) {
        if let Some((start, weights)) = self.head.get(i) {
            return (*start, weights);
        }
        match self.tail.get((i + self.tail.len()).wrapping_sub(self.outputs)) {
            Some((start, weights)) => (*start, weights),
            None => (((self.stride * i) as isize + self.offset) as usize, &self.middle),
        }
    }

    /// One past the last input of output `i`.
    pub fn end(&self, i: usize) -> usize {
        let (start, weights) = self.at(i);
        start + weights.len()
    }

    /// Filters a line.
    pub fn line(&self, input: &[f32], out: &mut [f32]) {
        let middle = self.head.len()..(self.outputs - self.tail.len()).max(self.head.len());
        for i in (0..middle.start).chain(middle.end..self.outputs) {
            let (start, weights) = self.at(i);
            out[i] = dot(weights, &input[start..]);
        }
        if middle.is_empty() {
            return;
        }
        let first = self.at(middle.start).0;
        if self.stride == 1 {
            let shifted: Vec<&[f32]> = (0..self.middle.len()).map(|k| &input[first + k..]).collect();
            weigh(&shifted, &self.middle, &mut out[middle]);
        } else {
            let windows = input[first..].windows(self.middle.len()).step_by(self.stride);
            out[middle].iter_mut().zip(windows).for_each(|(v, window)| *v = dot(&self.middle, window));
        }
    }

    /// Output `i` of whole rows: `rows` are those of [`Taps::at`].
    pub fn rows(&self, i: usize, rows: &[&[f32]], out: &mut [f32]) {
        weigh(rows, self.at(i).1, out);
    }
}

/// Enlarges lines and rows by an integer with the cubic.
#[derive(Debug)]
pub(super) struct Enlarge {
    inputs: usize,
    scale: usize,
    /// Weights of the five inputs around input `i` for each of the `scale` outputs it covers, and the same for the two
    /// inputs at either end.
    middle: Vec<f32>,
    ends: Vec<(usize, Vec<f32>)>,
}

impl Enlarge {
    pub fn new(inputs: usize, scale: usize) -> Self {
        let block = |i: usize, n: usize| {
            let mut w = vec![0.0f32; 5 * scale];
            for p in 0..scale {
                let (start, weights) = enlarged(i * scale + p, n, scale);
                weights.iter().enumerate().for_each(|(k, v)| w[(start + k + 2 - i) * scale + p] = *v as f32);
            }
            w
        };
        let ends = (0..inputs).filter(|i| *i < 2 || *i + 2 >= inputs).map(|i| (i, block(i, inputs))).collect();
        Self { inputs, scale, middle: block(8, 17), ends }
    }

    /// Weights of inputs `i - 2 ..= i + 2`, one group of `scale` per input; zero where there is none.
    fn block(&self, i: usize) -> &[f32] {
        let at = if i < 2 { Some(i) } else { (i + self.ends.len()).checked_sub(self.inputs).filter(|_| i + 2 >= self.inputs) };
        at.map_or(&self.middle, |at| &self.ends[at].1)
    }

    /// Enlarges a line.
    pub fn line(&self, input: &[f32], out: &mut [f32]) {
        match self.scale {
            2 => self.line_by::<2>(input, out),
            3 => self.line_by::<3>(input, out),
            4 => self.line_by::<4>(input, out),
            8 => self.line_by::<8>(input, out),
            s => {
                out.fill(0.0);
                for (i, group) in out.chunks_exact_mut(s).enumerate() {
                    for (k, weights) in self.block(i).chunks_exact(s).enumerate() {
                        if let Some(v) = (i + k).checked_sub(2).and_then(|x| input.get(x)) {
                            group.iter_mut().zip(weights).for_each(|(o, w)| *o += w * v);
                        }
                    }
                }
            }
        }
    }

    fn line_by<const S: usize>(&self, input: &[f32], out: &mut [f32]) {
        let (groups, _) = out.as_chunks_mut::<S>();
        let mut middle = [[0.0f32; S]; 5];
        middle.iter_mut().zip(self.middle.as_chunks::<S>().0).for_each(|(m, w)| *m = *w);
        for (group, near) in groups.iter_mut().skip(2).zip(input.windows(5)) {
            let mut sum = [0.0f32; S];
            for (weights, v) in middle.iter().zip(near) {
                (0..S).for_each(|p| sum[p] += weights[p] * v);
            }
            *group = sum;
        }
        for (i, block) in &self.ends {
            let mut sum = [0.0f32; S];
            for (k, weights) in block.as_chunks::<S>().0.iter().enumerate() {
                if let Some(v) = (i + k).checked_sub(2).and_then(|x| input.get(x)) {
                    (0..S).for_each(|p| sum[p] += weights[p] * v);
                }
            }
            groups[*i] = sum;
        }
    }

    /// First input row and the weights (at most 5, with zeros) of output row `j`; `inputs` must cover them.
    pub fn row(&self, j: usize) -> (usize, [f32; 4]) {
        let (i, p) = (j / self.scale, j % self.scale);
        let block = self.block(i);
        // The first half of a pixel's rows leans on the row above it, the second half on the one below.
        let lead = usize::from(2 * p + 1 >= self.scale);
        let mut weights = [0.0; 4];
        weights.iter_mut().enumerate().for_each(|(k, w)| *w = block[(k + lead) * self.scale + p]);
        // Rows before the first have weight zero: shift them out.
        let missing = 2usize.saturating_sub(i + lead);
        weights.rotate_left(missing);
        (i + lead + missing - 2, weights)
    }

    /// One past the last input row of output row `j`.
    pub fn end(&self, j: usize) -> usize {
        (self.row(j).0 + 4).min(self.inputs)
    }
}

/// Sum of products, in four lanes.
fn dot(weights: &[f32], values: &[f32]) -> f32 {
    let (w4, w) = weights.as_chunks::<4>();
    let (v4, v) = values[..weights.len()].as_chunks::<4>();
    let mut sum = [0.0f32; 4];
    for (w, v) in w4.iter().zip(v4) {
        (0..4).for_each(|k| sum[k] += w[k] * v[k]);
    }
    let rest: f32 = w.iter().zip(v).map(|(w, v)| w * v).sum();
    (sum[0] + sum[2]) + (sum[1] + sum[3]) + rest
}

/// `out` = the weighted sum of `rows`, each at least as long as `out`.
fn weigh(rows: &[&[f32]], weights: &[f32], out: &mut [f32]) {
    // Blocks that stay in the first-level cache, up to eight rows at a time.
    const BLOCK: usize = 512;
    for from in (0..out.len()).step_by(BLOCK) {
        let to = (from + BLOCK).min(out.len());
        let out = &mut out[from..to];
        for (i, (r, w)) in rows.chunks(8).zip(weights.chunks(8)).enumerate() {
            match r.len() {
                8 => weigh_some::<8>(r, w, from, out, i == 0),
                7 => weigh_some::<7>(r, w, from, out, i == 0),
                6 => weigh_some::<6>(r, w, from, out, i == 0),
                5 => weigh_some::<5>(r, w, from, out, i == 0),
                4 => weigh_some::<4>(r, w, from, out, i == 0),
                3 => weigh_some::<3>(r, w, from, out, i == 0),
                2 => weigh_some::<2>(r, w, from, out, i == 0),
                _ => weigh_some::<1>(r, w, from, out, i == 0),
            }
        }
    }
}

/// Sets `out` to (or, unless `first`, adds to it) the weighted sum of `N` rows from column `from` on.
fn weigh_some<const N: usize>(rows: &[&[f32]], weights: &[f32], from: usize, out: &mut [f32], first: bool) {
    let n = out.len();
    let rows: [&[f32]; N] = std::array::from_fn(|k| &rows[k][from..from + n]);
    let weights: [f32; N] = std::array::from_fn(|k| weights[k]);
    let sum = |i: usize| {
        let mut v = weights[0] * rows[0][i];
        for k in 1..N {
            v += weights[k] * rows[k][i];
        }
        v
    };
    if first {
        out.iter_mut().enumerate().for_each(|(i, v)| *v = sum(i));
    } else {
        out.iter_mut().enumerate().for_each(|(i, v)| *v += sum(i));
    }
}

/// Gauss-Jordan inversion with row exchange; the matrices here are well conditioned (all eigenvalues in 0.2..1).
fn invert(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    let mut inverse: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for i in 0..n {
        let pivot = (i..n).max_by(|x, y| a[*x][i].abs().total_cmp(&a[*y][i].abs())).unwrap_or(i);
        a.swap(i, pivot);
        inverse.swap(i, pivot);
        let scale = 1.0 / a[i][i];
        a[i].iter_mut().chain(&mut inverse[i]).for_each(|v| *v *= scale);
        let (row, other) = (a[i].clone(), inverse[i].clone());
        for k in (0..n).filter(|k| *k != i) {
            let factor = a[k][i];
            a[k].iter_mut().zip(&row).for_each(|(v, r)| *v -= factor * r);
            inverse[k].iter_mut().zip(&other).for_each(|(v, r)| *v -= factor * r);
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Band;
    use crate::resample::{Filter, Scaler};

    fn line(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 13) % 101) as f32 / 100.0).collect()
    }

    #[test]
    fn reducing_and_enlarging_agree_with_the_scaler() {
        for scale in [2, 3, 4, 5, 8] {
            for n in [1, 2, 3, 4, 5, 6, 11, 40] {
                let large = Band { y: 0, width: n * scale, rows: 1, channels: 1, data: line(n * scale) };
                let mut got = vec![0.0; n];
                Taps::reduce(n, scale).line(&large.data, &mut got);
                let want = Scaler::new(n * scale, 1, n, 1, Filter::CatmullRom, None).unwrap().rows(&large, 0..1).unwrap();
                assert!(got.iter().zip(&want.data).all(|(a, b)| (a - b).abs() < 2e-6), "x{scale}, {n} reduced");
                let small = Band { y: 0, width: n, rows: 1, channels: 1, data: line(n) };
                let mut got = vec![0.0; n * scale];
                Enlarge::new(n, scale).line(&small.data, &mut got);
                let want = Scaler::new(n, 1, n * scale, 1, Filter::CatmullRom, None).unwrap().rows(&small, 0..1).unwrap();
                assert!(got.iter().zip(&want.data).all(|(a, b)| (a - b).abs() < 2e-6), "x{scale}, {n} enlarged");
                let up = Enlarge::new(n, scale);
                for (j, v) in want.data.iter().enumerate() {
                    let (start, weights) = up.row(j);
                    let sum: f32 = (start..up.end(j)).zip(weights).map(|(i, w)| small.data[i] * w).sum();
                    assert!((sum - v).abs() < 2e-6, "x{scale}, {n}: row {j}");
                }
            }
        }
    }

    #[test]
    fn sharpening_undoes_enlarging_and_reducing() {
        for scale in [2, 3, 4, 8] {
            for n in [1, 2, 3, 7, 16, 17, 31, 32, 33, 40, 100] {
                let given = line(n);
                let (mut sharp, mut large, mut back) = (vec![0.0; n], vec![0.0; n * scale], vec![0.0; n]);
                Taps::sharpen(n, scale).line(&given, &mut sharp);
                Enlarge::new(n, scale).line(&sharp, &mut large);
                Taps::reduce(n, scale).line(&large, &mut back);
                let worst = given.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-3, "x{scale}, {n}: {worst}");
            }
        }
    }

    #[test]
    fn rows_and_lines_agree() {
        let taps = Taps::sharpen(50, 4);
        let given = line(50);
        let mut out = vec![0.0; 50];
        taps.line(&given, &mut out);
        for (i, want) in out.iter().enumerate() {
            let (start, _) = taps.at(i);
            let rows: Vec<&[f32]> = given[start..taps.end(i)].chunks(1).collect();
            let mut one = [0.0];
            taps.rows(i, &rows, &mut one);
            assert!((one[0] - want).abs() < 1e-6);
        }
        let mut flat = vec![0.0; 9];
        Taps::blur(9).line(&[0.5; 9], &mut flat);
        assert!(flat.iter().all(|v| (v - 0.5).abs() < 1e-6));
    }
}
