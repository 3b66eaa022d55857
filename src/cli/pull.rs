//! `lastmile models pull`: public models, downloaded from where their authors publish them, and imported.

use std::fs;

use indicatif::{ProgressBar, ProgressStyle};

use super::import::{self, Registered};
use super::models::{json_file, json_lines};
use super::{Globals, say};
use crate::error::{Error, Exit, Result, nearest};
use crate::upscale::catalogue;
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
    if let Some(mirror) = &args.mirror
        && !["http://", "https://"].iter().any(|scheme| mirror.starts_with(scheme))
    {
        return Err(Error::usage(format!("--mirror {mirror}"), "is no address of a server", "--mirror https://HOST/PATH").into());
    }
    let json = json_file(globals)?;
    let mut lines = Vec::new();
    let mut failed = None;
    for model in models {
        match pull(model, args.mirror.as_deref(), args.overwrite, globals) {
            Ok(done) => lines.push(done.line()),
            Err(e) => {
                failed = Some(e);
                break;
            }
        }
    }
    let written = json_lines(json, lines);
    match failed {
        Some(e) => Err(e.into()),
        None => written.map(|()| Exit::Done),
    }
}

fn find(id: &str) -> Result<&'static Public> {
    public::find(id).ok_or_else(|| {
        let ids: Vec<&str> = public::all().iter().map(|p| p.id.as_str()).collect();
        let all = || format!("one of {}", ids.join(", "));
        let hint = nearest(id, ids.iter().copied()).map_or_else(all, |near| format!("lastmile models pull {near}"));
        Error::usage(format!("models pull {id}"), "no public model of that name is known", hint)
    })
}

/// Downloads one model, imports and registers it; nothing is done if it is installed already, unless it is to be overwritten.
///
/// # Errors
/// [`Error::Unavailable`], with the way to do it by hand, if downloads are forbidden or fail; those of an import.
pub fn pull(model: &Public, mirror: Option<&str>, overwrite: bool, globals: &Globals) -> Result<Registered> {
    let (id, home) = (&model.id, &Home::new(&globals.home));
    let tell = |line: std::fmt::Arguments<'_>| {
        if globals.verbosity >= 0 {
            say(line);
        }
    };
    let path = home.models().join(format!("{id}.toml"));
    if path.exists() && !overwrite {
        let manifest = catalogue::read_manifest(&path)
            .map_err(|e| Error::model(path.display(), format!("is not sound: {e}"), format!("lastmile models pull {id} --overwrite")))?;
        tell(format_args!("{id} is installed already; --overwrite downloads it again"));
        return Ok(Registered { manifest, path, notes: Vec::new() });
    }
    let url = model.address(mirror);
    let forbidden = match (globals.offline, globals.no_install) {
        (true, _) => Some("LASTMILE_OFFLINE forbids downloads"),
        (_, true) => Some("--no-install forbids downloads"),
        _ => None,
    };
    // A mirror that fails is no address to try by hand.
    let by_hand = format!("fetch {} elsewhere, then `{}`", model.url, model.by_hand());
    if let Some(what) = forbidden {
        return Err(Error::unavailable(format!("model {id}"), what, by_hand));
    }
    let size = model.size.map(|s| format!(" ({:.1} MB)", s as f64 / 1e6)).unwrap_or_default();
    tell(format_args!("downloading {id}{size} from {url}, licence {}", model.licence));
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
    done.notes.iter().for_each(|note| tell(format_args!("{note}")));
    tell(format_args!("{id} is installed: {}", done.path.display()));
    tell(format_args!("next: lastmile upscale INPUT -o OUT --model {id}"));
    Ok(done)
}

/// A bar on a terminal, nothing in a log.
fn bar(globals: &Globals) -> ProgressBar {
    if globals.verbosity < 0 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
