//! Where a job's colours are graded: the processor, or a graphics card that is faster.

use std::sync::Arc;

use super::Globals;
use crate::error::{Error, Result};
use crate::grade::Grading;
use crate::grade::device::{Accelerator, GradeDevice};

/// Keeps a layer of Mesa's Vulkan from complaining on standard error about a session that has no display. To be called before any thread
/// is started.
///
/// That layer asks the display which card it uses, to put it first; without a display there is nothing to ask. Who has set one of
/// its variables is left alone.
#[allow(unsafe_code)]
pub fn calm_drivers() {
    const ITS: [&str; 6] = ["XDG_RUNTIME_DIR", "WAYLAND_DISPLAY", "DISPLAY", "NODEVICE_SELECT", "MESA_VK_DEVICE_SELECT", "DRI_PRIME"];
    if cfg!(all(feature = "gpu", target_os = "linux")) && ITS.iter().all(|name| std::env::var_os(name).is_none()) {
        // SAFETY: `main` calls this before anything else, so no other thread reads or writes the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// The grading on the device that was asked for.
///
/// # Errors
/// [`Error::Device`] if there is no such device, or a filter needs one and there is none; what is wrong in a user's filter.
pub fn place(grading: Grading, asked: GradeDevice, globals: &Globals) -> Result<Grading> {
    match asked {
        GradeDevice::Cpu if grading.needs_gpu() => {
            let what = "the look has a filter in WGSL, which needs a graphics card";
            Err(Error::device("cpu", what, "--grade-device gpu, or gpu:N for one that `lastmile doctor` lists"))
        }
        GradeDevice::Cpu => Ok(grading),
        GradeDevice::Gpu(index) => on_card(&grading, index),
        GradeDevice::Auto => automatic(grading, globals),
    }
}

/// Something else than the processor that grades.
pub type Card = Arc<dyn Accelerator + Send + Sync>;

/// What grades by transforms that are worked out picture by picture. `auto` is the processor: a shader for each picture costs more
/// than a card that is a little faster saves.
///
/// # Errors
/// As [`place`].
pub fn card(asked: GradeDevice) -> Result<Option<Card>> {
    match asked {
        GradeDevice::Gpu(index) => open(index).map(Some),
        GradeDevice::Auto | GradeDevice::Cpu => Ok(None),
    }
}

#[cfg(not(feature = "gpu"))]
fn open(_: Option<usize>) -> Result<Card> {
    Err(Error::device("gpu", "this program was built without it", "--grade-device cpu, or cargo build --features gpu"))
}

#[cfg(feature = "gpu")]
fn open(index: Option<usize>) -> Result<Card> {
    Ok(Arc::new(crate::gpu::Gpu::open(index, None)?))
}

#[cfg(not(feature = "gpu"))]
fn on_card(_: &Grading, _: Option<usize>) -> Result<Grading> {
    Err(Error::device("gpu", "this program was built without it", "--grade-device cpu, or cargo build --features gpu"))
}

#[cfg(not(feature = "gpu"))]
fn automatic(grading: Grading, _: &Globals) -> Result<Grading> {
    if grading.needs_gpu() { on_card(&grading, None) } else { Ok(grading) }
}

#[cfg(feature = "gpu")]
fn on_card(grading: &Grading, index: Option<usize>) -> Result<Grading> {
    grading.on(&crate::gpu::Gpu::open(index, None)?)
}

/// Whatever is faster; the processor, if a card fails.
#[cfg(feature = "gpu")]
fn automatic(grading: Grading, globals: &Globals) -> Result<Grading> {
    use super::say;
    use crate::gpu::{self, Gpu};
    use crate::upscale::bench::{GradeSpeed, Rates};
    use crate::upscale::home::Home;
    use crate::upscale::machine;

    let system: Vec<String> = machine::gpus().into_iter().map(|g| g.name).filter(|n| !n.starts_with("virtual")).collect();
    // Where the system lists its cards and has none, drivers need not even be loaded. A card that does nothing but draw is no
    // reason to load them either, once it was found to be slower.
    if cfg!(target_os = "linux") && system.is_empty() && !grading.needs_gpu() {
        return Ok(grading);
    }
    let home = Home::new(&globals.home);
    let cores = machine::cores();
    let told = |speed: &GradeSpeed| {
        if globals.verbosity > 0 {
            let GradeSpeed { card, gpu_mpix_per_s, cpu_mpix_per_s, .. } = speed;
            say(format_args!("grading: {card} {gpu_mpix_per_s:.0} MPix/s, the processor {cpu_mpix_per_s:.0}"));
        }
    };
    let known = Rates::load(&home).ok().and_then(|r| r.grade_speed(&system.join(", "), cores).cloned());
    if let Some(speed) = known.as_ref().filter(|s| !system.is_empty() && !s.gpu_is_faster() && !grading.needs_gpu()) {
        told(speed);
        return Ok(grading);
    }
    if !grading.needs_gpu() && gpu::adapters().first().is_none_or(|a| a.software) {
        return Ok(grading);
    }
    let notice = || Box::new(|line: &str| say(format_args!("notice: {line}"))) as gpu::Notice;
    let tried = Gpu::open(None, Some(notice())).and_then(|card| {
        // A filter has no other way, however long it takes.
        let speed = match known {
            Some(speed) if speed.card == card.adapter().name => speed,
            _ if grading.needs_gpu() => return grading.on(&card),
            _ => {
                let measured = gpu::measure(&card, cores)?;
                let speed = GradeSpeed {
                    system: system.join(", "),
                    card: card.adapter().name.clone(),
                    driver: card.adapter().driver.clone(),
                    cores,
                    gpu_mpix_per_s: measured.gpu,
                    cpu_mpix_per_s: measured.cpu,
                };
                // To measure again next time is no reason to stop.
                let _ = Rates::of_grading(speed.clone()).save(&home);
                speed
            }
        };
        told(&speed);
        if speed.gpu_is_faster() || grading.needs_gpu() { grading.on(&card) } else { Ok(grading.clone()) }
    });
    match tried {
        Err(Error::Device { device, what, .. }) if !grading.needs_gpu() => {
            say(format_args!("notice: {device} {what}; the processor grades"));
            Ok(grading)
        }
        other => other,
    }
}
