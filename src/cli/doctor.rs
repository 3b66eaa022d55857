//! `lastmile doctor`: what is here, what works, and one line on how to fix what does not.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::{Globals, out, runtime as verb};
use crate::error::Exit;
use crate::upscale::install::{self, Variant};
use crate::upscale::runtime::{self, Runtime, RuntimeOptions};
use crate::upscale::{device, machine};

/// Check the runtime, devices, memory and caches; nothing is changed
#[derive(clap::Args, Debug)]
pub struct Args {}

/// What was found; also the JSON form, one object.
#[derive(Debug, Serialize)]
struct Findings {
    event: &'static str,
    version: &'static str,
    runtime: Option<RuntimeFound>,
    /// Why there is no runtime.
    runtime_error: Option<String>,
    devices: Vec<DeviceFound>,
    /// What `--device auto` takes, and why.
    auto: Option<String>,
    gpus: Vec<String>,
    /// What looks can run on beside the processor, as `--grade-device` numbers them.
    adapters: Vec<AdapterFound>,
    cores: usize,
    memory_total: Option<u64>,
    memory_available: Option<u64>,
    memory_limit: Option<u64>,
    home: String,
    disk_free: Option<u64>,
    caches: Vec<Folder>,
    /// One line each.
    fixes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RuntimeFound {
    path: String,
    version: String,
    found: String,
}

#[derive(Debug, Serialize)]
struct DeviceFound {
    device: String,
    /// Whether the runtime contains it.
    present: bool,
    works: bool,
    why_not: Option<String>,
}

#[derive(Debug, Serialize)]
struct AdapterFound {
    device: String,
    name: String,
    driver: String,
    backend: String,
    /// It computes on the processor and is used only by its number.
    software: bool,
}

#[derive(Debug, Serialize)]
struct Folder {
    name: &'static str,
    path: String,
    files: u64,
    bytes: u64,
}

/// Runs the verb. Exit code 5 if networks cannot run at all, 0 otherwise.
pub fn run(_args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let options = verb::options(globals);
    let findings = look(&options);
    match &globals.json {
        Some(target) => {
            let mut file = target.open()?;
            writeln!(file, "{}", serde_json::to_string(&findings)?)?;
            file.flush()?;
        }
        None => print(&findings)?,
    }
    Ok(if findings.runtime.is_some() { Exit::Done } else { Exit::Unavailable })
}

fn look(options: &RuntimeOptions) -> Findings {
    let home = &options.home;
    let loaded = load(options);
    let (mut devices, mut auto, mut fixes) = (Vec::new(), None, Vec::new());
    let gpus: Vec<_> = machine::gpus().into_iter().map(|gpu| gpu.name).collect();
    if loaded.is_ok() {
        for provider in device::probe(home) {
            let why_not = provider.works.err();
            let works = why_not.is_none();
            devices.push(DeviceFound { device: provider.device.to_string(), present: provider.present, works, why_not });
        }
        auto = device::choose(device::Device::Auto, home).ok().map(|c| c.reason);
    } else {
        fixes.push("lastmile runtime install".to_string());
    }
    let runs_on_gpu = devices.iter().any(|d| d.works && d.device != "cpu");
    let real = gpus.iter().any(|name| !name.starts_with("virtual"));
    if real && !runs_on_gpu {
        let nvidia = gpus.iter().any(|name| name.starts_with("NVIDIA"));
        let variant = if nvidia { Variant::Cuda } else { Variant::WebGpu };
        let there = install::all(home).iter().any(|i| i.variant == variant);
        if !there {
            fixes.push(format!("lastmile runtime install {}   (a GPU is here and nothing uses it)", variant.name()));
        }
    }
    let memory = machine::memory();
    if memory.is_some_and(|m| m.available < 1 << 30) {
        fixes.push("less than 1 GiB of memory is free: --tile 128 --jobs 1".to_string());
    }
    let (runtime, runtime_error) = match loaded {
        Ok(found) => (Some(found), None),
        Err(e) => (None, Some(e.to_string())),
    };
    Findings {
        event: "doctor",
        version: env!("CARGO_PKG_VERSION"),
        runtime,
        runtime_error,
        devices,
        auto,
        gpus,
        adapters: adapters(),
        cores: machine::cores(),
        memory_total: memory.map(|m| m.total),
        memory_available: memory.map(|m| m.available),
        memory_limit: memory.and_then(|m| m.limit),
        home: home.root().display().to_string(),
        disk_free: machine::free_disk(home.root()),
        caches: vec![folder("runtime", &home.runtime()), folder("models", &home.models()), folder("cache", &home.cache())],
        fixes,
    }
}

#[cfg(feature = "gpu")]
fn adapters() -> Vec<AdapterFound> {
    let found = crate::gpu::adapters().into_iter().map(|a| {
        let device = format!("gpu:{}", a.index);
        AdapterFound { device, name: a.name, driver: a.driver, backend: a.backend, software: a.software }
    });
    found.collect()
}

#[cfg(not(feature = "gpu"))]
fn adapters() -> Vec<AdapterFound> {
    Vec::new()
}

/// Finds and loads the library, installing nothing.
fn load(options: &RuntimeOptions) -> crate::Result<RuntimeFound> {
    let found = Runtime::locate(options)?;
    if let Some(installed) = &found.installed {
        installed.verify()?;
    }
    runtime::init(&found.path)?;
    Ok(RuntimeFound { path: found.path.display().to_string(), version: runtime::version()?, found: found.found.to_string() })
}

fn folder(name: &'static str, path: &Path) -> Folder {
    let (mut files, mut bytes) = (0, 0);
    let mut left = vec![path.to_path_buf()];
    while let Some(one) = left.pop() {
        for entry in fs::read_dir(one).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(m) if m.is_dir() => left.push(entry.path()),
                Ok(m) => (files, bytes) = (files + 1, bytes + m.len()),
                Err(_) => {}
            }
        }
    }
    Folder { name, path: path.display().to_string(), files, bytes }
}

fn print(f: &Findings) -> std::io::Result<()> {
    let row = |key: &str, value: &str| out(format_args!("{key:<10} {value}"));
    row("lastmile", f.version)?;
    match &f.runtime {
        Some(r) => {
            row("runtime", &format!("ONNX Runtime {}, {}", r.version, r.found))?;
            row("", &r.path)?;
        }
        None => row("runtime", &format!("none: {}", f.runtime_error.as_deref().unwrap_or_default().replace('\n', "\n           ")))?,
    }
    let (present, absent): (Vec<_>, Vec<_>) = f.devices.iter().partition(|d| d.present);
    for d in present {
        row("device", &format!("{:<9} {}", d.device, d.why_not.as_deref().unwrap_or("works")))?;
    }
    if !absent.is_empty() {
        let names: Vec<_> = absent.iter().map(|d| d.device.as_str()).collect();
        row("", &format!("not in this runtime: {}", names.join(", ")))?;
    }
    if let Some(auto) = &f.auto {
        row("auto", auto)?;
    }
    match f.gpus.as_slice() {
        [] => row("GPUs", "none listed by the system")?,
        gpus => gpus.iter().try_for_each(|name| row("GPU", name))?,
    }
    for a in &f.adapters {
        let software = if a.software { ", software: only by its number" } else { "" };
        row("grading", &format!("{:<9} {} ({}{software})", a.device, a.name, a.backend))?;
    }
    row("cores", &f.cores.to_string())?;
    if let (Some(total), Some(available)) = (f.memory_total, f.memory_available) {
        let limit = f.memory_limit.map_or(String::new(), |l| format!(", limited to {} by the container", gib(l)));
        row("memory", &format!("{} free of {}{limit}", gib(available), gib(total)))?;
    }
    row("home", &format!("{}{}", f.home, f.disk_free.map_or(String::new(), |d| format!(" ({} free)", gib(d)))))?;
    for c in &f.caches {
        let count = match c.files {
            0 => "empty".to_string(),
            n => format!("{n} files, {:.1} MB", c.bytes as f64 / 1e6),
        };
        row(c.name, &count)?;
    }
    match f.fixes.as_slice() {
        [] => out("\nnothing to fix"),
        fixes => {
            out("\nto do:")?;
            fixes.iter().try_for_each(|fix| out(format_args!("  {fix}")))
        }
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
