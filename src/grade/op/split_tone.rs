//! Split toning.

use super::prelude::*;

params! {
    /// Tints shadows and highlights, each with a hue of its own; the middle is left, and so is lightness. Works in OKLab.
    pub struct SplitTone = "split_tone" {
        /// Hue of the shadows: 30 red, 55 orange, 105 yellow, 142 green, 195 aqua, 255 blue, 300 purple.
        shadow_hue: f32 = 255.0, Rule::Range(0.0, 360.0), "degrees in OKLab";
        /// How much of it, as OKLab chroma.
        shadow_amount: f32 = 0.0, Rule::Range(0.0, 0.2), "";
        /// Hue of the highlights.
        highlight_hue: f32 = 70.0, Rule::Range(0.0, 360.0), "degrees in OKLab";
        /// How much of it, as OKLab chroma.
        highlight_amount: f32 = 0.0, Rule::Range(0.0, 0.2), "";
        /// OKLab lightness where one gives way to the other.
        balance: f32 = 0.55, Rule::Range(0.1, 0.9), "";
    }
}

impl ColorOp for SplitTone {
    type Kernel = Tints;

    fn space(&self) -> Space {
        Space::Oklab
    }

    fn is_noop(&self) -> bool {
        (self.shadow_amount, self.highlight_amount) == (0.0, 0.0)
    }

    fn kernel(&self) -> Result<Tints, String> {
        let tint = |hue: f32, amount: f32| {
            let (sin, cos) = hue.to_radians().sin_cos();
            [cos * amount, sin * amount]
        };
        Ok(Tints {
            shadow: tint(self.shadow_hue, self.shadow_amount),
            highlight: tint(self.highlight_hue, self.highlight_amount),
            balance: self.balance,
        })
    }
}

/// See [`SplitTone`].
pub struct Tints {
    shadow: [f32; 2],
    highlight: [f32; 2],
    balance: f32,
}

impl Kernel for Tints {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        // Black and white carry no tint: there is no room for it.
        let l = c[0];
        let dark = l.smoothstep(0.0, self.balance * 0.5) * (L::lit(1.0) - l.smoothstep(self.balance * 0.5, self.balance));
        let light = l.smoothstep(self.balance, self.balance + (1.0 - self.balance) * 0.6)
            * (L::lit(1.0) - l.smoothstep(self.balance + (1.0 - self.balance) * 0.6, 1.0));
        let add = |k: usize| dark * L::lit(self.shadow[k]) + light * L::lit(self.highlight[k]);
        [l, c[1] + add(0), c[2] + add(1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_middle_and_white_stay() {
        let k = SplitTone { shadow_amount: 0.05, highlight_amount: 0.05, ..SplitTone::default() }.kernel().unwrap();
        for l in [0.0f32, 0.55, 1.0] {
            assert_eq!(k.eval([l, 0.0, 0.0]), [l, 0.0, 0.0]);
        }
        assert!(k.eval([0.275f32, 0.0, 0.0])[2] < -0.04 && k.eval([0.82f32, 0.0, 0.0])[2] > 0.04);
    }
}
