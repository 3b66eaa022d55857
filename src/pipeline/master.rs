//! Rows as the networks made them, kept on disk, so that another quality, format or look needs no network.
//!
//! A master is two files: `NAME.rows` (`f32`, see [`crate::spool`]) and `NAME.json`, which says what it was made from and how.
//! The JSON is written last; without it, or with another key or size in it, there is no master. Values are kept exactly, so that
//! a file made from a master is, to the byte, the one that a run without it makes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::{Plan, ROWS};
use crate::band::{Band, Sink};
use crate::error::{Error, Result};
use crate::spool::{Depth, Spool, SpoolWriter, Temporary};

/// Where a picture's master is or shall be.
#[derive(Debug, Clone)]
pub struct Master {
    /// Folder and name; the endings are added.
    pub path: PathBuf,
    /// Stands for all that decides the rows: the source's bytes, the size, the networks.
    pub key: String,
    /// Whether to make one if there is none.
    pub keep: bool,
}

/// What `NAME.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Card {
    key: String,
    width: usize,
    height: usize,
    channels: usize,
    plan: Plan,
    notes: Vec<String>,
}

/// Width, height, channels.
type Shape = (usize, usize, usize);

impl Master {
    fn file(&self, extension: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(extension);
        name.into()
    }

    /// Whether something is kept of the source, with whatever settings it was made.
    pub fn exists(&self) -> bool {
        self.file(".json").is_file()
    }

    /// Whether there is one of this key, of whatever shape.
    pub fn is_kept(&self) -> bool {
        let card = std::fs::read(self.file(".json")).ok().and_then(|bytes| serde_json::from_slice::<Card>(&bytes).ok());
        card.is_some_and(|card| card.key == self.key) && self.file(".rows").is_file()
    }

    /// The master, if there is one of this key and shape.
    pub(super) fn find(&self, shape: Shape) -> Option<Kept> {
        let card: Card = serde_json::from_slice(&std::fs::read(self.file(".json")).ok()?).ok()?;
        if card.key != self.key || (card.width, card.height, card.channels) != shape {
            return None;
        }
        let rows = Spool::open(&self.file(".rows"), shape.0, shape.2, Depth::F32).ok()?;
        (rows.rows() == shape.1).then_some(Kept { rows, plan: card.plan, notes: card.notes })
    }

    /// Begins one in `temp`, which is in the same file system.
    pub(super) fn begin(&self, temp: &Path, shape: Shape, plan: &Plan, notes: &[String]) -> Result<Keeping<'_>> {
        let temp = Temporary::new(temp.with_extension("master"));
        let rows = SpoolWriter::create(temp.path(), shape.0, shape.2, Depth::F32)?;
        let (key, plan, notes) = (self.key.clone(), plan.clone(), notes.to_vec());
        let card = Card { key, width: shape.0, height: shape.1, channels: shape.2, plan, notes };
        Ok(Keeping { master: self, rows, temp, card })
    }
}

/// A master that is there.
pub(super) struct Kept {
    rows: Spool,
    pub(super) plan: Plan,
    pub(super) notes: Vec<String>,
}

impl Kept {
    pub(super) fn run(mut self, stop: &AtomicBool, next: &mut Sink<'_>) -> Result<()> {
        let mut y = 0;
        while y < self.rows.rows() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let end = (y + ROWS).min(self.rows.rows());
            next(self.rows.read(y, end)?)?;
            y = end;
        }
        Ok(())
    }
}

/// A master in the making; dropped before its end it leaves nothing.
pub(super) struct Keeping<'a> {
    master: &'a Master,
    // Closed before the file goes.
    rows: SpoolWriter,
    temp: Temporary,
    card: Card,
}

impl Keeping<'_> {
    pub(super) fn write(&mut self, band: &Band) -> Result<()> {
        self.rows.write(band)
    }

    /// Puts it in its place. What stood there before, made in another way, is gone.
    pub(super) fn finish(self) -> Result<()> {
        let Self { master, rows, temp, card: told } = self;
        // A whole card must never stand beside rows that a power cut left empty.
        rows.finish()?.sync()?;
        if let Some(dir) = master.path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        }
        let (rows, card) = (master.file(".rows"), master.file(".json"));
        match std::fs::remove_file(&card) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&card, e)),
            _ => {}
        }
        let json = serde_json::to_vec(&told).map_err(|e| Error::Internal(format!("master: {e}")))?;
        let beside = Temporary::new(temp.path().with_extension("card"));
        temp.rename(&rows)?;
        std::fs::write(beside.path(), json).map_err(|e| Error::io(beside.path(), e))?;
        beside.rename(&card)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(dir: &Path, key: &str) -> Master {
        Master { path: dir.join("masters/a"), key: key.into(), keep: true }
    }

    fn keep(m: &Master, temp: &Path, band: &Band) {
        let plan = Plan { reduction: 0.5, ..Plan::default() };
        let mut keeping = m.begin(temp, (band.width, band.rows, band.channels), &plan, &["a note".into()]).unwrap();
        keeping.write(band).unwrap();
        keeping.finish().unwrap();
    }

    #[test]
    fn rows_come_back_as_they_were_and_only_for_what_they_were_made_from() {
        let dir = tempfile::tempdir().unwrap();
        let mut band = Band::new(0, 5, 70, 3);
        band.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i as f32 * 0.11).sin() * 1.2);
        let m = master(dir.path(), "key");
        assert!(m.find((5, 70, 3)).is_none());
        keep(&m, &dir.path().join("0"), &band);
        let kept = m.find((5, 70, 3)).unwrap();
        assert_eq!((kept.plan.reduction, kept.notes.as_slice()), (0.5, ["a note".to_owned()].as_slice()));
        let mut data = vec![Vec::new(); 3];
        kept.run(&AtomicBool::new(false), &mut |b| {
            (0..3).for_each(|c| data[c].extend_from_slice(b.plane(c)));
            Ok(())
        })
        .unwrap();
        assert_eq!(data.concat(), band.data);
        assert!(master(dir.path(), "other").find((5, 70, 3)).is_none(), "another source, size or network");
        assert!(m.find((5, 69, 3)).is_none());
        assert!(m.is_kept() && !master(dir.path(), "other").is_kept());
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["masters"], "no temp files");
        // A file that was cut short is no master.
        let rows = m.file(".rows");
        let bytes = std::fs::read(&rows).unwrap();
        std::fs::write(&rows, &bytes[..bytes.len() - 60]).unwrap();
        assert!(m.find((5, 70, 3)).is_none());
    }

    #[test]
    fn a_job_that_fails_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let m = master(dir.path(), "key");
        let band = Band::new(0, 4, 2, 1);
        let mut keeping = m.begin(&dir.path().join("0"), (4, 8, 1), &Plan::default(), &[]).unwrap();
        keeping.write(&band).unwrap();
        drop(keeping);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
