//! `lastmile models import` and `lastmile models interp`: checkpoints to registered models.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::models::{JsonFile, described, json_file, json_lines, json_only};
use super::{Globals, out, say};
use crate::batch::journal;
use crate::error::{Error, Exit, Result};
use crate::recipe::text;
use crate::upscale::catalogue::{self, Says, short};
use crate::upscale::home::Home;
use crate::upscale::import::{self, About, Activation, Options, Precision};
use crate::upscale::mix::mixed;
use crate::upscale::model::{Kind, Manifest, Model, Origin, Range, check_id};
use crate::upscale::probe::Open;
use crate::upscale::public;

/// Turn a PyTorch or safetensors checkpoint into a model
#[derive(Args, Debug, Clone)]
pub struct ImportArgs {
    /// The checkpoint: .pth, .pt, .ckpt or .safetensors. Nothing in it is run
    file: PathBuf,
    /// What the model is called from now on [default: the file's name]
    #[arg(long, alias = "id", value_name = "ID")]
    name: Option<String>,
    #[command(flatten)]
    about: AboutArgs,
    /// Store the weights in 32 or 16 bits; 16 halves the file and rounds
    #[arg(long, value_enum, default_value = "fp32")]
    weights: WeightBits,
    /// SRVGGNetCompact without learned activations: which one it was trained with
    #[arg(long, value_enum)]
    activation: Option<ActivationName>,
    /// White of the values it was trained on, if not the usual one (SPAN, RLFN: 255)
    #[arg(long, value_parser = ["1", "255"])]
    range: Option<String>,
}

/// Mix two trainings of one network
#[derive(Args, Debug, Clone)]
pub struct InterpArgs {
    /// The first: a model's id, an ONNX file or a checkpoint
    #[arg(value_name = "ID|FILE")]
    a: String,
    /// The second, of the same network
    #[arg(value_name = "ID|FILE")]
    b: String,
    /// Share of the second, 0 to 1
    #[arg(value_parser = text::share, allow_negative_numbers = true)]
    share: f32,
    /// What the model is called from now on [default: A-B-SHARE]
    #[arg(long, alias = "id", value_name = "ID")]
    name: Option<String>,
    #[command(flatten)]
    about: AboutArgs,
    /// Store the weights of checkpoints in 32 or 16 bits; models stay as they are
    #[arg(long, value_enum, default_value = "fp32")]
    weights: WeightBits,
    /// SRVGGNetCompact without learned activations: which one it was trained with
    #[arg(long, value_enum)]
    activation: Option<ActivationName>,
    /// White of the values that the checkpoints were trained on, if not the usual one (SPAN, RLFN: 255); models know theirs
    #[arg(long, value_parser = ["1", "255"])]
    range: Option<String>,
}

#[derive(Args, Debug, Clone)]
pub(super) struct AboutArgs {
    /// Whether it may invent detail; `faithful` only for networks trained on pixel differences alone [default: what is known, else perceptual]
    #[arg(long, value_enum)]
    kind: Option<KindName>,
    /// Licence of the weights [default: what is known]
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Where the weights come from [default: what is known]
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Replace a model of that name
    #[arg(long)]
    overwrite: bool,
}

impl AboutArgs {
    pub(super) fn says(&self) -> Says {
        let kind = self.kind.map(|k| match k {
            KindName::Faithful => Kind::Faithful,
            KindName::Perceptual => Kind::Perceptual,
        });
        Says { kind, licence: self.licence.clone(), source: self.source.clone(), overwrite: self.overwrite }
    }
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum KindName {
    Faithful,
    Perceptual,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum WeightBits {
    Fp32,
    Fp16,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum ActivationName {
    Relu,
    Leakyrelu,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Registered {
    pub manifest: Manifest,
    /// The manifest's file; the ONNX file lies beside it.
    pub path: PathBuf,
    /// What a person should know of how it was made.
    pub notes: Vec<String>,
}

impl Registered {
    /// As a JSON line.
    pub fn line(&self) -> serde_json::Value {
        described(&self.manifest, &Origin::Registered(self.path.clone()))
    }
}

/// Runs `models import`.
pub fn run_import(args: &ImportArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let id = args.name.clone().unwrap_or_else(|| id_of(&args.file));
    let options = options(args.weights, args.activation, args.range.as_deref());
    let json = json_file(globals)?;
    let says = published(&args.file, &id, args.about.says())?;
    let about = About {
        id,
        kind: says.kind.unwrap_or(Kind::Perceptual),
        licence: says.licence.unwrap_or_else(|| UNKNOWN.to_owned()),
        source: says.source.unwrap_or_else(|| args.file.file_name().unwrap_or_default().to_string_lossy().into_owned()),
    };
    report(&import(&args.file, &about, &options, args.about.overwrite, &Home::new(&globals.home))?, json, globals)
}

/// The licence of weights of which nobody said any.
const UNKNOWN: &str = "unknown";

/// What is said of a checkpoint, filled in from the catalogue if it is a public model's.
///
/// # Errors
/// [`Error::Usage`] if a public model's name is given to another file: `pull` would take it for installed.
fn published(file: &Path, id: &str, says: Says) -> Result<Says> {
    // What cannot be read is told when it is imported.
    let Ok(sha256) = journal::sha256_file(file) else { return Ok(says) };
    if let Some(named) = public::find(id)
        && named.sha256 != sha256
    {
        let (theirs, this) = (short(&named.sha256), short(&sha256));
        let what = format!("is the name of a public model whose file has the SHA-256 {theirs}..., {} has {this}...", file.display());
        return Err(Error::usage(format!("model {id}"), what, "--name with another name, or the published file"));
    }
    let Some(known) = public::all().iter().find(|p| p.sha256 == sha256) else { return Ok(says) };
    let Says { kind, licence, source, overwrite } = says;
    Ok(Says {
        kind: kind.or(Some(known.kind)),
        licence: licence.or_else(|| Some(known.licence.clone())),
        source: source.or_else(|| Some(known.source.clone())),
        overwrite,
    })
}

/// Runs `models interp`.
pub fn run_interp(args: &InterpArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let name = |spec: &str| id_of(Path::new(spec));
    let id = args.name.clone().unwrap_or_else(|| format!("{}-{}-{}", name(&args.a), name(&args.b), args.share));
    let options = options(args.weights, args.activation, args.range.as_deref());
    let mut open = |manifest: &Manifest, bytes: &[u8]| super::models::open(globals, manifest, bytes);
    let home = Home::new(&globals.home);
    let json = json_file(globals)?;
    report(&interp([&args.a, &args.b], args.share, &id, &args.about.says(), &options, &home, &mut open)?, json, globals)
}

/// Imports a checkpoint and registers it in `home`. Also what `models pull` does with a checkpoint it has fetched.
pub fn import(file: &Path, about: &About, options: &Options, overwrite: bool, home: &Home) -> Result<Registered> {
    free(&about.id, overwrite, home)?;
    let imported = import::import(file, options)?;
    let chosen = imported.chosen.as_ref();
    let chosen =
        chosen.map(|(part, others)| format!("the network under `{part}` was taken; {others} other tensors in the file were left out"));
    let rounded =
        (imported.rounding > 0.0).then(|| format!("weights were rounded to 16 bits, by {:.4} % at most", imported.rounding * 100.0));
    let (onnx, manifest) = imported.files(about);
    let done = put(&onnx, manifest, home)?;
    Ok(Registered { notes: chosen.into_iter().chain(rounded).chain(done.notes).collect(), ..done })
}

/// Mixes two trainings of one network, each a model or a checkpoint, and registers the result in `home`. What is not said of it is
/// taken from the two where they agree; it is faithful if both are.
pub fn interp(
    specs: [&str; 2],
    share: f32,
    id: &str,
    says: &Says,
    options: &Options,
    home: &Home,
    open: &mut Open<'_>,
) -> Result<Registered> {
    free(id, says.overwrite, home)?;
    if public::find(id).is_some() {
        return Err(Error::usage(format!("model {id}"), "is the name of a public model, which a mix is not", "--name with another name"));
    }
    let [a, b] = specs;
    let (a, b) = (model(a, options, home, open)?, model(b, options, home, open)?);
    let mix = mixed(&a, &b, share, id)?;
    let (one, other) = (&a.manifest, &b.manifest);
    let both_faithful = one.kind == Kind::Faithful && other.kind == Kind::Faithful;
    let same_licence = (one.licence == other.licence).then(|| one.licence.clone());
    let manifest = Manifest {
        kind: says.kind.unwrap_or(if both_faithful { Kind::Faithful } else { Kind::Perceptual }),
        licence: says.licence.clone().or(same_licence).unwrap_or_else(|| UNKNOWN.to_owned()),
        source: says.source.clone().unwrap_or_else(|| format!("{} and {}", one.id, other.id)),
        note: format!("{} and {}, mixed: {share} of the second", one.id, other.id),
        ..mix.manifest
    };
    put(&mix.bytes, manifest, home)
}

/// What an id or file stands for: a checkpoint is imported, anything else is a model.
fn model(spec: &str, options: &Options, home: &Home, open: &mut Open<'_>) -> Result<Model> {
    let path = Path::new(spec);
    if !path.is_file() || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        return catalogue::resolve(spec, home, open);
    }
    let known = journal::sha256_file(path).ok().and_then(|sha| public::all().iter().find(|p| p.sha256 == sha));
    let (kind, licence) = known.map_or((Kind::Perceptual, UNKNOWN), |p| (p.kind, p.licence.as_str()));
    let about = About { id: id_of(path), kind, licence: licence.into(), source: spec.into() };
    let (onnx, manifest) = import::import(path, options)?.files(&about);
    let sha256 = manifest.sha256.clone();
    Ok(Model { manifest, bytes: onnx.into(), sha256, origin: Origin::File(path.into()) })
}

/// That the id is usable and not taken.
fn free(id: &str, overwrite: bool, home: &Home) -> Result<()> {
    check_id(id).map_err(|what| Error::usage("--name", what, "--name my-model"))?;
    if catalogue::EMBEDDED.iter().any(|e| e.id == id) {
        return Err(Error::usage(format!("model {id}"), "is part of the program", "--name with another name"));
    }
    let taken = home.models().join(format!("{id}.toml"));
    if taken.exists() && !overwrite {
        let what = format!("{} is there already", taken.display());
        return Err(Error::usage(format!("model {id}"), what, "--name with another name, or --overwrite"));
    }
    Ok(())
}

/// Writes the ONNX file, then the manifest that makes it known.
fn put(onnx: &[u8], manifest: Manifest, home: &Home) -> Result<Registered> {
    let dir = home.models();
    fs::create_dir_all(&dir).map_err(|e| Error::output(&dir, e, "a writable folder in LASTMILE_HOME"))?;
    write(&dir.join(&manifest.file), onnx)?;
    let path = dir.join(format!("{}.toml", manifest.id));
    write(&path, manifest.to_toml().as_bytes())?;
    let blended = (!manifest.halo_reason.is_empty()).then(|| format!("tiles are blended: {}", manifest.halo_reason));
    Ok(Registered { manifest, path, notes: blended.into_iter().collect() })
}

/// Writes beside and renames, so that no half file is ever found.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_file_name(format!("{}.{}.part", path.file_name().unwrap_or_default().to_string_lossy(), std::process::id()));
    let written = fs::File::create(&temporary)
        .and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&temporary);
        Error::output(path, e, "a writable folder in LASTMILE_HOME")
    })
}

fn report(registered: &Registered, json: Option<JsonFile>, globals: &Globals) -> anyhow::Result<Exit> {
    let Manifest { id, note, scale, halo, .. } = &registered.manifest;
    json_lines(json, vec![registered.line()])?;
    if globals.verbosity < 0 {
        return Ok(Exit::Done);
    }
    if !json_only(globals) {
        out(format_args!("{id}: {note}, x{scale}, halo {} px ({})", halo.px(), halo.mode()))?;
        out(registered.path.display())?;
    }
    registered.notes.iter().for_each(say);
    say(format_args!("next: lastmile upscale INPUT -o OUT --model {id}"));
    Ok(Exit::Done)
}

/// A file's name as an id: without extension, other characters than those of ids as `-`.
fn id_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let id: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect();
    id.trim_start_matches(['.', '-']).to_owned()
}

fn options(bits: WeightBits, activation: Option<ActivationName>, range: Option<&str>) -> Options {
    let range = range.map(|r| if r == "1" { Range::One } else { Range::Byte });
    Options { precision: precision(bits), activation: self::activation(activation), range }
}

fn precision(bits: WeightBits) -> Precision {
    match bits {
        WeightBits::Fp32 => Precision::Fp32,
        WeightBits::Fp16 => Precision::Fp16,
    }
}

fn activation(name: Option<ActivationName>) -> Option<Activation> {
    name.map(|n| match n {
        ActivationName::Relu => Activation::Relu,
        ActivationName::Leakyrelu => Activation::LeakyRelu,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upscale::{Infer, graph};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
    }

    fn about(id: &str) -> About {
        About { id: id.into(), kind: Kind::Perceptual, licence: "MIT".into(), source: "a test".into() }
    }

    #[test]
    fn imports_into_the_home_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let file = fixture("srvgg-x4-prelu.pth");
        let done = import(&file, &about("small"), &Options::default(), false, &home).unwrap();
        let onnx = fs::read(home.models().join("small.onnx")).unwrap();
        assert_eq!(crate::upscale::model::sha256(&onnx), done.manifest.sha256);
        assert_eq!(Manifest::parse(&done.path, &fs::read_to_string(&done.path).unwrap()).unwrap(), done.manifest);
        assert!(graph::decode("small.onnx", &onnx).is_ok());

        let again = import(&file, &about("small"), &Options::default(), false, &home).unwrap_err();
        assert!(again.to_string().contains("--overwrite"), "{again}");
        import(&file, &about("small"), &Options::default(), true, &home).unwrap();
        let names: Vec<_> = fs::read_dir(home.models()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn bad_names_and_files_write_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let file = fixture("srvgg-x2-relu.safetensors");
        assert_eq!(import(&file, &about("../x"), &Options::default(), false, &home).unwrap_err().exit(), Exit::Usage);
        let e = import(&file, &about("x"), &Options::default(), false, &home).unwrap_err();
        assert!(e.to_string().contains("--activation"), "{e}");
        assert!(!home.models().exists());
    }

    #[test]
    fn mixes_into_the_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let file = fixture("srvgg-x4-prelu.pth");
        let spec = file.to_str().unwrap();
        let mut never = |_: &Manifest, _: &[u8]| -> Result<Box<dyn Infer>> { Err(Error::Internal("a session was opened".into())) };
        let mut mix = |specs: [&str; 2], id: &str, licence: Option<&str>| {
            let says = Says { licence: licence.map(str::to_owned), ..Says::default() };
            interp(specs, 0.5, id, &says, &Options::default(), &home, &mut never).map(|r| r.manifest)
        };
        assert_eq!(mix([spec, spec], "same", Some("CC0-1.0")).unwrap().licence, "CC0-1.0");
        import(&file, &about("one"), &Options::default(), false, &home).unwrap();
        let read = |name: &str| fs::read(home.models().join(name)).unwrap();
        assert_eq!(read("same.onnx"), read("one.onnx"));
        // Registered models too, with each other and with checkpoints; a licence that both have stays.
        let ids = mix(["one", "one"], "ids", None).unwrap();
        assert_eq!((ids.licence.as_str(), ids.note.as_str()), ("MIT", "one and one, mixed: 0.5 of the second"));
        assert_eq!(mix(["one", spec], "both", None).unwrap().licence, "unknown");
        let two = mix(["lastmile-faithful-x4", "lastmile-faithful-x4"], "own", None).unwrap();
        assert_eq!((two.kind, two.note.contains("invents nothing")), (Kind::Faithful, false));
        assert_eq!(mix(["lastmile-faithful-x2", "lastmile-faithful-x2"], "own", None).unwrap_err().exit(), Exit::Usage, "taken");
        assert_eq!((read("ids.onnx"), read("both.onnx")), (read("one.onnx"), read("one.onnx")));
        assert_eq!(mix(["one", "lastmile-faithful-x2"], "odd", None).unwrap_err().exit(), Exit::Usage);
        assert_eq!(mix(["one", "nothing"], "odd", None).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn ids_come_from_file_names() {
        assert_eq!(id_of(Path::new("/a/4x Über (v2).pth")), "4x--ber--v2-");
        assert_eq!(id_of(Path::new("RealESRGAN_x4plus.pth")), "RealESRGAN_x4plus");
    }
}
