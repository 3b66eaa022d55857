//! Reducing and enlarging without a network: separable convolution on planar f32, banded equal to whole.
//!
//! The one place that calls fast_image_resize, and only with its type for f32 planes (its code is generic and slow to
//! compile). Bands give the same bits as a whole image because every source position is a multiple of a power of two that
//! leaves room for all sums (see `Axis`): a window's offset is then exact, and so are the filter's weights.

use std::ops::Range;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::band::{Band, Sink, Stage, Window};
use crate::color::Transfer;
use crate::error::{Error, Result};

/// Interpolation kernels. When reducing they widen by the factor (antialiasing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Mean over the area when reducing, nearest pixel when enlarging.
    Box,
    /// Triangle.
    Bilinear,
    /// Keys' cubic with a = -0.5, the "bicubic" of Pillow and Matlab.
    CatmullRom,
    /// Sinc windowed by a sinc of three lobes.
    Lanczos3,
}

impl Filter {
    /// Radius in source pixels at equal size.
    fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bilinear => 1.0,
            Self::CatmullRom => 2.0,
            Self::Lanczos3 => 3.0,
        }
    }

    /// Whether the kernel has negative lobes.
    fn rings(self) -> bool {
        matches!(self, Self::CatmullRom | Self::Lanczos3)
    }

    fn kind(self) -> FilterType {
        match self {
            Self::Box => FilterType::Box,
            Self::Bilinear => FilterType::Bilinear,
            Self::CatmullRom => FilterType::CatmullRom,
            Self::Lanczos3 => FilterType::Lanczos3,
        }
    }
}

/// A rectangle in source pixels; (0, 0) is the outer corner of the first pixel. Pixels outside still count towards the
/// kernel as long as the picture has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// One direction: where each destination sample lies in the source.
///
/// `from` and `step` are rounded down to multiples of `2^-k`, with `k` as large as 53-bit sums allow; that shifts positions
/// by less than `dst * 2^-k` pixels (below 1e-5 for any image up to a million pixels wide).
#[derive(Debug, Clone, Copy)]
struct Axis {
    src: usize,
    dst: usize,
    from: f64,
    step: f64,
    radius: f64,
    /// Half the width of the kernel's main lobe.
    lobe: f64,
}

impl Axis {
    fn new(src: usize, dst: usize, from: f64, size: f64, filter: Filter) -> Result<Self> {
        let inside = from >= 0.0 && size > 0.0 && from + size <= src as f64;
        if src == 0 || dst == 0 || src >= 1 << 30 || dst >= 1 << 30 || !inside {
            return Err(Error::usage("resize", format!("cannot take {size} of {src} pixels from {from} to {dst} pixels"), ""));
        }
        let unit = f64::from(2u32).powi(52 - (usize::BITS - src.leading_zeros()) as i32);
        let exact = |v: f64| (v * unit).floor() / unit;
        let step = exact(size / dst as f64);
        let widen = step.max(1.0);
        Ok(Self { src, dst, from: exact(from), step, radius: filter.support() * widen, lobe: widen })
    }

    fn identity(&self) -> bool {
        self.step == 1.0 && self.from.fract() == 0.0
    }

    fn center(&self, d: usize) -> f64 {
        self.from + (d as f64 + 0.5) * self.step
    }

    /// Source samples that destination samples `d` depend on.
    fn needs(&self, d: Range<usize>) -> Range<usize> {
        let low = (self.center(d.start) - self.radius).floor().max(0.0) as usize;
        if d.is_empty() {
            return low..low;
        }
        low..((self.center(d.end - 1) + self.radius).ceil() as usize).min(self.src)
    }

    /// Source samples nearer to destination sample `d` than the edge of the kernel's main lobe; never empty.
    fn lobe(&self, d: usize) -> Range<usize> {
        let at = self.center(d) - 0.5;
        let low = ((at - self.lobe).floor() + 1.0).max(0.0) as usize;
        low..((at + self.lobe).ceil() as usize).min(self.src)
    }
}

/// Resamples bands of one source size to one destination size.
#[derive(Debug, Clone)]
pub struct Scaler {
    x: Axis,
    y: Axis,
    filter: Filter,
    /// Allowed over- and undershoot per direction.
    clamp: Option<f32>,
}

impl Scaler {
    /// From `src_w x src_h` (or the rectangle `crop` of it) to `dst_w x dst_h`.
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty size or a rectangle that leaves the source.
    pub fn new(src_w: usize, src_h: usize, dst_w: usize, dst_h: usize, filter: Filter, crop: Option<Crop>) -> Result<Self> {
        let crop = crop.unwrap_or(Crop { x: 0.0, y: 0.0, width: src_w as f64, height: src_h as f64 });
        let x = Axis::new(src_w, dst_w, crop.x, crop.width, filter)?;
        let y = Axis::new(src_h, dst_h, crop.y, crop.height, filter)?;
        Ok(Self { x, y, filter, clamp: None })
    }

    /// Limits every sample to the range of the source samples under the kernel's main lobe, first along rows, then along
    /// columns, widened by `allowance` in all. Without effect on kernels that cannot ring.
    pub fn clamp_ringing(mut self, allowance: f32) -> Self {
        self.clamp = self.filter.rings().then_some(allowance / 2.0);
        self
    }

    /// Source rows that destination rows `dst` depend on.
    pub fn needs(&self, dst: Range<usize>) -> Range<usize> {
        self.y.needs(dst)
    }

    /// Source size, width and height.
    pub fn source(&self) -> (usize, usize) {
        (self.x.src, self.y.src)
    }

    /// Destination size, width and height.
    pub fn size(&self) -> (usize, usize) {
        (self.x.dst, self.y.dst)
    }

    /// Destination rows `dst`, from a band of source rows that covers [`Scaler::needs`]. The result does not depend on how
    /// an image is cut into bands, to the last bit.
    ///
    /// # Errors
    /// [`Error::Internal`] if the band does not cover what is needed.
    pub fn rows(&self, source: &Band, dst: Range<usize>) -> Result<Band> {
        let needs = self.needs(dst.clone());
        if source.width != self.x.src || source.y > needs.start || source.end() < needs.end || dst.end > self.y.dst {
            return Err(Error::Internal(format!("rows {needs:?} are needed, {}..{} given", source.y, source.end())));
        }
        if source.y == needs.start && source.end() == needs.end {
            return self.vertical(&self.horizontal(source)?, dst);
        }
        self.vertical(&self.horizontal(&source.slice(needs.start, needs.end))?, dst)
    }

    /// All rows of `source` at the destination's width.
    fn horizontal(&self, source: &Band) -> Result<Band> {
        let mut out = Band::new(source.y, self.x.dst, source.rows, source.channels);
        if source.rows == 0 {
            return Ok(out);
        }
        // All planes in one call, as one high image: the weights are computed once.
        let high = source.rows * source.channels;
        let crop = Crop { x: self.x.from, y: 0.0, width: self.x.step * self.x.dst as f64, height: high as f64 };
        convolve(&source.data, (source.width, high), &mut out.data, (self.x.dst, high), self.filter, crop)?;
        if let Some(allowance) = self.clamp.filter(|_| !self.x.identity()) {
            let lobes: Vec<Range<usize>> = (0..self.x.dst).map(|d| self.x.lobe(d)).collect();
            for (row, from) in out.data.chunks_exact_mut(self.x.dst).zip(source.data.chunks_exact(source.width)) {
                for (v, lobe) in row.iter_mut().zip(&lobes) {
                    let (low, high) = range(&from[lobe.clone()]);
                    *v = limit(*v, low - allowance, high + allowance);
                }
            }
        }
        Ok(out)
    }

    /// Destination rows `dst` from rows of the destination's width that begin at or before the first row needed.
    fn vertical(&self, rows: &Band, dst: Range<usize>) -> Result<Band> {
        let mut out = Band::new(dst.start, rows.width, dst.len(), rows.channels);
        if dst.is_empty() {
            return Ok(out);
        }
        let y = self.y.from + dst.start as f64 * self.y.step - rows.y as f64;
        let crop = Crop { x: 0.0, y, width: rows.width as f64, height: dst.len() as f64 * self.y.step };
        for c in 0..rows.channels {
            convolve(rows.plane(c), (rows.width, rows.rows), out.plane_mut(c), (rows.width, dst.len()), self.filter, crop)?;
        }
        if let Some(allowance) = self.clamp.filter(|_| !self.y.identity()) {
            let (mut low, mut high) = (vec![0.0f32; rows.width], vec![0.0f32; rows.width]);
            for c in 0..rows.channels {
                for d in dst.clone() {
                    let lobe = self.y.lobe(d);
                    low.copy_from_slice(rows.row(c, lobe.start - rows.y));
                    high.copy_from_slice(&low);
                    for y in lobe.start + 1..lobe.end {
                        for ((l, h), v) in low.iter_mut().zip(&mut high).zip(rows.row(c, y - rows.y)) {
                            *l = if *v < *l { *v } else { *l };
                            *h = if *v > *h { *v } else { *h };
                        }
                    }
                    for ((v, l), h) in out.row_mut(c, d - dst.start).iter_mut().zip(&low).zip(&high) {
                        *v = limit(*v, l - allowance, h + allowance);
                    }
                }
            }
        }
        Ok(out)
    }
}

/// Smallest and largest value of a slice that is not empty.
fn range(values: &[f32]) -> (f32, f32) {
    // Four lanes, so that long lobes are compared by SIMD.
    let (mut low, mut high) = ([values[0]; 4], [values[0]; 4]);
    let chunks = values.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..4 {
            low[i] = if chunk[i] < low[i] { chunk[i] } else { low[i] };
            high[i] = if chunk[i] > high[i] { chunk[i] } else { high[i] };
        }
    }
    for v in rest {
        low[0] = if *v < low[0] { *v } else { low[0] };
        high[0] = if *v > high[0] { *v } else { high[0] };
    }
    let least = |a: f32, b: f32| if b < a { b } else { a };
    let most = |a: f32, b: f32| if b > a { b } else { a };
    (least(least(low[0], low[1]), least(low[2], low[3])), most(most(high[0], high[1]), most(high[2], high[3])))
}

/// `v` within `low..=high`; NaN stays NaN (`f32::clamp` may panic on NaN bounds).
#[inline(always)]
fn limit(v: f32, low: f32, high: f32) -> f32 {
    let v = if v < low { low } else { v };
    if v > high { high } else { v }
}

/// The only call of fast_image_resize: one plane of `src` size to one of `dst` size.
fn convolve(from: &[f32], src: (usize, usize), to: &mut [f32], dst: (usize, usize), filter: Filter, crop: Crop) -> Result<()> {
    let broken = |e: &dyn std::fmt::Display| Error::Internal(format!("resize {src:?} to {dst:?} by {crop:?}: {e}"));
    let side = |n: usize| u32::try_from(n).map_err(|e| broken(&e));
    let source = TypedImageRef::<F32>::from_buffer(side(src.0)?, side(src.1)?, bytemuck::cast_slice(from)).map_err(|e| broken(&e))?;
    let mut target = TypedImage::<F32>::from_buffer(side(dst.0)?, side(dst.1)?, bytemuck::cast_slice_mut(to)).map_err(|e| broken(&e))?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter.kind()))
        .crop(crop.x, crop.y, crop.width, crop.height)
        .use_alpha(false);
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(|e| broken(&e))
}

/// In which light samples are averaged.
#[derive(Debug, Clone, PartialEq)]
pub enum Light {
    /// As they are: for alpha, and for enlarging (no dark halos round black text).
    Encoded,
    /// In linear light by this transfer function, encoded again afterwards: for reducing. An alpha channel (the last of two
    /// or four) stays as it is.
    Linear(Transfer),
}

/// [`Scaler`] as a stage: source rows in, destination rows out, `O(width x kernel)` memory between.
#[derive(Debug)]
pub struct Resize {
    scaler: Scaler,
    light: Light,
    channels: usize,
    /// Rows at the destination's width.
    rows: Window,
    /// Source rows seen, destination rows emitted.
    seen: usize,
    done: usize,
}

/// Most destination rows handed on at once.
const ROWS_AT_ONCE: usize = 64;

impl Resize {
    /// A stage for bands of `channels` channels.
    pub fn new(scaler: Scaler, channels: usize, light: Light) -> Self {
        let rows = Window::new(scaler.x.dst, channels);
        Self { scaler, light, channels, rows, seen: 0, done: 0 }
    }

    fn convert(&self, band: &mut Band, change: fn(&Transfer, &mut [f32])) {
        if let Light::Linear(transfer) = &self.light {
            let colours = if self.channels.is_multiple_of(2) { self.channels - 1 } else { self.channels };
            (0..colours).for_each(|c| change(transfer, band.plane_mut(c)));
        }
    }
}

impl Stage for Resize {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        if band.y != self.seen || band.width != self.scaler.x.src || band.channels != self.channels || band.end() > self.scaler.y.src {
            return Err(Error::Internal(format!("rows {}..{} do not follow row {} of the source", band.y, band.end(), self.seen)));
        }
        self.seen = band.end();
        let total = self.scaler.y.dst;
        let wanted = self.scaler.needs(self.done..total);
        let (from, to) = (band.y.max(wanted.start), band.end().min(wanted.end));
        if from >= to {
            return Ok(());
        }
        let mut band = if (from, to) == (band.y, band.end()) { band } else { band.slice(from, to) };
        self.convert(&mut band, Transfer::linear);
        self.rows.push(&self.scaler.horizontal(&band)?);
        drop(band);
        while self.done < total {
            let mut end = self.done;
            while end < total && end - self.done < ROWS_AT_ONCE && self.scaler.needs(end..end + 1).end <= self.rows.end() {
                end += 1;
            }
            if end == self.done {
                break;
            }
            let needs = self.scaler.needs(self.done..end);
            let held = self.rows.copy(0, self.scaler.x.dst, needs.start, needs.end);
            let mut out = self.scaler.vertical(&held, self.done..end)?;
            self.convert(&mut out, Transfer::encoded);
            self.done = end;
            if end < total {
                self.rows.drop_above(self.scaler.needs(end..end + 1).start);
            }
            next(out)?;
        }
        Ok(())
    }

    fn finish(&mut self, _next: &mut Sink<'_>) -> Result<()> {
        if self.done != self.scaler.y.dst {
            return Err(Error::Internal(format!("{} of {} resized rows done", self.done, self.scaler.y.dst)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
