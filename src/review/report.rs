//! What inspection found, from `OUT/.lastmile/report.jsonl`: one `report` object a line, the last line for a picture counts.
//!
//! Lines of other programs and versions are read as far as they go: what is missing gets the value that claims least, and the
//! person who reviews is told which line and which field.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::batch::journal::{self, STATE};
use crate::batch::{HOLD, hold};
use crate::error::{Error, Result};
use crate::inspect::Report;
use crate::inspect::log::FILE;

/// All reports of a folder, found by the path of their picture.
#[derive(Debug, Default)]
pub struct Reports {
    /// By real path, where the picture was found.
    known: HashMap<PathBuf, Report>,
    /// By the real path where a picture lies that was held and that somebody has moved to its place since.
    moved: HashMap<PathBuf, Report>,
    troubles: Vec<Trouble>,
}

/// Something in the file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what was done about it.
    pub what: String,
}

/// Most troubles that are told one by one.
const TOLD: usize = 3;

impl Reports {
    /// Reads the reports of `root`; none is no error.
    ///
    /// An `input` is looked for as it stands, below `root`, and below the folders above it, because inspection may have been
    /// started elsewhere; only pictures inside `root` count. Fields that are missing or damaged are filled in, lines that are no
    /// reports left out; [`Reports::notice`] tells of both.
    pub fn load(root: &Path) -> Result<Self> {
        let path = root.join(STATE).join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io(&path, e)),
        };
        let real = root.canonicalize().map_err(|e| Error::io(root, e))?;
        let mut reports = Self::default();
        let cut_short = !bytes.ends_with(b"\n");
        let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, l)| !l.trim_ascii().is_empty()) {
            let mut trouble = |what: String| reports.troubles.push(Trouble { line: i + 1, what });
            let mut object = match serde_json::from_slice::<Value>(line) {
                Ok(Value::Object(object)) => object,
                Ok(_) => {
                    trouble("is no report and was left out".into());
                    continue;
                }
                // A run that was cut short leaves half a line at the end; the next one makes it good.
                Err(_) if cut_short && i + 1 == lines.len() => continue,
                Err(e) => {
                    trouble(format!("cannot be read and was left out: {e}"));
                    continue;
                }
            };
            if object.get("event").is_some_and(|e| e != "report") {
                continue;
            }
            let wrong = complete(&mut object);
            let Some(input) = object.get("input").and_then(Value::as_str).map(PathBuf::from) else {
                trouble("has no `input`, so it is about no picture and was left out".into());
                continue;
            };
            let input = object.get("input_raw").and_then(Value::as_str).map_or(input, journal::decode);
            wrong.into_iter().for_each(&mut trouble);
            let report = match serde_json::from_value::<Report>(Value::Object(object.clone())) {
                Ok(report) => report,
                Err(e) => {
                    object.retain(|key, _| REQUIRED.iter().any(|(name, _)| name == key) || key == "input" || key == "source");
                    trouble(format!("has something that is not understood ({e}); only what every report has was read"));
                    match serde_json::from_value(Value::Object(object)) {
                        Ok(report) => report,
                        Err(e) => {
                            trouble(format!("was left out: {e}"));
                            continue;
                        }
                    }
                }
            };
            if let Some(place) = place(&real, &input) {
                reports.known.insert(place, report);
            } else if let Some(place) = moved(&real, &input) {
                reports.moved.insert(place, report);
            }
        }
        Ok(reports)
    }

    /// The report on the picture at this real path.
    pub fn take(&mut self, picture: &Path) -> Option<Report> {
        self.known.remove(picture)
    }

    /// The report on the picture at this real path from when it was held, to be trusted if it names the very file.
    pub fn take_moved(&mut self, picture: &Path) -> Option<Report> {
        self.moved.remove(picture)
    }

    /// A sentence that tells what was wrong, by line and field; empty if nothing was.
    pub fn notice(&self) -> String {
        if self.troubles.is_empty() {
            return String::new();
        }
        let told: Vec<String> = self.troubles.iter().take(TOLD).map(|t| format!("line {} {}", t.line, t.what)).collect();
        let more = match self.troubles.len() - told.len() {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        format!("The inspection's `{STATE}/{FILE}` is not as it should be: {}{more}.", told.join("; "))
    }
}

/// Whether a value is of the right kind.
type Fits = fn(&Value) -> bool;

/// Fields that every report has.
const REQUIRED: [(&str, Fits); 7] = [
    ("event", Value::is_string),
    ("findings", Value::is_array),
    ("detectors", |v| v.as_object().is_some_and(|all| all.values().all(Value::is_number))),
    ("not_applicable", |v| v.as_array().is_some_and(|all| all.iter().all(Value::is_string))),
    ("score", Value::is_number),
    ("verdict", |v| matches!(v.as_str(), Some("pass" | "review" | "reject"))),
    ("table", Value::is_string),
];

/// Gives a report what it lacks; what that was, one phrase each.
///
/// A score is the worst that its detectors and findings tell, a verdict without one `review` where anything was found, because
/// a person has the last word.
fn complete(report: &mut Map<String, Value>) -> Vec<String> {
    let mut wrong = Vec::new();
    if report.get("source").is_some_and(|s| !s.is_string() && !s.is_null()) {
        report.remove("source");
        wrong.push("has an unusable `source`".into());
    }
    for (name, fits) in REQUIRED {
        let there = report.get(name);
        if there.is_some_and(fits) {
            continue;
        }
        let lacks = if there.is_none() { "has no" } else { "has an unusable" };
        let filled = match name {
            "event" => json!("report"),
            "findings" | "not_applicable" => json!([]),
            "detectors" => json!({}),
            "score" => json!(worst(report)),
            "verdict" => json!(if report["findings"].as_array().is_some_and(|f| !f.is_empty()) { "review" } else { "pass" }),
            _ => json!(""),
        };
        // What nobody looks at here is nobody's trouble.
        match name {
            "event" | "table" => {}
            "score" | "verdict" => wrong.push(format!("{lacks} `{name}`, taken as {}", told(&filled))),
            _ => wrong.push(format!("{lacks} `{name}`")),
        }
        report.insert(name.into(), filled);
    }
    let score = report["score"].clone();
    let whole = (side(report, "width"), side(report, "height"));
    if let Some(Value::Array(findings)) = report.get_mut("findings") {
        let mut n = 0;
        findings.retain_mut(|finding| {
            n += 1;
            let mut lacks = Vec::new();
            let kept = complete_finding(finding, &score, whole, &mut lacks);
            let left_out = if kept { "" } else { ", so it was left out" };
            if !lacks.is_empty() {
                wrong.push(format!("has finding {n} without {}{left_out}", lacks.join(", ")));
            }
            kept
        });
    }
    wrong
}

/// Gives a finding what it lacks; whether it can be shown.
fn complete_finding(finding: &mut Value, score: &Value, whole: (u64, u64), lacks: &mut Vec<String>) -> bool {
    let Value::Object(finding) = finding else {
        lacks.push("any field".into());
        return false;
    };
    let place: Fits = |v| v.as_array().is_some_and(|b| b.len() == 4 && b.iter().all(Value::is_u64));
    // Others tell places in fractions of pixels.
    let whole_pixels = |v: &Value| v.as_f64().filter(|v| *v >= 0.0).map(|v| json!(v.round() as u64));
    let rounded = finding.get("box").and_then(Value::as_array).and_then(|b| b.iter().map(whole_pixels).collect::<Option<Vec<_>>>());
    if let Some(rounded) = rounded {
        finding.insert("box".into(), rounded.into());
    }
    let words = |v: &Value| v.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    finding.retain(|key, v| match key.as_str() {
        "score" => v.is_number(),
        "also" => words(v),
        _ => true,
    });
    let origin: Fits = |v| matches!(v.as_str(), Some("source" | "upscale" | "grade" | "unknown"));
    let fields: [(&str, Fits, Value); 5] = [
        ("detector", Value::is_string, json!("unknown")),
        ("severity", Value::is_number, score.clone()),
        ("box", place, json!([0, 0, whole.0, whole.1])),
        ("origin", origin, json!("unknown")),
        ("note", Value::is_string, json!("")),
    ];
    for (name, fits, filled) in fields {
        if !finding.get(name).is_some_and(fits) {
            lacks.push(format!("`{name}`"));
            finding.insert(name.into(), filled);
        }
    }
    // Without a place there is nothing to show, unless it is the whole picture.
    finding["box"][2] != json!(0) && finding["box"][3] != json!(0)
}

fn worst(report: &Map<String, Value>) -> f64 {
    let detectors = report["detectors"].as_object().into_iter().flat_map(Map::values);
    let findings = report["findings"].as_array().into_iter().flatten().flat_map(|f| [f.get("score"), f.get("severity")]).flatten();
    detectors.chain(findings).filter_map(Value::as_f64).fold(0.0, f64::max).min(1.0)
}

fn side(report: &Map<String, Value>, name: &str) -> u64 {
    report.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn told(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where a picture lies by now that was held when it was inspected.
fn moved(root: &Path, input: &Path) -> Option<PathBuf> {
    let parts: Vec<Component<'_>> = input.components().collect();
    let holds = (0..parts.len()).filter(|i| parts[*i].as_os_str() == HOLD);
    let there = holds.filter_map(|i| place(root, &parts[..i].iter().chain(&parts[i + 1..]).collect::<PathBuf>()));
    there.into_iter().find(|p| p.strip_prefix(root).is_ok_and(|below| input.ends_with(hold(below))))
}

/// The real path of a picture inside `root` that a report names.
fn place(root: &Path, input: &Path) -> Option<PathBuf> {
    let inside = |p: PathBuf| p.canonicalize().ok().filter(|p| p.starts_with(root));
    if input.is_absolute() {
        return inside(input.to_path_buf());
    }
    inside(root.join(input))
        .or_else(|| root.ancestors().skip(1).find_map(|above| inside(above.join(input))))
        .or_else(|| std::path::absolute(input).ok().and_then(inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Rect, Verdict};

    #[test]
    fn the_last_line_of_a_picture_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("final");
        std::fs::create_dir_all(root.join(STATE)).unwrap();
        std::fs::create_dir_all(root.join("a")).unwrap();
        for file in ["final/a/x.png", "final/y.png", "outside.png"] {
            std::fs::write(dir.path().join(file), b"").unwrap();
        }
        let absolute = serde_json::to_string(&root.join("y.png")).unwrap();
        let line = |input: &str, verdict: &str, findings: &str| {
            format!(
                "{{\"event\":\"report\",\"input\":{input},\"source\":null,\"verdict\":\"{verdict}\",\"score\":0.7,\"detectors\":{{}},\
                 \"not_applicable\":[],\"findings\":[{findings}],\"table\":\"t\"}}\n"
            )
        };
        let finding = r#"{"detector":"halo","severity":0.7,"box":[1,2,3,4],"origin":"upscale","note":"n"}"#;
        let text = [
            line("\"final/a/x.png\"", "pass", ""),
            line("\"a/x.png\"", "review", finding),
            line(&absolute, "reject", ""),
            line("\"../outside.png\"", "reject", ""),
            line("\"_hold/z.png\"", "reject", ""),
            "{\"event\":\"end\",\"done\":3}\n\n{\"event\":\"report\",\"inp".into(),
        ]
        .concat();
        std::fs::write(root.join("z.png"), "").unwrap();
        std::fs::write(root.join(STATE).join("report.jsonl"), text).unwrap();
        let mut reports = Reports::load(&root).unwrap();
        let real = root.canonicalize().unwrap();
        let x = reports.take(&real.join("a/x.png")).unwrap();
        assert_eq!((x.verdict, x.score, x.findings[0].rect), (Verdict::Review, 0.7, Rect { x: 1, y: 2, w: 3, h: 4 }));
        assert_eq!(reports.take(&real.join("y.png")).unwrap().verdict, Verdict::Reject);
        assert_eq!(reports.notice(), "", "half a line at the end is a run cut short, nothing else");
        assert_eq!(
            (reports.take(&real.join("z.png")), reports.take_moved(&real.join("z.png")).map(|r| r.verdict)),
            (None, Some(Verdict::Reject))
        );
        assert!(reports.known.is_empty(), "a picture outside the folder is nobody's business: {reports:?}");
        assert!(Reports::load(dir.path()).unwrap().known.is_empty());
    }

    /// The reports that these lines make of pictures of these names, and what is told about the lines.
    fn read(lines: &[&str], names: &[&str]) -> (Vec<Option<Report>>, String) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(STATE)).unwrap();
        names.iter().for_each(|n| std::fs::write(dir.path().join(n), b"").unwrap());
        std::fs::write(dir.path().join(STATE).join(FILE), lines.join("\n") + "\n").unwrap();
        let mut reports = Reports::load(dir.path()).unwrap();
        let real = dir.path().canonicalize().unwrap();
        (names.iter().map(|n| reports.take(&real.join(n))).collect(), reports.notice())
    }

    #[test]
    fn what_is_missing_is_filled_in_and_named() {
        let (reports, notice) = read(
            &[
                r#"{"input":"a.png","detectors":{"halo":0.4},"width":40,"height":30,"findings":[{"detector":"seam","severity":0.8}]}"#,
                r#"{"event":"report","input":"b.png","verdict":"pass","score":0.25,"findings":[],"detectors":{},"not_applicable":[]}"#,
            ],
            &["a.png", "b.png"],
        );
        let a = reports[0].as_ref().unwrap();
        assert_eq!((a.verdict, a.score, a.findings.len()), (Verdict::Review, 0.8, 1), "{a:?}");
        assert_eq!(a.findings[0].rect, Rect { x: 0, y: 0, w: 40, h: 30 }, "no place told: the whole picture");
        assert_eq!(reports[1].as_ref().unwrap().score, 0.25, "a table is nothing that a review needs");
        for part in ["report.jsonl", "line 1 has no `not_applicable`", "line 1 has no `score`, taken as 0.8", "`verdict`, taken as review"]
        {
            assert!(notice.contains(part), "{part}: {notice}");
        }
        assert!(notice.contains("; and 1 more"), "the finding without a place: {notice}");
    }

    #[test]
    fn what_cannot_be_understood_is_left_out_and_named() {
        let (reports, notice) = read(
            &[
                "nonsense",
                "[1]",
                r#"{"event":"report","verdict":"reject"}"#,
                r#"{"event":"start","job":1}"#,
                r#"{"event":"report","input":"a.png","verdict":"reject","score":0.9,"detectors":{},"not_applicable":[],"table":"t","tier":"utmost","findings":[7]}"#,
            ],
            &["a.png"],
        );
        let a = reports[0].as_ref().unwrap();
        assert_eq!((a.verdict, a.score, a.findings.len()), (Verdict::Reject, 0.9, 0), "what is understood counts");
        assert!(notice.contains("line 1 cannot be read") && notice.contains("line 2 is no report"), "{notice}");
        assert!(notice.contains("line 3 has no `input`") && notice.contains("and 2 more"), "{notice}");
        assert!(!notice.contains("line 4"), "other events are no trouble: {notice}");
    }

    #[test]
    fn any_line_at_all_is_survived() {
        use proptest::prelude::*;
        let value =
            prop_oneof![Just(json!(null)), Just(json!(-1)), Just(json!("x")), Just(json!([])), Just(json!({})), Just(json!([0, 0, 1, 1]))];
        let names =
            ["event", "input", "input_raw", "findings", "detectors", "not_applicable", "score", "verdict", "table", "width", "source"];
        let report = prop::collection::vec(prop::option::of(value.clone()), names.len());
        let finding = prop::collection::vec(prop::option::of(value), 5);
        proptest!(ProptestConfig::with_cases(200), |(report in report, finding in finding)| {
            let object = |names: &[&str], values: &[Option<Value>]| -> Map<String, Value> {
                names.iter().zip(values).filter_map(|(n, v)| Some(((*n).into(), v.clone()?))).collect()
            };
            let mut line = object(&names, &report);
            line.insert("findings".into(), json!([object(&["detector", "severity", "box", "origin", "note"], &finding)]));
            line.insert("input".into(), json!("a.png"));
            line.remove("event");
            line.remove("input_raw");
            let (reports, _) = read(&[&Value::Object(line).to_string()], &["a.png"]);
            prop_assert!(reports[0].is_some(), "the picture is listed with what is known");
        });
    }
}
