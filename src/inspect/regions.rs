//! From maps to few, well-placed boxes.

use std::cmp::Reverse;

use super::Measured;
use super::plane::Plane;
use super::report::{Finding, Rect};

/// A connected region of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot {
    /// In output pixels.
    pub rect: Rect,
    /// Worst calibrated score inside, 0..1.
    pub h: f64,
    /// Worst raw score inside.
    pub raw: f32,
    /// Pixels of the region itself.
    pub area: f64,
    /// The picture's size, to find the place in other maps.
    of: (usize, usize),
}

impl Spot {
    /// The worst value of another map of the same picture inside the box.
    pub fn worst_in(&self, map: &Plane) -> f32 {
        self.values(map).fold(0.0, f32::max)
    }

    /// The mean of another map of the same picture inside the box; 0 for an empty map.
    pub fn mean_in(&self, map: &Plane) -> f32 {
        let (sum, n) = self.values(map).fold((0.0, 0usize), |(s, n), v| (s + v, n + 1));
        sum / n.max(1) as f32
    }

    fn values<'a>(&self, map: &'a Plane) -> impl Iterator<Item = f32> + 'a {
        let range = |at: usize, len: usize, whole: usize, cells: usize| {
            let first = at * cells / whole.max(1);
            first.min(cells.max(1) - 1)..((at + len) * cells).div_ceil(whole.max(1)).max(first + 1).min(cells)
        };
        let columns = range(self.rect.x, self.rect.w, self.of.0, map.width);
        let rows = range(self.rect.y, self.rect.h, self.of.1, map.height);
        rows.flat_map(move |y| map.row(y)[columns.clone()].iter().copied())
    }
}

/// A region spreads from its seeds over cells with at least this calibrated score.
const GROW: f32 = 0.70;
/// Most boxes of one detector, and of a picture.
const PER_DETECTOR: usize = 3;
const PER_PICTURE: usize = 8;

/// Regions of a calibrated map that hold a cell of at least `threshold` (if none does, of its peak), worst first.
pub fn find(map: &Plane, measured: &Measured, (width, height): (usize, usize), threshold: f64) -> Vec<Spot> {
    let (cols, rows) = (map.width, map.height);
    let seed = (threshold as f32).min(map.peak().0);
    // A seed far above the usual spreads over what is still remarkable beside it, not over every unusual cell.
    let grow = GROW.max(1.0 - 30.0 * (1.0 - seed)).min(seed);
    let (sx, sy) = (width as f32 / cols.max(1) as f32, height as f32 / rows.max(1) as f32);
    let mut seen = vec![false; map.data.len()];
    let mut spots = Vec::new();
    let mut order: Vec<usize> = (0..map.data.len()).filter(|&i| map.data[i] >= seed && map.data[i] > 0.0).collect();
    order.sort_by(|&a, &b| map.data[b].total_cmp(&map.data[a]));
    for start in order {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        let (mut stack, mut cells) = (vec![start], 0usize);
        let (mut x0, mut y0, mut x1, mut y1) = (usize::MAX, usize::MAX, 0, 0);
        let (mut h, mut raw) = (0.0f32, 0.0f32);
        while let Some(i) = stack.pop() {
            let (x, y) = (i % cols, i / cols);
            (x0, y0, x1, y1) = (x0.min(x), y0.min(y), x1.max(x), y1.max(y));
            (h, raw, cells) = (h.max(map.data[i]), raw.max(measured.map.data[i]), cells + 1);
            for ny in y.saturating_sub(1)..(y + 2).min(rows) {
                for nx in x.saturating_sub(1)..(x + 2).min(cols) {
                    let n = ny * cols + nx;
                    if !seen[n] && map.data[n] >= grow {
                        seen[n] = true;
                        stack.push(n);
                    }
                }
            }
        }
        let edge = |cell: usize, step: f32, whole: usize| ((cell as f32 * step).round() as usize).min(whole);
        let (left, top) = (edge(x0, sx, width), edge(y0, sy, height));
        let (right, bottom) = (edge(x1 + 1, sx, width).max(left + 1), edge(y1 + 1, sy, height).max(top + 1));
        let area = f64::from(cells as f32 * sx * sy);
        if area >= f64::from(measured.least_area) * (width * height) as f64 || spots.is_empty() {
            let rect = Rect { x: left, y: top, w: right - left, h: bottom - top };
            spots.push(Spot { rect, h: f64::from(h), raw, area, of: (width, height) });
        }
    }
    spots.sort_by(|a, b| b.h.total_cmp(&a.h).then(b.area.total_cmp(&a.area)));
    spots
}

/// Merges neighbours, keeps the worst, and counts what was left out.
pub fn settle(mut found: Vec<Finding>, (width, height): (usize, usize)) -> (Vec<Finding>, usize) {
    let near = 12.max((12.0 * ((width * height) as f64 / 1e6).sqrt()) as usize);
    found.sort_by(|a, b| b.severity.total_cmp(&a.severity).then(b.score.total_cmp(&a.score)).then(a.detector.cmp(&b.detector)));
    let mut kept: Vec<Finding> = Vec::new();
    let mut left_out = 0;
    for f in found {
        let place = f.rect;
        if let Some(same) = kept.iter_mut().find(|k| k.detector == f.detector && (k.rect.gap(&place) < near || k.rect.iou(&place) > 0.2)) {
            // A box that would cover mostly what is fine is worse than two.
            let joint = same.rect.union(&place);
            if joint.area() <= 3 * (same.rect.area() + place.area()) {
                same.rect = joint;
                continue;
            }
        }
        if let Some(other) = kept.iter_mut().find(|k| k.detector != f.detector && k.rect.iou(&place) > 0.5) {
            if !other.also.contains(&f.detector) {
                other.also.push(f.detector);
            }
            continue;
        }
        let of_it = kept.iter().filter(|k| k.detector == f.detector).count();
        if of_it >= PER_DETECTOR || kept.len() >= PER_PICTURE {
            left_out += 1;
        } else {
            kept.push(f);
        }
    }
    kept.sort_by_key(|f| Reverse((f.severity * 1e6) as u64));
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Origin;

    fn map(rows: &[&str]) -> Plane {
        let data = rows.iter().flat_map(|r| r.bytes().map(|b| f32::from(b - b'0') / 10.0)).collect();
        Plane { width: rows[0].len(), height: rows.len(), data }
    }

    fn finding(detector: &str, severity: f64, rect: [usize; 4]) -> Finding {
        let (detector, note) = (detector.into(), String::new());
        Finding { detector, severity, score: severity, rect: rect.into(), origin: Origin::Unknown, note, also: vec![] }
    }

    #[test]
    fn regions_grow_from_seeds_only() {
        let m = map(&["0000000", "0890077", "0080000", "0000000"]);
        let measured = Measured::peak(m.clone(), |_| String::new());
        let spots = find(&m, &measured, (70, 40), 0.85);
        assert_eq!(spots.len(), 1);
        assert_eq!((spots[0].rect, spots[0].area.round()), (Rect { x: 10, y: 10, w: 20, h: 20 }, 300.0));
        assert_eq!(spots[0].worst_in(&map(&["00", "00"])), 0.0);
        assert_eq!(spots[0].worst_in(&map(&["50", "00"])), 0.5);
    }

    #[test]
    fn a_score_without_a_cell_of_its_size_points_at_the_peak() {
        let m = map(&["012", "345"]);
        let spots = find(&m, &Measured::peak(m.clone(), |_| String::new()), (30, 20), 0.95);
        assert_eq!((spots.len(), spots[0].rect), (1, Rect { x: 20, y: 10, w: 10, h: 10 }));
    }

    #[test]
    fn neighbours_merge_and_few_remain() {
        let mut found =
            vec![finding("seam", 0.9, [0, 0, 50, 50]), finding("seam", 0.5, [55, 0, 40, 50]), finding("halo", 0.4, [0, 0, 95, 52])];
        let (kept, more) = settle(found.clone(), (1000, 1000));
        assert_eq!((kept.len(), more), (1, 0));
        assert_eq!((kept[0].rect, kept[0].also.as_slice()), (Rect { x: 0, y: 0, w: 95, h: 50 }, ["halo".to_string()].as_slice()));
        found = (0..6).map(|i| finding("blur", 0.1 * i as f64, [i * 150, 500, 20, 20])).collect();
        let (kept, more) = settle(found, (1000, 1000));
        assert_eq!((kept.len(), more, kept[0].severity), (3, 3, 0.5));
    }
}
