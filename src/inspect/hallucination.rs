//! Structure that the source does not carry: invented, lost or moved.
//!
//! Two measurements are fused. Against a faithful enlargement F of the source: the variance of the result C that no local
//! linear mix of F and its gradient explains (so a sub-pixel shift or another contrast costs nothing, another direction or
//! period does), over what F itself varies; weighted by how ambiguous the source is there (energy at its Nyquist frequency). Against
//! the source: what the fit of the reduced result leaves (`residual`), and detail beyond the source's Nyquist frequency where
//! the source has little just below it. The structure-loss idea follows Xie et al., "DeSRA", ICML 2023; the local
//! regression and the fusion were chosen on real upscales marked by eye.

use super::plane::Plane;
use super::residual::{by_bins, usual};
use super::{Measured, Outcome, Scene, Spot};

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let Some((source, residual)) = scene.source_luma().zip(scene.residual()) else {
        return Outcome::NotApplicable("there is no source to compare structure with");
    };
    if source.width < 16 || source.height < 16 {
        return Outcome::NotApplicable("the source is smaller than 16 px");
    }
    if scene.scale < 1.25 {
        return Outcome::NotApplicable("it is hardly larger than its source");
    }
    let (w, h) = (source.width, source.height);
    let result = scene.luma();
    let surprise = surprise(result, source, scene.scale);
    let evidence = residual.relative.zip(&surprise, |z, s| z / 6.0 + s / 8.0).blur(1.0);
    let mut map = evidence.map(|e| 0.3 * (e / 0.7).clamp(0.0, 2.5).powi(3));
    let mut kind = Plane::new(w, h);
    if let Some(faithful) = scene.faithful_luma() {
        let loss = unexplained(result, faithful, source);
        // Six pixels at four times: structure is judged over one and a half source pixels.
        let soft = loss.blur((0.75 * scene.scale).max(1.0));
        if let Ok(soft) = soft.resize(w, h, super::scene::AREA) {
            map = map.zip(&soft, |e, a| e + a);
        }
        let (vc, vf) = (result.variance(3.0), faithful.variance(3.0));
        let share = vc.zip(&vf, |c, f| c / (c + f + 1e-4));
        kind = share.resize(w, h, super::scene::AREA).unwrap_or(kind);
    } else {
        kind.data.fill(0.7);
    }
    let tolerance = residual.relative.clone();
    let note = move |s: &Spot| {
        let (share, times) = (s.mean_in(&kind), s.worst_in(&tolerance));
        let against = format!("differs from the source {times:.1}x as much as is usual in this picture");
        match share {
            v if v > 0.62 => format!("invented: structure here is not in the source ({against})"),
            v if v < 0.38 => format!("lost: the source has structure here that the result has not ({against})"),
            _ => format!("moved: structure here runs another way than in the source ({against})"),
        }
    };
    let mut measured = Measured::peak(map, note);
    measured.least_area = 64e-6;
    Outcome::Measured(measured)
}

/// Variance of `c` that F, its gradient and a constant do not explain, over F's variance, times the source's ambiguity; half
/// the result's size, 0 and up.
fn unexplained(c: &Plane, f: &Plane, source: &Plane) -> Plane {
    let (gx, gy) = f.gradients();
    // Means over 4 x 4 pixels with soft edges: pairs, then a [1 2 1] / 4 kernel at half size.
    let mean = |p: &Plane| p.cells(2).separable(&[0.25, 0.5, 0.25]);
    let product = |a: &Plane, b: &Plane| mean(&a.zip(b, |a, b| a * b));
    let basis = [f, &gx, &gy];
    let means = basis.map(mean);
    let c_mean = mean(c);
    let covariance = |ab: Plane, a: &Plane, b: &Plane| {
        let mut out = ab;
        for ((o, a), b) in out.data.iter_mut().zip(&a.data).zip(&b.data) {
            *o -= a * b;
        }
        out
    };
    let of = |i: usize, j: usize| covariance(product(basis[i], basis[j]), &means[i], &means[j]);
    let with = |i: usize| covariance(product(basis[i], c), &means[i], &c_mean);
    let (a, b, d) = (of(0, 0), of(1, 1), of(2, 2));
    let (ab, ad, bd) = (of(0, 1), of(0, 2), of(1, 2));
    let (ra, rb, rd) = (with(0), with(1), with(2));
    let vc = covariance(product(c, c), &c_mean, &c_mean);
    let ambiguous = ambiguity(source).resize(a.width, a.height, crate::resample::Filter::Bilinear).unwrap_or_default();
    let mut out = Plane::new(a.width, a.height);
    for (i, o) in out.data.iter_mut().enumerate() {
        // Cholesky of the 3 x 3 system with ridge terms: explained variance = |L^-1 r|^2.
        let l00 = (a.data[i].max(0.0) + 1e-5).sqrt();
        let (l10, l20) = (ab.data[i] / l00, ad.data[i] / l00);
        let l11 = (b.data[i] + 2e-5 - l10 * l10).max(1e-9).sqrt();
        let l21 = (bd.data[i] - l20 * l10) / l11;
        let l22 = (d.data[i] + 2e-5 - l20 * l20 - l21 * l21).max(1e-9).sqrt();
        let y0 = ra.data[i] / l00;
        let y1 = (rb.data[i] - l10 * y0) / l11;
        let y2 = (rd.data[i] - l20 * y0 - l21 * y1) / l22;
        let rest = (vc.data[i] - y0 * y0 - y1 * y1 - y2 * y2).max(0.0);
        let m = ambiguous.data.get(i).copied().unwrap_or(1.0);
        *o = rest / (rest + a.data[i].max(0.0) + 5e-3) * m;
    }
    out
}

/// How much of the source's local contrast lies at its finest detail, 0..1 and a little above: there an upscaler has to guess.
fn ambiguity(source: &Plane) -> Plane {
    let fine = source.zip(&source.blur(0.8), |v, m| (v - m) * (v - m)).blur(2.0);
    fine.zip(&source.variance(1.5).blur(2.0), |f, v| ((f + 1e-5) / (v + 1e-5)).sqrt())
}

/// Energy above the source's Nyquist frequency against what is usual for its energy just below, in usual spreads; at the source's size.
fn surprise(result: &Plane, source: &Plane, scale: f32) -> Plane {
    let high = result.zip(&result.blur(0.45 * scale), |v, m| (v - m) * (v - m)).blur(scale.max(1.0));
    let high = high.resize(source.width, source.height, super::scene::AREA).unwrap_or_default();
    let low = source.zip(&source.blur(1.0), |v, m| (v - m) * (v - m)).blur(1.0);
    let (lh, ll) = (high.map(|e| (e + 1e-6).ln()), low.map(|e| (e + 1e-6).ln()));
    let (median, worst) = (usual(&lh, &ll, false), by_bins(&lh, &ll, 0.9, false));
    let mut out = lh.zip(&median, |e, m| e - m);
    for (i, o) in out.data.iter_mut().enumerate() {
        let visible = ((high.data[i].max(0.0).sqrt() - 0.006) / 0.012).clamp(0.0, 1.0);
        *o = *o / (worst.data[i] - median.data[i]).max(0.35) * visible;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::resample::Filter;

    fn stripes(slant: f32) -> Plane {
        let mut p = Plane::new(256, 256);
        for y in 0..256 {
            for x in 0..256 {
                let t = x as f32 * 0.55 + slant * y as f32 * 0.55;
                p.data[y * 256 + x] = 0.5 + 0.12 * t.sin() + 0.1 * (x as f32 * 0.05).sin() * (y as f32 * 0.07).cos();
            }
        }
        p
    }

    fn scene(result: Plane, truth: &Plane) -> Scene {
        let of = |p: &Plane| Picture::from_planes([p.clone(), p.clone(), p.clone()]);
        let mut scene = Scene::new(of(&result), of(&truth.resize(64, 64, Filter::CatmullRom).unwrap())).unwrap();
        scene.faithful = Some(of(truth));
        scene
    }

    fn run(scene: &Scene) -> Measured {
        match measure(scene) {
            Outcome::Measured(m) => m,
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn redrawn_structure_is_found_and_contrast_or_shift_are_not() {
        let truth = stripes(0.2);
        let clean = run(&scene(truth.map(|v| 0.5 + 0.93 * (v - 0.5)), &truth)).score;
        let mut redrawn = truth.clone();
        let other = stripes(-0.9);
        for y in 96..160 {
            redrawn.row_mut(y)[96..160].copy_from_slice(&other.row(y)[96..160]);
        }
        let m = run(&scene(redrawn, &truth));
        let (peak, x, y) = m.map.peak();
        assert!(peak > 3.0 * clean && peak > 0.3, "{peak} after {clean}");
        assert!((22..42).contains(&x) && (22..42).contains(&y), "{x},{y}");
        let spot = &super::super::regions::find(&m.map.map(|v| v.min(0.99)), &m, (256, 256), 0.9)[0];
        assert!((m.note)(spot).contains("another way"), "{}", (m.note)(spot));
    }

    #[test]
    fn the_sentence_tells_invented_from_lost() {
        let flat = stripes(0.2).map(|_| 0.5);
        let busy = stripes(0.2);
        let say = |result: &Plane, truth: &Plane| {
            let mut c = truth.clone();
            for y in 96..160 {
                c.row_mut(y)[96..160].copy_from_slice(&result.row(y)[96..160]);
            }
            let m = run(&scene(c, truth));
            let spot = super::super::regions::find(&m.map.map(|v| v.min(0.99)), &m, (256, 256), 0.9).remove(0);
            (m.note)(&spot)
        };
        assert!(say(&busy, &flat).starts_with("invented"), "{}", say(&busy, &flat));
        assert!(say(&flat, &busy).starts_with("lost"), "{}", say(&flat, &busy));
    }
}
