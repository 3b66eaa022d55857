//! How much work a job is, before it begins.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::batch::plan::Item;
use crate::codec::{self, Header, Limits};
use crate::upscale::engine::Engine;

/// How much there is to do.
pub struct Effort {
    /// Of the sources.
    pub megapixels: f64,
    /// Pixels through the main network.
    pub work: f64,
    /// Pixels of the results.
    pub output: f64,
    /// By job, for progress.
    pub weights: HashMap<usize, f64>,
}

impl Effort {
    /// Looks at the headers. Files not looked at within a second count as the average of the others; those that cannot be
    /// read take no time.
    pub fn of<'a>(
        items: impl Iterator<Item = &'a Item>,
        limits: &Limits,
        engine: &Engine,
        target: &dyn Fn(&Header) -> crate::Result<crate::upscale::size::Target>,
    ) -> Self {
        /// What the pixels of a result cost beside the network, in pixels of work.
        const WRITING: f64 = 0.005;
        let clock = Instant::now();
        let mut sum = Self { megapixels: 0.0, work: 0.0, output: 0.0, weights: HashMap::new() };
        let mut seen = 0.0;
        for item in items {
            let (mp, work, output) = if clock.elapsed() < Duration::from_secs(1) {
                seen += 1.0;
                let known = codec::probe(&item.source, limits).and_then(|h| Ok((target(&h)?, h)));
                known.map_or((0.0, 0.0, 0.0), |(t, h)| {
                    let pixels = h.width as f64 * h.height as f64;
                    (pixels / 1e6, engine.work(pixels, t.factor()), (t.width * t.height) as f64)
                })
            } else {
                let n = f64::max(seen, 1.0);
                seen += 1.0;
                (sum.megapixels / n, sum.work / n, sum.output / n)
            };
            sum.megapixels += mp;
            sum.work += work;
            sum.output += output;
            sum.weights.insert(item.job, work + WRITING * output);
        }
        sum
    }

    /// How long it will take at `rate` pixels of work per second.
    pub fn seconds(&self, rate: f64, cores: usize) -> f64 {
        /// Share of the bare speed that whole jobs reach, and result pixels that a core writes per second.
        const EFFICIENCY: f64 = 0.92;
        const WRITTEN: f64 = 60e6;
        self.work / (rate * EFFICIENCY) + self.output / (WRITTEN * cores as f64)
    }
}
