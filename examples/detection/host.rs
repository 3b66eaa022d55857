//! Pictures and the faithful network, as the program has them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lastmile::codec::{self, Limits};
use lastmile::inspect::Picture;
use lastmile::pipeline::inspection;
use lastmile::resample::Filter;
use lastmile::upscale::backend::OnnxRuntime;
use lastmile::upscale::device::{Device, Precision};
use lastmile::upscale::engine::{Engine, Networks, Options, TileMode};
use lastmile::upscale::home::Home;
use lastmile::upscale::model::Model;
use lastmile::upscale::runtime::{Install, RuntimeOptions};

use super::cases::{Colour, SIDE, each, filled};
use super::random::Random;

/// A picture file; none if it cannot be read.
pub fn open(path: &Path) -> Option<Colour> {
    let image = codec::decode(path, &std::fs::read(path).ok()?, &Limits::default()).ok()?;
    let picture = Picture::of(&image);
    Some(std::array::from_fn(|c| picture.channel(c).clone()))
}

/// Files of the folders, in order of name.
pub fn files(folders: &[&str]) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> =
        folders.iter().flat_map(|f| std::fs::read_dir(f).unwrap_or_else(|e| panic!("{f}: {e}"))).map(|e| e.unwrap().path()).collect();
    out.retain(|p| p.extension().is_some_and(|e| e == "png" || e == "jpg"));
    out.sort();
    out
}

/// A square of a photograph, reduced first so that it is sharp at its pixels; none if it is too small.
pub fn base(path: &Path) -> Option<Colour> {
    let photo = open(path)?;
    let short = photo[0].width.min(photo[0].height);
    let jpeg = path.extension().is_some_and(|e| e == "jpg");
    let by = if jpeg { (short as f32 / SIDE as f32).clamp(1.25, 2.0) } else { 1.0 };
    let (w, h) = ((photo[0].width as f32 / by) as usize, (photo[0].height as f32 / by) as usize);
    if w < SIDE || h < SIDE {
        return None;
    }
    let photo = if by > 1.0 { each(&photo, |p| p.resize(w, h, Filter::Box).unwrap()) } else { photo };
    let mut r = Random::new(&path.file_name().unwrap().to_string_lossy(), 7);
    let (x0, y0) = (r.below(0, w - SIDE + 1), r.below(0, h - SIDE + 1));
    Some(each(&photo, |p| filled(SIDE, SIDE, |x, y| p.data[(y0 + y as usize) * w + x0 + x as usize])))
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
    pub fn run(&self, source: &Picture) -> Picture {
        let size = (source.width * super::cases::SCALE, source.height * super::cases::SCALE);
        inspection::faithful(&self.0, source, size, &[], &AtomicBool::new(false)).unwrap().picture
    }

    /// What made the enlargements.
    pub fn name(&self) -> String {
        let passes = self.0.reference_passes(super::cases::SCALE as f64, &[]);
        passes.iter().map(|&i| self.0.model(i).manifest.id.clone()).collect::<Vec<_>>().join("+")
    }
}
