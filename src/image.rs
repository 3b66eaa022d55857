//! Pixels at rest: a decoded image at its stored depth, with colour space, alpha and metadata.

use crate::band::Band;
use crate::codec::{Format, Metadata};

/// Which channels are there, in storage order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channels {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
}

impl Channels {
    /// Channels with alpha counted.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    /// Channels without alpha: 1 or 3.
    pub fn colours(self) -> usize {
        match self {
            Self::Grey | Self::GreyAlpha => 1,
            Self::Rgb | Self::Rgba => 3,
        }
    }

    /// Whether the last channel is alpha.
    pub fn has_alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }

    /// The layout with `colours` (1 or 3) colour channels and maybe alpha.
    pub fn of(colours: usize, alpha: bool) -> Self {
        match (colours, alpha) {
            (1, false) => Self::Grey,
            (1, true) => Self::GreyAlpha,
            (_, false) => Self::Rgb,
            (_, true) => Self::Rgba,
        }
    }
}

/// Interleaved samples as stored, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// 0..=255 stands for 0..1.
    U8(Vec<u8>),
    /// 0..=65535 stands for 0..1.
    U16(Vec<u16>),
    /// Nominal 0..1, linear light unless the metadata's profile says otherwise; may exceed the range.
    F32(Vec<f32>),
}

/// A decoded picture. EXIF orientation is already applied (and `metadata` says 1); palettes are expanded.
#[derive(Debug, Clone)]
pub struct Image {
    pub width: usize,
    pub height: usize,
    pub channels: Channels,
    pub samples: Samples,
    /// The container it came from.
    pub format: Format,
    pub metadata: Metadata,
    /// What the decoder had to do or could not keep, one plain sentence each ("CMYK converted to sRGB").
    pub notes: Vec<String>,
}

impl Image {
    /// Rows `y0..y1` as a band with the given channels (indices into the stored order), values 0..1 for integer samples.
    pub fn band(&self, y0: usize, y1: usize, pick: std::ops::Range<usize>) -> Band {
        let n = self.channels.count();
        let mut out = Band::new(y0, self.width, y1 - y0, pick.len());
        let span = y0 * self.width * n..y1 * self.width * n;
        match &self.samples {
            Samples::U8(v) => planes(&v[span], n, pick, &mut out, |s| f32::from(s) / 255.0),
            Samples::U16(v) => planes(&v[span], n, pick, &mut out, |s| f32::from(s) / 65535.0),
            Samples::F32(v) => planes(&v[span], n, pick, &mut out, |s| s),
        }
        out
    }

    /// Rows `y0..y1` of the colour channels (1 or 3 planes).
    pub fn colour(&self, y0: usize, y1: usize) -> Band {
        self.band(y0, y1, 0..self.channels.colours())
    }

    /// Rows `y0..y1` of the alpha channel (1 plane), if there is one.
    pub fn alpha(&self, y0: usize, y1: usize) -> Option<Band> {
        let n = self.channels.count();
        self.channels.has_alpha().then(|| self.band(y0, y1, n - 1..n))
    }

    /// Bits per sample as stored in memory: 8, 16 or 32 (float).
    pub fn bits(&self) -> u8 {
        match self.samples {
            Samples::U8(_) => 8,
            Samples::U16(_) => 16,
            Samples::F32(_) => 32,
        }
    }
}

fn planes<T: Copy>(from: &[T], n: usize, pick: std::ops::Range<usize>, out: &mut Band, to: impl Fn(T) -> f32) {
    let base = pick.start;
    for c in pick {
        let plane = out.plane_mut(c - base);
        for (o, px) in plane.iter_mut().zip(from.chunks_exact(n)) {
            *o = to(px[c]);
        }
    }
}
