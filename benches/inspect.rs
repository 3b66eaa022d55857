//! Speed of inspection: CPU time a megapixel of result, on one thread, with a source and a faithful enlargement and alone.
//!
//! `cargo bench --bench inspect [-- WIDTH HEIGHT ROUNDS THREADS]`. One thread if not told otherwise; CPU time where the system tells it
//! (Linux), else wall time; of the whole set both. The median of the rounds is told. `ONLY=full`, `ONLY=alone` or `ONLY=halo` runs that
//! alone again and again, for a profiler.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use lastmile::inspect::plane::Plane;
use lastmile::inspect::{About, DETECTORS, Picture, Scene, Situation, inspect, print};

/// Detectors that need no source and have a target of their own.
const ALONE: [&str; 5] = ["blocking", "blur", "banding", "clipping", "micro_noise"];
const SCALE: usize = 4;

/// Smooth areas, edges and texture of many sizes, in colour; 8 bits.
fn drawing(width: usize, height: usize, step: f32, detail: f32) -> Picture {
    let hash = |x: i32, y: i32, k: u32| {
        let v = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77) ^ k.wrapping_mul(0xc2b2_ae35);
        ((v ^ (v >> 15)).wrapping_mul(0x2c1b_3c6d) >> 9) as f32 / (1 << 23) as f32 - 0.5
    };
    let value = |x: f32, y: f32, k: u32| {
        let (i, j) = (x.floor(), y.floor());
        let (u, v) = (x - i, y - j);
        let at = |dx: i32, dy: i32| hash(i as i32 + dx, j as i32 + dy, k);
        (at(0, 0) * (1.0 - u) + at(1, 0) * u) * (1.0 - v) + (at(0, 1) * (1.0 - u) + at(1, 1) * u) * v
    };
    Picture::from_planes(std::array::from_fn(|c| {
        let mut p = Plane::new(width, height);
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 * step, y as f32 * step);
                let tint = 0.06 * c as f32;
                let base = 0.45 + 0.2 * (u * 0.004 + tint).sin() * (v * 0.003).cos() + tint;
                let edge = if value(u / 90.0, v / 90.0, 3) > 0.08 { 0.12 } else { 0.0 };
                let busy = (value(u / 300.0, v / 300.0, 5) * 4.0).clamp(0.0, 1.0);
                let texture = 0.16 * value(u / 17.0, v / 17.0, 7) + 0.12 * value(u / 5.0, v / 5.0, 8) + detail * value(u / 1.7, v / 1.7, 9);
                p.data[y * width + x] = ((base + edge + busy * texture).clamp(0.0, 1.0) * 255.0).round() / 255.0;
            }
        }
        p
    }))
}

/// CPU time of this process's threads so far.
fn cpu_seconds() -> Option<f64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let of = |t: std::io::Result<std::fs::DirEntry>| -> Option<f64> {
        let text = std::fs::read_to_string(t.ok()?.path().join("schedstat")).ok()?;
        Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
    };
    threads.map(of).sum()
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [width, height, rounds, threads] = [0, 1, 2, 3].map(|i| numbers.get(i).copied().unwrap_or([2048, 1536, 3, 1][i]));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let (w, h) = (width / SCALE * SCALE, height / SCALE * SCALE);
    let (result, faithful) = (drawing(w, h, 1.0, 0.12), drawing(w, h, 1.0, 0.04));
    let source = drawing(w / SCALE, h / SCALE, SCALE as f32, 0.0);
    let mpix = (w * h) as f64 / 1e6;
    let compared = || {
        let mut scene = Scene::new(result.clone(), source.clone()).unwrap();
        scene.faithful = Some(faithful.clone());
        scene
    };
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    // One thing again and again, for a profiler.
    if let Ok(only) = std::env::var("ONLY") {
        for _ in 0..rounds {
            let scene = if only == "alone" { Scene::alone(result.clone()) } else { compared() };
            let wanted = |name: &str| if only == "alone" { ALONE.contains(&name) } else { only == name };
            if only == "full" {
                drop(inspect(&scene, &About { situation: Situation::Source, ..About::default() }));
            }
            DETECTORS.iter().filter(|d| wanted(d.name)).for_each(|d| drop((d.measure)(&scene)));
        }
        return;
    }
    for _ in 0..rounds {
        let mut note = |name: &str, run: &mut dyn FnMut()| {
            let (wall, cpu) = (Instant::now(), cpu_seconds());
            run();
            let took = cpu_seconds().zip(cpu).map_or(wall.elapsed().as_secs_f64(), |(to, from)| to - from);
            all.entry(name.into()).or_default().push(took);
            if name.starts_with('3') {
                all.entry(format!("{name}, wall")).or_default().push(wall.elapsed().as_secs_f64());
            }
        };
        let scene = compared();
        note("1 shared: luma", &mut || {
            black_box((scene.luma(), scene.source_luma(), scene.faithful_luma()));
        });
        note("1 shared: reduced", &mut || {
            black_box(scene.reduced());
        });
        note("1 shared: residual", &mut || {
            black_box(scene.residual());
        });
        note("1 shared: texture", &mut || {
            black_box(scene.texture());
        });
        note("1 shared: difference", &mut || {
            black_box(scene.difference());
        });
        for d in DETECTORS {
            note(&format!("2 {}", d.name), &mut || drop((d.measure)(&scene)));
        }
        note("2 print preflight", &mut || _ = print::synthesised(&scene));
        let scene = compared();
        let about = About { situation: Situation::Source, ..About::default() };
        note("3 the full set with source", &mut || drop(inspect(&scene, &about)));
        let scene = Scene::alone(result.clone());
        note("4 alone: luma", &mut || {
            black_box(scene.luma());
        });
        for d in DETECTORS.iter().filter(|d| ALONE.contains(&d.name)) {
            note(&format!("4 alone: {}", d.name), &mut || drop((d.measure)(&scene)));
        }
        let scene = Scene::alone(result.clone());
        note("5 blocking, blur, banding, clipping and micro_noise alone", &mut || {
            DETECTORS.iter().filter(|d| ALONE.contains(&d.name)).for_each(|d| drop((d.measure)(&scene)));
        });
    }
    println!("{w} x {h} px, {rounds} rounds, threads: {threads}");
    for (name, mut took) in all {
        took.sort_by(f64::total_cmp);
        let took = took[took.len() / 2];
        println!("{:60} {:8.2} ms/MPix {:8.1} MPix/s", &name[2..], took * 1e3 / mpix, mpix / took);
    }
}
