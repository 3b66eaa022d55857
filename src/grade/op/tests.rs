//! What holds for every operation.

use super::*;
use crate::grade::look::{Look, Step};
use crate::grade::program::Program;

/// Each operation with parameters that do something.
fn samples() -> Vec<(&'static str, &'static str)> {
    vec![
        ("exposure", "stops = 1.5"),
        ("exposure", "stops = -2"),
        ("white_balance", "kelvin = 3200\ntint = -20"),
        ("white_balance", "kelvin = 12000\ntint = 90"),
        ("contrast", "amount = 2.5\npivot = 0.3"),
        ("contrast", "amount = 0.4"),
        ("cdl", "slope = [1.2, 1, 0.8]\noffset = [-0.05, 0, 0.02]\npower = [0.7, 1.3, 1]\nsaturation = 1.4"),
        ("cdl", "slope = 2\nsaturation = 0\nclamp = true\nspace = \"linear\""),
        ("lift_gamma_gain", "lift = [0.1, 0, -0.1]\ngamma = 1.5\ngain = [0.9, 1, 1.3]"),
        ("curves", "rgb = [[0, 0.05], [0.5, 0.6], [1, 0.95]]\nred = [[0, 0], [1, 0.9]]\nluma = [[0, 0], [0.4, 0.3], [1, 1]]"),
        ("levels", "black = 0.1\nwhite = [0.9, 1, 0.8]\ngamma = 1.2\nout_white = 0.95"),
        ("saturation", "amount = 2"),
        ("saturation", "amount = 0"),
        ("vibrance", "amount = 1"),
        ("hsl", "blue = [15, 0.5, -0.1]\norange = [-10, 1.5, 0.1]"),
        ("split_tone", "shadow_amount = 0.06\nhighlight_amount = 0.06"),
        ("channel_mixer", "red = [1, 0.3, -0.2]"),
        ("black_and_white", "red = 1"),
        ("highlight_rolloff", "start = 0.7\nwhite = 3"),
        ("gamut_compression", "limit = 1.3\nthreshold = 0.7"),
        ("gamut_compression", "limit = 3\nthreshold = 0.98\npower = 4"),
    ]
}

fn program(name: &str, keys: &str) -> Program {
    let text = format!("[[op]]\ntype = \"{name}\"\n{keys}\n");
    let look = Look::parse("test", &text, Path::new("")).unwrap();
    Program::new(&[look], 1.0).unwrap()
}

fn wide() -> Vec<[f32; 3]> {
    let steps = [-1.0, -0.2, 0.0, 1e-6, 0.003, 0.05, 0.2, 0.45, 0.5, 0.8, 0.99, 1.0, 1.5, 4.0];
    let mut all = Vec::new();
    for r in steps {
        for g in steps {
            all.extend(steps.map(|b| [r, g, b]));
        }
    }
    all
}

#[test]
fn every_operation_is_tried() {
    let tried: Vec<&str> = samples().iter().map(|(n, _)| *n).collect();
    for name in Op::NAMES {
        assert!(tried.contains(name) || *name == "lut" || Op::named(name).unwrap().spatial().is_some(), "{name} has no sample here");
    }
}

#[test]
fn defaults_change_nothing_and_are_left_out() {
    for name in Op::NAMES.iter().filter(|n| !["black_and_white", "lut"].contains(n)) {
        let op = Op::named(name).unwrap();
        assert!(op.is_noop(), "{name}");
        assert!(Program::new(&[Look::of("test", op.clone())], 1.0).unwrap().is_noop(), "{name}");
        // Not left out, it would still be the identity.
        let Some(kernel) = op.kernel().unwrap() else { continue };
        for c in wide() {
            let c = crate::grade::space::convert(c, Space::Encoded, op.space());
            let (mut r, mut g, mut b) = ([c[0]], [c[1]], [c[2]]);
            kernel.run(op.space(), &Mask::ALL, &mut Planes { r: &mut r, g: &mut g, b: &mut b });
            let got = [r[0], g[0], b[0]];
            let near = got.iter().zip(c).all(|(g, w)| (g - w).abs() <= 2e-5 * w.abs().max(1.0));
            assert!(near || *name == "highlight_rolloff", "{name}: {c:?} became {got:?}");
        }
    }
}

#[test]
fn finite_stays_finite() {
    for (name, keys) in samples() {
        let p = program(name, keys);
        for c in wide() {
            let out = p.colour(c);
            assert!(out.iter().all(|v| v.is_finite()), "{name} {keys}: {c:?} became {out:?}");
        }
    }
}

#[test]
fn strength_and_opacity_are_mixes() {
    for (name, keys) in samples() {
        let look = Look::parse("test", &format!("[[op]]\ntype = \"{name}\"\n{keys}\n"), Path::new("")).unwrap();
        assert!(Program::new(std::slice::from_ref(&look), 0.0).unwrap().is_noop());
        let (whole, half) =
            (Program::new(std::slice::from_ref(&look), 1.0).unwrap(), Program::new(std::slice::from_ref(&look), 0.5).unwrap());
        for c in [[0.2, 0.5, 0.7], [0.9, 0.1, 0.4]] {
            let (w, h) = (whole.colour(c), half.colour(c));
            for k in 0..3 {
                assert!((h[k] - (c[k] + w[k]) / 2.0).abs() < 1e-6, "{name}");
            }
        }
        let mut none = look;
        none.steps[0].place.opacity = 0.0;
        assert!(Program::new(&[none], 1.0).unwrap().is_noop());
    }
}

/// Greys of a rising ramp must not fall in luma.
#[test]
fn ramps_stay_monotone() {
    for (name, keys) in samples() {
        let p = program(name, keys);
        let ramp: Vec<f32> = (0..=2000).map(|i| i as f32 / 2000.0).collect();
        let [mut r, mut g, mut b] = [ramp.clone(), ramp.clone(), ramp];
        p.run(&mut r, &mut g, &mut b);
        let luma: Vec<f32> = (0..r.len()).map(|i| crate::grade::space::luma([r[i], g[i], b[i]])).collect();
        assert!(luma.windows(2).all(|w| w[1] >= w[0] - 2e-6), "{name} {keys}");
    }
}

#[test]
fn masks_choose_by_luma_and_hue() {
    let p = program("exposure", "stops = 1\nluma = [0.0, 0.3]\nluma_softness = 0.1");
    assert!(p.colour([0.2; 3])[0] > 0.27);
    assert!((p.colour([0.45; 3])[0] - 0.45).abs() < 1e-5);
    let half = p.colour([0.35; 3])[0];
    assert!(half > 0.36 && half < 0.48, "{half}");
    let p = program("saturation", "amount = 0\nhue = 255");
    let blue = p.colour([0.1, 0.3, 0.9]);
    assert!((blue[0] - blue[2]).abs() < 0.01, "{blue:?}");
    for c in [[0.9, 0.2, 0.1], [0.2, 0.8, 0.2], [0.5, 0.5, 0.5]] {
        assert!(p.colour(c).iter().zip(c).all(|(a, b)| (a - b).abs() < 1e-4), "{c:?}");
    }
}

#[test]
fn many_pixels_equal_one_by_one() {
    let looks: Vec<Look> = samples()
        .iter()
        .filter(|(n, k)| *n != "black_and_white" && !k.contains("amount = 0"))
        .map(|(n, k)| Look::parse("t", &format!("[[op]]\ntype = \"{n}\"\n{k}\nopacity = 0.3\n"), Path::new("")).unwrap())
        .collect();
    let p = Program::new(&looks, 0.5).unwrap();
    let pixels: Vec<[f32; 3]> =
        (0..5000).map(|i| [i as f32 / 5000.0, (i * 7 % 5000) as f32 / 5000.0, (i * 13 % 5000) as f32 / 5000.0]).collect();
    let [mut r, mut g, mut b] = [0, 1, 2].map(|k| pixels.iter().map(|p| p[k]).collect::<Vec<f32>>());
    p.run(&mut r, &mut g, &mut b);
    for (i, c) in pixels.iter().enumerate().step_by(37) {
        let one = p.colour(*c);
        for (a, b) in one.iter().zip([r[i], g[i], b[i]]) {
            assert!((a - b).abs() < 1e-6, "{c:?}");
        }
    }
}

#[test]
fn every_parameter_is_documented_and_settable() {
    for name in Op::NAMES {
        let op = Op::named(name).unwrap();
        assert!(op.about().ends_with('.'), "{name}");
        for p in op.params() {
            assert!(p.doc.ends_with('.') && !p.default.is_empty(), "{name}.{}", p.name);
        }
    }
    assert_eq!(Step::new(Op::named("exposure").unwrap()).op.name(), "exposure");
}
