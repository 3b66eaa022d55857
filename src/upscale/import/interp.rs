//! Network interpolation: the weights of two trainings of one network, mixed (Wang et al. 2019,
//! <https://arxiv.org/abs/1811.10515>). Between a PSNR-trained and a GAN-trained network, or a strong and a weak denoiser, it
//! gives every degree in between; between two networks that do not come from one another it gives noise.

use std::borrow::Cow;
use std::collections::HashMap;

use half::f16;

use crate::error::{Error, Result};
use crate::upscale::graph::fold_casts;
use crate::upscale::onnx::{FLOAT, FLOAT16, GraphProto, ModelProto, NodeProto, TensorProto};

/// `(1 - share) * a + share * b` for every weight, `share` from 0 to 1. Graphs must be the same node for node; names may differ.
/// What is equal in both stays as it is, bit by bit.
///
/// # Errors
/// [`Error::Usage`] for a share outside 0..1; [`Error::Model`] if the two are not the same network.
pub fn interpolate(a: &ModelProto, b: &ModelProto, share: f32) -> Result<ModelProto> {
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::usage(
            "models interp",
            format!("the share of the second model is {share}; it must be 0 to 1"),
            "0.5 for the middle",
        ));
    }
    let differ = |what: String| {
        Error::model(
            "models interp",
            format!("the two are not the same network: {what}"),
            "give two trainings of one architecture and size",
        )
    };
    let nodes = |m: &ModelProto| m.graph.as_ref().map_or(0, |g| g.node.len());
    // One may hold its weights in 16 bits and convert them first.
    let (mut out, b) = if nodes(a) == nodes(b) { (a.clone(), Cow::Borrowed(b)) } else { (widened(a), Cow::Owned(widened(b))) };
    let (Some(graph), Some(other)) = (out.graph.as_mut(), b.graph.as_ref()) else {
        return Err(differ("one has no graph".into()));
    };
    let pairs = matching_names(graph, other).map_err(&differ)?;
    let theirs: HashMap<&str, &TensorProto> = other.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    for tensor in &mut graph.initializer {
        let Some(their) = pairs.get(&tensor.name).and_then(|n| theirs.get(n.as_str())) else {
            return Err(differ(format!("{} is in one of them only", tensor.name)));
        };
        if tensor.dims != their.dims || tensor.data_type != their.data_type {
            return Err(differ(format!("{} is {:?} in one and {:?} in the other", tensor.name, tensor.dims, their.dims)));
        }
        if tensor.raw_data == their.raw_data && tensor.float_data == their.float_data && tensor.int64_data == their.int64_data {
            continue;
        }
        blend(tensor, their, share).ok_or_else(|| differ(format!("{} is no table of float32 or float16 values", tensor.name)))?;
    }
    Ok(out)
}

/// The same network with its 16-bit weights in 32 bits, without the nodes that convert them.
fn widened(model: &ModelProto) -> ModelProto {
    let mut out = model.clone();
    fold_casts(&mut out);
    out
}

/// Names of `b`'s values by those of `a`, if both have the same nodes in the same order.
fn matching_names(a: &GraphProto, b: &GraphProto) -> Result<HashMap<String, String>, String> {
    if a.node.len() != b.node.len() {
        return Err(format!("{} and {} nodes", a.node.len(), b.node.len()));
    }
    let mut pairs = HashMap::new();
    let mut pair = |x: &String, y: &String| match pairs.insert(x.clone(), y.clone()) {
        Some(before) if before != *y => Err(format!("{x} goes with both {before} and {y}")),
        _ => Ok(()),
    };
    for (x, y) in a.node.iter().zip(&b.node) {
        let same = x.op_type == y.op_type && x.input.len() == y.input.len() && x.output.len() == y.output.len() && same_attributes(x, y);
        if !same {
            return Err(format!("the nodes {} ({}) and {} ({})", x.name, x.op_type, y.name, y.op_type));
        }
        x.input.iter().zip(&y.input).chain(x.output.iter().zip(&y.output)).try_for_each(|(x, y)| pair(x, y))?;
    }
    Ok(pairs)
}

fn same_attributes(x: &NodeProto, y: &NodeProto) -> bool {
    x.attribute.len() == y.attribute.len() && x.attribute.iter().all(|a| y.attr(&a.name) == Some(a))
}

/// Mixes the values of two tensors of equal type and shape; `None` if they are no floats or their data is not where it should be.
fn blend(a: &mut TensorProto, b: &TensorProto, share: f32) -> Option<()> {
    // In f64, so that a share of 0 or 1 gives back the one or the other exactly.
    let mix = |x: f32, y: f32| ((1.0 - f64::from(share)) * f64::from(x) + f64::from(share) * f64::from(y)) as f32;
    if a.data_type == FLOAT && !a.float_data.is_empty() && a.float_data.len() == b.float_data.len() {
        a.float_data.iter_mut().zip(&b.float_data).for_each(|(x, &y)| *x = mix(*x, y));
        return Some(());
    }
    if a.raw_data.len() != b.raw_data.len() || a.raw_data.is_empty() {
        return None;
    }
    match a.data_type {
        FLOAT => {
            for (x, y) in a.raw_data.chunks_exact_mut(4).zip(b.raw_data.chunks_exact(4)) {
                let v = mix(f32::from_le_bytes(x.try_into().ok()?), f32::from_le_bytes(y.try_into().ok()?));
                x.copy_from_slice(&v.to_le_bytes());
            }
        }
        FLOAT16 => {
            for (x, y) in a.raw_data.chunks_exact_mut(2).zip(b.raw_data.chunks_exact(2)) {
                let v = mix(f16::from_le_bytes([x[0], x[1]]).to_f32(), f16::from_le_bytes([y[0], y[1]]).to_f32());
                x.copy_from_slice(&f16::from_f32(v).to_le_bytes());
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(op: &str, weight: &str, values: &[f32]) -> ModelProto {
        let tensor = TensorProto {
            name: weight.into(),
            data_type: FLOAT,
            dims: vec![values.len() as i64],
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        };
        let node = NodeProto { op_type: op.into(), input: vec!["x".into(), weight.into()], output: vec!["y".into()], ..Default::default() };
        ModelProto { graph: Some(GraphProto { node: vec![node], initializer: vec![tensor], ..Default::default() }), ..Default::default() }
    }

    fn values(m: &ModelProto) -> Vec<f32> {
        m.graph.as_ref().unwrap().initializer[0].raw_data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    #[test]
    fn mixes_and_keeps_the_ends() {
        let (a, b) = (model("Mul", "w", &[0.1, 2.0]), model("Mul", "v", &[0.7, -2.0]));
        assert_eq!(values(&interpolate(&a, &b, 0.0).unwrap()), [0.1, 2.0]);
        assert_eq!(values(&interpolate(&a, &b, 1.0).unwrap()), [0.7, -2.0]);
        assert_eq!(values(&interpolate(&a, &b, 0.25).unwrap()), [0.25, 1.0]);
    }

    #[test]
    fn weights_of_16_and_of_32_bits_are_mixed() {
        let wide = model("Mul", "w", &[0.5, 2.0]);
        let mut half = model("Mul", "w", &[]);
        let graph = half.graph.as_mut().unwrap();
        let raw_data = [1.5, -2.0].into_iter().flat_map(|v| f16::from_f32(v).to_le_bytes()).collect();
        graph.initializer = vec![TensorProto { name: "w16".into(), data_type: FLOAT16, dims: vec![2], raw_data, ..Default::default() }];
        let to = crate::upscale::onnx::AttributeProto { name: "to".into(), i: FLOAT.into(), ..Default::default() };
        let cast = NodeProto {
            op_type: "Cast".into(),
            input: vec!["w16".into()],
            output: vec!["w".into()],
            attribute: vec![to],
            ..Default::default()
        };
        graph.node.insert(0, cast);
        for (a, b, mixed) in [(&wide, &half, [0.75, 1.0]), (&half, &wide, [1.25, -1.0])] {
            let out = interpolate(a, b, 0.25).unwrap();
            assert_eq!((values(&out), out.graph.as_ref().unwrap().node.len()), (mixed.to_vec(), 1));
        }
    }

    #[test]
    fn refuses_different_networks_and_shares() {
        let a = model("Mul", "w", &[0.1, 2.0]);
        let refused = |b: &ModelProto, t: f32| interpolate(&a, b, t).unwrap_err().to_string();
        assert!(refused(&model("Add", "w", &[0.1, 2.0]), 0.5).contains("Mul"));
        assert!(refused(&model("Mul", "w", &[0.1]), 0.5).contains("[2]"));
        assert!(refused(&a, 1.5).contains("0 to 1"));
        assert!(refused(&a, f32::NAN).contains("0 to 1"));
    }
}
