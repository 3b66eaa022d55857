//! Defects as upscalers make them, planted in finished pictures at known places.

use super::scene::hash;
use crate::band::Band;
use crate::inspect::Rect;

/// What is planted, in turn: the detector that should find it, and what a person would call it.
pub const KINDS: [(&str, &str); 9] = [
    ("hallucination", "invented structure"),
    ("seam", "a tile join"),
    ("micro_noise", "noise in a smooth area"),
    ("pixel_blob", "a mosaic block"),
    ("hallucination", "worm-like texture"),
    ("halo", "over-sharpened edges"),
    ("colour_shift", "a colour cast"),
    ("blocking", "8 px blocks"),
    ("checkerboard", "a checkerboard"),
];

/// Standard normal, nearly: a function of the place.
fn normal(x: usize, y: usize, seed: u32) -> f32 {
    (0..6).map(|k| hash(x as i32, y as i32, seed * 31 + k)).sum::<f32>() * 1.414 - 4.243
}

/// 1 inside, 0 outside a soft ellipse in a box.
fn inside(r: Rect, x: usize, y: usize) -> f32 {
    let (w, h) = (r.w as f32 / 2.0, r.h as f32 / 2.0);
    let d = ((x as f32 - r.x as f32 - w) / w).hypot((y as f32 - r.y as f32 - h) / h);
    ((1.0 - d) * 6.0).clamp(0.0, 1.0)
}

/// Plants defect `n` of [`KINDS`] (in turn) in a picture; where it is, or the whole picture.
pub fn plant(band: &mut Band, n: usize, seed: u32) -> Rect {
    let (w, h) = (band.width, band.rows);
    let whole = Rect { x: 0, y: 0, w, h };
    let part = |share: f32| {
        let (pw, ph) = ((w as f32 * share) as usize, (h as f32 * share) as usize);
        let free = |all: usize, part: usize, k: i32| (hash(k, 3, seed) * (all - part) as f32) as usize;
        Rect { x: free(w, pw, 1), y: free(h, ph, 2), w: pw, h: ph }
    };
    let mut add = |r: Rect, f: &dyn Fn(usize, usize, usize) -> f32| {
        for c in 0..band.channels {
            for y in r.y..(r.y + r.h).min(h) {
                for x in r.x..(r.x + r.w).min(w) {
                    band.row_mut(c, y)[x] += f(c, x, y);
                }
            }
        }
    };
    let (u, v) = (0.55 + 0.3 * hash(1, 1, seed), 0.35 + 0.4 * hash(2, 1, seed));
    match n % KINDS.len() {
        0 => {
            let r = part(0.28);
            add(r, &|_, x, y| {
                let (x, y, m) = (x as f32, y as f32, inside(r, x, y));
                0.10 * m * (u * x + 0.4 * v * y).sin().signum() * (0.6 + 0.4 * (0.13 * y).sin())
            });
            r
        }
        1 => {
            let x = w / 2;
            add(Rect { x, y: 0, w: w - x, h }, &|c, _, _| [0.016, 0.012, 0.018][c.min(2)]);
            Rect { x: x.saturating_sub(8), y: 0, w: 16, h }
        }
        2 => {
            let r = smooth(band, 0.3);
            let mut noisy = |r: Rect| {
                for c in 0..band.channels {
                    for y in r.y..r.y + r.h {
                        for x in r.x..r.x + r.w {
                            band.row_mut(c, y)[x] += inside(r, x, y) * normal(x, y, seed + c as u32) * 4.5 / 255.0;
                        }
                    }
                }
            };
            noisy(r);
            r
        }
        3 => {
            let r = part(0.1);
            let (r, block) = (Rect { w: 48, h: 48, ..r }, 12);
            for c in 0..band.channels {
                for y in r.y..(r.y + r.h).min(h) {
                    for x in r.x..(r.x + r.w).min(w) {
                        let (bx, by) = (r.x + (x - r.x) / block * block, r.y + (y - r.y) / block * block);
                        let mut sum = 0.0;
                        for k in 0..block {
                            sum += band.row(c, (by + k).min(h - 1))[(bx + k).min(w - 1)];
                        }
                        let lift = 0.12 * (hash((bx / block) as i32, (by / block) as i32, seed) - 0.5);
                        band.row_mut(c, y)[x] = (sum / block as f32 + lift).clamp(0.0, 1.0);
                    }
                }
            }
            r
        }
        4 => {
            let r = part(0.3);
            add(r, &|_, x, y| {
                let (fx, fy, m) = (x as f32, y as f32, inside(r, x, y));
                let bend = 2.5 * (0.11 * fx).sin() + 2.0 * (0.09 * fy + 0.05 * fx).cos();
                0.11 * m * (0.8 * fx + 0.5 * fy + bend).sin() * (0.75 * fy - 0.3 * fx + bend).cos()
            });
            r
        }
        5 => {
            let before = band.clone();
            for c in 0..band.channels {
                let soft = blurred(before.plane(c), w, h);
                for (o, (v, s)) in band.plane_mut(c).iter_mut().zip(before.plane(c).iter().zip(&soft)) {
                    *o = v + 3.2 * (v - s);
                }
            }
            whole
        }
        6 => {
            add(whole, &|c, _, _| [0.045, 0.0, -0.05][c.min(2)]);
            whole
        }
        7 => {
            for c in 0..band.channels {
                for by in (0..h).step_by(8) {
                    for bx in (0..w).step_by(8) {
                        let (ex, ey) = ((bx + 8).min(w), (by + 8).min(h));
                        let n = ((ex - bx) * (ey - by)) as f32;
                        let mean = (by..ey).map(|y| band.row(c, y)[bx..ex].iter().sum::<f32>()).sum::<f32>() / n;
                        let lift = 0.02 * (hash(bx as i32, by as i32, seed) - 0.5);
                        for y in by..ey {
                            band.row_mut(c, y)[bx..ex].iter_mut().for_each(|v| *v += 0.5 * (mean - *v) + lift);
                        }
                    }
                }
            }
            whole
        }
        _ => {
            add(whole, &|_, x, y| if (x / 2 + y / 2) % 2 == 0 { 0.014 } else { -0.014 });
            whole
        }
    }
}

/// The box of this share of the sides that varies least.
fn smooth(band: &Band, share: f32) -> Rect {
    let (w, h) = (band.width, band.rows);
    let (pw, ph) = ((w as f32 * share) as usize, (h as f32 * share) as usize);
    let mut best = (f32::MAX, Rect { x: 0, y: 0, w: pw, h: ph });
    for y in (0..=h - ph).step_by(16) {
        for x in (0..=w - pw).step_by(16) {
            let steps = (y..y + ph).step_by(3).map(|r| band.row(1, r)[x..x + pw].windows(3).map(|p| (p[0] - p[2]).abs()).sum::<f32>());
            let rough: f32 = steps.sum();
            if rough < best.0 {
                best = (rough, Rect { x, y, w: pw, h: ph });
            }
        }
    }
    best.1
}

/// Means over 5 x 5 pixels.
fn blurred(plane: &[f32], w: usize, h: usize) -> Vec<f32> {
    let mean = |from: &[f32], n: usize, at: &dyn Fn(usize) -> usize, i: usize| {
        (0..5).map(|k| from[at((i + k).saturating_sub(2).min(n - 1))]).sum::<f32>() / 5.0
    };
    let across: Vec<f32> = (0..w * h).map(|i| mean(plane, w, &|x| i / w * w + x, i % w)).collect();
    (0..w * h).map(|i| mean(&across, h, &|y| y * w + i % w, i / w)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_changes_its_place_and_nothing_else() {
        for (n, kind) in KINDS.iter().enumerate() {
            let mut band = Band::new(0, 320, 240, 3);
            band.data.iter_mut().enumerate().for_each(|(i, v)| *v = 0.5 + 0.2 * ((i % 320) as f32 * 0.02).sin());
            let before = band.clone();
            let at = plant(&mut band, n, 9);
            assert!(at.x + at.w <= 320 && at.y + at.h <= 240, "{n}: {at:?}");
            let mut changed = 0;
            for y in 0..240 {
                for x in 0..320 {
                    let same = (0..3).all(|c| band.row(c, y)[x] == before.row(c, y)[x]);
                    changed += usize::from(!same);
                    // Beyond a join everything is another tile.
                    if kind.0 != "seam" {
                        let inside = (at.x..at.x + at.w).contains(&x) && (at.y..at.y + at.h).contains(&y);
                        assert!(same || inside, "{n}: {x},{y} outside {at:?}");
                    }
                }
            }
            assert!(changed > 500, "{n}: {changed}");
        }
    }
}
