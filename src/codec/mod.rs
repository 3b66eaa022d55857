//! Files to pixels and back: the one list of formats, decoding with limits, and row-by-row encoding.

mod metadata;

use std::path::Path;

pub use metadata::{Metadata, Text};

use crate::band::Band;
use crate::error::Result;
use crate::image::{Channels, Image};

/// A picture container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Png,
    Jpeg,
    WebP,
    Tiff,
    Gif,
    Bmp,
    Pnm,
    Qoi,
}

/// What a decoder may take before it refuses.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Width times height; checked from the header before any pixel is allocated.
    pub max_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 1_000_000_000 }
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

/// How an output file is written.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Encoding {
    pub format: Format,
    /// JPEG and lossy WebP, 1..=100.
    pub quality: u8,
    /// WebP only.
    pub lossless: bool,
    /// 8 or 16 bits per sample; formats without 16 bit are refused beforehand.
    pub bits: u8,
}

/// Reads the header of a file whose first bytes are given (the name is only used in messages).
pub fn header(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Header> {
    let _ = (path, bytes, limits);
    Err(crate::Error::Internal("not landed".into()))
}

/// Decodes a file, checks `limits` first, applies the EXIF orientation and collects the metadata.
pub fn decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let _ = (path, bytes, limits);
    Err(crate::Error::Internal("not landed".into()))
}

/// Takes finished rows top to bottom and writes a file.
pub trait Encoder: Send {
    /// The next rows; `band.channels` is what the encoder was made for. Values are clamped to 0..1 and rounded here.
    fn write(&mut self, band: &Band) -> Result<()>;

    /// Completes the file and returns its size in bytes.
    fn finish(self: Box<Self>) -> Result<u64>;
}

/// Creates `path` and returns an encoder for it. `metadata` is what the file shall carry.
pub fn encoder(
    path: &Path,
    how: &Encoding,
    width: usize,
    height: usize,
    channels: Channels,
    metadata: &Metadata,
) -> Result<Box<dyn Encoder>> {
    let _ = (path, how, width, height, channels, metadata);
    Err(crate::Error::Internal("not landed".into()))
}
