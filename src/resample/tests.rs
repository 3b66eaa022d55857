use super::*;
use proptest::prelude::*;

const FILTERS: [Filter; 4] = [Filter::Box, Filter::Bilinear, Filter::CatmullRom, Filter::Lanczos3];

/// Values from -0.2 to 1.3 without a pattern (a hash of the position).
fn noise(width: usize, rows: usize, channels: usize) -> Band {
    let mut b = Band::new(0, width, rows, channels);
    for (i, v) in b.data.iter_mut().enumerate() {
        let h = (i as u32).wrapping_mul(2_654_435_761) ^ 0x5bd1_e995;
        *v = (h.wrapping_mul(2_246_822_519) >> 8) as f32 / 16_777_216.0 * 1.5 - 0.2;
    }
    b
}

fn stream(resize: &mut Resize, source: &Band, step: usize) -> Band {
    let (w, h) = resize.scaler.size();
    let mut out = Band::new(0, w, h, source.channels);
    let mut at = 0;
    let mut sink = |b: Band| {
        assert_eq!(b.y, at, "rows leave in order");
        at = b.end();
        for c in 0..b.channels {
            for r in 0..b.rows {
                out.row_mut(c, b.y + r).copy_from_slice(b.row(c, r));
            }
        }
        Ok(())
    };
    for y in (0..source.rows).step_by(step) {
        resize.push(source.slice(y, (y + step).min(source.rows)), &mut sink).unwrap();
    }
    resize.finish(&mut sink).unwrap();
    assert_eq!(at, h);
    out
}

fn kernel(filter: Filter, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
    let a = x.abs();
    match filter {
        Filter::Box => f64::from(-0.5 < x && x <= 0.5),
        Filter::Bilinear => (1.0 - a).max(0.0),
        Filter::CatmullRom if a < 1.0 => 1.5 * a.powi(3) - 2.5 * a * a + 1.0,
        Filter::CatmullRom if a < 2.0 => -0.5 * a.powi(3) + 2.5 * a * a - 4.0 * a + 2.0,
        Filter::Lanczos3 if a < 3.0 => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

/// Weights over all source samples, straight from the definition, positions not rounded.
fn weights(filter: Filter, src: usize, dst: usize, from: f64, size: f64, d: usize) -> Vec<f64> {
    let step = size / dst as f64;
    let at = from + (d as f64 + 0.5) * step;
    let w: Vec<f64> = (0..src).map(|x| kernel(filter, (x as f64 + 0.5 - at) / step.max(1.0))).collect();
    let sum: f64 = w.iter().sum();
    w.iter().map(|v| v / sum).collect()
}

fn oracle(source: &Band, w: usize, h: usize, filter: Filter, crop: Crop) -> Vec<f64> {
    let mut out = Vec::new();
    let columns: Vec<_> = (0..w).map(|d| weights(filter, source.width, w, crop.x, crop.width, d)).collect();
    for c in 0..source.channels {
        for d in 0..h {
            let down = weights(filter, source.rows, h, crop.y, crop.height, d);
            for across in &columns {
                let mut sum = 0.0;
                for (y, wy) in down.iter().enumerate().filter(|(_, wy)| **wy != 0.0) {
                    sum += wy * source.row(c, y).iter().zip(across).map(|(v, wx)| f64::from(*v) * wx).sum::<f64>();
                }
                out.push(sum);
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn bands_equal_the_whole_to_the_bit(
        (sw, sh, dw, dh) in (1usize..70, 1usize..90, 1usize..80, 1usize..120),
        f in 0usize..4, clamp: bool, linear: bool, step in 1usize..40, channels in 1usize..5,
        (x, y, w, h) in (0.0f64..0.5, 0.0f64..0.5, 0.3f64..1.0, 0.3f64..1.0), cropped: bool,
    ) {
        let source = noise(sw, sh, channels);
        let (swf, shf) = (sw as f64, sh as f64);
        let crop = cropped.then(|| Crop { x: x * swf, y: y * shf, width: (w * swf).min(swf - x * swf), height: (h * shf).min(shf - y * shf) });
        let mut scaler = Scaler::new(sw, sh, dw, dh, FILTERS[f], crop).unwrap();
        if clamp {
            scaler = scaler.clamp_ringing(0.01);
        }
        let light = if linear { Light::Linear(Transfer::srgb()) } else { Light::Encoded };
        let whole = stream(&mut Resize::new(scaler.clone(), channels, light.clone()), &source, sh);
        let banded = stream(&mut Resize::new(scaler.clone(), channels, light.clone()), &source, step);
        prop_assert!(banded == whole);
        let direct = scaler.rows(&source, 0..dh).unwrap();
        for y in (0..dh).step_by(step) {
            let end = (y + step).min(dh);
            let needs = scaler.needs(y..end);
            let part = scaler.rows(&source.slice(needs.start, needs.end), y..end).unwrap();
            prop_assert!(part == direct.slice(y, end), "rows {y}..{end}");
        }
        if !linear {
            prop_assert!(direct == whole);
        }
    }

    #[test]
    fn results_follow_the_definition(
        (sw, sh, dw, dh) in (1usize..40, 1usize..40, 1usize..60, 1usize..60), f in 1usize..4,
        (x, y, w, h) in (0.0f64..0.5, 0.0f64..0.5, 0.3f64..1.0, 0.3f64..1.0),
    ) {
        let source = noise(sw, sh, 2);
        let (swf, shf) = (sw as f64, sh as f64);
        let crop = Crop { x: x * swf, y: y * shf, width: (w * swf).min(swf - x * swf), height: (h * shf).min(shf - y * shf) };
        let got = Scaler::new(sw, sh, dw, dh, FILTERS[f], Some(crop)).unwrap().rows(&source, 0..dh).unwrap();
        let want = oracle(&source, dw, dh, FILTERS[f], crop);
        for (a, b) in got.data.iter().zip(&want) {
            prop_assert!((f64::from(*a) - b).abs() < 2e-6, "{a} not {b}");
        }
    }

    #[test]
    fn clamped_rows_stay_in_the_local_range(sw in 1usize..60, dw in 1usize..60) {
        let source = noise(sw, 1, 1);
        let out = Scaler::new(sw, 1, dw, 1, Filter::Lanczos3, None).unwrap().clamp_ringing(0.0).rows(&source, 0..1).unwrap();
        let step = sw as f64 / dw as f64;
        for (d, v) in out.data.iter().enumerate() {
            let near = |x: &usize| (*x as f64 + 0.5 - (d as f64 + 0.5) * step).abs() < step.max(1.0) + 1e-6;
            let values: Vec<f32> = (0..sw).filter(near).map(|x| source.data[x]).collect();
            let (low, high) = (values.iter().fold(9.0f32, |a, b| a.min(*b)), values.iter().fold(-9.0f32, |a, b| a.max(*b)));
            prop_assert!(*v >= low - 1e-6 && *v <= high + 1e-6, "{d}: {v} outside {low}..{high}");
        }
    }
}

#[test]
fn box_averages_and_repeats() {
    let mut b = Band::new(0, 4, 2, 1);
    b.data.copy_from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let small = Scaler::new(4, 2, 2, 1, Filter::Box, None).unwrap().rows(&b, 0..1).unwrap();
    assert_eq!(small.data, [2.5, 4.5]);
    let large = Scaler::new(2, 1, 4, 2, Filter::Box, None).unwrap().rows(&small, 0..2).unwrap();
    assert_eq!(large.data, [2.5, 2.5, 4.5, 4.5, 2.5, 2.5, 4.5, 4.5]);
}

#[test]
fn same_size_is_the_same_picture() {
    let source = noise(13, 9, 3);
    for f in FILTERS {
        let out = Scaler::new(13, 9, 13, 9, f, None).unwrap().clamp_ringing(0.0).rows(&source, 0..9).unwrap();
        assert_eq!(out, source);
    }
}

/// Black strokes of 1 to 4 px on white, and the same turned by 90 degrees.
fn text() -> Band {
    let mut b = Band::new(0, 64, 64, 1);
    b.data.fill(1.0);
    for (at, wide) in [(6, 1), (14, 2), (24, 3), (36, 4)] {
        for x in at..at + wide {
            for y in 4..60 {
                b.data[y * 64 + x] = 0.0;
                b.data[x * 64 + y] = 0.0;
            }
        }
    }
    b
}

#[test]
fn enlarged_text_does_not_ring() {
    let source = text();
    let shoot = |scaler: Scaler, factor: usize| {
        let out = scaler.rows(&source, 0..64 * factor).unwrap();
        // Where all source pixels within one pixel agree, the result must agree with them.
        let mut worst = 0.0f32;
        for y in 0..64 * factor {
            for x in 0..64 * factor {
                let (sx, sy) = (x / factor, y / factor);
                let mut near = Vec::new();
                for ny in sy.saturating_sub(1)..(sy + 2).min(64) {
                    for nx in sx.saturating_sub(1)..(sx + 2).min(64) {
                        near.push(source.data[ny * 64 + nx]);
                    }
                }
                if near.iter().all(|v| *v == near[0]) {
                    worst = worst.max((out.data[y * 64 * factor + x] - near[0]).abs());
                }
            }
        }
        worst * 255.0
    };
    for factor in [2, 3, 4] {
        let scaler = Scaler::new(64, 64, 64 * factor, 64 * factor, Filter::Lanczos3, None).unwrap();
        assert!(shoot(scaler.clone(), factor) > 10.0, "the test picture must provoke ringing");
        let worst = shoot(scaler.clamp_ringing(3.0 / 255.0), factor);
        assert!(worst <= 3.01, "{worst} levels");
    }
}

#[test]
fn linear_light_keeps_the_mean_light_and_a_wide_range() {
    let mut checks = Band::new(0, 16, 16, 1);
    checks.data.iter_mut().enumerate().for_each(|(i, v)| *v = ((i / 16 + i) % 2) as f32);
    let scaler = Scaler::new(16, 16, 4, 4, Filter::Box, None).unwrap();
    let out = stream(&mut Resize::new(scaler.clone(), 1, Light::Linear(Transfer::srgb())), &checks, 3);
    // Half the light is 0.7354 in sRGB (IEC 61966-2-1).
    out.data.iter().for_each(|v| assert!((v - 0.735_357).abs() < 1e-5, "{v}"));
    let mut wide = Band::new(0, 16, 16, 1);
    wide.data.fill(2.5);
    wide.data[..128].fill(-0.7);
    let out = stream(&mut Resize::new(scaler, 1, Light::Linear(Transfer::srgb())), &wide, 5);
    assert!((out.data[0] + 0.7).abs() < 1e-5 && (out.data[15] - 2.5).abs() < 1e-5);
}

#[test]
fn bad_sizes_are_refused() {
    let crop = |x, width| Some(Crop { x, y: 0.0, width, height: 4.0 });
    assert!(Scaler::new(0, 4, 4, 4, Filter::Box, None).is_err());
    assert!(Scaler::new(4, 4, 4, 0, Filter::Box, None).is_err());
    assert!(Scaler::new(4, 4, 2, 2, Filter::Box, crop(1.0, 3.5)).is_err());
    assert!(Scaler::new(4, 4, 2, 2, Filter::Box, crop(f64::NAN, 2.0)).is_err());
    assert!(Scaler::new(4, 4, 2, 2, Filter::Box, crop(1.0, 3.0)).is_ok());
}
