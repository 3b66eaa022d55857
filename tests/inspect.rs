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

/// The reports that a folder keeps, in order of their names.
fn reports(folder: &Path) -> Vec<Value> {
    let mut kept = lines(&std::fs::read_to_string(folder.join(".lastmile/report.jsonl")).unwrap());
    kept.sort_by_key(|r| r["input"].as_str().unwrap().to_owned());
    kept
}

fn runs(command: &mut std::process::Command, code: i32) -> (String, String) {
    let output = command.output().unwrap();
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    (out, err)
}

#[test]
fn a_gate_stays_shut_when_a_run_goes_on() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path());
    let made = |code, more: &[&str]| runs(lastmile(dir.path(), &home).args(["upscale", "in", "-o", "made"]).args(more), code);
    // A gate alone is reason to inspect.
    let (_, err) = made(0, &["--fail-on", "review"]);
    assert!(err.contains("2 inspected, none flagged"), "{err}");
    let file = dir.path().join("made/.lastmile/report.jsonl");
    let mut kept = reports(&dir.path().join("made"));
    kept[1]["verdict"] = "review".into();
    let write = |kept: &[Value]| std::fs::write(&file, kept.iter().map(|r| format!("{r}\n")).collect::<String>()).unwrap();
    write(&kept);
    // What an earlier run found counts, whatever this one has to do.
    let (_, err) = made(4, &["--fail-on", "review"]);
    assert!(err.contains("Nothing to do") && err.contains("1 of 2 inspected are flagged (earlier runs)"), "{err}");
    made(0, &["--fail-on", "reject"]);
    std::fs::remove_file(dir.path().join("made/a.png")).unwrap();
    let (_, err) = made(4, &["--fail-on", "review"]);
    assert!(err.contains("1 done, 1 skipped") && err.contains("1 of 2 inspected are flagged (this and earlier runs)"), "{err}");
    let (out, _) = made(4, &["--fail-on", "review", "--json", "-"]);
    assert_eq!(lines(&out).last().unwrap()["flagged"], 1, "{out}");
    // A report that is missing, or about another version of the file, is none.
    write(&kept[..1]);
    let (_, err) = made(0, &["--fail-on", "review"]);
    assert!(err.contains("1 file done already but not inspected") && err.contains("1 done, 1 skipped"), "{err}");
    kept = reports(&dir.path().join("made"));
    (kept[1]["verdict"], kept[1]["result_sha256"]) = ("reject".into(), "0".repeat(64).into());
    write(&kept);
    let (_, err) = made(0, &["--fail-on", "review"]);
    assert!(err.contains("1 done, 1 skipped") && err.contains("2 inspected, none flagged (this and earlier runs)"), "{err}");
    // Without inspection nothing is made for want of a report.
    std::fs::remove_file(&file).unwrap();
    let (_, err) = made(0, &[]);
    assert!(err.contains("Nothing to do") && !err.contains("inspected"), "{err}");
}

#[test]
fn a_gate_without_inspection_is_a_mistake() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path());
    let run = |args: &[&str]| {
        let mut command = lastmile(dir.path(), &home);
        command.args(args);
        command
    };
    fails(
        &mut run(&["upscale", "in", "-o", "o", "--fail-on", "review", "--no-inspect"]),
        2,
        &["--fail-on", "nothing is inspected", "one of"],
    );
    std::fs::write(dir.path().join("never.toml"), "[inspect]\nwhen = \"never\"\nfail_on = \"reject\"\n").unwrap();
    fails(&mut run(&["run", "never.toml", "in", "-o", "o"]), 2, &["fail_on", "nothing is inspected", "when = \"always\""]);
    std::fs::write(dir.path().join("gate.toml"), "[inspect]\nfail_on = \"reject\"\n").unwrap();
    let (_, err) = runs(&mut run(&["run", "gate.toml", "in", "-o", "o", "--no-inspect"]), 0);
    assert!(err.contains("note:") && err.contains("decides nothing (--no-inspect)"), "{err}");
}

#[test]
fn what_was_cut_or_stretched_is_compared_with_the_same_of_its_source() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path());
    let compared = ["hallucination", "colour_shift", "halo", "plastic", "gan", "blur"];
    let check = |folder: &str| {
        for report in reports(&dir.path().join(folder)) {
            let off = report["not_applicable"].as_array().unwrap();
            assert!(!off.iter().any(|n| compared.contains(&n.as_str().unwrap())), "{folder}: {report}");
            assert!(report["faithful_model"].is_string() && report["situation"] == "own", "{folder}: {report}");
            // The source is the one that the result was made of, at the right place: nothing moved.
            assert!(report["detectors"]["colour_shift"].as_f64().unwrap() < 0.9, "{folder}: {report}");
            assert!(report["findings"].as_array().unwrap().is_empty(), "{folder}: {report}");
        }
    };
    for fit in ["cover", "exact"] {
        let args = ["upscale", "in", "-o", fit, "--size", "150x170", "--fit", fit, "--inspect"];
        runs(lastmile(dir.path(), &home).args(args), 0);
        check(fit);
        // The journal tells how it was cut, so the file on its own is compared in the same way.
        runs(lastmile(dir.path(), &home).args(["inspect", fit]), 0);
        check(fit);
    }
}

#[test]
fn journals_tell_how_results_were_made() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path());
    let run = |args: &[&str], code| runs(lastmile(dir.path(), &home).args(args), code);
    run(&["upscale", "in", "-o", "made", "--inspect"], 0);
    let first = reports(&dir.path().join("made"));
    // Copies and proofs are no results.
    for aside in ["approved/a.png", "_proof/page/a.jpg", "_proof/a.png"] {
        let path = dir.path().join("made").join(aside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(dir.path().join("made/a.png"), path).unwrap();
    }
    for args in [&["inspect", "made"][..], &["inspect", "made", "--source", "in"]] {
        let (_, err) = run(args, 0);
        assert!(err.contains("0 of 2 flagged") && !err.contains("without a source"), "{err}");
        for (again, first) in reports(&dir.path().join("made")).iter().zip(&first) {
            for key in ["not_applicable", "situation", "model", "faithful_model", "verdict", "result_sha256", "thresholds"] {
                assert_eq!(again[key], first[key], "{args:?} {key}");
            }
            // The file is rounded to 8 bits, what was seen while it was made was not.
            for (name, score) in first["detectors"].as_object().unwrap() {
                let now = again["detectors"][name].as_f64().unwrap();
                assert!((now - score.as_f64().unwrap()).abs() < 0.1, "{args:?} {name}: {score} {now}");
            }
        }
    }
    // A single file knows its folder.
    let (out, _) = run(&["inspect", "made/sub/b.png", "--json", "-"], 0);
    assert_eq!(lines(&out)[0]["situation"], "own", "{out}");
    // A source that changed is not compared with, and what was found with the true one stays.
    png(&dir.path().join("in/a.png"), 48, 40, |x, y| [(x * 5) as u8, (y * 6) as u8, 0]);
    let before = std::fs::read(dir.path().join("made/.lastmile/report.jsonl")).unwrap();
    let (_, err) = run(&["inspect", "made/a.png", "-v"], 0);
    assert!(err.contains("1 report of when its picture could be compared"), "{err}");
    std::fs::remove_dir_all(dir.path().join("in")).unwrap();
    let (_, err) = run(&["inspect", "made"], 0);
    assert!(err.contains("2 reports of when their pictures could be compared"), "{err}");
    assert_eq!(std::fs::read(dir.path().join("made/.lastmile/report.jsonl")).unwrap(), before);
}

#[test]
fn a_look_is_not_taken_for_a_fault() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path());
    let run = |args: &[&str], code| runs(lastmile(dir.path(), &home).args(args), code);
    run(&["upscale", "in", "-o", "made", "--look", "warm-film", "--inspect"], 0);
    let file = dir.path().join("made/.lastmile/report.jsonl");
    let mut kept = reports(&dir.path().join("made"));
    kept[0]["verdict"] = "review".into();
    std::fs::write(&file, kept.iter().map(|r| format!("{r}\n")).collect::<String>()).unwrap();
    // Nothing later can see what was seen before the look.
    for args in [&["inspect", "made", "--fail-on", "review"][..], &["inspect", "made", "--source", "in", "--fail-on", "review"]] {
        let (_, err) = run(args, 4);
        assert!(err.contains("1 of 2 flagged"), "{err}");
        assert_eq!(reports(&dir.path().join("made")), kept);
    }
    // Where no such report is, the look is left out of it.
    std::fs::remove_file(&file).unwrap();
    run(&["inspect", "made"], 0);
    for report in reports(&dir.path().join("made")) {
        assert_eq!((report["situation"].as_str(), &report["source"]), (Some("alone"), &Value::Null), "{report}");
        assert!(report["notes"].to_string().contains("it was graded"), "{report}");
    }
}
