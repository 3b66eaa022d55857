//! Saturation.

use super::prelude::*;

params! {
    /// Scales the colourfulness of everything alike. Works in OKLab, so lightness and hue stay.
    pub struct Saturation = "saturation" {
        /// 0 is grey, 1 leaves as it is, 2 doubles.
        amount: f32 = 1.0, Rule::Range(0.0, 4.0), "";
    }
}

impl ColorOp for Saturation {
    type Kernel = Chroma;

    fn space(&self) -> Space {
        Space::Oklab
    }

    fn kernel(&self) -> Result<Chroma, String> {
        Ok(Chroma(self.amount))
    }
}

/// A factor for chroma.
pub struct Chroma(f32);

impl Kernel for Chroma {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let k = L::lit(self.0);
        [c[0], c[1] * k, c[2] * k]
    }
}
