//! Which models there are: those that ship inside the program and those a user has registered.
//!
//! To add one to the program: put `<id>.toml` and `<id>.onnx` into `models/` and add one line to [`EMBEDDED`].
//! Registered models are the same two files in the `models` folder of the home.

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::graph;
use super::home::Home;
use super::model::{Kind, Manifest, Model, Origin, check_id, sha256};
use super::probe::{Open, id_of, probe};
use super::public;
use crate::error::{Error, Result, near, nearest};

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
pub static EMBEDDED: &[Embedded] =
    embedded!["lastmile-faithful-x4", "lastmile-faithful-x4-large", "lastmile-faithful-x2", "lastmile-start-x4"];

/// The embedded model that results are compared with, and from which inventions of others are mended. It has weights of its own,
/// is quick, and the tables of the inspection were made with it. It makes whole results only when it is named.
pub const REFERENCE: &str = "lastmile-start-x4";

/// Probing results are kept under this name; to be raised when probing finds out more or otherwise.
const PROBES: &str = "probed-2";

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

/// The manifest in a file.
///
/// # Errors
/// [`Error::Model`] if it cannot be read or is wrong.
pub fn read_manifest(path: &Path) -> Result<Manifest> {
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

/// Most ids that an error lists.
const LISTED: usize = 12;

/// The first of them, and how many there are besides.
fn first(ids: &[String]) -> String {
    match ids.len().saturating_sub(LISTED) {
        0 => ids.join(", "),
        more => format!("{} and {more} more (`lastmile models list`)", ids[..LISTED].join(", ")),
    }
}

fn unknown(spec: &str, home: &Home) -> Error {
    if public::find(spec).is_some() {
        return Error::unavailable(format!("model {spec}"), "is not installed", format!("lastmile models pull {spec}"));
    }
    let all: Vec<String> = list(home).into_iter().map(|l| l.id).chain(["none".into()]).collect();
    let public: Vec<&str> = public::all().iter().map(|p| p.id.as_str()).filter(|id| !all.iter().any(|a| a == id)).collect();
    // What is not here yet has to be fetched first.
    let named = |id: &str| if public.contains(&id) { format!("`lastmile models pull {id}`") } else { format!("`{id}`") };
    let names = all.iter().map(String::as_str).filter(|id| *id != spec).chain(public.iter().copied());
    let near: Vec<String> = near(spec, names).into_iter().take(3).map(named).collect();
    let checkpoint = Path::new(spec).extension().is_some_and(|e| CHECKPOINTS.iter().any(|c| e.eq_ignore_ascii_case(c)));
    let what = match (Path::new(spec).exists(), checkpoint) {
        (true, true) => "is a checkpoint: it has to be imported first".to_owned(),
        (true, false) => "is no model; models are ids or files that end in .onnx".to_owned(),
        (false, true) => "no such file".to_owned(),
        (false, false) => "no model of that name".to_owned(),
    };
    let hint = match near.is_empty() {
        _ if checkpoint && Path::new(spec).exists() => format!("lastmile models import {spec}"),
        true => format!("one of {}, or the path of an .onnx file; `lastmile models list` shows more to download", first(&all)),
        false => format!("{}; here are {}", near.join(" or "), first(&all)),
    };
    Error::model(format!("model {spec}"), what, hint)
}

/// What the names of checkpoints end in.
const CHECKPOINTS: [&str; 4] = ["pth", "pt", "ckpt", "safetensors"];

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
    let bytes = graph::whole(path.display(), bytes, path.parent().unwrap_or(Path::new("")))?;
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

/// What a person says of a model that no file tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Says {
    pub kind: Option<Kind>,
    pub licence: Option<String>,
    pub source: Option<String>,
    /// A registered model of that name is replaced.
    pub overwrite: bool,
}

/// Registers an ONNX file so that it can be named: copies it and its manifest (found or probed, with what is said of it) into the home.
///
/// # Errors
/// As [`resolve`]; [`Error::Usage`] if the id is taken by another file or is no id; [`Error::Io`] if the home cannot be written.
pub fn add(path: &Path, id: Option<&str>, says: &Says, home: &Home, open: &mut Open<'_>) -> Result<Manifest> {
    let model = of_file(path, home, open)?;
    let id = id.map_or_else(|| model.manifest.id.clone(), str::to_owned);
    check_id(&id).map_err(|e| Error::usage("--id", e, ""))?;
    let Says { kind, licence, source, overwrite } = says.clone();
    let embedded = EMBEDDED.iter().any(|e| e.id == id);
    let said = |manifest: &Manifest| {
        let Manifest { kind: k, licence: l, source: s, .. } = manifest;
        kind.is_none_or(|kind| kind == *k)
            && licence.as_ref().is_none_or(|licence| licence == l)
            && source.as_ref().is_none_or(|source| source == s)
    };
    if let Some(taken) = list(home).into_iter().find(|l| l.id == id)
        && (embedded || !overwrite)
    {
        return match taken.manifest {
            Ok(manifest) if manifest.sha256 == model.sha256 && said(&manifest) => Ok(manifest),
            _ => {
                let or = if embedded { "" } else { ", or --overwrite" };
                Err(Error::usage(format!("model {id}"), "that id is taken", format!("--id {id}-2{or}")))
            }
        };
    }
    let of_file = model.manifest;
    let manifest = Manifest {
        file: format!("{id}.onnx"),
        id,
        kind: kind.unwrap_or(of_file.kind),
        licence: licence.unwrap_or(of_file.licence),
        source: source.unwrap_or(of_file.source),
        ..of_file
    };
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
        let here: Vec<String> = registered(home).into_iter().map(|l| l.id).collect();
        let hint = match (nearest(id, here.iter().map(String::as_str)), here.is_empty()) {
            (Some(near), _) => format!("lastmile models remove {near}"),
            (None, true) => "there is nothing to remove: only the built-in models are here".to_owned(),
            (None, false) => format!("one of {}", first(&here)),
        };
        return Err(Error::model(format!("model {id}"), "is not installed", hint));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Band;
    use crate::error::distance;
    use crate::upscale::model::{Kind, Range};
    use crate::upscale::{Infer, InferError, graph};

    /// Repeats every pixel 4 x 4 times.
    struct Fake;

    impl Infer for Fake {
        fn run(&mut self, tile: &Band) -> Result<Band, InferError> {
            let mut out = Band::new(0, 4 * tile.width, 4 * tile.rows, tile.channels);
            for c in 0..out.channels {
                for y in 0..out.rows {
                    for x in 0..out.width {
                        out.row_mut(c, y)[x] = tile.row(c, y / 4)[x / 4];
                    }
                }
            }
            Ok(out)
        }
    }

    fn never(_: &Manifest, _: &[u8]) -> Result<Box<dyn Infer>> {
        Err(Error::Internal("a session was opened".into()))
    }

    /// The embedded network with other bytes, so that nothing knows it.
    fn stranger() -> Vec<u8> {
        let mut model = graph::decode("m", EMBEDDED[0].onnx).unwrap();
        model.producer_name = "somebody".into();
        graph::encode(&model)
    }

    #[test]
    fn distances() {
        for (a, b, d) in [("span", "span", 0), ("spam", "span", 1), ("sapn", "span", 1), ("", "abc", 3), ("Kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn unknown_names_get_near_ones() {
        let home = Home::new(tempfile::tempdir().unwrap().path());
        let all: Vec<_> = EMBEDDED.iter().map(|e| e.id).collect();
        for (typed, says) in [
            ("lastmile-faithfull-x2", "`lastmile-faithful-x2`".to_owned()),
            ("faithful-x2", "`lastmile-faithful-x2`".to_owned()),
            ("zzz", format!("one of {}, none", all.join(", "))),
        ] {
            let error = resolve(typed, &home, &mut never).unwrap_err();
            assert!(error.to_string().contains(&says), "{error}");
            assert_eq!(error.exit() as u8, 2);
        }
        let error = resolve("realesr-general-x4v3", &home, &mut never).unwrap_err();
        assert!(error.to_string().contains("lastmile models pull realesr-general-x4v3"), "{error}");
        assert_eq!(error.exit() as u8, 5);
        assert!(
            resolve("realesr-general", &home, &mut never).unwrap_err().to_string().contains("`lastmile models pull realesr-general-x4v3`")
        );
        for typed in ["RealESRGAN_x2plus", "realesrgan-x2plu"] {
            let error = resolve(typed, &home, &mut never).unwrap_err().to_string();
            assert!(error.contains("`lastmile models pull realesrgan-x2plus`"), "{error}");
        }
        assert!(resolve("nothere.pth", &home, &mut never).unwrap_err().to_string().contains("no such file"));
        let error = remove("realesrgan-x4plus", &home).unwrap_err();
        assert!(error.to_string().contains("nothing to remove") && error.exit() as u8 == 2, "{error}");
        for missing in ["./x.onnx", "x.onnx", "a/b"] {
            assert!(resolve(missing, &home, &mut never).unwrap_err().to_string().contains("cannot be read"));
        }
    }

    #[test]
    fn files_are_probed_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let file = dir.path().join("some net (1).onnx");
        fs::write(&file, stranger()).unwrap();
        let mut opened = 0;
        let mut open = |_: &Manifest, _: &[u8]| -> Result<Box<dyn Infer>> {
            opened += 1;
            Ok(Box::new(Fake))
        };
        let first = resolve(file.to_str().unwrap(), &home, &mut open).unwrap();
        assert_eq!(opened, 1);
        let (m, halo) = (&first.manifest, Model::embedded_default().unwrap().manifest.halo);
        assert_eq!((m.id.as_str(), m.scale, m.halo, m.kind, m.range), ("some-net--1-", 4, halo, Kind::Perceptual, Range::One));
        assert_eq!(first.origin, Origin::Probed(file.clone()));
        let again = resolve(file.to_str().unwrap(), &home, &mut never).unwrap();
        assert_eq!(again.manifest, first.manifest);
        // The same contents under another name: another id, nothing else.
        let other = dir.path().join("other.onnx");
        fs::copy(&file, &other).unwrap();
        assert_eq!(resolve(other.to_str().unwrap(), &home, &mut never).unwrap().manifest.id, "other");
        // A damaged cache is made again.
        let kept = home.cache().join(PROBES).join(format!("{}.toml", first.sha256));
        fs::write(&kept, "nonsense").unwrap();
        assert!(resolve(file.to_str().unwrap(), &home, &mut never).is_err());
    }

    #[test]
    fn manifests_beside_files_are_believed_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let file = dir.path().join("net.onnx");
        let bytes = stranger();
        fs::write(&file, &bytes).unwrap();
        let manifest =
            Manifest { id: "mine".into(), file: "net.onnx".into(), sha256: sha256(&bytes), ..Model::embedded_default().unwrap().manifest };
        fs::write(dir.path().join("net.toml"), manifest.to_toml()).unwrap();
        let model = resolve(file.to_str().unwrap(), &home, &mut never).unwrap();
        assert_eq!((model.manifest, model.origin), (manifest, Origin::File(file.clone())));
        fs::write(&file, [bytes, vec![0]].concat()).unwrap();
        let error = resolve(file.to_str().unwrap(), &home, &mut never).unwrap_err().to_string();
        assert!(error.contains("its SHA-256 is"), "{error}");
    }

    #[test]
    fn models_are_registered_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let file = dir.path().join("net.onnx");
        fs::write(&file, stranger()).unwrap();
        let mut open = |_: &Manifest, _: &[u8]| -> Result<Box<dyn Infer>> { Ok(Box::new(Fake)) };
        let added = add(&file, None, &Says::default(), &home, &mut open).unwrap();
        assert_eq!((added.id.as_str(), added.file.as_str()), ("net", "net.onnx"));
        assert_eq!(add(&file, None, &Says::default(), &home, &mut never).unwrap(), added, "twice is once");
        let model = resolve("net", &home, &mut never).unwrap();
        assert_eq!((model.manifest, model.bytes.into_owned()), (added, stranger()));
        let listed: Vec<_> = list(&home).into_iter().skip(EMBEDDED.len()).map(|l| l.id).collect();
        assert_eq!(listed, ["net"]);

        // What a person says of it goes into the manifest, and does not by itself replace what is there.
        let says = Says { kind: Some(Kind::Faithful), licence: Some("MIT".into()), ..Says::default() };
        assert!(add(&file, None, &says, &home, &mut never).unwrap_err().to_string().contains("--overwrite"));
        let said = add(&file, None, &Says { overwrite: true, ..says }, &home, &mut never).unwrap();
        assert_eq!((said.kind, said.licence.as_str()), (Kind::Faithful, "MIT"));
        assert_eq!(resolve("net", &home, &mut never).unwrap().manifest, said);
        let again = Says { kind: Some(Kind::Faithful), ..Says::default() };
        assert_eq!(add(&file, None, &again, &home, &mut never).unwrap(), said, "nothing new is said");

        // Ids that are taken or are none.
        let other = dir.path().join("other.onnx");
        fs::write(&other, EMBEDDED[0].onnx).unwrap();
        for id in ["net", "../net", "none", "a b"] {
            assert_eq!(add(&other, Some(id), &Says::default(), &home, &mut never).unwrap_err().exit() as u8, 2, "{id}");
        }
        // The embedded network's file is known without a session.
        assert_eq!(resolve(other.to_str().unwrap(), &home, &mut never).unwrap().manifest.id, EMBEDDED[0].id);

        // Damage is found, and a damaged manifest does not hide the other models.
        fs::write(home.models().join("net.onnx"), b"other").unwrap();
        assert!(resolve("net", &home, &mut never).unwrap_err().to_string().contains("its SHA-256 is"));
        fs::write(home.models().join("bad.toml"), "id = 3").unwrap();
        let listed = list(&home);
        let usable: Vec<_> = listed.iter().skip(EMBEDDED.len()).map(|l| (l.id.as_str(), l.manifest.is_ok())).collect();
        assert_eq!(usable, [("bad", false), ("net", true)]);

        assert!(remove(EMBEDDED[0].id, &home).is_err());
        assert!(remove("nothing", &home).is_err());
        remove("net", &home).unwrap();
        remove("bad", &home).unwrap();
        assert_eq!(fs::read_dir(home.models()).unwrap().count(), 0);
    }
}
