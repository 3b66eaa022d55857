//! `lastmile review`: the results on a page, worst first.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{Globals, out, quoted, say};
use crate::error::{Error, Exit};
use crate::review::server::Server;
use crate::review::{Options, Review, export};

/// Look through results in a browser, worst first, and decide
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile review final/
  lastmile review final/ --source renders/      where no journal tells what they were made from
  lastmile review final/ --export for-client/   a folder that opens from disk

The page is served to this machine alone. Verdicts are saved at once; pictures are never changed.
Carry the verdicts out with `lastmile apply`.")]
pub struct Args {
    /// Folder with the results
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Folder of the same shape with the sources [default: what the journal tells]
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Folder with heat maps [default: DIR/.lastmile/heat]
    #[arg(long, value_name = "DIR")]
    heat: Option<PathBuf>,
    /// Draws other ones of the pictures that passed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the review into this new folder instead, to be opened from disk anywhere
    #[arg(long, value_name = "DIR", conflicts_with = "port")]
    export: Option<PathBuf>,
    #[command(flatten)]
    serve: Serve,
}

impl Args {
    /// To review a folder, nothing else said.
    pub(super) fn of(dir: &Path) -> Self {
        let serve = Serve { port: None, no_open: false };
        Self { dir: dir.to_path_buf(), source: None, heat: None, seed: 1, export: None, serve }
    }
}

/// How the page is served.
#[derive(clap::Args, Debug, Clone)]
pub struct Serve {
    /// Port on this machine [default: one that is free]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Print the address only
    #[arg(long)]
    no_open: bool,
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    for dir in args.source.iter().chain(&args.heat) {
        if !dir.is_dir() {
            return Err(Error::usage(dir.display(), "no such folder", "check the spelling; names with spaces need quotes").into());
        }
    }
    let options = Options { source: args.source, heat: args.heat, seed: args.seed, exclusive: args.export.is_none() };
    let mut review = Review::open(&args.dir, &options)?;
    let dir = quoted(args.dir.as_os_str());
    review.next = format!("lastmile apply {dir}");
    if !review.inspected() {
        review.notices.push(match super::has_verb("inspect") {
            true => format!("Nothing was inspected, so nothing is ranked. `lastmile inspect {dir}` finds what deserves a look first."),
            false => "Nothing was inspected, so the order is that of the names.".into(),
        });
    }
    if globals.verbosity >= 0 {
        review.notices.iter().for_each(|notice| say(format_args!("notice: {}", notice.replace('`', ""))));
    }
    if let Some(to) = args.export {
        let n = review.pictures.len();
        let every = (n / 10).max(1);
        export::write(&review, &to, &|done| {
            if globals.verbosity >= 0 && done % every == 0 && done < n {
                say(format_args!("{done} of {n}"));
            }
        })?;
        say(format_args!("{} pictures. Open {}", n, to.join("index.html").display()));
        return Ok(Exit::Done);
    }
    let exit = serve(review, &args.serve, globals, Some(&args.dir))?;
    Ok(exit)
}

/// Serves a review until Ctrl-C. `state` is where a private file for the browser may lie.
pub fn serve(review: Review, how: &Serve, globals: &Globals, state: Option<&Path>) -> anyhow::Result<Exit> {
    let server = Server::bind(review, how.port.unwrap_or(0))?;
    let url = server.url();
    let review = server.review();
    if let Some(target) = &globals.json {
        let (decided, all) = review.progress();
        let (looked, look) = review.to_look_at();
        let line =
            json!({ "event": "review", "url": url, "pictures": all, "decided": decided, "to_look_at": look, "to_look_at_decided": looked });
        let mut to = target.open()?;
        writeln!(to, "{line}")?;
        to.flush()?;
    } else {
        out(&url)?;
    }
    if globals.verbosity >= 0 {
        let n = review.queue.flagged.len();
        let what = match (review.compare, review.inspected()) {
            (true, _) => format!("{} to compare", super::progress::files(n)),
            (_, true) => format!("{n} of {} flagged", review.pictures.len()),
            (_, false) => format!("{}, none inspected", super::progress::files(n)),
        };
        say(format_args!("{what}. The page is open to this machine alone; Ctrl-C ends it."));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
    let opened = if how.no_open { None } else { open(&url, state) };
    server.run(&stop);
    if let Some(file) = opened {
        let _ = std::fs::remove_file(file);
    }
    let review = server.review();
    if !review.compare {
        let (decided, all) = review.progress();
        let (looked, look) = review.to_look_at();
        let words = match look == all {
            true => format!("{decided} of {all} decided"),
            false => format!("{looked} of {look} to look at are decided, {decided} of {all} in all"),
        };
        say(format_args!("{words}. Next: {}", review.next));
    }
    Ok(Exit::Done)
}

/// Opens the page in the browser, through a file that only this user can read: a command line shows its words, and so the
/// token, to everybody on the machine. Returns that file. Where nothing opens, the address has been printed.
fn open(url: &str, state: Option<&Path>) -> Option<PathBuf> {
    let graphical = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    if cfg!(all(unix, not(target_os = "macos"))) && !graphical("DISPLAY") && !graphical("WAYLAND_DISPLAY") {
        return None;
    }
    let folder = match state {
        Some(dir) => dir.join(crate::batch::journal::STATE),
        None => std::env::temp_dir(),
    };
    let file = folder.canonicalize().ok()?.join(format!("lastmile-review-{}.html", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let page = format!("<!doctype html><meta charset=utf-8><title>lastmile</title><meta http-equiv=refresh content=\"0;url={url}\">");
    options.open(&file).ok()?.write_all(page.as_bytes()).ok()?;
    let mut command = if cfg!(target_os = "macos") {
        std::process::Command::new("open")
    } else if cfg!(windows) {
        std::process::Command::new("explorer")
    } else {
        std::process::Command::new("xdg-open")
    };
    let quiet = std::process::Stdio::null;
    let started = command.arg(&file).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    if started.is_err() {
        say("No browser could be started; open the address yourself.");
    }
    Some(file)
}
