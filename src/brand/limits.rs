//! What a kit's grade must keep of a picture, and how strong it may be for that.

use crate::brand::kit::Protect;
use crate::brand::palette::Swatch;
use crate::color::{White, delta_e_2000, srgb_to_lab};
use crate::grade::matching::{Match, Statistics, WARM, oklab_to_srgb, skin_likeness, srgb_to_oklab};

/// Of the pixels that a limit is for, so many must keep it.
const MOST: f64 = 0.95;
/// Chroma (OKLab, after white balance) below which a colour is a grey, and above which it may be skin.
const GREY: f32 = 0.015;
const SKIN: f32 = 0.025;
/// Greys are looked at in so many levels of lightness, each for its own; one with less than this share of the picture makes no tint.
const LEVELS: usize = 4;
const LEAST: f64 = 0.005;

/// Skin that keeps less of its chroma than this is meant to be grey.
const MEANT: f64 = 0.15;

/// How warm or cool a match may make greys (OKLab chroma along [`WARM`]), so that they stay within `neutral_de` (CIEDE2000) with
/// a little to spare.
pub fn warmth(neutral_de: f64) -> f32 {
    const SPARE: f64 = 0.85;
    let tint = |by: f32| {
        let apart = |l: f32| {
            let at = |by: f32| lab(oklab_to_srgb([l, WARM[0] * by, WARM[1] * by]));
            delta_e_2000(at(by), at(0.0)).max(delta_e_2000(at(-by), at(0.0)))
        };
        apart(0.4).max(apart(0.6)).max(apart(0.8))
    };
    let (mut kept, mut missed) = (0f32, 0.05f32);
    for _ in 0..20 {
        let middle = (kept + missed) / 2.0;
        *(if tint(middle) <= SPARE * neutral_de { &mut kept } else { &mut missed }) = middle;
    }
    kept
}

/// A colour of the pictures (encoded sRGB): as it is, after white balance alone, and after all of the grade.
struct Colour {
    weight: f64,
    own: [f32; 3],
    balanced: [f32; 3],
    graded: [f32; 3],
}

impl Colour {
    fn balanced(&self, strength: f32) -> [f32; 3] {
        mix(self.own, self.balanced, strength)
    }

    fn graded(&self, strength: f32) -> [f32; 3] {
        mix(self.own, self.graded, strength)
    }
}

fn mix(a: [f32; 3], b: [f32; 3], share: f32) -> [f32; 3] {
    [0, 1, 2].map(|k| a[k] + (b[k] - a[k]) * share)
}

fn lab(c: [f32; 3]) -> [f64; 3] {
    srgb_to_lab(c.map(f64::from), White::D65)
}

/// The colours that a kit guards. Which they are is told once, at the strength that the kit asks for: were it told anew at every
/// strength, less of the grade could break a limit that more of it keeps.
pub struct Guarded {
    skin: Vec<Colour>,
    greys: [Vec<Colour>; LEVELS],
    /// With the tolerance of the swatch that they are of.
    brand: Vec<(Colour, f64)>,
}

impl Guarded {
    /// Among the colours `from`, which `matched` balances and `full` grades.
    pub fn of(from: &Statistics, matched: &Match, strength: f32, full: impl Fn([f32; 3]) -> [f32; 3], palette: &[Swatch]) -> Self {
        let swatches: Vec<(&Swatch, [f64; 3])> = palette.iter().filter(|s| s.protected).map(|s| (s, s.lab())).collect();
        let mut this = Self { skin: Vec::new(), greys: Default::default(), brand: Vec::new() };
        for (weight, own) in from.content() {
            let colour = || Colour { weight: f64::from(weight), own, balanced: matched.balanced(own), graded: full(own) };
            let [l, a, b] = srgb_to_oklab(mix(own, matched.balanced(own), strength));
            let chroma = a.hypot(b);
            if chroma > SKIN && skin_likeness([l, a, b]) > 0.5 {
                this.skin.push(colour());
            }
            if chroma < GREY {
                this.greys[((l * LEVELS as f32) as usize).min(LEVELS - 1)].push(colour());
            }
            for (swatch, of) in &swatches {
                if delta_e_2000(lab(own), *of) <= swatch.tolerance {
                    this.brand.push((colour(), swatch.tolerance));
                }
            }
        }
        this
    }

    /// The greatest strength up to `most` that keeps all limits, and what stands in the way of more.
    pub fn strongest(&self, most: f32, protect: &Protect) -> (f32, Option<String>) {
        const ROUNDS: usize = 8;
        let Some(why) = self.broken(most, protect) else { return (most, None) };
        let (mut kept, mut missed) = (0.0, most);
        for _ in 0..ROUNDS {
            let middle = (kept + missed) / 2.0;
            *(if self.broken(middle, protect).is_none() { &mut kept } else { &mut missed }) = middle;
        }
        (kept, Some(why))
    }

    /// What a grade of this strength does not keep, if anything.
    fn broken(&self, strength: f32, protect: &Protect) -> Option<String> {
        let (skin, grey) = (self.turn(strength), self.tint(strength));
        if skin > f64::from(protect.skin_degrees) {
            return Some(format!("skin would turn by {skin:.1} degrees"));
        }
        if grey > protect.neutral_de {
            return Some(format!("greys would be tinted by {grey:.1} dE2000"));
        }
        let [chroma, lightness] = self.look_of_skin(strength);
        if chroma.ln().abs() > -(1.0 - f64::from(protect.skin_chroma)).ln() && self.look_of_skin(1.0)[0] > MEANT {
            return Some(format!("skin would have {chroma:.2} times its chroma"));
        }
        if lightness > f64::from(protect.skin_lightness) {
            return Some(format!("skin would be lighter or darker by {lightness:.1} (CIELAB)"));
        }
        let apart = |(c, tolerance): &(Colour, f64)| (delta_e_2000(lab(c.own), lab(c.graded(strength))) / tolerance, c.weight);
        (worst(self.brand.iter().map(apart).collect()) > 1.0).then(|| "a protected colour would leave its tolerance".into())
    }

    /// Degrees in OKLab by which skin turns.
    fn turn(&self, strength: f32) -> f64 {
        let turn = |c: &Colour| {
            let (before, after) = (srgb_to_oklab(c.balanced(strength)), srgb_to_oklab(c.graded(strength)));
            let turn = (before[1] * after[2] - before[2] * after[1]).atan2(before[1] * after[1] + before[2] * after[2]);
            (f64::from(turn.to_degrees().abs()), c.weight)
        };
        worst(self.skin.iter().map(turn).collect())
    }

    /// How many times its chroma skin has after the grade, on the whole, and by how much (CIELAB L) it is lighter or darker.
    fn look_of_skin(&self, strength: f32) -> [f64; 2] {
        // Weighted chroma before and after, and L.
        let mut sums = [0f64; 4];
        for c in &self.skin {
            let ([l0, a0, b0], [l, a, b]) = (lab(c.balanced(strength)), lab(c.graded(strength)));
            sums.iter_mut().zip([1.0, a0.hypot(b0), a.hypot(b), l - l0]).for_each(|(sum, v)| *sum += c.weight * v);
        }
        let [weight, before, after, lighter] = sums;
        if weight > LEAST { [(after / before.max(1e-9)).max(1e-3), (lighter / weight).abs()] } else { [1.0, 0.0] }
    }

    /// CIEDE2000 without lightness by which the mean of a level's greys moves. Shades of grey a little to either side are no
    /// tint; what all of them share is.
    fn tint(&self, strength: f32) -> f64 {
        let mut most = 0f64;
        for level in &self.greys {
            // Weight, then weighted L, a and b after the grade and a and b before it.
            let mut sums = [0f64; 6];
            for c in level {
                let ([l, a, b], [_, a0, b0]) = (lab(c.graded(strength)), lab(c.balanced(strength)));
                sums.iter_mut().zip([1.0, l, a, b, a0, b0]).for_each(|(sum, v)| *sum += c.weight * v);
            }
            let [weight, l, a, b, a0, b0] = sums;
            if weight > LEAST {
                most = most.max(delta_e_2000([l / weight, a / weight, b / weight], [l / weight, a0 / weight, b0 / weight]));
            }
        }
        most
    }
}

/// The value that the share [`MOST`] of the weights does not exceed; 0 of none.
fn worst(mut values: Vec<(f64, f64)>) -> f64 {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = values.iter().map(|(_, w)| w).sum();
    let mut done = 0.0;
    values
        .iter()
        .find(|(_, w)| {
            done += w;
            done >= MOST * total
        })
        .map_or(0.0, |(v, _)| *v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Band;
    use crate::grade::matching::Collector;

    /// Greys, skin and red in soft shades, with a cast.
    fn picture() -> Statistics {
        let base: [[f32; 3]; 4] = [[0.85, 0.83, 0.78], [0.7, 0.69, 0.65], [0.85, 0.64, 0.5], [0.7, 0.25, 0.18]];
        let mut band = Band::new(0, 400, 64, 3);
        for (x, y) in (0..64).flat_map(|y| (0..400).map(move |x| (x, y))) {
            let shade = 0.2 + 0.8 * y as f32 / 64.0;
            (0..3).for_each(|k| band.row_mut(k, y)[x] = base[x / 100][k] * shade + ((x * 13 + y * 7) % 29) as f32 / 1500.0);
        }
        let mut collector = Collector::default();
        collector.push(&band);
        collector.finish()
    }

    /// A tint of everything, as looks have them.
    fn tinted([r, g, b]: [f32; 3]) -> [f32; 3] {
        [r * 1.1, g, b * 0.85]
    }

    /// Limits that nothing breaks.
    fn open() -> Protect {
        Protect { skin_degrees: 180.0, skin_chroma: 0.99, skin_lightness: 100.0, neutral_de: 100.0 }
    }

    /// Skin that a grade makes paler or darker is guarded like its hue; a black-and-white look is meant.
    #[test]
    fn skin_keeps_chroma_and_lightness() {
        let pale = |share: f32| {
            move |c: [f32; 3]| {
                let y = 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
                c.map(|v| y + (v - y) * share)
            }
        };
        let guard = |grade: &dyn Fn([f32; 3]) -> [f32; 3]| Guarded::of(&picture(), &Match::identity(), 1.0, grade, &[]);
        let chroma = Protect { skin_chroma: 0.3, ..open() };
        let (strength, why) = guard(&pale(0.4)).strongest(1.0, &chroma);
        assert!(why.unwrap().contains("times its chroma") && (0.4..0.6).contains(&strength), "{strength}");
        assert_eq!(guard(&pale(0.8)).strongest(1.0, &chroma), (1.0, None));
        assert_eq!(guard(&pale(0.0)).strongest(1.0, &chroma), (1.0, None));
        let lightness = Protect { skin_lightness: 8.0, ..open() };
        let (strength, why) = guard(&|c| c.map(|v| v * 0.7)).strongest(1.0, &lightness);
        assert!(why.unwrap().contains("lighter or darker") && (0.2..0.8).contains(&strength), "{strength}");
    }

    #[test]
    fn warmth_stays_within_what_greys_may_be_tinted() {
        assert_eq!(warmth(0.0), 0.0);
        let (some, more) = (warmth(1.5), warmth(3.0));
        assert!((0.002..0.008).contains(&some) && more > 1.5 * some, "{some} {more}");
    }

    #[test]
    fn limits_break_more_the_stronger_the_grade() {
        let (from, matched) = (picture(), Match::identity());
        let guarded = Guarded::of(&from, &matched, 1.0, tinted, &[]);
        assert!(!guarded.skin.is_empty() && guarded.greys.iter().any(|g| !g.is_empty()));
        let mut last = (0.0, 0.0);
        for i in 0..=20 {
            let now = (guarded.turn(i as f32 / 20.0), guarded.tint(i as f32 / 20.0));
            assert!(now.0 >= last.0 && now.1 >= last.1, "{i}: {now:?} after {last:?}");
            last = now;
        }
        assert!(last.1 > 4.0, "{last:?}");
        assert_eq!(guarded.tint(0.0), 0.0);
    }

    #[test]
    fn the_strongest_grade_within_limits_is_found() {
        let guarded = Guarded::of(&picture(), &Match::identity(), 0.8, tinted, &[]);
        let protect = |neutral_de: f64| Protect { neutral_de, ..open() };
        assert_eq!(guarded.strongest(0.8, &protect(100.0)), (0.8, None));
        let (strength, why) = guarded.strongest(0.8, &protect(1.5));
        assert!(why.unwrap().contains("greys would be tinted by"));
        assert!(guarded.tint(strength) <= 1.5 && guarded.tint(strength + 0.01) > 1.5, "{strength}");
        let (none, why) = guarded.strongest(0.8, &protect(0.0));
        assert!(none < 0.01 && why.is_some(), "{none}");
    }

    #[test]
    fn protected_colours_stay_within_their_tolerance() {
        let mut red = Swatch::parse("red=#b2402e").unwrap();
        (red.protected, red.tolerance) = (true, 6.0);
        let guarded = Guarded::of(&picture(), &Match::identity(), 1.0, |_| [0.1, 0.2, 0.9], &[red]);
        let protect = open();
        let (strength, why) = guarded.strongest(1.0, &protect);
        assert!(strength < 0.5 && why.unwrap().contains("tolerance"), "{strength}");
    }
}
