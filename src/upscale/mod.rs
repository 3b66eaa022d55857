//! Super-resolution: models, tiles, sessions and devices.

#[cfg(feature = "onnx")]
pub mod backend;
pub mod bench;
pub mod catalogue;
pub mod denoise;
pub mod device;
pub mod engine;
pub mod fetch;
pub mod graph;
pub mod home;
pub mod import;
#[cfg(feature = "onnx")]
pub mod install;
pub mod lock;
pub mod machine;
pub mod mix;
pub mod model;
pub mod network;
pub mod onnx;
pub mod pass;
#[cfg(feature = "onnx")]
mod pins;
pub mod pool;
pub mod probe;
pub mod public;
pub mod receptive;
#[cfg(feature = "onnx")]
pub mod runtime;
#[cfg(feature = "onnx")]
pub mod session;
pub mod size;
pub mod tile;
#[cfg(feature = "onnx")]
mod wheel;

use std::sync::Arc;

use crate::band::Band;

/// Something that runs one network on one tile. Sessions implement it; tests have fakes.
///
/// Input and output are as the *network* wants them after the manifest was applied: planar f32, the network's channel count
/// and value range are the caller's business (see `Network`).
pub trait Infer: Send {
    /// Runs the network on `tile` (its `y` is ignored) and returns the enlarged tile.
    fn run(&mut self, tile: &Band) -> Result<Band, InferError>;

    /// Makes ready for a run that can be ended before its time: what is given does that, from any thread. The run fails then, and the
    /// next one is as good as ever. None if runs cannot be ended.
    fn stoppable(&mut self) -> Option<Stopper> {
        None
    }

    /// The most bytes that tensors of the runs so far took at once, if the runtime can tell.
    fn peak_bytes(&self) -> Option<u64> {
        None
    }
}

/// Ends the run in progress soon.
pub type Stopper = Arc<dyn Fn() + Send + Sync>;

/// Why a single run failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InferError {
    /// The device ran out of memory: a smaller tile may fit.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// Anything else the runtime said.
    #[error("{0}")]
    Failed(String),
}
