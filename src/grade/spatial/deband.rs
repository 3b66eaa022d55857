//! Debanding.

use super::{Band, Frame, SpatialOp};
use crate::grade::param::{Rule, params};

params! {
    /// Smooths the steps that a soft gradient has where it was stored with too few codes. A pixel becomes the mean of points around
    /// it if all of them lie within a few of the source's own codes, so that nothing that was visible as detail is touched.
    pub struct Deband = "deband" {
        /// How far, in codes of the source (1/255 for 8 bits), the points may lie from the pixel.
        codes: f32 = 0.0, Rule::Range(0.0, 4.0), "codes of the source";
        /// Distance of the furthest points.
        radius: f32 = 0.01, Rule::Range(0.001, 0.03), "share of the longer side";
    }
}

impl Deband {
    fn reach(&self, frame: &Frame) -> usize {
        ((self.radius * frame.long_edge()).round() as usize).clamp(2, 256)
    }
}

impl SpatialOp for Deband {
    fn is_noop(&self) -> bool {
        self.codes == 0.0
    }

    fn border(&self, frame: &Frame) -> usize {
        self.reach(frame)
    }

    fn apply(&self, frame: &Frame, around: &Band, rows: &mut Band) {
        let code = if frame.bits == 8 { 1.0 / 255.0 } else { 1.0 / 65535.0 };
        let most = self.codes * code * 1.02;
        let reach = self.reach(frame) as isize;
        // From far to near: the widest ring that is all of one gradient is the one that levels a step.
        let rings: Vec<isize> =
            [1.0, 0.7, 0.45, 0.3, 0.2, 0.1].iter().map(|s| (reach as f32 * s).round() as isize).filter(|d| *d > 0).collect();
        let (w, top, bottom) = (rows.width as isize, around.y as isize, around.end() as isize - 1);
        for c in 0..3 {
            for r in 0..rows.rows {
                let y = (rows.y + r) as isize;
                for x in 0..rows.width {
                    let at = |dx: isize, dy: isize| {
                        let row = (y + dy).clamp(top, bottom) - top;
                        around.row(c, row as usize)[(x as isize + dx).clamp(0, w - 1) as usize]
                    };
                    let own = at(0, 0);
                    for d in &rings {
                        // Opposite points, so that an even slope keeps its value.
                        let s = (*d as f32 * 0.7).round() as isize;
                        let ring = [at(*d, 0), at(-d, 0), at(0, *d), at(0, -d), at(s, s), at(-s, -s), at(s, -s), at(-s, s)];
                        if ring.iter().all(|v| (v - own).abs() <= most) {
                            // As a difference, so that flat areas stay what they are to the last bit.
                            rows.row_mut(c, r)[x] = own + ring.iter().map(|v| v - own).sum::<f32>() / 8.0;
                            break;
                        }
                    }
                }
            }
        }
    }
}
