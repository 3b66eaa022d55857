//! Clean pictures that look like defects: what a detector must leave alone.

use lastmile::inspect::plane::Plane;

use super::cases::{Colour, each, filled, luma};
use super::random::Random;

/// The kinds.
pub const HARD: [&str; 13] =
    ["grain", "halftone", "stars", "dither", "brick", "text", "weave", "cel", "pixel", "bokeh", "high_key", "low_key", "sharpened"];

/// A clean picture of a kind, from a photograph where the kind needs one.
pub fn make(kind: &str, photo: &Colour, r: &mut Random) -> Colour {
    let (w, h) = (photo[0].width, photo[0].height);
    let grey = |p: Plane, tint: [f32; 3]| -> Colour { tint.map(|t| p.map(|v| v * t)) };
    match kind {
        "grain" => {
            let (sigma, amount) = (r.within(0.4, 1.1), r.within(3.0, 7.0) / 255.0);
            let n = r.soft_noise(w, h, sigma).zip(&luma(photo), |n, y| n * amount * (0.4 + 1.2 * (y * (1.0 - y)).max(0.0).sqrt()));
            each(photo, |p| p.zip(&n, |v, n| v + n))
        }
        "halftone" => {
            let (period, angle) = (r.within(5.0, 9.0), r.within(0.2, 0.8));
            let (s, c) = angle.sin_cos();
            let y = luma(photo).blur(3.0);
            let k = std::f32::consts::TAU / period;
            let dots = filled(w, h, |x, yy| 0.5 + 0.25 * (((x * c + yy * s) * k).cos() + ((-x * s + yy * c) * k).cos()));
            grey(y.zip(&dots, |y, t| ((y - t) * 4.0 + 0.5).clamp(0.0, 1.0)), [1.0; 3])
        }
        "stars" => {
            let mut stars = Plane::new(w, h);
            for _ in 0..r.below(120, 400) {
                let at = r.below(0, h) * w + r.below(0, w);
                stars.data[at] = -3.0 * (1.0 - r.unit()).ln();
            }
            let sky = filled(w, h, |_, y| 0.02 + 0.03 * y / h as f32);
            let stars = stars.blur(0.9);
            let noise = r.noise(w, h);
            grey(sky.zip(&stars, |a, b| (a + b).min(1.0)).zip(&noise, |v, n| v + n * 0.7 / 255.0), [1.0, 1.0, 1.1])
        }
        "dither" => {
            let ramp = filled(w, h, |x, y| 0.3 + 0.3 * y / h as f32 + 0.1 * x / w as f32);
            let noise = filled(w, h, |_, _| (r.unit() - 0.5) * 1.5 / 255.0);
            [0.8, 0.95, 1.1].map(|t| ramp.zip(&noise, |v, n| v * t + n))
        }
        "brick" => {
            let (bh, bw) = (r.below(14, 26) as f32, r.below(34, 60) as f32);
            let tones: Vec<f32> = (0..4096).map(|_| r.within(0.8, 1.2)).collect();
            let rough = r.soft_noise(w, h, 1.0);
            let wall = filled(w, h, |x, y| {
                let row = (y / bh) as usize;
                let shifted = x + (row % 2) as f32 * bw / 2.0;
                if y % bh < 2.0 || shifted % bw < 2.0 { 0.75 } else { 0.45 * tones[(row * 37 + (shifted / bw) as usize) % 4096] }
            });
            grey(wall.zip(&rough, |v, n| v + 0.03 * n).blur(0.6), [1.0, 0.6, 0.5])
        }
        "text" => grey(text(w, h, r), [1.0; 3]),
        "weave" => {
            let p = r.within(6.0, 14.0);
            let k = std::f32::consts::TAU / p;
            let rough = r.soft_noise(w, h, 1.5);
            let cloth = filled(w, h, |x, y| 0.5 + 0.2 * ((x * k).sin() * (y * k).sin()).signum() * (2.0 * x * k).sin().abs());
            grey(cloth.zip(&rough, |v, n| v + 0.02 * n).blur(0.7), [0.9, 0.8, 0.6])
        }
        "cel" => {
            let soft = each(photo, |p| p.blur(2.0).map(|v| (v * 5.0).round() / 5.0));
            let slope = luma(photo).blur(1.5).slope();
            each(&soft, |p| p.zip(&slope, |v, s| if s > 0.035 { 0.05 } else { v }).blur(0.6))
        }
        "pixel" => {
            let b = r.below(4, 9);
            each(photo, |p| {
                let small = p.cells(b).map(|v| (v * 7.0).round() / 7.0);
                filled(w, h, |x, y| {
                    small.data[(y as usize / b).min(small.height - 1) * small.width + (x as usize / b).min(small.width - 1)]
                })
            })
        }
        "bokeh" => {
            let mut out = each(photo, |p| p.blur(12.0).map(|v| v * 0.5));
            for _ in 0..40 {
                let (cx, cy, radius) = (r.unit() * w as f32, r.unit() * h as f32, r.within(8.0, 30.0));
                let (light, tint) = (r.within(0.1, 0.4), [r.within(0.5, 1.0), r.within(0.5, 1.0), r.within(0.5, 1.0)]);
                let reach = radius as isize + 2;
                for y in (cy as isize - reach).max(0)..(cy as isize + reach).min(h as isize) {
                    for x in (cx as isize - reach).max(0)..(cx as isize + reach).min(w as isize) {
                        let d = (x as f32 - cx).hypot(y as f32 - cy);
                        let cover = ((radius - d) / 1.6 + 0.5).clamp(0.0, 1.0);
                        for (c, t) in tint.iter().enumerate() {
                            out[c].data[y as usize * w + x as usize] += cover * light * t;
                        }
                    }
                }
            }
            if r.one_in(2) {
                for (o, p) in out.iter_mut().zip(photo) {
                    for y in 0..h {
                        o.row_mut(y)[..w * 2 / 5].copy_from_slice(&p.row(y)[..w * 2 / 5]);
                    }
                }
            }
            out
        }
        "high_key" => each(photo, |p| p.map(|v| 1.0 - (1.0 - v) * 0.35)),
        "low_key" => each(photo, |p| p.map(|v| v * 0.25)),
        _ => each(photo, |p| p.zip(&p.blur(1.2), |v, m| v + 0.5 * (v - m))),
    }
}

/// Lines of made-up letters, each of a few strokes, dark on paper.
fn text(w: usize, h: usize, r: &mut Random) -> Plane {
    let mut ink = Plane::new(w, h);
    let size = r.within(7.0, 13.0);
    let mut line = |x0: f32, y0: f32, x1: f32, y1: f32| {
        let steps = ((x1 - x0).hypot(y1 - y0) * 3.0).ceil().max(1.0) as usize;
        for i in 0..=steps {
            let t = i as f32 / steps as f32;
            let (x, y) = (x0 + (x1 - x0) * t, y0 + (y1 - y0) * t);
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let (px, py) = (x.floor() as isize + dx, y.floor() as isize + dy);
                let cover = (1.0 - (x - px as f32).abs()).max(0.0) * (1.0 - (y - py as f32).abs()).max(0.0);
                if px >= 0 && py >= 0 && (px as usize) < w && (py as usize) < h {
                    let v = &mut ink.data[py as usize * w + px as usize];
                    *v = v.max(cover.min(1.0));
                }
            }
        }
    };
    let mut y = size * 1.5;
    while y < h as f32 {
        let mut x = 8.0;
        while x + size < w as f32 {
            if !r.one_in(6) {
                let point = |r: &mut Random| (x + size * 0.3 * r.below(0, 3) as f32, y - size * 0.5 * r.below(0, 3) as f32);
                for _ in 0..r.below(2, 5) {
                    let ((ax, ay), (bx, by)) = (point(r), point(r));
                    line(ax, ay, bx, by);
                }
            }
            x += size * 0.85;
        }
        y += size * 1.9;
    }
    ink.map(|v| 0.96 - 0.88 * v)
}
