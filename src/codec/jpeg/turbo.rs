//! JPEG through libjpeg-turbo (cargo feature `turbojpeg`). Baseline is written in strips, so that memory does not grow with the
//! picture.
//!
//! TurboJPEG takes whole pictures only. Each strip of block rows is encoded as a picture of its own; the coded data of all of
//! them stand one behind the other in one scan, with a restart marker between (ITU-T T.81, B.2.4.4 and E.1.4: at a restart the
//! coder starts anew, as it does at the top of a picture). All strips have the same tables: those of the quality, and the
//! standard's Huffman tables.

use std::io::Write;
use std::path::Path;

use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

use super::{APP0, DRI, JFIF_END, SOF0, SOF15, SOS, over_white, segments};
use crate::band::Band;
use crate::codec::{Encoding, Metadata, Output, Rows, quantise, zeros};
use crate::error::{Error, Result};
use crate::image::Channels;

/// Block rows of a strip, if so many fit into a restart interval: few enough for its pixels to stay in a core's cache between being
/// made and being encoded.
const BLOCK_ROWS: usize = 8;
const RST0: u8 = 0xd0;

/// Streams rows into a baseline JPEG file.
pub(in crate::codec) struct Writer {
    out: Output,
    rows: Rows,
    compressor: Compressor,
    size: (usize, usize),
    grey: bool,
    /// Blocks of a strip, which are its restart interval.
    interval: u16,
    /// Room for the pixels of a strip, a word each or, of grey, a byte each in rows of whole words; and how much of it is filled.
    pixels: Vec<u32>,
    filled: usize,
    codes: Vec<u8>,
    /// Room for the largest file that a strip can become.
    jpeg: Vec<u8>,
    /// Strips that are written.
    done: usize,
    /// Segments to go behind the JFIF header, and the resolution for it.
    insert: Vec<u8>,
    dpi: Option<(f64, f64)>,
}

impl Writer {
    pub(in crate::codec) fn new(
        out: Output,
        how: &Encoding,
        width: usize,
        height: usize,
        channels: Channels,
        metadata: &Metadata,
    ) -> Result<Self> {
        let grey = channels.colours() == 1;
        let (subsampling, block) = match (grey, how.chroma_420) {
            (true, _) => (Subsamp::Gray, 8),
            (_, true) => (Subsamp::Sub2x2, 16),
            _ => (Subsamp::None, 8),
        };
        let mut compressor = Compressor::new().map_err(failed)?;
        compressor.set_quality(i32::from(how.quality)).map_err(failed)?;
        compressor.set_subsamp(subsampling).map_err(failed)?;
        let across = width.div_ceil(block);
        let down = (usize::from(u16::MAX) / across).clamp(1, BLOCK_ROWS);
        let largest = compressor.buf_len(width, (down * block).min(height)).map_err(failed)?;
        Ok(Self {
            out,
            rows: Rows::new(width, height, channels),
            compressor,
            size: (width, height),
            grey,
            interval: (across * down) as u16,
            pixels: vec![0; (down * block).min(height) * if grey { width.div_ceil(4) } else { width }],
            filled: 0,
            codes: Vec::new(),
            jpeg: vec![0; largest],
            done: 0,
            insert: segments(channels, metadata),
            dpi: metadata.dpi,
        })
    }

    fn row_words(&self) -> usize {
        if self.grey { self.size.0.div_ceil(4) } else { self.size.0 }
    }

    /// Encodes and writes the rows that have been gathered.
    fn flush_strip(&mut self) -> Result<()> {
        let format = if self.grey { PixelFormat::GRAY } else { PixelFormat::RGBX };
        let height = self.filled / self.row_words();
        let pixels = bytemuck::cast_slice::<u32, u8>(&self.pixels[..self.filled]);
        let image = Image { pixels, width: self.size.0, pitch: self.row_words() * 4, height, format };
        let mut jpeg = std::mem::take(&mut self.jpeg);
        let len = self.compressor.compress_to_slice(image, &mut jpeg).map_err(failed)?;
        self.filled = 0;
        let (head, data) = split(&jpeg[..len]).ok_or_else(|| Error::Internal("libjpeg-turbo wrote a JPEG of another kind".into()))?;
        if self.done == 0 {
            let head = self.header(head);
            self.put(&head)?;
        } else {
            self.put(&[0xff, RST0 + ((self.done - 1) % 8) as u8])?;
        }
        self.done += 1;
        self.put(data)?;
        self.jpeg = jpeg;
        Ok(())
    }

    /// The first strip's header made that of the whole: its height, the resolution, our segments, the restart interval.
    fn header(&self, strip: &[u8]) -> Vec<u8> {
        let mut head = strip.to_vec();
        if let Some((x, y)) = self.dpi {
            let whole = |v: f64| (v.round().clamp(1.0, 65_535.0) as u16).to_be_bytes();
            // Behind SOI, marker, length, name and version: unit (1 = per inch) and densities.
            head[13] = 1;
            head[14..16].copy_from_slice(&whole(x));
            head[16..18].copy_from_slice(&whole(y));
        }
        let mut at = JFIF_END;
        let mut scan = head.len();
        while let Some(&[0xff, marker, a, b]) = head.get(at..at + 4) {
            if (SOF0..=SOF15).contains(&marker) && marker != super::DHT {
                head[at + 5..at + 7].copy_from_slice(&(self.size.1 as u16).to_be_bytes());
            }
            if marker == SOS {
                scan = at;
                break;
            }
            at += 2 + usize::from(u16::from_be_bytes([a, b]));
        }
        let [high, low] = self.interval.to_be_bytes();
        head.splice(scan..scan, [0xff, DRI, 0, 4, high, low]);
        head.splice(JFIF_END..JFIF_END, self.insert.iter().copied());
        head
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io(&self.out.path, e))
    }
}

/// A strip's file: everything up to and with the scan header, and the coded data without the end mark.
fn split(jpeg: &[u8]) -> Option<(&[u8], &[u8])> {
    jpeg.get(2..4).filter(|m| *m == [0xff, APP0])?;
    let mut at = 2;
    loop {
        let &[0xff, marker, a, b] = jpeg.get(at..at + 4)? else { return None };
        at += 2 + usize::from(u16::from_be_bytes([a, b]));
        if marker == SOS {
            let data = jpeg.get(at..)?.strip_suffix(&[0xff, super::EOI])?;
            return Some((&jpeg[..at], data));
        }
    }
}

/// Pixels of a YCbCr or grey picture, if libjpeg-turbo finds nothing at all to complain of; what it does find is left to be told
/// by the other decoder, which knows better words for it.
pub(super) fn decode(path: &Path, jpeg: &[u8], width: usize, height: usize, channels: Channels) -> Result<Option<Vec<u8>>> {
    let n = channels.count();
    let mut pixels = zeros::<u8>(path, width * height * n)?;
    let format = if n == 1 { PixelFormat::GRAY } else { PixelFormat::RGB };
    let output = Image { pixels: pixels.as_mut_slice(), width, pitch: width * n, height, format };
    let whole = Decompressor::new().and_then(|mut d| d.decompress(jpeg, output)).is_ok();
    Ok(whole.then_some(pixels))
}

/// Three bytes a pixel as a word each.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn widen(row: &[u8], words: &mut [u32]) {
    for (p, o) in row.as_chunks::<3>().0.iter().zip(words) {
        *o = u32::from_ne_bytes([p[0], p[1], p[2], 0]);
    }
}

fn failed(e: turbojpeg::Error) -> Error {
    Error::Internal(format!("libjpeg-turbo: {e}"))
}

impl crate::codec::Encoder for Writer {
    fn write(&mut self, band: &Band) -> Result<()> {
        self.rows.take(band)?;
        let (words, width) = (self.row_words(), self.size.0);
        for r in 0..band.rows {
            let subject = self.out.path.display();
            let to = &mut self.pixels[self.filled..self.filled + words];
            match band.channels {
                1 => quantise::row_into(band, r, &mut bytemuck::cast_slice_mut::<u32, u8>(to)[..width], &subject)?,
                3 => quantise::row_words(band, r, to, &subject)?,
                2 => {
                    quantise::row(band, r, &mut self.codes, &subject)?;
                    bytemuck::cast_slice_mut::<u32, u8>(to)[..width].copy_from_slice(&over_white::<1>(&self.codes));
                }
                _ => {
                    quantise::row(band, r, &mut self.codes, &subject)?;
                    for (o, p) in to.iter_mut().zip(over_white::<3>(&self.codes).chunks_exact(3)) {
                        *o = u32::from_ne_bytes([p[0], p[1], p[2], 0]);
                    }
                }
            }
            self.filled += words;
            if self.filled == self.pixels.len() {
                self.flush_strip()?;
            }
        }
        Ok(())
    }

    fn write_rows(&mut self, image: &crate::image::Image, from: usize, to: usize) -> Result<()> {
        let whole = 0..image.channels.count();
        let bytes = match image.channels {
            Channels::Rgb => self.rows.bytes(image, from..to)?,
            _ => None,
        };
        let Some(bytes) = bytes else { return self.write(&image.band(from, to, whole)) };
        for row in bytes.chunks_exact(self.size.0 * 3) {
            let end = self.filled + self.size.0;
            widen(row, &mut self.pixels[self.filled..end]);
            self.filled = end;
            if end == self.pixels.len() {
                self.flush_strip()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.rows.complete()?;
        if self.filled > 0 {
            self.flush_strip()?;
        }
        self.put(&[0xff, super::EOI])?;
        self.out.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Encoder, Format, Limits, decode};
    use crate::image::Samples;

    fn picture(w: usize, h: usize, channels: usize) -> Band {
        let mut band = Band::new(0, w, h, channels);
        for c in 0..channels {
            for y in 0..h {
                for x in 0..w {
                    let v = (x as f32 / 9.0 + c as f32).sin() * (y as f32 / 7.0).cos();
                    band.row_mut(c, y)[x] = ((0.5 + 0.4 * v) * 255.0).round() / 255.0;
                }
            }
        }
        band
    }

    /// The same picture by this writer and by TurboJPEG in one piece: the same pixels, whichever way the strips fall.
    #[test]
    fn strips_make_the_picture_that_one_piece_makes() {
        for (w, h, channels, half) in
            [(100, 300, 3, false), (100, 300, 3, true), (33, 129, 1, false), (700, 1, 3, true), (8, 2100, 3, false)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.jpg");
            let band = picture(w, h, channels);
            let kind = if channels == 1 { Channels::Grey } else { Channels::Rgb };
            let how = Encoding { format: Format::Jpeg, quality: 90, chroma_420: half, ..Encoding::default() };
            let metadata = Metadata { dpi: Some((300.0, 240.0)), comment: Some(b"a comment".to_vec()), ..Metadata::default() };
            let mut e: Box<dyn Encoder> = Box::new(Writer::new(Output::create(&path).unwrap(), &how, w, h, kind, &metadata).unwrap());
            for y in (0..h).step_by(50) {
                e.write(&band.slice(y, (y + 50).min(h))).unwrap();
            }
            e.finish().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let made = decode(Path::new("a.jpg"), &bytes, &Limits::default()).unwrap();
            assert_eq!((made.width, made.height, made.notes.len()), (w, h, 0), "{:?}", made.notes);
            assert_eq!((made.metadata.dpi, made.metadata.comment.as_deref()), (Some((300.0, 240.0)), Some(b"a comment".as_slice())));

            let mut pixels = Vec::new();
            for y in 0..h {
                (0..w).for_each(|x| pixels.extend((0..channels).map(|c| (band.row(c, y)[x] * 255.0).round() as u8)));
            }
            let format = if channels == 1 { PixelFormat::GRAY } else { PixelFormat::RGB };
            let image = Image { pixels: pixels.as_slice(), width: w, pitch: w * channels, height: h, format };
            let mut whole = Compressor::new().unwrap();
            whole.set_quality(90).unwrap();
            whole
                .set_subsamp(if channels == 1 {
                    Subsamp::Gray
                } else if half {
                    Subsamp::Sub2x2
                } else {
                    Subsamp::None
                })
                .unwrap();
            let whole = decode(Path::new("b.jpg"), &whole.compress_to_vec(image).unwrap(), &Limits::default()).unwrap();
            let (Samples::U8(a), Samples::U8(b)) = (&made.samples, &whole.samples) else { panic!("8 bits") };
            assert!(a == b, "{w}x{h}, {channels} channels, half {half}");
        }
    }
}
