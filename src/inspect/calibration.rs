//! Raw scores to probabilities: the share of clean pictures whose worst spot is less bad.
//!
//! `calibration.json` holds, per detector and situation, the sorted per-picture raw scores of clean pictures (thinned to knots
//! at equal steps of probability). It is written by
//! `cargo run --release --example detection -- fit`, and its hash goes into every report. Beyond the last knot a Pareto tail goes on
//! rising strictly, so that no two raw scores tie.
//!
//! A score of 0.98 means that two clean pictures in a hundred have a spot this bad, whatever the detector. How much that says of a picture
//! differs: what a detector finds in defects may be as rare as what it finds in clean pictures. So the evidence of every score,
//! -ln(1 - score), is weighed (a logistic regression of planted defects against clean pictures, no weight below 0, none of the second below 0.3; one weight
//! for all of it and one for what lies beyond the usual), and the sum is placed among the sums of clean pictures in the same way: that is
//! the picture's score. From the tier's limit on a picture is flagged, by the detectors that carry the sum; and whatever the sum, by one whose
//! score hardly any clean picture has ([`Tier::certain`]).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::report::{Situation, Tier};

/// Pixels of the clean pictures that the tables were fitted on.
pub const PIXELS: usize = 384 * 384;

/// Among the tables, that of the sums of all detectors' evidence.
pub const TOGETHER: &str = "together";

/// The evidence, -ln(1 - score), beyond which the second weight counts: one clean picture in twenty.
pub const USUAL: f64 = 3.0;

/// Scores nearer to 1 are no more evidence.
const MOST: f64 = 1.0 - 1e-7;

const FILE: &str = include_str!("calibration.json");

/// The tables that ship.
pub static SHIPPED: LazyLock<Calibration> = LazyLock::new(|| Calibration::parse(FILE));

/// One table per detector and situation, and how detectors count together.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    fitted: Fitted,
    hash: String,
}

/// By detector, then `source`, `alone` or `own`.
pub type Tables = BTreeMap<String, BTreeMap<String, Table>>;

/// How much evidence counts, and how much more what lies beyond [`USUAL`]; by `source` or `alone`, then detector.
pub type Weights = BTreeMap<String, BTreeMap<String, [f64; 2]>>;

/// The picture's score from which it is flagged, by `source` or `alone`, then tier.
pub type Limits = BTreeMap<String, BTreeMap<String, f64>>;

/// What the file holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Fitted {
    tables: Tables,
    weights: Weights,
    limits: Limits,
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

/// The evidence of a calibrated score: all of it, and what lies beyond [`USUAL`].
pub fn evidence(score: f64) -> [f64; 2] {
    let all = -(1.0 - score.clamp(0.0, MOST)).ln();
    [all, (all - USUAL).max(0.0)]
}

/// Where weights and limits of a situation stand: a result of our own has those of a foreign one with its source.
fn name(situation: Situation) -> &'static str {
    if situation == Situation::Alone { "alone" } else { "source" }
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

    /// From what was fitted.
    pub fn new(tables: Tables, weights: Weights, limits: Limits) -> Self {
        Self::parse(&serde_json::to_string(&Fitted { tables, weights, limits }).unwrap_or_default())
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

    /// What every detector's score counts beside the others, 0 and up.
    pub fn evidence(&self, scores: &BTreeMap<String, f64>, situation: Situation) -> Vec<(String, f64)> {
        let weights = self.fitted.weights.get(name(situation));
        let of = |(detector, score): (&String, &f64)| {
            let [all, beyond] = weights.and_then(|w| w.get(detector)).copied().unwrap_or_default();
            let evidence = evidence(*score);
            (detector.clone(), all * evidence[0] + beyond * evidence[1])
        };
        scores.iter().map(of).collect()
    }

    /// The score of a picture, 0..1: the share of clean pictures, enlarged by somebody, for which all detectors together have less evidence.
    pub fn together(&self, scores: &BTreeMap<String, f64>, situation: Situation) -> f64 {
        let sum = self.evidence(scores, situation).iter().map(|(_, e)| e).sum();
        self.table(TOGETHER, situation).map_or(0.0, |table| table.score(sum))
    }

    /// The score of a picture ([`Self::together`]) from which it is flagged; 1, which is never, where none was fitted.
    pub fn limit(&self, situation: Situation, tier: Tier) -> f64 {
        self.fitted.limits.get(name(situation)).and_then(|t| t.get(tier.name())).copied().unwrap_or(1.0)
    }

    /// The detectors that flag: those that reach [`Tier::certain`]; and where the picture's score reaches its limit, those that carry
    /// it, with at least half of what the strongest one counts.
    pub fn flagging(&self, scores: &BTreeMap<String, f64>, situation: Situation, tier: Tier) -> Vec<String> {
        let mut all = self.evidence(scores, situation);
        let strongest = all.iter().map(|(_, e)| *e).fold(0.0, f64::max);
        let beyond = self.together(scores, situation) >= self.limit(situation, tier);
        all.retain(|(name, e)| scores[name] >= tier.certain(name) || (beyond && *e > 0.0 && 2.0 * e >= strongest));
        all.into_iter().map(|(name, _)| name).collect()
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

    fn map(of: &[(&str, f64)]) -> BTreeMap<String, f64> {
        of.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    }

    /// Two detectors that count alike, and one that counts half; sums of clean pictures reach 6.
    fn three() -> Calibration {
        let mut tables = Tables::new();
        tables.entry(TOGETHER.into()).or_default().insert("source".into(), Table::fit((0..200).map(|i| f64::from(i) * 0.03).collect()));
        let weights = [("a", [1.0, 1.0]), ("b", [1.0, 1.0]), ("c", [0.5, 0.5])].map(|(k, w)| (k.to_owned(), w)).into();
        let limits = map(&[("standard", 0.97)]);
        Calibration::new(tables, [("source".to_owned(), weights)].into(), [("source".to_owned(), limits)].into())
    }

    #[test]
    fn scores_add_up() {
        let c = three();
        let score = |a, b| c.together(&map(&[("a", a), ("b", b), ("c", 0.0), ("unknown", 0.9999)]), Situation::Source);
        assert_eq!(score(0.0, 0.0), 0.0);
        assert!((score(0.99, 0.0) - score(0.0, 0.99)).abs() < 1e-12);
        // 3 + 2 x 1.605 of a maximum of 6, and twice 2.3.
        assert!(score(0.99, 0.0) > 0.99 && (score(0.9, 0.9) - 0.77).abs() < 0.02, "{} {}", score(0.99, 0.0), score(0.9, 0.9));
        assert!(score(0.99, 0.9) > score(0.99, 0.0) && score(1.0, 1.0) < 1.0 && score(1.0, 1.0) > score(0.999, 0.999));
    }

    #[test]
    fn weak_signs_flag_together_what_none_flags_alone() {
        let c = three();
        let flags = |of: &[(&str, f64)], tier| c.flagging(&map(of), Situation::Own, tier);
        let (some, strong) = ([("a", 0.95), ("b", 0.96), ("c", 0.5)], [("a", 0.9), ("b", 0.2), ("c", 0.9999)]);
        assert_eq!(flags(&some, Tier::Standard), ["a", "b"]);
        assert!(flags(&some, Tier::Hero).is_empty(), "without a limit only what is certain counts");
        assert_eq!(flags(&strong, Tier::Hero), ["c"]);
        assert!(flags(&[("a", 0.95), ("b", 0.5), ("c", 0.5)], Tier::Standard).is_empty(), "one sign that is not rare is not enough");
        assert!(c.flagging(&map(&some), Situation::Alone, Tier::Standard).is_empty());
    }

    #[test]
    fn the_file_survives_a_round_trip() {
        let mut tables = Tables::new();
        tables.entry("seam".into()).or_default().insert("source".into(), Table::fit(vec![1.0, 2.0, 3.5]));
        let c = Calibration::new(tables, Weights::new(), [("source".to_owned(), map(&[("standard", 0.97)]))].into());
        let again = Calibration::parse(&c.text());
        assert_eq!(again.limit(Situation::Own, Tier::Standard), 0.97);
        assert_eq!((again.limit(Situation::Own, Tier::Hero), again.limit(Situation::Alone, Tier::Standard)), (1.0, 1.0));
        assert_eq!(again.table("seam", Situation::Own), c.table("seam", Situation::Source));
        assert_eq!(c.table("seam", Situation::Alone), None);
        assert_eq!(c.hash().len(), 16);
    }

    #[test]
    fn what_ships_knows_every_detector() {
        for (situation, n) in [(Situation::Source, crate::inspect::DETECTORS.len()), (Situation::Alone, 7)] {
            let weights = &SHIPPED.fitted.weights[name(situation)];
            assert_eq!(weights.len(), n);
            assert!(weights.values().all(|[all, beyond]| *all >= 0.0 && *beyond > 0.0), "{weights:?}");
            assert!(weights.keys().all(|d| SHIPPED.table(d, situation).is_some()));
            let limits = Tier::ALL.map(|tier| SHIPPED.limit(situation, tier));
            assert!(limits.is_sorted_by(|a, b| a > b) && limits[0] < 1.0 && limits[2] > 0.8, "{limits:?}");
            assert!(SHIPPED.table(TOGETHER, situation).is_some_and(|t| t.pictures > 500));
        }
    }
}
