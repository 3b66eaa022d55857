//! Tile seams: a line across the whole picture at which tone, position or sharpness jumps.
//!
//! Tone and position are looked for in what a fit of the reduced result to the source leaves (`residual`), where the drawing
//! itself cancels. Along a line, segments of 16 source pixels are tested one by one; a seam crosses the picture, an edge of an
//! object does not, so a line counts with the 35 % quantile of its segments, less the picture's median line.
//!
//! - Tone: the means of six source pixels on both sides differ, in both halves of the strips (what a drawn line leaves lies in one of
//!   them), over one level and what the residual deviates there: where it is rough (halftone, bricks), steps are chance.
//! - Position: twelve source pixels on either side are explained by two displacements, residual = d . gradient of the source, better
//!   than by one; the square root of what that gains over what it leaves.
//! - Sharpness: the logarithm of the energy finer than 1 px over that between 1 and 2.5 px of the result jumps, over its own
//!   deviation. Fields in and out of focus do that, too, so only lines along both axes count, with the weaker one.
//!
//! If the tile grid is known, only its lines are tested. Raw score: the strongest line, each of the three over what one clean
//! picture in a hundred reaches.

use rayon::prelude::*;

use super::plane::{Plane, Soft, quantile, reach};
use super::{Measured, Outcome, Scene, Spot, filter, tiles};

/// Source pixels compared on each side for tone, and along the line in one segment.
const STRIP: usize = 6;
const HALF: usize = STRIP / 2;
/// The far halves differ less: the residual has no low frequencies.
const FAR: f32 = 1.5;
const SEGMENT: usize = 16;
/// Source pixels on each side for position.
const WIDE: usize = 12;
/// Side of a cell of the sharpness map, output pixels, and cells on each side of a line.
const CELL: usize = 4;
const CELLS: usize = 8;
/// What one clean picture in a hundred reaches of tone, position and sharpness.
const USUAL: [f32; 3] = [0.60, 0.24, 0.60];
/// The quantile of its segments that stands for a line.
const QUANTILE: f32 = 0.35;

/// Lines along one axis, by source pixel: how much stands out, and the jump in the unit of a sentence.
#[derive(Debug, Clone, Default)]
struct Lines {
    /// Over the picture's median line.
    score: Vec<f32>,
    /// Levels of 255, source pixels, or the natural logarithm of a ratio.
    jump: Vec<f32>,
}

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let Some((residual, source)) = scene.residual().zip(scene.source_luma()) else {
        return Outcome::NotApplicable("there is no source to tell seams from edges");
    };
    let r = &residual.value;
    if r.width < 4 * STRIP + 2 * SEGMENT || r.height < 4 * STRIP + 2 * SEGMENT {
        return Outcome::NotApplicable("the source is too small for lines to be told apart");
    }
    if scene.joins.as_ref().is_some_and(|j| j.x.is_empty() && j.y.is_empty()) {
        return Outcome::NotApplicable("it was made in one tile");
    }
    let sharp = sharpness(scene.luma());
    // Columns, then rows, of tone, position and sharpness.
    let axes = [true, false].map(|columns| {
        let turned = |p: &Plane| if columns { p.transposed() } else { p.clone() };
        let (r, soft) = (turned(r), turned(source).blur(0.7));
        let cells = if columns { scene.result.width } else { scene.result.height } as f32 / r.height as f32 / CELL as f32;
        let mut all = [tone(&r), position(&r, &soft), resampled(&jumps(&turned(&sharp)), r.height, cells)];
        if let Some(j) = &scene.joins {
            all.iter_mut().for_each(|l| l.score = known(if columns { &j.x } else { &j.y }, scene.scale, &l.score));
        }
        all
    });
    let best = |p: &[f32]| p.iter().copied().fold(0.0f32, f32::max);
    let limit = best(&axes[0][2].score).min(best(&axes[1][2].score));
    let profiles = axes.each_ref().map(|lines| -> Vec<f32> {
        let one =
            |i: usize| (0..3).map(|k| if k < 2 { lines[k].score[i] } else { lines[k].score[i].min(limit) } / USUAL[k]).fold(0.0, f32::max);
        (0..lines[0].score.len()).map(one).collect()
    });
    let vertical = best(&profiles[0]) >= best(&profiles[1]);
    let (profile, lines) = if vertical { (&profiles[0], &axes[0]) } else { (&profiles[1], &axes[1]) };
    let pixels = scale_of(scene, vertical);
    let pitch = pitch(profile).map(|p| (p as f32 * pixels).round() as usize);
    // Lines of the stronger direction only: crossing ones would join into one box around everything.
    let mut map = Plane::new(r.width, r.height);
    for (i, &v) in profile.iter().enumerate() {
        if v > 0.0 && is_peak(profile, i) {
            for k in 0..if vertical { r.height } else { r.width } {
                let (x, y) = if vertical { (i, k) } else { (k, i) };
                map.data[y * r.width + x] = v;
            }
        }
    }
    let is_known = scene.joins.is_some();
    let words = words(lines, limit, pixels);
    let note = move |s: &Spot| {
        let (name, at) =
            if vertical { ("vertical line at x", s.rect.x + s.rect.w / 2) } else { ("horizontal line at y", s.rect.y + s.rect.h / 2) };
        let near = ((at as f32 / pixels) as usize).min(words.len().saturating_sub(1));
        let step = format!("{name}={at}, {}", words.get(near).map_or("", String::as_str));
        match (is_known, pitch) {
            (true, _) => format!("{step}, where tiles were joined: tile seam"),
            (false, Some(px)) => format!("{step}, repeats every {px} px: tile seam"),
            (false, None) => format!("{step}, right across the picture: tile seam"),
        }
    };
    Outcome::Measured(Measured { score: best(profile), everywhere: 0.0, map, in_source: None, least_area: 0.0, note: Box::new(note) })
}

/// For every line, what the strongest jump near it is.
fn words(lines: &[Lines; 3], limit: f32, pixels: f32) -> Vec<String> {
    let n = lines[0].score.len();
    let near = |i: usize| i.saturating_sub(2)..(i + 3).min(n);
    let strongest = |k: usize, i: usize| near(i).max_by(|&a, &b| lines[k].score[a].total_cmp(&lines[k].score[b])).unwrap_or(i);
    (0..n)
        .map(|i| {
            let at: [usize; 3] = std::array::from_fn(|k| strongest(k, i));
            let [tone, position, sharp] =
                std::array::from_fn(|k| lines[k].score[at[k]].min(if k < 2 { f32::MAX } else { limit }) / USUAL[k]);
            match () {
                () if tone >= position.max(sharp) => format!("{:.1} levels against the source", lines[0].jump[at[0]]),
                () if position >= sharp => format!("moved by {:.1} px against the other side", lines[1].jump[at[1]] * pixels),
                () => format!("fine detail {:.1} times as strong on one side", (0.5 * lines[2].jump[at[2]]).exp()),
            }
        })
        .collect()
}

/// The scores near known joins (output pixels) alone.
fn known(joins: &[usize], scale: f32, scores: &[f32]) -> Vec<f32> {
    let mut kept = vec![0.0; scores.len()];
    for &join in joins {
        let at = (join as f32 / scale).round() as usize;
        let near = at.saturating_sub(1).min(scores.len())..(at + 2).min(scores.len());
        kept[near.clone()].copy_from_slice(&scores[near]);
    }
    kept
}

fn is_peak(profile: &[f32], i: usize) -> bool {
    (i.saturating_sub(STRIP)..(i + STRIP + 1).min(profile.len())).all(|j| profile[j] <= profile[i])
}

fn scale_of(scene: &Scene, vertical: bool) -> f32 {
    let of = |result: usize, source: Option<usize>| result as f32 / source.unwrap_or(result).max(1) as f32;
    match vertical {
        true => of(scene.result.width, scene.source.as_ref().map(|s| s.width)),
        false => of(scene.result.height, scene.source.as_ref().map(|s| s.height)),
    }
}

/// Sums over segments of rows from the top down to each row, of several planes at once: a strip is a difference of two.
struct Strips<const N: usize> {
    segments: usize,
    sums: Vec<[f64; N]>,
}

impl<const N: usize> Strips<N> {
    /// Of what `f` gives for a pixel (its index).
    fn new(width: usize, height: usize, f: impl Fn(usize) -> [f32; N]) -> Self {
        let segments = width / SEGMENT;
        let mut sums = vec![[0.0; N]; segments * (height + 1)];
        for y in 0..height {
            for s in 0..segments {
                let mut sum = sums[y * segments + s];
                for x in s * SEGMENT..(s + 1) * SEGMENT {
                    sum.iter_mut().zip(f(y * width + x)).for_each(|(s, v)| *s += f64::from(v));
                }
                sums[(y + 1) * segments + s] = sum;
            }
        }
        Self { segments, sums }
    }

    /// Of rows `from..to` of a segment.
    fn of(&self, s: usize, from: usize, to: usize) -> [f32; N] {
        let (a, b) = (&self.sums[from * self.segments + s], &self.sums[to * self.segments + s]);
        std::array::from_fn(|k| (b[k] - a[k]) as f32)
    }

    /// For every line between rows, what `test` (segment and row: how much it stands out, and the jump) gives for its segments,
    /// at their quantile; less the median line.
    fn lines(&self, height: usize, strip: usize, test: impl Fn(usize, usize) -> (f32, f32) + Sync) -> Lines
    where
        Self: Sync,
    {
        let found: Vec<Option<(f32, f32)>> = (0..height)
            .into_par_iter()
            .map(|y| {
                (y >= strip && y + strip <= height && self.segments > 0).then(|| {
                    let (mut scores, mut jumps): (Vec<f32>, Vec<f32>) = (0..self.segments).map(|s| test(s, y)).unzip();
                    (quantile(&mut scores, QUANTILE), quantile(&mut jumps, 0.5))
                })
            })
            .collect();
        let mut inside: Vec<f32> = found.iter().flatten().map(|v| v.0).collect();
        let usual = quantile(&mut inside, 0.5);
        let (score, jump) = found.iter().map(|v| v.map_or((0.0, 0.0), |(s, j)| ((s - usual).max(0.0), j))).unzip();
        Lines { score, jump }
    }
}

/// Jumps of the mean between rows of a residual.
fn tone(r: &Plane) -> Lines {
    let strips = Strips::new(r.width, r.height, |i| [r.data[i], r.data[i] * r.data[i]]);
    strips.lines(r.height, STRIP, |s, y| {
        let sum = |from: usize, to: usize| strips.of(s, from, to)[0];
        let near = sum(y, y + HALF) - sum(y - HALF, y);
        let far = sum(y + HALF, y + STRIP) - sum(y - STRIP, y - HALF);
        let step = if near * far > 0.0 { near.abs().min(FAR * far.abs()) / (HALF * SEGMENT) as f32 * 255.0 } else { 0.0 };
        // What the residual deviates on either side from that side's mean.
        let pixels = (STRIP * SEGMENT) as f32;
        let spread = |[sum, square]: [f32; 2]| (square / pixels - (sum / pixels) * (sum / pixels)).max(0.0);
        let rough = (0.5 * (spread(strips.of(s, y - STRIP, y)) + spread(strips.of(s, y, y + STRIP)))).sqrt() * 255.0;
        (step / (1.0 + rough), step)
    })
}

/// Jumps of the displacement that explains the residual from the gradient of the source (already softened).
fn position(r: &Plane, source: &Plane) -> Lines {
    /// Least energy of a gradient, and of what no displacement explains, a pixel.
    const RIDGE: f32 = 1e-5;
    const FLOOR: f32 = 1e-5;
    let (gx, gy) = source.gradients();
    let strips = Strips::new(r.width, r.height, |i| {
        let (r, x, y) = (r.data[i], gx.data[i], gy.data[i]);
        [x * x, x * y, y * y, r * x, r * y, r * r]
    });
    let pixels = (WIDE * SEGMENT) as f32;
    // The displacement, and how much of the residual's energy it explains.
    let solve = |[xx, xy, yy, rx, ry, _]: [f32; 6], ridge: f32| {
        let (a, d) = (xx + ridge, yy + ridge);
        let det = a * d - xy * xy;
        let (x, y) = ((d * rx - xy * ry) / det, (a * ry - xy * rx) / det);
        ([x, y], x * rx + y * ry)
    };
    strips.lines(r.height, WIDE, |s, y| {
        let (a, b) = (strips.of(s, y - WIDE, y), strips.of(s, y, y + WIDE));
        let both = std::array::from_fn(|k| a[k] + b[k]);
        let ridge = RIDGE * pixels;
        let ((da, ea), (db, eb), (_, common)) = (solve(a, ridge), solve(b, ridge), solve(both, 2.0 * ridge));
        let left = (both[5] - ea - eb).max(0.0) + 2.0 * pixels * FLOOR;
        (((ea + eb - common).max(0.0) / left).sqrt(), (da[0] - db[0]).hypot(da[1] - db[1]))
    })
}

/// The natural logarithm of the energy finer than 1 px over that between 1 and 2.5 px, by cells.
fn sharpness(y: &Plane) -> Plane {
    const NONE: f32 = 2e-6;
    let [fine, middle] = tiles::cells((y.width, y.height), CELL, reach(2.5), |tile| {
        let y = tile.cut(y);
        let (x, _) = tile.inside();
        let mut softs = [1.0, 2.5].map(|sigma| (Soft::new(sigma), vec![0.0; y.width]));
        tile.sums(CELL, |r, [fine, middle]| {
            for (soft, row) in &mut softs {
                soft.row(&y, r, row);
            }
            let [a, b] = softs.each_ref().map(|(_, row)| &row[x.clone()]);
            filter::add_squares(&y.row(r)[x.clone()], a, fine);
            filter::add_squares(a, b, middle);
        })
    });
    fine.blur(1.0).zip(&middle.blur(1.0), |f, m| ((f + NONE) / (m + 4.0 * NONE)).ln())
}

/// Jumps of the mean between rows of the sharpness map.
fn jumps(l: &Plane) -> Lines {
    let strips = Strips::new(l.width, l.height, |i| [l.data[i], l.data[i] * l.data[i]]);
    let cells = (CELLS * SEGMENT) as f32;
    strips.lines(l.height, CELLS, |s, y| {
        let side = |from: usize, to: usize| {
            let [sum, square] = strips.of(s, from, to).map(|v| v / cells);
            (sum, (square - sum * sum).max(0.0))
        };
        let ((a, va), (b, vb)) = (side(y - CELLS, y), side(y, y + CELLS));
        ((a - b).abs() / (0.25 + (va + vb).sqrt()), (a - b).abs())
    })
}

/// Lines by cells as lines by source pixels, `cells` of them a source pixel.
fn resampled(l: &Lines, n: usize, cells: f32) -> Lines {
    let last = l.score.len().saturating_sub(1);
    let of = |p: &[f32]| (0..n).map(|i| p.get(((i as f32 * cells).round() as usize).min(last)).copied().unwrap_or(0.0)).collect();
    Lines { score: of(&l.score), jump: of(&l.jump) }
}

/// The distance at which strong lines repeat, if at least three lines do.
fn pitch(profile: &[f32]) -> Option<usize> {
    let top = profile.iter().copied().fold(0.0f32, f32::max);
    let at: Vec<usize> = (0..profile.len()).filter(|&i| profile[i] > 0.6 * top && is_peak(profile, i)).collect();
    let gaps: Vec<usize> = at.windows(2).map(|w| w[1] - w[0]).collect();
    let first = *gaps.first().filter(|_| gaps.len() >= 2)?;
    gaps.iter().all(|g| g.abs_diff(first) <= 2).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Joins, Picture, tests::picture};
    use crate::resample::Filter;

    fn scene(levels: f32, pitch: usize) -> Scene {
        let clean = picture(640, 512);
        let source = clean.resize(160, 128, Filter::CatmullRom).unwrap();
        let planes = std::array::from_fn(|c| {
            let mut p = clean.channel(c).clone();
            p.data.iter_mut().enumerate().for_each(|(i, v)| *v += if (i % 640 / pitch).is_multiple_of(2) { 0.0 } else { levels / 255.0 });
            p
        });
        Scene::new(Picture::from_planes(planes), source).unwrap()
    }

    fn run(scene: &Scene) -> Measured {
        match measure(scene) {
            Outcome::Measured(m) => m,
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_seam_is_found_with_its_place_step_and_pitch() {
        let clean = run(&scene(0.0, 160)).score;
        let m = run(&scene(3.0, 160));
        assert!(m.score > 1.0 && m.score > 5.0 * clean, "{} after {clean}", m.score);
        let spot = &super::super::regions::find(&m.map.map(|v| v / 5.0), &m, (640, 512), m.score as f64 / 5.0 - 0.01)[0];
        assert!([160usize, 320, 480].iter().any(|x| x.abs_diff(spot.rect.x + spot.rect.w / 2) <= 4), "{:?}", spot.rect);
        assert_eq!((spot.rect.y, spot.rect.h), (0, 512));
        let note = (m.note)(spot);
        assert!(note.starts_with("vertical line at x=") && note.contains("repeats every 160 px"), "{note}");
    }

    #[test]
    fn a_known_grid_is_tested_at_its_lines_only() {
        let mut s = scene(3.0, 160);
        s.joins = Some(Joins { x: vec![100, 400], y: vec![] });
        let beside = run(&s).score;
        s = scene(3.0, 160);
        s.joins = Some(Joins { x: vec![320], y: vec![] });
        assert!(run(&s).score > 3.0 * beside);
        s.joins = Some(Joins::default());
        assert!(matches!(measure(&s), Outcome::NotApplicable(_)));
    }
}
