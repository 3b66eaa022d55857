//! Graphics cards: what there is, and how one is opened.
//!
//! Whatever the system has is found when first asked for, through Vulkan, Metal or Direct3D 12; nothing is linked. Adapters that
//! compute on the processor (software Vulkan) are listed last and are used only by number.

mod failure;
mod filter;
mod pointwise;
mod speed;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub use speed::{Speed, measure};

use crate::error::{Error, Result};
use crate::grade::device::{Accelerator, Pass};
use crate::lane::trace::Formula;
use failure::Health;

/// A graphics card as the system lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Its place in the list, as in `--grade-device gpu:N`.
    pub index: usize,
    pub name: String,
    /// The driver and its version; empty if it does not say.
    pub driver: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// Whether it computes on the processor.
    pub software: bool,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gpu:{} {} ({}", self.index, self.name, self.backend)?;
        f.write_str(if self.software { ", software)" } else { ")" })
    }
}

/// Whether users' filters in it are sound; no card is needed for that.
///
/// # Errors
/// [`Error::Usage`] with file, line and column.
pub fn check(formula: &Formula) -> Result<()> {
    formula.filters().iter().try_for_each(filter::check)
}

/// Every adapter: those that are hardware first, in the order of the system.
pub fn adapters() -> Vec<Adapter> {
    found().into_iter().map(|(a, _)| a).collect()
}

fn found() -> Vec<(Adapter, wgpu::Adapter)> {
    let mut options = wgpu::InstanceDescriptor::new_without_display_handle();
    options.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(options);
    let mut all: Vec<(Adapter, wgpu::Adapter)> = wait(instance.enumerate_adapters(wgpu::Backends::all()))
        .into_iter()
        .map(|adapter| {
            let info = adapter.get_info();
            let software = info.device_type == wgpu::DeviceType::Cpu;
            let driver = [info.driver, info.driver_info].join(" ").trim().to_owned();
            (Adapter { index: 0, name: info.name, driver, backend: info.backend.to_string(), software }, adapter)
        })
        .collect();
    all.sort_by_key(|(a, _)| a.software);
    all.iter_mut().enumerate().for_each(|(i, (a, _))| a.index = i);
    all
}

/// Waits for something that on these backends is there at once.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

/// What is told when a device fails and the processor goes on in its place.
pub type Notice = Box<dyn Fn(&str) + Send + Sync>;

/// An open graphics card. Cheap to clone.
#[derive(Clone)]
pub struct Gpu {
    adapter: Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    health: Arc<Health>,
}

impl Gpu {
    /// Opens the adapter of that number, or the first that is hardware. With a `notice`, whatever fails later is told once and
    /// left to the processor; without, it is an error.
    ///
    /// # Errors
    /// [`Error::Device`] if there is none, only a software one that was not named, or it does not open.
    pub fn open(index: Option<usize>, notice: Option<Notice>) -> Result<Self> {
        let all = found();
        let listed = || match all.as_slice() {
            [] => "the system lists no graphics card".to_owned(),
            all => format!("there is {}", all.iter().map(|(a, _)| a.to_string()).collect::<Vec<_>>().join(", ")),
        };
        const WAYS: &str = "--grade-device cpu, or install the graphics driver (Vulkan, Metal or Direct3D 12) and ask `lastmile doctor`";
        let chosen = match index {
            Some(n) => all.get(n),
            None => all.first().filter(|(a, _)| !a.software),
        };
        let Some((adapter, found)) = chosen else {
            let (name, what, ways) = match (index, all.first()) {
                (Some(n), _) => (format!("gpu:{n}"), format!("is not there; {}", listed()), WAYS.to_owned()),
                (None, Some((a, _))) => {
                    let ways = format!("--grade-device gpu:{} to take it all the same (it is slow), or --grade-device cpu", a.index);
                    ("gpu".into(), format!("{}, which computes on the processor", listed()), ways)
                }
                (None, None) => ("gpu".into(), listed(), WAYS.to_owned()),
            };
            return Err(Error::device(name, what, ways));
        };
        let opened = wait(found.request_device(&wgpu::DeviceDescriptor { required_limits: found.limits(), ..Default::default() }));
        let (device, queue) = opened.map_err(|e| Error::device(adapter, format!("does not open: {e}"), WAYS))?;
        let health = Arc::new(Health::new(adapter.to_string(), notice));
        health.watch(&device);
        Ok(Self { adapter: adapter.clone(), device, queue, health })
    }

    /// What it is.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }
}

impl Accelerator for Gpu {
    fn name(&self) -> String {
        self.adapter.to_string()
    }

    fn prepare(&self, formula: &Formula) -> Result<Arc<dyn Pass>> {
        pointwise::Pointwise::new(self, formula).map(|p| Arc::new(p) as Arc<dyn Pass>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_numbered_and_software_comes_last() {
        let all = adapters();
        assert!(all.iter().enumerate().all(|(i, a)| a.index == i));
        assert!(all.is_sorted_by_key(|a| a.software));
        let e = Gpu::open(Some(99), None).err().unwrap();
        assert_eq!(e.exit(), crate::Exit::Unavailable);
        assert!(e.to_string().contains("gpu:99") && e.to_string().contains("--grade-device cpu"), "{e}");
    }
}
