//! ONNX Runtime: where its library is, and loading it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::home::Home;
use crate::error::{Error, Result};

/// What finding (or installing) the library may use. Environment variables are read by the command line, never here.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Where an installed library lies.
    pub home: Home,
    /// A library named by `--onnxruntime` or the settings file.
    pub path: Option<PathBuf>,
    /// A library named by `ORT_DYLIB_PATH`.
    pub env_path: Option<PathBuf>,
    /// The folder of the running program.
    pub executable_dir: Option<PathBuf>,
    /// The active Python environment (`VIRTUAL_ENV`).
    pub virtual_env: Option<PathBuf>,
    /// Where programs are looked for (`PATH`).
    pub search_path: Option<OsString>,
    /// Whether a missing library may be downloaded.
    pub install: Install,
}

/// Whether a missing library may be downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// It may.
    Allowed,
    /// Forbidden by `--no-install`.
    Forbidden,
    /// Forbidden by `LASTMILE_OFFLINE`.
    Offline,
}

static ENVIRONMENT: OnceLock<ort::environment::Environment> = OnceLock::new();
static LOADED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Loads the library at `path`, once per process; a second call with the same path does nothing.
///
/// # Errors
/// [`Error::Runtime`] if the file is not an ONNX Runtime library of a version that works, or if another one is loaded already.
pub fn init(path: &Path) -> Result<()> {
    let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let path = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
    if let Some(before) = loaded.as_ref() {
        return if *before == path {
            Ok(())
        } else {
            Err(Error::runtime(
                format!("{} cannot be loaded because {} is in use", path.display(), before.display()),
                "one library per run",
            ))
        };
    }
    let builder = ort::init_from(&path).map_err(|e| refused(&path, &e))?;
    let environment = builder
        .with_name("lastmile")
        .build()
        .map_err(|e| Error::runtime(format!("{}: {e}", path.display()), "another build of ONNX Runtime"))?;
    environment.set_log_level(ort::logging::LogLevel::Error);
    let _ = ENVIRONMENT.set(environment);
    *loaded = Some(path);
    Ok(())
}

/// The environment sessions are opened in.
pub(super) fn environment() -> Result<&'static ort::environment::Environment> {
    ENVIRONMENT.get().ok_or_else(|| Error::Internal("a session was opened before the runtime was loaded".into()))
}

/// Why a file was refused as a library, in words that say what to do.
fn refused(path: &Path, e: &ort::LoadDynamicError) -> Error {
    Error::runtime(format!("{} cannot be used: {e}", path.display()), "another library")
}
