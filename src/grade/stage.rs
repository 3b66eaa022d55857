//! Grading as a step of the pipeline: from the picture's own colour space into the one that looks work in, and back.

use std::sync::Arc;

use super::grading::{Grading, Piece, Stretch};
use super::kernel::weigh;
use super::op::Op;
use super::spatial::{Frame, Spatial};
use crate::band::{Band, Sink, Stage};
use crate::color::{Kind, Profile, ToSrgb, Transfer};
use crate::error::{Error, Result};
use crate::flow::{Chain, Fork};

/// Grades bands; alpha passes as it is.
///
/// Pictures with a matrix profile (Display P3, Adobe RGB, ProPhoto) are converted to extended-range sRGB, graded, and converted
/// back; colours that sRGB cannot show are kept as numbers outside of 0..1 (a LUT that is no match brings them to its edge). Pictures whose profile is made of tables, and grey
/// ones that the look colours, become sRGB; [`Grade::replaces_profile`] says so.
pub struct Grade {
    chain: Chain<'static>,
    /// Colour channels that come in, and that go out: 1 or 3.
    channels: (usize, usize),
    replaces_profile: bool,
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
    /// A step for pictures of `colours` (1 or 3) colour channels, with alpha or not, and this ICC profile; without one, or with
    /// one that cannot be read, values are taken as sRGB.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a profile that there is no way from.
    pub fn new(grading: &Grading, icc: Option<&[u8]>, colours: usize, alpha: bool, frame: Frame) -> Result<Self> {
        let neutral = |p: &Piece| match p {
            Piece::Colour(program) => program.keeps_neutrals(),
            // Nobody knows what a user's filter does to greys.
            piece => !piece.needs_gpu(),
        };
        let unable = |s: &Stretch| s.pass.is_none() && grading.pieces()[s.pieces.clone()].iter().any(Piece::needs_gpu);
        if grading.stretches().iter().any(unable) {
            return Err(Error::device("cpu", "the look has a filter in WGSL, which needs a graphics card", "--grade-device gpu"));
        }
        let out = if colours == 1 && grading.pieces().iter().all(neutral) { 1 } else { 3 };
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
        let replaces_profile = matches!(way, Way::Tables(_)) || colours != out;
        let way = Arc::new(way);
        let mut chain = Chain::new();
        chain.then(Each({
            let way = Arc::clone(&way);
            move |band| enter(&way, band, colours)
        }));
        let all = 3 + usize::from(alpha);
        if let [Stretch { pass: Some(_), .. }] = grading.stretches() {
            chain.then(pieces(grading, frame, grading.strength()));
        } else if grading.strength() < 1.0 {
            let share = grading.strength();
            let graded = pieces(grading, frame, 1.0);
            chain.then(Fork::new(vec![(0..all, Chain::new()), (0..all, graded)], move |parts| {
                let mut out = parts[0].clone();
                let n = 3 * out.rows * out.width;
                out.data[..n].iter_mut().zip(&parts[1].data).for_each(|(o, g)| *o += (g - *o) * share);
                out
            }));
        } else {
            chain.then(pieces(grading, frame, 1.0));
        }
        chain.then(Each(move |band| Ok(leave(&way, band, out))));
        Ok(Self { chain, channels: (colours, out), replaces_profile })
    }

    /// Colour channels of the result, 1 or 3.
    pub fn colours(&self) -> usize {
        self.channels.1
    }

    /// Whether the result is sRGB although the picture has another profile, which must then not be written.
    pub fn replaces_profile(&self) -> bool {
        self.replaces_profile
    }
}

impl Stage for Grade {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        self.chain.push(band, next)
    }

    fn finish(&mut self, next: &mut Sink<'_>) -> Result<()> {
        self.chain.finish(next)
    }
}

/// A step that changes band by band.
struct Each<F>(F);

impl<F: FnMut(Band) -> Result<Band> + Send> Stage for Each<F> {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        let band = self.0(band)?;
        next(band)
    }

    fn finish(&mut self, _next: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }
}

/// All operations, on three channels of encoded sRGB and maybe alpha. A strength below 1 is for what runs as one stretch on a
/// device.
fn pieces(grading: &Grading, frame: Frame, strength: f32) -> Chain<'static> {
    let mut chain = Chain::new();
    for stretch in grading.stretches() {
        let all = Arc::clone(grading.pieces());
        match stretch.pass.clone() {
            None => stretch.pieces.clone().for_each(|i| piece(&mut chain, &all, i, frame)),
            Some(pass) => {
                let range = stretch.pieces.clone();
                chain.then(Each(move |mut band: Band| {
                    if !pass.run(&frame, strength, &mut band)? {
                        on_processor(&all[range.clone()], &frame, strength, &mut band);
                    }
                    numbers(&all[range.clone()], &band)?;
                    Ok(band)
                }));
            }
        }
    }
    chain
}

/// Refuses what a user's formula has made of colours when it is no number: an encoder would only say that there is such a value.
fn numbers(pieces: &[Piece], band: &Band) -> Result<()> {
    let file = pieces.iter().find_map(|p| match p {
        Piece::Spatial(step) => match &step.op {
            Op::Filter(filter) => Some(filter.file()),
            _ => None,
        },
        Piece::Colour(_) => None,
    });
    let Some(file) = file else { return Ok(()) };
    let n = band.rows * band.width;
    match band.data[..3 * n].iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => {
            let (x, y) = (i % n % band.width, band.y + i % n / band.width);
            let what = format!("gives something that is no number (NaN or infinity) at pixel {x}, {y}");
            Err(Error::quality(file, what, "guard roots, logarithms and divisions: sqrt(max(v, 0.0)), a / max(b, 1e-6)"))
        }
    }
}

/// One piece on the processor.
fn piece(chain: &mut Chain<'static>, all: &Arc<[Piece]>, i: usize, frame: Frame) {
    match &all[i] {
        Piece::Spatial(step) => {
            if let Some(op) = step.op.spatial() {
                chain.then(Spatial::new(op, step.place.mask(), frame));
            }
        }
        Piece::Colour(_) => {
            let all = Arc::clone(all);
            chain.then(Each(move |mut band: Band| {
                on_processor(&all[i..=i], &frame, 1.0, &mut band);
                Ok(band)
            }));
        }
    }
}

/// Pieces that look at no neighbours, on the processor.
fn on_processor(pieces: &[Piece], frame: &Frame, strength: f32, band: &mut Band) {
    let given = (strength < 1.0).then(|| band.clone());
    let n = band.rows * band.width;
    for piece in pieces {
        match piece {
            Piece::Colour(program) => {
                let (r, rest) = band.data.split_at_mut(n);
                let (g, rest) = rest.split_at_mut(n);
                program.run(r, g, &mut rest[..n]);
            }
            Piece::Spatial(step) => {
                if let Some(op) = step.op.spatial() {
                    let before = band.clone();
                    op.apply(frame, &before, band);
                    weigh(&step.place.mask(), &before, band);
                }
            }
        }
    }
    if let Some(given) = given {
        band.data[..3 * n].iter_mut().zip(&given.data).for_each(|(v, g)| *v = g + (*v - g) * strength);
    }
}

/// A picture's values as three channels of encoded sRGB.
fn enter(way: &Way, band: Band, colours: usize) -> Result<Band> {
    let mut work = match way {
        Way::Tables(to) => to.band(&band)?,
        _ if colours == 3 => band,
        way => spread(band, |plane| {
            if let Way::Grey(curve) = way {
                curve.linear(plane);
                Transfer::srgb().encoded(plane);
            }
        }),
    };
    if let Way::Matrix { curves, to, .. } = way {
        (0..3).for_each(|c| curves[c].linear(work.plane_mut(c)));
        mix(&mut work, to);
        (0..3).for_each(|c| Transfer::srgb().encoded(work.plane_mut(c)));
    }
    Ok(work)
}

/// And back, as far as there is a way.
fn leave(way: &Way, mut work: Band, out: usize) -> Band {
    if let Way::Matrix { curves, back, .. } = way {
        (0..3).for_each(|c| Transfer::srgb().linear(work.plane_mut(c)));
        mix(&mut work, back);
        (0..3).for_each(|c| curves[c].encoded(work.plane_mut(c)));
    }
    if out == 3 {
        return work;
    }
    let alpha = work.channels - 3;
    let mut grey = Band::new(work.y, work.width, work.rows, 1 + alpha);
    grey.plane_mut(0).copy_from_slice(work.plane(1));
    if let Way::Grey(curve) = way {
        Transfer::srgb().linear(grey.plane_mut(0));
        curve.encoded(grey.plane_mut(0));
    }
    if alpha == 1 {
        grey.plane_mut(1).copy_from_slice(work.plane(3));
    }
    grey
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
        let grading = Grading::new(&[look], 1.0).unwrap().unwrap();
        Grade::new(&grading, icc.as_deref(), colours, false, Frame { width: 4, height: 1, bits: 8, seed: 0 }).unwrap()
    }

    fn graded(mut stage: Grade, band: Band) -> Band {
        let mut out = None;
        let mut sink = |b: Band| {
            out = Some(b);
            Ok(())
        };
        stage.push(band, &mut sink).unwrap();
        stage.finish(&mut sink).unwrap();
        out.unwrap()
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
            let got = graded(s, given.clone());
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
        let in_p3 = p3.band(&graded(stage(look, Some(&ColorProfile::new_display_p3()), 3), given)).unwrap();
        let in_srgb = graded(stage(look, None, 3), there);
        for (a, b) in in_p3.data.iter().zip(&in_srgb.data) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn grey_stays_grey_unless_the_look_colours_it() {
        let s = stage("[[op]]\ntype = \"contrast\"\namount = 1.4\n", None, 1);
        assert_eq!((s.colours(), s.replaces_profile()), (1, false));
        let out = graded(s, row(&[&[0.2, 0.45, 0.9], &[1.0, 0.5, 0.0]]));
        assert_eq!(out.channels, 2);
        assert!(out.plane(0)[0] < 0.19 && (out.plane(0)[1] - 0.45).abs() < 1e-5 && out.plane(0)[2] > 0.91);
        assert_eq!(out.plane(1), [1.0, 0.5, 0.0]);
        let s = stage("[[op]]\ntype = \"split_tone\"\nshadow_amount = 0.05\n", None, 1);
        assert_eq!((s.colours(), s.replaces_profile()), (3, true));
        assert_eq!(graded(s, row(&[&[0.2, 0.4], &[0.5, 1.0]])).channels, 4);
        // A grey profile of its own is met again.
        let s = stage(FAINT, Some(&ColorProfile::new_gray_with_gamma(1.8)), 1);
        let out = graded(s, row(&[&[0.1, 0.5, 0.9]]));
        assert!(out.data.iter().zip([0.1, 0.5, 0.9]).all(|(g, w)| (g - w).abs() < 1e-4), "{:?}", out.data);
    }
}
