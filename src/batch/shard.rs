//! `--shard I/N`: a part of a job for one of many machines, with no coordinator.
//!
//! Every machine lists all sources and settles all names, then keeps the outputs whose path hashes to its part. So parts never
//! meet, clashes are settled as in one run, and the same command takes the same part again.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::journal::encode;

/// Part `index` of `count`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((index, count)) if (1..=count).contains(&index) && count <= 100_000 => Ok(Self { index, count }),
            Some((0, _)) => Err("parts are counted from 1: of four, 1/4 to 4/4".into()),
            _ => Err("which part of how many, for example 1/4".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// Whether an output (its path below the output folder) belongs to this part.
    pub fn takes(&self, output: &Path) -> bool {
        let hash = Sha256::digest(encode(output).as_bytes());
        let head = hash.iter().take(8).fold(0u64, |n, b| n << 8 | u64::from(*b));
        head % u64::from(self.count) == u64::from(self.index - 1)
    }

    /// What is added to the names of this part's files in the state folder.
    pub fn suffix(&self) -> String {
        format!("-{}-of-{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_in_exactly_one_part() {
        let parts: Vec<Shard> = (1..=4).map(|i| format!("{i}/4").parse().unwrap()).collect();
        let mut counts = [0; 4];
        for n in 0..4000 {
            let path = format!("a/ä {n}.png");
            let takers: Vec<usize> = (0..4).filter(|i| parts[*i].takes(Path::new(&path))).collect();
            assert_eq!(takers.len(), 1, "{path}");
            counts[takers[0]] += 1;
        }
        // 1,000 each; the standard deviation is 27.
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
        // Fixed for good: other versions and machines must agree. SHA-256 of "a.png" begins with these eight bytes.
        let head = Sha256::digest(b"a.png")[..8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        assert!(format!("{}/7", head % 7 + 1).parse::<Shard>().unwrap().takes(Path::new("a.png")));
    }

    #[test]
    fn as_typed() {
        assert_eq!("2/4".parse::<Shard>().unwrap().to_string(), "2/4");
        for bad in ["0/4", "5/4", "2", "a/b", "1/0", "-1/4", "1/4/2"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
        assert!("0/4".parse::<Shard>().unwrap_err().contains("counted from 1"));
    }
}
