//! What every operation and every built-in look makes of one small picture, beside what it made when somebody last looked.
//!
//! After a change that is meant: `BLESS=1 cargo test --test grade_golden`, look at the pictures in `tests/golden/`, and tell of it in
//! CHANGELOG.md under "Pixels".

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test file

use std::path::{Path, PathBuf};

use lastmile::Band;
use lastmile::band::Stage;
use lastmile::codec::{self, Encoding, Format, Limits, Metadata};
use lastmile::grade::builtin::LOOKS;
use lastmile::grade::lut::Lut;
use lastmile::grade::op::Op;
use lastmile::grade::spatial::Frame;
use lastmile::grade::stage::Grade;
use lastmile::grade::{Grading, Look};
use lastmile::image::Channels;
use lastmile::lane::Lut3d;

const WIDTH: usize = 72;
const HEIGHT: usize = 48;

/// Each operation as it may be used; `T` is a folder with a LUT.
const OPERATIONS: [(&str, &str); 21] = [
    ("exposure", "stops = 0.7"),
    ("white_balance", "kelvin = 4800\ntint = 10"),
    ("contrast", "amount = 1.4\npivot = 0.45"),
    ("cdl", "slope = [1.1, 1, 0.9]\noffset = [0.02, 0, -0.02]\npower = [0.9, 1, 1.1]\nsaturation = 1.2"),
    ("lift_gamma_gain", "lift = [0.03, 0, -0.02]\ngamma = [1.1, 1, 0.95]\ngain = [0.95, 1, 1.05]"),
    ("curves", "rgb = [[0, 0.03], [0.3, 0.24], [0.7, 0.78], [1, 0.98]]\nblue = [[0, 0.04], [1, 0.94]]"),
    ("levels", "black = 0.05\nwhite = 0.92\ngamma = 1.1"),
    ("saturation", "amount = 1.4"),
    ("vibrance", "amount = 0.6\nprotect_skin = 0.8"),
    ("hsl", "red = [10, 0.8, 0]\norange = [0, 1.1, 0.02]\ngreen = [-20, 0.7, 0]\nblue = [15, 1.2, -0.03]"),
    ("split_tone", "shadow_hue = 220\nshadow_amount = 0.03\nhighlight_hue = 70\nhighlight_amount = 0.03"),
    ("channel_mixer", "red = [0.9, 0.1, 0]\nblue = [0, 0.15, 0.85]"),
    ("black_and_white", "red = 0.4\ngreen = 0.5\nblue = 0.1"),
    ("highlight_rolloff", "start = 0.6\nwhite = 1.6"),
    ("gamut_compression", "limit = 1.5\nthreshold = 0.5"),
    ("lut", "file = \"golden.cube\""),
    ("sharpen", "amount = 1.2\nradius_px = 1.2"),
    ("clarity", "amount = 0.5\nradius = 0.02"),
    ("deband", "codes = 4\nradius = 0.03"),
    ("grain", "amount = 0.04"),
    ("vignette", "stops = 0.8"),
];

/// From above: sky, skin from dark to light, all hues at three strengths with neon at the right, greys, and lettering on a ground.
fn picture() -> Band {
    const SKIN: [u32; 8] = [0x292420, 0x3a312a, 0x604134, 0x825c43, 0xa07e56, 0xd7bd96, 0xeadaba, 0xf6ede4];
    const NEON: [[f32; 3]; 4] = [[1.0, 0.0, 0.55], [0.1, 1.0, 0.2], [0.0, 0.6, 1.0], [1.0, 0.95, 0.0]];
    let mut band = Band::new(0, WIDTH, HEIGHT, 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (u, v) = (x as f32 / (WIDTH - 1) as f32, y as f32 / (HEIGHT - 1) as f32);
            let c = match y {
                0..12 => [0.35 + 0.4 * v * 2.0 + 0.1 * u, 0.55 + 0.3 * v * 2.0 + 0.05 * u, 0.85 + 0.1 * v],
                12..20 => [16, 8, 0].map(|s| (SKIN[x * SKIN.len() / WIDTH] >> s & 255) as f32 / 255.0),
                20..32 if x >= 60 => NEON[(y - 20) / 3],
                20..32 => {
                    let strength = [0.9, 0.5, 0.2][(y - 20) / 4];
                    let hue = x as f32 / 60.0 * std::f32::consts::TAU;
                    [0.0, 2.094, 4.189].map(|k| 0.5 + 0.5 * strength * (hue - k).cos())
                }
                32..38 => [u; 3],
                // Strokes two pixels wide and apart, dark on light, then light on dark.
                _ => {
                    let stroke = (x / 2 + y / 4) % 2 == 0 && y % 4 != 3;
                    let dark = x < WIDTH / 2;
                    [if stroke == dark { 0.08 } else { 0.9 }; 3]
                }
            };
            (0..3).for_each(|k| band.row_mut(k, y)[x] = (c[k] * 255.0).round() / 255.0);
        }
    }
    band
}

/// The picture through a look, as codes.
fn graded(look: Look) -> Vec<u8> {
    let given = picture();
    let grading = Grading::new(&[look], 1.0).unwrap().unwrap();
    let frame = Frame { width: WIDTH, height: HEIGHT, bits: 8, seed: 5 };
    let mut stage = Grade::new(&grading, None, 3, false, frame).unwrap();
    let mut out = vec![0u8; WIDTH * HEIGHT * 3];
    let mut sink = |b: Band| {
        for (c, y, x) in (0..3).flat_map(|c| (0..b.rows).flat_map(move |y| (0..WIDTH).map(move |x| (c, y, x)))) {
            out[((b.y + y) * WIDTH + x) * 3 + c] = (b.row(c, y)[x].clamp(0.0, 1.0) * 255.0).round() as u8;
        }
        Ok(())
    };
    stage.push(given, &mut sink).unwrap();
    stage.finish(&mut sink).unwrap();
    out
}

fn write(path: &Path, codes: &[u8]) {
    let mut band = Band::new(0, WIDTH, HEIGHT, 3);
    for (i, v) in codes.iter().enumerate() {
        band.plane_mut(i % 3)[i / 3] = f32::from(*v) / 255.0;
    }
    let how = Encoding { format: Format::Png, ..Encoding::default() };
    let mut encoder = codec::encoder(path, &how, WIDTH, HEIGHT, Channels::Rgb, &Metadata::default()).unwrap();
    encoder.write(&band).unwrap();
    encoder.finish().unwrap();
}

fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}; BLESS=1 cargo test --test grade_golden", path.display()));
    let image = codec::decode(path, &bytes, &Limits::default()).unwrap();
    let band = image.band(0, image.height, 0..3);
    (0..3 * band.width * band.rows).map(|i| (band.plane(i % 3)[i / 3] * 255.0).round() as u8).collect()
}

/// Within one code of what is kept, everywhere.
fn check(name: &str, look: Look) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("png");
    let got = graded(look);
    if std::env::var_os("BLESS").is_some() {
        write(&path, &got);
    }
    let kept = read(&path);
    assert_eq!(kept.len(), got.len(), "{name}");
    let off: Vec<usize> = (0..got.len()).filter(|i| got[*i].abs_diff(kept[*i]) > 1).collect();
    if let Some(i) = off.first() {
        let (x, y) = (i / 3 % WIDTH, i / 3 / WIDTH);
        let tell = "if that is meant: BLESS=1 cargo test --test grade_golden";
        panic!("{name}: {} values differ, the first at {x}, {y}: {} beside {}; {tell}", off.len(), got[*i], kept[*i]);
    }
}

#[test]
fn every_operation_makes_what_it_made() {
    let folder = tempfile::tempdir().unwrap();
    let cube = Lut3d::from_fn(17, |[r, g, b]| [r * r * (3.0 - 2.0 * r), g * 0.9 + 0.05 * b, 0.1 + 0.8 * b.sqrt()]).unwrap();
    std::fs::write(folder.path().join("golden.cube"), Lut::from_cube("golden", cube).to_cube().unwrap()).unwrap();
    // What a filter makes, its author decides; `tests/grade_gpu.rs` tries some.
    for name in Op::NAMES.iter().filter(|n| **n != "filter") {
        assert!(OPERATIONS.iter().any(|(n, _)| n == name), "{name} has no picture here");
    }
    for (name, keys) in OPERATIONS {
        let text = format!("[[op]]\ntype = \"{name}\"\n{keys}\n");
        check(&format!("op-{}", name.replace('_', "-")), Look::parse("golden", &text, folder.path()).unwrap());
    }
}

#[test]
fn every_built_in_look_makes_what_it_made() {
    for (name, _) in LOOKS {
        check(&format!("look-{name}"), Look::find(name).unwrap());
    }
}

/// The pictures above would not tell one operation from none.
#[test]
fn every_picture_is_changed() {
    let plain: Vec<u8> = {
        let band = picture();
        (0..3 * WIDTH * HEIGHT).map(|i| (band.plane(i % 3)[i / 3] * 255.0).round() as u8).collect()
    };
    for (name, keys) in OPERATIONS.iter().filter(|(n, _)| *n != "lut") {
        let text = format!("[[op]]\ntype = \"{name}\"\n{keys}\n");
        let made = graded(Look::parse("golden", &text, Path::new("")).unwrap());
        let apart = made.iter().zip(&plain).filter(|(a, b)| a.abs_diff(**b) > 1).count();
        assert!(apart > 20, "{name} changes {apart} values");
    }
}
