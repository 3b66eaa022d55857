//! Broken, hostile and unusual files: each ends as a picture or as an error that names the file and the fault, never in a
//! panic. The files are not part of the repository; without them the tests on them say so and pass.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use lastmile::codec::{self, Encoding, Format, Limits, Metadata};
use lastmile::image::{Channels, Samples};
use lastmile::{Band, Image, Result};

fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LASTMILE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let dir = root.join("images").join(folder);
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: {} is not there", dir.display());
    None
}

fn decode(path: &Path) -> Result<Image> {
    codec::decode(path, &std::fs::read(path).unwrap(), &Limits::default())
}

/// File, the kind of its error or `ok`, and words its message or notes must hold.
const BAD: &[(&str, &str, &str)] = &[
    ("zero_byte.png", "input", "empty"),
    ("one_byte.jpg", "input", "1 byte"),
    ("text_named.png", "input", "text file"),
    ("jpeg_named.png", "ok", "holds a JPEG"),
    ("png_named.jpg", "ok", "holds a PNG"),
    ("bomb_png_40000x40000_1bit.png", "limit", "--max-pixels 1600000000"),
    ("huge_dims_png_2e31.png", "limit", "2147483647x2147483647"),
    ("huge_dims_65500.jpg", "limit", "65500x65500"),
    ("zero_width.png", "input", "0x16"),
    ("bitflip.png", "input", "checksum of its IDAT"),
    ("truncated_half.webp", "input", "cut off"),
    ("truncated_half.tiff", "input", "cut off"),
    ("libpng_badadler.png", "input", "damaged"),
    ("libpng_badcrc.png", "input", "checksum of its IDAT"),
    // Its one IDAT chunk claims to be longer than the file, but all pixels and their checksum are there.
    ("libpng_huge_IDAT.png", "ok", "complete"),
    ("libpng_huge_iCCP.png", "input", "no picture data"),
    ("libpng_bad_iCCP.png", "input", "checksum of the PNG header"),
    ("pngsuite_xs1n0g01.png", "input", "signature"),
    ("pngsuite_xc9n2c08.png", "input", "colour type 9"),
    ("pngsuite_xd3n2c08.png", "input", "3 bits"),
    ("pngsuite_xhdn0g08.png", "input", "checksum of the PNG header"),
    ("pngsuite_xdtn0g01.png", "input", "no picture data"),
    ("pil_broken.png", "input", "IHDR"),
    ("pil_truncated_end_chunk.png", "ok", "complete"),
    ("pil_png_decompression_dos.png", "ok", ""),
    ("pil_decompression_bomb.gif", "input", "cut off"),
    ("pil_oom.tif", "input", "samples per pixel"),
    ("pil_truncated_app14.jpg", "ok", ""),
    // Not only its EXIF is bad: the whole file lost its 0x0d bytes (libjpeg shows stripes of garbage and a warning).
    ("pil_hopper_bad_exif.jpg", "input", "copied as if it were text"),
    ("sharp_truncated.jpg", "input", "cut off"),
    ("sharp_65536_limit.png", "limit", "65536x65536"),
    ("imagers_reallybig.bmp", "limit", "3000000x2000000"),
    ("imagers_oversized.gif", "ok", ""),
    ("pil_ultrahdr_truncated.jpg", "input", "cut off"),
    ("pil_apng_no_fdat.png", "input", "animation"),
];

#[test]
fn every_bad_file_ends_as_listed() {
    let Some(dir) = shared("bad") else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if name == "README.md" {
            continue;
        }
        let (_, kind, word) = BAD.iter().find(|b| b.0 == name).unwrap_or_else(|| panic!("{name} is not listed"));
        seen += 1;
        match decode(&path) {
            Ok(image) => {
                assert_eq!(*kind, "ok", "{name} was decoded");
                assert!(image.notes.join("\n").contains(word), "{name}: {:?}", image.notes);
                let header = codec::probe(&path, &Limits::default()).unwrap();
                assert_eq!(header.upright(), (image.width, image.height), "{name}");
            }
            Err(e) => {
                assert_eq!(*kind, e.kind(), "{e}");
                assert!(e.to_string().contains(word) && e.to_string().contains(&name), "{e}");
                assert!(e.to_string().contains("try: "), "{e}");
            }
        }
    }
    assert_eq!(seen, BAD.len(), "files are missing");
}

#[test]
fn every_file_with_metadata_is_read_whole() {
    let Some(dir) = shared("metadata") else { return };
    let read = |name: &str| decode(&dir.join(name)).unwrap_or_else(|e| panic!("{e}"));
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        match name.as_str() {
            "README.md" => {}
            _ if name.starts_with("animated") => {
                let e = decode(&path).unwrap_err();
                assert!(e.to_string().contains("frames"), "{e}");
            }
            _ => {
                let image = read(&name);
                let header = codec::probe(&path, &Limits::default()).unwrap();
                assert_eq!(
                    (header.upright(), header.channels, header.bits),
                    ((image.width, image.height), image.channels, image.bits()),
                    "{name}"
                );
                if name.starts_with("c2pa_") {
                    assert!(image.metadata.c2pa.is_some() && image.notes.iter().any(|n| n.contains("C2PA")), "{name}");
                }
            }
        }
    }
    let keys = |name: &str| read(name).metadata.text.into_iter().map(|t| t.keyword).collect::<Vec<_>>();
    assert_eq!(keys("a1111_png_1x1.png"), ["parameters"]);
    assert_eq!(keys("comfyui_sdxlturbo_512.png"), ["prompt", "workflow"]);
    assert_eq!(keys("invokeai_sdmetadata_1x1.png"), ["Dream", "sd-metadata"]);
    assert_eq!(keys("novelai_1x1.png"), ["Title", "Description", "Software", "Source", "Comment"]);
    assert!(read("a1111_jpeg_usercomment_1x1.jpg").metadata.exif.is_some());
    let webp = read("xmp_icc_exif.webp").metadata;
    assert!(webp.icc.is_some() && webp.exif.is_some() && webp.xmp.is_some());
    assert_eq!((read("tree_alpha_16bit.png").bits(), read("rgb16.tiff").bits(), read("tbgn2c16.png").channels), (16, 16, Channels::Rgba));
    assert_eq!(read("gray_17.png").channels, Channels::Grey);
    assert_eq!(read("prophoto.png").metadata.dpi, Some((240.0, 240.0)));
    for name in ["cmyk_adobe_profile.jpg", "cmyk_small.jpg"] {
        assert!(read(name).notes.iter().any(|n| n.contains("CMYK")), "{name}");
    }
    // The eight orientations show one scene; they differ by their JPEG coding only.
    let upright = read("exif_landscape_1.jpg");
    for o in 2..=8 {
        let turned = read(&format!("exif_landscape_{o}.jpg"));
        assert_eq!((turned.width, turned.height), (upright.width, upright.height));
        let (a, b) = (upright.colour(0, upright.height), turned.colour(0, upright.height));
        let mean = a.data.iter().zip(&b.data).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / a.data.len() as f64;
        assert!(mean < 0.02, "orientation {o}: mean difference {mean}");
        assert!(
            lastmile::codec::header(
                Path::new("x.jpg"),
                &std::fs::read(dir.join(format!("exif_landscape_{o}.jpg"))).unwrap(),
                &Limits::default()
            )
            .unwrap()
            .orientation
                == o
        );
    }
}

/// Small files of every kind that can be written, with metadata.
fn seeds() -> Vec<(Format, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    exif.extend([0; 32]);
    let metadata = Metadata {
        exif: Some(exif),
        xmp: Some(b"<x tiff:Orientation='3'/>".to_vec()),
        iptc: Some(b"\x1c\x02\x78\x00\x05hello".to_vec()),
        text: vec![codec::Text::new("parameters", "a cat"), codec::Text::new("k", "\u{732b}")],
        dpi: Some((300.0, 300.0)),
        ..Metadata::default()
    };
    let mut out = Vec::new();
    for (format, channels, bits, lossless) in [
        (Format::Png, Channels::Rgba, 8, true),
        (Format::Png, Channels::Grey, 16, true),
        (Format::Jpeg, Channels::Rgb, 8, true),
        (Format::WebP, Channels::Rgba, 8, false),
        (Format::WebP, Channels::Rgb, 8, true),
        (Format::Tiff, Channels::Rgb, 16, true),
        (Format::Tiff, Channels::GreyAlpha, 8, true),
    ] {
        let mut b = Band::new(0, 31, 23, channels.count());
        b.data.iter_mut().enumerate().for_each(|(i, v)| *v = ((i * i) as f32 * 0.01).sin().abs());
        let path = dir.path().join("seed");
        let mut e =
            codec::encoder(&path, &Encoding { format, quality: 90, lossless, bits, ..Encoding::default() }, 31, 23, channels, &metadata)
                .unwrap();
        e.write(&b).unwrap();
        e.finish().unwrap();
        out.push((format, std::fs::read(&path).unwrap()));
    }
    // GIF87a, 2x1, two colours, one LZW block; BMP 2x1 24 bit; PNM; QOI 2x1 with one run.
    out.push((Format::Gif, b"GIF87a\x02\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x02\0\x01\0\0\x02\x02D\n\0;".to_vec()));
    out.push((Format::Bmp, b"BM\x3e\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04\x05\x06\0\0".to_vec()));
    out.push((Format::Pnm, b"P6\n2 1\n255\nabcdef".to_vec()));
    out.push((Format::Qoi, b"qoif\0\0\0\x02\0\0\0\x01\x03\0\xc1\0\0\0\0\0\0\0\x01".to_vec()));
    out
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Decodes hostile bytes; a caught panic counts as a failure here.
fn survive(format: Format, bytes: &[u8], what: &str) -> Option<Image> {
    let limits = Limits { max_pixels: 4_000_000, ..Limits::default() };
    let path = Path::new("hostile.bin");
    let _ = codec::header(path, bytes, &limits);
    match codec::decode(path, bytes, &limits) {
        Ok(image) => {
            let n = image.width * image.height * image.channels.count();
            let len = match &image.samples {
                Samples::U8(v) => v.len(),
                Samples::U16(v) => v.len(),
                Samples::F32(v) => v.len(),
            };
            assert_eq!(n, len, "{format:?} {what}");
            Some(image)
        }
        Err(e) => {
            assert!(!e.to_string().contains("the decoder stopped"), "{format:?} {what}: {e}");
            assert_ne!(e.kind(), "internal", "{format:?} {what}: {e}");
            None
        }
    }
}

#[test]
fn a_cut_file_is_an_error_or_the_whole_picture() {
    for (format, bytes) in seeds() {
        let whole = survive(format, &bytes, "whole").unwrap_or_else(|| panic!("{format:?} is no seed"));
        for cut in 0..bytes.len() {
            if let Some(image) = survive(format, &bytes[..cut], &format!("cut at {cut}")) {
                assert_eq!(image.samples, whole.samples, "{format:?} cut at {cut} of {}", bytes.len());
            }
        }
    }
}

#[test]
fn flipped_bytes_do_no_harm() {
    let mut random = Random(1);
    for (format, bytes) in seeds() {
        for round in 0..1500 {
            let mut b = bytes.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(b.len());
                b[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => b[at] ^ (1 << random.below(8)),
                    _ => random.below(256) as u8,
                };
            }
            survive(format, &b, &format!("round {round}"));
        }
    }
}
