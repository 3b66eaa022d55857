//! Follows a graph from its input to its output at one input size and notes which input pixels every value depends on.
//!
//! Over 500 lines because each of the operators has its own small rule, and a rule is read best beside its neighbours.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::layers::{Sampling, Window, pad, reshape};
use super::value::{Data, Dim, Fault, Numbers, Ratio, Value, broadcast, check_len, mismatch, unknown, zip_numbers};
use crate::upscale::onnx::{INT32, INT64, ModelProto, NodeProto};

/// What one walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The output's dimensions; nothing if the walk lost track on the way.
    pub output: Option<Data>,
    /// Why the network as a whole is not a sum of local steps, in words.
    pub blockers: Vec<String>,
    /// Operations the walk does not know.
    pub foreign: Vec<String>,
    /// Least common multiple of all denominators of scales: shifts by this many pixels shift every value by whole elements.
    pub stride: [u64; 2],
    /// The factor of every `Resize` along each dimension that runs over the picture.
    pub factors: BTreeMap<(usize, usize), Ratio>,
}

/// Walks the nodes (by index, in topological order) with an input of the given dimensions.
///
/// An error says why the network refuses this input size.
pub(super) fn walk(
    model: &ModelProto,
    order: &[usize],
    constants: &HashMap<&str, Value>,
    input: (&str, Data),
    output: &str,
) -> Result<Walk, String> {
    let empty = Walk { stride: [1, 1], ..Walk::default() };
    let Some(graph) = &model.graph else { return Ok(empty) };
    let opset = model.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx").map_or(1, |o| o.version);
    let mut state = State { values: HashMap::new(), constants, walk: empty, opset, input_len: [1, 1] };
    for dim in &input.1.dims {
        if let Some(axis) = &dim.axis {
            state.input_len[axis.which] = dim.len;
        }
    }
    state.values.insert(input.0, Value::Data(input.1));
    for &at in order {
        let node = &graph.node[at];
        let results = match state.node(at, node) {
            Ok(results) => results,
            Err(Fault::Mismatch(what)) => return Err(format!("{} `{}`: {what}", node.op_type, node.output.first().map_or("", |o| o))),
            Err(Fault::Unknown(reason)) => {
                state.block(reason);
                Vec::new()
            }
            Err(Fault::Foreign(op)) => {
                if !state.walk.foreign.contains(&op) {
                    state.walk.foreign.push(op);
                }
                Vec::new()
            }
        };
        let mut results = results.into_iter();
        for name in &node.output {
            let value = results.next().unwrap_or(Value::Unknown);
            if let Value::Data(data) = &value {
                for axis in data.dims.iter().filter_map(|d| d.axis.as_ref()) {
                    let stride = &mut state.walk.stride[axis.which];
                    *stride = (*stride / super::value::gcd(*stride, axis.scale.den)).saturating_mul(axis.scale.den).min(1 << 32);
                }
            }
            state.values.insert(name, value);
        }
    }
    if let Some(Value::Data(data)) = state.values.remove(output) {
        state.walk.output = Some(data);
    }
    Ok(state.walk)
}

struct State<'a> {
    values: HashMap<&'a str, Value>,
    constants: &'a HashMap<&'a str, Value>,
    walk: Walk,
    opset: i64,
    /// Rows and columns of the input.
    input_len: [usize; 2],
}

type Outcome = Result<Vec<Value>, Fault>;

fn one(value: Value) -> Outcome {
    Ok(vec![value])
}

fn data(dims: Vec<Dim>) -> Outcome {
    one(Value::Data(Data { dims }))
}

impl<'a> State<'a> {
    fn block(&mut self, reason: String) {
        if !reason.is_empty() && !self.walk.blockers.contains(&reason) {
            self.walk.blockers.push(reason);
        }
    }

    /// The value of an input; nothing where an optional one is left out.
    fn input(&self, node: &NodeProto, k: usize) -> Option<Value> {
        let name = node.input.get(k).filter(|n| !n.is_empty())?;
        Some(self.values.get(name.as_str()).or_else(|| self.constants.get(name.as_str())).cloned().unwrap_or(Value::Unknown))
    }

    fn ints(&self, node: &NodeProto, attribute: &str, k: usize) -> Result<Option<Vec<i64>>, Fault> {
        if let Some(a) = node.attr(attribute) {
            return Ok(Some(if a.ints.is_empty() { vec![a.i] } else { a.ints.clone() }));
        }
        match self.input(node, k) {
            None => Ok(None),
            Some(value) => value
                .as_ints()
                .map(Some)
                .ok_or_else(|| Fault::Unknown(format!("{}: its `{attribute}` cannot be computed beforehand", node.op_type))),
        }
    }

    fn node(&mut self, at: usize, node: &'a NodeProto) -> Outcome {
        let op = node.op_type.as_str();
        if !(node.domain.is_empty() || node.domain == "ai.onnx") {
            return Err(Fault::Foreign(format!("{}.{op}", node.domain)));
        }
        if op == "Constant" {
            return one(constant(node));
        }
        let inputs: Vec<Option<Value>> = (0..node.input.len()).map(|k| self.input(node, k)).collect();
        let shape_of_picture = matches!(op, "Shape" | "Size");
        if !shape_of_picture && !inputs.iter().flatten().any(|v| matches!(v, Value::Data(_) | Value::Unknown)) {
            return self.numbers(node, &inputs);
        }
        if inputs.iter().flatten().any(|v| matches!(v, Value::Unknown)) {
            // The reason is known already, but name what makes the whole network non-local beyond it.
            return unknown(global_by_nature(op).unwrap_or_default());
        }
        let first = match inputs.first() {
            Some(Some(Value::Data(d))) => Some(d.clone()),
            _ => None,
        };
        match (op, first) {
            ("Shape", _) => self.shape(node, &inputs),
            (
                "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" | "Mean" | "Sum" | "PRelu" | "Where" | "Equal" | "Greater" | "Less"
                | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or" | "Xor" | "Mod" | "Clip" | "Expand" | "DequantizeLinear"
                | "QuantizeLinear",
                _,
            ) => self.elementwise(node, &inputs),
            ("Concat", _) => self.concat(node, &inputs),
            ("MatMul", _) => self.matmul(&inputs),
            (_, None) => unknown(format!("{op} with a computed parameter")),
            (_, Some(x)) if keeps_elements(op) => one(Value::Data(x)),
            (_, Some(x)) => self.unary(at, node, x, &inputs),
        }
    }

    /// Operations on one value that depends on the picture; parameters are constants.
    fn unary(&mut self, at: usize, node: &'a NodeProto, x: Data, inputs: &[Option<Value>]) -> Outcome {
        let op = node.op_type.as_str();
        let rank = x.dims.len();
        let axis = |name: &str, default: i64| dim_index(node.int(name).unwrap_or(default), rank);
        match op {
            "Conv" | "ConvTranspose" => self.convolution(node, x, inputs),
            "MaxPool" | "AveragePool" | "LpPool" => {
                let kernel = node.ints("kernel_shape").to_vec();
                let dims = spatial(&x, &kernel)?;
                let pooled = windows(node, &kernel, &dims, node.int("ceil_mode") == Some(1))?
                    .iter()
                    .zip(dims)
                    .map(|(w, d)| w.slide(d))
                    .collect::<Result<Vec<_>, _>>()?;
                data(x.dims[..2].iter().cloned().chain(pooled).collect())
            }
            "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
                self.block(format!("{op} looks at the whole picture"));
                data(x.dims.iter().enumerate().map(|(i, d)| if i < 2 { d.clone() } else { Dim::plain(1) }).collect())
            }
            _ if op.starts_with("Reduce") || op == "ArgMax" || op == "ArgMin" => self.reduce(node, &x),
            "InstanceNormalization" | "GroupNormalization" | "MeanVarianceNormalization" => {
                let over_channels = op == "MeanVarianceNormalization" && node.attr("axes").is_some_and(|a| a.ints == [1]);
                if !over_channels {
                    self.block(format!("{op} takes its statistics from the whole picture"));
                }
                one(Value::Data(x))
            }
            "LayerNormalization" | "Softmax" | "LogSoftmax" | "Hardmax" | "LpNormalization" | "RMSNormalization" => {
                let from = axis("axis", -1)?;
                let to_end = op.ends_with("erNormalization") || op == "RMSNormalization" || (self.opset < 13 && op != "LpNormalization");
                let range = if to_end { from..rank } else { from..from + 1 };
                if range.into_iter().any(|d| x.has_axis(d)) {
                    self.block(format!("{op} runs over the whole picture"));
                }
                one(Value::Data(x))
            }
            "Transpose" => {
                let given = node.ints("perm");
                let order: Vec<usize> = match given.is_empty() {
                    true => (0..rank).rev().collect(),
                    false => given.iter().map(|&p| dim_index(p, rank)).collect::<Result<_, _>>()?,
                };
                if order.len() != rank {
                    return mismatch("Transpose of another rank");
                }
                data(order.iter().map(|&p| x.dims[p].clone()).collect())
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshaped(node, &x),
            "Split" => self.split(node, &x),
            "Slice" => self.slice(node, x),
            "Pad" => self.pad(node, x, inputs),
            "Gather" => self.gather(node, &x, inputs),
            "Resize" | "Upsample" => self.resize(at, node, x, inputs),
            "DepthToSpace" | "SpaceToDepth" => {
                let b = usize::try_from(node.int("blocksize").unwrap_or(0)).unwrap_or(0);
                let [n, c, rows, columns] = x.dims.as_slice() else { return mismatch(format!("{op} needs 4 dimensions")) };
                if b == 0 || b > 64 {
                    return mismatch(format!("{op} by {b}"));
                }
                if op == "DepthToSpace" {
                    if c.axis.is_some() || c.len % (b * b) != 0 {
                        return mismatch(format!("{op} by {b} of {} channels", c.len));
                    }
                    let grow = |d: &Dim| d.with((0..check_len(d.len * b)?).map(|i| d.span(i / b)).collect(), Ratio::new(b, 1)?);
                    return data(vec![n.clone(), Dim::plain(c.len / (b * b)), grow(rows)?, grow(columns)?]);
                }
                let shrink = |d: &Dim| match d.len % b {
                    0 => reshape(std::slice::from_ref(d), &[d.len / b, b]).map(|mut dims| dims.swap_remove(0)),
                    _ => mismatch(format!("{op} by {b} of {} pixels", d.len)),
                };
                data(vec![n.clone(), Dim::plain(c.len * b * b), shrink(rows)?, shrink(columns)?])
            }
            "Gemm" => match (x.dims.as_slice(), inputs.get(1).and_then(|w| w.as_ref()?.shape())) {
                ([m, k], Some(w)) if k.axis.is_none() && w.len() == 2 => {
                    data(vec![m.clone(), Dim::plain(w[usize::from(node.int("transB") != Some(1))])])
                }
                _ => unknown("Gemm mixes distant pixels"),
            },
            _ => Err(global_by_nature(op).map_or_else(|| Fault::Foreign(op.to_owned()), Fault::Unknown)),
        }
    }

    fn convolution(&mut self, node: &NodeProto, x: Data, inputs: &[Option<Value>]) -> Outcome {
        let weights = match inputs.get(1) {
            Some(Some(Value::Data(_))) => return unknown(format!("{} with weights computed from the picture", node.op_type)),
            Some(Some(value)) => value.shape().unwrap_or_default(),
            _ => Vec::new(),
        };
        if weights.len() != x.dims.len() || weights.len() < 3 || x.dims[1].axis.is_some() {
            return mismatch("its weights and input do not fit together");
        }
        let kernel: Vec<i64> = weights[2..].iter().map(|&k| k as i64).collect();
        let dims = spatial(&x, &kernel)?;
        let windows = windows(node, &kernel, &dims, false)?;
        let group = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(1).max(1);
        if node.op_type == "Conv" {
            if weights[1].checked_mul(group) != Some(x.dims[1].len) {
                return mismatch(format!("it takes {} channels and gets {}", weights[1].saturating_mul(group), x.dims[1].len));
            }
            let slid = windows.iter().zip(dims).map(|(w, d)| w.slide(d)).collect::<Result<Vec<_>, _>>()?;
            return data([x.dims[0].clone(), Dim::plain(weights[0])].into_iter().chain(slid).collect());
        }
        if weights[0] != x.dims[1].len {
            return mismatch(format!("it takes {} channels and gets {}", weights[0], x.dims[1].len));
        }
        if node.attr("output_shape").is_some() || !matches!(node.text("auto_pad"), None | Some("NOTSET" | "VALID" | "")) {
            return unknown("ConvTranspose with a computed output shape");
        }
        let extra = |i: usize| node.ints("output_padding").get(i).copied().unwrap_or(0).clamp(0, 4096);
        let spread = windows.iter().zip(dims).enumerate().map(|(i, (w, d))| w.spread(d, extra(i))).collect::<Result<Vec<_>, _>>()?;
        data([x.dims[0].clone(), Dim::plain(weights[1].saturating_mul(group))].into_iter().chain(spread).collect())
    }

    fn reduce(&mut self, node: &NodeProto, x: &Data) -> Outcome {
        let rank = x.dims.len();
        let arg = node.op_type.starts_with("Arg");
        let axes = if arg { Some(vec![node.int("axis").unwrap_or(0)]) } else { self.ints(node, "axes", 1)? };
        let axes: Vec<usize> = match axes {
            Some(axes) if !axes.is_empty() => axes.iter().map(|&a| dim_index(a, rank)).collect::<Result<_, _>>()?,
            _ if node.int("noop_with_empty_axes") == Some(1) => return one(Value::Data(x.clone())),
            _ => (0..rank).collect(),
        };
        if axes.iter().any(|&a| x.has_axis(a)) {
            self.block(format!("{} looks at the whole picture", node.op_type));
        }
        let keep = node.int("keepdims").unwrap_or(1) == 1;
        let dims = x.dims.iter().enumerate().filter_map(|(i, d)| match (axes.contains(&i), keep) {
            (false, _) => Some(d.clone()),
            (true, true) => Some(Dim::plain(1)),
            (true, false) => None,
        });
        data(dims.collect())
    }

    fn reshaped(&mut self, node: &NodeProto, x: &Data) -> Outcome {
        let lens: Vec<usize> = x.dims.iter().map(|d| d.len).collect();
        let rank = lens.len();
        let to: Vec<usize> = match node.op_type.as_str() {
            "Reshape" => {
                let Some(wanted) = self.ints(node, "shape", 1)? else { return unknown("Reshape without a shape") };
                target_shape(&lens, &wanted, node.int("allowzero") == Some(1))?
            }
            "Flatten" => {
                let axis = match node.int("axis").unwrap_or(1) {
                    a if a == rank as i64 => rank,
                    a => dim_index(a, rank)?,
                };
                vec![lens[..axis].iter().product(), lens[axis..].iter().product()]
            }
            "Squeeze" => {
                let axes = self.ints(node, "axes", 1)?;
                let axes: Option<Vec<usize>> = axes.map(|a| a.iter().map(|&a| dim_index(a, rank)).collect()).transpose()?;
                let drop = |i: usize, len: usize| axes.as_ref().map_or(len == 1, |a| a.contains(&i));
                lens.iter().enumerate().filter(|&(i, &len)| !drop(i, len)).map(|(_, &len)| len).collect()
            }
            _ => {
                let axes = self.ints(node, "axes", 1)?.unwrap_or_default();
                let full = rank + axes.len();
                let new: Vec<usize> = axes.iter().map(|&a| dim_index(a, full)).collect::<Result<_, _>>()?;
                let mut old = lens.iter();
                (0..full).filter_map(|i| if new.contains(&i) { Some(1) } else { old.next().copied() }).collect()
            }
        };
        data(reshape(&x.dims, &to)?)
    }

    fn split(&mut self, node: &NodeProto, x: &Data) -> Outcome {
        let axis = dim_index(node.int("axis").unwrap_or(0), x.dims.len())?;
        let len = x.dims[axis].len;
        let sizes: Vec<usize> = match self.ints(node, "split", 1)? {
            Some(sizes) => sizes.iter().map(|&s| usize::try_from(s).unwrap_or(0)).collect(),
            None => {
                let parts = node.output.len().max(1);
                let size = len.div_ceil(parts);
                (0..parts).map(|p| size.min(len.saturating_sub(p * size))).collect()
            }
        };
        if sizes.iter().try_fold(0usize, |sum, &s| sum.checked_add(s)) != Some(len) {
            return mismatch(format!("Split of {len} into {sizes:?}"));
        }
        let mut from = 0;
        sizes
            .iter()
            .map(|&size| {
                let mut part = x.clone();
                part.dims[axis] = x.dims[axis].with((from..from + size).map(|i| x.dims[axis].span(i)).collect(), Ratio::ONE)?;
                from += size;
                Ok(Value::Data(part))
            })
            .collect()
    }

    fn slice(&mut self, node: &NodeProto, mut x: Data) -> Outcome {
        let rank = x.dims.len();
        let (Some(starts), Some(ends)) = (self.ints(node, "starts", 1)?, self.ints(node, "ends", 2)?) else {
            return unknown("Slice without bounds");
        };
        let axes = self.ints(node, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.ints(node, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = dim_index(*axis, rank)?;
            let picked = slice_indices(x.dims[axis].len, *start, *end, *step)?;
            check_len(picked.len())?;
            let factor = Ratio::new(1, usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX))?;
            if *step < 0 && x.has_axis(axis) {
                self.block("Slice turns the picture around".into());
            }
            x.dims[axis] = x.dims[axis].with(picked.iter().map(|&i| x.dims[axis].span(i)).collect(), factor)?;
        }
        one(Value::Data(x))
    }

    fn pad(&mut self, node: &NodeProto, mut x: Data, inputs: &[Option<Value>]) -> Outcome {
        let rank = x.dims.len();
        let pads = match node.attr("paddings") {
            Some(old) => old.ints.clone(), // operator set 1
            None => self.ints(node, "pads", 1)?.unwrap_or_default(),
        };
        let axes: Vec<usize> = match inputs.get(3).and_then(|a| a.as_ref()?.as_ints()) {
            Some(axes) => axes.iter().map(|&a| dim_index(a, rank)).collect::<Result<_, _>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return mismatch(format!("Pad by {pads:?}"));
        }
        for (k, &axis) in axes.iter().enumerate() {
            x.dims[axis] = pad(&x.dims[axis], pads[k], pads[k + axes.len()], node.text("mode").unwrap_or("constant"))?;
        }
        one(Value::Data(x))
    }

    fn gather(&mut self, node: &NodeProto, x: &Data, inputs: &[Option<Value>]) -> Outcome {
        let axis = dim_index(node.int("axis").unwrap_or(0), x.dims.len())?;
        let (Some(Some(Value::Numbers(indices))), len) = (inputs.get(1), x.dims[axis].len) else {
            return unknown("Gather by computed indices");
        };
        let at = |i: i64| usize::try_from(if i < 0 { i + len as i64 } else { i }).ok().filter(|&i| i < len);
        let Some(picked) = indices.ints().into_iter().map(at).collect::<Option<Vec<_>>>() else { return mismatch("Gather beyond the end") };
        let mut dims = x.dims.clone();
        if x.has_axis(axis) {
            self.block("Gather picks fixed rows or columns".into());
        }
        match indices.dims.as_slice() {
            [] => drop(dims.remove(axis)),
            [_] => dims[axis] = x.dims[axis].with(picked.iter().map(|&i| x.dims[axis].span(i)).collect(), Ratio::ONE)?,
            _ => return unknown("Gather by a table of indices"),
        }
        data(dims)
    }

    fn resize(&mut self, at: usize, node: &NodeProto, x: Data, inputs: &[Option<Value>]) -> Outcome {
        let rank = x.dims.len();
        let old = node.op_type == "Upsample" || self.opset < 11;
        let not_empty = |v: &Value| v.shape().is_none_or(|s| s != [0]);
        let input = |k: usize| inputs.get(k).cloned().flatten().filter(|v| not_empty(v));
        let (scales, sizes) = if old { (input(1), None) } else { (input(2), input(3)) };
        let axes: Vec<usize> = match node.ints("axes") {
            [] => (0..rank).collect(),
            axes => axes.iter().map(|&a| dim_index(a, rank)).collect::<Result<_, _>>()?,
        };
        let floats: Option<Vec<f64>> = match (&scales, node.attr("scales")) {
            (Some(Value::Numbers(n)), _) => Some(n.values.clone()),
            (Some(_), _) => return unknown("Resize by a factor computed from the picture"),
            (None, Some(attribute)) => Some(attribute.floats.iter().map(|&f| f64::from(f)).collect()),
            (None, None) => None,
        };
        let sizes = match &sizes {
            Some(Value::Numbers(n)) => Some(n.ints()),
            Some(_) => return unknown("Resize to a size computed from the picture"),
            None => None,
        };
        if !matches!(node.text("keep_aspect_ratio_policy"), None | Some("stretch" | "")) {
            return unknown("Resize that keeps the aspect ratio");
        }
        let sampling = Sampling {
            mode: match node.text("mode").unwrap_or("nearest") {
                "bilinear" => "linear",
                mode => mode,
            },
            coordinates: if old { "asymmetric" } else { node.text("coordinate_transformation_mode").unwrap_or("half_pixel") },
            nearest: if old { "floor" } else { node.text("nearest_mode").unwrap_or("round_prefer_floor") },
            antialias: node.int("antialias") == Some(1),
        };
        let mut dims = x.dims.clone();
        for (k, &axis) in axes.iter().enumerate() {
            let dim = &x.dims[axis];
            let (len, factor) = match (&floats, &sizes) {
                (Some(f), _) if f.len() == axes.len() => ((dim.len as f64 * f[k]).floor(), f[k]),
                (None, Some(s)) if s.len() == axes.len() => (s[k] as f64, s[k] as f64 / dim.len as f64),
                _ => return mismatch("Resize with parameters of another rank"),
            };
            if !(1.0..=131_072.0).contains(&len) {
                return mismatch(format!("Resize to {len}"));
            }
            if dim.axis.is_none() {
                if len as usize != dim.len {
                    return unknown("Resize across channels");
                }
                continue;
            }
            if let Some(axis) = &dim.axis {
                let exact = if floats.is_some() { Ratio::of_float(factor)? } else { Ratio::new(len as usize, dim.len)? };
                self.walk.factors.insert((at, axis.which), exact);
                if sampling.coordinates == "align_corners" && factor != 1.0 {
                    self.block("Resize aligned to the corners: its steps depend on the picture's size".into());
                }
            }
            dims[axis] = sampling.resize(dim, len as usize, factor)?;
            // A size that is given says where the pixels lie: exactly over the input's, whatever was cropped before.
            if let (None, Some(a)) = (&floats, dims[axis].axis.as_mut()) {
                a.scale = Ratio::new(len as usize, self.input_len[a.which])?;
            }
        }
        data(dims)
    }

    fn elementwise(&mut self, node: &NodeProto, inputs: &[Option<Value>]) -> Outcome {
        let mut shape: Vec<usize> = Vec::new();
        let mut parts: Vec<Value> = Vec::new();
        for (k, value) in inputs.iter().enumerate().filter_map(|(k, v)| Some((k, v.clone()?))) {
            let value = match (node.op_type.as_str(), k, &value) {
                ("Expand", 1, Value::Numbers(n)) => Value::Weight(n.ints().iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect()),
                ("Expand", 1, _) => return unknown("Expand to a computed shape"),
                // Scales and zero points of one number per channel stand for themselves.
                ("QuantizeLinear" | "DequantizeLinear", 1.., _) => Value::Weight(vec![]),
                _ => value,
            };
            shape = broadcast(&shape, &value.shape().unwrap_or_default())?;
            parts.push(value);
        }
        let rank = shape.len();
        let mut dims: Vec<Dim> = shape.iter().map(|&len| Dim::plain(len)).collect();
        for value in &parts {
            let skip = rank - value.shape().map_or(0, |s| s.len());
            match value {
                Value::Data(part) => {
                    for (dim, from) in dims[skip..].iter_mut().zip(&part.dims) {
                        *dim = meet(dim, from)?;
                    }
                }
                Value::Numbers(_) | Value::Weight(_) => {}
                Value::Unknown => return unknown(""),
            }
        }
        for value in parts.iter().filter(|_| node.op_type != "Expand") {
            let (lens, is_constant) = (value.shape().unwrap_or_default(), !matches!(value, Value::Data(_)));
            let skip = rank - lens.len();
            if is_constant && lens.iter().enumerate().any(|(i, &len)| len > 1 && dims[skip + i].axis.is_some()) && !is_uniform(value) {
                self.block(format!("{} with a fixed map over the picture (a position code or mask)", node.op_type));
            }
        }
        data(dims)
    }

    fn concat(&mut self, node: &NodeProto, inputs: &[Option<Value>]) -> Outcome {
        let parts: Vec<Vec<Dim>> = inputs
            .iter()
            .flatten()
            .map(|v| match v {
                Value::Data(d) => Ok(d.dims.clone()),
                other => Ok(other.shape().unwrap_or_default().iter().map(|&len| Dim::plain(len)).collect()),
            })
            .collect::<Result<_, Fault>>()?;
        let rank = parts.first().map_or(0, Vec::len);
        let axis = dim_index(node.int("axis").unwrap_or(0), rank)?;
        if parts.iter().any(|p| p.len() != rank) {
            return mismatch("Concat of different ranks");
        }
        let mut dims = parts[0].clone();
        for part in &parts[1..] {
            for (i, (dim, other)) in dims.iter_mut().zip(part).enumerate() {
                if i != axis {
                    if dim.len != other.len {
                        return mismatch(format!("Concat of sizes {} and {}", dim.len, other.len));
                    }
                    *dim = meet(dim, other)?;
                }
            }
        }
        let total = parts.iter().map(|p| p[axis].len).sum();
        dims[axis] = match parts.iter().find(|p| p[axis].axis.is_some()) {
            None => Dim::plain(total),
            Some(model) => {
                let spans = parts.iter().flat_map(|p| (0..p[axis].len).map(|i| p[axis].span(i))).collect();
                model[axis].with(spans, Ratio::ONE)?
            }
        };
        data(dims)
    }

    fn matmul(&mut self, inputs: &[Option<Value>]) -> Outcome {
        let (Some(Some(a)), Some(Some(b))) = (inputs.first(), inputs.get(1)) else { return mismatch("MatMul of nothing") };
        match (a, b) {
            (Value::Data(_), Value::Data(_)) => unknown("MatMul of two values computed from the picture (attention)"),
            (Value::Data(x), weights) => {
                let (shape, rank) = (weights.shape().unwrap_or_default(), x.dims.len());
                if rank == 0 || shape.len() != 2 || x.dims[rank - 1].axis.is_some() {
                    return unknown("MatMul mixes distant pixels");
                }
                if shape[0] != x.dims[rank - 1].len {
                    return mismatch(format!("MatMul of {} by {}", x.dims[rank - 1].len, shape[0]));
                }
                data(x.dims[..rank - 1].iter().cloned().chain([Dim::plain(shape[1])]).collect())
            }
            _ => unknown("MatMul mixes distant pixels"),
        }
    }

    fn shape(&mut self, node: &NodeProto, inputs: &[Option<Value>]) -> Outcome {
        let Some(shape) = inputs.first().and_then(|v| v.as_ref()?.shape()) else { return unknown("") };
        let rank = shape.len() as i64;
        let clamp = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
        let (from, to) = (clamp(node.int("start").unwrap_or(0)), clamp(node.int("end").unwrap_or(rank)));
        let lens = shape.get(from..to).unwrap_or_default().iter().map(|&d| d as f64).collect();
        one(Value::numbers(Numbers::list(lens, true)))
    }

    /// Arithmetic on shapes and other small constants.
    fn numbers(&mut self, node: &NodeProto, inputs: &[Option<Value>]) -> Outcome {
        let op = node.op_type.as_str();
        let numbers: Option<Vec<Rc<Numbers>>> =
            inputs.iter().map(|v| if let Some(Value::Numbers(n)) = v { Some(n.clone()) } else { None }).collect();
        let Some(n) = numbers else {
            // Weights: only elementwise operations and casts keep a shape that is known.
            return match op {
                _ if keeps_elements(op) => one(inputs[0].clone().unwrap_or(Value::Unknown)),
                "Add" | "Sub" | "Mul" | "Div" => {
                    let mut shapes = inputs.iter().flatten().map(|v| v.shape().unwrap_or_default());
                    one(Value::Weight(shapes.try_fold(Vec::new(), |a, b| broadcast(&a, &b))?))
                }
                "Transpose" if inputs.len() == 1 => {
                    let shape = inputs[0].as_ref().and_then(Value::shape).unwrap_or_default();
                    let order: Vec<usize> = match node.ints("perm") {
                        [] => (0..shape.len()).rev().collect(),
                        perm => perm.iter().map(|&p| dim_index(p, shape.len())).collect::<Result<_, _>>()?,
                    };
                    one(Value::Weight(order.iter().map(|&p| shape[p]).collect()))
                }
                "Reshape" => match (inputs[0].as_ref().and_then(Value::shape), inputs.get(1).and_then(|v| v.as_ref()?.as_ints())) {
                    (Some(shape), Some(to)) => one(Value::Weight(target_shape(&shape, &to, false)?)),
                    _ => one(Value::Unknown),
                },
                _ => one(Value::Unknown),
            };
        };
        if n.is_empty() {
            return unknown(format!("{op} without inputs"));
        }
        let both_integer = n.iter().all(|v| v.integer);
        let map =
            |f: fn(f64) -> f64| one(Value::numbers(Numbers { values: n[0].values.iter().map(|&v| f(v)).collect(), ..(*n[0]).clone() }));
        let zip = |f: &dyn Fn(f64, f64) -> f64| match n.get(1) {
            Some(b) => Ok(vec![Value::numbers(zip_numbers(&n[0], b, both_integer, f)?)]),
            None => mismatch("an operand is missing"),
        };
        let reshaped = |dims: Vec<usize>| one(Value::numbers(Numbers { dims, ..(*n[0]).clone() }));
        match op {
            "Identity" => one(Value::Numbers(n[0].clone())),
            "Cast" => {
                let integer = matches!(node.int("to"), Some(t) if t == i64::from(INT64) || t == i64::from(INT32));
                let values = n[0].values.iter().map(|v| if integer { v.trunc() } else { *v }).collect();
                one(Value::numbers(Numbers { dims: n[0].dims.clone(), values, integer }))
            }
            "Floor" => map(f64::floor),
            "Ceil" => map(f64::ceil),
            "Round" => map(f64::round_ties_even),
            "Neg" => map(|v| -v),
            "Abs" => map(f64::abs),
            "Sqrt" => map(f64::sqrt),
            "Add" => zip(&|a, b| a + b),
            "Sub" => zip(&|a, b| a - b),
            "Mul" => zip(&|a, b| a * b),
            "Div" if both_integer => zip(&|a, b| if b == 0.0 { 0.0 } else { (a / b).trunc() }),
            "Div" => zip(&|a, b| a / b),
            "Mod" if node.int("fmod") == Some(1) => zip(&|a, b| if b == 0.0 { 0.0 } else { a % b }),
            "Mod" => zip(&|a, b| if b == 0.0 { 0.0 } else { a - b * (a / b).floor() }),
            "Max" if n.len() == 2 => zip(&f64::max),
            "Min" if n.len() == 2 => zip(&f64::min),
            "Equal" => zip(&|a, b| f64::from(u8::from(a == b))),
            "Greater" => zip(&|a, b| f64::from(u8::from(a > b))),
            "Less" => zip(&|a, b| f64::from(u8::from(a < b))),
            "Where" if n.len() == 3 => {
                let yes = zip_numbers(&n[0], &n[1], n[1].integer, |c, v| if c != 0.0 { v } else { f64::NAN })?;
                one(Value::numbers(zip_numbers(&yes, &n[2], n[1].integer, |a, b| if a.is_nan() { b } else { a })?))
            }
            "Concat" => {
                if n.iter().any(|v| v.dims.len() != 1) {
                    return one(Value::Unknown);
                }
                let values: Vec<f64> = n.iter().flat_map(|v| v.values.iter().copied()).collect();
                check_len(values.len().max(1))?;
                one(Value::numbers(Numbers::list(values, both_integer)))
            }
            "Gather" if n.len() == 2 && n[0].dims.len() == 1 => {
                let len = n[0].values.len() as i64;
                let pick = |i: &i64| usize::try_from(if *i < 0 { i + len } else { *i }).ok().and_then(|i| n[0].values.get(i).copied());
                let Some(values) = n[1].ints().iter().map(pick).collect::<Option<Vec<_>>>() else {
                    return mismatch("Gather beyond the end");
                };
                one(Value::numbers(Numbers { dims: n[1].dims.clone(), values, integer: n[0].integer }))
            }
            "Slice" if n[0].dims.len() == 1 => {
                let list = |name, k| self.ints(node, name, k);
                let (Some(starts), Some(ends)) = (list("starts", 1)?, list("ends", 2)?) else { return one(Value::Unknown) };
                let step = list("steps", 4)?.and_then(|s| s.first().copied()).unwrap_or(1);
                let (Some(&start), Some(&end)) = (starts.first(), ends.first()) else { return one(Value::Numbers(n[0].clone())) };
                let values = slice_indices(n[0].values.len(), start, end, step)?.iter().map(|&i| n[0].values[i]).collect();
                one(Value::numbers(Numbers::list(values, n[0].integer)))
            }
            "Unsqueeze" => reshaped(if n[0].dims.is_empty() { vec![1] } else { [vec![1], n[0].dims.clone()].concat() }),
            "Squeeze" => reshaped(n[0].dims.iter().copied().filter(|&d| d != 1).collect()),
            "Reshape" => {
                let to = self.ints(node, "shape", 1)?.unwrap_or_default();
                reshaped(target_shape(&n[0].dims, &to, false)?)
            }
            "ConstantOfShape" => {
                let dims: Vec<usize> = n[0].ints().iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
                let fill = node.attr("value").and_then(|a| a.t.as_ref()).map(Value::of_tensor);
                let (value, integer) = match &fill {
                    Some(Value::Numbers(f)) => (f.values.first().copied().unwrap_or(0.0), f.integer),
                    _ => (0.0, false),
                };
                let count = dims.iter().try_fold(1usize, |c, &d| c.checked_mul(d)).filter(|&c| c <= 4096);
                one(count.map_or(Value::Weight(dims.clone()), |c| Value::numbers(Numbers { dims, values: vec![value; c], integer })))
            }
            "Range" if n.len() == 3 => {
                let (Some(from), Some(to), Some(step)) = (n[0].values.first(), n[1].values.first(), n[2].values.first()) else {
                    return one(Value::Unknown);
                };
                let count = ((to - from) / step).ceil();
                if !(0.0..=131_072.0).contains(&count) {
                    return one(Value::Unknown);
                }
                let values = (0..count as usize).map(|i| from + i as f64 * step).collect();
                one(Value::numbers(Numbers::list(values, both_integer)))
            }
            "Shape" => self.shape(node, inputs),
            _ => one(Value::Unknown),
        }
    }
}

/// The value of a `Constant` node.
fn constant(node: &NodeProto) -> Value {
    if let Some(tensor) = node.attr("value").and_then(|a| a.t.as_ref()) {
        return Value::of_tensor(tensor);
    }
    let list = |dims: Vec<usize>, values: Vec<f64>, integer| Value::numbers(Numbers { dims, values, integer });
    if let Some(a) = node.attr("value_float") {
        list(vec![], vec![f64::from(a.f)], false)
    } else if let Some(a) = node.attr("value_int") {
        list(vec![], vec![a.i as f64], true)
    } else if let Some(a) = node.attr("value_floats") {
        list(vec![a.floats.len()], a.floats.iter().map(|&f| f64::from(f)).collect(), false)
    } else if let Some(a) = node.attr("value_ints") {
        list(vec![a.ints.len()], a.ints.iter().map(|&i| i as f64).collect(), true)
    } else {
        Value::Unknown
    }
}

/// Operations whose result has the elements of their first input, each computed from that element alone.
fn keeps_elements(op: &str) -> bool {
    const OPS: &str = " Identity Cast Dropout Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Abs Neg Exp Log Sqrt Reciprocal \
        Erf Gelu Softplus Softsign Mish Floor Ceil Round Sign Not Sin Cos ThresholdedRelu BatchNormalization IsNaN IsInf Swish ";
    OPS.contains(&format!(" {op} "))
}

/// What is wrong with operations that mix the whole picture by their nature.
fn global_by_nature(op: &str) -> Option<String> {
    match op {
        "InstanceNormalization" | "GroupNormalization" | "MeanVarianceNormalization" => {
            Some(format!("{op} takes its statistics from the whole picture"))
        }
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => Some(format!("{op} looks at the whole picture")),
        "MatMul" | "Softmax" | "Einsum" | "Attention" | "MultiHeadAttention" => Some(format!("{op} over distant pixels (attention)")),
        "GridSample" => Some("GridSample takes pixels from computed places".into()),
        "DFT" | "STFT" => Some(format!("{op} looks at the whole picture")),
        _ => None,
    }
}

/// Whether a constant has the same value everywhere.
fn is_uniform(value: &Value) -> bool {
    matches!(value, Value::Numbers(n) if n.values.windows(2).all(|w| w[0] == w[1]))
}

/// Two dimensions that meet in one element: the dependence of both.
fn meet(a: &Dim, b: &Dim) -> Result<Dim, Fault> {
    match (&a.axis, &b.axis) {
        (_, None) if a.len >= b.len => Ok(a.clone()),
        (_, None) => match &a.axis {
            None => Ok(b.clone()),
            Some(_) => a.with(vec![a.span(0); b.len], Ratio::ONE), // one row, repeated
        },
        (None, Some(_)) => match b.len {
            1 if a.len > 1 => b.with(vec![b.span(0); a.len], Ratio::ONE),
            _ => Ok(b.clone()),
        },
        (Some(x), Some(y)) if x.which != y.which => unknown("rows and columns are exchanged"),
        (Some(x), Some(y)) if a.len == b.len => {
            if x.scale != y.scale && a.len > 1 {
                return unknown("values of different scales meet");
            }
            a.with(x.spans.iter().zip(y.spans.iter()).map(|(&p, &q)| p.and(q)).collect(), Ratio::ONE)
        }
        (Some(_), Some(_)) => {
            let (long, short) = if a.len > b.len { (a, b) } else { (b, a) };
            if short.len != 1 {
                return mismatch(format!("sizes {} and {} meet", a.len, b.len));
            }
            long.with((0..long.len).map(|i| long.span(i).and(short.span(0))).collect(), Ratio::ONE)
        }
    }
}

/// The dimensions after the first two, one per kernel dimension.
fn spatial<'d>(x: &'d Data, kernel: &[i64]) -> Result<Vec<&'d Dim>, Fault> {
    if x.dims.len() != kernel.len() + 2 || kernel.is_empty() {
        return mismatch(format!("a window of {} dimensions over {}", kernel.len(), x.dims.len()));
    }
    Ok(x.dims[2..].iter().collect())
}

/// The sliding windows that a node's attributes describe, one per dimension.
fn windows(node: &NodeProto, kernel: &[i64], dims: &[&Dim], ceil: bool) -> Result<Vec<Window>, Fault> {
    let size = |v: i64| usize::try_from(v).unwrap_or(0);
    let at = |name: &str, i: usize| node.ints(name).get(i).copied().unwrap_or(1);
    let n = kernel.len();
    (0..n)
        .map(|i| {
            let (k, stride, dilation) = (size(kernel[i]), size(at("strides", i)), size(at("dilations", i)));
            let mut window = Window { kernel: k, stride, dilation, before: 0, after: 0, ceil };
            match node.text("auto_pad") {
                Some(same @ ("SAME_UPPER" | "SAME_LOWER")) => {
                    if stride == 0 {
                        return mismatch("a stride of 0");
                    }
                    let reach = k.saturating_sub(1).saturating_mul(dilation) + 1;
                    let all = (dims[i].len.div_ceil(stride) - 1)
                        .saturating_mul(stride)
                        .saturating_add(reach)
                        .saturating_sub(dims[i].len)
                        .min(1 << 20) as i64;
                    window.before = if same == "SAME_UPPER" { all / 2 } else { all - all / 2 };
                    window.after = all - window.before;
                }
                Some("VALID") => {}
                _ => {
                    let pads = node.ints("pads");
                    if pads.len() == 2 * n {
                        (window.before, window.after) = (pads[i], pads[i + n]);
                    }
                }
            }
            Ok(window)
        })
        .collect()
}

fn dim_index(axis: i64, rank: usize) -> Result<usize, Fault> {
    let at = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(at).ok().filter(|&a| a < rank).ok_or_else(|| Fault::Mismatch(format!("axis {axis} of {rank} dimensions")))
}

/// The shape a `Reshape` node asks for: 0 keeps a dimension, -1 takes what is left.
fn target_shape(from: &[usize], wanted: &[i64], zero_is_zero: bool) -> Result<Vec<usize>, Fault> {
    let total: usize = from.iter().product();
    let mut to = Vec::with_capacity(wanted.len());
    for (i, &w) in wanted.iter().enumerate() {
        to.push(match w {
            0 if !zero_is_zero => {
                from.get(i).copied().ok_or_else(|| Fault::Mismatch("Reshape keeps a dimension that is not there".into()))?
            }
            -1 => 1,
            w => usize::try_from(w).map_err(|_| Fault::Mismatch(format!("Reshape to {wanted:?}")))?,
        });
    }
    let product = to.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n > 0);
    let Some(product) = product else { return mismatch(format!("Reshape to {wanted:?}")) };
    if let Some(free) = wanted.iter().position(|&w| w == -1) {
        to[free] = total / product;
    }
    match to.iter().product::<usize>() == total {
        true => Ok(to),
        false => mismatch(format!("Reshape of {from:?} to {wanted:?}")),
    }
}

/// The indices a slice picks.
fn slice_indices(len: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>, Fault> {
    let n = len as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    match step {
        0 => mismatch("Slice with step 0"),
        s if s > 0 => {
            let (from, to) = (from_end(start).clamp(0, n), from_end(end).clamp(0, n));
            Ok((from..to).step_by(usize::try_from(s).unwrap_or(usize::MAX)).map(|i| i as usize).collect())
        }
        s => {
            let (from, to) = (from_end(start).clamp(-1, n - 1), if end < -n { -1 } else { from_end(end).clamp(-1, n - 1) });
            let step = usize::try_from(s.unsigned_abs()).unwrap_or(usize::MAX);
            Ok((to + 1..=from).rev().step_by(step).map(|i| i as usize).collect())
        }
    }
}
