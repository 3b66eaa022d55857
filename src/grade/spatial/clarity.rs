//! Clarity.

use super::blur::{blurred, reach};
use super::{Band, Frame, SpatialOp, luma};
use crate::grade::param::{Rule, params};

params! {
    /// Contrast of the middle scale: lightens what is lighter than its wider surroundings and darkens what is darker, most in the
    /// middle tones, and little beside hard edges, so that they get hardly a glow. Below 0 it softens.
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
        /// Surroundings of this variance count half: texture lies below it, the edges of things far above (the weight of a
        /// guided filter, He et al. 2010). A limit on the difference alone still leaves a glow along every edge.
        const TEXTURE: f32 = 0.005;
        let y = luma(around);
        let mut squares = y.clone();
        squares.data.iter_mut().for_each(|v| *v *= *v);
        let sigma = self.sigma(frame);
        let (mean, square) = (blurred(&y, sigma, rows.y, rows.end()), blurred(&squares, sigma, rows.y, rows.end()));
        for r in 0..rows.rows {
            let (mean, square) = (mean.row(0, r), square.row(0, r));
            for x in 0..rows.width {
                let own = y.row(0, rows.y + r - y.y)[x];
                let l = own.clamp(0.0, 1.0);
                let detail = own - mean[x];
                // The point itself counts as well: beyond an edge the blur still sees little of it.
                let variance = (square[x] - mean[x] * mean[x]).max(detail * detail);
                let by = self.amount * detail * TEXTURE / (TEXTURE + variance) * 4.0 * l * (1.0 - l);
                (0..3).for_each(|c| rows.row_mut(c, r)[x] += by);
            }
        }
    }
}
