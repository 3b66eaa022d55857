//! Taking libraries and licences out of a wheel, which is a ZIP file.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::install::{Installed, Variant};
use crate::error::{Error, Result};

/// Bytes that one file of a wheel may unpack to; the largest known is 284 MB (the CUDA provider).
const LARGEST_FILE: u64 = 1 << 30;

/// Unpacks the libraries and licences of a wheel into `folder/unpacked`, flat, and writes the note.
pub(super) fn unpack(wheel: &Path, folder: &Path, variant: Variant, package: &str, version: &str, wheel_sha256: &str) -> Result<Installed> {
    let fault = |e: &dyn std::fmt::Display| Error::runtime(format!("{}: {e}", wheel.display()), "a wheel as pip downloads it");
    let unpacked = folder.join("unpacked");
    fs::create_dir(&unpacked).map_err(|e| Error::io(&unpacked, e))?;
    let file = File::open(wheel).map_err(|e| fault(&e))?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| fault(&e))?;
    let (mut library, mut licences) = (None, Vec::new());
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(|e| fault(&e))?;
        let path = entry.name().map_err(|e| fault(&e))?.to_string();
        // Only the last part of the name is used, so nothing can be written elsewhere.
        let Some(name) = path.rsplit('/').next().filter(|n| !n.is_empty() && *n != ".." && !n.contains('\\')) else { continue };
        let licence = name.starts_with("LICENSE") || name.starts_with("ThirdParty");
        if !licence && !is_library(name) {
            continue;
        }
        let to = unpacked.join(name);
        let mut out = File::create(&to).map_err(|e| Error::io(&to, e))?;
        let copied = std::io::copy(&mut entry.take(LARGEST_FILE + 1), &mut out).map_err(|e| fault(&e))?;
        if copied > LARGEST_FILE {
            return Err(fault(&format!("`{path}` unpacks to more than {LARGEST_FILE} bytes")));
        }
        out.sync_all().map_err(|e| Error::io(&to, e))?;
        if licence {
            licences.push(name.to_string());
        } else if is_main(name, variant) {
            library = Some(name.to_string());
        }
    }
    let library = library.ok_or_else(|| fault(&"no ONNX Runtime library for this system in it"))?;
    let installed = Installed {
        variant,
        package: package.to_string(),
        version: version.to_string(),
        library_sha256: sha256(&unpacked.join(&library)).map_err(|e| fault(&e))?,
        library,
        wheel_sha256: wheel_sha256.to_string(),
        licences,
        folder: unpacked.clone(),
    };
    let note = toml::to_string(&installed).map_err(|e| Error::Internal(e.to_string()))?;
    let at = unpacked.join("installed.toml");
    fs::write(&at, note).map_err(|e| Error::io(&at, e))?;
    Ok(installed)
}

/// A library of this system, not one that binds Python.
fn is_library(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let dynamic = lower.ends_with(std::env::consts::DLL_SUFFIX) || (cfg!(target_os = "linux") && lower.contains(".so."));
    let wanted = ["onnxruntime", "libonnxruntime", "dxcompiler", "dxil", "directml"].iter().any(|start| lower.starts_with(start));
    dynamic && wanted && !lower.contains("pybind")
}

/// The library to load, among those of a wheel.
fn is_main(name: &str, variant: Variant) -> bool {
    match variant {
        Variant::WebGpu => name.contains("providers_webgpu"),
        Variant::Cpu | Variant::Cuda => !name.contains("providers") && name.contains("onnxruntime"),
    }
}

/// The sha256 of a file in lower-case hexadecimal.
pub(super) fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            n => hash.update(&buffer[..n]),
        }
    }
}
