//! Inspection while a batch runs: every result is judged as it is made, its report follows its `file` event.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::say;
use crate::batch::events::{End, Event, Listener, Status};
use crate::batch::journal::STATE;
use crate::batch::plan::Item;
use crate::error::Result;
use crate::inspect::{Report, Tier, Verdict, log};
use crate::pipeline::inspection::Watch;
use crate::pipeline::{self, Done, Hooks, Job};
use crate::upscale::engine::Engine;
use crate::upscale::size::Size;

/// Stands between the batch engine and its listener.
pub struct Inspecting<'a> {
    listener: &'a dyn Listener,
    root: PathBuf,
    /// How closely; `None` looks at nothing.
    tier: Option<Tier>,
    /// Reports of sources whose results are not renamed yet.
    waiting: Mutex<HashMap<String, Report>>,
    /// Held while the log is written.
    log: Mutex<()>,
    inspected: AtomicUsize,
    flagged: AtomicUsize,
    rejected: AtomicUsize,
}

impl<'a> Inspecting<'a> {
    /// Inspects this closely, or only hands on.
    pub fn new(listener: &'a dyn Listener, root: &Path, tier: Option<Tier>) -> Self {
        let (waiting, log) = (Mutex::new(HashMap::new()), Mutex::new(()));
        let none = || AtomicUsize::new(0);
        Self { listener, root: root.into(), tier, waiting, log, inspected: none(), flagged: none(), rejected: none() }
    }

    /// Results that were inspected.
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
        let Some(tier) = self.tier else { return pipeline::process(job, engine, hooks) };
        let source = job.source.to_path_buf();
        let Hooks { stop, progress, waiting, .. } = hooks;
        let dpi = match job.settings.size {
            Size::Print { dpi, .. } => Some(dpi),
            _ => None,
        };
        let mut watch = Watch::new(dpi);
        let hooks = Hooks { stop, progress, waiting, observer: Some(&mut watch) };
        let mut done = pipeline::process(job, engine, hooks)?;
        match watch.inspect(&source, engine, tier, stop)? {
            Some(inspection) => {
                held(&self.waiting).insert(source.display().to_string(), inspection.report);
            }
            None if done.width * done.height > 0 && !done.plan.passes.is_empty() => {
                done.notes.push("not inspected while it was made: too large to hold; lastmile inspect looks at the file".into());
            }
            None => {}
        }
        Ok(done)
    }

    /// Completes a report with the name of its output, writes it down and hands it on.
    fn tell(&self, mut report: Report, output: &str) {
        self.inspected.fetch_add(1, Ordering::Relaxed);
        if report.verdict != Verdict::Pass {
            self.flagged.fetch_add(1, Ordering::Relaxed);
        }
        if report.verdict == Verdict::Reject {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
        report.input = output.to_owned();
        let mut kept = report.clone();
        // The log moves with its folder.
        if let Ok(below) = Path::new(output).strip_prefix(&self.root) {
            kept.input = below.display().to_string();
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
                let report = held(&self.waiting).remove(&file.input);
                if let (Some(report), Status::Done) = (report, file.status) {
                    self.tell(report, &file.output);
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
