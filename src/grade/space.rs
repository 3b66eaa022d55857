//! The three spaces that operations work in, and the ways between them.
//!
//! All have Rec. 709 primaries and D65 white and keep values outside 0..1 (odd symmetry below 0).

use crate::lane::{Lane, Rgb};

/// What the three numbers of a colour are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// sRGB as files hold it (IEC 61966-2-1).
    Encoded,
    /// Proportional to light, 1 = diffuse white.
    Linear,
    /// OKLab (Ottosson 2020): lightness 0..1, then green-red and blue-yellow, about -0.4..0.4.
    Oklab,
}

/// `c` of one space as a colour of another.
#[inline(always)]
pub fn convert<L: Lane>(c: Rgb<L>, from: Space, to: Space) -> Rgb<L> {
    use Space::{Encoded, Linear, Oklab};
    match (from, to) {
        (Encoded, Linear) => linear(c),
        (Linear, Encoded) => encoded(c),
        (Encoded, Oklab) => oklab(linear(c)),
        (Oklab, Encoded) => encoded(oklab_to_linear(c)),
        (Linear, Oklab) => oklab(c),
        (Oklab, Linear) => oklab_to_linear(c),
        _ => c,
    }
}

/// Rec. 709 luminance, or luma if `c` is encoded.
#[inline(always)]
pub fn luma<L: Lane>(c: Rgb<L>) -> L {
    c[0] * L::lit(0.2126) + c[1] * L::lit(0.7152) + c[2] * L::lit(0.0722)
}

/// A 3 x 3 matrix applied to a colour.
#[inline(always)]
pub fn matrix<L: Lane>(m: &[[f32; 3]; 3], c: Rgb<L>) -> Rgb<L> {
    [dot(&m[0], c), dot(&m[1], c), dot(&m[2], c)]
}

#[inline(always)]
fn dot<L: Lane>(row: &[f32; 3], c: Rgb<L>) -> L {
    c[0] * L::lit(row[0]) + c[1] * L::lit(row[1]) + c[2] * L::lit(row[2])
}

#[inline(always)]
fn signed<L: Lane>(v: L, magnitude: L) -> L {
    v.if_less(L::lit(0.0), L::lit(0.0) - magnitude, magnitude)
}

#[inline(always)]
fn linear_one<L: Lane>(v: L) -> L {
    let x = v.abs();
    let high = ((x + L::lit(0.055)) * L::lit(1.0 / 1.055)).pow(2.4);
    signed(v, x.if_less(L::lit(0.04045), x * L::lit(1.0 / 12.92), high))
}

#[inline(always)]
fn encoded_one<L: Lane>(v: L) -> L {
    let x = v.abs();
    let high = x.pow(1.0 / 2.4) * L::lit(1.055) - L::lit(0.055);
    signed(v, x.if_less(L::lit(0.003_130_8), x * L::lit(12.92), high))
}

#[inline(always)]
fn linear<L: Lane>(c: Rgb<L>) -> Rgb<L> {
    [linear_one(c[0]), linear_one(c[1]), linear_one(c[2])]
}

#[inline(always)]
fn encoded<L: Lane>(c: Rgb<L>) -> Rgb<L> {
    [encoded_one(c[0]), encoded_one(c[1]), encoded_one(c[2])]
}

/// Linear Rec. 709 to the cone responses of OKLab (Ottosson, "A perceptual color space for image processing", 2020, as revised
/// in January 2021), and from their cube roots to OKLab. The inverses below are of these numbers in double precision.
const TO_CONES: [[f32; 3]; 3] =
    [[0.412_221_46, 0.536_332_55, 0.051_445_995], [0.211_903_5, 0.680_699_5, 0.107_396_96], [0.088_302_46, 0.281_718_85, 0.629_978_7]];
const TO_LAB: [[f32; 3]; 3] =
    [[0.210_454_26, 0.793_617_8, -0.004_072_047], [1.977_998_5, -2.428_592_2, 0.450_593_7], [0.025_904_037, 0.782_771_77, -0.808_675_77]];
const FROM_LAB: [[f32; 3]; 3] =
    [[1.0, 0.396_337_78, 0.215_803_76], [1.0, -0.105_561_346, -0.063_854_17], [1.0, -0.089_484_18, -1.291_485_5]];
const FROM_CONES: [[f32; 3]; 3] =
    [[4.076_741_7, -3.307_711_6, 0.230_969_94], [-1.268_438, 2.609_757_4, -0.341_319_4], [-0.004_196_086_3, -0.703_418_6, 1.707_614_7]];

#[inline(always)]
fn oklab<L: Lane>(c: Rgb<L>) -> Rgb<L> {
    let [l, m, s] = matrix(&TO_CONES, c);
    matrix(&TO_LAB, [l.cbrt(), m.cbrt(), s.cbrt()])
}

#[inline(always)]
fn oklab_to_linear<L: Lane>(c: Rgb<L>) -> Rgb<L> {
    let [l, m, s] = matrix(&FROM_LAB, c);
    matrix(&FROM_CONES, [l * l * l, m * m * m, s * s * s])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: [f32; 3], b: [f32; 3], by: f32) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= by)
    }

    #[test]
    fn published_values() {
        assert!(near(convert([0.5, 1.0, 0.02], Space::Encoded, Space::Linear), [0.214_041_14, 1.0, 0.001_547_988], 1e-6));
        // CSS Color 4: sRGB red, green and blue in OKLab.
        for (rgb, lab) in [
            ([1.0, 0.0, 0.0], [0.627_96, 0.224_86, 0.125_85]),
            ([0.0, 1.0, 0.0], [0.866_44, -0.233_89, 0.179_5]),
            ([0.0, 0.0, 1.0], [0.452_01, -0.032_46, -0.311_53]),
            ([1.0, 1.0, 1.0], [1.0, 0.0, 0.0]),
        ] {
            let got = convert(rgb, Space::Encoded, Space::Oklab);
            assert!(near(got, lab, 2e-5), "{rgb:?}: {got:?}");
        }
    }

    #[test]
    fn there_and_back_in_a_wide_range() {
        for i in 0..2000 {
            let c = [(i % 13) as f32 * 0.4 - 1.0, (i % 17) as f32 * 0.3 - 1.0, (i % 11) as f32 * 0.5 - 1.0];
            for space in [Space::Linear, Space::Oklab] {
                let back = convert(convert(c, Space::Encoded, space), space, Space::Encoded);
                assert!(near(back, c, 1e-4), "{space:?} {c:?}: {back:?}");
            }
        }
    }
}
