//! `lastmile inspect`: finished pictures in, suspected defects out.

mod found;
mod journals;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::ValueEnum;

use self::found::{Found, Sources, find};
use self::journals::{Journals, Known};
use super::{Globals, job, out, say};
use crate::batch::journal::{STATE, percent};
use crate::codec::{self, Encoding, Limits, Metadata};
use crate::error::{Error, Exit};
use crate::image::Channels;
use crate::inspect::plane::Plane;
use crate::inspect::repair::Repair;
use crate::inspect::{self, Inspection, Report, Tier, Verdict};
use crate::pipeline::inspection::{Care, Subject, inspect_file};
use crate::recipe::text;
use crate::resample::Filter;
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
    /// Folder for maps of where each detector looks worst (grey PNG, white = worst)
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
    let found = find(&args.inputs)?;
    let sources = args.source.as_deref().map(|s| Sources::new(s, &found)).transpose()?;
    let tier = match args.tier {
        TierName::Draft => Tier::Draft,
        TierName::Standard => Tier::Standard,
        TierName::Hero => Tier::Hero,
    };
    let limits = Limits { max_pixels: args.max_pixels, first_frame: true };
    let mut journals = Journals::default();
    let known = |picture: &Found| journals.known(&picture.path, sources.as_ref().and_then(|s| s.of(&picture.below)));
    let known: Vec<Known> = found.iter().map(known).collect::<crate::Result<_>>()?;
    let engine = engine(known.iter().any(|k| k.source.is_some()), globals)?;
    let mut json = globals.json.as_ref().map(super::JsonTarget::open).transpose()?;
    let mut reports: Vec<(usize, Report)> = Vec::new();
    let (mut failed, mut without, mut kept) = (0, 0, 0);
    let stop = AtomicBool::new(false);
    for (i, (picture, known)) in found.iter().zip(known).enumerate() {
        let Known { sha256, source, plan, frame, kept: earlier, note } = known;
        if let Some(mut report) = earlier {
            kept += 1;
            report.input = picture.path.display().to_string();
            report.input_raw = raw(picture);
            hear(&report, &mut json, globals)?;
            reports.push((i, report));
            continue;
        }
        without += usize::from(source.is_none() && sources.is_some());
        let subject = Subject { input: &picture.path, source: source.as_deref(), plan: plan.as_ref(), note };
        // Without a source nothing can be mended, and what was made with one is kept.
        let wanted = source.is_some() && (args.repair == Some(RepairName::Suggest) || (args.repair.is_none() && picture.folder.is_some()));
        let place = wanted.then(|| picture.mended());
        let care = match &place {
            Some((_, place)) => Care { tier, frame, repair: Repair::Suggest, beside: place.clone() },
            None => Care { tier, frame, ..Care::default() },
        };
        if let Some((_, stale)) = &place {
            let _ = std::fs::remove_file(stale);
        }
        match inspect_file(subject, &engine, &care, &limits, &stop) {
            Ok(Inspection { mut report, heat }) => {
                report.result_sha256 = sha256;
                if let (Some(log), Some((told, place))) = (&mut report.repair, place) {
                    log.file = place.is_file().then(|| told.display().to_string());
                }
                report.input_raw = raw(picture);
                if let Some(dir) = &args.heat {
                    for (name, map) in &heat {
                        draw(&dir.join(&picture.below), name, map, (report.width, report.height))?;
                    }
                }
                hear(&report, &mut json, globals)?;
                reports.push((i, report));
            }
            Err(e) => {
                failed += 1;
                say(format_args!("error: {e}"));
                if let Some(json) = &mut json {
                    let fault = serde_json::json!({"kind": e.kind(), "message": e.to_string()});
                    let line = serde_json::json!({"event": "file", "job": i + 1, "preset": null, "input": picture.path.display().to_string(),
                        "output": null, "status": "failed", "error": fault});
                    writeln!(json, "{line}")?;
                }
            }
        }
    }
    keep(args, &found, &reports)?;
    let count = |at_least: Verdict| reports.iter().filter(|(_, r)| r.verdict >= at_least).count();
    let (flagged, rejected) = (count(Verdict::Review), count(Verdict::Reject));
    let seconds = clock.elapsed().as_secs_f64();
    if let Some(json) = &mut json {
        let line = serde_json::json!({"event": "end", "done": reports.len(), "skipped": 0, "failed": failed, "held": 0,
            "flagged": flagged, "seconds": (seconds * 1e3).round() / 1e3});
        writeln!(json, "{line}")?;
        json.flush()?;
    }
    if kept > 0 {
        let them = if kept == 1 { "1 report of when its picture".into() } else { format!("{kept} reports of when their pictures") };
        say(format_args!("note: {them} could be compared with the source as it was enlarged: kept"));
    }
    if without > 0 {
        say(format_args!("note: {without} of {} without a source of that name in {}", found.len(), shown(args.source.as_deref())));
    }
    say(format_args!("{flagged} of {} flagged, {rejected} of them look like rejects ({seconds:.1} s)", reports.len()));
    Ok(match args.fail_on {
        _ if failed > 0 => Exit::Failed,
        Some(Gate::Review) if flagged > 0 => Exit::Gate,
        Some(Gate::Reject) if rejected > 0 => Exit::Gate,
        _ => Exit::Done,
    })
}

/// The path of a picture, if JSON cannot hold it.
fn raw(picture: &Found) -> Option<String> {
    picture.path.to_str().is_none().then(|| percent(picture.path.as_os_str()))
}

/// Hands a report on, to whoever listens.
fn hear(report: &Report, json: &mut Option<Box<dyn Write + Send>>, globals: &Globals) -> anyhow::Result<()> {
    tell(report, globals)?;
    if let Some(json) = json {
        writeln!(json, "{}", serde_json::to_string(report)?)?;
    }
    Ok(())
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

/// Writes the reports where they belong.
fn keep(args: &Args, found: &[Found], reports: &[(usize, Report)]) -> crate::Result<()> {
    if let Some(dir) = &args.report {
        let all: Vec<Report> = reports.iter().map(|(_, r)| r.clone()).collect();
        inspect::log::replace(&dir.join(inspect::log::FILE), &all)?;
        let table = dir.join("report.csv");
        return std::fs::write(&table, inspect::log::csv(&all)).map_err(|e| Error::io(&table, e));
    }
    let mut folders: HashMap<&Path, Vec<Report>> = HashMap::new();
    for (i, report) in reports {
        if let Some(folder) = &found[*i].folder {
            // The file moves with the folder: paths below it are relative.
            let mut report = report.clone();
            report.input = found[*i].below.display().to_string();
            if let Some(source) = &report.source {
                report.source = std::path::absolute(source).ok().map(|p| p.display().to_string());
            }
            folders.entry(folder).or_default().push(report);
        }
    }
    for (folder, reports) in folders {
        inspect::log::replace(&folder.join(STATE).join(inspect::log::FILE), &reports)?;
    }
    Ok(())
}

/// A calibrated map as grey PNG of the picture's size, `<stem>.<detector>.png`.
fn draw(beside: &Path, detector: &str, map: &Plane, (width, height): (usize, usize)) -> crate::Result<()> {
    let mut name = beside.file_stem().unwrap_or_default().to_os_string();
    name.push(format!(".{detector}.png"));
    let path = beside.with_file_name(name);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let large = map.resize(width, height, Filter::Bilinear)?;
    let encoding = Encoding::default();
    let mut encoder = codec::encoder(&path, &encoding, width, height, Channels::Grey, &Metadata::default())?;
    encoder.write(&crate::Band { y: 0, width, rows: height, channels: 1, data: large.data })?;
    encoder.finish().map(|_| ())
}
