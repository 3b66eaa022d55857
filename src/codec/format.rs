//! The one list of picture containers: names, extensions, abilities and container limits.

use std::path::Path;

use super::Encoding;
use crate::error::{Error, Result};

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
    /// JPEG XL.
    Jxl,
    Avif,
}

impl Format {
    /// Every format, writable ones first.
    pub const ALL: [Self; 10] =
        [Self::Png, Self::Jpeg, Self::WebP, Self::Tiff, Self::Avif, Self::Gif, Self::Bmp, Self::Pnm, Self::Qoi, Self::Jxl];

    /// The name people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Pnm => "PNM",
            Self::Qoi => "QOI",
            Self::Jxl => "JPEG XL",
            Self::Avif => "AVIF",
        }
    }

    /// The extension given to new files, without the dot.
    pub fn extension(self) -> &'static str {
        self.extensions()[0]
    }

    /// Every extension that means this format, lower case, without the dot; the first is the usual one.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Png => &["png", "apng"],
            Self::Jpeg => &["jpg", "jpeg", "jpe", "jfif", "mpo"],
            Self::WebP => &["webp"],
            Self::Tiff => &["tiff", "tif"],
            Self::Gif => &["gif"],
            Self::Bmp => &["bmp", "dib"],
            Self::Pnm => &["ppm", "pgm", "pbm", "pnm", "pam"],
            Self::Qoi => &["qoi"],
            Self::Jxl => &["jxl"],
            Self::Avif => &["avif"],
        }
    }

    /// The format an extension (any case, without the dot) stands for.
    pub fn from_extension(extension: &str) -> Option<Self> {
        let lower = extension.to_ascii_lowercase();
        Self::ALL.into_iter().find(|f| f.extensions().contains(&lower.as_str()))
    }

    /// The format a file *name* stands for; what the file really holds is decided by [`Format::sniff`].
    pub fn from_path(path: &Path) -> Option<Self> {
        Self::from_extension(path.extension()?.to_str()?)
    }

    /// Whether a file is, by its name, a picture of a kind that cannot be read: it deserves a reason rather than silence.
    pub fn is_foreign_picture(path: &Path) -> bool {
        const FOREIGN: [&str; 7] = ["heic", "heif", "psd", "exr", "hdr", "tga", "jp2"];
        path.extension().and_then(|e| e.to_str()).is_some_and(|e| FOREIGN.contains(&e.to_ascii_lowercase().as_str()))
    }

    /// The quality that lossy files have unless told; 0 for formats without one.
    pub fn default_quality(self) -> u8 {
        match self {
            Self::Jpeg => 95,
            Self::WebP => 92,
            Self::Avif => 85,
            _ => 0,
        }
    }

    /// The format that a picture of this one is written in when none is asked for: its own, or PNG if it cannot be written.
    pub fn kept(self) -> Self {
        if self.writes() { self } else { Self::Png }
    }

    /// The format of a file by its first bytes.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        Some(match bytes {
            _ if starts(b"\x89PNG\r\n\x1a\n") => Self::Png,
            _ if starts(b"\xff\xd8\xff") => Self::Jpeg,
            _ if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => Self::WebP,
            _ if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") => Self::Tiff,
            _ if starts(b"GIF87a") || starts(b"GIF89a") => Self::Gif,
            _ if starts(b"BM") && bytes.len() >= 14 => Self::Bmp,
            _ if starts(b"qoif") => Self::Qoi,
            _ if starts(b"\xff\x0a") || starts(b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a") => Self::Jxl,
            _ if bytes.get(4..8) == Some(b"ftyp") && is_avif(bytes) => Self::Avif,
            [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t' | b'#', ..] => Self::Pnm,
            _ => return None,
        })
    }

    /// Whether files of this format can be written.
    pub fn writes(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::WebP | Self::Tiff) || (self == Self::Avif && cfg!(feature = "avif"))
    }

    /// The longest side the container can hold, in pixels.
    pub fn max_side(self) -> u32 {
        match self {
            Self::Jpeg | Self::Gif | Self::Avif => 65_535,
            Self::WebP => 16_383,
            Self::Png | Self::Bmp => i32::MAX as u32,
            Self::Tiff | Self::Pnm | Self::Qoi | Self::Jxl => u32::MAX,
        }
    }

    /// Whether the container can hold 16 bits per sample (as this crate writes it).
    pub fn supports_16_bit(self) -> bool {
        matches!(self, Self::Png | Self::Tiff)
    }

    /// Whether the container can hold one colour channel; WebP and AVIF write grey as RGB.
    pub fn supports_grey(self) -> bool {
        !matches!(self, Self::WebP | Self::Avif)
    }

    /// Whether the container can hold an alpha channel. JPEG cannot: alpha is laid over white.
    pub fn supports_alpha(self) -> bool {
        !matches!(self, Self::Jpeg | Self::Bmp | Self::Pnm)
    }

    /// Refuses what the container cannot hold, before any work starts. `subject` names the output in the message.
    pub fn check(subject: &Path, how: &Encoding, width: usize, height: usize) -> Result<()> {
        let format = how.format;
        let name = format.name();
        if format == Self::Avif && !cfg!(feature = "avif") {
            let what = "this program was built without the feature `avif`";
            return Err(Error::usage("--format", what, "cargo install --features avif, or --format webp"));
        }
        if !format.writes() {
            let can: Vec<_> = Self::ALL.into_iter().filter(|f| f.writes()).map(Self::extension).collect();
            return Err(Error::usage(
                "--format",
                format!("{name} files can be read but not written"),
                format!("one of {}", can.join(", ")),
            ));
        }
        if how.bits == 16 && !format.supports_16_bit() {
            return Err(Error::usage(
                "--depth",
                format!("{name} cannot hold 16 bits per sample"),
                "--format png or --format tiff, or 8 bits",
            ));
        }
        if how.bits != 8 && how.bits != 16 {
            return Err(Error::Internal(format!("an encoder was asked for {} bits per sample", how.bits)));
        }
        if how.is_lossy() && !(1..=100).contains(&how.quality) {
            return Err(Error::usage("--quality", format!("{} is not in 1..=100", how.quality), "95 for JPEG, 92 for WebP"));
        }
        if width == 0 || height == 0 {
            return Err(Error::usage(
                subject.display(),
                format!("the output would be {width}x{height} pixels"),
                "a larger --scale or size",
            ));
        }
        let side = format.max_side() as usize;
        if width > side || height > side {
            let hint = match format {
                Self::Png => "--format tiff, or a smaller size",
                _ => "--format png or --format tiff, or a smaller size",
            };
            return Err(Error::limit(
                subject.display(),
                format!("{width}x{height} does not fit a {name} file, whose sides end at {side} pixels"),
                hint,
            ));
        }
        Ok(())
    }
}

/// Whether the brands in a file's first box name AVIF. Files with the general brand `mif1` may be AVIF or HEIC.
fn is_avif(bytes: &[u8]) -> bool {
    let end = bytes.first_chunk::<4>().map_or(0, |len| u32::from_be_bytes(*len) as usize).min(bytes.len());
    bytes.get(8..end).is_some_and(|brands| brands.chunks_exact(4).any(|b| b == b"avif" || b == b"avis"))
}

/// What a file that is none of ours seems to be: its name and what to do about it.
pub(super) fn foreign(bytes: &[u8]) -> (String, &'static str) {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let brand = if bytes.get(4..8) == Some(b"ftyp") { bytes.get(8..12) } else { None };
    let again = "export it again as PNG, JPEG, WebP or TIFF";
    match brand {
        Some(b"heic" | b"heix" | b"heim" | b"heis" | b"mif1" | b"msf1") => {
            return (
                "this is a HEIC picture, which is not supported".into(),
                "convert it to JPEG or PNG first (for example with `heif-convert`)",
            );
        }
        Some(_) => return ("this is a video or another ISO media file, not a picture".into(), again),
        None => {}
    }
    let what = match bytes {
        [] => return ("the file is empty (0 bytes)".into(), "copy or export it again"),
        _ if starts(b"\0\0\0\x0cJXL ") => "the JPEG XL signature is damaged (its first 12 bytes are wrong)",
        _ if starts(b"\0\0\0\x0cjP  ") => "this is a JPEG 2000 picture, which is not supported",
        _ if starts(b"8BPS") => "this is a Photoshop document, which is not supported",
        _ if starts(b"%PDF") => "this is a PDF document, not a picture",
        _ if starts(b"v/1\x01") => "this is an OpenEXR picture, which is not supported",
        _ if starts(b"<svg") || starts(b"<?xml") => "this is an XML or SVG text, not a picture",
        _ if bytes.get(1..4) == Some(b"PNG") || bytes.get(..4) == Some(b"\x89PNG") || bytes.get(12..16) == Some(b"IHDR") => {
            return (
                "the PNG signature is damaged (its first 8 bytes are wrong)".into(),
                "copy or download it again; transfers in text mode cause this",
            );
        }
        _ if bytes.len() < 12 => {
            return (format!("the file has only {} bytes and is no picture", bytes.len()), "copy or export it again");
        }
        _ if bytes.iter().take(256).all(|&b| (0x20..0x7f).contains(&b) || matches!(b, b'\t' | b'\n' | b'\r')) => {
            "this is a text file, not a picture"
        }
        _ => {
            let head: Vec<String> = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
            return (format!("no known picture format begins with the bytes {}", head.join(" ")), again);
        }
    };
    (what.into(), again)
}

/// Whether a PNG, WebP or AVIF file is an animation, by what stands before its pixels.
pub fn is_animation(bytes: &[u8]) -> bool {
    match Format::sniff(bytes) {
        Some(Format::Png) => super::png::is_animation(bytes),
        Some(Format::WebP) => super::webp::is_animation(bytes),
        // The major brand of image sequences.
        Some(Format::Avif) => bytes.get(8..12) == Some(b"avis"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_means_one_format() {
        for f in Format::ALL {
            for e in f.extensions() {
                assert_eq!(Format::from_extension(&e.to_uppercase()), Some(f));
            }
        }
        assert_eq!(Format::from_extension("txt"), None);
    }

    #[test]
    fn container_limits_come_with_a_suggestion() {
        let how = |format, bits| Encoding { format, quality: 92, lossless: false, bits, ..Encoding::default() };
        let p = Path::new("o.webp");
        let e = Format::check(p, &how(Format::WebP, 8), 16_384, 10).unwrap_err();
        assert_eq!(e.kind(), "limit");
        assert!(e.to_string().contains("16383") && e.to_string().contains("--format png"), "{e}");
        assert!(Format::check(p, &how(Format::WebP, 8), 16_383, 16_383).is_ok());
        assert_eq!(Format::check(p, &how(Format::Jpeg, 8), 65_536, 1).unwrap_err().kind(), "limit");
        assert_eq!(Format::check(p, &how(Format::Jpeg, 16), 5, 1).unwrap_err().kind(), "usage");
        assert_eq!(Format::check(p, &how(Format::Gif, 8), 5, 1).unwrap_err().kind(), "usage");
        assert_eq!(Format::check(p, &how(Format::Png, 8), 0, 1).unwrap_err().kind(), "usage");
    }
}
