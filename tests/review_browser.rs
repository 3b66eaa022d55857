//! The review page in a real Chromium, by keyboard; `tests/browser/*.mjs` drive it. Screenshots go to `target/browser`.
//!
//! Needs Chromium (`LASTMILE_CHROMIUM`, or on the PATH) and Node; what else it needs npm fetches into `target/browser-tools` once.
//! Without them it says so and passes, except where `REQUIRE_BROWSER=1`.
//!
//! The whole trial, 100 pictures with 12 defects: `LASTMILE_TRIAL=1 cargo test --release --test review_browser -- --nocapture`.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod program;
mod review_folder;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use lastmile::batch::journal::{Journal, State, sha256_file};
use lastmile::review::verdicts::{Decision, Verdicts};
use program::{home, lastmile, text};
use review_folder::{folder, png, ranked};
use serde_json::Value;

/// One browser at a time: what is measured would be another test's load.
static ONE: Mutex<()> = Mutex::new(());

fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|n| std::env::split_paths(&path).map(|d| d.join(n)).find(|f| f.is_file()))
}

/// Chromium, Node and the folder of scripts with what they import; or why there is none of it.
struct Tools {
    chromium: PathBuf,
    node: PathBuf,
    scripts: PathBuf,
    shots: PathBuf,
}

fn find_tools() -> Result<Tools, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("LASTMILE_CHROMIUM").map(PathBuf::from);
    let chromium = named.or_else(|| on_path(&["chromium", "chromium-browser", "google-chrome"])).ok_or("no Chromium")?;
    let node = on_path(&["node"]).ok_or("no Node")?;
    let (scripts, shots) = (root.join("target/browser-tools"), root.join("target/browser"));
    for dir in [&scripts, &shots] {
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    for entry in std::fs::read_dir(root.join("tests/browser")).unwrap().flatten().filter(|e| e.path().is_file()) {
        std::fs::copy(entry.path(), scripts.join(entry.file_name())).unwrap();
    }
    if !scripts.join("node_modules/playwright-core").is_dir() || !scripts.join("node_modules/axe-core").is_dir() {
        let npm = on_path(&["npm"]).ok_or("no npm")?;
        let run = Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(&scripts).output().map_err(|e| e.to_string())?;
        if !run.status.success() {
            return Err(format!("npm ci in {} failed: {}", scripts.display(), String::from_utf8_lossy(&run.stderr)));
        }
    }
    Ok(Tools { chromium, node, scripts, shots })
}

fn tools() -> Option<Tools> {
    match find_tools() {
        Ok(tools) => Some(tools),
        Err(why) => {
            assert!(std::env::var_os("REQUIRE_BROWSER").is_none(), "{why}");
            println!("skipped: {why}");
            None
        }
    }
}

/// Whether the browser was asked for: it takes minutes, and a machine with too much to do makes it miss its moments.
fn asked() -> Option<()> {
    if std::env::var_os("LASTMILE_TRIAL").is_none() {
        println!("skipped: takes minutes; LASTMILE_TRIAL=1 runs it");
        return None;
    }
    Some(())
}

/// Ends the program when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Tools {
    /// Serves the review of `out` and runs a script on it; what the script printed.
    fn drive(&self, script: &str, out: &Path, more: &[&Path]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile"));
        command.args(["review", "--no-open", "--json", "-"]).arg(out).stdout(Stdio::piped());
        let mut review = Running(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(review.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let mut node = Command::new(&self.node);
        node.current_dir(&self.scripts).arg(script).arg(told["url"].as_str().unwrap()).arg(&self.shots).arg(&self.chromium).args(more);
        let run = node.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{script}: {said}");
        println!("{script}: {said}");
        said
    }
}

#[test]
fn fifty_pictures_by_keyboard() {
    let Some(tools) = asked().and_then(|()| tools()) else { return };
    let _one = ONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(100, 50, 960, 640), 960, 640);
    let glow = |x: u32, y: u32| [(255.0 * (-((f64::from(x) - 750.0).powi(2) + (f64::from(y) - 100.0).powi(2)) / 10_000.0).exp()) as u8; 3];
    png(&out.join(".lastmile/heat/portraits/000.micro_noise.png"), 960, 640, glow);
    tools.drive("triage.mjs", &out, &[]);

    let saved: Value = serde_json::from_slice(&std::fs::read(out.join(".lastmile/verdicts.json")).unwrap()).unwrap();
    let count = |d: &str| saved["pictures"].as_object().unwrap().values().filter(|e| e["decision"] == d).count();
    // By hand 18, 16 and 16; the 30 that passed and were not drawn were approved at a glance.
    assert_eq!((count("approved"), count("rejected"), count("repair")), (48, 16, 16));
    let noted = saved["pictures"].as_object().unwrap().values().find(|e| e["output"] == "portraits/000.png").unwrap();
    assert_eq!(noted["note"], "hand again, finger");
}

#[test]
fn nothing_decided_or_typed_is_lost() {
    let Some(tools) = asked().and_then(|()| tools()) else { return };
    let _one = ONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(30, 3, 640, 480), 640, 480);
    std::fs::copy(out.join("portraits/000.png"), out.join("portraits/copy.png")).unwrap();
    for detector in ["micro_noise", "checkerboard", "hallucination"] {
        png(&out.join(format!(".lastmile/heat/portraits/000.{detector}.png")), 640, 480, |x, _| [(x / 3) as u8; 3]);
    }
    tools.drive("care.mjs", &out, &[]);
    let verdicts = Verdicts::load(&out.join(".lastmile/verdicts.json")).unwrap();
    let told = verdicts.all().values().filter_map(|e| e.decision).collect::<Vec<_>>();
    assert_eq!((told.len(), told.contains(&Decision::Approved), told.contains(&Decision::Repair)), (2, true, true));
}

#[test]
fn five_hundred_pictures_open_and_move_on() {
    let Some(tools) = asked().and_then(|()| tools()) else { return };
    let _one = ONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(500, 120, 640, 480), 640, 480);
    tools.drive("many.mjs", &out, &[]);
}

/// Hashes of everything below `dir` that is not state.
fn tree(dir: &Path) -> BTreeMap<String, String> {
    let files = walkdir::WalkDir::new(dir).into_iter().flatten().filter(|e| e.file_type().is_file());
    let name = |p: &Path| p.strip_prefix(dir).unwrap().to_string_lossy().replace('\\', "/");
    files.map(|e| (name(e.path()), sha256_file(e.path()).unwrap())).filter(|(n, _)| !n.starts_with(".lastmile")).collect()
}

#[test]
fn a_hundred_pictures_from_defect_to_delivery() {
    let Some(tools) = asked().and_then(|()| tools()) else { return };
    let Some(home) = home() else { return };
    let _one = ONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let run = |args: &[&str]| {
        let run = lastmile(&demo, &home).args(args).args(["--json", "-"]).output().unwrap();
        let (said, told) = text(&run);
        let lines: Vec<Value> = said.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        (run.status.code(), lines, told)
    };
    // What is flagged wrongly ends the demo with 4; here only its pictures matter.
    let made = lastmile(dir.path(), &home).args(["demo", "-o", "demo", "--pictures", "100", "--no-open"]).output().unwrap();
    println!("{}{}", text(&made).0, text(&made).1);
    assert!(matches!(made.status.code(), Some(0 | 4)), "{}", text(&made).1);

    // Enlarged without a network, and twelve of them hurt afterwards: as far as the journal knows, that is what was made.
    let (code, _, told) = run(&["upscale", "renders", "-o", "final", "--scale", "4", "--model", "none"]);
    assert_eq!(code, Some(0), "{told}");
    let out = demo.join("final");
    let planted: Vec<Value> = serde_json::from_slice(&std::fs::read(demo.join("planted.json")).unwrap()).unwrap();
    let bad: Vec<&str> = planted.iter().map(|p| p["file"].as_str().unwrap()).collect();
    assert_eq!(bad.len(), 12);
    let state = State::load(&out, None).unwrap();
    let mut records: Vec<_> = state.records().into_iter().filter(|r| bad.contains(&r.output.as_str())).cloned().collect();
    assert_eq!(records.len(), 12);
    let mut journal = Journal::open(&out, None).unwrap();
    for record in &mut records {
        let file = out.join(&record.output);
        std::fs::copy(demo.join("delivered").join(&record.output), &file).unwrap();
        (record.sha256, record.bytes) = (sha256_file(&file).unwrap(), std::fs::metadata(&file).unwrap().len());
        journal.intend("trial", record).unwrap();
    }
    journal.finish(&records.iter().map(|r| (r.output.clone(), r.sha256.clone())).collect::<Vec<_>>()).unwrap();
    drop(journal);
    let (_, reports, told) = run(&["inspect", "final", "--source", "renders"]);
    let flagged = |l: &&Value| l["event"] == "report" && l["verdict"] != "pass";
    let clean = |l: &&Value| !bad.iter().any(|b| l["input"].as_str().is_some_and(|i| i.ends_with(b)));
    println!("{} of 88 clean pictures are flagged. {told}", reports.iter().filter(flagged).filter(clean).count());

    let list = demo.join("bad.json");
    std::fs::write(&list, serde_json::to_vec(&bad).unwrap()).unwrap();
    let before = tree(&out);
    tools.drive("trial.mjs", &out, &[&list]);
    assert_eq!(tree(&out), before, "nobody's picture is changed by looking at it");

    let (code, _, told) = run(&["apply", "final", "--report", "told"]);
    assert_eq!(code, Some(0), "{told}");
    let after = tree(&out);
    for (name, hash) in &before {
        let rejected = bad.contains(&name.as_str());
        assert_eq!(after[name] != *hash, rejected, "{name}");
        assert_eq!(after.get(&format!("approved/{name}")), (!rejected).then_some(hash), "{name}");
        #[cfg(unix)]
        if !rejected {
            use std::os::unix::fs::MetadataExt;
            let inode = |p: PathBuf| std::fs::metadata(p).unwrap().ino();
            assert_eq!(inode(out.join(name)), inode(out.join("approved").join(name)), "{name} is a link");
        }
    }
    assert_eq!(after.len(), 100 + 88, "nothing else is there");
    // The journal tells of every file what it is, and the first command has nothing left to do.
    let state = State::load(&out, None).unwrap();
    let known: BTreeMap<String, String> = state.records().into_iter().map(|r| (r.output.clone(), r.sha256.clone())).collect();
    assert!(before.keys().all(|n| known[n] == after[n]));
    let (code, lines, told) = run(&["upscale", "renders", "-o", "final", "--scale", "4", "--model", "none"]);
    let end = lines.iter().rev().find(|l| l["event"] == "end").unwrap();
    assert_eq!((code, &end["done"], &end["skipped"]), (Some(0), &0.into(), &100.into()), "{told}");
    assert_eq!(tree(&out), after);
}
