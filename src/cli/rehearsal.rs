//! One picture of a job, or a part of it, taken through everything but the networks, to know what that takes on this machine.
//!
//! Containers, looks, kits and detectors differ a hundredfold in what a pixel costs, and pictures in how well they compress: a
//! table of typical costs would be wrong for most jobs. What is made lies in the system's folder for temp files and is gone at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::codec::{self, Encoding, Format, Keep, Limits, Metadata, Policy};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::inspect::repair::Repair;
use crate::inspect::{About, Picture, Scene, Situation, Tier, inspect};
use crate::pipeline::delivery::Extra;
use crate::pipeline::{self, Hooks, Job, Settings, inspection};
use crate::upscale::engine::Engine;
use crate::upscale::size::Size;

/// What one picture took, in seconds of one core.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rehearsal {
    /// Per million pixels of the source: reading it.
    pub reading: f64,
    /// Per million pixels of the result: grading and writing its files.
    pub finishing: f64,
    /// The same: inspecting it.
    pub inspecting: f64,
}

/// What is tried.
pub struct Part<'a> {
    pub source: &'a Path,
    /// Of the files that are made of it.
    pub settings: &'a [Settings],
    /// How much it is enlarged.
    pub factor: f64,
    /// If it is inspected, how, and whether a faithful enlargement is made to compare with.
    pub inspected: Option<(Tier, bool)>,
    pub limits: Limits,
    /// Set when the user wants to stop.
    pub stop: &'a AtomicBool,
}

/// Pixels of the result that are made; the middle of a larger one stands for all of it.
const AT_MOST: f64 = 1e6;
/// Pixels of a result that a kit is tried on: its logo and cuts need the whole picture.
const WHOLE_AT_MOST: f64 = 24e6;

/// Tries a part of a job.
///
/// # Errors
/// Whatever is wrong with the picture, the settings or the folder for temp files; then the job will tell.
pub fn rehearse(part: &Part<'_>) -> Result<Rehearsal> {
    let folder = Folder::new()?;
    let io = |path: &Path, e| Error::io(path, e);
    let bytes = fs::read(part.source).map_err(|e| io(part.source, e))?;
    let clock = Clock::start();
    let image = codec::decode(part.source, &bytes, &part.limits)?;
    let reading = clock.seconds() / mpix(&image);
    drop(bytes);

    // Enlarged without a network: neither the sharpness of a small picture nor its noise is what will be written.
    let whole = mpix(&image) * 1e6 * part.factor * part.factor;
    let branded = part.settings.iter().any(|s| s.finish.is_some());
    if branded && whole > WHOLE_AT_MOST {
        return Err(Error::limit(part.source.display(), "too large to be tried whole, as a kit needs it", "the run itself"));
    }
    let share = if branded { 1.0 } else { (AT_MOST / whole).sqrt().min(1.0) };
    let (small, large) = (folder.0.join("small.png"), folder.0.join("large.png"));
    middle(&image, share, &small)?;
    let plain = Settings { size: Size::Scale(part.factor), ..Settings::default() };
    make(&small, &large, &[plain], &folder, part)?;

    let bytes = fs::read(&large).map_err(|e| io(&large, e))?;
    let clock = Clock::start();
    let result = codec::decode(&large, &bytes, &part.limits)?;
    let decoding = clock.seconds();
    let settings: Vec<Settings> = part.settings.iter().map(|s| alone(s, share)).collect();
    let mut making = f64::MAX;
    // The first time, tables are made and pages are taken.
    for _ in 0..2 {
        let clock = Clock::start();
        make(&large, &folder.0.join("made"), &settings, &folder, part)?;
        making = making.min(clock.seconds());
        if making > 0.3 {
            break;
        }
    }
    let mut inspecting = 0.0;
    if let Some((tier, compared)) = part.inspected {
        let source = Picture::of(&codec::decode(&small, &fs::read(&small).map_err(|e| io(&small, e))?, &part.limits)?);
        let size = (result.width, result.height);
        let faithful =
            if compared { Some(inspection::faithful(&Engine::resample_only(), &source, size, &[], part.stop)?.picture) } else { None };
        let mut scene = Scene::new(Picture::of(&result), source)?;
        scene.faithful = faithful;
        let clock = Clock::start();
        inspect(&scene, &About { tier, situation: Situation::Own, ..About::default() });
        inspecting = clock.seconds() / mpix(&result);
    }
    Ok(Rehearsal { reading, finishing: (making - decoding).max(0.0) / mpix(&result), inspecting })
}

fn mpix(image: &Image) -> f64 {
    (image.width * image.height) as f64 / 1e6
}

/// Settings for a picture that has its size already.
fn alone(settings: &Settings, share: f64) -> Settings {
    Settings {
        size: Size::Scale(1.0),
        // A picture that needs no change would be copied.
        metadata: Policy { keep: Keep::Minimal, ..settings.metadata.clone() },
        max_kb: settings.max_kb.map(|kb| ((f64::from(kb) * share * share) as u32).max(1)),
        repair: Repair::Off,
        protect: None,
        ..settings.clone()
    }
}

/// Makes all files of a picture without a network.
fn make(from: &Path, to: &Path, settings: &[Settings], folder: &Folder, part: &Part<'_>) -> Result<()> {
    let Some((first, others)) = settings.split_first() else { return Ok(()) };
    let other = |(i, s): (usize, &Settings)| Extra { output: folder.0.join(format!("made-{i}")), settings: s.clone() };
    let extra = others.iter().enumerate().map(other).collect();
    let bytes = fs::read(from).map_err(|e| Error::io(from, e))?;
    let job = Job { source: from, bytes, output: to, settings: first, limits: part.limits, master: None, extra };
    let hooks = Hooks { stop: part.stop, progress: &|_| {}, observer: None, waiting: 0, card: None };
    pipeline::process(job, &Engine::resample_only(), hooks).map(|_| ())
}

/// Writes the middle of a picture, `share` of each side, as PNG.
fn middle(image: &Image, share: f64, to: &Path) -> Result<()> {
    let side = |n: usize| ((n as f64 * share).round() as usize).clamp(1, n);
    let (w, h) = (side(image.width), side(image.height));
    let (x, y) = ((image.width - w) / 2, (image.height - h) / 2);
    let bits = if image.bits() > 8 { 16 } else { 8 };
    let metadata = Metadata { icc: image.metadata.icc.clone(), ..Metadata::default() };
    let how = Encoding { format: Format::Png, bits, ..Encoding::default() };
    let mut encoder = codec::encoder(to, &how, w, h, image.channels, &metadata)?;
    let rows = image.band(y, y + h, 0..image.channels.count());
    let mut part = crate::Band::new(0, w, h, rows.channels);
    for c in 0..rows.channels {
        (0..h).for_each(|r| part.row_mut(c, r).copy_from_slice(&rows.row(c, r)[x..x + w]));
    }
    encoder.write(&part)?;
    encoder.finish().map(|_| ())
}

/// A folder that is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        // Pictures are private, and a name that can be guessed could lead elsewhere.
        let name = getrandom::u64().map_err(|e| Error::Internal(format!("random numbers: {e}")))?;
        let path = std::env::temp_dir().join(format!("lastmile-rehearsal-{name:016x}"));
        let mut folder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Time that all threads of this program spent on a core, where the system tells it; else time that passed. What other programs do
/// meanwhile does not count.
struct Clock(f64, Instant);

impl Clock {
    fn start() -> Self {
        Self(on_cores(), Instant::now())
    }

    fn seconds(&self) -> f64 {
        let on_cores = on_cores() - self.0;
        if on_cores > 0.0 { on_cores } else { self.1.elapsed().as_secs_f64() }
    }
}

#[cfg(unix)]
fn on_cores() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

#[cfg(not(unix))]
fn on_cores() -> f64 {
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Band;
    use crate::image::Channels;

    #[test]
    fn a_part_of_a_picture_goes_through_everything() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("a.png");
        let mut band = Band::new(0, 60, 40, 3);
        band.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i as f32 * 0.31).sin().abs());
        let how = Encoding { bits: 16, ..Encoding::default() };
        let mut e = codec::encoder(&source, &how, 60, 40, Channels::Rgb, &Metadata::default()).unwrap();
        e.write(&band).unwrap();
        e.finish().unwrap();
        let jpeg = Encoding { format: Format::Jpeg, bits: 0, ..Encoding::default() };
        let settings = [Settings::default(), Settings { encoding: jpeg, max_kb: Some(9), ..Settings::default() }];
        static GO: AtomicBool = AtomicBool::new(false);
        let part = |source, settings, inspected| Part { source, settings, factor: 4.0, inspected, limits: Limits::default(), stop: &GO };
        let r = rehearse(&part(&source, &settings, Some((Tier::default(), true)))).unwrap();
        assert!(r.reading > 0.0 && r.finishing > 0.0 && r.inspecting > 0.0, "{r:?}");
        assert_eq!(rehearse(&part(&source, &settings, None)).unwrap().inspecting, 0.0);
        assert!(rehearse(&part(&dir.path().join("none.png"), &settings, None)).is_err());
    }

    #[test]
    fn its_folder_is_private_and_goes_with_all_that_is_in_it() {
        let folder = Folder::new().unwrap();
        let path = folder.0.clone();
        fs::write(path.join("a.png"), b"pixels").unwrap();
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
