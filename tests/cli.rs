//! Transcripts of the command line: every `tests/cli/**/*.trycmd` is run and compared. `TRYCMD=overwrite cargo test --test cli`
//! writes them anew.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "onnx")]
mod program;

/// Without Python in reach unless a case says otherwise: what is installed there differs between machines.
fn cases() -> trycmd::TestCases {
    let cases = trycmd::TestCases::new();
    cases
        .env("LASTMILE_HOME", "home")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env("PATH", "")
        .env("VIRTUAL_ENV", "")
        .env("ORT_DYLIB_PATH", "");
    cases
}

#[test]
fn transcripts() {
    cases().env("LASTMILE_OFFLINE", "1").case("tests/cli/*.trycmd");
}

#[cfg(feature = "onnx")]
#[test]
fn without_pip() {
    cases().case("tests/cli/no-pip/*.trycmd");
}

#[cfg(feature = "onnx")]
#[test]
fn with_a_home_that_cannot_be_written() {
    cases().case("tests/cli/bad-home/*.trycmd");
}

#[cfg(feature = "onnx")]
#[test]
fn with_the_runtime() {
    let Some(home) = program::home() else { return };
    let Some(home) = home.to_str() else { return };
    cases().env("LASTMILE_HOME", home).env("LASTMILE_OFFLINE", "1").case("tests/cli/real/*.trycmd");
}
