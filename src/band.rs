//! Pixels in flight: some full-width rows of one image, and the stages they flow through.

use crate::error::Result;

/// Some rows of an image as planar `f32`, top to bottom.
///
/// Shape: `channels` planes of `rows x width`, one after the other. Channel count 1 is grey, 2 grey + alpha, 3 RGB,
/// 4 RGB + alpha (straight, never premultiplied). Values are nominal 0..1 and are *not* clamped before the encoder.
/// A tile given to a network is a band too (its width is the tile's).
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// Index of the first row in its image.
    pub y: usize,
    pub width: usize,
    pub rows: usize,
    pub channels: usize,
    /// `channels * rows * width` values.
    pub data: Vec<f32>,
}

impl Band {
    /// A band of zeros.
    pub fn new(y: usize, width: usize, rows: usize, channels: usize) -> Self {
        Self { y, width, rows, channels, data: vec![0.0; width * rows * channels] }
    }

    /// One past the last row.
    pub fn end(&self) -> usize {
        self.y + self.rows
    }

    /// All values of channel `c`, row by row.
    pub fn plane(&self, c: usize) -> &[f32] {
        let n = self.rows * self.width;
        &self.data[c * n..(c + 1) * n]
    }

    /// All values of channel `c`, row by row, writable.
    pub fn plane_mut(&mut self, c: usize) -> &mut [f32] {
        let n = self.rows * self.width;
        &mut self.data[c * n..(c + 1) * n]
    }

    /// Row `r` (counted from the band's first row) of channel `c`.
    pub fn row(&self, c: usize, r: usize) -> &[f32] {
        let at = (c * self.rows + r) * self.width;
        &self.data[at..at + self.width]
    }

    /// Row `r` (counted from the band's first row) of channel `c`, writable.
    pub fn row_mut(&mut self, c: usize, r: usize) -> &mut [f32] {
        let at = (c * self.rows + r) * self.width;
        &mut self.data[at..at + self.width]
    }

    /// A copy of rows `from..to` (image coordinates), which must lie inside the band.
    pub fn slice(&self, from: usize, to: usize) -> Band {
        debug_assert!(from >= self.y && to <= self.end() && from <= to);
        let mut out = Band::new(from, self.width, to - from, self.channels);
        for c in 0..self.channels {
            let start = (from - self.y) * self.width;
            out.plane_mut(c).copy_from_slice(&self.plane(c)[start..start + (to - from) * self.width]);
        }
        out
    }
}

/// Where finished bands go.
pub type Sink<'a> = dyn FnMut(Band) -> Result<()> + 'a;

/// A step of the pipeline that turns a stream of bands into another one.
///
/// Bands arrive top to bottom without gaps and leave the same way. A stage that needs neighbouring rows keeps them itself
/// and emits a row as soon as its context is there; memory stays `O(width x context)`.
pub trait Stage: Send {
    /// Takes the next rows and hands every row that is finished to `next`.
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()>;

    /// Says that no more rows come; the rest is handed to `next`.
    fn finish(&mut self, next: &mut Sink<'_>) -> Result<()>;
}

/// A sliding window over a stream of bands: push at the bottom, read any row still held, drop at the top.
///
/// The bookkeeping every stage with vertical context needs; stores row-major per row (`channels` rows of `width` each).
#[derive(Debug)]
pub struct Window {
    width: usize,
    channels: usize,
    first: usize,
    rows: std::collections::VecDeque<Vec<f32>>,
}

impl Window {
    /// An empty window for bands of this width and channel count.
    pub fn new(width: usize, channels: usize) -> Self {
        Self { width, channels, first: 0, rows: std::collections::VecDeque::new() }
    }

    /// Channels per row.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// First row held.
    pub fn start(&self) -> usize {
        self.first
    }

    /// One past the last row held.
    pub fn end(&self) -> usize {
        self.first + self.rows.len()
    }

    /// Appends the rows of `band`, which must begin at [`Window::end`] (or anywhere, if nothing was pushed yet).
    pub fn push(&mut self, band: &Band) {
        debug_assert_eq!((band.width, band.channels), (self.width, self.channels));
        if self.rows.is_empty() && self.first == 0 {
            self.first = band.y;
        }
        debug_assert_eq!(band.y, self.end());
        for r in 0..band.rows {
            let mut row = Vec::with_capacity(self.width * self.channels);
            for c in 0..self.channels {
                row.extend_from_slice(band.row(c, r));
            }
            self.rows.push_back(row);
        }
    }

    /// Row `y` (image coordinates) of channel `c`; it must be held.
    pub fn row(&self, c: usize, y: usize) -> &[f32] {
        &self.rows[y - self.first][c * self.width..(c + 1) * self.width]
    }

    /// Copies rows `y0..y1` and columns `x0..x1` (image coordinates, all held) into a band.
    pub fn copy(&self, x0: usize, x1: usize, y0: usize, y1: usize) -> Band {
        let mut out = Band::new(y0, x1 - x0, y1 - y0, self.channels);
        for c in 0..self.channels {
            for y in y0..y1 {
                out.row_mut(c, y - y0).copy_from_slice(&self.row(c, y)[x0..x1]);
            }
        }
        out
    }

    /// Forgets all rows above `y`.
    pub fn drop_above(&mut self, y: usize) {
        while self.first < y && self.rows.pop_front().is_some() {
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(y: usize, rows: usize) -> Band {
        let mut b = Band::new(y, 3, rows, 2);
        for c in 0..2 {
            for r in 0..rows {
                for x in 0..3 {
                    b.row_mut(c, r)[x] = (c * 1000 + (y + r) * 10 + x) as f32;
                }
            }
        }
        b
    }

    #[test]
    fn slice_keeps_image_rows() {
        let b = ramp(4, 5).slice(6, 8);
        assert_eq!((b.y, b.rows), (6, 2));
        assert_eq!(b.row(1, 1), [1070.0, 1071.0, 1072.0]);
    }

    #[test]
    fn window_slides() {
        let mut w = Window::new(3, 2);
        w.push(&ramp(0, 2));
        w.push(&ramp(2, 3));
        w.drop_above(3);
        assert_eq!((w.start(), w.end()), (3, 5));
        assert_eq!(w.copy(1, 3, 3, 5).row(1, 1), [1041.0, 1042.0]);
        w.drop_above(9);
        assert_eq!((w.start(), w.end()), (5, 5));
        w.push(&ramp(5, 1));
        assert_eq!(w.row(0, 5), [50.0, 51.0, 52.0]);
    }
}
