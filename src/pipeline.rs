//! The life of one image: decode, upscale, lock colours, resize, encode. Reads top to bottom.
//!
//! Over 500 lines because every part of a picture's making is to be read here in order.

pub mod delivery;
pub mod frame;
mod goal;
mod history;

pub mod inspection;
pub mod master;
mod mending;
pub mod protect;
mod reference;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::alpha::bleed_alpha;
use crate::band::{Band, Sink, Stage};
use crate::brand::{Finish, Reference};
use crate::codec::{self, Encoding, Format, Header, Limits, Policy};
use crate::color::{ColourSpace, Profile, Transfer};
use crate::error::{Error, Result};
use crate::flow::{Chain, Fork, stack};
use crate::grade::Grading;
use crate::grade::device::Accelerator;
use crate::grade::dither::dither;
use crate::grade::eight::Eight;
use crate::grade::matching::Statistics;
use crate::image::{Image, Samples};
use crate::inspect::calibration;
use crate::inspect::repair::{Patches, Repair};
use crate::resample::{Crop, Filter, Light, Resize, Scaler};
use crate::spool::{Depth, Spool, SpoolWriter, Temporary};
use crate::upscale::engine::{Engine, PassRecord};
use crate::upscale::lock::ColourLock;
use crate::upscale::pass::Pass;
use crate::upscale::size::{Fit, Size, Target};
use delivery::{Extra, Finish as Files, Finishing, Made};
use master::Master;
use protect::{Mask, Protect};

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
    /// The size the file must not exceed, in units of 1000 bytes: the quality is lowered as far as that needs. Lossy formats only.
    pub max_kb: Option<u32>,
    /// `None` keeps the source's profile.
    pub convert_to: Option<ColourSpace>,
    pub metadata: Policy,
    /// The time that the history states, seconds since 1970 UTC; `None` is the source file's modification time.
    pub epoch: Option<i64>,
    /// What is done to the colours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grading: Option<Grading>,
    /// What the colours of each picture are matched to before `grading`, if each has a transform of its own; that of a group
    /// is a part of `grading`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<Matching>,
    /// The brand that comes after that, and which of its exports is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
    /// What is done about regions that upscaling spoilt. Only [`Repair::Auto`] concerns the output's pixels.
    #[serde(default, skip_serializing_if = "Repair::leaves_the_result")]
    pub repair: Repair,
    /// Where the faithful networks are taken in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protect: Option<Protect>,
}

/// A match of each picture for itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matching {
    pub to: Reference,
    /// Of the match and `Settings::grading` together, 0..=1.
    pub strength: f32,
}

impl Settings {
    /// What is hashed: looks are named by what they do, so that it does not matter where their files lie.
    ///
    /// # Errors
    /// None that occurs; it is what serde says.
    pub fn canonical(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = serde_json::to_vec(&Self { grading: None, matching: None, finish: None, protect: None, ..self.clone() })?;
        json.extend(self.grading.iter().flat_map(|g| g.identity().bytes()));
        json.extend(self.matching.iter().flat_map(|m| format!(" match {} {:?}", m.to.identity(), m.strength).into_bytes()));
        json.extend(self.finish.iter().flat_map(|f| format!(" brand {}", f.identity()).into_bytes()));
        json.extend(self.protect.iter().flat_map(|p| p.sha256.bytes()));
        if self.repair == Repair::Auto {
            // What is flagged follows from the tables.
            json.extend(calibration::SHIPPED.hash().bytes());
        }
        Ok(json)
    }

    /// What of this decides the rows that come out of the networks, as JSON: the part that a [`Master`] depends on.
    ///
    /// # Errors
    /// None that occurs; it is what serde says.
    pub fn enlarging(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = serde_json::to_vec(&(self.size, self.fit, self.faithful, self.colour_lock))?;
        json.extend(self.protect.iter().flat_map(|p| p.sha256.bytes()));
        Ok(json)
    }
}

impl Default for Settings {
    /// The model's own factor, everything else as the program does it unasked.
    fn default() -> Self {
        Self {
            size: Size::Model,
            fit: Fit::Inside,
            faithful: 0.0,
            colour_lock: true,
            dither: true,
            encoding: Encoding { bits: 0, ..Encoding::default() },
            max_kb: None,
            convert_to: None,
            metadata: Policy::default(),
            epoch: None,
            grading: None,
            matching: None,
            finish: None,
            repair: Repair::Off,
            protect: None,
        }
    }
}

/// One picture to make.
#[derive(Debug)]
pub struct Job<'a> {
    /// Where the bytes come from (for messages, and for the time that the history states).
    pub source: &'a Path,
    /// The source file; dropped as soon as it is decoded.
    pub bytes: Vec<u8>,
    /// The file to create; the caller renames it afterwards.
    pub output: &'a Path,
    pub settings: &'a Settings,
    pub limits: Limits,
    /// Rows that an earlier job kept, or that this one shall keep.
    pub master: Option<Master>,
    /// Further files of the same picture, made from the same rows.
    pub extra: Vec<Extra>,
}

/// Hooks into a running job.
pub struct Hooks<'a> {
    /// Set to stop: the job ends with [`crate::Error::Interrupted`] and leaves its partial file to the caller.
    pub stop: &'a AtomicBool,
    /// Called with the share done, 0..1, never backwards.
    pub progress: &'a (dyn Fn(f64) + Sync),
    /// Sees the plan once, then every band of the result before encoding.
    pub observer: Option<&'a mut dyn Observer>,
    /// How many more pictures stand in line: with many, one is not cut up just to keep every core busy.
    pub waiting: usize,
    /// What grades where the transform is known only once the picture was read (matches, kits); `None` for the processor.
    pub card: Option<&'a (dyn Accelerator + Send + Sync)>,
}

/// Watches source and result go by (inspection hangs in here).
pub trait Observer: Send {
    /// The decoded source, how it will be enlarged, and to which width and height.
    fn begin(&mut self, source: &Image, plan: &Plan, size: (usize, usize)) -> Result<()>;
    /// The next rows of the result, before grading, dither and encoding.
    fn band(&mut self, band: &Band) -> Result<()>;
    /// Whether the result is looked at a second time once all of it was seen; asked after [`Observer::begin`].
    fn look(&self) -> Look {
        Look::Once
    }
    /// After the last band, if there is a second look: what is laid over the result.
    ///
    /// # Errors
    /// As [`process`].
    fn mend(&mut self) -> Result<Patches> {
        Ok(Patches::default())
    }
}

/// How often a job looks at its picture. Two looks take 4 bytes a value on the output's disk for as long as the job runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Look {
    /// Rows are written as they come.
    #[default]
    Once,
    /// Rows wait until the whole was seen, and are mended before they are written.
    Mend,
    /// Rows are written as they come, and, if there is something to mend, once more mended into this file.
    Beside(PathBuf),
}

/// How a picture was made; goes into the journal and the `file` event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Networks in order; empty when none ran.
    pub passes: Vec<PassRecord>,
    /// Result size over the size after the last pass, 1 if equal.
    pub reduction: f64,
    pub colour_lock: bool,
    pub faithful: f32,
    /// The networks that made the protected regions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<PassRecord>,
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
    /// The source's C2PA manifest store, which the output does not carry; to be kept beside it ([`codec::sidecar`]).
    pub c2pa: Option<Vec<u8>>,
    /// The gate that the file missed; it must not be delivered.
    pub held: Option<String>,
    /// What became of the job's further files, in their order.
    pub extra: Vec<Made>,
}

/// Source rows that are handed on at once.
const ROWS: usize = 64;
/// Over- and undershoot allowed when enlarging without a network: 3 levels of 255.
const RINGING: f32 = 3.0 / 255.0;

/// Makes one picture.
///
/// # Errors
/// Whatever is wrong with the source, the result or the output file; [`Error::Interrupted`] if it was stopped. The partial
/// output is left to the caller.
pub fn process(job: Job<'_>, engine: &Engine, mut hooks: Hooks<'_>) -> Result<Done> {
    let _working = engine.begin();
    let Job { source, bytes, output, settings, limits, master, extra } = job;

    // What it shall become is known from the header, so that an impossible size is refused before anything is decoded.
    let mut header = codec::header(source, &bytes, &limits)?;
    let mut target = target(&header, settings, engine)?;
    let whole = encoding(&settings.encoding, &header);
    let check = |target: &Target| match settings.finish {
        None => Format::check(source, &whole, target.width, target.height),
        Some(_) => Ok(()),
    };
    check(&target)?;
    let mut image = codec::decode(source, &bytes, &limits)?;
    // Files keep their orientation in many places; the pixels as they were read are right.
    if (image.width, image.height) != header.upright() {
        (header.width, header.height, header.orientation) = (image.width, image.height, 1);
        target = self::target(&header, settings, engine)?;
        check(&target)?;
    }
    let fits = settings.max_kb.is_none_or(|kb| bytes.len() as u64 <= u64::from(kb) * 1000);
    // One is refused, or gives its first frame.
    let still = !codec::is_animation(&bytes);
    if fits && still && extra.is_empty() && unchanged(&header, &target, settings) && engine.passes(target.factor())?.is_empty() {
        std::fs::write(output, &bytes).map_err(|e| Error::io(output, e))?;
        let note = format!("it has {}x{} px already: copied as it is", target.width, target.height);
        let plan = Plan { reduction: 1.0, ..Plan::default() };
        return Ok(Done {
            width: target.width,
            height: target.height,
            bytes: bytes.len() as u64,
            plan,
            notes: vec![note],
            ..Done::default()
        });
    }

    let mut notes = std::mem::take(&mut image.notes);
    let mut gradings = gradings(&image, settings, &mut notes)?;
    if let Some(card) = hooks.card {
        for grading in gradings.iter_mut().filter(|g| !g.is_placed()) {
            *grading = grading.on(card)?;
        }
    }
    // What is worked out for each colour by itself draws no grain.
    let spatial = gradings.iter().any(|g| g.program().is_none());
    let seed = if spatial { fingerprint(&bytes) } else { 0 };
    drop(bytes);
    bleed_alpha(&mut image);
    display_encode(&mut image, &mut notes);
    // A master is of what networks made; here there are none.
    let alone = extra.is_empty() && hooks.observer.is_none() && engine.passes(target.factor())?.is_empty();
    let graded = alone && at_once(&mut image, &gradings, settings, &target, &whole, hooks.stop)?;
    if graded {
        gradings.clear();
    }
    let image = Arc::new(image);

    let parallel = |e: &Engine| if e.main().is_some() { e.parallel(hooks.waiting) } else { Ok(1) };
    let build = Build { engine, image: &image, target: &target, settings, limits, stop: hooks.stop, parallel: &parallel };
    let shape = (target.width, target.height, image.channels.count());
    let kept = master.as_ref().and_then(|m| m.find(shape));
    let (mut chain, plan, more) = match &kept {
        Some(kept) => (Chain::new(), kept.plan.clone(), kept.notes.clone()),
        None => build.chain()?,
    };
    let mut keeping = match &master {
        Some(m) if m.keep && kept.is_none() && !plan.passes.is_empty() => Some(m.begin(output, shape, &plan, &more)?),
        _ => None,
    };
    // To grade, or to make other files of it, is reason enough to write a picture of its own size again.
    let why =
        gradings.is_empty() && !graded && settings.finish.is_none() || (target.factor() - 1.0).abs() > 1e-9 || !plan.passes.is_empty();
    notes.extend(more.into_iter().filter(|_| why));

    let others = extra.iter().map(|e| (&e.settings, encoding(&e.settings.encoding, &header)));
    let files = std::iter::once((settings, whole)).chain(others).collect();
    let finishing = Finishing { source, image: &image, target, plan: &plan, gradings: &gradings, seed, limits, files };
    let outputs: Vec<&Path> = std::iter::once(output).chain(extra.iter().map(|e| e.output.as_path())).collect();
    if let Some(o) = hooks.observer.as_deref_mut() {
        o.begin(&image, &plan, (target.width, target.height))?;
    }
    let look = hooks.observer.as_deref().map_or(Look::Once, |o| o.look());
    // A result that will be mended is not written before; one that gets a mended version beside it is.
    let mut first = match look {
        Look::Mend => None,
        Look::Once | Look::Beside(_) => Some(finishing.open(&outputs, None)?),
    };
    let parked = Temporary::new(output.with_extension("look"));
    let mut rows = match look {
        Look::Once => None,
        Look::Mend | Look::Beside(_) => Some(SpoolWriter::create(parked.path(), target.width, image.channels.count(), Depth::F32)?),
    };
    // Whether all that is left to do is to write the picture.
    let untouched = hooks.observer.is_none() && keeping.is_none() && first.as_ref().is_some_and(Files::is_plain);
    let part = if matches!(look, Look::Mend) { 0.9 } else { 1.0 };
    let mut made = |band: Band| {
        if hooks.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        if let Some(k) = &mut keeping {
            k.write(&band)?;
        }
        if let Some(o) = hooks.observer.as_deref_mut() {
            o.band(&band)?;
        }
        if let Some(rows) = &mut rows {
            rows.write(&band)?;
        }
        let end = band.end();
        if let Some(first) = &mut first {
            first.push(band)?;
        }
        (hooks.progress)(part * end as f64 / target.height as f64);
        Ok(())
    };
    if kept.is_none() && chain.is_empty() && untouched {
        for y in (0..image.height).step_by(ROWS) {
            if hooks.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let end = (y + ROWS).min(image.height);
            first.iter_mut().try_for_each(|f| f.push_rows(&image, y, end))?;
            (hooks.progress)(end as f64 / image.height as f64);
        }
    } else {
        match kept {
            Some(kept) => kept.run(hooks.stop, &mut made),
            None => run(&image, &mut chain, &mut made),
        }
        .map_err(|e| about(source, e))?;
    }
    drop(chain);
    let mut files = match first {
        Some(first) => first.finish(hooks.stop)?,
        None => Vec::new(),
    };
    if let Some(k) = keeping {
        k.finish()?;
    }
    if let (Some(rows), Some(o)) = (rows, hooks.observer.as_deref_mut()) {
        let patches = o.mend()?;
        let mut second = Second { finishing: &finishing, rows: rows.finish()?, patches: &patches, stop: hooks.stop };
        match &look {
            Look::Mend => {
                files = second.write(&outputs, &|share| (hooks.progress)(part + (1.0 - part) * share))?;
            }
            // Of several files, the first is the one that a review shows.
            Look::Beside(other) if !patches.is_empty() => {
                second.write(&[other], &|_| {})?;
            }
            Look::Beside(_) | Look::Once => {}
        }
    }
    notes.extend(engine.halved());
    for file in &mut files {
        file.notes.splice(0..0, notes.iter().cloned());
    }
    let c2pa = image.metadata.c2pa.clone();
    let Made { width, height, bytes, notes, held } = files.remove(0);
    Ok(Done { width, height, bytes, plan, notes, c2pa, held, extra: files })
}

/// What is done to the colours of a picture, as it was decoded, one after the other: match and looks, then the brand's.
///
/// # Errors
/// A profile that cannot be converted from.
pub fn gradings(image: &Image, settings: &Settings, notes: &mut Vec<String>) -> Result<Vec<Grading>> {
    // Names a LUT that is nowhere: transforms of single pictures are worked out again, not written down.
    let nowhere = Path::new("");
    let mut own = None;
    let mut counted = || -> Result<Statistics> {
        match &own {
            Some(s) => Ok(Statistics::clone(s)),
            None => Ok(own.insert(Statistics::of(image)?).clone()),
        }
    };
    let mut all: Vec<Grading> = match &settings.matching {
        Some(m) => {
            let looks = settings.grading.as_ref().map_or(&[][..], Grading::looks);
            m.to.matched(&counted()?).grading(nowhere, looks, m.strength)?.into_iter().collect()
        }
        None => settings.grading.iter().cloned().collect(),
    };
    let Some(finish) = &settings.finish else { return Ok(all) };
    let grade = match &finish.grade {
        Some(grade) => Arc::clone(grade),
        // What the looks before it make of the picture is what the brand finds.
        None => Arc::new(finish.brand().grade(&counted()?.mapped(|c| all.iter().fold(c, |c, g| g.colour(c))), nowhere)?),
    };
    notes.extend(grade.reduced.clone());
    all.extend(grade.grading.clone());
    Ok(all)
}

/// Grades a picture of 8 bits where it lies, if it goes straight into a file of 8 bits in its own size and colour space: what
/// would be worked out in floating point is then looked up. Tells whether it did.
fn at_once(
    image: &mut Image,
    gradings: &[Grading],
    settings: &Settings,
    target: &Target,
    whole: &Encoding,
    stop: &AtomicBool,
) -> Result<bool> {
    let [grading] = gradings else { return Ok(false) };
    let Some(program) = grading.program() else { return Ok(false) };
    let srgb = || image.metadata.icc.as_deref().is_none_or(|icc| Profile::from_icc(icc).is_ok_and(|p| p.is_srgb()));
    let same = (image.width, image.height) == (target.width, target.height) && !target.crops(image.width, image.height);
    let plain = settings.finish.is_none() && settings.convert_to.is_none() && whole.bits == 8 && image.channels.colours() == 3;
    if !(same && plain && srgb()) {
        return Ok(false);
    }
    let (width, channels) = (image.width, image.channels.count());
    let Samples::U8(samples) = &mut image.samples else { return Ok(false) };
    let dithered = settings.dither && !whole.is_lossy();
    let eight = Eight::new(program, dithered);
    for (n, rows) in samples.chunks_mut(width * channels * ROWS).enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        if dithered {
            eight.run_dithered(rows, channels, width, n * ROWS);
        } else {
            eight.run(rows, channels);
        }
    }
    Ok(true)
}

/// How many pixels `after` a conversion have a colour channel that an encoder would clip by more than half an 8-bit code,
/// where those `before` (of 1 or 3 colours) had none: what enlarging alone threw beyond black and white is no matter of
/// colour spaces.
fn outside(before: &Band, colours: usize, after: &Band) -> u64 {
    const HALF: f32 = 0.5 / 255.0;
    let clips = |band: &Band, colours: usize, i: usize| (0..colours).any(|c| !(-HALF..=1.0 + HALF).contains(&band.plane(c)[i]));
    (0..after.plane(0).len()).filter(|&i| clips(after, 3, i) && !clips(before, colours, i)).count() as u64
}

/// The second look: kept rows, mended and written.
struct Second<'a, 'b> {
    finishing: &'a Finishing<'b>,
    rows: Spool,
    patches: &'a Patches,
    stop: &'a AtomicBool,
}

impl Second<'_, '_> {
    /// Writes all rows with their patches into these files, in the order of the job's.
    fn write(&mut self, outputs: &[&Path], progress: &dyn Fn(f64)) -> Result<Vec<Made>> {
        let mended = (!self.patches.is_empty()).then(|| self.patches.said());
        let mut finish = self.finishing.open(outputs, mended.as_deref())?;
        let (mut y, height) = (0, self.rows.rows());
        while y < height {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let end = (y + ROWS).min(height);
            let mut band = self.rows.read(y, end)?;
            self.patches.apply(&mut band);
            finish.push(band)?;
            progress(end as f64 / height as f64);
            y = end;
        }
        finish.finish(self.stop)
    }
}

/// Pushes the source through.
fn run(image: &Image, chain: &mut Chain<'_>, write: &mut Sink<'_>) -> Result<()> {
    let all = 0..image.channels.count();
    let mut y = 0;
    while y < image.height {
        let end = (y + ROWS).min(image.height);
        chain.push(image.band(y, end, all.clone()), write)?;
        y = end;
    }
    chain.finish(write)
}

/// A number that stands for these bytes: FNV-1a, 64 bits (Fowler, Noll, Vo).
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Names the picture in an error that only names its profile.
fn of(source: &Path, e: Error) -> Error {
    match e {
        Error::Input { path, what, hint } => Error::input(source, format_args!("{}: {what}", path.display()), hint),
        e => e,
    }
}

/// Names the picture in an error that only names the model.
fn about(source: &Path, e: Error) -> Error {
    match e {
        Error::Quality { subject, what, hint } => Error::Quality { subject: format!("{}: {subject}", source.display()), what, hint },
        e => e,
    }
}

/// The final size of a picture.
///
/// # Errors
/// [`Error::Usage`] if no size was given and there is no network to have a factor of its own; [`Error::Limit`] for absurd
/// sizes.
pub fn target(header: &Header, settings: &Settings, engine: &Engine) -> Result<Target> {
    let own = match (engine.main(), settings.size) {
        (Some(m), _) => f64::from(m.manifest.scale),
        (None, Size::Model) => {
            return Err(Error::usage("--model none", "has no factor of its own", "--scale 2 or --long-edge 3840 beside it"));
        }
        (None, _) => 1.0,
    };
    let (w, h) = header.upright();
    settings.size.target(w, h, settings.fit, own)
}

/// Bytes a job takes beside what the engine's workers hold: the source, rows under way, and whole-picture encoders.
pub fn memory(header: &Header, target: &Target, encoding: &Encoding, file_bytes: u64) -> u64 {
    /// Rows of the result under way: a row of tiles, and the stages behind.
    const UNDER_WAY: u64 = 256;
    let pixels = (header.width * header.height) as u64;
    let (w, h, n) = (target.width as u64, target.height as u64, header.channels.count() as u64);
    let source = pixels * n * u64::from(header.bits / 8).max(1) + if header.channels.has_alpha() { pixels * 2 } else { 0 };
    let rows = w * UNDER_WAY.min(h) * n * 4;
    let whole = match encoding.format {
        Format::WebP => w * h * 8,
        // Codes, the encoder's own planes and its references.
        Format::Avif => w * h * 40,
        // Coefficients of 16 bits.
        Format::Jpeg if encoding.progressive => w * h * 2 * n.min(3),
        _ => 0,
    };
    let (decoding, kept) = codec::decoding(header, file_bytes);
    file_bytes + source + decoding.max(rows + whole + kept)
}

/// The encoding with the depth filled in.
fn encoding(asked: &Encoding, header: &Header) -> Encoding {
    let bits = match asked.bits {
        0 if header.bits > 8 && asked.format.supports_16_bit() => 16,
        0 => 8,
        given => given,
    };
    let quality = if asked.quality == 0 { asked.format.default_quality() } else { asked.quality };
    Encoding { bits, quality, ..asked.clone() }
}

/// Whether the source is what was asked for, to the byte.
fn unchanged(header: &Header, target: &Target, settings: &Settings) -> bool {
    let e = &settings.encoding;
    let (w, h) = header.upright();
    (w, h) == (target.width, target.height)
        && !target.crops(w, h)
        && header.format == e.format
        && e.quality == 0
        && !(e.lossless || e.small || e.progressive || e.chroma_420)
        && settings.convert_to.is_none()
        && settings.grading.is_none()
        && settings.matching.is_none()
        && settings.finish.is_none()
        && settings.metadata == Policy::default()
        && (e.bits == 0 || e.bits == header.bits)
        && !matches!(settings.size, Size::Print { .. })
}

/// Networks and encoders want display-encoded values; float files without a profile hold linear light.
fn display_encode(image: &mut Image, notes: &mut Vec<String>) {
    let (n, colours) = (image.channels.count(), image.channels.colours());
    let Samples::F32(v) = &mut image.samples else { return };
    if image.metadata.icc.is_none() {
        let srgb = Transfer::srgb();
        for px in v.chunks_exact_mut(n) {
            srgb.encoded(&mut px[..colours]);
        }
        notes.push("float values taken as linear sRGB/Rec.709 light and written sRGB-encoded".into());
    }
    if v.chunks_exact(n).any(|px| px[..colours].iter().any(|&c| c > 1.0)) {
        notes.push("values above white are clipped: the output holds 0 to 1".into());
    }
}

fn depth_note(image: &Image, encoding: &Encoding) -> Option<String> {
    let stored = match image.bits() {
        32 => "float",
        16 => "16 bits",
        _ => return None,
    };
    match encoding.bits {
        8 => Some(format!("the source has {stored} per sample, the output 8 bits")),
        _ if image.bits() == 32 => Some("the source has float samples, the output 16 bits".into()),
        _ => None,
    }
}

/// What the stages of one picture are built from.
struct Build<'a, 'b> {
    engine: &'b Engine,
    image: &'b Arc<Image>,
    target: &'b Target,
    settings: &'b Settings,
    limits: Limits,
    stop: &'a AtomicBool,
    parallel: &'b dyn Fn(&Engine) -> Result<usize>,
}

impl<'a> Build<'a, '_> {
    /// All stages from source rows to result rows, all channels; the record; and what to tell the user.
    fn chain(&self) -> Result<(Chain<'a>, Plan, Vec<String>)> {
        let Self { engine, image, target, settings, .. } = *self;
        let mut notes = Vec::new();
        let factor = target.factor();
        let passes = engine.passes(factor)?;
        if passes.is_empty() {
            notes.push(self.why_no_network(factor));
        }
        let colours = image.channels.colours();
        let mut plan = Plan { reduction: 1.0, ..Plan::default() };
        let (mut colour, scale) = self.networks(&passes, colours, &mut plan)?;
        let mask = match &settings.protect {
            Some(p) => self.mask(&p.mask, passes.is_empty(), &mut notes)?,
            None => None,
        };
        if (settings.faithful > 0.0 || mask.is_some()) && !passes.is_empty() {
            colour = self.with_faithful(colour, scale, colours, mask, &mut plan, &mut notes)?;
        } else {
            self.lock(&mut colour, scale, colours)?;
        }
        plan.colour_lock = settings.colour_lock && scale > 1;
        plan.reduction = factor / scale as f64;
        self.resize(&mut colour, scale, colours, false)?;
        if !image.channels.has_alpha() {
            return Ok((colour, plan, notes));
        }
        let alpha = self.alpha(factor)?;
        let mut both = Chain::new();
        if colour.is_empty() && alpha.is_empty() {
            return Ok((both, plan, notes));
        }
        both.then(Fork::new(vec![(0..colours, colour), (colours..colours + 1, alpha)], stack));
        Ok((both, plan, notes))
    }

    fn why_no_network(&self, factor: f64) -> String {
        let (w, h) = (self.target.width, self.target.height);
        match (factor, self.engine.main()) {
            (f, _) if f < 1.0 - 1e-9 => format!("it is larger than that already: reduced to {w}x{h} px, no network ran"),
            (f, _) if f <= 1.0 + 1e-9 => format!("it has {w}x{h} px already: written again, no network ran"),
            (_, Some(_)) => format!("{w}x{h} px are hardly more than it has: resampled, no network ran"),
            (_, None) => "resampled without a network".into(),
        }
    }

    /// The passes one after the other, and the factor they make together.
    fn networks(&self, passes: &[usize], channels: usize, plan: &mut Plan) -> Result<(Chain<'a>, usize)> {
        let (mut chain, mut scale) = (Chain::new(), 1);
        let parallel = if passes.is_empty() { 1 } else { (self.parallel)(self.engine)? };
        for &i in passes {
            let (w, h) = (self.image.width * scale, self.image.height * scale);
            let grid = self.engine.grid(i, w, h, channels, parallel)?;
            plan.passes.push(self.engine.record(i, &grid)?);
            chain.then(Pass::new(self.engine.network(i)?, self.engine.pool()?, grid, channels, self.stop));
            scale *= self.engine.model(i).manifest.scale as usize;
        }
        Ok((chain, scale))
    }

    /// What is to be protected, if there is anything, and anything to protect it from.
    fn mask(&self, path: &Path, unchanged: bool, notes: &mut Vec<String>) -> Result<Option<Mask>> {
        let source = (self.image.width, self.image.height);
        // Of a result that was cut, only the source tells what lies where.
        let whole = !self.target.crops(source.0, source.1);
        let result = if whole { (self.target.width, self.target.height) } else { source };
        let mask = Mask::open(path, source, result, &self.limits)?;
        let why = match (mask.is_empty(), unchanged) {
            (true, _) => "is black all over: nothing is protected",
            (_, true) => "is of no use: no network ran",
            _ => return Ok(Some(mask)),
        };
        notes.push(format!("the mask {} {why}", path.display()));
        Ok(None)
    }

    /// Takes the source's low frequencies back, if that is wanted.
    fn lock(&self, chain: &mut Chain<'a>, scale: usize, colours: usize) -> Result<()> {
        if self.settings.colour_lock && scale > 1 {
            let source = Arc::clone(self.image);
            let rows = Box::new(move |y0, y1| source.colour(y0, y1));
            chain.then(ColourLock::new(self.image.width, self.image.height, colours, scale, rows)?);
        }
        Ok(())
    }

    /// The same enlarged by faithful networks beside it, mixed in by `settings.faithful`, and taken where the mask says so; with
    /// the colour lock.
    fn with_faithful(
        &self,
        mut chosen: Chain<'a>,
        scale: usize,
        colours: usize,
        mask: Option<Mask>,
        plan: &mut Plan,
        notes: &mut Vec<String>,
    ) -> Result<Chain<'a>> {
        let share = self.settings.faithful;
        let passes = self.engine.faithful_passes(scale as f64);
        let mut record = Plan::default();
        let (mut other, reached) = self.networks(&passes, colours, &mut record)?;
        if record.passes == plan.passes {
            let what = if mask.is_some() { "protect" } else { "blend" };
            notes.push(format!("the chosen network is the faithful one: nothing to {what}"));
            self.lock(&mut chosen, scale, colours)?;
            return Ok(chosen);
        }
        if reached != scale {
            let (w, h) = (self.image.width, self.image.height);
            let scaler = Scaler::new(w * reached, h * reached, w * scale, h * scale, Filter::Lanczos3, None)?.clamp_ringing(RINGING);
            other.then(Resize::new(scaler, colours, Light::Encoded));
        }
        if mask.is_some() {
            plan.protected.clone_from(&record.passes);
        }
        if share > 0.0 {
            plan.passes.extend(record.passes);
            plan.faithful = share;
        }
        let mix = move |parts: &[Band]| {
            let mut out = parts[0].clone();
            for (o, f) in out.data.iter_mut().zip(&parts[1].data) {
                *o += (f - *o) * share;
            }
            out
        };
        let mut both = Chain::new();
        let Some(mask) = mask else {
            both.then(Fork::new(vec![(0..colours, chosen), (0..colours, other)], mix));
            self.lock(&mut both, scale, colours)?;
            return Ok(both);
        };
        // Each is locked by itself: a lock over both would carry the mask's edge as far as it looks, into pixels that nobody
        // asked to change.
        both.then(Fork::new(vec![(0..colours, chosen), (0..colours, other)], stack));
        let (mut first, mut second) = (Chain::new(), Chain::new());
        if share > 0.0 {
            first.then(Fork::new(vec![(0..colours, Chain::new()), (colours..2 * colours, Chain::new())], mix));
        }
        self.lock(&mut first, scale, colours)?;
        self.lock(&mut second, scale, colours)?;
        let taken = if share > 0.0 { 0..2 * colours } else { 0..colours };
        let lay = move |parts: &[Band]| mask.blend(&parts[0], &parts[1], scale);
        both.then(Fork::new(vec![(taken, first), (colours..2 * colours, second)], lay));
        Ok(both)
    }

    /// From what the networks made to the final size, if that differs.
    fn resize(&self, chain: &mut Chain<'a>, scale: usize, channels: usize, alpha: bool) -> Result<()> {
        let Self { image, target, .. } = *self;
        let (w, h) = (image.width * scale, image.height * scale);
        let crops = target.crops(image.width, image.height);
        if (w, h) == (target.width, target.height) && !crops {
            return Ok(());
        }
        let s = scale as f64;
        let [x, y, cw, ch] = target.crop;
        // Rounding must not push the rectangle over the edge.
        let (x, y) = (x * s, y * s);
        let crop = crops.then(|| Crop { x, y, width: (cw * s).min(w as f64 - x), height: (ch * s).min(h as f64 - y) });
        let scaler = Scaler::new(w, h, target.width, target.height, Filter::Lanczos3, crop)?;
        let reduces = target.width as f64 <= cw * s && target.height as f64 <= ch * s;
        let (allowance, light) = match (alpha, reduces) {
            (true, _) => (0.0, Light::Encoded),
            (false, true) => (0.0, Light::Linear(self.transfer())),
            (false, false) => (RINGING, Light::Encoded),
        };
        chain.then(Resize::new(scaler.clamp_ringing(allowance), channels, light));
        Ok(())
    }

    fn transfer(&self) -> Transfer {
        let profile = self.image.metadata.icc.as_deref().and_then(|icc| Profile::from_icc(icc).ok());
        profile.map_or_else(Transfer::srgb, |p| p.transfer_or_srgb())
    }

    /// The stages of an alpha channel: faithful networks for sharp edges, held to what the source has around each pixel, so
    /// that opaque stays opaque and clear stays clear.
    fn alpha(&self, factor: f64) -> Result<Chain<'a>> {
        let image = self.image;
        let last = image.channels.count() - 1;
        let passes = if flat(image, last) { Vec::new() } else { self.engine.faithful_passes(factor) };
        let (mut chain, scale) = self.networks(&passes, 1, &mut Plan::default())?;
        if scale > 1 {
            let source = Arc::clone(image);
            chain.then(Within { source, channel: last, scale });
        }
        self.resize(&mut chain, scale, 1, true)?;
        Ok(chain)
    }
}

/// Whether a channel has one value everywhere.
fn flat(image: &Image, channel: usize) -> bool {
    let n = image.channels.count();
    fn same<T: PartialEq + Copy>(v: &[T], n: usize, c: usize) -> bool {
        v.iter().skip(c).step_by(n).all(|s| *s == v[c])
    }
    match &image.samples {
        Samples::U8(v) => same(v, n, channel),
        Samples::U16(v) => same(v, n, channel),
        Samples::F32(v) => same(v, n, channel),
    }
}

/// Keeps an enlarged channel within the range of the 3 x 3 source pixels around each of its own, and within 0..1.
struct Within {
    source: Arc<Image>,
    channel: usize,
    scale: usize,
}

impl Stage for Within {
    fn push(&mut self, mut band: Band, next: &mut Sink<'_>) -> Result<()> {
        let (s, w, h) = (self.scale, self.source.width, self.source.height);
        let mut limits: Vec<(f32, f32)> = Vec::new();
        let mut of = None;
        for r in 0..band.rows {
            let y = (band.y + r) / s;
            if of != Some(y) {
                of = Some(y);
                let around = self.source.band(y.saturating_sub(1), (y + 2).min(h), self.channel..self.channel + 1);
                limits = (0..w)
                    .map(|x| {
                        let columns = x.saturating_sub(1)..(x + 2).min(w);
                        let near = (0..around.rows).flat_map(|r| &around.row(0, r)[columns.clone()]);
                        near.fold((1.0f32, 0.0f32), |(lo, hi), v| (lo.min(*v), hi.max(*v)))
                    })
                    .collect();
            }
            for (x, v) in band.row_mut(0, r).iter_mut().enumerate() {
                let (lo, hi) = limits[x / s];
                *v = v.max(lo).min(hi);
            }
        }
        next(band)
    }

    fn finish(&mut self, _next: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }
}

/// Dithers the colours of a band before they are rounded to 8 bits; alpha is left alone.
fn dither_rows(band: &mut Band, colours: usize) {
    let y = band.y;
    for c in 0..colours {
        (0..band.rows).for_each(|r| dither(band.row_mut(c, r), 0, y + r, c));
    }
}

#[cfg(test)]
mod tests;
