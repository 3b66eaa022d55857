//! Any bytes as a journal: lines that are damaged cost what they say and no more. Seeds: any run's `.lastmile/journal.jsonl`.
#![no_main]

use std::path::Path;

use lastmile::batch::journal::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(state) = State::parse(Path::new("journal.jsonl"), bytes) {
        for known in state.get("a.png") {
            assert!(known.done.is_some() || known.pending.is_some());
        }
    }
});
