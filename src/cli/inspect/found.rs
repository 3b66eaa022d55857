//! The pictures that are inspected, and their sources by name.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::batch::HOLD;
use crate::batch::journal::{self, STATE};
use crate::batch::names::{self, Kind};
use crate::error::{Error, Result};
use crate::review::{self, MENDED};

/// One picture to inspect.
#[derive(Debug)]
pub struct Found {
    pub path: PathBuf,
    /// Below the input folder it was found in; its name alone, if it was given itself.
    pub below: PathBuf,
    /// The input folder, if there is one.
    pub folder: Option<PathBuf>,
    /// Where its heat maps go, below their folder, but for `.<detector>.png`.
    pub drawn: PathBuf,
    /// What that would be if no other had the same stem.
    pub shared: Option<PathBuf>,
}

/// What is to be inspected.
#[derive(Debug)]
pub struct Looked {
    pub pictures: Vec<Found>,
    /// Links in folders that are not followed.
    pub links: usize,
}

impl Found {
    /// Where its mended version goes, from the folder of results, and as it is opened.
    pub fn mended(&self) -> (PathBuf, PathBuf) {
        let root = self.folder.as_deref().or(self.path.parent()).unwrap_or(Path::new(""));
        let told = Path::new(STATE).join(MENDED).join(&self.below);
        (told.clone(), root.join(told))
    }
}

/// All pictures among and below the inputs, in order.
///
/// # Errors
/// An input that is not there; no picture at all.
pub fn find(inputs: &[PathBuf]) -> Result<Looked> {
    let (mut found, mut links) = (Vec::new(), 0);
    let one = |path: PathBuf, below: PathBuf, folder: Option<PathBuf>| Found { path, below, folder, drawn: PathBuf::new(), shared: None };
    for input in inputs {
        let meta = std::fs::metadata(input).map_err(|e| {
            let what = if e.kind() == std::io::ErrorKind::NotFound { "no such file or folder".into() } else { e.to_string() };
            Error::usage(input.display(), what, "check the spelling; names with spaces need quotes")
        })?;
        if meta.is_file() {
            found.push(one(input.clone(), input.file_name().unwrap_or_default().into(), None));
            continue;
        }
        let there = review::results(input)?;
        links += there.links;
        for entry in there.pictures {
            let below = entry.strip_prefix(input).unwrap_or(&entry).to_path_buf();
            found.push(one(entry, below, Some(input.clone())));
        }
    }
    if found.is_empty() {
        let first = inputs.first().map(|p| p.display().to_string()).unwrap_or_default();
        let what = match links {
            0 => "no pictures in there".to_owned(),
            n => format!("no pictures in there but {} to what no run wrote", if n == 1 { "1 link".into() } else { format!("{n} links") }),
        };
        return Err(Error::usage(first, what, "a folder with finished pictures"));
    }
    name_maps(&mut found);
    Ok(Looked { pictures: found, links })
}

/// Decides where heat maps go, so that no two pictures have the same: inputs get folders of their own, pictures of one stem their
/// whole names.
fn name_maps(found: &mut [Found]) {
    let root = |f: &Found| f.folder.clone().unwrap_or_else(|| f.path.parent().map(Path::to_path_buf).unwrap_or_default());
    let mut roots: Vec<PathBuf> = Vec::new();
    for f in found.iter() {
        let root = root(f);
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for root in &roots {
        let real = root.canonicalize().ok();
        let name = root.file_name().or(real.as_deref().and_then(Path::file_name)).unwrap_or(OsStr::new("input"));
        let numbered = (2..).map(|n| PathBuf::from(format!("{}_{n}", name.display())));
        let free = std::iter::once(PathBuf::from(name)).chain(numbered).find(|name| !folders.contains(name));
        folders.extend(free);
    }
    // Some file systems take names for one that differ in case alone.
    let key = |root: &Path, below: &Path| root.join(below).to_string_lossy().to_lowercase();
    let mut wanted: HashMap<String, usize> = HashMap::new();
    for f in found.iter() {
        let (stem, name) = (key(&root(f), &f.below.with_extension("")), key(&root(f), &f.below));
        *wanted.entry(stem.clone()).or_default() += 1;
        if name != stem {
            *wanted.entry(name).or_default() += 1;
        }
    }
    for f in found.iter_mut() {
        let root = root(f);
        let alone = wanted.get(&key(&root, &f.below.with_extension(""))) == Some(&1);
        let inside = match (roots.len(), roots.iter().position(|r| *r == root)) {
            (2.., Some(i)) => folders[i].clone(),
            _ => PathBuf::new(),
        };
        let stem = inside.join(f.below.with_extension(""));
        f.shared = (!alone).then(|| stem.clone());
        f.drawn = if alone { stem } else { inside.join(&f.below) };
    }
}

fn pictures(folder: &Path) -> Vec<PathBuf> {
    let visible = |name: &OsStr| name.as_encoded_bytes().first() != Some(&b'.');
    WalkDir::new(folder)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|e| e.depth() == 0 || visible(e.file_name()))
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_file() && matches!(names::kind(e.path()), Kind::Picture(_)))
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Sources by their path below the folder, without extension, and by their names.
#[derive(Debug, Default)]
pub struct Sources {
    one: Option<PathBuf>,
    by_stem: HashMap<PathBuf, Vec<PathBuf>>,
    by_name: HashMap<OsString, Vec<PathBuf>>,
}

impl Sources {
    /// `given` is a folder, or one file for one picture.
    ///
    /// # Errors
    /// Nothing is there; one file for several pictures.
    pub fn new(given: &Path, found: &[Found]) -> Result<Self> {
        let meta = std::fs::metadata(given)
            .map_err(|e| Error::usage("--source", format!("{}: {e}", given.display()), "the folder or file that was enlarged"))?;
        if meta.is_file() {
            if found.len() > 1 {
                let what = format!("{} is one file, but there are {} pictures", given.display(), found.len());
                return Err(Error::usage("--source", what, "the folder of their sources"));
            }
            return Ok(Self { one: Some(given.into()), ..Self::default() });
        }
        let mut by_stem: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        let mut by_name: HashMap<OsString, Vec<PathBuf>> = HashMap::new();
        for path in pictures(given) {
            let below = path.strip_prefix(given).unwrap_or(&path).with_extension("");
            by_name.entry(path.file_name().unwrap_or_default().into()).or_default().push(path.clone());
            by_stem.entry(below).or_default().push(path);
        }
        Ok(Self { one: None, by_stem, by_name })
    }

    /// The one file, if it was named.
    pub fn one(&self) -> Option<&Path> {
        self.one.as_deref()
    }

    /// The file that was called `told` when a result was made of it, and that still has that hash; also in a folder that was moved
    /// or copied.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn told(&self, told: &Path, sha256: &str) -> Result<Option<&Path>> {
        let named = told.file_name().and_then(|name| self.by_name.get(name)).map_or(&[][..], Vec::as_slice);
        let real = told.canonicalize().ok();
        let is_it = |path: &&PathBuf| real.is_some() && path.canonicalize().ok() == real;
        // Its own place first: there may be many of that name.
        let (itself, others): (Vec<&PathBuf>, Vec<&PathBuf>) = named.iter().partition(is_it);
        for path in itself.into_iter().chain(others) {
            if journal::sha256_file(path)? == sha256 {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The source of the picture at this place: of several, the one with the same extension, else the first.
    pub fn of(&self, below: &Path) -> Option<&Path> {
        if let Some(one) = &self.one {
            return Some(one);
        }
        // What missed a gate lies apart.
        let below = below.strip_prefix(HOLD).unwrap_or(below);
        let of_stem = self.by_stem.get(&below.with_extension(""))?;
        of_stem.iter().find(|p| p.extension() == below.extension()).or(of_stem.first()).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_match_by_place_and_stem() {
        let dir = std::env::temp_dir().join(format!("lastmile-sources-{}", std::process::id()));
        for file in ["a.png", "a.jpg", "b.jpeg", "sub/a.webp", "sub/.hidden.png", "c.txt"] {
            let path = dir.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let s = Sources::new(&dir, &[]).unwrap();
        let of = |below: &str| s.of(Path::new(below)).map(|p| p.strip_prefix(&dir).unwrap().display().to_string());
        assert_eq!(of("a.jpg").as_deref(), Some("a.jpg"));
        assert_eq!(of("b.png").as_deref(), Some("b.jpeg"));
        assert_eq!(of("sub/a.png"), Some(Path::new("sub").join("a.webp").display().to_string()));
        assert_eq!((of("c.png"), of("sub/b.png")), (None, None));
        assert_eq!(of("_hold/b.png"), of("b.png"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn no_two_pictures_share_a_heat_map() {
        let found = |root: &str, below: &str| Found {
            path: Path::new(root).join(below),
            below: below.into(),
            folder: Some(root.into()),
            drawn: PathBuf::new(),
            shared: None,
        };
        let names = |mut all: Vec<Found>| {
            name_maps(&mut all);
            all.iter().map(|f| f.drawn.display().to_string()).collect::<Vec<_>>()
        };
        let one = names(vec![
            found("a", "dup.png"),
            found("a", "dup.jpg"),
            found("a", "dup.png.webp"),
            found("a", "sub/dup.png"),
            found("a", "b.png"),
        ]);
        assert_eq!(one, ["dup.png", "dup.jpg", "dup.png.webp", "sub/dup", "b"]);
        let two = names(vec![found("x/a", "p.png"), found("y/a", "p.png"), found("b", "P.png"), found("b", "p.jpg")]);
        assert_eq!(two, ["a/p", "a_2/p", "b/P.png", "b/p.jpg"]);
        let single = Found { folder: None, ..found("x", "p.png") };
        assert_eq!(names(vec![single]), ["p"]);
    }
}
