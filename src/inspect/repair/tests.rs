use super::*;
use crate::inspect::{Situation, Tier, inspect};
use crate::resample::Filter;

const SIDE: usize = 384;

/// Soft shapes and a little texture, three channels.
fn truth() -> Picture {
    let plane = |shift: f32| {
        let mut p = Plane::new(SIDE, SIDE);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let (u, v) = (x as f32, y as f32);
                let wave = 0.15 * (u * 0.03 + shift).sin() * (v * 0.02).cos();
                p.data[y * SIDE + x] = 0.45 + wave + 0.03 * (u * 0.4 + v * 0.25).sin();
            }
        }
        p
    };
    Picture::from_planes([plane(0.0), plane(0.5), plane(1.1)])
}

/// `picture` with structure of another kind in the square `at`, and how it was made from the truth.
fn invented(picture: &Picture, at: Rect) -> Picture {
    let planes = [0, 1, 2].map(|c| {
        let mut p = picture.channel(c).clone();
        for y in at.y..at.y + at.h {
            for x in at.x..at.x + at.w {
                let (u, v) = (x as f32, y as f32);
                p.data[y * SIDE + x] += 0.16 * (u * 0.9 - v * 0.7).sin() * (v * 0.8 + u * 0.3).cos();
            }
        }
        p
    });
    Picture::from_planes(planes)
}

fn scene(result: Picture) -> Scene {
    let truth = truth();
    let mut scene = Scene::new(result, truth.resize(SIDE / 4, SIDE / 4, Filter::Box).unwrap()).unwrap();
    scene.faithful = Some(truth);
    scene
}

fn about() -> About {
    About { input: "a.png".into(), tier: Tier::Standard, situation: Situation::Own, ..About::default() }
}

#[test]
fn what_was_invented_is_mended_and_the_rest_stays_to_the_bit() {
    let at = Rect { x: 150, y: 120, w: 80, h: 70 };
    let result = invented(&truth(), at);
    let first = inspect(&scene(result.clone()), &about());
    assert!(first.report.findings.iter().any(|f| f.detector == "hallucination"), "{:?}", first.report.findings);
    let mended = mend(scene(result.clone()), first, &about(), &mut || Ok(None)).unwrap();
    assert!(!mended.patches.is_empty(), "{:?}", mended.regions);
    assert!(mended.regions.iter().any(|r| r.kept && r.after <= 0.5 * r.before), "{:?}", mended.regions);
    assert!(mended.inspection.report.findings.iter().all(|f| f.detector != "hallucination"), "{:?}", mended.inspection.report.findings);

    let mut band = result.band(0, SIDE);
    mended.patches.apply(&mut band);
    let before = result.band(0, SIDE);
    let (mut changed, mut error) = (0, 0.0f64);
    let clean = truth().band(0, SIDE);
    for c in 0..3 {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let (new, old) = (band.row(c, y)[x], before.row(c, y)[x]);
                let inside = mended.patches.0.iter().any(|p| {
                    let w = p.window();
                    (w.x..w.x + w.w).contains(&x) && (w.y..w.y + w.h).contains(&y)
                });
                if !inside {
                    assert_eq!(new.to_bits(), old.to_bits(), "{x},{y}");
                }
                changed += usize::from(new != old);
                if (at.x + 8..at.x + at.w - 8).contains(&x) && (at.y + 8..at.y + at.h - 8).contains(&y) {
                    error += f64::from((new - clean.row(c, y)[x]).abs());
                }
            }
        }
    }
    let area = at.area();
    assert!(changed > 2 * area && changed < 3 * SIDE * SIDE * 3 / 5, "{changed} of {area}");
    assert!(error / (3.0 * ((at.w - 16) * (at.h - 16)) as f64) < 0.02, "{error}");
    // Rows in pieces come out as they do in one.
    let mut pieces = Picture::new(SIDE);
    for y in (0..SIDE).step_by(37) {
        let mut rows = result.band(y, (y + 37).min(SIDE));
        mended.patches.apply(&mut rows);
        pieces.push(&rows);
    }
    assert_eq!(pieces.band(0, SIDE).data, band.data);
}

#[test]
fn a_faithful_picture_that_is_no_better_is_refused() {
    let at = Rect { x: 150, y: 120, w: 80, h: 70 };
    let result = invented(&truth(), at);
    let mut scene = scene(result);
    let first = inspect(&scene, &about());
    // The comparison invents the same, elsewhere and stronger: nothing gets better.
    scene.faithful = Some(invented(&invented(&truth(), at), at));
    let mended = mend(scene, first, &about(), &mut || Ok(None)).unwrap();
    assert!(mended.patches.is_empty() && !mended.regions.is_empty());
    assert!(mended.regions.iter().all(|r| !r.kept && !r.why.is_empty()));
    assert!(mended.inspection.report.findings.iter().any(|f| f.detector == "hallucination"));
}

#[test]
fn without_anything_to_compare_with_nothing_is_tried() {
    let mut scene = scene(invented(&truth(), Rect { x: 150, y: 120, w: 80, h: 70 }));
    scene.faithful = None;
    let first = inspect(&scene, &about());
    let mended = mend(scene, first, &about(), &mut || Ok(None)).unwrap();
    assert!(mended.patches.is_empty() && mended.regions.is_empty());
}

#[test]
fn pixels_that_are_not_opaque_stay() {
    let at = Rect { x: 150, y: 120, w: 80, h: 70 };
    let result = invented(&truth(), at);
    let first = inspect(&scene(result.clone()), &about());
    let mended = mend(scene(result.clone()), first, &about(), &mut || Ok(None)).unwrap();
    let mut band = Band::new(0, SIDE, SIDE, 4);
    for c in 0..3 {
        band.plane_mut(c).copy_from_slice(&result.channel(c).data);
    }
    let before = band.clone();
    mended.patches.apply(&mut band);
    assert_eq!(band, before);
    band.plane_mut(3).fill(1.0);
    mended.patches.apply(&mut band);
    assert_ne!(band.plane(0), before.plane(0));
}

#[test]
fn a_region_at_the_border_is_mended_like_any_other() {
    for at in [Rect { x: 0, y: 0, w: 80, h: 70 }, Rect { x: SIDE - 70, y: 150, w: 70, h: 80 }, Rect { x: 150, y: SIDE - 60, w: 90, h: 60 }]
    {
        let mut result = invented(&truth(), at);
        // Its network saw zeros beyond the picture.
        let planes = [0, 1, 2].map(|c| {
            let mut p = result.channel(c).clone();
            for i in 0..SIDE {
                for (x, y) in [(i, 0), (i, SIDE - 1), (0, i), (SIDE - 1, i)] {
                    p.data[y * SIDE + x] -= 0.05;
                }
            }
            p
        });
        result = Picture::from_planes(planes);
        let first = inspect(&scene(result.clone()), &about());
        let mended = mend(scene(result.clone()), first, &about(), &mut || Ok(None)).unwrap();
        assert!(mended.regions.iter().any(|r| r.kept && r.after <= 0.5 * r.before), "{at:?}: {:?}", mended.regions);
        let mut band = result.band(0, SIDE);
        mended.patches.apply(&mut band);
        let (clean, mut error) = (truth(), 0.0f64);
        for y in at.y..at.y + at.h {
            for x in at.x..at.x + at.w {
                error += f64::from((band.row(1, y)[x] - clean.channel(1).row(y)[x]).abs());
            }
        }
        assert!(error / (at.area() as f64) < 0.02, "{at:?}: {error}");
    }
}

#[test]
fn pixels_come_from_the_better_enlargement_and_scores_from_the_other() {
    let at = Rect { x: 150, y: 120, w: 80, h: 70 };
    let result = invented(&truth(), at);
    // What it is compared with is soft; what mends is not.
    let mut scene = scene(result.clone());
    scene.faithful = Some(Picture::from_planes([0, 1, 2].map(|c| truth().channel(c).blur(0.8))));
    let first = inspect(&scene, &about());
    let mut asked = 0;
    let mended = mend(scene, first, &about(), &mut || {
        asked += 1;
        Ok(Some(truth()))
    })
    .unwrap();
    assert_eq!(asked, 1);
    assert!(mended.regions.iter().any(|r| r.kept && r.after <= 0.5 * r.before), "{:?}", mended.regions);
    let mut band = result.band(0, SIDE);
    mended.patches.apply(&mut band);
    let clean = truth();
    let mut error = 0.0f64;
    for y in at.y + 8..at.y + at.h - 8 {
        for x in at.x + 8..at.x + at.w - 8 {
            error += f64::from((band.row(1, y)[x] - clean.channel(1).row(y)[x]).abs());
        }
    }
    error /= ((at.w - 16) * (at.h - 16)) as f64;
    // The soft one would leave 0.004 of its fine waves.
    assert!(error < 0.002, "{error}");
    // Who has nothing to mend makes nothing.
    let clean = self::scene(truth());
    let first = inspect(&clean, &about());
    assert!(mend(clean, first, &about(), &mut || panic!("asked for nothing")).unwrap().patches.is_empty());
}
