//! Inner loops of the separable filters, compiled for the widest vectors a machine has.

use multiversion::multiversion;

/// Values summed in registers at once.
const LANES: usize = 64;

/// `out[x] = sum of taps[i] * rows[i][x]` for an odd number of symmetric taps; rows may be longer than `out`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn down(rows: &[&[f32]], taps: &[f32], out: &mut [f32]) {
    let middle = taps.len() / 2;
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    let n = whole.len() * LANES;
    for (c, out) in whole.iter_mut().enumerate() {
        let at = c * LANES;
        let mut sum = [0.0f32; LANES];
        for (s, v) in sum.iter_mut().zip(&rows[middle][at..at + LANES]) {
            *s = taps[middle] * v;
        }
        for i in 0..middle {
            let (above, below) = (&rows[i][at..at + LANES], &rows[taps.len() - 1 - i][at..at + LANES]);
            let t = taps[i];
            for ((s, a), b) in sum.iter_mut().zip(above).zip(below) {
                *s += t * (a + b);
            }
        }
        *out = sum;
    }
    for (x, o) in rest.iter_mut().enumerate() {
        let mut sum = taps[middle] * rows[middle][n + x];
        for i in 0..middle {
            sum += taps[i] * (rows[i][n + x] + rows[taps.len() - 1 - i][n + x]);
        }
        *o = sum;
    }
}

/// `out[x] = sum of taps[i] * padded[x + i]` for an odd number of symmetric taps.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn across(padded: &[f32], taps: &[f32], out: &mut [f32]) {
    let (middle, last) = (taps.len() / 2, taps.len() - 1);
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    let n = whole.len() * LANES;
    for (c, out) in whole.iter_mut().enumerate() {
        let here = &padded[c * LANES..c * LANES + LANES + last];
        let mut sum = [0.0f32; LANES];
        for (s, v) in sum.iter_mut().zip(&here[middle..middle + LANES]) {
            *s = taps[middle] * v;
        }
        for i in 0..middle {
            let (left, right) = (&here[i..i + LANES], &here[last - i..last - i + LANES]);
            let t = taps[i];
            for ((s, a), b) in sum.iter_mut().zip(left).zip(right) {
                *s += t * (a + b);
            }
        }
        *out = sum;
    }
    for (x, o) in rest.iter_mut().enumerate() {
        let here = &padded[n + x..n + x + taps.len()];
        let mut sum = taps[middle] * here[middle];
        for i in 0..middle {
            sum += taps[i] * (here[i] + here[last - i]);
        }
        *o = sum;
    }
}

/// `out[x] = sum of taps[i] * rows[i][x]`, taps of any kind.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn weigh(rows: &[&[f32]], taps: &[f32], out: &mut [f32]) {
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    let n = whole.len() * LANES;
    for (c, out) in whole.iter_mut().enumerate() {
        let at = c * LANES;
        let mut sum = [0.0f32; LANES];
        for (t, row) in taps.iter().zip(rows) {
            for (s, v) in sum.iter_mut().zip(&row[at..at + LANES]) {
                *s += t * v;
            }
        }
        *out = sum;
    }
    for (x, o) in rest.iter_mut().enumerate() {
        *o = taps.iter().zip(rows).map(|(t, row)| t * row[n + x]).sum();
    }
}

/// `out = f(a)`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn each<F: Fn(f32) -> f32>(a: &[f32], out: &mut [f32], f: &F) {
    for (o, &a) in out.iter_mut().zip(a) {
        *o = f(a);
    }
}

/// `out = f(a, b)`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn each_pair<F: Fn(f32, f32) -> f32>(a: &[f32], b: &[f32], out: &mut [f32], f: &F) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = f(a, b);
    }
}

/// `out = f(a, b, c)`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn each_triple<F: Fn(f32, f32, f32) -> f32>(a: &[f32], b: &[f32], c: &[f32], out: &mut [f32], f: &F) {
    for (((o, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
        *o = f(a, b, c);
    }
}

/// `out = (out - other)^2`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn square_difference(out: &mut [f32], other: &[f32]) {
    for (o, &v) in out.iter_mut().zip(other) {
        *o = (*o - v) * (*o - v);
    }
}

/// `out = max(out, other)`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn raise(out: &mut [f32], other: &[f32]) {
    for (o, &v) in out.iter_mut().zip(other) {
        *o = if v > *o { v } else { *o };
    }
}

/// `sums[i] += the sum of the i-th run of side values of row`; what is left over joins the last sum.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn add_runs(row: &[f32], side: usize, sums: &mut [f32]) {
    let Some(last) = sums.len().checked_sub(1) else { return };
    match side {
        2 => add_fixed::<2>(row, sums),
        4 => add_fixed::<4>(row, sums),
        8 => add_fixed::<8>(row, sums),
        16 => add_fixed::<16>(row, sums),
        32 => add_fixed::<32>(row, sums),
        _ => {
            for (sum, run) in sums.iter_mut().zip(row.chunks_exact(side)) {
                *sum += run.iter().sum::<f32>();
            }
        }
    }
    let filled = (row.len() / side).min(sums.len());
    for v in &row[filled * side..] {
        sums[last] += v;
    }
}

#[inline(always)]
fn add_fixed<const SIDE: usize>(row: &[f32], sums: &mut [f32]) {
    for (sum, run) in sums.iter_mut().zip(row.as_chunks::<SIDE>().0) {
        // A tree of halves, so that lanes add side by side.
        let mut part = *run;
        let mut half = SIDE / 2;
        while half > 0 {
            for i in 0..half {
                part[i] += part[i + half];
            }
            half /= 2;
        }
        *sum += part[0];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_taps_agree_with_the_plain_sums() {
        let row: Vec<f32> = (0..203).map(|i| ((i * 37) % 101) as f32 / 101.0).collect();
        for side in [1, 2, 4, 5, 8, 16, 32] {
            let n = row.len() / side;
            let mut sums = vec![0.0; n];
            add_runs(&row, side, &mut sums);
            for (i, s) in sums.iter().enumerate() {
                let end = if i + 1 == n { row.len() } else { (i + 1) * side };
                assert!((s - row[i * side..end].iter().sum::<f32>()).abs() < 1e-4, "{side} {i}");
            }
        }
        let taps = [0.1, 0.2, 0.4, 0.2, 0.1];
        let mut out = vec![0.0; 199];
        across(&row, &taps, &mut out);
        for x in [0, 63, 64, 130, 198] {
            let sum: f32 = (0..5).map(|i| taps[i] * row[x + i]).sum();
            assert!((out[x] - sum).abs() < 1e-6);
        }
        let rows: Vec<&[f32]> = (0..5).map(|i| &row[i..i + 150]).collect();
        let (mut a, mut b) = (vec![0.0; 150], vec![0.0; 150]);
        down(&rows, &taps, &mut a);
        weigh(&rows, &taps, &mut b);
        assert!(a.iter().zip(&b).zip(&out).all(|((a, b), o)| (a - o).abs() < 1e-6 && (b - o).abs() < 1e-6));
    }
}
