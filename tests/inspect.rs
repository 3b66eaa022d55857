//! `lastmile inspect` as a user runs it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod program;

use std::path::Path;

use program::{fails, home, lastmile, text};
use serde_json::Value;

/// Writes a PNG whose pixels `f` gives.
fn png(path: &Path, width: u32, height: u32, f: impl Fn(u32, u32) -> [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let data: Vec<u8> = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| f(x, y)).collect();
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
}

fn scenery(x: f32, y: f32) -> [u8; 3] {
    let v = 120.0 + 40.0 * (x * 0.9).sin() * (y * 0.7).cos() + 20.0 * (x * 0.11 + y * 0.07).sin();
    [v as u8, (v * 0.9) as u8, (v * 0.8) as u8]
}

/// `out/` with two results, `in/` with the sources.
fn folders(dir: &Path) {
    for name in ["a", "sub/b"] {
        png(&dir.join("in").join(name).with_extension("png"), 48, 40, |x, y| scenery(x as f32, y as f32));
        png(&dir.join("out").join(name).with_extension("png"), 192, 160, |x, y| scenery(x as f32 / 4.0, y as f32 / 4.0));
    }
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn folders_are_matched_and_every_picture_is_scored() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path());
    let mut command = lastmile(dir.path(), &home);
    command.args(["inspect", "out", "--source", "in", "--report", "checks", "--heat", "heat", "--json", "-"]);
    let output = command.output().unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success(), "{out}{err}");
    let events = lines(&out);
    assert_eq!(events.len(), 3, "{out}");
    for (event, name) in events.iter().zip(["a.png", "b.png"]) {
        assert_eq!(event["event"], "report");
        assert!(event["input"].as_str().unwrap().ends_with(name) && event["source"].as_str().unwrap().ends_with(name), "{event}");
        assert!(["pass", "review", "reject"].contains(&event["verdict"].as_str().unwrap()));
        let scores = event["detectors"].as_object().unwrap();
        assert!(scores.len() >= 8 && scores.values().all(|s| (0.0..1.0).contains(&s.as_f64().unwrap())), "{event}");
        assert_eq!(event["table"].as_str().unwrap().len(), 16);
        assert!(event["faithful_model"].as_str().unwrap().starts_with("lastmile-"), "{event}");
    }
    assert_eq!((events[2]["event"].as_str(), events[2]["done"].as_u64(), events[2]["failed"].as_u64()), (Some("end"), Some(2), Some(0)));
    let kept = std::fs::read_to_string(dir.path().join("checks/report.jsonl")).unwrap();
    assert_eq!(lines(&kept), events[..2]);
    assert_eq!(std::fs::read_to_string(dir.path().join("checks/report.csv")).unwrap().lines().count(), 3);
    let heat = std::fs::File::open(dir.path().join("heat/sub/b.colour_shift.png")).unwrap();
    let info = png::Decoder::new(std::io::BufReader::new(heat)).read_info().unwrap().info().clone();
    assert_eq!((info.width, info.height, info.color_type), (192, 160, png::ColorType::Grayscale));
    assert!(!dir.path().join("out/.lastmile").exists());
}

#[test]
fn reports_of_a_folder_lie_beside_its_journal() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path());
    for _ in 0..2 {
        let output = lastmile(dir.path(), &home).args(["inspect", "out"]).output().unwrap();
        assert!(output.status.success(), "{:?}", text(&output));
    }
    let kept = lines(&std::fs::read_to_string(dir.path().join("out/.lastmile/report.jsonl")).unwrap());
    let inputs: Vec<&str> = kept.iter().map(|r| r["input"].as_str().unwrap()).collect();
    assert_eq!(inputs, ["a.png", Path::new("sub").join("b.png").to_str().unwrap()]);
    assert!(kept.iter().all(|r| r["source"].is_null() && r["detectors"]["colour_shift"] == 0.0));
    assert!(kept.iter().all(|r| r["not_applicable"].as_array().unwrap().iter().any(|n| n == "colour_shift")));
}

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    folders(dir.path());
    let run = |args: &[&str]| {
        let mut command = lastmile(dir.path(), &home);
        command.args(["--no-install", "inspect"]).args(args);
        command
    };
    fails(&mut run(&["nowhere"]), 2, &["nowhere", "no such file or folder"]);
    fails(&mut run(&["out", "--source", "in/a.png"]), 2, &["--source", "one file, but there are 2"]);
    fails(&mut run(&["out", "--fail-on", "never"]), 2, &["never"]);
    std::fs::write(dir.path().join("out/broken.png"), b"\x89PNG\r\n\x1a\nnothing").unwrap();
    fails(&mut run(&["out", "--report", "r"]), 3, &["broken.png"]);
    // The others are done all the same.
    assert_eq!(std::fs::read_to_string(dir.path().join("r/report.jsonl")).unwrap().lines().count(), 2);
}

#[test]
fn results_are_inspected_as_they_are_made() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path());
    let mut command = lastmile(dir.path(), &home);
    command.args(["upscale", "in", "-o", "made", "--inspect", "--json", "-"]);
    let output = command.output().unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success(), "{out}{err}");
    let events = lines(&out);
    let names: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!((names[0], names.last(), names.iter().filter(|n| **n == "report").count()), ("start", Some(&"end"), 2), "{names:?}");
    for report in events.iter().filter(|e| e["event"] == "report") {
        let name = report["input"].as_str().unwrap();
        let at = |event: &str, key: &str| events.iter().position(|e| e["event"] == event && e[key] == name).unwrap();
        assert!(at("file", "output") < at("report", "input"), "the report follows its file");
        assert_eq!((report["situation"].as_str(), report["model"].as_str()), (Some("own"), Some("lastmile-faithful-x4")));
        // Nothing is compared with itself.
        assert_eq!(report["faithful_model"].as_str(), Some("lastmile-start-x4"), "{report}");
        assert!(report["findings"].as_array().unwrap().iter().all(|f| f["origin"] == "source" || f["origin"] == "upscale"), "{report}");
    }
    let kept = lines(&std::fs::read_to_string(dir.path().join("made/.lastmile/report.jsonl")).unwrap());
    let mut inputs: Vec<&str> = kept.iter().map(|r| r["input"].as_str().unwrap()).collect();
    inputs.sort_unstable();
    assert_eq!(inputs, ["a.png", Path::new("sub").join("b.png").to_str().unwrap()]);
}
