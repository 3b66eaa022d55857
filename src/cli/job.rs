//! A job as every verb runs it: recipe and paths in, files and a summary out.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::estimate::Effort;
use super::flags::{Paths, Work};
use super::progress::{self, Progress};
use super::{Globals, out, say};
use crate::batch::events::{Event, Listener, Start};
use crate::batch::plan::{Item, Planned, Request, plan};
use crate::batch::{Batch, Options};
use crate::codec::{self, Encoding, Format, Header, Limits};
use crate::error::{Error, Exit};
use crate::pipeline::{self, Hooks, Job, Settings};
use crate::recipe::{Recipe, keys};
use crate::upscale::catalogue;
use crate::upscale::device::Device;
use crate::upscale::engine::{self, Backend, Engine, Networks};
use crate::upscale::home::Home;
use crate::upscale::machine;
use crate::upscale::model::Model;

/// The settings that a recipe comes to.
pub fn settings(recipe: &Recipe) -> Settings {
    let encoding = Encoding {
        format: recipe.output.format.unwrap_or(Format::Png),
        quality: recipe.output.quality.unwrap_or(0),
        lossless: recipe.output.lossless,
        bits: recipe.output.bits,
    };
    let crate::recipe::Upscale { size, fit, faithful, colour_lock, .. } = recipe.upscale;
    Settings { size, fit, faithful, colour_lock, dither: recipe.output.dither, encoding }
}

/// The networks of a run, chosen but not loaded: sessions open on first use.
fn open(recipe: &Recipe, work: &Work, globals: &Globals, memory: u64) -> crate::Result<Engine> {
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
    Engine::new(backend(recipe, work, globals), networks, options)
}

#[cfg(feature = "onnx")]
fn backend(recipe: &Recipe, work: &Work, globals: &Globals) -> Box<dyn Backend> {
    use crate::upscale::runtime::Install;
    let mut runtime = super::runtime::options(globals);
    // Saying what would be done must not download anything.
    if work.dry_run && runtime.install == Install::Allowed {
        runtime.install = Install::Forbidden;
    }
    let say = Box::new(|line: &str| say(line));
    Box::new(crate::upscale::backend::OnnxRuntime { runtime, device: recipe.run.device, precision: recipe.run.precision, say })
}

#[cfg(not(feature = "onnx"))]
fn backend(_: &Recipe, _: &Work, _: &Globals) -> Box<dyn Backend> {
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

/// Runs a job, or says what it would do.
///
/// # Errors
/// What concerns the run as a whole before work.
pub fn run(recipe: &Recipe, paths: &Paths, work: &Work, globals: &Globals) -> anyhow::Result<Exit> {
    let settings = settings(recipe);
    let limits = Limits { max_pixels: recipe.run.max_pixels };
    let memory = work.memory.unwrap_or_else(|| machine::memory().map_or(2 << 30, |m| m.available / 2));
    let engine = open(recipe, work, globals, memory)?;
    let target = |h: &Header| pipeline::target(h, &settings, &engine);
    let size = |source: &Path| {
        let t = target(&codec::probe(source, &limits)?)?;
        Ok((t.width, t.height))
    };
    let planned = plan(&request(recipe, paths, work), &size)?;
    check(recipe, &planned)?;
    for note in &planned.notes {
        say(format_args!("note: {note}"));
    }
    if planned.others > 0 && globals.verbosity >= 0 {
        say(format_args!("note: {} left out: no picture by its name", progress::files(planned.others)));
    }
    if planned.items.is_empty() {
        let what = if work.include.is_empty() && work.exclude.is_empty() {
            "no pictures in there"
        } else {
            "--include and --exclude leave no picture"
        };
        return Err(Error::usage(paths.inputs[0].display(), what, "a folder with PNG, JPEG, WebP or TIFF files").into());
    }

    let cores = machine::cores();
    let jobs = work.jobs.map_or((cores + 1).clamp(2, 16), usize::from);
    let options = Options {
        settings: settings.clone(),
        limits,
        model: engine.identity(),
        jobs,
        memory: memory - engine.tiles_bytes().min(memory / 2),
        overwrite: work.overwrite,
        retry_failed: work.retry_failed,
    };
    let batch = if work.dry_run { Batch::preview(planned, options)? } else { Batch::open(planned, options)? };
    let effort = Effort::of(batch.todo(), &limits, &engine, &target);
    let mut start = Start {
        files: batch.todo().len() + batch.skipped(),
        skipped: batch.skipped(),
        megapixels: (batch.todo().len() > 0).then_some(effort.megapixels),
        model: engine.main().map_or("none", |m| &m.manifest.id).to_owned(),
        device: if recipe.run.device == Device::Auto || engine.main().is_none() { "cpu".into() } else { recipe.run.device.to_string() },
        jobs,
        seconds: None,
        output: batch.root().display().to_string(),
    };
    if effort.work > 0.0 {
        match engine.start() {
            Ok(choice) => {
                start.device = choice.device.to_string();
                start.seconds = Some(effort.seconds(engine.rate()?, cores));
                if globals.verbosity > 0 {
                    say(format_args!("device: {}", choice.reason));
                }
            }
            // A preview installs nothing; what is missing then is told by the run.
            Err(Error::Runtime { .. }) if work.dry_run => {
                start.device = recipe.run.device.to_string();
                say("note: ONNX Runtime is not there yet: no time is predicted; the run would install it");
            }
            Err(e) => return Err(e.into()),
        }
    }
    let opening = progress::opening(&start, cores);
    if work.dry_run {
        return preview(&batch, &start, &opening, effort.weights, globals);
    }
    if globals.verbosity >= 0 {
        say(&opening);
    }
    let listener = Progress::new(globals, effort.weights)?;
    let stop = stop_on_signals()?;
    let process = |job: Job<'_>, hooks: Hooks<'_>| pipeline::process(job, &engine, hooks);
    let estimate = |item: &Item, bytes: &[u8]| {
        let known = codec::header(&item.source, bytes, &limits).and_then(|h| Ok((target(&h)?, h)));
        known.map_or(0, |(t, h)| pipeline::memory(&h, &t, item.format, bytes.len() as u64))
    };
    let root = batch.root().to_path_buf();
    let summary = batch.run(start, &process, &estimate, &listener, &stop)?;
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

/// What is to be found and named.
fn request(recipe: &Recipe, paths: &Paths, work: &Work) -> Request {
    Request {
        inputs: paths.inputs.clone(),
        output: paths.output.clone(),
        format: recipe.output.format,
        name: recipe.output.name.clone(),
        include: work.include.clone(),
        exclude: work.exclude.clone(),
    }
}

/// What only the list of files shows.
fn check(recipe: &Recipe, planned: &Planned) -> crate::Result<()> {
    let eight = |i: &&Item| matches!(i.format, Format::Jpeg | Format::WebP);
    match planned.items.iter().find(eight) {
        Some(first) if recipe.output.bits == 16 => {
            let (n, all) = (planned.items.iter().filter(eight).count(), planned.items.len());
            let what = format!("{n} of {all} results would be JPEG or WebP, which hold 8 bits, first {}", first.output.display());
            Err(Error::usage(recipe.subject("output.depth"), what, "--format png or --format tiff"))
        }
        _ => Ok(()),
    }
}

/// Ctrl-C: the first stops the run, the second ends the program at once.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
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
