//! Runs formulas over pixels.

use multiversion::multiversion;

use super::space::{Space, convert, luma};
use crate::band::Band;
use crate::lane::{Lane, Rgb};

/// A formula with all its constants worked out: a colour in, a colour out, both in the space of its operation.
pub trait Kernel {
    /// The formula. Finite in, finite out, for inputs within -64..64.
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L>;
}

/// From one space to another.
#[derive(Debug, Clone, Copy)]
pub struct Convert {
    pub from: Space,
    pub to: Space,
}

impl Kernel for Convert {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        convert(c, self.from, self.to)
    }
}

/// Where an operation acts, and how strongly: opacity times a range of luma times a range of hue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mask {
    pub opacity: f32,
    /// Encoded luma from, to of the colour before the operation, and how soft the ends are.
    pub luma: Option<([f32; 2], f32)>,
    pub hue: Option<Hue>,
}

/// A sector of hues in OKLab; greys are never inside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hue {
    /// Unit vector towards its middle.
    pub towards: [f32; 2],
    /// Cosine of the angle where it begins to fade, and of where it has faded.
    pub inner: f32,
    pub outer: f32,
}

impl Hue {
    /// Chroma in OKLab where a colour begins to count as one, and where it fully does.
    const CHROMA: (f32, f32) = (0.015, 0.05);

    /// A sector around `degrees`, full within `half_width`, gone `softness` further out.
    pub fn new(degrees: f32, half_width: f32, softness: f32) -> Self {
        let at = |d: f32| d.clamp(0.0, 180.0).to_radians().cos();
        let (sin, cos) = degrees.to_radians().sin_cos();
        let inner = at(half_width);
        Self { towards: [cos, sin], inner, outer: at(half_width + softness).min(inner - 1e-3) }
    }

    /// How much of an OKLab colour lies inside, 0..1.
    #[inline(always)]
    pub fn weight<L: Lane>(&self, lab: Rgb<L>) -> L {
        let chroma = (lab[1] * lab[1] + lab[2] * lab[2]).sqrt();
        let along = lab[1] * L::lit(self.towards[0]) + lab[2] * L::lit(self.towards[1]);
        let cosine = along / chroma.max(L::lit(1e-6));
        cosine.smoothstep(self.outer, self.inner) * chroma.smoothstep(Self::CHROMA.0, Self::CHROMA.1)
    }
}

impl Mask {
    /// Everywhere, fully.
    pub const ALL: Self = Self { opacity: 1.0, luma: None, hue: None };

    /// How much the operation acts on a colour, 0..1.
    #[inline(always)]
    pub fn weight<L: Lane>(&self, c: Rgb<L>, space: Space) -> L {
        let mut weight = L::lit(self.opacity);
        if let Some(([from, to], softness)) = self.luma {
            let y = luma(convert(c, space, Space::Encoded));
            // Softness lies outside of the range, so that all of the range is acted on in full.
            let soft = softness.max(1e-4);
            weight = weight * y.smoothstep(from - soft, from) * (L::lit(1.0) - y.smoothstep(to, to + soft));
        }
        if let Some(hue) = &self.hue {
            weight = weight * hue.weight(convert(c, space, Space::Oklab));
        }
        weight
    }
}

/// A formula behind a mask.
struct Masked<'a, K> {
    kernel: &'a K,
    mask: &'a Mask,
    space: Space,
}

impl<K: Kernel> Kernel for Masked<'_, K> {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let done = self.kernel.eval(c);
        let w = self.mask.weight(c, self.space);
        [c[0].mix(done[0], w), c[1].mix(done[1], w), c[2].mix(done[2], w)]
    }
}

/// The formula behind a mask, for one colour.
#[inline(always)]
pub fn eval<K: Kernel, L: Lane>(kernel: &K, space: Space, mask: &Mask, c: Rgb<L>) -> Rgb<L> {
    if *mask == Mask::ALL { kernel.eval(c) } else { Masked { kernel, mask, space }.eval(c) }
}

/// Mixes what an operation made of colours with what they were, by the mask; encoded values, the first three channels.
pub fn weigh(mask: &Mask, before: &Band, after: &mut Band) {
    if *mask == Mask::ALL {
        return;
    }
    let n = after.rows * after.width;
    for i in 0..n {
        let was = [before.data[i], before.data[n + i], before.data[2 * n + i]];
        let w = mask.weight(was, Space::Encoded);
        (0..3).for_each(|c| after.data[c * n + i] = was[c].mix(after.data[c * n + i], w));
    }
}

/// Three planes of the same length.
pub struct Planes<'a> {
    pub r: &'a mut [f32],
    pub g: &'a mut [f32],
    pub b: &'a mut [f32],
}

/// Applies a formula behind a mask to every pixel.
pub fn run<K: Kernel>(kernel: &K, space: Space, mask: &Mask, p: &mut Planes<'_>) {
    if *mask == Mask::ALL { each(kernel, p.r, p.g, p.b) } else { each(&Masked { kernel, mask, space }, p.r, p.g, p.b) }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn each<K: Kernel>(kernel: &K, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        [*r, *g, *b] = kernel.eval([*r, *g, *b]);
    }
}
