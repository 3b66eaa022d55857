//! A logo laid over a picture: in linear light at its edges, untouched where it is opaque.

use std::path::Path;

use crate::band::Band;
use crate::brand::kit::{Corner, Logo};
use crate::brand::vector::Drawing;
use crate::codec::{self, Limits};
use crate::color::{ColourSpace, Conversion, Profile, Transfer};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::resample::{Filter, Scaler};

/// A logo file.
#[derive(Debug, Clone)]
pub struct Mark {
    art: Art,
    /// Mean luminance of what is not clear, 0..1.
    luminance: f32,
}

#[derive(Debug, Clone)]
enum Art {
    /// R, G and B times alpha as linear light, and alpha.
    Pixels(Band),
    Drawing(Drawing),
}

impl Mark {
    /// Reads a PNG or an SVG.
    ///
    /// # Errors
    /// What is wrong with the file; [`Error::Input`] if there is nothing in it.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("svg")) {
            let drawing = Drawing::parse(path, &bytes)?;
            let (w, h) = drawing.size();
            let scale = 256.0 / w.max(h) as f64;
            let side = |v: usize| ((v as f64 * scale).round() as usize).max(1);
            let luminance = mean_luminance(path, &drawing.draw(side(w), side(h))?)?;
            return Ok(Self { art: Art::Drawing(drawing), luminance });
        }
        Self::of(path, &codec::decode(path, &bytes, &Limits::default())?)
    }

    fn of(path: &Path, image: &Image) -> Result<Self> {
        let mut colour = image.colour(0, image.height);
        if let Some(icc) = image.metadata.icc.as_deref() {
            colour = Profile::from_icc(icc)?.to_srgb()?.band(&colour)?;
        }
        let alpha = image.alpha(0, image.height);
        let mut pixels = Band::new(0, image.width, image.height, 4);
        match &alpha {
            Some(a) => pixels.plane_mut(3).copy_from_slice(&a.data),
            None => pixels.plane_mut(3).fill(1.0),
        }
        for c in 0..3 {
            let plane = pixels.plane_mut(c);
            plane.copy_from_slice(colour.plane(if colour.channels == 1 { 0 } else { c }));
            Transfer::srgb().linear(plane);
            if let Some(a) = &alpha {
                plane.iter_mut().zip(&a.data).for_each(|(v, a)| *v *= a);
            }
        }
        let luminance = mean_luminance(path, &pixels)?;
        Ok(Self { art: Art::Pixels(pixels), luminance })
    }

    /// Width and height of its file; of a drawing, which may be as large as one likes, a large one.
    pub fn size(&self) -> (usize, usize) {
        match &self.art {
            Art::Pixels(pixels) => (pixels.width, pixels.rows),
            Art::Drawing(drawing) => drawing.size(),
        }
    }

    /// It at this size, by means over areas in linear light, which overshoot nothing.
    fn scaled(&self, width: usize, height: usize) -> Result<Band> {
        match &self.art {
            Art::Pixels(pixels) => Scaler::new(pixels.width, pixels.rows, width, height, Filter::Box, None)?.rows(pixels, 0..height),
            Art::Drawing(drawing) => drawing.draw(width, height),
        }
    }
}

/// Of what is not clear.
fn mean_luminance(path: &Path, pixels: &Band) -> Result<f32> {
    let cover: f64 = pixels.plane(3).iter().map(|a| f64::from(*a)).sum();
    if cover < 1.0 {
        return Err(Error::input(path, "the logo is clear everywhere", "export it again, with what it shows"));
    }
    let n = pixels.width * pixels.rows;
    let light: f64 = (0..n).map(|i| f64::from(luminance([0, 1, 2].map(|c| pixels.plane(c)[i])))).sum();
    Ok((light / cover) as f32)
}

/// Rec. 709 luminance of linear light.
fn luminance([r, g, b]: [f32; 3]) -> f32 {
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Contrast ratio of two luminances (WCAG 2.2).
fn contrast(a: f32, b: f32) -> f32 {
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Where a logo goes, in pixels of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// Finds the place of a logo with these proportions in a picture; `None` if there is no room for its least width and its
/// clear space. A logo of pixels is never enlarged beyond its file.
pub fn place(rules: &Logo, logo: (usize, usize), picture: (usize, usize)) -> Option<Place> {
    let (w, h) = (picture.0 as f64, picture.1 as f64);
    let ratio = logo.1 as f64 / logo.0 as f64;
    let width = (rules.width * w.min(h)).min(logo.0 as f64).round();
    let height = (width * ratio).round().max(1.0);
    let clear = (rules.clear * height).round();
    if (width as usize) < rules.min_px.max(1) || width + 2.0 * clear > w || height + 2.0 * clear > h {
        return None;
    }
    let (right, below) = ((w - clear - width) as usize, (h - clear - height) as usize);
    let (x, y) = match rules.corner {
        Corner::TopLeft => (clear as usize, clear as usize),
        Corner::TopRight => (right, clear as usize),
        Corner::BottomLeft => (clear as usize, below),
        Corner::BottomRight => (right, below),
    };
    Some(Place { x, y, width: width as usize, height: height as usize })
}

/// The one of several marks with most contrast to the mean luminance under it.
pub fn choose(marks: &[Mark], under: f32) -> Option<&Mark> {
    marks.iter().reduce(|best, m| if contrast(m.luminance, under) > contrast(best.luminance, under) { m } else { best })
}

/// A logo at its final size, laid over rows as they go by.
#[derive(Debug)]
pub struct Overlay {
    place: Place,
    /// Premultiplied linear light of the result's colour space.
    mark: Band,
    /// Of the result.
    transfer: Transfer,
}

impl Overlay {
    /// Brings a logo to its size and into the colour space of the result.
    ///
    /// # Errors
    /// [`Error::Limit`] for absurd sizes, [`Error::Usage`] for a colour space that nothing can be converted to.
    pub fn new(mark: &Mark, place: Place, to: &ColourSpace) -> Result<Self> {
        let mut mark = mark.scaled(place.width, place.height)?;
        let mut transfer = Transfer::srgb();
        if let Some(conversion) = Conversion::new(None, to)? {
            transfer = Profile::from_icc(&to.icc()?)?.transfer_or_srgb();
            let alpha = mark.plane(3).to_vec();
            let each = |mark: &mut Band, change: &dyn Fn(&mut f32, f32)| {
                (0..3).for_each(|c| mark.plane_mut(c).iter_mut().zip(&alpha).for_each(|(v, a)| change(v, *a)));
            };
            each(&mut mark, &|v, a| *v = if a > 0.0 { *v / a } else { 0.0 });
            (0..3).for_each(|c| Transfer::srgb().encoded(mark.plane_mut(c)));
            mark = conversion.band(&mark)?;
            (0..3).for_each(|c| transfer.linear(mark.plane_mut(c)));
            each(&mut mark, &|v, a| *v *= a);
        }
        Ok(Self { place, mark, transfer })
    }

    /// Lays the logo over rows of the result: 3 or 4 channels, encoded in its colour space.
    pub fn apply(&self, band: &mut Band) {
        let Place { x, y, width, height } = self.place;
        let rows = band.y.max(y)..band.end().min(y + height);
        let curve = &self.transfer;
        for row in rows {
            let (from, to) = (row - y, row - band.y);
            let alpha = self.mark.row(3, from).to_vec();
            // Under a clear picture lies nothing: what is blended with is weighted by the picture's own alpha.
            let below: Vec<f32> = match band.channels {
                4 => band.row(3, to)[x..x + width].to_vec(),
                _ => vec![1.0; width],
            };
            let total: Vec<f32> = alpha.iter().zip(&below).map(|(a, b)| a + b * (1.0 - a)).collect();
            for c in 0..3 {
                let mut light = band.row(c, to)[x..x + width].to_vec();
                curve.linear(&mut light);
                for (i, v) in light.iter_mut().enumerate() {
                    let mixed = self.mark.row(c, from)[i] + *v * below[i] * (1.0 - alpha[i]);
                    *v = if total[i] > 0.0 { mixed / total[i] } else { 0.0 };
                }
                curve.encoded(&mut light);
                for ((out, v), a) in band.row_mut(c, to)[x..x + width].iter_mut().zip(&light).zip(&alpha) {
                    if *a > 0.0 {
                        *out = *v;
                    }
                }
            }
            if band.channels == 4 {
                band.row_mut(3, to)[x..x + width].copy_from_slice(&total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Channels, Samples};

    fn rules(corner: Corner) -> Logo {
        Logo { file: "l.png".into(), variant: None, corner, width: 0.25, min_px: 20, clear: 0.5 }
    }

    fn mark(colour: [u8; 3]) -> Mark {
        // A disc of 100 x 100 pixels with an edge one pixel wide.
        let mut samples = Vec::new();
        for y in 0..100 {
            for x in 0..100 {
                let r = (x as f32 - 49.5).hypot(y as f32 - 49.5);
                samples.extend(colour);
                samples.push(((45.5 - r).clamp(0.0, 1.0) * 255.0) as u8);
            }
        }
        let image = Image {
            width: 100,
            height: 100,
            channels: Channels::Rgba,
            samples: Samples::U8(samples),
            format: codec::Format::Png,
            metadata: codec::Metadata::default(),
            notes: vec![],
        };
        Mark::of(Path::new("l.png"), &image).unwrap()
    }

    #[test]
    fn corners_clear_space_and_least_size() {
        let at = |corner, picture| place(&rules(corner), (200, 100), picture);
        assert_eq!(at(Corner::TopLeft, (400, 800)), Some(Place { x: 25, y: 25, width: 100, height: 50 }));
        assert_eq!(at(Corner::BottomRight, (400, 800)), Some(Place { x: 275, y: 725, width: 100, height: 50 }));
        assert_eq!(at(Corner::TopRight, (400, 800)).map(|p| (p.x, p.y)), Some((275, 25)));
        assert_eq!(at(Corner::BottomLeft, (400, 800)).map(|p| (p.x, p.y)), Some((25, 725)));
        assert_eq!(at(Corner::BottomLeft, (4000, 8000)).map(|p| p.width), Some(200), "never enlarged");
        assert_eq!(at(Corner::TopLeft, (60, 60)), None, "15 px are less than 20");
        assert_eq!(at(Corner::TopLeft, (4000, 40)), None);
    }

    #[test]
    fn the_core_keeps_its_colour_and_the_edge_is_blended_in_light() {
        for colour in [[208, 16, 58], [255, 255, 255], [1, 2, 3], [17, 200, 254]] {
            for size in [100, 61, 33] {
                let overlay = Overlay::new(&mark(colour), Place { x: 3, y: 5, width: size, height: size }, &ColourSpace::Srgb).unwrap();
                let mut band = Band { data: vec![0.5; 3 * 110 * 110], ..Band::new(0, 110, 110, 3) };
                // Row by row is the same as at once.
                let mut parts = band.clone();
                overlay.apply(&mut band);
                for y in 0..110 {
                    let mut row = parts.slice(y, y + 1);
                    overlay.apply(&mut row);
                    (0..3).for_each(|c| parts.row_mut(c, y).copy_from_slice(row.row(c, 0)));
                }
                assert_eq!(band, parts);
                let level = |x: usize, y: usize| [0, 1, 2].map(|c| (band.row(c, y)[x] * 255.0).round() as u8);
                for y in 0..size {
                    for x in 0..size {
                        let a = overlay.mark.row(3, y)[x];
                        if a > 0.9999 {
                            assert_eq!(level(x + 3, y + 5), colour, "{size} {x} {y}");
                        } else if a == 0.0 {
                            assert_eq!(band.row(0, y + 5)[x + 3], 0.5);
                        } else {
                            let light = |v: f64| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
                            let want = light(f64::from(colour[0]) / 255.0) * f64::from(a) + light(0.5) * (1.0 - f64::from(a));
                            let got = light(f64::from(band.row(0, y + 5)[x + 3]));
                            assert!((got - want).abs() < 2e-5, "{got} {want}");
                        }
                    }
                }
                assert_eq!(level(1, 1), [128; 3], "outside nothing changes");
            }
        }
    }

    #[test]
    fn over_a_clear_picture_the_logo_brings_its_own_alpha() {
        let overlay = Overlay::new(&mark([10, 20, 30]), Place { x: 0, y: 0, width: 100, height: 100 }, &ColourSpace::Srgb).unwrap();
        let mut band = Band::new(0, 100, 100, 4);
        overlay.apply(&mut band);
        assert_eq!(band.row(3, 0)[0], 0.0);
        assert!((band.row(3, 50)[50] - 1.0).abs() < 1e-6 && (band.row(0, 50)[50] * 255.0 - 10.0).abs() < 0.01);
    }

    #[test]
    fn the_variant_that_stands_out_is_taken() {
        let marks = [mark([250; 3]), mark([10; 3])];
        assert_eq!(choose(&marks, 0.02).map(|m| m.luminance > 0.5), Some(true));
        assert_eq!(choose(&marks, 0.8).map(|m| m.luminance > 0.5), Some(false));
        assert!(choose(&[], 0.5).is_none());
    }
}
