//! Levels.

use super::prelude::*;

params! {
    /// Stretches a range of encoded values to another one.
    pub struct Levels = "levels" {
        /// What becomes `out_black`.
        black: [f32; 3] = [0.0; 3], Rule::Range(-1.0, 0.99), "";
        /// What becomes `out_white`; must lie above `black`.
        white: [f32; 3] = [1.0; 3], Rule::Range(0.01, 4.0), "";
        /// Above 1 lightens the middle.
        gamma: [f32; 3] = [1.0; 3], Rule::Range(0.1, 10.0), "";
        /// The darkest result.
        out_black: f32 = 0.0, Rule::Range(0.0, 1.0), "";
        /// The lightest result.
        out_white: f32 = 1.0, Rule::Range(0.0, 1.0), "";
    }
}

impl ColorOp for Levels {
    type Kernel = Stretch;

    fn space(&self) -> Space {
        Space::Encoded
    }

    fn kernel(&self) -> Result<Stretch, String> {
        let at = |k: usize| (self.black[k], self.white[k]);
        match (0..3).map(at).find(|(black, white)| white - black < 0.005) {
            Some((black, white)) => Err(format!("`white` ({white}) must lie at least 0.005 above `black` ({black})")),
            None => Ok(Stretch {
                black: self.black,
                scale: [0, 1, 2].map(|k| 1.0 / (self.white[k] - self.black[k])),
                power: self.gamma.map(|g| 1.0 / g),
                low: self.out_black,
                span: self.out_white - self.out_black,
            }),
        }
    }
}

/// See [`Levels`].
pub struct Stretch {
    black: [f32; 3],
    scale: [f32; 3],
    power: [f32; 3],
    low: f32,
    span: f32,
}

impl Stretch {
    #[inline(always)]
    fn one<L: Lane>(&self, k: usize, v: L) -> L {
        let v = (v - L::lit(self.black[k])) * L::lit(self.scale[k]);
        let v = if self.power[k] == 1.0 { v } else { v.if_less(L::lit(0.0), v, v.pow(self.power[k])) };
        v * L::lit(self.span) + L::lit(self.low)
    }
}

impl Kernel for Stretch {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        [self.one(0, c[0]), self.one(1, c[1]), self.one(2, c[2])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_met() {
        let o = Levels { black: [0.1; 3], white: [0.9; 3], gamma: [2.0; 3], out_black: 0.05, out_white: 0.95 };
        let k = o.kernel().unwrap();
        for (v, want) in [(0.1, 0.05), (0.9, 0.95), (0.3, 0.5)] {
            assert!((k.eval([v; 3])[1] - want).abs() < 1e-6f32, "{v}");
        }
        assert!(Levels { black: [0.5; 3], white: [0.5; 3], ..Levels::default() }.kernel().is_err());
    }
}
