//! Vignette.

use super::{Band, Frame, SpatialOp};
use crate::grade::param::{Rule, params};
use crate::grade::space::{Space, convert};

params! {
    /// Darkens (or lightens) towards the corners, as a lens does: a factor on linear light by the distance from the middle.
    pub struct Vignette = "vignette" {
        /// Light lost in the corners; below 0 they become lighter.
        stops: f32 = 0.0, Rule::Range(-3.0, 3.0), "stops";
        /// Where it begins: 0 in the middle, 1 in the corners.
        start: f32 = 0.35, Rule::Range(0.0, 0.95), "share of half the diagonal";
        /// 1 follows the picture's shape, 0 is a circle.
        oval: f32 = 0.5, Rule::Range(0.0, 1.0), "";
    }
}

impl SpatialOp for Vignette {
    fn is_noop(&self) -> bool {
        self.stops == 0.0
    }

    fn apply(&self, frame: &Frame, _around: &Band, rows: &mut Band) {
        let (w, h) = (frame.width as f32, frame.height as f32);
        // Half axes of the ellipse through the corners, between the circle's and the picture's own shape.
        let round = (w * w + h * h).sqrt() / 2.0;
        let axis = |side: f32| {
            let own = side / 2.0 * std::f32::consts::SQRT_2;
            round + (own - round) * self.oval
        };
        let (ax, ay) = (axis(w), axis(h));
        let corner = ((w / 2.0 / ax).powi(2) + (h / 2.0 / ay).powi(2)).sqrt();
        for r in 0..rows.rows {
            let dy = ((rows.y + r) as f32 + 0.5 - h / 2.0) / ay;
            for x in 0..rows.width {
                let dx = (x as f32 + 0.5 - w / 2.0) / ax;
                let t = (((dx * dx + dy * dy).sqrt() / corner - self.start) / (1.0 - self.start)).clamp(0.0, 1.0);
                if t == 0.0 {
                    continue;
                }
                let k = (-self.stops * t * t * (3.0 - 2.0 * t)).exp2();
                let c = convert([0, 1, 2].map(|c| rows.row(c, r)[x]), Space::Encoded, Space::Linear);
                let c = convert([c[0] * k, c[1] * k, c[2] * k], Space::Linear, Space::Encoded);
                (0..3).for_each(|k| rows.row_mut(k, r)[x] = c[k]);
            }
        }
    }
}
