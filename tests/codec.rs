//! What goes into a file comes out again: pixels and metadata, for every container written.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;

use lastmile::codec::{self, Encoding, Format, International, Limits, Metadata, Text, losses};
use lastmile::image::{Channels, Samples};
use lastmile::{Band, Image};

const WRITTEN: [Format; 4] = [Format::Png, Format::Jpeg, Format::WebP, Format::Tiff];
const LAYOUTS: [Channels; 4] = [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba];

fn how(format: Format, bits: u8) -> Encoding {
    Encoding { format, quality: 95, lossless: true, bits, ..Encoding::default() }
}

/// A smooth picture with a different slope in every channel.
fn smooth(width: usize, height: usize, channels: usize) -> Band {
    let mut b = Band::new(0, width, height, channels);
    for c in 0..channels {
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 / width.max(2) as f32, y as f32 / height.max(2) as f32);
                b.row_mut(c, y)[x] = [u, v, 0.5 * (u + v), 1.0 - 0.5 * u][(c + 2 * usize::from(channels == 2)) % 4];
            }
        }
    }
    b
}

fn write(path: &Path, how: &Encoding, channels: Channels, picture: &Band, step: usize, metadata: &Metadata) -> u64 {
    let mut e = codec::encoder(path, how, picture.width, picture.rows, channels, metadata).unwrap();
    for y in (0..picture.rows).step_by(step) {
        e.write(&picture.slice(y, (y + step).min(picture.rows))).unwrap();
    }
    e.finish().unwrap()
}

fn read(path: &Path) -> Image {
    codec::decode(path, &std::fs::read(path).unwrap(), &Limits::default()).unwrap()
}

#[test]
fn pixels_survive_in_every_layout_and_depth() {
    let dir = tempfile::tempdir().unwrap();
    for format in WRITTEN {
        for bits in [8, 16] {
            if bits == 16 && !format.supports_16_bit() {
                continue;
            }
            for channels in LAYOUTS {
                for (w, h, step) in [(1, 1, 1), (17, 9, 4), (65, 130, 7), (130, 33, 33)] {
                    let path = dir.path().join(format!("a.{}", format.extension()));
                    let picture = smooth(w, h, channels.count());
                    let size = write(&path, &how(format, bits), channels, &picture, step, &Metadata::default());
                    assert_eq!(size, std::fs::metadata(&path).unwrap().len());
                    let bytes = std::fs::read(&path).unwrap();
                    let header = codec::header(&path, &bytes, &Limits::default()).unwrap();
                    let image = read(&path);
                    let what = format!("{format:?} {bits} {channels:?} {w}x{h}");
                    assert_eq!((header.width, header.height, header.channels, header.bits), (w, h, image.channels, image.bits()), "{what}");
                    assert_eq!((image.width, image.height, image.bits(), image.format), (w, h, bits, format), "{what}");
                    assert!(image.notes.is_empty(), "{what}: {:?}", image.notes);
                    let lossy = format == Format::Jpeg;
                    // WebP has no grey, and its encoder drops an alpha that is opaque everywhere.
                    if !lossy && format != Format::WebP {
                        assert_eq!(image.channels, channels, "{what}");
                    }
                    let got = image.colour(0, h);
                    let white = lossy && channels.has_alpha();
                    let allowed = if lossy { 6.0 / 255.0 } else { 0.5001 / f32::from(if bits == 16 { u16::MAX } else { 255 }) };
                    for c in 0..got.channels {
                        for (i, &g) in got.plane(c).iter().enumerate() {
                            let mut want = picture.plane(if channels.colours() == 1 { 0 } else { c })[i];
                            if white {
                                let a = picture.plane(channels.count() - 1)[i];
                                want = want * a + 1.0 - a;
                            }
                            assert!((g - want).abs() <= allowed, "{what}: channel {c} sample {i}: {g} for {want}");
                        }
                    }
                    if let Some(alpha) = image.alpha(0, h) {
                        for (&g, &want) in alpha.data.iter().zip(picture.plane(channels.count() - 1)) {
                            assert!((g - want).abs() <= allowed, "{what}: alpha {g} for {want}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_16_bit_ramp_keeps_its_levels() {
    let dir = tempfile::tempdir().unwrap();
    for format in [Format::Png, Format::Tiff] {
        let path = dir.path().join(format!("ramp.{}", format.extension()));
        let mut ramp = Band::new(0, 8192, 1, 1);
        // The darkest eighth only: a decoder that guesses the depth from the brightest value would fall for it.
        ramp.data.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32 / 65535.0);
        write(&path, &how(format, 16), Channels::Grey, &ramp, 1, &Metadata::default());
        let Samples::U16(v) = read(&path).samples else { panic!("{format:?} lost its depth") };
        assert!(v.iter().enumerate().all(|(i, &v)| usize::from(v) == i), "{format:?}");
    }
}

/// A profile header as far as it is looked at.
/// Made longer by noise behind its tags.
fn profile(space: &[u8; 4], len: usize) -> Vec<u8> {
    let made = if space == b"GRAY" { moxcms::ColorProfile::new_gray_with_gamma(2.2) } else { moxcms::ColorProfile::new_display_p3() };
    let mut icc = made.encode().unwrap();
    icc.extend((icc.len()..len).map(|i| (i * 7) as u8));
    icc[..4].copy_from_slice(&(len as u32).to_be_bytes());
    icc
}

/// An EXIF block with a camera, an orientation, a maker note, a size and a thumbnail directory.
fn camera(orientation: u8) -> Vec<u8> {
    let mut b = b"MM\0*\0\0\0\x08\0\x03".to_vec();
    let mut entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        b.extend(tag.to_be_bytes());
        b.extend(kind.to_be_bytes());
        b.extend(count.to_be_bytes());
        b.extend(value);
    };
    entry(0x010f, 2, 8, [0, 0, 0, 50]);
    entry(0x0112, 3, 1, [0, orientation, 0, 0]);
    entry(0x8769, 4, 1, [0, 0, 0, 58]);
    b.extend([0, 0, 0, 96]);
    b.extend(b"LASTCAM\0\0\x02");
    let mut entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        b.extend(tag.to_be_bytes());
        b.extend(kind.to_be_bytes());
        b.extend(count.to_be_bytes());
        b.extend(value);
    };
    entry(0x927c, 7, 8, [0, 0, 0, 88]);
    entry(0xa002, 3, 1, [0, 20, 0, 0]);
    b.extend([0; 4]);
    b.extend(b"\0\0\0\x58NOTE");
    b.extend(b"\0\x01\x01\x03\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
    b
}

#[test]
fn exif_survives_with_its_maker_note() {
    let dir = tempfile::tempdir().unwrap();
    let source = Metadata { exif: Some(camera(1)), ..Metadata::default() };
    for format in WRITTEN {
        let path = dir.path().join(format!("e.{}", format.extension()));
        write(&path, &how(format, 8), Channels::Rgb, &smooth(20, 10, 3), 10, &source);
        let found = read(&path).metadata.exif.unwrap();
        if format == Format::Tiff {
            let said = losses(&how(format, 8), Channels::Rgb, &source).join("");
            assert!(said.contains("maker note"), "{said}");
            for part in [&b"LASTCAM\0"[..], b"\0\0\0\x58NOTE"] {
                assert!(found.windows(8).any(|w| w == part));
            }
        } else {
            assert_eq!(found, camera(1), "{format:?}");
        }
        // What the pixels changed is corrected in place; the length stays.
        let out = source.for_output(80, 40, None).exif.unwrap();
        assert_eq!(out.len(), camera(1).len());
        assert_eq!(out[46..50], [0; 4], "the thumbnail is still linked");
        assert_eq!(out[80..84], [0, 80, 0, 0]);
    }
}

#[test]
fn orientation_is_applied_once_in_every_container() {
    let dir = tempfile::tempdir().unwrap();
    let picture = smooth(24, 16, 3);
    let upright = |o: u8, from: &Image| {
        let mut turned = from.clone();
        turned.orient(o);
        turned.samples
    };
    for format in WRITTEN {
        let path = dir.path().join(format!("o.{}", format.extension()));
        write(&path, &how(format, 8), Channels::Rgb, &picture, 16, &Metadata::default());
        let stored = read(&path);
        for o in 1..=8 {
            let packet = format!("<x tiff:Orientation=\"{o}\"/>").into_bytes();
            let sources =
                [Metadata { exif: Some(camera(o)), ..Metadata::default() }, Metadata { xmp: Some(packet), ..Metadata::default() }];
            for metadata in sources {
                // TIFF files are written upright: the orientation inside an EXIF block does not reach the file.
                if format == Format::Tiff && metadata.exif.is_some() {
                    continue;
                }
                write(&path, &how(format, 8), Channels::Rgb, &picture, 16, &metadata);
                let bytes = std::fs::read(&path).unwrap();
                let header = codec::header(&path, &bytes, &Limits::default()).unwrap();
                let image = read(&path);
                // A TIFF states its orientation itself, and that counts before XMP.
                let o = if format == Format::Tiff { 1 } else { o };
                assert_eq!(header.orientation, o, "{format:?}");
                assert_eq!((image.width, image.height), header.upright(), "{format:?} {o}");
                assert!(image.samples == upright(o, &stored), "{format:?} {o}");
                if let Some(block) = image.metadata.exif {
                    assert_eq!(block, camera(1), "{format:?} {o}");
                }
                if let Some(packet) = image.metadata.xmp.filter(|_| o != 1) {
                    assert_eq!(packet, b"<x tiff:Orientation=\"1\"/>", "{format:?} {o}");
                }
            }
        }
    }
}

fn everything() -> Metadata {
    Metadata {
        icc: Some(profile(b"RGB ", 150_000)),
        xmp: Some(
            b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
              <rdf:Description xmlns:a='urn:a' a:b='\xc3\xa9'/></rdf:RDF></x:xmpmeta>"
                .to_vec(),
        ),
        iptc: Some(b"\x1c\x02\x78\x00\x05hello".to_vec()),
        text: vec![
            Text::new("parameters", "a cat, Steps: 20"),
            Text::new("Author", "J\u{e9}r\u{f4}me"),
            Text::new("prompt", "\u{732b}"),
            Text {
                keyword: "Title".into(),
                value: "caf\u{e9}".into(),
                international: Some(International { language: "fr".into(), translated_keyword: "Titre".into() }),
            },
        ],
        comment: Some(b"made by hand".to_vec()),
        dpi: Some((300.0, 150.0)),
        ..Metadata::default()
    }
}

#[test]
fn metadata_survives_where_the_container_can_hold_it() {
    let dir = tempfile::tempdir().unwrap();
    let all = everything();
    for format in WRITTEN {
        let path = dir.path().join(format!("m.{}", format.extension()));
        write(&path, &how(format, 8), Channels::Rgb, &smooth(20, 10, 3), 10, &all);
        let image = read(&path);
        let m = image.metadata;
        let lost = losses(&how(format, 8), Channels::Rgb, &all).join("\n");
        assert!(image.notes.is_empty(), "{format:?}: {:?}", image.notes);
        assert_eq!(m.icc, all.icc, "{format:?}");
        assert_eq!(m.xmp, all.xmp, "{format:?}");
        assert_eq!(m.dpi, all.dpi, "{format:?}");
        assert_eq!(m.iptc, all.iptc, "{format:?}");
        assert_eq!(m.exif, None, "{format:?}");
        assert_eq!(lost, "", "{format:?}");
        let mut text = all.text.clone();
        if format == Format::Png {
            // Latin-1 cannot hold it, and a comment's place is a text of that name.
            text[2].international = Some(International::default());
            text.push(Text::new("Comment", "made by hand"));
        } else {
            assert_eq!(m.comment, all.comment, "{format:?}");
        }
        assert_eq!(m.text, text, "{format:?}");
    }
}

#[test]
fn a_grey_picture_takes_no_rgb_profile() {
    let dir = tempfile::tempdir().unwrap();
    let all = everything();
    let path = dir.path().join("g.png");
    write(&path, &how(Format::Png, 8), Channels::Grey, &smooth(8, 8, 1), 8, &all);
    assert_eq!(read(&path).metadata.icc, None);
    assert!(losses(&how(Format::Png, 8), Channels::Grey, &all).join("").contains("ICC"));
    let grey = Metadata { icc: Some(profile(b"GRAY", 4000)), ..Metadata::default() };
    write(&path, &how(Format::Png, 8), Channels::Grey, &smooth(8, 8, 1), 8, &grey);
    assert_eq!(read(&path).metadata.icc, grey.icc);
}

#[test]
fn a_wrong_extension_is_read_by_content_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    write(&path, &how(Format::Jpeg, 8), Channels::Rgb, &smooth(8, 8, 3), 8, &Metadata::default());
    let image = read(&path);
    assert_eq!(image.format, Format::Jpeg);
    assert!(image.notes[0].contains("PNG") && image.notes[0].contains("JPEG"), "{:?}", image.notes);
}

#[test]
fn limits_are_checked_from_the_header() {
    let dir = tempfile::tempdir().unwrap();
    for format in WRITTEN {
        let path = dir.path().join(format!("l.{}", format.extension()));
        write(&path, &how(format, 8), Channels::Rgb, &smooth(20, 10, 3), 10, &Metadata::default());
        let bytes = std::fs::read(&path).unwrap();
        let tight = Limits { max_pixels: 199, ..Limits::default() };
        for e in [codec::decode(&path, &bytes, &tight).unwrap_err(), codec::header(&path, &bytes, &tight).unwrap_err()] {
            assert_eq!(e.kind(), "limit", "{e}");
            let said = e.to_string();
            assert!(["20x10", "199", "--max-pixels 200", "l."].iter().all(|w| said.contains(w)), "{said}");
        }
        assert!(codec::decode(&path, &bytes, &Limits { max_pixels: 200, ..Limits::default() }).is_ok());
    }
}

#[test]
fn a_nan_never_reaches_a_file() {
    let dir = tempfile::tempdir().unwrap();
    for format in WRITTEN {
        let mut bad = smooth(20, 10, 3);
        bad.row_mut(1, 7)[3] = f32::NAN;
        let path = dir.path().join(format!("n.{}", format.extension()));
        let mut e = codec::encoder(&path, &how(format, 8), 20, 10, Channels::Rgb, &Metadata::default()).unwrap();
        assert_eq!(e.write(&bad).unwrap_err().kind(), "quality", "{format:?}");
    }
}

#[test]
fn an_unfinished_picture_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for format in WRITTEN {
        let path = dir.path().join(format!("u.{}", format.extension()));
        let mut e = codec::encoder(&path, &how(format, 8), 20, 10, Channels::Rgb, &Metadata::default()).unwrap();
        e.write(&smooth(20, 9, 3)).unwrap();
        assert!(e.finish().is_err(), "{format:?}");
        let mut e = codec::encoder(&path, &how(format, 8), 20, 10, Channels::Rgb, &Metadata::default()).unwrap();
        assert!(e.write(&smooth(20, 11, 3)).is_err(), "{format:?}");
    }
}
