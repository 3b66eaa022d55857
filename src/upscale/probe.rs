//! Finding out what a network is when no manifest says: reading its graph, then trying it on small pictures.
//!
//! The graph goes first, because some sizes crash the runtime instead of failing (a 1x1 picture under a 7x7 pool): no
//! picture smaller than [`SAFE_PX`], or than what the graph says it needs, is ever tried.

use std::path::Path;

use super::graph;
use super::model::{ChannelOrder, Halo, Kind, Manifest, Range, SizeRule, check_id};
use super::onnx::ModelProto;
use super::receptive::{Analysis, DEEP_PX, Port, Receptive, analyse, gcd};
use super::{Infer, InferError};
use crate::band::Band;
use crate::error::{Error, Result};

/// Opens a session on the processor for the bytes of an ONNX file; the manifest says which input and output, and the layout.
pub type Open<'a> = dyn FnMut(&Manifest, &[u8]) -> Result<Box<dyn Infer>> + 'a;

/// No smaller side is tried.
pub const SAFE_PX: u32 = 16;
/// Tiles may differ from the whole picture by this much of white: half a level of 255.
const SEAM: f32 = 0.5 / 255.0;
/// Side of the core that seams are measured on.
const CORE_PX: u32 = 16;
/// Halos that are tried.
const HALOS: [u32; 7] = [8, 12, 16, 24, 32, 48, 64];

/// Finds out everything about a network that tiling needs; `path` gives its name and id.
///
/// What cannot be found out is assumed and said in the note: channels in RGB order, and perceptual training (so that nobody
/// takes invented detail for fact).
///
/// # Errors
/// [`Error::Model`] if it is no ONNX file or no network from picture to picture, saying what was found and what is needed.
pub fn probe(path: &Path, bytes: &[u8], sha256: &str, open: &mut Open<'_>) -> Result<Manifest> {
    let name = path.display().to_string();
    let model = graph::decode(&name, bytes)?;
    let analysis = analyse(&model);
    let mut manifest = from_graph(path, sha256, &analysis)?;
    let session = open(&manifest, bytes)?;
    Trial { name, analysis, weights: weights(&model), session }.complete(&mut manifest)?;
    Ok(manifest)
}

/// What the graph alone says, or why the network cannot be used.
fn from_graph(path: &Path, sha256: &str, analysis: &Analysis) -> Result<Manifest> {
    const NEEDED: &str = "a super-resolution network with one float input of shape [1, 1 or 3, height, width] and such an output";
    let refuse = |what: String| Err(Error::model(path.display(), what, NEEDED));
    let input = match analysis.inputs.as_slice() {
        [input] => input,
        [] => return refuse("it has no input".into()),
        several => return refuse(format!("it has {} inputs: {}", several.len(), several.iter().map(said).collect::<Vec<_>>().join(", "))),
    };
    let Some(output) = analysis.outputs.first() else { return refuse("it has no output".into()) };
    let Some(dtype) = analysis.dtype else { return refuse(format!("its input {} is not float32 or float16", said(input))) };
    let (Some(layout), Some(channels)) = (analysis.layout, analysis.channels) else {
        return refuse(format!("its input is no picture: {}", said(input)));
    };
    if output.shape.as_ref().is_some_and(|s| s.len() != 4) {
        return refuse(format!("its output is no picture: {}", said(output)));
    }
    if let Some(cycle) = analysis.blockers.iter().find(|b| b.contains("cycle")) {
        return Err(Error::model(path.display(), cycle, "export it again"));
    }
    let file = path.file_name().and_then(|f| f.to_str()).unwrap_or("model.onnx").to_owned();
    Ok(Manifest {
        id: id_of(path),
        name: String::new(),
        file,
        sha256: sha256.into(),
        licence: String::new(),
        source: String::new(),
        note: String::new(),
        kind: Kind::Perceptual,
        scale: analysis.scale.unwrap_or(1).clamp(1, 16),
        channels,
        order: ChannelOrder::Rgb,
        range: Range::One,
        dtype,
        layout,
        input: input.name.clone(),
        output: output.name.clone(),
        size: SizeRule { minimum: 1, multiple_of: 1, fixed: analysis.fixed },
        stride: analysis.stride,
        halo: Halo::Blend(0),
        halo_reason: String::new(),
    })
}

/// An input or output as a person reads it.
fn said(port: &Port) -> String {
    let kind = match port.elem_type {
        0 => "unknown type",
        1 => "float32",
        2 => "uint8",
        3 => "int8",
        6 => "int32",
        7 => "int64",
        9 => "bool",
        10 => "float16",
        11 => "float64",
        16 => "bfloat16",
        _ => "another type",
    };
    let dim = |d: &Option<i64>| d.map_or("any".to_owned(), |n| n.to_string());
    let shape =
        port.shape.as_ref().map_or("of unknown shape".into(), |s| format!("[{}]", s.iter().map(dim).collect::<Vec<_>>().join(", ")));
    format!("`{}` {kind} {shape}", port.name)
}

/// An id made from a file name.
pub(crate) fn id_of(path: &Path) -> String {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.strip_suffix(".onnx").unwrap_or(&stem);
    let keep = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let id: String = stem.chars().map(keep).take(100).collect();
    let id = id.trim_start_matches(['.', '-']).to_owned();
    if check_id(&id).is_ok() { id } else { "model".into() }
}

/// Number of weights, a measure of what running the network costs.
fn weights(model: &ModelProto) -> u64 {
    let tensors = model.graph.iter().flat_map(|g| &g.initializer);
    tensors.filter_map(|t| graph::element_count(&t.dims)).fold(0, |sum, n| sum.saturating_add(n as u64))
}

/// What a manifest notes of a network whose result resembles no picture that it was shown.
pub const UNLIKE: &str = "its output resembles its input neither in 0..1 nor in 0..255: taken as 0..1";

/// The smallest number that both divide.
fn common_multiple(a: u32, b: u32) -> u32 {
    let (a, b) = (a.max(1), b.max(1));
    a / gcd(a.into(), b.into()) as u32 * b
}

/// A network that is being tried.
struct Trial {
    name: String,
    analysis: Analysis,
    weights: u64,
    session: Box<dyn Infer>,
}

impl Trial {
    fn complete(&mut self, manifest: &mut Manifest) -> Result<()> {
        manifest.size = self.size_rule(manifest)?;
        let side = self.side(manifest, 48);
        let result = self.run(manifest, side).map_err(|e| self.refuse(&e.to_string()))?;
        manifest.scale = self.scale(manifest, side, &result)?;
        let mut notes = Vec::new();
        let (range, sure) = self.range(manifest)?;
        manifest.range = range;
        if !sure {
            notes.push(UNLIKE.to_owned());
        }
        if manifest.channels == 3 {
            notes.push("channel order taken as RGB".to_owned());
        }
        if self.analysis.outputs.len() > 1 {
            notes.push(format!("first of {} outputs used", self.analysis.outputs.len()));
        }
        notes.push("training unknown: treated as perceptual".into());
        manifest.note = notes.join("; ");
        (manifest.halo, manifest.halo_reason) = self.halo(manifest)?;
        Ok(())
    }

    fn refuse(&self, what: &str) -> Error {
        Error::model(&self.name, what, "a network that enlarges pictures by a whole factor")
    }

    /// The smallest allowed side that is at least `want` and safe; (width, height).
    fn side(&self, manifest: &Manifest, want: u32) -> (u32, u32) {
        let SizeRule { minimum, multiple_of, fixed } = manifest.size;
        let side = want.max(minimum).max(SAFE_PX).next_multiple_of(multiple_of.max(1));
        fixed.map_or((side, side), |[w, h]| (w, h))
    }

    fn run(&mut self, manifest: &Manifest, (width, height): (u32, u32)) -> Result<Band, InferError> {
        let picture = gentle_picture(width as usize, height as usize, manifest.channels as usize);
        self.session.run(&picture)
    }

    /// Which sizes it takes: what the graph says, else by trying.
    fn size_rule(&mut self, manifest: &Manifest) -> Result<SizeRule> {
        let fixed = manifest.size.fixed;
        if fixed.is_some() {
            return Ok(SizeRule { fixed, ..SizeRule::default() });
        }
        if let (Some(minimum), Some(multiple_of)) = (self.analysis.minimum, self.analysis.multiple_of) {
            return Ok(SizeRule { minimum, multiple_of, fixed });
        }
        let mut last = String::new();
        // 168 and 336 are multiples of the 7, 12, 14 and 24 that windows of attention have as well.
        for base in [64u32, 96, 128, 168, 192, 256, 336] {
            match self.run(manifest, (base, base)) {
                Ok(_) => {
                    for multiple_of in [1, 2, 4, 7, 8, 12, 14, 16, 24, 28, 32, 48, 56, 64] {
                        let (a, b) = (base + multiple_of, base + 3 * multiple_of);
                        if base % multiple_of == 0 && self.run(manifest, (a, b)).is_ok() {
                            let minimum = self.minimum(manifest, multiple_of, base);
                            return Ok(SizeRule { minimum, multiple_of, fixed });
                        }
                    }
                    // Only this size: as good as fixed.
                    return Ok(SizeRule { fixed: Some([base, base]), ..SizeRule::default() });
                }
                Err(e) => last = e.to_string(),
            }
        }
        Err(self.refuse(&format!("it ran at none of 64x64 to 336x336 pixels: {last}")))
    }

    /// The smallest side up to `base`, at which it ran, at which it still does: padding inside it may need more than it is given.
    fn minimum(&mut self, manifest: &Manifest, multiple_of: u32, base: u32) -> u32 {
        let mut side = SAFE_PX.next_multiple_of(multiple_of);
        while side < base && self.run(manifest, (side, side)).is_err() {
            side = (2 * side).next_multiple_of(multiple_of).min(base);
        }
        side
    }

    fn scale(&mut self, manifest: &Manifest, side: (u32, u32), out: &Band) -> Result<u32> {
        let (width, height) = side;
        let what =
            format!("{}x{} pixels of {} channels became {}x{} of {}", width, height, manifest.channels, out.width, out.rows, out.channels);
        let scale = out.width as u32 / width;
        if scale == 0 || out.width as u32 != scale * width || out.rows as u32 != scale * height || out.channels as u32 != manifest.channels
        {
            return Err(self.refuse(&what));
        }
        if scale > 16 {
            return Err(self.refuse(&format!("{what}: factors up to 16 are supported")));
        }
        if manifest.size.fixed.is_none() {
            let other = (width + 2 * manifest.size.multiple_of, height + manifest.size.multiple_of);
            let again = self.run(manifest, other).map_err(|e| self.refuse(&e.to_string()))?;
            if again.width as u32 != scale * other.0 || again.rows as u32 != scale * other.1 {
                let second = format!("but {}x{} became {}x{}", other.0, other.1, again.width, again.rows);
                return Err(self.refuse(&format!("{what}, {second}")));
            }
        }
        Ok(scale)
    }

    /// Whether values are 0..1 or 0..255: in the right range the output, reduced, resembles the input. The flag says whether
    /// it did at all.
    fn range(&mut self, manifest: &Manifest) -> Result<(Range, bool)> {
        let (width, height) = self.side(manifest, 48);
        let (w, h, scale) = (width as usize, height as usize, manifest.scale as usize);
        let picture = gentle_picture(w, h, manifest.channels as usize);
        let mut error = |white: f32, out_white: f32| -> Result<f32> {
            let mut input = picture.clone();
            input.data.iter_mut().for_each(|v| *v *= white);
            let out = self.session.run(&input).map_err(|e| Error::model(&self.name, e, ""))?;
            let mut sum = 0.0;
            let border = 4.min(w.min(h) / 4);
            let mut count = 0usize;
            for c in 0..picture.channels.min(out.channels) {
                for y in border..h - border {
                    for x in border..w - border {
                        let block: f32 = (0..scale * scale).map(|i| out.row(c, y * scale + i / scale)[x * scale + i % scale]).sum();
                        sum += f64::from((block / (scale * scale) as f32 / out_white - picture.row(c, y)[x]).abs());
                        count += 1;
                    }
                }
            }
            Ok((sum / count.max(1) as f64) as f32)
        };
        let (one, byte) = (error(1.0, 1.0)?, error(255.0, 255.0)?);
        // Networks see the same picture 255 times too dark or too bright: measured, that costs them at least a factor of 7.
        // A linear network does not care; then 0..1 it is.
        const RESEMBLES: f32 = 0.15;
        if byte < RESEMBLES && 2.0 * byte < one {
            return Ok((Range::Byte, true));
        }
        if one < RESEMBLES {
            return Ok((Range::One, true));
        }
        // Shown with its values out of range, a picture looks broken, and nobody would know why.
        let mixed = match (error(1.0, 255.0)?, error(255.0, 1.0)?) {
            (e, _) if e < RESEMBLES => "it takes values of 0..1 and gives values of 0..255",
            (_, e) if e < RESEMBLES => "it takes values of 0..255 and gives values of 0..1",
            _ => return Ok((Range::One, false)),
        };
        Err(Error::model(&self.name, mixed, "a network whose result is in the range of its input"))
    }

    fn halo(&mut self, manifest: &Manifest) -> Result<(Halo, String)> {
        match self.analysis.receptive {
            Receptive::Radius(px) if px <= DEEP_PX => match self.leak(manifest, px)? {
                leak if leak <= 1e-4 * manifest.range.white() => Ok((Halo::Exact(px), String::new())),
                leak => self.measured(manifest, false, &format!("pixels beyond its receptive radius of {px} changed the result by {leak}")),
            },
            Receptive::Radius(px) => self.measured(manifest, true, &format!("it sees {px} px far, exact tiles go up to {DEEP_PX}")),
            Receptive::Unbounded => {
                let (non_local, reason) = (!self.analysis.blockers.is_empty(), self.analysis.reason());
                self.measured(manifest, non_local, &reason)
            }
        }
    }

    /// How much the result in a core changes when everything further than `halo` from it does.
    fn leak(&mut self, manifest: &Manifest, halo: u32) -> Result<f32> {
        let step = common_multiple(manifest.size.multiple_of, manifest.stride);
        let margin = (halo + 4).next_multiple_of(step);
        let (core, side) = (8u32.next_multiple_of(step), 2 * margin);
        let (width, height) = self.side(manifest, side + core);
        if manifest.size.fixed.is_some() && width.min(height) < side + core {
            return Ok(0.0); // nothing lies beyond the halo
        }
        let first = noise_picture(width as usize, height as usize, manifest, 1);
        let mut second = noise_picture(width as usize, height as usize, manifest, 2);
        let keep = |at: usize| (margin - halo) as usize <= at && at < (margin + core + halo) as usize;
        for c in 0..first.channels {
            for y in (0..first.rows).filter(|&y| keep(y)) {
                for x in (0..first.width).filter(|&x| keep(x)) {
                    second.row_mut(c, y)[x] = first.row(c, y)[x];
                }
            }
        }
        let mut run = |picture: &Band| self.session.run(picture).map_err(|e| Error::model(&self.name, e, ""));
        let (a, b) = (run(&first)?, run(&second)?);
        let scale = manifest.scale;
        let range = (margin * scale) as usize..((margin + core) * scale) as usize;
        Ok(greatest_difference(&a, &b, (range.start, range.start), (range.start, range.start), range.len()))
    }

    /// The smallest halo with which a tile's core differs from the whole by at most half a level, by trying; a network that is
    /// known not to be local is blended whatever comes out.
    fn measured(&mut self, manifest: &Manifest, non_local: bool, reason: &str) -> Result<(Halo, String)> {
        if manifest.size.fixed.is_some() {
            let (width, height) = self.side(manifest, 0);
            return Ok((Halo::Blend((width.min(height) / 4).min(32)), reason.into()));
        }
        // About 1e11 multiplications for the whole picture, whatever the network.
        let affordable = ((1e11 / self.weights.max(1) as f64).sqrt() as u32).clamp(64, 160);
        let step = common_multiple(manifest.size.multiple_of, manifest.stride);
        let side = self.side(manifest, affordable.next_multiple_of(step)).0;
        let start = ((side - CORE_PX.min(side)) / 2).next_multiple_of(step);
        let white = manifest.range.white();
        let picture = textured_picture(side as usize, manifest);
        let mut run = |picture: &Band| self.session.run(picture).map_err(|e| Error::model(&self.name, e, ""));
        let whole = run(&picture)?;
        let scale = manifest.scale as usize;
        let mut best = (f32::INFINITY, 32u32.min(start));
        for halo in HALOS {
            let margin = halo.next_multiple_of(step);
            let span = (2 * margin + CORE_PX).next_multiple_of(step).max(manifest.size.minimum.next_multiple_of(step));
            if margin >= start || start - margin + span >= side {
                break;
            }
            let from = (start - margin) as usize;
            let tile = crop(&picture, from, span as usize);
            let result = run(&tile)?;
            let core = CORE_PX as usize * scale;
            let (at_whole, at_tile) = (start as usize * scale, margin as usize * scale);
            let seam = greatest_difference(&whole, &result, (at_whole, at_whole), (at_tile, at_tile), core) / white;
            if seam < best.0 {
                best = (seam, halo);
            }
            if seam <= SEAM {
                break;
            }
        }
        let (seam, halo) = best;
        match (non_local, seam <= SEAM) {
            (false, true) => Ok((Halo::Measured(halo), reason.into())),
            _ => Ok((Halo::Blend(halo), reason.into())),
        }
    }
}

fn crop(picture: &Band, from: usize, side: usize) -> Band {
    let mut out = Band::new(0, side, side, picture.channels);
    for c in 0..picture.channels {
        for y in 0..side {
            out.row_mut(c, y).copy_from_slice(&picture.row(c, from + y)[from..from + side]);
        }
    }
    out
}

/// Largest difference of two squares of `side` pixels, at (x, y) in each.
fn greatest_difference(a: &Band, b: &Band, at_a: (usize, usize), at_b: (usize, usize), side: usize) -> f32 {
    let mut greatest = 0f32;
    for c in 0..a.channels.min(b.channels) {
        for y in 0..side {
            let (p, q) = (&a.row(c, at_a.1 + y)[at_a.0..at_a.0 + side], &b.row(c, at_b.1 + y)[at_b.0..at_b.0 + side]);
            for (p, q) in p.iter().zip(q) {
                let d = (p - q).abs();
                greatest = if d.is_nan() { f32::INFINITY } else { greatest.max(d) };
            }
        }
    }
    greatest
}

/// A smooth picture, 0.2 to 0.8, different in every channel.
fn gentle_picture(width: usize, height: usize, channels: usize) -> Band {
    let mut picture = Band::new(0, width, height, channels);
    for c in 0..channels {
        for y in 0..height {
            let v = y as f32 / height as f32;
            for (x, value) in picture.row_mut(c, y).iter_mut().enumerate() {
                let u = x as f32 / width as f32;
                *value = 0.5 + 0.2 * (u + v - 1.0) + 0.1 * (6.0 * (u - v) + c as f32).sin();
            }
        }
    }
    picture
}

/// Independent random values over the whole range.
fn noise_picture(width: usize, height: usize, manifest: &Manifest, seed: u64) -> Band {
    let mut picture = Band::new(0, width, height, manifest.channels as usize);
    let (mut random, white) = (Random(seed), manifest.range.white());
    picture.data.iter_mut().for_each(|v| *v = white * random.next());
    picture
}

/// Something like a photograph: soft shapes, an edge and grain.
fn textured_picture(side: usize, manifest: &Manifest) -> Band {
    let mut picture = gentle_picture(side, side, manifest.channels as usize);
    let (mut random, white) = (Random(7), manifest.range.white());
    for c in 0..picture.channels {
        for y in 0..side {
            for (x, value) in picture.row_mut(c, y).iter_mut().enumerate() {
                let waves = (0.31 * x as f32 + 0.11 * y as f32).sin() * (0.05 * x as f32 - 0.23 * y as f32).sin();
                let edge = if (2 * x + y) % 61 < 20 { 0.2 } else { 0.0 };
                *value = white * (*value + 0.1 * waves + edge - 0.1 + 0.06 * (random.next() - 0.5)).clamp(0.0, 1.0);
            }
        }
    }
    picture
}

/// A linear congruential generator (Knuth's MMIX constants), 0..1: the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u32 << 24) as f32
    }
}
