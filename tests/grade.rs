//! `lastmile grade` and `lastmile looks` as people use them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)] // a test file

mod program;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use lastmile::Band;
use lastmile::codec::{self, Encoding, Format, Limits, Metadata};
use lastmile::grade::builtin::LOOKS;
use lastmile::grade::lut::Lut;
use lastmile::grade::{Look, Program};
use lastmile::image::{Channels, Image, Samples};
use program::{fails, text};

fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LASTMILE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let dir = root.join(folder);
    if !dir.is_dir() {
        println!("skipped: {} is not there", dir.display());
        return None;
    }
    Some(dir)
}

/// Runs in `dir` with an empty home and no network: there is nothing that could be loaded.
fn lastmile(dir: &Path, line: &str) -> Command {
    let mut command = program::lastmile(dir, &dir.join("home"));
    command.env("LASTMILE_OFFLINE", "1").args(line.split_whitespace());
    command
}

fn done(dir: &Path, line: &str) -> String {
    let output = lastmile(dir, line).output().unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success(), "{line}\n{out}{err}");
    out + &err
}

fn write(
    path: &Path,
    bits: u8,
    channels: Channels,
    metadata: &Metadata,
    width: usize,
    height: usize,
    f: impl Fn(usize, usize, usize) -> f32,
) {
    let encoding = Encoding { format: Format::Png, bits, ..Encoding::default() };
    let mut band = Band::new(0, width, height, channels.count());
    for c in 0..channels.count() {
        for y in 0..height {
            for x in 0..width {
                band.row_mut(c, y)[x] = f(c, x, y);
            }
        }
    }
    let mut encoder = codec::encoder(path, &encoding, width, height, channels, metadata).unwrap();
    encoder.write(&band).unwrap();
    encoder.finish().unwrap();
}

fn open(path: &Path) -> Image {
    codec::decode(path, &std::fs::read(path).unwrap(), &Limits::default()).unwrap()
}

/// Every eighth colour in 64 x 64.
fn colours(path: &Path) {
    write(path, 8, Channels::Rgb, &Metadata::default(), 64, 64, |c, x, y| {
        let i = y * 64 + x;
        [i % 16, i / 16 % 16, i / 256][c] as f32 / 15.0
    });
}

#[test]
fn tables_do_what_they_say() {
    let Some(luts) = shared("luts") else { return };
    let dir = tempfile::tempdir().unwrap();
    colours(&dir.path().join("a.png"));
    let given = open(&dir.path().join("a.png"));
    let Samples::U8(before) = &given.samples else { panic!("8 bits") };
    for (file, expected) in [("identity_33.cube", [0, 1, 2]), ("channel_rotate_17.cube", [2, 0, 1]), ("odd_domain_m05_15.cube", [0, 1, 2])]
    {
        done(dir.path(), &format!("grade a.png -o {file}.png --lut {}", luts.join(file).display()));
        let graded = open(&dir.path().join(format!("{file}.png")));
        let Samples::U8(after) = &graded.samples else { panic!("8 bits") };
        for (a, b) in before.chunks_exact(3).zip(after.chunks_exact(3)) {
            assert_eq!(expected.map(|k| a[k]), *b, "{file}");
        }
    }
    // Every other table as its own formula has it, rounded.
    for entry in std::fs::read_dir(&luts).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".cube") {
            continue;
        }
        if name.starts_with("bad_") {
            fails(&mut lastmile(dir.path(), &format!("grade a.png -o bad.png --lut {}", path.display())), 2, &[&name, "try: "]);
            assert!(!dir.path().join("bad.png").exists());
            continue;
        }
        done(dir.path(), &format!("grade a.png -o out.png --overwrite --dither off --lut {}", path.display()));
        let lut = Lut::read(&path).unwrap();
        let Samples::U8(after) = open(&dir.path().join("out.png")).samples else { panic!("8 bits") };
        for (a, b) in before.chunks_exact(3).zip(after.chunks_exact(3)) {
            let want = lut.eval([0, 1, 2].map(|k| f32::from(a[k]) / 255.0)).map(|v| (v * 255.0).round().clamp(0.0, 255.0) as i32);
            assert!((0..3).all(|k| (want[k] - i32::from(b[k])).abs() <= 1), "{name}: {a:?} became {b:?}, not {want:?}");
        }
    }
}

#[test]
fn sixteen_bits_profile_and_alpha_stay() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n);
    write(&at("ramp.png"), 16, Channels::Rgba, &Metadata::default(), 8192, 2, |c, x, _| {
        if c == 3 { 1.0 - x as f32 / 16_384.0 } else { x as f32 / 8191.0 }
    });
    done(dir.path(), "grade ramp.png -o out.png --look warm-film");
    let out = open(&at("out.png"));
    let Samples::U16(v) = &out.samples else { panic!("16 bits") };
    assert_eq!(out.channels, Channels::Rgba);
    assert!(v.iter().step_by(4).collect::<HashSet<_>>().len() > 4096);
    let Samples::U16(before) = open(&at("ramp.png")).samples else { panic!("16 bits") };
    assert!(v.iter().zip(&before).skip(3).step_by(4).all(|(a, b)| a == b), "alpha");

    // A picture in Display P3 keeps its profile.
    let street = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/street.png");
    done(dir.path(), &format!("grade {} -o street.png --look clean", street.display()));
    let (given, graded) = (open(&street), open(&at("street.png")));
    assert!(given.metadata.icc.is_some() && given.metadata.icc == graded.metadata.icc);
    assert_ne!(given.samples, graded.samples);
    assert!(graded.metadata.text.len() >= given.metadata.text.len(), "metadata comes along");
}

#[test]
fn grey_becomes_colour_only_where_the_look_has_one() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("g.png"), 8, Channels::Grey, &Metadata::default(), 16, 4, |_, x, _| x as f32 / 15.0);
    done(dir.path(), "grade g.png -o clean.png --look clean");
    done(dir.path(), "grade g.png -o teal.png --look teal-amber");
    assert_eq!(open(&dir.path().join("clean.png")).channels, Channels::Grey);
    assert_eq!(open(&dir.path().join("teal.png")).channels, Channels::Rgb);
}

#[test]
fn a_folder_is_resumed_and_made_again_when_the_look_changes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("in/deep")).unwrap();
    colours(&dir.path().join("in/a.png"));
    colours(&dir.path().join("in/deep/b.png"));
    std::fs::write(dir.path().join("mine.toml"), "[[op]]\ntype = \"exposure\"\nstops = -0.5\n").unwrap();
    let said = done(dir.path(), "grade in -o out --look mine.toml");
    assert!(dir.path().join("out/deep/b.png").is_file(), "{said}");
    let first = std::fs::read(dir.path().join("out/a.png")).unwrap();
    let jsonl = done(dir.path(), "grade in -o out --look mine.toml --json -");
    assert!(jsonl.contains("\"skipped\":2") && jsonl.contains("\"done\":0"), "{jsonl}");
    let jsonl = done(dir.path(), "grade in -o out --look mine.toml --strength 0.5 --json -");
    assert!(jsonl.contains("\"done\":2"), "{jsonl}");
    assert_ne!(first, std::fs::read(dir.path().join("out/a.png")).unwrap());
    // Strength 0 gives back the very file.
    done(dir.path(), "grade in -o same --look mine.toml --strength 0");
    assert_eq!(std::fs::read(dir.path().join("in/a.png")).unwrap(), std::fs::read(dir.path().join("same/a.png")).unwrap());
    // Nothing was installed, loaded or even looked for.
    assert!(!dir.path().join("home").exists());
}

#[test]
fn several_sources_are_applied_in_their_order_and_upscale_takes_them_too() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n);
    colours(&at("a.png"));
    std::fs::write(at("half.cc"), "<ColorCorrection><SOPNode><Slope>0.5 0.5 0.5</Slope></SOPNode></ColorCorrection>").unwrap();
    std::fs::write(at("lift.toml"), "[[op]]\ntype = \"cdl\"\noffset = 0.25\n").unwrap();
    let pixel = |name: &str| {
        let Samples::U8(v) = open(&at(name)).samples else { panic!("8 bits") };
        v[v.len() - 1]
    };
    done(dir.path(), "grade a.png -o first.png --cdl half.cc --look lift.toml --dither off");
    done(dir.path(), "grade a.png -o then.png --look lift.toml --cdl half.cc --dither off");
    assert_eq!((pixel("first.png"), pixel("then.png")), (191, 159));
    done(dir.path(), "upscale a.png -o large.png --model none --scale 2 --cdl half.cc --dither off");
    assert_eq!((open(&at("large.png")).width, pixel("large.png")), (128, 128));
    std::fs::write(
        at("x.recipe.toml"),
        "[upscale]\nmodel = \"none\"\nscale = 1\n[look]\nlook = \"lift.toml\"\ncdl = \"half.cc\"\n[output]\ndither = false\n",
    )
    .unwrap();
    done(dir.path(), "run x.recipe.toml a.png -o run.png");
    assert_eq!(pixel("run.png"), 191, "the correction comes before the look");
}

#[test]
fn what_cannot_be_done_is_said() {
    let dir = tempfile::tempdir().unwrap();
    colours(&dir.path().join("a.png"));
    std::fs::write(dir.path().join("bad.toml"), "[[op]]\ntype = \"exposure\"\nstop = 1\n").unwrap();
    for (line, words) in [
        ("grade a.png -o o.png", &["nothing says how", "--look"][..]),
        ("grade a.png -o o.png --look claen", &["\"claen\" is neither built in nor a file", "\"clean\""]),
        ("grade a.png -o o.png --look bad.toml", &["bad.toml, line 3: `stop` is no key of \"exposure\"", "`stops`"]),
        ("grade a.png -o o.png --lut none.cube", &["none.cube"]),
        ("looks check bad.toml clean", &["bad.toml, line 3"]),
        ("looks ops expsure", &["exposure"]),
    ] {
        fails(&mut lastmile(dir.path(), line), 2, words);
        assert!(!dir.path().join("o.png").exists());
    }
}

#[test]
fn looks_are_listed_shown_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let listed = done(dir.path(), "looks list");
    for (name, _) in LOOKS {
        assert!(listed.contains(name));
        std::fs::write(dir.path().join("shown.toml"), done(dir.path(), &format!("looks show {name}"))).unwrap();
        assert_eq!(Look::read(&dir.path().join("shown.toml")).unwrap().steps, Look::find(name).unwrap().steps);
        done(dir.path(), &format!("looks export {name} --cube 65 -o {name}.cube"));
        let (cube, program) =
            (Lut::read(&dir.path().join(format!("{name}.cube"))).unwrap(), Program::new(&[Look::find(name).unwrap()], 1.0).unwrap());
        let mut off: Vec<f32> = (0..20_000u32)
            .map(|i| {
                let c = [0, 10, 20].map(|s| (i.wrapping_mul(2_654_435_761) >> s & 0xff) as f32 / 255.0);
                let (a, b) = (program.colour(c), cube.eval(c));
                (0..3).map(|k| (a[k].clamp(0.0, 1.0) - b[k].clamp(0.0, 1.0)).abs() * 255.0).fold(0.0, f32::max)
            })
            .collect();
        off.sort_by(f32::total_cmp);
        assert!(off[off.len() * 999 / 1000] <= 1.0, "{name}: {}", off[off.len() * 999 / 1000]);
    }
    std::fs::write(dir.path().join("c.toml"), "[[op]]\ntype = \"cdl\"\nslope = [1.1, 1, 0.9]\nsaturation = 0.8\n").unwrap();
    done(dir.path(), "looks export c.toml --cdl -o c.cc");
    assert!(std::fs::read_to_string(dir.path().join("c.cc")).unwrap().contains("<Saturation>0.8"));
    fails(&mut lastmile(dir.path(), "looks export teal-amber --cdl -o t.cc"), 2, &["a CDL cannot say it", "dE2000", "--cube"]);
    fails(&mut lastmile(dir.path(), "looks export clean --cdl -o c.cc"), 2, &["exists already", "--overwrite"]);
    assert!(done(dir.path(), "looks ops").contains("exposure: More or less light."));
}

/// What an art director would send back at once: new clipping, greys out of order, black or white that are gone.
#[test]
fn built_in_looks_behave() {
    for (name, _) in LOOKS {
        let program = Program::new(&[Look::find(name).unwrap()], 1.0).unwrap();
        let ramp: Vec<[f32; 3]> = (0..=4095).map(|i| program.colour([i as f32 / 4095.0; 3])).collect();
        let luma = |c: &[f32; 3]| 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
        assert!(ramp.windows(2).all(|w| luma(&w[1]) > luma(&w[0]) - 1e-6), "{name}: greys out of order");
        assert!(luma(&ramp[0]) < 0.08 && luma(&ramp[4095]) > 0.94, "{name}: {:?} {:?}", ramp[0], ramp[4095]);
        for c in 0..3 {
            let clipped = ramp.iter().filter(|v| !(-0.5 / 255.0..=1.0 + 0.5 / 255.0).contains(&v[c])).count();
            assert!(clipped <= 4, "{name}: {clipped} greys of 4096 are clipped in channel {c}");
        }
        // Skin keeps its hue to within what the light of the look explains.
        for skin in [[0.94, 0.80, 0.72], [0.78, 0.58, 0.46], [0.55, 0.37, 0.27], [0.29, 0.19, 0.14]] {
            let [r, g, b] = program.colour(skin);
            assert!(name == "silver-print" || (r > g && g > b), "{name}: skin {skin:?} became {:?}", [r, g, b]);
        }
    }
}
