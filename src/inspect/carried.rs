//! How strongly a result carries what its source holds well below its finest detail, window by window and in absolute terms.
//!
//! The band between Gaussians of 1 and 2 source pixels of the reduced result is regressed on the same band of the source. No honest
//! kernel, network or phase changes that band by more than a few percent, so what does is wrong even if it is so in the whole picture:
//! sharpening and ringing raise it, blur lowers it, and texture that the source does not have does not count.

use super::plane::{Plane, quantile};
use super::windows;

/// Side of a cell, source pixels; windows are two by two of them.
const CELL: usize = 8;
/// Deviation of the source's band that can be judged.
const LEAST: f32 = 0.006;
/// What the mild prefilter of the reduction takes, natural logarithm.
const PREFILTER: f32 = -0.06;

/// The gain of windows of 16 source pixels, 8 apart.
#[derive(Debug, Clone)]
pub struct Carried {
    /// Natural logarithm; 0 where the source is carried as it is, or has too little there.
    pub gain: Plane,
    /// The share of the result's band that the source's explains, 0..1.
    pub alike: Plane,
    /// Windows whose source has enough of the band.
    pub ok: Vec<bool>,
}

/// Measures `reduced` against `source` (lumas of one size); None if fewer than six windows can be judged.
pub fn measure(reduced: &Plane, source: &Plane) -> Option<Carried> {
    if source.width < 3 * CELL || source.height < 3 * CELL {
        return None;
    }
    let band = |p: &Plane| p.blur(1.0).zip(&p.blur(2.0), |a, b| a - b);
    let (c, s) = (band(reduced), band(source));
    let mean = |a: &Plane, b: &Plane| windows::mean_of(&a.zip(b, |a, b| a * b).cells(CELL));
    let (cross, own, other) = (mean(&c, &s), mean(&s, &s), mean(&c, &c));
    let ok: Vec<bool> = own.data.iter().map(|&e| e > LEAST * LEAST).collect();
    if ok.iter().filter(|ok| **ok).count() < 6 {
        return None;
    }
    let mut gain = cross.zip(&own, |x, e| (x.max(0.02 * e) / (e + 1e-7)).ln() - PREFILTER);
    gain.data.iter_mut().zip(&ok).filter(|(_, ok)| !**ok).for_each(|(v, _)| *v = 0.0);
    let alike = cross.zip3(&own, &other, |x, s, c| (x * x / (s * c + 1e-12)).clamp(0.0, 1.0));
    Some(Carried { gain, alike, ok })
}

impl Carried {
    /// The gain that a share of the judged windows falls short of.
    pub fn quantile(&self, share: f32) -> f32 {
        let mut judged: Vec<f32> = self.gain.data.iter().zip(&self.ok).filter(|(_, ok)| **ok).map(|(v, _)| *v).collect();
        quantile(&mut judged, share)
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
        let mut state = 3u32;
        let mut noise = || {
            let mut p = Plane::new(96, 64);
            for v in &mut p.data {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *v = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
            }
            p.blur(0.8)
        };
        let (source, other) = (noise(), noise());
        let gain = |reduced: &Plane| measure(reduced, &source).unwrap().quantile(0.5) + PREFILTER;
        assert!(gain(&source).abs() < 1e-3);
        assert!((gain(&source.map(|v| 1.5 * v)) - 1.5f32.ln()).abs() < 1e-2);
        assert!(gain(&source.zip(&other, |a, b| a + 0.5 * b)).abs() < 0.1);
        let (sharp, soft) = (source.zip(&source.blur(1.0), |v, m| v + 1.5 * (v - m)), source.blur(1.2));
        assert!(gain(&sharp) > 0.2 && gain(&soft) < -0.2, "{} {}", gain(&sharp), gain(&soft));
        assert!(measure(&Plane::new(96, 64), &Plane::new(96, 64)).is_none());
        let p = Plane { width: 2, height: 1, data: vec![1.0, 2.0] };
        assert_eq!(spread(&p, 5, 2).data, [1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
    }
}
