//! `lastmile upscale`: pictures in, larger pictures out.

use std::collections::HashMap;
use std::io::Read;
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
use crate::upscale::Engine;
use crate::upscale::device::{Device, Precision};
use crate::upscale::machine;
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
    #[arg(long, value_name = "ID|FILE", default_value = DEFAULT_MODEL, help_heading = "Picture")]
    model: String,
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

/// The embedded model's id.
pub const DEFAULT_MODEL: &str = "lastmile-start-x4";

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

/// The networks of a run, chosen but not loaded: sessions open on first use.
struct Opened {
    engine: Engine,
    /// For people.
    name: String,
    /// Everything about the networks that decides pixels; part of every file's key.
    identity: String,
    /// The model's own factor.
    scale: f64,
    device: String,
    /// Megapixels of source per second, if it can be told.
    rate: Option<f64>,
}

/// Finds the model and picks the device.
fn open(args: &Args, _globals: &Globals) -> crate::Result<Opened> {
    let identity = format!("{} {:?} {:?} {}", args.model, args.tile, args.tile_mode, args.precision);
    let device = if args.device == Device::Auto { "cpu".into() } else { args.device.to_string() };
    Ok(Opened { engine: Engine {}, name: args.model.clone(), identity, scale: 4.0, device, rate: None })
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let settings = args.settings()?;
    let limits = Limits { max_pixels: args.max_pixels };
    let opened = open(&args, globals)?;
    let target = |h: &Header| {
        let (w, h) = upright(h);
        settings.size.target(w, h, settings.fit, opened.scale)
    };
    let size = |source: &Path| {
        let t = target(&header(source, &limits)?)?;
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
    let memory = args.memory.unwrap_or_else(|| machine::memory().map_or(2 << 30, |m| m.available / 2));
    let options = Options {
        settings: settings.clone(),
        limits,
        model: opened.identity.clone(),
        jobs: args.jobs.map_or(cores.clamp(2, 16), usize::from),
        memory,
        overwrite: args.overwrite,
        retry_failed: args.retry_failed,
    };
    let jobs = options.jobs;
    let batch = if args.dry_run { Batch::preview(planned, options)? } else { Batch::open(planned, options)? };
    let weights = megapixels(batch.todo(), &limits);
    let megapixels = (batch.todo().len() > 0).then(|| weights.values().sum::<f64>());
    let start = Start {
        files: batch.todo().len() + batch.skipped(),
        skipped: batch.skipped(),
        megapixels,
        model: opened.name.clone(),
        device: opened.device.clone(),
        jobs,
        seconds: opened.rate.zip(megapixels).map(|(rate, mp)| mp / rate),
        output: batch.root().display().to_string(),
    };
    let opening = progress::opening(&start, cores);
    if args.dry_run {
        return preview(&batch, &start, &opening, weights, globals);
    }
    if globals.verbosity >= 0 {
        say(&opening);
    }
    let listener = Progress::new(globals, weights)?;
    let stop = stop_on_signals()?;
    let process = |job: Job<'_>, hooks: Hooks<'_>| pipeline::process(job, &opened.engine, hooks);
    let estimate = |_: &Item, bytes: &[u8]| memory_of(bytes, &limits, &target);
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

/// Width and height after the EXIF orientation is applied.
fn upright(h: &Header) -> (usize, usize) {
    if h.orientation >= 5 { (h.height, h.width) } else { (h.width, h.height) }
}

/// A file's header, from its first part where that is enough.
fn header(source: &Path, limits: &Limits) -> crate::Result<Header> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(source).map_err(|e| Error::io(source, e))?;
    file.take(1 << 16).read_to_end(&mut bytes).map_err(|e| Error::io(source, e))?;
    if let Ok(h) = codec::header(source, &bytes, limits) {
        return Ok(h);
    }
    codec::header(source, &std::fs::read(source).map_err(|e| Error::io(source, e))?, limits)
}

/// Megapixels of the sources, by job. Those not looked at within a second count as the average of the others; those that cannot
/// be read take no time.
fn megapixels<'a>(items: impl Iterator<Item = &'a Item>, limits: &Limits) -> HashMap<usize, f64> {
    let clock = Instant::now();
    let mut known = HashMap::new();
    let mut sum = 0.0;
    for item in items {
        let mp = if clock.elapsed() < Duration::from_secs(1) {
            header(&item.source, limits).map_or(0.0, |h| h.width as f64 * h.height as f64 / 1e6)
        } else {
            sum / known.len().max(1) as f64
        };
        sum += mp;
        known.insert(item.job, mp);
    }
    known
}

/// What a job takes beside the networks: the decoded source, working rows, and whole-image encoders.
fn memory_of(bytes: &[u8], limits: &Limits, target: &dyn Fn(&Header) -> crate::Result<crate::upscale::size::Target>) -> u64 {
    /// Rows in flight.
    const BANDS: u64 = 48;
    let Ok(h) = codec::header(Path::new(""), bytes, limits) else { return 0 };
    let Ok(t) = target(&h) else { return 0 };
    let source = (h.width * h.height * h.channels.count()) as u64 * u64::from(h.bits / 8).max(1);
    let rows = t.width as u64 * BANDS * 4 * h.channels.count() as u64;
    let whole = if h.format == Format::WebP { t.width as u64 * t.height as u64 * 8 } else { 0 };
    bytes.len() as u64 + source + rows + whole
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
