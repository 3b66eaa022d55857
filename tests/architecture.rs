//! The house rules that a compiler does not check: who imports whom, where the outside world is touched, how long files are.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Modules from the ground up; a module may import those of lower rows. Modules of one row may import each other only where
/// the row says so.
const ROWS: [(&[&str], bool); 9] = [
    (&["error"], true),
    (&["alpha", "band", "color", "flow", "image", "lane", "resample", "spool"], true),
    (&["codec", "grade", "inspect", "upscale"], false),
    (&["brand", "gpu"], true),
    (&["recipe"], true),
    (&["pipeline"], true),
    (&["batch"], true),
    (&["review"], true),
    (&["cli"], true),
];

/// Imports against the order, each with its reason.
const EXCEPTIONS: [(&str, &str); 1] = [
    // An `Image` names the container it came from and holds its metadata; both types are plain data.
    ("image", "codec"),
];

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every source file: its path below `src/` and its text without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    found.sort();
    assert!(found.len() > 50);
    let read = |p: PathBuf| {
        let name = p.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(&p).unwrap();
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (name, code)
    };
    found.into_iter().map(read).collect()
}

/// The top module a file belongs to.
fn module(name: &str) -> &str {
    name.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Without what is only compiled for tests, as far as it stands at the foot of a file.
fn shipped(code: &str) -> &str {
    let at = code.match_indices("#[cfg(test)]\n").find(|(at, m)| {
        let next = code[at + m.len()..].lines().next().unwrap_or_default();
        next.contains("mod tests {") || next.contains("fn ")
    });
    at.map_or(code, |(at, _)| &code[..at])
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|(names, _)| names.contains(&module))
}

#[test]
fn modules_import_downwards() {
    let mut wrong = BTreeSet::new();
    for (name, code) in sources() {
        let from = module(&name);
        if matches!(from, "lib" | "main") || name.ends_with("tests.rs") {
            continue;
        }
        let Some(own) = row(from) else { panic!("src/{name}: `{from}` has no row in this test and in ARCHITECTURE.md") };
        let code = shipped(&code);
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + 7..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').map(|n| n.trim().split("::").next().unwrap()).collect(),
                None => vec![rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()],
            };
            for to in names {
                let Some(theirs) = row(to) else { continue };
                let fine = to == from || theirs < own || (theirs == own && ROWS[own].1) || EXCEPTIONS.contains(&(from, to));
                if !fine {
                    wrong.insert(format!("src/{name}: `{from}` imports `{to}`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_outside_world_is_touched_in_one_place() {
    let mut wrong: Vec<String> = Vec::new();
    let mut only = |word: &str, allowed: &dyn Fn(&str) -> bool| {
        for (name, code) in sources() {
            if !name.ends_with("tests.rs") && shipped(&code).contains(word) && !allowed(&name) {
                wrong.push(format!("src/{name} uses `{word}`"));
            }
        }
    };
    let cli = |name: &str| module(name) == "cli";
    for word in ["use clap", "clap::", "anyhow::", "println!", "std::env::var", "env::args"] {
        only(word, &cli);
    }
    let runtime = |name: &str| ["upscale/session.rs", "upscale/device.rs", "upscale/runtime.rs"].contains(&name);
    only("use ort", &runtime);
    only(" ort::", &runtime);
    only("wgpu::", &|name| module(name) == "gpu");
    only("fast_image_resize", &|name| name == "resample.rs");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn long_files_say_why() {
    let mut wrong: Vec<String> = Vec::new();
    for (name, _) in sources() {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(&name)).unwrap();
        let lines = text.lines().count();
        let header: String = text.lines().take_while(|l| l.starts_with("//!")).collect::<Vec<_>>().join(" ");
        if lines > 500 && !header.contains("500 lines") {
            wrong.push(format!("src/{name} has {lines} lines; its header must say why (\"Over 500 lines because ...\")"));
        }
        let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        if ["utils", "util", "helpers", "manager", "common", "misc"].contains(&stem) {
            wrong.push(format!("src/{name}: a name that says nothing"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
