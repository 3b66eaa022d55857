//! Making pictures look like reference pictures: one transform from statistics of both.
//!
//! [`Match::between`] works out, in this order, and always from the colours that the steps before it give:
//! - **white balance**: where greys lie in the pictures, as a line through RGB, and the channel gains and offsets that bring
//!   that line back to grey;
//! - **tone**: one rising curve for all channels that brings the quantiles of luma to those of the references;
//! - **colour**: the linear optimal transport (Monge-Kantorovich; Pitié and Kokaram, "The linear Monge-Kantorovitch linear colour
//!   mapping for example-based colour transfer", 2007) of the OKLab a/b distribution about grey, regularised.
//!
//! Limits hold by construction: greys come out grey but for the warmth; hues turn by at most [`MOST_TURN_DEGREES`] in the colour step, those of
//! skin and of what is nearly grey not at all; what is nearly grey, skin and vivid colours gain little chroma; tones move within
//! `MOVES`; black and white stay; what was inside the gamut stays inside, at its lightness. Where evidence is thin, less is
//! done: what one picture takes for a cast is undone in part unless its greys have colours on all sides, a strong tint is the
//! light of a scene and mostly stays. Pictures without enough greys are not balanced, monochrome ones (on either side) get the
//! tone only, blank ones nothing.
//! - **warmth**: a share of what is left between both in how warm or cool dark and light tones are, at most [`MOST_WARMTH`], along
//!   the axis of skin's hue, of which skin itself gets little.
//!
//! Pictures that are alike already are left alone, and between alike and different there is no step. A light plain backdrop stays
//! what it is; tones that skin has move less than others; next to black and white all move less.

mod chroma;
mod mood;
mod neutral;
mod statistics;
mod tone;
mod transport;

pub use mood::MOST_WARMTH;
pub(crate) use mood::WARM;
pub use statistics::{Collector, Statistics};

use crate::error::Result;
use crate::grade::grading::Grading;
use crate::grade::look::Look;
use crate::grade::lut::Lut;
use crate::grade::op::{CubeFile, LutFile, Op};
use crate::grade::space::{Space, convert};
use crate::lane::Lut3d;
use mood::mood;
use neutral::Neutral;
use tone::{TONES, shares, tone};
use transport::{IDENTITY, Matrix};

/// How far the colour step may turn a hue.
pub const MOST_TURN_DEGREES: f32 = 3.0;
/// Grid points per edge of a match's LUT.
pub const LUT_SIZE: usize = 49;
/// Differences of statistics (encoded and OKLab units) up to which nothing is done, and from which all is.
const ALIKE: [f32; 2] = [0.004, 0.014];
/// Lightnesses (OKLab) from which vivid colours begin to keep theirs, and from which they do wholly.
const LIGHT_OF_VIVID: [f32; 2] = [0.6, 0.9];
/// How far every colour keeps the hue that it had before the tone curve.
const HUE_KEPT: f32 = 0.75;
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
    /// Along [`WARM`], of dark and of light tones.
    warmth: [f32; 2],
    /// How much of all that is done, 0..1: nothing between pictures that are alike.
    share: f32,
}

impl Match {
    /// The transform that changes nothing.
    pub fn identity() -> Self {
        Self {
            neutral: Neutral::default(),
            tone: std::array::from_fn(|i| i as f32 / (TONES - 1) as f32),
            colour: IDENTITY,
            warmth: [0.0; 2],
            share: 1.0,
        }
    }

    /// Makes pictures with the statistics `from` look like those of `to`.
    pub fn between(from: &Statistics, to: &Statistics) -> Self {
        Self::within(from, to, MOST_WARMTH)
    }

    /// The same, with greys becoming warmer or cooler by at most `warmth` (OKLab chroma).
    pub fn within(from: &Statistics, to: &Statistics, warmth: f32) -> Self {
        let mut this = Self::identity();
        if from.is_blank() || to.is_blank() {
            return this;
        }
        let mut given: Vec<(f32, [f32; 3])> = from.content().collect();
        let mut wanted: Vec<(f32, [f32; 3])> = to.content().collect();
        this.share = smooth(apart(&given, &wanted), ALIKE);
        let there_mood = mood(&lab(&wanted));
        let colourful = !transport::monochrome(&given) && !transport::monochrome(&wanted);
        if colourful {
            this.neutral = Neutral::of(&given, from.pictures());
            let there = Neutral::of(&wanted, to.pictures());
            given.iter_mut().for_each(|(_, c)| *c = this.neutral.balance(*c));
            wanted.iter_mut().for_each(|(_, c)| *c = there.balance(*c));
        }
        let plain = [from, to].map(|s| s.plain().collect::<Vec<f32>>());
        this.tone = tone(&given, &wanted, [&plain[0], &plain[1]]);
        if colourful {
            let shaded: Vec<(f32, [f32; 3])> = given.iter().map(|(w, c)| (*w, this.shaded(*c))).collect();
            let carried = transport::between(transport::moments(&shaded), transport::moments(&lab(&wanted)));
            this.colour = transport::limited(carried, MOST_TURN_DEGREES);
            let coloured = shaded.into_iter().map(|(w, c)| (w, turned(this.colour, c)));
            let own = mood(&coloured.collect::<Vec<_>>());
            this.warmth = mood::towards(own, there_mood, warmth);
        }
        this
    }

    /// The same without what it does to colours: for pictures that have none, among others that have. They get the tones of their
    /// group; its balance, colour and warmth would tint them.
    #[must_use]
    pub fn toning(&self) -> Self {
        Self { tone: self.tone, share: self.share, ..Self::identity() }
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
        let balanced = self.neutral.balance(c);
        [0, 1, 2].map(|k| c[k] + (balanced[k] - c[k]) * self.share)
    }

    /// OKLab of a balanced colour in its new tones. Its lightness and part of its hue are what a curve per channel gives; its chroma
    /// is not, because that would hang on the slope of the curve, and come and go along a sky.
    fn shaded(&self, balanced: [f32; 3]) -> [f32; 3] {
        let before = srgb_to_oklab(balanced);
        let [l, a, b] = srgb_to_oklab(balanced.map(|v| self.tone(v)));
        // Next to the lightest yellow a little more light leaves room for hardly any colour: light vivid colours keep theirs.
        let l = l + (before[0] - l) * chroma::vivid(before) * smooth(before[0], LIGHT_OF_VIVID);
        let chroma = before[1].hypot(before[2]);
        if chroma < 1e-6 {
            return [l, a, b];
        }
        let hue = between_hues(b.atan2(a), before[2].atan2(before[1]), HUE_KEPT);
        let chroma = chroma::at(before, l);
        [l, chroma * hue.cos(), chroma * hue.sin()]
    }

    /// The colour that becomes of `c` (encoded sRGB, 0..1) at full strength.
    pub fn eval(&self, c: [f32; 3]) -> [f32; 3] {
        let full = self.full(c);
        [0, 1, 2].map(|k| c[k] + (full[k] - c[k]) * self.share)
    }

    fn full(&self, c: [f32; 3]) -> [f32; 3] {
        let balanced = self.neutral.balance(c);
        let before = srgb_to_oklab(balanced);
        let own = before[1].hypot(before[2]);
        let skin = skin_likeness(before);
        let [l, mut a, mut b] = turned(self.colour, self.shaded(balanced));
        if own > 1e-6 {
            // Skin, and what is nearly grey, has the hue it had after balancing.
            let faint = ((0.08 - own) / 0.04).clamp(0.0, 1.0);
            let hue = between_hues(b.atan2(a), before[2].atan2(before[1]), skin.max(faint));
            let chroma = chroma::limited(a.hypot(b), before, l, skin);
            (a, b) = (chroma * hue.cos(), chroma * hue.sin());
        }
        let lab = mood::warmed([l, a, b], before, self.warmth, skin);
        let grey = oklab_to_srgb([l, 0.0, 0.0])[1];
        let low = c.iter().fold(EDGE.min(grey), |m, v| m.min(*v));
        let high = c.iter().fold((1.0 - EDGE).max(grey), |m, v| m.max(*v));
        within(lab, low, high)
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
        let lut = Lut { carries: true, ..Lut::from_cube("match", self.lut(LUT_SIZE, 1.0)?) };
        let file = CubeFile::made(&file.to_string_lossy(), lut)?;
        Ok(Look::of("match", Op::LutFile(LutFile { file, ..LutFile::default() })))
    }

    /// The transform, then `looks`, all of it mixed in by `strength`; `None` if that changes nothing. `name` is the file that stands
    /// for the transform in what is written down (see [`Match::look`]).
    ///
    /// # Errors
    /// Parameters of an operation that do not fit together.
    pub fn grading(&self, name: &std::path::Path, looks: &[Look], strength: f32) -> Result<Option<Grading>> {
        let all: Vec<Look> = std::iter::once(self.look(name)?).chain(looks.iter().cloned()).collect();
        Grading::new(&all, strength)
    }

    /// The transform at full strength as the text of a .cube file.
    ///
    /// # Errors
    /// None that occurs.
    pub fn cube(&self) -> Result<String> {
        Lut { carries: true, ..Lut::from_cube("match", self.lut(LUT_SIZE, 1.0)?) }.to_cube()
    }
}

/// Encoded sRGB to OKLab: L 0..1, a and b about -0.4..0.4.
pub fn srgb_to_oklab(c: [f32; 3]) -> [f32; 3] {
    convert(c, Space::Encoded, Space::Oklab)
}

/// The way back; what lies outside sRGB comes out below 0 or above 1.
pub(crate) fn oklab_to_srgb(c: [f32; 3]) -> [f32; 3] {
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

/// From 0 to 1 as `v` goes from `from` to `to`, without a bend at either.
fn smooth(v: f32, [from, to]: [f32; 2]) -> f32 {
    let v = ((v - from) / (to - from)).clamp(0.0, 1.0);
    v * v * (3.0 - 2.0 * v)
}

/// Colours in OKLab.
fn lab(points: &[(f32, [f32; 3])]) -> Vec<(f32, [f32; 3])> {
    points.iter().map(|(w, c)| (*w, srgb_to_oklab(*c))).collect()
}

/// A matrix applied to a and b of OKLab.
fn turned([[xx, xy], [yx, yy]]: Matrix, [l, a, b]: [f32; 3]) -> [f32; 3] {
    [l, xx * a + xy * b, yx * a + yy * b]
}

/// The hue that lies `share` of the way from one to the other, the shorter way around.
fn between_hues(from: f32, to: f32, share: f32) -> f32 {
    let turn = (to - from + std::f32::consts::PI).rem_euclid(std::f32::consts::TAU) - std::f32::consts::PI;
    from + turn * share
}

/// How far apart two pictures' colours are: the largest of the mean distance of their tones and the distances of their mean
/// colours and of their spread of colours.
fn apart(given: &[(f32, [f32; 3])], wanted: &[(f32, [f32; 3])]) -> f32 {
    const SHARES: usize = 48;
    let tones = shares(given, SHARES).iter().zip(shares(wanted, SHARES)).map(|(a, b)| (a - b).abs()).sum::<f32>() / SHARES as f32;
    let (given, wanted) = (lab(given), lab(wanted));
    let mean = |points: &[(f32, [f32; 3])]| points.iter().fold([0f32; 2], |m, (w, [_, a, b])| [m[0] + w * a, m[1] + w * b]);
    let (m, n) = (mean(&given), mean(&wanted));
    let (s, t) = (transport::moments(&given), transport::moments(&wanted));
    let width = [0, 1].map(|k| (s[k][k].sqrt() - t[k][k].sqrt()).abs());
    tones.max((m[0] - n[0]).hypot(m[1] - n[1])).max(width[0]).max(width[1])
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
