//! Tiles of pictures for a screen: decoded once, kept while there is room, cut and scaled on demand.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::band::Band;
use crate::codec::{self, Limits};
use crate::color::Transfer;
use crate::error::{Error, Result};
use crate::image::{Image, Samples};
use crate::resample::{Crop, Filter, Scaler};

/// A decoded picture at 8 bits per sample, interleaved, upright.
#[derive(Debug)]
pub struct Shown {
    pub width: usize,
    pub height: usize,
    /// 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha.
    pub channels: usize,
    pub data: Vec<u8>,
    pub icc: Option<Vec<u8>>,
}

impl Shown {
    /// Reads and decodes a file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Ok(Self::of(codec::decode(path, &bytes, &Limits::default())?))
    }

    /// Rounds to 8 bits; float samples without a profile are taken as linear light.
    pub fn of(mut image: Image) -> Self {
        let (n, colours) = (image.channels.count(), image.channels.colours());
        if let (Samples::F32(v), None) = (&mut image.samples, &image.metadata.icc) {
            let srgb = Transfer::srgb();
            for px in v.chunks_exact_mut(n) {
                srgb.encoded(&mut px[..colours]);
            }
        }
        let data = match image.samples {
            Samples::U8(v) => v,
            Samples::U16(v) => v.into_iter().map(|s| ((u32::from(s) * 255 + 32767) / 65535) as u8).collect(),
            Samples::F32(v) => v.into_iter().map(eight).collect(),
        };
        Self { width: image.width, height: image.height, channels: n, data, icc: image.metadata.icc }
    }

    /// The part `from` (left, top, width, height in its pixels, clipped to the picture by the caller) at `width` x `height`.
    ///
    /// Copied where the sizes agree, area means where they divide, else Catmull-Rom, which widens when reducing.
    pub fn cut(&self, from: [f64; 4], width: usize, height: usize) -> Result<Shown> {
        let [x, y, w, h] = from;
        let data = match (step(x, w, width), step(y, h, height)) {
            (Some((x, sx)), Some((y, sy))) if x + sx * width <= self.width && y + sy * height <= self.height => {
                self.means((x, y), (sx, sy), width, height)
            }
            _ => self.resampled(from, width, height)?,
        };
        Ok(Shown { width, height, channels: self.channels, data, icc: self.icc.clone() })
    }

    fn means(&self, at: (usize, usize), step: (usize, usize), width: usize, height: usize) -> Vec<u8> {
        let n = self.channels;
        let mut out = Vec::with_capacity(width * height * n);
        if step == (1, 1) {
            for y in at.1..at.1 + height {
                let start = (y * self.width + at.0) * n;
                out.extend_from_slice(&self.data[start..start + width * n]);
            }
            return out;
        }
        let area = (step.0 * step.1) as u32;
        let mut sums = vec![0u32; width * n];
        for row in 0..height {
            sums.fill(0);
            for y in 0..step.1 {
                let start = ((at.1 + row * step.1 + y) * self.width + at.0) * n;
                let line = &self.data[start..start + width * step.0 * n];
                for (sum, block) in sums.chunks_exact_mut(n).zip(line.chunks_exact(step.0 * n)) {
                    for px in block.chunks_exact(n) {
                        for (s, v) in sum.iter_mut().zip(px) {
                            *s += u32::from(*v);
                        }
                    }
                }
            }
            out.extend(sums.iter().map(|s| ((s + area / 2) / area) as u8));
        }
        out
    }

    fn resampled(&self, [x, y, w, h]: [f64; 4], width: usize, height: usize) -> Result<Vec<u8>> {
        let n = self.channels;
        // Only what the kernel reaches is converted.
        let reach = |step: f64| 2.0 * step.max(1.0) + 1.0;
        let span = |at: f64, size: f64, parts: usize, all: usize| {
            let r = reach(size / parts as f64);
            ((at - r).floor().max(0.0) as usize, ((at + size + r).ceil() as usize).min(all))
        };
        let (x0, x1) = span(x, w, width, self.width);
        let (y0, y1) = span(y, h, height, self.height);
        let mut band = Band::new(0, x1 - x0, y1 - y0, n);
        for c in 0..n {
            let plane = band.plane_mut(c);
            for (row, to) in (y0..y1).zip(plane.chunks_exact_mut(x1 - x0)) {
                let start = (row * self.width + x0) * n;
                for (o, px) in to.iter_mut().zip(self.data[start..].chunks_exact(n)) {
                    *o = f32::from(px[c]) / 255.0;
                }
            }
        }
        let inside = |at: f64, size: f64, all: usize| (at.max(0.0), size.min(all as f64 - at.max(0.0)));
        let ((cx, cw), (cy, ch)) = (inside(x - x0 as f64, w, x1 - x0), inside(y - y0 as f64, h, y1 - y0));
        let crop = Crop { x: cx, y: cy, width: cw, height: ch };
        let scaler = Scaler::new(x1 - x0, y1 - y0, width, height, Filter::CatmullRom, Some(crop))?;
        let rows = scaler.rows(&band, 0..height)?;
        let mut out = vec![0; width * height * n];
        for c in 0..n {
            for (i, v) in rows.plane(c).iter().enumerate() {
                out[i * n + c] = eight(*v);
            }
        }
        Ok(out)
    }

    /// As a PNG file with the picture's profile.
    pub fn png(&self) -> Result<Vec<u8>> {
        self.packed(::png::Compression::Fast)
    }

    /// The same without compression, for a reader on this machine, who waits for it.
    pub fn plain_png(&self) -> Result<Vec<u8>> {
        self.packed(::png::Compression::NoCompression)
    }

    fn packed(&self, how: ::png::Compression) -> Result<Vec<u8>> {
        let side = |n: usize| u32::try_from(n).map_err(|e| Error::Internal(format!("tile: {e}")));
        let mut info = ::png::Info::with_size(side(self.width)?, side(self.height)?);
        info.color_type = match self.channels {
            1 => ::png::ColorType::Grayscale,
            2 => ::png::ColorType::GrayscaleAlpha,
            3 => ::png::ColorType::Rgb,
            _ => ::png::ColorType::Rgba,
        };
        info.bit_depth = ::png::BitDepth::Eight;
        info.icc_profile = self.icc.clone().map(Into::into);
        let mut out = Vec::new();
        let write = |out: &mut Vec<u8>| -> std::result::Result<(), ::png::EncodingError> {
            let mut encoder = ::png::Encoder::with_info(out, info)?;
            encoder.set_compression(how);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&self.data)?;
            writer.finish()
        };
        write(&mut out).map_err(|e| Error::Internal(format!("tile: {e}")))?;
        Ok(out)
    }

    /// As a JPEG file of quality 85 with the picture's profile, alpha laid over mid grey.
    pub fn jpeg(&self) -> Result<Vec<u8>> {
        let side = |n: usize| u16::try_from(n).map_err(|e| Error::Internal(format!("tile: {e}")));
        let (data, kind) = match self.channels {
            1 => (self.data.clone(), jpeg_encoder::ColorType::Luma),
            3 => (self.data.clone(), jpeg_encoder::ColorType::Rgb),
            n => {
                let over = |px: &[u8]| {
                    let a = u32::from(px[n - 1]);
                    px[..n - 1].iter().map(|v| ((u32::from(*v) * a + 128 * (255 - a) + 127) / 255) as u8).collect::<Vec<_>>()
                };
                let kind = if n == 2 { jpeg_encoder::ColorType::Luma } else { jpeg_encoder::ColorType::Rgb };
                (self.data.chunks_exact(n).flat_map(over).collect(), kind)
            }
        };
        let mut out = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut out, 85);
        let wrong = |e: jpeg_encoder::EncodingError| Error::Internal(format!("thumbnail: {e}"));
        if let Some(icc) = &self.icc {
            encoder.add_icc_profile(icc).map_err(wrong)?;
        }
        encoder.encode(&data, side(self.width)?, side(self.height)?, kind).map_err(wrong)?;
        Ok(out)
    }

    /// A grey map as colour to lay over a picture: the worse, the denser and the redder; the picture shows through everywhere.
    pub fn glow(&self) -> Shown {
        let colour = |px: &[u8]| {
            let v = u32::from(px[0]);
            [255, (180 - v * 160 / 255) as u8, (v * 70 / 255) as u8, (v * v * 140 / (255 * 255)) as u8]
        };
        let data = self.data.chunks_exact(self.channels).flat_map(colour).collect();
        Shown { width: self.width, height: self.height, channels: 4, data, icc: None }
    }

    fn bytes(&self) -> usize {
        self.data.len()
    }
}

/// Whole pixels from a whole position: where, and how many pixels make one.
fn step(at: f64, size: f64, parts: usize) -> Option<(usize, usize)> {
    let step = size / parts as f64;
    (at >= 0.0 && at.fract() == 0.0 && step >= 1.0 && step.fract() == 0.0).then_some((at as usize, step as usize))
}

fn eight(v: f32) -> u8 {
    (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

/// Decoded pictures, the last used ones, up to a number of bytes. Several may be decoded at once, none twice.
#[derive(Debug)]
pub struct Cache {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The last used last.
    kept: VecDeque<(PathBuf, Arc<Shown>)>,
    loading: Vec<PathBuf>,
}

impl Cache {
    /// Keeps at most `limit` bytes, but always the last picture.
    pub fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::new(State::default()), changed: Condvar::new() }
    }

    /// The decoded file. Waits if another thread is decoding it already.
    pub fn get(&self, path: &Path) -> Result<Arc<Shown>> {
        let mut state = self.lock();
        loop {
            if let Some(at) = state.kept.iter().position(|(p, _)| p == path)
                && let Some(found) = state.kept.remove(at)
            {
                let shown = Arc::clone(&found.1);
                state.kept.push_back(found);
                return Ok(shown);
            }
            if !state.loading.iter().any(|p| p == path) {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.loading.push(path.to_path_buf());
        drop(state);
        let loaded = Shown::load(path).map(Arc::new);
        let mut state = self.lock();
        state.loading.retain(|p| p != path);
        if let Ok(shown) = &loaded {
            state.kept.push_back((path.to_path_buf(), Arc::clone(shown)));
            while state.kept.len() > 1 && state.kept.iter().map(|(_, s)| s.bytes()).sum::<usize>() > self.limit {
                state.kept.pop_front();
            }
        }
        self.changed.notify_all();
        loaded
    }

    /// The decoded file if it is kept; it does not count as used.
    pub fn peek(&self, path: &Path) -> Option<Arc<Shown>> {
        self.lock().kept.iter().find(|(p, _)| p == path).map(|(_, s)| Arc::clone(s))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize, channels: usize) -> Shown {
        let data = (0..width * height * channels).map(|i| (i * 7 % 251) as u8).collect();
        Shown { width, height, channels, data, icc: None }
    }

    fn decoded(bytes: &[u8]) -> Shown {
        Shown::of(codec::decode(Path::new("t.png"), bytes, &Limits::default()).unwrap())
    }

    #[test]
    fn equal_sizes_are_copied_and_png_loses_nothing() {
        for n in 1..=4 {
            let p = ramp(20, 11, n);
            let cut = p.cut([3.0, 2.0, 9.0, 5.0], 9, 5).unwrap();
            for (x, y, c) in [(0, 0, 0), (8, 4, n - 1), (4, 2, 0)] {
                assert_eq!(cut.data[(y * 9 + x) * n + c], p.data[((y + 2) * 20 + x + 3) * n + c]);
            }
            let back = decoded(&cut.png().unwrap());
            assert_eq!((back.width, back.height, back.channels, &back.data), (9, 5, n, &cut.data));
            assert_eq!(decoded(&cut.plain_png().unwrap()).data, cut.data);
            assert!(cut.jpeg().unwrap().starts_with(&[0xff, 0xd8]));
        }
    }

    #[test]
    fn reduced_by_whole_factors_is_the_mean() {
        let p = ramp(12, 8, 3);
        let cut = p.cut([4.0, 0.0, 8.0, 8.0], 4, 2).unwrap();
        let mut sum = 0;
        for y in 4..8 {
            for x in 6..8 {
                sum += u32::from(p.data[(y * 12 + x) * 3 + 1]);
            }
        }
        assert_eq!(u32::from(cut.data[(4 + 1) * 3 + 1]), (sum + 4) / 8);
    }

    #[test]
    fn tiles_of_an_enlarged_source_fit_together() {
        // Cut as one, and as two halves: the same pixels, so that tiles never show.
        let p = ramp(30, 20, 1);
        let whole = p.cut([0.0, 0.0, 30.0, 20.0], 120, 80).unwrap();
        for (x0, w) in [(0, 64), (64, 56)] {
            let part = p.cut([x0 as f64 / 4.0, 0.0, w as f64 / 4.0, 20.0], w, 80).unwrap();
            for y in 0..80 {
                for x in 0..w {
                    let (a, b) = (whole.data[y * 120 + x0 + x], part.data[y * w + x]);
                    assert!(a.abs_diff(b) <= 1, "{x0}+{x},{y}: {a} {b}");
                }
            }
        }
        // A constant stays one, and edges do not shift: the mean of a bicubic enlargement is the source's.
        let mean = |s: &Shown| s.data.iter().map(|v| f64::from(*v)).sum::<f64>() / s.data.len() as f64;
        assert!((mean(&whole) - mean(&p)).abs() < 1.0);
    }

    #[test]
    fn the_cache_forgets_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, ramp(10, 10, 1).png().unwrap()).unwrap();
            path
        };
        let (a, b, c) = (file("a.png"), file("b.png"), file("c.png"));
        let cache = Cache::new(200);
        let first = cache.get(&a).unwrap();
        cache.get(&b).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.get(&a).unwrap()));
        cache.get(&c).unwrap();
        std::fs::remove_file(&b).unwrap();
        assert!(cache.get(&a).is_ok(), "used last, still there");
        assert_eq!(cache.get(&b).unwrap_err().kind(), "io", "forgotten, and gone from disk");
        std::thread::scope(|s| {
            let all: Vec<_> = (0..8).map(|_| s.spawn(|| cache.get(&c).unwrap())).collect();
            for t in all {
                t.join().unwrap();
            }
        });
    }
}
