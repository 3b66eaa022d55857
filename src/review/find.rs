//! What is under review: which pictures a folder holds, what each was made from, and what lies beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{APPROVED, Options, Picture, Source};
use crate::batch::journal::{self, STATE, State};
use crate::batch::names::{self, Kind};
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::pipeline::Settings;
use crate::upscale::size::Size;

/// All pictures below `root`, in order of their names: no hidden files, no links, not what `apply` put aside.
pub fn walk(root: &Path, state: &State) -> Vec<Picture> {
    let hidden = |e: &walkdir::DirEntry| e.depth() > 0 && e.file_name().as_encoded_bytes().first() == Some(&b'.');
    let all = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(|e| !hidden(e)).flatten();
    let pictures = all.filter(|e| e.file_type().is_file() && matches!(names::kind(e.path()), Kind::Picture(_)));
    let named = pictures.filter_map(|e| {
        let below = e.path().strip_prefix(root).ok()?;
        let name = journal::encode(below);
        let put_aside = below.starts_with(APPROVED) && state.get(&name).next().is_none();
        (!put_aside).then(|| Picture { name, path: e.path().to_path_buf(), ..Picture::default() })
    });
    named.collect()
}

/// Fills in what only the files tell.
pub fn examine(mut p: Picture, root: &Path, state: &State, options: &Options) -> Result<Picture> {
    let size = std::fs::metadata(&p.path).map_err(|e| Error::io(&p.path, e))?.len();
    p.record = p.record.take().filter(|r| r.bytes == size);
    match &p.record {
        Some(r) => (p.sha256, p.width, p.height) = (r.sha256.clone(), r.width, r.height),
        None => {
            p.sha256 = journal::sha256_file(&p.path)?;
            // A damaged file is shown as such rather than ending the review.
            (p.width, p.height) = codec::probe(&p.path, &Limits::default()).map_or((0, 0), |h| h.upright());
        }
    }
    p.settings = p.record.as_ref().and_then(|r| state.settings(&r.settings)).cloned();
    let below = journal::decode(&p.name);
    p.source = source(&p, root, &below, options).and_then(|path| {
        let (width, height) = codec::probe(&path, &Limits::default()).ok()?.upright();
        Some(Source { path, width, height, shown: shown(width, height, p.settings.as_ref()) })
    });
    let repair = root.join(STATE).join("repair").join(&below);
    p.repair = repair.is_file().then_some(repair);
    let heat = options.heat.clone().unwrap_or_else(|| root.join(STATE).join("heat"));
    p.heat = heat_maps(&heat, &below);
    Ok(p)
}

fn source(p: &Picture, root: &Path, below: &Path, options: &Options) -> Option<PathBuf> {
    if let Some(dir) = &options.source {
        return same_stem(dir, below);
    }
    let journalled = p.record.as_ref().filter(|r| !r.source.is_empty()).map(|r| root.join(journal::decode(&r.source)));
    journalled.filter(|s| s.is_file()).or_else(|| {
        let told = PathBuf::from(p.report.as_ref()?.source.as_ref()?);
        let real = root.canonicalize().ok()?;
        let places = std::iter::once(told.clone()).chain(real.ancestors().map(|a| a.join(&told)));
        let mut files = places.map(|at| if at.is_dir() { same_stem(&at, below).unwrap_or(at) } else { at });
        files.find(|f| f.is_file())
    })
}

/// The part of a source that the result shows.
fn shown(width: usize, height: usize, settings: Option<&Settings>) -> [f64; 4] {
    let whole = [0.0, 0.0, width as f64, height as f64];
    match settings {
        Some(s) if s.size != Size::Model => s.size.target(width, height, s.fit, 1.0).map_or(whole, |t| t.crop),
        _ => whole,
    }
}

/// The picture in `dir` with the folder and stem of `below`, whatever its extension.
pub fn same_stem(dir: &Path, below: &Path) -> Option<PathBuf> {
    let exact = dir.join(below);
    if exact.is_file() {
        return Some(exact);
    }
    let stem = below.file_stem()?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(exact.parent()?).ok()?.flatten().map(|e| e.path()).collect();
    files.sort();
    files.into_iter().find(|f| f.file_stem() == Some(stem) && f.is_file() && matches!(names::kind(f), Kind::Picture(_)))
}

/// `<stem>.<detector>.png` beside where the picture would lie.
fn heat_maps(heat: &Path, below: &Path) -> BTreeMap<String, PathBuf> {
    let Some(stem) = below.file_stem().and_then(|s| s.to_str()) else { return BTreeMap::new() };
    let folder = heat.join(below.parent().unwrap_or(Path::new("")));
    let Ok(entries) = std::fs::read_dir(&folder) else { return BTreeMap::new() };
    let maps = entries.flatten().filter_map(|e| {
        let name = e.file_name().to_str()?.to_owned();
        let detector = name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".png")?;
        let plain = !detector.is_empty() && detector.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        plain.then(|| (detector.to_owned(), e.path()))
    });
    maps.collect()
}

/// Maps on all cores, keeping the order; the first error in order counts.
pub fn each<T: Send + Default, U: Send>(items: Vec<T>, map: &(dyn Fn(T) -> Result<U> + Sync)) -> Result<Vec<U>> {
    let n = items.len();
    let items: Vec<Mutex<T>> = items.into_iter().map(Mutex::new).collect();
    let out: Vec<Mutex<Option<Result<U>>>> = (0..n).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, |c| c.get()).min(n.max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(i) else { return };
                    let item = std::mem::take(&mut *item.lock().unwrap_or_else(PoisonError::into_inner));
                    *out[i].lock().unwrap_or_else(PoisonError::into_inner) = Some(map(item));
                }
            });
        }
    });
    let result = |m: Mutex<Option<Result<U>>>| m.into_inner().unwrap_or_else(PoisonError::into_inner);
    out.into_iter().map(|m| result(m).unwrap_or_else(|| Err(Error::Internal("a thread was lost".into())))).collect()
}
