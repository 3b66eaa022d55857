//! What a picture's colours are, as a small histogram that can be summed over rows, pictures and groups.

use std::collections::BTreeMap;

use crate::band::Band;
use crate::color::Profile;
use crate::error::Result;
use crate::image::{Image, Samples};

/// Cells per channel.
const EDGE: usize = 32;
/// No colour with what is as near to it as [`NEAR`] counts for more than this share of a picture: a plain backdrop is not what
/// a picture is about.
const MOST_OF_ONE: f64 = 0.1;
/// The same of black: there, shadows of all levels lie together where a generator ran them into it, and to take them for a
/// backdrop would shift all other tones.
const MOST_OF_BLACK: f64 = 0.2;
/// The cell of black.
const BLACK: u16 = 0;
/// A backdrop that stays what it is: colours of this OKLab lightness (begun and wholly), of at most this chroma (wholly, and not
/// at all), that this share of the picture lies near (begun and wholly), near being within a distance in encoded RGB.
const LIGHT: [f32; 2] = [0.74, 0.82];
const PALE: [f32; 2] = [0.04, 0.06];
const SHARE: [f64; 2] = [0.12, 0.28];
const AROUND: f64 = 0.09;
/// In standard deviations of each channel, so that another contrast, exposure or cast of the same picture gives the same shares.
const NEAR: f64 = 0.2;
/// Channels at or above this in all three are paper.
const PAPER: f32 = 0.97;
/// Up to the first share of a picture paper is lights like others; from the second on it says nothing about colours.
const BLANK: [f64; 2] = [0.02, 0.06];

/// Counts pixels row by row. Two of them may be summed, so that rows of one picture can be counted apart.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Weight, and weighted sums of R, G and B, of every cell; red slowest.
    cells: Vec<[f64; 4]>,
    /// The same of paper.
    paper: [f64; 4],
}

impl Default for Collector {
    fn default() -> Self {
        Self { cells: vec![[0.0; 4]; EDGE * EDGE * EDGE], paper: [0.0; 4] }
    }
}

impl Collector {
    /// Counts the pixels of a band of encoded sRGB with 1 to 4 channels, each weighted by its alpha. Values are clamped to
    /// 0..=1, NaN counts as 0.
    pub fn push(&mut self, band: &Band) {
        let colour = band.channels >= 3;
        let alpha = band.channels.is_multiple_of(2).then(|| band.plane(band.channels - 1));
        let planes = if colour { [0, 1, 2] } else { [0, 0, 0] }.map(|c| band.plane(c));
        for i in 0..band.width * band.rows {
            let weight = alpha.map_or(1.0, |a| f64::from(unit(a[i])));
            let c = planes.map(|p| unit(p[i]));
            let cell = if c.iter().all(|v| *v >= PAPER) {
                &mut self.paper
            } else {
                let [r, g, b] = c.map(|v| (v * (EDGE as f32 - 0.001)) as usize);
                &mut self.cells[(r * EDGE + g) * EDGE + b]
            };
            cell[0] += weight;
            for (sum, v) in cell[1..].iter_mut().zip(c) {
                *sum += weight * f64::from(v);
            }
        }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().chain([&mut self.paper]).zip(other.cells.iter().chain([&other.paper])) {
            mine.iter_mut().zip(theirs).for_each(|(m, t)| *m += t);
        }
    }

    /// The statistics of what was counted, as those of one picture.
    pub fn finish(&self) -> Statistics {
        let cell = |[weight, sums @ ..]: &[f64; 4]| Cell { weight: *weight, mean: sums.map(|s| s / weight), plain: 0.0 };
        let mut cells: BTreeMap<u16, Cell> =
            self.cells.iter().enumerate().filter(|(_, c)| c[0] > 0.0).map(|(i, c)| (i as u16, cell(c))).collect();
        let content: f64 = cells.values().map(|c| c.weight).sum();
        let total = content + self.paper[0];
        let mut all = cells.clone();
        if self.paper[0] > 0.0 {
            let paper = cell(&self.paper);
            join(&mut all, WHITE, paper);
            let counts = ((BLANK[1] - paper.weight / total) / (BLANK[1] - BLANK[0])).clamp(0.0, 1.0);
            if counts > 0.0 {
                join(&mut cells, WHITE, Cell { weight: paper.weight * counts, ..paper });
            }
        }
        all.values_mut().for_each(|c| c.weight /= total);
        // A drawing on paper is its lines; a sheet with next to nothing on it is nothing but paper.
        if content <= 0.002 * total {
            return Statistics { pictures: 1.0, cells: BTreeMap::new(), all };
        }
        let shares: Vec<(u16, f64)> = backdrop(&cells, total);
        level(&mut cells);
        for (at, plain) in shares {
            if let Some(cell) = cells.get_mut(&at) {
                cell.plain = plain;
            }
        }
        Statistics { pictures: 1.0, cells, all }
    }
}

/// The cell of white.
const WHITE: u16 = (EDGE * EDGE * EDGE - 1) as u16;

/// Adds to a cell.
fn join(cells: &mut BTreeMap<u16, Cell>, at: u16, more: Cell) {
    let into = cells.entry(at).or_insert(Cell { weight: 0.0, ..more });
    into.weight += more.weight;
    let part = if into.weight > 0.0 { more.weight / into.weight } else { 0.0 };
    into.plain += (more.plain - into.plain) * part;
    into.mean.iter_mut().zip(more.mean).for_each(|(m, v)| *m += (v - *m) * part);
}

/// Held to 0..=1; NaN becomes 0.
fn unit(v: f32) -> f32 {
    if v > 0.0 { v.min(1.0) } else { 0.0 }
}

/// The cells of a light, nearly neutral, plain area that fills much of a picture, such as a studio's paper, and how far they are
/// that, 0..1. `total` is the weight of all pixels, white paper included.
fn backdrop(cells: &BTreeMap<u16, Cell>, total: f64) -> Vec<(u16, f64)> {
    let ramp = |v: f64, [from, to]: [f64; 2]| ((v - from) / (to - from)).clamp(0.0, 1.0);
    let able = |c: &Cell| {
        let [l, a, b] = super::srgb_to_oklab(c.mean.map(|v| v as f32));
        ramp(f64::from(l), LIGHT.map(f64::from)) * (1.0 - ramp(f64::from(a.hypot(b)), PALE.map(f64::from)))
    };
    let light: Vec<(u16, Cell, f64)> = cells.iter().map(|(i, c)| (*i, *c, able(c))).filter(|(.., able)| *able > 0.0).collect();
    let near = |a: &Cell, b: &Cell| {
        let d: f64 = a.mean.iter().zip(b.mean).map(|(a, b)| (a - b) * (a - b)).sum();
        (1.0 - d / (AROUND * AROUND)).max(0.0)
    };
    let share = |c: &Cell| light.iter().map(|(_, o, _)| o.weight * near(c, o)).sum::<f64>() / total;
    light.iter().map(|(i, c, able)| (*i, able * ramp(share(c), SHARE))).filter(|(_, plain)| *plain > 0.0).collect()
}

/// Holds down what one colour can count for, and makes the weights sum to 1.
fn level(cells: &mut BTreeMap<u16, Cell>) {
    let total: f64 = cells.values().map(|c| c.weight).sum();
    let mut sums = [[0f64; 2]; 3];
    for c in cells.values() {
        for (s, v) in sums.iter_mut().zip(c.mean) {
            s[0] += c.weight / total * v;
            s[1] += c.weight / total * v * v;
        }
    }
    // Below this a picture is of one colour, and shares of its noise mean nothing.
    let wide = sums.map(|[mean, square]| ((square - mean * mean).max(0.0).sqrt() * NEAR).max(0.006));
    let points: Vec<(f64, [f64; 3])> = cells.values().map(|c| (c.weight / total, [0, 1, 2].map(|k| c.mean[k] / wide[k]))).collect();
    // Cells come by red, so that those too far away need not be looked at.
    let held: Vec<f64> = points
        .iter()
        .enumerate()
        .map(|(i, (w, at))| {
            let near = |(other, there): &(f64, [f64; 3])| {
                let d: f64 = at.iter().zip(there).map(|(a, b)| (a - b) * (a - b)).sum();
                other * (1.0 - d).max(0.0)
            };
            // Two neighbouring cells of red overlap nowhere, but within one the means come in any order.
            let reach = (wide[0] + 1.0 / EDGE as f64) / wide[0];
            let around: f64 = points[..i].iter().rev().take_while(|p| at[0] - p.1[0] < reach).map(near).sum::<f64>()
                + points[i..].iter().take_while(|p| p.1[0] - at[0] < reach).map(near).sum::<f64>();
            let most = if i == 0 && cells.contains_key(&BLACK) { MOST_OF_BLACK } else { MOST_OF_ONE };
            w * (most / around).min(1.0)
        })
        .collect();
    let sum: f64 = held.iter().sum();
    cells.values_mut().zip(held).for_each(|(c, w)| c.weight = w / sum);
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    weight: f64,
    mean: [f64; 3],
    /// How far it is a light backdrop, 0..1.
    plain: f64,
}

/// The colours of one or several pictures, each picture counting the same. A few thousand numbers at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    pictures: f64,
    /// Without paper, plain areas held down.
    cells: BTreeMap<u16, Cell>,
    /// Everything as it is.
    all: BTreeMap<u16, Cell>,
}

impl Statistics {
    /// Counts a whole picture: any depth, any profile (converted to sRGB), with or without alpha. Float samples without a
    /// profile are linear light.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a profile that cannot be converted from.
    pub fn of(image: &Image) -> Result<Self> {
        /// Rows counted at once.
        const ROWS: usize = 64;
        let srgb = match image.metadata.icc.as_deref() {
            Some(icc) => Some(Profile::from_icc(icc)?.to_srgb()?),
            None => None,
        };
        let linear = srgb.is_none() && matches!(image.samples, Samples::F32(_));
        let mut collector = Collector::default();
        for y in (0..image.height).step_by(ROWS) {
            let mut band = image.band(y, (y + ROWS).min(image.height), 0..image.channels.count());
            if let Some(to) = &srgb {
                band = to.band(&band)?;
            }
            if linear {
                let n = band.width * band.rows * image.channels.colours();
                crate::color::Transfer::srgb().encoded(&mut band.data[..n]);
            }
            collector.push(&band);
        }
        Ok(collector.finish())
    }

    /// Adds the pictures of another one.
    pub fn merge(&mut self, other: &Self) {
        let (mine, theirs) = (self.pictures, other.pictures);
        for (a, b) in [(&mut self.cells, &other.cells), (&mut self.all, &other.all)] {
            // Pictures without content leave the others' share as it is.
            let shares = match (a.is_empty(), b.is_empty()) {
                (_, true) => continue,
                (true, false) => [0.0, 1.0],
                _ => [mine / (mine + theirs), theirs / (mine + theirs)],
            };
            a.values_mut().for_each(|c| c.weight *= shares[0]);
            for (i, c) in b {
                let into = a.entry(*i).or_insert(Cell { weight: 0.0, ..*c });
                let weight = into.weight + c.weight * shares[1];
                let part = c.weight * shares[1] / weight;
                for (m, v) in into.mean.iter_mut().zip(c.mean) {
                    *m += (v - *m) * part;
                }
                into.plain += (c.plain - into.plain) * part;
                into.weight = weight;
            }
        }
        self.pictures += theirs;
    }

    /// The statistics of the same pictures with every colour (encoded sRGB) changed.
    #[must_use]
    pub fn mapped(&self, change: impl Fn([f32; 3]) -> [f32; 3]) -> Self {
        let all = |cells: &BTreeMap<u16, Cell>| {
            let mut out: BTreeMap<u16, Cell> = BTreeMap::new();
            for cell in cells.values() {
                let mean = change(cell.mean.map(|v| v as f32)).map(unit);
                let [r, g, b] = mean.map(|v| (v * (EDGE as f32 - 0.001)) as usize);
                let mean = mean.map(f64::from);
                join(&mut out, ((r * EDGE + g) * EDGE + b) as u16, Cell { mean, ..*cell });
            }
            out
        };
        Self { pictures: self.pictures, cells: all(&self.cells), all: all(&self.all) }
    }

    /// How many pictures were counted.
    pub fn pictures(&self) -> usize {
        self.pictures as usize
    }

    /// Whether there is nothing but paper (or nothing at all).
    pub fn is_blank(&self) -> bool {
        self.cells.is_empty()
    }

    /// Whether they show no colours but one tone from black to white: grey, sepia, or nothing but paper.
    pub fn is_monochrome(&self) -> bool {
        super::transport::monochrome(&self.content().collect::<Vec<_>>())
    }

    /// Weight and encoded sRGB of what the pictures show: weights sum to 1, paper left out, plain areas held down.
    pub fn content(&self) -> impl Iterator<Item = (f32, [f32; 3])> + '_ {
        self.cells.values().map(|c| (c.weight as f32, c.mean.map(|v| v as f32)))
    }

    /// How far each colour of [`Statistics::content`] is a light backdrop that shall stay what it is, 0..1, in the same order.
    pub fn plain(&self) -> impl Iterator<Item = f32> + '_ {
        self.cells.values().map(|c| c.plain as f32)
    }

    /// Weight and encoded sRGB of every pixel; weights sum to 1.
    pub fn pixels(&self) -> impl Iterator<Item = (f32, [f32; 3])> + '_ {
        self.all.values().map(|c| (c.weight as f32, c.mean.map(|v| v as f32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u32, channels: usize) -> Band {
        let mut band = Band::new(0, n, 1, channels);
        let mut state = seed;
        for v in &mut band.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (state >> 8) as f32 / (1 << 24) as f32;
        }
        band
    }

    fn mean(s: &Statistics) -> [f32; 3] {
        s.content().fold([0.0; 3], |m, (w, c)| [m[0] + w * c[0], m[1] + w * c[1], m[2] + w * c[2]])
    }

    #[test]
    fn rows_and_pictures_sum_up() {
        let whole = noise(4000, 7, 3);
        let mut at_once = Collector::default();
        at_once.push(&whole);
        let (mut one, mut two) = (Collector::default(), Collector::default());
        let part = |from: usize, to: usize| {
            let mut b = Band::new(0, to - from, 1, 3);
            (0..3).for_each(|c| b.plane_mut(c).copy_from_slice(&whole.plane(c)[from..to]));
            b
        };
        one.push(&part(0, 1500));
        two.push(&part(1500, 4000));
        one.add(&two);
        let (a, b) = (at_once.finish(), one.finish());
        assert!(a.pixels().zip(b.pixels()).all(|((w, c), (v, d))| (w - v).abs() < 1e-6 && c[0] - d[0] < 1e-6));
        let exact: f32 = whole.plane(0).iter().sum::<f32>() / 4000.0;
        let got: f32 = a.pixels().map(|(w, c)| w * c[0]).sum();
        assert!((got - exact).abs() < 1e-4, "{got} {exact}");

        // Each picture counts the same, however many pixels it has.
        let mut small = Collector::default();
        small.push(&Band { data: vec![0.5; 30], ..Band::new(0, 10, 1, 3) });
        let mut both = a.clone();
        both.merge(&small.finish());
        assert_eq!(both.pictures(), 2);
        assert!((mean(&both)[1] - (mean(&a)[1] + 0.5) / 2.0).abs() < 1e-3);
        assert!((both.content().map(|(w, _)| w).sum::<f32>() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn paper_backdrops_and_clear_pixels_do_not_count() {
        let mut picture = noise(3000, 3, 4);
        picture.plane_mut(3).fill(1.0);
        let alone = {
            let mut c = Collector::default();
            c.push(&picture);
            c.finish()
        };
        let with = |colour: [f32; 3], alpha: f32| {
            let mut c = Collector::default();
            c.push(&picture);
            let mut area = Band::new(0, 9000, 1, 4);
            colour.iter().enumerate().for_each(|(k, v)| area.plane_mut(k).fill(*v));
            area.plane_mut(3).fill(alpha);
            c.push(&area);
            c.finish()
        };
        let near = |a: [f32; 3], b: [f32; 3], by: f32| a.iter().zip(b).all(|(a, b)| (a - b).abs() < by);
        assert!(near(mean(&with([1.0; 3], 1.0)), mean(&alone), 1e-5), "white paper");
        assert!(near(mean(&with([0.9, 0.1, 0.3], 0.0)), mean(&alone), 1e-5), "clear");
        let backdrop = mean(&with([0.1, 0.8, 0.2], 1.0));
        assert!(near(backdrop, mean(&alone), 0.13), "a backdrop of three quarters moves the mean little: {backdrop:?}");
        let mut blank = Collector::default();
        blank.push(&Band { data: vec![1.0; 300], ..Band::new(0, 100, 1, 3) });
        assert!(blank.finish().is_blank() && blank.finish().pixels().count() == 1);
        assert!(Collector::default().finish().is_blank());
        let mut odd = Collector::default();
        odd.push(&Band { data: vec![f32::NAN, -3.0, 7.0], ..Band::new(0, 1, 1, 3) });
        assert_eq!(odd.finish().pixels().next(), Some((1.0, [0.0, 0.0, 1.0])));
    }
}
