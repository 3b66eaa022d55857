//! Windows of 64 x 64 pixels, half overlapping: sums over cells of 32, four cells a window.

use std::ops::Range;

use super::filter;
use super::plane::Plane;

/// Side of a window, output pixels.
pub const SIDE: usize = 64;
/// Step from window to window.
pub const STEP: usize = 32;

/// Mean over every window from the means of cells of [`STEP`]; a picture smaller than a window is one window.
pub fn mean_of(cells: &Plane) -> Plane {
    join(cells, |a, b, c, d| 0.25 * (a + b + c + d))
}

/// Largest value in every window from those of cells.
pub fn max_of(cells: &Plane) -> Plane {
    join(cells, |a, b, c, d| a.max(b).max(c).max(d))
}

/// Largest value of a rectangle of `p` by cells of a side; what does not fill a cell joins the last one.
pub fn largest(p: &Plane, (x, y): (Range<usize>, Range<usize>), side: usize) -> Plane {
    let (w, h) = ((x.len() / side).max(1), (y.len() / side).max(1));
    let mut small = Plane { width: w, height: h, data: vec![f32::NEG_INFINITY; w * h] };
    let mut highest = vec![f32::NEG_INFINITY; x.len()];
    for cy in 0..h {
        highest.fill(f32::NEG_INFINITY);
        let end = if cy + 1 == h { y.end } else { y.start + (cy + 1) * side };
        for r in y.start + cy * side..end {
            filter::raise(&mut highest, &p.row(r)[x.clone()]);
        }
        for (i, &v) in highest.iter().enumerate() {
            let o = &mut small.data[cy * w + (i / side).min(w - 1)];
            *o = o.max(v);
        }
    }
    small
}

fn join(small: &Plane, f: impl Fn(f32, f32, f32, f32) -> f32) -> Plane {
    let (w, h) = (small.width.max(2) - 1, small.height.max(2) - 1);
    let mut out = Plane::new(w, h);
    for y in 0..h {
        for x in 0..w {
            let at = |dx: usize, dy: usize| small.data[(y + dy).min(small.height - 1) * small.width + (x + dx).min(small.width - 1)];
            out.data[y * w + x] = f(at(0, 0), at(1, 0), at(0, 1), at(1, 1));
        }
    }
    out
}

/// The median of `values` where `ok`; 0 if nowhere.
pub fn median_where(values: &Plane, ok: &[bool]) -> f32 {
    let mut picked: Vec<f32> = values.data.iter().zip(ok).filter(|(_, ok)| **ok).map(|(v, _)| *v).collect();
    super::plane::quantile(&mut picked, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_by_half() {
        let mut p = Plane::new(128, 96);
        p.data[40 * 128 + 70] = 8.0;
        let (m, x) = (mean_of(&p.cells(STEP)), max_of(&largest(&p, (0..128, 0..96), STEP)));
        assert_eq!((m.width, m.height), (3, 2));
        let hit: Vec<usize> = (0..6).filter(|&i| m.data[i] > 0.0).collect();
        assert_eq!(hit, [1, 2, 4, 5]);
        assert_eq!((m.data[1], x.data[1], x.data[0]), (8.0 / 4096.0, 8.0, 0.0));
        assert_eq!(mean_of(&Plane::new(5, 3).cells(STEP)).data, [0.0]);
    }
}
