//! The linear optimal transport between two distributions in the OKLab a/b plane, about grey.

use super::srgb_to_oklab;

/// Symmetric, rows.
pub type Matrix = [[f32; 2]; 2];
pub const IDENTITY: Matrix = [[1.0, 0.0], [0.0, 1.0]];

/// Second moment added on both sides, a chroma of 0.025: what little colour there is does not count.
const RIDGE: f32 = 0.025 * 0.025;
/// How much saturation may fall or grow.
const SCALES: std::ops::RangeInclusive<f32> = 0.66..=1.4;

/// Second moments of a and b about grey, of OKLab colours; weights sum to 1.
pub fn moments(points: &[(f32, [f32; 3])]) -> Matrix {
    let mut m = [[0f64; 2]; 2];
    for (w, c) in points {
        let [_, a, b] = c.map(f64::from);
        let w = f64::from(*w);
        m[0][0] += w * a * a;
        m[0][1] += w * a * b;
        m[1][1] += w * b * b;
    }
    m[1][0] = m[0][1];
    m.map(|row| row.map(|v| v as f32))
}

/// Whether all colours lie on one line from black to white: a grey, sepia or otherwise toned picture.
pub fn monochrome(points: &[(f32, [f32; 3])]) -> bool {
    /// Root mean square distance in a/b from the mean at that lightness.
    const SPREAD: f64 = 0.009;
    const LEVELS: usize = 12;
    let mut sums = [[0f64; 4]; LEVELS];
    for (w, c) in points {
        let [l, a, b] = srgb_to_oklab(*c).map(f64::from);
        let s = &mut sums[((l * LEVELS as f64) as usize).min(LEVELS - 1)];
        let w = f64::from(*w);
        s[0] += w;
        s[1] += w * a;
        s[2] += w * b;
        s[3] += w * (a * a + b * b);
    }
    let spread: f64 = sums.iter().filter(|s| s[0] > 0.0).map(|[w, a, b, sq]| sq - (a * a + b * b) / w).sum();
    spread < SPREAD * SPREAD
}

pub fn determinant(m: Matrix) -> f32 {
    m[0][0] * m[1][1] - m[0][1] * m[1][0]
}

fn times(a: Matrix, b: Matrix) -> Matrix {
    [0, 1].map(|i| [0, 1].map(|j| a[i][0] * b[0][j] + a[i][1] * b[1][j]))
}

/// The symmetric square root of a symmetric positive definite matrix (closed form for 2 x 2).
fn root(m: Matrix) -> Matrix {
    let s = determinant(m).max(0.0).sqrt();
    let t = (m[0][0] + m[1][1] + 2.0 * s).max(f32::MIN_POSITIVE).sqrt();
    [[(m[0][0] + s) / t, m[0][1] / t], [m[1][0] / t, (m[1][1] + s) / t]]
}

fn inverse(m: Matrix) -> Matrix {
    let d = determinant(m);
    [[m[1][1] / d, -m[0][1] / d], [-m[1][0] / d, m[0][0] / d]]
}

/// The symmetric matrix that carries moments `from` to moments `to`.
pub fn between(from: Matrix, to: Matrix) -> Matrix {
    // Without units, or the square roots of moments would be at the end of what f32 can tell apart.
    let ridge = |m: Matrix| [[(m[0][0] + RIDGE) / RIDGE, m[0][1] / RIDGE], [m[1][0] / RIDGE, (m[1][1] + RIDGE) / RIDGE]];
    let (from, to) = (ridge(from), ridge(to));
    let half = root(from);
    let back = inverse(half);
    times(times(back, root(times(times(half, to), half))), back)
}

/// The matrix with its scale within [`SCALES`], and its two directions scaled so alike that no hue turns by more than
/// `turn_degrees`.
///
/// A symmetric matrix with eigenvalues p > q turns a direction by at most asin((p - q) / (p + q)).
pub fn limited(m: Matrix, turn_degrees: f32) -> Matrix {
    let mean = (m[0][0] + m[1][1]) / 2.0;
    let apart = ((m[0][0] - m[1][1]) / 2.0).hypot(m[0][1]);
    let (p, q) = ((mean + apart).max(1e-6), (mean - apart).max(1e-6));
    let scale = (p * q).sqrt().clamp(*SCALES.start(), *SCALES.end());
    let most = turn_degrees.to_radians().sin();
    let ratio = (p / q).min((1.0 + most) / (1.0 - most)).sqrt();
    let (p, q) = (scale * ratio, scale / ratio);
    if apart < 1e-9 {
        return [[scale, 0.0], [0.0, scale]];
    }
    // Same axes, new lengths.
    let (c, s) = ((m[0][0] - m[1][1]) / 2.0 / apart, m[0][1] / apart);
    let (mean, apart) = ((p + q) / 2.0, (p - q) / 2.0);
    [[mean + apart * c, apart * s], [apart * s, mean - apart * c]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment() -> impl Strategy<Value = Matrix> {
        (0.0f32..0.2, 0.0f32..0.2, -0.95f32..0.95).prop_map(|(a, b, r)| [[a * a, r * a * b], [r * a * b, b * b]])
    }

    proptest! {
        #[test]
        fn it_carries_one_to_the_other(from in moment(), to in moment()) {
            let t = between(from, to);
            let with = |m: Matrix| [[m[0][0] + RIDGE, m[0][1]], [m[1][0], m[1][1] + RIDGE]];
            let got = times(times(t, with(from)), t);
            for (g, w) in got.iter().flatten().zip(with(to).iter().flatten()) {
                prop_assert!((g - w).abs() < 2e-3 * (with(to)[0][0] + with(to)[1][1]), "{got:?} {to:?}");
            }
            prop_assert!((t[0][1] - t[1][0]).abs() < 1e-2 * (t[0][0] + t[1][1]), "{t:?}");
        }

        #[test]
        fn hues_turn_no_further_than_allowed(from in moment(), to in moment(), hue in 0f32..360.0) {
            let t = limited(between(from, to), 3.0);
            let (x, y) = (hue.to_radians().cos(), hue.to_radians().sin());
            let (a, b) = (t[0][0] * x + t[0][1] * y, t[1][0] * x + t[1][1] * y);
            let turned = (x * b - y * a).atan2(x * a + y * b).to_degrees();
            prop_assert!(turned.abs() <= 3.01, "{turned}");
            prop_assert!((0.37..=2.65).contains(&a.hypot(b)), "{}", a.hypot(b));
        }
    }

    #[test]
    fn toned_pictures_are_monochrome() {
        let toned: Vec<(f32, [f32; 3])> = (0..100).map(|i| i as f32 / 100.0).map(|v| (0.01, [v.powf(0.9), v, v.powf(1.15)])).collect();
        assert!(monochrome(&toned));
        let coloured: Vec<(f32, [f32; 3])> =
            (0..100).map(|i| (0.01, [0.5 + 0.1 * (i % 3) as f32, 0.5, 0.7 - 0.1 * (i % 3) as f32])).collect();
        assert!(!monochrome(&coloured));
    }
}
