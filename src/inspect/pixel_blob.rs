//! Dead blocks and mosaic: a constant rectangle with a hard border, or a patch of square cells, where there should be a picture.
//!
//! Read from runs of equal values (within one level) that end in a jump. Dead: pixels in a run of at least six along both axes, each run
//! bounded by jumps on both sides. Mosaic: in windows of 32 px, jumps that share one phase of a period 3 to 16 along both axes, with
//! equal values between them. What fills much of the picture is its style (pixel art, cel shading, halftone) and is
//! discounted; with a faithful enlargement only what differs from it counts. Raw score: jump height x 10, times how well it fits.

use rayon::prelude::*;

use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot};

/// Equal: at most this far apart. Values are 8-bit codes in most files.
const EQUAL: f32 = 1.2 / 255.0;
/// A jump at the border of a dead block; and between cells of a mosaic.
const BORDER: f32 = 0.035;
const JUMP: f32 = 3.0 / 255.0;
/// Shortest run of a dead block, and the longest that is not simply an area, output pixels.
const SHORT: usize = 6;
const LONG: usize = 96;
/// Cell of the map, and side of a window in cells.
const CELL: usize = 8;
const WINDOW: usize = 4;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let y = scene.luma();
    if y.width < 64 || y.height < 64 {
        return Outcome::NotApplicable("smaller than 64 px");
    }
    let differs = scene.faithful_luma().map(|f| y.zip(f, |c, f| (c - f).abs()).cells(CELL));
    let dead = discounted(dead(y), 0.02);
    let mosaic = discounted(mosaic(y), 0.10);
    let mut map = dead.zip(&mosaic, f32::max);
    if let Some(differs) = &differs {
        // A flat spot that the source has, too, is no defect.
        map = map.zip(differs, |v, d| v * ((d - 0.004) / 0.02).clamp(0.0, 1.0));
    }
    let note = move |s: &Spot| match s.worst_in(&dead) >= s.worst_in(&mosaic) {
        true => format!("dead block: constant values with a hard border, {:.0} levels high", s.raw / 10.0 * 255.0),
        false => format!("mosaic: square cells of equal values, {:.0} levels apart", s.raw / 10.0 * 255.0),
    };
    let mut measured = Measured::peak(map, note);
    measured.least_area = 24e-6;
    Outcome::Measured(measured)
}

/// Takes away what is spread over more than `share` of the picture.
fn discounted(map: Plane, share: f32) -> Plane {
    let hits = map.data.iter().filter(|v| **v > 0.1).count() as f32 / map.data.len().max(1) as f32;
    let left = (1.0 - (hits - share).max(0.0) / share).clamp(0.0, 1.0);
    map.map(|v| v * left)
}

/// Per cell, the border height x 10 of runs of equal values that are bounded along both axes.
fn dead(y: &Plane) -> Plane {
    let across = bounded_runs(y);
    let down = bounded_runs(&y.transposed()).transposed();
    // Most of a cell has to be inside.
    across.zip(&down, |a, b| if a > 0.0 && b > 0.0 { a.min(b) } else { 0.0 }).cells(CELL).map(|v| 10.0 * v)
}

/// Per pixel, the lower border of the run along the row it belongs to, 0 outside of runs that count.
fn bounded_runs(y: &Plane) -> Plane {
    let (w, h) = (y.width, y.height);
    let mut out = Plane::new(w, h);
    out.data.par_chunks_mut(w).enumerate().for_each(|(r, out)| {
        let row = y.row(r);
        let mut start = 0;
        for x in 1..=w {
            if x < w && (row[x] - row[x - 1]).abs() <= EQUAL && (row[x] - row[start]).abs() <= 2.0 * EQUAL {
                continue;
            }
            let length = x - start;
            // A run at the picture's border is a bar or a background.
            if (SHORT..=LONG).contains(&length) && start > 0 && x < w {
                let border = (row[start] - row[start - 1]).abs().min((row[x] - row[x - 1]).abs());
                if border >= BORDER {
                    out[start..x].fill(border);
                }
            }
            start = x;
        }
    });
    out
}

/// Per cell, the mean jump x 10 between cells of a mosaic, times how purely jumps keep to one phase; windows of 32 px.
fn mosaic(y: &Plane) -> Plane {
    let across = phased(y);
    let down = phased(&y.transposed()).transposed();
    across.zip(&down, |a, b| a.min(b))
}

fn phased(y: &Plane) -> Plane {
    let (cols, rows) = ((y.width / CELL).max(1), (y.height / CELL).max(1));
    let mut out = Plane::new(cols, rows);
    out.data.par_chunks_mut(cols).enumerate().for_each(|(cy, out)| {
        if cy + WINDOW > rows {
            return;
        }
        for cx in 0..cols.saturating_sub(WINDOW - 1) {
            let (x0, y0, side) = (cx * CELL, cy * CELL, WINDOW * CELL);
            let mut jumps = [0u16; WINDOW * CELL];
            let (mut height, mut total, mut equal) = (0.0f32, 0u32, 0u32);
            for r in y0..y0 + side {
                let row = y.row(r);
                for (i, n) in jumps.iter_mut().enumerate() {
                    let x = x0 + i;
                    if x == 0 {
                        continue;
                    }
                    let d = (row[x] - row[x - 1]).abs();
                    if d > JUMP {
                        (*n, height, total) = (*n + 1, height + d, total + 1);
                    } else if d <= EQUAL {
                        equal += 1;
                    }
                }
            }
            let all = (side * side) as u32;
            // Between the jumps nothing may change.
            if total < 40 || equal + total < all * 9 / 10 {
                continue;
            }
            let mut best = 0.0f32;
            for period in 3..=16usize {
                for phase in 0..period {
                    let on: u32 = (0..side).filter(|i| (x0 + i) % period == phase).map(|i| u32::from(jumps[i])).sum();
                    // Chance alone gives one in `period`.
                    let purity = (on as f32 / total as f32 - 1.0 / period as f32) / (1.0 - 1.0 / period as f32);
                    // The lines of a mosaic are full of jumps, not dotted with a few.
                    let lines = (0..side).filter(|i| (x0 + i) % period == phase).count().max(1) as f32;
                    let full = (on as f32 / (lines * side as f32) / 0.35).min(1.0);
                    best = best.max(purity.max(0.0).powi(2) * full);
                }
            }
            let value = 10.0 * height / total as f32 * best;
            // The middle of the window stands for it.
            out[cx + WINDOW / 2] = value;
        }
    });
    // Rows likewise.
    let mut moved = Plane::new(cols, rows);
    for cy in 0..rows.saturating_sub(WINDOW / 2) {
        let from = out.row(cy).to_vec();
        moved.row_mut(cy + WINDOW / 2).copy_from_slice(&from);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::tests::picture;

    fn textured() -> [Plane; 3] {
        let clean = picture(320, 256);
        std::array::from_fn(|c| {
            let mut p = clean.channel(c).clone();
            p.data.iter_mut().enumerate().for_each(|(i, v)| *v += 0.05 * ((i % 320) as f32 * 0.7).sin() * ((i / 320) as f32 * 0.45).cos());
            p
        })
    }

    fn run(planes: [Plane; 3]) -> Measured {
        let mut scene = Scene::alone(Picture::from_planes(planes));
        scene.faithful = Some(Picture::from_planes(textured()));
        match measure(&scene) {
            Outcome::Measured(m) => m,
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    fn near(m: &Measured) -> bool {
        let (_, x, y) = m.map.peak();
        (18..30).contains(&x) && (10..22).contains(&y)
    }

    #[test]
    fn dead_blocks_and_mosaic_are_found_and_named() {
        let clean = run(textured()).score;
        let truth = textured();
        let (mut dead, mut mosaic) = (truth.clone(), truth.clone());
        for c in 0..3 {
            for y in 100..132 {
                for x in 170..202 {
                    dead[c].data[y * 320 + x] = 0.2;
                    mosaic[c].data[y * 320 + x] =
                        truth[c].data[(y / 5 * 5) * 320 + x / 5 * 5] + ((x / 5 * 31 + y / 5 * 17) % 7) as f32 * 0.01;
                }
            }
        }
        for (planes, name) in [(dead, "dead block"), (mosaic, "mosaic")] {
            let m = run(planes);
            assert!(m.score > 0.1 && m.score > 5.0 * clean && near(&m), "{name}: {} after {clean}", m.score);
            let spot = super::super::regions::find(&m.map.map(|v| v.min(0.99)), &m, (320, 256), 0.9).remove(0);
            assert!((m.note)(&spot).starts_with(name), "{}", (m.note)(&spot));
        }
    }
}
