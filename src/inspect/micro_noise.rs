//! Noise in areas that should be smooth: skin, sky, walls.
//!
//! Only flat areas are judged (flat in the source, too, if there is one). Noise is Immerkaer's estimate ("Fast noise variance
//! estimation", CVIU 64, 1996) under a Gaussian window of 6 px, for luma, for luma at half size (soft noise hardly changes
//! from pixel to pixel) and for the two colour differences. What counts as flat goes down with the picture's contrast. Raw score: the natural
//! logarithm of the noise over the picture's own quiet floor at that brightness, times its size up to one level; the 97 %
//! quantile over the flat area. Even grain everywhere is a property, not a defect, and scores low.
//!
//! Isolated pixels that stand out from their neighbours (`specks`) are noise wherever they lie.
//!
//! With a faithful enlargement, noise also counts against what the source lets expect (`even_noise`). That way noise over all of a
//! sky or a face is found, and noise strong enough to hide that a place is flat; and noise over the picture's own floor counts less where the
//! source accounts for it.

use multiversion::multiversion;

use super::mask::Mask;
use super::plane::{Plane, Soft, quantile, quantile_where, reach};
use super::reduce::{self, Axis};
use super::scene::Picture;
use super::specks::{self, Specks};
use super::{Measured, Outcome, Scene, Spot, carried, even_noise, tiles};

/// Side of a cell, output pixels.
pub const CELL: usize = 4;
/// The Gaussian window, in cells.
const WINDOW: f32 = 1.5;
/// Gaussian under which slopes are taken, and how far a slope keeps its neighbours from being flat; pixels.
pub const SOFT: f32 = 2.5;
pub const SPREAD: usize = 4;
/// From this slope on a place is not flat.
pub const STEEP: f32 = 0.005;
/// A local deviation in the source from which a place has structure.
pub const STRUCTURE: f32 = 0.020;
/// How much noise against the source counts if it covers a patch: detail that the source lost comes in patches, too.
const OF_PATCHES: f32 = 0.67;
/// Noise over the picture's own floor counts in full from this much over the source's own, and at least so far; the most that a cell may
/// have over what lies everywhere.
const NEW: f32 = 0.6;
const OLD: f32 = 0.4;
const MOST: f32 = 1.5;
/// Cells of a patch of noise that counts in the largest picture.
const PATCH: f32 = 300.0;
/// Both are those of a picture with this distance from its 5 % to its 95 % quantile; the least share of it that counts.
const CONTRAST: f32 = 0.5;
const LEAST: f32 = 0.4;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let (w, h) = (scene.result.width, scene.result.height);
    if w < 64 || h < 64 {
        return Outcome::NotApplicable("smaller than 64 px");
    }
    let in_source = scene.source.as_ref().map(flat_in_source);
    let large = scene.source.as_ref().zip(scene.source_luma()).filter(|(s, _)| s.width >= 64 && s.height >= 64);
    let there = large.and_then(|(s, y)| self::excess(s, y, None));
    let mut of_its_own = self::excess(&scene.result, scene.luma(), in_source.as_ref());
    let floor = of_its_own.as_ref().map(|e| e.floor);
    let even = even_noise::measure(scene, in_source.as_ref());
    let everywhere = even.as_ref().map_or(0.0, |e| e.score);
    let patch = OF_PATCHES * even.as_ref().map_or(0.0, |e| e.patch);
    if let (Some(own), Some(even)) = (&mut of_its_own, &even) {
        own.explain(&even.map);
    }
    let limit = MOST * everywhere.max(patch);
    let even =
        even.map(|e| Excess { judged: Vec::new(), map: e.map.map(|v| v.min(limit)), noise: e.noise, ok: Vec::new(), floor: e.usual });
    let specks = specks::measure(scene);
    let mut all = [of_its_own, even].into_iter().flatten();
    let Some(Excess { mut map, judged, mut noise, floor: other, .. }) = all.next() else {
        // Specks are seen on what is only nearly flat.
        return match specks.filter(|s| s.everywhere.max(s.map.peak().0) >= 1.0) {
            Some(s) => Outcome::Measured(Measured { everywhere: s.everywhere, ..Measured::peak(of_specks(&s), told_specks(s.density)) }),
            None => Outcome::NotApplicable("no flat area"),
        };
    };
    let mut score = worst(judged).max(patch);
    for e in all {
        score = score.max(worst(e.judged));
        for (i, v) in e.map.data.iter().enumerate() {
            if *v > map.data[i] {
                (map.data[i], noise.data[i]) = (*v, e.noise.data[i]);
            }
        }
    }
    let floor = floor.unwrap_or(other);
    let same_in_source = there.map(|e| e.map);
    let (mut of_specks, mut density) = (Plane::new(1, 1), Plane::new(1, 1));
    let mut everywhere = everywhere;
    if let Some(s) = specks {
        of_specks = self::of_specks(&s);
        (score, everywhere) = (score.max(of_specks.peak().0), everywhere.max(s.everywhere));
        map = map.zip(&carried::spread(&of_specks, map.width, map.height), f32::max);
        density = s.density;
    }
    let told_specks = told_specks(density);
    let note = move |s: &Spot| match s.raw > 0.0 && s.worst_in(&of_specks) >= s.raw {
        true => told_specks(s),
        false => format!(
            "grain-like noise, sigma {:.1}/255 here, {floor:.1} in the quiet parts of flat areas of this brightness",
            s.worst_in(&noise)
        ),
    };
    Outcome::Measured(Measured { score, everywhere, map, in_source: same_in_source, least_area: 64e-6, note: Box::new(note) })
}

/// Raw scores of specks by their cells: of a patch, and where there are any, of the whole picture.
fn of_specks(s: &Specks) -> Plane {
    s.map.zip(&s.density, |patch, here| if here > 0.0 { patch.max(s.everywhere) } else { patch })
}

fn told_specks(density: Plane) -> impl Fn(&Spot) -> String {
    move |s| format!("salt-and-pepper noise: {:.0} of 1000 pixels stand out from all their neighbours", s.worst_in(&density))
}

/// What the worst 3 % of cells reach; of a large picture, the worst [`PATCH`].
fn worst(mut judged: Vec<f32>) -> f32 {
    let share = (PATCH / judged.len().max(1) as f32).min(0.03);
    quantile(&mut judged, 1.0 - share).max(0.0)
}

/// Largest local deviation of a channel of the source, 3 x 3 around each pixel.
fn flat_in_source(source: &Picture) -> Plane {
    let mut all = Plane::new(source.width, source.height);
    for c in 0..if source.is_grey() { 1 } else { 3 } {
        let v = source.channel(c).variance(1.0);
        all.data.iter_mut().zip(&v.data).for_each(|(a, v)| *a = a.max(v.sqrt()));
    }
    all.dilate(1)
}

/// A picture's distance from its 5 % to its 95 % quantile over that of a usual one, LEAST..1.
pub fn contrast(y: &Plane) -> f32 {
    let small = y.cells(CELL);
    ((small.quantile(0.95) - small.quantile(0.05)) / CONTRAST).clamp(LEAST, 1.0)
}

/// What is measured of a picture by cells: the share that is flat, the brightness, and the response of Immerkaer's operator in flat
/// places of luma, R-Y and B-Y (those of a grey picture are empty), and of luma at half size.
fn measured(picture: &Picture, y: &Plane, in_source: Option<&Plane>) -> [Plane; 6] {
    let size = (y.width, y.height);
    let contrast = contrast(y);
    let steep = (STEEP * contrast) * (STEEP * contrast);
    let structure = STRUCTURE * contrast.max(0.6);
    let axes = in_source.map(|s| (Axis::linear(s.width, y.width), Axis::linear(s.height, y.height)));
    // Slopes are taken at half size: under so wide a Gaussian they hardly change from pixel to pixel.
    let (soft, spread) = (0.5 * SOFT, SPREAD / 2);
    let colours = if picture.is_grey() { vec![] } else { [0, 2].map(|c| picture.channel(c)).to_vec() };
    tiles::cells(size, CELL, 2 * (reach(soft) + 1 + spread), |tile| {
        let (across, down) = tile.outer();
        // Differences of means are means of differences, and so it is with the operator: no difference is made at full size.
        let half = |p: &Plane| p.cells_in(across.clone(), down.clone(), 2);
        let small = half(y);
        // The slope of half a colour difference counts like that of luma.
        let mut rough = Mask::none(small.width, small.height);
        rough.join_steep(&small, soft, 4.0 * steep);
        for p in &colours {
            rough.join_steep(&half(p).zip(&small, |v, y| v - y), soft, 16.0 * steep);
        }
        let mut rough = rough.dilate(spread).doubled(across.len(), down.len());
        if let (Some(source), Some((x, rows))) = (in_source, &axes) {
            let there = reduce::window(source, (x, rows), across.clone(), down.clone());
            rough.join(&Mask::of(&there, |s| s >= structure));
        }
        let (x, n) = (tile.inside().0, tile.x.len());
        let mut operators = [(); 3].map(|()| Soft::with(vec![1.0, -2.0, 1.0]));
        let (mut response, mut other, mut flat) = (vec![0.0f32; n], vec![0.0f32; n], vec![0.0f32; n]);
        let mut coarse = vec![0.0f32; small.width];
        let mut of_small = Soft::with(vec![1.0, -2.0, 1.0]);
        let mut made = usize::MAX;
        tile.sums(CELL, |r, [share, bright, noisy, red, blue, soft]: &mut [Vec<f32>; 6]| {
            let row = down.start + r;
            let here = &y.row(row)[tile.x.clone()];
            select(here, &rough.row(r)[x.clone()], &mut flat);
            let [of_luma, of_colour @ ..] = &mut operators;
            of_luma.part(y, row, tile.x.clone(), &mut response);
            add_noise(&response, &flat, [share, bright, noisy], here);
            for ((p, operator), sums) in colours.iter().zip(of_colour).zip([red, blue]) {
                operator.part(p, row, tile.x.clone(), &mut other);
                add_colour_noise([&other, &response], &flat, sums);
            }
            let at = (r / 2).min(small.height - 1);
            if made != at {
                of_small.row(&small, at, &mut coarse);
                made = at;
            }
            add_soft_noise(&coarse[x.start / 2..], &flat, soft);
        })
    })
}

/// 1 where it is neither rough nor near black or white, else 0.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn select(y: &[f32], rough: &[u8], flat: &mut [f32]) {
    for ((f, &y), &r) in flat.iter_mut().zip(y).zip(rough) {
        *f = if (r == 0) & (y > 0.03) & (y < 0.97) { 1.0 } else { 0.0 };
    }
}

/// The size of the response of Immerkaer's operator, cut at 0.15.
#[inline(always)]
fn cut(response: f32) -> f32 {
    let size = response.abs();
    if size < 0.15 { size } else { 0.15 }
}

/// Adds what is flat, the brightness, and the size of the operator's response where it is flat.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_noise(response: &[f32], flat: &[f32], sums: [&mut [f32]; 3], y: &[f32]) {
    let n = y.len();
    let (response, flat) = (&response[..n], &flat[..n]);
    let [share, bright, noisy] = sums.map(|s| &mut s[..n]);
    for i in 0..n {
        share[i] += flat[i];
        bright[i] += y[i];
        noisy[i] += flat[i] * cut(response[i]);
    }
}

/// The same of the difference of two responses.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_colour_noise([response, of_luma]: [&[f32]; 2], flat: &[f32], sums: &mut [f32]) {
    let n = sums.len();
    let (response, of_luma, flat) = (&response[..n], &of_luma[..n], &flat[..n]);
    for i in 0..n {
        sums[i] += flat[i] * cut(response[i] - of_luma[i]);
    }
}

/// The same of responses at half size, the last of which also stands for an odd last pixel.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_soft_noise(response: &[f32], flat: &[f32], sums: &mut [f32]) {
    let (flat, last) = flat.as_chunks::<2>();
    let (sums, odd) = sums.as_chunks_mut::<2>();
    let n = sums.len();
    for (i, (s, f)) in sums.iter_mut().zip(flat).enumerate() {
        let size = cut(response[i]);
        *s = [s[0] + f[0] * size, s[1] + f[1] * size];
    }
    if let ([s], [f]) = (odd, last) {
        *s += f * cut(response[n.min(response.len() - 1)]);
    }
}

struct Excess {
    /// Raw scores by cell, 0 where nothing is flat.
    map: Plane,
    /// Those of flat cells alone.
    judged: Vec<f32>,
    /// Noise by cell, levels of 255.
    noise: Plane,
    /// Cells that are flat.
    ok: Vec<bool>,
    /// The quarter of flat cells that is quietest has less, levels.
    floor: f32,
}

impl Excess {
    /// Noise over the picture's own quiet places counts as far as it is more than the source's own at that place: skin and
    /// water have a texture of which the source keeps a part.
    fn explain(&mut self, beyond: &Plane) {
        let count = |beyond: f32| (beyond / NEW).clamp(OLD, 1.0);
        let mut judged = self.judged.iter_mut();
        for ((v, b), ok) in self.map.data.iter_mut().zip(&beyond.data).zip(&self.ok) {
            *v *= count(*b);
            if let Some(j) = ok.then(|| judged.next()).flatten() {
                *j = *v;
            }
        }
    }
}

/// Noise by kind: luma, luma at half size, colour (empty for a grey picture).
struct Noise {
    levels: [Plane; 3],
    bright: Plane,
    /// Cells that are flat.
    ok: Vec<bool>,
}

/// None if too little is flat.
fn noise(picture: &Picture, y: &Plane, in_source: Option<&Plane>) -> Option<Noise> {
    let [share, bright, noisy, red, blue, soft] = measured(picture, y, in_source);
    let weight = share.blur(WINDOW);
    let ok: Vec<bool> = weight.data.iter().map(|&w| w > 0.5).collect();
    let n = ok.iter().filter(|ok| **ok).count();
    if share.data.iter().sum::<f32>() < 0.015 * share.data.len() as f32 || n < 13 {
        return None;
    }
    let noise = |p: &Plane| p.blur(WINDOW).zip(&weight, |v, w| v / w.max(0.5) / 6.0 * 1.2533 * 255.0);
    // A quarter of the values: under a window of four times the area they are as sure.
    let wide = share.blur(2.0 * WINDOW);
    let soft = soft.blur(2.0 * WINDOW).zip(&wide, |v, w| v / w.max(0.5) / 6.0 * 1.2533 * 255.0);
    let colour = if picture.is_grey() { Plane::default() } else { noise(&red).zip(&noise(&blue), |a, b| 0.5 * (a + b)) };
    Some(Noise { levels: [noise(&noisy), soft, colour], bright: bright.blur(WINDOW), ok })
}

fn excess(picture: &Picture, y: &Plane, in_source: Option<&Plane>) -> Option<Excess> {
    let Noise { levels: [luma, soft, chroma], bright, ok } = noise(picture, y, in_source)?;
    let mut map = over_floor(&luma, &bright, &ok);
    let mut loudest = luma.clone();
    let mut raise = |noise: &Plane| {
        let of = over_floor(noise, &bright, &ok);
        for (i, v) in of.data.iter().enumerate() {
            if *v > map.data[i] {
                (map.data[i], loudest.data[i]) = (*v, noise.data[i]);
            }
        }
    };
    raise(&soft);
    if !picture.is_grey() {
        raise(&chroma);
    }
    let pick = |p: &Plane| -> Vec<f32> { p.data.iter().zip(&ok).filter(|(_, ok)| **ok).map(|(v, _)| *v).collect() };
    let floor = quantile_where(&luma.data, &ok, 0.25);
    Some(Excess { judged: pick(&map), map, noise: loudest, ok, floor })
}

/// `ln((m + 0.3) / (floor + 0.3)) * min(1, m)` with a floor per eighth of the brightness range; 0 where not `ok`.
fn over_floor(m: &Plane, bright: &Plane, ok: &[bool]) -> Plane {
    let mut bins: [Vec<f32>; 8] = Default::default();
    for ((v, b), _) in m.data.iter().zip(&bright.data).zip(ok).filter(|(_, ok)| **ok) {
        bins[bin_of(*b)].push(*v);
    }
    let whole = quantile(&mut bins.concat(), 0.25);
    let floors = bins.map(|mut values| (values.len() > 12).then(|| quantile(&mut values, 0.25).max(0.5 * whole)));
    let mut out = Plane::new(m.width, m.height);
    for (i, o) in out.data.iter_mut().enumerate().filter(|(i, _)| ok[*i]) {
        if let Some(floor) = floors[bin_of(bright.data[i])].filter(|floor| *floor < m.data[i]) {
            *o = ((m.data[i] + 0.3) / (floor + 0.3)).ln() * m.data[i].min(1.0);
        }
    }
    out
}

fn bin_of(brightness: f32) -> usize {
    ((brightness * 8.0) as usize).min(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(sigma_levels: f32, everywhere: bool, chroma: bool) -> Scene {
        let mut planes: [Plane; 3] = std::array::from_fn(|c| {
            let mut p = Plane::new(320, 256);
            p.data.iter_mut().enumerate().for_each(|(i, v)| *v = 0.4 + 0.1 * c as f32 + (i % 320) as f32 * 2e-4);
            p
        });
        let mut state = 11u32;
        let mut gauss = || {
            (0..12).fold(-6.0f32, |sum, _| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                sum + (state >> 8) as f32 / (1 << 24) as f32
            })
        };
        for y in 0..256 {
            for x in 0..320 {
                let inside = everywhere || ((96..192).contains(&y) && (160..288).contains(&x));
                let common = gauss();
                for (c, p) in planes.iter_mut().enumerate() {
                    let n = if chroma { if c == 0 { common } else { 0.0 } } else { common };
                    let v = &mut p.data[y * 320 + x];
                    *v = ((*v * 255.0 + 0.3 * gauss() + if inside { sigma_levels * n } else { 0.0 }).round()) / 255.0;
                }
            }
        }
        Scene::alone(Picture::from_planes(planes))
    }

    fn run(scene: &Scene) -> Measured {
        match measure(scene) {
            Outcome::Measured(m) => m,
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    /// One pixel in 67 black or white.
    fn peppered(scene: &Scene) -> Scene {
        let spoil = |p: &Plane| {
            let mut p = p.clone();
            // A prime step: no rows, no pattern.
            p.data.iter_mut().enumerate().filter(|(i, _)| (i * 7919) % 67 == 0).for_each(|(i, v)| *v = f32::from(u8::from(i % 2 == 0)));
            p
        };
        Scene::alone(Picture::from_planes(std::array::from_fn(|c| spoil(scene.result.channel(c)))))
    }

    #[test]
    fn salt_and_pepper_counts_for_the_whole_picture_and_is_told_as_such() {
        let plain = noisy(0.0, false, false);
        let (before, m) = (run(&plain), run(&peppered(&plain)));
        assert!(before.everywhere < 0.5 && m.everywhere > 1.5, "{} {}", before.everywhere, m.everywhere);
        let worst = crate::inspect::regions::find(&m.map, &m, (320, 256), f64::from(m.map.peak().0));
        let note = (m.note)(&worst[0]);
        assert!(note.contains("salt-and-pepper"), "{note}");
        assert!(!note.contains("grain-like"), "{note}");
    }

    #[test]
    fn a_noisy_patch_is_found_and_even_grain_is_not() {
        let quiet = run(&noisy(0.0, false, false)).score;
        let grain = run(&noisy(2.5, true, false)).score;
        for chroma in [false, true] {
            let m = run(&noisy(2.5, false, chroma));
            assert!(m.score > 0.5 && m.score > 3.0 * grain.max(quiet), "{} after {quiet} {grain}", m.score);
            let (_, x, y) = m.map.peak();
            assert!((38..74).contains(&x) && (22..50).contains(&y), "{x},{y}");
        }
    }

    #[test]
    fn the_sentence_gives_the_noise_in_levels() {
        let m = run(&noisy(2.5, false, false));
        let spot = super::super::regions::find(&m.map.map(|v| v.min(0.99)), &m, (320, 256), 0.8).remove(0);
        let note = (m.note)(&spot);
        let sigma: f32 = note.split("sigma ").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        assert!((1.9..4.0).contains(&sigma), "{note}");
    }
}
