//! Two trainings of one network, mixed: weights between theirs, for everything between what the two do.

use std::borrow::Cow;

use super::graph;
use super::import::interpolate;
use super::model::{Halo, Manifest, Model, sha256};
use crate::error::{Error, Result};

/// `(1 - share) * a + share * b`, weight by weight, as a model with the manifest of `a`, the id `id` and a hash of its own. It
/// lies in no file.
///
/// # Errors
/// [`Error::Model`] if the two are not the same network or take different pictures; [`Error::Usage`] for a share outside 0..1.
pub fn mixed(a: &Model, b: &Model, share: f32, id: &str) -> Result<Model> {
    let same = |m: &Manifest| (m.scale, m.channels, m.order, m.range, m.dtype, m.layout, m.size, m.stride);
    let (first, second) = (&a.manifest, &b.manifest);
    if first.scale != second.scale {
        let what = format!("it makes pictures {} times larger and `{}` {} times", first.scale, second.id, second.scale);
        return Err(Error::model(&first.id, what, "two trainings of one network"));
    }
    if same(first) != same(second) {
        let what = format!("it does not take the same pictures as `{}`", second.id);
        return Err(Error::model(&first.id, what, "`lastmile models show` of both; pull or import them the same way"));
    }
    let mix = interpolate(&graph::decode(&first.id, &a.bytes)?, &graph::decode(&second.id, &b.bytes)?, share).map_err(|e| match e {
        Error::Model { what, hint, .. } => Error::model(format!("{} and {}", first.id, second.id), what, hint),
        other => other,
    })?;
    let bytes = graph::encode(&mix);
    let sha256 = sha256(&bytes);
    let manifest = Manifest {
        id: id.into(),
        name: id.into(),
        file: format!("{id}.onnx"),
        sha256: sha256.clone(),
        halo: wider(first.halo, second.halo),
        ..first.clone()
    };
    Ok(Model { manifest, bytes: Cow::Owned(bytes), sha256, origin: a.origin.clone() })
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

    #[test]
    fn halos_are_enough_for_both() {
        assert_eq!(wider(Halo::Exact(3), Halo::Exact(5)), Halo::Exact(5));
        assert_eq!(wider(Halo::Exact(9), Halo::Measured(5)), Halo::Measured(9));
        assert_eq!(wider(Halo::Measured(90), Halo::Blend(32)), Halo::Blend(32));
    }

    #[test]
    fn different_networks_are_refused() {
        let (x4, x2) = (Model::embedded_default().unwrap(), Model::embedded("lastmile-faithful-x2").unwrap().unwrap());
        let e = mixed(&x4, &x2, 0.5, "mix").unwrap_err();
        assert!(e.to_string().contains("4 times larger and `lastmile-faithful-x2` 2 times"), "{e}");
        let mut grey = x4.clone();
        (grey.manifest.id, grey.manifest.channels) = ("grey".into(), 1);
        let e = mixed(&x4, &grey, 0.5, "mix").unwrap_err();
        assert!(e.to_string().contains("same pictures as `grey`"), "{e}");
    }
}
