//! Files to pixels and back: the one list of formats, decoding with limits, and row-by-row encoding.
//!
//! A format is one file with `header`, `decode` and, if it can be written, `encoder`, and its lines in [`Format`] and in the
//! three dispatching functions here. Containers are taken apart by our own small, bounds-checked walkers, so that metadata is
//! found wherever a writer put it and sizes are checked before memory is taken; only pixel data goes to codec crates.
//!
//! Over 500 lines because what all formats share (limits, dispatch, the form of metadata, the output file) is told in one place.

#[cfg(feature = "avif")]
mod avif;
mod bmff;
mod c2pa;
mod carry;
mod changes;
mod cmyk;
mod exif;
mod facts;
mod format;
mod generation;
mod ifd;
mod jpeg;
#[cfg(feature = "jxl")]
mod jxl;
mod metadata;
mod other;
mod png;
mod quantise;
mod stated;
mod stealth;
mod strip;
mod tiff;
mod webp;
mod xmp;

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use c2pa::{Claim, sidecar};
pub use changes::{Changes, Event, Keep, Policy, SOURCE_TYPES, SourceType, Strip};
pub use format::{Format, is_animation};
pub use generation::{Generation, generation, generation_in};
pub use metadata::{International, Metadata, Text, losses};
pub use stealth::{Hidden, hidden_text};

use crate::band::Band;
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};

/// What a decoder may take before it refuses.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Width times height; checked from the header before any pixel is allocated.
    pub max_pixels: u64,
    /// Take the first frame of an animation rather than refuse it.
    pub first_frame: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 1_000_000_000, first_frame: false }
    }
}

impl Limits {
    /// What is said about an animation of which the first frame is taken; its frames are not counted if there are 0.
    ///
    /// # Errors
    /// [`Error::Input`] if animations are refused.
    fn animation(&self, path: &Path, format: &str, frames: usize) -> Result<String> {
        let frames = if frames == 0 { "several".to_owned() } else { frames.to_string() };
        let what = format!("this is an animation ({format}, {frames} frames)");
        if self.first_frame {
            return Ok(format!("{what}; its first frame was taken"));
        }
        Err(Error::input(path, what, "--frames first, or export the frame you need as a still picture"))
    }

    /// Refuses a picture of this stored size if it is empty or too large.
    fn check(&self, path: &Path, width: u64, height: u64) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(Error::input(
                path,
                format!("its header says {width}x{height} pixels: the picture is empty or damaged"),
                "export it again",
            ));
        }
        let pixels = width.saturating_mul(height);
        if pixels > self.max_pixels {
            return Err(Error::limit(
                path.display(),
                format!("{width}x{height} are {pixels} pixels, more than the limit of {}", self.max_pixels),
                format!("--max-pixels {pixels} if the file is meant to be that large"),
            ));
        }
        Ok(())
    }
}

/// What a file's header says, read without decoding pixels.
#[derive(Debug, Clone)]
pub struct Header {
    pub format: Format,
    /// Size as stored, before EXIF orientation.
    pub width: usize,
    pub height: usize,
    pub channels: Channels,
    /// Bits per sample in memory after decoding: 8, 16 or 32 (float).
    pub bits: u8,
    /// EXIF orientation, 1..=8 (1 = upright).
    pub orientation: u8,
}

impl Header {
    /// Size of the upright picture, as [`decode`] returns it.
    pub fn upright(&self) -> (usize, usize) {
        if self.orientation >= 5 { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// How an output file is written.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Encoding {
    pub format: Format,
    /// JPEG, AVIF and lossy WebP, 1..=100.
    pub quality: u8,
    /// WebP only.
    pub lossless: bool,
    /// 8 or 16 bits per sample; formats without 16 bit are refused beforehand.
    pub bits: u8,
    /// PNG: the smallest file rather than the fastest.
    pub small: bool,
    /// JPEG: coarse to fine instead of top to bottom. Takes the memory of the whole picture.
    pub progressive: bool,
    /// JPEG: colour at half the resolution in both directions (4:2:0) rather than at full (4:4:4).
    pub chroma_420: bool,
}

impl Default for Encoding {
    /// PNG with 8 bits.
    fn default() -> Self {
        Self { format: Format::Png, quality: 0, lossless: false, bits: 8, small: false, progressive: false, chroma_420: false }
    }
}

impl Encoding {
    /// Whether what is written differs from what was given in more than rounding.
    pub fn is_lossy(&self) -> bool {
        matches!(self.format, Format::Jpeg | Format::Avif) || (self.format == Format::WebP && !self.lossless)
    }

    /// The same, as far as a file of this format (its bytes are given) does not tell otherwise how it was written itself: a JPEG by
    /// its quantisation tables and the resolution of its colour, a WebP by whether it is lossless.
    #[must_use]
    pub fn as_told_by(mut self, bytes: &[u8]) -> Self {
        match self.format {
            Format::Jpeg => {
                if let Some(told) = jpeg::written(bytes) {
                    (self.quality, self.chroma_420, self.progressive) = (told.quality, told.chroma_420, told.progressive);
                }
            }
            Format::WebP => self.lossless = webp::is_lossless(bytes),
            _ => {}
        }
        self
    }
}

/// Reads the header of a file whose first bytes are given (the path is only used in messages).
///
/// JPEG, PNG and WebP need what stands before the pixels, TIFF usually the whole file; [`probe`] takes care of that.
pub fn header(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Header> {
    let found = match known(path, bytes)? {
        Format::Png => png::header(path, bytes),
        Format::Jpeg => jpeg::header(path, bytes),
        Format::WebP => webp::header(path, bytes),
        Format::Tiff => tiff::header(path, bytes),
        Format::Gif => other::gif_header(path, bytes),
        f @ (Format::Bmp | Format::Pnm | Format::Qoi) => other::header(path, bytes, f),
        #[cfg(feature = "avif")]
        Format::Avif => avif::header(path, bytes),
        #[cfg(not(feature = "avif"))]
        Format::Avif => Err(without(path, "avif")),
        #[cfg(feature = "jxl")]
        Format::Jxl => jxl::header(path, bytes, limits),
        #[cfg(not(feature = "jxl"))]
        Format::Jxl => Err(without(path, "jxl")),
    }?;
    limits.check(path, found.width as u64, found.height as u64)?;
    Ok(found)
}

/// Reads the header of a file on disk, taking no more of it than needed.
pub fn probe(path: &Path, limits: &Limits) -> Result<Header> {
    probed(path, limits).map(|(header, ..)| header)
}

/// The same, and what [`decode`] would say about further frames: a note, or that they are refused.
///
/// # Errors
/// As [`probe`]; an animation, unless the first frame is to be taken.
pub fn foresee(path: &Path, limits: &Limits) -> Result<(Header, Option<String>)> {
    let (header, mut bytes, rest) = probed(path, limits)?;
    let may = match header.format {
        Format::Gif => true,
        Format::Avif => format::is_animation(&bytes),
        #[cfg(feature = "jxl")]
        Format::Jxl => jxl::is_animation(path, &bytes, limits)?,
        _ => false,
    };
    // How many there are only the whole file tells.
    if let Some(mut file) = rest.filter(|_| may) {
        file.read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    }
    let frames = || {
        Ok(match header.format {
            Format::Png => png::frames(&bytes).filter(|n| *n > 1).map(|n| ("APNG", n)),
            Format::WebP => webp::frames(&bytes).map(|n| ("WebP", n)),
            Format::Gif => other::gif_frames(path, &bytes)?.map(|n| ("GIF", n)),
            #[cfg(feature = "avif")]
            Format::Avif => avif::is_animation(path, &bytes)?.then_some(("AVIF", 0)),
            #[cfg(feature = "jxl")]
            Format::Jxl if may => Some(("JPEG XL", jxl::frames(path, &bytes, limits)?)),
            _ => None,
        })
    };
    let frames = catch_unwind(AssertUnwindSafe(frames))
        .unwrap_or_else(|_| Err(Error::input(path, "the reader stopped on damaged data", "export it again; please report this file")))?;
    let note = frames.map(|(format, n)| limits.animation(path, format, n)).transpose()?;
    Ok((header, note))
}

/// The header of a file on disk, what was read of the file for it, and the file if there is more of it. Of PNG and WebP that is all
/// but pixels.
fn probed(path: &Path, limits: &Limits) -> Result<(Header, Vec<u8>, Option<File>)> {
    const FIRST: u64 = 128 << 10;
    let io = |e| Error::io(path, e);
    let mut file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    (&mut file).take(FIRST).read_to_end(&mut bytes).map_err(io)?;
    if (bytes.len() as u64) < FIRST {
        return Ok((header(path, &bytes, limits)?, bytes, None));
    }
    // What turns a picture may stand behind its pixels.
    match Format::sniff(&bytes) {
        Some(Format::Png) => bytes = png::without_pixels(&mut file).map_err(io)?,
        Some(Format::WebP) => bytes = webp::without_pixels(&mut file).map_err(io)?,
        Some(Format::Jpeg) if !jpeg::has_begun(&bytes) => {
            file.read_to_end(&mut bytes).map_err(io)?;
        }
        Some(_) => match header(path, &bytes, limits) {
            Err(Error::Input { .. }) => {
                file.read_to_end(&mut bytes).map_err(io)?;
            }
            found => return Ok((found?, bytes, Some(file))),
        },
        None => {}
    }
    Ok((header(path, &bytes, limits)?, bytes, None))
}

/// Bytes that [`decode`] takes beside the file and the pixels that it gives: while it runs, and what its thread keeps then for its
/// next picture. `file_bytes` of them are the file's own.
pub fn decoding(header: &Header, file_bytes: u64) -> (u64, u64) {
    let pixels = header.width as u64 * header.height as u64;
    match header.format {
        Format::Png => {
            let row = header.width as u64 * header.channels.count() as u64 * u64::from(header.bits / 8).max(1);
            png::unpacking((row + 1) * header.height as u64, file_bytes)
        }
        // These decoders work in float planes.
        Format::Jxl | Format::Avif => (pixels * 16, 0),
        _ => (0, 0),
    }
}

/// Calls of [`decode`] since the program began.
static DECODED: AtomicU64 = AtomicU64::new(0);

/// How many files this program has decoded so far, outputs that were measured included.
pub fn decoded() -> u64 {
    DECODED.load(Ordering::Relaxed)
}

/// Decodes a file, checks `limits` first, applies the orientation and collects the metadata.
///
/// The format is decided by the content, never by the name. Broken pixel data is an error, never a partly empty picture.
/// Pixels keep their stored depth; palettes are expanded; CMYK becomes sRGB. A text hidden in the lowest bits ([`hidden_text`])
/// is moved to [`Metadata::hidden`]: where pixels keep their size it would go on into results that promise to hold none. A panic inside a codec crate becomes an error.
pub fn decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    DECODED.fetch_add(1, Ordering::Relaxed);
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(path, bytes, limits)))
        .unwrap_or_else(|_| Err(Error::input(path, "the decoder stopped on damaged data", "export it again; please report this file")))
}

fn decode_unguarded(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let format = known(path, bytes)?;
    let mut image = match format {
        Format::Png => png::decode(path, bytes, limits),
        Format::Jpeg => jpeg::decode(path, bytes, limits),
        Format::WebP => webp::decode(path, bytes, limits),
        Format::Tiff => tiff::decode(path, bytes, limits),
        Format::Gif => other::gif_decode(path, bytes, limits),
        f @ (Format::Bmp | Format::Pnm | Format::Qoi) => other::decode(path, bytes, limits, f),
        #[cfg(feature = "avif")]
        Format::Avif => avif::decode(path, bytes, limits),
        #[cfg(not(feature = "avif"))]
        Format::Avif => Err(without(path, "avif")),
        #[cfg(feature = "jxl")]
        Format::Jxl => jxl::decode(path, bytes, limits),
        #[cfg(not(feature = "jxl"))]
        Format::Jxl => Err(without(path, "jxl")),
    }?;
    let turn = settle(path, format, image.channels, &mut image.metadata, &mut image.notes);
    if let Some(hidden) = hidden_text(&image) {
        image.notes.push(format!("a text was hidden in the lowest bits of its {} (stealth PNG info); it was cleared", hidden.place));
        stealth::clear(&mut image, &hidden);
        image.metadata.hidden = Some(hidden);
    }
    image.orient(turn);
    Ok(image)
}

/// What a file says beside its pixels; see [`examine`].
#[derive(Debug, Clone)]
pub struct Examined {
    pub header: Header,
    /// As [`decode`] gives it.
    pub metadata: Metadata,
    /// What is noteworthy, one plain sentence each.
    pub notes: Vec<String>,
}

/// Reads header and metadata of a whole file without decoding its pixels, also of animations and of files whose pixels are
/// damaged.
pub fn examine(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Examined> {
    let unguarded = || {
        let header = header(path, bytes, limits)?;
        let (mut metadata, mut notes) = match header.format {
            Format::Png => png::metadata(bytes),
            Format::Jpeg => jpeg::metadata(bytes),
            Format::WebP => webp::metadata(bytes),
            Format::Tiff => tiff::metadata(path, bytes)?,
            Format::Gif => other::gif_metadata(path, bytes)?,
            Format::Bmp | Format::Pnm | Format::Qoi => (Metadata::default(), Vec::new()),
            #[cfg(feature = "avif")]
            Format::Avif => avif::metadata(path, bytes)?,
            #[cfg(not(feature = "avif"))]
            Format::Avif => return Err(without(path, "avif")),
            #[cfg(feature = "jxl")]
            Format::Jxl => jxl::metadata(path, bytes, limits)?,
            #[cfg(not(feature = "jxl"))]
            Format::Jxl => return Err(without(path, "jxl")),
        };
        settle(path, header.format, header.channels, &mut metadata, &mut notes);
        Ok(Examined { header, metadata, notes })
    };
    catch_unwind(AssertUnwindSafe(unguarded))
        .unwrap_or_else(|_| Err(Error::input(path, "the reader stopped on damaged data", "export it again; please report this file")))
}

/// Brings metadata as read into the form [`Metadata`] promises, and returns the orientation the pixels need.
fn settle(path: &Path, format: Format, channels: Channels, m: &mut Metadata, notes: &mut Vec<String>) -> u8 {
    if let Some(named) = Format::from_path(path).filter(|&f| f != format) {
        notes.push(format!("named like a {} file but holds a {}; read as {}", named.name(), format.name(), format.name()));
    }
    if m.c2pa.is_some() {
        notes.push("its Content Credentials (C2PA) vouch for the source's exact bytes; the claim is not carried over".into());
    }
    let described = m.icc.is_none() && matches!(format, Format::Jpeg | Format::Tiff | Format::WebP);
    if m.icc.as_ref().is_some_and(|icc| !metadata::icc_fits(icc, channels.colours()) || !metadata::icc_is_sound(icc)) {
        m.icc = None;
        notes.push("its ICC profile is damaged or describes another kind of pixels; sRGB is assumed".into());
    }
    if m.exif.as_ref().is_some_and(|block| !exif::is_valid(block)) {
        m.exif = None;
        notes.push("its EXIF block is damaged and was left out".into());
    }
    if let Some(packet) = &m.xmp
        && let std::borrow::Cow::Owned(text) = xmp::utf8(packet)
    {
        m.xmp = Some(text);
    }
    carry::out_of(m);
    // The rules for such files are those of cameras; the chunks of a PNG speak for themselves.
    if described
        && channels.colours() == 3
        && let Some(icc) = m.exif.as_deref().and_then(stated::adobe_rgb)
    {
        m.icc = Some(icc);
        notes.push("it has no profile, but its EXIF block says Adobe RGB: it is read as that".into());
    }
    let turn = orientation(m.exif.as_deref(), m.xmp.as_deref());
    if let Some(block) = &mut m.exif {
        exif::set_orientation(block, 1);
    }
    if let Some(packet) = &mut m.xmp {
        metadata::set_xmp(packet, "tiff:Orientation", "1");
    }
    let in_exif = m.exif.as_deref().and_then(exif::dpi).and_then(|(x, y)| metadata::tidy_dpi(x, y));
    // Programs that know nothing of the resolution put 72 or 96 into JFIF's header, which has to say something.
    let made_up = |dpi: (f64, f64)| format == Format::Jpeg && (dpi == (72.0, 72.0) || dpi == (96.0, 96.0));
    if let (Some(dpi), Some(stated)) = (m.dpi.filter(|d| made_up(*d)), in_exif.filter(|d| m.dpi != Some(*d))) {
        notes.push(format!("its JFIF header says {} dpi and its EXIF block {}; the latter counts", dpi.0, stated.0));
        m.dpi = None;
    }
    m.dpi = m.dpi.or(in_exif);
    // The resolution has a place of its own in `Metadata`.
    if m.dpi.is_some() && m.exif.as_deref().is_some_and(exif::is_only_dpi) {
        m.exif = None;
    }
    if turn >= 5 {
        m.dpi = m.dpi.map(|(x, y)| (y, x));
    }
    if turn != 1 && m.drop_places() {
        notes.push("places in the picture (face regions, subject, panorama) were told for it as it lay before it was turned upright, and were left out".into());
    }
    turn
}

/// The orientation of a file: EXIF's, else XMP's, else 1.
fn orientation(block: Option<&[u8]>, packet: Option<&[u8]>) -> u8 {
    block.and_then(exif::orientation).or_else(|| packet.and_then(metadata::xmp_orientation)).unwrap_or(1)
}

/// What is said about a format that this build leaves out.
#[cfg(not(all(feature = "jxl", feature = "avif")))]
fn without(path: &Path, feature: &str) -> Error {
    Error::input(
        path,
        format!("this program was built without the feature `{feature}` that reads it"),
        format!("cargo build --features {feature}, or export the picture as PNG"),
    )
}

fn known(path: &Path, bytes: &[u8]) -> Result<Format> {
    Format::sniff(bytes).ok_or_else(|| {
        let (what, hint) = format::foreign(bytes);
        Error::input(path, what, hint)
    })
}

/// Takes finished rows top to bottom and writes a file.
pub trait Encoder: Send {
    /// The next rows; `band.channels` is what the encoder was made for. Values are clamped to 0..1 and rounded (half up)
    /// here; a NaN is an error.
    fn write(&mut self, band: &Band) -> Result<()>;

    /// The next rows, `from..to` of a picture of this width and these channels, to the same effect as
    /// [`Encoder::write`] of [`Image::band`]. Bytes that shall become bytes need not be numbers in between.
    fn write_rows(&mut self, image: &Image, from: usize, to: usize) -> Result<()> {
        self.write(&image.band(from, to, 0..image.channels.count()))
    }

    /// Completes the file and returns its size in bytes.
    fn finish(self: Box<Self>) -> Result<u64>;
}

/// Creates `path` and returns an encoder for it.
///
/// `channels` are those of the bands to come: JPEG takes alpha and lays it over white. `metadata` is what the file shall carry
/// (see [`Metadata::for_output`]); [`losses`] says beforehand what it cannot. Memory is `O(width)` except for WebP, AVIF and
/// progressive JPEG, which hold the whole picture. On error the unfinished file is left to the caller.
pub fn encoder(
    path: &Path,
    how: &Encoding,
    width: usize,
    height: usize,
    channels: Channels,
    metadata: &Metadata,
) -> Result<Box<dyn Encoder>> {
    Format::check(path, how, width, height)?;
    let out = Output::create(path)?;
    let (metadata, _) = carry::into(how.format, metadata);
    let metadata = metadata.as_ref();
    Ok(match how.format {
        Format::Png => Box::new(png::Writer::new(out, how, width, height, channels, metadata)?),
        Format::Jpeg => jpeg::encoder(out, how, width, height, channels, metadata)?,
        Format::Tiff => Box::new(tiff::Writer::new(out, how, width, height, channels, metadata)?),
        Format::WebP => Box::new(webp::Writer::new(out, how, width, height, channels, metadata)?),
        #[cfg(feature = "avif")]
        Format::Avif => Box::new(avif::Writer::new(out, how, width, height, channels, metadata)?),
        f => return Err(Error::Internal(format!("{} has no encoder", f.name()))),
    })
}

/// The file being written. Clones write to the same file, so that it can be closed with its errors seen although a codec crate
/// took the writer and finishes it in a destructor.
#[derive(Clone)]
struct Output {
    path: Arc<Path>,
    state: Arc<Mutex<State>>,
}

struct State {
    file: BufWriter<File>,
    /// The first error; a library may have swallowed it.
    error: Option<io::Error>,
}

impl Output {
    fn create(path: &Path) -> Result<Self> {
        let file = File::options().create(true).truncate(true).write(true).read(true).open(path).map_err(|e| Error::io(path, e))?;
        let file = BufWriter::with_capacity(256 << 10, file);
        Ok(Self { path: path.into(), state: Arc::new(Mutex::new(State { file, error: None })) })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut state.file).map_err(|e| {
            let again = io::Error::new(e.kind(), e.to_string());
            state.error.get_or_insert(e);
            again
        })
    }

    /// Flushes, reports any error there was, and returns the size in bytes.
    fn close(&self) -> Result<u64> {
        let len = self.with(|f| f.flush().and_then(|()| f.get_ref().metadata()).map(|m| m.len()));
        if let Some(e) = self.state.lock().unwrap_or_else(PoisonError::into_inner).error.take() {
            return Err(Error::io(&self.path, e));
        }
        len.map_err(|e| Error::io(&self.path, e))
    }
}

impl Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.with(|f| f.write(data))
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.with(|f| f.write_all(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(|f| f.flush())
    }
}

impl Seek for Output {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.with(|f| f.seek(to))
    }
}

/// Checks that bands arrive in order and fit; every encoder keeps one.
#[derive(Debug)]
struct Rows {
    width: usize,
    height: usize,
    channels: usize,
    next: usize,
}

impl Rows {
    fn new(width: usize, height: usize, channels: Channels) -> Self {
        Self { width, height, channels: channels.count(), next: 0 }
    }

    fn take(&mut self, band: &Band) -> Result<()> {
        self.pass(band.y..band.end(), band.width, band.channels)
    }

    fn pass(&mut self, rows: std::ops::Range<usize>, width: usize, channels: usize) -> Result<()> {
        if (width, channels, rows.start) != (self.width, self.channels, self.next) || rows.end > self.height {
            return Err(Error::Internal(format!(
                "an encoder for {}x{}x{} at row {} was given rows {rows:?} of {width}x{channels}",
                self.width, self.height, self.channels, self.next,
            )));
        }
        self.next = rows.end;
        Ok(())
    }

    /// Takes rows of a picture and gives their bytes, if they are bytes; else nothing was taken.
    fn bytes<'i>(&mut self, image: &'i Image, rows: std::ops::Range<usize>) -> Result<Option<&'i [u8]>> {
        let Samples::U8(samples) = &image.samples else { return Ok(None) };
        let row = image.width * image.channels.count();
        let Some(bytes) = samples.get(rows.start * row..rows.end * row) else { return Ok(None) };
        self.pass(rows, image.width, image.channels.count())?;
        Ok(Some(bytes))
    }

    fn complete(&self) -> Result<()> {
        if self.next == self.height {
            return Ok(());
        }
        Err(Error::Internal(format!("an encoder was finished after {} of {} rows", self.next, self.height)))
    }
}

/// Reserves memory for `n` samples; a refusal of the operating system is an error, not an abort.
fn reserve<T>(path: &Path, n: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| no_memory::<T>(path, n))?;
    Ok(v)
}

fn no_memory<T>(path: &Path, n: usize) -> Error {
    let bytes = n.saturating_mul(size_of::<T>());
    Error::limit(
        path.display(),
        format!("its pixels need {bytes} bytes, which this machine does not have"),
        "a smaller picture, or a machine with more memory",
    )
}

/// `n` zero samples, of memory that is clear already where the system gives such; see [`reserve`].
fn zeros<T: bytemuck::Zeroable>(path: &Path, n: usize) -> Result<Vec<T>> {
    bytemuck::try_zeroed_vec(n).map_err(|()| no_memory::<T>(path, n))
}
