//! What an inspection needs of the pipeline: decoded pictures, and a faithful enlargement to compare with.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::frame::Frame;
pub use super::mending::NOT_WRITTEN;
use super::mending::{encoded_again, encoding_like, write_mended};
use super::reference::enlarged;
pub use super::reference::{Faithful, RESAMPLED, faithful};
use super::{Look, Observer, Plan, ROWS, display_encode};
use crate::alpha::bleed_alpha;
use crate::band::Band;
use crate::codec::{self, Encoding, Limits};
use crate::error::{Error, Result};
use crate::image::{Image, Samples};
use crate::inspect::repair::{self, Mended, Patches, Repair};
use crate::inspect::strips::{self, Part, Strip};
use crate::inspect::{About, Inspection, Joins, Picture, Scene, Situation, Tier, inspect};
use crate::upscale::engine::Engine;

/// A result, and its source if there is one.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub input: &'a Path,
    pub source: Option<&'a Path>,
    /// The networks that made it of this source, if a journal tells.
    pub plan: Option<&'a Plan>,
    /// How the result was written, if a journal tells; what the file itself tells counts more.
    pub encoding: Option<&'a Encoding>,
    /// What is known of it beyond that; goes into the report.
    pub note: Option<&'a str>,
}

/// How pictures are inspected, and what is done about what is found.
#[derive(Debug, Clone, Default)]
pub struct Care {
    pub tier: Tier,
    pub repair: Repair,
    /// How the result was fitted into its size, if that is known.
    pub frame: Frame,
    /// The file of the mended version; with [`Repair::Auto`] what is made takes its own file and this is not used.
    pub beside: PathBuf,
}

/// Inspects a file, with its source if it has one. If it can be mended and `care` wants that, the mended version is written to
/// `care.beside` (folders are made), in the file's own format, and the report tells of it.
///
/// # Errors
/// What is wrong with either file or with the engine.
pub fn inspect_file(subject: Subject<'_>, engine: &Engine, care: &Care, limits: &Limits, stop: &AtomicBool) -> Result<Inspection> {
    let (result, bytes) = open(subject.input, limits)?;
    let size = (result.width, result.height);
    let mut about = About { input: subject.input.display().to_string(), tier: care.tier, ..About::default() };
    about.dpi = care.frame.dpi().or(result.metadata.dpi.map(|d| d.0));
    about.notes.extend(subject.note.map(str::to_owned));
    let (mut source, mut joins, mut against) = (None, None, Against::Nothing);
    if let Some(path) = subject.source {
        let (image, _) = open(path, limits)?;
        about.source = Some(path.display().to_string());
        if image.metadata.icc != result.metadata.icc {
            about.notes.push("result and source have different colour profiles: colours were compared as they are stored".into());
        }
        let whole = (image.width, image.height);
        let picture = care.frame.cut(Picture::of(&image), size)?;
        against = compared(&mut about, whole, (picture.width, picture.height), size, subject.plan, engine);
        if against != Against::Nothing {
            source = Some(picture);
        }
        if let Some(plan) = subject.plan {
            joins = Some(care.frame.joins(plan, whole, size)?);
        }
    } else {
        about.notes.push("no source: only what shows in the picture itself was looked for".into());
    }
    let made_by = subject.plan.map(made_by).unwrap_or_default();
    let reference = (against == Against::Faithful).then_some(Reference { engine, made_by: &made_by, stop });
    let aside = Aside { source: source.as_ref(), size, joins: joins.as_ref().filter(|_| source.is_some()), reference };
    // What one faithful network made is not mended with another's.
    let own = subject.plan.is_some_and(|plan| ours(plan, engine));
    // Float files were converted for looking at them.
    let mends = care.repair != Repair::Off && source.is_some() && !own && !matches!(result.samples, Samples::F32(_));
    let channels = result.channels.count();
    let strips = strips_of(size, source.as_ref(), mends);
    if let [only] = &strips[..] {
        let scene = aside.scene(Picture::of(&result), &mut about, only)?;
        let by_a_network = about.faithful_model.as_deref().is_some_and(|m| m != RESAMPLED);
        let kept = (mends && by_a_network).then_some(result);
        let first = inspect(&scene, &about);
        let Some(image) = kept else { return Ok(first) };
        let (mut inspection, patches) = aside.mended(scene, first, &about, care.repair)?;
        if !patches.is_empty() {
            let encoding = encoding_like(&image, &bytes, subject.encoding);
            match write_mended(&image, &encoding, &patches, subject.input, &care.beside) {
                Ok(()) => inspection.report.notes.extend(encoded_again(&encoding)),
                // What was found is not lost for that.
                Err(e) => {
                    let _ = std::fs::remove_file(&care.beside);
                    inspection.report.notes.push(format!("{NOT_WRITTEN}{}", e.to_string().replace('\n', " ")));
                }
            }
        }
        return Ok(inspection);
    }
    if mends {
        about.notes.push(TOO_LARGE_TO_MEND.into());
    }
    let mut parts = Vec::new();
    for strip in strips {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let mut picture = Picture::new(size.0);
        for y in strip.rows.clone().step_by(ROWS) {
            picture.push(&result.band(y, (y + ROWS).min(strip.rows.end), 0..channels));
        }
        parts.push(aside.inspected(picture, &mut about, strip)?);
    }
    aside.joined(parts, &about)
}

/// The most pixels of a picture that is mended: it is looked at in one piece.
const MENDED_AT_MOST: usize = 100_000_000;
const TOO_LARGE_TO_MEND: &str = "too large to be mended: it would have to be held in one piece";

/// How a picture is looked at: in one piece if it is small enough, or may be mended.
fn strips_of(size: (usize, usize), source: Option<&Picture>, mends: bool) -> Vec<Strip> {
    let pixels = size.0 * size.1;
    let rows = source.map_or(0, |s| s.height);
    if pixels <= strips::WHOLE || mends && pixels <= MENDED_AT_MOST {
        return vec![Strip { rows: 0..size.1, keep: 0..size.1, source: 0..rows }];
    }
    strips::strips(size, rows)
}

/// Bytes that inspecting a result takes while it is made, beside what making it takes.
pub fn memory(source: (usize, usize), size: (usize, usize), mends: bool) -> u64 {
    /// Planes of the source.
    const SOURCE: u64 = 12;
    /// Planes of the enlargement whose pixels mend.
    const MENDING: u64 = 12;
    let held = strips_of(size, None, mends).iter().map(|s| s.rows.len()).max().unwrap_or(0);
    let each = strips::BYTES + if mends { MENDING } else { 0 };
    (source.0 * source.1) as u64 * SOURCE + (held * size.0) as u64 * each
}

/// The networks that make what a result is compared with.
#[derive(Debug, Clone, Copy)]
struct Reference<'a> {
    engine: &'a Engine,
    /// Hashes of the networks that made the result.
    made_by: &'a [&'a str],
    stop: &'a AtomicBool,
}

/// What is known beside a result, or a strip of it.
#[derive(Debug)]
struct Aside<'a> {
    source: Option<&'a Picture>,
    /// Of the whole result.
    size: (usize, usize),
    joins: Option<&'a Joins>,
    reference: Option<Reference<'a>>,
}

impl Aside<'_> {
    /// Everything there is to look at in a strip, whose rows are `result`; notes in `about` which network it is compared with.
    fn scene(&self, result: Picture, about: &mut About, strip: &Strip) -> Result<Scene> {
        let Some(source) = self.source else { return Ok(Scene::alone(result)) };
        let part = if strip.source.len() == source.height { source.clone() } else { source.rows(strip.source.clone()) };
        let size = (result.width, result.height);
        let faithful = match self.reference {
            Some(Reference { engine, made_by, stop }) => {
                let made = faithful(engine, &part, size, made_by, stop)?;
                about.faithful_model = Some(made.model);
                Some(made.picture)
            }
            None => None,
        };
        let mut scene = Scene::new(result, part)?;
        scene.faithful = faithful;
        scene.joins = self.joins.map(|j| {
            let here = |y: &usize| strip.rows.contains(y).then(|| y - strip.rows.start).filter(|y| *y > 0);
            Joins { x: j.x.clone(), y: j.y.iter().filter_map(here).collect() }
        });
        Ok(scene)
    }

    /// Inspects a strip.
    fn inspected(&self, result: Picture, about: &mut About, strip: Strip) -> Result<(Strip, Inspection)> {
        let scene = self.scene(result, about, &strip)?;
        let part = Some(Part { top: strip.rows.start, size: self.size });
        let inspection = inspect(&scene, &About { part, ..about.clone() });
        Ok((strip, inspection))
    }

    /// Mends what an inspection found; the report tells of it. With [`Repair::Suggest`] it stays about the picture as it is. The
    /// pixels come from the networks that would have made the result, not from the quick one that it is compared with.
    ///
    /// # Errors
    /// As [`repair::mend`].
    fn mended(&self, scene: Scene, first: Inspection, about: &About, how: Repair) -> Result<(Inspection, Patches)> {
        if first.report.findings.is_empty() {
            return Ok((first, Patches::default()));
        }
        let as_it_is = (how == Repair::Suggest).then(|| (first.report.clone(), first.heat.clone()));
        let mut model = about.faithful_model.clone();
        let mut better = || {
            let (Some(source), Some(Reference { engine, made_by, stop })) = (self.source, self.reference) else { return Ok(None) };
            let factor = self.size.0 as f64 / source.width as f64;
            let passes = engine.mending_passes(factor, made_by);
            if factor <= 1.0 || passes == engine.reference_passes(factor, made_by) {
                return Ok(None);
            }
            let made = enlarged(engine, source, self.size, &passes, stop)?;
            model = Some(made.model);
            Ok(Some(made.picture))
        };
        let Mended { mut inspection, patches, regions } = repair::mend(scene, first, about, &mut better)?;
        if let Some((report, heat)) = as_it_is {
            inspection = Inspection { report, heat };
        }
        if !regions.is_empty() {
            inspection.report.repair = Some(repair::Log { mode: how, file: None, model, regions });
        }
        Ok((inspection, patches))
    }

    fn joined(&self, parts: Vec<(Strip, Inspection)>, about: &About) -> Result<Inspection> {
        let scale = self.source.map(|s| (self.size.0 as f32 / s.width as f32).max(1.0));
        strips::joined(parts, self.size, scale, about).ok_or_else(|| Error::Internal("a picture without rows was inspected".into()))
    }
}

/// Watches a picture being made, and inspects it with everything that is known then: source, tile joins, networks.
#[derive(Debug)]
pub struct Watch<'a> {
    engine: &'a Engine,
    stop: &'a AtomicBool,
    care: Care,
    /// For messages.
    input: PathBuf,
    source: Picture,
    plan: Plan,
    size: (usize, usize),
    joins: Joins,
    about: About,
    /// With what the result is compared.
    against: Against,
    /// Rows of the result that are still to be looked at, and the first one's place.
    result: Picture,
    top: usize,
    /// In the order of rows; done ones are taken off.
    strips: VecDeque<Strip>,
    parts: Vec<(Strip, Inspection)>,
    inspected: Option<Inspection>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Against {
    #[default]
    Nothing,
    Source,
    Faithful,
}

impl Observer for Watch<'_> {
    fn begin(&mut self, source: &Image, plan: &Plan, size: (usize, usize)) -> Result<()> {
        let whole = (source.width, source.height);
        self.source = self.care.frame.cut(Picture::of(source), size)?;
        self.plan = plan.clone();
        self.size = size;
        self.joins = self.care.frame.joins(plan, whole, size)?;
        self.about =
            About { source: Some(self.input.display().to_string()), tier: self.care.tier, dpi: self.care.frame.dpi(), ..About::default() };
        self.against = compared(&mut self.about, whole, (self.source.width, self.source.height), size, Some(plan), self.engine);
        let source = (self.against != Against::Nothing).then_some(&self.source);
        self.strips = strips_of(size, source, self.mends()).into();
        if self.strips.len() > 1 && self.care.repair != Repair::Off && !self.own() {
            self.about.notes.push(TOO_LARGE_TO_MEND.into());
        }
        self.result = Picture::new(size.0);
        Ok(())
    }

    fn band(&mut self, band: &Band) -> Result<()> {
        self.result.push(band);
        // One piece is looked at when all of it is there, and nobody waits for it.
        let several = !self.parts.is_empty() || self.strips.len() > 1;
        while several && self.strips.front().is_some_and(|s| s.rows.end <= self.top + self.result.height) {
            self.take_strip()?;
        }
        Ok(())
    }

    fn look(&self) -> Look {
        match self.care.repair {
            Repair::Suggest if self.mends() => Look::Beside(self.care.beside.clone()),
            Repair::Auto if self.mends() => Look::Mend,
            _ => Look::Once,
        }
    }

    fn mend(&mut self) -> Result<Patches> {
        let Some((scene, about)) = self.scene()? else { return Ok(Patches::default()) };
        let first = inspect(&scene, &about);
        let repair = self.care.repair;
        let (inspection, patches) = self.with_aside(|aside| aside.mended(scene, first, &about, repair))?;
        self.source = Picture::default();
        self.inspected = Some(inspection);
        Ok(patches)
    }
}

impl<'a> Watch<'a> {
    /// Watches `input` being enlarged by an engine.
    pub fn new(input: &Path, care: Care, engine: &'a Engine, stop: &'a AtomicBool) -> Self {
        Self {
            engine,
            stop,
            care,
            input: input.to_path_buf(),
            source: Picture::default(),
            plan: Plan::default(),
            size: (0, 0),
            joins: Joins::default(),
            about: About::default(),
            against: Against::default(),
            result: Picture::default(),
            top: 0,
            strips: VecDeque::new(),
            parts: Vec::new(),
            inspected: None,
        }
    }

    /// Inspects what was seen; none if nothing was made (a source that was copied).
    ///
    /// # Errors
    /// As [`super::process`], from making the faithful enlargement.
    pub fn inspect(mut self) -> Result<Option<Inspection>> {
        if let Some(done) = self.inspected.take() {
            return Ok(Some(done));
        }
        if self.parts.is_empty() {
            return Ok(self.scene()?.map(|(scene, about)| inspect(&scene, &about)));
        }
        let (parts, about) = (std::mem::take(&mut self.parts), std::mem::take(&mut self.about));
        self.with_aside(|aside| aside.joined(parts, &about)).map(Some)
    }

    /// Whether networks of our own made it alone, or none.
    fn own(&self) -> bool {
        ours(&self.plan, self.engine)
    }

    /// Whether it may be mended. What one faithful network made is not mended with another's.
    fn mends(&self) -> bool {
        self.care.repair != Repair::Off && !self.own() && self.size.0 * self.size.1 <= MENDED_AT_MOST
    }

    /// What is known beside the result.
    fn with_aside<T>(&self, look: impl FnOnce(&Aside<'_>) -> T) -> T {
        let made_by = made_by(&self.plan);
        let reference =
            (self.against == Against::Faithful).then_some(Reference { engine: self.engine, made_by: &made_by, stop: self.stop });
        let source = (self.against != Against::Nothing).then_some(&self.source);
        look(&Aside { source, size: self.size, joins: source.map(|_| &self.joins), reference })
    }

    /// Looks at the next strip, and forgets what no later one needs.
    fn take_strip(&mut self) -> Result<()> {
        let Some(strip) = self.strips.pop_front() else { return Ok(()) };
        let picture = self.result.rows(strip.rows.start - self.top..strip.rows.end - self.top);
        let next = self.strips.front().map_or(strip.rows.end, |s| s.rows.start);
        self.result.drop_top(next - self.top);
        self.top = next;
        let mut about = std::mem::take(&mut self.about);
        let part = self.with_aside(|aside| aside.inspected(picture, &mut about, strip));
        self.about = about;
        self.parts.push(part?);
        Ok(())
    }

    /// What was seen in one piece, ready to be inspected; leaves nothing behind.
    fn scene(&mut self) -> Result<Option<(Scene, About)>> {
        let (result, mut about) = (std::mem::take(&mut self.result), std::mem::take(&mut self.about));
        let Some(strip) = self.strips.pop_front().filter(|_| result.height > 0) else { return Ok(None) };
        let scene = self.with_aside(|aside| aside.scene(result, &mut about, &strip))?;
        Ok(Some((scene, about)))
    }
}

/// The hashes of the networks of a plan.
fn made_by(plan: &Plan) -> Vec<&str> {
    plan.passes.iter().map(|p| p.sha256.as_str()).collect()
}

/// Whether networks that ship with the program made it alone, or none.
fn ours(plan: &Plan, engine: &Engine) -> bool {
    plan.passes.iter().all(|p| engine.ships(&p.sha256))
}

/// Decides what a result of `size` is compared with, and notes it: its source of size `whole`, of which `source` is the size of the
/// part that it shows; `plan` if this program made it of that.
fn compared(
    about: &mut About,
    whole: (usize, usize),
    source: (usize, usize),
    size: (usize, usize),
    plan: Option<&Plan>,
    engine: &Engine,
) -> Against {
    let passes = plan.map_or(&[][..], |p| &p.passes);
    about.model = (!passes.is_empty()).then(|| passes.iter().map(|p| p.model.as_str()).collect::<Vec<_>>().join("+"));
    if !Scene::sizes_match(size, source) {
        let (w, h) = whole;
        about.situation = Situation::Alone;
        about.notes.push(format!("compared with nothing: its source has {w}x{h} px, another shape, so places do not match"));
        return Against::Nothing;
    }
    about.situation = if plan.is_some() { Situation::Own } else { Situation::Source };
    if source != whole {
        let (w, h) = source;
        about.notes.push(format!("compared with what it shows of its source, {w}x{h} px"));
    }
    let factor = size.0 as f64 / source.0 as f64;
    let made_by = plan.map(made_by).unwrap_or_default();
    if plan.is_none() {
        Against::Faithful
    } else if factor > 1.0 && !passes.is_empty() && engine.reference_passes(factor, &made_by).is_empty() {
        about.notes.push("made by the networks it would be compared with: judged against the source alone".into());
        Against::Source
    } else if factor > 1.0 && engine.main().is_some() {
        Against::Faithful
    } else {
        Against::Source
    }
}

/// Decodes a file as networks see it: upright, display-encoded, colour under clear pixels; and its bytes.
fn open(path: &Path, limits: &Limits) -> Result<(Image, Vec<u8>)> {
    let bytes = std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::input(path, "no such file", ""),
        _ => Error::io(path, e),
    })?;
    let mut image = codec::decode(path, &bytes, limits)?;
    bleed_alpha(&mut image);
    display_encode(&mut image, &mut Vec::new());
    Ok((image, bytes))
}
