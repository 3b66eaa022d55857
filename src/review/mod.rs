//! The review: a folder of results shown to a person, worst first, beside what each was made from.
//!
//! [`Review`] knows the pictures, their reports and the verdicts; [`picture`] cuts tiles out of them; [`server`] shows them in
//! a browser on this machine. Nothing here changes a picture.
//!
//! Over 500 lines because what a picture is and how it is found belong to one type.

pub mod approve;
pub mod export;
pub mod ledger;
pub mod picture;
pub mod queue;
pub mod report;
pub mod server;
pub mod tile;
pub mod verdicts;

use std::collections::{BTreeMap, HashMap};
use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use crate::batch::journal::{self, Record, STATE, State};
use crate::batch::names::{self, Kind};
use crate::batch::{PROOF, hold};
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::inspect::Report;
use crate::pipeline::Settings;
use crate::upscale::size::Size;
use queue::Queue;
use report::Reports;
use verdicts::{Decision, Entry, Verdicts};

/// The folder that `apply` fills with what was approved.
pub const APPROVED: &str = "approved";
/// The folder beside the journal where mended versions of results lie, under the results' names.
pub const MENDED: &str = "repair";
/// The folder beside the journal where heat maps lie, unless somebody says otherwise.
pub const HEAT: &str = "heat";

/// One result under review.
#[derive(Debug, Default)]
pub struct Picture {
    /// Below the folder, as the journal writes paths.
    pub name: String,
    pub path: PathBuf,
    /// Of the file.
    pub sha256: String,
    pub width: usize,
    pub height: usize,
    /// What it was made from, if that is known and still there.
    pub source: Option<Source>,
    /// Another version to take instead.
    pub repair: Option<PathBuf>,
    /// Heat maps by detector.
    pub heat: BTreeMap<String, PathBuf>,
    pub report: Option<Report>,
    /// The report of when it was held, if it was and lies where it was to go since.
    report_held: Option<Report>,
    /// How it was made, if this program made it.
    pub record: Option<Record>,
    pub settings: Option<Settings>,
    /// What was inspected under this name was another file.
    inspected_before: bool,
    generator: OnceLock<String>,
}

/// The picture a result was made from.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    pub width: usize,
    pub height: usize,
    /// Left, top, width, height of the part that the result shows, in pixels of the source.
    pub shown: [f64; 4],
}

impl Picture {
    /// The networks that made it, by id.
    pub fn model(&self) -> String {
        match &self.record {
            None => String::new(),
            Some(r) if r.plan.passes.is_empty() => "none".into(),
            Some(r) => r.plan.passes.iter().map(|p| p.model.as_str()).collect::<Vec<_>>().join(" + "),
        }
    }

    /// The program that generated it, from its source's metadata or its own; empty if nothing says so. Read once.
    pub fn generator(&self) -> &str {
        self.generator.get_or_init(|| {
            let told = |path: &Path| {
                let bytes = std::fs::read(path).ok()?;
                let examined = codec::examine(path, &bytes, &Limits::default()).ok()?;
                codec::generation(&examined.metadata).map(|g| g.generator).filter(|g| !g.is_empty())
            };
            self.source.as_ref().and_then(|s| told(&s.path)).or_else(|| told(&self.path)).unwrap_or_default()
        })
    }
}

/// What is looked at, and where else things may lie.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the sources are, if the journal does not tell: a folder of the same shape.
    pub source: Option<PathBuf>,
    /// Heat maps, mirrored; default the folder `heat` beside the journal.
    pub heat: Option<PathBuf>,
    /// Decides which of the passed pictures are drawn.
    pub seed: u64,
    /// Refuse if another review of this folder is open, and keep others out.
    pub exclusive: bool,
}

/// A folder under review.
#[derive(Debug)]
pub struct Review {
    pub root: PathBuf,
    pub pictures: Vec<Picture>,
    pub queue: Queue,
    /// Two things compared rather than results reviewed: nothing is decided or saved.
    pub compare: bool,
    /// Sentences above the picture, names and commands between backticks.
    pub notices: Vec<String>,
    /// The command to type afterwards.
    pub next: String,
    verdicts: Mutex<Verdicts>,
    _lock: Option<std::fs::File>,
}

impl Review {
    /// Reads the folder: its pictures, journal, reports and verdicts. Nothing is decoded; files that the journal does not
    /// know are hashed.
    ///
    /// # Errors
    /// Usage errors: not a folder, no picture in it, strange state files, another review open.
    pub fn open(root: &Path, options: &Options) -> Result<Self> {
        if !root.is_dir() {
            let what = if root.exists() { "this is a file, not a folder of results" } else { "no such folder" };
            return Err(Error::usage(root.display(), what, "the folder given after -o, or `lastmile compare A B` for two pictures"));
        }
        let lock = if options.exclusive { Some(lock_folder(root)?) } else { None };
        let state = State::load(root, None)?;
        let mut found = walk(root, &state);
        if found.is_empty() {
            return Err(Error::usage(root.display(), "no pictures in there", "the folder given after -o"));
        }
        let mut reports = Reports::load(root)?;
        let notice = reports.notice();
        let records: HashMap<&str, &Record> = state.records().into_iter().map(|r| (r.output.as_str(), r)).collect();
        for p in &mut found {
            if let Ok(real) = p.path.canonicalize() {
                (p.report, p.report_held) = (reports.take(&real), reports.take_moved(&real));
            }
            p.record = records.get(p.name.as_str()).map(|r| (*r).clone());
        }
        let verdicts = Verdicts::load(&root.join(STATE).join("verdicts.json"))?;
        let known = Known { state: &state, journalled: journalled(root)?, verdicts: &verdicts };
        let pictures = each(found, &|p| examine(p, root, &known, options))?;
        let mut notices: Vec<String> = Some(notice).filter(|n| !n.is_empty()).into_iter().collect();
        match pictures.iter().filter(|p| p.inspected_before).count() {
            0 => {}
            n => notices.push(format!(
                "{} since the inspection, whose reports on {} are left out. `lastmile inspect` looks again.",
                if n == 1 { "1 picture was made again".into() } else { format!("{n} pictures were made again") },
                if n == 1 { "it" } else { "them" }
            )),
        }
        let queue = Queue::new(&pictures, options.seed);
        Ok(Self {
            root: root.to_path_buf(),
            pictures,
            queue,
            compare: false,
            notices,
            next: String::new(),
            verdicts: Mutex::new(verdicts),
            _lock: lock,
        })
    }

    /// Two pictures, two folders matched by relative path and stem, or a picture and its namesake in a folder, side by side:
    /// `one` in the place of the source.
    ///
    /// # Errors
    /// Usage errors: nothing to match, a picture that is none.
    pub fn compare(one: &Path, two: &Path) -> Result<Self> {
        let missing = |p: &Path| Error::usage(p.display(), "no such file or folder", "check the spelling; names with spaces need quotes");
        for path in [one, two] {
            if !path.exists() {
                return Err(missing(path));
            }
        }
        let folders = one.is_dir() && two.is_dir();
        let mut all = 1;
        let (root, pairs) = match (one.is_dir(), two.is_dir()) {
            (true, true) => {
                let found = walk(two, &State::default());
                all = found.len();
                let pair = |p: Picture| Some((same_stem(one, Path::new(&journal::decode(&p.name)))?, p.path, p.name));
                (two.to_path_buf(), found.into_iter().filter_map(pair).collect())
            }
            // A picture and a folder: its namesake there.
            (dir, _) => {
                let (file, folder) = if dir { (two, one) } else { (one, two) };
                let name = file.file_name().map(PathBuf::from).unwrap_or_default();
                let (a, b) = match (dir, two.is_dir()) {
                    (false, false) => (one.to_path_buf(), two.to_path_buf()),
                    _ => {
                        let there = same_stem(folder, &name).ok_or_else(|| {
                            let what = format!("no picture called {} in it", name.with_extension("").display());
                            Error::usage(folder.display(), what, "two pictures, or two folders")
                        })?;
                        if dir { (there, file.to_path_buf()) } else { (file.to_path_buf(), there) }
                    }
                };
                let name = journal::encode(b.file_name().map_or(b.as_path(), Path::new));
                (b.parent().map(Path::to_path_buf).unwrap_or_default(), vec![(a, b, name)])
            }
        };
        if pairs.is_empty() {
            let what = match all {
                0 => "no pictures in there".to_string(),
                _ => format!("none of the {all} in it has a namesake in {}", one.display()),
            };
            let hint = "folders of the same shape, whose pictures differ at most in their extensions; or two pictures";
            return Err(Error::usage(two.display(), what, hint));
        }
        let notice = match all - pairs.len() {
            0 => String::new(),
            1 => format!("1 picture in {} has no namesake in {} and is left out.", two.display(), one.display()),
            n => format!("{n} pictures in {} have no namesake in {} and are left out.", two.display(), one.display()),
        };
        let pictures = each(pairs, &|(a, b, name): (PathBuf, PathBuf, String)| {
            let mut p = Picture { sha256: journal::sha256(name.as_bytes()), name, path: b, ..Picture::default() };
            let size = |path: &Path| codec::probe(path, &Limits::default()).map(|h| h.upright());
            match (size(&a), size(&p.path)) {
                (Ok((width, height)), Ok(own)) => {
                    (p.width, p.height) = own;
                    p.source = Some(Source { path: a, width, height, shown: [0.0, 0.0, width as f64, height as f64] });
                }
                // Among many, a damaged one is shown as such.
                (Err(_), _) | (_, Err(_)) if folders => {}
                (Err(e), _) | (_, Err(e)) => return Err(e),
            }
            Ok(p)
        })?;
        let queue = Queue { flagged: (0..pictures.len()).collect(), ..Queue::default() };
        Ok(Self {
            root,
            pictures,
            queue,
            compare: true,
            notices: Some(notice).filter(|n| !n.is_empty()).into_iter().collect(),
            next: String::new(),
            verdicts: Mutex::new(Verdicts::in_memory()),
            _lock: None,
        })
    }

    /// The verdicts as they are now.
    pub fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a person did and saves it at once, unless the person did not know what had been decided meanwhile.
    ///
    /// # Errors
    /// There is no such picture, or saving failed (then nothing changed).
    pub fn decide(&self, said: &Said) -> Result<Heard> {
        let find = |id: &usize| self.pictures.get(*id).ok_or_else(|| Error::usage(id, "no such picture", ""));
        let pictures = said.ids.iter().map(find).collect::<Result<Vec<_>>>()?;
        let mut verdicts = self.verdicts();
        if let (Some(decision), Some(believed)) = (said.decision, said.believed) {
            let stands = |p: &Picture| verdicts.get(&p.sha256).and_then(|e| e.decision);
            let all = said.ids.iter().zip(&pictures).map(|(id, p)| Standing { id: *id, decision: stands(p) });
            // What stands there already needs nobody's consent: it may be this very word, said again because the answer was lost.
            let differ: Vec<Standing> = all.filter(|s| s.decision != believed && s.decision != decision).collect();
            if !differ.is_empty() {
                return Ok(Heard::Differs(differ));
            }
        }
        let mut entries = Vec::with_capacity(pictures.len());
        for p in pictures {
            entries.push((p.sha256.clone(), self.entry(p, verdicts.get(&p.sha256), said)?));
        }
        let told = entries.iter().map(|(_, e)| e.clone()).collect();
        verdicts.set(entries)?;
        Ok(Heard::Noted(told))
    }

    /// Takes over decisions and notes that were made elsewhere, as far as they are about pictures in this folder. What nobody
    /// decided or noted there changes nothing here. `only_look` keeps them to this process.
    pub fn adopt(&self, sent: &Verdicts, only_look: bool) -> Result<Adopted> {
        let mut verdicts = self.verdicts();
        let mut entries = BTreeMap::new();
        let mut adopted = Adopted { sent: sent.all().values().filter(|e| e.decision.is_some()).count(), ..Adopted::default() };
        for p in &self.pictures {
            let Some(told) = sent.get(&p.sha256) else { continue };
            if entries.contains_key(&p.sha256) {
                continue;
            }
            let mut entry = told.clone();
            if let Some(here) = verdicts.get(&p.sha256) {
                adopted.changed += usize::from(told.decision.is_some() && here.decision.is_some_and(|d| Some(d) != told.decision));
                entry.decision = told.decision.or(here.decision);
                if told.note.is_empty() {
                    entry.note.clone_from(&here.note);
                }
                entry.opened |= here.opened;
                entry.seconds = told.seconds.max(here.seconds);
            }
            adopted.taken += usize::from(told.decision.is_some());
            self.describe(p, &mut entry)?;
            entries.insert(p.sha256.clone(), entry);
        }
        if only_look {
            verdicts.forget_file();
        }
        verdicts.set(entries.into_iter().collect())?;
        Ok(adopted)
    }

    fn entry(&self, p: &Picture, before: Option<&Entry>, said: &Said) -> Result<Entry> {
        let mut entry = before.cloned().unwrap_or_default();
        if let Some(decision) = said.decision {
            entry.decision = decision;
        }
        if let Some(note) = &said.note {
            entry.note = note.chars().take(4000).collect();
        }
        entry.opened |= said.opened;
        entry.seconds += said.seconds.filter(|s| s.is_finite()).unwrap_or(0.0).clamp(0.0, 600.0);
        self.describe(p, &mut entry)?;
        Ok(entry)
    }

    /// Fills in how the picture was made.
    fn describe(&self, p: &Picture, entry: &mut Entry) -> Result<()> {
        entry.output.clone_from(&p.name);
        entry.model = p.model();
        entry.settings.clone_from(&p.settings);
        if let Some(r) = &p.record {
            entry.source_sha256.clone_from(&r.source_sha256);
        }
        if let Some(s) = &p.source {
            entry.source = journal::beside(&self.root, &s.path)?;
        }
        Ok(())
    }

    /// Whether a picture of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.pictures.iter().any(|p| p.name == name)
    }

    /// How many pictures have a verdict, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        let verdicts = self.verdicts();
        let decided = |p: &&Picture| verdicts.get(&p.sha256).is_some_and(|e| e.decision.is_some());
        (self.pictures.iter().filter(decided).count(), self.pictures.len())
    }

    /// The same of those that are to be looked at one by one: flagged, or passed and in the sample. All, if none is.
    pub fn to_look_at(&self) -> (usize, usize) {
        let ids = || self.queue.flagged.iter().chain(&self.queue.sample);
        if ids().next().is_none() {
            return self.progress();
        }
        let verdicts = self.verdicts();
        let decided = |i: &&usize| verdicts.get(&self.pictures[**i].sha256).is_some_and(|e| e.decision.is_some());
        (ids().filter(decided).count(), ids().count())
    }

    /// Whether any picture was inspected.
    pub fn inspected(&self) -> bool {
        self.pictures.iter().any(|p| p.report.is_some())
    }

    /// Everything the page has to know.
    pub fn listing(&self) -> Listing {
        let verdicts = self.verdicts();
        let mut earlier: HashMap<&str, Vec<(&String, &Entry)>> = HashMap::new();
        for (sha, e) in verdicts.all() {
            earlier.entry(&e.output).or_default().push((sha, e));
        }
        let card = |(id, p): (usize, &Picture)| Card {
            id,
            name: p.name.clone(),
            version: p.sha256.chars().take(12).collect(),
            sha256: p.sha256.clone(),
            width: p.width,
            height: p.height,
            source: p.source.as_ref().map(|s| [s.width, s.height]),
            repair: p.repair.is_some(),
            heat: p.heat.keys().cloned().collect(),
            model: p.model(),
            report: p.report.clone(),
            entry: verdicts.get(&p.sha256).cloned().unwrap_or_default(),
            before: earlier
                .get(p.name.as_str())
                .and_then(|all| all.iter().find(|(sha, e)| **sha != p.sha256 && e.decision.is_some()))
                .and_then(|(_, e)| e.decision),
        };
        let title = self.root.canonicalize().ok().and_then(|r| r.file_name().map(|n| n.to_string_lossy().into_owned()));
        Listing {
            title: title.unwrap_or_else(|| self.root.display().to_string()),
            compare: self.compare,
            notices: self.notices.clone(),
            next: self.next.clone(),
            queue: self.queue.clone(),
            pictures: self.pictures.iter().enumerate().map(card).collect(),
        }
    }
}

/// What a person did; `None` leaves that part as it was.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct Said {
    /// Which pictures.
    pub ids: Vec<usize>,
    /// `Some(None)` takes a decision back.
    #[serde(deserialize_with = "given")]
    pub decision: Option<Option<Decision>>,
    /// What the person took for decided before; with it, a decision is refused where something else was.
    #[serde(deserialize_with = "given")]
    pub believed: Option<Option<Decision>>,
    pub note: Option<String>,
    /// They were on the screen, one by one.
    pub opened: bool,
    pub seconds: Option<f64>,
}

/// What [`Review::decide`] came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// What is known about the pictures now.
    Noted(Vec<Entry>),
    /// Nothing was changed: about these something else was decided meanwhile.
    Differs(Vec<Standing>),
}

/// What stands decided about a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub id: usize,
    pub decision: Option<Decision>,
}

/// What [`Review::adopt`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adopted {
    /// Decisions that were sent.
    pub sent: usize,
    /// Those of them about files in this folder.
    pub taken: usize,
    /// Those of them that are not what was decided here.
    pub changed: usize,
}

/// Tells `null` from a key that is not there.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Option<Option<Decision>>, D::Error> {
    serde::Deserialize::deserialize(from).map(Some)
}

/// The review as the page reads it.
#[derive(Debug, Serialize)]
pub struct Listing {
    pub title: String,
    pub compare: bool,
    pub notices: Vec<String>,
    pub next: String,
    pub queue: Queue,
    pub pictures: Vec<Card>,
}

/// One picture as the page reads it.
#[derive(Debug, Serialize)]
pub struct Card {
    pub id: usize,
    pub name: String,
    /// Part of the addresses of its tiles.
    pub version: String,
    pub sha256: String,
    pub width: usize,
    pub height: usize,
    pub source: Option<[usize; 2]>,
    pub repair: bool,
    pub heat: Vec<String>,
    pub model: String,
    pub report: Option<Report>,
    pub entry: Entry,
    /// What was decided about an earlier version of this file.
    pub before: Option<Decision>,
}

/// Keeps other reviews of this folder out as long as the file is held.
fn lock_folder(root: &Path) -> Result<std::fs::File> {
    let dir = root.join(STATE);
    let path = dir.join("review.lock");
    let open = || {
        std::fs::create_dir_all(&dir)?;
        std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)
    };
    let file =
        open().map_err(|e| Error::usage(root.display(), format!("verdicts cannot be saved there: {e}"), "a folder that can be written"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::usage(root.display(), "its review is open already", "the page that is open, or end the other review first"))
        }
        Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
    }
}

/// The results in a folder.
#[derive(Debug, Default)]
pub struct Results {
    pub pictures: Vec<PathBuf>,
    /// Links to pictures and folders that are not followed.
    pub links: usize,
}

/// The results in a folder, in order of their names: every picture but hidden ones, what `apply` put aside, and proofs. Links are
/// followed to what a run wrote there, and to nothing else.
///
/// # Errors
/// A journal that cannot be read.
pub fn results(root: &Path) -> Result<Results> {
    let state = State::load(root, None)?;
    let (pictures, links) = walked(root, &state);
    Ok(Results { pictures: pictures.into_iter().map(|p| p.path).collect(), links })
}

/// All pictures below `root`, as [`results`] has them.
fn walk(root: &Path, state: &State) -> Vec<Picture> {
    walked(root, state).0
}

/// The same, and how many links were not followed. A folder that is a link counts once, however much is in it.
fn walked(root: &Path, state: &State) -> (Vec<Picture>, usize) {
    let hidden = |e: &walkdir::DirEntry| e.depth() > 0 && e.file_name().as_encoded_bytes().first() == Some(&b'.');
    let all = walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter().filter_entry(|e| !hidden(e)).flatten();
    let (mut pictures, mut linked, mut left_out) = (Vec::new(), Vec::new(), std::collections::BTreeSet::new());
    for e in all {
        if e.file_type().is_dir() {
            if e.depth() > 0 && e.path_is_symlink() {
                linked.push(e.path().to_path_buf());
            }
            continue;
        }
        let picture = e.file_type().is_file() && matches!(names::kind(e.path()), Kind::Picture(_));
        let (true, Ok(below)) = (picture, e.path().strip_prefix(root)) else { continue };
        let name = journal::encode(below);
        if state.get(&name).next().is_none() {
            let through = linked.iter().find(|dir| e.path().starts_with(dir)).map(PathBuf::as_path);
            if let Some(link) = through.or(e.path_is_symlink().then_some(e.path())) {
                left_out.insert(link.to_path_buf());
                continue;
            }
            if below.starts_with(APPROVED) || below.starts_with(PROOF) {
                continue;
            }
        }
        pictures.push(Picture { name, path: e.path().to_path_buf(), ..Picture::default() });
    }
    (pictures, left_out.len())
}

/// What is known about the pictures of a folder.
struct Known<'a> {
    state: &'a State,
    /// When the journal was written last.
    journalled: Option<SystemTime>,
    verdicts: &'a Verdicts,
}

/// When the journal of a folder was written last, by any part of a job.
fn journalled(root: &Path) -> Result<Option<SystemTime>> {
    let files = journal::state_files(root, "journal", ".jsonl")?;
    Ok(files.iter().filter_map(|f| f.metadata().ok()?.modified().ok()).max())
}

/// Fills in what only the files tell.
fn examine(mut p: Picture, root: &Path, known: &Known<'_>, options: &Options) -> Result<Picture> {
    let state = known.state;
    let meta = std::fs::metadata(&p.path).map_err(|e| Error::io(&p.path, e))?;
    // A file is written before the journal tells of it: a later one may be another.
    let later = meta.modified().ok().zip(known.journalled).is_none_or(|(file, journal)| file > journal);
    let same = |r: &Record| Ok::<_, Error>(r.bytes == meta.len() && (!later || journal::sha256_file(&p.path)? == r.sha256));
    if let Some(r) = &p.record
        && !same(r)?
    {
        p.record = None;
    }
    match &p.record {
        Some(r) => (p.sha256, p.width, p.height) = (r.sha256.clone(), r.width, r.height),
        None => {
            p.sha256 = journal::sha256_file(&p.path)?;
            // Somebody may have moved what was held to its place.
            let held = journal::encode(&hold(&journal::decode(&p.name)));
            p.record = state.get(&held).filter_map(|k| k.done.as_ref()).find(|r| r.sha256 == p.sha256).cloned();
            // A damaged file is shown as such rather than ending the review.
            (p.width, p.height) = codec::probe(&p.path, &Limits::default()).map_or((0, 0), |h| h.upright());
        }
    }
    p.settings = p.record.as_ref().and_then(|r| state.settings(&r.settings)).cloned();
    let below = journal::decode(&p.name);
    // Where the report's repair and maps lie.
    let mut inspected = below.clone();
    let about_another = |r: &Report| r.result_sha256.as_ref().is_some_and(|sha| *sha != p.sha256);
    let about_it = |r: &Report| r.result_sha256.as_ref() == Some(&p.sha256);
    if p.report.as_ref().is_none_or(about_another) {
        let held = p.report_held.take().filter(about_it);
        p.inspected_before = p.report.is_some() && held.is_none();
        if held.is_some() {
            inspected = hold(&below);
        }
        p.report = held;
    }
    p.source = source(&p, root, &below, options).or_else(|| reviewed_with(&p, root, known.verdicts)).and_then(|path| {
        let (width, height) = codec::probe(&path, &Limits::default()).ok()?.upright();
        Some(Source { path, width, height, shown: shown(width, height, p.settings.as_ref()) })
    });
    let repair = root.join(STATE).join(MENDED).join(&inspected);
    p.repair = repair.is_file().then_some(repair);
    if !p.inspected_before {
        let heat = options.heat.clone().unwrap_or_else(|| root.join(STATE).join(HEAT));
        p.heat = heat_maps(&heat, &inspected);
    }
    Ok(p)
}

/// The source beside which a picture was reviewed, if it still is the file that the picture was made from.
fn reviewed_with(p: &Picture, root: &Path, verdicts: &Verdicts) -> Option<PathBuf> {
    let e = verdicts.get(&p.sha256).filter(|e| !e.source.is_empty() && !e.source_sha256.is_empty())?;
    let path = root.join(journal::decode(&e.source));
    (path.is_file() && journal::sha256_file(&path).ok()? == e.source_sha256).then_some(path)
}

fn source(p: &Picture, root: &Path, below: &Path, options: &Options) -> Option<PathBuf> {
    if let Some(dir) = &options.source {
        return same_stem(dir, below);
    }
    let journalled = p.record.as_ref().filter(|r| !r.source.is_empty()).map(|r| root.join(journal::decode(&r.source)));
    journalled.filter(|s| s.is_file()).or_else(|| {
        let told = PathBuf::from(p.report.as_ref()?.source.as_ref()?);
        let real = root.canonicalize().ok()?;
        let places = std::iter::once(told.clone()).chain(real.ancestors().map(|a| a.join(&told)));
        let mut files = places.map(|at| if at.is_dir() { same_stem(&at, below).unwrap_or(at) } else { at });
        files.find(|f| f.is_file())
    })
}

/// The part of a source that the result shows.
fn shown(width: usize, height: usize, settings: Option<&Settings>) -> [f64; 4] {
    let whole = [0.0, 0.0, width as f64, height as f64];
    match settings {
        Some(s) if s.size != Size::Model => s.size.target(width, height, s.fit, 1.0).map_or(whole, |t| t.crop),
        _ => whole,
    }
}

/// The picture in `dir` with the folder and stem of `below`, whatever its extension.
fn same_stem(dir: &Path, below: &Path) -> Option<PathBuf> {
    let exact = dir.join(below);
    if exact.is_file() {
        return Some(exact);
    }
    let stem = below.file_stem()?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(exact.parent()?).ok()?.flatten().map(|e| e.path()).collect();
    files.sort();
    files.into_iter().find(|f| f.file_stem() == Some(stem) && f.is_file() && matches!(names::kind(f), Kind::Picture(_)))
}

/// The heat maps of the picture that lies `below`, in the folder `heat`, by detector: `<file name>.<detector>.png`, as they are called
/// where two pictures have one stem, else `<stem>.<detector>.png`.
pub fn heat_maps(heat: &Path, below: &Path) -> BTreeMap<String, PathBuf> {
    let folder = heat.join(below.parent().unwrap_or(Path::new("")));
    let Ok(entries) = std::fs::read_dir(&folder) else { return BTreeMap::new() };
    let (mut whole, mut short) = (BTreeMap::new(), BTreeMap::new());
    let detector = |name: &str, of: Option<&std::ffi::OsStr>| {
        let detector = name.strip_prefix(of?.to_str()?)?.strip_prefix('.')?.strip_suffix(".png")?;
        let plain = !detector.is_empty() && detector.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        plain.then(|| detector.to_owned())
    };
    for e in entries.flatten() {
        let Ok(name) = e.file_name().into_string() else { continue };
        if let Some(detector) = detector(&name, below.file_name()) {
            whole.insert(detector, e.path());
        } else if let Some(detector) = detector(&name, below.file_stem()) {
            short.insert(detector, e.path());
        }
    }
    if whole.is_empty() { short } else { whole }
}

/// Maps on all cores, keeping the order; the first error in order counts.
fn each<T: Send + Default, U: Send>(items: Vec<T>, map: &(dyn Fn(T) -> Result<U> + Sync)) -> Result<Vec<U>> {
    let n = items.len();
    let items: Vec<Mutex<T>> = items.into_iter().map(Mutex::new).collect();
    let out: Vec<Mutex<Option<Result<U>>>> = (0..n).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, |c| c.get()).min(n.max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(i) else { return };
                    let item = std::mem::take(&mut *item.lock().unwrap_or_else(PoisonError::into_inner));
                    *out[i].lock().unwrap_or_else(PoisonError::into_inner) = Some(map(item));
                }
            });
        }
    });
    let result = |m: Mutex<Option<Result<U>>>| m.into_inner().unwrap_or_else(PoisonError::into_inner);
    out.into_iter().map(|m| result(m).unwrap_or_else(|| Err(Error::Internal("a thread was lost".into())))).collect()
}
