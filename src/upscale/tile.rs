//! How a picture is cut into tiles so that the cuts never show.
//!
//! A tile has a *core*, the pixels it answers for, and an *input*, the core plus context. Cores partition the picture evenly:
//! no pixel is computed twice because a last tile was shifted back. Context is cut off at the picture's border and never
//! padded there, because the network's own layers pad with zeros at the border exactly as they would untiled.
//!
//! *Exact* mode: the context is the network's receptive radius, so every core pixel is what an untiled run gives, and cores
//! are copied. *Blend* mode (networks whose reach is the whole picture or too deep): neighbouring cores overlap by twice the
//! feather and are cross-faded with weights that add up to one.

use crate::error::{Error, Result};

/// What a network asks of its tiles, all in input pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Context around a core.
    pub halo: usize,
    /// Half the width of the cross-fade between cores; 0 in exact mode.
    pub feather: usize,
    /// Tile origins are multiples of this.
    pub stride: usize,
    /// Smallest input side.
    pub minimum: usize,
    /// Input sides are multiples of this.
    pub multiple: usize,
    /// The only input size a network with a fixed shape takes (height, width).
    pub fixed: Option<(usize, usize)>,
}

impl Default for Rule {
    fn default() -> Self {
        Self { halo: 0, feather: 0, stride: 1, minimum: 1, multiple: 1, fixed: None }
    }
}

/// One tile's extent along one axis, input pixels, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// What the tile answers for.
    pub core: (usize, usize),
    /// What the network sees, inside the picture.
    pub input: (usize, usize),
    /// Pixels added behind `input` (reflected) to satisfy the size rule, because the picture itself is too small or ends off
    /// the grid.
    pub pad: usize,
}

impl Span {
    /// Input pixels the network computes, padding included.
    pub fn computed(&self) -> usize {
        self.input.1 - self.input.0 + self.pad
    }

    /// Where the tile contributes when cores are widened by the feather, inside the picture.
    fn reach(&self, feather: usize, size: usize) -> (usize, usize) {
        (self.core.0.saturating_sub(feather), (self.core.1 + feather).min(size))
    }
}

/// A picture cut into columns and rows of tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    pub width: usize,
    pub height: usize,
    pub feather: usize,
    pub cols: Vec<Span>,
    pub rows: Vec<Span>,
}

/// What limits the choice of tiles.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Most input pixels one tile may have.
    pub tile_px: usize,
    /// Most input rows a row of tiles may have (the finished rows of a whole row of tiles are held at once).
    pub row_px: usize,
    /// Tiles wanted at least, so that every worker has something to do.
    pub parallel: usize,
}

/// Side of the smallest core that is worth its halo.
const MIN_CORE: usize = 32;

impl Grid {
    /// Cuts a `width` x `height` picture into cores of at most `core_px` a side (as given with `--tile`).
    pub fn with_core(width: usize, height: usize, core_px: usize, rule: &Rule) -> Result<Self> {
        let core = core_px.max(1);
        Self::cut(width, height, width.div_ceil(core), height.div_ceil(core), rule)
    }

    /// Cuts a picture so that the fewest pixels are computed within `budget`.
    pub fn best(width: usize, height: usize, rule: &Rule, budget: &Budget) -> Result<Self> {
        if let Some((h, w)) = rule.fixed {
            // Origins lie on the stride: context and cores are whole steps.
            let stride = rule.stride.max(1);
            let core = |side: usize| side.saturating_sub(2 * rule.halo.next_multiple_of(stride)) / stride * stride;
            let parts = |size: usize, side: usize| {
                if size <= side { Some(1) } else { Some(core(side)).filter(|c| *c > 0).map(|c| size.div_ceil(c)) }
            };
            return match (parts(width, w), parts(height, h)) {
                (Some(nx), Some(ny)) => Self::cut(width, height, nx, ny, rule),
                _ => Err(Error::limit(
                    "the network",
                    format!("its fixed input of {w}x{h} px leaves nothing beside {} px of context on each side", rule.halo),
                    "--tile-mode blend, or the model exported with free height and width",
                )),
            };
        }
        // Halo pixels are what splitting costs: (w + 2 halo (nx-1)) (h + 2 halo (ny-1)) are computed in all. Enough tiles for
        // every worker are forced only as far as cores stay worth their halo.
        let sum = |side: usize, parts: usize| side + 2 * rule.halo * (parts - 1);
        let tile = |side: usize, parts: usize| (side.div_ceil(parts) + if parts > 1 { 2 * rule.halo } else { 0 }).min(side);
        let most = |side: usize| side.div_ceil(MIN_CORE.max(rule.halo)).max(1);
        let wanted = budget.parallel.clamp(1, most(width) * most(height));
        let mut best: Option<(usize, usize, (usize, usize))> = None;
        for nx in 1..=most(width) {
            for ny in 1..=most(height) {
                let fits = tile(width, nx) * tile(height, ny) <= budget.tile_px && tile(height, ny) <= budget.row_px.max(MIN_CORE);
                let enough = nx * ny >= wanted;
                let missing = usize::from(!fits) * 2 + usize::from(!enough);
                // A count that the workers divide evenly leaves none idle at the end; it matters for small counts only.
                let uneven = (nx * ny) % wanted.max(1);
                let idle = if nx * ny < 4 * wanted && uneven != 0 { wanted - uneven } else { 0 };
                let cost = sum(width, nx) * sum(height, ny) + idle * tile(width, nx) * tile(height, ny);
                let rank = (missing, if missing >= 2 { tile(width, nx) * tile(height, ny) } else { cost });
                if best.is_none_or(|(m, c, _)| rank < (m, c)) {
                    best = Some((rank.0, rank.1, (nx, ny)));
                }
            }
        }
        let (nx, ny) = best.map_or((1, 1), |b| b.2);
        Self::cut(width, height, nx, ny, rule)
    }

    fn cut(width: usize, height: usize, nx: usize, ny: usize, rule: &Rule) -> Result<Self> {
        let fixed = |axis: fn((usize, usize)) -> usize| rule.fixed.map(axis);
        let cols = spans(width, nx, rule, fixed(|f| f.1))?;
        let rows = spans(height, ny, rule, fixed(|f| f.0))?;
        Ok(Self { width, height, feather: rule.feather, cols, rows })
    }

    /// How many tiles there are.
    pub fn len(&self) -> usize {
        self.cols.len() * self.rows.len()
    }

    /// Whether there are no tiles; a picture always has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Core pixels over computed pixels, 0..1.
    pub fn core_share(&self) -> f64 {
        let all = |spans: &[Span]| spans.iter().map(Span::computed).sum::<usize>();
        (self.width * self.height) as f64 / (all(&self.cols) * all(&self.rows)).max(1) as f64
    }

    /// The largest core, width and height.
    pub fn tile(&self) -> [u32; 2] {
        let most = |spans: &[Span]| spans.iter().map(|s| s.core.1 - s.core.0).max().unwrap_or(0) as u32;
        [most(&self.cols), most(&self.rows)]
    }

    /// The largest input of a tile in pixels.
    pub fn largest_input_px(&self) -> usize {
        let most = |spans: &[Span]| spans.iter().map(Span::computed).max().unwrap_or(0);
        most(&self.cols) * most(&self.rows)
    }

    /// Where column `i` contributes, and how much at each input pixel of that range.
    pub fn col_weights(&self, i: usize) -> Ramp {
        Ramp::new(&self.cols, i, self.feather, self.width)
    }

    /// Where row `i` contributes, and how much at each input pixel of that range.
    pub fn row_weights(&self, i: usize) -> Ramp {
        Ramp::new(&self.rows, i, self.feather, self.height)
    }

    /// Rows `..n` (input pixels) that are complete once the tile rows `..=i` are done.
    pub fn complete_after(&self, i: usize) -> usize {
        if i + 1 == self.rows.len() { self.height } else { self.rows[i].core.1 - self.feather }
    }
}

/// The weight of one tile along one axis: 1 inside, a linear cross-fade over `2 * feather` input pixels at inner cuts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// Contributing range, input pixels, half-open.
    pub from: usize,
    pub to: usize,
    /// Centres of the cross-fades, if the side is an inner cut.
    rise: Option<usize>,
    fall: Option<usize>,
    feather: usize,
}

impl Ramp {
    fn new(spans: &[Span], i: usize, feather: usize, size: usize) -> Self {
        let (from, to) = spans[i].reach(feather, size);
        let inner = |cond: bool, at: usize| (cond && feather > 0).then_some(at);
        Self { from, to, rise: inner(i > 0, spans[i].core.0), fall: inner(i + 1 < spans.len(), spans[i].core.1), feather }
    }

    /// Weight at output pixel `o` (counted from the picture's first) of a network with that scale; neighbours add up to 1.
    pub fn at(&self, o: usize, scale: usize) -> f32 {
        // Pixel centres in units of input pixels; the fade runs over [cut - feather, cut + feather].
        let x = (o as f32 + 0.5) / scale as f32;
        let up = |cut: usize| ((x - cut as f32) / (2.0 * self.feather as f32) + 0.5).clamp(0.0, 1.0);
        self.rise.map_or(1.0, up) * self.fall.map_or(1.0, |cut| 1.0 - up(cut))
    }

    /// Whether every weight is 1.
    pub fn is_flat(&self) -> bool {
        self.rise.is_none() && self.fall.is_none()
    }
}

/// Splits `size` pixels into at most `parts` even spans.
fn spans(size: usize, parts: usize, rule: &Rule, fixed: Option<usize>) -> Result<Vec<Span>> {
    let stride = rule.stride.max(1);
    // Blending needs room for a whole cross-fade inside every core.
    let room = if rule.feather > 0 { 2 * rule.feather } else { 1 };
    let parts = parts.clamp(1, (size / room.max(stride)).max(1));
    let cut = |i: usize| if i == parts { size } else { (i * size / parts).div_ceil(stride) * stride };
    let mut out = Vec::with_capacity(parts);
    for i in 0..parts {
        let core = (cut(i), cut(i + 1).min(size));
        if core.0 >= core.1 {
            continue;
        }
        let mut a = core.0.saturating_sub(rule.halo) / stride * stride;
        let mut b = (core.1 + rule.halo).min(size);
        // The size rule: take real pixels where the picture has them, padding only where it ends.
        let rounded = |n: usize| n.max(rule.minimum).next_multiple_of(rule.multiple.max(1));
        let want = fixed.unwrap_or_else(|| rounded(b - a));
        if want < b - a {
            return Err(Error::Internal(format!("a tile of {} px does not fit a network fixed at {want} px", b - a)));
        }
        b = (a + want).min(size);
        if b - a < want {
            // Lower the origin, keeping it on the stride grid; a few more pixels may then be needed to round up again.
            a = b.saturating_sub(want).div_ceil(stride) * stride;
            a = a.min(core.0.saturating_sub(rule.halo) / stride * stride);
        }
        let total = fixed.unwrap_or_else(|| rounded(b - a));
        out.push(Span { core, input: (a, b), pad: total.saturating_sub(b - a) });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule() -> impl Strategy<Value = Rule> {
        (0usize..40, 0usize..12, 1usize..5, 1usize..20, 1usize..5).prop_map(|(halo, feather, stride, minimum, multiple)| Rule {
            halo: halo.max(feather),
            feather,
            stride,
            minimum,
            // A network's size rule is always a multiple of its stride, or the other way round.
            multiple: if multiple == 1 { 1 } else { stride },
            fixed: None,
        })
    }

    fn check(g: &Grid, r: &Rule) {
        for (spans, size) in [(&g.cols, g.width), (&g.rows, g.height)] {
            let mut at = 0;
            for s in spans.iter() {
                assert_eq!(s.core.0, at, "cores partition");
                at = s.core.1;
                assert!(s.input.0 <= s.core.0.saturating_sub(r.halo), "full halo before, clipped at the border");
                assert!(s.input.1 >= (s.core.1 + r.halo).min(size), "full halo behind, clipped at the border");
                assert!(s.input.1 <= size);
                assert_eq!(s.input.0 % r.stride, 0);
                assert!(s.computed() >= r.minimum);
                assert_eq!(s.computed() % r.multiple, 0);
                assert!(s.pad == 0 || s.input.1 == size, "padding only where the picture ends");
            }
            assert_eq!(at, size);
        }
    }

    proptest! {
        #[test]
        fn cores_partition_and_inputs_obey_the_rule(w in 1usize..400, h in 1usize..300, core in 1usize..300, r in rule()) {
            check(&Grid::with_core(w, h, core, &r).unwrap(), &r);
        }

        #[test]
        fn the_best_grid_obeys_the_rule_too(w in 1usize..2000, h in 1usize..2000, px in 1000usize..500_000, n in 1usize..9, r in rule()) {
            let budget = Budget { tile_px: px, row_px: 512, parallel: n };
            check(&Grid::best(w, h, &r, &budget).unwrap(), &r);
        }

        #[test]
        fn weights_add_up_to_one(w in 1usize..300, core in 8usize..100, feather in 0usize..10, scale in 1usize..5) {
            let r = Rule { halo: feather + 3, feather, ..Rule::default() };
            let g = Grid::with_core(w, 1, core, &r).unwrap();
            let mut sum = vec![0.0f32; w * scale];
            for i in 0..g.cols.len() {
                let ramp = g.col_weights(i);
                let span = ramp.from * scale..ramp.to * scale;
                for (o, s) in span.clone().zip(&mut sum[span]) {
                    *s += ramp.at(o, scale);
                }
            }
            prop_assert!(sum.iter().all(|s| (s - 1.0).abs() < 1e-5), "{sum:?}");
        }
    }

    #[test]
    fn a_split_never_recomputes_more_than_halos() {
        // 700 px at core 256: three even cores, not two full ones and a third shifted back.
        let r = Rule { halo: 18, ..Rule::default() };
        let g = Grid::with_core(700, 100, 256, &r).unwrap();
        let sizes: Vec<_> = g.cols.iter().map(|s| s.core.1 - s.core.0).collect();
        assert_eq!(sizes, [233, 233, 234]);
        assert_eq!(g.cols.iter().map(Span::computed).sum::<usize>(), 700 + 4 * 18);
    }

    #[test]
    fn a_picture_within_budget_is_one_tile_unless_workers_idle() {
        let r = Rule { halo: 11, ..Rule::default() };
        let roomy = Budget { tile_px: 1_000_000, row_px: usize::MAX, parallel: 1 };
        assert_eq!(Grid::best(800, 600, &r, &roomy).unwrap().len(), 1);
        let two = Grid::best(800, 600, &r, &Budget { parallel: 2, ..roomy }).unwrap();
        assert_eq!((two.cols.len(), two.rows.len()), (2, 1), "cut across the longer side");
        assert_eq!(Grid::best(3, 2, &r, &Budget { parallel: 8, ..roomy }).unwrap().len(), 1, "tiny pictures are not cut");
    }

    #[test]
    fn a_fixed_network_gets_tiles_of_its_size() {
        let budget = Budget { tile_px: 1 << 30, row_px: 1 << 20, parallel: 1 };
        for (side, halo, stride) in [(64, 18, 2), (64, 20, 8), (48, 10, 3), (40, 18, 1), (96, 7, 8)] {
            let r = Rule { halo, stride, fixed: Some((side, side)), ..Rule::default() };
            for size in 1..200 {
                let g = Grid::best(size, 2 * size, &r, &budget).unwrap();
                assert!(g.cols.iter().chain(&g.rows).all(|s| s.computed() == side), "{side} {halo} {stride} {size}");
                assert!(size > side || g.cols.len() == 1, "what fits is not cut");
            }
        }
        // Nothing is left beside the context.
        let r = Rule { halo: 32, fixed: Some((64, 64)), ..Rule::default() };
        assert!(Grid::best(65, 20, &r, &budget).unwrap_err().to_string().contains("--tile-mode blend"));
        let r = Rule { halo: 8, fixed: Some((64, 64)), ..Rule::default() };
        for (w, h) in [(200, 100), (64, 64), (65, 30), (5, 5), (48, 49)] {
            let g = Grid::best(w, h, &r, &Budget { tile_px: 1, row_px: 1, parallel: 1 }).unwrap();
            assert!(g.cols.iter().chain(&g.rows).all(|s| s.computed() == 64), "{w}x{h}: {g:?}");
        }
    }
}
