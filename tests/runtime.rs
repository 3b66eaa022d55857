//! `lastmile runtime` and `lastmile doctor` as a user meets them: the real library, and every way it can be missing.

#![cfg(feature = "onnx")]
// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{fails, home, lastmile, text};

#[test]
fn the_installed_library_is_shown_and_works() {
    let Some(home) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    let show = lastmile(dir.path(), &home).args(["runtime", "show"]).output().unwrap();
    let (out, err) = text(&show);
    assert!(show.status.success(), "{err}");
    assert!(out.contains("installed by lastmile") && out.contains("intact; licences: "), "{out}");

    let doctor = lastmile(dir.path(), &home).args(["doctor", "--json", "-"]).output().unwrap();
    let (out, err) = text(&doctor);
    assert!(doctor.status.success(), "{err}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["event"], "doctor");
    assert!(found["runtime"]["version"].as_str().unwrap().starts_with("1."), "{found}");
    let cpu = found["devices"].as_array().unwrap().iter().find(|d| d["device"] == "cpu").unwrap();
    assert_eq!(cpu["works"], true);
    assert!(found["cores"].as_u64().unwrap() >= 1);

    // Not even graphics drivers complain of a session that has no display.
    let calm = lastmile(dir.path(), &home).arg("doctor").env_remove("XDG_RUNTIME_DIR").env_remove("DISPLAY").output().unwrap();
    let (out, err) = text(&calm);
    assert!(out.contains("auto") && out.contains("memory") && err.is_empty(), "{out}{err}");
}

#[test]
fn without_pip_the_ways_out_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    fails(lastmile(dir.path(), &home).args(["runtime", "install"]), 5, &["there is no pip", "FILE.whl", "--onnxruntime"]);
    fails(lastmile(dir.path(), &home).args(["runtime", "show"]), 5, &["not installed", "lastmile runtime install"]);
}

#[test]
fn forbidden_downloads_do_not_happen() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let path = std::env::var_os("PATH").unwrap_or_default();
    fails(lastmile(dir.path(), &home).env("PATH", &path).args(["--no-install", "runtime", "install"]), 5, &["--no-install forbids"]);
    let mut offline = lastmile(dir.path(), &home);
    fails(offline.env("PATH", &path).env("LASTMILE_OFFLINE", "1").args(["runtime", "install"]), 5, &["LASTMILE_OFFLINE forbids"]);
    assert!(!home.exists());
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    fs::write(&home, "a file").unwrap();
    fails(lastmile(dir.path(), &home).args(["runtime", "install"]), 5, &["cannot be written", "LASTMILE_HOME="]);
}

#[test]
fn a_named_file_that_is_no_library_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = (dir.path().join("home"), dir.path().join("thing.so"));
    fs::write(&file, "text").unwrap();
    fails(lastmile(dir.path(), &home).arg("--onnxruntime").arg(&file).args(["runtime", "show"]), 5, &["thing.so cannot be loaded"]);
    fails(lastmile(dir.path(), &home).env("ORT_DYLIB_PATH", &file).args(["runtime", "show"]), 5, &["thing.so cannot be loaded"]);
    fails(lastmile(dir.path(), &home).args(["--onnxruntime", "none.so", "runtime", "show"]), 5, &["none.so", "is not a file"]);
}

#[test]
fn a_wrong_word_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    fails(lastmile(dir.path(), &dir.path().join("home")).args(["runtime", "install", "gpu"]), 2, &["`gpu` is neither cpu, cuda, webgpu"]);
}

#[test]
fn doctor_without_a_runtime_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = lastmile(dir.path(), &dir.path().join("home")).arg("doctor").output().unwrap();
    let (out, _) = text(&output);
    assert_eq!(output.status.code(), Some(5));
    assert!(out.contains("runtime    none") && out.contains("to do:\n  lastmile runtime install"), "{out}");
    assert!(!dir.path().join("home").exists(), "doctor changes nothing");
}

/// A wheel around the real library, as it could come from a colleague.
fn wheel(home: &Path, folder: &Path) -> PathBuf {
    let name = fs::read_to_string(home.join("runtime/current")).unwrap();
    let installed = home.join("runtime").join(name.trim());
    let note: toml::Table = fs::read_to_string(installed.join("installed.toml")).unwrap().parse().unwrap();
    let library = note["library"].as_str().unwrap();
    let path = folder.join(format!("onnxruntime-{}-cp312-cp312-here.whl", note["version"].as_str().unwrap()));
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file(format!("onnxruntime/capi/{library}"), stored).unwrap();
    std::io::copy(&mut fs::File::open(installed.join(library)).unwrap(), &mut zip).unwrap();
    zip.finish().unwrap();
    path
}

#[test]
fn processes_that_install_at_once_do_not_harm_each_other() {
    let Some(shared) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (wheel, home) = (wheel(&shared, dir.path()), dir.path().join("home"));
    let start = || lastmile(dir.path(), &home).args(["runtime", "install"]).arg(&wheel).spawn().unwrap();
    for mut child in [start(), start(), start()] {
        assert!(child.wait().unwrap().success());
    }
    let show = lastmile(dir.path(), &home).args(["runtime", "show"]).output().unwrap();
    assert!(show.status.success() && text(&show).0.contains("intact"), "{}", text(&show).1);
}

#[test]
fn a_damaged_library_is_never_loaded() {
    let Some(shared) = home() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (wheel, home) = (wheel(&shared, dir.path()), dir.path().join("home"));
    assert!(lastmile(dir.path(), &home).args(["runtime", "install"]).arg(&wheel).output().unwrap().status.success());
    let name = fs::read_to_string(home.join("runtime/current")).unwrap();
    let folder = home.join("runtime").join(name.trim());
    let library = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_none_or(|e| e != "toml")).unwrap();
    let mut bytes = fs::read(&library).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&library, bytes).unwrap();
    fails(lastmile(dir.path(), &home).args(["runtime", "show"]), 5, &["is damaged", "lastmile runtime install cpu"]);
}
