//! `lastmile models`: which networks can be used, what is known about them, and whether their tiles show. Bringing in new ones
//! and measuring their speed are files of their own: `import`, `pull`, `bench`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

#[cfg(feature = "onnx")]
use super::bench;
use super::{Globals, import, out, pull, say};
use crate::band::{Band, Stage};
use crate::codec::{self, Limits};
use crate::error::{Error, Exit, Result};
use crate::upscale::Infer;
use crate::upscale::bench::Rates;
use crate::upscale::catalogue::{self, Listed};
use crate::upscale::home::Home;
use crate::upscale::model::{Halo, Kind, Manifest, Model, Origin};
use crate::upscale::network::{Network, Open};
use crate::upscale::pass::Pass;
use crate::upscale::pool::Pool;
use crate::upscale::public::{self, Public};
use crate::upscale::receptive::analyse;
use crate::upscale::tile::Grid;

/// List, inspect and register networks
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// List the models that `--model` takes by name
    List,
    /// Print what is known about a model, as a manifest; a file without one is probed
    Show {
        /// A model's id or an ONNX file
        #[arg(value_name = "ID|FILE")]
        model: String,
    },
    /// Register an ONNX file, so that `--model ID` finds it
    Add {
        file: PathBuf,
        /// The name to give it [default: the file's]
        #[arg(long, alias = "name")]
        id: Option<String>,
        #[command(flatten)]
        about: import::AboutArgs,
    },
    /// Measure how much tilings of a picture differ from the picture done in one piece
    Verify {
        /// A model's id or an ONNX file
        #[arg(value_name = "ID|FILE")]
        model: String,
        /// Pictures to try it on; the middle of each is used [default: a picture of its own]
        #[arg(value_name = "PICTURE")]
        pictures: Vec<PathBuf>,
    },
    Import(import::ImportArgs),
    Interp(import::InterpArgs),
    Pull(pull::PullArgs),
    #[cfg(feature = "onnx")]
    Bench(bench::BenchArgs),
    /// Forget a registered model and delete its copy
    Remove {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let home = Home::new(&globals.home);
    let mut open = |manifest: &Manifest, bytes: &[u8]| open(globals, manifest, bytes);
    match args.what {
        What::List => list(&home, globals)?,
        What::Show { model } => {
            let model = catalogue::resolve(&model, &home, &mut open)?;
            show(&model, globals)?;
        }
        What::Add { file, id, about } => {
            let json = json_file(globals)?;
            let manifest = catalogue::add(&file, id.as_deref(), &about.says(), &home, &mut open)?;
            let path = home.models().join(format!("{}.toml", manifest.id));
            json_lines(json, vec![described(&manifest, &Origin::Registered(path))])?;
            if globals.verbosity >= 0 {
                say(format_args!("{} is registered: lastmile upscale PICTURES -o OUT --model {}", manifest.id, manifest.id));
            }
        }
        What::Verify { model, pictures } => {
            let model = catalogue::resolve(&model, &home, &mut open)?;
            return verify(&model, &pictures, globals);
        }
        What::Import(args) => return import::run_import(&args, globals),
        What::Interp(args) => return import::run_interp(&args, globals),
        What::Pull(args) => return pull::run(&args, globals),
        #[cfg(feature = "onnx")]
        What::Bench(args) => return bench::run(&args, globals),
        What::Remove { id } => {
            let json = json_file(globals)?;
            catalogue::remove(&id, &home)?;
            json_lines(json, vec![json!({ "event": "removed", "id": id })])?;
            if globals.verbosity >= 0 {
                say(format_args!("{id} is removed"));
            }
        }
    }
    Ok(Exit::Done)
}

/// A session on the processor; the runtime is found or installed on first use.
#[cfg(feature = "onnx")]
pub(super) fn open(globals: &Globals, manifest: &Manifest, bytes: &[u8]) -> Result<Box<dyn Infer>> {
    use crate::upscale::model::Layout;
    use crate::upscale::session::{self, Session, SessionOptions};
    crate::upscale::runtime::start(&super::runtime::options(globals), &mut |line| say(line))?;
    let layout = match manifest.layout {
        Layout::Nchw => session::Layout::Nchw,
        Layout::Nhwc => session::Layout::Nhwc,
    };
    let (input, output) = (Some(manifest.input.clone()), Some(manifest.output.clone()));
    let options = SessionOptions { model: manifest.id.clone(), layout, input, output, ..SessionOptions::default() };
    Ok(Box::new(Session::open(bytes, &options)?))
}

#[cfg(not(feature = "onnx"))]
pub(super) fn open(_: &Globals, _: &Manifest, _: &[u8]) -> Result<Box<dyn Infer>> {
    Err(Error::runtime("this program was built without it", "cargo build --features onnx"))
}

/// JSON lines, if they are wanted.
pub(super) fn record(globals: &Globals, lines: Vec<serde_json::Value>) -> anyhow::Result<()> {
    json_lines(json_file(globals)?, lines)
}

/// Where JSON lines go.
pub(super) type JsonFile = Box<dyn std::io::Write + Send>;

/// That, if they are wanted; opened before anything is done, so that nothing is done whose lines cannot be written.
pub(super) fn json_file(globals: &Globals) -> Result<Option<JsonFile>> {
    globals.json.as_ref().map(super::JsonTarget::open).transpose()
}

pub(super) fn json_lines(file: Option<JsonFile>, lines: Vec<serde_json::Value>) -> anyhow::Result<()> {
    if let Some(mut file) = file {
        for line in lines {
            writeln!(file, "{line}")?;
        }
        file.flush()?;
    }
    Ok(())
}

/// Whether standard output belongs to JSON lines.
pub(super) fn json_only(globals: &Globals) -> bool {
    matches!(globals.json, Some(super::JsonTarget::Stdout))
}

pub(super) fn described(manifest: &Manifest, origin: &Origin) -> serde_json::Value {
    let (origin, path) = match origin {
        Origin::Embedded => ("embedded", None),
        Origin::Registered(path) => ("registered", Some(path)),
        Origin::File(path) => ("file", Some(path)),
        Origin::Probed(path) => ("probed", Some(path)),
    };
    json!({ "event": "model", "id": manifest.id, "origin": origin, "path": path.map(|p| p.display().to_string()), "manifest": manifest })
}

/// Speeds that are known here: a help that things can be listed without.
pub(super) fn rates(home: &Home) -> Rates {
    Rates::load(home).unwrap_or_else(|e| {
        say(e);
        Rates::default()
    })
}

fn list(home: &Home, globals: &Globals) -> anyhow::Result<()> {
    let all = catalogue::list(home);
    let rates = rates(home);
    let available: Vec<&Public> = public::all().iter().filter(|p| all.iter().all(|l| l.id != p.id)).collect();
    let lines = all.iter().map(|l| match &l.manifest {
        Ok(manifest) => {
            let mut line = described(manifest, &l.origin);
            line["commercial"] = json!(public::commercial(&manifest.licence));
            line["rates"] = json!(rates.iter().filter(|r| r.model_sha256 == manifest.sha256).collect::<Vec<_>>());
            line
        }
        Err(e) => json!({ "event": "model", "id": l.id, "error": { "kind": e.kind(), "message": e.to_string() } }),
    });
    let pullable = available.iter().map(|p| {
        json!({ "event": "model", "id": p.id, "origin": "available", "url": p.url, "size": p.size, "sha256": p.sha256,
            "licence": p.licence, "commercial": public::commercial(&p.licence), "kind": kind(p.kind), "scale": p.scale, "note": p.note })
    });
    record(globals, lines.chain(pullable).collect())?;
    if json_only(globals) {
        return Ok(());
    }
    let ids = all.iter().map(|l| l.id.as_str()).chain(available.iter().map(|p| p.id.as_str()));
    let width = ids.map(|id| id.chars().count()).max().unwrap_or(0);
    let row = |id: &str, scale: u32, kind: &str, licence: &str, rest: &str| {
        let use_ = match public::commercial(licence) {
            Some(true) => "commercial use: yes",
            Some(false) => "commercial use: NO",
            None => "commercial use: ask",
        };
        let licence = if licence.is_empty() { "licence unknown" } else { licence };
        out(format_args!("{id:<width$}  x{scale:<2} {kind:<10}  {licence}, {use_}  ({rest})"))
    };
    for (i, Listed { id, origin, manifest }) in all.iter().enumerate() {
        let place = match (origin, i) {
            (Origin::Embedded, 0) => "built in, default",
            (Origin::Embedded, _) => "built in",
            _ => "installed",
        };
        match manifest {
            Ok(m) => {
                let speed = rates.fastest(&m.sha256).map(|r| format!("; {:.2} MPix of source a second on {}", r.mpix_per_s, r.device));
                row(id, m.scale, kind(m.kind), &m.licence, &format!("{place}{}", speed.unwrap_or_default()))?;
            }
            Err(e) => out(format_args!("{id:<width$}  unusable: {e}"))?,
        }
    }
    out(format_args!("{:<width$}  resamples without a network", "none"))?;
    for p in &available {
        let size = p.size.map(|s| format!(", {:.0} MB", s as f64 / 1e6));
        row(&p.id, p.scale, kind(p.kind), &p.licence, &format!("lastmile models pull {}{}", p.id, size.unwrap_or_default()))?;
    }
    Ok(())
}

pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Faithful => "faithful",
        Kind::Perceptual => "perceptual",
    }
}

fn show(model: &Model, globals: &Globals) -> anyhow::Result<()> {
    let Model { manifest, bytes, origin, .. } = model;
    record(globals, vec![described(manifest, origin)])?;
    if json_only(globals) {
        return Ok(());
    }
    let place = match origin {
        Origin::Embedded => "built into the program".into(),
        Origin::Registered(path) => format!("registered, {}", path.display()),
        Origin::File(path) => format!("{}, described by its manifest", path.display()),
        Origin::Probed(path) => format!("{}, probed: its layers were read and small pictures tried", path.display()),
    };
    out(format_args!("# {place}"))?;
    let graph = crate::upscale::graph::decode(&manifest.id, bytes)?;
    let mut ops: Vec<(String, usize)> = analyse(&graph).ops.into_iter().collect();
    ops.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let ops: Vec<String> = ops.iter().map(|(op, n)| format!("{op} {n}")).collect();
    out(format_args!("# {:.1} MB; {}", bytes.len() as f64 / 1e6, ops.join(", ")))?;
    out(manifest.to_toml().trim_end())?;
    Ok(())
}

/// Measurements are not stopped half-way.
static NEVER: AtomicBool = AtomicBool::new(false);

/// Longest side of what is cut out of a picture for [`verify`].
const VERIFY_PX: usize = 256;
/// Core sizes that are compared with the picture in one piece, input pixels.
const VERIFY_TILES: [usize; 4] = [32, 48, 97, 160];

/// What networks are tried on unless pictures are named.
const OWN_PICTURE: (&str, &[u8]) = ("study.jpg", include_bytes!("../../examples/study.jpg"));

/// Compares tilings of the middle of some pictures with the same done in one piece. The exit code is that of a failed gate if
/// tiles differ by more than the mode allows: 0 levels of 8 bit for exact halos, 1 for measured ones; blending allows anything.
fn verify(model: &Model, pictures: &[PathBuf], globals: &Globals) -> anyhow::Result<Exit> {
    let Manifest { id, halo, .. } = &model.manifest;
    let network = Arc::new(Network::new(model.manifest.spec(), Box::new(Opener { model: model.clone(), globals: globals.clone() })));
    let pool = Arc::new(Pool::new(std::thread::available_parallelism().map_or(1, usize::from))?);
    if !json_only(globals) {
        out(format_args!("{id}: {} halo of {} px; largest difference from one piece, in levels of 255", halo.mode(), halo.px()))?;
    }
    if network.spec.rule.fixed.is_some() {
        return Err(Error::usage(format!("model {id}"), "takes one size only: there is nothing to compare its tiles with", "").into());
    }
    let (mut lines, mut worst) = (Vec::new(), 0f32);
    let pictures = match pictures {
        [] => vec![(PathBuf::from(OWN_PICTURE.0), OWN_PICTURE.1.to_vec())],
        named => files(named)?
            .into_iter()
            .map(|path| std::fs::read(&path).map_err(|e| Error::io(&path, e)).map(|bytes| (path, bytes)))
            .collect::<Result<_>>()?,
    };
    for (path, bytes) in pictures {
        let picture = middle(&path, &bytes, model.manifest.channels as usize)?;
        let rule = &network.spec.rule;
        let (w, h) = (picture.width, picture.rows);
        let tiled = |core: usize| -> Result<Band> {
            let grid = Grid::with_core(w, h, core, rule)?;
            whole_result(Pass::new(Arc::clone(&network), Arc::clone(&pool), grid, picture.channels, &NEVER), &picture)
        };
        let whole = tiled(w.max(h))?;
        for core in VERIFY_TILES.into_iter().filter(|&c| c < w.max(h)) {
            let part = tiled(core)?;
            let greatest = whole.data.iter().zip(&part.data).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            let level = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round();
            let levels = whole.data.iter().zip(&part.data).map(|(&a, &b)| (level(a) - level(b)).abs()).fold(0f32, f32::max);
            worst = worst.max(levels);
            lines.push(json!({ "event": "verify", "model": id, "input": path.display().to_string(), "tile": core,
                "difference": greatest, "levels": levels }));
            if !json_only(globals) {
                out(format_args!("{:>4} px tiles  {:>8.4} ({levels:.0} after rounding)  {}", core, greatest * 255.0, path.display()))?;
            }
        }
    }
    record(globals, lines)?;
    let allowed = match halo {
        Halo::Exact(_) => 0.0,
        Halo::Measured(_) => 1.0,
        Halo::Blend(_) => f32::INFINITY,
    };
    if worst > allowed {
        say(format_args!(
            "{id}: tiles differ by {worst:.0} levels, {} mode allows {allowed:.0}; set `halo = {{ blend = 32 }}` in its manifest",
            halo.mode()
        ));
        return Ok(Exit::Gate);
    }
    Ok(Exit::Done)
}

/// The picture files among paths, folders not searched further than their files.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    const PICTURES: [&str; 6] = ["png", "jpg", "jpeg", "webp", "tif", "tiff"];
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|e| Error::io(path, e))?.flatten().map(|e| e.path());
            files.extend(
                entries.filter(|p| p.extension().and_then(|e| e.to_str()).is_some_and(|e| PICTURES.contains(&e.to_lowercase().as_str()))),
            );
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Error::usage(
            "lastmile models verify",
            "there are no pictures to try it on",
            "name some: lastmile models verify ID a.png b.jpg",
        )),
        false => Ok(files),
    }
}

/// The middle of a picture with as many colour channels as the network wants.
fn middle(path: &Path, bytes: &[u8], channels: usize) -> Result<Band> {
    let image = codec::decode(path, bytes, &Limits::default())?;
    let (w, h) = (image.width.min(VERIFY_PX), image.height.min(VERIFY_PX));
    let (x0, y0) = ((image.width - w) / 2, (image.height - h) / 2);
    let rows = image.colour(y0, y0 + h);
    let mut band = Band::new(0, w, h, channels);
    for c in 0..channels {
        for y in 0..h {
            band.row_mut(c, y).copy_from_slice(&rows.row(c.min(rows.channels - 1), y)[x0..x0 + w]);
        }
    }
    Ok(band)
}

/// Runs a stage over a picture and puts its result together.
fn whole_result(mut pass: Pass<'_>, picture: &Band) -> Result<Band> {
    let mut parts: Vec<Band> = Vec::new();
    let mut take = |band: Band| {
        parts.push(band);
        Ok(())
    };
    pass.push(picture.clone(), &mut take)?;
    pass.finish(&mut take)?;
    let Some(first) = parts.first() else { return Err(Error::Internal("a network gave no rows".into())) };
    let mut whole = Band::new(0, first.width, parts.iter().map(|p| p.rows).sum(), first.channels);
    for part in &parts {
        for c in 0..whole.channels {
            for r in 0..part.rows {
                whole.row_mut(c, part.y + r).copy_from_slice(part.row(c, r));
            }
        }
    }
    Ok(whole)
}

/// Opens a model as it runs on the processor.
struct Opener {
    model: Model,
    globals: Globals,
}

impl Open for Opener {
    fn open(&self, _safe: bool) -> Result<Box<dyn Infer>> {
        let (bytes, _) = self.model.for_cpu()?;
        open(&self.globals, &self.model.manifest, &bytes)
    }

    fn has_safe(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_described_in_one_json_object() {
        let model = Model::embedded_default().unwrap();
        let line = described(&model.manifest, &model.origin);
        assert_eq!(line["origin"], "embedded");
        assert_eq!(line["manifest"]["halo"]["exact"], model.manifest.halo.px());
        assert_eq!(line["manifest"]["range"], 1);
        assert_eq!(line["manifest"]["sha256"], model.sha256);
    }

    #[test]
    fn verify_needs_pictures() {
        let empty = tempfile::tempdir().unwrap();
        std::fs::write(empty.path().join("notes.txt"), "").unwrap();
        assert_eq!(files(&[empty.path().into()]).unwrap_err().exit(), Exit::Usage);
        std::fs::write(empty.path().join("b.JPG"), "").unwrap();
        assert_eq!(files(&[empty.path().into()]).unwrap(), [empty.path().join("b.JPG")]);
    }
}
