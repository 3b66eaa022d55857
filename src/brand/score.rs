//! How near pictures are to a brand's reference pictures and palette, and to each other.

use crate::brand::palette::{Coverage, Swatch, coverage};
use crate::color::{White, delta_e_2000, srgb_to_lab};
use crate::error::Result;
use crate::grade::matching::{Statistics, equal_shares, srgb_to_oklab};
use crate::image::{Image, Samples};
use crate::resample::{Filter, Scaler};

/// Areas along the longer side that pictures are scored by.
const SIDE: usize = 96;
/// Directions that the colour distributions are looked at from.
const DIRECTIONS: usize = 24;
/// Equal shares of the pixels that distributions are compared in.
const SHARES: usize = 64;
/// Distance at which a score has fallen to 100 / e.
const FALL: f64 = 22.0;

/// The statistics that pictures are scored by: of means over areas, the longer side `SIDE` of them, so that neither size nor
/// the noise of compression decides.
///
/// # Errors
/// [`crate::Error::Input`] for a profile that cannot be converted from.
pub fn statistics(image: &Image) -> Result<Statistics> {
    let long = image.width.max(image.height);
    if long <= SIDE {
        return Statistics::of(image);
    }
    let side = |v: usize| (v * SIDE / long).max(1);
    let scaler = Scaler::new(image.width, image.height, side(image.width), side(image.height), Filter::Box, None)?;
    let (width, height) = scaler.size();
    let n = image.channels.count();
    let mut samples = vec![0f32; width * height * n];
    for y in 0..height {
        let needs = scaler.needs(y..y + 1);
        let row = scaler.rows(&image.band(needs.start, needs.end, 0..n), y..y + 1)?;
        for c in 0..n {
            samples[y * width * n..].iter_mut().skip(c).step_by(n).zip(row.row(c, 0)).for_each(|(s, v)| *s = *v);
        }
    }
    // Float samples mean linear light; 16 bits keep what encoded values mean.
    let samples = match image.samples {
        Samples::F32(_) => Samples::F32(samples),
        _ => Samples::U16(samples.into_iter().map(|v| (v.clamp(0.0, 1.0) * 65535.0).round() as u16).collect()),
    };
    Statistics::of(&Image {
        width,
        height,
        samples,
        notes: Vec::new(),
        channels: image.channels,
        format: image.format,
        metadata: image.metadata.clone(),
    })
}

/// Colours as the score sees them: the sorted projections of an OKLab cloud, and its luma.
#[derive(Debug, Clone)]
pub struct Profile {
    /// One row of [`SHARES`] means per direction.
    slices: Vec<[f64; SHARES]>,
    /// OKLab lightness, dark to light.
    pub tone: [f64; SHARES],
    /// CIELAB means of the same shares by CIELAB lightness.
    shades: Vec<[f64; 3]>,
}

impl Profile {
    /// Of pictures with these statistics.
    pub fn of(statistics: &Statistics) -> Self {
        let points: Vec<(f64, [f32; 3], [f64; 3])> =
            statistics.content().map(|(w, c)| (f64::from(w), c, srgb_to_oklab(c).map(f64::from))).collect();
        let along = |d: [f64; 3]| {
            let mut values: Vec<(f64, [f64; 1])> = points.iter().map(|(w, _, p)| (*w, [d[0] * p[0] + d[1] * p[1] + d[2] * p[2]])).collect();
            values.sort_by(|a, b| a.1[0].total_cmp(&b.1[0]));
            let means = equal_shares(&values, SHARES);
            std::array::from_fn(|i| means[i][0])
        };
        let mut labs: Vec<(f64, [f64; 3])> = points.iter().map(|(w, c, _)| (*w, srgb_to_lab(c.map(f64::from), White::D65))).collect();
        labs.sort_by(|a, b| a.1[0].total_cmp(&b.1[0]));
        let shades = equal_shares(&labs, SHARES);
        Self { slices: directions().into_iter().map(&along).collect(), tone: along([1.0, 0.0, 0.0]), shades }
    }

    /// 90th percentile, over equal shares of the pixels from dark to light, of the CIEDE2000 between the mean colours of both:
    /// how far apart nine tenths of the tones are, tint and lightness together.
    pub fn p90(&self, other: &Self) -> f64 {
        let mut apart: Vec<f64> = self.shades.iter().zip(&other.shades).map(|(a, b)| delta_e_2000(*a, *b)).collect();
        apart.sort_by(f64::total_cmp);
        percentile(&apart, 0.9)
    }

    /// Sliced Wasserstein distance (mean over directions of the first-order distance), 100 times OKLab units: about 1 is the
    /// smallest difference that can be seen.
    pub fn distance(&self, other: &Self) -> f64 {
        let one = |a: &[f64; SHARES], b: &[f64; SHARES]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / SHARES as f64;
        // A slice sees a third of the square of a distance in space.
        let mean = self.slices.iter().zip(&other.slices).map(|(a, b)| one(a, b)).sum::<f64>() / DIRECTIONS as f64;
        100.0 * mean * 3f64.sqrt()
    }

    /// Root mean square distance of the tone curves, in percent of the way from black to white.
    pub fn tone_distance(&self, other: &Self) -> f64 {
        let sum: f64 = self.tone.iter().zip(&other.tone).map(|(a, b)| (a - b).powi(2)).sum();
        100.0 * (sum / SHARES as f64).sqrt()
    }
}

/// Evenly spread over half a sphere (a Fibonacci lattice).
fn directions() -> [[f64; 3]; DIRECTIONS] {
    let golden = std::f64::consts::PI * (3.0 - 5f64.sqrt());
    std::array::from_fn(|i| {
        let z = (i as f64 + 0.5) / DIRECTIONS as f64;
        let (r, turn) = ((1.0 - z * z).sqrt(), golden * i as f64);
        [z, r * turn.cos(), r * turn.sin()]
    })
}

/// How near one picture is to a kit.
#[derive(Debug, Clone)]
pub struct Score {
    /// 0..100, 100 for no difference.
    pub score: f64,
    /// Sliced Wasserstein distance in OKLab x 100; 0 without references.
    pub colour: f64,
    /// Tone-curve distance in percent; 0 without references.
    pub tone: f64,
    /// [`Profile::p90`]; 0 without references.
    pub p90: f64,
    /// Nothing counts in it if the kit has no palette.
    pub palette: Coverage,
}

impl Score {
    /// Compares a picture with references (if there are any) and a palette (which may be empty).
    pub fn of(picture: &Statistics, reference: Option<&Profile>, palette: &[Swatch]) -> Self {
        let own = Profile::of(picture);
        let (colour, tone, p90) = reference.map_or((0.0, 0.0, 0.0), |r| (own.distance(r), own.tone_distance(r), own.p90(r)));
        let palette = coverage(picture, palette);
        // A tenth of a colour's distance from the palette counts: a brand's pictures hold more than its colours.
        Self { score: points(colour + tone / 2.0 + palette.distance / 10.0), colour, tone, p90, palette }
    }
}

/// 0..100 of a distance.
fn points(distance: f64) -> f64 {
    100.0 * (-distance / FALL).exp()
}

/// How alike pictures are, 0..100: by the 90th percentile of their distances to all of them together.
pub fn consistency<'a>(pictures: impl IntoIterator<Item = &'a Statistics>) -> f64 {
    let pictures: Vec<&Statistics> = pictures.into_iter().filter(|s| !s.is_blank()).collect();
    let Some((first, rest)) = pictures.split_first() else { return 100.0 };
    let mut all = (*first).clone();
    rest.iter().for_each(|s| all.merge(s));
    let centre = Profile::of(&all);
    let mut distances: Vec<f64> = pictures.iter().map(|s| Profile::of(s).distance(&centre)).collect();
    distances.sort_by(f64::total_cmp);
    // The middle of a set is half as far away as its other end.
    points(2.0 * percentile(&distances, 0.9))
}

/// The `p` (0..=1) quantile of sorted values, linear between them; 0 of none.
pub fn percentile(sorted: &[f64], p: f64) -> f64 {
    let at = p * sorted.len().saturating_sub(1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(a), Some(b)) => a + (b - a) * (at - low as f64),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Band;
    use crate::codec::{Format, Metadata};
    use crate::grade::matching::Collector;
    use crate::image::Channels;

    fn picture(change: impl Fn([f32; 3]) -> [f32; 3]) -> Statistics {
        let mut band = Band::new(0, 4000, 1, 3);
        for i in 0..4000usize {
            let v = |k: usize| ((i * (7 + 4 * k) + i * i % 97) % 1000) as f32 / 1000.0;
            let grey = (i % 613) as f32 / 613.0;
            let c = change([0, 1, 2].map(|k| 0.1 + 0.8 * (0.7 * grey + 0.3 * v(k))));
            (0..3).for_each(|k| band.plane_mut(k)[i] = c[k]);
        }
        let mut collector = Collector::default();
        collector.push(&band);
        collector.finish()
    }

    #[test]
    fn the_further_the_lower() {
        let plain = picture(|c| c);
        let reference = Profile::of(&plain);
        let score = |s: &Statistics| Score::of(s, Some(&reference), &[]).score;
        let warm = |k: f32| picture(move |c| [c[0], c[1] * (1.0 - k / 2.0), c[2] * (1.0 - k)]);
        assert!((score(&plain) - 100.0).abs() < 1e-9);
        let (little, much) = (score(&warm(0.1)), score(&warm(0.5)));
        assert!(much < little - 5.0 && little < 99.5 && much > 0.0, "{little} {much}");
        let dark = Score::of(&picture(|c| c.map(|v| v * 0.5)), Some(&reference), &[]);
        assert!(dark.tone > 15.0 && dark.tone < 40.0, "{}", dark.tone);
    }

    /// A shift of everything by d along an axis is a distance of about d.
    #[test]
    fn distances_are_in_oklab_units() {
        let grey = |v: f32| {
            let mut c = Collector::default();
            c.push(&Band { data: vec![v; 300], ..Band::new(0, 100, 1, 3) });
            Profile::of(&c.finish())
        };
        let (a, b) = (grey(0.4), grey(0.6));
        let apart = f64::from(srgb_to_oklab([0.6; 3])[0] - srgb_to_oklab([0.4; 3])[0]) * 100.0;
        assert!((a.tone_distance(&b) - apart).abs() < 1e-3, "{} {apart}", a.tone_distance(&b));
        assert!((a.distance(&b) / apart - 0.87).abs() < 0.05, "{} {apart}", a.distance(&b));
    }

    /// The same picture in two sizes, and with noise, has the same score within 2 %.
    #[test]
    fn size_and_noise_hardly_matter() {
        let image = |width: usize, height: usize, noise: f32| {
            let mut samples = Vec::new();
            for y in 0..height {
                for x in 0..width {
                    let (u, v) = ((x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32);
                    let grain = ((x * 31 + y * 17) % 11) as f32 / 5.0 - 1.0;
                    let c = [0.2 + 0.6 * u, 0.3 + 0.4 * v, 0.7 - 0.5 * u * v];
                    samples.extend(c.map(|c| ((c + noise * grain) * 255.0).round() as u8));
                }
            }
            let samples = Samples::U8(samples);
            let metadata = Metadata::default();
            Image { width, height, channels: Channels::Rgb, samples, format: Format::Png, metadata, notes: vec![] }
        };
        let reference = Profile::of(&picture(|c| c));
        let score = |i: &Image| Score::of(&statistics(i).unwrap(), Some(&reference), &[]).score;
        let whole = score(&image(600, 400, 0.0));
        assert!(whole < 90.0, "{whole}");
        for other in [image(333, 222, 0.0), image(600, 400, 0.03), image(1200, 800, 0.06)] {
            assert!((score(&other) / whole - 1.0).abs() < 0.02, "{whole} {}", score(&other));
        }
    }

    #[test]
    fn a_set_that_is_alike_is_consistent() {
        let plain = picture(|c| c);
        let warm = picture(|c| [c[0], c[1] * 0.8, c[2] * 0.6]);
        let cold = picture(|c| [c[0] * 0.6, c[1] * 0.9, c[2]]);
        assert!((consistency([&plain, &plain, &plain]) - 100.0).abs() < 0.1);
        assert!(consistency([&plain, &warm, &cold]) < 80.0);
        assert_eq!(consistency([]), 100.0);
        assert_eq!((percentile(&[], 0.9), percentile(&[1.0, 2.0], 0.5)), (0.0, 1.5));
    }
}
