//! `lastmile models bench`: how fast models run on this machine, and how much memory they take.

use std::sync::Arc;
use std::time::Duration;

use super::models::{json_only, record};
use super::{Globals, out, say};
use crate::error::{Exit, Result};
use crate::upscale::backend::OnnxRuntime;
use crate::upscale::bench::{self, Rate, Rates};
use crate::upscale::catalogue;
use crate::upscale::device::{self, Device, Precision};
use crate::upscale::engine::Backend;
use crate::upscale::home::Home;
use crate::upscale::machine;
use crate::upscale::model::{Dtype, Manifest, Model};
use crate::upscale::runtime;

/// Measure how fast models run here, for estimates and for `models list`
#[derive(clap::Args, Debug)]
pub struct BenchArgs {
    /// Models' ids or ONNX files [default: all that are built in or installed]
    #[arg(value_name = "ID|FILE")]
    models: Vec<String>,
    /// Only this device [default: the processor and every GPU that works]
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,
    /// How long each model is run
    #[arg(long, value_name = "S", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
}

/// Runs the verb.
pub fn run(args: &BenchArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let home = Home::new(&globals.home);
    // A damaged file is found before anything is measured, not after.
    Rates::load(&home)?;
    let mut open = |manifest: &Manifest, bytes: &[u8]| super::models::open(globals, manifest, bytes);
    let (models, mut unusable) = chosen(&args.models, &home, &mut open)?;
    runtime::start(&super::runtime::options(globals), &mut |line| say(line))?;
    let devices = match args.device {
        Some(asked) => vec![device::choose(asked, &home)?.device],
        None => std::iter::once(Device::Cpu).chain(gpus(&home)).collect(),
    };
    let lasting = Duration::from_secs(args.seconds.into());
    let mut rates = Rates::default();
    let mut done = 0;
    for model in &models {
        for &device in &devices {
            for &precision in precisions(device) {
                match measure(model, device, precision, lasting, globals) {
                    Ok(rate) => {
                        tell(&rate, globals)?;
                        rates.put(rate);
                        done += 1;
                    }
                    Err(e) => {
                        say(format_args!("{} on {device}: {e}", model.manifest.id));
                        unusable += 1;
                    }
                }
            }
        }
        // After each model: a long bench that is stopped has not been for nothing.
        rates.save(&home)?;
    }
    let lines = rates.iter().map(|r| {
        let mut line = serde_json::json!(r);
        line["event"] = "rate".into();
        line
    });
    record(globals, lines.collect())?;
    say(format_args!("{done} measured, kept in {}", bench::file(&home).display()));
    Ok(if unusable > 0 { Exit::Failed } else { Exit::Done })
}

/// The models to measure. Named ones must be usable; of all, those that are not are told of and counted.
fn chosen(named: &[String], home: &Home, open: &mut crate::upscale::probe::Open<'_>) -> Result<(Vec<Arc<Model>>, usize)> {
    if !named.is_empty() {
        return Ok((named.iter().map(|spec| catalogue::resolve(spec, home, open).map(Arc::new)).collect::<Result<_>>()?, 0));
    }
    let (mut models, mut unusable) = (Vec::new(), 0);
    for listed in catalogue::list(home) {
        match listed.manifest.and_then(|_| catalogue::resolve(&listed.id, home, open)) {
            Ok(model) => models.push(Arc::new(model)),
            Err(e) => {
                say(format_args!("{}: {e}", listed.id));
                unusable += 1;
            }
        }
    }
    Ok((models, unusable))
}

fn gpus(home: &Home) -> impl Iterator<Item = Device> {
    device::probe(home).into_iter().filter(|p| p.device.is_gpu() && p.works.is_ok()).map(|p| p.device)
}

/// The precisions worth measuring on a device: only TensorRT converts by itself.
fn precisions(device: Device) -> &'static [Precision] {
    match device {
        Device::TensorRt(_) => &[Precision::Fp16, Precision::Fp32],
        _ => &[Precision::Auto],
    }
}

/// Measures with sessions opened exactly as a run opens them.
fn measure(model: &Arc<Model>, device: Device, precision: Precision, lasting: Duration, globals: &Globals) -> Result<Rate> {
    let manifest = &model.manifest;
    let backend = OnnxRuntime { runtime: super::runtime::options(globals), device, precision, say: Box::new(|line| say(line)) };
    let opener = backend.opener(Arc::clone(model), device, true);
    let workers = device.streams(machine::cores());
    // What a GPU holds is not memory of this process.
    let resident = || if device.is_gpu() { None } else { bench::resident() };
    let measured = bench::measure(&|| opener.open(false), &manifest.spec(), workers, lasting, &resident)?;
    let computed = match (precision, manifest.dtype) {
        (Precision::Auto, Dtype::F32) => Precision::Fp32,
        (Precision::Auto, Dtype::F16) => Precision::Fp16,
        (asked, _) => asked,
    };
    Ok(Rate {
        model: manifest.id.clone(),
        model_sha256: model.sha256.clone(),
        device: device.to_string(),
        precision: computed.to_string(),
        mpix_per_s: measured.mpix_per_s,
        workers,
        bytes_per_px: measured.bytes_per_px,
        runtime: runtime::version()?,
    })
}

fn tell(rate: &Rate, globals: &Globals) -> anyhow::Result<()> {
    if json_only(globals) {
        return Ok(());
    }
    let memory = rate.bytes_per_px.map(|px| format!(", {:.1} KB per pixel of a tile", px as f64 / 1e3)).unwrap_or_default();
    let Rate { model, device, precision, mpix_per_s, workers, .. } = rate;
    Ok(out(format_args!("{model}  {device} {precision}  {mpix_per_s:.3} MPix of source a second with {workers} at once{memory}"))?)
}
