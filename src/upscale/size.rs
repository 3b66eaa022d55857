//! How large the result shall be, and by which passes a network gets there.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The size that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// The model's own factor.
    #[default]
    Model,
    /// A factor, decimals allowed.
    Scale(f64),
    /// Pixels of the longer side.
    LongEdge(u32),
    /// Pixels of the width.
    Width(u32),
    /// Pixels of the height.
    Height(u32),
    /// A box in pixels; [`Fit`] says how to fill it.
    Box { width: u32, height: u32 },
    /// Megapixels (millions of pixels).
    Megapixels(f64),
    /// A print size in inches at so many pixels per inch; the box is turned to match the picture's orientation.
    Print { width_in: f64, height_in: f64, dpi: f64 },
}

/// How a picture fills a box of another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// As large as fits; the shape is kept.
    #[default]
    Inside,
    /// Covers the box; what sticks out is cropped evenly.
    Cover,
    /// Exactly the box; the shape is not kept.
    Exact,
}

/// A final size and the part of the source it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    pub width: usize,
    pub height: usize,
    /// Left, top, width, height in source pixels; the whole picture unless [`Fit::Cover`] cuts something off.
    pub crop: [f64; 4],
}

/// Longest side that is ever made; beyond it an input error is the likelier explanation.
const MAX_SIDE: f64 = 1_000_000.0;

impl Size {
    /// The final size of a `width` x `height` picture; `model_scale` is the factor of [`Size::Model`].
    ///
    /// Sides are rounded to whole pixels, never below 1. Fails if a side would exceed a million pixels.
    pub fn target(&self, width: usize, height: usize, fit: Fit, model_scale: f64) -> Result<Target> {
        let (w, h) = (width as f64, height as f64);
        let whole = [0.0, 0.0, w, h];
        let (tw, th, crop) = match *self {
            Self::Model => (w * model_scale, h * model_scale, whole),
            Self::Scale(f) => (w * f, h * f, whole),
            Self::LongEdge(px) => {
                let f = f64::from(px) / w.max(h);
                (w * f, h * f, whole)
            }
            Self::Width(px) => (f64::from(px), h * f64::from(px) / w, whole),
            Self::Height(px) => (w * f64::from(px) / h, f64::from(px), whole),
            Self::Megapixels(mp) => {
                let f = (mp * 1e6 / (w * h)).sqrt();
                (w * f, h * f, whole)
            }
            Self::Box { width: bw, height: bh } => fill(w, h, f64::from(bw), f64::from(bh), fit),
            Self::Print { width_in, height_in, dpi } => {
                let (bw, bh) = ((width_in * dpi).round(), (height_in * dpi).round());
                // A landscape picture on "24x36" paper turns the paper, not the picture.
                let turned = (w > h && bw < bh) || (w < h && bw > bh);
                if turned { fill(w, h, bh, bw, fit) } else { fill(w, h, bw, bh, fit) }
            }
        };
        if tw.max(th) > MAX_SIDE {
            return Err(Error::limit(
                format!("{width}x{height} px"),
                format!("the result would be {tw:.0}x{th:.0} px, more than {MAX_SIDE} a side"),
                "a smaller size",
            ));
        }
        Ok(Target { width: tw.round().max(1.0) as usize, height: th.round().max(1.0) as usize, crop })
    }
}

impl Target {
    /// The linear factor from source to result, the larger one if they differ.
    pub fn factor(&self) -> f64 {
        (self.width as f64 / self.crop[2]).max(self.height as f64 / self.crop[3])
    }

    /// Whether anything of the source is cut off.
    pub fn crops(&self, width: usize, height: usize) -> bool {
        self.crop != [0.0, 0.0, width as f64, height as f64]
    }
}

fn fill(w: f64, h: f64, bw: f64, bh: f64, fit: Fit) -> (f64, f64, [f64; 4]) {
    match fit {
        Fit::Inside => {
            let f = (bw / w).min(bh / h);
            (w * f, h * f, [0.0, 0.0, w, h])
        }
        Fit::Exact => (bw, bh, [0.0, 0.0, w, h]),
        Fit::Cover => {
            let f = (bw / w).max(bh / h);
            let (cw, ch) = ((bw / f).min(w), (bh / f).min(h));
            (bw, bh, [(w - cw) / 2.0, (h - ch) / 2.0, cw, ch])
        }
    }
}

/// A network that may take part in a chain of passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub scale: usize,
    /// Cost per input pixel; only ratios matter.
    pub cost: f64,
    /// Runs exactly once, as the first pass, whenever any network runs (the model that was asked for, unless it belongs to
    /// the faithful family, whose members are free to take any place).
    pub first: bool,
}

/// A result may be this much larger than the last pass made it; below that, one more pass would cost 16 times the work for a
/// difference nobody can see.
pub const STRETCH: f64 = 1.02;

/// The cheapest passes that reach `factor`, as indices into `steps`; empty if the picture is large enough already.
///
/// Cost is the sum over passes of (pixels going in) x (cost per pixel). Fails if four passes do not get there.
pub fn chain(factor: f64, steps: &[Step]) -> Result<Vec<usize>> {
    if factor <= 1.0 + 1e-9 {
        return Ok(Vec::new());
    }
    let mut best: Option<(f64, Vec<usize>)> = None;
    let mut open: Vec<(f64, f64, Vec<usize>)> = vec![(0.0, 1.0, Vec::new())];
    while let Some((cost, scale, passes)) = open.pop() {
        if scale * STRETCH >= factor {
            let better = |b: &(f64, Vec<usize>)| (cost, passes.len()) < (b.0, b.1.len());
            if best.as_ref().is_none_or(better) {
                best = Some((cost, passes));
            }
            continue;
        }
        if passes.len() == 4 {
            continue;
        }
        let first_wanted = passes.is_empty() && steps.iter().any(|s| s.first);
        for (i, s) in steps.iter().enumerate().filter(|(_, s)| s.first == first_wanted && s.scale > 1) {
            let mut passes = passes.clone();
            passes.push(i);
            open.push((cost + scale * scale * s.cost, scale * s.scale as f64, passes));
        }
        // A first-only network that does not enlarge (x1) still runs once.
        for (i, s) in steps.iter().enumerate().filter(|(_, s)| first_wanted && s.first && s.scale == 1) {
            open.push((cost + s.cost, scale, vec![i]));
        }
    }
    best.map(|b| b.1).ok_or_else(|| {
        Error::limit(format!("a factor of {factor:.1}"), "four passes do not reach it", "a smaller size, or a second run over the results")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(size: Size, w: usize, h: usize, fit: Fit) -> (usize, usize) {
        let t = size.target(w, h, fit, 4.0).unwrap();
        (t.width, t.height)
    }

    #[test]
    fn every_size_rule() {
        assert_eq!(target(Size::Model, 100, 50, Fit::Inside), (400, 200));
        assert_eq!(target(Size::Scale(2.5), 101, 50, Fit::Inside), (253, 125));
        assert_eq!(target(Size::LongEdge(3840), 1920, 1080, Fit::Inside), (3840, 2160));
        assert_eq!(target(Size::LongEdge(3840), 1080, 1920, Fit::Inside), (2160, 3840));
        assert_eq!(target(Size::Width(3840), 1080, 1920, Fit::Inside), (3840, 6827));
        assert_eq!(target(Size::Height(3840), 1080, 1920, Fit::Inside), (2160, 3840));
        assert_eq!(target(Size::Megapixels(8.0), 1000, 500, Fit::Inside), (4000, 2000));
        let b = Size::Box { width: 1000, height: 1000 };
        assert_eq!(target(b, 200, 100, Fit::Inside), (1000, 500));
        assert_eq!(target(b, 200, 100, Fit::Exact), (1000, 1000));
        assert_eq!(target(b, 200, 100, Fit::Cover), (1000, 1000));
        let p = Size::Print { width_in: 24.0, height_in: 36.0, dpi: 300.0 };
        assert_eq!(target(p, 1000, 1500, Fit::Inside), (7200, 10800));
        assert_eq!(target(p, 1500, 1000, Fit::Inside), (10800, 7200), "paper turns with the picture");
        assert_eq!(target(Size::Scale(0.001), 10, 10, Fit::Inside), (1, 1));
        assert!(Size::Scale(1e6).target(4000, 4000, Fit::Inside, 4.0).is_err());
    }

    #[test]
    fn cover_crops_evenly() {
        let t = Size::Box { width: 1000, height: 1000 }.target(200, 100, Fit::Cover, 4.0).unwrap();
        assert_eq!(t.crop, [50.0, 0.0, 100.0, 100.0]);
        assert_eq!(t.factor(), 10.0);
        assert!(t.crops(200, 100));
    }

    #[test]
    fn the_cheapest_chain_wins() {
        let x4 = Step { scale: 4, cost: 1.0, first: false };
        let x2 = Step { scale: 2, cost: 0.9, first: false };
        let asked = Step { scale: 4, cost: 5.0, first: true };
        assert!(chain(1.0, &[x4]).unwrap().is_empty());
        assert!(chain(0.3, &[asked, x4]).unwrap().is_empty());
        assert_eq!(chain(4.0, &[x4, x2]).unwrap(), [0]);
        assert_eq!(chain(2.0, &[x4, x2]).unwrap(), [1]);
        // x7: 4 then 2 costs 1 + 16 * 0.9; 2 then 4 costs 0.9 + 4 * 1.0 and reaches x8 as well.
        assert_eq!(chain(7.0, &[x4, x2]).unwrap(), [1, 0]);
        assert_eq!(chain(7.0, &[asked, x4, x2]).unwrap(), [0, 2], "the asked model runs once and first");
        assert_eq!(chain(7.0, &[x4]).unwrap(), [0, 0]);
        assert_eq!(chain(4.05, &[x4]).unwrap(), [0], "two per cent are stretched, not a second pass");
        let x1 = Step { scale: 1, cost: 1.0, first: true };
        assert_eq!(chain(2.0, &[x1, x2]).unwrap(), [0, 1]);
        assert!(chain(1000.0, &[x4]).is_err());
    }
}
