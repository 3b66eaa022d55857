//! How fast a graphics card grades, beside the processor.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Gpu;
use crate::band::{Band, Stage};
use crate::error::Result;
use crate::grade::spatial::Frame;
use crate::grade::stage::Grade;
use crate::grade::{Grading, Look};

/// Millions of pixels per second, transfers counted in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    pub gpu: f64,
    /// All cores together.
    pub cpu: f64,
}

/// What is timed: as much as a usual look has, without anything that runs on the processor either way.
const LOOK: &str = "\
[[op]]\ntype = \"exposure\"\nstops = 0.2\n\
[[op]]\ntype = \"contrast\"\namount = 1.15\n\
[[op]]\ntype = \"curves\"\nrgb = [[0, 0.02], [0.5, 0.52], [1, 0.98]]\n\
[[op]]\ntype = \"vibrance\"\namount = 0.3\n\
[[op]]\ntype = \"split_tone\"\nshadow_amount = 0.02\nhighlight_amount = 0.02\n";
const SIDE: usize = 1024;

/// Grades for about half a second on either.
///
/// # Errors
/// [`crate::Error::Device`] if the card fails.
pub fn measure(gpu: &Gpu, cores: usize) -> Result<Speed> {
    let look = Look::parse("speed", LOOK, Path::new(""))?;
    let Some(grading) = Grading::new(&[look], 1.0)? else { return Ok(Speed { gpu: 0.0, cpu: 1.0 }) };
    // Two pictures at once keep a card busy while one is copied; the processor has a picture for each core.
    Ok(Speed { gpu: rate(&grading.on(gpu)?, 2)?, cpu: rate(&grading, 1)? * cores as f64 })
}

/// Millions of pixels per second of several threads together.
fn rate(grading: &Grading, threads: usize) -> Result<f64> {
    const LASTING: Duration = Duration::from_millis(250);
    let one = || -> Result<(f64, f64)> {
        let frame = Frame { width: SIDE, height: SIDE, bits: 8, seed: 0 };
        let mut band = Band::new(0, SIDE, SIDE, 3);
        band.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 1021) as f32 / 1020.0);
        let mut stage = Grade::new(grading, None, 3, false, frame)?;
        let mut sink = |_| Ok(());
        // The first one pays for buffers.
        stage.push(band.clone(), &mut sink)?;
        let (from, mut pixels) = (Instant::now(), 0);
        while from.elapsed() < LASTING {
            stage.push(band.clone(), &mut sink)?;
            pixels += SIDE * SIDE;
        }
        Ok((pixels as f64 / 1e6, from.elapsed().as_secs_f64()))
    };
    let all: Vec<Result<(f64, f64)>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let lost = || Err(crate::Error::Internal("a measurement panicked".into()));
        running.into_iter().map(|r| r.join().unwrap_or_else(|_| lost())).collect()
    });
    all.into_iter().map(|r| r.map(|(mpix, seconds)| mpix / seconds)).sum()
}
