//! What a person decided, in `OUT/.lastmile/verdicts.json`: keyed by the SHA-256 of the picture's file, written whole and
//! renamed into place at every change. A picture that is made again with other settings has another hash and is unreviewed
//! again; one that comes out the same keeps its verdict.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pipeline::Settings;

/// A person's word on a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Good as it is.
    Approved,
    /// Make it again, another way.
    Rejected,
    /// Take the repaired version, or the faithful network where there is none.
    Repair,
}

/// What is known about one picture's review, with everything needed to make it again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    pub decision: Option<Decision>,
    /// Somebody looked at it.
    pub opened: bool,
    pub note: String,
    /// Spent looking at it, in all.
    pub seconds: f64,
    /// Below the folder under review, as the journal writes paths.
    pub output: String,
    /// As seen from that folder, as the journal writes paths; empty where it is unknown.
    pub source: String,
    pub source_sha256: String,
    pub settings: Option<Settings>,
    /// Networks that made it, in order, by id; `none` without one, empty where it is unknown.
    pub model: String,
}

/// The file's shape.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    verdicts: String,
    version: u32,
    pictures: BTreeMap<String, Entry>,
}

const NAME: &str = "lastmile";
const VERSION: u32 = 1;

/// All verdicts of a folder.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// `None` keeps them in memory only.
    path: Option<PathBuf>,
    pictures: BTreeMap<String, Entry>,
}

impl Verdicts {
    /// Verdicts that nobody saves, for comparing two pictures.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Reads `path`; a file that is not there is no verdicts yet.
    ///
    /// # Errors
    /// The file is something else or from a later version: it is never overwritten.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path: Some(path.to_path_buf()), pictures: BTreeMap::new() });
            }
            Err(e) => return Err(Error::io(path, e)),
        };
        let strange = |what: String| Error::usage(path.display(), what, "move this file away to start anew");
        let file: File = serde_json::from_slice(&bytes).map_err(|e| strange(format!("these are no lastmile verdicts: {e}")))?;
        if file.verdicts != NAME {
            return Err(strange("these are no lastmile verdicts".into()));
        }
        if file.version > VERSION {
            return Err(strange(format!("verdicts of version {}, this program knows {VERSION}", file.version)));
        }
        Ok(Self { path: Some(path.to_path_buf()), pictures: file.pictures })
    }

    /// From now on nothing is saved.
    pub fn forget_file(&mut self) {
        self.path = None;
    }

    /// What is known about the picture with this hash.
    pub fn get(&self, sha256: &str) -> Option<&Entry> {
        self.pictures.get(sha256)
    }

    /// Everything, by hash.
    pub fn all(&self) -> &BTreeMap<String, Entry> {
        &self.pictures
    }

    /// Replaces what is known about some pictures and saves once. If saving fails, nothing is changed.
    pub fn set(&mut self, entries: Vec<(String, Entry)>) -> Result<()> {
        let mut next = self.pictures.clone();
        next.extend(entries);
        let before = std::mem::replace(&mut self.pictures, next);
        let saved = self.save();
        if saved.is_err() {
            self.pictures = before;
        }
        saved
    }

    /// The file's text.
    pub fn json(&self) -> Result<Vec<u8>> {
        let file = File { verdicts: NAME.into(), version: VERSION, pictures: self.pictures.clone() };
        let mut text = serde_json::to_vec_pretty(&file).map_err(|e| Error::Internal(format!("verdicts: {e}")))?;
        text.push(b'\n');
        Ok(text)
    }

    fn save(&self) -> Result<()> {
        match &self.path {
            Some(path) => replace(path, &self.json()?),
            None => Ok(()),
        }
    }
}

/// Writes a file whole or not at all.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let temp = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file = std::fs::File::create(&temp)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        drop(file);
        std::fs::rename(&temp, path)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&temp);
        Error::io(path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s/verdicts.json");
        let mut v = Verdicts::load(&path).unwrap();
        let entry = Entry { decision: Some(Decision::Rejected), opened: true, note: "ä \"q\"".into(), seconds: 1.5, ..Entry::default() };
        v.set(vec![("abc".into(), entry.clone())]).unwrap();
        v.set(vec![("def".into(), Entry { opened: true, ..Entry::default() })]).unwrap();
        let v = Verdicts::load(&path).unwrap();
        assert_eq!(v.get("abc"), Some(&entry));
        assert_eq!(v.all().len(), 2);
        assert_eq!(std::fs::read_dir(dir.path().join("s")).unwrap().count(), 1, "no temp file stays");
    }

    #[test]
    fn strange_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verdicts.json");
        for text in [
            "",
            "{}",
            "{\"verdicts\":\"other\",\"version\":1,\"pictures\":{}}",
            "{\"verdicts\":\"lastmile\",\"version\":2,\"pictures\":{}}",
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Verdicts::load(&path).unwrap_err().kind(), "usage", "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_be_saved_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verdicts.json");
        let mut v = Verdicts::load(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(v.set(vec![("abc".into(), Entry::default())]).is_err());
        assert!(v.get("abc").is_none());
    }
}
