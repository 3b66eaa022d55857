//! ONNX Runtime: finding its library (or having it installed) and loading it.
//!
//! The library is looked for in this order: the one named with `--onnxruntime`, the one in `ORT_DYLIB_PATH`, one beside the
//! program, the one installed in the home folder, one in the active or the system's Python (found there, never imported).
//! A library that was named must work; one that was only found may be passed over, and the reason is told.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use super::home::Home;
use super::install::{self, Installed, Variant, find_program};
use crate::error::{Error, Result};

/// The oldest release whose interface is used: 1 and this.
pub(super) const MINOR_VERSION: u32 = ort::MINOR_VERSION;

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

/// How a library was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Option,
    Variable,
    BesideProgram,
    Home,
    Python,
}

impl Found {
    /// Whether the user named this very file, so that no other may take its place.
    fn named(self) -> bool {
        matches!(self, Self::Option | Self::Variable)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Option => "named with --onnxruntime",
            Self::Variable => "named in ORT_DYLIB_PATH",
            Self::BesideProgram => "beside the program",
            Self::Home => "installed by lastmile",
            Self::Python => "part of a Python package",
        })
    }
}

/// A library file and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    pub path: PathBuf,
    pub found: Found,
    /// What was installed, if lastmile installed it.
    pub installed: Option<Installed>,
}

impl Runtime {
    /// The library that [`start`] tries first, without loading or installing anything.
    ///
    /// # Errors
    /// [`Error::Runtime`] if a named library does not exist, or nothing is found.
    pub fn locate(options: &RuntimeOptions) -> Result<Self> {
        let found = Self::nearby(options)?.or_else(|| Self::python(options));
        found.ok_or_else(|| install::not_found(options.install))
    }

    /// Like [`Runtime::locate`], but a missing library is installed; `say` gets a line before that happens.
    ///
    /// # Errors
    /// As [`Runtime::locate`] and [`install::install`].
    pub fn ensure(options: &RuntimeOptions, say: &mut dyn FnMut(&str)) -> Result<Self> {
        match Self::nearby(options)?.or_else(|| Self::python(options)) {
            Some(found) => found.intact(options, say),
            None => Self::fresh(options, say),
        }
    }

    /// Looks everywhere but in Python, which is slow to ask.
    fn nearby(options: &RuntimeOptions) -> Result<Option<Self>> {
        for (path, found) in [(&options.path, Found::Option), (&options.env_path, Found::Variable)] {
            let Some(path) = path else { continue };
            let path = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
            if !path.is_file() {
                return Err(Error::runtime(format!("{} ({found}) is not a file", path.display()), "the path of the library itself"));
            }
            return Ok(Some(Self { path, found, installed: None }));
        }
        if let Some(path) = options.executable_dir.as_deref().and_then(library_in) {
            return Ok(Some(Self { path, found: Found::BesideProgram, installed: None }));
        }
        Ok(install::current(&options.home).map(|i| Self { path: i.path(), found: Found::Home, installed: Some(i) }))
    }

    /// Looks in the active Python environment, then in the packages of the `python3` that is called.
    fn python(options: &RuntimeOptions) -> Option<Self> {
        let found = |packages: PathBuf| {
            let path = library_in(&packages.join("onnxruntime").join("capi"))?;
            Some(Self { path, found: Found::Python, installed: None })
        };
        let active = options.virtual_env.as_deref().map(site_packages).unwrap_or_default();
        active.into_iter().find_map(found).or_else(|| {
            let python = find_program(options, "python3")?;
            // -I: neither the current folder nor the user's environment has a say. Nothing is imported but the standard library.
            let ask = ["-I", "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"];
            let output = Command::new(python).args(ask).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
            found(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
        })
    }

    fn fresh(options: &RuntimeOptions, say: &mut dyn FnMut(&str)) -> Result<Self> {
        let installed = install::install(options, Variant::Cpu, say)?;
        Ok(Self { path: installed.path(), found: Found::Home, installed: Some(installed) })
    }

    /// Checks an installed library's hash (29 MB in about 20 ms); a damaged one is installed again where that is allowed.
    fn intact(self, options: &RuntimeOptions, say: &mut dyn FnMut(&str)) -> Result<Self> {
        let Some(installed) = &self.installed else { return Ok(self) };
        match installed.verify() {
            Ok(()) => Ok(self),
            Err(e) if options.install != Install::Allowed => Err(e),
            Err(e) => {
                say(&e.to_string());
                let again = install::install(options, installed.variant, say)?;
                Ok(Self { path: again.path(), found: Found::Home, installed: Some(again) })
            }
        }
    }
}

/// Finds or installs the library and loads it. The first call in a process decides; later ones return the same.
///
/// # Errors
/// [`Error::Runtime`]: nothing found and nothing may be installed, or what was found does not load.
pub fn start(options: &RuntimeOptions, say: &mut dyn FnMut(&str)) -> Result<Runtime> {
    static STARTED: Mutex<Option<Runtime>> = Mutex::new(None);
    let mut started = STARTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(runtime) = started.as_ref() {
        return Ok(runtime.clone());
    }
    let mut runtime = Runtime::ensure(options, say)?;
    if let Err(e) = init(&runtime.path) {
        // One that merely lies around (an old Python package, say) is no reason to give up; one that was named is.
        if runtime.found.named() || runtime.found == Found::Home {
            return Err(e);
        }
        say(&format!("passing over {} ({}): {e}", runtime.path.display(), runtime.found));
        let installed = install::current(&options.home).filter(|i| i.verify().is_ok());
        runtime = match installed {
            Some(i) => Runtime { path: i.path(), found: Found::Home, installed: Some(i) },
            None => Runtime::fresh(options, say)?,
        };
        init(&runtime.path)?;
    }
    *started = Some(runtime.clone());
    Ok(runtime)
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
        if *before == path {
            return Ok(());
        }
        let fault = format!("{} cannot be loaded because {} is in use", path.display(), before.display());
        return Err(Error::runtime(fault, "one library per run"));
    }
    complete(&path)?;
    // Always by absolute path and before anything else: ort alone would look elsewhere and panic.
    let builder = ort::init_from(&path).map_err(|e| refused(&path, &e))?;
    let environment = builder
        .with_name("lastmile")
        .with_telemetry(false)
        .build()
        .map_err(|e| Error::runtime(format!("{}: {e}", path.display()), "another build of ONNX Runtime"))?;
    environment.set_log_level(ort::logging::LogLevel::Error);
    let _ = ENVIRONMENT.set(environment);
    *loaded = Some(path);
    Ok(())
}

/// The environment sessions are opened in.
pub(super) fn environment() -> Result<&'static ort::environment::Environment> {
    ENVIRONMENT.get().ok_or_else(|| Error::Internal("the ONNX Runtime was used before it was loaded".into()))
}

/// The version of the loaded library, for example "1.31.1".
///
/// # Errors
/// An internal error if none is loaded.
#[allow(unsafe_code)]
pub fn version() -> Result<String> {
    let loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let path = loaded.as_ref().ok_or_else(|| Error::Internal("the ONNX Runtime was asked for its version before it was loaded".into()))?;
    let unknown = |e: libloading::Error| Error::runtime(format!("{}: {e}", path.display()), "another build of ONNX Runtime");
    // SAFETY: this library is loaded and initialised already (LOADED says so), so opening it again only counts a reference and
    // runs nothing. `OrtGetApiBase` has this signature in every version (onnxruntime_c_api.h) and returns a static table whose
    // `GetVersionString` returns a static C string.
    let text = unsafe {
        let library = libloading::Library::new(path).map_err(unknown)?;
        let base = library.get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase").map_err(unknown)?();
        std::ffi::CStr::from_ptr(((*base).GetVersionString)()).to_string_lossy().into_owned()
    };
    Ok(text)
}

/// Why a file was refused as a library, and what to do.
/// That an ELF library is as long as its headers say: the loader maps what is not there, and the program dies of a bus error.
fn complete(path: &Path) -> Result<()> {
    use std::io::Read;
    let mut head = [0; 64];
    let Ok(mut file) = std::fs::File::open(path) else { return Ok(()) };
    // Other kinds of files, and what cannot be read at all, are the loader's to refuse.
    if file.read_exact(&mut head).is_err() || head[..6] != *b"\x7fELF\x02\x01" {
        return Ok(());
    }
    let number = |at: usize, bytes: usize| head[at..at + bytes].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    // The table of sections stands at the end.
    let (sections, size, count) = (number(40, 8), number(58, 2), number(60, 2));
    let length = file.metadata().map_or(u64::MAX, |m| m.len());
    if sections.saturating_add(size * count) > length {
        let fault = format!("{} is cut off: {length} bytes of {}", path.display(), sections.saturating_add(size * count));
        return Err(Error::runtime(fault, "`lastmile runtime install`, or another library with --onnxruntime"));
    }
    Ok(())
}

fn refused(path: &Path, e: &ort::LoadDynamicError) -> Error {
    use ort::LoadDynamicError as E;
    let at = path.display();
    let hint = "`lastmile runtime install`, or another library with --onnxruntime";
    match e {
        E::Dlopen { error, .. } => {
            // The system's own words are in the source; they often repeat the path.
            let said = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
            let said = said.trim_start_matches(&*path.to_string_lossy()).trim_start_matches(": ").to_string();
            Error::runtime(format!("{at} cannot be loaded: {said}"), hint)
        }
        E::MissingApi { .. } => Error::runtime(format!("{at} is a library, but not ONNX Runtime"), hint),
        E::BadVersion { version_str, .. } => {
            Error::runtime(format!("{at} is version {version_str}; 1.{} or later is needed", ort::MINOR_VERSION), hint)
        }
        E::InvalidVersionString => Error::runtime(format!("{at} does not say its version"), hint),
    }
}

/// The ONNX Runtime library in a folder; the newest if there are several.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).filter(|p| is_library(p)).collect();
    found.sort();
    found.pop()
}

/// `libonnxruntime.so`, `libonnxruntime.so.1.31.1`, `libonnxruntime.1.31.1.dylib`, `onnxruntime.dll`.
fn is_library(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return false };
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let Some(rest) = name.strip_prefix(prefix).and_then(|n| n.strip_prefix("onnxruntime")) else { return false };
    let version = |v: &str| v.chars().all(|c| c.is_ascii_digit() || c == '.');
    rest.strip_suffix(suffix).is_some_and(version) || rest.strip_prefix(suffix).is_some_and(version)
}

/// The package folders of a Python environment, on any system.
fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let mut folders = vec![environment.join("Lib").join("site-packages")];
    let versions = std::fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
    folders.extend(versions.map(|e| e.path().join("site-packages")).filter(|p| p.is_dir()));
    folders
}

/// Loads the library for a test, installing it once into `target/test-home`; false (and a note) where that is not possible,
/// as without pip or network.
#[cfg(test)]
pub(crate) fn for_tests() -> bool {
    let options = RuntimeOptions {
        home: Home::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-home")),
        path: None,
        env_path: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
        executable_dir: None,
        virtual_env: None,
        search_path: std::env::var_os("PATH"),
        install: Install::Allowed,
    };
    let started = start(&options, &mut |line| eprintln!("{line}"));
    if let Err(e) = &started {
        // A suite that skips everything must not pass for a green one where the runtime is promised.
        assert!(std::env::var_os("CI").is_none(), "{e}");
        eprintln!("skipped, no runtime: {e}");
    }
    started.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_library_that_was_cut_off_is_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libonnxruntime.so");
        let mut elf = vec![0u8; 4096];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[40..48].copy_from_slice(&3968u64.to_le_bytes());
        (elf[58], elf[60]) = (64, 2);
        fs::write(&path, &elf).unwrap();
        assert!(complete(&path).is_ok());
        for length in [4095, 4000, 100, 64] {
            fs::write(&path, &elf[..length]).unwrap();
            let said = complete(&path).unwrap_err().to_string();
            assert!(said.contains(&format!("cut off: {length} bytes of 4096")), "{said}");
        }
        for other in [&b"MZ"[..], b"", b"\x7fELF"] {
            fs::write(&path, other).unwrap();
            assert!(complete(&path).is_ok(), "the loader tells");
        }
    }

    fn options(root: &Path) -> RuntimeOptions {
        RuntimeOptions {
            home: Home::new(root.join("home")),
            path: None,
            env_path: None,
            executable_dir: Some(root.join("bin")),
            virtual_env: None,
            search_path: None,
            install: Install::Offline,
        }
    }

    fn library(folder: &Path) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let path = folder.join(format!("{prefix}onnxruntime{suffix}"));
        fs::write(&path, "library").unwrap();
        path
    }

    #[test]
    fn the_order_of_places_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path());
        let e = Runtime::locate(&options).unwrap_err();
        assert!(e.to_string().contains("LASTMILE_OFFLINE") && e.to_string().contains("FILE.whl"), "{e}");

        let packages = dir.path().join("venv").join("lib").join("python3.12").join("site-packages");
        let python = library(&packages.join("onnxruntime").join("capi"));
        options.virtual_env = Some(dir.path().join("venv"));
        let found = Runtime::locate(&options).unwrap();
        assert_eq!((found.path, found.found), (python, Found::Python));

        let beside = library(&dir.path().join("bin"));
        let found = Runtime::locate(&options).unwrap();
        assert_eq!((found.path, found.found), (beside, Found::BesideProgram));

        let variable = library(&dir.path().join("variable"));
        options.env_path = Some(variable.clone());
        assert_eq!(Runtime::locate(&options).unwrap().path, variable);

        let named = library(&dir.path().join("named"));
        options.path = Some(named.clone());
        let found = Runtime::locate(&options).unwrap();
        assert_eq!((found.path, found.found), (named, Found::Option));

        options.path = Some(dir.path().join("nowhere.so"));
        assert!(Runtime::locate(&options).unwrap_err().to_string().contains("nowhere.so (named with --onnxruntime) is not a file"));
    }

    #[test]
    fn a_library_is_told_from_its_neighbours() {
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        assert!(is_library(format!("{prefix}onnxruntime{suffix}").as_ref()));
        assert!(is_library(format!("{prefix}onnxruntime{suffix}.1.31.1").as_ref()));
        assert!(is_library(format!("{prefix}onnxruntime.1.31.1{suffix}").as_ref()));
        assert!(!is_library(format!("{prefix}onnxruntime_providers_shared{suffix}").as_ref()));
        assert!(!is_library("onnxruntime_pybind11_state.so".as_ref()));
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = library(dir.path());
        match init(&path) {
            Err(Error::Runtime { what, hint }) => assert!(what.contains("onnxruntime") && !hint.is_empty(), "{what}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_installed_library_loads_and_says_its_version() {
        if for_tests() {
            let minor: u32 = version().unwrap().split('.').nth(1).unwrap().parse().unwrap();
            assert!(minor >= ort::MINOR_VERSION);
        }
    }
}
