//! Over-sharpening: contrast just below the source's finest detail is raised, or edges ring.
//!
//! Needs a faithful enlargement F. Halo: in windows of 64 px, the gain of the band between Gaussians of 0.35 and 0.9 source
//! pixels, read as the regression of the result's band on F's (texture that F does not have does not count), against the
//! picture's median gain. Ringing: what swings faster than 2 px, 3 to 8 px beside strong edges where F is calm, against the same
//! farther from edges. Raw score: the larger of the two, in usual spreads.

use multiversion::multiversion;

use super::mask::Mask;
use super::plane::{Plane, reach};
use super::{Measured, Outcome, Scene, Spot, tiles, windows};

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let Some(f) = scene.faithful_luma() else {
        return Outcome::NotApplicable("there is no source to compare edges with");
    };
    let c = scene.luma();
    if c.width < 2 * windows::SIDE || c.height < 2 * windows::SIDE {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    let (fine, coarse) = (0.35 * scene.scale.max(2.0), 0.9 * scene.scale.max(2.0));
    let [cross, own, rest @ ..] = tiles::cells((c.width, c.height), windows::STEP, reach(coarse).max(12), |tile| {
        let (c, f) = (tile.cut(c), tile.cut(f));
        let band = |p: &Plane| p.blur(fine).zip(&p.blur(coarse), |a, b| a - b);
        let (bc, bf) = (band(&c), band(&f));
        let cells = |p: &Plane| tile.cells(p, windows::STEP);
        let [rb, nb, ra, na] = ripples(&c, &f, cells);
        [cells(&bc.zip(&bf, |a, b| a * b)), cells(&bf.map(|v| v * v)), rb, nb, ra, na]
    });
    let (cross, own) = (windows::mean_of(&cross), windows::mean_of(&own));
    let ok: Vec<bool> = own.data.iter().map(|&e| e > 0.006 * 0.006).collect();
    let gain = cross.zip(&own, |c, o| (c.max(0.02 * o) / (o + 1e-7)).ln());
    let usual = windows::median_where(&gain, &ok);
    let mut map = gain.map(|g| ((g - usual) / 0.1).max(0.0));
    map.data.iter_mut().zip(&ok).filter(|(_, ok)| !**ok).for_each(|(v, _)| *v = 0.0);
    let ringing = ringing(rest.each_ref().map(windows::mean_of));
    let both = map.zip(&ringing, f32::max);
    let note = move |s: &Spot| match s.worst_in(&map) >= s.worst_in(&ringing) {
        true => format!(
            "over-sharpened: edge contrast is {:.0} % higher here than the source asks for, against the rest",
            ((0.1 * s.raw).exp() - 1.0) * 100.0
        ),
        false => format!("ringing beside edges where the source is calm, {:.1} times the usual", s.raw),
    };
    Outcome::Measured(Measured::peak(both, note))
}

/// Ripple beside strong edges of F and away from them, where F is calm, each with the share of pixels that are so; by cells.
fn ripples(c: &Plane, f: &Plane, cells: impl Fn(&Plane) -> Plane) -> [Plane; 4] {
    let strong = Mask::of(&f.blur(1.0).steepness(), |s| s > 0.04 * 0.04);
    let (near, wide) = (strong.dilate(3), strong.dilate(8));
    let calm = f.variance(1.5);
    let soft = c.blur(2.0);
    let (mut beside, mut away) = (Plane::new(c.width, c.height), Plane::new(c.width, c.height));
    let (mut of_beside, mut of_away) = (beside.clone(), away.clone());
    let n = c.width.max(1);
    for y in 0..c.height {
        let at = y * n..(y + 1) * n;
        part(
            (&c.data[at.clone()], &soft.data[at.clone()], &calm.data[at.clone()]),
            (&near.data[at.clone()], &wide.data[at.clone()]),
            [&mut beside, &mut away, &mut of_beside, &mut of_away].map(|p| &mut p.data[at.clone()]),
        );
    }
    [cells(&of_beside), cells(&beside), cells(&of_away), cells(&away)]
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn part((c, soft, variance): (&[f32], &[f32], &[f32]), (near, wide): (&[u8], &[u8]), out: [&mut [f32]; 4]) {
    let n = c.len();
    let [beside, away, of_beside, of_away] = out.map(|o| &mut o[..n]);
    let (soft, variance, near, wide) = (&soft[..n], &variance[..n], &near[..n], &wide[..n]);
    for i in 0..n {
        let ripple = (c[i] - soft[i]) * (c[i] - soft[i]);
        let calm = if variance[i] < 0.006 * 0.006 { 1.0 } else { 0.0 };
        let (n, w) = (f32::from(near[i]), f32::from(wide[i]));
        beside[i] = w * (1.0 - n) * calm;
        away[i] = (1.0 - w) * calm;
        of_beside[i] = ripple * beside[i];
        of_away[i] = ripple * away[i];
    }
}

/// Ripple beside strong edges over ripple away from them, by window, in units of about 4 times.
fn ringing([rb, nb, ra, na]: [Plane; 4]) -> Plane {
    let all_away = ra.data.iter().sum::<f32>() / na.data.iter().sum::<f32>().max(1e-6);
    let mut out = Plane::new(rb.width, rb.height);
    for (i, o) in out.data.iter_mut().enumerate() {
        if nb.data[i] < 0.02 {
            continue;
        }
        let here = rb.data[i] / nb.data[i];
        let floor = if na.data[i] > 0.05 { ra.data[i] / na.data[i] } else { all_away };
        let floor = floor.max((0.8 / 255.0f32).powi(2));
        *o = (((here / floor).sqrt() - 1.0) / 4.0).max(0.0) * (here.sqrt() * 255.0 / 1.5).min(1.0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;

    fn drawing() -> Plane {
        let mut p = Plane::new(512, 384);
        for y in 0..384 {
            for x in 0..512 {
                let stripe = ((x as f32 * 0.11).sin() + (y as f32 * 0.07 + x as f32 * 0.02).sin()).signum();
                p.data[y * 512 + x] = 0.5 + 0.15 * stripe;
            }
        }
        p.blur(1.2)
    }

    #[test]
    fn a_sharpened_patch_stands_out_and_an_evenly_sharpened_picture_does_not() {
        let truth = drawing();
        let sharp = truth.zip(&truth.blur(2.5), |v, m| v + 1.2 * (v - m));
        let mut patched = truth.clone();
        for y in 128..256 {
            patched.row_mut(y)[192..320].copy_from_slice(&sharp.row(y)[192..320]);
        }
        let run = |c: &Plane| {
            let of = |p: &Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
            let mut scene = Scene::alone(of(c));
            scene.scale = 4.0;
            scene.faithful = Some(of(&truth));
            match measure(&scene) {
                Outcome::Measured(m) => m,
                Outcome::NotApplicable(why) => panic!("{why}"),
            }
        };
        let m = run(&patched);
        let (_, x, y) = m.map.peak();
        assert!(m.score > 1.5 && (5..10).contains(&x) && (3..8).contains(&y), "{} at {x},{y}", m.score);
        assert!(run(&truth).score < 0.3);
    }
}
