//! Finds what an enlargement got wrong, says where and how sure it is, and whether it was in the source already.
//!
//! One file per detector, one list ([`DETECTORS`]). A detector measures a raw score and a map of it in its own unit; tables of
//! clean pictures ([`calibration`]) turn both into probabilities, [`regions`] turns maps into few boxes, [`report`] is what comes
//! out. Nothing here loads a network: a faithful enlargement to compare with is handed in.

pub mod banding;
pub mod blocking;
pub mod blur;
pub mod calibration;
pub mod carried;
pub mod checkerboard;
pub mod clipping;
pub mod colour_shift;
mod even_noise;
mod filter;
pub mod fold;
pub mod gan;
pub mod hallucination;
pub mod halo;
pub mod lettering;
pub mod log;
mod mask;
pub mod micro_noise;
#[cfg(test)]
mod pinned;
pub mod pixel_blob;
pub mod plane;
pub mod plastic;
mod pool;
pub mod print;
mod reduce;
pub mod regions;
pub mod repair;
pub mod repetition;
pub mod report;
pub mod residual;
pub mod scene;
pub mod seam;
pub mod specks;
pub mod spectrum;
pub mod strips;
pub mod texture;
mod tiles;
pub mod windows;

use std::collections::BTreeMap;

use rayon::prelude::*;

use calibration::Calibration;
use plane::Plane;
use regions::Spot;
pub use report::{Finding, Origin, Rect, Report, Situation, Tier, Verdict};
pub use scene::{Joins, Picture, Scene};

/// One detector.
#[derive(Debug, Clone, Copy)]
pub struct Detector {
    /// As in reports.
    pub name: &'static str,
    /// Measures a scene. Pure: the same scene gives the same outcome.
    pub measure: fn(&Scene) -> Outcome,
}

/// All detectors, in the order of reports.
pub const DETECTORS: &[Detector] = &[
    Detector { name: "hallucination", measure: hallucination::measure },
    Detector { name: "micro_noise", measure: micro_noise::measure },
    Detector { name: "halo", measure: halo::measure },
    Detector { name: "repetition", measure: repetition::measure },
    Detector { name: "plastic", measure: plastic::measure },
    Detector { name: "checkerboard", measure: checkerboard::measure },
    Detector { name: "seam", measure: seam::measure },
    Detector { name: "blocking", measure: blocking::measure },
    Detector { name: "banding", measure: banding::measure },
    Detector { name: "pixel_blob", measure: pixel_blob::measure },
    Detector { name: "colour_shift", measure: colour_shift::measure },
    Detector { name: "clipping", measure: clipping::measure },
    Detector { name: "gan", measure: gan::measure },
    Detector { name: "blur", measure: blur::measure },
];

/// What a detector says about a scene.
pub enum Outcome {
    /// Nothing to measure, and why.
    NotApplicable(&'static str),
    Measured(Measured),
}

/// A detector's raw result, before calibration.
pub struct Measured {
    /// The whole picture's raw score, 0 or more, rising with badness.
    pub score: f32,
    /// A raw score that holds for the picture as a whole, in the same unit: a larger picture is not more likely to reach it by
    /// chance. 0 where there is none.
    pub everywhere: f32,
    /// Raw scores of cells that share the picture evenly; the same unit as `score`.
    pub map: Plane,
    /// The same measured in the source, on the same cells; where it is as bad, the source is to blame.
    pub in_source: Option<Plane>,
    /// A region smaller than this share of the picture is left out.
    pub least_area: f32,
    /// The sentence of a finding.
    pub note: Box<dyn Fn(&Spot) -> String + Send + Sync>,
}

impl Measured {
    /// A result whose score is the map's peak.
    pub fn peak(map: Plane, note: impl Fn(&Spot) -> String + Send + Sync + 'static) -> Self {
        let score = map.peak().0.max(0.0);
        Self { score, everywhere: 0.0, map, in_source: None, least_area: 0.0, note: Box::new(note) }
    }
}

/// Names for a report, and how strict it is.
#[derive(Debug, Clone, Default)]
pub struct About {
    pub input: String,
    pub input_raw: Option<String>,
    pub source: Option<String>,
    pub model: Option<String>,
    pub faithful_model: Option<String>,
    pub tier: Tier,
    pub situation: Situation,
    pub notes: Vec<String>,
    /// Pixels per inch that the picture's file states.
    pub dpi: Option<f64>,
    /// What the scene is a strip of, if it is not a whole picture.
    pub part: Option<strips::Part>,
}

/// A report and the calibrated maps behind it.
#[derive(Debug)]
pub struct Inspection {
    pub report: Report,
    /// Detector and its map of 0..1, of applicable detectors; cells share the picture evenly.
    pub heat: Vec<(&'static str, Plane)>,
}

/// Runs every detector on a scene.
pub fn measure(scene: &Scene) -> Vec<(&'static Detector, Outcome)> {
    scene.prepare();
    DETECTORS.par_iter().map(|d| (d, (d.measure)(scene))).collect()
}

/// Inspects a scene with the tables that ship.
pub fn inspect(scene: &Scene, about: &About) -> Inspection {
    inspect_with(scene, about, &calibration::SHIPPED)
}

/// Inspects a scene with given tables.
pub fn inspect_with(scene: &Scene, about: &About, tables: &Calibration) -> Inspection {
    let (width, height) = (scene.result.width, scene.result.height);
    let part = about.part.unwrap_or(strips::Part { top: 0, size: (width, height) });
    let (mut detectors, mut thresholds) = (BTreeMap::new(), BTreeMap::new());
    let (mut not_applicable, mut notes) = (Vec::new(), about.notes.clone());
    let (mut heat, mut found) = (Vec::new(), Vec::new());
    scene.prepare();
    let (outcomes, text_like) = rayon::join(|| measure(scene), || text_like(scene));
    pool::clear();
    // A larger picture has more places to look odd by chance. Places near each other are alike, so their number counts with
    // its square root (an assumption; the tables' pictures are all of one size).
    let larger = ((part.size.0 * part.size.1) as f64 / calibration::PIXELS as f64).sqrt().max(1.0);
    let place = |name: &str, raw: f32| tables.score(name, about.situation, f64::from(raw));
    let mut all = Vec::new();
    for (detector, outcome) in outcomes {
        let name = detector.name;
        let measured = match outcome {
            Outcome::Measured(m) => m,
            Outcome::NotApplicable(why) => {
                detectors.insert(name.into(), 0.0);
                not_applicable.push(name.into());
                notes.push(format!("{name} does not apply: {why}"));
                continue;
            }
        };
        let (local, whole) = (place(name, measured.score).powf(larger), place(name, measured.everywhere));
        detectors.insert(name.into(), local.max(whole));
        thresholds.insert(name.into(), round(about.tier.certain(name)));
        all.push((detector, measured, if whole > local { 1.0 } else { larger }));
    }
    let flagging = tables.flagging(&detectors, about.situation, about.tier);
    // What is flagged for one detector alone comes before what passed.
    let least = if flagging.is_empty() { 0.0 } else { tables.limit(about.situation, about.tier) };
    let score = tables.together(&detectors, about.situation).max(least);
    for (detector, measured, larger) in all {
        let name = detector.name;
        let map = measured.map.map(|raw| place(name, raw).powf(larger) as f32);
        if flagging.iter().any(|f| f == name) {
            let (score, own) = (detectors[name], about.tier.threshold());
            let spots = regions::find(&map, &measured, (width, height), own.min(score));
            // What alone would pass is as bad as what is just flagged.
            let with = if score < own { Some(others(&flagging, name)) } else { None };
            found.extend(spots.into_iter().map(|spot| finding(detector, &spot, &measured, scene, (part, own.min(score), with.as_deref()))));
        }
        heat.push((name, map));
    }
    let (findings, left_out) = regions::settle(found, (width, height));
    // Of a strip's picture it is told once.
    if about.part.is_none() {
        let scale = scene.source.as_ref().map(|_| scene.scale);
        notes.push(print::preflight((width, height), scale, print::synthesised(scene), about.dpi));
        if left_out > 0 {
            notes.push(more(left_out));
        }
    }
    let verdict = Verdict::of(&findings, about.tier);
    let report = Report {
        event: "report".into(),
        input: about.input.clone(),
        input_raw: about.input_raw.clone(),
        result_sha256: None,
        source: about.source.clone(),
        verdict,
        score: round(score),
        detectors: detectors.into_iter().map(|(name, v)| (name, round(v))).collect(),
        not_applicable,
        findings,
        table: tables.hash().into(),
        width,
        height,
        tier: about.tier,
        situation: about.situation,
        model: about.model.clone(),
        faithful_model: about.faithful_model.clone(),
        thresholds,
        notes,
        text_like,
        repair: None,
    };
    Inspection { report, heat }
}

/// A note on findings that a report leaves out.
fn more(n: usize) -> String {
    format!("and {n} smaller {}", if n == 1 { "finding" } else { "findings" })
}

/// Where the source has lettering, in pixels of the result.
fn text_like(scene: &Scene) -> Vec<Rect> {
    let Some(luma) = scene.source_luma() else { return Vec::new() };
    let (w, h) = (scene.result.width, scene.result.height);
    let scaled = |r: Rect| {
        let (x, y) = (r.x * w / luma.width, r.y * h / luma.height);
        let (right, bottom) = ((r.x + r.w) * w / luma.width, (r.y + r.h) * h / luma.height);
        Rect { x, y, w: right.min(w) - x, h: bottom.min(h) - y }
    };
    lettering::find(luma).into_iter().map(scaled).collect()
}

/// Why a finding is one though its detector alone would let it pass.
fn others(flagging: &[String], name: &str) -> String {
    let others: Vec<&str> = flagging.iter().map(String::as_str).filter(|f| *f != name).collect();
    let with = match others.split_last() {
        None => "weaker signs of others".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    };
    format!("; not rare enough alone, but together with {with}")
}

fn finding(
    detector: &Detector,
    spot: &Spot,
    measured: &Measured,
    scene: &Scene,
    (part, threshold, with): (strips::Part, f64, Option<&str>),
) -> Finding {
    let origin = match &measured.in_source {
        _ if scene.source.is_none() => Origin::Unknown,
        Some(there) if spot.worst_in(there) >= 0.6 * spot.raw => Origin::Source,
        _ => Origin::Upscale,
    };
    let mut note = (measured.note)(spot) + with.unwrap_or_default();
    if origin == Origin::Source {
        note += "; already in the source: re-render, upscaling did not cause it";
    }
    Finding {
        detector: detector.name.into(),
        severity: round(severity(spot, threshold, part)),
        score: round(spot.h),
        rect: spot.rect,
        origin,
        note,
        also: Vec::new(),
    }
}

/// How bad a spot is, 0..1: how much rarer it is on clean pictures than what is just flagged, raised by its size and by lying in
/// the picture's middle.
fn severity(spot: &Spot, threshold: f64, strips::Part { top, size: (width, height) }: strips::Part) -> f64 {
    // A third just above the threshold, 1 where a thirtieth as many clean pictures have such a spot.
    let rarer = ((1.0 - threshold).max(1e-9) / (1.0 - spot.h).max(1e-9)).log10();
    let rare = ((rarer + 0.75) / 2.25).clamp(0.0, 1.0);
    let share = spot.area / (width * height) as f64;
    let (cx, cy) = (spot.rect.x + spot.rect.w / 2, top + spot.rect.y + spot.rect.h / 2);
    let middle = |at: usize, of: usize| 3 * at >= of && 3 * at <= 2 * of;
    let central = f64::from(u8::from(middle(cx, width) && middle(cy, height)));
    1.0 - (1.0 - 0.9 * rare) * (1.0 - 0.35 * (share / 0.02).min(1.0) * rare) * (1.0 - 0.25 * central * rare)
}

/// Four digits are enough, but a score below 1 stays below 1.
fn round(v: f64) -> f64 {
    if v > 0.9999 { v } else { (v * 1e4).round() / 1e4 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Band;

    /// A smooth picture with a little texture, as an upscaler leaves it.
    pub(super) fn picture(width: usize, height: usize) -> Picture {
        let plane = |shift: f32| {
            let mut p = Plane::new(width, height);
            for y in 0..height {
                for x in 0..width {
                    let (u, v) = (x as f32, y as f32);
                    let wave = 0.14 * (u * 0.021 + shift).sin() * (v * 0.017).cos() + 0.03 * (u * 0.33 + v * 0.21).sin();
                    let ramp = 0.2 * (u + v) / (width + height) as f32;
                    p.data[y * width + x] = ((0.35 + wave + ramp) * 255.0).round() / 255.0;
                }
            }
            p
        };
        Picture::from_planes([plane(0.0), plane(0.4), plane(0.9)])
    }

    #[test]
    fn every_detector_scores_every_picture() {
        let result = picture(320, 240);
        let source = result.resize(80, 60, crate::resample::Filter::CatmullRom).unwrap();
        for scene in [Scene::alone(result.clone()), Scene::new(result.clone(), source).unwrap(), Scene::alone(picture(7, 5))] {
            let inspection = inspect(&scene, &About { input: "a.png".into(), ..About::default() });
            let r = &inspection.report;
            assert_eq!(r.detectors.len(), DETECTORS.len());
            assert!(r.detectors.values().all(|s| (0.0..1.0).contains(s)), "{:?}", r.detectors);
            assert!(r.not_applicable.iter().all(|n| r.detectors[n] == 0.0));
            for (name, map) in &inspection.heat {
                assert!(map.data.iter().all(|v| (0.0..=1.0).contains(v)), "{name}");
            }
        }
    }

    #[test]
    fn odd_sizes_and_values_are_survived() {
        for (w, h) in [(1, 1), (1, 40), (40, 1), (3, 2), (17, 33), (65, 64)] {
            let mut band = Band::new(0, w, h, 3);
            band.data.iter_mut().enumerate().for_each(|(i, v)| *v = if i % 7 == 0 { f32::NAN } else { (i % 5) as f32 });
            let mut p = Picture::new(w);
            p.push(&band);
            let small = p.resize(w.div_ceil(4), h.div_ceil(4), crate::resample::Filter::Box).unwrap();
            inspect(&Scene::alone(p.clone()), &About::default());
            if let Ok(mut scene) = Scene::new(p.clone(), small) {
                scene.faithful = Some(p);
                inspect(&scene, &About::default());
            }
        }
    }
}
