//! How warm or cool pictures are, and how much of that a match hands on.

use super::smooth;

/// The axis of warm and cool light in OKLab a and b, about the hue of skin, so that it turns no skin.
pub const WARM: [f32; 2] = [0.375, 0.927];
/// The share of a difference in warmth that is taken over, and how much at most (OKLab), as greys get it.
const WARMTH: f32 = 0.55;
pub const MOST_WARMTH: f32 = 0.022;
/// Colours more colourful than this count as just so colourful for warmth.
const WARMTH_CHROMA: f32 = 0.08;
/// Lightnesses (OKLab) between dark and light tones, and those where warmth begins and ends.
const LIT: [f32; 2] = [0.3, 0.75];
const WARM_FROM: [f32; 2] = [0.34, 0.5];
const WARM_TO: [f32; 2] = [0.8, 0.9];
/// What skin gets of it, and what vivid colours do: light of another colour leaves a red rose red.
const WARMTH_OF_SKIN: f32 = 0.5;
const WARMTH_OF_VIVID: f32 = 0.25;

/// How warm dark and light tones (OKLab) are on the whole, along [`WARM`]. Where there are few of them, that says little.
pub fn mood(points: &[(f32, [f32; 3])]) -> [f32; 2] {
    const FEW: f32 = 0.1;
    let mut sums = [[0.0, FEW]; 2];
    for &(w, [l, a, b]) in points {
        let lit = smooth(l, LIT);
        let warm = (a * WARM[0] + b * WARM[1]) * (WARMTH_CHROMA / a.hypot(b).max(WARMTH_CHROMA));
        for (s, k) in sums.iter_mut().zip([1.0 - lit, lit]) {
            *s = [s[0] + w * k * warm, s[1] + w * k];
        }
    }
    sums.map(|[warm, weight]| warm / weight)
}

/// What pictures with the mood `own` get to come nearer to another one, at most `most`.
pub fn towards(own: [f32; 2], other: [f32; 2], most: f32) -> [f32; 2] {
    [0, 1].map(|k| if most > 0.0 { most * (WARMTH * (other[k] - own[k]) / most).tanh() } else { 0.0 })
}

/// A colour (OKLab) with this warmth of dark and of light tones; `before` is what it was before its tone and colour changed, and
/// `skin` how far that is skin.
pub fn warmed([l, a, b]: [f32; 3], before: [f32; 3], warmth: [f32; 2], skin: f32) -> [f32; 3] {
    let own = before[1].hypot(before[2]);
    // Warmth: none near black and white, where a trace of it would turn the palest and the darkest skin; skin gets some of it along
    // its own hue.
    let at = before[0];
    let lit = smooth(at, LIT);
    let warmth = (warmth[0] + (warmth[1] - warmth[0]) * lit) * smooth(at, WARM_FROM) * (1.0 - smooth(at, WARM_TO));
    let warmth = warmth * (1.0 - (1.0 - WARMTH_OF_VIVID) * super::chroma::vivid(before));
    let all = [a + WARM[0] * warmth, b + WARM[1] * warmth];
    let chroma = a.hypot(b);
    let towards = (a * WARM[0] + b * WARM[1]) / chroma.max(1e-6);
    // So does what is a little warm, whatever it is: pale skin in other light.
    let warmish = smooth(towards, [0.1, 0.45]) * (1.0 - smooth(own, [0.04, 0.08]));
    let room = 0.4 - 0.3 * skin;
    let kept = (1.0 + towards * warmth * (1.0 - (1.0 - WARMTH_OF_SKIN) * skin) / chroma.max(1e-6)).clamp(1.0 - room, 1.0 + room);
    let along = skin.max(warmish) * smooth(own, [0.0, 0.01]);
    [l, all[0] + (a * kept - all[0]) * along, all[1] + (b * kept - all[1]) * along]
}
