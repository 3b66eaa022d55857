//! Structure that the source does not carry: invented, lost or moved.
//!
//! Two measurements are fused. Against a faithful enlargement F of the source: the variance of the result C that no local
//! linear mix of F and its gradient explains (so a sub-pixel shift or another contrast costs nothing, another direction or
//! period does), over what F itself varies; weighted by how ambiguous the source is there (energy at its Nyquist frequency). Against
//! the source: what the fit of the reduced result leaves (`residual`), and detail beyond the source's Nyquist frequency where
//! the source has little just below it. The structure-loss idea follows Xie et al., "DeSRA", ICML 2023; the local
//! regression and the fusion were chosen on real upscales marked by eye.

use multiversion::multiversion;

use super::filter;
use super::plane::{Plane, reach};
use super::reduce::{Axis, reduce, window};
use super::residual::Bins;
use super::{Measured, Outcome, Scene, Spot, tiles};

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
        let [loss, share] = unexplained(result, faithful, source);
        // Six pixels at four times: structure is judged over one and a half source pixels.
        let soft = reduce(&loss, (0.75 * scene.scale).max(1.0), w, h);
        map = map.zip(&soft, |e, a| e + a);
        kind = reduce(&share, 0.0, w, h);
    } else {
        kind.data.fill(0.7);
    }
    let tolerance = residual.relative.clone();
    let other = if scene.faithful.is_some() { "a faithful enlargement" } else { "the source" };
    let note = move |s: &Spot| {
        let (share, times) = (s.mean_in(&kind), s.worst_in(&tolerance));
        // A fit that leaves no more than usual says nothing: it was the structure's shape.
        let against = match times {
            t if t >= 2.0 => format!("differs from the source {t:.1}x as much as is usual in this picture"),
            _ => format!("compared with {other}"),
        };
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

/// Half the result's size: the variance of `c` that F, its gradient and a constant do not explain, over F's variance, times the
/// source's ambiguity, 0 and up; and the share (0..1) that C has of both variances.
fn unexplained(c: &Plane, f: &Plane, source: &Plane) -> [Plane; 2] {
    let ambiguity = ambiguity(source);
    let half = ((c.width / 2).max(1), (c.height / 2).max(1));
    let axes = (Axis::linear(source.width, half.0), Axis::linear(source.height, half.1));
    // Variance under a Gaussian of 3 px, taken at half size.
    let wide = 1.5;
    tiles::cells((c.width, c.height), 2, 2 * reach(wide), |tile| {
        let (c, f) = (tile.cut(c), tile.cut(f));
        let moments = moments(&c, &f);
        let variance = |mean: &Plane, square: &Plane| {
            let m = mean.blur(wide);
            square.blur(wide).zip(&m, |q, m| (q - m * m).max(0.0))
        };
        let [mean_f, _, _, mean_c, ff, _, _, _, _, _, _, _, _, cc] = &moments;
        let share = variance(mean_c, cc).zip(&variance(mean_f, ff), |c, f| c / (c + f + 1e-4));
        // Means over 4 x 4 pixels with soft edges: pairs, then a [1 2 1] / 4 kernel at half size.
        let soft = moments.each_ref().map(|p| p.separable(&[0.25, 0.5, 0.25]));
        let (w, h) = (share.width, share.height);
        let (across, down) = tile.outer();
        let half = |r: std::ops::Range<usize>, n: usize| r.start / 2..r.start / 2 + n;
        let ambiguous = window(&ambiguity, (&axes.0, &axes.1), half(across, w), half(down, h));
        let mut loss = Plane::new(w, h);
        for y in 0..h {
            rest(soft.each_ref().map(|p| p.row(y)), ambiguous.row(y), loss.row_mut(y));
        }
        let (x, y) = tile.inside();
        let inner = |p: &Plane| {
            let (w, h) = ((x.len() / 2).max(1), (y.len() / 2).max(1));
            p.part(x.start / 2..x.start / 2 + w, y.start / 2..y.start / 2 + h)
        };
        [inner(&loss), inner(&share)]
    })
}

/// Means over 2 x 2 pixels of F, its gradient (gx, gy) and C, and of their products: F F, gx gx, gy gy, F gx, F gy, gx gy, C F,
/// C gx, C gy, C C.
fn moments(c: &Plane, f: &Plane) -> [Plane; 14] {
    let (gx, gy) = f.gradients();
    let (w, h) = ((c.width / 2).max(1), (c.height / 2).max(1));
    let products = [(f, f), (&gx, &gx), (&gy, &gy), (f, &gx), (f, &gy), (&gx, &gy), (c, f), (c, &gx), (c, &gy), (c, c)];
    let mut out: [Plane; 14] = std::array::from_fn(|_| Plane::new(w, h));
    let last = c.width - 2 * (w - 1);
    for y in 0..h {
        // An odd last row joins the one before it, and so does an odd last column.
        let rows = 2 * y..if y + 1 == h { c.height } else { 2 * y + 2 };
        let n = rows.len() as f32;
        for r in rows {
            for (o, p) in out.iter_mut().zip([f, &gx, &gy, c]) {
                filter::add_runs(p.row(r), 2, o.row_mut(y));
            }
            for (o, (a, b)) in out[4..].iter_mut().zip(products) {
                filter::add_products(a.row(r), b.row(r), o.row_mut(y));
            }
        }
        for o in &mut out {
            let row = o.row_mut(y);
            row.iter_mut().for_each(|v| *v *= 0.5 / n);
            row[w - 1] *= 2.0 / last as f32;
        }
    }
    out
}

/// What a row of `unexplained` is, from the smoothed moments and the source's ambiguity.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn rest(moments: [&[f32]; 14], ambiguous: &[f32], out: &mut [f32]) {
    let n = out.len();
    let [f, gx, gy, c, ff, xx, yy, fx, fy, xy, cf, cx, cy, cc] = moments.map(|m| &m[..n]);
    let ambiguous = &ambiguous[..n];
    let at_least = |v: f32, least: f32| if v > least { v } else { least };
    for i in 0..n {
        let covariance = |ab: f32, a: f32, b: f32| ab - a * b;
        let (f, gx, gy, c) = (f[i], gx[i], gy[i], c[i]);
        let vf = at_least(covariance(ff[i], f, f), 0.0);
        // Cholesky of the 3 x 3 system with ridge terms: explained variance = |L^-1 r|^2.
        let l00 = (vf + 1e-5).sqrt();
        let (l10, l20) = (covariance(fx[i], f, gx) / l00, covariance(fy[i], f, gy) / l00);
        let l11 = at_least(covariance(xx[i], gx, gx) + 2e-5 - l10 * l10, 1e-9).sqrt();
        let l21 = (covariance(xy[i], gx, gy) - l20 * l10) / l11;
        let l22 = at_least(covariance(yy[i], gy, gy) + 2e-5 - l20 * l20 - l21 * l21, 1e-9).sqrt();
        let y0 = covariance(cf[i], c, f) / l00;
        let y1 = (covariance(cx[i], c, gx) - l10 * y0) / l11;
        let y2 = (covariance(cy[i], c, gy) - l20 * y0 - l21 * y1) / l22;
        let rest = at_least(covariance(cc[i], c, c) - y0 * y0 - y1 * y1 - y2 * y2, 0.0);
        out[i] = rest / (rest + vf + 5e-3) * ambiguous[i];
    }
}

/// How much of the source's local contrast lies at its finest detail, 0..1 and a little above: there an upscaler has to guess.
fn ambiguity(source: &Plane) -> Plane {
    let fine = source.detail(0.8).blur(2.0);
    fine.zip(&source.variance(1.5).blur(2.0), |f, v| ((f + 1e-5) / (v + 1e-5)).sqrt())
}

/// Energy above the source's Nyquist frequency against what is usual for its energy just below, in usual spreads; at the source's size.
fn surprise(result: &Plane, source: &Plane, scale: f32) -> Plane {
    let high = result.detail(0.45 * scale);
    let high = reduce(&high, scale.max(1.0), source.width, source.height);
    let low = source.detail(1.0).blur(1.0);
    let (lh, ll) = (high.map(|e| (e + 1e-6).ln()), low.map(|e| (e + 1e-6).ln()));
    let bins = Bins::new(&lh, &ll);
    let (median, worst) = (bins.usual(0.5, false), bins.usual(0.9, false));
    let judge = |energy: f32, log: f32, by: f32| {
        let visible = ((energy.max(0.0).sqrt() - 0.006) / 0.012).clamp(0.0, 1.0);
        let usual = median.at(by);
        (log - usual) / (worst.at(by) - usual).max(0.35) * visible
    };
    high.zip3(&lh, &ll, judge)
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
