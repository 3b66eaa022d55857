//! Speed of grading: one thread, planar f32, 1024 x 1024 pixels; elements are pixels.
//!
//! The chain is the one of `grade_peers.py`: exposure, CDL, curve, then a 33-point LUT.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lastmile::Band;
use lastmile::band::Stage;
use lastmile::grade::builtin::LOOKS;
use lastmile::grade::eight::Eight;
use lastmile::grade::lut::Lut;
use lastmile::grade::spatial::Frame;
use lastmile::grade::stage::Grade;
use lastmile::grade::{Grading, Look, Program};
use lastmile::lane::Lut3d;

const SIDE: usize = 1024;

/// Smooth shading with some noise, as a photograph has: neighbouring pixels meet neighbouring cells of a LUT.
fn picture() -> [Vec<f32>; 3] {
    [1.0f32, 1.7, 2.3].map(|k| {
        (0..SIDE * SIDE)
            .map(|i| {
                let (x, y) = ((i % SIDE) as f32 / SIDE as f32, (i / SIDE) as f32 / SIDE as f32);
                let noise = (i as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32;
                (0.5 + 0.4 * (6.0 * k * x).sin() * (5.0 * y + k).cos() + 0.02 * noise).clamp(0.0, 1.0)
            })
            .collect()
    })
}

fn look(folder: &Path, text: &str) -> Program {
    Program::new(&[Look::parse("bench", text, folder).unwrap()], 1.0).unwrap()
}

fn grading(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    for points in [33, 65] {
        let cube = Lut3d::from_fn(points, |[r, g, b]| [r * r * (3.0 - 2.0 * r), g * 0.9 + 0.05 * b, b.sqrt()]).unwrap();
        std::fs::write(folder.path().join(format!("{points}.cube")), Lut::from_cube("bench", cube).to_cube().unwrap()).unwrap();
    }
    let lut = |n: usize| format!("[[op]]\ntype = \"lut\"\nfile = \"{n}.cube\"\n");
    let chain = "[[op]]\ntype = \"exposure\"\nstops = 0.3\n[[op]]\ntype = \"cdl\"\nslope = [1.1, 1, 0.9]\noffset = 0.01\npower = [0.95, 1, 1.1]\n\
        saturation = 1.1\n[[op]]\ntype = \"curves\"\nrgb = [[0, 0], [0.25, 0.22], [0.75, 0.8], [1, 1]]\n";
    let mut programs = vec![
        ("LUT 33".to_owned(), look(folder.path(), &lut(33))),
        ("LUT 65".to_owned(), look(folder.path(), &lut(65))),
        ("exposure + CDL + curve + LUT 33".to_owned(), look(folder.path(), &(chain.to_owned() + &lut(33)))),
    ];
    for (name, _) in LOOKS {
        programs.push((format!("look {name}"), Program::new(&[Look::find(name).unwrap()], 1.0).unwrap()));
    }
    let given = picture();
    let mut group = c.benchmark_group("grade");
    group.throughput(Throughput::Elements((SIDE * SIDE) as u64)).sample_size(20);
    for (name, program) in &programs {
        group.bench_function(name, |b| {
            // Fresh colours each time: grading the graded would end in black or white.
            b.iter_batched_ref(|| given.clone(), |[r, g, b]| program.run(r, g, b), BatchSize::PerIteration);
        });
    }
    // 8 bits in and out, interleaved: what other programs measure.
    let codes: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| [0, 1, 2].map(|c| (given[c][i] * 255.0) as u8)).collect();
    for (name, program) in &programs {
        for dithered in [false, true] {
            let eight = Eight::new(program, dithered);
            group.bench_function(format!("{name}, 8 bits{}", if dithered { ", dithered" } else { "" }), |b| {
                let grade = |pixels: &mut Vec<u8>| if dithered { eight.run_dithered(pixels, 3, SIDE, 0) } else { eight.run(pixels, 3) };
                b.iter_batched_ref(|| codes.clone(), grade, BatchSize::PerIteration);
            });
        }
    }
    // Through the whole stage, in portions of 64 rows.
    let frame = Frame { width: SIDE, height: SIDE, bits: 8, seed: 1 };
    let mut band = Band::new(0, SIDE, SIDE, 3);
    (0..3).for_each(|c| band.plane_mut(c).copy_from_slice(&given[c]));
    for (name, keys) in [
        ("clarity", "amount = 0.5\nradius = 0.02"),
        ("sharpen", "amount = 1"),
        ("deband", "codes = 1"),
        ("grain", "amount = 0.03"),
        ("vignette", "stops = 1"),
    ] {
        let parsed = Look::parse("bench", &format!("[[op]]\ntype = \"{name}\"\n{keys}\n"), folder.path()).unwrap();
        let grading = Grading::new(&[parsed], 1.0).unwrap().unwrap();
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut stage = Grade::new(&grading, None, 3, false, frame).unwrap();
                let mut sink = |band| {
                    black_box(&band);
                    Ok(())
                };
                for y in (0..SIDE).step_by(64) {
                    stage.push(band.slice(y, y + 64), &mut sink).unwrap();
                }
                stage.finish(&mut sink).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, grading);
criterion_main!(benches);
