//! Debanding.

use multiversion::multiversion;

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
        // The widest ring that is all of one gradient is the one that levels a step.
        let rings: Vec<isize> =
            [1.0, 0.7, 0.45, 0.3, 0.2, 0.1].iter().map(|s| (reach as f32 * s).round() as isize).filter(|d| *d > 0).collect();
        let (w, top, bottom) = (rows.width as isize, around.y as isize, around.end() as isize - 1);
        let inside = reach.min(w)..(w - reach).max(reach.min(w));
        for c in 0..3 {
            for r in 0..rows.rows {
                let y = (rows.y + r) as isize;
                let row = |dy: isize| around.row(c, ((y + dy).clamp(top, bottom) - top) as usize);
                let given = row(0);
                let out = rows.row_mut(c, r);
                // Next to the left and right end the points are those of the edge.
                for x in (0..w).filter(|x| !inside.contains(x)) {
                    for d in rings.iter().rev() {
                        let at = |[dx, dy]: [isize; 2]| row(dy)[(x + dx).clamp(0, w - 1) as usize];
                        if let Some(v) = level(given[x as usize], around_at(*d).map(at), most) {
                            out[x as usize] = v;
                        }
                    }
                }
                // From near to far: the last that is level stays.
                for d in rings.iter().rev() {
                    let from = |[dx, dy]: [isize; 2]| &row(dy)[(inside.start + dx) as usize..][..inside.len()];
                    let span = inside.start as usize..inside.end as usize;
                    levelled(&given[span.clone()], around_at(*d).map(from), most, &mut out[span]);
                }
            }
        }
    }
}

/// Points of a ring, opposite ones beside each other, so that an even slope keeps its value.
fn around_at(d: isize) -> [[isize; 2]; 8] {
    let s = (d as f32 * 0.7).round() as isize;
    [[d, 0], [-d, 0], [0, d], [0, -d], [s, s], [-s, -s], [s, -s], [-s, s]]
}

/// The mean of a ring, if all of it lies near enough.
#[inline(always)]
fn level(own: f32, ring: [f32; 8], most: f32) -> Option<f32> {
    let [mut far, mut sum] = [0f32; 2];
    for v in ring {
        far = far.max((v - own).abs());
        sum += v - own;
    }
    // As a difference, so that flat areas stay what they are to the last bit.
    (far <= most).then_some(own + sum / 8.0)
}

/// The same of many pixels: `ring` are the rows that hold the points of each.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn levelled(given: &[f32], ring: [&[f32]; 8], most: f32, out: &mut [f32]) {
    let n = out.len();
    let [a, b, c, d, e, f, g, h] = ring.map(|row| &row[..n]);
    for (i, (o, own)) in out.iter_mut().zip(&given[..n]).enumerate() {
        *o = level(*own, [a[i], b[i], c[i], d[i], e[i], f[i], g[i], h[i]], most).unwrap_or(*o);
    }
}
