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

    /// The score beyond which an even share of the tier's false alarms lies: spots of a flagged detector that reach it are findings of their own.
    pub fn threshold(self) -> f64 {
        1.0 - self.false_alarms() / super::DETECTORS.len() as f64
    }

    /// The score from which a detector flags whatever the others say: a hundredth of the tier's false alarms, as one plain defect may leave nothing
    /// else behind. Structure that is not in the source, which results are looked at for in the first place, has eight of them.
    pub fn certain(self, detector: &str) -> f64 {
        let share = if detector == "hallucination" { 0.08 } else { 0.01 };
        1.0 - share * self.false_alarms()
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
    /// What all detectors say together, 0..1, at least the tier's limit where something is flagged, see
    /// [`Calibration::together`](super::calibration::Calibration::together): the order of review.
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
    /// The score from which each applicable detector flags by itself in this tier; a picture whose `score` is high enough is flagged by others, too.
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
