//! Fine and middle detail of the result against a faithful enlargement, window by window: what blur and plastic share.

use super::plane::Plane;
use super::windows;

/// How much less detail than expected, and how sharp the edges still are; natural logarithms, relative to the picture's
/// median, so that a picture that is soft as a whole is no defect.
#[derive(Debug, Clone)]
pub struct Texture {
    /// Windows with enough detail to judge.
    pub ok: Vec<bool>,
    /// Loss of detail finer than 0.7 px, over its usual spread (2.3).
    pub fine: Plane,
    /// Loss of detail between 1.4 and 2.8 px, over its usual spread (0.55).
    pub middle: Plane,
    /// Steepest edge, against the faithful one's.
    pub edge: Plane,
}

/// Mean square of what lies between two smoothings, per window.
fn energy(fine: &Plane, coarse: &Plane) -> Plane {
    windows::mean(&fine.zip(coarse, |a, b| (a - b) * (a - b)))
}

/// Measures `result` against `faithful`; None if fewer than six windows have detail.
pub fn measure(result: &Plane, faithful: &Plane) -> Option<Texture> {
    const LEAST: f32 = 0.008 * 0.008;
    const FLOOR: f32 = 2e-6;
    let bands = |p: &Plane| {
        let (a, b, c) = (p.blur(0.7), p.blur(1.4), p.blur(2.8));
        [energy(p, &a), energy(&b, &c)]
    };
    let (of_result, of_faithful) = (bands(result), bands(faithful));
    let ok: Vec<bool> = of_faithful[1].data.iter().map(|&e| e > LEAST).collect();
    if ok.iter().filter(|ok| **ok).count() < 6 {
        return None;
    }
    let loss = |i: usize, spread: f32| {
        let d = of_faithful[i].zip(&of_result[i], |f, c| ((f + FLOOR) / (c + FLOOR)).ln());
        let usual = windows::median_where(&d, &ok);
        d.map(|v| (v - usual) / spread)
    };
    let steep = |p: &Plane| windows::max(&p.slope());
    let edge = steep(result).zip(&steep(faithful), |c, f| ((c + 0.005) / (f + 0.005)).ln());
    let usual = windows::median_where(&edge, &ok);
    Some(Texture { fine: loss(0, 2.3), middle: loss(1, 0.55), edge: edge.map(|v| v - usual), ok })
}

/// `f` of every window that can be judged, 0 elsewhere and for negative values.
pub fn judged(t: &Texture, f: impl Fn(f32, f32, f32) -> f32) -> Plane {
    let mut out = Plane::new(t.fine.width, t.fine.height);
    for (i, o) in out.data.iter_mut().enumerate().filter(|(i, _)| t.ok[*i]) {
        *o = f(t.fine.data[i], t.middle.data[i], t.edge.data[i]).max(0.0);
    }
    out
}
