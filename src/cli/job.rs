//! A job as every verb runs it: recipe and paths in, files and a summary out.
//!
//! Over 500 lines because what a recipe becomes, and a run from its plan to its last line, are to be read here in order.

mod kits;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::estimate::{Beside, Effort, Table, made_by};
use super::flags::{Once, Paths, Work};
use super::forecast::{self, Basis, Where};
use super::grade_device::{self, Card};
use super::inspecting::Inspecting;
use super::progress::{self, Progress};
use super::rehearsal::{self, Rehearsal};
use super::{Globals, say};
use crate::batch::events::{Event, Listener, Start};
use crate::batch::journal::STATE;
use crate::batch::plan::{Item, Planned, Request, plan};
use crate::batch::shard::Shard;
use crate::batch::{Batch, MASTERS, Options, Summary};
use crate::brand::{Brand, Finish, Kit, Reference};
use crate::codec::{self, Encoding, Format, Header, Limits};
use crate::color::ColourSpace;
use crate::error::{Error, Exit};
use crate::grade::grading::Source;
use crate::grade::{Grading, Look};
use crate::inspect::Verdict;
use crate::inspect::repair::Repair;
use crate::pipeline::inspection::{self, Care};
use crate::pipeline::{self, Hooks, Job, Matching, Settings};
use crate::recipe::{Recipe, When, keys};
use crate::upscale::bench::Rates;
use crate::upscale::catalogue;
use crate::upscale::denoise::denoised;
use crate::upscale::device::{Device, Precision};
use crate::upscale::engine::{self, Backend, Engine, Networks};
use crate::upscale::home::Home;
use crate::upscale::machine;
use crate::upscale::model::{Kind, Manifest, Model};
use crate::upscale::probe::UNLIKE;
use crate::upscale::size::Target;

/// The settings that a recipe comes to.
///
/// # Errors
/// A colour profile that cannot be used; whatever is wrong with the looks and LUTs that it names.
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
        grading: Grading::new(
            &recipe.look.sources.iter().map(|s| look(recipe, s)).collect::<crate::Result<Vec<_>>>()?,
            recipe.look.strength,
        )?,
        matching: match recipe.look.references.as_slice() {
            [] => None,
            files => Some(Matching { to: found(recipe, "look.match", Reference::open(files))?, strength: recipe.look.strength }),
        },
        finish: None,
        repair: Repair::Off,
        protect: None,
    })
}

fn look(recipe: &Recipe, source: &Source) -> crate::Result<Look> {
    let key = match source {
        Source::Look(_) => "look.look",
        Source::Lut(_) => "look.lut",
        Source::Cdl(_) => "look.cdl",
    };
    found(recipe, key, source.open())
}

/// Says where something was asked for that is not there. What is wrong inside a file is told with that file's own lines.
fn found<T>(recipe: &Recipe, key: &str, opened: crate::Result<T>) -> crate::Result<T> {
    opened.map_err(|e| match e {
        Error::Usage { subject, what, hint } if subject == "look" => Error::usage(recipe.subject(key), what, hint),
        Error::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => Error::usage(
            recipe.subject(key),
            format!("there is no file {}", path.display()),
            "the path of one; a recipe's paths count from its folder",
        ),
        e => e,
    })
}

/// Everything that is wrong with what a recipe names: looks, LUTs, references, profile, kit and network. Each is looked at on
/// its own: who mends one thing should not have to ask again to learn of the next.
pub fn check(recipe: &Recipe, globals: &Globals) -> Vec<Error> {
    let mut wrong: Vec<Error> = recipe.look.sources.iter().filter_map(|source| look(recipe, source).err()).collect();
    let reference = |file| found(recipe, "look.match", Reference::open(std::slice::from_ref(file))).err();
    wrong.extend(recipe.look.references.iter().filter_map(reference));
    wrong.extend(recipe.output.convert_to.as_deref().and_then(|to| space(recipe, to).err()));
    if let Some(file) = &recipe.kit {
        wrong.extend(found(recipe, "kit.file", Kit::read(file)).and_then(Brand::open).err());
    }
    wrong.extend(check_model(recipe, globals).err());
    if wrong.is_empty() {
        // What only shows together.
        wrong.extend(settings(recipe, globals).err());
    }
    wrong
}

fn check_model(recipe: &Recipe, globals: &Globals) -> crate::Result<()> {
    match recipe.upscale.model.as_deref() {
        // A file is only looked into when it is used: that may need a runtime.
        Some(spec) if spec != "none" && !Path::new(spec).is_file() => {
            let home = Home::new(&globals.home);
            if catalogue::list(&home).iter().any(|l| l.id == spec) {
                return Ok(());
            }
            catalogue::resolve(spec, &home, &mut |manifest, bytes| super::models::open(globals, manifest, bytes)).map(|_| ())
        }
        _ => Ok(()),
    }
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
        Some(spec) => {
            let mut open = |manifest: &Manifest, bytes: &[u8]| super::models::open(globals, manifest, bytes);
            let model = catalogue::resolve(spec, &home, &mut open)?;
            if model.manifest.note.contains(UNLIKE) {
                say(format_args!("note: model {}: {UNLIKE}; look at the results", model.manifest.id));
            }
            match recipe.upscale.denoise {
                Some(strength) => denoised(&model, strength, &home, &mut open)?,
                None => model,
            }
        }
        None => Model::embedded_default()?,
    };
    let networks =
        Networks { main: Some(main), named: model.is_some(), faithful: Model::faithful_family()?, reference: Model::reference()? };
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
    let (main, faithful) = (Some(Model::embedded_default()?), Model::faithful_family()?);
    let networks = Networks { main, named: false, faithful, reference: Model::reference()? };
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
        fn opener(&self, _: Arc<Model>, _: Device, _: bool) -> Box<dyn crate::upscale::network::Open> {
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
    /// The settings of each export of the recipe's kit, then those of groups.
    variants: Vec<Settings>,
    brand: Option<Arc<Brand>>,
    limits: Limits,
    engine: Engine,
    /// What grades by matches and kits, if it is not the processor.
    card: Option<Card>,
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
        let mut settings = settings(recipe, globals)?;
        settings.repair = work.repair().or(recipe.inspect.repair.filter(|_| !work.no_inspect)).unwrap_or(settings.repair);
        let later = recipe.kit.is_some() || settings.matching.is_some();
        if later && settings.grading.as_ref().is_some_and(Grading::needs_gpu) {
            let what = "a look with a filter in WGSL does not go with a match or a kit, whose limits the processor works out";
            return Err(Error::usage(recipe.subject("look.device"), what, "a look without filters"));
        }
        let mut this = Self::again(settings, recipe, work, dry_run, globals)?;
        this.check_gate()?;
        if later {
            this.card = grade_device::card(recipe.look.device)?;
        }
        if let Some(file) = &recipe.kit {
            let brand = Arc::new(Brand::open(found(recipe, "kit.file", Kit::read(file))?)?);
            this.variants = brand
                .kit()
                .exports
                .iter()
                .enumerate()
                .map(|(i, export)| Settings {
                    encoding: Encoding {
                        quality: export.quality.unwrap_or(this.settings.encoding.quality),
                        ..this.settings.encoding.clone()
                    },
                    finish: Some(Finish::new(Arc::clone(&brand), i)),
                    ..this.settings.clone()
                })
                .collect();
            this.brand = Some(brand);
        }
        Ok(this)
    }

    /// The same for settings that are known already; the recipe says the rest.
    pub fn again(mut settings: Settings, recipe: &'a Recipe, work: &'a Work, dry_run: bool, globals: &Globals) -> crate::Result<Self> {
        // Where colours are graded is no part of what is kept of a job.
        let place = |grading| grade_device::place(grading, recipe.look.device, globals);
        settings.grading = settings.grading.map(place).transpose()?;
        let memory = work.memory.unwrap_or_else(|| machine::memory().map_or(2 << 30, |m| m.available / 2));
        let cores = machine::cores();
        Ok(Self {
            recipe,
            work,
            settings,
            variants: Vec::new(),
            brand: None,
            limits: Limits { max_pixels: recipe.run.max_pixels, first_frame: recipe.output.first_frame },
            engine: open(recipe, dry_run, globals, memory)?,
            card: None,
            memory,
            cores,
            jobs: work.jobs.map_or((cores + 1).clamp(2, 16), usize::from),
        })
    }

    /// A gate needs an inspection. Who leaves it out of a recipe that has one is told; to ask for both is a mistake.
    fn check_gate(&self) -> crate::Result<()> {
        if self.recipe.inspect.fail_on.is_none() || self.care().is_some() {
            return Ok(());
        }
        let subject = self.recipe.subject("inspect.fail_on");
        let what = "nothing is inspected, so it decides nothing";
        if self.work.no_inspect && !subject.starts_with("--") {
            say(format_args!("note: {subject}: {what} (--no-inspect)"));
            return Ok(());
        }
        let hint = if self.work.no_inspect { "one of --fail-on and --no-inspect" } else { "when = \"always\" in [inspect], or --inspect" };
        Err(Error::usage(subject, what, hint))
    }

    fn target(&self, header: &Header) -> crate::Result<Target> {
        pipeline::target(header, &self.settings, &self.engine)
    }

    /// Whether nothing is done to a picture that takes longer than to read and to write it.
    fn is_light(&self) -> bool {
        let pointwise = self.settings.grading.as_ref().is_none_or(|g| g.program().is_some());
        pointwise && self.settings.matching.is_none() && self.brand.is_none()
    }

    /// Finds the sources and names their outputs.
    ///
    /// # Errors
    /// Usage errors that concern the whole job.
    pub fn plan(&self, paths: &Paths, exclude: &[&str], shard: Option<Shard>) -> crate::Result<Planned> {
        let size = |source: &Path| self.target(&codec::probe(source, &self.limits)?).map(|t| (t.width, t.height));
        let exclude = exclude.iter().map(|e| (*e).to_owned());
        let request = Request {
            inputs: paths.inputs.clone(),
            output: paths.output.clone(),
            format: self.recipe.output.format,
            name: self.recipe.output.name.clone(),
            include: self.work.include.clone(),
            exclude: self.work.exclude.iter().cloned().chain(exclude).collect(),
            masks: self.recipe.upscale.protect.clone(),
            shard,
        };
        let planned = match &self.brand {
            None => plan(&request, &size)?,
            Some(brand) => self.exports(brand, &request, &size)?,
        };
        self.check(&planned)?;
        Ok(planned)
    }

    /// What only the list of files shows.
    fn check(&self, planned: &Planned) -> crate::Result<()> {
        let eight = |i: &&Item| matches!(i.format, Format::Jpeg | Format::WebP | Format::Avif);
        match planned.items.iter().find(eight) {
            Some(first) if self.settings.encoding.bits == 16 => {
                let (n, all) = (planned.items.iter().filter(eight).count(), planned.items.len());
                let what =
                    format!("{n} of {all} results would be JPEG, WebP or AVIF, which hold fewer bits, first {}", first.output.display());
                Err(Error::usage(self.recipe.subject("output.depth"), what, "--format png or --format tiff"))
            }
            _ => Ok(()),
        }
    }

    /// How the batch engine is to go about it.
    pub fn options(&self) -> Options {
        Options {
            settings: self.settings.clone(),
            variants: self.variants.clone(),
            limits: self.limits,
            model: self.engine.identity(),
            jobs: self.jobs,
            memory: self.memory - self.engine.tiles_bytes().min(self.memory / 2),
            keep_master: self.work.keep_master,
            overwrite: self.work.overwrite,
            retry_failed: false,
            hot: false,
            instead: false,
            inspects: self.care().is_some(),
        }
    }

    /// How much a batch has to do.
    fn effort(&self, todo: &[&Item], beside: &Beside, patience: Duration) -> Effort {
        let target = |h: &Header| self.target(h);
        Effort::of(todo, &self.limits, &self.settings.encoding, &self.engine, &target, beside, patience)
    }

    /// What is done beside enlarging.
    fn beside(&self, batch: &Batch) -> Beside {
        let care = self.care();
        Beside {
            jobs: self.jobs,
            mastered: batch.mastered(),
            keep_master: self.work.keep_master,
            mends: care.as_ref().is_some_and(|c| c.repair != Repair::Off),
            inspected: care.is_some(),
            max_kb: self.settings.max_kb.is_some() && self.settings.encoding.is_lossy(),
        }
    }

    /// Tries one picture of a batch, another one if that fails; none if that cannot be done, which the run will tell more about.
    fn rehearse(&self, batch: &Batch, leads: &[&Item], effort: &Effort, stop: &AtomicBool, verbose: bool) -> Option<Rehearsal> {
        effort.typical().into_iter().find_map(|(n, factor)| {
            let source = &leads.get(n)?.source;
            match self.rehearse_one(batch, source, factor, stop) {
                Err(e) if verbose => {
                    say(format_args!("note: the time is not tried out on {}: {e}", source.display()));
                    None
                }
                tried => tried.ok(),
            }
        })
    }

    fn rehearse_one(&self, batch: &Batch, source: &Path, factor: f64, stop: &AtomicBool) -> crate::Result<Rehearsal> {
        let of_it = batch.todo().filter(|i| i.source == source);
        let settings: Vec<Settings> = of_it.map(|i| batch.settings(i)).collect::<crate::Result<_>>()?;
        let compared = !self.engine.reference_passes(factor, &made_by(&self.engine, factor)).is_empty();
        let inspected = self.care().map(|c| (c.tier, compared));
        rehearsal::rehearse(&rehearsal::Part { source, settings: &settings, factor, inspected, limits: self.limits, stop })
    }

    /// The network's id; `none` without one.
    pub fn model(&self) -> &str {
        self.engine.main().map_or("none", |m| &m.manifest.id)
    }

    /// Whether a network runs on a source that is made with these settings.
    ///
    /// # Errors
    /// A source that cannot be read, or absurd sizes.
    pub fn enlarges(&self, source: &Path, settings: &Settings) -> crate::Result<bool> {
        let target = pipeline::target(&codec::probe(source, &self.limits)?, settings, &self.engine)?;
        Ok(!self.engine.passes(target.factor())?.is_empty())
    }

    fn on(&self, device: Device) -> Where {
        Where { device, precision: self.recipe.run.precision, cores: self.cores }
    }

    /// The size of the tiles that the largest picture is cut into, once a device is known.
    fn tile(&self, effort: &Effort) -> Option<[u32; 2]> {
        let (w, h) = effort.largest;
        let first = self.engine.passes(effort.factor).ok()?.first().copied()?;
        Some(self.engine.grid(first, w, h, 3, 1).ok()?.tile())
    }

    /// The first event of a batch, before a device is known.
    pub fn start(&self, batch: &Batch) -> Start {
        let networks = self.engine.main().is_some();
        Start {
            files: batch.todo().len() + batch.skipped(),
            skipped: batch.skipped(),
            megapixels: None,
            model: self.model().to_owned(),
            device: match self.recipe.run.device {
                Device::Auto => "cpu".into(),
                _ if !networks => "cpu".into(),
                asked => asked.to_string(),
            },
            grade_device: match (&self.card, &self.settings.grading) {
                (Some(card), _) => Some(card.name()),
                (None, grading) => grading.as_ref().map(|g| g.device().to_owned()),
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
        let care = self.care();
        let inspecting = Inspecting::new(listener, batch.root(), care.clone(), batch.reports());
        let before = inspecting.inspected();
        let card = self.card.as_deref();
        let process = |job: Job<'_>, hooks: Hooks<'_>| {
            // A batch watches nothing itself.
            let Hooks { stop, progress, waiting, .. } = hooks;
            inspecting.process(job, &self.engine, Hooks { stop, progress, observer: None, waiting, card })
        };
        let estimate = |item: &Item, bytes: &[u8]| {
            let known = codec::header(&item.source, bytes, &self.limits).and_then(|h| Ok((self.target(&h)?, h)));
            // Further exports hold rows and encoders of their own.
            let all = self.brand.as_ref().filter(|_| item.preset.is_some()).map_or(1, |b| b.kit().exports.len()) as u64;
            let encoding = Encoding { format: item.format, ..self.settings.encoding.clone() };
            known.map_or(0, |(t, h)| {
                let looked_at = care.as_ref().map_or(0, |c| {
                    let own = made_by(&self.engine, t.factor()).iter().all(|sha256| self.engine.ships(sha256));
                    inspection::memory((h.width, h.height), (t.width, t.height), c.repair != Repair::Off && !own)
                });
                pipeline::memory(&h, &t, &encoding, bytes.len() as u64) * all + looked_at
            })
        };
        let mut summary = batch.run(start, &process, &estimate, &inspecting, stop)?;
        summary.flagged = inspecting.flagged();
        (summary.inspected, summary.inspected_before) = (inspecting.inspected(), before);
        summary.gated = match self.recipe.inspect.fail_on {
            Some(Verdict::Reject) => inspecting.rejected() > 0,
            Some(_) => inspecting.flagged() > 0,
            None => false,
        };
        Ok(summary)
    }

    /// Whether and how results are inspected: as asked, else if the network may invent; and then mended versions are suggested.
    fn care(&self) -> Option<Care> {
        let invents = self.engine.main().is_some_and(|m| m.manifest.kind == Kind::Perceptual);
        let told = self.recipe.inspect.repair.filter(|_| !self.work.no_inspect);
        let asked = self.work.repair().or(told).or((self.settings.repair != Repair::Off).then_some(self.settings.repair));
        let mends = asked.is_some_and(|r| r != Repair::Off);
        let when = match self.recipe.inspect.when {
            _ if self.work.inspect => When::Always,
            _ if self.work.no_inspect => When::Never,
            when => when,
        };
        // A gate without inspection would stand open.
        let gate = self.recipe.inspect.fail_on.is_some();
        let wanted = mends || when == When::Always || ((invents || gate) && when == When::Auto);
        let tier = self.recipe.inspect.tier;
        wanted.then(|| Care { repair: asked.unwrap_or(Repair::Suggest), tier, ..Care::default() })
    }
}

/// Runs a job, or says what it would do.
///
/// # Errors
/// What concerns the run as a whole before work.
pub fn run(recipe: &Recipe, paths: &Paths, work: &Work, once: &Once, globals: &Globals) -> anyhow::Result<Exit> {
    let mut maker = Maker::new(recipe, work, once.dry_run, globals)?;
    let mut planned = maker.plan(paths, &[], once.shard)?;
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

    let groups = maker.group(&mut planned, globals)?;
    if globals.verbosity >= 0 {
        groups.notes.iter().for_each(|note| say(format_args!("note: {note}")));
    }
    let cube = once.export_cube.as_ref().map(|file| Ok::<_, Error>((file, maker.cube(&planned, &groups)?))).transpose()?;
    if let Some((file, text)) = &cube
        && !work.overwrite
        && !once.dry_run
        && std::fs::read(file).is_ok_and(|there| there != text.as_bytes())
    {
        let hint = "another name, or --overwrite";
        return Err(Error::usage(file.display(), "--export-cube: exists already, with other contents", hint).into());
    }
    if let Some(n) = once.proof {
        kits::proof(&mut planned, usize::from(n));
    }
    let shown: Vec<Item> = if once.proof.is_some() { planned.items.clone() } else { Vec::new() };
    let options = Options { retry_failed: once.retry_failed, ..maker.options() };
    let batch = if once.dry_run { Batch::preview(planned, options)? } else { Batch::open(planned, options)? };
    if batch.uninspected() > 0 && globals.verbosity >= 0 {
        let (n, dir) = (progress::files(batch.uninspected()), super::quoted(batch.root().as_os_str()));
        say(format_args!(
            "note: {n} done already but not inspected: to be made again (lastmile inspect {dir} first looks at them as they are)"
        ));
    }
    let pinned;
    let maker = match batch.earlier_device().and_then(|d| d.parse::<Device>().ok()) {
        // One folder, one device: results of two differ in the last bit.
        Some(earlier) if recipe.run.device == Device::Auto && batch.todo().len() > 0 => {
            if globals.verbosity > 0 || (earlier == Device::Cpu && !machine::gpus().is_empty()) {
                say(format_args!("device: {earlier}, as for what is done already; --device chooses another"));
            }
            let mut same = recipe.clone();
            same.run.device = earlier;
            pinned = same;
            let again = Maker::again(maker.settings, &pinned, work, once.dry_run, globals)?;
            Maker { variants: maker.variants, brand: maker.brand, card: maker.card, ..again }
        }
        _ => maker,
    };

    let todo: Vec<&Item> = batch.todo().collect();
    let leads: Vec<&Item> = batch.leads().collect();
    let beside = maker.beside(&batch);
    let mut effort = maker.effort(&leads, &beside, Duration::from_secs(if once.dry_run { 60 } else { 1 }));
    // The other files of a source are made along with its first.
    for item in &todo {
        effort.weights.entry(item.job).or_insert(0.0);
    }
    let home = Home::new(&globals.home);
    let rates = Rates::load(&home).unwrap_or_else(|e| {
        // Estimates are no reason to stop.
        if globals.verbosity > 0 {
            say(format_args!("note: {e}"));
        }
        Rates::default()
    });
    // A job of seconds should begin, not be foreseen to the second.
    let worth = once.dry_run
        || if effort.work == 0.0 && !beside.inspected && maker.is_light() {
            effort.rest(None, &beside, maker.cores) > 10.0
        } else {
            effort.megapixels > 10.0 || effort.pixels() > 150e6
        };
    let stop = stop_on_signals()?;
    let rehearsal = if worth { maker.rehearse(&batch, &leads, &effort, &stop, globals.verbosity > 0) } else { None };
    let mut start = maker.start(&batch);
    start.megapixels = (!todo.is_empty()).then_some(effort.megapixels);
    let mut on = maker.on(Device::Cpu);
    let mut tile = None;
    if effort.work > 0.0 {
        match maker.engine.start() {
            Ok(choice) => {
                on.device = choice.device;
                start.device = choice.device.to_string();
                let basis = Basis { effort: &effort, beside: &beside, engine: &maker.engine, on: &on, rates: &rates, rehearsal };
                start.seconds = Some(basis.predict(&|| maker.engine.rate())?);
                if globals.verbosity > 0 {
                    say(format_args!("device: {}", choice.reason));
                }
                tile = if once.dry_run { maker.tile(&effort) } else { None };
            }
            // A preview installs nothing; what is missing then is told by the run.
            Err(Error::Runtime { .. }) if once.dry_run => {
                start.device = recipe.run.device.to_string();
                say("note: ONNX Runtime is not there yet: no time is predicted; the run would install it");
            }
            Err(e) => return Err(e.into()),
        }
    } else if effort.pixels() > 0.0 {
        let basis = Basis { effort: &effort, beside: &beside, engine: &maker.engine, on: &on, rates: &rates, rehearsal };
        start.seconds = Some(basis.predict(&|| Ok(1.0))?);
    }
    let basis = Basis { effort: &effort, beside: &beside, engine: &maker.engine, on: &on, rates: &rates, rehearsal };
    let opening = progress::opening(&start, maker.cores);
    let table = Table {
        effort: &effort,
        items: &todo,
        done: batch.skipped(),
        renamed: todo.iter().filter(|i| i.renamed).count(),
        tile,
        seconds: start.seconds,
        measured: basis.measured(),
        tiles_bytes: if effort.work > 0.0 { maker.engine.tiles_bytes() } else { 0 },
        memory: maker.options().memory,
        disk: effort.disk(&rates),
        free: machine::free_disk(batch.root()),
        price: &recipe.price,
    };
    let faster = start.seconds.and_then(|s| forecast::faster(&maker.engine, &on, &rates, &home, s));
    if once.dry_run {
        preview(&batch, &start, &table, &opening, globals)?;
        if let Some(faster) = faster {
            say(format_args!("faster   {faster}"));
        }
        say("Nothing was written.");
        return Ok(Exit::Done);
    }
    if globals.verbosity >= 0 {
        say(&opening);
        if let Some(faster) = faster {
            say(format_args!("  {faster}"));
        }
    }
    if let Some(short) = table.short_of_disk() {
        say(format_args!("note: {short}"));
    }
    let root = batch.root().to_path_buf();
    groups.write()?;
    if let Some((file, text)) = cube {
        std::fs::write(file, text).map_err(|e| Error::io(file, e))?;
    }
    drop((todo, leads));
    let listener = Progress::new(globals, effort.weights.clone())?;
    let summary = maker.make(batch, start, &listener, &stop)?;
    if let Some(pace) = basis.learned(&summary) {
        // That the next estimate is a guess again is no reason to call this run a failure.
        let _ = Rates::of_run(pace).save(&home);
    }
    if let Some(e) = &summary.fatal {
        say(format_args!("error: {e}"));
    }
    if once.proof.is_some() {
        let page = crate::brand::proof::write(
            &root,
            &shown.iter().map(|i| (i.source.as_path(), i.output.as_path())).collect::<Vec<_>>(),
            &summary.held,
        )?;
        say(format_args!("{} shows them before and after.", page.display()));
    }
    say(progress::closing(&summary, &root, &super::command_line()));
    if work.keep_master && globals.verbosity >= 0 {
        let masters = root.join(STATE).join(MASTERS);
        let taken = std::fs::read_dir(&masters).into_iter().flatten().flatten().filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum();
        say(format_args!("Masters  {} in {}; delete the folder when nothing more shall change", progress::bytes(taken), masters.display()));
    }
    Ok(summary.exit())
}

/// Says what a run would do: the list on standard output, the rest on standard error.
fn preview(batch: &Batch, start: &Start, table: &Table<'_>, opening: &str, globals: &Globals) -> anyhow::Result<()> {
    if let Some(target) = &globals.json {
        let mut to = target.open()?;
        serde_json::to_writer(&mut to, &Event::Start(start.clone()))?;
        writeln!(to)?;
        writeln!(to, "{}", table.json(batch.root()))?;
        to.flush()?;
    }
    if !super::models::json_only(globals) {
        let mut list = std::io::BufWriter::new(std::io::stdout().lock());
        for item in table.items {
            let line = format!("{} -> {}", item.source.display(), batch.root().join(&item.output).display());
            writeln!(list, "{}", super::harmless(&line))?;
        }
        list.flush()?;
    }
    say(opening);
    say(table.lines());
    Ok(())
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
