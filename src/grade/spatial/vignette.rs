//! Vignette.

use super::{Band, Frame, Placed, SpatialOp, each};
use crate::grade::param::{Rule, params};
use crate::grade::space::{Space, convert};
use crate::lane::trace::Traced;
use crate::lane::{At, Lane, Rgb};

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
        each(self, frame, rows);
    }

    fn traced(&self, c: Rgb<Traced>, at: &At<Traced>) -> Option<Rgb<Traced>> {
        Some(self.eval(c, at))
    }
}

impl Placed for Vignette {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>, at: &At<L>) -> Rgb<L> {
        let half = L::lit(0.5);
        let (w, h) = (at.width, at.height);
        // Half axes of the ellipse through the corners, between the circle's and the picture's own shape.
        let round = (w * w + h * h).sqrt() * half;
        let axis = |side: L| round.mix(side * L::lit(std::f32::consts::FRAC_1_SQRT_2), L::lit(self.oval));
        let (ax, ay) = (axis(w), axis(h));
        let length = |x: L, y: L| (x * x + y * y).sqrt();
        let corner = length(w * half / ax, h * half / ay);
        let from_middle = length((at.x + half - w * half) / ax, (at.y + half - h * half) / ay) / corner;
        let t = ((from_middle - L::lit(self.start)) * L::lit(1.0 / (1.0 - self.start))).clamp(0.0, 1.0);
        let k = (L::lit(-self.stops) * t * t * (L::lit(3.0) - t - t)).exp2();
        let light = convert(c, Space::Encoded, Space::Linear);
        let done = convert([light[0] * k, light[1] * k, light[2] * k], Space::Linear, Space::Encoded);
        // The middle stays to the last bit.
        let keep = |k: usize| L::lit(0.0).if_less(t, done[k], c[k]);
        [keep(0), keep(1), keep(2)]
    }
}
