//! Inspection while a batch runs: every result is judged as it is made, its report follows its `file` event.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::say;
use crate::batch::events::{End, Event, Listener, Status};
use crate::batch::journal::{self, STATE};
use crate::batch::plan::Item;
use crate::error::Result;
use crate::inspect::repair::{self, Repair};
use crate::inspect::{Report, Verdict, log};
use crate::pipeline::frame::Frame;
use crate::pipeline::inspection::{Care, Watch};
use crate::pipeline::{self, Done, Hooks, Job};
use crate::review::{HEAT, MENDED, heat_maps};
use crate::upscale::engine::Engine;

/// Stands between the batch engine and its listener.
pub struct Inspecting<'a> {
    listener: &'a dyn Listener,
    root: PathBuf,
    /// How; none only hands on.
    care: Option<Care>,
    /// Reports of sources whose results are not renamed yet, and their mended versions, if there are any.
    waiting: Mutex<HashMap<String, (Report, Option<PathBuf>)>>,
    /// Held while the log is written.
    log: Mutex<()>,
    inspected: AtomicUsize,
    flagged: AtomicUsize,
    rejected: AtomicUsize,
}

impl<'a> Inspecting<'a> {
    /// Inspects as `care` says; without it, only hands on. `earlier` are the reports on what earlier runs made: they count as well.
    pub fn new(listener: &'a dyn Listener, root: &Path, care: Option<Care>, earlier: &[Report]) -> Self {
        let (waiting, log) = (Mutex::new(HashMap::new()), Mutex::new(()));
        let none = || AtomicUsize::new(0);
        let this = Self { listener, root: root.into(), care, waiting, log, inspected: none(), flagged: none(), rejected: none() };
        earlier.iter().for_each(|report| this.count(report));
        this
    }

    fn count(&self, report: &Report) {
        self.inspected.fetch_add(1, Ordering::Relaxed);
        if report.verdict != Verdict::Pass {
            self.flagged.fetch_add(1, Ordering::Relaxed);
        }
        if report.verdict == Verdict::Reject {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Results that were inspected, in earlier runs too.
    pub fn inspected(&self) -> usize {
        self.inspected.load(Ordering::Relaxed)
    }

    /// Those with findings.
    pub fn flagged(&self) -> usize {
        self.flagged.load(Ordering::Relaxed)
    }

    /// Those that are likely rejects.
    pub fn rejected(&self) -> usize {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Makes a picture and judges it.
    ///
    /// # Errors
    /// As [`pipeline::process`].
    pub fn process(&self, job: Job<'_>, engine: &Engine, hooks: Hooks<'_>) -> Result<Done> {
        let Some(care) = &self.care else {
            return pipeline::process(job, engine, hooks);
        };
        let source = job.source.to_path_buf();
        let beside = job.output.with_extension("mended");
        let Hooks { stop, progress, waiting, card, .. } = hooks;
        let frame = Frame::of(job.settings);
        let mut watch = Watch::new(&source, Care { beside: beside.clone(), frame, ..care.clone() }, engine, stop);
        let hooks = Hooks { stop, progress, waiting, card, observer: Some(&mut watch) };
        let mut done = pipeline::process(job, engine, hooks)?;
        if let Some(inspection) = watch.inspect()? {
            let report = inspection.report;
            let mended = report.repair.as_ref().filter(|r| r.mode == Repair::Auto).map_or(0, repair::Log::kept);
            if mended > 0 {
                let regions = if mended == 1 { "region" } else { "regions" };
                done.notes.push(format!("{mended} {regions} mended with the faithful enlargement"));
            }
            let beside = beside.is_file().then_some(beside);
            held(&self.waiting).insert(journal::word(&source), (report, beside));
        }
        Ok(done)
    }

    /// Puts the mended version where a review looks for it, in the place of an earlier one.
    fn keep(&self, report: &mut Report, mended: Option<&Path>, output: &Path) {
        let Ok(below) = output.strip_prefix(&self.root) else { return };
        let told = Path::new(STATE).join(MENDED).join(below);
        let place = self.root.join(&told);
        let Some(mended) = mended else { return };
        let moved = place.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::rename(mended, &place));
        match moved {
            Ok(()) => report.repair.iter_mut().for_each(|r| r.file = Some(told.display().to_string())),
            Err(e) => say(format_args!("error: a mended version was lost: {}: {e}", place.display())),
        }
    }

    /// A mended version and heat maps of what was made before are of no use for what was made now; its report names the file by
    /// hash, which tells them apart.
    fn forget(&self, output: &Path) {
        if let Ok(below) = output.strip_prefix(&self.root) {
            let state = self.root.join(STATE);
            let _ = std::fs::remove_file(state.join(MENDED).join(below));
            for map in heat_maps(&state.join(HEAT), below).values() {
                let _ = std::fs::remove_file(map);
            }
        }
    }

    /// Completes a report with the name of its output, writes it down and hands it on.
    fn tell(&self, mut report: Report, output: &Path) {
        self.count(&report);
        let name = |report: &mut Report, path: &Path| {
            report.input = path.display().to_string();
            report.input_raw = path.to_str().is_none().then(|| journal::word(path));
        };
        name(&mut report, output);
        let mut kept = report.clone();
        // The log moves with its folder.
        if let Ok(below) = output.strip_prefix(&self.root) {
            name(&mut kept, below);
        }
        kept.source = kept.source.map(|s| std::path::absolute(&s).map_or(s, |p| p.display().to_string()));
        {
            let _one = held(&self.log);
            if let Err(e) = log::append(&self.root.join(STATE).join(log::FILE), &kept) {
                say(format_args!("error: a report was lost: {e}"));
            }
        }
        self.listener.event(&Event::Report(Box::new(report)));
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener for Inspecting<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::File(file) => {
                self.listener.event(event);
                let waiting = held(&self.waiting).remove(file.input_raw.as_ref().unwrap_or(&file.input));
                if file.status == Status::Done {
                    let output = file.output_raw.as_deref().map_or_else(|| PathBuf::from(&file.output), journal::decode);
                    self.forget(&output);
                    if let Some((mut report, mended)) = waiting {
                        self.keep(&mut report, mended.as_deref(), &output);
                        report.result_sha256 = Some(file.sha256.clone());
                        self.tell(report, &output);
                    }
                }
            }
            Event::End(end) => self.listener.event(&Event::End(End { flagged: self.flagged(), ..*end })),
            _ => self.listener.event(event),
        }
    }

    fn begin(&self, item: &Item) {
        self.listener.begin(item);
    }

    fn progress(&self, item: &Item, share: f64) {
        self.listener.progress(item, share);
    }
}
