//! The networks of a run, ready to enlarge pictures from several threads at once.
//!
//! Nothing is loaded before the first tile: a run that finds everything done never touches ONNX Runtime.
//!
//! Over 500 lines because choosing networks, their passes and their memory is one decision, told with its tests.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Infer;
use super::device::{Choice, Device, Precision};
use super::model::{Halo, Kind, Model, Origin};
use super::network::{Network, Open};
use super::pool::Pool;
use super::size::{STRETCH, Step, chain};
use super::tile::{Budget, Grid, Rule};
use crate::band::Band;
use crate::error::{Error, Result};

/// What runs networks: ONNX Runtime in the program, fakes in tests.
pub trait Backend: Send + Sync {
    /// Finds or installs the runtime, loads it and picks the device.
    fn start(&self) -> Result<Choice>;

    /// How sessions of `model` are opened on `device`.
    /// The precision that was asked for is the `main` network's; others run in what they are made for.
    fn opener(&self, model: Arc<Model>, device: Device, main: bool) -> Box<dyn Open>;
}

/// How tiles are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TileMode {
    /// Exactly where the network allows it, else blended.
    #[default]
    Auto,
    /// Exactly, or not at all.
    Exact,
    /// Overlaps are cross-faded.
    Blend,
}

impl fmt::Display for TileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Exact => "exact",
            Self::Blend => "blend",
        })
    }
}

/// One run of one network over a picture, as the journal and the `file` event keep it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PassRecord {
    pub model: String,
    pub sha256: String,
    pub scale: u32,
    /// `exact`, `measured` or `blend`.
    pub mode: String,
    pub halo: u32,
    /// Tiles across and down.
    pub grid: [u32; 2],
    /// Core size of the largest tile, input pixels.
    pub tile: [u32; 2],
    /// Core pixels over computed pixels.
    pub core_share: f64,
    /// What ran it, e.g. `cpu`, `cuda:1`.
    pub device: String,
    pub precision: String,
}

/// What does not depend on the networks.
#[derive(Debug, Clone)]
pub struct Options {
    /// Side of a tile's core in input pixels; chosen by memory if not given.
    pub tile: Option<usize>,
    pub tile_mode: TileMode,
    pub precision: Precision,
    /// Bytes that tiles and the rows made from them may take.
    pub memory: u64,
    /// Processor cores to use.
    pub cores: usize,
}

/// Which networks a run may use.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    /// The one that was asked for, or the default; none resamples only.
    pub main: Option<Model>,
    /// Whether `main` was asked for by name. Otherwise it is the default, and another of the faithful family may stand in
    /// where it reaches a size in one cheaper pass.
    pub named: bool,
    /// The faithful networks that ship with the program: further passes, alpha channels, `--faithful`.
    pub faithful: Vec<Model>,
    /// A faithful network that makes no results, only what they are compared with.
    pub reference: Option<Model>,
}

struct Loaded {
    model: Arc<Model>,
    network: OnceLock<Arc<Network>>,
    bytes_per_px: OnceLock<f64>,
}

struct Started {
    choice: Choice,
    pool: Arc<Pool>,
}

/// Models on a device.
pub struct Engine {
    /// Nothing to run without networks.
    backend: Option<Box<dyn Backend>>,
    /// The main network first, then the faithful family, then the reference.
    loaded: Vec<Loaded>,
    /// How many of them may make results.
    makers: usize,
    named: bool,
    /// Whether the main network is one of the faithful family.
    family: bool,
    options: Options,
    started: Mutex<Option<Arc<Started>>>,
    /// Pictures being worked on.
    active: AtomicUsize,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.loaded.iter().map(|l| l.model.manifest.id.as_str()).collect();
        f.debug_struct("Engine").field("models", &ids).field("options", &self.options).finish_non_exhaustive()
    }
}

/// The most that tiles take, however much memory there is: larger ones gain nothing on a processor.
const TILES_AT_MOST: u64 = 720 << 20;
/// The most that finished rows waiting for their neighbours take, per picture.
const ROWS_AT_MOST: u64 = 600 << 20;
/// Bytes per tile pixel of the hungriest networks in use (RRDB with 64 channels: 8 to 12 KB); where nothing is known.
const HUNGRY: f64 = 12_288.0;
/// Core side of blended tiles: fixed, so that the result does not depend on the machine.
const BLEND_CORE: usize = 320;
/// Tile sides on a GPU unless told otherwise; a smaller card halves them.
const GPU_TILE: usize = 640;
/// Least overlap for blending a network that could be joined exactly.
const BLEND_HALO: usize = 16;

impl Engine {
    /// An engine for `networks`; `backend` is only used when the first tile is run.
    ///
    /// # Errors
    /// [`Error::Usage`] if exact tiles are asked of a network that has none.
    pub fn new(backend: Box<dyn Backend>, networks: Networks, options: Options) -> Result<Self> {
        let Networks { main, named, faithful, reference } = networks;
        let family = main.as_ref().is_some_and(|m| faithful.iter().any(|f| f.sha256 == m.sha256));
        let others = faithful.into_iter().filter(|f| f.manifest.kind == Kind::Faithful);
        let mut all: Vec<Model> = match main {
            None => Vec::new(),
            Some(main) => {
                let sha = main.sha256.clone();
                std::iter::once(main).chain(others.filter(|o| o.sha256 != sha)).collect()
            }
        };
        let makers = all.len();
        if makers > 0 {
            all.extend(reference.filter(|r| all.iter().all(|m| m.sha256 != r.sha256)));
        }
        let load = |m: Model| Loaded { model: Arc::new(m), network: OnceLock::new(), bytes_per_px: OnceLock::new() };
        let engine = Self {
            backend: Some(backend),
            loaded: all.into_iter().map(load).collect(),
            makers,
            named,
            family,
            options,
            started: Mutex::new(None),
            active: AtomicUsize::new(0),
        };
        if let (TileMode::Exact, Some(main)) = (engine.options.tile_mode, engine.loaded.first())
            && let Halo::Blend(_) = main.model.manifest.halo
        {
            let why = &main.model.manifest.halo_reason;
            return Err(Error::usage(
                "--tile-mode exact",
                format!("tiles of {} never equal the whole picture: {why}", main.model.manifest.id),
                "--tile-mode auto, which blends them, or another model",
            ));
        }
        Ok(engine)
    }

    /// An engine without networks: pictures are resampled.
    pub fn resample_only() -> Self {
        let options = Options { tile: None, tile_mode: TileMode::Auto, precision: Precision::Auto, memory: 0, cores: 1 };
        Self {
            backend: None,
            loaded: Vec::new(),
            makers: 0,
            named: false,
            family: false,
            options,
            started: Mutex::new(None),
            active: AtomicUsize::new(0),
        }
    }

    /// The main network.
    pub fn main(&self) -> Option<&Model> {
        self.loaded.first().map(|l| &*l.model)
    }

    /// The most that the workers' tiles take, bytes.
    pub fn tiles_bytes(&self) -> u64 {
        if self.loaded.is_empty() { 0 } else { TILES_AT_MOST.min(self.options.memory / 3) }
    }

    /// Network `i` of a chain that [`Engine::passes`] gave.
    pub fn model(&self, i: usize) -> &Model {
        &self.loaded[i].model
    }

    /// Everything about the networks that decides pixels, for the key of a result: all weights that may run, how tiles are
    /// joined and the precision. The tile size is part of it only where it can change a value.
    pub fn identity(&self) -> String {
        if self.loaded.is_empty() {
            return "none".into();
        }
        let Options { tile, tile_mode, precision, .. } = &self.options;
        let shas: Vec<&str> = self.loaded.iter().map(|l| l.model.sha256.as_str()).collect();
        let blended = *tile_mode == TileMode::Blend || self.loaded.iter().any(|l| !matches!(l.model.manifest.halo, Halo::Exact(_)));
        let tile = tile.filter(|_| blended).map_or("auto".into(), |t| t.to_string());
        format!("{} named={} tile={tile} mode={tile_mode} precision={precision}", shas.join("+"), self.named)
    }

    /// Loads the runtime, picks the device and starts the workers; the first call decides.
    ///
    /// # Errors
    /// [`Error::Runtime`] or [`Error::Device`], with the ways out.
    pub fn start(&self) -> Result<Choice> {
        Ok(self.started()?.choice.clone())
    }

    fn started(&self) -> Result<Arc<Started>> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(s) = started.as_ref() {
            return Ok(Arc::clone(s));
        }
        let backend = self.backend.as_ref().ok_or_else(|| Error::Internal("an engine without networks was started".into()))?;
        let choice = backend.start()?;
        let pool = Arc::new(Pool::new(choice.device.streams(self.options.cores))?);
        Ok(Arc::clone(started.insert(Arc::new(Started { choice, pool }))))
    }

    /// The workers; starts them if need be.
    pub fn pool(&self) -> Result<Arc<Pool>> {
        Ok(Arc::clone(&self.started()?.pool))
    }

    /// Network `i`, ready to run.
    pub fn network(&self, i: usize) -> Result<Arc<Network>> {
        let loaded = &self.loaded[i];
        if let Some(network) = loaded.network.get() {
            return Ok(Arc::clone(network));
        }
        let started = self.started()?;
        let backend = self.backend.as_ref().ok_or_else(|| Error::Internal("an engine without networks was started".into()))?;
        let make = || {
            let mut spec = loaded.model.manifest.spec();
            spec.rule = self.rule(&loaded.model);
            Arc::new(Network::new(spec, backend.opener(Arc::clone(&loaded.model), started.choice.device, i == 0)))
        };
        Ok(Arc::clone(loaded.network.get_or_init(make)))
    }

    /// The tile rule with `--tile-mode` applied.
    fn rule(&self, model: &Model) -> Rule {
        let mut rule = model.manifest.spec().rule;
        if self.options.tile_mode == TileMode::Blend && rule.feather == 0 {
            rule.halo = rule.halo.max(BLEND_HALO).next_multiple_of(rule.stride.max(1));
            rule.feather = rule.halo / 2;
        }
        rule
    }

    /// Cost of one input pixel; only ratios count. The weights of a network that works at the input's resolution are its
    /// multiplications per pixel.
    fn cost(&self, i: usize) -> f64 {
        self.loaded[i].model.bytes.len() as f64
    }

    /// The networks to run, in order, to enlarge by `factor`: none if the picture is large enough already, unless one of factor 1 was
    /// named.
    ///
    /// A network that was named runs once and first; later passes are faithful. The default may be replaced by another of the
    /// faithful family that gets there in one cheaper pass.
    ///
    /// # Errors
    /// [`Error::Limit`] if four passes do not reach the factor.
    pub fn passes(&self, factor: f64) -> Result<Vec<usize>> {
        let scale = |i: usize| self.loaded[i].model.manifest.scale as usize;
        let all = 0..self.makers;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        if factor <= STRETCH {
            // One that enlarges nothing was named for what else it does: it denoises, or takes out JPEG's blocks.
            return Ok(if self.named && scale(0) == 1 { vec![0] } else { Vec::new() });
        }
        if !self.named {
            let enough = all.clone().filter(|&i| scale(i) as f64 * STRETCH >= factor);
            if let Some(one) = enough.min_by(|&a, &b| self.cost(a).total_cmp(&self.cost(b))) {
                return Ok(vec![one]);
            }
        }
        // The main network again as a member of the family, if it is faithful: it may also take later places.
        let main_again = self.main().is_some_and(|m| m.manifest.kind == Kind::Faithful).then_some(0);
        let steps: Vec<(usize, Step)> = std::iter::once((0, true))
            .chain(all.skip(1).chain(main_again).map(|i| (i, false)))
            .map(|(i, first)| (i, Step { scale: scale(i), cost: self.cost(i), first }))
            .collect();
        let plain: Vec<Step> = steps.iter().map(|(_, s)| *s).collect();
        Ok(chain(factor, &plain)?.into_iter().map(|s| steps[s].0).collect())
    }

    /// Passes of faithful networks alone that reach `factor`, for alpha channels and blending; none if there are no such
    /// networks.
    pub fn faithful_passes(&self, factor: f64) -> Vec<usize> {
        self.cheapest(factor, (0..self.makers).filter(|&i| i > 0 || self.family).collect())
    }

    /// Passes of faithful networks that reach `factor`, for something to compare a result with: the cheapest ones, without
    /// those of the hashes `made_by`, which would agree with their own mistakes; none if there are no such networks.
    pub fn reference_passes(&self, factor: f64, made_by: &[&str]) -> Vec<usize> {
        let other = |i: &usize| !made_by.contains(&self.loaded[*i].model.sha256.as_str());
        self.cheapest(factor, (0..self.loaded.len()).filter(|&i| i > 0 || self.family).filter(other).collect())
    }

    /// Passes of faithful networks that reach `factor`, for pixels that take the place of a result's: as [`Engine::faithful_passes`],
    /// without those of the hashes `made_by`; those of [`Engine::reference_passes`] if there are no others.
    pub fn mending_passes(&self, factor: f64, made_by: &[&str]) -> Vec<usize> {
        let other = |i: &usize| !made_by.contains(&self.loaded[*i].model.sha256.as_str());
        match self.cheapest(factor, (0..self.makers).filter(|&i| i > 0 || self.family).filter(other).collect()) {
            none if none.is_empty() => self.reference_passes(factor, made_by),
            passes => passes,
        }
    }

    /// Whether a network of that hash is one of the faithful ones that ship with the program.
    pub fn ships(&self, sha256: &str) -> bool {
        let ours =
            |i: usize, model: &Model| i > 0 || self.family || (model.origin == Origin::Embedded && model.manifest.kind == Kind::Faithful);
        self.loaded.iter().enumerate().any(|(i, l)| l.model.sha256 == sha256 && ours(i, &l.model))
    }

    fn cheapest(&self, factor: f64, of: Vec<usize>) -> Vec<usize> {
        let step = |&i: &usize| Step { scale: self.loaded[i].model.manifest.scale as usize, cost: self.cost(i), first: false };
        let steps: Vec<Step> = of.iter().map(step).collect();
        chain(factor, &steps).unwrap_or_default().into_iter().map(|s| of[s]).collect()
    }

    /// Work of enlarging a picture of `pixels` by `factor`, in pixels of one pass of the main network.
    pub fn work(&self, pixels: f64, factor: f64) -> f64 {
        let Ok(passes) = self.passes(factor) else { return 0.0 };
        let mut size = pixels;
        let mut sum = 0.0;
        for i in passes {
            sum += size * self.cost(i) / self.cost(0).max(1.0);
            size *= f64::from(self.loaded[i].model.manifest.scale).powi(2);
        }
        sum
    }

    /// How large tiles of network `i` may be.
    fn budget(&self, i: usize, (width, height): (usize, usize), channels: usize, parallel: usize) -> Result<Budget> {
        let started = self.started()?;
        let scale = self.loaded[i].model.manifest.scale as usize;
        // A row of tiles under construction, the one before it going out, and what the stages behind hold of it.
        let row_bytes = (width * scale * scale * channels * 4 * 3) as u64;
        let picture_px = width * height;
        let row_px = (ROWS_AT_MOST.min(self.options.memory / 3) / row_bytes.max(1)) as usize;
        let tile_px = if started.choice.device.is_gpu() {
            GPU_TILE * GPU_TILE
        } else {
            let each = self.tiles_bytes() as f64 / started.pool.workers() as f64;
            // What fits even if the network is a hungry one need not be measured.
            let hungry = (each / HUNGRY) as usize;
            if picture_px <= hungry { hungry } else { ((each / self.bytes_per_px(i)?) as usize).max(64 * 64) }
        };
        Ok(Budget { tile_px, row_px: row_px.max(32), parallel })
    }

    /// How a `width` x `height` picture is cut for network `i`; `parallel` tiles at least, if they are worth it.
    pub fn grid(&self, i: usize, width: usize, height: usize, channels: usize, parallel: usize) -> Result<Grid> {
        let network = self.network(i)?;
        let rule = &network.spec.rule;
        if let (Some(core), None) = (self.options.tile, rule.fixed) {
            return Grid::with_core(width, height, core, rule);
        }
        if rule.feather > 0 && rule.fixed.is_none() {
            return Grid::with_core(width, height, BLEND_CORE, rule);
        }
        let budget = self.budget(i, (width, height), channels, parallel)?;
        let grid = Grid::best(width, height, rule, &budget)?;
        // A size rule can ask for any padding.
        let px = grid.largest_input_px();
        if rule.fixed.is_none() && px > 4 * budget.tile_px.max(width * height).max(256 * 256) {
            return Err(Error::limit(
                format!("model {}", network.spec.id),
                format!("its size rule asks for tiles of {:.1} megapixels for a picture of {width}x{height} px", px as f64 / 1e6),
                "a smaller `size.minimum` or `size.multiple_of` in its manifest",
            ));
        }
        Ok(grid)
    }

    /// Bytes per tile pixel that a worker needs for network `i`. Measured on two small tiles, once.
    fn bytes_per_px(&self, i: usize) -> Result<f64> {
        let loaded = &self.loaded[i];
        if let Some(known) = loaded.bytes_per_px.get() {
            return Ok(*known);
        }
        let network = self.network(i)?;
        let rule = &network.spec.rule;
        // Convolutions of pictures below about 64 pixels take other ways and less memory.
        let side = |px: usize| px.max(rule.minimum).next_multiple_of(rule.multiple.max(1));
        let (small, large) = (side(72), side(96));
        let peak = |side: usize| -> Result<Option<u64>> {
            let mut session = network.open(false)?;
            trial(&network, &mut session, (side, side))?;
            Ok(session.peak_bytes())
        };
        let mut found = HUNGRY;
        if rule.fixed.is_none()
            && large > small
            && let (Some(a), Some(b)) = (peak(small)?, peak(large)?)
        {
            let (a, b, small, large) = (a as f64, b as f64, (small * small) as f64, (large * large) as f64);
            // The tile and its result are also held outside the runtime.
            let copies = (8 * network.spec.channels * (1 + network.spec.scale.pow(2))) as f64;
            found = (b / large).max((b - a) / (large - small)) + copies;
        }
        Ok(*loaded.bytes_per_px.get_or_init(|| found))
    }

    /// Input pixels per second that all workers together put through the main network, measured on a small tile.
    pub fn rate(&self) -> Result<f64> {
        let workers = self.started()?.pool.workers() as f64;
        let network = self.network(0)?;
        let rule = &network.spec.rule;
        let mut session = network.open(false)?;
        let side = |px: usize| {
            let free = px.max(rule.minimum).next_multiple_of(rule.multiple.max(1));
            rule.fixed.map_or((free, free), |(height, width)| (width, height))
        };
        let mut time = |side: (usize, usize)| -> Result<f64> {
            let clock = Instant::now();
            trial(&network, &mut session, side)?;
            Ok((side.0 * side.1) as f64 / clock.elapsed().as_secs_f64().max(1e-6))
        };
        // The first run also sets things up; a second one is worth it where it is quick.
        let first = side(48);
        let rate = time(first)?;
        let rate = if (first.0 * first.1) as f64 / rate < 0.2 { time(side(96))? } else { rate };
        Ok(rate * workers)
    }

    /// One more picture is being worked on, until the guard is dropped.
    pub fn begin(&self) -> Working<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        Working(self)
    }

    /// Into how many tiles a picture should at least be cut, if `waiting` more pictures stand in line: one, as long as there
    /// are enough pictures for every worker.
    pub fn parallel(&self, waiting: usize) -> Result<usize> {
        let workers = self.started()?.pool.workers();
        let busy = self.active.load(Ordering::Relaxed) > workers;
        Ok(if waiting >= 2 * workers || (busy && waiting > 0) { 1 } else { workers })
    }

    /// What to tell the user if tiles had to be made smaller since this was last asked.
    pub fn halved(&self) -> Vec<String> {
        let networks = self.loaded.iter().filter_map(|l| l.network.get());
        let told = |n: &Arc<Network>| {
            let px = n.take_halved()?;
            Some(format!("the device ran out of memory: tiles of {} were halved to less than {px} px; --tile sets their size", n.spec.id))
        };
        networks.filter_map(told).collect()
    }

    /// How pass `i` over a grid goes into the record.
    pub fn record(&self, i: usize, grid: &Grid) -> Result<PassRecord> {
        let network = self.network(i)?;
        let choice = self.start()?;
        let model = &self.loaded[i].model;
        let mode = if network.spec.rule.feather > 0 { "blend" } else { model.manifest.halo.mode() };
        Ok(PassRecord {
            model: model.manifest.id.clone(),
            sha256: model.sha256.clone(),
            scale: model.manifest.scale,
            mode: mode.into(),
            halo: network.spec.rule.halo as u32,
            grid: [grid.cols.len() as u32, grid.rows.len() as u32],
            tile: grid.tile(),
            core_share: grid.core_share(),
            device: choice.device.to_string(),
            precision: self.options.precision.to_string(),
        })
    }
}

/// Runs a tile with something in it. What comes out does not matter: pictures are judged one by one.
fn trial(network: &Network, session: &mut Box<dyn Infer>, (width, height): (usize, usize)) -> Result<()> {
    let mut tile = Band::new(0, width, height, network.spec.channels);
    for (i, v) in tile.data.iter_mut().enumerate() {
        *v = (i * 37 % 101) as f32 / 100.0;
    }
    match network.run(session, &tile) {
        Ok(_) | Err(Error::Quality { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

/// A picture being worked on; see [`Engine::begin`].
#[derive(Debug)]
pub struct Working<'a>(&'a Engine);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::network::tests::{Fake, Fakes};
    use super::*;

    /// Networks that are fakes: no runtime, no device.
    #[derive(Default)]
    pub struct FakeBackend {
        pub fake: Fake,
        pub starts: Arc<AtomicUsize>,
    }

    impl Backend for FakeBackend {
        fn start(&self) -> Result<Choice> {
            self.starts.fetch_add(1, Ordering::Relaxed);
            Ok(Choice { device: Device::Cpu, reason: "fake".into() })
        }

        fn opener(&self, model: Arc<Model>, _device: Device, _main: bool) -> Box<dyn Open> {
            let invents = if model.manifest.kind == Kind::Perceptual { 0.1 } else { 0.0 };
            let fake = Fake { scale: model.manifest.scale as usize, invents, ..self.fake.clone() };
            Box::new(Fakes { fake, safe_heals: false })
        }
    }

    /// A manifest with made-up weights of `kilobytes`, so that costs differ.
    pub fn model(id: &str, scale: u32, kind: Kind, kilobytes: usize) -> Model {
        let mut m = Model::embedded_default().unwrap();
        m.manifest.id = id.into();
        m.manifest.scale = scale;
        m.manifest.kind = kind;
        m.manifest.halo = Halo::Exact(1);
        m.bytes = vec![0; kilobytes << 10].into();
        m.sha256 = format!("{id:0<64}");
        m
    }

    pub fn options(workers: usize) -> Options {
        Options { tile: None, tile_mode: TileMode::Auto, precision: Precision::Auto, memory: 1 << 30, cores: workers }
    }

    pub fn family() -> Vec<Model> {
        vec![model("faithful4", 4, Kind::Faithful, 400), model("faithful2", 2, Kind::Faithful, 350)]
    }

    pub fn engine(main: Model, named: bool, backend: FakeBackend) -> Engine {
        Engine::new(Box::new(backend), Networks { main: Some(main), named, faithful: family(), reference: None }, options(2)).unwrap()
    }

    fn ids(engine: &Engine, factor: f64) -> Vec<String> {
        engine.passes(factor).unwrap().into_iter().map(|i| engine.model(i).manifest.id.clone()).collect()
    }

    #[test]
    fn the_default_family_takes_the_cheapest_way_and_the_big_step_first() {
        let e = engine(family().remove(0), false, FakeBackend::default());
        assert_eq!(ids(&e, 4.0), ["faithful4"]);
        assert_eq!(ids(&e, 2.0), ["faithful2"]);
        assert_eq!(ids(&e, 3.1), ["faithful4"]);
        assert_eq!(ids(&e, 7.0), ["faithful4", "faithful2"]);
        assert_eq!(ids(&e, 16.0), ["faithful4", "faithful4"]);
        assert!(ids(&e, 1.0).is_empty() && ids(&e, 1.01).is_empty());
    }

    #[test]
    fn a_named_network_runs_once_and_first() {
        let e = engine(model("gan", 4, Kind::Perceptual, 4000), true, FakeBackend::default());
        assert_eq!(ids(&e, 2.0), ["gan"]);
        assert_eq!(ids(&e, 7.0), ["gan", "faithful2"]);
        assert_eq!(ids(&e, 16.0), ["gan", "faithful4"]);
        let alpha: Vec<_> = e.faithful_passes(4.0).into_iter().map(|i| e.model(i).manifest.id.clone()).collect();
        assert_eq!(alpha, ["faithful4"]);
        let named = engine(family().remove(0), true, FakeBackend::default());
        assert_eq!(ids(&named, 2.0), ["faithful4"], "what was asked for is what runs");
        assert_eq!(named.faithful_passes(4.0), [0]);
    }

    #[test]
    fn a_named_network_that_enlarges_nothing_runs_all_the_same() {
        let denoiser = |named| engine(model("denoiser", 1, Kind::Perceptual, 400), named, FakeBackend::default());
        let e = denoiser(true);
        for factor in [0.5, 1.0, 1.01] {
            assert_eq!(ids(&e, factor), ["denoiser"], "{factor}");
        }
        assert_eq!(ids(&e, 2.0), ["denoiser", "faithful2"]);
        assert!(ids(&denoiser(false), 1.0).is_empty());
    }

    #[test]
    fn nothing_is_compared_with_what_made_it() {
        let reference = model("quick4", 4, Kind::Faithful, 200);
        let open = |main: Model| {
            let networks = Networks { main: Some(main), named: true, faithful: family(), reference: Some(reference.clone()) };
            Engine::new(Box::new(FakeBackend::default()), networks, options(2)).unwrap()
        };
        let with = |e: &Engine, factor: f64, made_by: &[&str]| -> Vec<String> {
            e.reference_passes(factor, made_by).into_iter().map(|i| e.model(i).manifest.id.clone()).collect()
        };
        let e = open(model("gan", 4, Kind::Perceptual, 4000));
        assert_eq!(with(&e, 4.0, &[]), ["quick4"]);
        assert_eq!(with(&e, 4.0, &[&reference.sha256]), ["faithful4"]);
        let mending =
            |made_by: &[&str]| e.mending_passes(4.0, made_by).into_iter().map(|i| e.model(i).manifest.id.clone()).collect::<Vec<_>>();
        assert_eq!((mending(&[]), mending(&[&family()[0].sha256])), (vec!["faithful4".to_owned()], vec!["faithful2".into(); 2]));
        assert_eq!(mending(&family().iter().map(|m| m.sha256.as_str()).collect::<Vec<_>>()), ["quick4"]);
        assert_eq!(ids(&e, 16.0), ["gan", "faithful4"], "the reference makes nothing");
        assert_eq!(e.faithful_passes(4.0).len(), 1);
        assert_eq!(e.model(e.faithful_passes(4.0)[0]).manifest.id, "faithful4");
        // Named, it makes results like any other.
        let e = open(reference.clone());
        assert_eq!((ids(&e, 4.0), with(&e, 4.0, &[&reference.sha256])), (vec!["quick4".into()], vec!["faithful4".into()]));
        let two = family().remove(1).sha256;
        assert_eq!(with(&open(family().remove(0)), 2.0, &[&two]), ["quick4"]);
    }

    #[test]
    fn work_counts_every_pass() {
        let e = engine(family().remove(0), false, FakeBackend::default());
        assert_eq!(e.work(100.0, 4.0), 100.0);
        assert!((e.work(100.0, 7.0) - (100.0 + 1600.0 * 350.0 / 400.0)).abs() < 1e-6);
        assert_eq!(e.work(100.0, 0.5), 0.0);
    }

    #[test]
    fn the_key_of_results_holds_all_that_decides_pixels() {
        let key = |o: Options| {
            Engine::new(
                Box::new(FakeBackend::default()),
                Networks { main: Some(family().remove(0)), faithful: family(), ..Networks::default() },
                o,
            )
            .unwrap()
            .identity()
        };
        let plain = key(options(2));
        assert!(plain.contains("faithful4000") && plain.contains("faithful2000"));
        assert_eq!(plain, key(Options { tile: Some(64), memory: 1, ..options(7) }), "exact tiles give the same pixels");
        assert_ne!(plain, key(Options { tile_mode: TileMode::Blend, ..options(2) }));
        assert_ne!(
            key(Options { tile: Some(64), tile_mode: TileMode::Blend, ..options(2) }),
            key(Options { tile_mode: TileMode::Blend, ..options(2) })
        );
        assert_ne!(plain, key(Options { precision: Precision::Fp16, ..options(2) }));
    }

    #[test]
    fn nothing_starts_before_it_is_needed() {
        let starts = Arc::new(AtomicUsize::new(0));
        let e = engine(family().remove(0), false, FakeBackend { starts: Arc::clone(&starts), ..FakeBackend::default() });
        let _ = (e.identity(), e.passes(7.0), e.work(1.0, 4.0));
        assert_eq!(starts.load(Ordering::Relaxed), 0);
        e.grid(0, 100, 100, 3, 1).unwrap();
        e.rate().unwrap();
        assert_eq!(starts.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn large_pictures_are_cut_to_the_memory_there_is() {
        let e = |memory: u64| {
            let o = Options { memory, ..options(2) };
            Engine::new(Box::new(FakeBackend::default()), Networks { main: Some(family().remove(0)), ..Networks::default() }, o).unwrap()
        };
        let px = |memory| e(memory).grid(0, 6000, 4000, 3, 2).unwrap().largest_input_px();
        assert!(px(8 << 30) as f64 <= TILES_AT_MOST as f64 / 2.0 / HUNGRY + 2.0, "{}", px(8 << 30));
        assert!(px(256 << 20) < px(8 << 30) / 2);
        let small = e(8 << 30).grid(0, 200, 100, 3, 1).unwrap();
        assert_eq!(small.len(), 1);
    }

    #[test]
    fn exact_tiles_of_a_network_without_them_are_refused() {
        let mut deep = model("deep", 4, Kind::Perceptual, 9);
        deep.manifest.halo = Halo::Blend(32);
        deep.manifest.halo_reason = "it looks at the whole picture".into();
        let networks = Networks { main: Some(deep), named: true, ..Networks::default() };
        let o = Options { tile_mode: TileMode::Exact, ..options(1) };
        let e = Engine::new(Box::new(FakeBackend::default()), networks, o).unwrap_err();
        assert!(e.to_string().contains("whole picture") && e.exit() == crate::Exit::Usage, "{e}");
    }
}
