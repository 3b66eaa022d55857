//! Which part of a source a result shows: what was cut off to fill a box, or stretched into one, is cut off or stretched in the
//! source before the two are compared.

use super::{Plan, Settings};
use crate::error::Result;
use crate::inspect::{Joins, Picture, Scene};
use crate::resample::{Crop, Filter, Scaler};
use crate::upscale::size::{Fit, Size};

/// How a result was fitted into its size.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Frame {
    pub size: Size,
    pub fit: Fit,
}

impl Frame {
    /// As settings say.
    pub fn of(settings: &Settings) -> Self {
        Self { size: settings.size, fit: settings.fit }
    }

    /// Pixels per inch, if the size was a print's.
    pub fn dpi(&self) -> Option<f64> {
        match self.size {
            Size::Print { dpi, .. } => Some(dpi),
            _ => None,
        }
    }

    /// Left, top, width, height of the part of a `width` x `height` source that is shown, in its pixels.
    ///
    /// # Errors
    /// As [`Size::target`].
    pub fn shown(&self, width: usize, height: usize) -> Result<[f64; 4]> {
        // Without a box nothing is cut off, whatever the model's factor.
        self.size.target(width, height, self.fit, 1.0).map(|t| t.crop)
    }

    /// The part of a source that a result of `size` shows, stretched to its shape; as it is if that is all of it.
    ///
    /// Where the sides were enlarged by different factors, the smaller one is left for the comparison, so that nothing of the source
    /// is lost.
    ///
    /// # Errors
    /// As [`Size::target`] and [`Scaler::new`].
    pub fn cut(&self, source: Picture, size: (usize, usize)) -> Result<Picture> {
        let (width, height) = (source.width, source.height);
        let [x, y, w, h] = self.shown(width, height)?;
        let whole = [x, y, w, h] == [0.0, 0.0, width as f64, height as f64];
        if whole && (self.fit != Fit::Exact || Scene::sizes_match(size, (width, height))) {
            return Ok(source);
        }
        let factor = (size.0 as f64 / w).min(size.1 as f64 / h);
        let side = |n: usize| (n as f64 / factor).round().max(1.0) as usize;
        let (to_w, to_h) = (side(size.0), side(size.1));
        let scaler = Scaler::new(width, height, to_w, to_h, Filter::Lanczos3, Some(Crop { x, y, width: w, height: h }))?;
        let band = source.band(0, height);
        drop(source);
        let mut cut = Picture::new(to_w);
        cut.push(&scaler.rows(&band, 0..to_h)?);
        Ok(cut)
    }

    /// Where the passes of a plan joined their tiles, in pixels of a result of `size`; `source` is the whole source's size.
    ///
    /// # Errors
    /// As [`Size::target`].
    pub fn joins(&self, plan: &Plan, source: (usize, usize), size: (usize, usize)) -> Result<Joins> {
        let [x, y, w, h] = self.shown(source.0, source.1)?;
        let mut joins = Joins::default();
        for pass in &plan.passes {
            // Tiles share a picture evenly.
            let at = |n: u32, all: usize, from: f64, part: f64, out: usize| {
                let place = move |i| (f64::from(i) / f64::from(n) * all as f64 - from) / part * out as f64;
                (1..n).map(place).filter(move |p| *p > 0.0 && *p < out as f64).map(|p| (p + 1e-6) as usize)
            };
            joins.x.extend(at(pass.grid[0], source.0, x, w, size.0));
            joins.y.extend(at(pass.grid[1], source.1, y, h, size.1));
        }
        for axis in [&mut joins.x, &mut joins.y] {
            axis.retain(|p| *p > 0);
            axis.sort_unstable();
            axis.dedup();
        }
        Ok(joins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Band;
    use crate::upscale::engine::PassRecord;

    fn plan(grids: &[[u32; 2]]) -> Plan {
        let pass = |grid: &[u32; 2]| PassRecord { grid: *grid, ..PassRecord::default() };
        Plan { passes: grids.iter().map(pass).collect(), ..Plan::default() }
    }

    fn boxed(width: u32, height: u32, fit: Fit) -> Frame {
        Frame { size: Size::Box { width, height }, fit }
    }

    /// A picture whose value is `x` in the first and `y` in the other channels, in 1/1000.
    fn places(width: usize, height: usize) -> Picture {
        let mut band = Band::new(0, width, height, 3);
        for y in 0..height {
            for x in 0..width {
                band.row_mut(0, y)[x] = x as f32 / 1000.0;
                band.row_mut(1, y)[x] = y as f32 / 1000.0;
            }
        }
        let mut picture = Picture::new(width);
        picture.push(&band);
        picture
    }

    #[test]
    fn joins_of_all_passes_lie_where_tiles_meet() {
        let plan = plan(&[[2, 1], [4, 3]]);
        let j = Frame::default().joins(&plan, (100, 75), (400, 300)).unwrap();
        assert_eq!((j.x, j.y), (vec![100, 200, 300], vec![100, 200]));
        // A square out of the middle: 12.5 of 100 px gone on either side, four times as large.
        let j = boxed(300, 300, Fit::Cover).joins(&plan, (100, 75), (300, 300)).unwrap();
        assert_eq!((j.x, j.y), (vec![50, 150, 250], vec![100, 200]));
    }

    #[test]
    fn what_was_cut_off_is_cut_off_the_source() {
        let cut = boxed(400, 400, Fit::Cover).cut(places(120, 80), (400, 400)).unwrap();
        assert_eq!((cut.width, cut.height), (80, 80));
        for (x, y) in [(0, 0), (79, 0), (40, 79)] {
            let at = |c: usize| cut.channel(c).at(x, y);
            assert!((at(0) - (x + 20) as f32 / 1000.0).abs() < 1e-6 && (at(1) - y as f32 / 1000.0).abs() < 1e-6, "{x},{y}");
        }
    }

    #[test]
    fn what_was_stretched_is_stretched() {
        let cut = boxed(400, 400, Fit::Exact).cut(places(100, 80), (400, 400)).unwrap();
        assert_eq!((cut.width, cut.height), (100, 100), "nothing of the longer side is lost");
        assert!((cut.channel(1).at(50, 50) - 0.0399).abs() < 2e-3);
    }

    #[test]
    fn whole_sources_stay_as_they_are() {
        let source = places(101, 50);
        for (frame, size) in
            [(Frame::default(), (404, 200)), (boxed(300, 300, Fit::Inside), (300, 149)), (boxed(202, 100, Fit::Exact), (202, 100))]
        {
            let cut = frame.cut(source.clone(), size).unwrap();
            assert_eq!((cut.width, cut.height), (101, 50));
        }
    }
}
