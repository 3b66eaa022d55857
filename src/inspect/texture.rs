//! Fine and middle detail of the result against a faithful enlargement, window by window: what blur and plastic share.

use super::plane::{Plane, reach};
use super::{tiles, windows};

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

/// Detail of one luma by cells of [`windows::STEP`]: mean squares of what is finer than 0.7 px and between 1.4 and 2.8 px, and
/// the steepest slope.
pub fn detail(y: &Plane) -> [Plane; 3] {
    let size = (y.width, y.height);
    tiles::cells(size, windows::STEP, reach(2.8), |tile| {
        let y = tile.cut(y);
        let (a, b, c) = (y.blur(0.7), y.blur(1.4), y.blur(2.8));
        let energy = |fine: &Plane, coarse: &Plane| tile.cells(&fine.zip(coarse, |a, b| (a - b) * (a - b)), windows::STEP);
        let (x, rows) = tile.inside();
        [energy(&y, &a), energy(&b, &c), windows::largest(&y.steepness(), x, rows).map(f32::sqrt)]
    })
}

/// Measures `result` against `faithful`; None if fewer than six windows have detail.
pub fn measure(result: &Plane, faithful: &Plane) -> Option<Texture> {
    const LEAST: f32 = 0.008 * 0.008;
    const FLOOR: f32 = 2e-6;
    let ([fine, middle, steep], [fine_f, middle_f, steep_f]) = (detail(result), detail(faithful));
    let (of_result, of_faithful) =
        ([windows::mean_of(&fine), windows::mean_of(&middle)], [windows::mean_of(&fine_f), windows::mean_of(&middle_f)]);
    let ok: Vec<bool> = of_faithful[1].data.iter().map(|&e| e > LEAST).collect();
    if ok.iter().filter(|ok| **ok).count() < 6 {
        return None;
    }
    let loss = |i: usize, spread: f32| {
        let d = of_faithful[i].zip(&of_result[i], |f, c| ((f + FLOOR) / (c + FLOOR)).ln());
        let usual = windows::median_where(&d, &ok);
        d.map(|v| (v - usual) / spread)
    };
    let edge = windows::max_of(&steep).zip(&windows::max_of(&steep_f), |c, f| ((c + 0.005) / (f + 0.005)).ln());
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
