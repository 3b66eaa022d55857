//! Rates of tile planning, the tile loop, cross-fading, and whole pictures through the embedded network.
//!
//! The network runs only where ONNX Runtime is installed (`lastmile runtime install`); set LASTMILE_HOME if it lies elsewhere
//! than in `target/test-home`.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;
#[cfg(feature = "onnx")]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use criterion::{Criterion, Throughput};
use lastmile::Band;
use lastmile::band::Stage;
use lastmile::error::Result;
use lastmile::upscale::network::{Network, Open, Spec};
use lastmile::upscale::pass::Pass;
use lastmile::upscale::pool::Pool;
use lastmile::upscale::tile::{Budget, Grid, Rule};
use lastmile::upscale::{Infer, InferError};

static NEVER: AtomicBool = AtomicBool::new(false);

/// Repeats pixels: what remains is the cost of the loop around a network.
struct Repeat(usize);

impl Infer for Repeat {
    fn run(&mut self, t: &Band) -> Result<Band, InferError> {
        let s = self.0;
        let mut out = Band::new(t.y, t.width * s, t.rows * s, t.channels);
        for c in 0..t.channels {
            for y in 0..out.rows {
                for (to, v) in out.row_mut(c, y).chunks_exact_mut(s).zip(t.row(c, y / s)) {
                    to.fill(*v);
                }
            }
        }
        Ok(out)
    }
}

impl Open for Repeat {
    fn open(&self, _safe: bool) -> Result<Box<dyn Infer>> {
        Ok(Box::new(Repeat(self.0)))
    }

    fn has_safe(&self) -> bool {
        false
    }
}

fn picture(width: usize, height: usize) -> Band {
    let mut b = Band::new(0, width, height, 3);
    for (i, v) in b.data.iter_mut().enumerate() {
        *v = (i * 37 % 101) as f32 / 100.0;
    }
    b
}

fn run(network: &Arc<Network>, pool: &Arc<Pool>, grid: &Grid, picture: &Band) -> usize {
    let mut rows = 0;
    let mut pass = Pass::new(Arc::clone(network), Arc::clone(pool), grid.clone(), picture.channels, &NEVER);
    let mut count = |b: Band| {
        rows += black_box(b).rows;
        Ok(())
    };
    pass.push(picture.clone(), &mut count).unwrap_or_else(|e| panic!("{e}"));
    pass.finish(&mut count).unwrap_or_else(|e| panic!("{e}"));
    rows
}

fn loops(c: &mut Criterion) {
    let rule = Rule { halo: 11, ..Rule::default() };
    let budget = Budget { tile_px: 130_000, row_px: 160, parallel: 2 };
    c.bench_function("plan tiles of 6000x4000", |b| b.iter(|| Grid::best(black_box(6000), 4000, &rule, &budget)));

    let p = picture(1024, 768);
    let pool = Arc::new(Pool::new(1).unwrap_or_else(|e| panic!("{e}")));
    let mut group = c.benchmark_group("tile loop, 1024x768 x4, no network");
    group.throughput(Throughput::Elements((p.width * p.rows) as u64));
    for (name, rule) in [("exact", Rule { halo: 16, ..Rule::default() }), ("blend", Rule { halo: 32, feather: 16, ..Rule::default() })] {
        let spec = Spec { id: "repeat".into(), scale: 4, channels: 3, bgr: false, white: 1.0, rule };
        let network = Arc::new(Network::new(spec, Box::new(Repeat(4))));
        let Ok(grid) = Grid::with_core(p.width, p.rows, 256, &rule) else { continue };
        group.bench_function(name, |b| b.iter(|| run(&network, &pool, &grid, &p)));
    }
    group.finish();
}

#[cfg(feature = "onnx")]
fn inference(c: &mut Criterion) {
    use lastmile::upscale::backend::OnnxRuntime;
    use lastmile::upscale::catalogue::EMBEDDED;
    use lastmile::upscale::device::{Device, Precision};
    use lastmile::upscale::engine::Backend;
    use lastmile::upscale::home::Home;
    use lastmile::upscale::model::Model;
    use lastmile::upscale::runtime::{Install, RuntimeOptions};

    let home =
        std::env::var_os("LASTMILE_HOME").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-home"), PathBuf::from);
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
    if let Err(e) = backend.start() {
        println!("inference is left out: {e}");
        return;
    }
    let p = picture(512, 384);
    let pool = Arc::new(Pool::new(1).unwrap_or_else(|e| panic!("{e}")));
    let mut group = c.benchmark_group("inference loop, 512x384, one core");
    group.sample_size(10).throughput(Throughput::Elements((p.width * p.rows) as u64));
    for embedded in EMBEDDED {
        let Some(Ok(model)) = Model::embedded(embedded.id) else { continue };
        let spec = model.manifest.spec();
        let rule = spec.rule;
        let network = Arc::new(Network::new(spec, backend.opener(Arc::new(model), Device::Cpu, true)));
        for core in [128, 512] {
            let Ok(grid) = Grid::with_core(p.width, p.rows, core, &rule) else { continue };
            group.bench_function(format!("{} tiles of {core}", embedded.id), |b| b.iter(|| run(&network, &pool, &grid, &p)));
        }
    }
    group.finish();
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    loops(&mut c);
    #[cfg(feature = "onnx")]
    inference(&mut c);
    c.final_summary();
}
