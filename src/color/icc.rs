//! ICC profiles: what they say, and pixels out of them into sRGB.

use std::fmt;

use moxcms::{ColorProfile, DataColorSpace, Layout, ProfileText, RenderingIntent, ToneReprCurve, TransformOptions};

use super::Transfer;
use crate::band::Band;
use crate::error::{Error, Result};

/// What the channels of a profile mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Grey,
    Rgb,
    /// Ink amounts, 1 = full.
    Cmyk,
    Lab,
    /// Anything else (XYZ, HSV, more inks); cannot be converted.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grey => "grey",
            Self::Rgb => "RGB",
            Self::Cmyk => "CMYK",
            Self::Lab => "Lab",
            Self::Other => "other",
        })
    }
}

/// A colour space as an ICC profile describes it.
#[derive(Debug, Clone)]
pub struct Profile {
    name: String,
    kind: Kind,
    /// One per colour channel, if the profile is of the matrix or grey kind.
    curves: Option<Vec<Transfer>>,
    /// Linear RGB to linear sRGB, if the profile is of the matrix kind.
    matrix: Option<[[f32; 3]; 3]>,
    icc: Option<ColorProfile>,
}

impl Profile {
    /// sRGB, for pictures without a profile.
    pub fn srgb() -> Self {
        Self {
            name: "sRGB IEC61966-2.1".into(),
            kind: Kind::Rgb,
            curves: Some(vec![Transfer::srgb(); 3]),
            matrix: Some([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
            icc: None,
        }
    }

    /// CMYK without a profile: R = (1 - C)(1 - K) and so on. Colours are a rough guess.
    pub fn plain_cmyk() -> Self {
        Self { name: "CMYK without a profile".into(), kind: Kind::Cmyk, curves: None, matrix: None, icc: None }
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// [`Error::Input`] (its path is "ICC profile") if the bytes are no profile; the picture can still be read as sRGB.
    pub fn from_icc(bytes: &[u8]) -> Result<Self> {
        let icc = ColorProfile::new_from_slice(bytes).map_err(|e| {
            Error::input("ICC profile", format!("{} bytes are not a usable profile: {e}", bytes.len()), "treat the picture as sRGB")
        })?;
        let kind = match icc.color_space {
            DataColorSpace::Gray => Kind::Grey,
            DataColorSpace::Rgb => Kind::Rgb,
            DataColorSpace::Cmyk => Kind::Cmyk,
            DataColorSpace::Lab => Kind::Lab,
            _ => Kind::Other,
        };
        let tables = icc.lut_a_to_b_perceptual.is_some() || icc.lut_a_to_b_colorimetric.is_some();
        let curves = match kind {
            Kind::Grey => [&icc.gray_trc].into_iter().map(|c| c.as_ref().and_then(curve)).collect(),
            Kind::Rgb => [&icc.red_trc, &icc.green_trc, &icc.blue_trc].into_iter().map(|c| c.as_ref().and_then(curve)).collect(),
            _ => None,
        };
        let matrix = (!tables && icc.is_matrix_shaper())
            .then(|| icc.transform_matrix(&ColorProfile::new_srgb()).v.map(|row| row.map(|v| v as f32)))
            .filter(|m| m.iter().flatten().all(|v| v.is_finite()));
        Ok(Self { name: name(&icc), kind, curves, matrix, icc: Some(icc) })
    }

    /// The profile's description, e.g. "Display P3"; empty if it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the channels mean.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The curves of the colour channels, if the profile is of the matrix or grey kind.
    pub(super) fn curves(&self) -> Option<&[Transfer]> {
        self.curves.as_deref()
    }

    /// Linear RGB to linear sRGB, if the profile is of the matrix kind.
    pub(super) fn matrix(&self) -> Option<[[f32; 3]; 3]> {
        self.matrix
    }

    /// How encoded values map to light: the profile's grey or green curve. `None` where the profile has no such curve
    /// (tables, CMYK) or it does not rise.
    pub fn transfer(&self) -> Option<&Transfer> {
        let curves = self.curves.as_deref()?;
        curves.get(curves.len() / 2)
    }

    /// [`Profile::transfer`], and the sRGB curve for profiles without one: close enough to average in, and pixels that are
    /// not averaged come back unchanged.
    pub fn transfer_or_srgb(&self) -> Transfer {
        self.transfer().cloned().unwrap_or_else(Transfer::srgb)
    }

    /// The curve of each channel and the matrix from its linear light to linear sRGB, if the profile is of the matrix kind.
    pub fn matrix_shaper(&self) -> Option<(&[Transfer], &[[f32; 3]; 3])> {
        self.curves.as_deref().zip(self.matrix.as_ref())
    }

    /// Whether values mean what they mean in sRGB, to within a quarter of an 8-bit code.
    pub fn is_srgb(&self) -> bool {
        let Some((curves, matrix)) = self.matrix_shaper() else { return false };
        let identity = (0..9).all(|i| (matrix[i / 3][i % 3] - f32::from(u8::from(i / 3 == i % 3))).abs() < 2e-3);
        let ramp: Vec<f32> = (0..=64).map(|i| i as f32 / 64.0).collect();
        let alike = |curve: &Transfer| {
            let mut row = ramp.clone();
            curve.linear(&mut row);
            Transfer::srgb().encoded(&mut row);
            row.iter().zip(&ramp).all(|(a, b)| (a - b).abs() < 1e-3)
        };
        identity && curves.iter().all(alike)
    }

    /// Prepares conversion to sRGB.
    ///
    /// Matrix and grey profiles are converted by their formula and keep what lies outside sRGB as values outside 0..1.
    /// Table profiles (CMYK, printers, scanners) are converted with perceptual intent and end at 0 and 1.
    ///
    /// # Errors
    /// [`Error::Input`] (its path is "ICC profile") for kinds that are not grey, RGB or CMYK, and for broken tables.
    pub fn to_srgb(&self) -> Result<ToSrgb> {
        let refuse = |what: String| Error::input("ICC profile", what, "convert the picture to sRGB in an image editor first");
        if let (Some(curves), Some(matrix)) = (&self.curves, self.matrix) {
            return Ok(ToSrgb(Way::Matrix { curves: curves.clone(), matrix }));
        }
        let layout = match (self.kind, &self.curves) {
            (Kind::Grey, Some(curves)) => return Ok(ToSrgb(Way::Grey(curves[0].clone()))),
            (Kind::Grey, None) => Layout::Gray,
            (Kind::Rgb, _) => Layout::Rgb,
            (Kind::Cmyk, _) => Layout::Rgba, // moxcms' name for four channels
            (kind, _) => return Err(refuse(format!("\"{}\" is a {kind} profile, which pictures cannot be converted from", self.name))),
        };
        let Some(icc) = &self.icc else { return Ok(ToSrgb(Way::PlainCmyk)) };
        let options = TransformOptions { rendering_intent: RenderingIntent::Perceptual, ..TransformOptions::default() };
        let transform = icc
            .create_transform_f32(layout, &ColorProfile::new_srgb(), Layout::Rgb, options)
            .map_err(|e| refuse(format!("\"{}\" has no usable way to sRGB: {e}", self.name)))?;
        Ok(ToSrgb(Way::Tables { transform, channels: layout.channels() }))
    }
}

/// A conversion of bands to sRGB; made by [`Profile::to_srgb`].
pub struct ToSrgb(Way);

enum Way {
    Matrix { curves: Vec<Transfer>, matrix: [[f32; 3]; 3] },
    Grey(Transfer),
    PlainCmyk,
    Tables { transform: std::sync::Arc<moxcms::TransformF32Executor>, channels: usize },
}

impl ToSrgb {
    /// Converts a band of the profile's channels (1 grey, 3 RGB, 4 CMYK as ink amounts), with or without an alpha channel at
    /// the end, to encoded sRGB (3 channels, or 4 if there is alpha, which stays as it is).
    ///
    /// # Errors
    /// [`Error::Internal`] if the band has other channels.
    pub fn band(&self, band: &Band) -> Result<Band> {
        let inputs = match &self.0 {
            Way::Matrix { .. } => 3,
            Way::Grey(_) => 1,
            Way::PlainCmyk => 4,
            Way::Tables { channels, .. } => *channels,
        };
        let alpha = match band.channels.checked_sub(inputs) {
            Some(extra @ 0..=1) => extra,
            _ => return Err(Error::Internal(format!("{} channels given to a conversion of {inputs}", band.channels))),
        };
        let mut out = Band::new(band.y, band.width, band.rows, 3 + alpha);
        match &self.0 {
            Way::Matrix { curves, matrix } => {
                let linear: Vec<Vec<f32>> = (0..3)
                    .map(|c| {
                        let mut plane = band.plane(c).to_vec();
                        curves[c].linear(&mut plane);
                        plane
                    })
                    .collect();
                for (c, [from_r, from_g, from_b]) in matrix.iter().enumerate() {
                    for (i, v) in out.plane_mut(c).iter_mut().enumerate() {
                        *v = from_r * linear[0][i] + from_g * linear[1][i] + from_b * linear[2][i];
                    }
                    Transfer::srgb().encoded(out.plane_mut(c));
                }
            }
            Way::Grey(curve) => {
                let mut plane = band.plane(0).to_vec();
                curve.linear(&mut plane);
                Transfer::srgb().encoded(&mut plane);
                (0..3).for_each(|c| out.plane_mut(c).copy_from_slice(&plane));
            }
            Way::PlainCmyk => {
                for c in 0..3 {
                    for ((v, ink), black) in out.plane_mut(c).iter_mut().zip(band.plane(c)).zip(band.plane(3)) {
                        *v = (1.0 - ink) * (1.0 - black);
                    }
                }
            }
            Way::Tables { transform, channels } => return through(&**transform, *channels, band),
        }
        if alpha == 1 {
            out.plane_mut(3).copy_from_slice(band.plane(inputs));
        }
        Ok(out)
    }
}

/// A band of `inputs` colour channels, with or without alpha, through a transform to 3 channels.
pub(super) fn through(transform: &moxcms::TransformF32Executor, inputs: usize, band: &Band) -> Result<Band> {
    let alpha = match band.channels.checked_sub(inputs) {
        Some(extra @ 0..=1) => extra,
        _ => return Err(Error::Internal(format!("{} channels given to a conversion of {inputs}", band.channels))),
    };
    let mut out = Band::new(band.y, band.width, band.rows, 3 + alpha);
    let mut from = vec![0.0; band.width * inputs];
    let mut to = vec![0.0; band.width * 3];
    for r in 0..band.rows {
        for c in 0..inputs {
            from.iter_mut().skip(c).step_by(inputs).zip(band.row(c, r)).for_each(|(v, s)| *v = s.clamp(0.0, 1.0));
        }
        transform.transform(&from, &mut to).map_err(|e| Error::Internal(format!("colour conversion: {e}")))?;
        for c in 0..3 {
            out.row_mut(c, r).iter_mut().zip(to.iter().skip(c).step_by(3)).for_each(|(v, s)| *v = *s);
        }
    }
    if alpha == 1 {
        out.plane_mut(3).copy_from_slice(band.plane(inputs));
    }
    Ok(out)
}

/// A profile as the bytes that go into a file. Its creation time is left empty: the same picture must give the same bytes
/// tomorrow. Other readers complain unless the illuminant is D50 to the bit and tags begin at multiples of four (ICC.1:2022,
/// 7.2.16 and 7.3.1).
pub fn profile_bytes(profile: &ColorProfile) -> Option<Vec<u8>> {
    const TABLE: usize = 128 + 4;
    const D50: [u8; 12] = [0, 0, 0xf6, 0xd6, 0, 1, 0, 0, 0, 0, 0xd3, 0x2d];
    let made = profile.encode().ok()?;
    let number = |at: usize| Some(u32::from_be_bytes(made.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = number(128)?;
    let mut icc = made.get(..TABLE + 12 * count)?.to_vec();
    icc[24..36].fill(0);
    icc[68..80].copy_from_slice(&D50);
    let mut placed: Vec<((usize, usize), usize)> = Vec::new();
    for entry in (0..count).map(|i| TABLE + 12 * i) {
        let (at, long) = (number(entry + 4)?, number(entry + 8)?);
        // Tags may share their data.
        let to = match placed.iter().find(|(from, _)| *from == (at, long)) {
            Some((_, to)) => *to,
            None => {
                let to = icc.len();
                icc.extend_from_slice(made.get(at..at.checked_add(long)?)?);
                icc.resize(icc.len().next_multiple_of(4), 0);
                placed.push(((at, long), to));
                to
            }
        };
        icc[entry + 4..entry + 8].copy_from_slice(&u32::try_from(to).ok()?.to_be_bytes());
    }
    let size = u32::try_from(icc.len()).ok()?;
    icc[..4].copy_from_slice(&size.to_be_bytes());
    Some(icc)
}

/// The curve as a transfer function, if it rises and is finite.
fn curve(c: &ToneReprCurve) -> Option<Transfer> {
    match c {
        ToneReprCurve::Lut(samples) => match samples[..] {
            [] => Some(Transfer::LINEAR),
            [gamma] => (gamma > 0).then(|| Transfer::gamma(f64::from(gamma) / 256.0)), // u8Fixed8Number
            _ => Transfer::table(&samples.iter().map(|v| f32::from(*v) / 65535.0).collect::<Vec<_>>()),
        },
        ToneReprCurve::Parametric(p) => {
            let p: Vec<f64> = p.iter().map(|v| f64::from(*v)).collect();
            // ICC.1:2022, table 68, function types 0 to 4.
            let [g, a, b, c, d, e, f] = match p[..] {
                [g] => [g, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                [g, a, b] => [g, a, b, 0.0, -b / a, 0.0, 0.0],
                [g, a, b, c] => [g, a, b, 0.0, -b / a, c, c],
                [g, a, b, c, d] => [g, a, b, c, d, 0.0, 0.0],
                [g, a, b, c, d, e, f] => [g, a, b, c, d, e, f],
                _ => return None,
            };
            let rises = g > 0.0 && a > 0.0 && c >= 0.0 && [g, a, b, c, d, e, f].iter().all(|v| v.is_finite());
            rises.then(|| Transfer::parametric(g, a, b, c, d, e, f))
        }
    }
}

fn name(icc: &ColorProfile) -> String {
    let text = match &icc.description {
        Some(ProfileText::PlainString(s)) => s.clone(),
        Some(ProfileText::Localizable(all)) => {
            all.iter().find(|s| s.language == "en").or_else(|| all.first()).map_or_else(String::new, |s| s.value.clone())
        }
        Some(ProfileText::Description(d)) if d.ascii_string.is_empty() => d.unicode_string.clone(),
        Some(ProfileText::Description(d)) => d.ascii_string.clone(),
        None => String::new(),
    };
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(of: &[&[f32]]) -> Band {
        let mut b = Band::new(0, of.len(), 1, of[0].len());
        for (x, p) in of.iter().enumerate() {
            p.iter().enumerate().for_each(|(c, v)| b.row_mut(c, 0)[x] = *v);
        }
        b
    }

    #[test]
    fn written_profiles_are_sound() {
        for made in [ColorProfile::new_srgb(), ColorProfile::new_display_p3(), ColorProfile::new_gray_with_gamma(2.2)] {
            let icc = profile_bytes(&made).unwrap();
            let number = |at: usize| u32::from_be_bytes(icc[at..at + 4].try_into().unwrap()) as usize;
            assert_eq!(number(0), icc.len());
            assert_eq!([number(68), number(72), number(76)], [0xf6d6, 0x10000, 0xd32d], "the illuminant is D50");
            for entry in (0..number(128)).map(|i| 132 + 12 * i) {
                let (at, size) = (number(entry + 4), number(entry + 8));
                assert!(at % 4 == 0 && at + size <= icc.len(), "{:?}", &icc[entry..entry + 4]);
            }
            let again = Profile::from_icc(&icc).unwrap();
            assert_eq!(again.kind(), Profile::from_icc(&made.encode().unwrap()).unwrap().kind());
        }
    }

    fn levels(profile: &Profile, of: &[&[u8]]) -> Vec<[i32; 3]> {
        let of: Vec<Vec<f32>> = of.iter().map(|p| p.iter().map(|v| f32::from(*v) / 255.0).collect()).collect();
        let out = profile.to_srgb().unwrap().band(&pixels(&of.iter().map(Vec::as_slice).collect::<Vec<_>>())).unwrap();
        (0..of.len()).map(|x| [0, 1, 2].map(|c| (out.row(c, 0)[x].clamp(0.0, 1.0) * 255.0).round() as i32)).collect()
    }

    fn icc_of(file: &str) -> Option<Vec<u8>> {
        let path = crate::color::tests::shared()?.join("images/metadata").join(file);
        let bytes = std::fs::read(path).unwrap();
        if file.ends_with(".png") {
            let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
            return reader.info().icc_profile.as_ref().map(|p| p.to_vec());
        }
        use img_parts::ImageICC;
        img_parts::jpeg::Jpeg::from_bytes(bytes.into()).unwrap().icc_profile().map(|p| p.to_vec())
    }

    #[test]
    fn display_p3_goes_out_of_range_and_keeps_alpha() {
        let p3 = Profile::from_icc(&ColorProfile::new_display_p3().encode().unwrap()).unwrap();
        assert_eq!(p3.kind(), Kind::Rgb);
        let out = p3.to_srgb().unwrap().band(&pixels(&[&[1.0, 0.0, 0.0, 0.25], &[1.0, 1.0, 1.0, 0.5]])).unwrap();
        // CSS Color 4 gives color(display-p3 1 0 0) as color(srgb 1.0931 -0.2267 -0.1501).
        for (c, want) in [1.0931f32, -0.2267, -0.1501].into_iter().enumerate() {
            assert!((out.row(c, 0)[0] - want).abs() < 1e-3, "{:?}", out.data);
            assert!((out.row(c, 0)[1] - 1.0).abs() < 1e-3, "white stays white: {:?}", out.data);
        }
        assert_eq!(out.row(3, 0), [0.25, 0.5]);
    }

    #[test]
    fn grey_profiles_have_one_curve() {
        let grey = Profile::from_icc(&ColorProfile::new_gray_with_gamma(2.2).encode().unwrap()).unwrap();
        assert_eq!(grey.kind(), Kind::Grey);
        // 0.5^2.2 = 0.217638, in sRGB 0.503867.
        let out = grey.to_srgb().unwrap().band(&pixels(&[&[0.5]])).unwrap();
        assert!(out.data.iter().all(|v| (v - 0.503_9).abs() < 5e-4), "{:?}", out.data);
    }

    #[test]
    fn parametric_curves_of_every_type_are_read() {
        let value = |p: &[f32], x: f32| {
            let mut row = [x];
            curve(&ToneReprCurve::Parametric(p.to_vec())).unwrap().linear(&mut row);
            row[0]
        };
        assert!((value(&[2.0], 0.5) - 0.25).abs() < 1e-6);
        assert!((value(&[2.0, 0.5, 0.5], 0.5) - 0.5625).abs() < 1e-6);
        assert!((value(&[2.0, 0.5, 0.25, 0.1], 0.5) - 0.35).abs() < 1e-6);
        assert!((value(&[2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045], 0.02) - 0.02 / 12.92).abs() < 1e-7);
        assert!((value(&[2.0, 1.0, 0.0, 0.5, 0.25, 0.1, 0.02], 0.1) - 0.07).abs() < 1e-6);
        assert!(curve(&ToneReprCurve::Parametric(vec![-1.0])).is_none());
        assert!(curve(&ToneReprCurve::Parametric(vec![2.0, 0.0, 0.5])).is_none());
    }

    /// Expected levels were made with Little CMS 2 (perceptual for CMYK, relative colorimetric for RGB).
    #[test]
    fn real_profiles_match_little_cms() {
        let rgb: [&[u8]; 4] = [&[128, 64, 32], &[200, 180, 160], &[90, 90, 90], &[100, 140, 120]];
        for (file, name, want) in [
            ("display_p3.png", "Display P3", [[138, 59, 21], [204, 179, 157], [90, 90, 90], [88, 141, 119]]),
            ("prophoto.png", "ProPhoto RGB", [[191, 53, 29], [230, 189, 172], [109, 109, 109], [64, 165, 136]]),
            ("tree_alpha_16bit.png", "Adobe RGB (1998)", [[146, 62, 24], [209, 181, 161], [90, 90, 90], [76, 141, 120]]),
            ("p3_color_bars_1000.png", "DCI-P3-D65-2_2-Gamma", [[139, 57, 11], [205, 181, 159], [90, 90, 90], [87, 143, 119]]),
        ] {
            let Some(icc) = icc_of(file) else { return };
            let profile = Profile::from_icc(&icc).unwrap();
            assert_eq!((profile.name(), profile.kind()), (name, Kind::Rgb));
            assert!(profile.transfer().is_some());
            for (got, want) in levels(&profile, &rgb).iter().zip(want) {
                assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1), "{file}: {got:?} not {want:?}");
            }
        }
        let Some(icc) = icc_of("cmyk_adobe_profile.jpg") else { return };
        let profile = Profile::from_icc(&icc).unwrap();
        assert_eq!((profile.name(), profile.kind()), ("U.S. Web Coated (SWOP) v2", Kind::Cmyk));
        assert!(profile.transfer().is_none());
        let inks: [&[u8]; 6] = [&[0; 4], &[255, 0, 0, 0], &[0, 0, 0, 255], &[128, 64, 32, 16], &[40, 200, 180, 60], &[20, 15, 15, 0]];
        let want = [[255, 255, 255], [0, 174, 239], [35, 31, 32], [122, 157, 185], [168, 72, 63], [232, 231, 232]];
        for (got, want) in levels(&profile, &inks).iter().zip(want) {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 3), "{got:?} not {want:?}");
        }
    }

    #[test]
    fn broken_profiles_are_refused_not_fatal() {
        assert_eq!(Profile::from_icc(b"not a profile").unwrap_err().kind(), "input");
        let good = ColorProfile::new_display_p3().encode().unwrap();
        for end in (0..good.len()).step_by(7) {
            let _ = Profile::from_icc(&good[..end]).map(|p| p.to_srgb().is_ok());
        }
        let lab = Profile { kind: Kind::Lab, curves: None, matrix: None, ..Profile::srgb() };
        assert!(lab.to_srgb().is_err());
        assert!(Profile::srgb().to_srgb().unwrap().band(&Band::new(0, 2, 2, 1)).is_err());
    }

    #[test]
    fn plain_cmyk_multiplies() {
        assert_eq!(levels(&Profile::plain_cmyk(), &[&[0, 0, 0, 0], &[255, 0, 0, 0], &[0, 0, 0, 255]]), [[255; 3], [0, 255, 255], [0; 3]]);
    }
}
