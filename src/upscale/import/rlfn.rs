//! RLFN, the residual local feature network (Kong et al. 2022, <https://arxiv.org/abs/2205.07514>).
//!
//! Its attention (ESA) pools with a 7x7 window behind a convolution of stride 2 and resizes back, so a pixel depends on where
//! the pooling grid lies: tiles are never quite equal to the whole picture, and pictures below 15x15 leave the pool nothing.
//! The published networks work on 0..255; the factor goes into the first and the last convolution.

use super::build::{Graph, Value};
use super::weights::Weights;
use super::{Architecture, Facts, Options, Refusal, shuffle_scale};
use crate::upscale::model::Range;

pub const ARCHITECTURE: Architecture = Architecture { name: "RLFN", detect, build };

/// Negative slope of every activation.
const SLOPE: f32 = 0.05;
/// `(15 - 3) / 2 + 1 = 7`, the pool's window.
const MINIMUM_PX: u32 = 15;

fn detect(w: &Weights) -> bool {
    w.has("block_1.c1_r.weight") && w.has("block_1.esa.conv_f.weight")
}

fn build(w: &mut Weights, g: &mut Graph, options: &Options) -> Result<(Value, Facts), Refusal> {
    let white = options.range.unwrap_or(Range::Byte).white();
    let blocks = w.count("block_", ".c1_r.weight", 1);
    let mut k = w.kernel("conv_1")?;
    k.weight.iter_mut().for_each(|v| *v *= white);
    let pad = same_padding("conv_1", k.height, k.width)?;
    let input = g.input();
    let head = g.conv(&input, "conv_1", k, 1, pad)?;
    let mut x = head.clone();
    for b in 1..=blocks {
        let entry = x.clone();
        for c in ["c1_r", "c2_r", "c3_r"] {
            let y = conv(w, g, &x, &format!("block_{b}.{c}"))?;
            x = g.leaky_relu(&y, SLOPE);
        }
        same_channels(b, &x, &entry)?;
        let sum = g.add(&x, &entry);
        let y = conv(w, g, &sum, &format!("block_{b}.c5"))?;
        x = attention(w, g, &y, &format!("block_{b}.esa"))?;
    }
    let tail = conv(w, g, &x, "conv_2")?;
    same_channels(blocks, &tail, &head)?;
    let sum = g.add(&tail, &head);
    let mut k = w.kernel("upsampler.0")?;
    k.weight.iter_mut().chain(&mut k.bias).for_each(|v| *v /= white);
    let scale = shuffle_scale(k.outputs)?;
    let pad = same_padding("upsampler.0", k.height, k.width)?;
    let out = g.conv(&sum, "upsampler.0", k, 1, pad)?;
    let out = if scale == 1 { out } else { g.pixel_shuffle(&out, scale)? };
    let facts = Facts {
        architecture: ARCHITECTURE.name,
        scale: scale as u32,
        features: head.channels as u32,
        blocks: blocks as u32,
        radius_px: None,
        minimum_px: MINIMUM_PX,
        multiple_of_px: 1,
    };
    Ok((out, facts))
}

/// Multiplies `x` by a mask made from a small view of it.
fn attention(w: &mut Weights, g: &mut Graph, x: &Value, name: &str) -> Result<Value, Refusal> {
    let small = conv(w, g, x, &format!("{name}.conv1"))?;
    let k = w.kernel(&format!("{name}.conv2"))?;
    if (k.height, k.width) != (3, 3) {
        return Err(Refusal::new(format!("{name}.conv2.weight is {}x{}, not 3x3", k.height, k.width), ""));
    }
    let halved = g.conv(&small, &format!("{name}.conv2"), k, 2, 0)?;
    let pooled = g.max_pool(&halved, 7, 3);
    let seen = conv(w, g, &pooled, &format!("{name}.conv3"))?;
    let seen = g.resize_like(&seen, x);
    let direct = conv(w, g, &small, &format!("{name}.conv_f"))?;
    let sum = g.add(&seen, &direct);
    let mask = conv(w, g, &sum, &format!("{name}.conv4"))?;
    if mask.channels != x.channels {
        return Err(Refusal::new(format!("{name}.conv4.weight has {} outputs for {} channels", mask.channels, x.channels), ""));
    }
    let mask = g.sigmoid(&mask);
    Ok(g.mul(x, &mask))
}

fn same_channels(block: usize, a: &Value, b: &Value) -> Result<(), Refusal> {
    if a.channels == b.channels {
        return Ok(());
    }
    Err(Refusal::new(
        format!("{} channels are added to {} behind block {block}", a.channels, b.channels),
        "it may be a variant of the architecture",
    ))
}

fn conv(w: &mut Weights, g: &mut Graph, x: &Value, name: &str) -> Result<Value, Refusal> {
    let k = w.kernel(name)?;
    let pad = same_padding(name, k.height, k.width)?;
    g.conv(x, name, k, 1, pad)
}

fn same_padding(name: &str, height: usize, width: usize) -> Result<i64, Refusal> {
    match (height, width) {
        (1, 1) => Ok(0),
        (3, 3) => Ok(1),
        _ => Err(Refusal::new(format!("{name}.weight is {height}x{width}; 1x1 and 3x3 are known"), "")),
    }
}
