//! TIFF 6.0 and BigTIFF: directories are read and written here (`ifd`), pixels are decoded by the `tiff` crate.
//!
//! Files are written little-endian in strips of about 256 KiB, each deflated behind the horizontal predictor, with the
//! directory at the end, so that rows stream. Over 4 GB the file becomes a BigTIFF.
//!
//! Over 500 lines because one format is one file: reading and writing share the tag numbers and their meaning.

use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};

use super::ifd::{self, Directory, Field};
use super::metadata::{MAKER_NOTE, resources, set_xmp, tidy_dpi};
use super::{Encoding, Format, Header, Limits, Metadata, Output, Rows, cmyk, exif, orientation, quantise, reserve, xmp};
use crate::band::Band;
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};

const AGAIN: &str = "copy, download or export it again";
const PLAIN: &str = "export it as an 8- or 16-bit RGB TIFF or PNG";

const WIDTH: u16 = 256;
const LENGTH: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const STRIP_OFFSETS: u16 = 273;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_BYTES: u16 = 279;
const X_RESOLUTION: u16 = 282;
const Y_RESOLUTION: u16 = 283;
const RESOLUTION_UNIT: u16 = 296;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const COLOUR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_LENGTH: u16 = 323;
const TILE_BYTES: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const SUBSAMPLING: u16 = 530;
const XMP: u16 = 700;
const IPTC: u16 = 33723;
const PHOTOSHOP: u16 = 34377;
const ICC: u16 = 34675;
const C2PA: u16 = 52545;

/// Descriptive tags of the main directory: they travel in the EXIF block.
const DESCRIPTIVE: [u16; 18] = [
    DOCUMENT_NAME,
    0x10e,
    0x10f,
    0x110,
    PAGE_NAME,
    0x131,
    0x132,
    0x13b,
    0x13c,
    0x4746,
    0x4749,
    0x8298,
    0x9c9b,
    0x9c9c,
    0x9c9d,
    0x9c9e,
    0x9c9f,
    0xc614,
];
const DOCUMENT_NAME: u16 = 269;
const PAGE_NAME: u16 = 285;
/// Layers and their sources, of Photoshop.
const LAYERS: u16 = 37724;
/// Microsoft's filling.
const PADDING: u16 = 59932;

/// Tags that describe how a file stores its pixels, or that have a place of their own in [`Metadata`]. Everything else in an
/// EXIF block's first directory is copied into the TIFF's.
fn is_structural(tag: u16) -> bool {
    // NewSubfileType to FillOrder; strips, samples and resolution; lists of free bytes, grey curves and fax options; the unit;
    // page number and TransferFunction, whose length goes with the depth; predictor, palette, halftones and tiles; SubIFDs; inks,
    // dots and samples; old JPEG and YCbCr.
    matches!(tag, 254..=266 | 273 | ORIENTATION | 277..=284 | 288..=293 | 296..=301 | PREDICTOR | 320..=325 | 330..=347 | 512..=532)
        || matches!(tag, XMP | IPTC | PHOTOSHOP | ICC | C2PA | PADDING)
}

/// What the main directory says about the pixels.
struct Page {
    width: u64,
    height: u64,
    samples: usize,
    bits: u64,
    photometric: u64,
    compression: u64,
    /// 1 unsigned, 2 signed, 3 float.
    format: u64,
    /// 0 unspecified, 1 associated (premultiplied), 2 unassociated.
    extra: Vec<u64>,
    /// Compressed bytes of all strips or tiles.
    packed: u64,
}

fn page(path: &Path, bytes: &[u8]) -> Result<(Directory, Page)> {
    let cut = || Error::input(path, "its TIFF directory is cut off or damaged", AGAIN);
    let dir = ifd::read(bytes).ok_or_else(cut)?;
    let (Some(width), Some(height)) = (dir.integer(WIDTH), dir.integer(LENGTH)) else { return Err(cut()) };
    let bits = dir.integers(BITS);
    let samples = dir.integer(SAMPLES).unwrap_or(1);
    let photometric = dir.integer(PHOTOMETRIC).ok_or_else(cut)?;
    let depth = bits.first().copied().unwrap_or(1);
    if bits.iter().any(|&b| b != depth) || !(1..=64).contains(&depth) {
        return Err(Error::input(path, format!("its samples have {bits:?} bits, which is not supported"), PLAIN));
    }
    if !(1..=16).contains(&samples) {
        return Err(Error::input(path, format!("it has {samples} samples per pixel, which is not supported"), PLAIN));
    }
    let packed = dir.integers(STRIP_BYTES).iter().chain(&dir.integers(TILE_BYTES)).fold(0u64, |sum, &n| sum.saturating_add(n));
    let p = Page {
        width,
        height,
        samples: samples as usize,
        bits: depth,
        photometric,
        compression: dir.integer(COMPRESSION).unwrap_or(1),
        format: dir.integer(SAMPLE_FORMAT).unwrap_or(1),
        extra: dir.integers(EXTRA_SAMPLES),
        packed,
    };
    Ok((dir, p))
}

impl Page {
    /// Colour samples stored per pixel and the layout after decoding.
    fn layout(&self, path: &Path) -> Result<Channels> {
        let (stored, colours) = match self.photometric {
            0 | 1 => (1, 1),
            2 | 6 => (3, 3),
            3 => (1, 3),
            5 => (4, 3),
            8..=10 => return Err(Error::input(path, "its pixels are in L*a*b*, which is not supported", PLAIN)),
            n => return Err(Error::input(path, format!("its kind of pixels (photometric interpretation {n}) is not supported"), PLAIN)),
        };
        if self.samples < stored {
            return Err(Error::input(
                path,
                format!("its directory contradicts itself ({} samples for photometric interpretation {})", self.samples, self.photometric),
                AGAIN,
            ));
        }
        Ok(Channels::of(colours, self.photometric != 5 && self.alpha(stored).is_some()))
    }

    /// Which of the stored samples is alpha, behind this many of colour. The pixel decoder gives the first of the others only.
    fn alpha(&self, stored: usize) -> Option<usize> {
        let named = self.samples > stored && matches!(self.extra.first(), Some(1 | 2));
        (named || self.unnamed_alpha()).then_some(stored)
    }

    /// RGB with a fourth sample that nothing is said about is alpha in practice; so is a second sample of grey.
    fn unnamed_alpha(&self) -> bool {
        self.extra.is_empty() && matches!((self.photometric, self.samples), (2, 4) | (0 | 1, 2))
    }

    fn premultiplied(&self) -> bool {
        self.extra.first() == Some(&1)
    }

    fn memory_bits(&self) -> u8 {
        match (self.format, self.bits) {
            (3, _) => 32,
            (_, 9..) if self.photometric != 5 && self.photometric != 3 => 16,
            _ => 8,
        }
    }
}

/// Reads the header. TIFF directories often stand at the end, so this usually needs the whole file.
pub(super) fn header(path: &Path, bytes: &[u8]) -> Result<Header> {
    let (dir, p) = page(path, bytes)?;
    let xmp = dir.find(XMP).map(|f| f.data.as_slice());
    let stated = dir.integer(ORIENTATION).and_then(|v| u8::try_from(v).ok()).filter(|v| (1..=8).contains(v));
    Ok(Header {
        format: Format::Tiff,
        width: usize::try_from(p.width).unwrap_or(usize::MAX),
        height: usize::try_from(p.height).unwrap_or(usize::MAX),
        channels: p.layout(path)?,
        bits: p.memory_bits(),
        orientation: stated.unwrap_or_else(|| orientation(None, xmp)),
    })
}

/// Metadata alone; the pixels are passed over.
pub(super) fn metadata(path: &Path, bytes: &[u8]) -> Result<(Metadata, Vec<String>)> {
    let (dir, _) = page(path, bytes)?;
    let (mut m, mut notes) = collect(&dir);
    // A CMYK profile is used up when pixels are decoded.
    m.icc = m.icc.filter(|icc| icc.get(16..20) != Some(b"CMYK"));
    if dir.more {
        notes.push("it has further pages, which are not carried".into());
    }
    Ok((m, notes))
}

/// Names what the pixel decoder would trip over.
fn refuse(path: &Path, dir: &Directory, p: &Page) -> Result<()> {
    if dir.find(TILE_WIDTH).is_some() && dir.integer(PLANAR) == Some(2) && p.samples > 1 {
        return Err(Error::input(path, "its planes are stored one after the other in tiles, which is not supported", PLAIN));
    }
    if p.photometric == 6 && !matches!(p.compression, 6 | 7) {
        let stated = dir.integers(SUBSAMPLING);
        if stated != [1, 1] {
            // TIFF 6.0 says 2x2 where the tag is missing.
            let by = if let [x, y] = stated[..] { format!("{x}x{y}") } else { "2x2".into() };
            let what = format!("its colour is stored at a lower resolution ({by}) without JPEG, which is not supported");
            return Err(Error::input(path, what, PLAIN));
        }
    }
    Ok(())
}

/// Decodes the first page's pixels and metadata; the orientation is not applied.
pub(super) fn decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let (dir, p) = page(path, bytes)?;
    limits.check(path, p.width, p.height)?;
    let channels = p.layout(path)?;
    refuse(path, &dir, &p)?;
    let (width, height) = (p.width as usize, p.height as usize);
    let row = (p.width * p.samples as u64 * p.bits).div_ceil(8);
    let raw = row.saturating_mul(p.height);
    // The most a byte can stand for: itself, LZW's longest string, or a whole row (fax).
    let reach = match p.compression {
        1 => 1,
        2..=4 => 100_000,
        _ => 4096,
    };
    let there = p.packed.min(bytes.len() as u64);
    if p.packed > bytes.len() as u64 || raw > there.saturating_mul(reach).saturating_add(row) {
        return Err(Error::input(
            path,
            format!(
                "its {} bytes cannot hold the {} bytes of {width}x{height} pixels: the file is cut off or damaged",
                bytes.len(),
                if reach == 1 { raw } else { p.packed }
            ),
            AGAIN,
        ));
    }
    if dir.integer(TILE_WIDTH).is_some_and(|w| w > p.width.next_multiple_of(1024))
        || dir.integer(TILE_LENGTH).is_some_and(|h| h > p.height.next_multiple_of(1024))
    {
        return Err(Error::input(path, "its tiles are far larger than the picture: the file is damaged", AGAIN));
    }
    let (metadata, mut notes) = collect(&dir);
    if dir.more {
        notes.push("it has further pages, which are not carried".into());
    }

    if p.compression == 7 && p.samples == 2 {
        return Err(Error::input(path, "its grey and alpha are compressed as JPEG, which is not supported", PLAIN));
    }

    // The pixel decoder takes palettes and inverted grey only as plain grey.
    let patched = matches!(p.photometric, 0 | 3).then(|| plain_grey(bytes)).flatten();
    let broken = |e: tiff::TiffError| match e {
        tiff::TiffError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::input(path, "the TIFF data ends inside its picture: the file is cut off or damaged", AGAIN)
        }
        tiff::TiffError::UnsupportedError(e) => Error::input(path, format!("it is a kind of TIFF that is not supported ({e})"), PLAIN),
        e => Error::input(path, format!("its TIFF picture data is damaged ({e})"), AGAIN),
    };
    let mut limit = tiff::decoder::Limits::default();
    limit.decoding_buffer_size = usize::try_from(raw.saturating_mul(2).saturating_add(1 << 20)).unwrap_or(usize::MAX);
    limit.intermediate_buffer_size = limit.decoding_buffer_size;
    limit.ifd_value_size = bytes.len().max(1 << 20);
    let mut d = Decoder::new(Cursor::new(patched.as_deref().unwrap_or(bytes))).map_err(broken)?.with_limits(limit);
    let colour = d.colortype().map_err(broken)?;
    let mut result = DecodingResult::U8(Vec::new());
    let layout = d.read_image_to_buffer(&mut result).map_err(broken)?;
    if result.as_buffer(0).as_bytes().len() < layout.complete_len {
        return Err(Error::limit(path.display(), "its planes do not fit into memory together", PLAIN));
    }
    drop(d);
    drop(patched);

    let stored = usize::from(match colour {
        ColorType::Multiband { num_samples, .. } => num_samples,
        c => c.num_samples(),
    });
    let planes = layout.planes.max(1);
    let samples = match result {
        DecodingResult::U8(v) if p.bits < 8 => Samples::U8(unpacked(path, &v, width, height, stored, p.bits as u8, p.photometric == 3)?),
        DecodingResult::U8(v) => Samples::U8(chunky(path, v, planes)?),
        DecodingResult::U16(v) => Samples::U16(chunky(path, v, planes)?),
        DecodingResult::U32(v) => {
            notes.push("its 32-bit integers were cut to 16 bits".into());
            Samples::U16(chunky(path, v.into_iter().map(|v| (v >> 16) as u16).collect(), planes)?)
        }
        DecodingResult::F16(v) => Samples::F32(chunky(path, v.into_iter().map(f32::from).collect(), planes)?),
        DecodingResult::F32(v) => Samples::F32(chunky(path, v, planes)?),
        DecodingResult::F64(v) => Samples::F32(chunky(path, v.into_iter().map(|v| v as f32).collect(), planes)?),
        _ => return Err(Error::input(path, "its samples are signed or 64-bit integers, which is not supported", PLAIN)),
    };
    let mut image = Image { width, height, channels, samples, format: Format::Tiff, metadata, notes };
    finish_pixels(path, &mut image, &dir, &p, stored)?;
    Ok(image)
}

/// From samples as stored to the layout promised: palette, inverted grey, CMYK, YCbCr, surplus samples, premultiplied alpha.
fn finish_pixels(path: &Path, image: &mut Image, dir: &Directory, p: &Page, stored: usize) -> Result<()> {
    let pixels = image.width * image.height;
    let n = image.channels.count();
    let len = match &image.samples {
        Samples::U8(v) => v.len(),
        Samples::U16(v) => v.len(),
        Samples::F32(v) => v.len(),
    };
    if len != pixels * stored {
        return Err(Error::input(path, format!("its TIFF data holds {len} samples for {pixels} pixels"), AGAIN));
    }
    match p.photometric {
        0 => match &mut image.samples {
            Samples::U8(v) => v.chunks_exact_mut(stored).for_each(|px| px[0] = u8::MAX - px[0]),
            Samples::U16(v) => v.chunks_exact_mut(stored).for_each(|px| px[0] = u16::MAX - px[0]),
            Samples::F32(v) => v.chunks_exact_mut(stored).for_each(|px| px[0] = 1.0 - px[0]),
        },
        3 => return palette(path, image, dir, p, stored),
        5 => {
            let ink: Vec<u8> = match &image.samples {
                Samples::U8(v) => v.chunks_exact(stored).flat_map(|px| px[..4].iter().copied()).collect(),
                Samples::U16(v) => {
                    image.notes.push("its 16-bit CMYK was converted at 8 bits".into());
                    v.chunks_exact(stored).flat_map(|px| [0, 1, 2, 3].map(|c| ((u32::from(px[c]) * 255 + 32_767) / 65_535) as u8)).collect()
                }
                Samples::F32(_) => return Err(Error::input(path, "its CMYK pixels are floating point, which is not supported", PLAIN)),
            };
            let (rgb, note) = cmyk::to_srgb(path, &ink, image.metadata.icc.as_deref())?;
            image.samples = Samples::U8(rgb);
            cmyk::now_srgb(&mut image.metadata);
            image.notes.push(note);
            if stored > 4 {
                image.notes.push("its samples beside CMYK (alpha or spot colours) are not carried".into());
            }
            return Ok(());
        }
        6 => match &mut image.samples {
            Samples::U8(v) if stored == 3 => v.as_chunks_mut::<3>().0.iter_mut().for_each(|px| *px = cmyk::ycbcr_to_rgb(*px)),
            _ => return Err(Error::input(path, "its YCbCr pixels are not 8-bit, which is not supported", PLAIN)),
        },
        _ => {}
    }
    if !image.channels.has_alpha() && p.extra.iter().skip(1).any(|e| matches!(e, 1 | 2)) {
        image.notes.push("its alpha stands behind another sample and is not carried".into());
    }
    let more = p.samples.max(stored).saturating_sub(n);
    if more > 0 {
        image.notes.push(format!("{more} samples per pixel beside colour and alpha are not carried"));
    }
    if stored > n {
        match &mut image.samples {
            Samples::U8(v) => keep_first(v, stored, n),
            Samples::U16(v) => keep_first(v, stored, n),
            Samples::F32(v) => keep_first(v, stored, n),
        }
    } else if stored < n {
        return Err(Error::input(path, format!("its TIFF data holds {stored} samples per pixel instead of {n}"), AGAIN));
    }
    if image.channels.has_alpha() && p.premultiplied() {
        match &mut image.samples {
            Samples::U8(v) => v.chunks_exact_mut(n).for_each(|px| {
                let a = u32::from(px[n - 1]);
                px[..n - 1].iter_mut().for_each(|v| *v = (u32::from(*v) * 255 + a / 2).checked_div(a).unwrap_or(0).min(255) as u8);
            }),
            Samples::U16(v) => v.chunks_exact_mut(n).for_each(|px| {
                let a = u64::from(px[n - 1]);
                px[..n - 1].iter_mut().for_each(|v| *v = (u64::from(*v) * 65535 + a / 2).checked_div(a).unwrap_or(0).min(65535) as u16);
            }),
            Samples::F32(v) => v.chunks_exact_mut(n).for_each(|px| {
                let a = px[n - 1];
                px[..n - 1].iter_mut().for_each(|v| *v = if a <= 0.0 { 0.0 } else { *v / a });
            }),
        }
        image.notes.push("its colours were stored multiplied by alpha and have been divided by it".into());
    }
    if let Samples::F32(v) = &image.samples
        && let Some(at) = v.iter().position(|v| !v.is_finite())
    {
        let px = at / n;
        return Err(Error::input(path, format!("its pixel ({}, {}) is not a finite number", px % image.width, px / image.width), PLAIN));
    }
    Ok(())
}

fn keep_first<T: Copy>(v: &mut Vec<T>, stored: usize, n: usize) {
    let pixels = v.len() / stored;
    for i in 0..pixels {
        v.copy_within(i * stored..i * stored + n, i * n);
    }
    v.truncate(pixels * n);
}

fn palette(path: &Path, image: &mut Image, dir: &Directory, p: &Page, stored: usize) -> Result<()> {
    let map = dir.integers(COLOUR_MAP);
    let (Samples::U8(index), false) = (&image.samples, map.is_empty() || !map.len().is_multiple_of(3)) else {
        return Err(Error::input(path, "its palette is missing or has an unusual depth", PLAIN));
    };
    let n = map.len() / 3;
    // Some writers put 8-bit values into the 16-bit map.
    let shift = if map.iter().any(|&v| v > 255) { 8 } else { 0 };
    let alpha = p.alpha(1).filter(|&a| image.channels.has_alpha() && a < stored);
    if image.channels.has_alpha() != alpha.is_some() {
        return Err(Error::input(path, format!("its TIFF data holds {stored} samples per pixel, without its alpha"), AGAIN));
    }
    // Below 8 bits, samples come as they are stored.
    let opaque = if p.bits < 8 { (1u32 << p.bits) - 1 } else { 255 };
    let mut rgb = reserve::<u8>(path, image.width * image.height * image.channels.count())?;
    for px in index.chunks_exact(stored) {
        let i = usize::from(px[0]);
        if i >= n {
            return Err(Error::input(path, format!("a pixel uses colour {i} of a palette of {n}"), AGAIN));
        }
        rgb.extend([0, 1, 2].map(|c| (map[c * n + i] >> shift) as u8));
        rgb.extend(alpha.map(|a| (u32::from(px[a]) * 255 / opaque) as u8));
    }
    image.samples = Samples::U8(rgb);
    Ok(())
}

/// Samples of 1, 2 or 4 bits as bytes: palette indices as they are, grey stretched to 0..=255.
fn unpacked(path: &Path, v: &[u8], width: usize, height: usize, stored: usize, bits: u8, index: bool) -> Result<Vec<u8>> {
    if !matches!(bits, 1 | 2 | 4) {
        return Err(Error::input(path, format!("its samples have {bits} bits, which is not supported"), PLAIN));
    }
    let per_row = width * stored;
    let stride = (per_row * usize::from(bits)).div_ceil(8);
    if v.len() < stride * height {
        return Err(Error::input(path, "the TIFF data ends inside its picture", AGAIN));
    }
    let (mask, per_byte) = ((1u8 << bits) - 1, usize::from(8 / bits));
    let scale = if index { 1 } else { 255 / mask };
    let mut out = reserve(path, per_row * height)?;
    for row in v.chunks_exact(stride).take(height) {
        out.extend((0..per_row).map(|x| (row[x / per_byte] >> (8 - bits - bits * (x % per_byte) as u8) & mask) * scale));
    }
    Ok(out)
}

/// Weaves planes that stand one after the other.
fn chunky<T: Copy>(path: &Path, v: Vec<T>, planes: usize) -> Result<Vec<T>> {
    if planes == 1 {
        return Ok(v);
    }
    let n = v.len() / planes;
    let mut out = reserve(path, n * planes)?;
    for i in 0..n {
        out.extend((0..planes).map(|c| v[c * n + i]));
    }
    Ok(out)
}

/// A copy of the file whose photometric interpretation says grey, black is zero.
fn plain_grey(bytes: &[u8]) -> Option<Vec<u8>> {
    let little = bytes.first() == Some(&b'I');
    let big = bytes.get(if little { 2 } else { 3 }) == Some(&43);
    let number = |at: usize, n: usize| -> Option<usize> {
        let b = bytes.get(at..at.checked_add(n)?)?;
        let join = |v: usize, &b: &u8| v << 8 | usize::from(b);
        Some(if little { b.iter().rev().fold(0, join) } else { b.iter().fold(0, join) })
    };
    let (at, head, entry, inline) = if big { (number(8, 8)?, 8, 20, 8) } else { (number(4, 4)?, 2, 12, 4) };
    let e = (0..number(at, head)?.min(4096)).map(|i| at + head + i * entry).find(|&e| number(e, 2) == Some(usize::from(PHOTOMETRIC)))?;
    let mut out = bytes.to_vec();
    let value = out.get_mut(e + 4 + inline..e + 6 + inline)?;
    value.copy_from_slice(&if little { [1, 0] } else { [0, 1] });
    Some(out)
}

/// Metadata tags, and an EXIF block made of the descriptive ones.
fn collect(dir: &Directory) -> (Metadata, Vec<String>) {
    let mut notes = Vec::new();
    let data = |tag| dir.find(tag).map(|f| f.data.clone()).filter(|d| !d.is_empty());
    let mut m = Metadata {
        icc: data(ICC),
        xmp: data(XMP).map(|x| xmp::utf8(&x).into_owned()),
        iptc: data(IPTC),
        c2pa: data(C2PA),
        ..Metadata::default()
    };
    if let Some(irb) = data(PHOTOSHOP) {
        let found = resources(&irb);
        found.tell_xmp(&mut m.xmp);
        m.iptc = m.iptc.or(found.iptc);
        if found.other > 0 {
            notes.push(format!("{} bytes of Photoshop's own resources are not carried", found.other));
        }
    }
    if let Some(layers) = data(LAYERS) {
        notes.push(format!("its Photoshop layers ({} bytes) are not carried: the result is the flat picture", layers.len()));
    }
    // The file's own tag counts before what the packet says about the same thing.
    if let (Some(packet), Some(stated)) = (&mut m.xmp, dir.integer(ORIENTATION).filter(|o| (1..=8).contains(o))) {
        set_xmp(packet, "tiff:Orientation", &stated.to_string());
    }
    let per_inch = match dir.integer(RESOLUTION_UNIT).unwrap_or(2) {
        2 => Some(1.0),
        3 => Some(2.54),
        _ => None,
    };
    let ratio = |tag| dir.find(tag).and_then(Field::ratio);
    if let (Some(per_inch), Some(x), Some(y)) = (per_inch, ratio(X_RESOLUTION), ratio(Y_RESOLUTION)) {
        m.dpi = tidy_dpi(x * per_inch, y * per_inch);
    }
    let turned = dir.integer(ORIENTATION).is_some_and(|o| o != 1);
    let says = |tag: u16| DESCRIPTIVE.contains(&tag) || tag == ORIENTATION || matches!(tag, X_RESOLUTION | Y_RESOLUTION | RESOLUTION_UNIT);
    if turned || !dir.subs.is_empty() || dir.fields.iter().any(|f| DESCRIPTIVE.contains(&f.tag)) {
        let fields = dir.fields.iter().filter(|f| says(f.tag)).cloned().collect();
        if dir.subs.iter().any(|(_, sub)| sub.find(MAKER_NOTE).is_some()) {
            notes.push("its camera's maker note was moved; offsets inside it may no longer lead anywhere".into());
        }
        m.exif = Some(ifd::block(&Directory { fields, subs: dir.subs.clone(), more: false }));
    }
    let known = |t: u16| says(t) || is_structural(t) || t == LAYERS;
    let unknown: Vec<String> = dir.fields.iter().filter(|f| !known(f.tag)).map(|f| f.tag.to_string()).collect();
    if !unknown.is_empty() {
        notes.push(format!("its TIFF tags {} are not carried", unknown.join(", ")));
    }
    (m, notes)
}

/// Streams rows into a TIFF file.
pub(super) struct Writer {
    out: Output,
    rows: Rows,
    channels: Channels,
    bits: u8,
    big: bool,
    rows_per_strip: usize,
    /// Predicted bytes of the strip being filled.
    strip: Vec<u8>,
    filled: usize,
    codes8: Vec<u8>,
    codes16: Vec<u16>,
    position: u64,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
    metadata: Metadata,
}

impl Writer {
    pub(super) fn new(
        mut out: Output,
        how: &Encoding,
        width: usize,
        height: usize,
        channels: Channels,
        metadata: &Metadata,
    ) -> Result<Self> {
        let row = width as u64 * channels.count() as u64 * u64::from(how.bits / 8);
        let beside = [&metadata.icc, &metadata.xmp, &metadata.exif, &metadata.iptc]
            .iter()
            .map(|m| m.as_ref().map_or(0, Vec::len) as u64)
            .sum::<u64>();
        // Deflate never grows data by more than a thousandth; a strip's two table entries take 8 bytes.
        let rows_per_strip = (262_144 / row).clamp(1, height as u64);
        let strips = (height as u64).div_ceil(rows_per_strip);
        let big = row.saturating_mul(height as u64) / 1000 * 1001 + strips * 40 + beside + (1 << 20) > u64::from(u32::MAX);
        let head: &[u8] = if big { b"II+\0\x08\0\0\0\0\0\0\0\0\0\0\0" } else { b"II*\0\0\0\0\0" };
        out.write_all(head).map_err(|e| Error::io(&out.path, e))?;
        Ok(Self {
            rows: Rows::new(width, height, channels),
            channels,
            bits: how.bits,
            big,
            rows_per_strip: rows_per_strip as usize,
            strip: Vec::new(),
            filled: 0,
            codes8: Vec::new(),
            codes16: Vec::new(),
            position: head.len() as u64,
            offsets: Vec::new(),
            lengths: Vec::new(),
            metadata: metadata.clone(),
            out,
        })
    }

    fn flush_strip(&mut self) -> Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        let io = |e| Error::io(&self.out.path, e);
        let mut z = flate2::write::ZlibEncoder::new(Vec::with_capacity(self.strip.len() / 2), flate2::Compression::new(1));
        z.write_all(&self.strip).map_err(io)?;
        let packed = z.finish().map_err(io)?;
        self.put(&packed)?;
        self.strip.clear();
        self.filled = 0;
        Ok(())
    }

    fn put(&mut self, packed: &[u8]) -> Result<()> {
        self.out.write_all(packed).map_err(|e| Error::io(&self.out.path, e))?;
        self.offsets.push(self.position);
        self.lengths.push(packed.len() as u64);
        self.position += packed.len() as u64;
        Ok(())
    }

    /// The directory with all metadata.
    fn directory(&self) -> Directory {
        let m = &self.metadata;
        let n = self.channels.count();
        let mut fields = vec![
            Field::long(WIDTH, self.rows.width as u32),
            Field::long(LENGTH, self.rows.height as u32),
            Field::short(BITS, &vec![u16::from(self.bits); n]),
            Field::short(COMPRESSION, &[8]),
            Field::short(PHOTOMETRIC, &[if self.channels.colours() == 1 { 1 } else { 2 }]),
            Field::positions(STRIP_OFFSETS, &self.offsets, self.big),
            Field::short(ORIENTATION, &[1]),
            Field::short(SAMPLES, &[n as u16]),
            Field::long(ROWS_PER_STRIP, self.rows_per_strip as u32),
            Field::positions(STRIP_BYTES, &self.lengths, self.big),
            Field::short(284, &[1]),
            Field::short(PREDICTOR, &[2]),
            Field::short(SAMPLE_FORMAT, &vec![1; n]),
        ];
        if self.channels.has_alpha() {
            fields.push(Field::short(EXTRA_SAMPLES, &[2]));
        }
        if let Some((x, y)) = m.dpi {
            fields.push(Field::rational(X_RESOLUTION, exif::rational(x)));
            fields.push(Field::rational(Y_RESOLUTION, exif::rational(y)));
            fields.push(Field::short(RESOLUTION_UNIT, &[2]));
        }
        for (tag, kind, data) in [(XMP, 1, m.xmp.as_deref()), (IPTC, 7, m.iptc.as_deref()), (ICC, 7, m.icc_for(self.channels))] {
            fields.extend(data.map(|d| Field::bytes(tag, kind, d)));
        }
        let mut subs = Vec::new();
        if let Some(block) = m.exif.as_deref().and_then(ifd::read) {
            fields.extend(block.fields.into_iter().filter(|f| !is_structural(f.tag)));
            subs = block.subs;
        }
        Directory { fields, subs, more: false }
    }
}

impl super::Encoder for Writer {
    fn write(&mut self, band: &Band) -> Result<()> {
        self.rows.take(band)?;
        let n = self.channels.count();
        for r in 0..band.rows {
            if self.bits == 16 {
                quantise::row(band, r, &mut self.codes16, &self.out.path.display())?;
                let v = &self.codes16;
                self.strip.extend(v[..n].iter().flat_map(|v| v.to_le_bytes()));
                self.strip.extend(v[n..].iter().zip(v).flat_map(|(v, before)| v.wrapping_sub(*before).to_le_bytes()));
            } else {
                quantise::row(band, r, &mut self.codes8, &self.out.path.display())?;
                let v = &self.codes8;
                self.strip.extend_from_slice(&v[..n]);
                self.strip.extend(v[n..].iter().zip(v).map(|(v, before)| v.wrapping_sub(*before)));
            }
            self.filled += 1;
            if self.filled == self.rows_per_strip {
                self.flush_strip()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.rows.complete()?;
        self.flush_strip()?;
        let at = self.position.next_multiple_of(8);
        let (bytes, begins) = ifd::write(&self.directory(), at, self.big);
        if !self.big && at + bytes.len() as u64 > u64::from(u32::MAX) {
            return Err(Error::Internal("a TIFF grew over 4 GB unforeseen".into()));
        }
        let width = if self.big { 8 } else { 4 };
        let gap = [0; 8];
        let mut end = || -> std::io::Result<()> {
            self.out.write_all(&gap[..(at - self.position) as usize])?;
            self.out.write_all(&bytes)?;
            self.out.seek(SeekFrom::Start(if width == 8 { 8 } else { 4 }))?;
            self.out.write_all(&begins.to_le_bytes()[..width])
        };
        end().map_err(|e| Error::io(&self.out.path, e))?;
        self.out.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A little-endian file of one strip (or, with a tile's size among the fields, of tiles of this many bytes).
    fn file(fields: &[(u16, Vec<u16>)], data: &[u8], tile: Option<usize>) -> Vec<u8> {
        let mut out = b"II*\0\0\0\0\0".to_vec();
        out.extend_from_slice(data);
        let (offsets, lengths): (Vec<u32>, Vec<u32>) = match tile {
            Some(n) => (0..data.len() / n).map(|i| ((8 + i * n) as u32, n as u32)).unzip(),
            None => (vec![8], vec![data.len() as u32]),
        };
        let (at, of) = if tile.is_some() { (324, TILE_BYTES) } else { (STRIP_OFFSETS, STRIP_BYTES) };
        let mut all: Vec<(u16, u16, Vec<u8>)> =
            fields.iter().map(|(tag, v)| (*tag, 3, v.iter().flat_map(|v| v.to_le_bytes()).collect())).collect();
        for (tag, v) in [(at, offsets), (of, lengths)] {
            all.push((tag, 4, v.iter().flat_map(|v| v.to_le_bytes()).collect()));
        }
        all.sort_by_key(|f| f.0);
        let mut dir = (all.len() as u16).to_le_bytes().to_vec();
        for (tag, kind, value) in &all {
            dir.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            dir.extend(((value.len() / ifd::width(*kind)) as u32).to_le_bytes());
            if value.len() > 4 {
                dir.extend((out.len() as u32).to_le_bytes());
                out.extend(value);
            } else {
                dir.extend([&value[..], &[0; 4]].concat().iter().take(4));
            }
        }
        let start = (out.len() as u32).to_le_bytes();
        out[4..8].copy_from_slice(&start);
        out.extend(dir);
        out.extend([0; 4]);
        out
    }

    /// 2x1 pixels of 8 bits.
    fn plain(photometric: u16, samples: u16, more: &[(u16, Vec<u16>)]) -> Vec<(u16, Vec<u16>)> {
        let own = [
            (WIDTH, vec![2]),
            (LENGTH, vec![1]),
            (BITS, vec![8; usize::from(samples)]),
            (COMPRESSION, vec![1]),
            (PHOTOMETRIC, vec![photometric]),
            (SAMPLES, vec![samples]),
            (ROWS_PER_STRIP, vec![1]),
        ];
        own.into_iter().filter(|f| more.iter().all(|m| m.0 != f.0)).chain(more.iter().cloned()).collect()
    }

    fn read(bytes: &[u8]) -> Result<Image> {
        super::super::decode(Path::new("a.tif"), bytes, &Limits::default())
    }

    #[test]
    fn alpha_is_found_beside_a_palette_and_its_loss_is_said() {
        let five = file(&plain(2, 5, &[(EXTRA_SAMPLES, vec![0, 2])]), &[1, 2, 3, 99, 4, 5, 6, 7, 99, 8], None);
        let image = read(&five).unwrap();
        assert_eq!((image.channels, &image.samples), (Channels::Rgb, &Samples::U8(vec![1, 2, 3, 5, 6, 7])));
        assert!(image.notes[0].contains("its alpha stands behind"), "{:?}", image.notes);
        let map: Vec<u16> = (0..3).flat_map(|c| (0..256).map(move |i| (i as u16 ^ (c * 85)) << 8)).collect();
        let indexed = file(&plain(3, 2, &[(COLOUR_MAP, map), (EXTRA_SAMPLES, vec![2])]), &[7, 40, 9, 255], None);
        let image = read(&indexed).unwrap();
        assert_eq!(image.samples, Samples::U8(vec![7, 7 ^ 85, 7 ^ 170, 40, 9, 9 ^ 85, 9 ^ 170, 255]));
    }

    #[test]
    fn what_cannot_be_decoded_is_named() {
        let tile = [(TILE_WIDTH, vec![16]), (TILE_LENGTH, vec![16]), (PLANAR, vec![2])];
        let e = read(&file(&plain(2, 3, &tile), &[0; 3 * 256], Some(256))).unwrap_err().to_string();
        assert!(e.contains("tiles") && !e.contains("report"), "{e}");
        for (stated, by) in [(vec![(SUBSAMPLING, vec![2, 2])], "2x2"), (vec![(SUBSAMPLING, vec![2, 1])], "2x1"), (vec![], "2x2")] {
            let e = read(&file(&plain(6, 3, &stated), &[100, 100, 128, 128], None)).unwrap_err().to_string();
            assert!(e.contains(by) && !e.contains("cut off"), "{e}");
        }
        let whole = file(&plain(6, 3, &[(SUBSAMPLING, vec![1, 1])]), &[100, 128, 128, 200, 128, 128], None);
        assert_eq!(read(&whole).unwrap().samples, Samples::U8(vec![100, 100, 100, 200, 200, 200]));
    }
}
