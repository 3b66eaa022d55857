//! Operations that look at where a pixel is, or at what is around it, one file each.
//!
//! They work on encoded sRGB. To add one: a file with `params!` and a [`SpatialOp`], a `mod` line, and a line in `ops!`.

mod clarity;
mod deband;
mod filter;
mod grain;
mod sharpen;
mod vignette;

pub use clarity::Clarity;
pub use deband::Deband;
pub use filter::Filter;
pub use grain::Grain;
pub use sharpen::Sharpen;
pub use vignette::Vignette;

use std::path::Path;

use multiversion::multiversion;

use super::kernel::{Mask, weigh};
use crate::band::{Band, Sink, Stage, Window};
use crate::error::Result;
use crate::lane::trace::Traced;
use crate::lane::{At, Lane, Rgb};

/// The picture that an operation works on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    pub width: usize,
    pub height: usize,
    /// Bits per sample that the source was stored with: 8, 16 or 32.
    pub bits: u8,
    /// A number made of the source's contents.
    pub seed: u64,
}

impl Frame {
    /// Pixels of the longer side.
    fn long_edge(&self) -> f32 {
        self.width.max(self.height) as f32
    }

    /// The seed as formulas take it, see [`At::key`].
    pub fn key(&self) -> f32 {
        (self.seed % (1 << 22)) as f32
    }
}

/// An operation on a picture.
pub trait SpatialOp: Send + Sync {
    /// Whether it changes nothing, so that it can be left out.
    fn is_noop(&self) -> bool;

    /// Rows above and below that it needs.
    fn border(&self, _frame: &Frame) -> usize {
        0
    }

    /// Changes the first three channels of `rows`, encoded sRGB. `around` holds these rows as they were and
    /// [`SpatialOp::border`] more on either side, as far as the picture goes.
    fn apply(&self, frame: &Frame, around: &Band, rows: &mut Band);

    /// The operation as a formula of colour and place, if it is one and looks at no neighbours; graphics cards run that.
    fn traced(&self, _c: Rgb<Traced>, _at: &At<Traced>) -> Option<Rgb<Traced>> {
        None
    }

    /// Whether there is nothing but the formula, so that it needs a graphics card.
    fn needs_gpu(&self) -> bool {
        false
    }

    /// Reads the files that it names, relative to `folder`.
    ///
    /// # Errors
    /// Whatever is wrong with them.
    fn load(&mut self, _folder: &Path) -> Result<()> {
        Ok(())
    }
}

/// A formula of colour and place: encoded sRGB in and out.
trait Placed {
    fn eval<L: Lane>(&self, c: Rgb<L>, at: &At<L>) -> Rgb<L>;
}

/// Applies a formula to the first three channels.
fn each<P: Placed>(op: &P, frame: &Frame, rows: &mut Band) {
    let (top, width) = (rows.y, rows.width);
    let n = rows.rows * width;
    let (r, rest) = rows.data.split_at_mut(n);
    let (g, rest) = rest.split_at_mut(n);
    let planes = r.chunks_exact_mut(width).zip(g.chunks_exact_mut(width)).zip(rest[..n].chunks_exact_mut(width));
    for (i, ((r, g), b)) in planes.enumerate() {
        let at = At { x: 0.0, y: (top + i) as f32, width: frame.width as f32, height: frame.height as f32, key: frame.key() };
        row(op, at, r, g, b);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn row<P: Placed>(op: &P, at: At<f32>, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    // Counted in 32 bits, so that the loop can become SIMD.
    for (x, ((r, g), b)) in (0i32..).zip(r.iter_mut().zip(g).zip(b)) {
        [*r, *g, *b] = op.eval([*r, *g, *b], &At { x: x as f32, ..at });
    }
}

/// A spatial operation as a step of the pipeline; channels after the third pass as they are.
pub struct Spatial {
    op: Box<dyn SpatialOp>,
    mask: Mask,
    frame: Frame,
    window: Option<Window>,
    /// The next row to hand on.
    next: usize,
}

impl Spatial {
    /// Rows handed on at once.
    const ROWS: usize = 64;

    pub fn new(op: Box<dyn SpatialOp>, mask: Mask, frame: Frame) -> Self {
        Self { op, mask, frame, window: None, next: 0 }
    }

    fn emit(&mut self, sink: &mut Sink<'_>) -> Result<()> {
        let Some(window) = &mut self.window else { return Ok(()) };
        let (border, height) = (self.op.border(&self.frame), self.frame.height);
        let ready = if window.end() >= height { height } else { window.end().saturating_sub(border) };
        while self.next < ready {
            let (from, to) = (self.next, (self.next + Self::ROWS).min(ready));
            let around = window.copy(0, self.frame.width, from.saturating_sub(border), (to + border).min(height));
            let before = around.slice(from, to);
            let mut rows = before.clone();
            self.op.apply(&self.frame, &around, &mut rows);
            weigh(&self.mask, &before, &mut rows);
            self.next = to;
            window.drop_above(to.saturating_sub(border));
            sink(rows)?;
        }
        Ok(())
    }
}

impl Stage for Spatial {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        self.window.get_or_insert_with(|| Window::new(band.width, band.channels)).push(&band);
        self.emit(next)
    }

    fn finish(&mut self, next: &mut Sink<'_>) -> Result<()> {
        self.emit(next)
    }
}

/// Rec. 709 luma of every pixel.
fn luma(band: &Band) -> Band {
    let mut out = Band::new(band.y, band.width, band.rows, 1);
    for (((y, r), g), b) in out.data.iter_mut().zip(band.plane(0)).zip(band.plane(1)).zip(band.plane(2)) {
        *y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }
    out
}

/// One channel blurred with a Gaussian of `sigma` pixels, rows `from..to` of it. What lies outside of `plane` is taken to be like
/// its edge.
fn blurred(plane: &Band, sigma: f32, from: usize, to: usize) -> Band {
    let reach = reach(sigma);
    let kernel: Vec<f32> = {
        let raw: Vec<f32> = (0..=2 * reach).map(|i| (-0.5 * ((i as f32 - reach as f32) / sigma).powi(2)).exp()).collect();
        let sum: f32 = raw.iter().sum();
        raw.iter().map(|v| v / sum).collect()
    };
    let (width, mut out) = (plane.width, Band::new(from, plane.width, to - from, 1));
    let mut padded = vec![0.0; width + 2 * reach];
    for y in from..to {
        // Downwards first, whole rows at a time.
        padded.fill(0.0);
        for (i, k) in kernel.iter().enumerate() {
            let row = (y + i).saturating_sub(reach).clamp(plane.y, plane.end() - 1) - plane.y;
            padded[reach..reach + width].iter_mut().zip(plane.row(0, row)).for_each(|(o, v)| *o += k * v);
        }
        let (first, last) = (padded[reach], padded[reach + width - 1]);
        padded[..reach].fill(first);
        padded[reach + width..].fill(last);
        let row = out.row_mut(0, y - from);
        for (i, k) in kernel.iter().enumerate() {
            row.iter_mut().zip(&padded[i..]).for_each(|(o, v)| *o += k * v);
        }
    }
    out
}

/// Pixels on either side that a Gaussian of `sigma` takes in.
fn reach(sigma: f32) -> usize {
    (3.0 * sigma).ceil().max(1.0) as usize
}

#[cfg(test)]
mod tests;
