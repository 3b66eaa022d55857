//! Networks through the real runtime: rewrites, receptive fields, probing and references.
//!
//! Long because the random networks, their oracle and the cases they are compared with belong together.

#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test file

#[path = "models/net.rs"]
mod net;

use std::path::{Path, PathBuf};

use lastmile::Band;
use lastmile::error::Result;
use lastmile::upscale::Infer;
use lastmile::upscale::catalogue;
use lastmile::upscale::denoise::denoised;
use lastmile::upscale::graph::{decode, encode, for_cpu, prelu_rewrite};
use lastmile::upscale::home::Home;
use lastmile::upscale::model::{Dtype, Halo, Kind, Layout, Manifest, Range, sha256};
use lastmile::upscale::onnx::{FLOAT, FLOAT16, INT64, ModelProto, UINT8};
use lastmile::upscale::probe::probe;
use lastmile::upscale::receptive::{Receptive, analyse};
use lastmile::upscale::runtime::{self, Install, RuntimeOptions};
use lastmile::upscale::session::{self, Session, SessionOptions};
use net::{Net, int, ints, port, rrdb, text};
use proptest::prelude::*;

/// Finds, installs if need be, and loads the runtime as a user's run does.
fn start() {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let home = var("LASTMILE_HOME").map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("home"), PathBuf::from);
    let options = RuntimeOptions {
        home: Home::new(home),
        path: None,
        env_path: var("ORT_DYLIB_PATH").map(PathBuf::from),
        executable_dir: None,
        virtual_env: var("VIRTUAL_ENV").map(PathBuf::from),
        search_path: var("PATH"),
        install: if var("LASTMILE_OFFLINE").is_some_and(|v| v != "0") { Install::Offline } else { Install::Allowed },
    };
    runtime::start(&options, &mut |line| println!("{line}")).unwrap();
}

fn open(manifest: &Manifest, bytes: &[u8]) -> Result<Box<dyn Infer>> {
    let layout = match manifest.layout {
        Layout::Nchw => session::Layout::Nchw,
        Layout::Nhwc => session::Layout::Nhwc,
    };
    let (input, output) = (Some(manifest.input.clone()), Some(manifest.output.clone()));
    let options = SessionOptions { model: manifest.id.clone(), layout, input, output, ..SessionOptions::default() };
    Ok(Box::new(Session::open(bytes, &options)?))
}

fn session(bytes: &[u8]) -> Session {
    start();
    Session::open(bytes, &SessionOptions::default()).unwrap()
}

fn probed(name: &str, bytes: &[u8]) -> Result<Manifest> {
    start();
    probe(Path::new(name), bytes, &sha256(bytes), &mut open)
}

fn noise(width: usize, rows: usize, channels: usize) -> Band {
    let (mut band, mut seed) = (Band::new(0, width, rows, channels), 42u64);
    for v in &mut band.data {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *v = (seed >> 40) as f32 / (1u32 << 24) as f32;
    }
    band
}

fn difference(a: &Band, b: &Band) -> f32 {
    assert_eq!((a.width, a.rows, a.channels), (b.width, b.rows, b.channels));
    a.data.iter().zip(&b.data).map(|(p, q)| (p - q).abs()).fold(0.0, f32::max)
}

/// The shared models, if they are there.
fn shared() -> Option<PathBuf> {
    let dir = std::env::var_os("LASTMILE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let models = dir.join("models");
    if !models.is_dir() {
        println!("skipped: {} is not there", models.display());
        return None;
    }
    Some(models)
}

fn shared_models() -> Vec<(String, Vec<u8>)> {
    let Some(dir) = shared() else { return Vec::new() };
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .map(|p| (p.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&p).unwrap()))
        .collect();
    all.sort();
    all
}

/// A little-endian C-order float32 .npy file of shape (1, channels, rows, width).
fn npy(path: &Path) -> Band {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + header_len]).unwrap();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let dims: Vec<usize> = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let [1, channels, rows, width] = dims[..] else { panic!("{dims:?}") };
    let data = bytes[10 + header_len..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Band { y: 0, width, rows, channels, data }
}

fn read_png(path: &Path) -> Band {
    let mut reader = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    let mut band = Band::new(0, info.width as usize, info.height as usize, 3);
    for c in 0..3 {
        for (v, px) in band.plane_mut(c).iter_mut().zip(pixels.chunks_exact(3)) {
            *v = f32::from(px[c]) / 255.0;
        }
    }
    band
}

#[test]
fn shared_models_give_their_reference_results() {
    let Some(dir) = shared() else { return };
    let input = read_png(&dir.join("reference/input_72x56.png"));
    let mut compared = 0;
    for (name, bytes) in shared_models() {
        let reference = name.trim_end_matches("-fp16weights");
        let expected = npy(&dir.join(format!("reference/{reference}.output.npy")));
        let picture = read_png(&dir.join(format!("reference/{reference}.output.png")));
        let mut model = decode(&name, &bytes).unwrap();
        let rewrites = for_cpu(&mut model);
        for (what, bytes) in [("as shipped", bytes.clone()), ("rewritten", encode(&model))] {
            let mut out = session(&bytes).run(&input).unwrap();
            let d = difference(&out, &expected);
            assert!(d <= 1e-3, "{name} {what} {rewrites:?}: {d}");
            out.data.iter_mut().for_each(|v| *v = (v.clamp(0.0, 1.0) * 255.0).round() / 255.0);
            let levels = difference(&out, &picture) * 255.0;
            assert!(levels < 1.01, "{name} {what}: {levels} levels");
            println!("{name} {what}: {d:.1e}, {levels:.0} levels, {rewrites:?}");
        }
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} models were compared");
}

#[test]
fn shared_twins_give_every_strength_of_denoising() {
    let Some(dir) = shared() else { return };
    start();
    let home = tempfile::tempdir().unwrap();
    let home = Home::new(home.path());
    let file = dir.join("realesr-general-x4v3.onnx");
    let strong = catalogue::resolve(file.to_str().unwrap(), &home, &mut open).unwrap();
    let weak = std::fs::read(dir.join("realesr-general-wdn-x4v3.onnx")).unwrap();
    let input = read_png(&dir.join("reference/input_72x56.png"));
    let at = |strength: f32| {
        let mixed = denoised(&strong, strength, &home, &mut open).unwrap();
        assert_eq!(mixed.sha256, sha256(&mixed.bytes));
        assert_eq!((mixed.manifest.halo, mixed.manifest.scale), (strong.manifest.halo, 4));
        session(&mixed.bytes).run(&input).unwrap()
    };
    let (none, half, full) = (at(0.0), at(0.5), at(1.0));
    assert_eq!(difference(&none, &session(&weak).run(&input).unwrap()), 0.0);
    assert_eq!(difference(&full, &session(&strong.bytes).run(&input).unwrap()), 0.0);
    // The two were trained from one another: what lies between their weights is a picture between theirs.
    let apart = difference(&none, &full);
    assert!(apart > 0.02 && difference(&none, &half) < apart && difference(&half, &full) < apart, "{apart}");
    assert!(half.data.iter().all(|v| v.is_finite()));
}

#[test]
fn shared_models_are_probed_right() {
    let expected = [
        ("4xLSDIRCompactC3", 4, Halo::Exact(18), 1),
        ("fmen-x4-psnr", 4, Halo::Exact(34), 1),
        ("lastmile-start-x4", 4, Halo::Exact(11), 1),
        ("realesr-animevideov3-x4", 4, Halo::Exact(18), 1),
        ("realesr-general-wdn-x4v3", 4, Halo::Exact(34), 1),
        ("realesr-general-x4v3", 4, Halo::Exact(34), 1),
        ("realesr-general-x4v3-fp16weights", 4, Halo::Exact(34), 1),
        ("rlfn-ntire-x4-psnr", 4, Halo::Blend(0), 15),
        ("rlfn-s-x2-psnr", 2, Halo::Blend(0), 15),
        ("span-ch28-x4-psnr", 4, Halo::Exact(21), 1),
    ];
    for (name, bytes) in shared_models() {
        let m = probed(&format!("{name}.onnx"), &bytes).unwrap();
        let Some((_, scale, halo, minimum)) = expected.iter().find(|e| e.0 == name) else { panic!("{name} is not in the table") };
        assert_eq!((m.scale, m.channels, m.range, m.dtype, m.layout), (*scale, 3, Range::One, Dtype::F32, Layout::Nchw), "{name}");
        // RLFN's attention works on a grid of 6 pixels: convolution by 2, pooling by 3.
        let stride = if name.starts_with("rlfn") { 6 } else { 1 };
        assert_eq!((m.size.minimum, m.size.multiple_of, m.size.fixed, m.stride), (*minimum, 1, None, stride), "{name}");
        assert_eq!((m.halo.mode(), m.kind, m.id.as_str()), (halo.mode(), Kind::Perceptual, name.as_str()));
        match halo {
            Halo::Blend(_) => assert!(m.halo.px() >= 8 && m.halo_reason.contains("Resize to a computed size"), "{m:?}"),
            exact => assert_eq!((m.halo, m.halo_reason.as_str()), (*exact, "")),
        }
        println!("{name}: {:?} {}", m.halo, m.halo_reason);
        assert_eq!(Manifest::parse("m.toml", &m.to_toml()).unwrap(), m);
    }
}

#[test]
fn networks_for_0_to_255_are_recognised() {
    for (name, bytes) in shared_models() {
        let m = probed(&format!("{name}.onnx"), &for_bytes(&name, &bytes)).unwrap();
        assert_eq!(m.range, Range::Byte, "{name}: {m:?}");
    }
    // And without any shared file: the embedded network.
    let embedded = lastmile::upscale::model::Model::embedded_default().unwrap();
    assert_eq!(probed("m.onnx", &for_bytes("m", &embedded.bytes)).unwrap().range, Range::Byte);
    let as_is = probed("m.onnx", &embedded.bytes).unwrap();
    assert_eq!((as_is.range, as_is.halo, as_is.scale), (Range::One, embedded.manifest.halo, 4));
}

/// The same network for values of 0..255.
fn for_bytes(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut model = decode(name, bytes).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for node in &mut graph.node {
        node.input.iter_mut().filter(|i| *i == "input").for_each(|i| *i = "input_1".into());
        node.output.iter_mut().filter(|o| *o == "output").for_each(|o| *o = "output_1".into());
    }
    let mut extra = Net::new(3);
    let (small, large) = (extra.floats(&[1], &[1.0 / 255.0]), extra.floats(&[1], &[255.0]));
    let (a, b) = (extra.op("Mul", &["input", &small], vec![]), extra.op("Mul", &["output_1", &large], vec![]));
    for node in &mut extra.graph.node {
        for name in &mut node.output {
            *name = if *name == a {
                "input_1".into()
            } else {
                assert_eq!(*name, b);
                "output".into()
            };
        }
    }
    extra.graph.initializer.iter_mut().for_each(|t| t.name.insert_str(0, "range_"));
    extra.graph.node.iter_mut().for_each(|n| n.input[1].insert_str(0, "range_"));
    graph.initializer.append(&mut extra.graph.initializer);
    graph.node.insert(0, extra.graph.node.remove(0));
    graph.node.append(&mut extra.graph.node);
    encode(&model)
}

/// A network with PReLUs of the given slopes between convolutions; `kind` says what else reads the first PReLU.
fn with_prelu(slopes: &[f32], dims: &[i64], kind: &str) -> ModelProto {
    let c = 6;
    let mut net = Net::new(3);
    let x = net.conv("input", (3, c), 3);
    let slope = net.floats(dims, slopes);
    let y = net.op("PRelu", &[&x, &slope], vec![]);
    let z = net.conv(&y, (c, c), 3);
    let again = net.op("PRelu", &[&z, &slope], vec![]);
    let mut last = net.conv(&again, (c, 3), 3);
    if kind == "two convolutions" {
        let other = net.conv(&y, (c, 3), 1);
        last = net.op("Add", &[&last, &other], vec![]);
    } else if kind == "an addition" {
        let sum = net.op("Add", &[&y, &again], vec![]);
        last = net.conv(&sum, (c, 3), 3);
    }
    net.finish(&last)
}

#[test]
fn prelu_rewrites_change_nothing() {
    let cases: [(&[f32], &[i64], &str); 8] = [
        (&[0.1, -0.3, 0.0, 1.0, 0.99, -1.4], &[6, 1, 1], ""),
        (&[0.1, -0.3, 1.7, 1.0, 3.0, -1.4], &[6, 1, 1], ""),
        (&[0.1, -0.3, 1.7, 1.0, 3.0, -1.4], &[1, 6, 1, 1], "two convolutions"),
        (&[0.1, -0.3, 1.7, 1.0, 3.0, -1.4], &[6, 1, 1], "an addition"),
        (&[0.25; 6], &[6, 1, 1], "an addition"),
        (&[0.25], &[1], ""),
        (&[1.5], &[], ""),
        (&[-0.5], &[1, 1, 1], "two convolutions"),
    ];
    let picture = noise(33, 21, 3);
    for (slopes, dims, kind) in cases {
        let model = with_prelu(slopes, dims, kind);
        let mut fast = model.clone();
        assert_eq!(prelu_rewrite(&mut fast), 2);
        assert!(fast.graph.as_ref().unwrap().node.iter().all(|n| n.op_type != "PRelu"));
        let (a, b) = (session(&encode(&model)).run(&picture).unwrap(), session(&encode(&fast)).run(&picture).unwrap());
        let largest = a.data.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        let d = difference(&a, &b) / largest;
        assert!(d <= 1e-6, "{slopes:?} {dims:?} {kind}: {d}");
    }
}

#[test]
fn half_precision_networks_widen_for_the_processor() {
    let mut net = Net::new(3);
    net.graph.input = vec![port("input", FLOAT16, &[1, 3, -1, -2])];
    net.graph.output = vec![port("output", FLOAT16, &[1, 3, -1, -2])];
    let half = |net: &mut Net, dims: &[i64], bits: &[u16]| {
        let raw_data = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
        net.tensor(lastmile::upscale::onnx::TensorProto { dims: dims.to_vec(), data_type: FLOAT16, raw_data, ..Default::default() })
    };
    // 1x1 convolution that halves and swaps red and blue.
    let weight = half(&mut net, &[3, 3, 1, 1], &[0, 0, 0x3800, 0, 0x3800, 0, 0x3800, 0, 0]);
    let x = net.op("Conv", &["input", &weight], vec![]);
    let model = net.finish(&x);
    let mut wide = model.clone();
    assert!(for_cpu(&mut wide).widened);
    let picture = noise(16, 16, 3);
    let (a, b) = (session(&encode(&model)).run(&picture).unwrap(), session(&encode(&wide)).run(&picture).unwrap());
    assert!(difference(&a, &b) < 1e-3);
    assert_eq!(b.row(0, 3)[5], 0.5 * picture.row(2, 3)[5]);
    let m = probed("half.onnx", &encode(&model)).unwrap();
    assert_eq!((m.dtype, m.scale, m.halo), (Dtype::F16, 1, Halo::Exact(0)));
}

/// The radius by brute force: impulses on black, on all positions of one period in the middle. Exact where weights are
/// positive, because nothing can cancel.
fn radius_by_impulses(bytes: &[u8], side: usize, stride: usize, scale: usize) -> u32 {
    let mut session = session(bytes);
    let mut radius = 0;
    for phase in 0..stride {
        let at = side / 2 / stride * stride + phase;
        let mut picture = Band::new(0, side, side, 3);
        for c in 0..3 {
            picture.row_mut(c, at)[at] = 1.0;
        }
        let out = session.run(&picture).unwrap();
        assert_eq!(out.width, side * scale);
        for c in 0..out.channels {
            for y in 0..out.rows {
                for (x, &v) in out.row(c, y).iter().enumerate() {
                    if v != 0.0 {
                        radius = radius.max((y / scale).abs_diff(at)).max((x / scale).abs_diff(at));
                    }
                }
            }
        }
    }
    radius as u32
}

#[test]
fn deep_networks_are_measured_in_full() {
    let six = rrdb(6);
    let found = analyse(&six);
    assert_eq!((found.receptive, found.scale, found.minimum), (Receptive::Radius(94), Some(4), Some(1)), "{}", found.reason());
    assert_eq!(radius_by_impulses(&encode(&six), 200, 1, 4), 94);
    let deep = analyse(&rrdb(23));
    assert_eq!((deep.receptive, deep.scale), (Receptive::Radius(349), Some(4)));
}

/// A layer of a random network.
#[derive(Debug, Clone, Copy)]
enum Layer {
    Conv { kernel: i64, dilation: i64 },
    Down { kernel: i64 },
    MaxPool,
    AveragePool,
    PixelUnshuffle,
    PixelShuffle,
    ShuffleByReshape,
    Transposed { kernel: i64 },
    Nearest,
    Linear { pixel_centres: bool },
    Skip { kernel: i64 },
    PadThenConv,
}

fn layer() -> impl Strategy<Value = Layer> {
    prop_oneof![
        (prop::sample::select(vec![1i64, 3, 5]), 1..3i64).prop_map(|(kernel, dilation)| Layer::Conv { kernel, dilation }),
        prop::sample::select(vec![2i64, 3, 4]).prop_map(|kernel| Layer::Down { kernel }),
        Just(Layer::MaxPool),
        Just(Layer::AveragePool),
        Just(Layer::PixelUnshuffle),
        Just(Layer::PixelShuffle),
        Just(Layer::ShuffleByReshape),
        prop::sample::select(vec![2i64, 4]).prop_map(|kernel| Layer::Transposed { kernel }),
        Just(Layer::Nearest),
        any::<bool>().prop_map(|pixel_centres| Layer::Linear { pixel_centres }),
        prop::sample::select(vec![3i64, 5]).prop_map(|kernel| Layer::Skip { kernel }),
        Just(Layer::PadThenConv),
    ]
}

const C: i64 = 4;

/// By which power of two a layer changes the size.
fn growth(layer: Layer) -> i32 {
    match layer {
        Layer::Down { .. } | Layer::AveragePool | Layer::PixelUnshuffle => -1,
        Layer::PixelShuffle | Layer::ShuffleByReshape | Layer::Transposed { .. } | Layer::Nearest | Layer::Linear { .. } => 1,
        _ => 0,
    }
}

fn add(net: &mut Net, layer: Layer, x: &str) -> String {
    match layer {
        Layer::Conv { kernel, dilation } => {
            let pad = kernel / 2 * dilation;
            net.conv_with(x, (C, C), kernel, vec![ints("pads", &[pad; 4]), ints("dilations", &[dilation; 2])])
        }
        Layer::Down { kernel } => {
            let pads = if kernel == 2 { [0; 4] } else { [1; 4] };
            net.conv_with(x, (C, C), kernel, vec![ints("pads", &pads), ints("strides", &[2, 2])])
        }
        Layer::MaxPool => net.op("MaxPool", &[x], vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4])]),
        Layer::AveragePool => net.op("AveragePool", &[x], vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        Layer::PixelUnshuffle => {
            let y = net.op("SpaceToDepth", &[x], vec![int("blocksize", 2)]);
            net.conv(&y, (4 * C, C), 1)
        }
        Layer::PixelShuffle => {
            let y = net.conv(x, (C, 4 * C), 3);
            net.depth_to_space(&y, 2)
        }
        Layer::ShuffleByReshape => {
            let y = net.conv(x, (C, 4 * C), 3);
            // As exporters write it, with the size computed from the picture.
            let shape = net.op("Shape", &[&y], vec![]);
            let (two, three, four) = (net.longs(&[2]), net.longs(&[3]), net.longs(&[4]));
            let (h, w) = (net.op("Slice", &[&shape, &two, &three], vec![]), net.op("Slice", &[&shape, &three, &four], vec![]));
            let (head, twice, c) = (net.longs(&[1, C, 2, 2]), net.longs(&[2]), net.longs(&[1, C]));
            let split = net.op("Concat", &[&head, &h, &w], vec![int("axis", 0)]);
            let y = net.op("Reshape", &[&y, &split], vec![]);
            let y = net.op("Transpose", &[&y], vec![ints("perm", &[0, 1, 4, 2, 5, 3])]);
            let (h, w) = (net.op("Mul", &[&h, &twice], vec![]), net.op("Mul", &[&w, &twice], vec![]));
            let joined = net.op("Concat", &[&c, &h, &w], vec![int("axis", 0)]);
            net.op("Reshape", &[&y, &joined], vec![])
        }
        Layer::Transposed { kernel } => net.transposed(x, (C, C), kernel, 2, if kernel == 4 { 1 } else { 0 }),
        Layer::Nearest => net.resize(x, 2.0, "nearest", "asymmetric"),
        Layer::Linear { pixel_centres } => net.resize(x, 2.0, "linear", if pixel_centres { "half_pixel" } else { "asymmetric" }),
        Layer::Skip { kernel } => {
            let y = net.conv(x, (C, C), kernel);
            let z = net.op("Relu", &[x], vec![]);
            let both = net.op("Concat", &[&y, &z], vec![int("axis", 1)]);
            net.conv(&both, (2 * C, C), 1)
        }
        Layer::PadThenConv => {
            let pads = net.longs(&[0, 0, 2, 2, 0, 0, 2, 2]);
            let y = net.op("Pad", &[x, &pads], vec![text("mode", "reflect")]);
            net.conv_with(&y, (C, C), 5, vec![])
        }
    }
}

/// The network of these layers, ended so that its scale is a whole number; also its scale.
fn random_network(layers: &[Layer]) -> (ModelProto, usize) {
    let mut net = Net::new(3);
    net.ones = true;
    let mut x = net.conv("input", (3, C), 1);
    let mut log2 = 0;
    let mut all = layers.to_vec();
    all.extend([Layer::Nearest; 3]); // as many of them as are needed
    for (i, layer) in all.into_iter().enumerate() {
        let closing = i >= layers.len();
        if !(-3..=2).contains(&(log2 + growth(layer))) || (closing && log2 >= 0) {
            continue;
        }
        log2 += growth(layer);
        x = add(&mut net, layer, &x);
        // Values stay finite.
        let (low, high) = (net.floats(&[], &[0.0]), net.floats(&[], &[1.0]));
        x = net.op("Clip", &[&x, &low, &high], vec![]);
    }
    let out = net.conv(&x, (C, 3), 1);
    (net.finish(&out), 1 << log2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn receptive_fields_are_exact(layers in prop::collection::vec(layer(), 1..9)) {
        let (model, scale) = random_network(&layers);
        let found = analyse(&model);
        prop_assert_eq!(found.scale, Some(scale as u32), "{}", found.reason());
        let Receptive::Radius(radius) = found.receptive else { panic!("{}", found.reason()) };
        let (stride, multiple) = (found.stride as usize, found.multiple_of.unwrap() as usize);
        let side = (2 * radius as usize + 6 * stride).next_multiple_of(stride * multiple).max(found.minimum.unwrap() as usize);
        let bytes = encode(&model);
        prop_assert_eq!(radius_by_impulses(&bytes, side, stride, scale), radius);

        // The size rule: the smallest size runs and gives the right size, and so does the next one.
        let minimum = found.minimum.unwrap() as usize;
        for n in [minimum, minimum + multiple] {
            let out = session(&bytes).run(&noise(n, n, 3)).unwrap();
            prop_assert_eq!((out.width, out.rows), (n * scale, n * scale));
        }

        // Tiles: what lies further away than the radius, on the grid of the stride, changes nothing at all.
        let margin = (radius as usize).next_multiple_of(stride * multiple);
        let step = stride * multiple;
        let whole_side = 2 * margin + 3 * step;
        let picture = noise(whole_side.max(minimum).next_multiple_of(step), whole_side.max(minimum).next_multiple_of(step), 3);
        let mut session = session(&bytes);
        let whole = session.run(&picture).unwrap();
        let tile = {
            let n = (2 * margin + step).max(minimum).next_multiple_of(step);
            let from = step.min(picture.width - n);
            let mut t = Band::new(0, n, n, 3);
            for c in 0..3 {
                for y in 0..n {
                    t.row_mut(c, y).copy_from_slice(&picture.row(c, from + y)[from..from + n]);
                }
            }
            (from, session.run(&t).unwrap())
        };
        for c in 0..3 {
            for y in margin * scale..(margin + step) * scale {
                for x in margin * scale..(margin + step) * scale {
                    let (a, b) = (whole.row(c, tile.0 * scale + y)[tile.0 * scale + x], tile.1.row(c, y)[x]);
                    prop_assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{} and {} at {},{}", a, b, x, y);
                }
            }
        }
    }

    #[test]
    fn broken_files_never_panic(cut in 0usize..394_438, at in 0usize..394_438, value: u8) {
        let mut bytes = lastmile::upscale::model::Model::embedded_default().unwrap().bytes.into_owned();
        bytes[at] = value;
        if let Ok(mut model) = decode("x", &bytes) {
            let _ = analyse(&model);
            let _ = for_cpu(&mut model);
        }
        if let Ok(model) = decode("x", &bytes[..cut]) {
            let _ = analyse(&model);
        }
    }

    #[test]
    fn broken_headers_never_panic(changes in prop::collection::vec((0usize..4000, any::<u8>()), 1..6)) {
        // The small network: most of its bytes are structure, not weights.
        let mut net = Net::new(3);
        let x = net.conv("input", (3, 4), 3);
        let y = net.resize(&x, 2.0, "linear", "half_pixel");
        let pads = net.longs(&[0, 0, 1, 1, 0, 0, 1, 1]);
        let z = net.op("Pad", &[&y, &pads], vec![]);
        let w = net.op("MaxPool", &[&z], vec![ints("kernel_shape", &[3, 3])]);
        let mut bytes = net.bytes(&w);
        let length = bytes.len();
        for (at, value) in changes {
            bytes[at % length] = value;
        }
        if let Ok(mut model) = decode("x", &bytes) {
            let _ = analyse(&model);
            let _ = for_cpu(&mut model);
        }
    }
}

#[test]
fn what_is_not_local_is_named() {
    type Build = Box<dyn Fn(&mut Net) -> String>;
    let cases: Vec<(&str, Build)> = vec![
        (
            "GlobalAveragePool looks at the whole picture",
            Box::new(|n| {
                let x = n.conv("input", (3, 4), 3);
                let p = n.op("GlobalAveragePool", &[&x], vec![]);
                let p = n.conv(&p, (4, 4), 1);
                let y = n.op("Mul", &[&x, &p], vec![]);
                n.conv(&y, (4, 3), 3)
            }),
        ),
        (
            "ReduceMean looks at the whole picture",
            Box::new(|n| {
                let p = n.op("ReduceMean", &["input"], vec![ints("axes", &[2, 3])]);
                n.op("Sub", &["input", &p], vec![])
            }),
        ),
        (
            "InstanceNormalization takes its statistics from the whole picture",
            Box::new(|n| {
                let (a, b) = (n.floats(&[3], &[1.0; 3]), n.floats(&[3], &[0.0; 3]));
                n.op("InstanceNormalization", &["input", &a, &b], vec![])
            }),
        ),
        (
            "Reshape runs rows and columns together",
            Box::new(|n| {
                let flat = n.longs(&[1, 3, -1]);
                let x = n.op("Reshape", &["input", &flat], vec![]);
                let shape = n.op("Shape", &["input"], vec![]);
                let s = n.op("Softmax", &[&x], vec![int("axis", 2)]);
                n.op("Reshape", &[&s, &shape], vec![])
            }),
        ),
        (
            "its factor changes with the picture",
            Box::new(|n| {
                let x = n.conv_with("input", (3, 4), 3, vec![ints("strides", &[2, 2])]);
                let shape = n.op("Shape", &["input"], vec![]);
                let (two, four) = (n.longs(&[2]), n.longs(&[4]));
                let size = n.op("Slice", &[&shape, &two, &four], vec![]);
                let head = n.longs(&[1, 4]);
                let sizes = n.op("Concat", &[&head, &size], vec![int("axis", 0)]);
                let y = n.op("Resize", &[&x, "", "", &sizes], vec![text("mode", "linear")]);
                n.conv(&y, (4, 3), 3)
            }),
        ),
        ("aligned to the corners", Box::new(|n| n.resize("input", 2.0, "linear", "align_corners"))),
    ];
    for (reason, build) in cases {
        let mut net = Net::new(3);
        let last = build(&mut net);
        let bytes = net.bytes(&last);
        let found = analyse(&decode("x", &bytes).unwrap());
        assert_eq!(found.receptive, Receptive::Unbounded, "{reason}");
        assert!(found.reason().contains(reason), "expected `{reason}`, found `{}`", found.reason());
        let manifest = probed("x.onnx", &bytes).unwrap();
        assert_eq!(manifest.halo.mode(), "blend", "{reason}");
        assert!(manifest.halo_reason.contains(reason));
    }
}

#[test]
fn a_size_computed_but_of_fixed_factor_stays_exact() {
    let mut net = Net::new(3);
    net.ones = true;
    let x = net.conv("input", (3, 4), 3);
    let shape = net.op("Shape", &[&x], vec![]);
    let (two, four, twice, head) = (net.longs(&[2]), net.longs(&[4]), net.longs(&[2, 2]), net.longs(&[1, 4]));
    let size = net.op("Slice", &[&shape, &two, &four], vec![]);
    let size = net.op("Mul", &[&size, &twice], vec![]);
    let sizes = net.op("Concat", &[&head, &size], vec![int("axis", 0)]);
    let y = net.op("Resize", &[&x, "", "", &sizes], vec![text("mode", "nearest"), text("coordinate_transformation_mode", "asymmetric")]);
    let z = net.conv(&y, (4, 3), 3);
    let model = net.finish(&z);
    let found = analyse(&model);
    assert_eq!((found.receptive, found.scale, found.stride), (Receptive::Radius(2), Some(2), 1), "{}", found.reason());
    assert_eq!(radius_by_impulses(&encode(&model), 32, 1, 2), 2);
}

#[test]
fn operations_nobody_knows_are_measured() {
    // The runtime knows CumSum, the walk does not.
    let mut net = Net::new(3);
    let axis = net.tensor(lastmile::upscale::onnx::TensorProto { data_type: INT64, int64_data: vec![1], ..Default::default() });
    let x = net.conv("input", (3, 3), 3);
    let y = net.op("CumSum", &[&x, &axis], vec![]);
    let bytes = net.bytes(&y);
    let found = analyse(&decode("x", &bytes).unwrap());
    assert_eq!(found.foreign, ["CumSum"]);
    assert_eq!(found.receptive, Receptive::Unbounded);
    let m = probed("strange.onnx", &bytes).unwrap();
    assert_eq!((m.halo, m.scale, m.size.minimum, m.size.multiple_of), (Halo::Measured(8), 1, 16, 1));
    assert_eq!(m.halo_reason, "lastmile cannot follow CumSum");
}

#[test]
fn other_shapes_of_picture_networks_are_understood() {
    // Grey.
    let mut net = Net::new(1);
    let x = net.conv("input", (1, 4), 3);
    let x = net.conv(&x, (4, 4), 3);
    let x = net.depth_to_space(&x, 2);
    let grey = probed("grey.onnx", &net.bytes(&x)).unwrap();
    assert_eq!((grey.channels, grey.scale, grey.halo), (1, 2, Halo::Exact(2)));

    // Pixel by pixel (NHWC).
    let mut net = Net::new(3);
    net.graph.input = vec![port("input", FLOAT, &[1, -1, -2, 3])];
    net.graph.output = vec![port("output", FLOAT, &[1, -1, -2, 3])];
    let x = net.op("Transpose", &["input"], vec![ints("perm", &[0, 3, 1, 2])]);
    let x = net.conv(&x, (3, 12), 3);
    let x = net.depth_to_space(&x, 2);
    let x = net.op("Transpose", &[&x], vec![ints("perm", &[0, 2, 3, 1])]);
    let nhwc = probed("nhwc.onnx", &net.bytes(&x)).unwrap();
    assert_eq!((nhwc.layout, nhwc.channels, nhwc.scale, nhwc.halo), (Layout::Nhwc, 3, 2, Halo::Exact(1)));

    // A fixed size.
    let mut net = Net::new(3);
    net.graph.input = vec![port("input", FLOAT, &[1, 3, 48, 64])];
    net.graph.output = vec![port("output", FLOAT, &[1, 3, 96, 128])];
    let x = net.conv("input", (3, 12), 3);
    let x = net.depth_to_space(&x, 2);
    let fixed = probed("fixed.onnx", &net.bytes(&x)).unwrap();
    assert_eq!((fixed.size.fixed, fixed.scale, fixed.halo), (Some([64, 48]), 2, Halo::Exact(1)));

    // Pixel unshuffle first: sides and origins are even.
    let mut net = Net::new(3);
    let x = net.op("SpaceToDepth", &["input"], vec![int("blocksize", 2)]);
    let x = net.conv(&x, (12, 48), 3);
    let x = net.depth_to_space(&x, 4);
    let even = probed("even.onnx", &net.bytes(&x)).unwrap();
    assert_eq!((even.scale, even.stride, even.size.multiple_of, even.size.minimum, even.halo), (2, 2, 2, 2, Halo::Exact(3)));
}

#[test]
fn what_cannot_be_used_is_refused_with_what_was_found() {
    let conv = |channels: i64| {
        let mut net = Net::new(channels);
        let x = net.conv("input", (channels, channels), 3);
        (net, x)
    };
    let mut cases: Vec<(&str, Vec<u8>)> = vec![("the file is empty", vec![]), ("not an ONNX file", b"hello, world".to_vec())];
    let (net, x) = conv(4);
    cases.push(("its input is no picture: `input` float32 [1, 4, any, any]", net.bytes(&x)));
    let (mut net, x) = conv(3);
    net.graph.input.push(port("noise", FLOAT, &[1]));
    cases.push(("it has 2 inputs: `input` float32 [1, 3, any, any], `noise` float32 [1]", net.bytes(&x)));
    let (mut net, x) = conv(3);
    net.graph.input[0] = port("input", UINT8, &[1, 3, -1, -2]);
    cases.push(("its input `input` uint8 [1, 3, any, any] is not float32 or float16", net.bytes(&x)));
    let (mut net, x) = conv(3);
    net.graph.input[0] = port("input", FLOAT, &[1, 1000]);
    cases.push(("its input is no picture: `input` float32 [1, 1000]", net.bytes(&x)));
    let (mut net, x) = conv(3);
    net.graph.output[0] = port("output", FLOAT, &[1, 1000]);
    cases.push(("its output is no picture: `output` float32 [1, 1000]", net.bytes(&x)));
    let (mut net, x) = conv(3);
    net.graph.initializer[0].data_location = 1;
    cases.push(("its weights lie in another file", net.bytes(&x)));
    let (mut net, x) = conv(3);
    net.graph.node[0].input[0] = x.clone();
    cases.push(("its nodes form a cycle", net.bytes(&x)));
    let (net, x) = conv(3);
    let whole = net.bytes(&x);
    cases.push(("truncated", whole[..whole.len() - 5].to_vec()));
    // Smaller output, other channels, and a size that is no multiple.
    let mut net = Net::new(3);
    let x = net.conv_with("input", (3, 3), 2, vec![ints("strides", &[2, 2])]);
    cases.push(("48x48 pixels of 3 channels became 24x24 of 3", net.bytes(&x)));
    let mut net = Net::new(3);
    let x = net.conv_with("input", (3, 3), 3, vec![]);
    cases.push(("48x48 pixels of 3 channels became 46x46 of 3", net.bytes(&x)));
    let mut net = Net::new(3);
    let x = net.conv("input", (3, 1), 3);
    cases.push(("48x48 pixels of 3 channels became 48x48 of 1", net.bytes(&x)));
    for (says, bytes) in cases {
        match probed("bad.onnx", &bytes) {
            Ok(m) => panic!("`{says}` was taken: {m:?}"),
            Err(e) => {
                let message = e.to_string();
                assert!(message.contains(says) && message.contains("try: "), "expected `{says}`, found `{message}`");
                assert_eq!((e.kind(), e.exit() as u8), ("model", 2));
            }
        }
    }
}
