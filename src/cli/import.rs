//! `lastmile models import` and `lastmile models interp`: checkpoints to registered models.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Globals, out, say};
use crate::error::{Error, Exit, Result};
use crate::upscale::catalogue;
use crate::upscale::home::Home;
use crate::upscale::import::{self, About, Activation, Imported, Options, Precision};
use crate::upscale::mix::mixed;
use crate::upscale::model::{Kind, Manifest, Model, Origin, Range, check_id};
use crate::upscale::probe::Open;

/// Turn a PyTorch or safetensors checkpoint into a model
#[derive(Args, Debug, Clone)]
pub struct ImportArgs {
    /// The checkpoint: .pth, .pt, .ckpt or .safetensors. Nothing in it is run
    file: PathBuf,
    /// What the model is called from now on [default: the file's name]
    #[arg(long, value_name = "ID")]
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
    share: f32,
    /// What the model is called from now on [default: A-B-SHARE]
    #[arg(long, value_name = "ID")]
    name: Option<String>,
    #[command(flatten)]
    about: AboutArgs,
    /// Store the weights of checkpoints in 32 or 16 bits; models stay as they are
    #[arg(long, value_enum, default_value = "fp32")]
    weights: WeightBits,
    /// SRVGGNetCompact without learned activations: which one it was trained with
    #[arg(long, value_enum)]
    activation: Option<ActivationName>,
}

#[derive(Args, Debug, Clone)]
struct AboutArgs {
    /// Whether it may invent detail; `faithful` only for networks trained on pixel differences alone
    #[arg(long, value_enum, default_value = "perceptual")]
    kind: KindName,
    /// Licence of the weights
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    licence: String,
    /// Where the weights come from
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Replace a model of that name
    #[arg(long)]
    overwrite: bool,
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
}

/// Runs `models import`.
pub fn run_import(args: &ImportArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let id = args.name.clone().unwrap_or_else(|| id_of(&args.file));
    let options = Options {
        precision: precision(args.weights),
        activation: activation(args.activation),
        range: args.range.as_deref().map(|r| if r == "1" { Range::One } else { Range::Byte }),
    };
    let about = about(&args.about, id, &args.file);
    report(&import(&args.file, &about, &options, args.about.overwrite, &Home::new(&globals.home))?)
}

/// Runs `models interp`.
pub fn run_interp(args: &InterpArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let name = |spec: &str| id_of(Path::new(spec));
    let id = args.name.clone().unwrap_or_else(|| format!("{}-{}-{}", name(&args.a), name(&args.b), args.share));
    let options = Options { precision: precision(args.weights), activation: activation(args.activation), range: None };
    let about = about(&args.about, id, Path::new(&format!("{} and {}", name(&args.a), name(&args.b))));
    let mut open = |manifest: &Manifest, bytes: &[u8]| super::models::open(globals, manifest, bytes);
    let home = Home::new(&globals.home);
    report(&interp([&args.a, &args.b], args.share, &about, &options, args.about.overwrite, &home, &mut open)?)
}

/// Imports a checkpoint and registers it in `home`. Also what `models pull` does with a checkpoint it has fetched.
pub fn import(file: &Path, about: &About, options: &Options, overwrite: bool, home: &Home) -> Result<Registered> {
    free(about, overwrite, home)?;
    let imported = import::import(file, options)?;
    if let Some((part, others)) = &imported.chosen {
        say(format_args!("the network under `{part}` was taken; {others} other tensors in the file were left out"));
    }
    if imported.rounding > 0.0 {
        say(format_args!("weights were rounded to 16 bits, by {:.4} % at most", imported.rounding * 100.0));
    }
    register(&imported, about, home)
}

/// Mixes two trainings of one network, each a model or a checkpoint, and registers the result in `home`.
pub fn interp(
    specs: [&str; 2],
    share: f32,
    about: &About,
    options: &Options,
    overwrite: bool,
    home: &Home,
    open: &mut Open<'_>,
) -> Result<Registered> {
    free(about, overwrite, home)?;
    let [a, b] = specs;
    let (a, b) = (model(a, about, options, home, open)?, model(b, about, options, home, open)?);
    let mix = mixed(&a, &b, share, &about.id)?;
    let licence = match about.licence.as_str() {
        "unknown" if a.manifest.licence == b.manifest.licence => a.manifest.licence,
        said => said.to_owned(),
    };
    let About { kind, source, .. } = about.clone();
    let manifest = Manifest { kind, licence, source, ..mix.manifest };
    put(&mix.bytes, manifest, home)
}

/// What an id or file stands for: a checkpoint is imported, anything else is a model.
fn model(spec: &str, about: &About, options: &Options, home: &Home, open: &mut Open<'_>) -> Result<Model> {
    let path = Path::new(spec);
    if !path.is_file() || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        return catalogue::resolve(spec, home, open);
    }
    let (onnx, manifest) = import::import(path, options)?.files(about);
    let sha256 = manifest.sha256.clone();
    Ok(Model { manifest, bytes: onnx.into(), sha256, origin: Origin::File(path.into()) })
}

/// That the id is usable and not taken.
fn free(about: &About, overwrite: bool, home: &Home) -> Result<()> {
    check_id(&about.id).map_err(|what| Error::usage("--name", what, "--name my-model"))?;
    if catalogue::EMBEDDED.iter().any(|e| e.id == about.id) {
        return Err(Error::usage(format!("model {}", about.id), "is part of the program", "--name with another name"));
    }
    let taken = home.models().join(format!("{}.toml", about.id));
    if taken.exists() && !overwrite {
        return Err(Error::usage(
            format!("model {}", about.id),
            format!("{} is there already", taken.display()),
            "--name with another name, or --overwrite",
        ));
    }
    Ok(())
}

/// Writes the ONNX file, then the manifest that makes it known.
fn register(imported: &Imported, about: &About, home: &Home) -> Result<Registered> {
    let (onnx, manifest) = imported.files(about);
    put(&onnx, manifest, home)
}

fn put(onnx: &[u8], manifest: Manifest, home: &Home) -> Result<Registered> {
    let dir = home.models();
    fs::create_dir_all(&dir).map_err(|e| Error::output(&dir, e, "a writable folder in LASTMILE_HOME"))?;
    write(&dir.join(&manifest.file), onnx)?;
    let path = dir.join(format!("{}.toml", manifest.id));
    write(&path, manifest.to_toml().as_bytes())?;
    Ok(Registered { manifest, path })
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

fn report(registered: &Registered) -> anyhow::Result<Exit> {
    let Manifest { id, note, scale, halo, halo_reason, .. } = &registered.manifest;
    out(format_args!("{id}: {note}, x{scale}, halo {} px ({})", halo.px(), halo.mode()))?;
    if !halo_reason.is_empty() {
        say(format_args!("tiles are blended: {halo_reason}"));
    }
    out(registered.path.display())?;
    say(format_args!("next: lastmile upscale INPUT -o OUT --model {id}"));
    Ok(Exit::Done)
}

fn about(args: &AboutArgs, id: String, file: &Path) -> About {
    let source = args.source.clone().unwrap_or_else(|| file.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let kind = match args.kind {
        KindName::Faithful => Kind::Faithful,
        KindName::Perceptual => Kind::Perceptual,
    };
    About { id, kind, licence: args.licence.clone(), source }
}

/// A file's name as an id: without extension, other characters than those of ids as `-`.
fn id_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let id: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect();
    id.trim_start_matches(['.', '-']).to_owned()
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
        let mut mix = |specs: [&str; 2], id: &str, licence: &str| {
            let about = About { licence: licence.into(), ..about(id) };
            interp(specs, 0.5, &about, &Options::default(), false, &home, &mut never).map(|r| r.manifest.licence)
        };
        mix([spec, spec], "same", "CC0-1.0").unwrap();
        import(&file, &about("one"), &Options::default(), false, &home).unwrap();
        let read = |name: &str| fs::read(home.models().join(name)).unwrap();
        assert_eq!(read("same.onnx"), read("one.onnx"));
        // Registered models too, with each other and with checkpoints; a licence that both have stays.
        assert_eq!(mix(["one", "one"], "ids", "unknown").unwrap(), "MIT");
        assert_eq!(mix(["one", spec], "both", "unknown").unwrap(), "unknown");
        assert_eq!((read("ids.onnx"), read("both.onnx")), (read("one.onnx"), read("one.onnx")));
        assert_eq!(mix(["one", "lastmile-faithful-x2"], "odd", "").unwrap_err().exit(), Exit::Usage);
        assert_eq!(mix(["one", "nothing"], "odd", "").unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn ids_come_from_file_names() {
        assert_eq!(id_of(Path::new("/a/4x Über (v2).pth")), "4x--ber--v2-");
        assert_eq!(id_of(Path::new("RealESRGAN_x4plus.pth")), "RealESRGAN_x4plus");
    }
}
