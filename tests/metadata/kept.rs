//! What is easily lost on the way, or wrong afterwards, each in a file that is built here.

use lastmile::color::{ColourSpace, Profile};
use lastmile::image::{Image, Samples};

use super::*;

/// An entry: tag, type, number of values, bytes.
type Entry = (u16, u16, u32, Vec<u8>);

fn ascii(tag: u16, text: &str) -> Entry {
    (tag, 2, text.len() as u32 + 1, [text.as_bytes(), b"\0"].concat())
}

fn shorts(tag: u16, values: &[u16]) -> Entry {
    (tag, 3, values.len() as u32, values.iter().flat_map(|v| v.to_be_bytes()).collect())
}

fn ratio(tag: u16, value: u32) -> Entry {
    (tag, 5, 1, [value.to_be_bytes(), 1u32.to_be_bytes()].concat())
}

/// A big-endian EXIF block of a first, an EXIF and an interoperability directory.
fn block(main: &[Entry], exif: &[Entry], index: Option<&str>) -> Vec<u8> {
    let mut out = b"MM\0*\0\0\0\0".to_vec();
    let put = |out: &mut Vec<u8>, entries: &[Entry]| -> u32 {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|e| e.0);
        for e in entries.iter_mut().filter(|e| e.3.len() > 4) {
            let at = out.len() as u32;
            out.extend(&e.3);
            out.resize(out.len().next_multiple_of(2), 0);
            e.3 = at.to_be_bytes().to_vec();
        }
        let at = out.len() as u32;
        out.extend((entries.len() as u16).to_be_bytes());
        for (tag, kind, count, value) in entries {
            out.extend([tag.to_be_bytes(), kind.to_be_bytes()].concat());
            out.extend(count.to_be_bytes());
            out.extend([&value[..], &[0; 4]].concat().iter().take(4));
        }
        out.extend([0; 4]);
        at
    };
    let (mut main, mut exif) = (main.to_vec(), exif.to_vec());
    if let Some(index) = index {
        let at = put(&mut out, &[ascii(1, index)]);
        exif.push((0xa005, 4, 1, at.to_be_bytes().to_vec()));
    }
    if !exif.is_empty() {
        let at = put(&mut out, &exif);
        main.push((0x8769, 4, 1, at.to_be_bytes().to_vec()));
    }
    let at = put(&mut out, &main);
    out[4..8].copy_from_slice(&at.to_be_bytes());
    out
}

/// A file of 16x8 pixels.
fn file(format: Format, metadata: &Metadata) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    write(&path, format, 16, 8, metadata);
    std::fs::read(path).unwrap()
}

/// A JPEG with these segments behind its JFIF header, and this behind its end.
fn jpeg(segments: &[(u8, &[u8])], behind: &[u8]) -> Vec<u8> {
    let plain = file(Format::Jpeg, &Metadata::default());
    let head = 4 + usize::from(u16::from_be_bytes([plain[4], plain[5]]));
    let mut out = plain[..head].to_vec();
    for (marker, data) in segments {
        out.extend([0xff, *marker]);
        out.extend((data.len() as u16 + 2).to_be_bytes());
        out.extend(*data);
    }
    out.extend(&plain[head..]);
    out.extend(behind);
    out
}

fn xmp(properties: &str) -> Vec<u8> {
    let text = format!(
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about='' \
         xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:exif='http://ns.adobe.com/exif/1.0/' xmlns:photoshop='http://ns.adobe.com/photoshop/1.0/' \
         xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' xmlns:GCamera='http://ns.google.com/photos/1.0/camera/' \
         xmlns:GPano='http://ns.google.com/photos/1.0/panorama/' xmlns:mwg-rs='http://www.metadataworkinggroup.com/schemas/regions/'>{properties}\
         </rdf:Description></rdf:RDF></x:xmpmeta>"
    );
    text.into_bytes()
}

fn xmp_segment(properties: &str) -> Vec<u8> {
    [b"http://ns.adobe.com/xap/1.0/\0", &xmp(properties)[..]].concat()
}

fn open(bytes: &[u8]) -> Image {
    codec::decode(Path::new("f"), bytes, &Limits::default()).unwrap()
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
}

fn said(notes: &[String], words: &str) -> bool {
    notes.iter().any(|n| n.contains(words))
}

#[test]
fn a_workflow_in_exif_that_is_too_large_for_a_jpeg_goes_on_in_xmp() {
    let workflow = format!("{{\"nodes\": [{}]}}", "\"n\",".repeat(60_000));
    let made =
        block(&[ascii(0x10f, &format!("workflow:{workflow}")), ascii(0x110, "prompt:{\"1\": {}}"), ascii(0x8298, "MyOwn")], &[], None);
    let source = open(&file(Format::WebP, &Metadata { exif: Some(made), ..Metadata::default() })).metadata;
    assert!(codec::losses(&how(Format::Jpeg), Channels::Rgb, &source).is_empty());
    let bytes = file(Format::Jpeg, &source);
    assert_eq!(bytes.windows(8).filter(|w| *w == b"workflow").count(), 1, "one copy is enough");
    let there = open(&bytes).metadata;
    let text = |keyword: &str| there.text.iter().find(|t| t.keyword == keyword).map(|t| t.value.clone());
    assert_eq!((text("workflow"), text("prompt")), (Some(workflow.clone()), Some("{\"1\": {}}".into())));
    assert!(holds(there.exif.as_ref().unwrap(), "MyOwn"));
    let png = open(&file(Format::Png, &there)).metadata;
    assert!(png.text.contains(&Text::new("workflow", workflow)));
}

#[test]
fn exif_of_several_segments_loses_its_largest_entry_alone() {
    let made = block(&[shorts(0x112, &[6]), ascii(0x8298, "MyOwn")], &[(0x927c, 7, 90_000, vec![7; 90_000]), ascii(0xa434, "Lens1")], None);
    let parts: Vec<Vec<u8>> = made.chunks(60_000).map(|p| [b"Exif\0\0", p].concat()).collect();
    let segments: Vec<(u8, &[u8])> = parts.iter().map(|p| (0xe1, &p[..])).collect();
    let image = open(&jpeg(&segments, b""));
    assert_eq!((image.width, image.height), (8, 16));
    let lost = codec::losses(&how(Format::Jpeg), Channels::Rgb, &image.metadata);
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains("MakerNote (90000 bytes) was left out"), "{lost:?}");
    let back = open(&file(Format::Jpeg, &image.metadata)).metadata.exif.unwrap();
    assert!(holds(&back, "MyOwn") && holds(&back, "Lens1") && !holds(&back, "\x07\x07\x07\x07"));
    assert!(holds(&open(&file(Format::WebP, &image.metadata)).metadata.exif.unwrap(), "\x07\x07\x07\x07"), "where there is room it stays");
}

#[test]
fn adobe_rgb_that_only_exif_tells_of_counts() {
    let camera = |space: u16, index: Option<&str>| {
        let exif = [b"Exif\0\0", &block(&[ascii(0x8298, "MyOwn")], &[shorts(0xa001, &[space])], index)[..]].concat();
        open(&jpeg(&[(0xe1, &exif)], b""))
    };
    for (space, index, adobe) in
        [(0xffff, Some("R03"), true), (2, None, true), (1, Some("R03"), false), (1, Some("R98"), false), (0xffff, None, false)]
    {
        let image = camera(space, index);
        assert_eq!(image.metadata.icc.is_some(), adobe, "{space} {index:?}");
        assert_eq!(said(&image.notes, "Adobe RGB"), adobe);
    }
    let image = camera(0xffff, Some("R03"));
    let profile = Profile::from_icc(image.metadata.icc.as_ref().unwrap()).unwrap();
    assert!(!profile.is_srgb() && profile.matrix_shaper().is_some());
    // What is converted says so.
    for (to, space, index) in
        [(ColourSpace::Srgb, "sRGB", Some("R98 - DCF basic file (sRGB)")), (ColourSpace::DisplayP3, "Uncalibrated", None)]
    {
        let mut m = image.metadata.clone();
        m.xmp = Some(xmp("<exif:ColorSpace>65535</exif:ColorSpace><photoshop:ICCProfile>Adobe RGB (1998)</photoshop:ICCProfile>"));
        m.converted(Some(to.icc().unwrap()));
        assert!(!holds(m.xmp.as_ref().unwrap(), "Adobe RGB"));
        if exiftool() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("c.jpg");
            write(&path, Format::Jpeg, 4, 4, &m);
            let t = tags(&path);
            assert_eq!(t["ExifIFD:ColorSpace"], space);
            assert_eq!(t.get("InteropIFD:InteropIndex").map(String::as_str), index);
            assert_eq!(t["XMP-exif:ColorSpace"], space);
        }
    }
}

#[test]
fn places_in_the_picture_are_enlarged_with_it_or_left_out() {
    let area = |orientation: u16| {
        let exif = block(&[shorts(0x112, &[orientation])], &[shorts(0x9214, &[10, 4, 6, 3]), shorts(0xa214, &[9, 5])], None);
        let places = "<GPano:FullPanoWidthPixels>100</GPano:FullPanoWidthPixels><GPano:CroppedAreaTopPixels>7</GPano:CroppedAreaTopPixels>\
                      <mwg-rs:Regions rdf:parseType='Resource'/><dc:source>mine</dc:source>";
        open(&jpeg(&[(0xe1, &[b"Exif\0\0", &exif[..]].concat()), (0xe1, &xmp_segment(places))], b""))
    };
    let numbers = |m: &Metadata| {
        let b = m.exif.as_ref().unwrap();
        let list = |v: &[u16]| v.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>();
        [list(&[30, 16, 18, 12]), list(&[27, 20]), list(&[10, 4, 6, 3])].map(|v| b.windows(v.len()).any(|w| *w == v))
    };
    let upright = area(1);
    assert!(!said(&upright.notes, "places"));
    let by = |size: (usize, usize), cut: bool| {
        upright.metadata.changed(&Changes { width: size.0, height: size.1, from: Some((16, 8)), cut, ..Changes::default() })
    };
    let (m, notes) = by((48, 32), false);
    let text = m.xmp.clone().unwrap();
    assert!(notes.is_empty() && holds(&text, "Pixels>300<") && holds(&text, "Pixels>28<") && holds(&text, "mwg-rs:Regions"), "{notes:?}");
    assert_eq!(numbers(&m), [true, true, false]);
    assert_eq!(numbers(&by((16, 8), false).0), [false, false, true]);
    let (m, notes) = by((160_000, 80_000), false);
    assert!(said(&notes, "cannot be enlarged") && numbers(&m) == [false; 3]);
    for (m, notes) in [by((48, 32), true), (area(6).metadata, area(6).notes)] {
        let text = m.xmp.clone().unwrap();
        assert!(said(&notes, "face regions") && !holds(&text, "<GPano") && !holds(&text, "Regions ") && holds(&text, "mine"), "{notes:?}");
        assert_eq!(numbers(&m), [false; 3]);
    }
}

#[test]
fn what_stands_behind_a_jpeg_is_told_and_no_longer_promised() {
    let motion =
        "<GCamera:MotionPhoto>1</GCamera:MotionPhoto><GCamera:MicroVideoOffset>99</GCamera:MicroVideoOffset><dc:source>mine</dc:source>";
    let video = [&b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"[..], &[0, 0, 1, 0], b"mdat\xff\xd8\xff\xe0 a cover"].concat();
    let image = open(&jpeg(&[(0xe1, &xmp_segment(motion))], &video));
    assert!(said(&image.notes, &format!("motion photo ({} bytes)", video.len())) && image.notes.len() == 1, "{:?}", image.notes);
    let text = image.metadata.xmp.unwrap();
    assert!(!holds(&text, "GCamera:M") && holds(&text, "mine"));

    let gap = [&[1; 300][..], &jpeg(&[], b"")].concat();
    let image = open(&jpeg(&[(0xe1, &xmp_segment("<hdrgm:Version>1.0</hdrgm:Version><dc:source>mine</dc:source>"))], &gap));
    assert!(said(&image.notes, "HDR gain map") && said(&image.notes, "300 bytes behind its end"), "{:?}", image.notes);
    assert!(!holds(&image.metadata.xmp.unwrap(), "hdrgm:V"));
    assert!(open(&jpeg(&[], &[0; 2000])).notes.is_empty(), "filling is nothing");
    assert!(said(&open(&jpeg(&[], b"SEFT tail")).notes, "9 bytes behind its end"));
}

#[test]
fn every_segment_of_a_jpeg_counts_or_is_named() {
    let iptc = |records: &[u8]| [&b"Photoshop 3.0\08BIM\x04\x04\0\0\0\0\0"[..], &[records.len() as u8], records].concat();
    let (caption, author) = (iptc(b"\x1c\x02\x78\0\x03cap"), iptc(b"\x1c\x02\x50\0\x03her"));
    let image = open(&jpeg(
        &[
            (0xfe, b"first"),
            (0xfe, b"second"),
            (0xed, &caption),
            (0xed, &author),
            (0xec, b"Ducky\0\x01"),
            (0xe1, b"FLIR\0\x01"),
            (0xe3, b"\x01\x02"),
            (0xe1, &xmp_segment("<dc:source>one</dc:source>")),
            (0xe1, &xmp_segment("<dc:source>two</dc:source>")),
        ],
        b"",
    ));
    let m = &image.metadata;
    assert_eq!(m.comment.as_deref(), Some(&b"first\nsecond"[..]));
    // Resources stand at even bytes; the second block's records follow the first's.
    assert!(holds(m.iptc.as_ref().unwrap(), "cap"));
    assert!(holds(m.xmp.as_ref().unwrap(), "one") && said(&image.notes, "several XMP packets"));
    assert!(said(&image.notes, "its segments APP12 Ducky, APP1 FLIR, APP3 are not carried"), "{:?}", image.notes);
    assert!(holds(m.iptc.as_ref().unwrap(), "her"), "{:?}", image.notes);
}

#[test]
fn chunks_without_a_place_are_named() {
    let png = file(Format::Png, &Metadata::default());
    let png = with_chunks(&png, &[(b"tIME", &[0; 7]), (b"bKGD", &[0; 6]), (b"prVt", b"x"), (b"prVt", b"y"), (b"mDCV", &[0; 24])]);
    assert_eq!(open(&png).notes, ["its chunks bKGD, prVt, mDCV are not carried"]);
    let mut webp = file(Format::WebP, &Metadata { dpi: Some((300.0, 300.0)), ..Metadata::default() });
    webp.extend(b"ABCD\x02\0\0\0xy");
    let size = (webp.len() as u32 - 8).to_le_bytes();
    webp[4..8].copy_from_slice(&size);
    assert_eq!(open(&webp).notes, ["its chunks ABCD are not carried"]);
}

#[test]
fn utf8_in_plain_png_texts_is_read_as_what_it_is() {
    let png = file(Format::Png, &Metadata::default());
    let png = with_chunks(&png, &[(b"tEXt", "parameters\0caf\u{e9} \u{732b}".as_bytes()), (b"tEXt", b"Title\0caf\xe9")]);
    let source = open(&png).metadata;
    for format in WRITTEN {
        let text = open(&file(format, &source)).metadata.text;
        let value = |keyword: &str| text.iter().find(|t| t.keyword == keyword).unwrap().value.clone();
        assert_eq!((value("parameters"), value("Title")), ("caf\u{e9} \u{732b}".into(), "caf\u{e9}".into()), "{format:?}");
    }
}

#[test]
fn gamma_and_primaries_of_a_png_become_a_profile() {
    let number = |values: &[u32]| values.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>();
    let plain = file(Format::Png, &Metadata::default());
    let adobe = number(&[31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000]);
    let image = open(&with_chunks(&plain, &[(b"gAMA", &number(&[45_455])), (b"cHRM", &adobe)]));
    let profile = Profile::from_icc(image.metadata.icc.as_ref().unwrap()).unwrap();
    let reference = moxcms::ColorProfile::new_adobe_rgb().encode().unwrap();
    let reference = Profile::from_icc(&reference).unwrap();
    let ((_, a), (_, b)) = (profile.matrix_shaper().unwrap(), reference.matrix_shaper().unwrap());
    for i in 0..9 {
        assert!((a[i / 3][i % 3] - b[i / 3][i % 3]).abs() < 3e-3, "{a:?} {b:?}");
    }
    let half = |p: &Profile| {
        let mut row = [0.5f32];
        p.transfer().unwrap().linear(&mut row);
        row[0]
    };
    assert!((half(&profile) - 0.5f32.powf(2.2)).abs() < 1e-3);
    assert!(said(&image.notes, "were made a profile") && image.notes.len() == 1, "{:?}", image.notes);
    let image = open(&with_chunks(&plain, &[(b"gAMA", &number(&[100_000]))]));
    assert!((half(&Profile::from_icc(image.metadata.icc.as_ref().unwrap()).unwrap()) - 0.5).abs() < 1e-3);
    // What says sRGB, or nothing that could be meant, stays as it was.
    for chunks in
        [&[(b"gAMA", &number(&[45_455])[..])][..], &[(b"gAMA", &number(&[45_455])[..]), (b"sRGB", &[0])], &[(b"gAMA", &number(&[0])[..])]]
    {
        assert_eq!(open(&with_chunks(&plain, chunks)).metadata.icc, None);
    }
    let none = number(&[31270, 32900, 1, 0, 1, 0, 1, 0]);
    let image = open(&with_chunks(&plain, &[(b"gAMA", &number(&[45_455])), (b"cHRM", &none)]));
    assert!(image.metadata.icc.is_none() && said(&image.notes, "not supported"), "{:?}", image.notes);
}

#[test]
fn the_resolution_that_was_meant_counts_and_turns_with_the_picture() {
    let exif = |orientation: u16, x: u32, y: u32| {
        let main = [shorts(0x112, &[orientation]), ratio(0x11a, x), ratio(0x11b, y), shorts(0x128, &[2]), ascii(0x8298, "MyOwn")];
        [b"Exif\0\0", &block(&main, &[], None)[..]].concat()
    };
    let jfif = |file: &mut Vec<u8>, unit: u8, x: u16, y: u16| {
        file[13] = unit;
        file[14..16].copy_from_slice(&x.to_be_bytes());
        file[16..18].copy_from_slice(&y.to_be_bytes());
    };
    let read = |orientation, (x, y), unit, (jx, jy)| {
        let mut bytes = jpeg(&[(0xe1, &exif(orientation, x, y))], b"");
        jfif(&mut bytes, unit, jx, jy);
        open(&bytes)
    };
    let image = read(1, (300, 300), 1, (72, 72));
    assert_eq!(image.metadata.dpi, Some((300.0, 300.0)));
    assert!(said(&image.notes, "its JFIF header says 72 dpi and its EXIF block 300"));
    let image = read(1, (72, 72), 1, (300, 300));
    assert_eq!((image.metadata.dpi, image.notes.len()), (Some((300.0, 300.0)), 0));
    // Both places say the same afterwards, the sides swapped with the picture's.
    let image = read(6, (300, 150), 1, (300, 150));
    let m = image.metadata.changed(&Changes { width: 32, height: 64, ..Changes::default() }).0;
    assert_eq!(m.dpi, Some((150.0, 300.0)));
    let bytes = file(Format::Jpeg, &m);
    assert_eq!((&bytes[14..16], &bytes[16..18]), (&150u16.to_be_bytes()[..], &300u16.to_be_bytes()[..]));
    let list: Vec<u8> = [150u32, 1].iter().flat_map(|v| v.to_be_bytes()).collect();
    let at = |list: &[u8]| bytes.windows(8).position(|w| w == list);
    let second: Vec<u8> = [300u32, 1].iter().flat_map(|v| v.to_be_bytes()).collect();
    assert!(at(&list) < at(&second) && at(&list).is_some());
    let mut odd = jpeg(&[], b"");
    jfif(&mut odd, 0, 2, 1);
    assert!(said(&open(&odd).notes, "pixels are not square (2:1)"));
    let png = with_chunks(&file(Format::Png, &Metadata::default()), &[(b"pHYs", &[0, 0, 0, 2, 0, 0, 0, 1, 0])]);
    assert!(said(&open(&png).notes, "pixels are not square (2:1)"));
}

#[test]
fn names_of_documents_and_texts_in_utf8_reach_a_tiff_and_come_back() {
    let made = block(
        &[ascii(269, "doc"), ascii(285, "page"), (0x010e, 129, 6, "caf\u{e9}\0".as_bytes().to_vec()), ascii(0x8298, "MyOwn")],
        &[],
        None,
    );
    let tiff = file(Format::Tiff, &Metadata { exif: Some(made), ..Metadata::default() });
    for text in ["doc\0", "page\0", "caf\u{e9}\0", "MyOwn\0"] {
        assert!(holds(&tiff, text), "{text}");
    }
    let image = open(&tiff);
    assert!(image.notes.is_empty(), "{:?}", image.notes);
    let back = image.metadata.exif.unwrap();
    for text in ["doc\0", "page", "caf\u{e9}\0", "MyOwn\0"] {
        assert!(holds(&back, text), "{text}");
    }
    // Layers, and tags of programs of their own, are named. They stand at the end, so that tags stay in order.
    let layered =
        block(&[ascii(0x8298, "MyOwn"), (37724, 7, 9, b"9 layers!".to_vec()), ascii(32781, "C:\\art"), ascii(50341, "PrintIM")], &[], None);
    let tiff = file(Format::Tiff, &Metadata { exif: Some(layered), ..Metadata::default() });
    let notes = open(&tiff).notes;
    assert!(said(&notes, "Photoshop layers (9 bytes)") && said(&notes, "TIFF tags 32781, 50341"), "{notes:?}");
}

#[test]
fn a_sidecar_that_was_deleted_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("a.png"), with_chunks(&file(Format::Png, &Metadata::default()), &[(b"caBX", b"a manifest")])).unwrap();
    let run = || {
        let output =
            program::lastmile(dir, &dir.join("home")).args(["upscale", "a.png", "-o", "out", "--model", "none", "--scale", "2"]).output();
        let (out, err) = program::text(&output.unwrap());
        out + &err
    };
    let beside = dir.join("out/a.png.source.c2pa");
    run();
    let made = std::fs::read(dir.join("out/a.png")).unwrap();
    std::fs::remove_file(&beside).unwrap();
    let said = run();
    assert!(beside.is_file() && said.contains("1 done"), "{said}");
    assert_eq!(std::fs::read(dir.join("out/a.png")).unwrap(), made);
    assert!(run().contains("Nothing to do"));
}

#[test]
#[cfg(unix)]
fn names_cannot_speak_to_the_terminal_and_hidden_pictures_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::create_dir(dir.join("in")).unwrap();
    let text = Metadata { text: vec![Text::new("a key", "\u{1b}]0;owned\u{7}")], ..Metadata::default() };
    let evil = file(Format::Png, &text);
    for name in ["in/\u{1b}]0;owned\u{7}.png", "in/.hidden.png", "in/._resource.png"] {
        std::fs::write(dir.join(name), &evil).unwrap();
    }
    std::fs::write(dir.join("in/\u{1b}[31mbad.png"), b"no picture").unwrap();
    let name = "in/\u{1b}]0;owned\u{7}.png";
    for words in [
        vec!["upscale", "in", "-o", "out", "--model", "none", "--scale", "2", "-v"],
        vec!["plan", "upscale", "in", "-o", "new", "--model", "none", "--scale", "2", "-v"],
        vec!["meta", name, "-v"],
        vec!["meta", "--diff", name, name],
    ] {
        let output = program::lastmile(dir, &dir.join("home")).args(&words).output().unwrap();
        let (out, err) = program::text(&output);
        assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "{words:?}: {out:?} {err:?}");
        if words.contains(&"-o") {
            assert!(err.contains("1 picture whose name begins with a dot left out"), "{err}");
        }
    }
    let epoch = |value: &str| {
        let mut command = program::lastmile(dir, &dir.join("home"));
        let output = command.env("SOURCE_DATE_EPOCH", value).args(["meta", name]).output().unwrap();
        (output.status.code(), program::text(&output).1)
    };
    let (code, err) = epoch("99999999999999");
    assert!(code == Some(2) && err.contains("year 10000"), "{err}");
    assert_eq!((epoch("253402300799").0, epoch("-1").0), (Some(0), Some(2)));
}

/// Pixels stay what they are wherever only statements about them change.
#[test]
fn a_stated_colour_space_moves_no_pixel() {
    let plain = open(&jpeg(&[], b""));
    let exif = [b"Exif\0\0", &block(&[], &[shorts(0xa001, &[0xffff])], Some("R03"))[..]].concat();
    let adobe = open(&jpeg(&[(0xe1, &exif)], b""));
    assert_eq!(plain.samples, adobe.samples);
    assert!(matches!(plain.samples, Samples::U8(_)) && Encoding::default().format == Format::Png);
}
