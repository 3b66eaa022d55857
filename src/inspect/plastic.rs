//! Texture gone while edges stay sharp: skin like wax, grass like felt.
//!
//! Needs a faithful enlargement. Raw score: loss of fine plus loss of middle detail, in usual spreads, as far as the window's
//! steepest edge has kept its steepness (soft edges are defocus, or a blurred patch). And in absolute terms: the result carries the
//! source's strong contrast and not its weak one (`carried`), as smoothing of the whole picture leaves it.

use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot, carried, texture, windows};

/// The raw score of a picture that has lost weak contrast as much as no honest result does (`carried`).
const WHOLE: f32 = 1.5;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    if scene.faithful.is_none() {
        return Outcome::NotApplicable("there is no source to compare texture with");
    }
    if scene.result.width < 2 * windows::SIDE || scene.result.height < 2 * windows::SIDE {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    let Some(t) = scene.texture() else { return Outcome::NotApplicable("too little detail to judge") };
    let patch = texture::judged(t, |fine, middle, edge| (fine + middle) * ((edge + 0.5) / 0.3).clamp(0.0, 1.0));
    let (w, h) = (patch.width, patch.height);
    let all = scene.carried().map_or_else(|| Plane::new(w, h), |c| carried::spread(&smoothed(c), w, h));
    let everywhere = all.peak().0.max(0.0);
    let map = patch.zip(&all, f32::max);
    let note = move |s: &Spot| match s.worst_in(&all) {
        all if all >= s.worst_in(&patch) => "texture is gone all over while edges stay: the source's weak contrast is not carried".into(),
        _ => format!("texture is gone here while edges stay sharp: {:.1} times what is usual in this picture", s.raw.max(1.0)),
    };
    Outcome::Measured(Measured { everywhere, ..Measured::peak(map, note) })
}

/// By window of the source, what the whole picture has lost of weak contrast, where this window has lost it.
fn smoothed(c: &carried::Carried) -> Plane {
    let all = WHOLE * c.smoothed;
    let lowest = c.quantile(0.1).min(-1e-3);
    c.gain.map(|g| all * (g / lowest).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::plane::Plane;

    #[test]
    fn smoothed_texture_between_sharp_edges_is_plastic() {
        let mut p = Plane::new(512, 384);
        let mut state = 3u32;
        for (i, v) in p.data.iter_mut().enumerate() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let stripe = if (i % 512 / 40) % 2 == 0 { 0.44 } else { 0.56 };
            *v = stripe + 0.3 * ((state >> 8) as f32 / (1 << 24) as f32 - 0.5);
        }
        let truth = p.blur(0.7);
        let stripes = {
            let mut s = Plane::new(512, 384);
            s.data.iter_mut().enumerate().for_each(|(i, v)| *v = if (i % 512 / 40) % 2 == 0 { 0.44 } else { 0.56 });
            s.blur(0.7)
        };
        let score = |patch: &Plane| {
            let mut c = truth.clone();
            for y in 128..256 {
                c.row_mut(y)[192..320].copy_from_slice(&patch.row(y)[192..320]);
            }
            let of = |p: &Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
            let mut scene = Scene::alone(of(&c));
            scene.faithful = Some(of(&truth));
            match measure(&scene) {
                Outcome::Measured(m) => m.score,
                Outcome::NotApplicable(why) => panic!("{why}"),
            }
        };
        let (plastic, clean) = (score(&stripes), score(&truth));
        assert!(plastic > 2.0 && clean < 0.5, "{plastic} {clean}");
    }

    #[test]
    fn a_picture_that_lost_its_weak_contrast_all_over_is_plastic() {
        let (w, h) = (512, 384);
        let mut state = 3u32;
        let mut texture = Plane::new(w, h);
        for v in &mut texture.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        }
        let texture = texture.blur(5.0).map(|v| 3.0 * v);
        let mut stripes = Plane::new(w, h);
        stripes.data.iter_mut().enumerate().for_each(|(i, v)| *v = if i / w < h / 2 && (i % w / 24) % 2 == 0 { 0.3 } else { 0.0 });
        let stripes = stripes.blur(2.0);
        let of = |p: &Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
        let with = |share: f32| stripes.zip(&texture, |s, t| 0.4 + s + share * t);
        let score = |result: &Plane| {
            let mut scene = Scene::new(of(result), of(&with(1.0).cells(4))).unwrap();
            scene.faithful = Some(of(&with(1.0)));
            match measure(&scene) {
                Outcome::Measured(m) => m.everywhere,
                Outcome::NotApplicable(why) => panic!("{why}"),
            }
        };
        let (plastic, clean, faded) = (score(&with(0.5)), score(&with(1.0)), score(&with(1.0).map(|v| 0.5 * v)));
        assert!(plastic > 1.5 && clean < 1.0 && faded < 1.0, "{plastic} {clean} {faded}");
    }
}
