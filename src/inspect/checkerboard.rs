//! A pattern that repeats exactly every 2, 4, 8 or 16 pixels, as transposed convolutions leave it (Odena et al., "Deconvolution and checkerboard
//! artifacts", Distill 2016).
//!
//! The difference to a faithful enlargement (alone: the picture itself) is put on a common contrast and folded ([`super::fold`]).
//! Raw score: the largest share of its variance, in windows of 64 px (128 for period 16), that repeats. What repeats in the faithful
//! enlargement at the same place, too, is drawn that way (cloth, rows of dots) and is taken off twice.

use rayon::prelude::*;

use super::fold::Folded;
use super::plane::Plane;
use super::scene::{MARGIN, normalised};
use super::{Measured, Outcome, Scene, Spot};

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let y = scene.luma();
    if y.width < 128 || y.height < 128 {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    let map = match scene.difference() {
        Some(difference) => repeating(difference, scene.faithful_folded()),
        None => repeating(scene.folded(), None),
    };
    let alone = |p: &Plane| repeating(&Folded::new((p.width, p.height), MARGIN, |tile| normalised(&tile.cut(p))), None);
    let in_source = scene.source_luma().filter(|s| s.width >= 128 && s.height >= 128).map(|s| alone(s).0);
    let (map, periods) = map;
    let compared = if scene.faithful.is_some() { "what differs from the source" } else { "the fine detail" };
    let note = move |s: &Spot| {
        let period = s.worst_in(&periods) as usize;
        format!("{:.0} % of {compared} repeats exactly every {period} px: checkerboard", s.raw * 100.0)
    };
    let mut measured = Measured::peak(map, note);
    measured.in_source = in_source;
    Outcome::Measured(measured)
}

/// The largest repeating share by window, half a window apart, less twice what is drawn so, and the period it belongs to.
fn repeating(folded: &Folded, drawn: Option<&Folded>) -> (Plane, Plane) {
    let (cols, rows) = folded.size();
    let (w, h) = (cols.max(2) - 1, rows.max(2) - 1);
    let found: Vec<(f32, f32)> = (0..w * h)
        .into_par_iter()
        .map(|i| {
            let (x, y) = (i % w, i / w);
            let mut best = (0.0f32, 2.0);
            let at = |side: usize| (x.min(cols.saturating_sub(side)), y.min(rows.saturating_sub(side)));
            let ((sx, sy), (lx, ly)) = (at(2), at(4));
            let mut short = folded.shares(sx, sy, (2, 2), [2, 4, 8]);
            let mut long = folded.shares(lx, ly, (4, 4), [16]);
            if let Some(drawn) = drawn {
                let less = |all: &mut [f32], drawn: &[f32]| all.iter_mut().zip(drawn).for_each(|(a, d)| *a = (*a - 2.0 * d).max(0.0));
                less(&mut short, &drawn.shares(sx, sy, (2, 2), [2, 4, 8]));
                less(&mut long, &drawn.shares(lx, ly, (4, 4), [16]));
            }
            for (period, share) in [2.0, 4.0, 8.0, 16.0].into_iter().zip(short.into_iter().chain(long)) {
                // A multiple of the true period holds at least as much.
                if share > 1.15 * best.0 {
                    best = (share, period);
                }
            }
            if best.1 > 8.5 {
                let of = folded.shares(lx, ly, (4, 4), [2, 4, 8]);
                best.1 = [2.0, 4.0, 8.0].into_iter().zip(of).find(|(_, share)| 1.15 * share >= best.0).map_or(16.0, |p| p.0);
            }
            best
        })
        .collect();
    let plane = |f: fn(&(f32, f32)) -> f32| Plane { width: w, height: h, data: found.iter().map(f).collect() };
    (plane(|v| v.0), plane(|v| v.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::tests::picture;

    #[test]
    fn a_patch_of_pattern_is_found_with_its_period() {
        let clean = picture(320, 256);
        let mut planes = std::array::from_fn(|c| clean.channel(c).clone());
        for p in &mut planes {
            for y in 96..192 {
                for x in 128..256 {
                    p.data[y * 320 + x] += if (x % 4 < 2) == (y % 4 < 2) { 0.01 } else { -0.01 };
                }
            }
        }
        for compared in [true, false] {
            let run = |p: Picture| {
                let mut scene = Scene::alone(p);
                scene.faithful = compared.then(|| clean.clone());
                match measure(&scene) {
                    Outcome::Measured(m) => m,
                    Outcome::NotApplicable(why) => panic!("{why}"),
                }
            };
            let before = run(clean.clone()).score;
            let m = run(Picture::from_planes(planes.clone()));
            assert!(m.score > 0.3 && m.score > 3.0 * before, "{} after {before}", m.score);
            let (_, x, y) = m.map.peak();
            assert!((3..7).contains(&x) && (2..6).contains(&y), "{x},{y}");
            let spot = &super::super::regions::find(&m.map, &m, (320, 256), 0.9)[0];
            assert!((m.note)(spot).contains("every 4 px"), "{}", (m.note)(spot));
        }
    }
}
