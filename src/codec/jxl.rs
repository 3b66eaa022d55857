//! JPEG XL (ISO/IEC 18181): read only, through `jxl-oxide`. The container's boxes are walked here, so that the decoder sees the
//! codestream alone and compressed metadata cannot grow without bound.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use jxl_oxide::image::BitDepth;
use jxl_oxide::{AllocTracker, FrameBufferSample, InitializeResult, JxlImage, JxlThreadPool, PixelFormat};

use super::metadata::MAX_METADATA_BYTES;
use super::{Format, Header, Limits, Metadata, bmff, exif, zeros};
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};

const AGAIN: &str = "copy, download or export it again";

/// How a codestream begins.
const SIGNATURE: &[u8] = b"\xff\x0a";

/// A picture may have so many pixels whatever its file's size, and then [`DENSEST`] per byte: memory is not taken on the word of
/// a few bytes.
const ALWAYS: u64 = 64 << 20;
const DENSEST: u64 = 50_000;

/// The codestream and the metadata boxes of a file.
struct Parts<'a> {
    code: Cow<'a, [u8]>,
    metadata: Metadata,
    notes: Vec<String>,
}

/// Walks the boxes (ISO/IEC 18181-2); a bare codestream has none.
fn parts(bytes: &[u8]) -> Parts<'_> {
    let mut p = Parts { code: Cow::Borrowed(bytes), metadata: Metadata::default(), notes: Vec::new() };
    if bytes.starts_with(SIGNATURE) {
        return p;
    }
    let mut code: Option<Cow<'_, [u8]>> = None;
    for (kind, data, whole) in bmff::all(bytes) {
        match &kind {
            kind if !whole && !kind.starts_with(b"jxl") => p.notes.push("a metadata box is cut off and was left out".into()),
            b"jxlc" => code = Some(Cow::Borrowed(data)),
            // Four bytes of sequence number, then a part.
            b"jxlp" => code.get_or_insert_default().to_mut().extend_from_slice(data.get(4..).unwrap_or(&[])),
            b"brob" => match data.split_first_chunk::<4>().and_then(|(of, packed)| Some((of, unpacked(packed)?))) {
                Some((of, plain)) => p.take(of, &plain),
                None => p.notes.push("a compressed metadata box is damaged or too large and was left out".into()),
            },
            kind => p.take(kind, data),
        }
    }
    p.code = code.unwrap_or_default();
    p
}

impl Parts<'_> {
    fn take(&mut self, kind: &[u8; 4], data: &[u8]) {
        match kind {
            // Four bytes that say where the TIFF header begins.
            b"Exif" => {
                let block = data.split_first_chunk::<4>().and_then(|(at, rest)| rest.get(u32::from_be_bytes(*at) as usize..));
                self.metadata.exif = self.metadata.exif.take().or(block.map(<[u8]>::to_vec));
            }
            b"xml " => {
                self.metadata.xmp.get_or_insert_with(|| data.to_vec());
            }
            b"jumb" => {
                // The manifest store is kept as the box it is.
                let head = (data.len() as u32 + 8).to_be_bytes();
                self.metadata.c2pa.get_or_insert_with(|| [&head, &b"jumb"[..], data].concat());
            }
            _ => {}
        }
    }
}

fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let limit = MAX_METADATA_BYTES as u64;
    brotli_decompressor::Decompressor::new(packed, 4096).take(limit + 1).read_to_end(&mut plain).ok()?;
    (plain.len() as u64 <= limit).then_some(plain)
}

fn damaged(path: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::input(path, format!("its JPEG XL data is damaged ({e})"), AGAIN)
}

/// A decoder that has read the image header, and all of `code` that is there if `whole`.
fn open(path: &Path, code: &[u8], limits: &Limits, whole: bool) -> Result<JxlImage> {
    // The decoder takes any bytes for the beginning of one and asks for more without end.
    if !code.starts_with(SIGNATURE) {
        return Err(damaged(path, &"no codestream in it"));
    }
    let start = |memory: usize| {
        let tracker = AllocTracker::with_limit(memory);
        let mut blank = JxlImage::builder().pool(JxlThreadPool::none()).alloc_tracker(tracker).build_uninit();
        // The header and a profile; the rest is fed once the size is known to be acceptable.
        let head = code.get(..HEAD).unwrap_or(code);
        let mut fed = blank.feed_bytes(head).map_err(|e| damaged(path, &e))?;
        loop {
            match blank.try_init().map_err(|e| damaged(path, &e))? {
                InitializeResult::Initialized(image) => return Ok((image, fed)),
                InitializeResult::NeedMoreData(again) => blank = again,
            }
            let more = code.get(fed..).map(|rest| &rest[..rest.len().min(HEAD)]).filter(|more| !more.is_empty());
            let more = more.ok_or_else(|| Error::input(path, "the JPEG XL data ends inside its header", AGAIN))?;
            fed += blank.feed_bytes(more).map_err(|e| damaged(path, &e))?;
        }
    };
    let (image, _) = start(64 << 20)?;
    let (w, h) = (u64::from(image.width()), u64::from(image.height()));
    limits.check(path, w, h)?;
    if !whole {
        return Ok(image);
    }
    if w * h > ALWAYS.saturating_add(DENSEST.saturating_mul(code.len() as u64)) {
        let what = format!("its {} bytes cannot hold {w}x{h} pixels: the file is cut off or damaged", code.len());
        return Err(Error::input(path, what, AGAIN));
    }
    drop(image);
    let (mut image, fed) = start(usize::try_from(w * h * 64).unwrap_or(usize::MAX).saturating_add(256 << 20))?;
    image.feed_bytes(code.get(fed..).unwrap_or(&[])).map_err(|e| damaged(path, &e))?;
    Ok(image)
}

/// Bytes fed at once while the header is read.
const HEAD: usize = 64 << 10;

fn layout(path: &Path, image: &JxlImage) -> Result<(Channels, u8)> {
    let channels = match image.pixel_format() {
        PixelFormat::Gray => Channels::Grey,
        PixelFormat::Graya => Channels::GreyAlpha,
        PixelFormat::Rgb => Channels::Rgb,
        PixelFormat::Rgba => Channels::Rgba,
        PixelFormat::Cmyk | PixelFormat::Cmyka => {
            return Err(Error::input(path, "it is a CMYK JPEG XL, which is not supported", "export it as RGB"));
        }
    };
    let bits = match image.image_header().metadata.bit_depth {
        BitDepth::IntegerSample { bits_per_sample: ..=8 } => 8,
        BitDepth::IntegerSample { bits_per_sample: ..=16 } => 16,
        _ => 32,
    };
    Ok((channels, bits))
}

/// Reads the header. The codestream's own orientation is applied by the decoder, and it is the one that counts (18181-1, D.3).
pub(super) fn header(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Header> {
    let p = parts(bytes);
    let image = open(path, &p.code, limits, false)?;
    let (channels, bits) = layout(path, &image)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok(Header { format: Format::Jxl, width, height, channels, bits, orientation: 1 })
}

/// Whether it has several frames.
pub(super) fn is_animation(path: &Path, bytes: &[u8], limits: &Limits) -> Result<bool> {
    Ok(open(path, &parts(bytes).code, limits, false)?.image_header().metadata.animation.is_some())
}

/// How many frames the whole file of an animation has.
pub(super) fn frames(path: &Path, bytes: &[u8], limits: &Limits) -> Result<usize> {
    Ok(open(path, &parts(bytes).code, limits, true)?.num_loaded_keyframes())
}

/// Metadata alone; the pixels are passed over.
pub(super) fn metadata(path: &Path, bytes: &[u8], limits: &Limits) -> Result<(Metadata, Vec<String>)> {
    let p = parts(bytes);
    let image = open(path, &p.code, limits, false)?;
    let (mut metadata, mut notes) = (p.metadata, p.notes);
    describe(&image, &mut metadata, &mut notes);
    if image.image_header().metadata.animation.is_some() {
        notes.push("this is an animation (JPEG XL)".into());
    }
    Ok((metadata, notes))
}

/// Profile and orientation as the decoded pixels have them.
fn describe(image: &JxlImage, metadata: &mut Metadata, notes: &mut Vec<String>) {
    /// Full-range RGB with sRGB's primaries and transfer function (ITU-T H.273).
    const SRGB: [u8; 4] = [1, 13, 0, 1];
    let float = matches!(image.image_header().metadata.bit_depth, BitDepth::FloatSample { .. });
    if float || image.rendered_cicp() != Some(SRGB) {
        metadata.icc = Some(image.rendered_icc());
    }
    if let Some(kind) = image.hdr_type() {
        notes.push(format!("its values are HDR ({kind:?}); they are kept as they are"));
    }
    if let Some(block) = &mut metadata.exif {
        exif::set_orientation(block, 1);
    }
    if let Some(packet) = &mut metadata.xmp {
        super::metadata::set_xmp(packet, "tiff:Orientation", "1");
    }
}

/// Decodes pixels and metadata; the pixels stand upright.
pub(super) fn decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let p = parts(bytes);
    let image = open(path, &p.code, limits, true)?;
    let (channels, bits) = layout(path, &image)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (mut metadata, mut notes) = (p.metadata, p.notes);
    describe(&image, &mut metadata, &mut notes);
    if image.image_header().metadata.animation.is_some() {
        notes.push(limits.animation(path, "JPEG XL", image.num_loaded_keyframes())?);
    } else if !image.is_loading_done() {
        return Err(Error::input(path, "the JPEG XL data ends before its picture is complete: the file is cut off", AGAIN));
    }
    if image.num_loaded_keyframes() == 0 {
        return Err(Error::input(path, "the JPEG XL data ends before its first frame is complete: the file is cut off", AGAIN));
    }
    let frame = image.render_frame(0).map_err(|e| damaged(path, &e))?;
    let n = width * height * channels.count();
    let samples = match bits {
        8 => Samples::U8(filled(path, &frame, n)?),
        16 => Samples::U16(filled(path, &frame, n)?),
        _ => Samples::F32(filled(path, &frame, n)?),
    };
    Ok(Image { width, height, channels, samples, format: Format::Jxl, metadata, notes })
}

fn filled<T: FrameBufferSample + bytemuck::Zeroable>(path: &Path, frame: &jxl_oxide::Render, n: usize) -> Result<Vec<T>> {
    let mut samples = zeros::<T>(path, n)?;
    let mut stream = frame.stream();
    let per_pixel = stream.channels() as usize * stream.width() as usize * stream.height() as usize;
    if per_pixel != n || stream.write_to_buffer(&mut samples) != n {
        return Err(Error::Internal(format!("{per_pixel} samples of a JPEG XL frame for {n}")));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use zune_jpeg::zune_core::bit_depth::BitDepth as Depth;
    use zune_jpeg::zune_core::colorspace::ColorSpace;
    use zune_jpeg::zune_core::options::EncoderOptions;

    use super::*;
    use crate::codec;

    const W: usize = 33;
    const H: usize = 20;

    /// A lossless codestream and the samples in it.
    fn file(colours: ColorSpace, sixteen: bool) -> (Vec<u8>, Vec<u8>) {
        let n = W * H * colours.num_components() * if sixteen { 2 } else { 1 };
        let samples: Vec<u8> = (0..n).map(|i| (i * i / 7 + i) as u8).collect();
        let depth = if sixteen { Depth::Sixteen } else { Depth::Eight };
        let mut out = Vec::new();
        zune_jpegxl::JxlSimpleEncoder::new(&samples, EncoderOptions::new(W, H, colours, depth)).encode(&mut out).unwrap();
        (out, samples)
    }

    fn read(bytes: &[u8]) -> Result<Image> {
        codec::decode(Path::new("x.jxl"), bytes, &Limits::default())
    }

    #[test]
    fn every_layout_comes_back_exactly() {
        for (colours, channels) in [
            (ColorSpace::Luma, Channels::Grey),
            (ColorSpace::LumaA, Channels::GreyAlpha),
            (ColorSpace::RGB, Channels::Rgb),
            (ColorSpace::RGBA, Channels::Rgba),
        ] {
            for sixteen in [false, true] {
                // The encoder says 8 bits of alpha even where it writes 16.
                if sixteen && channels.has_alpha() {
                    continue;
                }
                let (bytes, samples) = file(colours, sixteen);
                let image = read(&bytes).unwrap();
                let header = codec::header(Path::new("x.jxl"), &bytes, &Limits::default()).unwrap();
                let what = format!("{channels:?} {sixteen}");
                assert_eq!((header.width, header.height, header.channels, header.bits), (W, H, channels, image.bits()), "{what}");
                assert_eq!((image.width, image.height, image.channels), (W, H, channels), "{what}");
                assert_eq!((image.metadata.icc, image.notes), (None, Vec::<String>::new()), "{what}");
                match image.samples {
                    Samples::U8(v) => assert!(!sixteen && v == samples, "{what}"),
                    Samples::U16(v) => {
                        let wanted: Vec<u16> = samples.chunks_exact(2).map(|b| u16::from_ne_bytes([b[0], b[1]])).collect();
                        assert!(sixteen && v == wanted, "{what}: {:?} for {:?}", &v[..9], &wanted[..9]);
                    }
                    Samples::F32(_) => panic!("{what} as float"),
                }
            }
        }
    }

    fn boxed(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        [&(data.len() as u32 + 8).to_be_bytes()[..], kind, data].concat()
    }

    #[test]
    fn metadata_is_taken_from_the_container() {
        let (code, samples) = file(ColorSpace::RGB, false);
        let (a, b) = code.split_at(code.len() / 3);
        let mut block = codec::exif::entries::empty();
        codec::exif::entries::add(&mut block, codec::exif::entries::Which::Main, &[(0x0112, codec::exif::entries::Value::Long(6))]);
        let packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>";
        let parts = [
            b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a".to_vec(),
            boxed(b"ftyp", b"jxl \0\0\0\0jxl "),
            boxed(b"jxlp", &[b"\0\0\0\0", a].concat()),
            boxed(b"Exif", &[b"\0\0\0\0", &block[..]].concat()),
            boxed(b"xml ", packet),
            boxed(b"brob", b"xml garbage"),
            boxed(b"jxlp", &[b"\x80\0\0\x01", b].concat()),
        ];
        let image = read(&parts.concat()).unwrap();
        assert_eq!(image.samples, Samples::U8(samples));
        assert_eq!((image.width, image.height), (W, H), "the codestream's orientation counts, not EXIF's");
        assert_eq!(codec::exif::orientation(image.metadata.exif.as_ref().unwrap()), Some(1));
        assert_eq!(image.metadata.xmp.as_deref(), Some(&packet[..]));
        assert!(image.notes.iter().any(|n| n.contains("compressed metadata box")), "{:?}", image.notes);
        let m = codec::examine(Path::new("x.jxl"), &parts.concat(), &Limits::default()).unwrap().metadata;
        assert_eq!(m.xmp, image.metadata.xmp);
    }

    #[test]
    fn cut_files_are_refused() {
        let (code, _) = file(ColorSpace::RGB, false);
        for keep in [3, 10, code.len() / 2, code.len() - 8] {
            let e = read(&code[..keep]).unwrap_err();
            assert!(e.kind() == "input" && e.to_string().contains("try: "), "{keep}: {e}");
        }
        let tight = Limits { max_pixels: (W * H - 1) as u64, ..Limits::default() };
        assert_eq!(codec::decode(Path::new("x.jxl"), &code, &tight).unwrap_err().kind(), "limit");
    }
}
