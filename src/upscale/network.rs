//! One network as the tile engine sees it: its rules, how to open a session, and the checks on what it returns.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::tile::Rule;
use super::{Infer, InferError};
use crate::band::Band;
use crate::error::{Error, Result};

/// Opens sessions of one network.
pub trait Open: Send + Sync {
    /// A session on the device this network was loaded for; `safe` asks for full fp32 precision.
    fn open(&self, safe: bool) -> Result<Box<dyn Infer>>;

    /// Whether `safe` makes a difference (the session runs in reduced precision otherwise).
    fn has_safe(&self) -> bool;

    /// Whether it runs on the processor: what is refused there is the tile, not the device.
    fn on_processor(&self) -> bool {
        false
    }
}

/// What a network takes and gives; independent of the runtime.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The model's id, for messages.
    pub id: String,
    /// Output side over input side.
    pub scale: usize,
    /// Colour channels in and out: 1 or 3.
    pub channels: usize,
    /// Channel order is blue, green, red.
    pub bgr: bool,
    /// The network's white: 1 or 255.
    pub white: f32,
    pub rule: Rule,
}

/// A network that can be run on tiles from many threads.
pub struct Network {
    pub spec: Spec,
    opener: Box<dyn Open>,
    /// Largest input that fitted the device so far; halved when it runs out of memory.
    cap_px: AtomicUsize,
    halved: AtomicBool,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// A tile whose input varies by more than this must not come back constant.
const VARIES: f32 = 8.0 / 255.0;
/// Output that varies by less than this is constant.
const CONSTANT: f32 = 1e-6;

/// Calls of [`Network::run`] since the program began.
static TILES: AtomicU64 = AtomicU64::new(0);

/// How many tiles networks have enlarged so far, over all networks and pictures.
pub fn tiles() -> u64 {
    TILES.load(Ordering::Relaxed)
}

impl Network {
    /// A network whose sessions `opener` opens.
    pub fn new(spec: Spec, opener: Box<dyn Open>) -> Self {
        Self { spec, opener, cap_px: AtomicUsize::new(usize::MAX), halved: AtomicBool::new(false) }
    }

    /// A fresh session.
    pub fn open(&self, safe: bool) -> Result<Box<dyn Infer>> {
        self.opener.open(safe)
    }

    /// Whether a run had to be split because the device was short of memory (said once, then forgotten).
    pub fn take_halved(&self) -> Option<usize> {
        self.halved.swap(false, Ordering::Relaxed).then(|| self.cap_px.load(Ordering::Relaxed))
    }

    /// Enlarges one tile (1 or 3 channels, display-encoded, nominal 0..1). The tile obeys [`Spec::rule`].
    ///
    /// NaN, infinite, or constant output from a varying tile is retried in fp32 if the session runs in less, else an error: a
    /// black picture is never delivered. A device that runs out of memory gets the tile in halves.
    pub fn run(&self, session: &mut Box<dyn Infer>, tile: &Band) -> Result<Band> {
        TILES.fetch_add(1, Ordering::Relaxed);
        let out = self.colours(session, tile)?;
        let Some(fault) = fault(tile, &out) else { return Ok(out) };
        if self.opener.has_safe() {
            let mut safe = self.opener.open(true)?;
            let again = self.colours(&mut safe, tile)?;
            if self::fault(tile, &again).is_none() {
                return Ok(again);
            }
        }
        Err(Error::quality(
            format!("model {}", self.spec.id),
            format!("{fault} for the tile at row {}", tile.y),
            "another model, or --device cpu --precision fp32",
        ))
    }

    /// Matches the tile's channels to the network's and back.
    fn colours(&self, session: &mut Box<dyn Infer>, tile: &Band) -> Result<Band> {
        let white = self.spec.white;
        match (tile.channels, self.spec.channels) {
            (have, want) if have == want => {
                if white == 1.0 && !self.spec.bgr {
                    return self.split(session, tile);
                }
                let mut input = tile.clone();
                self.swap(&mut input);
                input.data.iter_mut().for_each(|v| *v *= white);
                let mut out = self.split(session, &input)?;
                out.data.iter_mut().for_each(|v| *v /= white);
                self.swap(&mut out);
                Ok(out)
            }
            // Grey through a colour network: three equal channels in, their mean out.
            (1, 3) => {
                let mut input = Band::new(tile.y, tile.width, tile.rows, 3);
                for c in 0..3 {
                    for (i, v) in input.plane_mut(c).iter_mut().zip(tile.plane(0)) {
                        *i = v * white;
                    }
                }
                let out = self.split(session, &input)?;
                let mut grey = Band::new(out.y, out.width, out.rows, 1);
                for (i, g) in grey.data.iter_mut().enumerate() {
                    *g = (out.plane(0)[i] + out.plane(1)[i] + out.plane(2)[i]) / (3.0 * white);
                }
                Ok(grey)
            }
            // Colour through a grey network: channel by channel.
            (3, 1) => {
                let mut all: Option<Band> = None;
                for c in 0..3 {
                    let mut input = Band::new(tile.y, tile.width, tile.rows, 1);
                    for (i, v) in input.data.iter_mut().zip(tile.plane(c)) {
                        *i = v * white;
                    }
                    let out = self.split(session, &input)?;
                    let all = all.get_or_insert_with(|| Band::new(out.y, out.width, out.rows, 3));
                    for (a, v) in all.plane_mut(c).iter_mut().zip(&out.data) {
                        *a = v / white;
                    }
                }
                all.ok_or_else(|| Error::Internal("no channel was run".into()))
            }
            (have, want) => Err(Error::Internal(format!("{have} channels for a network with {want}"))),
        }
    }

    fn swap(&self, band: &mut Band) {
        if self.spec.bgr && band.channels == 3 {
            let n = band.rows * band.width;
            let (first, rest) = band.data.split_at_mut(2 * n);
            first[..n].swap_with_slice(rest);
        }
    }

    /// The runtime refused a tile. A processor refuses what does not suit the network; other pictures may.
    fn failed(&self, tile: &Band, what: &str) -> Error {
        let model = format!("model {}", self.spec.id);
        match self.opener.on_processor() {
            true => {
                Error::limit(model, format!("it refused a tile of {}x{} px: {what}", tile.width, tile.rows), "another --model, or --tile")
            }
            false => Error::device(model, what, "--device cpu, or `lastmile doctor`"),
        }
    }

    /// Runs the tile whole or, where the device lacks the memory, in two halves cut with full context, down to a floor.
    fn split(&self, session: &mut Box<dyn Infer>, tile: &Band) -> Result<Band> {
        let px = tile.width * tile.rows;
        if px <= self.cap_px.load(Ordering::Relaxed) {
            match session.run(tile) {
                Ok(out) => return self.sized(tile, out),
                Err(InferError::Failed(what)) => {
                    return Err(self.failed(tile, &what));
                }
                Err(InferError::OutOfMemory(_)) => {
                    self.cap_px.fetch_min(px.saturating_sub(1).max(1), Ordering::Relaxed);
                    self.halved.store(true, Ordering::Relaxed);
                }
            }
        }
        let Some((a, b, cut)) = self.halves(tile) else {
            return Err(Error::device(
                format!("model {}", self.spec.id),
                format!("out of memory even for a tile of {} x {} px", tile.width, tile.rows),
                "close other programs that use the device, or --device cpu",
            ));
        };
        let s = self.spec.scale;
        let (a_out, b_out) = (self.split(session, &a)?, self.split(session, &b)?);
        let mut out = Band::new(tile.y, tile.width * s, tile.rows * s, tile.channels);
        let across = tile.width > tile.rows;
        for c in 0..tile.channels {
            for y in 0..out.rows {
                if across {
                    let (left, skip) = (cut * s, (cut - (tile.width - b.width)) * s);
                    out.row_mut(c, y)[..left].copy_from_slice(&a_out.row(c, y)[..left]);
                    out.row_mut(c, y)[left..].copy_from_slice(&b_out.row(c, y)[skip..]);
                } else {
                    let from = if y < cut * s { a_out.row(c, y) } else { b_out.row(c, y - (tile.rows - b.rows) * s) };
                    out.row_mut(c, y).copy_from_slice(from);
                }
            }
        }
        Ok(out)
    }

    /// Two overlapping halves of a tile and where their results meet, or nothing if it cannot get smaller.
    fn halves(&self, tile: &Band) -> Option<(Band, Band, usize)> {
        let rule = &self.spec.rule;
        let across = tile.width > tile.rows;
        let long = tile.width.max(tile.rows);
        let grid = rule.stride.max(1) * rule.multiple.max(1);
        let cut = (long / 2).div_ceil(grid) * grid;
        let end = (cut + rule.halo).next_multiple_of(grid);
        let start = cut.saturating_sub(rule.halo) / grid * grid;
        let floor = (2 * rule.halo + 16).max(rule.minimum);
        if rule.fixed.is_some() || long < 2 * floor || end >= long || start == 0 || long - start < rule.minimum || end < rule.minimum {
            return None;
        }
        let part = |from: usize, to: usize| {
            let (x, y) = if across { ((from, to), (0, tile.rows)) } else { ((0, tile.width), (from, to)) };
            let mut b = Band::new(tile.y, x.1 - x.0, y.1 - y.0, tile.channels);
            for c in 0..tile.channels {
                for r in y.0..y.1 {
                    b.row_mut(c, r - y.0).copy_from_slice(&tile.row(c, r)[x.0..x.1]);
                }
            }
            b
        };
        Some((part(0, end), part(start, long), cut))
    }

    fn sized(&self, tile: &Band, out: Band) -> Result<Band> {
        let s = self.spec.scale;
        if (out.width, out.rows, out.channels) == (tile.width * s, tile.rows * s, tile.channels) {
            return Ok(out);
        }
        Err(Error::model(
            &self.spec.id,
            format!("{}x{} px in gave {}x{} px out, not x{s}", tile.width, tile.rows, out.width, out.rows),
            "correct `scale` and `size` in its manifest (`lastmile models show`)",
        ))
    }
}

/// What is wrong with a result, if anything.
fn fault(input: &Band, out: &Band) -> Option<&'static str> {
    let range = |v: &[f32]| v.iter().fold((f32::MAX, f32::MIN), |(lo, hi), &x| (lo.min(x), hi.max(x)));
    // 0 x is NaN for NaN and infinities alike, and a plain sum vectorises where `all(is_finite)` does not.
    if out.data.iter().map(|v| v * 0.0).sum::<f32>().is_nan() {
        return Some("NaN or infinite output");
    }
    let (lo, hi) = range(&out.data);
    if hi - lo < CONSTANT {
        let (lo, hi) = range(&input.data);
        if hi - lo > VARIES {
            return Some("constant output");
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;

    /// A stand-in for a session: enlarges by repeating pixels, plus a 3x3-ish context so that halos matter, and misbehaves
    /// on demand.
    #[derive(Debug, Clone, Default)]
    pub struct Fake {
        pub scale: usize,
        /// Inputs above this many pixels run out of memory.
        pub memory_px: Option<usize>,
        pub nan: bool,
        pub constant: bool,
        pub fail: bool,
        /// What it invents: a pattern this strong, on pictures darkened as much.
        pub invents: f32,
        pub runs: Arc<AtomicUsize>,
    }

    impl Infer for Fake {
        fn run(&mut self, t: &Band) -> Result<Band, InferError> {
            self.runs.fetch_add(1, Ordering::Relaxed);
            if self.memory_px.is_some_and(|m| t.width * t.rows > m) {
                return Err(InferError::OutOfMemory("fake".into()));
            }
            if self.fail {
                return Err(InferError::Failed("fake failure".into()));
            }
            let s = self.scale;
            let mut out = Band::new(t.y, t.width * s, t.rows * s, t.channels);
            for c in 0..t.channels {
                for y in 0..out.rows {
                    for x in 0..out.width {
                        let (sx, sy) = (x / s, y / s);
                        // Zero-padded five-point sum: what a convolution with radius 1 does at a border.
                        let get = |dx: isize, dy: isize| {
                            let (px, py) = (sx as isize + dx, sy as isize + dy);
                            let inside = px >= 0 && py >= 0 && (px as usize) < t.width && (py as usize) < t.rows;
                            if inside { t.row(c, py as usize)[px as usize] } else { 0.0 }
                        };
                        let v = 0.6 * get(0, 0) + 0.1 * (get(-1, 0) + get(1, 0) + get(0, -1) + get(0, 1));
                        let v = v * (1.0 - self.invents) + if (x / 2 + y).is_multiple_of(2) { self.invents } else { 0.0 };
                        out.row_mut(c, y)[x] = if self.constant { 0.0 } else { v };
                    }
                }
            }
            if self.nan {
                out.data[0] = f32::NAN;
            }
            Ok(out)
        }
    }

    /// Opens fakes; `safe` ones behave.
    pub struct Fakes {
        pub fake: Fake,
        pub safe_heals: bool,
    }

    impl Open for Fakes {
        fn open(&self, safe: bool) -> Result<Box<dyn Infer>> {
            let mut f = self.fake.clone();
            if safe {
                (f.nan, f.constant) = (false, false);
            }
            Ok(Box::new(f))
        }

        fn has_safe(&self) -> bool {
            self.safe_heals
        }
    }

    pub fn network(fake: Fake, rule: Rule) -> Network {
        let spec = Spec { id: "fake".into(), scale: fake.scale, channels: 3, bgr: false, white: 1.0, rule };
        Network::new(spec, Box::new(Fakes { fake, safe_heals: false }))
    }

    pub fn picture(w: usize, h: usize, channels: usize) -> Band {
        let mut b = Band::new(0, w, h, channels);
        for (i, v) in b.data.iter_mut().enumerate() {
            *v = ((i * 2_654_435_761) % 1000) as f32 / 1000.0;
        }
        b
    }

    fn run(n: &Network, tile: &Band) -> Result<Band> {
        n.run(&mut n.open(false).unwrap(), tile)
    }

    #[test]
    fn nan_and_constant_output_is_an_error_or_healed_in_fp32() {
        for fake in [Fake { scale: 2, nan: true, ..Fake::default() }, Fake { scale: 2, constant: true, ..Fake::default() }] {
            let tile = picture(16, 16, 3);
            let n = network(fake.clone(), Rule::default());
            let e = run(&n, &tile).unwrap_err();
            assert_eq!(e.kind(), "quality", "{e}");
            let n = Network::new(n.spec.clone(), Box::new(Fakes { fake, safe_heals: true }));
            assert!(run(&n, &tile).is_ok());
        }
    }

    #[test]
    fn a_flat_tile_may_stay_flat() {
        let mut tile = Band::new(0, 8, 8, 3);
        tile.data.fill(0.5);
        assert!(run(&network(Fake { scale: 2, constant: true, ..Fake::default() }, Rule::default()), &tile).is_ok());
    }

    #[test]
    fn out_of_memory_halves_the_tile_and_changes_nothing() {
        let rule = Rule { halo: 1, ..Rule::default() };
        for (w, h) in [(200, 90), (70, 201), (128, 128)] {
            let tile = picture(w, h, 3);
            let whole = run(&network(Fake { scale: 3, ..Fake::default() }, rule), &tile).unwrap();
            let n = network(Fake { scale: 3, memory_px: Some(4000), ..Fake::default() }, rule);
            assert_eq!(run(&n, &tile).unwrap(), whole);
            assert!(n.take_halved().is_some() && n.take_halved().is_none(), "said once");
        }
        let e = run(&network(Fake { scale: 3, memory_px: Some(10), ..Fake::default() }, rule), &picture(64, 64, 3)).unwrap_err();
        assert!(e.to_string().contains("out of memory even for a tile of"), "{e}");
    }

    #[test]
    fn a_failing_device_is_a_device_error() {
        let e = run(&network(Fake { scale: 2, fail: true, ..Fake::default() }, Rule::default()), &picture(8, 8, 3)).unwrap_err();
        assert_eq!((e.kind(), e.exit()), ("device", crate::Exit::Unavailable));
    }

    #[test]
    fn grey_range_and_order_are_adapted() {
        let grey = picture(9, 7, 1);
        let mut n = network(Fake { scale: 2, ..Fake::default() }, Rule::default());
        let direct = Fake { scale: 2, ..Fake::default() }.run(&grey).unwrap();
        let near = |a: &Band, b: &Band| a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&run(&n, &grey).unwrap(), &direct));
        n.spec.white = 255.0;
        assert!(near(&run(&n, &grey).unwrap(), &direct));
        let rgb = picture(9, 7, 3);
        let want = Fake { scale: 2, ..Fake::default() }.run(&rgb).unwrap();
        n.spec.bgr = true;
        assert!(near(&run(&n, &rgb).unwrap(), &want), "a channel-wise network cannot tell the order");
        n.spec.channels = 1;
        assert!(near(&run(&n, &rgb).unwrap(), &want));
    }
}
