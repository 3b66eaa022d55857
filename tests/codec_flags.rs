//! The flags about the file that is written, through the program: packing, size limit, colour space, animations, metadata.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod program;

use std::path::{Path, PathBuf};

use lastmile::codec::{self, Encoding, Format, Limits, Metadata, Text};
use lastmile::color::{ColourSpace, Profile, White, delta_e_2000, profile_bytes, srgb_to_lab};
use lastmile::image::{Channels, Samples};
use lastmile::{Band, Image};
use moxcms::{ColorProfile, Layout, RenderingIntent, TransformOptions};

const PARAMETERS: &str = "a lighthouse\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Model: m1";

fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LASTMILE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let file = root.join("images/metadata").join(name);
    if file.is_file() {
        return Some(file);
    }
    println!("skipped: {} is not there", file.display());
    None
}

/// Something like a photograph: smooth, with detail everywhere.
fn scene(width: usize, height: usize) -> Band {
    let mut b = Band::new(0, width, height, 3);
    for c in 0..3 {
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32, y as f32);
                let wave = (u / 17.0 + c as f32).sin() * (v / 13.0).cos() + 0.3 * (u * 1.7 + v * 0.9).sin();
                b.row_mut(c, y)[x] = 0.5 + 0.35 * wave;
            }
        }
    }
    b
}

fn write(path: &Path, picture: &Band, metadata: &Metadata) {
    let how = Encoding { format: Format::from_path(path).unwrap(), quality: 95, lossless: true, ..Encoding::default() };
    let mut e = codec::encoder(path, &how, picture.width, picture.rows, Channels::Rgb, metadata).unwrap();
    e.write(picture).unwrap();
    e.finish().unwrap();
}

fn read(path: &Path) -> Image {
    codec::decode(path, &std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())), &Limits::default()).unwrap()
}

/// `lastmile upscale --model none` in `dir` with these arguments; the exit code, standard output and standard error.
fn upscale(dir: &Path, args: &str) -> (i32, String, String) {
    let mut command = program::lastmile(dir, &dir.join("home"));
    command.env("SOURCE_DATE_EPOCH", "86400").args(["upscale", "--model", "none"]).args(args.split(' '));
    let output = command.output().unwrap();
    let (out, err) = program::text(&output);
    (output.status.code().unwrap(), out, err)
}

fn done(dir: &Path, args: &str) -> String {
    let (code, out, err) = upscale(dir, args);
    assert_eq!(code, 0, "{args}: {out}{err}");
    out + &err
}

fn source() -> Metadata {
    let mut xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
        <rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:exif='http://ns.adobe.com/exif/1.0/' \
        exif:GPSLatitude='48,8.5N'><dc:rights><rdf:Alt><rdf:li xml:lang='x-default'>mine</rdf:li></rdf:Alt></dc:rights>"
        .to_vec();
    xmp.extend(b"</rdf:Description></rdf:RDF></x:xmpmeta>");
    Metadata { xmp: Some(xmp), text: vec![Text::new("parameters", PARAMETERS)], dpi: Some((150.0, 150.0)), ..Metadata::default() }
}

fn xmp(m: &Metadata) -> String {
    String::from_utf8(m.xmp.clone().unwrap_or_default()).unwrap()
}

#[test]
fn metadata_is_kept_thinned_or_left_out_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(&dir.join("a.png"), &scene(40, 30), &source());

    done(dir, "a.png -o all --scale 2 --format jpeg");
    let all = read(&dir.join("all/a.jpg")).metadata;
    assert_eq!(codec::generation(&all).unwrap().seed, "42");
    let said = xmp(&all);
    for word in ["GPSLatitude", "mine", "resized", "40x30 to 80x60 px; no model", "lastmile 0.", "1970-01-02T00:00:00Z"] {
        assert!(said.contains(word), "{word}: {said}");
    }

    done(dir, "a.png -o less --scale 2 --strip gps,prompt --source-type trainedAlgorithmicMedia");
    let less = read(&dir.join("less/a.png")).metadata;
    assert_eq!(codec::generation(&less), None);
    assert_eq!((less.source_type().as_deref(), less.dpi), (Some("trainedAlgorithmicMedia"), Some((150.0, 150.0))));
    let said = xmp(&less);
    assert!(!said.contains("GPS") && said.contains("mine") && !said.contains("lighthouse"), "{said}");

    done(dir, "a.png -o minimal --scale 2 --metadata minimal");
    let minimal = read(&dir.join("minimal/a.png")).metadata;
    let said = xmp(&minimal);
    assert!(minimal.text.is_empty() && said.contains("mine") && said.contains("History") && !said.contains("GPS"), "{said}");

    done(dir, "a.png -o nothing --scale 2 --strip all");
    let nothing = read(&dir.join("nothing/a.png")).metadata;
    assert_eq!(nothing, Metadata { dpi: Some((150.0, 150.0)), ..Metadata::default() });

    let (code, _, err) = upscale(dir, "a.png -o wrong --scale 2 --source-type photo");
    assert!(code == 2 && err.contains("trainedAlgorithmicMedia"), "{err}");

    // What differs is told by `meta --diff`.
    let mut meta = program::lastmile(dir, &dir.join("home"));
    let (out, _) = program::text(&meta.args(["meta", "--diff", "a.png", "less/a.png"]).output().unwrap());
    for word in ["size", "- 40x30", "+ 80x60", "seed", "- 42", "xmpMM:History"] {
        assert!(out.contains(word), "{word}: {out}");
    }
}

#[test]
fn a_claim_is_kept_beside_the_output_and_its_loss_is_told() {
    let Some(file) = shared("c2pa_C.jpg") else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::copy(&file, dir.join("c.jpg")).unwrap();
    let store = read(&file).metadata.c2pa.unwrap();

    let said = done(dir, "c.jpg -o out --long-edge 300 --json -");
    let event = said.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()).find(|v| v["event"] == "file").unwrap();
    assert_eq!(event["c2pa"]["carried"], false);
    assert!(event["c2pa"]["kept_in"].as_str().unwrap().ends_with("c.jpg.source.c2pa"), "{event}");
    assert!(said.contains("Content Credentials of 1 file were lost"), "{said}");
    assert_eq!(std::fs::read(dir.join("out/c.jpg.source.c2pa")).unwrap(), store);
    assert_eq!(read(&dir.join("out/c.jpg")).metadata.c2pa, None);
    // The same command again has nothing to do; one that asks for no metadata leaves no manifest either.
    assert!(done(dir, "c.jpg -o out --long-edge 300").contains("done already"));
    done(dir, "c.jpg -o bare --long-edge 300 --strip all");
    assert!(!dir.join("bare/c.jpg.source.c2pa").exists());
    // Somebody's own file of that name is not replaced unasked.
    std::fs::create_dir(dir.join("taken")).unwrap();
    std::fs::write(dir.join("taken/c.jpg.source.c2pa"), "theirs").unwrap();
    let (code, _, err) = upscale(dir, "c.jpg -o taken --long-edge 300");
    assert!(code == 3 && err.contains("another file is there already"), "{err}");
    assert_eq!(std::fs::read(dir.join("taken/c.jpg.source.c2pa")).unwrap(), b"theirs");
}

#[test]
fn animations_are_refused_or_give_their_first_frame() {
    for name in ["animated.gif", "animated.png", "animated.webp"] {
        let Some(file) = shared(name) else { return };
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::copy(&file, dir.join(name)).unwrap();
        let (code, _, err) = upscale(dir, &format!("{name} -o out --scale 2"));
        assert!(code == 3 && err.contains("--frames first"), "{err}");
        // A plan tells it as the run does.
        let (code, _, plan) = upscale(dir, &format!("{name} -o out --scale 2 --dry-run"));
        let reason = err.lines().find(|l| l.contains("this is an animation")).unwrap().trim().trim_start_matches("failed: ").to_owned();
        assert!(code == 0 && plan.contains("fail     1 file cannot be made") && plan.contains(&reason), "{plan} {reason}");
        let (_, _, plan) = upscale(dir, &format!("{name} -o out --scale 2 --frames first --dry-run"));
        let note = plan.lines().find_map(|l| l.strip_prefix("notes    1 file: ")).unwrap_or_else(|| panic!("{plan}")).to_owned();
        assert!(note.contains("its first frame was taken") && !plan.contains("fail "), "{plan}");
        let said = done(dir, &format!("{name} -o out --scale 2 --frames first -v"));
        assert!(said.contains(&note), "{said}");
        let ext = if name.ends_with("webp") { "webp" } else { "png" };
        let image = read(&dir.join(format!("out/animated.{ext}")));
        let header = codec::probe(&file, &Limits::default()).unwrap();
        assert_eq!((image.width, image.height), (header.width * 2, header.height * 2), "{name}");
        // Also where nothing else is to be done: it must not be copied with all its frames.
        if ext != "gif" {
            done(dir, &format!("{name} -o same --scale 1 --frames first"));
            let bytes = std::fs::read(dir.join(format!("same/animated.{ext}"))).unwrap();
            assert!(codec::decode(Path::new("a"), &bytes, &Limits::default()).is_ok(), "{name}");
        }
        // The frame is a picture, not an empty canvas.
        let colour = image.colour(0, image.height);
        let (low, high) = colour.data.iter().fold((1f32, 0f32), |(l, h), v| (l.min(*v), h.max(*v)));
        assert!(high - low > 0.1, "{name}: {low}..{high}");
    }
}

#[test]
fn frames_are_counted_however_large_the_file_is() {
    use image::codecs::gif::GifEncoder;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.gif");
    let mut seed = 1u32;
    let mut noise = |_: u32, _: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgba([(seed >> 24) as u8, (seed >> 16) as u8, (seed >> 8) as u8, 255])
    };
    let frames: Vec<_> = (0..3).map(|_| image::Frame::new(image::RgbaImage::from_fn(300, 300, &mut noise))).collect();
    GifEncoder::new(std::fs::File::create(&path).unwrap()).encode_frames(frames).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > 256 << 10);
    let e = codec::foresee(&path, &Limits::default()).unwrap_err().to_string();
    assert!(e.contains("this is an animation (GIF, 3 frames)") && e.contains("--frames first"), "{e}");
    let (header, note) = codec::foresee(&path, &Limits { first_frame: true, ..Limits::default() }).unwrap();
    assert_eq!((header.width, note.as_deref()), (300, Some("this is an animation (GIF, 3 frames); its first frame was taken")));
    write(&dir.path().join("still.png"), &scene(400, 300), &Metadata::default());
    assert_eq!(codec::foresee(&dir.path().join("still.png"), &Limits::default()).unwrap().1, None);
}

#[test]
fn a_file_stays_within_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(&dir.join("a.png"), &scene(150, 100), &source());
    done(dir, "a.png -o full --scale 2 --format jpeg");
    let full = std::fs::metadata(dir.join("full/a.jpg")).unwrap().len();
    for (format, ext) in [("jpeg", "jpg"), ("webp", "webp")] {
        let limit = full / 2 / 1000;
        let said = done(dir, &format!("a.png -o {format} --scale 2 --format {format} --max-kb {limit} -v"));
        let path = dir.join(format!("{format}/a.{ext}"));
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size <= limit * 1000 && size > limit * 500, "{format}: {size} of {limit} kB");
        if format == "jpeg" {
            assert!(said.contains("instead of 95 to stay within"), "{said}");
        }
        assert_eq!(codec::generation(&read(&path).metadata).unwrap().seed, "42");
    }
    // Nothing is left of the rows that were parked.
    assert!(!dir.join("jpeg/.lastmile/tmp").exists());
    // With room enough, the file is the one made without a limit.
    done(dir, &format!("a.png -o room --scale 2 --format jpeg --max-kb {}", full / 1000 + 1));
    assert_eq!(std::fs::read(dir.join("room/a.jpg")).unwrap(), std::fs::read(dir.join("full/a.jpg")).unwrap());
    let (code, _, err) = upscale(dir, "a.png -o tiny --scale 2 --format jpeg --max-kb 1");
    assert!(code == 3 && err.contains("even at quality 10") && err.contains("try: a smaller size"), "{err}");
    let (code, _, err) = upscale(dir, "a.png -o png --scale 2 --format png --max-kb 100");
    assert!(code == 2 && err.contains("--max-kb"), "{err}");
}

#[test]
fn files_are_packed_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(&dir.join("a.png"), &scene(150, 100), &source());
    let marker = |file: &str, marker: u8| {
        let bytes = std::fs::read(dir.join(file)).unwrap();
        let at = bytes.windows(2).position(|w| w == [0xff, marker]);
        at.map(|at| bytes[at..at + 20].to_vec())
    };
    done(dir, "a.png -o plain --scale 2 --format jpeg");
    done(dir, "a.png -o packed --scale 2 --format jpeg --progressive --chroma 420");
    assert!(marker("plain/a.jpg", 0xc0).is_some_and(|s| s[11] == 0x11) && marker("plain/a.jpg", 0xc2).is_none());
    assert!(marker("packed/a.jpg", 0xc2).is_some_and(|s| s[11] == 0x22));
    let (plain, packed) = (read(&dir.join("plain/a.jpg")), read(&dir.join("packed/a.jpg")));
    let apart = plain.colour(0, 200).data.iter().zip(&packed.colour(0, 200).data).map(|(a, b)| (a - b).abs()).sum::<f32>();
    assert!(apart / (300.0 * 200.0 * 3.0) < 0.02, "{apart}");
    assert_eq!(xmp(&plain.metadata), xmp(&packed.metadata));

    done(dir, "a.png -o fast --scale 2");
    done(dir, "a.png -o small --scale 2 --png small");
    let size = |d: &str| std::fs::metadata(dir.join(d).join("a.png")).unwrap().len();
    assert!(size("small") < size("fast"), "{} {}", size("small"), size("fast"));
    assert_eq!(read(&dir.join("small/a.png")).samples, read(&dir.join("fast/a.png")).samples);
}

/// Mean CIEDE2000 between two pictures, each seen through its own profile.
fn difference(a: &Image, b: &Image) -> f64 {
    let lab = |i: &Image| {
        let profile = i.metadata.icc.as_deref().map_or_else(|| Ok(Profile::srgb()), Profile::from_icc).unwrap();
        let rgb = profile.to_srgb().unwrap().band(&i.colour(0, i.height)).unwrap();
        let pixel = |k: usize| std::array::from_fn(|c| f64::from(rgb.plane(c)[k]));
        (0..i.width * i.height).map(|k| srgb_to_lab(pixel(k), White::D65)).collect::<Vec<_>>()
    };
    let (a, b) = (lab(a), lab(b));
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| delta_e_2000(*a, *b)).sum::<f64>() / a.len() as f64
}

/// The picture as a colour management system shows it on an sRGB screen: `moxcms`, which the pipeline does not use for these
/// profiles.
fn shown(image: &Image) -> Image {
    let icc = image.metadata.icc.as_deref().map_or_else(ColorProfile::new_srgb, |i| ColorProfile::new_from_slice(i).unwrap());
    let grey = image.channels == Channels::Grey;
    let codes: Vec<u16> = match &image.samples {
        Samples::U8(v) => v.iter().map(|v| u16::from(*v) * 257).collect(),
        Samples::U16(v) => v.clone(),
        Samples::F32(_) => panic!("no float here"),
    };
    let from = if grey { Layout::Gray } else { Layout::Rgb };
    let options = TransformOptions { rendering_intent: RenderingIntent::RelativeColorimetric, ..TransformOptions::default() };
    let transform = icc.create_transform_16bit(from, &ColorProfile::new_srgb(), Layout::Rgb, options).unwrap();
    let mut rgb = vec![0; image.width * image.height * 3];
    transform.transform(&codes, &mut rgb).unwrap();
    Image { channels: Channels::Rgb, samples: Samples::U16(rgb), metadata: Metadata::default(), ..image.clone() }
}

#[test]
fn every_profile_renders_the_same_picture_after_processing() {
    let mut swapped = ColorProfile::new_srgb();
    (swapped.red_colorant, swapped.green_colorant, swapped.blue_colorant) =
        (swapped.green_colorant, swapped.blue_colorant, swapped.red_colorant);
    for (name, profile) in [
        ("Display P3", ColorProfile::new_display_p3()),
        ("Adobe RGB", ColorProfile::new_adobe_rgb()),
        ("ProPhoto", ColorProfile::new_pro_photo_rgb()),
        ("Rec.2020", ColorProfile::new_bt2020()),
        ("swapped channels", swapped),
        ("grey", ColorProfile::new_gray_with_gamma(1.8)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let icc = profile_bytes(&profile).unwrap();
        let grey = name == "grey";
        let channels = if grey { Channels::Grey } else { Channels::Rgb };
        let mut picture = scene(64, 48);
        // Inside sRGB also where primaries are wide.
        picture.data.iter_mut().for_each(|v| *v = 0.35 + 0.3 * *v);
        if grey {
            picture = Band { channels: 1, data: picture.plane(0).to_vec(), ..picture };
        }
        let how = Encoding { bits: 16, ..Encoding::default() };
        let source = Metadata { icc: Some(icc.clone()), ..Metadata::default() };
        let mut e = codec::encoder(&dir.join("tagged.png"), &how, 64, 48, channels, &source).unwrap();
        e.write(&picture).unwrap();
        e.finish().unwrap();
        // The reference: what a colour-managed program shows, enlarged in sRGB.
        let plain = shown(&read(&dir.join("tagged.png")));
        let mut e = codec::encoder(&dir.join("plain.png"), &how, 64, 48, Channels::Rgb, &Metadata::default()).unwrap();
        e.write(&plain.colour(0, 48)).unwrap();
        e.finish().unwrap();
        done(dir, "plain.png -o reference --scale 2");
        let reference = read(&dir.join("reference/plain.png"));
        // Not JPEG, whose rounding between YCbCr and RGB alone is more than is allowed here; it keeps profiles the same way.
        for args in [
            "--scale 2",
            "--scale 2 --depth 8 --dither off",
            "--scale 2 --dither off --lossless --format webp",
            "--scale 2 --format tiff",
            "--scale 2 --convert-to p3",
        ] {
            done(dir, &format!("tagged.png -o out {args} --overwrite"));
            let format = args.split_once("--format ").map_or("png", |f| f.1);
            let made = read(&dir.join(format!("out/tagged.{format}")));
            // WebP knows no grey profiles: such a picture is converted.
            let converted = (args.contains("p3") && name != "Display P3") || (grey && format == "webp");
            assert_eq!(made.metadata.icc.as_deref() == Some(&icc), !converted, "{name} {args}");
            let apart = difference(&reference, &shown(&made));
            assert!(apart < 0.5, "{name} {args}: {apart:.3}");
            println!("{name} {args}: mean CIEDE2000 {apart:.3}");
        }
    }
}

#[test]
fn converted_pictures_look_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let p3 = ColourSpace::DisplayP3.icc().unwrap();
    let mut soft = scene(60, 40);
    // Within sRGB, so that nothing has to be clipped.
    soft.data.iter_mut().for_each(|v| *v = 0.3 + 0.4 * *v);
    write(&dir.join("p3.png"), &soft, &Metadata { icc: Some(p3.clone()), ..Metadata::default() });
    write(&dir.join("plain.png"), &soft, &Metadata::default());
    std::fs::write(dir.join("p3.icc"), &p3).unwrap();
    let source = read(&dir.join("p3.png"));

    done(dir, "p3.png -o srgb --scale 1 --convert-to srgb --depth 16");
    let srgb = read(&dir.join("srgb/p3.png"));
    assert_eq!(srgb.metadata.icc, Some(ColourSpace::Srgb.icc().unwrap()));
    assert!(difference(&source, &srgb) < 0.05, "{}", difference(&source, &srgb));
    assert!(source.samples != srgb.samples);

    done(dir, "plain.png -o wide --scale 1 --convert-to p3.icc --depth 16");
    let wide = read(&dir.join("wide/plain.png"));
    assert_eq!(wide.metadata.icc, Some(p3));
    assert!(difference(&read(&dir.join("plain.png")), &wide) < 0.05);

    // What is sRGB already keeps its pixels and says what they are.
    done(dir, "plain.png -o same --scale 1 --convert-to srgb");
    let same = read(&dir.join("same/plain.png"));
    assert!(same.metadata.icc.is_some() && same.samples == read(&dir.join("plain.png")).samples);

    let loud = Band { data: scene(60, 40).data.iter().map(|v| if *v > 0.5 { 1.0 } else { 0.0 }).collect(), ..scene(60, 40) };
    write(&dir.join("loud.png"), &loud, &Metadata { icc: source.metadata.icc.clone(), ..Metadata::default() });
    let said = done(dir, "loud.png -o out --scale 1 --convert-to srgb -v");
    assert!(said.contains("% of the pixels lie outside the new colour space"), "{said}");
}

#[test]
fn with_a_kept_master_another_quality_or_look_needs_no_network() {
    let Some(home) = program::home() else { return };
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.png"), &scene(48, 40), &source());
    let run = |args: &str| {
        let output = program::lastmile(dir.path(), &home).env("SOURCE_DATE_EPOCH", "86400").args(args.split(' ')).output().unwrap();
        let (out, err) = program::text(&output);
        assert_eq!(output.status.code(), Some(0), "{args}: {out}{err}");
        err
    };
    let disk = |args: &str| {
        let output = program::lastmile(dir.path(), &home)
            .args(format!("plan upscale a.png -o kept --format jpeg {args} --json -").split(' '))
            .output()
            .unwrap();
        let (out, err) = program::text(&output);
        let plan = out.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()).find(|v| v["event"] == "plan");
        plan.unwrap_or_else(|| panic!("{out}{err}"))["disk_bytes"].as_u64().unwrap()
    };
    let (picture, deep) = (16 * 48 * 40 * 3, 4 * 16 * 48 * 40 * 3);
    let plain = disk("--quality 90");
    assert!(plain < picture, "{plain}");
    assert_eq!(disk("--quality 90 --keep-master"), plain + deep, "the master counts");
    assert_eq!(disk("--quality 90 --repair auto"), plain + deep, "what waits to be mended counts");
    assert_eq!(disk("--quality 90 --max-kb 20"), plain + 2 * picture, "what waits for its quality counts");
    let said = run("upscale a.png -o kept --format jpeg --keep-master");
    assert_eq!(disk("--quality 80 --keep-master"), plain, "a master that is there takes nothing more");
    assert!(said.contains("Masters") && said.contains(".lastmile/masters"), "{said}");
    let masters = dir.path().join("kept/.lastmile/masters");
    let files: Vec<PathBuf> = std::fs::read_dir(&masters).unwrap().map(|e| e.unwrap().path()).collect();
    let rows = files.iter().find(|f| f.extension().unwrap() == "rows").unwrap();
    assert_eq!((files.len(), std::fs::metadata(rows).unwrap().len()), (2, 4 * 48 * 4 * 40 * 3 * 4));
    for change in ["--quality 70", "--look clean", "--quality 80 --look clean"] {
        run(&format!("upscale a.png -o kept --format jpeg {change}"));
        run(&format!("upscale a.png -o fresh --format jpeg {change}"));
        let [kept, fresh] = ["kept/a.jpg", "fresh/a.jpg"].map(|f| std::fs::read(dir.path().join(f)).unwrap());
        assert!(kept == fresh, "{change}");
    }
    // That it was the master: with another one in its place the picture is another.
    std::fs::write(rows, vec![0; std::fs::metadata(rows).unwrap().len() as usize]).unwrap();
    run("upscale a.png -o kept --format jpeg --quality 60");
    let black = read(&dir.path().join("kept/a.jpg"));
    let Samples::U8(v) = &black.samples else { panic!("8 bits") };
    assert!(v.iter().all(|v| *v < 8));
    // Another size is another master, in the place of the first.
    run("upscale a.png -o kept --format jpeg --scale 2 --keep-master");
    assert_eq!(std::fs::metadata(rows).unwrap().len(), 2 * 48 * 2 * 40 * 3 * 4);
}
