//! A slow evaluator for the ONNX operations that imported networks use: the formulas of the ONNX operator reference, one loop
//! each, so that what a graph computes is checked without the runtime.

use std::collections::HashMap;

use half::f16;
use lastmile::upscale::onnx::{FLOAT, FLOAT16, INT64, ModelProto, NodeProto, TensorProto};

#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    /// Row-major; integers too.
    pub data: Vec<f32>,
}

/// Runs the network on one picture, `[1, 3, height, width]`.
pub fn run(model: &ModelProto, picture: Tensor) -> Tensor {
    let graph = model.graph.as_ref().unwrap();
    let mut values: HashMap<&str, Tensor> = graph.initializer.iter().map(|t| (t.name.as_str(), constant(t))).collect();
    values.insert(graph.input[0].name.as_str(), picture);
    for node in &graph.node {
        let inputs: Vec<Option<&Tensor>> = node.input.iter().map(|n| values.get(n.as_str())).collect();
        let out = apply(node, &inputs);
        values.insert(&node.output[0], out);
    }
    values.remove(graph.output[0].name.as_str()).unwrap()
}

pub fn constant(t: &TensorProto) -> Tensor {
    let data = match t.data_type {
        FLOAT if t.raw_data.is_empty() => t.float_data.clone(),
        FLOAT => t.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        FLOAT16 => t.raw_data.chunks_exact(2).map(|b| f16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect(),
        INT64 if t.raw_data.is_empty() => t.int64_data.iter().map(|&v| v as f32).collect(),
        INT64 => t.raw_data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect(),
        other => panic!("constant of type {other}"),
    };
    Tensor { shape: t.dims.iter().map(|&d| d as usize).collect(), data }
}

fn apply(node: &NodeProto, inputs: &[Option<&Tensor>]) -> Tensor {
    let x = inputs[0].unwrap();
    let each = |f: &dyn Fn(f32) -> f32| Tensor { shape: x.shape.clone(), data: x.data.iter().map(|&v| f(v)).collect() };
    match node.op_type.as_str() {
        "Conv" => conv(node, x, inputs[1].unwrap(), inputs.get(2).copied().flatten()),
        "Relu" => each(&|v| v.max(0.0)),
        "LeakyRelu" => {
            let slope = node.attr("alpha").unwrap().f;
            each(&|v| if v < 0.0 { slope * v } else { v })
        }
        "Sigmoid" => each(&|v| 1.0 / (1.0 + (-v).exp())),
        "Cast" => x.clone(),
        "PRelu" => broadcast(x, inputs[1].unwrap(), |v, slope| if v < 0.0 { slope * v } else { v }),
        "Add" => broadcast(x, inputs[1].unwrap(), |a, b| a + b),
        "Sub" => broadcast(x, inputs[1].unwrap(), |a, b| a - b),
        "Mul" => broadcast(x, inputs[1].unwrap(), |a, b| a * b),
        "Concat" => {
            let axis = node.int("axis").unwrap() as usize;
            let mut shape = x.shape.clone();
            shape[axis] = inputs.iter().map(|t| t.unwrap().shape[axis]).sum();
            // The batch is one, so both axes used (0 of a list, 1 of a picture) are the outermost that vary.
            assert!(shape[..axis].iter().all(|&n| n == 1));
            Tensor { shape, data: inputs.iter().flat_map(|t| t.unwrap().data.clone()).collect() }
        }
        "Shape" => Tensor { shape: vec![x.shape.len()], data: x.shape.iter().map(|&n| n as f32).collect() },
        "Slice" => {
            let (from, to) = (inputs[1].unwrap().data[0] as usize, inputs[2].unwrap().data[0] as usize);
            Tensor { shape: vec![to - from], data: x.data[from..to].to_vec() }
        }
        "MaxPool" => {
            let (k, s) = (node.ints("kernel_shape")[0] as usize, node.ints("strides")[0] as usize);
            let (h, w) = ((x.shape[2] - k) / s + 1, (x.shape[3] - k) / s + 1);
            picture(x.shape[1], h, w, |c, y, xx| {
                (0..k * k).map(|i| at(x, c, y * s + i / k, xx * s + i % k)).fold(f32::NEG_INFINITY, f32::max)
            })
        }
        "DepthToSpace" => {
            let r = node.int("blocksize").unwrap() as usize;
            assert_eq!(node.text("mode"), Some("CRD"));
            picture(x.shape[1] / (r * r), x.shape[2] * r, x.shape[3] * r, |c, y, xx| at(x, c * r * r + (y % r) * r + xx % r, y / r, xx / r))
        }
        "SpaceToDepth" => {
            let r = node.int("blocksize").unwrap() as usize;
            let channels = x.shape[1];
            assert!(x.shape[2].is_multiple_of(r) && x.shape[3].is_multiple_of(r));
            picture(channels * r * r, x.shape[2] / r, x.shape[3] / r, |c, y, xx| {
                let (pixel, from) = (c / channels, c % channels);
                at(x, from, y * r + pixel / r, xx * r + pixel % r)
            })
        }
        "Resize" => resize(node, x, inputs),
        other => panic!("operation {other}"),
    }
}

fn picture(channels: usize, height: usize, width: usize, f: impl Fn(usize, usize, usize) -> f32) -> Tensor {
    let mut data = Vec::with_capacity(channels * height * width);
    for c in 0..channels {
        for y in 0..height {
            for x in 0..width {
                data.push(f(c, y, x));
            }
        }
    }
    Tensor { shape: vec![1, channels, height, width], data }
}

fn at(t: &Tensor, c: usize, y: usize, x: usize) -> f32 {
    t.data[(c * t.shape[2] + y) * t.shape[3] + x]
}

/// `b` has the shape of `a`, is one value, or has one value per channel.
fn broadcast(a: &Tensor, b: &Tensor, f: impl Fn(f32, f32) -> f32) -> Tensor {
    let plane = a.shape[2..].iter().product::<usize>();
    let data = a.data.iter().enumerate().map(|(i, &v)| {
        let j = match b.data.len() {
            1 => 0,
            n if n == a.data.len() => i,
            n => {
                assert_eq!((n, b.shape[b.shape.len() - 3]), (a.shape[1], n));
                i / plane
            }
        };
        f(v, b.data[j])
    });
    Tensor { shape: a.shape.clone(), data: data.collect() }
}

fn conv(node: &NodeProto, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    assert_eq!((node.int("group"), node.ints("dilations")), (Some(1), &[1, 1][..]));
    let [outputs, inputs, kh, kw] = weight.shape[..] else { panic!("weight {:?}", weight.shape) };
    assert_eq!(inputs, x.shape[1]);
    let (s, pad) = (node.ints("strides")[0] as usize, node.ints("pads")[0] as usize);
    let (h, w) = (x.shape[2], x.shape[3]);
    let (oh, ow) = ((h + 2 * pad - kh) / s + 1, (w + 2 * pad - kw) / s + 1);
    let mut out = vec![0f64; outputs * oh * ow];
    for o in 0..outputs {
        let plane = &mut out[o * oh * ow..][..oh * ow];
        plane.fill(bias.map_or(0.0, |b| b.data[o].into()));
        for i in 0..inputs {
            for (tap, &factor) in weight.data[(o * inputs + i) * kh * kw..][..kh * kw].iter().enumerate() {
                let (dy, dx) = (tap / kw, tap % kw);
                for y in 0..oh {
                    let Some(sy) = (y * s + dy).checked_sub(pad).filter(|&sy| sy < h) else { continue };
                    for (xx, sum) in plane[y * ow..][..ow].iter_mut().enumerate() {
                        if let Some(sx) = (xx * s + dx).checked_sub(pad).filter(|&sx| sx < w) {
                            *sum += f64::from(factor) * f64::from(x.data[(i * h + sy) * w + sx]);
                        }
                    }
                }
            }
        }
    }
    Tensor { shape: vec![1, outputs, oh, ow], data: out.into_iter().map(|v| v as f32).collect() }
}

fn resize(node: &NodeProto, x: &Tensor, inputs: &[Option<&Tensor>]) -> Tensor {
    let (h, w) = (x.shape[2], x.shape[3]);
    match (node.text("mode"), node.text("coordinate_transformation_mode")) {
        (Some("nearest"), Some("asymmetric")) => {
            assert_eq!(node.text("nearest_mode"), Some("floor"));
            let scales = &inputs[2].unwrap().data;
            let (sy, sx) = (scales[2] as usize, scales[3] as usize);
            picture(x.shape[1], h * sy, w * sx, |c, y, xx| at(x, c, y / sy, xx / sx))
        }
        (Some("linear"), Some("half_pixel")) => {
            let sizes = &inputs[3].unwrap().data;
            let (oh, ow) = (sizes[2] as usize, sizes[3] as usize);
            let place = |i: usize, n: usize, of: usize| {
                let p = ((i as f64 + 0.5) * n as f64 / of as f64 - 0.5).clamp(0.0, (n - 1) as f64);
                (p as usize, (p as usize + 1).min(n - 1), p.fract() as f32)
            };
            picture(x.shape[1], oh, ow, |c, y, xx| {
                let ((y0, y1, fy), (x0, x1, fx)) = (place(y, h, oh), place(xx, w, ow));
                let row = |y| at(x, c, y, x0) * (1.0 - fx) + at(x, c, y, x1) * fx;
                row(y0) * (1.0 - fy) + row(y1) * fy
            })
        }
        other => panic!("resize {other:?}"),
    }
}
