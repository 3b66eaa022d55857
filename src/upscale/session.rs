//! One network loaded into ONNX Runtime, run tile by tile.
//!
//! Settings that decide the speed on a processor (measured on SRVGG networks of 16 convolutions):
//! all graph optimisations (the blocked NCHWc layout is worth 1.4 to 1.6x), one thread per session and several sessions at
//! once (1.14 to 1.5x less CPU than one session with several threads), no spinning, no memory pattern (tile shapes vary).

use std::borrow::Cow;

use half::f16;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::value::{TensorElementType, TensorRef, ValueType};

use super::device::{Device, Precision};
use super::{Infer, InferError, runtime};
use crate::band::Band;
use crate::error::{Error, Result};

/// In which order a network wants the values of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Plane by plane: batch, channel, row, column.
    #[default]
    Nchw,
    /// Pixel by pixel: batch, row, column, channel.
    Nhwc,
}

/// The number format of a network's input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    F32,
    F16,
    /// Anything else; lastmile cannot feed it.
    Other,
}

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    pub dtype: Dtype,
    /// The dimensions; `None` is a free one.
    pub shape: Vec<Option<usize>>,
}

/// How a session is opened.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// What messages call the model.
    pub model: String,
    pub device: Device,
    /// Threads inside one run.
    pub intra_threads: usize,
    pub precision: Precision,
    /// Whether NVIDIA GPUs may round the inputs of products to 10 bits of mantissa: faster, and visibly off a reference.
    pub tf32: bool,
    pub layout: Layout,
    /// The input that takes the picture; the first one if not said.
    pub input: Option<String>,
    /// The output that gives the picture; the first one if not said.
    pub output: Option<String>,
    /// Weights shared with other sessions of the same model on the processor.
    pub prepacked: Option<Prepacked>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            model: "model".into(),
            device: Device::Cpu,
            intra_threads: 1,
            precision: Precision::Auto,
            tf32: false,
            layout: Layout::Nchw,
            input: None,
            output: None,
            prepacked: None,
        }
    }
}

/// Weights in the form the processor's kernels want, held once for all sessions of one model.
#[derive(Debug, Clone)]
pub struct Prepacked(PrepackedWeights);

impl Prepacked {
    /// An empty container; the first session opened with it fills it.
    ///
    /// # Errors
    /// An internal error if no runtime is loaded.
    pub fn new() -> Result<Self> {
        runtime::environment()?;
        Ok(Self(PrepackedWeights::new()))
    }
}

/// A network on a device. Runs one tile at a time; open several for several at once.
#[derive(Debug)]
pub struct Session {
    session: ort::session::Session,
    input: TensorInfo,
    output: TensorInfo,
    /// Position of `output` among the outputs.
    output_at: usize,
    layout: Layout,
}

impl Session {
    /// Loads a model, `model_bytes` being an ONNX file. The runtime must be loaded before ([`runtime::init`]).
    ///
    /// # Errors
    /// [`Error::Model`] if the runtime refuses the file or an input or output named does not exist or is not a picture;
    /// [`Error::Device`] if the device cannot run it.
    pub fn open(model_bytes: &[u8], options: &SessionOptions) -> Result<Self> {
        let builder = builder(options).map_err(|e| Error::device(options.device, e.message(), "--device cpu"))?;
        let session = commit(builder, model_bytes).map_err(|e| {
            Error::model(
                &options.model,
                format!("ONNX Runtime refuses it: {}", first_line(e.message())),
                "another file, or export it again",
            )
        })?;
        let (_, input) = pick(session.inputs(), options.input.as_deref(), "input", &options.model)?;
        let (output_at, output) = pick(session.outputs(), options.output.as_deref(), "output", &options.model)?;
        Ok(Self { session, input, output, output_at, layout: options.layout })
    }

    /// The input that takes the picture.
    pub fn input(&self) -> &TensorInfo {
        &self.input
    }

    /// The output that gives the picture.
    pub fn output(&self) -> &TensorInfo {
        &self.output
    }

    /// All inputs and all outputs.
    pub fn metadata(&self) -> (Vec<TensorInfo>, Vec<TensorInfo>) {
        let all = |outlets: &[ort::value::Outlet]| outlets.iter().map(info).collect();
        (all(self.session.inputs()), all(self.session.outputs()))
    }

    fn run_inner(&mut self, tile: &Band) -> ort::Result<Result<Band, InferError>> {
        let shape = match self.layout {
            Layout::Nchw => [1, tile.channels, tile.rows, tile.width],
            Layout::Nhwc => [1, tile.rows, tile.width, tile.channels],
        };
        let values: Cow<'_, [f32]> = match self.layout {
            Layout::Nchw => Cow::Borrowed(&tile.data),
            Layout::Nhwc => Cow::Owned(interleave(&tile.data, tile.channels)),
        };
        let name = Cow::Borrowed(self.input.name.as_str());
        let halves: Vec<f16>;
        let inputs = match self.input.dtype {
            Dtype::F16 => {
                halves = values.iter().map(|&v| f16::from_f32(v)).collect();
                vec![(name, TensorRef::from_array_view((shape, halves.as_slice()))?.into_dyn().into())]
            }
            Dtype::F32 | Dtype::Other => vec![(name, TensorRef::from_array_view((shape, &*values))?.into_dyn().into())],
        };
        let outputs: ort::session::SessionOutputs<'_> = self.session.run(ort::session::SessionInputs::<0>::ValueMap(inputs))?;
        let value = &outputs[self.output_at];
        let (shape, data): (_, Vec<f32>) = match self.output.dtype {
            Dtype::F16 => {
                let (shape, data) = value.try_extract_tensor::<f16>()?;
                (shape, data.iter().map(|v| v.to_f32()).collect())
            }
            Dtype::F32 | Dtype::Other => {
                let (shape, data) = value.try_extract_tensor::<f32>()?;
                (shape, data.to_vec())
            }
        };
        Ok(band(shape, data, self.layout))
    }
}

impl Infer for Session {
    fn run(&mut self, tile: &Band) -> Result<Band, InferError> {
        self.run_inner(tile).unwrap_or_else(|e| Err(infer_error(e.message())))
    }
}

/// A builder with every setting but the model. Builder errors of this ort version cannot leave the thread, so they are
/// converted here.
fn builder(options: &SessionOptions) -> ort::Result<SessionBuilder> {
    let environment = runtime::environment().map_err(|e| ort::Error::new(e.to_string()))?;
    let mut builder = ort::session::Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.intra_threads.max(1))?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?;
    if let Some(Prepacked(weights)) = &options.prepacked {
        builder = builder.with_prepacked_weights(weights)?;
    }
    Ok(builder)
}

fn commit(mut builder: SessionBuilder, model_bytes: &[u8]) -> ort::Result<ort::session::Session> {
    builder.commit_from_memory(model_bytes)
}

/// The input or output to use and its position.
fn pick(outlets: &[ort::value::Outlet], name: Option<&str>, what: &str, model: &str) -> Result<(usize, TensorInfo)> {
    let at = match name {
        None => 0,
        Some(name) => outlets.iter().position(|o| o.name() == name).ok_or_else(|| {
            let names: Vec<_> = outlets.iter().map(ort::value::Outlet::name).collect();
            Error::model(model, format!("it has no {what} `{name}`"), format!("one of its {what}s: {}", names.join(", ")))
        })?,
    };
    let outlet = outlets.get(at).ok_or_else(|| Error::model(model, format!("it has no {what}"), "a super-resolution network"))?;
    let found = info(outlet);
    let free_or = |d: &Option<usize>| d.map_or("any".into(), |n| n.to_string());
    let shape = found.shape.iter().map(free_or).collect::<Vec<String>>().join(" x ");
    if found.dtype == Dtype::Other {
        let kind = outlet.dtype().tensor_type().map_or("not a tensor".into(), |t| format!("{t:?}"));
        return Err(Error::model(model, format!("its {what} `{}` is {kind}", found.name), "a network with float32 or float16 pixels"));
    }
    if found.shape.len() != 4 {
        let fault = format!("its {what} `{}` has shape [{shape}]", found.name);
        return Err(Error::model(model, fault, "a network with 4 dimensions (batch, channels, height, width)"));
    }
    Ok((at, found))
}

fn info(outlet: &ort::value::Outlet) -> TensorInfo {
    let (dtype, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let dtype = match ty {
                TensorElementType::Float32 => Dtype::F32,
                TensorElementType::Float16 => Dtype::F16,
                _ => Dtype::Other,
            };
            (dtype, shape.iter().map(|&d| usize::try_from(d).ok()).collect())
        }
        _ => (Dtype::Other, Vec::new()),
    };
    TensorInfo { name: outlet.name().to_string(), dtype, shape }
}

/// A network's result as a band.
fn band(shape: &[i64], data: Vec<f32>, layout: Layout) -> Result<Band, InferError> {
    let dims: Vec<usize> = shape.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    let (channels, rows, width) = match (dims.as_slice(), layout) {
        (&[1, c, h, w], Layout::Nchw) | (&[1, h, w, c], Layout::Nhwc) => (c, h, w),
        _ => return Err(InferError::Failed(format!("the network's result has shape {dims:?} instead of one picture"))),
    };
    if channels * rows * width != data.len() || data.is_empty() {
        return Err(InferError::Failed(format!("the network's result of shape {dims:?} holds {} values", data.len())));
    }
    let data = match layout {
        Layout::Nchw => data,
        Layout::Nhwc => deinterleave(&data, channels),
    };
    Ok(Band { y: 0, width, rows, channels, data })
}

/// Planes to pixels.
fn interleave(planes: &[f32], channels: usize) -> Vec<f32> {
    let n = planes.len() / channels.max(1);
    (0..n).flat_map(|i| (0..channels).map(move |c| planes[c * n + i])).collect()
}

/// Pixels to planes.
fn deinterleave(pixels: &[f32], channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| pixels.iter().skip(c).step_by(channels).copied()).collect()
}

/// Sorts a failure of one run: out of memory is worth a smaller tile, anything else is not.
fn infer_error(message: &str) -> InferError {
    /// How the runtime and its providers say that memory ran out.
    const OUT_OF_MEMORY: [&str; 12] = [
        "failed to allocate memory",
        "bad_alloc",
        "bad allocation",
        "out of memory",
        "outofmemory",
        "out_of_memory",
        "out of device memory",
        "memoryallocation",
        "alloc_failed",
        "smaller than requested bytes",
        "8007000e",
        "not enough memory",
    ];
    let lower = message.to_lowercase();
    let said = first_line(message).to_string();
    if OUT_OF_MEMORY.iter().any(|sign| lower.contains(sign)) { InferError::OutOfMemory(said) } else { InferError::Failed(said) }
}

/// The runtime appends source positions and advice for its own developers; the first line says what happened.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message).trim()
}
