//! Colours that are not the source's: CIEDE2000 between the softened source and the softened, reduced result.
//!
//! A third of the colour's own slope is allowed for: at a strong edge the kernel and a codec's coarse chroma decide. Raw
//! score: the 94 % quantile of the local difference, so that a shifted patch of a tenth of the picture counts as much as a
//! shift of everything; or a quarter of the largest difference under a wide Gaussian, for smaller patches of a plainly other colour. Unit: dE00, about 1 is just noticeable.

use multiversion::multiversion;

use super::plane::Plane;
use super::{Measured, Outcome, Scene, filter};

/// Gaussian over source pixels before comparing: noise and fine structure are other detectors' business.
const SOFT_PX: f32 = 2.0;

/// Gaussian under which a patch is looked for, source pixels, and how much its difference counts: one place of one picture is off by more
/// than most of its pixels.
const PATCH_PX: f32 = 5.0;
const PATCH: f32 = 0.25;

/// How far a place of the result may lie from that of the source, source pixels: at an edge of colour that alone is a difference.
const TOLERANCE_PX: f32 = 0.35;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let (Some(source), Some(reduced)) = (&scene.source, scene.reduced()) else {
        return Outcome::NotApplicable("there is no source to compare colours with");
    };
    let difference = difference(source, reduced, SOFT_PX);
    let side = (source.width.min(source.height) / 48).max(1);
    // Wide enough that what kernels and grain do to single places is gone: what is left in one place is a patch of another colour.
    let patch = self::difference(source, reduced, PATCH_PX);
    let map = difference.cells(side).zip(&patch.cells(side), |d, p| d.max(PATCH * p));
    let patch = PATCH * patch.cells(side).peak().0;
    let (mean, p95) = (difference.data.iter().sum::<f32>() / difference.data.len() as f32, difference.quantile(0.95));
    let everywhere = difference.quantile(0.94);
    let note = move |spot: &super::Spot| {
        format!("colours differ from the source by {:.1} dE00 here ({mean:.1} on average, 95 % of the picture below {p95:.1})", spot.raw)
    };
    Outcome::Measured(Measured { score: everywhere.max(patch), everywhere, map, in_source: None, least_area: 0.002, note: Box::new(note) })
}

/// The difference of every two colours under a Gaussian, as far as it is more than the slope of the colour there allows for.
fn difference(source: &super::Picture, reduced: &super::Picture, sigma: f32) -> Plane {
    let (a, b) = (colours(source, sigma), colours(reduced, sigma));
    let mut out = Plane::unset(source.width, source.height);
    out.fill(|| (), |(), y, row| differences([0, 1, 2].map(|c| a[c].row(y)), [0, 1, 2].map(|c| b[c].row(y)), row));
    out.zip(&slope(&a), |d, s| (d - TOLERANCE_PX * s).max(0.0))
}

/// CIELAB of the colours under a Gaussian.
fn colours(p: &super::Picture, sigma: f32) -> [Plane; 3] {
    let soft = [0, 1, 2].map(|c| p.channel(c).blur(sigma));
    let (w, h) = (p.width, p.height);
    let mut all = Plane::unset(3 * w, h);
    all.fill(|| (), |(), y, row| labs([0, 1, 2].map(|c| soft[c].row(y)), row));
    [0, 1, 2].map(|c| all.part(c * w..(c + 1) * w, 0..h))
}

/// CIELAB of a row of colours: its L, then its a, then its b.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn labs(rgb: [&[f32]; 3], out: &mut [f32]) {
    let n = out.len() / 3;
    let [red, green, blue] = rgb.map(|r| &r[..n]);
    let (lightness, rest) = out.split_at_mut(n);
    let (a, b) = rest.split_at_mut(n);
    let b = &mut b[..n];
    for i in 0..n {
        [lightness[i], a[i], b[i]] = lab([red[i], green[i], blue[i]]);
    }
}

/// The larger difference of every pixel to its neighbours, of the eight around the largest; dE00 a pixel.
fn slope(p: &[Plane; 3]) -> Plane {
    let (w, h) = (p[0].width, p[0].height);
    let mut out = Plane::unset(w, h);
    out.fill(
        || vec![0.0f32; w],
        |line, y, row| {
            let here = [0, 1, 2].map(|c| p[c].row(y));
            differences(here, [0, 1, 2].map(|c| p[c].row((y + 1).min(h - 1))), row);
            differences(here.map(|r| &r[..w - 1]), here.map(|r| &r[1..]), &mut line[..w - 1]);
            filter::raise(row, line);
        },
    );
    out.dilate(1)
}

/// The difference of every two colours of two rows, CIELAB.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn differences(one: [&[f32]; 3], two: [&[f32]; 3], out: &mut [f32]) {
    let n = out.len();
    let (one, two) = (one.map(|r| &r[..n]), two.map(|r| &r[..n]));
    for i in 0..n {
        out[i] = delta_e([one[0][i], one[1][i], one[2][i]], [two[0][i], two[1][i], two[2][i]]);
    }
}

/// CIELAB (D65) of a colour of 0..1, as [`crate::color::srgb_to_lab`] but in single precision. No tables and no branches, so
/// that many are made at once; so everything below.
#[inline(always)]
fn lab(rgb: [f32; 3]) -> [f32; 3] {
    let light = |v: f32| {
        let x = (v + 0.055) / 1.055;
        // x^2.4 = x^2 (x^(1/5))^2
        let root = fifth_root(x);
        if v <= 0.04045 { v / 12.92 } else { x * x * root * root }
    };
    let (r, g, b) = (light(rgb[0]), light(rgb[1]), light(rgb[2]));
    let f = |t: f32| {
        let root = cube_root(t);
        if t > 216.0 / 24389.0 { root } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    };
    let x = f((0.412_453 * r + 0.357_58 * g + 0.180_423 * b) / 0.950_47);
    let y = f(0.212_671 * r + 0.715_16 * g + 0.072_169 * b);
    let z = f((0.019_334 * r + 0.119_193 * g + 0.950_227 * b) / 1.088_83);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Cube root of a number above 0: a guess by its exponent, then three steps of Newton's method.
#[inline(always)]
fn cube_root(v: f32) -> f32 {
    let mut r = f32::from_bits(v.to_bits() / 3 + 0x2a51_67e0);
    for _ in 0..3 {
        r = (2.0 * r + v / (r * r)) / 3.0;
    }
    r
}

/// Fifth root of a number above 0, likewise.
#[inline(always)]
fn fifth_root(v: f32) -> f32 {
    let mut r = f32::from_bits(v.to_bits() / 5 + 0x32c9_0000);
    for _ in 0..4 {
        let square = r * r;
        r = (4.0 * r + v / (square * square)) / 5.0;
    }
    r
}

/// The angle of a vector of length 1, -pi..pi, by a polynomial for an eighth of the circle.
#[inline(always)]
fn angle(sin: f32, cos: f32) -> f32 {
    use std::f32::consts::{FRAC_PI_2, PI};
    let (y, x) = (sin.abs(), cos.abs());
    let (low, high) = if y < x { (y, x) } else { (x, y) };
    let t = low / (high + 1e-20);
    let s = t * t;
    // Least-squares fit of atan on 0..1, good to 1e-8.
    const FIT: [f32; 9] =
        [0.999_999_9, -0.333_326_58, 0.199_865_37, -0.141_643_33, 0.105_073_2, -0.072_479_51, 0.039_899_56, -0.014_458_7, 0.002_468_25];
    let a = t * FIT.iter().rev().fold(0.0, |sum, c| sum * s + c);
    let a = if y < x { a } else { FRAC_PI_2 - a };
    let a = if cos < 0.0 { PI - a } else { a };
    if sin < 0.0 { -a } else { a }
}

/// `exp(-v)` for v of 0..16.
#[inline(always)]
fn falling(v: f32) -> f32 {
    // 2^-w with the whole part as an exponent.
    let w = v * std::f32::consts::LOG2_E;
    let whole = w as i32;
    let part = (w - whole as f32) * std::f32::consts::LN_2;
    let p = 1.0 - part * (1.0 - part * (0.5 - part * (1.0 / 6.0 - part * (1.0 / 24.0 - part / 120.0))));
    p * f32::from_bits(((127 - whole) as u32) << 23)
}

/// CIEDE2000 as [`crate::color::delta_e_2000`], in single precision and with the angles' sines and cosines from the vectors.
#[inline(always)]
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
    // Of greys the hue does not count: every term with it is 0.
    let coloured = if c1 * c2 > 0.0 { 1.0 } else { 0.0 };
    let (d1, d2) = (c1 + (1.0 - coloured), c2 + (1.0 - coloured));
    // The mean hue: where the sum of the unit vectors points; across, if they point apart.
    let (u, v) = (a1 / d1 + a2 / d2, b1 / d1 + b2 / d2);
    let n = length(u, v);
    let apart = n <= 1e-6;
    let by = 1.0 / if apart { 1.0 } else { n };
    let (cos, sin) = (if apart { -b1 / d1 } else { u * by }, if apart { a1 / d1 } else { v * by });
    let (cos2, sin2) = (2.0 * cos * cos - 1.0, 2.0 * sin * cos);
    let (cos3, sin3) = (cos2 * cos - sin2 * sin, sin2 * cos + cos2 * sin);
    let (cos4, sin4) = (2.0 * cos2 * cos2 - 1.0, 2.0 * sin2 * cos2);
    // cos(k h - d) = cos(k h) cos d + sin(k h) sin d, for d of 30, 0, -6 and 63 degrees.
    let t = 1.0 - 0.17 * (cos * 0.866_025_4 + sin * 0.5) + 0.24 * cos2 + 0.32 * (cos3 * 0.994_521_9 - sin3 * 0.104_528_46)
        - 0.20 * (cos4 * 0.453_990_5 + sin4 * 0.891_006_5);
    // (2 sqrt(c1 c2) sin(dh / 2))^2 is the square of the distance less that of dC; the hue's difference has the sign of the cross
    // product.
    let (da, db) = (a2 - a1, b2 - b1);
    let size = da * da + db * db - (c2 - c1) * (c2 - c1);
    let size = if size > 0.0 { size.sqrt() } else { 0.0 };
    let cross = a1 * b2 - a2 * b1;
    let dhue = coloured * if cross < 0.0 { -size } else { size } / (1.0 + 0.015 * c * t);
    // The angle from 275 degrees (its cosine and sine), in units of 25.
    let (cos_275, sin_275) = (0.087_155_74, -0.996_194_7);
    let from_275 = angle(sin * cos_275 - cos * sin_275, cos * cos_275 + sin * sin_275) * (180.0 / std::f32::consts::PI / 25.0);
    let far = from_275 * from_275;
    // Twice 30 degrees, at most.
    let theta = std::f32::consts::FRAC_PI_3 * falling(if far < 16.0 { far } else { 16.0 });
    let square = theta * theta;
    let sine = theta * (1.0 - square * (1.0 / 6.0 - square * (1.0 / 120.0 - square / 5040.0)));
    let turn = -sine * 2.0 * seventh(c);
    let sum = dl * dl + dc * dc + dhue * dhue + turn * dc * dhue;
    if sum > 0.0 { sum.sqrt() } else { 0.0 }
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
