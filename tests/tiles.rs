//! Tiles never show: real networks, any size of picture and tile, against the picture in one piece.

#![cfg(feature = "onnx")]
// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod program;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use lastmile::Band;
use lastmile::band::Stage;
use lastmile::upscale::backend::OnnxRuntime;
use lastmile::upscale::catalogue::EMBEDDED;
use lastmile::upscale::device::{Device, Precision};
use lastmile::upscale::engine::Backend;
use lastmile::upscale::home::Home;
use lastmile::upscale::model::{Halo, Model};
use lastmile::upscale::network::Network;
use lastmile::upscale::pass::Pass;
use lastmile::upscale::pool::Pool;
use lastmile::upscale::runtime::{Install, RuntimeOptions};
use lastmile::upscale::tile::Grid;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

static NEVER: AtomicBool = AtomicBool::new(false);

/// The runtime, started once; none without it.
fn backend() -> Option<&'static OnnxRuntime> {
    static BACKEND: OnceLock<Option<OnnxRuntime>> = OnceLock::new();
    let start = || {
        let home = program::home()?;
        let runtime = RuntimeOptions {
            home: Home::new(home),
            path: None,
            env_path: None,
            executable_dir: None,
            virtual_env: None,
            search_path: None,
            install: Install::Forbidden,
        };
        let backend = OnnxRuntime { runtime, device: Device::Cpu, precision: Precision::Auto, say: Box::new(|_| {}) };
        backend.start().unwrap();
        Some(backend)
    };
    BACKEND.get_or_init(start).as_ref()
}

fn picture(width: usize, height: usize, seed: u32) -> Band {
    let mut b = Band::new(0, width, height, 3);
    let mut state = seed | 1;
    for (i, v) in b.data.iter_mut().enumerate() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *v = 0.5 + 0.3 * (i as f32 * 0.05).sin() + 0.2 * ((state >> 16) as f32 / 65535.0 - 0.5);
    }
    b
}

fn upscale(network: &Arc<Network>, pool: &Arc<Pool>, picture: &Band, core: usize) -> Band {
    let grid = Grid::with_core(picture.width, picture.rows, core, &network.spec.rule).unwrap();
    let s = network.spec.scale;
    let mut out = Band::new(0, picture.width * s, picture.rows * s, 3);
    let mut place = |b: Band| {
        for c in 0..3 {
            for r in 0..b.rows {
                out.row_mut(c, b.y + r).copy_from_slice(b.row(c, r));
            }
        }
        Ok(())
    };
    let mut pass = Pass::new(Arc::clone(network), Arc::clone(pool), grid, 3, &NEVER);
    pass.push(picture.clone(), &mut place).unwrap();
    pass.finish(&mut place).unwrap();
    out
}

/// The largest difference of any tiling from one piece, over `cases` random sizes up to `most`.
fn worst(model: Model, cases: u32, most: (usize, usize)) -> f32 {
    let Some(backend) = backend() else { return 0.0 };
    let spec = model.manifest.spec();
    let least = spec.rule.minimum;
    let network = Arc::new(Network::new(spec, backend.opener(Arc::new(model), Device::Cpu, true)));
    let pool = Arc::new(Pool::new(2).unwrap());
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let worst = std::cell::Cell::new(0f32);
    let sizes = (least..=most.0, least..=most.1, 32usize..160, any::<u32>());
    let run = |(w, h, core, seed): (usize, usize, usize, u32)| {
        let p = picture(w, h, seed);
        let whole = upscale(&network, &pool, &p, w.max(h));
        let tiled = upscale(&network, &pool, &p, core);
        let d = whole.data.iter().zip(&tiled.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        worst.set(worst.get().max(d));
        Ok(())
    };
    runner.run(&sizes, run).unwrap();
    worst.get()
}

#[test]
fn embedded_networks_tile_exactly() {
    for embedded in EMBEDDED {
        let model = Model::embedded(embedded.id).unwrap().unwrap();
        assert!(matches!(model.manifest.halo, Halo::Exact(_)));
        let d = worst(model, 24, (300, 200));
        println!("{}: {d:e}", embedded.id);
        assert!(d <= 1e-5, "{}: {d}", embedded.id);
    }
}

#[test]
fn community_networks_tile_exactly() {
    let root = std::env::var_os("LASTMILE_SHARED").map_or(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let Some(backend) = backend() else { return };
    for (name, allowed) in [("realesr-animevideov3-x4", 1e-5), ("span-ch28-x4-psnr", 1.0 / 255.0), ("realesr-general-x4v3", 1.0 / 255.0)] {
        let path = root.join(format!("models/{name}.onnx"));
        if !path.exists() {
            println!("skipped: {} is not there", path.display());
            continue;
        }
        let home = Home::new(tempfile::tempdir().unwrap().path());
        let mut open = |manifest: &lastmile::upscale::model::Manifest, bytes: &[u8]| {
            let model = Model {
                manifest: manifest.clone(),
                bytes: bytes.to_vec().into(),
                sha256: manifest.sha256.clone(),
                origin: lastmile::upscale::model::Origin::Embedded,
            };
            backend.opener(Arc::new(model), Device::Cpu, true).open(false)
        };
        let model = lastmile::upscale::catalogue::resolve(path.to_str().unwrap(), &home, &mut open).unwrap();
        let d = worst(model, 3, (150, 100));
        println!("{name}: {d:e}");
        assert!(d <= allowed, "{name}: {d}");
    }
}
