//! The life of one image: decode, upscale, lock colours, reduce, encode. Reads top to bottom.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::band::Band;
use crate::codec::{Encoding, Limits};
use crate::error::Result;
use crate::image::Image;
use crate::upscale::Engine;
use crate::upscale::size::{Fit, Size};

/// Everything that decides the pixels of an output, except the source and the model's weights.
///
/// Its canonical JSON is hashed into the journal's key: two jobs with equal source, settings and model give equal files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub size: Size,
    pub fit: Fit,
    /// 0 = the chosen model alone, 1 = the faithful default alone.
    pub faithful: f32,
    pub colour_lock: bool,
    pub dither: bool,
    /// The output file; `bits` 0 keeps the source's depth where the container can.
    pub encoding: Encoding,
}

/// One picture to make.
#[derive(Debug)]
pub struct Job<'a> {
    /// Where the bytes come from (for messages only).
    pub source: &'a Path,
    /// The source file; dropped as soon as it is decoded.
    pub bytes: Vec<u8>,
    /// The file to create; the caller renames it afterwards.
    pub output: &'a Path,
    pub settings: &'a Settings,
    pub limits: Limits,
}

/// Hooks into a running job.
pub struct Hooks<'a> {
    /// Set to stop: the job ends with [`crate::Error::Interrupted`] and leaves its partial file to the caller.
    pub stop: &'a AtomicBool,
    /// Called with the share done, 0..1, never backwards.
    pub progress: &'a (dyn Fn(f64) + Sync),
    /// Sees the plan once, then every band of the result before encoding.
    pub observer: Option<&'a mut dyn Observer>,
}

/// Watches source and result go by (inspection hangs in here).
pub trait Observer: Send {
    /// The decoded source and how it will be enlarged.
    fn begin(&mut self, source: &Image, plan: &Plan) -> Result<()>;
    /// The next rows of the result, before dither and encoding.
    fn band(&mut self, band: &Band) -> Result<()>;
}

/// How a picture was made; goes into the journal and the `file` event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Networks in order; empty when none ran.
    pub passes: Vec<Pass>,
    /// Result size over the size after the last pass, 1 if equal.
    pub reduction: f64,
    pub colour_lock: bool,
    pub faithful: f32,
}

/// One run of one network over the picture.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pass {
    pub model: String,
    pub sha256: String,
    pub scale: u32,
    /// `exact`, `measured` or `blend`.
    pub mode: String,
    pub halo: u32,
    /// Tiles across and down.
    pub grid: [u32; 2],
    /// Core size of the largest tile, input pixels.
    pub tile: [u32; 2],
    /// Core pixels over computed pixels.
    pub core_share: f64,
    /// What ran it, e.g. `cpu`, `cuda:0`.
    pub device: String,
    pub precision: String,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Done {
    pub width: usize,
    pub height: usize,
    pub bytes: u64,
    pub plan: Plan,
    /// Plain sentences for the user: what was converted, copied or could not be kept.
    pub notes: Vec<String>,
}

/// Makes one picture.
pub fn process(job: Job<'_>, engine: &Engine, hooks: Hooks<'_>) -> Result<Done> {
    let _ = (job, engine, hooks);
    Err(crate::Error::Internal("not landed".into()))
}
