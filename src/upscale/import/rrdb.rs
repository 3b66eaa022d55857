//! RRDBNet of ESRGAN (Wang et al. 2018, <https://arxiv.org/abs/1809.00219>) and Real-ESRGAN.
//!
//! Three spellings of the same network are known: the sequential one of the first ESRGAN (`model.1.sub.0.RDB1.conv1.0`), the
//! named one that followed (`RRDB_trunk.0.RDB1.conv1`) and that of BasicSR (`body.0.rdb1.conv1`). A first convolution with 12
//! or 48 inputs takes the picture folded 2x2 or 4x4 (pixel unshuffle), which makes x2 and x1 of an x4 network.

use super::build::{Graph, Value};
use super::weights::Weights;
use super::{Architecture, Facts, Options, Precision, Refusal};

pub const ARCHITECTURE: Architecture = Architecture { name: "ESRGAN (RRDBNet)", detect, build };

/// Negative slope of every activation.
const SLOPE: f32 = 0.2;
/// Factor on the residual of every dense block and of every group of three.
const RESIDUAL: f32 = 0.2;

/// How a spelling names the parts.
struct Names {
    first: String,
    /// Before and after the number of a block; then comes `{rdb}{1..3}.conv{1..5}{conv}`.
    block: &'static str,
    rdb: &'static str,
    conv: &'static str,
    trunk: String,
    ups: Vec<String>,
    hr: String,
    last: String,
    blocks: usize,
}

fn detect(w: &Weights) -> bool {
    ["model.1.sub.0.RDB1.conv1.0.weight", "RRDB_trunk.0.RDB1.conv1.weight", "body.0.rdb1.conv1.weight"].iter().any(|n| w.has(n))
}

fn names(w: &Weights) -> Result<Names, Refusal> {
    let numbered = |stem: &str| -> Vec<String> { (1..=w.count(stem, ".weight", 1)).map(|n| format!("{stem}{n}")).collect() };
    if w.has("body.0.rdb1.conv1.weight") {
        return Ok(Names {
            first: "conv_first".into(),
            block: "body.",
            rdb: ".rdb",
            conv: "",
            trunk: "conv_body".into(),
            ups: numbered("conv_up"),
            hr: "conv_hr".into(),
            last: "conv_last".into(),
            blocks: w.count("body.", ".rdb1.conv1.weight", 0),
        });
    }
    if w.has("RRDB_trunk.0.RDB1.conv1.weight") {
        return Ok(Names {
            first: "conv_first".into(),
            block: "RRDB_trunk.",
            rdb: ".RDB",
            conv: "",
            trunk: "trunk_conv".into(),
            ups: numbered("upconv"),
            hr: "HRconv".into(),
            last: "conv_last".into(),
            blocks: w.count("RRDB_trunk.", ".RDB1.conv1.weight", 0),
        });
    }
    let blocks = w.count("model.1.sub.", ".RDB1.conv1.0.weight", 0);
    // Behind the blocks: an enlarging convolution for each doubling, then two more. Activations and resizes have numbers too.
    let mut tail: Vec<usize> =
        w.names().filter_map(|n| n.strip_prefix("model.")?.strip_suffix(".weight")?.parse().ok()).filter(|&n| n >= 2).collect();
    tail.sort_unstable();
    let mut tail: Vec<String> = tail.into_iter().map(|n| format!("model.{n}")).collect();
    let (Some(last), Some(hr)) = (tail.pop(), tail.pop()) else {
        return Err(Refusal::new("the convolutions behind its blocks are missing", "the file may be incomplete"));
    };
    Ok(Names {
        first: "model.0".into(),
        block: "model.1.sub.",
        rdb: ".RDB",
        conv: ".0",
        trunk: format!("model.1.sub.{blocks}"),
        ups: tail,
        hr,
        last,
        blocks,
    })
}

fn build(w: &mut Weights, g: &mut Graph, _: &Options) -> Result<(Value, Facts), Refusal> {
    if let Some(name) = w.names().find(|n| n.contains("conv1x1")) {
        return Err(Refusal::new(
            format!("{name} makes it ESRGAN+ (nESRGAN+), which has one more path in every block"),
            "use an ESRGAN or Real-ESRGAN checkpoint",
        ));
    }
    let n = names(w)?;
    let [features, inputs, ..] = w.conv_shape(&n.first)?;
    let fold = match inputs {
        3 => 1,
        12 => 2,
        48 => 4,
        _ => {
            return Err(Refusal::new(format!("{}.weight takes {inputs} channels; 3, 12 or 48 are those of a colour picture", n.first), ""));
        }
    };
    if n.ups.len() > 4 {
        return Err(Refusal::new(format!("it enlarges {} times by 2; 4 times is the most", n.ups.len()), ""));
    }
    let inner_scale = 1 << n.ups.len();
    if inner_scale % fold != 0 {
        return Err(Refusal::new(format!("it folds the picture {fold}x{fold} and enlarges only x{inner_scale}"), ""));
    }

    let mut x = g.input();
    let mut first = w.kernel(&n.first)?;
    if fold > 1 {
        x = g.space_to_depth(&x, fold);
        first.weight = reorder_folded(&first.weight, first.outputs, fold, first.height * first.width);
    }
    let head = conv3x3(g, &x, &n.first, first)?;
    let mut x = head.clone();
    for block in 0..n.blocks {
        let entry = x.clone();
        for rdb in 1..=3 {
            x = dense_block(w, g, &x, &format!("{}{block}{}{rdb}.conv", n.block, n.rdb), n.conv)?;
        }
        let scaled = g.mul_constant(&x, "residual_scale", RESIDUAL);
        x = g.add(&scaled, &entry);
    }
    let trunk = w.kernel(&n.trunk)?;
    let trunk = conv3x3(g, &x, &n.trunk, trunk)?;
    let mut x = g.add(&trunk, &head);
    for up in &n.ups {
        let k = w.kernel(up)?;
        if k.outputs != features {
            return Err(Refusal::new(
                format!("{up}.weight has {} outputs: it enlarges by pixel shuffle, not by nearest neighbour", k.outputs),
                "use a checkpoint with the usual `upconv` tail",
            ));
        }
        let larger = g.nearest(&x, 2);
        let conv = conv3x3(g, &larger, up, k)?;
        x = g.leaky_relu(&conv, SLOPE);
    }
    let k = w.kernel(&n.hr)?;
    let hr = conv3x3(g, &x, &n.hr, k)?;
    let hr = g.leaky_relu(&hr, SLOPE);
    let k = w.kernel(&n.last)?;
    let out = conv3x3(g, &hr, &n.last, k)?;

    let facts = Facts {
        architecture: ARCHITECTURE.name,
        scale: (inner_scale / fold) as u32,
        features: features as u32,
        blocks: n.blocks as u32,
        radius_px: Some(radius(n.blocks, n.ups.len()) * fold as u32),
        minimum_px: fold as u32,
        multiple_of_px: fold as u32,
    };
    Ok((out, facts))
}

/// Five convolutions, each of which sees the input and what those before it found.
fn dense_block(w: &mut Weights, g: &mut Graph, x: &Value, stem: &str, suffix: &str) -> Result<Value, Refusal> {
    let mut seen = vec![x.clone()];
    for c in 1..=4 {
        let name = format!("{stem}{c}{suffix}");
        let all = if c == 1 { x.clone() } else { g.concat(&seen.iter().collect::<Vec<_>>()) };
        let k = w.kernel(&name)?;
        let y = conv3x3(g, &all, &name, k)?;
        seen.push(g.leaky_relu(&y, SLOPE));
    }
    let name = format!("{stem}5{suffix}");
    let all = g.concat(&seen.iter().collect::<Vec<_>>());
    let mut k = w.kernel(&name)?;
    // The factor goes into the weights: one pass over memory less, and the runtime can fuse the addition into the convolution.
    // Half-precision weights stay as they are, so that those of a half-precision checkpoint are kept exactly.
    let fold = g.precision() == Precision::Fp32;
    if fold {
        k.weight.iter_mut().chain(&mut k.bias).for_each(|v| *v *= RESIDUAL);
    }
    let mut y = conv3x3(g, &all, &name, k)?;
    if !fold {
        y = g.mul_constant(&y, "residual_scale", RESIDUAL);
    }
    if y.channels != x.channels {
        return Err(Refusal::new(format!("{name}.weight has {} outputs, the block has {} channels", y.channels, x.channels), ""));
    }
    Ok(g.add(&y, x))
}

fn conv3x3(g: &mut Graph, x: &Value, name: &str, k: super::weights::Kernel) -> Result<Value, Refusal> {
    if (k.height, k.width) != (3, 3) {
        return Err(Refusal::new(format!("{name}.weight is {}x{}, not 3x3", k.height, k.width), "it may be a variant of the architecture"));
    }
    g.conv(x, name, k, 1, 1)
}

/// Puts the input channels of a kernel that was trained behind PyTorch's pixel unshuffle (`c * r * r + pixel`) in the order of
/// ONNX's SpaceToDepth (`pixel * 3 + c`).
fn reorder_folded(weight: &[f32], outputs: usize, r: usize, taps: usize) -> Vec<f32> {
    let pixels = r * r;
    let mut out = Vec::with_capacity(weight.len());
    for o in 0..outputs {
        for pixel in 0..pixels {
            for c in 0..3 {
                let from = ((o * 3 + c) * pixels + pixel) * taps;
                out.extend_from_slice(&weight[from..from + taps]);
            }
        }
    }
    out
}

/// The receptive radius in pixels of the grid the blocks work on, walked from the output pixels of one pixel back to it.
fn radius(blocks: usize, doublings: usize) -> u32 {
    let (mut low, mut high) = (0i64, (1i64 << doublings) - 1);
    // conv_last and conv_hr on the finest grid; then, grid by grid, the convolution behind each doubling.
    (low, high) = (low - 2, high + 2);
    for _ in 0..doublings {
        (low, high) = ((low - 1).div_euclid(2), (high + 1).div_euclid(2));
    }
    // conv_first, three times five in each block, conv_body.
    (-low).max(high) as u32 + 2 + 15 * blocks as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radius_counts_every_convolution() {
        // 347 convolutions on the coarse grid and 2 px for the four on the finer ones.
        assert_eq!(radius(23, 2), 349);
        // Without a doubling all four lie on the same grid.
        assert_eq!(radius(1, 0), 19);
        assert_eq!(radius(1, 1), 17 + 2);
    }

    #[test]
    fn folded_channels_change_order() {
        // One output, one tap, r = 2: values are their own index c * 4 + pixel.
        let w: Vec<f32> = (0..12).map(|v| v as f32).collect();
        assert_eq!(reorder_folded(&w, 1, 2, 1), [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
    }
}
