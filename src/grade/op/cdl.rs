//! ASC CDL.

use super::prelude::*;
use crate::grade::space::luma;

params! {
    /// The colour correction of the American Society of Cinematographers (CDL 1.2): `(in * slope + offset) ^ power`, then
    /// saturation around Rec. 709 luma. Values below 0 are left unpowered, as OpenColorIO does unless told to clamp.
    pub struct Cdl = "cdl" {
        /// Factor per channel.
        slope: [f32; 3] = [1.0; 3], Rule::Range(0.0, 100.0), "";
        /// Added per channel.
        offset: [f32; 3] = [0.0; 3], Rule::Range(-100.0, 100.0), "";
        /// Exponent per channel.
        power: [f32; 3] = [1.0; 3], Rule::Range(0.01, 100.0), "";
        /// 0 is grey, 1 leaves as it is.
        saturation: f32 = 1.0, Rule::Range(0.0, 100.0), "";
        /// Limit to 0..1 before the power and at the end, as the standard's own formula does.
        clamp: bool = false, Rule::Any, "";
        /// What it works on: encoded values or linear light.
        space: String = "encoded".into(), Rule::OneOf(&["encoded", "linear"]), "";
        /// A .cc, .ccc or .cdl file that gives the numbers, `FILE#ID` for one of several; relative to the look file.
        file: String = String::new(), Rule::Any, "";
    }
}

impl ColorOp for Cdl {
    type Kernel = Correction;

    fn space(&self) -> Space {
        if self.space == "linear" { Space::Linear } else { Space::Encoded }
    }

    fn is_noop(&self) -> bool {
        (self.slope, self.offset, self.power, self.saturation, self.clamp) == ([1.0; 3], [0.0; 3], [1.0; 3], 1.0, false)
    }

    fn load(&mut self, folder: &Path) -> crate::Result<()> {
        if self.file.is_empty() {
            return Ok(());
        }
        let c = crate::grade::cdl::pick(&folder.join(&self.file))?;
        (self.slope, self.offset, self.power, self.saturation) = (c.slope, c.offset, c.power, c.saturation);
        self.file.clear();
        Ok(())
    }

    fn kernel(&self) -> Result<Correction, String> {
        Ok(Correction(self.clone()))
    }
}

/// See [`Cdl`].
pub struct Correction(Cdl);

impl Correction {
    /// What is done to each channel alone, and the saturation; `None` without one.
    pub(in crate::grade) fn split(&self) -> Option<(Self, Self)> {
        let Cdl { saturation, clamp, .. } = self.0;
        let alone = Self(Cdl { saturation: 1.0, ..self.0.clone() });
        (saturation != 1.0).then(|| (alone, Self(Cdl { saturation, clamp, ..Cdl::default() })))
    }
}

impl Correction {
    #[inline(always)]
    fn end<L: Lane>(&self, v: L) -> L {
        if self.0.clamp { v.clamp(0.0, 1.0) } else { v }
    }

    #[inline(always)]
    fn one<L: Lane>(&self, k: usize, v: L) -> L {
        let o = &self.0;
        let v = self.end(v * L::lit(o.slope[k]) + L::lit(o.offset[k]));
        // One exponent for the whole loop: what is left out costs nothing.
        if o.power[k] == 1.0 { v } else { v.if_less(L::lit(0.0), v, v.pow(o.power[k])) }
    }
}

impl Kernel for Correction {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let (r, g, b) = (self.one(0, c[0]), self.one(1, c[1]), self.one(2, c[2]));
        if self.0.saturation == 1.0 {
            return [self.end(r), self.end(g), self.end(b)];
        }
        let (y, s) = (luma([r, g, b]), L::lit(self.0.saturation));
        [self.end(y.mix(r, s)), self.end(y.mix(g, s)), self.end(y.mix(b, s))]
    }

    fn planes(&self, p: &mut Planes<'_>) {
        let o = &self.0;
        let (low, high) = if o.clamp { (0.0, 1.0) } else { (f32::NEG_INFINITY, f32::INFINITY) };
        for (k, plane) in [&mut *p.r, &mut *p.g, &mut *p.b].into_iter().enumerate() {
            if (o.slope[k], o.offset[k]) != (1.0, 0.0) || o.clamp {
                line(plane, o.slope[k], o.offset[k], low, high);
            }
            if o.power[k] != 1.0 {
                power(plane, o.power[k]);
            }
        }
        if o.saturation != 1.0 {
            saturate(p.r, p.g, p.b, o.saturation, low, high);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn line(plane: &mut [f32], slope: f32, offset: f32, low: f32, high: f32) {
    for v in plane {
        *v = (*v * slope + offset).max(low).min(high);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn power(plane: &mut [f32], e: f32) {
    for v in plane {
        *v = v.if_less(0.0, *v, Lane::pow(*v, e));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn saturate(r: &mut [f32], g: &mut [f32], b: &mut [f32], by: f32, low: f32, high: f32) {
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        let y = luma([*r, *g, *b]);
        *r = y.mix(*r, by).max(low).min(high);
        *g = y.mix(*g, by).max(low).min(high);
        *b = y.mix(*b, by).max(low).min(high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with OpenColorIO 2.6 (no clamping) from the values of its own test file.
    #[test]
    fn equals_opencolorio() {
        let look = Cdl { slope: [1.0, 1.0, 0.9], offset: [-0.03, -0.02, 0.0], power: [1.25, 1.0, 1.0], saturation: 1.7, ..Cdl::default() };
        let k = look.kernel().unwrap();
        for (c, want) in [
            ([0.0, 0.0, 0.0], [-0.036_522_6, -0.019_522_6, 0.014_477_4]),
            ([1.0, 1.0, 1.0], [0.957_117, 0.986_627, 0.850_626]),
            ([0.2, 0.7, 0.4], [-0.189_304, 0.781_125, 0.237_125]),
            ([-0.4, 1.3, 0.8], [-1.344_22, 1.562_78, 0.610_785]),
            ([1.7, -0.2, 2.6], [2.936_69, -0.664_648, 3.687_35]),
        ] {
            let got = k.eval::<f32>(c);
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5 * w.abs().max(1.0)), "{c:?}: {got:?} not {want:?}");
        }
        // ASC CDL 1.2, 3.1: limited to 0..1 before the power.
        let k = Cdl { slope: [2.0; 3], power: [2.0; 3], clamp: true, ..Cdl::default() }.kernel().unwrap();
        assert_eq!(k.eval::<f32>([0.9, -0.5, 0.25]).map(|v| (v * 1e5).round() / 1e5), [1.0, 0.0, 0.25]);
    }
}
