//! Networks as graphs: reading ONNX files safely and rewriting them at load time for speed on a CPU.
//!
//! Nothing here runs a network. [`decode`] refuses what cannot be used, [`for_cpu`] applies the rewrites, and
//! [`crate::upscale::receptive::analyse`] reads off what tiling needs to know. None of them panics on hostile files.
//!
//! Over 500 lines because every rewrite needs the same few graph primitives, and with its tests.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::{Component, Path};

use prost::Message;

use crate::error::{Error, Result};
use crate::upscale::onnx::{
    ATTR_FLOAT, ATTR_INT, ATTR_INTS, AttributeProto, BFLOAT16, DOUBLE, FLOAT, FLOAT16, GraphProto, INT32, INT64, ModelProto, NodeProto,
    TensorProto,
};

/// Largest number of elements of one constant that is read or rewritten (256 Mi, 1 GiB as `f32`).
const MAX_ELEMENTS: usize = 1 << 28;

const SINGLE: &str =
    "put both files side by side, or save one, in Python: onnx.save(onnx.load(\"in.onnx\"), \"out.onnx\", save_as_external_data=False)";

/// Reads an ONNX file and checks that it is one piece lastmile can work with; `name` is used in messages.
///
/// Refused as [`Error::Model`]: bytes that are not an ONNX protobuf, a file without a graph, weights kept in other files.
pub fn decode(name: impl Display, bytes: &[u8]) -> Result<ModelProto> {
    const HINT: &str = "give an ONNX file; a PyTorch or safetensors checkpoint becomes one by `lastmile models import FILE`";
    if bytes.is_empty() {
        return Err(Error::model(name, "the file is empty", HINT));
    }
    let model = ModelProto::decode(bytes).map_err(|e| {
        let what = known_other_format(bytes).map_or_else(
            || format!("not an ONNX file or a truncated one: {e} ({} bytes)", bytes.len()),
            |format| format!("not an ONNX file, this is {format}"),
        );
        Error::model(&name, what, HINT)
    })?;
    let nodes = model.graph.as_ref().map_or(0, |g| g.node.len());
    if nodes == 0 || model.opset_import.is_empty() {
        let what = known_other_format(bytes)
            .map_or_else(|| "not an ONNX file: it holds no graph".to_owned(), |format| format!("not an ONNX file, this is {format}"));
        return Err(Error::model(name, what, HINT));
    }
    if let Some(tensor) = model.graph.iter().flat_map(|g| &g.initializer).find(|t| is_external(t)) {
        let file = tensor.external_data.iter().find(|e| e.key == "location").map_or("another file", |e| e.value.as_str());
        return Err(Error::model(name, format!("its weights lie in another file (`{}` in `{file}`)", tensor.name), SINGLE));
    }
    Ok(model)
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == 1 || !tensor.external_data.is_empty()
}

/// An ONNX file with the weights that lie in files beside it (in `folder`) put into it; `bytes` itself if there are none, or if it is
/// no ONNX file, which [`decode`] tells.
///
/// # Errors
/// [`Error::Model`] for a file that is not there, lies elsewhere or is too short.
pub fn whole(name: impl Display, bytes: Vec<u8>, folder: &Path) -> Result<Vec<u8>> {
    let Ok(mut model) = ModelProto::decode(bytes.as_slice()) else { return Ok(bytes) };
    let tensors = model.graph.iter_mut().flat_map(|g| &mut g.initializer).filter(|t| is_external(t));
    let (mut files, mut moved) = (HashMap::new(), false);
    for tensor in tensors {
        let said = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| said(key).map_or(Ok(None), |v| v.parse::<usize>().map(Some));
        let file = said("location").unwrap_or_default().to_owned();
        let refuse = |what: String| Error::model(&name, format!("the weights `{}` lie in `{file}`, {what}", tensor.name), SINGLE);
        // A model from elsewhere must not name any file on this machine.
        let mut parts = Path::new(&file).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(refuse("which is no file beside it".into()));
        }
        let data = match files.entry(file.clone()) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(e) => e.insert(std::fs::read(folder.join(&file)).map_err(|e| refuse(format!("which cannot be read: {e}")))?),
        };
        let (Ok(at), Ok(len)) = (number("offset"), number("length")) else { return Err(refuse("at a place that is no number".into())) };
        let at = at.unwrap_or(0);
        let end = len.map_or(Some(data.len()), |n| at.checked_add(n));
        let Some(values) = end.and_then(|end| data.get(at..end)) else { return Err(refuse("which is cut off".into())) };
        tensor.raw_data = values.to_vec();
        tensor.data_location = 0;
        tensor.external_data.clear();
        moved = true;
    }
    Ok(if moved { encode(&model) } else { bytes })
}

/// The model as bytes of an ONNX file.
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Formats that people mistake for ONNX, by their first bytes.
fn known_other_format(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(b"PK\x03\x04") {
        Some("a zip archive (a PyTorch checkpoint?)")
    } else if starts(b"\x80\x02") || starts(b"\x80\x04") {
        Some("a Python pickle (a PyTorch checkpoint?)")
    } else if starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"RIFF") {
        Some("a picture")
    } else if starts(b"7767517") {
        Some("an ncnn parameter file")
    } else if bytes.get(8) == Some(&b'{') {
        Some("a safetensors file")
    } else if starts(b"<") || starts(b"version https://git-lfs") {
        Some("a text (a web page or a Git LFS pointer instead of the file?)")
    } else {
        None
    }
}

/// What [`for_cpu`] changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rewrites {
    /// Cast nodes on constants that became plain `f32` constants.
    pub casts: usize,
    /// Whether a half-precision network became an `f32` one.
    pub widened: bool,
    /// PReLU nodes replaced.
    pub prelus: usize,
}

/// Applies every rewrite that makes a network faster on a CPU and leaves its results alone (to `f32` rounding).
///
/// Half-precision networks run 1.35 to 1.8 times slower than `f32` there, so they are widened: inputs and outputs become
/// `f32` too.
pub fn for_cpu(model: &mut ModelProto) -> Rewrites {
    constants_are_no_inputs(model);
    let casts = fold_casts(model);
    let widened = widen(model);
    let prelus = prelu_rewrite(model);
    Rewrites { casts, widened, prelus }
}

/// Old files list every constant among the inputs too, which keeps ONNX Runtime from folding it: takes them out there.
fn constants_are_no_inputs(model: &mut ModelProto) {
    let Some(graph) = model.graph.as_mut() else { return };
    let constants: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let before = graph.input.len();
    graph.input.retain(|i| !constants.contains(i.name.as_str()));
    if graph.input.len() < before {
        model.ir_version = model.ir_version.max(4); // since IR 4 a constant need not be an input
    }
}

/// Replaces `Cast` nodes to `f32` on constants by `f32` constants; returns how many.
///
/// Files with half-precision weights and `f32` arithmetic look like that. ONNX Runtime folds them as well, but only after
/// the other rewrites here would have had to see the values.
pub fn fold_casts(model: &mut ModelProto) -> usize {
    let Some(graph) = model.graph.as_mut() else { return 0 };
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut folded: Vec<TensorProto> = Vec::new();
    let mut gone = vec![false; graph.node.len()];
    for (node, gone) in graph.node.iter().zip(&mut gone) {
        let to_f32 = node.op_type == "Cast" && node.domain.is_empty() && node.int("to") == Some(i64::from(FLOAT));
        let (true, [from], [to]) = (to_f32, node.input.as_slice(), node.output.as_slice()) else { continue };
        let Some(constant) = constants.get(from.as_str()) else { continue };
        if let Some(values) = floats(constant) {
            folded.push(constant_f32(to, &constant.dims, &values));
            *gone = true;
        }
    }
    let count = folded.len();
    if count > 0 {
        graph.initializer.extend(folded);
        remove_nodes(graph, &gone);
        drop_unused_constants(graph);
    }
    count
}

/// Turns a network that computes in half precision into one that computes in `f32`; returns whether there was one.
///
/// Left alone are graphs with sub-graphs or model-local functions, whose types cannot be changed from outside.
pub fn widen(model: &mut ModelProto) -> bool {
    let has_parts = !model.functions.is_empty();
    let Some(graph) = model.graph.as_mut() else { return false };
    let nested = graph.node.iter().any(|n| n.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty()));
    let half_io = graph.input.iter().chain(&graph.output).any(|v| elem_type(v) == Some(FLOAT16));
    let half_inside = graph.initializer.iter().any(|t| t.data_type == FLOAT16)
        || graph.node.iter().any(|n| n.op_type == "Cast" && n.int("to") == Some(i64::from(FLOAT16)));
    if has_parts || nested || !(half_io || half_inside) {
        return false;
    }
    if graph.initializer.iter().any(|t| t.data_type == FLOAT16 && floats(t).is_none()) {
        return false;
    }
    for tensor in &mut graph.initializer {
        widen_tensor(tensor);
    }
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            let type_of_result = matches!(attribute.name.as_str(), "to" | "dtype") && attribute.i == i64::from(FLOAT16);
            if type_of_result {
                attribute.i = i64::from(FLOAT);
            }
            if let Some(tensor) = attribute.t.as_mut() {
                widen_tensor(tensor);
            }
        }
    }
    for value in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        if let Some(tensor) = value.r#type.as_mut().and_then(|t| t.tensor_type.as_mut())
            && tensor.elem_type == FLOAT16
        {
            tensor.elem_type = FLOAT;
        }
    }
    true
}

fn widen_tensor(tensor: &mut TensorProto) {
    if tensor.data_type == FLOAT16
        && let Some(values) = floats(tensor)
    {
        *tensor = constant_f32(&tensor.name, &tensor.dims, &values);
    }
}

/// Element type of a graph input or output.
pub(crate) fn elem_type(value: &crate::upscale::onnx::ValueInfoProto) -> Option<i32> {
    value.r#type.as_ref()?.tensor_type.as_ref().map(|t| t.elem_type)
}

/// Replaces PReLU by operations that keep ONNX Runtime's blocked CPU layout; returns how many nodes were replaced.
///
/// `PRelu(x; a) = a*x + (1-a)*max(x, 0)` for every real `a` (so the rewrite is exact up to `f32` rounding, about 1e-7 of
/// the values). Three forms, the fastest that applies:
/// * one slope for all channels: `LeakyRelu`;
/// * all `a <= 1`: `Relu(Conv(x; 1-a)) + Conv(x; a)` with depthwise 1x1 convolutions, both of which ONNX Runtime fuses with
///   what follows them. Channels with `a > 1` are computed with the opposite sign (`-y = -a*x + Relu((a-1)*x)`) if every
///   consumer is an ordinary convolution, whose weights for that channel change sign too;
/// * otherwise `Conv(Relu(x); 1-a) + Conv(x; a)`.
///
/// Slopes must be constant, finite and per channel (`[C,1,1]` or `[1,C,1,1]`) on 4-D data; other nodes are left alone.
pub fn prelu_rewrite(model: &mut ModelProto) -> usize {
    let Some(graph) = model.graph.as_mut() else { return 0 };
    let mut count = 0;
    let mut at = 0;
    while at < graph.node.len() {
        match prelu_form(graph, at) {
            Some(form) => {
                let nodes = prelu_nodes(graph, at, count, form);
                let added = nodes.len();
                graph.node.splice(at..=at, nodes);
                at += added;
                count += 1;
            }
            None => at += 1,
        }
    }
    if count > 0 {
        drop_unused_constants(graph);
    }
    count
}

/// How one PReLU is written.
enum PreluForm {
    Leaky(f32),
    /// Slopes, and for each channel whether it is computed with the opposite sign.
    Fused(Vec<f32>, Vec<bool>),
    Plain(Vec<f32>),
}

fn prelu_form(graph: &GraphProto, at: usize) -> Option<PreluForm> {
    let node = &graph.node[at];
    if node.op_type != "PRelu" || !node.domain.is_empty() || node.input.len() != 2 || node.output.len() != 1 {
        return None;
    }
    let slope = constant(graph, &node.input[1]).filter(|t| t.data_type == FLOAT)?;
    let slopes = floats(slope)?;
    let (&first, finite) = (slopes.first()?, slopes.iter().all(|a| a.is_finite()));
    if !finite {
        return None;
    }
    // Per channel, or the same number wherever it is broadcast to. Equal slopes need no shape at all.
    if slopes.iter().all(|&a| a == first) && slope.dims.len() <= 4 {
        return Some(PreluForm::Leaky(first));
    }
    let per_channel = matches!(slope.dims.as_slice(), [_, 1, 1] | [1, _, 1, 1]);
    if !per_channel || !is_4d(graph, at) {
        return None;
    }
    let flipped: Vec<bool> = slopes.iter().map(|&a| a > 1.0).collect();
    if flipped.contains(&true) && !all_consumers_are_convolutions(graph, &node.output[0], slopes.len()) {
        return Some(PreluForm::Plain(slopes));
    }
    Some(PreluForm::Fused(slopes, flipped))
}

fn prelu_nodes(graph: &mut GraphProto, at: usize, index: usize, form: PreluForm) -> Vec<NodeProto> {
    let (x, y) = (graph.node[at].input[0].clone(), graph.node[at].output[0].clone());
    let name = |part: &str| format!("lastmile/prelu{index}/{part}");
    let depthwise = |graph: &mut GraphProto, part: &str, from: &str, weights: Vec<f32>| {
        let channels = weights.len() as i64;
        graph.initializer.push(constant_f32(&name(&format!("{part}_weight")), &[channels, 1, 1, 1], &weights));
        let attributes = vec![ints_attr("kernel_shape", &[1, 1]), int_attr("group", channels)];
        new_node("Conv", &[from, &name(&format!("{part}_weight"))], &name(part), attributes)
    };
    match form {
        PreluForm::Leaky(alpha) => {
            let attribute = AttributeProto { name: "alpha".into(), f: alpha, r#type: ATTR_FLOAT, ..AttributeProto::default() };
            vec![new_node("LeakyRelu", &[&x], &y, vec![attribute])]
        }
        PreluForm::Fused(slopes, flipped) => {
            let sign = |c: usize| if flipped[c] { -1.0 } else { 1.0 };
            let linear = slopes.iter().enumerate().map(|(c, a)| sign(c) * a).collect();
            let bent = slopes.iter().map(|a| (1.0 - a).abs()).collect();
            if flipped.contains(&true) {
                flip_consumers(graph, &y, index, &flipped);
            }
            vec![
                depthwise(graph, "bent", &x, bent),
                new_node("Relu", &[&name("bent")], &name("relu"), vec![]),
                depthwise(graph, "linear", &x, linear),
                new_node("Add", &[&name("linear"), &name("relu")], &y, vec![]),
            ]
        }
        PreluForm::Plain(slopes) => {
            let rest = slopes.iter().map(|a| 1.0 - a).collect();
            vec![
                new_node("Relu", &[&x], &name("relu"), vec![]),
                depthwise(graph, "bent", &name("relu"), rest),
                depthwise(graph, "linear", &x, slopes),
                new_node("Add", &[&name("linear"), &name("bent")], &y, vec![]),
            ]
        }
    }
}

/// Whether the data a node works on is known to be 4-D: it comes, through operations that keep the rank, out of a 2-D convolution.
fn is_4d(graph: &GraphProto, at: usize) -> bool {
    let mut wanted = graph.node[at].input[0].as_str();
    for _ in 0..64 {
        let Some(node) = graph.node.iter().find(|n| n.output.iter().any(|o| o == wanted)) else { return false };
        match node.op_type.as_str() {
            "Conv" | "ConvTranspose" => return node.input.get(1).and_then(|w| constant(graph, w)).is_some_and(|w| w.dims.len() == 4),
            "DepthToSpace" | "SpaceToDepth" => return true,
            "Relu" | "LeakyRelu" | "PRelu" | "Sigmoid" | "BatchNormalization" | "MaxPool" | "AveragePool" => {}
            // The first operand of an addition decides only if the other one has no higher rank; convolutions bound both to 4.
            "Add" => {}
            _ => return false,
        }
        let Some(next) = node.input.first() else { return false };
        wanted = next;
    }
    false
}

fn consumers<'a>(graph: &'a GraphProto, value: &'a str) -> impl Iterator<Item = (usize, &'a NodeProto)> + 'a {
    graph.node.iter().enumerate().filter(move |(_, n)| n.input.iter().any(|i| i == value))
}

fn all_consumers_are_convolutions(graph: &GraphProto, value: &str, channels: usize) -> bool {
    let plain = |node: &NodeProto| {
        let weights = node.input.get(1).and_then(|w| constant(graph, w));
        node.op_type == "Conv"
            && node.domain.is_empty()
            && node.int("group").unwrap_or(1) == 1
            && node.input.iter().filter(|i| *i == value).count() == 1
            && node.input[0] == value
            && weights.is_some_and(|w| w.data_type == FLOAT && w.dims.len() == 4 && w.dims[1] == channels as i64 && floats(w).is_some())
    };
    !graph.output.iter().any(|o| o.name == value)
        && consumers(graph, value).all(|(_, n)| plain(n))
        && graph.node.iter().all(|n| n.attribute.iter().all(|a| a.g.is_none() && a.graphs.is_empty()))
}

fn flip_consumers(graph: &mut GraphProto, value: &str, index: usize, flipped: &[bool]) {
    let users: Vec<usize> = consumers(graph, value).map(|(at, _)| at).collect();
    for (k, at) in users.into_iter().enumerate() {
        let Some((dims, mut weights)) = constant(graph, &graph.node[at].input[1]).and_then(|w| Some((w.dims.clone(), floats(w)?))) else {
            continue;
        };
        let kernel = usize::try_from(dims[2..].iter().product::<i64>()).unwrap_or(0).max(1);
        for (i, plane) in weights.chunks_exact_mut(kernel).enumerate() {
            if flipped[i % flipped.len()] {
                plane.iter_mut().for_each(|w| *w = -*w);
            }
        }
        let name = format!("lastmile/prelu{index}/consumer{k}_weight");
        graph.initializer.push(constant_f32(&name, &dims, &weights));
        graph.node[at].input[1] = name;
    }
}

fn new_node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: output.into(),
        input: inputs.iter().map(|&i| i.into()).collect(),
        output: vec![output.into()],
        attribute,
        ..NodeProto::default()
    }
}

fn ints_attr(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), r#type: ATTR_INTS, ..AttributeProto::default() }
}

fn int_attr(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: ATTR_INT, ..AttributeProto::default() }
}

/// An `f32` constant with raw data.
fn constant_f32(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// The constant of that name.
fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|t| t.name == name).filter(|_| !name.is_empty())
}

fn remove_nodes(graph: &mut GraphProto, gone: &[bool]) {
    let mut gone = gone.iter();
    graph.node.retain(|_| !gone.next().copied().unwrap_or(false));
}

/// Removes constants that nothing reads any more.
fn drop_unused_constants(graph: &mut GraphProto) {
    if graph.node.iter().any(|n| n.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty())) {
        return; // a sub-graph may read them
    }
    let used: HashSet<&str> =
        graph.node.iter().flat_map(|n| n.input.iter()).chain(graph.output.iter().map(|o| &o.name)).map(String::as_str).collect();
    let unused: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).filter(|t| !used.contains(t.as_str())).collect();
    graph.initializer.retain(|t| !unused.contains(&t.name));
    graph.input.retain(|i| !unused.contains(&i.name));
}

/// Number of elements, if the shape is sane.
pub(crate) fn element_count(dims: &[i64]) -> Option<usize> {
    let mut count = 1usize;
    for &d in dims {
        count = count.checked_mul(usize::try_from(d).ok()?)?;
    }
    (count <= MAX_ELEMENTS).then_some(count)
}

/// The values of a floating-point constant as `f32`; nothing if it is of another type or its data does not fit its shape.
pub(crate) fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let count = element_count(&tensor.dims)?;
    let raw = &tensor.raw_data;
    let values: Vec<f32> = match (tensor.data_type, raw.is_empty()) {
        (FLOAT, false) => raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        (FLOAT, true) => tensor.float_data.clone(),
        (FLOAT16, false) => raw.as_chunks::<2>().0.iter().map(|b| f16_to_f32(u16::from_le_bytes(*b))).collect(),
        (FLOAT16, true) => tensor.int32_data.iter().map(|&v| f16_to_f32(v as u16)).collect(),
        (BFLOAT16, false) => raw.as_chunks::<2>().0.iter().map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16)).collect(),
        (BFLOAT16, true) => tensor.int32_data.iter().map(|&v| f32::from_bits((v as u32) << 16)).collect(),
        (DOUBLE, false) => raw.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        (DOUBLE, true) => tensor.double_data.iter().map(|&v| v as f32).collect(),
        _ => return None,
    };
    (values.len() == count).then_some(values)
}

/// The values of an integer constant; nothing if it is of another type or its data does not fit its shape.
pub(crate) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let count = element_count(&tensor.dims)?;
    let raw = &tensor.raw_data;
    let values: Vec<i64> = match (tensor.data_type, raw.is_empty()) {
        (INT64, false) => raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        (INT64, true) => tensor.int64_data.clone(),
        (INT32, false) => raw.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
        (INT32, true) => tensor.int32_data.iter().map(|&v| i64::from(v)).collect(),
        _ => return None,
    };
    (values.len() == count).then_some(values)
}

/// IEEE 754 binary16 to binary32, exact.
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10) & 31;
    let mantissa = u32::from(half) & 1023;
    let magnitude = match exponent {
        0 => (mantissa as f32 * (-24f32).exp2()).to_bits(), // subnormal: mantissa * 2^-24
        31 => 0x7f80_0000 | (mantissa << 13),
        _ => ((exponent + 112) << 23) | (mantissa << 13),
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upscale::onnx::OperatorSetIdProto;
    use crate::upscale::onnx::StringStringEntryProto;

    fn model(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
        let graph = GraphProto { node: nodes, initializer: constants, ..GraphProto::default() };
        let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
        ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![opset], ..ModelProto::default() }
    }

    fn ops(model: &ModelProto) -> Vec<&str> {
        model.graph.iter().flat_map(|g| &g.node).map(|n| n.op_type.as_str()).collect()
    }

    #[test]
    fn half_floats_widen_exactly() {
        // From the IEEE 754 binary16 tables: largest, smallest normal, smallest subnormal, one, minus two, infinity.
        let known =
            [(0x7bff, 65504.0), (0x0400, 6.103_515_6e-5), (0x0001, 5.960_464_5e-8), (0x3c00, 1.0), (0xc000, -2.0), (0x7c00, f32::INFINITY)];
        for (bits, value) in known {
            assert_eq!(f16_to_f32(bits), value, "{bits:#x}");
        }
        assert!(f16_to_f32(0x7e00).is_nan());
        assert_eq!(f16_to_f32(0x8000).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn other_files_are_named() {
        for (bytes, says) in [
            (&b""[..], "empty"),
            (b"PK\x03\x04\0\0\0\0", "zip archive"),
            (b"\x89PNG\r\n\x1a\n", "picture"),
            (b"7767517\n75 83\n", "ncnn"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"\x40\0\0\0\0\0\0\0{\"a\":{}}", "safetensors"),
            (b"\x08\x08", "no graph"),
        ] {
            let error = decode("x.onnx", bytes).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        let mut state = 1u64;
        for length in 0..600 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 56) as u8
                })
                .collect();
            let _ = decode("x", &bytes);
        }
    }

    #[test]
    fn external_weights_are_refused() {
        let tensor = TensorProto { name: "w".into(), data_location: 1, ..TensorProto::default() };
        let bytes = encode(&model(vec![new_node("Relu", &["input"], "output", vec![])], vec![tensor]));
        let error = decode("x.onnx", &bytes).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("weights lie in another file (`w`"), "{error}");
    }

    #[test]
    fn weights_beside_the_file_are_put_into_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.onnx.data"), [0u8, 0, 9, 9, 9, 9, 9, 9, 9, 9, 0]).unwrap();
        let of = |pairs: &[(&str, &str)]| {
            let said = pairs.iter().map(|(k, v)| StringStringEntryProto { key: (*k).into(), value: (*v).into() }).collect();
            let w = TensorProto {
                name: "w".into(),
                dims: vec![2],
                data_type: FLOAT,
                data_location: 1,
                external_data: said,
                ..TensorProto::default()
            };
            encode(&model(vec![new_node("Relu", &["input"], "output", vec![])], vec![w]))
        };
        let bytes = of(&[("location", "m.onnx.data"), ("offset", "2"), ("length", "8")]);
        let one = decode("m.onnx", &whole("m.onnx", bytes, dir.path()).unwrap()).unwrap();
        assert_eq!(one.graph.unwrap().initializer[0].raw_data, [9; 8]);
        for (pairs, fault) in [
            (&[("location", "m.onnx.data"), ("offset", "4"), ("length", "8")][..], "cut off"),
            (&[("location", "m.onnx.data"), ("offset", "18446744073709551615"), ("length", "8")], "cut off"),
            (&[("location", "m.onnx.data"), ("offset", "-1")], "no number"),
            (&[("location", "../m.onnx.data")], "no file beside it"),
            (&[("location", "/etc/passwd")], "no file beside it"),
            (&[], "no file beside it"),
            (&[("location", "other")], "cannot be read"),
        ] {
            let error = whole("m.onnx", of(pairs), dir.path()).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
        // Whatever else it is, stays.
        assert_eq!(whole("x", b"no model".to_vec(), dir.path()).unwrap(), b"no model");
    }

    #[test]
    fn absurd_shapes_give_no_values() {
        for dims in [vec![i64::MAX, i64::MAX], vec![-1], vec![1 << 40], vec![3]] {
            let tensor = TensorProto { dims, data_type: FLOAT, raw_data: vec![0; 8], ..TensorProto::default() };
            assert_eq!(floats(&tensor), None);
        }
    }

    #[test]
    fn casts_on_constants_fold_and_equal_slopes_become_leaky_relu() {
        let half = TensorProto {
            name: "h".into(),
            dims: vec![2, 1, 1],
            data_type: FLOAT16,
            raw_data: vec![0, 0x34, 0, 0x34],
            ..TensorProto::default()
        };
        let cast = new_node("Cast", &["h"], "slope", vec![int_attr("to", i64::from(FLOAT))]);
        let mut m = model(vec![cast, new_node("PRelu", &["input", "slope"], "output", vec![])], vec![half]);
        assert_eq!(for_cpu(&mut m), Rewrites { casts: 1, widened: false, prelus: 1 });
        assert_eq!(ops(&m), ["LeakyRelu"]);
        assert_eq!(m.graph.unwrap().node[0].attribute[0].f, 0.25);
    }

    #[test]
    fn slopes_that_do_not_run_over_channels_stay() {
        let weights = constant_f32("w", &[2, 2, 1, 1], &[1.0; 4]);
        let conv = new_node("Conv", &["input", "w"], "x", vec![]);
        for dims in [vec![2], vec![1, 2], vec![1, 1, 2], vec![2, 1, 1, 1]] {
            let slope = constant_f32("a", &dims, &[0.1, 0.2]);
            let mut m = model(vec![conv.clone(), new_node("PRelu", &["x", "a"], "output", vec![])], vec![weights.clone(), slope]);
            assert_eq!(prelu_rewrite(&mut m), 0, "{dims:?}");
        }
    }
}
