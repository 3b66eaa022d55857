//! Import of checkpoints: what the imported networks compute, and what is refused.
//!
//! `fixtures/import` is made by models/train/make_import_fixtures.py: small networks with random weights and PyTorch's results.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

#[path = "import/eval.rs"]
mod eval;
#[path = "import/hostile.rs"]
mod hostile;

use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use eval::{Tensor, constant, run};
use lastmile::upscale::graph;
use lastmile::upscale::import::{About, Activation, Imported, Options, Precision, import, import_from, interpolate, weights::Weights};
use lastmile::upscale::model::{Halo, Kind, Manifest};
use lastmile::upscale::onnx::ModelProto;
use lastmile::upscale::receptive::{Receptive, analyse};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import")
}

fn shared() -> Option<PathBuf> {
    let dir = std::env::var_os("LASTMILE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let models = dir.join("models");
    if !models.join("original").is_dir() {
        println!("skipped: {} is not there", models.display());
        return None;
    }
    Some(models)
}

/// `NAME.input` and `NAME.output` by name, each 1 x 3 x height x width.
fn expected() -> HashMap<String, Tensor> {
    let bytes = std::fs::read(fixtures().join("expected.safetensors")).unwrap();
    let mut weights = Weights::open(Box::new(Cursor::new(bytes))).unwrap();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    names
        .into_iter()
        .map(|name| {
            let shape = [&[1], weights.shape(&name).unwrap()].concat();
            let data = weights.load(&name).unwrap();
            (name, Tensor { shape, data })
        })
        .collect()
}

fn options_for(name: &str) -> Options {
    let activation = match name {
        n if n.contains("leakyrelu") => Some(Activation::LeakyRelu),
        n if n.contains("prelu") => None,
        n if n.contains("relu") => Some(Activation::Relu),
        _ => None,
    };
    Options { activation, ..Options::default() }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape, b.shape);
    a.data.iter().zip(&b.data).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

fn about(id: &str) -> About {
    About { id: id.into(), kind: Kind::Perceptual, licence: "unknown".into(), source: String::new() }
}

#[test]
fn imported_networks_compute_what_pytorch_computes() {
    let expected = expected();
    let mut seen = 0;
    for name in expected.keys().filter_map(|k| k.strip_suffix(".output")) {
        let imported = import(&fixtures().join(name), &options_for(name)).unwrap();
        let got = run(&imported.model, expected[&format!("{name}.input")].clone());
        let want = &expected[&format!("{name}.output")];
        let size = want.data.iter().fold(1f32, |m, v| m.max(v.abs()));
        let off = largest_difference(&got, want) / size;
        assert!(off < 2e-6, "{name}: {off}");
        seen += 1;
    }
    assert_eq!(seen, 17);
}

#[test]
fn facts_are_read_from_the_weights() {
    let facts = |name: &str| {
        let f = import(&fixtures().join(name), &options_for(name)).unwrap().facts;
        (f.scale, f.features, f.blocks, f.radius_px, f.multiple_of_px)
    };
    assert_eq!(facts("rrdb-old-x4.pth"), (4, 3, 1, Some(19), 1));
    assert_eq!(facts("rrdb-old-x8.safetensors").0, 8);
    assert_eq!(facts("rrdb-old-x1.safetensors").0, 1);
    assert_eq!(facts("rrdb-middle-x4.safetensors"), (4, 2, 3, Some(49), 1));
    assert_eq!(facts("rrdb-new-x2.safetensors"), (2, 4, 1, Some(38), 2));
    assert_eq!(facts("rrdb-new-x1.safetensors"), (1, 4, 1, Some(76), 4));
    assert_eq!(facts("srvgg-x3-leakyrelu.safetensors"), (3, 4, 2, Some(4), 1));
    assert_eq!(facts("span-x2-trained.safetensors"), (2, 2, 6, Some(21), 1));
    assert_eq!(facts("rlfn-x2.pth"), (2, 4, 2, None, 1));
}

/// What the builders say about tiling is what the graph analysis finds.
#[test]
fn facts_agree_with_the_graph() {
    for name in expected().keys().filter_map(|k| k.strip_suffix(".output")) {
        let Imported { model, facts, .. } = import(&fixtures().join(name), &options_for(name)).unwrap();
        let found = analyse(&model);
        let radius = match found.receptive {
            Receptive::Radius(px) => Some(px),
            Receptive::Unbounded => None,
        };
        let fold = facts.multiple_of_px;
        // A folded picture's radius is counted from the cell by the builder, from the pixel by the analysis.
        let in_cells = |r: Option<u32>| r.map(|r| r.div_ceil(fold));
        assert!(radius == facts.radius_px || (fold > 1 && in_cells(radius) >= in_cells(facts.radius_px)), "{name}: {radius:?} {facts:?}");
        assert_eq!((found.scale, found.stride), (Some(facts.scale), if radius.is_some() { fold } else { found.stride }), "{name}");
        assert_eq!(found.multiple_of, Some(fold), "{name}");
        assert!(found.minimum == Some(facts.minimum_px) || fold > 1, "{name}: {:?} {facts:?}", found.minimum);
    }
}

/// The radius is exact: a pixel at that distance is seen, one further away is not.
#[test]
fn radius_is_the_distance_that_can_be_seen() {
    for name in ["rrdb-old-x4.pth", "rrdb-old-x2-wrapped.pth", "srvgg-x4-prelu.pth", "rrdb-new-x2.safetensors"] {
        let Imported { model, facts, .. } = import(&fixtures().join(name), &options_for(name)).unwrap();
        let (radius, scale, fold) = (facts.radius_px.unwrap() as usize, facts.scale as usize, facts.multiple_of_px as usize);
        // Every 3x3 convolution becomes "the pixel to the left, from all channels": positive, so nothing cancels, and along one
        // path, so that the furthest pixel is not lost in rounding.
        let mut model = model;
        for t in model.graph.as_mut().unwrap().initializer.iter_mut().filter(|t| t.dims.len() == 4) {
            let left = [0f32, 0., 0., 1., 0., 0., 0., 0., 0.].map(f32::to_le_bytes).concat();
            t.raw_data = left.repeat(t.raw_data.len() / left.len());
        }
        let width = (2 * radius + 4 * fold).next_multiple_of(fold);
        let height = fold;
        let flat = |bump: Option<usize>| {
            let mut t = Tensor { shape: vec![1, 3, height, width], data: vec![0.5; 3 * height * width] };
            if let Some(x) = bump {
                (0..3 * height).for_each(|row| t.data[row * width + x] = 0.9);
            }
            run(&model, t)
        };
        let before = flat(None);
        // The first core begins at `core`, a multiple of the fold; what is `radius` left of it is seen there, the next is not.
        let core = radius.next_multiple_of(fold) + fold;
        let reached = |bump: usize| {
            let after = flat(Some(bump));
            let row = |t: &Tensor| t.data[core * scale..(core + fold) * scale].to_vec();
            row(&after) != row(&before)
        };
        // In a folded picture the pixels of one cell are seen together.
        assert!(reached(core - radius), "{name}: {radius}");
        assert!(!reached(core - radius - 1), "{name}: {radius}");
    }
}

#[test]
fn manifests_are_read_back_and_say_how_to_tile() {
    let manifest = |name: &str| {
        let imported = import(&fixtures().join(name), &options_for(name)).unwrap();
        let (onnx, manifest) = imported.files(&about("mine"));
        assert_eq!(Manifest::parse("mine.toml", &manifest.to_toml()).unwrap(), manifest);
        assert_eq!(graph::decode("mine.onnx", &onnx).unwrap(), imported.model);
        assert_eq!(manifest.file, "mine.onnx");
        manifest
    };
    assert_eq!(manifest("srvgg-x4-prelu.pth").halo, Halo::Exact(4));
    let rlfn = manifest("rlfn-x2.pth");
    assert_eq!((rlfn.halo.mode(), rlfn.size.minimum), ("blend", 15));
    let folded = manifest("rrdb-new-x1.safetensors");
    assert_eq!((folded.halo, folded.size.multiple_of, folded.stride), (Halo::Exact(76), 4, 4));
}

#[test]
fn half_precision_weights_are_half_the_size_and_nearly_equal() {
    let expected = expected();
    for (name, exact) in [("rrdb-new-x4.pth", false), ("rrdb-old-x2-wrapped.pth", true), ("srvgg-x4-prelu.pth", false)] {
        let file = fixtures().join(name);
        let full = import(&file, &Options::default()).unwrap();
        let half = import(&file, &Options { precision: Precision::Fp16, ..Options::default() }).unwrap();
        let bytes = |m: &ModelProto| m.graph.as_ref().unwrap().initializer.iter().map(|t| t.raw_data.len()).sum::<usize>();
        assert!(bytes(&half.model) * 100 < bytes(&full.model) * 53, "{name}");
        // Weights that were half precision before are kept exactly.
        assert_eq!(half.rounding == 0.0, exact, "{name}: {}", half.rounding);
        assert!(half.rounding < 4.9e-4);
        let got = run(&half.model, expected[&format!("{name}.input")].clone());
        let off = largest_difference(&got, &expected[&format!("{name}.output")]);
        assert!(off < if exact { 2e-6 } else { 2e-3 }, "{name}: {off}");
    }
}

#[test]
fn interpolation_gives_both_ends_and_refuses_strangers() {
    let load = |name: &str| import(&fixtures().join(name), &options_for(name)).unwrap().model;
    let (a, mut b) = (load("srvgg-x4-prelu.pth"), load("srvgg-x4-prelu.pth"));
    for t in b.graph.as_mut().unwrap().initializer.iter_mut().filter(|t| t.name.starts_with("body.0")) {
        t.raw_data = t.raw_data.chunks(4).flat_map(|v| (3.0 * f32::from_le_bytes(v.try_into().unwrap())).to_le_bytes()).collect();
    }
    assert_eq!(interpolate(&a, &b, 0.0).unwrap(), a);
    assert_eq!(interpolate(&a, &b, 1.0).unwrap(), b);
    let middle = interpolate(&a, &b, 0.5).unwrap();
    let weight = |m: &ModelProto| constant(&m.graph.as_ref().unwrap().initializer[0]).data[0];
    assert!((weight(&middle) - 2.0 * weight(&a)).abs() < 1e-6);
    let stranger = interpolate(&a, &load("srvgg-x3-leakyrelu.safetensors"), 0.5).unwrap_err();
    assert_eq!(stranger.kind(), "model");
}

/// Every published checkpoint gives the same network as its ONNX file that was made by other means.
#[test]
fn published_checkpoints_equal_their_onnx() {
    let Some(models) = shared() else { return };
    let pairs = [
        ("realesr-animevideov3.rebuilt.pth", "realesr-animevideov3-x4.onnx", 18),
        ("realesr-general-x4v3.rebuilt-f16.safetensors", "realesr-general-x4v3.onnx", 34),
        ("rlfn_ntire_x4.pth", "rlfn-ntire-x4-psnr.onnx", 0),
        ("rlfn_s_x2.pth", "rlfn-s-x2-psnr.onnx", 0),
        ("span_ch28_slim.ntire2024-team38.pth", "span-ch28-x4-psnr.onnx", 21),
    ];
    let (height, width) = (20, 17);
    let noise = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 24) as f32;
    let picture = Tensor { shape: vec![1, 3, height, width], data: (0..3 * height * width).map(noise).collect() };
    for (checkpoint, reference, radius) in pairs {
        let imported = import(&models.join("original").join(checkpoint), &Options::default()).unwrap();
        let reference = graph::decode(reference, &std::fs::read(models.join(reference)).unwrap()).unwrap();
        let off = largest_difference(&run(&imported.model, picture.clone()), &run(&reference, picture.clone()));
        assert!(off <= 1e-6, "{checkpoint}: {off}");
        assert_eq!(imported.facts.radius_px.unwrap_or(0), radius, "{checkpoint}");
    }
}

#[test]
fn an_unknown_network_is_named_with_what_is_known() {
    let Some(models) = shared() else { return };
    let e = import(&models.join("original/fmen-x4.ntire2022-team03.pth"), &Options::default()).unwrap_err().to_string();
    assert!(e.contains("unknown") && e.contains("head.weight [50, 3, 3, 3]") && e.contains("SRVGGNetCompact"), "{e}");
}

/// Small damage anywhere gives a network or a refusal, never a panic, a hang or a large allocation.
#[test]
fn damaged_checkpoints_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for name in ["srvgg-x1-strided.pth", "srvgg-x2-relu.safetensors", "span-x4-plain.pth"] {
        let intact = std::fs::read(fixtures().join(name)).unwrap();
        // Where the structure is: the pickle or header in front, the zip directory behind.
        let front = intact.len().min(4096);
        for round in 0..1500 {
            let mut bytes = intact.clone();
            for _ in 0..1 + random(4) {
                let at = if random(4) == 0 { bytes.len() - 1 - random(2000) } else { random(front) };
                bytes[at] = match random(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => bytes[at] ^ (1 << random(8)),
                    _ => random(256) as u8,
                };
            }
            if round % 10 == 0 {
                bytes.truncate(random(bytes.len()));
            }
            let _ = import_from(Box::new(Cursor::new(bytes)), &options_for(name));
        }
    }
}

/// A safetensors file whose tensors have other names; those that become nothing are left out, those that become two appear twice.
fn renamed(file: &Path, names: &dyn Fn(&str) -> Vec<String>) -> Vec<u8> {
    let bytes = std::fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let (mut out, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, tensor) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let at = |i: usize| tensor["data_offsets"][i].as_u64().unwrap() as usize;
        for other in names(name) {
            let from = data.len();
            data.extend_from_slice(&bytes[8 + length + at(0)..8 + length + at(1)]);
            let mut tensor = tensor.clone();
            tensor["data_offsets"] = serde_json::json!([from, data.len()]);
            out.insert(other, tensor);
        }
    }
    let header = serde_json::to_vec(&out).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

#[test]
fn wrappers_around_a_network_are_taken_off() {
    let file = fixtures().join("rrdb-new-x1.safetensors");
    let plain = import(&file, &Options::default()).unwrap();
    let read = |bytes: Vec<u8>| import_from(Box::new(std::io::Cursor::new(bytes)), &Options::default());
    for prefix in ["module.", "net_g.", "model.", "net.", "params.", "state_dict.", "model.net_g."] {
        // Beside another network's weights, as trainers save both.
        let bytes = renamed(&file, &|name| vec![format!("{prefix}{name}"), format!("net_d.{name}")]);
        assert_eq!(read(bytes).unwrap_or_else(|e| panic!("{prefix}: {e:?}")).model, plain.model, "{prefix}");
    }
    // Averaged weights before raw ones, which are not whole here, to be told apart.
    for ema in ["params_ema.", "params-ema.", "net_g_ema.", "ema."] {
        let both = |name: &str| [format!("params.{name}"), format!("{ema}{name}")];
        let bytes = renamed(&file, &|name| both(name).into_iter().skip(usize::from(name.starts_with("conv_last"))).collect());
        let imported = read(bytes).unwrap();
        assert_eq!(imported.model, plain.model, "{ema}");
        let (part, others) = imported.chosen.expect("what was left out is told");
        assert!(part == ema && others > 0, "{part} {others}");
    }
}

#[test]
fn a_choice_that_a_network_does_not_have_is_refused() {
    let file = fixtures().join("rrdb-new-x1.safetensors");
    let options = Options { range: Some(lastmile::upscale::model::Range::Byte), ..Options::default() };
    assert!(import(&file, &options).unwrap_err().to_string().contains("has no choice of range"));
    let options = Options { activation: Some(Activation::Relu), ..Options::default() };
    assert!(import(&file, &options).unwrap_err().to_string().contains("has no choice of activation"));
}
