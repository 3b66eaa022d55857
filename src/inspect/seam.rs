//! Tile seams: a line across the whole picture at which tone, position or sharpness jumps.
//!
//! Tone and structure are looked for in what a fit of the reduced result to the source leaves (`residual`), where the drawing
//! itself cancels. Along a line, segments of 16 source pixels are tested one by one; a seam crosses the picture, an edge of an
//! object does not, so a line counts with the 35 % quantile of its segments, less the picture's median line.
//!
//! - Tone: the means of six source pixels on both sides differ, in both halves of the strips (what a drawn line leaves lies in one of
//!   them), over one level, what the residual deviates there, and a part of a strong step of the source's own: where it is rough
//!   (halftone, bricks), steps are chance, and at the straight border of a page they are the border's.
//! - Structure: twelve source pixels on either side are explained by two displacements and softenings, residual = d . gradient of
//!   the source + e Laplacian of the source, better than by one; the square root of what that gains over what it leaves. A segment
//!   counts as far as structure crosses the line in it: on flat art most of a line has nothing that could jump, and an edge that
//!   runs along the line is an object's.
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
/// Source pixels on each side for structure.
const WIDE: usize = 12;
/// Side of a cell of the sharpness map, output pixels, and cells on each side of a line.
const CELL: usize = 4;
const CELLS: usize = 8;
/// What one clean picture in a hundred reaches of tone, structure and sharpness.
const USUAL: [f32; 3] = [0.60, 0.36, 0.60];
/// The quantile of its segments that stands for a line.
const QUANTILE: f32 = 0.35;

/// Lines along one axis, by source pixel: how much stands out, and the jump in the unit of a sentence.
#[derive(Debug, Clone, Default)]
struct Lines {
    /// Over the picture's median line.
    score: Vec<f32>,
    /// Levels of 255; source pixels of displacement, or minus those of softening; or the natural logarithm of a ratio.
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
    // Columns, then rows, of tone, structure and sharpness.
    let axes = [true, false].map(|columns| {
        let turned = |p: &Plane| if columns { p.transposed() } else { p.clone() };
        let (r, soft) = (turned(r), turned(source).blur(0.5));
        let cells = if columns { scene.result.width } else { scene.result.height } as f32 / r.height as f32 / CELL as f32;
        let mut all = [tone(&r, &soft), structure(&r, &soft), resampled(&jumps(&turned(&sharp)), r.height, cells)];
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
            let [tone, structure, sharp] =
                std::array::from_fn(|k| lines[k].score[at[k]].min(if k < 2 { f32::MAX } else { limit }) / USUAL[k]);
            match () {
                () if tone >= structure.max(sharp) => format!("{:.1} levels against the source", lines[0].jump[at[0]]),
                () if structure >= sharp && lines[1].jump[at[1]] < 0.0 => {
                    format!("one side softer than the other, by {:.1} px", -lines[1].jump[at[1]] * pixels)
                }
                () if structure >= sharp => format!("moved by {:.1} px against the other side", lines[1].jump[at[1]] * pixels),
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

    /// For every line between rows, what `test` (of a segment and a row) gives for its segments, at their quantile; less the
    /// median line.
    fn lines(&self, height: usize, strip: usize, test: impl Fn(usize, usize) -> Tested + Sync) -> Lines
    where
        Self: Sync,
    {
        let found: Vec<Option<(f32, f32)>> = (0..height)
            .into_par_iter()
            .map(|y| {
                (y >= strip && y + strip <= height && self.segments > 0).then(|| {
                    let mut tested: Vec<Tested> = (0..self.segments).map(|s| test(s, y)).collect();
                    standing(&mut tested)
                })
            })
            .collect();
        let mut inside: Vec<f32> = found.iter().flatten().map(|v| v.0).collect();
        let usual = quantile(&mut inside, 0.5);
        let (score, jump) = found.iter().map(|v| v.map_or((0.0, 0.0), |(s, j)| ((s - usual).max(0.0), j))).unzip();
        Lines { score, jump }
    }
}

/// What a test says of one segment of a line.
#[derive(Debug, Clone, Copy)]
struct Tested {
    score: f32,
    jump: f32,
    /// How much this segment can tell, 0..1.
    weight: f32,
}

/// The score and the jump that stand for a line: the quantile and the median of its segments by weight. Fewer than three segments'
/// worth is chance.
fn standing(tested: &mut [Tested]) -> (f32, f32) {
    let all: f32 = tested.iter().map(|t| t.weight).sum();
    let sure = ((all - 1.0) / 2.0).clamp(0.0, 1.0);
    if sure == 0.0 {
        return (0.0, 0.0);
    }
    let mut at = |share: f32, of: fn(&Tested) -> f32| {
        tested.sort_unstable_by(|a, b| of(a).total_cmp(&of(b)));
        let mut sum = 0.0;
        let reached = tested.iter().find(|t| {
            sum += t.weight;
            sum >= share * all
        });
        reached.or(tested.last()).map_or(0.0, of)
    };
    (sure * at(QUANTILE, |t| t.score), at(0.5, |t| t.jump))
}

/// Jumps of the mean between rows of a residual, where the source has none.
fn tone(r: &Plane, source: &Plane) -> Lines {
    /// What the fit may leave of a step of the source's own, and from how many levels on it is one.
    const LEFT: f32 = 0.1;
    const DRAWN: f32 = 60.0;
    let strips = Strips::new(r.width, r.height, |i| [r.data[i], r.data[i] * r.data[i], source.data[i]]);
    strips.lines(r.height, STRIP, |s, y| {
        let sum = |from: usize, to: usize| strips.of(s, from, to)[0];
        let near = sum(y, y + HALF) - sum(y - HALF, y);
        let far = sum(y + HALF, y + STRIP) - sum(y - STRIP, y - HALF);
        let step = if near * far > 0.0 { near.abs().min(FAR * far.abs()) / (HALF * SEGMENT) as f32 * 255.0 } else { 0.0 };
        // What the residual deviates on either side from that side's mean.
        let pixels = (STRIP * SEGMENT) as f32;
        let spread = |[sum, square, _]: [f32; 3]| (square / pixels - (sum / pixels) * (sum / pixels)).max(0.0);
        let rough = (0.5 * (spread(strips.of(s, y - STRIP, y)) + spread(strips.of(s, y, y + STRIP)))).sqrt() * 255.0;
        let rise = (strips.of(s, y, y + HALF)[2] - strips.of(s, y - HALF, y)[2]).abs() / (HALF * SEGMENT) as f32 * 255.0;
        Tested { score: step / (1.0 + rough + LEFT * (rise - DRAWN).max(0.0)), jump: step, weight: 1.0 }
    })
}

/// Jumps of the displacement and softening that explain the residual from the gradient and the Laplacian of the source (already
/// softened).
fn structure(r: &Plane, source: &Plane) -> Lines {
    /// Least energy of a term, and of what no term explains, a pixel.
    const RIDGE: f32 = 1e-5;
    const FLOOR: f32 = 1e-5;
    /// Energy of the gradient along the line, a pixel, from which on a segment counts for more than half.
    const CROSSED: f32 = 5e-5;
    let (gx, gy) = source.gradients();
    let laplacian = laplacian(source);
    let strips = Strips::new(r.width, r.height, |i| {
        let (r, x, y, l) = (r.data[i], gx.data[i], gy.data[i], laplacian.data[i]);
        [x * x, x * y, x * l, y * y, y * l, l * l, r * x, r * y, r * l, r * r]
    });
    let pixels = (WIDE * SEGMENT) as f32;
    strips.lines(r.height, WIDE, |s, y| {
        let (a, b) = (strips.of(s, y - WIDE, y), strips.of(s, y, y + WIDE));
        let both = std::array::from_fn(|k| a[k] + b[k]);
        let ridge = RIDGE * pixels;
        let ((da, ea), (db, eb), (_, common)) = (explained(&a, ridge), explained(&b, ridge), explained(&both, 2.0 * ridge));
        let left = (both[9] - ea - eb).max(0.0) + 2.0 * pixels * FLOOR;
        let [x, y, e]: [f32; 3] = std::array::from_fn(|k| da[k] - db[k]);
        // A Gaussian of sigma is 1 + sigma^2 / 2 Laplacian, at first.
        let by_moving = x * x * both[0] + 2.0 * x * y * both[1] + y * y * both[3];
        let jump = if by_moving >= e * e * both[5] { x.hypot(y) } else { -(2.0 * e.abs()).sqrt() };
        // What runs along the line is an object's edge, not something that crosses it.
        let crossed = a[0].min(b[0]) / pixels;
        Tested { score: ((ea + eb - common).max(0.0) / left).sqrt(), jump, weight: crossed / (crossed + CROSSED) }
    })
}

/// The weights of three terms that explain a residual best, and how much of its energy they explain. Sums of products of the terms
/// (0 0, 0 1, 0 2, 1 1, 1 2, 2 2), then of the residual with them.
fn explained(&[xx, xy, xl, yy, yl, ll, rx, ry, rl, _]: &[f32; 10], ridge: f32) -> ([f32; 3], f32) {
    let (xx, yy, ll) = (xx + ridge, yy + ridge, ll + ridge);
    // Cholesky; positive, as the ridge is.
    let a = xx.sqrt();
    let (b, d) = (xy / a, xl / a);
    let c = (yy - b * b).max(ridge).sqrt();
    let e = (yl - d * b) / c;
    let f = (ll - d * d - e * e).max(ridge).sqrt();
    let u = rx / a;
    let v = (ry - b * u) / c;
    let w = (rl - d * u - e * v) / f;
    let l = w / f;
    let y = (v - e * l) / c;
    ([(u - b * y - d * l) / a, y, l], u * u + v * v + w * w)
}

fn laplacian(p: &Plane) -> Plane {
    let mut out = Plane::new(p.width, p.height);
    for y in 0..p.height {
        let (above, row, below) = (p.row(y.saturating_sub(1)), p.row(y), p.row((y + 1).min(p.height - 1)));
        for (x, o) in out.row_mut(y).iter_mut().enumerate() {
            *o = above[x] + below[x] + row[x.saturating_sub(1)] + row[(x + 1).min(p.width - 1)] - 4.0 * row[x];
        }
    }
    out
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
        Tested { score: (a - b).abs() / (0.25 + (va + vb).sqrt()), jump: (a - b).abs(), weight: 1.0 }
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

    /// Rows from 280 on are softened or moved to the right; the honest twin is so everywhere.
    fn changed(f: impl Fn(&crate::inspect::plane::Plane) -> crate::inspect::plane::Plane, flat: bool) -> [Measured; 2] {
        let mut truth = crate::inspect::plane::Plane::new(512, 512);
        for y in 0..512 {
            for x in 0..512 {
                let (u, v) = (x as f32, y as f32);
                let stroke = if flat { f32::from(u8::from((x / 70) % 2 == 0)) } else { 0.5 + 0.5 * (u * 0.19 + (v * 0.11).sin()).sin() };
                let twist = if flat { 0.0 } else { 0.2 * (v * 0.23 + (u * 0.07).cos()).sin() };
                truth.data[y * 512 + x] = 0.3 + 0.3 * stroke + twist;
            }
        }
        let truth = truth.blur(1.5);
        let of = |p: &crate::inspect::plane::Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
        let source = of(&truth.resize(128, 128, Filter::CatmullRom).unwrap());
        let made = f(&truth);
        let mut half = truth.clone();
        (280..512).for_each(|y| half.row_mut(y).copy_from_slice(made.row(y)));
        [half, made].map(|p| run(&Scene::new(of(&p), source.clone()).unwrap()))
    }

    #[test]
    fn one_side_softer_or_moved_is_a_seam_and_all_of_it_is_none() {
        let moved = |p: &crate::inspect::plane::Plane| {
            let mut out = p.clone();
            for y in 0..p.height {
                let shifted: Vec<f32> = (0..p.width).map(|x| p.row(y)[x.saturating_sub(2)]).collect();
                out.row_mut(y).copy_from_slice(&shifted);
            }
            out
        };
        for (what, [half, all], says) in [
            ("softer", changed(|p| p.blur(2.5), false), "softer than the other"),
            ("moved", changed(moved, false), "moved by"),
            // Most segments of the line have nothing that crosses it.
            ("moved in flat art", changed(moved, true), "moved by"),
        ] {
            assert!(half.score > 2.0 && half.score > 4.0 * all.score, "{what}: {} after {}", half.score, all.score);
            let top = half.score;
            let spot = &super::super::regions::find(&half.map.map(|v| 0.9 * v / top), &half, (512, 512), 0.89)[0];
            let at = spot.rect.y + spot.rect.h / 2;
            assert!(at.abs_diff(280) <= 8 && spot.rect.w == 512, "{what}: {:?}", spot.rect);
            assert!((half.note)(spot).contains(says), "{what}: {}", (half.note)(spot));
        }
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
