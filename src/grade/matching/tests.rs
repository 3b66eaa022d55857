use super::tone::{SLOPES, fitted};
use super::*;
use proptest::prelude::*;

use crate::band::Band;

/// A picture of grey things, foliage, sky and skin with soft shades.
fn picture(change: impl Fn([f32; 3]) -> [f32; 3]) -> Statistics {
    let base: [[f32; 3]; 6] = [[0.8, 0.8, 0.8], [0.8, 0.8, 0.8], [0.45, 0.6, 0.3], [0.5, 0.65, 0.85], [0.85, 0.65, 0.53], [0.7, 0.25, 0.2]];
    let mut band = Band::new(0, 600, 64, 3);
    for y in 0..64 {
        for x in 0..600 {
            let shade = 0.12 + 0.88 * (y as f32 + 0.5) / 64.0;
            let wobble = ((x * 13 + y * 7) % 29) as f32 / 29.0 * 0.04 - 0.02;
            let c = base[x / 100].map(|v| (v * shade + wobble).clamp(0.0, 1.0));
            let c = change(c);
            (0..3).for_each(|k| band.row_mut(k, y)[x] = c[k].clamp(0.0, 1.0));
        }
    }
    let mut collector = Collector::default();
    collector.push(&band);
    collector.finish()
}

fn cast(c: [f32; 3]) -> [f32; 3] {
    let y = luma(c);
    let c = [c[0], c[1] * 0.93, c[2] * 0.8];
    c.map(|v| (y + (v - y) * 0.8).max(0.0).powf(1.2) * 0.95)
}

fn difference(a: [f32; 3], b: [f32; 3]) -> f32 {
    let (a, b) = (srgb_to_oklab(a), srgb_to_oklab(b));
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

fn hue_turn(a: [f32; 3], b: [f32; 3]) -> f32 {
    let ([_, a1, b1], [_, a2, b2]) = (srgb_to_oklab(a), srgb_to_oklab(b));
    (a1 * b2 - b1 * a2).atan2(a1 * a2 + b1 * b2).to_degrees().abs()
}

#[test]
fn equal_statistics_change_nothing() {
    let plain = picture(|c| c);
    let m = Match::between(&plain, &plain);
    let mut worst = 0.0f32;
    for i in 0..=10 {
        let v = i as f32 / 10.0;
        worst = worst.max((m.tone(v) - v).abs());
    }
    assert!(worst < 1e-4, "{worst}");
    assert!((m.saturation() - 1.0).abs() < 1e-3);
}

/// Alike pictures are left alone, and from there on more is done little by little.
#[test]
fn alike_pictures_stay_what_they_are() {
    let plain = picture(|c| c);
    let apart = |by: f32| {
        let m = Match::between(&picture(|c| [c[0] * (1.0 + by), c[1], c[2] * (1.0 - by)]), &plain);
        (0..125).map(|i| [i % 5, i / 5 % 5, i / 25].map(|v| v as f32 / 4.0)).map(|c| difference(c, m.eval(c))).fold(0f32, f32::max)
    };
    assert_eq!(apart(0.0), 0.0);
    let mut last = 0.0;
    for i in 0..=20 {
        let now = apart(i as f32 / 200.0);
        assert!(now < last + 0.012, "{i}: {now} after {last}");
        last = last.max(now);
    }
    assert!(last > 0.015, "{last}");
}

/// A picture of areas: colour and share of each, in soft shades.
fn areas(all: &[([f32; 3], usize)], shade: std::ops::Range<f32>) -> Statistics {
    let columns: Vec<[f32; 3]> = all.iter().flat_map(|(c, n)| std::iter::repeat_n(*c, *n)).collect();
    let mut band = Band::new(0, columns.len(), 64, 3);
    for (x, c) in columns.iter().enumerate() {
        for y in 0..64 {
            let v = shade.start + (shade.end - shade.start) * y as f32 / 63.0 + ((x * 13 + y * 7) % 29) as f32 / 2900.0;
            (0..3).for_each(|k| band.row_mut(k, y)[x] = (c[k] * v).clamp(0.0, 1.0));
        }
    }
    let mut collector = Collector::default();
    collector.push(&band);
    collector.finish()
}

#[test]
fn a_studio_backdrop_and_a_vivid_product_stay() {
    let (paper, red) = ([0.77, 0.772, 0.843], [0.98, 0.12, 0.02]);
    let product = areas(&[(paper, 260), (red, 140), ([0.3, 0.5, 0.1], 20)], 0.9..1.0);
    let references = [
        areas(&[([1.0; 3], 200), ([0.8, 0.6, 0.5], 60), ([0.2, 0.15, 0.12], 80), ([0.9, 0.5, 0.6], 20)], 0.5..1.0),
        areas(&[([0.2, 0.25, 0.4], 200), ([0.7, 0.4, 0.2], 100)], 0.2..1.0),
    ];
    for to in references {
        let m = Match::between(&product, &to);
        let paper = paper.map(|v| v * 0.95);
        assert!((luma(m.eval(paper)) - luma(paper)).abs() < 0.03, "{:?}", m.eval(paper));
        let chroma = |c: [f32; 3]| srgb_to_oklab(c)[1].hypot(srgb_to_oklab(c)[2]);
        assert!(chroma(m.eval(red)) > 0.78 * chroma(red), "{:?}", m.eval(red));
    }
}

/// Reds of any depth stay red beside a dull and a cool reference, and neighbouring colours stay neighbours.
#[test]
fn deep_reds_stay_red_and_no_steps_arise() {
    let peppers = areas(&[([0.85, 0.05, 0.06], 160), ([0.6, 0.75, 0.2], 120), ([0.2, 0.35, 0.1], 60), ([0.9, 0.9, 0.75], 30)], 0.15..1.0);
    let lake = areas(&[([0.45, 0.55, 0.7], 150), ([0.25, 0.3, 0.38], 150), ([0.7, 0.72, 0.75], 60)], 0.3..1.0);
    let dull = areas(&[([0.4, 0.42, 0.4], 200), ([0.25, 0.2, 0.22], 200), ([0.3, 0.33, 0.3], 40)], 0.3..1.0);
    for to in [&lake, &dull] {
        let m = Match::between(&peppers, to);
        for v in [0.25, 0.35, 0.5, 0.65, 0.8] {
            let red = [v, 0.03, 0.03];
            let ([l, a, b], [l2, a2, b2]) = (srgb_to_oklab(red), srgb_to_oklab(m.eval(red)));
            let kept = a2.hypot(b2) / chroma::at([l, a, b], l2);
            assert!(kept > 0.8 && hue_turn(red, m.eval(red)) < 4.0, "{v}: {kept} {:?}", m.eval(red));
        }
    }
    // Lighter yellow than the lightest there is would lose its colour at once.
    let bright = areas(&[([0.95, 0.93, 0.85], 200), ([0.8, 0.85, 0.6], 150), ([0.5, 0.6, 0.3], 60)], 0.6..1.0);
    let lut = Match::between(&peppers, &bright).lut(LUT_SIZE, 1.0).unwrap();
    for i in 0..16 * 16 * 32 {
        let c = [150 + i % 16 * 6, 150 + i / 16 % 16 * 6, i / 256 * 7].map(|v| v as f32 / 255.0);
        for k in 0..3 {
            let mut next = c;
            next[k] += 1.0 / 255.0;
            let step = (0..3).map(|j| (lut.eval(next)[j] - lut.eval(c)[j]).abs() * 255.0).fold(0f32, f32::max);
            assert!(step < 3.5, "{c:?} along {k}: {step} codes");
        }
    }
}

#[test]
fn soft_highlights_stay_soft() {
    for m in matches() {
        for i in 200..255 {
            let slope = (m.tone((i + 1) as f32 / 255.0) - m.tone(i as f32 / 255.0)) * 255.0;
            assert!((0.35..2.45).contains(&slope), "{i}: {slope}");
        }
        // Green mist that becomes white: less and less colour, no ring.
        let mut last = f32::MAX;
        for i in 0..=100 {
            let k = i as f32 / 100.0;
            let [_, a, b] = srgb_to_oklab(m.eval([0.55 + 0.4 * k, 0.72 + 0.25 * k, 0.2 + 0.74 * k]));
            assert!(a.hypot(b) < last + 1e-3, "{i}: {} after {last}", a.hypot(b));
            last = a.hypot(b);
        }
    }
}

#[test]
fn skin_keeps_most_of_its_chroma_and_lightness() {
    let face = [0.85, 0.62, 0.52];
    let portrait = areas(&[(face, 200), ([0.9, 0.9, 0.92], 80), ([0.3, 0.25, 0.22], 100)], 0.75..1.0);
    let dull = areas(&[([0.4, 0.42, 0.4], 200), ([0.25, 0.2, 0.22], 200), ([0.3, 0.33, 0.3], 40)], 0.3..1.0);
    let m = Match::between(&portrait, &dull);
    let ([l, a, b], [l2, a2, b2]) = (srgb_to_oklab(face), srgb_to_oklab(m.eval(face)));
    assert!(a2.hypot(b2) > 0.6 * a.hypot(b) && (l2 - l).abs() < 0.11, "{:?}", m.eval(face));
}

/// A golden hour and a blue lake give different results; greys in the middle take some of it, white, black and skin's hue stay.
#[test]
fn references_hand_on_their_mood() {
    let plain = picture(|c| c);
    let golden = areas(&[([0.95, 0.6, 0.3], 150), ([0.5, 0.35, 0.25], 150), ([0.2, 0.18, 0.2], 60)], 0.3..1.0);
    let lake = areas(&[([0.3, 0.55, 0.85], 150), ([0.2, 0.3, 0.45], 150), ([0.6, 0.65, 0.7], 60)], 0.3..1.0);
    let [warm, cool] = [&golden, &lake].map(|to| Match::between(&plain, to));
    let yellow = |m: &Match, c: [f32; 3]| srgb_to_oklab(m.eval(c))[2];
    for c in [[0.5, 0.5, 0.5], [0.4, 0.5, 0.35], [0.45, 0.5, 0.6]] {
        let apart = yellow(&warm, c) - yellow(&cool, c);
        assert!((0.012..0.06).contains(&apart), "{c:?}: {apart}");
    }
    for m in [&warm, &cool] {
        let [_, a, b] = srgb_to_oklab(m.eval([0.5; 3]));
        assert!(a.hypot(b) <= MOST_WARMTH + 1e-3, "{a} {b}");
        assert!(difference(m.eval([1.0; 3]), [1.0; 3]) < 1e-3 && difference(m.eval([0.0; 3]), [0.0; 3]) < 1e-3);
        let skin = [0.85, 0.65, 0.53];
        assert!(hue_turn(m.balanced(skin), m.eval(skin)) < 4.0);
    }
    let none = Match::within(&plain, &golden, 0.0);
    let [_, a, b] = srgb_to_oklab(none.eval([0.5; 3]));
    assert!(a.hypot(b) < 0.004, "{a} {b}");
}

/// What sRGB cannot show keeps its distance from what it can.
#[test]
fn colours_outside_of_srgb_stay_outside() {
    let m = Match::between(&picture(cast), &picture(|c| c));
    let grading = crate::grade::Grading::new(&[m.look(std::path::Path::new("m.cube")).unwrap()], 1.0).unwrap().unwrap();
    let inside = grading.colour([0.0, 1.0, 0.0]);
    let outside = grading.colour([-0.51, 1.02, -0.31]);
    for (k, by) in [-0.51, 0.02, -0.31].into_iter().enumerate() {
        assert!((outside[k] - inside[k] - by).abs() < 1e-3, "{inside:?} {outside:?}");
    }
    assert!(crate::grade::lut::Lut::parse("m", m.cube().unwrap().as_bytes()).unwrap().carries);
}

#[test]
fn a_cast_is_undone() {
    let (plain, other) = (picture(|c| c), picture(cast));
    let m = Match::between(&other, &plain);
    let same = Match::between(&plain, &plain);
    for c in [[0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75], [0.7, 0.5, 0.4], [0.4, 0.5, 0.7], [0.35, 0.5, 0.25]] {
        let (before, after) = (difference(cast(c), same.eval(c)), difference(m.eval(cast(c)), same.eval(c)));
        assert!(after < 0.35 * before, "{c:?}: {before} -> {after}");
    }
}

#[test]
fn monochrome_and_blank_pictures_keep_their_colours() {
    let plain = picture(|c| c);
    let grey = picture(|c| [luma(c); 3]);
    let sepia = picture(|c| [luma(c).powf(0.9), luma(c), luma(c).powf(1.2)]);
    for other in [&grey, &sepia] {
        for m in [Match::between(other, &plain), Match::between(&plain, other)] {
            assert_eq!((m.balance(), m.saturation()), ((0.0, [1.0, 1.0]), 1.0));
            let c = m.eval([0.5; 3]);
            assert!((c[0] - c[1]).abs() < 1e-4 && (c[2] - c[1]).abs() < 1e-4, "{c:?}");
        }
    }
    let blank = picture(|_| [1.0; 3]);
    assert_eq!(Match::between(&blank, &plain), Match::identity());
    assert_eq!(Match::between(&plain, &blank), Match::identity());
}

#[test]
fn strength_blends_and_nothing_is_the_identity() {
    let m = Match::between(&picture(cast), &picture(|c| c));
    let (none, half, full) = (m.lut(9, 0.0).unwrap(), m.lut(9, 0.5).unwrap(), m.lut(9, 1.0).unwrap());
    for ((n, h), f) in none.colours().zip(half.colours()).zip(full.colours()) {
        (0..3).for_each(|k| assert!((h[k] - (n[k] + f[k]) / 2.0).abs() < 1e-6));
    }
    assert_eq!(none, Lut3d::from_fn(9, |c| c).unwrap());
}

fn matches() -> Vec<Match> {
    let plain = picture(|c| c);
    let others = [
        picture(cast),
        picture(|c| c.map(|v| v * v)),
        picture(|c| c.map(|v| v.sqrt())),
        picture(|c| c.map(|v| ((v - 0.5) * 2.5 + 0.5).clamp(0.0, 1.0))),
        picture(|c| {
            let y = luma(c);
            c.map(|v| (y + (v - y) * 2.5).clamp(0.0, 1.0))
        }),
    ];
    others.iter().flat_map(|o| [Match::between(o, &plain), Match::between(&plain, o)]).collect()
}

#[test]
fn greys_keep_their_order_and_nothing_new_is_clipped() {
    for m in matches() {
        let mut last = -1.0;
        for i in 0..=255 {
            let v = i as f32 / 255.0;
            let y = luma(m.eval([v; 3]));
            assert!(y > last, "{v}: {y} after {last}");
            last = y;
        }
        for i in 0..4096u32 {
            let c = [i % 16, i / 16 % 16, i / 256].map(|v| 0.02 + 0.96 * v as f32 / 15.0);
            let out = m.eval(c);
            assert!(out.iter().all(|v| (1.0 / 255.0..254.0 / 255.0).contains(v)), "{c:?} became {out:?}");
        }
        for end in [[0.0; 3], [1.0; 3]] {
            assert!(difference(m.eval(end), end) < 1e-3, "{end:?}: {:?}", m.eval(end));
        }
    }
}

/// The ten tones of the Monk scale (Google, 2022) under three lights, and the hue they have after balancing: by the formula, and
/// by the LUT that it becomes.
#[test]
fn skin_keeps_its_hue() {
    const MONK: [u32; 10] = [0xf6ede4, 0xf3e7db, 0xf7ead0, 0xeadaba, 0xd7bd96, 0xa07e56, 0x825c43, 0x604134, 0x3a312a, 0x292420];
    let chroma = |c: [f32; 3]| {
        let [_, a, b] = srgb_to_oklab(c);
        a.hypot(b)
    };
    for m in matches() {
        let lut = m.lut(LUT_SIZE, 1.0).unwrap();
        for tone in MONK {
            let tone = [16, 8, 0].map(|s| (tone >> s & 255) as f32 / 255.0);
            for light in [[1.0, 1.0, 1.0], [1.0, 0.97, 0.93], [0.94, 0.97, 1.0]] {
                let lit = [0, 1, 2].map(|k| tone[k] * light[k]);
                let balanced = m.neutral.balance(lit);
                for (way, out) in [("formula", m.eval(lit)), ("LUT", lut.eval(lit))] {
                    let turn = hue_turn(balanced, out);
                    // What has become grey has no hue.
                    assert!(turn < 4.0 || chroma(balanced).min(chroma(out)) < 0.006, "{tone:?} in {light:?}, {way}: {turn} degrees");
                }
            }
        }
    }
}

/// The same pictures in another contrast, exposure and cast are counted alike, so that undoing either comes to the same.
#[test]
fn shares_do_not_hang_on_the_cast() {
    let plain = picture(|c| c);
    let darker = picture(|c| [c[0], c[1] * 0.95, c[2] * 0.85].map(|v| v * 0.7 + 0.05));
    let quantiles = |s: &Statistics| {
        let all: Vec<_> = s.content().collect();
        shares(&all, 12)
    };
    for (a, b) in quantiles(&plain).into_iter().zip(quantiles(&darker)) {
        let expected = a * luma([1.0, 0.95, 0.85]) * 0.7 + 0.05;
        assert!((b - expected).abs() < 0.02, "{a} became {b}, not {expected}");
    }
}

#[test]
fn tone_curves_hit_what_they_are_made_for() {
    let gamma = |e: f32| -> [f64; TONES] { std::array::from_fn(|i| f64::from((i as f32 / (TONES - 1) as f32).powf(e))) };
    for e in [0.75, 1.0, 1.4] {
        let wanted = gamma(e);
        let got = fitted(wanted, [1.0 / TONES as f64; TONES]);
        for i in 3..TONES {
            assert!((f64::from(got[i]) - wanted[i]).abs() < 0.01, "{e} at {i}: {} {}", got[i], wanted[i]);
        }
    }
    // What cannot be had is come near to, within the slopes.
    let steep: [f64; TONES] = std::array::from_fn(|i| if i < TONES / 2 { 0.0 } else { 1.0 });
    let got = fitted(steep, [1.0 / TONES as f64; TONES]);
    for w in got.windows(2) {
        let slope = f64::from(w[1] - w[0]) * (TONES - 1) as f64;
        assert!(slope > SLOPES.start() - 1e-3 && slope < SLOPES.end() + 1e-3, "{slope}");
    }
    assert!(got[0] == 0.0 && got[TONES - 1] == 1.0);
}

static MATCH: std::sync::LazyLock<Match> = std::sync::LazyLock::new(|| Match::between(&picture(cast), &picture(|c| c.map(|v| v * v))));

proptest! {
    #[test]
    fn finite_in_finite_out(c in [0f32..=1.0, 0f32..=1.0, 0f32..=1.0]) {
        prop_assert!(MATCH.eval(c).iter().all(|v| (-1e-4..=1.0001).contains(v)));
    }
}
