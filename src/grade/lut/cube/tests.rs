use super::*;
use crate::color::tests::shared;

fn refused(text: &str) -> String {
    parse("x.cube", text).unwrap_err().to_string()
}

/// Made with OpenColorIO 2.6 (CPU, 32-bit float, tetrahedral) at the four colours below.
#[test]
fn real_files_equal_opencolorio() {
    let Some(folder) = shared() else { return };
    let colours = [[1.0, 1.0, 1.0], [0.2, 0.7, 0.4], [0.33, 0.61, 0.05], [1.7, -0.2, 2.6]];
    #[rustfmt::skip]
    let expected: &[(&str, [[f32; 3]; 4])] = &[
        ("agfa_vista_200.cube", [[0.961672, 0.956751, 0.95991], [0.212999, 0.760428, 0.524346], [0.447191, 0.679183, 0.158788], [0.832602, 0.0, 0.65368]]),
        ("channel_rotate_17.cube", [[1.0, 1.0, 1.0], [0.4, 0.2, 0.7], [0.05, 0.33, 0.61], [1.0, 1.0, 0.0]]),
        ("colour_aces_proxy_1d.cube", [[704.3, 704.3, 704.3], [0.0084812, 10.207, 0.14574], [0.0536881, 2.81188, 0.00101758], [704.3, 0.0004883, 704.3]]),
        ("colour_correct.cube", [[1.24997, 1.24997, 1.24997], [0.193977, 0.686146, 0.370645], [0.335541, 0.609741, 0.0898725], [1.0, 0.0, 1.0]]),
        ("colour_demo.cube", [[1.0, 1.0, 1.0], [0.2, 0.7, 0.4], [0.33, 0.61, 0.0500001], [1.0, 0.0, 1.13333]]),
        ("colour_eotf_srgb_3d.cube", [[1.01179, 1.02657, 1.07277], [0.0430879, 0.469535, 0.183414], [0.0941301, 0.359925, 0.0223981], [2.53716, -0.0116099, 9.21187]]),
        ("colour_rgb_1_05_025.cube", [[1.0, 0.5, 0.25], [0.2, 0.35, 0.0999998], [0.33, 0.305, 0.0125], [1.0, 0.0, 0.25]]),
        ("fuji_fp-100c_alt.cube", [[0.957398, 0.957624, 0.956867], [0.439116, 0.733387, 0.456549], [0.449801, 0.600248, 0.126916], [0.777465, 0.0, 0.595265]]),
        ("fuji_superia_200_xpro.cube", [[0.888971, 0.957844, 0.992002], [0.00526418, 0.908231, 0.866188], [0.00804907, 0.78946, 0.675155], [0.359232, 0.27956, 0.71541]]),
        ("fuji_velvia_50.cube", [[0.958583, 0.956209, 0.959195], [0.010686, 0.709392, 0.413519], [0.209093, 0.601987, 0.121532], [0.964524, 0.0, 0.737883]]),
        ("identity_2.cube", [[1.0, 1.0, 1.0], [0.2, 0.7, 0.4], [0.33, 0.61, 0.05], [1.0, 0.0, 1.0]]),
        ("identity_33.cube", [[1.0, 1.0, 1.0], [0.2, 0.7, 0.4], [0.33, 0.61, 0.05], [1.0, 0.0, 1.0]]),
        ("kodak_elite_color_200.cube", [[0.966603, 0.966375, 0.96186], [0.23853, 0.590611, 0.284991], [0.325048, 0.444449, 0.0295831], [0.937476, 0.260716, 0.848902]]),
        ("kodak_kodachrome_25.cube", [[0.96182, 0.987275, 0.987655], [0.630313, 0.747066, 0.412761], [0.625876, 0.686205, 0.320057], [1.0, 0.0695295, 0.381873]]),
        ("kodak_tri-x_400.cube", [[0.981906, 0.981906, 0.981906], [0.712181, 0.712181, 0.712181], [0.478439, 0.478439, 0.478439], [0.919764, 0.919764, 0.919764]]),
        ("lomography_redscale_100.cube", [[0.95604, 0.956887, 0.901971], [0.00642833, 0.503364, 0.264635], [0.0510954, 0.376301, 0.0785913], [0.858445, 0.32592, 0.470992]]),
        ("ocio_iridas_1d.cube", [[0.8, -2.0, 3.2], [0.48, -2.0, 0.44], [0.532, -2.0, -2.36], [0.94, -2.0, 3.2]]),
        ("ocio_iridas_3d.cube", [[1.0, 0.0, 2.0], [0.2, 0.0, 0.8], [0.33, 0.0, 0.1], [1.7, 0.0, 2.0]]),
        ("ocio_resolve_1d3d.cube", [[0.4625, 0.4625, 0.45], [0.35, 0.434375, 0.35], [0.3825, 0.425938, 0.2625], [0.578125, 0.225, 0.875]]),
        ("odd_comments_between_rows.cube", [[1.0, 1.0, 1.0], [0.2, 0.7, 0.4], [0.33, 0.61, 0.05], [1.0, 0.0, 1.0]]),
        ("odd_crlf_tabs_bom.cube", [[1.0, 1.0, 1.0], [0.14849, 0.733417, 0.348386], [0.2767, 0.63999, 0.0392715], [1.0, 0.0, 1.0]]),
        ("odd_domain_m05_15.cube", [[1.0, 1.0, 1.0], [0.2, 0.7, 0.4], [0.33, 0.61, 0.05], [1.5, -0.2, 1.5]]),
        ("odd_size_after_domain_lowercase.cube", [[1.0, 1.0, 1.0], [0.157088, 0.7213, 0.369844], [0.312463, 0.62929, 0.039272], [1.0, 0.0, 1.0]]),
        ("polaroid_px-70.cube", [[0.951267, 0.946996, 0.644283], [0.572954, 0.757284, 0.382374], [0.385952, 0.664586, 0.21516], [0.944932, 0.859659, 0.61083]]),
        ("rollei_ir_400.cube", [[0.956851, 0.956851, 0.956851], [0.907902, 0.907902, 0.907902], [0.954328, 0.954328, 0.954328], [0.0, 0.0, 0.0]]),
        ("teal_look_48.cube", [[1.0, 0.98, 0.96], [0.2392, 0.6809, 0.3822], [0.37622, 0.59207, 0.09125], [1.0, 0.0, 0.96]]),
    ];
    for (file, want) in expected {
        let lut = Lut::read(&folder.join("luts").join(file)).unwrap();
        for (c, want) in colours.into_iter().zip(want) {
            let got = lut.eval(c);
            let near = got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 2e-5 * w.abs().max(1.0));
            assert!(near, "{file} at {c:?}: {got:?} not {want:?}");
        }
    }
}

/// OpenColorIO refuses these two for their comments; the numbers are interpolated by hand from the rows.
#[test]
fn shapers_are_read() {
    let Some(folder) = shared() else { return };
    let lut = Lut::read(&folder.join("luts/resolve_3d_with_shaper.cube")).unwrap();
    let curves = lut.curves.as_ref().unwrap();
    assert_eq!((curves[0].min(), curves[0].max(), curves[0].samples().len()), (-0.1, 3.0, 10));
    assert_eq!(lut.cube.as_ref().unwrap().size(), 3);
    assert_eq!(lut.title, "LUT3D with My Shaper");
    let lut = Lut::read(&folder.join("luts/resolve_logc_video.cube")).unwrap();
    let cube = lut.cube.as_ref().unwrap();
    assert_eq!((cube.size(), lut.curves.as_ref().unwrap()[2].samples().len()), (4, 16));
    // Black meets the first row of either table.
    assert_eq!(lut.eval([0.0; 3]), cube.eval([0.0; 3]));
    assert_eq!(lut.eval([1.0 / 15.0; 3]), cube.eval([0.027_085; 3]));
}

#[test]
fn every_bad_file_is_refused_with_its_line() {
    let Some(folder) = shared() else { return };
    for (file, place, what) in [
        ("bad_empty.cube", "bad_empty.cube: ", "is empty"),
        ("bad_nan.cube", "line 3: ", "`nan` is not a finite number"),
        ("bad_no_size.cube", "line 1: ", "numbers before any size"),
        ("bad_size_1.cube", "line 1: ", "the size `1`"),
        ("bad_size_huge.cube", "line 1: ", "the size `100000`"),
        ("bad_text.cube", "line 1: ", "`hello` is neither"),
        ("bad_too_few_rows.cube", "line 58: ", "2 numbers where 3 belong"),
    ] {
        let e = Lut::read(&folder.join("luts").join(file)).unwrap_err();
        let said = e.to_string();
        assert!(said.contains(file) && said.contains(place) && said.contains(what), "{said}");
        assert_eq!(e.kind(), "usage");
    }
}

#[test]
fn what_is_wrong_is_said() {
    assert!(refused("LUT_3D_SIZE 2\nLUT_3D_SIZE 2\n").contains("line 2: LUT_3D_SIZE a second time"));
    assert!(refused("LUT_1D_SIZE 2\n0 0 0\n0 0\n").contains("line 3: 2 numbers where 3 belong"));
    assert!(refused("LUT_1D_SIZE 2\n0 0 0\n0 0 0 0\n").contains("line 3: 4 numbers where 3 belong"));
    assert!(refused("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n1 1 1\n").contains("line 4: more than the 2 rows"));
    assert!(refused("LUT_1D_SIZE 2\n0 0 0\nTITLE x\n").contains("line 3: `TITLE x` after 1 rows"));
    assert!(refused("LUT_1D_SIZE 2\nDOMAIN_MIN 0 1 0\n0 0 0\n1 1 1\n").contains("line 2: the input range runs from 1 to 1"));
    assert!(refused("LUT_1D_SIZE 2\n0 0 1e39\n1 1 1\n").contains("line 2: `1e39`"));
    assert!(refused("LUT_IN_VIDEO_RANGE\n").contains("video levels"));
    assert!(refused("LUT_1D_SIZE 2\nLUT_3D_SIZE 2\nDOMAIN_MAX 2 2 2\n0 0 0\n").contains("ends after 1 of 10 rows"));
    assert!(refused("\u{feff}").contains("empty"));
    assert!(refused("# nothing\n").contains("no LUT_1D_SIZE or LUT_3D_SIZE"));
}

/// What programs make of the same table; all of it was compared with OpenColorIO 2.6, which refuses the mark in front of
/// numbers, comments behind them and lines that end in CR alone.
#[test]
fn dialects_are_the_same_table() {
    let rows = ["0.1 0.2 0.3", "1 0 0", "0 1 0", "1 1 0", "0 0 1", "1 0 1", "0 1 1", "0.9 0.8 0.7"];
    let plain = "LUT_3D_SIZE 2\n".to_owned() + &rows.join("\n");
    let want = parse("a", &plain).unwrap().cube;
    let numbers = |f: &dyn Fn(&str) -> String| "LUT_3D_SIZE 2\n".to_owned() + &rows.map(f).join("\n");
    for other in [
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        numbers(&|r| r.replace(' ', "; ")),
        format!("\u{feff}{plain}"),
        format!("# a\nTITLE \"He said \"no\" # really\"\n{plain}\n\n  \n"),
        format!("TITLE without quotes 33\n{plain}"),
        plain.to_lowercase(),
        format!("domain_min 0 0 0\ndomain_max 1 1 1\n{plain}"),
        format!("{plain}\n").replace("1 0 0\n", "1 0 0\n# between\n\n"),
        numbers(&|r| format!("\t{}", r.replace(' ', "\t"))),
        numbers(&|r| format!("{r} # behind")),
        numbers(&|r| r.replace(' ', ", ")),
        numbers(&|r| r.split(' ').map(|v| format!("{:e} ", v.parse::<f32>().unwrap())).collect()),
        numbers(&|r| r.split(' ').map(|v| format!("+{v} ")).collect()),
    ] {
        assert_eq!(parse("b", &other).unwrap().cube, want, "{other}");
    }
    assert!(refused(&plain.replace("0.1", "0,1")).contains("a point in numbers, not a comma"));
    // Lines are counted whatever ends them.
    assert!(refused(&plain.replace("0 1 0", "0 x 0").replace('\n', "\r")).contains("line 4"));
    for (big, mark) in [(false, [0xff, 0xfe]), (true, [0xfe, 0xff])] {
        let wide = plain.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() });
        let said = Lut::parse("w.cube", &mark.into_iter().chain(wide).collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(said.contains("w.cube, line 1: its text is UTF-16") && said.contains("UTF-8"), "{said}");
    }
    let said = Lut::read(std::path::Path::new("Cargo.toml")).unwrap_err().to_string();
    assert!(said.contains("line 1"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.3dl", "b.CSP", "c.spi1d"] {
        std::fs::write(folder.path().join(name), "0 64 128\n").unwrap();
        let said = Lut::read(&folder.path().join(name)).unwrap_err().to_string();
        assert!(said.contains("only .cube files are read") && said.contains("ociobakelut"), "{said}");
    }
}

#[test]
fn what_is_written_reads_back() {
    let cube = Lut3d::from_fn(5, |[r, g, b]| [g, b * 0.5 - 0.25, r * 1.5]).unwrap();
    let curve = |k: f32| Table::from_fn(-0.5, 2.0, 7, |x| x * k).unwrap();
    let curves = [curve(0.5), curve(1.0), curve(2.0)];
    for (curves, cube) in [(None, Some(cube.clone())), (Some(curves.clone()), None), (Some(curves), Some(cube))] {
        let lut = Lut { title: "a \"b\"".into(), curves, cube, carries: true };
        let back = parse("back", &lut.to_cube().unwrap()).unwrap();
        assert!(back.title == "a  b " && back.carries);
        for c in [[0.1, 0.2, 0.9], [1.3, -0.3, 0.5], [-0.5, 2.0, 1.0]] {
            for (a, b) in lut.eval(c).into_iter().zip(back.eval(c)) {
                assert!((a - b).abs() < 1e-6);
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_fatal(text in "(LUT_[13]D_SIZE [0-9]{1,2}\\n|DOMAIN_M(IN|AX) [0-9 .-]{0,9}\\n|[-0-9. e]{0,20}\\n|.{0,9}\\n){0,12}") {
        if let Ok(lut) = parse("x", &text) {
            proptest::prop_assert!(lut.eval([0.3, 0.5, 0.9]).iter().all(|v| v.is_finite()));
        }
    }
}
