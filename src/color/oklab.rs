//! OKLab: lightness, green-red and blue-yellow that people see as even steps.
//!
//! Björn Ottosson, "A perceptual color space for image processing" (2020), with the matrices as revised in January 2021.

/// Encoded sRGB (nominal 0..1; any range, odd below 0) to OKLab: L 0..1, a and b about -0.4..0.4.
pub fn srgb_to_oklab(rgb: [f32; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(linear);
    let l = (0.412_221_47 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

/// The way back; what lies outside sRGB comes out below 0 or above 1.
pub fn oklab_to_srgb(lab: [f32; 3]) -> [f32; 3] {
    let [lightness, a, b] = lab;
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
    .map(encoded)
}

fn linear(v: f32) -> f32 {
    let a = v.abs();
    let light = if a <= 0.04045 { a / 12.92 } else { ((a + 0.055) / 1.055).powf(2.4) };
    light.copysign(v)
}

fn encoded(v: f32) -> f32 {
    let a = v.abs();
    let code = if a <= 0.003_130_8 { a * 12.92 } else { 1.055 * a.powf(1.0 / 2.4) - 0.055 };
    code.copysign(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_colours() {
        // CSS Color 4 gives these for red, green, blue and white.
        for (rgb, want) in [
            ([1.0, 0.0, 0.0], [0.627_96, 0.224_86, 0.125_85]),
            ([0.0, 1.0, 0.0], [0.866_44, -0.233_89, 0.179_5]),
            ([0.0, 0.0, 1.0], [0.452_01, -0.032_46, -0.311_53]),
            ([1.0, 1.0, 1.0], [1.0, 0.0, 0.0]),
        ] {
            let got = srgb_to_oklab(rgb);
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 5e-5), "{rgb:?}: {got:?}");
        }
    }

    #[test]
    fn there_and_back() {
        for i in 0..=1000 {
            let c = [i as f32 / 1000.0, (i * 37 % 1001) as f32 / 1000.0, (i * 101 % 1001) as f32 / 1000.0];
            let back = oklab_to_srgb(srgb_to_oklab(c));
            assert!(back.iter().zip(c).all(|(b, c)| (b - c).abs() < 2e-5), "{c:?}: {back:?}");
        }
    }
}
