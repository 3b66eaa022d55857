//! Making pictures look like reference pictures: one transform from statistics of both.
//!
//! [`Match::between`] works out, in this order, and always from the colours that the steps before it give:
//! - **white balance**: where greys lie in the pictures, as a line through RGB, and the channel gains and offsets that bring
//!   that line back to grey;
//! - **tone**: one rising curve for all channels that brings the quantiles of luma to those of the references;
//! - **colour**: the linear optimal transport (Monge-Kantorovich; Pitié and Kokaram, "The linear Monge-Kantorovitch linear colour
//!   mapping for example-based colour transfer", 2007) of the OKLab a/b distribution about grey, regularised.
//!
//! Limits hold by construction: greys come out grey; hues turn by at most [`MOST_TURN_DEGREES`] in the colour step, those of
//! skin and of what is nearly grey not at all; what is nearly grey, skin and vivid colours gain little chroma; tones move within
//! `MOVES`; black and white stay; what was inside the gamut stays inside, at its lightness. Where evidence is thin, less is
//! done: what one picture takes for a cast is undone in part unless its greys have colours on all sides, a strong tint is the
//! light of a scene and mostly stays. Pictures without enough greys are not balanced, monochrome ones (on either side) get the
//! tone only, blank ones nothing.
//! A tint of the references' greys is not taken over: that is a look's business.

mod chroma;
mod neutral;
mod statistics;
mod transport;

pub use statistics::{Collector, Statistics};

use crate::error::Result;
use crate::grade::look::Look;
use crate::grade::lut::Lut;
use crate::grade::op::{CubeFile, LutFile, Op};
use crate::grade::space::{Space, convert};
use crate::lane::Lut3d;
use neutral::Neutral;
use transport::{IDENTITY, Matrix};

/// How far the colour step may turn a hue.
pub const MOST_TURN_DEGREES: f32 = 3.0;
/// Grid points per edge of a match's LUT.
pub const LUT_SIZE: usize = 49;
/// Points of the tone curve, black and white included.
const TONES: usize = 33;
/// Slopes the tone curve may have.
const SLOPES: std::ops::RangeInclusive<f64> = 0.4..=2.2;
/// The steepest slope in the [`OUTER`] steps next to black and to white, where few pixels lie and the curve must come back to both.
const STEEP: f64 = 4.0;
const OUTER: usize = 5;
/// How far a tone moves as it should, and how far at most: what is asked for beyond counts less and less. A night is no day.
const MOVES: [f32; 2] = [0.12, 0.18];
/// How much the tone curve minds bending, beside missing what it is made for.
const STIFFNESS: f64 = 1e-4;
/// Channels that were inside the gamut keep this distance from its ends, or the one they had if that was less.
const EDGE: f32 = 0.008;

/// A transform of encoded sRGB.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    neutral: Neutral,
    /// Encoded values at `i / (TONES - 1)`.
    tone: [f32; TONES],
    /// Of OKLab a and b.
    colour: Matrix,
}

impl Match {
    /// The transform that changes nothing.
    pub fn identity() -> Self {
        Self { neutral: Neutral::default(), tone: std::array::from_fn(|i| i as f32 / (TONES - 1) as f32), colour: IDENTITY }
    }

    /// Makes pictures with the statistics `from` look like those of `to`.
    pub fn between(from: &Statistics, to: &Statistics) -> Self {
        let mut this = Self::identity();
        if from.is_blank() || to.is_blank() {
            return this;
        }
        let mut given: Vec<(f32, [f32; 3])> = from.content().collect();
        let mut wanted: Vec<(f32, [f32; 3])> = to.content().collect();
        let colourful = !transport::monochrome(&given) && !transport::monochrome(&wanted);
        if colourful {
            this.neutral = Neutral::of(&given, from.pictures());
            let there = Neutral::of(&wanted, to.pictures());
            given.iter_mut().for_each(|(_, c)| *c = this.neutral.balance(*c));
            wanted.iter_mut().for_each(|(_, c)| *c = there.balance(*c));
        }
        this.tone = tone(&given, &wanted);
        if colourful {
            given.iter_mut().for_each(|(_, c)| *c = this.toned(*c));
            let carried = transport::between(transport::moments(&given), transport::moments(&wanted));
            this.colour = transport::limited(carried, MOST_TURN_DEGREES);
        }
        this
    }

    /// The share of greys found, 0..1, and how strongly they are balanced: gain of red and of blue over green.
    pub fn balance(&self) -> (f32, [f32; 2]) {
        let [r, g, b] = self.neutral.gains();
        (self.neutral.trust, [r / g, b / g])
    }

    /// How much saturation grows, 1 for not at all.
    pub fn saturation(&self) -> f32 {
        transport::determinant(self.colour).max(0.0).sqrt()
    }

    /// The tone curve at encoded `v`.
    pub fn tone(&self, v: f32) -> f32 {
        let p = v.clamp(0.0, 1.0) * (TONES - 1) as f32;
        let i = (p as usize).min(TONES - 2);
        // Beyond black and white the curve goes on with slope 1.
        self.tone[i] + (self.tone[i + 1] - self.tone[i]) * (p - i as f32) + (v - v.clamp(0.0, 1.0))
    }

    /// `c` (encoded sRGB) after white balance alone.
    pub fn balanced(&self, c: [f32; 3]) -> [f32; 3] {
        self.neutral.balance(c)
    }

    fn toned(&self, c: [f32; 3]) -> [f32; 3] {
        c.map(|v| self.tone(v))
    }

    /// The colour that becomes of `c` (encoded sRGB, 0..1) at full strength.
    pub fn eval(&self, c: [f32; 3]) -> [f32; 3] {
        let balanced = self.neutral.balance(c);
        let toned = self.toned(balanced);
        let [l, a, b] = srgb_to_oklab(toned);
        let coloured = a.hypot(b) > 1e-6;
        let flat = a.hypot(b);
        let [[xx, xy], [yx, yy]] = self.colour;
        let (mut a, mut b) = (xx * a + xy * b, yx * a + yy * b);
        if coloured {
            // Skin, and what is nearly grey, has the hue it had after balancing: a curve per channel turns hues.
            let before = srgb_to_oklab(balanced);
            let [_, sa, sb] = before;
            let skin = skin_likeness(before);
            let faint = ((0.08 - sa.hypot(sb)) / 0.04).clamp(0.0, 1.0);
            let (now, then) = (b.atan2(a), sb.atan2(sa));
            let turn = (then - now + std::f32::consts::PI).rem_euclid(std::f32::consts::TAU) - std::f32::consts::PI;
            let hue = now + turn * skin.max(faint);
            let chroma = chroma::limited(a.hypot(b), before, l, flat, skin);
            (a, b) = (chroma * hue.cos(), chroma * hue.sin());
        }
        let grey = oklab_to_srgb([l, 0.0, 0.0])[1];
        let low = c.iter().fold(EDGE.min(grey), |m, v| m.min(*v));
        let high = c.iter().fold((1.0 - EDGE).max(grey), |m, v| m.max(*v));
        within([l, a, b], low, high)
    }

    /// The transform as a LUT over encoded sRGB, blended with doing nothing: `strength` 0 changes nothing, 1 is all of it.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for a size outside 2..=256.
    pub fn lut(&self, size: usize, strength: f32) -> Result<Lut3d> {
        Lut3d::from_fn(size, |c| {
            let full = self.eval(c);
            [0, 1, 2].map(|k| c[k] + (full[k] - c[k]) * strength)
        })
    }
}

impl Match {
    /// The transform at full strength as a look of one LUT. What is written down of it (journals) names the LUT `file`, which
    /// holds [`Match::cube`] if it shall be read back.
    ///
    /// # Errors
    /// None that occurs.
    pub fn look(&self, file: &std::path::Path) -> Result<Look> {
        let lut = Lut::from_cube("match", self.lut(LUT_SIZE, 1.0)?);
        let file = CubeFile::made(&file.to_string_lossy(), lut)?;
        Ok(Look::of("match", Op::LutFile(LutFile { file, ..LutFile::default() })))
    }

    /// The transform at full strength as the text of a .cube file.
    ///
    /// # Errors
    /// None that occurs.
    pub fn cube(&self) -> Result<String> {
        Lut::from_cube("match", self.lut(LUT_SIZE, 1.0)?).to_cube()
    }
}

/// Encoded sRGB to OKLab: L 0..1, a and b about -0.4..0.4.
pub fn srgb_to_oklab(c: [f32; 3]) -> [f32; 3] {
    convert(c, Space::Encoded, Space::Oklab)
}

/// The way back; what lies outside sRGB comes out below 0 or above 1.
fn oklab_to_srgb(c: [f32; 3]) -> [f32; 3] {
    convert(c, Space::Oklab, Space::Encoded)
}

/// How much a colour (OKLab) is like skin in any light of daily life, 0..1: by hue, and not too colourful.
///
/// The ten tones of the Monk scale have hues of 40 to 90 degrees and chromas of 0.01 to 0.11.
pub fn skin_likeness([lightness, a, b]: [f32; 3]) -> f32 {
    let hue = b.atan2(a).to_degrees();
    let ramp = |v: f32, from: f32, to: f32| ((v - from) / (to - from)).clamp(0.0, 1.0);
    let by_hue = ramp(hue, 15.0, 30.0) * ramp(-hue, -112.0, -100.0);
    by_hue * ramp(-a.hypot(b), -0.22, -0.17) * ramp(lightness, 0.05, 0.15)
}

/// The colour with just as much less chroma that all channels lie in `low..=high`.
fn within(lab: [f32; 3], low: f32, high: f32) -> [f32; 3] {
    let fits = |c: [f32; 3]| c.iter().all(|v| (low..=high).contains(v));
    let at = |k: f32| oklab_to_srgb([lab[0], lab[1] * k, lab[2] * k]);
    let full = at(1.0);
    if fits(full) {
        return full;
    }
    let (mut inside, mut outside) = (0.0, 1.0);
    for _ in 0..16 {
        let k = (inside + outside) / 2.0;
        *(if fits(at(k)) { &mut inside } else { &mut outside }) = k;
    }
    at(inside).map(|v| v.clamp(low, high))
}

/// The value as it is up to `free`, and beyond that ever closer to `most`; alike on both sides of 0.
fn held(v: f32, free: f32, most: f32) -> f32 {
    let (over, room) = (v.abs() - free, most - free);
    if over <= 0.0 || room <= 0.0 { v.clamp(-most, most) } else { (free + room * (over / room).tanh()).copysign(v) }
}

/// The rising curve from the luma of `given` to that of `wanted`, both with weights that sum to 1.
fn tone(given: &[(f32, [f32; 3])], wanted: &[(f32, [f32; 3])]) -> [f32; TONES] {
    /// Equal shares of the pixels, each of which counts with its mean.
    const SHARES: usize = 48;
    let (x, y) = (shares(given, SHARES), shares(wanted, SHARES));
    let knots: Vec<(f32, f32)> = std::iter::once((0.0, 0.0)).chain(x.into_iter().zip(y)).chain(std::iter::once((1.0, 1.0))).collect();
    let straight: [f32; TONES] = std::array::from_fn(|i| {
        let at = i as f32 / (TONES - 1) as f32;
        let k = knots.partition_point(|(x, _)| *x < at).clamp(1, knots.len() - 1);
        let ((x0, y0), (x1, y1)) = (knots[k - 1], knots[k]);
        let to = if x1 - x0 > 1e-5 { y0 + (y1 - y0) * ((at - x0) / (x1 - x0)) } else { (y0 + y1) / 2.0 };
        at + held(to - at, MOVES[0], MOVES[1])
    });
    // Tones count by how many pixels have them; those that nothing has, just enough to be decided.
    let mut share = [1e-3; TONES];
    for (w, c) in given {
        let at = luma(*c).clamp(0.0, 1.0) * (TONES - 1) as f32;
        let i = (at as usize).min(TONES - 2);
        share[i] += w * (1.0 - (at - i as f32));
        share[i + 1] += w * (at - i as f32);
    }
    fitted(straight.map(f64::from), share.map(f64::from))
}

/// The curve from black to white with slopes in [`SLOPES`] that comes nearest to `wanted` and bends little: least squares, by
/// projected gradients with momentum (Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009).
fn fitted(wanted: [f64; TONES], weights: [f64; TONES]) -> [f32; TONES] {
    const N: usize = TONES - 1;
    const ROUNDS: usize = 1000;
    const ENDS: usize = 2;
    let curve = |slopes: &[f64; N]| {
        let mut f = [0f64; TONES];
        (0..N).for_each(|i| f[i + 1] = f[i] + slopes[i] / N as f64);
        f
    };
    let steepest_at = |i: usize| if (OUTER..N - OUTER).contains(&i) { *SLOPES.end() } else { STEEP };
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
fn shares(points: &[(f32, [f32; 3])], n: usize) -> Vec<f32> {
    let mut luma: Vec<(f64, [f64; 1])> = points.iter().map(|(w, c)| (f64::from(*w), [f64::from(luma(*c).clamp(0.0, 1.0))])).collect();
    luma.sort_by(|a, b| a.1[0].total_cmp(&b.1[0]));
    let mut means: Vec<f32> = equal_shares(&luma, n).into_iter().map(|[v]| v as f32).collect();
    // Rounding must not make them fall.
    for i in 1..n {
        means[i] = means[i].max(means[i - 1]);
    }
    means
}

/// Means over `n` equal shares of points (weight, values) in the order in which they come; a point may belong to several
/// shares in part. Zeros without any weight.
pub fn equal_shares<const K: usize>(points: &[(f64, [f64; K])], n: usize) -> Vec<[f64; K]> {
    let total: f64 = points.iter().map(|(w, _)| w).sum();
    let mut means = vec![[0.0; K]; n];
    let mut done = 0.0;
    for (w, values) in points {
        let (mut from, to) = (done, done + w / total * n as f64);
        done = to;
        while from < to {
            let share = (from as usize).min(n - 1);
            let until = if share == n - 1 { to } else { to.min((share + 1) as f64) };
            if until <= from {
                break;
            }
            means[share].iter_mut().zip(values).for_each(|(m, v)| *m += v * (until - from));
            from = until;
        }
    }
    means
}

/// Rec. 709 weights on encoded values.
fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

#[cfg(test)]
mod tests;
