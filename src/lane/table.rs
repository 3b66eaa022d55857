//! A sampled one-dimensional curve.

use super::index;
use crate::error::{Error, Result};

/// A curve as equally spaced samples over `min..=max`, linear between them; below `min` the first sample, above `max` the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    min: f32,
    max: f32,
    /// Samples per unit of input.
    scale: f32,
    /// The samples, and the last one once more so that the interpolation at `max` may look one further.
    samples: Vec<f32>,
}

impl Table {
    /// A curve through `samples`, the first at `min`, the last at `max`.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are fewer than two samples, the range is empty, or a number is not finite.
    pub fn new(min: f32, max: f32, samples: &[f32]) -> Result<Self> {
        if samples.len() < 2 {
            return Err(Error::usage("curve", format!("has {} samples", samples.len()), "two or more"));
        }
        // A range so narrow that its reciprocal overflows is as good as empty.
        let scale = (samples.len() - 1) as f32 / (max - min);
        if !(min < max && scale.is_finite() && scale > 0.0) {
            return Err(Error::usage("curve", format!("covers {min} to {max}"), "a range that rises"));
        }
        if let Some(v) = samples.iter().find(|v| !v.is_finite()) {
            return Err(Error::usage("curve", format!("holds {v}"), "finite numbers"));
        }
        let samples = samples.iter().chain(samples.last()).copied().collect();
        Ok(Self { min, max, scale, samples })
    }

    /// `f` sampled `count` times over `min..=max`.
    ///
    /// # Errors
    /// As [`Table::new`].
    pub fn from_fn(min: f32, max: f32, count: usize, f: impl Fn(f32) -> f32) -> Result<Self> {
        let step = (f64::from(max) - f64::from(min)) / count.saturating_sub(1).max(1) as f64;
        let samples: Vec<f32> = (0..count).map(|i| f((f64::from(min) + step * i as f64) as f32)).collect();
        Self::new(min, max, &samples)
    }

    /// Input of the first sample.
    pub fn min(&self) -> f32 {
        self.min
    }

    /// Input of the last sample.
    pub fn max(&self) -> f32 {
        self.max
    }

    /// Samples per unit of input.
    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    /// The samples from `min` to `max`.
    pub fn samples(&self) -> &[f32] {
        &self.samples[..self.samples.len() - 1]
    }

    /// The curve at `x`. NaN is taken as `min`.
    #[inline(always)]
    pub fn eval(&self, x: f32) -> f32 {
        let last = (self.samples.len() - 2) as f32;
        let p = ((x - self.min) * self.scale).max(0.0).min(last);
        let whole = p.floor();
        let i = index(whole);
        // Never out of range; asked this way, the loop around it can become SIMD.
        let at = |i: usize| self.samples.get(i).copied().unwrap_or(0.0);
        let (a, b) = (at(i), at(i + 1));
        a + (b - a) * (p - whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_met_and_joined_by_lines() {
        let t = Table::new(-1.0, 3.0, &[5.0, 1.0, 2.0]).unwrap();
        for (x, y) in [(-9.0, 5.0), (-1.0, 5.0), (0.0, 3.0), (1.0, 1.0), (2.5, 1.75), (3.0, 2.0), (9.0, 2.0), (f32::NAN, 5.0)] {
            assert_eq!(t.eval(x), y, "{x}");
        }
        assert_eq!(t.samples(), [5.0, 1.0, 2.0]);
    }

    #[test]
    fn what_is_no_curve_is_refused() {
        assert!(Table::new(0.0, 1.0, &[1.0]).is_err());
        assert!(Table::new(1.0, 1.0, &[0.0, 1.0]).is_err());
        assert!(Table::new(0.0, 1e-45, &[0.0, 1.0]).is_err());
        assert!(Table::new(0.0, 1.0, &[0.0, f32::NAN]).is_err());
    }
}
