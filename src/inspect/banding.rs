//! Contours in smooth ramps: steps of a few levels between plateaus where a gradient should be.
//!
//! In the manner of CAMBI (Tandon et al., "CAMBI: Contrast-aware multiscale banding index", PCS 2021), read at the pixel instead of by histograms: a contour pixel
//! is a step of 1.6 to 14 levels between two plateaus that are flat (within 1.2 levels) over six pixels each. A dithered
//! or noisy ramp has no plateaus, an 8-bit ramp's own steps are too small, and real edges are too large or too soft. What a faithful
//! enlargement has as an edge in the same place is drawn, and no contour, unless the source has bands of its own there.

use multiversion::multiversion;
use rayon::prelude::*;

use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot, mask, windows};

/// Pixels of a plateau on each side.
const PLATEAU: usize = 6;
/// Side of a window, output pixels.
const WINDOW: usize = 64;
/// Least and largest step of a contour, levels of 255.
const STEP: (f32, f32) = (1.6, 14.0);
/// What counts as flat, levels of 255.
const FLAT: f32 = 1.2;

/// Most that a step counts where the source tells it from an edge: coarser bands have fewer of them.
const HEAVY: f32 = 1.75;
/// The share of a step that the faithful enlargement rises within four pixels, from which it is drawn.
const DRAWN: f32 = 0.6;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let (w, h) = (scene.result.width, scene.result.height);
    if w < WINDOW || h < WINDOW {
        return Outcome::NotApplicable("smaller than 64 px");
    }
    let in_source = scene.source.as_ref().filter(|s| s.width >= WINDOW && s.height >= WINDOW).map(|s| density(&contours(s, None)));
    let mut map = density(&contours(&scene.result, None));
    if let (Some(faithful), true) = (&scene.faithful, map.peak().0 > 0.0) {
        // A step that the source draws is an edge of something flat; where the source has bands itself, it is one all the same.
        let own = density(&contours(&scene.result, Some(faithful)));
        let (w, h) = (map.width, map.height);
        for (i, v) in map.data.iter_mut().enumerate() {
            let there = in_source.as_ref().map_or(0.0, |s| s.row(i / w * s.height / h)[i % w * s.width / w]);
            *v = own.data[i].max(v.min(there));
        }
    }
    let note = |spot: &Spot| format!("{:.1} contour lines cross each {WINDOW} px of this ramp: banding", spot.raw);
    // One window can hold a drawn line; banding fills several. The fourth worst decides.
    let mut sorted = map.data.clone();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let score = sorted.get(3).or(sorted.last()).copied().unwrap_or(0.0);
    Outcome::Measured(Measured { score, everywhere: 0.0, map, in_source, least_area: 0.0, note: Box::new(note) })
}

/// Rows of cells that a thread takes at once.
const STRIP: usize = 4;
/// Side of a cell.
const CELL: usize = WINDOW / 2;

/// The mean of contour pixels (their step over four levels, at most 1, or [`HEAVY`]) by cells, of the worst channel at every pixel; without
/// the steps that `drawn` has as edges.
fn contours(p: &super::Picture, drawn: Option<&super::Picture>) -> Plane {
    let (w, h) = (p.width, p.height);
    let (cols, rows) = ((w / CELL).max(1), (h / CELL).max(1));
    let channels = if p.is_grey() { 1 } else { 3 };
    let mut out = Plane::new(cols, rows);
    out.data.par_chunks_mut(cols * STRIP).enumerate().for_each(|(strip, out)| {
        let first = strip * STRIP * CELL;
        let last = if (strip + 1) * STRIP >= rows { h } else { (strip + 1) * STRIP * CELL };
        let mut lines: Vec<(usize, f32)> = Vec::new();
        // Two rows around, as a contour is counted with its neighbours.
        let (from, to) = (first.saturating_sub(2), (last + 2).min(h));
        let (mut hits, mut place) = (vec![0u8; w], vec![0u8; w * (to - from)]);
        let mut found: Vec<(usize, usize, f32)> = Vec::new();
        for c in 0..channels {
            let (plane, drawn) = (p.channel(c), drawn.map(|d| d.channel(c)));
            found.clear();
            for y in from..to {
                steps_of_row(plane, drawn, y, &mut hits, &mut found);
            }
            for (x, y, _) in &found {
                place[(y - from) * w + x] = 1;
            }
            for &(x, y, v) in found.iter().filter(|f| (first..last).contains(&f.1)) {
                // A contour is a line: single steps of a dither do not count.
                let near = (0..5)
                    .map(|i| (y + i).saturating_sub(2).min(h - 1) - from)
                    .map(|r| (0..5).map(|k| u32::from(place[r * w + (x + k).saturating_sub(2).min(w - 1)])).sum::<u32>());
                if near.sum::<u32>() > 3 {
                    lines.push(((y - first) * w + x, v));
                }
            }
            for (x, y, _) in &found {
                place[(y - from) * w + x] = 0;
            }
        }
        // Of a pixel's channels the worst, which comes first.
        lines.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        lines.dedup_by_key(|l| l.0);
        for (i, v) in lines {
            let (cx, cy) = ((i % w / CELL).min(cols - 1), (i / w / CELL).min(out.len() / cols - 1));
            out[cy * cols + cx] += v;
        }
        for (i, o) in out.iter_mut().enumerate() {
            let wide = if i % cols + 1 == cols { w - (cols - 1) * CELL } else { CELL };
            let high = if strip * STRIP + i / cols + 1 == rows { h - (rows - 1) * CELL } else { CELL };
            *o /= (wide * high) as f32;
        }
    });
    out
}

/// Appends the steps between plateaus of row `y`: place and size over four levels, at most 1, or [`HEAVY`].
fn steps_of_row(plane: &Plane, drawn: Option<&Plane>, y: usize, hits: &mut [u8], found: &mut Vec<(usize, usize, f32)>) {
    let (w, h) = (plane.width, plane.height);
    let row = plane.row(y);
    let flat = |v: f32, level: f32| (v - level).abs() * 255.0 <= FLAT;
    let before = found.len();
    let most = if drawn.is_some() { HEAVY } else { 1.0 };
    let weight = |step: f32| (step.abs() * 255.0 / 4.0).min(most);
    // Most of the step within four pixels, in the same place of the faithful enlargement.
    let edge = |rise: f32, step: f32| rise * step > DRAWN * step * step;
    // Along the row: plateaus left and right of the step between x - 1 and x.
    if w >= 2 * PLATEAU {
        let n = w - 2 * PLATEAU + 1;
        let at = PLATEAU;
        candidates([&row[at - 2..], &row[at - 1..], &row[at..], &row[at + 1..]], &mut hits[..n]);
        for x in mask::hits(&hits[..n]).map(|i| i + at) {
            let (left, right) = (&row[x - PLATEAU..x], &row[x..x + PLATEAU]);
            let step = row[x] - row[x - 1];
            if drawn.is_some_and(|d| edge(d.row(y)[x + 1] - d.row(y)[x - 2], step)) {
                continue;
            }
            if left.iter().all(|v| flat(*v, row[x - 1])) && right.iter().all(|v| flat(*v, row[x])) {
                found.push((x, y, weight(step)));
            }
        }
    }
    // Down the columns, all of the row together.
    if y < PLATEAU || y + PLATEAU > h {
        return;
    }
    let along = found.len();
    candidates([plane.row(y - 2), plane.row(y - 1), row, plane.row(y + 1)], &mut hits[..w]);
    let above = plane.row(y - 1);
    for x in mask::hits(&hits[..w]) {
        let level = |rows: std::ops::Range<usize>, level: f32| rows.into_iter().all(|r| flat(plane.row(r)[x], level));
        let step = row[x] - above[x];
        if drawn.is_some_and(|d| edge(d.row(y + 1)[x] - d.row(y - 2)[x], step)) {
            continue;
        }
        if level(y - PLATEAU..y, above[x]) && level(y..y + PLATEAU, row[x]) {
            let v = weight(step);
            // One that is a step along the row as well.
            match found[before..along].binary_search_by_key(&x, |f| f.0) {
                Ok(i) => found[before + i].2 = found[before + i].2.max(v),
                Err(_) => found.push((x, y, v)),
            }
        }
    }
}

/// Where the step from the second to the third of four values that follow each other may be a contour: its size fits, and the
/// values beside it are flat.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn candidates([a, b, c, d]: [&[f32]; 4], hits: &mut [u8]) {
    let n = hits.len();
    let (a, b, c, d) = (&a[..n], &b[..n], &c[..n], &d[..n]);
    for i in 0..n {
        let jump = (c[i] - b[i]).abs() * 255.0;
        let beside = [(a[i] - b[i]).abs() * 255.0, (d[i] - c[i]).abs() * 255.0];
        hits[i] = u8::from((jump >= STEP.0) & (jump <= STEP.1) & (beside[0] <= FLAT) & (beside[1] <= FLAT));
    }
}

/// Contour length per window side, in windows half a window apart.
fn density(contours: &Plane) -> Plane {
    windows::mean_of(contours).map(|v| v * WINDOW as f32)
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
