//! What a job will take: time, memory, disk and money, told before it begins.
//!
//! Time comes from real runs on this machine where there were any ([`Pace`]), else from `lastmile models bench`, else from one
//! small tile.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::progress::{bytes, files, seconds};
use crate::batch::Summary;
use crate::batch::plan::Item;
use crate::codec::{self, Encoding, Format, Header, Limits};
use crate::pipeline;
use crate::recipe::Price;
use crate::upscale::bench::{NO_NETWORK, Pace, Rates};
use crate::upscale::catalogue::{self, Listed};
use crate::upscale::device::{Device, Precision};
use crate::upscale::engine::Engine;
use crate::upscale::home::Home;
use crate::upscale::model::Origin;
use crate::upscale::size::Target;

/// How much there is to do.
#[derive(Debug, Default)]
pub struct Effort {
    /// Of the sources.
    pub megapixels: f64,
    /// Pixels through the main network.
    pub work: f64,
    /// Pixels of the results, by format and bits per sample.
    pub output: BTreeMap<(&'static str, u8), f64>,
    /// By job, for progress.
    pub weights: HashMap<usize, f64>,
    /// Sources by what they are, in words.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Sources that cannot be read, and why.
    pub unreadable: Vec<(usize, String)>,
    /// Files that were not looked at for lack of time.
    pub unseen: usize,
    /// The largest source, width and height, and how much it is enlarged.
    pub largest: (usize, usize),
    pub factor: f64,
    /// Bytes beside the tiles that each picture takes, the largest first; as many as are worked on at once.
    pub memory: Vec<u64>,
}

/// What one header tells.
struct Looked {
    header: Header,
    target: Target,
    file_bytes: u64,
}

/// What the pixels of a result cost beside the network, in pixels of work.
const WRITING: f64 = 0.005;

impl Effort {
    /// Looks at the headers, for at most `patience`. Files not looked at count as the average of the others; those that cannot
    /// be read take no time.
    pub fn of(
        items: &[&Item],
        limits: &Limits,
        encoding: &Encoding,
        engine: &Engine,
        target: &(dyn Fn(&Header) -> crate::Result<Target> + Sync),
        jobs: usize,
        patience: Duration,
    ) -> Self {
        let clock = Instant::now();
        let look = |item: &Item| -> crate::Result<Looked> {
            let header = codec::probe(&item.source, limits)?;
            let target = target(&header)?;
            // Quality 0 stands for the format's default, which is filled in later.
            let how = Encoding { format: item.format, bits: 8, quality: encoding.quality.max(1), ..encoding.clone() };
            Format::check(&item.source, &how, target.width, target.height)?;
            // The bytes of small files do not matter, and asking for those of many takes time.
            let large = header.width * header.height > 1_000_000;
            let file_bytes = if large { std::fs::metadata(&item.source).map_or(0, |m| m.len()) } else { 0 };
            Ok(Looked { header, target, file_bytes })
        };
        let looked: Mutex<Vec<(usize, crate::Result<Looked>)>> = Mutex::new(Vec::with_capacity(items.len()));
        let next = AtomicUsize::new(0);
        // More threads than cores: on a network share most of the time is waiting.
        let threads = (2 * std::thread::available_parallelism().map_or(2, |n| n.get())).min(items.len().div_ceil(64).max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut own = Vec::new();
                    while clock.elapsed() < patience {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(n) else { break };
                        own.push((n, look(item)));
                    }
                    looked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut own);
                });
            }
        });
        let mut looked = looked.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        looked.sort_by_key(|(n, _)| *n);
        let mut sum = Self::default();
        let mut seen = vec![false; items.len()];
        for (n, found) in looked {
            seen[n] = true;
            match found {
                Ok(l) => sum.add(items[n], &l, encoding, engine),
                Err(e) => {
                    sum.weights.insert(items[n].job, 0.0);
                    sum.unreadable.push((items[n].job, e.to_string()));
                }
            }
        }
        sum.memory.sort_unstable_by(|a, b| b.cmp(a));
        sum.memory.truncate(jobs);
        sum.unseen = seen.iter().filter(|s| !**s).count();
        let known = (items.len() - sum.unseen).max(1) as f64;
        let share = sum.unseen as f64 / known;
        let each = sum.weights.values().sum::<f64>() / known;
        sum.megapixels *= 1.0 + share;
        sum.work *= 1.0 + share;
        sum.output.values_mut().for_each(|v| *v *= 1.0 + share);
        sum.weights.extend(items.iter().zip(&seen).filter(|(_, s)| !**s).map(|(i, _)| (i.job, each)));
        sum
    }

    fn add(&mut self, item: &Item, l: &Looked, encoding: &Encoding, engine: &Engine) {
        let (w, h) = l.header.upright();
        let pixels = (w * h) as f64;
        let work = engine.work(pixels, l.target.factor());
        let output = (l.target.width * l.target.height) as f64;
        let deep = encoding.bits == 16 || (encoding.bits == 0 && l.header.bits > 8);
        let bits = if deep && item.format.supports_16_bit() { 16 } else { 8 };
        self.megapixels += pixels / 1e6;
        self.work += work;
        *self.output.entry((item.format.name(), bits)).or_default() += output;
        self.weights.insert(item.job, work + WRITING * output);
        *self.kinds.entry(l.header.format.name()).or_default() += 1;
        if pixels > (self.largest.0 * self.largest.1) as f64 {
            self.largest = (w, h);
            self.factor = l.target.factor();
        }
        let how = Encoding { format: item.format, ..encoding.clone() };
        self.memory.push(pipeline::memory(&l.header, &l.target, &how, l.file_bytes));
    }

    /// Pixels of all results.
    pub fn pixels(&self) -> f64 {
        self.output.values().sum()
    }

    /// The container that most results are in.
    fn format(&self) -> &'static str {
        self.output.iter().max_by(|a, b| a.1.total_cmp(b.1)).map_or("PNG", |((f, _), _)| f)
    }

    /// How long writing takes, seconds.
    fn writing(&self, cores: usize) -> f64 {
        self.output.iter().map(|((format, bits), pixels)| pixels / written_per_s(format, *bits)).sum::<f64>() / cores.max(1) as f64
    }

    /// Bytes of all masters, if they are kept: three channels of 4 bytes.
    pub fn masters(&self) -> u64 {
        12 * self.pixels() as u64
    }

    /// Bytes the results will take.
    pub fn disk(&self, rates: &Rates) -> u64 {
        self.output
            .iter()
            .map(|((format, bits), pixels)| pixels * rates.bytes_per_px(format, *bits).unwrap_or(bytes_per_px(format, *bits)))
            .sum::<f64>() as u64
    }
}

/// Result pixels a core encodes per second; typical of pictures on a processor of 2020.
fn written_per_s(format: &str, bits: u8) -> f64 {
    match (format, bits) {
        ("PNG", 8) => 55e6,
        ("PNG", _) => 25e6,
        ("JPEG", _) => 45e6,
        ("WebP", _) => 6e6,
        _ => 40e6,
    }
}

/// Bytes of a result's pixel, on the safe side.
fn bytes_per_px(format: &str, bits: u8) -> f64 {
    match (format, bits) {
        ("PNG", 8) => 2.0,
        ("PNG", _) => 5.5,
        ("JPEG", _) => 0.6,
        ("WebP", _) => 0.4,
        (_, 8) => 3.0,
        _ => 6.0,
    }
}

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

/// Predicted seconds; `fallback` tells pixels of work per second where nothing was measured before.
pub fn predict(
    effort: &Effort,
    engine: &Engine,
    on: &Where,
    rates: &Rates,
    fallback: &dyn Fn() -> crate::Result<f64>,
) -> crate::Result<f64> {
    /// Share of the bare speed that whole jobs reach.
    const EFFICIENCY: f64 = 0.92;
    let network = network(engine, effort);
    let writing = effort.writing(on.cores);
    if let Some(s) = pace(effort, engine, on, rates) {
        let units = if network == NO_NETWORK { effort.pixels() } else { effort.work };
        return Ok(units / 1e6 * s);
    }
    if network == NO_NETWORK {
        return Ok(writing);
    }
    let measured =
        engine.main().and_then(|m| rates.get(&m.sha256, on.device, on.precision)).filter(|r| r.workers == on.device.streams(on.cores));
    let rate = match measured {
        Some(r) => r.mpix_per_s * 1e6,
        None => fallback()?,
    };
    Ok(effort.work / (rate * EFFICIENCY) + writing)
}

/// Whether a prediction comes from runs on this machine.
pub fn measured(effort: &Effort, engine: &Engine, on: &Where, rates: &Rates) -> bool {
    pace(effort, engine, on, rates).is_some()
}

fn pace(effort: &Effort, engine: &Engine, on: &Where, rates: &Rates) -> Option<f64> {
    let network = network(engine, effort);
    rates.pace(&network, &on.device.to_string(), &on.precision.to_string(), on.cores, effort.format())
}

/// What a run that went well says about this machine; `None` if it was too short or cut off.
pub fn learned(effort: &Effort, engine: &Engine, on: &Where, summary: &Summary) -> Option<Pace> {
    let whole = !summary.interrupted && summary.fatal.is_none() && summary.failed == effort.unreadable.len() && effort.unseen == 0;
    if !whole || summary.seconds < 2.0 || effort.pixels() < 1.0 {
        return None;
    }
    let network = network(engine, effort);
    let units = if network == NO_NETWORK { effort.pixels() } else { effort.work };
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
        seconds: summary.seconds,
        mpix: units / 1e6,
        result_mpix: summary.pixels as f64 / 1e6,
        result_bytes: summary.bytes as f64,
    })
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

/// The table under a plan.
pub struct Table<'a> {
    pub effort: &'a Effort,
    pub items: &'a [&'a Item],
    pub done: usize,
    pub renamed: usize,
    pub tile: Option<[u32; 2]>,
    pub seconds: Option<f64>,
    pub measured: bool,
    pub tiles_bytes: u64,
    pub memory: u64,
    pub disk: u64,
    pub free: Option<u64>,
    pub price: &'a Price,
}

impl Table<'_> {
    /// Memory at most, bytes: the program and its runtime, tiles, and pictures under way.
    pub fn peak(&self) -> u64 {
        const PROGRAM: u64 = 90 << 20;
        PROGRAM
            + self.tiles_bytes
            + self.effort.memory.iter().sum::<u64>().min(self.memory.max(self.effort.memory.first().copied().unwrap_or(0)))
    }

    /// For people, a line each.
    pub fn lines(&self) -> String {
        const TOLD: usize = 5;
        let mut text = String::new();
        if self.items.is_empty() {
            let _ = write!(text, "done     {} already", files(self.done));
            return text;
        }
        let kinds: Vec<String> = self.effort.kinds.iter().map(|(k, n)| format!("{n} {k}")).collect();
        let _ = write!(text, "sources  {}", if kinds.is_empty() { "none that can be read".into() } else { kinds.join(", ") });
        if self.effort.unseen > 0 {
            let _ = write!(text, "; {} not looked at yet", self.effort.unseen);
        }
        let bad = &self.effort.unreadable;
        if !bad.is_empty() {
            let _ = write!(text, "\nfail     {} cannot be made", files(bad.len()));
            for (_, why) in bad.iter().take(TOLD) {
                let _ = write!(text, "\n         {}", why.lines().next().unwrap_or_default());
            }
            if bad.len() > TOLD {
                let _ = write!(text, "\n         and {} more", bad.len() - TOLD);
            }
        }
        if self.done > 0 {
            let _ = write!(text, "\ndone     {} already", files(self.done));
        }
        if self.renamed > 0 {
            let _ = write!(text, "\nnames    {} named apart from others that want the same name", files(self.renamed));
        }
        if let Some([w, h]) = self.tile {
            let _ = write!(text, "\ntiles    up to {w}x{h} px");
        }
        if let Some(s) = self.seconds {
            let how = if self.measured { "" } else { " (a guess until a first run or `lastmile models bench`)" };
            let _ = write!(text, "\ntime     about {}{how}", seconds(s));
        }
        let _ = write!(text, "\nmemory   up to {}", bytes(self.peak()));
        let _ = write!(text, "\ndisk     about {} needed", bytes(self.disk));
        match self.free {
            Some(free) if free < self.disk => {
                let _ = write!(text, ", ONLY {} free", bytes(free));
            }
            Some(free) => {
                let _ = write!(text, ", {} free", bytes(free));
            }
            None => {}
        }
        let made = self.items.len() - bad.len();
        if let Some(total) = self.price.total(made, self.effort.pixels() / 1e6) {
            let each = total / made.max(1) as f64;
            let _ = write!(text, "\nprice    {}: {} ({} a file)", files(made), self.money(total), self.money(each));
        }
        text
    }

    /// What to say if the results will not fit on the disk.
    pub fn short_of_disk(&self) -> Option<String> {
        let free = self.free.filter(|free| *free < self.disk)?;
        Some(format!(
            "the results may take {}, and {} are free there; what fits stays, and the same command goes on",
            bytes(self.disk),
            bytes(free)
        ))
    }

    fn money(&self, sum: f64) -> String {
        let digits = if sum >= 1.0 { 2 } else { 4 };
        format!("{sum:.digits$} {}", self.price.currency).trim_end().to_owned()
    }

    /// The same for programs.
    pub fn json(&self, root: &Path) -> serde_json::Value {
        let unreadable: Vec<_> = self.effort.unreadable.iter().map(|(job, why)| serde_json::json!({"job": job, "message": why})).collect();
        let made = self.items.len() - unreadable.len();
        serde_json::json!({
            "event": "plan",
            "output": root.display().to_string(),
            "sources": self.effort.kinds,
            "unreadable": unreadable,
            "unseen": self.effort.unseen,
            "done": self.done,
            "todo": self.items.len(),
            "renamed": self.renamed,
            "tile": self.tile,
            "seconds": self.seconds,
            "measured": self.measured,
            "memory_bytes": self.peak(),
            "disk_bytes": self.disk,
            "free_bytes": self.free,
            "price": self.price.total(made, self.effort.pixels() / 1e6),
            "currency": self.price.currency,
        })
    }
}
