//! Renders the pictures in `examples/`: `cargo run --release --example render`.
//!
//! Small scenes of our own with what upscalers are judged by: lettering, wood grain and cloth, pen strokes, skin-like gradients,
//! transparency, a sky of 16 bits, and a file as a generator leaves it. Every pixel is the mean of 5 x 5 samples in linear
//! light, as in a picture that was reduced from a larger one. Over 500 lines because a scene is a scene: each is one function.

// An example may stop where a library must not.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;

use lastmile::Band;
use lastmile::codec::{self, Encoding, Format, Metadata, Text};
use lastmile::color::Transfer;
use lastmile::image::Channels;

type V3 = [f32; 3];
type V2 = [f32; 2];

fn add(a: V3, b: V3) -> V3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}
fn sub(a: V3, b: V3) -> V3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}
fn mul(a: V3, s: f32) -> V3 {
    a.map(|v| v * s)
}
fn times(a: V3, b: V3) -> V3 {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2]]
}
fn dot(a: V3, b: V3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}
fn length(a: V3) -> f32 {
    dot(a, a).sqrt()
}
fn unit(a: V3) -> V3 {
    mul(a, 1.0 / length(a).max(1e-9))
}
fn cross(a: V3, b: V3) -> V3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
fn mix(a: V3, b: V3, t: f32) -> V3 {
    add(mul(a, 1.0 - t), mul(b, t))
}
fn step(from: f32, to: f32, v: f32) -> f32 {
    let t = ((v - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// 0..1, the same for the same numbers everywhere.
fn hash(x: i32, y: i32, z: i32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ (z as u32).wrapping_mul(0xC2B2_AE3D);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 12;
    h = h.wrapping_mul(0x297A_2D39);
    h ^= h >> 15;
    (h >> 8) as f32 / 16_777_216.0
}

/// Smooth value noise, 0..1.
fn noise(p: V2, layer: i32) -> f32 {
    let (x, y) = (p[0].floor(), p[1].floor());
    let (u, v) = (step(0.0, 1.0, p[0] - x), step(0.0, 1.0, p[1] - y));
    let at = |i: i32, j: i32| hash(x as i32 + i, y as i32 + j, layer);
    (at(0, 0) * (1.0 - u) + at(1, 0) * u) * (1.0 - v) + (at(0, 1) * (1.0 - u) + at(1, 1) * u) * v
}

/// Noise of several sizes, 0..1.
fn clouds(p: V2, octaves: i32) -> f32 {
    let (mut sum, mut weight, mut all, mut p) = (0.0, 0.5, 0.0, p);
    for o in 0..octaves {
        sum += weight * noise(p, o);
        all += weight;
        weight *= 0.5;
        p = [p[0] * 2.03 + p[1] * 0.11, p[1] * 2.03 - p[0] * 0.11];
    }
    sum / all
}

/// Capital letters as strokes on a grid 4 wide and 6 high, y upwards: points joined by lines, `;` lifts the pen.
fn glyph(c: char) -> &'static str {
    match c {
        'A' => "00 26 40;12 32",
        'C' => "45 36 16 05 01 10 30 41",
        'D' => "00 06 26 45 41 20 00",
        'E' => "46 06 00 40;03 33",
        'F' => "46 06 00;03 33",
        'G' => "45 36 16 05 01 10 30 41 43 23",
        'H' => "00 06;40 46;03 43",
        'I' => "20 26",
        'L' => "06 00 40",
        'M' => "00 06 23 46 40",
        'N' => "00 06 40 46",
        'O' => "10 01 05 16 36 45 41 30 10",
        'P' => "00 06 36 45 44 33 03",
        'R' => "00 06 36 45 44 33 03;23 40",
        'S' => "45 36 16 05 04 13 33 42 41 30 10 01",
        'T' => "06 46;26 20",
        'U' => "06 01 10 30 41 46",
        'Y' => "06 23 46;23 20",
        '2' => "05 16 36 45 44 00 40",
        '4' => "30 36 02 42",
        '1' => "05 26 20",
        '0' => "10 01 05 16 36 45 41 30 10;11 35",
        _ => "",
    }
}

/// How far from a stroke the light of a sign reaches, in units of a glyph; distances beyond are not looked for.
const GLOW: f32 = 9.0;

/// Distance from `p` to a line of text that starts at the origin, in units of the grid; letters are 5.6 apart.
fn text(p: V2, line: &str) -> f32 {
    let mut best = f32::MAX;
    for (i, c) in line.chars().enumerate() {
        let q = [p[0] - i as f32 * 5.6, p[1]];
        if q[0] < -GLOW || q[0] > 4.0 + GLOW {
            continue;
        }
        for stroke in glyph(c).split(';').filter(|s| !s.is_empty()) {
            let points: Vec<V2> = stroke.split(' ').map(|n| [(n.as_bytes()[0] - b'0') as f32, (n.as_bytes()[1] - b'0') as f32]).collect();
            for pair in points.windows(2) {
                best = best.min(segment(q, pair[0], pair[1]));
            }
        }
    }
    best
}

fn segment(p: V2, a: V2, b: V2) -> f32 {
    let (pa, ba) = ([p[0] - a[0], p[1] - a[1]], [b[0] - a[0], b[1] - a[1]]);
    let h = ((pa[0] * ba[0] + pa[1] * ba[1]) / (ba[0] * ba[0] + ba[1] * ba[1])).clamp(0.0, 1.0);
    (pa[0] - ba[0] * h).hypot(pa[1] - ba[1] * h)
}

/// Samples a side and pixel.
const SAMPLES: usize = 5;

/// A picture from a function of position (0..width, 0..height; y downwards) that gives linear light and coverage.
fn render(width: usize, height: usize, channels: Channels, transfer: &Transfer, at: impl Fn(f32, f32) -> [f32; 4] + Sync) -> Band {
    let rows: Vec<usize> = (0..height).collect();
    let one = |y: usize| -> Vec<[f32; 4]> {
        let mut row = Vec::with_capacity(width);
        for x in 0..width {
            let mut sum = [0f32; 4];
            for k in 0..SAMPLES * SAMPLES {
                let (i, j) = (k % SAMPLES, k / SAMPLES);
                let c = at(x as f32 + (i as f32 + 0.5) / SAMPLES as f32, y as f32 + (j as f32 + 0.5) / SAMPLES as f32);
                // Colour counts as far as it covers.
                for n in 0..3 {
                    sum[n] += c[n] * c[3];
                }
                sum[3] += c[3];
            }
            let cover = sum[3].max(1e-9);
            row.push([sum[0] / cover, sum[1] / cover, sum[2] / cover, sum[3] / (SAMPLES * SAMPLES) as f32]);
        }
        row
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = |k: usize| rows.iter().skip(k).step_by(workers).map(|&y| (y, one(y))).collect();
    let parts: Vec<Vec<(usize, Vec<[f32; 4]>)>> = std::thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> = (0..workers).map(|k| scope.spawn(move || work(k))).collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    let mut out = Band::new(0, width, height, channels.count());
    for (y, row) in parts.into_iter().flatten() {
        for c in 0..channels.count() {
            let from = if channels.has_alpha() && c + 1 == channels.count() { 3 } else { c };
            for (o, px) in out.row_mut(c, y).iter_mut().zip(&row) {
                *o = px[from].clamp(0.0, 1.0);
            }
        }
    }
    for c in 0..channels.colours() {
        transfer.encoded(out.plane_mut(c));
    }
    out
}

/// A camera's ray through a pixel.
fn ray(eye: V3, target: V3, zoom: f32, size: (usize, usize), x: f32, y: f32) -> V3 {
    let forward = unit(sub(target, eye));
    let right = unit(cross(forward, [0.0, 1.0, 0.0]));
    let up = cross(right, forward);
    let (u, v) = ((x - size.0 as f32 / 2.0) / size.1 as f32, (size.1 as f32 / 2.0 - y) / size.1 as f32);
    unit(add(add(mul(right, u), mul(up, v)), mul(forward, zoom)))
}

/// Walks a ray to the nearest surface of a distance field.
fn march(from: V3, dir: V3, most: f32, field: &impl Fn(V3) -> f32) -> Option<V3> {
    let mut t = 0.01;
    for _ in 0..160 {
        let p = add(from, mul(dir, t));
        let d = field(p);
        if d < 0.0007 * t.max(0.4) {
            return Some(p);
        }
        t += d * 0.85;
        if t > most {
            return None;
        }
    }
    None
}

fn normal(p: V3, field: &impl Fn(V3) -> f32) -> V3 {
    const E: f32 = 0.0015;
    let d = |x: f32, y: f32, z: f32| field(add(p, [x, y, z]));
    unit([d(E, 0.0, 0.0) - d(-E, 0.0, 0.0), d(0.0, E, 0.0) - d(0.0, -E, 0.0), d(0.0, 0.0, E) - d(0.0, 0.0, -E)])
}

/// How much of a large light is seen from `p`, 0..1.
fn shadow(p: V3, light: V3, softness: f32, field: &impl Fn(V3) -> f32) -> f32 {
    let (mut seen, mut t) = (1.0f32, 0.03);
    for _ in 0..48 {
        let d = field(add(p, mul(light, t)));
        seen = seen.min(0.5 + 0.5 * d / (softness * t));
        if seen <= 0.0 || t > 6.0 {
            break;
        }
        t += d.clamp(0.02, 0.25);
    }
    let s = seen.clamp(0.0, 1.0);
    s * s * (3.0 - 2.0 * s)
}

/// How open the surroundings are, 0..1.
fn openness(p: V3, n: V3, field: &impl Fn(V3) -> f32) -> f32 {
    let mut hidden = 0.0;
    let mut weight = 0.9;
    for i in 1..6 {
        let h = 0.05 * i as f32;
        hidden += (h - field(add(p, mul(n, h)))) * weight;
        weight *= 0.75;
    }
    (1.0 - 1.6 * hidden).clamp(0.0, 1.0)
}

fn rounded_box(p: V3, half: V3, r: f32) -> f32 {
    let q = [p[0].abs() - half[0] + r, p[1].abs() - half[1] + r, p[2].abs() - half[2] + r];
    length(q.map(|v| v.max(0.0))) + q[0].max(q[1]).max(q[2]).min(0.0) - r
}

fn smooth_min(a: f32, b: f32, k: f32) -> f32 {
    let h = (k - (a - b).abs()).max(0.0) / k;
    a.min(b) - h * h * k / 4.0
}

/// A table in the window's light: a printed carton, a glazed bowl, a knitted ball, wood.
fn table(width: usize, height: usize) -> Band {
    let carton = |p: V3| {
        let (s, c) = 0.42f32.sin_cos();
        let q = sub(p, [-0.62, 0.58, 0.1]);
        [q[0] * c + q[2] * s, q[1], q[2] * c - q[0] * s]
    };
    let bowl = |p: V3| {
        let q = sub(p, [0.82, 0.0, -0.28]);
        let r = q[0].hypot(q[2]);
        let shell = ((r / 1.0).hypot((q[1] - 0.62) / 1.05) - 0.56).abs() - 0.022;
        shell.max(q[1] - 0.6).max(-q[1])
    };
    let ball = |p: V3| length(sub(p, [0.62, 0.27, 0.72])) - 0.27;
    let field = move |p: V3| p[1].min(rounded_box(carton(p), [0.46, 0.58, 0.34], 0.015)).min(bowl(p) * 0.8).min(ball(p));
    let light = unit([-0.55, 0.78, 0.52]);
    let eye = [0.15, 1.75, 3.6];
    render(width, height, Channels::Rgb, &Transfer::srgb(), move |x, y| {
        let dir = ray(eye, [0.08, 0.42, 0.0], 1.55, (width, height), x, y);
        let wall = |d: V3| {
            let glow = step(-0.75, 0.6, -d[0] + d[1] * 0.6);
            mix([0.05, 0.06, 0.075], [0.36, 0.34, 0.31], glow)
        };
        let Some(p) = march(eye, dir, 12.0, &field) else {
            let c = wall(dir);
            return [c[0], c[1], c[2], 1.0];
        };
        let n = normal(p, &field);
        let mut colour;
        let (mut gloss, mut sharp) = (0.04, 24.0);
        let b = carton(p);
        let things = rounded_box(b, [0.46, 0.58, 0.34], 0.015).min(bowl(p)).min(ball(p));
        if p[1] < things {
            // Boards with grain: rings stretched along the board, pores, joints.
            let board = (p[0] * 1.9 + 40.0).floor();
            let along = [p[2] * 0.9 + hash(board as i32, 7, 1) * 31.0, p[0] * 9.0];
            let rings = (clouds(along, 4) * 24.0 + p[0] * 3.0).sin() * 0.5 + 0.5;
            let pores = step(0.60, 0.80, noise([p[0] * 120.0, p[2] * 9.0], 5));
            let tone = 0.75 + 0.5 * hash(board as i32, 3, 2);
            colour = mul(mix([0.30, 0.155, 0.075], [0.165, 0.08, 0.037], 0.75 * rings), tone * (1.0 - 0.35 * pores));
            let joint = ((p[0] * 1.9).fract() - 0.5).abs();
            colour = mul(colour, 1.0 - 0.8 * step(0.488, 0.496, joint));
            gloss = 0.06;
        } else if rounded_box(b, [0.46, 0.58, 0.34], 0.015) < 0.003 {
            // Corrugated board with print on its front.
            let fibre = 0.9 + 0.2 * noise([b[0] * 90.0 + b[2] * 90.0, b[1] * 14.0], 9);
            colour = mul([0.42, 0.275, 0.145], fibre);
            if b[2] > 0.33 {
                let (u, v) = (b[0], b[1]);
                let big = text([(u + 0.335) / 0.0165, (v - 0.23) / 0.0245], "FRAGILE");
                let small = text([(u + 0.335) / 0.0088, (v - 0.09) / 0.0115], "HANDLE GENTLY");
                let tiny = text([(u + 0.335) / 0.0066, (v - 0.0) / 0.0082], "24 PCS   LAST MILE");
                let bars = if (-0.42..-0.22).contains(&v) && u.abs() < 0.33 {
                    f32::from(u8::from(hash((u * 95.0).floor() as i32, 1, 3) > 0.52))
                } else {
                    0.0
                };
                let ring = (u - 0.17).hypot(v + 0.07);
                let frame = (u.abs() - 0.40).abs().min((v.abs() - 0.50).abs());
                let inside = u.abs() < 0.405 && v.abs() < 0.505;
                let inked = big < 0.62
                    || small < 0.58
                    || tiny < 0.52
                    || bars > 0.5
                    || (inside && frame < 0.0055)
                    || (ring - 0.075).abs() < 0.008
                    || segment([u, v], [0.12, -0.12], [0.22, -0.02]) < 0.008;
                if inked {
                    colour = if big < 0.62 { [0.40, 0.035, 0.03] } else { [0.035, 0.032, 0.03] };
                }
                let tape = (u + 0.0).abs();
                if v > 0.40 && tape < 0.09 && !inked {
                    colour = mix(colour, [0.62, 0.5, 0.33], 0.6);
                    gloss = 0.12;
                }
            }
        } else if ball(p) < 0.003 {
            // A knitted ball: two crossing waves of stitches.
            let q = unit(sub(p, [0.62, 0.27, 0.72]));
            let (u, v) = (q[0].atan2(q[2]) * 13.0, q[1].asin() * 17.0);
            let stitch = ((u + (v * 3.1).sin() * 0.28) * 3.1).sin().abs() * 0.75 + 0.25 * (v * 3.1).cos().abs();
            let stripe = step(-0.2, 0.2, (q[1] * 9.0).sin());
            colour = mul(mix([0.62, 0.12, 0.07], [0.72, 0.60, 0.42], stripe), 0.35 + 0.75 * stitch);
            gloss = 0.0;
        } else {
            let q = sub(p, [0.82, 0.0, -0.28]);
            let band = (step(0.39, 0.40, q[1]) - step(0.45, 0.46, q[1])) + (step(0.485, 0.49, q[1]) - step(0.505, 0.51, q[1]));
            let speck = step(0.80, 0.86, noise([q[0].atan2(q[2]) * 26.0, q[1] * 70.0], 4));
            colour = mix([0.55, 0.60, 0.58], [0.035, 0.09, 0.19], band.clamp(0.0, 1.0));
            colour = mul(colour, 1.0 - 0.5 * speck);
            (gloss, sharp) = (0.5, 90.0);
        }
        let lit = dot(n, light).max(0.0) * shadow(add(p, mul(n, 0.004)), light, 0.16, &field);
        let open = openness(p, n, &field);
        let sky = 0.5 + 0.5 * n[1];
        let mut c = times(colour, add(mul([2.35, 2.10, 1.78], lit), mul([0.30, 0.36, 0.46], open * (0.4 + 0.6 * sky))));
        let half = unit(sub(light, dir));
        let shine = gloss * (dot(n, half).max(0.0).powf(sharp) * lit * 2.4 + (1.0 - dot(n, mul(dir, -1.0)).max(0.0)).powi(5) * 0.35 * open);
        c = add(c, mul([1.0, 0.97, 0.92], shine));
        let far = step(4.0, 7.5, length(sub(p, eye)));
        let c = mix(c, wall(dir), far).map(|v| 1.0 - (-v * 1.12).exp());
        [c[0], c[1], c[2], 1.0]
    })
}

/// A pen drawing of a bicycle against a hatched wall; grey.
fn drawing(width: usize, height: usize) -> Band {
    let ink = |d: f32, half: f32| d < half;
    render(width, height, Channels::Grey, &Transfer::srgb(), move |x, y| {
        let s = 320.0 / width as f32;
        let p = [x * s, y * s];
        // A hand is never quite steady.
        let p =
            [p[0] + 0.8 * (clouds([p[0] / 23.0, p[1] / 23.0], 2) - 0.5), p[1] + 0.8 * (clouds([p[0] / 19.0 + 9.0, p[1] / 19.0], 2) - 0.5)];
        let mut black = false;
        let wheel = |c: V2, r: f32| {
            let (dx, dy) = (p[0] - c[0], p[1] - c[1]);
            let d = dx.hypot(dy);
            let spokes = (0..18).any(|k| {
                let a = k as f32 * std::f32::consts::TAU / 18.0 + 0.1;
                d < r && segment([dx, dy], [4.0 * (a + 1.3).cos(), 4.0 * (a + 1.3).sin()], [r * a.cos(), r * a.sin()]) < 0.42
            });
            (d - r).abs() < 1.5 || (d - r + 5.0).abs() < 0.5 || (d - 4.0).abs() < 0.8 || spokes
        };
        let (rear, front, r) = ([88.0, 158.0], [232.0, 158.0], 50.0);
        black |= wheel(rear, r) || wheel(front, r);
        let (crank, seat, head, fork) = ([148.0, 160.0], [126.0, 88.0], [210.0, 92.0], [216.0, 106.0]);
        for (a, b, half) in [
            (rear, crank, 1.3),
            (rear, seat, 1.2),
            (crank, seat, 1.9),
            (crank, fork, 1.9),
            ([129.0, 98.0], head, 1.9),
            (head, front, 1.7),
            (seat, [121.0, 74.0], 1.4),
            ([106.0, 72.0], [139.0, 74.0], 3.0),
            (head, [206.0, 74.0], 1.5),
            ([206.0, 74.0], [226.0, 68.0], 1.8),
            ([226.0, 68.0], [234.0, 80.0], 1.8),
            (crank, [140.0, 179.0], 1.2),
            ([132.0, 179.0], [148.0, 179.0], 1.5),
            (crank, [156.0, 141.0], 1.2),
            ([149.0, 141.0], [164.0, 141.0], 1.5),
            ([88.0, 153.5], [148.0, 150.5], 0.5),
            ([88.0, 162.5], [148.0, 169.5], 0.5),
        ] {
            black |= ink(segment(p, a, b), half);
        }
        black |= ((p[0] - crank[0]).hypot(p[1] - crank[1]) - 9.5).abs() < 1.0;
        // Basket with a woven front.
        let basket = (222.0..252.0).contains(&p[0]) && (82.0..108.0).contains(&p[1]);
        if basket {
            let (u, v) = ((p[0] - 222.0) / 3.75, (p[1] - 82.0) / 3.7);
            let over = (u.floor() as i32 + v.floor() as i32) % 2 == 0;
            let line = if over { (u.fract() - 0.5).abs() < 0.15 } else { (v.fract() - 0.5).abs() < 0.15 };
            black = line || p[1] < 84.0 || p[1] > 106.0 || p[0] < 223.4 || p[0] > 250.6;
        }
        // Ground, shadow and wall by hatching.
        let ground = 209.0;
        black |= ink((p[1] - ground - 0.8 * (p[0] / 37.0).sin()).abs(), 0.8);
        let under = (p[0] - 160.0).abs() / 150.0 + (p[1] - 216.0).abs() / 9.0 < 1.0 && p[1] > ground;
        black |= under && ((p[0] * 0.9 + p[1] * 1.6) / 4.2).fract() < 0.26;
        let brick = |u: f32, v: f32| {
            let row = (v / 13.0).floor();
            let (bx, by) = (((u + row * 13.0) / 26.0).fract() * 26.0, (v / 13.0).fract() * 13.0);
            let kept = hash(((u + row * 13.0) / 26.0).floor() as i32, row as i32, 8);
            kept > 0.55 && (bx.min(26.0 - bx) < 0.45 || by.min(13.0 - by) < 0.45 || (kept > 0.82 && ((u + v) / 3.3).fract() < 0.16))
        };
        let behind = p[1] < 196.0 && step(0.40, 0.62, clouds([p[0] / 90.0, p[1] / 70.0 + 3.0], 3)) > 0.5;
        let clear = (p[0] - rear[0]).hypot(p[1] - rear[1]) > r + 3.0 && (p[0] - front[0]).hypot(p[1] - front[1]) > r + 3.0;
        black |= behind && clear && !basket && brick(p[0], p[1]);
        let sign = text([(p[0] - 22.0) / 1.9, (38.0 - p[1]) / 1.9], "LAST MILE");
        let plate = (14.0..128.0).contains(&p[0]) && (18.0..46.0).contains(&p[1]);
        if plate {
            let edge = (p[0] - 14.0).min(128.0 - p[0]).min(p[1] - 18.0).min(46.0 - p[1]);
            black = sign < 0.52 || edge < 1.1 || (edge - 3.0).abs() < 0.4;
        }
        let v = if black { 0.006 } else { 0.90 + 0.04 * clouds([p[0] / 40.0, p[1] / 40.0], 3) };
        [v, v, v, 1.0]
    })
}

/// A sculpted head in soft light: long gradients, a few fine things.
fn study(width: usize, height: usize) -> Band {
    let ellipsoid = |p: V3, c: V3, r: V3| {
        let q = sub(p, c);
        let k0 = length([q[0] / r[0], q[1] / r[1], q[2] / r[2]]);
        let k1 = length([q[0] / (r[0] * r[0]), q[1] / (r[1] * r[1]), q[2] / (r[2] * r[2])]);
        k0 * (k0 - 1.0) / k1.max(1e-6)
    };
    let skin = move |p: V3| {
        let m = [p[0].abs(), p[1], p[2]];
        let mut d = ellipsoid(p, [0.0, 0.22, -0.06], [0.52, 0.60, 0.58]);
        d = smooth_min(d, ellipsoid(p, [0.0, -0.16, 0.10], [0.36, 0.44, 0.40]), 0.22);
        d = smooth_min(d, ellipsoid(p, [0.0, -0.46, 0.26], [0.15, 0.11, 0.14]), 0.18);
        d = smooth_min(d, ellipsoid(m, [0.25, -0.10, 0.30], [0.13, 0.11, 0.12]), 0.2);
        // Brow, sockets, nose, lips.
        d = smooth_min(d, ellipsoid(m, [0.17, 0.17, 0.45], [0.16, 0.05, 0.08]), 0.12);
        d = -smooth_min(-d, ellipsoid(m, [0.18, 0.065, 0.56], [0.12, 0.07, 0.09]), 0.10);
        d = smooth_min(d, ellipsoid(p, [0.0, 0.0, 0.52], [0.055, 0.20, 0.08]), 0.07);
        d = smooth_min(d, ellipsoid(p, [0.0, -0.135, 0.585], [0.075, 0.055, 0.075]), 0.06);
        d = smooth_min(d, ellipsoid(m, [0.065, -0.15, 0.54], [0.045, 0.035, 0.05]), 0.04);
        d = smooth_min(d, ellipsoid(p, [0.0, -0.285, 0.485], [0.125, 0.032, 0.06]), 0.035);
        d = smooth_min(d, ellipsoid(p, [0.0, -0.335, 0.475], [0.105, 0.036, 0.06]), 0.025);
        d = smooth_min(d, ellipsoid(m, [0.53, 0.02, -0.08], [0.05, 0.13, 0.09]), 0.05);
        let neck = (p[0].hypot(p[2] + 0.08) - 0.27).max(-1.6 - p[1]).max(p[1] + 0.2);
        d = smooth_min(d, neck, 0.14);
        smooth_min(d, ellipsoid(m, [0.42, -1.32, -0.12], [0.62, 0.40, 0.40]), 0.25)
    };
    let lids = move |p: V3| {
        let m = [p[0].abs(), p[1], p[2]];
        length(sub(m, [0.185, 0.055, 0.44])) - 0.105
    };
    let field = move |p: V3| smooth_min(skin(p), lids(p), 0.02);
    let (key, rim) = (unit([-0.62, 0.52, 0.62]), unit([0.85, 0.25, -0.55]));
    let eye = [0.0, 0.0, 4.4];
    render(width, height, Channels::Rgb, &Transfer::srgb(), move |x, y| {
        let dir = ray(eye, [0.05, -0.2, 0.0], 2.05, (width, height), x, y);
        let back = {
            let v = step(1.1, -0.1, ((x / width as f32) - 0.30).hypot((y / height as f32) - 0.36));
            mix([0.018, 0.026, 0.034], [0.17, 0.20, 0.205], v)
        };
        let turn = |p: V3| {
            let (s, c) = 0.42f32.sin_cos();
            [p[0] * c - p[2] * s, p[1], p[0] * s + p[2] * c]
        };
        let turned = move |p: V3| field(turn(p));
        let Some(p) = march(eye, dir, 8.0, &turned) else { return [back[0], back[1], back[2], 1.0] };
        let n = normal(p, &turned);
        let q = turn(p);
        let m = [q[0].abs(), q[1], q[2]];
        let mut colour = [0.50, 0.255, 0.165];
        colour = mix(colour, [0.53, 0.17, 0.12], 0.55 * step(0.24, 0.0, length(sub(m, [0.27, -0.10, 0.40]))));
        colour = mix(colour, [0.50, 0.17, 0.12], 0.5 * step(0.13, 0.0, length(sub(q, [0.0, -0.13, 0.62]))));
        let mouth = (q[0] / 0.135).hypot((q[1] + 0.31) / 0.058);
        if q[2] > 0.40 {
            colour = mix(colour, [0.36, 0.075, 0.07], 0.75 * step(1.05, 0.85, mouth));
            let line = (q[1] + 0.309 + 0.012 * (q[0] * 18.0).cos()).abs();
            colour = mul(colour, 1.0 - 0.75 * step(0.009, 0.002, line) * step(0.13, 0.11, q[0].abs()));
            // Freckles, pores, brows, closed lids with lashes.
            let cell = [(q[0] * 44.0).floor(), (q[1] * 44.0).floor()];
            let chance = |k: i32| hash(cell[0] as i32, cell[1] as i32, k);
            let off = (q[0] * 44.0 - cell[0] - 0.3 - 0.4 * chance(1)).hypot(q[1] * 44.0 - cell[1] - 0.3 - 0.4 * chance(2));
            let freckle = step(0.28, 0.08, off)
                * step(0.50, 0.60, chance(3))
                * (0.35 + 0.65 * chance(4))
                * step(0.27, 0.10, (q[1] + 0.05).abs() + 0.3 * (q[0].abs() - 0.2).abs());
            colour = mul(colour, 1.0 - 0.38 * freckle);
            let across = m[0] * 170.0 + q[1] * 150.0;
            let hairs = 0.40 + 0.60 * clouds([across, q[1] * 26.0 - m[0] * 30.0], 2);
            let arch = q[1] - 0.215 + 1.1 * (m[0] - 0.19) * (m[0] - 0.19) + 0.016 * (noise([across * 0.8, 4.0], 5) - 0.5);
            let brow = step(0.027, 0.006, arch.abs()) * step(0.03, 0.10, m[0]) * step(0.34, 0.24, m[0]);
            colour = mix(colour, [0.035, 0.02, 0.014], brow * hairs);
            let lid = q[1] - 0.005 - 0.9 * (m[0] - 0.185) * (m[0] - 0.185) * 3.2;
            let lash = step(0.007, 0.002, lid.abs()) * step(0.115, 0.10, (m[0] - 0.185).abs());
            let each = step(0.0, -0.03, lid)
                * step(-0.036, -0.028, lid)
                * step(0.3, 0.8, (m[0] * 260.0 + lid * 160.0).sin())
                * step(0.11, 0.09, (m[0] - 0.185).abs());
            colour = mix(colour, [0.03, 0.018, 0.014], (lash + 0.8 * each).clamp(0.0, 1.0));
        }
        colour = mul(colour, 0.97 + 0.06 * clouds([q[0] * 60.0, q[1] * 60.0], 2));
        // A close cap of combed hair.
        let line = q[1] - 0.46 + 0.30 * q[0] * q[0] + (0.30 - q[2]).max(0.0) * 1.05;
        let nape = q[1] + 0.30 + 0.25 * (q[2] + 0.3).max(0.0);
        let ear = length(sub(m, [0.53, 0.02, -0.08])) - 0.13;
        if line > 0.0 && nape > 0.0 && ear > 0.0 {
            let strand = clouds([(q[0] * 3.0 + q[2] * 1.6 + q[1] * 0.6) * 22.0, q[1] * 3.0 + q[2] * 4.0], 3);
            colour =
                mix(colour, mul(mix([0.028, 0.016, 0.011], [0.17, 0.085, 0.04], strand), 1.0), step(0.0, 0.035, line.min(nape).min(ear)));
        }
        if q[1] < -1.02 + 0.10 * (q[0] * 2.0).cos() {
            let rib = 0.86 + 0.14 * (q[0] * 150.0).sin() * (q[1] * 110.0).cos();
            colour = mul([0.06, 0.105, 0.125], rib);
        }
        let wrap = |l: V3, w: f32| ((dot(n, l) + w) / (1.0 + w)).max(0.0);
        let seen = shadow(add(p, mul(n, 0.01)), key, 0.35, &turned);
        let open = openness(p, n, &turned);
        let mut light = times([2.3, 2.05, 1.8], [wrap(key, 0.12) * seen, wrap(key, 0.05) * seen, wrap(key, 0.02) * seen]);
        light = add(light, mul([0.16, 0.21, 0.28], open * (0.6 + 0.4 * n[1])));
        light = add(light, mul([0.50, 0.62, 0.78], wrap(rim, 0.0) * open));
        let mut c = times(colour, light);
        let half = unit(sub(key, dir));
        c = add(c, mul([1.0, 0.95, 0.9], 0.05 * dot(n, half).max(0.0).powf(22.0) * seen));
        let c = c.map(|v| 1.0 - (-v * 1.25).exp());
        [c[0], c[1], c[2], 1.0]
    })
}

/// The mark and the name on nothing.
fn logo(width: usize, height: usize) -> Band {
    render(width, height, Channels::Rgba, &Transfer::srgb(), move |x, y| {
        let (u, v) = ((x - 64.0) / 52.0, (y - height as f32 / 2.0) / 52.0);
        let r = u.hypot(v);
        let a = v.atan2(u);
        // A road that runs round and leaves as an arrow.
        let ring = (r - 0.72).abs() < 0.20 && !(-0.95..0.05).contains(&a);
        let lane = (r - 0.72).abs() < 0.022 && ring && (a * 5.0 + 0.4).rem_euclid(1.0) < 0.55;
        let shaft = segment([u, v], [0.69, -0.06], [0.95, -0.72]) < 0.20 && v < 0.0;
        let tip = [(u - 1.02) * 0.94 + (v + 0.92) * 0.36, (v + 0.92) * 0.94 - (u - 1.02) * 0.36];
        let head = tip[1] > -0.10 && tip[1] < 0.42 && tip[0].abs() < 0.02 + 0.98 * (tip[1] + 0.10);
        let word = text([(x - 140.0) / 5.1, (height as f32 / 2.0 + 10.0 - y) / 5.1], "LAST");
        let word2 = text([(x - 140.0) / 3.1, (height as f32 / 2.0 + 48.0 - y) / 3.1], "MILE");
        let glass = (x - 236.0).hypot(y - height as f32 / 2.0 - 38.0);
        if lane {
            return [1.0, 0.93, 0.82, 1.0];
        }
        if head || shaft || ring {
            let c = mix([0.83, 0.10, 0.045], [0.95, 0.36, 0.03], step(-0.9, 0.9, -v));
            return [c[0], c[1], c[2], 1.0];
        }
        if word < 0.62 {
            return [0.012, 0.022, 0.045, 1.0];
        }
        if word2 < 0.42 {
            return [0.83, 0.10, 0.045, 1.0];
        }
        // A sheer disc, to see half transparency.
        if glass < 13.0 {
            return [0.06, 0.30, 0.55, 0.45];
        }
        [0.0, 0.0, 0.0, 0.0]
    })
}

/// Dusk over hills: the gradients are finer than 8 bits.
fn sky(width: usize, height: usize) -> Band {
    render(width, height, Channels::Rgb, &Transfer::srgb(), move |x, y| {
        let (u, v) = (x / width as f32, y / height as f32);
        let up = (0.80 - v).max(0.0) / 0.80;
        let mut c = mix([0.72, 0.285, 0.10], [0.40, 0.30, 0.33], step(0.0, 0.28, up));
        c = mix(c, [0.085, 0.15, 0.31], step(0.15, 0.70, up));
        c = mix(c, [0.016, 0.032, 0.095], step(0.55, 1.05, up));
        let sun = ((u - 0.68) * 1.45).hypot((v - 0.71) * 1.0);
        c = add(c, mul([1.0, 0.52, 0.16], 0.62 * (-sun * sun * 38.0).exp() + 0.16 * (-sun * 4.2).exp()));
        if sun < 0.022 {
            c = add(c, mul([1.0, 0.75, 0.40], step(0.022, 0.019, sun)));
        }
        // Streaks of cloud, lit from below.
        let at = [u * 5.2 + v * 1.2, v * 21.0];
        let cover = step(0.52, 0.82, clouds(at, 6)) * step(0.78, 0.58, v) * step(0.02, 0.25, v);
        let below = clouds([at[0], at[1] + 0.5], 5) - clouds(at, 5);
        let cloud =
            mix([0.17, 0.135, 0.19], [0.86, 0.40, 0.22], (0.5 + 2.2 * below + 0.35 * (0.6 - sun)).clamp(0.0, 1.0) * step(1.0, 0.15, up));
        c = mix(c, cloud, 0.75 * cover);
        // Stars, where it is dark enough.
        let cell = [(x / 6.0).floor() as i32, (y / 6.0).floor() as i32];
        if hash(cell[0], cell[1], 11) > 0.972 && up > 0.62 {
            let (sx, sy) = (hash(cell[0], cell[1], 12) * 4.0 + 1.0, hash(cell[0], cell[1], 13) * 4.0 + 1.0);
            let d = (x - cell[0] as f32 * 6.0 - sx).hypot(y - cell[1] as f32 * 6.0 - sy);
            c = add(c, mul([0.9, 0.93, 1.0], 0.7 * hash(cell[0], cell[1], 14) * step(0.8, 0.1, d) * step(0.62, 0.85, up)));
        }
        for (k, (base, tone)) in
            [(0.755, [0.155, 0.105, 0.125]), (0.80, [0.062, 0.050, 0.068]), (0.865, [0.014, 0.014, 0.020])].into_iter().enumerate()
        {
            let k = k as f32;
            let ridge = base - 0.075 * (clouds([u * (3.0 + 1.7 * k) + 7.0 * k, 0.5], 5) - 0.35);
            let tree = if k > 1.5 { 0.022 * (clouds([u * 75.0, 3.0], 2)).powi(2) } else { 0.0 };
            if v > ridge - tree {
                c = mix(tone, mul(tone, 0.55), step(ridge, ridge + 0.14, v));
            }
        }
        let c = c.map(|v| 1.0 - (-v * 1.35).exp());
        [c[0], c[1], c[2], 1.0]
    })
}

/// A street at night in Display P3: lit windows, signs, a wet road.
fn street(width: usize, height: usize) -> Band {
    let horizon = 0.66;
    let front = move |u: f32, v: f32| -> V3 {
        let mut c = mix([0.02, 0.03, 0.075], [0.16, 0.055, 0.14], step(0.0, horizon, v));
        // Houses, the near ones later.
        for layer in 0..3 {
            let k = layer as f32;
            let wide = 0.16 - 0.012 * k;
            let slot = ((u + 0.07 * k) / wide).floor();
            let inside = ((u + 0.07 * k) / wide).fract();
            let tall = horizon - (0.18 + 0.34 * hash(slot as i32, layer, 21)) * (0.62 + 0.22 * k);
            if v < tall || inside < 0.02 {
                continue;
            }
            let tone = mix([0.055, 0.04, 0.085], [0.018, 0.018, 0.034], k / 2.0);
            c = mul(tone, 0.8 + 0.4 * hash(slot as i32, layer, 22));
            c = mul(c, 0.9 + 0.2 * noise([u * 240.0, v * 300.0], 2));
            if inside > 0.96 || v < tall + 0.006 {
                c = mul(c, 1.7);
            }
            let (wx, wy) = (0.0125 + 0.0022 * k, 0.021 + 0.003 * k);
            let (i, j) = (((inside - 0.08) * wide / wx).floor(), ((v - tall - 0.016) / wy).floor());
            let (fx, fy) = (((inside - 0.08) * wide / wx).fract(), ((v - tall - 0.016) / wy).fract());
            let there = inside > 0.08 && inside < 0.94 && v > tall + 0.016 && v < horizon - 0.075;
            if there && (0.2..0.82).contains(&fx) && (0.2..0.80).contains(&fy) {
                let lit = hash((slot * 31.0 + i) as i32, j as i32, 30 + layer);
                let kind = hash((slot * 17.0 + i) as i32, j as i32, 40 + layer);
                let warm = mix([1.0, 0.58, 0.20], [0.72, 0.86, 1.0], f32::from(u8::from(kind > 0.8)));
                let blind = if kind < 0.3 { step(0.55, 0.50, fy) } else { 1.0 };
                c = if lit > 0.52 { mul(warm, (0.25 + 0.9 * (lit - 0.52)) * (0.25 + 0.75 * blind)) } else { [0.012, 0.018, 0.034] };
                if (fx - 0.51).abs() < 0.045 {
                    c = mul(c, 0.3);
                }
            }
        }
        // Shop fronts and signs.
        if v > horizon - 0.068 && v < horizon - 0.008 {
            let shop = (u / 0.11).floor();
            let inside = (u / 0.11).fract();
            let hue = hash(shop as i32, 4, 50);
            let glow = if hue < 0.35 {
                [1.0, 0.36, 0.16]
            } else if hue < 0.7 {
                [0.95, 0.80, 0.46]
            } else {
                [0.28, 0.72, 0.92]
            };
            if (0.06..0.94).contains(&inside) {
                let goods = noise([u * 190.0, v * 160.0], 6);
                c = mul(glow, 0.22 + 0.55 * goods * step(horizon - 0.068, horizon - 0.03, v));
                if (inside * 5.0).fract() < 0.05 {
                    c = [0.02, 0.02, 0.03];
                }
            }
        }
        let neon = |d: f32, colour: V3, c: V3| {
            let tube = step(0.75, 0.45, d);
            let haze = (-d * 0.55).exp() * 0.55 * step(GLOW, 0.3 * GLOW, d);
            mix(add(c, mul(colour, haze)), mix(colour, [1.0, 1.0, 1.0], 0.55), tube)
        };
        let hotel = text([(u - 0.145) / 0.0072, (0.335 - v) / 0.0098], "HOTEL");
        c = neon(hotel, [1.0, 0.02, 0.28], c);
        let open = text([(u - 0.585) / 0.0062, (0.478 - v) / 0.0084], "OPEN 24");
        c = neon(open, [0.0, 0.95, 0.55], c);
        let noodle = text([(u - 0.395) / 0.0050, (0.548 - v) / 0.0068], "LAST MILE");
        neon(noodle, [0.10, 0.45, 1.0], c)
    };
    render(width, height, Channels::Rgb, &Transfer::srgb(), move |x, y| {
        let (u, v) = (x / width as f32, y / width as f32 * 1.5);
        let mut c = front(u, v);
        if v > horizon {
            // The wet road mirrors what stands above it, broken by ripples and stones.
            let depth = v - horizon;
            let ripple = (clouds([u * 90.0, depth * 420.0 / (0.15 + depth * 2.0)], 3) - 0.5) * 0.035 * (0.3 + depth * 3.0);
            let mirror = front(u + ripple, horizon - depth * 0.92 + ripple * 1.5);
            let wet = step(0.30, 0.62, clouds([u * 9.0, depth * 30.0], 4));
            let stone = 0.75 + 0.5 * noise([u * 60.0 / (0.25 + depth), 14.0 / (0.06 + depth)], 8);
            c = add(mul([0.020, 0.021, 0.032], stone), mul(mirror, 0.22 + 0.5 * wet));
            if depth < 0.012 {
                c = mul([0.06, 0.055, 0.07], 0.8 + 0.4 * noise([u * 200.0, 1.0], 3));
            }
        }
        // A lamp and somebody under an umbrella.
        let lamp = segment([u, v], [0.885, 0.735], [0.885, 0.36]);
        if lamp < 0.0035 || segment([u, v], [0.885, 0.365], [0.862, 0.352]) < 0.003 {
            c = [0.008, 0.008, 0.012];
        }
        let bulb = (u - 0.858).hypot(v - 0.360);
        c = add(c, mul([1.0, 0.72, 0.36], 0.9 * (-bulb * 26.0).exp() + step(0.009, 0.006, bulb)));
        let (px, py) = (u - 0.742, v - 0.665);
        let brolly = (px.hypot(py + 0.030) < 0.046 && py < -0.030 + 0.010 * (px * 230.0).sin().abs())
            || (px.abs() < 0.0014 && (-0.08..0.0).contains(&py));
        let body = segment([px, py], [0.004, -0.012], [0.004, 0.052]) < 0.0125 || (px - 0.004).hypot(py + 0.026) < 0.0095;
        let legs = segment([px, py], [0.0, 0.05], [-0.004, 0.094]) < 0.0042 || segment([px, py], [0.008, 0.05], [0.011, 0.094]) < 0.0042;
        if body || legs {
            c = [0.010, 0.010, 0.016];
        }
        if brolly {
            c = mul([0.62, 0.02, 0.05], 0.55 + 0.45 * step(0.05, -0.05, px));
        }
        let c = c.map(|v| 1.0 - (-v * 1.5).exp());
        [c[0], c[1], c[2], 1.0]
    })
}

/// What a generator writes beside its picture, made up for this one.
fn generated(width: usize, height: usize) -> Metadata {
    let parameters = format!(
        "night street after rain, neon signs, wet cobblestones, someone under a red umbrella\n\
         Negative prompt: blurry, text errors\n\
         Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 20261121, Size: {width}x{height}, Model hash: 0000000000, Model: example"
    );
    let prompt = r#"{"3":{"class_type":"KSampler","inputs":{"seed":20261121,"steps":28,"cfg":6.5,"sampler_name":"dpmpp_2m"}}}"#;
    let workflow = r#"{"last_node_id":3,"nodes":[{"id":3,"type":"KSampler"}],"links":[],"version":0.4}"#;
    Metadata {
        icc: Some(moxcms::ColorProfile::new_display_p3().encode().unwrap()),
        text: vec![Text::new("parameters", parameters), Text::new("prompt", prompt), Text::new("workflow", workflow)],
        ..Metadata::default()
    }
}

/// Name, pixels, bits and metadata of every picture.
pub fn pictures() -> [(&'static str, Band, u8, Metadata); 6] {
    let plain = Metadata::default;
    [
        ("table.png", table(360, 270), 8, plain()),
        ("drawing.png", drawing(320, 240), 8, plain()),
        ("study.jpg", study(288, 360), 8, plain()),
        ("logo.png", logo(300, 132), 8, plain()),
        ("sky.png", sky(384, 256), 16, plain()),
        ("street.png", street(384, 256), 8, generated(384, 256)),
    ]
}

/// Writes a picture.
pub fn save(path: &Path, band: &Band, bits: u8, metadata: &Metadata) {
    let format = Format::from_path(path).unwrap();
    let how = Encoding { format, quality: 92, lossless: false, bits, ..Encoding::default() };
    let channels = Channels::of(if band.channels < 3 { 1 } else { 3 }, band.channels.is_multiple_of(2));
    let mut encoder = codec::encoder(path, &how, band.width, band.rows, channels, metadata).unwrap();
    encoder.write(band).unwrap();
    println!("{} {}x{}, {} bytes", path.display(), band.width, band.rows, encoder.finish().unwrap());
}

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for (name, band, bits, metadata) in pictures() {
        save(&folder.join(name), &band, bits, &metadata);
    }
}
