//! What an inspection needs of the pipeline: decoded pictures, and a faithful enlargement to compare with.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::history::mended_event;
use super::{Look, Observer, Plan, RINGING, ROWS, display_encode};
use crate::alpha::bleed_alpha;
use crate::band::{Band, Stage};
use crate::codec::{self, Changes, Encoding, Limits};
use crate::error::{Error, Result};
use crate::flow::Chain;
use crate::image::{Image, Samples};
use crate::inspect::repair::{self, Mended, Patches, Repair};
use crate::inspect::{About, Inspection, Joins, Picture, Scene, Situation, Tier, inspect};
use crate::resample::{Filter, Light, Resize, Scaler};
use crate::upscale::engine::Engine;
use crate::upscale::pass::Pass;

/// Somebody's result, and its source if there is one.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub input: &'a Path,
    pub source: Option<&'a Path>,
}

/// A faithful enlargement and the network that made it.
#[derive(Debug)]
pub struct Faithful {
    pub picture: Picture,
    /// Ids of the networks, joined by `+`; `lanczos3` if none was used.
    pub model: String,
}

/// The name of a comparison that no network made.
pub const RESAMPLED: &str = "lanczos3";

/// How pictures are inspected, and what is done about what is found.
#[derive(Debug, Clone, Default)]
pub struct Care {
    pub tier: Tier,
    pub repair: Repair,
    /// What the result will be printed at, if that is known.
    pub dpi: Option<f64>,
    /// The file of the mended version; with [`Repair::Auto`] what is made takes its own file and this is not used.
    pub beside: PathBuf,
}

/// Inspects a file, with its source if it has one. If it can be mended and `care` wants that, the mended version is written to
/// `care.beside` (folders are made), in the file's own format, and the report tells of it.
///
/// # Errors
/// What is wrong with either file or with the engine.
pub fn inspect_file(subject: Subject<'_>, engine: &Engine, care: &Care, limits: &Limits, stop: &AtomicBool) -> Result<Inspection> {
    let result = open(subject.input, limits)?;
    let mut about = About { input: subject.input.display().to_string(), tier: care.tier, ..About::default() };
    about.dpi = result.metadata.dpi.map(|d| d.0);
    let Some(path) = subject.source else {
        about.notes.push("no source: only what shows in the picture itself was looked for".into());
        return Ok(inspect(&Scene::alone(Picture::of(&result)), &about));
    };
    let source = open(path, limits)?;
    about.source = Some(path.display().to_string());
    if source.metadata.icc != result.metadata.icc {
        about.notes.push("result and source have different colour profiles: colours were compared as they are stored".into());
    }
    let (picture, source) = (Picture::of(&result), Picture::of(&source));
    let size = (picture.width, picture.height);
    if !Scene::matches(&picture, &source) {
        let (w, h) = (source.width, source.height);
        about.notes.push(format!("compared with nothing: its source has {w}x{h} px, another shape, so places do not match"));
        return Ok(inspect(&Scene::alone(picture), &about));
    }
    // Float files were converted for looking at them.
    let mends = care.repair != Repair::Off && !matches!(result.samples, Samples::F32(_));
    let kept = mends.then_some(result);
    let mut scene = Scene::new(picture, source.clone())?;
    about.situation = Situation::Source;
    let faithful = faithful(engine, &source, size, &[], stop)?;
    drop(source);
    let by_a_network = faithful.model != RESAMPLED;
    about.faithful_model = Some(faithful.model);
    scene.faithful = Some(faithful.picture);
    let first = inspect(&scene, &about);
    let Some(image) = kept.filter(|_| by_a_network) else { return Ok(first) };
    let (inspection, patches) = mended(scene, first, &about, care.repair)?;
    if !patches.is_empty() {
        write_mended(&image, &patches, subject.input, &care.beside)?;
    }
    Ok(inspection)
}

/// Writes a picture with its patches, as it was otherwise.
fn write_mended(image: &Image, patches: &Patches, from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let bits = image.bits();
    let encoding = Encoding { format: image.format, quality: image.format.default_quality(), bits, ..Encoding::default() };
    let (width, height) = (image.width, image.height);
    let changes = Changes { width, height, history: vec![mended_event(from, &patches.said())], ..Changes::default() };
    let (mut metadata, _) = image.metadata.changed(&changes);
    metadata.icc.clone_from(&image.metadata.icc);
    let mut encoder = codec::encoder(to, &encoding, width, height, image.channels, &metadata)?;
    let mut y = 0;
    while y < height {
        let end = (y + ROWS).min(height);
        let mut band = image.band(y, end, 0..image.channels.count());
        patches.apply(&mut band);
        encoder.write(&band)?;
        y = end;
    }
    encoder.finish().map(|_| ())
}

/// The most pixels that are inspected while they are made: the planes of a whole result are held until it is finished.
const AT_MOST: usize = 100_000_000;

/// Watches a picture being made, and inspects it with everything that is known then: source, tile joins, networks.
#[derive(Debug, Default)]
pub struct Watch {
    care: Care,
    /// For messages.
    input: PathBuf,
    source: Picture,
    result: Picture,
    plan: Plan,
    /// Pixels seen, also of a result that is too large to be kept.
    pixels: usize,
    inspected: Option<Inspection>,
}

impl Observer for Watch {
    fn begin(&mut self, source: &Image, plan: &Plan) -> Result<()> {
        self.source = Picture::of(source);
        self.plan = plan.clone();
        Ok(())
    }

    fn band(&mut self, band: &Band) -> Result<()> {
        self.pixels += band.width * band.rows;
        if self.pixels > AT_MOST {
            self.result = Picture::default();
        } else {
            if self.result.width == 0 {
                self.result = Picture::new(band.width);
            }
            self.result.push(band);
        }
        Ok(())
    }

    fn look(&self, (width, height): (usize, usize)) -> Look {
        match self.care.repair {
            _ if width * height > AT_MOST || self.plan.passes.is_empty() => Look::Once,
            Repair::Off => Look::Once,
            Repair::Suggest => Look::Beside(self.care.beside.clone()),
            Repair::Auto => Look::Mend,
        }
    }

    fn mend(&mut self, engine: &Engine, stop: &AtomicBool) -> Result<Patches> {
        let own = self.plan.passes.iter().all(|p| engine.ships(&p.sha256));
        let Some((scene, about)) = self.scene(engine, stop)? else { return Ok(Patches::default()) };
        let first = inspect(&scene, &about);
        // What one faithful network made is not mended with another's.
        let (inspection, patches) = if own { (first, Patches::default()) } else { mended(scene, first, &about, self.care.repair)? };
        self.inspected = Some(inspection);
        Ok(patches)
    }
}

impl Watch {
    /// Watches `input` being enlarged.
    pub fn new(input: &Path, care: Care) -> Self {
        Self { care, input: input.to_path_buf(), ..Self::default() }
    }

    /// Inspects what was seen; none if nothing was made (a source that was copied), or too much for memory.
    ///
    /// # Errors
    /// As [`super::process`], from making the faithful enlargement.
    pub fn inspect(mut self, engine: &Engine, stop: &AtomicBool) -> Result<Option<Inspection>> {
        if let Some(done) = self.inspected.take() {
            return Ok(Some(done));
        }
        Ok(self.scene(engine, stop)?.map(|(scene, about)| inspect(&scene, &about)))
    }

    /// What was seen, ready to be inspected; leaves nothing behind.
    fn scene(&mut self, engine: &Engine, stop: &AtomicBool) -> Result<Option<(Scene, About)>> {
        let (source, result, plan) = (std::mem::take(&mut self.source), std::mem::take(&mut self.result), std::mem::take(&mut self.plan));
        if result.height == 0 {
            return Ok(None);
        }
        let model = (!plan.passes.is_empty()).then(|| plan.passes.iter().map(|p| p.model.as_str()).collect::<Vec<_>>().join("+"));
        let (tier, situation, dpi) = (self.care.tier, Situation::Own, self.care.dpi);
        let mut about = About { source: Some(self.input.display().to_string()), model, tier, situation, dpi, ..About::default() };
        let size = (result.width, result.height);
        let shape = (size.0 as f64 / source.width as f64) / (size.1 as f64 / source.height as f64);
        let joins = joins(&plan, size);
        // Cut to fill a box: places no longer match.
        if !Scene::matches(&result, &source) {
            about.notes.push(format!("compared with nothing: it was cut to another shape ({shape:.2} of the source's)"));
            about.situation = Situation::Alone;
            return Ok(Some((Scene::alone(result), about)));
        }
        let mut scene = Scene::new(result, source.clone())?;
        scene.joins = Some(joins);
        let factor = size.0 as f64 / source.width as f64;
        let made_by: Vec<&str> = plan.passes.iter().map(|p| p.sha256.as_str()).collect();
        if factor > 1.0 && !plan.passes.is_empty() && engine.reference_passes(factor, &made_by).is_empty() {
            about.notes.push("made by the networks it would be compared with: judged against the source alone".into());
        } else if factor > 1.0 && engine.main().is_some() {
            let faithful = faithful(engine, &source, size, &made_by, stop)?;
            about.faithful_model = Some(faithful.model);
            scene.faithful = Some(faithful.picture);
        }
        Ok(Some((scene, about)))
    }
}

/// Mends what an inspection found; the report tells of it. With [`Repair::Suggest`] it stays about the picture as it is.
///
/// # Errors
/// As [`repair::mend`].
pub fn mended(scene: Scene, first: Inspection, about: &About, how: Repair) -> Result<(Inspection, Patches)> {
    if first.report.findings.is_empty() {
        return Ok((first, Patches::default()));
    }
    let as_it_is = (how == Repair::Suggest).then(|| (first.report.clone(), first.heat.clone()));
    let Mended { mut inspection, patches, regions } = repair::mend(scene, first, about)?;
    if let Some((report, heat)) = as_it_is {
        inspection = Inspection { report, heat };
    }
    if !regions.is_empty() {
        inspection.report.repair = Some(repair::Log { mode: how, file: None, regions });
    }
    Ok((inspection, patches))
}

/// Where the passes of a plan joined their tiles, in output pixels.
fn joins(plan: &Plan, (width, height): (usize, usize)) -> Joins {
    let mut joins = Joins::default();
    for pass in &plan.passes {
        // Tiles share a picture evenly.
        let at = |n: u32, of: usize| (1..n as usize).map(move |i| i * of / n as usize);
        joins.x.extend(at(pass.grid[0], width));
        joins.y.extend(at(pass.grid[1], height));
    }
    for axis in [&mut joins.x, &mut joins.y] {
        axis.sort_unstable();
        axis.dedup();
    }
    joins
}

/// Decodes a file as networks see it: upright, display-encoded, colour under clear pixels.
fn open(path: &Path, limits: &Limits) -> Result<Image> {
    let bytes = std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::input(path, "no such file", ""),
        _ => Error::io(path, e),
    })?;
    let mut image = codec::decode(path, &bytes, limits)?;
    bleed_alpha(&mut image);
    display_encode(&mut image, &mut Vec::new());
    Ok(image)
}

/// `source` enlarged to `size` by faithful networks other than those of the hashes `made_by`, resampled to the exact size where
/// they do not reach it; resampled alone if there is no enlargement or the engine has no networks.
///
/// # Errors
/// As [`super::process`].
pub fn faithful(engine: &Engine, source: &Picture, size: (usize, usize), made_by: &[&str], stop: &AtomicBool) -> Result<Faithful> {
    let (colours, factor) = (if source.is_grey() { 1 } else { 3 }, size.0 as f64 / source.width as f64);
    let passes = if factor > 1.0 { engine.reference_passes(factor, made_by) } else { Vec::new() };
    let (mut chain, mut scale, mut ids) = (Chain::new(), 1, Vec::new());
    for &i in &passes {
        let (w, h) = (source.width * scale, source.height * scale);
        let grid = engine.grid(i, w, h, colours, engine.parallel(0)?)?;
        let manifest = &engine.model(i).manifest;
        ids.push(manifest.id.clone());
        scale *= manifest.scale as usize;
        chain.then(Pass::new(engine.network(i)?, engine.pool()?, grid, colours, stop));
    }
    let reached = (source.width * scale, source.height * scale);
    if reached != size {
        let scaler = Scaler::new(reached.0, reached.1, size.0, size.1, Filter::Lanczos3, None)?.clamp_ringing(RINGING);
        chain.then(Resize::new(scaler, colours, Light::Encoded));
    }
    let mut picture = Picture::new(size.0);
    let mut keep = |band: Band| {
        picture.push(&band);
        Ok(())
    };
    let mut y = 0;
    while y < source.height {
        let end = (y + ROWS).min(source.height);
        chain.push(source.band(y, end), &mut keep)?;
        y = end;
    }
    chain.finish(&mut keep)?;
    let model = if ids.is_empty() { RESAMPLED.to_owned() } else { ids.join("+") };
    Ok(Faithful { picture, model })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upscale::engine::PassRecord;

    #[test]
    fn joins_of_all_passes_lie_where_tiles_meet() {
        let pass = |grid| PassRecord { grid, ..PassRecord::default() };
        let plan = Plan { passes: vec![pass([2, 1]), pass([4, 3])], ..Plan::default() };
        let j = joins(&plan, (400, 300));
        assert_eq!((j.x, j.y), (vec![100, 200, 300], vec![100, 200]));
    }
}
