//! Sharpening.

use super::blur::{blurred, reach};
use super::{Band, Frame, SpatialOp, luma};
use crate::grade::param::{Rule, params};

params! {
    /// Unsharp masking of luma with a limit on halos: a pixel goes beyond the lightest and darkest of its surroundings by `halo`
    /// at most, so that edges gain without a rim.
    pub struct Sharpen = "sharpen" {
        /// How much of the difference from the blurred picture is added.
        amount: f32 = 0.0, Rule::Range(0.0, 5.0), "";
        /// Standard deviation of the blur.
        radius_px: f32 = 0.8, Rule::Range(0.3, 8.0), "pixels";
        /// How far beyond its surroundings (as wide as the radius) a pixel may go, in encoded values.
        halo: f32 = 0.02, Rule::Range(0.0, 1.0), "";
        /// Differences up to this, in encoded values, are taken for noise and left.
        threshold: f32 = 0.004, Rule::Range(0.0, 0.2), "";
    }
}

impl SpatialOp for Sharpen {
    fn is_noop(&self) -> bool {
        self.amount == 0.0
    }

    fn border(&self, _frame: &Frame) -> usize {
        reach(self.radius_px)
    }

    fn apply(&self, _frame: &Frame, around: &Band, rows: &mut Band) {
        let y = luma(around);
        let soft = blurred(&y, self.radius_px, rows.y, rows.end());
        let near = self.radius_px.ceil().max(1.0) as usize;
        for r in 0..rows.rows {
            let at = rows.y + r;
            // The lightest and darkest of each column, then of neighbouring columns.
            let (top, bottom) = (at.saturating_sub(near).max(y.y), (at + near + 1).min(y.end()));
            let (mut low, mut high) = (y.row(0, top - y.y).to_vec(), y.row(0, top - y.y).to_vec());
            for other in top + 1..bottom {
                for ((l, h), v) in low.iter_mut().zip(&mut high).zip(y.row(0, other - y.y)) {
                    (*l, *h) = (l.min(*v), h.max(*v));
                }
            }
            for x in 0..rows.width {
                let columns = x.saturating_sub(near)..(x + near + 1).min(rows.width);
                let least = low[columns.clone()].iter().fold(f32::MAX, |m, v| m.min(*v));
                let most = high[columns].iter().fold(f32::MIN, |m, v| m.max(*v));
                let own = y.row(0, at - y.y)[x];
                let detail = own - soft.row(0, r)[x];
                // What is above the threshold begins at 0, so that nothing jumps.
                let detail = (detail.abs() - self.threshold).max(0.0).copysign(detail);
                let by = (own + detail * self.amount).clamp(least - self.halo, most + self.halo) - own;
                (0..3).for_each(|c| rows.row_mut(c, r)[x] += by);
            }
        }
    }
}
