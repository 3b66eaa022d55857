//! A soft patch in a picture that is sharp elsewhere.
//!
//! With a faithful enlargement: fine (< 0.7 px) and middle detail (1.4 to 2.8 px) both fall behind it by more than they do
//! elsewhere. Alone: fine detail is scarce for the middle detail there is. Raw score: the worst window, in usual spreads.

use super::{Measured, Outcome, Scene, Spot, texture, windows};

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    if scene.result.width < 2 * windows::SIDE || scene.result.height < 2 * windows::SIDE {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    if scene.faithful.is_some() {
        let Some(t) = scene.texture() else { return Outcome::NotApplicable("too little detail to judge") };
        let map = texture::judged(t, |fine, middle, _| fine.min(middle));
        let note = |s: &Spot| {
            format!("soft patch: detail is {:.1} times weaker here than the source asks for, against the rest", (0.55 * s.raw).exp().sqrt())
        };
        return Outcome::Measured(Measured::peak(map, note));
    }
    let [fine, middle, _] = texture::detail(scene.luma());
    let (fine, middle) = (windows::mean_of(&fine), windows::mean_of(&middle));
    let ok: Vec<bool> = middle.data.iter().map(|&e| e > 0.008 * 0.008).collect();
    if ok.iter().filter(|ok| **ok).count() < 6 {
        return Outcome::NotApplicable("too little detail to judge");
    }
    let scarce = middle.zip(&fine, |m, f| ((m + 2e-6) / (f + 2e-6)).ln());
    let usual = windows::median_where(&scarce, &ok);
    let mut map = scarce.map(|v| ((v - usual) / 2.3).max(0.0));
    map.data.iter_mut().zip(&ok).filter(|(_, ok)| !**ok).for_each(|(v, _)| *v = 0.0);
    let note =
        |s: &Spot| format!("soft patch: fine detail is {:.1} times scarcer here than elsewhere in the picture", (2.3 * s.raw).exp().sqrt());
    Outcome::Measured(Measured::peak(map, note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::plane::Plane;

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
