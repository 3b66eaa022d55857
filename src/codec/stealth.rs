//! Text hidden in the lowest bits of a picture ("stealth PNG info"): found, read and cleared.
//!
//! Bits run down each column, columns from left to right: one bit a pixel from alpha, or three from R, G and B. The text begins
//! with a 15-byte mark, then 32 bits of length (in bits, big-endian), then UTF-8, plain or as gzip.

use std::io::Read;

use crate::image::{Channels, Image, Samples};

/// A hidden text, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    pub text: String,
    /// "alpha" or "colour".
    pub place: &'static str,
}

const ALPHA: &str = "alpha";

/// The most text that is unpacked.
const MAX_BYTES: usize = 16 << 20;

/// Looks for a hidden text. Only 8-bit pictures can hold one. A mark without a readable text behind it gives an empty text.
pub fn hidden_text(image: &Image) -> Option<Hidden> {
    let Samples::U8(v) = &image.samples else { return None };
    let n = image.channels.count();
    let (width, height) = (image.width, image.height);
    let bits = |channels: std::ops::Range<usize>| {
        (0..width).flat_map(move |x| (0..height).map(move |y| (y * width + x) * n)).flat_map(move |at| {
            let channels = channels.clone();
            channels.map(move |c| v[at + c] & 1)
        })
    };
    let alpha = image.channels.has_alpha().then(|| read(bits(n - 1..n), b"stealth_pnginfo", b"stealth_pngcomp")).flatten();
    let alpha = alpha.map(|text| Hidden { text, place: ALPHA });
    alpha.or_else(|| {
        let rgb = matches!(image.channels, Channels::Rgb | Channels::Rgba);
        let text = rgb.then(|| read(bits(0..3), b"stealth_rgbinfo", b"stealth_rgbcomp")).flatten()?;
        Some(Hidden { text, place: "colour" })
    })
}

/// Clears the lowest bits that hold a text: each goes to the side that keeps black black, white white, and alpha either whole
/// or none. All of them, as some writers repeat the text as often as it fits.
pub(super) fn clear(image: &mut Image, hidden: &Hidden) {
    let n = image.channels.count();
    let channels = if hidden.place == ALPHA { n - 1..n } else { 0..image.channels.colours() };
    let Samples::U8(v) = &mut image.samples else { return };
    for pixel in v.chunks_exact_mut(n) {
        pixel[channels.clone()].iter_mut().for_each(|v| *v = if *v < 128 { *v & !1 } else { *v | 1 });
    }
}

fn read(mut bits: impl Iterator<Item = u8>, plain: &[u8; 15], packed: &[u8; 15]) -> Option<String> {
    let mut byte = || -> Option<u8> { (0..8).try_fold(0u8, |v, _| Some(v << 1 | bits.next()?)) };
    let mut mark = [0; 15];
    for (i, b) in mark.iter_mut().enumerate() {
        *b = byte()?;
        // Almost every picture leaves here.
        if *b != plain[i] && *b != packed[i] {
            return None;
        }
    }
    let mut text = || -> Option<String> {
        let len = [byte()?, byte()?, byte()?, byte()?];
        let len = u32::from_be_bytes(len) as usize / 8;
        let mut data = Vec::new();
        for _ in 0..len.min(MAX_BYTES) {
            data.push(byte()?);
        }
        if &mark == packed {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(&data[..]).take(MAX_BYTES as u64).read_to_end(&mut out).ok()?;
            data = out;
        }
        String::from_utf8(data).ok()
    };
    let said = text().unwrap_or_default();
    (&mark == plain || &mark == packed).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Format, Metadata};
    use std::io::Write;

    fn picture(mark: &[u8], data: &[u8], channels: Channels, offset: usize, step: usize) -> Image {
        let (width, height, n) = (40, 50, channels.count());
        let mut v = vec![254; width * height * n];
        let all = [mark, &(data.len() as u32 * 8).to_be_bytes(), data].concat();
        for (i, bit) in all.iter().flat_map(|b| (0..8).rev().map(move |s| b >> s & 1)).enumerate() {
            let (pixel, channel) = (i / step, i % step);
            let (x, y) = (pixel / height, pixel % height);
            v[(y * width + x) * n + offset + channel] |= bit;
        }
        let (metadata, notes) = (Metadata::default(), Vec::new());
        Image { width, height, channels, samples: Samples::U8(v), format: Format::Png, metadata, notes }
    }

    #[test]
    fn hidden_texts_are_found_in_alpha_and_colour() {
        let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        z.write_all("a \u{732b}".as_bytes()).unwrap();
        let packed = z.finish().unwrap();
        for (mark, data, place, offset, step) in [
            (b"stealth_pnginfo", "a \u{732b}".as_bytes(), "alpha", 3, 1),
            (b"stealth_pngcomp", &packed, "alpha", 3, 1),
            (b"stealth_rgbinfo", "a \u{732b}".as_bytes(), "colour", 0, 3),
            (b"stealth_rgbcomp", &packed, "colour", 0, 3),
        ] {
            let found = hidden_text(&picture(mark, data, Channels::Rgba, offset, step)).unwrap();
            assert_eq!((found.text.as_str(), found.place), ("a \u{732b}", place));
        }
    }

    #[test]
    fn a_cleared_text_is_gone_and_no_value_moves_by_more_than_a_code() {
        for (mark, offset, step) in [(b"stealth_pnginfo", 3, 1), (b"stealth_rgbinfo", 0, 3)] {
            let mut image = picture(mark, b"a cat", Channels::Rgba, offset, step);
            let Samples::U8(before) = image.samples.clone() else { panic!() };
            let found = hidden_text(&image).unwrap();
            clear(&mut image, &found);
            assert_eq!(hidden_text(&image), None);
            let Samples::U8(after) = &image.samples else { panic!() };
            let carrier = |i: usize| (offset..offset + step).contains(&(i % 4));
            assert!(before.iter().zip(after).enumerate().all(|(i, (a, b))| if carrier(i) { *b == 255 } else { a == b }));
        }
    }

    #[test]
    fn what_is_no_hidden_text_is_told_from_one() {
        assert_eq!(hidden_text(&picture(b"stealth_pngxxxx", b"x", Channels::Rgba, 3, 1)), None);
        // A mark with a length that leads out of the picture.
        let mut cut = picture(b"stealth_pnginfo", b"x", Channels::GreyAlpha, 1, 1);
        cut.width = 3;
        cut.samples = match cut.samples {
            Samples::U8(mut v) => {
                v.truncate(3 * 50 * 2);
                Samples::U8(v)
            }
            other => other,
        };
        hidden_text(&cut);
    }
}
