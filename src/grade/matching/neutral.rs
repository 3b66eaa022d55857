//! Where grey lies in pictures with a colour cast.
//!
//! Grey things are what most pictures have in common, so the densest place in the plane of (R - Y) / Y against (B - Y) / Y
//! (Y is luma of encoded values) not far from its centre is taken for grey. It is looked for once over all levels, which gives
//! a gain per channel, and then again around that place level by level, which gives an offset as well.

use super::luma;

/// Width of the kernel that the density is taken with.
const KERNEL: f32 = 0.045;
/// How far a cast is likely to be.
const PRIOR: f32 = 0.16;
/// Gains and offsets that can be undone.
const GAINS: std::ops::RangeInclusive<f32> = 0.7..=1.4;
const OFFSETS: f32 = 0.05;
/// Sizes of tints, and how much of them is undone.
const CASTS: [(f32, f32); 5] = [(0.18, 0.18), (0.22, 0.2), (0.27, 0.19), (0.4, 0.1), (0.6, 0.06)];
/// Breadth of the colours around the supposed grey from which a single picture begins to be trusted, and from which it is wholly:
/// grey has colours on all sides, sand and a face in the picture's middle have not.
const SIDES: [f32; 2] = [0.04, 0.1];
/// Share of the pixels near the supposed grey of a single picture, likewise.
const PLENTY: [f32; 2] = [0.06, 0.2];
/// How much of the supposed cast of a single picture is undone in any case.
const ALONE: f32 = 0.35;
/// Largest channel from which a balance makes colours paler and turns no hue, begun and in full.
const LIGHTS: [f32; 2] = [0.985, 1.0];
/// Share of the pixels near grey from which a balance begins to be trusted, and from which it is wholly.
const TRUST: [f32; 2] = [0.02, 0.08];

/// A line through RGB that greys lie on: channel = gain x grey + offset.
#[derive(Debug, Clone, PartialEq)]
pub struct Neutral {
    gain: [f32; 3],
    offset: [f32; 3],
    /// 0..1: how far the line was believed.
    pub trust: f32,
}

impl Default for Neutral {
    fn default() -> Self {
        Self { gain: [1.0; 3], offset: [0.0; 3], trust: 0.0 }
    }
}

struct Point {
    weight: f32,
    rgb: [f32; 3],
    luma: f32,
    /// (R - Y) / Y, (B - Y) / Y
    chroma: [f32; 2],
}

impl Neutral {
    /// Finds the greys among colours of so many pictures, with weights that sum to 1.
    pub fn of(colours: &[(f32, [f32; 3])], pictures: usize) -> Self {
        let ramp = |v: f32, from: f32, to: f32| ((v - from) / (to - from)).clamp(0.0, 1.0);
        let points: Vec<Point> = colours
            .iter()
            .map(|&(weight, rgb)| {
                let y = luma(rgb);
                // Ratios mean little in the dark, and nothing where a channel has run into its end.
                let usable = ramp(y, 0.04, 0.2) * ramp(-rgb.iter().fold(0.0f32, |m, v| m.max(*v)), -0.995, -0.96);
                let chroma = [(rgb[0] - y) / y.max(0.02), (rgb[2] - y) / y.max(0.02)];
                Point { weight: weight * usable, rgb, luma: y, chroma }
            })
            .filter(|p| p.weight > 0.0)
            .collect();
        let Some(centre) = densest(&points) else { return Self::default() };
        let centre = shifted(&points, centre, |p| p.weight).unwrap_or(centre);
        let near: f32 = points.iter().map(|p| p.weight * kernel(p.chroma, centre)).sum();
        let shared = 1.0 - 1.0 / (pictures.max(1) * pictures.max(1)) as f32;
        let sides = ramp(breadth(&points, centre), SIDES[0], SIDES[1]) * ramp(near, PLENTY[0], PLENTY[1]);
        let alone = ALONE + (1.0 - ALONE) * shared.max(sides);
        let trust = ramp(near, TRUST[0], TRUST[1]) * cast_share(centre[0].hypot(centre[1])) * alone;
        if trust == 0.0 {
            return Self::default();
        }
        let greys = levels(&points, centre);
        let green = |[r, b]: [f32; 2]| -(0.2126 * r + 0.0722 * b) / 0.7152;
        let flat = [1.0 + centre[0], 1.0 + green(centre), 1.0 + centre[1]];
        let mut this = Self { trust, ..Self::default() };
        for (c, flat) in flat.into_iter().enumerate() {
            let (gain, offset) = line(&greys, c, flat);
            this.gain[c] = 1.0 + (gain.clamp(*GAINS.start(), *GAINS.end()) - 1.0) * trust;
            this.offset[c] = offset.clamp(-OFFSETS, OFFSETS) * trust;
        }
        this
    }

    /// Gain per channel that the balance applies.
    pub fn gains(&self) -> [f32; 3] {
        self.gain.map(|g| 1.0 / g)
    }

    /// The colour with its cast taken out. Black and pure white stay what they are.
    ///
    /// Light that has run into a channel's end has lost its colour: there the balance makes it paler, but leaves it its hue, so that
    /// a warm highlight becomes white and never cyan.
    pub fn balance(&self, c: [f32; 3]) -> [f32; 3] {
        let smooth = |v: f32| {
            let v = v.clamp(0.0, 1.0);
            v * v * (3.0 - 2.0 * v)
        };
        let low = c.iter().fold(f32::MAX, |m, v| m.min(*v));
        let high = c.iter().fold(f32::MIN, |m, v| m.max(*v));
        let balanced = [0, 1, 2].map(|k| (c[k] - self.offset[k]) / self.gain[k]);
        // How colourful the place nearest to grey is on the way from the colour to the balanced one, beside the colour itself.
        let around = |c: [f32; 3]| {
            let y = luma(c);
            c.map(|v| v - y)
        };
        let (from, to) = (around(c), around(balanced));
        let way = [0, 1, 2].map(|k| to[k] - from[k]);
        let dot = |a: [f32; 3], b: [f32; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
        let at = (-dot(from, way) / dot(way, way).max(1e-9)).clamp(0.0, 1.0);
        let nearest = [0, 1, 2].map(|k| from[k] + way[k] * at);
        let paler = (dot(nearest, nearest) / dot(from, from).max(1e-9)).sqrt().min(1.0);
        let y = luma(c);
        let lit = smooth((high - LIGHTS[0]) / (LIGHTS[1] - LIGHTS[0]));
        // Paper stays paper under a picture whose greys are tinted; black has nothing to be balanced.
        let keep = 1.0 - smooth((low - 0.96) / 0.04) - smooth((0.05 - high) / 0.05);
        [0, 1, 2].map(|k| {
            let light = y + from[k] * paler;
            let balanced = balanced[k] + (light - balanced[k]) * lit;
            c[k] + (balanced - c[k]) * keep
        })
    }
}

/// Root mean square distance of the colours from a place, across the direction in which they lie farthest apart.
fn breadth(points: &[Point], centre: [f32; 2]) -> f32 {
    /// Single vivid things shall not decide.
    const FAR: f32 = 0.4;
    let [mut sum, mut xx, mut xy, mut yy] = [1e-9f32, 0.0, 0.0, 0.0];
    for p in points {
        let [mut x, mut y] = [p.chroma[0] - centre[0], p.chroma[1] - centre[1]];
        let scale = (FAR / x.hypot(y).max(FAR)).min(1.0);
        (x, y) = (x * scale, y * scale);
        sum += p.weight;
        xx += p.weight * x * x;
        xy += p.weight * x * y;
        yy += p.weight * y * y;
    }
    let (mean, apart) = ((xx + yy) / 2.0, ((xx - yy) / 2.0).hypot(xy));
    ((mean - apart).max(0.0) / sum).sqrt()
}

/// How much of a tint of this size (in the plane that greys are looked for in) is a cast, to be undone: of small ones all, of
/// large ones little, for those are the light of a scene.
fn cast_share(tint: f32) -> f32 {
    let at = CASTS.partition_point(|(t, _)| *t < tint).clamp(1, CASTS.len() - 1);
    let ((t0, u0), (t1, u1)) = (CASTS[at - 1], CASTS[at]);
    if tint <= CASTS[0].0 {
        return 1.0;
    }
    let undone = u0 + (u1 - u0) * ((tint - t0) / (t1 - t0)).min(1.0);
    undone / tint
}

fn kernel(at: [f32; 2], centre: [f32; 2]) -> f32 {
    let d = ((at[0] - centre[0]).powi(2) + (at[1] - centre[1]).powi(2)) / (KERNEL * KERNEL);
    // exp(-d / 2), cut off where it no longer matters.
    if d > 16.0 { 0.0 } else { (-0.5 * d).exp() }
}

/// The densest place by a coarse search, places far from the centre counting less.
fn densest(points: &[Point]) -> Option<[f32; 2]> {
    const STEPS: usize = 49;
    const STEP: f32 = 0.02;
    let half = (STEPS / 2) as f32;
    let mut grid = vec![0f32; STEPS * STEPS];
    for p in points {
        let [x, y] = p.chroma.map(|v| (v / STEP + half).round());
        if (0.0..STEPS as f32).contains(&x) && (0.0..STEPS as f32).contains(&y) {
            grid[y as usize * STEPS + x as usize] += p.weight;
        }
    }
    let place = |i: usize| [((i % STEPS) as f32 - half) * STEP, ((i / STEPS) as f32 - half) * STEP];
    let mut best = (0.0, None);
    for i in 0..STEPS * STEPS {
        let at = place(i);
        let mut density = 0.0;
        for (j, weight) in grid.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            density += weight * kernel(place(j), at);
        }
        density *= (-(at[0] * at[0] + at[1] * at[1]) / (2.0 * PRIOR * PRIOR)).exp();
        if density > best.0 {
            best = (density, Some(at));
        }
    }
    best.1
}

/// Mean shift: the mean under the kernel, again and again.
fn shifted(points: &[Point], from: [f32; 2], weight: impl Fn(&Point) -> f32) -> Option<[f32; 2]> {
    let mut at = from;
    for _ in 0..20 {
        let mut sum = [0f32; 3];
        for p in points {
            let w = weight(p) * kernel(p.chroma, at);
            sum[0] += w * p.chroma[0];
            sum[1] += w * p.chroma[1];
            sum[2] += w;
        }
        if sum[2] <= 1e-9 {
            return None;
        }
        let next = [sum[0] / sum[2], sum[1] / sum[2]];
        let moved = (next[0] - at[0]).abs() + (next[1] - at[1]).abs();
        at = next;
        if moved < 1e-5 {
            break;
        }
    }
    Some(at)
}

/// Weight, mean colour and luma of the greys at several levels.
fn levels(points: &[Point], centre: [f32; 2]) -> Vec<(f32, [f32; 3], f32)> {
    const LEVELS: usize = 9;
    let mut found = Vec::new();
    for i in 1..=LEVELS {
        let level = i as f32 / (LEVELS + 1) as f32;
        let near = |p: &Point| p.weight * (1.0 - (p.luma - level).abs() * (LEVELS + 1) as f32).max(0.0);
        let Some(at) = shifted(points, centre, near) else { continue };
        // Another colour's peak is no grey.
        if (at[0] - centre[0]).hypot(at[1] - centre[1]) > 2.0 * KERNEL {
            continue;
        }
        let mut sum = [0f32; 5];
        for p in points {
            let w = near(p) * kernel(p.chroma, at);
            sum[0] += w;
            (0..3).for_each(|c| sum[c + 1] += w * p.rgb[c]);
            sum[4] += w * p.luma;
        }
        if sum[0] > 1e-6 {
            found.push((sum[0], [sum[1] / sum[0], sum[2] / sum[0], sum[3] / sum[0]], sum[4] / sum[0]));
        }
    }
    found
}

/// The line channel = gain x luma + offset by least squares, an offset of 0 and a gain of `flat` being what is expected.
fn line(greys: &[(f32, [f32; 3], f32)], c: usize, flat: f32) -> (f32, f32) {
    /// How much the expectation weighs, in shares of the pixels.
    const EXPECT: f32 = 0.002;
    // Unknowns: gain - flat, and offset.
    let (mut xx, mut x1, mut xy, mut y1, mut n) = (EXPECT * 0.1, 0.0, 0.0, 0.0, EXPECT);
    for (w, rgb, y) in greys {
        let rest = rgb[c] - flat * y;
        xx += w * y * y;
        x1 += w * y;
        xy += w * y * rest;
        y1 += w * rest;
        n += w;
    }
    let d = xx * n - x1 * x1;
    if d <= 1e-9 {
        return (flat, 0.0);
    }
    (flat + (xy * n - x1 * y1) / d, (xx * y1 - x1 * xy) / d)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greys, a blue sky, green leaves and skin, through a cast.
    fn scene(cast: impl Fn([f32; 3]) -> [f32; 3]) -> Vec<(f32, [f32; 3])> {
        let mut points = Vec::new();
        for i in 0..200 {
            let v = 0.1 + 0.8 * i as f32 / 200.0;
            let wobble = 0.02 * ((i * 7 % 11) as f32 / 5.0 - 1.0);
            points.push((0.0015, [v + wobble, v, v - wobble]));
            points.push((0.0015, [v * 0.6, v * 0.8, (v * 1.2).min(1.0)]));
            points.push((0.0010, [v * 0.7, v, v * 0.4]));
            points.push((0.0010, [v, v * 0.78, v * 0.65]));
        }
        points.iter().map(|(w, c)| (*w, cast(*c))).collect()
    }

    #[test]
    fn casts_are_found_and_taken_out() {
        let plain = Neutral::of(&scene(|c| c), 1);
        assert!(plain.trust > 0.9, "{plain:?}");
        for (gain, offset) in [([1.0, 0.9, 0.75], [0.0; 3]), ([0.85, 0.95, 1.0], [0.0; 3]), ([0.95, 0.95, 0.85], [0.03, 0.0, -0.02])] {
            let cast = |c: [f32; 3]| [0, 1, 2].map(|k| (c[k] * gain[k] + offset[k]).clamp(0.0, 1.0));
            let found = Neutral::of(&scene(cast), 1);
            for v in [0.25, 0.5, 0.75] {
                let c = found.balance(cast([v; 3]));
                let (low, high) = (c.iter().copied().fold(f32::MAX, f32::min), c.iter().copied().fold(f32::MIN, f32::max));
                assert!(high - low < 0.022, "{gain:?} {offset:?}: grey {v} became {c:?}");
            }
        }
    }

    #[test]
    fn ends_stay_and_nothing_is_made_up() {
        let found = Neutral::of(&scene(|c| [c[0], c[1] * 0.9, c[2] * 0.7]), 1);
        assert_eq!(found.balance([1.0; 3]), [1.0; 3]);
        assert_eq!(found.balance([0.0; 3]), [0.0; 3]);
        let all_green: Vec<_> = (0..100).map(|i| (0.01, [0.1, 0.3 + 0.006 * i as f32, 0.1])).collect();
        assert_eq!(Neutral::of(&all_green, 1), Neutral::default());
        assert_eq!(Neutral::of(&[], 1), Neutral::default());
    }

    #[test]
    fn warm_lights_never_turn_cold() {
        let found = Neutral::of(&scene(|c| [c[0], c[1] * 0.88, c[2] * 0.72]), 8);
        assert!(found.gains()[2] > 1.2 * found.gains()[0], "{found:?}");
        for light in [[1.0, 0.97, 0.78], [1.0, 0.9, 0.7], [1.0, 0.99, 0.95], [1.0, 0.75, 0.4]] {
            let [r, g, b] = found.balance(light);
            assert!(r >= g && g >= b && r <= 1.0, "{light:?} became {:?}", [r, g, b]);
        }
    }

    /// Sand and stones: the colours lie to one side of what is most frequent, which is no grey.
    #[test]
    fn one_picture_is_believed_less_than_many() {
        let sand: Vec<(f32, [f32; 3])> = (0..400)
            .map(|i| {
                let v = 0.2 + 0.6 * i as f32 / 400.0;
                (0.0025, if i % 4 == 0 { [v, v, v] } else { [v, v * 0.88, v * 0.74] })
            })
            .collect();
        let [one, many] = [1, 8].map(|n| Neutral::of(&sand, n));
        assert!(many.trust > 0.9 && one.trust < 0.5, "{one:?} {many:?}");
        assert!(one.gains()[2] / one.gains()[0] < 1.2, "{one:?}");
    }
}
