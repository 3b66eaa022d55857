//! Every key that a recipe may hold: one list, from which files are read, the JSON Schema is made and new recipes are written.
//!
//! To add a stage: its keys here and its fields in [`Recipe`].
//!
//! Over 500 lines because it is one list.

use super::text::{self, Tile};
use super::{Recipe, Tiles, When};
use crate::brand::kit::GroupBy;
use crate::codec::Format;
use crate::grade::grading::Source;
use crate::inspect::repair::Repair;
use crate::inspect::{Tier, Verdict};
use crate::upscale::size::{Fit, Size};

/// Sections in the order in which they are written, each with what it is about.
pub const SECTIONS: [(&str, &str); 7] = [
    ("upscale", "How pictures are enlarged."),
    ("inspect", "How defects are looked for in the results."),
    ("look", "How colours are graded: the match, the correction, the LUT, then the look."),
    ("kit", "The brand that results are finished for: colours, logo, files, gate."),
    ("output", "The files that are written."),
    ("run", "How the machine is used; the pixels do not depend on it unless `tile_mode` or `precision` is given."),
    ("price", "What results cost; `lastmile plan` adds it up. Nothing is charged."),
];

/// One key.
pub struct Key {
    /// Empty at the top of the file.
    pub section: &'static str,
    pub name: &'static str,
    pub about: &'static str,
    /// A value as it would be written.
    pub example: &'static str,
    pub value: Value,
}

/// What a key takes, and where it goes.
pub enum Value {
    /// Any text; the second may refuse it.
    Text(fn(&mut Recipe, &str) -> Result<(), String>),
    /// Any texts, one alone or several in a list; the second may refuse them.
    Texts(fn(&mut Recipe, &[&str]) -> Result<(), String>),
    /// Text or a number, written as the flag of the same name takes it.
    Flag(fn(&mut Recipe, &str) -> Result<(), String>),
    /// One of these words; digits may be written as a number.
    OneOf(&'static [&'static str], fn(&mut Recipe, &str)),
    /// true or false.
    Switch(fn(&mut Recipe, bool)),
    /// A number in this range, both ends included.
    Number(f64, f64, fn(&mut Recipe, f64)),
    /// A whole number in this range, both ends included.
    Whole(i64, i64, fn(&mut Recipe, i64)),
}

impl Key {
    /// `section.name`, as messages call it.
    pub fn path(&self) -> String {
        if self.section.is_empty() { self.name.into() } else { format!("{}.{}", self.section, self.name) }
    }

    /// What may stand here, in words.
    pub fn expects(&self) -> String {
        match &self.value {
            Value::Text(_) => format!("text in quotes, for example {}", self.example),
            Value::Texts(_) => format!("texts in quotes, for example {}", self.example),
            Value::Flag(_) => format!("a value like {}", self.example),
            Value::OneOf(words, _) => format!("one of {}", words.iter().map(|w| written(w)).collect::<Vec<_>>().join(", ")),
            Value::Switch(_) => "true or false".into(),
            Value::Number(least, most, _) if *most < 1e15 => format!("a number from {least} to {most}"),
            Value::Number(least, _, _) => format!("a number, {least} or more"),
            Value::Whole(least, most, _) => format!("a whole number from {least} to {most}"),
        }
    }
}

/// A word as TOML writes it: digits without quotes.
pub fn written(word: &str) -> String {
    if word.parse::<i64>().is_ok() { word.into() } else { format!("\"{word}\"") }
}

/// The keys that give a size; at most one of them is used.
pub const SIZES: [&str; 5] = ["upscale.scale", "upscale.long_edge", "upscale.size", "upscale.mp", "upscale.print"];
/// Containers by the names recipes and flags use; `None` keeps the source's.
pub const FORMATS: [(&str, Option<Format>); 6] = [
    ("keep", None),
    ("png", Some(Format::Png)),
    ("jpeg", Some(Format::Jpeg)),
    ("webp", Some(Format::WebP)),
    ("tiff", Some(Format::Tiff)),
    ("avif", Some(Format::Avif)),
];
/// Ways to fill a box.
pub const FITS: [(&str, Fit); 3] = [("inside", Fit::Inside), ("cover", Fit::Cover), ("exact", Fit::Exact)];
/// Bits per sample; 0 keeps the source's.
pub const DEPTHS: [(&str, u8); 3] = [("8", 8), ("16", 16), ("keep", 0)];
/// Ways to pack a PNG: whether it is small.
pub const PNGS: [(&str, bool); 2] = [("fast", false), ("small", true)];
/// Resolutions of a JPEG's colour: whether it is halved.
pub const CHROMAS: [(&str, bool); 2] = [("444", false), ("420", true)];
/// What becomes of animations: whether the first frame is taken.
pub const FRAMES: [(&str, bool); 2] = [("refuse", false), ("first", true)];
/// How much metadata is carried: whether it is little.
pub const METADATA: [(&str, bool); 2] = [("keep", false), ("minimal", true)];
/// Which results are inspected.
pub const WHENS: [(&str, When); 3] = [("auto", When::Auto), ("always", When::Always), ("never", When::Never)];
/// How closely.
pub const TIERS: [(&str, Tier); 3] = [("draft", Tier::Draft), ("standard", Tier::Standard), ("hero", Tier::Hero)];
/// From which verdict on a run fails.
pub const FAIL_ONS: [(&str, Option<Verdict>); 3] = [("never", None), ("review", Some(Verdict::Review)), ("reject", Some(Verdict::Reject))];
/// What may be done about regions that can be mended.
pub const REPAIRS: [(&str, Repair); 3] = [("off", Repair::Off), ("suggest", Repair::Suggest), ("auto", Repair::Auto)];
/// Which pictures get one match together.
pub const GROUPS: [(&str, GroupBy); 4] =
    [("picture", GroupBy::Picture), ("folder", GroupBy::Folder), ("generator", GroupBy::Generator), ("sequence", GroupBy::Sequence)];
/// Ways to join tiles.
pub const TILE_MODES: [(&str, Tiles); 3] = [("auto", Tiles::Auto), ("exact", Tiles::Exact), ("blend", Tiles::Blend)];

/// The value that a word of one of the lists above stands for.
pub fn of<T: Copy>(list: &[(&str, T)], word: &str) -> Option<T> {
    list.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

/// The words of one of the lists above.
pub const fn words<const N: usize, T: Copy>(list: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut out = [""; N];
    let mut i = 0;
    while i < N {
        out[i] = list[i].0;
        i += 1;
    }
    out
}

const WHEN_WORDS: [&str; 3] = words(&WHENS);
const TIER_WORDS: [&str; 3] = words(&TIERS);
const FAIL_ON_WORDS: [&str; 3] = words(&FAIL_ONS);
const REPAIR_WORDS: [&str; 3] = words(&REPAIRS);
const GROUP_WORDS: [&str; 4] = words(&GROUPS);
const FORMAT_WORDS: [&str; 6] = words(&FORMATS);
const FIT_WORDS: [&str; 3] = words(&FITS);
const DEPTH_WORDS: [&str; 3] = words(&DEPTHS);
const TILE_MODE_WORDS: [&str; 3] = words(&TILE_MODES);
const PNG_WORDS: [&str; 2] = words(&PNGS);
const CHROMA_WORDS: [&str; 2] = words(&CHROMAS);
const FRAME_WORDS: [&str; 2] = words(&FRAMES);
const METADATA_WORDS: [&str; 2] = words(&METADATA);

fn size(recipe: &mut Recipe, found: Result<Size, String>) -> Result<(), String> {
    recipe.upscale.size = found?;
    Ok(())
}

/// The order in which a recipe's keys are applied, whatever their order in the file.
fn order(source: &Source) -> u8 {
    match source {
        Source::Cdl(_) => 0,
        Source::Lut(_) => 1,
        Source::Look(_) => 2,
    }
}

/// Every key, in the order in which they are written.
pub static KEYS: [Key; 47] = [
    Key {
        section: "",
        name: "about",
        about: "What the recipe is for, one line.",
        example: "\"shop pictures, 4K\"",
        value: Value::Text(|r, v| {
            r.about = v.into();
            Ok(())
        }),
    },
    Key {
        section: "upscale",
        name: "model",
        about: "A network's id, an ONNX file (its path counts from the recipe's folder), or none; left out: the built-in faithful ones.",
        example: "\"lastmile-faithful-x4\"",
        value: Value::Text(|r, v| {
            r.upscale.model = Some(r.path(v));
            Ok(())
        }),
    },
    Key {
        section: "upscale",
        name: "scale",
        about: "A factor, decimals allowed; left out: the network's own.",
        example: "4",
        value: Value::Flag(|r, v| size(r, text::scale(v))),
    },
    Key {
        section: "upscale",
        name: "long_edge",
        about: "Pixels of the longer side.",
        example: "3840",
        value: Value::Flag(|r, v| size(r, text::long_edge(v))),
    },
    Key {
        section: "upscale",
        name: "size",
        about: "A box in pixels, fit says how to fill it; or one side: \"3840x\", \"x2160\".",
        example: "\"3840x2160\"",
        value: Value::Flag(|r, v| size(r, text::size(v))),
    },
    Key { section: "upscale", name: "mp", about: "Megapixels.", example: "24", value: Value::Flag(|r, v| size(r, text::megapixels(v))) },
    Key {
        section: "upscale",
        name: "print",
        about: "Paper and resolution; the resolution is set in the file.",
        example: "\"24x36in@300\"",
        value: Value::Flag(|r, v| size(r, text::print(v))),
    },
    Key {
        section: "upscale",
        name: "fit",
        about: "How a picture fills size or print: whole inside, cut to cover, or stretched to exactly that.",
        example: "\"cover\"",
        value: Value::OneOf(&FIT_WORDS, |r, v| r.upscale.fit = of(&FITS, v).unwrap_or_default()),
    },
    Key {
        section: "upscale",
        name: "faithful",
        about: "Blend with the faithful default network: 0 the chosen one alone, 1 the faithful one alone.",
        example: "0.3",
        value: Value::Number(0.0, 1.0, |r, v| r.upscale.faithful = v as f32),
    },
    Key {
        section: "upscale",
        name: "denoise",
        about: "How much a network denoises that was trained with two strengths (realesr-general-x4v3): 1 as it is, 0 hardly.",
        example: "0.5",
        value: Value::Number(0.0, 1.0, |r, v| r.upscale.denoise = Some(v as f32)),
    },
    Key {
        section: "upscale",
        name: "colour_lock",
        about: "Keep the source's colours and soft shading.",
        example: "true",
        value: Value::Switch(|r, v| r.upscale.colour_lock = v),
    },
    Key {
        section: "inspect",
        name: "when",
        about: "Inspect results: auto (those of networks that may invent), always or never.",
        example: "\"always\"",
        value: Value::OneOf(&WHEN_WORDS, |r, v| r.inspect.when = of(&WHENS, v).unwrap_or_default()),
    },
    Key {
        section: "inspect",
        name: "tier",
        about: "How closely: draft flags only what is plain, hero also what is hardly seen.",
        example: "\"hero\"",
        value: Value::OneOf(&TIER_WORDS, |r, v| r.inspect.tier = of(&TIERS, v).unwrap_or(Tier::Standard)),
    },
    Key {
        section: "inspect",
        name: "fail_on",
        about: "Inspect, and end with exit code 4 if any result is to be reviewed, or is a likely reject.",
        example: "\"reject\"",
        value: Value::OneOf(&FAIL_ON_WORDS, |r, v| r.inspect.fail_on = of(&FAIL_ONS, v).flatten()),
    },
    Key {
        section: "inspect",
        name: "repair",
        about: "Regions that the network invented: mended in a copy for the reviewer to take (suggest), in the results themselves (auto), or not (off).",
        example: "\"suggest\"",
        value: Value::OneOf(&REPAIR_WORDS, |r, v| r.inspect.repair = of(&REPAIRS, v)),
    },
    Key {
        section: "look",
        name: "match",
        about: "Pictures whose colours and tones all others get (paths count from the recipe's folder).",
        example: "[\"north-star.jpg\"]",
        value: Value::Texts(|r, v| {
            r.look.references = v.iter().map(|f| r.beside(f).into()).collect();
            Ok(())
        }),
    },
    Key {
        section: "look",
        name: "group_by",
        about: "One match for each picture, for all of a folder or a generator, or for all (the frames of a sequence).",
        example: "\"picture\"",
        value: Value::OneOf(&GROUP_WORDS, |r, v| r.look.group_by = of(&GROUPS, v).unwrap_or(GroupBy::Picture)),
    },
    Key {
        section: "look",
        name: "cdl",
        about: "An ASC CDL file (.cc, .ccc, .cdl), FILE#ID for one of several; its path counts from the recipe's folder.",
        example: "\"shot.cc\"",
        value: Value::Text(|r, v| {
            r.look.sources.push(Source::Cdl(r.beside(v)));
            r.look.sources.sort_by_key(order);
            Ok(())
        }),
    },
    Key {
        section: "look",
        name: "lut",
        about: "A .cube file for encoded values; its path counts from the recipe's folder.",
        example: "\"film.cube\"",
        value: Value::Text(|r, v| {
            r.look.sources.push(Source::Lut(r.beside(v)));
            r.look.sources.sort_by_key(order);
            Ok(())
        }),
    },
    Key {
        section: "look",
        name: "look",
        about: "A look's name, or a look file (its path counts from the recipe's folder).",
        example: "\"clean\"",
        value: Value::Text(|r, v| {
            r.look.sources.push(Source::Look(r.path(v)));
            r.look.sources.sort_by_key(order);
            Ok(())
        }),
    },
    Key {
        section: "look",
        name: "strength",
        about: "How much of it: 0 nothing, 1 all.",
        example: "0.8",
        value: Value::Number(0.0, 1.0, |r, v| r.look.strength = v as f32),
    },
    Key {
        section: "look",
        name: "device",
        about: "What grades: auto (whatever is faster here), cpu or gpu, gpu:N for the Nth.",
        example: "\"auto\"",
        value: Value::Text(|r, v| {
            r.look.device = v.parse()?;
            Ok(())
        }),
    },
    Key {
        section: "kit",
        name: "file",
        about: "A kit (lastmile brand new); its exports, if it has any, take the place of format, quality, max_kb and name below.",
        example: "\"acme.brand.toml\"",
        value: Value::Text(|r, v| {
            r.kit = Some(r.beside(v).into());
            Ok(())
        }),
    },
    Key {
        section: "output",
        name: "format",
        about: "The container; keep: the source's, and PNG for GIF, BMP, PNM and QOI.",
        example: "\"jpeg\"",
        value: Value::OneOf(&FORMAT_WORDS, |r, v| r.output.format = of(&FORMATS, v).flatten()),
    },
    Key {
        section: "output",
        name: "quality",
        about: "JPEG, WebP and AVIF quality; left out: 95 for JPEG, 92 for WebP, 85 for AVIF.",
        example: "92",
        value: Value::Whole(1, 100, |r, v| r.output.quality = Some(v as u8)),
    },
    Key {
        section: "output",
        name: "lossless",
        about: "Lossless WebP.",
        example: "false",
        value: Value::Switch(|r, v| r.output.lossless = v),
    },
    Key {
        section: "output",
        name: "max_kb",
        about: "The most a JPEG, AVIF or lossy WebP file may have, in kB (1000 bytes): the quality is lowered as far as that needs.",
        example: "500",
        value: Value::Whole(1, u32::MAX as i64, |r, v| r.output.max_kb = Some(v as u32)),
    },
    Key {
        section: "output",
        name: "png",
        about: "PNG: written fast, or as small as it gets.",
        example: "\"small\"",
        value: Value::OneOf(&PNG_WORDS, |r, v| r.output.small = of(&PNGS, v).unwrap_or_default()),
    },
    Key {
        section: "output",
        name: "chroma",
        about: "JPEG: colour at full (444) or half (420) resolution.",
        example: "420",
        value: Value::OneOf(&CHROMA_WORDS, |r, v| r.output.chroma_420 = of(&CHROMAS, v).unwrap_or_default()),
    },
    Key {
        section: "output",
        name: "progressive",
        about: "JPEG: coarse to fine instead of top to bottom.",
        example: "true",
        value: Value::Switch(|r, v| r.output.progressive = v),
    },
    Key {
        section: "output",
        name: "depth",
        about: "Bits per sample; keep: the source's where the container can hold them.",
        example: "16",
        value: Value::OneOf(&DEPTH_WORDS, |r, v| r.output.bits = of(&DEPTHS, v).unwrap_or_default()),
    },
    Key {
        section: "output",
        name: "dither",
        about: "Dither lossless 8-bit files that were graded or had more bits.",
        example: "true",
        value: Value::Switch(|r, v| r.output.dither = v),
    },
    Key {
        section: "output",
        name: "convert_to",
        about: "Convert colours: srgb, p3 or an RGB profile (its path counts from the recipe's folder); left out: the source's profile stays.",
        example: "\"srgb\"",
        value: Value::Text(|r, v| {
            r.output.convert_to = Some(r.path(v));
            Ok(())
        }),
    },
    Key {
        section: "output",
        name: "frames",
        about: "Animations: refuse them, or take the first frame.",
        example: "\"first\"",
        value: Value::OneOf(&FRAME_WORDS, |r, v| r.output.first_frame = of(&FRAMES, v).unwrap_or_default()),
    },
    Key {
        section: "output",
        name: "metadata",
        about: "What to carry: keep all, or minimal: profile, resolution, creator, copyright, credit and source type.",
        example: "\"minimal\"",
        value: Value::OneOf(&METADATA_WORDS, |r, v| r.output.minimal = of(&METADATA, v).unwrap_or_default()),
    },
    Key {
        section: "output",
        name: "strip",
        about: "What to leave out: all (but profile and resolution), gps, prompt (of generators); several with commas.",
        example: "\"gps\"",
        value: Value::Text(|r, v| {
            r.output.strip = text::strip(v)?;
            Ok(())
        }),
    },
    Key {
        section: "output",
        name: "source_type",
        about: "The IPTC digital source type to set, for example trainedAlgorithmicMedia; left out: the source's.",
        example: "\"trainedAlgorithmicMedia\"",
        value: Value::Text(|r, v| {
            r.output.source_type = Some(text::source_type(v)?);
            Ok(())
        }),
    },
    Key {
        section: "output",
        name: "name",
        about: "File name without extension; {stem}, {ext}, {w} and {h} are filled in.",
        example: "\"{stem}_{w}x{h}\"",
        value: Value::Text(|r, v| {
            r.output.name = Some(v.parse()?);
            Ok(())
        }),
    },
    Key {
        section: "run",
        name: "device",
        about: "auto, cpu, cuda, tensorrt, directml, coreml, openvino or webgpu, with :N for the Nth.",
        example: "\"auto\"",
        value: Value::Text(|r, v| {
            r.run.device = v.parse()?;
            Ok(())
        }),
    },
    Key {
        section: "run",
        name: "precision",
        about: "Number format of the network: auto, fp32 or fp16.",
        example: "\"auto\"",
        value: Value::Text(|r, v| {
            r.run.precision = v.parse()?;
            Ok(())
        }),
    },
    Key {
        section: "run",
        name: "tile",
        about: "Tile without its border, in input pixels, or auto.",
        example: "\"auto\"",
        value: Value::Flag(|r, v| {
            r.run.tile = text::tile(v)?;
            Ok(())
        }),
    },
    Key {
        section: "run",
        name: "tile_mode",
        about: "Join tiles exactly, or blend their overlaps.",
        example: "\"auto\"",
        value: Value::OneOf(&TILE_MODE_WORDS, |r, v| r.run.tile_mode = of(&TILE_MODES, v).unwrap_or_default()),
    },
    Key {
        section: "run",
        name: "max_pixels",
        about: "Refuse larger sources, in pixels.",
        example: "\"1G\"",
        value: Value::Flag(|r, v| {
            r.run.max_pixels = text::max_pixels(v)?;
            Ok(())
        }),
    },
    Key {
        section: "price",
        name: "currency",
        about: "What the prices are in: a currency, or credits.",
        example: "\"EUR\"",
        value: Value::Text(|r, v| {
            r.price.currency = v.into();
            Ok(())
        }),
    },
    Key {
        section: "price",
        name: "per_run",
        about: "For every run that makes at least one file.",
        example: "0",
        value: Value::Number(0.0, 1e15, |r, v| r.price.per_run = v),
    },
    Key {
        section: "price",
        name: "per_file",
        about: "For every file.",
        example: "0.05",
        value: Value::Number(0.0, 1e15, |r, v| r.price.per_file = v),
    },
    Key {
        section: "price",
        name: "per_mp",
        about: "For every million pixels of the results.",
        example: "0.002",
        value: Value::Number(0.0, 1e15, |r, v| r.price.per_mp = v),
    },
];

/// The tile's side in input pixels, if it is given.
pub fn tile_px(tile: Tile) -> Option<usize> {
    match tile {
        Tile::Auto => None,
        Tile::Px(px) => Some(px as usize),
    }
}
