//! Contrast around a pivot.

use super::prelude::*;

params! {
    /// Contrast that never clips: above 1 an S-curve that keeps black, pivot and white; below 1 a straight line through the pivot.
    /// Works on encoded values; values outside 0..1 are moved along.
    pub struct Contrast = "contrast" {
        /// Slope at the pivot; 1 leaves as it is.
        amount: f32 = 1.0, Rule::Range(0.0, 4.0), "";
        /// The encoded value that stays.
        pivot: f32 = 0.45, Rule::Range(0.05, 0.95), "";
    }
}

impl ColorOp for Contrast {
    type Kernel = Curve;

    fn space(&self) -> Space {
        Space::Encoded
    }

    fn is_noop(&self) -> bool {
        self.amount == 1.0
    }

    fn kernel(&self) -> Result<Curve, String> {
        Ok(Curve { amount: self.amount, pivot: self.pivot })
    }
}

/// See [`Contrast`].
pub struct Curve {
    amount: f32,
    pivot: f32,
}

impl Curve {
    #[inline(always)]
    fn one<L: Lane>(&self, v: L) -> L {
        let (p, one) = (L::lit(self.pivot), L::lit(1.0));
        if self.amount <= 1.0 {
            return p + (v - p) * L::lit(self.amount);
        }
        let x = v.clamp(0.0, 1.0);
        let low = p * (x * L::lit(1.0 / self.pivot)).pow(self.amount);
        let high = one - (one - p) * ((one - x) * L::lit(1.0 / (1.0 - self.pivot))).pow(self.amount);
        x.if_less(p, low, high) + (v - x)
    }
}

impl Kernel for Curve {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        [self.one(c[0]), self.one(c[1]), self.one(c[2])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_pivot_and_white_stay() {
        let k = Contrast { amount: 1.6, pivot: 0.4 }.kernel().unwrap();
        for v in [0.0, 0.4, 1.0, -0.5, 1.75] {
            assert!((k.one(v) - v).abs() < 1e-6, "{v}: {}", k.one(v));
        }
        let slope = (k.one(0.401f32) - k.one(0.399)) / 0.002;
        assert!((slope - 1.6).abs() < 1e-2, "{slope}");
        let k = Contrast { amount: 0.5, pivot: 0.4 }.kernel().unwrap();
        assert!((k.one(1.0f32) - 0.7).abs() < 1e-6);
    }
}
