//! A folder to review, made for tests: sources, results four times as large, a journal and reports.

// Every test crate takes what it needs.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use lastmile::batch::journal::{self, Journal, Record, STATE};
use lastmile::pipeline::{Plan, Settings};
use lastmile::upscale::size::Size;
use serde_json::json;

/// Writes an RGB PNG of `f(x, y)`.
pub fn png(path: &Path, width: u32, height: u32, f: impl Fn(u32, u32) -> [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let data: Vec<u8> = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| f(x, y)).collect();
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
}

/// A small scene that differs from picture to picture: sky, hills, a sun; the same at any size.
pub fn scene(seed: u32, width: u32, height: u32) -> impl Fn(u32, u32) -> [u8; 3] {
    let s = f64::from(seed);
    move |x, y| {
        let (u, v) = ((f64::from(x) + 0.5) / f64::from(width), (f64::from(y) + 0.5) / f64::from(height));
        let hill = |k: f64, at: f64| at + 0.08 * ((u * (3.0 + k) + s * 0.7 + k).sin() + 0.5 * (u * 9.0 * k + s).sin());
        let sun = ((u - 0.2 - (s * 0.37).fract() * 0.6).powi(2) * 1.8 + (v - 0.28).powi(2)).sqrt();
        let tint = (s * 0.618).fract();
        let sky = [0.55 + 0.4 * v + 0.1 * tint, 0.62 + 0.2 * v, 0.85 - 0.35 * v * tint];
        let c = if v > hill(2.0, 0.8) {
            [0.10 + 0.1 * tint, 0.16, 0.15]
        } else if v > hill(1.0, 0.62) {
            [0.28, 0.36 + 0.1 * tint, 0.38]
        } else if sun < 0.07 {
            [1.0, 0.93, 0.78]
        } else {
            let glow = (-(sun * 6.0)).exp() * 0.35;
            sky.map(|c| c + glow)
        };
        c.map(|c| (c.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)
    }
}

/// What a picture of the folder shall be like.
pub struct Made {
    pub name: String,
    /// Verdict, score and findings; `None`: not inspected.
    pub report: Option<(&'static str, f64, serde_json::Value)>,
}

/// `in/` and `out/` below `dir`: results of `width` x `height` from sources a quarter of it, journalled as the program does.
pub fn folder(dir: &Path, made: &[Made], width: u32, height: u32) -> PathBuf {
    let (input, output) = (dir.join("in"), dir.join("out"));
    let mut lines = String::new();
    std::fs::create_dir_all(&output).unwrap();
    let mut journal = Journal::open(&output, None).unwrap();
    let settings = Settings { size: Size::Scale(4.0), ..Settings::default() };
    let hash = journal::sha256(&serde_json::to_vec(&settings).unwrap());
    journal.know(&hash, &settings).unwrap();
    let mut done = Vec::new();
    for (i, m) in made.iter().enumerate() {
        let (from, to) = (input.join(&m.name), output.join(&m.name));
        let (w, h) = (width / 4, height / 4);
        png(&from, w, h, scene(i as u32, w, h));
        png(&to, width, height, scene(i as u32, width, height));
        let record = Record {
            key: "k".into(),
            output: m.name.clone(),
            sha256: journal::sha256_file(&to).unwrap(),
            bytes: std::fs::metadata(&to).unwrap().len(),
            width: width as usize,
            height: height as usize,
            source: journal::beside(&output, &from).unwrap(),
            source_sha256: journal::sha256_file(&from).unwrap(),
            settings: hash.clone(),
            model: "m".into(),
            plan: Plan { reduction: 1.0, ..Plan::default() },
            ..Record::default()
        };
        done.push((record.output.clone(), record.sha256.clone()));
        journal.intend("t", &record).unwrap();
        if let Some((verdict, score, findings)) = &m.report {
            let line = json!({ "event": "report", "input": to, "source": from, "verdict": verdict, "score": score,
                "detectors": { "hallucination": score, "halo": 0.1 }, "not_applicable": ["seam"], "findings": findings, "table": "t" });
            lines.push_str(&format!("{line}\n"));
        }
    }
    journal.finish(&done).unwrap();
    if !lines.is_empty() {
        std::fs::write(output.join(STATE).join("report.jsonl"), lines).unwrap();
    }
    output
}

/// Pictures with ever lower scores: the first `flagged` of `n` are flagged, with one or two findings.
pub fn ranked(n: usize, flagged: usize, width: u32, height: u32) -> Vec<Made> {
    let one = |i: usize| {
        let score = 0.99 - i as f64 / n as f64 * 0.9;
        let (w, h) = (f64::from(width), f64::from(height));
        let finding = |detector: &str, severity: f64, x: f64, y: f64, note: &str| {
            json!({ "detector": detector, "severity": severity, "box": ([x * w, y * h, 0.14 * w, 0.12 * h].map(|v| v.round() as u64)),
                "origin": "upscale", "note": note })
        };
        let mut findings = Vec::new();
        if i < flagged {
            findings.push(finding("hallucination", score, 0.12, 0.55, "texture in this patch is not in the source (3.1x its tolerance)"));
            if i.is_multiple_of(2) {
                findings.push(finding("micro_noise", score * 0.8, 0.7, 0.08, "noise of 2.4 levels in a smooth area; the source has 0.6"));
            }
        }
        let verdict = if i >= flagged {
            "pass"
        } else if i < flagged / 3 {
            "reject"
        } else {
            "review"
        };
        let group = ["portraits", "street", "product"][i % 3];
        Made { name: format!("{group}/{:03}.png", i), report: Some((verdict, score, findings.into())) }
    };
    (0..n).map(one).collect()
}
