//! `lastmile watch`: a hot folder.
//!
//! The folder is looked at again and again, which works on every file system. What has settled goes through the recipe as any
//! batch does, so that a watch that was stopped or killed goes on where it was.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::flags::{Flags, Paths, Work};
use super::job::{self, Maker};
use super::progress::{bytes, files, seconds};
use super::{Globals, say};
use crate::batch::events::{End, Event, FileEvent, Listener, Status, told};
use crate::batch::hot::{FAILED, Settling, set_aside};
use crate::batch::plan::Planned;
use crate::batch::{Batch, Options};
use crate::error::{Error, Exit};
use crate::recipe::Recipe;

/// Put every picture that comes into a folder through a recipe
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lastmile watch inbox/ --recipe standard -o final/
  lastmile watch inbox/ --recipe shop.recipe.toml -o shop/ --format jpeg

A picture is taken when it has not changed for --settle seconds. One that fails is moved to
IN/_failed/ with the reason in a file beside it. Ctrl-C ends it; started again, it goes on. With
--fail-on it exits with 4 then, if what it made of any picture in there was that bad.")]
pub struct Args {
    /// The folder to watch, and all folders in it
    #[arg(value_name = "IN")]
    folder: PathBuf,
    /// A built-in recipe, or a .recipe.toml file
    #[arg(long, value_name = "RECIPE")]
    recipe: String,
    /// Folder for the results
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// How long a file must not have changed, in seconds
    #[arg(long, value_name = "S", default_value = "2", value_parser = settle, help_heading = "Run")]
    settle: Duration,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    work: Work,
}

fn settle(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(s) if (0.0..=3600.0).contains(&s) => Ok(Duration::from_secs_f64(s)),
        _ => Err("seconds from 0 to 3600, for example 2 or 0.5".into()),
    }
}

/// How long a file waits that failed for a reason outside it, such as a full disk.
const AGAIN: Duration = Duration::from_secs(30);

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let mut recipe = Recipe::open(&args.recipe)?;
    args.flags.apply(&mut recipe)?;
    if !args.folder.is_dir() {
        return Err(Error::usage(args.folder.display(), "no such folder", "the folder that pictures are put into").into());
    }
    let maker = Maker::new(&recipe, &args.work, false, globals)?;
    if let Some(note) = maker.alone() {
        say(format_args!("note: {note}"));
    }
    let paths = Paths { inputs: vec![args.folder.clone()], output: args.output.clone() };
    // Mistakes in the command are told at once, and so is an output folder that cannot be written.
    let none = Planned { items: Vec::new(), ..maker.plan(&paths, &[], None)? };
    drop(Batch::open(none, maker.options())?);
    let listener = Told::new(globals)?;
    let stop = job::stop_on_signals()?;
    if globals.verbosity >= 0 {
        say(format_args!("watching {}; results go to {}; Ctrl-C ends it", args.folder.display(), args.output.display()));
    }
    let mut settling = Settling::new(args.settle);
    let pause = (args.settle / 2).clamp(Duration::from_millis(50), Duration::from_secs(2));
    let inside = format!("{FAILED}/**");
    let (mut trouble, mut gated) = (None, false);
    let mut end = End { done: 0, skipped: 0, failed: 0, held: 0, flagged: 0, orphans: 0, decoded: 0, tiles: 0, seconds: 0.0 };
    let clock = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let ready = maker.plan(&paths, &[&inside], None).map(|planned| settled(planned, &mut settling)).and_then(|planned| {
            let sources: Vec<(usize, PathBuf)> = planned.items.iter().map(|i| (i.job, i.source.clone())).collect();
            let none = sources.is_empty();
            Ok(if none { None } else { Some((sources, Batch::open(planned, Options { hot: true, ..maker.options() })?)) })
        });
        match ready {
            Ok(Some((sources, batch))) => {
                trouble = None;
                let start = maker.start(&batch);
                let summary = maker.make(batch, start, &listener, &stop)?;
                end.done += summary.done;
                end.skipped += summary.skipped;
                end.failed += summary.failed;
                end.held += summary.held.len();
                end.flagged += summary.flagged;
                gated |= summary.gated || !summary.held.is_empty();
                if let Some(e) = summary.fatal {
                    return Err(e.into());
                }
                if summary.interrupted {
                    listener.end(end, clock.elapsed());
                    return Ok(Exit::Interrupted);
                }
                for (job, source) in &sources {
                    let again = match summary.failures.iter().find(|f| f.job == *job) {
                        None => None,
                        // Not the picture's fault.
                        Some(f) if matches!(f.kind.as_str(), "output" | "io") => Some(Instant::now() + AGAIN),
                        Some(f) => {
                            match set_aside(&args.folder, source, &told(&f.input, &f.message)) {
                                Ok(now) => say(format_args!("  moved to {}", now.display())),
                                // It stays, and is not tried again before it changes: others still come.
                                Err(e) => say(format_args!("  left where it is: {e}")),
                            }
                            None
                        }
                    };
                    settling.taken(source, again);
                }
            }
            Ok(None) => trouble = None,
            // A share that is away for a while comes back, and another run in the output folder ends.
            Err(e) => {
                let told = e.to_string();
                if trouble.as_ref() != Some(&told) {
                    say(format_args!("waiting: {told}"));
                    trouble = Some(told);
                }
            }
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(pause.min(Duration::from_millis(50)));
        }
    }
    if globals.verbosity >= 0 {
        let held = if end.held > 0 { format!(", {} in _hold", end.held) } else { String::new() };
        say(format_args!("{} done, {} failed{held}", files(end.done), end.failed));
        if end.flagged > 0 {
            say(format_args!("{} flagged: lastmile review {}", files(end.flagged), super::quoted(args.output.as_os_str())));
        }
    }
    listener.end(end, clock.elapsed());
    Ok(if gated { Exit::Gate } else { Exit::Done })
}

/// Only what has settled and was not dealt with.
fn settled(mut planned: Planned, settling: &mut Settling) -> Planned {
    let all: Vec<PathBuf> = planned.items.iter().map(|i| i.source.clone()).collect();
    let mut ready = settling.look(all.iter().map(PathBuf::as_path), Instant::now()).into_iter();
    planned.items.retain(|_| ready.next().unwrap_or(false));
    planned
}

/// One line a file, on standard error and as JSON.
struct Told {
    json: Option<Mutex<Box<dyn Write + Send>>>,
    verbosity: i8,
}

impl Told {
    fn new(globals: &Globals) -> crate::Result<Self> {
        let json = globals.json.as_ref().map(super::JsonTarget::open).transpose()?.map(Mutex::new);
        Ok(Self { json, verbosity: globals.verbosity })
    }

    fn write(&self, event: &Event) {
        if let Some(json) = &self.json {
            let mut to = json.lock().unwrap_or_else(PoisonError::into_inner);
            // A reader that went away does not stop the work on files.
            let _ =
                serde_json::to_writer(&mut *to, event).map_err(std::io::Error::from).and_then(|()| writeln!(to)).and_then(|()| to.flush());
        }
    }

    fn end(&self, end: End, took: Duration) {
        self.write(&Event::End(End { seconds: took.as_secs_f64(), ..end }));
    }
}

impl Listener for Told {
    fn event(&self, event: &Event) {
        if let Event::Report(_) = event {
            return self.write(event);
        }
        let Event::File(file) = event else { return };
        let FileEvent { input, output, width, height, status, .. } = &**file;
        self.write(event);
        match (&file.error, status) {
            (Some(e), _) => say(format_args!("failed: {}", told(input, &e.message).replace('\n', "\n  "))),
            (None, Status::Done) if self.verbosity >= 0 => {
                let name = Path::new(output).display();
                say(format_args!("{input} -> {name}  {width}x{height}, {}, {}", bytes(file.bytes), seconds(file.seconds)));
            }
            _ => {}
        }
    }
}
