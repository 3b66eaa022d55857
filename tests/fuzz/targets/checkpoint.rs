//! Any bytes as a checkpoint: zip or safetensors, through detection and building. Seeds: tests/fixtures/import.
#![no_main]

use std::io::Cursor;

use lastmile::upscale::import::{Options, import_from};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = import_from(Box::new(Cursor::new(data.to_vec())), &Options::default());
});
