//! `lastmile apply`: what was decided in the review is carried out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::flags::Work;
use super::job::{Maker, stop_on_signals};
use super::progress::{self, Progress};
use super::{Globals, out, quoted, say};
use crate::batch::journal::{self, STATE};
use crate::batch::plan::{Item, Planned};
use crate::batch::{Batch, Options as BatchOptions, Summary};
use crate::codec::Format;
use crate::error::{Error, Exit};
use crate::inspect::repair::Repair;
use crate::pipeline::Settings;
use crate::recipe::Recipe;
use crate::recipe::text;
use crate::review::approve::{Sorted, put_aside, recipe};
use crate::review::verdicts::Verdicts;
use crate::review::{APPROVED, Options, Review, ledger};
use crate::upscale::device::Device;
use crate::upscale::model::Model;

/// Carry out a review: approved pictures are put aside, rejected ones made again
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile apply final/
  lastmile apply final/ --model realesrgan-x4plus     rejected ones again, with this network
  lastmile apply verdicts.json --dir final/           what a client sent back

Approved pictures are linked (or copied) into DIR/approved. Rejected ones are made again from their sources
with the settings of their journal, in place, and are then unreviewed; the command that made them first
leaves them so. Sources are never touched.")]
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
    let review = Review::open(&dir, &Options { exclusive: !args.dry_run, seed: 1, ..Options::default() })?;
    if args.from.is_file() && !same(&args.from, &dir.join(STATE).join("verdicts.json")) {
        let sent = Verdicts::load(&args.from)?;
        let taken = review.adopt(&sent, args.dry_run)?;
        say(format_args!("{} of {} verdicts are about pictures in {}", taken, sent.all().len(), dir.display()));
    }
    let sorted = Sorted::new(&review);
    if sorted.undecided.len() == review.pictures.len() {
        return Err(Error::usage(dir.display(), "nothing is decided yet", format!("lastmile review {}", quoted(dir.as_os_str()))).into());
    }
    let into = args.into.clone().unwrap_or_else(|| dir.join(APPROVED));
    let again = plan(&review, &sorted, args.model.as_deref())?;
    if args.dry_run {
        for p in sorted.approved.iter().chain(&sorted.repaired).map(|i| &review.pictures[*i]) {
            out(format_args!("{} -> {}", p.path.display(), into.join(journal::decode(&p.name)).display()))?;
        }
        for (remedy, i) in &again.make {
            let p = &review.pictures[*i];
            let how = if *remedy == Remedy::Model { args.model.as_deref().unwrap_or_default() } else { "faithful" };
            out(format_args!("{} again, {how}", p.path.display()))?;
        }
        again.tell(&review);
        say("Nothing was written.");
        return Ok(Exit::Done);
    }
    let moved = put_aside(&review, &sorted, &into)?;
    let mut words = vec![format!("{} approved in {}", moved.linked + moved.copied + moved.kept, into.display())];
    for (n, what) in [
        (moved.copied, "copied, the rest linked"),
        (moved.removed, "taken out again"),
        (moved.orphaned, "left there, though their results are gone"),
    ] {
        if n > 0 {
            words.push(format!("{n} {what}"));
        }
    }
    if !sorted.undecided.is_empty() {
        words.push(format!("{} undecided, left alone", sorted.undecided.len()));
    }
    say(words.join("; "));
    if let Some(folder) = &args.report {
        ledger::write(&review, folder, &|_| {})?;
        say(format_args!("Contact sheet: {}", folder.join("index.html").display()));
    }
    let exit = make_again(&args, &review, &again, globals)?;
    again.tell(&review);
    if !again.make.is_empty() && exit == Exit::Done {
        say(format_args!("To look at what was made again: lastmile review {}", quoted(dir.as_os_str())));
    }
    Ok(exit)
}

impl Args {
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
}

impl Again {
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
fn plan(review: &Review, sorted: &Sorted, model: Option<&str>) -> crate::Result<Again> {
    let mut faithful: Vec<String> = Model::faithful_family()?.iter().map(|m| m.manifest.id.clone()).collect();
    faithful.push(Model::embedded_default()?.manifest.id.clone());
    let mut again = Again::default();
    let asked = if model.is_some() { Remedy::Model } else { Remedy::Faithful };
    let rejected = sorted.rejected.iter().map(|i| (asked, *i));
    let repair = sorted.faithful.iter().map(|i| (Remedy::Faithful, *i));
    for (remedy, i) in rejected.chain(repair) {
        let p = &review.pictures[i];
        let is_faithful =
            p.record.as_ref().is_some_and(|r| !r.plan.passes.is_empty() && r.plan.passes.iter().all(|p| faithful.contains(&p.model)));
        match recipe(p) {
            Err(why) => again.left.push((i, why)),
            Ok(_) if remedy == Remedy::Faithful && is_faithful && model.is_some() => again.make.push((Remedy::Model, i)),
            Ok(_) if remedy == Remedy::Faithful && is_faithful => {
                again.left.push((i, "the faithful networks made it already; --model names another, or mend the source"));
            }
            Ok(_) => again.make.push((remedy, i)),
        }
    }
    again.make.sort_by_key(|(remedy, i)| (*remedy, *i));
    Ok(again)
}

/// Makes pictures again in their places, group by group: those that share remedy and settings.
fn make_again(args: &Args, review: &Review, again: &Again, globals: &Globals) -> anyhow::Result<Exit> {
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
    if groups.is_empty() {
        return Ok(Exit::Done);
    }
    let listener = Progress::new(globals, Default::default())?;
    let stop = stop_on_signals()?;
    let work = Work {
        include: Vec::new(),
        exclude: Vec::new(),
        jobs: args.jobs,
        memory: args.memory,
        keep_master: false,
        overwrite: false,
        // What was found in the rejected version says nothing about the next one.
        inspect: true,
        no_inspect: false,
        repair: None,
    };
    let mut all = Summary::default();
    for ((remedy, _), (mut settings, items)) in groups {
        let mut recipe = Recipe::default();
        recipe.upscale.model = args.model.clone().filter(|_| remedy == Remedy::Model);
        recipe.run.device = args.device;
        // An animation that was taken once is taken again.
        recipe.output.first_frame = true;
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
        let summary = maker.make(batch, start, &listener, &stop)?;
        all.done += summary.done;
        all.skipped += summary.skipped;
        all.failed += summary.failed;
        all.left += summary.left;
        all.seconds += summary.seconds;
        all.pixels += summary.pixels;
        all.bytes += summary.bytes;
        all.failures.extend(summary.failures);
        all.interrupted |= summary.interrupted;
        all.fatal = all.fatal.or(summary.fatal);
        if all.interrupted || all.fatal.is_some() {
            break;
        }
    }
    if let Some(e) = &all.fatal {
        say(format_args!("error: {e}"));
    }
    let mut words = vec![format!("{} made again", all.done)];
    for (n, what) in [(all.skipped, "as they were already"), (all.failed, "failed"), (all.left, "left")] {
        if n > 0 {
            words.push(format!("{n} {what}"));
        }
    }
    say(words.join(", "));
    if all.interrupted {
        say(format_args!("Stopped. To go on: {}", super::command_line()));
    }
    Ok(all.exit())
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
