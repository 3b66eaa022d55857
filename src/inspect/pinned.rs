//! Raw scores, worst places and boxes of made pictures, pinned: a faster way to compute them must not change them.
//!
//! `LASTMILE_PIN=write cargo test inspect::pinned` writes `pinned.txt` anew, for a change that is meant.

use std::fmt::Write;

use super::plane::Plane;
use super::{About, Joins, Outcome, Picture, Scene, Situation, inspect, measure};

const PINS: &str = include_str!("pinned.txt");
/// How far a raw score may move, over the larger of itself and 0.3.
const TOLERANCE: f32 = 1.5e-3;

fn hash(x: i32, y: i32, k: u32) -> f32 {
    let v = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77) ^ k.wrapping_mul(0xc2b2_ae35);
    let v = (v ^ (v >> 15)).wrapping_mul(0x2c1b_3c6d);
    ((v ^ (v >> 13)).wrapping_mul(0x297a_2d39) >> 9) as f32 / (1 << 23) as f32 - 0.5
}

/// Random values at whole positions, linear between them.
fn value(x: f32, y: f32, k: u32) -> f32 {
    let (i, j) = (x.floor(), y.floor());
    let (u, v) = (x - i, y - j);
    let at = |dx: i32, dy: i32| hash(i as i32 + dx, j as i32 + dy, k);
    (at(0, 0) * (1.0 - u) + at(1, 0) * u) * (1.0 - v) + (at(0, 1) * (1.0 - u) + at(1, 1) * u) * v
}

/// What is drawn: a sky, a hill with an edge, texture that grows to the right. `detail` is the weight of the finest.
fn scenery(u: f32, v: f32, c: usize, detail: f32) -> f32 {
    let tint = [0.0, 0.03, 0.1][c];
    let hill = if v > 190.0 + 40.0 * (u * 0.013).sin() { 0.16 } else { 0.0 };
    let busy = if hill > 0.0 { (u / 400.0).clamp(0.1, 1.0) } else { 0.0 };
    let fine = 0.22 * value(u / 13.0, v / 13.0, 7) + 0.18 * value(u / 4.1, v / 4.1, 8) + detail * value(u / 1.6, v / 1.6, 9);
    let post = if (u - 300.0).abs() < 9.0 && v > 60.0 { 0.25 } else { 0.0 };
    0.62 - 0.0006 * v + tint - hill + busy * fine - post
}

fn eight(v: f32) -> f32 {
    (v.clamp(0.0, 1.0) * 255.0).round() / 255.0
}

fn picture(w: usize, h: usize, of: impl Fn(usize, usize, usize) -> f32) -> Picture {
    Picture::from_planes(std::array::from_fn(|c| {
        let data = (0..w * h).map(|i| eight(of(i % w, i / w, c))).collect();
        Plane { width: w, height: h, data }
    }))
}

/// Result, source and faithful enlargement; `planted` changes the result's values (position, channel, value).
fn trio(
    (w, h): (usize, usize),
    (sw, sh): (usize, usize),
    planted: impl Fn(usize, usize, usize, f32) -> f32,
) -> (Picture, Picture, Picture) {
    let result = picture(w, h, |x, y, c| planted(x, y, c, scenery(x as f32 + 0.5, y as f32 + 0.5, c, 0.12)));
    let faithful = picture(w, h, |x, y, c| scenery(x as f32 + 0.5, y as f32 + 0.5, c, 0.05));
    let (fx, fy) = (w as f32 / sw as f32, h as f32 / sh as f32);
    let source = picture(sw, sh, |x, y, c| {
        let at = |i: usize, j: usize| scenery((x as f32 + (i as f32 + 0.5) / 3.0) * fx, (y as f32 + (j as f32 + 0.5) / 3.0) * fy, c, 0.08);
        (0..9).map(|i| at(i % 3, i / 3)).sum::<f32>() / 9.0 + 0.01 * hash(x as i32, y as i32, c as u32)
    });
    (result, source, faithful)
}

/// One defect of every kind in a picture of 640 x 512.
fn spoilt(x: usize, y: usize, c: usize, v: f32) -> f32 {
    let inside = |x0: usize, y0: usize, side: usize| (x0..x0 + side).contains(&x) && (y0..y0 + side).contains(&y);
    let (u, t) = (x as f32, y as f32);
    match () {
        () if inside(40, 30, 80) => v + 0.03 * hash(x as i32, y as i32, 21),
        () if inside(160, 20, 96) => v + 0.004 * hash((x / 8) as i32, (y / 8) as i32, 22),
        () if inside(350, 10, 120) => ((v + 0.0011 * t) * 60.0).round() / 60.0,
        () if inside(500, 20, 60) => v + [0.07, 0.0, -0.03][c],
        () if inside(580, 60, 40) => 1.2,
        () if inside(340, 250, 64) => 0.45 + 0.12 * ((0.5 * u + 0.3 * t).sin() + value(u / 3.0, t / 3.0, 30)),
        () if inside(420, 260, 90) => {
            let (i, j) = (420 + (x - 420) % 30, 260 + (y - 260) % 30);
            scenery(i as f32, j as f32, c, 0.12)
        }
        () if inside(530, 270, 70) => v + if (x % 4 < 2) == (y % 4 < 2) { 0.02 } else { -0.02 },
        () if inside(350, 400, 40) => {
            scenery((x / 5 * 5) as f32, (y / 5 * 5) as f32, c, 0.1) + 0.08 * hash((x / 5) as i32, (y / 5) as i32, 9)
        }
        () if inside(420, 400, 24) => 0.2,
        () if inside(480, 390, 90) => scenery(u, t, c, 0.0) * 0.4 + 0.2,
        () if inside(30, 300, 90) => v + 0.06 * (u * 1.1 + 2.1 * c as f32).sin(),
        () if inside(160, 280, 100) => v + 1.4 * (v - scenery(u + 2.0, t, c, 0.02)),
        () => v,
    }
}

fn cases() -> Vec<(&'static str, Scene, Situation)> {
    let mut out = Vec::new();
    let (result, source, faithful) = trio((640, 512), (160, 128), spoilt);
    let compared = |result: &Picture, source: &Picture, faithful: Option<&Picture>| {
        let mut scene = Scene::new(result.clone(), source.clone()).unwrap();
        scene.faithful = faithful.cloned();
        scene
    };
    out.push(("spoilt", compared(&result, &source, Some(&faithful)), Situation::Source));
    out.push(("no faithful", compared(&result, &source, None), Situation::Source));
    out.push(("alone", Scene::alone(result), Situation::Alone));
    let (result, source, faithful) = trio((515, 389), (129, 97), |x, _, _, v| v + if x >= 256 { 3.0 / 255.0 } else { 0.0 });
    let mut scene = compared(&result, &source, Some(&faithful));
    out.push(("odd size and a seam", compared(&result, &source, Some(&faithful)), Situation::Source));
    scene.joins = Some(Joins { x: vec![256], y: vec![] });
    out.push(("known joins", scene, Situation::Own));
    let (result, source, faithful) =
        trio((1100, 300), (440, 120), |x, y, _, v| if y > 280 { 0.0 } else { v + 0.01 * hash(x as i32, y as i32, 5) });
    out.push(("2.5 times", compared(&result, &source, Some(&faithful)), Situation::Own));
    let (result, source, faithful) = trio((320, 256), (320, 256), |_, _, _, v| v);
    out.push(("same size", compared(&result, &source, Some(&faithful)), Situation::Source));
    out.push(("alone, small", Scene::alone(trio((131, 129), (33, 32), |_, _, _, v| 1.4 * v).0), Situation::Alone));
    let (result, source, faithful) = trio((520, 390), (260, 195), |x, y, _, v| v + 0.02 * hash((x / 2) as i32, y as i32, 5));
    let grey = |p: &Picture| {
        let mut g = Picture::new(p.width);
        g.push(&crate::band::Band { y: 0, width: p.width, rows: p.height, channels: 1, data: p.channel(1).data.clone() });
        g
    };
    out.push(("grey, twice", compared(&grey(&result), &grey(&source), Some(&grey(&faithful))), Situation::Source));
    out.push(("grey alone", Scene::alone(grey(&result)), Situation::Alone));
    out
}

struct Pin {
    case: String,
    what: String,
    numbers: Vec<f32>,
}

#[test]
fn scores_places_and_boxes_stay() {
    let pins: Vec<Pin> = PINS
        .lines()
        .map(|l| {
            let parts: Vec<&str> = l.split(" | ").collect();
            Pin { case: parts[0].into(), what: parts[1].into(), numbers: parts[2].split(' ').map(|n| n.parse().unwrap()).collect() }
        })
        .collect();
    let writing = std::env::var("LASTMILE_PIN").is_ok_and(|v| v == "write");
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for (case, scene, situation) in cases() {
        let of_case: Vec<&Pin> = pins.iter().filter(|p| p.case == case).collect();
        for (detector, outcome) in measure(&scene) {
            let Outcome::Measured(m) = outcome else { continue };
            let (peak, x, y) = m.map.peak();
            let there = m.in_source.as_ref().map_or(-1.0, |p| p.peak().0);
            let mean = m.map.data.iter().sum::<f32>() / m.map.data.len() as f32;
            let (cols, rows) = (m.map.width, m.map.height);
            let _ = writeln!(text, "{case} | {} | {} {peak} {x} {y} {cols} {rows} {there} {mean}", detector.name, m.score);
            let near = |a: f32, b: f32| (a - b).abs() <= TOLERANCE * b.abs().max(0.3);
            let pin = of_case.iter().find(|p| p.what == detector.name);
            let same = pin.is_some_and(|p| {
                let n = &p.numbers;
                let at = m.map.at(n[2] as isize, n[3] as isize);
                near(m.score, n[0])
                    && near(peak, n[1])
                    && near(at, n[1])
                    && (cols, rows) == (n[4] as usize, n[5] as usize)
                    && near(there, n[6])
                    && (mean - n[7]).abs() <= 4.0 * TOLERANCE * n[7].max(0.1)
            });
            if !same {
                let pinned = pin.map(|p| &p.numbers);
                let name = detector.name;
                wrong.push(format!("{case}, {name}: {} {peak} {x} {y} {cols} {rows} {there} {mean}, pinned {pinned:?}", m.score));
            }
        }
        let report = inspect(&scene, &About { situation, ..About::default() }).report;
        for f in &report.findings {
            let [x, y, w, h]: [usize; 4] = f.rect.into();
            let _ = writeln!(text, "{case} | box of {} | {x} {y} {w} {h}", f.detector);
        }
        let boxes = |f: &super::Finding| {
            let what = format!("box of {}", f.detector);
            let [x, y, w, h]: [usize; 4] = f.rect.into();
            of_case.iter().any(|p| p.what == what && p.numbers == [x as f32, y as f32, w as f32, h as f32])
        };
        wrong.extend(report.findings.iter().filter(|f| !boxes(f)).map(|f| format!("{case}: a box of {} at {:?}", f.detector, f.rect)));
        let pinned = of_case.iter().filter(|p| p.what.starts_with("box")).count();
        if pinned != report.findings.len() {
            wrong.push(format!("{case}: {} findings, pinned {pinned}", report.findings.len()));
        }
    }
    if writing {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/inspect/pinned.txt");
        std::fs::write(path, text).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
