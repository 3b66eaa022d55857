//! GIF, BMP, PNM and QOI: read only, through the `image` crate, behind our own header checks.

use std::io::Cursor;
use std::path::Path;

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, pnm::PnmDecoder, qoi::QoiDecoder};
use image::{ColorType, ImageDecoder};

use super::{Format, Header, Limits, Metadata, reserve, zeros};
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};

const AGAIN: &str = "copy, download or export it again";

fn broken(path: &Path, format: Format, e: &image::ImageError) -> Error {
    let said = e.to_string();
    let what = match e {
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            format!("the {} data ends too early: the file is cut off", format.name())
        }
        image::ImageError::Unsupported(_) => format!("it is a kind of {} that is not supported ({said})", format.name()),
        _ => format!("its {} data is damaged ({said})", format.name()),
    };
    Error::input(path, what, "export it again as PNG")
}

/// Size stated by a BMP header, read here because the decoder refuses large ones before the limit can be named.
fn bmp_size(bytes: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize| Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if number(14)? < 16 {
        return None;
    }
    Some((number(18)?.unsigned_abs().into(), number(22)?.unsigned_abs().into()))
}

/// A BMP, PNM or QOI decoder that has read the header only.
fn open<'a>(path: &Path, bytes: &'a [u8], format: Format) -> Result<Box<dyn ImageDecoder + 'a>> {
    let from = Cursor::new(bytes);
    let fail = |e| broken(path, format, &e);
    Ok(match format {
        Format::Bmp => Box::new(BmpDecoder::new(from).map_err(fail)?),
        Format::Pnm => Box::new(PnmDecoder::new(from).map_err(fail)?),
        Format::Qoi => Box::new(QoiDecoder::new(from).map_err(fail)?),
        _ => return Err(Error::Internal(format!("{} is not read here", format.name()))),
    })
}

fn layout(path: &Path, colour: ColorType) -> Result<(Channels, u8)> {
    Ok(match colour {
        ColorType::L8 => (Channels::Grey, 8),
        ColorType::La8 => (Channels::GreyAlpha, 8),
        ColorType::Rgb8 => (Channels::Rgb, 8),
        ColorType::Rgba8 => (Channels::Rgba, 8),
        ColorType::L16 => (Channels::Grey, 16),
        ColorType::La16 => (Channels::GreyAlpha, 16),
        ColorType::Rgb16 => (Channels::Rgb, 16),
        ColorType::Rgba16 => (Channels::Rgba, 16),
        c => return Err(Error::input(path, format!("its pixels are {c:?}, which is not supported"), "export it again as PNG")),
    })
}

/// Reads a BMP, PNM or QOI header.
pub(super) fn header(path: &Path, bytes: &[u8], format: Format) -> Result<Header> {
    let d = open(path, bytes, format)?;
    let (width, height) = d.dimensions();
    let (channels, bits) = layout(path, d.color_type())?;
    Ok(Header { format, width: width as usize, height: height as usize, channels, bits, orientation: 1 })
}

/// Decodes a BMP, PNM or QOI.
pub(super) fn decode(path: &Path, bytes: &[u8], limits: &Limits, format: Format) -> Result<Image> {
    if let (Format::Bmp, Some((w, h))) = (format, bmp_size(bytes)) {
        limits.check(path, w, h)?;
    }
    let d = open(path, bytes, format)?;
    let (w, h) = d.dimensions();
    limits.check(path, w.into(), h.into())?;
    // A run-length code in these formats stands for at most 255 pixels.
    if u64::from(w) * u64::from(h) > (bytes.len() as u64).saturating_mul(256) {
        return Err(Error::input(
            path,
            format!("its {} bytes cannot hold {w}x{h} pixels: the file is cut off or damaged", bytes.len()),
            AGAIN,
        ));
    }
    let (channels, bits) = layout(path, d.color_type())?;
    let (width, height) = (w as usize, h as usize);
    let n = width * height * channels.count();
    let mut raw = zeros::<u8>(path, n * usize::from(bits / 8))?;
    d.read_image(&mut raw).map_err(|e| broken(path, format, &e))?;
    let samples = if bits == 16 {
        let mut v = reserve::<u16>(path, n)?;
        v.extend(raw.chunks_exact(2).map(|b| u16::from_ne_bytes([b[0], b[1]])));
        Samples::U16(v)
    } else {
        Samples::U8(raw)
    };
    Ok(Image { width, height, channels, samples, format, metadata: Metadata::default(), notes: Vec::new() })
}

/// What a walk over a GIF's blocks finds (GIF89a specification).
struct Gif {
    width: usize,
    height: usize,
    frames: usize,
    /// Some pixel may be transparent: a transparent colour, or a first frame that does not cover the screen.
    transparent: bool,
    /// The first frame's data ends with its terminator.
    complete: bool,
    comment: Option<Vec<u8>>,
}

fn gif(path: &Path, bytes: &[u8]) -> Result<Gif> {
    let Some(&[w0, w1, h0, h1, flags, _, _]) = bytes.get(6..13) else {
        return Err(Error::input(path, "the GIF data ends inside its header", AGAIN));
    };
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut g = Gif {
        width: usize::from(u16::from_le_bytes([w0, w1])),
        height: usize::from(u16::from_le_bytes([h0, h1])),
        frames: 0,
        transparent: false,
        complete: false,
        comment: None,
    };
    let mut at = 13 + table(flags);
    // Sub-blocks: a length byte and as many bytes, until a length of 0. None if the file ends before.
    let skip = |mut at: usize, mut keep: Option<&mut Vec<u8>>| -> Option<usize> {
        loop {
            let n = usize::from(*bytes.get(at)?);
            let data = bytes.get(at + 1..at + 1 + n)?;
            if let Some(keep) = &mut keep {
                keep.extend_from_slice(data);
            }
            at += 1 + n;
            if n == 0 {
                return Some(at);
            }
        }
    };
    loop {
        match bytes.get(at) {
            Some(0x21) => {
                let label = bytes.get(at + 1).copied().unwrap_or(0);
                if label == 0xf9 && g.frames == 0 && bytes.get(at + 3).is_some_and(|f| f & 1 == 1) {
                    g.transparent = true;
                }
                let mut text = Vec::new();
                let Some(next) = skip(at + 2, (label == 0xfe).then_some(&mut text)) else { return Ok(g) };
                if label == 0xfe && !text.is_empty() {
                    g.comment.get_or_insert(text);
                }
                at = next;
            }
            Some(0x2c) => {
                let Some(d) = bytes.get(at + 1..at + 10) else { return Ok(g) };
                let v = |i: usize| usize::from(u16::from_le_bytes([d[i], d[i + 1]]));
                g.frames += 1;
                if g.frames == 1 {
                    // The decoder makes room for all that a frame says it has; a picture of 17x12 px must not take 4 GB.
                    if v(4) * v(6) > (g.width * g.height).max(1 << 27) {
                        let what = format!("its frame of {}x{} px does not fit its {}x{} px", v(4), v(6), g.width, g.height);
                        return Err(Error::input(path, what, AGAIN));
                    }
                    g.transparent |= v(0) > 0 || v(2) > 0 || v(4) < g.width || v(6) < g.height;
                }
                let Some(next) = skip(at + 10 + table(d[8]) + 1, None) else { return Ok(g) };
                g.complete |= g.frames == 1;
                at = next;
            }
            _ => return Ok(g),
        }
    }
}

/// Reads a GIF's header.
pub(super) fn gif_header(path: &Path, bytes: &[u8]) -> Result<Header> {
    let g = gif(path, bytes)?;
    Ok(Header { format: Format::Gif, width: g.width, height: g.height, channels: Channels::of(3, g.transparent), bits: 8, orientation: 1 })
}

/// How many frames a GIF has that is an animation.
pub(super) fn gif_frames(path: &Path, bytes: &[u8]) -> Result<Option<usize>> {
    Ok(Some(gif(path, bytes)?.frames).filter(|n| *n > 1))
}

/// A GIF's metadata alone.
pub(super) fn gif_metadata(path: &Path, bytes: &[u8]) -> Result<(Metadata, Vec<String>)> {
    let g = gif(path, bytes)?;
    let notes = if g.frames > 1 { vec![format!("this is an animation (GIF, {} frames)", g.frames)] } else { Vec::new() };
    Ok((Metadata { comment: g.comment, ..Metadata::default() }, notes))
}

/// Decodes a still GIF; animations are refused.
pub(super) fn gif_decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let g = gif(path, bytes)?;
    limits.check(path, g.width as u64, g.height as u64)?;
    let notes = if g.frames > 1 { vec![limits.animation(path, "GIF", g.frames)?] } else { Vec::new() };
    if g.frames == 0 || !g.complete {
        return Err(Error::input(path, "the GIF data ends before its picture is complete: the file is cut off", AGAIN));
    }
    // A code of LZW's 12 bits stands for at most 4096 pixels.
    if g.width * g.height > bytes.len().saturating_mul(4096) {
        return Err(Error::input(path, format!("its {} bytes cannot hold {}x{} pixels", bytes.len(), g.width, g.height), AGAIN));
    }
    let d = GifDecoder::new(Cursor::new(bytes)).map_err(|e| broken(path, Format::Gif, &e))?;
    if d.dimensions() != (g.width as u32, g.height as u32) {
        return Err(Error::input(path, "its GIF header is inconsistent", AGAIN));
    }
    let mut rgba = zeros::<u8>(path, g.width * g.height * 4)?;
    d.read_image(&mut rgba).map_err(|e| broken(path, Format::Gif, &e))?;
    let (channels, pixels) = if g.transparent {
        (Channels::Rgba, rgba)
    } else {
        let mut rgb = reserve(path, g.width * g.height * 3)?;
        rgb.extend(rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]));
        (Channels::Rgb, rgb)
    };
    let metadata = Metadata { comment: g.comment, ..Metadata::default() };
    Ok(Image { width: g.width, height: g.height, channels, samples: Samples::U8(pixels), format: Format::Gif, metadata, notes })
}
