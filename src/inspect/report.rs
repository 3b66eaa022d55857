//! What an inspection says: findings, scores and a verdict, as Rust values and as JSON.
//!
//! A [`Report`] is one JSON line with the stable keys `event` (`"report"`), `input`, `source`, `verdict`, `score`, `detectors`,
//! `not_applicable`, `findings` and `table`; the others explain themselves in [`Report`] and may be missing. In `OUT/.lastmile/report.jsonl` the
//! line that stands last for an input counts; paths there are relative to `OUT` where the file lies below it, else absolute.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a defect comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It was in the source already: upscaling did not cause it.
    Source,
    /// The source does not show it.
    Upscale,
    /// It appeared with the look.
    Grade,
    /// There was no source to compare with.
    Unknown,
}

/// What a person should do. `Reject` is a suggestion: nothing is rejected without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    Review,
    Reject,
}

impl Verdict {
    /// What findings come to.
    pub fn of(findings: &[Finding], tier: Tier) -> Self {
        let worst = findings.iter().map(|f| f.severity).fold(0.0, f64::max);
        match findings.is_empty() {
            true => Self::Pass,
            false if worst >= tier.reject_from() => Self::Reject,
            false => Self::Review,
        }
    }

    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Review => "review",
            Self::Reject => "reject",
        }
    }
}

/// How much a picture matters: sets the share of clean pictures that may be flagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Draft,
    #[default]
    Standard,
    Hero,
}

impl Tier {
    /// All, the one with the fewest false alarms first.
    pub const ALL: [Self; 3] = [Self::Draft, Self::Standard, Self::Hero];

    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Standard => "standard",
            Self::Hero => "hero",
        }
    }

    /// Share of clean pictures that may be flagged, over all detectors.
    pub fn false_alarms(self) -> f64 {
        match self {
            Self::Draft => 0.01,
            Self::Standard => 0.05,
            Self::Hero => 0.15,
        }
    }

    /// Severity from which `reject` is suggested.
    pub fn reject_from(self) -> f64 {
        match self {
            Self::Draft => 0.95,
            Self::Standard => 0.85,
            Self::Hero => 0.70,
        }
    }
}

/// How much a score counts beside others: its odds, times the even share of the tier's false alarms that its detector may have. 1 where
/// that share is just used up.
fn counts(detectors: &BTreeMap<String, f64>, thresholds: &BTreeMap<String, f64>, tier: Tier) -> Vec<(String, f64)> {
    let weight = |name: &str| super::DETECTORS.iter().find(|d| d.name == name).map_or(1.0, |d| d.weight);
    let weights: f64 = thresholds.keys().map(|name| weight(name)).sum();
    let count = |name: &String| {
        let share = 1.0 - (1.0 - tier.false_alarms()).powf(weight(name) / weights);
        let score = *detectors.get(name)?;
        Some((name.clone(), share * score / (1.0 - score).max(1e-9)))
    };
    thresholds.keys().filter_map(count).collect()
}

/// The score of a picture, all detectors together (`thresholds` names those that apply). A picture in which one has just used up its even
/// share of the tier's false alarms and the others find nothing has the share of clean pictures that the tier does not flag (0.95 at
/// standard). Further signs multiply: two detectors that each half see a defect count like one that sees it.
pub fn together(detectors: &BTreeMap<String, f64>, thresholds: &BTreeMap<String, f64>, tier: Tier) -> f64 {
    let product: f64 = counts(detectors, thresholds, tier).iter().map(|(_, x)| (1.0 + 3.0 * x).ln()).sum();
    let sum = (product.exp() - 1.0) / 3.0;
    (sum / (sum + tier.false_alarms() / (1.0 - tier.false_alarms()))).min(1.0 - 1e-12)
}

/// The detectors that flag: those that reach their own threshold; and where the score of all together reaches `limit`, those that
/// carry it, with at least half of what the strongest one counts.
pub fn flagging(detectors: &BTreeMap<String, f64>, thresholds: &BTreeMap<String, f64>, limit: f64, tier: Tier) -> Vec<String> {
    let mut all = counts(detectors, thresholds, tier);
    let strongest = all.iter().map(|(_, x)| *x).fold(0.0, f64::max);
    let beyond = together(detectors, thresholds, tier) >= limit;
    let flags = |name: &str, x: f64| detectors[name] >= thresholds[name] || (beyond && x > 0.0 && 2.0 * x >= strongest);
    all.retain(|(name, x)| flags(name, *x));
    all.into_iter().map(|(name, _)| name).collect()
}

/// What is known about how the picture was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Situation {
    /// Made by lastmile: source, tile grid and models are known exactly.
    Own,
    /// Somebody else's result, with its source.
    Source,
    /// No source.
    #[default]
    Alone,
}

/// A rectangle in output pixels; in JSON `[x, y, w, h]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "[usize; 4]", into = "[usize; 4]")]
pub struct Rect {
    pub x: usize,
    pub y: usize,
    pub w: usize,
    pub h: usize,
}

impl From<[usize; 4]> for Rect {
    fn from([x, y, w, h]: [usize; 4]) -> Self {
        Self { x, y, w, h }
    }
}

impl From<Rect> for [usize; 4] {
    fn from(r: Rect) -> Self {
        [r.x, r.y, r.w, r.h]
    }
}

impl Rect {
    /// Pixels inside.
    pub fn area(&self) -> usize {
        self.w * self.h
    }

    /// The smallest rectangle around both.
    pub fn union(&self, o: &Self) -> Self {
        let (x, y) = (self.x.min(o.x), self.y.min(o.y));
        Self { x, y, w: (self.x + self.w).max(o.x + o.w) - x, h: (self.y + self.h).max(o.y + o.h) - y }
    }

    /// Shared area over joint area, 0..1.
    pub fn iou(&self, o: &Self) -> f64 {
        let side = |a: usize, aw: usize, b: usize, bw: usize| (a + aw).min(b + bw).saturating_sub(a.max(b));
        let shared = side(self.x, self.w, o.x, o.w) * side(self.y, self.h, o.y, o.h);
        shared as f64 / (self.area() + o.area() - shared).max(1) as f64
    }

    /// Pixels between the two; 0 if they touch or overlap.
    pub fn gap(&self, o: &Self) -> usize {
        let side = |a: usize, aw: usize, b: usize, bw: usize| a.max(b).saturating_sub((a + aw).min(b + bw));
        side(self.x, self.w, o.x, o.w).max(side(self.y, self.h, o.y, o.h))
    }
}

/// One suspected defect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub detector: String,
    /// 0..1; how bad, from score, size and place.
    pub severity: f64,
    /// 0..1; 0.95 means that one clean picture in twenty has a spot this bad.
    #[serde(default)]
    pub score: f64,
    #[serde(rename = "box")]
    pub rect: Rect,
    pub origin: Origin,
    /// One sentence with the numbers and what it was compared with.
    pub note: String,
    /// Other detectors that flag the same place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// Everything an inspection found; one line of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always `report`.
    pub event: String,
    /// The picture that was inspected.
    pub input: String,
    /// Percent-encoded, if the path is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_raw: Option<String>,
    /// Of the inspected file; another file under the same name is another picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_sha256: Option<String>,
    /// What it was compared with.
    pub source: Option<String>,
    pub verdict: Verdict,
    /// What all detectors say together, 0..1, see [`together`]: the order of review.
    pub score: f64,
    /// Calibrated scores 0..1 of all detectors, also where nothing is flagged.
    pub detectors: BTreeMap<String, f64>,
    /// Detectors that had nothing to measure; their score is 0.
    pub not_applicable: Vec<String>,
    /// Worst first, at most eight.
    pub findings: Vec<Finding>,
    /// First 16 hex digits of the calibration's sha256.
    pub table: String,
    /// Pixels of the inspected picture.
    #[serde(default)]
    pub width: usize,
    #[serde(default)]
    pub height: usize,
    #[serde(default)]
    pub tier: Tier,
    #[serde(default)]
    pub situation: Situation,
    /// The network that made the picture, if known.
    #[serde(default)]
    pub model: Option<String>,
    /// The network whose result it was compared with, if any.
    #[serde(default)]
    pub faithful_model: Option<String>,
    /// The score from which each applicable detector flags in this tier.
    #[serde(default)]
    pub thresholds: BTreeMap<String, f64>,
    /// Plain sentences about the inspection: why a detector did not apply, what was left out, what a print would show.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Where the source has lettering or what looks like it, largest first: to be compared by eye, flagged or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text_like: Vec<Rect>,
    /// What was mended, or could be; none if there was nothing to mend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<super::repair::Log>,
}

impl Report {
    /// What tells its picture from all others, also where `input` cannot be told as it is.
    pub fn name(&self) -> &str {
        self.input_raw.as_deref().unwrap_or(&self.input)
    }

    /// Whether it is about the file with this hash; reports of before do not tell.
    pub fn is_about(&self, sha256: &str) -> bool {
        self.result_sha256.as_deref().is_none_or(|s| s == sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_meet() {
        let a = Rect { x: 0, y: 0, w: 10, h: 10 };
        let b = Rect { x: 5, y: 0, w: 10, h: 10 };
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((a.gap(&b), a.gap(&Rect { x: 13, y: 30, w: 1, h: 1 })), (0, 20));
        assert_eq!(a.union(&b), Rect { x: 0, y: 0, w: 15, h: 10 });
        assert_eq!(serde_json::to_string(&b).unwrap(), "[5,0,10,10]");
    }

    fn map(of: &[(&str, f64)]) -> BTreeMap<String, f64> {
        of.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    }

    /// The score at which one of three detectors alike has used up its even share at standard.
    fn even() -> f64 {
        let share = 1.0 - 0.95f64.powf(1.0 / 3.0);
        1.0 / (1.0 + share)
    }

    #[test]
    fn scores_add_up() {
        let limits = map(&[("a", 0.99), ("b", 0.999), ("c", 0.99)]);
        let score = |a, b| together(&map(&[("a", a), ("b", b), ("c", 0.0), ("unknown", 0.9999)]), &limits, Tier::Standard);
        assert_eq!(score(0.0, 0.0), 0.0);
        assert!((score(even(), 0.0) - 0.95).abs() < 1e-9 && (score(0.0, even()) - 0.95).abs() < 1e-9);
        let half = 1.0 / (1.0 + 2.0 * (1.0 / even() - 1.0));
        assert!(score(half, half) > 0.95 && score(half, half) < score(0.997, 0.0), "two halves are more than one, less than a strong one");
        assert!(score(0.9999, 0.9999) < 1.0 && score(1.0, 1.0) < 1.0);
    }

    #[test]
    fn weak_signs_flag_together_what_none_flags_alone() {
        let limits = map(&[("a", 0.995), ("b", 0.995), ("c", 0.995)]);
        let flags = |a, b, c, limit| flagging(&map(&[("a", a), ("b", b), ("c", c)]), &limits, limit, Tier::Standard);
        assert!(flags(0.99, 0.9, 0.2, 1.0).is_empty(), "without a limit only thresholds count");
        assert_eq!(flags(0.996, 0.99, 0.2, 1.0), ["a"]);
        assert_eq!(flags(0.99, 0.988, 0.2, 0.97), ["a", "b"]);
        assert!(flags(0.99, 0.5, 0.2, 0.99).is_empty(), "one sign below its threshold is not enough");
    }

    #[test]
    fn a_finding_keeps_the_contract_s_names() {
        let f = Finding {
            detector: "seam".into(),
            severity: 0.5,
            score: 0.99,
            rect: Rect { x: 1, y: 2, w: 3, h: 4 },
            origin: Origin::Upscale,
            note: "n".into(),
            also: vec![],
        };
        let json = serde_json::to_string(&f).unwrap();
        assert_eq!(json, r#"{"detector":"seam","severity":0.5,"score":0.99,"box":[1,2,3,4],"origin":"upscale","note":"n"}"#);
    }
}
