//! White balance.

use super::prelude::*;

params! {
    /// Takes out or puts in a cast of the light, as if the camera had been set to that light (CAT16 adaptation, Li et al. 2017;
    /// luminance of neutrals is kept). Works on linear light.
    pub struct WhiteBalance = "white_balance" {
        /// Colour temperature the picture is taken to be lit by; higher makes it warmer, 6504 leaves it.
        kelvin: f32 = 6504.0, Rule::Range(2000.0, 15000.0), "kelvin";
        /// Distance of that light from the black-body locus in 1/3000 of CIE 1960 uv; positive makes it more magenta.
        tint: f32 = 0.0, Rule::Range(-150.0, 150.0), "";
    }
}

impl ColorOp for WhiteBalance {
    type Kernel = Matrix;

    fn space(&self) -> Space {
        Space::Linear
    }

    fn kernel(&self) -> Result<Matrix, String> {
        let m = adaptation(white(f64::from(self.kelvin), f64::from(self.tint)));
        Ok(Matrix(m.map(|row| row.map(|v| v as f32))))
    }
}

type M = [[f64; 3]; 3];

/// Linear sRGB to CIE XYZ (IEC 61966-2-1), and CAT16's cone responses.
const XYZ: M = [[0.412_390_8, 0.357_584_3, 0.180_480_8], [0.212_639, 0.715_168_7, 0.072_192_3], [0.019_330_8, 0.119_194_8, 0.950_532_2]];
const CAT16: M = [[0.401_288, 0.650_173, -0.051_461], [-0.250_268, 1.204_414, 0.045_854], [-0.002_079, 0.048_952, 0.953_127]];

/// CIE 1960 uv of a black body, Krystek 1985: within 8e-5 from 1000 to 15000 kelvin.
fn planck(t: f64) -> [f64; 2] {
    let u = (0.860_117_757 + 1.541_182_54e-4 * t + 1.286_412_12e-7 * t * t) / (1.0 + 8.424_202_35e-4 * t + 7.081_451_63e-7 * t * t);
    let v = (0.317_398_726 + 4.228_062_45e-5 * t + 4.204_816_91e-8 * t * t) / (1.0 - 2.897_418_16e-5 * t + 1.614_560_53e-7 * t * t);
    [u, v]
}

/// XYZ (Y = 1) of the light. The locus is moved so that it meets D65 at 6504 kelvin.
fn white(kelvin: f64, tint: f64) -> [f64; 3] {
    const D65: [f64; 2] = [0.197_83, 0.312_27];
    let (here, ahead, at_d65) = (planck(kelvin), planck(kelvin + 1.0), planck(6504.0));
    let (du, dv) = (ahead[0] - here[0], ahead[1] - here[1]);
    let length = du.hypot(dv);
    // Across the locus, away from magenta: a light that is greener is answered with magenta.
    let (nu, nv) = (dv / length, -du / length);
    let away = tint / 3000.0;
    let u = here[0] + D65[0] - at_d65[0] + nu * away;
    let v = here[1] + D65[1] - at_d65[1] + nv * away;
    let (x, y) = (3.0 * u / (2.0 * u - 8.0 * v + 4.0), 2.0 * v / (2.0 * u - 8.0 * v + 4.0));
    [x / y, 1.0, (1.0 - x - y) / y]
}

fn product(a: &M, b: &M) -> M {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

fn inverse(m: &M) -> M {
    let minor = |i: usize, j: usize| {
        let at = |r: usize, c: usize| m[(i + r) % 3][(j + c) % 3];
        at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * minor(0, j)).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| minor(j, i) / determinant))
}

fn times(m: &M, v: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|i| (0..3).map(|k| m[i][k] * v[k]).sum())
}

/// Linear sRGB seen under `from` as it looks under D65.
fn adaptation(from: [f64; 3]) -> M {
    let (before, after) = (times(&CAT16, from), times(&CAT16, white(6504.0, 0.0)));
    let gains: M = std::array::from_fn(|i| std::array::from_fn(|j| if i == j { after[i] / before[i] } else { 0.0 }));
    let cones = product(&CAT16, &XYZ);
    let m = product(&inverse(&cones), &product(&gains, &cones));
    let neutral = times(&m, [1.0; 3]);
    let luminance: f64 = (0..3).map(|k| XYZ[1][k] * neutral[k]).sum();
    m.map(|row| row.map(|v| v / luminance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_whites() {
        // CIE 15: illuminant A is a black body of 2856 K, x = 0.44758, y = 0.40745; in 1960 uv 0.25597, 0.34955.
        let [u, v] = planck(2856.0);
        assert!((u - 0.255_97).abs() < 2e-4 && (v - 0.349_55).abs() < 2e-4, "{u} {v}");
        let [x, _, z] = white(6504.0, 0.0);
        assert!((x - 0.950_47).abs() < 3e-4 && (z - 1.088_83).abs() < 1e-3, "{x} {z}");
    }

    #[test]
    fn higher_is_warmer_and_positive_more_magenta() {
        let grey = |kelvin, tint| times(&adaptation(white(kelvin, tint)), [1.0; 3]);
        let [r, _, b] = grey(8000.0, 0.0);
        assert!(r > 1.02 && b < 0.98, "{r} {b}");
        let [r, _, b] = grey(4000.0, 0.0);
        assert!(r < 0.95 && b > 1.1, "{r} {b}");
        let [r, g, b] = grey(6504.0, 30.0);
        assert!(r > g && b > g, "{r} {g} {b}");
        for v in grey(6504.0, 0.0) {
            assert!((v - 1.0).abs() < 1e-9);
        }
        // The light itself becomes neutral.
        let m = adaptation(white(3000.0, 0.0));
        let lit = times(&m, times(&inverse(&XYZ), white(3000.0, 0.0)));
        assert!((lit[0] / lit[1] - 1.0).abs() < 3e-3 && (lit[2] / lit[1] - 1.0).abs() < 3e-3, "{lit:?}");
    }
}
