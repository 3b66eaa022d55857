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

impl Kernel for Correction {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let o = &self.0;
        let end = |v: L| if o.clamp { v.clamp(0.0, 1.0) } else { v };
        let one = |k: usize| {
            let v = end(c[k] * L::lit(o.slope[k]) + L::lit(o.offset[k]));
            // One exponent for the whole loop: what is left out costs nothing.
            if o.power[k] == 1.0 { v } else { v.if_less(L::lit(0.0), v, v.pow(o.power[k])) }
        };
        let (r, g, b) = (one(0), one(1), one(2));
        if o.saturation == 1.0 {
            return [end(r), end(g), end(b)];
        }
        let (y, s) = (luma([r, g, b]), L::lit(o.saturation));
        [end(y.mix(r, s)), end(y.mix(g, s)), end(y.mix(b, s))]
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
