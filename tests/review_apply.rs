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
    assert!(run.status.success(), "{told}");
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
