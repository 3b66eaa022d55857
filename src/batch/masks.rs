//! Which mask belongs to which source: one file for one source, or a folder of the same shape, matched by folder and stem.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::names::{self, Kind};
use crate::error::{Error, Result};

/// The mask of every source, given as its folder below the input folder and its file. Sources without one get none.
///
/// # Errors
/// Usage errors: no such file or folder, one mask for several sources, a folder with a mask for none of them.
pub fn find(given: &Path, sources: &[(&Path, &Path)]) -> Result<Vec<Option<PathBuf>>> {
    let meta = std::fs::metadata(given).map_err(|e| {
        Error::usage("--protect", format!("{}: {e}", given.display()), "a mask, or a folder of masks with the sources' names")
    })?;
    if meta.is_file() {
        if sources.len() > 1 {
            let what = format!("{} is one mask, but there are {} sources", given.display(), sources.len());
            return Err(Error::usage("--protect", what, "a folder of masks with the sources' names"));
        }
        return Ok(sources.iter().map(|_| Some(given.to_path_buf())).collect());
    }
    let mut masks: HashMap<PathBuf, PathBuf> = HashMap::new();
    for entry in WalkDir::new(given).follow_links(true).sort_by_file_name().into_iter().flatten() {
        if entry.file_type().is_file() && matches!(names::kind(entry.path()), Kind::Picture(_)) {
            let below = entry.path().strip_prefix(given).unwrap_or(entry.path()).with_extension("");
            masks.entry(below).or_insert_with(|| entry.path().to_path_buf());
        }
    }
    let of = |(folder, source): &(&Path, &Path)| masks.get(&folder.join(source.file_stem().unwrap_or_default())).cloned();
    let found: Vec<Option<PathBuf>> = sources.iter().map(of).collect();
    if found.iter().all(Option::is_none) && !sources.is_empty() {
        let what = format!("no mask in {} has the name of a source", given.display());
        let first = sources[0].0.join(sources[0].1.file_stem().unwrap_or_default());
        return Err(Error::usage("--protect", what, format!("for example {}", given.join(first).with_extension("png").display())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_match_by_folder_and_stem() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a.png", "sub/a.jpg", "notes.txt"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let (top, sub, source) = (Path::new(""), Path::new("sub"), |n: &'static str| Path::new(n));
        let got = find(dir.path(), &[(top, source("in/a.jpg")), (sub, source("in/sub/a.tif")), (top, source("in/b.png"))]).unwrap();
        assert_eq!(got, [Some(dir.path().join("a.png")), Some(dir.path().join("sub/a.jpg")), None]);
        let one = dir.path().join("a.png");
        assert_eq!(find(&one, &[(top, source("x.png"))]).unwrap(), [Some(one.clone())]);
        for (given, sources, word) in [
            (one.as_path(), vec![(top, source("x.png")), (top, source("y.png"))], "one mask, but there are 2"),
            (dir.path(), vec![(top, source("x.png"))], "no mask in"),
            (Path::new("/nowhere/at/all"), vec![], "--protect"),
        ] {
            let e = find(given, &sources).unwrap_err();
            assert!(e.kind() == "usage" && e.to_string().contains(word), "{e}");
        }
    }
}
