//! Pictures and the faithful network, as the program has them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lastmile::codec::{self, Limits};
use lastmile::inspect::Picture;
use lastmile::pipeline::inspection;
use lastmile::upscale::backend::OnnxRuntime;
use lastmile::upscale::device::{Device, Precision};
use lastmile::upscale::engine::{Engine, Networks, Options, TileMode};
use lastmile::upscale::home::Home;
use lastmile::upscale::model::Model;
use lastmile::upscale::runtime::{Install, RuntimeOptions};

use super::cases::Colour;

/// A picture file; none if it cannot be read.
pub fn open(path: &Path) -> Option<Colour> {
    let image = codec::decode(path, &std::fs::read(path).ok()?, &Limits::default()).ok()?;
    let picture = Picture::of(&image);
    Some(std::array::from_fn(|c| picture.channel(c).clone()))
}

/// The embedded faithful network.
pub struct Faithful(Engine);

impl Faithful {
    /// Needs ONNX Runtime: `ORT_DYLIB_PATH`, or what `lastmile runtime install` put under `LASTMILE_HOME`.
    pub fn new() -> Self {
        let home = std::env::var_os("LASTMILE_HOME").map_or_else(|| PathBuf::from("target/test-home"), PathBuf::from);
        let runtime = RuntimeOptions {
            home: Home::new(&home),
            path: None,
            env_path: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
            executable_dir: None,
            virtual_env: None,
            search_path: None,
            install: Install::Forbidden,
        };
        let say = Box::new(|line: &str| eprintln!("{line}"));
        let backend = OnnxRuntime { runtime, device: Device::Cpu, precision: Precision::Auto, say };
        let (main, faithful) = (Some(Model::embedded_default().unwrap()), Model::faithful_family().unwrap());
        let networks = Networks { main, named: false, faithful, reference: Model::reference().unwrap() };
        let options = Options { tile: None, tile_mode: TileMode::Auto, precision: Precision::Auto, memory: 1 << 30, cores: 1 };
        Self(Engine::new(Box::new(backend), networks, options).unwrap())
    }

    /// Four times larger.
    pub fn run(&mut self, source: &Picture) -> Picture {
        let size = (source.width * super::cases::SCALE, source.height * super::cases::SCALE);
        inspection::faithful(&self.0, source, size, &[], &AtomicBool::new(false)).unwrap().picture
    }

    /// What made the enlargements.
    pub fn name(&self) -> String {
        let passes = self.0.reference_passes(super::cases::SCALE as f64, &[]);
        passes.iter().map(|&i| self.0.model(i).manifest.id.clone()).collect::<Vec<_>>().join("+")
    }
}
