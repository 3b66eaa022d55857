//! AVIF (AV1 Image File Format 1.1, on ISO/IEC 23008-12): items are walked and written here, pixels go through `re_rav1d` (dav1d
//! in Rust) and `ravif` (rav1e), both without assembler.
//!
//! Over 500 lines because one format is one file: reading and writing share the container and the colour formulas.

use std::io::Write;
use std::path::Path;

use moxcms::{CicpColorPrimaries, CicpProfile, ColorProfile, MatrixCoefficients as CicpMatrix, TransferCharacteristics};
use re_rav1d::dav1d::{Decoder, PixelLayout, PlanarImageComponent, Settings};

use super::bmff::{Heif, Item, boxes};
use super::{Encoding, Format, Header, Limits, Metadata, Output, Rows, exif, reserve, zeros};
use crate::band::Band;
use crate::color::profile_bytes;
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};

const AGAIN: &str = "copy, download or export it again";
const ALPHA: &[u8] = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0";
/// The `uuid` box that C2PA uses in this family of files (C2PA 2.1, A.5).
const C2PA: [u8; 16] = [0xd8, 0xfe, 0xc3, 0xd6, 0x1b, 0x0e, 0x48, 0x3c, 0x92, 0x97, 0x58, 0x28, 0x87, 0x7e, 0xc4, 0x81];

/// A file taken apart.
struct File {
    heif: Heif,
    /// Size as stored, before turning.
    width: usize,
    height: usize,
    bits: u8,
    grey: bool,
    animated: bool,
}

fn file(path: &Path, bytes: &[u8]) -> Result<File> {
    let Some(heif) = Heif::read(bytes) else {
        return Err(Error::input(path, "the AVIF data ends inside its header, or the header makes no sense", AGAIN));
    };
    let Some(main) = heif.item(heif.primary) else {
        return Err(Error::input(path, "its main picture is missing", AGAIN));
    };
    match &main.kind {
        b"av01" => {}
        b"grid" => {
            return Err(Error::input(
                path,
                "it is an AVIF made of tiles (grid), which is not supported",
                "export it as one picture, or as PNG",
            ));
        }
        kind => {
            let what = format!("its main picture is of the kind `{}`, not AV1", kind.escape_ascii());
            return Err(Error::input(path, what, "convert it to JPEG or PNG first"));
        }
    }
    let sides = main.property(b"ispe").and_then(|p| p.get(4..12)).map(|p| {
        let side = |at: usize| u32::from_be_bytes([p[at], p[at + 1], p[at + 2], p[at + 3]]) as usize;
        (side(0), side(4))
    });
    let Some((width, height)) = sides else {
        return Err(Error::input(path, "its size is not stated", AGAIN));
    };
    // AV1 in ISO BMFF 1.2, 2.3.3: high bit depth, twelve bits and monochrome are bits of the third byte.
    let flags = main.property(b"av1C").and_then(|p| p.get(2)).copied().unwrap_or(0);
    let animated = bytes.get(8..12) == Some(b"avis") && boxes(bytes).any(|b| &b.0 == b"moov");
    Ok(File { width, height, bits: if flags & 0x40 != 0 { 16 } else { 8 }, grey: flags & 0x10 != 0, animated, heif })
}

impl File {
    fn main(&self) -> Option<&Item> {
        self.heif.item(self.heif.primary)
    }

    fn alpha(&self) -> Option<&Item> {
        let is_alpha =
            |i: &&Item| i.property(b"auxC").and_then(|p| p.get(4..)).is_some_and(|urn| urn.starts_with(&ALPHA[..ALPHA.len() - 1]));
        self.heif.items.iter().filter(|i| i.refers(b"auxl") == Some(self.heif.primary) && &i.kind == b"av01").find(is_alpha)
    }

    /// The EXIF orientations that `irot` and `imir` amount to, in the order they are to be applied.
    fn turns(&self) -> Vec<u8> {
        let properties = self.main().map_or(&[][..], |i| &i.properties);
        let turn = |(kind, data): &([u8; 4], Vec<u8>)| match (kind, data.first().map(|b| b & 3)) {
            (b"irot", Some(1)) => Some(8),
            (b"irot", Some(2)) => Some(3),
            (b"irot", Some(3)) => Some(6),
            (b"imir", Some(0 | 2)) => Some(4),
            (b"imir", Some(1 | 3)) => Some(2),
            _ => None,
        };
        properties.iter().filter_map(turn).collect()
    }

    fn metadata(&self, bytes: &[u8]) -> (Metadata, Vec<String>) {
        let (mut m, mut notes) = (Metadata::default(), Vec::new());
        for item in self.heif.about(self.heif.primary) {
            match (&item.kind, item.content_type.as_str()) {
                (b"Exif", _) => {
                    let block = item.data.split_first_chunk::<4>().and_then(|(at, rest)| rest.get(u32::from_be_bytes(*at) as usize..));
                    m.exif = m.exif.take().or(block.map(<[u8]>::to_vec));
                }
                (b"mime", "application/rdf+xml") => {
                    m.xmp.get_or_insert_with(|| item.data.clone());
                }
                _ => {}
            }
        }
        for (_, data) in boxes(bytes).filter(|b| &b.0 == b"uuid") {
            // Version and flags, a purpose as text, eight bytes of offset, the manifest store.
            if let Some(rest) = data.strip_prefix(&C2PA).and_then(|d| d.get(4..))
                && let Some(store) = rest.strip_prefix(b"manifest\0").and_then(|d| d.get(8..))
            {
                m.c2pa.get_or_insert_with(|| store.to_vec());
            }
        }
        // The container's own turning counts, not EXIF's (ISO/IEC 23008-12, A.2.2).
        if let Some(block) = &mut m.exif {
            exif::set_orientation(block, 1);
        }
        if let Some(packet) = &mut m.xmp {
            super::metadata::set_xmp(packet, "tiff:Orientation", "1");
        }
        self.colour(&mut m, &mut notes);
        if self.animated {
            notes.push("this is an animation (AVIF)".into());
        }
        (m, notes)
    }

    /// The profile, or one made from the code points.
    fn colour(&self, m: &mut Metadata, notes: &mut Vec<String>) {
        let Some(main) = self.main() else { return };
        let colr = |kind: &[&[u8]]| {
            main.properties.iter().filter(|p| &p.0 == b"colr").find_map(|p| kind.iter().find_map(|k| p.1.strip_prefix(*k)))
        };
        if let Some(icc) = colr(&[b"prof", b"rICC"]) {
            m.icc = Some(icc.to_vec());
            return;
        }
        let Some(&[_, primaries, _, transfer]) = colr(&[b"nclx"]).and_then(|d| d.first_chunk::<4>()) else { return };
        // Unspecified is taken as sRGB, and BT.709's camera curve is shown with sRGB's, as browsers do.
        let curve = matches!(transfer, 1 | 2 | 6 | 13 | 14 | 15);
        let known = match primaries {
            1 | 2 => None,
            9 => Some(CicpColorPrimaries::Bt2020),
            12 => Some(CicpColorPrimaries::Smpte432),
            _ => {
                notes.push(format!("its primaries ({primaries}) are not supported; sRGB is assumed"));
                None
            }
        };
        if !curve {
            notes.push(format!("its transfer function ({transfer}) is not supported; its values are kept as they are"));
        }
        if let Some(color_primaries) = known {
            m.icc = profile_bytes(&ColorProfile::new_from_cicp(CicpProfile {
                color_primaries,
                transfer_characteristics: TransferCharacteristics::Srgb,
                matrix_coefficients: CicpMatrix::Identity,
                full_range: true,
            }));
        }
    }
}

/// Reads the header.
pub(super) fn header(path: &Path, bytes: &[u8]) -> Result<Header> {
    let f = file(path, bytes)?;
    let turned = f.turns().iter().filter(|t| **t >= 5).count() % 2 == 1;
    let (width, height) = if turned { (f.height, f.width) } else { (f.width, f.height) };
    let channels = Channels::of(if f.grey { 1 } else { 3 }, f.alpha().is_some());
    Ok(Header { format: Format::Avif, width, height, channels, bits: f.bits, orientation: 1 })
}

/// Metadata alone; the pixels are passed over.
pub(super) fn metadata(path: &Path, bytes: &[u8]) -> Result<(Metadata, Vec<String>)> {
    Ok(file(path, bytes)?.metadata(bytes))
}

/// Whether it has several frames.
pub(super) fn is_animation(path: &Path, bytes: &[u8]) -> Result<bool> {
    Ok(file(path, bytes)?.animated)
}

/// Decodes pixels and metadata; the pixels stand upright.
pub(super) fn decode(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Image> {
    let f = file(path, bytes)?;
    limits.check(path, f.width as u64, f.height as u64)?;
    let (metadata, mut notes) = f.metadata(bytes);
    if f.animated {
        notes.pop();
        notes.push(limits.animation(path, "AVIF", 0)?);
    }
    if f.heif.cut {
        return Err(Error::input(path, "the AVIF data ends inside its picture: the file is cut off", AGAIN));
    }
    let (Some(main), alpha) = (f.main(), f.alpha()) else {
        return Err(Error::input(path, "its main picture is missing", AGAIN));
    };
    let (w, h) = (f.width, f.height);
    let colours = if f.grey { 1 } else { 3 };
    let channels = Channels::of(colours, alpha.is_some());
    let n = channels.count();
    // 8 bits as they are; 10 and 12 on the scale of 16.
    let full = if f.bits == 8 { 255.0 } else { 65535.0 };
    let mut samples = zeros::<u16>(path, w * h * n)?;
    let mut put = |i: usize, c: usize, v: f32| samples[i * n + c] = (v.clamp(0.0, 1.0) * full + 0.5) as u16;
    let picture = Av1::decode(path, main, w, h)?;
    picture.rgb(path, f.grey, &mut put)?;
    drop(picture);
    if let Some(item) = alpha {
        Av1::decode(path, item, w, h)?.plane(&mut |i, v| put(i, n - 1, v));
        if main.refers(b"prem") == Some(item.id) {
            for px in samples.chunks_exact_mut(n) {
                let a = f32::from(px[n - 1]);
                px[..n - 1].iter_mut().for_each(|v| *v = if a > 0.0 { (f32::from(*v) / a * full).min(full) as u16 } else { 0 });
            }
        }
    }
    let samples = if f.bits == 8 { Samples::U8(samples.iter().map(|v| *v as u8).collect()) } else { Samples::U16(samples) };
    let mut image = Image { width: w, height: h, channels, samples, format: Format::Avif, metadata, notes };
    f.turns().into_iter().for_each(|t| image.orient(t));
    Ok(image)
}

/// A decoded AV1 frame.
struct Av1 {
    picture: re_rav1d::dav1d::Picture,
    width: usize,
    height: usize,
    /// Highest code.
    top: f32,
    wide: bool,
    limited: bool,
}

impl Av1 {
    fn decode(path: &Path, item: &Item, width: usize, height: usize) -> Result<Self> {
        let broken = |e: &dyn std::fmt::Display| Error::input(path, format!("its AV1 picture data is damaged ({e})"), AGAIN);
        if item.data.is_empty() {
            return Err(broken(&"there is none"));
        }
        let mut settings = Settings::new();
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        settings.set_all_layers(false);
        // Refused by the decoder before it takes memory, whatever the picture's own header says.
        settings.set_frame_size_limit(u32::try_from((width + 8) * (height + 8)).unwrap_or(u32::MAX));
        let mut decoder = Decoder::with_settings(&settings).map_err(|e| broken(&e))?;
        match decoder.send_data(item.data.clone(), None, None, None) {
            Err(e) if !e.is_again() => return Err(broken(&e)),
            _ => {}
        }
        let picture = decoder.get_picture().map_err(|e| broken(&e))?;
        if (picture.width() as usize, picture.height() as usize) != (width, height) {
            return Err(broken(&format!("{}x{} pixels where {width}x{height} are stated", picture.width(), picture.height())));
        }
        let bits = picture.bits_per_component().map_or(8, |b| b.0) as u32;
        let limited = format!("{:?}", picture.color_range()) == "Limited";
        Ok(Self { width, height, top: ((1u32 << bits) - 1) as f32, wide: bits > 8, limited, picture })
    }

    /// Row `y` of a plane, 0..1, or -0.5..0.5 for colour differences.
    fn row(&self, component: PlanarImageComponent, y: usize, out: &mut [f32]) {
        let plane = self.picture.plane(component);
        let row = &plane[y * self.picture.stride(component) as usize..];
        let luma = component == PlanarImageComponent::Y;
        let scale = (self.top + 1.0) / 256.0;
        // ITU-T H.273, 8.3: limited range has 219 steps of luma from 16, 224 of chroma around 128.
        let (offset, span) = match (self.limited, luma) {
            (false, true) => (0.0, self.top),
            (false, false) => ((self.top + 1.0) / 2.0, self.top),
            (true, true) => (16.0 * scale, 219.0 * scale),
            (true, false) => (128.0 * scale, 224.0 * scale),
        };
        let value = |code: f32| (code - offset) / span;
        if self.wide {
            out.iter_mut().zip(row.chunks_exact(2)).for_each(|(o, b)| *o = value(f32::from(u16::from_ne_bytes([b[0], b[1]]))));
        } else {
            out.iter_mut().zip(row).for_each(|(o, b)| *o = value(f32::from(*b)));
        }
    }

    /// Luma alone.
    fn plane(&self, put: &mut dyn FnMut(usize, f32)) {
        let mut row = vec![0.0; self.width];
        for y in 0..self.height {
            self.row(PlanarImageComponent::Y, y, &mut row);
            row.iter().enumerate().for_each(|(x, v)| put(y * self.width + x, *v));
        }
    }

    /// All colour channels; chroma is interpolated linearly between its samples, which lie in the middle of those they stand for.
    fn rgb(&self, path: &Path, grey: bool, put: &mut dyn FnMut(usize, usize, f32)) -> Result<()> {
        let layout = self.picture.pixel_layout();
        if grey || layout == PixelLayout::I400 {
            let channels = if grey { 1 } else { 3 };
            self.plane(&mut |i, v| (0..channels).for_each(|c| put(i, c, v)));
            return Ok(());
        }
        // Weights of red and blue in luma (ITU-T H.273, table 4).
        let matrix = self.picture.matrix_coefficients() as u32;
        let (kr, kb) = match matrix {
            0 if layout == PixelLayout::I444 => (0.0, 0.0),
            1 => (0.2126, 0.0722),
            2 | 5 | 6 => (0.299, 0.114),
            9 => (0.2627, 0.0593),
            _ => {
                let what = format!("its colours are coded with the matrix {matrix}, which is not supported");
                return Err(Error::input(path, what, "export it again as PNG"));
            }
        };
        let kg = 1.0 - kr - kb;
        let (half_x, half_y) = (layout != PixelLayout::I444, layout == PixelLayout::I420);
        let (cw, ch) =
            (if half_x { self.width.div_ceil(2) } else { self.width }, if half_y { self.height.div_ceil(2) } else { self.height });
        let mut luma = vec![0.0; self.width];
        let mut chroma = [vec![0.0; self.width], vec![0.0; self.width]];
        let (mut near, mut far) = (vec![0.0; cw], vec![0.0; cw]);
        for y in 0..self.height {
            self.row(PlanarImageComponent::Y, y, &mut luma);
            for (out, component) in chroma.iter_mut().zip([PlanarImageComponent::U, PlanarImageComponent::V]) {
                if half_y {
                    let other = if y % 2 == 0 { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(ch - 1) };
                    self.row(component, y / 2, &mut near);
                    self.row(component, other, &mut far);
                    near.iter_mut().zip(&far).for_each(|(a, b)| *a = 0.75 * *a + 0.25 * b);
                } else {
                    self.row(component, y, &mut near);
                }
                for (x, o) in out.iter_mut().enumerate() {
                    *o = if half_x {
                        let other = if x % 2 == 0 { (x / 2).saturating_sub(1) } else { (x / 2 + 1).min(cw - 1) };
                        0.75 * near[x / 2] + 0.25 * near[other]
                    } else {
                        near[x]
                    };
                }
            }
            for x in 0..self.width {
                let (l, u, v) = (luma[x], chroma[0][x], chroma[1][x]);
                let rgb = if matrix == 0 {
                    // Green, blue, red; full range around the middle was taken off above.
                    let middle = (self.top + 1.0) / 2.0 / self.top;
                    [v + middle, l, u + middle]
                } else {
                    let (r, b) = (l + 2.0 * (1.0 - kr) * v, l + 2.0 * (1.0 - kb) * u);
                    [r, (l - kr * r - kb * b) / kg, b]
                };
                rgb.iter().enumerate().for_each(|(c, v)| put(y * self.width + x, c, *v));
            }
        }
        Ok(())
    }
}

/// Collects rows and writes an AVIF file with 10 bits per sample, 4:4:4; the encoder takes whole pictures.
pub(super) struct Writer {
    out: Output,
    rows: Rows,
    quality: u8,
    channels: Channels,
    metadata: Metadata,
    /// Luma and the two colour differences.
    planes: Vec<[u16; 3]>,
    alpha: Vec<u16>,
}

impl Writer {
    pub(super) fn new(out: Output, how: &Encoding, width: usize, height: usize, channels: Channels, metadata: &Metadata) -> Result<Self> {
        let planes = reserve(&out.path, width * height)?;
        let alpha = reserve(&out.path, if channels.has_alpha() { width * height } else { 0 })?;
        let rows = Rows::new(width, height, channels);
        Ok(Self { out, rows, quality: how.quality, channels, metadata: metadata.clone(), planes, alpha })
    }
}

impl super::Encoder for Writer {
    fn write(&mut self, band: &Band) -> Result<()> {
        self.rows.take(band)?;
        let code = |v: f32| (v.clamp(0.0, 1.0) * 1023.0 + 0.5) as u16;
        let colours = self.channels.colours();
        for r in 0..band.rows {
            if (0..band.channels).any(|c| band.row(c, r).iter().any(|v| v.is_nan())) {
                let what = format!("row {} holds values that are not numbers (NaN)", band.y + r);
                return Err(Error::quality(self.out.path.display(), what, "--precision fp32, or another --model"));
            }
            let plane = |c: usize| band.row(if colours == 1 { 0 } else { c }, r);
            let (red, green, blue) = (plane(0), plane(1), plane(2));
            self.planes.extend((0..band.width).map(|x| {
                let [r, g, b] = [red[x], green[x], blue[x]].map(|v| v.clamp(0.0, 1.0));
                // ITU-R BT.601 at full range, which AVIF readers take for granted.
                let y = 0.299 * r + 0.587 * g + 0.114 * b;
                let chroma = |v: f32, k: f32| (((v - y) / (2.0 * (1.0 - k))) * 1023.0 + 512.5).clamp(0.0, 1023.0) as u16;
                [code(y), chroma(b, 0.114), chroma(r, 0.299)]
            }));
            if self.channels.has_alpha() {
                self.alpha.extend(band.row(colours, r).iter().map(|v| code(*v)));
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.rows.complete()?;
        let refused = |what: String| Error::output(&self.out.path, format!("the AVIF could not be written ({what})"), "--format png");
        // One thread: how a picture is cut among threads would show in its bytes.
        let encoder = ravif::Encoder::new()
            .with_quality(f32::from(self.quality))
            .with_alpha_quality(f32::from(self.quality))
            .with_speed(SPEED)
            .with_num_threads(Some(1));
        let (w, h) = (self.rows.width, self.rows.height);
        let alpha = (!self.alpha.is_empty()).then(|| std::mem::take(&mut self.alpha));
        let matrix = ravif::MatrixCoefficients::BT601;
        let made = encoder
            .encode_raw_planes_10_bit(w, h, std::mem::take(&mut self.planes), alpha, ravif::PixelRange::Full, matrix)
            .map_err(|e| refused(e.to_string()))?;
        let heif = Heif::read(&made.avif_file).ok_or_else(|| refused("its own container cannot be read".into()))?;
        let file = assemble(heif, &self.metadata);
        self.out.write_all(&file).map_err(|e| Error::io(&self.out.path, e))?;
        self.out.close()
    }
}

/// rav1e's preset: 10 is the fastest; below this, seconds grow much faster than bytes shrink.
const SPEED: u8 = 7;

/// The encoder's file with our metadata.
fn assemble(mut heif: Heif, m: &Metadata) -> Vec<u8> {
    let primary = heif.primary;
    let mut next = heif.items.iter().map(|i| i.id).max().unwrap_or(0) + 1;
    if let Some(icc) = m.icc.as_deref().filter(|icc| super::metadata::icc_fits(icc, 3))
        && let Some(main) = heif.items.iter_mut().find(|i| i.id == primary)
    {
        // The profile counts; code points beside it may only tell the matrix and the range (unspecified is 2).
        main.properties.retain(|p| &p.0 != b"colr");
        main.properties.push((*b"colr", [b"prof", icc].concat()));
        main.properties.push((*b"colr", b"nclx\0\x02\0\x02\0\x06\x80".to_vec()));
    }
    let mut about = |kind: &[u8; 4], content_type: &str, data: Vec<u8>| {
        let references = vec![(*b"cdsc", primary)];
        heif.items.push(Item { id: next, kind: *kind, content_type: content_type.into(), data, references, ..Item::default() });
        next += 1;
    };
    if let Some(block) = &m.exif {
        about(b"Exif", "", [&[0; 4], &block[..]].concat());
    }
    if let Some(packet) = &m.xmp {
        about(b"mime", "application/rdf+xml", packet.clone());
    }
    heif.write(b"avif", b"avifmif1miaf")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn picture(w: usize, h: usize, n: usize) -> Band {
        let mut b = Band::new(0, w, h, n);
        for c in 0..n {
            for y in 0..h {
                for x in 0..w {
                    b.row_mut(c, y)[x] = 0.5 + 0.4 * ((x as f32 / 9.0 + c as f32).sin() * (y as f32 / 7.0).cos());
                }
            }
        }
        b
    }

    fn written(channels: Channels, m: &Metadata) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.avif");
        let how = Encoding { format: Format::Avif, quality: 95, ..Encoding::default() };
        let mut e = codec::encoder(&path, &how, 37, 29, channels, m).unwrap();
        e.write(&picture(37, 29, channels.count())).unwrap();
        let size = e.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, size);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Image> {
        codec::decode(Path::new("a.avif"), bytes, &Limits::default())
    }

    #[test]
    fn pixels_survive_in_every_layout() {
        for channels in [Channels::Grey, Channels::Rgb, Channels::Rgba] {
            let bytes = written(channels, &Metadata::default());
            assert_eq!(bytes, written(channels, &Metadata::default()), "the same picture gives the same bytes");
            let image = read(&bytes).unwrap();
            let header = codec::header(Path::new("a.avif"), &bytes, &Limits::default()).unwrap();
            assert_eq!((header.width, header.height, header.channels, header.bits), (37, 29, image.channels, image.bits()));
            assert_eq!((image.bits(), image.channels.has_alpha(), image.metadata.clone()), (16, channels.has_alpha(), Metadata::default()));
            let want = picture(37, 29, channels.count());
            let got = image.band(0, 29, 0..image.channels.count());
            for c in 0..got.channels {
                let from = if channels == Channels::Grey { 0 } else { c };
                let worst = got.plane(c).iter().zip(want.plane(from)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 0.03, "{channels:?} channel {c}: {worst}");
            }
        }
    }

    #[test]
    fn metadata_and_profile_are_kept() {
        let m = Metadata {
            icc: crate::color::ColourSpace::DisplayP3.icc().ok(),
            xmp: Some(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>".to_vec()),
            dpi: Some((300.0, 300.0)),
            ..Metadata::default()
        };
        let bytes = written(Channels::Rgb, &m);
        let back = read(&bytes).unwrap().metadata;
        assert_eq!((&back.icc, &back.xmp, &back.dpi), (&m.icc, &m.xmp, &m.dpi));
        let examined = codec::examine(Path::new("a.avif"), &bytes, &Limits::default()).unwrap();
        assert_eq!(examined.metadata, back);
        for keep in [20, 100, bytes.len() / 2, bytes.len() - 1] {
            let e = read(&bytes[..keep]).map(|i| i.notes).unwrap_err();
            assert!(e.kind() == "input" && e.to_string().contains("try: "), "{keep}: {e}");
        }
        let tight = Limits { max_pixels: 37 * 29 - 1, ..Limits::default() };
        assert_eq!(codec::decode(Path::new("a.avif"), &bytes, &tight).map(|i| i.notes).unwrap_err().kind(), "limit");
    }

    #[test]
    fn the_containers_turning_is_applied_once() {
        let bytes = written(Channels::Rgb, &Metadata::default());
        let upright = read(&bytes).unwrap();
        let mut heif = Heif::read(&bytes).unwrap();
        let primary = heif.primary;
        heif.items.iter_mut().find(|i| i.id == primary).unwrap().properties.push((*b"irot", vec![3]));
        let turned = heif.write(b"avif", b"avifmif1miaf");
        let image = read(&turned).unwrap();
        let header = codec::header(Path::new("a.avif"), &turned, &Limits::default()).unwrap();
        assert_eq!((image.width, image.height, header.upright()), (29, 37, (29, 37)));
        let mut want = upright.clone();
        want.orient(6);
        assert_eq!(image.samples, want.samples);
    }
}
