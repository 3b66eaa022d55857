//! Devices: the processor a network runs on, by name and as an execution provider of ONNX Runtime.

use std::fmt;
use std::str::FromStr;

/// Where a network runs. The number is the index among devices of that kind, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The best device that really works here; the choice is reported, see [`choose`].
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
    /// Half precision where it is faster (GPUs), single precision elsewhere: on processors half precision is 1.35 to 1.8
    /// times slower.
    #[default]
    Auto,
    /// Single precision.
    Fp32,
    /// Half precision.
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
