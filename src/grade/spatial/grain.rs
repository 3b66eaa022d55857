//! Film grain.

use super::{Band, Frame, Placed, SpatialOp, each};
use crate::grade::param::{Rule, params};
use crate::grade::space;
use crate::lane::trace::Traced;
use crate::lane::{At, Lane, Rgb};

params! {
    /// Grain like that of film: strongest in the middle tones, gone in black and white, of a size that is a share of the picture,
    /// so that it looks alike in every resolution. The same picture always gets the same grain.
    pub struct Grain = "grain" {
        /// Its standard deviation in the middle tones, in encoded values.
        amount: f32 = 0.0, Rule::Range(0.0, 0.2), "";
        /// Its size, as a share of the longer side; never below one pixel.
        size: f32 = 0.0007, Rule::Range(0.0002, 0.01), "share of the longer side";
        /// 0 is grey grain, 1 grain of its own in each channel.
        colour: f32 = 0.25, Rule::Range(0.0, 1.0), "";
    }
}

impl SpatialOp for Grain {
    fn is_noop(&self) -> bool {
        self.amount == 0.0
    }

    fn apply(&self, frame: &Frame, _around: &Band, rows: &mut Band) {
        each(self, frame, rows);
    }

    fn traced(&self, c: Rgb<Traced>, at: &At<Traced>) -> Option<Rgb<Traced>> {
        Some(self.eval(c, at))
    }
}

impl Placed for Grain {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>, at: &At<L>) -> Rgb<L> {
        let one = L::lit(1.0);
        let step = one / (at.width.max(at.height) * L::lit(self.size)).max(one);
        let (x, y) = (at.x * step, at.y * step);
        let luma = space::luma(c).clamp(0.0, 1.0);
        let strength = luma * (one - luma) * L::lit(self.amount * 4.0);
        let shared = noise(x, y, at.key) * L::lit((1.0 - self.colour).sqrt());
        let own = |k: f32| if self.colour > 0.0 { noise(x, y, at.key + L::lit(k)) * L::lit(self.colour.sqrt()) } else { L::lit(0.0) };
        [c[0] + (shared + own(1.0)) * strength, c[1] + (shared + own(2.0)) * strength, c[2] + (shared + own(3.0)) * strength]
    }
}

/// Smooth noise with unit variance at the grid points: random values on a grid, joined by a cubic step.
#[inline(always)]
fn noise<L: Lane>(x: L, y: L, key: L) -> L {
    let (ix, iy) = (x.floor(), y.floor());
    let (tx, ty) = ((x - ix).smoothstep(0.0, 1.0), (y - iy).smoothstep(0.0, 1.0));
    let (next, below) = (ix + L::lit(1.0), iy + L::lit(1.0));
    let top = ix.random(iy, key).mix(next.random(iy, key), tx);
    let bottom = ix.random(below, key).mix(next.random(below, key), tx);
    top.mix(bottom, ty)
}
