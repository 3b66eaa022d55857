//! Noise in areas that should be smooth: skin, sky, walls.
//!
//! Only flat areas are judged (flat in the source, too, if there is one). Noise is Immerkaer's estimate ("Fast noise variance
//! estimation", CVIU 64, 1996) under a Gaussian window of 6 px, for luma and for the two colour differences. Raw score: the natural
//! logarithm of the noise over the picture's own quiet floor at that brightness, times its size up to one level; the 97 %
//! quantile over the flat area. Even grain everywhere is a property, not a defect, and scores low.

use super::plane::{Plane, quantile};
use super::scene::Picture;
use super::{Measured, Outcome, Scene, Spot};
use crate::resample::Filter;

/// Side of a cell, output pixels.
const CELL: usize = 4;
/// The Gaussian window, in cells.
const WINDOW: f32 = 1.5;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let (w, h) = (scene.result.width, scene.result.height);
    if w < 64 || h < 64 {
        return Outcome::NotApplicable("smaller than 64 px");
    }
    let in_source = scene.source.as_ref().and_then(|s| flat_in_source(s).resize(w, h, Filter::Bilinear).ok());
    let flat = flat(&scene.result, scene.luma(), in_source.as_ref());
    let Some(excess) = excess(&scene.result, scene.luma(), &flat) else { return Outcome::NotApplicable("no flat area") };
    let Excess { map, mut judged, noise, floor } = excess;
    let score = quantile(&mut judged, 0.97).max(0.0);
    let same_in_source =
        scene.source.as_ref().zip(scene.source_luma()).filter(|(s, _)| s.width >= 64 && s.height >= 64).and_then(|(s, y)| {
            let flat = self::flat(s, y, None);
            self::excess(s, y, &flat).map(|e| e.map)
        });
    let note = move |s: &Spot| {
        format!(
            "grain-like noise, sigma {:.1}/255 here, {floor:.1} in the quiet parts of flat areas of this brightness",
            s.worst_in(&noise)
        )
    };
    Outcome::Measured(Measured { score, map, in_source: same_in_source, least_area: 64e-6, note: Box::new(note) })
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

/// 1 where the picture is flat, else 0: neither a gradient of the softened luma or colour, nor structure in the source.
fn flat(picture: &Picture, y: &Plane, in_source: Option<&Plane>) -> Plane {
    let mut slope = y.blur(2.5).slope();
    if !picture.is_grey() {
        for c in [0, 2] {
            let difference = picture.channel(c).zip(y, |v, y| 0.5 * (v - y)).blur(2.5).slope();
            slope.data.iter_mut().zip(&difference.data).for_each(|(a, v)| *a = a.max(*v));
        }
    }
    let slope = slope.dilate(4);
    let mut out = y.zip(&slope, |y, s| f32::from(u8::from(s < 0.005 && y > 0.03 && y < 0.97)));
    if let Some(source) = in_source {
        out.data.iter_mut().zip(&source.data).filter(|(_, s)| **s >= 0.020).for_each(|(o, _)| *o = 0.0);
    }
    out
}

struct Excess {
    /// Raw scores by cell, 0 where nothing is flat.
    map: Plane,
    /// Those of flat cells alone.
    judged: Vec<f32>,
    /// Noise by cell, levels of 255.
    noise: Plane,
    /// The quarter of flat cells that is quietest has less, levels.
    floor: f32,
}

fn excess(picture: &Picture, y: &Plane, flat: &Plane) -> Option<Excess> {
    let share = flat.cells(CELL);
    let weight = share.blur(WINDOW);
    let ok: Vec<bool> = weight.data.iter().map(|&w| w > 0.5).collect();
    let n = ok.iter().filter(|ok| **ok).count();
    if share.data.iter().sum::<f32>() < 0.015 * share.data.len() as f32 || n < 13 {
        return None;
    }
    let noise = |p: &Plane| -> Plane {
        let size = laplacian(p).zip(flat, |v, f| v * f).cells(CELL).blur(WINDOW);
        size.zip(&weight, |v, w| v / w.max(0.5) / 6.0 * 1.2533 * 255.0)
    };
    let luma = noise(y);
    let bright = y.cells(CELL).blur(WINDOW);
    let mut map = over_floor(&luma, &bright, &ok);
    let mut loudest = luma.clone();
    if !picture.is_grey() {
        let [red, blue] = [0, 2].map(|c| noise(&picture.channel(c).zip(y, |v, y| v - y)));
        let chroma = red.zip(&blue, |a, b| 0.5 * (a + b));
        let of_chroma = over_floor(&chroma, &bright, &ok);
        for (i, v) in of_chroma.data.iter().enumerate() {
            if *v > map.data[i] {
                (map.data[i], loudest.data[i]) = (*v, chroma.data[i]);
            }
        }
    }
    let pick = |p: &Plane| -> Vec<f32> { p.data.iter().zip(&ok).filter(|(_, ok)| **ok).map(|(v, _)| *v).collect() };
    let floor = quantile(&mut pick(&luma), 0.25);
    Some(Excess { judged: pick(&map), map, noise: loudest, floor })
}

/// Immerkaer's operator, the size of its response cut at 0.15.
fn laplacian(p: &Plane) -> Plane {
    let rows = p.separable(&[1.0, -2.0, 1.0]);
    rows.map(|v| v.abs().min(0.15))
}

/// `ln((m + 0.3) / (floor + 0.3)) * min(1, m)` with a floor per eighth of the brightness range; 0 where not `ok`.
fn over_floor(m: &Plane, bright: &Plane, ok: &[bool]) -> Plane {
    let pick = |bin: Option<usize>| -> Vec<f32> {
        let inside = |i: usize| ok[i] && bin.is_none_or(|b| bin_of(bright.data[i]) == b);
        (0..m.data.len()).filter(|&i| inside(i)).map(|i| m.data[i]).collect()
    };
    let whole = quantile(&mut pick(None), 0.25);
    let floors: [Option<f32>; 8] = std::array::from_fn(|b| {
        let mut values = pick(Some(b));
        (values.len() > 12).then(|| quantile(&mut values, 0.25).max(0.5 * whole))
    });
    let mut out = Plane::new(m.width, m.height);
    for (i, o) in out.data.iter_mut().enumerate().filter(|(i, _)| ok[*i]) {
        if let Some(floor) = floors[bin_of(bright.data[i])] {
            *o = (((m.data[i] + 0.3) / (floor + 0.3)).ln() * m.data[i].min(1.0)).max(0.0);
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
