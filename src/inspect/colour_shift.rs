//! Colours that are not the source's: CIEDE2000 between the softened source and the softened, reduced result.
//!
//! Raw score: the 94 % quantile of the local difference, so that a shifted patch of a tenth of the picture counts as much as a
//! shift of everything. Unit: dE00, about 1 is just noticeable.

use rayon::prelude::*;

use super::plane::Plane;
use super::{Measured, Outcome, Scene};
use crate::color::{White, delta_e_2000, srgb_to_lab};

/// Gaussian over source pixels before comparing: noise and fine structure are other detectors' business.
const SOFT_PX: f32 = 2.0;

/// Measures a scene.
pub fn measure(scene: &Scene) -> Outcome {
    let (Some(source), Some(reduced)) = (&scene.source, scene.reduced()) else {
        return Outcome::NotApplicable("there is no source to compare colours with");
    };
    let soft = |p: &super::Picture| -> Vec<Plane> { (0..3).map(|c| p.channel(c).blur(SOFT_PX)).collect() };
    let (a, b) = (soft(source), soft(reduced));
    let mut difference = Plane::new(source.width, source.height);
    difference.data.par_iter_mut().enumerate().for_each(|(i, d)| {
        let lab = |p: &[Plane]| srgb_to_lab(std::array::from_fn(|c| f64::from(p[c].data[i])), White::D65);
        *d = delta_e_2000(lab(&a), lab(&b)) as f32;
    });
    let side = (source.width.min(source.height) / 48).max(1);
    let map = difference.cells(side);
    let (mean, p95) = (difference.data.iter().sum::<f32>() / difference.data.len() as f32, difference.quantile(0.95));
    let score = difference.quantile(0.94);
    let note = move |spot: &super::Spot| {
        format!("colours differ from the source by {:.1} dE00 here ({mean:.1} on average, 95 % of the picture below {p95:.1})", spot.raw)
    };
    Outcome::Measured(Measured { score, map, in_source: None, least_area: 0.002, note: Box::new(note) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::picture;
    use crate::resample::Filter;

    fn score(change: impl Fn(&mut [Plane; 3])) -> (f32, Measured) {
        let clean = picture(320, 240);
        let source = clean.resize(80, 60, Filter::CatmullRom).unwrap();
        let mut planes = std::array::from_fn(|c| clean.channel(c).clone());
        change(&mut planes);
        match measure(&Scene::new(super::super::Picture::from_planes(planes), source).unwrap()) {
            Outcome::Measured(m) => (m.score, m),
            Outcome::NotApplicable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_warmer_patch_is_found_where_it_is() {
        let (clean, _) = score(|_| ());
        assert!(clean < 0.7, "{clean}");
        let (_, m) = score(|p| {
            for y in 40..140 {
                for x in 160..300 {
                    p[0].data[y * 320 + x] += 0.06;
                }
            }
        });
        let (peak, x, y) = m.map.peak();
        assert!(m.score > 3.0 && peak >= m.score, "{} {peak}", m.score);
        let (x, y) = (x * 320 / m.map.width, y * 240 / m.map.height);
        assert!((150..300).contains(&x) && (30..140).contains(&y), "{x},{y}");
    }
}
