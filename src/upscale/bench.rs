//! How fast each model runs here, measured once and kept in `bench.json` of the home.
//!
//! A rate belongs to the bytes of a model (its SHA-256), a device and a precision. It is what an estimate before a run, the
//! choice of a device and the list of models are based on; nothing depends on it for being right.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Infer;
use super::device::{Device, Precision};
use super::home::Home;
use super::network::Spec;
use crate::band::Band;
use crate::error::{Error, Result};

/// What was measured for one model on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The model's id when it was measured, for people who read the file.
    pub model: String,
    /// SHA-256 of the ONNX file, lower-case hexadecimal.
    pub model_sha256: String,
    /// As `--device` takes it: `cpu`, `cuda:1`.
    pub device: String,
    /// `fp32` or `fp16`: what the device computed in.
    pub precision: String,
    /// Millions of input pixels per second, all workers together, margins of tiles counted in.
    pub mpix_per_s: f64,
    /// Sessions that ran at once: the cores that were free to use, or the streams of a GPU.
    pub workers: usize,
    /// Memory of one worker over the input pixels of its tile (of 384 pixels a side), bytes, weights counted in; `None` where
    /// it cannot be seen, as on a GPU.
    pub bytes_per_px: Option<u64>,
    /// Version of ONNX Runtime.
    pub runtime: String,
}

/// How long jobs took here beside what was foreseen without them. Sums over runs, the latest counting most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// SHA-256 of the main network's file, or [`NO_NETWORK`].
    pub network: String,
    /// As in [`Rate`].
    pub device: String,
    /// As `--precision` took it: `auto`, `fp32` or `fp16`.
    pub precision: String,
    /// That the run used.
    pub cores: usize,
    /// The container that most results were in.
    pub format: String,
    /// Bits per sample of the results, 0 if they were not all of one format and depth.
    pub bits: u8,
    /// With a network, what it took: the whole less what all the rest was foreseen to take. Without one, the whole.
    pub seconds: f64,
    /// With a network, millions of pixels of its work; without one, the seconds that were foreseen.
    pub units: f64,
    /// Millions of pixels of the results, and their files' bytes.
    pub result_mpix: f64,
    pub result_bytes: f64,
}

/// How fast a graphics card grades here, beside the processor; millions of pixels per second, transfers counted in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradeSpeed {
    /// The cards that the system lists, in one text; empty where it lists none.
    pub system: String,
    /// The one that was measured, and its driver.
    pub card: String,
    pub driver: String,
    /// Of the processor.
    pub cores: usize,
    pub gpu_mpix_per_s: f64,
    pub cpu_mpix_per_s: f64,
}

impl GradeSpeed {
    pub fn gpu_is_faster(&self) -> bool {
        self.gpu_mpix_per_s > self.cpu_mpix_per_s
    }
}

/// Stands for a network where none ran.
pub const NO_NETWORK: &str = "none";

/// All rates known on this machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    #[serde(default)]
    rates: Vec<Rate>,
    /// Earlier versions kept other sums under another name.
    #[serde(default, rename = "runs")]
    paces: Vec<Pace>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    grading: Vec<GradeSpeed>,
}

impl Rates {
    /// Reads the home's `bench.json`; empty if there is none.
    ///
    /// # Errors
    /// [`Error::Usage`] if the file is no list of rates, [`Error::Io`] if it cannot be read.
    pub fn load(home: &Home) -> Result<Self> {
        let path = file(home);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io(path, e)),
        };
        serde_json::from_str(&text).map_err(|e| Error::usage(path.display(), e, "delete it and measure again: `lastmile models bench`"))
    }

    /// Adds these rates to the home's file: those of the same model, device and precision are replaced, all others stay.
    /// The file is either the old or the new one, never half.
    ///
    /// # Errors
    /// As [`Rates::load`]; [`Error::Output`] if the file cannot be written.
    pub fn save(&self, home: &Home) -> Result<()> {
        let mut all = Self::load(home)?;
        self.rates.iter().cloned().for_each(|rate| all.put(rate));
        self.paces.iter().cloned().for_each(|pace| all.add(pace));
        for speed in &self.grading {
            all.grading.retain(|g| (&g.system, g.cores) != (&speed.system, speed.cores));
            all.grading.push(speed.clone());
        }
        let path = file(home);
        let failed = |e| Error::output(&path, e, "a writable folder in LASTMILE_HOME");
        let text = serde_json::to_string_pretty(&all).map_err(|e| Error::Internal(format!("rates as JSON: {e}")))?;
        fs::create_dir_all(home.root()).map_err(failed)?;
        let temporary = path.with_file_name(format!(".bench.json.{}", std::process::id()));
        let written = fs::File::create(&temporary)
            .and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.write_all(b"\n")).and_then(|()| f.sync_all()))
            .and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            failed(e)
        })
    }

    /// The rate of a model on a device; with [`Precision::Auto`] the fastest of those measured there. `None` if it was never
    /// measured.
    pub fn get(&self, model_sha256: &str, device: Device, precision: Precision) -> Option<&Rate> {
        let (device, precision) = (device.to_string(), (precision != Precision::Auto).then(|| precision.to_string()));
        self.rates
            .iter()
            .filter(|r| r.model_sha256 == model_sha256 && r.device == device)
            .filter(|r| precision.as_ref().is_none_or(|p| *p == r.precision))
            .max_by(|a, b| a.mpix_per_s.total_cmp(&b.mpix_per_s))
    }

    /// The fastest rate of a model on any device.
    pub fn fastest(&self, model_sha256: &str) -> Option<&Rate> {
        self.rates.iter().filter(|r| r.model_sha256 == model_sha256).max_by(|a, b| a.mpix_per_s.total_cmp(&b.mpix_per_s))
    }

    /// Adds a rate; one of the same model, device and precision is replaced.
    pub fn put(&mut self, rate: Rate) {
        let key = |r: &Rate| (r.model_sha256.clone(), r.device.clone(), r.precision.clone());
        self.rates.retain(|r| key(r) != key(&rate));
        self.rates.push(rate);
    }

    /// What one run told, to be saved.
    pub fn of_run(pace: Pace) -> Self {
        Self { paces: vec![pace], ..Self::default() }
    }

    /// What was measured of grading, to be saved; it replaces what was known of the same cards and cores.
    pub fn of_grading(speed: GradeSpeed) -> Self {
        Self { grading: vec![speed], ..Self::default() }
    }

    /// How fast grading is on a machine with these cards and cores.
    pub fn grade_speed(&self, system: &str, cores: usize) -> Option<&GradeSpeed> {
        self.grading.iter().find(|g| g.system == system && g.cores == cores)
    }

    /// Adds what a run told. What earlier runs of the same kind told counts as ten minutes at most.
    pub fn add(&mut self, pace: Pace) {
        const REMEMBERED: f64 = 600.0;
        let kind = |p: &Pace| (p.network.clone(), p.device.clone(), p.precision.clone(), p.cores, p.format.clone(), p.bits);
        match self.paces.iter_mut().find(|p| kind(p) == kind(&pace)) {
            None => self.paces.push(pace),
            Some(old) => {
                let share = (REMEMBERED / old.seconds.max(1e-9)).min(1.0);
                old.seconds = old.seconds * share + pace.seconds;
                old.units = old.units * share + pace.units;
                old.result_mpix = old.result_mpix * share + pace.result_mpix;
                old.result_bytes = old.result_bytes * share + pace.result_bytes;
            }
        }
    }

    /// Seconds that jobs took per unit ([`Pace::units`]), whatever they wrote; `None` if there were none.
    pub fn pace(&self, network: &str, device: &str, precision: &str, cores: usize) -> Option<f64> {
        let of = |p: &&Pace| p.network == network && p.device == device && p.precision == precision && p.cores == cores;
        let (seconds, units) = self.paces.iter().filter(of).fold((0.0, 0.0), |(s, u), p| (s + p.seconds, u + p.units));
        (units > 0.0).then(|| seconds / units)
    }

    /// Bytes per pixel of result files in this container and depth, as measured on what was made here.
    pub fn bytes_per_px(&self, format: &str, bits: u8) -> Option<f64> {
        let fitting = self.paces.iter().filter(|p| p.format == format && p.bits == bits);
        let (bytes, mpix) = fitting.fold((0.0, 0.0), |(b, m), p| (b + p.result_bytes, m + p.result_mpix));
        (mpix > 0.0).then(|| bytes / mpix / 1e6)
    }

    /// All rates, in the order they were measured.
    pub fn iter(&self) -> impl Iterator<Item = &Rate> {
        self.rates.iter()
    }
}

/// Where rates are kept.
pub fn file(home: &Home) -> PathBuf {
    home.root().join("bench.json")
}

/// What [`measure`] found out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// As [`Rate::mpix_per_s`].
    pub mpix_per_s: f64,
    /// As [`Rate::bytes_per_px`].
    pub bytes_per_px: Option<u64>,
}

/// Side of the tiles that are timed, input pixels; speed hardly depends on it between 64 and 512.
const SIDE_PX: usize = 256;
/// Side of the tile that memory is measured with.
const MEMORY_PX: usize = 384;

/// Runs a network on `workers` threads, each with a session of its own from `open`, for at least `lasting`, after one tile
/// each that does not count. Memory is told by `resident` (bytes of this process, where the system says) with one session and a
/// larger tile, before the threads start.
///
/// # Errors
/// Those of `open`; [`Error::Model`] if a run fails.
pub fn measure(
    open: &(dyn Fn() -> Result<Box<dyn Infer>> + Sync),
    spec: &Spec,
    workers: usize,
    lasting: Duration,
    resident: &dyn Fn() -> Option<u64>,
) -> Result<Measured> {
    let of = |side: usize| {
        let side = side.max(spec.rule.minimum).next_multiple_of(spec.rule.multiple.max(1));
        spec.rule.fixed.unwrap_or((side, side))
    };
    let (side, large) = (of(SIDE_PX), of(MEMORY_PX));
    let before = resident();
    let mut first = open()?;
    run(&mut first, spec, large)?;
    let grown = before.zip(resident()).map(|(before, after)| after.saturating_sub(before));
    let bytes_per_px = grown.map(|bytes| bytes / (large.0 * large.1).max(1) as u64);
    drop(first);

    let start = Barrier::new(workers.max(1));
    let one = || -> Result<(Instant, Instant, usize)> {
        let ready = open().and_then(|mut session| run(&mut session, spec, side).map(|()| session));
        // Everybody gets here, also after a failure: the others wait.
        start.wait();
        let mut session = ready?;
        let (begun, mut tiles) = (Instant::now(), 0);
        while begun.elapsed() < lasting || tiles == 0 {
            run(&mut session, spec, side)?;
            tiles += 1;
        }
        Ok((begun, Instant::now(), tiles))
    };
    let rates = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(one)).collect();
        let panicked = |_| Error::Internal("a thread that measured a model panicked".into());
        threads.into_iter().map(|t| t.join().map_err(panicked)?).collect::<Result<Vec<_>>>()
    })?;
    // Each worker's own rate, summed: the last tile of one may end later than that of another.
    let px = (side.0 * side.1) as f64 / 1e6;
    let mpix_per_s = rates.iter().map(|(begun, end, tiles)| *tiles as f64 * px / (*end - *begun).as_secs_f64().max(1e-9)).sum();
    Ok(Measured { mpix_per_s, bytes_per_px })
}

/// One run over a picture that no network answers with a constant.
fn run(session: &mut Box<dyn Infer>, spec: &Spec, (rows, width): (usize, usize)) -> Result<()> {
    let mut tile = Band::new(0, width, rows, spec.channels);
    for (i, v) in tile.data.iter_mut().enumerate() {
        *v = spec.white * ((i * 37 % 251) as f32 / 250.0);
    }
    match session.run(&tile) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::model(&spec.id, format!("a tile of {width}x{rows} pixels failed: {e}"), "lastmile models verify")),
    }
}

/// Memory this process holds, bytes; `None` where the system does not say.
pub fn resident() -> Option<u64> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = sysinfo::System::new().ok()?;
    let kind = sysinfo::ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::Some(&[pid]), false, kind);
    system.process(pid).map(sysinfo::Process::memory).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upscale::InferError;
    use crate::upscale::model::Model;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn rate(model: &str, device: &str, precision: &str, mpix_per_s: f64) -> Rate {
        Rate {
            model: model.into(),
            model_sha256: model.repeat(4),
            device: device.into(),
            precision: precision.into(),
            mpix_per_s,
            workers: 2,
            bytes_per_px: None,
            runtime: "1.31.1".into(),
        }
    }

    #[test]
    fn rates_are_kept_merged_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("not/yet"));
        assert_eq!(Rates::load(&home).unwrap(), Rates::default());
        let mut mine = Rates::default();
        mine.put(rate("a", "cpu", "fp32", 0.5));
        mine.put(rate("a", "cuda:1", "fp16", 9.0));
        mine.save(&home).unwrap();
        // Another process that knows nothing of these.
        let mut other = Rates::default();
        other.put(rate("b", "cpu", "fp32", 0.1));
        other.put(rate("a", "cpu", "fp32", 0.7));
        other.save(&home).unwrap();

        let all = Rates::load(&home).unwrap();
        assert_eq!(all.iter().count(), 3);
        let speed = |model: &str, device, precision| all.get(&model.repeat(4), device, precision).map(|r| r.mpix_per_s);
        assert_eq!(speed("a", Device::Cpu, Precision::Fp32), Some(0.7));
        assert_eq!(speed("a", Device::Cpu, Precision::Auto), Some(0.7));
        assert_eq!(speed("a", Device::Cpu, Precision::Fp16), None);
        assert_eq!(speed("a", Device::Cuda(1), Precision::Auto), Some(9.0));
        assert_eq!(speed("a", Device::Cuda(0), Precision::Auto), None);
        assert_eq!(speed("c", Device::Cpu, Precision::Auto), None);
        assert_eq!(all.fastest("aaaa").unwrap().device, "cuda:1");
        let names: Vec<_> = fs::read_dir(home.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["bench.json"]);
    }

    #[test]
    fn runs_teach_how_long_jobs_take() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let pace = |network: &str, format: &str, seconds, units| Pace {
            network: network.into(),
            device: "cpu".into(),
            precision: "auto".into(),
            cores: 2,
            format: format.into(),
            bits: 8,
            seconds,
            units,
            result_mpix: units * 16.0,
            result_bytes: units * 32e6,
        };
        let save = |p: Pace| Rates { paces: vec![p], ..Rates::default() }.save(&home).unwrap();
        save(pace("a", "PNG", 10.0, 2.0));
        save(pace(NO_NETWORK, "PNG", 1.0, 50.0));
        let all = Rates::load(&home).unwrap();
        assert_eq!(all.pace("a", "cpu", "auto", 2), Some(5.0));
        assert_eq!(all.pace(NO_NETWORK, "cpu", "auto", 2), Some(0.02));
        assert_eq!(all.pace("a", "cpu", "auto", 4), None);
        assert_eq!(all.pace("a", "cuda", "auto", 2), None);
        assert_eq!((all.bytes_per_px("PNG", 8), all.bytes_per_px("PNG", 16)), (Some(2.0), None));
        // A long history weighs ten minutes.
        save(pace("b", "PNG", 6000.0, 6000.0));
        save(pace("b", "PNG", 600.0, 200.0));
        let s = Rates::load(&home).unwrap().pace("b", "cpu", "auto", 2).unwrap();
        assert!((s - 1200.0 / 800.0).abs() < 1e-9, "{s}");
    }

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        fs::write(file(&home), "{\"rates\": 3}").unwrap();
        let e = Rates::load(&home).unwrap_err().to_string();
        assert!(e.contains("bench.json") && e.contains("lastmile models bench"), "{e}");
        assert!(Rates::default().save(&home).is_err());
        assert_eq!(fs::read_to_string(file(&home)).unwrap(), "{\"rates\": 3}");
    }

    static COUNTED: AtomicUsize = AtomicUsize::new(0);

    struct Fake<'a>(&'a AtomicUsize, bool);

    impl Infer for Fake<'_> {
        fn run(&mut self, tile: &Band) -> Result<Band, InferError> {
            assert_eq!((tile.rows % 16, tile.width % 16), (0, 0));
            self.0.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
            if self.1 { Err(InferError::Failed("no".into())) } else { Ok(Band::new(0, 1, 1, 1)) }
        }
    }

    #[test]
    fn measures_all_workers_and_stops_on_a_failure() {
        let mut spec = Model::embedded_default().unwrap().manifest.spec();
        spec.rule.multiple = 16;
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let good = || -> Result<Box<dyn Infer>> { Ok(Box::new(Fake(&RUNS, false))) };
        let got = measure(&good, &spec, 3, Duration::from_millis(20), &|| None).unwrap();
        // One for memory, three that do not count, at least one each that does.
        assert!(RUNS.load(Ordering::Relaxed) >= 7);
        // A run takes 2 ms or more, so no worker is faster than this.
        assert!(got.mpix_per_s > 0.0 && got.mpix_per_s <= 3.0 * 0.065_536 / 0.002, "{got:?}");
        assert_eq!(got.bytes_per_px, None);

        let bad = || -> Result<Box<dyn Infer>> { Ok(Box::new(Fake(&RUNS, true))) };
        let e = measure(&bad, &spec, 2, Duration::ZERO, &|| None).unwrap_err();
        assert!(e.to_string().contains("384x384"), "{e}");
    }

    #[test]
    fn memory_is_what_the_process_grew_by() {
        let spec = Model::embedded_default().unwrap().manifest.spec();
        let told = std::cell::Cell::new(1_000_000);
        let resident = || Some(told.replace(told.get() + 384 * 384 * 900));
        let open = || -> Result<Box<dyn Infer>> { Ok(Box::new(Fake(&COUNTED, false))) };
        assert_eq!(measure(&open, &spec, 1, Duration::ZERO, &resident).unwrap().bytes_per_px, Some(900));
        let shrinking = || Some(told.replace(told.get() - 5));
        assert_eq!(measure(&open, &spec, 1, Duration::ZERO, &shrinking).unwrap().bytes_per_px, Some(0));
    }

    #[test]
    fn this_process_holds_memory() {
        assert!(resident().is_none_or(|bytes| bytes > 1_000_000));
    }
}
