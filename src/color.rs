//! Colour: transfer functions, ICC profiles, conversion to sRGB and CIEDE2000.
//!
//! Values are nominal 0..1 and may leave that range; "encoded" is what a file holds, "linear" is proportional to light.

mod convert;
mod difference;
mod icc;

pub use convert::{ColourSpace, Conversion};
pub use difference::{White, delta_e_2000, luma_601, srgb_to_lab};
pub use icc::{Kind, Profile, ToSrgb, profile_bytes};

use crate::lane::Lane;

/// How encoded values map to linear light: parametric (sRGB and friends, ICC `para`) or sampled (ICC `curv`).
///
/// Odd symmetry extends it to negative values; above 1 the formula goes on (a table goes on with its last slope), so wide
/// ranges survive `linear` and `encoded` in a row. Row functions are accurate to 1e-5 of the exact formula on 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer(Shape);

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Linear,
    Power { linear: Segments, encoded: Segments },
    Table(std::sync::Arc<[f32]>),
}

/// `slope * x + offset` below `cut`, `(scale * x + shift)^exponent + lift` from there on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Segments {
    cut: f32,
    slope: f32,
    offset: f32,
    scale: f32,
    shift: f32,
    exponent: f32,
    lift: f32,
}

impl Transfer {
    /// Encoded values are linear already.
    pub const LINEAR: Self = Self(Shape::Linear);

    /// IEC 61966-2-1, also the transfer function of Display P3.
    pub fn srgb() -> Self {
        Self::parametric(2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045, 0.0, 0.0)
    }

    /// The inverse of the camera curve of ITU-R BT.709-6 (also BT.601), item 1.2, with the unrounded constants of BT.2020,
    /// where both parts meet.
    pub fn rec709() -> Self {
        const ALPHA: f64 = 1.099_296_826_809_44;
        const BETA: f64 = 0.018_053_968_510_807;
        Self::parametric(1.0 / 0.45, 1.0 / ALPHA, (ALPHA - 1.0) / ALPHA, 1.0 / 4.5, 4.5 * BETA, 0.0, 0.0)
    }

    /// ROMM RGB (ProPhoto), ISO 22028-2: exponent 1.8 with a linear toe below 16/512 (encoded).
    pub fn prophoto() -> Self {
        Self::parametric(1.8, 1.0, 0.0, 1.0 / 16.0, 0.031_25, 0.0, 0.0)
    }

    /// A plain power, linear = encoded^`exponent`.
    pub fn gamma(exponent: f64) -> Self {
        if exponent == 1.0 { Self::LINEAR } else { Self::parametric(exponent, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0) }
    }

    /// The ICC parametric curve of type 4 (ICC.1:2022, 10.18): `(a x + b)^g + e` from `d` on, `c x + f` below.
    pub fn parametric(g: f64, a: f64, b: f64, c: f64, d: f64, e: f64, f: f64) -> Self {
        let linear = Segments {
            cut: d as f32,
            slope: c as f32,
            offset: f as f32,
            scale: a as f32,
            shift: b as f32,
            exponent: g as f32,
            lift: e as f32,
        };
        let back = a.powf(-g);
        let encoded = Segments {
            cut: ((a * d + b).max(0.0).powf(g) + e) as f32,
            slope: if c == 0.0 { 0.0 } else { 1.0 / c } as f32,
            offset: if c == 0.0 { d } else { -f / c } as f32,
            scale: back as f32,
            shift: (-e * back) as f32,
            exponent: (1.0 / g) as f32,
            lift: (-b / a) as f32,
        };
        Self(Shape::Power { linear, encoded })
    }

    /// Equally spaced samples of the curve from encoded 0 to encoded 1. They must rise (flat stretches are fine) and there
    /// must be two or more; `None` otherwise.
    pub fn table(samples: &[f32]) -> Option<Self> {
        let rises = samples.windows(2).all(|w| w[0] <= w[1]);
        let spans = samples.len() >= 2 && samples[0] < samples[samples.len() - 1];
        (rises && spans).then(|| Self(Shape::Table(samples.into())))
    }

    /// Encoded to linear, in place.
    pub fn linear(&self, row: &mut [f32]) {
        match &self.0 {
            Shape::Linear => {}
            Shape::Power { linear, .. } => linear.apply(row),
            Shape::Table(t) => row.iter_mut().for_each(|v| *v = look_up(t, v.abs()).copysign(*v)),
        }
    }

    /// Linear to encoded, in place.
    pub fn encoded(&self, row: &mut [f32]) {
        match &self.0 {
            Shape::Linear => {}
            Shape::Power { encoded, .. } => encoded.apply(row),
            Shape::Table(t) => row.iter_mut().for_each(|v| *v = look_up_inverse(t, v.abs()).copysign(*v)),
        }
    }
}

impl Segments {
    fn apply(&self, row: &mut [f32]) {
        for v in row {
            let x = v.abs();
            let low = self.slope * x + self.offset;
            let high = Lane::pow(self.scale * x + self.shift, self.exponent) + self.lift;
            let changed = if x < self.cut { low } else { high }.copysign(*v);
            *v = if v.is_nan() { f32::NAN } else { changed };
        }
    }
}

/// Linear interpolation in equally spaced samples over 0..1, extended with the last slope.
fn look_up(t: &[f32], x: f32) -> f32 {
    let p = x * (t.len() - 1) as f32;
    let i = (p as usize).min(t.len() - 2);
    t[i] + (t[i + 1] - t[i]) * (p - i as f32)
}

/// The smallest `x` with `look_up(t, x) == y`; values below the first sample give 0, above a flat end 1.
fn look_up_inverse(t: &[f32], y: f32) -> f32 {
    let i = t.partition_point(|v| *v < y).clamp(1, t.len() - 1);
    let (from, to) = (t[i - 1], t[i]);
    let share = if to > from { ((y - from) / (to - from)).max(0.0) } else { f32::from(u8::from(y > from)) };
    (i as f32 - 1.0 + share) / (t.len() - 1) as f32
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The folder of reference data, where there is one; says so where not.
    pub(crate) fn shared() -> Option<std::path::PathBuf> {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared");
        let folder = std::env::var_os("LASTMILE_SHARED").map_or_else(|| beside.into(), std::path::PathBuf::from);
        if !folder.is_dir() {
            println!("skipped: no reference data at {}", folder.display());
            return None;
        }
        Some(folder)
    }

    /// The sRGB formula of IEC 61966-2-1 in double precision.
    fn srgb_exact(v: f64) -> f64 {
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    }

    fn linear_of(t: &Transfer, v: f32) -> f32 {
        let mut row = [v];
        t.linear(&mut row);
        row[0]
    }

    #[test]
    fn srgb_follows_its_standard() {
        let mut row: Vec<f32> = (0..=4000).map(|i| i as f32 / 4000.0).collect();
        let given = row.clone();
        Transfer::srgb().linear(&mut row);
        for (g, v) in given.iter().zip(&row) {
            let want = srgb_exact(f64::from(*g));
            assert!((f64::from(*v) - want).abs() < 1e-6, "{g}: {v} not {want}");
        }
        assert!((linear_of(&Transfer::srgb(), 0.5) - 0.214_041_14).abs() < 1e-6);
        assert!((linear_of(&Transfer::prophoto(), 0.5) - 0.287_174_6).abs() < 1e-6);
        assert!((linear_of(&Transfer::rec709(), 0.5) - 0.2597194).abs() < 1e-6);
        assert!((linear_of(&Transfer::gamma(2.2), 0.5) - 0.217_637_64).abs() < 1e-6);
    }

    #[test]
    fn every_transfer_goes_there_and_back() {
        let samples: Vec<f32> = (0..1024).map(|i| srgb_exact(f64::from(i) / 1023.0) as f32).collect();
        let all = [
            Transfer::LINEAR,
            Transfer::srgb(),
            Transfer::rec709(),
            Transfer::prophoto(),
            Transfer::gamma(1.8),
            Transfer::gamma(2.2),
            Transfer::gamma(2.4),
            Transfer::table(&samples).unwrap(),
        ];
        for t in all {
            let given: Vec<f32> = (-2000..=4000).map(|i| i as f32 / 2000.0).collect();
            let mut row = given.clone();
            t.linear(&mut row);
            assert!(row.windows(2).all(|w| w[0] <= w[1] + 1e-6), "{t:?} must rise");
            t.encoded(&mut row);
            for (g, v) in given.iter().zip(&row) {
                assert!((g - v).abs() < 1e-5, "{t:?} at {g}: {v}");
            }
        }
    }

    #[test]
    fn nan_stays_nan() {
        let mut row = [f32::NAN, 1.0];
        Transfer::srgb().linear(&mut row);
        assert!(row[0].is_nan() && (row[1] - 1.0).abs() < 1e-6, "NaN must not turn into a colour");
    }

    #[test]
    fn a_table_may_begin_and_end_flat() {
        let t = Transfer::table(&[0.0, 0.0, 0.0, 0.5, 1.0, 1.0]).unwrap();
        let mut row = [0.0, 0.25, 0.5, 1.0, 1.5];
        t.encoded(&mut row);
        assert_eq!(row, [0.0, 0.5, 0.6, 0.8, 1.0]);
    }

    #[test]
    fn a_table_must_rise() {
        assert!(Transfer::table(&[0.0, 0.5, 0.4, 1.0]).is_none());
        assert!(Transfer::table(&[0.0]).is_none());
        assert!(Transfer::table(&[0.3, 0.3]).is_none());
    }
}
