//! Curves through points.

use super::prelude::*;
use crate::grade::space::luma;
use crate::lane::Table;

params! {
    /// Smooth curves through points (monotone cubic, Fritsch and Carlson 1980: it never overshoots its points). Works on encoded
    /// values; outside of the first and last point it goes on with their slope. Order: `rgb`, then each channel, then `luma`.
    pub struct Curves = "curves" {
        /// For all three channels.
        rgb: Vec<[f32; 2]> = Vec::new(), Rule::Range(-1.0, 4.0), "";
        /// For red.
        red: Vec<[f32; 2]> = Vec::new(), Rule::Range(-1.0, 4.0), "";
        /// For green.
        green: Vec<[f32; 2]> = Vec::new(), Rule::Range(-1.0, 4.0), "";
        /// For blue.
        blue: Vec<[f32; 2]> = Vec::new(), Rule::Range(-1.0, 4.0), "";
        /// For Rec. 709 luma; the differences between the channels stay.
        luma: Vec<[f32; 2]> = Vec::new(), Rule::Range(-1.0, 4.0), "";
    }
}

impl ColorOp for Curves {
    type Kernel = Tables;

    fn space(&self) -> Space {
        Space::Encoded
    }

    fn is_noop(&self) -> bool {
        let straight = |points: &Vec<[f32; 2]>| points.iter().all(|[x, y]| x == y);
        [&self.rgb, &self.red, &self.green, &self.blue, &self.luma].into_iter().all(straight)
    }

    fn kernel(&self) -> Result<Tables, String> {
        let curve = |points: &Vec<[f32; 2]>| if points.is_empty() { Ok(None) } else { Curve::through(points).map(Some) };
        Ok(Tables {
            rgb: curve(&self.rgb)?,
            channels: [curve(&self.red)?, curve(&self.green)?, curve(&self.blue)?],
            luma: curve(&self.luma)?,
        })
    }
}

/// A sampled curve and how it goes on at either end.
struct Curve {
    table: Table,
    slope_below: f32,
    slope_above: f32,
}

impl Curve {
    /// So many that the straight lines between them stay within 1e-6 of the cubic for any curve people draw.
    const SAMPLES: usize = 4096;

    fn through(points: &[[f32; 2]]) -> Result<Self, String> {
        let (slopes, min, max) = (slopes(points), points[0][0], points[points.len() - 1][0]);
        let table = Table::from_fn(min, max, Self::SAMPLES, |x| hermite(points, &slopes, x)).map_err(|e| e.to_string())?;
        Ok(Self { table, slope_below: slopes[0] as f32, slope_above: slopes[slopes.len() - 1] as f32 })
    }

    #[inline(always)]
    fn eval<L: Lane>(&self, v: L) -> L {
        let inside = v.clamp(self.table.min(), self.table.max());
        let beyond = v - inside;
        let slope = beyond.if_less(L::lit(0.0), L::lit(self.slope_below), L::lit(self.slope_above));
        inside.table(&self.table) + beyond * slope
    }
}

/// Tangents at the points after Fritsch and Carlson: the mean of the neighbouring slopes, limited so that nothing overshoots.
fn slopes(points: &[[f32; 2]]) -> Vec<f64> {
    let p: Vec<[f64; 2]> = points.iter().map(|q| [f64::from(q[0]), f64::from(q[1])]).collect();
    let secants: Vec<f64> = p.windows(2).map(|w| (w[1][1] - w[0][1]) / (w[1][0] - w[0][0])).collect();
    let last = secants.len() - 1;
    let mut m: Vec<f64> = (0..p.len())
        .map(|i| match i {
            0 => secants[0],
            i if i > last => secants[last],
            i if secants[i - 1] * secants[i] <= 0.0 => 0.0,
            i => (secants[i - 1] + secants[i]) / 2.0,
        })
        .collect();
    for (i, s) in secants.iter().enumerate() {
        if *s == 0.0 {
            (m[i], m[i + 1]) = (0.0, 0.0);
            continue;
        }
        let (a, b) = (m[i] / s, m[i + 1] / s);
        let length = a.hypot(b);
        if length > 3.0 {
            (m[i], m[i + 1]) = (3.0 / length * a * s, 3.0 / length * b * s);
        }
    }
    m
}

fn hermite(points: &[[f32; 2]], slopes: &[f64], x: f32) -> f32 {
    let i = points.partition_point(|p| p[0] <= x).clamp(1, points.len() - 1) - 1;
    let at = |k: usize| (f64::from(points[k][0]), f64::from(points[k][1]));
    let ((x0, y0), (x1, y1)) = (at(i), at(i + 1));
    let h = x1 - x0;
    let t = (f64::from(x) - x0) / h;
    let (t2, t3) = (t * t, t * t * t);
    let y =
        y0 * (2.0 * t3 - 3.0 * t2 + 1.0) + slopes[i] * h * (t3 - 2.0 * t2 + t) + y1 * (3.0 * t2 - 2.0 * t3) + slopes[i + 1] * h * (t3 - t2);
    y as f32
}

/// See [`Curves`].
pub struct Tables {
    rgb: Option<Curve>,
    channels: [Option<Curve>; 3],
    luma: Option<Curve>,
}

impl Tables {
    /// One channel. A function of its own, because a closure may not be compiled for the processor at hand, and then is no SIMD.
    #[inline(always)]
    fn one<L: Lane>(&self, k: usize, v: L) -> L {
        let v = match &self.rgb {
            Some(curve) => curve.eval(v),
            None => v,
        };
        match &self.channels[k] {
            Some(curve) => curve.eval(v),
            None => v,
        }
    }
}

impl Kernel for Tables {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let c = [self.one(0, c[0]), self.one(1, c[1]), self.one(2, c[2])];
        let Some(curve) = &self.luma else { return c };
        let y = luma(c);
        let by = curve.eval(y) - y;
        [c[0] + by, c[1] + by, c[2] + by]
    }

    fn planes(&self, p: &mut Planes<'_>) {
        for (plane, own) in [&mut *p.r, &mut *p.g, &mut *p.b].into_iter().zip(&self.channels) {
            [&self.rgb, own].into_iter().flatten().for_each(|curve| along(curve, plane));
        }
        if let Some(curve) = &self.luma {
            by_luma(curve, p.r, p.g, p.b);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn along(curve: &Curve, plane: &mut [f32]) {
    for v in plane {
        *v = curve.eval(*v);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn by_luma(curve: &Curve, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        let y = luma([*r, *g, *b]);
        let by = curve.eval(y) - y;
        (*r, *g, *b) = (*r + by, *g + by, *b + by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn points_are_met_and_nothing_overshoots() {
        let points = vec![[0.0, 0.1], [0.3, 0.1], [0.5, 0.8], [1.0, 0.9]];
        let k = Curves { rgb: points.clone(), ..Curves::default() }.kernel().unwrap();
        for [x, y] in &points {
            assert!((k.eval([*x; 3])[2] - y).abs() < 1e-3, "{x} {y}");
        }
        for i in 0..=300 {
            assert!((k.eval([i as f32 / 1000.0; 3])[0] - 0.1).abs() < 1e-6);
        }
    }

    proptest! {
        #[test]
        fn rising_points_make_rising_curves(ys in proptest::collection::vec(0f32..1.0, 2..9)) {
            let mut ys = ys;
            ys.sort_by(f32::total_cmp);
            let points = ys.iter().enumerate().map(|(i, y)| [i as f32 / (ys.len() - 1) as f32, *y]).collect();
            let k = Curves { rgb: points, ..Curves::default() }.kernel().unwrap();
            let all: Vec<f32> = (-200..1200).map(|i| k.eval([i as f32 / 1000.0; 3])[0]).collect();
            prop_assert!(all.windows(2).all(|w| w[0] <= w[1] + 1e-6));
        }
    }
}
