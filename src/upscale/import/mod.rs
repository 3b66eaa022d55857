//! Checkpoints (`.pth`, `.safetensors`) to ONNX, without Python and without running anything that is in them.
//!
//! A checkpoint is a bag of named tensors; the network they belong to is told by their names and shapes. Each architecture is
//! one file with a `detect` and a `build`, and one line in `ARCHITECTURES`. What is written is opset 17 with a free height and
//! width: input `input`, float32 1x3xHxW RGB in 0..1; output `output`, 1x3x(sH)x(sW), not clamped.
//!
//! Every tensor of the checkpoint must have found its place in the graph, or the import is refused: a variant that only looks
//! like a known architecture would otherwise give wrong pictures.

mod build;
mod interp;
pub mod pickle;
mod rlfn;
mod rrdb;
pub mod safetensors;
mod span;
mod srvgg;
pub mod torch_legacy;
pub mod torch_zip;
pub mod weights;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

pub use interp::interpolate;
use weights::{ReadSeek, Weights};

use crate::error::{Error, Result};
use crate::upscale::graph;
use crate::upscale::model::{ChannelOrder, Dtype, Halo, Kind, Layout, Manifest, Range, SizeRule, sha256};
use crate::upscale::onnx::ModelProto;

/// Networks deeper than this many pixels are tiled with blended overlaps: an exact halo would cost more than the picture.
const DEEPEST_EXACT_HALO_PX: u32 = 64;
/// Overlap of tiles that are blended.
const BLEND_HALO_PX: u32 = 32;

/// Most characters of a refusal.
const TOLD: usize = 1000;

/// Why a checkpoint is refused, before it is known which file it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub what: String,
    pub hint: String,
}

impl Refusal {
    /// Names from a file go into what is told: they cannot begin a line of their own, and a long one is cut.
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        let plain = |text: String| -> String {
            let escaped = text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] });
            let mut told: String = escaped.take(TOLD + 1).collect();
            if told.chars().count() > TOLD {
                told = told.chars().take(TOLD - 1).chain(['\u{2026}']).collect();
            }
            told
        };
        Self { what: plain(what.into()), hint: hint.into() }
    }

    fn of(self, file: &Path) -> Error {
        Error::model(file.display(), self.what, self.hint)
    }
}

/// How the weights are stored in the ONNX file. Computation is float32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    #[default]
    Fp32,
    /// Half the file size; each weight is rounded to 11 bits.
    Fp16,
}

/// The function between convolutions, where a checkpoint does not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Relu,
    /// Negative slope 0.1.
    LeakyRelu,
}

/// What a checkpoint cannot tell itself.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub precision: Precision,
    /// For SRVGGNetCompact without PReLU weights: required there.
    pub activation: Option<Activation>,
    /// The range that the network was trained on, if it is not the usual one of its architecture.
    pub range: Option<Range>,
}

/// What is known about an imported network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Name of the architecture.
    pub architecture: &'static str,
    pub scale: u32,
    /// Channels of the body.
    pub features: u32,
    /// Blocks (or convolutions, where there are no blocks) of the body.
    pub blocks: u32,
    /// Input pixels around a pixel that can change its output pixels; `None` if it is not bounded or depends on the tile grid.
    pub radius_px: Option<u32>,
    /// Smallest width and height.
    pub minimum_px: u32,
    /// Width, height and tile origins must be multiples of this.
    pub multiple_of_px: u32,
}

/// An imported network.
#[derive(Debug, Clone)]
pub struct Imported {
    pub model: ModelProto,
    pub facts: Facts,
    /// Largest relative error of a weight that was rounded to float16; 0 for fp32.
    pub rounding: f32,
    /// Of a file with more in it than this network: what stands before its names, and how many other tensors there are.
    pub chosen: Option<(String, usize)>,
}

/// What a manifest says that no weights tell.
#[derive(Debug, Clone)]
pub struct About {
    pub id: String,
    pub kind: Kind,
    pub licence: String,
    pub source: String,
}

impl Imported {
    /// The ONNX file and its manifest.
    pub fn files(&self, about: &About) -> (Vec<u8>, Manifest) {
        let onnx = graph::encode(&self.model);
        let Facts { architecture, scale, features, blocks, radius_px, minimum_px, multiple_of_px } = self.facts;
        let (halo, halo_reason) = match radius_px {
            Some(px) if px <= DEEPEST_EXACT_HALO_PX * multiple_of_px => (Halo::Exact(px), String::new()),
            Some(px) => (Halo::Blend(BLEND_HALO_PX * multiple_of_px), format!("its exact halo of {px} px would cost more than it gives")),
            None => (Halo::Blend(BLEND_HALO_PX), "its attention looks at the whole tile through a pool and a computed resize".to_owned()),
        };
        let manifest = Manifest {
            id: about.id.clone(),
            name: about.id.clone(),
            file: format!("{}.onnx", about.id),
            sha256: sha256(&onnx),
            licence: about.licence.clone(),
            source: about.source.clone(),
            note: format!("{architecture}, {features} features, {blocks} blocks"),
            kind: about.kind,
            scale,
            channels: 3,
            order: ChannelOrder::Rgb,
            range: Range::One,
            dtype: Dtype::F32,
            layout: Layout::Nchw,
            input: "input".into(),
            output: "output".into(),
            size: SizeRule { minimum: minimum_px, multiple_of: multiple_of_px, fixed: None },
            stride: multiple_of_px,
            halo,
            halo_reason,
        };
        (onnx, manifest)
    }
}

type Build = fn(&mut Weights, &mut build::Graph, &Options) -> Result<(build::Value, Facts), Refusal>;

/// One architecture.
struct Architecture {
    name: &'static str,
    /// Whether the names look like this architecture; `build` checks the rest.
    detect: fn(&Weights) -> bool,
    build: Build,
}

/// The architectures that are known.
const ARCHITECTURES: [Architecture; 4] = [rrdb::ARCHITECTURE, srvgg::ARCHITECTURE, span::ARCHITECTURE, rlfn::ARCHITECTURE];

/// Names of the architectures that can be imported.
pub fn architectures() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|a| a.name)
}

/// Reads a checkpoint and builds its network.
///
/// # Errors
/// [`Error::Model`] if the file cannot be opened, and for everything that is wrong with what is in it.
pub fn import(file: &Path, options: &Options) -> Result<Imported> {
    let reader = File::open(file).map_err(|e| Error::model(file.display(), format!("cannot be read: {e}"), "check the spelling"))?;
    import_from(Box::new(BufReader::with_capacity(1 << 16, reader)), options).map_err(|r| r.of(file))
}

/// As [`import`], from an open reader.
pub fn import_from(reader: Box<dyn ReadSeek>, options: &Options) -> Result<Imported, Refusal> {
    let mut weights = Weights::open(reader)?;
    let known = |weights: &Weights| ARCHITECTURES.iter().find(|a| (a.detect)(weights));
    let narrowed = if known(&weights).is_none() { weights.narrow(&|inner| known(inner).is_some()) } else { None };
    let architecture = known(&weights).ok_or_else(|| unknown(&weights))?;
    let ignored = |what: &str| {
        Refusal::new(format!("it looks like {}, which has no choice of {what}", architecture.name), format!("leave --{what} out"))
    };
    if options.range.is_some() && ![span::ARCHITECTURE.name, rlfn::ARCHITECTURE.name].contains(&architecture.name) {
        return Err(ignored("range"));
    }
    if options.activation.is_some() && architecture.name != srvgg::ARCHITECTURE.name {
        return Err(ignored("activation"));
    }
    let mut graph = build::Graph::new(options.precision);
    let (last, facts) = (architecture.build)(&mut weights, &mut graph, options)
        .map_err(|r| Refusal::new(format!("it looks like {}, but {}", architecture.name, r.what), r.hint))?;
    let left = weights.unused();
    if !left.is_empty() {
        let shown = left.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        return Err(Refusal::new(
            format!(
                "it looks like {}, but {} no place in that: {shown}",
                architecture.name,
                if left.len() == 1 { "1 tensor has".to_owned() } else { format!("{} tensors have", left.len()) }
            ),
            format!(
                "it is a variant; these are imported: {}; others: export to ONNX and `lastmile models add FILE.onnx`",
                architectures().collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    let rounding = graph.rounding;
    let metadata = [("lastmile.architecture", facts.architecture.to_owned()), ("lastmile.scale", facts.scale.to_string())];
    Ok(Imported {
        model: graph.finish(&last, facts.architecture, &metadata)?,
        facts,
        rounding,
        chosen: narrowed.filter(|(_, others)| *others > 0),
    })
}

fn unknown(weights: &Weights) -> Refusal {
    let names: Vec<&str> = weights.names().collect();
    let first: Vec<String> = names.iter().take(8).map(|n| format!("{n} {:?}", weights.shape(n).unwrap_or_default())).collect();
    Refusal::new(
        format!("its architecture is unknown; its first tensors (of {}) are {}", names.len(), first.join(", ")),
        format!(
            "these are imported: {}; others: export to ONNX and `lastmile models add FILE.onnx`",
            architectures().collect::<Vec<_>>().join(", ")
        ),
    )
}

/// The scale of a network that ends with a pixel shuffle into three channels.
fn shuffle_scale(outputs: usize) -> Result<usize, Refusal> {
    (1..=8)
        .find(|s| s * s * 3 == outputs)
        .ok_or_else(|| Refusal::new(format!("its last convolution has {outputs} outputs; 3, 12, 27, 48 ... make a colour picture"), ""))
}
