//! What a job will take: time, memory, disk and money, told before it begins.
//!
//! What there is to do is read from headers here; how long that takes says [`super::forecast`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::progress::{bytes, files, seconds, told_together};
use super::rehearsal::Rehearsal;
use crate::batch::plan::Item;
use crate::codec::{self, Encoding, Format, Header, Limits};
use crate::pipeline;
use crate::recipe::Price;
use crate::spool::{Depth, SpoolWriter};
use crate::upscale::bench::Rates;
use crate::upscale::engine::Engine;
use crate::upscale::size::Target;

/// How much there is to do.
#[derive(Debug, Default)]
pub struct Effort {
    /// Of the sources.
    pub megapixels: f64,
    /// Pixels through the main network, faithful ones for comparing counted in by what they cost.
    pub work: f64,
    /// Sources that are worked on.
    pub sources: usize,
    /// Pixels of the results that are made from masters, and those that leave one behind.
    pub mastered: f64,
    /// Bytes of the masters that are kept.
    pub masters: u64,
    /// Pixels of the results, by format and bits per sample.
    pub output: BTreeMap<(&'static str, u8), f64>,
    /// By job, for progress.
    pub weights: HashMap<usize, f64>,
    /// Sources by what they are, in words.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Sources that cannot be read, and why.
    pub unreadable: Vec<(usize, String)>,
    /// What there is to know about sources that can be made, by job.
    pub notes: Vec<(usize, String)>,
    /// Files that were not looked at for lack of time.
    pub unseen: usize,
    /// The largest source, width and height, and how much it is enlarged.
    pub largest: (usize, usize),
    /// Width and height of the smallest and the largest result.
    pub results: Option<[(usize, usize); 2]>,
    pub factor: f64,
    /// Bytes beside the tiles that each picture takes, the largest first; as many as are worked on at once.
    pub memory: Vec<u64>,
    /// The same of disk for as long as it is worked on.
    pub spool: Vec<u64>,
    /// Pixels of every source and result, and the place of its job in the list, for choosing one to try.
    sizes: Vec<(f64, f64, usize)>,
}

/// How pictures are worked on, and what is done with them beside enlarging.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// Pictures at once.
    pub jobs: usize,
    /// Jobs whose rows were kept.
    pub mastered: HashSet<usize>,
    /// Rows are kept.
    pub keep_master: bool,
    /// Results are inspected; and wait in a file for being mended.
    pub inspected: bool,
    pub mends: bool,
    /// Results wait in a file for the quality that fits a size.
    pub max_kb: bool,
}

/// What one header tells.
struct Looked {
    header: Header,
    target: Target,
    file_bytes: u64,
    note: Option<String>,
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
        beside: &Beside,
        patience: Duration,
    ) -> Self {
        let clock = Instant::now();
        let look = |item: &Item| -> crate::Result<Looked> {
            let (header, note) = codec::foresee(&item.source, limits)?;
            let target = target(&header)?;
            // Quality 0 stands for the format's default, which is filled in later.
            let how = Encoding { format: item.format, bits: 8, quality: encoding.quality.max(1), ..encoding.clone() };
            Format::check(&item.source, &how, target.width, target.height)?;
            // The bytes of small files do not matter, and asking for those of many takes time.
            let large = header.width * header.height > 1_000_000;
            let file_bytes = if large { std::fs::metadata(&item.source).map_or(0, |m| m.len()) } else { 0 };
            Ok(Looked { header, target, file_bytes, note })
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
                Ok(l) => sum.add(n, items[n], &l, encoding, engine, beside),
                Err(e) => {
                    sum.weights.insert(items[n].job, 0.0);
                    sum.unreadable.push((items[n].job, e.to_string()));
                }
            }
        }
        for largest in [&mut sum.memory, &mut sum.spool] {
            largest.sort_unstable_by(|a, b| b.cmp(a));
            largest.truncate(beside.jobs);
        }
        sum.unseen = seen.iter().filter(|s| !**s).count();
        let known = (items.len() - sum.unseen).max(1) as f64;
        let share = sum.unseen as f64 / known;
        let each = sum.weights.values().sum::<f64>() / known;
        sum.megapixels *= 1.0 + share;
        sum.work *= 1.0 + share;
        sum.sources += sum.unseen;
        sum.mastered *= 1.0 + share;
        sum.masters = (sum.masters as f64 * (1.0 + share)) as u64;
        sum.output.values_mut().for_each(|v| *v *= 1.0 + share);
        sum.weights.extend(items.iter().zip(&seen).filter(|(_, s)| !**s).map(|(i, _)| (i.job, each)));
        sum
    }

    fn add(&mut self, n: usize, item: &Item, l: &Looked, encoding: &Encoding, engine: &Engine, beside: &Beside) {
        let (w, h) = l.header.upright();
        let pixels = (w * h) as f64;
        let output = (l.target.width * l.target.height) as f64;
        let rows = |depth| SpoolWriter::size(l.target.width, l.target.height, l.header.channels.count(), depth);
        let networks = engine.passes(l.target.factor()).is_ok_and(|p| !p.is_empty());
        let mastered = networks && beside.mastered.contains(&item.job);
        let mut work = if mastered { 0.0 } else { engine.work(pixels, l.target.factor()) };
        if beside.inspected && networks {
            work += comparing(engine, pixels, l.target.factor());
        }
        if mastered {
            self.mastered += output;
        } else if beside.keep_master && networks {
            self.mastered += output;
            self.masters += rows(Depth::F32);
        }
        self.sources += 1;
        self.notes.extend(l.note.clone().map(|note| (item.job, note)));
        self.sizes.push((pixels, output, n));
        let waiting = if beside.mends && networks { rows(Depth::F32) } else { 0 };
        self.spool.push(waiting + if beside.max_kb { rows(Depth::U16) } else { 0 });
        let deep = encoding.bits == 16 || (encoding.bits == 0 && l.header.bits > 8);
        let bits = if deep && item.format.supports_16_bit() { 16 } else { 8 };
        self.megapixels += pixels / 1e6;
        self.work += work;
        *self.output.entry((item.format.name(), bits)).or_default() += output;
        self.weights.insert(item.job, work + WRITING * output);
        *self.kinds.entry(l.header.format.name()).or_default() += 1;
        let (made, area) = ((l.target.width, l.target.height), |size: (usize, usize)| size.0 * size.1);
        let [small, large] = self.results.unwrap_or([made; 2]);
        self.results = Some([if area(made) < area(small) { made } else { small }, if area(made) > area(large) { made } else { large }]);
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
    pub fn format(&self) -> &'static str {
        self.output.iter().max_by(|a, b| a.1.total_cmp(b.1)).map_or("PNG", |((f, _), _)| f)
    }

    /// Everything but the networks, in seconds of `cores` cores.
    pub fn rest(&self, rehearsal: Option<&Rehearsal>, beside: &Beside, cores: usize) -> f64 {
        /// Seconds of a core per file: hashes, journal, names.
        const FILE: f64 = 0.0004;
        /// Per million pixels: rows written to disk or read from it.
        const ROWS: f64 = 0.012;
        let results = self.pixels() / 1e6;
        let guess = || Rehearsal {
            reading: 1e6 / READ_PER_S,
            finishing: self.output.iter().map(|((f, bits), px)| px / written_per_s(f, *bits)).sum::<f64>() / results.max(1e-9),
            inspecting: if beside.inspected { 0.2 } else { 0.0 },
        };
        let Rehearsal { reading, finishing, inspecting } = rehearsal.copied().unwrap_or_else(guess);
        let rows = ROWS * (self.mastered / 1e6 + if beside.mends { results } else { 0.0 });
        // A picture is read, graded and written by one thread.
        let threads = cores.min(self.sources).max(1) as f64;
        (reading * self.megapixels + finishing * results + rows + FILE * self.sources as f64) / threads
            + inspecting * results / cores.max(1) as f64
    }

    /// The places in the list of the sources that best stand for all, and how much each is enlarged; the best first.
    pub fn typical(&self) -> Vec<(usize, f64)> {
        /// Reading a larger one takes longer than a guess is worth.
        const AT_MOST: f64 = 12e6;
        let mut sizes: Vec<_> = self.sizes.iter().filter(|s| s.0 <= AT_MOST).collect();
        sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Half of the pixels are in smaller ones.
        let half = sizes.iter().map(|s| s.0).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let middle = sizes.iter().position(|s| {
            sum += s.0;
            sum >= half
        });
        let Some(m) = middle else { return Vec::new() };
        let around = [Some(m), m.checked_sub(1), m.checked_add(1)];
        around.into_iter().flatten().filter_map(|i| sizes.get(i)).map(|(pixels, result, n)| (*n, (result / pixels).sqrt())).collect()
    }

    /// Bytes of disk that are taken: results, masters, and what waits while pictures are worked on.
    pub fn disk(&self, rates: &Rates) -> u64 {
        let of = |((format, bits), pixels): (&(&str, u8), &f64)| {
            pixels * rates.bytes_per_px(format, *bits).unwrap_or(bytes_per_px(format, *bits))
        };
        self.output.iter().map(of).sum::<f64>() as u64 + self.masters + self.spool.iter().sum::<u64>()
    }
}

/// Hashes of the networks that enlarge by `factor`.
pub fn made_by(engine: &Engine, factor: f64) -> Vec<&str> {
    engine.passes(factor).unwrap_or_default().into_iter().map(|i| engine.model(i).sha256.as_str()).collect()
}

/// Work of the faithful enlargement that a result is compared with, in pixels of the main network; none if there is none.
fn comparing(engine: &Engine, pixels: f64, factor: f64) -> f64 {
    let passes = if factor > 1.0 { engine.reference_passes(factor, &made_by(engine, factor)) } else { Vec::new() };
    let cost = |i: usize| engine.model(i).bytes.len() as f64;
    let (mut size, mut sum) = (pixels, 0.0);
    for i in passes {
        sum += size * cost(i) / cost(0).max(1.0);
        size *= f64::from(engine.model(i).manifest.scale).powi(2);
    }
    sum
}

/// Source pixels a core decodes per second.
const READ_PER_S: f64 = 80e6;

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
        if !self.effort.notes.is_empty() {
            let (lead, noted) = ("\nnotes    ", told_together(self.effort.notes.iter().map(|(_, note)| note.as_str())));
            for (i, line) in noted.iter().take(TOLD).enumerate() {
                let _ = write!(text, "{}{line}", if i == 0 { lead } else { "\n         " });
            }
            if noted.len() > TOLD {
                let _ = write!(text, "\n         and notes of {} other kinds", noted.len() - TOLD);
            }
        }
        if self.done > 0 {
            let _ = write!(text, "\ndone     {} already", files(self.done));
        }
        if self.renamed > 0 {
            let _ = write!(text, "\nnames    {} named apart from others that want the same name", files(self.renamed));
        }
        if let Some([small, large]) = self.effort.results {
            let _ = write!(text, "\nresults  {}x{} px", small.0, small.1);
            if small != large {
                let _ = write!(text, " to {}x{} px", large.0, large.1);
            }
            if self.effort.factor > 1.005 {
                let _ = write!(text, ", the largest source {:.1} times larger", self.effort.factor);
            }
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
            "notes": self.effort.notes.iter().map(|(job, note)| serde_json::json!({"job": job, "message": note})).collect::<Vec<_>>(),
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
            "price": self.price.total(made, self.effort.pixels() / 1e6).map(|sum| (sum * 1e6).round() / 1e6),
            "currency": self.price.currency,
        })
    }
}
