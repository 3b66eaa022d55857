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
        let (x, y, across) = (at.x * step, at.y * step, at.width * step);
        let luma = space::luma(c).clamp(0.0, 1.0);
        let strength = luma * (one - luma) * L::lit(self.amount * 4.0);
        let shared = noise(x, y, across, at.key) * L::lit((1.0 - self.colour).sqrt());
        let own =
            |k: f32| if self.colour > 0.0 { noise(x, y, across, at.key + L::lit(k)) * L::lit(self.colour.sqrt()) } else { L::lit(0.0) };
        [c[0] + (shared + own(1.0)) * strength, c[1] + (shared + own(2.0)) * strength, c[2] + (shared + own(3.0)) * strength]
    }
}

/// Smooth noise of unit variance everywhere: a coarser and a finer layer on grids that are turned, so that neither rows and
/// columns of the picture nor a weave show. `across` is the picture's width in grid steps.
#[inline(always)]
fn noise<L: Lane>(x: L, y: L, across: L, key: L) -> L {
    // Sine and cosine of two angles without a common period (27 and 58 degrees), size and share of each layer; the squares of
    // the shares add up to one.
    const LAYERS: [(f32, f32, f32, f32); 2] = [(0.454, 0.891, 1.0, 0.8), (0.848, 0.53, 1.6, 0.6)];
    let mut sum = L::lit(0.0);
    for (k, (sin, cos, finer, share)) in LAYERS.into_iter().enumerate() {
        let (sin, cos) = (L::lit(sin * finer), L::lit(cos * finer));
        // Moved by what the turn would take below zero: the grid is numbered from 0 on.
        let (u, v) = (x * cos + y * sin, (across - x) * sin + y * cos);
        sum = sum + layer(u, v, key + L::lit(k as f32 * 4.0)) * L::lit(share);
    }
    sum
}

/// Random values on a grid, joined by a cubic step. Between grid points four values are averaged; what that takes from the
/// deviation is given back, or the grid shows as a pattern of stronger and weaker grain.
#[inline(always)]
fn layer<L: Lane>(x: L, y: L, key: L) -> L {
    let one = L::lit(1.0);
    let (ix, iy) = (x.floor(), y.floor());
    let (tx, ty) = ((x - ix).smoothstep(0.0, 1.0), (y - iy).smoothstep(0.0, 1.0));
    let (next, below) = (ix + one, iy + one);
    let top = ix.random(iy, key).mix(next.random(iy, key), tx);
    let bottom = ix.random(below, key).mix(next.random(below, key), tx);
    let variance = |t: L| t * t + (one - t) * (one - t);
    top.mix(bottom, ty) / (variance(tx) * variance(ty)).sqrt()
}
