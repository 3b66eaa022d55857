//! Faithful enlargements that make no result: what one is compared with, and what mends it.

use std::sync::atomic::AtomicBool;

use super::{RINGING, ROWS};
use crate::band::{Band, Stage};
use crate::error::Result;
use crate::flow::Chain;
use crate::inspect::Picture;
use crate::resample::{Filter, Light, Resize, Scaler};
use crate::upscale::engine::Engine;
use crate::upscale::pass::Pass;

/// A faithful enlargement and the network that made it.
#[derive(Debug)]
pub struct Faithful {
    pub picture: Picture,
    /// Ids of the networks, joined by `+`; `lanczos3` if none was used.
    pub model: String,
}

/// The name of a comparison that no network made.
pub const RESAMPLED: &str = "lanczos3";

/// `source` enlarged to `size` by faithful networks other than those of the hashes `made_by`, resampled to the exact size where
/// they do not reach it; resampled alone if there is no enlargement or the engine has no networks.
///
/// # Errors
/// As [`super::process`].
pub fn faithful(engine: &Engine, source: &Picture, size: (usize, usize), made_by: &[&str], stop: &AtomicBool) -> Result<Faithful> {
    let factor = size.0 as f64 / source.width as f64;
    let passes = if factor > 1.0 { engine.reference_passes(factor, made_by) } else { Vec::new() };
    enlarged(engine, source, size, &passes, stop)
}

/// `source` through these networks, then resampled to the exact size where they do not reach it.
pub(super) fn enlarged(engine: &Engine, source: &Picture, size: (usize, usize), passes: &[usize], stop: &AtomicBool) -> Result<Faithful> {
    let colours = if source.is_grey() { 1 } else { 3 };
    let (mut chain, mut scale, mut ids) = (Chain::new(), 1, Vec::new());
    for &i in passes {
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
