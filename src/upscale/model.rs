//! Models: what a manifest says, which ones ship with the program or are registered, and how a name or file becomes one.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::upscale::catalogue::{EMBEDDED, Embedded, REFERENCE};
use crate::upscale::graph::{self, Rewrites};
use crate::upscale::network::Spec;
use crate::upscale::tile::Rule;

/// Everything lastmile has to know about a network to use it: `models/<id>.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What a user types: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// What a user reads.
    #[serde(default)]
    pub name: String,
    /// The ONNX file, beside the manifest.
    pub file: String,
    /// SHA-256 of that file, 64 hexadecimal digits.
    pub sha256: String,
    /// Licence of the weights.
    #[serde(default)]
    pub licence: String,
    /// Where the weights come from.
    #[serde(default)]
    pub source: String,
    /// One sentence for whoever has to choose.
    #[serde(default)]
    pub note: String,
    pub kind: Kind,
    /// Output pixels per input pixel along each axis.
    pub scale: u32,
    /// Colour channels of input and output: 1 (grey) or 3.
    pub channels: u32,
    #[serde(default)]
    pub order: ChannelOrder,
    pub range: Range,
    #[serde(default)]
    pub dtype: Dtype,
    #[serde(default)]
    pub layout: Layout,
    /// Name of the network's input.
    pub input: String,
    /// Name of the network's output.
    pub output: String,
    #[serde(default)]
    pub size: SizeRule,
    /// Tile origins must be multiples of this many input pixels.
    #[serde(default = "one")]
    pub stride: u32,
    pub halo: Halo,
    /// Why the halo is not exact, in words; empty if it is.
    #[serde(default)]
    pub halo_reason: String,
}

fn one() -> u32 {
    1
}

/// Whether a network may invent detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Trained to come close to the original, pixel by pixel.
    Faithful,
    /// Trained to look convincing (GAN, diffusion): may invent. Networks of unknown training count as perceptual.
    Perceptual,
}

/// Order of the colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    #[default]
    Rgb,
    Bgr,
}

/// Value range of input and output: 0..1 or 0..255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum Range {
    One,
    Byte,
}

impl Range {
    /// The value that stands for white: 1 or 255.
    pub fn white(self) -> f32 {
        f32::from(u16::from(self))
    }
}

impl From<Range> for u16 {
    fn from(range: Range) -> u16 {
        match range {
            Range::One => 1,
            Range::Byte => 255,
        }
    }
}

impl TryFrom<u16> for Range {
    type Error = String;

    fn try_from(white: u16) -> Result<Self, String> {
        match white {
            1 => Ok(Self::One),
            255 => Ok(Self::Byte),
            other => Err(format!("range is 1 (values 0..1) or 255 (values 0..255), not {other}")),
        }
    }
}

/// Element type of input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    #[default]
    F32,
    F16,
}

/// Order of the dimensions of input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    #[default]
    Nchw,
    Nhwc,
}

/// Which input sizes a network takes, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeRule {
    /// Smallest width and height.
    #[serde(default = "one")]
    pub minimum: u32,
    /// Width and height must be multiples of this.
    #[serde(default = "one")]
    pub multiple_of: u32,
    /// The only size it takes, `[width, height]`, if it is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<[u32; 2]>,
}

impl Default for SizeRule {
    fn default() -> Self {
        Self { minimum: 1, multiple_of: 1, fixed: None }
    }
}

/// How far around a tile the network has to see, in input pixels per side, and what to do with that margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Halo {
    /// The receptive radius: with it, tiles equal the whole picture.
    Exact(u32),
    /// Found by trying: with it, tiles differ from the whole picture by at most half a level of 255.
    Measured(u32),
    /// Tiles never equal the whole picture: overlap by this much on each side and feather.
    Blend(u32),
}

impl Halo {
    /// The margin in input pixels.
    pub fn px(self) -> u32 {
        match self {
            Self::Exact(px) | Self::Measured(px) | Self::Blend(px) => px,
        }
    }

    /// `exact`, `measured` or `blend`.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Exact(_) => "exact",
            Self::Measured(_) => "measured",
            Self::Blend(_) => "blend",
        }
    }
}

impl Manifest {
    /// Reads and checks a manifest; `path` is used in messages.
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self> {
        let path = path.as_ref().display();
        let wrong = |what: String| Error::model(&path, what, "compare it with the output of `lastmile models show lastmile-faithful-x2`");
        let manifest: Self = toml::from_str(text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
        manifest.check().map_err(wrong)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        check_id(&self.id)?;
        let SizeRule { minimum, multiple_of, fixed } = self.size;
        let in_range = |key: &str, value: u32, from: u32, to: u32| match value {
            v if (from..=to).contains(&v) => Ok(()),
            v => Err(format!("`{key}` is {v}, it must be {from} to {to}")),
        };
        in_range("scale", self.scale, 1, 16)?;
        if self.channels != 1 && self.channels != 3 {
            return Err(format!("`channels` is {}, it must be 1 or 3", self.channels));
        }
        in_range("stride", self.stride, 1, 1024)?;
        in_range("size.minimum", minimum, 1, 4096)?;
        in_range("size.multiple_of", multiple_of, 1, 1024)?;
        in_range("halo", self.halo.px(), 0, 4096)?;
        if fixed.is_some_and(|[w, h]| !(1..=16384).contains(&w) || !(1..=16384).contains(&h)) {
            return Err("`size.fixed` is [width, height], each 1 to 16384".into());
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err("`sha256` must be 64 lower-case hexadecimal digits".into());
        }
        let plain = Path::new(&self.file).file_name().is_some_and(|f| f == self.file.as_str());
        if !plain {
            return Err(format!("`file` is `{}`, it must be a file name without folders", self.file));
        }
        if self.input.is_empty() || self.output.is_empty() {
            return Err("`input` and `output` must name the network's input and output".into());
        }
        Ok(())
    }

    /// What the tile engine has to know. In blend mode cores are cross-faded over the inner half of the halo, so that what
    /// a tile contributes is always at least half a halo away from its edge.
    pub fn spec(&self) -> Spec {
        let px = self.halo.px() as usize;
        let feather = if matches!(self.halo, Halo::Blend(_)) { px / 2 } else { 0 };
        let SizeRule { minimum, multiple_of, fixed } = self.size;
        Spec {
            id: self.id.clone(),
            scale: self.scale as usize,
            channels: self.channels as usize,
            bgr: self.order == ChannelOrder::Bgr,
            white: self.range.white(),
            rule: Rule {
                halo: px,
                feather,
                stride: self.stride as usize,
                minimum: minimum as usize,
                multiple: multiple_of as usize,
                fixed: fixed.map(|[w, h]| (h as usize, w as usize)),
            },
        }
    }

    /// The manifest as TOML text that [`Manifest::parse`] reads back, columns aligned for reading.
    pub fn to_toml(&self) -> String {
        let text = |s: &str| toml::Value::String(s.into()).to_string();
        let SizeRule { minimum, multiple_of, fixed } = self.size;
        let fixed = fixed.map_or(String::new(), |[w, h]| format!(", fixed = [{w}, {h}]"));
        let lines = [
            ("id", text(&self.id)),
            ("name", text(&self.name)),
            ("file", text(&self.file)),
            ("sha256", text(&self.sha256)),
            ("licence", text(&self.licence)),
            ("source", text(&self.source)),
            ("note", text(&self.note)),
            ("kind", text(if self.kind == Kind::Faithful { "faithful" } else { "perceptual" })),
            ("scale", self.scale.to_string()),
            ("channels", self.channels.to_string()),
            ("order", text(if self.order == ChannelOrder::Rgb { "rgb" } else { "bgr" })),
            ("range", u16::from(self.range).to_string()),
            ("dtype", text(if self.dtype == Dtype::F32 { "f32" } else { "f16" })),
            ("layout", text(if self.layout == Layout::Nchw { "nchw" } else { "nhwc" })),
            ("input", text(&self.input)),
            ("output", text(&self.output)),
            ("size", format!("{{ minimum = {minimum}, multiple_of = {multiple_of}{fixed} }}")),
            ("stride", self.stride.to_string()),
            ("halo", format!("{{ {} = {} }}", self.halo.mode(), self.halo.px())),
            ("halo_reason", text(&self.halo_reason)),
        ];
        lines.iter().filter(|(_, value)| value != "\"\"").map(|(key, value)| format!("{key:<11} = {value}\n")).collect()
    }
}

/// Checks that an id can be typed and is a file name everywhere.
pub(crate) fn check_id(id: &str) -> Result<(), String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > 100 || !id.bytes().all(good) || id.starts_with(['.', '-']) || id == "none" {
        return Err(format!(
            "`{id}` is no usable id: letters, digits, `-`, `_` and `.`, at most 100, not beginning with `.` or `-`, not `none`"
        ));
    }
    if id.ends_with(".onnx") {
        return Err(format!("`{id}` is no usable id: what ends in .onnx is taken for a file"));
    }
    Ok(())
}

/// Where a model was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Inside the program.
    Embedded,
    /// Registered in the user's model folder.
    Registered(PathBuf),
    /// A file given by its path, with a manifest beside it.
    File(PathBuf),
    /// A file given by its path whose properties were probed.
    Probed(PathBuf),
}

/// A network and its manifest.
#[derive(Clone)]
pub struct Model {
    pub manifest: Manifest,
    /// The ONNX file.
    pub bytes: Cow<'static, [u8]>,
    /// SHA-256 of `bytes`, lower-case hexadecimal.
    pub sha256: String,
    pub origin: Origin,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manifest, bytes, sha256, origin } = self;
        f.debug_struct("Model")
            .field("id", &manifest.id)
            .field("bytes", &bytes.len())
            .field("sha256", sha256)
            .field("origin", origin)
            .finish()
    }
}

impl Model {
    /// The model that is used when none is named.
    pub fn embedded_default() -> Result<Model> {
        let first = EMBEDDED.first().ok_or_else(|| Error::Internal("no model is embedded".into()))?;
        Model::of_embedded(first)
    }

    /// The embedded faithful models that make results: they may take part in any run. Of several of one scale it is the first; a slower one
    /// has to be named.
    pub fn faithful_family() -> Result<Vec<Model>> {
        let mut family: Vec<Model> = Vec::new();
        for model in EMBEDDED.iter().filter(|e| e.id != REFERENCE).map(Model::of_embedded) {
            let model = model?;
            if model.manifest.kind == Kind::Faithful && family.iter().all(|m| m.manifest.scale != model.manifest.scale) {
                family.push(model);
            }
        }
        Ok(family)
    }

    /// The embedded model that results are compared with, see [`REFERENCE`].
    pub fn reference() -> Result<Option<Model>> {
        Model::embedded(REFERENCE).transpose()
    }

    /// The embedded model of that id.
    pub fn embedded(id: &str) -> Option<Result<Model>> {
        EMBEDDED.iter().find(|e| e.id == id).map(Model::of_embedded)
    }

    /// The ONNX file rewritten for speed on a processor, and what was rewritten; the file itself if nothing was.
    ///
    /// # Errors
    /// [`Error::Model`] as [`graph::decode`].
    pub fn for_cpu(&self) -> Result<(Cow<'_, [u8]>, Rewrites)> {
        let mut model = graph::decode(&self.manifest.id, &self.bytes)?;
        match graph::for_cpu(&mut model) {
            none if none == Rewrites::default() => Ok((Cow::Borrowed(&self.bytes), none)),
            some => Ok((Cow::Owned(graph::encode(&model)), some)),
        }
    }

    fn of_embedded(embedded: &Embedded) -> Result<Model> {
        // The hash in the manifest of an embedded model is checked by a test, not at every start.
        let manifest = Manifest::parse(format!("{}.toml", embedded.id), embedded.manifest)?;
        let sha256 = manifest.sha256.clone();
        Ok(Model { manifest, bytes: Cow::Borrowed(embedded.onnx), sha256, origin: Origin::Embedded })
    }
}

/// SHA-256 as lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_models_are_what_their_manifests_say() {
        assert!(!EMBEDDED.is_empty());
        for embedded in EMBEDDED {
            let model = Model::embedded(embedded.id).unwrap().unwrap();
            assert_eq!(model.manifest.id, embedded.id);
            assert_eq!(model.manifest.file, format!("{}.onnx", embedded.id));
            assert_eq!(model.manifest.sha256, sha256(&model.bytes));
            assert!(!model.manifest.licence.is_empty() && !model.manifest.source.is_empty());
        }
        let default = Model::embedded_default().unwrap().manifest;
        assert_eq!((default.scale, default.channels, default.halo.mode(), default.kind), (4, 3, "exact", Kind::Faithful));
        // What a run without --model may combine: one network per factor, or the cheaper of two would always win.
        let scales: Vec<_> = Model::faithful_family().unwrap().iter().map(|m| m.manifest.scale).collect();
        assert_eq!(scales, [4, 2]);
    }

    #[test]
    fn manifests_survive_a_round_trip() {
        let mut manifest = Model::embedded_default().unwrap().manifest;
        assert_eq!(Manifest::parse("m.toml", &manifest.to_toml()).unwrap(), manifest);
        manifest.name = "quotes \" and \\ and\nlines, ü".into();
        manifest.size.fixed = Some([128, 96]);
        manifest.halo = Halo::Blend(32);
        manifest.halo_reason = "pools over the whole picture".into();
        (manifest.range, manifest.dtype, manifest.layout, manifest.order) = (Range::Byte, Dtype::F16, Layout::Nhwc, ChannelOrder::Bgr);
        assert_eq!(Manifest::parse("m.toml", &manifest.to_toml()).unwrap(), manifest);
    }

    #[test]
    fn wrong_manifests_say_what_is_wrong() {
        let good = Model::embedded("lastmile-faithful-x2").unwrap().unwrap().manifest.to_toml();
        for (from, to, says) in [
            ("scale       = 2", "scale = 99", "`scale` is 99, it must be 1 to 16"),
            ("scale       = 2", "", "missing field `scale`"),
            ("range       = 1", "range = 2", "range is 1 (values 0..1) or 255"),
            ("channels    = 3", "channels = 4", "`channels` is 4, it must be 1 or 3"),
            ("stride      = 1", "strides = 1", "unknown field `strides`"),
            ("\"lastmile-faithful-x2\"", "\"../etc\"", "no usable id"),
            ("\"lastmile-faithful-x2.onnx\"", "\"a/b.onnx\"", "without folders"),
        ] {
            assert!(good.contains(from), "{from}\n{good}");
            let error = Manifest::parse("m.toml", &good.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.kind(), "model");
        }
    }
}
