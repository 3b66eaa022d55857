use super::*;
use crate::color::{White, delta_e_2000, srgb_to_lab};
use crate::resample::{Filter, Scaler};
use proptest::prelude::*;

/// A picture with edges, ramps and texture; values 0..1.
fn picture(w: usize, h: usize, channels: usize) -> Band {
    let mut b = Band::new(0, w, h, channels);
    for c in 0..channels {
        for y in 0..h {
            for (x, v) in b.row_mut(c, y).iter_mut().enumerate() {
                let hash = ((x * 7919 + y * 104_729 + c * 31) as u32).wrapping_mul(2_654_435_761) >> 20;
                let edge = if (x / 9 + y / 7) % 2 == 0 { 0.25 } else { 0.0 };
                *v = 0.2 + edge + 0.3 * (x as f32 / w as f32) + 0.1 * c as f32 + hash as f32 / 4096.0 * 0.05;
            }
        }
    }
    b
}

fn enlarged(source: &Band, scale: usize) -> Band {
    let (w, h) = (source.width, source.rows);
    Scaler::new(w, h, w * scale, h * scale, Filter::CatmullRom, None).unwrap().rows(source, 0..h * scale).unwrap()
}

fn reduced(result: &Band, scale: usize) -> Band {
    let (w, h) = (result.width / scale, result.rows / scale);
    Scaler::new(result.width, result.rows, w, h, Filter::CatmullRom, None).unwrap().rows(result, 0..h).unwrap()
}

fn lock(source: &Band, result: &Band, scale: usize, step: usize) -> Band {
    let rows = source.clone();
    let feed = Box::new(move |y0, y1| rows.slice(y0, y1));
    let mut stage = ColourLock::new(source.width, source.rows, source.channels, scale, feed).unwrap();
    let mut out = Band::new(0, result.width, result.rows, result.channels);
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
    for y in (0..result.rows).step_by(step) {
        stage.push(result.slice(y, (y + step).min(result.rows)), &mut sink).unwrap();
    }
    stage.finish(&mut sink).unwrap();
    assert_eq!(at, result.rows);
    out
}

/// CIEDE2000 of every pixel between the source and the 8-bit result reduced to its size.
fn differences(source: &Band, result: &Band, scale: usize) -> Vec<f64> {
    let mut levels = result.clone();
    levels.data.iter_mut().for_each(|v| *v = (v.clamp(0.0, 1.0) * 255.0).round() / 255.0);
    let small = reduced(&levels, scale);
    let lab = |b: &Band, i: usize| srgb_to_lab([0, 1, 2].map(|c| f64::from(b.plane(c.min(b.channels - 1))[i].clamp(0.0, 1.0))), White::D65);
    (0..source.width * source.rows).map(|i| delta_e_2000(lab(source, i), lab(&small, i))).collect()
}

/// Mean over the picture and the largest mean over a block of 64 x 64 source pixels.
fn judge(source: &Band, result: &Band, scale: usize) -> (f64, f64) {
    let all = differences(source, result, scale);
    let mut worst = 0.0f64;
    for top in (0..source.rows).step_by(64) {
        for left in (0..source.width).step_by(64) {
            let rows = top..(top + 64).min(source.rows);
            let block: Vec<f64> =
                rows.flat_map(|y| all[y * source.width + left..y * source.width + (left + 64).min(source.width)].iter().copied()).collect();
            worst = worst.max(block.iter().sum::<f64>() / block.len() as f64);
        }
    }
    (all.iter().sum::<f64>() / all.len() as f64, worst)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn bands_equal_the_whole_to_the_bit(
        (w, h) in (1usize..40, 1usize..50), scale in prop::sample::select(vec![1usize, 2, 3, 4, 5, 8]),
        step in 1usize..90, grey: bool,
    ) {
        let source = picture(w, h, if grey { 1 } else { 3 });
        let mut result = enlarged(&source, scale);
        result.data.iter_mut().enumerate().for_each(|(i, v)| *v = *v * 1.1 + (i % 13) as f32 * 0.01);
        let whole = lock(&source, &result, scale, result.rows);
        let banded = lock(&source, &result, scale, step);
        prop_assert!(whole == banded);
    }
}

/// An enlargement that gives the source back when reduced: what reducing lost is added until nothing is.
fn consistent(source: &Band, scale: usize) -> Band {
    let mut result = enlarged(source, scale);
    for _ in 0..25 {
        let mut rest = source.clone();
        rest.data.iter_mut().zip(&reduced(&result, scale).data).for_each(|(s, d)| *s -= d);
        result.data.iter_mut().zip(&enlarged(&rest, scale).data).for_each(|(v, r)| *v += r);
    }
    result
}

#[test]
fn a_faithful_result_stays_as_it_is() {
    for (scale, channels) in [(2, 3), (3, 1), (4, 3), (8, 1)] {
        let source = picture(50, 41, channels);
        let result = consistent(&source, scale);
        let out = lock(&source, &result, scale, 17);
        let worst = out.data.iter().zip(&result.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.5 / 255.0, "x{scale}: {} levels", worst * 255.0);
    }
}

#[test]
fn casts_and_contrast_are_taken_back() {
    for (scale, channels) in [(2, 3), (4, 3), (4, 1)] {
        let source = picture(100, 80, channels);
        let good = consistent(&source, scale);
        let mut cast = good.clone();
        (0..channels).for_each(|c| cast.plane_mut(c).iter_mut().for_each(|v| *v += [0.03, -0.03, 0.02][c]));
        let mut harsh = good.clone();
        harsh.data.iter_mut().for_each(|v| *v = (*v - 0.5) * 1.25 + 0.5);
        for (name, wrong, most) in [("cast", cast, 0.3), ("contrast", harsh, 0.4)] {
            let before = judge(&source, &wrong, scale);
            let after = judge(&source, &lock(&source, &wrong, scale, 64), scale);
            assert!(before.0 > 1.5, "{name} x{scale}: the test must begin wrong, {before:?}");
            assert!(after.0 < most && after.1 < 0.6, "{name} x{scale}: {before:?} to {after:?}");
        }
    }
}

#[test]
fn saturated_borders_and_corners_hold() {
    let (w, h, scale) = (70, 66, 4);
    let mut source = Band::new(0, w, h, 3);
    source.data.fill(0.5);
    for y in 0..h {
        for x in 0..w {
            if x == 0 || y == 0 || x == w - 1 || y == h - 1 {
                source.row_mut(0, y)[x] = 0.8;
                source.row_mut(1, y)[x] = 0.15;
                source.row_mut(2, y)[x] = 0.2;
            }
        }
    }
    let mut result = enlarged(&source, scale);
    // A network that pales the border and darkens the rest.
    for c in 0..3 {
        result.plane_mut(c).iter_mut().for_each(|v| *v = 0.8 * *v + 0.06);
    }
    let out = lock(&source, &result, scale, 23);
    let all = differences(&source, &out, scale);
    let border: Vec<f64> = (0..w * h).filter(|i| i % w == 0 || i % w == w - 1 || i / w == 0 || i / w == h - 1).map(|i| all[i]).collect();
    let mean = border.iter().sum::<f64>() / border.len() as f64;
    assert!(mean < 0.6, "border: {mean}");
    assert!(all.iter().sum::<f64>() / (all.len() as f64) < 0.4);
    // No corner runs away.
    for i in [0, w - 1, w * (h - 1), w * h - 1] {
        assert!(all[i] < 2.0, "corner {i}: {}", all[i]);
    }
}

#[test]
fn faint_grain_that_a_network_removed_stays_removed() {
    let (w, h, scale) = (48, 48, 4);
    let mut source = Band::new(0, w, h, 3);
    source.data.fill(0.5);
    let mut clean = Band::new(0, w * scale, h * scale, 3);
    clean.data.fill(0.5);
    for i in 0..w * h {
        let grain = if (i as u32).wrapping_mul(2_654_435_761) >> 31 == 0 { 0.0015 } else { -0.0015 };
        (0..3).for_each(|c| source.plane_mut(c)[i] += grain);
    }
    let out = lock(&source, &clean, scale, 64);
    let spread = |b: &Band| b.data.iter().map(|v| (v - 0.5).abs()).sum::<f32>() / b.data.len() as f32;
    assert!(spread(&out) < 0.35 * spread(&source), "{} of {}", spread(&out), spread(&source));
}

#[test]
fn a_wide_range_survives() {
    let mut source = picture(20, 20, 3);
    source.data.iter_mut().for_each(|v| *v = *v * 4.0 - 0.5);
    let out = lock(&source, &enlarged(&source, 2), 2, 9);
    let small = reduced(&out, 2);
    let worst = small.data.iter().zip(&source.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(out.data.iter().any(|v| *v > 1.5) && out.data.iter().all(|v| v.is_finite()) && worst < 0.2, "{worst}");
}

#[test]
fn the_fast_difference_follows_ciede2000() {
    let mut ratios = Vec::new();
    for i in 0..4096u32 {
        let level = |shift: u32| 0.04 + 0.92 * ((i.wrapping_mul(2_654_435_761) >> shift) & 15) as f32 / 15.0;
        let at = [level(28), level(20), level(12)];
        let by = [0, 1, 2].map(|c| ((i >> c) % 5) as f32 * 0.002 - 0.004);
        if by.iter().all(|v| v.abs() < 1e-3) {
            continue;
        }
        let to = |v: [f32; 3]| srgb_to_lab(v.map(f64::from), White::D65);
        let want = delta_e_2000(to(at), to([0, 1, 2].map(|c| at[c] + by[c])));
        // The share is 1 - tolerance / dE: a large share's complement gives the difference back.
        let mut share = [0.0];
        shares([&at[..1], &at[1..2], &at[2..]], [&by[..1], &by[1..2], &by[2..]], 0.01, &mut share);
        ratios.push(0.01 / f64::from(1.0 - share[0]) / want);
    }
    ratios.sort_by(f64::total_cmp);
    let at = |p: usize| ratios[ratios.len() * p / 1000];
    assert!((0.9..1.1).contains(&at(500)) && at(50) > 0.75 && at(950) < 1.3, "{} {} {}", at(50), at(500), at(950));
}

/// Results of real networks on a real picture, as the models' own references hold them.
#[test]
fn every_reference_model_meets_the_criterion() {
    let Some(shared) = crate::color::tests::shared() else { return };
    let folder = shared.join("models/reference");
    let file = std::fs::File::open(folder.join("input_72x56.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    let (w, h) = (info.width as usize, info.height as usize);
    let mut source = Band::new(0, w, h, 3);
    for c in 0..3 {
        source.plane_mut(c).iter_mut().zip(data.chunks_exact(3)).for_each(|(v, p)| *v = f32::from(p[c]) / 255.0);
    }
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".output.npy") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[10..start]).into_owned();
        assert!(header.contains("<f4") && header.contains("'fortran_order': False"), "{name}: {header}");
        let values: Vec<f32> = bytes[start..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let scale = if values.len() == 3 * w * h * 4 { 2 } else { 4 };
        assert_eq!(values.len(), 3 * w * h * scale * scale, "{name}");
        let result = Band { y: 0, width: w * scale, rows: h * scale, channels: 3, data: values };
        let before = judge(&source, &result, scale);
        let after = judge(&source, &lock(&source, &result, scale, 64), scale);
        println!("{name}: {before:.3?} to {after:.3?}");
        assert!(after.0 < 0.45 && after.1 < 0.9, "{name}: {before:?} to {after:?}");
        seen += 1;
    }
    assert!(seen >= 7);
}
