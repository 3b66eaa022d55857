//! What detectors look at: the result, its source and a faithful enlargement, and the statistics they share, computed once.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use multiversion::multiversion;

use super::carried::{self, Carried};
use super::fold::Folded;
use super::plane::{Plane, Soft};
use super::reduce::reduce;
use super::residual::{self, Residual};
use super::texture::{self, Texture};
use crate::band::Band;
use crate::error::Result;
use crate::image::Image;
use crate::resample::Filter;

/// Reducing by area means.
pub const AREA: Filter = Filter::Box;

/// A picture as planes of display-encoded values, nominal 0..1. Where it is transparent, it lies on mid-grey.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// One plane (grey) or three.
    planes: Vec<Plane>,
}

impl Picture {
    /// An empty picture that [`Picture::push`] fills from the top.
    pub fn new(width: usize) -> Self {
        Self { width, height: 0, planes: Vec::new() }
    }

    /// The colours of a decoded picture.
    pub fn of(image: &Image) -> Self {
        let mut picture = Self::new(image.width);
        let mut y = 0;
        while y < image.height {
            let end = (y + 256).min(image.height);
            picture.push(&image.band(y, end, 0..image.channels.count()));
            y = end;
        }
        picture
    }

    /// From three planes of one size.
    pub fn from_planes(planes: [Plane; 3]) -> Self {
        Self { width: planes[0].width, height: planes[0].height, planes: planes.into() }
    }

    /// Appends rows; an even channel count has alpha last.
    pub fn push(&mut self, band: &Band) {
        let colours = if band.channels >= 3 { 3 } else { 1 };
        self.planes.resize_with(colours, || Plane { width: self.width, height: 0, data: Vec::new() });
        for c in 0..colours {
            let plane = &mut self.planes[c];
            plane.height += band.rows;
            if band.channels.is_multiple_of(2) {
                let over = |(v, a): (&f32, &f32)| 0.5 + (v - 0.5) * a.clamp(0.0, 1.0);
                plane.data.extend(band.plane(c).iter().zip(band.plane(band.channels - 1)).map(over));
            } else {
                plane.data.extend_from_slice(band.plane(c));
            }
            for v in plane.data.iter_mut().rev().take(band.rows * band.width) {
                *v = if v.is_finite() { v.clamp(0.0, 1.0) } else { 0.0 };
            }
        }
        self.height += band.rows;
    }

    /// Rows `y0..y1` of the colours.
    pub fn band(&self, y0: usize, y1: usize) -> Band {
        let span = y0 * self.width..y1 * self.width;
        let data = self.planes.iter().flat_map(|p| p.data[span.clone()].iter().copied()).collect();
        Band { y: y0, width: self.width, rows: y1 - y0, channels: self.planes.len(), data }
    }

    /// These rows as a picture of their own.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let span = rows.start * self.width..rows.end * self.width;
        let part = |p: &Plane| Plane { width: p.width, height: rows.len(), data: p.data[span.clone()].to_vec() };
        Self { width: self.width, height: rows.len(), planes: self.planes.iter().map(part).collect() }
    }

    /// Forgets the first `n` rows.
    pub fn drop_top(&mut self, n: usize) {
        for p in &mut self.planes {
            p.data.drain(..n * self.width);
            p.height -= n;
        }
        self.height -= n;
    }

    /// Red, green and blue in turn; all the same for a grey picture.
    pub fn channel(&self, c: usize) -> &Plane {
        &self.planes[c.min(self.planes.len() - 1)]
    }

    /// Whether there is one plane only.
    pub fn is_grey(&self) -> bool {
        self.planes.len() == 1
    }

    /// Luma of ITU-R BT.709 from the encoded values.
    pub fn luma(&self) -> Plane {
        if self.is_grey() {
            return self.planes[0].clone();
        }
        self.planes[0].zip3(&self.planes[1], &self.planes[2], |r, g, b| 0.2126 * r + 0.7152 * g + 0.0722 * b)
    }

    /// At another size.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for an empty size.
    pub fn resize(&self, width: usize, height: usize, filter: Filter) -> Result<Self> {
        let planes = self.planes.iter().map(|p| p.resize(width, height, filter)).collect::<Result<_>>()?;
        Ok(Self { width, height, planes })
    }
}

/// Tile joins of the enlargement, in output pixels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Joins {
    pub x: Vec<usize>,
    pub y: Vec<usize>,
}

/// Everything that is known about one picture under inspection. Detectors read; what several of them need is computed when
/// first asked for and kept.
#[derive(Debug, Default)]
pub struct Scene {
    pub result: Picture,
    /// The source, no larger than the result (else reduced to its size).
    pub source: Option<Picture>,
    /// A faithful enlargement of the source, of the result's size.
    pub faithful: Option<Picture>,
    /// Where tiles were joined, if that is known.
    pub joins: Option<Joins>,
    /// Result pixels per source pixel, along x; 1 without a source.
    pub scale: f32,
    luma: OnceLock<Plane>,
    source_luma: OnceLock<Plane>,
    faithful_luma: OnceLock<Plane>,
    reduced: OnceLock<Picture>,
    residual: OnceLock<Residual>,
    carried: OnceLock<Option<Carried>>,
    texture: OnceLock<Option<Texture>>,
    difference: OnceLock<Folded>,
    folded: OnceLock<Folded>,
    faithful_folded: OnceLock<Folded>,
}

/// How much the aspect ratios of result and source may differ: one source pixel in a hundred.
const ASPECT: f32 = 0.012;

impl Scene {
    /// A result alone.
    pub fn alone(result: Picture) -> Self {
        Self { result, scale: 1.0, ..Self::default() }
    }

    /// Whether places of a result match places of a source: both have about one aspect ratio.
    pub fn matches(result: &Picture, source: &Picture) -> bool {
        Self::sizes_match((result.width, result.height), (source.width, source.height))
    }

    /// The same for their sizes.
    pub fn sizes_match(result: (usize, usize), source: (usize, usize)) -> bool {
        let (sx, sy) = (result.0 as f32 / source.0 as f32, result.1 as f32 / source.1 as f32);
        let slack = ASPECT.max(1.5 / source.0.min(source.1) as f32);
        (sx / sy - 1.0).abs() <= slack
    }

    /// A result and its source; a source that is larger is reduced to the result's size.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] if the two differ in shape: one was cut, and positions no longer match.
    pub fn new(result: Picture, source: Picture) -> Result<Self> {
        let (w, h) = (result.width, result.height);
        let (sx, sy) = (w as f32 / source.width as f32, h as f32 / source.height as f32);
        if !Self::matches(&result, &source) {
            return Err(crate::Error::usage(
                format!("{w}x{h} px"),
                format!("its source has {}x{} px, another shape: it was cut, so places cannot be compared", source.width, source.height),
                "the source as it was enlarged, or no source",
            ));
        }
        let source = if sx < 1.0 || sy < 1.0 { source.resize(w, h, Filter::CatmullRom)? } else { source };
        Ok(Self { scale: (w as f32 / source.width as f32).max(1.0), result, source: Some(source), ..Self::default() })
    }

    /// Computes what most detectors share. Detectors run side by side: one that waits for what another computes would keep a thread
    /// idle, and a thread that is helping out in between must never come to wait for what it began itself.
    pub fn prepare(&self) {
        self.luma();
        self.source_luma();
        self.faithful_luma();
        self.residual();
        self.carried();
        self.texture();
        self.difference();
        self.faithful_folded();
        if self.faithful.is_none() {
            self.folded();
        }
    }

    /// Luma of the result.
    pub fn luma(&self) -> &Plane {
        self.luma.get_or_init(|| self.result.luma())
    }

    /// Luma of the source, at its size.
    pub fn source_luma(&self) -> Option<&Plane> {
        let source = self.source.as_ref()?;
        Some(self.source_luma.get_or_init(|| source.luma()))
    }

    /// Luma of the faithful enlargement.
    pub fn faithful_luma(&self) -> Option<&Plane> {
        let faithful = self.faithful.as_ref()?;
        Some(self.faithful_luma.get_or_init(|| faithful.luma()))
    }

    /// The result at the source's size, by area means of what a small Gaussian leaves (a mild prefilter, so that no kernel's
    /// aliasing is mistaken for a difference).
    pub fn reduced(&self) -> Option<&Picture> {
        let source = self.source.as_ref()?;
        Some(self.reduced.get_or_init(|| {
            let sigma = if self.scale > 1.5 { 0.3 * self.scale } else { 0.0 };
            let small = |p: &Plane| reduce(p, sigma, source.width, source.height);
            let planes = self.result.planes.iter().map(small).collect();
            Picture { width: source.width, height: source.height, planes }
        }))
    }

    /// What a fit of the reduced result to the source leaves; see [`residual`].
    pub fn residual(&self) -> Option<&Residual> {
        let (source, reduced) = (self.source_luma()?, self.reduced()?);
        Some(self.residual.get_or_init(|| residual::fit(source, &reduced.luma())))
    }

    /// How strongly the result carries what the source holds; None without one, or if there is too little to judge.
    pub fn carried(&self) -> Option<&Carried> {
        let (source, reduced) = (self.source_luma()?, self.reduced()?);
        self.carried.get_or_init(|| carried::measure(&reduced.luma(), source)).as_ref()
    }

    /// Detail against the faithful enlargement; None without one, or if there is too little detail.
    pub fn texture(&self) -> Option<&Texture> {
        let faithful = self.faithful_luma()?;
        self.texture.get_or_init(|| texture::measure(self.luma(), faithful)).as_ref()
    }

    /// The result on a common contrast as [`normalised`], folded.
    pub fn folded(&self) -> &Folded {
        self.folded.get_or_init(|| fold(self.luma()))
    }

    /// [`Scene::folded`], of which only blocks are wanted for which `needed` holds.
    pub fn folded_where(&self, needed: impl Fn(usize, usize) -> bool) -> Cow<'_, Folded> {
        match self.folded.get() {
            Some(whole) => Cow::Borrowed(whole),
            None => {
                let y = self.luma();
                Cow::Owned(Folded::where_needed((y.width, y.height), MARGIN, needed, |tile| normalised(&tile.cut(y))))
            }
        }
    }

    /// The faithful enlargement on a common contrast, folded: what is drawn with a period.
    pub fn faithful_folded(&self) -> Option<&Folded> {
        let faithful = self.faithful_luma()?;
        Some(self.faithful_folded.get_or_init(|| fold(faithful)))
    }

    /// Result minus faithful enlargement, on a common contrast as [`normalised`], folded.
    pub fn difference(&self) -> Option<&Folded> {
        let faithful = self.faithful_luma()?;
        Some(self.difference.get_or_init(|| {
            let result = self.luma();
            Folded::new((result.width, result.height), MARGIN, |tile| normalised(&tile.zip(result, faithful, |c, f| c - f)))
        }))
    }
}

fn fold(y: &Plane) -> Folded {
    Folded::new((y.width, y.height), MARGIN, |tile| normalised(&tile.cut(y)))
}

/// Pixels around a place that [`normalised`] looks at.
pub const MARGIN: usize = 9;

/// Fine structure on a common scale: `clip((Y - G2 Y) / (sqrt(variance under G3) + 0.01), -2, 2)`.
pub fn normalised(y: &Plane) -> Plane {
    let square = y.map(|v| v * v);
    let mut out = Plane::unset(y.width, y.height);
    let rows = || [(2.0, y), (3.0, y), (3.0, &square)].map(|(sigma, p)| (p, Soft::new(sigma), vec![0.0f32; y.width]));
    out.fill(rows, |rows, r, out| {
        for (p, soft, row) in rows.iter_mut() {
            soft.row(p, r, row);
        }
        let [soft, mean, square] = rows.each_ref().map(|(_, _, row)| row.as_slice());
        normalise([y.row(r), soft, mean, square], out);
    });
    out
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn normalise(rows: [&[f32]; 4], out: &mut [f32]) {
    let n = out.len();
    let [y, soft, mean, square] = rows.map(|r| &r[..n]);
    for i in 0..n {
        let variance = square[i] - mean[i] * mean[i];
        let spread = if variance > 0.0 { variance.sqrt() } else { 0.0 };
        out[i] = ((y[i] - soft[i]) / (spread + 0.01)).clamp(-2.0, 2.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize) -> Picture {
        let mut p = Picture::new(width);
        p.push(&Band::new(0, width, height, 1));
        p
    }

    #[test]
    fn transparent_pixels_lie_on_grey() {
        let mut band = Band::new(0, 2, 1, 4);
        band.plane_mut(0).copy_from_slice(&[1.0, 1.0]);
        band.plane_mut(3).copy_from_slice(&[1.0, 0.0]);
        let mut p = Picture::new(2);
        p.push(&band);
        assert_eq!((p.channel(0).data.as_slice(), p.channel(2).data.as_slice()), ([1.0, 0.5].as_slice(), [0.0, 0.5].as_slice()));
        assert!((p.luma().data[0] - 0.2126).abs() < 1e-6);
    }

    #[test]
    fn a_source_of_another_shape_is_refused_and_a_larger_one_reduced() {
        assert!(Scene::new(grey(400, 400), grey(100, 90)).unwrap_err().to_string().contains("100x90"));
        assert_eq!(Scene::new(grey(401, 300), grey(100, 75)).unwrap().scale, 4.01);
        let s = Scene::new(grey(40, 30), grey(100, 75)).unwrap();
        assert_eq!((s.source.unwrap().width, s.scale), (40, 1.0));
    }
}
