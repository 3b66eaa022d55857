//! ONNX Runtime behind the engine: finds or installs it on first use, picks the device and opens sessions.

use std::sync::{Arc, Mutex, PoisonError};

use super::device::{self, Choice, Device, Precision};
use super::engine::Backend;
use super::graph;
use super::model::{self, Model};
use super::network::Open;
use super::runtime::{self, RuntimeOptions};
use super::session::{self, Prepacked, Session, SessionOptions};
use super::{Infer, home::Home};
use crate::error::{Error, Result};

/// ONNX Runtime as it is found or installed on this machine.
pub struct OnnxRuntime {
    pub runtime: RuntimeOptions,
    /// The device asked for.
    pub device: Device,
    pub precision: Precision,
    /// Told what is installed, passed over or chosen.
    pub say: Box<dyn Fn(&str) + Send + Sync>,
}

impl Backend for OnnxRuntime {
    fn start(&self) -> Result<Choice> {
        runtime::start(&self.runtime, &mut |line| (self.say)(line))?;
        device::choose(self.device, &self.runtime.home)
    }

    fn opener(&self, model: Arc<Model>, device: Device, main: bool) -> Box<dyn Open> {
        // Half precision was asked of the network that was named; those beside it have no file of that kind.
        let precision = if self.precision == Precision::Fp16 && !main { Precision::Auto } else { self.precision };
        let reduced = device.is_gpu() && precision != Precision::Fp32 || precision == Precision::Fp16;
        Box::new(Sessions { model, device, precision, home: self.runtime.home.clone(), reduced, graph: Mutex::new(None) })
    }
}

/// A network's file as the device wants it, and its weights shared between sessions.
type Graph = (Arc<[u8]>, Option<Prepacked>);

/// Sessions of one model on one device.
struct Sessions {
    model: Arc<Model>,
    device: Device,
    precision: Precision,
    home: Home,
    /// Whether anything is computed in less than fp32.
    reduced: bool,
    graph: Mutex<Option<Graph>>,
}

impl Sessions {
    fn graph(&self) -> Result<Graph> {
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(g) = graph.as_ref() {
            return Ok(g.clone());
        }
        let made: Graph = match self.device {
            // Half precision on a processor is only done when asked for.
            Device::Cpu if self.precision != Precision::Fp16 => (self.model.for_cpu()?.0.as_ref().into(), Some(Prepacked::new()?)),
            Device::Cpu => (self.model.bytes.as_ref().into(), Some(Prepacked::new()?)),
            _ if self.precision == Precision::Fp32 => (self.wide()?, None),
            _ => (self.model.bytes.as_ref().into(), None),
        };
        Ok(graph.insert(made).clone())
    }

    /// The file with every number in fp32.
    fn wide(&self) -> Result<Arc<[u8]>> {
        let mut proto = graph::decode(&self.model.manifest.id, &self.model.bytes)?;
        let changed = graph::fold_casts(&mut proto) > 0;
        if graph::widen(&mut proto) || changed { Ok(graph::encode(&proto).into()) } else { Ok(self.model.bytes.as_ref().into()) }
    }
}

impl Open for Sessions {
    fn open(&self, safe: bool) -> Result<Box<dyn Infer>> {
        let manifest = &self.model.manifest;
        let (bytes, prepacked) = if safe { (self.wide()?, None) } else { self.graph()? };
        let options = SessionOptions {
            model: manifest.id.clone(),
            device: self.device,
            intra_threads: 1,
            precision: if safe { Precision::Fp32 } else { self.precision },
            tf32: !safe && self.precision == Precision::Auto,
            layout: match manifest.layout {
                model::Layout::Nchw => session::Layout::Nchw,
                model::Layout::Nhwc => session::Layout::Nhwc,
            },
            input: Some(manifest.input.clone()),
            output: Some(manifest.output.clone()),
            prepacked,
            home: Some(self.home.clone()),
        };
        let session = Session::open(&bytes, &options).map_err(|e| match e {
            // What is wrong with the file was found when it was resolved; here it is the device's refusal.
            Error::Model { model, what, hint } if self.device.is_gpu() => Error::device(self.device, format!("{model}: {what}"), hint),
            e => e,
        })?;
        Ok(Box::new(session))
    }

    fn has_safe(&self) -> bool {
        self.reduced
    }

    fn on_processor(&self) -> bool {
        self.device == Device::Cpu
    }
}
