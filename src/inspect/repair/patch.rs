//! One region's replacement: the faithful pixels made to fit, and the mask under which they are laid.

use super::super::plane::{Plane, quantile};
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
}

/// Grain stronger than this is no grain: sigma of a value in 0..1.
const MOST_GRAIN: f32 = 4.0 / 255.0;
/// Pixels from which grain can be told.
const ENOUGH: usize = 256;

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
        // The region grows by one feather and fades over four more; what is left is measured for grain.
        let reach = 7 * soft;
        let window = Rect { x: x0.saturating_sub(reach), y: y0.saturating_sub(reach), w: 0, h: 0 };
        let window = Rect { w: (x1 + reach).min(w).saturating_sub(window.x), h: (y1 + reach).min(h).saturating_sub(window.y), ..window };
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
        let cut = |p: &Picture| -> Vec<Plane> { (0..planes).map(|c| window_of(p.channel(c), window)).collect() };
        let (theirs, ours) = (cut(result), cut(faithful));
        let mut values: Vec<Plane> = theirs
            .iter()
            .zip(&ours)
            .map(|(c, f)| {
                let low = c.zip(f, |c, f| c - f).blur(sigma_px);
                f.zip(&low, |f, l| f + l)
            })
            .collect();
        let grain = Grain::of(&luma(&theirs), &luma(&ours), &mask);
        if let Some(noise) = grain.map(|g| g.drawn(window)) {
            for v in &mut values {
                *v = v.zip(&noise, |v, n| v + n);
            }
        }
        values.iter_mut().for_each(|v| v.data.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0)));
        Ok(Self { window, mask, values })
    }

    /// One value over a window, fully.
    #[cfg(test)]
    pub(super) fn flat(window: Rect, value: f32) -> Self {
        let plane = |v: f32| Plane { width: window.w, height: window.h, data: vec![v; window.w * window.h] };
        Self { window, mask: plane(1.0), values: vec![plane(value)] }
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
                let old = &mut band.row_mut(c, r)[x..x + w];
                for i in 0..w {
                    if mask[i] > 0.0 && opaque.as_ref().is_none_or(|o| o[i]) {
                        old[i] += mask[i] * (new[i] - old[i]);
                    }
                }
            }
        }
    }
}

fn window_of(plane: &Plane, at: Rect) -> Plane {
    let data = (at.y..at.y + at.h).flat_map(|y| plane.row(y)[at.x..at.x + at.w].iter().copied()).collect();
    Plane { width: at.w, height: at.h, data }
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

/// Grain of the result that the faithful enlargement has not.
struct Grain {
    sigma: f32,
    /// How soft it is: the Gaussian that makes white noise look like it.
    blur_px: f32,
}

impl Grain {
    /// Measured on flat pixels round the region (where the mask is 0); none if there are too few, or no grain is missing.
    fn of(result: &Plane, faithful: &Plane, mask: &Plane) -> Option<Self> {
        let flat = faithful.variance(2.0);
        let fine = |p: &Plane| p.zip(&p.blur(1.0), |v, m| v - m);
        let (c, f) = (fine(result), fine(faithful));
        let w = mask.width;
        let here: Vec<usize> = (0..mask.data.len()).filter(|&i| mask.data[i] == 0.0 && flat.data[i] < 4e-5).collect();
        if here.len() < ENOUGH {
            return None;
        }
        let sigma = |p: &Plane| 1.4826 * quantile(&mut here.iter().map(|&i| p.data[i].abs()).collect::<Vec<_>>(), 0.5);
        // What the difference to its mean over a sigma of one pixel leaves of white noise.
        const LEFT: f32 = 0.92;
        let missing = (sigma(&c).powi(2) - sigma(&f).powi(2)).max(0.0).sqrt() / LEFT;
        if missing < 0.25 / 255.0 {
            return None;
        }
        let (mut both, mut own) = (0.0f64, 1e-12f64);
        for &i in here.iter().filter(|&&i| i % w + 1 < w) {
            both += f64::from(c.data[i] * c.data[i + 1]);
            own += f64::from(c.data[i] * c.data[i]);
        }
        let alike = (both / own) as f32;
        let blur_px = if alike > 0.02 { (-0.25 / alike.min(0.8).ln()).sqrt() } else { 0.0 };
        Some(Self { sigma: missing.min(MOST_GRAIN), blur_px })
    }

    /// Noise of that kind for a window; a function of the place in the picture alone.
    fn drawn(&self, at: Rect) -> Plane {
        let mut noise = Plane::new(at.w, at.h);
        for y in 0..at.h {
            for (x, v) in noise.row_mut(y).iter_mut().enumerate() {
                *v = gaussian((at.x + x) as u64, (at.y + y) as u64);
            }
        }
        if self.blur_px > 0.3 {
            noise = noise.blur(self.blur_px);
        }
        let power = (noise.data.iter().map(|v| v * v).sum::<f32>() / noise.data.len().max(1) as f32).sqrt().max(1e-6);
        noise.map(|v| v * self.sigma / power)
    }
}

/// A standard normal number for a place: the sum of eight uniform ones.
fn gaussian(x: u64, y: u64) -> f32 {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut z = (x << 32 | y).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let sum: u64 = (0..8).map(|i| (z >> (8 * i)) & 0xff).sum();
    (sum as f32 - 8.0 * 127.5) / (8.0f32 * (65536.0 - 1.0) / 12.0).sqrt()
}
