//! PNG (ISO/IEC 15948:2004, PNG 3): chunks are walked here, pixels go through the `png` crate.
//!
//! Over 500 lines because one format is one file: reading and writing share the chunk and text encodings.

mod unpacked;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::metadata::{
    Dropped, International, MAX_METADATA_BYTES, Resources, Text, find, icc_is_sound, resource_of_iptc, resources, tidy_dpi,
};
use super::{Encoding, Format, Header, Limits, Metadata, Output, Rows, orientation, quantise, reserve, zeros};
use crate::band::Band;
use crate::color::profile_bytes;
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};

const AGAIN: &str = "copy, download or export it again";
const XMP_KEYWORD: &[u8] = b"XML:com.adobe.xmp";

/// One chunk as found in the file.
struct Chunk<'a> {
    kind: [u8; 4],
    /// As much of the data as the file holds.
    data: &'a [u8],
    /// Where the chunk's length field stands.
    at: usize,
    /// The whole chunk is there (its data, at least).
    whole: bool,
    /// Stored and computed checksums differ.
    damaged: bool,
}

impl Chunk<'_> {
    fn critical(&self) -> bool {
        self.kind[0].is_ascii_uppercase()
    }

    fn name(&self) -> String {
        String::from_utf8_lossy(&self.kind).into_owned()
    }
}

/// The chunks after the signature, as far as the file goes. Checksums are computed only of kinds that `verify` wants.
fn chunks(bytes: &[u8], verify: impl Fn(&[u8; 4]) -> bool) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = 8;
    std::iter::from_fn(move || {
        let head = bytes.get(at..at + 8)?;
        let len = u32::from_be_bytes(head[..4].try_into().ok()?) as usize;
        let kind: [u8; 4] = head[4..].try_into().ok()?;
        let rest = &bytes[at + 8..];
        let data = &rest[..len.min(rest.len())];
        let crc = rest.get(len..len.saturating_add(4)).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        let damaged = verify(&kind)
            && crc.is_some_and(|stored| {
                let mut sum = flate2::Crc::new();
                sum.update(&kind);
                sum.update(data);
                sum.sum() != stored
            });
        let chunk = Chunk { kind, data, at, whole: data.len() == len, damaged };
        at = if crc.is_some() { at + 12 + len } else { bytes.len() };
        Some(chunk)
    })
}

/// IHDR, checked.
struct Ihdr {
    width: u32,
    height: u32,
    depth: u8,
    colour: u8,
    interlaced: bool,
}

fn ihdr(path: &Path, bytes: &[u8]) -> Result<Ihdr> {
    let bad = |what: String| Err(Error::input(path, what, AGAIN));
    let Some(c) = chunks(bytes, |_| true).next() else {
        return bad(format!("the PNG data ends after {} bytes, inside its header", bytes.len()));
    };
    if &c.kind != b"IHDR" || !c.whole || c.data.len() != 13 {
        return bad("the PNG header chunk (IHDR) is missing or cut off".into());
    }
    if c.damaged {
        return bad("the checksum of the PNG header (IHDR) is wrong: the file was damaged in transfer or storage".into());
    }
    let d = c.data;
    let (width, height) = (u32::from_be_bytes([d[0], d[1], d[2], d[3]]), u32::from_be_bytes([d[4], d[5], d[6], d[7]]));
    let (depth, colour) = (d[8], d[9]);
    let allowed: &[u8] = match colour {
        0 => &[1, 2, 4, 8, 16],
        2 | 4 | 6 => &[8, 16],
        3 => &[1, 2, 4, 8],
        _ => return bad(format!("its PNG header names colour type {colour}, which does not exist")),
    };
    if !allowed.contains(&depth) {
        return bad(format!("its PNG header names {depth} bits for colour type {colour}, which does not exist"));
    }
    if d[10] != 0 || d[11] != 0 || d[12] > 1 {
        return bad("its PNG header names an unknown compression, filter or interlace method".into());
    }
    Ok(Ihdr { width, height, depth, colour, interlaced: d[12] == 1 })
}

fn layout(h: &Ihdr, transparency: bool) -> Channels {
    match h.colour {
        0 => Channels::of(1, transparency),
        2 | 3 => Channels::of(3, transparency),
        4 => Channels::GreyAlpha,
        _ => Channels::Rgba,
    }
}

/// Reads the header; the chunks before the pixels decide about alpha and orientation.
pub(super) fn header(path: &Path, bytes: &[u8]) -> Result<Header> {
    let h = ihdr(path, bytes)?;
    let (mut transparency, mut extra) = (false, Extra::default());
    let wraps = |data: &[u8]| data.split(|&b| b == 0).next().is_some_and(|key| Wrapped::of(key).is_some());
    // What is damaged is left out when the picture is decoded as well, and so is what stands behind the end; pixels are not
    // looked at here.
    let sound = chunks(bytes, |kind| kind != b"IDAT").take_while(|c| &c.kind != b"IEND").filter(|c| c.whole && !c.damaged);
    for c in sound {
        match &c.kind {
            b"tRNS" => transparency = true,
            b"eXIf" => extra.take(&c),
            b"tEXt" | b"zTXt" | b"iTXt" if wraps(c.data) => extra.take(&c),
            _ => {}
        }
    }
    let Extra { metadata: m, .. } = extra;
    Ok(Header {
        format: Format::Png,
        width: h.width as usize,
        height: h.height as usize,
        channels: layout(&h, transparency),
        bits: if h.depth == 16 { 16 } else { 8 },
        orientation: orientation(m.exif.as_deref(), m.xmp.as_deref()),
    })
}

/// A file's chunks but those that hold pixels, of which only their heads are read.
pub(super) fn without_pixels(file: &mut File) -> io::Result<Vec<u8>> {
    let mut file = BufReader::new(file);
    file.seek(SeekFrom::Start(0))?;
    let mut out = Vec::new();
    (&mut file).take(8).read_to_end(&mut out)?;
    loop {
        let mut head = Vec::new();
        (&mut file).take(8).read_to_end(&mut head)?;
        let Some(&[a, b, c, d, ref kind @ ..]) = head.first_chunk::<8>() else { return Ok(out) };
        let len = u32::from_be_bytes([a, b, c, d]);
        if matches!(kind, b"IDAT" | b"fdAT") {
            file.seek_relative(i64::from(len) + 4)?;
            continue;
        }
        out.extend_from_slice(&head);
        (&mut file).take(u64::from(len) + 4).read_to_end(&mut out)?;
        if kind == b"IEND" {
            return Ok(out);
        }
    }
}

/// Bytes of the buffers in which pixel data of `rows` bytes is unpacked from a file of `packed`: meanwhile, and kept afterwards.
pub(super) fn unpacking(rows: u64, packed: u64) -> (u64, u64) {
    if rows > unpacked::MOST {
        return (0, 0);
    }
    let kept = |bytes: u64| if bytes <= unpacked::KEPT as u64 { bytes } else { 0 };
    (rows + packed, kept(rows) + kept(packed))
}

/// How many frames it says it has, if it says so.
pub(super) fn frames(bytes: &[u8]) -> Option<usize> {
    let frames = |data: &[u8]| data.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    let marked = chunks(bytes, |_| true).take_while(|c| &c.kind != b"IDAT").find(|c| &c.kind == b"acTL");
    marked.map(|c| frames(c.data) as usize)
}

/// Whether it has several frames.
pub(super) fn is_animation(bytes: &[u8]) -> bool {
    frames(bytes).is_some_and(|n| n > 1)
}

/// Decodes pixels and metadata; the orientation is not applied.
pub(super) fn decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let h = ihdr(path, bytes)?;
    limits.check(path, h.width.into(), h.height.into())?;
    let mut transparency = false;
    let (mut compressed, mut ended, mut cut) = (0usize, false, None);
    // What the pixel decoder gets: critical chunks only, and an end.
    let mut clean: Vec<([u8; 4], &[u8])> = Vec::new();
    let mut extra = Extra { grey: matches!(h.colour, 0 | 4), ..Extra::default() };
    for c in chunks(bytes, |_| true) {
        let pixel_related = c.critical() || &c.kind == b"tRNS";
        if c.damaged && pixel_related {
            return Err(Error::input(
                path,
                format!("the checksum of its {} chunk at byte {} is wrong: the picture was damaged in transfer or storage", c.name(), c.at),
                AGAIN,
            ));
        }
        match &c.kind {
            b"acTL" => {
                let frames = c.data.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
                extra.notes.push(match frames {
                    2.. => limits.animation(path, "APNG", frames as usize)?,
                    _ => "it is marked as an animation of one frame; its still picture was taken".into(),
                });
                continue;
            }
            b"IEND" => {
                ended = true;
                break;
            }
            b"IDAT" => compressed += c.data.len(),
            b"tRNS" => transparency = true,
            _ if !c.whole || c.damaged => {
                if !c.whole && c.critical() {
                    cut = Some(c.at);
                    break;
                }
                extra.notes.push(format!("its {} chunk is damaged and was left out", c.name()));
                continue;
            }
            _ => {}
        }
        if pixel_related {
            if !matches!(&c.kind, b"IHDR" | b"PLTE" | b"tRNS" | b"IDAT") {
                return Err(Error::input(
                    path,
                    format!("its critical chunk {} at byte {} is unknown to PNG", c.name(), c.at),
                    "export it again as a plain PNG",
                ));
            }
            clean.push((c.kind, c.data));
            if !c.whole {
                cut = Some(c.at);
                break;
            }
        } else {
            extra.take(&c);
        }
    }
    clean.push((*b"IEND", &[]));
    if compressed == 0 {
        return Err(Error::input(path, "it holds no picture data (no IDAT chunk)", AGAIN));
    }
    if cut.is_none() && !ended {
        extra.notes.push("its end mark (IEND) is missing; the picture itself is complete".into());
    }

    let channels = layout(&h, transparency);
    let (width, height) = (h.width as usize, h.height as usize);
    // Deflate reaches at most 1032:1, so a header that promises more than that is lying: refuse before taking memory.
    let row_bits = u64::from(h.width) * u64::from(h.depth) * [1, 0, 3, 1, 2, 0, 4][usize::from(h.colour)];
    let raw = row_bits.div_ceil(8).saturating_mul(u64::from(h.height));
    if raw > (compressed as u64).saturating_mul(1032).saturating_add(65_536) {
        return Err(Error::input(
            path,
            format!("its {compressed} bytes of picture data cannot hold {width}x{height} pixels: the file is cut off or damaged"),
            AGAIN,
        ));
    }

    // Where the whole of it can be unpacked at once, that is faster; what is wrong with data is left to the decoder that works
    // row by row to find out.
    let filtered = raw.saturating_add(h.height.into());
    let unpacked = match filtered <= unpacked::MOST && !h.interlaced && cut.is_none() {
        true => unpacked::of(&clean, compressed, filtered as usize),
        false => None,
    };
    let mut options = png::DecodeOptions::default();
    // Checksums of chunks were verified above.
    options.set_ignore_crc(true);
    options.set_ignore_adler32(unpacked.is_some());
    let source = unpacked::Source::new(&clean, unpacked.as_deref());
    let mut decoder = png::Decoder::new_with_options(source, options);
    decoder.set_limits(png::Limits { bytes: 1 << 30 });
    decoder.set_transformations(png::Transformations::EXPAND);
    let broken = |e: &png::DecodingError, row: usize| {
        let said = e.to_string();
        match e {
            png::DecodingError::IoError(_) => {
                Error::input(path, format!("the PNG data ends after {row} of {height} rows: the file is cut off"), AGAIN)
            }
            _ if cut.is_some() => {
                Error::input(path, format!("the PNG data ends inside a chunk after {row} of {height} rows: the file is cut off"), AGAIN)
            }
            png::DecodingError::LimitsExceeded => Error::limit(path.display(), "its rows are too wide to decode", "a smaller picture"),
            _ => {
                Error::input(path, format!("its picture data is damaged at row {row} of {height} ({})", said.trim_end_matches('.')), AGAIN)
            }
        }
    };
    let mut reader = decoder.read_info().map_err(|e| broken(&e, 0))?;
    let line = reader.output_line_size(h.width).ok_or_else(|| Error::limit(path.display(), "its rows are too wide to decode", ""))?;
    let bytes_per_sample = if h.depth == 16 { 2 } else { 1 };
    if line != width * channels.count() * bytes_per_sample {
        return Err(Error::Internal(format!("a PNG row of {line} bytes for {width} pixels")));
    }
    let total = width * height * channels.count();
    let samples = if h.interlaced {
        let mut raw = zeros::<u8>(path, total * bytes_per_sample)?;
        reader.next_frame(&mut raw).map_err(|e| broken(&e, 0))?;
        if h.depth == 16 {
            let mut v = reserve(path, total)?;
            big_endian(&raw, &mut v);
            Samples::U16(v)
        } else {
            Samples::U8(raw)
        }
    } else if h.depth == 16 {
        let mut v = reserve::<u16>(path, total)?;
        let mut row = vec![0; line];
        for y in 0..height {
            reader.read_row(&mut row).map_err(|e| broken(&e, y))?;
            big_endian(&row, &mut v);
        }
        Samples::U16(v)
    } else {
        let mut v = zeros::<u8>(path, total)?;
        for (y, row) in v.chunks_exact_mut(line).enumerate() {
            reader.read_row(row).map_err(|e| broken(&e, y))?;
        }
        Samples::U8(v)
    };
    // The end of the compressed stream holds the checksum over all pixels.
    let mut rest = vec![0; line];
    reader.read_row(&mut rest).map_err(|e| broken(&e, height))?;
    drop(reader);
    if let Some(buffer) = unpacked {
        unpacked::done(buffer);
    }
    if cut.is_some() && !h.interlaced {
        extra.notes.push("it is cut off behind the last pixel; the picture itself is complete".into());
    }

    let Extra { metadata, notes, .. } = extra.finish();
    Ok(Image { width, height, channels, samples, format: Format::Png, metadata, notes })
}

/// Metadata alone; pixel data is passed over.
pub(super) fn metadata(bytes: &[u8]) -> (Metadata, Vec<String>) {
    let mut extra = Extra::default();
    for c in chunks(bytes, |kind| kind != b"IDAT") {
        match &c.kind {
            b"IEND" => break,
            b"IHDR" => extra.grey = matches!(c.data.get(9), Some(0 | 4)),
            b"acTL" => {
                let frames = c.data.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
                extra.notes.push(format!("this is an animation (APNG, {frames} frames)"));
            }
            _ if c.critical() => {}
            _ if c.whole && !c.damaged => extra.take(&c),
            _ => extra.notes.push(format!("its {} chunk is damaged and was left out", c.name())),
        }
    }
    let Extra { metadata, notes, .. } = extra.finish();
    (metadata, notes)
}

fn big_endian(from: &[u8], to: &mut Vec<u16>) {
    to.extend(from.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])));
}

/// Metadata chunks as they come.
#[derive(Default)]
struct Extra {
    metadata: Metadata,
    notes: Vec<String>,
    /// Decompressed metadata so far.
    inflated: usize,
    photoshop: Resources,
    /// Chunks that have no place in another file.
    dropped: Dropped,
    /// Its pixels have no colour.
    grey: bool,
    /// Colour chunks other than iCCP.
    cicp: Option<[u8; 4]>,
    srgb: bool,
    gamma: Option<u32>,
    primaries: Option<[u8; 32]>,
}

/// Another block in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrapped {
    /// An XMP packet as it is.
    Packet,
    /// ImageMagick's raw profiles.
    Exif,
    Xmp,
    Iptc,
    Icc,
    Other,
}

impl Wrapped {
    fn of(keyword: &[u8]) -> Option<Self> {
        const RAW: &[u8] = b"raw profile type ";
        if keyword.eq_ignore_ascii_case(XMP_KEYWORD) {
            return Some(Self::Packet);
        }
        let (raw, name) = keyword.split_at_checked(RAW.len())?;
        raw.eq_ignore_ascii_case(RAW).then(|| match name.to_ascii_lowercase().as_slice() {
            b"exif" | b"app1" => Self::Exif,
            b"xmp" => Self::Xmp,
            b"iptc" | b"8bim" => Self::Iptc,
            b"icc" | b"icm" => Self::Icc,
            _ => Self::Other,
        })
    }
}

/// Whether there was room for what there is.
fn put_if_none(place: &mut Option<Vec<u8>>, what: Option<&[u8]>) -> bool {
    let Some(what) = what.filter(|_| place.is_none()) else { return false };
    *place = Some(what.to_vec());
    true
}

/// White point and primaries of sRGB as a cHRM chunk states them, x and y times 100,000.
const SRGB_PRIMARIES: [u32; 8] = [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000];

impl Extra {
    fn take(&mut self, c: &Chunk<'_>) {
        let done = match &c.kind {
            b"iCCP" => self.icc(c.data),
            b"eXIf" => {
                self.metadata.exif = Some(c.data.strip_prefix(b"Exif\0\0").unwrap_or(c.data).to_vec());
                Some(())
            }
            b"pHYs" => {
                if let Some(&[a, b, cc, d, e, f, g, h, unit]) = c.data.get(..9) {
                    let (x, y) = (u32::from_be_bytes([a, b, cc, d]), u32::from_be_bytes([e, f, g, h]));
                    if unit == 1 {
                        self.metadata.dpi = tidy_dpi(f64::from(x) * 0.0254, f64::from(y) * 0.0254);
                    } else if x != y {
                        self.notes.push(format!("its pHYs chunk says that pixels are not square ({x}:{y}), which is not carried"));
                    }
                }
                Some(())
            }
            b"caBX" => {
                self.metadata.c2pa = Some(c.data.to_vec());
                Some(())
            }
            b"tEXt" => self.plain_text(c.data, false),
            b"zTXt" => self.plain_text(c.data, true),
            b"iTXt" => self.international_text(c.data),
            b"cICP" => {
                self.cicp = c.data.first_chunk::<4>().copied();
                self.cicp.map(|_| ())
            }
            b"sRGB" => {
                self.srgb = true;
                Some(())
            }
            b"gAMA" => {
                self.gamma = c.data.try_into().ok().map(u32::from_be_bytes);
                self.gamma.map(|_| ())
            }
            b"cHRM" => {
                self.primaries = c.data.first_chunk::<32>().copied();
                self.primaries.map(|_| ())
            }
            // Said elsewhere, or true of this file's bytes alone: frames, when it was written, how many bits its samples had, which of
            // its colours are used, and how Apple's decoder splits it.
            b"acTL" | b"fcTL" | b"fdAT" | b"tIME" | b"sBIT" | b"hIST" | b"sPLT" | b"iDOT" | b"tRNS" => Some(()),
            _ => {
                self.dropped.add(c.name());
                Some(())
            }
        };
        if done.is_none() {
            self.notes.push(format!("its {} chunk at byte {} is damaged or too large and was left out", c.name(), c.at));
        }
    }

    /// zlib data, at most [`MAX_METADATA_BYTES`] in all chunks together.
    fn inflate(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let room = MAX_METADATA_BYTES - self.inflated;
        let mut out = Vec::new();
        flate2::read::ZlibDecoder::new(data).take(room as u64 + 1).read_to_end(&mut out).ok()?;
        if out.len() > room {
            return None;
        }
        self.inflated += out.len();
        Some(out)
    }

    fn icc(&mut self, data: &[u8]) -> Option<()> {
        let name = data.iter().take(80).position(|&b| b == 0)?;
        let (&method, packed) = data.get(name + 1..)?.split_first()?;
        if method != 0 {
            return None;
        }
        let icc = self.inflate(packed)?;
        (!icc.is_empty()).then(|| self.metadata.icc = Some(icc))
    }

    fn plain_text(&mut self, data: &[u8], packed: bool) -> Option<()> {
        let end = data.iter().position(|&b| b == 0)?;
        let keyword = latin1(&data[..end]);
        let value = if packed {
            let (&method, packed) = data.get(end + 1..)?.split_first()?;
            if method != 0 {
                return None;
            }
            self.inflate(packed)?
        } else {
            data[end + 1..].to_vec()
        };
        match Wrapped::of(&data[..end]) {
            Some(what) => self.take_block(what, &keyword, value),
            // The standard says Latin-1; many a program writes UTF-8, which hardly any text in Latin-1 looks like.
            None => {
                let value = String::from_utf8(value).unwrap_or_else(|e| latin1(e.as_bytes()));
                self.metadata.text.push(Text { keyword, value, international: None });
            }
        }
        Some(())
    }

    /// Takes a block out of a text. One that is not needed, or cannot be read, is left out: carried on as a text it would say what
    /// was corrected or taken out elsewhere.
    fn take_block(&mut self, what: Wrapped, keyword: &str, value: Vec<u8>) {
        let m = &mut self.metadata;
        let bytes = if what == Wrapped::Packet { Some(value) } else { raw_profile(&value) };
        let taken = bytes.is_some_and(|bytes| match what {
            Wrapped::Exif if find(&bytes[..bytes.len().min(16)], b"Exif\0\0").is_some() => {
                put_if_none(&mut m.exif, bytes.strip_prefix(b"Exif\0\0"))
            }
            // Adobe's segment may hold a packet instead.
            Wrapped::Exif | Wrapped::Xmp | Wrapped::Packet => {
                let packet = bytes.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0").unwrap_or(&bytes);
                find(packet, b"RDF").is_some_and(|_| put_if_none(&mut m.xmp, Some(packet)))
                    || find(packet, b"R\0D\0F").is_some_and(|_| put_if_none(&mut m.xmp, Some(packet)))
            }
            Wrapped::Iptc => {
                let found = resources(&bytes);
                let took = put_if_none(&mut m.iptc, found.iptc.as_deref());
                if took {
                    self.photoshop = found;
                }
                took
            }
            Wrapped::Icc => put_if_none(&mut m.icc, Some(&bytes)),
            Wrapped::Other => false,
        });
        if !taken {
            self.notes.push(format!("its text `{keyword}` holds a block that is there already or not understood, and was left out"));
        }
    }

    fn international_text(&mut self, data: &[u8]) -> Option<()> {
        let mut parts = data.splitn(2, |&b| b == 0);
        let (keyword, rest) = (parts.next()?, parts.next()?);
        let (&[packed, method], rest) = rest.split_first_chunk::<2>()?;
        let mut parts = rest.splitn(3, |&b| b == 0);
        let (language, translated, value) = (parts.next()?, parts.next()?, parts.next()?);
        let value = match (packed, method) {
            (0, _) => value.to_vec(),
            (1, 0) => self.inflate(value)?,
            _ => return None,
        };
        if keyword == XMP_KEYWORD {
            self.metadata.xmp = Some(value);
            return Some(());
        }
        if let Some(what) = Wrapped::of(keyword) {
            self.take_block(what, &latin1(keyword), value);
            return Some(());
        }
        // Some writers put Latin-1 here although the standard says UTF-8.
        let value = String::from_utf8(value).unwrap_or_else(|e| latin1(e.as_bytes()));
        let international =
            International { language: latin1(language), translated_keyword: String::from_utf8_lossy(translated).into_owned() };
        self.metadata.text.push(Text { keyword: latin1(keyword), value, international: Some(international) });
        Some(())
    }

    fn finish(mut self) -> Self {
        self.colour();
        self.photoshop.tell_xmp(&mut self.metadata.xmp);
        if self.photoshop.other > 0 {
            self.notes.push(format!("{} bytes of Photoshop's own resources are not carried", self.photoshop.other));
        }
        self.notes.extend(self.dropped.note("chunks"));
        self
    }
}

impl Extra {
    /// Colour described without a profile (PNG 3, 4.3: cICP, then iCCP, then sRGB, then gAMA and cHRM) becomes a profile where
    /// one can be made, and is said where not, because every other container knows profiles only.
    fn colour(&mut self) {
        use moxcms::{CicpColorPrimaries, CicpProfile, ColorProfile, MatrixCoefficients, TransferCharacteristics};
        // Full-range RGB in sRGB's transfer function with the primaries of BT.709, BT.2020 or Display P3.
        match self.cicp {
            Some([1, 13, 0, 1]) => return,
            Some([primaries @ (9 | 12), 13, 0, 1]) => {
                let profile = ColorProfile::new_from_cicp(CicpProfile {
                    color_primaries: if primaries == 9 { CicpColorPrimaries::Bt2020 } else { CicpColorPrimaries::Smpte432 },
                    transfer_characteristics: TransferCharacteristics::Srgb,
                    matrix_coefficients: MatrixCoefficients::Identity,
                    full_range: true,
                });
                if let Some(icc) = profile_bytes(&profile) {
                    self.metadata.icc = Some(icc);
                    return;
                }
            }
            _ => {}
        }
        let fallback = if self.metadata.icc.is_some() { "its ICC profile counts" } else { "sRGB is assumed" };
        if let Some([p, t, ..]) = self.cicp {
            self.notes.push(format!("its colour description (cICP, primaries {p}, transfer {t}) is not supported; {fallback}"));
        }
        if self.metadata.icc.is_some() || self.srgb || self.cicp.is_some() {
            return;
        }
        if let Some(icc) = self.stated().filter(|icc| icc_is_sound(icc)) {
            self.metadata.icc = Some(icc);
            self.notes.push("its gamma and primaries (gAMA, cHRM) were made a profile, which other programs understand as well".into());
            return;
        }
        if let Some(g) = self.gamma.filter(|g| !like_srgb(*g)) {
            self.notes.push(format!("its gamma (gAMA {:.5}) is not supported; {fallback}", f64::from(g) / 1e5));
        }
        if self.other_primaries().is_some() {
            self.notes.push(format!("its primaries (cHRM) are not those of sRGB and are not supported; {fallback}"));
        }
    }

    /// White point and primaries, if they are not those of sRGB; grey has none.
    fn other_primaries(&self) -> Option<[u32; 8]> {
        let mut stated = SRGB_PRIMARIES;
        stated.iter_mut().zip(self.primaries?.as_chunks::<4>().0).for_each(|(v, b)| *v = u32::from_be_bytes(*b));
        (!self.grey && stated.iter().zip(SRGB_PRIMARIES).any(|(a, b)| a.abs_diff(b) > 500)).then_some(stated)
    }

    /// A profile of gamma and primaries (PNG 3, 11.3.2.1 and 11.3.2.2), if there is a gamma, and one of them differs from sRGB's.
    fn stated(&self) -> Option<Vec<u8>> {
        use moxcms::{Chromaticity, ColorPrimaries, ColorProfile, ToneReprCurve, XyY};
        let gamma = self.gamma.filter(|g| (10_000..=200_000).contains(g))?;
        let primaries = self.other_primaries();
        if like_srgb(gamma) && primaries.is_none() {
            return None;
        }
        let exponent = 1e5 / gamma as f32;
        if self.grey {
            return profile_bytes(&ColorProfile::new_gray_with_gamma(exponent));
        }
        let mut profile = ColorProfile::new_srgb();
        if let Some(stated) = primaries {
            let [wx, wy, rx, ry, gx, gy, bx, by] = stated.map(|v| v as f32 / 1e5);
            // A triangle with some area, and everything inside the diagram.
            let area = (gx - rx) * (by - ry) - (bx - rx) * (gy - ry);
            if area.abs() < 1e-3 || [wy, ry, gy, by].iter().any(|y| *y < 1e-3) || stated.iter().any(|v| *v > 100_000) {
                return None;
            }
            let at = Chromaticity::new;
            let primaries = ColorPrimaries { red: at(rx, ry), green: at(gx, gy), blue: at(bx, by) };
            profile.update_rgb_colorimetry(XyY { x: wx.into(), y: wy.into(), yb: 1.0 }, primaries);
        }
        let curve = ToneReprCurve::Parametric(vec![exponent]);
        (profile.red_trc, profile.green_trc, profile.blue_trc) = (Some(curve.clone()), Some(curve.clone()), Some(curve));
        (profile.cicp, profile.description) = (None, None);
        profile_bytes(&profile)
    }
}

/// 1/2.2 within a hundredth is what everybody writes for sRGB.
fn like_srgb(gamma: u32) -> bool {
    gamma.abs_diff(45_455) <= 450
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// The text as Latin-1, if every character is in it (NUL excluded, which would end the text).
fn to_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok().filter(|&b| b != 0)).collect()
}

/// A text's keyword as a file holds it: 1 to 79 Latin-1 bytes.
pub(super) fn keyword(t: &Text) -> Option<Vec<u8>> {
    to_latin1(&t.keyword).filter(|k| (1..=79).contains(&k.len()))
}

/// ImageMagick's way to keep other blocks in text: a name, a length and hexadecimal digits on lines.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split_ascii_whitespace();
    words.next()?;
    let len: usize = words.next()?.parse().ok()?;
    let digits: Vec<u8> = words.flat_map(str::bytes).collect();
    if digits.len() != len.checked_mul(2)? {
        return None;
    }
    digits.chunks_exact(2).map(|p| Some((char::from(p[0]).to_digit(16)? * 16 + char::from(p[1]).to_digit(16)?) as u8)).collect()
}

fn to_raw_profile(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("\n{name}\n{:8}\n", bytes.len()).into_bytes();
    for line in bytes.chunks(36) {
        out.extend(line.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| b"0123456789abcdef"[usize::from(d)]));
        out.push(b'\n');
    }
    out
}

/// Streams rows into a PNG file.
pub(super) struct Writer {
    out: Output,
    rows: Rows,
    bits: u8,
    stream: png::StreamWriter<'static, Output>,
    codes8: Vec<u8>,
    codes16: Vec<u16>,
}

impl Writer {
    pub(super) fn new(out: Output, how: &Encoding, width: usize, height: usize, channels: Channels, metadata: &Metadata) -> Result<Self> {
        let too_large = |_| Error::Internal(format!("a PNG of {width}x{height} pixels was not refused beforehand"));
        let mut e = png::Encoder::new(out.clone(), u32::try_from(width).map_err(too_large)?, u32::try_from(height).map_err(too_large)?);
        e.set_color(match channels {
            Channels::Grey => png::ColorType::Grayscale,
            Channels::GreyAlpha => png::ColorType::GrayscaleAlpha,
            Channels::Rgb => png::ColorType::Rgb,
            Channels::Rgba => png::ColorType::Rgba,
        });
        e.set_depth(if how.bits == 16 { png::BitDepth::Sixteen } else { png::BitDepth::Eight });
        e.set_compression(if how.small { png::Compression::High } else { png::Compression::Fast });
        // Measured on enlarged photographs: with this fast deflate, the filter chosen row by row is the smallest at 8 bits (and
        // a tenth slower than Paeth alone, the second); at 16 bits, where low bytes are noise, it costs a quarter and saves nothing.
        e.set_filter(if how.bits == 16 && !how.small { png::Filter::Sub } else { png::Filter::Adaptive });
        let failed = |e| encoding_error(&out.path, e);
        let mut w = e.write_header().map_err(failed)?;
        write_metadata(&mut w, channels, metadata).map_err(failed)?;
        let stream = w.into_stream_writer_with_size(256 << 10).map_err(failed)?;
        Ok(Self { rows: Rows::new(width, height, channels), bits: how.bits, stream, codes8: Vec::new(), codes16: Vec::new(), out })
    }
}

fn write_metadata(w: &mut png::Writer<Output>, channels: Channels, m: &Metadata) -> Result<(), png::EncodingError> {
    use png::chunk::ChunkType;
    let packed = |head: &[u8], data: &[u8]| -> Result<Vec<u8>, png::EncodingError> {
        let mut z = flate2::write::ZlibEncoder::new(head.to_vec(), flate2::Compression::default());
        z.write_all(data)?;
        Ok(z.finish()?)
    };
    if let Some(icc) = m.icc_for(channels) {
        w.write_chunk(ChunkType(*b"iCCP"), &packed(b"ICC profile\0\0", icc)?)?;
    }
    if let Some((x, y)) = m.dpi {
        let per_metre = |v: f64| ((v / 0.0254).round() as u32).to_be_bytes();
        let data = [&per_metre(x)[..], &per_metre(y), &[1]].concat();
        w.write_chunk(ChunkType(*b"pHYs"), &data)?;
    }
    if let Some(exif) = &m.exif {
        w.write_chunk(ChunkType(*b"eXIf"), exif)?;
    }
    if let Some(xmp) = &m.xmp {
        w.write_chunk(ChunkType(*b"iTXt"), &[XMP_KEYWORD, b"\0\0\0\0\0", xmp].concat())?;
    }
    if let Some(iptc) = &m.iptc {
        let text = to_raw_profile("iptc", &resource_of_iptc(iptc));
        w.write_chunk(ChunkType(*b"zTXt"), &packed(b"Raw profile type iptc\0\0", &text)?)?;
    }
    for t in &m.text {
        // `losses` told which have no keyword that a file can hold.
        let Some(key) = keyword(t) else { continue };
        match (&t.international, to_latin1(&t.value)) {
            (None, Some(value)) => w.write_chunk(ChunkType(*b"tEXt"), &[&key[..], b"\0", &value].concat())?,
            (i, _) => {
                let i = i.clone().unwrap_or_default();
                let head = [&key[..], b"\0\0\0", i.language.as_bytes(), b"\0", i.translated_keyword.as_bytes(), b"\0"].concat();
                w.write_chunk(ChunkType(*b"iTXt"), &[&head, t.value.as_bytes()].concat())?;
            }
        }
    }
    // A JPEG comment's place in a PNG is the `Comment` keyword.
    if let Some(comment) = m.comment.as_ref().filter(|_| !m.text.iter().any(|t| t.keyword == "Comment")) {
        match std::str::from_utf8(comment) {
            Ok(text) if !text.is_ascii() => w.write_chunk(ChunkType(*b"iTXt"), &[b"Comment\0\0\0\0\0", text.as_bytes()].concat())?,
            _ => {
                let plain: Vec<u8> = comment.iter().copied().filter(|&b| b != 0).collect();
                w.write_chunk(ChunkType(*b"tEXt"), &[b"Comment\0", &plain[..]].concat())?;
            }
        }
    }
    Ok(())
}

impl super::Encoder for Writer {
    fn write(&mut self, band: &Band) -> Result<()> {
        self.rows.take(band)?;
        let name = self.out.path.display();
        for r in 0..band.rows {
            if self.bits == 16 {
                quantise::row(band, r, &mut self.codes16, &name)?;
                self.codes8.clear();
                self.codes8.extend(self.codes16.iter().flat_map(|v| v.to_be_bytes()));
            } else {
                quantise::row(band, r, &mut self.codes8, &name)?;
            }
            self.stream.write_all(&self.codes8).map_err(|e| Error::io(&self.out.path, e))?;
        }
        Ok(())
    }

    fn write_rows(&mut self, image: &Image, from: usize, to: usize) -> Result<()> {
        if self.bits == 8
            && let Some(bytes) = self.rows.bytes(image, from..to)?
        {
            return self.stream.write_all(bytes).map_err(|e| Error::io(&self.out.path, e));
        }
        self.write(&image.band(from, to, 0..image.channels.count()))
    }

    fn finish(self: Box<Self>) -> Result<u64> {
        self.rows.complete()?;
        // The end chunk is written when the stream is dropped; closing reports what went wrong there.
        self.stream.finish().map_err(|e| encoding_error(&self.out.path, e))?;
        self.out.close()
    }
}

fn encoding_error(path: &Path, e: png::EncodingError) -> Error {
    match e {
        png::EncodingError::IoError(e) => Error::io(path, e),
        e => Error::output(path, format!("the PNG could not be written ({e})"), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 1x1 grey-free PNG with more chunks before and after its pixel.
    fn png(before: &[(&[u8; 4], &[u8])], after: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut z = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(1));
        z.write_all(&[0, 1, 2, 3]).unwrap();
        let idat = z.finish().unwrap();
        let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
        let ihdr: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0];
        for (kind, data) in [&[(b"IHDR", ihdr)], before, &[(b"IDAT", &idat[..])], after, &[(b"IEND", &[][..])]].concat() {
            out.extend((data.len() as u32).to_be_bytes());
            let mut sum = flate2::Crc::new();
            sum.update(kind);
            sum.update(data);
            out.extend(kind);
            out.extend(data);
            out.extend(sum.sum().to_be_bytes());
        }
        out
    }

    fn read(before: &[(&[u8; 4], &[u8])], after: &[(&[u8; 4], &[u8])]) -> Image {
        decode(Path::new("a.png"), &png(before, after), &Limits::default()).unwrap()
    }

    fn packed(head: &[u8], data: &[u8]) -> Vec<u8> {
        let mut z = flate2::write::ZlibEncoder::new(head.to_vec(), flate2::Compression::default());
        z.write_all(data).unwrap();
        z.finish().unwrap()
    }

    #[test]
    fn text_is_found_in_order_before_and_after_the_pixels() {
        let z = packed(b"z\0\0", b"caf\xe9");
        let i = packed(b"i\0\x01\0de\0Titel\0", "\u{732b}".as_bytes());
        let image = read(&[(b"tEXt", b"a\0\xe4"), (b"zTXt", &z)], &[(b"iTXt", &i), (b"tEXt", b"last\0")]);
        let text: Vec<_> = image.metadata.text.iter().map(|t| (t.keyword.as_str(), t.value.as_str())).collect();
        assert_eq!(text, [("a", "\u{e4}"), ("z", "caf\u{e9}"), ("i", "\u{732b}"), ("last", "")]);
        let international = International { language: "de".into(), translated_keyword: "Titel".into() };
        assert_eq!(image.metadata.text[2].international, Some(international));
        assert_eq!(image.samples, Samples::U8(vec![1, 2, 3]));
    }

    #[test]
    fn a_compression_bomb_is_dropped_and_said() {
        let bomb = packed(b"z\0\0", &vec![0; MAX_METADATA_BYTES + 1]);
        let image = read(&[(b"zTXt", &bomb), (b"tEXt", b"k\0v")], &[]);
        assert_eq!(image.metadata.text, [Text::new("k", "v")]);
        assert!(image.notes[0].contains("zTXt") && image.notes[0].contains("too large"), "{:?}", image.notes);
    }

    #[test]
    fn profiles_in_text_are_unwrapped() {
        let iptc = resource_of_iptc(b"\x1c\x02\x78\0\x02hi");
        let raw = [b"Raw profile type iptc\0".to_vec(), to_raw_profile("iptc", &iptc)].concat();
        let image = read(&[(b"tEXt", &raw)], &[]);
        assert_eq!((image.metadata.iptc.as_deref(), image.metadata.text.len()), (Some(&b"\x1c\x02\x78\0\x02hi"[..]), 0));
    }

    #[test]
    fn colour_without_a_profile_becomes_one_or_is_said() {
        assert_eq!(read(&[(b"gAMA", &45_455u32.to_be_bytes())], &[]).notes.len(), 0);
        assert!(read(&[(b"gAMA", &900_000u32.to_be_bytes())], &[]).notes[0].contains("gAMA 9.00000"));
        assert!(read(&[(b"cICP", &[9, 16, 0, 1])], &[]).notes[0].contains("transfer 16"));
        let p3 = read(&[(b"cICP", &[12, 13, 0, 1])], &[]).metadata.icc.unwrap();
        let (found, wanted) = (moxcms::ColorProfile::new_from_slice(&p3).unwrap(), moxcms::ColorProfile::new_display_p3());
        assert!(
            (found.red_colorant.x - wanted.red_colorant.x).abs() < 1e-3 && (found.green_colorant.y - wanted.green_colorant.y).abs() < 1e-3
        );
    }

    #[test]
    fn a_wrong_checksum_matters_where_it_concerns_pixels() {
        let mut bytes = png(&[(b"tEXt", b"k\0v")], &[]);
        let text = find(&bytes, b"tEXt").unwrap();
        bytes[text + 6] ^= 1;
        let image = decode(Path::new("a.png"), &bytes, &Limits::default()).unwrap();
        assert!(image.notes[0].contains("tEXt") && image.metadata.text.is_empty());
        let idat = find(&bytes, b"IDAT").unwrap();
        bytes[idat + 8] ^= 1;
        let e = decode(Path::new("a.png"), &bytes, &Limits::default()).unwrap_err();
        assert!(e.to_string().contains("IDAT"), "{e}");
    }

    /// A block that only says orientation 6.
    const TURNED: &[u8] = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    const TURNED_XMP: &[u8] = b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description \
        xmlns:t='http://ns.adobe.com/tiff/1.0/' t:Orientation='6'/></rdf:RDF>";

    #[test]
    fn header_and_decoder_agree_about_the_orientation() {
        let raw = |name: &str, block: &[u8]| [format!("Raw profile type {name}\0").into_bytes(), to_raw_profile(name, block)].concat();
        let exif = [&b"Exif\0\0"[..], TURNED].concat();
        let wide: Vec<u8> = String::from_utf8_lossy(TURNED_XMP).encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cases: [(&[u8; 4], Vec<u8>); 7] = [
            (b"eXIf", TURNED.to_vec()),
            (b"tEXt", raw("exif", &exif)),
            (b"zTXt", packed(b"Raw profile type APP1\0\0", &to_raw_profile("exif", &exif))),
            (b"tEXt", raw("xmp", TURNED_XMP)),
            (b"iTXt", packed(b"XML:com.adobe.xmp\0\x01\0\0\0", TURNED_XMP)),
            (b"iTXt", [b"XML:com.adobe.xmp\0\0\0\0\0", &wide[..]].concat()),
            (b"tEXt", [b"XML:com.adobe.xmp\0", TURNED_XMP].concat()),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        for (kind, data) in &cases {
            for file in [png(&[(kind, data)], &[]), png(&[], &[(kind, data)])] {
                std::fs::write(&path, &file).unwrap();
                let said = super::super::header(&path, &file, &Limits::default()).unwrap();
                let image = super::super::decode(&path, &file, &Limits::default()).unwrap();
                assert_eq!((said.orientation, image.metadata.text.len()), (6, 0), "{kind:?}: {:?}", image.notes);
                let turned = image.metadata.xmp.as_deref().and_then(super::super::metadata::xmp_orientation);
                assert!(turned.is_none_or(|o| o == 1), "the packet still says {turned:?}");
            }
        }
        // Behind the end nothing counts.
        let mut file = png(&[], &[]);
        let other = png(&[(b"eXIf", TURNED)], &[]);
        file.extend_from_slice(&other[8 + 25..]);
        assert_eq!(header(&path, &file).unwrap().orientation, 1);
        // What stands behind many pixels is found without reading them.
        let filling = vec![0; 300 << 10];
        std::fs::write(&path, png(&[(b"IDAT", &filling)], &[(b"eXIf", TURNED)])).unwrap();
        assert_eq!(super::super::probe(&path, &Limits::default()).unwrap().orientation, 6);
    }

    #[test]
    fn a_second_block_in_a_text_is_not_carried_as_text() {
        let raw = [b"Raw profile type exif\0".to_vec(), to_raw_profile("exif", &[&b"Exif\0\0"[..], TURNED].concat())].concat();
        let image = read(&[(b"eXIf", TURNED), (b"tEXt", &raw)], &[]);
        assert!(image.metadata.text.is_empty() && image.notes[0].contains("Raw profile type exif"), "{:?}", image.notes);
    }
}
