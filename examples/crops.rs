//! Puts details of `examples/`, enlarged by a bicubic filter (left) and by lastmile (right), side by side into `docs/crops/`:
//! `cargo run --release -- upscale examples/ -o out/`, then `cargo run --release --example crops`. Then the sheet of the built-in looks,
//! for which `out/` is not needed.

// An example may stop where a library must not.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;

use lastmile::Band;
use lastmile::band::Stage;
use lastmile::codec::{self, Encoding, Format, Limits, Metadata};
use lastmile::grade::builtin::LOOKS;
use lastmile::grade::spatial::Frame;
use lastmile::grade::stage::Grade;
use lastmile::grade::{Grading, Look};
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

fn write(name: &str, band: &Band) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/crops").join(name);
    let how = Encoding { format: Format::Jpeg, quality: 90, lossless: false, bits: 8, ..Encoding::default() };
    let channels = Channels::of(band.channels, false);
    let mut encoder = codec::encoder(&path, &how, band.width, band.rows, channels, &Metadata::default()).unwrap();
    encoder.write(band).unwrap();
    println!("{} {} bytes", path.display(), encoder.finish().unwrap());
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(root.join("docs/crops")).unwrap();
    looks(root);
    if !root.join("out").is_dir() {
        println!("out/ is not there: the crops of enlarged pictures stay as they are");
        return;
    }
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
        write(Path::new(name).with_extension("jpg").to_str().unwrap(), &out);
    }
}

/// Columns: as it was, then every built-in look. Rows: a face, a street at night, and a chart of the ten Monk skin tones (Google,
/// 2022), greys, full colours, and a sky.
fn looks(root: &Path) {
    const WIDE: usize = 200;
    const WHITE: usize = 3;
    const MONK: [u32; 10] = [0xf6ede4, 0xf3e7db, 0xf7ead0, 0xeadaba, 0xd7bd96, 0xa07e56, 0x825c43, 0x604134, 0x3a312a, 0x292420];
    const FULL: [u32; 10] = [0xff0000, 0xff8000, 0xffff00, 0x00ff00, 0x00ffff, 0x0000ff, 0x8000ff, 0xff00ff, 0xff0080, 0x00ff80];
    let photo = |name: &str, rows: std::ops::Range<usize>| {
        let image = open(&root.join("examples").join(name));
        let high = rows.len() * WIDE / image.width;
        let scaler = Scaler::new(image.width, rows.len(), WIDE, high, Filter::Lanczos3, None).unwrap();
        let mut band = scaler.rows(&Band { y: 0, ..image.colour(rows.start, rows.end) }, 0..high).unwrap();
        band.data.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        band
    };
    let mut chart = Band::new(0, WIDE, 140, 3);
    for (y, x) in (0..chart.rows).flat_map(|y| (0..WIDE).map(move |x| (y, x))) {
        let at = x as f32 / (WIDE - 1) as f32;
        let patch = |all: [u32; 10]| [16, 8, 0].map(|s| (all[x * 10 / WIDE] >> s & 255) as f32 / 255.0);
        let c = match y {
            0..42 => patch(MONK),
            42..70 => [at; 3],
            70..98 => patch(FULL),
            _ => [0.18 + 0.6 * at, 0.42 + 0.42 * at, 0.75 + 0.18 * at],
        };
        (0..3).for_each(|k| chart.row_mut(k, y)[x] = c[k]);
    }
    let street = open(&root.join("examples/street.png"));
    let rows = [photo("study.jpg", 24..240), photo("street.png", 0..street.height), chart];
    let graded: Vec<Option<Grading>> =
        std::iter::once(None).chain(LOOKS.iter().map(|(name, _)| Grading::new(&[Look::find(name).unwrap()], 1.0).unwrap())).collect();
    let high = rows.iter().map(|b| b.rows + WHITE).sum::<usize>() - WHITE;
    let mut sheet = Band::new(0, graded.len() * (WIDE + WHITE) - WHITE, high, 3);
    sheet.data.fill(1.0);
    for (column, grading) in graded.iter().enumerate() {
        let mut top = 0;
        for picture in &rows {
            let frame = Frame { width: WIDE, height: picture.rows, bits: 8, seed: 1 };
            let mut put = |band: Band| {
                for (c, y) in (0..3).flat_map(|c| (0..band.rows).map(move |y| (c, y))) {
                    let row = &mut sheet.row_mut(c, top + band.y + y)[column * (WIDE + WHITE)..][..WIDE];
                    row.copy_from_slice(band.row(c, y));
                }
                Ok(())
            };
            match grading {
                None => put(picture.clone()).unwrap(),
                Some(g) => {
                    let mut stage = Grade::new(g, None, 3, false, frame).unwrap();
                    stage.push(picture.clone(), &mut put).unwrap();
                    stage.finish(&mut put).unwrap();
                }
            }
            top += picture.rows + WHITE;
        }
    }
    write("looks.jpg", &sheet);
}
