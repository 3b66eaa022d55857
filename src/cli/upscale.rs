//! `lastmile upscale`: pictures in, larger pictures out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::progress::{self, Progress};
use super::values::{self, Tile};
use super::{Globals, out, say};
use crate::batch::events::{Event, Listener, Start};
use crate::batch::names::Template;
use crate::batch::plan::{Item, Planned, Request, plan};
use crate::batch::{Batch, Options};
use crate::codec::{self, Encoding, Format, Header, Limits};
use crate::error::{Error, Exit};
use crate::pipeline::{self, Hooks, Job, Settings};
use crate::upscale::catalogue;
use crate::upscale::device::{Device, Precision};
use crate::upscale::engine::{self, Backend, Engine, Networks};
use crate::upscale::home::Home;
use crate::upscale::machine;
use crate::upscale::model::Model;
use crate::upscale::size::{Fit, Size};

/// Make pictures larger; folders are mirrored, metadata comes along
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile upscale renders/ -o final/
  lastmile upscale renders/ -o final/ --long-edge 3840 --format jpeg --quality 92
  lastmile upscale hero.png -o hero.tiff --print 24x36in@300 --depth 16")]
pub struct Args {
    /// Pictures and folders of pictures (PNG, JPEG, WebP, TIFF, GIF, BMP, PNM, QOI)
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Folder for the results; or a file name, if there is one input
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Network: an id from `lastmile models list`, an ONNX file, or `none` to resample without one
    /// [default: the built-in faithful ones]
    #[arg(long, value_name = "ID|FILE", help_heading = "Picture")]
    model: Option<String>,
    /// A factor, decimals allowed [default: the model's own]
    #[arg(long, value_name = "N", value_parser = values::scale, group = "goal", help_heading = "Picture")]
    scale: Option<Size>,
    /// Pixels of the longer side
    #[arg(long, value_name = "PX", value_parser = values::long_edge, group = "goal", help_heading = "Picture")]
    long_edge: Option<Size>,
    /// A box in pixels; --fit says how to fill it
    #[arg(long, value_name = "WxH", value_parser = values::size, group = "goal", help_heading = "Picture")]
    size: Option<Size>,
    /// Megapixels
    #[arg(long, value_name = "N", value_parser = values::megapixels, group = "goal", help_heading = "Picture")]
    mp: Option<Size>,
    /// Paper and resolution, for example 24x36in@300; the resolution is set in the file
    #[arg(long, value_name = "WxHin@DPI", value_parser = values::print, group = "goal", help_heading = "Picture")]
    print: Option<Size>,
    /// How a picture fills --size or --print: whole inside, cut to cover, or stretched to exactly that
    #[arg(long, value_name = "HOW", default_value = "inside", help_heading = "Picture")]
    fit: FitName,
    /// Blend with the faithful default network: 0 the chosen one alone, 1 the faithful one alone
    #[arg(long, value_name = "0..1", value_parser = values::share, default_value = "0", help_heading = "Picture")]
    faithful: f32,
    /// Keep the source's colours and soft shading
    #[arg(long, value_name = "on|off", default_value = "on", help_heading = "Picture")]
    colour_lock: Switch,

    /// Container [default: keep; GIF, BMP, PNM and QOI become PNG]
    #[arg(long, value_name = "FORMAT", default_value = "keep", hide_default_value = true, help_heading = "File")]
    format: FormatName,
    /// JPEG and WebP quality, 1 to 100 [default: 95 for JPEG, 92 for WebP]
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(1..=100), help_heading = "File")]
    quality: Option<u8>,
    /// Lossless WebP
    #[arg(long, conflicts_with = "quality", help_heading = "File")]
    lossless: bool,
    /// Bits per sample
    #[arg(long, value_name = "8|16|keep", default_value = "keep", help_heading = "File")]
    depth: Depth,
    /// Dither where 16 bits become 8 in a lossless file
    #[arg(long, value_name = "on|off", default_value = "on", help_heading = "File")]
    dither: Switch,
    /// File name without extension; {stem}, {ext}, {w} and {h} are filled in
    #[arg(long, value_name = "PATTERN", value_parser = values::name, help_heading = "File")]
    name: Option<Template>,

    /// Only paths that match, for example '*.png'; may be given several times
    #[arg(long, value_name = "GLOB", help_heading = "Run")]
    include: Vec<String>,
    /// Not paths that match, for example 'drafts/**'; may be given several times
    #[arg(long, value_name = "GLOB", help_heading = "Run")]
    exclude: Vec<String>,
    /// Processor or graphics card: auto, cpu, cuda, tensorrt, directml, coreml, openvino or webgpu, with :N for the Nth
    #[arg(long, value_name = "DEVICE[:N]", default_value = "auto", help_heading = "Run")]
    device: Device,
    /// Tile without its border, in input pixels
    #[arg(long, value_name = "auto|PX", value_parser = values::tile, default_value = "auto", help_heading = "Run")]
    tile: Tile,
    /// Join tiles exactly, or blend their overlaps
    #[arg(long, value_name = "MODE", default_value = "auto", help_heading = "Run")]
    tile_mode: TileMode,
    /// Number format of the network: auto, fp32 or fp16
    #[arg(long, value_name = "FORMAT", default_value = "auto", help_heading = "Run")]
    precision: Precision,
    /// Refuse larger sources, in pixels
    #[arg(long, value_name = "N", value_parser = values::max_pixels, default_value = "1G", help_heading = "Run")]
    max_pixels: u64,
    /// Files in flight [default: by cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Run")]
    jobs: Option<u16>,
    /// Memory to stay within [default: half of what is free]
    #[arg(long, value_name = "SIZE", value_parser = values::bytes, help_heading = "Run")]
    memory: Option<u64>,
    /// Replace files that lastmile did not make
    #[arg(long, help_heading = "Run")]
    overwrite: bool,
    /// Only what failed last time
    #[arg(long, help_heading = "Run")]
    retry_failed: bool,
    /// Say what would be done, write nothing
    #[arg(long, help_heading = "Run")]
    pub(super) dry_run: bool,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum FitName {
    Inside,
    Cover,
    Exact,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum FormatName {
    Keep,
    Png,
    Jpeg,
    #[value(name = "webp")]
    WebP,
    Tiff,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    #[value(name = "8")]
    Eight,
    #[value(name = "16")]
    Sixteen,
    Keep,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileMode {
    Auto,
    Exact,
    Blend,
}

impl From<TileMode> for engine::TileMode {
    fn from(mode: TileMode) -> Self {
        match mode {
            TileMode::Auto => Self::Auto,
            TileMode::Exact => Self::Exact,
            TileMode::Blend => Self::Blend,
        }
    }
}

/// The networks of a run, chosen but not loaded: sessions open on first use.
fn open(args: &Args, globals: &Globals, memory: u64) -> crate::Result<Engine> {
    let home = Home::new(&globals.home);
    let main = match args.model.as_deref() {
        Some("none") => return Ok(Engine::resample_only()),
        Some(spec) => catalogue::resolve(spec, &home, &mut |manifest, bytes| super::models::open(globals, manifest, bytes))?,
        None => Model::embedded_default()?,
    };
    let networks = Networks { main: Some(main), named: args.model.is_some(), faithful: Model::faithful_family()? };
    let options = engine::Options {
        tile: match args.tile {
            Tile::Auto => None,
            Tile::Px(px) => Some(px as usize),
        },
        tile_mode: args.tile_mode.into(),
        precision: args.precision,
        memory,
        cores: machine::cores(),
    };
    Engine::new(backend(args.device, args.precision, args.dry_run, globals), networks, options)
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

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let settings = args.settings()?;
    let limits = Limits { max_pixels: args.max_pixels };
    let memory = args.memory.unwrap_or_else(|| machine::memory().map_or(2 << 30, |m| m.available / 2));
    let engine = open(&args, globals, memory)?;
    if engine.main().is_none() && settings.size == Size::Model {
        return Err(Error::usage("--model none", "has no factor of its own", "--scale 2 or --long-edge 3840 beside it").into());
    }
    let target = |h: &Header| pipeline::target(h, &settings, &engine);
    let size = |source: &Path| {
        let t = target(&codec::probe(source, &limits)?)?;
        Ok((t.width, t.height))
    };
    let planned = plan(&args.request(), &size)?;
    args.check(&planned)?;
    for note in &planned.notes {
        say(format_args!("note: {note}"));
    }
    if planned.others > 0 && globals.verbosity >= 0 {
        say(format_args!("note: {} left out: no picture by its name", progress::files(planned.others)));
    }
    if planned.items.is_empty() {
        let what = if args.include.is_empty() && args.exclude.is_empty() {
            "no pictures in there"
        } else {
            "--include and --exclude leave no picture"
        };
        return Err(Error::usage(args.inputs[0].display(), what, "a folder with PNG, JPEG, WebP or TIFF files").into());
    }

    let cores = machine::cores();
    let jobs = args.jobs.map_or((cores + 1).clamp(2, 16), usize::from);
    let options = Options {
        settings: settings.clone(),
        limits,
        model: engine.identity(),
        jobs,
        memory: memory - engine.tiles_bytes().min(memory / 2),
        overwrite: args.overwrite,
        retry_failed: args.retry_failed,
    };
    let batch = if args.dry_run { Batch::preview(planned, options)? } else { Batch::open(planned, options)? };
    let effort = Effort::of(batch.todo(), &limits, &engine, &target);
    let mut start = Start {
        files: batch.todo().len() + batch.skipped(),
        skipped: batch.skipped(),
        megapixels: (batch.todo().len() > 0).then_some(effort.megapixels),
        model: engine.main().map_or("none", |m| &m.manifest.id).to_owned(),
        device: if args.device == Device::Auto || engine.main().is_none() { "cpu".into() } else { args.device.to_string() },
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
            Err(Error::Runtime { .. }) if args.dry_run => {
                start.device = args.device.to_string();
                say("note: ONNX Runtime is not there yet: no time is predicted; the run would install it");
            }
            Err(e) => return Err(e.into()),
        }
    }
    let opening = progress::opening(&start, cores);
    if args.dry_run {
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

impl Args {
    fn settings(&self) -> crate::Result<Settings> {
        let size = [self.scale, self.long_edge, self.size, self.mp, self.print].into_iter().flatten().next().unwrap_or_default();
        let fit = match self.fit {
            FitName::Inside => Fit::Inside,
            FitName::Cover => Fit::Cover,
            FitName::Exact => Fit::Exact,
        };
        if fit != Fit::Inside && !matches!(size, Size::Box { .. } | Size::Print { .. }) {
            return Err(Error::usage("--fit", "there is no box to fill", "--size 3840x2160 or --print 24x36in@300 beside it"));
        }
        let lossy = matches!(self.format, FormatName::Keep | FormatName::Jpeg | FormatName::WebP);
        if let (Some(q), false) = (self.quality, lossy) {
            return Err(Error::usage(
                "--quality",
                format!("{q} means nothing for this format, which loses nothing"),
                "--format jpeg or --format webp",
            ));
        }
        if self.lossless && !matches!(self.format, FormatName::Keep | FormatName::WebP) {
            return Err(Error::usage(
                "--lossless",
                "it chooses between two kinds of WebP",
                "--format webp; PNG and TIFF are lossless anyway",
            ));
        }
        if self.depth == Depth::Sixteen && matches!(self.format, FormatName::Jpeg | FormatName::WebP) {
            return Err(Error::usage("--depth", "this format holds 8 bits per sample", "--format png or --format tiff"));
        }
        let encoding = Encoding {
            format: self.format().unwrap_or(Format::Png),
            quality: self.quality.unwrap_or(0),
            lossless: self.lossless,
            bits: match self.depth {
                Depth::Eight => 8,
                Depth::Sixteen => 16,
                Depth::Keep => 0,
            },
        };
        let on = |s: Switch| s == Switch::On;
        Ok(Settings { size, fit, faithful: self.faithful, colour_lock: on(self.colour_lock), dither: on(self.dither), encoding })
    }

    fn format(&self) -> Option<Format> {
        Some(match self.format {
            FormatName::Keep => return None,
            FormatName::Png => Format::Png,
            FormatName::Jpeg => Format::Jpeg,
            FormatName::WebP => Format::WebP,
            FormatName::Tiff => Format::Tiff,
        })
    }

    fn request(&self) -> Request {
        Request {
            inputs: self.inputs.clone(),
            output: self.output.clone(),
            format: self.format(),
            name: self.name.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        }
    }

    /// What only the list of files shows.
    fn check(&self, planned: &Planned) -> crate::Result<()> {
        let eight = |i: &&Item| matches!(i.format, Format::Jpeg | Format::WebP);
        match planned.items.iter().find(eight) {
            Some(first) if self.depth == Depth::Sixteen => {
                let n = planned.items.iter().filter(eight).count();
                let what = format!(
                    "{n} of {} results would be JPEG or WebP, which hold 8 bits, first {}",
                    planned.items.len(),
                    first.output.display()
                );
                Err(Error::usage("--depth 16", what, "--format png or --format tiff"))
            }
            _ => Ok(()),
        }
    }
}

/// How much there is to do.
struct Effort {
    /// Of the sources.
    megapixels: f64,
    /// Pixels through the main network.
    work: f64,
    /// Pixels of the results.
    output: f64,
    /// By job, for progress.
    weights: HashMap<usize, f64>,
}

impl Effort {
    /// Looks at the headers. Files not looked at within a second count as the average of the others; those that cannot be
    /// read take no time.
    fn of<'a>(
        items: impl Iterator<Item = &'a Item>,
        limits: &Limits,
        engine: &Engine,
        target: &dyn Fn(&Header) -> crate::Result<crate::upscale::size::Target>,
    ) -> Self {
        /// What the pixels of a result cost beside the network, in pixels of work.
        const WRITING: f64 = 0.005;
        let clock = Instant::now();
        let mut sum = Self { megapixels: 0.0, work: 0.0, output: 0.0, weights: HashMap::new() };
        let mut seen = 0.0;
        for item in items {
            let (mp, work, output) = if clock.elapsed() < Duration::from_secs(1) {
                seen += 1.0;
                let known = codec::probe(&item.source, limits).and_then(|h| Ok((target(&h)?, h)));
                known.map_or((0.0, 0.0, 0.0), |(t, h)| {
                    let pixels = h.width as f64 * h.height as f64;
                    (pixels / 1e6, engine.work(pixels, t.factor()), (t.width * t.height) as f64)
                })
            } else {
                let n = f64::max(seen, 1.0);
                seen += 1.0;
                (sum.megapixels / n, sum.work / n, sum.output / n)
            };
            sum.megapixels += mp;
            sum.work += work;
            sum.output += output;
            sum.weights.insert(item.job, work + WRITING * output);
        }
        sum
    }

    /// How long it will take at `rate` pixels of work per second.
    fn seconds(&self, rate: f64, cores: usize) -> f64 {
        /// Share of the bare speed that whole jobs reach, and result pixels that a core writes per second.
        const EFFICIENCY: f64 = 0.92;
        const WRITTEN: f64 = 60e6;
        self.work / (rate * EFFICIENCY) + self.output / (WRITTEN * cores as f64)
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
