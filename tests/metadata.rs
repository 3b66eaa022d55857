//! What a file says survives, in every container and across them. The independent reader is `exiftool` (Debian:
//! libimage-exiftool-perl); without it, or without the folder of reference files, the tests on them say so and pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)] // a test file

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "metadata/kept.rs"]
mod kept;
mod program;

use lastmile::Band;
use lastmile::codec::{self, Changes, Encoding, Event, Format, Keep, Limits, Metadata, Policy, SourceType, Strip, Text};
use lastmile::image::Channels;

#[cfg(not(feature = "avif"))]
const WRITTEN: [Format; 4] = [Format::Png, Format::Jpeg, Format::WebP, Format::Tiff];
#[cfg(feature = "avif")]
const WRITTEN: [Format; 5] = [Format::Png, Format::Jpeg, Format::WebP, Format::Tiff, Format::Avif];

fn shared() -> Option<PathBuf> {
    let root = std::env::var_os("LASTMILE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let dir = root.join("images/metadata");
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: {} is not there", dir.display());
    None
}

fn exiftool() -> bool {
    let there = Command::new("exiftool").arg("-ver").output().is_ok_and(|o| o.status.success());
    if !there {
        println!("skipped: exiftool is not installed (Debian: libimage-exiftool-perl)");
    }
    there
}

/// Every tag exiftool finds, as `Group:Tag`.
fn tags(path: &Path) -> BTreeMap<String, String> {
    let out = Command::new("exiftool").args(["-G1", "-a", "-s", "-struct", "-m", "-api", "largefilesupport=1"]).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let Some((head, value)) = line.split_once(": ") else { continue };
        let Some((group, tag)) = head.strip_prefix('[').and_then(|h| h.split_once(']')) else { continue };
        all.entry(format!("{group}:{}", tag.trim())).or_insert_with(|| value.trim().to_string());
    }
    assert!(!all.is_empty(), "{}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
    assert!(!all.keys().any(|k| k.ends_with(":Error")), "{}: {all:?}", path.display());
    all
}

fn how(format: Format) -> Encoding {
    Encoding { format, quality: 95, lossless: true, bits: 8, ..Encoding::default() }
}

fn write(path: &Path, format: Format, width: usize, height: usize, metadata: &Metadata) {
    let mut e = codec::encoder(path, &how(format), width, height, Channels::Rgb, metadata).unwrap();
    e.write(&Band::new(0, width, height, 3)).unwrap();
    e.finish().unwrap();
}

fn read(path: &Path) -> Metadata {
    codec::decode(path, &std::fs::read(path).unwrap(), &Limits::default()).unwrap().metadata
}

/// An EXIF block with camera, GPS position, maker note and a user comment, big-endian.
fn exif_block() -> Vec<u8> {
    let mut b = b"MM\0*\0\0\0\x08".to_vec();
    let entry = |b: &mut Vec<u8>, tag: u16, kind: u16, count: u32, value: u32| {
        b.extend(tag.to_be_bytes());
        b.extend(kind.to_be_bytes());
        b.extend(count.to_be_bytes());
        b.extend(if kind == 3 { ((value as u16) as u32) << 16 } else { value }.to_be_bytes());
    };
    // IFD0 at 8 (4 entries), EXIF at 62 (3), GPS at 104 (2), values from 134.
    b.extend(4u16.to_be_bytes());
    entry(&mut b, 0x010f, 2, 8, 134);
    entry(&mut b, 0x8298, 2, 6, 142);
    entry(&mut b, 0x8769, 4, 1, 62);
    entry(&mut b, 0x8825, 4, 1, 104);
    b.extend([0; 4]);
    b.extend(3u16.to_be_bytes());
    entry(&mut b, 0x927c, 7, 8, 148);
    entry(&mut b, 0xa002, 4, 1, 4);
    entry(&mut b, 0xa434, 2, 6, 156);
    b.extend([0; 4]);
    b.extend(2u16.to_be_bytes());
    entry(&mut b, 1, 2, 2, u32::from_be_bytes(*b"N\0\0\0"));
    entry(&mut b, 2, 5, 3, 162);
    b.extend([0; 4]);
    b.extend(b"LASTCAM\0MyOwn\0NOTENOTELens1\0");
    for v in [48u32, 8, 30] {
        b.extend(v.to_be_bytes());
        b.extend(1u32.to_be_bytes());
    }
    b
}

const PARAMETERS: &str =
    "a caf\u{e9}, <best> & \u{732b}\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Model: m1";
const XMP: &str = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
    <rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:Iptc4xmpExt='http://iptc.org/std/Iptc4xmpExt/2008-02-29/' \
    Iptc4xmpExt:DigitalSourceType='http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia'>\
    <dc:title><rdf:Alt><rdf:li xml:lang='x-default'>A title</rdf:li></rdf:Alt></dc:title></rdf:Description></rdf:RDF></x:xmpmeta>";

fn everything() -> Metadata {
    Metadata {
        icc: moxcms::ColorProfile::new_display_p3().encode().ok(),
        exif: Some(exif_block()),
        xmp: Some(XMP.as_bytes().to_vec()),
        iptc: Some(b"\x1c\x02\x78\x00\x05hello\x1c\x02\x50\x00\x02me".to_vec()),
        text: vec![
            Text::new("parameters", PARAMETERS),
            Text::new("workflow", "{\"nodes\": []}"),
            Text::new("prompt", "{\"1\": {\"class_type\": \"X\", \"inputs\": {}}}"),
        ],
        comment: Some(b"made by hand".to_vec()),
        dpi: Some((300.0, 300.0)),
        c2pa: None,
        hidden: None,
    }
}

/// A family of tags: its name, and whether exiftool's list shows it in a file of this format.
type Family = (&'static str, fn(Format, &BTreeMap<String, String>) -> bool);

const FAMILIES: [Family; 11] = [
    ("EXIF", |_, t| t.get("IFD0:Copyright").is_some_and(|v| v == "MyOwn") && t.get("ExifIFD:LensModel").is_some_and(|v| v == "Lens1")),
    ("GPS", |_, t| t.get("GPS:GPSLatitude").is_some_and(|v| v.starts_with("48 deg 8'"))),
    ("MakerNote", |_, t| t.keys().any(|k| k.contains("MakerNote")) || t.contains_key("ExifIFD:MakerNoteUnknownText")),
    ("XMP", |_, t| t.get("XMP-dc:Title").is_some_and(|v| v == "A title")),
    ("DigitalSourceType", |_, t| t.get("XMP-iptcExt:DigitalSourceType").is_some_and(|v| v.ends_with("trainedAlgorithmicMedia"))),
    ("history", |_, t| t.get("XMP-xmpMM:History").is_some_and(|v| v.contains("resized") && v.contains("lastmile 1"))),
    ("IPTC", |_, t| t.get("IPTC:Caption-Abstract").is_some_and(|v| v == "hello") && t.get("IPTC:By-line").is_some_and(|v| v == "me")),
    ("ICC", |_, t| t.get("ICC_Profile:ProfileDescription").is_some_and(|v| v.contains("P3"))),
    ("DPI", |format, t| match format {
        Format::Png => t.get("PNG-pHYs:PixelsPerUnitX").is_some_and(|v| v == "11811"),
        Format::Jpeg => t.get("JFIF:XResolution").is_some_and(|v| v == "300"),
        _ => t.get("IFD0:XResolution").is_some_and(|v| v == "300"),
    }),
    ("comment", |format, t| match format {
        Format::Png => t.get("PNG:Comment").is_some_and(|v| v == "made by hand"),
        Format::Jpeg => t.get("File:Comment").is_some_and(|v| v == "made by hand"),
        _ => t.get("XMP-lastmile:Comment").is_some_and(|v| v == "made by hand"),
    }),
    ("prompt, workflow", |format, t| match format {
        Format::Png => {
            t.get("PNG:Parameters").is_some_and(|v| v.contains("Steps: 20"))
                && t.get("PNG:Workflow").is_some_and(|v| v == "{\"nodes\": []}")
        }
        _ => {
            t.get("ExifIFD:UserComment").is_some_and(|v| v.contains("Steps: 20") && v.contains('\u{732b}'))
                && t.get("XMP-lastmile:PngText").is_some_and(|v| v.contains("workflow"))
        }
    }),
];

/// The matrix of containers and tag families, which the README shows. `cargo test --features avif --test metadata -- --nocapture
/// matrix` prints it.
#[test]
fn matrix_of_containers_and_tag_families() {
    if !exiftool() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let event = Event { action: "resized".into(), parameters: "x4".into(), software: "lastmile 1".into(), time: Some(0) };
    let changes = Changes { width: 4, height: 4, history: vec![event], ..Changes::default() };
    let (metadata, notes) = everything().changed(&changes);
    assert!(notes.is_empty(), "{notes:?}");
    let mut found = Vec::new();
    for format in WRITTEN {
        let path = dir.path().join(format!("m.{}", format.extension()));
        write(&path, format, 4, 4, &metadata);
        found.push((format, tags(&path)));
    }
    let mut table = format!("| | {} |\n|---|{}\n", WRITTEN.map(Format::name).join(" | "), "---|".repeat(WRITTEN.len()));
    let mut missing = Vec::new();
    for (name, shows) in FAMILIES {
        let mut row = format!("| {name} |");
        for (format, tags) in &found {
            let kept = shows(*format, tags);
            row += if kept { " kept |" } else { " - |" };
            if !kept {
                missing.push(format!("{name} in {}: {tags:#?}", format.name()));
            }
        }
        table += &(row + "\n");
    }
    println!("{table}");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    // The README's table has a column for every container, this build perhaps not.
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_string()).collect::<Vec<_>>();
    let head = readme.lines().find(|l| l.starts_with("| | PNG | JPEG")).map(cells).expect("the README has no matrix");
    for (name, _) in FAMILIES {
        let row = readme.lines().find(|l| l.starts_with(&format!("| {name} |"))).map(cells);
        let row = row.unwrap_or_else(|| panic!("the README's matrix has no row `{name}`"));
        for format in WRITTEN {
            let column = head.iter().position(|c| c == format.name()).unwrap_or_else(|| panic!("no column {}", format.name()));
            assert_eq!(row[column], "kept", "README: {name} in {}", format.name());
        }
    }
}

#[test]
fn a_workflow_larger_than_a_jpeg_segment_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = format!("{{\"nodes\": [{}]}}", "\"<n>\",".repeat(40_000));
    let source = Metadata { text: vec![Text::new("workflow", &workflow), Text::new("parameters", PARAMETERS)], ..everything() };
    let path = dir.path().join("big.jpg");
    write(&path, Format::Jpeg, 4, 4, &source);
    assert!(codec::losses(&how(Format::Jpeg), Channels::Rgb, &source).is_empty());
    let back = read(&path);
    assert_eq!(back.text, source.text);
    assert_eq!(back.source_type().as_deref(), Some("trainedAlgorithmicMedia"));
    if exiftool() {
        let tags = tags(&path);
        assert!(tags["XMP-lastmile:PngText"].contains("240013 bytes") && tags["XMP-dc:Title"] == "A title");
        assert!(tags["ExifIFD:UserComment"].contains("Steps: 20"));
    }
}

#[test]
fn everything_goes_round_through_every_pair_of_containers() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = everything();
    // A comment's place in a PNG is a text of that name, as which it goes on.
    first.text.push(Text::new("Comment", "made by hand"));
    first.comment = None;
    let path = |format: Format| dir.path().join(format!("r.{}", format.extension()));
    write(&path(Format::Png), Format::Png, 4, 4, &first);
    let png = read(&path(Format::Png));
    for a in WRITTEN {
        for b in WRITTEN {
            write(&path(a), a, 4, 4, &png);
            let once = read(&path(a));
            write(&path(b), b, 4, 4, &once);
            let twice = read(&path(b));
            write(&path(Format::Png), Format::Png, 4, 4, &twice);
            let back = read(&path(Format::Png));
            let what = format!("{a:?} {b:?}");
            assert_eq!(back.text, png.text, "{what}");
            assert_eq!((&back.icc, &back.xmp, &back.iptc, &back.dpi), (&png.icc, &png.xmp, &png.iptc, &png.dpi), "{what}");
            let facts = |m: &Metadata| m.facts().into_iter().filter(|f| f.0 != "exif").collect::<Vec<_>>();
            assert_eq!(facts(&back), facts(&png), "{what}");
        }
    }
}

#[test]
fn every_reference_file_keeps_what_it_says() {
    let Some(dir) = shared() else { return };
    let out = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if name == "README.md" || name.starts_with("animated") {
            continue;
        }
        seen += 1;
        let image = codec::decode(&path, &std::fs::read(&path).unwrap(), &Limits::default()).unwrap();
        let before = image.metadata;
        let grey = before.icc.as_ref().is_some_and(|i| &i[16..20] == b"GRAY");
        for format in WRITTEN {
            let target = out.path().join(format!("{name}.{}", format.extension()));
            let channels = if grey { Channels::Grey } else { Channels::Rgb };
            let mut e = codec::encoder(&target, &how(format), 2, 2, channels, &before).unwrap();
            e.write(&Band::new(0, 2, 2, channels.count())).unwrap();
            e.finish().unwrap();
            let after = read(&target);
            let what = format!("{name} as {format:?}");
            // Without grey there is no grey profile.
            if !grey || format.supports_grey() {
                assert_eq!(after.icc, before.icc, "{what}");
            }
            let wanted = |m: &Metadata| {
                let skip = |n: &str| n == "exif" || n == "icc" || n == "c2pa" || n == "resolution";
                m.facts().into_iter().filter(|f| !skip(&f.0)).collect::<Vec<_>>()
            };
            let (mut a, b) = (wanted(&after), wanted(&before));
            // What a generator put into EXIF is text in a PNG besides; a comment is a text there.
            let extra = |n: &str| format == Format::Png && !before.facts().iter().any(|f| f.0 == n) && n.starts_with("text ");
            a.retain(|f| !extra(&f.0));
            let b: Vec<_> = b.into_iter().filter(|f| !(format == Format::Png && f.0 == "comment")).collect();
            let also = |f: &(String, String)| format == Format::Jpeg && f.0 == "comment" && before.comment.is_none();
            a.retain(|f| !also(f));
            assert_eq!(a, b, "{what}");
            assert_eq!(
                codec::generation(&after).map(|g| (g.prompt, g.seed, g.model)),
                codec::generation(&Metadata { c2pa: None, ..before.clone() }).map(|g| (g.prompt, g.seed, g.model)),
                "{what}"
            );
            if let (Some(x), Some(y)) = (after.dpi, before.dpi) {
                assert!((x.0 - y.0).abs() < 0.51 && (x.1 - y.1).abs() < 0.51, "{what}: {x:?} {y:?}");
            }
            assert_eq!(after.dpi.is_some(), before.dpi.is_some(), "{what}");
        }
    }
    assert!(seen >= 38, "{seen} files");
}

#[test]
fn exiftool_reads_the_same_from_source_and_copy() {
    let Some(dir) = shared().filter(|_| exiftool()) else { return };
    let out = tempfile::tempdir().unwrap();
    for name in ["exif_landscape_6.jpg", "xmp_icc_exif.webp", "c2pa_xmp_boxhash.jpg", "p3_color_bars_1000.png"] {
        let source = dir.join(name);
        let format = codec::probe(&source, &Limits::default()).unwrap().format;
        let target = out.path().join(name);
        let changes = Changes { width: 4, height: 4, ..Changes::default() };
        write(&target, format, 4, 4, &read(&source).changed(&changes).0);
        let (a, b) = (tags(&source), tags(&target));
        for (key, value) in &a {
            let group = key.split(':').next().unwrap();
            let carried = ["IFD0", "ExifIFD", "GPS", "IPTC", "ICC_Profile", "ICC-header", "ICC-view", "ICC-meas"].contains(&group)
                || group.starts_with("XMP");
            let changed = ["Orientation", "Width", "Height", "Dimension", "Length", "Offset", "Resolution"].iter().any(|c| key.contains(c));
            if carried && !changed {
                assert_eq!(b.get(key), Some(value), "{name}: {key}");
            }
        }
        assert!(b.get("IFD0:Orientation").is_none_or(|o| o.starts_with("Horizontal")), "{name}");
        assert!(!b.keys().any(|k| k.starts_with("IFD1:")), "{name}: the stale thumbnail is still there");
        assert!(b.get("ExifIFD:ExifImageWidth").is_none_or(|w| w == "4"), "{name}");
    }
}

#[test]
fn a_claim_leaves_its_source_type_behind() {
    let Some(dir) = shared() else { return };
    let source = read(&dir.join("c2pa_firefly_progressive.jpg"));
    let claim = codec::Claim::read(source.c2pa.as_deref().unwrap()).unwrap();
    assert!(claim.source_types.iter().any(|t| t.ends_with("/compositeWithTrainedAlgorithmicMedia")), "{claim:?}");
    assert!(claim.generator.contains("Firefly") || claim.agents.iter().any(|a| a.contains("Firefly")), "{claim:?}");
    let (out, notes) = source.changed(&Changes { width: 4, height: 4, ..Changes::default() });
    assert!(out.source_type().unwrap().ends_with("lgorithmicMedia") && notes[0].contains("C2PA"), "{notes:?}");
    assert_eq!(out.c2pa, None);
    let print = SourceType::new("print").unwrap();
    let (out, _) = source.changed(&Changes { policy: Policy { source_type: Some(print), ..Policy::default() }, ..Changes::default() });
    assert_eq!(out.source_type().as_deref(), Some("print"));
    assert_eq!(
        source.changed(&Changes { policy: Policy { keep: Keep::Nothing, ..Policy::default() }, ..Changes::default() }).0.source_type(),
        None
    );
    for name in ["c2pa_C.jpg", "c2pa_CA_1024.jpg", "c2pa_bad_signature.jpg", "c2pa_cawg.jpg", "c2pa_xmp_boxhash.jpg"] {
        let store = read(&dir.join(name)).c2pa.unwrap();
        let claim = codec::Claim::read(&store).unwrap_or_else(|| panic!("{name}"));
        assert!(!claim.generator.is_empty() && !claim.assertions.is_empty(), "{name}: {claim:?}");
    }
}

#[test]
fn generators_are_recognised_in_the_reference_files() {
    let Some(dir) = shared() else { return };
    for (name, generator, seed) in [
        ("a1111_png_1x1.png", "A1111", "235284042"),
        ("a1111_jpeg_usercomment_1x1.jpg", "A1111", "235284042"),
        ("comfyui_img2img_1x1.png", "ComfyUI", "280823642470253"),
        ("comfyui_sdxlturbo_512.png", "ComfyUI", "0"),
        ("comfyui_hypernetwork_512.png", "ComfyUI", "572636856966402"),
        ("fooocus_1x1.png", "Fooocus", "6952411511246973023"),
        ("invokeai_dream_1x1.png", "InvokeAI", "2980747362"),
        ("invokeai_sdmetadata_1x1.png", "InvokeAI 2.3.0", "2980747362"),
        ("novelai_1x1.png", "NovelAI", "2253955223"),
        ("diffusiontoolkit_thumb_128.png", "A1111", "2302659950"),
    ] {
        let m = read(&dir.join(name));
        let g = codec::generation(&m).unwrap_or_else(|| panic!("{name}"));
        assert!(g.generator.contains(generator) && g.seed == seed && !g.prompt.is_empty(), "{name}: {g:?}");
        let policy = Policy { strip: vec![Strip::Prompt], ..Policy::default() };
        let stripped = m.changed(&Changes { width: 1, height: 1, policy, ..Changes::default() }).0;
        // That a generator was at work may still be seen; what it was told may not.
        assert!(codec::generation(&stripped).is_none_or(|g| g.prompt.is_empty() && g.seed.is_empty()), "{name}");
        let left = format!("{stripped:?}");
        assert!(!left.contains(g.prompt.lines().next().unwrap()) && !left.contains(seed) || seed == "0", "{name}: {left}");
    }
    let path = dir.join("a1111_stealth_alpha_64x64.png");
    let image = codec::decode(&path, &std::fs::read(&path).unwrap(), &Limits::default()).unwrap();
    let hidden = image.metadata.hidden.as_ref().unwrap();
    assert_eq!(codec::hidden_text(&image), None);
    assert_eq!((hidden.place, codec::generation_in(&hidden.text).unwrap().seed.as_str()), ("alpha", "2015833630"));
    assert!(image.notes.iter().any(|n| n.contains("stealth") && n.contains("was cleared")), "{:?}", image.notes);
}

/// Python's piexif and Pillow are how A1111 and ComfyUI read; their steps are done here on the bytes.
#[test]
fn the_generators_own_readers_find_their_data_in_jpeg_and_webp() {
    let dir = tempfile::tempdir().unwrap();
    for format in [Format::Jpeg, Format::WebP] {
        let path = dir.path().join(format!("g.{}", format.extension()));
        write(&path, format, 4, 4, &Metadata { exif: None, ..everything() });
        let file = std::fs::read(&path).unwrap();
        let holds = |needle: &[u8]| file.windows(needle.len()).any(|w| w == needle);
        let utf16: Vec<u8> = PARAMETERS.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(holds(&[b"UNICODE\0", &utf16[..]].concat()), "{format:?}");
        assert!(holds(b"workflow:{\"nodes\": []}\0") && holds(b"prompt:{\"1\": "), "{format:?}");
    }
}

/// A PNG with more chunks behind its header.
fn with_chunks(png: &[u8], chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut out = png[..33].to_vec();
    for (kind, data) in chunks {
        out.extend((data.len() as u32).to_be_bytes());
        let mut sum = flate2::Crc::new();
        sum.update(*kind);
        sum.update(data);
        out.extend(*kind);
        out.extend(*data);
        out.extend(sum.sum().to_be_bytes());
    }
    out.extend(&png[33..]);
    out
}

#[test]
fn a_manifest_is_not_kept_where_metadata_are_to_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(&dir.join("a.png"), Format::Png, 8, 8, &Metadata { text: vec![Text::new("parameters", PARAMETERS)], ..Metadata::default() });
    let plain = std::fs::read(dir.join("a.png")).unwrap();
    std::fs::write(dir.join("a.png"), with_chunks(&plain, &[(b"caBX", b"a manifest with a prompt in it")])).unwrap();
    let run = |more: &str| {
        let words = format!("upscale a.png -o out --model none --scale 2 {more}");
        let output = program::lastmile(dir, &dir.join("home")).args(words.split_whitespace()).output().unwrap();
        let (out, err) = program::text(&output);
        assert!(output.status.success(), "{out}{err}");
        out + &err
    };
    let beside = dir.join("out/a.png.source.c2pa");
    for (more, kept) in [
        ("", true),
        ("--strip all", false),
        ("--overwrite", true),
        ("--metadata minimal", false),
        ("--overwrite", true),
        ("--strip prompt", false),
    ] {
        let said = run(&format!("{more} -v"));
        assert_eq!(beside.exists(), kept, "{more}: {said}");
        assert_eq!(said.contains("are lost, also from beside"), !kept, "{more}: {said}");
        let result = std::fs::read(dir.join("out/a.png")).unwrap();
        assert_eq!(result.windows(5).any(|w| w == b"caf\xe9," || w == b"Steps"), kept, "{more}");
    }
}

#[test]
fn a_hidden_prompt_does_not_pass_where_pixels_keep_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let secret = "zebra on a unicycle\nSteps: 20, Seed: 1";
    let bits = [&b"stealth_pnginfo"[..], &(secret.len() as u32 * 8).to_be_bytes(), secret.as_bytes()].concat();
    let bit = |i: usize| bits.get(i / 8).map_or(0, |b| b >> (7 - i % 8) & 1);
    let (width, height) = (32, 32);
    let mut band = Band::new(0, width, height, 4);
    for i in 0..width * height {
        let (x, y) = (i / height, i % height);
        band.plane_mut(3)[y * width + x] = f32::from(254 + bit(i)) / 255.0;
    }
    let mut e = codec::encoder(&dir.join("s.png"), &how(Format::Png), width, height, Channels::Rgba, &Metadata::default()).unwrap();
    e.write(&band).unwrap();
    e.finish().unwrap();
    let source = codec::decode(Path::new("s.png"), &std::fs::read(dir.join("s.png")).unwrap(), &Limits::default()).unwrap();
    assert_eq!(source.metadata.hidden.unwrap().text, secret);
    for more in ["--strip prompt", "--strip all", "--format webp --lossless", "--source-type print"] {
        let words = format!("upscale s.png -o out --model none --scale 1 --overwrite {more}");
        let output = program::lastmile(dir, &dir.join("home")).args(words.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{:?}", program::text(&output));
        let path = dir.join(if more.contains("webp") { "out/s.webp" } else { "out/s.png" });
        let image = codec::decode(&path, &std::fs::read(&path).unwrap(), &Limits::default()).unwrap();
        assert_eq!(image.metadata.hidden, None, "{more}");
    }
}

#[test]
fn the_orientation_behind_the_pixels_of_a_large_webp_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.webp");
    let (width, height) = (300, 200);
    let mut band = Band::new(0, width, height, 3);
    let mut seed = 1u32;
    band.data.iter_mut().for_each(|v| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *v = (seed >> 24) as f32 / 255.0;
    });
    let turned = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let metadata = Metadata { exif: Some(turned), ..Metadata::default() };
    let mut e = codec::encoder(&path, &how(Format::WebP), width, height, Channels::Rgb, &metadata).unwrap();
    e.write(&band).unwrap();
    assert!(e.finish().unwrap() > 128 << 10);
    assert_eq!(codec::probe(&path, &Limits::default()).unwrap().upright(), (height, width));
}
