//! The demo's pictures: small scenes in four styles, each a function of place and seed alone.

use rayon::prelude::*;

use crate::band::Band;

/// Red, green, blue; display-encoded 0..1.
type Rgb = [f32; 3];

/// The styles, by the name that the demo's files carry, and the words that its generator "was given".
pub const STYLES: [(&str, &str); 4] = [
    ("landscape", "mountain valley at dawn, haze, alpine meadow, 35 mm photograph"),
    ("studio", "three ceramic spheres on an oak table, soft studio light, octane render"),
    ("ink", "graphic novel panel, flat colours, bold ink outlines, halftone shadow"),
    ("label", "bottle label design, woven paper, geometric badge, vintage typography"),
];

/// Sides of every picture, pixels.
pub const SIZE: (usize, usize) = (160, 120);
/// Samples across and down a pixel.
const SAMPLES: usize = 3;

fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t.clamp(0.0, 1.0))
}

fn times(a: Rgb, k: f32) -> Rgb {
    a.map(|v| v * k)
}

fn step(from: f32, to: f32, v: f32) -> f32 {
    let t = ((v - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// 0..1, the same for the same numbers everywhere.
pub fn hash(x: i32, y: i32, seed: u32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    for k in [0x2C1B_3C6Du32, 0x297A_2D39] {
        h ^= h >> 15;
        h = h.wrapping_mul(k);
    }
    h ^= h >> 16;
    (h >> 8) as f32 / 16_777_216.0
}

/// Smooth value noise, 0..1.
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (i, j) = (x.floor(), y.floor());
    let (u, v) = (step(0.0, 1.0, x - i), step(0.0, 1.0, y - j));
    let at = |a: i32, b: i32| hash(i as i32 + a, j as i32 + b, seed);
    (at(0, 0) * (1.0 - u) + at(1, 0) * u) * (1.0 - v) + (at(0, 1) * (1.0 - u) + at(1, 1) * u) * v
}

/// Noise of several sizes, 0..1.
fn clouds(x: f32, y: f32, seed: u32) -> f32 {
    (0..5).map(|o| noise(x * f32::powi(2.03, o), y * f32::powi(2.03, o), seed + o as u32) * f32::powi(0.5, o + 1)).sum::<f32>() * 1.03
}

/// A mark for the demo's brand: a ring round a star, light, on nothing. RGBA, `side` pixels square.
pub fn logo(side: usize) -> Band {
    let mut band = Band::new(0, side, side, 4);
    let middle = side as f32 / 2.0;
    for y in 0..side {
        for x in 0..side {
            let (u, v) = ((x as f32 + 0.5) / middle - 1.0, (y as f32 + 0.5) / middle - 1.0);
            let r = u.hypot(v);
            let ring = 1.0 - step(0.0, 0.05, (r - 0.85).abs() - 0.06);
            let star = 1.0 - step(0.0, 0.06, r - 0.34 - 0.26 * (4.0 * v.atan2(u)).cos());
            for c in 0..3 {
                band.row_mut(c, y)[x] = 0.97;
            }
            band.row_mut(3, y)[x] = ring.max(star);
        }
    }
    band
}

/// The picture of a style and a seed.
pub fn render(style: usize, seed: u32) -> Band {
    let (w, h) = SIZE;
    let mut band = Band::new(0, w, h, 3);
    let tone = |n: u32| hash(n as i32, 7, seed);
    // A seed's own numbers, found once.
    let own: [f32; 8] = std::array::from_fn(|i| tone(i as u32));
    let paint: fn(f32, f32, &[f32; 8], u32) -> Rgb = match style % STYLES.len() {
        0 => landscape,
        1 => studio,
        2 => ink,
        _ => label,
    };
    let rows: Vec<Vec<Rgb>> = (0..h)
        .into_par_iter()
        .map(|y| {
            let pixel = |x: usize| {
                let mut sum = [0.0; 3];
                for s in 0..SAMPLES * SAMPLES {
                    let (i, j) = ((s % SAMPLES) as f32, (s / SAMPLES) as f32);
                    let place = |at: usize, k: f32| at as f32 + (k + 0.5) / SAMPLES as f32;
                    // Places count in picture heights, so that a scene does not depend on its size.
                    let (u, v) = (place(x, i) / h as f32, place(y, j) / h as f32);
                    let c = paint(u, v, &own, seed);
                    sum = std::array::from_fn(|k| sum[k] + c[k].clamp(0.0, 1.0).powf(2.2));
                }
                sum.map(|v| (v / (SAMPLES * SAMPLES) as f32).powf(1.0 / 2.2))
            };
            (0..w).map(pixel).collect()
        })
        .collect();
    for (y, row) in rows.iter().enumerate() {
        for c in 0..3 {
            band.row_mut(c, y).iter_mut().zip(row).for_each(|(o, px)| *o = px[c]);
        }
    }
    band
}

/// A sky over ranges of hills over a meadow.
fn landscape(x: f32, y: f32, own: &[f32; 8], seed: u32) -> Rgb {
    let (warm, sun) = (own[0], [0.3 + 0.7 * own[1], 0.18 + 0.12 * own[2]]);
    let sky = mix([0.30 + 0.2 * warm, 0.46, 0.72 - 0.1 * warm], [0.86 + 0.1 * warm, 0.78, 0.68], y * 1.6);
    let glow = (-8.0 * ((x - sun[0]).powi(2) + (y - sun[1]).powi(2))).exp();
    let mut c = mix(sky, [1.0, 0.93, 0.78], 0.6 * glow);
    let veil = clouds(x * 3.0 + own[3] * 9.0, y * 8.0, seed);
    c = mix(c, [0.95, 0.93, 0.92], 0.5 * step(0.55, 0.8, veil) * step(0.5, 0.2, y));
    for range in 0..4u32 {
        let depth = range as f32 / 4.0;
        let ridge = 0.36 + 0.13 * depth * 1.4 + 0.10 * (clouds(x * (2.0 + 2.5 * depth), depth * 10.0, seed + 20 + range) - 0.5);
        if y > ridge {
            let rock = clouds(x * (10.0 + 20.0 * depth), y * (10.0 + 20.0 * depth), seed + 40 + range);
            let near = mix([0.16, 0.25, 0.17], [0.34, 0.40, 0.22], rock);
            c = mix([0.62, 0.64, 0.70], near, 0.25 + 0.7 * depth);
            c = times(c, 0.86 + 0.28 * rock);
        }
    }
    let shore = 0.74 + 0.03 * noise(x * 6.0, 1.0, seed + 60);
    if y > shore {
        let blade = noise(x * 60.0 + 4.0 * noise(x * 9.0, y * 9.0, seed), y * 14.0, seed + 61);
        let flower = step(0.93, 0.96, hash((x * 46.0) as i32, (y * 46.0) as i32, seed + 62));
        c = mix([0.17, 0.30, 0.11], [0.45, 0.52, 0.20], blade);
        c = mix(c, [0.93, 0.82, 0.35 + 0.4 * own[4]], 0.8 * flower);
    }
    c
}

/// Spheres on a table before a backdrop.
fn studio(x: f32, y: f32, own: &[f32; 8], seed: u32) -> Rgb {
    let back = mix([0.78, 0.80, 0.83], [0.50, 0.53, 0.60], (x - 0.65).hypot(y - 0.3));
    let grain = clouds(x * 2.0, y * 40.0 + 2.0 * noise(x * 5.0, y * 5.0, seed), seed + 1);
    let wood = mix([0.44, 0.29, 0.17], [0.68, 0.50, 0.33], grain);
    let mut c = if y > 0.66 { times(wood, 0.8 + 0.5 * (y - 0.66)) } else { back };
    for k in 0..3usize {
        let r = 0.13 + 0.06 * own[k];
        let (cx, cy) = (0.28 + 0.38 * k as f32 + 0.05 * own[k + 3], 0.74 - r + 0.05 * own[k + 1]);
        // What stands on the table darkens it.
        let under = ((x - cx - 0.05) / (1.3 * r)).powi(2) + ((y - cy - r) / (0.28 * r)).powi(2);
        if y > 0.66 {
            c = times(c, 1.0 - 0.55 * (-under).exp());
        }
        let (dx, dy) = ((x - cx) / r, (y - cy) / r);
        let flat = dx * dx + dy * dy;
        if flat < 1.0 {
            let nz = (1.0 - flat).sqrt();
            let light = (-0.5 * dx - 0.6 * dy + 0.62 * nz).max(0.0);
            let hue: Rgb = [[0.72, 0.30, 0.22], [0.22, 0.42, 0.55], [0.80, 0.72, 0.52]][(k + (own[6] * 3.0) as usize) % 3];
            // Angles on the ball, for its glaze.
            let (lon, lat) = (dx.atan2(nz), dy.asin());
            let glaze = match k {
                0 => 0.94 + 0.06 * step(0.45, 0.55, (lat * 9.0).sin() * 0.5 + 0.5),
                1 => 0.82 + 0.3 * clouds(lon * 6.0, lat * 6.0, seed + 9),
                _ => 1.0,
            };
            let shine = (-0.36 * dx - 0.42 * dy + 0.83 * nz).max(0.0).powi(60);
            c = mix(times(hue, glaze * (0.22 + 0.85 * light)), [1.0, 1.0, 0.98], 0.85 * shine);
        }
    }
    c
}

/// Flat colours, outlines of even width, dots in the shadow.
fn ink(x: f32, y: f32, own: &[f32; 8], seed: u32) -> Rgb {
    let paper = [0.95, 0.93, 0.87];
    let hues: [Rgb; 4] = [[0.85, 0.36, 0.27], [0.95, 0.75, 0.33], [0.22, 0.48, 0.53], [0.17, 0.22, 0.36]];
    let hue = |i: usize| hues[(i + (own[0] * 4.0) as usize) % 4];
    let mut c = mix(paper, hue(1), if y < 0.62 { 0.55 } else { 0.15 });
    let dark = |c: Rgb, edge: f32| mix(c, [0.09, 0.08, 0.11], step(0.011, 0.004, edge.abs()));
    // A sun, hills, and a figure of three shapes.
    let sun = (x - 0.3 - 0.6 * own[1]).hypot(y - 0.27) - 0.14;
    c = dark(if sun < 0.0 { hue(0) } else { c }, sun);
    for k in 0..2u32 {
        let hill = y - (0.52 + 0.16 * k as f32 + 0.09 * (x * (3.0 + 2.0 * own[2]) + 6.0 * own[3] + 2.0 * k as f32).sin());
        if hill > 0.0 {
            c = hue(2 + k as usize);
            let (px, py) = ((x + y) * 34.0, (x - y) * 34.0);
            let dot = (px - px.round()).hypot(py - py.round());
            let size = 0.42 * step(0.0, 0.3, hill);
            c = mix(c, times(c, 0.72), step(size + 0.04, size - 0.04, dot));
        }
        c = dark(c, hill * 0.9);
    }
    let cx = 0.45 + 0.5 * own[4];
    let body = ((x - cx) / 0.13).hypot((y - 0.80) / 0.26) - 1.0;
    c = dark(if body < 0.0 { hue(3) } else { c }, body * 0.14);
    let head = (x - cx).hypot(y - 0.47) - 0.085;
    c = dark(if head < 0.0 { [0.93, 0.77, 0.66] } else { c }, head);
    // Hatching behind the figure.
    let line = ((x * 0.8 + y) * 30.0 + noise(x * 4.0, y * 4.0, seed)).fract();
    if x < cx - 0.14 && x > cx - 0.30 && y > 0.55 && y < 0.9 && line < 0.22 {
        c = mix(c, [0.09, 0.08, 0.11], 0.85);
    }
    c
}

/// Woven paper with a badge, rules and lines of lettering.
fn label(x: f32, y: f32, own: &[f32; 8], seed: u32) -> Rgb {
    let thread = 0.5 + 0.25 * ((x * 210.0).sin() + (y * 210.0).sin());
    let fibre = clouds(x * 14.0, y * 14.0, seed);
    let base = mix([0.90, 0.86, 0.77], [0.80, 0.83, 0.84], own[0]);
    let mut c = times(base, 0.93 + 0.05 * thread + 0.06 * fibre - 0.12 * (x - 0.66).hypot(y - 0.5));
    let print: Rgb = [[0.16, 0.20, 0.33], [0.40, 0.12, 0.14], [0.11, 0.27, 0.22], [0.20, 0.16, 0.13]][(own[1] * 4.0) as usize % 4];
    let ink = |c: Rgb, share: f32| mix(c, print, share * (0.90 + 0.1 * fibre));
    let r = (x - 0.666).hypot(y - 0.36);
    let angle = (y - 0.36).atan2(x - 0.666);
    let points = 8.0 + (own[2] * 6.0).floor();
    let star = 0.13 + 0.035 * (angle * points).cos();
    c = ink(c, step(star + 0.004, star - 0.004, r));
    c = ink(c, step(0.007, 0.003, (r - 0.22).abs()));
    c = ink(c, step(0.004, 0.001, (r - 0.245).abs()) * 0.8);
    // Letters as strokes: stems, bowls and bars in cells, as if set in a line.
    for (line, (top, size)) in [(0.66, 0.095), (0.80, 0.045), (0.88, 0.03)].into_iter().enumerate() {
        let (u, v) = ((x - 0.12) / size, (y - top) / size);
        let count = [1.07 / 0.095, 1.07 / 0.045, 1.07 / 0.03][line];
        if v > 0.0 && v < 1.0 && u > 0.0 && u < count {
            let cell = u.floor() as i32;
            let (i, k) = (u - u.floor(), hash(cell, line as i32, seed + 5));
            let stroke = 0.11;
            let stem = step(stroke, stroke - 0.05, (i - 0.25).abs());
            let bowl = step(stroke, stroke - 0.05, ((i - 0.45) / 0.8).hypot(v - 0.5 - 0.2 * (k - 0.5)) - 0.26);
            let ring = bowl * step(0.10, 0.16, ((i - 0.45) / 0.8).hypot(v - 0.5 - 0.2 * (k - 0.5)));
            let bar = step(stroke, stroke - 0.05, (v - k * 0.9).abs()) * step(0.2, 0.25, i) * step(0.82, 0.75, i);
            let mark = if k < 0.12 { 0.0 } else { stem.max(if k < 0.6 { ring } else { bar }) };
            c = ink(c, mark);
        }
    }
    for rule in [0.055, 0.945] {
        c = ink(c, step(0.006, 0.003, (y - rule).abs()) * step(0.06, 0.065, x) * step(1.274, 1.268, x));
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_are_the_same_every_time_and_all_different() {
        let mut seen: Vec<Vec<f32>> = Vec::new();
        for style in 0..STYLES.len() {
            for seed in [1, 2] {
                let band = render(style, seed);
                assert_eq!(band.data, render(style, seed).data);
                assert!(band.data.iter().all(|v| (0.0..=1.0).contains(v)));
                let mean = band.data.iter().sum::<f32>() / band.data.len() as f32;
                let spread = band.data.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / band.data.len() as f32;
                assert!(mean > 0.15 && mean < 0.9 && spread > 0.003, "{style} {seed}: {mean} {spread}");
                assert!(seen.iter().all(|s| *s != band.data));
                seen.push(band.data);
            }
        }
    }
}
