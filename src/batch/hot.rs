//! Hot folders: which files have settled, and where those go that fail.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};

/// The folder inside a hot folder that failed files are moved to.
pub const FAILED: &str = "_failed";

/// Tells files that are still being written from those that are there.
#[derive(Debug)]
pub struct Settling {
    quiet: Duration,
    seen: HashMap<PathBuf, Seen>,
}

#[derive(Debug)]
struct Seen {
    bytes: u64,
    changed: Option<SystemTime>,
    /// Since when it looks like this.
    since: Instant,
    /// Not to be taken again before; `None` until it is taken.
    taken: Option<Option<Instant>>,
}

impl Settling {
    /// A file has settled when its size and time of change have been the same for `quiet` (ten times that while it is empty).
    pub fn new(quiet: Duration) -> Self {
        Self { quiet, seen: HashMap::new() }
    }

    /// Looks at files again; `true` for those that have settled and were not taken before, in the same order.
    pub fn look<'a>(&mut self, files: impl Iterator<Item = &'a Path>, now: Instant) -> Vec<bool> {
        let mut before = std::mem::take(&mut self.seen);
        let mut settled = Vec::new();
        for path in files {
            let Ok(meta) = std::fs::metadata(path) else {
                settled.push(false);
                continue;
            };
            let (bytes, changed) = (meta.len(), meta.modified().ok());
            let new = Seen { bytes, changed, since: now, taken: None };
            let seen = before.remove(path).filter(|s| (s.bytes, s.changed) == (bytes, changed)).unwrap_or(new);
            let quiet = if bytes == 0 { self.quiet * 10 } else { self.quiet };
            let due = match seen.taken {
                None => true,
                Some(again) => again.is_some_and(|t| now >= t),
            };
            settled.push(due && now.saturating_duration_since(seen.since) >= quiet);
            self.seen.insert(path.into(), seen);
        }
        settled
    }

    /// Notes that a file is dealt with until it changes; or to be tried again at that time.
    pub fn taken(&mut self, path: &Path, again: Option<Instant>) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.taken = Some(again);
        }
    }
}

/// Moves a source that cannot be worked on to `IN/_failed/`, with the reason in a file beside it; the path it has now.
///
/// The reason is written first: a source is never there without one.
pub fn set_aside(folder: &Path, source: &Path, reason: &str) -> Result<PathBuf> {
    let below = source.strip_prefix(folder).unwrap_or_else(|_| source.file_name().map_or(source, Path::new));
    let wanted = folder.join(FAILED).join(below);
    let dir = wanted.parent().unwrap_or(folder);
    let failed = |path: &Path, e: std::io::Error| Error::output(path, format!("a failed file cannot be put there: {e}"), "");
    std::fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    let mut target = wanted.clone();
    let mut n = 1;
    while target.symlink_metadata().is_ok() {
        n += 1;
        let mut name = wanted.file_stem().unwrap_or_default().to_os_string();
        name.push(format!("_{n}"));
        if let Some(ext) = wanted.extension() {
            name.push(".");
            name.push(ext);
        }
        target = wanted.with_file_name(name);
    }
    let text = format!("{reason}\n\nMove the picture back to try it again.\n");
    let named = |name: OsString| target.with_file_name(name);
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(REASON);
    let mut note = named(name);
    let mut written = std::fs::write(&note, &text);
    if written.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::InvalidFilename) {
        // A name as long as a file system takes leaves no room for more.
        note = named(shortened(&target));
        written = std::fs::write(&note, &text);
    }
    written.map_err(|e| failed(&note, e))?;
    std::fs::rename(source, &target).map_err(|e| failed(&target, e))?;
    Ok(target)
}

const REASON: &str = ".reason.txt";

/// The name of a reason file whose picture's name is too long for another ending: its beginning, and a number that tells it from others
/// that begin like it.
fn shortened(target: &Path) -> OsString {
    const BEGINNING: usize = 48;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let (start, sha256) = (name.chars().take(BEGINNING).collect::<String>(), super::journal::sha256(name.as_bytes()));
    format!("{start}...{}{REASON}", &sha256[..8]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_grows_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let files = || std::iter::once(path.as_path());
        let mut settling = Settling::new(Duration::from_secs(2));
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(settling.look(files(), at(0)), [false], "not there");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(settling.look(files(), at(0)), [false]);
        assert_eq!(settling.look(files(), at(3)), [false], "an empty file is more likely to grow");
        std::fs::write(&path, b"half").unwrap();
        assert_eq!(settling.look(files(), at(4)), [false]);
        assert_eq!(settling.look(files(), at(5)), [false]);
        std::fs::write(&path, b"all of it").unwrap();
        assert_eq!(settling.look(files(), at(6)), [false]);
        assert_eq!(settling.look(files(), at(8)), [true]);
        settling.taken(&path, None);
        assert_eq!(settling.look(files(), at(99)), [false], "once");
        settling.taken(&path, Some(at(120)));
        assert_eq!(settling.look(files(), at(119)), [false]);
        assert_eq!(settling.look(files(), at(120)), [true]);
        std::fs::write(&path, b"another picture").unwrap();
        assert_eq!(settling.look(files(), at(121)), [false]);
        assert_eq!(settling.look(files(), at(123)), [true], "a changed file is a new one");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(settling.look(files(), at(124)), [false]);
    }

    #[test]
    fn failed_files_keep_their_folder_and_lose_nobody() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let source = dir.path().join("sub/a.png");
        for (content, name) in [("1", "a.png"), ("2", "a_2.png"), ("3", "a_3.png")] {
            std::fs::write(&source, content).unwrap();
            let now = set_aside(dir.path(), &source, "broken").unwrap();
            assert_eq!(now, dir.path().join("_failed/sub").join(name));
            assert_eq!(std::fs::read_to_string(&now).unwrap(), content);
            let note = std::fs::read_to_string(format!("{}.reason.txt", now.display())).unwrap();
            assert!(note.starts_with("broken\n") && note.contains("Move the picture back"));
            assert!(!source.exists());
        }
    }

    #[test]
    fn names_without_room_for_an_ending_have_a_reason_too() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("x".repeat(246) + ".png");
        std::fs::write(&source, "1").unwrap();
        let now = set_aside(dir.path(), &source, "broken").unwrap();
        assert!(now.is_file() && !source.exists());
        let others = std::fs::read_dir(dir.path().join(FAILED)).unwrap().map(|e| e.unwrap().path()).filter(|p| *p != now);
        let reasons: Vec<String> = others.map(|p| std::fs::read_to_string(p).unwrap()).collect();
        assert!(reasons.len() == 1 && reasons[0].starts_with("broken\n"), "{reasons:?}");
    }
}
