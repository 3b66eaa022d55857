//! SRVGGNetCompact of Real-ESRGAN (Wang et al. 2021, <https://arxiv.org/abs/2107.10833>): convolutions with an activation
//! between each two, a pixel shuffle, and the picture enlarged by nearest neighbour added at the end.
//!
//! `body.0`, `body.2` ... are the convolutions, `body.1`, `body.3` ... the slopes of PReLU. With ReLU or LeakyReLU the odd
//! numbers are missing and nothing tells which of the two it was: the user has to.

use super::build::{Graph, Value};
use super::weights::Weights;
use super::{Activation, Architecture, Facts, Options, Refusal, shuffle_scale};

pub const ARCHITECTURE: Architecture = Architecture { name: "SRVGGNetCompact", detect, build };

/// Negative slope of the LeakyReLU variant.
const LEAKY_SLOPE: f32 = 0.1;

fn detect(w: &Weights) -> bool {
    w.shape("body.0.weight").is_some_and(|s| s.len() == 4) && w.has("body.2.weight") && w.float_names().all(is_body)
}

/// Whether a name is `body.N.weight` or `body.N.bias`.
fn is_body(name: &str) -> bool {
    let number = name.strip_prefix("body.").and_then(|n| n.strip_suffix(".weight").or_else(|| n.strip_suffix(".bias")));
    number.is_some_and(|n| n.parse::<u32>().is_ok())
}

fn build(w: &mut Weights, g: &mut Graph, options: &Options) -> Result<(Value, Facts), Refusal> {
    let convs = (0..).take_while(|n| w.shape(&format!("body.{}.weight", 2 * n)).is_some_and(|s| s.len() == 4)).count();
    let [features, ..] = w.conv_shape("body.0")?;
    let learned = w.has("body.1.weight");
    if !learned && options.activation.is_none() {
        return Err(Refusal::new(
            "its activation has no weights, so it is ReLU or LeakyReLU, and the file does not say which",
            "--activation relu or --activation leakyrelu (compare the results: the wrong one looks broken)",
        ));
    }
    if learned && options.activation.is_some() {
        return Err(Refusal::new("an activation is given, and it has learned ones (PReLU)", "leave --activation out"));
    }
    let mut x = g.input();
    for n in 0..convs {
        let name = format!("body.{}", 2 * n);
        let k = w.kernel(&name)?;
        if (k.height, k.width) != (3, 3) {
            return Err(Refusal::new(format!("{name}.weight is {}x{}, not 3x3", k.height, k.width), ""));
        }
        x = g.conv(&x, &name, k, 1, 1)?;
        if n + 1 < convs {
            x = match options.activation {
                None => {
                    let name = format!("body.{}.weight", 2 * n + 1);
                    let slope = w.load(&name)?;
                    g.prelu(&x, &name, &slope)?
                }
                Some(Activation::Relu) => g.relu(&x),
                Some(Activation::LeakyRelu) => g.leaky_relu(&x, LEAKY_SLOPE),
            };
        }
    }
    let scale = shuffle_scale(x.channels)?;
    let picture = g.input();
    let (detail, base) = match scale {
        1 => (x, picture),
        _ => (g.pixel_shuffle(&x, scale)?, g.nearest(&picture, scale)),
    };
    let out = g.add(&detail, &base);
    let facts = Facts {
        architecture: ARCHITECTURE.name,
        scale: scale as u32,
        features: features as u32,
        blocks: (convs as u32).saturating_sub(2),
        radius_px: Some(convs as u32),
        minimum_px: 1,
        multiple_of_px: 1,
    };
    Ok((out, facts))
}
