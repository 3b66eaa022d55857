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
            // The file is rounded to 8 bits, what was seen while it was made was not. Among the better half of clean pictures, where nothing
            // happens, next to no difference is many places.
            for (name, score) in first["detectors"].as_object().unwrap() {
                let (now, then) = (again["detectors"][name].as_f64().unwrap(), score.as_f64().unwrap());
                let room = if now.max(then) < 0.5 { 0.2 } else { 0.1 };
                assert!((now - then).abs() < room, "{args:?} {name}: {then} {now}");
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

#[test]
fn what_cannot_be_written_is_told_before_the_first_picture() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    folders(dir.path());
    std::fs::write(dir.path().join("file"), b"in the way").unwrap();
    let inspect = |args: &[&str]| {
        let mut command = lastmile(dir.path(), &home);
        command.args(["--no-install", "inspect", "out"]).args(args);
        command
    };
    fails(&mut inspect(&["--heat", "file/heat", "--json", "-"]), 2, &["--heat file/heat", "nothing can be written"]);
    fails(&mut inspect(&["--report", "file"]), 2, &["--report file", "nothing can be written"]);
    assert!(!dir.path().join("out/.lastmile/report.jsonl").exists(), "nothing was inspected");
    // What fails later fails for one picture: the others are done, all reports are kept, the end is told.
    std::fs::create_dir(dir.path().join("heat")).unwrap();
    std::fs::write(dir.path().join("heat/sub"), b"in the way").unwrap();
    let (out, err) = runs(&mut inspect(&["--heat", "heat", "--json", "-"]), 3);
    let events = lines(&out);
    let names: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["report", "report", "file", "end"], "{out}{err}");
    assert_eq!((&events[2]["status"], &events[2]["error"]["kind"]), (&Value::from("failed"), &Value::from("io")));
    assert_eq!((&events[3]["done"], &events[3]["failed"]), (&Value::from(2), &Value::from(1)));
    assert!(dir.path().join("heat/a.blur.png").is_file() && err.contains("heat/sub"), "{err}");
    assert_eq!(reports(&dir.path().join("out")).len(), 2);
    // A state folder that is none.
    std::fs::remove_dir_all(dir.path().join("out/.lastmile")).unwrap();
    std::fs::write(dir.path().join("out/.lastmile"), b"in the way").unwrap();
    fails(&mut inspect(&[]), 2, &["out/.lastmile: a file stands"]);
}

#[test]
fn heat_maps_of_one_stem_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let write = |name: &str| png(&dir.path().join(name), 192, 160, |x, y| scenery(x as f32 / 4.0, y as f32 / 4.0));
    write("out/dup.png");
    let inspect = |inputs: &[&str]| {
        let mut command = lastmile(dir.path(), &home);
        runs(command.args(["--no-install", "inspect", "--heat", "heat"]).args(inputs), 0)
    };
    inspect(&["out"]);
    assert!(dir.path().join("heat/dup.blur.png").is_file());
    write("out/dup.jpg");
    write("other/dup.png");
    inspect(&["out"]);
    let maps = |heat: &str, name: &str| lastmile::review::heat_maps(&dir.path().join(heat), Path::new(name));
    assert!(!dir.path().join("heat/dup.blur.png").exists(), "it is nobody's now");
    assert_eq!(maps("heat", "dup.png")["blur"], dir.path().join("heat/dup.png.blur.png"));
    assert_eq!(maps("heat", "dup.jpg")["blur"], dir.path().join("heat/dup.jpg.blur.png"));
    assert_eq!(maps("heat", "dup.png").len(), maps("heat", "dup.jpg").len());
    inspect(&["out", "other"]);
    assert_eq!(maps("heat/other", "dup.png")["blur"], dir.path().join("heat/other/dup.blur.png"));
    assert_eq!(maps("heat/out", "dup.png")["blur"], dir.path().join("heat/out/dup.png.blur.png"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_to_what_a_run_wrote_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    folders(dir.path());
    let link = |from: &str, to: &str| std::os::unix::fs::symlink(dir.path().join(to), dir.path().join(from)).unwrap();
    // Results of a run lie on another disk.
    runs(lastmile(dir.path(), &home).args(["upscale", "in", "-o", "made", "--model", "none", "--scale", "2"]), 0);
    std::fs::rename(dir.path().join("made/sub"), dir.path().join("elsewhere")).unwrap();
    link("made/sub", "elsewhere");
    link("made/foreign", "out");
    link("made/foreign.png", "in/a.png");
    let (out, err) = runs(lastmile(dir.path(), &home).args(["--no-install", "inspect", "made", "--json", "-"]), 0);
    let names: Vec<String> = lines(&out).iter().filter(|e| e["event"] == "report").map(|e| e["input"].as_str().unwrap().into()).collect();
    assert_eq!(names, ["made/a.png", "made/sub/b.png"]);
    assert!(err.contains("2 links left out"), "{err}");
    let review = lastmile::review::Review::open(&dir.path().join("made"), &lastmile::review::Options::default()).unwrap();
    assert_eq!(review.pictures.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["a.png", "sub/b.png"]);
    // Named, it is looked at.
    runs(lastmile(dir.path(), &home).args(["--no-install", "inspect", "made/foreign.png"]), 0);
    std::fs::create_dir(dir.path().join("links")).unwrap();
    link("links/a.png", "in/a.png");
    fails(lastmile(dir.path(), &home).args(["inspect", "links"]), 2, &["no pictures in there but 1 link"]);
}

#[test]
fn the_journal_knows_sources_better_than_names() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    png(&dir.path().join("in/a.png"), 48, 40, |x, y| scenery(x as f32, y as f32));
    png(&dir.path().join("in/a.jpg"), 48, 40, |x, y| scenery(y as f32, x as f32));
    let run = |args: &[&str], code| runs(lastmile(dir.path(), &home).args(args), code);
    run(&["upscale", "in", "-o", "made", "--model", "none", "--scale", "2", "--format", "png"], 0);
    let sources = |of: &str| -> Vec<(String, String)> {
        let (out, _) = run(&["--no-install", "inspect", "made", "--source", of, "--json", "-"], 0);
        let name = |v: &Value| Path::new(v.as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        lines(&out).iter().filter(|e| e["event"] == "report").map(|e| (name(&e["input"]), name(&e["source"]))).collect()
    };
    let told = sources("in");
    assert_eq!(told.len(), 2);
    let journal = std::fs::read_to_string(dir.path().join("made/.lastmile/journal.jsonl")).unwrap();
    for (result, source) in &told {
        let line = journal.lines().find(|l| l.contains(&format!("\"output\":\"{result}\"")) && l.contains("source_sha256")).unwrap();
        assert!(line.contains(&format!("\"source\":\"../in/{source}\"")), "{result} of {source}: {line}");
    }
    assert_ne!(told[0].1, told[1].1);
    // The same of a folder that was moved.
    std::fs::rename(dir.path().join("in"), dir.path().join("moved")).unwrap();
    assert_eq!(sources("moved"), told);
}

#[test]
fn mending_without_a_source_is_a_mistake_and_itself_is_no_source() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    folders(dir.path());
    let inspect = |args: &[&str]| {
        let mut command = lastmile(dir.path(), &home);
        command.args(["--no-install", "inspect"]).args(args);
        command
    };
    fails(&mut inspect(&["out/a.png", "--repair", "suggest"]), 2, &["--repair suggest", "--source"]);
    let (out, err) = runs(&mut inspect(&["in/a.png", "--source", "in/../in/a.png", "--json", "-"]), 0);
    assert!(err.contains("1 of 1 compared with themselves"), "{err}");
    assert!(lines(&out)[0]["notes"].as_array().unwrap().iter().any(|n| n.as_str().unwrap().contains("the very file")), "{out}");
}

#[test]
fn a_mended_version_is_written_as_its_result_was() {
    use lastmile::codec::{self, Encoding, Format, Metadata};
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    const SIDE: usize = 512;
    // Soft shapes; the result has a patch that its source has not.
    let at = |x: f32, y: f32| 0.5 + 0.2 * (x * 0.02).sin() * (y * 0.015).cos() + 0.04 * (x * 0.11 + y * 0.07).sin();
    png(&dir.path().join("in/a.png"), 128, 128, |x, y| [(255.0 * at(4.0 * x as f32 + 1.5, 4.0 * y as f32 + 1.5)) as u8; 3]);
    let mut band = lastmile::Band::new(0, SIDE, SIDE, 3);
    for c in 0..3 {
        for y in 0..SIDE {
            for (x, v) in band.row_mut(c, y).iter_mut().enumerate() {
                let (u, w) = (x as f32, y as f32);
                let new = (200..300).contains(&x) && (180..280).contains(&y);
                *v = at(u, w) + if new { 0.16 * (u * 0.9 - w * 0.7).sin() * (w * 0.8 + u * 0.3).cos() } else { 0.0 };
            }
        }
    }
    std::fs::create_dir(dir.path().join("out")).unwrap();
    let path = dir.path().join("out/a.jpg");
    let how = Encoding { format: Format::Jpeg, quality: 83, chroma_420: true, ..Encoding::default() };
    let mut encoder = codec::encoder(&path, &how, SIDE, SIDE, lastmile::image::Channels::Rgb, &Metadata::default()).unwrap();
    encoder.write(&band).unwrap();
    encoder.finish().unwrap();
    let (out, err) = runs(lastmile(dir.path(), &home).args(["inspect", "out", "--source", "in", "--json", "-"]), 0);
    let report = &lines(&out)[0];
    assert_eq!(report["repair"]["file"], ".lastmile/repair/a.jpg", "{report}{err}");
    assert_eq!(report["repair"]["model"], "lastmile-faithful-x4", "the pixels");
    assert_eq!(report["faithful_model"], "lastmile-start-x4", "the score");
    let notes = report["notes"].to_string();
    assert!(notes.contains("encoded again (JPEG, quality 83, colour at half the resolution)"), "{notes}");
    let mended = dir.path().join("out/.lastmile/repair/a.jpg");
    assert_eq!(Encoding { quality: 1, chroma_420: false, ..how.clone() }.as_told_by(&std::fs::read(&mended).unwrap()), how);
    // Far from the patch nothing is lost but rounding.
    let open = |path: &Path| codec::decode(path, &std::fs::read(path).unwrap(), &codec::Limits::default()).unwrap().band(0, SIDE, 0..3);
    let (before, after) = (open(&path), open(&mended));
    let off = |rows: std::ops::Range<usize>| {
        rows.flat_map(|y| (0..SIDE).map(move |x| (x, y))).map(|(x, y)| (before.row(1, y)[x] - after.row(1, y)[x]).abs()).fold(0.0, f32::max)
    };
    assert!(off(0..64) < 3.5 / 255.0, "{}", off(0..64) * 255.0);
    assert!(off(200..260) > 8.0 / 255.0, "it was mended");
    // Where it cannot be written, what was found is kept and told all the same.
    std::fs::remove_dir_all(dir.path().join("out/.lastmile/repair")).unwrap();
    std::fs::write(dir.path().join("out/.lastmile/repair"), b"in the way").unwrap();
    let (out, err) = runs(lastmile(dir.path(), &home).args(["inspect", "out", "--source", "in", "--json", "-"]), 3);
    let events = lines(&out);
    assert_eq!((&events[0]["verdict"], &events[0]["repair"]["file"]), (&report["verdict"], &Value::Null), "{out}");
    assert!(events[1]["error"]["message"].as_str().unwrap().contains("the mended version could not be written"), "{out}");
    assert!(err.contains("--repair off") && reports(&dir.path().join("out")).len() == 1, "{err}");
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_keep_their_own_reports() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let name = |b: u8| std::ffi::OsStr::from_bytes(&[b'a', b, b'.', b'p', b'n', b'g']).to_owned();
    for (n, b) in [(1.0, 0xfe), (2.0, 0xff)] {
        png(&dir.path().join("in").join(name(b)), 48, 40, |x, y| scenery(x as f32 * n, y as f32));
    }
    let upscale = || {
        let mut command = lastmile(dir.path(), &home);
        runs(command.args(["upscale", "in", "-o", "made", "--model", "none", "--scale", "2", "--inspect"]), 0).1
    };
    assert!(upscale().contains("2 inspected"));
    let told = reports(&dir.path().join("made"));
    let mut names: Vec<&str> = told.iter().map(|r| r["input_raw"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a%FE.png", "a%FF_png.png"]);
    let said = upscale();
    assert!(said.contains("Nothing to do") && said.contains("2 inspected"), "{said}");
    runs(lastmile(dir.path(), &home).args(["--no-install", "inspect", "made"]), 0);
    assert_eq!(reports(&dir.path().join("made")).len(), 2);
    let review = lastmile::review::Review::open(&dir.path().join("made"), &lastmile::review::Options::default()).unwrap();
    assert!(review.pictures.iter().all(|p| p.report.is_some()));
}
