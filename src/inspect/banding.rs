//! Contours in smooth ramps: steps of a few levels between plateaus where a gradient should be.
//!
//! In the manner of CAMBI (Tandon et al., "CAMBI: Contrast-aware multiscale banding index", PCS 2021), read at the pixel instead of by histograms: a contour pixel
//! is a step of 1.6 to 14 levels between two plateaus that are flat (within 1.2 levels) over six pixels each. A dithered
//! or noisy ramp has no plateaus, an 8-bit ramp's own steps are too small, and real edges are too large or too soft.

use rayon::prelude::*;

use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot};

/// Pixels of a plateau on each side.
const PLATEAU: usize = 6;
/// Side of a window, output pixels.
const WINDOW: usize = 64;
/// Least and largest step of a contour, levels of 255.
const STEP: (f32, f32) = (1.6, 14.0);
/// What counts as flat, levels of 255.
const FLAT: f32 = 1.2;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let (w, h) = (scene.result.width, scene.result.height);
    if w < WINDOW || h < WINDOW {
        return Outcome::NotApplicable("smaller than 64 px");
    }
    let of = |p: &super::Picture| {
        let mut all = Plane::new(p.width, p.height);
        for c in 0..if p.is_grey() { 1 } else { 3 } {
            let found = contours(p.channel(c));
            for (a, f) in all.data.iter_mut().zip(found.data) {
                *a = a.max(f);
            }
        }
        density(&all)
    };
    let map = of(&scene.result);
    let in_source = scene.source.as_ref().filter(|s| s.width >= WINDOW && s.height >= WINDOW).map(of);
    let note = |spot: &Spot| format!("{:.1} contour lines cross each {WINDOW} px of this ramp: banding", spot.raw);
    // One window can hold a drawn line; banding fills several. The fourth worst decides.
    let mut sorted = map.data.clone();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let score = sorted.get(3).or(sorted.last()).copied().unwrap_or(0.0);
    Outcome::Measured(Measured { score, map, in_source, least_area: 0.0, note: Box::new(note) })
}

/// The step at every contour pixel over four levels, at most 1; 0 elsewhere.
fn contours(plane: &Plane) -> Plane {
    let (w, h) = (plane.width, plane.height);
    let mut out = Plane::new(w, h);
    out.data.par_chunks_mut(w).enumerate().for_each(|(y, out)| {
        // Along the row: plateaus left and right of the step between x - 1 and x.
        let row = plane.row(y);
        for x in PLATEAU..w.saturating_sub(PLATEAU - 1) {
            let jump = (row[x] - row[x - 1]).abs() * 255.0;
            if jump >= STEP.0 && jump <= STEP.1 {
                let flat = |values: &[f32], level: f32| values.iter().all(|v| (v - level).abs() * 255.0 <= FLAT);
                if flat(&row[x - PLATEAU..x], row[x - 1]) && flat(&row[x..x + PLATEAU], row[x]) {
                    out[x] = (jump / 4.0).min(1.0);
                }
            }
        }
        // Down the column, all columns of the row together.
        if y < PLATEAU || y + PLATEAU > h {
            return;
        }
        let (above, here) = (plane.row(y - 1), plane.row(y));
        for x in 0..w {
            let jump = (here[x] - above[x]).abs() * 255.0;
            if jump >= STEP.0 && jump <= STEP.1 {
                let flat =
                    |rows: std::ops::Range<usize>, level: f32| rows.into_iter().all(|r| (plane.row(r)[x] - level).abs() * 255.0 <= FLAT);
                if flat(y - PLATEAU..y, above[x]) && flat(y..y + PLATEAU, here[x]) {
                    out[x] = out[x].max((jump / 4.0).min(1.0));
                }
            }
        }
    });
    // A contour is a line: single steps of a dither do not count.
    let joined = out.map(|v| f32::from(u8::from(v > 0.0))).mean(2);
    out.zip(&joined, |v, n| if n > 3.5 / 25.0 { v } else { 0.0 })
}

/// Contour length per window side, in windows half a window apart.
fn density(contours: &Plane) -> Plane {
    let small = contours.cells(WINDOW / 2);
    let (w, h) = (small.width.max(2) - 1, small.height.max(2) - 1);
    let mut out = Plane::new(w, h);
    for y in 0..h {
        for x in 0..w {
            let at = |dx: usize, dy: usize| small.data[(y + dy).min(small.height - 1) * small.width + (x + dx).min(small.width - 1)];
            out.data[y * w + x] = 0.25 * (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) * WINDOW as f32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;

    fn ramp(code: impl Fn(f32, usize, usize) -> f32) -> Picture {
        let mut p = Plane::new(512, 256);
        for y in 0..256 {
            for x in 0..512 {
                p.data[y * 512 + x] = code(80.0 + x as f32 * 0.12 + y as f32 * 0.07, x, y) / 255.0;
            }
        }
        Picture::from_planes([p.clone(), p.clone(), p])
    }

    fn score(p: &Picture) -> f32 {
        match measure(&Scene::alone(p.clone())) {
            Outcome::Measured(m) => m.score,
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn coarse_ramps_band_and_dithered_ones_do_not() {
        let banded = score(&ramp(|v, _, _| (v / 4.0).round() * 4.0));
        let finer = score(&ramp(|v, _, _| (v / 2.6).round() * 2.6));
        let honest = score(&ramp(|v, _, _| v.round()));
        let hash = |x: usize, y: usize| {
            let v = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
            ((v ^ (v >> 15)).wrapping_mul(0x2c1b_3c6d) >> 12) & 1023
        };
        let dithered = score(&ramp(|v, x, y| (v / 4.0 + hash(x, y) as f32 / 1024.0 - 0.5).round() * 4.0));
        assert!(banded > 1.0 && finer > 0.5, "{banded} {finer}");
        assert!(honest == 0.0 && dithered < 0.02 * banded, "{honest} {dithered}");
    }
}
