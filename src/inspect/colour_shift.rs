//! Colours that are not the source's: CIEDE2000 between the softened source and the softened, reduced result.
//!
//! Raw score: the 94 % quantile of the local difference, so that a shifted patch of a tenth of the picture counts as much as a
//! shift of everything. Unit: dE00, about 1 is just noticeable.

use std::sync::LazyLock;

use super::plane::Plane;
use super::{Measured, Outcome, Scene};

/// Gaussian over source pixels before comparing: noise and fine structure are other detectors' business.
const SOFT_PX: f32 = 2.0;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let (Some(source), Some(reduced)) = (&scene.source, scene.reduced()) else {
        return Outcome::NotApplicable("there is no source to compare colours with");
    };
    let soft = |p: &super::Picture| -> Vec<Plane> { (0..3).map(|c| p.channel(c).blur(SOFT_PX)).collect() };
    let (a, b) = (soft(source), soft(reduced));
    let mut difference = Plane::new(source.width, source.height);
    difference.fill(
        || (),
        |(), y, row| {
            for (x, d) in row.iter_mut().enumerate() {
                let lab = |p: &[Plane]| lab(std::array::from_fn(|c| p[c].row(y)[x]));
                *d = delta_e(lab(&a), lab(&b));
            }
        },
    );
    let side = (source.width.min(source.height) / 48).max(1);
    let map = difference.cells(side);
    let (mean, p95) = (difference.data.iter().sum::<f32>() / difference.data.len() as f32, difference.quantile(0.95));
    let score = difference.quantile(0.94);
    let note = move |spot: &super::Spot| {
        format!("colours differ from the source by {:.1} dE00 here ({mean:.1} on average, 95 % of the picture below {p95:.1})", spot.raw)
    };
    Outcome::Measured(Measured { score, map, in_source: None, least_area: 0.002, note: Box::new(note) })
}

/// CIELAB (D65) of a colour of 0..1, as [`crate::color::srgb_to_lab`] but in single precision.
fn lab(rgb: [f32; 3]) -> [f32; 3] {
    /// Steps of the table of linear light; between them it is linear.
    const STEPS: usize = 4096;
    static LIGHT: LazyLock<Vec<f32>> = LazyLock::new(|| {
        let light = |v: f64| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
        (0..=STEPS + 1).map(|i| light(i as f64 / STEPS as f64) as f32).collect()
    });
    let light: &[f32] = &LIGHT;
    let [r, g, b] = rgb.map(|v| {
        let at = v.clamp(0.0, 1.0) * STEPS as f32;
        let i = at as usize;
        light[i] + (light[i + 1] - light[i]) * (at - i as f32)
    });
    let f = |t: f32| if t > 216.0 / 24389.0 { cube_root(t) } else { (24389.0 / 27.0 * t + 16.0) / 116.0 };
    let x = f((0.412_453 * r + 0.357_58 * g + 0.180_423 * b) / 0.950_47);
    let y = f(0.212_671 * r + 0.715_16 * g + 0.072_169 * b);
    let z = f((0.019_334 * r + 0.119_193 * g + 0.950_227 * b) / 1.088_83);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Cube root of a positive number: a guess by its exponent, then three steps of Newton's method.
fn cube_root(v: f32) -> f32 {
    let mut r = f32::from_bits(v.to_bits() / 3 + 0x2a51_67e0);
    for _ in 0..3 {
        r = (2.0 * r + v / (r * r)) / 3.0;
    }
    r
}

/// CIEDE2000 as [`crate::color::delta_e_2000`], in single precision and with the angles' sines and cosines from the vectors.
fn delta_e([l1, a1, b1]: [f32; 3], [l2, a2, b2]: [f32; 3]) -> f32 {
    let seventh = |c: f32| {
        let c3 = c * c * c;
        let c7 = c3 * c3 * c;
        (c7 / (c7 + 6_103_515_625.0)).sqrt() // 25^7
    };
    let length = |a: f32, b: f32| (a * a + b * b).sqrt();
    let stretch = 1.5 - 0.5 * seventh(0.5 * (length(a1, b1) + length(a2, b2)));
    let (a1, a2) = (a1 * stretch, a2 * stretch);
    let (c1, c2) = (length(a1, b1), length(a2, b2));
    let (l, c) = (0.5 * (l1 + l2), 0.5 * (c1 + c2));
    let from_50 = (l - 50.0) * (l - 50.0);
    let dl = (l2 - l1) / (1.0 + 0.015 * from_50 / (20.0 + from_50).sqrt());
    let dc = (c2 - c1) / (1.0 + 0.045 * c);
    if c1 * c2 <= 0.0 {
        return (dl * dl + dc * dc).sqrt();
    }
    // The mean hue: where the sum of the unit vectors points.
    let (u, v) = (a1 / c1 + a2 / c2, b1 / c1 + b2 / c2);
    let n = length(u, v);
    let (cos, sin) = if n > 1e-6 { (u / n, v / n) } else { (-b1 / c1, a1 / c1) };
    let (cos2, sin2) = (2.0 * cos * cos - 1.0, 2.0 * sin * cos);
    let (cos3, sin3) = (cos2 * cos - sin2 * sin, sin2 * cos + cos2 * sin);
    let (cos4, sin4) = (2.0 * cos2 * cos2 - 1.0, 2.0 * sin2 * cos2);
    // cos(k h - d) = cos(k h) cos d + sin(k h) sin d, for d of 30, 0, -6 and 63 degrees.
    let t = 1.0 - 0.17 * (cos * 0.866_025_4 + sin * 0.5) + 0.24 * cos2 + 0.32 * (cos3 * 0.994_521_9 - sin3 * 0.104_528_46)
        - 0.20 * (cos4 * 0.453_990_5 + sin4 * 0.891_006_5);
    // (2 sqrt(c1 c2) sin(dh / 2))^2 is the square of the distance less that of dC; the hue's difference has the sign of the cross
    // product.
    let (da, db) = (a2 - a1, b2 - b1);
    let size = (da * da + db * db - (c2 - c1) * (c2 - c1)).max(0.0).sqrt();
    let dhue = size.copysign(a1 * b2 - a2 * b1) / (1.0 + 0.015 * c * t);
    let h = sin.atan2(cos).to_degrees();
    let from_275 = (if h < 0.0 { h + 360.0 } else { h } - 275.0) / 25.0;
    let turn = match from_275 * from_275 {
        far if far > 16.0 => 0.0,
        near => -(60.0 * (-near).exp()).to_radians().sin() * 2.0 * seventh(c),
    };
    (dl * dl + dc * dc + dhue * dhue + turn * dc * dhue).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::picture;
    use crate::resample::Filter;

    fn score(change: impl Fn(&mut [Plane; 3])) -> (f32, Measured) {
        let clean = picture(320, 240);
        let source = clean.resize(80, 60, Filter::CatmullRom).unwrap();
        let mut planes = std::array::from_fn(|c| clean.channel(c).clone());
        change(&mut planes);
        match measure(&Scene::new(super::super::Picture::from_planes(planes), source).unwrap()) {
            Outcome::Measured(m) => (m.score, m),
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn single_precision_agrees_with_the_reference() {
        use crate::color::{White, delta_e_2000, srgb_to_lab};
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        for i in 0..20_000 {
            let one: [f32; 3] = std::array::from_fn(|_| next());
            // Near colours, and greys, too.
            let two = std::array::from_fn(|c| if i % 3 == 0 { next() } else { (one[c] + 0.1 * (next() - 0.5)).clamp(0.0, 1.0) });
            let (one, two) = if i % 50 == 0 { ([one[0]; 3], two) } else { (one, two) };
            let exact = |v: [f32; 3]| srgb_to_lab(v.map(f64::from), White::D65);
            let (got, wanted) = (delta_e(lab(one), lab(two)), delta_e_2000(exact(one), exact(two)) as f32);
            assert!((got - wanted).abs() < 4e-3 * (1.0 + 0.1 * wanted), "{one:?} {two:?}: {got} {wanted}");
        }
    }

    #[test]
    fn a_warmer_patch_is_found_where_it_is() {
        let (clean, _) = score(|_| ());
        assert!(clean < 0.7, "{clean}");
        let (_, m) = score(|p| {
            for y in 40..140 {
                for x in 160..300 {
                    p[0].data[y * 320 + x] += 0.06;
                }
            }
        });
        let (peak, x, y) = m.map.peak();
        assert!(m.score > 3.0 && peak >= m.score, "{} {peak}", m.score);
        let (x, y) = (x * 320 / m.map.width, y * 240 / m.map.height);
        assert!((150..300).contains(&x) && (30..140).contains(&y), "{x},{y}");
    }
}
