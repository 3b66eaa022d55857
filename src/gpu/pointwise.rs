//! Functions of colour and place on a graphics card: planes of pixels go there, through one shader, and back.

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use super::Gpu;
use crate::band::Band;
use crate::error::{Error, Result};
use crate::grade::device::Pass;
use crate::grade::spatial::Frame;
use crate::lane::trace::Formula;

/// Pixels that go through the card at once: 24 MiB there, far below what one binding may have anywhere (128 MiB).
const CHUNK: usize = 2 << 20;
/// Invocations of a workgroup, as the shader has it.
const GROUP: usize = 256;
const FLOAT: u64 = 4;

/// A formula as a pipeline, with its tables on the card.
pub(super) struct Pointwise {
    gpu: Gpu,
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    tables: wgpu::Buffer,
    cubes: wgpu::Buffer,
    /// Buffers that no call is using.
    free: Mutex<Vec<Slot>>,
    /// Whether a user's filter is in it, which no processor runs.
    has_filter: bool,
}

/// How much later than its work a call back may come.
const LATE: Duration = Duration::from_secs(30);

/// Buffers of one call.
struct Slot {
    pixels: wgpu::Buffer,
    back: wgpu::Buffer,
    frame: wgpu::Buffer,
}

/// As `LmFrame` in `shaders/pointwise.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    width: f32,
    height: f32,
    key: f32,
    strength: f32,
    row: u32,
    top: u32,
    count: u32,
    start: u32,
}

impl Pointwise {
    pub fn new(gpu: &Gpu, formula: &Formula) -> Result<Self> {
        super::check(formula)?;
        let limits = gpu.device.limits();
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let samples: Vec<f32> = formula.tables().iter().flat_map(|t| t.samples()).copied().collect();
        let colours: Vec<[f32; 4]> = formula.cubes().iter().flat_map(|c| c.grid()).copied().collect();
        let bytes = (colours.len() * 16) as u64;
        if bytes > most {
            let what = format!("takes tables of {} MiB at most, and the look's 3D LUTs have {} MiB", most >> 20, bytes >> 20);
            return Err(Error::device(&gpu.adapter, what, "a LUT with fewer points, or --grade-device cpu"));
        }
        gpu.health.guard(&gpu.device, || {
            let tables = table(gpu, "tables", bytemuck::cast_slice(&samples));
            let cubes = table(gpu, "cubes", bytemuck::cast_slice(&colours));
            let source = wgpu::ShaderSource::Wgsl(formula.wgsl().into());
            let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("look"), source });
            let layout = layout(&gpu.device);
            let pipeline_layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("look"),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("lm_main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            });
            let has_filter = !formula.filters().is_empty();
            Ok(Self { gpu: gpu.clone(), pipeline, layout, tables, cubes, free: Mutex::default(), has_filter })
        })
    }

    /// One part of a band: `planes` of red, green and blue of the same length, of which the first pixel is number `start`.
    fn part(&self, uniform: &Uniform, planes: [&mut [f32]; 3]) -> Result<()> {
        let (device, queue) = (&self.gpu.device, &self.gpu.queue);
        let n = planes[0].len();
        let bytes = 3 * n as u64 * FLOAT;
        let slot = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let slot = slot.filter(|s| s.pixels.size() >= bytes).unwrap_or_else(|| self.slot(bytes));
        queue.write_buffer(&slot.frame, 0, bytemuck::bytes_of(uniform));
        for (c, plane) in planes.iter().enumerate() {
            queue.write_buffer(&slot.pixels, (c * n) as u64 * FLOAT, bytemuck::cast_slice(plane));
        }
        let entries = [
            bind(0, &slot.pixels, bytes),
            bind(1, &slot.frame, size_of::<Uniform>() as u64),
            bind(2, &self.tables, self.tables.size()),
            bind(3, &self.cubes, self.cubes.size()),
        ];
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &self.layout, entries: &entries });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(n.div_ceil(GROUP) as u32, 1, 1);
        }
        encoder.copy_buffer_to_buffer(&slot.pixels, 0, &slot.back, 0, Some(bytes));
        let submitted = queue.submit([encoder.finish()]);
        let (tell, told) = mpsc::channel();
        slot.back.map_async(wgpu::MapMode::Read, 0..bytes, move |done| drop(tell.send(done)));
        device
            .poll(wgpu::PollType::Wait { submission_index: Some(submitted), timeout: None })
            .map_err(|e| self.gpu.health.error(format!("failed: {e}")))?;
        // Another thread's poll may have taken our call and not have come to it yet.
        match told.recv_timeout(LATE) {
            Ok(Ok(())) => {}
            other => return Err(self.gpu.health.error(format!("gave no result back: {other:?}"))),
        }
        {
            let view = slot.back.get_mapped_range(0..bytes).map_err(|e| self.gpu.health.error(format!("gave no result back: {e}")))?;
            let done: &[f32] = bytemuck::cast_slice(&view);
            planes.into_iter().zip(done.chunks_exact(n)).for_each(|(plane, done)| plane.copy_from_slice(done));
        }
        slot.back.unmap();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        Ok(())
    }

    fn slot(&self, bytes: u64) -> Slot {
        let buffer = |label, size, usage| {
            self.gpu.device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
        };
        use wgpu::BufferUsages as Use;
        Slot {
            pixels: buffer("pixels", bytes, Use::STORAGE | Use::COPY_DST | Use::COPY_SRC),
            back: buffer("result", bytes, Use::MAP_READ | Use::COPY_DST),
            frame: buffer("frame", size_of::<Uniform>() as u64, Use::UNIFORM | Use::COPY_DST),
        }
    }

    fn all(&self, frame: &Frame, strength: f32, band: &mut Band) -> Result<()> {
        let (n, row, top) = (band.rows * band.width, band.width as u32, band.y as u32);
        let (r, rest) = band.data.split_at_mut(n);
        let (g, rest) = rest.split_at_mut(n);
        let parts = r.chunks_mut(CHUNK).zip(g.chunks_mut(CHUNK)).zip(rest[..n].chunks_mut(CHUNK));
        for (i, ((r, g), b)) in parts.enumerate() {
            let uniform = Uniform {
                width: frame.width as f32,
                height: frame.height as f32,
                key: frame.key(),
                strength,
                row,
                top,
                count: r.len() as u32,
                start: (i * CHUNK) as u32,
            };
            self.gpu.health.guard(&self.gpu.device, || self.part(&uniform, [r, g, b]))?;
        }
        Ok(())
    }
}

impl Pass for Pointwise {
    fn run(&self, frame: &Frame, strength: f32, band: &mut Band) -> Result<bool> {
        if band.rows * band.width == 0 {
            return Ok(true);
        }
        if self.gpu.health.has_failed() && !self.has_filter {
            return Ok(false);
        }
        // What is done is kept only when all of it is.
        let mut work = band.clone();
        match self.all(frame, strength, &mut work) {
            Ok(()) => {
                *band = work;
                Ok(true)
            }
            Err(e) => self.gpu.health.give_up(e, !self.has_filter),
        }
    }
}

/// The first `size` bytes of a buffer.
fn bind(binding: u32, buffer: &wgpu::Buffer, size: u64) -> wgpu::BindGroupEntry<'_> {
    let part = wgpu::BufferBinding { buffer, offset: 0, size: std::num::NonZeroU64::new(size) };
    wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(part) }
}

/// A buffer that only shaders read; never empty, which no binding may be.
fn table(gpu: &Gpu, label: &str, bytes: &[u8]) -> wgpu::Buffer {
    let size = bytes.len().next_multiple_of(16).max(16) as u64;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false });
    gpu.queue.write_buffer(&buffer, 0, bytes);
    buffer
}

/// The bindings of `shaders/pointwise.wgsl`.
fn layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    let entries = [entry(0, storage(false)), entry(1, wgpu::BufferBindingType::Uniform), entry(2, storage(true)), entry(3, storage(true))];
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
}
