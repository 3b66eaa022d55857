//! A soft patch in a picture that is sharp elsewhere, or a picture that is soft as a whole.
//!
//! With a faithful enlargement: fine (< 0.7 px) and middle detail (1.4 to 2.8 px) both fall behind it by more than they do
//! elsewhere; or most of the picture does not carry what the source holds (`carried`), which no honest kernel loses. Alone: fine detail is
//! scarce for the detail there is that is coarser by one or two octaves; or the picture's sharpest edges are wide. Raw score: the
//! worst window, in usual spreads.

use super::plane::{Plane, quantile, reach};
use super::{Measured, Outcome, Scene, Spot, carried, texture, tiles, windows};

/// What honest kernels may lose of what the source holds, natural logarithm, and the spread beyond.
const LOST: (f32, f32) = (0.12, 0.25);
/// The share of a picture's windows that have lost it, or whose edges are wide.
const MOST: f32 = 0.75;
/// Width of a clean enlargement's sharpest edges: the deviation in pixels of a Gaussian that softens a step as much.
const WIDE_PX: f32 = 3.0;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    if scene.result.width < 2 * windows::SIDE || scene.result.height < 2 * windows::SIDE {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    if scene.faithful.is_some() {
        let Some(t) = scene.texture() else { return Outcome::NotApplicable("too little detail to judge") };
        let patch = texture::judged(t, |fine, middle, _| fine.min(middle));
        let all = of_whole(scene, &patch);
        let (map, weaker) = (patch.zip(&all, f32::max), t.middle.clone());
        let everywhere = all.peak().0.max(0.0);
        let note = move |s: &Spot| {
            let (patch, all) = (s.worst_in(&patch), s.worst_in(&all));
            match patch >= all {
                // The loss of energy in usual spreads; the sentence speaks of contrast.
                true => {
                    let times = (0.5 * texture::SPREADS[1] * s.worst_in(&weaker)).exp();
                    format!("soft patch: detail is {times:.1} times weaker here than the source asks for, against the rest")
                }
                false => kept(all),
            }
        };
        return Outcome::Measured(Measured { everywhere, ..Measured::peak(map, note) });
    }
    let y = scene.luma();
    let [fine, upper, middle] = texture::detail(y).map(|p| windows::mean_of(&p));
    let ok: Vec<bool> = middle.data.iter().map(|&e| e > 0.008 * 0.008).collect();
    // A picture that is soft as a whole has hardly any detail left, and edges all the same.
    let enough = ok.iter().filter(|ok| **ok).count() >= 6;
    let scarce = |of: &Plane, spread: f32| {
        let mut p = middle.zip(of, |m, f| ((m + 2e-6) / (f + 2e-6)).ln());
        let usual = windows::median_where(&p, &ok);
        p.data.iter_mut().zip(&ok).for_each(|(v, ok)| *v = if *ok && enough { ((*v - usual) / spread).max(0.0) } else { 0.0 });
        p
    };
    let patch = scarce(&fine, 2.3);
    // An enlargement has nothing finer than that anywhere.
    let patch = if scene.source.is_none() { patch.zip(&scarce(&upper, 2.2), f32::max) } else { patch };
    // Against its source a picture's softness is known; without one it is guessed from its edges.
    let (all, soft) = if scene.source.is_some() {
        (of_whole(scene, &patch), None)
    } else {
        let wide = edge_widths(y);
        let width = usual_width(&wide);
        (wide.map(|w| if w > 0.0 { (w.min(width) / WIDE_PX).powi(2) } else { 0.0 }), Some(width))
    };
    let map = patch.zip(&all, f32::max);
    if !enough && map.peak().0 <= 0.0 {
        return Outcome::NotApplicable("too little detail to judge");
    }
    let everywhere = all.peak().0.max(0.0);
    let note = move |s: &Spot| {
        let worst = s.worst_in(&all);
        match soft {
            _ if s.worst_in(&patch) >= worst => {
                "soft patch: fine detail is scarcer here than elsewhere in the picture, for the detail there is".to_owned()
            }
            Some(width) => format!("soft: even the sharper edges of the picture are {:.1} px wide", 2.0 * width),
            None => kept(worst),
        }
    };
    Outcome::Measured(Measured { everywhere, ..Measured::peak(map, note) })
}

/// What the whole picture falls short of its source, on the grid of `like`.
fn of_whole(scene: &Scene, like: &Plane) -> Plane {
    scene.carried().map_or_else(|| Plane::new(like.width, like.height), |c| carried::spread(&lost(c), like.width, like.height))
}

fn kept(raw: f32) -> String {
    format!("soft: the whole picture keeps {:.0} % of the contrast of what the source holds", 100.0 * (-LOST.0 - LOST.1 * raw).exp())
}

/// By window of the source, how far the picture as a whole, and this window with it, falls short of what the source holds.
fn lost(c: &carried::Carried) -> Plane {
    let usual = -c.quantile(MOST);
    c.gain.map(|g| ((usual.min(-g) - LOST.0) / LOST.1).max(0.0))
}

/// By window, the width of the sharpest edge, pixels (the deviation of a Gaussian); 0 where there is no edge. A step that a Gaussian of
/// deviation s has softened is as steep as 1 / s; two that differ tell s from the step's height. At half size: softness is wide.
fn edge_widths(y: &Plane) -> Plane {
    /// More softening for the second look, pixels of half the size.
    const MORE: f32 = 1.5;
    /// Variances of both looks, square pixels: means of two by two, differences over four, and the Gaussian.
    const FINE: f32 = 1.67;
    const COARSE: f32 = FINE + 4.0 * MORE * MORE;
    let half = y.cells(2);
    let side = windows::STEP / 2;
    let [fine, coarse] = tiles::cells((half.width, half.height), side, reach(MORE) + 1, |tile| {
        let half = tile.cut(&half);
        [half.steepness(), half.blur(MORE).steepness()].map(|p| windows::largest(&p, tile.inside(), side))
    });
    windows::max_of(&fine).zip(&windows::max_of(&coarse), |fine, coarse| {
        // Differences are those of pixels of half the size.
        if coarse < 4.0 * 0.008 * 0.008 {
            return 0.0;
        }
        let ratio = fine / coarse;
        ((COARSE - FINE * ratio) / (ratio - 1.0).max(0.02)).clamp(1e-3, 400.0).sqrt()
    })
}

/// The width that three of four windows with edges exceed; 0 with fewer than four of them.
fn usual_width(widths: &Plane) -> f32 {
    let mut all: Vec<f32> = widths.data.iter().copied().filter(|&w| w > 0.0).collect();
    if all.len() < 4 { 0.0 } else { quantile(&mut all, 1.0 - MOST) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;

    /// Texture of every size, the same everywhere.
    fn rough() -> Plane {
        let mut p = Plane::new(512, 384);
        let mut state = 7u32;
        for v in &mut p.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (state >> 8) as f32 / (1 << 24) as f32;
        }
        let (a, b) = (p.blur(0.8), p.blur(2.5));
        a.zip(&b, |a, b| 0.5 + 0.25 * (a - 0.5) + 1.2 * (b - 0.5))
    }

    #[test]
    fn a_picture_that_is_soft_as_a_whole_scores_with_its_softness() {
        let mut truth = Plane::new(512, 384);
        for y in 0..384 {
            for x in 0..512 {
                let (u, v) = (x as f32, y as f32);
                truth.data[y * 512 + x] =
                    0.5 + 0.2 * (u * 0.07 + (v * 0.03).sin()).sin().signum() + 0.1 * (v * 0.11 + (u * 0.05).cos()).sin().signum();
            }
        }
        let truth = truth.blur(0.8);
        let of = |p: &Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
        let source = of(&truth.resize(128, 96, crate::resample::Filter::Lanczos3).unwrap());
        let run = |p: &Plane, alone: bool| {
            let scene = match alone {
                true => Scene::alone(of(p)),
                false => {
                    let mut scene = Scene::new(of(p), source.clone()).unwrap();
                    scene.faithful = Some(of(&truth));
                    scene
                }
            };
            match measure(&scene) {
                Outcome::Measured(m) => m,
                Outcome::NotApplicable(why) => panic!("{why}"),
            }
        };
        for alone in [false, true] {
            let scores: Vec<f32> = [0.3, 1.5, 3.0, 5.0].map(|s| run(&truth.blur(s), alone).score).into();
            assert!(scores[0] < 0.4 && scores[3] > 0.9, "{alone}: {scores:?}");
            assert!(scores.is_sorted(), "{alone}: {scores:?}");
            let m = run(&truth.blur(5.0), alone);
            let spot = &super::super::regions::find(&m.map.map(|v| 0.9 * v / m.score), &m, (512, 384), 0.8)[0];
            assert!((m.note)(spot).starts_with("soft: "), "{}", (m.note)(spot));
        }
    }

    #[test]
    fn a_soft_patch_is_found_and_a_soft_picture_is_not() {
        let sharp = rough();
        let soft = sharp.blur(1.6);
        let mut patched = sharp.clone();
        for y in 128..256 {
            patched.row_mut(y)[192..320].copy_from_slice(&soft.row(y)[192..320]);
        }
        let run = |p: &Plane, f: Option<&Plane>| {
            let of = |p: &Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
            let mut scene = Scene::alone(of(p));
            scene.faithful = f.map(of);
            match measure(&scene) {
                Outcome::Measured(m) => (m.score, m.map.peak()),
                Outcome::NotApplicable(why) => panic!("{why}"),
            }
        };
        for f in [None, Some(&sharp)] {
            let (all_soft, _) = run(&soft, f);
            let (score, (_, x, y)) = run(&patched, f);
            assert!(score > 0.5 && score > 3.0 * all_soft, "{score} after {all_soft}");
            assert!((6..9).contains(&x) && (4..7).contains(&y), "{x},{y}");
        }
    }
}
