//! What a print would show: its resolution, that of the source alone, and how much of the finest detail was made up.

use rayon::prelude::*;

use super::plane::Plane;
use super::reduce::{Axis, reduce, window};
use super::{Scene, tiles};

/// Pixels per inch where a file says nothing.
pub const USUAL_DPI: f64 = 300.0;
/// Result pixels per source pixel from which a picture counts as enlarged.
const ENLARGED: f32 = 1.05;

/// One sentence for the report about a picture of `size` pixels: `scale` is result pixels per source pixel, if there is a source, and
/// `synthesised` the share of fine detail that enlarging made.
pub fn preflight(size: (usize, usize), scale: Option<f32>, synthesised: Option<f32>, dpi: Option<f64>) -> String {
    let at = dpi.unwrap_or(USUAL_DPI);
    let inches = |px: usize| px as f64 / at;
    let size = format!("print: {:.1} x {:.1} in at {at:.0} dpi", inches(size.0), inches(size.1));
    let Some(scale) = scale.filter(|s| *s >= ENLARGED) else { return size };
    let own = at / f64::from(scale);
    match synthesised {
        Some(share) => {
            format!("{size}, of which the source gives {own:.0} dpi; {:.0} % of the fine detail was made by enlarging", share * 100.0)
        }
        None => format!("{size}, of which the source gives {own:.0} dpi"),
    }
}

/// The share (0..1) of the energy finer than two source pixels that is gone when the result is reduced to the source's size;
/// none without a source, unless enlarged, or without detail.
pub fn synthesised(scene: &Scene) -> Option<f32> {
    let source = scene.source.as_ref().filter(|_| scene.scale >= ENLARGED)?;
    let y = scene.luma();
    let small = reduce(y, 0.0, source.width, source.height);
    // Two source pixels, less what the area mean softens.
    let soft = small.blur((4.0f32 - 1.0 / 12.0).sqrt());
    let (cubic, linear) = ([Axis::cubic(source.width, y.width), Axis::cubic(source.height, y.height)], {
        [Axis::linear(source.width, y.width), Axis::linear(source.height, y.height)]
    });
    let sums: Vec<(f64, f64)> = tiles::tiles((y.width, y.height), 0)
        .into_par_iter()
        .map(|tile| {
            let here = tile.cut(y);
            let energy = |of: &Plane, [x, rows]: &[Axis; 2]| -> f64 {
                let there = window(of, (x, rows), tile.x.clone(), tile.y.clone());
                f64::from(here.zip(&there, |a, b| (a - b) * (a - b)).data.iter().sum::<f32>())
            };
            (energy(&small, &cubic), energy(&soft, &linear))
        })
        .collect();
    let (lost, all) = sums.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    let (lost, all) = (lost as f32, all as f32);
    let pixels = y.data.len() as f32;
    (all / pixels > (0.5f32 / 255.0).powi(2)).then(|| (lost / all).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::picture;
    use crate::inspect::{Picture, plane::Plane, scene::AREA};
    use crate::resample::Filter;

    #[test]
    fn detail_beyond_the_source_counts_as_made() {
        let smooth = picture(400, 320);
        let source = smooth.resize(100, 80, AREA).unwrap();
        let honest = source.resize(400, 320, Filter::CatmullRom).unwrap();
        let add = |p: &Plane| {
            let mut p = p.clone();
            p.data.iter_mut().enumerate().for_each(|(i, v)| *v += if (i % 400 + i / 400) % 2 == 0 { 0.04 } else { -0.04 });
            p
        };
        let busy = Picture::from_planes(std::array::from_fn(|c| add(honest.channel(c))));
        let share = |p: Picture| synthesised(&Scene::new(p, source.clone()).unwrap()).unwrap();
        let (honest, busy) = (share(honest), share(busy));
        assert!(honest < 0.2 && busy > 0.7, "{honest} {busy}");
    }

    #[test]
    fn the_sentence_gives_inches_and_the_source_s_resolution() {
        let result = picture(600, 300);
        let source = result.resize(150, 75, AREA).unwrap();
        let scene = Scene::new(result, source).unwrap();
        let said = preflight((600, 300), Some(scene.scale), synthesised(&scene), Some(200.0));
        assert!(said.starts_with("print: 3.0 x 1.5 in at 200 dpi, of which the source gives 50 dpi; "), "{said}");
        assert_eq!(preflight((600, 300), None, None, None), "print: 2.0 x 1.0 in at 300 dpi");
    }
}
