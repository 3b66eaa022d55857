//! Clarity.

use super::blur::{blurred, reach};
use super::{Band, Frame, SpatialOp, luma};
use crate::grade::param::{Rule, params};

params! {
    /// Contrast of the middle scale: lightens what is lighter than its wider surroundings and darkens what is darker, most in the
    /// middle tones, with large differences limited so that edges get no glow. Below 0 it softens.
    pub struct Clarity = "clarity" {
        /// How much of the difference from the surroundings is added.
        amount: f32 = 0.0, Rule::Range(-1.0, 2.0), "";
        /// Standard deviation of the surroundings.
        radius: f32 = 0.008, Rule::Range(0.001, 0.02), "share of the longer side";
    }
}

impl Clarity {
    fn sigma(&self, frame: &Frame) -> f32 {
        (self.radius * frame.long_edge()).max(0.5)
    }
}

impl SpatialOp for Clarity {
    fn is_noop(&self) -> bool {
        self.amount == 0.0
    }

    fn border(&self, frame: &Frame) -> usize {
        reach(self.sigma(frame))
    }

    fn apply(&self, frame: &Frame, around: &Band, rows: &mut Band) {
        /// Differences of this size, in encoded values, count half.
        const KNEE: f32 = 0.12;
        let y = luma(around);
        let soft = blurred(&y, self.sigma(frame), rows.y, rows.end());
        for r in 0..rows.rows {
            for x in 0..rows.width {
                let own = y.row(0, rows.y + r - y.y)[x];
                let l = own.clamp(0.0, 1.0);
                let detail = own - soft.row(0, r)[x];
                let by = self.amount * detail / (1.0 + detail.abs() / KNEE) * 4.0 * l * (1.0 - l);
                (0..3).for_each(|c| rows.row_mut(c, r)[x] += by);
            }
        }
    }
}
