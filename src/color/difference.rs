//! Colour as it is seen: CIELAB, the CIEDE2000 difference, luma.

/// White point that Lab values are relative to, CIE 1931 2 degree observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum White {
    /// Average daylight, the white of sRGB itself: no adaptation.
    D65,
    /// The white of ICC profiles and of print viewing; sRGB is adapted to it by the Bradford transform.
    D50,
}

/// Encoded sRGB (nominal 0..1; negative and larger values allowed) to CIELAB, L 0..100.
///
/// Matrices: IEC 61966-2-1 primaries; for D50 the same after Bradford adaptation, as in the ICC's sRGB profile.
pub fn srgb_to_lab(rgb: [f64; 3], white: White) -> [f64; 3] {
    let linear = rgb.map(|v| {
        let a = v.abs();
        let light = if a <= 0.04045 { a / 12.92 } else { ((a + 0.055) / 1.055).powf(2.4) };
        light.copysign(v)
    });
    let (matrix, white) = match white {
        White::D65 => (
            [[0.412_453, 0.357_580, 0.180_423], [0.212_671, 0.715_160, 0.072_169], [0.019_334, 0.119_193, 0.950_227]],
            [0.950_47, 1.0, 1.088_83],
        ),
        White::D50 => (
            [[0.436_074_7, 0.385_064_9, 0.143_080_4], [0.222_504_5, 0.716_878_6, 0.060_616_9], [0.013_932_2, 0.097_104_5, 0.714_173_3]],
            [0.964_22, 1.0, 0.825_21],
        ),
    };
    let f = |row: [f64; 3], white: f64| {
        let t = row.iter().zip(linear).map(|(m, v)| m * v).sum::<f64>() / white;
        const KNEE: f64 = 216.0 / 24389.0;
        if t > KNEE { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    };
    let [x, y, z] = [f(matrix[0], white[0]), f(matrix[1], white[1]), f(matrix[2], white[2])];
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Luma Y' of ITU-R BT.601-7 from encoded R, G, B, full range (no 16..235 scaling).
pub fn luma_601(rgb: [f32; 3]) -> f32 {
    0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
}

/// The CIEDE2000 difference of two CIELAB colours with unit weights; about 1 is just noticeable side by side.
///
/// Formula and conventions (mean hue, zero chroma): Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula:
/// Implementation Notes, Supplementary Test Data, and Mathematical Observations", Color Research & Application 30(1), 2005.
pub fn delta_e_2000(one: [f64; 3], two: [f64; 3]) -> f64 {
    let [l1, a1, b1] = one;
    let [l2, a2, b2] = two;
    let seventh = |c: f64| {
        let c7 = c.powi(7);
        (c7 / (c7 + 6_103_515_625.0)).sqrt() // 25^7
    };
    let stretch = 1.5 - 0.5 * seventh((a1.hypot(b1) + a2.hypot(b2)) / 2.0);
    let polar = |a: f64, b: f64| {
        let a = a * stretch;
        let h = if a == 0.0 && b == 0.0 { 0.0 } else { b.atan2(a).to_degrees() };
        (a.hypot(b), if h < 0.0 { h + 360.0 } else { h })
    };
    let ((c1, h1), (c2, h2)) = (polar(a1, b1), polar(a2, b2));
    let grey = c1 * c2 == 0.0;
    let dh = match h2 - h1 {
        _ if grey => 0.0,
        d if d > 180.0 => d - 360.0,
        d if d < -180.0 => d + 360.0,
        d => d,
    };
    let h = match h1 + h2 {
        s if grey => s,
        s if (h1 - h2).abs() <= 180.0 => s / 2.0,
        s if s < 360.0 => (s + 360.0) / 2.0,
        s => (s - 360.0) / 2.0,
    };
    let (l, c) = ((l1 + l2) / 2.0, (c1 + c2) / 2.0);
    let cos = |degrees: f64| degrees.to_radians().cos();
    let t = 1.0 - 0.17 * cos(h - 30.0) + 0.24 * cos(2.0 * h) + 0.32 * cos(3.0 * h + 6.0) - 0.20 * cos(4.0 * h - 63.0);
    let from_50 = (l - 50.0).powi(2);
    let dl = (l2 - l1) / (1.0 + 0.015 * from_50 / (20.0 + from_50).sqrt());
    let dc = (c2 - c1) / (1.0 + 0.045 * c);
    let dhue = 2.0 * (c1 * c2).sqrt() * (dh / 2.0).to_radians().sin() / (1.0 + 0.015 * c * t);
    let turn = -(2.0 * 30.0 * (-((h - 275.0) / 25.0).powi(2)).exp()).to_radians().sin() * 2.0 * seventh(c);
    (dl * dl + dc * dc + dhue * dhue + turn * dc * dhue).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L, a, b of both colours and their difference: table 1 of Sharma, Wu, Dalal (2005).
    const SHARMA: [[f64; 7]; 34] = [
        [50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425],
        [50.0, 3.1571, -77.2803, 50.0, 0.0, -82.7485, 2.8615],
        [50.0, 2.8361, -74.02, 50.0, 0.0, -82.7485, 3.4412],
        [50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0],
        [50.0, -1.1848, -84.8006, 50.0, 0.0, -82.7485, 1.0],
        [50.0, -0.9009, -85.5211, 50.0, 0.0, -82.7485, 1.0],
        [50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669],
        [50.0, -1.0, 2.0, 50.0, 0.0, 0.0, 2.3669],
        [50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792],
        [50.0, 2.49, -0.001, 50.0, -2.49, 0.001, 7.1792],
        [50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195],
        [50.0, 2.49, -0.001, 50.0, -2.49, 0.0012, 7.2195],
        [50.0, -0.001, 2.49, 50.0, 0.0009, -2.49, 4.8045],
        [50.0, -0.001, 2.49, 50.0, 0.001, -2.49, 4.8045],
        [50.0, -0.001, 2.49, 50.0, 0.0011, -2.49, 4.7461],
        [50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065],
        [50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492],
        [50.0, 2.5, 0.0, 61.0, -5.0, 29.0, 22.8977],
        [50.0, 2.5, 0.0, 56.0, -27.0, -3.0, 31.903],
        [50.0, 2.5, 0.0, 58.0, 24.0, 15.0, 19.4535],
        [50.0, 2.5, 0.0, 50.0, 3.1736, 0.5854, 1.0],
        [50.0, 2.5, 0.0, 50.0, 3.2972, 0.0, 1.0],
        [50.0, 2.5, 0.0, 50.0, 1.8634, 0.5757, 1.0],
        [50.0, 2.5, 0.0, 50.0, 3.2592, 0.335, 1.0],
        [60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644],
        [63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.263],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.248, -4.962, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373],
        [36.4612, 47.858, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.441, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082],
    ];

    #[test]
    fn ciede2000_matches_the_published_pairs() {
        for [l1, a1, b1, l2, a2, b2, want] in SHARMA {
            for got in [delta_e_2000([l1, a1, b1], [l2, a2, b2]), delta_e_2000([l2, a2, b2], [l1, a1, b1])] {
                assert!((got - want).abs() < 6e-5, "{l1} {a1} {b1} / {l2} {a2} {b2}: {got} not {want}");
            }
        }
    }

    #[test]
    fn lab_matches_known_colours() {
        // sRGB primaries in Lab: D65 as tabulated by CIE formulas; D50 as in the ICC profile connection space (Lindbloom).
        let near = |rgb, white, want: [f64; 3]| {
            let got = srgb_to_lab(rgb, white);
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.02), "{rgb:?} {white:?}: {got:?} not {want:?}");
        };
        near([1.0; 3], White::D65, [100.0, 0.0, 0.0]);
        near([1.0; 3], White::D50, [100.0, 0.0, 0.0]);
        near([1.0, 0.0, 0.0], White::D65, [53.24, 80.09, 67.20]);
        near([0.0, 1.0, 0.0], White::D65, [87.73, -86.18, 83.18]);
        near([0.0, 0.0, 1.0], White::D65, [32.30, 79.19, -107.86]);
        near([1.0, 0.0, 0.0], White::D50, [54.29, 80.81, 69.89]);
        near([0.0, 0.0, 1.0], White::D50, [29.57, 68.30, -112.03]);
        near([0.0; 3], White::D65, [0.0; 3]);
    }

    /// Pairs of pictures with differences made by scikit-image.
    #[test]
    fn whole_pictures_match_a_reference_implementation() {
        let Some(shared) = crate::color::tests::shared() else { return };
        let table = std::fs::read_to_string(shared.join("inspect/metrics/expected.csv")).unwrap();
        let mut lines = table.lines();
        let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
        let at = |name: &str| columns.iter().position(|c| *c == name).unwrap();
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let pixels = |name: &str| {
                let file = std::fs::File::open(shared.join("inspect/metrics").join(cells[at(name)])).unwrap();
                let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
                let mut data = vec![0; reader.output_buffer_size().unwrap()];
                let info = reader.next_frame(&mut data).unwrap();
                assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
                data.truncate(info.buffer_size());
                data.chunks_exact(3).map(|p| srgb_to_lab([p[0], p[1], p[2]].map(|v| f64::from(v) / 255.0), White::D65)).collect::<Vec<_>>()
            };
            let (one, two) = (pixels("ref"), pixels("dist"));
            let mean = one.iter().zip(&two).map(|(a, b)| delta_e_2000(*a, *b)).sum::<f64>() / one.len() as f64;
            let want: f64 = cells[at("dE00_mean")].parse().unwrap();
            assert!((mean - want).abs() < 1e-4, "{}: {mean} not {want}", cells[0]);
        }
    }

    #[test]
    fn luma_weights_sum_to_one() {
        assert!((luma_601([1.0; 3]) - 1.0).abs() < 1e-6);
        assert!((luma_601([0.0, 1.0, 0.0]) - 0.587).abs() < 1e-7);
    }
}
