//! Noise that lies evenly over what should be flat: all of a sky, a face, a wall, or the whole picture.
//!
//! Needs a faithful enlargement F. Where F and the source are flat, D = result - F is noise and nothing else. Its deviation is taken in
//! three bands (finer than 1 px, 1 to 2.5 px, 2.5 to 6 px: white noise and speckle, soft noise, mottle), for luma and both colour
//! differences, under a Gaussian of 6 px. A source's own grain may be passed on: its deviation from a Gaussian of one source pixel is
//! what D may have. Raw score: the logarithm of one over the other, both with a level or two that nobody sees, weighted so that clean
//! pictures reach about as far in every band. What the quietest quarter of the flat places has counts: noise is everywhere, detail that the source
//! lost is not. What repeats (dots of a print, cloth) is drawn and no noise.

use multiversion::multiversion;
use rayon::prelude::*;

use super::mask::Mask;
use super::plane::{Plane, Soft, quantile, quantile_where};
use super::reduce::{self, Axis};
use super::{Scene, filter, micro_noise, tiles};
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
    let (source, ys) = (scene.source.as_ref()?, scene.source_luma()?);
    let pair = Pair { result: &scene.result, y: scene.luma(), faithful: scene.faithful.as_ref()?, yf: scene.faithful_luma()? };
    if pair.y.width < 64 || pair.y.height < 64 {
        return None;
    }
    let [share, energies @ ..] = pair.energies(structure);
    let weight = share.blur(WINDOW);
    let ok: Vec<bool> = weight.data.iter().map(|w| *w > 0.5).collect();
    let count = ok.iter().filter(|ok| **ok).count();
    if (count as f32) < LEAST * ok.len() as f32 {
        return None;
    }
    let there = share.resize(source.width, source.height, Filter::Bilinear).ok()?;
    let channels = if scene.result.is_grey() { 1 } else { 3 };
    let judged = energies.par_chunks(BANDS.len()).take(channels).enumerate().map(|(channel, energies)| -> Option<Judged> {
        // Luma, R-Y, B-Y.
        let of = |p: &super::Picture, y: &Plane| (channel > 0).then(|| p.channel(2 * (channel - 1)).zip(y, |v, y| v - y));
        let grain = grain(of(source, ys).as_ref().unwrap_or(ys), &there).resize(share.width, share.height, Filter::Bilinear).ok()?;
        let usual = quantile_where(&grain.data, &ok, QUIET);
        let (mut map, mut noise) = (Plane::new(share.width, share.height), Plane::new(share.width, share.height));
        let mut loudest = 0.0f32;
        for (energy, (unseen, by)) in energies.iter().zip(BANDS) {
            let levels = energy.blur(WINDOW).zip(&weight, |e, w| 255.0 * (e.max(0.0) / w.max(0.5)).sqrt());
            loudest = loudest.max(by * ((quantile_where(&levels.data, &ok, QUIET) + unseen) / (usual + unseen)).ln());
            raise([&levels.data, &grain.data], &ok, (unseen, by), [&mut map.data, &mut noise.data]);
        }
        let mut local = widespread(&map, &ok);
        if loudest.max(local) > REMARKABLE {
            let drawn = repeats((pair.y.width, pair.y.height), &map, |tile| pair.difference(channel, tile));
            let count = ((DRAWN - drawn) / (DRAWN - CHANCE)).clamp(0.0, 1.0);
            map.data.iter_mut().for_each(|v| *v *= count);
            (loudest, local) = (loudest * count, local * count);
        }
        Some(Judged { map, noise, loudest, local, usual })
    });
    let judged: Vec<Option<Judged>> = judged.collect();
    let mut all = Even {
        score: 0.0,
        patch: 0.0,
        map: Plane::new(share.width, share.height),
        noise: Plane::new(share.width, share.height),
        usual: 0.0,
    };
    for j in judged {
        let j = j?;
        filter::raise(&mut all.map.data, &j.map.data);
        filter::raise(&mut all.noise.data, &j.noise.data);
        all.patch = all.patch.max(j.local);
        if j.loudest > all.score {
            (all.score, all.usual) = (j.loudest, j.usual);
        }
    }
    Some(all)
}

/// What one channel has.
struct Judged {
    map: Plane,
    noise: Plane,
    loudest: f32,
    local: f32,
    usual: f32,
}

/// Raises the first map to a band's levels over the grain, in logarithms, and the second to the levels, where it is `ok`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn raise([levels, grain]: [&[f32]; 2], ok: &[bool], (unseen, by): (f32, f32), [map, noise]: [&mut [f32]; 2]) {
    let n = ok.len();
    let (levels, grain, map, noise) = (&levels[..n], &grain[..n], &mut map[..n], &mut noise[..n]);
    for i in 0..n {
        let v = by * filter::ln((levels[i] + unseen) / (grain[i] + unseen));
        let (v, level) = if ok[i] { (v, levels[i]) } else { (0.0, 0.0) };
        map[i] = if v > map[i] { v } else { map[i] };
        noise[i] = if level > noise[i] { level } else { noise[i] };
    }
}

/// A result and the faithful enlargement, with their luma.
struct Pair<'a> {
    result: &'a super::Picture,
    y: &'a Plane,
    faithful: &'a super::Picture,
    yf: &'a Plane,
}

/// Pixels around a cell that its energies take in: Gaussians at half and at quarter size, and the next cell.
const MARGIN: usize = 24;

impl Pair<'_> {
    /// A row of the difference: of luma, of R-Y, of B-Y.
    fn row(&self, channel: usize, y: usize, x: std::ops::Range<usize>, out: &mut [f32]) {
        let (of, from) = (&self.y.row(y)[x.clone()], &self.yf.row(y)[x.clone()]);
        match channel {
            0 => filter::each_pair(of, from, out, &|c, f| c - f),
            _ => {
                let [c, f] = [self.result, self.faithful].map(|p| &p.channel(2 * (channel - 1)).row(y)[x.clone()]);
                colour_difference([c, of, f, from], out);
            }
        }
    }

    /// A piece of the difference.
    fn difference(&self, channel: usize, tile: &tiles::Tile) -> Plane {
        let (across, down) = tile.outer();
        let mut out = Plane::unset(across.len(), down.len());
        for (y, row) in down.zip(out.data.chunks_exact_mut(across.len().max(1))) {
            self.row(channel, y, across.clone(), row);
        }
        out
    }

    /// By cells of [`micro_noise::CELL`]: the share that is flat, and the energy there of every band of luma, R-Y and B-Y; the latter
    /// empty for a grey picture.
    fn energies(&self, structure: Option<&Plane>) -> [Plane; 10] {
        let size = (self.y.width, self.y.height);
        let (half, quarter) = ((size.0 / 2, size.1 / 2), (size.0 / 4, size.1 / 4));
        let contrast = micro_noise::contrast(self.yf);
        let limit = micro_noise::STRUCTURE * contrast.max(0.6);
        // A scaler widens when it reduces; between two values it is the same as here, piece by piece.
        let reduced = structure.filter(|s| s.width > half.0 || s.height > half.1).map(|s| s.resize(half.0, half.1, Filter::Bilinear));
        let axes = structure.map(|s| (Axis::linear(s.width, half.0), Axis::linear(s.height, half.1)));
        let doubling = (Axis::linear(quarter.0, half.0), Axis::linear(quarter.1, half.1));
        tiles::cells(size, micro_noise::CELL, MARGIN, |tile| {
            let (across, down) = tile.outer();
            let (wide, high) = (across.len() / 2, down.len() / 2);
            let there = |r: &std::ops::Range<usize>, n: usize| r.start / 2..r.start / 2 + n;
            let structure = match (&reduced, structure, &axes) {
                (Some(Ok(whole)), ..) => Some(whole.part(there(&across, wide), there(&down, high))),
                (None, Some(s), Some((x, y))) => Some(reduce::window(s, (x, y), there(&across, wide), there(&down, high))),
                _ => None,
            };
            let flat = self.flat(tile, contrast, structure.map(|s| Mask::of(&s, |v| v >= limit)));
            let (x, y) = tile.inside();
            let (x, y) = (x.start / 2..(x.end / 2).min(wide), y.start / 2..(y.end / 2).min(high));
            let mut out: [Plane; 10] = std::array::from_fn(|_| Plane::new((x.len() / 2).max(1), (y.len() / 2).max(1)));
            out[0] = flat.cells_in(x.clone(), y.clone(), 2);
            for channel in 0..if self.result.is_grey() { 1 } else { 3 } {
                let [mean, square] = self.halved(channel, tile);
                let coarse = mean.cells(2);
                let third = coarse.blur(0.56).zip(&coarse.blur(1.474), |a, b| (a - b) * (a - b));
                // From quarter to half size, at the picture's own places.
                let from = (across.start / 4, down.start / 4);
                let inner = |r: &std::ops::Range<usize>, o: usize| r.start + o / 2..r.end + o / 2;
                let third = reduce::window_of(&third, from, (&doubling.0, &doubling.1), inner(&x, across.start), inner(&y, down.start));
                bands(&mean, &square, &third, &flat, (x.clone(), y.clone()), &mut out[1 + 3 * channel..4 + 3 * channel]);
            }
            out
        })
    }

    /// Means of the difference and of its square at half size.
    fn halved(&self, channel: usize, tile: &tiles::Tile) -> [Plane; 2] {
        let (across, down) = tile.outer();
        let (w, h) = ((across.len() / 2).max(1), (down.len() / 2).max(1));
        let (mut mean, mut square) = (Plane::new(w, h), Plane::new(w, h));
        let mut row = vec![0.0f32; across.len()];
        for y in 0..h {
            // An odd last row joins the one before it, and so does an odd last column.
            let rows = down.start + 2 * y..if y + 1 == h { down.end } else { down.start + 2 * y + 2 };
            let by = 0.5 / rows.len() as f32;
            for r in rows {
                self.row(channel, r, across.clone(), &mut row);
                filter::add_runs(&row, 2, mean.row_mut(y));
                filter::add_products(&row, &row, square.row_mut(y));
            }
            for p in [&mut mean, &mut square] {
                let row = p.row_mut(y);
                row.iter_mut().for_each(|v| *v *= by);
                row[w - 1] *= 2.0 / (across.len() - 2 * (w - 1)) as f32;
            }
        }
        [mean, square]
    }

    /// 1 where the faithful enlargement and the source are flat, at half size. `rough`: where the source is not.
    fn flat(&self, tile: &tiles::Tile, contrast: f32, in_source: Option<Mask>) -> Plane {
        let (across, down) = tile.outer();
        let half = |p: &Plane| p.cells_in(across.clone(), down.clone(), 2);
        let mut y = half(self.yf);
        let steep = micro_noise::STEEP * contrast;
        let mut rough = Mask::none(y.width, y.height);
        // A pixel at half size is two: slopes are twice as large; the slope of half a colour difference counts like that of luma.
        rough.join_steep(&y, 0.5 * micro_noise::SOFT, 4.0 * steep * steep);
        if !self.faithful.is_grey() {
            for c in [0, 2] {
                rough.join_steep(&half(self.faithful.channel(c)).zip(&y, |v, y| v - y), 0.5 * micro_noise::SOFT, 16.0 * steep * steep);
            }
        }
        let mut rough = rough.dilate(micro_noise::SPREAD / 2);
        if let Some(there) = in_source {
            rough.join(&there);
        }
        for (v, r) in y.data.iter_mut().zip(&rough.data) {
            *v = if (*r == 0) & (*v > 0.03) & (*v < 0.97) { 1.0 } else { 0.0 };
        }
        y
    }
}

/// `(c - y) - (f - yf)`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn colour_difference([c, y, f, yf]: [&[f32]; 4], out: &mut [f32]) {
    let n = out.len();
    let (c, y, f, yf) = (&c[..n], &y[..n], &f[..n], &yf[..n]);
    for i in 0..n {
        out[i] = (c[i] - y[i]) - (f[i] - yf[i]);
    }
}

/// Means over two by two of the energies of the three bands where it is flat, of a rectangle of half the size. Bands are between
/// Gaussians of 1, 2.5 and 6 px, less the variance that a mean over two (four) pixels has.
fn bands(
    mean: &Plane,
    square: &Plane,
    third: &Plane,
    flat: &Plane,
    (x, y): (std::ops::Range<usize>, std::ops::Range<usize>),
    out: &mut [Plane],
) {
    let (w, h) = (out[0].width, out[0].height);
    let (mut fine, mut middle) = (Soft::new(0.433), Soft::new(1.225));
    let (mut rows, mut sums) = ([vec![0.0f32; x.len()], vec![0.0f32; x.len()]], [(); 3].map(|()| vec![0.0f32; x.len()]));
    for cy in 0..h {
        sums.iter_mut().for_each(|s| s.fill(0.0));
        let of = 2 * cy..if cy + 1 == h { y.len() } else { 2 * cy + 2 };
        for r in of.clone() {
            fine.part(mean, y.start + r, x.clone(), &mut rows[0]);
            middle.part(mean, y.start + r, x.clone(), &mut rows[1]);
            let there = |p: &'_ Plane| -> std::ops::Range<usize> { (y.start + r) * p.width + x.start..(y.start + r) * p.width + x.end };
            let (square, flat) = (&square.data[there(square)], &flat.data[there(flat)]);
            add_energies([square, &rows[0], &rows[1], third.row(r), flat], &mut sums);
        }
        for (p, s) in out.iter_mut().zip(&sums) {
            let row = p.row_mut(cy);
            filter::add_runs(s, 2, row);
            row.iter_mut().for_each(|v| *v /= (2 * of.len()) as f32);
            row[w - 1] *= 2.0 / (x.len() - 2 * (w - 1)) as f32;
        }
    }
}

/// Adds what [`bands`] takes the means of, from the mean square, both Gaussians, the third band, and what is flat.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_energies(rows: [&[f32]; 5], sums: &mut [Vec<f32>; 3]) {
    let n = rows[0].len();
    let [square, fine, middle, third, flat] = rows.map(|r| &r[..n]);
    let [a, b, c] = sums.each_mut().map(|s| &mut s[..n]);
    for i in 0..n {
        a[i] += (square[i] - fine[i] * fine[i]) * flat[i];
        b[i] += (fine[i] - middle[i]) * (fine[i] - middle[i]) * flat[i];
        c[i] += third[i] * flat[i];
    }
}

/// What the worst cells reach all around them: an edge is narrow, noise is not.
fn widespread(map: &Plane, ok: &[bool]) -> f32 {
    let (mut least, mut flat) = (Plane::unset(map.width, map.height), Plane::unset(map.width, map.height));
    for (((l, f), v), ok) in least.data.iter_mut().zip(&mut flat.data).zip(&map.data).zip(ok) {
        (*l, *f) = if *ok { (-v, 1.0) } else { (f32::MIN, 0.0) };
    }
    let (least, flat) = (least.dilate(AROUND), flat.mean(AROUND));
    let mut all: Vec<f32> = least.data.iter().zip(&flat.data).filter(|(_, f)| **f > LEAST_AROUND).map(|(v, _)| -v).collect();
    let share = (PATCH / all.len().max(1) as f32).min(0.03);
    quantile(&mut all, 1.0 - share).max(0.0)
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
                products += filter::dot(&a[from as usize..to as usize], &b[(from + dx) as usize..(to + dx) as usize]);
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
