//! Where a picture has lettering, or what looks like it: places that a person compares with the source whatever detectors say,
//! because a wrong letter costs more than a wrong leaf.
//!
//! Strokes are found as Epshtein, Ofek and Wexler do ("Detecting text in natural scenes with stroke width transform", CVPR
//! 2010): from an edge along its gradient to the next edge, which must face back. Lettering is where many edges stand together,
//! most of them bound a stroke, strokes run along and across, their widths are alike, and so are their colours and what they
//! stand on. Thin letters are looked for at twice the size. Window grids and type-like ornament are found as well; that is an
//! extra look, not a flag: nothing here changes a score or a verdict.

use rayon::prelude::*;

use super::plane::Plane;
use super::report::Rect;
use crate::resample::Filter;

/// Pixels along the edge of a cell.
const CELL: usize = 8;
/// Strokes are at most this wide, pixels.
const WIDEST: usize = 12;
/// Least gradient of an edge, of 1 per pixel.
const EDGE: f32 = 0.06;
/// Most places of a picture.
pub const MOST: usize = 6;
/// Pictures below this many pixels are searched at twice their size as well; above four times as many, reduced.
const SMALL: usize = 1_200_000;
/// Sums per cell: edges, those along, those across, then eight for dark strokes and eight for light ones.
const SUMS: usize = 3 + 2 * 8;

/// Places of `luma` (display-encoded, 0..1) with lettering, the largest first, in its pixels.
pub fn find(luma: &Plane) -> Vec<Rect> {
    let (w, h) = (luma.width, luma.height);
    let pixels = w * h;
    let factor = if pixels > 4 * SMALL { (4.0 * SMALL as f64 / pixels as f64).sqrt() } else { 1.0 };
    let factors = if pixels <= SMALL { vec![2.0, 1.0] } else { vec![factor] };
    let mut places = Vec::new();
    for k in factors {
        let size = |n: usize| ((n as f64 * k).round() as usize).max(1);
        let filter = if k > 1.0 { Filter::CatmullRom } else { Filter::Box };
        let scaled;
        let plane = if k == 1.0 {
            luma
        } else {
            let Ok(other) = luma.resize(size(w), size(h), filter) else { continue };
            scaled = other;
            &scaled
        };
        let least = if k > 1.0 { 8 } else { 6 };
        let to = |at: usize, all: usize, of: usize| (at * all).div_ceil(of).min(all);
        for r in at_one_size(plane, least) {
            let (x, y) = (r.x * w / plane.width, r.y * h / plane.height);
            let (right, bottom) = (to(r.x + r.w, w, plane.width), to(r.y + r.h, h, plane.height));
            places.push(Rect { x, y, w: right - x, h: bottom - y });
        }
    }
    joined(places)
}

/// Groups of at least `least` cells.
fn at_one_size(luma: &Plane, least: usize) -> Vec<Rect> {
    let (w, h) = (luma.width, luma.height);
    if w < 3 * CELL || h < CELL {
        return Vec::new();
    }
    let (columns, rows) = (w.div_ceil(CELL), h.div_ceil(CELL));
    let edges = Edges::new(luma);
    let sums: Vec<[f32; SUMS]> = (0..rows).into_par_iter().flat_map_iter(|row| edges.sums(row, columns)).collect();
    // Seen through a window of 5 x 3 cells: letters in a line.
    let window = |c: usize, r: usize| {
        let mut all = [0.0; SUMS];
        for y in r.saturating_sub(1)..(r + 2).min(rows) {
            for cell in &sums[y * columns + c.saturating_sub(2)..y * columns + (c + 3).min(columns)] {
                all.iter_mut().zip(cell).for_each(|(a, s)| *a += s);
            }
        }
        all
    };
    let yes: Vec<bool> = (0..rows * columns).into_par_iter().map(|i| is_lettering(&window(i % columns, i / columns))).collect();
    let mut seen = vec![false; yes.len()];
    let mut out = Vec::new();
    for start in 0..yes.len() {
        if !yes[start] || seen[start] {
            continue;
        }
        let (mut todo, mut cells) = (vec![start], 0);
        let (mut left, mut right, mut top, mut bottom) = (columns, 0, rows, 0);
        seen[start] = true;
        while let Some(i) = todo.pop() {
            let (x, y) = (i % columns, i / columns);
            cells += 1;
            (left, right, top, bottom) = (left.min(x), right.max(x), top.min(y), bottom.max(y));
            // A gap between words is a cell wide.
            for ny in y.saturating_sub(1)..(y + 2).min(rows) {
                for nx in x.saturating_sub(2)..(x + 3).min(columns) {
                    let n = ny * columns + nx;
                    if yes[n] && !seen[n] {
                        seen[n] = true;
                        todo.push(n);
                    }
                }
            }
        }
        if cells >= least {
            let (x, y) = (left * CELL, top * CELL);
            out.push(Rect { x, y, w: ((right + 1) * CELL).min(w) - x, h: ((bottom + 1) * CELL).min(h) - y });
        }
    }
    out
}

/// Edges one pixel wide.
struct Edges<'a> {
    luma: &'a Plane,
    gx: Plane,
    gy: Plane,
}

impl<'a> Edges<'a> {
    fn new(luma: &'a Plane) -> Self {
        let (gx, gy) = luma.gradients();
        Self { luma, gx, gy }
    }

    fn length(&self, x: usize, y: usize) -> f32 {
        let i = y * self.luma.width + x;
        self.gx.data[i].hypot(self.gy.data[i])
    }

    /// The gradient, if it is the steepest along itself.
    fn edge(&self, x: usize, y: usize) -> Option<(f32, f32, f32)> {
        let (w, h) = (self.luma.width, self.luma.height);
        let i = y * w + x;
        let (dx, dy) = (self.gx.data[i], self.gy.data[i]);
        let square = dx * dx + dy * dy;
        if square <= EDGE * EDGE {
            return None;
        }
        let g = square.sqrt();
        let (before, after) = if dx.abs() >= dy.abs() {
            (self.length(x.saturating_sub(1), y), self.length((x + 1).min(w - 1), y))
        } else {
            (self.length(x, y.saturating_sub(1)), self.length(x, (y + 1).min(h - 1)))
        };
        (g >= before && g > after).then_some((dx / g, dy / g, g))
    }

    /// What the cells of a row hold.
    fn sums(&self, row: usize, columns: usize) -> Vec<[f32; SUMS]> {
        let (w, h) = (self.luma.width, self.luma.height);
        let mut out = vec![[0.0; SUMS]; columns];
        for y in row * CELL..((row + 1) * CELL).min(h) {
            for x in 0..w {
                let Some((dx, dy, g)) = self.edge(x, y) else { continue };
                let sums = &mut out[x / CELL];
                sums[0] += 1.0;
                sums[1] += f32::from(u8::from(dx.abs() > 0.9));
                sums[2] += f32::from(u8::from(dy.abs() > 0.9));
                for (k, sign) in [1.0, -1.0].into_iter().enumerate() {
                    let at = |t: f32| {
                        let along =
                            |from: usize, d: f32, all: usize| (from as f32 + sign * d * t).round().clamp(0.0, all as f32 - 1.0) as usize;
                        (along(x, dx, w), along(y, dy, h))
                    };
                    let Some(width) = self.across(at, (dx, dy, g)) else { continue };
                    let value = |(x, y): (usize, usize)| self.luma.data[y * w + x];
                    // In the middle of the stroke, and two pixels behind the edge: what it stands on.
                    let (inside, ground) = (value(at(width / 2.0)), value(at(-2.0)));
                    let contrast = (inside - ground).abs();
                    let to = &mut sums[3 + 8 * k..11 + 8 * k];
                    for (to, v) in
                        to.iter_mut().zip([1.0, width, width * width, inside, inside * inside, ground, ground * ground, contrast])
                    {
                        *to += v;
                    }
                }
            }
        }
        out
    }

    /// How far it is to the edge that faces back, if that is the next edge.
    fn across(&self, at: impl Fn(f32) -> (usize, usize), (dx, dy, g): (f32, f32, f32)) -> Option<f32> {
        for t in 1..=WIDEST {
            let (x, y) = at(t as f32);
            if let Some((ox, oy, other)) = self.edge(x, y) {
                return (ox * dx + oy * dy < -0.8 && other > 0.4 * g).then_some(t as f32);
            }
        }
        None
    }
}

/// Whether a window's sums are those of lettering. The limits were set on lettering of 10 to 40 px laid over photographs, and on
/// photographs without any: 20 of 24 found, something found in 8 of 21.
fn is_lettering(s: &[f32; SUMS]) -> bool {
    let area = (15 * CELL * CELL) as f32;
    let edges = s[0].max(1.0);
    let both_ways = s[1].min(s[2]) > 0.15 * edges;
    both_ways
        && s[3..].chunks_exact(8).any(|k| {
            let n = k[0].max(1.0);
            let spread = |sum: f32, squares: f32| ((squares / n) - (sum / n).powi(2)).max(0.0).sqrt();
            let (width, contrast) = (k[1] / n, k[7] / n);
            k[0] > 0.05 * area
                && k[0] > 0.4 * edges
                && spread(k[1], k[2]) < 0.65 * width
                && contrast > 0.12
                && spread(k[3], k[4]) < 0.15 * contrast
                && spread(k[5], k[6]) < 0.3 * contrast
        })
}

/// Those that touch made one; the largest first.
fn joined(mut places: Vec<Rect>) -> Vec<Rect> {
    const NEAR: usize = 12;
    // A union may reach what neither part did, also before it: again until nothing is joined.
    let mut before = usize::MAX;
    while places.len() < before {
        before = places.len();
        let mut i = 0;
        while i < places.len() {
            while let Some(j) = (i + 1..places.len()).find(|&j| places[i].gap(&places[j]) <= NEAR) {
                let other = places.swap_remove(j);
                places[i] = places[i].union(&other);
            }
            i += 1;
        }
    }
    places.sort_by_key(|r| (std::cmp::Reverse(r.area()), r.y, r.x));
    places.truncate(MOST);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 5 x 7 letters, from the top; bit 4 is on the left.
    const LETTERS: [[u8; 7]; 6] = [
        [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
        [0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e],
        [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f],
        [0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11],
        [0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11],
        [0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04],
    ];

    /// Clouds, as smooth or as rough as `grain` says.
    fn ground(w: usize, h: usize, grain: f32) -> Plane {
        let mut p = Plane::new(w, h);
        for y in 0..h {
            for x in 0..w {
                let (u, v) = (x as f32, y as f32);
                let rough = ((x * 7919 + y * 104_729) % 613) as f32 / 613.0 - 0.5;
                p.data[y * w + x] = 0.5 + 0.2 * (u * 0.013).sin() * (v * 0.017).cos() + grain * rough;
            }
        }
        p
    }

    /// Writes ten letters of `dot` pixels a stroke at (x, y) and blurs the picture a little; what they cover.
    fn write(p: &mut Plane, x: usize, y: usize, dot: usize, ink: f32) -> Rect {
        for n in 0..10 {
            for (r, bits) in LETTERS[n % 6].iter().enumerate() {
                for c in (0..5).filter(|c| bits & (16 >> c) != 0) {
                    for py in 0..dot {
                        let from = (y + r * dot + py) * p.width + x + (n * 6 + c) * dot;
                        p.data[from..from + dot].fill(ink);
                    }
                }
            }
        }
        *p = p.blur(0.5);
        Rect { x, y, w: 59 * dot, h: 7 * dot }
    }

    #[test]
    fn letters_of_every_size_and_polarity_are_found_where_they_are() {
        for (dot, ink) in [(1, 0.05), (1, 0.95), (2, 0.05), (2, 0.95), (3, 0.9), (4, 0.1)] {
            let mut p = ground(400, 300, 0.02);
            let at = write(&mut p, 60, 140, dot, ink);
            let found = find(&p);
            assert!(!found.is_empty(), "{dot} px, {ink}");
            let all = found.iter().skip(1).fold(found[0], |a, b| a.union(b));
            assert!(all.iou(&at) > 0.4, "{dot} px, {ink}: {all:?} of {at:?}");
        }
    }

    #[test]
    fn stripes_noise_clouds_and_single_shapes_are_no_lettering() {
        let mut noise = ground(300, 200, 0.0);
        noise.data.iter_mut().enumerate().for_each(|(i, v)| *v = ((i * 2_654_435_761) % 1000) as f32 / 1000.0);
        let mut stripes = ground(300, 200, 0.0);
        (0..200 * 300).for_each(|i| stripes.data[i] = if (i % 300) / 4 % 2 == 0 { 0.2 } else { 0.8 });
        let mut disc = ground(300, 200, 0.01);
        for i in 0..200 * 300 {
            if (i as f32 % 300.0 - 150.0).hypot((i / 300) as f32 - 100.0) < 60.0 {
                disc.data[i] = 0.95;
            }
        }
        for (what, p) in
            [("noise", noise), ("stripes", stripes), ("disc", disc), ("grain", ground(300, 200, 0.3)), ("clouds", ground(300, 200, 0.0))]
        {
            assert!(find(&p).is_empty(), "{what}: {:?}", find(&p));
        }
        for (w, h) in [(1, 1), (24, 8), (3, 500), (500, 3)] {
            assert!(find(&Plane::new(w, h)).is_empty());
        }
    }

    #[test]
    fn a_large_picture_is_searched_as_well() {
        let mut p = ground(2600, 2000, 0.01);
        let at = write(&mut p, 900, 700, 6, 0.02);
        let found = find(&p);
        assert!(found.iter().any(|r| r.iou(&at) > 0.4), "{found:?}");
    }
}
