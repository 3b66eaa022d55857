//! Detail lost to white or black.
//!
//! With a source: pixels of a channel at the end of what the channel holds (its last two codes, if that end is within 15 of 255
//! of white or black: what was clipped may have been graded since) where the source's 3x3 neighbourhood is well inside it, and the result
//! ends over a source pixel as well (dots of a print do not). Clipping takes all values beyond a limit: a pixel counts by the
//! share of source pixels of its value over which the result ends. Without: flat areas at the end of the range, as far as the histogram piles up there; a high-key picture
//! alone is no defect. Raw score: the square root of the share of the picture that is lost, after dropping single pixels.

use multiversion::multiversion;
use rayon::prelude::*;

use super::plane::{Plane, gaussian};
use super::reduce::{Axis, between};
use super::scene::Picture;
use super::{Measured, Outcome, Scene, Spot, filter, mask};

/// Side of a cell, output pixels.
const CELL: usize = 16;
/// From here on a value is white, or black.
const WHITE: f32 = 253.5 / 255.0;
const BLACK: f32 = 1.5 / 255.0;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let result = &scene.result;
    let (w, h) = (result.width, result.height);
    let rows = match scene.source.as_ref().zip(scene.reduced()) {
        Some((source, reduced)) => lost_from(result, source, reduced),
        None => lost_alone(result),
    };
    // A pixel counts if most of its 5x5 neighbourhood is lost too.
    let cell = CELL.min(w.min(h).max(1));
    let (total, solid) = solid((w, h), &rows, cell);
    let score = (total / (w * h).max(1) as f32).sqrt();
    let share = score * score * 100.0;
    let mut map = solid.map(f32::sqrt);
    // In the unit of the score: the fullest cell stands for the whole picture's loss.
    let peak = map.peak().0.max(1e-6);
    map = map.map(|v| v / peak * score);
    let compared = scene.source.is_some();
    let note = move |_: &Spot| match compared {
        true => format!("white or black without drawing where the source has some: {share:.2} % of the picture"),
        false => format!("drawing ends in white or black: {share:.2} % of the picture"),
    };
    Outcome::Measured(Measured { score, everywhere: score, map, in_source: None, least_area: 24e-6, note: Box::new(note) })
}

/// Per row of the picture what is lost of each pixel, 0..1; none where nothing is.
type Rows = Vec<Option<Vec<f32>>>;

/// Where a value is at the end of the range.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn ends(row: &[f32], (black, white): (f32, f32), hits: &mut [u8]) {
    for (h, &v) in hits.iter_mut().zip(row) {
        *h = u8::from((v >= white) | (v <= black));
    }
}

/// Levels of 255: how near its end a channel may be graded after clipping, the codes that clipping then fills, how far inside a source
/// value has to be, and how far the mean over a source pixel may be.
const GRADED: f32 = 15.0;
const FILLED: f32 = 2.5;
const INSIDE: f32 = 3.5;
const MEAN: f32 = 12.0;

/// Where a channel ends: black and white, from its least and largest value.
fn range(plane: &Plane) -> (f32, f32) {
    let (low, high) = plane
        .data
        .par_chunks(1 << 16)
        .map(|part| part.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (if v < a { v } else { a }, if v > b { v } else { b })))
        .reduce(|| (f32::MAX, f32::MIN), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    let black = if low <= GRADED / 255.0 { low + FILLED / 255.0 } else { 0.0 };
    let white = if high >= 1.0 - GRADED / 255.0 { high - FILLED / 255.0 } else { 1.0 };
    (black.max(BLACK), white.min(WHITE))
}

/// Values of a source are told apart in so many steps.
const STEPS: usize = 64;

fn step_of(v: f32) -> usize {
    ((v * STEPS as f32) as usize).min(STEPS - 1)
}

/// By source value, how far it is that the result ends there rather than drawing: 0 to a quarter of its pixels, 1 from a half.
fn shares(source: &Plane, reduced: &Plane, ends: impl Fn(f32) -> bool) -> [f32; STEPS] {
    let (mut all, mut lost) = ([0u32; STEPS], [0u32; STEPS]);
    for (s, r) in source.data.iter().zip(&reduced.data) {
        all[step_of(*s)] += 1;
        lost[step_of(*s)] += u32::from(ends(*r));
    }
    std::array::from_fn(|i| ((lost[i] as f32 / all[i].max(1) as f32 - 0.25) * 4.0).clamp(0.0, 1.0))
}

/// What is lost where a channel ends and the source's 3x3 neighbourhood does not, 0..1.
fn lost_from(result: &Picture, source: &Picture, reduced: &Picture) -> Rows {
    let (w, h) = (result.width, result.height);
    let (x_axis, y_axis) = (Axis::linear(source.width, w), Axis::linear(source.height, h));
    let taps = gaussian((0.6 * (w as f32 / source.width as f32)).max(0.8));
    let mut rows: Rows = vec![None; h];
    for c in 0..channels(result) {
        let (plane, s) = (result.channel(c), source.channel(c));
        let (high, low) = (s.dilate(1), s.map(|v| 1.0 - v).dilate(1));
        let (black, white) = range(plane);
        let (inside, mean) = (INSIDE / 255.0, MEAN / 255.0);
        let bright = shares(s, reduced.channel(c), |r| r > white - mean);
        let dark = shares(s, reduced.channel(c), |r| r < black + mean);
        rows.par_iter_mut().enumerate().for_each_init(
            || vec![0u8; w],
            |hits, (y, out)| {
                let row = plane.row(y);
                ends(row, (black, white), hits);
                for x in mask::hits(hits) {
                    let is_white = row[x] >= white;
                    let lost = match is_white {
                        true => between(&high, (&x_axis, &y_axis), x, y) < white - inside,
                        false => 1.0 - between(&low, (&x_axis, &y_axis), x, y) > black + inside,
                    };
                    if !lost {
                        continue;
                    }
                    let here = step_of(between(s, (&x_axis, &y_axis), x, y));
                    let share = if is_white { bright[here] } else { dark[here] };
                    let ends = |mean_here: f32| if is_white { mean_here > white - mean } else { mean_here < black + mean };
                    if share > 0.0 && ends(mean_at(plane, &taps, x, y)) {
                        let o = &mut out.get_or_insert_with(|| vec![0.0; w])[x];
                        *o = o.max(share);
                    }
                }
            },
        );
    }
    rows
}

/// The mean under a Gaussian at one place, edge values repeated.
fn mean_at(p: &Plane, taps: &[f32], x: usize, y: usize) -> f32 {
    let radius = taps.len() / 2;
    let near = |at: usize, i: usize, n: usize| (at + i).saturating_sub(radius).min(n - 1);
    let across = |row: &[f32]| -> f32 {
        if x >= radius && x + radius < row.len() {
            row[x - radius..=x + radius].iter().zip(taps).map(|(v, t)| v * t).sum()
        } else {
            taps.iter().enumerate().map(|(i, t)| t * row[near(x, i, row.len())]).sum()
        }
    };
    taps.iter().enumerate().map(|(i, t)| t * across(p.row(near(y, i, p.height)))).sum()
}

/// How far the histogram piles up at the end where a channel ends.
fn lost_alone(result: &Picture) -> Rows {
    let (w, h) = (result.width, result.height);
    let mut rows: Rows = vec![None; h];
    for c in 0..channels(result) {
        let plane = result.channel(c);
        let (white, black) = piled_up(plane);
        if white <= 0.0 && black <= 0.0 {
            continue;
        }
        rows.par_iter_mut().enumerate().for_each_init(
            || vec![0u8; w],
            |hits, (y, out)| {
                let row = plane.row(y);
                ends(row, (BLACK, WHITE), hits);
                for x in mask::hits(hits) {
                    let o = &mut out.get_or_insert_with(|| vec![0.0; w])[x];
                    *o = o.max(if row[x] >= WHITE { white } else { black });
                }
            },
        );
    }
    rows
}

fn channels(p: &Picture) -> usize {
    if p.is_grey() { 1 } else { 3 }
}

/// The sum of means over 5 x 5 pixels that are above one half, edge values repeated; and their means by cells.
fn solid((w, h): (usize, usize), rows: &Rows, cell: usize) -> (f32, Plane) {
    let (cols, lines) = ((w / cell).max(1), (h / cell).max(1));
    let mut map = Plane::new(cols, lines);
    let last = |n: usize, of: usize| of - (n - 1) * cell;
    map.data.par_chunks_mut(cols).enumerate().for_each_init(
        || (vec![0.0f32; w + 4], vec![0.0f32; w]),
        |(padded, mean), (cy, sums)| {
            let high = if cy + 1 == lines { last(lines, h) } else { cell };
            for y in cy * cell..cy * cell + high {
                let near = |i: usize| rows[(y + i).saturating_sub(2).min(h - 1)].as_deref();
                if (0..5).all(|i| near(i).is_none()) {
                    continue;
                }
                let sum = &mut padded[2..w + 2];
                sum.fill(0.0);
                for row in (0..5).filter_map(near) {
                    sum.iter_mut().zip(row).for_each(|(s, v)| *s += 0.2 * v);
                }
                let (first, end) = (sum[0], sum[w - 1]);
                padded[..2].fill(first);
                padded[w + 2..].fill(end);
                filter::across(padded, &[0.2; 5], mean);
                mean.iter_mut().for_each(|v| *v = if *v > 0.5 { *v } else { 0.0 });
                filter::add_runs(mean, cell, sums);
            }
            for (cx, sum) in sums.iter_mut().enumerate() {
                *sum /= (high * if cx + 1 == cols { last(cols, w) } else { cell }) as f32;
            }
        },
    );
    let pixels = |i: usize| {
        let wide = if i % cols + 1 == cols { last(cols, w) } else { cell };
        wide * if i / cols + 1 == lines { last(lines, h) } else { cell }
    };
    (map.data.iter().enumerate().map(|(i, v)| v * pixels(i) as f32).sum(), map)
}

/// Where a value's code is below 13 or above 242.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn near_ends(values: &[f32], hits: &mut [u8]) {
    for (h, &v) in hits.iter_mut().zip(values) {
        *h = u8::from(!(13.0 / 255.0..=242.0 / 255.0).contains(&v));
    }
}

/// How far a channel's histogram piles up at white and at black, 0..1: 0 where the last code is no fuller than the codes
/// before it, as in a picture that is simply bright.
fn piled_up(plane: &Plane) -> (f32, f32) {
    // Only the ends are counted, and few values lie there.
    let mut histogram = [0u32; 256];
    let rows = plane.data.par_chunks(plane.width.max(1) * 64).map(|rows| {
        let (mut hits, mut counts) = (vec![0u8; 4096], [0u32; 256]);
        for part in rows.chunks(4096) {
            near_ends(part, &mut hits[..part.len()]);
            for i in mask::hits(&hits[..part.len()]) {
                counts[(part[i] * 255.0 + 0.5) as usize & 255] += 1;
            }
        }
        counts
    });
    for counts in rows.collect::<Vec<_>>() {
        histogram.iter_mut().zip(counts).for_each(|(h, c)| *h += c);
    }
    let ends = |last: u32, before: &[u32]| {
        let usual = before.iter().sum::<u32>() as f32 / before.len() as f32;
        let last = last as f32;
        ((last - 4.0 * usual) / (last + 1.0)).clamp(0.0, 1.0)
    };
    (ends(histogram[254] + histogram[255], &histogram[244..254]), ends(histogram[0] + histogram[1], &histogram[2..12]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::tests::picture;
    use crate::resample::Filter;

    fn clipped(gain: f32) -> Picture {
        let p = picture(320, 240);
        Picture::from_planes(std::array::from_fn(|c| p.channel(c).map(|v| (v * gain).min(1.0))))
    }

    fn score(scene: &Scene) -> f32 {
        match measure(scene) {
            Outcome::Measured(m) => m.score,
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn what_was_lost_on_the_way_counts_and_nothing_else() {
        let source = picture(320, 240).resize(80, 60, Filter::CatmullRom).unwrap();
        assert_eq!(score(&Scene::new(clipped(1.0), source.clone()).unwrap()), 0.0);
        assert!(score(&Scene::new(clipped(1.9), source).unwrap()) > 0.1);
        // The source was clipped as well: not the upscaler's doing.
        let white = clipped(1.9);
        let source = white.resize(80, 60, Filter::Box).unwrap();
        assert!(score(&Scene::new(white.clone(), source).unwrap()) < 0.05);
        assert!(score(&Scene::alone(white)) > 0.1);
        assert_eq!(score(&Scene::alone(clipped(1.0))), 0.0);
    }
}
