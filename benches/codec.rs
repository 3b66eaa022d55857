//! Rates of reading and writing files, pixels per second of a picture that is smooth with a little grain, as networks leave it.
//!
//! `LASTMILE_BENCH_IMAGE=FILE` takes a real picture instead. `LASTMILE_BENCH_CPU=1` (Linux) counts CPU seconds of all threads
//! instead of wall time, for machines that have other work to do, and prints a table.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput};
use lastmile::Band;
use lastmile::codec::{self, Encoding, Format, Limits, Metadata};
use lastmile::image::Channels;

const WIDTH: usize = 2048;
const HEIGHT: usize = 1536;

/// Waves of several lengths, a few hard edges and +-1 code of grain.
fn made() -> Band {
    let mut b = Band::new(0, WIDTH, HEIGHT, 3);
    let mut state = 1u32;
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (u, v) = (x as f32, y as f32);
            let waves = 0.5
                + 0.2 * (u * 0.011).sin() * (v * 0.017).cos()
                + 0.1 * ((u + 2.0 * v) * 0.071).sin()
                + 0.05 * (u * 0.31 - v * 0.23).sin();
            let edge = if (x / 300 + y / 200) % 3 == 0 { 0.15 } else { 0.0 };
            for c in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let grain = ((state >> 16) as f32 / 65535.0 - 0.5) * 2.0 / 255.0;
                b.row_mut(c, y)[x] = waves * (1.0 - 0.1 * c as f32) + edge + grain;
            }
        }
    }
    b
}

fn picture() -> Band {
    let Some(path) = std::env::var_os("LASTMILE_BENCH_IMAGE").map(PathBuf::from) else { return made() };
    let bytes = std::fs::read(&path).unwrap_or_default();
    match codec::decode(&path, &bytes, &Limits::default()) {
        Ok(image) if image.channels.colours() == 3 => image.colour(0, image.height),
        _ => made(),
    }
}

fn write(path: &Path, how: &Encoding, picture: &Band, bands: &[Band]) -> lastmile::Result<u64> {
    let mut e = codec::encoder(path, how, picture.width, picture.rows, Channels::Rgb, &Metadata::default())?;
    for band in bands {
        e.write(band)?;
    }
    e.finish()
}

/// CPU seconds this process has used, in ticks of 10 ms.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, counted behind the name, which may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    fields.get(11..13).map_or(0.0, |f| f.iter().filter_map(|v| v.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

/// The least CPU time of a call, over three rounds of a second each.
fn cost(mut call: impl FnMut()) -> f64 {
    let round = |call: &mut dyn FnMut()| {
        let (start, mut calls) = (cpu(), 0);
        while cpu() - start < 1.0 {
            call();
            calls += 1;
        }
        (cpu() - start) / f64::from(calls)
    };
    (0..3).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

/// Every way to write a picture, with its name.
fn ways() -> Vec<(&'static str, Encoding)> {
    let way = |format, bits| Encoding { format, quality: 95, bits, ..Encoding::default() };
    let mut all = vec![
        ("png 8", way(Format::Png, 8)),
        ("png 8 small", Encoding { small: true, ..way(Format::Png, 8) }),
        ("png 16", way(Format::Png, 16)),
        ("jpeg q95 4:4:4", way(Format::Jpeg, 8)),
        ("jpeg q95 4:2:0", Encoding { chroma_420: true, ..way(Format::Jpeg, 8) }),
        ("jpeg q95 progressive", Encoding { progressive: true, ..way(Format::Jpeg, 8) }),
        ("webp q92", Encoding { quality: 92, ..way(Format::WebP, 8) }),
        ("webp lossless", Encoding { lossless: true, ..way(Format::WebP, 8) }),
        ("tiff 8", way(Format::Tiff, 8)),
    ];
    if Format::Avif.writes() {
        all.push(("avif q85", Encoding { quality: 85, ..way(Format::Avif, 8) }));
    }
    all
}

fn cpu_table(dir: &Path, picture: &Band, bands: &[Band]) -> lastmile::Result<()> {
    let megapixels = (picture.width * picture.rows) as f64 / 1e6;
    println!("{}x{}, MPix per CPU second: write, read, bytes", picture.width, picture.rows);
    for (name, how) in ways() {
        let path = dir.join("cpu");
        let size = write(&path, &how, picture, bands)?;
        let writing = cost(|| assert!(write(&path, &how, picture, bands).is_ok()));
        let bytes = std::fs::read(&path).map_err(|e| lastmile::Error::io(&path, e))?;
        let reading = cost(|| assert!(codec::decode(&path, &bytes, &Limits::default()).is_ok()));
        println!("{name:22} {:8.1} {:8.1} {size:10}", megapixels / writing, megapixels / reading);
    }
    Ok(())
}

fn main() -> lastmile::Result<()> {
    let mut c = Criterion::default().configure_from_args().sample_size(10);
    let dir = std::env::temp_dir().join(format!("lastmile-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| lastmile::Error::io(&dir, e))?;
    let picture = picture();
    let pixels = (picture.width * picture.rows) as u64;
    let bands: Vec<Band> = (0..picture.rows).step_by(64).map(|y| picture.slice(y, (y + 64).min(picture.rows))).collect();
    if std::env::var_os("LASTMILE_BENCH_CPU").is_some() {
        cpu_table(&dir, &picture, &bands)?;
        let _ = std::fs::remove_dir_all(&dir);
        return Ok(());
    }
    let mut sizes = Vec::new();
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(pixels));
    for (format, bits) in [(Format::Png, 8), (Format::Png, 16), (Format::Jpeg, 8), (Format::Tiff, 8), (Format::Tiff, 16)] {
        let name = format!("{}{bits}", format.extension());
        let path = dir.join(format!("{name}.{}", format.extension()));
        let how = Encoding { format, quality: 95, lossless: false, bits, ..Encoding::default() };
        sizes.push((name.clone(), write(&path, &how, &picture, &bands)?));
        group.bench_function(format!("encode_{name}"), |b| b.iter(|| write(&path, &how, &picture, &bands).is_ok()));
        let bytes = std::fs::read(&path).map_err(|e| lastmile::Error::io(&path, e))?;
        group.bench_function(format!("decode_{name}"), |b| b.iter(|| codec::decode(&path, &bytes, &Limits::default()).is_ok()));
        if format == Format::Png {
            let image = codec::decode(&path, &bytes, &Limits::default())?;
            group.bench_function(format!("band_{name}"), |b| b.iter(|| black_box(image.colour(0, image.height)).rows));
        }
    }
    group.finish();
    for (name, bytes) in sizes {
        eprint_size(&name, bytes, pixels);
    }
    let _ = std::fs::remove_dir_all(&dir);
    c.final_summary();
    Ok(())
}

#[allow(clippy::print_stderr)]
fn eprint_size(name: &str, bytes: u64, pixels: u64) {
    eprintln!("{name}: {bytes} bytes, {:.2} bits per pixel", bytes as f64 * 8.0 / pixels as f64);
}
