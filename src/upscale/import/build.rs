//! Writes ONNX graphs node by node.
//!
//! Values carry their channel count, so a convolution that does not fit its input is found here, with its name, instead of by
//! the runtime.

use half::f16;

use super::weights::Kernel;
use super::{Precision, Refusal};
use crate::upscale::onnx::{
    ATTR_FLOAT, ATTR_INT, ATTR_INTS, ATTR_STRING, AttributeProto, Dim, DimensionProto, FLOAT, FLOAT16, GraphProto, INT64, ModelProto,
    NodeProto, OperatorSetIdProto, ShapeProto, StringStringEntryProto, TensorProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// A value in the graph: 1 x `channels` x height x width.
#[derive(Debug, Clone)]
pub struct Value {
    name: String,
    pub channels: usize,
}

/// A graph under construction.
#[derive(Debug)]
pub struct Graph {
    graph: GraphProto,
    precision: Precision,
    next: usize,
    /// Largest relative rounding error of a weight stored as float16.
    pub rounding: f32,
}

impl Graph {
    /// An empty graph with the input `input`, float32 1x3xHxW.
    pub fn new(precision: Precision) -> Self {
        let graph = GraphProto { input: vec![picture("input", "height", "width")], ..Default::default() };
        Self { graph, precision, next: 0, rounding: 0.0 }
    }

    /// How weights are stored.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The picture: R, G, B in 0..1.
    pub fn input(&self) -> Value {
        Value { name: "input".into(), channels: 3 }
    }

    /// Closes the graph: `last` becomes `output`.
    pub fn finish(mut self, last: &Value, name: &str, metadata: &[(&str, String)]) -> Result<ModelProto, Refusal> {
        if last.channels != 3 {
            return Err(Refusal::new(format!("the network gives {} channels; pictures have 3", last.channels), ""));
        }
        match self.graph.node.last_mut() {
            Some(node) if node.output == [last.name.as_str()] => node.output = vec!["output".into()],
            _ => return Err(Refusal::new("the network does not end with its output", "")),
        }
        self.graph.name = name.into();
        self.graph.output = vec![picture("output", "out_height", "out_width")];
        Ok(ModelProto {
            ir_version: 8,
            producer_name: "lastmile".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            metadata_props: metadata.iter().map(|(k, v)| StringStringEntryProto { key: (*k).into(), value: v.clone() }).collect(),
            ..Default::default()
        })
    }

    /// Convolution with zero padding `pad` on every side.
    pub fn conv(&mut self, x: &Value, name: &str, k: Kernel, stride: i64, pad: i64) -> Result<Value, Refusal> {
        if k.inputs != x.channels {
            return Err(Refusal::new(
                format!("{name}.weight takes {} channels where {} arrive", k.inputs, x.channels),
                "the file may be a variant of the architecture",
            ));
        }
        let (kh, kw) = (k.height as i64, k.width as i64);
        let weight = self.weight(&format!("{name}.weight"), &[k.outputs, k.inputs, k.height, k.width], &k.weight)?;
        let bias = self.weight(&format!("{name}.bias"), &[k.outputs], &k.bias)?;
        let attributes = vec![
            ints("dilations", &[1, 1]),
            int("group", 1),
            ints("kernel_shape", &[kh, kw]),
            ints("pads", &[pad; 4]),
            ints("strides", &[stride; 2]),
        ];
        Ok(self.node("Conv", &[&x.name, &weight, &bias], attributes, k.outputs))
    }

    /// `x < 0 ? slope[channel] * x : x`; one slope for all channels or one each.
    pub fn prelu(&mut self, x: &Value, name: &str, slope: &[f32]) -> Result<Value, Refusal> {
        if slope.len() != x.channels && slope.len() != 1 {
            return Err(Refusal::new(format!("{name} has {} slopes for {} channels", slope.len(), x.channels), ""));
        }
        let slope = self.weight(name, &[slope.len(), 1, 1], slope)?;
        Ok(self.node("PRelu", &[&x.name, &slope], vec![], x.channels))
    }

    /// `max(x, slope * x)` for slopes below 1.
    pub fn leaky_relu(&mut self, x: &Value, slope: f32) -> Value {
        self.node("LeakyRelu", &[&x.name], vec![float("alpha", slope)], x.channels)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, x: &Value) -> Value {
        self.node("Relu", &[&x.name], vec![], x.channels)
    }

    /// `1 / (1 + exp(-x))`.
    pub fn sigmoid(&mut self, x: &Value) -> Value {
        self.node("Sigmoid", &[&x.name], vec![], x.channels)
    }

    /// `x * sigmoid(x)`.
    pub fn silu(&mut self, x: &Value) -> Value {
        let gate = self.sigmoid(x);
        self.mul(x, &gate)
    }

    /// `a + b`.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[&a.name, &b.name], vec![], a.channels)
    }

    /// `a * b`.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[&a.name, &b.name], vec![], a.channels)
    }

    /// `x * factor`; the constant is stored once under `name`.
    pub fn mul_constant(&mut self, x: &Value, name: &str, factor: f32) -> Value {
        self.constant(name, &[1], &[factor]);
        self.node("Mul", &[&x.name, name], vec![], x.channels)
    }

    /// `x - constant`, one for all channels or one each; stored once under `name`.
    pub fn sub_constant(&mut self, x: &Value, name: &str, constants: &[f32]) -> Value {
        let dims: &[usize] = if constants.len() == 1 { &[1] } else { &[1, constants.len(), 1, 1] };
        self.constant(name, dims, constants);
        self.node("Sub", &[&x.name, name], vec![], x.channels)
    }

    /// Channels of all inputs, one input after the other.
    pub fn concat(&mut self, xs: &[&Value]) -> Value {
        let names: Vec<&str> = xs.iter().map(|x| x.name.as_str()).collect();
        self.node("Concat", &names, vec![int("axis", 1)], xs.iter().map(|x| x.channels).sum())
    }

    /// PyTorch's pixel shuffle: channel `(c * r + dy) * r + dx` becomes pixel `(dy, dx)` of channel `c`.
    pub fn pixel_shuffle(&mut self, x: &Value, r: usize) -> Result<Value, Refusal> {
        if !x.channels.is_multiple_of(r * r) {
            return Err(Refusal::new(format!("{} channels do not make blocks of {r}x{r} pixels", x.channels), ""));
        }
        let attributes = vec![int("blocksize", r as i64), text("mode", "CRD")];
        Ok(self.node("DepthToSpace", &[&x.name], attributes, x.channels / (r * r)))
    }

    /// Pixel `(dy, dx)` of each `r x r` block of channel `c` becomes channel `(dy * r + dx) * C + c` (ONNX's order, not
    /// PyTorch's). Height and width must be multiples of `r`.
    pub fn space_to_depth(&mut self, x: &Value, r: usize) -> Value {
        self.node("SpaceToDepth", &[&x.name], vec![int("blocksize", r as i64)], x.channels * r * r)
    }

    /// Enlarges by repeating pixels.
    pub fn nearest(&mut self, x: &Value, factor: usize) -> Value {
        let scales = format!("scales_x{factor}");
        self.constant(&scales, &[4], &[1.0, 1.0, factor as f32, factor as f32]);
        let attributes = vec![text("coordinate_transformation_mode", "asymmetric"), text("mode", "nearest"), text("nearest_mode", "floor")];
        self.node("Resize", &[&x.name, "", &scales], attributes, x.channels)
    }

    /// Bilinear resize of `x` to the height and width of `like` (half-pixel centres, no antialiasing).
    pub fn resize_like(&mut self, x: &Value, like: &Value) -> Value {
        for c in [0, 2, 4] {
            self.tensor(&format!("c{c}"), INT64, &[1], i64::to_le_bytes(c).to_vec());
        }
        let like = self.node("Shape", &[&like.name], vec![], 0);
        let like = self.node("Slice", &[&like.name, "c2", "c4", "c0"], vec![], 0);
        let own = self.node("Shape", &[&x.name], vec![], 0);
        let own = self.node("Slice", &[&own.name, "c0", "c2", "c0"], vec![], 0);
        let size = self.node("Concat", &[&own.name, &like.name], vec![int("axis", 0)], 0);
        let attributes = vec![text("coordinate_transformation_mode", "half_pixel"), text("mode", "linear")];
        self.node("Resize", &[&x.name, "", "", &size.name], attributes, x.channels)
    }

    /// Largest value of each `window x window` block, every `stride` pixels, without padding.
    pub fn max_pool(&mut self, x: &Value, window: i64, stride: i64) -> Value {
        self.node("MaxPool", &[&x.name], vec![ints("kernel_shape", &[window; 2]), ints("strides", &[stride; 2])], x.channels)
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>, channels: usize) -> Value {
        self.next += 1;
        let name = format!("t{}", self.next);
        self.graph.node.push(NodeProto {
            op_type: op.into(),
            name: format!("{op}_{}", self.next),
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: vec![name.clone()],
            attribute,
            ..Default::default()
        });
        Value { name, channels }
    }

    /// Stores a trained tensor and returns the name of its float32 value.
    fn weight(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Result<String, Refusal> {
        let expected: usize = dims.iter().product();
        if values.len() != expected {
            return Err(Refusal::new(format!("{name} has {} values, {expected} belong there", values.len()), ""));
        }
        if self.precision == Precision::Fp32 {
            self.constant(name, dims, values);
            return Ok(name.to_owned());
        }
        let mut raw = Vec::with_capacity(values.len() * 2);
        for &v in values {
            let half = f16::from_f32(v);
            if !half.is_finite() {
                return Err(Refusal::new(format!("{name} holds {v}, which float16 cannot"), "--weights fp32"));
            }
            // Below the normal range of float16 the relative error says nothing: the values are next to zero.
            if v.abs() > f16::MIN_POSITIVE.to_f32() {
                self.rounding = self.rounding.max(((half.to_f32() - v) / v).abs());
            }
            raw.extend(half.to_le_bytes());
        }
        let stored = format!("{name}_f16");
        self.tensor(&stored, FLOAT16, dims, raw);
        self.graph.node.push(NodeProto {
            op_type: "Cast".into(),
            name: format!("Cast_{name}"),
            input: vec![stored],
            output: vec![name.to_owned()],
            attribute: vec![int("to", FLOAT.into())],
            ..Default::default()
        });
        Ok(name.to_owned())
    }

    fn constant(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        self.tensor(name, FLOAT, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }

    fn tensor(&mut self, name: &str, data_type: i32, dims: &[usize], raw_data: Vec<u8>) {
        // Constants may be asked for again; there are few, and they come early.
        let small = raw_data.len() <= 32;
        if small && self.graph.initializer.iter().any(|t| t.name == name) {
            return;
        }
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            data_type,
            dims: dims.iter().map(|&d| d as i64).collect(),
            raw_data,
            ..Default::default()
        });
    }
}

fn picture(name: &str, height: &str, width: &str) -> ValueInfoProto {
    let dim = |value| DimensionProto { value: Some(value), ..Default::default() };
    let dims = vec![dim(Dim::Value(1)), dim(Dim::Value(3)), dim(Dim::Param(height.into())), dim(Dim::Param(width.into()))];
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { tensor_type: Some(TensorTypeProto { elem_type: FLOAT, shape: Some(ShapeProto { dim: dims }) }) }),
        ..Default::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: ATTR_INT, i, ..Default::default() }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: ATTR_INTS, ints: ints.to_vec(), ..Default::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: ATTR_FLOAT, f, ..Default::default() }
}

fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: ATTR_STRING, s: s.into(), ..Default::default() }
}
