//! Verdicts carried out by the program, as a user types it.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod program;
mod review_folder;

use std::collections::BTreeMap;
use std::path::Path;

use lastmile::batch::journal::sha256_file;
use lastmile::review::verdicts::{Decision, Verdicts};
use lastmile::review::{Options, Review, Said};
use program::{fails, home, lastmile, text};
use review_folder::{png, scene};

const NAMES: [&str; 5] = ["a/one.png", "a/two.png", "b/three.png", "four.png", "five.png"];

/// Five small pictures, enlarged without a network.
fn made(dir: &Path) {
    for (i, name) in NAMES.iter().enumerate() {
        png(&dir.join("in").join(name), 40, 30, scene(i as u32, 40, 30));
    }
    let run = lastmile(dir, &dir.join("home")).args(["upscale", "in", "-o", "out", "--model", "none", "--scale", "2"]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run).1);
}

fn decide(out: &Path, verdicts: &[(&str, Decision)]) {
    let review = Review::open(out, &Options::default()).unwrap();
    for (name, decision) in verdicts {
        let id = review.pictures.iter().position(|p| p.name == *name).unwrap();
        review
            .decide(&Said { ids: vec![id], decision: Some(Some(*decision)), opened: true, seconds: Some(3.0), ..Said::default() })
            .unwrap();
    }
}

/// Hashes of everything below `dir` that is not state.
fn tree(dir: &Path) -> BTreeMap<String, String> {
    let files = walkdir::WalkDir::new(dir).into_iter().flatten().filter(|e| e.file_type().is_file());
    let name = |p: &Path| p.strip_prefix(dir).unwrap().to_string_lossy().replace('\\', "/");
    files.map(|e| (name(e.path()), sha256_file(e.path()).unwrap())).filter(|(n, _)| !n.starts_with(".lastmile")).collect()
}

#[test]
fn approved_aside_rejected_again_the_rest_alone() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let out = dir.path().join("out");
    let apply = |args: &[&str]| lastmile(dir.path(), &home).args(["apply", "out"]).args(args).output().unwrap();
    fails(lastmile(dir.path(), &home).args(["apply", "out"]), 2, &["nothing is decided yet", "lastmile review out"]);
    decide(
        &out,
        &[
            ("a/one.png", Decision::Approved),
            ("a/two.png", Decision::Approved),
            ("b/three.png", Decision::Rejected),
            ("four.png", Decision::Repair),
        ],
    );
    let before = tree(&out);

    let run = apply(&["--dry-run"]);
    let (said, told) = text(&run);
    assert!(run.status.success() && said.contains("b/three.png again, faithful") && said.contains("approved"), "{said}{told}");
    assert_eq!(tree(&out), before);

    let run = apply(&["--report", "report"]);
    let told = text(&run).1;
    assert!(run.status.success(), "{told}");
    for words in ["2 approved in out/approved", "1 undecided, left alone", "2 made again", "lastmile review out"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let after = tree(&out);
    for name in NAMES {
        let changed = ["b/three.png", "four.png"].contains(&name);
        assert_eq!(after[name] != before[name], changed, "{name}");
    }
    assert_eq!((&after["approved/a/one.png"], &after["approved/a/two.png"]), (&before["a/one.png"], &before["a/two.png"]));
    assert_eq!(after.len(), NAMES.len() + 2, "nothing else is left there: {after:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = |p: &str| std::fs::metadata(out.join(p)).unwrap().ino();
        assert_eq!(inode("a/one.png"), inode("approved/a/one.png"), "a link, not a copy");
    }
    let again = lastmile::codec::probe(&out.join("four.png"), &lastmile::codec::Limits::default()).unwrap();
    assert_eq!((again.width, again.height), (80, 60), "the size asked for, whichever network");
    let table = std::fs::read_to_string(dir.path().join("report/review.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + NAMES.len());
    assert!(table.contains("b/three.png,rejected,yes,not inspected,,,,3.0,80,60,none,../in/b/three.png"), "{table}");
    let sheet = std::fs::read_to_string(dir.path().join("report/index.html")).unwrap();
    assert!(sheet.contains("2 approved, 1 rejected, 1 to repair, 1 undecided. Looking took 12 s."), "{sheet}");

    // The first command again puts nothing back: what a person replaced stays replaced.
    let upscale = |args: &[&str]| {
        let run = lastmile(dir.path(), &home).args(["upscale", "in", "-o", "out", "--model", "none"]).args(args).output().unwrap();
        assert!(run.status.success(), "{}", text(&run).1);
    };
    upscale(&["--scale", "2"]);
    assert_eq!(tree(&out), after);

    // Once more: nothing is left to do, and nothing changes.
    let run = apply(&[]);
    let told = text(&run).1;
    assert!(run.status.success() && !told.contains("made again"), "{told}");
    assert_eq!(tree(&out), after);

    // What was made again is unreviewed. The faithful networks cannot do better than themselves.
    let review = Review::open(&out, &Options::default()).unwrap();
    assert_eq!(review.progress(), (2, 5));
    drop(review);
    decide(&out, &[("four.png", Decision::Rejected), ("a/two.png", Decision::Rejected)]);
    let run = apply(&[]);
    let told = text(&run).1;
    assert_eq!(run.status.code(), Some(3), "one could not be made again: {told}");
    for words in ["the faithful networks made it already; --model names another", "four.png", "1 taken out again", "1 made again"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!out.join("approved/a/two.png").exists());
    let run = apply(&["--model", "none"]);
    assert!(run.status.success(), "{}", text(&run).1);
    assert_eq!(tree(&out)["four.png"], before["four.png"], "without a network again, to the byte");
    // Other settings are another job.
    upscale(&["--scale", "3"]);
    let again = lastmile::codec::probe(&out.join("b/three.png"), &lastmile::codec::Limits::default()).unwrap();
    assert_eq!((again.width, again.height), (120, 90));
}

#[test]
fn what_a_client_sent_back() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let out = dir.path().join("out");
    decide(&out, &[("a/one.png", Decision::Approved)]);
    std::fs::rename(out.join(".lastmile/verdicts.json"), dir.path().join("sent.json")).unwrap();
    let nowhere = dir.path().join("home");
    fails(lastmile(dir.path(), &nowhere).args(["apply", "sent.json"]), 2, &["--dir DIR"]);
    fails(lastmile(dir.path(), &nowhere).args(["apply", "nope.json"]), 2, &["no such file"]);
    let run = lastmile(dir.path(), &nowhere).args(["apply", "sent.json", "--dir", "out", "--into", "good"]).output().unwrap();
    assert!(run.status.success() && text(&run).1.contains("1 of 1 verdicts are about pictures in out"), "{}", text(&run).1);
    assert_eq!(tree(&dir.path().join("good")).keys().collect::<Vec<_>>(), ["a/one.png"]);
    assert_eq!(Verdicts::load(&out.join(".lastmile/verdicts.json")).unwrap().all().len(), 1, "and they are known here now");
    // The same by the file's own place.
    let run = lastmile(dir.path(), &nowhere).args(["apply", "out/.lastmile/verdicts.json", "--into", "good"]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run).1);
}

#[test]
fn what_a_client_did_not_decide_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let (out, nowhere) = (dir.path().join("out"), dir.path().join("home"));
    decide(&out, &[("a/one.png", Decision::Approved), ("a/two.png", Decision::Approved)]);
    let review = Review::open(&out, &Options::default()).unwrap();
    let id = |name: &str| review.pictures.iter().position(|p| p.name == name).unwrap();
    let note = Some("signed off".to_string());
    review.decide(&Said { ids: vec![id("a/one.png"), id("a/two.png")], note, ..Said::default() }).unwrap();
    // Opened there, decided and noted or not.
    let sha = |name: &str| review.pictures[id(name)].sha256.clone();
    let sent = serde_json::json!({"verdicts": "lastmile", "version": 1, "pictures": {
        sha("a/one.png"): {"decision": null, "opened": true, "note": "", "seconds": 1.0},
        sha("a/two.png"): {"decision": "rejected", "opened": false, "note": "the hands", "seconds": 90.0},
        sha("four.png"): {"decision": null, "opened": true},
        sha("five.png"): {"decision": "approved"},
    }});
    drop(review);
    std::fs::write(dir.path().join("sent.json"), sent.to_string()).unwrap();
    let run = lastmile(dir.path(), &nowhere).args(["apply", "sent.json", "--dir", "out", "--model", "none"]).output().unwrap();
    let told = text(&run).1;
    assert!(told.contains("2 of 2 verdicts are about pictures in out; 1 is another than was decided here"), "{told}");
    let kept = Verdicts::load(&out.join(".lastmile/verdicts.json")).unwrap();
    let of = |name: &str| kept.all().values().find(|e| e.output == name).unwrap().clone();
    let (one, two) = (of("a/one.png"), of("a/two.png"));
    assert_eq!((one.decision, one.note.as_str(), one.opened, one.seconds), (Some(Decision::Approved), "signed off", true, 3.0));
    assert_eq!((two.decision, two.note.as_str(), two.opened, two.seconds), (Some(Decision::Rejected), "the hands", true, 90.0));
    assert_eq!((of("four.png").decision, of("four.png").opened), (None, true));
    assert!(out.join("approved/a/one.png").is_file() && out.join("approved/five.png").is_file());
}

#[test]
fn nothing_is_put_aside_in_its_own_place() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let (out, nowhere) = (dir.path().join("out"), dir.path().join("home"));
    decide(&out, &[("a/one.png", Decision::Approved)]);
    let before = tree(&out);
    let apply = |args: &[&str]| {
        let mut command = lastmile(dir.path(), &nowhere);
        command.args(["apply", "out"]).args(args);
        command
    };
    for into in ["out", "out/a/..", "./out/"] {
        for more in [&[][..], &["--dry-run"]] {
            fails(apply(&["--into", into]).args(more), 2, &["a picture under review", "a/one.png", "--into another folder"]);
        }
    }
    // A record of that kind, left by an earlier version, takes no result away.
    let record = serde_json::json!({ "a/one.png": before["a/one.png"] });
    std::fs::write(out.join(".lastmile/approved.json"), record.to_string()).unwrap();
    decide(&out, &[("a/one.png", Decision::Rejected)]);
    std::fs::rename(dir.path().join("in"), dir.path().join("away")).unwrap();
    fails(&mut apply(&["--into", "out"]), 3, &["0 approved", "its source is not there", "a/one.png"]);
    assert_eq!(tree(&out), before);
}

#[test]
fn a_model_that_is_not_there_stops_before_anything_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let (out, nowhere) = (dir.path().join("out"), dir.path().join("home"));
    decide(&out, &[("a/one.png", Decision::Approved), ("five.png", Decision::Approved)]);
    assert!(lastmile(dir.path(), &nowhere).args(["apply", "out"]).output().unwrap().status.success());
    decide(&out, &[("a/one.png", Decision::Rejected)]);
    let before = tree(&out);
    for args in [&["--dry-run"][..], &[]] {
        let run = lastmile(dir.path(), &nowhere).args(["apply", "out", "--model", "/nonexistent.onnx"]).args(args).output().unwrap();
        assert!(matches!(run.status.code(), Some(2 | 5)) && !text(&run).1.contains("taken out"), "{:?}", text(&run));
        assert_eq!(tree(&out), before);
    }
}

#[test]
fn what_changed_since_it_was_reviewed_is_not_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let (out, nowhere) = (dir.path().join("out"), dir.path().join("home"));
    let apply = |code: i32, words: &[&str]| fails(lastmile(dir.path(), &nowhere).args(["apply", "out"]), code, words);
    decide(&out, &[("four.png", Decision::Approved), ("five.png", Decision::Approved)]);
    // As long as before, and as old: only its hash tells.
    let change = |name: &str, keep_time: bool| {
        let path = out.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let time = path.metadata().unwrap().modified().unwrap();
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        if keep_time {
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
    };
    change("four.png", true);
    apply(3, &["1 approved in out/approved", "1 file not put aside, changed since it was reviewed", "four.png", "lastmile review out"]);
    assert!(!out.join("approved/four.png").exists() && out.join("approved/five.png").is_file());
    // Whoever changes a result in its place changes what was linked.
    std::thread::sleep(std::time::Duration::from_millis(20));
    change("five.png", false);
    apply(3, &["1 file in out/approved changed since it was approved, left there", "five.png"]);
    let review = Review::open(&out, &Options::default()).unwrap();
    let five = review.pictures.iter().find(|p| p.name == "five.png").unwrap();
    assert_eq!(five.sha256, sha256_file(&out.join("five.png")).unwrap(), "it is another picture, and unreviewed");
    assert!(review.verdicts().get(&five.sha256).is_none());
    drop(review);
    // Approved as it is now, all is well.
    decide(&out, &[("five.png", Decision::Approved)]);
    apply(3, &["1 approved", "four.png"]);
}

#[test]
fn what_no_network_makes_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let nowhere = dir.path().join("home");
    let run = lastmile(dir.path(), &nowhere).args(["grade", "out", "-o", "graded", "--look", "warm-film"]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run).1);
    let graded = dir.path().join("graded");
    decide(&graded, &[("five.png", Decision::Rejected)]);
    let before = tree(&graded);
    let run = lastmile(dir.path(), &nowhere).args(["apply", "graded", "--model", "lastmile-start-x4", "--json", "-"]).output().unwrap();
    let (said, told) = text(&run);
    assert_eq!(run.status.code(), Some(3), "{told}");
    assert!(told.contains("no network makes it: it was only graded") && told.contains("five.png"), "{told}");
    assert!(!told.contains("made again with") && !told.contains("To look at what was made again"), "{told}");
    assert!(said.contains(r#""outcome":"left""#), "{said}");
    assert_eq!(tree(&graded), before);
    let out = dir.path().join("out");
    decide(&out, &[("five.png", Decision::Rejected)]);
    fails(lastmile(dir.path(), &nowhere).args(["apply", "out", "--model", "none"]), 3, &["no network made it, and none would"]);
}

#[test]
fn what_was_found_in_an_earlier_version_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let (out, nowhere) = (dir.path().join("out"), dir.path().join("home"));
    let heat = out.join(".lastmile/heat");
    let run = |args: &[&str]| {
        let run = lastmile(dir.path(), &nowhere).args(args).output().unwrap();
        assert!(run.status.success(), "{}", text(&run).1);
    };
    let told = || -> Vec<(String, String)> {
        let reports = lastmile::inspect::log::read(&out.join(".lastmile/report.jsonl")).unwrap();
        reports.into_iter().map(|r| (r.input, r.result_sha256.unwrap())).collect()
    };
    let files = || NAMES.map(|n| (n.to_string(), sha256_file(&out.join(n)).unwrap())).into_iter().collect::<BTreeMap<_, _>>();
    run(&["inspect", "out", "--heat", heat.to_str().unwrap()]);
    assert_eq!(told().into_iter().collect::<BTreeMap<_, _>>(), files());
    let shown = || {
        let review = Review::open(&out, &Options::default()).unwrap();
        let (reports, maps) =
            (review.pictures.iter().filter(|p| p.report.is_some()).count(), review.pictures.iter().map(|p| p.heat.len()).sum::<usize>());
        (reports, maps, review.notices.join(" "))
    };
    let (reports, maps, notice) = shown();
    assert!(reports == 5 && maps > 0 && notice.is_empty(), "{reports} {maps} {notice}");
    let upscale = ["upscale", "in", "-o", "out", "--model", "none", "--scale", "3"];
    run(&upscale);
    let (reports, maps, notice) = shown();
    assert!(reports == 0 && maps == 0 && notice.contains("5 pictures were made again since the inspection"), "{reports} {maps} {notice}");
    assert_eq!(walkdir::WalkDir::new(&heat).into_iter().flatten().filter(|e| e.file_type().is_file()).count(), 0, "old maps go");
    // Inspected as they are made, their reports name them.
    run(&[&upscale[..7], &["2", "--inspect"]].concat());
    assert_eq!(told().into_iter().collect::<BTreeMap<_, _>>(), files());
    assert_eq!(shown().0, 5);
}

#[test]
fn sources_that_were_moved_are_found() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let (out, nowhere) = (dir.path().join("out"), dir.path().join("home"));
    let away = dir.path().join("away");
    std::fs::rename(dir.path().join("in"), &away).unwrap();
    let again = |args: &[&str]| {
        let run = lastmile(dir.path(), &nowhere).args(["apply", "out", "--dry-run"]).args(args).output().unwrap();
        (text(&run).0, text(&run).1)
    };
    decide(&out, &[("five.png", Decision::Rejected)]);
    assert!(again(&[]).1.contains("its source is not there"));
    let (said, told) = again(&["--source", "away"]);
    assert!(said.contains("five.png again, faithful"), "{said}{told}");
    fails(lastmile(dir.path(), &nowhere).args(["apply", "out", "--source", "nope"]), 2, &["nope: no such folder"]);
    // As `review --source` does it: what it was reviewed beside is known from then on.
    let options = Options { source: Some(away.clone()), ..Options::default() };
    let review = Review::open(&out, &options).unwrap();
    let id = review.pictures.iter().position(|p| p.name == "five.png").unwrap();
    review.decide(&Said { ids: vec![id], opened: true, ..Said::default() }).unwrap();
    drop(review);
    assert!(again(&[]).0.contains("five.png again, faithful"));
    // Another picture in its place is not what it was made from.
    std::fs::copy(away.join("four.png"), away.join("five.png")).unwrap();
    assert!(again(&[]).1.contains("its source is not there"));
}

#[test]
fn json_tells_of_every_picture_once() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let out = dir.path().join("out");
    let apply = |args: &[&str]| {
        let run = lastmile(dir.path(), &home).args(["apply", "out", "--json", "-"]).args(args).output().unwrap();
        let lines: Vec<serde_json::Value> = text(&run).0.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        (run.status.code(), lines, text(&run).1)
    };
    let outcomes = |lines: &[serde_json::Value]| -> Vec<(String, String)> {
        let word = |l: &serde_json::Value, key: &str| l[key].as_str().unwrap().to_owned();
        lines.iter().filter(|l| l["event"] == "verdict").map(|l| (word(l, "picture"), word(l, "outcome"))).collect()
    };
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    decide(&out, &[("a/one.png", Decision::Approved)]);
    let (code, lines, told) = apply(&[]);
    assert_eq!((code, outcomes(&lines)), (Some(0), vec![pair("a/one.png", "linked")]), "{told}");
    let events: Vec<&str> = lines.iter().map(|l| l["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["start", "verdict", "end"]);
    // Two groups: one that the faithful networks make, one that a network after --model does.
    decide(&out, &[("four.png", Decision::Repair), ("five.png", Decision::Rejected), ("b/three.png", Decision::Rejected)]);
    std::fs::remove_file(dir.path().join("in/b/three.png")).unwrap();
    let (code, lines, told) = apply(&["--model", "lastmile-start-x4", "--dry-run"]);
    let expected = [("a/one.png", "put_aside"), ("four.png", "again"), ("five.png", "again"), ("b/three.png", "left")];
    assert_eq!((code, outcomes(&lines)), (Some(0), expected.map(|(a, b)| pair(a, b)).to_vec()), "{told}");
    let (code, lines, told) = apply(&["--model", "lastmile-start-x4"]);
    assert_eq!(code, Some(3), "{told}");
    let count = |event: &str| lines.iter().filter(|l| l["event"] == event).count();
    assert_eq!((count("start"), count("file"), count("end")), (1, 2, 1), "{lines:?}");
    assert_eq!((&lines[0]["files"], &lines[0]["event"]), (&2.into(), &"start".into()));
    let end = lines.last().unwrap();
    assert_eq!((&end["event"], &end["done"], &end["failed"]), (&"end".into(), &2.into(), &0.into()));
    assert!(end["tiles"].as_u64().unwrap() > 0 && end["decoded"].as_u64().unwrap() >= 2, "{end}");
    assert_eq!(outcomes(&lines), [pair("a/one.png", "kept"), pair("b/three.png", "left")]);
    assert!(told.contains("2 made again") && told.contains("To look at what was made again"), "{told}");
}

#[test]
fn files_that_are_not_ours_stay() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let out = dir.path().join("out");
    decide(&out, &[("a/one.png", Decision::Approved), ("five.png", Decision::Approved)]);
    std::fs::create_dir_all(out.join("approved")).unwrap();
    std::fs::write(out.join("approved/five.png"), b"mine").unwrap();
    fails(lastmile(dir.path(), &dir.path().join("home")).args(["apply", "out"]), 2, &["approved/five.png", "--into"]);
    assert_eq!(std::fs::read(out.join("approved/five.png")).unwrap(), b"mine");
    assert!(!out.join("approved/a").exists(), "all is looked at before anything is done");
}

#[test]
fn what_was_approved_outlives_its_result() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let out = dir.path().join("out");
    decide(&out, &[("a/one.png", Decision::Approved), ("five.png", Decision::Approved)]);
    let apply = || {
        let run = lastmile(dir.path(), &dir.path().join("home")).args(["apply", "out"]).output().unwrap();
        assert!(run.status.success(), "{}", text(&run).1);
        text(&run).1
    };
    assert!(apply().contains("2 approved"));
    std::fs::remove_file(out.join("a/one.png")).unwrap();
    let told = apply();
    assert!(told.contains("1 approved") && told.contains("1 left there, though their results are gone"), "{told}");
    assert!(out.join("approved/a/one.png").is_file(), "it may be the last of its kind");
    // Somebody's word, on the other hand, takes it out.
    decide(&out, &[("five.png", Decision::Rejected)]);
    let run = lastmile(dir.path(), &dir.path().join("home")).args(["apply", "out", "--model", "none"]).output().unwrap();
    assert!(text(&run).1.contains("1 taken out again"), "{}", text(&run).1);
    assert!(!out.join("approved/five.png").exists() && out.join("approved/a/one.png").is_file());
}

#[test]
fn a_folder_that_opens_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    std::fs::write(dir.path().join("out/bad.png"), b"no picture").unwrap();
    let nowhere = dir.path().join("home");
    let run = lastmile(dir.path(), &nowhere).args(["review", "out", "--export", "sent"]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run).1);
    let sent = dir.path().join("sent");
    let data = std::fs::read_to_string(sent.join("data.js")).unwrap();
    let data: serde_json::Value =
        serde_json::from_str(data.strip_prefix("window.REVIEW = ").unwrap().trim_end().trim_end_matches(';')).unwrap();
    let pictures = data["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 6);
    for p in pictures {
        assert_eq!(p["width"] == 0, p["name"] == "bad.png");
        for piece in p["pieces"].as_object().unwrap().values().flat_map(|l| l.as_array().unwrap()) {
            assert!(sent.join(piece["url"].as_str().unwrap()).is_file(), "{piece}");
        }
    }
    let page = std::fs::read_to_string(sent.join("index.html")).unwrap();
    assert!(page.find("data.js").unwrap() < page.find("page.js").unwrap());
    assert!(!page.contains("http"), "nothing from elsewhere");
    fails(lastmile(dir.path(), &nowhere).args(["review", "out", "--export", "sent"]), 2, &["--export", "not empty"]);
}
