//! What is there already: which outputs are done, which are ours to replace, and which are somebody else's.
//!
//! Contents decide, not times: a source is hashed whenever its output exists. An output counts as done if it has the size that the
//! journal says (it was synced before it was journalled); before it is replaced, or if it was only announced, it is hashed.
//!
//! A result belongs to the source it was made from: that of the same path (rendered anew, or not), or of the same content (a folder
//! that was moved or renamed). A source of another path with other content that happens to want the same name gets no result of
//! somebody else's, unless this job makes that one's anew in another place.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::journal::{self, Known, Record, State};
use super::plan::{Item, Planned};
use super::{HOLD, Options, lock};
use crate::codec::{Format, sidecar};
use crate::error::{Error, Result};
use crate::pipeline::Settings;
use crate::pipeline::protect::Protect;

/// What to do about one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing stands in the output's place.
    New,
    /// The output is there, from this source with these settings. `pending`: the journal does not say so yet.
    Same { record: Box<Record>, pending: bool },
    /// We made what is there from this source; it may be replaced.
    Ours,
    /// We made what is there, from another source, which is told as the journal tells it.
    Other(String),
    /// Somebody else made or changed it.
    Foreign,
}

/// The settings of one item and their hash. Quality 0 means the format's default; what a format does not use leaves its hash alone.
pub fn settings(options: &Options, item: &Item) -> Result<(Settings, String)> {
    let variant = item.variant.checked_sub(1).map(|v| options.variants.get(v));
    let Some(chosen) = variant.unwrap_or(Some(&options.settings)) else {
        return Err(Error::Internal(format!("there are no settings {}", item.variant)));
    };
    let mut settings = chosen.clone();
    let e = &mut settings.encoding;
    e.format = item.format;
    e.lossless &= e.format == Format::WebP;
    e.small &= e.format == Format::Png;
    e.progressive &= e.format == Format::Jpeg;
    e.chroma_420 &= e.format == Format::Jpeg;
    if !e.is_lossy() {
        settings.max_kb = None;
    }
    let e = &mut settings.encoding;
    // 95 is the same job whether it was typed or not.
    if !e.is_lossy() || e.quality == e.format.default_quality() {
        e.quality = 0;
    }
    if let Some(mask) = &item.mask {
        let real = mask.canonicalize().map_err(|e| Error::io(mask, e))?;
        settings.protect = Some(Protect { sha256: journal::sha256_file(&real)?, mask: real });
    }
    let json = settings.canonical().map_err(|e| Error::Internal(format!("settings: {e}")))?;
    let hash = journal::sha256(&json);
    Ok((settings, hash))
}

/// Where an output goes that misses a gate.
pub fn hold(output: &Path) -> PathBuf {
    Path::new(HOLD).join(output)
}

/// What the journals tell of one place. A file that missed a gate and that a person moved to where it would have gone is approved by that:
/// what they tell of it as held counts as announced for there, so that only the very same bytes are taken for it; unless a gate let them
/// through since, which a stricter one may take back.
pub(super) fn known<'a>(state: &'a State, output: &Path) -> Vec<Cow<'a, Known>> {
    let (name, held) = (journal::encode(output), journal::encode(&hold(output)));
    let approved = |known: &Known| {
        let mut record = known.pending.as_ref().or(known.done.as_ref())?.clone();
        let gate = record.held.take()?;
        if state.get(&name).flat_map(|k| [&k.pending, &k.done]).flatten().any(|r| r.sha256 == record.sha256) {
            return None;
        }
        record.approved = true;
        record.output = name.clone();
        record.notes.push(format!("{gate}; taken from {HOLD} by hand"));
        Some(Cow::Owned(Known { done: None, pending: Some(record) }))
    };
    state.get(&name).map(Cow::Borrowed).chain(state.get(&held).filter_map(approved)).collect()
}

/// Judges every item, in order.
pub fn triage(planned: &Planned, options: &Options, state: &State) -> Result<Vec<Verdict>> {
    let verdicts = Mutex::new(vec![Verdict::New; planned.items.len()]);
    let failed = Mutex::new(None);
    // Only items whose output exists cost more than a look at the folder; in a new folder there are none.
    let new = !planned.root.exists();
    let existing: Vec<usize> = (0..if new { 0 } else { planned.items.len() })
        .filter(|i| {
            let there = |p: &Path| planned.root.join(p).symlink_metadata().is_ok();
            let output = &planned.items[*i].output;
            there(output) || there(&hold(output))
        })
        .collect();
    let next = AtomicUsize::new(0);
    // Only asked where there is something of another source.
    let sources: OnceLock<HashSet<String>> = OnceLock::new();
    let made_anew = |source: &str| {
        let all = || planned.items.iter().filter_map(|i| journal::beside(&planned.root, &i.source).ok()).collect();
        !options.hot && sources.get_or_init(all).contains(source)
    };
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).min(existing.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&i) = existing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let item = &planned.items[i];
                    let at = |output: &Path| {
                        let path = planned.root.join(output);
                        if path.symlink_metadata().is_err() {
                            return Ok(Verdict::New);
                        }
                        let known = known(state, output);
                        let judged = judge(&planned.root, &path, item, options, &known);
                        // Its source has another place in this job.
                        judged.map(|v| if matches!(&v, Verdict::Other(source) if made_anew(source)) { Verdict::Ours } else { v })
                    };
                    // What missed a gate and would miss it again is done, and is still held unless a person took it from there; what is
                    // somebody else's is kept.
                    let judged = match at(&hold(&item.output)) {
                        Ok(held @ Verdict::Same { .. }) => {
                            at(&item.output).map(|v| if matches!(v, Verdict::Same { .. }) { v } else { held })
                        }
                        Ok(told @ (Verdict::Foreign | Verdict::Other(_))) => Ok(told),
                        Ok(_) => at(&item.output),
                        Err(e) => Err(e),
                    };
                    match judged {
                        Ok(v) => lock(&verdicts)[i] = v,
                        Err(e) => *lock(&failed) = Some(e),
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_default() {
        Some(e) => Err(e),
        None => Ok(verdicts.into_inner().unwrap_or_default()),
    }
}

/// Results that are there but that nothing of this run makes, because their sources are gone.
pub fn orphans(planned: &Planned, state: &State) -> Vec<PathBuf> {
    let records = state.records();
    if records.is_empty() {
        return Vec::new();
    }
    let made: HashSet<String> =
        planned.items.iter().flat_map(|i| [journal::encode(&i.output), journal::encode(&hold(&i.output))]).collect();
    let gone = |r: &&&Record| {
        let source = planned.root.join(journal::decode(&r.source)).symlink_metadata();
        !r.source.is_empty() && source.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    };
    let left = records.iter().filter(|r| !made.contains(&r.output)).filter(gone).map(|r| journal::decode(&r.output));
    left.filter(|output| planned.root.join(output).is_file()).collect()
}

fn judge(root: &Path, output: &Path, item: &Item, options: &Options, known: &[Cow<'_, Known>]) -> Result<Verdict> {
    let Ok(meta) = output.metadata() else {
        // A link to nowhere.
        return Ok(Verdict::Foreign);
    };
    if meta.is_dir() {
        // Never replaced; its job says so.
        return Ok(Verdict::Ours);
    }
    let mut look = Look { root, output, item, options, bytes: meta.len(), hash: None, source: None, key: None };
    let mut best = Verdict::Foreign;
    for known in known {
        match look.judge(known)? {
            // What was kept beside it comes back with it.
            Verdict::Same { record, .. } if record.c2pa && !has_c2pa(root, output, &item.output) => return Ok(Verdict::Ours),
            same @ Verdict::Same { .. } => return Ok(same),
            Verdict::Ours => best = Verdict::Ours,
            other @ Verdict::Other(_) if best == Verdict::Foreign => best = other,
            _ => {}
        }
    }
    Ok(best)
}

/// Whether a result's C2PA manifest lies beside it, or still where it was held: [`super::Batch::open`] takes it along.
fn has_c2pa(root: &Path, output: &Path, below: &Path) -> bool {
    [output, &root.join(hold(below))].into_iter().any(|path| sidecar(path).is_file())
}

/// What stands in an item's place. Hashing is put off until something depends on it.
struct Look<'a> {
    root: &'a Path,
    output: &'a Path,
    item: &'a Item,
    options: &'a Options,
    bytes: u64,
    hash: Option<String>,
    /// Hash of the source; empty where it cannot be read.
    source: Option<String>,
    /// Of the result that is wanted; empty where the source cannot be read.
    key: Option<String>,
}

impl Look<'_> {
    /// Whether it is what this record is about.
    fn is(&mut self, record: &Record) -> Result<bool> {
        if record.bytes != self.bytes {
            return Ok(false);
        }
        if self.hash.is_none() {
            self.hash = Some(journal::sha256_file(self.output)?);
        }
        Ok(self.hash.as_deref() == Some(&record.sha256))
    }

    fn source(&mut self) -> &str {
        self.source.get_or_insert_with(|| journal::sha256_file(&self.item.source).unwrap_or_default())
    }

    /// Whether a record is about a result of this source. What cannot be read fails when its turn comes, and replaces nothing.
    fn is_of_source(&mut self, record: &Record) -> bool {
        let by_path = || journal::beside(self.root, &self.item.source).is_ok_and(|name| name == record.source);
        // Journals of before tell no path; a person who rejects a result says what shall stand in its place.
        record.source.is_empty() || self.options.instead || by_path() || ["", &record.source_sha256].contains(&self.source())
    }

    /// Whether a record is about the result that is wanted.
    fn wanted(&mut self, record: &Record) -> bool {
        if self.key.is_none() {
            let source = self.source().to_string();
            let known = settings(self.options, self.item).ok().filter(|_| !source.is_empty());
            self.key = Some(known.map(|(_, settings)| journal::key(&source, &settings, &self.options.model)).unwrap_or_default());
        }
        let key = self.key.get_or_insert_default();
        // Who replaces what is there wants exactly what is asked for.
        if self.options.instead { *key == record.key } else { record.answers(key) }
    }

    /// What one journal's word comes to.
    fn judge(&mut self, known: &Known) -> Result<Verdict> {
        if let Some(record) = &known.pending {
            if self.is(record)? {
                let same = self.wanted(record);
                return Ok(if same { Verdict::Same { record: Box::new(record.clone()), pending: true } } else { self.made(record) });
            }
            // Announced, then the machine lost power before the data reached the disk.
            if self.bytes == 0 && !record.approved {
                return Ok(self.made(record));
            }
        }
        let Some(record) = &known.done else { return Ok(Verdict::Foreign) };
        // After an announcement that came to nothing, the size alone is not enough.
        let whole = if known.pending.is_some() { self.is(record)? } else { record.bytes == self.bytes };
        if whole && self.wanted(record) {
            return Ok(Verdict::Same { record: Box::new(record.clone()), pending: false });
        }
        Ok(if self.is(record)? { self.made(record) } else { Verdict::Foreign })
    }

    fn made(&mut self, record: &Record) -> Verdict {
        if self.is_of_source(record) { Verdict::Ours } else { Verdict::Other(record.source.clone()) }
    }
}
