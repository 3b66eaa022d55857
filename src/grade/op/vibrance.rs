//! Vibrance.

use super::prelude::*;
use crate::grade::kernel::Hue;

params! {
    /// Saturation that reaches for the dull colours, spares those that are strong already, and protects skin. Works in OKLab.
    pub struct Vibrance = "vibrance" {
        /// Added chroma, as a share of the dullest colours' own; below 0 it takes away.
        amount: f32 = 0.0, Rule::Range(-1.0, 2.0), "";
        /// How much of it is kept from skin hues: 0 none, 1 all.
        protect_skin: f32 = 0.75, Rule::Range(0.0, 1.0), "";
    }
}

impl ColorOp for Vibrance {
    type Kernel = Dull;

    fn space(&self) -> Space {
        Space::Oklab
    }

    fn is_noop(&self) -> bool {
        self.amount == 0.0
    }

    fn kernel(&self) -> Result<Dull, String> {
        // Skin of every tone under white light lies around 55 degrees in OKLab.
        Ok(Dull { amount: self.amount, protect: self.protect_skin, skin: Hue::new(55.0, 18.0, 25.0) })
    }
}

/// See [`Vibrance`].
pub struct Dull {
    amount: f32,
    protect: f32,
    skin: Hue,
}

impl Kernel for Dull {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        /// Chroma from which on nothing is added.
        const STRONG: f32 = 0.3;
        let one = L::lit(1.0);
        let chroma = (c[1] * c[1] + c[2] * c[2]).sqrt();
        let dull = one - chroma.smoothstep(0.0, STRONG);
        let k = one + L::lit(self.amount) * dull * (one - self.skin.weight(c) * L::lit(self.protect));
        [c[0], c[1] * k, c[2] * k]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::space::convert;

    #[test]
    fn skin_and_strong_colours_are_spared() {
        let k = Vibrance { amount: 0.5, protect_skin: 1.0 }.kernel().unwrap();
        let gain = |rgb: [f32; 3]| {
            let lab = convert(rgb, Space::Encoded, Space::Oklab);
            let out = k.eval(lab);
            (out[1].hypot(out[2])) / lab[1].hypot(lab[2])
        };
        assert!(gain([0.5, 0.55, 0.6]) > 1.35, "a dull sky");
        assert!(gain([0.87, 0.69, 0.58]) < 1.06, "light skin");
        assert!(gain([0.36, 0.24, 0.17]) < 1.06, "dark skin");
        assert!(gain([0.0, 0.2, 1.0]) < 1.05, "strong blue");
    }
}
