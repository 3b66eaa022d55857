//! A job as every verb runs it: recipe and paths in, files and a summary out.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::estimate::Effort;
use super::flags::{Once, Paths, Work};
use super::inspecting::Inspecting;
use super::progress::{self, Progress};
use super::{Globals, out, say};
use crate::batch::events::{Event, Listener, Start};
use crate::batch::plan::{Item, Planned, Request, plan};
use crate::batch::shard::Shard;
use crate::batch::{Batch, Options, Summary};
use crate::codec::{self, Encoding, Format, Header, Limits};
use crate::color::ColourSpace;
use crate::error::{Error, Exit};
use crate::pipeline::{self, Hooks, Job, Settings};
use crate::recipe::{Recipe, keys};
use crate::upscale::catalogue;
use crate::upscale::device::{Device, Precision};
use crate::upscale::engine::{self, Backend, Engine, Networks};
use crate::upscale::home::Home;
use crate::upscale::machine;
use crate::upscale::model::{Kind, Model};
use crate::upscale::size::Target;

/// The settings that a recipe comes to.
///
/// # Errors
/// A colour profile that cannot be used.
pub fn settings(recipe: &Recipe, globals: &Globals) -> crate::Result<Settings> {
    let o = &recipe.output;
    let encoding = Encoding {
        format: o.format.unwrap_or(Format::Png),
        quality: o.quality.unwrap_or(0),
        lossless: o.lossless,
        bits: o.bits,
        small: o.small,
        progressive: o.progressive,
        chroma_420: o.chroma_420,
    };
    let crate::recipe::Upscale { size, fit, faithful, colour_lock, .. } = recipe.upscale;
    Ok(Settings {
        size,
        fit,
        faithful,
        colour_lock,
        dither: o.dither,
        encoding,
        max_kb: o.max_kb,
        convert_to: o.convert_to.as_deref().map(|to| space(recipe, to)).transpose()?,
        metadata: o.policy(),
        epoch: globals.epoch,
    })
}

fn space(recipe: &Recipe, wanted: &str) -> crate::Result<ColourSpace> {
    let space = match wanted.to_ascii_lowercase().as_str() {
        "srgb" => ColourSpace::Srgb,
        "p3" => ColourSpace::DisplayP3,
        _ => ColourSpace::Icc(std::fs::read(wanted).map_err(|e| {
            let what = format!("{wanted} cannot be read: {e}");
            Error::usage(recipe.subject("output.convert_to"), what, "srgb, p3 or the path of an ICC profile")
        })?),
    };
    space.icc()?;
    Ok(space)
}

/// The networks of a run, chosen but not loaded: sessions open on first use.
fn open(recipe: &Recipe, dry_run: bool, globals: &Globals, memory: u64) -> crate::Result<Engine> {
    let home = Home::new(&globals.home);
    let model = recipe.upscale.model.as_deref();
    let main = match model {
        Some("none") => return Ok(Engine::resample_only()),
        Some(spec) => catalogue::resolve(spec, &home, &mut |manifest, bytes| super::models::open(globals, manifest, bytes))?,
        None => Model::embedded_default()?,
    };
    let networks = Networks { main: Some(main), named: model.is_some(), faithful: Model::faithful_family()? };
    let options = engine::Options {
        tile: keys::tile_px(recipe.run.tile),
        tile_mode: recipe.run.tile_mode,
        precision: recipe.run.precision,
        memory,
        cores: machine::cores(),
    };
    Engine::new(backend(recipe.run.device, recipe.run.precision, dry_run, globals), networks, options)
}

/// The embedded faithful networks on the processor, for comparing.
pub(super) fn faithful_engine(globals: &Globals, memory: u64) -> crate::Result<Engine> {
    let networks = Networks { main: Some(Model::embedded_default()?), named: false, faithful: Model::faithful_family()? };
    let options =
        engine::Options { tile: None, tile_mode: engine::TileMode::Auto, precision: Precision::Auto, memory, cores: machine::cores() };
    Engine::new(backend(Device::Cpu, Precision::Auto, false, globals), networks, options)
}

#[cfg(feature = "onnx")]
fn backend(device: Device, precision: Precision, dry_run: bool, globals: &Globals) -> Box<dyn Backend> {
    use crate::upscale::runtime::Install;
    let mut runtime = super::runtime::options(globals);
    // Saying what would be done must not download anything.
    if dry_run && runtime.install == Install::Allowed {
        runtime.install = Install::Forbidden;
    }
    let say = Box::new(|line: &str| say(line));
    Box::new(crate::upscale::backend::OnnxRuntime { runtime, device, precision, say })
}

#[cfg(not(feature = "onnx"))]
fn backend(_: Device, _: Precision, _: bool, _: &Globals) -> Box<dyn Backend> {
    struct Without;
    impl Backend for Without {
        fn start(&self) -> crate::Result<crate::upscale::device::Choice> {
            Err(Error::runtime("this program was built without it", "--model none, or cargo build --features onnx"))
        }
        fn opener(&self, _: Arc<Model>, _: Device) -> Box<dyn crate::upscale::network::Open> {
            unreachable!("start never succeeds")
        }
    }
    Box::new(Without)
}

/// A recipe ready to be applied: settings, limits and networks. Nothing is loaded before the first tile.
pub struct Maker<'a> {
    recipe: &'a Recipe,
    work: &'a Work,
    settings: Settings,
    limits: Limits,
    engine: Engine,
    /// Bytes for everything.
    memory: u64,
    pub cores: usize,
    jobs: usize,
}

impl<'a> Maker<'a> {
    /// Chooses the networks.
    ///
    /// # Errors
    /// A model that is not there or cannot be used.
    pub fn new(recipe: &'a Recipe, work: &'a Work, dry_run: bool, globals: &Globals) -> crate::Result<Self> {
        let memory = work.memory.unwrap_or_else(|| machine::memory().map_or(2 << 30, |m| m.available / 2));
        let cores = machine::cores();
        Ok(Self {
            recipe,
            work,
            settings: settings(recipe, globals)?,
            limits: Limits { max_pixels: recipe.run.max_pixels, first_frame: recipe.output.first_frame },
            engine: open(recipe, dry_run, globals, memory)?,
            memory,
            cores,
            jobs: work.jobs.map_or((cores + 1).clamp(2, 16), usize::from),
        })
    }

    fn target(&self, header: &Header) -> crate::Result<Target> {
        pipeline::target(header, &self.settings, &self.engine)
    }

    /// Finds the sources and names their outputs.
    ///
    /// # Errors
    /// Usage errors that concern the whole job.
    pub fn plan(&self, paths: &Paths, exclude: &[&str], shard: Option<Shard>) -> crate::Result<Planned> {
        let size = |source: &Path| {
            let t = self.target(&codec::probe(source, &self.limits)?)?;
            Ok((t.width, t.height))
        };
        let exclude = exclude.iter().map(|e| (*e).to_owned());
        let request = Request {
            inputs: paths.inputs.clone(),
            output: paths.output.clone(),
            format: self.recipe.output.format,
            name: self.recipe.output.name.clone(),
            include: self.work.include.clone(),
            exclude: self.work.exclude.iter().cloned().chain(exclude).collect(),
            shard,
        };
        let planned = plan(&request, &size)?;
        self.check(&planned)?;
        Ok(planned)
    }

    /// What only the list of files shows.
    fn check(&self, planned: &Planned) -> crate::Result<()> {
        let eight = |i: &&Item| matches!(i.format, Format::Jpeg | Format::WebP);
        match planned.items.iter().find(eight) {
            Some(first) if self.settings.encoding.bits == 16 => {
                let (n, all) = (planned.items.iter().filter(eight).count(), planned.items.len());
                let what = format!("{n} of {all} results would be JPEG or WebP, which hold 8 bits, first {}", first.output.display());
                Err(Error::usage(self.recipe.subject("output.depth"), what, "--format png or --format tiff"))
            }
            _ => Ok(()),
        }
    }

    /// How the batch engine is to go about it.
    pub fn options(&self) -> Options {
        Options {
            settings: self.settings.clone(),
            limits: self.limits,
            model: self.engine.identity(),
            jobs: self.jobs,
            memory: self.memory - self.engine.tiles_bytes().min(self.memory / 2),
            overwrite: self.work.overwrite,
            retry_failed: false,
            hot: false,
        }
    }

    /// How much a batch has to do.
    pub fn effort(&self, batch: &Batch) -> Effort {
        Effort::of(batch.todo(), &self.limits, &self.engine, &|h: &Header| self.target(h))
    }

    /// The first event of a batch, before a device is known.
    pub fn start(&self, batch: &Batch) -> Start {
        let networks = self.engine.main().is_some();
        Start {
            files: batch.todo().len() + batch.skipped(),
            skipped: batch.skipped(),
            megapixels: None,
            model: self.engine.main().map_or("none", |m| &m.manifest.id).to_owned(),
            device: match self.recipe.run.device {
                Device::Auto => "cpu".into(),
                _ if !networks => "cpu".into(),
                asked => asked.to_string(),
            },
            jobs: self.jobs,
            seconds: None,
            output: batch.root().display().to_string(),
        }
    }

    /// Works on what is left of a batch.
    ///
    /// # Errors
    /// What concerns the run as a whole before work.
    pub fn make(&self, batch: Batch, start: Start, listener: &dyn Listener, stop: &AtomicBool) -> crate::Result<Summary> {
        let inspecting = Inspecting::new(listener, batch.root(), self.inspects());
        let process = |job: Job<'_>, hooks: Hooks<'_>| inspecting.process(job, &self.engine, hooks);
        let estimate = |item: &Item, bytes: &[u8]| {
            let known = codec::header(&item.source, bytes, &self.limits).and_then(|h| Ok((self.target(&h)?, h)));
            let encoding = Encoding { format: item.format, ..self.settings.encoding.clone() };
            known.map_or(0, |(t, h)| pipeline::memory(&h, &t, &encoding, bytes.len() as u64))
        };
        let mut summary = batch.run(start, &process, &estimate, &inspecting, stop)?;
        summary.flagged = inspecting.flagged();
        summary.inspected = inspecting.inspected();
        Ok(summary)
    }

    /// Whether results are inspected: as asked, else if the network may invent.
    fn inspects(&self) -> bool {
        let invents = self.engine.main().is_some_and(|m| m.manifest.kind == Kind::Perceptual);
        self.work.inspect || (invents && !self.work.no_inspect)
    }
}

/// Runs a job, or says what it would do.
///
/// # Errors
/// What concerns the run as a whole before work.
pub fn run(recipe: &Recipe, paths: &Paths, work: &Work, once: &Once, globals: &Globals) -> anyhow::Result<Exit> {
    let maker = Maker::new(recipe, work, once.dry_run, globals)?;
    let planned = maker.plan(paths, &[], once.shard)?;
    for note in &planned.notes {
        say(format_args!("note: {note}"));
    }
    if planned.others > 0 && globals.verbosity >= 0 {
        say(format_args!("note: {} left out: no picture by its name", progress::files(planned.others)));
    }
    // A part of a small job may well be empty.
    if planned.items.is_empty() && once.shard.is_none() {
        let what = if work.include.is_empty() && work.exclude.is_empty() {
            "no pictures in there"
        } else {
            "--include and --exclude leave no picture"
        };
        return Err(Error::usage(paths.inputs[0].display(), what, "a folder with PNG, JPEG, WebP or TIFF files").into());
    }

    let options = Options { retry_failed: once.retry_failed, ..maker.options() };
    let batch = if once.dry_run { Batch::preview(planned, options)? } else { Batch::open(planned, options)? };
    let effort = maker.effort(&batch);
    let mut start = maker.start(&batch);
    start.megapixels = (batch.todo().len() > 0).then_some(effort.megapixels);
    if effort.work > 0.0 {
        match maker.engine.start() {
            Ok(choice) => {
                start.device = choice.device.to_string();
                start.seconds = Some(effort.seconds(maker.engine.rate()?, maker.cores));
                if globals.verbosity > 0 {
                    say(format_args!("device: {}", choice.reason));
                }
            }
            // A preview installs nothing; what is missing then is told by the run.
            Err(Error::Runtime { .. }) if once.dry_run => {
                start.device = recipe.run.device.to_string();
                say("note: ONNX Runtime is not there yet: no time is predicted; the run would install it");
            }
            Err(e) => return Err(e.into()),
        }
    }
    let opening = progress::opening(&start, maker.cores);
    if once.dry_run {
        return preview(&batch, &start, &opening, effort.weights, globals);
    }
    if globals.verbosity >= 0 {
        say(&opening);
    }
    let listener = Progress::new(globals, effort.weights)?;
    let stop = stop_on_signals()?;
    let root = batch.root().to_path_buf();
    let summary = maker.make(batch, start, &listener, &stop)?;
    if let Some(e) = &summary.fatal {
        say(format_args!("error: {e}"));
    }
    say(progress::closing(&summary, &root, &super::command_line()));
    Ok(summary.exit())
}

/// Says what a run would do: the list on standard output, the rest on standard error.
fn preview(batch: &Batch, start: &Start, opening: &str, weights: HashMap<usize, f64>, globals: &Globals) -> anyhow::Result<Exit> {
    if globals.json.is_some() {
        Progress::new(globals, weights)?.event(&Event::Start(start.clone()));
    }
    if globals.json != Some(super::JsonTarget::Stdout) {
        for item in batch.todo() {
            out(format_args!("{} -> {}", item.source.display(), batch.root().join(&item.output).display()))?;
        }
    }
    say(opening);
    say("Nothing was written.");
    Ok(Exit::Done)
}

/// Ctrl-C: the first stops the run, the second ends the program at once.
pub fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted as i32);
        }
        flag.store(true, Ordering::Relaxed);
        say("\nStopping; whole files stay. Ctrl-C again to end at once.");
    })?;
    Ok(stop)
}
