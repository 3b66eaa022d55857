//! Many pictures in one run, in a way that survives anything.
//!
//! [`plan::plan`] turns paths into jobs, [`Batch::open`] compares them with the journal, and [`Batch::run`] works on what is left:
//! several jobs at once, each on a thread of its own. A job reads its source, makes a temp file in `OUT/.lastmile/tmp`, announces
//! it in the journal and renames it. A job that fails or panics fails alone; a device that fails stops the run.
//!
//! Over 500 lines because a run is one story: what is there, what is made, how it becomes final, what is said.

mod commit;
pub mod events;
pub mod hot;
mod inspected;
pub mod journal;
pub mod masks;
pub mod names;
pub mod plan;
pub mod shard;
mod triage;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::codec::{self, Keep, Limits};
use crate::error::{Error, Exit, Result};
use crate::inspect::Report;
use crate::pipeline::delivery::{Extra, Made};
use crate::pipeline::master::Master;
use crate::pipeline::{Done, Hooks, Job, Settings};
use crate::upscale::network;
use events::{End, Event, Failure, FileEvent, Listener, Start, Status};
use journal::{Journal, Record, STATE};
use plan::{Item, Planned};
use triage::Verdict;
pub use triage::hold;

/// The folder of masters ([`Master`]) inside [`STATE`].
pub const MASTERS: &str = "masters";
/// The folder inside an output folder for files that missed a gate.
pub const HOLD: &str = "_hold";
/// The folder inside an output folder for a proof: a few pictures and a page that shows them before and after.
pub const PROOF: &str = "_proof";

/// Makes one picture; the pipeline in the program, a fake in tests.
pub trait Process: Sync {
    fn process(&self, job: Job<'_>, hooks: Hooks<'_>) -> Result<Done>;
}

impl<F: Fn(Job<'_>, Hooks<'_>) -> Result<Done> + Sync> Process for F {
    fn process(&self, job: Job<'_>, hooks: Hooks<'_>) -> Result<Done> {
        self(job, hooks)
    }
}

/// How a batch is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// For every file; the format in `encoding` is replaced by the item's, quality 0 by the format's default.
    pub settings: Settings,
    /// For files that need others: [`Item::variant`] says which.
    pub variants: Vec<Settings>,
    pub limits: Limits,
    /// Everything about the networks that decides pixels (hashes, tile mode, precision); part of each file's key.
    pub model: String,
    /// Files in flight, at least 1.
    pub jobs: usize,
    /// Bytes that the files in flight may take together, by estimate. One file is always let in.
    pub memory: u64,
    /// Keep what the networks made, in [`MASTERS`], so that another quality, format or look needs none.
    pub keep_master: bool,
    /// Replace files that are not ours, and results of other sources.
    pub overwrite: bool,
    /// Only what failed last time.
    pub retry_failed: bool,
    /// A hot folder, where sources come and go: what stands in the way of an output, or was made from another source, fails that
    /// one file.
    pub hot: bool,
    /// A person rejected what is there: results stand in for it from now on, also when it is asked for again.
    pub instead: bool,
    /// Results are inspected: those that are there without a report are made again.
    pub inspects: bool,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Summary {
    pub done: usize,
    pub skipped: usize,
    pub failed: usize,
    /// Not reached because the run was stopped.
    pub left: usize,
    pub seconds: f64,
    /// Pixels and bytes of the outputs made in this run.
    pub pixels: u64,
    pub bytes: u64,
    /// Outputs whose source had a C2PA manifest, which is kept beside them.
    pub c2pa: usize,
    pub failures: Vec<Failure>,
    /// What there is to know about outputs of this run, in the order in which it came up.
    pub notes: Vec<Noted>,
    /// Outputs that missed a gate and lie in [`HOLD`], those of earlier runs included, each with the reason.
    pub held: Vec<(PathBuf, String)>,
    /// Results of earlier runs, from the output folder, that are there but whose sources are not. They are kept.
    pub orphans: Vec<PathBuf>,
    /// Outputs that were inspected, in this run or in `inspected_before` cases earlier; those of them with findings; and whether one
    /// of these is bad enough to be a reason to fail.
    pub inspected: usize,
    pub inspected_before: usize,
    pub flagged: usize,
    pub gated: bool,
    pub interrupted: bool,
    /// What stopped the run, if not the user: a device, the runtime, a model, the journal.
    pub fatal: Option<Error>,
}

/// A note that one or more outputs have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// In the words of the first one.
    pub text: String,
    /// The text without its numbers. Kept, because ten thousand files may have as many notes to compare with.
    pub shape: String,
    pub files: usize,
    /// Whether others have it with other numbers.
    pub differ: bool,
}

impl Summary {
    /// Counts the notes of an output; those that differ in numbers alone are counted together.
    pub fn note(&mut self, notes: &[String]) {
        for text in notes {
            let shape: String = text.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect();
            match self.notes.iter_mut().find(|n| n.shape == shape) {
                Some(known) => {
                    known.files += 1;
                    known.differ |= known.text != *text;
                }
                None => self.notes.push(Noted { text: text.clone(), shape, files: 1, differ: false }),
            }
        }
    }

    /// 130, then what stopped the run, then 3 for failed files, then 4 for gates.
    pub fn exit(&self) -> Exit {
        match &self.fatal {
            _ if self.interrupted => Exit::Interrupted,
            Some(e) => e.exit(),
            None if self.failed > 0 => Exit::Failed,
            None if self.gated || !self.held.is_empty() => Exit::Gate,
            None => Exit::Done,
        }
    }
}

/// A run that is ready to begin.
#[derive(Debug)]
pub struct Batch {
    planned: Planned,
    options: Options,
    /// `None` for a preview, which writes nothing.
    journal: Option<Mutex<Journal>>,
    /// Indices into `planned.items`, in order.
    todo: Vec<usize>,
    skipped: Vec<(usize, Record)>,
    /// Outputs that `--overwrite` lets us replace, or ours: those that existed when the run began.
    existing: Vec<bool>,
    /// Why an item will fail, by index; only in hot folders.
    blocked: HashMap<usize, String>,
    /// Reports on what is there already and stays, if results are inspected.
    reports: Vec<Report>,
    /// How many of `todo` are there already and only lack a report.
    uninspected: usize,
    /// Results of earlier runs, from the output folder, that are there but whose sources are not.
    orphans: Vec<PathBuf>,
}

impl Batch {
    /// Locks the output folder, sweeps it of temp files and finds out what is left to do. Loads no runtime and decodes nothing.
    ///
    /// # Errors
    /// Usage errors: another run works there; files that are not ours, or results of other sources, stand where outputs shall go and
    /// `overwrite` is off.
    pub fn open(planned: Planned, options: Options) -> Result<Self> {
        let journal = Journal::open(&planned.root, planned.shard.as_ref())?;
        sweep(&planned)?;
        Self::ready(planned, options, Some(journal))
    }

    /// The same without writing anything; such a batch cannot be run.
    pub fn preview(planned: Planned, options: Options) -> Result<Self> {
        Self::ready(planned, options, None)
    }

    fn ready(planned: Planned, options: Options, mut journal: Option<Journal>) -> Result<Self> {
        let loaded;
        let state = match &journal {
            Some(j) => j.state(),
            None => {
                loaded = journal::State::load(&planned.root, planned.shard.as_ref())?;
                &loaded
            }
        };
        let verdicts = triage::triage(&planned, &options, state)?;
        let only = if options.retry_failed { Some(events::read_failed(&planned.root)?) } else { None };
        let inspected = if options.inspects { inspected::Inspected::load(&planned.root)? } else { Default::default() };
        let chosen = |record: &Record| !options.instead && (record.approved || !record.instead_of.is_empty());
        let lacking = if options.inspects { inspected.missing(&planned.items, &verdicts, &chosen) } else { HashSet::new() };
        let mut batch = Self {
            existing: vec![false; planned.items.len()],
            planned,
            options,
            journal: None,
            todo: Vec::new(),
            skipped: Vec::new(),
            blocked: HashMap::new(),
            reports: Vec::new(),
            uninspected: 0,
            orphans: Vec::new(),
        };
        if !batch.options.hot {
            batch.orphans = triage::orphans(&batch.planned, state);
        }
        let (mut foreign, mut others) = (Vec::new(), Vec::new());
        let mut recovered = Vec::new();
        for (i, verdict) in verdicts.into_iter().enumerate() {
            let item = &batch.planned.items[i];
            if let Verdict::Same { record, .. } = &verdict
                && !lacking.contains(&i)
            {
                batch.reports.extend(inspected.of(record).cloned());
            }
            if only.as_ref().is_some_and(|o| !o.contains(&journal::encode(&item.output))) {
                continue;
            }
            batch.existing[i] = !matches!(verdict, Verdict::New);
            match verdict {
                Verdict::Same { record, pending } => {
                    if pending {
                        recovered.push((*record).clone());
                        if journal.is_some() {
                            batch.take_c2pa_along(&record)?;
                        }
                    }
                    if lacking.contains(&i) {
                        batch.uninspected += 1;
                        batch.todo.push(i);
                        continue;
                    }
                    batch.skipped.push((i, *record));
                }
                Verdict::Foreign if !batch.options.overwrite && !batch.options.hot => foreign.push(batch.planned.root.join(&item.output)),
                Verdict::Foreign if !batch.options.overwrite => {
                    batch.blocked.insert(i, "was not made by this program, or changed since".into());
                    batch.todo.push(i);
                }
                Verdict::Other(source) if !batch.options.overwrite && !batch.options.hot => {
                    others.push((batch.planned.root.join(&item.output), journal::place(&batch.planned.root, &source)));
                }
                Verdict::Other(source) if !batch.options.overwrite => {
                    batch.blocked.insert(i, format!("was made from {}", journal::place(&batch.planned.root, &source).display()));
                    batch.todo.push(i);
                }
                Verdict::New | Verdict::Ours | Verdict::Other(_) | Verdict::Foreign => batch.todo.push(i),
            }
        }
        if let Some(what) = in_the_way(&foreign, &others) {
            return Err(Error::usage(batch.planned.root.display(), what, "--overwrite to replace them, or another folder after -o"));
        }
        if let Some(j) = journal.as_mut().filter(|_| !recovered.is_empty()) {
            j.adopt(&recovered)?;
        }
        batch.journal = journal.map(Mutex::new);
        Ok(batch)
    }

    /// The C2PA manifest of an approved file goes where a person moved the file.
    fn take_c2pa_along(&self, record: &Record) -> Result<()> {
        let output = journal::decode(&record.output);
        let [from, to] = [hold(&output), output].map(|path| codec::sidecar(&self.planned.root.join(path)));
        if record.approved && record.c2pa && from.is_file() && !to.exists() {
            std::fs::rename(&from, &to).map_err(|e| Error::output(&to, format!("it cannot be written: {e}"), ""))?;
        }
        Ok(())
    }

    /// The output folder.
    pub fn root(&self) -> &Path {
        &self.planned.root
    }

    /// What is left to do, in order.
    pub fn todo(&self) -> impl ExactSizeIterator<Item = &Item> {
        self.todo.iter().map(|i| &self.planned.items[*i])
    }

    /// The first item of every source that is left to do, in order: each stands for all that are made of it.
    pub fn leads(&self) -> impl Iterator<Item = &Item> {
        units(&self.planned.items, &self.todo).into_iter().map(|u| &self.planned.items[self.todo[u.start]])
    }

    /// The device that the latest of the outputs that are there already was made on, if a network ran.
    pub fn earlier_device(&self) -> Option<&str> {
        self.skipped.iter().rev().find_map(|(_, r)| r.plan.passes.first()).map(|p| p.device.as_str())
    }

    /// How many outputs are there already, made from the same source with the same settings.
    pub fn skipped(&self) -> usize {
        self.skipped.len()
    }

    /// Reports on outputs that are there already and stay.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// How many outputs are there already and are made again because nothing inspected them.
    pub fn uninspected(&self) -> usize {
        self.uninspected
    }

    /// The settings of an item, everything that its format leaves out filled in.
    ///
    /// # Errors
    /// A mask that cannot be read.
    pub fn settings(&self, item: &Item) -> Result<Settings> {
        Ok(triage::settings(&self.options, item)?.0)
    }

    /// The jobs among [`Batch::leads`] that need no network, because what it made of their source was kept.
    pub fn mastered(&self) -> HashSet<usize> {
        if !self.planned.root.join(STATE).join(MASTERS).is_dir() {
            return HashSet::new();
        }
        let kept = |item: &Item| -> Result<bool> {
            let (settings, _) = triage::settings(&self.options, item)?;
            let name = journal::beside(&self.planned.root, &item.source)?;
            // Sources are large; most have none.
            if !self.master(&name, "", &settings)?.exists() {
                return Ok(false);
            }
            Ok(self.master(&name, &journal::sha256_file(&item.source)?, &settings)?.is_kept())
        };
        // What cannot be read fails when its turn comes.
        self.leads().filter(|item| kept(item).unwrap_or(false)).map(|item| item.job).collect()
    }

    /// Where what the networks make of a source is kept, and what it depends on.
    fn master(&self, source_name: &str, source_sha256: &str, settings: &Settings) -> Result<Master> {
        let enlarging = settings.enlarging().map_err(|e| Error::Internal(format!("settings: {e}")))?;
        Ok(Master {
            // One for each source, so that those of settings that were tried and dropped do not pile up.
            path: self.planned.root.join(STATE).join(MASTERS).join(journal::sha256(source_name.as_bytes())),
            key: journal::key(source_sha256, &journal::sha256(&enlarging), &self.options.model),
            keep: self.options.keep_master,
        })
    }

    /// Works on everything that is left. `estimate` tells the bytes of memory that a source (its file's bytes are given) will
    /// take while it is worked on. Setting `stop` ends the run soon, leaving only whole files.
    ///
    /// # Errors
    /// Only what concerns the run as a whole before work; the rest is in the [`Summary`].
    pub fn run(
        self,
        start: Start,
        process: &dyn Process,
        estimate: &(dyn Fn(&Item, &[u8]) -> u64 + Sync),
        listener: &dyn Listener,
        stop: &AtomicBool,
    ) -> Result<Summary> {
        let clock = Instant::now();
        let Some(journal) = &self.journal else {
            return Err(Error::Internal("a preview was run".into()));
        };
        listener.event(&Event::Start(start.clone()));
        let (decoded, tiles) = (codec::decoded(), network::tiles());
        let mut summary = Summary { skipped: self.skipped.len(), orphans: self.orphans.clone(), ..Summary::default() };
        for (i, record) in &self.skipped {
            summary.held.extend(record.held.clone().map(|why| (self.planned.root.join(journal::decode(&record.output)), why)));
            listener.event(&Event::File(Box::new(FileEvent::skipped(&self.planned, &self.planned.items[*i], record))));
        }
        let run = Run {
            batch: &self,
            journal,
            process,
            estimate,
            listener,
            stop,
            units: units(&self.planned.items, &self.todo),
            next: AtomicUsize::new(0),
            gate: Gate { used: Mutex::new(0), freed: Condvar::new(), limit: self.options.memory },
            summary: Mutex::new(Summary::default()),
            settled: Mutex::new(HashSet::new()),
            start: &start,
        };
        let tmp = tmp(&self.planned);
        if !self.todo.is_empty() {
            std::fs::create_dir_all(&tmp).map_err(|e| Error::io(&tmp, e))?;
        }
        let (commits, queue) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let committer = scope.spawn(|| {
                if let Err(e) = commit::run(queue, journal) {
                    run.abort(e);
                }
            });
            let n = self.options.jobs.clamp(1, run.units.len().max(1));
            let mut workers = Vec::new();
            for k in 0..n {
                let (run, commits) = (&run, commits.clone());
                let spawned = std::thread::Builder::new().name(format!("job-{k}")).spawn_scoped(scope, move || run.work(&commits));
                match spawned {
                    Ok(w) => workers.push(w),
                    Err(e) if workers.is_empty() => run.abort(Error::Internal(format!("no thread: {e}"))),
                    Err(_) => break,
                }
            }
            for w in workers {
                let _ = w.join();
            }
            drop(commits);
            let _ = committer.join();
        });
        let mut settled = run.settled.into_inner().unwrap_or_else(PoisonError::into_inner);
        let worked = run.summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.held.extend(worked.held.iter().cloned());
        summary.held.sort();
        summary = Summary { skipped: summary.skipped, held: summary.held, orphans: summary.orphans, ..worked };
        summary.failures.sort_by_key(|f| f.job);
        summary.left = self.todo.len() - summary.done - summary.failed;
        summary.interrupted = summary.left > 0 && summary.fatal.is_none() && stop.load(Ordering::Relaxed);
        summary.seconds = clock.elapsed().as_secs_f64();
        sweep(&self.planned)?;
        // Failures of earlier runs stay listed until their file came out well or failed again.
        settled.extend(self.skipped.iter().map(|(_, r)| r.output.clone()));
        if let Err(e) = events::write_failed(&self.planned, &summary.failures, &settled) {
            // On a full disk the list cannot be written either; the summary still tells.
            summary.fatal.get_or_insert(e);
        }
        let Summary { done, skipped, failed, seconds, .. } = summary;
        let (decoded, tiles) = (codec::decoded() - decoded, network::tiles() - tiles);
        let (held, orphans) = (summary.held.len(), summary.orphans.len());
        let end = End { done, skipped, failed, held, flagged: 0, orphans, decoded, tiles, seconds };
        listener.event(&Event::End(end));
        Ok(summary)
    }
}

/// What would be lost: files of others, and results of other sources, of which several are named, as each may have been paid for.
fn in_the_way(foreign: &[PathBuf], others: &[(PathBuf, PathBuf)]) -> Option<String> {
    const NAMED: usize = 5;
    let files = |n: usize| if n == 1 { "1 file".to_string() } else { format!("{n} files") };
    let mut all = Vec::new();
    if let Some(first) = foreign.first() {
        let n = files(foreign.len());
        all.push(format!("{n} would be overwritten that this program did not make or that changed since, first {}", first.display()));
    }
    if !others.is_empty() {
        let mut named: Vec<String> =
            others.iter().take(NAMED).map(|(output, source)| format!("{} from {}", output.display(), source.display())).collect();
        named.extend(others.len().checked_sub(NAMED).filter(|n| *n > 0).map(|n| format!("and {n} more")));
        let made = if others.len() == 1 { "was made from another source" } else { "were made from other sources" };
        all.push(format!("{} would be overwritten that {made}: {}", files(others.len()), named.join(", ")));
    }
    (!all.is_empty()).then(|| all.join("; "))
}

fn tmp(planned: &Planned) -> PathBuf {
    planned.root.join(STATE).join(journal::state_name("tmp", planned.shard.as_ref(), ""))
}

/// Removes temp files that a killed run left, and their folder; a run of the whole also those of parts.
fn sweep(planned: &Planned) -> Result<()> {
    let all = if planned.shard.is_some() { vec![tmp(planned)] } else { journal::state_files(&planned.root, "tmp", "")? };
    for dir in all {
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&dir, e)),
            _ => {}
        }
    }
    Ok(())
}

/// What the workers share.
struct Run<'a> {
    batch: &'a Batch,
    journal: &'a Mutex<Journal>,
    process: &'a dyn Process,
    estimate: &'a (dyn Fn(&Item, &[u8]) -> u64 + Sync),
    listener: &'a dyn Listener,
    stop: &'a AtomicBool,
    /// Ranges of `todo` that are made together.
    units: Vec<Range<usize>>,
    next: AtomicUsize,
    gate: Gate,
    summary: Mutex<Summary>,
    /// Outputs that were made or failed, as the journal writes them.
    settled: Mutex<HashSet<String>>,
    start: &'a Start,
}

impl Run<'_> {
    /// Takes jobs until there are none or the run is stopped.
    fn work(&self, commits: &commit::Sender) {
        while !self.stop.load(Ordering::Relaxed) {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(unit) = self.units.get(n) else { return };
            let unit = &self.batch.todo[unit.clone()];
            let items: Vec<&Item> = unit.iter().map(|i| &self.batch.planned.items[*i]).collect();
            let clock = Instant::now();
            self.listener.begin(items[0]);
            let temps: Vec<PathBuf> = items.iter().map(|i| tmp(&self.batch.planned).join(format!("{}", i.job))).collect();
            let made = catch_unwind(AssertUnwindSafe(|| self.make(unit, &items, &temps, commits))).unwrap_or_else(|p| Err(panicked(&*p)));
            match made {
                Ok(records) => {
                    for ((item, temp), record) in items.into_iter().zip(&temps).zip(records) {
                        let record = record.map_err(|e| self.full(e));
                        if record.is_err() {
                            let _ = std::fs::remove_file(temp);
                        }
                        self.report(item, record, clock.elapsed());
                    }
                }
                Err(e) => {
                    let e = self.full(e);
                    temps.iter().for_each(|t| drop(std::fs::remove_file(t)));
                    for item in &items[1..] {
                        self.report(item, Err(e.again()), clock.elapsed());
                    }
                    self.report(items[0], Err(e), clock.elapsed());
                }
            }
        }
    }

    /// Makes all files of one source: an error is about all of them.
    fn make(&self, unit: &[usize], items: &[&Item], temps: &[PathBuf], commits: &commit::Sender) -> Result<Vec<Result<Record>>> {
        let options = &self.batch.options;
        let (index, item, temp) = (unit[0], items[0], temps[0].as_path());
        let bytes = read(&item.source)?;
        for (index, item) in unit.iter().zip(items) {
            let output = self.batch.planned.root.join(&item.output);
            if let Some(why) = self.batch.blocked.get(index) {
                let what = format!("what stands at {} {why}; it is kept", output.display());
                return Err(Error::input(&item.source, what, "another name for the source, or --name '{stem}_{ext}'"));
            }
            if output.is_dir() {
                return Err(Error::output(&output, "a folder stands where this file shall go", "move the folder away, or --name"));
            }
        }
        let source_sha256 = journal::sha256(&bytes);
        let Some(_admitted) = self.gate.enter((self.estimate)(item, &bytes), self.stop) else {
            return Err(Error::Interrupted);
        };
        let wanted = items.iter().map(|i| triage::settings(options, i)).collect::<Result<Vec<_>>>()?;
        let (settings, hashes): (Vec<Settings>, Vec<String>) = wanted.into_iter().unzip();
        let progress = |share: f64| self.listener.progress(item, share);
        let source_name = journal::beside(&self.batch.planned.root, &item.source)?;
        let master = self.batch.master(&source_name, &source_sha256, &settings[0])?;
        let others = temps.iter().zip(&settings).skip(1);
        let extra = others.map(|(temp, settings)| Extra { output: temp.clone(), settings: settings.clone() }).collect();
        let (first, limits) = (&settings[0], options.limits);
        let job = Job { source: &item.source, bytes, output: temp, settings: first, limits, master: Some(master), extra };
        let waiting = self.units.len().saturating_sub(self.next.load(Ordering::Relaxed));
        let mut done = self.process.process(job, Hooks { stop: self.stop, progress: &progress, observer: None, waiting, card: None })?;
        if done.extra.len() + 1 != items.len() {
            return Err(Error::Internal(format!("{} files were made of {}", done.extra.len() + 1, items.len())));
        }
        let mut c2pa = false;
        // It may say what was to be left out, and cannot be thinned.
        let filtered = settings.iter().any(|s| s.metadata.keep != Keep::All || !s.metadata.strip.is_empty());
        if filtered && done.c2pa.take().is_some() {
            done.notes.push(
                "its Content Credentials (C2PA manifest) are lost, also from beside the result: they may say what was to be left out"
                    .into(),
            );
        }
        if done.c2pa.is_none() {
            self.drop_c2pa(&item.output)?;
        }
        if let Some(store) = &done.c2pa {
            let place = if done.held.is_some() { hold(&item.output) } else { item.output.clone() };
            let beside = self.keep_c2pa(index, &self.batch.planned.root.join(place), store)?;
            c2pa = true;
            let name = beside.file_name().unwrap_or_default().display();
            done.notes.push(format!("its C2PA manifest is kept beside the result as {name}"));
        }
        let all = std::iter::once(Made { width: done.width, height: done.height, bytes: done.bytes, notes: done.notes, held: done.held })
            .chain(done.extra);
        let records = all.zip(hashes).enumerate().map(|(i, (made, hash))| {
            let (item, temp) = (items[i], &temps[i]);
            let output = if made.held.is_some() { hold(&item.output) } else { item.output.clone() };
            let record = Record {
                key: journal::key(&source_sha256, &hash, &options.model),
                output: journal::encode(&output),
                sha256: journal::sha256_file(temp)?,
                bytes: std::fs::metadata(temp).map_err(|e| Error::io(temp, e))?.len(),
                width: made.width,
                height: made.height,
                source: source_name.clone(),
                source_sha256: source_sha256.clone(),
                settings: hash,
                model: options.model.clone(),
                pixels: journal::PIXELS,
                plan: done.plan.clone(),
                c2pa: c2pa && i == 0,
                instead_of: self.replaced(&journal::encode(&output)),
                held: made.held,
                approved: false,
                notes: made.notes,
            };
            self.place(unit[i], item, temp, &output, record, &settings[i], commits)
        });
        Ok(records.collect())
    }

    /// Announces a finished file and renames it to where it belongs.
    #[allow(clippy::too_many_arguments)]
    fn place(
        &self,
        index: usize,
        item: &Item,
        temp: &Path,
        below: &Path,
        record: Record,
        settings: &Settings,
        commits: &commit::Sender,
    ) -> Result<Record> {
        let root = &self.batch.planned.root;
        let output = root.join(below);
        if let Some(dir) = output.parent() {
            std::fs::create_dir_all(dir).map_err(|e| Error::output(dir, format!("the folder cannot be created: {e}"), ""))?;
        }
        if !self.is_free(below)? {
            let what = match self.batch.existing[index] {
                true => "this file was changed while the run went on, and is kept",
                false => "this file appeared while the run went on, and is kept",
            };
            return Err(Error::output(&output, what, "--overwrite to replace it, or another folder after -o"));
        }
        let name = format!("tmp/{}", item.job);
        let mut journal = lock(self.journal);
        journal.know(&record.settings, settings)?;
        journal.intend(&name, &record)?;
        drop(journal);
        std::fs::rename(temp, &output).map_err(|e| Error::output(&output, format!("it cannot be written: {e}"), ""))?;
        // A file passes a gate or misses it: what an earlier run put in the other place is not what was asked for now.
        let other = if record.held.is_some() { item.output.clone() } else { hold(&item.output) };
        // Whatever may be overwritten, nothing takes its place there.
        if root.join(&other).is_file() && self.is_ours(&other)? {
            let _ = std::fs::remove_file(root.join(other));
        }
        // The committer lives until every worker is gone.
        let _ = commits.send(commit::Renamed { path: output, output: record.output.clone(), sha256: record.sha256.clone() });
        Ok(record)
    }

    /// Whether a place in the output folder may be taken now: nothing is there, or still what this program made. A run takes hours,
    /// and people work on results meanwhile.
    fn is_free(&self, below: &Path) -> Result<bool> {
        let missing = || self.batch.planned.root.join(below).symlink_metadata().is_err();
        Ok(self.batch.options.overwrite || missing() || self.is_ours(below)?)
    }

    /// Whether a file is what the journal tells of its place.
    fn is_ours(&self, below: &Path) -> Result<bool> {
        let path = self.batch.planned.root.join(below);
        if !path.is_file() {
            return Ok(false);
        }
        let sha256 = journal::sha256_file(&path)?;
        let empty = path.metadata().is_ok_and(|m| m.len() == 0);
        let journal = lock(self.journal);
        // Of what was announced before the machine lost power nothing may have reached the disk but the name.
        let ours = |k: &journal::Known| {
            k.pending.iter().chain(&k.done).any(|r| r.sha256 == sha256) || (empty && k.pending.as_ref().is_some_and(|r| !r.approved))
        };
        Ok(triage::known(journal.state(), below).iter().any(|k| ours(k)))
    }

    /// The keys that the result of this name stands in for.
    fn replaced(&self, output: &str) -> Vec<String> {
        if !self.batch.options.instead {
            return Vec::new();
        }
        let journal = lock(self.journal);
        let before = journal.state().get(output).filter_map(|known| known.done.as_ref());
        before.flat_map(|r| std::iter::once(&r.key).chain(&r.instead_of)).cloned().collect()
    }

    /// What every further file would fail with as well, as an error that says so and stops the run.
    fn full(&self, error: Error) -> Error {
        let Error::Io { path, source } = &error else { return error };
        let (what, hint) = match source.kind() {
            std::io::ErrorKind::StorageFull => ("the disk is full", "free some space; the same command goes on"),
            std::io::ErrorKind::QuotaExceeded => ("the quota of this disk is used up", "free some space; the same command goes on"),
            std::io::ErrorKind::ReadOnlyFilesystem => ("this disk can only be read", "another folder after -o"),
            _ => return error,
        };
        // A source on a full disk is read all the same.
        if !path.starts_with(&self.batch.planned.root) {
            return error;
        }
        let root = self.batch.planned.root.display();
        self.abort(Error::output(&self.batch.planned.root, what, hint));
        Error::output(path, format!("{what} ({root})"), hint)
    }

    /// Keeps a source's C2PA manifest store beside the output that cannot carry it. It is there before the output is, so that a
    /// run that ends in between makes both again.
    fn keep_c2pa(&self, index: usize, output: &Path, store: &[u8]) -> Result<PathBuf> {
        let beside = crate::codec::sidecar(output);
        match std::fs::read(&beside) {
            Ok(there) if there == store => return Ok(beside),
            Ok(_) if !self.batch.existing[index] && !self.batch.options.overwrite => {
                let what = "the source's C2PA manifest goes here, and another file is there already";
                return Err(Error::output(&beside, what, "--overwrite to replace it, or another folder after -o"));
            }
            _ => {}
        }
        if let Some(dir) = beside.parent() {
            std::fs::create_dir_all(dir).map_err(|e| Error::output(dir, format!("the folder cannot be created: {e}"), ""))?;
        }
        let temp = tmp(&self.batch.planned).join(format!("{index}.c2pa"));
        std::fs::write(&temp, store).map_err(|e| Error::io(&temp, e))?;
        std::fs::rename(&temp, &beside).map_err(|e| Error::output(&beside, format!("it cannot be written: {e}"), ""))?;
        Ok(beside)
    }

    /// Removes the manifest that an earlier run kept beside this output, as the new one has none.
    fn drop_c2pa(&self, output: &Path) -> Result<()> {
        for place in [output.to_path_buf(), hold(output)] {
            let name = journal::encode(&place);
            let ours = lock(self.journal).state().get(&name).any(|k| k.pending.iter().chain(&k.done).any(|r| r.c2pa));
            let beside = crate::codec::sidecar(&self.batch.planned.root.join(place));
            if ours && beside.is_file() {
                std::fs::remove_file(&beside).map_err(|e| Error::output(&beside, format!("it cannot be removed: {e}"), ""))?;
            }
        }
        Ok(())
    }

    fn report(&self, item: &Item, made: Result<Record>, took: Duration) {
        let error = match made {
            Ok(record) => {
                lock(&self.settled).insert(record.output.clone());
                let mut summary = lock(&self.summary);
                summary.done += 1;
                summary.note(&record.notes);
                summary.c2pa += usize::from(record.c2pa);
                summary.bytes += record.bytes;
                summary.pixels += record.width as u64 * record.height as u64;
                summary.held.extend(record.held.clone().map(|why| (self.batch.planned.root.join(journal::decode(&record.output)), why)));
                drop(summary);
                let event = FileEvent::made(&self.batch.planned, item, &record, Status::Done, took.as_secs_f64());
                return self.listener.event(&Event::File(Box::new(event)));
            }
            Err(Error::Interrupted) => return,
            Err(e) => e,
        };
        let event = FileEvent::failed(&self.batch.planned, item, &error, self.start, took.as_secs_f64());
        let failure = Failure::new(&self.batch.planned.root, item, &error);
        lock(&self.settled).insert(failure.output.clone());
        self.listener.event(&Event::File(Box::new(event)));
        if let Err(e) = lock(self.journal).fail(&failure.output, &error) {
            let e = self.full(e);
            self.abort(e);
        }
        let mut summary = lock(&self.summary);
        summary.failed += 1;
        summary.failures.push(failure);
        drop(summary);
        // These would fail every other file as well, and the fix is not in the file.
        if matches!(error, Error::Runtime { .. } | Error::Device { .. } | Error::Model { .. } | Error::Usage { .. }) {
            self.abort(error);
        }
    }

    /// Stops the run for `error`; the first one is kept, unless the user stopped it before.
    fn abort(&self, error: Error) {
        let mut summary = lock(&self.summary);
        if !self.stop.swap(true, Ordering::Relaxed) {
            summary.fatal = Some(error);
        }
    }
}

/// Ranges of `todo` whose items are made together: those of one source that stand next to each other and have presets.
fn units(items: &[Item], todo: &[usize]) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    for (n, i) in todo.iter().enumerate() {
        let item = &items[*i];
        match units.last_mut() {
            Some(u) if item.preset.is_some() && items[todo[u.start]].preset.is_some() && items[todo[u.start]].source == item.source => {
                u.end = n + 1;
            }
            _ => units.push(n..n + 1),
        }
    }
    units
}

fn read(source: &Path) -> Result<Vec<u8>> {
    std::fs::read(source).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::input(source, "it was there when the run was planned and is gone", "run the same command again")
        }
        std::io::ErrorKind::PermissionDenied => Error::input(source, "no permission to read it", "check the file's owner and mode"),
        _ => Error::io(source, e),
    })
}

fn panicked(payload: &(dyn std::any::Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string).or_else(|| payload.downcast_ref::<String>().cloned());
    Error::Internal(text.unwrap_or_else(|| "panic".into()))
}

/// A poisoned lock only says that some job panicked, which is that job's affair.
fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets jobs in while their memory fits.
struct Gate {
    used: Mutex<u64>,
    freed: Condvar,
    limit: u64,
}

struct Admitted<'a>(&'a Gate, u64);

impl Gate {
    /// Waits for room; `None` if the run is stopped meanwhile. A job larger than the limit runs alone.
    fn enter(&self, need: u64, stop: &AtomicBool) -> Option<Admitted<'_>> {
        let mut used = lock(&self.used);
        while *used > 0 && used.saturating_add(need) > self.limit {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            used = self.freed.wait_timeout(used, Duration::from_millis(50)).unwrap_or_else(PoisonError::into_inner).0;
        }
        *used = used.saturating_add(need);
        Some(Admitted(self, need))
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let mut used = lock(&self.0.used);
        *used = used.saturating_sub(self.1);
        self.0.freed.notify_all();
    }
}

/// A failure as `failed.json` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    input: String,
    /// Percent-encoded, if the path is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input_raw: Option<String>,
    output: String,
    /// From the output folder, as the journal writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    kind: String,
    message: String,
}
