//! Controlled defects: a clean picture, a source made from it in a way the detectors cannot know, and one defect in the result.
//!
//! Kinds, variants and strengths are those of the project's detection notes. Over 500 lines because the kinds are one table.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use lastmile::inspect::Picture;
use lastmile::inspect::plane::Plane;
use lastmile::resample::Filter;
use zune_jpeg::JpegDecoder;

use super::random::{Random, unit_deviation};
use super::{hard, rendered};

/// Red, green, blue; display-encoded 0..1.
pub type Colour = [Plane; 3];

/// Side of the square cut from every photograph.
pub const SIDE: usize = 384;

/// Enlargement of all cases.
pub const SCALE: usize = 4;

/// One test case.
pub struct Case {
    /// A detector's name, or `clean`.
    pub kind: &'static str,
    /// The variant of the defect, or the type of the clean picture.
    pub variant: &'static str,
    /// 1, 2, 3; 0 for clean ones.
    pub strength: usize,
    pub result: Picture,
    pub source: Picture,
    /// Where the defect is, if it has a place.
    pub mask: Option<Plane>,
}

/// All variants of all kinds.
pub const KINDS: [(&str, &[&str]); 14] = [
    ("hallucination", &["foreign", "worm", "warp", "object"]),
    ("micro_noise", &["white", "correlated", "chroma", "speckle"]),
    ("halo", &["usm", "ringing"]),
    ("repetition", &["clone"]),
    ("plastic", &["guided"]),
    ("checkerboard", &["p2", "p4", "p8"]),
    ("seam", &["offset", "sharpness", "shift"]),
    ("blocking", &["g8", "g16"]),
    ("banding", &["levels"]),
    ("pixel_blob", &["mosaic", "dead"]),
    ("colour_shift", &["global", "local"]),
    ("clipping", &["high", "low"]),
    ("gan", &["droplet", "rainbow", "grid"]),
    ("blur", &["patch"]),
];

/// What covers the whole picture, so that no part of it shows what is usual: kind `whole`, these variants.
pub const WHOLE: [&str; 6] = ["usm", "ringing", "sinc", "plastic", "noise", "speckle"];

pub fn luma(c: &Colour) -> Plane {
    let mut y = c[0].zip(&c[1], |r, g| 0.2126 * r + 0.7152 * g);
    y.data.iter_mut().zip(&c[2].data).for_each(|(y, b)| *y += 0.0722 * b);
    y
}

pub fn each(c: &Colour, f: impl Fn(&Plane) -> Plane) -> Colour {
    std::array::from_fn(|i| f(&c[i]))
}

pub fn filled(w: usize, h: usize, mut f: impl FnMut(f32, f32) -> f32) -> Plane {
    let mut p = Plane::new(w, h);
    p.data.iter_mut().enumerate().for_each(|(i, v)| *v = f((i % w) as f32, (i / w) as f32));
    p
}

/// 8-bit codes, as a file has them.
fn coded(c: &Colour) -> Colour {
    each(c, |p| p.map(|v| (v.clamp(0.0, 1.0) * 255.0).round() / 255.0))
}

fn picture(c: &Colour) -> Picture {
    Picture::from_planes(coded(c))
}

/// `a` where the mask is 0, `b` where it is 1.
fn mixed(a: &Colour, b: &Colour, mask: &Plane) -> Colour {
    std::array::from_fn(|i| {
        let mut out = a[i].clone();
        for ((o, v), m) in out.data.iter_mut().zip(&b[i].data).zip(&mask.data) {
            *o += (v - *o) * m;
        }
        out
    })
}

/// An irregular blob that covers a share of the picture, anywhere, or where `wanted` is large.
fn blob(w: usize, h: usize, share: f32, wanted: Option<&Plane>, r: &mut Random) -> Plane {
    let rough = r.soft_noise(w, h, 20.0);
    let margin = 50.min(w / 4).min(h / 4);
    let (cx, cy) = match wanted {
        None => (r.below(margin, w - margin), r.below(margin, h - margin)),
        Some(p) => {
            let limit = p.quantile(0.95);
            let mut best: Vec<usize> = (0..p.data.len()).filter(|&i| p.data[i] >= limit).collect();
            if best.is_empty() {
                best.push(p.data.len() / 2);
            }
            let at = best[r.below(0, best.len())];
            ((at % w).clamp(margin, w - margin), (at / w).clamp(margin, h - margin))
        }
    };
    let radius = (share * (w * h) as f32 / std::f32::consts::PI).sqrt();
    let field = filled(w, h, |x, y| -(x - cx as f32).hypot(y - cy as f32) / radius).zip(&rough, |d, n| d + 0.35 * n);
    let limit = field.quantile(1.0 - share);
    field.map(|v| f32::from(u8::from(v > limit)))
}

fn detail(y: &Plane) -> Plane {
    y.zip(&y.blur(2.0), |v, m| (v - m).abs()).blur(10.0)
}

fn flat(y: &Plane) -> Plane {
    let busy = y.variance(1.5).map(f32::sqrt).dilate(7);
    y.zip(&busy, |y, b| f32::from(u8::from(b < 0.02 && y > 0.03 && y < 0.97)))
}

/// Decodes what a JPEG encoder of this quality makes of a picture.
fn jpeg(c: &Colour, quality: u8) -> Colour {
    let (w, h) = (c[0].width, c[0].height);
    let rgb: Vec<u8> = (0..w * h).flat_map(|i| c.each_ref().map(|p| (p.data[i].clamp(0.0, 1.0) * 255.0).round() as u8)).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(&rgb, w as u16, h as u16, ColorType::Rgb).unwrap();
    let out = JpegDecoder::new(std::io::Cursor::new(bytes)).decode().unwrap();
    std::array::from_fn(|c| filled(w, h, |x, y| f32::from(out[(y as usize * w + x as usize) * 3 + c]) / 255.0))
}

/// The source: unknown blur, phase and kernel, noise, JPEG half of the time.
fn source(r: &mut Random, c: &Colour) -> Picture {
    let (w, h) = (c[0].width, c[0].height);
    let soft = r.one_in(2).then(|| r.within(0.25, 0.55) * SCALE as f32);
    let (dx, dy) = (r.within(-0.25, 0.25) * SCALE as f32, r.within(-0.25, 0.25) * SCALE as f32);
    let filter = [Filter::CatmullRom, Filter::Lanczos3, Filter::Box][r.below(0, 3)];
    let noise = if r.one_in(2) { r.within(0.0, 1.2) / 255.0 } else { 0.0 };
    let mut small = each(c, |p| {
        let p = soft.map_or_else(|| p.clone(), |s| p.blur(s));
        let moved = warped(&p, |_, _| (dx, dy));
        moved.resize(w / SCALE, h / SCALE, filter).unwrap()
    });
    for p in &mut small {
        p.data.iter_mut().for_each(|v| *v += noise * r.normal());
    }
    let small = coded(&small);
    Picture::from_planes(if r.one_in(2) { jpeg(&small, r.below(86, 97) as u8) } else { small })
}

/// Tone drift every honest upscaler may have.
fn drifted(r: &mut Random, c: &Colour) -> Colour {
    let (w, h) = (c[0].width, c[0].height);
    let (gamma, gain) = (1.0 + r.within(-0.015, 0.015), 1.0 + r.within(-0.01, 0.01));
    let mut coarse = Plane::new(3, 3);
    coarse.data.iter_mut().for_each(|v| *v = r.normal() * 0.4 / 255.0);
    let field = coarse.resize(w, h, Filter::CatmullRom).unwrap();
    each(c, |p| p.zip(&field, |v, f| v.clamp(1e-4, 1.0).powf(gamma) * gain + f))
}

/// Every pixel from a place moved by (dx, dy), Catmull-Rom between pixels.
fn warped(p: &Plane, by: impl Fn(usize, usize) -> (f32, f32)) -> Plane {
    let (w, h) = (p.width, p.height);
    let weights = |t: f32| {
        let (t2, t3) = (t * t, t * t * t);
        [-0.5 * t3 + t2 - 0.5 * t, 1.5 * t3 - 2.5 * t2 + 1.0, -1.5 * t3 + 2.0 * t2 + 0.5 * t, 0.5 * t3 - 0.5 * t2]
    };
    let mut out = p.clone();
    for y in 0..h {
        for x in 0..w {
            let (dx, dy) = by(x, y);
            if dx == 0.0 && dy == 0.0 {
                continue;
            }
            let (u, v) = (x as f32 + dx, y as f32 + dy);
            let (wx, wy) = (weights(u - u.floor()), weights(v - v.floor()));
            let mut sum = 0.0;
            for (j, b) in wy.iter().enumerate() {
                for (i, a) in wx.iter().enumerate() {
                    sum += a * b * p.at(u.floor() as isize + i as isize - 1, v.floor() as isize + j as isize - 1);
                }
            }
            out.data[y * w + x] = sum;
        }
    }
    out
}

/// What is planted in a base picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// One defect of every kind, of a random variant and strength.
    One,
    /// Two of every kind, of strength 2 and 3, each of a random variant.
    Plain,
}

/// All cases of one base: its clean pictures, and what is planted in it.
pub fn of_base(
    name: &str,
    photo: &Colour,
    foreign: &Colour,
    hard_kinds: usize,
    planted: Planted,
    faithful: &mut dyn FnMut(&Picture) -> Picture,
) -> Vec<Case> {
    let mut r = Random::new(name, 1);
    let mut out = Vec::new();
    let clean = |variant, result, source| Case { kind: "clean", variant, strength: 0, result, source, mask: None };
    out.push(clean("photo", picture(&drifted(&mut r, photo)), source(&mut r, photo)));
    let lr = source(&mut r, photo);
    let (w, h) = (photo[0].width, photo[0].height);
    out.push(clean("bicubic", saved(&lr.resize(w, h, Filter::CatmullRom).unwrap()), lr));
    let lr = source(&mut r, photo);
    out.push(clean("faithful", saved(&faithful(&lr)), lr));
    let first = r.below(0, hard::HARD.len());
    for i in 0..hard_kinds {
        let kind = hard::HARD[(first + i * 5) % hard::HARD.len()];
        let made = each(&hard::make(kind, photo, &mut r), |p| p.map(|v| v.clamp(0.0, 1.0)));
        out.push(clean(kind, picture(&drifted(&mut r, &made)), source(&mut r, &made)));
    }
    let mut again = Random::new(name, 99);
    let (r, strengths) = match planted {
        Planted::Nothing => return out,
        Planted::One => (&mut r, 1..2),
        Planted::Plain => (&mut again, 2..4),
    };
    for (kind, variants) in KINDS {
        for strength in strengths.clone() {
            let variant = variants[r.below(0, variants.len())];
            let strength = if planted == Planted::One { r.below(1, 4) } else { strength };
            let ramp;
            // Banding needs a ramp: a sky is laid over pictures that have none.
            let photo = if kind == "banding" {
                ramp = with_sky(photo, r);
                &ramp
            } else {
                photo
            };
            if let Some((result, mask)) = inject(r, photo, kind, variant, strength, foreign) {
                let source = source(r, photo);
                out.push(Case { kind, variant, strength, result: picture(&drifted(r, &result)), source, mask });
            }
        }
    }
    let mut r = Random::new(name, 41);
    for variant in WHOLE {
        for strength in strengths.clone() {
            let strength = if planted == Planted::One { r.below(1, 4) } else { strength };
            let source = source(&mut r, photo);
            // A result has true detail, or none but what a kernel makes of the source (where a low-pass finds nothing to cut).
            let plain: Colour = match r.one_in(2) || variant == "ringing" {
                true => photo.clone(),
                false => enlarged(&source, |p| p.resize(w, h, Filter::CatmullRom).unwrap()),
            };
            let spoiled = spoiled(&mut r, &plain, &source, variant, strength);
            let result = picture(&drifted(&mut r, &spoiled));
            out.push(Case { kind: "whole", variant, strength, result, source, mask: None });
        }
    }
    out
}

fn enlarged(source: &Picture, by: impl Fn(&Plane) -> Plane) -> Colour {
    std::array::from_fn(|c| by(source.channel(c)))
}

/// A picture with one defect all over.
fn spoiled(r: &mut Random, c: &Colour, source: &Picture, variant: &str, strength: usize) -> Colour {
    let (w, h, s) = (c[0].width, c[0].height, strength - 1);
    match variant {
        "usm" => {
            let (amount, radius) = ([0.8, 1.8, 4.0][s], r.within(1.2, 3.0));
            each(c, |p| p.zip(&p.blur(radius), |v, m| v + amount * (v - m)))
        }
        "ringing" => each(c, |p| p.separable(&low_pass([0.36, 0.29, 0.22][s], 12))),
        // An enlargement by a sinc that is cut off late and abruptly, raised near its limit.
        "sinc" => {
            let taps = low_pass(0.5 / SCALE as f32, [10, 16, 30][s]);
            let on = |x: f32, y: f32| (x as usize).is_multiple_of(SCALE) && (y as usize).is_multiple_of(SCALE);
            let weights = filled(w, h, |x, y| f32::from(u8::from(on(x, y)))).separable(&taps);
            let moved = -0.5 * (SCALE - 1) as f32;
            enlarged(source, |p| {
                let sharp = p.zip(&p.blur(0.8), |v, m| v + [0.2, 0.5, 1.0][s] * (v - m));
                let at = |x: f32, y: f32| sharp.data[y as usize / SCALE * sharp.width + x as usize / SCALE];
                let spread = filled(w, h, |x, y| if on(x, y) { at(x, y) } else { 0.0 });
                let sum = spread.separable(&taps).zip(&weights, |v, k| v / k.max(0.1 / (SCALE * SCALE) as f32));
                warped(&sum, |_, _| (moved, moved))
            })
        }
        "plastic" => smoothed(c, [8e-4, 2e-3, 6e-3][s], strength),
        "noise" => {
            let sigma = [3.0, 5.0, 8.0][s] / 255.0;
            let width = r.within(0.5, 1.5);
            match r.below(0, 3) {
                0 => {
                    let n = r.noise(w, h);
                    each(c, |p| p.zip(&n, |v, n| v + sigma * n))
                }
                1 => {
                    let n = r.soft_noise(w, h, width);
                    each(c, |p| p.zip(&n, |v, n| v + sigma * n))
                }
                _ => {
                    let n: Colour = std::array::from_fn(|_| r.noise(w, h).blur(0.5 * width));
                    let n = each(&n, |p| unit_deviation(p.clone()));
                    let grey = luma(&n);
                    std::array::from_fn(|i| c[i].zip(&n[i].zip(&grey, |a, b| a - b), |v, n| v + sigma * n))
                }
            }
        }
        _ => {
            let height = [12.0, 24.0, 40.0][s] / 255.0;
            let n = filled(w, h, |_, _| if r.one_in(25) { if r.one_in(2) { height } else { -height } } else { 0.0 });
            each(c, |p| p.zip(&n, |v, n| v + n))
        }
    }
}

/// A windowed sinc that ends at `cut` cycles a pixel.
fn low_pass(cut: f32, reach: isize) -> Vec<f32> {
    let taps: Vec<f32> = (-reach..=reach)
        .map(|i| {
            let (x, window) = (i as f32, (i as f32 / (2 * reach + 2) as f32 * std::f32::consts::TAU).cos() * 0.46 + 0.54);
            let sinc = if i == 0 { 2.0 * cut } else { (std::f32::consts::TAU * cut * x).sin() / (std::f32::consts::PI * x) };
            sinc * window
        })
        .collect();
    let sum: f32 = taps.iter().sum();
    taps.iter().map(|t| t / sum).collect()
}

/// He, Sun and Tang's guided filter with the picture as its own guide, so many times.
fn smoothed(c: &Colour, epsilon: f32, times: usize) -> Colour {
    let smooth = |p: &Plane| {
        let mean = p.mean(4);
        let gain = p.map(|v| v * v).mean(4).zip(&mean, |q, m| (q - m * m).max(0.0)).map(|v| v / (v + epsilon));
        let rest = mean.zip(&gain, |m, g| m * (1.0 - g)).mean(4);
        gain.mean(4).zip(p, |g, v| g * v).zip(&rest, |a, b| a + b)
    };
    (0..times).fold(c.clone(), |made, _| each(&made, smooth))
}

/// A picture as a file of 8 bits has it.
fn saved(p: &Picture) -> Picture {
    picture(&std::array::from_fn(|c| p.channel(c).clone()))
}

/// The clean pictures of a rendered scene: rendered large, with a source made from it; and rendered small, enlarged by bicubic and
/// by the network that it will be compared with.
pub fn of_render(name: &str, style: &str, side: usize, faithful: &mut dyn FnMut(&Picture) -> Picture) -> Vec<Case> {
    let mut r = Random::new(name, 2);
    let scene = |side: usize| rendered::make(style, side, &mut Random::new(name, 3));
    let (large, small) = (scene(side), picture(&scene(side / SCALE)));
    let clean = |variant, result, source| Case { kind: "clean", variant, strength: 0, result, source, mask: None };
    vec![
        clean("render", picture(&drifted(&mut r, &large)), source(&mut r, &large)),
        clean("render_bicubic", saved(&small.resize(side, side, Filter::CatmullRom).unwrap()), small.clone()),
        clean("render_same", saved(&faithful(&small)), small),
    ]
}

fn with_sky(photo: &Colour, r: &mut Random) -> Colour {
    let (w, h) = (photo[0].width, photo[0].height);
    let (top, bottom) = (r.within(0.3, 0.5), r.within(0.6, 0.8));
    let horizon = r.within(0.4, 0.7) * h as f32;
    let tint = [0.85, 0.95, 1.1];
    std::array::from_fn(|c| {
        let sky = filled(w, h, |x, y| tint[c] * (top + (bottom - top) * (y / horizon).min(1.0) + 0.05 * x / w as f32));
        let mask = filled(w, h, |_, y| ((horizon - y) / 12.0).clamp(0.0, 1.0));
        let mut out = photo[c].clone();
        for ((o, s), m) in out.data.iter_mut().zip(&sky.data).zip(&mask.data) {
            *o += (s - *o) * m;
        }
        out
    })
}

/// One defect; none if the picture has no place for it.
fn inject(r: &mut Random, c: &Colour, kind: &str, variant: &str, strength: usize, foreign: &Colour) -> Option<(Colour, Option<Plane>)> {
    let (w, h, s) = (c[0].width, c[0].height, strength - 1);
    let y = luma(c);
    let add = |n: &Plane, m: &Plane| -> Colour {
        let n = n.zip(m, |n, m| n * m);
        each(c, |p| p.zip(&n, |v, n| v + n))
    };
    Some(match (kind, variant) {
        ("hallucination", "foreign") => {
            let m = blob(w, h, [0.02, 0.03, 0.05][s], None, r);
            let mut f = luma(foreign);
            f = f.zip(&f.blur(1.5), |v, m| v - m);
            for _ in 0..4 {
                let low = f.cells(SCALE).resize(w, h, Filter::CatmullRom).unwrap();
                f = f.zip(&low, |v, l| v - l);
            }
            let (sum, n) = f.data.iter().zip(&m.data).fold((0.0, 0.0), |(s, n), (f, m)| (s + f * f * m, n + m));
            let gain = [0.03, 0.05, 0.085][s] / (sum / n + 1e-9f32).sqrt();
            (add(&f.map(|v| (v * gain).clamp(-0.4, 0.4)), &m.blur(2.0)), Some(m))
        }
        ("hallucination", "worm") => {
            let m = blob(w, h, [0.02, 0.03, 0.05][s], None, r);
            let l = r.within(4.0, 8.0);
            let n = r.noise(w, h);
            let n = unit_deviation(n.blur(l * 0.22).zip(&n.blur(l * 0.4), |a, b| a - b)).map(|v| (1.5 * v).tanh());
            (add(&n.map(|v| v * [0.03, 0.055, 0.09][s]), &m.blur(2.0)), Some(m))
        }
        ("hallucination", "warp") => {
            let m = blob(w, h, [0.026, 0.039, 0.065][s], Some(&detail(&y)), r);
            let (dx, dy) = (r.soft_noise(w, h, 10.0), r.soft_noise(w, h, 10.0));
            let (sum, n) = (0..m.data.len()).fold((0.0, 0.0), |(s, n), i| (s + dx.data[i].hypot(dy.data[i]) * m.data[i], n + m.data[i]));
            let k = [2.5, 4.5, 8.0][s] / (sum / n);
            let soft = m.blur(5.0);
            let by = |x: usize, y: usize| {
                let i = y * w + x;
                (dx.data[i] * k * soft.data[i], dy.data[i] * k * soft.data[i])
            };
            (each(c, |p| warped(p, by)), Some(m))
        }
        ("hallucination", _) => {
            let m = blob(w, h, [0.004, 0.008, 0.016][s], None, r);
            let f = luma(foreign);
            let f = f.blur(1.0).zip(&f.blur(9.0), |a, b| a - b);
            let top = f.data.iter().zip(&m.data).fold(1e-6f32, |t, (f, m)| t.max((f * m).abs()));
            (add(&f.map(|v| v / top * [0.05, 0.08, 0.13][s] * 1.5), &m.blur(1.5)), Some(m))
        }
        ("micro_noise", _) => {
            let smooth = flat(&y);
            if smooth.data.iter().sum::<f32>() < 0.03 * (w * h) as f32 {
                return None;
            }
            let m = blob(w, h, 0.08, Some(&smooth.blur(15.0)), r).zip(&smooth, |a, b| a * b);
            if m.data.iter().sum::<f32>() < 500.0 {
                return None;
            }
            let sigma = [1.2, 2.2, 4.0][s] / 255.0;
            let soft = m.blur(1.5);
            let result = match variant {
                "white" => add(&r.noise(w, h).map(|v| v * sigma), &soft),
                "correlated" => {
                    let width = r.within(0.6, 1.3);
                    add(&r.soft_noise(w, h, width).map(|v| v * sigma), &soft)
                }
                "speckle" => {
                    let height = [6.0, 11.0, 20.0][s] / 255.0;
                    let n = filled(w, h, |_, _| if r.one_in(25) { if r.one_in(2) { height } else { -height } } else { 0.0 });
                    add(&n, &soft)
                }
                _ => {
                    let n: Colour = std::array::from_fn(|_| r.noise(w, h).map(|v| v * sigma * 1.3));
                    let grey = luma(&n);
                    std::array::from_fn(|i| c[i].zip(&n[i].zip(&grey, |a, b| a - b).zip(&soft, |n, m| n * m), |v, n| v + n))
                }
            };
            (result, Some(m))
        }
        ("halo", _) => {
            let m = blob(w, h, 0.2, Some(&detail(&y)), r);
            let made = if variant == "usm" {
                let (amount, radius) = ([0.8, 1.8, 4.0][s], r.within(1.2, 3.0));
                each(c, |p| p.zip(&p.blur(radius), |v, m| v + amount * (v - m)))
            } else {
                let taps = low_pass([0.36, 0.29, 0.22][s], 12);
                each(c, |p| p.separable(&taps))
            };
            (mixed(c, &made, &m.blur(2.0)), Some(m))
        }
        ("repetition", _) => {
            let p = r.below([44, 30, 20][s], [65, 47, 33][s]);
            let m = blob(w, h, r.within(0.08, 0.14), Some(&detail(&y)), r);
            let n = m.data.iter().sum::<f32>();
            let centre = |f: &dyn Fn(usize) -> usize| (0..m.data.len()).map(|i| m.data[i] * f(i) as f32).sum::<f32>() / n;
            let cx = (centre(&|i| i % w) as usize).saturating_sub(p / 2).min(w - p);
            let cy = (centre(&|i| i / w) as usize).saturating_sub(p / 2).min(h - p);
            let tiled = each(c, |q| {
                let at = |v: f32, from: usize| from + (v as usize + 64 * p - from) % p;
                filled(w, h, |x, y| q.data[at(y, cy) * w + at(x, cx)])
            });
            (mixed(c, &tiled, &m.blur(1.5)), Some(m))
        }
        ("plastic", _) => {
            let m = blob(w, h, r.within(0.06, 0.12), Some(&detail(&y)), r);
            let made = smoothed(c, [8e-4, 2e-3, 6e-3][s], strength);
            (mixed(c, &made, &m.blur(3.0)), Some(m))
        }
        ("checkerboard", _) => {
            let p = match variant {
                "p2" => 2,
                "p4" => 4,
                _ => 8,
            };
            let m = blob(w, h, r.within(0.08, 0.2), None, r);
            let pattern: Vec<f32> = if p == 2 { vec![1.0, -1.0, -1.0, 1.0] } else { (0..p * p).map(|_| r.normal()).collect() };
            let contrast = y.variance(3.0).map(|v| 0.5 + (v.sqrt() / 0.05).min(1.0));
            let n = filled(w, h, |x, y| pattern[(y as usize % p) * p + x as usize % p] * [1.3, 2.5, 5.0][s] / 255.0);
            (add(&n.zip(&contrast, |n, c| n * c), &m.blur(2.0)), Some(m))
        }
        ("seam", _) => {
            let (pitch, ox, oy) = (r.below(128, 225), r.below(40, 128), r.below(40, 128));
            let tile = |x: usize, y: usize| ((x + pitch - ox) / pitch, (y + pitch - oy) / pitch);
            let values: Vec<[f32; 2]> = (0..64).map(|_| [r.within(-1.0, 1.0), r.within(-1.0, 1.0)]).collect();
            let of = |x: usize, y: usize| {
                let (tx, ty) = tile(x, y);
                // Neighbours differ for certain.
                let sign = if (tx + ty).is_multiple_of(2) { 1.0 } else { -1.0 };
                let v = values[(ty * 8 + tx) % 64];
                [sign * (0.6 + 0.4 * v[0].abs()), v[1]]
            };
            let made = match variant {
                "offset" => {
                    let n = filled(w, h, |x, y| 0.5 * of(x as usize, y as usize)[0] * [1.6, 3.2, 6.4][s] / 255.0);
                    each(c, |p| p.zip(&n, |v, n| v + n))
                }
                "sharpness" => {
                    let soft = each(c, |p| p.blur([0.5, 0.7, 1.1][s]));
                    let m = filled(w, h, |x, y| f32::from(u8::from(of(x as usize, y as usize)[0] > 0.0)));
                    mixed(c, &soft, &m)
                }
                _ => {
                    let k = [0.35, 0.7, 1.2][s];
                    each(c, |p| warped(p, |x, y| of(x, y).map(|v| v * k).into()))
                }
            };
            let near = |v: usize, o: usize| (v + pitch - o % pitch + 4) % pitch < 8;
            (made, Some(filled(w, h, |x, y| f32::from(u8::from(near(x as usize, ox) || near(y as usize, oy))))))
        }
        ("blocking", _) => {
            let quality = [42, 26, 13][s];
            let made = if variant == "g8" {
                jpeg(c, quality)
            } else {
                let half = each(c, |p| p.cells(2));
                let coded = jpeg(&half, quality);
                each(&coded, |p| filled(w, h, |x, y| p.at(x as isize / 2, y as isize / 2)))
            };
            if r.unit() < 0.6 {
                let m = blob(w, h, r.within(0.15, 0.3), None, r);
                (mixed(c, &made, &m), Some(m))
            } else {
                (made, None)
            }
        }
        ("banding", _) => {
            let levels = [96.0, 56.0, 32.0][s];
            let (sigma, smooth) = (r.within(2.5, 4.0), flat(&y));
            let m = smooth.blur(3.0).map(|v| f32::from(u8::from(v > 0.5)));
            if m.data.iter().sum::<f32>() < 0.05 * (w * h) as f32 {
                return None;
            }
            let made = each(c, |p| p.blur(sigma).map(|v| (v * levels).round() / levels));
            (mixed(c, &made, &m), Some(m))
        }
        ("pixel_blob", "mosaic") => {
            let cell = [3, 5, 8][s];
            let m = blob(w, h, 0.008, Some(&detail(&y)), r);
            let made = each(c, |p| {
                let small = p.cells(cell);
                filled(w, h, |x, y| small.at((x as usize / cell) as isize, (y as usize / cell) as isize))
            });
            (mixed(c, &made, &m), Some(m))
        }
        ("pixel_blob", _) => {
            let side = [8, 16, 32][s];
            let (x0, y0) = (r.below(20, w - 20 - side), r.below(20, h - 20 - side));
            let inside = |x: f32, y: f32| (x0..x0 + side).contains(&(x as usize)) && (y0..y0 + side).contains(&(y as usize));
            let m = filled(w, h, |x, y| f32::from(u8::from(inside(x, y))));
            let here = y.data[(y0 + side / 2) * w + x0 + side / 2];
            let tone = if here > 0.5 { r.within(0.02, here - 0.25) } else { r.within(here + 0.25, 0.98) };
            (each(c, |p| p.zip(&m, |v, m| if m > 0.0 { tone } else { v })), Some(m))
        }
        ("colour_shift", _) => {
            let amount = [2.0, 4.0, 8.0][s];
            // Along one axis of chroma, about 2.6 levels a unit of CIEDE2000 in mid-tones.
            let angle = r.within(0.0, std::f32::consts::TAU);
            let (a, b) = (angle.cos() * amount * 2.6 / 255.0, angle.sin() * amount * 3.5 / 255.0);
            let by = [0.79 * a - 0.07 * b, -0.21 * a - 0.07 * b, -0.21 * a + 0.93 * b];
            let made: Colour = std::array::from_fn(|i| c[i].map(|v| v + by[i]));
            if variant == "global" {
                (made, None)
            } else {
                let tones = y.map(|v| f32::from(u8::from((0.25..0.75).contains(&v)))).blur(12.0);
                let m = blob(w, h, r.within(0.06, 0.15), Some(&tones), r);
                (mixed(c, &made, &m.blur(3.0)), Some(m))
            }
        }
        ("clipping", _) => {
            let gain = [1.1, 1.2, 1.4][s];
            let made = if variant == "high" { each(c, |p| p.map(|v| v * gain)) } else { each(c, |p| p.map(|v| 1.0 - (1.0 - v) * gain)) };
            let lost = |v: f32, before: f32| {
                if variant == "high" { v >= 1.0 && before < 0.95 } else { v <= 0.0 && before > 0.05 }
            };
            let mut m = Plane::new(w, h);
            for (after, before) in made.iter().zip(c) {
                m.data.iter_mut().zip(after.data.iter().zip(&before.data)).for_each(|(m, (a, b))| {
                    if lost(*a, *b) {
                        *m = 1.0;
                    }
                });
            }
            // A picture without anything near the end of the range loses nothing.
            if m.data.iter().sum::<f32>() < 0.002 * (w * h) as f32 {
                return None;
            }
            (made, Some(m))
        }
        ("gan", "droplet") => {
            let mut m = Plane::new(w, h);
            let mut made = c.clone();
            for _ in 0..strength {
                let (cx, cy, radius) = (r.within(40.0, w as f32 - 40.0), r.within(40.0, h as f32 - 40.0), r.within(7.0, 14.0));
                let tint = [r.within(-0.3, 0.3), r.within(-0.3, 0.3), r.within(-0.3, 0.3)];
                for yy in 0..h {
                    for x in 0..w {
                        let d = (x as f32 - cx).hypot(yy as f32 - cy) / radius;
                        if d < 2.5 {
                            let bump = (-d * d * 1.5).exp() + 0.4 * (-(d - 1.3).powi(2) * 12.0).exp();
                            for (p, t) in made.iter_mut().zip(tint) {
                                p.data[yy * w + x] += t * bump;
                            }
                            if d < 1.3 {
                                m.data[yy * w + x] = 1.0;
                            }
                        }
                    }
                }
            }
            (made, Some(m))
        }
        ("gan", "rainbow") => {
            let m = blob(w, h, r.within(0.04, 0.1), Some(&detail(&y)), r);
            let (k, angle, size) = (std::f32::consts::TAU / r.within(4.0, 9.0), r.within(0.0, 3.1), [0.04, 0.07, 0.12][s]);
            let (sin, cos) = angle.sin_cos();
            let soft = m.blur(2.0);
            let n: Colour = std::array::from_fn(|i| filled(w, h, |x, y| size * ((x * cos + y * sin) * k + 2.1 * i as f32).sin()));
            let grey = luma(&n);
            (std::array::from_fn(|i| c[i].zip(&n[i].zip(&grey, |a, b| a - b).zip(&soft, |n, m| n * m), |v, n| v + n)), Some(m))
        }
        ("gan", _) => {
            let p = [4, 8, 16][r.below(0, 3)];
            let pattern: Vec<f32> = (0..p * p).map(|_| r.normal()).collect();
            let n = filled(w, h, |x, y| pattern[(y as usize % p) * p + x as usize % p] * [0.7, 1.3, 2.6][s] / 255.0);
            (each(c, |q| q.zip(&n, |v, n| v + n)), None)
        }
        _ => {
            let m = blob(w, h, r.within(0.05, 0.1), Some(&detail(&y)), r);
            let soft = each(c, |p| p.blur([1.0, 1.6, 2.6][s]));
            (mixed(c, &soft, &m.blur(3.0)), Some(m))
        }
    })
}
