//! The program as tests run it: a home with the real runtime, and an environment with nothing in it but what a test gives.

// Every test crate takes what it needs.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The home the tests share, with the real library installed as a user would have it; none (and a note) without pip or network.
pub fn home() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-home");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile"));
    let done = command.args(["runtime", "install"]).env("LASTMILE_HOME", &home).output().unwrap();
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none(), "{said}");
        println!("skipped, no runtime: {said}");
        return None;
    }
    Some(home)
}

/// A run in `dir` with nothing in the environment but what a test gives: no PATH, so no Python either.
pub fn lastmile(dir: &Path, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile"));
    command.current_dir(dir).env_clear().env("LASTMILE_HOME", home);
    if let Some(root) = std::env::var_os("SystemRoot") {
        command.env("SystemRoot", root);
    }
    command
}

/// What a run said: standard output and standard error.
pub fn text(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs and checks the exit code and that standard error has these words.
pub fn fails(command: &mut Command, code: i32, words: &[&str]) {
    let output = command.output().unwrap();
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    for word in words {
        assert!(err.contains(word), "`{word}` is not in: {err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}
