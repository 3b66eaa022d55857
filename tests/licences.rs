//! Every crate that ends up in the program may be used in a program under MIT OR Apache-2.0. `deny.toml` says the same to
//! cargo-deny.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::collections::{HashMap, HashSet};
use std::process::Command;

/// Licences that ask for no more than a notice.
const ALLOWED: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "IJG",
    "ISC",
    "MIT",
    "NCSA", // of a crate that only fuzz builds of the AVIF encoder link
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an SPDX expression can be met with [`ALLOWED`]; AND binds closer than OR, as SPDX 2.3 annex D.4.5 has it.
fn allowed(expression: &str) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "~WITH~");
    let words: Vec<String> = text.split_whitespace().map(|w| w.replace("~WITH~", " WITH ")).collect();
    let mut at = 0;
    let met = any(&words, &mut at);
    assert_eq!(at, words.len(), "not an SPDX expression: {expression}");
    met
}

fn any(words: &[String], at: &mut usize) -> bool {
    let mut met = all(words, at);
    while words.get(*at).is_some_and(|w| w == "OR") {
        *at += 1;
        met |= all(words, at);
    }
    met
}

fn all(words: &[String], at: &mut usize) -> bool {
    let mut met = one(words, at);
    while words.get(*at).is_some_and(|w| w == "AND") {
        *at += 1;
        met &= one(words, at);
    }
    met
}

fn one(words: &[String], at: &mut usize) -> bool {
    *at += 1;
    match words.get(*at - 1).map(String::as_str) {
        Some("(") => {
            let met = any(words, at);
            assert_eq!(words[*at], ")");
            *at += 1;
            met
        }
        Some(name) => ALLOWED.contains(&name),
        None => panic!("not an SPDX expression: {words:?}"),
    }
}

#[test]
fn expressions_are_understood() {
    assert!(allowed("MIT OR GPL-3.0-only") && allowed("(MIT OR Apache-2.0) AND IJG") && allowed("MIT/Apache-2.0"));
    assert!(allowed("Apache-2.0 WITH LLVM-exception OR LGPL-2.1"));
    assert!(!allowed("GPL-3.0-only") && !allowed("MIT AND GPL-2.0") && !allowed("(MIT OR ISC) AND MPL-2.0"));
}

#[test]
fn every_dependency_may_be_used() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--all-features", "--locked"];
    let output = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages: HashMap<&str, &serde_json::Value> =
        found["packages"].as_array().unwrap().iter().map(|p| (p["id"].as_str().unwrap(), p)).collect();
    let nodes: HashMap<&str, &serde_json::Value> =
        found["resolve"]["nodes"].as_array().unwrap().iter().map(|n| (n["id"].as_str().unwrap(), n)).collect();
    let root = found["resolve"]["root"].as_str().unwrap();
    // Everything but what only tests use.
    let (mut seen, mut open) = (HashSet::new(), vec![root]);
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dependency in nodes[id]["deps"].as_array().unwrap() {
            let shipped = |k: &serde_json::Value| k["kind"].as_str() != Some("dev");
            if dependency["dep_kinds"].as_array().unwrap().iter().any(shipped) {
                open.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    assert!(seen.len() > 50);
    let name =
        |id: &str| format!("{} {}", packages[id]["name"].as_str().unwrap(), packages[id]["license"].as_str().unwrap_or("no licence"));
    let refused: Vec<String> =
        seen.iter().filter(|id| !packages[*id]["license"].as_str().is_some_and(allowed)).map(|id| name(id)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
