//! Exposure.

use super::prelude::*;

params! {
    /// More or less light. Works on linear light.
    pub struct Exposure = "exposure" {
        /// Doublings of the light; values above white are kept for later operations.
        stops: f32 = 0.0, Rule::Range(-10.0, 10.0), "stops";
    }
}

impl ColorOp for Exposure {
    type Kernel = Gain;

    fn space(&self) -> Space {
        Space::Linear
    }

    fn kernel(&self) -> Result<Gain, String> {
        Ok(Gain(self.stops.exp2()))
    }
}

/// A factor for all channels.
pub struct Gain(f32);

impl Kernel for Gain {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let k = L::lit(self.0);
        [c[0] * k, c[1] * k, c[2] * k]
    }
}
