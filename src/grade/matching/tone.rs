//! The tone curve of a match.

use super::{equal_shares, held, luma, skin_likeness, smooth, srgb_to_oklab};

/// Points of the tone curve, black and white included.
pub const TONES: usize = 33;
/// Slopes the tone curve may have.
pub const SLOPES: std::ops::RangeInclusive<f64> = 0.4..=2.2;
/// The steepest slopes in the [`OUTER`] steps next to black, where the curve must come back to it, and next to white, where
/// skies and mist would show every step.
const STEEP: [f64; 2] = [4.0, 2.4];
const OUTER: usize = 5;
/// How far a tone moves as it should, and how far at most: what is asked for beyond counts less and less. A night is no day.
const MOVES: [f32; 2] = [0.12, 0.18];
/// The same of tones that skin has, in shares of that.
const MOVES_OF_SKIN: f32 = 0.65;
/// Within this distance of black and of white, tones move ever less.
const ENDS: [f32; 2] = [0.06, 0.17];
/// How much the tone curve minds bending, beside missing what it is made for.
const STIFFNESS: f64 = 1e-4;

/// The rising curve from the luma of `given` to that of `wanted`, both with weights that sum to 1, and with how far each is a
/// backdrop: that of the pictures stays where it is, that of the references is nothing to reach.
pub fn tone(given: &[(f32, [f32; 3])], wanted: &[(f32, [f32; 3])], plain: [&[f32]; 2]) -> [f32; TONES] {
    /// Equal shares of the pixels, each of which counts with its mean.
    const SHARES: usize = 48;
    /// How much a backdrop weighs for what is drawn on it.
    const HOLD: f32 = 6.0;
    let content = |points: &[(f32, [f32; 3])], plain: &[f32]| -> Vec<(f32, [f32; 3])> {
        let left: Vec<(f32, [f32; 3])> = points.iter().zip(plain).map(|((w, c), p)| (w * (1.0 - p), *c)).collect();
        // Nothing but backdrop: then that is the picture.
        if left.iter().map(|(w, _)| w).sum::<f32>() > 0.02 { left } else { points.to_vec() }
    };
    let (x, y) = (shares(&content(given, plain[0]), SHARES), shares(&content(wanted, plain[1]), SHARES));
    let knots: Vec<(f32, f32)> = std::iter::once((0.0, 0.0)).chain(x.into_iter().zip(y)).chain(std::iter::once((1.0, 1.0))).collect();
    // Tones count by how many pixels have them; those that nothing has, just enough to be decided.
    let [mut share, mut skin, mut backdrop] = [[1e-3; TONES], [0.0; TONES], [0.0; TONES]];
    for ((w, c), p) in given.iter().zip(plain[0]) {
        let at = luma(*c).clamp(0.0, 1.0) * (TONES - 1) as f32;
        let i = (at as usize).min(TONES - 2);
        let [_, a, b] = srgb_to_oklab(*c);
        let face = skin_likeness(srgb_to_oklab(*c)) * smooth(a.hypot(b), [0.02, 0.04]);
        for (i, part) in [(i, 1.0 - (at - i as f32)), (i + 1, at - i as f32)] {
            share[i] += w * part * (1.0 - p);
            skin[i] += w * part * face;
            backdrop[i] += w * part * p * HOLD;
        }
    }
    // What skin does to its tones it does to those next to them as well, or the curve would bend around it.
    let wide = |v: &[f32; TONES], i: usize| (0..TONES).map(|k| v[k] * (1.0 - k.abs_diff(i) as f32 / 5.0).max(0.0)).sum::<f32>();
    let straight: [f32; TONES] = std::array::from_fn(|i| {
        let at = i as f32 / (TONES - 1) as f32;
        let k = knots.partition_point(|(x, _)| *x < at).clamp(1, knots.len() - 1);
        let ((x0, y0), (x1, y1)) = (knots[k - 1], knots[k]);
        let to = if x1 - x0 > 1e-5 { y0 + (y1 - y0) * ((at - x0) / (x1 - x0)) } else { (y0 + y1) / 2.0 };
        let faces = smooth(wide(&skin, i) / (wide(&share, i) + wide(&backdrop, i)), [0.1, 0.6]);
        let room = (1.0 - (1.0 - MOVES_OF_SKIN) * faces) * (at / ENDS[0]).min((1.0 - at) / ENDS[1]).min(1.0);
        let to = at + held(to - at, MOVES[0] * room, MOVES[1] * room);
        to + (at - to) * backdrop[i] / (share[i] + backdrop[i])
    });
    let weights: [f32; TONES] = std::array::from_fn(|i| share[i] + backdrop[i]);
    fitted(straight.map(f64::from), weights.map(f64::from))
}

/// The curve from black to white with slopes in [`SLOPES`] that comes nearest to `wanted` and bends little: least squares, by
/// projected gradients with momentum (Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009).
pub fn fitted(wanted: [f64; TONES], weights: [f64; TONES]) -> [f32; TONES] {
    const N: usize = TONES - 1;
    const ROUNDS: usize = 1000;
    const ENDS: usize = 2;
    let curve = |slopes: &[f64; N]| {
        let mut f = [0f64; TONES];
        (0..N).for_each(|i| f[i + 1] = f[i] + slopes[i] / N as f64);
        f
    };
    let steepest_at = |i: usize| match i {
        _ if i < OUTER => STEEP[0],
        _ if i >= N - OUTER => STEEP[1],
        _ => *SLOPES.end(),
    };
    // The nearest slopes in range with a mean of 1: all are moved by the same, found by bisection.
    let allowed = |slopes: [f64; N]| {
        let held = |by: f64| std::array::from_fn::<f64, N, _>(|i| (slopes[i] + by).clamp(*SLOPES.start(), steepest_at(i)));
        let (mut low, mut high) = (-100.0, 100.0);
        for _ in 0..50 {
            let by = (low + high) / 2.0;
            *(if held(by).iter().sum::<f64>() > N as f64 { &mut high } else { &mut low }) = by;
        }
        held(low)
    };
    // No direction is steeper than the trace of the squares' matrix.
    let steepest = (1..TONES).map(|i| weights[i] * i as f64).sum::<f64>() / (N * N) as f64 + 4.0 * STIFFNESS;
    let mut slopes = [1f64; N];
    let (mut ahead, mut momentum) = (slopes, 1f64);
    for _ in 0..ROUNDS {
        let f = curve(&ahead);
        let mut gradient = [0f64; N];
        let mut sum = 0.0;
        for i in (0..N).rev() {
            sum += weights[i + 1] * (f[i + 1] - wanted[i + 1]) / N as f64;
            gradient[i] = sum;
        }
        // Next to black and white, which stay, the curve bends as sharply as it must to reach the others.
        for i in ENDS + 1..N - ENDS {
            let bend = STIFFNESS * (ahead[i] - ahead[i - 1]);
            gradient[i] += bend;
            gradient[i - 1] -= bend;
        }
        let next = allowed(std::array::from_fn(|i| ahead[i] - gradient[i] / steepest));
        let more = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
        ahead = std::array::from_fn(|i| next[i] + (momentum - 1.0) / more * (next[i] - slopes[i]));
        (slopes, momentum) = (next, more);
    }
    let mut curve = curve(&slopes).map(|v| v as f32);
    curve[N] = 1.0;
    curve
}

/// Mean luma of `n` equal shares of the pixels, dark to light. Each colour counts as spread a little, so that the result
/// changes smoothly with the pixels.
pub fn shares(points: &[(f32, [f32; 3])], n: usize) -> Vec<f32> {
    let mut luma: Vec<(f64, [f64; 1])> = points.iter().map(|(w, c)| (f64::from(*w), [f64::from(luma(*c).clamp(0.0, 1.0))])).collect();
    luma.sort_by(|a, b| a.1[0].total_cmp(&b.1[0]));
    let mut means: Vec<f32> = equal_shares(&luma, n).into_iter().map(|[v]| v as f32).collect();
    // Rounding must not make them fall.
    for i in 1..n {
        means[i] = means[i].max(means[i - 1]);
    }
    means
}
