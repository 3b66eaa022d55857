//! What an inspection needs of the pipeline: decoded pictures, and a faithful enlargement to compare with.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::{RINGING, ROWS, display_encode};
use crate::alpha::bleed_alpha;
use crate::band::{Band, Stage};
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::flow::Chain;
use crate::image::Image;
use crate::inspect::{About, Inspection, Picture, Scene, Situation, Tier, inspect};
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

/// Inspects a file, with its source if it has one.
///
/// # Errors
/// What is wrong with either file or with the engine.
pub fn inspect_file(subject: Subject<'_>, engine: &Engine, tier: Tier, limits: &Limits, stop: &AtomicBool) -> Result<Inspection> {
    let result = open(subject.input, limits)?;
    let mut about = About { input: subject.input.display().to_string(), tier, ..About::default() };
    let Some(path) = subject.source else {
        about.notes.push("no source: only what shows in the picture itself was looked for".into());
        return Ok(inspect(&Scene::alone(Picture::of(&result)), &about));
    };
    let source = open(path, limits)?;
    about.source = Some(path.display().to_string());
    if source.metadata.icc != result.metadata.icc {
        about.notes.push("result and source have different colour profiles: colours were compared as they are stored".into());
    }
    let scene = Scene::new(Picture::of(&result), Picture::of(&source));
    let mut scene = match scene {
        Ok(scene) => scene,
        Err(e) => {
            about.notes.push(format!("compared with nothing: {}", e.to_string().lines().next().unwrap_or_default()));
            return Ok(inspect(&Scene::alone(Picture::of(&result)), &about));
        }
    };
    let size = (result.width, result.height);
    drop(result);
    about.situation = Situation::Source;
    let faithful = faithful(engine, &Picture::of(&source), size, stop)?;
    about.faithful_model = Some(faithful.model);
    scene.faithful = Some(faithful.picture);
    Ok(inspect(&scene, &about))
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

/// `source` enlarged to `size` by faithful networks, resampled to the exact size where they do not reach it; resampled
/// alone if there is no enlargement or the engine has no networks.
///
/// # Errors
/// As [`super::process`].
pub fn faithful(engine: &Engine, source: &Picture, size: (usize, usize), stop: &AtomicBool) -> Result<Faithful> {
    let (colours, factor) = (if source.is_grey() { 1 } else { 3 }, size.0 as f64 / source.width as f64);
    let passes = if factor > 1.0 { engine.faithful_passes(factor) } else { Vec::new() };
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
