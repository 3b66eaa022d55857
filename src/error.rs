//! What can go wrong, grouped by who has to act on it.
//!
//! Every variant carries what it is about, what is wrong (with the value found) and what to try next, so that the command
//! line can print it as it is and JSON readers can branch on [`Error::kind`].

use std::fmt;
use std::path::{Path, PathBuf};

/// `std::result::Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            let kept = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = kept.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if swap {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The one of `names` that somebody who wrote `word` may have meant, if any is near enough; `-`, spaces and `_` are the same.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near(word, names).into_iter().next()
}

/// All that are near enough, the nearest first.
pub fn near<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    let likely = |d: usize, name: &str| d <= 1 + word.chars().count() / 4 || (word.len() > 2 && name.contains(&word));
    let mut near: Vec<_> = names.into_iter().map(|n| (distance(&word, &plain(n)), n)).filter(|(d, n)| likely(*d, &plain(n))).collect();
    near.sort_unstable();
    near.into_iter().map(|(_, n)| n).collect()
}

/// Process exit codes; other programs rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for is done.
    Done = 0,
    /// A bug in lastmile.
    Internal = 1,
    /// The command, a recipe or a model file is wrong, or an output would overwrite its input.
    Usage = 2,
    /// One or more files failed; the others are done.
    Failed = 3,
    /// A quality gate was hit.
    Gate = 4,
    /// A device, the runtime or a model is not available.
    Unavailable = 5,
    /// Interrupted; the same command goes on where it stopped.
    Interrupted = 130,
}

/// Everything that can go wrong, grouped by who must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source file is missing, broken, unsupported or refused. Concerns one job.
    #[error("{}", Said(path.display(), what, hint))]
    Input { path: PathBuf, what: String, hint: String },
    /// The command line, a recipe or another settings file is wrong. Stops before work.
    #[error("{}", Said(subject, what, hint))]
    Usage { subject: String, what: String, hint: String },
    /// A model file is not usable. Stops before work.
    #[error("{}", Said(model, what, hint))]
    Model { model: String, what: String, hint: String },
    /// The ONNX Runtime library is missing, wrong or cannot be installed.
    #[error("{}", Said("ONNX Runtime", what, hint))]
    Runtime { what: String, hint: String },
    /// A device that was asked for cannot run, or it failed while running.
    #[error("{}", Said(device, what, hint))]
    Device { device: String, what: String, hint: String },
    /// A model that has to be downloaded is not here, or downloading it failed or is forbidden.
    #[error("{}", Said(subject, what, hint))]
    Unavailable { subject: String, what: String, hint: String },
    /// A limit (pixels, memory, container size) forbids the job.
    #[error("{}", Said(subject, what, hint))]
    Limit { subject: String, what: String, hint: String },
    /// The result of a network or stage cannot be delivered (black picture, NaN). Concerns one job.
    #[error("{}", Said(subject, what, hint))]
    Quality { subject: String, what: String, hint: String },
    /// An output cannot be written. Concerns one job.
    #[error("{}", Said(path.display(), what, hint))]
    Output { path: PathBuf, what: String, hint: String },
    /// The operating system refused a read or write.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The user stopped the run.
    #[error("interrupted")]
    Interrupted,
    /// A bug in lastmile.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl Error {
    /// The same error, for another file that it concerns as well.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Input { path, what, hint } => Self::input(path, what, hint),
            Self::Usage { subject, what, hint } => Self::usage(subject, what, hint),
            Self::Model { model, what, hint } => Self::model(model, what, hint),
            Self::Runtime { what, hint } => Self::runtime(what, hint),
            Self::Device { device, what, hint } => Self::device(device, what, hint),
            Self::Unavailable { subject, what, hint } => Self::unavailable(subject, what, hint),
            Self::Limit { subject, what, hint } => Self::limit(subject, what, hint),
            Self::Quality { subject, what, hint } => Self::quality(subject, what, hint),
            Self::Output { path, what, hint } => Self::output(path, what, hint),
            Self::Io { path, source } => Self::io(path, std::io::Error::new(source.kind(), source.to_string())),
            Self::Interrupted => Self::Interrupted,
            Self::Internal(what) => Self::Internal(what.clone()),
        }
    }

    /// A broken or refused source file.
    pub fn input(path: impl AsRef<Path>, what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Input { path: path.as_ref().to_path_buf(), what: what.to_string(), hint: hint.to_string() }
    }

    /// A wrong command line or settings file.
    pub fn usage(subject: impl fmt::Display, what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Usage { subject: subject.to_string(), what: what.to_string(), hint: hint.to_string() }
    }

    /// An unusable model file.
    pub fn model(model: impl fmt::Display, what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Model { model: model.to_string(), what: what.to_string(), hint: hint.to_string() }
    }

    /// A missing or unusable ONNX Runtime.
    pub fn runtime(what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Runtime { what: what.to_string(), hint: hint.to_string() }
    }

    /// A device that cannot run.
    pub fn device(device: impl fmt::Display, what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Device { device: device.to_string(), what: what.to_string(), hint: hint.to_string() }
    }

    /// Something that is not here and has to be downloaded.
    pub fn unavailable(subject: impl fmt::Display, what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Unavailable { subject: subject.to_string(), what: what.to_string(), hint: hint.to_string() }
    }

    /// A limit that forbids the job.
    pub fn limit(subject: impl fmt::Display, what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Limit { subject: subject.to_string(), what: what.to_string(), hint: hint.to_string() }
    }

    /// A result that must not be delivered.
    pub fn quality(subject: impl fmt::Display, what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Quality { subject: subject.to_string(), what: what.to_string(), hint: hint.to_string() }
    }

    /// An output that cannot be written.
    pub fn output(path: impl AsRef<Path>, what: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self::Output { path: path.as_ref().to_path_buf(), what: what.to_string(), hint: hint.to_string() }
    }

    /// An operating-system error on `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// The stable name of the group, as written to `error.kind` in JSON lines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Input { .. } => "input",
            Self::Usage { .. } => "usage",
            Self::Model { .. } => "model",
            Self::Runtime { .. } => "runtime",
            Self::Device { .. } => "device",
            Self::Unavailable { .. } => "unavailable",
            Self::Limit { .. } => "limit",
            Self::Quality { .. } => "quality",
            Self::Output { .. } => "output",
            Self::Io { .. } => "io",
            Self::Interrupted => "interrupted",
            Self::Internal(_) => "internal",
        }
    }

    /// The exit code of a run that ends with this error. A batch maps the errors of single jobs to [`Exit::Failed`] itself.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Model { .. } => Exit::Usage,
            Self::Runtime { .. } | Self::Device { .. } | Self::Unavailable { .. } => Exit::Unavailable,
            Self::Input { .. } | Self::Limit { .. } | Self::Quality { .. } | Self::Output { .. } | Self::Io { .. } => Exit::Failed,
            Self::Interrupted => Exit::Interrupted,
            Self::Internal(_) => Exit::Internal,
        }
    }
}

/// "subject: what" and the hint on a line of its own, if there is one.
struct Said<S, W, H>(S, W, H);

impl<S: fmt::Display, W: fmt::Display, H: AsRef<str>> fmt::Display for Said<S, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)?;
        match self.2.as_ref() {
            "" => Ok(()),
            hint => write!(f, "\n  try: {hint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_subject_fault_and_way_out() {
        let e = Error::input("a/b.png", "the PNG data ends after 12 of 90 rows", "export it again");
        assert_eq!(e.to_string(), "a/b.png: the PNG data ends after 12 of 90 rows\n  try: export it again");
        assert_eq!((e.kind(), e.exit()), ("input", Exit::Failed));
        assert_eq!(Error::usage("--scale", "`abc` is not a number", "").to_string(), "--scale: `abc` is not a number");
    }
}
