//! Noise that lies evenly over what should be flat: all of a sky, a face, a wall, or the whole picture.
//!
//! Needs a faithful enlargement F. Where F and the source are flat, D = result - F is noise and nothing else. Its deviation is taken in
//! three bands (finer than 1 px, 1 to 2.5 px, 2.5 to 6 px: white noise and speckle, soft noise, mottle), for luma and both colour
//! differences, under a Gaussian of 6 px. A source's own grain may be passed on: its deviation from a Gaussian of one source pixel is
//! what D may have. Raw score: the logarithm of one over the other, both with a level or two that nobody sees, weighted so that clean
//! pictures reach about as far in every band. What the quietest quarter of the flat places has counts: noise is everywhere, detail that the source
//! lost is not. What repeats (dots of a print, cloth) is drawn and no noise.

use super::mask::Mask;
use super::plane::{Plane, quantile};
use super::{Scene, micro_noise, tiles};
use crate::resample::Filter;

/// Levels that nobody sees, and the weight, of each band.
const BANDS: [(f32, f32); 3] = [(2.0, 1.1), (1.0, 2.2), (0.5, 2.7)];
/// The share of the picture that has to be flat.
const LEAST: f32 = 0.03;
/// The share of flat places that are quieter than what counts.
const QUIET: f32 = 0.25;
/// The Gaussian window, in cells of [`micro_noise::CELL`] pixels.
const WINDOW: f32 = 1.5;
/// Cells around a cell that have to be as noisy, and the share of them that has to be flat; cells of a patch that counts in a large picture.
const AROUND: usize = 2;
const LEAST_AROUND: f32 = 0.9;
const PATCH: f32 = 60.0;
/// Repeats are looked for once the raw score is above this, in squares of this side, in so many of them, at steps of up to so many pixels.
const REMARKABLE: f32 = 0.3;
const SQUARE: usize = 64;
const SQUARES: usize = 4;
const STEPS: std::ops::RangeInclusive<isize> = 4..=18;
/// The correlation over a step that is drawn for certain, and the one that noise may have.
const DRAWN: f32 = 0.4;
const CHANCE: f32 = 0.2;

/// What lies evenly over the flat places.
pub struct Even {
    /// What the whole of the flat places has; 0 if nothing lies there.
    pub score: f32,
    /// What a patch of them has.
    pub patch: f32,
    /// The same by cell, 0 where it is not flat; there may be noise in a place without noise everywhere.
    pub map: Plane,
    /// Noise by cell, levels of 255.
    pub noise: Plane,
    /// What the source's grain accounts for, levels.
    pub usual: f32,
}

/// None without a faithful enlargement, or if too little is flat. `structure`: the largest deviation in the source by its pixels.
pub fn measure(scene: &Scene, structure: Option<&Plane>) -> Option<Even> {
    let (source, faithful) = (scene.source.as_ref()?, scene.faithful.as_ref()?);
    let (y, yf, ys) = (scene.luma(), scene.faithful_luma()?, scene.source_luma()?);
    let size = (y.width, y.height);
    if size.0 < 64 || size.1 < 64 {
        return None;
    }
    let flat = flat(faithful, yf, structure);
    let share = flat.cells(2);
    let weight = share.blur(WINDOW);
    let ok: Vec<bool> = weight.data.iter().map(|w| *w > 0.5).collect();
    let count = ok.iter().filter(|ok| **ok).count();
    if (count as f32) < LEAST * ok.len() as f32 {
        return None;
    }
    let there = share.resize(source.width, source.height, Filter::Bilinear).ok()?;
    let (mut map, mut noise) = (Plane::new(share.width, share.height), Plane::new(share.width, share.height));
    let (mut best, mut patch, mut usual) = (0.0f32, 0.0f32, 0.0);
    let pick = |p: &Plane| -> Vec<f32> { p.data.iter().zip(&ok).filter(|(_, ok)| **ok).map(|(v, _)| *v).collect() };
    for channel in 0..if scene.result.is_grey() { 1 } else { 3 } {
        // Luma, R-Y, B-Y.
        let of = |p: &super::Picture, y: &Plane| (channel > 0).then(|| p.channel(2 * (channel - 1)).zip(y, |v, y| v - y));
        let grain = grain(of(source, ys).as_ref().unwrap_or(ys), &there).resize(share.width, share.height, Filter::Bilinear).ok()?;
        let grain_usual = quantile(&mut pick(&grain), QUIET);
        let difference = |tile: &tiles::Tile| match channel {
            0 => tile.zip(y, yf, |c, f| c - f),
            _ => {
                let (c, f) = (scene.result.channel(2 * (channel - 1)), faithful.channel(2 * (channel - 1)));
                let colour = tile.zip(c, y, |v, y| v - y);
                colour.zip(&tile.zip(f, yf, |v, y| v - y), |c, f| c - f)
            }
        };
        let bands = bands(size, difference).map(|energy| {
            let energy = energy.zip(&flat, |e, f| e * f).cells(2).blur(WINDOW);
            energy.zip(&weight, |e, w| 255.0 * (e.max(0.0) / w.max(0.5)).sqrt())
        });
        let mut loudest = 0.0f32;
        let mut here = Plane::new(share.width, share.height);
        for (levels, (unseen, weight)) in bands.iter().zip(BANDS) {
            let over = |level: f32, grain: f32| weight * ((level + unseen) / (grain + unseen)).ln();
            loudest = loudest.max(over(quantile(&mut pick(levels), QUIET), grain_usual));
            for (i, level) in levels.data.iter().enumerate().filter(|(i, _)| ok[*i]) {
                let v = over(*level, grain.data[i]);
                here.data[i] = here.data[i].max(v);
                noise.data[i] = noise.data[i].max(*level);
            }
        }
        let mut local = widespread(&here, &ok);
        if loudest.max(local) > REMARKABLE {
            let drawn = repeats(size, &here, difference);
            let count = ((DRAWN - drawn) / (DRAWN - CHANCE)).clamp(0.0, 1.0);
            here.data.iter_mut().for_each(|v| *v *= count);
            (loudest, local) = (loudest * count, local * count);
        }
        for (m, h) in map.data.iter_mut().zip(&here.data) {
            *m = m.max(*h);
        }
        patch = patch.max(local);
        if loudest > best {
            (best, usual) = (loudest, grain_usual);
        }
    }
    Some(Even { score: best, patch, map, noise, usual })
}

/// What the worst cells reach all around them: an edge is narrow, noise is not.
fn widespread(map: &Plane, ok: &[bool]) -> f32 {
    let of = |f: &dyn Fn(usize) -> f32| Plane { width: map.width, height: map.height, data: (0..ok.len()).map(f).collect() };
    let least = of(&|i| if ok[i] { -map.data[i] } else { f32::MIN }).dilate(AROUND);
    let flat = of(&|i| f32::from(u8::from(ok[i]))).mean(AROUND);
    let mut all: Vec<f32> = least.data.iter().zip(&flat.data).filter(|(_, f)| **f > LEAST_AROUND).map(|(v, _)| -v).collect();
    let share = (PATCH / all.len().max(1) as f32).min(0.03);
    quantile(&mut all, 1.0 - share).max(0.0)
}

/// 1 where the faithful enlargement and the source are flat, at half size.
fn flat(faithful: &super::Picture, luma: &Plane, structure: Option<&Plane>) -> Plane {
    let y = luma.cells(2);
    let contrast = micro_noise::contrast(luma);
    let steep = micro_noise::STEEP * contrast;
    let mut rough = Mask::none(y.width, y.height);
    // A pixel at half size is two: slopes are twice as large; the slope of half a colour difference counts like that of luma.
    rough.join_steep(&y, 0.5 * micro_noise::SOFT, 4.0 * steep * steep);
    if !faithful.is_grey() {
        for c in [0, 2] {
            rough.join_steep(&faithful.channel(c).cells(2).zip(&y, |v, y| v - y), 0.5 * micro_noise::SOFT, 16.0 * steep * steep);
        }
    }
    let mut rough = rough.dilate(micro_noise::SPREAD / 2);
    if let Some(there) = structure.and_then(|s| s.resize(y.width, y.height, Filter::Bilinear).ok()) {
        let limit = micro_noise::STRUCTURE * contrast.max(0.6);
        rough.join(&Mask::of(&there, |s| s >= limit));
    }
    let mut flat = y;
    for (v, r) in flat.data.iter_mut().zip(&rough.data) {
        *v = if *r == 0 && *v > 0.03 && *v < 0.97 { 1.0 } else { 0.0 };
    }
    flat
}

/// Mean squares of a plane in the three bands, at half size.
fn bands(size: (usize, usize), difference: impl Fn(&tiles::Tile) -> Plane + Sync) -> [Plane; 3] {
    let [mean, square] = tiles::cells(size, 2, 0, |tile| {
        let d = difference(tile);
        [tile.cells(&d, 2), tile.cells(&d.map(|v| v * v), 2)]
    });
    // Gaussians of 1, 2.5 and 6 px, less the variance that a mean over two (four) pixels has.
    let fine = mean.blur(0.433);
    let first = square.zip(&fine, |q, f| q - f * f);
    let second = fine.zip(&mean.blur(1.225), |a, b| (a - b) * (a - b));
    let coarse = mean.cells(2);
    let third = coarse.blur(0.56).zip(&coarse.blur(1.474), |a, b| (a - b) * (a - b));
    let third = third.resize(mean.width, mean.height, Filter::Bilinear).unwrap_or_else(|_| Plane::new(mean.width, mean.height));
    [first, second, third]
}

/// The source's own grain where it is flat, levels of 255.
fn grain(y: &Plane, flat: &Plane) -> Plane {
    let fine = y.zip(&y.blur(1.0), |v, s| (v - s) * (v - s)).zip(flat, |e, f| e * f);
    fine.blur(2.5).zip(&flat.blur(2.5), |e, w| 255.0 * (e.max(0.0) / w.max(0.3)).sqrt())
}

/// How much of the noisiest squares looks like itself some pixels on, 0..1.
fn repeats(size: (usize, usize), map: &Plane, difference: impl Fn(&tiles::Tile) -> Plane) -> f32 {
    let cells = SQUARE / micro_noise::CELL;
    let (cols, rows) = (map.width / cells, map.height / cells);
    let mut squares: Vec<(f32, usize, usize)> = (0..rows)
        .flat_map(|r| (0..cols).map(move |c| (r, c)))
        .map(|(r, c)| (map.part(c * cells..(c + 1) * cells, r * cells..(r + 1) * cells).data.iter().sum::<f32>(), c, r))
        .collect();
    squares.sort_by(|a, b| b.0.total_cmp(&a.0));
    let n = SQUARE as isize;
    let last = *STEPS.end();
    let steps: Vec<(isize, isize)> = (0..=last)
        .flat_map(|dy| (-last..=last).map(move |dx| (dx, dy)))
        .filter(|&(dx, dy)| (dy > 0 || dx > 0) && (STEPS.start().pow(2)..=last * last).contains(&(dx * dx + dy * dy)))
        .collect();
    let mut sums = vec![0.0f32; steps.len()];
    let mut all = 0.0;
    for (_, c, r) in squares.into_iter().take(SQUARES) {
        let tile = tiles::Tile::square(size, (c * SQUARE, r * SQUARE), SQUARE);
        let d = difference(&tile);
        let d = d.zip(&d.blur(2.5), |v, s| v - s);
        all += d.data.iter().map(|v| v * v).sum::<f32>() / (n * n) as f32;
        for (sum, &(dx, dy)) in sums.iter_mut().zip(&steps) {
            let (from, to) = ((-dx).max(0), n - dx.max(0));
            let mut products = 0.0;
            for y in 0..n - dy {
                let (a, b) = (d.row(y as usize), d.row((y + dy) as usize));
                let there = &b[(from + dx) as usize..(to + dx) as usize];
                products += a[from as usize..to as usize].iter().zip(there).map(|(a, b)| a * b).sum::<f32>();
            }
            *sum += products / ((n - dy) * (to - from)) as f32;
        }
    }
    sums.into_iter().fold(0.0, f32::max) / all.max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;

    const SIDE: usize = 256;

    /// Normal deviates, unit deviation, of a fixed seed.
    fn normal(n: usize) -> Vec<f32> {
        let mut state = 5u32;
        let mut unit = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        (0..n).map(|_| (0..12).map(|_| unit()).sum::<f32>() - 6.0).collect()
    }

    fn sky(side: usize) -> Plane {
        Plane { width: side, height: side, data: (0..side * side).map(|i| 0.4 + 0.2 * (i / side) as f32 / side as f32).collect() }
    }

    /// A sky with something added to its channels in the result, and grain (levels) in the source and what is made of it faithfully.
    fn scene(add: impl Fn(usize) -> [f32; 3], grain: f32) -> Scene {
        let coded = |p: Plane| p.map(|v| (v * 255.0).round() / 255.0);
        let noise = normal(64 * 64);
        let mut small = sky(64);
        small.data.iter_mut().zip(&noise).for_each(|(v, n)| *v += grain / 255.0 * n);
        let source = Picture::from_planes(std::array::from_fn(|_| coded(small.clone())));
        let enlarged = source.resize(SIDE, SIDE, Filter::CatmullRom).unwrap();
        let added: Vec<[f32; 3]> = (0..SIDE * SIDE).map(add).collect();
        let result = std::array::from_fn(|c| {
            let mut p = enlarged.channel(c).clone();
            p.data.iter_mut().zip(&added).for_each(|(v, a)| *v += a[c] / 255.0);
            coded(p)
        });
        let mut scene = Scene::new(Picture::from_planes(result), source).unwrap();
        scene.faithful = Some(Picture::from_planes(std::array::from_fn(|_| sky(SIDE))));
        scene
    }

    fn score(scene: &Scene) -> f32 {
        measure(scene, None).unwrap().score
    }

    #[test]
    fn noise_over_a_whole_sky_is_found_whatever_its_kind() {
        let white = normal(SIDE * SIDE);
        let soft = Plane { width: SIDE, height: SIDE, data: white.clone() }.blur(1.3);
        let unit = (soft.data.iter().map(|v| v * v).sum::<f32>() / soft.data.len() as f32).sqrt();
        let speckle = |i: usize| if white[(i * 7) % white.len()] > 1.7 { 24.0 } else { 0.0 };
        for (what, least, scene) in [
            ("white", 1.2, scene(|i| [8.0 * white[i]; 3], 0.0)),
            ("soft", 1.8, scene(|i| [6.0 * soft.data[i] / unit; 3], 0.0)),
            ("colour", 1.2, scene(|i| [9.0 * white[i], 0.0, -6.0 * white[i]], 0.0)),
            ("speckle", 0.8, scene(|i| [speckle(i); 3], 0.0)),
        ] {
            let found = score(&scene);
            assert!(found > least, "{what}: {found}");
        }
    }

    #[test]
    fn what_the_source_has_and_what_is_drawn_is_no_noise() {
        // Grain of four levels that an honest enlargement passes on; faint noise; dots of a print.
        assert!(score(&scene(|_| [0.0; 3], 4.0)) < 0.3);
        let white = normal(SIDE * SIDE);
        assert!(score(&scene(|i| [white[i]; 3], 0.0)) < 0.5);
        let dots = |i: usize| {
            let (x, y) = ((i % SIDE) as f32, (i / SIDE) as f32);
            [40.0 * (0.9 * x + 0.3 * y).sin() * (0.9 * y - 0.3 * x).sin(); 3]
        };
        assert!(score(&scene(dots, 0.0)) < 0.1);
    }

    #[test]
    fn a_noisy_patch_counts_as_a_patch() {
        let white = normal(SIDE * SIDE);
        let inside = |i: usize| (64..128).contains(&(i % SIDE)) && (64..128).contains(&(i / SIDE));
        let even = measure(&scene(|i| if inside(i) { [6.0 * white[i]; 3] } else { [0.0; 3] }, 0.0), None).unwrap();
        assert!(even.score < 0.3 && even.patch > 0.8, "{} {}", even.score, even.patch);
        let (_, x, y) = even.map.peak();
        assert!((14..34).contains(&x) && (14..34).contains(&y), "{x},{y}");
    }
}
