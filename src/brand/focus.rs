//! Where a picture's subject is likely to be, for cuts.
//!
//! Three signs of attention are summed over a coarse grid: local contrast, how far a colour is from the picture's mean, and
//! likeness to skin (after the features of Itti, Koch and Niebur, "A model of saliency-based visual attention", 1998, without
//! its pyramids). The place of a cut is the one that keeps most of that sum.

use crate::error::Result;
use crate::grade::matching::{skin_likeness, srgb_to_oklab};
use crate::image::Image;
use crate::resample::{Filter, Scaler};

/// Cells along the longer side.
const SIDE: usize = 64;

/// Attention per cell of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    width: usize,
    height: usize,
    cells: Vec<f32>,
}

impl Attention {
    /// Of a picture; profiles are left aside, they move little.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] for absurd sizes.
    pub fn of(image: &Image) -> Result<Self> {
        let long = image.width.max(image.height);
        let side = |v: usize| (v * SIDE / long).clamp(1, v);
        let (width, height) = (side(image.width), side(image.height));
        let scaler = Scaler::new(image.width, image.height, width, height, Filter::Box, None)?;
        let mut labs = Vec::with_capacity(width * height);
        for y in 0..height {
            let needs = scaler.needs(y..y + 1);
            let row = scaler.rows(&image.colour(needs.start, needs.end), y..y + 1)?;
            let plane = |c: usize| row.row(if row.channels == 1 { 0 } else { c }, 0);
            labs.extend((0..width).map(|x| srgb_to_oklab([0, 1, 2].map(|c| plane(c)[x].clamp(0.0, 1.0)))));
        }
        let n = labs.len() as f32;
        let mean = [0, 1, 2].map(|c| labs.iter().map(|l| l[c]).sum::<f32>() / n);
        let apart = |a: [f32; 3], b: [f32; 3]| ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2) + (a[2] - b[2]).powi(2)).sqrt();
        let cells = (0..labs.len())
            .map(|i| {
                let (x, y) = (i % width, i / width);
                let right = labs[y * width + (x + 1).min(width - 1)];
                let below = labs[(y + 1).min(height - 1) * width + x];
                let edge = apart(labs[i], right) + apart(labs[i], below);
                let odd = (labs[i][1] - mean[1]).hypot(labs[i][2] - mean[2]);
                let skin = if labs[i][1].hypot(labs[i][2]) > 0.025 { skin_likeness(labs[i]) } else { 0.0 };
                edge + 2.0 * odd + 0.15 * skin
            })
            .collect();
        Ok(Self { width, height, cells })
    }

    /// The middle (0..1 from the left and the top) of the window that takes these shares of width and height and keeps most;
    /// of several that keep the same, the one nearest to the picture's middle.
    pub fn window(&self, wide: f64, high: f64) -> [f64; 2] {
        let columns: Vec<f64> =
            (0..self.width).map(|x| (0..self.height).map(|y| f64::from(self.cells[y * self.width + x])).sum()).collect();
        let rows: Vec<f64> = self.cells.chunks(self.width).map(|r| r.iter().map(|v| f64::from(*v)).sum()).collect();
        [best(&columns, wide), best(&rows, high)]
    }
}

/// The middle of the window of this share that holds most.
fn best(sums: &[f64], share: f64) -> f64 {
    let n = sums.len();
    let size = ((share * n as f64).round() as usize).clamp(1, n);
    // Where there is nothing to see, the middle is as good as any.
    let all = sums.iter().sum::<f64>().max(1e-9);
    let mut found = (f64::MIN, 0.5);
    for from in 0..=n - size {
        let middle = (from as f64 + size as f64 / 2.0) / n as f64;
        // What is in the middle of the window counts a little more than what touches its edge, and places near the picture's
        // middle a little more than others.
        let held: f64 = sums[from..from + size]
            .iter()
            .enumerate()
            .map(|(i, v)| v * (1.0 - 0.3 * (2.0 * (i as f64 + 0.5) / size as f64 - 1.0).abs()))
            .sum();
        let value = held - 0.02 * all * (middle - 0.5).abs();
        if value > found.0 {
            found = (value, middle);
        }
    }
    found.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Format, Metadata};
    use crate::image::{Channels, Samples};

    fn picture(subject: [usize; 2]) -> Image {
        let mut samples = vec![140u8; 300 * 200 * 3];
        for y in subject[1]..subject[1] + 50 {
            for x in subject[0]..subject[0] + 50 {
                samples[(y * 300 + x) * 3..][..3].copy_from_slice(if (x / 5 + y / 5) % 2 == 0 { &[200, 140, 110] } else { &[150, 90, 70] });
            }
        }
        let (samples, metadata) = (Samples::U8(samples), Metadata::default());
        Image { width: 300, height: 200, channels: Channels::Rgb, samples, format: Format::Png, metadata, notes: vec![] }
    }

    #[test]
    fn the_subject_is_kept() {
        for (at, want) in [([20, 20], [0.35, 0.25]), ([230, 140], [0.65, 0.75]), ([125, 75], [0.5, 0.5])] {
            let [x, y] = Attention::of(&picture(at)).unwrap().window(0.5, 0.4);
            // The whole subject lies in the window.
            let inside = |middle: f64, part: f64, from: usize, all: f64| {
                let (low, high) = ((middle - part / 2.0) * all, (middle + part / 2.0) * all);
                low <= from as f64 + 8.0 && from as f64 + 42.0 <= high
            };
            assert!(inside(x, 0.5, at[0], 300.0) && inside(y, 0.4, at[1], 200.0), "{at:?}: {x} {y}, about {want:?}");
        }
        let plain = Image { samples: Samples::U8(vec![90; 300 * 200 * 3]), ..picture([0, 0]) };
        let [x, y] = Attention::of(&plain).unwrap().window(0.5, 0.5);
        assert!((x - 0.5).abs() < 0.02 && (y - 0.5).abs() < 0.02, "{x} {y}");
    }
}
