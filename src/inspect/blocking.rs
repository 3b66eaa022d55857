//! Block edges of an image or video codec: small steps that repeat every 8 pixels (or 8 times the scale, if the source was
//! coded) along both axes at one phase.
//!
//! After Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed images", ICIP 2002: steps at block boundaries against
//! steps elsewhere. A pixel's step is `max(0, |d| - (|d before| + |d after|) / 2)` of the first difference d, clipped at 12
//! levels; above 24 levels it is a drawn edge and counts against its place: where pixel art has its cells, it has both. With a
//! faithful enlargement, a step counts as far as that one does not rise or fall there, too: what is drawn in the source is no block; where
//! nothing of a step is left, a small part of it counts, up to a limit.
//! Blocks of a source that was coded before it was enlarged have soft edges in the result: steps every 8 source pixels are looked for
//! in what a fit of the reduced result to the source leaves (`residual`), as far as the source does not rise there.
//! A window counts less as its fine structure repeats exactly (cloth, tiles): coded blocks differ from each other.

use multiversion::multiversion;
use rayon::prelude::*;

use super::filter;
use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot, carried};

/// Side of a window, output pixels; its steps decide together.
const WINDOW: usize = 64;
const HALF: usize = WINDOW / 2;
/// A window below this score is nobody's blocks, and is not looked at twice.
const LOOK: f32 = 0.5;
/// What a score counts that the faithful enlargement was not held against, and how much of it, at most: it ranks a picture, but does not flag it.
const BUSY: f32 = 0.3;
const MOST_BUSY: f32 = 2.5;
/// A clipped step, nominal.
const CLIP: f32 = 12.0 / 255.0;
/// Half a window of the residual, source pixels; and what a score there counts: clean residuals have none.
const HALF_OF_SOURCE: usize = 16;
const OF_SOURCE: f32 = 5.0;
/// Steps between block edges that are nobody's, levels of 255 a line: of a picture, and of a residual.
const FLAT: [f32; 2] = [0.12, 0.3];
/// A line of a shorter period counts as a block edge from this share of the strongest one's step on.
const ALSO: f32 = 0.35;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let y = scene.luma();
    if y.width < 2 * WINDOW || y.height < 2 * WINDOW {
        return Outcome::NotApplicable("smaller than 128 px");
    }
    let (mut map, period) = blockiness(y, scene.faithful_luma(), scene.scale);
    if map.peak().0 > LOOK {
        let (cols, rows, width) = (y.width / HALF, y.height / HALF, map.width);
        let window = |i: usize| ((i % width).min(cols.saturating_sub(4)), (i / width).min(rows.saturating_sub(4)));
        // Blocks of the windows in question: most pictures have few.
        let mut needed = vec![false; cols * rows];
        for (i, _) in map.data.iter().enumerate().filter(|(_, v)| **v > LOOK) {
            let (x, y) = window(i);
            (y..(y + 4).min(rows)).for_each(|y| needed[y * cols + x..y * cols + (x + 4).min(cols)].fill(true));
        }
        let folded = scene.folded_where(|x, y| needed[y * cols + x]);
        for (i, v) in map.data.iter_mut().enumerate().filter(|(_, v)| **v > LOOK) {
            let (x, y) = window(i);
            let exact = folded.shares(x, y, (4, 4), [8, 16]).into_iter().fold(0.0f32, f32::max);
            *v *= (1.5 - 5.0 * exact).clamp(0.0, 1.0);
        }
    }
    let enlarged = enlarged_blocks(scene).map_or_else(|| Plane::new(map.width, map.height), |p| carried::spread(&p, map.width, map.height));
    map.data.iter_mut().zip(&enlarged.data).for_each(|(v, e)| *v = v.max(*e));
    let of_source = (8.0 * scene.scale).round();
    let in_source = scene.source_luma().filter(|s| s.width >= 2 * WINDOW && s.height >= 2 * WINDOW).map(|s| blockiness(s, None, 1.0).0);
    let note = move |spot: &Spot| match spot.worst_in(&enlarged) >= 0.99 * spot.raw {
        true => format!("soft block edges every {of_source} px, as an enlarged JPEG leaves them, and the source has none here"),
        false => format!("block edges every {period} px, {:.1} times as strong as between them", spot.raw + 1.0),
    };
    let mut measured = Measured::peak(map, note);
    measured.in_source = in_source;
    Outcome::Measured(measured)
}

/// Per window of the source, how much stronger steps of the residual are every 8 source pixels than elsewhere, where the source does
/// not rise; on the scale of [`blockiness`].
fn enlarged_blocks(scene: &Scene) -> Option<Plane> {
    let (source, residual) = scene.source_luma().zip(scene.residual())?;
    let r = &residual.value;
    if scene.scale < 1.5 || r.width < 4 * HALF_OF_SOURCE || r.height < 4 * HALF_OF_SOURCE {
        return None;
    }
    let counted = sums::<HALF_OF_SOURCE>(r, Some(source), 1.0);
    let windows = (r.width / HALF_OF_SOURCE, r.height / HALF_OF_SOURCE);
    let phases = Phases::new(&counted, windows, 8);
    Some(phases.ratio(&counted, phases.best(FLAT[1]), FLAT[1]).map(|v| OF_SOURCE * v))
}

/// Per window, how much stronger steps are at the block boundaries than elsewhere (0 = no stronger), for the period that
/// stands out most; and that period. What is `drawn` does not count.
fn blockiness(y: &Plane, drawn: Option<&Plane>, scale: f32) -> (Plane, usize) {
    // The phase is that of all steps: without what is drawn, little is left to vote.
    let all = drawn.map(|_| sums::<HALF>(y, None, 0.0));
    let counted = sums::<HALF>(y, drawn, 0.0);
    let all = all.as_ref().unwrap_or(&counted);
    let mut periods = vec![8, 16];
    let coded = (8.0 * scale).round() as usize;
    if scale > 1.2 && (scale * 8.0 - coded as f32).abs() < 1e-3 && coded != 16 && coded <= HALF {
        periods.push(coded);
    }
    // What repeats every 8 px also repeats every 16: a longer period has to be clearly stronger.
    let mut best: Option<(Plane, usize)> = None;
    let windows = (y.width / HALF, y.height / HALF);
    for &period in &periods {
        let of_all = Phases::new(all, windows, period);
        let best_phases = of_all.best(FLAT[0]);
        let mut map = match drawn {
            None => of_all.ratio(all, best_phases, FLAT[0]),
            Some(_) => Phases::new(&counted, windows, period).ratio(&counted, best_phases, FLAT[0]),
        };
        if drawn.is_some() {
            // Where the source is busy (facades), nothing of a step is left: what all steps say counts a little.
            let any = of_all.ratio(all, best_phases, FLAT[0]);
            map.data.iter_mut().zip(&any.data).for_each(|(v, any)| *v = v.max((BUSY * any).min(MOST_BUSY)));
        }
        let least = best.as_ref().map_or(0.0, |b| b.0.peak().0.max(0.0));
        if best.is_none() || map.peak().0 > 1.3 * least {
            best = Some((map, period));
        }
    }
    let (map, period) = best.unwrap_or_default();
    let named = shortest(&counted, windows, &map, &periods).filter(|_| HALF.is_multiple_of(period.max(1)));
    (map, named.unwrap_or(period))
}

/// The shortest of some periods at every one of whose lines, along both axes, there is a step where the map is high.
fn shortest(raw: &[Sums<HALF>], (cols, _): (usize, usize), map: &Plane, periods: &[usize]) -> Option<usize> {
    let limit = 0.5 * map.peak().0;
    let mut lines = [[0.0f32; HALF]; 2];
    for (i, _) in map.data.iter().enumerate().filter(|(_, v)| **v > limit) {
        let (x, y) = (i % map.width, i / map.width);
        for at in [y * cols + x, y * cols + x + 1, (y + 1) * cols + x, (y + 1) * cols + x + 1] {
            lines.iter_mut().flatten().zip(raw[at].iter().flatten()).for_each(|(sum, v)| *sum += v);
        }
    }
    let everywhere = |line: &[f32; HALF], period: usize| {
        let mut sorted = *line;
        sorted.sort_unstable_by(f32::total_cmp);
        let usual = sorted[HALF / 2];
        let top = (0..HALF).max_by(|&a, &b| line[a].total_cmp(&line[b])).unwrap_or(0);
        (0..HALF / period).all(|k| line[(top + k * period) % HALF] - usual >= ALSO * (line[top] - usual))
    };
    let mut whole: Vec<usize> = periods.iter().copied().filter(|p| HALF.is_multiple_of(*p)).collect();
    whole.sort_unstable();
    whole.into_iter().find(|&p| lines.iter().all(|line| everywhere(line, p)))
}

/// Half a window's sums of steps, by column along the rows and by row down the columns.
type Sums<const H: usize> = [[f32; H]; 2];

/// Sums of the steps, as the head of this file defines them, of every half window.
fn sums<const H: usize>(y: &Plane, drawn: Option<&Plane>, bent: f32) -> Vec<Sums<H>> {
    let (w, h) = (y.width, y.height);
    let (cols, rows) = (w / H, h / H);
    let strips: Vec<Vec<Sums<H>>> = (0..rows)
        .into_par_iter()
        .map(|cy| {
            let mut out = vec![[[0.0f32; H]; 2]; cols];
            let (mut columns, mut line, mut along) = (vec![0.0f32; w], vec![0.0f32; w], vec![0.0f32; cols + 1]);
            for r in cy * H..(cy + 1) * H {
                add_steps(four(y, r * w, 1, w - 3), (drawn.map(|p| four(p, r * w, 1, w - 3)), bent), &mut columns[2..w - 1]);
                if r >= 2 && r + 1 < h {
                    line.fill(0.0);
                    add_steps(four(y, (r - 2) * w, w, w), (drawn.map(|p| four(p, (r - 2) * w, w, w)), bent), &mut line);
                    along.fill(0.0);
                    filter::add_runs(&line, H, &mut along);
                    out.iter_mut().zip(&along).for_each(|(o, s)| o[1][r % H] = *s);
                }
            }
            out.iter_mut().zip(columns.as_chunks::<H>().0).for_each(|(o, c)| o[0] = *c);
            out
        })
        .collect();
    strips.concat()
}

/// `n` values each from an index on, and from one, two and three strides after it.
fn four(p: &Plane, from: usize, stride: usize, n: usize) -> [&[f32]; 4] {
    std::array::from_fn(|k| &p.data[from + k * stride..][..n])
}

/// Adds the step from the second to the third of four values that follow each other, less what four others rise or fall there,
/// or `bent` times how far they do so other than as a slope: a step against a slope hardly rises.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn add_steps([a, b, c, d]: [&[f32]; 4], (drawn, bent): (Option<[&[f32]; 4]>, f32), sums: &mut [f32]) {
    let n = sums.len();
    let (a, b, c, d) = (&a[..n], &b[..n], &c[..n], &d[..n]);
    let of = |step: f32| {
        let clipped = if step < CLIP { step } else { CLIP };
        let small = if step > 0.0 { clipped } else { 0.0 };
        if step > 2.0 * CLIP { -2.0 * CLIP } else { small }
    };
    let step = |i: usize| (c[i] - b[i]).abs() - 0.5 * ((b[i] - a[i]).abs() + (d[i] - c[i]).abs());
    match drawn.map(|d| d.map(|d| &d[..n])) {
        None => (0..n).for_each(|i| sums[i] += of(step(i))),
        Some([e, f, g, h]) => {
            for i in 0..n {
                let (wide, near) = ((h[i] - e[i]).abs(), (g[i] - f[i]).abs());
                let bend = bent * ((g[i] - f[i]) - 0.5 * ((f[i] - e[i]) + (h[i] - g[i]))).abs();
                let near = if near > bend { near } else { bend };
                let step = step(i);
                // Above the limit it stays a drawn edge, whatever it is in the source.
                sums[i] += if step > 2.0 * CLIP { of(step) } else { of(step - if wide > near { wide } else { near }) };
            }
        }
    }
}

/// What stands at the upper quartile of all phases but a high one.
fn quartile(sums: &[f32]) -> f32 {
    let mut sorted = [0.0f32; HALF];
    let sorted = &mut sorted[..sums.len()];
    sorted.copy_from_slice(sums);
    let at = upper(sums.len());
    *sorted.select_nth_unstable_by(at, f32::total_cmp).1
}

/// Where the upper quartile stands among `n` sorted values less the highest.
fn upper(n: usize) -> usize {
    ((n - 2) as f32 * 0.75).round() as usize
}

/// How far a phase is above the upper quartile of the others, over that quartile and `flat`, so that clean flats count for nothing. A
/// phase that is not above the quartile of all is not above that of the others.
fn above(v: f32, quartile: f32, flat: f32) -> f32 {
    let upper = quartile.max(0.0);
    (v - upper).max(0.0) / (upper + flat)
}

/// Sums of steps by half window and phase of a period, along both axes; phases count from the picture's corner.
struct Phases<const H: usize> {
    axes: [Vec<[f32; H]>; 2],
    /// Half windows across and down.
    size: (usize, usize),
    period: usize,
}

impl<const H: usize> Phases<H> {
    fn new(raw: &[Sums<H>], size: (usize, usize), period: usize) -> Self {
        let fold = |axis: usize| -> Vec<[f32; H]> {
            let one = |(i, s): (usize, &Sums<H>)| {
                let from = if axis == 0 { i % size.0 } else { i / size.0 } * H;
                let mut out = [0.0f32; H];
                if from.is_multiple_of(period) && H.is_multiple_of(period) {
                    for part in s[axis].chunks_exact(period) {
                        out.iter_mut().zip(part).for_each(|(o, v)| *o += v);
                    }
                    return out;
                }
                let mut phase = from % period;
                for v in &s[axis] {
                    out[phase] += v;
                    phase = if phase + 1 == period { 0 } else { phase + 1 };
                }
                out
            };
            raw.par_iter().with_min_len(1024).enumerate().map(one).collect()
        };
        Self { axes: [fold(0), fold(1)], size, period }
    }

    /// The phase of either axis that stands out most over all half windows; `flat` levels a line are nobody's.
    fn best(&self, flat: f32) -> [usize; 2] {
        let (period, flat) = (self.period, flat / 255.0 * (H * H / self.period) as f32);
        self.axes.each_ref().map(|windows| {
            let mut totals = [0.0f32; H];
            for s in windows {
                let quartile = quartile(&s[..period]);
                totals.iter_mut().zip(&s[..period]).for_each(|(t, v)| *t += above(*v, quartile, flat).min(4.0));
            }
            (0..period).max_by(|&a, &b| totals[a].total_cmp(&totals[b])).unwrap_or(0)
        })
    }

    /// Windows half a window apart: the weaker axis' excess of the steps `raw` (from which this was made) at the phases `best` over
    /// the other phases; `flat` levels a line are nobody's.
    fn ratio(&self, raw: &[Sums<H>], best: [usize; 2], flat: f32) -> Plane {
        let ((cols, rows), period) = (self.size, self.period);
        let flat = flat / 255.0 * (4 * H * H / period) as f32;
        let (cols_out, rows_out) = (cols - 1, rows - 1);
        let mut out = Plane::new(cols_out, rows_out);
        let one = |cx: usize, cy: usize, axis: usize| {
            let mut sums = [0.0f32; H];
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let of = &self.axes[axis][(cy + dy) * cols + cx + dx];
                sums[..period].iter_mut().zip(of).for_each(|(s, v)| *s += v);
            }
            // A drawn edge is one line at the phase; block edges are most of them.
            let phase = best[axis];
            let mut lines = [0.0f32; WINDOW / 8];
            let count = 2 * H / period;
            for (k, line) in lines[..count].iter_mut().enumerate() {
                let (from, start) = (if axis == 0 { cx } else { cy } * H, k * period);
                // Columns (rows) count from the picture's corner.
                let at = (phase + period - from % period) % period + start;
                let (near, column) = (at / H, at % H);
                *line = (0..2)
                    .map(|o| {
                        let (x, y) = if axis == 0 { (cx + near, cy + o) } else { (cx + o, cy + near) };
                        raw[y * cols + x][axis][column]
                    })
                    .sum();
            }
            lines[..count].sort_unstable_by(f32::total_cmp);
            let usual = lines[(count - 1) / 2];
            sums[phase] = sums[phase].min(1.5 * usual * count as f32);
            // Most windows end here: as many phases as at the quartile are not below this one.
            let v = sums[phase];
            if v <= 0.0 || sums[..period].iter().filter(|s| **s < v).count() <= upper(period) {
                return 0.0;
            }
            above(v, quartile(&sums[..period]), flat)
        };
        out.data.par_chunks_mut(cols_out.max(1)).enumerate().for_each(|(cy, out)| {
            for (cx, o) in out.iter_mut().enumerate() {
                let first = one(cx, cy, 0);
                // Nothing along one axis is nothing.
                *o = if first > 0.0 { (first * one(cx, cy, 1)).sqrt() } else { 0.0 };
            }
        });
        out
    }
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

    /// Levels that differ by cells of `block` pixels, in a part of the picture.
    fn cells(block: usize, levels: f32) -> Plane {
        let mut p = Plane::new(512, 384);
        for y in 0..384 {
            for x in 0..512 {
                let place = ((x / block) as u32).wrapping_mul(73_856_093) ^ ((y / block) as u32).wrapping_mul(19_349_663);
                let random = (place.wrapping_mul(2_654_435_761) >> 16) % 13;
                p.data[y * 512 + x] = (random as f32 - 6.0) / 6.0 * levels / 255.0;
            }
        }
        p
    }

    #[test]
    fn soft_edges_of_an_enlarged_jpeg_are_found_and_those_of_the_source_are_not() {
        // Where the source is busy at every pixel, small steps are nobody's.
        let busy = picture(512, 384);
        let clean = Picture::from_planes(std::array::from_fn(|c| busy.channel(c).blur(6.0)));
        let with = |p: &Picture, n: &Plane| Picture::from_planes(std::array::from_fn(|c| p.channel(c).zip(n, |v, n| v + n)));
        let small = clean.resize(128, 96, crate::resample::Filter::Lanczos3).unwrap();
        let blocks = cells(8, 4.0).part(0..128, 0..96);
        let soft = blocks.resize(512, 384, crate::resample::Filter::CatmullRom).unwrap();
        let run = |result: Picture, source: &Picture| match measure(&Scene::new(result, source.clone()).unwrap()) {
            Outcome::Measured(m) => m,
            Outcome::NotApplicable(why) => panic!("{why}"),
        };
        let (before, after) = (run(clean.clone(), &small), run(with(&clean, &soft), &small));
        assert!(after.score > 1.5 && after.score > 8.0 * before.score, "{} after {}", after.score, before.score);
        let spot = &super::super::regions::find(&after.map.map(|v| v / after.score * 0.9), &after, (512, 384), 0.8)[0];
        assert!((after.note)(spot).contains("every 32 px"), "{}", (after.note)(spot));
        // The source has them and the result has lost them: not the result's.
        let smoothed = run(clean, &with(&small, &blocks)).score;
        assert!(smoothed < 0.4 * after.score, "{smoothed} of {}", after.score);
    }

    #[test]
    fn the_shortest_period_is_named() {
        let clean = picture(512, 384);
        for block in [8, 16, 32] {
            let blocky = Picture::from_planes(std::array::from_fn(|c| clean.channel(c).zip(&cells(block, 2.0), |v, n| v + n)));
            let mut scene = Scene::alone(blocky);
            scene.scale = 4.0;
            let Outcome::Measured(m) = measure(&scene) else { panic!() };
            let spot = &super::super::regions::find(&m.map.map(|v| v / m.score * 0.9), &m, (512, 384), 0.8)[0];
            assert!((m.note)(spot).contains(&format!("every {block} px")), "{block}: {}", (m.note)(spot));
        }
    }
}
