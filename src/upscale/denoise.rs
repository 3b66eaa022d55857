//! How much a network denoises, where it was trained twice: once to denoise and once to leave noise alone. Mixing the weights
//! of the two gives every degree in between (see [`super::import::interpolate`]).

use std::borrow::Cow;

use super::catalogue;
use super::graph;
use super::home::Home;
use super::import::interpolate;
use super::model::{Halo, Manifest, Model, Origin, sha256};
use super::probe::Open;
use super::public;
use crate::error::{Error, Result};

/// `model` with its weights mixed with those of its weak-denoise twin: `strength` 1 is the model itself, 0 the twin. The twin
/// is the one that the catalogue names for the model's id: a registered model, or the file of that name beside the model's.
/// The result has an id and a hash of its own (`realesr-general-x4v3-denoise-0.5`) and lies in no file.
///
/// # Errors
/// [`Error::Usage`] for a strength outside 0..1 or a model without a twin; [`Error::Unavailable`] if the twin is not here;
/// [`Error::Model`] if the two are not the same network.
pub fn denoised(model: &Model, strength: f32, home: &Home, open: &mut Open<'_>) -> Result<Model> {
    if !(0.0..=1.0).contains(&strength) {
        return Err(Error::usage("--denoise", format!("{strength} is not between 0 and 1"), "--denoise 0.5"));
    }
    let id = &model.manifest.id;
    let Some(twin) = public::find(id).and_then(|p| p.weak_denoise.as_deref()) else {
        let able: Vec<_> = public::all().iter().filter(|p| p.weak_denoise.is_some()).map(|p| format!("--model {}", p.id)).collect();
        return Err(Error::usage("--denoise", format!("the model `{id}` was not trained with two strengths"), able.join(", ")));
    };
    if strength == 1.0 {
        return Ok(model.clone());
    }
    let weak = find(model, twin, home, open)?;
    let (a, b) = (graph::decode(id, &model.bytes)?, graph::decode(twin, &weak.bytes)?);
    let same = |m: &Manifest| (m.scale, m.channels, m.order, m.range, m.dtype, m.layout, m.size, m.stride);
    if same(&model.manifest) != same(&weak.manifest) {
        let what = format!("it takes other pictures than its twin `{twin}`");
        return Err(Error::model(id, what, "lastmile models show of both; pull or import them the same way"));
    }
    // The share is the second one's; in f64, so that 0.3 of one is not 0.70000005 of the other.
    let bytes = graph::encode(&interpolate(&a, &b, (1.0 - f64::from(strength)) as f32)?);
    let sha256 = sha256(&bytes);
    let id = format!("{id}-denoise-{strength}");
    let manifest = Manifest {
        name: id.clone(),
        file: format!("{id}.onnx"),
        id,
        sha256: sha256.clone(),
        halo: wider(model.manifest.halo, weak.manifest.halo),
        ..model.manifest.clone()
    };
    Ok(Model { manifest, bytes: Cow::Owned(bytes), sha256, origin: model.origin.clone() })
}

fn find(model: &Model, twin: &str, home: &Home, open: &mut Open<'_>) -> Result<Model> {
    if home.models().join(format!("{twin}.toml")).is_file() {
        return catalogue::resolve(twin, home, open);
    }
    let beside = match &model.origin {
        Origin::File(path) | Origin::Probed(path) => Some(path.with_file_name(format!("{twin}.onnx"))).filter(|p| p.is_file()),
        Origin::Embedded | Origin::Registered(_) => None,
    };
    match beside.as_deref().and_then(std::path::Path::to_str) {
        Some(path) => catalogue::resolve(path, home, open),
        None => Err(Error::unavailable(
            "--denoise",
            format!("its other half, the model `{twin}`, is not here"),
            format!("lastmile models pull {twin}"),
        )),
    }
}

/// The halo that is enough for both.
fn wider(a: Halo, b: Halo) -> Halo {
    match (a, b) {
        (Halo::Blend(x), Halo::Blend(y)) => Halo::Blend(x.max(y)),
        (Halo::Blend(x), _) | (_, Halo::Blend(x)) => Halo::Blend(x),
        (Halo::Exact(x), Halo::Exact(y)) => Halo::Exact(x.max(y)),
        _ => Halo::Measured(a.px().max(b.px())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upscale::Infer;
    use crate::upscale::catalogue::EMBEDDED;
    use std::fs;

    fn never(_: &Manifest, _: &[u8]) -> Result<Box<dyn Infer>> {
        Err(Error::Internal("a session was opened".into()))
    }

    /// The embedded network with every weight multiplied, registered under an id.
    fn register(home: &Home, id: &str, factor: f32) -> Vec<u8> {
        let mut model = graph::decode("m", EMBEDDED[0].onnx).unwrap();
        for t in &mut model.graph.as_mut().unwrap().initializer {
            if t.data_type == crate::upscale::onnx::FLOAT {
                for v in t.raw_data.chunks_exact_mut(4) {
                    let x = f32::from_le_bytes(v.try_into().unwrap()) * factor;
                    v.copy_from_slice(&x.to_le_bytes());
                }
            }
        }
        let bytes = graph::encode(&model);
        let base = Model::embedded_default().unwrap().manifest;
        let manifest = Manifest { id: id.into(), file: format!("{id}.onnx"), sha256: sha256(&bytes), ..base };
        fs::create_dir_all(home.models()).unwrap();
        fs::write(home.models().join(&manifest.file), &bytes).unwrap();
        fs::write(home.models().join(format!("{id}.toml")), manifest.to_toml()).unwrap();
        bytes
    }

    /// The first weight of the first float table.
    fn first_weight(bytes: &[u8]) -> f32 {
        let model = graph::decode("m", bytes).unwrap();
        let graph = model.graph.unwrap();
        let table = graph.initializer.iter().find(|t| t.name == "head_w").unwrap();
        f32::from_le_bytes(table.raw_data[..4].try_into().unwrap())
    }

    #[test]
    fn the_two_are_mixed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        register(&home, "realesr-general-x4v3", 1.0);
        let strong = catalogue::resolve("realesr-general-x4v3", &home, &mut never).unwrap();
        let missing = denoised(&strong, 0.5, &home, &mut never).unwrap_err();
        assert_eq!(missing.exit() as u8, 5);
        assert!(missing.to_string().contains("lastmile models pull realesr-general-wdn-x4v3"), "{missing}");

        let weak = register(&home, "realesr-general-wdn-x4v3", 3.0);
        let half = denoised(&strong, 0.5, &home, &mut never).unwrap();
        assert_eq!(half.manifest.id, "realesr-general-x4v3-denoise-0.5");
        assert_eq!((half.sha256.as_str(), half.manifest.sha256.as_str()), (sha256(&half.bytes).as_str(), half.sha256.as_str()));
        assert_ne!(half.sha256, strong.sha256);
        let (a, b) = (first_weight(&strong.bytes), first_weight(&half.bytes));
        assert!((b - 2.0 * a).abs() < 1e-6 * a.abs(), "{a} {b}");
        assert_eq!(first_weight(&denoised(&strong, 0.0, &home, &mut never).unwrap().bytes), first_weight(&weak));
        assert_eq!(denoised(&strong, 1.0, &home, &mut never).unwrap().sha256, strong.sha256);
        assert!(Manifest::parse("m.toml", &half.manifest.to_toml()).is_ok());
    }

    #[test]
    fn wrong_uses_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let plain = Model::embedded_default().unwrap();
        let e = denoised(&plain, 0.5, &home, &mut never).unwrap_err();
        assert!(e.to_string().contains("--model realesr-general-x4v3"), "{e}");
        for strength in [-0.1, 1.1, f32::NAN] {
            assert_eq!(denoised(&plain, strength, &home, &mut never).unwrap_err().kind(), "usage");
        }
    }

    #[test]
    fn halos_are_enough_for_both() {
        assert_eq!(wider(Halo::Exact(3), Halo::Exact(5)), Halo::Exact(5));
        assert_eq!(wider(Halo::Exact(9), Halo::Measured(5)), Halo::Measured(9));
        assert_eq!(wider(Halo::Measured(90), Halo::Blend(32)), Halo::Blend(32));
    }
}
