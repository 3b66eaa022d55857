//! Inner loops of the separable filters, compiled for the widest vectors a machine has.

use multiversion::multiversion;

/// Values summed in registers at once.
const LANES: usize = 64;

/// Whether a product and a sum are one instruction here.
pub fn fuses() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// `a * b + c`, in one instruction if there is one: without it the exact result costs a call.
#[inline(always)]
pub fn fused<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `out[x] = sum of taps[i] * rows[i][x]` for an odd number of symmetric taps; rows may be longer than `out`.
pub fn down(rows: &[&[f32]], taps: &[f32], out: &mut [f32]) {
    if fuses() { down_as::<true>(rows, taps, out) } else { down_as::<false>(rows, taps, out) }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn down_as<const FUSED: bool>(rows: &[&[f32]], taps: &[f32], out: &mut [f32]) {
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
                *s = fused::<FUSED>(t, a + b, *s);
            }
        }
        *out = sum;
    }
    for (x, o) in rest.iter_mut().enumerate() {
        let mut sum = taps[middle] * rows[middle][n + x];
        for i in 0..middle {
            sum = fused::<FUSED>(taps[i], rows[i][n + x] + rows[taps.len() - 1 - i][n + x], sum);
        }
        *o = sum;
    }
}

/// `out[x] = sum of taps[i] * padded[x + i]` for an odd number of symmetric taps.
pub fn across(padded: &[f32], taps: &[f32], out: &mut [f32]) {
    if fuses() { across_as::<true>(padded, taps, out) } else { across_as::<false>(padded, taps, out) }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn across_as<const FUSED: bool>(padded: &[f32], taps: &[f32], out: &mut [f32]) {
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
                *s = fused::<FUSED>(t, a + b, *s);
            }
        }
        *out = sum;
    }
    for (x, o) in rest.iter_mut().enumerate() {
        let here = &padded[n + x..n + x + taps.len()];
        let mut sum = taps[middle] * here[middle];
        for i in 0..middle {
            sum = fused::<FUSED>(taps[i], here[i] + here[last - i], sum);
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

/// Squares of the gradient's length in the middle one of three rows, by central differences; edge values repeated.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn steepness([above, row, below]: [&[f32]; 3], out: &mut [f32]) {
    let n = out.len();
    let (above, row, below) = (&above[..n], &row[..n], &below[..n]);
    let of = |gx: f32, gy: f32| 0.25 * (gx * gx + gy * gy);
    if n > 2 {
        let inner = out[1..n - 1].iter_mut().zip(&row[..n - 2]).zip(&row[2..]).zip(&above[1..]).zip(&below[1..]);
        for ((((o, l), r), a), b) in inner {
            *o = of(r - l, b - a);
        }
    }
    if n > 0 {
        out[0] = of(row[1.min(n - 1)] - row[0], below[0] - above[0]);
        out[n - 1] = of(row[n - 1] - row[n.max(2) - 2], below[n - 1] - above[n - 1]);
    }
}

/// `sums += (a - b)^2`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn add_squares(a: &[f32], b: &[f32], sums: &mut [f32]) {
    for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
        *s += (a - b) * (a - b);
    }
}

/// `sums += a`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn add(a: &[f32], sums: &mut [f32]) {
    for (s, a) in sums.iter_mut().zip(a) {
        *s += a;
    }
}

/// Adds the sums over pairs of `a` times `b`; an odd last one joins the pair before it.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn add_products(a: &[f32], b: &[f32], sums: &mut [f32]) {
    let ((pairs_a, rest_a), (pairs_b, rest_b)) = (a.as_chunks::<2>(), b.as_chunks::<2>());
    for ((s, a), b) in sums.iter_mut().zip(pairs_a).zip(pairs_b) {
        *s += a[0] * b[0] + a[1] * b[1];
    }
    if let (Some(s), [a], [b]) = (sums.last_mut(), rest_a, rest_b) {
        *s += a * b;
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
        *sum += total(*run);
    }
}

/// The sum of a power of two of values, by a tree of halves, so that lanes add side by side.
#[inline(always)]
pub fn total<const SIDE: usize>(mut values: [f32; SIDE]) -> f32 {
    let mut half = SIDE / 2;
    while half > 0 {
        for i in 0..half {
            values[i] += values[i + half];
        }
        half /= 2;
    }
    values[0]
}

/// Natural logarithm of a normal number above 0, good to a few units in the last place: the exponent, and
/// `ln m = 2 atanh((m - 1) / (m + 1))` of what is left, by its series. No table and no branch, so that many are made at once.
#[inline(always)]
pub fn ln(v: f32) -> f32 {
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let bits = v.to_bits().wrapping_sub(ROOT_HALF);
    let exponent = (bits as i32) >> 23;
    let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(ROOT_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let series = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0))));
    exponent as f32 * std::f32::consts::LN_2 + 2.0 * s * series
}

/// The sum of products, in lanes.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    let mut sum = [0.0f32; 32];
    for (a, b) in whole_a.iter().zip(whole_b) {
        for i in 0..32 {
            sum[i] += a[i] * b[i];
        }
    }
    total(sum) + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_and_products_agree_with_the_exact_ones() {
        for i in 1..4000 {
            let v = (i as f32 * 0.37).powi(3) * 1e-6;
            assert!((ln(v) - v.ln()).abs() < 2e-6 * (1.0 + v.ln().abs()), "{v}");
        }
        assert_eq!((ln(1.0), dot(&[2.0; 71], &[3.0; 71])), (0.0, 426.0));
    }

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
