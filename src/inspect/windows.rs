//! Windows of 64 x 64 pixels, half overlapping: sums over cells of 32, four cells a window.

use super::plane::Plane;

/// Side of a window, output pixels.
pub const SIDE: usize = 64;
/// Step from window to window.
pub const STEP: usize = 32;

/// Mean of `p` over every window; a picture smaller than a window is one window.
pub fn mean(p: &Plane) -> Plane {
    let small = p.cells(STEP);
    join(&small, |a, b, c, d| 0.25 * (a + b + c + d))
}

/// Largest value of `p` in every window.
pub fn max(p: &Plane) -> Plane {
    let (w, h) = ((p.width / STEP).max(1), (p.height / STEP).max(1));
    let mut small = Plane { width: w, height: h, data: vec![f32::NEG_INFINITY; w * h] };
    for y in 0..p.height {
        let cy = (y / STEP).min(h - 1);
        for (x, &v) in p.row(y).iter().enumerate() {
            let o = &mut small.data[cy * w + (x / STEP).min(w - 1)];
            *o = o.max(v);
        }
    }
    join(&small, |a, b, c, d| a.max(b).max(c).max(d))
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
        let (m, x) = (mean(&p), max(&p));
        assert_eq!((m.width, m.height), (3, 2));
        let hit: Vec<usize> = (0..6).filter(|&i| m.data[i] > 0.0).collect();
        assert_eq!(hit, [1, 2, 4, 5]);
        assert_eq!((m.data[1], x.data[1], x.data[0]), (8.0 / 4096.0, 8.0, 0.0));
        assert_eq!(mean(&Plane::new(5, 3)).data, [0.0]);
    }
}
