use super::*;
use crate::grade::look::Look;
use crate::grade::op::Op;

/// Each operation with parameters that do something.
const SAMPLES: [(&str, &str); 6] = [
    ("vignette", "stops = 1"),
    ("grain", "amount = 0.05"),
    ("sharpen", "amount = 1.5\nthreshold = 0"),
    ("clarity", "amount = 0.8\nradius = 0.02"),
    ("clarity", "amount = -0.5"),
    ("deband", "codes = 1.5\nradius = 0.03"),
];

fn op(name: &str, keys: &str) -> Box<dyn SpatialOp> {
    let look = Look::parse("t", &format!("[[op]]\ntype = \"{name}\"\n{keys}\n"), std::path::Path::new("")).unwrap();
    look.steps[0].op.spatial().unwrap()
}

fn picture(width: usize, height: usize, f: impl Fn(usize, usize, usize) -> f32) -> Band {
    let mut b = Band::new(0, width, height, 4);
    for c in 0..4 {
        for y in 0..height {
            for x in 0..width {
                b.row_mut(c, y)[x] = f(c, x, y);
            }
        }
    }
    b
}

fn run(op: Box<dyn SpatialOp>, given: &Band, step: usize) -> Band {
    let frame = Frame { width: given.width, height: given.rows, bits: 8, seed: 7 };
    let mut stage = Spatial::new(op, Mask::ALL, frame);
    let mut out = given.clone();
    let mut end = 0;
    let mut sink = |b: Band| {
        assert_eq!(b.y, end);
        end = b.end();
        for c in 0..b.channels {
            for r in 0..b.rows {
                out.row_mut(c, b.y + r).copy_from_slice(b.row(c, r));
            }
        }
        Ok(())
    };
    for y in (0..given.rows).step_by(step) {
        stage.push(given.slice(y, (y + step).min(given.rows)), &mut sink).unwrap();
    }
    stage.finish(&mut sink).unwrap();
    assert_eq!(end, given.rows);
    out
}

#[test]
fn every_operation_is_tried_and_does_nothing_unasked() {
    // What a filter does is not known here; it has tests of its own.
    for name in Op::NAMES.iter().filter(|n| **n != "filter" && Op::named(n).unwrap().spatial().is_some()) {
        assert!(SAMPLES.iter().any(|(n, _)| n == name), "{name} has no sample here");
        assert!(Op::named(name).unwrap().is_noop(), "{name}");
    }
}

#[test]
fn rows_in_any_portion_give_the_same_picture_and_alpha_stays() {
    let given = picture(61, 150, |c, x, y| ((x * 7 + y * 3 + c * 11) % 64) as f32 / 63.0);
    for (name, keys) in SAMPLES {
        let whole = run(op(name, keys), &given, 150);
        assert!(whole.data.iter().all(|v| v.is_finite()), "{name}");
        assert_eq!(whole.plane(3), given.plane(3), "{name}");
        for step in [1, 17, 64] {
            assert_eq!(run(op(name, keys), &given, step), whole, "{name} in portions of {step}");
        }
    }
}

#[test]
fn flat_areas_stay_flat() {
    let given = picture(40, 40, |_, _, _| 0.4);
    for (name, keys) in SAMPLES.iter().filter(|(n, _)| !["vignette", "grain"].contains(n)) {
        let out = run(op(name, keys), &given, 40);
        assert!(out.data.iter().all(|v| (v - 0.4).abs() < 1e-6), "{name}");
    }
}

#[test]
fn sharpening_steepens_an_edge_and_keeps_its_halo() {
    let given = picture(64, 8, |_, x, _| 0.3 + 0.4 / (1.0 + (-(x as f32 - 31.5) / 1.5).exp()));
    let out = run(op("sharpen", "amount = 4\nradius_px = 1.5\nhalo = 0.02\nthreshold = 0"), &given, 8);
    let slope = |b: &Band| b.row(0, 4)[32] - b.row(0, 4)[31];
    assert!(slope(&out) > 1.5 * slope(&given), "{} {}", slope(&out), slope(&given));
    let (low, high) = out.row(0, 4).iter().fold((1.0f32, 0.0f32), |(l, h), v| (l.min(*v), h.max(*v)));
    assert!(low >= 0.3 - 0.0201 && high <= 0.7 + 0.0201, "{low} {high}");
}

#[test]
fn a_vignette_is_even_and_leaves_the_middle() {
    let given = picture(60, 40, |_, _, _| 0.5);
    let out = run(op("vignette", "stops = 1"), &given, 40);
    assert_eq!(out.row(0, 20)[30], 0.5);
    let corners = [out.row(0, 0)[0], out.row(0, 0)[59], out.row(0, 39)[0], out.row(0, 39)[59]];
    assert!(corners.iter().all(|v| (v - corners[0]).abs() < 1e-6) && corners[0] < 0.38 && corners[0] > 0.3, "{corners:?}");
}

#[test]
fn grain_has_its_strength_and_is_gone_in_black_and_white() {
    let spread = |level: f32| {
        let out = run(op("grain", "amount = 0.05\nsize = 0.0002"), &picture(200, 200, |_, _, _| level), 200);
        let mean = out.plane(1).iter().sum::<f32>() / 40_000.0;
        assert!((mean - level).abs() < 1e-3);
        (out.plane(1).iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 40_000.0).sqrt()
    };
    assert!((spread(0.5) - 0.05).abs() < 0.003, "{}", spread(0.5));
    assert!(spread(0.0) == 0.0 && spread(1.0) == 0.0);
}

/// Grain over a grid that does not fall on pixels must neither be weaker than asked for nor show the grid as stripes.
#[test]
fn grain_is_as_strong_between_its_grid_as_on_it() {
    let (side, level) = (1024, 0.5);
    for size in [0.0007, 0.0014, 0.0031] {
        let out = run(op("grain", &format!("amount = 0.05\nsize = {size}\ncolour = 0")), &picture(side, side, |_, _, _| level), side);
        let spread = |values: &mut dyn Iterator<Item = f32>| {
            let v: Vec<f32> = values.collect();
            (v.iter().map(|v| (v - level).powi(2)).sum::<f32>() / v.len() as f32).sqrt()
        };
        let all = spread(&mut out.plane(1).iter().copied());
        assert!((all - 0.05).abs() < 0.002, "size {size}: {all}");
        let rows = |from: usize| spread(&mut (0..8).flat_map(|k| out.row(1, from + 16 * k).iter().copied()));
        let columns = |x: usize| spread(&mut (0..side).flat_map(|y| (0..8).map(move |k| (y, x + 16 * k))).map(|(y, x)| out.row(1, y)[x]));
        for spreads in [(0..128).map(rows).collect::<Vec<_>>(), (0..128).map(columns).collect()] {
            let (low, high) = spreads.iter().fold((f32::MAX, 0.0f32), |(l, h), v| (l.min(*v), h.max(*v)));
            assert!(high / low < 1.2, "size {size}: {low} to {high}");
        }
    }
}

/// Clarity lifts texture and leaves a hard edge without a glow.
#[test]
fn clarity_lifts_texture_and_not_edges() {
    let (dark, light) = (80.0 / 255.0, 180.0 / 255.0);
    let edge = run(op("clarity", "amount = 1"), &picture(600, 8, |_, x, _| if x < 300 { dark } else { light }), 8);
    let glow = edge.row(1, 4).iter().enumerate().map(|(x, v)| (v - if x < 300 { dark } else { light }).abs()).fold(0.0, f32::max);
    assert!(glow < 6.0 / 255.0, "{}", glow * 255.0);
    let wave = |x: usize| 0.5 + 0.04 * (x as f32 * 0.9).sin();
    let given = picture(600, 8, |_, x, _| wave(x));
    let lifted = run(op("clarity", "amount = 1"), &given, 8);
    let high = |b: &Band| b.row(1, 4)[100..500].iter().fold(0.0f32, |m, v| m.max((v - 0.5).abs()));
    assert!(high(&lifted) > 1.6 * high(&given), "{} {}", high(&lifted), high(&given));
}

/// A soft sky stored with 8 bits and enlarged has steps; afterwards they are smaller, and an edge is what it was.
#[test]
fn debanding_levels_steps_and_keeps_edges() {
    let ramp = |x: usize| ((100.0 + x as f32 / 12.0).floor()) / 255.0;
    let given = picture(400, 30, |_, x, _| if x < 300 { ramp(x) } else { 0.9 });
    let out = run(op("deband", "codes = 1\nradius = 0.03"), &given, 30);
    let step = |b: &Band| b.row(0, 15)[20..280].windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
    assert!(step(&out) < 0.6 * step(&given), "{} {}", step(&out), step(&given));
    assert_eq!(out.row(0, 15)[300..], given.row(0, 15)[300..]);
    assert!(out.row(0, 15)[..290].iter().zip(given.row(0, 15)).all(|(a, b)| (a - b).abs() <= 1.0 / 255.0));
}
