//! The fuzz corpora and what fuzzing once found, through the checks that the fuzz targets make (tests/fuzz/README.md).

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "fuzz/checks.rs"]
mod checks;

use std::path::Path;

/// Runs every file of the target's folders; a panic tells which.
fn all(target: &str, check: fn(&[u8])) {
    let mut n = 0;
    for kind in ["corpus", "regressions"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(kind).join(target);
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            if let Err(what) = std::panic::catch_unwind(|| check(&bytes)) {
                panic!("{}: {:?}", path.display(), what.downcast_ref::<String>());
            }
            n += 1;
        }
    }
    assert!(n > 0, "no files for {target}");
}

#[test]
fn pictures() {
    all("decode", checks::decode);
}

#[test]
fn metadata_of_pictures() {
    all("metadata", checks::metadata);
}

#[test]
fn recipes() {
    all("recipe", checks::recipe);
}

#[test]
fn journals() {
    all("journal", checks::journal);
}
