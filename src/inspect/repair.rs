//! Mends what an enlargement invented: inside regions flagged as hallucination or micro noise that upscaling caused, the faithful
//! enlargement takes the place of the result.
//!
//! What finds defects best need not look best: pixels may come from another faithful enlargement than the one that scores. The
//! faithful pixels get the result's own low frequencies (so that no tone or colour steps) and its grain, and are blended in
//! under a mask that is 1 over the region and falls to exactly 0 round it. A patch is kept only if the region's raw score falls
//! by half and no detector has a spot in its surroundings, rare enough for a finding, that it did not have before; pixels outside kept
//! patches are untouched to the bit.

mod patch;

use serde::{Deserialize, Serialize};

use super::calibration::{self, Calibration};
use super::plane::Plane;
use super::regions::{self, Spot};
use super::report::Rect;
use super::{About, DETECTORS, Inspection, Measured, Outcome, Picture, Scene};
use crate::band::Band;
use crate::error::Result;
pub use patch::Patch;

/// What is done about regions that can be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Repair {
    /// Nothing.
    #[default]
    Off,
    /// A mended picture is written beside the result, for the reviewer to take.
    Suggest,
    /// The result itself is mended.
    Auto,
}

impl Repair {
    /// Whether the result is written as the networks made it.
    pub fn leaves_the_result(&self) -> bool {
        *self != Self::Auto
    }
}

/// What a report says about mending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// [`Repair::Suggest`]: a mended picture lies beside the result. [`Repair::Auto`]: the result is mended; scores and findings
    /// are those of the mended picture.
    pub mode: Repair,
    /// The mended picture, if it lies beside the result: from the folder of results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The networks that made the pixels of the regions, by id; none in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Every region that was tried.
    pub regions: Vec<Region>,
}

impl Log {
    /// Regions that were mended.
    pub fn kept(&self) -> usize {
        self.regions.iter().filter(|r| r.kept).count()
    }
}

/// One region that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Region {
    pub detector: String,
    /// What was flagged; the blend reaches a little further.
    #[serde(rename = "box")]
    pub rect: Rect,
    /// The region's worst raw score, in the detector's own unit.
    pub before: f64,
    pub after: f64,
    pub kept: bool,
    /// Why it was not kept; empty if it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Patches that were kept, to be laid over the rows they were made for.
#[derive(Debug, Default)]
pub struct Patches(Vec<Patch>);

impl Patches {
    /// One value over a window.
    #[cfg(test)]
    pub(crate) fn flat(window: Rect, value: f32) -> Self {
        Self(vec![Patch::flat(window, value)])
    }

    /// Whether there is nothing to mend.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many regions are mended.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Mends rows of the result; where they are not opaque, they stay as they are.
    pub fn apply(&self, band: &mut Band) {
        for patch in &self.0 {
            patch.apply(band);
        }
    }

    /// For the history that a file carries: how many regions, and of what kind.
    pub fn said(&self) -> String {
        let regions = if self.0.len() == 1 { "region" } else { "regions" };
        format!("{} {regions} mended with the faithful enlargement", self.0.len())
    }
}

/// What mending came to.
#[derive(Debug)]
pub struct Mended {
    /// Of the mended picture; of the picture as it was if no patch was kept.
    pub inspection: Inspection,
    pub patches: Patches,
    /// Empty if there was no region to mend.
    pub regions: Vec<Region>,
}

/// Detectors whose findings the faithful enlargement can mend.
const MENDS: [&str; 2] = ["hallucination", "micro_noise"];
/// Most regions of a picture.
const AT_MOST: usize = 24;
/// A patch is kept if the region's raw score falls to this share.
const FALLS_TO: f32 = 0.5;

/// Makes the faithful enlargement whose pixels take the place of the result's, of the result's size; none leaves that to the one
/// that the scene is compared with.
pub type Maker<'a> = &'a mut dyn FnMut() -> Result<Option<Picture>>;

/// Mends a scene that was inspected: `first` is its inspection. Without a faithful enlargement nothing can be mended. `maker` is
/// asked once, if there is a region to mend.
///
/// # Errors
/// What `maker` says; else none that occurs: what resampling says about an empty size.
pub fn mend(scene: Scene, first: Inspection, about: &About, maker: Maker<'_>) -> Result<Mended> {
    mend_with(scene, first, about, maker, &calibration::SHIPPED)
}

/// The same with given tables.
///
/// # Errors
/// As [`mend`].
pub fn mend_with(scene: Scene, first: Inspection, about: &About, maker: Maker<'_>, tables: &Calibration) -> Result<Mended> {
    let mut tried = find(&scene, &first, maker)?;
    if tried.is_empty() {
        return Ok(Mended { inspection: first, patches: Patches::default(), regions: Vec::new() });
    }
    let mut again = scene;
    // Each round lays all that are left; what does not hold is taken off, and the rest is looked at again.
    let untouched = std::mem::take(&mut again.result);
    let mut second = None;
    for _ in 0..3 {
        if tried.iter().all(|t| !t.why.is_empty()) {
            second = None;
            break;
        }
        again = renewed(again, laid(&untouched, &tried))?;
        let inspection = super::inspect_with(&again, about, tables);
        let refused = judge(&mut tried, &again, &first, &inspection);
        second = Some(inspection);
        if refused == 0 {
            break;
        }
        second = None;
    }
    if second.is_none() {
        // What refuses to settle is left alone altogether.
        tried.iter_mut().filter(|t| t.why.is_empty()).for_each(|t| t.why = "mending it upsets its neighbours".into());
    }
    let regions = tried.iter().map(Tried::told).collect();
    let patches = tried.into_iter().filter(|t| t.why.is_empty()).map(|t| t.patch).collect();
    Ok(Mended { inspection: second.unwrap_or(first), patches: Patches(patches), regions })
}

/// A region under trial.
struct Tried {
    detector: &'static str,
    spot: Spot,
    /// Cells of the detector's map that make up the region.
    cells: Vec<usize>,
    patch: Patch,
    before: f32,
    after: f32,
    why: String,
}

impl Tried {
    fn told(&self) -> Region {
        let (before, after) = (round(self.before), round(self.after));
        Region { detector: self.detector.into(), rect: self.spot.rect, before, after, kept: self.why.is_empty(), why: self.why.clone() }
    }
}

fn round(v: f32) -> f64 {
    (f64::from(v) * 1e4).round() / 1e4
}

fn measured(name: &str, scene: &Scene) -> Option<Measured> {
    let detector = DETECTORS.iter().find(|d| d.name == name)?;
    match (detector.measure)(scene) {
        Outcome::Measured(m) => Some(m),
        Outcome::NotApplicable(_) => None,
    }
}

/// Flagged regions that upscaling caused, each with its patch.
fn find(scene: &Scene, first: &Inspection, maker: Maker<'_>) -> Result<Vec<Tried>> {
    let Some(compared) = &scene.faithful else { return Ok(Vec::new()) };
    let mut made: Option<Option<Picture>> = None;
    let size = (scene.result.width, scene.result.height);
    let mut tried = Vec::new();
    for name in MENDS {
        let flagged = first.report.findings.iter().any(|f| f.detector == name || f.also.iter().any(|a| a == name));
        let heat = first.heat.iter().find(|(n, _)| *n == name).map(|(_, map)| map);
        let (Some(heat), Some(&score), true) = (heat, first.report.detectors.get(name), flagged) else { continue };
        let threshold = first.report.tier.threshold().min(score);
        let Some(measured) = measured(name, scene) else { continue };
        let caused = |s: &Spot| measured.in_source.as_ref().is_none_or(|there| s.worst_in(there) < 0.6 * s.raw);
        for spot in regions::find(heat, &measured, size, threshold).into_iter().filter(caused) {
            let cells = region(heat, &spot, size);
            let before = worst(&measured.map, &cells);
            if made.is_none() {
                made = Some(maker()?);
            }
            let faithful = made.as_ref().and_then(Option::as_ref).unwrap_or(compared);
            let patch = Patch::new(&scene.result, faithful, heat, &cells, scene.scale)?;
            tried.push(Tried { detector: name, spot, cells, patch, before, after: before, why: String::new() });
        }
    }
    tried.sort_by(|a, b| b.spot.h.total_cmp(&a.spot.h).then(b.spot.area.total_cmp(&a.spot.area)));
    tried.truncate(AT_MOST);
    Ok(tried)
}

/// The cells of a map that belong to a region: what is remarkable in its box, and what is still unusual and joins it. A box is
/// drawn round the worst alone; the defect reaches further, and half of it mended would look like another one.
fn region(heat: &Plane, spot: &Spot, (width, height): (usize, usize)) -> Vec<usize> {
    /// Clean pictures' worst spots lie above this in three of ten.
    const UNUSUAL: f32 = 0.7;
    let seed = spot.h as f32;
    let least = UNUSUAL.max(1.0 - 30.0 * (1.0 - seed)).min(seed);
    let span = |at: usize, len: usize, whole: usize, cells: usize| at * cells / whole..((at + len) * cells).div_ceil(whole).min(cells);
    let columns = span(spot.rect.x, spot.rect.w, width, heat.width);
    let rows = span(spot.rect.y, spot.rect.h, height, heat.height);
    // No further than its own size, so that a busy picture is not replaced whole.
    let reach = columns.len().max(rows.len()).max(4);
    let (left, right) = (columns.start.saturating_sub(reach), (columns.end + reach).min(heat.width));
    let (top, bottom) = (rows.start.saturating_sub(reach), (rows.end + reach).min(heat.height));
    let mut taken = vec![false; heat.data.len()];
    let all = rows.flat_map(|y| columns.clone().map(move |x| y * heat.width + x));
    let mut todo: Vec<usize> = all.filter(|&i| heat.data[i] >= least).collect();
    todo.iter().for_each(|&i| taken[i] = true);
    let mut cells = Vec::new();
    while let Some(i) = todo.pop() {
        cells.push(i);
        let (x, y) = (i % heat.width, i / heat.width);
        for ny in y.saturating_sub(1).max(top)..(y + 2).min(bottom) {
            for nx in x.saturating_sub(1).max(left)..(x + 2).min(right) {
                let n = ny * heat.width + nx;
                if !taken[n] && heat.data[n] >= UNUSUAL {
                    taken[n] = true;
                    todo.push(n);
                }
            }
        }
    }
    cells.sort_unstable();
    cells
}

fn worst(map: &Plane, cells: &[usize]) -> f32 {
    cells.iter().filter_map(|&i| map.data.get(i)).fold(0.0, |a, &v| a.max(v))
}

/// The picture with every patch that still holds.
fn laid(untouched: &Picture, tried: &[Tried]) -> Picture {
    const ROWS: usize = 256;
    let mut out = Picture::new(untouched.width);
    let mut y = 0;
    while y < untouched.height {
        let end = (y + ROWS).min(untouched.height);
        let mut band = untouched.band(y, end);
        tried.iter().filter(|t| t.why.is_empty()).for_each(|t| t.patch.apply(&mut band));
        out.push(&band);
        y = end;
    }
    out
}

/// The same scene about another result.
fn renewed(scene: Scene, result: Picture) -> Result<Scene> {
    let Scene { source, faithful, joins, .. } = scene;
    let mut next = match source {
        Some(source) => Scene::new(result, source)?,
        None => Scene::alone(result),
    };
    (next.faithful, next.joins) = (faithful, joins);
    Ok(next)
}

/// Refuses patches that do not hold; how many.
fn judge(tried: &mut [Tried], scene: &Scene, first: &Inspection, second: &Inspection) -> usize {
    let size = (scene.result.width, scene.result.height);
    let maps: Vec<(&str, Option<Measured>)> = MENDS.iter().map(|n| (*n, measured(n, scene))).collect();
    let mut refused = 0;
    for t in tried.iter_mut().filter(|t| t.why.is_empty()) {
        let map = maps.iter().find(|(n, _)| *n == t.detector).and_then(|(_, m)| m.as_ref());
        t.after = map.map_or(0.0, |m| worst(&m.map, &t.cells));
        if t.after > FALLS_TO * t.before {
            t.why = "the faithful enlargement is hardly better here".into();
        } else if let Some(name) = newly_flagged(t.patch.window(), size, first, second) {
            t.why = format!("it would raise {name} around it");
        }
        refused += usize::from(!t.why.is_empty());
    }
    refused
}

/// A detector for which a cell of the window is a finding of its own now and none was before, whether or not it flags the picture.
fn newly_flagged(window: Rect, size: (usize, usize), first: &Inspection, second: &Inspection) -> Option<&'static str> {
    let flags = |inspection: &Inspection, name: &str| {
        let Some(&score) = inspection.report.detectors.get(name) else { return false };
        let least = inspection.report.tier.threshold();
        let map = inspection.heat.iter().find(|(n, _)| *n == name).map(|(_, m)| m);
        score >= least && map.is_some_and(|m| f64::from(worst_within(m, window, size)) >= least)
    };
    let now = second.heat.iter().map(|(name, _)| *name);
    now.into_iter().find(|name| flags(second, name) && !flags(first, name))
}

fn worst_within(map: &Plane, window: Rect, (width, height): (usize, usize)) -> f32 {
    let span = |at: usize, len: usize, whole: usize, cells: usize| {
        let first = (at * cells / whole.max(1)).min(cells.saturating_sub(1));
        first..((at + len) * cells).div_ceil(whole.max(1)).max(first + 1).min(cells)
    };
    let columns = span(window.x, window.w, width, map.width);
    let rows = span(window.y, window.h, height, map.height);
    rows.flat_map(|y| map.row(y)[columns.clone()].iter()).fold(0.0, |a, &v| a.max(v))
}

#[cfg(test)]
mod tests;
