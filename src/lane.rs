//! One formula for every machine.
//!
//! A grading operation is written once, over any [`Lane`]. `f32` is the reference and, in loops over planes, the production
//! path: nothing here branches, so a loop over a formula becomes SIMD on whatever the processor has.
//! Logarithm and exponential are polynomials of our own for that reason; they are the same on every processor.
//! [`trace::Traced`] writes the formula down instead, and so makes it a shader for graphics cards.

mod lut3d;
mod table;
pub mod trace;
mod wgsl;

use std::ops::{Add, Div, Mul, Sub};

pub use lut3d::{Lut3d, SIZES as LUT3D_SIZES};
pub use table::Table;

/// Red, green and blue, or the three coordinates of another colour space.
pub type Rgb<L> = [L; 3];

/// A number, or several side by side, that formulas are made of.
///
/// Formulas must not call `array::map` on colours: it keeps loops from becoming SIMD.
pub trait Lane: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> {
    /// A constant.
    fn lit(v: f32) -> Self;
    /// The larger; the other if one is NaN.
    fn max(self, o: Self) -> Self;
    /// The smaller; the other if one is NaN.
    fn min(self, o: Self) -> Self;
    fn abs(self) -> Self;
    fn floor(self) -> Self;
    /// Square root; the argument must be 0 or more.
    fn sqrt(self) -> Self;
    /// 2 to the power of this, limited to 2^-126..2^126; 3e-7 relative.
    fn exp2(self) -> Self;
    /// Logarithm to base 2; the argument must be positive and normal. 2e-7 absolute near 1.
    fn log2(self) -> Self;
    /// `yes` where this is less than `o`, else `no`. The only branch; both sides are evaluated.
    fn if_less(self, o: Self, yes: Self, no: Self) -> Self;
    /// A sampled curve.
    fn table(self, t: &Table) -> Self;
    /// A sampled colour function.
    fn lut3d(c: Rgb<Self>, t: &Lut3d) -> Rgb<Self>;
    /// A random number for a place (this and `y`) and a key, all whole numbers from 0 to 2^23 - 1: about normal, with mean 0 and
    /// variance 1.
    fn random(self, y: Self, key: Self) -> Self;

    /// This to the power of `e`; 0 for anything at or below 0.
    #[inline(always)]
    fn pow(self, e: f32) -> Self {
        let tiny = Self::lit(f32::MIN_POSITIVE);
        let raised = (self.max(tiny).log2() * Self::lit(e)).exp2();
        tiny.if_less(self, raised, Self::lit(0.0))
    }

    /// Cube root with its sign.
    #[inline(always)]
    fn cbrt(self) -> Self {
        let root = self.abs().pow(1.0 / 3.0);
        self.if_less(Self::lit(0.0), Self::lit(0.0) - root, root)
    }

    /// Limited to `low..=high`.
    #[inline(always)]
    fn clamp(self, low: f32, high: f32) -> Self {
        self.max(Self::lit(low)).min(Self::lit(high))
    }

    /// `self + (o - self) * share`.
    #[inline(always)]
    fn mix(self, o: Self, share: Self) -> Self {
        self + (o - self) * share
    }

    /// Cubic step (`3 t^2 - 2 t^3`): 0 up to `from`, 1 from `to` on.
    #[inline(always)]
    fn smoothstep(self, from: f32, to: f32) -> Self {
        let t = ((self - Self::lit(from)) * Self::lit(1.0 / (to - from))).clamp(0.0, 1.0);
        t * t * (Self::lit(3.0) - t - t)
    }
}

impl Lane for f32 {
    #[inline(always)]
    fn lit(v: f32) -> Self {
        v
    }
    #[inline(always)]
    fn max(self, o: Self) -> Self {
        f32::max(self, o)
    }
    #[inline(always)]
    fn min(self, o: Self) -> Self {
        f32::min(self, o)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }
    #[inline(always)]
    fn floor(self) -> Self {
        f32::floor(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    /// The Taylor polynomial of degree 6 around the nearest integer.
    #[inline(always)]
    fn exp2(self) -> Self {
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
        let p = f32::clamp(self, -126.0, 126.0);
        let shifted = p + ROUND;
        // The integer as bits; a cast from f32 would check for overflow and NaN.
        let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
        let f = p - (shifted - ROUND);
        let series = 1.333_355_8e-3 + f * 1.540_353e-4;
        let exp2 = 1.0 + f * (std::f32::consts::LN_2 + f * (0.240_226_5 + f * (0.055_504_11 + f * (9.618_129e-3 + f * series))));
        f32::from_bits((exponent.wrapping_add(127) << 23) as u32) * exp2
    }

    /// The series of the inverse hyperbolic tangent over a mantissa in sqrt(1/2)..sqrt(2).
    #[inline(always)]
    fn log2(self) -> Self {
        use std::f32::consts::LOG2_E;
        let bits = self.to_bits() as i32;
        let e = bits.wrapping_sub(0x3f35_04f3) >> 23;
        let m = f32::from_bits(bits.wrapping_sub(e << 23) as u32);
        let t = (m - 1.0) / (m + 1.0);
        let t2 = t * t;
        e as f32 + t * (2.0 * LOG2_E + t2 * (0.961_796_7 + t2 * (0.577_078 + t2 * (0.412_198_6 + t2 * 0.320_598_9))))
    }

    #[inline(always)]
    fn if_less(self, o: Self, yes: Self, no: Self) -> Self {
        if self < o { yes } else { no }
    }
    #[inline(always)]
    fn table(self, t: &Table) -> Self {
        t.eval(self)
    }
    #[inline(always)]
    fn lut3d(c: Rgb<Self>, t: &Lut3d) -> Rgb<Self> {
        t.eval(c)
    }

    /// The sum of the four bytes of a hash (the finaliser "lowbias32", C. Wellons 2018).
    #[inline(always)]
    fn random(self, y: Self, key: Self) -> Self {
        let whole = |v: f32| index(v) as u32;
        let mut h = whole(self).wrapping_mul(0x9e37_79b1) ^ whole(y).wrapping_mul(0x85eb_ca77) ^ whole(key).wrapping_mul(0xc2b2_ae3d);
        h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
        h = (h ^ (h >> 15)).wrapping_mul(0x846c_a68b);
        h ^= h >> 16;
        let sum = (h & 255) + (h >> 8 & 255) + (h >> 16 & 255) + (h >> 24);
        // Four bytes have mean 510 and standard deviation sqrt(4 * (256^2 - 1) / 12) = 147.8.
        (sum as i32 as f32 - 510.0) * (1.0 / 147.8)
    }
}

/// A pixel's place in its picture, for formulas that ask for it.
#[derive(Debug, Clone, Copy)]
pub struct At<L> {
    /// Column and row, whole numbers.
    pub x: L,
    pub y: L,
    /// Pixels of the picture.
    pub width: L,
    pub height: L,
    /// A whole number made of the source's contents, 0 to 2^22 - 1.
    pub key: L,
}

/// The whole number that `v`, which must be one from 0 to 2^23 - 1, stands for; unlike a cast it needs no check, so that loops
/// become SIMD.
#[inline(always)]
fn index(v: f32) -> usize {
    ((v + 8_388_608.0).to_bits() & 0x7f_ffff) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_and_roots_are_exact_enough() {
        for i in 1..20_000 {
            let x = i as f32 / 5000.0;
            for e in [1.0 / 2.4, 0.45, 1.0, 2.4, 3.0] {
                let want = f64::from(x).powf(f64::from(e));
                assert!((f64::from(Lane::pow(x, e)) - want).abs() < 3e-6 * want.max(0.3), "{x}^{e}");
            }
            assert!((f64::from(Lane::cbrt(-x)) + f64::from(x).cbrt()).abs() < 1e-6);
            assert!((f64::from(Lane::log2(x)) - f64::from(x).log2()).abs() < 1e-6);
        }
        for x in [0.0, -1.0, -1e30, f32::NAN] {
            assert_eq!(Lane::pow(x, 2.2), 0.0);
        }
        assert!(Lane::pow(1e30f32, 9.0).is_finite());
    }

    #[test]
    fn random_numbers_are_about_normal_and_independent() {
        let all: Vec<f32> = (0..300 * 300).map(|i| Lane::random((i % 300) as f32, (i / 300) as f32, 4_194_303.0)).collect();
        let n = all.len() as f32;
        let mean = all.iter().sum::<f32>() / n;
        let variance = all.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        for step in [1, 2, 300, 301, 299] {
            let together = all.windows(step + 1).map(|w| w[0] * w[step]).sum::<f32>() / n;
            assert!(together.abs() < 0.015, "{step}: {together}");
        }
        let other = |key: f32| (0..n as usize).map(|i| Lane::random((i % 300) as f32, (i / 300) as f32, key) * all[i]).sum::<f32>() / n;
        assert!(other(4_194_302.0).abs() < 0.015 && other(0.0).abs() < 0.015);
    }

    #[test]
    fn steps_are_smooth() {
        assert_eq!([0.0f32, 0.25, 0.5, 0.75, 9.0].map(|v| v.smoothstep(0.25, 0.75)), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!(index(0.0), 0);
        assert_eq!(index(8_388_607.0), 8_388_607);
    }
}
