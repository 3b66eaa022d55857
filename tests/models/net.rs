//! A little builder of ONNX networks.

use lastmile::upscale::graph::encode;
use lastmile::upscale::onnx::*;

pub struct Net {
    pub graph: GraphProto,
    next: usize,
    seed: u64,
    /// All weights are 1 and all biases 0: then an impulse on black reaches exactly what it can reach.
    pub ones: bool,
}

pub fn port(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|&d| DimensionProto { value: Some(if d > 0 { Dim::Value(d) } else { Dim::Param(format!("d{}", -d)) }), ..Default::default() })
        .collect();
    let tensor_type = Some(TensorTypeProto { elem_type, shape: Some(ShapeProto { dim }) });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }), ..Default::default() }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: ATTR_INT, ..Default::default() }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), r#type: ATTR_INTS, ..Default::default() }
}

pub fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.into(), s: s.as_bytes().to_vec(), r#type: ATTR_STRING, ..Default::default() }
}

impl Net {
    /// A network with `input` f32 [1, channels, any, any] and `output` of the same kind.
    pub fn new(channels: i64) -> Self {
        let graph = GraphProto {
            name: "test".into(),
            input: vec![port("input", FLOAT, &[1, channels, -2, -3])],
            output: vec![port("output", FLOAT, &[1, -1, -4, -5])],
            ..Default::default()
        };
        Self { graph, next: 0, seed: 1, ones: false }
    }

    pub fn random(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, dims: &[i64], values: &[f32]) -> String {
        let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(TensorProto { dims: dims.to_vec(), data_type: FLOAT, raw_data, ..Default::default() })
    }

    pub fn longs(&mut self, values: &[i64]) -> String {
        let (dims, int64_data) = (vec![values.len() as i64], values.to_vec());
        self.tensor(TensorProto { dims, data_type: INT64, int64_data, ..Default::default() })
    }

    pub fn tensor(&mut self, tensor: TensorProto) -> String {
        self.next += 1;
        let name = format!("c{}", self.next);
        self.graph.initializer.push(TensorProto { name: name.clone(), ..tensor });
        name
    }

    pub fn op(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.next += 1;
        let name = format!("t{}", self.next);
        let input = inputs.iter().map(|&i| i.into()).collect();
        self.graph.node.push(NodeProto { op_type: op.into(), input, output: vec![name.clone()], attribute, ..Default::default() });
        name
    }

    fn weights(&mut self, dims: &[i64], size: f32) -> String {
        let count = dims.iter().product::<i64>() as usize;
        let values: Vec<f32> = (0..count).map(|_| if self.ones { 1.0 } else { size * self.random() }).collect();
        self.floats(dims, &values)
    }

    /// A convolution that keeps the size (stride 1, odd kernel).
    pub fn conv(&mut self, from: &str, channels: (i64, i64), kernel: i64) -> String {
        let pad = kernel / 2;
        self.conv_with(from, channels, kernel, vec![ints("pads", &[pad; 4])])
    }

    pub fn conv_with(&mut self, from: &str, (c_in, c_out): (i64, i64), kernel: i64, attributes: Vec<AttributeProto>) -> String {
        let weight = self.weights(&[c_out, c_in, kernel, kernel], 1.7 / ((c_in * kernel * kernel) as f32).sqrt());
        let bias: Vec<f32> = (0..c_out).map(|_| if self.ones { 0.0 } else { 0.1 * self.random() }).collect();
        let bias = self.floats(&[c_out], &bias);
        self.op("Conv", &[from, &weight, &bias], attributes)
    }

    pub fn transposed(&mut self, from: &str, (c_in, c_out): (i64, i64), kernel: i64, stride: i64, pad: i64) -> String {
        let weight = self.weights(&[c_in, c_out, kernel, kernel], 0.3);
        self.op("ConvTranspose", &[from, &weight], vec![ints("strides", &[stride; 2]), ints("pads", &[pad; 4])])
    }

    pub fn resize(&mut self, from: &str, factor: f32, mode: &str, coordinates: &str) -> String {
        let scales = self.floats(&[4], &[1.0, 1.0, factor, factor]);
        let mut attributes = vec![text("mode", mode), text("coordinate_transformation_mode", coordinates)];
        if mode == "nearest" {
            attributes.push(text("nearest_mode", "floor"));
        }
        self.op("Resize", &[from, "", &scales], attributes)
    }

    pub fn depth_to_space(&mut self, from: &str, block: i64) -> String {
        self.op("DepthToSpace", &[from], vec![int("blocksize", block), text("mode", "CRD")])
    }

    /// The finished model; `from` becomes the output.
    pub fn finish(mut self, from: &str) -> ModelProto {
        self.graph.node.push(NodeProto {
            op_type: "Identity".into(),
            input: vec![from.into()],
            output: vec!["output".into()],
            ..Default::default()
        });
        let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
        ModelProto { ir_version: 8, producer_name: "test".into(), graph: Some(self.graph), opset_import: vec![opset], ..Default::default() }
    }

    pub fn bytes(self, from: &str) -> Vec<u8> {
        encode(&self.finish(from))
    }
}

/// RRDBNet (Wang et al., ESRGAN, 2018) with `blocks` blocks and few channels.
pub fn rrdb(blocks: usize) -> ModelProto {
    const C: i64 = 2;
    let mut net = Net::new(3);
    net.ones = true;
    let relu = |net: &mut Net, x: &str| net.op("LeakyRelu", &[x], vec![]);
    let first = net.conv("input", (3, C), 3);
    let mut x = first.clone();
    for _ in 0..blocks {
        let outer = x.clone();
        for _ in 0..3 {
            let inner = x.clone();
            let mut all = inner.clone();
            for k in 0..4 {
                let y = net.conv(&all, (C + k, 1), 3);
                let y = relu(&mut net, &y);
                all = net.op("Concat", &[&all, &y], vec![int("axis", 1)]);
            }
            let y = net.conv(&all, (C + 4, C), 3);
            x = net.op("Add", &[&y, &inner], vec![]);
        }
        x = net.op("Add", &[&x, &outer], vec![]);
    }
    let body = net.conv(&x, (C, C), 3);
    x = net.op("Add", &[&body, &first], vec![]);
    for _ in 0..2 {
        let up = net.resize(&x, 2.0, "nearest", "asymmetric");
        let y = net.conv(&up, (C, C), 3);
        x = relu(&mut net, &y);
    }
    let y = net.conv(&x, (C, C), 3);
    let y = relu(&mut net, &y);
    let last = net.conv(&y, (C, 3), 3);
    net.finish(&last)
}
