//! The folder that holds what lastmile keeps between runs.

use std::path::{Path, PathBuf};

/// The folder for models, the runtime library and caches; `LASTMILE_HOME` on the command line.
///
/// Everything in it can be made again: deleting it costs a download and some seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// A home at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Installed runtime libraries, one folder each.
    pub fn runtime(&self) -> PathBuf {
        self.root.join("runtime")
    }

    /// Registered models.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// What is only kept because making it again takes time: optimised models, GPU engines.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }
}
