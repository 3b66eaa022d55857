//! JPEG (ITU-T T.81, JFIF 1.02, Adobe's APP14): segments are walked here, pixels go through `zune-jpeg` and `jpeg-encoder`.
//!
//! The pixel decoder is given a copy of the main picture without application segments, in its strict mode, so that neither
//! metadata can disturb it nor data that ends early come out as a grey area.
//!
//! Over 500 lines because one format is one file: reading and writing share the segment layouts.

mod entropy;
mod feed;
mod progressive;
#[cfg(feature = "turbojpeg")]
mod turbo;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use feed::{Feed, Layout};
use jpeg_encoder::{ChromaSubsamplingMethod, ImageBuffer, JpegColorType, PixelDensity, PixelDensityUnit, SamplingFactor};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::metadata::{Dropped, JPEG_MAX_ICC, JPEG_SEGMENT, find, jpeg_holds, resource_of_iptc, resources, tidy_dpi};
use super::{Encoding, Format, Header, Limits, Metadata, Output, Rows, cmyk, orientation, quantise, xmp, zeros};
use crate::band::Band;
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};

const AGAIN: &str = "copy, download or export it again";
const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const XMP_EXTENSION: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
/// Bytes of extended XMP in one segment, as Adobe writes them.
const EXTENDED_PART: usize = 65_400;
const ICC: &[u8] = b"ICC_PROFILE\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";

const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const JPG: u8 = 0xc8;
const DAC: u8 = 0xcc;
const SOF15: u8 = 0xcf;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const APP0: u8 = 0xe0;
const APP14: u8 = 0xee;
const APP15: u8 = 0xef;
const COM: u8 = 0xfe;

/// A marker segment; for SOS the entropy-coded data that follows is included in `whole`.
struct Segment<'a> {
    marker: u8,
    data: &'a [u8],
    /// From the marker's 0xff to the end of what belongs to it.
    whole: &'a [u8],
}

/// The main picture's segments.
struct Walk<'a> {
    segments: Vec<Segment<'a>>,
    /// One past the end marker, if it is there.
    end: Option<usize>,
    /// Bytes of entropy-coded data.
    scan: usize,
}

/// Walks from SOI to EOI, or as far as the file goes. Stops where the picture data begin if `header_only`.
fn walk(bytes: &[u8], header_only: bool) -> Walk<'_> {
    let mut w = Walk { segments: Vec::new(), end: None, scan: 0 };
    let mut at = 2;
    loop {
        // To the next marker; stray bytes between segments are skipped.
        let Some(skip) = bytes.get(at..).and_then(|b| b.iter().position(|&b| b == 0xff)) else { return w };
        at += skip;
        let start = at;
        while bytes.get(at) == Some(&0xff) {
            at += 1;
        }
        let Some(&marker) = bytes.get(at) else { return w };
        at += 1;
        match marker {
            EOI => {
                w.end = Some(at);
                return w;
            }
            0 | 1 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let Some(len) = bytes.get(at..at + 2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]]))) else { return w };
        let Some(data) = bytes.get(at + 2..at + len.max(2)) else { return w };
        at += len.max(2);
        if marker == SOS && header_only {
            w.segments.push(Segment { marker, data, whole: &bytes[start..at] });
            return w;
        }
        if marker == SOS {
            let from = at;
            loop {
                let Some(skip) = bytes[at..].iter().position(|&b| b == 0xff) else {
                    at = bytes.len();
                    break;
                };
                at += skip;
                match bytes.get(at + 1) {
                    Some(0 | 0xd0..=0xd7) => at += 2,
                    Some(0xff) => at += 1,
                    Some(_) => break,
                    None => {
                        at = bytes.len();
                        break;
                    }
                }
            }
            w.scan += at - from;
        }
        w.segments.push(Segment { marker, data, whole: &bytes[start..at] });
    }
}

fn is_frame(marker: u8) -> bool {
    (SOF0..=SOF15).contains(&marker) && !matches!(marker, DHT | JPG | DAC)
}

/// How samples are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// The frame header and what decides about colour.
struct Frame {
    width: usize,
    height: usize,
    colour: Colour,
    /// Adobe's marker is there: CMYK is stored inverted.
    adobe: bool,
    /// Largest sampling factors.
    sampling: (usize, usize),
    /// Its components are called `R`, `G` and `B`.
    lettered: bool,
}

fn frame(path: &Path, w: &Walk<'_>) -> Result<Frame> {
    let no = |what: String, hint: &str| Err(Error::input(path, what, hint));
    let Some(sof) = w.segments.iter().find(|s| is_frame(s.marker)) else {
        return no("the JPEG data ends before its frame header".into(), AGAIN);
    };
    let as_plain = "export it as a plain 8-bit JPEG or PNG";
    let kind = sof.marker - SOF0;
    if kind > 2 {
        let name = if kind == 3 || kind == 7 || kind == 11 {
            "a lossless"
        } else if kind > 8 {
            "an arithmetic-coded"
        } else {
            "a hierarchical"
        };
        return no(format!("it is {name} JPEG (SOF{kind}), which is not supported"), as_plain);
    }
    let (Some(&[precision, h1, h0, w1, w0, n]), Some(parts)) = (sof.data.get(..6), sof.data.get(6..)) else {
        return no("its JPEG frame header is too short".into(), AGAIN);
    };
    let parts: Vec<_> = parts.chunks_exact(3).take(usize::from(n)).collect();
    if parts.len() != usize::from(n) {
        return no("its JPEG frame header is too short".into(), AGAIN);
    }
    if precision != 8 {
        return no(format!("it is a JPEG with {precision} bits per sample, only 8 are supported"), as_plain);
    }
    let jfif = w.segments.iter().any(|s| s.marker == APP0 && s.data.starts_with(b"JFIF\0"));
    let adobe = adobe(w);
    let ids: Vec<u8> = parts.iter().map(|p| p[0]).collect();
    // The rules of the Independent JPEG Group's library, which everybody follows.
    let colour = match (n, adobe) {
        (1, _) => Colour::Grey,
        (3, Some(0)) if !jfif => Colour::Rgb,
        (3, None) if !jfif && ids == *b"RGB" => Colour::Rgb,
        (3, _) => Colour::YCbCr,
        (4, Some(2)) => Colour::Ycck,
        (4, _) => Colour::Cmyk,
        _ => return no(format!("it is a JPEG with {n} components, which is not supported"), as_plain),
    };
    let factor = |shift: u8| parts.iter().map(|p| usize::from(p[1] >> shift & 15)).max().unwrap_or(1).max(1);
    Ok(Frame {
        width: usize::from(u16::from_be_bytes([w1, w0])),
        height: usize::from(u16::from_be_bytes([h1, h0])),
        colour,
        adobe: adobe.is_some(),
        sampling: (factor(4), factor(0)),
        lettered: ids == *b"RGB",
    })
}

/// The transform named by Adobe's marker; a cut-off marker does not count.
fn adobe(w: &Walk<'_>) -> Option<u8> {
    w.segments.iter().find(|s| s.marker == APP14 && s.data.starts_with(b"Adobe")).and_then(|s| s.data.get(11).copied())
}

/// Whether these first bytes of a file reach to its picture data, behind which no metadata are looked for.
pub(super) fn has_begun(bytes: &[u8]) -> bool {
    walk(bytes, true).segments.iter().any(|s| s.marker == SOS)
}

/// Reads the header up to the picture data.
pub(super) fn header(path: &Path, bytes: &[u8]) -> Result<Header> {
    let w = walk(bytes, true);
    let f = frame(path, &w)?;
    let (m, _) = collect(&w);
    Ok(Header {
        format: Format::Jpeg,
        width: f.width,
        height: f.height,
        channels: if f.colour == Colour::Grey { Channels::Grey } else { Channels::Rgb },
        bits: 8,
        orientation: orientation(m.exif.as_deref(), m.xmp.as_deref()),
    })
}

/// Decodes pixels and metadata; the orientation is not applied.
pub(super) fn decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let w = walk(bytes, false);
    let f = frame(path, &w)?;
    let (width, height) = (f.width, f.height);
    limits.check(path, width as u64, height as u64)?;
    let unended = w.end.is_none();
    let intact = || entropy::intact(&w.segments);
    let coarse = progressive::coarse(&w.segments);
    // Every MCU takes at least a bit, so a header that promises more than that is lying: refuse before taking memory.
    let mcus = width.div_ceil(8 * f.sampling.0) * height.div_ceil(8 * f.sampling.1);
    let lying = mcus > w.scan.saturating_mul(8);
    if unended && (lying || coarse || intact() != Some(true)) {
        return Err(Error::input(
            path,
            "the JPEG data ends before its end mark: the file is cut off and part of the picture is missing",
            AGAIN,
        ));
    }
    if lying {
        return Err(Error::input(
            path,
            format!("its {} bytes of picture data cannot hold {width}x{height} pixels: the file is cut off or damaged", w.scan),
            AGAIN,
        ));
    }
    let (metadata, mut notes) = metadata_of(&w, bytes);
    if unended {
        notes.push("its end mark is missing; the picture itself is complete".into());
    }
    if coarse {
        notes.push("its last progressive scans are missing: it is coarser than it was made; copy it again if you can".into());
    }

    let (channels, input) = match f.colour {
        Colour::Grey => (Channels::Grey, ColorSpace::Luma),
        Colour::YCbCr => (Channels::Rgb, ColorSpace::RGB),
        // RGB is decoded as if it were YCbCr and left unconverted.
        Colour::Rgb => (Channels::Rgb, ColorSpace::YCbCr),
        Colour::Cmyk => (Channels::Rgb, ColorSpace::CMYK),
        Colour::Ycck => (Channels::Rgb, ColorSpace::YCCK),
    };
    let mut clean = Vec::new();
    clean
        .try_reserve(bytes.len())
        .map_err(|_| Error::limit(path.display(), "there is no memory for its compressed data", "a smaller file"))?;
    clean.extend_from_slice(b"\xff\xd8");
    let mut framed = false;
    for s in &w.segments {
        if is_frame(s.marker) && std::mem::replace(&mut framed, true) {
            return Err(Error::input(path, "it has two JPEG frame headers", AGAIN));
        }
        let keep = is_frame(s.marker) || matches!(s.marker, DHT | DQT | DRI | SOS) || (s.marker == APP14 && f.colour == Colour::Ycck);
        if keep {
            let at = clean.len();
            clean.extend_from_slice(s.whole);
            if f.lettered {
                number_components(&mut clean[at..], s.marker);
            }
        }
    }
    clean.extend_from_slice(b"\xff\xd9");
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(input);
    let broken = |e: &dyn std::fmt::Display| {
        if let Some(what) = text_mode(&w) {
            return Error::input(path, what, "copy or download it again, in binary mode");
        }
        let said = e.to_string();
        Error::input(path, format!("its JPEG picture data is damaged ({})", said.trim().trim_end_matches('.')), AGAIN)
    };
    #[cfg(feature = "turbojpeg")]
    if matches!(f.colour, Colour::Grey | Colour::YCbCr)
        && let Some(pixels) = turbo::decode(path, &clean, width, height, channels)?
    {
        return Ok(Image { width, height, channels, samples: Samples::U8(pixels), format: Format::Jpeg, metadata, notes });
    }
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&clean[..]), options);
    decoder.decode_headers().map_err(|e| broken(&e))?;
    let size = decoder.output_buffer_size().ok_or_else(|| broken(&"no size"))?;
    if size != width * height * input.num_components() {
        return Err(Error::Internal(format!("{size} bytes for a JPEG of {width}x{height} as {input:?}")));
    }
    let mut pixels = zeros::<u8>(path, size)?;
    decoder.decode_into(&mut pixels).map_err(|e| broken(&e))?;
    drop(clean);
    // The pixel decoder makes something up for blocks that are missing.
    if intact() == Some(false) {
        return Err(Error::input(path, "its JPEG picture data ends too early: part of the picture is missing", AGAIN));
    }
    let mut metadata = metadata;
    if matches!(f.colour, Colour::Cmyk | Colour::Ycck) {
        if f.colour == Colour::Ycck {
            unmix_ycck(&mut pixels);
        }
        if f.adobe {
            pixels.iter_mut().for_each(|v| *v = 255 - *v);
        }
        let (rgb, note) = cmyk::to_srgb(path, &pixels, metadata.icc.as_deref())?;
        pixels = rgb;
        cmyk::now_srgb(&mut metadata);
        notes.push(note);
    }
    Ok(Image { width, height, channels, samples: Samples::U8(pixels), format: Format::Jpeg, metadata, notes })
}

/// Names components `R`, `G` and `B` by 1, 2 and 3 in a frame or scan header: the pixel decoder takes the letters for a statement
/// about colour, which [`frame`] has judged already.
fn number_components(segment: &mut [u8], marker: u8) {
    let data = segment.iter().take_while(|b| **b == 0xff).count() + 3;
    let (first, step) = if is_frame(marker) { (data + 6, 3) } else { (data + 1, 2) };
    let n = match segment.get(first - 1) {
        Some(&n) if is_frame(marker) || marker == SOS => usize::from(n).min(4),
        _ => return,
    };
    for i in 0..n {
        if let Some(id) = segment.get_mut(first + i * step) {
            *id = match *id {
                b'R' => 1,
                b'G' => 2,
                b'B' => 3,
                other => other,
            };
        }
    }
}

/// Says so if the picture data went through a program that takes files for text and rewrites their line ends, which no
/// decoder can undo. Compressed data is close to noise: thousands of bytes with many a 0x0a but no 0x0d at all, or with a 0x0d
/// before each 0x0a, do not happen by chance.
fn text_mode(w: &Walk<'_>) -> Option<&'static str> {
    const ENOUGH: usize = 8 << 10;
    let scans = || w.segments.iter().filter(|s| s.marker == SOS).map(|s| s.whole);
    let count = |byte: u8| scans().flatten().filter(|&&b| b == byte).count();
    let (returns, feeds) = (count(b'\r'), count(b'\n'));
    let pairs = scans().flat_map(|s| s.windows(2)).filter(|p| **p == *b"\r\n").count();
    if w.scan < ENOUGH || feeds < w.scan / 512 {
        return None;
    }
    match (returns, feeds - pairs) {
        (0, _) => Some("it was copied as if it were text: every 0x0d byte of its picture data is gone, and the picture is destroyed"),
        (_, 0) => Some("it was copied as if it were text: a 0x0d was put before every 0x0a byte, and the picture is destroyed"),
        _ => None,
    }
}

/// Metadata alone; the pixels are passed over.
pub(super) fn metadata(bytes: &[u8]) -> (Metadata, Vec<String>) {
    let (mut m, notes) = metadata_of(&walk(bytes, false), bytes);
    // A CMYK profile is used up when pixels are decoded.
    m.icc = m.icc.filter(|icc| icc.get(16..20) != Some(b"CMYK"));
    (m, notes)
}

fn metadata_of(w: &Walk<'_>, bytes: &[u8]) -> (Metadata, Vec<String>) {
    let (mut m, mut notes) = collect(w);
    let Behind { pictures: further, video, other } = behind(bytes.get(w.end.unwrap_or(bytes.len())..).unwrap_or(&[]));
    if let Some(bytes) = video {
        notes.push(format!("the video of its motion photo ({bytes} bytes) is not carried: the result is the still picture"));
    } else if other > 0 {
        notes.push(format!("{other} bytes behind its end are not carried"));
    }
    if further > 0 {
        let gain_map = m.xmp.as_deref().is_some_and(|x| find(x, GAIN_MAP.as_bytes()).is_some());
        let what = match (gain_map, further) {
            (true, 1) => "its HDR gain map is not carried: the result is the standard-range picture".to_string(),
            (true, n) => format!("its HDR gain map and {} more of its pictures are not carried", n - 1),
            (false, 1) => "it holds a further picture (second view, depth or gain map), which is not carried".to_string(),
            (false, n) => format!("it holds {n} further pictures (views, depth or gain maps), which are not carried"),
        };
        notes.push(what);
    }
    if further > 0 || video.is_some() || other > 0 {
        // The result holds none of it, so it must not say so.
        let motion = |name: &str| name.starts_with("Motion") || name.starts_with("MicroVideo");
        xmp::remove(&mut m.xmp, |namespace, name| {
            [GAIN_MAP, APPLE_GAIN_MAP, CONTAINER].contains(&namespace) || (namespace == CAMERA && motion(name))
        });
    }
    (m, notes)
}

/// Adobe's namespace of gain maps (ISO 21496-1 has the same numbers in another segment), and Google's of what follows the main
/// picture.
const GAIN_MAP: &str = "http://ns.adobe.com/hdr-gain-map/1.0/";
const CONTAINER: &str = "http://ns.google.com/photos/1.0/container/";
const CAMERA: &str = "http://ns.google.com/photos/1.0/camera/";
const APPLE_GAIN_MAP: &str = "http://ns.apple.com/HDRGainMap/1.0/";

/// What stands behind the main picture.
#[derive(Debug, Default, PartialEq)]
struct Behind {
    /// JPEG pictures (MPO, CIPA DC-007; gain maps).
    pictures: usize,
    /// Bytes of the video of a motion photo, an ISO base media file.
    video: Option<usize>,
    /// Bytes of anything else but filling.
    other: usize,
}

fn behind(mut rest: &[u8]) -> Behind {
    const MOST: usize = 64;
    let mut found = Behind::default();
    loop {
        // There may be some filling between them, or a maker's own data.
        let picture = find(rest, b"\xff\xd8\xff").filter(|_| found.pictures < MOST);
        // Its first box: a length, then its name. Covers inside a video are pictures of its own.
        let video = find(&rest[..picture.unwrap_or(rest.len())], b"ftyp").and_then(|at| at.checked_sub(4));
        let gap = &rest[..video.or(picture).unwrap_or(rest.len())];
        found.other += if gap.iter().all(|b| matches!(b, 0 | 0xff | b' ' | b'\r' | b'\n')) { 0 } else { gap.len() };
        match (video, picture) {
            (Some(at), _) => found.video = Some(rest.len() - at),
            (None, Some(at)) => {
                found.pictures += 1;
                if let Some(end) = walk(&rest[at..], false).end {
                    rest = &rest[at + end..];
                    continue;
                }
            }
            (None, None) => {}
        }
        return found;
    }
}

/// YCCK to CMYK as stored: `C = 255 - R`, `M = 255 - G`, `Y = 255 - B` of the usual conversion (JFIF 1.02); K passes.
fn unmix_ycck(pixels: &mut [u8]) {
    for p in pixels.chunks_exact_mut(4) {
        let rgb = cmyk::ycbcr_to_rgb([p[0], p[1], p[2]]);
        p[..3].copy_from_slice(&rgb.map(|v| 255 - v));
    }
}

/// Everything but the pixels, with what has to be said about it.
fn collect(w: &Walk<'_>) -> (Metadata, Vec<String>) {
    let (mut m, mut notes) = (Metadata::default(), Vec::new());
    let mut icc: Vec<(u8, u8, &[u8])> = Vec::new();
    let (mut extended, mut photoshop, mut several, mut manifest) = (Vec::<&[u8]>::new(), Vec::new(), 0, Vec::new());
    let (mut dropped, mut packets) = (Dropped::default(), false);
    let begun = w.segments.iter().position(|s| s.marker == SOS).unwrap_or(w.segments.len());
    let (head, tail) = w.segments.split_at(begun);
    if tail.iter().any(|s| (APP0..=APP15).contains(&s.marker) || s.marker == COM) {
        notes.push("metadata that stand behind the beginning of its picture data are not carried".into());
    }
    for s in head {
        let d = s.data;
        match s.marker {
            APP0 if d.starts_with(b"JFIF\0") => {
                if let Some(&[unit, x1, x0, y1, y0]) = d.get(7..12) {
                    let per = match unit {
                        1 => 1.0,
                        2 => 2.54,
                        _ if (x1, x0) == (y1, y0) => continue,
                        _ => {
                            let [x, y] = [[x1, x0], [y1, y0]].map(u16::from_be_bytes);
                            notes.push(format!("its JFIF header says that pixels are not square ({x}:{y}), which is not carried"));
                            continue;
                        }
                    };
                    let v = |hi, lo| f64::from(u16::from_be_bytes([hi, lo])) * per;
                    m.dpi = m.dpi.or(tidy_dpi(v(x1, x0), v(y1, y0)));
                }
            }
            0xe1 => {
                if let Some(block) = d.strip_prefix(EXIF) {
                    match &mut m.exif {
                        None => m.exif = Some(block.to_vec()),
                        // A block over 64 KB goes on in the next segment; one with a header of its own is a second block.
                        Some(_) if block.starts_with(b"II") || block.starts_with(b"MM") => several += 1,
                        Some(first) => first.extend_from_slice(block),
                    }
                } else if let Some(packet) = d.strip_prefix(XMP) {
                    packets |= m.xmp.as_deref().is_some_and(|first| first != packet);
                    m.xmp.get_or_insert_with(|| packet.to_vec());
                } else if let Some(part) = d.strip_prefix(XMP_EXTENSION) {
                    extended.push(part);
                } else {
                    dropped.add(segment_name(s));
                }
            }
            0xe2 => {
                if let Some([n, of, part @ ..]) = d.strip_prefix(ICC) {
                    icc.push((*n, *of, part));
                } else if !INDICES.iter().any(|name| d.starts_with(name)) {
                    dropped.add(segment_name(s));
                }
            }
            0xeb if find(&d[..d.len().min(64)], b"c2pa").is_some() || !manifest.is_empty() => {
                // JPEG XT boxes: identifier, instance and sequence number; the box header repeats in every continuation.
                let from = if manifest.is_empty() { 8 } else { 16 };
                manifest.extend_from_slice(d.get(from..).unwrap_or(&[]));
            }
            0xed => {
                if let Some(irb) = d.strip_prefix(PHOTOSHOP) {
                    photoshop.extend_from_slice(irb);
                } else {
                    dropped.add(segment_name(s));
                }
            }
            // Several comments become one, of several lines.
            COM => match &mut m.comment {
                Some(first) if first != d && !d.is_empty() => {
                    first.push(b'\n');
                    first.extend_from_slice(d);
                }
                first => drop(first.get_or_insert_with(|| d.to_vec())),
            },
            // What a decoder needs, and small pictures of this one.
            APP0 if d.starts_with(b"JFXX\0") => {}
            APP14 if d.starts_with(b"Adobe") => {}
            APP0..=APP15 => dropped.add(segment_name(s)),
            _ => {}
        }
    }
    if packets {
        notes.push("it has several XMP packets; the first one counts".into());
    }
    notes.extend(dropped.note("segments"));
    // Some writers put the profile twice, and some number its only part 0.
    icc.sort_by_key(|&(n, _, _)| n);
    icc.dedup();
    if let [(n @ 0, ..)] = icc.as_mut_slice() {
        *n = 1;
    }
    if let Some(&(first, of, _)) = icc.first() {
        if first == 1 && icc.len() == usize::from(of) && icc.iter().enumerate().all(|(i, &(n, _, _))| usize::from(n) == i + 1) {
            m.icc = Some(icc.iter().flat_map(|&(_, _, part)| part).copied().collect());
        } else {
            notes.push(format!("its ICC profile is incomplete ({} of {of} parts) and was left out", icc.len()));
        }
    }
    if !extended.is_empty() && !join_extended(&mut m.xmp, &extended) {
        let bytes: usize = extended.iter().map(|p| p.len()).sum();
        notes.push(format!("{bytes} bytes of extended XMP are incomplete and were left out"));
    }
    if !photoshop.is_empty() {
        let found = resources(&photoshop);
        found.tell_xmp(&mut m.xmp);
        m.iptc = found.iptc;
        if found.other > 0 {
            notes.push(format!("{} bytes of Photoshop's own resources are not carried", found.other));
        }
    }
    if several > 0 {
        notes.push(format!("it has {} EXIF blocks; the first one counts", several + 1));
    }
    m.c2pa = (!manifest.is_empty()).then_some(manifest);
    (m, notes)
}

/// Lists of the pictures behind this one, and how to apply a gain map: told together with those.
const INDICES: [&[u8]; 2] = [b"MPF\0", b"urn:iso:std:iso:ts:21496:-1\0"];

/// `APP12 Ducky`: a segment's number and the name that it begins with, if it does.
fn segment_name(s: &Segment<'_>) -> String {
    let name: String = s.data.iter().take(32).take_while(|b| b.is_ascii_graphic()).map(|&b| char::from(b)).collect();
    let number = s.marker - APP0;
    if name.len() < 3 { format!("APP{number}") } else { format!("APP{number} {name}") }
}

/// Puts the parts of extended XMP together (ISO 16684-3, 1.1.3.1: a digest of 32 bytes, the length of the whole, the offset of
/// the part) and joins them with the packet that names them.
fn join_extended(packet: &mut Option<Vec<u8>>, parts: &[&[u8]]) -> bool {
    let Some(digest) = packet.as_deref().and_then(xmp::extension) else { return false };
    let mut own: Vec<(usize, &[u8])> = Vec::new();
    for part in parts.iter().filter_map(|p| p.strip_prefix(digest.as_bytes())) {
        let Some((&[_, _, _, _, a, b, c, d], data)) = part.split_first_chunk::<8>() else { return false };
        own.push((u32::from_be_bytes([a, b, c, d]) as usize, data));
    }
    own.sort_by_key(|p| p.0);
    let mut whole = Vec::new();
    for (at, data) in own {
        if at != whole.len() {
            return false;
        }
        whole.extend_from_slice(data);
    }
    xmp::join(packet, &whole)
}

/// Segments to go behind the JFIF header.
fn segments(channels: Channels, m: &Metadata) -> Vec<u8> {
    let mut out = Vec::new();
    let mut push = |marker: u8, parts: &[&[u8]]| {
        let len = parts.iter().map(|p| p.len()).sum::<usize>();
        if len <= JPEG_SEGMENT {
            out.extend([0xff, marker]);
            out.extend((len as u16 + 2).to_be_bytes());
            parts.iter().for_each(|p| out.extend_from_slice(p));
        }
    };
    if let Some(exif) = &m.exif {
        push(APP0 + 1, &[EXIF, exif]);
    }
    match &m.xmp {
        Some(packet) if jpeg_holds(packet, XMP.len()) => push(APP0 + 1, &[XMP, packet]),
        Some(packet) => {
            if let Some((main, extended, digest)) = xmp::split(packet, JPEG_SEGMENT - XMP.len()) {
                push(APP0 + 1, &[XMP, &main]);
                let of = (extended.len() as u32).to_be_bytes();
                for (i, part) in extended.chunks(EXTENDED_PART).enumerate() {
                    let at = ((i * EXTENDED_PART) as u32).to_be_bytes();
                    push(APP0 + 1, &[XMP_EXTENSION, digest.as_bytes(), &of, &at, part]);
                }
            }
        }
        None => {}
    }
    if let Some(icc) = m.icc_for(channels).filter(|icc| icc.len() <= JPEG_MAX_ICC) {
        let parts = icc.chunks(JPEG_SEGMENT - ICC.len() - 2);
        let of = parts.len() as u8;
        for (i, part) in parts.enumerate() {
            push(APP0 + 2, &[ICC, &[i as u8 + 1, of], part]);
        }
    }
    if let Some(iptc) = m.iptc.as_ref().filter(|b| jpeg_holds(b, 14 + 13)) {
        push(APP0 + 13, &[PHOTOSHOP, &resource_of_iptc(iptc)]);
    }
    if let Some(comment) = &m.comment {
        push(COM, &[comment]);
    }
    out
}

/// An encoder: libjpeg-turbo where it was built in, for what it can write in strips.
pub(super) fn encoder(
    out: Output,
    how: &Encoding,
    width: usize,
    height: usize,
    channels: Channels,
    metadata: &Metadata,
) -> Result<Box<dyn super::Encoder>> {
    #[cfg(feature = "turbojpeg")]
    if !how.progressive {
        return Ok(Box::new(turbo::Writer::new(out, how, width, height, channels, metadata)?));
    }
    Ok(Box::new(Writer::new(out, how, width, height, channels, metadata)?))
}

/// How a file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// The one whose tables are nearest to the file's.
    pub quality: u8,
    pub chroma_420: bool,
    pub progressive: bool,
}

/// How a file was written, by its tables and its frame header; none if it has none of these.
pub(super) fn written(bytes: &[u8]) -> Option<Written> {
    /// ITU-T T.81, tables K.1 and K.2, in zigzag order, as files hold tables.
    const LUMA: [u8; 64] = [
        16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51, 56,
        55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103,
        99,
    ];
    const CHROMA: [u8; 64] = [
        17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    ];
    let w = walk(bytes, true);
    let mut tables: [Option<Vec<u32>>; 4] = [const { None }; 4];
    for mut rest in w.segments.iter().filter(|s| s.marker == DQT).map(|s| s.data) {
        // Precision and place, then 64 values of one byte or two.
        while let Some((&head, values)) = rest.split_first() {
            let wide = 1 + usize::from(head >> 4 != 0);
            let Some(values) = values.get(..64 * wide) else { break };
            let value = |v: &[u8]| v.iter().fold(0, |sum, b| sum << 8 | u32::from(*b));
            if let Some(table) = tables.get_mut(usize::from(head & 15)) {
                *table = Some(values.chunks_exact(wide).map(value).collect());
            }
            rest = &rest[1 + 64 * wide..];
        }
    }
    let sof = w.segments.iter().find(|s| is_frame(s.marker))?;
    let parts: Vec<&[u8]> = sof.data.get(6..)?.chunks_exact(3).collect();
    let table = |part: &&[u8]| tables.get(usize::from(part[2]))?.as_ref();
    let luma = table(parts.first()?)?;
    let chroma = parts.get(1).and_then(table);
    // The rule of the Independent JPEG Group's library, which the encoders here follow.
    let scaled = |v: u8, quality: u32| {
        let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        ((u32::from(v) * percent + 50) / 100).clamp(1, 255)
    };
    let off = |table: &[u32], of: &[u8; 64], quality| -> u32 { table.iter().zip(of).map(|(t, v)| t.abs_diff(scaled(*v, quality))).sum() };
    let both = |quality: &u32| off(luma, &LUMA, *quality) + chroma.map_or(0, |c| off(c, &CHROMA, *quality));
    let quality = (1..=100u32).rev().min_by_key(both)? as u8;
    let halves = |a: u8, b: u8| a >> 4 == 2 * (b >> 4) && a & 15 == 2 * (b & 15);
    let chroma_420 = parts.len() == 3 && halves(parts[0][1], parts[1][1]);
    Some(Written { quality, chroma_420, progressive: sof.marker == SOF0 + 2 })
}

/// Streams rows into a JPEG file. The encoder crate pulls rows, so it runs on a thread of its own, a few rows behind.
struct Writer {
    out: Output,
    rows: Rows,
    /// Some whole rows at a time.
    send: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<Result<(), jpeg_encoder::EncodingError>>>,
    /// Set when no more rows will come: the thread then stops at its next write.
    stop: Arc<AtomicBool>,
}

/// Rows that are handed to the thread at once, and how often it may be behind.
const AT_ONCE: usize = 16;
const AHEAD: usize = 4;

impl Writer {
    fn new(out: Output, how: &Encoding, width: usize, height: usize, channels: Channels, metadata: &Metadata) -> Result<Self> {
        let (send, receive) = sync_channel(AHEAD);
        let stop = Arc::new(AtomicBool::new(false));
        let too_large = |_| Error::Internal(format!("a JPEG of {width}x{height} pixels was not refused beforehand"));
        let layout = match channels.colours() {
            1 => Layout::Grey,
            // The crate's own way to average is slow. Where units are not whole, it is needed for what it adds to them.
            _ if how.chroma_420 && !how.progressive && width.is_multiple_of(16) => Layout::Halved,
            _ => Layout::Full,
        };
        let source = Source {
            width: u16::try_from(width).map_err(too_large)?,
            height: u16::try_from(height).map_err(too_large)?,
            layout,
            feed: Mutex::new(Feed::new(receive, width, layout)),
            stop: stop.clone(),
        };
        let head = Head { out: out.clone(), passed: 0, insert: segments(channels, metadata), stop: stop.clone() };
        let mut e = jpeg_encoder::Encoder::new(BufWriter::with_capacity(64 << 10, head), how.quality);
        if how.chroma_420 {
            e.set_sampling_factor(SamplingFactor::F_2_2);
            e.set_chroma_subsampling_method(match layout {
                Layout::Halved => ChromaSubsamplingMethod::Nearest,
                _ => ChromaSubsamplingMethod::Average,
            });
        } else {
            e.set_sampling_factor(SamplingFactor::F_1_1);
        }
        e.set_progressive(how.progressive);
        if let Some((x, y)) = metadata.dpi {
            let whole = |v: f64| v.round().clamp(1.0, 65_535.0) as u16;
            e.set_density(PixelDensity { density: (whole(x), whole(y)), unit: PixelDensityUnit::Inches });
        }
        let thread =
            std::thread::Builder::new().name("jpeg".into()).spawn(move || e.encode_image(source)).map_err(|e| Error::io(&out.path, e))?;
        Ok(Self { out, rows: Rows::new(width, height, channels), send: Some(send), thread: Some(thread), stop })
    }

    /// Hands interleaved codes to the thread.
    fn send(&mut self, codes: Vec<u8>, channels: usize) -> Result<()> {
        let rows = match channels {
            2 => over_white::<1>(&codes),
            4 => over_white::<3>(&codes),
            _ => codes,
        };
        if self.send.as_ref().is_none_or(|s| s.send(rows).is_err()) {
            self.join()?;
            return Err(Error::Internal("the JPEG encoder took no more rows".into()));
        }
        Ok(())
    }

    /// Waits for the thread and tells what went wrong in it.
    fn join(&mut self) -> Result<()> {
        self.send = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(e))) => {
                self.out.close()?;
                Err(Error::output(&self.out.path, format!("the JPEG could not be written ({e})"), ""))
            }
            Some(Err(_)) => Err(Error::Internal("the JPEG encoder stopped".into())),
        }
    }
}

impl super::Encoder for Writer {
    fn write(&mut self, band: &Band) -> Result<()> {
        self.rows.take(band)?;
        let row = band.width * band.channels;
        for from in (0..band.rows).step_by(AT_ONCE) {
            let rows = from..band.rows.min(from + AT_ONCE);
            let mut codes = vec![0; rows.len() * row];
            for (r, codes) in rows.zip(codes.chunks_exact_mut(row)) {
                quantise::row_into(band, r, codes, &self.out.path.display())?;
            }
            self.send(codes, band.channels)?;
        }
        Ok(())
    }

    fn write_rows(&mut self, image: &Image, from: usize, to: usize) -> Result<()> {
        let channels = image.channels.count();
        let Some(bytes) = self.rows.bytes(image, from..to)? else { return self.write(&image.band(from, to, 0..channels)) };
        bytes.chunks(AT_ONCE * image.width * channels).try_for_each(|rows| self.send(rows.to_vec(), channels))
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.rows.complete()?;
        self.join()?;
        self.out.close()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.send = None;
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

/// Lays straight alpha over white: `a * v + (1 - a) * 255`, rounded.
fn over_white<const N: usize>(codes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(codes.len() / (N + 1) * N);
    for p in codes.chunks_exact(N + 1) {
        let a = u32::from(p[N]);
        out.extend(p[..N].iter().map(|&v| ((u32::from(v) * a + 255 * (255 - a) + 127) / 255) as u8));
    }
    out
}

/// What the encoder crate pulls rows from.
struct Source {
    width: u16,
    height: u16,
    layout: Layout,
    feed: Mutex<Feed>,
    stop: Arc<AtomicBool>,
}

impl ImageBuffer for Source {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        if self.layout == Layout::Grey { JpegColorType::Luma } else { JpegColorType::Ycbcr }
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    /// Rows are asked for in order; the last one again and again to fill its block.
    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if feed.fill(y, y + 1 < self.height, buffers).is_none() {
            // The sender is gone: whatever is encoded from here on is thrown away at the next write.
            self.stop.store(true, Ordering::Relaxed);
            buffers.iter_mut().take(if self.layout == Layout::Grey { 1 } else { 3 }).for_each(|b| b.resize(b.len() + feed.width, 0));
        }
    }
}

/// Passes SOI and the JFIF header, inserts the metadata segments, then passes the rest.
struct Head {
    out: Output,
    passed: usize,
    insert: Vec<u8>,
    stop: Arc<AtomicBool>,
}

/// SOI (2 bytes) and an APP0 segment without thumbnail (18 bytes).
const JFIF_END: usize = 20;

impl Write for Head {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.write_all(data).map(|()| data.len())
    }

    fn write_all(&mut self, data: &[u8]) -> std::io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        if self.passed >= JFIF_END {
            return self.out.write_all(data);
        }
        let first = data.len().min(JFIF_END - self.passed);
        self.out.write_all(&data[..first])?;
        self.passed += first;
        if self.passed == JFIF_END {
            self.out.write_all(&std::mem::take(&mut self.insert))?;
        }
        self.out.write_all(&data[first..])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG of a picture that is detailed everywhere.
    fn file(width: u16, height: u16, grey: bool, half: bool, restart: u16) -> Vec<u8> {
        let n = if grey { 1 } else { 3 };
        let mut seed = 7u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height) * n).map(|_| noise()).collect();
        let mut out = Vec::new();
        let mut e = jpeg_encoder::Encoder::new(&mut out, 80);
        e.set_sampling_factor(if half { SamplingFactor::F_2_2 } else { SamplingFactor::F_1_1 });
        e.set_restart_interval(restart);
        e.encode(&pixels, width, height, if grey { jpeg_encoder::ColorType::Luma } else { jpeg_encoder::ColorType::Rgb }).unwrap();
        out
    }

    fn read(bytes: &[u8]) -> Result<Image> {
        decode(Path::new("x.jpg"), bytes, &Limits::default())
    }

    #[test]
    fn data_that_ends_early_is_told_from_a_missing_end_mark() {
        for (width, height, grey, half, restart) in [
            (37, 29, false, false, 0),
            (64, 48, true, false, 0),
            (50, 70, false, true, 0),
            (41, 33, false, true, 2),
            (9, 9, true, false, 1),
        ] {
            let whole = file(width, height, grey, half, restart);
            let what = format!("{width}x{height} {grey} {half} {restart}");
            let image = read(&whole).unwrap();
            assert!(image.notes.is_empty(), "{what}: {:?}", image.notes);
            let unended = read(&whole[..whole.len() - 2]).unwrap();
            assert_eq!(unended.samples, image.samples, "{what}");
            assert!(unended.notes.join(" ").contains("end mark is missing"), "{what}: {:?}", unended.notes);
            let start = whole.windows(2).position(|w| w == [0xff, SOS]).unwrap() + 14;
            // A byte or two are padding, and may be the second half of a stuffed one.
            for keep in (start..whole.len() - 8).step_by(3) {
                let cut = &whole[..keep];
                assert!(read(cut).is_err(), "{what}: {keep} of {}", whole.len());
                let ended = [cut, b"\xff\xd9"].concat();
                // A restart interval that is missing in the middle cannot be made up for, the rest must not be grey.
                assert_eq!(entropy::intact(&walk(&ended, false).segments), Some(false), "{what}: {keep}");
            }
            let half = [&whole[..(start + whole.len()) / 2], b"\xff\xd9"].concat();
            let e = read(&half).map(|i| i.notes).unwrap_err().to_string();
            assert!(e.contains("ends too early") || e.contains("damaged") || e.contains("cannot hold"), "{what}: {e}");
        }
    }

    /// The same as a progressive JPEG of a quieter picture.
    fn progressive_file(width: u16, height: u16, grey: bool, half: bool, restart: u16) -> Vec<u8> {
        let n = if grey { 1 } else { 3 };
        let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height) * n)
            .map(|i| ((i as f32 * 0.37).sin() * 70.0 + (i as f32 * 0.011).cos() * 50.0 + 128.0) as u8)
            .collect();
        let mut out = Vec::new();
        let mut e = jpeg_encoder::Encoder::new(&mut out, 90);
        e.set_sampling_factor(if half { SamplingFactor::F_2_2 } else { SamplingFactor::F_1_1 });
        e.set_progressive(true);
        e.set_restart_interval(restart);
        e.encode(&pixels, width, height, if grey { jpeg_encoder::ColorType::Luma } else { jpeg_encoder::ColorType::Rgb }).unwrap();
        out
    }

    #[test]
    fn progressive_data_that_ends_early_is_told_as_well() {
        // The last two by libjpeg-turbo, with successive approximation.
        let files = [
            ("444", progressive_file(37, 29, false, false, 0)),
            ("grey", progressive_file(64, 48, true, false, 0)),
            ("420", progressive_file(50, 70, false, true, 0)),
            ("420 with restarts", progressive_file(41, 33, false, true, 2)),
            ("420, refined", include_bytes!("../../tests/fixtures/progressive-420.jpg").to_vec()),
            ("444, refined, with restarts", include_bytes!("../../tests/fixtures/progressive-restarts.jpg").to_vec()),
        ];
        for (what, whole) in files {
            let scans: Vec<usize> = whole.windows(2).enumerate().filter(|(_, w)| *w == [0xff, SOS]).map(|(i, _)| i).collect();
            let image = read(&whole).unwrap();
            assert!(image.notes.is_empty(), "{what}: {:?}", image.notes);
            assert_eq!(entropy::intact(&walk(&whole, false).segments), Some(true), "{what}");
            let unended = read(&whole[..whole.len() - 2]).unwrap();
            assert_eq!(unended.samples, image.samples, "{what}");
            assert!(unended.notes.join(" ").contains("end mark is missing"), "{what}: {:?}", unended.notes);
            // Within the data of any scan, also of the last. Tables may stand before the next scan's header.
            let marker = |w: &[u8]| w[0] == 0xff && [DHT, DRI, SOS, EOI].contains(&w[1]);
            let end = |scan: usize| scan + 2 + whole[scan + 2..].windows(2).position(marker).unwrap();
            for &scan in &scans {
                for keep in (scan + 14..end(scan).saturating_sub(6)).step_by(5) {
                    let cut = &whole[..keep];
                    assert!(read(cut).is_err(), "{what}: {keep} of {}", whole.len());
                    let e = read(&[cut, b"\xff\xd9"].concat()).map(|i| i.notes).unwrap_err().to_string();
                    assert!(e.contains("ends too early") || e.contains("damaged") || e.contains("cannot hold"), "{what}: {e}");
                }
            }
            // Between scans: a coarser picture, if it says that it ends there.
            let from = end(scans[scans.len() - 2]);
            assert!(read(&whole[..from]).is_err(), "{what}");
            let coarse = read(&[&whole[..from], b"\xff\xd9"].concat()).unwrap();
            assert!(coarse.notes.join(" ").contains("last progressive scans are missing"), "{what}: {:?}", coarse.notes);
        }
    }

    #[test]
    fn further_pictures_are_counted_and_not_promised() {
        let one = file(16, 16, true, false, 0);
        let xmp = format!(
            "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
            <rdf:Description rdf:about='' xmlns:hdrgm='{GAIN_MAP}' hdrgm:Version='1.0' xmlns:dc='http://purl.org/dc/elements/1.1/'>\
            <dc:creator><rdf:Seq><rdf:li>me</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"
        );
        let mut main = one[..2].to_vec();
        main.extend([0xff, APP0 + 1]);
        main.extend((xmp.len() as u16 + 2 + XMP.len() as u16).to_be_bytes());
        main.extend([XMP, xmp.as_bytes(), &one[2..]].concat());
        assert_eq!(read(&main).unwrap().notes, Vec::<String>::new());
        let image = read(&[&main[..], &[0; 9], &one, &one].concat()).unwrap();
        assert_eq!(image.notes, ["its HDR gain map and 1 more of its pictures are not carried"]);
        let left = String::from_utf8(image.metadata.xmp.unwrap()).unwrap();
        assert!(left.contains("<rdf:li>me</rdf:li>") && !left.contains("hdrgm:Version"), "{left}");
        assert!(read(&[&one[..], &one].concat()).unwrap().notes[0].contains("a further picture"));
        assert_eq!(behind(&[&one[..], &one[..9]].concat()).pictures, 2, "a cut one counts");
    }

    #[test]
    fn a_copy_in_text_mode_is_told_from_other_damage() {
        let mut seed = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .filter(|&b| b != 0xff)
        .take(20_000)
        .collect();
        let file = |scan: &[u8]| [&b"\xff\xd8\xff\xda\0\x02"[..], scan, b"\xff\xd9"].concat();
        let said = |scan: &[u8]| text_mode(&walk(&file(scan), false)).unwrap_or_default();
        assert_eq!(said(&noise), "");
        let unix: Vec<u8> = noise.iter().map(|&b| if b == b'\r' { b'\n' } else { b }).collect();
        assert!(said(&unix).contains("every 0x0d"));
        assert_eq!(said(&unix[..4000]), "", "too little to tell");
        let windows: Vec<u8> = noise.iter().flat_map(|&b| if b == b'\n' { vec![b'\r', b] } else { vec![b] }).collect();
        assert!(said(&windows).contains("0x0d was put before"));
        assert_eq!(said(&[0xa2, 0x8a, 0x28].repeat(9000)), "", "a flat picture has few bytes of any kind");
    }

    /// The same data under other headers: JFIF's, Adobe's with transform 0, components called R, G and B.
    fn headed(whole: &[u8], jfif: bool, adobe: bool, lettered: bool) -> Vec<u8> {
        let mut out = b"\xff\xd8".to_vec();
        if jfif {
            out.extend(b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        }
        if adobe {
            out.extend(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0");
        }
        for s in walk(whole, false).segments.iter().filter(|s| s.marker != APP0) {
            let mut copy = s.whole.to_vec();
            let data = copy.len() - s.whole[4..].len();
            if lettered && (is_frame(s.marker) || s.marker == SOS) {
                let (first, step) = if s.marker == SOS { (data + 1, 2) } else { (data + 6, 3) };
                (0..usize::from(copy[first - 1])).map(|i| first + i * step).for_each(|at| copy[at] = b"RGB"[usize::from(copy[at])]);
            }
            out.extend(copy);
        }
        out.extend(b"\xff\xd9");
        out
    }

    #[test]
    fn what_components_are_called_does_not_change_the_picture() {
        for whole in [file(40, 24, false, false, 0), progressive_file(40, 24, false, false, 0)] {
            let pixels = |jfif, adobe, lettered| read(&headed(&whole, jfif, adobe, lettered)).unwrap().samples;
            let (ycbcr, rgb) = (read(&whole).unwrap().samples, pixels(false, true, false));
            assert_ne!(ycbcr, rgb);
            // JFIF counts most, then Adobe's marker, then the letters.
            assert_eq!(pixels(false, true, true), rgb);
            assert_eq!(pixels(false, false, true), rgb);
            assert_eq!(pixels(true, true, true), ycbcr);
            assert_eq!(pixels(true, false, true), ycbcr);
        }
    }

    #[test]
    fn metadata_count_as_far_as_the_picture_data() {
        let whole = file(16, 8, false, false, 0);
        let block = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let at = whole.windows(2).position(|w| w == [0xff, SOS]).unwrap();
        for (at, orientation) in [(2, 6), (at, 6), (whole.len() - 2, 1)] {
            let file = [&whole[..at], &block[..], &whole[at..]].concat();
            assert_eq!(header(Path::new("x.jpg"), &file).unwrap().orientation, orientation);
            let image = super::super::decode(Path::new("x.jpg"), &file, &Limits::default()).unwrap();
            assert_eq!((image.width, image.height), if orientation == 6 { (8, 16) } else { (16, 8) });
            assert_eq!(image.notes.iter().any(|n| n.contains("behind the beginning")), orientation == 1, "{:?}", image.notes);
        }
    }

    #[test]
    fn a_file_tells_how_it_was_written() {
        for (quality, half, progressive) in [(1, false, false), (37, true, false), (80, false, true), (92, true, true), (100, false, false)]
        {
            let mut out = Vec::new();
            let mut e = jpeg_encoder::Encoder::new(&mut out, quality);
            e.set_sampling_factor(if half { SamplingFactor::F_2_2 } else { SamplingFactor::F_1_1 });
            e.set_progressive(progressive);
            e.encode(&[128; 32 * 32 * 3], 32, 32, jpeg_encoder::ColorType::Rgb).unwrap();
            assert_eq!(written(&out), Some(Written { quality, chroma_420: half, progressive }));
            assert_eq!(written(&out[..60]), None, "it is cut off inside its first table");
        }
        assert_eq!(written(&file(16, 16, true, false, 0)), Some(Written { quality: 80, chroma_420: false, progressive: false }));
        assert_eq!(written(b"\xff\xd8\xff\xdb\0\x05\0\x01\x02"), None);
    }

    #[test]
    fn profiles_in_parts_are_put_together() {
        let part = |n: u8, of: u8, data: &[u8]| {
            let body = [ICC, &[n, of], data].concat();
            [&[0xff, 0xe2][..], &(body.len() as u16 + 2).to_be_bytes(), &body].concat()
        };
        let (a, b) = (part(1, 2, b"one"), part(2, 2, b"two"));
        for (parts, want) in [
            (vec![&a, &b], Some("onetwo")),
            (vec![&b, &a], Some("onetwo")),
            (vec![&a, &b, &a, &b], Some("onetwo")),
            (vec![&part(0, 1, b"all")], Some("all")),
            (vec![&a], None),
            (vec![&a, &a], None),
            (vec![&a, &b, &part(2, 2, b"2")], None),
        ] {
            let file = [&b"\xff\xd8"[..], &parts.into_iter().flatten().copied().collect::<Vec<u8>>()].concat();
            let (m, notes) = collect(&walk(&file, true));
            assert_eq!(m.icc.as_deref(), want.map(str::as_bytes));
            assert_eq!(notes.len(), usize::from(want.is_none()));
        }
    }
}
