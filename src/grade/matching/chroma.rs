//! How far a match may change the chroma of a colour.

/// Chroma (OKLab) of what counts as grey, and from which a colour counts as one.
const FAINT: [f32; 2] = [0.012, 0.045];
/// Chroma up to which a colour may gain as much as any, and from which it may gain least.
const VIVID: [f32; 2] = [0.09, 0.2];
/// Lightness below which less chroma is as vivid, and how much less at most: the deepest red that there is has a chroma of 0.09 at a
/// lightness of 0.22.
const DEEP: f32 = 0.5;
const DEEPEST: f32 = 2.0;
/// Gains of greys, colours and vivid colours at most; of skin at most.
const MOST: [f32; 3] = [1.1, 1.45, 1.15];
const MOST_OF_SKIN: f32 = 1.18;
/// Gains at least: of greys and colours, of vivid colours and of skin. What a flatter tone curve takes counts in it.
const LEAST: f32 = 0.65;
const LEAST_OF_VIVID: f32 = 0.85;
const LEAST_OF_SKIN: f32 = 0.65;
/// What more or less light may do to chroma besides.
const LIGHT: [f32; 2] = [0.75, 1.25];

/// The chroma that a colour has in more or less light: it changes with lightness; the 0.1 keeps the dark from being blown up.
pub fn at(before: [f32; 3], lightness: f32) -> f32 {
    before[1].hypot(before[2]) * ((lightness + 0.1) / (before[0].max(0.0) + 0.1)).clamp(LIGHT[0], LIGHT[1])
}

/// How vivid a colour (OKLab) is, 0..1: by its chroma beside what its lightness has room for.
pub fn vivid([lightness, a, b]: [f32; 3]) -> f32 {
    super::smooth(a.hypot(b) * (DEEP / lightness.max(0.01)).clamp(1.0, DEEPEST), VIVID)
}

/// The chroma that a colour gets: `wanted`, but not much more or less than it had `before` (OKLab, balanced), seen at its new
/// lightness.
pub fn limited(wanted: f32, before: [f32; 3], lightness: f32, skin: f32) -> f32 {
    let chroma = before[1].hypot(before[2]);
    let same = at(before, lightness);
    if same < 1e-6 {
        return wanted.min(same);
    }
    let mix = |a: f32, b: f32, k: f32| a + (b - a) * k;
    let (colourful, vivid) = (super::smooth(chroma, FAINT), vivid(before));
    let most = mix(mix(MOST[0], MOST[1], colourful), MOST[2], vivid);
    let most = mix(most, most.min(MOST_OF_SKIN), skin);
    let least = mix(LEAST, LEAST_OF_VIVID, vivid);
    let least = mix(least, least.max(LEAST_OF_SKIN), skin);
    let gain = (wanted / same).max(1e-3).ln();
    let most = if gain > 0.0 { most.ln() } else { -least.ln() };
    same * super::held(gain, most * 0.6, most).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At an unchanged lightness and hue (60 degrees, as skin has it).
    fn kept(wanted: f32, chroma: f32, skin: f32) -> f32 {
        limited(wanted, [0.6, chroma * 0.5, chroma * 0.866], 0.6, skin)
    }

    #[test]
    fn greys_skin_and_vivid_colours_gain_little() {
        for (chroma, skin, least, most) in [
            (0.008, 0.0, LEAST, MOST[0]),
            (0.06, 1.0, LEAST_OF_SKIN, MOST_OF_SKIN),
            (0.25, 1.0, LEAST_OF_VIVID, MOST[2]),
            (0.07, 0.0, LEAST, MOST[1]),
            (0.25, 0.0, LEAST_OF_VIVID, MOST[2]),
        ] {
            for gain in [0.01, 0.5, 2.0, 10.0] {
                let got = kept(chroma * gain, chroma, skin) / chroma;
                assert!((least - 1e-3..=most + 1e-3).contains(&got), "{chroma} {skin} {gain}: {got}");
            }
            assert!((kept(chroma, chroma, skin) / chroma - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn more_colour_stays_more_colour() {
        for (gain, skin) in [(0.3, 0.0), (0.3, 1.0), (1.0, 0.5), (4.0, 0.0), (4.0, 1.0)] {
            let mut last = -1.0;
            for i in 0..300 {
                let chroma = i as f32 / 1000.0;
                let got = kept(chroma * gain, chroma, skin);
                assert!(got > last, "{gain} {skin} {chroma}: {got} after {last}");
                last = got;
            }
        }
    }
}
