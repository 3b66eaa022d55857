//! One network loaded into ONNX Runtime, run tile by tile.
//!
//! Settings that decide the speed on a processor (measured on SRVGG networks of 16 convolutions):
//! all graph optimisations (the blocked NCHWc layout is worth 1.4 to 1.6x), one thread per session and several sessions at
//! once (1.14 to 1.5x less CPU than one session with several threads), no spinning, no memory pattern (tile shapes vary).
//!
//! Memory is 0.9 to 1.2 KB per tile pixel and session for those networks, with ONNX Runtime's arena as it comes. An arena
//! grown by what is asked for is within 8 % of that at the same speed; one shrunk after each run holds 2.5 KB at its peak, and
//! none at all up to 6 KB with up to twice the CPU time, because freed buffers go back and forth to the system.
//!
//! ONNX Runtime could keep the optimised graph in a file. It is not done: opening takes 6 to 27 ms for networks of 0.4 to
//! 5 MB and 2 to 22 ms from such a file, while that file works only on the processor and version it was made on.
//!
//! Over 500 lines because every device has its own settings, and all of them feed one way of running a tile.

use std::borrow::Cow;
use std::sync::Arc;

use half::f16;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::session::{IoBinding, RunOptions};
use ort::value::{Tensor, TensorElementType, TensorRef, ValueType};

use super::device::{self, Device, Precision};
use super::home::Home;
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
    /// Where the WebGPU plug-in is looked for and compiled GPU engines are kept.
    pub home: Option<Home>,
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
            home: None,
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
    /// Page-locked buffers of an NVIDIA GPU.
    pinned: Option<Pinned>,
    /// Of every run: through it a run is ended.
    options: Arc<Ending>,
}

/// Options of runs, through which they are ended.
struct Ending(RunOptions);

impl std::fmt::Debug for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ending").finish_non_exhaustive()
    }
}

/// Buffers that a GPU reads and writes by itself, kept from tile to tile: without them every tile is copied once more on the
/// way in and out. Not yet verified on a GPU; the tests run it with ordinary memory.
#[derive(Debug)]
struct Pinned {
    allocator: Allocator,
    to: MemoryInfo<'static>,
    binding: IoBinding,
    /// The input buffer of the last tile; the next one of the same shape goes into it too.
    input: Option<Tensor<f32>>,
}

impl Pinned {
    fn new(session: &ort::session::Session, device: AllocationDevice<'_>, index: u32) -> ort::Result<Self> {
        let info = |kind| MemoryInfo::new(device.clone(), index.cast_signed(), AllocatorType::Device, kind);
        let allocator = Allocator::new(session, info(MemoryType::CPUInput)?)?;
        Ok(Self { allocator, to: info(MemoryType::CPUOutput)?, binding: session.create_binding()?, input: None })
    }

    /// One run; gives the shape and values of the output.
    fn run(
        &mut self,
        session: &mut ort::session::Session,
        options: &RunOptions,
        names: (&str, &str),
        shape: [usize; 4],
        values: &[f32],
    ) -> ort::Result<(Vec<i64>, Vec<f32>)> {
        let dims = shape.map(|d| i64::try_from(d).unwrap_or(i64::MAX));
        let mut input = match self.input.take().filter(|t| **t.shape() == dims) {
            Some(same) => same,
            None => Tensor::<f32>::new(&self.allocator, dims)?,
        };
        input.extract_tensor_mut().1.copy_from_slice(values);
        self.binding.bind_input(names.0, &input)?;
        // Bound again for every tile, because its shape decides the output's.
        self.binding.bind_output_to_device(names.1, &self.to)?;
        self.binding.synchronize_inputs()?;
        let outputs = session.run_binding_with_options(&self.binding, options)?;
        self.binding.synchronize_outputs()?;
        let value = outputs.get(names.1).ok_or_else(|| ort::Error::new(format!("no output `{}` came back", names.1)))?;
        let (shape, data) = value.try_extract_tensor::<f32>()?;
        let result = (shape.to_vec(), data.to_vec());
        drop(outputs);
        self.input = Some(input);
        Ok(result)
    }
}

impl Session {
    /// Loads a model, `model_bytes` being an ONNX file. The runtime must be loaded before ([`runtime::init`]).
    ///
    /// # Errors
    /// [`Error::Model`] if the runtime refuses the file or an input or output named does not exist or is not a picture;
    /// [`Error::Device`] if the device cannot run it.
    pub fn open(model_bytes: &[u8], options: &SessionOptions) -> Result<Self> {
        let session = match options.device {
            Device::Cpu => builder(options).and_then(|b| commit(b, model_bytes)).map_err(|e| refused(&options.model, &e))?,
            _ => on_gpu(model_bytes, options)?,
        };
        let (_, input) = pick(session.inputs(), options.input.as_deref(), "input", &options.model)?;
        let (output_at, output) = pick(session.outputs(), options.output.as_deref(), "output", &options.model)?;
        // A file in float16 is asked in its own format; for others only TensorRT converts.
        if options.precision == Precision::Fp16 && input.dtype == Dtype::F32 && !matches!(options.device, Device::TensorRt(_)) {
            let fault = format!("`{}` computes in single precision there", options.model);
            return Err(Error::device(options.device, fault, "--precision auto, --device tensorrt, or a model exported in float16"));
        }
        let single = input.dtype == Dtype::F32 && output.dtype == Dtype::F32;
        let pinned = match options.device {
            Device::Cuda(n) | Device::TensorRt(n) if single => {
                let made = Pinned::new(&session, AllocationDevice::CUDA_PINNED, n);
                Some(made.map_err(|e| Error::device(options.device, first_line(e.message()), "--device cpu"))?)
            }
            _ => None,
        };
        let run = RunOptions::new().map_err(|e| refused(&options.model, &e))?;
        Ok(Self { session, input, output, output_at, layout: options.layout, pinned, options: Arc::new(Ending(run)) })
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

    /// How many of the network's operations run on which provider, for example `[("CUDAExecutionProvider", 40)]`; empty on
    /// the processor, where there is nothing to tell.
    pub fn placement(&self) -> Vec<(String, usize)> {
        placement(&self.session).unwrap_or_default()
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
        if let Some(pinned) = &mut self.pinned {
            let names = (self.input.name.as_str(), self.output.name.as_str());
            let (shape, data) = pinned.run(&mut self.session, &self.options.0, names, shape, &values)?;
            return Ok(band(&shape, data, self.layout));
        }
        let name = Cow::Borrowed(self.input.name.as_str());
        let halves: Vec<f16>;
        let inputs = match self.input.dtype {
            Dtype::F16 => {
                halves = values.iter().map(|&v| f16::from_f32(v)).collect();
                vec![(name, TensorRef::from_array_view((shape, halves.as_slice()))?.into_dyn().into())]
            }
            Dtype::F32 | Dtype::Other => vec![(name, TensorRef::from_array_view((shape, &*values))?.into_dyn().into())],
        };
        let outputs: ort::session::SessionOutputs<'_> =
            self.session.run_with_options(ort::session::SessionInputs::<0>::ValueMap(inputs), &self.options.0)?;
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

    fn stoppable(&mut self) -> Option<super::Stopper> {
        // What was ended before must not end this one.
        self.options.0.unterminate().ok()?;
        let options = Arc::clone(&self.options);
        // The runtime looks at it between two operations of the network.
        Some(Arc::new(move || drop(options.0.terminate())))
    }

    fn peak_bytes(&self) -> Option<u64> {
        tensor_bytes(&self.session)
    }
}

/// Opens a session on another device than the processor and makes sure that the network really runs there.
fn on_gpu(model_bytes: &[u8], options: &SessionOptions) -> Result<ort::session::Session> {
    let engines = options.home.as_ref().map(|home| home.cache().join("engines"));
    if let Some(folder) = &engines {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let with =
        device::Providers { precision: options.precision, tf32: options.tf32, engines: engines.as_deref(), home: options.home.as_ref() };
    let plain = builder(options).map_err(|e| refused(&options.model, &e))?;
    let builder = device::register(plain, options.device, &with)?;
    let recorded = builder.with_config_entry("session.record_ep_graph_assignment_info", "1");
    let builder = recorded.map_err(|e| Error::device(options.device, e.message(), "--device cpu"))?;
    // What the graph is guilty of was found when the model was probed on the processor: here it is the device.
    let session = commit(builder, model_bytes).map_err(|e| Error::device(options.device, first_line(e.message()), "--device cpu"))?;
    let placed = placement(&session).map_err(|e| Error::device(options.device, e.message(), "--device cpu"))?;
    if placed.iter().all(|(provider, _)| provider == "CPUExecutionProvider") {
        let fault = format!("it takes none of the operations of `{}`", options.model);
        return Err(Error::device(options.device, fault, "--device cpu, or another model"));
    }
    Ok(session)
}

/// How many operations of the network run on which provider. Only sessions opened with
/// `session.record_ep_graph_assignment_info` know.
#[allow(unsafe_code)]
fn placement(session: &ort::session::Session) -> ort::Result<Vec<(String, usize)>> {
    use ort::{AsPointer, Error as E};
    let api = ort::api();
    let mut groups = std::ptr::null();
    let mut count = 0;
    let mut placed: Vec<(String, usize)> = Vec::new();
    // SAFETY: the session is alive; both out pointers are valid for writing. The array and all it points to belong to the
    // session and live as long as it (onnxruntime_c_api.h, Session_GetEpGraphAssignmentInfo).
    unsafe { E::result_from_status((api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut groups, &mut count))? };
    for at in 0..count {
        let (mut name, mut nodes, mut number) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: `groups` holds `count` pointers that are valid while the session lives; the name is a C string of the
        // same lifetime and is copied at once.
        let provider = unsafe {
            let group = *groups.add(at);
            E::result_from_status((api.EpAssignedSubgraph_GetEpName)(group, &mut name))?;
            E::result_from_status((api.EpAssignedSubgraph_GetNodes)(group, &mut nodes, &mut number))?;
            std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
        };
        match placed.iter_mut().find(|(p, _)| *p == provider) {
            Some((_, sum)) => *sum += number,
            None => placed.push((provider, number)),
        }
    }
    Ok(placed)
}

/// The most that a session on the processor has had in use at once for tensors, bytes.
#[allow(unsafe_code)]
fn tensor_bytes(session: &ort::session::Session) -> Option<u64> {
    use ort::{AsPointer, Error as E};
    let info = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default).ok()?;
    let allocator = Allocator::new(session, info).ok()?;
    let api = ort::api();
    let mut stats = std::ptr::null_mut();
    // SAFETY: the allocator is alive and `stats` valid for writing; what it receives is released below, once.
    unsafe { E::result_from_status((api.AllocatorGetStats)(allocator.ptr(), &mut stats)).ok()? };
    if stats.is_null() {
        return None;
    }
    // SAFETY: `stats` is a list of the runtime; the value it gives is a C string of its own or null, read before the release.
    unsafe {
        let value = (api.GetKeyValue)(stats, c"MaxInUse".as_ptr());
        let bytes = (!value.is_null()).then(|| std::ffi::CStr::from_ptr(value).to_string_lossy().parse().ok()).flatten();
        (api.ReleaseKeyValuePairs)(stats);
        bytes
    }
}

fn refused(model: &str, e: &ort::Error) -> Error {
    Error::model(model, format!("ONNX Runtime refuses it: {}", first_line(e.message())), "another file, or export it again")
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

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &[u8] = include_bytes!("../../models/lastmile-start-x4.onnx");

    fn ramp(width: usize, rows: usize) -> Band {
        let mut tile = Band::new(0, width, rows, 3);
        for (i, v) in tile.data.iter_mut().enumerate() {
            *v = (i * 37 % 101) as f32 / 100.0;
        }
        tile
    }

    #[test]
    fn planes_and_pixels_are_inverse() {
        let planes: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let pixels = interleave(&planes, 3);
        assert_eq!(pixels[..6], [0.0, 8.0, 16.0, 1.0, 9.0, 17.0]);
        assert_eq!(deinterleave(&pixels, 3), planes);
    }

    #[test]
    fn memory_that_ran_out_is_told_from_other_faults() {
        let oom = [
            "Non-zero status code returned while running Conv node. Status Message: Failed to allocate memory for requested buffer of size 123",
            "CUDA failure 2: out of memory ; GPU=0",
            "std::bad_alloc",
            "Exception: 8007000E Not enough memory resources",
        ];
        assert!(oom.iter().all(|m| matches!(infer_error(m), InferError::OutOfMemory(_))));
        assert!(matches!(infer_error("Got invalid dimensions for input: input"), InferError::Failed(_)));
    }

    #[test]
    fn a_result_that_is_no_picture_is_an_error() {
        assert!(band(&[2, 3, 4, 4], vec![0.0; 96], Layout::Nchw).is_err());
        assert!(band(&[1, 3, 4], vec![0.0; 12], Layout::Nchw).is_err());
        assert!(band(&[1, 3, 0, 4], Vec::new(), Layout::Nchw).is_err());
        let b = band(&[1, 2, 5, 3], vec![0.0; 30], Layout::Nhwc).unwrap();
        assert_eq!((b.channels, b.rows, b.width), (3, 2, 5));
    }

    #[test]
    fn the_embedded_model_runs_and_every_session_agrees() {
        if !runtime::for_tests() {
            return;
        }
        let alone = SessionOptions::default();
        let shared = SessionOptions { prepacked: Some(Prepacked::new().unwrap()), intra_threads: 2, ..alone.clone() };
        let mut sessions: Vec<_> = [&alone, &shared, &shared].map(|o| Session::open(MODEL, o).unwrap()).into();
        assert_eq!(sessions[0].input().shape, [Some(1), Some(3), None, None]);
        assert_eq!(sessions[0].input().dtype, Dtype::F32);
        let (tile, other) = (ramp(37, 21), ramp(16, 40));
        let expected = sessions[0].run(&tile).unwrap();
        assert_eq!((expected.width, expected.rows, expected.channels), (148, 84, 3));
        for session in &mut sessions {
            // Another shape in between, so that memory of the first run is used again.
            assert_eq!(session.run(&other).unwrap().width, 64);
            assert_eq!(session.run(&tile).unwrap(), expected);
        }
    }

    #[test]
    fn a_run_is_ended_and_the_next_one_is_not() {
        if !runtime::for_tests() {
            return;
        }
        let mut session = Session::open(MODEL, &SessionOptions::default()).unwrap();
        let tile = ramp(40, 30);
        let expected = session.run(&tile).unwrap();
        let stop = session.stoppable().unwrap();
        std::thread::spawn(move || stop()).join().unwrap();
        assert!(matches!(session.run(&tile), Err(InferError::Failed(_))), "it was ended before its first operation");
        session.stoppable().unwrap();
        assert_eq!(session.run(&tile).unwrap(), expected);
    }

    #[test]
    fn bound_buffers_give_the_same_pixels() {
        if !runtime::for_tests() {
            return;
        }
        let mut session = Session::open(MODEL, &SessionOptions::default()).unwrap();
        let tiles = [ramp(37, 21), ramp(37, 21), ramp(16, 40), ramp(37, 21)];
        let expected: Vec<_> = tiles.iter().map(|t| session.run(t).unwrap()).collect();
        session.pinned = Some(Pinned::new(&session.session, AllocationDevice::CPU, 0).unwrap());
        for (tile, expected) in tiles.iter().zip(expected) {
            assert_eq!(session.run(tile).unwrap(), expected);
        }
    }

    #[test]
    fn faults_name_the_model() {
        if !runtime::for_tests() {
            return;
        }
        let options = SessionOptions { model: "my.onnx".into(), ..Default::default() };
        let e = Session::open(b"not a model", &options).unwrap_err();
        assert!(matches!(e, Error::Model { .. }) && e.to_string().starts_with("my.onnx: "), "{e}");
        let wrong = SessionOptions { input: Some("image".into()), ..options.clone() };
        let e = Session::open(MODEL, &wrong).unwrap_err().to_string();
        assert!(e.contains("no input `image`") && e.contains("one of its inputs: input"), "{e}");
        let mut session = Session::open(MODEL, &options).unwrap();
        assert!(matches!(session.run(&Band::new(0, 8, 8, 4)), Err(InferError::Failed(_))));
    }

    #[test]
    fn a_device_that_is_not_here_is_an_error_and_never_the_processor() {
        if !runtime::for_tests() || cfg!(not(target_os = "linux")) {
            return;
        }
        for device in [Device::DirectMl(0), Device::CoreMl] {
            match Session::open(MODEL, &SessionOptions { device, ..Default::default() }) {
                Err(Error::Device { device: named, hint, .. }) => assert!(named == device.to_string() && !hint.is_empty()),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn half_precision_is_not_promised_where_it_is_not_done() {
        if runtime::for_tests() {
            let options = SessionOptions { precision: Precision::Fp16, ..Default::default() };
            let e = Session::open(MODEL, &options).unwrap_err();
            assert!(matches!(e, Error::Device { .. }) && e.to_string().contains("--precision auto"), "{e}");
        }
    }

    #[test]
    fn where_operations_run_can_be_told() {
        if !runtime::for_tests() {
            return;
        }
        let builder = builder(&SessionOptions::default()).unwrap();
        let builder =
            builder.with_config_entry("session.record_ep_graph_assignment_info", "1").map_err(|e| e.message().to_string()).unwrap();
        let session = commit(builder, MODEL).unwrap();
        let placed = placement(&session).unwrap();
        assert_eq!(placed.len(), 1);
        assert!(placed[0].0 == "CPUExecutionProvider" && placed[0].1 > 9, "{placed:?}");
        // Without recording there is nothing to tell, and that is no error for the caller.
        assert_eq!(Session::open(MODEL, &SessionOptions::default()).unwrap().placement(), []);
    }
}
