#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(init: checks::ours_alone(), |data: &[u8]| checks::metadata(data));
