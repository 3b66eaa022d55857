//! Speed of the scaler, the transfer functions and the colour lock: one thread, 3 channels, rows streamed in bands of 64.
//!
//! Throughput is in elements = output pixels (scaler reducing: input pixels).

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lastmile::band::{Band, Stage};
use lastmile::color::Transfer;
use lastmile::resample::{Filter, Light, Resize, Scaler};
use lastmile::upscale::lock::ColourLock;

fn picture(width: usize, rows: usize) -> Band {
    let mut b = Band::new(0, width, rows, 3);
    for (i, v) in b.data.iter_mut().enumerate() {
        *v = (i as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32;
    }
    b
}

fn stream(stage: &mut dyn Stage, bands: &[Band]) -> usize {
    let mut rows = 0;
    let mut sink = |b: Band| {
        rows += black_box(b).rows;
        Ok(())
    };
    for band in bands {
        if stage.push(band.clone(), &mut sink).is_err() {
            return 0;
        }
    }
    if stage.finish(&mut sink).is_err() { 0 } else { rows }
}

fn bands(picture: &Band) -> Vec<Band> {
    (0..picture.rows).step_by(64).map(|y| picture.slice(y, (y + 64).min(picture.rows))).collect()
}

fn scaler(c: &mut Criterion) {
    let mut group = c.benchmark_group("resize");
    for (name, filter, (sw, sh), (dw, dh), light, clamp) in [
        ("reduce 4096 to 3000, linear light, clamped", Filter::Lanczos3, (4096, 1024), (3000, 750), Light::Linear(Transfer::srgb()), true),
        ("reduce 4096 to 3000, encoded", Filter::Lanczos3, (4096, 1024), (3000, 750), Light::Encoded, false),
        ("reduce 4096 to 1024, bicubic", Filter::CatmullRom, (4096, 1024), (1024, 256), Light::Encoded, false),
        ("enlarge 1024 to 4096, clamped", Filter::Lanczos3, (1024, 256), (4096, 1024), Light::Encoded, true),
    ] {
        let source = bands(&picture(sw, sh));
        group.throughput(Throughput::Elements(4096 * 1024));
        group.bench_function(name, |b| {
            b.iter(|| {
                let Ok(mut scaler) = Scaler::new(sw, sh, dw, dh, filter, None) else { return 0 };
                if clamp {
                    scaler = scaler.clamp_ringing(3.0 / 255.0);
                }
                stream(&mut Resize::new(scaler, 3, light.clone()), &source)
            });
        });
    }
    group.finish();
}

fn transfer(c: &mut Criterion) {
    let mut group = c.benchmark_group("transfer");
    let given = picture(4096, 16);
    group.throughput(Throughput::Elements(given.data.len() as u64));
    group.bench_function("sRGB to linear, per value", |b| {
        let mut row = given.data.clone();
        b.iter(|| {
            row.copy_from_slice(&given.data);
            Transfer::srgb().linear(black_box(&mut row));
        });
    });
    group.finish();
}

fn lock(c: &mut Criterion) {
    let mut group = c.benchmark_group("colour lock");
    for scale in [2, 3, 4, 8] {
        let (w, h) = (4096 / scale, 1024 / scale);
        let (source, result) = (picture(w, h), bands(&picture(w * scale, h * scale)));
        group.throughput(Throughput::Elements((w * scale * h * scale) as u64));
        group.bench_function(format!("x{scale}"), |b| {
            b.iter(|| {
                let rows = source.clone();
                match ColourLock::new(w, h, 3, scale, Box::new(move |y0, y1| rows.slice(y0, y1))) {
                    Ok(mut stage) => stream(&mut stage, &result),
                    Err(_) => 0,
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(15);
    targets = scaler, transfer, lock
}
criterion_main!(benches);
