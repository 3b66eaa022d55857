//! Which models there are: those that ship inside the program and those a user has registered.
//!
//! To add one to the program: put `<id>.toml` and `<id>.onnx` into `models/` and add one line to [`EMBEDDED`].
//! Registered models are the same two files in the `models` folder of the home.

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::home::Home;
use super::model::{Manifest, Model, Origin, check_id, sha256};
use super::probe::{Open, id_of, probe};
use crate::error::{Error, Result};

/// A manifest and the network it describes.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    pub id: &'static str,
    /// The manifest, TOML.
    pub manifest: &'static str,
    /// The ONNX file.
    pub onnx: &'static [u8],
}

macro_rules! embedded {
    ($($id:literal),+ $(,)?) => {
        &[$(Embedded {
            id: $id,
            manifest: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/", $id, ".toml")),
            onnx: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/", $id, ".onnx")),
        }),+]
    };
}

/// Every embedded model; the first one is the default.
pub static EMBEDDED: &[Embedded] = embedded!["lastmile-start-x4"];

/// Probing results are kept under this name; to be raised when probing finds out more or otherwise.
const PROBES: &str = "probed-1";

/// A model that can be named, with its manifest or what is wrong with it.
#[derive(Debug)]
pub struct Listed {
    pub id: String,
    pub origin: Origin,
    pub manifest: Result<Manifest>,
}

/// All models that can be named: embedded ones in their order, then registered ones by id.
pub fn list(home: &Home) -> Vec<Listed> {
    let embedded = EMBEDDED.iter().map(|e| Listed {
        id: e.id.into(),
        origin: Origin::Embedded,
        manifest: Manifest::parse(format!("{}.toml", e.id), e.manifest),
    });
    embedded.chain(registered(home)).collect()
}

/// The registered models, by id.
fn registered(home: &Home) -> Vec<Listed> {
    let entries = fs::read_dir(home.models()).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            let id = path.file_stem()?.to_str()?.to_owned();
            let manifest = read_manifest(&path);
            Some(Listed { id, origin: Origin::Registered(path), manifest })
        })
        .collect()
}

fn read_manifest(path: &Path) -> Result<Manifest> {
    let text = fs::read_to_string(path).map_err(|e| Error::model(path.display(), e, ""))?;
    Manifest::parse(path, &text)
}

/// Turns what a user typed into a model: an id, or the path of an ONNX file.
///
/// A file's manifest is the one beside it (same name, `.toml`), else that of the embedded or registered model with the same
/// contents, else it is probed (`open` is called for nothing else) and the result kept in the home's cache.
///
/// # Errors
/// [`Error::Model`] for an unknown id (with those that are near), a missing or damaged file, or one that cannot be used.
pub fn resolve(spec: &str, home: &Home, open: &mut Open<'_>) -> Result<Model> {
    let path = Path::new(spec);
    let is_path = spec.contains(['/', '\\']) || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
    if is_path || (path.is_file() && check_id(spec).is_err()) {
        return of_file(path, home, open);
    }
    if let Some(model) = Model::embedded(spec) {
        return model;
    }
    let known = check_id(spec).is_ok().then(|| home.models().join(format!("{spec}.toml"))).filter(|p| p.is_file());
    match known {
        Some(manifest) => of_registered(&manifest),
        None => Err(unknown(spec, home)),
    }
}

fn unknown(spec: &str, home: &Home) -> Error {
    let all: Vec<String> = list(home).into_iter().map(|l| l.id).chain(["none".into()]).collect();
    let mut near: Vec<(usize, &String)> = all.iter().map(|id| (distance(spec, id), id)).collect();
    near.sort();
    let likely = |d: usize, id: &str| d <= 1 + spec.chars().count() / 4 || (spec.len() > 2 && id.contains(spec));
    let near: Vec<String> = near.into_iter().filter(|(d, id)| likely(*d, id)).map(|(_, id)| format!("`{id}`")).take(3).collect();
    let what = match Path::new(spec).exists() {
        true => "is no model; models are ids or files that end in .onnx".to_owned(),
        false => "no model of that name".to_owned(),
    };
    let hint = match near.is_empty() {
        true => format!("one of {}, or the path of an .onnx file", all.join(", ")),
        false => format!("{}; all there are: {}", near.join(" or "), all.join(", ")),
    };
    Error::model(format!("--model {spec}"), what, hint)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            let kept = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = kept.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if swap {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn of_registered(path: &Path) -> Result<Model> {
    let manifest = read_manifest(path)?;
    let file = path.with_file_name(&manifest.file);
    let bytes = read(&file)?;
    with_manifest(manifest, bytes, Origin::Registered(path.into()), &file)
}

/// Checks that the manifest speaks of these bytes.
fn with_manifest(manifest: Manifest, bytes: Vec<u8>, origin: Origin, file: &Path) -> Result<Model> {
    let found = sha256(&bytes);
    if found != manifest.sha256 {
        let what = format!("its SHA-256 is {}, its manifest (`{}`) says {}", short(&found), manifest.id, short(&manifest.sha256));
        let hint = "get the file again; if it was changed on purpose: `lastmile models remove` and `add`, or delete the manifest";
        return Err(Error::model(file.display(), what, hint));
    }
    Ok(Model { manifest, bytes: Cow::Owned(bytes), sha256: found, origin })
}

/// The beginning of a hash, enough to tell two apart.
pub fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| {
        let hint = if e.kind() == std::io::ErrorKind::NotFound { "`lastmile models list` shows what is there" } else { "" };
        let what = if path.is_dir() { "is a folder, not a file".into() } else { format!("cannot be read: {e}") };
        Error::model(path.display(), what, hint)
    })
}

fn of_file(path: &Path, home: &Home, open: &mut Open<'_>) -> Result<Model> {
    let bytes = read(path)?;
    let beside = path.with_extension("toml");
    if beside.is_file() {
        let manifest = read_manifest(&beside)?;
        return with_manifest(manifest, bytes, Origin::File(path.into()), path);
    }
    let found = sha256(&bytes);
    let same = list(home).into_iter().find_map(|l| l.manifest.ok().filter(|m| m.sha256 == found));
    if let Some(manifest) = same {
        return Ok(Model { manifest, bytes: Cow::Owned(bytes), sha256: found, origin: Origin::File(path.into()) });
    }
    let kept = home.cache().join(PROBES).join(format!("{found}.toml"));
    let manifest = match read_manifest(&kept) {
        // Names follow the file that was given, the rest was found out from its contents.
        Ok(known) if known.sha256 == found => Manifest { id: id_of(path), file: file_name(path), ..known },
        _ => {
            let manifest = probe(path, &bytes, &found, open)?;
            // A cache that cannot be written costs time the next time, nothing else.
            let _ = write(&kept, manifest.to_toml().as_bytes());
            manifest
        }
    };
    Ok(Model { manifest, bytes: Cow::Owned(bytes), sha256: found, origin: Origin::Probed(path.into()) })
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Registers an ONNX file so that it can be named: copies it and its manifest (found or probed) into the home.
///
/// # Errors
/// As [`resolve`]; [`Error::Usage`] if the id is taken by another file or is no id; [`Error::Io`] if the home cannot be written.
pub fn add(path: &Path, id: Option<&str>, home: &Home, open: &mut Open<'_>) -> Result<Manifest> {
    let model = of_file(path, home, open)?;
    let id = id.map_or_else(|| model.manifest.id.clone(), str::to_owned);
    check_id(&id).map_err(|e| Error::usage("--id", e, ""))?;
    if let Some(taken) = list(home).into_iter().find(|l| l.id == id) {
        return match taken.manifest {
            Ok(manifest) if manifest.sha256 == model.sha256 => Ok(manifest),
            _ => {
                Err(Error::usage(format!("model {id}"), "that id is taken", format!("--id {id}-2, or `lastmile models remove {id}` first")))
            }
        };
    }
    let manifest = Manifest { file: format!("{id}.onnx"), id, ..model.manifest };
    let to = home.models();
    write(&to.join(&manifest.file), &model.bytes)?;
    write(&to.join(format!("{}.toml", manifest.id)), manifest.to_toml().as_bytes())?;
    Ok(manifest)
}

/// Forgets a registered model and deletes its files.
///
/// # Errors
/// [`Error::Model`] for an id that is not registered.
pub fn remove(id: &str, home: &Home) -> Result<()> {
    if EMBEDDED.iter().any(|e| e.id == id) {
        return Err(Error::model(id, "is part of the program and cannot be removed", ""));
    }
    let path = home.models().join(format!("{id}.toml"));
    if check_id(id).is_err() || !path.is_file() {
        return Err(unknown(id, home));
    }
    let file = read_manifest(&path).map_or_else(|_| format!("{id}.onnx"), |m| m.file);
    fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
    let onnx = path.with_file_name(file);
    match fs::remove_file(&onnx) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(onnx, e)),
        _ => Ok(()),
    }
}

/// Writes a file that is either whole or not there, with its folders.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = |e| Error::io(path, e);
    fs::create_dir_all(folder).map_err(failed)?;
    let temp = folder.join(format!(".{}.{}", file_name(path), std::process::id()));
    let written = fs::File::create(&temp)
        .and_then(|mut f| {
            f.write_all(bytes)?;
            f.sync_all()
        })
        .and_then(|()| fs::rename(&temp, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&temp);
        failed(e)
    })
}
