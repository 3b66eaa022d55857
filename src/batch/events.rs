//! What a run tells its listener, which is also what `--json` writes: one object a line, with names that stay.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use super::Listed;
use super::journal::{self, Record, STATE};
use super::plan::{Item, Planned};
use crate::error::{Error, Result};
use crate::inspect::Report;
use crate::pipeline::Plan;

/// Hears what happens in a run, from several threads.
pub trait Listener: Sync {
    fn event(&self, event: &Event);
    /// A job begins.
    fn begin(&self, _item: &Item) {}
    /// The share of a job that is done, 0..1.
    fn progress(&self, _item: &Item, _share: f64) {}
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Start(Start),
    File(Box<FileEvent>),
    End(End),
    /// What an inspection found; names its event itself.
    #[serde(untagged)]
    Report(Box<Report>),
}

/// Before the first file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Start {
    /// All sources, those that are done already included.
    pub files: usize,
    pub skipped: usize,
    /// Megapixels of the sources that are left to do, if they were looked at.
    pub megapixels: Option<f64>,
    pub model: String,
    pub device: String,
    /// What grades, if anything is graded: `cpu`, or a card's number and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade_device: Option<String>,
    pub jobs: usize,
    /// Predicted.
    pub seconds: Option<f64>,
    pub output: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Done,
    Skipped,
    Failed,
}

/// One output.
#[derive(Debug, Clone, Serialize)]
pub struct FileEvent {
    pub job: usize,
    pub preset: Option<String>,
    pub input: String,
    /// Percent-encoded, if the path is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_raw: Option<String>,
    pub output: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_raw: Option<String>,
    pub status: Status,
    pub width: usize,
    pub height: usize,
    pub model: String,
    pub device: String,
    pub seconds: f64,
    pub bytes: u64,
    /// Of the output; empty where none was made.
    #[serde(skip)]
    pub sha256: String,
    pub plan: Option<Plan>,
    pub error: Option<Fault>,
    /// What became of the source's Content Credentials, if it had any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c2pa: Option<Credentials>,
    /// The gate that the file missed; `output` lies in `_hold/` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    pub notes: Vec<String>,
}

/// Content Credentials vouch for the source's bytes, so no output carries them.
#[derive(Debug, Clone, Serialize)]
pub struct Credentials {
    /// Never, in this version.
    pub carried: bool,
    /// The file that keeps the source's manifest.
    pub kept_in: String,
}

/// Why a file failed.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    pub kind: String,
    pub message: String,
}

/// After the last file.
#[derive(Debug, Clone, Serialize)]
pub struct End {
    pub done: usize,
    pub skipped: usize,
    pub failed: usize,
    pub held: usize,
    pub flagged: usize,
    /// Results of earlier runs whose sources are not there any more; they are kept.
    pub orphans: usize,
    /// Files decoded from the start event on: each source once, and every output that a gate measured.
    pub decoded: u64,
    /// Tiles that networks enlarged from the start event on.
    pub tiles: u64,
    pub seconds: f64,
}

/// A failed job, for the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub job: usize,
    pub input: String,
    /// Percent-encoded, if the path is not UTF-8.
    pub input_raw: Option<String>,
    /// As the journal writes it.
    pub output: String,
    /// The source from the output folder, as the journal writes it; `None` if it is not there any more.
    pub source: Option<String>,
    pub kind: String,
    pub message: String,
}

/// A path that JSON cannot hold, as the journal would write it.
fn raw(path: &Path) -> Option<String> {
    path.to_str().is_none().then(|| journal::percent(path.as_os_str()))
}

impl Failure {
    pub(super) fn new(root: &Path, item: &Item, error: &Error) -> Self {
        Self {
            job: item.job,
            input: item.source.display().to_string(),
            input_raw: raw(&item.source),
            output: journal::encode(&item.output),
            source: journal::beside(root, &item.source).ok(),
            kind: error.kind().into(),
            message: error.to_string(),
        }
    }
}

impl FileEvent {
    fn blank(planned: &Planned, item: &Item, status: Status) -> Self {
        let output = planned.root.join(&item.output);
        Self {
            job: item.job,
            preset: item.preset.clone(),
            input: item.source.display().to_string(),
            input_raw: raw(&item.source),
            output: output.display().to_string(),
            output_raw: raw(&output),
            status,
            width: 0,
            height: 0,
            model: "none".into(),
            device: "cpu".into(),
            seconds: 0.0,
            bytes: 0,
            sha256: String::new(),
            plan: None,
            error: None,
            c2pa: None,
            held: None,
            notes: Vec::new(),
        }
    }

    pub(super) fn made(planned: &Planned, item: &Item, record: &Record, status: Status, seconds: f64) -> Self {
        let mut event = Self::blank(planned, item, status);
        if let Some(pass) = record.plan.passes.first() {
            event.model.clone_from(&pass.model);
            event.device.clone_from(&pass.device);
        }
        let output = planned.root.join(journal::decode(&record.output));
        let kept_in = || crate::codec::sidecar(&output).display().to_string();
        Self {
            c2pa: record.c2pa.then(|| Credentials { carried: false, kept_in: kept_in() }),
            width: record.width,
            height: record.height,
            seconds,
            bytes: record.bytes,
            sha256: record.sha256.clone(),
            plan: Some(record.plan.clone()),
            held: record.held.clone(),
            output: output.display().to_string(),
            output_raw: raw(&output),
            notes: record.notes.clone(),
            ..event
        }
    }

    pub(super) fn skipped(planned: &Planned, item: &Item, record: &Record) -> Self {
        Self::made(planned, item, record, Status::Skipped, 0.0)
    }

    pub(super) fn failed(planned: &Planned, item: &Item, error: &Error, start: &super::Start, seconds: f64) -> Self {
        let fault = Fault { kind: error.kind().into(), message: error.to_string() };
        let event = Self::blank(planned, item, Status::Failed);
        Self { seconds, error: Some(fault), model: start.model.clone(), device: start.device.clone(), ..event }
    }
}

/// What went wrong with which file: most messages name it themselves. A name with line ends stays on its line.
pub fn told(input: &str, message: &str) -> String {
    let name = printable(input);
    if message.contains(input) { message.replace(input, &name) } else { format!("{name}: {message}") }
}

/// A name with its control characters spelled out: tabs and line ends mean something in lists.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// The outputs that are listed as failed, by any part of the job.
pub(super) fn read_failed(root: &Path) -> Result<HashSet<String>> {
    let mut all = HashSet::new();
    for path in journal::state_files(root, "failed", ".json")? {
        all.extend(listed(&path)?.into_iter().map(|l| l.output));
    }
    Ok(all)
}

fn listed(path: &Path) -> Result<Vec<Listed>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
            Error::usage(path.display(), format!("it is not what lastmile wrote: {e}"), "remove it and run without --retry-failed")
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// Brings `failed.json` and `failed.txt` up to date: entries of `settled` outputs go, also from the lists of other parts, and so
/// do those whose source is gone; `now` comes. Neither file is there when nothing is left.
pub(super) fn write_failed(planned: &Planned, now: &[Failure], settled: &HashSet<String>) -> Result<()> {
    let dir = planned.root.join(STATE);
    let own = dir.join(journal::state_name("failed", planned.shard.as_ref(), ".json"));
    let mut files = journal::state_files(&planned.root, "failed", ".json")?;
    if files.is_empty() && now.is_empty() {
        return Ok(());
    }
    if !files.contains(&own) {
        files.push(own.clone());
    }
    // Parts end when they like; their lists are written one at a time.
    let turn = std::fs::File::create(dir.join("failed.lock")).map_err(|e| Error::io(&dir, e))?;
    let _ = turn.lock();
    for path in files {
        let before = listed(&path).unwrap_or_default();
        let count = before.len();
        let gone = |l: &Listed| l.source.as_ref().is_some_and(|s| planned.root.join(journal::decode(s)).symlink_metadata().is_err());
        let mut list: Vec<Listed> = before.into_iter().filter(|l| !settled.contains(&l.output) && !gone(l)).collect();
        if path == own {
            list.extend(now.iter().map(|f| Listed {
                input: f.input.clone(),
                input_raw: f.input_raw.clone(),
                output: f.output.clone(),
                source: f.source.clone(),
                kind: f.kind.clone(),
                message: f.message.clone(),
            }));
        } else if list.len() == count {
            continue;
        }
        write_list(&path, &list)?;
    }
    Ok(())
}

/// Writes one list and the same as text beside it; an empty one is removed.
fn write_list(path: &Path, list: &[Listed]) -> Result<()> {
    let line = |l: &Listed| {
        let name = format!("{}: ", l.input);
        format!("{}\t{}\n", printable(&l.input), printable(&l.message.strip_prefix(&name).unwrap_or(&l.message).replace('\n', " ")))
    };
    // A person mends sources, not outputs: one line each.
    let last = |i: usize, l: &Listed| !list[i + 1..].iter().any(|other| other.input == l.input);
    let text: String = list.iter().enumerate().filter(|(i, l)| last(*i, l)).map(|(_, l)| line(l)).collect();
    let json = serde_json::to_string_pretty(list).map_err(|e| Error::Internal(format!("failed.json: {e}")))? + "\n";
    for (path, content) in [(path.with_extension("txt"), text), (path.to_path_buf(), json)] {
        let done = if list.is_empty() {
            std::fs::remove_file(&path).or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        } else {
            let new = path.with_extension("new");
            std::fs::write(&new, content).and_then(|()| std::fs::rename(&new, &path))
        };
        done.map_err(|e| Error::io(&path, e))?;
    }
    Ok(())
}

/// A duration for people.
pub fn seconds(s: f64) -> String {
    match s {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{seconds, told};

    #[test]
    fn names_with_line_ends_stay_on_one_line() {
        assert_eq!(told("a\n\tb.png", "a\n\tb.png: it is empty"), "a\\n\\tb.png: it is empty");
        assert_eq!(told("a.png", "broken"), "a.png: broken");
    }

    #[test]
    fn durations_for_people() {
        assert_eq!([0.44, 59.6, 89.0, 240.0, 7200.0].map(seconds), ["0.4 s", "60 s", "89 s", "4 min", "2.0 h"]);
    }
}
