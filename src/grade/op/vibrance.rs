//! Vibrance.

use super::prelude::*;
use crate::grade::kernel::Hue;
use crate::grade::space::{convert, luma};

params! {
    /// Saturation that reaches for the dull colours, spares those that are strong already or at the edge of what sRGB can show,
    /// and protects skin. Works in OKLab.
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
        let wanted = L::lit(self.amount) * dull * (one - self.skin.weight(c) * L::lit(self.protect));
        // What is taken away always fits; what is added nears the room there is and never reaches it.
        let room = room(convert(c, Space::Oklab, Space::Linear));
        let added = wanted * room / (room + wanted.max(L::lit(1e-6)));
        let k = one + wanted.if_less(L::lit(0.0), wanted, added);
        [c[0], c[1] * k, c[2] * k]
    }
}

/// By which share of itself the distance of a linear colour from its grey can grow before a channel leaves 0..1; 0 for colours
/// that are outside already, at most 4.
#[inline(always)]
fn room<L: Lane>(c: Rgb<L>) -> L {
    let y = luma(c).clamp(0.0, 1.0);
    let one = |v: L| {
        let up = (L::lit(1.0) - y) / (v - y).max(L::lit(1e-4));
        let down = y / (y - v).max(L::lit(1e-4));
        up.min(down)
    };
    (one(c[0]).min(one(c[1])).min(one(c[2])) - L::lit(1.0)).clamp(0.0, 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_colour_is_pushed_out_of_srgb() {
        let k = Vibrance { amount: 1.0, protect_skin: 0.0 }.kernel().unwrap();
        for i in 0..17 * 17 * 17 {
            let c = [i % 17, i / 17 % 17, i / 289].map(|v| v as f32 / 16.0);
            let out = convert(k.eval(convert(c, Space::Encoded, Space::Oklab)), Space::Oklab, Space::Linear);
            assert!(out.iter().all(|v| (-0.012..=1.012).contains(v)), "{c:?} became {out:?} in linear light");
        }
    }

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
