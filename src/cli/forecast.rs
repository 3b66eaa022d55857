//! How long a job will take.
//!
//! Time has two parts. What the networks take comes from real runs on this machine where there were any ([`Pace`]), else from
//! `lastmile models bench`, else from one small tile. Everything else is rehearsed on one picture of the job ([`Rehearsal`]), and
//! corrected by how long runs without a network took beside what was foreseen.

use super::estimate::{Beside, Effort};
use super::progress::seconds;
use super::rehearsal::Rehearsal;
use crate::batch::Summary;
use crate::upscale::bench::{NO_NETWORK, Pace, Rates};
use crate::upscale::catalogue::{self, Listed};
use crate::upscale::device::{Device, Precision};
use crate::upscale::engine::Engine;
use crate::upscale::home::Home;
use crate::upscale::model::Origin;

/// What a job runs on.
#[derive(Debug, Clone)]
pub struct Where {
    pub device: Device,
    pub precision: Precision,
    pub cores: usize,
}

/// The name under which a job's pace is kept.
fn network(engine: &Engine, effort: &Effort) -> String {
    match engine.main() {
        Some(main) if effort.work > 0.0 => main.sha256.clone(),
        _ => NO_NETWORK.into(),
    }
}

/// Seconds before the first tile: the runtime is loaded, sessions are opened.
const START: f64 = 0.25;

/// What a job's time is predicted from.
pub struct Basis<'a> {
    pub effort: &'a Effort,
    pub beside: &'a Beside,
    pub engine: &'a Engine,
    pub on: &'a Where,
    pub rates: &'a Rates,
    /// None if there is no picture to try, or the job is too short for it to be worth it.
    pub rehearsal: Option<Rehearsal>,
}

impl Basis<'_> {
    fn pace(&self, network: &str) -> Option<f64> {
        self.rates.pace(network, &self.on.device.to_string(), &self.on.precision.to_string(), self.on.cores)
    }

    /// Everything but the networks, seconds, as it turned out in earlier runs without any.
    fn rest(&self) -> f64 {
        // One run on a busy machine must not spoil all predictions.
        let correction = self.pace(NO_NETWORK).unwrap_or(1.0).clamp(0.5, 2.0);
        correction * self.foreseen()
    }

    fn foreseen(&self) -> f64 {
        self.effort.rest(self.rehearsal.as_ref(), self.beside, self.on.cores)
    }

    /// Predicted seconds; `fallback` tells pixels of work per second where nothing was measured before.
    ///
    /// # Errors
    /// Those of `fallback`.
    pub fn predict(&self, fallback: &dyn Fn() -> crate::Result<f64>) -> crate::Result<f64> {
        /// Share of the bare speed that whole jobs reach.
        const EFFICIENCY: f64 = 0.92;
        let network = network(self.engine, self.effort);
        let rest = self.rest();
        if network == NO_NETWORK {
            return Ok(rest);
        }
        if let Some(s) = self.pace(&network) {
            return Ok(START + self.effort.work / 1e6 * s + rest);
        }
        let Where { device, precision, cores } = *self.on;
        let measured = self.engine.main().and_then(|m| self.rates.get(&m.sha256, device, precision));
        let rate = match measured.filter(|r| r.workers == device.streams(cores)) {
            Some(r) => r.mpix_per_s * 1e6,
            None => fallback()?,
        };
        Ok(START + self.effort.work / (rate * EFFICIENCY) + rest)
    }

    /// Whether a prediction comes from runs on this machine.
    pub fn measured(&self) -> bool {
        self.pace(&network(self.engine, self.effort)).is_some()
    }

    /// What a run that went well says about this machine; `None` if it was too short, cut off, or not foreseen in detail.
    pub fn learned(&self, summary: &Summary) -> Option<Pace> {
        /// Of the time at least, for the rest of it not to drown what is learned.
        const SHARE: f64 = 0.3;
        let Self { effort, engine, on, .. } = self;
        let whole = !summary.interrupted && summary.fatal.is_none() && summary.failed == effort.unreadable.len() && effort.unseen == 0;
        if !whole || self.rehearsal.is_none() || summary.seconds < 2.0 || effort.pixels() < 1.0 {
            return None;
        }
        let network = network(engine, effort);
        let (seconds, units) = if network == NO_NETWORK {
            (summary.seconds, self.foreseen())
        } else {
            (summary.seconds - START - self.rest(), effort.work / 1e6)
        };
        if seconds < SHARE * summary.seconds {
            return None;
        }
        let mut kinds = effort.output.keys();
        // Results of one kind alone tell how large such files are.
        let kind = match (kinds.next(), kinds.next()) {
            (Some((format, bits)), None) => Some(((*format).to_owned(), *bits)),
            _ => None,
        };
        Some(Pace {
            network,
            device: on.device.to_string(),
            precision: on.precision.to_string(),
            cores: on.cores,
            format: effort.format().into(),
            bits: kind.map_or(0, |k| k.1),
            seconds,
            units,
            result_mpix: summary.pixels as f64 / 1e6,
            result_bytes: summary.bytes as f64,
        })
    }
}

/// A faster network of the same kind and factor and the time it would take, for a job that takes longer than half an hour.
pub fn faster(engine: &Engine, on: &Where, rates: &Rates, home: &Home, predicted: f64) -> Option<String> {
    const LONG: f64 = 1800.0;
    let main = engine.main().filter(|_| predicted > LONG)?;
    let rate = |sha256: &str| rates.get(sha256, on.device, on.precision).map(|r| r.mpix_per_s);
    let own = rate(&main.sha256);
    let all = catalogue::list(home).into_iter().filter_map(|l| {
        let weight = weight(&l);
        let m = l.manifest.ok()?;
        let alike = m.scale == main.manifest.scale && m.kind == main.manifest.kind && m.sha256 != main.sha256;
        let seconds = match (own, rate(&m.sha256)) {
            (Some(own), Some(other)) => predicted * own / other,
            // At the same resolution the work is that of the weights.
            _ => predicted * weight? as f64 / main.bytes.len().max(1) as f64,
        };
        alike.then_some((seconds, l.id))
    });
    let (best, id) = all.min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(t, _)| *t < 0.7 * predicted)?;
    Some(format!("--model {id} would take about {}", seconds(best)))
}

/// Bytes of a listed network's file.
fn weight(listed: &Listed) -> Option<u64> {
    match &listed.origin {
        Origin::Registered(manifest) => {
            let file = manifest.with_file_name(&listed.manifest.as_ref().ok()?.file);
            std::fs::metadata(file).ok().map(|m| m.len())
        }
        _ => catalogue::EMBEDDED.iter().find(|e| e.id == listed.id).map(|e| e.onnx.len() as u64),
    }
}
