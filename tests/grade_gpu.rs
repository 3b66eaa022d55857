//! The processor and a graphics card must agree. Without an adapter (software Vulkan counts) this says so and passes; with
//! `REQUIRE_GPU=1` it fails.

#![cfg(feature = "gpu")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test file

mod program;

use std::path::Path;
use std::sync::{Mutex, OnceLock};

use lastmile::band::Stage;
use lastmile::codec::{self, Encoding, Format, Metadata};
use lastmile::gpu::{self, Gpu};
use lastmile::grade::builtin::LOOKS;
use lastmile::grade::lut::Lut;
use lastmile::grade::op::Op;
use lastmile::grade::spatial::Frame;
use lastmile::grade::stage::Grade;
use lastmile::grade::{Grading, Look};
use lastmile::lane::{Lut3d, Table};
use lastmile::{Band, Exit};

/// What the two may differ by.
const MOST: f32 = 1.0 / 1023.0;

/// The first adapter, software or not; opened once, for drivers take their time.
fn card() -> Option<Gpu> {
    static CARD: OnceLock<Option<Gpu>> = OnceLock::new();
    let found = CARD.get_or_init(|| (!gpu::adapters().is_empty()).then(|| Gpu::open(Some(0), None).unwrap()));
    if found.is_none() {
        assert!(std::env::var_os("REQUIRE_GPU").is_none(), "REQUIRE_GPU is set and there is no adapter (Debian: mesa-vulkan-drivers)");
        println!("skipped: no graphics card and no software Vulkan (Debian: mesa-vulkan-drivers)");
    }
    found.clone()
}

fn grading(text: &str, folder: &Path, strength: f32) -> Grading {
    Grading::new(&[Look::parse("test", text, folder).unwrap()], strength).unwrap().unwrap()
}

/// Through the whole stage, in portions of `rows`.
fn graded(grading: &Grading, given: &Band, rows: usize) -> Band {
    let frame = Frame { width: given.width, height: given.rows, bits: 8, seed: 0x1234_5678_9abc };
    let mut stage = Grade::new(grading, None, 3, given.channels == 4, frame).unwrap();
    let out = Mutex::new(Band::new(0, given.width, given.rows, given.channels));
    let mut sink = |b: Band| {
        let mut out = out.lock().unwrap();
        for c in 0..b.channels {
            for r in 0..b.rows {
                out.row_mut(c, b.y + r).copy_from_slice(b.row(c, r));
            }
        }
        Ok(())
    };
    for y in (0..given.rows).step_by(rows) {
        stage.push(given.slice(y, (y + rows).min(given.rows)), &mut sink).unwrap();
    }
    stage.finish(&mut sink).unwrap();
    out.into_inner().unwrap()
}

/// Greys and colours from -1 to 4, with everything near 0, 1 and the breaks of sRGB; alpha as a fourth channel.
fn wide() -> Band {
    let steps = [-1.0, -0.2, 0.0, 1e-6, 0.0031, 0.0405, 0.05, 0.2, 0.45, 0.5, 0.8, 0.99, 1.0, 1.0001, 1.5, 4.0f32];
    let (width, rows) = (steps.len() * steps.len(), steps.len() + 4);
    let mut band = Band::new(0, width, rows, 4);
    for y in 0..rows {
        for x in 0..width {
            let ramp = |from: f32, to: f32| from + (to - from) * x as f32 / (width - 1) as f32;
            let c = match y.checked_sub(4) {
                Some(i) => [steps[x % 16], steps[x / 16], steps[i]],
                None => [[ramp(0.0, 1.0); 3], [ramp(-1.0, 4.0); 3], [ramp(0.0, 1.0), ramp(1.0, 0.0), 0.3], [1.0, ramp(0.0, 1.0), 0.0]][y],
            };
            (0..3).for_each(|k| band.row_mut(k, y)[x] = c[k]);
            band.row_mut(3, y)[x] = (x % 7) as f32 / 6.0;
        }
    }
    band
}

fn compare(what: &str, cpu: &Band, gpu: &Band) -> f32 {
    let mut worst: f32 = 0.0;
    for (i, (a, b)) in cpu.data.iter().zip(&gpu.data).enumerate() {
        let off = (a - b).abs() / a.abs().max(1.0);
        assert!(off <= MOST && b.is_finite(), "{what}: value {i} is {a} on the processor and {b} on the card");
        worst = worst.max(off);
    }
    worst
}

fn same(what: &str, grading: &Grading, card: &Gpu, given: &Band) -> f32 {
    let on_card = grading.on(card).unwrap();
    assert!(on_card.stretches().iter().any(|s| s.pass.is_some()), "{what} runs on the processor");
    compare(what, &graded(grading, given, given.rows), &graded(&on_card, given, given.rows))
}

/// A small generator of numbers from 0 to 1, the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.roll()
    }

    /// Parameters of an operation, within what it documents and what anybody would use.
    fn keys(&mut self, op: &Op) -> String {
        let mut keys = String::new();
        for p in op.params() {
            let bounds =
                p.allowed.split(',').next().unwrap().split_once(" to ").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let value = match (bounds, p.unit) {
                _ if p.allowed.starts_with("true") => format!("{}", self.roll() < 0.5),
                (_, "[degrees, factor, lightness]") => {
                    format!("[{}, {}, {}]", self.between(-40.0, 40.0), self.between(0.0, 2.0), self.between(-0.2, 0.2))
                }
                (Some((low, high)), "kelvin" | "degrees in OKLab") => self.between(low, high).to_string(),
                (Some((low, high)), _) if p.allowed.contains("[red, green, blue]") => {
                    let (low, high) = (f32::max(low, -1.5), f32::min(high, 3.0));
                    format!("[{}, {}, {}]", self.between(low, high), self.between(low, high), self.between(low, high))
                }
                (Some((low, high)), _) if !p.allowed.contains('[') => self.between(f32::max(low, -2.0), f32::min(high, 3.0)).to_string(),
                _ if p.allowed.starts_with("[[x, y]") && self.roll() < 0.6 => {
                    format!("[[0, {}], [0.3, {}], [1, {}]]", self.between(0.0, 0.2), self.between(0.2, 0.5), self.between(0.6, 1.2))
                }
                _ if p.allowed.contains(" | ") => {
                    let words: Vec<&str> = p.allowed.split(" | ").collect();
                    format!("\"{}\"", words[(self.roll() * words.len() as f32) as usize])
                }
                _ => continue,
            };
            keys.push_str(&format!("{} = {value}\n", p.name));
        }
        keys
    }

    fn place(&mut self) -> String {
        let mut keys = format!("opacity = {}\n", self.between(0.05, 1.0));
        if self.roll() < 0.5 {
            let from = self.between(0.0, 0.6);
            keys.push_str(&format!("luma = [{from}, {}]\nluma_softness = {}\n", from + 0.3, self.between(0.0, 0.3)));
        }
        if self.roll() < 0.5 {
            keys.push_str(&format!("hue = {}\nhue_width = {}\n", self.between(0.0, 360.0), self.between(5.0, 90.0)));
        }
        keys
    }
}

#[test]
fn every_operation_is_the_same_on_both() {
    let Some(card) = card() else { return };
    let (given, mut dice, mut worst) = (wide(), Dice(7), (0.0, String::new()));
    for name in Op::NAMES.iter().filter(|n| !["lut", "filter"].contains(n)) {
        let op = Op::named(name).unwrap();
        let mut tried = 0;
        for round in 0..40 {
            let mut keys = dice.keys(&op);
            if round % 2 == 1 {
                keys.push_str(&dice.place());
            }
            let text = format!("[[op]]\ntype = \"{name}\"\n{keys}");
            // Numbers that are each allowed need not fit together.
            let Ok(look) = Look::parse("test", &text, Path::new("")) else { continue };
            let Some(grading) = Grading::new(&[look], 1.0).unwrap() else { continue };
            if grading.formulas().iter().all(|(_, formula)| formula.is_none()) {
                assert!(["sharpen", "clarity", "deband"].contains(name), "{name} runs on no card");
                tried = 6;
                break;
            }
            let off = same(&text, &grading, &card, &given);
            if off > worst.0 {
                worst = (off, text);
            }
            tried += 1;
            if tried == 6 {
                break;
            }
        }
        assert_eq!(tried, 6, "{name}");
    }
    println!("largest difference {:.2e}, at\n{}", worst.0, worst.1);
}

#[test]
fn tables_and_cubes_are_the_same_on_both() {
    let Some(card) = card() else { return };
    let (folder, mut dice) = (tempfile::tempdir().unwrap(), Dice(3));
    let mut rough = |n: usize, min: f32, max: f32| {
        let colours: Vec<[f32; 3]> = (0..n * n * n).map(|_| [dice.roll(), dice.roll(), dice.roll()]).collect();
        Lut3d::new(n, [min; 3], [max; 3], &colours).unwrap()
    };
    let curve = |k: f32| Table::from_fn(-0.2, 1.5, 100, |x| x.abs().powf(k)).unwrap();
    let luts = [
        Lut { title: String::new(), carries: false, curves: None, cube: Some(rough(2, 0.0, 1.0)) },
        Lut { title: String::new(), carries: false, curves: None, cube: Some(rough(17, -0.5, 2.0)) },
        Lut { title: String::new(), carries: false, curves: Some([curve(0.7), curve(1.1), curve(2.0)]), cube: None },
        Lut { title: String::new(), carries: true, curves: Some([curve(0.7), curve(0.7), curve(0.7)]), cube: Some(rough(33, 0.0, 1.0)) },
    ];
    for (i, lut) in luts.iter().enumerate() {
        let file = format!("{i}.cube");
        std::fs::write(folder.path().join(&file), lut.to_cube().unwrap()).unwrap();
        let text = format!("[[op]]\ntype = \"lut\"\nfile = \"{file}\"\n[[op]]\ntype = \"exposure\"\nstops = 0.3\n");
        same(&file, &grading(&text, folder.path(), 1.0), &card, &wide());
    }
    // Two cubes and a curve share buffers.
    let text = "[[op]]\ntype = \"lut\"\nfile = \"0.cube\"\nopacity = 0.5\n[[op]]\ntype = \"lut\"\nfile = \"3.cube\"\n\
        [[op]]\ntype = \"curves\"\nluma = [[0, 0.1], [1, 0.9]]\n";
    same("two cubes", &grading(text, folder.path(), 0.6), &card, &wide());
}

#[test]
fn built_in_looks_are_the_same_on_both_at_any_strength() {
    let Some(card) = card() else { return };
    for (name, _) in LOOKS {
        for strength in [1.0, 0.35] {
            let grading = Grading::new(&[Look::find(name).unwrap()], strength).unwrap().unwrap();
            same(name, &grading, &card, &wide());
        }
    }
}

/// Rows arrive in portions, places count from the top, and pictures larger than one transfer are cut anywhere.
#[test]
fn portions_places_and_large_pictures() {
    let Some(card) = card() else { return };
    let text = "[[op]]\ntype = \"vignette\"\nstops = 1.5\n[[op]]\ntype = \"grain\"\namount = 0.08\ncolour = 0.5\nluma = [0.1, 0.8]\n\
        [[op]]\ntype = \"clarity\"\namount = 0.4\n[[op]]\ntype = \"contrast\"\namount = 1.2\n";
    let grading = grading(text, Path::new(""), 0.8);
    let on_card = grading.on(&card).unwrap();
    assert_eq!(
        on_card.stretches().iter().map(|s| (s.pieces.clone(), s.pass.is_some())).collect::<Vec<_>>(),
        [(0..2, true), (2..3, false), (3..4, true)]
    );
    let mut band = Band::new(0, 2311, 1013, 3);
    band.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 911) as f32 / 910.0);
    let whole = graded(&on_card, &band, 1013);
    compare("large", &graded(&grading, &band, 1013), &whole);
    assert_eq!(graded(&on_card, &band, 300).data, whole.data);
}

#[test]
fn a_filter_runs_on_the_card_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "a.wgsl",
        "fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32> {\n    return c * p.much + p.tint * select(0.0, 1.0, pos.x > 2.0 && pos.y < 1.0);\n}\n",
    );
    write(
        "b.wgsl",
        "fn help(v: f32) -> f32 { return 1.0 - v; }\nfn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32> {\n    return vec3<f32>(help(c.x), c.yz);\n}\n",
    );
    write("bad.wgsl", "fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32> {\n    return c * p.wrong;\n}\n");
    let a = "[[op]]\nfilter = \"a.wgsl\"\nparams = { much = 0.5, tint = [0.25, 0, 0.125] }\n";
    let alone = grading(a, folder.path(), 1.0);
    let frame = Frame { width: 4, height: 2, bits: 8, seed: 0 };
    let e = Grade::new(&alone, None, 3, false, frame).err().unwrap();
    assert_eq!(e.exit(), Exit::Unavailable);
    let Some(card) = card() else { return };
    let mut given = Band::new(0, 4, 2, 3);
    given.data.fill(0.5);
    let out = graded(&alone.on(&card).unwrap(), &given, 1);
    assert_eq!(out.row(0, 0), [0.25, 0.25, 0.5, 0.5]);
    assert_eq!((out.row(1, 0), out.row(2, 0)), (&[0.25; 4][..], &[0.25, 0.25, 0.375, 0.375][..]));
    assert_eq!(out.row(0, 1), [0.25; 4]);
    // Another filter, with colour operations around it and a mask.
    let text = format!("[[op]]\ntype = \"exposure\"\nstops = 0\n{a}opacity = 0.5\n[[op]]\nfilter = \"b.wgsl\"\n");
    let both = grading(&text, folder.path(), 1.0).on(&card).unwrap();
    assert_eq!(both.stretches().len(), 2);
    let out = graded(&both, &given, 2);
    assert_eq!(out.row(0, 1), [0.625; 4]);
    let e = grading("[[op]]\nfilter = \"bad.wgsl\"\n", folder.path(), 1.0).on(&card).err().unwrap();
    assert_eq!(e.exit(), Exit::Usage);
    assert!(e.to_string().contains("bad.wgsl:2:18") && e.to_string().contains("wrong"), "{e}");
}

/// A software adapter computes on the processor and is never what `gpu` means.
#[test]
fn a_software_adapter_is_only_taken_by_number() {
    if card().is_none() || gpu::adapters().iter().any(|a| !a.software) {
        return;
    }
    let e = Gpu::open(None, None).err().unwrap();
    assert_eq!(e.exit(), Exit::Unavailable);
    assert!(e.to_string().contains("gpu:0"), "{e}");
}

/// Runs `lastmile grade in.png -o out.png` with an empty home: exit code, JSON lines, and what was said.
fn run(dir: &Path, flags: &str) -> (Option<i32>, Vec<serde_json::Value>, String) {
    // Where it ran is no part of what was asked for: what is there would be enough.
    let _ = std::fs::remove_file(dir.join("out.png"));
    let verb = if flags.contains("--kit") { "brand" } else { "grade" };
    let line = format!("{verb} in.png -o out.png --overwrite --json lines.jsonl {flags}");
    let output = program::lastmile(dir, &dir.join("home")).args(line.split_whitespace()).output().unwrap();
    let (_, err) = program::text(&output);
    let lines = std::fs::read_to_string(dir.join("lines.jsonl")).unwrap_or_default();
    let _ = std::fs::remove_file(dir.join("lines.jsonl"));
    (output.status.code(), lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect(), err)
}

#[test]
fn the_program_runs_where_it_was_told_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut band = Band::new(0, 16, 16, 3);
    band.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 256) as f32 / 255.0);
    let encoding = Encoding { format: Format::Png, bits: 8, ..Encoding::default() };
    let channels = lastmile::image::Channels::Rgb;
    let mut encoder = codec::encoder(&dir.join("in.png"), &encoding, 16, 16, channels, &Metadata::default()).unwrap();
    encoder.write(&band).unwrap();
    encoder.finish().unwrap();
    let filter = "fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32> {\n    return vec3<f32>(1.0) - c;\n}\n";
    std::fs::write(dir.join("good.wgsl"), filter).unwrap();
    std::fs::write(dir.join("bad.wgsl"), filter.replace("- c", "- d")).unwrap();
    for name in ["good", "bad"] {
        std::fs::write(dir.join(format!("{name}.toml")), format!("[[op]]\nfilter = \"{name}.wgsl\"\n")).unwrap();
    }
    // A mistake is found without a card.
    for (look, good) in [("good.toml", true), ("bad.toml", false)] {
        let mut lastmile = std::process::Command::new(env!("CARGO_BIN_EXE_lastmile"));
        let checked = lastmile.current_dir(dir).args(["looks", "check", look]).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
        assert_eq!(checked.status.code(), Some(if good { 0 } else { 2 }), "{said}");
        assert!(said.contains(if good { "(without filter)" } else { "bad.wgsl:2:29" }), "{said}");
    }
    let (code, lines, _) = run(dir, "--look clean --device cpu");
    assert_eq!((code, &lines[0]["grade_device"]), (Some(0), &"cpu".into()));
    for (flags, part) in [
        ("--look clean --grade-device gpu:99", "--grade-device cpu"),
        ("--look good.toml --grade-device cpu", "which needs a graphics card"),
    ] {
        let (code, _, err) = run(dir, flags);
        assert!(code == Some(5) && err.contains(part), "{flags}: {code:?} {err}");
    }
    if card().is_none() {
        return;
    }
    let (code, lines, err) = run(dir, "--look clean --grade-device gpu:0");
    assert!(code == Some(0) && lines[0]["grade_device"].as_str().unwrap().starts_with("gpu:0 "), "{err} {lines:?}");
    assert!(err.contains("graded on gpu:0 "), "{err}");
    let (code, _, err) = run(dir, "--look good.toml --grade-device gpu:0 --dither off");
    assert_eq!(code, Some(0), "{err}");
    let bytes = std::fs::read(dir.join("out.png")).unwrap();
    let out = codec::decode(&dir.join("out.png"), &bytes, &codec::Limits::default()).unwrap();
    let lastmile::image::Samples::U8(samples) = &out.samples else { panic!("not 8 bits") };
    assert_eq!(samples[..3], [255, 255, 255]);
    let (code, _, err) = run(dir, "--look bad.toml --grade-device gpu:0");
    assert!(code == Some(2) && err.contains("bad.wgsl:2:29"), "{code:?} {err}");

    // Matches and kits, whose transforms are known once a picture was read.
    band.data.iter_mut().enumerate().for_each(|(i, v)| *v = (*v * [1.0, 0.85, 0.7][i / 256]).powf(1.2));
    let mut encoder = codec::encoder(&dir.join("ref.png"), &encoding, 16, 16, channels, &Metadata::default()).unwrap();
    encoder.write(&band).unwrap();
    encoder.finish().unwrap();
    std::fs::write(dir.join("acme.brand.toml"), "name = \"Acme\"\nreferences = [\"ref.png\"]\n").unwrap();
    let pixels = |flags: &str| {
        let (code, lines, err) = run(dir, flags);
        assert_eq!(code, Some(0), "{flags}: {err}");
        let bytes = std::fs::read(dir.join("out.png")).unwrap();
        let out = codec::decode(&dir.join("out.png"), &bytes, &codec::Limits::default()).unwrap();
        let lastmile::image::Samples::U8(samples) = out.samples else { panic!("not 8 bits") };
        (samples, lines[0]["grade_device"].as_str().map(str::to_owned))
    };
    for flags in ["--match ref.png", "--match ref.png --group-by folder --look clean", "--kit acme.brand.toml"] {
        let (there, device) = pixels(&format!("{flags} --dither off --grade-device gpu:0"));
        assert!(device.is_some_and(|d| d.starts_with("gpu:0 ")), "{flags}");
        let (here, _) = pixels(&format!("{flags} --dither off --grade-device cpu"));
        let far = there.iter().zip(&here).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far <= Some(1), "{flags}: {far:?}");
    }
    let (code, _, err) = run(dir, "--match ref.png --look good.toml --grade-device gpu:0");
    assert!(code == Some(2) && err.contains("does not go with a match"), "{code:?} {err}");
}

/// What the card is given for each built-in look. `BLESS=1` writes it anew.
#[test]
fn shaders_of_the_built_in_looks_are_as_reviewed() {
    for (name, _) in LOOKS {
        let grading = Grading::new(&[Look::find(name).unwrap()], 1.0).unwrap().unwrap();
        let mut text = String::new();
        for (_, formula) in grading.formulas() {
            let Some(formula) = formula else { continue };
            let shader = formula.wgsl();
            text.push_str(&shader[shader.find("fn lm_look").unwrap()..]);
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders/looks").join(format!("{name}.wgsl"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        assert!(kept == text, "{}: not what the look makes now; BLESS=1 cargo test --test grade_gpu", path.display());
    }
}
