//! Clean pictures that no camera took: interfaces, flat vector shapes, cel and ray-traced spheres, plains of noise, prints, posters.
//!
//! Every picture is a function of place, sampled several times a pixel, with numbers of its own. Places count in picture sides.

use super::cases::{Colour, filled};
use super::random::Random;

/// The styles.
pub const STYLES: [&str; 10] = ["interface", "vector", "cel_shade", "mesh", "spheres", "terrain", "dots", "rays", "poster", "smoke"];

type Rgb = [f32; 3];

/// Samples across and down a pixel.
const SAMPLES: usize = 3;

fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    let t = t.clamp(0.0, 1.0);
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

/// 1 below `edge`, 0 above.
fn under(v: f32, edge: f32) -> f32 {
    f32::from(u8::from(v < edge))
}

/// Value noise on a lattice of numbers.
struct Lattice(Vec<f32>);

impl Lattice {
    const SIDE: usize = 64;

    fn new(r: &mut Random) -> Self {
        Self((0..Self::SIDE * Self::SIDE).map(|_| r.unit()).collect())
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let (i, j) = (x.floor(), y.floor());
        let smooth = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (u, v) = (smooth(x - i), smooth(y - j));
        let n = Self::SIDE as isize;
        let of = |a: isize, b: isize| self.0[((j as isize + b).rem_euclid(n) * n + (i as isize + a).rem_euclid(n)) as usize];
        (of(0, 0) * (1.0 - u) + of(1, 0) * u) * (1.0 - v) + (of(0, 1) * (1.0 - u) + of(1, 1) * u) * v
    }

    /// Octaves of noise, 0..1, each of half the size and `rough` of the strength of the one before.
    fn octaves(&self, x: f32, y: f32, rough: f32) -> f32 {
        let (mut sum, mut weights, mut size, mut weight) = (0.0, 0.0, 1.0, 1.0);
        for k in 0..6 {
            sum += weight * self.at(x * size + 17.0 * k as f32, y * size);
            weights += weight;
            (size, weight) = (2.0 * size, weight * rough);
        }
        sum / weights
    }
}

/// A picture of a style, `side` pixels square.
pub fn make(style: &str, side: usize, r: &mut Random) -> Colour {
    let paint = painter(style, r);
    let mut out: Colour = std::array::from_fn(|_| filled(side, side, |_, _| 0.0));
    for i in 0..side * side {
        let mut sum = [0.0f32; 3];
        for s in 0..SAMPLES * SAMPLES {
            let place = |at: usize, k: usize| (at as f32 + (k as f32 + 0.5) / SAMPLES as f32) / side as f32;
            let c = paint(place(i % side, s % SAMPLES), place(i / side, s / SAMPLES));
            sum = std::array::from_fn(|k| sum[k] + c[k].clamp(0.0, 1.0).powf(2.2));
        }
        for (o, v) in out.iter_mut().zip(sum) {
            o.data[i] = (v / (SAMPLES * SAMPLES) as f32).powf(1.0 / 2.2);
        }
    }
    out
}

fn painter(style: &str, r: &mut Random) -> Box<dyn Fn(f32, f32) -> Rgb> {
    let colour = |r: &mut Random, low: f32, high: f32| -> Rgb { std::array::from_fn(|_| r.within(low, high)) };
    let noise = Lattice::new(r);
    let (a, b, c) = (colour(r, 0.1, 0.9), colour(r, 0.1, 0.9), colour(r, 0.05, 0.95));
    let own: [f32; 8] = std::array::from_fn(|_| r.unit());
    match style {
        "interface" => {
            let (paper, ink) = if r.one_in(2) { ([0.97; 3], [0.12; 3]) } else { ([0.11, 0.12, 0.14], [0.85; 3]) };
            let panels: Vec<([f32; 4], Rgb)> = (0..r.below(4, 9))
                .map(|_| {
                    (
                        [r.unit() * 0.8, r.unit() * 0.8, r.within(0.1, 0.5), r.within(0.04, 0.4)],
                        mix(paper, colour(r, 0.0, 1.0), r.within(0.05, 0.6)),
                    )
                })
                .collect();
            let (line, left) = (r.within(0.022, 0.05), r.within(0.03, 0.3));
            Box::new(move |x, y| {
                let mut c = paper;
                for ([px, py, w, h], fill) in &panels {
                    // Rounded corners, a thin border and a soft shadow.
                    let (dx, dy) = ((x - px - w / 2.0).abs() - w / 2.0 + 0.012, (y - py - h / 2.0).abs() - h / 2.0 + 0.012);
                    let d = dx.max(0.0).hypot(dy.max(0.0)) - 0.012;
                    c = mix(c, [0.0; 3], 0.15 * (1.0 - d / 0.03).clamp(0.0, 1.0) * under(0.0, d));
                    c = mix(c, *fill, under(d, 0.0));
                    c = mix(c, ink, 0.5 * under(d.abs(), 0.0014));
                }
                let (row, v) = ((y / line).floor(), (y / line).fract());
                let column = (x - left) / (0.5 * line);
                let glyph = (column.floor() as usize * 31 + row as usize * 57) % 97;
                let (u, words) = (column.fract(), !glyph.is_multiple_of(6) && column > 0.0 && column < 18.0 + 3.0 * own[0]);
                let stroke = (u < 0.25 && glyph.is_multiple_of(2))
                    || (v > 0.45 && v < 0.55 && glyph.is_multiple_of(3))
                    || ((u - v + 0.2).abs() < 0.14 && glyph % 5 > 1);
                mix(c, ink, under(0.0, f32::from(u8::from(words && stroke && (0.2..0.8).contains(&v)))))
            })
        }
        "vector" => {
            let shapes: Vec<(f32, f32, f32, f32, Rgb, bool)> = (0..r.below(12, 50))
                .map(|_| (r.unit(), r.unit(), r.within(0.02, 0.22), r.within(0.0, 6.3), colour(r, 0.0, 1.0), r.one_in(2)))
                .collect();
            Box::new(move |x, y| {
                let mut c = a;
                for (cx, cy, size, turn, fill, round) in &shapes {
                    let (dx, dy) = (x - cx, y - cy);
                    let (u, v) = (dx * turn.cos() + dy * turn.sin(), dy * turn.cos() - dx * turn.sin());
                    let d = if *round { u.hypot(1.4 * v) } else { u.abs().max(v.abs() * 2.0) };
                    c = mix(c, *fill, under(d, *size));
                }
                c
            })
        }
        "cel_shade" => {
            let (steps, width) = (r.below(2, 5) as f32, r.within(0.002, 0.007));
            let heads: Vec<(f32, f32, f32, Rgb)> =
                (0..r.below(2, 7)).map(|_| (r.unit(), r.unit(), r.within(0.06, 0.3), colour(r, 0.2, 1.0))).collect();
            Box::new(move |x, y| {
                let mut c = mix(a, b, (y * steps).floor() / steps);
                for (cx, cy, size, fill) in &heads {
                    let wave = 1.0 + 0.15 * own[1] * ((y - cy).atan2(x - cx) * (3.0 + (5.0 * own[2]).floor())).sin();
                    let d = (x - cx).hypot(y - cy) - size * wave;
                    let light = 0.5 - 0.5 * ((x - cx) * 0.6 + (y - cy) * 0.8) / size;
                    let shade = 0.55 + 0.45 * (light * steps).floor() / steps;
                    c = mix(c, fill.map(|v| v * shade), under(d, 0.0));
                    c = mix(c, [0.06; 3], under(d.abs(), width));
                }
                c
            })
        }
        "mesh" => {
            let spots: Vec<(f32, f32, f32, Rgb)> =
                (0..r.below(3, 7)).map(|_| (r.unit(), r.unit(), r.within(3.0, 20.0), colour(r, 0.0, 1.0))).collect();
            let film = if r.one_in(3) { 0.02 } else { 0.0 };
            Box::new(move |x, y| {
                let c = spots.iter().fold(a, |c, (cx, cy, k, fill)| mix(c, *fill, (-k * ((x - cx).powi(2) + (y - cy).powi(2))).exp()));
                c.map(|v| v + film * (noise.at(x * 300.0, y * 300.0) - 0.5))
            })
        }
        "spheres" => {
            let balls: Vec<(f32, f32, f32, Rgb)> =
                (0..r.below(1, 5)).map(|_| (r.unit(), r.within(0.3, 0.8), r.within(0.08, 0.25), colour(r, 0.1, 0.9))).collect();
            let squares = r.within(3.0, 10.0);
            Box::new(move |x, y| {
                let mut c = mix(a, [0.9, 0.93, 1.0], 1.0 - y / 0.55);
                if y > 0.55 {
                    let depth = 0.2 / (y - 0.545);
                    let odd = (((x - 0.5) * depth * squares).floor() + (depth * squares).floor()) as i32 & 1;
                    c = mix(if odd == 0 { b } else { mix(b, [1.0; 3], 0.5) }, a, depth / 12.0);
                }
                for (cx, cy, size, fill) in &balls {
                    let (dx, dy) = ((x - cx) / size, (y - cy) / size);
                    let z = 1.0 - dx * dx - dy * dy;
                    if z > 0.0 {
                        let z = z.sqrt();
                        let light = (0.5 * z - 0.5 * dx - 0.7 * dy).max(0.0);
                        let shine = (0.75 * z - 0.4 * dx - 0.5 * dy).max(0.0).powi(40);
                        c = mix(fill.map(|v| v * (0.15 + 0.9 * light)), [1.0; 3], 0.9 * shine);
                    }
                }
                c
            })
        }
        "terrain" => {
            let (size, rough, contours) = (r.within(2.0, 9.0), r.within(0.4, 0.65), r.one_in(3));
            Box::new(move |x, y| {
                let h = noise.octaves(x * size, y * size, rough);
                let slope = h - noise.octaves(x * size - 0.02, y * size - 0.02, rough);
                let ground = mix(mix(a, b, 3.0 * (h - 0.35)), [1.0; 3], 6.0 * (h - 0.62));
                let lines = if contours { under((h * 18.0).fract(), 0.12) } else { 0.0 };
                mix(ground.map(|v| v * (1.0 + 9.0 * slope)), [0.1; 3], 0.6 * lines)
            })
        }
        "dots" => {
            let (pitch, turn) = (r.within(0.012, 0.05), [0.0, 0.26, 0.785][r.below(0, 3)]);
            Box::new(move |x, y| {
                let (u, v) = ((x * f32::cos(turn) + y * f32::sin(turn)) / pitch, (y * f32::cos(turn) - x * f32::sin(turn)) / pitch);
                let tone = noise.octaves(x * 3.0, y * 3.0, 0.4);
                let d = (u - u.round()).hypot(v - v.round());
                mix([0.96, 0.94, 0.88], c, under(d, 0.62 * tone * under(0.3, tone)))
            })
        }
        "rays" => {
            let n = (8.0 + 20.0 * own[0]).floor();
            Box::new(move |x, y| {
                let (dx, dy) = (x - 0.3 - 0.4 * own[1], y - 0.3 - 0.4 * own[2]);
                let ring = (dx.hypot(dy) * (6.0 + 20.0 * own[3])).floor();
                let odd = ((dy.atan2(dx) / std::f32::consts::TAU * n).floor() + ring) as i32 & 1;
                if odd == 0 { a } else { mix(b, c, y) }
            })
        }
        "poster" => {
            let bars: Vec<(f32, f32, f32, f32)> =
                (0..r.below(8, 22)).map(|_| (r.unit(), r.unit(), r.within(0.01, 0.05), r.within(0.05, 0.25))).collect();
            let flare = own[4];
            Box::new(move |x, y| {
                let mut k = mix(a, b, y + 0.2 * (x * 7.0).sin() * flare);
                for (bx, by, w, h) in &bars {
                    // A stem, and a bowl at its side: letters, large.
                    let stem = under((x - bx).abs(), *w / 2.0) * under((y - by).abs(), *h / 2.0);
                    let bowl = under(((x - bx - h * 0.3).hypot((y - by + h * 0.2) * 1.2) - h * 0.28).abs(), *w / 2.0);
                    k = mix(k, c, stem.max(bowl));
                }
                k
            })
        }
        _ => {
            let (size, grain) = (r.within(2.0, 5.0), if r.one_in(2) { r.within(0.005, 0.03) } else { 0.0 });
            Box::new(move |x, y| {
                let bend = 0.6 * noise.octaves(x * size + 9.0, y * size, 0.5);
                let v = noise.octaves(x * size + bend, y * size + bend, 0.35);
                // Few rays a pixel leave a grain that is the render's own.
                let g = grain * (noise.at(x * 997.0, y * 991.0) - 0.5);
                mix(a.map(|v| 0.3 * v), [0.9, 0.92, 0.95], 1.8 * (v - 0.3)).map(|v| v + g)
            })
        }
    }
}
