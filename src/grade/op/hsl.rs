//! Hue, saturation and lightness of eight bands of hue.

use super::prelude::*;
use crate::lane::Table;

params! {
    /// Moves hue, saturation and lightness of eight bands of hue. Works in OKLab; bands fade smoothly into their neighbours and greys
    /// stay. Neighbours that are turned by more than two thirds of the way between them towards each other come out in reverse order (`looks check` tells). Each band takes [hue in degrees, saturation, lightness], where [0, 1, 0] leaves it: hue turns from red to yellow
    /// to green, saturation is a factor, lightness is added to full colours.
    pub struct Hsl = "hsl" {
        /// Around 29 degrees of OKLab hue.
        red: [f32; 3] = KEEP, Rule::Range(-60.0, 60.0), "[degrees, factor, lightness]";
        /// Around 55 degrees; skin of every tone.
        orange: [f32; 3] = KEEP, Rule::Range(-60.0, 60.0), "[degrees, factor, lightness]";
        /// Around 105 degrees.
        yellow: [f32; 3] = KEEP, Rule::Range(-60.0, 60.0), "[degrees, factor, lightness]";
        /// Around 142 degrees.
        green: [f32; 3] = KEEP, Rule::Range(-60.0, 60.0), "[degrees, factor, lightness]";
        /// Around 195 degrees.
        aqua: [f32; 3] = KEEP, Rule::Range(-60.0, 60.0), "[degrees, factor, lightness]";
        /// Around 255 degrees.
        blue: [f32; 3] = KEEP, Rule::Range(-60.0, 60.0), "[degrees, factor, lightness]";
        /// Around 300 degrees.
        purple: [f32; 3] = KEEP, Rule::Range(-60.0, 60.0), "[degrees, factor, lightness]";
        /// Around 340 degrees.
        magenta: [f32; 3] = KEEP, Rule::Range(-60.0, 60.0), "[degrees, factor, lightness]";
    }
}

/// A band that stays as it is.
const KEEP: [f32; 3] = [0.0, 1.0, 0.0];
/// Hue of each band in OKLab, degrees.
const HUES: [f32; 8] = [29.0, 55.0, 105.0, 142.0, 195.0, 255.0, 300.0, 340.0];

impl ColorOp for Hsl {
    type Kernel = Bands;

    fn space(&self) -> Space {
        Space::Oklab
    }

    fn kernel(&self) -> Result<Bands, String> {
        let bands = [self.red, self.orange, self.yellow, self.green, self.aqua, self.blue, self.purple, self.magenta];
        for [_, factor, lightness] in bands {
            if !(0.0..=4.0).contains(&factor) {
                return Err(format!("the second number of a band is a factor from 0 to 4, not {factor}"));
            }
            if !(-0.5..=0.5).contains(&lightness) {
                return Err(format!("the third number of a band is lightness from -0.5 to 0.5, not {lightness}"));
            }
        }
        let table = |f: &dyn Fn([f32; 3]) -> f32| Table::from_fn(-2.0, 2.0, 4096, |angle| f(at(&bands, angle))).map_err(|e| e.to_string());
        Ok(Bands {
            cos: table(&|b| b[0].to_radians().cos() * b[1])?,
            sin: table(&|b| b[0].to_radians().sin() * b[1])?,
            lightness: table(&|b| b[2])?,
        })
    }
}

/// The mix of the two nearest bands at a diamond angle (see [`Bands`]).
fn at(bands: &[[f32; 3]; 8], angle: f32) -> [f32; 3] {
    // The inverse of the diamond angle, -2..2 for -180..180 degrees.
    let (a, b) = (1.0 - angle.abs(), if angle.abs() <= 1.0 { angle } else { (2.0 - angle.abs()).copysign(angle) });
    let degrees = b.atan2(a).to_degrees().rem_euclid(360.0);
    let next = HUES.iter().position(|h| *h > degrees).unwrap_or(0);
    let (from, to) = ((next + 7) % 8, next);
    let span = (HUES[to] - HUES[from]).rem_euclid(360.0);
    let t = (degrees - HUES[from]).rem_euclid(360.0) / span;
    let t = t * t * (3.0 - 2.0 * t);
    [0, 1, 2].map(|k| bands[from][k] + (bands[to][k] - bands[from][k]) * t)
}

/// Tables over the diamond angle: `b / (|a| + |b|)` for a >= 0, mirrored beyond, which rises with the hue like an angle but
/// needs no trigonometry.
pub struct Bands {
    cos: Table,
    sin: Table,
    lightness: Table,
}

impl Kernel for Bands {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let (a, b) = (c[1], c[2]);
        let zero = L::lit(0.0);
        let side = b / (a.abs() + b.abs()).max(L::lit(1e-6));
        let beyond = b.if_less(zero, L::lit(-2.0) - side, L::lit(2.0) - side);
        let angle = a.if_less(zero, beyond, side);
        let (cos, sin) = (angle.table(&self.cos), angle.table(&self.sin));
        // Lightness follows chroma, so that greys stay and edges of colours do not break.
        let full = (a * a + b * b).sqrt().smoothstep(0.0, 0.15);
        [c[0] + angle.table(&self.lightness) * full, a * cos - b * sin, a * sin + b * cos]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::space::convert;

    #[test]
    fn a_band_moves_its_own_hue_alone() {
        let k = Hsl { blue: [20.0, 0.5, -0.1], ..Hsl::default() }.kernel().unwrap();
        for (i, hue) in HUES.into_iter().enumerate() {
            let (sin, cos) = hue.to_radians().sin_cos();
            let [l, a, b] = k.eval([0.6f32, 0.2 * cos, 0.2 * sin]);
            let (turned, chroma) = (b.atan2(a).to_degrees().rem_euclid(360.0) - hue, a.hypot(b) / 0.2);
            let want = if i == 5 { (20.0, 0.5, 0.5) } else { (0.0, 1.0, 0.6) };
            assert!(
                (turned - want.0).abs() < 0.1 && (chroma - want.1).abs() < 2e-3 && (l - want.2).abs() < 1e-3,
                "{hue}: {turned} {chroma} {l}"
            );
        }
        let grey = convert([0.5f32; 3], Space::Encoded, Space::Oklab);
        assert!(k.eval(grey).iter().zip(grey).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn hues_have_no_seam() {
        let k = Hsl { aqua: [10.0, 1.5, 0.1], red: [-5.0, 0.8, 0.0], ..Hsl::default() }.kernel().unwrap();
        let mut before: Option<[f32; 3]> = None;
        for i in 0..=3600 {
            let (sin, cos) = (i as f32 / 10.0).to_radians().sin_cos();
            let now = k.eval([0.6f32, 0.2 * cos, 0.2 * sin]);
            assert!(before.is_none_or(|b| b.iter().zip(now).all(|(a, b)| (a - b).abs() < 2e-3)), "{i}");
            before = Some(now);
        }
    }
}
