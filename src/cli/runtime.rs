//! `lastmile runtime`: which ONNX Runtime is used, and installing one.

use std::path::PathBuf;

use super::{Globals, out, say};
use crate::error::{Error, Exit};
use crate::upscale::home::Home;
use crate::upscale::install::{self, Installed, Variant};
use crate::upscale::runtime::{self, Install, Runtime, RuntimeOptions};

/// Show or install the library that runs networks
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Show which ONNX Runtime is used and what is installed
    Show,
    /// Install a pinned ONNX Runtime: cpu (default), cuda, webgpu (a plug-in for any GPU), or a wheel file
    Install {
        /// cpu, cuda, webgpu or FILE.whl
        #[arg(default_value = "cpu")]
        what: String,
    },
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let options = options(globals);
    match args.what {
        What::Show => show(&options)?,
        What::Install { what } => add(&what, &options)?,
    }
    Ok(Exit::Done)
}

/// What finding the library may use, from flags and the environment.
pub fn options(globals: &Globals) -> RuntimeOptions {
    RuntimeOptions {
        home: Home::new(&globals.home),
        path: globals.onnxruntime.clone(),
        env_path: globals.ort_dylib_path.clone(),
        executable_dir: std::env::current_exe().ok().and_then(|p| Some(p.parent()?.to_path_buf())),
        virtual_env: std::env::var_os("VIRTUAL_ENV").filter(|v| !v.is_empty()).map(PathBuf::from),
        search_path: std::env::var_os("PATH"),
        install: match (globals.offline, globals.no_install) {
            (true, _) => Install::Offline,
            (_, true) => Install::Forbidden,
            _ => Install::Allowed,
        },
    }
}

fn show(options: &RuntimeOptions) -> anyhow::Result<()> {
    let found = Runtime::locate(options)?;
    if let Some(installed) = &found.installed {
        installed.verify()?;
    }
    runtime::init(&found.path)?;
    out(format_args!("library    {}", found.path.display()))?;
    out(format_args!("version    {}", runtime::version()?))?;
    out(format_args!("found      {}", found.found))?;
    for one in install::all(&options.home) {
        let state = one.verify().map_or_else(|_| "damaged", |()| "intact");
        let licences: Vec<_> = one.licences.iter().map(String::as_str).collect();
        out(format_args!("installed  {} {} ({state}; licences: {})", one.package, one.version, licences.join(", ")))?;
    }
    Ok(())
}

fn add(what: &str, options: &RuntimeOptions) -> anyhow::Result<()> {
    let variant = match what {
        "cpu" => Some(Variant::Cpu),
        "cuda" => Some(Variant::Cuda),
        "webgpu" => Some(Variant::WebGpu),
        _ => None,
    };
    let installed = match variant {
        Some(variant) => install::install(options, variant, &mut |line| say(line))?,
        None if what.ends_with(".whl") => install::install_wheel(&options.home, what.as_ref(), &mut |line| say(line))?,
        None => {
            let fault = format!("`{what}` is neither cpu, cuda, webgpu nor a wheel file");
            return Err(Error::usage("runtime install", fault, "lastmile runtime install").into());
        }
    };
    report(&installed)?;
    Ok(())
}

fn report(installed: &Installed) -> std::io::Result<()> {
    out(format_args!("{} {} is installed: {}", installed.package, installed.version, installed.path().display()))?;
    for name in &installed.licences {
        out(format_args!("licence: {}", installed.folder.join(name).display()))?;
    }
    match installed.variant {
        Variant::Cpu => Ok(()),
        Variant::Cuda => {
            say("CUDA 13 and cuDNN 9 must be found by the system's loader too; with pip they come as");
            say(
                "  nvidia-cuda-runtime nvidia-cublas nvidia-cufft nvidia-curand nvidia-cuda-nvrtc nvidia-cudnn-cu13 (NVIDIA's own licences)",
            );
            out("next: lastmile doctor")
        }
        Variant::WebGpu => out("next: lastmile doctor, then --device webgpu"),
    }
}
