//! What the journals and the reports that lie beside results tell of them: where their sources are, how they were made, what was
//! found when they were.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::found::{Found, Sources};
use crate::batch::hold;
use crate::batch::journal::{self, Record, STATE, State};
use crate::codec::Encoding;
use crate::error::Result;
use crate::inspect::{Report, log};
use crate::pipeline::frame::Frame;
use crate::pipeline::{Plan, Settings};

/// The state folders at and above the pictures that are inspected, each read once.
#[derive(Debug, Default)]
pub struct Journals(HashMap<PathBuf, Beside>);

#[derive(Debug, Default)]
struct Beside {
    state: State,
    reports: HashMap<String, Report>,
}

/// What is known of one result.
#[derive(Debug, Default)]
pub struct Known {
    /// Of the result, if it can be read.
    pub sha256: Option<String>,
    /// What it was made from: as it was asked for, else as the journal tells and if it is still there, unchanged.
    pub source: Option<PathBuf>,
    /// How it was made of that source.
    pub plan: Option<Plan>,
    pub frame: Frame,
    /// How it was written.
    pub encoding: Option<Encoding>,
    /// Its source is the very file.
    pub itself: bool,
    /// The report to keep: that of when it was made, of a result whose colours were changed since; or one that was made with a
    /// source when there is none now.
    pub kept: Option<Report>,
    pub note: Option<&'static str>,
}

const GRADED: &str = "it was graded after it was enlarged, so it is not compared with its source";
const ITSELF: &str = "its source is the very file, so whatever was invented is in both";
const CHANGED: &str = "its source is not the one any more that it was made of, so it is not compared";

impl Journals {
    /// What is known of a picture; `asked` are the sources that were asked for. Which of them it was made from the journal knows
    /// best; names only tell where there is none.
    ///
    /// # Errors
    /// Damaged state files.
    pub fn known(&mut self, picture: &Found, asked: Option<&Sources>) -> Result<Known> {
        let path = picture.path.as_path();
        let by_name = || asked.and_then(|s| s.of(&picture.below)).map(Path::to_path_buf);
        // What cannot be read is told when it is inspected.
        let Ok(sha256) = journal::sha256_file(path) else { return Ok(Known { source: by_name(), ..Known::default() }) };
        let mut known = Known::default();
        let mut earlier = None;
        if let Some((root, beside, below)) = self.beside(path, &sha256)? {
            earlier = beside.report(&below, &sha256).cloned();
            if let Some(record) = beside.record(&below, &sha256) {
                let told = root.join(journal::decode(&record.source));
                let found = asked.filter(|a| a.one().is_none()).map(|a| a.told(&told, &record.source_sha256)).transpose()?.flatten();
                known.source = found.map(Path::to_path_buf).or_else(by_name);
                known.follow(&record, beside.state.settings(&record.settings), root, earlier.as_ref())?;
            } else {
                known.source = by_name();
            }
        } else {
            known.source = by_name();
        }
        if known.source.is_none() && known.kept.is_none() {
            known.kept = earlier.filter(|r| r.source.is_some());
        }
        let real = |p: &Path| p.canonicalize().ok();
        known.itself = known.source.as_deref().is_some_and(|s| real(s).is_some() && real(s) == real(path));
        if known.itself {
            known.note = Some(ITSELF);
        }
        known.sha256 = Some(sha256);
        Ok(known)
    }

    /// The nearest folder whose state tells of this file, and its place below it.
    fn beside(&mut self, path: &Path, sha256: &str) -> Result<Option<(&Path, &Beside, PathBuf)>> {
        let Ok(real) = path.canonicalize() else { return Ok(None) };
        for root in real.ancestors().skip(1).filter(|a| a.join(STATE).is_dir()) {
            if !self.0.contains_key(root) {
                let state = State::load(root, None)?;
                let reports = log::read(&root.join(STATE).join(log::FILE))?;
                let reports = reports.into_iter().map(|r| (r.name().to_owned(), r)).collect();
                self.0.insert(root.to_path_buf(), Beside { state, reports });
            }
            let below = real.strip_prefix(root).unwrap_or(&real).to_path_buf();
            let tells = |b: &Beside| b.record(&below, sha256).is_some() || b.report(&below, sha256).is_some();
            if self.0.get(root).is_some_and(tells) {
                return Ok(self.0.get_key_value(root).map(|(root, beside)| (root.as_path(), beside, below)));
            }
        }
        Ok(None)
    }
}

impl Beside {
    /// The record of this very file, also from when it was held.
    fn record(&self, below: &Path, sha256: &str) -> Option<Record> {
        let names = [below.to_path_buf(), hold(below)].map(|p| journal::encode(&p));
        let mut all = names.iter().flat_map(|name| self.state.get(name)).flat_map(|k| [&k.done, &k.pending]).flatten();
        all.find(|r| r.sha256 == sha256).cloned()
    }

    /// The report on it, likewise.
    fn report(&self, below: &Path, sha256: &str) -> Option<&Report> {
        let names = [below.to_path_buf(), hold(below)].map(|p| journal::word(&p));
        names.iter().filter_map(|name| self.reports.get(name)).find(|r| r.is_about(sha256))
    }
}

impl Known {
    /// Takes over what a record tells.
    fn follow(&mut self, record: &Record, settings: Option<&Settings>, root: &Path, earlier: Option<&Report>) -> Result<()> {
        self.encoding = settings.map(|s| s.encoding.clone());
        let told = || Some(root.join(journal::decode(&record.source))).filter(|s| !record.source.is_empty() && s.is_file());
        let asked = self.source.is_some();
        let Some(source) = self.source.take().or_else(told) else { return Ok(()) };
        if journal::sha256_file(&source)? != record.source_sha256 {
            match asked {
                true => self.source = Some(source),
                false => self.note = Some(CHANGED),
            }
            return Ok(());
        }
        let graded = settings.is_some_and(|s| s.grading.is_some() || s.matching.is_some() || s.finish.is_some());
        if graded {
            // Before its look it was compared as it came from the networks.
            self.kept = earlier.filter(|r| r.source.is_some()).cloned();
            self.note = Some(GRADED);
            self.source = Some(source).filter(|_| asked && self.kept.is_none());
            return Ok(());
        }
        self.source = Some(source);
        if let Some(settings) = settings {
            self.frame = Frame::of(settings);
            self.plan = Some(record.plan.clone());
        }
        Ok(())
    }
}
