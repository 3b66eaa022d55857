//! Runs that are killed or interrupted, with the real program and the real network: run again, the tree is that of an
//! undisturbed run, nothing is left lying about, and nothing that was done is done again.
//!
//! `LASTMILE_KILLS=50 cargo test --release --test kill` is the long form.

#![cfg(all(feature = "onnx", unix))]
// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lastmile::Band;
use lastmile::codec::{self, Encoding, Format, Metadata};
use lastmile::image::Channels;

/// Pictures of several formats in a small tree.
fn sources(root: &Path) {
    let kinds = [(Format::Png, "png", 8), (Format::Jpeg, "jpg", 8), (Format::Tiff, "tif", 16), (Format::Png, "png", 16)];
    for i in 0..12 {
        let (format, extension, bits) = kinds[i % kinds.len()];
        let dir = root.join(["", "a", "a/b"][i % 3]);
        std::fs::create_dir_all(&dir).unwrap();
        let (w, h) = (120 + 13 * i, 90 + 7 * i);
        let mut band = Band::new(0, w, h, 3);
        for c in 0..3 {
            for y in 0..h {
                for x in 0..w {
                    let v = (x * (i + 3) / 5 + y * (c + 1)) % 97;
                    band.row_mut(c, y)[x] = v as f32 / 96.0;
                }
            }
        }
        let how = Encoding { format, quality: 92, lossless: false, bits, ..Encoding::default() };
        let path = dir.join(format!("p{i}.{extension}"));
        let mut encoder = codec::encoder(&path, &how, w, h, Channels::Rgb, &Metadata::default()).unwrap();
        encoder.write(&band).unwrap();
        encoder.finish().unwrap();
    }
}

/// The same of a run that has ended: no temp files are left.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    assert!(!root.join(".lastmile/tmp").exists(), "temp files are left");
    delivered(root)
}

/// Every delivered file with its contents.
fn delivered(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if !path.starts_with(root.join(".lastmile")) {
                found.insert(path.strip_prefix(root).unwrap().to_path_buf(), std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn start(dir: &Path, home: &Path, out: &str) -> Child {
    let mut command = program::lastmile(dir, home);
    command.args(["upscale", "in", "-o", out, "--json", "-"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs to the end; the outputs that were made and those that were there already.
fn finish(dir: &Path, home: &Path, out: &str) -> (Vec<String>, Vec<String>) {
    let output = start(dir, home, out).wait_with_output().unwrap();
    let (lines, err) = program::text(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let of = |status: &str| {
        let files = lines.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        files.filter(|f| f["event"] == "file" && f["status"] == status).map(|f| f["output"].as_str().unwrap().to_owned()).collect()
    };
    (of("done"), of("skipped"))
}

struct Stage {
    dir: tempfile::TempDir,
    home: PathBuf,
    whole: BTreeMap<PathBuf, Vec<u8>>,
    took: Duration,
}

fn undisturbed() -> Option<Stage> {
    let home = program::home()?;
    let dir = tempfile::tempdir().unwrap();
    sources(&dir.path().join("in"));
    let clock = Instant::now();
    let (done, skipped) = finish(dir.path(), &home, "whole");
    let took = clock.elapsed();
    assert_eq!((done.len(), skipped.len()), (12, 0));
    let whole = tree(&dir.path().join("whole"));
    assert_eq!(whole.len(), 12);
    Some(Stage { dir, home, whole, took })
}

#[test]
fn killed_at_any_moment_the_same_command_ends_in_the_same_tree() {
    let Some(Stage { dir, home, whole, took }) = undisturbed() else { return };
    let kills: u64 = std::env::var("LASTMILE_KILLS").ok().map_or(6, |n| n.parse().unwrap());
    let mut seed = 2026u64;
    let (mut cut_short, mut kept) = (0, 0);
    for n in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (seed >> 40) as f64 / (1u64 << 24) as f64;
        let out = format!("out{n}");
        let mut child = start(dir.path(), &home, &out);
        std::thread::sleep(took.mul_f64(share));
        child.kill().unwrap();
        child.wait().unwrap();
        let root = dir.path().join(&out);
        let before = if root.exists() { delivered(&root) } else { BTreeMap::new() };
        cut_short += usize::from(before.len() < 12);
        kept += before.len();
        let (done, skipped) = finish(dir.path(), &home, &out);
        assert_eq!(done.len() + skipped.len(), 12, "kill {n}");
        for path in before.keys() {
            let again = done.iter().any(|d| Path::new(d).ends_with(path));
            assert!(!again, "{} was there and is made again (kill {n} at {share:.3})", path.display());
        }
        assert!(tree(&root) == whole, "kill {n} at {share:.3}");
    }
    assert!(cut_short > 0, "no run was cut short");
    println!("{kills} kills, {cut_short} runs cut short, {kept} files were there before");
}

#[test]
fn interrupted_it_says_how_to_go_on_and_does() {
    let Some(Stage { dir, home, whole, took }) = undisturbed() else { return };
    let child = start(dir.path(), &home, "out");
    std::thread::sleep(took / 3);
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    let (_, err) = program::text(&output);
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(130), "{err}");
        assert!(err.contains("To go on: lastmile upscale in -o out"), "{err}");
    }
    finish(dir.path(), &home, "out");
    assert!(tree(&dir.path().join("out")) == whole);
    let (done, skipped) = finish(dir.path(), &home, "out");
    assert_eq!((done.len(), skipped.len()), (0, 12));
}

#[test]
fn a_run_with_nothing_to_do_never_touches_the_runtime() {
    let Some(Stage { dir, home, .. }) = undisturbed() else { return };
    let broken = dir.path().join("broken.so");
    std::fs::write(&broken, "no library").unwrap();
    let mut again = program::lastmile(dir.path(), &home);
    let output = again.args(["upscale", "in", "-o", "whole"]).env("ORT_DYLIB_PATH", &broken).output().unwrap();
    let (_, err) = program::text(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("Nothing to do: 12 files done already"), "{err}");
    std::fs::remove_file(dir.path().join("whole/p0.png")).unwrap();
    let mut one = program::lastmile(dir.path(), &home);
    program::fails(one.args(["upscale", "in", "-o", "whole"]).env("ORT_DYLIB_PATH", &broken), 5, &["broken.so"]);
}
