//! A colour cube with tetrahedral interpolation.

use std::ops::RangeInclusive;

use super::index;
use crate::error::{Error, Result};

/// Grid points per edge that a cube may have.
pub const SIZES: RangeInclusive<usize> = 2..=256;

/// A function from colour to colour, sampled on a cubic grid.
///
/// Between grid points it is interpolated tetrahedrally (Sakamoto and Itasaki, US patent 4275413, expired): each cell is cut
/// into six tetrahedra along its diagonal from black to white, so a neutral line stays a neutral line. Outside of
/// `min..=max` the nearest colour inside counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Lut3d {
    size: usize,
    min: [f32; 3],
    max: [f32; 3],
    /// Grid steps per unit of input.
    scale: [f32; 3],
    /// `size^3` colours, red fastest, then green; the fourth number is 0 and makes each colour one load.
    grid: Vec<[f32; 4]>,
}

impl Lut3d {
    /// A cube with `size` points per edge over `min..=max`; `colours` has `size^3` entries, red fastest, then green.
    ///
    /// # Errors
    /// [`Error::Usage`] for a size outside 2..=256, another number of colours, an empty range or numbers that are not finite.
    pub fn new(size: usize, min: [f32; 3], max: [f32; 3], colours: &[[f32; 3]]) -> Result<Self> {
        let refuse = |what: String, hint: &str| Err(Error::usage("3D LUT", what, hint));
        if !SIZES.contains(&size) {
            return refuse(format!("has {size} points per edge"), "2 to 256, for example 33");
        }
        if colours.len() != size.pow(3) {
            return refuse(format!("has {} colours", colours.len()), &format!("{size} x {size} x {size} = {}", size.pow(3)));
        }
        let scale = [0, 1, 2].map(|c| (size - 1) as f32 / (max[c] - min[c]));
        if let Some(c) = (0..3).find(|c| !(min[*c] < max[*c] && scale[*c].is_finite() && scale[*c] > 0.0)) {
            return refuse(format!("covers {} to {} in {}", min[c], max[c], ["red", "green", "blue"][c]), "a range that rises");
        }
        if let Some(v) = colours.iter().flatten().find(|v| !v.is_finite()) {
            return refuse(format!("holds {v}"), "finite numbers");
        }
        Ok(Self { size, min, max, scale, grid: colours.iter().map(|[r, g, b]| [*r, *g, *b, 0.0]).collect() })
    }

    /// `f` sampled with `size` points per edge over 0..=1.
    ///
    /// # Errors
    /// As [`Lut3d::new`].
    pub fn from_fn(size: usize, f: impl Fn([f32; 3]) -> [f32; 3]) -> Result<Self> {
        Self::from_planes(size, |r, g, b| {
            for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
                [*r, *g, *b] = f([*r, *g, *b]);
            }
        })
    }

    /// The same of a function that changes many colours at once: planes of equal length.
    ///
    /// # Errors
    /// As [`Lut3d::new`].
    pub fn from_planes(size: usize, f: impl FnOnce(&mut [f32], &mut [f32], &mut [f32])) -> Result<Self> {
        let mut colours = Vec::new();
        if SIZES.contains(&size) {
            let step = |i: usize| (i as f64 / (size - 1) as f64) as f32;
            let plane = |every: usize| (0..size.pow(3)).map(|i| step(i / every % size)).collect::<Vec<f32>>();
            let (mut r, mut g, mut b) = (plane(1), plane(size), plane(size * size));
            f(&mut r, &mut g, &mut b);
            colours = r.iter().zip(&g).zip(&b).map(|((r, g), b)| [*r, *g, *b]).collect();
        }
        Self::new(size, [0.0; 3], [1.0; 3], &colours)
    }

    /// Grid points per edge.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Input of the first grid point, per channel.
    pub fn min(&self) -> [f32; 3] {
        self.min
    }

    /// Input of the last grid point, per channel.
    pub fn max(&self) -> [f32; 3] {
        self.max
    }

    /// Grid steps per unit of input, per channel.
    pub(super) fn scale(&self) -> [f32; 3] {
        self.scale
    }

    /// The same as four numbers each, the fourth 0.
    pub fn grid(&self) -> &[[f32; 4]] {
        &self.grid
    }

    /// The colours at the grid points, red fastest, then green.
    pub fn colours(&self) -> impl ExactSizeIterator<Item = [f32; 3]> + '_ {
        self.grid.iter().map(|[r, g, b, _]| [*r, *g, *b])
    }

    /// The colour at `c`, tetrahedral. NaN is taken as `min`.
    #[inline(always)]
    pub fn eval(&self, c: [f32; 3]) -> [f32; 3] {
        let (i, x) = self.cell(0, c[0]);
        let (j, y) = self.cell(1, c[1]);
        let (k, z) = self.cell(2, c[2]);
        let (green, blue) = (self.size, self.size * self.size);
        let all = 1 + green + blue;
        let base = i + j * green + k * blue;
        // From the cell's black corner to its white one along the edges, the axis with the largest fraction first.
        let (high, low) = (x.max(y).max(z), x.min(y).min(z));
        let middle = x.max(y).min(x.min(y).max(z));
        let first = if x >= high {
            1
        } else if y >= high {
            green
        } else {
            blue
        };
        let last = if z <= low {
            blue
        } else if y <= low {
            green
        } else {
            1
        };
        // Never out of range; asked this way, the loop around it can become SIMD.
        let at = |i: usize| self.grid.get(i).unwrap_or(&[0.0; 4]);
        let (o, a, b, w) = (at(base), at(base + first), at(base + all - last), at(base + all));
        let (po, pa, pb, pw) = (1.0 - high, high - middle, middle - low, low);
        [
            o[0] * po + a[0] * pa + b[0] * pb + w[0] * pw,
            o[1] * po + a[1] * pa + b[1] * pb + w[1] * pw,
            o[2] * po + a[2] * pa + b[2] * pb + w[2] * pw,
        ]
    }

    /// The cell along `axis` that holds `v`, and the fraction in it; the last grid point is the far corner of the last cell.
    #[inline(always)]
    fn cell(&self, axis: usize, v: f32) -> (usize, f32) {
        let p = ((v - self.min[axis]) * self.scale[axis]).max(0.0).min((self.size - 1) as f32);
        let whole = p.floor().min((self.size - 2) as f32);
        (index(whole), p - whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The six cases as the textbook writes them, in double precision.
    fn slow(l: &Lut3d, c: [f32; 3]) -> [f64; 3] {
        let n = l.size;
        let p = [0, 1, 2].map(|k| {
            let (lo, hi) = (f64::from(l.min[k]), f64::from(l.max[k]));
            ((f64::from(c[k]) - lo) / (hi - lo)).clamp(0.0, 1.0) * (n - 1) as f64
        });
        let cell = p.map(|v| (v as usize).min(n - 2));
        let [x, y, z] = [0, 1, 2].map(|k| p[k] - cell[k] as f64);
        let at = |r: usize, g: usize, b: usize| {
            let i = (cell[0] + r) + n * ((cell[1] + g) + n * (cell[2] + b));
            l.grid[i].map(f64::from)
        };
        let (o, w) = (at(0, 0, 0), at(1, 1, 1));
        let (a, b, [h, m, s]) = if x > y {
            if y > z {
                (at(1, 0, 0), at(1, 1, 0), [x, y, z])
            } else if x > z {
                (at(1, 0, 0), at(1, 0, 1), [x, z, y])
            } else {
                (at(0, 0, 1), at(1, 0, 1), [z, x, y])
            }
        } else if z > y {
            (at(0, 0, 1), at(0, 1, 1), [z, y, x])
        } else if z > x {
            (at(0, 1, 0), at(0, 1, 1), [y, z, x])
        } else {
            (at(0, 1, 0), at(1, 1, 0), [y, x, z])
        };
        [0, 1, 2].map(|k| o[k] * (1.0 - h) + a[k] * (h - m) + b[k] * (m - s) + w[k] * s)
    }

    fn odd(c: [f32; 3]) -> [f32; 3] {
        [c[1] * c[1] - 0.2, (c[0] * 7.0).sin(), c[0] * c[1] + c[2] * 2.0]
    }

    proptest! {
        #[test]
        fn equals_the_textbook(c in [-0.3f32..1.4, -0.3f32..1.4, -0.3f32..1.4], n in 2usize..9) {
            let l = Lut3d::from_fn(n, odd).unwrap();
            for (got, want) in l.eval(c).into_iter().zip(slow(&l, c)) {
                prop_assert!((f64::from(got) - want).abs() < 2e-6, "{got} {want}");
            }
        }

        #[test]
        fn identity_changes_nothing(c in [0f32..=1.0, 0f32..=1.0, 0f32..=1.0], n in 2usize..66) {
            let l = Lut3d::from_fn(n, |c| c).unwrap();
            for (got, want) in l.eval(c).into_iter().zip(c) {
                prop_assert!((got - want).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn ties_and_edges() {
        let l = Lut3d::from_fn(3, odd).unwrap();
        let steps = [-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0];
        for r in steps {
            for g in steps {
                for b in steps {
                    for (got, want) in l.eval([r, g, b]).into_iter().zip(slow(&l, [r, g, b])) {
                        assert!((f64::from(got) - want).abs() < 2e-6, "{r} {g} {b}: {got} {want}");
                    }
                }
            }
        }
        assert_eq!(l.eval([f32::NAN; 3]), l.eval([0.0; 3]));
    }

    #[test]
    fn what_is_no_cube_is_refused() {
        assert!(Lut3d::from_fn(1, odd).is_err());
        assert!(Lut3d::from_fn(257, odd).is_err());
        assert!(Lut3d::new(2, [0.0; 3], [1.0; 3], &[[0.0; 3]; 7]).is_err());
        assert!(Lut3d::new(2, [0.0; 3], [1.0, 0.0, 1.0], &[[0.0; 3]; 8]).is_err());
        assert!(Lut3d::new(2, [0.0; 3], [1.0; 3], &[[f32::INFINITY; 3]; 8]).is_err());
    }
}
