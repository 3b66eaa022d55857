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

    /// Turns and mirrors the samples so that a picture stored with this EXIF orientation (1..=8) stands upright.
    pub fn orient(&mut self, orientation: u8) {
        if !(2..=8).contains(&orientation) {
            return;
        }
        if orientation >= 5 {
            std::mem::swap(&mut self.width, &mut self.height);
        }
        let (n, w, h) = (self.channels.count(), self.width, self.height);
        match &mut self.samples {
            Samples::U8(v) => *v = turned(v, n, orientation, w, h),
            Samples::U16(v) => *v = turned(v, n, orientation, w, h),
            Samples::F32(v) => *v = turned(v, n, orientation, w, h),
        }
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
    // A constant stride lets the compiler vectorise the loop.
    for (i, c) in pick.enumerate() {
        let plane = out.plane_mut(i);
        match n {
            1 => strided::<T, 1>(from, c, plane, &to),
            2 => strided::<T, 2>(from, c, plane, &to),
            3 => strided::<T, 3>(from, c, plane, &to),
            _ => strided::<T, 4>(from, c, plane, &to),
        }
    }
}

fn strided<T: Copy, const N: usize>(from: &[T], c: usize, to: &mut [f32], convert: impl Fn(T) -> f32) {
    for (o, px) in to.iter_mut().zip(from.as_chunks::<N>().0) {
        *o = convert(px[c]);
    }
}

/// Where the sample shown at `(x, y)` of the upright picture is stored, for EXIF orientations 2..=8 (EXIF 2.32, 4.6.4 A).
///
/// `width` and `height` are those of the upright picture.
fn stored_at(orientation: u8, x: usize, y: usize, width: usize, height: usize) -> (usize, usize) {
    match orientation {
        2 => (width - 1 - x, y),
        3 => (width - 1 - x, height - 1 - y),
        4 => (x, height - 1 - y),
        5 => (y, x),
        6 => (y, width - 1 - x),
        7 => (height - 1 - y, width - 1 - x),
        8 => (height - 1 - y, x),
        _ => (x, y),
    }
}

fn turned<T: Copy>(from: &[T], n: usize, orientation: u8, width: usize, height: usize) -> Vec<T> {
    let stored_width = if orientation >= 5 { height } else { width };
    let mut out = Vec::with_capacity(from.len());
    for y in 0..height {
        for x in 0..width {
            let (sx, sy) = stored_at(orientation, x, y, width, height);
            let at = (sy * stored_width + sx) * n;
            out.extend_from_slice(&from[at..at + n]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: usize, height: usize, channels: Channels, samples: Samples) -> Image {
        Image { width, height, channels, samples, format: Format::Png, metadata: Metadata::default(), notes: Vec::new() }
    }

    #[test]
    fn a_band_picks_channels_and_scales() {
        let i = image(2, 2, Channels::Rgba, Samples::U8((0..16).map(|v| v * 17).collect()));
        let b = i.band(1, 2, 1..3);
        assert_eq!((b.y, b.rows, b.channels), (1, 1, 2));
        assert_eq!(b.row(0, 0), [9.0 / 15.0, 13.0 / 15.0]);
        assert_eq!(b.row(1, 0), [10.0 / 15.0, 14.0 / 15.0]);
        assert_eq!(i.alpha(0, 2).unwrap().data, [3.0 / 15.0, 7.0 / 15.0, 11.0 / 15.0, 1.0]);
        let i = image(3, 1, Channels::Grey, Samples::U16(vec![0, 65535, 13107]));
        assert_eq!(i.colour(0, 1).data, [0.0, 1.0, 0.2]);
    }

    #[test]
    fn all_eight_orientations_stand_upright() {
        // The upright picture reads "abc/def". In words of the standard, the stored row 0 is upright's top, top, bottom, bottom,
        // left, right, right, left side and column 0 its left, right, right, left, top, top, bottom, bottom.
        let stored = ["abcdef", "cbafed", "fedcba", "defabc", "adbecf", "cfbead", "fcebda", "daebfc"];
        for (i, s) in stored.iter().enumerate() {
            let o = i as u8 + 1;
            let (w, h) = if o >= 5 { (2, 3) } else { (3, 2) };
            let mut img = image(w, h, Channels::Grey, Samples::U8(s.as_bytes().to_vec()));
            img.orient(o);
            assert_eq!((img.width, img.height), (3, 2), "orientation {o}");
            assert_eq!(img.samples, Samples::U8(b"abcdef".to_vec()), "orientation {o}");
        }
    }
}
