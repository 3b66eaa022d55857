//! SPAN, the swift parameter-free attention network (Wan et al. 2023, <https://arxiv.org/abs/2311.12770>).
//!
//! Published files hold either the plain 3x3 convolutions (`eval_conv` only) or, beside them, what they were trained as: a
//! chain of 1x1, 3x3 and 1x1 convolutions with a 1x1 skip. The chain is multiplied out here, as the network itself does before
//! it runs; a stored `eval_conv` beside it may be stale and is not used.

use super::build::{Graph, Value};
use super::weights::{Kernel, Weights};
use super::{Architecture, Facts, Options, Refusal, shuffle_scale};
use crate::upscale::model::Range;

pub const ARCHITECTURE: Architecture = Architecture { name: "SPAN", detect, build };

/// Mean colour of DIV2K, R, G, B in 0..1, which the network was trained to have taken off.
const MEAN: [f32; 3] = [0.4488, 0.4371, 0.4040];
const BLOCKS: usize = 6;

fn detect(w: &Weights) -> bool {
    w.has("conv_cat.weight") && (w.has("block_1.c1_r.eval_conv.weight") || w.has("block_1.c1_r.conv.0.weight"))
}

fn build(w: &mut Weights, g: &mut Graph, options: &Options) -> Result<(Value, Facts), Refusal> {
    let kinds = ["eval_conv", "conv.0"];
    let blocks = kinds.iter().map(|k| w.count("block_", &format!(".c1_r.{k}.weight"), 1)).max().unwrap_or(0);
    if blocks != BLOCKS {
        return Err(Refusal::new(format!("it has {blocks} blocks, SPAN has {BLOCKS}"), "it may be a variant of the architecture"));
    }
    let mut x = g.input();
    // A buffer of this name marks networks trained without taking the mean off, on 0..1.
    if w.has("no_norm") {
        w.ignore("no_norm");
    } else {
        x = g.sub_constant(&x, "rgb_mean", &MEAN);
        if options.range != Some(Range::One) {
            x = g.mul_constant(&x, "img_range", 255.0);
        }
    }
    let head = conv(w, g, &x, "conv_1")?;
    let features = head.channels;
    let mut x = head.clone();
    let mut first_block = None;
    let mut late = None;
    for b in 1..=BLOCKS {
        let c1 = conv(w, g, &x, &format!("block_{b}.c1_r"))?;
        let act1 = g.silu(&c1);
        let c2 = conv(w, g, &act1, &format!("block_{b}.c2_r"))?;
        let act2 = g.silu(&c2);
        let c3 = conv(w, g, &act2, &format!("block_{b}.c3_r"))?;
        let gate = g.sigmoid(&c3);
        let gate = g.sub_constant(&gate, "half", &[0.5]);
        if c3.channels != x.channels {
            return Err(Refusal::new(format!("block_{b} has {} outputs for {} inputs", c3.channels, x.channels), ""));
        }
        let sum = g.add(&c3, &x);
        x = g.mul(&sum, &gate);
        first_block.get_or_insert_with(|| x.clone());
        // The activation works in place, so the last block's first convolution is handed on activated.
        late = Some(act1);
    }
    let tail = conv(w, g, &x, "conv_2")?;
    let (Some(first_block), Some(late)) = (first_block, late) else {
        return Err(Refusal::new("it has no blocks", ""));
    };
    let all = g.concat(&[&head, &tail, &first_block, &late]);
    let k = w.kernel("conv_cat")?;
    if (k.height, k.width) != (1, 1) {
        return Err(Refusal::new(format!("conv_cat.weight is {}x{}, not 1x1", k.height, k.width), ""));
    }
    let merged = g.conv(&all, "conv_cat", k, 1, 0)?;
    let k = w.kernel("upsampler.0")?;
    let scale = shuffle_scale(k.outputs)?;
    if (k.height, k.width) != (3, 3) {
        return Err(Refusal::new(format!("upsampler.0.weight is {}x{}, not 3x3", k.height, k.width), ""));
    }
    let out = g.conv(&merged, "upsampler.0", k, 1, 1)?;
    let out = if scale == 1 { out } else { g.pixel_shuffle(&out, scale)? };
    let facts = Facts {
        architecture: ARCHITECTURE.name,
        scale: scale as u32,
        features: features as u32,
        blocks: BLOCKS as u32,
        // conv_1, three in each block, conv_2, upsampler.
        radius_px: Some(3 * BLOCKS as u32 + 3),
        minimum_px: 1,
        multiple_of_px: 1,
    };
    Ok((out, facts))
}

fn conv(w: &mut Weights, g: &mut Graph, x: &Value, name: &str) -> Result<Value, Refusal> {
    let plain = format!("{name}.eval_conv");
    let trained = ["conv.0", "conv.1", "conv.2", "sk"].map(|part| format!("{name}.{part}"));
    let k = if w.has(&format!("{}.weight", trained[0])) {
        let [a, b, c, skip] = &trained;
        let merged = multiply_out(&w.kernel(a)?, &w.kernel(b)?, &w.kernel(c)?, &w.kernel(skip)?)
            .ok_or_else(|| Refusal::new(format!("{name}: its 1x1, 3x3, 1x1 and skip convolutions do not fit together"), ""))?;
        w.ignore(&format!("{plain}.weight"));
        w.ignore(&format!("{plain}.bias"));
        merged
    } else {
        w.kernel(&plain)?
    };
    if (k.height, k.width) != (3, 3) {
        return Err(Refusal::new(format!("{plain}.weight is {}x{}, not 3x3", k.height, k.width), ""));
    }
    g.conv(x, &plain, k, 1, 1)
}

/// The 3x3 convolution that equals 1x1, then 3x3, then 1x1, plus a 1x1 skip; sums in f64.
fn multiply_out(a: &Kernel, b: &Kernel, c: &Kernel, skip: &Kernel) -> Option<Kernel> {
    let sizes = [a, b, c, skip].map(|k| (k.height, k.width));
    let fits = a.outputs == b.inputs && b.outputs == c.inputs && a.inputs == skip.inputs && c.outputs == skip.outputs;
    if sizes != [(1, 1), (3, 3), (1, 1), (1, 1)] || !fits {
        return None;
    }
    let (inputs, outputs, mid, wide) = (a.inputs, c.outputs, a.outputs, b.outputs);
    // b after a: [wide][inputs][9], and the bias that reaches each of `wide`.
    let mut ba = vec![0f64; wide * inputs * 9];
    let mut ba_bias = vec![0f64; wide];
    for o in 0..wide {
        ba_bias[o] = b.bias[o].into();
        for m in 0..mid {
            let taps = &b.weight[(o * mid + m) * 9..][..9];
            ba_bias[o] += taps.iter().map(|&t| f64::from(t)).sum::<f64>() * f64::from(a.bias[m]);
            for i in 0..inputs {
                let factor = f64::from(a.weight[m * inputs + i]);
                for (sum, &t) in ba[(o * inputs + i) * 9..][..9].iter_mut().zip(taps) {
                    *sum += factor * f64::from(t);
                }
            }
        }
    }
    let mut weight = vec![0f64; outputs * inputs * 9];
    let mut bias = vec![0f64; outputs];
    for o in 0..outputs {
        bias[o] = f64::from(c.bias[o]) + f64::from(skip.bias[o]);
        let row = &mut weight[o * inputs * 9..][..inputs * 9];
        for m in 0..wide {
            let factor = f64::from(c.weight[o * wide + m]);
            bias[o] += factor * ba_bias[m];
            for (sum, v) in row.iter_mut().zip(&ba[m * inputs * 9..][..inputs * 9]) {
                *sum += factor * v;
            }
        }
        for i in 0..inputs {
            row[i * 9 + 4] += f64::from(skip.weight[o * inputs + i]);
        }
    }
    let narrow = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect();
    Some(Kernel { weight: narrow(weight), bias: narrow(bias), outputs, inputs, height: 3, width: 3 })
}
