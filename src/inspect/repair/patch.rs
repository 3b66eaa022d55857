//! One region's replacement: the faithful pixels made to fit, and the mask under which they are laid.

use std::sync::OnceLock;

use super::super::plane::{Plane, quantile, reach};
use super::super::report::Rect;
use super::super::scene::Picture;
use crate::band::Band;
use crate::error::Result;

/// A window of the result with what is laid over it.
#[derive(Debug)]
pub struct Patch {
    window: Rect,
    /// 0..1, of the window's size; 0 along all of its sides that are not the picture's.
    mask: Plane,
    /// One plane or three, of the window's size.
    values: Vec<Plane>,
    /// What is added on top, as strong as the mask leaves room for; as many planes as values, or none.
    grain: Vec<Plane>,
}

impl Patch {
    /// A patch over the cells (indices into `map`, whose cells share the picture evenly) that takes the place of `result`.
    /// `scale` is result pixels per source pixel; the feather and the low band follow it.
    ///
    /// # Errors
    /// None that occurs: what resampling says about an empty size.
    pub(super) fn new(result: &Picture, faithful: &Picture, map: &Plane, cells: &[usize], scale: f32) -> Result<Self> {
        let soft = (scale.round() as usize).clamp(2, 16);
        let (w, h) = (result.width, result.height);
        let (across, down) = (w as f32 / map.width as f32, h as f32 / map.height as f32);
        let pixels = |cell: usize, step: f32, whole: usize| ((cell as f32 * step).round() as usize).min(whole);
        let (mut x0, mut y0, mut x1, mut y1) = (w, h, 0, 0);
        for &i in cells {
            let (x, y) = (i % map.width, i / map.width);
            (x0, y0) = (x0.min(pixels(x, across, w)), y0.min(pixels(y, down, h)));
            (x1, y1) = (x1.max(pixels(x + 1, across, w)), y1.max(pixels(y + 1, down, h)));
        }
        // The region grows by one feather and fades over four more.
        let window = grown(Rect { x: x0, y: y0, w: x1 - x0.min(x1), h: y1 - y0.min(y1) }, 7 * soft, (w, h));
        let mut core = Plane::new(window.w, window.h);
        for &i in cells {
            let (cx, cy) = (i % map.width, i / map.width);
            for y in pixels(cy, down, h)..pixels(cy + 1, down, h) {
                core.row_mut(y - window.y)[pixels(cx, across, w) - window.x..pixels(cx + 1, across, w) - window.x].fill(1.0);
            }
        }
        // Dilated by three feathers; two means reach two of them inwards and outwards.
        let mask = core.dilate(3 * soft).mean(soft).mean(soft).map(|m| {
            let m = ((m - 0.001) / 0.998).clamp(0.0, 1.0);
            m * m * (3.0 - 2.0 * m)
        });
        let sigma_px = 4.0 * scale.max(1.0);
        let planes = if result.is_grey() { 1 } else { 3 };
        let around = grown(window, reach(sigma_px), (w, h));
        let (theirs, ours) = (cut(result, around, planes), cut(faithful, around, planes));
        let inner = |p: &Plane| {
            let (x, y) = (window.x - around.x, window.y - around.y);
            p.part(x..x + window.w, y..y + window.h)
        };
        let fitted = |(c, f): (&Plane, &Plane)| {
            let low = within(&c.zip(f, |c, f| c - f), sigma_px);
            inner(f).zip(&inner(&low), |f, l| (f + l).clamp(0.0, 1.0))
        };
        let values = theirs.iter().zip(&ours).map(fitted).collect();
        // Where everything nearby is busy, flat places further away tell.
        let wider = grown(window, 4 * reach(sigma_px), (w, h));
        let told = Grain::of(&theirs, &ours, &mask, window, around)
            .or_else(|| Grain::of(&cut(result, wider, planes), &cut(faithful, wider, planes), &mask, window, wider));
        // Two grains of variance s are blended to one of (m^2 + (1 - m)^2) s: what is added makes up for it.
        let room = mask.map(|m| (m * (2.0 - m)).sqrt());
        let drawn = told.iter().flat_map(|g| g.drawn(window));
        let grain = drawn.map(|noise| noise.zip(&room, |n, r| n * r)).collect();
        Ok(Self { window, mask, values, grain })
    }

    /// One value over a window, fully.
    #[cfg(test)]
    pub(super) fn flat(window: Rect, value: f32) -> Self {
        let plane = |v: f32| Plane { width: window.w, height: window.h, data: vec![v; window.w * window.h] };
        Self { window, mask: plane(1.0), values: vec![plane(value)], grain: Vec::new() }
    }

    /// The part of the picture beyond which nothing changes.
    pub fn window(&self) -> Rect {
        self.window
    }

    /// Lays it over rows of the result; pixels that are not opaque stay as they are.
    pub fn apply(&self, band: &mut Band) {
        let Rect { x, y, w, h } = self.window;
        let colours = if band.channels >= 3 { 3 } else { 1 };
        let alpha = band.channels.is_multiple_of(2).then_some(band.channels - 1);
        for row in y.max(band.y)..(y + h).min(band.end()) {
            let (r, mask) = (row - band.y, self.mask.row(row - y));
            let opaque: Option<Vec<bool>> = alpha.map(|a| band.row(a, r)[x..x + w].iter().map(|a| *a >= 0.999).collect());
            for c in 0..colours {
                let new = self.values[c.min(self.values.len() - 1)].row(row - y);
                let grain = self.grain.get(c.min(self.grain.len().saturating_sub(1))).map(|g| g.row(row - y));
                let old = &mut band.row_mut(c, r)[x..x + w];
                for i in 0..w {
                    if mask[i] > 0.0 && opaque.as_ref().is_none_or(|o| o[i]) {
                        let mixed = old[i] + mask[i] * (new[i] - old[i]);
                        old[i] = grain.map_or(mixed, |g| (mixed + g[i]).clamp(0.0, 1.0));
                    }
                }
            }
        }
    }
}

/// A rectangle and `by` pixels on every side, as far as the picture reaches.
fn grown(at: Rect, by: usize, (w, h): (usize, usize)) -> Rect {
    let (x, y) = (at.x.saturating_sub(by), at.y.saturating_sub(by));
    Rect { x, y, w: (at.x + at.w + by).min(w).saturating_sub(x), h: (at.y + at.h + by).min(h).saturating_sub(y) }
}

fn cut(p: &Picture, at: Rect, planes: usize) -> Vec<Plane> {
    (0..planes).map(|c| p.channel(c).part(at.x..at.x + at.w, at.y..at.y + at.h)).collect()
}

/// Gaussian mean of what is inside the plane alone. Repeating the edge, as [`Plane::blur`] does, would give the outermost row or
/// column half of all weight, and there networks are at their worst: they see zeros beyond it.
fn within(plane: &Plane, sigma_px: f32) -> Plane {
    let by = reach(sigma_px);
    let (w, h) = (plane.width, plane.height);
    let laid = |row: &dyn Fn(usize, &mut [f32])| {
        let mut out = Plane::new(w + 2 * by, h + 2 * by);
        (0..h).for_each(|y| row(y, &mut out.row_mut(y + by)[by..by + w]));
        out.blur(sigma_px).part(by..by + w, by..by + h)
    };
    let sum = laid(&|y, row| row.copy_from_slice(plane.row(y)));
    let weight = laid(&|_, row| row.fill(1.0));
    sum.zip(&weight, |s, w| s / w.max(1e-6))
}

fn luma(planes: &[Plane]) -> Plane {
    match planes {
        [r, g, b] => {
            let rg = r.zip(g, |r, g| 0.2126 * r + 0.7152 * g);
            rg.zip(b, |y, b| y + 0.0722 * b)
        }
        other => other[0].clone(),
    }
}

/// Gaussians between which the bands of grain lie, px: below the first, and from each to the next.
const BANDS_PX: [f32; 3] = [1.0, 2.0, 4.0];
const BANDS: usize = BANDS_PX.len();
/// Stronger in a band is no grain: sigma of a value in 0..1.
const MOST: f32 = 4.0 / 255.0;
/// Weaker is none.
const LEAST: f32 = 0.15 / 255.0;
/// Pixels from which grain can be told.
const ENOUGH: usize = 400;
/// Variance of the faithful enlargement under a Gaussian of 2 px up to which a place is flat.
const FLAT: f32 = 4e-5;

fn bands(plane: &Plane) -> [Plane; BANDS] {
    let soft = BANDS_PX.map(|s| plane.blur(s));
    std::array::from_fn(|k| if k == 0 { plane.zip(&soft[0], |p, s| p - s) } else { soft[k - 1].zip(&soft[k], |a, b| a - b) })
}

/// Grain of the result that the faithful enlargement has not.
#[derive(Debug)]
struct Grain {
    /// Sigma of every band that is missing, for each plane.
    missing: Vec<[f32; BANDS]>,
    /// How much of the finest band's variance the planes have in common, 0..1.
    alike: f32,
}

impl Grain {
    /// Measured on flat pixels of `around` outside the patch (`mask` over `window`); none if there are too few, or no grain is missing.
    fn of(result: &[Plane], faithful: &[Plane], mask: &Plane, window: Rect, around: Rect) -> Option<Self> {
        let flat = luma(faithful).variance(2.0);
        let outside = |i: &usize| {
            let (x, y) = (i % around.w + around.x, i / around.w + around.y);
            let inside = (window.x..window.x + window.w).contains(&x) && (window.y..window.y + window.h).contains(&y);
            !inside || mask.row(y - window.y)[x - window.x] == 0.0
        };
        let here: Vec<usize> = (0..flat.data.len()).filter(|i| flat.data[*i] < FLAT).filter(outside).collect();
        if here.len() < ENOUGH {
            return None;
        }
        let sigma = |p: &Plane| 1.4826 * quantile(&mut here.iter().map(|&i| p.data[i].abs()).collect::<Vec<_>>(), 0.5);
        let mut finest = Vec::new();
        let missing: Vec<[f32; BANDS]> = result
            .iter()
            .zip(faithful)
            .map(|(c, f)| {
                let (mut c, f) = (bands(c), bands(f));
                let lacks = std::array::from_fn(|k| (sigma(&c[k]).powi(2) - sigma(&f[k]).powi(2)).max(0.0).sqrt());
                finest.push(std::mem::take(&mut c[0]));
                lacks.map(|s| if s < LEAST { 0.0 } else { s.min(MOST) })
            })
            .collect();
        let together = |a: &Plane, b: &Plane| here.iter().map(|&i| f64::from(a.data[i] * b.data[i])).sum::<f64>();
        let pairs = [(0, 1), (0, 2), (1, 2)].into_iter().filter(|(_, b)| *b < finest.len());
        let (mut common, mut all) = (0.0, 0.0);
        for (a, b) in pairs {
            common += together(&finest[a], &finest[b]);
            all += (together(&finest[a], &finest[a]) * together(&finest[b], &finest[b])).sqrt();
        }
        let alike = if all > 0.0 { (common / all).clamp(0.0, 1.0) as f32 } else { 1.0 };
        missing.iter().flatten().any(|s| *s > 0.0).then_some(Self { missing, alike })
    }

    /// Noise of that kind for a window, a plane each; a function of the place in the picture alone.
    fn drawn(&self, at: Rect) -> Vec<Plane> {
        let (shared, own) = (self.alike.sqrt(), (1.0 - self.alike).sqrt());
        let common = white(at, 0);
        let one = |(i, missing): (usize, &[f32; BANDS])| {
            let noise = if own > 0.02 { common.zip(&white(at, 1 + i as u64), |c, o| shared * c + own * o) } else { common.clone() };
            let gains = gains(missing);
            let [a, b, c] = bands(&noise);
            a.zip3(&b, &c, |a, b, c| gains[0] * a + gains[1] * b + gains[2] * c)
        };
        self.missing.iter().enumerate().map(one).collect()
    }
}

/// How much of every band of white noise gives these sigmas; bands overlap, so each adds to its neighbours.
fn gains(wanted: &[f32; BANDS]) -> [f32; BANDS] {
    /// Of white noise of variance 1: covariance in band `k` of its bands `i` and `j`.
    static COVARIANCE: OnceLock<[[[f32; BANDS]; BANDS]; BANDS]> = OnceLock::new();
    let covariance = COVARIANCE.get_or_init(|| {
        let noise = bands(&white(Rect { x: 0, y: 0, w: 160, h: 160 }, 0));
        let each = noise.each_ref().map(bands);
        let mean = |a: &Plane, b: &Plane| a.data.iter().zip(&b.data).map(|(a, b)| a * b).sum::<f32>() / a.data.len() as f32;
        std::array::from_fn(|k| std::array::from_fn(|i| std::array::from_fn(|j| mean(&each[i][k], &each[j][k]))))
    });
    let sigma = |g: &[f32; BANDS], k: usize| {
        let terms = (0..BANDS).flat_map(|i| (0..BANDS).map(move |j| (i, j)));
        terms.map(|(i, j)| g[i] * g[j] * covariance[k][i][j]).sum::<f32>().max(0.0).sqrt()
    };
    let mut gains: [f32; BANDS] = std::array::from_fn(|k| wanted[k] / covariance[k][k][k].max(1e-9).sqrt());
    for _ in 0..24 {
        let now: [f32; BANDS] = std::array::from_fn(|k| sigma(&gains, k));
        gains = std::array::from_fn(|k| if now[k] > 0.0 { gains[k] * (wanted[k] / now[k]).clamp(0.5, 2.0) } else { 0.0 });
    }
    gains
}

/// White noise of variance 1 for a window, by the place in the picture; `lane`s are independent.
fn white(at: Rect, lane: u64) -> Plane {
    let mut noise = Plane::new(at.w, at.h);
    for y in 0..at.h {
        for (x, v) in noise.row_mut(y).iter_mut().enumerate() {
            *v = gaussian((at.x + x) as u64, (at.y + y) as u64, lane);
        }
    }
    noise
}

/// A standard normal number for a place: the sum of eight uniform ones.
fn gaussian(x: u64, y: u64, lane: u64) -> f32 {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut z = (x << 32 | y).wrapping_add(lane.wrapping_mul(0xd1b5_4a32_d192_ed03)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let sum: u64 = (0..8).map(|i| (z >> (8 * i)) & 0xff).sum();
    (sum as f32 - 8.0 * 127.5) / (8.0f32 * (65536.0 - 1.0) / 12.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 320;

    /// Flat on the left, woven on the right.
    fn truth() -> Vec<Plane> {
        let plane = |shift: f32| {
            let mut p = Plane::new(SIDE, SIDE);
            for y in 0..SIDE {
                for (x, v) in p.row_mut(y).iter_mut().enumerate() {
                    let (u, w) = (x as f32, y as f32);
                    let woven = if x < SIDE / 2 { 0.0 } else { 0.05 * (u * 0.8 + shift).sin() * (w * 0.7).cos() };
                    *v = 0.4 + 0.1 * (u * 0.004 + w * 0.006 + shift).sin() + woven;
                }
            }
            p
        };
        vec![plane(0.0), plane(0.3), plane(0.8)]
    }

    /// Noise that has nothing to do with [`white`].
    fn noise(seed: u64) -> Plane {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let mut p = Plane::new(SIDE, SIDE);
        p.data.fill_with(|| (0..6).map(|_| uniform()).sum::<f32>() - 3.0);
        p.map(|v| v * 2.0f32.sqrt())
    }

    fn sum(planes: &[Plane], more: &[Plane]) -> Vec<Plane> {
        planes.iter().zip(more).map(|(a, b)| a.zip(b, |a, b| a + b)).collect()
    }

    fn picture(planes: &[Plane]) -> Picture {
        Picture::from_planes([planes[0].clone(), planes[1].clone(), planes[2].clone()])
    }

    /// Cells of a map of 8 px a cell, inside a rectangle of cells.
    fn cells(x: std::ops::Range<usize>, y: std::ops::Range<usize>) -> (Plane, Vec<usize>) {
        let map = Plane::new(SIDE / 8, SIDE / 8);
        let cells = y.flat_map(|y| x.clone().map(move |x| y * SIDE / 8 + x)).collect();
        (map, cells)
    }

    fn mended(result: &[Plane], faithful: &[Plane], (map, cells): &(Plane, Vec<usize>)) -> (Vec<Plane>, Plane) {
        let patch = Patch::new(&picture(result), &picture(faithful), map, cells, 4.0).unwrap();
        let mut band = picture(result).band(0, SIDE);
        patch.apply(&mut band);
        let mut mask = Plane::new(SIDE, SIDE);
        for y in 0..patch.window.h {
            let row = &mut mask.row_mut(y + patch.window.y)[patch.window.x..patch.window.x + patch.window.w];
            row.copy_from_slice(patch.mask.row(y));
        }
        ((0..3).map(|c| Plane { width: SIDE, height: SIDE, data: band.plane(c).to_vec() }).collect(), mask)
    }

    fn deviation(p: &Plane, here: impl Fn(usize, usize) -> bool) -> f32 {
        let all: Vec<f32> = (0..p.data.len()).filter(|i| here(i % SIDE, i / SIDE)).map(|i| p.data[i]).collect();
        assert!(all.len() > 1000, "{}", all.len());
        (all.iter().map(|v| v * v).sum::<f32>() / all.len() as f32).sqrt()
    }

    #[test]
    fn grain_in_a_patch_is_that_of_its_surroundings() {
        let truth = truth();
        let level = 2.5 / 255.0;
        let same = noise(1).map(|v| v * level);
        let soft = noise(2).blur(0.9).map(|v| v * level * 2.5);
        let own = |k| noise(k).map(|v| v * level);
        let film = noise(6).blur(0.7).map(|v| v * 2.0 * level).zip(&noise(7).blur(2.5).map(|v| v * 5.0 * level), |a, b| a + b);
        let kinds = [
            ("fine, grey", vec![same; 3]),
            ("soft, grey", vec![soft; 3]),
            ("fine, coloured", vec![own(3), own(4), own(5)]),
            ("film", vec![film; 3]),
        ];
        let region = cells(10..30, 8..32);
        for (name, grain) in kinds {
            let mut result = sum(&truth, &grain);
            for plane in &mut result {
                for y in 64..256 {
                    for x in 80..240 {
                        plane.row_mut(y)[x] += 0.12 * (x as f32 * 0.9 - y as f32 * 0.7).sin() * (y as f32 * 0.8).cos();
                    }
                }
            }
            let (new, mask) = mended(&result, &truth, &region);
            for c in 0..3 {
                let left = bands(&new[c].zip(&truth[c], |n, t| n - t));
                let was = bands(&grain[c]);
                for k in 0..BANDS {
                    for (place, flat) in [("flat", true), ("woven", false)] {
                        let here = |x: usize| (x < SIDE / 2) == flat && x.abs_diff(SIDE / 2) > 8;
                        let inside = deviation(&left[k], |x, y| here(x) && mask.row(y)[x] == 1.0);
                        let outside = deviation(&was[k], |x, y| here(x) && mask.row(y)[x] == 0.0);
                        let off = (inside - outside).abs();
                        assert!(off < 0.18 * outside || off < LEAST, "{name}, {place}, plane {c}, band {k}: {inside} beside {outside}");
                    }
                }
            }
            let alike = |p: &[Plane], m: f32| {
                let (a, b) = (&bands(&p[0])[0], &bands(&p[2])[0]);
                let here: Vec<usize> = (0..mask.data.len()).filter(|i| mask.data[*i] == m && i % SIDE < SIDE / 2 - 8).collect();
                let mean = |a: &Plane, b: &Plane| here.iter().map(|&i| a.data[i] * b.data[i]).sum::<f32>();
                mean(a, b) / (mean(a, a) * mean(b, b)).sqrt()
            };
            let left: Vec<Plane> = new.iter().zip(&truth).map(|(n, t)| n.zip(t, |n, t| n - t)).collect();
            assert!((alike(&left, 1.0) - alike(&grain, 0.0)).abs() < 0.12, "{name}: colour of the grain");
        }
    }

    #[test]
    fn no_ring_of_less_grain_lies_round_a_patch() {
        let truth = truth();
        let grain = vec![noise(8).map(|v| v * 2.5 / 255.0); 3];
        let (new, mask) = mended(&sum(&truth, &grain), &truth, &cells(6..14, 6..34));
        let left = bands(&new[1].zip(&truth[1], |n, t| n - t));
        let outside = deviation(&bands(&grain[1])[0], |x, y| mask.row(y)[x] == 0.0);
        let ring = deviation(&left[0], |x, y| (0.2..0.8).contains(&mask.row(y)[x]));
        assert!((ring / outside - 1.0).abs() < 0.12, "{ring} beside {outside}");
    }

    #[test]
    fn a_clean_result_gets_no_grain() {
        let truth = truth();
        let (new, _) = mended(&truth, &truth, &cells(10..30, 8..32));
        let off = new.iter().zip(&truth).flat_map(|(n, t)| n.data.iter().zip(&t.data)).map(|(n, t)| (n - t).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "{off}");
    }

    #[test]
    fn the_outermost_rows_do_not_tint_a_patch_at_the_border() {
        // A network that sees zeros beyond the picture: its outermost rows and columns are darker. Elsewhere the tone is off by 5.
        let truth = truth();
        let tone = 5.0 / 255.0;
        let mut result = truth.clone();
        for plane in &mut result {
            plane.data.iter_mut().for_each(|v| *v += tone);
            for i in 0..SIDE {
                plane.row_mut(0)[i] -= 20.0 / 255.0;
                plane.row_mut(i)[0] -= 20.0 / 255.0;
            }
        }
        let (new, mask) = mended(&result, &truth, &cells(0..10, 0..10));
        let worst = |c: usize| {
            let all = (0..SIDE * SIDE).filter(|i| mask.data[*i] == 1.0 && i % SIDE > 1 && i / SIDE > 1);
            all.map(|i| (new[c].data[i] - truth[c].data[i] - tone).abs()).fold(0.0, f32::max)
        };
        assert!(mask.data[0] == 1.0, "the corner is part of it");
        assert!(worst(0) < 2.0 / 255.0 && worst(2) < 2.0 / 255.0, "{} {}", worst(0) * 255.0, worst(2) * 255.0);
    }
}
