//! Detail lost to white or black.
//!
//! With a source: pixels at the end of the range (>= 254 or <= 1 of 255 in a channel) where the source's 3x3 neighbourhood is well inside
//! it (< 250, > 5). Without: flat areas at the end of the range, as far as the histogram piles up there; a high-key picture
//! alone is no defect. Raw score: the square root of the share of the picture that is lost, after dropping single pixels.

use rayon::prelude::*;

use super::plane::Plane;
use super::{Measured, Outcome, Scene, Spot};
use crate::resample::Filter;

/// Side of a cell, output pixels.
const CELL: usize = 16;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let result = &scene.result;
    let (w, h) = (result.width, result.height);
    let mut lost = Plane::new(w, h);
    let channels = if result.is_grey() { 1 } else { 3 };
    for c in 0..channels {
        let plane = result.channel(c);
        match &scene.source {
            Some(source) => {
                let s = source.channel(c);
                let high = s.dilate(1).resize(w, h, Filter::Bilinear);
                let low = s.map(|v| 1.0 - v).dilate(1).resize(w, h, Filter::Bilinear);
                let (Ok(high), Ok(low)) = (high, low) else { continue };
                let n = w.max(1);
                lost.data.par_chunks_mut(n).enumerate().for_each(|(y, out)| {
                    let rows = plane.row(y).iter().zip(high.row(y)).zip(low.row(y));
                    for (o, ((&v, &hi), &lo)) in out.iter_mut().zip(rows) {
                        let white = v >= 253.5 / 255.0 && hi < 250.0 / 255.0;
                        let black = v <= 1.5 / 255.0 && 1.0 - lo > 5.0 / 255.0;
                        if white || black {
                            *o = 1.0;
                        }
                    }
                });
            }
            None => {
                let (white, black) = piled_up(plane);
                for (o, &v) in lost.data.iter_mut().zip(&plane.data) {
                    if v >= 253.5 / 255.0 {
                        *o = o.max(white);
                    } else if v <= 1.5 / 255.0 {
                        *o = o.max(black);
                    }
                }
            }
        }
    }
    // A pixel counts if most of its 5x5 neighbourhood is lost too.
    let solid = lost.mean(2).map(|v| if v > 0.5 { v } else { 0.0 });
    let score = (solid.data.iter().sum::<f32>() / solid.data.len().max(1) as f32).sqrt();
    let share = score * score * 100.0;
    let mut map = solid.cells(CELL.min(w.min(h).max(1))).map(f32::sqrt);
    // In the unit of the score: the fullest cell stands for the whole picture's loss.
    let peak = map.peak().0.max(1e-6);
    map = map.map(|v| v / peak * score);
    let compared = scene.source.is_some();
    let note = move |_: &Spot| match compared {
        true => format!("white or black without drawing where the source has some: {share:.2} % of the picture"),
        false => format!("drawing ends in white or black: {share:.2} % of the picture"),
    };
    Outcome::Measured(Measured { score, map, in_source: None, least_area: 24e-6, note: Box::new(note) })
}

/// How far a channel's histogram piles up at white and at black, 0..1: 0 where the last code is no fuller than the codes
/// before it, as in a picture that is simply bright.
fn piled_up(plane: &Plane) -> (f32, f32) {
    let mut histogram = [0u32; 256];
    for &v in &plane.data {
        histogram[(v * 255.0 + 0.5) as usize & 255] += 1;
    }
    let ends = |last: u32, before: &[u32]| {
        let usual = before.iter().sum::<u32>() as f32 / before.len() as f32;
        let last = last as f32;
        ((last - 4.0 * usual) / (last + 1.0)).clamp(0.0, 1.0)
    };
    (ends(histogram[254] + histogram[255], &histogram[244..254]), ends(histogram[0] + histogram[1], &histogram[2..12]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Picture;
    use crate::inspect::tests::picture;

    fn clipped(gain: f32) -> Picture {
        let p = picture(320, 240);
        Picture::from_planes(std::array::from_fn(|c| p.channel(c).map(|v| (v * gain).min(1.0))))
    }

    fn score(scene: &Scene) -> f32 {
        match measure(scene) {
            Outcome::Measured(m) => m.score,
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn what_was_lost_on_the_way_counts_and_nothing_else() {
        let source = picture(320, 240).resize(80, 60, Filter::CatmullRom).unwrap();
        assert_eq!(score(&Scene::new(clipped(1.0), source.clone()).unwrap()), 0.0);
        assert!(score(&Scene::new(clipped(1.9), source).unwrap()) > 0.1);
        // The source was clipped as well: not the upscaler's doing.
        let white = clipped(1.9);
        let source = white.resize(80, 60, Filter::Box).unwrap();
        assert!(score(&Scene::new(white.clone(), source).unwrap()) < 0.05);
        assert!(score(&Scene::alone(white)) > 0.1);
        assert_eq!(score(&Scene::alone(clipped(1.0))), 0.0);
    }
}
