//! `lastmile apply`: what was decided in the review is carried out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::json;

use super::flags::Work;
use super::job::{Maker, stop_on_signals};
use super::progress::{self, Progress};
use super::{Globals, out, quoted, say};
use crate::batch::events::{End, Event, Listener, Start};
use crate::batch::journal::{self, STATE};
use crate::batch::plan::{Item, Planned};
use crate::batch::{Batch, Options as BatchOptions, Summary};
use crate::codec::Format;
use crate::error::{Error, Exit};
use crate::inspect::repair::Repair;
use crate::pipeline::Settings;
use crate::recipe::Recipe;
use crate::recipe::text;
use crate::review::approve::{Fate, Moved, Sorted, check_folder, put_aside, recipe};
use crate::review::verdicts::{Decision, Verdicts};
use crate::review::{APPROVED, Adopted, Options, Picture, Review, ledger};
use crate::upscale::catalogue::EMBEDDED;
use crate::upscale::device::Device;

/// Carry out a review: approved pictures are put aside, rejected ones made again
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile apply final/
  lastmile apply final/ --model realesrgan-x4plus     rejected ones again, with this network
  lastmile apply verdicts.json --dir final/           what a client sent back

Approved pictures are linked (or copied) into DIR/approved. Rejected ones are made again from their sources
with the settings of their journal, in place, and are then unreviewed; the command that made them first
leaves them so. Those that cannot be made again are told, and the command ends with 3. Sources are never touched.")]
pub struct Args {
    /// Folder that was reviewed, or a file of verdicts
    #[arg(value_name = "DIR|VERDICTS.json")]
    from: PathBuf,
    /// Folder that the file of verdicts is about
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where approved pictures go [default: DIR/approved]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Folder of the same shape with the sources [default: what the journal or the review tells]
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Network for the rejected ones: an id from `lastmile models list`, an ONNX file, or `none`
    /// [default: the built-in faithful ones]
    #[arg(long, value_name = "ID|FILE")]
    model: Option<String>,
    /// Processor or graphics card: auto, cpu, cuda, tensorrt, directml, coreml, openvino or webgpu, with :N for the Nth
    #[arg(long, value_name = "DEVICE[:N]", default_value = "auto")]
    device: Device,
    /// Files in flight [default: by cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Memory to stay within [default: half of what is free]
    #[arg(long, value_name = "SIZE", value_parser = text::bytes)]
    memory: Option<u64>,
    /// Write a contact sheet and a table (CSV) into this folder as well
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Say what would be done, write nothing
    #[arg(long)]
    dry_run: bool,
}

/// How the rejected ones are made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Remedy {
    /// With the built-in faithful networks.
    Faithful,
    /// With the network after `--model`.
    Model,
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let dir = args.folder()?;
    if let Some(source) = args.source.as_ref().filter(|s| !s.is_dir()) {
        return Err(Error::usage(source.display(), "no such folder", "check the spelling; names with spaces need quotes").into());
    }
    let review = Review::open(&dir, &Options { exclusive: !args.dry_run, seed: 1, source: args.source.clone(), ..Options::default() })?;
    if args.from.is_file() && !same(&args.from, &dir.join(STATE).join("verdicts.json")) {
        let Adopted { sent, taken, changed } = review.adopt(&Verdicts::load(&args.from)?, args.dry_run)?;
        let mut words = format!("{taken} of {sent} verdicts are about pictures in {}", dir.display());
        match changed {
            0 => {}
            1 => words.push_str("; 1 is another than was decided here, and takes its place"),
            n => words.push_str(&format!("; {n} are others than were decided here, and take their places")),
        }
        say(words);
    }
    let sorted = Sorted::new(&review);
    if sorted.undecided.len() == review.pictures.len() {
        return Err(Error::usage(dir.display(), "nothing is decided yet", format!("lastmile review {}", quoted(dir.as_os_str()))).into());
    }
    let into = args.into.clone().unwrap_or_else(|| dir.join(APPROVED));
    // All that may be wrong with the command is found before anything is moved.
    check_folder(&review, &sorted, &into)?;
    let again = plan(&args, &review, &sorted, globals)?;
    let report = Progress::new(globals, Default::default())?;
    if args.dry_run {
        foresee(&args, &review, &sorted, &again, &into, &report, globals)?;
        return Ok(Exit::Done);
    }
    report.event(&Event::Start(Start {
        files: again.make.len(),
        model: if again.models.is_empty() { "none".into() } else { again.models.join(", ") },
        device: args.device.to_string(),
        output: dir.display().to_string(),
        ..Start::default()
    }));
    let moved = put_aside(&review, &sorted, &into)?;
    tell(&review, &sorted, &moved, &into, &report);
    again.record(&review, &report);
    if let Some(folder) = &args.report {
        ledger::write(&review, folder, &|_| {})?;
        say(format_args!("Contact sheet: {}", folder.join("index.html").display()));
    }
    let all = make_again(&args, &review, &again, &report, globals)?;
    again.tell(&review);
    if all.done > 0 && all.fatal.is_none() && !all.interrupted {
        say(format_args!("To look at what was made again: lastmile review {}", quoted(dir.as_os_str())));
    }
    let short = !again.left.is_empty() || moved.count(Fate::Changed) + moved.count(Fate::Altered) > 0;
    Ok(match all.exit() {
        Exit::Done | Exit::Gate if short => Exit::Failed,
        exit => exit,
    })
}

/// Says what would be done.
fn foresee(
    args: &Args,
    review: &Review,
    sorted: &Sorted,
    again: &Again,
    into: &Path,
    report: &Progress,
    globals: &Globals,
) -> anyhow::Result<()> {
    let listed = !super::models::json_only(globals);
    for i in sorted.approved.iter().chain(&sorted.repaired) {
        let p = &review.pictures[*i];
        let to = into.join(journal::decode(&p.name));
        if listed {
            out(format_args!("{} -> {}", p.path.display(), to.display()))?;
        }
        report.line(&json!({"event": "verdict", "picture": p.name, "decision": decision(review, p), "outcome": "put_aside",
            "file": to.display().to_string()}));
    }
    for (remedy, i) in &again.make {
        let p = &review.pictures[*i];
        let how = if *remedy == Remedy::Model { args.model.as_deref().unwrap_or_default() } else { "faithful" };
        if listed {
            out(format_args!("{} again, {how}", p.path.display()))?;
        }
        report.line(&json!({"event": "verdict", "picture": p.name, "decision": decision(review, p), "outcome": "again", "model": how}));
    }
    again.record(review, report);
    again.tell(review);
    say("Nothing was written.");
    Ok(())
}

/// Says what was put aside and what was not.
fn tell(review: &Review, sorted: &Sorted, moved: &Moved, into: &Path, report: &Progress) {
    for (name, fate) in &moved.fates {
        let outcome = match fate {
            Fate::Linked => "linked",
            Fate::Copied => "copied",
            Fate::Kept => "kept",
            Fate::TakenOut => "taken_out",
            Fate::Orphaned => "orphaned",
            Fate::Changed => "changed",
            Fate::Altered => "altered",
        };
        let decided = review.pictures.iter().find(|p| p.name == *name).and_then(|p| decision(review, p));
        report.line(&json!({"event": "verdict", "picture": name, "decision": decided, "outcome": outcome,
            "file": into.join(journal::decode(name)).display().to_string()}));
    }
    let n = |fate| moved.count(fate);
    let mut words = vec![format!("{} approved in {}", n(Fate::Linked) + n(Fate::Copied) + n(Fate::Kept), into.display())];
    for (fate, what) in [
        (Fate::Copied, "copied, the rest linked"),
        (Fate::TakenOut, "taken out again"),
        (Fate::Orphaned, "left there, though their results are gone"),
    ] {
        if n(fate) > 0 {
            words.push(format!("{} {what}", n(fate)));
        }
    }
    if !sorted.undecided.is_empty() {
        words.push(format!("{} undecided, left alone", sorted.undecided.len()));
    }
    say(words.join("; "));
    let again = format!("lastmile review {}", quoted(review.root.as_os_str()));
    let there = format!("in {} changed since it was approved, left there; remove it, then {again}", into.display());
    for (fate, what) in [(Fate::Changed, format!("not put aside, changed since it was reviewed: {again}")), (Fate::Altered, there)] {
        if n(fate) > 0 {
            say(format_args!("{} {what}:", progress::files(n(fate))));
            moved.names(fate).for_each(|name| say(format_args!("  {name}")));
        }
    }
}

fn decision(review: &Review, p: &Picture) -> Option<Decision> {
    review.verdicts().get(&p.sha256).and_then(|e| e.decision)
}

impl Args {
    /// What files are made with.
    fn work(&self) -> Work {
        Work {
            include: Vec::new(),
            exclude: Vec::new(),
            jobs: self.jobs,
            memory: self.memory,
            keep_master: false,
            overwrite: false,
            // What was found in the rejected version says nothing about the next one.
            inspect: true,
            no_inspect: false,
            repair: None,
        }
    }

    fn recipe(&self, remedy: Remedy) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.upscale.model = self.model.clone().filter(|_| remedy == Remedy::Model);
        recipe.run.device = self.device;
        // An animation that was taken once is taken again.
        recipe.output.first_frame = true;
        recipe
    }

    /// The folder that the verdicts are about.
    fn folder(&self) -> crate::Result<PathBuf> {
        match (&self.dir, self.from.is_dir()) {
            (Some(_), true) => Err(Error::usage("--dir", format!("{} is a folder already", self.from.display()), "leave --dir out")),
            (Some(dir), false) => Ok(dir.clone()),
            (None, true) => Ok(self.from.clone()),
            (None, false) => {
                let state = self.from.parent().filter(|p| p.file_name().is_some_and(|n| n == STATE));
                let dir = state.and_then(Path::parent).map(|d| if d.as_os_str().is_empty() { Path::new(".") } else { d });
                dir.map(Path::to_path_buf).ok_or_else(|| {
                    let json = self.from.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
                    let what = match (self.from.exists(), json) {
                        (true, true) => "it does not tell which folder it is about",
                        (true, false) => "neither a folder nor a file of verdicts",
                        (false, _) => "no such file or folder",
                    };
                    Error::usage(self.from.display(), what, "the folder that was reviewed, or --dir DIR beside the file")
                })
            }
        }
    }
}

fn same(one: &Path, two: &Path) -> bool {
    one.canonicalize().ok().is_some_and(|one| two.canonicalize().ok() == Some(one))
}

/// What is made again, and what cannot be.
#[derive(Debug, Default)]
struct Again {
    make: Vec<(Remedy, usize)>,
    /// Pictures and why not.
    left: Vec<(usize, &'static str)>,
    /// Ids of the networks.
    models: Vec<String>,
}

impl Again {
    /// What cannot be made, in JSON.
    fn record(&self, review: &Review, report: &Progress) {
        for (i, why) in &self.left {
            let p = &review.pictures[*i];
            report.line(&json!({"event": "verdict", "picture": p.name, "decision": decision(review, p), "outcome": "left", "reason": why}));
        }
    }

    /// What cannot be made, for people.
    fn tell(&self, review: &Review) {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (i, why) in &self.left {
            reasons.entry(why).or_default().push(&review.pictures[*i].name);
        }
        for (why, names) in reasons {
            say(format_args!("{} not made again, {why}:", progress::files(names.len())));
            for name in names {
                say(format_args!("  {name}"));
            }
        }
    }
}

/// Which remedy each rejected picture gets.
fn plan(args: &Args, review: &Review, sorted: &Sorted, globals: &Globals) -> crate::Result<Again> {
    // All embedded networks are.
    let faithful: Vec<&str> = EMBEDDED.iter().map(|e| e.id).collect();
    let mut again = Again::default();
    let asked = if args.model.is_some() { Remedy::Model } else { Remedy::Faithful };
    let rejected = sorted.rejected.iter().map(|i| (asked, *i));
    let repair = sorted.faithful.iter().map(|i| (Remedy::Faithful, *i));
    for (remedy, i) in rejected.chain(repair) {
        let p = &review.pictures[i];
        let is_faithful = p
            .record
            .as_ref()
            .is_some_and(|r| !r.plan.passes.is_empty() && r.plan.passes.iter().all(|p| faithful.contains(&p.model.as_str())));
        match recipe(p) {
            Err(why) => again.left.push((i, why)),
            Ok(_) if remedy == Remedy::Faithful && is_faithful && args.model.is_some() => again.make.push((Remedy::Model, i)),
            Ok(_) if remedy == Remedy::Faithful && is_faithful => {
                again.left.push((i, "the faithful networks made it already; --model names another, or mend the source"));
            }
            Ok(_) => again.make.push((remedy, i)),
        }
    }
    again.make.sort_by_key(|(remedy, i)| (*remedy, *i));
    let work = args.work();
    for remedy in [Remedy::Faithful, Remedy::Model] {
        let wanted = again.make.iter().any(|(r, _)| *r == remedy) || remedy == Remedy::Model && args.model.is_some();
        if !wanted {
            continue;
        }
        let recipe = args.recipe(remedy);
        let maker = Maker::again(Settings::default(), &recipe, &work, args.dry_run, globals)?;
        let mut left = Vec::new();
        again.make.retain(|(r, i)| {
            let why = if *r == remedy { idle(&maker, &review.pictures[*i]) } else { None };
            left.extend(why.map(|why| (*i, why)));
            why.is_none()
        });
        again.left.extend(left);
        if again.make.iter().any(|(r, _)| *r == remedy) {
            again.models.push(maker.model().to_owned());
        }
    }
    Ok(again)
}

/// Why making a picture again would only repeat it: neither then nor now does a network run.
fn idle(maker: &Maker<'_>, p: &Picture) -> Option<&'static str> {
    let (source, settings) = recipe(p).ok()?;
    let without = p.record.as_ref().is_some_and(|r| r.plan.passes.is_empty());
    // A source that cannot be read fails when its turn comes.
    if !without || maker.enlarges(&source, &settings).unwrap_or(true) {
        return None;
    }
    let larger = p.source.as_ref().is_some_and(|s| p.width > s.width || p.height > s.height);
    Some(match larger {
        false => "no network makes it: it was only graded or reduced; reject it in the folder it came from",
        true => "no network made it, and none would; --model names one",
    })
}

/// Several runs as one: files go on to the listener, starts and ends do not.
struct Joined<'a> {
    listener: &'a dyn Listener,
    /// All ends so far: flagged files, decoded ones, tiles.
    ends: Mutex<(usize, u64, u64)>,
}

impl Joined<'_> {
    fn ends(&self) -> MutexGuard<'_, (usize, u64, u64)> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Joined<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::Start(_) => {}
            Event::End(end) => {
                let mut all = self.ends();
                *all = (all.0 + end.flagged, all.1 + end.decoded, all.2 + end.tiles);
            }
            event => self.listener.event(event),
        }
    }

    fn begin(&self, item: &Item) {
        self.listener.begin(item);
    }

    fn progress(&self, item: &Item, share: f64) {
        self.listener.progress(item, share);
    }
}

/// Makes pictures again in their places, group by group: those that share remedy and settings.
fn make_again(args: &Args, review: &Review, again: &Again, listener: &Progress, globals: &Globals) -> anyhow::Result<Summary> {
    let clock = Instant::now();
    let mut groups: BTreeMap<(Remedy, String), (Settings, Vec<Item>)> = BTreeMap::new();
    for (n, (remedy, i)) in again.make.iter().enumerate() {
        let p = &review.pictures[*i];
        let Ok((source, settings)) = recipe(p) else { continue };
        let format = settings.encoding.format;
        let shared = shared(settings);
        let key = serde_json::to_string(&shared).map_err(|e| Error::Internal(format!("settings: {e}")))?;
        let item =
            Item { job: n + 1, source, output: journal::decode(&p.name), format, renamed: false, mask: None, variant: 0, preset: None };
        groups.entry((*remedy, key)).or_insert_with(|| (shared, Vec::new())).1.push(item);
    }
    let any = !groups.is_empty();
    let joined = Joined { listener, ends: Mutex::default() };
    let stop = stop_on_signals()?;
    let work = args.work();
    let mut all = Summary::default();
    for ((remedy, _), (mut settings, items)) in groups {
        let recipe = args.recipe(remedy);
        // Blending towards the faithful network would leave nothing of another choice to judge.
        if remedy == Remedy::Faithful {
            settings.faithful = 0.0;
            settings.repair = Repair::Off;
        }
        let maker = Maker::again(settings, &recipe, &work, false, globals)?;
        let planned = Planned { root: review.root.clone(), items, ..Planned::default() };
        let batch = Batch::open(planned, BatchOptions { instead: true, ..maker.options() })?;
        let start = maker.start(&batch);
        if globals.verbosity >= 0 {
            say(format_args!("{} again with {}", progress::files(start.files), start.model));
        }
        let summary = maker.make(batch, start, &joined, &stop)?;
        all.done += summary.done;
        all.skipped += summary.skipped;
        all.failed += summary.failed;
        all.left += summary.left;
        all.pixels += summary.pixels;
        all.bytes += summary.bytes;
        all.failures.extend(summary.failures);
        all.held.extend(summary.held);
        all.interrupted |= summary.interrupted;
        all.fatal = all.fatal.or(summary.fatal);
        if all.interrupted || all.fatal.is_some() {
            break;
        }
    }
    let (flagged, decoded, tiles) = *joined.ends();
    all.seconds = clock.elapsed().as_secs_f64();
    let (done, skipped, failed, held, seconds) = (all.done, all.skipped, all.failed, all.held.len(), all.seconds);
    listener.event(&Event::End(End { done, skipped, failed, held, flagged, orphans: 0, decoded, tiles, seconds }));
    if let Some(e) = &all.fatal {
        say(format_args!("error: {e}"));
    }
    if any {
        let mut words = vec![format!("{} made again", all.done)];
        for (n, what) in [(all.skipped, "as they were already"), (all.failed, "failed"), (all.left, "left")] {
            if n > 0 {
                words.push(format!("{n} {what}"));
            }
        }
        say(words.join(", "));
    }
    if all.interrupted {
        say(format_args!("Stopped. To go on: {}", super::command_line()));
    }
    Ok(all)
}

/// The settings without what follows from a file's format, so that files of several formats run together.
fn shared(mut settings: Settings) -> Settings {
    let e = &mut settings.encoding;
    if !e.is_lossy() {
        e.quality = 0;
    }
    e.format = Format::Png;
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encoding;

    #[test]
    fn formats_share_what_does_not_concern_them() {
        let of_format =
            |format, quality| shared(Settings { encoding: Encoding { format, quality, ..Encoding::default() }, ..Settings::default() });
        assert_eq!(of_format(Format::Jpeg, 0), of_format(Format::Png, 100));
        assert_ne!(of_format(Format::Jpeg, 90), of_format(Format::Png, 100));
    }
}
