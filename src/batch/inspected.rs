//! What is known of inspections of the results that are there already, so that a gate does not open because a run went on.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::journal::{self, Record, STATE};
use super::plan::Item;
use super::triage::{Verdict, hold};
use crate::error::Result;
use crate::inspect::{Report, log};

/// The reports of an output folder, by the name of the picture below it.
#[derive(Debug, Default)]
pub struct Inspected(HashMap<String, Report>);

impl Inspected {
    /// Reads what earlier runs and `inspect` wrote; none is no error.
    ///
    /// # Errors
    /// As [`log::read`].
    pub fn load(root: &Path) -> Result<Self> {
        let reports = log::read(&root.join(STATE).join(log::FILE))?;
        Ok(Self(reports.into_iter().map(|r| (r.name().to_owned(), r)).collect()))
    }

    /// The report on the very file that the journal tells of, also from when it was held.
    pub fn of(&self, record: &Record) -> Option<&Report> {
        let output = journal::decode(&record.output);
        let reports = [&output, &hold(&output)].map(|path| self.0.get(&journal::word(path)));
        reports.into_iter().flatten().find(|r| r.is_about(&record.sha256))
    }

    /// The items that are done, but of whose source nothing was inspected: a run was cut short between a file and its report, or
    /// did not inspect. What is a copy of its source needs no inspection; what a person chose (`chosen`) is left alone.
    pub fn missing(&self, items: &[Item], verdicts: &[Verdict], chosen: &dyn Fn(&Record) -> bool) -> HashSet<usize> {
        let seen = |verdict: &Verdict| match verdict {
            Verdict::Same { record, .. } => record.sha256 == record.source_sha256 || chosen(record) || self.of(record).is_some(),
            // It is made now, and looked at.
            _ => true,
        };
        // One file of a source is looked at for all of them.
        let done: HashSet<&Path> = items.iter().zip(verdicts).filter(|(_, v)| seen(v)).map(|(i, _)| i.source.as_path()).collect();
        (0..items.len()).filter(|i| !done.contains(items[*i].source.as_path())).collect()
    }
}
