//! Film grain.

use super::{Band, Frame, SpatialOp};
use crate::grade::param::{Rule, params};

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
        let step = 1.0 / (self.size * frame.long_edge()).max(1.0);
        let luma = super::luma(rows);
        let (own, shared) = (self.colour.sqrt(), (1.0 - self.colour).sqrt());
        for r in 0..rows.rows {
            let y = (rows.y + r) as f32 * step;
            for x in 0..rows.width {
                let at = x as f32 * step;
                let l = luma.row(0, r)[x].clamp(0.0, 1.0);
                let strength = self.amount * 4.0 * l * (1.0 - l);
                let all = noise(at, y, frame.seed) * shared;
                for c in 0..3 {
                    let mine = if own > 0.0 { noise(at, y, frame.seed.wrapping_add(c as u64 + 1)) * own } else { 0.0 };
                    rows.row_mut(c, r)[x] += (all + mine) * strength;
                }
            }
        }
    }
}

/// Smooth noise with unit variance at the grid points: random values on a grid, joined by a cubic step.
fn noise(x: f32, y: f32, seed: u64) -> f32 {
    let (ix, iy) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (smooth(x - ix), smooth(y - iy));
    let at = |dx: i64, dy: i64| random(ix as i64 + dx, iy as i64 + dy, seed);
    let top = at(0, 0) + (at(1, 0) - at(0, 0)) * tx;
    let bottom = at(0, 1) + (at(1, 1) - at(0, 1)) * tx;
    top + (bottom - top) * ty
}

/// About normal with mean 0 and variance 1: the sum of four bytes of a hash (the finaliser of SplitMix64, Steele et al. 2014).
fn random(x: i64, y: i64, seed: u64) -> f32 {
    let mut z = (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (y as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f) ^ seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let sum: u32 = z.to_le_bytes()[..4].iter().map(|b| u32::from(*b)).sum();
    // Four bytes have mean 510 and standard deviation sqrt(4 * (256^2 - 1) / 12) = 147.8.
    (sum as f32 - 510.0) / 147.8
}
