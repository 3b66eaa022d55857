//! Tile seams: a line across the whole picture at which tone or position jumps.
//!
//! Looked for in what a fit of the reduced result to the source leaves (`residual`), where the drawing itself cancels: the means
//! of six source pixels on both sides of a line are compared in segments of 16; a seam crosses the picture, an edge of an
//! object does not, so a line counts with the 35 % quantile of its segments, less the picture's median line. Of a step the far
//! halves of both strips differ as well; what a drawn line leaves lies in one of them and does not count. If the tile grid
//! is known, only its lines are tested. Raw score: the strongest line, levels of 255.

use rayon::prelude::*;

use super::plane::{Plane, quantile};
use super::{Measured, Outcome, Scene, Spot};

/// Source pixels compared on each side, and along the line in one segment.
const STRIP: usize = 6;
const HALF: usize = STRIP / 2;
/// The far halves differ less: the residual has no low frequencies.
const FAR: f32 = 1.5;
const SEGMENT: usize = 16;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let Some(residual) = scene.residual() else {
        return Outcome::NotApplicable("there is no source to tell seams from edges");
    };
    let r = &residual.value;
    if r.width < 4 * STRIP + 2 * SEGMENT || r.height < 4 * STRIP + 2 * SEGMENT {
        return Outcome::NotApplicable("the source is too small for lines to be told apart");
    }
    if scene.joins.as_ref().is_some_and(|j| j.x.is_empty() && j.y.is_empty()) {
        return Outcome::NotApplicable("it was made in one tile");
    }
    let columns = lines(&r.transposed());
    let rows = lines(r);
    let known = |joins: &[usize], profile: &[f32]| -> Vec<f32> {
        let mut kept = vec![0.0; profile.len()];
        for &join in joins {
            let at = (join as f32 / scene.scale).round() as usize;
            let near = at.saturating_sub(1)..(at + 2).min(profile.len());
            kept[near.clone()].copy_from_slice(&profile[near]);
        }
        kept
    };
    let (columns, rows) = match &scene.joins {
        Some(j) => (known(&j.x, &columns), known(&j.y, &rows)),
        None => (columns, rows),
    };
    let best = |p: &[f32]| p.iter().copied().fold(0.0f32, f32::max);
    let vertical = best(&columns) >= best(&rows);
    let profile = if vertical { &columns } else { &rows };
    let pitch = pitch(profile).map(|p| (p as f32 * scale_of(scene, vertical)).round() as usize);
    // Lines of the stronger direction only: crossing ones would join into one box around everything.
    let mut map = Plane::new(r.width, r.height);
    for (i, &v) in profile.iter().enumerate() {
        let peak = (i.saturating_sub(STRIP)..(i + STRIP + 1).min(profile.len())).all(|j| profile[j] <= v);
        if peak && v > 0.0 {
            for k in 0..if vertical { r.height } else { r.width } {
                let (x, y) = if vertical { (i, k) } else { (k, i) };
                map.data[y * r.width + x] = v;
            }
        }
    }
    let is_known = scene.joins.is_some();
    let note = move |s: &Spot| {
        let (name, at) =
            if vertical { ("vertical line at x", s.rect.x + s.rect.w / 2) } else { ("horizontal line at y", s.rect.y + s.rect.h / 2) };
        let step = format!("{name}={at}, {:.1} levels against the source", s.raw);
        match (is_known, pitch) {
            (true, _) => format!("{step}, where tiles were joined: tile seam"),
            (false, Some(px)) => format!("{step}, repeats every {px} px: tile seam"),
            (false, None) => format!("{step}, right across the picture: tile seam"),
        }
    };
    Outcome::Measured(Measured { score: best(profile), map, in_source: None, least_area: 0.0, note: Box::new(note) })
}

fn scale_of(scene: &Scene, vertical: bool) -> f32 {
    let of = |result: usize, source: Option<usize>| result as f32 / source.unwrap_or(result).max(1) as f32;
    match vertical {
        true => of(scene.result.width, scene.source.as_ref().map(|s| s.width)),
        false => of(scene.result.height, scene.source.as_ref().map(|s| s.height)),
    }
}

/// For every line between rows `i - 1` and `i`: the 35 % quantile of its segments' steps, less the median line; levels.
fn lines(r: &Plane) -> Vec<f32> {
    let (w, h) = (r.width, r.height);
    let segments = w / SEGMENT;
    // Sums of rows down to each, per segment, so that a strip is a difference of two.
    let mut sums = vec![vec![0.0f32; segments]; h + 1];
    for y in 0..h {
        let row = r.row(y);
        for s in 0..segments {
            sums[y + 1][s] = sums[y][s] + row[s * SEGMENT..(s + 1) * SEGMENT].iter().sum::<f32>();
        }
    }
    let mut out: Vec<f32> = (0..h)
        .into_par_iter()
        .map(|y| {
            if y < STRIP || y + STRIP > h {
                return f32::NAN;
            }
            let sum = |s: usize, from: usize, to: usize| sums[to][s] - sums[from][s];
            let step = |s: usize| {
                let near = sum(s, y, y + HALF) - sum(s, y - HALF, y);
                let far = sum(s, y + HALF, y + STRIP) - sum(s, y - STRIP, y - HALF);
                if near * far > 0.0 { near.abs().min(FAR * far.abs()) / (HALF * SEGMENT) as f32 * 255.0 } else { 0.0 }
            };
            let mut steps: Vec<f32> = (0..segments).map(step).collect();
            quantile(&mut steps, 0.35)
        })
        .collect();
    let mut inside: Vec<f32> = out.iter().copied().filter(|v| v.is_finite()).collect();
    let usual = quantile(&mut inside, 0.5);
    for v in &mut out {
        *v = if v.is_finite() { (*v - usual).max(0.0) } else { 0.0 };
    }
    out
}

/// The distance at which strong lines repeat, if at least three lines do.
fn pitch(profile: &[f32]) -> Option<usize> {
    let top = profile.iter().copied().fold(0.0f32, f32::max);
    let strong = |i: usize| {
        profile[i] > 0.6 * top && (i.saturating_sub(STRIP)..(i + STRIP + 1).min(profile.len())).all(|j| profile[j] <= profile[i])
    };
    let at: Vec<usize> = (0..profile.len()).filter(|&i| strong(i)).collect();
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
