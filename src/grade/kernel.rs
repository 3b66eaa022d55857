//! Runs formulas over pixels.

use multiversion::multiversion;

use super::space::{Space, convert, luma};
use crate::band::Band;
use crate::lane::{Lane, Rgb};

/// A formula with all its constants worked out: a colour in, a colour out, both in the space of its operation.
pub trait Kernel {
    /// The formula. Finite in, finite out, for inputs within -64..64.
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L>;

    /// The same for every pixel. Formulas that depend on what is set decide that here, outside of the loop: a loop that decides
    /// is no SIMD.
    fn planes(&self, p: &mut Planes<'_>)
    where
        Self: Sized,
    {
        each(self, p.r, p.g, p.b);
    }
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
        if let Some(range) = self.luma {
            weight = weight * within(range, luma(convert(c, space, Space::Encoded)));
        }
        if let Some(hue) = &self.hue {
            weight = weight * hue.weight(convert(c, space, Space::Oklab));
        }
        weight
    }
}

/// How far a luma lies in a range: softness lies outside of it, so that all of the range is acted on in full.
#[inline(always)]
fn within<L: Lane>(([from, to], softness): ([f32; 2], f32), y: L) -> L {
    let soft = softness.max(1e-4);
    y.smoothstep(from - soft, from) * (L::lit(1.0) - y.smoothstep(to, to + soft))
}

/// The formula behind a mask, for one colour.
#[inline(always)]
pub fn eval<K: Kernel, L: Lane>(kernel: &K, space: Space, mask: &Mask, c: Rgb<L>) -> Rgb<L> {
    let done = kernel.eval(c);
    if *mask == Mask::ALL {
        return done;
    }
    let w = mask.weight(c, space);
    [c[0].mix(done[0], w), c[1].mix(done[1], w), c[2].mix(done[2], w)]
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

/// Pixels that are masked at once.
const CHUNK: usize = 1024;

/// Applies a formula behind a mask to every pixel.
pub fn run<K: Kernel>(kernel: &K, space: Space, mask: &Mask, p: &mut Planes<'_>) {
    if *mask == Mask::ALL {
        return kernel.planes(p);
    }
    for ((r, g), b) in p.r.chunks_mut(CHUNK).zip(p.g.chunks_mut(CHUNK)).zip(p.b.chunks_mut(CHUNK)) {
        let mut given = [[0f32; CHUNK]; 3];
        for (kept, plane) in given.iter_mut().zip([&*r, &*g, &*b]) {
            kept[..plane.len()].copy_from_slice(plane);
        }
        kernel.planes(&mut Planes { r, g, b });
        blend(space, mask, &given, [r, g, b]);
    }
}

/// Mixes changed colours with what they were. What a mask looks at is decided outside of the loops over pixels, which otherwise
/// were no SIMD.
fn blend(space: Space, mask: &Mask, given: &[[f32; CHUNK]; 3], done: [&mut [f32]; 3]) {
    let mut weights = [mask.opacity; CHUNK];
    if let Some(range) = mask.luma {
        match space {
            Space::Encoded => by_luma::<Encoded>(range, given, &mut weights),
            Space::Linear => by_luma::<Linear>(range, given, &mut weights),
            Space::Oklab => by_luma::<Oklab>(range, given, &mut weights),
        }
    }
    if let Some(hue) = &mask.hue {
        match space {
            Space::Encoded => by_hue::<Encoded>(hue, given, &mut weights),
            Space::Linear => by_hue::<Linear>(hue, given, &mut weights),
            Space::Oklab => by_hue::<Oklab>(hue, given, &mut weights),
        }
    }
    for (given, done) in given.iter().zip(done) {
        mix(given, &weights, done);
    }
}

/// A space as a type, so that a loop knows it.
trait Known {
    const SPACE: Space;
}
struct Encoded;
struct Linear;
struct Oklab;
impl Known for Encoded {
    const SPACE: Space = Space::Encoded;
}
impl Known for Linear {
    const SPACE: Space = Space::Linear;
}
impl Known for Oklab {
    const SPACE: Space = Space::Oklab;
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn by_luma<S: Known>(range: ([f32; 2], f32), [r, g, b]: &[[f32; CHUNK]; 3], weights: &mut [f32; CHUNK]) {
    for (((r, g), b), w) in r.iter().zip(g).zip(b).zip(weights) {
        *w *= within(range, luma(convert([*r, *g, *b], S::SPACE, Space::Encoded)));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn by_hue<S: Known>(hue: &Hue, [r, g, b]: &[[f32; CHUNK]; 3], weights: &mut [f32; CHUNK]) {
    for (((r, g), b), w) in r.iter().zip(g).zip(b).zip(weights) {
        *w *= hue.weight(convert([*r, *g, *b], S::SPACE, Space::Oklab));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn mix(given: &[f32; CHUNK], weights: &[f32; CHUNK], done: &mut [f32]) {
    for ((v, was), w) in done.iter_mut().zip(given).zip(weights) {
        *v = was.mix(*v, *w);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn each<K: Kernel>(kernel: &K, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        [*r, *g, *b] = kernel.eval([*r, *g, *b]);
    }
}
