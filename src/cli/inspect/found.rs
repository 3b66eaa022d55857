//! The pictures that are inspected, and their sources by name.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::batch::HOLD;
use crate::batch::journal::STATE;
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
pub fn find(inputs: &[PathBuf]) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for input in inputs {
        let meta = std::fs::metadata(input).map_err(|e| {
            let what = if e.kind() == std::io::ErrorKind::NotFound { "no such file or folder".into() } else { e.to_string() };
            Error::usage(input.display(), what, "check the spelling; names with spaces need quotes")
        })?;
        if meta.is_file() {
            found.push(Found { path: input.clone(), below: input.file_name().unwrap_or_default().into(), folder: None });
            continue;
        }
        for entry in review::results(input)? {
            let below = entry.strip_prefix(input).unwrap_or(&entry).to_path_buf();
            found.push(Found { path: entry, below, folder: Some(input.clone()) });
        }
    }
    if found.is_empty() {
        let first = inputs.first().map(|p| p.display().to_string()).unwrap_or_default();
        return Err(Error::usage(first, "no pictures in there", "a folder with finished pictures"));
    }
    Ok(found)
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

/// Sources by their path below the folder, without extension.
#[derive(Debug)]
pub struct Sources {
    one: Option<PathBuf>,
    by_stem: HashMap<PathBuf, Vec<PathBuf>>,
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
            return Ok(Self { one: Some(given.into()), by_stem: HashMap::new() });
        }
        let mut by_stem: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        for path in pictures(given) {
            let below = path.strip_prefix(given).unwrap_or(&path).with_extension("");
            by_stem.entry(below).or_default().push(path);
        }
        Ok(Self { one: None, by_stem })
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
}
