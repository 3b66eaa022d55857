//! Group commit: outputs are renamed at once, and made durable in groups of at most a second or 256 files.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::journal::Journal;
use super::lock;
use crate::error::{Error, Result};

const LONGEST: Duration = Duration::from_secs(1);
const MOST: usize = 256;
/// File systems gather syncs that are under way at the same time into one.
const AT_ONCE: usize = 8;

/// An output that stands under its final name.
pub struct Renamed {
    pub path: PathBuf,
    /// As the journal writes it.
    pub output: String,
    pub sha256: String,
}

pub type Sender = std::sync::mpsc::Sender<Renamed>;

/// Commits what comes through `queue` until all senders are gone.
pub fn run(queue: Receiver<Renamed>, journal: &Mutex<Journal>) -> Result<()> {
    let mut open = true;
    while open {
        let Ok(first) = queue.recv() else { return Ok(()) };
        let mut group = vec![first];
        let due = Instant::now() + LONGEST;
        while group.len() < MOST {
            match queue.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(r) => group.push(r),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        sync(&group)?;
        let names: Vec<(String, String)> = group.into_iter().map(|r| (r.output, r.sha256)).collect();
        lock(journal).finish(&names)?;
    }
    Ok(())
}

/// Makes the files and the folders that name them durable.
fn sync(group: &[Renamed]) -> Result<()> {
    let share = group.len().div_ceil(AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = group.chunks(share).map(|part| scope.spawn(|| part.iter().try_for_each(sync_file))).collect();
        threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err(Error::Internal("sync".into()))))
    })?;
    #[cfg(unix)]
    {
        let folders: std::collections::BTreeSet<_> = group.iter().filter_map(|r| r.path.parent()).collect();
        for folder in folders {
            // Some network file systems cannot sync a folder; the file's own sync is the larger part.
            let _ = std::fs::File::open(folder).and_then(|f| f.sync_all());
        }
    }
    Ok(())
}

fn sync_file(r: &Renamed) -> Result<()> {
    // Writing rights are needed for a sync on Windows only.
    match std::fs::OpenOptions::new().read(true).write(cfg!(windows)).open(&r.path).and_then(|f| f.sync_all()) {
        // Moved away by somebody, or a file system without sync: the journal's hash will tell.
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other.map_err(|e| Error::io(&r.path, e)),
    }
}
