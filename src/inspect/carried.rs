//! How strongly a result carries what its source holds well below its finest detail, window by window and in absolute terms.
//!
//! The band between Gaussians of 1 and 2 source pixels of the reduced result is regressed on the same band of the source. No honest
//! kernel, network or phase changes that band by more than a few percent, so what does is wrong even if it is so in the whole picture:
//! sharpening and ringing raise it, blur lowers it, and texture that the source does not have does not count.
//!
//! A grade that raises all contrast changes large shapes as well, which no sharpening reaches: what it does to the means of cells over the
//! whole picture is taken off. One that lowers it is not told from blur, which reaches farther.
//!
//! A kernel does the same to strong and to weak contrast; what smooths texture and keeps edges does not. So weak windows that carry
//! less than strong ones do are a sign of their own.

use super::plane::{Plane, quantile};
use super::windows;

/// Side of a cell, source pixels; windows are two by two of them.
const CELL: usize = 8;
/// Deviation of the source's band that can be judged.
const LEAST: f32 = 0.006;
/// The same where weak windows are held against strong ones, and the shares of windows, by the source's contrast, that are weak and strong.
const FAINT: f32 = 0.004;
const WEAK: f32 = 0.4;
const STRONG: f32 = 0.8;
/// How much less weak windows carry than strong ones in an honest result, in the band between 0.6 and 1.4 source pixels and in that
/// between 1 and 2; what weak windows may lose of the latter, and from where that counts in full.
const UNEVEN: [f32; 2] = [0.08, 0.04];
const LOSS: (f32, f32) = (0.08, 0.16);
/// The deviation of a source's cells whose contrast can be judged.
const LEAST_COARSE: f32 = 0.02;
/// What the mild prefilter of the reduction takes, natural logarithm.
const PREFILTER: f32 = -0.06;
/// The source's energy finer than a Gaussian of one pixel over that of the band, up to which the band is what the source shows, and from
/// which it is what fine dots and points leave of themselves, another for every kernel.
const FINE: (f32, f32) = (3.0, 5.0);

/// The gain of windows of 16 source pixels, 8 apart.
#[derive(Debug, Clone)]
pub struct Carried {
    /// Natural logarithm; 0 where the source is carried as it is, or has too little there.
    pub gain: Plane,
    /// The share of the result's band that the source's explains, 0..1.
    pub alike: Plane,
    /// How far the band can be trusted, 0..1: less where the source is made of dots.
    pub trust: Plane,
    /// Windows whose source has enough of the band.
    pub ok: Vec<bool>,
    /// How many times the source's contrast the result has as a whole, and what is added then; 1 and 0 unless it was graded.
    pub grade: (f32, f32),
    /// What weak contrast has lost and strong contrast has not, 0 and up; 1 is more than honest results lose.
    pub smoothed: f32,
}

/// Measures `reduced` against `source` (lumas of one size); None if fewer than six windows can be judged.
pub fn measure(reduced: &Plane, source: &Plane) -> Option<Carried> {
    if source.width < 3 * CELL || source.height < 3 * CELL {
        return None;
    }
    let band = |p: &Plane, fine: f32, coarse: f32| p.blur(fine).zip(&p.blur(coarse), |a, b| a - b);
    let (c, s) = (band(reduced, 1.0, 2.0), band(source, 1.0, 2.0));
    let mean = |a: &Plane, b: &Plane| windows::mean_of(&a.zip(b, |a, b| a * b).cells(CELL));
    let (cross, own, other) = (mean(&c, &s), mean(&s, &s), mean(&c, &c));
    let ok: Vec<bool> = own.data.iter().map(|&e| e > LEAST * LEAST).collect();
    if ok.iter().filter(|ok| **ok).count() < 6 {
        return None;
    }
    let grade = grade(reduced, source);
    let expected = PREFILTER + grade.0.max(1.0).ln();
    let mut gain = cross.zip(&own, |x, e| (x.max(0.02 * e) / (e + 1e-7)).ln() - expected);
    gain.data.iter_mut().zip(&ok).filter(|(_, ok)| !**ok).for_each(|(v, _)| *v = 0.0);
    let alike = cross.zip3(&own, &other, |x, s, c| (x * x / (s * c + 1e-12)).clamp(0.0, 1.0));
    let fine = source.zip(&source.blur(1.0), |v, m| v - m);
    let trust = mean(&fine, &fine).zip(&own, |f, e| ((FINE.1 - f / (e + 1e-6)) / (FINE.1 - FINE.0)).clamp(0.0, 1.0));
    let finer = (band(reduced, 0.6, 1.4), band(source, 0.6, 1.4));
    let uneven = [uneven(&mean(&finer.0, &finer.1), &mean(&finer.1, &finer.1)), self::uneven(&cross, &own)];
    let [(finer, _), (coarser, lost)] = uneven;
    let smoothed = (finer / UNEVEN[0]).min(coarser / UNEVEN[1]).max(0.0) * ((lost - LOSS.0) / (LOSS.1 - LOSS.0)).clamp(0.0, 1.0);
    let smoothed = smoothed * usual(&trust, &ok, 0.5);
    Some(Carried { gain, alike, trust, ok, grade, smoothed })
}

/// How many times the source's contrast the result has as a whole, and what is added then: the line that fits the means of all cells.
fn grade(reduced: &Plane, source: &Plane) -> (f32, f32) {
    let (c, s) = (reduced.cells(CELL), source.cells(CELL));
    let n = s.data.len() as f64;
    let mean = |p: &Plane| p.data.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let (mc, ms) = (mean(&c), mean(&s));
    let (cross, own) = c.data.iter().zip(&s.data).fold((0.0, 0.0), |(cross, own), (&c, &s)| {
        let s = f64::from(s) - ms;
        (cross + (f64::from(c) - mc) * s, own + s * s)
    });
    let times = if own > f64::from(LEAST_COARSE * LEAST_COARSE) * n { (cross / own).clamp(0.5, 2.0) } else { 1.0 };
    (times as f32, (mc - times * ms) as f32)
}

/// How much less weak windows carry than strong ones, and how much they lose; natural logarithms, medians.
fn uneven(cross: &Plane, own: &Plane) -> (f32, f32) {
    let mut all: Vec<(f32, f32)> = own
        .data
        .iter()
        .zip(&cross.data)
        .filter(|(e, _)| **e > FAINT * FAINT)
        .map(|(e, x)| (*e, (x.max(0.02 * e) / (e + 1e-7)).ln()))
        .collect();
    if all.len() < 8 {
        return (0.0, 0.0);
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = all.len() as f32;
    let median = |of: &[(f32, f32)]| quantile(&mut of.iter().map(|v| v.1).collect::<Vec<_>>(), 0.5);
    let (weak, strong) = (median(&all[..(WEAK * n) as usize]), median(&all[(STRONG * n) as usize..]));
    (strong - weak, -weak)
}

/// The value that a share of the judged windows falls short of.
fn usual(values: &Plane, ok: &[bool], share: f32) -> f32 {
    let mut judged: Vec<f32> = values.data.iter().zip(ok).filter(|(_, ok)| **ok).map(|(v, _)| *v).collect();
    quantile(&mut judged, share)
}

impl Carried {
    /// The gain that a share of the judged windows falls short of.
    pub fn quantile(&self, share: f32) -> f32 {
        usual(&self.gain, &self.ok, share)
    }

    /// How far the band can be trusted in the picture as a whole.
    pub fn trusted(&self) -> f32 {
        usual(&self.trust, &self.ok, 0.5)
    }
}

/// The values of `p` on a grid of another size over the same picture.
pub fn spread(p: &Plane, width: usize, height: usize) -> Plane {
    let mut out = Plane::new(width, height);
    for y in 0..height {
        let from = p.row(y * p.height / height);
        out.row_mut(y).iter_mut().enumerate().for_each(|(x, o)| *o = from[x * p.width / width]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gain_is_that_of_the_band_and_foreign_texture_does_not_count() {
        let (source, other) = (numbers(96, 64, 3).blur(0.8), numbers(96, 64, 4).blur(0.8));
        let gain = |reduced: &Plane| measure(reduced, &source).unwrap().quantile(0.5) + PREFILTER;
        assert!(gain(&source).abs() < 1e-3);
        // More contrast in this band alone, not in large shapes.
        let band = source.blur(1.0).zip(&source.blur(2.0), |fine, coarse| fine - coarse);
        let raised = gain(&source.zip(&band, |v, b| v + 0.5 * b));
        assert!(raised > 0.08 && raised < 1.5f32.ln(), "{raised}");
        assert!(gain(&source.zip(&other, |a, b| a + 0.5 * b)).abs() < 0.1);
        let (sharp, soft) = (source.zip(&source.blur(1.0), |v, m| v + 1.5 * (v - m)), source.blur(1.2));
        assert!(gain(&sharp) > 0.2 && gain(&soft) < -0.2, "{} {}", gain(&sharp), gain(&soft));
        assert!(measure(&Plane::new(96, 64), &Plane::new(96, 64)).is_none());
        let p = Plane { width: 2, height: 1, data: vec![1.0, 2.0] };
        assert_eq!(spread(&p, 5, 2).data, [1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn a_grade_is_no_sharpening_and_sharpening_no_grade() {
        let (source, _) = stripes_and_texture();
        // Large shapes, as any picture has.
        let shapes = numbers(96, 96, 21).blur(6.0).map(|v| 8.0 * v);
        let source = source.zip(&shapes, |v, s| v + s);
        let of = |p: &Plane| measure(p, &source).unwrap();
        for contrast in [0.8, 1.05, 1.3] {
            let graded = of(&source.map(|v| 0.5 + contrast * (v - 0.5)));
            assert!(
                (graded.grade.0 - contrast).abs() < 1e-3 && (graded.grade.1 - 0.5 * (1.0 - contrast)).abs() < 1e-3,
                "{:?}",
                graded.grade
            );
            let left = graded.quantile(0.5) + PREFILTER - contrast.min(1.0).ln();
            assert!(left.abs() < 1e-2, "{contrast}: {left}");
        }
        // One line stands for a curve: what it leaves of a usual one is far below what sharpening adds.
        let film = |v: f32| v + 0.25 * v * (1.0 - v) * (2.0 * v - 0.8);
        let curves: [(&str, &(dyn Fn(f32) -> f32 + Sync)); 3] = [
            ("lifted", &|v| v.clamp(0.0, 1.0).powf(0.8)),
            ("lowered", &|v| v.clamp(0.0, 1.0).powf(1.25)),
            ("film", &|v| film(v.clamp(0.0, 1.0))),
        ];
        for (name, curve) in curves {
            let graded = of(&source.map(curve));
            let left = graded.quantile(0.5) + PREFILTER - graded.grade.0.min(1.0).ln();
            assert!(left.abs() < 0.08, "{name}: {left} {:?}", graded.grade);
        }
        let sharp = of(&source.zip(&source.blur(1.0), |v, m| v + 1.5 * (v - m)));
        assert!((sharp.grade.0 - 1.0).abs() < 0.05 && sharp.quantile(0.5) > 0.2, "{:?} {}", sharp.grade, sharp.quantile(0.5));
    }

    /// Numbers of -0.5..0.5, the same for a seed.
    fn numbers(width: usize, height: usize, mut state: u32) -> Plane {
        let mut p = Plane::new(width, height);
        for v in &mut p.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        }
        p
    }

    /// Strong stripes above, faint texture below.
    fn stripes_and_texture() -> (Plane, Plane) {
        let (texture, mut stripes) = (numbers(96, 96, 5).blur(0.9).map(|v| 0.5 + 0.4 * v), Plane::new(96, 96));
        stripes.data.iter_mut().enumerate().for_each(|(i, v)| *v = if i / 96 < 48 && (i % 96 / 6) % 2 == 0 { 0.3 } else { 0.0 });
        let stripes = stripes.blur(0.7);
        (stripes.zip(&texture, |a, b| a + b), stripes)
    }

    #[test]
    fn smoothing_takes_weak_contrast_and_a_kernel_takes_both() {
        let (source, stripes) = stripes_and_texture();
        let smoothed = |reduced: &Plane| measure(reduced, &source).unwrap().smoothed;
        let plastic = source.zip(&stripes, |v, s| s + 0.5 + 0.6 * (v - s - 0.5));
        assert!(smoothed(&plastic) > 1.0, "{}", smoothed(&plastic));
        for kernel in [source.clone(), source.blur(0.5), source.map(|v| 0.6 * v)] {
            assert!(smoothed(&kernel) < 0.5, "{}", smoothed(&kernel));
        }
    }

    #[test]
    fn dots_of_a_source_are_not_trusted() {
        let mut dots = Plane::new(96, 96);
        dots.data.iter_mut().enumerate().for_each(|(i, v)| *v = f32::from(u8::from((i % 96 + i / 96) % 2 == 0)));
        let shaded = dots.zip(&numbers(96, 96, 9).blur(2.0), |d, n| 0.5 + 0.4 * d + n);
        let (of_dots, plain) =
            (measure(&shaded, &shaded).unwrap(), measure(&numbers(96, 96, 9).blur(1.0), &numbers(96, 96, 9).blur(1.0)).unwrap());
        assert!(of_dots.trusted() < 0.1 && plain.trusted() > 0.9, "{} {}", of_dots.trusted(), plain.trusted());
    }
}
