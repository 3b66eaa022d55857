//! Pictures that show how others shall look, and the transform from theirs to these.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::brand::score;
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::grade::matching::{MOST_WARMTH, Match, Statistics};

/// Reference pictures, counted. Two are equal if the files hold the same bytes in the same order.
///
/// Written out, it names the files; read back, it counts them again, or is an error if one is gone or has changed.
#[derive(Clone)]
pub struct Reference {
    files: Vec<PathBuf>,
    statistics: Arc<Statistics>,
    /// What scores compare with.
    scored: Arc<Statistics>,
    /// How warm or cool a match may make greys (OKLab chroma).
    warmth: f32,
    identity: String,
}

impl Reference {
    /// Counts the colours of all pictures together, each picture counting the same.
    ///
    /// # Errors
    /// [`Error::Usage`] for no files; [`Error::Io`] for one that cannot be read; [`Error::Input`] for what is wrong in one.
    pub fn open(files: &[PathBuf]) -> Result<Self> {
        let mut all: Option<[Statistics; 2]> = None;
        let mut hash = Sha256::new();
        for path in files {
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
            hash.update(Sha256::digest(&bytes));
            let image = codec::decode(path, &bytes, &Limits::default())?;
            let one = [Statistics::of(&image)?, score::statistics(&image)?];
            match &mut all {
                None => all = Some(one),
                Some(all) => all.iter_mut().zip(&one).for_each(|(all, one)| all.merge(one)),
            }
        }
        let Some([statistics, scored]) = all else { return Err(Error::usage("match", "there is no reference picture", "--match REF")) };
        let files = files.iter().map(|f| std::path::absolute(f).map_err(|e| Error::io(f, e))).collect::<Result<_>>()?;
        Ok(Self { files, statistics: Arc::new(statistics), scored: Arc::new(scored), warmth: MOST_WARMTH, identity: hex(hash) })
    }

    /// The same, with matches that make greys warmer or cooler by at most this OKLab chroma.
    #[must_use]
    pub fn with_warmth(self, warmth: f32) -> Self {
        Self { warmth: warmth.min(MOST_WARMTH), ..self }
    }

    /// The transform of pictures with the colours `from` to these.
    pub fn matched(&self, from: &Statistics) -> Match {
        Match::within(from, &self.statistics, self.warmth)
    }

    /// The colours of the references by [`score::statistics`].
    pub fn scored(&self) -> &Statistics {
        &self.scored
    }

    /// The colours of the references.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// SHA-256 over the files, in hexadecimal.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

/// A finished hash in hexadecimal.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({})", self.identity)
    }
}

impl PartialEq for Reference {
    fn eq(&self, o: &Self) -> bool {
        self.identity == o.identity
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    files: Vec<PathBuf>,
    sha256: String,
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        Written { files: self.files.clone(), sha256: self.identity.clone() }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let written = Written::deserialize(d)?;
        match Self::open(&written.files).map_err(D::Error::custom)? {
            found if found.identity == written.sha256 => Ok(found),
            _ => Err(D::Error::custom("a reference picture is not what it was any more")),
        }
    }
}
