//! Marks of generative networks: a faint grid over everything, rainbow stripes in fine texture, droplets.
//!
//! Needs a faithful enlargement. Grid: the folded share ([`super::fold`]) of the difference over the whole picture, weighted by
//! how little chance explains. Rainbow: colour (R-Y, B-Y) finer than 6 px that the faithful one lacks, in windows, over
//! the picture's usual. Droplet: a round spot of colour and tone in what the reduced result adds to the source. Raw score: the worst of
//! the three, each over what one clean picture in a hundred reaches.

use super::fold::Folded;
use super::plane::{Plane, Soft, reach};
use super::{Measured, Outcome, Scene, Spot, filter, tiles, windows};
use crate::resample::Filter;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let (Some(source), Some(reduced), Some(faithful)) = (&scene.source, scene.reduced(), &scene.faithful) else {
        return Outcome::NotApplicable("there is no source to compare with");
    };
    let (w, h) = (scene.result.width, scene.result.height);
    if w < 128 || h < 128 || source.width < 24 || source.height < 24 {
        return Outcome::NotApplicable("smaller than 128 px, or its source smaller than 24 px");
    }
    let (grid, period) = scene.difference().zip(scene.faithful_folded()).map(|(d, f)| grid(d, f)).unwrap_or_default();
    let rainbow = rainbow(scene, faithful);
    let (cols, rows) = (rainbow.width, rainbow.height);
    let droplet = droplet(source, reduced).resize(cols, rows, Filter::Bilinear).unwrap_or_else(|_| Plane::new(cols, rows));
    let map = rainbow.zip(&droplet, f32::max).map(|v| v.max(grid));
    let note = move |s: &Spot| {
        let (r, d) = (s.worst_in(&rainbow), s.worst_in(&droplet));
        match () {
            () if grid >= r && grid >= d => format!("a faint grid of {period} px lies over the whole picture: generator grid"),
            () if r >= d => format!("colour stripes in fine detail that the source does not have, {r:.1} times the usual: rainbow"),
            () => format!("a spot of tone and colour that the source does not have, {d:.1} times the usual: droplet"),
        }
    };
    Outcome::Measured(Measured { everywhere: grid, ..Measured::peak(map, note) })
}

/// The picture-wide repeating share over 0.4 %, and its period. What repeats in the faithful enlargement, too, is drawn that way
/// (bricks 16 px high) and is taken off twice.
fn grid(difference: &Folded, drawn: &Folded) -> (f32, usize) {
    const PERIODS: [usize; 3] = [4, 8, 16];
    let shares = difference.shares(0, 0, difference.size(), PERIODS);
    if shares.iter().all(|s| *s <= 0.0) {
        return (0.0, PERIODS[0]);
    }
    let drawn = drawn.shares(0, 0, drawn.size(), PERIODS);
    let mut best = (0.0f32, PERIODS[0]);
    for ((period, share), drawn) in PERIODS.into_iter().zip(shares).zip(drawn) {
        let share = (share - 2.0 * drawn).max(0.0);
        if share > 1.15 * best.0 {
            best = (share, period);
        }
    }
    ((best.0 / 0.004).powf(0.75), best.1)
}

/// Fine colour the faithful enlargement lacks, per window, over the picture's median window.
fn rainbow(scene: &Scene, faithful: &super::Picture) -> Plane {
    let (yc, Some(yf)) = (scene.luma(), scene.faithful_luma()) else { return Plane::new(1, 1) };
    let energy = |p: &super::Picture, y: &Plane| windows::mean_of(&colours(p, y)).map(f32::sqrt);
    let more = energy(&scene.result, yc).zip(&energy(faithful, yf), |c, f| (c - f).max(0.0));
    let usual = more.quantile(0.5);
    more.map(|v| v / (1.1 * (3.0 * usual + 6.0 / 255.0)))
}

/// Mean squares of R-Y and B-Y between Gaussians of 0.8 and 6 px, by cells. The wide Gaussian is taken at half size: it hardly
/// changes over two pixels.
fn colours(p: &super::Picture, y: &Plane) -> Plane {
    if p.is_grey() {
        return Plane::new((y.width / windows::STEP).max(1), (y.height / windows::STEP).max(1));
    }
    // Less the variance that a mean over two pixels adds.
    let wide = (0.25 * (36.0 - 0.25f32)).sqrt();
    let [out] = tiles::cells((y.width, y.height), windows::STEP, reach(0.8) + 2 * reach(wide), |tile| {
        let y = tile.cut(y);
        let (x, rows) = tile.inside();
        let mut row = vec![0.0f32; y.width];
        let mut one = |c: usize| {
            let d = tile.cut(p.channel(c)).zip(&y, |v, y| v - y);
            let mut fine = Soft::new(0.8);
            let (w, h) = ((y.width / 2).max(1), (y.height / 2).max(1));
            let (mut mean, mut square) = (Plane::new(w, h), Plane::new(w, h));
            // An odd last row or column is left out: it is a sixty-fourth of its window.
            for r in 0..2 * h.min(y.height / 2) {
                fine.row(&d, r, &mut row);
                let even = &row[..2 * w.min(y.width / 2)];
                filter::add_runs(even, 2, mean.row_mut(r / 2));
                filter::add_products(even, even, square.row_mut(r / 2));
            }
            let soft = mean.blur(wide);
            // The mean over two by two pixels of (d - soft)^2, from sums.
            let fine = square.zip3(&mean, &soft, |q, m, s| 0.25 * q + (0.0625 * s - 0.125 * m) * s);
            fine.cells_in(x.start / 2..(x.end / 2).min(fine.width), rows.start / 2..(rows.end / 2).min(fine.height), windows::STEP / 2)
        };
        [one(0).zip(&one(2), |a, b| a + b)]
    });
    out
}

/// The share of the local deviation that an unknown kernel may leave.
const KERNEL: f32 = 0.3;

/// Coloured residual of the reduced result, a spot's size, over the picture's usual; at the source's size.
fn droplet(source: &super::Picture, reduced: &super::Picture) -> Plane {
    let mut sum = Plane::new(source.width, source.height);
    for c in 0..3 {
        let r = reduced.channel(c).zip(source.channel(c), |a, b| a - b);
        let spot = r.blur(1.5).zip(&r.blur(9.0), |a, b| a - b);
        sum.data.iter_mut().zip(&spot.data).for_each(|(s, v)| *s += v * v / 3.0);
    }
    let size = sum.map(f32::sqrt);
    let usual = size.quantile(0.9);
    // At an edge the reduced result differs by what is not known of the kernel.
    let contrast = source.luma().variance(2.0);
    size.zip(&contrast, |v, c| 5.5 * v / (6.0 * usual + 4.0 / 255.0 + KERNEL * c.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::tests::picture;

    fn run(change: impl Fn(usize, usize, usize) -> f32) -> (f32, String) {
        let clean = picture(384, 320);
        let planes = std::array::from_fn(|c| {
            let mut p = clean.channel(c).clone();
            p.data.iter_mut().enumerate().for_each(|(i, v)| *v += change(c, i % 384, i / 384));
            p
        });
        let mut scene = Scene::new(Picture::from_planes(planes), clean.resize(96, 80, Filter::Box).unwrap()).unwrap();
        scene.faithful = Some(clean);
        match measure(&scene) {
            Outcome::Measured(m) => {
                let spots = super::super::regions::find(&m.map.map(|v| v / 100.0), &m, (384, 320), f64::from(m.score) / 100.0);
                (m.score, spots.first().map(|s| (m.note)(s)).unwrap_or_default())
            }
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn each_mark_is_found_and_named() {
        let (clean, _) = run(|_, _, _| 0.0);
        let (grid, said) = run(|_, x, y| if x % 8 == 3 && y % 8 == 5 { 0.012 } else { 0.0 });
        assert!(grid > 3.0 * clean + 1.0 && said.contains("grid of 8 px"), "{grid} {clean} {said}");
        let inside = |x: usize, y: usize| (128..256).contains(&x) && (96..224).contains(&y);
        let (rainbow, said) = run(|c, x, y| if inside(x, y) { 0.12 * ((x as f32) * 1.1 + 2.1 * c as f32).sin() } else { 0.0 });
        assert!(rainbow > 1.0 && said.contains("rainbow"), "{rainbow} {said}");
        let (droplet, said) = run(|c, x, y| {
            let d = ((x as f32 - 200.0).powi(2) + (y as f32 - 150.0).powi(2)) / 200.0;
            [0.25, 0.1, -0.15][c] * (-d).exp()
        });
        assert!(droplet > 0.5 && said.contains("droplet"), "{droplet} {said}");
    }
}
