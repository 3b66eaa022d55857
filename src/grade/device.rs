//! Where colours are graded: on the processor, or on something that takes whole formulas.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::spatial::Frame;
use crate::band::Band;
use crate::error::Result;
use crate::lane::trace::Formula;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GradeDevice {
    /// Whatever is faster here.
    #[default]
    Auto,
    Cpu,
    /// A graphics card: the first one, or the one of that number in the list of `lastmile doctor`.
    Gpu(Option<usize>),
}

impl FromStr for GradeDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "gpu" => Ok(Self::Gpu(None)),
            Some(("gpu", n)) => n.parse().map(|n| Self::Gpu(Some(n))).map_err(|_| format!("`{n}` is no number; for example gpu:0")),
            _ => Err(format!("`{text}` is none of auto, cpu, gpu, gpu:N")),
        }
    }
}

impl fmt::Display for GradeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(n)) => write!(f, "gpu:{n}"),
        }
    }
}

/// Something else than the processor that grades.
pub trait Accelerator {
    /// What it is called in messages and JSON lines: `gpu:0 NAME`.
    fn name(&self) -> String;

    /// Makes a formula ready to run.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] with file, line and column for what is wrong in a user's filter; [`crate::Error::Device`] if the
    /// device cannot take it.
    fn prepare(&self, formula: &Formula) -> Result<Arc<dyn Pass>>;
}

/// A formula on a device.
pub trait Pass: Send + Sync {
    /// Changes the first three channels of `band`, encoded sRGB, mixed in by `strength`, 0..=1. `false` if the device has failed
    /// and the processor is to do it; the band is then as it was.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device has failed and nothing may take its place.
    fn run(&self, frame: &Frame, strength: f32, band: &mut Band) -> Result<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in ["auto", "cpu", "gpu", "gpu:3"] {
            assert_eq!(text.parse::<GradeDevice>().unwrap().to_string(), text);
        }
        for text in ["", "cuda", "gpu:", "gpu:x", "cpu:1", "GPU"] {
            assert!(text.parse::<GradeDevice>().is_err(), "{text}");
        }
    }
}
