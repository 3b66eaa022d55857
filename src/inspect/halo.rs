//! Over-sharpening: contrast just below the source's finest detail is raised, or edges ring.
//!
//! Needs a faithful enlargement F. Halo: in windows of 64 px, the gain of the band between Gaussians of 0.35 and 0.9 source
//! pixels, read as the regression of the result's band on F's (texture that F does not have does not count), against the
//! picture's median gain, up to a limit that no honest enlargement comes to. Ringing: what swings faster than 2 px, 3 to 8 px beside strong edges where F is calm, against the same
//! farther from edges; or detail ends at a sharp limit ([`spectrum`]) that the rest of the picture does not have: a low-pass that
//! rings. And in absolute terms: the result carries what the source holds (`carried`) with more contrast, or it overshoots beside the
//! strong edges of the picture where F is calm, as sharpening and ringing of the whole picture leave it; both beyond the contrast that a
//! grade gives all of it. Raw score: the largest of them, in usual spreads.

use multiversion::multiversion;

use super::mask::Mask;
use super::plane::{Plane, Soft, reach};
use super::{Measured, Outcome, Scene, Spot, carried, spectrum, tiles, windows};

/// From this on (2.5 times F's contrast, natural logarithm) even a whole picture is over-sharpened.
const MOST: f32 = 0.9;
/// What an honest enlargement may add to what the source holds, natural logarithm, and the spread beyond.
const CARRIED: (f32, f32) = (0.12, 0.05);
/// The same for the whole picture, where chance counts less.
const WHOLE: (f32, f32) = (0.08, 0.018);
/// The share of an edge's distance from its surroundings (under a Gaussian of a source pixel) by which the edges of honest enlargements
/// overshoot, and the spread beyond; the correlation from which and with which it is overshoot for certain.
const OVERSHOOT: (f32, f32) = (0.15, 0.06);
const CORRELATION: (f32, f32) = (0.3, 0.6);

/// The sides of edges of a picture that can be judged, as a deviation over all of it.
const LEAST_EDGE: f32 = 1e-3;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let Some(f) = scene.faithful_luma() else {
        return Outcome::NotApplicable("there is no source to compare edges with");
    };
    let c = scene.luma();
    if c.width < 2 * windows::SIDE || c.height < 2 * windows::SIDE {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    let pixel = scene.scale.max(2.0);
    let (fine, coarse) = (0.35 * pixel, 0.9 * pixel);
    let grade = scene.carried().map_or((1.0, 0.0), |c| c.grade);
    let [cross, own, other, over, edge, rest, ripples @ ..] =
        tiles::cells((c.width, c.height), windows::STEP, reach(pixel).max(12), |tile| {
            let (c, f) = (tile.cut(c), tile.cut(f));
            let (x, _) = tile.inside();
            let mut strong = Mask::none(f.width, f.height);
            // Just above, as equal does not count.
            strong.join_steep(&f, 1.0, (0.04f32 * 0.04).next_up());
            let (near, wide) = (strong.dilate(3), strong.dilate(8));
            let square = f.map(|v| v * v);
            let smooth = |p, sigma| (p, Soft::new(sigma), vec![0.0f32; c.width]);
            let mut rows = [
                smooth(&c, fine),
                smooth(&c, coarse),
                smooth(&f, fine),
                smooth(&f, coarse),
                smooth(&c, 2.0),
                smooth(&f, 1.5),
                smooth(&square, 1.5),
                smooth(&f, pixel),
            ];
            tile.sums(windows::STEP, |y, [cross, own, other, over, edge, rest, rb, nb, ra, na]| {
                for (p, soft, row) in &mut rows {
                    soft.row(p, y, row);
                }
                let [cf, cc, ff, fc, soft, mean, square, around] = rows.each_ref().map(|(_, _, row)| &row[x.clone()]);
                let at = y * c.width + x.start..y * c.width + x.end;
                let masks = (&near.data[at.clone()], &wide.data[at.clone()]);
                add_bands([cf, cc, ff, fc], [cross, own, other]);
                add_overshoot([&c.data[at.clone()], &f.data[at.clone()], around, mean, square], masks, grade, [over, edge, rest]);
                add_ripples([&c.data[at.clone()], soft, mean, square], masks, [rb, nb, ra, na]);
            })
        });
    let (cross, own, other) = (windows::mean_of(&cross), windows::mean_of(&own), windows::mean_of(&other));
    let ok: Vec<bool> = own.data.iter().map(|&e| e > 0.006 * 0.006).collect();
    let gain = cross.zip(&own, |c, o| (c.max(0.02 * o) / (o + 1e-7)).ln());
    // What is softer than F as a whole is not over-sharpened where it is as sharp as F.
    let usual = windows::median_where(&gain, &ok).clamp(-0.05, MOST);
    // Sharpening leaves the shape of an edge: where F explains little of C's band, its gain says nothing.
    let alike = cross.zip3(&own, &other, |x, f, c| ((x * x / (f * c + 1e-12) - 0.3) / 0.4).clamp(0.0, 1.0));
    let mut map = gain.zip(&alike, |g, a| a * ((g - usual) / 0.1).max(0.0));
    map.data.iter_mut().zip(&ok).filter(|(_, ok)| !**ok).for_each(|(v, _)| *v = 0.0);
    let ringing = ringing(ripples.each_ref().map(windows::mean_of));
    let band = spectrum::cliffs(c);
    let (w, h) = (map.width, map.height);
    let (raised, everywhere) = scene.carried().map_or_else(
        || (Plane::new(w, h), 0.0),
        |c| {
            let of =
                |g: f32, alike: f32, trust: f32| ((g - CARRIED.0) / CARRIED.1).max(0.0) * ((alike - 0.3) / 0.4).clamp(0.0, 1.0) * trust;
            let all = (c.quantile(0.5) * c.trusted() - WHOLE.0) / WHOLE.1;
            let all = all.max((overshoot([&over, &edge, &rest]) - OVERSHOOT.0) / OVERSHOOT.1).max(0.0);
            // Where all of it was sharpened, every window with contrast shows it.
            let here = c.gain.map(|g| if g > 0.0 { all } else { 0.0 });
            (carried::spread(&c.gain.zip3(&c.alike, &c.trust, of).zip(&here, f32::max), w, h), all)
        },
    );
    let both = map.zip3(&ringing, &band, |m, r, b| m.max(0.7 * r).max(b)).zip(&raised, f32::max);
    let note = move |s: &Spot| {
        let (gain, ripple, cut, raised) = (s.worst_in(&map), s.worst_in(&ringing), s.worst_in(&band), s.worst_in(&raised));
        match () {
            () if raised >= gain.max(0.7 * ripple).max(cut) && everywhere >= raised => {
                "over-sharpened or ringing all over: edges overshoot, or what the source holds has more contrast in the result".into()
            }
            () if raised >= gain.max(0.7 * ripple).max(cut) => format!(
                "over-sharpened or ringing: what the source holds here has {:.0} % more contrast in the result",
                ((CARRIED.1 * raised + CARRIED.0).exp() - 1.0) * 100.0
            ),
            () if gain >= ripple.max(cut) => format!(
                "over-sharpened: edge contrast is {:.0} % higher here than the source asks for, against the rest",
                ((0.1 * gain).exp() - 1.0) * 100.0
            ),
            () if ripple >= cut => format!("ringing beside edges where the source is calm, {:.1} times the usual", ripple + 1.0),
            () => "fine detail ends at a sharp limit here and not elsewhere, as a low-pass leaves it that rings".into(),
        }
    };
    Outcome::Measured(Measured { everywhere, ..Measured::peak(both, note) })
}

/// Adds the product of both bands, the square of F's and that of C's.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_bands(rows: [&[f32]; 4], [cross, own, other]: [&mut [f32]; 3]) {
    let n = cross.len();
    let [c_fine, c_coarse, f_fine, f_coarse] = rows.map(|r| &r[..n]);
    let (own, other) = (&mut own[..n], &mut other[..n]);
    for i in 0..n {
        let (c, f) = (c_fine[i] - c_coarse[i], f_fine[i] - f_coarse[i]);
        cross[i] += c * f;
        own[i] += f * f;
        other[i] += c * c;
    }
}

/// Adds, beside strong edges of F where F is calm, the product of what C has more than F, graded as C is, and of F's distance from its
/// surroundings, the square of the latter and that of the former. Rows: C, F, F under a wide Gaussian, means of F and of its square.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_overshoot(rows: [&[f32]; 5], (near, wide): (&[u8], &[u8]), (times, plus): (f32, f32), [over, edge, rest]: [&mut [f32]; 3]) {
    let n = near.len();
    let [c, f, soft, mean, square] = rows.map(|r| &r[..n]);
    let (wide, over, edge, rest) = (&wide[..n], &mut over[..n], &mut edge[..n], &mut rest[..n]);
    for i in 0..n {
        let calm = if square[i] - mean[i] * mean[i] < 0.012 * 0.012 { 1.0 } else { 0.0 };
        let beside = f32::from(wide[i]) * (1.0 - f32::from(near[i])) * calm;
        let (more, distance) = (c[i] - times * f[i] - plus, f[i] - soft[i]);
        over[i] += more * distance * beside;
        edge[i] += distance * distance * beside;
        rest[i] += more * more * beside;
    }
}

/// By what share of their distance from the surroundings the sides of edges overshoot, as far as that explains what C has more than F.
fn overshoot(sums: [&Plane; 3]) -> f32 {
    let [over, edge, rest] = sums.map(|p| p.data.iter().sum::<f32>() / p.data.len().max(1) as f32);
    // Hardly any sides of edges.
    if edge < LEAST_EDGE * LEAST_EDGE {
        return 0.0;
    }
    let correlation = over / (edge * rest).max(1e-16).sqrt();
    over / edge * ((correlation - CORRELATION.0) / (CORRELATION.1 - CORRELATION.0)).clamp(0.0, 1.0)
}

/// Adds ripple beside strong edges of F and away from them, where F is calm, each followed by the pixels that are so. Rows: C,
/// C smoothed, and the means of F and of its square.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_ripples(rows: [&[f32]; 4], (near, wide): (&[u8], &[u8]), sums: [&mut [f32]; 4]) {
    let n = near.len();
    let [c, soft, mean, square] = rows.map(|r| &r[..n]);
    let [of_beside, beside, of_away, away] = sums.map(|s| &mut s[..n]);
    let wide = &wide[..n];
    for i in 0..n {
        let ripple = (c[i] - soft[i]) * (c[i] - soft[i]);
        let calm = if square[i] - mean[i] * mean[i] < 0.006 * 0.006 { 1.0 } else { 0.0 };
        let (n, w) = (f32::from(near[i]), f32::from(wide[i]));
        let (b, a) = (w * (1.0 - n) * calm, (1.0 - w) * calm);
        of_beside[i] += ripple * b;
        beside[i] += b;
        of_away[i] += ripple * a;
        away[i] += a;
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

    #[test]
    fn edges_that_overshoot_all_over_count_for_the_whole_picture() {
        // Large steps with calm sides.
        let mut steps = Plane::new(512, 384);
        steps.data.iter_mut().enumerate().for_each(|(i, v)| {
            let (x, y) = (i % 512, i / 512);
            *v = if (x / 48 + y / 64) % 2 == 0 { 0.3 } else { 0.7 };
        });
        let truth = steps.blur(1.5);
        let sharp = truth.zip(&truth.blur(5.0), |v, m| v + 1.2 * (v - m));
        let of = |p: &Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
        let run = |c: &Plane| {
            let mut scene = Scene::new(of(c), of(&truth.cells(4))).unwrap();
            scene.faithful = Some(of(&truth));
            match measure(&scene) {
                Outcome::Measured(m) => m.everywhere,
                Outcome::NotApplicable(why) => panic!("{why}"),
            }
        };
        let (sharp, clean, graded) = (run(&sharp), run(&truth), run(&truth.map(|v| 0.6 + 1.2 * (v - 0.5))));
        assert!(sharp > 5.0 && clean < 0.5 && graded < 0.5, "{sharp} {clean} {graded}");
    }
}
