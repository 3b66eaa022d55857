//! How far a match may change the chroma of a colour.

/// Chroma (OKLab) of what counts as grey, and from which a colour counts as one.
const FAINT: [f32; 2] = [0.012, 0.045];
/// Chroma up to which a colour may gain as much as any, and from which it may gain least.
const VIVID: [f32; 2] = [0.09, 0.2];
/// Gains of greys, colours and vivid colours at most; of skin at most.
const MOST: [f32; 3] = [1.06, 1.45, 1.12];
const MOST_OF_SKIN: f32 = 1.22;
/// Gains at least; of skin at least.
const LEAST: f32 = 0.6;
const LEAST_OF_SKIN: f32 = 0.78;

/// The chroma that a colour gets: `wanted`, but not much more or less than it had `before` (OKLab, balanced), seen at its new
/// lightness.
pub fn limited(wanted: f32, before: [f32; 3], lightness: f32, skin: f32) -> f32 {
    let ramp = |v: f32, [from, to]: [f32; 2]| {
        let v = ((v - from) / (to - from)).clamp(0.0, 1.0);
        v * v * (3.0 - 2.0 * v)
    };
    let chroma = before[1].hypot(before[2]);
    // More or less light changes chroma with lightness; the 0.1 keeps the dark from being blown up.
    let same = chroma * ((lightness + 0.1) / (before[0].max(0.0) + 0.1)).clamp(0.6, 1.35);
    if same < 1e-6 {
        return wanted.min(same);
    }
    let mix = |a: f32, b: f32, k: f32| a + (b - a) * k;
    let colourful = ramp(chroma, FAINT);
    let most = mix(mix(MOST[0], MOST[1], colourful), MOST[2], ramp(chroma, VIVID));
    let most = mix(most, most.min(MOST_OF_SKIN), skin);
    let least = mix(LEAST, LEAST_OF_SKIN, skin);
    let gain = (wanted / same).max(1e-3).ln();
    let most = if gain > 0.0 { most.ln() } else { -least.ln() };
    same * super::held(gain, most * 0.6, most).exp()
}
