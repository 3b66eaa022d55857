//! The one place where finished values become integers: clamp to 0..1, scale, round half up.

use multiversion::multiversion;

use crate::band::Band;
use crate::error::{Error, Result};

/// An integer sample type of a file.
pub(super) trait Code: Copy + Default {
    /// `round_half_up(clamp(v, 0, 1) * max)`.
    fn of(v: f32) -> Self;
}

/// `floor(y)` in the low 16 bits, for 0 <= y < 65536; any bits for NaN.
///
/// A float-to-integer cast saturates in Rust and is not vectorised on plain x86-64. Adding 2^23 leaves the integer nearest to
/// `y` in the low mantissa bits, which is one too many where that sum was rounded up.
#[inline(always)]
fn floor(y: f32) -> u32 {
    const SHIFT: f32 = 8_388_608.0;
    let nearest = y + SHIFT;
    nearest.to_bits().wrapping_sub(u32::from(nearest - SHIFT > y))
}

impl Code for u8 {
    #[inline(always)]
    fn of(v: f32) -> u8 {
        floor(v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
    }
}

impl Code for u16 {
    #[inline(always)]
    fn of(v: f32) -> u16 {
        floor(v.clamp(0.0, 1.0) * 65535.0 + 0.5) as u16
    }
}

/// Row `r` of `band` (counted from its first row) as interleaved codes; `out` is resized to `width * channels`.
///
/// A NaN is an error: it never reaches a file. `subject` names the output in that message.
pub(super) fn row<T: Code>(band: &Band, r: usize, out: &mut Vec<T>, subject: &dyn std::fmt::Display) -> Result<()> {
    out.resize(band.width * band.channels, T::default());
    row_into(band, r, out, subject)
}

/// The same into `width * channels` codes that are there already.
pub(super) fn row_into<T: Code>(band: &Band, r: usize, out: &mut [T], subject: &dyn std::fmt::Display) -> Result<()> {
    let n = band.channels;
    let mut nan = false;
    match n {
        1 => nan |= plain(band.row(0, r), out),
        2 => nan |= woven([band.row(0, r), band.row(1, r)], out),
        3 => nan |= woven([band.row(0, r), band.row(1, r), band.row(2, r)], out),
        4 => nan |= woven([band.row(0, r), band.row(1, r), band.row(2, r), band.row(3, r)], out),
        _ => return Err(Error::Internal(format!("a band with {n} channels reached an encoder"))),
    }
    numbers(nan, band, r, subject)
}

/// Row `r` of a band of three channels as four bytes a pixel: red, green, blue and one that means nothing. Whole words are woven
/// several times as fast as three bytes. `out` has `width` words.
#[cfg(feature = "turbojpeg")]
pub(super) fn row_words(band: &Band, r: usize, out: &mut [u32], subject: &dyn std::fmt::Display) -> Result<()> {
    let nan = words([band.row(0, r), band.row(1, r), band.row(2, r)], out);
    numbers(nan, band, r, subject)
}

fn numbers(nan: bool, band: &Band, r: usize, subject: &dyn std::fmt::Display) -> Result<()> {
    if nan {
        return Err(Error::quality(
            subject,
            format!("row {} holds values that are not numbers (NaN)", band.y + r),
            "--precision fp32, or another --model",
        ));
    }
    Ok(())
}

#[cfg(feature = "turbojpeg")]
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2", "x86_64+avx2"))]
fn words(planes: [&[f32]; 3], out: &mut [u32]) -> bool {
    let code = |v: f32| floor(v.clamp(0.0, 1.0) * 255.0 + 0.5) & 0xff;
    let mut nan = false;
    let [red, green, blue] = planes;
    for (((o, &r), &g), &b) in out.iter_mut().zip(red).zip(green).zip(blue) {
        nan |= r.is_nan() | g.is_nan() | b.is_nan();
        *o = (code(r) | code(g) << 8 | code(b) << 16).to_le();
    }
    nan
}

#[inline(always)]
fn plain<T: Code>(from: &[f32], out: &mut [T]) -> bool {
    let mut nan = false;
    for (o, &v) in out.iter_mut().zip(from) {
        nan |= v.is_nan();
        *o = T::of(v);
    }
    nan
}

/// Converts a block of each plane at a time and weaves the block; constant sizes let the compiler vectorise both loops.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2", "x86_64+avx2"))]
fn woven<T: Code, const N: usize>(planes: [&[f32]; N], out: &mut [T]) -> bool {
    const BLOCK: usize = 64;
    let mut nan = false;
    let mut code = [[T::default(); BLOCK]; N];
    let (pixels, _) = out.as_chunks_mut::<N>();
    for (b, pixels) in pixels.chunks_mut(BLOCK).enumerate() {
        let at = b * BLOCK;
        if let Ok(pixels) = <&mut [[T; N]; BLOCK]>::try_from(&mut *pixels) {
            for (code, plane) in code.iter_mut().zip(planes) {
                if let Some(from) = plane[at..].first_chunk::<BLOCK>() {
                    nan |= plain(from, code);
                }
            }
            for x in 0..BLOCK {
                pixels[x] = std::array::from_fn(|c| code[c][x]);
            }
        } else {
            for (x, px) in pixels.iter_mut().enumerate() {
                nan |= planes.iter().any(|p| p[at + x].is_nan());
                *px = planes.map(|p| T::of(p[at + x]));
            }
        }
    }
    nan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_and_halves_round_up() {
        for v in 0..=255u8 {
            assert_eq!(u8::of(f32::from(v) / 255.0), v);
        }
        for v in 0..=65535u16 {
            assert_eq!(u16::of(f32::from(v) / 65535.0), v);
        }
        assert_eq!(u8::of(0.5 / 255.0), 1);
        assert_eq!((u8::of(-3.0), u8::of(7.0), u8::of(f32::INFINITY), u8::of(f32::NEG_INFINITY)), (0, 255, 255, 0));
        assert_eq!((u16::of(-3.0), u16::of(7.0)), (0, 65535));
    }

    #[test]
    fn the_fast_floor_is_the_floor() {
        // Every float within 40 steps of every half code, and a sweep over all exponents.
        for k in 0..=131_072u32 {
            let bits = (k as f32 / 2.0).to_bits();
            for y in (bits.saturating_sub(40)..bits + 40).map(f32::from_bits).filter(|y| *y < 65536.0) {
                assert_eq!(floor(y) & 0xffff, y as u32, "{y}");
            }
        }
        for y in (0..65536f32.to_bits()).step_by(997).map(f32::from_bits) {
            assert_eq!(floor(y) & 0xffff, y as u32, "{y}");
        }
    }

    #[test]
    fn weaving_agrees_with_the_slow_way_for_every_width() {
        for n in 1..=4 {
            for width in [1, 2, 63, 64, 65, 130] {
                let mut b = Band::new(3, width, 2, n);
                for (i, v) in b.data.iter_mut().enumerate() {
                    *v = (i as f32 * 0.137).sin();
                }
                let mut out = Vec::<u8>::new();
                row(&b, 1, &mut out, &"x").unwrap();
                for x in 0..width {
                    for c in 0..n {
                        assert_eq!(out[x * n + c], u8::of(b.row(c, 1)[x]));
                    }
                }
            }
        }
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn words_hold_the_same_codes() {
        let mut b = Band::new(0, 133, 1, 3);
        b.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i as f32 * 0.137).sin() * 1.2);
        let (mut codes, mut words) = (Vec::<u8>::new(), vec![0; 133]);
        row(&b, 0, &mut codes, &"x").unwrap();
        row_words(&b, 0, &mut words, &"x").unwrap();
        for (word, code) in words.iter().zip(codes.chunks(3)) {
            assert_eq!(word.to_ne_bytes()[..3], *code);
        }
        b.row_mut(1, 0)[132] = f32::NAN;
        assert_eq!(row_words(&b, 0, &mut words, &"x").unwrap_err().kind(), "quality");
    }

    #[test]
    fn a_nan_is_refused() {
        let mut b = Band::new(0, 70, 1, 3);
        b.row_mut(2, 0)[69] = f32::NAN;
        assert_eq!(row(&b, 0, &mut Vec::<u8>::new(), &"x").unwrap_err().kind(), "quality");
    }
}
