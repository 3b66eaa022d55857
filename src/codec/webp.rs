//! WebP (RFC 9649): RIFF chunks are walked and written here, pixels are decoded by `image` (in Rust, as the bytes are
//! anybody's) and encoded by libwebp.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;

use super::metadata::Dropped;
use super::{Encoding, Format, Header, Limits, Metadata, Output, Rows, orientation, quantise, reserve, zeros};
use crate::band::Band;
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};

const AGAIN: &str = "copy, download or export it again";

/// Flags of the VP8X chunk.
const HAS_ICC: u8 = 0x20;
const HAS_ALPHA: u8 = 0x10;
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;
const ANIMATED: u8 = 0x02;

struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
    whole: bool,
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = 12;
    std::iter::from_fn(move || {
        let head = bytes.get(at..at + 8)?;
        let len = u32::from_le_bytes(head[4..].try_into().ok()?) as usize;
        let rest = &bytes[at + 8..];
        let chunk = Chunk { kind: head[..4].try_into().ok()?, data: &rest[..len.min(rest.len())], whole: len <= rest.len() };
        at = at.saturating_add(8 + len + len % 2);
        Some(chunk)
    })
}

/// What the chunks say together.
#[derive(Default)]
struct Info {
    size: Option<(usize, usize)>,
    alpha: bool,
    animated: bool,
    frames: usize,
    /// Kind and completeness of the pixel chunk.
    pixels: Option<bool>,
    metadata: Metadata,
    /// Names of damaged metadata chunks.
    cut: Vec<&'static str>,
    /// Chunks that have no place in another file.
    dropped: Dropped,
}

fn info(bytes: &[u8]) -> Info {
    let mut i = Info::default();
    let u24 = |b: &[u8]| usize::from(b[0]) | usize::from(b[1]) << 8 | usize::from(b[2]) << 16;
    for c in chunks(bytes) {
        let mut keep = |name, to: &mut Option<Vec<u8>>| {
            if !c.whole {
                i.cut.push(name);
            } else if to.is_none() {
                *to = Some(c.data.to_vec());
            }
        };
        match &c.kind {
            b"VP8X" if c.data.len() >= 10 => {
                i.size = Some((u24(&c.data[4..7]) + 1, u24(&c.data[7..10]) + 1));
                i.alpha |= c.data[0] & HAS_ALPHA != 0;
                i.animated |= c.data[0] & ANIMATED != 0;
            }
            // Key frame header, RFC 6386, 9.1: start code 9d 01 2a, then 14 bits each of width and height.
            b"VP8 " if i.pixels.is_none() => {
                i.pixels = Some(c.whole);
                if let Some(&[0x9d, 0x01, 0x2a, w0, w1, h0, h1]) = c.data.get(3..10) {
                    let side = |lo, hi| usize::from(u16::from_le_bytes([lo, hi]) & 0x3fff);
                    i.size.get_or_insert((side(w0, w1), side(h0, h1)));
                }
            }
            // Lossless header, RFC 9649, 3.4: signature 2f, 14 bits each of width - 1 and height - 1, the alpha bit.
            b"VP8L" if i.pixels.is_none() => {
                i.pixels = Some(c.whole);
                if let Some(&[0x2f, a, b, cc, d]) = c.data.get(..5) {
                    let v = u32::from_le_bytes([a, b, cc, d]);
                    i.size.get_or_insert(((v & 0x3fff) as usize + 1, (v >> 14 & 0x3fff) as usize + 1));
                    i.alpha |= v >> 28 & 1 == 1;
                }
            }
            b"ALPH" => i.alpha = true,
            b"ANMF" => {
                i.frames += 1;
                i.animated = true;
            }
            b"ICCP" => keep("ICC profile", &mut i.metadata.icc),
            b"EXIF" => keep("EXIF block", &mut i.metadata.exif),
            b"XMP " => keep("XMP packet", &mut i.metadata.xmp),
            b"C2PA" => keep("C2PA manifest", &mut i.metadata.c2pa),
            b"VP8X" | b"VP8 " | b"VP8L" | b"ANIM" => {}
            kind => i.dropped.add(String::from_utf8_lossy(kind).trim().to_string()),
        }
    }
    if let Some(block) = i.metadata.exif.as_mut().filter(|b| b.starts_with(b"Exif\0\0")) {
        block.drain(..6);
    }
    i
}

impl Info {
    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.cut.iter().map(|what| format!("its {what} is cut off and was left out")).collect();
        notes.extend(self.dropped.note("chunks"));
        notes
    }
}

/// A file's chunks, those with pixels cut to their heads.
pub(super) fn without_pixels(file: &mut File) -> io::Result<Vec<u8>> {
    /// Holds every header of a pixel chunk.
    const HEAD: u32 = 16;
    let mut file = BufReader::new(file);
    file.seek(SeekFrom::Start(0))?;
    let mut out = Vec::new();
    (&mut file).take(12).read_to_end(&mut out)?;
    loop {
        let mut head = Vec::new();
        (&mut file).take(8).read_to_end(&mut head)?;
        let Some(&[ref kind @ .., a, b, c, d]) = head.first_chunk::<8>() else { return Ok(out) };
        let len = u32::from_le_bytes([a, b, c, d]);
        let taken = if matches!(kind, b"VP8 " | b"VP8L" | b"ALPH" | b"ANMF") { len.min(HEAD) } else { len };
        out.extend_from_slice(kind);
        out.extend(taken.to_le_bytes());
        (&mut file).take(u64::from(taken)).read_to_end(&mut out)?;
        if taken % 2 == 1 {
            out.push(0);
        }
        file.seek_relative(i64::from(len - taken) + i64::from(len % 2))?;
    }
}

/// Whether it has several frames.
pub(super) fn is_animation(bytes: &[u8]) -> bool {
    info(bytes).animated
}

/// How many frames an animation has.
pub(super) fn frames(bytes: &[u8]) -> Option<usize> {
    let i = info(bytes);
    i.animated.then_some(i.frames)
}

/// Whether its pixels are stored without loss.
pub(super) fn is_lossless(bytes: &[u8]) -> bool {
    chunks(bytes).any(|c| &c.kind == b"VP8L")
}

/// Reads the header.
pub(super) fn header(path: &Path, bytes: &[u8]) -> Result<Header> {
    let i = info(bytes);
    let (width, height) = i.size.ok_or_else(|| Error::input(path, "the WebP data ends inside its header", AGAIN))?;
    let m = &i.metadata;
    Ok(Header {
        format: Format::WebP,
        width,
        height,
        channels: Channels::of(3, i.alpha),
        bits: 8,
        orientation: orientation(m.exif.as_deref(), m.xmp.as_deref()),
    })
}

/// Metadata alone; the pixels are passed over.
pub(super) fn metadata(bytes: &[u8]) -> (Metadata, Vec<String>) {
    let i = info(bytes);
    let mut notes = i.notes();
    if i.animated {
        notes.push(format!("this is an animation (WebP, {} frames)", i.frames));
    }
    (i.metadata, notes)
}

/// Decodes pixels and metadata; the orientation is not applied.
pub(super) fn decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let i = info(bytes);
    let (width, height) = i.size.ok_or_else(|| Error::input(path, "the WebP data ends inside its header", AGAIN))?;
    limits.check(path, width as u64, height as u64)?;
    let mut notes = i.notes();
    if i.animated {
        notes.push(limits.animation(path, "WebP", i.frames)?);
    } else {
        match i.pixels {
            Some(true) => {}
            Some(false) => return Err(Error::input(path, "the WebP data ends inside its picture: the file is cut off", AGAIN)),
            None => return Err(Error::input(path, "it holds no WebP picture data", AGAIN)),
        }
    }
    let broken = |e: image::ImageError| Error::input(path, format!("its WebP picture data is damaged ({e})"), AGAIN);
    let mut d = WebPDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    if d.dimensions() != (width as u32, height as u32) {
        return Err(Error::input(path, "its WebP headers contradict each other about the size", AGAIN));
    }
    let _ = d.set_background_color(image::Rgba([0, 0, 0, 0]));
    let channels = if d.color_type().has_alpha() { Channels::Rgba } else { Channels::Rgb };
    let mut pixels = zeros::<u8>(path, width * height * channels.count())?;
    d.read_image(&mut pixels).map_err(broken)?;
    Ok(Image { width, height, channels, samples: Samples::U8(pixels), format: Format::WebP, metadata: i.metadata, notes })
}

/// Collects rows and writes a WebP file; the container gives no way to encode while rows arrive.
pub(super) struct Writer {
    out: Output,
    rows: Rows,
    how: Encoding,
    channels: Channels,
    metadata: Metadata,
    codes: Vec<u8>,
    /// RGB or RGBA; WebP has no grey.
    pixels: Vec<u8>,
}

impl Writer {
    pub(super) fn new(out: Output, how: &Encoding, width: usize, height: usize, channels: Channels, metadata: &Metadata) -> Result<Self> {
        let n = 3 + usize::from(channels.has_alpha());
        let pixels = reserve(&out.path, width * height * n)?;
        let rows = Rows::new(width, height, channels);
        Ok(Self { out, rows, how: how.clone(), channels, metadata: metadata.clone(), codes: Vec::new(), pixels })
    }
}

impl super::Encoder for Writer {
    fn write(&mut self, band: &Band) -> Result<()> {
        self.rows.take(band)?;
        for r in 0..band.rows {
            quantise::row(band, r, &mut self.codes, &self.out.path.display())?;
            match self.channels {
                Channels::Grey => self.pixels.extend(self.codes.iter().flat_map(|&v| [v; 3])),
                Channels::GreyAlpha => self.pixels.extend(self.codes.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]])),
                _ => self.pixels.extend_from_slice(&self.codes),
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.rows.complete()?;
        let refused = |what: String| Error::output(&self.out.path, format!("the WebP could not be written ({what})"), "--format png");
        let (w, h) = (self.rows.width as u32, self.rows.height as u32);
        let layout = if self.channels.has_alpha() { webp::PixelLayout::Rgba } else { webp::PixelLayout::Rgb };
        let mut config = webp::WebPConfig::new().map_err(|()| refused("libwebp does not start".into()))?;
        config.lossless = i32::from(self.how.lossless);
        config.quality = if self.how.lossless { 75.0 } else { f32::from(self.how.quality) };
        // Keep colours under transparent pixels: they were put there on purpose.
        config.exact = 1;
        let packed = webp::Encoder::new(&self.pixels, layout, w, h).encode_advanced(&config).map_err(|e| refused(format!("{e:?}")))?;
        self.pixels = Vec::new();
        let file = assemble(&packed, w, h, &self.metadata);
        drop(packed);
        self.out.write_all(&file).map_err(|e| Error::io(&self.out.path, e))?;
        self.out.close()
    }
}

/// libwebp's file with our metadata: VP8X, ICCP, pixels, EXIF, XMP, in the order the standard asks for.
fn assemble(packed: &[u8], width: u32, height: u32, m: &Metadata) -> Vec<u8> {
    let exif = m.exif.as_deref();
    let icc = m.icc.as_deref().filter(|icc| super::metadata::icc_fits(icc, 3));
    if icc.is_none() && exif.is_none() && m.xmp.is_none() {
        return packed.to_vec();
    }
    let mut body = b"WEBP".to_vec();
    let mut push = |kind: &[u8; 4], data: &[u8]| {
        body.extend(kind);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(data);
        if data.len() % 2 == 1 {
            body.push(0);
        }
    };
    let flag = |there: bool, bit: u8| if there { bit } else { 0 };
    let flags = flag(icc.is_some(), HAS_ICC)
        | flag(info(packed).alpha, HAS_ALPHA)
        | flag(exif.is_some(), HAS_EXIF)
        | flag(m.xmp.is_some(), HAS_XMP);
    let (w, h) = ((width - 1).to_le_bytes(), (height - 1).to_le_bytes());
    push(b"VP8X", &[flags, 0, 0, 0, w[0], w[1], w[2], h[0], h[1], h[2]]);
    if let Some(icc) = icc {
        push(b"ICCP", icc);
    }
    for c in chunks(packed).filter(|c| matches!(&c.kind, b"ALPH" | b"VP8 " | b"VP8L")) {
        push(&c.kind, c.data);
    }
    if let Some(exif) = exif {
        push(b"EXIF", exif);
    }
    if let Some(xmp) = &m.xmp {
        push(b"XMP ", xmp);
    }
    let mut file = b"RIFF".to_vec();
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(body);
    file
}
