//! Devices: the processor a network runs on, by name and as an execution provider of ONNX Runtime.

use std::fmt;
use std::str::FromStr;

/// Where a network runs. The number is the index among devices of that kind, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The best device that really works here; the choice and its reason are reported.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU through CUDA.
    Cuda(u32),
    /// An NVIDIA GPU through TensorRT.
    TensorRt(u32),
    /// Any GPU on Windows.
    DirectMl(u32),
    /// GPU and neural engine of a Mac.
    CoreMl,
    /// Intel GPUs and processors.
    OpenVino,
    /// Any GPU with Vulkan, Direct3D 12 or Metal.
    WebGpu(u32),
}

impl Device {
    /// The names `--device` takes, in the order of the help text.
    pub const NAMES: [&'static str; 8] = ["auto", "cpu", "cuda", "tensorrt", "directml", "coreml", "openvino", "webgpu"];

    /// The name without an index.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
            Self::TensorRt(_) => "tensorrt",
            Self::DirectMl(_) => "directml",
            Self::CoreMl => "coreml",
            Self::OpenVino => "openvino",
            Self::WebGpu(_) => "webgpu",
        }
    }

    /// The index among devices of its kind, where there can be several.
    pub fn index(self) -> Option<u32> {
        match self {
            Self::Cuda(n) | Self::TensorRt(n) | Self::DirectMl(n) | Self::WebGpu(n) => Some(n),
            Self::Auto | Self::Cpu | Self::CoreMl | Self::OpenVino => None,
        }
    }

    /// Whether this is something else than the processor (`auto` is not, as it is not known yet).
    pub fn is_gpu(self) -> bool {
        !matches!(self, Self::Auto | Self::Cpu)
    }

    /// How many sessions keep the device busy: one per core on the processor (the caller knows how many), two on a GPU, so
    /// that one tile is copied while another is computed.
    pub fn streams(self, cores: usize) -> usize {
        if self.is_gpu() { 2 } else { cores.max(1) }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index() {
            Some(n) if n > 0 => write!(f, "{}:{n}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, index) = match text.split_once(':') {
            None => (text, None),
            Some((name, number)) => {
                let index: u32 = number.parse().map_err(|_| format!("`{number}` is not a device number; write for example {name}:1"))?;
                (name, Some(index))
            }
        };
        let n = index.unwrap_or(0);
        let device = match name.to_ascii_lowercase().as_str() {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "cuda" => Self::Cuda(n),
            "tensorrt" => Self::TensorRt(n),
            "directml" => Self::DirectMl(n),
            "coreml" => Self::CoreMl,
            "openvino" => Self::OpenVino,
            "webgpu" => Self::WebGpu(n),
            _ => return Err(format!("`{name}` is not a device; there are {}", Self::NAMES.join(", "))),
        };
        match (index, device.index()) {
            (Some(_), None) => Err(format!("`{name}` takes no number")),
            _ => Ok(device),
        }
    }
}

/// The number format a network computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// Half precision where the device converts by itself and gains (TensorRT), the format of the model file elsewhere: on
    /// processors half precision is 1.35 to 1.8 times slower.
    #[default]
    Auto,
    /// Single precision.
    Fp32,
    /// Half precision; an error where neither the device converts nor the model file is in it.
    Fp16,
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "fp32" => Ok(Self::Fp32),
            "fp16" => Ok(Self::Fp16),
            _ => Err(format!("`{text}` is not a precision; there are auto, fp32, fp16")),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
        })
    }
}

/// A device that works, and why it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub device: Device,
    /// For the summary line, for example "no GPU provider in this runtime: running on 2 CPU cores".
    pub reason: String,
}

/// One execution provider: is it in the loaded runtime, and if not usable, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub device: Device,
    /// Whether the loaded library (or the plug-in) contains it.
    pub present: bool,
    /// Whether it could be registered here; the reason if not.
    pub works: Result<(), String>,
}

#[cfg(feature = "onnx")]
pub(super) use providers::{Providers, register};
#[cfg(feature = "onnx")]
pub use providers::{choose, probe};

/// The devices as ONNX Runtime's execution providers. Not yet verified on a GPU: on machines without one every provider but
/// the processor's fails, and those failures are what has been tested.
#[cfg(feature = "onnx")]
mod providers {
    use std::path::Path;
    use std::sync::Mutex;

    use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
    use ort::session::builder::SessionBuilder;

    use super::{Choice, Device, Precision, Provider};
    use crate::error::{Error, Result};
    use crate::upscale::home::Home;
    use crate::upscale::{install, machine, runtime};

    /// What registering a provider needs to know.
    #[derive(Debug, Clone)]
    pub struct Providers<'a> {
        pub precision: Precision,
        pub tf32: bool,
        /// Where compiled engines are kept, if anywhere.
        pub engines: Option<&'a Path>,
        /// Where the WebGPU plug-in is installed.
        pub home: Option<&'a Home>,
    }

    /// Adds the device's provider to a session about to be opened. Nothing is added for the processor.
    ///
    /// # Errors
    /// [`Error::Device`] with the reason and a way out if the provider is not in the runtime or cannot start. Never falls
    /// back to another device.
    pub fn register(builder: SessionBuilder, device: Device, with: &Providers<'_>) -> Result<SessionBuilder> {
        let failed = |e: &str| Error::device(device, first_line(e), fix(device));
        let provider = match device {
            Device::Auto => return Err(Error::Internal("`auto` was not resolved before a session was opened".into())),
            Device::Cpu => return Ok(builder),
            Device::WebGpu(n) if !present(device) => return plug_in(builder, n, with.home),
            Device::Cuda(_) | Device::TensorRt(_) if !nvidia_driver() => return Err(failed("no NVIDIA GPU with a driver was found")),
            _ if !present(device) => return Err(failed("the ONNX Runtime in use was built without it")),
            _ => dispatch(device, with),
        };
        builder.with_execution_providers(provider).map_err(|e| failed(e.message()))
    }

    /// The providers for a device, each failing loudly. TensorRT leaves what it cannot compile to CUDA.
    fn dispatch(device: Device, with: &Providers<'_>) -> Vec<ExecutionProviderDispatch> {
        let cuda = |n: u32| {
            ep::CUDA::default()
                .with_device_id(n.cast_signed())
                .with_tf32(with.tf32)
                // Tile shapes are few but not one: searching all algorithms for each costs seconds.
                .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
                .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
                .build()
                .error_on_failure()
        };
        match device {
            Device::Auto | Device::Cpu => Vec::new(),
            Device::Cuda(n) => vec![cuda(n)],
            Device::TensorRt(n) => {
                let mut tensorrt = ep::TensorRT::default().with_device_id(n.cast_signed()).with_fp16(with.precision != Precision::Fp32);
                if let Some(folder) = with.engines {
                    // Building an engine takes a minute or more, loading one a second.
                    let folder = folder.display();
                    tensorrt = tensorrt
                        .with_engine_cache(true)
                        .with_engine_cache_path(folder.to_string())
                        .with_timing_cache(true)
                        .with_timing_cache_path(folder.to_string());
                }
                vec![tensorrt.build().error_on_failure(), cuda(n)]
            }
            Device::DirectMl(n) => vec![ep::DirectML::default().with_device_id(n.cast_signed()).build().error_on_failure()],
            Device::CoreMl => {
                let mut coreml = ep::CoreML::default().with_model_format(ep::coreml::ModelFormat::MLProgram);
                if let Some(folder) = with.engines {
                    coreml = coreml.with_model_cache_dir(folder.display().to_string());
                }
                vec![coreml.build().error_on_failure()]
            }
            Device::OpenVino => {
                let mut openvino = ep::OpenVINO::default().with_device_type("GPU");
                if let Some(folder) = with.engines {
                    openvino = openvino.with_cache_dir(folder.display().to_string());
                }
                vec![openvino.build().error_on_failure()]
            }
            Device::WebGpu(n) => vec![ep::WebGPU::default().with_device_id(n.cast_signed()).build().error_on_failure()],
        }
    }

    /// WebGPU out of the plug-in installed in the home folder.
    fn plug_in(builder: SessionBuilder, index: u32, home: Option<&Home>) -> Result<SessionBuilder> {
        static REGISTERED: Mutex<bool> = Mutex::new(false);
        let device = Device::WebGpu(index);
        let failed = |what: &str| Error::device(device, first_line(what), fix(device));
        let environment = runtime::environment()?;
        {
            let mut registered = REGISTERED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !*registered {
                let installed = home.and_then(install::webgpu).ok_or_else(|| failed("its plug-in is not installed"))?;
                installed.verify()?;
                environment.register_ep_library("lastmile.webgpu", installed.path()).map_err(|e| failed(e.message()))?;
                *registered = true;
            }
        }
        let webgpu = |d: &ort::device::Device<'_>| d.ep().is_ok_and(|name| name.contains("WebGpu"));
        let hardware = |d: &ort::device::Device<'_>| d.hardware_device().ty() == ort::memory::DeviceType::GPU;
        let found: Vec<_> = environment.devices().filter(webgpu).filter(hardware).collect();
        let count = found.len();
        let one = found.into_iter().nth(index as usize).ok_or_else(|| match count {
            0 => failed("it lists no GPU (software Vulkan drivers do not count)"),
            n => failed(&format!("it lists {n} GPUs, numbered from 0")),
        })?;
        builder.with_devices([one], None).map_err(|e| failed(e.message()))
    }

    /// Whether the loaded library contains the device's provider.
    fn present(device: Device) -> bool {
        let answer = match device {
            Device::Auto => Ok(false),
            Device::Cpu => Ok(true),
            Device::Cuda(_) => ep::CUDA::is_available(),
            Device::TensorRt(_) => ep::TensorRT::is_available(),
            Device::DirectMl(_) => ep::DirectML::is_available(),
            Device::CoreMl => ep::CoreML::is_available(),
            Device::OpenVino => ep::OpenVINO::is_available(),
            Device::WebGpu(_) => ep::WebGPU::is_available(),
        };
        answer.unwrap_or(false)
    }

    /// Whether the NVIDIA driver is loaded. Asking first keeps a missing GPU from costing the seconds in which half a
    /// gigabyte of CUDA libraries is loaded to say the same.
    fn nvidia_driver() -> bool {
        !cfg!(target_os = "linux") || ["/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg"].iter().any(|p| Path::new(p).exists())
    }

    /// What to do if a device does not work.
    fn fix(device: Device) -> &'static str {
        match device {
            Device::Cuda(_) if nvidia_driver() => {
                "`lastmile runtime install cuda` (needs CUDA 13 and cuDNN 9), `lastmile doctor` for what is missing, or --device cpu"
            }
            Device::TensorRt(_) if nvidia_driver() => "`lastmile runtime install cuda` and TensorRT 10, --device cuda, or --device cpu",
            Device::Cuda(_) | Device::TensorRt(_) => "--device auto, or --device webgpu for a GPU of another maker",
            Device::DirectMl(_) => "an onnxruntime-directml wheel named with --onnxruntime (Windows only), or --device webgpu",
            Device::CoreMl => "a Mac, or --device auto",
            Device::OpenVino => "an onnxruntime-openvino library named with --onnxruntime, or --device cpu",
            Device::WebGpu(_) => "`lastmile runtime install webgpu` and a GPU with a Vulkan, Direct3D 12 or Metal driver, or --device cpu",
            Device::Auto | Device::Cpu => "`lastmile doctor`",
        }
    }

    /// Tries one device: registers its provider for a session that is never opened.
    fn works(device: Device, home: Option<&Home>) -> Result<()> {
        let environment = runtime::environment()?;
        let builder = ort::session::Session::builder(environment).map_err(|e| Error::device(device, e.message(), fix(device)))?;
        let with = Providers { precision: Precision::Fp32, tf32: false, engines: None, home };
        register(builder, device, &with).map(drop)
    }

    /// What of each device is there and works, in the order `auto` prefers them. The runtime must be loaded.
    pub fn probe(home: &Home) -> Vec<Provider> {
        let plug_in = install::webgpu(home).is_some();
        let one = |device: Device| {
            let present = present(device) || (device.name() == "webgpu" && plug_in);
            let works = match works(device, Some(home)) {
                Ok(()) => Ok(()),
                Err(Error::Device { what, .. }) => Err(what),
                Err(e) => Err(e.to_string()),
            };
            Provider { device, present, works }
        };
        PREFERRED.into_iter().chain([Device::TensorRt(0), Device::OpenVino, Device::Cpu]).map(one).collect()
    }

    /// What `auto` tries, best first. TensorRT builds engines for a minute per model and OpenVINO also runs on processors:
    /// both only when asked for.
    const PREFERRED: [Device; 4] = [Device::Cuda(0), Device::CoreMl, Device::DirectMl(0), Device::WebGpu(0)];

    /// Resolves `auto`; any other device is returned as it is, checked. The runtime must be loaded.
    ///
    /// # Errors
    /// [`Error::Device`] if the device that was asked for does not work. `auto` always finds one.
    pub fn choose(asked: Device, home: &Home) -> Result<Choice> {
        if asked != Device::Auto {
            works(asked, Some(home))?;
            return Ok(Choice { device: asked, reason: format!("{asked}: as asked") });
        }
        let cores = match machine::cores() {
            1 => "1 CPU core".to_string(),
            n => format!("{n} CPU cores"),
        };
        let plug_in = install::webgpu(home).is_some();
        let mut tried = Vec::new();
        for device in PREFERRED {
            if !(present(device) || (plug_in && device.name() == "webgpu")) {
                continue;
            }
            match works(device, Some(home)) {
                Ok(()) => return Ok(Choice { device, reason: format!("{device}: the best that works here") }),
                Err(Error::Device { what, .. }) => tried.push(format!("{device}: {what}")),
                Err(e) => tried.push(format!("{device}: {e}")),
            }
        }
        let why = if tried.is_empty() { "no GPU provider in this runtime".to_string() } else { tried.join("; ") };
        Ok(Choice { device: Device::Cpu, reason: format!("{why}: running on {cores}") })
    }

    fn first_line(text: &str) -> &str {
        text.lines().next().unwrap_or(text).trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for name in Device::NAMES {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        assert_eq!("cuda:2".parse::<Device>().unwrap(), Device::Cuda(2));
        assert_eq!("CUDA:0".parse::<Device>().unwrap().to_string(), "cuda");
        assert_eq!(Device::WebGpu(1).to_string(), "webgpu:1");
    }

    #[test]
    fn mistakes_say_what_to_write() {
        assert!("gpu".parse::<Device>().unwrap_err().contains("auto, cpu, cuda"));
        assert!("cuda:x".parse::<Device>().unwrap_err().contains("cuda:1"));
        assert_eq!("cpu:1".parse::<Device>().unwrap_err(), "`cpu` takes no number");
        assert!("fp8".parse::<Precision>().unwrap_err().contains("fp16"));
    }
}
