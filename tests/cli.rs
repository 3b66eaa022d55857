//! Transcripts of the command line: every `tests/cli/*.trycmd` is run and compared. `TRYCMD=overwrite cargo test --test cli`
//! writes them anew.

#[test]
fn transcripts() {
    trycmd::TestCases::new()
        .env("LASTMILE_HOME", "home")
        .env("LASTMILE_OFFLINE", "1")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case("tests/cli/*.trycmd");
}
