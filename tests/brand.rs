//! Kits: made, checked, scored with and applied, as a user does it.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod program;

use std::path::Path;
use std::process::Command;

use lastmile::band::Band;
use lastmile::brand::score::{Profile, Score};
use lastmile::codec::{self, Encoding, Format, Limits, Metadata};
use lastmile::color::{White, delta_e_2000, srgb_to_lab};
use lastmile::grade::matching::{Collector, Statistics};
use lastmile::image::Channels;
use lastmile::resample::{Filter, Scaler};
use program::{fails, text};

/// Grey things, foliage, sky, skin and red, with soft shades; another arrangement for each `seed`.
fn picture(seed: usize, change: impl Fn([f32; 3]) -> [f32; 3]) -> Band {
    let base: [[f32; 3]; 6] =
        [[0.8, 0.8, 0.8], [0.75, 0.75, 0.75], [0.45, 0.6, 0.3], [0.5, 0.65, 0.85], [0.85, 0.65, 0.53], [0.7, 0.25, 0.2]];
    let mut band = Band::new(0, 240, 160, 3);
    for y in 0..160 {
        for x in 0..240 {
            let shade = 0.15 + 0.8 * ((y + seed * 23) % 160) as f32 / 160.0;
            let wobble = ((x * 13 + y * 7 + seed * 5) % 29) as f32 / 29.0 * 0.05 - 0.025;
            let c = base[(x / 40 + seed) % 6].map(|v| (v * shade + wobble).clamp(0.0, 1.0));
            let c = change(c);
            (0..3).for_each(|k| band.row_mut(k, y)[x] = (c[k].clamp(0.0, 1.0) * 255.0).round() / 255.0);
        }
    }
    band
}

fn plain(c: [f32; 3]) -> [f32; 3] {
    c
}

fn luma(c: [f32; 3]) -> f32 {
    0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]
}

/// What four generators do to the same scene.
const GENERATORS: [fn([f32; 3]) -> [f32; 3]; 4] = [
    |c| [c[0], c[1] * 0.95, c[2] * 0.82],
    |c| {
        let y = luma(c);
        c.map(|v| (y + (v - y) * 0.75).max(0.0).powf(1.25))
    },
    |c| [c[0] * 0.93, c[1], c[2] * 0.96].map(|v| (v - 0.5) * 1.2 + 0.5),
    |c| [c[0] + 0.02, c[1], c[2] - 0.03].map(|v| 0.05 + 0.88 * v.max(0.0).powf(0.85)),
];

fn write(path: &Path, band: &Band, format: Format, quality: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let how = Encoding { format, quality, ..Encoding::default() };
    let channels = Channels::of(3, band.channels == 4);
    let mut encoder = codec::encoder(path, &how, band.width, band.rows, channels, &Metadata::default()).unwrap();
    encoder.write(band).unwrap();
    encoder.finish().unwrap();
}

fn read(path: &Path) -> Band {
    let image = codec::decode(path, &std::fs::read(path).unwrap(), &Limits::default()).unwrap();
    image.band(0, image.height, 0..image.channels.count())
}

fn statistics(band: &Band) -> Statistics {
    let mut c = Collector::default();
    c.push(band);
    c.finish()
}

/// A disc on a clear ground.
fn logo(path: &Path, colour: [u8; 3]) {
    let mut band = Band::new(0, 120, 60, 4);
    for y in 0..60 {
        for x in 0..120 {
            (0..3).for_each(|k| band.row_mut(k, y)[x] = f32::from(colour[k]) / 255.0);
            let r = ((x as f32 - 59.5) / 2.0).hypot(y as f32 - 29.5);
            band.row_mut(3, y)[x] = (27.5 - r).clamp(0.0, 1.0);
        }
    }
    write(path, &band, Format::Png, 0);
}

fn lastmile(dir: &Path) -> Command {
    program::lastmile(dir, &dir.join("home"))
}

fn runs(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    (out, err)
}

/// References, four generators with six pictures each, and a kit with `more` at its end.
fn world(more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..4 {
        write(&dir.path().join(format!("ref/{i}.png")), &picture(i + 40, plain), Format::Png, 0);
    }
    for (g, change) in GENERATORS.iter().enumerate() {
        for i in 0..6 {
            write(&dir.path().join(format!("in/g{g}/{i}.png")), &picture(i, change), Format::Png, 0);
        }
    }
    logo(&dir.path().join("logo.png"), [208, 16, 58]);
    let kit = format!(
        "name = \"Acme\"\nreferences = [\"ref/0.png\", \"ref/1.png\", \"ref/2.png\", \"ref/3.png\"]\n\
         [[palette]]\nname = \"red\"\ncolour = \"#d0103a\"\n{more}"
    );
    std::fs::write(dir.path().join("acme.brand.toml"), kit).unwrap();
    dir
}

fn difference(a: [f32; 3], b: [f32; 3]) -> f64 {
    delta_e_2000(srgb_to_lab(a.map(f64::from), White::D65), srgb_to_lab(b.map(f64::from), White::D65))
}

fn pixel(b: &Band, i: usize) -> [f32; 3] {
    [0, 1, 2].map(|c| b.plane(c)[i])
}

/// 90th percentile of the differences between what the four made of the same pixels.
fn spread(dir: &Path) -> f64 {
    let mut all = Vec::new();
    for i in 0..6 {
        let made: Vec<Band> = (0..4).map(|g| read(&dir.join(format!("g{g}/{i}.png")))).collect();
        for p in (0..240 * 160).step_by(97) {
            for a in 0..4 {
                for b in 0..a {
                    all.push(difference(pixel(&made[a], p), pixel(&made[b], p)));
                }
            }
        }
    }
    all.sort_by(f64::total_cmp);
    all[all.len() * 9 / 10]
}

#[test]
fn four_generators_come_together() {
    let dir = world("");
    let args = ["brand", "in", "-o", "out", "--kit", "acme.brand.toml", "-q"];
    runs(lastmile(dir.path()).args(args));
    let (before, after) = (spread(&dir.path().join("in")), spread(&dir.path().join("out")));
    println!("p90 spread {before:.2} -> {after:.2}");
    assert!(after < before / 2.0, "{before} -> {after}");

    // The same command again finds everything done.
    let kept = std::fs::read(dir.path().join("out/g0/0.png")).unwrap();
    let (_, err) = runs(lastmile(dir.path()).args(&args[..6]));
    assert!(err.contains("24 files done already"), "{err}");
    assert_eq!(std::fs::read(dir.path().join("out/g0/0.png")).unwrap(), kept);

    // And the scores say so.
    let score = |folder: &str| {
        let (out, _) = runs(lastmile(dir.path()).args(["brand", "score", folder, "--kit", "acme.brand.toml", "--json", "-"]));
        let set = out.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()).find(|l| l["event"] == "set").unwrap();
        (set["score"].as_f64().unwrap(), set["consistency"].as_f64().unwrap())
    };
    let (before, after) = (score("in"), score("out"));
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
}

/// The ten tones of the Monk scale, as they are and in shade, then greys: areas of 12 x 12 pixels.
fn patches() -> Vec<[f32; 3]> {
    const MONK: [u32; 10] = [0xf6ede4, 0xf3e7db, 0xf7ead0, 0xeadaba, 0xd7bd96, 0xa07e56, 0x825c43, 0x604134, 0x3a312a, 0x292420];
    let skin = MONK.iter().map(|t| [16, 8, 0].map(|s| (t >> s & 255) as f32 / 255.0));
    let shade = skin.clone().map(|c| c.map(|v| v * 0.75));
    skin.chain(shade).chain((2..=9).map(|i| [i as f32 / 10.0; 3])).collect()
}

const SKINS: usize = 20;

fn patch_card(change: impl Fn([f32; 3]) -> [f32; 3]) -> Band {
    let all = patches();
    let mut band = Band::new(0, all.len() * 12, 12, 3);
    for (x, y) in (0..12).flat_map(|y| (0..all.len() * 12).map(move |x| (x, y))) {
        let c = change(all[x / 12]);
        (0..3).for_each(|k| band.row_mut(k, y)[x] = (c[k].clamp(0.0, 1.0) * 255.0).round() / 255.0);
    }
    band
}

/// Mean colour of each patch.
fn patch_colours(file: &Path) -> Vec<[f32; 3]> {
    let band = read(file);
    let mean = |i: usize, c: usize| (0..144).map(|p| band.row(c, p / 12)[i * 12 + p % 12]).sum::<f32>() / 144.0;
    (0..band.width / 12).map(|i| [0, 1, 2].map(|c| mean(i, c))).collect()
}

/// Grades what four generators made of the same pictures, and these pictures themselves, with one kit. Says, for each of the four,
/// how far skin and greys lie from those of the pictures themselves graded alike: means over patches, dE2000. Patches that a
/// generator clips are left out: what they were is not in its pictures.
fn casts_left(pictures: &[Band], references: &[Band]) -> Vec<(f64, f64)> {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    for (i, reference) in references.iter().enumerate() {
        write(&d.join(format!("ref/{i}.png")), reference, Format::Png, 0);
    }
    let all: [fn([f32; 3]) -> [f32; 3]; 5] = [plain, GENERATORS[0], GENERATORS[1], GENERATORS[2], GENERATORS[3]];
    for (g, change) in all.iter().enumerate() {
        for (i, given) in pictures.iter().enumerate() {
            let mut band = given.clone();
            for p in 0..band.width * band.rows {
                let c = change(pixel(given, p));
                (0..3).for_each(|k| band.plane_mut(k)[p] = (c[k].clamp(0.0, 1.0) * 255.0).round() / 255.0);
            }
            write(&d.join(format!("in/g{g}/{i}.png")), &band, Format::Png, 0);
        }
        write(&d.join(format!("in/g{g}/patches.png")), &patch_card(change), Format::Png, 0);
    }
    let names: Vec<String> = (0..references.len()).map(|i| format!("\"ref/{i}.png\"")).collect();
    std::fs::write(d.join("acme.brand.toml"), format!("name = \"Acme\"\nreferences = [{}]\n", names.join(", "))).unwrap();
    runs(lastmile(d).args(["brand", "in", "-o", "out", "--kit", "acme.brand.toml", "-q"]));
    let made: Vec<Vec<[f32; 3]>> = (0..5).map(|g| patch_colours(&d.join(format!("out/g{g}/patches.png")))).collect();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let kept = |change: &dyn Fn([f32; 3]) -> [f32; 3], c: [f32; 3]| change(c).iter().all(|v| (0.0..=1.0).contains(v));
    let apart = |g: usize, range: std::ops::Range<usize>| {
        let all = patches();
        let inside = range.filter(|i| kept(&GENERATORS[g], all[*i]));
        mean(&inside.map(|i| difference(made[g + 1][i], made[0][i])).collect::<Vec<_>>())
    };
    (0..4).map(|g| (apart(g, 0..SKINS), apart(g, SKINS..patches().len()))).collect()
}

#[test]
fn skin_and_greys_lose_their_cast() {
    let pictures: Vec<Band> = (0..6).map(|i| picture(i, plain)).collect();
    let references: Vec<Band> = (40..44).map(|i| picture(i, plain)).collect();
    for (g, (skin, grey)) in casts_left(&pictures, &references).into_iter().enumerate() {
        println!("generator {g}: skin {skin:.2}, greys {grey:.2} dE2000");
        assert!(skin < 2.0 && grey < 1.5, "{g}: {skin} {grey}");
    }
}

/// The same with photographs, which lie beside the checkout or nowhere.
#[test]
fn skin_and_greys_lose_their_cast_in_photographs() {
    let shared = std::env::var_os("LASTMILE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), Into::into);
    let Ok(folder) = std::fs::read_dir(shared.join("images/train")) else {
        println!("skipped: there are no photographs");
        return;
    };
    let mut files: Vec<_> = folder.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "jpg")).collect();
    files.sort();
    let small = |path: &std::path::PathBuf| {
        let band = read(path);
        let (w, h) = (band.width.min(240), (band.rows * band.width.min(240) / band.width).max(1));
        Scaler::new(band.width, band.rows, w, h, Filter::Lanczos3, None).unwrap().rows(&band, 0..h).unwrap()
    };
    let of = |from: usize, step: usize, n: usize| files.iter().skip(from).step_by(step).take(n).map(small).collect::<Vec<_>>();
    let left = casts_left(&of(0, 12, 12), &of(3, 17, 8));
    for (g, (skin, grey)) in left.iter().enumerate() {
        println!("generator {g}: skin {skin:.2}, greys {grey:.2} dE2000");
    }
    for (g, (skin, grey)) in left.into_iter().enumerate() {
        assert!(skin < 2.0 && grey < 1.5, "{g}: {skin} {grey}");
    }
}

#[test]
fn exports_logo_and_gate() {
    let more = "[logo]\nfile = \"logo.png\"\nmin_px = 20\nwidth = 0.4\n\
                [[export]]\nname = \"full\"\n[[export]]\nname = \"square\"\ncover = [96, 96]\nformat = \"jpeg\"\nquality = 90\n\
                [gate]\nmax_kb = 4000\n";
    let dir = world(more);
    let args = ["brand", "in/g0", "-o", "out", "--kit", "acme.brand.toml", "--json", "-", "-q"];
    let (out, _) = runs(lastmile(dir.path()).args(args));
    assert_eq!(out.lines().filter(|l| l.contains("\"event\":\"file\"")).count(), 12, "{out}");
    // 64 px wide, 32 high, 16 from the edges.
    let full = read(&dir.path().join("out/full/0.png"));
    assert_eq!((full.width, full.rows), (240, 160));
    let core = (160 - 16 - 16) * 240 + (240 - 16 - 32);
    assert_eq!(pixel(&full, core).map(|v| (v * 255.0).round() as u8), [208, 16, 58]);
    let square = read(&dir.path().join("out/square/0.jpg"));
    assert_eq!((square.width, square.rows), (96, 96));
    let core = (96 - 10 - 10) * 96 + (96 - 10 - 19);
    let d = difference(pixel(&square, core), [208.0 / 255.0, 16.0 / 255.0, 58.0 / 255.0]);
    assert!(d < 1.0, "{d}");

    // A drawing is drawn at the size that is needed, in its own colour.
    let drawn = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 2 1\"><rect x=\".1\" y=\".1\" width=\"1.8\" height=\".8\" rx=\".3\" fill=\"#d0103a\"/></svg>";
    std::fs::write(dir.path().join("logo.svg"), drawn).unwrap();
    let kit = std::fs::read_to_string(dir.path().join("acme.brand.toml")).unwrap();
    std::fs::write(dir.path().join("drawn.brand.toml"), kit.replace("logo.png", "logo.svg")).unwrap();
    runs(lastmile(dir.path()).args(["brand", "in/g0/0.png", "-o", "drawn", "--kit", "drawn.brand.toml", "-q"]));
    let full = read(&dir.path().join("drawn/full/0.png"));
    for (x, y) in [(240 - 16 - 32, 160 - 16 - 16), (240 - 16 - 50, 160 - 16 - 16), (240 - 16 - 32, 160 - 16 - 24)] {
        assert_eq!(pixel(&full, y * 240 + x).map(|v| (v * 255.0).round() as u8), [208, 16, 58], "{x} {y}");
    }
    std::fs::write(dir.path().join("logo.svg"), drawn.replace("</svg>", "<text>Acme</text></svg>")).unwrap();
    fails(lastmile(dir.path()).args(["brand", "check", "drawn.brand.toml"]), 2, &["logo.svg", "<text>", "into paths"]);

    // A gate that nothing passes holds everything and says so; run again, nothing is made again and the word is kept.
    let kit = std::fs::read_to_string(dir.path().join("acme.brand.toml")).unwrap();
    std::fs::write(dir.path().join("strict.brand.toml"), kit.replace("max_kb = 4000", "score = 99.9\np90 = 0.1")).unwrap();
    let held = ["brand", "in/g0", "-o", "held", "--kit", "strict.brand.toml", "--json", "events.jsonl"];
    let kept = dir.path().join("held/_hold/full/0.png");
    for status in ["done", "skipped"] {
        fails(lastmile(dir.path()).args(held), 4, &["is below 99.9", "p90", "missed a gate", "_hold"]);
        assert!(kept.is_file() && !dir.path().join("held/full/0.png").exists());
        let events = std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
        let events: Vec<serde_json::Value> = events.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let files: Vec<_> = events.iter().filter(|e| e["event"] == "file").collect();
        assert_eq!(files.len(), 12);
        for f in files {
            assert!(f["status"] == status && f["held"].is_string() && f["output"].as_str().unwrap().contains("_hold"), "{f}");
            assert!(["full", "square"].contains(&f["preset"].as_str().unwrap()), "{f}");
        }
        assert_eq!(events.last().unwrap()["held"], 12);
    }
    // Who moves one to where it would have gone approves it, and another that was retouched there is not taken for ours.
    std::fs::create_dir_all(dir.path().join("held/full")).unwrap();
    std::fs::rename(&kept, dir.path().join("held/full/0.png")).unwrap();
    for _ in 0..2 {
        fails(lastmile(dir.path()).args(held), 4, &["11 ", "missed a gate", "_hold"]);
        let events = std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
        let events: Vec<serde_json::Value> = events.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let of_it: Vec<_> = events.iter().filter(|e| e["output"].as_str().is_some_and(|o| o.ends_with("full/0.png"))).collect();
        assert_eq!(of_it.len(), 1);
        assert!(of_it[0]["status"] == "skipped" && of_it[0]["held"].is_null(), "{}", of_it[0]);
        assert!(of_it[0]["notes"].to_string().contains("by hand"), "{}", of_it[0]);
        assert_eq!(events.last().unwrap()["held"], 11);
        assert!(!kept.exists());
    }
    let other = dir.path().join("held/full/1.png");
    std::fs::copy(dir.path().join("held/full/0.png"), &other).unwrap();
    std::fs::remove_file(dir.path().join("held/_hold/full/1.png")).unwrap();
    fails(lastmile(dir.path()).args(held), 2, &["1.png", "--overwrite"]);
    std::fs::remove_file(other).unwrap();

    // Once the gate lets them through, they are delivered and nothing is held any more.
    std::fs::write(dir.path().join("strict.brand.toml"), &kit).unwrap();
    runs(lastmile(dir.path()).args(held));
    let second = "full/2.png";
    assert!(!dir.path().join("held/_hold").join(second).exists() && dir.path().join("held").join(second).is_file());
    // A stricter gate asks again for what a looser one let through.
    std::fs::write(dir.path().join("strict.brand.toml"), kit.replace("max_kb = 4000", "score = 99.9\np90 = 0.1")).unwrap();
    fails(lastmile(dir.path()).args(held), 4, &["12 files missed a gate"]);
    assert!(dir.path().join("held/_hold").join(second).is_file() && !dir.path().join("held").join(second).exists());
}

#[test]
fn a_proof_comes_first_and_writes_nothing_else() {
    let dir = world("");
    let (_, err) = runs(lastmile(dir.path()).args(["brand", "in", "-o", "out", "--kit", "acme.brand.toml", "--proof", "3"]));
    assert!(err.contains("proof.html"), "{err}");
    let mut names: Vec<String> =
        std::fs::read_dir(dir.path().join("out")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| n != ".lastmile");
    assert_eq!(names, ["_proof"]);
    let page = std::fs::read_to_string(dir.path().join("out/_proof/proof.html")).unwrap();
    assert_eq!(page.matches("<figure>").count(), 6, "before and after of three");
    let copies = std::fs::read_dir(dir.path().join("out/_proof/page")).unwrap().count();
    assert_eq!(copies, 6);
}

#[test]
fn kits_are_made_checked_and_shown() {
    let dir = world("");
    let args = ["brand", "new", "New Co", "--north-star", "ref/0.png", "ref/1.png", "--palette", "red=#d0103a", "--logo", "logo.png"];
    runs(lastmile(dir.path()).args(args));
    assert!(std::fs::read_to_string(dir.path().join("new-co.brand.html")).unwrap().contains("#d0103a"));
    let (out, _) = runs(lastmile(dir.path()).args(["brand", "check", "new-co.brand.toml"]));
    assert!(out.contains("2 references, 1 colours, a logo"), "{out}");
    fails(lastmile(dir.path()).args(args), 2, &["there already"]);
    std::fs::write(dir.path().join("bad.brand.toml"), "name = \"x\"\nrefrences = []\n").unwrap();
    fails(lastmile(dir.path()).args(["brand", "check", "bad.brand.toml"]), 2, &["bad.brand.toml, line 2", "`references`"]);
    fails(lastmile(dir.path()).args(["brand", "in", "-o", "x"]), 2, &["--kit"]);
    fails(lastmile(dir.path()).args(["brand"]), 2, &[]);
    let score = ["brand", "score", "in", "--kit", "acme.brand.toml", "--html", "s.html", "--csv", "s.csv"];
    runs(lastmile(dir.path()).args(score));
    assert_eq!(std::fs::read_to_string(dir.path().join("s.csv")).unwrap().lines().count(), 25);
    assert!(std::fs::read_to_string(dir.path().join("s.html")).unwrap().contains("<svg"));
}

/// Resizing and JPEG 90 move a score by no more than 2 %.
#[test]
fn scores_are_stable() {
    let references = (40..44).map(|i| statistics(&picture(i, plain))).reduce(|mut a, b| {
        a.merge(&b);
        a
    });
    let profile = Profile::of(&references.unwrap());
    let palette = [lastmile::brand::palette::Swatch::parse("#d0103a").unwrap()];
    let dir = tempfile::tempdir().unwrap();
    for (i, change) in GENERATORS.iter().enumerate() {
        let whole = picture(i, change);
        let score = |b: &Band| Score::of(&statistics(b), Some(&profile), &palette).score;
        let want = score(&whole);
        let jpeg = dir.path().join(format!("{i}.jpg"));
        write(&jpeg, &whole, Format::Jpeg, 90);
        let half = Scaler::new(240, 160, 137, 91, Filter::Lanczos3, None).unwrap().rows(&whole, 0..91).unwrap();
        for (name, got) in [("JPEG", score(&read(&jpeg))), ("resized", score(&half))] {
            assert!((got / want - 1.0).abs() < 0.02, "{i} {name}: {want} became {got}");
        }
    }
}

/// A static scene with noise of one level: grading must not make it flicker.
#[test]
fn a_sequence_does_not_flicker() {
    let dir = world("");
    let frame = |n: usize| {
        let mut band = picture(3, GENERATORS[3]);
        let mut state = n as u32 + 1;
        for v in &mut band.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (*v + ((state >> 24) % 3) as f32 / 255.0 - 1.0 / 255.0).clamp(0.0, 1.0);
        }
        band
    };
    for n in 0..24 {
        write(&dir.path().join(format!("frames/{n:02}.png")), &frame(n), Format::Png, 0);
    }
    runs(lastmile(dir.path()).args(["brand", "frames", "-o", "out", "--kit", "acme.brand.toml", "-q"]));
    // The mean colour of areas of 20 x 20 pixels, so that what is seen is flicker and not the noise itself.
    let areas = |path: &str, n: usize| -> Vec<[f32; 3]> {
        let band = read(&dir.path().join(format!("{path}/{n:02}.png")));
        let area =
            |x: usize, y: usize| [0, 1, 2].map(|c| (0..400).map(|i| band.row(c, y * 20 + i / 20)[x * 20 + i % 20]).sum::<f32>() / 400.0);
        (0..96).map(|i| area(i % 12, i / 12)).collect()
    };
    let flicker = |path: &str| {
        let all: Vec<Vec<[f32; 3]>> = (0..24).map(|n| areas(path, n)).collect();
        let pairs = all.windows(2).flat_map(|w| w[0].iter().zip(&w[1]).map(|(a, b)| difference(*a, *b)).collect::<Vec<_>>());
        let pairs: Vec<f64> = pairs.collect();
        pairs.iter().sum::<f64>() / pairs.len() as f64
    };
    let added = flicker("out") - flicker("frames");
    println!("added frame-to-frame dE {added:.4}");
    assert!(added < 0.1, "{added}");
}

/// `--match`: references alone, without a kit.
#[test]
fn a_match_brings_pictures_to_their_references() {
    let dir = world("");
    let d = dir.path();
    let spread_of = |out: &str, more: &[&str]| {
        let args = ["grade", "in", "-o", out, "--match", "ref/0.png", "ref/1.png", "ref/2.png", "ref/3.png", "-q"];
        runs(lastmile(d).args(args).args(more));
        spread(&d.join(out))
    };
    let before = spread(&d.join("in"));
    let (each, groups) = (spread_of("each", &[]), spread_of("groups", &["--group-by", "folder"]));
    let half = spread_of("half", &["--group-by", "folder", "--strength", "0.5"]);
    println!("p90 spread {before:.2}: each for itself {each:.2}, by folder {groups:.2}, half as strong {half:.2}");
    assert!(each < before / 2.0 && groups < before / 2.0 && groups < half && half < before, "{before} {each} {groups} {half}");
    // Strength 0 changes nothing at all, and is said to be a copy.
    spread_of("none", &["--strength", "0", "--format", "png"]);
    assert!((spread(&d.join("none")) - before).abs() < 1e-9);
    // A run that goes on finds everything done.
    let again = ["grade", "in", "-o", "groups", "--match", "ref/0.png", "ref/1.png", "ref/2.png", "ref/3.png", "--group-by", "folder"];
    let (_, err) = runs(lastmile(d).args(again));
    assert!(err.contains("24 files done already"), "{err}");

    // One transform as a LUT for other programs: applied as a LUT it gives the same picture.
    let one = ["grade", "in/g0", "-o", "one", "--match", "ref/0.png", "--sequence", "--export-cube", "m.cube", "--dither", "off", "-q"];
    runs(lastmile(d).args(one));
    runs(lastmile(d).args(["grade", "in/g0", "-o", "lut", "--lut", "m.cube", "--dither", "off", "-q"]));
    let (a, b) = (read(&d.join("one/3.png")), read(&d.join("lut/3.png")));
    let most = a.data.iter().zip(&b.data).fold(0f32, |m, (a, b)| m.max((a - b).abs())) * 255.0;
    assert!(most < 1.01, "{most} levels");
    let several = ["grade", "in", "-o", "x", "--match", "ref/0.png", "--export-cube", "n.cube"];
    fails(lastmile(d).args(several), 2, &["--export-cube", "--sequence"]);
    fails(lastmile(d).args(["grade", "in", "-o", "x", "--match", "ref/no.png"]), 2, &[]);
}

/// A picture that is a kit's only reference is what the kit asks for, before it is applied and after.
#[test]
fn a_reference_is_near_itself() {
    let dir = world("");
    let d = dir.path();
    write(&d.join("one/0.png"), &picture(40, GENERATORS[0]), Format::Png, 0);
    std::fs::write(d.join("one.brand.toml"), "name = \"One\"\nreferences = [\"one/0.png\"]\n").unwrap();
    runs(lastmile(d).args(["brand", "one", "-o", "out", "--kit", "one.brand.toml", "-q"]));
    for folder in ["one", "out"] {
        let (out, _) = runs(lastmile(d).args(["brand", "score", folder, "--kit", "one.brand.toml", "--json", "-"]));
        let file =
            out.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()).find(|l| l["p90_de2000"].is_number()).unwrap();
        assert!(file["p90_de2000"].as_f64().unwrap() < 1.0, "{folder}: {file}");
    }
}

/// Equal input colours give equal output colours in every frame, and noise of one level stays noise of about one level.
#[test]
fn a_matched_sequence_does_not_flicker() {
    let dir = world("");
    let d = dir.path();
    for n in 0..24 {
        let mut band = picture(3, GENERATORS[3]);
        let mut state = n as u32 + 1;
        for v in &mut band.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (*v + ((state >> 24) % 3) as f32 / 255.0 - 1.0 / 255.0).clamp(0.0, 1.0);
        }
        write(&d.join(format!("frames/{n:02}.png")), &band, Format::Png, 0);
    }
    runs(lastmile(d).args(["grade", "frames", "-o", "out", "--match", "ref/0.png", "ref/1.png", "--sequence", "-q"]));
    let mut lut = std::collections::HashMap::new();
    let mut flicker = [0f64; 2];
    let frames: Vec<[Band; 2]> = (0..24).map(|n| ["frames", "out"].map(|f| read(&d.join(format!("{f}/{n:02}.png"))))).collect();
    for [from, to] in &frames {
        for p in (0..240 * 160).step_by(11) {
            let key = pixel(from, p).map(f32::to_bits);
            // Dither moves a value by less than a level, the same way in every frame at one place.
            let at = lut.entry((key, p)).or_insert_with(|| pixel(to, p));
            assert_eq!(*at, pixel(to, p), "the same colour at the same place became another");
        }
    }
    for pair in frames.windows(2) {
        for (i, sum) in flicker.iter_mut().enumerate() {
            let area = |b: &Band, x: usize, y: usize| {
                [0, 1, 2].map(|c| (0..400).map(|k| b.row(c, y * 20 + k / 20)[x * 20 + k % 20]).sum::<f32>() / 400.0)
            };
            for a in 0..96 {
                let (x, y) = (a % 12, a / 12);
                *sum += difference(area(&pair[0][i], x, y), area(&pair[1][i], x, y)) / (96.0 * 23.0);
            }
        }
    }
    println!("frame-to-frame dE {:.4} became {:.4}", flicker[0], flicker[1]);
    assert!(flicker[1] - flicker[0] < 0.1, "{flicker:?}");
}

/// Pictures without colours get the tones of their group and no tint, whatever the group needs; alone, their own.
#[test]
fn grey_pictures_stay_grey() {
    // Warm and dark references, or the group's transform would not tint much.
    let dir = world("");
    let d = dir.path();
    let warm = |c: [f32; 3]| [c[0].powf(1.4), c[1].powf(1.5) * 0.94, c[2].powf(1.6) * 0.82];
    (0..2).for_each(|i| write(&d.join(format!("warm/{i}.png")), &picture(i + 60, warm), Format::Png, 0));
    let grey = picture(7, |c| [luma(c); 3]);
    let save = |name: &str, bits: u8, channels: Channels| {
        let path = d.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let n = channels.count();
        let mut band = Band::new(0, grey.width, grey.rows, n);
        for c in 0..n {
            if channels.has_alpha() && c == n - 1 {
                band.plane_mut(c).iter_mut().enumerate().for_each(|(i, v)| *v = (i % 200) as f32 / 199.0);
            } else {
                band.plane_mut(c).copy_from_slice(grey.plane(0));
            }
        }
        let how = Encoding { format: Format::Png, bits, ..Encoding::default() };
        let mut encoder = codec::encoder(&path, &how, band.width, band.rows, channels, &Metadata::default()).unwrap();
        encoder.write(&band).unwrap();
        encoder.finish().unwrap();
    };
    let kinds = [("rgb", 8, Channels::Rgb), ("l", 8, Channels::Grey), ("la", 8, Channels::GreyAlpha), ("l16", 16, Channels::Grey)];
    for (name, bits, channels) in kinds.into_iter().chain([("la16", 16, Channels::GreyAlpha), ("rgba16", 16, Channels::Rgba)]) {
        save(&format!("in/g0/{name}.png"), bits, channels);
    }
    let open = |file: &str| codec::decode(Path::new(file), &std::fs::read(d.join(file)).unwrap(), &Limits::default()).unwrap();
    let check = |out: &str, name: &str| {
        let (before, after) = (open(&format!("in/g0/{name}.png")), open(&format!("{out}/{name}.png")));
        assert_eq!((before.channels, before.bits()), (after.channels, after.bits()), "{out}/{name}");
        let (n, code) = (after.channels.count(), if after.bits() == 16 { 1.0 / 65535.0 } else { 1.0 / 255.0 });
        let [given, made] = [&before, &after].map(|i| i.band(0, i.height, 0..n));
        if after.channels.colours() == 3 {
            // Dither of an 8-bit file moves each channel by itself.
            let most =
                (0..made.plane(0).len()).map(|i| pixel(&made, i)).fold(0f32, |m, c| m.max((c[0] - c[1]).abs()).max((c[2] - c[1]).abs()));
            assert!(most <= if code > 0.001 { 1.01 * code } else { 4.01 * code }, "{out}/{name}: {} codes apart", most / code);
            let mean = [0, 1, 2].map(|k| made.plane(k).iter().map(|v| f64::from(*v)).sum::<f64>() / made.plane(k).len() as f64);
            assert!((mean[0] - mean[1]).abs().max((mean[2] - mean[1]).abs()) < 2e-4, "{out}/{name}: {mean:?}");
        }
        if after.channels.has_alpha() {
            assert_eq!(given.plane(n - 1), made.plane(n - 1), "{out}/{name}: alpha");
        }
        let moved = given.plane(0).iter().zip(made.plane(0)).map(|(a, b)| f64::from(b - a)).sum::<f64>() / made.plane(0).len() as f64;
        assert!(moved.abs() > 0.01, "{out}/{name}: nothing was done to its tones");
        moved
    };
    let to = ["--match", "warm/0.png", "warm/1.png", "-q"];
    for by in ["folder", "generator"] {
        // Files that do not tell their generator count by folder.
        runs(lastmile(d).args(["grade", "in/g0", "-o", by, "--group-by", by]).args(to));
    }
    std::fs::write(d.join("w.brand.toml"), "name = \"W\"\nreferences = [\"warm/0.png\", \"warm/1.png\"]\ngroup_by = \"folder\"\n").unwrap();
    runs(lastmile(d).args(["brand", "in/g0", "-o", "kit", "--kit", "w.brand.toml", "-q"]));
    runs(lastmile(d).args(["grade", "in/g0", "-o", "each"]).args(to));
    for out in ["folder", "generator", "kit", "each"] {
        let moved: Vec<f64> = ["rgb", "l", "la", "l16", "la16", "rgba16"].map(|name| check(out, name)).to_vec();
        let (least, most) = moved.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        // Where alpha weighs the pixels, a picture of its own has other tones.
        assert!(out == "each" || most - least < 0.002, "{out}: {moved:?}");
        // The others are coloured as before.
        assert!(out == "each" || read(&d.join(format!("{out}/3.png"))) != read(&d.join("in/g0/3.png")));
    }
    // Grey ones do not stand in the way of the group's LUT.
    let cube = ["grade", "in/g0", "-o", "cube", "--group-by", "folder", "--export-cube", "m.cube"];
    runs(lastmile(d).args(cube).args(to));
    assert!(d.join("m.cube").exists());
}
