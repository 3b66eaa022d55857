//! Pixels from one RGB or grey profile into another.

use moxcms::{ColorProfile, Layout, RenderingIntent, TransformOptions};
use serde::{Deserialize, Serialize};

use super::Transfer;
use super::icc::{Kind, Profile, ToSrgb, profile_bytes};
use crate::band::Band;
use crate::error::{Error, Result};

/// The colour space a picture shall be converted to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColourSpace {
    /// IEC 61966-2-1.
    Srgb,
    /// Display P3: the primaries of DCI-P3, white D65, the transfer function of sRGB.
    DisplayP3,
    /// The bytes of an ICC profile.
    Icc(Vec<u8>),
}

impl ColourSpace {
    /// The profile to put into the file.
    ///
    /// # Errors
    /// [`Error::Usage`] if the bytes given are no profile that RGB pixels can be converted to.
    pub fn icc(&self) -> Result<Vec<u8>> {
        let made = match self {
            Self::Srgb => ColorProfile::new_srgb(),
            Self::DisplayP3 => ColorProfile::new_display_p3(),
            Self::Icc(bytes) => {
                let found = Profile::from_icc(bytes).map_err(|e| Error::usage("--convert-to", e.to_string(), ""))?;
                if found.kind() != Kind::Rgb {
                    let what = format!("\"{}\" is a {} profile; pictures are written as RGB", found.name(), found.kind());
                    return Err(Error::usage("--convert-to", what, "srgb, p3 or an RGB profile"));
                }
                return Ok(bytes.clone());
            }
        };
        profile_bytes(&made).ok_or_else(|| Error::Internal("a profile of our own cannot be written".into()))
    }
}

/// A conversion of bands; made for one source and one colour space.
///
/// Relative colorimetric. Between matrix profiles nothing is clipped: what the new space cannot show comes out below 0 or above
/// 1, and the encoder ends it there. A table profile on either side ends at 0 and 1 itself.
pub struct Conversion(Way);

enum Way {
    Matrix { from: ToSrgb, matrix: [[f32; 3]; 3], curves: Vec<Transfer> },
    Tables { transform: std::sync::Arc<moxcms::TransformF32Executor>, inputs: usize },
}

impl Conversion {
    /// From the profile of a picture (`None` is sRGB) to `to`; `None` if that is what the picture is in.
    ///
    /// # Errors
    /// [`Error::Usage`] for a space that nothing can be converted to, [`Error::Input`] for a source's profile that nothing can
    /// be converted from.
    pub fn new(from: Option<&[u8]>, to: &ColourSpace) -> Result<Option<Self>> {
        let icc = to.icc()?;
        if from == Some(&icc) || (from.is_none() && *to == ColourSpace::Srgb) {
            return Ok(None);
        }
        let source = from.map_or_else(|| Ok(Profile::srgb()), Profile::from_icc)?;
        let target = Profile::from_icc(&icc)?;
        if source.kind() == Kind::Rgb && source.is_srgb() && target.is_srgb() {
            return Ok(None);
        }
        if let (Some(curves), Some(matrix)) = (target.curves(), target.matrix().and_then(inverse)) {
            return Ok(Some(Self(Way::Matrix { from: source.to_srgb()?, matrix, curves: curves.to_vec() })));
        }
        let refuse =
            |e: moxcms::CmsError| Error::usage("--convert-to", format!("\"{}\" has no usable way in: {e}", target.name()), "srgb or p3");
        let read = |bytes: &[u8]| ColorProfile::new_from_slice(bytes).map_err(refuse);
        let own = from.map_or_else(|| Ok(ColorProfile::new_srgb()), read)?;
        let (layout, inputs) = if source.kind() == Kind::Grey { (Layout::Gray, 1) } else { (Layout::Rgb, 3) };
        let options = TransformOptions { rendering_intent: RenderingIntent::RelativeColorimetric, ..TransformOptions::default() };
        let transform = own.create_transform_f32(layout, &read(&icc)?, Layout::Rgb, options).map_err(refuse)?;
        Ok(Some(Self(Way::Tables { transform, inputs })))
    }

    /// Converts a band of 1 (grey) or 3 colour channels, with or without alpha, to 3 colour channels; alpha stays as it is.
    ///
    /// # Errors
    /// [`Error::Internal`] if the band has other channels than the source's profile.
    pub fn band(&self, band: &Band) -> Result<Band> {
        match &self.0 {
            Way::Matrix { from, matrix, curves } => {
                let mut out = from.band(band)?;
                let mut linear: Vec<Vec<f32>> = (0..3).map(|c| out.plane(c).to_vec()).collect();
                linear.iter_mut().for_each(|plane| Transfer::srgb().linear(plane));
                for (c, [r, g, b]) in matrix.iter().enumerate() {
                    for (i, v) in out.plane_mut(c).iter_mut().enumerate() {
                        *v = r * linear[0][i] + g * linear[1][i] + b * linear[2][i];
                    }
                    curves[c].encoded(out.plane_mut(c));
                }
                Ok(out)
            }
            Way::Tables { transform, inputs } => super::icc::through(&**transform, *inputs, band),
        }
    }
}

/// The inverse of a matrix, by Cramer's rule; none if it has none to speak of.
fn inverse(m: [[f32; 3]; 3]) -> Option<[[f32; 3]; 3]> {
    let m = m.map(|row| row.map(f64::from));
    let minor = |r: usize, c: usize| {
        let (a, b, d, e) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
        m[a][d] * m[b][e] - m[a][e] * m[b][d]
    };
    let determinant: f64 = (0..3).map(|c| m[0][c] * minor(0, c)).sum();
    (determinant.abs() > 1e-9).then(|| std::array::from_fn(|r| std::array::from_fn(|c| (minor(c, r) / determinant) as f32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(c: &Conversion, rgb: &[f32]) -> Vec<f32> {
        c.band(&Band { y: 0, width: 1, rows: 1, channels: rgb.len(), data: rgb.to_vec() }).unwrap().data
    }

    fn made(p: &ColorProfile) -> Vec<u8> {
        profile_bytes(p).unwrap()
    }

    #[test]
    fn p3_and_srgb_convert_both_ways() {
        // sRGB's red in Display P3, CSS Color 4's sample code: 0.9175, 0.2003, 0.1386.
        let there = Conversion::new(None, &ColourSpace::DisplayP3).unwrap().unwrap();
        let red = pixel(&there, &[1.0, 0.0, 0.0]);
        assert!(red.iter().zip([0.9175, 0.2003, 0.1386]).all(|(a, b)| (a - b).abs() < 6e-4), "{red:?}");
        let p3 = ColourSpace::DisplayP3.icc().unwrap();
        let back = Conversion::new(Some(&p3), &ColourSpace::Srgb).unwrap().unwrap();
        for colour in [[1.0, 0.0, 0.0], [0.2, 0.5, 0.8], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]] {
            let again = pixel(&back, &pixel(&there, &colour));
            assert!(again.iter().zip(colour).all(|(a, b)| (a - b).abs() < 5e-4), "{again:?} {colour:?}");
        }
        let green = pixel(&back, &[0.0, 1.0, 0.0, 0.25]);
        assert!(green[0] < -0.1 && green[1] > 1.0 && green[3] == 0.25, "wide colours are not clipped here: {green:?}");
    }

    #[test]
    fn what_is_there_already_is_left_alone() {
        assert!(Conversion::new(None, &ColourSpace::Srgb).unwrap().is_none());
        let p3 = ColourSpace::DisplayP3.icc().unwrap();
        assert!(Conversion::new(Some(&p3), &ColourSpace::DisplayP3).unwrap().is_none());
        assert_eq!(p3, ColourSpace::DisplayP3.icc().unwrap(), "a profile of our own has no time in it");
        // Somebody else's sRGB is other bytes and the same colours.
        let mut theirs = ColorProfile::new_srgb();
        theirs.description = None;
        let theirs = made(&theirs);
        assert_ne!(theirs, ColourSpace::Srgb.icc().unwrap());
        assert!(Conversion::new(Some(&theirs), &ColourSpace::Srgb).unwrap().is_none());
        assert!(Conversion::new(None, &ColourSpace::Icc(theirs)).unwrap().is_none());
        let grey = made(&ColorProfile::new_gray_with_gamma(2.2));
        let c = Conversion::new(Some(&grey), &ColourSpace::Srgb).unwrap().unwrap();
        let out = pixel(&c, &[0.5]);
        // 1.055 * (0.5 ^ 2.2) ^ (1 / 2.4) - 0.055
        assert!(out.len() == 3 && out.iter().all(|v| (v - 0.5039).abs() < 2e-4), "{out:?}");
        let e = ColourSpace::Icc(grey).icc().unwrap_err();
        assert_eq!(e.kind(), "usage");
        assert!(e.to_string().contains("grey profile"), "{e}");
        assert!(ColourSpace::Icc(b"nonsense".to_vec()).icc().is_err());
    }

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let m = [[0.4, 0.3, 0.1], [0.2, 0.7, 0.1], [0.0, 0.1, 0.9]];
        let i = inverse(m).unwrap();
        for (r, row) in m.iter().enumerate() {
            for c in 0..3 {
                let v: f32 = row.iter().zip(&i).map(|(a, b)| a * b[c]).sum();
                assert!((v - if r == c { 1.0 } else { 0.0 }).abs() < 1e-5);
            }
        }
        assert!(inverse([[1.0, 2.0, 3.0]; 3]).is_none());
    }
}
