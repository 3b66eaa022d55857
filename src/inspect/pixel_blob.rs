//! Dead blocks and mosaic: a constant rectangle with a hard border, or a patch of square cells, where there should be a picture.
//!
//! Read from runs of equal values (within one level) that end in a jump. Dead: pixels in a run of at least six along both axes, each run
//! bounded by jumps on both sides. Mosaic: in windows of 32 px, jumps that share one phase of a period 3 to 16 along both axes, with
//! equal values between them. What fills much of the picture is its style (pixel art, cel shading, halftone) and is
//! discounted; with a faithful enlargement only what differs from it counts. Raw score: jump height x 10, times how well it fits; of a dead
//! block three times that.

use multiversion::multiversion;
use rayon::prelude::*;

use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot, filter, mask, tiles};

/// Equal: at most this far apart. Values are 8-bit codes in most files.
const EQUAL: f32 = 1.2 / 255.0;
/// A jump at the border of a dead block; and between cells of a mosaic.
const BORDER: f32 = 0.035;
const JUMP: f32 = 3.0 / 255.0;
/// Shortest run of a dead block, and the longest that is not simply an area, output pixels.
const SHORT: usize = 6;
const LONG: usize = 96;
/// Clean pictures hold a third of the dead blocks that they hold of a mosaic.
const DEAD: f32 = 3.0;
/// Cell of the map, and side of a window in cells.
const CELL: usize = 8;
const WINDOW: usize = 4;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let y = scene.luma();
    if y.width < 64 || y.height < 64 {
        return Outcome::NotApplicable("smaller than 64 px");
    }
    let differs = scene.faithful_luma().map(|f| {
        let [map] = tiles::cells((y.width, y.height), CELL, 0, |t| [t.cells(&t.zip(y, f, |c, f| (c - f).abs()), CELL)]);
        map
    });
    let dead = discounted(dead(y), 0.02).map(|v| DEAD * v);
    let mosaic = discounted(mosaic(y), 0.10);
    let mut map = dead.zip(&mosaic, f32::max);
    if let Some(differs) = &differs {
        // A flat spot that the source has, too, is no defect.
        map = map.zip(differs, |v, d| v * ((d - 0.004) / 0.02).clamp(0.0, 1.0));
    }
    let note = move |s: &Spot| match s.worst_in(&dead) >= s.worst_in(&mosaic) {
        true => format!("dead block: constant values with a hard border, {:.0} levels high", s.raw / DEAD / 10.0 * 255.0),
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
    let (w, h) = (y.width, y.height);
    let (cols, rows) = ((w / CELL).max(1), (h / CELL).max(1));
    let across = runs(y, false);
    // The runs along rows that hold each pixel, looked up by row.
    let mut starts = vec![0usize; h + 1];
    across.iter().for_each(|r| starts[r.line + 1] += 1);
    (0..h).for_each(|i| starts[i + 1] += starts[i]);
    let holding = |x: usize, y: usize| {
        let of_row = &across[starts[y]..starts[y + 1]];
        let after = of_row.partition_point(|r| r.from <= x);
        after.checked_sub(1).map(|i| &of_row[i]).filter(|r| x < r.to).map(|r| r.border)
    };
    let mut out = Plane::new(cols, rows);
    for run in runs(y, true) {
        for y in run.from..run.to {
            if let Some(border) = holding(run.line, y) {
                out.data[(y / CELL).min(rows - 1) * cols + (run.line / CELL).min(cols - 1)] += border.min(run.border);
            }
        }
    }
    let side = |i: usize, n: usize, of: usize| if i + 1 == n { of - (n - 1) * CELL } else { CELL };
    for (i, o) in out.data.iter_mut().enumerate() {
        *o *= 10.0 / (side(i % cols, cols, w) * side(i / cols, rows, h)) as f32;
    }
    out
}

/// A run of equal values along a row (or down a column) and the lower of the jumps at its ends.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The row, or the column.
    line: usize,
    from: usize,
    to: usize,
    border: f32,
}

/// Where the second value is a border's height away from the first, and the two after it are equal to it: a run may begin there.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn borders([a, b, c, d]: [&[f32]; 4], hits: &mut [u8]) {
    let n = hits.len();
    let (a, b, c, d) = (&a[..n], &b[..n], &c[..n], &d[..n]);
    for i in 0..n {
        hits[i] = u8::from(((b[i] - a[i]).abs() >= BORDER) & ((c[i] - b[i]).abs() <= EQUAL) & ((d[i] - c[i]).abs() <= EQUAL));
    }
}

/// All runs that count, those along rows in order of their rows and places.
fn runs(y: &Plane, columns: bool) -> Vec<Run> {
    let (w, h) = (y.width, y.height);
    let length = if columns { h } else { w };
    let run = |line: usize, from: usize| -> Option<Run> {
        let at = |i: usize| if columns { y.data[i * w + line] } else { y.data[line * w + i] };
        // Longer than counts is enough to know.
        let end = (from + 1..length.min(from + LONG + 1))
            .find(|&i| (at(i) - at(i - 1)).abs() > EQUAL || (at(i) - at(from)).abs() > 2.0 * EQUAL)?;
        let border = (at(from) - at(from - 1)).abs().min((at(end) - at(end - 1)).abs());
        (end - from >= SHORT && border >= BORDER).then_some(Run { line, from, to: end, border })
    };
    let rows = (0..h).into_par_iter().map_init(
        || vec![0u8; w],
        |hits, r| -> Vec<Run> {
            let row = y.row(r);
            if columns {
                if r == 0 || r + SHORT > h {
                    return vec![];
                }
                borders([y.row(r - 1), row, y.row(r + 1), y.row(r + 2)], hits);
                mask::hits(hits).filter_map(|x| run(x, r)).collect()
            } else {
                // Nearer to the end no run is long enough.
                let n = w - 3;
                borders([row, &row[1..], &row[2..], &row[3..]], &mut hits[..n]);
                mask::hits(&hits[..n]).filter_map(|i| run(r, i + 1)).collect()
            }
        },
    );
    rows.collect::<Vec<_>>().concat()
}

/// Per cell, the mean jump x 10 between cells of a mosaic, times how purely jumps keep to one phase; windows of 32 px.
fn mosaic(y: &Plane) -> Plane {
    let (cols, rows) = ((y.width / CELL).max(1), (y.height / CELL).max(1));
    let counted: Vec<Vec<[Jumps; 2]>> = (0..rows)
        .into_par_iter()
        .map(|cy| {
            let mut cells = vec![[Jumps::default(); 2]; cols];
            let (mut across, mut down) = (vec![0.0f32; y.width], vec![0.0f32; y.width]);
            for r in cy * CELL..(cy + 1) * CELL {
                let row = y.row(r);
                filter::each_pair(&row[..y.width - 1], &row[1..], &mut across[1..], &|a, b| (b - a).abs());
                // What has no neighbour is neither a jump nor equal.
                across[0] = 0.5 * (EQUAL + JUMP);
                if r == 0 {
                    down.fill(0.5 * (EQUAL + JUMP));
                } else {
                    filter::each_pair(y.row(r - 1), row, &mut down, &|a, b| (b - a).abs());
                }
                count(&mut cells, &across, &down, r - cy * CELL);
            }
            cells
        })
        .collect();
    let cells = counted.concat();
    let mut out = Plane::new(cols, rows);
    out.data.par_chunks_mut(cols).enumerate().for_each(|(cy, out)| {
        // The middle of the window stands for it.
        let Some(top) = cy.checked_sub(WINDOW / 2).filter(|top| top + WINDOW <= rows) else { return };
        for (left, o) in out.iter_mut().skip(WINDOW / 2).take((cols + 1).saturating_sub(WINDOW)).enumerate() {
            let part = |axis: usize| phased(&cells, cols, (left, top), axis);
            let across = part(0);
            *o = if across > 0.0 { across.min(part(1)) } else { 0.0 };
        }
    });
    out
}

/// Jumps of a cell along one axis.
#[derive(Debug, Clone, Copy, Default)]
struct Jumps {
    /// By column, or by row.
    by_line: [u8; CELL],
    /// Sum of their heights.
    height: f32,
    /// Steps between equal values.
    equal: u8,
}

/// Adds row `r` of a row of cells: differences to the left, and to the row above.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn count(cells: &mut [[Jumps; 2]], across: &[f32], down: &[f32], r: usize) {
    for (([left, up], across), down) in cells.iter_mut().zip(across.as_chunks::<CELL>().0).zip(down.as_chunks::<CELL>().0) {
        // In lanes: eight values, then their sum.
        let (mut a, mut d) = ([0.0f32; CELL], [0.0f32; CELL]);
        let (mut equal_a, mut equal_d, mut jumps) = (0u8, 0u8, 0u8);
        for i in 0..CELL {
            a[i] = if across[i] > JUMP { across[i] } else { 0.0 };
            d[i] = if down[i] > JUMP { down[i] } else { 0.0 };
        }
        for i in 0..CELL {
            left.by_line[i] += u8::from(across[i] > JUMP);
            equal_a += u8::from(across[i] <= EQUAL);
            jumps += u8::from(down[i] > JUMP);
            equal_d += u8::from(down[i] <= EQUAL);
        }
        left.height += filter::total(a);
        left.equal += equal_a;
        up.by_line[r] += jumps;
        up.height += filter::total(d);
        up.equal += equal_d;
    }
}

/// The value of the window of cells at a place, along one axis.
fn phased(cells: &[[Jumps; 2]], cols: usize, (left, top): (usize, usize), axis: usize) -> f32 {
    const SIDE: usize = WINDOW * CELL;
    let mut jumps = [0u16; SIDE];
    let (mut height, mut equal) = (0.0f32, 0u32);
    for j in 0..WINDOW {
        for i in 0..WINDOW {
            let cell = &cells[(top + j) * cols + left + i][axis];
            let line = if axis == 0 { i } else { j };
            jumps[line * CELL..][..CELL].iter_mut().zip(cell.by_line).for_each(|(n, c)| *n += u16::from(c));
            height += cell.height;
            equal += u32::from(cell.equal);
        }
    }
    let total: u32 = jumps.iter().map(|n| u32::from(*n)).sum();
    let all = (SIDE * SIDE) as u32;
    // Between the jumps nothing may change.
    if total < 40 || equal + total < all * 9 / 10 {
        return 0.0;
    }
    let first = if axis == 0 { left } else { top } * CELL;
    let mut best = 0.0f32;
    for period in 3..=16usize {
        for phase in 0..period {
            let lines = (0..SIDE).filter(|i| (first + i) % period == phase);
            let (on, lines) = lines.fold((0u32, 0usize), |(on, n), i| (on + u32::from(jumps[i]), n + 1));
            // Chance alone gives one in `period`.
            let purity = (on as f32 / total as f32 - 1.0 / period as f32) / (1.0 - 1.0 / period as f32);
            // The lines of a mosaic are full of jumps, not dotted with a few.
            let full = (on as f32 / (lines.max(1) * SIDE) as f32 / 0.35).min(1.0);
            best = best.max(purity.max(0.0).powi(2) * full);
        }
    }
    10.0 * height / total as f32 * best
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
