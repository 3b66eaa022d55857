//! Isolated pixels that stand out from all their neighbours: salt and pepper, dead pixels, speckle.
//!
//! A pixel counts if it differs from the median of its eight neighbours by ten levels and by four times what six of these span, so that neither
//! texture nor noise of other kinds counts. With a faithful enlargement F, what is looked at is result - F, where F is nearly flat around
//! the pixel: a star or a grain of rice is in the source, too, if only softly. Without, the neighbours themselves have to be nearly equal.

use std::ops::Range;

use multiversion::multiversion;

use super::plane::{Plane, quantile};
use super::{Scene, filter, tiles};

/// Side of a cell, output pixels; a patch is two by two of them.
const CELL: usize = 32;
/// What a pixel differs by, and how many times what its neighbours span.
const HEIGHT: f32 = 0.04;
const TIMES: f32 = 4.0;
/// What F, or the neighbours, may span.
const FLAT: f32 = 0.06;
const EQUAL: f32 = 0.04;
/// The share of a cell that has to be flat, and the cells that are needed.
const LEAST: f32 = 0.2;
const CELLS: usize = 6;
/// The share of cells that have fewer than what counts for the whole picture.
const QUIET: f32 = 0.25;
/// Raw score 1: specks in a thousand pixels everywhere; in a patch, which by chance has more, from and with.
const EVERYWHERE: f32 = 5.0;
const PATCH: (f32, f32) = (10.0, 22.0);

/// Specks of a picture, as raw scores: about 1 is the most that clean pictures have.
pub struct Specks {
    /// What three quarters of the cells have.
    pub everywhere: f32,
    /// By cell of 32 px, what the patch around it has.
    pub map: Plane,
    /// Specks in a thousand pixels, by cell.
    pub density: Plane,
}

/// None if too little is flat.
pub fn measure(scene: &Scene) -> Option<Specks> {
    let y = scene.luma();
    let faithful = scene.faithful_luma();
    let [count, flat] = tiles::cells((y.width, y.height), CELL, 1, |tile| {
        let base = faithful.map_or_else(|| tile.cut(y), |f| tile.zip(y, f, |c, f| c - f));
        let f = faithful.map(|f| tile.cut(f));
        // Alone, the neighbours themselves are all that can be flat.
        let (of, most) = f.as_ref().map_or((&base, (f32::INFINITY, EQUAL)), |f| (f, (FLAT, f32::INFINITY)));
        let (x, _) = tile.inside();
        // Pixels at the picture's border do not have eight neighbours.
        let (from, to) = (x.start.max(1), x.end.min(base.width - 1));
        tile.sums(CELL, |y, [count, flat]| {
            if y > 0 && y + 1 < base.height && from < to {
                let part = from - x.start..to - x.start;
                let (rows, flat_in) = (three(&base, y, from - 1..to + 1), three(of, y, from - 1..to + 1));
                add_specks(rows, flat_in, most, [&mut count[part.clone()], &mut flat[part]]);
            }
        })
    });
    let ok: Vec<bool> = flat.data.iter().map(|f| *f > LEAST).collect();
    if ok.iter().filter(|ok| **ok).count() < CELLS {
        return None;
    }
    let mut density = count.zip(&flat, |n, f| 1000.0 * n / f.max(LEAST));
    density.data.iter_mut().zip(&ok).filter(|(_, ok)| !**ok).for_each(|(v, _)| *v = 0.0);
    let mut judged: Vec<f32> = density.data.iter().zip(&ok).filter(|(_, ok)| **ok).map(|(v, _)| *v).collect();
    let everywhere = quantile(&mut judged, QUIET) / EVERYWHERE;
    let mut map = Plane::new(density.width, density.height);
    for y in 0..map.height {
        for x in 0..map.width {
            // The fullest of the four patches that hold the cell.
            let patch = |(left, top): (usize, usize)| {
                let cells = [(left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)];
                cells.map(|(x, y)| if x < density.width && y < density.height { density.row(y)[x] } else { 0.0 }).iter().sum::<f32>() / 4.0
            };
            let corners = [(x.saturating_sub(1), y.saturating_sub(1)), (x, y.saturating_sub(1)), (x.saturating_sub(1), y), (x, y)];
            let most = corners.map(patch).into_iter().fold(0.0, f32::max);
            map.row_mut(y)[x] = ((most - PATCH.0) / (PATCH.1 - PATCH.0)).max(0.0);
        }
    }
    Some(Specks { everywhere, map, density })
}

/// A row of a plane between its neighbours.
fn three(p: &Plane, y: usize, x: Range<usize>) -> [&[f32]; 3] {
    [y - 1, y, y + 1].map(|y| &p.row(y)[x.clone()])
}

/// Adds, by pixel, whether it is a speck and whether it is flat around it. Rows have a pixel more at both ends; `most`: what nine pixels
/// of `flat_in` and six of the eight neighbours may span.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_specks(rows: [&[f32]; 3], flat_in: [&[f32]; 3], most: (f32, f32), [count, flat]: [&mut [f32]; 2]) {
    for (i, (count, flat)) in count.chunks_mut(LANES).zip(flat.chunks_mut(LANES)).enumerate() {
        let ([a, b, c], [fa, fb, fc]) = (rows.map(|r| &r[i * LANES..]), flat_in.map(|r| &r[i * LANES..]));
        let v = sorted([lanes(a, 0), lanes(a, 1), lanes(a, 2), lanes(b, 0), lanes(b, 2), lanes(c, 0), lanes(c, 1), lanes(c, 2)]);
        let here = lanes(b, 1);
        let (mut least, mut largest) = (lanes(fb, 1), lanes(fb, 1));
        for other in [lanes(fa, 0), lanes(fa, 1), lanes(fa, 2), lanes(fb, 0), lanes(fb, 2), lanes(fc, 0), lanes(fc, 1), lanes(fc, 2)] {
            for k in 0..LANES {
                least[k] = if other[k] < least[k] { other[k] } else { least[k] };
                largest[k] = if other[k] > largest[k] { other[k] } else { largest[k] };
            }
        }
        let (mut is_flat, mut is_speck) = ([0.0f32; LANES], [0.0f32; LANES]);
        for k in 0..LANES {
            let span = v[6][k] - v[1][k];
            let off = (here[k] - 0.5 * (v[3][k] + v[4][k])).abs();
            let calm = (largest[k] - least[k] < most.0) & (span < most.1);
            is_flat[k] = if calm { 1.0 } else { 0.0 };
            is_speck[k] = if calm & (off > HEIGHT) & (off > TIMES * span) { 1.0 } else { 0.0 };
        }
        filter::add(&is_flat[..flat.len()], flat);
        filter::add(&is_speck[..count.len()], count);
    }
}

/// Pixels that are worked on together.
const LANES: usize = 16;

/// So many values of a row from a place on; 0 beyond its end.
#[inline(always)]
fn lanes(row: &[f32], from: usize) -> [f32; LANES] {
    let rest = row.get(from..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or_else(|| std::array::from_fn(|k| rest.get(k).copied().unwrap_or_default()))
}

/// Eight values in order, for all lanes, by Batcher's odd-even merge sort ("Sorting networks and their applications", AFIPS 1968): no branches.
#[inline(always)]
fn sorted(mut v: [[f32; LANES]; 8]) -> [[f32; LANES]; 8] {
    const STEPS: [(usize, usize); 19] = [
        (0, 1),
        (2, 3),
        (4, 5),
        (6, 7),
        (0, 2),
        (1, 3),
        (4, 6),
        (5, 7),
        (1, 2),
        (5, 6),
        (0, 4),
        (1, 5),
        (2, 6),
        (3, 7),
        (2, 4),
        (3, 5),
        (1, 2),
        (3, 4),
        (5, 6),
    ];
    for (i, j) in STEPS {
        let (a, b) = (v[i], v[j]);
        for k in 0..LANES {
            v[i][k] = if a[k] < b[k] { a[k] } else { b[k] };
            v[j][k] = if a[k] < b[k] { b[k] } else { a[k] };
        }
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::tests::picture;

    #[test]
    fn the_network_sorts() {
        // What sorts every row of zeros and ones sorts everything.
        for bits in 0u32..256 {
            let v = sorted(std::array::from_fn(|i| [(bits >> i & 1) as f32; LANES]));
            assert!(v.map(|lanes| lanes[LANES - 1]).is_sorted(), "{bits:08b}: {v:?}");
        }
    }

    fn noise(i: usize) -> f32 {
        (i as u32).wrapping_mul(2_654_435_761).wrapping_add(17).rotate_left(13).wrapping_mul(2_246_822_519) as f32 / u32::MAX as f32
    }

    /// The picture of the tests with a speck where `at` says so, beside itself or alone.
    fn of(at: impl Fn(usize, usize) -> bool, noisy: f32, compared: bool) -> Option<Specks> {
        let clean = picture(320, 256);
        let planes = std::array::from_fn(|c| {
            let mut p = clean.channel(c).clone();
            for (i, v) in p.data.iter_mut().enumerate() {
                *v += noisy * (noise(i) - 0.5);
                if at(i % 320, i / 320) && noise(i + 400_000) < 0.02 {
                    *v += if noise(i + 900_000) < 0.5 { 0.15 } else { -0.15 };
                }
            }
            p
        });
        let mut scene = Scene::alone(Picture::from_planes(planes));
        scene.faithful = compared.then(|| picture(320, 256));
        measure(&scene)
    }

    #[test]
    fn specks_are_counted_and_noise_is_not() {
        for compared in [true, false] {
            let of = |at: fn(usize, usize) -> bool, noisy| of(at, noisy, compared).unwrap();
            let (none, all, patch) = (of(|_, _| false, 0.02), of(|_, _| true, 0.02), of(|x, y| x < 96 && y < 96, 0.02));
            assert!(none.everywhere == 0.0 && none.map.peak().0 == 0.0, "{compared}: {} {}", none.everywhere, none.map.peak().0);
            assert!(all.everywhere > 2.0, "{compared}: {}", all.everywhere);
            assert!(patch.everywhere == 0.0 && patch.map.peak().0 > 0.2, "{compared}: {}", patch.map.peak().0);
            let (_, x, y) = patch.map.peak();
            assert!(x < 4 && y < 4, "{compared}: {x} {y}");
        }
        // Ten times as strong, noise lifts single pixels as high as specks, among neighbours that differ as much.
        let noisy = of(|_, _| false, 0.2, true).unwrap();
        assert!(noisy.everywhere < 0.2 && of(|_, _| false, 0.2, false).is_none(), "{}", noisy.everywhere);
    }
}
