//! Any bytes as a pickle, and every value of what comes out looked at.
#![no_main]

use lastmile::upscale::import::pickle::Pickle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(pickle) = Pickle::parse(data) {
        let root = pickle.root();
        let _ = (format!("{:?}", pickle.get(root)), pickle.text(root));
    }
});
