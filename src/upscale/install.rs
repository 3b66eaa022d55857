//! Installing ONNX Runtime: a pinned wheel is downloaded with pip, checked, and its library laid into the home folder.
//!
//! The wheel is only an archive here: nothing in it depends on Python, and the platform is named to pip explicitly, so the
//! user's own Python version and "externally managed" environments do not matter. What is installed lies in a folder of its
//! own under `HOME/runtime` with a note (`installed.toml`) of what it is and what its hashes are.
//!
//! Over 500 lines because more than half of them are the tests of everything that can go wrong.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::home::Home;
use super::machine;
use super::pins::{PINS, Pin};
use super::runtime::{Install, RuntimeOptions};
use super::wheel::{sha256, unpack};
use crate::error::{Error, Result};

/// What can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// ONNX Runtime for processors.
    Cpu,
    /// ONNX Runtime for NVIDIA GPUs; CUDA 13 and cuDNN 9 must be there already.
    Cuda,
    /// A plug-in that adds any Vulkan, Direct3D 12 or Metal GPU to an ONNX Runtime.
    WebGpu,
}

impl Variant {
    /// The name `lastmile runtime install` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::WebGpu => "webgpu",
        }
    }
}

/// What lies in a folder under `HOME/runtime`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    pub variant: Variant,
    pub package: String,
    pub version: String,
    /// File name of the library in the folder.
    pub library: String,
    pub library_sha256: String,
    pub wheel_sha256: String,
    /// Licence files in the folder.
    pub licences: Vec<String>,
    /// The folder; not written to the note.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Installed {
    /// The library's full path.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.library)
    }

    /// Whether the library still is what was installed.
    ///
    /// # Errors
    /// [`Error::Runtime`] if it is missing, cannot be read or has another sha256.
    pub fn verify(&self) -> Result<()> {
        let path = self.path();
        let found = sha256(&path).map_err(|e| Error::runtime(format!("{}: {e}", path.display()), self.again()))?;
        if found == self.library_sha256 {
            return Ok(());
        }
        let fault = format!("{} is damaged (sha256 {}, installed was {})", path.display(), short(&found), short(&self.library_sha256));
        Err(Error::runtime(fault, self.again()))
    }

    fn again(&self) -> String {
        format!("delete {} and run `lastmile runtime install {}`", self.folder.display(), self.variant.name())
    }
}

/// The installed ONNX Runtime to use (the one installed last), if there is one.
pub fn current(home: &Home) -> Option<Installed> {
    let name = fs::read_to_string(home.runtime().join("current")).ok()?;
    read_note(&home.runtime().join(name.trim()))
}

/// Everything installed, sorted by folder name.
pub fn all(home: &Home) -> Vec<Installed> {
    let Ok(entries) = fs::read_dir(home.runtime()) else { return Vec::new() };
    let mut found: Vec<_> = entries.flatten().filter_map(|e| read_note(&e.path())).collect();
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    found
}

/// The installed WebGPU plug-in, if there is one.
pub fn webgpu(home: &Home) -> Option<Installed> {
    all(home).into_iter().rfind(|i| i.variant == Variant::WebGpu)
}

fn read_note(folder: &Path) -> Option<Installed> {
    let text = fs::read_to_string(folder.join("installed.toml")).ok()?;
    let mut note: Installed = toml::from_str(&text).ok()?;
    // The name comes from a file: it must stay inside the folder.
    if Path::new(&note.library).components().count() != 1 {
        return None;
    }
    note.folder = folder.to_path_buf();
    Some(note)
}

/// Downloads and installs the pinned library, unless it is there and intact. `say` gets one line before anything is done.
///
/// # Errors
/// [`Error::Runtime`], naming the ways out: downloading is forbidden, there is no wheel for this platform, no pip, no
/// network, a wrong hash, or a home that cannot be written.
pub fn install(options: &RuntimeOptions, variant: Variant, say: &mut dyn FnMut(&str)) -> Result<Installed> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let pin = PINS.iter().find(|p| (p.variant, p.os, p.arch) == (variant, os, arch)).ok_or_else(|| {
        let way = if variant == Variant::Cpu {
            "a library of version 1.24 or later, named with --onnxruntime or ORT_DYLIB_PATH"
        } else {
            "--device cpu"
        };
        Error::runtime(format!("there is no `{}` wheel for {os} on {arch}", variant.name()), way)
    })?;
    install_pin(options, pin, say)
}

fn install_pin(options: &RuntimeOptions, pin: &Pin, say: &mut dyn FnMut(&str)) -> Result<Installed> {
    let what = format!("{} {}", pin.package, pin.version);
    match options.install {
        Install::Allowed => {}
        Install::Forbidden => return Err(missing(pin, "--no-install forbids installing it")),
        Install::Offline => return Err(missing(pin, "LASTMILE_OFFLINE forbids downloading it")),
    }
    let runtime = options.home.runtime();
    let _lock = lock(&runtime)?;
    let folder = runtime.join(format!("{}-{}", pin.package, pin.version));
    // Another process may have installed it while this one waited for the lock.
    if let Some(there) = read_note(&folder).filter(|there| there.verify().is_ok()) {
        make_current(&options.home, &there)?;
        return Ok(there);
    }
    room(&runtime, pin.wheel_bytes * 5)?;
    say(&format!(
        "installing {what} ({} MB, MIT licence) into {}; --no-install or LASTMILE_OFFLINE=1 forbids this",
        pin.wheel_bytes.div_ceil(1_000_000),
        folder.display()
    ));
    let temp = Temp::new(&runtime)?;
    let wheel = download(options, pin, &temp.0)?;
    let found = sha256(&wheel).map_err(|e| Error::io(&wheel, e))?;
    if found != pin.wheel_sha256 {
        let fault =
            format!("the downloaded {what} is not the one expected (sha256 {}, expected {})", short(&found), short(pin.wheel_sha256));
        return Err(Error::runtime(fault, ways_out(pin)));
    }
    let installed = unpack(&wheel, &temp.0, pin.variant, pin.package, pin.version, &found)?;
    if installed.library_sha256 != pin.library_sha256 {
        let fault = format!("the library in {what} is not the one expected (sha256 {})", short(&installed.library_sha256));
        return Err(Error::runtime(fault, ways_out(pin)));
    }
    let installed = place(installed, &temp, &folder)?;
    make_current(&options.home, &installed)?;
    Ok(installed)
}

/// Installs the library out of a wheel file that is already here (`onnxruntime`, `onnxruntime-gpu` or
/// `onnxruntime-ep-webgpu`, any version that works; the hash of an unknown one cannot be checked and `say` is told so).
///
/// # Errors
/// [`Error::Runtime`] if the file is not such a wheel or the home cannot be written.
pub fn install_wheel(home: &Home, wheel: &Path, say: &mut dyn FnMut(&str)) -> Result<Installed> {
    let name = wheel.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
    let mut parts = name.split('-');
    let (package, version) = (parts.next().unwrap_or_default().replace('_', "-"), parts.next().unwrap_or_default().to_string());
    let variant = match package.as_str() {
        "onnxruntime" => Variant::Cpu,
        "onnxruntime-gpu" => Variant::Cuda,
        "onnxruntime-ep-webgpu" => Variant::WebGpu,
        _ => {
            let fault = format!("{} is not a wheel of onnxruntime, onnxruntime-gpu or onnxruntime-ep-webgpu", wheel.display());
            return Err(Error::runtime(fault, "the file as pip downloads it, its name unchanged"));
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".+_".contains(c);
    if version.is_empty() || version.starts_with('.') || !version.chars().all(plain) {
        return Err(Error::runtime(
            format!("{}: no version in the name", wheel.display()),
            "the file as pip downloads it, its name unchanged",
        ));
    }
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if variant != Variant::WebGpu && release < (1, super::runtime::MINOR_VERSION) {
        let fault = format!("{}: version 1.{} or later is needed", wheel.display(), super::runtime::MINOR_VERSION);
        return Err(Error::runtime(fault, "a newer wheel"));
    }
    let runtime = home.runtime();
    let _lock = lock(&runtime)?;
    let found = sha256(wheel).map_err(|e| Error::runtime(format!("{}: {e}", wheel.display()), "a wheel file"))?;
    let folder = runtime.join(format!("{package}-{version}"));
    let there = read_note(&folder).filter(|there| there.wheel_sha256 == found && there.verify().is_ok());
    let installed = match there {
        Some(there) => there,
        None => {
            if !PINS.iter().any(|p| p.wheel_sha256 == found) {
                say(&format!("{name} is not a pinned wheel: it is used as it is (sha256 {})", short(&found)));
            }
            let temp = Temp::new(&runtime)?;
            place(unpack(wheel, &temp.0, variant, &package, &version, &found)?, &temp, &folder)?
        }
    };
    make_current(home, &installed)?;
    Ok(installed)
}

/// The error for a library that is missing and may not be installed.
pub fn not_found(install: Install) -> Error {
    let why = match install {
        Install::Allowed => "it is not installed",
        Install::Forbidden => "it is not installed, and --no-install forbids installing it",
        Install::Offline => "it is not installed, and LASTMILE_OFFLINE forbids downloading it",
    };
    Error::runtime(why, "`lastmile runtime install` with a network, `lastmile runtime install FILE.whl`, or --onnxruntime LIBRARY")
}

fn missing(pin: &Pin, why: &str) -> Error {
    Error::runtime(format!("{} {} is not installed, and {why}", pin.package, pin.version), ways_out(pin))
}

/// The ways out when a download is not possible.
fn ways_out(pin: &Pin) -> String {
    let (package, version, platform) = (pin.package, pin.version, pin.platform);
    format!(
        "`lastmile runtime install` where there is a network; or fetch the wheel elsewhere (pip download --no-deps --only-binary=:all: \
         --python-version 3.12 --platform {platform} {package}=={version}) and `lastmile runtime install FILE.whl`; or --onnxruntime LIBRARY"
    )
}

/// Holds the folder for one process at a time; the lock goes when the file is closed, however the process ends.
fn lock(runtime: &Path) -> Result<File> {
    let refuse = |e: std::io::Error| {
        Error::runtime(
            format!("{} cannot be written: {e}", runtime.display()),
            "LASTMILE_HOME=/a/folder/you/may/write, or --onnxruntime LIBRARY",
        )
    };
    fs::create_dir_all(runtime).map_err(refuse)?;
    let file = File::options().create(true).truncate(false).write(true).open(runtime.join("lock")).map_err(refuse)?;
    file.lock().map_err(refuse)?;
    Ok(file)
}

fn room(folder: &Path, bytes: u64) -> Result<()> {
    match machine::free_disk(folder) {
        Some(free) if free < bytes => Err(Error::runtime(
            format!("{} MB are free at {}, {} are needed", free / 1_000_000, folder.display(), bytes.div_ceil(1_000_000)),
            "LASTMILE_HOME on another disk",
        )),
        _ => Ok(()),
    }
}

/// A folder that goes away with everything in it.
struct Temp(PathBuf);

impl Temp {
    fn new(runtime: &Path) -> Result<Self> {
        // Only the holder of the lock makes one, so an old one is a leftover of a process that was killed.
        let path = runtime.join("incoming");
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(|e| Error::runtime(format!("{}: {e}", path.display()), "LASTMILE_HOME=/a/folder/you/may/write"))?;
        Ok(Self(path))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Has the first pip that is there download the wheel into `folder`.
fn download(options: &RuntimeOptions, pin: &Pin, folder: &Path) -> Result<PathBuf> {
    /// Programs that can be pip, and what comes before `download`.
    const PIPS: [(&str, &[&str]); 6] = [
        ("python3", &["-m", "pip"]),
        ("python", &["-m", "pip"]),
        ("pip3", &[]),
        ("pip", &[]),
        ("py", &["-3", "-m", "pip"]),
        ("uv", &["tool", "run", "pip"]),
    ];
    let requirement = format!("{}=={}", pin.package, pin.version);
    let mut failed = None;
    for (name, before) in PIPS {
        let Some(program) = find_program(options, name) else { continue };
        let output = Command::new(&program)
            .args(before)
            .args(["download", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "20"])
            .args(["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12", "--platform", pin.platform])
            .arg("--dest")
            .arg(folder)
            .arg(&requirement)
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .stdin(Stdio::null())
            .output();
        let said = match output {
            Ok(done) if done.status.success() => match wheel_in(folder) {
                Some(wheel) => return Ok(wheel),
                None => "it left no wheel".to_string(),
            },
            Ok(done) => last_line(&done.stderr),
            Err(e) => e.to_string(),
        };
        let call = std::iter::once(name).chain(before.iter().copied()).collect::<Vec<_>>().join(" ");
        // Debian's python3 comes without pip: that is no failure of a download, the next one may have it.
        if !said.contains("No module named pip") {
            failed = Some(format!("`{call} download {requirement}` failed: {said}"));
        }
    }
    Err(match failed {
        Some(fault) => Error::runtime(fault, ways_out(pin)),
        None => {
            let apt = if pin.os == "linux" {
                "`apt-get install python3-pip` (or your system's word for it) and again; or "
            } else {
                "install Python with pip and again; or "
            };
            Error::runtime(
                format!("{requirement} is not installed, and there is no pip to download it (looked for python3 -m pip, pip3, uv)"),
                format!("{apt}`lastmile runtime install FILE.whl` with a wheel from elsewhere; or --onnxruntime LIBRARY"),
            )
        }
    })
}

/// The first executable file of that name on the search path.
pub(super) fn find_program(options: &RuntimeOptions, name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(options.search_path.as_ref()?).map(|dir| dir.join(&file)).find(|p| p.is_file())
}

fn wheel_in(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "whl"))
}

/// What a program said last, which for pip is the reason.
fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("no reason given");
    line.trim_start_matches("ERROR: ").chars().take(300).collect()
}

/// Moves what was unpacked to its final folder in one step.
fn place(mut installed: Installed, temp: &Temp, folder: &Path) -> Result<Installed> {
    let refuse = |e| Error::runtime(format!("{} cannot be written: {e}", folder.display()), "LASTMILE_HOME=/a/folder/you/may/write");
    if folder.exists() {
        // A rename cannot replace a folder that holds files: the old one steps aside first and goes with `temp`.
        fs::rename(folder, temp.0.join("old")).map_err(refuse)?;
    }
    fs::rename(&installed.folder, folder).map_err(refuse)?;
    installed.folder = folder.to_path_buf();
    Ok(installed)
}

/// Notes that this ONNX Runtime is the one to use. A plug-in is not one.
fn make_current(home: &Home, installed: &Installed) -> Result<()> {
    if installed.variant == Variant::WebGpu {
        return Ok(());
    }
    let name = installed.folder.file_name().unwrap_or_default().to_string_lossy();
    let (at, new) = (home.runtime().join("current"), home.runtime().join("current.new"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(name.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &at)
    };
    write().map_err(|e| Error::io(&at, e))
}

/// The beginning of a hash, enough to recognise it.
fn short(sha256: &str) -> &str {
    sha256.get(..16).unwrap_or(sha256)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::os::unix::fs::PermissionsExt;

    /// A home, a fake pip and the wheel it gives.
    struct Stage {
        dir: tempfile::TempDir,
        pin: Pin,
    }

    fn leak(text: String) -> &'static str {
        Box::leak(text.into_boxed_str())
    }

    fn library_name() -> String {
        format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
    }

    fn wheel(path: &Path, files: &[(&str, &[u8])]) {
        let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, bytes) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    impl Stage {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let library = format!("onnxruntime/capi/{}", library_name());
            let pybind = format!("onnxruntime/capi/onnxruntime_pybind11_state{}", std::env::consts::DLL_SUFFIX);
            let file = dir.path().join("onnxruntime-9.9.9-x.whl");
            wheel(
                &file,
                &[(&library, b"the library"), (&pybind, b"no"), ("onnxruntime/LICENSE", b"MIT"), ("onnxruntime/__init__.py", b"no")],
            );
            let hash = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
            let pin = Pin {
                variant: Variant::Cpu,
                os: "linux",
                arch: "x86_64",
                package: "onnxruntime",
                version: "9.9.9",
                platform: "any",
                wheel_sha256: leak(sha256(&file).unwrap()),
                wheel_bytes: 1000,
                library_sha256: leak(hash(b"the library")),
            };
            Self { dir, pin }
        }

        fn options(&self) -> RuntimeOptions {
            RuntimeOptions {
                home: Home::new(self.dir.path().join("home")),
                path: None,
                env_path: None,
                executable_dir: None,
                virtual_env: None,
                search_path: Some(self.dir.path().join("bin").into_os_string()),
                install: Install::Allowed,
            }
        }

        /// A `pip3` that runs these shell lines; `$dest` is the folder it was told. Counts its calls in `calls`.
        fn pip(&self, lines: &str) {
            let bin = self.dir.path().join("bin");
            fs::create_dir_all(&bin).unwrap();
            let at = self.dir.path().display();
            let head = format!("#!/bin/sh\necho x >> '{at}/calls'\nwhile [ \"$1\" != --dest ]; do shift; done; dest=$2\ncd '{at}'\n");
            fs::write(bin.join("pip3"), head + lines).unwrap();
            fs::set_permissions(bin.join("pip3"), fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn calls(&self) -> usize {
            fs::read_to_string(self.dir.path().join("calls")).map_or(0, |t| t.lines().count())
        }

        fn install(&self) -> (Result<Installed>, Vec<String>) {
            let mut said = Vec::new();
            let result = install_pin(&self.options(), &self.pin, &mut |line| said.push(line.to_string()));
            (result, said)
        }

        /// What lies in the runtime folder, without the lock.
        fn left(&self) -> Vec<String> {
            let entries = fs::read_dir(self.options().home.runtime()).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).filter(|n| n != "lock").collect();
            names.sort();
            names
        }
    }

    const GIVE: &str = "/bin/cp onnxruntime-9.9.9-x.whl \"$dest\"\n";

    #[test]
    fn a_wheel_becomes_the_current_library() {
        let stage = Stage::new();
        stage.pip(GIVE);
        let (installed, said) = stage.install();
        let installed = installed.unwrap();
        assert_eq!(fs::read(installed.path()).unwrap(), b"the library");
        assert_eq!(installed.licences, ["LICENSE"]);
        assert_eq!(current(&stage.options().home).unwrap(), installed);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("--no-install") && said[0].contains("MIT"), "{said:?}");
        assert_eq!(stage.left(), ["current", "onnxruntime-9.9.9"]);
        let mut files: Vec<_> = fs::read_dir(&installed.folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let mut expected = vec!["LICENSE".to_string(), "installed.toml".into(), library_name()];
        expected.sort();
        assert_eq!(files, expected);
        // Nothing is downloaded twice.
        assert!(stage.install().1.is_empty());
        assert_eq!(stage.calls(), 1);
    }

    #[test]
    fn a_damaged_library_is_noticed_and_replaced() {
        let stage = Stage::new();
        stage.pip(GIVE);
        let installed = stage.install().0.unwrap();
        fs::write(installed.path(), "the librarz").unwrap();
        let e = installed.verify().unwrap_err();
        assert!(e.to_string().contains("damaged"), "{e}");
        let again = stage.install().0.unwrap();
        again.verify().unwrap();
        assert_eq!((stage.calls(), stage.left()), (2, vec!["current".to_string(), "onnxruntime-9.9.9".into()]));
    }

    #[test]
    fn another_wheel_than_the_pinned_one_is_refused() {
        let stage = Stage::new();
        stage.pip("echo evil > \"$dest/onnxruntime-9.9.9-x.whl\"\n");
        let e = stage.install().0.unwrap_err();
        assert!(matches!(e, Error::Runtime { .. }) && e.to_string().contains("not the one expected"), "{e}");
        assert!(stage.left().is_empty(), "{:?}", stage.left());
    }

    #[test]
    fn pips_own_words_are_passed_on() {
        let stage = Stage::new();
        stage.pip("echo 'ERROR: Network is unreachable' >&2; exit 1\n");
        let e = stage.install().0.unwrap_err().to_string();
        assert!(e.contains("`pip3 download onnxruntime==9.9.9` failed: Network is unreachable"), "{e}");
        assert!(e.contains("FILE.whl") && e.contains("--onnxruntime"), "{e}");
    }

    #[test]
    fn without_pip_the_package_to_install_is_named() {
        let stage = Stage::new();
        let e = stage.install().0.unwrap_err().to_string();
        assert!(e.contains("there is no pip") && e.contains("python3-pip"), "{e}");
        // Debian's python3 without pip counts as no pip.
        stage.pip("echo '/usr/bin/python3: No module named pip' >&2; exit 1\n");
        let e = stage.install().0.unwrap_err().to_string();
        assert!(e.contains("there is no pip"), "{e}");
    }

    #[test]
    fn nothing_is_run_when_forbidden() {
        let stage = Stage::new();
        stage.pip(GIVE);
        for (install, word) in [(Install::Forbidden, "--no-install"), (Install::Offline, "LASTMILE_OFFLINE")] {
            let options = RuntimeOptions { install, ..stage.options() };
            let e = install_pin(&options, &stage.pin, &mut |_| panic!("said something")).unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        }
        assert_eq!(stage.calls(), 0);
    }

    #[test]
    fn a_home_that_cannot_be_written_is_named() {
        let stage = Stage::new();
        stage.pip(GIVE);
        fs::write(stage.dir.path().join("home"), "a file where the folder should be").unwrap();
        let e = stage.install().0.unwrap_err().to_string();
        assert!(e.contains("home") && e.contains("LASTMILE_HOME="), "{e}");
    }

    #[test]
    fn many_at_once_install_it_once() {
        let stage = Stage::new();
        stage.pip(&format!("/bin/sleep 0.2\n{GIVE}"));
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| stage.install().0.unwrap())).collect();
            for one in all {
                one.join().unwrap().verify().unwrap();
            }
        });
        assert_eq!(stage.calls(), 1);
    }

    #[test]
    fn a_wheel_cannot_write_outside_its_folder() {
        let stage = Stage::new();
        let file = stage.dir.path().join("onnxruntime-9.9.9-cp312-any.whl");
        let evil = format!("../../{}", library_name());
        wheel(&file, &[(&evil, b"the library"), ("/etc/LICENSE", b"MIT")]);
        let mut said = Vec::new();
        let installed = install_wheel(&stage.options().home, &file, &mut |line| said.push(line.to_string())).unwrap();
        assert_eq!(installed.path(), stage.options().home.runtime().join("onnxruntime-9.9.9").join(library_name()));
        assert!(said[0].contains("not a pinned wheel"), "{said:?}");
        assert!(!stage.dir.path().join(library_name()).exists());
    }

    #[test]
    fn files_that_are_no_usable_wheel_are_refused() {
        let stage = Stage::new();
        let refuse = |name: &str, files: &[(&str, &[u8])]| {
            let file = stage.dir.path().join(name);
            wheel(&file, files);
            install_wheel(&stage.options().home, &file, &mut |_| ()).unwrap_err().to_string()
        };
        assert!(refuse("numpy-2.0-x.whl", &[]).contains("not a wheel of onnxruntime"));
        assert!(refuse("onnxruntime-1.20.1-x.whl", &[]).contains("1.24 or later"));
        assert!(refuse("onnxruntime-1.31.1-x.whl", &[("onnxruntime/readme", b"")]).contains("no ONNX Runtime library"));
        let torn = stage.dir.path().join("onnxruntime-1.32.0-x.whl");
        fs::write(&torn, "PK no zip").unwrap();
        let e = install_wheel(&stage.options().home, &torn, &mut |_| ()).unwrap_err();
        assert!(matches!(e, Error::Runtime { .. }), "{e}");
        assert!(stage.left().is_empty());
    }

    #[test]
    fn pins_are_complete() {
        for pin in PINS {
            assert_eq!((pin.wheel_sha256.len(), pin.library_sha256.len()), (64, 64), "{pin:?}");
            let same = |p: &&Pin| (p.variant, p.os, p.arch) == (pin.variant, pin.os, pin.arch);
            assert_eq!(PINS.iter().filter(same).count(), 1, "{pin:?}");
        }
    }
}
