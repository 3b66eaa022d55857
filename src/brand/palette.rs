//! A brand's colours, and how much of a picture they cover.

use crate::color::{White, delta_e_2000, srgb_to_lab};
use crate::error::{Error, Result};
use crate::grade::matching::Statistics;

/// A colour of the brand.
#[derive(Debug, Clone, PartialEq)]
pub struct Swatch {
    pub name: String,
    /// sRGB as in `#rrggbb`.
    pub rgb: [u8; 3],
    /// CIEDE2000 within which a colour counts as this one.
    pub tolerance: f64,
    /// Whether a grade must leave it alone, within its tolerance.
    pub protected: bool,
}

impl Swatch {
    /// A colour from `#rrggbb`, or `NAME=#rrggbb`.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, code) = text.split_once('=').unwrap_or((text, text));
        let rgb = hex(code).ok_or_else(|| Error::usage("palette", format!("`{text}` is no colour"), "'#d0103a' or 'red=#d0103a'"))?;
        Ok(Self { name: name.to_owned(), rgb, tolerance: TOLERANCE, protected: false })
    }

    /// `#rrggbb`.
    pub fn code(&self) -> String {
        let [r, g, b] = self.rgb;
        format!("#{r:02x}{g:02x}{b:02x}")
    }

    /// CIELAB (D65).
    pub fn lab(&self) -> [f64; 3] {
        srgb_to_lab(self.rgb.map(|v| f64::from(v) / 255.0), White::D65)
    }
}

/// Of swatches that do not say.
pub const TOLERANCE: f64 = 10.0;

/// The three bytes of `#rrggbb`.
pub fn hex(code: &str) -> Option<[u8; 3]> {
    let digits = code.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let value = u32::from_str_radix(digits, 16).ok()?;
    Some([16, 8, 0].map(|shift| (value >> shift & 255) as u8))
}

/// How much of a picture is in the brand's colours.
#[derive(Debug, Clone, PartialEq)]
pub struct Coverage {
    /// Share of the pixels, 0..1, near each swatch, in their order.
    pub swatches: Vec<f64>,
    /// Share near any of them.
    pub any: f64,
    /// Mean CIEDE2000 from each pixel to its nearest swatch; greys count as brand colours.
    pub distance: f64,
}

/// Compares the pixels with the palette. A pixel within a swatch's tolerance counts in full, from twice that on not at all, so
/// that small changes of a picture change the result little. Near-greys (CIELAB chroma below 8) belong to every brand.
pub fn coverage(pixels: &Statistics, palette: &[Swatch]) -> Coverage {
    let labs: Vec<[f64; 3]> = palette.iter().map(Swatch::lab).collect();
    let mut found = Coverage { swatches: vec![0.0; palette.len()], any: 0.0, distance: 0.0 };
    for (weight, c) in pixels.pixels() {
        let (weight, lab) = (f64::from(weight), srgb_to_lab(c.map(f64::from), White::D65));
        let (mut best, mut nearest) = (0f64, f64::MAX);
        for ((swatch, of), sum) in palette.iter().zip(&labs).zip(&mut found.swatches) {
            let d = delta_e_2000(lab, *of);
            let share = (2.0 - d / swatch.tolerance.max(0.1)).clamp(0.0, 1.0);
            *sum += weight * share;
            best = best.max(share);
            nearest = nearest.min(d);
        }
        found.any += weight * best;
        // From colourful (12) to grey (4) the distance fades out.
        let colourful = ((lab[1].hypot(lab[2]) - 4.0) / 8.0).clamp(0.0, 1.0);
        found.distance += weight * colourful * if palette.is_empty() { 0.0 } else { nearest };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Band;
    use crate::grade::matching::Collector;

    #[test]
    fn colours_are_read_and_written() {
        let red = Swatch::parse("red=#D0103a").unwrap();
        assert_eq!((red.name.as_str(), red.rgb, red.code().as_str()), ("red", [0xd0, 0x10, 0x3a], "#d0103a"));
        assert_eq!(Swatch::parse("#010203").unwrap().name, "#010203");
        for bad in ["red", "#12345", "#12345g", "x=#1234567", "", "#+12345"] {
            assert!(Swatch::parse(bad).unwrap_err().to_string().contains("is no colour"), "{bad}");
        }
    }

    #[test]
    fn shares_of_a_picture() {
        // A quarter red, a quarter nearly that red, a quarter grey, a quarter blue.
        let colours = [[208, 16, 58], [206, 18, 60], [128, 128, 128], [20, 40, 200]];
        let mut band = Band::new(0, 400, 1, 3);
        for (i, c) in colours.iter().enumerate() {
            (0..3).for_each(|k| band.plane_mut(k)[i * 100..(i + 1) * 100].fill(c[k] as f32 / 255.0));
        }
        let mut collector = Collector::default();
        collector.push(&band);
        let red = Swatch { tolerance: 5.0, ..Swatch::parse("#d0103a").unwrap() };
        let got = coverage(&collector.finish(), &[red]);
        assert!((got.any - 0.5).abs() < 1e-6 && (got.swatches[0] - 0.5).abs() < 1e-6, "{got:?}");
        let blue =
            delta_e_2000(srgb_to_lab([20.0 / 255.0, 40.0 / 255.0, 200.0 / 255.0], White::D65), Swatch::parse("#d0103a").unwrap().lab());
        assert!((got.distance - blue / 4.0).abs() < 0.3, "{} {blue}", got.distance);
        assert_eq!(coverage(&Collector::default().finish(), &[]).any, 0.0);
    }
}
