//! Puts details of `examples/`, enlarged by a bicubic filter (left) and by lastmile (right), side by side into `docs/crops/`:
//! `cargo run --release -- upscale examples/ -o out/`, then `cargo run --release --example crops`.

// An example may stop where a library must not.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;

use lastmile::Band;
use lastmile::codec::{self, Encoding, Format, Limits, Metadata};
use lastmile::image::{Channels, Image};
use lastmile::resample::{Filter, Scaler};

/// Left, top, width and height of a detail, in source pixels.
const DETAILS: [(&str, [usize; 4]); 4] = [
    ("table.png", [28, 52, 100, 76]),
    ("street.png", [120, 96, 100, 76]),
    ("study.jpg", [112, 60, 100, 76]),
    ("drawing.png", [190, 66, 100, 76]),
];
/// White columns between the two.
const GAP: usize = 8;

fn open(path: &Path) -> Image {
    codec::decode(path, &std::fs::read(path).unwrap(), &Limits::default()).unwrap()
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(root.join("docs/crops")).unwrap();
    for (name, [x, y, w, h]) in DETAILS {
        let (source, ours) = (open(&root.join("examples").join(name)), open(&root.join("out").join(name)));
        let s = ours.width / source.width;
        let scaler = Scaler::new(source.width, source.height, ours.width, ours.height, Filter::CatmullRom, None).unwrap();
        let bicubic = scaler.rows(&source.colour(0, source.height), 0..ours.height).unwrap();
        let ours = ours.colour(0, ours.height);
        let mut out = Band::new(0, 2 * w * s + GAP, h * s, ours.channels);
        out.data.fill(1.0);
        for c in 0..ours.channels {
            for r in 0..h * s {
                let row = out.row_mut(c, r);
                row[..w * s].copy_from_slice(&bicubic.row(c, y * s + r)[x * s..(x + w) * s]);
                row[w * s + GAP..].copy_from_slice(&ours.row(c, y * s + r)[x * s..(x + w) * s]);
            }
        }
        let path = root.join("docs/crops").join(Path::new(name).with_extension("jpg"));
        let how = Encoding { format: Format::Jpeg, quality: 90, lossless: false, bits: 8, ..Encoding::default() };
        let mut encoder =
            codec::encoder(&path, &how, out.width, out.rows, Channels::of(out.channels, false), &Metadata::default()).unwrap();
        encoder.write(&out).unwrap();
        println!("{} {} bytes", path.display(), encoder.finish().unwrap());
    }
}
