//! Pictures that are too large to be held with all their maps: looked at in strips that overlap, whose inspections become one.

use std::ops::Range;

use super::print;
use super::regions;
use super::{About, Inspection, Plane, Report, Verdict};

/// Pixels up to which a picture is looked at in one piece. Everything that detectors keep takes about 64 bytes a pixel.
pub const WHOLE: usize = 36_000_000;
/// Bytes that an inspection takes per pixel that it looks at.
pub const BYTES: u64 = 64;
/// Pixels of a strip, without what it shares with its neighbours.
const STRIP: usize = 24_000_000;
/// Rows that a strip sees of its neighbours at least.
const SHARED: usize = 256;
/// The same in source pixels: networks look this far.
const SHARED_OF_SOURCE: usize = 48;

/// Rows of a picture that are looked at together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// What is seen.
    pub rows: Range<usize>,
    /// Findings whose middle lies outside are the neighbour's.
    pub keep: Range<usize>,
    /// The rows of the source that `rows` were made from, as closely as whole rows allow; empty without a source.
    pub source: Range<usize>,
}

/// What a strip is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The strip's first row.
    pub top: usize,
    /// Width and height of the whole picture.
    pub size: (usize, usize),
}

/// The strips of a picture whose source has `source` rows (0: no source).
pub fn strips(size: (usize, usize), source: usize) -> Vec<Strip> {
    cut(size, source, STRIP)
}

fn cut((width, height): (usize, usize), source: usize, pixels: usize) -> Vec<Strip> {
    let scale = if source > 0 { height as f64 / source as f64 } else { 1.0 };
    let shared = SHARED.max((SHARED_OF_SOURCE as f64 * scale).ceil() as usize);
    let n = (width * height).div_ceil(pixels).clamp(1, height.div_ceil(shared).max(1));
    let at = |i: usize| i * height / n;
    let strip = |i: usize| {
        let keep = at(i)..at(i + 1);
        let (top, end) = (aligned(keep.start.saturating_sub(shared), scale), aligned((keep.end + shared + 64).min(height), scale));
        let end = if keep.end == height { (height, source) } else { end };
        let source = if source > 0 { top.1..end.1.min(source) } else { 0..0 };
        Strip { rows: top.0..end.0.min(height), keep, source }
    };
    (0..n).map(strip).collect()
}

/// The row at most a little above `row` that lies best on the border of two source rows, and which that is.
fn aligned(row: usize, scale: f64) -> (usize, usize) {
    let last = (row as f64 / scale + 1e-6).floor() as usize;
    let off = |s: &usize| {
        let at = *s as f64 * scale;
        ((at - at.round()).abs() * 1e6) as u64
    };
    let best = (last.saturating_sub((64.0 / scale).ceil() as usize)..=last).rev().min_by_key(off).unwrap_or(last);
    ((best as f64 * scale).round() as usize, best)
}

/// One inspection of what strips show, none of no strips; scores are those of the worst strip. `scale` is result pixels per source
/// pixel.
pub fn joined(strips: Vec<(Strip, Inspection)>, size: (usize, usize), scale: Option<f32>, about: &About) -> Option<Inspection> {
    let (mut whole, mut heat): (Option<Report>, Vec<(&'static str, Plane)>) = (None, Vec::new());
    for name in super::DETECTORS.iter().map(|d| d.name) {
        let maps: Vec<(&Strip, &Plane)> = strips
            .iter()
            .filter_map(|(strip, i)| i.heat.iter().find(|(n, _)| *n == name).map(|(_, map)| (strip, map)))
            .filter(|(_, map)| !map.data.is_empty())
            .collect();
        if let Some(map) = one_map(&maps, size.1) {
            heat.push((name, map));
        }
    }
    let count = strips.len();
    for (strip, inspection) in strips {
        let mut part = inspection.report;
        let top = strip.rows.start;
        part.findings.retain(|f| strip.keep.contains(&(top + f.rect.y + f.rect.h / 2)));
        part.findings.iter_mut().for_each(|f| f.rect.y += top);
        part.text_like.retain(|r| strip.keep.contains(&(top + r.y + r.h / 2)));
        part.text_like.iter_mut().for_each(|r| r.y += top);
        match &mut whole {
            None => whole = Some(part),
            Some(all) => take_in(all, part),
        }
    }
    let mut report = whole?;
    let (findings, more) = regions::settle(std::mem::take(&mut report.findings), size);
    report.findings = findings;
    report.text_like.sort_by_key(|r| std::cmp::Reverse(r.area()));
    report.text_like.truncate(super::lettering::MOST);
    report.notes.push(format!("too large for one piece: looked at in {count} strips that overlap; scores are those of the worst"));
    report.notes.push(print::preflight(size, scale, None, about.dpi));
    if more > 0 {
        report.notes.push(super::more(more));
    }
    report.verdict = Verdict::of(&report.findings, report.tier);
    (report.width, report.height) = size;
    Some(Inspection { report, heat })
}

/// What another strip says, added to what earlier ones said.
fn take_in(all: &mut Report, part: Report) {
    all.not_applicable.retain(|n| part.not_applicable.contains(n));
    for (name, score) in part.detectors {
        let before = all.detectors.entry(name).or_default();
        *before = before.max(score);
    }
    all.thresholds.extend(part.thresholds);
    all.score = all.score.max(part.score);
    all.findings.extend(part.findings);
    all.text_like.extend(part.text_like);
    for note in part.notes {
        if !all.notes.contains(&note) {
            all.notes.push(note);
        }
    }
}

/// The maps of strips as one whose cells share the picture evenly.
fn one_map(maps: &[(&Strip, &Plane)], height: usize) -> Option<Plane> {
    let width = maps.iter().map(|(_, m)| m.width).max()?;
    let per_row = |(strip, map): &(&Strip, &Plane)| map.height as f64 / strip.rows.len() as f64;
    let rows = (maps.iter().map(per_row).fold(0.0, f64::max) * height as f64).round().max(1.0) as usize;
    let mut out = Plane::new(width, rows);
    for r in 0..rows {
        let y = (2 * r + 1) * height / (2 * rows);
        // A strip to which the detector does not apply leaves its rows empty.
        let Some((strip, map)) = maps.iter().find(|(s, _)| s.keep.contains(&y)) else { continue };
        let from = map.row((y - strip.rows.start) * map.height / strip.rows.len());
        for (x, v) in out.row_mut(r).iter_mut().enumerate() {
            *v = from[x * map.width / width];
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::tests::picture;
    use super::super::{Picture, Scene, inspect};
    use super::*;
    use crate::inspect::Situation;
    use crate::resample::Filter;

    #[test]
    fn strips_cover_a_picture_and_keep_each_row_once() {
        for (size, source) in [((6000, 8000), 2000), ((9000, 9001), 2571), ((65535, 3000), 0), ((5000, 7000), 9000), ((30, 2), 1)] {
            let all = strips(size, source);
            let kept: Vec<usize> = all.iter().flat_map(|s| [s.keep.start, s.keep.end]).collect();
            assert_eq!((kept[0], kept[kept.len() - 1]), (0, size.1), "{size:?}");
            assert!(kept[1..kept.len() - 1].chunks(2).all(|c| c[0] == c[1]), "{kept:?}");
            let scale = if source > 0 { size.1 as f64 / source as f64 } else { 1.0 };
            for s in &all {
                assert!(s.rows.start <= s.keep.start && s.rows.end >= s.keep.end && s.rows.end <= size.1, "{s:?}");
                if source > 0 {
                    assert!((s.source.start as f64 * scale - s.rows.start as f64).abs() < 0.51, "{s:?}");
                    assert!((s.source.end as f64 * scale - s.rows.end as f64).abs() < 0.51 && s.source.end <= source, "{s:?}");
                }
            }
        }
        assert_eq!(strips((4000, 3000), 750).len(), 1);
    }

    /// Inspected in strips as in one piece.
    fn both(result: &Picture, source: &Picture, pixels: usize) -> (Inspection, Inspection) {
        let about = About { situation: Situation::Source, ..About::default() };
        let whole = inspect(&Scene::new(result.clone(), source.clone()).unwrap(), &about);
        let size = (result.width, result.height);
        let parts = cut(size, source.height, pixels).into_iter().map(|s| {
            let scene = Scene::new(result.rows(s.rows.clone()), source.rows(s.source.clone())).unwrap();
            let part = Some(Part { top: s.rows.start, size });
            let inspection = inspect(&scene, &About { part, ..about.clone() });
            (s, inspection)
        });
        (joined(parts.collect(), size, Some(4.0), &about).unwrap(), whole)
    }

    #[test]
    fn a_defect_is_found_where_it_is_in_whichever_strip() {
        let clean = picture(640, 1600);
        let source = clean.resize(160, 400, Filter::CatmullRom).unwrap();
        for y0 in [200, 790, 1450] {
            let planes = [0, 1, 2].map(|c| {
                let mut p = clean.channel(c).clone();
                // A mosaic of 16 px.
                for y in y0..y0 + 96 {
                    for x in 300..396 {
                        p.data[y * 640 + x] = clean.channel(c).data[(y / 16 * 16) * 640 + x / 16 * 16];
                    }
                }
                p
            });
            let (strips, whole) = both(&Picture::from_planes(planes), &source, 300_000);
            let found = |i: &Inspection| {
                i.report.findings.iter().any(|f| {
                    let r = f.rect;
                    (r.x..=r.x + r.w).contains(&348) && (r.y..=r.y + r.h).contains(&(y0 + 48))
                })
            };
            assert!(found(&whole), "whole {y0}: {:?}", whole.report.findings);
            assert!(found(&strips), "strips {y0}: {:?}", strips.report.findings);
            assert_ne!(strips.report.verdict, Verdict::Pass);
            assert_eq!((strips.report.width, strips.report.height), (640, 1600));
            assert!(strips.report.notes.iter().any(|n| n.contains("strips that overlap")));
            assert_eq!(strips.report.notes.iter().filter(|n| n.starts_with("print:")).count(), 1);
        }
    }

    #[test]
    fn a_clean_picture_stays_clean_and_maps_cover_it() {
        let clean = picture(640, 1600);
        let source = clean.resize(160, 400, Filter::CatmullRom).unwrap();
        let (strips, whole) = both(&clean, &source, 300_000);
        assert_eq!((strips.report.verdict, whole.report.verdict), (Verdict::Pass, Verdict::Pass));
        assert_eq!(strips.report.detectors.keys().collect::<Vec<_>>(), whole.report.detectors.keys().collect::<Vec<_>>());
        for ((name, a), (other, b)) in strips.heat.iter().zip(&whole.heat) {
            assert_eq!(name, other);
            assert!(a.width == b.width && a.height.abs_diff(b.height) <= 2, "{name}: {}x{} {}x{}", a.width, a.height, b.width, b.height);
        }
    }
}
