//! Raw scores to probabilities: the share of clean pictures whose worst spot is less bad.
//!
//! `calibration.json` holds, per detector and situation, the sorted per-picture raw scores of clean pictures (thinned to knots
//! at equal steps of probability), and the score from which each detector flags at each tier. It is written by
//! `cargo run --release --example detection -- fit`, and its hash goes into every report. Beyond the last knot a Pareto tail goes on
//! rising strictly, so that no two raw scores tie.
//!
//! A score of 0.98 means that two clean pictures in a hundred have a spot this bad, whatever the detector. Where it flags differs: the
//! thresholds of a tier were chosen together, so that the clean pictures which any of them flags stay within the tier's share, with
//! more room for detectors that find more with it. A part of the share goes to the score of all detectors together: a picture is flagged as well
//! where several half see something that, together, as few clean pictures show.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::report::{Situation, Tier};

/// Pixels of the clean pictures that the tables were fitted on.
pub const PIXELS: usize = 384 * 384;

/// Among a tier's thresholds, that of the picture's score.
pub const TOGETHER: &str = "together";

const FILE: &str = include_str!("calibration.json");

/// The tables that ship.
pub static SHIPPED: LazyLock<Calibration> = LazyLock::new(|| Calibration::parse(FILE));

/// One table per detector and situation, and thresholds chosen together.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    fitted: Fitted,
    hash: String,
}

/// By detector, then `source`, `alone` or `own`.
pub type Tables = BTreeMap<String, BTreeMap<String, Table>>;

/// The score from which a detector flags, by `source` or `alone`, then tier, then detector.
pub type Thresholds = BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>;

/// What the file holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Fitted {
    tables: Tables,
    #[serde(default)]
    thresholds: Thresholds,
}

/// Raw scores of clean pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Clean pictures it was fitted on.
    pub pictures: usize,
    /// Rising raw scores; knot `i` of `n` has probability `(i + 1) / (n + 1)`, the last one `pictures / (pictures + 1)`.
    pub knots: Vec<f64>,
    /// Mean excess of the worst tenth over its threshold: the tail's scale.
    pub tail: f64,
}

impl Table {
    /// Fits a table to the raw scores of clean pictures.
    pub fn fit(mut raw: Vec<f64>) -> Self {
        const KNOTS: usize = 64;
        raw.retain(|v| v.is_finite());
        raw.sort_by(f64::total_cmp);
        let n = raw.len();
        let keep = n.min(KNOTS);
        let round = |v: f64| format!("{v:.6e}").parse::<f64>().unwrap_or(v);
        let knots: Vec<f64> = (0..keep).map(|i| round(raw[((i + 1) * n).div_ceil(keep) - 1])).collect();
        let (worst, from) = (n.div_ceil(10), n.saturating_sub(n.div_ceil(10) + 1));
        let threshold = raw.get(from).copied().unwrap_or(0.0);
        let excess = raw.iter().rev().take(worst).map(|v| v - threshold).sum::<f64>() / worst.max(1) as f64;
        let floor = knots.last().map_or(1e-6, |v| (v.abs() * 0.02).max(1e-6));
        Self { pictures: n, knots, tail: round(excess.max(floor)) }
    }

    /// The share of clean pictures with a lower raw score, 0..1; rises strictly above 0.
    pub fn score(&self, raw: f64) -> f64 {
        let n = self.knots.len();
        if n == 0 || raw.is_nan() || raw <= 0.0 {
            return 0.0;
        }
        let last = self.pictures as f64 / (self.pictures as f64 + 1.0);
        let p = |i: usize| last * (i + 1) as f64 / n as f64;
        let above = self.knots.partition_point(|k| *k < raw);
        let top = self.knots[n - 1];
        if above >= n {
            return 1.0 - (1.0 - last) / (1.0 + (raw - top) / self.tail).powi(2);
        }
        let (x1, p1) = (self.knots[above], p(above));
        let (x0, p0) = if above == 0 { (0.0, 0.0) } else { (self.knots[above - 1], p(above - 1)) };
        p0 + (p1 - p0) * ((raw - x0) / (x1 - x0).max(1e-12)).clamp(0.0, 1.0)
    }
}

impl Calibration {
    /// From the text of a file; without tables, if it is not one.
    pub fn parse(text: &str) -> Self {
        let fitted = serde_json::from_str(text).unwrap_or_default();
        Self { fitted, hash: Sha256::digest(text.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect() }
    }

    /// From fitted tables and thresholds.
    pub fn new(tables: Tables, thresholds: Thresholds) -> Self {
        Self::parse(&serde_json::to_string(&Fitted { tables, thresholds }).unwrap_or_default())
    }

    /// First 16 hex digits of the file's sha256.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The table of a detector. A picture of our own has a stricter one for what only a foreign result can hold (true detail that
    /// its source lacks), and uses that of a foreign one with source where it has none.
    pub fn table(&self, detector: &str, situation: Situation) -> Option<&Table> {
        let of = self.fitted.tables.get(detector)?;
        match situation {
            Situation::Own => of.get("own").or_else(|| of.get("source")),
            Situation::Source => of.get("source"),
            Situation::Alone => of.get("alone"),
        }
    }

    /// The calibrated score, 0..1. A detector without a table is squeezed into 0..0.9, so that it never flags.
    pub fn score(&self, detector: &str, situation: Situation, raw: f64) -> f64 {
        match self.table(detector, situation) {
            Some(table) => table.score(raw),
            None if raw > 0.0 => 0.9 * raw / (1.0 + raw),
            None => 0.0,
        }
    }

    /// The score from which a detector flags. Where none was fitted, it may have `share` (0..1) of the tier's false alarms
    /// (Sidak's correction).
    pub fn threshold(&self, detector: &str, situation: Situation, tier: Tier, share: f64) -> f64 {
        let situation = if situation == Situation::Alone { "alone" } else { "source" };
        let fitted = self.fitted.thresholds.get(situation).and_then(|t| t.get(tier.name())?.get(detector));
        fitted.copied().unwrap_or_else(|| (1.0 - tier.false_alarms()).powf(share))
    }

    /// The score of a whole picture ([`super::report::together`]) from which it is flagged though no detector reaches its threshold; 1,
    /// which is never, where none was fitted.
    pub fn limit(&self, situation: Situation, tier: Tier) -> f64 {
        let situation = if situation == Situation::Alone { "alone" } else { "source" };
        self.fitted.thresholds.get(situation).and_then(|t| t.get(tier.name())?.get(TOGETHER)).copied().unwrap_or(1.0)
    }

    /// As text for the file.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(&self.fitted).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_shares_of_clean_pictures() {
        let t = Table::fit((1..=199).map(f64::from).collect());
        for (raw, p) in [(100.0, 0.5), (190.0, 0.95), (20.0, 0.1)] {
            assert!((t.score(raw) - p).abs() < 0.01, "{raw}: {}", t.score(raw));
        }
        assert_eq!((t.score(0.0), t.score(-1.0), t.score(f64::NAN)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn scores_rise_strictly_to_the_end() {
        let t = Table::fit(vec![0.0, 0.1, 0.1, 0.1, 0.4, 0.9, 1.3, 2.0, 2.0, 2.2]);
        let mut before = -1.0;
        for i in 1..20_000 {
            let s = t.score(f64::from(i) * 0.05);
            assert!(s > before && s < 1.0, "{i}: {s} after {before}");
            before = s;
        }
    }

    #[test]
    fn budgets_are_shared() {
        let c = Calibration::default();
        let threshold = |share| c.threshold("seam", Situation::Source, Tier::Standard, share);
        assert!((threshold(1.0) - 0.95).abs() < 1e-12);
        let each = threshold(0.1);
        assert!((each.powi(10) - 0.95).abs() < 1e-12 && each > 0.994);
    }

    #[test]
    fn the_file_survives_a_round_trip() {
        let mut tables = Tables::new();
        tables.entry("seam".into()).or_default().insert("source".into(), Table::fit(vec![1.0, 2.0, 3.5]));
        let thresholds = serde_json::from_str(r#"{"source": {"standard": {"seam": 0.97}}}"#).unwrap();
        let c = Calibration::new(tables, thresholds);
        let again = Calibration::parse(&c.text());
        assert_eq!(again.threshold("seam", Situation::Own, Tier::Standard, 0.1), 0.97);
        assert!(again.threshold("seam", Situation::Own, Tier::Hero, 0.1) > 0.98);
        assert!(again.threshold("seam", Situation::Alone, Tier::Standard, 0.1) > 0.98);
        assert_eq!(again.table("seam", Situation::Own), c.table("seam", Situation::Source));
        assert_eq!(c.table("seam", Situation::Alone), None);
        assert_eq!(c.hash().len(), 16);
    }
}
