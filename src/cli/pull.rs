//! `lastmile models pull`: public models, downloaded from where their authors publish them, and imported.

use std::fs;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Globals, import, say};
use crate::error::{Error, Exit, Result};
use crate::upscale::fetch::{self, Patience, Source};
use crate::upscale::home::Home;
use crate::upscale::import::{About, Options};
use crate::upscale::public::{self, Public};

/// Download a public model; `models list` shows which there are
#[derive(clap::Args, Debug)]
pub struct PullArgs {
    /// The models' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Where to download from instead: stands in for `https://HOST` of the official address
    #[arg(long, value_name = "PREFIX")]
    mirror: Option<String>,
    /// Download again what is installed
    #[arg(long)]
    overwrite: bool,
}

/// Runs the verb. Each model is complete before the next begins; the first that fails ends it.
pub fn run(args: &PullArgs, globals: &Globals) -> anyhow::Result<Exit> {
    // All names first: a slip in the last one is not found after the download of the others.
    let models = args.ids.iter().map(|id| find(id)).collect::<Result<Vec<_>>>()?;
    for model in models {
        pull(model, args.mirror.as_deref(), args.overwrite, globals)?;
    }
    Ok(Exit::Done)
}

fn find(id: &str) -> Result<&'static Public> {
    public::find(id).ok_or_else(|| {
        let ids: Vec<&str> = public::all().iter().map(|p| p.id.as_str()).collect();
        Error::usage(format!("models pull {id}"), "no public model of that name is known", format!("one of {}", ids.join(", ")))
    })
}

/// Downloads one model, imports and registers it; nothing is done if it is installed already, unless it is to be overwritten.
///
/// # Errors
/// [`Error::Unavailable`], with the way to do it by hand, if downloads are forbidden or fail; those of an import.
pub fn pull(model: &Public, mirror: Option<&str>, overwrite: bool, globals: &Globals) -> Result<()> {
    let (id, home) = (&model.id, &Home::new(&globals.home));
    if home.models().join(format!("{id}.toml")).exists() && !overwrite {
        say(format_args!("{id} is installed already; --overwrite downloads it again"));
        return Ok(());
    }
    let url = model.address(mirror);
    let forbidden = match (globals.offline, globals.no_install) {
        (true, _) => Some("LASTMILE_OFFLINE forbids downloads"),
        (_, true) => Some("--no-install forbids downloads"),
        _ => None,
    };
    let by_hand = format!("fetch {url} elsewhere, then `{}`", model.by_hand());
    if let Some(what) = forbidden {
        return Err(Error::unavailable(format!("model {id}"), what, by_hand));
    }
    let size = model.size.map(|s| format!(" ({:.1} MB)", s as f64 / 1e6)).unwrap_or_default();
    if globals.verbosity >= 0 {
        say(format_args!("downloading {id}{size} from {url}, licence {}", model.licence));
    }
    // Named by the hash: a new version of a model does not go on with the bytes of the old one.
    let part = home.cache().join("downloads").join(format!("{id}-{}.part", &model.sha256[..16]));
    let bar = bar(globals);
    let source = Source { url: &url, size: model.size, sha256: &model.sha256 };
    let got = fetch::fetch(&source, &part, &Patience::default(), &mut |have, total| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(have);
    });
    bar.finish_and_clear();
    got.map_err(|e| match e {
        Error::Unavailable { subject, what, hint } => Error::Unavailable { subject, what, hint: format!("{hint}; or {by_hand}") },
        other => other,
    })?;
    let about = About { id: id.clone(), kind: model.kind, licence: model.licence.clone(), source: model.source.clone() };
    let done = import::import(&part, &about, &Options::default(), overwrite, home)?;
    // The model is there; a checkpoint that cannot be deleted only takes room.
    let _ = fs::remove_file(&part);
    say(format_args!("{id} is installed: {}", done.path.display()));
    say(format_args!("next: lastmile upscale INPUT -o OUT --model {id}"));
    Ok(())
}

/// A bar on a terminal, nothing in a log.
fn bar(globals: &Globals) -> ProgressBar {
    if globals.verbosity < 0 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
