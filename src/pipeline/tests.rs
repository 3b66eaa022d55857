//! Over 500 lines because every test here makes whole files with the same few helpers.

use super::*;
use crate::image::Channels;
use crate::upscale::engine::tests::{FakeBackend, engine, family, model};
use crate::upscale::model::Kind;
use crate::upscale::network::tests::Fake;

static NEVER: AtomicBool = AtomicBool::new(false);

fn settings(size: Size) -> Settings {
    Settings { size, ..Settings::default() }
}

fn faithful() -> Engine {
    engine(family().remove(0), false, FakeBackend::default())
}

/// A PNG with the samples that `value(x, y, channel)` gives, as its bytes.
fn png(w: usize, h: usize, channels: Channels, bits: u8, value: impl Fn(usize, usize, usize) -> f32) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.png");
    let how = Encoding { format: Format::Png, quality: 0, lossless: false, bits, ..Encoding::default() };
    let mut encoder = codec::encoder(&path, &how, w, h, channels, &codec::Metadata::default()).unwrap();
    let mut band = Band::new(0, w, h, channels.count());
    for c in 0..channels.count() {
        for y in 0..h {
            for x in 0..w {
                band.row_mut(c, y)[x] = value(x, y, c);
            }
        }
    }
    encoder.write(&band).unwrap();
    encoder.finish().unwrap();
    std::fs::read(path).unwrap()
}

fn scene(x: usize, y: usize, c: usize) -> f32 {
    0.5 + 0.4 * ((x as f32 / 9.0 + c as f32).sin() * (y as f32 / 7.0).cos())
}

fn make(bytes: Vec<u8>, settings: &Settings, engine: &Engine, observer: Option<&mut dyn Observer>) -> Result<(Done, Image, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("o");
    let job =
        Job { source: Path::new("a/b.png"), bytes, output: &output, settings, limits: Limits::default(), master: None, extra: vec![] };
    let seen = std::sync::Mutex::new(0.0);
    let progress = |share: f64| {
        let mut seen = seen.lock().unwrap();
        assert!(share >= *seen && share <= 1.0);
        *seen = share;
    };
    let observer = observer.map(|o| o as &mut dyn Observer);
    let done = process(job, engine, Hooks { stop: &NEVER, progress: &progress, observer, waiting: 0, card: None })?;
    let bytes = std::fs::read(&output).unwrap();
    assert_eq!(bytes.len() as u64, done.bytes);
    let image = codec::decode(&output, &bytes, &Limits::default()).unwrap();
    assert_eq!((image.width, image.height), (done.width, done.height));
    Ok((done, image, bytes))
}

#[test]
fn every_way_to_say_a_size_is_met_to_the_pixel() {
    let bytes = png(40, 30, Channels::Rgb, 8, scene);
    for (size, fit, want, passes) in [
        (Size::Model, Fit::Inside, (160, 120), 1),
        (Size::Scale(7.0), Fit::Inside, (280, 210), 2),
        (Size::Scale(2.5), Fit::Inside, (100, 75), 1),
        (Size::Scale(1.5), Fit::Inside, (60, 45), 1),
        (Size::LongEdge(333), Fit::Inside, (333, 250), 2),
        (Size::Box { width: 100, height: 100 }, Fit::Inside, (100, 75), 1),
        (Size::Box { width: 100, height: 100 }, Fit::Cover, (100, 100), 1),
        (Size::Box { width: 100, height: 100 }, Fit::Exact, (100, 100), 1),
        (Size::Megapixels(0.0192), Fit::Inside, (160, 120), 1),
        (Size::Print { width_in: 1.5, height_in: 2.0, dpi: 60.0 }, Fit::Inside, (120, 90), 1),
        (Size::Scale(0.5), Fit::Inside, (20, 15), 0),
        (Size::LongEdge(40), Fit::Inside, (40, 30), 0),
    ] {
        let s = Settings { fit, ..settings(size) };
        let (done, image, _) = make(bytes.clone(), &s, &faithful(), None).unwrap();
        assert_eq!((image.width, image.height), want, "{size:?} {fit:?}");
        assert_eq!(done.plan.passes.len(), passes, "{size:?} {fit:?}");
        assert_eq!(done.notes.is_empty(), passes > 0, "{:?}", done.notes);
        if let Size::Print { dpi, .. } = size {
            let (x, y) = image.metadata.dpi.unwrap();
            assert!((x - dpi).abs() < 0.1 && (y - dpi).abs() < 0.1);
        }
    }
}

#[test]
fn a_picture_that_is_as_wanted_is_copied_to_the_byte() {
    let bytes = png(40, 30, Channels::Rgb, 8, scene);
    let (done, _, out) = make(bytes.clone(), &settings(Size::Scale(1.0)), &faithful(), None).unwrap();
    assert_eq!(out, bytes);
    assert!(done.notes[0].contains("copied"), "{:?}", done.notes);
    // What cannot be read is not delivered because its header could.
    let cut = bytes[..bytes.len() * 2 / 3].to_vec();
    assert!(make(cut, &settings(Size::Scale(1.0)), &faithful(), None).is_err());
}

#[test]
fn a_limit_that_a_format_cannot_meet_is_told() {
    let lossless = Encoding { format: Format::Png, bits: 8, ..Encoding::default() };
    let bytes = png(40, 30, Channels::Rgb, 8, scene);
    let with = |max_kb| Settings { max_kb: Some(max_kb), encoding: lossless.clone(), ..settings(Size::Scale(2.0)) };
    assert!(make(bytes.clone(), &with(500), &faithful(), None).is_ok());
    let refused = make(bytes, &with(1), &faithful(), None).unwrap_err().to_string();
    assert!(refused.contains("no quality to lower"), "{refused}");
}

#[test]
fn the_result_is_the_networks_and_keeps_the_sources_colours() {
    let bytes = png(50, 40, Channels::Rgb, 8, scene);
    let (done, image, _) = make(bytes.clone(), &settings(Size::Model), &faithful(), None).unwrap();
    let pass = &done.plan.passes[0];
    assert_eq!((pass.model.as_str(), pass.scale, pass.mode.as_str(), pass.halo), ("faithful4", 4, "exact", 1));
    assert_eq!((pass.device.as_str(), done.plan.colour_lock, done.plan.reduction), ("cpu", true, 1.0));
    let source = codec::decode(Path::new("s.png"), &bytes, &Limits::default()).unwrap();
    let mean = |i: &Image, c: usize| {
        let p = i.band(0, i.height, c..c + 1);
        p.data.iter().sum::<f32>() / p.data.len() as f32
    };
    for c in 0..3 {
        assert!((mean(&image, c) - mean(&source, c)).abs() < 2.0 / 255.0, "channel {c}");
    }
    // Without the lock the fake's dark border stays.
    let open = Settings { colour_lock: false, ..settings(Size::Model) };
    let (done, dark, _) = make(bytes, &open, &faithful(), None).unwrap();
    assert!(!done.plan.colour_lock && mean(&dark, 0) < mean(&image, 0));
}

#[test]
fn cuts_and_workers_never_show() {
    let bytes =
        png(97, 61, Channels::Rgba, 8, |x, y, c| if c == 3 { f32::from(u8::from((x / 20 + y / 20) % 2 == 0)) } else { scene(x, y, c) });
    let mut results = Vec::new();
    for (tile, workers) in [(None, 1), (Some(32), 3), (Some(500), 2)] {
        use crate::upscale::engine::{Networks, Options, tests::options};
        let networks = Networks { main: Some(family().remove(0)), faithful: family(), ..Networks::default() };
        let engine = Engine::new(Box::new(FakeBackend::default()), networks, Options { tile, ..options(workers) }).unwrap();
        results.push(make(bytes.clone(), &settings(Size::Scale(3.0)), &engine, None).unwrap().2);
    }
    assert!(results.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn opaque_stays_opaque_and_clear_stays_clear() {
    let disc = |x: usize, y: usize, c: usize| match c {
        3 => f32::from(u8::from((x as f32 - 24.0).hypot(y as f32 - 24.0) < 15.0)),
        0 => 0.9,
        _ => 0.2,
    };
    let bytes = png(48, 48, Channels::Rgba, 8, disc);
    for size in [Size::Model, Size::Scale(3.3), Size::Scale(0.7)] {
        let (_, image, _) = make(bytes.clone(), &settings(size), &faithful(), None).unwrap();
        let Samples::U8(v) = &image.samples else { panic!("8 bits") };
        let at = |x: f32, y: f32, c: usize| {
            let (x, y) = ((x * image.width as f32) as usize, (y * image.height as f32) as usize);
            v[(y * image.width + x) * 4 + c]
        };
        assert_eq!((at(0.5, 0.5, 3), at(0.4, 0.6, 3), at(0.05, 0.05, 3), at(0.02, 0.5, 3)), (255, 255, 0, 0), "{size:?}");
        // No dark or light rim: the disc's colour goes on under the clear pixels.
        for px in v.chunks_exact(4).filter(|p| p[3] > 0) {
            assert!(px[0].abs_diff(230) <= 26 && px[1].abs_diff(51) <= 12, "{px:?} at {size:?}");
        }
    }
}

#[test]
fn depth_goes_through() {
    let ramp = |x: usize, y: usize, _: usize| (y * 256 + x) as f32 / 16384.0;
    let bytes = png(256, 64, Channels::Grey, 16, ramp);
    let (_, image, _) = make(bytes.clone(), &settings(Size::Scale(2.0)), &faithful(), None).unwrap();
    let Samples::U16(v) = &image.samples else { panic!("16 bits") };
    assert_eq!(image.channels, Channels::Grey);
    assert!(v.iter().collect::<std::collections::HashSet<_>>().len() > 4096);
    let mut eight = settings(Size::Scale(2.0));
    eight.encoding.bits = 8;
    let (done, image, _) = make(bytes, &eight, &faithful(), None).unwrap();
    assert!(matches!(image.samples, Samples::U8(_)) && done.notes[0].contains("8 bits"), "{:?}", done.notes);
}

#[test]
fn text_does_not_ring_when_resampled() {
    let text = |x: usize, y: usize, _: usize| f32::from(u8::from(!(x % 11 < 2 && y % 13 < 9)));
    let bytes = png(66, 52, Channels::Grey, 8, |x, y, c| 0.1 + 0.8 * text(x, y, c));
    for factor in [1.7, 3.0, 4.0] {
        let (done, image, _) = make(bytes.clone(), &settings(Size::Scale(factor)), &Engine::resample_only(), None).unwrap();
        let Samples::U8(v) = &image.samples else { panic!("8 bits") };
        let (lo, hi) = (v.iter().min().unwrap(), v.iter().max().unwrap());
        let (black, white) = ((0.1f32 * 255.0).round() as u8, (0.9f32 * 255.0).round() as u8);
        assert!(*lo + 4 >= black && *hi <= white + 4, "{lo}..{hi} at {factor}");
        assert!(done.plan.passes.is_empty() && done.notes[0].contains("without a network"));
    }
    let none = make(bytes, &settings(Size::Model), &Engine::resample_only(), None).unwrap_err();
    assert_eq!(none.kind(), "usage");
}

#[test]
fn dither_moves_less_than_half_a_code_and_nothing_that_is_on_one() {
    for code in [0u8, 1, 77, 128, 254, 255] {
        let mut band = Band::new(3, 64, 16, 4);
        band.data.fill(f32::from(code) / 255.0);
        dither_rows(&mut band, 3);
        assert!(band.data.iter().all(|v| (v * 255.0 + 0.5).floor() == f32::from(code)), "{code}");
    }
    let mut between = Band::new(0, 256, 256, 1);
    between.data.fill(100.3 / 255.0);
    dither_rows(&mut between, 1);
    let mean = between.data.iter().map(|v| (v * 255.0 + 0.5).floor()).sum::<f32>() / 65536.0;
    assert!((mean - 100.3).abs() < 0.02, "{mean}");
}

/// A picture of 8 bits that is only graded has its look applied to its codes; the same as going through floating point.
#[test]
fn graded_at_once_equals_graded_row_by_row() {
    struct Watches;
    impl Observer for Watches {
        fn begin(&mut self, _: &Image, _: &Plan, _: (usize, usize)) -> Result<()> {
            Ok(())
        }
        fn band(&mut self, _: &Band) -> Result<()> {
            Ok(())
        }
    }
    let text = "[[op]]\ntype = \"exposure\"\nstops = 0.4\n[[op]]\ntype = \"saturation\"\namount = 1.2\n";
    let look = crate::grade::Look::parse("t", text, Path::new("")).unwrap();
    let engine = Engine::resample_only();
    for (channels, dither) in [(Channels::Rgb, true), (Channels::Rgba, true), (Channels::Rgb, false), (Channels::Grey, true)] {
        let bytes = png(97, 150, channels, 8, scene);
        let settings = Settings { dither, grading: Grading::new(std::slice::from_ref(&look), 1.0).unwrap(), ..settings(Size::Scale(1.0)) };
        let (_, once, _) = make(bytes.clone(), &settings, &engine, None).unwrap();
        let (done, rows, _) = make(bytes.clone(), &settings, &engine, Some(&mut Watches)).unwrap();
        assert!(!done.notes.iter().any(|n| n.contains("written again")), "{:?}", done.notes);
        let (Samples::U8(a), Samples::U8(b)) = (&once.samples, &rows.samples) else { panic!("8 bits") };
        let apart: Vec<u8> = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).collect();
        assert!(apart.iter().all(|d| *d <= 1) && apart.iter().filter(|d| **d > 0).count() * 200 < apart.len(), "{channels:?} {dither}");
    }
}

#[test]
fn a_black_picture_is_never_delivered() {
    let bytes = png(30, 30, Channels::Rgb, 8, scene);
    for fake in [Fake { nan: true, ..Fake::default() }, Fake { constant: true, ..Fake::default() }] {
        let engine = engine(model("gan", 4, Kind::Perceptual, 9), true, FakeBackend { fake, ..FakeBackend::default() });
        let e = make(bytes.clone(), &settings(Size::Model), &engine, None).unwrap_err();
        let said = e.to_string();
        assert!(e.kind() == "quality" && said.contains("a/b.png") && said.contains("gan"), "{said}");
    }
}

#[test]
fn a_short_memory_only_means_smaller_tiles() {
    let bytes = png(120, 90, Channels::Rgb, 8, scene);
    let with = |memory_px| {
        let fake = Fake { memory_px, ..Fake::default() };
        engine(family().remove(0), false, FakeBackend { fake, ..FakeBackend::default() })
    };
    let whole = make(bytes.clone(), &settings(Size::Model), &with(None), None).unwrap();
    let tight = make(bytes, &settings(Size::Model), &with(Some(2000)), None).unwrap();
    assert_eq!(whole.2, tight.2);
    assert!(tight.0.notes.iter().any(|n| n.contains("memory")), "{:?}", tight.0.notes);
}

#[test]
fn faithful_is_mixed_in_as_asked() {
    let bytes = png(40, 30, Channels::Rgb, 8, scene);
    let gan = || engine(model("gan", 4, Kind::Perceptual, 9), true, FakeBackend::default());
    let mixed = Settings { faithful: 0.5, ..settings(Size::Model) };
    let (done, ..) = make(bytes.clone(), &mixed, &gan(), None).unwrap();
    let ids: Vec<&str> = done.plan.passes.iter().map(|p| p.model.as_str()).collect();
    assert_eq!((ids, done.plan.faithful), (vec!["gan", "faithful4"], 0.5));
    let (done, ..) = make(bytes, &mixed, &faithful(), None).unwrap();
    assert!(done.plan.passes.len() == 1 && done.notes[0].contains("nothing to blend"), "{:?}", done.notes);
}

#[test]
fn a_mask_changes_its_regions_and_no_pixel_beyond_its_feather() {
    let bytes = png(96, 80, Channels::Rgb, 8, scene);
    let gan = || engine(model("gan", 4, Kind::Perceptual, 9), true, FakeBackend::default());
    let dir = tempfile::tempdir().unwrap();
    let mask = dir.path().join("m.png");
    // Drawn over columns 40..56, rows 30..50 of the source.
    let inside = |x: usize, y: usize, by: usize| (40 - by..56 + by).contains(&x) && (30 - by..50 + by).contains(&y);
    std::fs::write(&mask, png(96, 80, Channels::Grey, 8, |x, y, _| f32::from(u8::from(inside(x, y, 0))))).unwrap();
    let protect = Some(Protect { mask, sha256: "m".into() });
    for share in [0.0, 0.3] {
        let chosen = Settings { faithful: share, ..settings(Size::Model) };
        let (_, plain, _) = make(bytes.clone(), &chosen, &gan(), None).unwrap();
        let (_, wholly, _) = make(bytes.clone(), &Settings { faithful: 0.0, ..chosen.clone() }, &faithful(), None).unwrap();
        let (done, masked, _) = make(bytes.clone(), &Settings { protect: protect.clone(), ..chosen }, &gan(), None).unwrap();
        assert!(done.plan.colour_lock && done.plan.protected[0].model == "faithful4");
        let [plain, wholly, masked] = [plain, wholly, masked].map(|i| i.colour(0, i.height));
        let mut changed = 0;
        for (c, y, x) in (0..3).flat_map(|c| (0..320).flat_map(move |y| (0..384).map(move |x| (c, y, x)))) {
            let is = masked.row(c, y)[x];
            if inside(x / 4, y / 4, 0) {
                assert_eq!(is, wholly.row(c, y)[x], "{x},{y} is protected");
                changed += usize::from(is != plain.row(c, y)[x]);
            } else if !inside(x / 4, y / 4, protect::FEATHER) {
                assert_eq!(is, plain.row(c, y)[x], "{x},{y} is beyond the feather");
            }
        }
        assert!(changed > 3000, "{changed}");
    }
}

#[test]
fn watchers_see_the_plan_and_every_row() {
    #[derive(Default)]
    struct Watch {
        passes: usize,
        rows: usize,
    }
    impl Observer for Watch {
        fn begin(&mut self, source: &Image, plan: &Plan, size: (usize, usize)) -> Result<()> {
            assert_eq!((source.width, size), (40, (120, 90)));
            self.passes = plan.passes.len();
            Ok(())
        }
        fn band(&mut self, band: &Band) -> Result<()> {
            assert_eq!((band.y, band.width, band.channels), (self.rows, 120, 3));
            self.rows = band.end();
            Ok(())
        }
    }
    let mut watch = Watch::default();
    make(png(40, 30, Channels::Rgb, 8, scene), &settings(Size::Scale(3.0)), &faithful(), Some(&mut watch)).unwrap();
    assert_eq!((watch.passes, watch.rows), (1, 90));
}

#[test]
fn a_second_look_changes_its_patch_and_nothing_else() {
    use crate::inspect::Rect;
    struct Mender(Look, bool);
    impl Observer for Mender {
        fn begin(&mut self, _: &Image, _: &Plan, size: (usize, usize)) -> Result<()> {
            assert_eq!(size, (160, 480));
            Ok(())
        }
        fn band(&mut self, _: &Band) -> Result<()> {
            Ok(())
        }
        fn look(&self) -> Look {
            self.0.clone()
        }
        fn mend(&mut self) -> Result<Patches> {
            let at = Rect { x: 30, y: 50, w: 40, h: 300 };
            Ok(if self.1 { Patches::flat(at, 0.25) } else { Patches::default() })
        }
    }
    let inside = |i: usize| (30..70).contains(&(i % 160)) && (50..350).contains(&(i / 160));
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join("mended");
    for (channels, bits) in [(Channels::Rgb, 8), (Channels::Rgba, 16), (Channels::Grey, 8)] {
        let bytes = png(40, 120, channels, bits, |x, y, c| if c == 3 { 1.0 } else { scene(x, y, c) });
        let s = settings(Size::Model);
        let (_, plain, file) = make(bytes.clone(), &s, &faithful(), None).unwrap();
        let (_, mended, _) = make(bytes.clone(), &s, &faithful(), Some(&mut Mender(Look::Mend, true))).unwrap();
        let (_, _, same) = make(bytes.clone(), &s, &faithful(), Some(&mut Mender(Look::Mend, false))).unwrap();
        assert_eq!(same, file, "nothing mended, nothing changed");
        let (_, _, same) = make(bytes.clone(), &s, &faithful(), Some(&mut Mender(Look::Beside(beside.clone()), false))).unwrap();
        assert!(same == file && !beside.exists());
        let (_, _, same) = make(bytes, &s, &faithful(), Some(&mut Mender(Look::Beside(beside.clone()), true))).unwrap();
        assert_eq!(same, file);
        let other = codec::decode(&beside, &std::fs::read(&beside).unwrap(), &Limits::default()).unwrap();
        std::fs::remove_file(&beside).unwrap();
        assert_eq!(other.samples, mended.samples, "mended beside is mended in place");
        let (a, b) = (plain.band(0, 480, 0..channels.colours()), mended.band(0, 480, 0..channels.colours()));
        for c in 0..channels.colours() {
            for (i, (a, b)) in a.plane(c).iter().zip(b.plane(c)).enumerate() {
                match inside(i) {
                    true => assert!((b - 0.25).abs() < 0.003, "{b}"),
                    false => assert_eq!(a.to_bits(), b.to_bits()),
                }
            }
        }
        let history = |i: &Image| String::from_utf8(i.metadata.xmp.clone().unwrap_or_default()).unwrap();
        assert!(history(&mended).contains("1 region mended"), "{}", history(&mended));
        assert!(!history(&plain).contains("mended"));
    }
}

#[test]
fn stopping_stops() {
    let bytes = png(200, 200, Channels::Rgb, 8, scene);
    let dir = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(true);
    let s = settings(Size::Model);
    for engine in [faithful(), Engine::resample_only()] {
        let s = if engine.main().is_some() { s.clone() } else { settings(Size::Scale(2.0)) };
        let job = Job {
            source: Path::new("a.png"),
            bytes: bytes.clone(),
            output: &dir.path().join("o"),
            settings: &s,
            limits: Limits::default(),
            master: None,
            extra: vec![],
        };
        let e = process(job, &engine, Hooks { stop: &stop, progress: &|_| {}, observer: None, waiting: 0, card: None }).unwrap_err();
        assert!(matches!(e, Error::Interrupted), "{e}");
    }
}

#[test]
fn a_kept_master_stands_in_for_the_networks() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = png(40, 30, Channels::Rgba, 8, scene);
    let made = |name: &str, encoding: Encoding, engine: &Engine, master: Option<Master>| {
        let output = dir.path().join(name);
        let settings = Settings { encoding, ..settings(Size::Scale(3.0)) };
        let job = Job {
            source: Path::new("a.png"),
            bytes: bytes.clone(),
            output: &output,
            settings: &settings,
            limits: Limits::default(),
            master,
            extra: vec![],
        };
        let done = process(job, engine, Hooks { stop: &AtomicBool::new(false), progress: &|_| {}, observer: None, waiting: 0, card: None })
            .unwrap();
        (std::fs::read(&output).unwrap(), done.plan)
    };
    let encoding = |small| Encoding { small, ..settings(Size::Model).encoding };
    let master = |keep| Some(Master { path: dir.path().join("masters/a"), key: "key".into(), keep });
    let plain = [false, true].map(|small| made("plain", encoding(small), &faithful(), None));
    assert_ne!(plain[0].0, plain[1].0);
    assert!(made("first", encoding(false), &faithful(), master(true)) == plain[0]);
    // An engine without networks would give another picture.
    assert_ne!(made("none", encoding(true), &Engine::resample_only(), None).0, plain[1].0);
    let again = made("again", encoding(true), &Engine::resample_only(), master(false));
    assert_eq!(again.1, plain[1].1, "the same networks");
    assert!(again.0 == plain[1].0, "the same file");
}

/// A kit with three exports: one decode, one run of the networks, three files, all of them as they would be alone.
#[test]
fn further_exports_cost_no_decode_and_no_network() {
    use super::delivery::Extra;
    use crate::brand::{Brand, Finish, Kit};
    let text = "name = \"a\"\nlook = \"warm-film\"\ngroup_by = \"picture\"\n[[export]]\nname = \"full\"\nformat = \"png\"\n\
        [[export]]\nname = \"web\"\nlong_edge = 60\nformat = \"jpeg\"\n[[export]]\nname = \"square\"\ncover = [40, 40]\nfocus = \"auto\"\nformat = \"webp\"\n";
    let kit = Kit::parse(Path::new("a.brand.toml"), text).unwrap();
    let formats: Vec<Format> = kit.exports.iter().map(|e| e.format.unwrap()).collect();
    let brand = Arc::new(Brand::open(kit).unwrap());
    let of = |i: usize| Settings {
        finish: Some(Finish::new(Arc::clone(&brand), i)),
        encoding: Encoding { format: formats[i], bits: 0, ..Encoding::default() },
        ..settings(Size::Model)
    };
    let dir = tempfile::tempdir().unwrap();
    let bytes = png(40, 30, Channels::Rgb, 8, scene);
    let run = |which: &[usize], name: &str| {
        let backend = FakeBackend::default();
        let runs = backend.fake.runs.clone();
        let engine = engine(family().remove(0), false, backend);
        let path = |i: &usize| dir.path().join(format!("{name}{i}"));
        let first = of(which[0]);
        let extra = which[1..].iter().map(|i| Extra { output: path(i), settings: of(*i) }).collect();
        let (source, output) = (Path::new("a.png"), path(&which[0]));
        let job = Job { source, bytes: bytes.clone(), output: &output, settings: &first, limits: Limits::default(), master: None, extra };
        let done = process(job, &engine, Hooks { stop: &NEVER, progress: &|_| {}, observer: None, waiting: 0, card: None }).unwrap();
        let files: Vec<Vec<u8>> = which.iter().map(|i| std::fs::read(path(i)).unwrap()).collect();
        (done, files, runs.load(Ordering::Relaxed))
    };
    let (done, files, runs) = run(&[0, 1, 2], "all");
    let sizes: Vec<_> = std::iter::once((done.width, done.height)).chain(done.extra.iter().map(|m| (m.width, m.height))).collect();
    assert_eq!(sizes, [(160, 120), (60, 45), (40, 40)]);
    for (i, file) in files.iter().enumerate() {
        let (_, alone, once) = run(&[i], "one");
        assert!(alone[0] == *file, "export {i} alone is another file");
        assert_eq!(once, runs, "each tile runs once, however many files are made");
    }
    let grid = done.plan.passes[0].grid;
    assert_eq!(runs, (grid[0] * grid[1]) as usize);
}

#[test]
fn only_what_the_new_colours_cannot_hold_counts_as_clipped() {
    let band = |data: &[f32], channels: usize| Band { y: 0, width: data.len() / channels, rows: 1, channels, data: data.to_vec() };
    // Four pixels: inside, beyond white already, out of the new space, out by less than a code.
    let before = band(&[0.5, 1.02, 0.9, 0.9, 0.5, 0.5, 0.1, 0.1, 0.5, 0.5, 0.1, 0.1], 3);
    let after = band(&[0.5, 1.03, 0.9, 0.9, 0.5, 0.5, -0.1, -0.001, 0.5, 0.5, 0.1, 0.1], 3);
    assert_eq!(outside(&before, 3, &after), 1);
    assert_eq!(outside(&band(&[0.5, 1.02, 0.9, 0.9], 1), 1, &after), 1);
}

#[test]
fn grey_pictures_become_coloured_ones_where_a_profile_asks_for_it() {
    for channels in [Channels::Grey, Channels::GreyAlpha] {
        let source = png(9, 7, channels, 8, |x, y, _| (x + y) as f32 / 15.0);
        let to = Settings { convert_to: Some(ColourSpace::DisplayP3), ..settings(Size::Scale(1.0)) };
        let (_, image, _) = make(source, &to, &faithful(), None).unwrap();
        assert_eq!(image.channels, Channels::of(3, channels.has_alpha()));
        let row = image.colour(3, 4);
        // Greys of sRGB are greys of P3, of the same value: the curve is the same.
        for (x, want) in (0..9).map(|x| (x, (x + 3) as f32 / 15.0)) {
            assert!((0..3).all(|c| (row.row(c, 0)[x] - want).abs() < 1.1 / 255.0), "{channels:?}");
        }
    }
}

#[test]
fn what_unpacks_a_png_counts_as_memory() {
    let header = |format, width, bits| Header { format, width, height: 4000, channels: Channels::Rgb, bits, orientation: 1 };
    let same = |h: &Header| Target { width: h.width, height: h.height, ..Size::Model.target(h.width, h.height, Fit::Inside, 1.0).unwrap() };
    let of = |h: Header, file: u64| memory(&h, &same(&h), &Encoding::default(), file);
    let pixels = |width: u64, bytes: u64| width * 4000 * 3 * bytes;
    // Unpacked rows, packed data put together, the file and its pixels are there at once; a JPEG's decoder needs none of the first two.
    let (file, rows) = (30 << 20, pixels(8000, 1) + 4000);
    assert_eq!(of(header(Format::Png, 8000, 8), file), 2 * file + rows + pixels(8000, 1));
    assert!(of(header(Format::Jpeg, 8000, 8), file) < 2 * file + rows + pixels(8000, 1));
    // Rows of that many bytes are unpacked as they are read.
    assert!(pixels(12000, 1) > 128 << 20 && of(header(Format::Png, 12000, 8), file) < 2 * file + 2 * pixels(12000, 1));
}
