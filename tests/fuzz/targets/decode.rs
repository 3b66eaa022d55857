//! Any bytes as a picture: the header, what the file says, and its pixels.
#![no_main]

use std::path::Path;

use lastmile::codec::{self, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { max_pixels: 1 << 20, first_frame: true };
    let path = Path::new("picture");
    let examined = codec::examine(path, data, &limits);
    let header = codec::header(path, data, &limits);
    if let Ok(image) = codec::decode(path, data, &limits) {
        let header = header.expect("what can be decoded has a header");
        assert_eq!((image.width, image.height), header.upright());
        assert_eq!(image.bits(), header.bits);
        assert!(examined.is_ok());
    }
});
