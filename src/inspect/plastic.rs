//! Texture gone while edges stay sharp: skin like wax, grass like felt.
//!
//! Needs a faithful enlargement. Raw score: loss of fine plus loss of middle detail, in usual spreads, as far as the window's
//! steepest edge has kept its steepness (soft edges are defocus, or a blurred patch).

use super::{Measured, Outcome, Scene, Spot, texture, windows};

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    if scene.faithful.is_none() {
        return Outcome::NotApplicable("there is no source to compare texture with");
    }
    if scene.result.width < 2 * windows::SIDE || scene.result.height < 2 * windows::SIDE {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    let Some(t) = scene.texture() else { return Outcome::NotApplicable("too little detail to judge") };
    let map = texture::judged(t, |fine, middle, edge| (fine + middle) * ((edge + 0.5) / 0.3).clamp(0.0, 1.0));
    let note = |s: &Spot| format!("texture is gone here while edges stay sharp: {:.1} times what is usual in this picture", s.raw.max(1.0));
    Outcome::Measured(Measured::peak(map, note))
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
}
