//! Reducing and enlarging without a network: separable convolution on planar f32, banded equal to whole.
//!
//! The one place that calls fast_image_resize, and only with its type for f32 planes (its code is generic and slow to
//! compile). Bands give the same bits as a whole image because every source position is a multiple of a power of two that
//! leaves room for all sums (see [`Axis`]): a window's offset is then exact, and so are the filter's weights.

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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILTERS: [Filter; 4] = [Filter::Box, Filter::Bilinear, Filter::CatmullRom, Filter::Lanczos3];

    /// Values from -0.2 to 1.3 without a pattern (a hash of the position).
    fn noise(width: usize, rows: usize, channels: usize) -> Band {
        let mut b = Band::new(0, width, rows, channels);
        for (i, v) in b.data.iter_mut().enumerate() {
            let h = (i as u32).wrapping_mul(2_654_435_761) ^ 0x5bd1_e995;
            *v = (h.wrapping_mul(2_246_822_519) >> 8) as f32 / 16_777_216.0 * 1.5 - 0.2;
        }
        b
    }

    fn stream(resize: &mut Resize, source: &Band, step: usize) -> Band {
        let (w, h) = resize.scaler.size();
        let mut out = Band::new(0, w, h, source.channels);
        let mut at = 0;
        let mut sink = |b: Band| {
            assert_eq!(b.y, at, "rows leave in order");
            at = b.end();
            for c in 0..b.channels {
                for r in 0..b.rows {
                    out.row_mut(c, b.y + r).copy_from_slice(b.row(c, r));
                }
            }
            Ok(())
        };
        for y in (0..source.rows).step_by(step) {
            resize.push(source.slice(y, (y + step).min(source.rows)), &mut sink).unwrap();
        }
        resize.finish(&mut sink).unwrap();
        assert_eq!(at, h);
        out
    }

    fn kernel(filter: Filter, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
        let a = x.abs();
        match filter {
            Filter::Box => f64::from(-0.5 < x && x <= 0.5),
            Filter::Bilinear => (1.0 - a).max(0.0),
            Filter::CatmullRom if a < 1.0 => 1.5 * a.powi(3) - 2.5 * a * a + 1.0,
            Filter::CatmullRom if a < 2.0 => -0.5 * a.powi(3) + 2.5 * a * a - 4.0 * a + 2.0,
            Filter::Lanczos3 if a < 3.0 => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }

    /// Weights over all source samples, straight from the definition, positions not rounded.
    fn weights(filter: Filter, src: usize, dst: usize, from: f64, size: f64, d: usize) -> Vec<f64> {
        let step = size / dst as f64;
        let at = from + (d as f64 + 0.5) * step;
        let w: Vec<f64> = (0..src).map(|x| kernel(filter, (x as f64 + 0.5 - at) / step.max(1.0))).collect();
        let sum: f64 = w.iter().sum();
        w.iter().map(|v| v / sum).collect()
    }

    fn oracle(source: &Band, w: usize, h: usize, filter: Filter, crop: Crop) -> Vec<f64> {
        let mut out = Vec::new();
        let columns: Vec<_> = (0..w).map(|d| weights(filter, source.width, w, crop.x, crop.width, d)).collect();
        for c in 0..source.channels {
            for d in 0..h {
                let down = weights(filter, source.rows, h, crop.y, crop.height, d);
                for across in &columns {
                    let mut sum = 0.0;
                    for (y, wy) in down.iter().enumerate().filter(|(_, wy)| **wy != 0.0) {
                        sum += wy * source.row(c, y).iter().zip(across).map(|(v, wx)| f64::from(*v) * wx).sum::<f64>();
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn bands_equal_the_whole_to_the_bit(
            (sw, sh, dw, dh) in (1usize..70, 1usize..90, 1usize..80, 1usize..120),
            f in 0usize..4, clamp: bool, linear: bool, step in 1usize..40, channels in 1usize..5,
            (x, y, w, h) in (0.0f64..0.5, 0.0f64..0.5, 0.3f64..1.0, 0.3f64..1.0), cropped: bool,
        ) {
            let source = noise(sw, sh, channels);
            let (swf, shf) = (sw as f64, sh as f64);
            let crop = cropped.then(|| Crop { x: x * swf, y: y * shf, width: (w * swf).min(swf - x * swf), height: (h * shf).min(shf - y * shf) });
            let mut scaler = Scaler::new(sw, sh, dw, dh, FILTERS[f], crop).unwrap();
            if clamp {
                scaler = scaler.clamp_ringing(0.01);
            }
            let light = if linear { Light::Linear(Transfer::srgb()) } else { Light::Encoded };
            let whole = stream(&mut Resize::new(scaler.clone(), channels, light.clone()), &source, sh);
            let banded = stream(&mut Resize::new(scaler.clone(), channels, light.clone()), &source, step);
            prop_assert!(banded == whole);
            let direct = scaler.rows(&source, 0..dh).unwrap();
            for y in (0..dh).step_by(step) {
                let end = (y + step).min(dh);
                let needs = scaler.needs(y..end);
                let part = scaler.rows(&source.slice(needs.start, needs.end), y..end).unwrap();
                prop_assert!(part == direct.slice(y, end), "rows {y}..{end}");
            }
            if !linear {
                prop_assert!(direct == whole);
            }
        }

        #[test]
        fn results_follow_the_definition(
            (sw, sh, dw, dh) in (1usize..40, 1usize..40, 1usize..60, 1usize..60), f in 1usize..4,
            (x, y, w, h) in (0.0f64..0.5, 0.0f64..0.5, 0.3f64..1.0, 0.3f64..1.0),
        ) {
            let source = noise(sw, sh, 2);
            let (swf, shf) = (sw as f64, sh as f64);
            let crop = Crop { x: x * swf, y: y * shf, width: (w * swf).min(swf - x * swf), height: (h * shf).min(shf - y * shf) };
            let got = Scaler::new(sw, sh, dw, dh, FILTERS[f], Some(crop)).unwrap().rows(&source, 0..dh).unwrap();
            let want = oracle(&source, dw, dh, FILTERS[f], crop);
            for (a, b) in got.data.iter().zip(&want) {
                prop_assert!((f64::from(*a) - b).abs() < 2e-6, "{a} not {b}");
            }
        }

        #[test]
        fn clamped_rows_stay_in_the_local_range(sw in 1usize..60, dw in 1usize..60) {
            let source = noise(sw, 1, 1);
            let out = Scaler::new(sw, 1, dw, 1, Filter::Lanczos3, None).unwrap().clamp_ringing(0.0).rows(&source, 0..1).unwrap();
            let step = sw as f64 / dw as f64;
            for (d, v) in out.data.iter().enumerate() {
                let near = |x: &usize| (*x as f64 + 0.5 - (d as f64 + 0.5) * step).abs() < step.max(1.0) + 1e-6;
                let values: Vec<f32> = (0..sw).filter(near).map(|x| source.data[x]).collect();
                let (low, high) = (values.iter().fold(9.0f32, |a, b| a.min(*b)), values.iter().fold(-9.0f32, |a, b| a.max(*b)));
                prop_assert!(*v >= low - 1e-6 && *v <= high + 1e-6, "{d}: {v} outside {low}..{high}");
            }
        }
    }

    #[test]
    fn box_averages_and_repeats() {
        let mut b = Band::new(0, 4, 2, 1);
        b.data.copy_from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let small = Scaler::new(4, 2, 2, 1, Filter::Box, None).unwrap().rows(&b, 0..1).unwrap();
        assert_eq!(small.data, [2.5, 4.5]);
        let large = Scaler::new(2, 1, 4, 2, Filter::Box, None).unwrap().rows(&small, 0..2).unwrap();
        assert_eq!(large.data, [2.5, 2.5, 4.5, 4.5, 2.5, 2.5, 4.5, 4.5]);
    }

    #[test]
    fn same_size_is_the_same_picture() {
        let source = noise(13, 9, 3);
        for f in FILTERS {
            let out = Scaler::new(13, 9, 13, 9, f, None).unwrap().clamp_ringing(0.0).rows(&source, 0..9).unwrap();
            assert_eq!(out, source);
        }
    }

    /// Black strokes of 1 to 4 px on white, and the same turned by 90 degrees.
    fn text() -> Band {
        let mut b = Band::new(0, 64, 64, 1);
        b.data.fill(1.0);
        for (at, wide) in [(6, 1), (14, 2), (24, 3), (36, 4)] {
            for x in at..at + wide {
                for y in 4..60 {
                    b.data[y * 64 + x] = 0.0;
                    b.data[x * 64 + y] = 0.0;
                }
            }
        }
        b
    }

    #[test]
    fn enlarged_text_does_not_ring() {
        let source = text();
        let shoot = |scaler: Scaler, factor: usize| {
            let out = scaler.rows(&source, 0..64 * factor).unwrap();
            // Where all source pixels within one pixel agree, the result must agree with them.
            let mut worst = 0.0f32;
            for y in 0..64 * factor {
                for x in 0..64 * factor {
                    let (sx, sy) = (x / factor, y / factor);
                    let mut near = Vec::new();
                    for ny in sy.saturating_sub(1)..(sy + 2).min(64) {
                        for nx in sx.saturating_sub(1)..(sx + 2).min(64) {
                            near.push(source.data[ny * 64 + nx]);
                        }
                    }
                    if near.iter().all(|v| *v == near[0]) {
                        worst = worst.max((out.data[y * 64 * factor + x] - near[0]).abs());
                    }
                }
            }
            worst * 255.0
        };
        for factor in [2, 3, 4] {
            let scaler = Scaler::new(64, 64, 64 * factor, 64 * factor, Filter::Lanczos3, None).unwrap();
            assert!(shoot(scaler.clone(), factor) > 10.0, "the test picture must provoke ringing");
            let worst = shoot(scaler.clamp_ringing(3.0 / 255.0), factor);
            assert!(worst <= 3.01, "{worst} levels");
        }
    }

    #[test]
    fn linear_light_keeps_the_mean_light_and_a_wide_range() {
        let mut checks = Band::new(0, 16, 16, 1);
        checks.data.iter_mut().enumerate().for_each(|(i, v)| *v = ((i / 16 + i) % 2) as f32);
        let scaler = Scaler::new(16, 16, 4, 4, Filter::Box, None).unwrap();
        let out = stream(&mut Resize::new(scaler.clone(), 1, Light::Linear(Transfer::srgb())), &checks, 3);
        // Half the light is 0.7354 in sRGB (IEC 61966-2-1).
        out.data.iter().for_each(|v| assert!((v - 0.735_357).abs() < 1e-5, "{v}"));
        let mut wide = Band::new(0, 16, 16, 1);
        wide.data.fill(2.5);
        wide.data[..128].fill(-0.7);
        let out = stream(&mut Resize::new(scaler, 1, Light::Linear(Transfer::srgb())), &wide, 5);
        assert!((out.data[0] + 0.7).abs() < 1e-5 && (out.data[15] - 2.5).abs() < 1e-5);
    }

    #[test]
    fn bad_sizes_are_refused() {
        let crop = |x, width| Some(Crop { x, y: 0.0, width, height: 4.0 });
        assert!(Scaler::new(0, 4, 4, 4, Filter::Box, None).is_err());
        assert!(Scaler::new(4, 4, 4, 0, Filter::Box, None).is_err());
        assert!(Scaler::new(4, 4, 2, 2, Filter::Box, crop(1.0, 3.5)).is_err());
        assert!(Scaler::new(4, 4, 2, 2, Filter::Box, crop(f64::NAN, 2.0)).is_err());
        assert!(Scaler::new(4, 4, 2, 2, Filter::Box, crop(1.0, 3.0)).is_ok());
    }
}
