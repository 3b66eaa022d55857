//! What the page shows of a picture: square tiles of every side at halved sizes, all in the result's geometry, and thumbnails.

use std::path::Path;

use super::picture::{Cache, Shown};
use super::verdicts::replace;
use super::{Picture, Review};
use crate::batch::journal::STATE;
use crate::error::{Error, Result};

/// Pixels along the edge of a tile.
pub const TILE: usize = 512;
/// Longer side of a thumbnail, pixels.
const THUMBNAIL: usize = 360;
/// Levels halve the size; no picture has more.
const LEVELS: u32 = 20;

/// What lies in one picture's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side<'a> {
    /// Enlarged to the result's size by Catmull-Rom.
    Source,
    Result,
    Repair,
    /// The map of this detector, coloured.
    Heat(&'a str),
}

impl<'a> Side<'a> {
    /// `source`, `result`, `repair` or `heat-DETECTOR`.
    pub fn parse(name: &'a str) -> Option<Self> {
        match name {
            "source" => Some(Self::Source),
            "result" => Some(Self::Result),
            "repair" => Some(Self::Repair),
            _ => name.strip_prefix("heat-").map(Self::Heat),
        }
    }
}

/// Makes tiles of one review's pictures.
#[derive(Debug)]
pub struct Tiler {
    cache: Cache,
}

impl Tiler {
    /// Decoded pictures may take this many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { cache: Cache::new(bytes) }
    }

    /// Tile `column`, `row` at half the result's size `level` times, as PNG.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such side or tile; whatever is wrong with the file.
    pub fn tile(&self, p: &Picture, side: Side<'_>, level: u32, column: usize, row: usize) -> Result<Vec<u8>> {
        let none = || Error::usage(&p.name, format!("no tile {column},{row} at level {level}"), "");
        let span = TILE.checked_shl(level).filter(|_| level < LEVELS).ok_or_else(none)?;
        let (x, y) = (column.checked_mul(span).ok_or_else(none)?, row.checked_mul(span).ok_or_else(none)?);
        if x >= p.width || y >= p.height {
            return Err(none());
        }
        let area = [x, y, span.min(p.width - x), span.min(p.height - y)];
        self.cut(p, side, area, (area[2].div_ceil(1 << level), area[3].div_ceil(1 << level)))?.plain_png()
    }

    /// A part of the result's geometry (left, top, width, height) at any size.
    pub fn cut(&self, p: &Picture, side: Side<'_>, area: [usize; 4], size: (usize, usize)) -> Result<Shown> {
        let none = || Error::usage(&p.name, format!("it has no {side:?}"), "");
        let path: &Path = match side {
            Side::Source => &p.source.as_ref().ok_or_else(none)?.path,
            Side::Result => &p.path,
            Side::Repair => p.repair.as_deref().ok_or_else(none)?,
            Side::Heat(d) => p.heat.get(d).ok_or_else(none)?,
        };
        let picture = self.cache.get(path)?;
        let shown = match (side, &p.source) {
            (Side::Source, Some(s)) => s.shown,
            _ => [0.0, 0.0, picture.width as f64, picture.height as f64],
        };
        let along = |at: usize, all: usize, from: f64, of: f64| from + at as f64 * of / all as f64;
        let from = [
            along(area[0], p.width, shown[0], shown[2]),
            along(area[1], p.height, shown[1], shown[3]),
            area[2] as f64 * shown[2] / p.width as f64,
            area[3] as f64 * shown[3] / p.height as f64,
        ];
        let cut = picture.cut(from, size.0, size.1)?;
        Ok(if matches!(side, Side::Heat(_)) { cut.glow() } else { cut })
    }

    /// The whole of a side in the result's geometry, at most `side` pixels long.
    pub fn whole(&self, p: &Picture, which: Side<'_>, side: usize) -> Result<Shown> {
        let factor = (side as f64 / p.width.max(p.height) as f64).min(1.0);
        let part = |n: usize| ((n as f64 * factor).round() as usize).max(1);
        self.cut(p, which, [0, 0, p.width, p.height], (part(p.width), part(p.height)))
    }

    /// The result, small, as JPEG; kept beside the journal for the next time.
    pub fn thumbnail(&self, review: &Review, p: &Picture) -> Result<Vec<u8>> {
        let kept = review.root.join(STATE).join("thumbs").join(format!("{}.jpg", p.sha256));
        if !review.compare
            && let Ok(bytes) = std::fs::read(&kept)
        {
            return Ok(bytes);
        }
        // A pass over all thumbnails must not push out what is being looked at.
        let picture = match self.cache.peek(&p.path) {
            Some(shown) => shown,
            None => Shown::load(&p.path)?.into(),
        };
        let jpeg = small(&picture, THUMBNAIL)?.jpeg()?;
        if !review.compare {
            // A folder that cannot be written only makes the next time slower.
            let _ = replace(&kept, &jpeg);
        }
        Ok(jpeg)
    }
}

/// The whole picture with its longer side at most `side` pixels.
pub fn small(picture: &Shown, side: usize) -> Result<Shown> {
    let factor = (side as f64 / picture.width.max(picture.height) as f64).min(1.0);
    let part = |n: usize| ((n as f64 * factor).round() as usize).max(1);
    // Means first, so that a huge picture is not turned to floats whole.
    let halves = ((1.0 / factor / 2.0).floor() as usize).max(1);
    let (w, h) = (picture.width / halves, picture.height / halves);
    if halves > 1 && w > 0 && h > 0 {
        let reduced = picture.cut([0.0, 0.0, (w * halves) as f64, (h * halves) as f64], w, h)?;
        return reduced.cut([0.0, 0.0, w as f64, h as f64], part(picture.width), part(picture.height));
    }
    picture.cut([0.0, 0.0, picture.width as f64, picture.height as f64], part(picture.width), part(picture.height))
}
