//! Block edges of an image or video codec: small steps that repeat every 8 pixels (or 8 times the scale, if the source was
//! coded) along both axes at one phase.
//!
//! After Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed images", ICIP 2002: steps at block boundaries against
//! steps elsewhere. A pixel's step is `max(0, |d| - (|d before| + |d after|) / 2)` of the first difference d, clipped at 12
//! levels, so that one real edge has little weight.

use rayon::prelude::*;

use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot};

/// Side of a window, output pixels; its steps decide together.
const WINDOW: usize = 64;
/// A clipped step, nominal.
const CLIP: f32 = 12.0 / 255.0;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let y = scene.luma();
    if y.width < 2 * WINDOW || y.height < 2 * WINDOW {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    let (map, period) = blockiness(y, scene.scale);
    let in_source = scene.source_luma().filter(|s| s.width >= 2 * WINDOW && s.height >= 2 * WINDOW).map(|s| blockiness(s, 1.0).0);
    let note = move |spot: &Spot| format!("block edges every {period} px, {:.1} times as strong as between them", spot.raw + 1.0);
    let mut measured = Measured::peak(map, note);
    measured.in_source = in_source;
    Outcome::Measured(measured)
}

/// Per window, how much stronger steps are at the block boundaries than elsewhere (0 = no stronger), for the period that
/// stands out most; and that period.
fn blockiness(y: &Plane, scale: f32) -> (Plane, usize) {
    let across = steps(y, false);
    let down = steps(y, true);
    let mut periods = vec![8, 16];
    let coded = (8.0 * scale).round() as usize;
    if scale > 1.2 && (scale * 8.0 - coded as f32).abs() < 1e-3 && coded != 16 && coded <= WINDOW / 2 {
        periods.push(coded);
    }
    // What repeats every 8 px also repeats every 16: a longer period has to be clearly stronger.
    let mut best: (Plane, usize) = (Plane::default(), 8);
    for period in periods {
        let map = ratio(&across, &down, period);
        if map.peak().0 > 1.3 * best.0.peak().0.max(0.0) {
            best = (map, period);
        }
    }
    if best.0.data.is_empty() { (ratio(&across, &down, 8), 8) } else { best }
}

/// The step between each pixel and the one to its left (or above), as the head of this file defines it.
fn steps(y: &Plane, vertical: bool) -> Plane {
    let (w, h) = (y.width, y.height);
    let mut out = Plane::new(w, h);
    out.data.par_chunks_mut(w).enumerate().for_each(|(r, out)| {
        if vertical {
            if r < 2 || r + 1 >= h {
                return;
            }
            let rows = [y.row(r - 2), y.row(r - 1), y.row(r), y.row(r + 1)];
            for (x, o) in out.iter_mut().enumerate() {
                *o = step([rows[0][x], rows[1][x], rows[2][x], rows[3][x]]);
            }
        } else {
            for (o, v) in out[2..].iter_mut().zip(y.row(r).windows(4)) {
                *o = step([v[0], v[1], v[2], v[3]]);
            }
        }
    });
    out
}

#[inline(always)]
fn step([a, b, c, d]: [f32; 4]) -> f32 {
    ((c - b).abs() - 0.5 * ((b - a).abs() + (d - c).abs())).clamp(0.0, CLIP)
}

/// Windows half a window apart: the weaker axis' excess of steps at the picture's best phase over the other phases.
fn ratio(across: &Plane, down: &Plane, period: usize) -> Plane {
    let (w, h) = (across.width, across.height);
    let half = WINDOW / 2;
    let (cols, rows) = (w / half, h / half);
    // Sums of steps per half window and phase.
    let fold = |plane: &Plane, vertical: bool| -> Vec<Vec<f32>> {
        (0..rows * cols)
            .into_par_iter()
            .map(|i| {
                let (x0, y0) = (i % cols * half, i / cols * half);
                let mut sums = vec![0.0f32; period];
                for y in y0..y0 + half {
                    let row = &plane.row(y)[x0..x0 + half];
                    if vertical {
                        sums[y % period] += row.iter().sum::<f32>();
                    } else {
                        for (x, v) in row.iter().enumerate() {
                            sums[(x0 + x) % period] += v;
                        }
                    }
                }
                sums
            })
            .collect()
    };
    let axes = [fold(across, false), fold(down, true)];
    let excess = |sums: &[f32], phase: usize, lines: f32| {
        // The usual phase: the median of the others, with half a level per line so that clean flats count for nothing.
        let mut others: Vec<f32> = (0..period).filter(|p| *p != phase).map(|p| sums[p]).collect();
        let upper = super::plane::quantile(&mut others, 0.75);
        (sums[phase] - upper).max(0.0) / (upper + 0.12 / 255.0 * lines)
    };
    let best = axes.each_ref().map(|windows| {
        (0..period)
            .max_by(|&a, &b| {
                let total = |p: usize| windows.iter().map(|s| excess(s, p, (half * half / period) as f32).min(4.0)).sum::<f32>();
                total(a).total_cmp(&total(b))
            })
            .unwrap_or(0)
    });
    let (cols_out, rows_out) = (cols - 1, rows - 1);
    let mut out = Plane::new(cols_out, rows_out);
    out.data.par_iter_mut().enumerate().for_each(|(i, o)| {
        let (cx, cy) = (i % cols_out, i / cols_out);
        let mut both = [0.0f32; 2];
        for (axis, both) in both.iter_mut().enumerate() {
            let mut sums = vec![0.0f32; period];
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                for (s, v) in sums.iter_mut().zip(&axes[axis][(cy + dy) * cols + cx + dx]) {
                    *s += v;
                }
            }
            *both = excess(&sums, best[axis], (4 * half * half / period) as f32);
        }
        *o = (both[0].min(both[1]) * both[0].max(both[1])).sqrt();
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::tests::picture;

    #[test]
    fn blocks_are_found_where_they_are() {
        let clean = picture(384, 320);
        let score = |p: &Picture| match measure(&Scene::alone(p.clone())) {
            Outcome::Measured(m) => m,
            Outcome::NotApplicable(why) => panic!("{why}"),
        };
        let before = score(&clean).score;
        let blocky = |block: usize| {
            Picture::from_planes(std::array::from_fn(|c| {
                let mut p = clean.channel(c).clone();
                for y in 128..256 {
                    for x in 192..384 {
                        let random = ((x / block * 7919 + y / block * 104_729) % 13) as f32 - 6.0;
                        p.data[y * 384 + x] += random * 0.5 / 255.0;
                    }
                }
                p
            }))
        };
        for block in [8, 16] {
            let m = score(&blocky(block));
            assert!(m.score > 4.0 * before + 0.5, "{block}: {} after {before}", m.score);
            let (_, x, y) = m.map.peak();
            assert!((5..12).contains(&x) && (3..8).contains(&y), "{block}: {x},{y}");
            let spot = &super::super::regions::find(&m.map, &m, (384, 320), 0.9)[0];
            assert!((m.note)(spot).contains(&format!("every {block} px")));
        }
    }
}
