//! Carrying verdicts out: what was approved is put aside in a folder of its own, the rest is sorted by what to do about it.
//!
//! The folder holds hard links where the file system can, else copies; outputs are only ever replaced by renaming, so a link
//! keeps what was approved. `OUT/.lastmile/approved.json` tells which files in there are ours; others are never touched.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::verdicts::{Decision, replace};
use super::{Picture, Review};
use crate::batch::journal::{self, STATE};
use crate::error::{Error, Result};
use crate::pipeline::Settings;
use crate::upscale::size::Size;

/// What the verdicts come to; indices into the pictures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    pub approved: Vec<usize>,
    /// To be replaced by the repair that is there already.
    pub repaired: Vec<usize>,
    /// To be made again with the faithful networks.
    pub faithful: Vec<usize>,
    /// To be made again another way.
    pub rejected: Vec<usize>,
    pub undecided: Vec<usize>,
}

impl Sorted {
    /// Sorts the pictures by their verdicts.
    pub fn new(review: &Review) -> Self {
        let mut sorted = Self::default();
        let verdicts = review.verdicts();
        for (i, p) in review.pictures.iter().enumerate() {
            let list = match verdicts.get(&p.sha256).and_then(|e| e.decision) {
                Some(Decision::Approved) => &mut sorted.approved,
                Some(Decision::Repair) if p.repair.is_some() => &mut sorted.repaired,
                Some(Decision::Repair) => &mut sorted.faithful,
                Some(Decision::Rejected) => &mut sorted.rejected,
                None => &mut sorted.undecided,
            };
            list.push(i);
        }
        sorted
    }
}

/// What became of a file in the folder of approved pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Linked,
    Copied,
    /// There already.
    Kept,
    /// Ours, but not approved any more: taken out.
    TakenOut,
    /// Ours, but its result is gone: left there, for it may be the last of its kind.
    Orphaned,
    /// The result is not the file that was reviewed, though the journal says so: not put aside.
    Changed,
    /// Ours once, changed in its place since: left there, though nobody approved what it is now.
    Altered,
}

/// What [`put_aside`] did, by name of the picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    pub fates: BTreeMap<String, Fate>,
}

impl Moved {
    /// How many came to this.
    pub fn count(&self, fate: Fate) -> usize {
        self.names(fate).count()
    }

    /// Those that came to this, in order.
    pub fn names(&self, fate: Fate) -> impl Iterator<Item = &str> {
        self.fates.iter().filter(move |(_, f)| **f == fate).map(|(n, _)| n.as_str())
    }
}

/// Whether approved pictures can go to `folder`: a place there must not be that of a picture under review, or taking it out
/// again would take the picture itself.
///
/// # Errors
/// [`Error::Usage`] if they cannot.
pub fn check_folder(review: &Review, sorted: &Sorted, folder: &Path) -> Result<()> {
    let reviewed = Reviewed::new(review);
    let names = sorted.approved.iter().chain(&sorted.repaired).map(|i| &review.pictures[*i].name);
    let taken: Vec<PathBuf> = names.map(|n| folder.join(journal::decode(n))).filter(|to| reviewed.holds(to)).collect();
    match taken.first() {
        None => Ok(()),
        Some(first) => {
            let n = if taken.len() == 1 { "a picture".into() } else { format!("{} pictures", taken.len()) };
            let what = format!("{n} under review would be put in their own places, first {}", first.display());
            Err(Error::usage(folder.display(), what, "--into another folder"))
        }
    }
}

/// The real paths of the pictures under review.
struct Reviewed(HashSet<PathBuf>);

impl Reviewed {
    fn new(review: &Review) -> Self {
        Self(review.pictures.iter().filter_map(|p| p.path.canonicalize().ok()).collect())
    }

    fn holds(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|real| self.0.contains(&real))
    }
}

/// Brings `folder` in line with the verdicts: approved pictures and repairs in, what is no longer approved out.
///
/// A picture goes in only if its file still is the one that was reviewed, by its hash.
///
/// # Errors
/// [`Error::Usage`], before anything is done: as [`check_folder`], or if a file stands in a place and is not ours. A file that
/// cannot be written.
pub fn put_aside(review: &Review, sorted: &Sorted, folder: &Path) -> Result<Moved> {
    check_folder(review, sorted, folder)?;
    let reviewed = Reviewed::new(review);
    let record = review.root.join(STATE).join("approved.json");
    let mut ours = load(&record)?;
    let mut wanted: BTreeMap<String, (&Path, String)> = BTreeMap::new();
    for p in sorted.approved.iter().map(|i| &review.pictures[*i]) {
        wanted.insert(p.name.clone(), (&p.path, p.sha256.clone()));
    }
    for p in sorted.repaired.iter().map(|i| &review.pictures[*i]) {
        if let Some(repair) = &p.repair {
            wanted.insert(p.name.clone(), (repair, journal::sha256_file(repair)?));
        }
    }
    let place = |name: &str| folder.join(journal::decode(name));
    // Everything is looked at before anything is done.
    let mut moved = Moved::default();
    let mut todo = Vec::new();
    let mut foreign = Vec::new();
    for (name, (from, sha)) in &wanted {
        let to = place(name);
        let there = hash(&to)?;
        if there.as_ref() == Some(sha) {
            moved.fates.insert(name.clone(), Fate::Kept);
        } else if journal::sha256_file(from)? != *sha {
            let altered = there.is_some() && there.as_ref() != ours.get(name);
            moved.fates.insert(name.clone(), if altered { Fate::Altered } else { Fate::Changed });
        } else if there.is_none() || there.as_ref() == ours.get(name) {
            todo.push((name, *from, sha, to));
        } else {
            foreign.push(to);
        }
    }
    if let Some(first) = foreign.first() {
        let n = foreign.len();
        let what = format!(
            "{} there that lastmile did not put there, first {}",
            if n == 1 { "a file is".into() } else { format!("{n} files are") },
            first.display()
        );
        return Err(Error::usage(folder.display(), what, "move them away, or --into another folder"));
    }
    for name in moved.names(Fate::Kept) {
        ours.entry(name.to_owned()).or_insert_with(|| wanted[name].1.clone());
    }
    for (name, from, sha, to) in todo {
        let fate = if link(from, &to)? { Fate::Linked } else { Fate::Copied };
        moved.fates.insert(name.clone(), fate);
        ours.insert(name.clone(), sha.clone());
    }
    for name in ours.keys().filter(|n| !wanted.contains_key(*n)).cloned().collect::<Vec<_>>() {
        let to = place(&name);
        let there = hash(&to)?;
        // Earlier versions put results aside in their own places.
        if there.is_none() || reviewed.holds(&to) {
            if review.has(&name) && !undecided(review, sorted, &name) {
                ours.remove(&name);
            }
        } else if there.as_ref() != ours.get(&name) {
            moved.fates.insert(name, Fate::Altered);
        } else if !review.has(&name) {
            moved.fates.insert(name, Fate::Orphaned);
        } else if !undecided(review, sorted, &name) {
            std::fs::remove_file(&to).map_err(|e| Error::output(&to, e, ""))?;
            ours.remove(&name);
            moved.fates.insert(name, Fate::TakenOut);
        }
    }
    if !ours.is_empty() || record.exists() {
        let text = serde_json::to_vec_pretty(&ours).map_err(|e| Error::Internal(format!("approved.json: {e}")))?;
        replace(&record, &text)?;
    }
    Ok(moved)
}

/// A picture made again and not looked at yet takes nothing out: an earlier version of it was approved.
fn undecided(review: &Review, sorted: &Sorted, name: &str) -> bool {
    sorted.undecided.iter().any(|i| review.pictures[*i].name == name)
}

/// The source and settings that give this picture again, at its size whichever network runs; or why it cannot be made.
pub fn recipe(p: &Picture) -> std::result::Result<(PathBuf, Settings), &'static str> {
    let Some(source) = &p.source else { return Err("its source is not there") };
    let Some(mut settings) = p.settings.clone() else { return Err("no journal tells how it was made") };
    if settings.size == Size::Model {
        settings.size = Size::Scale(p.width as f64 / source.width as f64);
    }
    Ok((source.path.clone(), settings))
}

fn load(record: &Path) -> Result<BTreeMap<String, String>> {
    match std::fs::read(record) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| Error::usage(record.display(), format!("this is no list of approved files: {e}"), "move this file away")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(Error::io(record, e)),
    }
}

/// The file's hash; none if nothing stands there. Anything but a file is somebody else's.
fn hash(path: &Path) -> Result<Option<String>> {
    match path.symlink_metadata() {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(Error::io(path, e)),
        Ok(m) if m.is_file() => journal::sha256_file(path).map(Some),
        Ok(_) => Ok(Some(String::new())),
    }
}

/// Links or, where that is impossible, copies a file into place; says whether it is a link.
fn link(from: &Path, to: &Path) -> Result<bool> {
    let wrong = |e: std::io::Error| Error::output(to, e, "--into another folder");
    let dir = to.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(dir).map_err(wrong)?;
    let mut temp = to.as_os_str().to_os_string();
    temp.push(".lastmile-tmp");
    let temp = PathBuf::from(temp);
    let _ = std::fs::remove_file(&temp);
    let linked = std::fs::hard_link(from, &temp).is_ok();
    let made = if linked { Ok(()) } else { std::fs::copy(from, &temp).map(|_| ()) };
    made.and_then(|()| std::fs::rename(&temp, to)).map_err(|e| {
        let _ = std::fs::remove_file(&temp);
        wrong(e)
    })?;
    // Renaming a link onto another link to the same file does nothing at all.
    let _ = std::fs::remove_file(&temp);
    Ok(linked)
}
