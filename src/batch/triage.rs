//! What is there already: which outputs are done, which are ours to replace, and which are somebody else's.
//!
//! Contents decide, not times: a source is hashed whenever its output exists. An output counts as done if it has the size that the
//! journal says (it was synced before it was journalled); before it is replaced, or if it was only announced, it is hashed.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::journal::{self, Known, Record, State};
use super::plan::{Item, Planned};
use super::{Options, lock};
use crate::codec::Format;
use crate::error::{Error, Result};
use crate::pipeline::Settings;

/// What to do about one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing stands in the output's place.
    New,
    /// The output is there, from this source with these settings. `pending`: the journal does not say so yet.
    Same { record: Box<Record>, pending: bool },
    /// We made what is there; it may be replaced.
    Ours,
    /// Somebody else made or changed it.
    Foreign,
}

/// The settings of one item and their hash. Quality 0 means the format's default; what a format does not use leaves its hash alone.
pub fn settings(options: &Options, item: &Item) -> Result<(Settings, String)> {
    let mut settings = options.settings.clone();
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
    e.quality = match (e.format, e.quality) {
        (Format::Jpeg, 0) => 95,
        (Format::WebP, 0) => 92,
        (Format::Jpeg, q) => q,
        (Format::WebP, q) if !e.lossless => q,
        _ => 100,
    };
    let json = serde_json::to_vec(&settings).map_err(|e| Error::Internal(format!("settings: {e}")))?;
    let hash = journal::sha256(&json);
    Ok((settings, hash))
}

/// Judges every item, in order.
pub fn triage(planned: &Planned, options: &Options, state: &State) -> Result<Vec<Verdict>> {
    let verdicts = Mutex::new(vec![Verdict::New; planned.items.len()]);
    let failed = Mutex::new(None);
    // Only items whose output exists cost more than a look at the folder.
    let existing: Vec<usize> =
        (0..planned.items.len()).filter(|i| planned.root.join(&planned.items[*i].output).symlink_metadata().is_ok()).collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).min(existing.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&i) = existing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let item = &planned.items[i];
                    match judge(&planned.root.join(&item.output), item, options, state.get(&journal::encode(&item.output))) {
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

fn judge(output: &Path, item: &Item, options: &Options, known: Option<&Known>) -> Result<Verdict> {
    let Ok(meta) = output.metadata() else {
        // A link to nowhere.
        return Ok(Verdict::Foreign);
    };
    if meta.is_dir() {
        // Never replaced; its job says so.
        return Ok(Verdict::Ours);
    }
    let Some(known) = known else { return Ok(Verdict::Foreign) };
    let mut hash = None;
    // Hashing is put off until something depends on it.
    let mut is = |record: &Record| -> Result<bool> {
        if record.bytes != meta.len() {
            return Ok(false);
        }
        if hash.is_none() {
            hash = Some(journal::sha256_file(output)?);
        }
        Ok(hash.as_deref() == Some(&record.sha256))
    };
    let key = || -> Option<String> {
        let source = journal::sha256_file(&item.source).ok()?;
        let (_, settings) = settings(options, item).ok()?;
        Some(journal::key(&source, &settings, &options.model))
    };
    if let Some(record) = &known.pending {
        if is(record)? {
            let same = key().is_some_and(|k| k == record.key);
            return Ok(if same { Verdict::Same { record: Box::new(record.clone()), pending: true } } else { Verdict::Ours });
        }
        // Announced, then the machine lost power before the data reached the disk.
        if meta.len() == 0 {
            return Ok(Verdict::Ours);
        }
    }
    let Some(record) = &known.done else { return Ok(Verdict::Foreign) };
    // After an announcement that came to nothing, the size alone is not enough.
    let whole = if known.pending.is_some() { is(record)? } else { record.bytes == meta.len() };
    if whole && key().is_some_and(|k| k == record.key) {
        return Ok(Verdict::Same { record: Box::new(record.clone()), pending: false });
    }
    Ok(if is(record)? { Verdict::Ours } else { Verdict::Foreign })
}
