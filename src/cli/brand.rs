//! `lastmile brand`: one look, the logo, and the files a brand wants; and how near pictures are to it.
//!
//! Over 500 lines because one verb is one file: its four ways share the kit, the files it writes and the words it uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::flags::Work;
use super::job::stop_on_signals;
use super::models::{json_only, record};
use super::progress::{self, Progress};
use super::{Globals, out, say};
use crate::batch::events::{Event, FileEvent, Listener, Start};
use crate::batch::plan::{Item, Planned, Request, plan};
use crate::batch::{Batch, Options};
use crate::brand::apply::{Brand, Grade};
use crate::brand::kit::{EXTENSION, GroupBy, Kit, blank};
use crate::brand::palette::Swatch;
use crate::brand::report::{Report, Row, card};
use crate::brand::score::{self, Profile};
use crate::codec::{self, Encoding, Limits};
use crate::error::{Error, Exit};
use crate::grade::matching::Statistics;
use crate::image::Image;
use crate::pipeline::{Done, Hooks, Job, Plan, Settings};
use crate::upscale::machine;

/// Give pictures a brand's look, its logo and its file sizes; score them
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  lastmile brand new Acme --north-star refs/*.jpg --palette 'red=#d0103a' --logo logo.png
  lastmile brand score renders/ --kit acme.brand.toml
  lastmile brand renders/ -o final/ --kit acme.brand.toml --proof 8
  lastmile brand renders/ -o final/ --kit acme.brand.toml"
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Pictures and folders of pictures
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Folder for the results
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// The brand: a .brand.toml file
    #[arg(long, value_name = "FILE")]
    kit: Option<PathBuf>,
    /// Make only N of the pictures, in OUT/_proof, with a page that shows them before and after
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    proof: Option<u16>,
    #[command(flatten)]
    work: Work,
    /// Say what would be done, write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Write a kit to start from and a page that shows it, into this folder
    New {
        #[arg(value_name = "NAME")]
        name: String,
        /// Pictures that show how everything shall look
        #[arg(long, value_name = "REF", num_args = 1..)]
        north_star: Vec<PathBuf>,
        /// The brand's colours: '#d0103a' or 'red=#d0103a'
        #[arg(long, value_name = "COLOUR", num_args = 1..)]
        palette: Vec<String>,
        /// A PNG with alpha
        #[arg(long, value_name = "FILE")]
        logo: Option<PathBuf>,
    },
    /// Say what is wrong with a kit
    Check {
        #[arg(value_name = "KIT", required = true)]
        kits: Vec<PathBuf>,
    },
    /// Score pictures as they are: how near to the references and the palette, and how alike
    Score {
        /// Pictures and folders of pictures
        #[arg(value_name = "INPUT", required = true)]
        inputs: Vec<PathBuf>,
        /// The brand: a .brand.toml file
        #[arg(long, value_name = "FILE")]
        kit: PathBuf,
        /// Write a page with plots
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Write a table
        #[arg(long, value_name = "FILE")]
        csv: Option<PathBuf>,
    },
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    match &args.what {
        Some(What::New { name, north_star, palette, logo }) => new(name, north_star, palette, logo.as_deref(), globals),
        Some(What::Check { kits }) => check(kits, globals),
        Some(What::Score { inputs, kit, html, csv }) => score_all(inputs, kit, html.as_deref(), csv.as_deref(), globals),
        None => apply(&args, globals),
    }
}

fn new(name: &str, references: &[PathBuf], palette: &[String], logo: Option<&Path>, globals: &Globals) -> anyhow::Result<Exit> {
    let slug: String = name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() {
        return Err(Error::usage("NAME", format!("`{name}` has no letter or digit"), "lastmile brand new Acme").into());
    }
    let (file, page) = (PathBuf::from(format!("{slug}{EXTENSION}")), PathBuf::from(format!("{slug}.brand.html")));
    for path in [&file, &page] {
        if path.symlink_metadata().is_ok() {
            return Err(Error::usage(path.display(), "it is there already", "another name, or move it away").into());
        }
    }
    let palette = palette.iter().map(|c| Swatch::parse(c)).collect::<crate::Result<Vec<_>>>()?;
    let text = |p: &Path| {
        let told = || Error::usage(p.display(), "a kit cannot hold this path: it is not UTF-8", "rename the file");
        p.to_str().map(str::to_owned).ok_or_else(told)
    };
    let references = references.iter().map(|r| text(r)).collect::<crate::Result<Vec<_>>>()?;
    let logo = logo.map(text).transpose()?;
    let written = blank(name, &references, &palette, logo.as_deref());
    // A kit that this program cannot use is not written.
    let kit = Kit::parse(&file, &written)?;
    let shown = card(&kit, kit.reference()?.as_ref().map(Profile::of).as_ref());
    Brand::open(kit)?;
    std::fs::write(&file, written).map_err(|e| Error::io(&file, e))?;
    std::fs::write(&page, shown).map_err(|e| Error::io(&page, e))?;
    record(globals, vec![serde_json::json!({"event": "kit", "name": name, "kit": file, "card": page})])?;
    say(format_args!("{} and {} written.", file.display(), page.display()));
    say(format_args!("lastmile brand score PICTURES --kit {}", file.display()));
    Ok(Exit::Done)
}

fn check(kits: &[PathBuf], globals: &Globals) -> anyhow::Result<Exit> {
    let mut lines = Vec::new();
    for path in kits {
        let kit = Kit::read(path)?;
        let told = format!(
            "{}: {} references, {} colours, {}, {}",
            path.display(),
            kit.references.len(),
            kit.palette.len(),
            if kit.logo.is_some() { "a logo" } else { "no logo" },
            progress::files(kit.exports.len()) + " per picture"
        );
        lines.push(serde_json::json!({"event": "kit", "name": kit.name, "kit": path, "references": kit.references.len(), "palette": kit.palette.len()}));
        Brand::open(kit)?;
        if !json_only(globals) {
            out(told)?;
        }
    }
    record(globals, lines)?;
    Ok(Exit::Done)
}

/// A source as the pre-pass sees it.
struct Seen {
    group: String,
    statistics: Statistics,
}

/// Counts the colours of every picture, several at once; those that cannot be read are `Err`.
fn look_at(sources: &[PathBuf], by: GroupBy, limits: &Limits, count: fn(&Image) -> crate::Result<Statistics>) -> Vec<crate::Result<Seen>> {
    let one = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let image = codec::decode(path, &bytes, limits)?;
        let folder = || path.parent().map_or_else(String::new, |p| p.display().to_string());
        let group = match by {
            GroupBy::Picture => path.display().to_string(),
            GroupBy::Folder => folder(),
            GroupBy::Generator => match codec::generation(&image.metadata) {
                // Versions of one program make the same kind of picture.
                Some(g) if !g.model.is_empty() => format!("{} {}", g.generator, g.model),
                Some(g) if !g.generator.is_empty() => g.generator,
                _ => folder(),
            },
        };
        Ok(Seen { group, statistics: count(&image)? })
    };
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Option<crate::Result<Seen>>>> = Mutex::new((0..sources.len()).map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..machine::cores().clamp(1, 16).min(sources.len().max(1)) {
            scope.spawn(|| {
                while let Some((i, path)) = sources.get(next.load(Ordering::Relaxed)).and_then(|_| {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    sources.get(i).map(|p| (i, p))
                }) {
                    let seen = one(path);
                    found.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(seen);
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.into_iter().map(|f| f.unwrap_or_else(|| Err(Error::Internal("a picture was not looked at".into())))).collect()
}

fn score_all(inputs: &[PathBuf], kit: &Path, html: Option<&Path>, csv: Option<&Path>, globals: &Globals) -> anyhow::Result<Exit> {
    let brand = Brand::open(Kit::read(kit)?)?;
    // Only the finding of sources is wanted: nothing is written there.
    let nowhere = PathBuf::from("lastmile-brand-score");
    let planned = plan(&Request { inputs: inputs.to_vec(), output: nowhere, ..Request::default() }, &|_| Ok((0, 0)))?;
    let sources: Vec<PathBuf> = planned.items.iter().map(|i| i.source.clone()).collect();
    let by = match brand.kit().group_by {
        GroupBy::Picture => GroupBy::Folder,
        by => by,
    };
    let mut rows = Vec::new();
    let mut failed = 0;
    for (path, seen) in sources.iter().zip(look_at(&sources, by, &Limits::default(), score::statistics)) {
        match seen {
            Ok(s) => rows.push(Row { picture: path.clone(), group: s.group, score: brand.score(&s.statistics), statistics: s.statistics }),
            Err(e) => {
                failed += 1;
                say(format_args!("error: {e}"));
            }
        }
    }
    if rows.is_empty() && failed == 0 {
        return Err(Error::usage(inputs[0].display(), "no pictures in there", "a folder with PNG, JPEG, WebP or TIFF files").into());
    }
    let report = Report::new(rows);
    let mut lines: Vec<serde_json::Value> = Vec::new();
    for r in &report.rows {
        lines.push(serde_json::json!({
            "event": "score", "input": r.picture.display().to_string(), "group": r.group, "score": r.score.score,
            "colour_distance": r.score.colour, "tone_distance": r.score.tone,
            "palette": {"share": r.score.palette.any, "de2000": r.score.palette.distance, "swatches": r.score.palette.swatches},
        }));
    }
    for g in &report.groups {
        lines.push(
            serde_json::json!({"event": "group", "group": g.name, "pictures": g.pictures, "score": g.score, "consistency": g.consistency}),
        );
        if !json_only(globals) {
            out(format_args!("{:>5.1} score {:>5.1} consistency {:>6} pictures  {}", g.score, g.consistency, g.pictures, g.name))?;
        }
    }
    if !json_only(globals) {
        out(format_args!("{:>5.1} score {:>5.1} consistency {:>6} pictures  all", report.score, report.consistency, report.rows.len()))?;
    }
    lines.push(serde_json::json!({"event": "set", "pictures": report.rows.len(), "failed": failed, "score": report.score, "consistency": report.consistency}));
    record(globals, lines)?;
    let reference = brand.kit().reference()?.as_ref().map(Profile::of);
    for (path, text) in [(html, report.html(brand.kit(), reference.as_ref())), (csv, report.csv())] {
        if let Some(path) = path {
            std::fs::write(path, text).map_err(|e| Error::io(path, e))?;
        }
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

/// What notes of files that missed a gate begin with; it is how a run that was cut short knows them.
const HELD: &str = "held: ";
/// Where they go, below the output folder.
const HOLD: &str = "_hold";

fn apply(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    const HOW: &str = "lastmile brand renders/ -o final/ --kit acme.brand.toml";
    let Some(output) = &args.output else { return Err(Error::usage("-o", "there is no folder for the results", HOW).into()) };
    let Some(kit) = &args.kit else { return Err(Error::usage("--kit", "there is no kit", HOW).into()) };
    let brand = Brand::open(Kit::read(kit)?)?;
    let limits = Limits::default();
    let root = if args.proof.is_some() { output.join("_proof") } else { output.clone() };

    let (planned, exports) = whole_plan(args, &brand, &root)?;
    for note in &planned.notes {
        say(format_args!("note: {note}"));
    }
    if planned.items.is_empty() {
        return Err(Error::usage(args.inputs[0].display(), "no pictures in there", "a folder with PNG, JPEG, WebP or TIFF files").into());
    }

    // Every picture counts for its group's transform, also those that are done already: a run that goes on makes the same.
    let mut sources: Vec<PathBuf> = planned.items.iter().map(|i| i.source.clone()).collect();
    sources.sort();
    sources.dedup();
    if globals.verbosity >= 0 {
        say(format_args!("Looking at {}.", progress::files(sources.len())));
    }
    let seen = look_at(&sources, brand.kit().group_by, &limits, Statistics::of);
    let mut groups: BTreeMap<&str, Statistics> = BTreeMap::new();
    for s in seen.iter().flatten() {
        groups.entry(&s.group).and_modify(|all| all.merge(&s.statistics)).or_insert_with(|| s.statistics.clone());
    }
    let grades: BTreeMap<&str, Grade> = groups.iter().map(|(g, s)| Ok((*g, brand.grade(s)?))).collect::<crate::Result<_>>()?;
    let by_source: BTreeMap<&Path, &Grade> =
        sources.iter().zip(&seen).filter_map(|(path, s)| Some((path.as_path(), grades.get(s.as_ref().ok()?.group.as_str())?))).collect();
    if globals.verbosity >= 0 {
        for (group, grade) in grades.iter().filter(|(_, g)| g.reduced.is_some()) {
            say(format_args!("note: {group}: {}", grade.reduced.as_deref().unwrap_or_default()));
        }
    }

    let (planned, exports) = match args.proof {
        Some(n) => proof_of(planned, &exports, usize::from(n)),
        None => (planned, exports),
    };
    let cores = machine::cores();
    let memory = args.work.memory.unwrap_or_else(|| machine::memory().map_or(2 << 30, |m| m.available / 2));
    let jobs = args.work.jobs.map_or(cores.clamp(1, 16), usize::from);
    let options = Options {
        settings: Settings {
            dither: false,
            encoding: Encoding { bits: 0, ..Encoding::default() },
            epoch: globals.epoch,
            ..Settings::default()
        },
        limits,
        model: identity(&brand, &grades),
        jobs,
        memory,
        keep_master: false,
        overwrite: args.work.overwrite,
        retry_failed: false,
        hot: false,
        instead: false,
    };
    let sheet: Vec<Item> = planned.items.clone();
    let batch = if args.dry_run { Batch::preview(planned, options)? } else { Batch::open(planned, options)? };
    let start = Start {
        files: batch.todo().len() + batch.skipped(),
        skipped: batch.skipped(),
        megapixels: None,
        model: "none".into(),
        device: "cpu".into(),
        grade_device: None,
        jobs,
        seconds: None,
        output: batch.root().display().to_string(),
    };
    let opening = progress::opening(&start, cores);
    if args.dry_run {
        for item in batch.todo() {
            if !json_only(globals) {
                out(format_args!("{} -> {}", item.source.display(), batch.root().join(&item.output).display()))?;
            }
        }
        say(opening);
        say("Nothing was written.");
        return Ok(Exit::Done);
    }
    if globals.verbosity >= 0 {
        say(&opening);
    }
    let process = |job: Job<'_>, hooks: Hooks<'_>| make(&brand, &by_source, &exports, &job, &hooks);
    let estimate = |item: &Item, bytes: &[u8]| {
        let pixels = codec::header(&item.source, bytes, &limits).map_or(0, |h| (h.width * h.height) as u64 * u64::from(h.bits / 8) * 4);
        // The finished file is decoded again for the gate.
        bytes.len() as u64 + 2 * pixels
    };
    let listener = Holds { inner: Progress::new(globals, Default::default())?, held: Mutex::new(Vec::new()) };
    let stop = stop_on_signals()?;
    let summary = batch.run(start, &process, &estimate, &listener, &stop)?;
    if let Some(e) = &summary.fatal {
        say(format_args!("error: {e}"));
    }
    let held = listener.held.into_inner().unwrap_or_else(PoisonError::into_inner);
    hold(&root, &held)?;
    if args.proof.is_some() {
        let page = root.join("proof.html");
        std::fs::write(&page, proof_page(&root, &sheet)?).map_err(|e| Error::io(&page, e))?;
        say(format_args!("{} shows them before and after.", page.display()));
    }
    say(progress::closing(&summary, &root, &super::command_line()));
    for (path, why) in &held {
        say(format_args!("{}: {why}", root.join(HOLD).join(path).display()));
    }
    let exit = summary.exit();
    Ok(if exit == Exit::Done && !held.is_empty() { Exit::Gate } else { exit })
}

/// One item per source and export, and which export each job is of.
fn whole_plan(args: &Args, brand: &Brand, root: &Path) -> crate::Result<(Planned, BTreeMap<usize, usize>)> {
    let mut whole = Planned::default();
    let mut exports = BTreeMap::new();
    for (e, export) in brand.kit().exports.iter().enumerate() {
        let request = Request {
            inputs: args.inputs.clone(),
            output: root.to_path_buf(),
            format: export.format,
            name: None,
            include: args.work.include.clone(),
            // What an earlier run made is no source.
            exclude: args.work.exclude.iter().cloned().chain([format!("{HOLD}/**"), "_proof/**".to_owned()]).collect(),
            masks: None,
            shard: None,
        };
        let planned = plan(&request, &|_| Ok((0, 0)))?;
        if planned.items.iter().any(|i| i.output.components().count() == 1) && root.is_file() {
            return Err(Error::usage("-o", format!("{} is a file", root.display()), "a folder"));
        }
        for mut item in planned.items {
            item.output = Path::new(&export.name).join(&item.output);
            item.job = whole.items.len() + 1;
            exports.insert(item.job, e);
            whole.items.push(item);
        }
        (whole.root, whole.others, whole.notes) = (planned.root, planned.others, planned.notes);
    }
    Ok((whole, exports))
}

/// `n` sources spread over the plan, with all their files.
fn proof_of(planned: Planned, exports: &BTreeMap<usize, usize>, n: usize) -> (Planned, BTreeMap<usize, usize>) {
    let mut sources: Vec<&Path> = planned.items.iter().map(|i| i.source.as_path()).collect();
    sources.sort_unstable();
    sources.dedup();
    let n = n.min(sources.len());
    let chosen: Vec<PathBuf> = (0..n).map(|i| sources[(2 * i + 1) * sources.len() / (2 * n)].to_path_buf()).collect();
    let mut kept = BTreeMap::new();
    let mut items = Vec::new();
    for mut item in planned.items {
        if chosen.contains(&item.source) {
            let export = exports.get(&item.job).copied().unwrap_or_default();
            item.job = items.len() + 1;
            kept.insert(item.job, export);
            items.push(item);
        }
    }
    (Planned { items, ..Planned { root: planned.root, others: planned.others, notes: planned.notes, ..Planned::default() } }, kept)
}

fn proof_page(root: &Path, items: &[Item]) -> crate::Result<String> {
    let escaped = |p: &Path| p.display().to_string().replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let mut page = "<!doctype html><html lang=en><meta charset=utf-8><title>Proof</title><style>:root{color-scheme:light dark}\
                    body{font:15px system-ui,sans-serif;margin:2rem}figure{display:inline-block;margin:0 1rem 1rem 0}\
                    img{height:18rem;margin-right:.2rem}</style><h1>Before and after</h1>"
        .to_owned();
    for item in items {
        let source = std::path::absolute(&item.source).map_err(|e| Error::io(&item.source, e))?;
        let kept = root.join(&item.output).is_file();
        let after = if kept { item.output.clone() } else { Path::new(HOLD).join(&item.output) };
        page += &format!(
            "<figure><img src=\"file://{}\"><img src=\"{}\"><figcaption>{}{}</figcaption></figure>",
            escaped(&source),
            escaped(&after),
            escaped(&item.output),
            if kept { "" } else { " (held)" }
        );
    }
    Ok(page + "\n")
}

/// What decides the pixels beside the source: the kit, and what the groups made of it.
fn identity(brand: &Brand, grades: &BTreeMap<&str, Grade>) -> String {
    // A picture on its own decides its grade by itself.
    if brand.kit().group_by == GroupBy::Picture {
        return brand.identity().to_owned();
    }
    let mut hash = Sha256::new();
    for grade in grades.values() {
        hash.update(format!("{:?} {}", grade.matched, grade.strength));
    }
    hash.finalize().iter().take(8).fold(format!("{} groups ", brand.identity()), |text, b| text + &format!("{b:02x}"))
}

fn make(
    brand: &Brand,
    grades: &BTreeMap<&Path, &Grade>,
    exports: &BTreeMap<usize, usize>,
    job: &Job<'_>,
    hooks: &Hooks<'_>,
) -> crate::Result<Done> {
    // The engine names a job's temp file after its number.
    let number = job.output.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<usize>().ok());
    let export = number.and_then(|n| exports.get(&n)).and_then(|e| brand.kit().exports.get(*e));
    let Some(export) = export else { return Err(Error::Internal(format!("{} is no known job", job.output.display()))) };
    let Some(grade) = grades.get(job.source) else {
        // It could not be read when the colours were counted; most likely it still cannot, and says why.
        codec::decode(job.source, &job.bytes, &job.limits)?;
        return Err(Error::input(job.source, "it changed while the run went on", "run the same command again"));
    };
    let mut encoding = job.settings.encoding.clone();
    if let Some(q) = export.quality {
        encoding.quality = q;
    }
    let made = brand
        .make(job.source, &job.bytes, &job.limits, grade, export, &encoding, job.output, hooks.stop, &|share| (hooks.progress)(share))?;
    let mut notes = made.notes;
    if let Some(why) = made.held {
        notes.insert(0, format!("{HELD}{why}"));
    }
    Ok(Done { width: made.width, height: made.height, bytes: made.bytes, plan: Plan::default(), notes, c2pa: None })
}

/// Passes events on and remembers which files missed a gate.
struct Holds {
    inner: Progress,
    /// Output below the root, and why.
    held: Mutex<Vec<(PathBuf, String)>>,
}

impl Holds {
    fn note(&self, event: &FileEvent) {
        if let Some(why) = event.notes.iter().find_map(|n| n.strip_prefix(HELD)) {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).push((event.output.clone().into(), why.to_owned()));
        }
    }
}

impl Listener for Holds {
    fn event(&self, event: &Event) {
        match event {
            Event::File(file) => {
                self.note(file);
                self.inner.event(event);
            }
            Event::End(end) => {
                let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).len();
                self.inner.event(&Event::End(crate::batch::events::End { held, ..end.clone() }));
            }
            _ => self.inner.event(event),
        }
    }

    fn begin(&self, item: &Item) {
        self.inner.begin(item);
    }

    fn progress(&self, item: &Item, share: f64) {
        self.inner.progress(item, share);
    }
}

/// Moves files that missed a gate out of the delivery.
fn hold(root: &Path, held: &[(PathBuf, String)]) -> crate::Result<()> {
    for (output, _) in held {
        let below = output.strip_prefix(root).unwrap_or(output);
        let to = root.join(HOLD).join(below);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        std::fs::rename(output, &to).map_err(|e| Error::output(&to, format!("it cannot be moved there: {e}"), ""))?;
    }
    Ok(())
}
