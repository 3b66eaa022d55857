//! Measures and calibrates the detectors: plants controlled defects in photographs, fits `src/inspect/calibration.json`, writes
//! `benches/DETECTION.md`.
//!
//! ```text
//! cargo run --release --example detection -- measure ROWS.jsonl PART FOLDER...   PART is tables, tuning or report
//! cargo run --release --example detection -- fit ROWS.jsonl
//! cargo run --release --example detection -- report ROWS.jsonl
//! cargo run --release --example detection -- trial ROWS.jsonl SEED...          12 defects among 88 clean ones, in review order
//! ```
//! `measure` appends one line a case and goes on where it was cut short. Every base picture belongs to one part. A folder named
//! `rendered:N` stands for N clean scenes that the tool renders itself. With `KEEP=DIR` the cases stay there (2.4 MB each), and the
//! next measurement reads them. `BASES=N` takes the first N photographs.

// An example may stop where a library must not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod hard;
mod host;
mod kept;
mod random;
mod rendered;
mod results;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use cases::{Case, Colour, Planted, SIDE, each};
use kept::Compared;
use lastmile::inspect::calibration::SHIPPED;
use lastmile::inspect::plane::Plane;
use lastmile::inspect::{Finding, Measured, Origin, Outcome, Rect, Scene, Situation, Tier, measure, regions};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Kinds that show without a source, measured alone, too.
const ALONE: [&str; 7] = ["micro_noise", "checkerboard", "blocking", "banding", "pixel_blob", "clipping", "blur"];

/// What was measured on one case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub part: String,
    pub base: String,
    pub kind: String,
    pub variant: String,
    pub strength: usize,
    /// Whether there was a source.
    pub situation: String,
    /// Raw score by detector; none where it does not apply.
    pub raw: BTreeMap<String, Option<f32>>,
    /// Whether the worst cell of the kind's own detector lies on the defect, if it has a place.
    pub points: Option<bool>,
    /// Shared area over joint area, 0..1, of the box around the defect and the best of those that the kind's own detector draws. Seams cross
    /// the whole picture and have no box.
    pub iou: Option<f64>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["measure", rows, part @ ("tables" | "tuning" | "report"), folders @ ..] if !folders.is_empty() => {
            run(Path::new(rows), part, folders)
        }
        ["fit", rows] => results::fit(&read(Path::new(rows))),
        ["report", rows] => results::report(&read(Path::new(rows)), &std::env::var("FAITHFUL").unwrap_or_default()),
        ["trial", rows, seeds @ ..] if !seeds.is_empty() => results::trial(&read(Path::new(rows)), seeds),
        _ => {
            eprintln!("measure ROWS.jsonl tables|tuning|report FOLDER..., fit ROWS.jsonl, report ROWS.jsonl, or trial ROWS.jsonl SEED...");
            std::process::exit(2);
        }
    }
}

fn read(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

fn run(rows: &Path, part: &str, folders: &[&str]) {
    let done: std::collections::HashSet<String> = read(rows).into_iter().map(|r| r.base).collect();
    let mut out = std::fs::OpenOptions::new().create(true).append(true).open(rows).unwrap();
    let faithful = host::Faithful::new();
    eprintln!("compared with {}", faithful.name());
    let kept = kept::Kept::new(&faithful.name());
    // Of a folder given to two parts, tables take the even pictures and tuning the odd ones; the report takes all.
    let mine = |i: usize| part == "report" || i.is_multiple_of(2) == (part == "tables");
    let rendered: usize = folders.iter().filter_map(|f| f.strip_prefix("rendered:")?.parse::<usize>().ok()).sum();
    let folders: Vec<&str> = folders.iter().copied().filter(|f| !f.starts_with("rendered:")).collect();
    let paths: Vec<PathBuf> = host::files(&folders).into_iter().enumerate().filter(|(i, _)| mine(*i)).map(|(_, p)| p).collect();
    let limit: usize = std::env::var("BASES").ok().and_then(|v| v.parse().ok()).unwrap_or(usize::MAX);
    let mut write = |name: &str, cases: &[Compared]| {
        let rows: Vec<Row> = cases.par_iter().flat_map_iter(|case| rows_of(case, part, name)).collect();
        let lines: String = rows.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect();
        out.write_all(lines.as_bytes()).unwrap();
        eprintln!("{name}");
    };
    for i in (0..rendered).filter(|i| mine(*i)) {
        // One number in two belongs to a part: both parts get all styles.
        let style = rendered::STYLES[i / 2 % rendered::STYLES.len()];
        let name = format!("rendered-{style}-{i}");
        if !done.contains(&name) {
            let make = || {
                let cases = cases::of_render(&name, style, SIDE, &mut |p| faithful.run(p));
                compared(cases, &faithful)
            };
            write(&name, &kept.cases(&name, make));
        }
    }
    let mut foreign: Option<Colour> = None;
    let (mut used, mut seen) = (0, std::collections::HashSet::new());
    for path in paths {
        let Some(photo) = host::base(&path) else { continue };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let other = foreign.replace(photo.clone()).unwrap_or_else(|| each(&photo, |p| p.transposed()));
        used += 1;
        if used > limit {
            break;
        }
        // Of two pictures of one name the first counts, also when it goes on.
        if !seen.insert(name.clone()) || done.contains(&name) {
            continue;
        }
        let (hard, planted) = match part {
            "tables" => (6, Planted::Nothing),
            "tuning" => (5, Planted::Plain),
            _ => (4, Planted::One),
        };
        let make = || {
            let cases = cases::of_base(&name, &photo, &other, hard, planted, &mut |p| faithful.run(p));
            compared(cases, &faithful)
        };
        write(&name, &kept.cases(&format!("{part}-{name}"), make));
    }
}

fn compared(cases: Vec<Case>, faithful: &host::Faithful) -> Vec<Compared> {
    // A faithful enlargement compared with itself says nothing: the program leaves it out as well.
    let of = |case: &Case| (case.variant != "faithful").then(|| faithful.run(&case.source));
    cases
        .into_iter()
        .map(|case| {
            let f = of(&case);
            (case, f)
        })
        .collect()
}

fn rows_of((case, faithful): &Compared, part: &str, base: &str) -> Vec<Row> {
    let mut scene = Scene::new(case.result.clone(), case.source.clone()).unwrap();
    scene.faithful.clone_from(faithful);
    let mut rows = vec![row(&scene, case, part, base, "source")];
    if case.kind == "clean" || ALONE.contains(&case.kind) {
        rows.push(row(&Scene::alone(case.result.clone()), case, part, base, "alone"));
    }
    rows
}

fn row(scene: &Scene, case: &Case, part: &str, base: &str, situation: &str) -> Row {
    let (mut raw, mut points, mut iou) = (BTreeMap::new(), None, None);
    for (detector, outcome) in measure(scene) {
        let score = match outcome {
            Outcome::NotApplicable(_) => None,
            Outcome::Measured(m) => {
                if let (true, Some(mask)) = (detector.name == case.kind, &case.mask) {
                    points = Some(on(&m.map, mask));
                    let defect = around(mask).filter(|_| case.kind != "seam");
                    iou = defect.map(|defect| boxes(&m, detector.name).iter().map(|b| b.iou(&defect)).fold(0.0, f64::max));
                }
                Some(m.score.max(m.everywhere))
            }
        };
        raw.insert(detector.name.to_owned(), score);
    }
    let (kind, variant) = (case.kind.to_owned(), case.variant.to_owned());
    Row { part: part.into(), base: base.into(), kind, variant, strength: case.strength, situation: situation.into(), raw, points, iou }
}

/// The boxes of a detector as an inspection with a source would draw them if it flagged.
fn boxes(measured: &Measured, detector: &str) -> Vec<Rect> {
    let place = |raw: f32| SHIPPED.score(detector, Situation::Source, f64::from(raw));
    let spots = regions::find(
        &measured.map.map(|raw| place(raw) as f32),
        measured,
        (SIDE, SIDE),
        Tier::Standard.threshold().min(place(measured.score)),
    );
    let finding = |spot: &regions::Spot| Finding {
        detector: detector.into(),
        severity: spot.h,
        score: spot.h,
        rect: spot.rect,
        origin: Origin::Upscale,
        note: String::new(),
        also: Vec::new(),
    };
    regions::settle(spots.iter().map(finding).collect(), (SIDE, SIDE)).0.iter().map(|f| f.rect).collect()
}

/// The box around what a mask covers.
fn around(mask: &Plane) -> Option<Rect> {
    let covered = (0..mask.data.len()).filter(|i| mask.data[*i] > 0.5).map(|i| Rect { x: i % mask.width, y: i / mask.width, w: 1, h: 1 });
    covered.reduce(|a, b| a.union(&b))
}

/// Whether the worst cell of a map touches the mask (a cell's neighbours count: windows overlap).
fn on(map: &Plane, mask: &Plane) -> bool {
    let (_, x, y) = map.peak();
    let (sx, sy) = (mask.width as f32 / map.width as f32, mask.height as f32 / map.height as f32);
    let range = |c: usize, s: f32, n: usize| ((c as f32 * s - 8.0).max(0.0) as usize)..(((c + 1) as f32 * s + 8.0) as usize).min(n);
    range(y, sy, mask.height).any(|yy| range(x, sx, mask.width).any(|xx| mask.data[yy * mask.width + xx] > 0.5))
}
