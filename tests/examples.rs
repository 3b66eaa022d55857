//! The pictures in `examples/` are what README says of them.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::collections::HashSet;
use std::path::Path;

use lastmile::codec::{self, Limits};
use lastmile::color::Profile;
use lastmile::image::{Channels, Image, Samples};

fn open(name: &str) -> Image {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    codec::decode(&path, &std::fs::read(&path).unwrap(), &Limits::default()).unwrap()
}

#[test]
fn each_has_its_subject() {
    let sky = open("sky.png");
    let Samples::U16(v) = &sky.samples else { panic!("the sky has 16 bits") };
    assert!(v.iter().collect::<HashSet<_>>().len() > 4096);

    let logo = open("logo.png");
    let Samples::U8(v) = &logo.samples else { panic!("the logo has 8 bits") };
    assert_eq!(logo.channels, Channels::Rgba);
    let alpha: HashSet<u8> = v.iter().skip(3).step_by(4).copied().collect();
    assert!(alpha.contains(&0) && alpha.contains(&255) && alpha.iter().any(|a| (100..130).contains(a)));

    assert_eq!(open("drawing.png").channels, Channels::Grey);
    assert_eq!(open("table.png").channels, Channels::Rgb);
    assert_eq!((open("study.jpg").width, open("study.jpg").height), (288, 360));

    let street = open("street.png");
    let keywords: Vec<&str> = street.metadata.text.iter().map(|t| t.keyword.as_str()).collect();
    assert_eq!(keywords, ["parameters", "prompt", "workflow"]);
    let profile = Profile::from_icc(street.metadata.icc.as_deref().unwrap()).unwrap();
    assert!(profile.name().contains("P3"), "{}", profile.name());
}
