//! One network over one picture, as a stage: rows in, enlarged rows out, tiles in between.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::network::Network;
use super::pool::{Cancel, Pool, Reply, Task};
use super::tile::{Grid, Ramp, Span};
use crate::band::{Band, Sink, Stage, Window};
use crate::error::{Error, Result};

/// Runs a network over a stream of bands (1 or 3 channels, display-encoded).
///
/// Rows of tiles are queued as soon as their input rows are there; finished rows leave in order. At most one row of tiles
/// plus one tile per worker is under way, so memory is bounded by two rows of tiles of output.
pub struct Pass<'a> {
    network: Arc<Network>,
    pool: Arc<Pool>,
    grid: Grid,
    channels: usize,
    source: Window,
    /// Next row of tiles to queue, next segment to hand on.
    queued_rows: usize,
    done_rows: usize,
    /// Tiles finished per row of tiles.
    finished: Vec<usize>,
    /// Output rows under construction; the first belongs to `done_rows`. Segment `i` holds the rows that are complete once
    /// row of tiles `i` is.
    segments: VecDeque<Option<Band>>,
    under_way: usize,
    ahead: usize,
    replies: (mpsc::Sender<Reply>, mpsc::Receiver<Reply>),
    cancel: Arc<Cancel>,
    stop: &'a AtomicBool,
}

impl<'a> Pass<'a> {
    /// A pass of `network` over a picture cut as `grid`, with `channels` (1 or 3) colour channels. `stop` ends it with
    /// [`Error::Interrupted`].
    pub fn new(network: Arc<Network>, pool: Arc<Pool>, grid: Grid, channels: usize, stop: &'a AtomicBool) -> Self {
        let rows = grid.rows.len();
        Self {
            source: Window::new(grid.width, channels),
            queued_rows: 0,
            done_rows: 0,
            finished: vec![0; rows],
            segments: (0..rows).map(|_| None).collect(),
            under_way: 0,
            ahead: grid.cols.len() + pool.workers(),
            replies: mpsc::channel(),
            cancel: Arc::default(),
            network,
            pool,
            grid,
            channels,
            stop,
        }
    }

    /// Queues every row of tiles whose input is there.
    fn queue(&mut self, next: &mut Sink<'_>) -> Result<()> {
        while self.queued_rows < self.grid.rows.len() && self.grid.rows[self.queued_rows].input.1 <= self.source.end() {
            let j = self.queued_rows;
            for i in 0..self.grid.cols.len() {
                while self.under_way >= self.ahead {
                    self.collect(next)?;
                }
                let tile = cut(&self.source, self.grid.cols[i], self.grid.rows[j]);
                self.under_way += 1;
                self.pool.submit(Task {
                    network: Arc::clone(&self.network),
                    index: j * self.grid.cols.len() + i,
                    tile,
                    cancel: Arc::clone(&self.cancel),
                    reply: self.replies.0.clone(),
                });
            }
            self.queued_rows += 1;
            if let Some(row) = self.grid.rows.get(self.queued_rows) {
                self.source.drop_above(row.input.0);
            }
        }
        Ok(())
    }

    /// Waits for one tile, puts it in its place and hands on what is complete.
    fn collect(&mut self, next: &mut Sink<'_>) -> Result<()> {
        let (index, tile) = loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match self.replies.1.recv_timeout(Duration::from_millis(50)) {
                Ok(reply) => break reply,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                // Not reachable while `self` holds a sender.
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Error::Internal("the tile workers are gone".into())),
            }
        };
        self.under_way -= 1;
        let (i, j) = (index % self.grid.cols.len(), index / self.grid.cols.len());
        self.place(i, j, &tile?);
        self.finished[j] += 1;
        while self.done_rows < self.grid.rows.len() && self.finished[self.done_rows] == self.grid.cols.len() {
            let segment = self.segments.pop_front().flatten();
            let segment = segment.ok_or_else(|| Error::Internal("a finished row of tiles has no pixels".into()))?;
            self.done_rows += 1;
            next(segment)?;
        }
        Ok(())
    }

    /// Rows (input pixels) of segment `j`.
    fn segment_rows(&self, j: usize) -> (usize, usize) {
        let from = if j == 0 { 0 } else { self.grid.complete_after(j - 1) };
        (from, self.grid.complete_after(j))
    }

    /// Writes (or, where cores are cross-faded, adds) a finished tile into the one or two segments it reaches.
    fn place(&mut self, i: usize, j: usize, tile: &Band) {
        let s = self.network.spec.scale;
        let (cols, rows) = (self.grid.col_weights(i), self.grid.row_weights(j));
        let (span_x, span_y) = (self.grid.cols[i], self.grid.rows[j]);
        let fade = self.grid.feather > 0;
        let across: Vec<f32> = if fade { (cols.from * s..cols.to * s).map(|o| cols.at(o, s)).collect() } else { Vec::new() };
        for seg in j..(j + 2).min(self.grid.rows.len()) {
            let (from, to) = self.segment_rows(seg);
            let (y0, y1) = (from.max(rows.from), to.min(rows.to));
            if y0 >= y1 {
                continue;
            }
            let slot = &mut self.segments[seg - self.done_rows];
            let out = slot.get_or_insert_with(|| Band::new(from * s, self.grid.width * s, (to - from) * s, self.channels));
            for c in 0..self.channels {
                for y in y0 * s..y1 * s {
                    let source = &tile.row(c, y - span_y.input.0 * s)[(cols.from - span_x.input.0) * s..(cols.to - span_x.input.0) * s];
                    let target = &mut out.row_mut(c, y - from * s)[cols.from * s..cols.to * s];
                    if fade {
                        add(target, source, &across, &rows, y, s);
                    } else {
                        target.copy_from_slice(source);
                    }
                }
            }
        }
    }
}

fn add(target: &mut [f32], source: &[f32], across: &[f32], rows: &Ramp, y: usize, s: usize) {
    let down = rows.at(y, s);
    for ((t, v), w) in target.iter_mut().zip(source).zip(across) {
        *t += v * w * down;
    }
}

/// The input of a tile, with the padding of its spans reflected from the picture's edge.
fn cut(source: &Window, x: Span, y: Span) -> Band {
    if x.pad == 0 && y.pad == 0 {
        return source.copy(x.input.0, x.input.1, y.input.0, y.input.1);
    }
    let mut out = Band::new(y.input.0, x.computed(), y.computed(), 0);
    let channels = source.channels();
    out.channels = channels;
    out.data = vec![0.0; x.computed() * y.computed() * channels];
    for c in 0..channels {
        for r in 0..y.computed() {
            let from = source.row(c, y.input.0 + reflect(r, y.input.1 - y.input.0));
            for (k, v) in out.row_mut(c, r).iter_mut().enumerate() {
                *v = from[x.input.0 + reflect(k, x.input.1 - x.input.0)];
            }
        }
    }
    out
}

/// Index `i` folded back into `0..n` at the ends without repeating the edge pixel (…2 1 0 1 2…).
fn reflect(i: usize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let period = 2 * (n - 1);
    let k = i % period;
    if k < n { k } else { period - k }
}

impl Stage for Pass<'_> {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        self.source.push(&band);
        self.queue(next)
    }

    fn finish(&mut self, next: &mut Sink<'_>) -> Result<()> {
        self.queue(next)?;
        while self.under_way > 0 {
            self.collect(next)?;
        }
        if self.done_rows != self.grid.rows.len() {
            return Err(Error::Internal(format!("{} of {} rows of tiles done", self.done_rows, self.grid.rows.len())));
        }
        Ok(())
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::tests::{Fake, network, picture};
    use super::super::tile::Rule;
    use super::*;
    use crate::upscale::Infer;
    use proptest::prelude::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn upscale(fake: Fake, rule: Rule, picture: &Band, core: usize, step: usize, workers: usize) -> Result<Band> {
        let grid = Grid::with_core(picture.width, picture.rows, core, &rule)?;
        let pool = Arc::new(Pool::new(workers)?);
        let scale = fake.scale;
        let mut pass = Pass::new(Arc::new(network(fake, rule)), pool, grid, picture.channels, &NEVER);
        let mut out = Band::new(0, picture.width * scale, picture.rows * scale, picture.channels);
        let mut at = 0;
        let mut sink = |b: Band| {
            assert_eq!(b.y, at, "rows leave in order");
            at = b.end();
            for c in 0..b.channels {
                for r in 0..b.rows {
                    out.row_mut(c, b.y + r).copy_from_slice(b.row(c, r));
                }
            }
            Ok(())
        };
        for y in (0..picture.rows).step_by(step) {
            pass.push(picture.slice(y, (y + step).min(picture.rows)), &mut sink)?;
        }
        pass.finish(&mut sink)?;
        assert_eq!(at, out.rows);
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn tiles_never_show(w in 1usize..90, h in 1usize..70, core in 3usize..50, step in 1usize..40, scale in 1usize..4, workers in 1usize..4, grey: bool) {
            let p = picture(w, h, if grey { 1 } else { 3 });
            let whole = Fake { scale, ..Fake::default() }.run(&p).unwrap();
            let rule = Rule { halo: 1, ..Rule::default() };
            let tiled = upscale(Fake { scale, ..Fake::default() }, rule, &p, core, step, workers).unwrap();
            let worst = tiled.data.iter().zip(&whole.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            prop_assert!(worst < 1e-6, "{worst}");
        }

        #[test]
        fn blending_equals_the_whole_where_context_is_enough(w in 20usize..90, h in 20usize..70, core in 12usize..50, step in 1usize..40) {
            let p = picture(w, h, 3);
            let whole = Fake { scale: 2, ..Fake::default() }.run(&p).unwrap();
            let rule = Rule { halo: 6, feather: 5, ..Rule::default() };
            let tiled = upscale(Fake { scale: 2, ..Fake::default() }, rule, &p, core, step, 2).unwrap();
            let worst = tiled.data.iter().zip(&whole.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            prop_assert!(worst < 1e-5, "{worst}");
        }

        #[test]
        fn the_size_rule_pads_and_crops(w in 1usize..40, h in 1usize..40, core in 3usize..30, minimum in 1usize..24) {
            let p = picture(w, h, 3);
            let rule = Rule { halo: 1, minimum, ..Rule::default() };
            let out = upscale(Fake { scale: 2, ..Fake::default() }, rule, &p, core, 7, 2).unwrap();
            let plain = upscale(Fake { scale: 2, ..Fake::default() }, rule, &p, 1000, 7, 1).unwrap();
            prop_assert!(out == plain, "a size rule must not make tiles show");
        }
    }

    #[test]
    fn a_bad_tile_fails_the_picture() {
        let e = upscale(Fake { scale: 2, nan: true, ..Fake::default() }, Rule::default(), &picture(30, 30, 3), 10, 8, 2).unwrap_err();
        assert_eq!(e.kind(), "quality");
    }

    #[test]
    fn stop_interrupts() {
        let rule = Rule::default();
        let grid = Grid::with_core(64, 64, 8, &rule).unwrap();
        let stop = AtomicBool::new(true);
        let net = Arc::new(network(Fake { scale: 2, ..Fake::default() }, rule));
        let mut pass = Pass::new(net, Arc::new(Pool::new(1).unwrap()), grid, 3, &stop);
        assert!(matches!(pass.push(picture(64, 64, 3), &mut |_| Ok(())), Err(Error::Interrupted)));
    }

    #[test]
    fn reflect_folds() {
        assert_eq!((0..8).map(|i| reflect(i, 3)).collect::<Vec<_>>(), [0, 1, 2, 1, 0, 1, 2, 1]);
        assert_eq!(reflect(5, 1), 0);
    }
}
