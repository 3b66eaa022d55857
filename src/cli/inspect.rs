//! `lastmile inspect`: finished pictures in, suspected defects out.

mod found;
mod journals;
mod places;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::ValueEnum;

use self::found::{Found, Looked, Sources, find};
use self::journals::{Journals, Known};
use self::places::Places;
use super::{Globals, job, out, say};
use crate::batch::journal::percent;
use crate::codec::Limits;
use crate::error::{Error, Exit};
use crate::inspect::repair::Repair;
use crate::inspect::{Inspection, Report, Tier, Verdict};
use crate::pipeline::inspection::{Care, NOT_WRITTEN, Subject, inspect_file};
use crate::recipe::text;
use crate::upscale::engine::Engine;
use crate::upscale::machine;

/// Find what an enlargement got wrong, where, and how sure that is
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lastmile inspect final/                             sources as the journal tells
  lastmile inspect final/ --source renders/           results of other programs
  lastmile inspect final/ --source renders/ --report checks/ --fail-on reject
  lastmile inspect poster.png --source render.jpg --json -")]
pub struct Args {
    /// Finished pictures and folders of them
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// What they were made from: a file, or a folder with the same names below it (extensions may differ) [default: what the
    /// journal beside them tells]
    #[arg(long, value_name = "DIR|FILE")]
    source: Option<PathBuf>,
    /// How many clean pictures may be flagged: 1 in 100, 5 in 100 or 15 in 100
    #[arg(long, value_name = "TIER", default_value = "standard")]
    tier: TierName,
    /// Folder for report.jsonl and report.csv [default: for a folder, its .lastmile/report.jsonl]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Folder for maps of where each detector looks worst (grey PNG, white = worst); a folder in it for each of several inputs
    #[arg(long, value_name = "DIR")]
    heat: Option<PathBuf>,
    /// Regions that upscaling spoilt: write a copy with them mended with the faithful result, for the review to offer [default:
    /// suggest for folders with a source, else off]
    #[arg(long, value_name = "off|suggest")]
    repair: Option<RepairName>,
    /// Exit with 4 if any picture is at least this bad
    #[arg(long, value_name = "VERDICT")]
    fail_on: Option<Gate>,
    /// Refuse larger pictures, in pixels
    #[arg(long, value_name = "N", value_parser = text::max_pixels, default_value = "1G")]
    max_pixels: u64,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum TierName {
    Draft,
    Standard,
    Hero,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Review,
    Reject,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum RepairName {
    Off,
    Suggest,
}

/// Runs the verb.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let clock = Instant::now();
    let Looked { pictures: found, links } = find(&args.inputs)?;
    let sources = args.source.as_deref().map(|s| Sources::new(s, &found)).transpose()?;
    let tier = match args.tier {
        TierName::Draft => Tier::Draft,
        TierName::Standard => Tier::Standard,
        TierName::Hero => Tier::Hero,
    };
    let limits = Limits { max_pixels: args.max_pixels, first_frame: true };
    let places = Places::ready(args, &found)?;
    let mut journals = Journals::default();
    let known: Vec<Known> = found.iter().map(|p| journals.known(p, sources.as_ref())).collect::<crate::Result<_>>()?;
    if args.repair == Some(RepairName::Suggest) && known.iter().all(|k| k.source.is_none()) {
        let what = "nothing can be mended without the source that a picture was made from, and no journal tells of one";
        return Err(Error::usage("--repair suggest", what, "--source with the file or folder that was enlarged").into());
    }
    let engine = engine(known.iter().any(|k| k.source.is_some()), globals)?;
    let stop = job::stop_on_signals()?;
    let mut told = Telling { json: globals.json.as_ref().map(super::JsonTarget::open).transpose()?, globals, lost: None };
    let mut reports: Vec<(usize, Report)> = Vec::new();
    let (mut failed, mut without, mut kept, mut themselves) = (0, 0, 0, 0);
    for (i, (picture, known)) in found.iter().zip(known).enumerate() {
        let Known { sha256, source, plan, frame, encoding, kept: earlier, note, itself } = known;
        if let Some(mut report) = earlier {
            kept += 1;
            report.input = picture.path.display().to_string();
            report.input_raw = raw(picture);
            told.report(&report);
            reports.push((i, report));
            continue;
        }
        without += usize::from(source.is_none() && sources.is_some());
        themselves += usize::from(itself);
        let subject = Subject { input: &picture.path, source: source.as_deref(), plan: plan.as_ref(), encoding: encoding.as_ref(), note };
        // Without a source nothing can be mended, and what was made with one is kept.
        let wanted = source.is_some() && (args.repair == Some(RepairName::Suggest) || (args.repair.is_none() && picture.folder.is_some()));
        let place = wanted.then(|| picture.mended());
        let care = match &place {
            Some((_, place)) => Care { tier, frame, repair: Repair::Suggest, beside: beside(place) },
            None => Care { tier, frame, ..Care::default() },
        };
        let inspected = inspect_file(subject, &engine, &care, &limits, &stop);
        let inspected = match &place {
            Some((_, place)) => settle(inspected, &care.beside, place),
            None => inspected,
        };
        let fault = match inspected {
            Ok(Inspection { mut report, heat }) => {
                report.result_sha256 = sha256;
                if let (Some(log), Some((told, place))) = (&mut report.repair, place) {
                    log.file = place.is_file().then(|| told.display().to_string());
                }
                report.input_raw = raw(picture);
                told.report(&report);
                // A run that is killed later has told of this one.
                let written = places.append(picture, &report);
                let size = (report.width, report.height);
                let unmended = report.notes.iter().find_map(|n| n.strip_prefix(NOT_WRITTEN)).map(|why| {
                    let hint = "--repair off, or a folder of results that can be written";
                    Error::output(&picture.path, format!("{NOT_WRITTEN}{why}"), hint)
                });
                reports.push((i, report));
                written.and_then(|()| places.draw(picture, &heat, size)).err().or(unmended)
            }
            Err(Error::Interrupted) => break,
            Err(e) => Some(e),
        };
        if let Some(e) = fault {
            failed += 1;
            told.failed(i, picture, &e);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let stopped = stop.load(Ordering::Relaxed);
    if let Err(e) = places.keep(&found, &reports) {
        failed += 1;
        say(format_args!("error: {e}"));
    }
    let count = |at_least: Verdict| reports.iter().filter(|(_, r)| r.verdict >= at_least).count();
    let (flagged, rejected) = (count(Verdict::Review), count(Verdict::Reject));
    let seconds = clock.elapsed().as_secs_f64();
    let end = serde_json::json!({"event": "end", "done": reports.len(), "skipped": 0, "failed": failed, "held": 0,
        "flagged": flagged, "seconds": (seconds * 1e3).round() / 1e3});
    told.line(&end.to_string());
    if let Some(e) = told.close() {
        failed += 1;
        say(format_args!("error: --json: not everything could be written: {e}"));
    }
    if kept > 0 {
        let them = if kept == 1 { "1 report of when its picture".into() } else { format!("{kept} reports of when their pictures") };
        say(format_args!("note: {them} could be compared with the source as it was enlarged: kept"));
    }
    if without > 0 {
        say(format_args!("note: {without} of {} without a source of that name in {}", found.len(), shown(args.source.as_deref())));
    }
    if themselves > 0 {
        say(format_args!("note: {themselves} of {} compared with themselves: --source names the very files", found.len()));
    }
    if links > 0 {
        let left = if links == 1 { "1 link".into() } else { format!("{links} links") };
        say(format_args!("note: {left} left out: no run wrote what is there; by its name it is inspected"));
    }
    let so_far =
        if stopped { format!("stopped after {} of {}, whose reports are kept: ", reports.len(), found.len()) } else { String::new() };
    say(format_args!("{so_far}{flagged} of {} flagged, {rejected} of them look like rejects ({seconds:.1} s)", reports.len()));
    Ok(match args.fail_on {
        _ if stopped => Exit::Interrupted,
        _ if failed > 0 => Exit::Failed,
        Some(Gate::Review) if flagged > 0 => Exit::Gate,
        Some(Gate::Reject) if rejected > 0 => Exit::Gate,
        _ => Exit::Done,
    })
}

/// Where a mended version is made, beside its place: an earlier one stays until the picture was inspected to the end.
fn beside(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    place.with_file_name(name)
}

/// Puts the mended version in its place, or takes away what stands there if there is none now.
fn settle(inspected: crate::Result<Inspection>, made: &Path, place: &Path) -> crate::Result<Inspection> {
    let gone = |path: &Path| match std::fs::remove_file(path) {
        Err(e) if !matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Err(Error::io(path, e)),
        _ => Ok(()),
    };
    match &inspected {
        Ok(_) if made.is_file() => std::fs::rename(made, place).map_err(|e| Error::io(place, e))?,
        Ok(_) => gone(place)?,
        Err(_) => gone(made)?,
    }
    inspected
}

/// The path of a picture, if JSON cannot hold it.
fn raw(picture: &Found) -> Option<String> {
    picture.path.to_str().is_none().then(|| percent(picture.path.as_os_str()))
}

/// Who is told what was found. That a listener went away does not stop the work; it is told at the end.
struct Telling<'a> {
    json: Option<Box<dyn Write + Send>>,
    globals: &'a Globals,
    lost: Option<String>,
}

impl Telling<'_> {
    fn report(&mut self, report: &Report) {
        if let Err(e) = tell(report, self.globals) {
            _ = self.lost.get_or_insert_with(|| e.to_string());
        }
        match serde_json::to_string(report) {
            Ok(line) => self.line(&line),
            Err(e) => drop(self.lost.get_or_insert_with(|| e.to_string())),
        }
    }

    fn failed(&mut self, i: usize, picture: &Found, e: &Error) {
        say(format_args!("error: {e}"));
        let fault = serde_json::json!({"kind": e.kind(), "message": e.to_string()});
        let mut line = serde_json::json!({"event": "file", "job": i + 1, "preset": null, "input": picture.path.display().to_string(),
            "output": null, "status": "failed", "error": fault});
        if let Some(raw) = raw(picture) {
            line["input_raw"] = raw.into();
        }
        self.line(&line.to_string());
    }

    fn line(&mut self, line: &str) {
        if let Some(json) = &mut self.json
            && let Err(e) = writeln!(json, "{line}")
        {
            _ = self.lost.get_or_insert_with(|| e.to_string());
        }
    }

    /// Why something was not told, if so.
    fn close(&mut self) -> Option<String> {
        if let Some(Err(e)) = self.json.as_mut().map(|json| json.flush()) {
            _ = self.lost.get_or_insert_with(|| e.to_string());
        }
        self.lost.take()
    }
}

fn shown(path: Option<&Path>) -> String {
    path.map(|p| p.display().to_string()).unwrap_or_default()
}

/// Faithful networks, if there is something to compare with and a runtime to run them; their absence is told, not fatal.
fn engine(wanted: bool, globals: &Globals) -> crate::Result<Engine> {
    if !wanted {
        return Ok(Engine::resample_only());
    }
    let memory = machine::memory().map_or(2 << 30, |m| m.available / 4);
    let engine = job::faithful_engine(globals, memory)?;
    match engine.start() {
        Ok(_) => Ok(engine),
        Err(e @ Error::Runtime { .. }) => {
            say(format_args!("note: results are compared with a resampled source, because no network can run: {e}"));
            Ok(Engine::resample_only())
        }
        Err(e) => Err(e),
    }
}

/// One line a finding on standard output; pictures that pass are told of with `-v`.
fn tell(report: &Report, globals: &Globals) -> anyhow::Result<()> {
    if globals.json == Some(super::JsonTarget::Stdout) {
        return Ok(());
    }
    if report.findings.is_empty() && globals.verbosity > 0 {
        out(format_args!("{}: pass, {:.2}", report.input, report.score))?;
    }
    for f in &report.findings {
        let [x, y, w, h]: [usize; 4] = f.rect.into();
        let (name, verdict) = (&report.input, report.verdict.name());
        out(format_args!("{name}: {verdict}: {} {:.2} at {x},{y} {w}x{h}: {}", f.detector, f.severity, f.note))?;
    }
    if let Some(log) = report.repair.as_ref().filter(|l| l.kept() > 0) {
        let (kept, all) = (log.kept(), log.regions.len());
        let file = log.file.as_deref().unwrap_or_default();
        out(format_args!("{}: {kept} of {all} regions could be mended: {file}", report.input))?;
    }
    if globals.verbosity > 0 {
        for note in &report.notes {
            out(format_args!("{}: {note}", report.input))?;
        }
    }
    Ok(())
}
