//! Contours in smooth ramps: steps of a few levels between plateaus where a gradient should be.
//!
//! In the manner of CAMBI (Tandon et al., "CAMBI: Contrast-aware multiscale banding index", PCS 2021), read at the pixel instead of by histograms: a contour pixel
//! is a step of 1.6 to 14 levels between two plateaus that are flat (within 1.2 levels) over six pixels each. A dithered
//! or noisy ramp has no plateaus, an 8-bit ramp's own steps are too small, and real edges are too large or too soft. What a faithful
//! enlargement has as an edge in the same place is drawn, and no contour, unless the source has bands of its own there.

use multiversion::multiversion;
use rayon::prelude::*;

use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot, mask, pool, windows};

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
    let in_source = scene.source.as_ref().filter(|s| s.width >= WINDOW && s.height >= WINDOW).map(|s| density(&contours(s, None).0));
    let (all, own) = contours(&scene.result, scene.faithful.as_ref());
    let mut map = density(&all);
    if let Some(own) = own {
        // A step that the source draws is an edge of something flat; where the source has bands itself, it is one all the same.
        let own = density(&own);
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

/// The mean of contour pixels (their step over four levels, at most 1) by cells, of the worst channel at every pixel; and the same
/// without the steps that `drawn` has as edges, the others counting up to [`HEAVY`].
fn contours(p: &super::Picture, drawn: Option<&super::Picture>) -> (Plane, Option<Plane>) {
    let (w, h) = (p.width, p.height);
    let (cols, rows) = ((w / CELL).max(1), (h / CELL).max(1));
    let channels = if p.is_grey() { 1 } else { 3 };
    let strips: Vec<[Vec<f32>; 2]> = (0..rows.div_ceil(STRIP))
        .into_par_iter()
        .map(|strip| {
            let first = strip * STRIP * CELL;
            let last = if (strip + 1) * STRIP >= rows { h } else { (strip + 1) * STRIP * CELL };
            // Two rows around, as a contour is counted with its neighbours.
            let (from, to) = (first.saturating_sub(2), (last + 2).min(h));
            let (mut hits, mut place) = (pool::take(w), pool::zeros(w * (to - from)));
            let (mut steps, mut lines) = (Vec::new(), [Vec::new(), Vec::new()]);
            for c in 0..channels {
                steps.clear();
                (from..to).for_each(|y| steps_of_row(p.channel(c), y, &mut hits, &mut steps));
                add_lines(&found(&steps, None), (first..last, h), (from, &mut place), &mut lines[0]);
                if let Some(drawn) = drawn {
                    add_lines(&found(&steps, Some(drawn.channel(c))), (first..last, h), (from, &mut place), &mut lines[1]);
                }
            }
            pool::give(place);
            lines.map(|mut lines| {
                // Of a pixel's channels the worst, which comes first.
                lines.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
                lines.dedup_by_key(|l| l.0);
                let mut out = vec![0.0f32; cols * STRIP.min(rows - strip * STRIP)];
                for (i, v) in lines {
                    let (cx, cy) = ((i % w / CELL).min(cols - 1), (i / w / CELL).min(out.len() / cols - 1));
                    out[cy * cols + cx] += v;
                }
                for (i, o) in out.iter_mut().enumerate() {
                    let wide = if i % cols + 1 == cols { w - (cols - 1) * CELL } else { CELL };
                    let high = if strip * STRIP + i / cols + 1 == rows { h - (rows - 1) * CELL } else { CELL };
                    *o /= (wide * high) as f32;
                }
                out
            })
        })
        .collect();
    let map = |k: usize| Plane { width: cols, height: rows, data: strips.iter().flat_map(|s| s[k].iter().copied()).collect() };
    (map(0), drawn.map(|_| map(1)))
}

/// Appends those of the rows `of` that lie on a line: single steps of a dither do not count. `place` is for the rows from its first
/// on, and nowhere set.
fn add_lines(
    found: &[(usize, usize, f32)],
    (of, h): (std::ops::Range<usize>, usize),
    (from, place): (usize, &mut [u8]),
    lines: &mut Vec<(usize, f32)>,
) {
    let Some(w) = place.len().checked_div((of.end + 2).min(h) - from) else { return };
    for (x, y, _) in found {
        place[(y - from) * w + x] = 1;
    }
    for &(x, y, v) in found.iter().filter(|f| of.contains(&f.1)) {
        let near = (0..5)
            .map(|i| (y + i).saturating_sub(2).min(h - 1) - from)
            .map(|r| (0..5).map(|k| u32::from(place[r * w + (x + k).saturating_sub(2).min(w - 1)])).sum::<u32>());
        if near.sum::<u32>() > 3 {
            lines.push(((y - of.start) * w + x, v));
        }
    }
    for (x, y, _) in found {
        place[(y - from) * w + x] = 0;
    }
}

/// A step between plateaus: to the pixel at (x, y) from the one on its left, or from the one above.
struct Step {
    x: usize,
    y: usize,
    size: f32,
    down: bool,
}

/// Places of steps and their size over four levels, at most 1, or [`HEAVY`] of those that are not `drawn`; of a place that is a step along
/// its row as well as down its column, the larger.
fn found(steps: &[Step], drawn: Option<&Plane>) -> Vec<(usize, usize, f32)> {
    let most = if drawn.is_some() { HEAVY } else { 1.0 };
    let mut out: Vec<(usize, usize, f32)> = Vec::with_capacity(steps.len());
    // Those along the row at hand.
    let mut along = 0..0;
    for s in steps {
        if out.get(along.start).is_none_or(|f| f.1 != s.y) {
            along = out.len()..out.len();
        }
        // Most of the step within four pixels, in the same place of the faithful enlargement.
        let rise =
            drawn.map(|d| if s.down { d.row(s.y + 1)[s.x] - d.row(s.y - 2)[s.x] } else { d.row(s.y)[s.x + 1] - d.row(s.y)[s.x - 2] });
        if rise.is_some_and(|rise| rise * s.size > DRAWN * s.size * s.size) {
            continue;
        }
        let v = (s.size.abs() * 255.0 / 4.0).min(most);
        if !s.down {
            out.push((s.x, s.y, v));
            along.end = out.len();
            continue;
        }
        match out[along.clone()].binary_search_by_key(&s.x, |f| f.0) {
            Ok(i) => out[along.start + i].2 = out[along.start + i].2.max(v),
            Err(_) => out.push((s.x, s.y, v)),
        }
    }
    out
}

/// Appends the steps between plateaus of row `y`: those along it, then those down its columns.
fn steps_of_row(plane: &Plane, y: usize, hits: &mut [u8], steps: &mut Vec<Step>) {
    let (w, h) = (plane.width, plane.height);
    let row = plane.row(y);
    let flat = |v: f32, level: f32| (v - level).abs() * 255.0 <= FLAT;
    // Along the row: plateaus left and right of the step between x - 1 and x.
    if w >= 2 * PLATEAU {
        let n = w - 2 * PLATEAU + 1;
        let at = PLATEAU;
        candidates([3, 2, 1].map(|i| &row[at - i..]), [0, 1, 2].map(|i| &row[at + i..]), &mut hits[..n]);
        for x in mask::hits(&hits[..n]).map(|i| i + at) {
            let (left, right) = (&row[x - PLATEAU..x], &row[x..x + PLATEAU]);
            if left.iter().all(|v| flat(*v, row[x - 1])) && right.iter().all(|v| flat(*v, row[x])) {
                steps.push(Step { x, y, size: row[x] - row[x - 1], down: false });
            }
        }
    }
    // Down the columns, all of the row together.
    if y < PLATEAU || y + PLATEAU > h {
        return;
    }
    candidates([3, 2, 1].map(|i| plane.row(y - i)), [0, 1, 2].map(|i| plane.row(y + i)), &mut hits[..w]);
    let above = plane.row(y - 1);
    for x in mask::hits(&hits[..w]) {
        let level = |rows: std::ops::Range<usize>, level: f32| rows.into_iter().all(|r| flat(plane.row(r)[x], level));
        if level(y - PLATEAU..y, above[x]) && level(y..y + PLATEAU, row[x]) {
            steps.push(Step { x, y, size: row[x] - above[x], down: true });
        }
    }
}

/// Where the step from the last of three values to the first of the three that follow them may be a contour: its size fits, and the
/// values beside it are flat.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn candidates(before: [&[f32]; 3], after: [&[f32]; 3], hits: &mut [u8]) {
    let n = hits.len();
    let ([a, b, c], [d, e, f]) = (before.map(|r| &r[..n]), after.map(|r| &r[..n]));
    for i in 0..n {
        let jump = (d[i] - c[i]).abs() * 255.0;
        let left = ((b[i] - c[i]).abs() * 255.0 <= FLAT) & ((a[i] - c[i]).abs() * 255.0 <= FLAT);
        let right = ((e[i] - d[i]).abs() * 255.0 <= FLAT) & ((f[i] - d[i]).abs() * 255.0 <= FLAT);
        hits[i] = u8::from((jump >= STEP.0) & (jump <= STEP.1) & left & right);
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
