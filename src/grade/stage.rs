//! Grading as a step of the pipeline: from the picture's own colour space into the one that looks work in, and back.

use std::sync::Arc;

use super::program::Program;
use crate::band::{Band, Sink, Stage};
use crate::color::{Kind, Profile, ToSrgb, Transfer};
use crate::error::Result;

/// Grades bands; alpha passes as it is.
///
/// Pictures with a matrix profile (Display P3, Adobe RGB, ProPhoto) are converted to extended-range sRGB, graded, and converted
/// back; colours that sRGB cannot show are kept as numbers outside of 0..1. Pictures whose profile is made of tables, and grey
/// ones that the look colours, become sRGB; [`Grade::replaces_profile`] says so.
pub struct Grade {
    program: Arc<Program>,
    way: Way,
    /// Colour channels that come in, and that go out: 1 or 3.
    channels: (usize, usize),
}

/// How a picture's values become encoded sRGB, and back.
enum Way {
    /// They are.
    Srgb,
    Matrix {
        curves: Vec<Transfer>,
        to: [[f32; 3]; 3],
        back: [[f32; 3]; 3],
    },
    /// There, and not back: the result is sRGB.
    Tables(ToSrgb),
    /// One channel with a curve of its own that stays one channel.
    Grey(Transfer),
}

impl Grade {
    /// A step for pictures of `colours` (1 or 3) colour channels with this ICC profile; without one, or with one that cannot be
    /// read, values are taken as sRGB.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a profile that there is no way from.
    pub fn new(program: Arc<Program>, icc: Option<&[u8]>, colours: usize) -> Result<Self> {
        let out = if colours == 1 && program.keeps_neutrals() { 1 } else { 3 };
        let profile = icc.and_then(|icc| Profile::from_icc(icc).ok()).filter(|p| !p.is_srgb());
        let way = match profile {
            None => Way::Srgb,
            Some(p) => match (p.matrix_shaper(), p.kind(), p.transfer()) {
                (Some((curves, to)), Kind::Rgb, _) if colours == 3 => match inverse(to) {
                    Some(back) => Way::Matrix { curves: curves.to_vec(), to: *to, back },
                    None => Way::Tables(p.to_srgb()?),
                },
                (_, Kind::Grey, Some(curve)) if out == 1 => Way::Grey(curve.clone()),
                // A profile of other channels than the picture has means nothing.
                (_, kind, _) if (kind == Kind::Grey) != (colours == 1) => Way::Srgb,
                _ => Way::Tables(p.to_srgb()?),
            },
        };
        let out = if matches!(way, Way::Tables(_)) { 3 } else { out };
        Ok(Self { program, way, channels: (colours, out) })
    }

    /// Colour channels of the result, 1 or 3.
    pub fn colours(&self) -> usize {
        self.channels.1
    }

    /// Whether the result is sRGB although the picture has another profile, which must then not be written.
    pub fn replaces_profile(&self) -> bool {
        matches!(self.way, Way::Tables(_)) || self.channels.0 != self.channels.1
    }

    fn grade(&self, band: Band) -> Result<Band> {
        let (colours, out) = self.channels;
        let alpha = band.channels - colours;
        let mut work = match &self.way {
            Way::Tables(to) => to.band(&band)?,
            _ if colours == 3 => band,
            way => spread(band, |plane| {
                if let Way::Grey(curve) = way {
                    curve.linear(plane);
                    Transfer::srgb().encoded(plane);
                }
            }),
        };
        if let Way::Matrix { curves, to, .. } = &self.way {
            (0..3).for_each(|c| curves[c].linear(work.plane_mut(c)));
            mix(&mut work, to);
            (0..3).for_each(|c| Transfer::srgb().encoded(work.plane_mut(c)));
        }
        let n = work.rows * work.width;
        let (r, rest) = work.data.split_at_mut(n);
        let (g, rest) = rest.split_at_mut(n);
        self.program.run(r, g, &mut rest[..n]);
        if let Way::Matrix { curves, back, .. } = &self.way {
            (0..3).for_each(|c| Transfer::srgb().linear(work.plane_mut(c)));
            mix(&mut work, back);
            (0..3).for_each(|c| curves[c].encoded(work.plane_mut(c)));
        }
        if out == 3 {
            return Ok(work);
        }
        let mut grey = Band::new(work.y, work.width, work.rows, 1 + alpha);
        grey.plane_mut(0).copy_from_slice(work.plane(1));
        if let Way::Grey(curve) = &self.way {
            Transfer::srgb().linear(grey.plane_mut(0));
            curve.encoded(grey.plane_mut(0));
        }
        if alpha == 1 {
            grey.plane_mut(1).copy_from_slice(work.plane(3));
        }
        Ok(grey)
    }
}

impl Stage for Grade {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        let band = self.grade(band)?;
        next(band)
    }

    fn finish(&mut self, _next: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }
}

/// Grey (with or without alpha) as three equal channels.
fn spread(mut band: Band, convert: impl Fn(&mut [f32])) -> Band {
    let alpha = band.channels - 1;
    convert(band.plane_mut(0));
    let mut out = Band::new(band.y, band.width, band.rows, 3 + alpha);
    (0..3).for_each(|c| out.plane_mut(c).copy_from_slice(band.plane(0)));
    if alpha == 1 {
        out.plane_mut(3).copy_from_slice(band.plane(1));
    }
    out
}

/// The first three channels times a matrix.
fn mix(band: &mut Band, m: &[[f32; 3]; 3]) {
    let n = band.rows * band.width;
    let (r, rest) = band.data.split_at_mut(n);
    let (g, rest) = rest.split_at_mut(n);
    for ((r, g), b) in r.iter_mut().zip(g).zip(&mut rest[..n]) {
        let c = [*r, *g, *b];
        let row = |k: usize| m[k][0] * c[0] + m[k][1] * c[1] + m[k][2] * c[2];
        (*r, *g, *b) = (row(0), row(1), row(2));
    }
}

fn inverse(m: &[[f32; 3]; 3]) -> Option<[[f32; 3]; 3]> {
    let m = m.map(|row| row.map(f64::from));
    let minor = |i: usize, j: usize| {
        let at = |r: usize, c: usize| m[(i + r) % 3][(j + c) % 3];
        at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * minor(0, j)).sum();
    (determinant.abs() > 1e-6).then(|| [0, 1, 2].map(|i| [0, 1, 2].map(|j| (minor(j, i) / determinant) as f32)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::Look;
    use moxcms::ColorProfile;

    fn stage(look: &str, icc: Option<&ColorProfile>, colours: usize) -> Grade {
        let look = Look::parse("t", look, std::path::Path::new("")).unwrap();
        let icc = icc.map(|p| p.encode().unwrap());
        Grade::new(Arc::new(Program::new(&[look], 1.0).unwrap()), icc.as_deref(), colours).unwrap()
    }

    fn row(values: &[&[f32]]) -> Band {
        let mut band = Band::new(0, values[0].len(), 1, values.len());
        values.iter().enumerate().for_each(|(c, v)| band.plane_mut(c).copy_from_slice(v));
        band
    }

    /// A look that changes next to nothing, so that what is left is the way there and back.
    const FAINT: &str = "[[op]]\ntype = \"exposure\"\nstops = 0.000001\n";

    #[test]
    fn wide_profiles_come_back() {
        for icc in [ColorProfile::new_display_p3(), ColorProfile::new_adobe_rgb(), ColorProfile::new_srgb()] {
            let s = stage(FAINT, Some(&icc), 3);
            assert!(!s.replaces_profile());
            let given = row(&[&[1.0, 0.0, 0.2], &[0.0, 1.0, 0.5], &[0.0, 0.1, 0.9], &[0.5, 0.0, 1.0]]);
            let got = s.grade(given.clone()).unwrap();
            for (g, w) in got.data.iter().zip(&given.data) {
                // A gamma without a linear toe turns the last bit of light beside black into this much.
                assert!((g - w).abs() < if *w == 0.0 { 2e-3 } else { 1e-4 }, "{g} {w}");
            }
        }
    }

    #[test]
    fn the_same_colour_is_graded_alike_in_every_profile() {
        // sRGB (0.8, 0.5, 0.3) in Display P3 is (0.768, 0.512, 0.333).
        let look = "[[op]]\ntype = \"saturation\"\namount = 1.3\n[[op]]\ntype = \"exposure\"\nstops = -0.5\n";
        let p3 = Profile::from_icc(&ColorProfile::new_display_p3().encode().unwrap()).unwrap().to_srgb().unwrap();
        let given = row(&[&[0.768], &[0.512], &[0.333]]);
        let there = p3.band(&given).unwrap();
        let in_p3 = p3.band(&stage(look, Some(&ColorProfile::new_display_p3()), 3).grade(given).unwrap()).unwrap();
        let in_srgb = stage(look, None, 3).grade(there).unwrap();
        for (a, b) in in_p3.data.iter().zip(&in_srgb.data) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn grey_stays_grey_unless_the_look_colours_it() {
        let s = stage("[[op]]\ntype = \"contrast\"\namount = 1.4\n", None, 1);
        assert_eq!((s.colours(), s.replaces_profile()), (1, false));
        let out = s.grade(row(&[&[0.2, 0.45, 0.9], &[1.0, 0.5, 0.0]])).unwrap();
        assert_eq!(out.channels, 2);
        assert!(out.plane(0)[0] < 0.19 && (out.plane(0)[1] - 0.45).abs() < 1e-5 && out.plane(0)[2] > 0.91);
        assert_eq!(out.plane(1), [1.0, 0.5, 0.0]);
        let s = stage("[[op]]\ntype = \"split_tone\"\nshadow_amount = 0.05\n", None, 1);
        assert_eq!((s.colours(), s.replaces_profile()), (3, true));
        assert_eq!(s.grade(row(&[&[0.2, 0.4], &[0.5, 1.0]])).unwrap().channels, 4);
        // A grey profile of its own is met again.
        let s = stage(FAINT, Some(&ColorProfile::new_gray_with_gamma(1.8)), 1);
        let out = s.grade(row(&[&[0.1, 0.5, 0.9]])).unwrap();
        assert!(out.data.iter().zip([0.1, 0.5, 0.9]).all(|(g, w)| (g - w).abs() < 1e-4), "{:?}", out.data);
    }
}
