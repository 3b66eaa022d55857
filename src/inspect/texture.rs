//! Fine and middle detail of the result against a faithful enlargement, window by window: what blur and plastic share.

use super::plane::{Plane, Soft, reach};
use super::{filter, tiles, windows};

/// How much less detail than expected, and how sharp the edges still are; natural logarithms, relative to the picture's
/// median, so that a picture that is soft as a whole is no defect.
#[derive(Debug, Clone)]
pub struct Texture {
    /// Windows with enough detail to judge.
    pub ok: Vec<bool>,
    /// Loss of detail finer than 0.7 px, over its usual spread.
    pub fine: Plane,
    /// Loss of detail between 1.4 and 2.8 px, over its usual spread.
    pub middle: Plane,
    /// Steepest edge, against the faithful one's.
    pub edge: Plane,
}

/// Detail of one luma by cells of [`windows::STEP`]: mean squares of what is finer than 0.7 px, between 0.7 and 1.4, and between
/// 1.4 and 2.8 px.
pub fn detail(y: &Plane) -> [Plane; 3] {
    tiles::cells((y.width, y.height), windows::STEP, reach(2.8), |tile| {
        let y = tile.cut(y);
        let (x, _) = tile.inside();
        let mut softs = [0.7, 1.4, 2.8].map(|sigma| (Soft::new(sigma), vec![0.0; y.width]));
        tile.sums(windows::STEP, |r, [fine, upper, middle]| {
            for (soft, row) in &mut softs {
                soft.row(&y, r, row);
            }
            let [a, b, c] = softs.each_ref().map(|(_, row)| &row[x.clone()]);
            filter::add_squares(&y.row(r)[x.clone()], a, fine);
            filter::add_squares(a, b, upper);
            filter::add_squares(b, c, middle);
        })
    })
}

/// The steepest slope by cells of [`windows::STEP`].
fn steepest(y: &Plane) -> Plane {
    let [squares] = tiles::cells((y.width, y.height), windows::STEP, 1, |tile| {
        [windows::largest(&tile.cut(y).steepness(), tile.inside(), windows::STEP)]
    });
    squares.map(f32::sqrt)
}

/// The usual spreads of a loss of fine and of middle detail, natural logarithms of energy.
pub const SPREADS: [f32; 2] = [2.3, 0.55];

/// Most that a whole picture may lack of fine and middle detail, natural logarithms: beyond what plain kernels lose it counts everywhere.
const MOST: [f32; 2] = [3.0, 1.5];

/// Measures `result` against `faithful`; None if fewer than six windows have detail.
pub fn measure(result: &Plane, faithful: &Plane) -> Option<Texture> {
    const LEAST: f32 = 0.008 * 0.008;
    const FLOOR: f32 = 2e-6;
    let ([fine, _, middle], [fine_f, _, middle_f]) = (detail(result), detail(faithful));
    let (steep, steep_f) = (steepest(result), steepest(faithful));
    let (of_result, of_faithful) =
        ([windows::mean_of(&fine), windows::mean_of(&middle)], [windows::mean_of(&fine_f), windows::mean_of(&middle_f)]);
    let ok: Vec<bool> = of_faithful[1].data.iter().map(|&e| e > LEAST).collect();
    if ok.iter().filter(|ok| **ok).count() < 6 {
        return None;
    }
    let loss = |i: usize| {
        let d = of_faithful[i].zip(&of_result[i], |f, c| ((f + FLOOR) / (c + FLOOR)).ln());
        let usual = windows::median_where(&d, &ok).min(MOST[i]);
        d.map(|v| (v - usual) / SPREADS[i])
    };
    let edge = windows::max_of(&steep).zip(&windows::max_of(&steep_f), |c, f| ((c + 0.005) / (f + 0.005)).ln());
    let usual = windows::median_where(&edge, &ok);
    Some(Texture { fine: loss(0), middle: loss(1), edge: edge.map(|v| v - usual), ok })
}

/// `f` of every window that can be judged, 0 elsewhere and for negative values.
pub fn judged(t: &Texture, f: impl Fn(f32, f32, f32) -> f32) -> Plane {
    let mut out = Plane::new(t.fine.width, t.fine.height);
    for (i, o) in out.data.iter_mut().enumerate().filter(|(i, _)| t.ok[*i]) {
        *o = f(t.fine.data[i], t.middle.data[i], t.edge.data[i]).max(0.0);
    }
    out
}
