//! The flags of everything that works on pictures: each overrides its key of the recipe.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::grade::Grading;
use crate::batch::shard::Shard;
use crate::codec::SourceType;
use crate::inspect::repair::Repair;
use crate::recipe::keys::{self, CHROMAS, DEPTHS, FAIL_ONS, FITS, FORMATS, FRAMES, METADATA, PNGS, REPAIRS, TIERS, TILE_MODES};
use crate::recipe::text::{self, Tile};
use crate::recipe::{Recipe, Stripped, Template};
use crate::upscale::device::{Device, Precision};
use crate::upscale::size::Size;

/// An alias, so that clap takes the list as one value.
type Strips = Vec<Stripped>;

/// What is worked on and where results go.
#[derive(clap::Args, Debug, Clone)]
pub struct Paths {
    /// Pictures and folders of pictures (PNG, JPEG, WebP, TIFF, JPEG XL, GIF, BMP, PNM, QOI)
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Folder for the results; or a file name, if there is one input
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
}

/// How pictures are made.
#[derive(clap::Args, Debug, Clone)]
pub struct Flags {
    /// Network: an id from `lastmile models list`, an ONNX file, or `none` to resample without one
    /// [default: the built-in faithful ones]
    #[arg(long, value_name = "ID|FILE", help_heading = "Picture")]
    model: Option<String>,
    /// A factor, decimals allowed [default: the model's own]
    #[arg(long, value_name = "N", value_parser = text::scale, group = "goal", help_heading = "Picture")]
    scale: Option<Size>,
    /// Pixels of the longer side
    #[arg(long, value_name = "PX", value_parser = text::long_edge, group = "goal", help_heading = "Picture")]
    long_edge: Option<Size>,
    /// A box in pixels, --fit says how to fill it; or one side: 3840x, x2160
    #[arg(long, value_name = "WxH", value_parser = text::size, group = "goal", help_heading = "Picture")]
    size: Option<Size>,
    /// Megapixels
    #[arg(long, value_name = "N", value_parser = text::megapixels, group = "goal", help_heading = "Picture")]
    mp: Option<Size>,
    /// Paper and resolution, for example 24x36in@300; the resolution is set in the file
    #[arg(long, value_name = "WxHin@DPI", value_parser = text::print, group = "goal", help_heading = "Picture")]
    print: Option<Size>,
    /// How a picture fills --size or --print: whole inside, cut to cover, or stretched to exactly that [default: inside]
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(keys::words(&FITS)), help_heading = "Picture")]
    fit: Option<String>,
    /// Blend with the faithful default network: 0 the chosen one alone, 1 the faithful one alone [default: 0]
    #[arg(long, value_name = "0..1", value_parser = text::share, help_heading = "Picture")]
    faithful: Option<f32>,
    /// How much a network denoises that was trained with two strengths (realesr-general-x4v3): 1 as it is, 0 hardly [default: 1]
    #[arg(long, value_name = "0..1", value_parser = text::share, help_heading = "Picture")]
    denoise: Option<f32>,
    /// Keep the source's colours and soft shading [default: on]
    #[arg(long, value_name = "on|off", value_parser = switch(), help_heading = "Picture")]
    colour_lock: Option<String>,
    /// Mask of what always takes the faithful networks (logos, lettering, faces): white where, of the source's size; or a folder
    /// of masks with the sources' names
    #[arg(long, value_name = "MASK|DIR", help_heading = "Picture")]
    protect: Option<PathBuf>,

    /// Finish results for a brand: its colours, logo, files and gate, from a .brand.toml file
    #[arg(long, value_name = "FILE", help_heading = "Colour")]
    kit: Option<PathBuf>,
    /// How closely results are inspected: draft, standard or hero [default: standard]
    #[arg(long, value_name = "TIER", value_parser = PossibleValuesParser::new(keys::words(&TIERS)), help_heading = "Run")]
    tier: Option<String>,
    /// Inspect, and exit with 4 if a result is to be reviewed, or is a likely reject, of this or an earlier run [default: never]
    #[arg(long, value_name = "VERDICT", value_parser = PossibleValuesParser::new(keys::words(&FAIL_ONS)), help_heading = "Run")]
    fail_on: Option<String>,

    #[command(flatten)]
    grading: Grading,
    #[command(flatten)]
    files: Files,

    /// Processor or graphics card: auto, cpu, cuda, tensorrt, directml, coreml, openvino or webgpu, with :N for the Nth
    /// [default: auto]
    #[arg(long, value_name = "DEVICE[:N]", help_heading = "Run")]
    device: Option<Device>,
    /// Tile without its border, in input pixels [default: auto]
    #[arg(long, value_name = "auto|PX", value_parser = text::tile, help_heading = "Run")]
    tile: Option<Tile>,
    /// Join tiles exactly, or blend their overlaps [default: auto]
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(keys::words(&TILE_MODES)), help_heading = "Run")]
    tile_mode: Option<String>,
    /// Number format of the network: auto, fp32 or fp16 [default: auto]
    #[arg(long, value_name = "FORMAT", help_heading = "Run")]
    precision: Option<Precision>,
}

/// The files that are read and written.
#[derive(clap::Args, Debug, Clone)]
pub struct Files {
    /// Container [default: keep; GIF, BMP, PNM, QOI and JPEG XL become PNG]
    #[arg(long, value_name = "FORMAT", value_parser = format(), help_heading = "File")]
    format: Option<String>,
    /// JPEG, WebP and AVIF quality, 1 to 100 [default: 95 for JPEG, 92 for WebP, 85 for AVIF]
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(1..=100), help_heading = "File")]
    quality: Option<u8>,
    /// Lossless WebP
    #[arg(long, conflicts_with = "quality", help_heading = "File")]
    lossless: bool,
    /// JPEG, AVIF, lossy WebP: lower the quality as far as a file of this many kB (1000 bytes) needs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "lossless", help_heading = "File")]
    max_kb: Option<u32>,
    /// PNG: written fast, or as small as it gets [default: fast]
    #[arg(long, value_name = "fast|small", value_parser = PossibleValuesParser::new(keys::words(&PNGS)), help_heading = "File")]
    png: Option<String>,
    /// JPEG: colour at full (444) or half (420) resolution [default: 444]
    #[arg(long, value_name = "444|420", value_parser = PossibleValuesParser::new(keys::words(&CHROMAS)), help_heading = "File")]
    chroma: Option<String>,
    /// JPEG: coarse to fine instead of top to bottom
    #[arg(long, help_heading = "File")]
    progressive: bool,
    /// Bits per sample [default: keep]
    #[arg(long, value_name = "8|16|keep", value_parser = PossibleValuesParser::new(keys::words(&DEPTHS)), help_heading = "File")]
    depth: Option<String>,
    /// Dither lossless 8-bit files that were graded or had more bits [default: on]
    #[arg(long, value_name = "on|off", value_parser = switch(), help_heading = "File")]
    dither: Option<String>,
    /// Convert colours: srgb, p3 or an RGB profile [default: keep the source's profile]
    #[arg(long, value_name = "srgb|p3|FILE.icc", help_heading = "File")]
    convert_to: Option<String>,
    /// Animations: refuse them, or take the first frame [default: refuse]
    #[arg(long, value_name = "refuse|first", value_parser = PossibleValuesParser::new(keys::words(&FRAMES)), help_heading = "File")]
    frames: Option<String>,
    /// File name without extension; {stem}, {ext}, {w} and {h} are filled in
    #[arg(long, value_name = "PATTERN", help_heading = "File")]
    name: Option<Template>,

    /// What to carry: all, or profile, resolution, creator, copyright, credit and source type [default: keep]
    #[arg(long, value_name = "keep|minimal", value_parser = PossibleValuesParser::new(keys::words(&METADATA)), help_heading = "Metadata")]
    metadata: Option<String>,
    /// What to leave out: all (but profile and resolution), gps, prompt (of generators); several with commas
    #[arg(long, value_name = "all|gps|prompt", help_heading = "Metadata", value_parser = text::strip)]
    strip: Option<Strips>,
    /// Set the IPTC digital source type, for example trainedAlgorithmicMedia [default: the source's]
    #[arg(long, value_name = "TERM", value_parser = text::source_type, help_heading = "Metadata")]
    source_type: Option<SourceType>,
    /// Refuse larger sources, in pixels [default: 1G]
    #[arg(long, value_name = "N", value_parser = text::max_pixels, help_heading = "Run")]
    max_pixels: Option<u64>,
}

/// How a run goes about it; no pixel depends on it.
#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "Run")]
pub struct Work {
    /// Only paths that match, for example '*.png'; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Not paths that match, for example 'drafts/**'; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Files in flight [default: by cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Memory to stay within [default: half of what is free]
    #[arg(long, value_name = "SIZE", value_parser = text::memory)]
    pub memory: Option<u64>,
    /// Replace files that lastmile did not make, or made of another source
    #[arg(long)]
    pub overwrite: bool,
    /// Keep what the network made (12 bytes a pixel, in .lastmile/masters), so that another quality, format or look needs none
    #[arg(long)]
    pub keep_master: bool,
    /// Look for what the network invented in every result, into .lastmile/report.jsonl [default: for perceptual networks]
    #[arg(long, conflicts_with = "no_inspect")]
    pub inspect: bool,
    /// Do not inspect results
    #[arg(long)]
    pub no_inspect: bool,
    /// Regions where the network invented something: mend them with the faithful result in a copy for the reviewer to take
    /// (suggest), in the results themselves (auto), or not at all; either inspects [default: suggest where results are inspected]
    #[arg(long, value_name = "off|suggest|auto", value_parser = PossibleValuesParser::new(keys::words(&REPAIRS)), conflicts_with = "no_inspect")]
    pub repair: Option<String>,
}

impl Work {
    /// What was asked for, if anything.
    pub fn repair(&self) -> Option<Repair> {
        word(&REPAIRS, &self.repair)
    }
}

/// What concerns a run that ends.
#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "Run")]
pub struct Once {
    /// Only part I of N, for N machines on one folder; the same part whenever and wherever it is run
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Only what failed last time
    #[arg(long)]
    pub retry_failed: bool,
    /// Say what would be done, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Make only N of the pictures, in OUT/_proof, with a page that shows them before and after
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub proof: Option<u16>,
    /// Write what is done to the colours as a .cube file, for other programs
    #[arg(long, value_name = "FILE", help_heading = "Colour")]
    pub export_cube: Option<PathBuf>,
}

fn switch() -> PossibleValuesParser {
    PossibleValuesParser::new(["on", "off"])
}

/// A recipe's keys: the flag of each, its value, and where the value goes.
macro_rules! put {
    ($recipe:ident: $($key:literal $flag:literal $value:expr => $place:expr),+ $(,)?) => {
        $(if let Some(v) = $value {
            $place = v;
            $recipe.flag($key, $flag);
        })+
    };
}

/// Containers by name, or by what their files' names end with.
fn format() -> impl TypedValueParser<Value = String> {
    const ENDINGS: [(&str, &str); 2] = [("jpg", "jpeg"), ("tif", "tiff")];
    let named = |name| {
        let ending = ENDINGS.iter().find(|(_, of)| *of == name);
        ending.into_iter().fold(PossibleValue::new(name), |value, (ending, _)| value.alias(ending))
    };
    PossibleValuesParser::new(keys::words(&FORMATS).map(named))
        .map(|typed| ENDINGS.iter().find(|(ending, _)| *ending == typed).map_or(typed, |(_, of)| (*of).to_owned()))
}

fn word<T: Copy>(list: &[(&str, T)], word: &Option<String>) -> Option<T> {
    word.as_deref().and_then(|w| keys::of(list, w))
}

fn on(word: &Option<String>) -> Option<bool> {
    word.as_deref().map(|v| v == "on")
}

impl Flags {
    /// Puts what was given into the recipe, and checks what came of it.
    ///
    /// # Errors
    /// Combinations that make no sense, naming the flag or the recipe's line.
    pub fn apply(&self, recipe: &mut Recipe) -> crate::Result<()> {
        put! {
            recipe:
            "upscale.model" "--model" self.model.clone().map(Some) => recipe.upscale.model,
            "upscale.scale" "--scale" self.scale => recipe.upscale.size,
            "upscale.long_edge" "--long-edge" self.long_edge => recipe.upscale.size,
            "upscale.size" "--size" self.size => recipe.upscale.size,
            "upscale.mp" "--mp" self.mp => recipe.upscale.size,
            "upscale.print" "--print" self.print => recipe.upscale.size,
            "upscale.fit" "--fit" word(&FITS, &self.fit) => recipe.upscale.fit,
            "upscale.faithful" "--faithful" self.faithful => recipe.upscale.faithful,
            "upscale.denoise" "--denoise" self.denoise.map(Some) => recipe.upscale.denoise,
            "upscale.colour_lock" "--colour-lock" on(&self.colour_lock) => recipe.upscale.colour_lock,
            "kit.file" "--kit" self.kit.clone().map(Some) => recipe.kit,
            "inspect.tier" "--tier" word(&TIERS, &self.tier) => recipe.inspect.tier,
            "inspect.fail_on" "--fail-on" word(&FAIL_ONS, &self.fail_on) => recipe.inspect.fail_on,
            "run.device" "--device" self.device => recipe.run.device,
            "run.tile" "--tile" self.tile => recipe.run.tile,
            "run.tile_mode" "--tile-mode" word(&TILE_MODES, &self.tile_mode) => recipe.run.tile_mode,
            "run.precision" "--precision" self.precision => recipe.run.precision,
        }
        recipe.upscale.protect.clone_from(&self.protect);
        self.grading.apply(recipe);
        self.files.apply(recipe)
    }
}

impl Files {
    /// Puts what was given into the recipe, and checks what came of it.
    ///
    /// # Errors
    /// Combinations that make no sense, naming the flag or the recipe's line.
    pub fn apply(&self, recipe: &mut Recipe) -> crate::Result<()> {
        put! {
            recipe:
            "output.format" "--format" word(&FORMATS, &self.format) => recipe.output.format,
            "output.quality" "--quality" self.quality.map(Some) => recipe.output.quality,
            "output.lossless" "--lossless" self.lossless.then_some(true) => recipe.output.lossless,
            "output.max_kb" "--max-kb" self.max_kb.map(Some) => recipe.output.max_kb,
            "output.png" "--png" word(&PNGS, &self.png) => recipe.output.small,
            "output.chroma" "--chroma" word(&CHROMAS, &self.chroma) => recipe.output.chroma_420,
            "output.progressive" "--progressive" self.progressive.then_some(true) => recipe.output.progressive,
            "output.depth" "--depth" word(&DEPTHS, &self.depth) => recipe.output.bits,
            "output.dither" "--dither" on(&self.dither) => recipe.output.dither,
            "output.convert_to" "--convert-to" self.convert_to.clone().map(Some) => recipe.output.convert_to,
            "output.frames" "--frames" word(&FRAMES, &self.frames) => recipe.output.first_frame,
            "output.metadata" "--metadata" word(&METADATA, &self.metadata) => recipe.output.minimal,
            "output.strip" "--strip" self.strip.clone() => recipe.output.strip,
            "output.source_type" "--source-type" self.source_type.clone().map(Some) => recipe.output.source_type,
            "output.name" "--name" self.name.clone().map(Some) => recipe.output.name,
            "run.max_pixels" "--max-pixels" self.max_pixels => recipe.run.max_pixels,
        }
        recipe.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Format, Keep, Strip};
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(line: &str) -> Flags {
        Only::parse_from(std::iter::once("x").chain(line.split_whitespace())).flags
    }

    #[test]
    fn every_key_but_prices_has_its_flag() {
        let line = "--model m --fit cover --size 10x10 --faithful 0.5 --denoise 0.5 --colour-lock off --format webp --quality 80 --depth 8 --dither off \
            --name {stem} --look clean --lut a.cube --cdl a.cc --strength 0.5 --device cpu --tile 64 --tile-mode blend --precision fp32 --max-pixels 1M";
        let mut recipe = Recipe::default();
        flags(line).apply(&mut recipe).unwrap();
        assert_eq!(recipe.output.format, Some(Format::WebP));
        assert!(!recipe.upscale.colour_lock && !recipe.output.dither);
        for key in &keys::KEYS {
            if key.section.is_empty() || key.section == "price" {
                continue;
            }
            let flag = match key.path().as_str() {
                "kit.file" => "--kit".into(),
                // The name without the section is that of the network's device.
                "look.device" => "--grade-device".into(),
                // Told apart from flags where the recipe is used.
                "inspect.when" | "inspect.repair" => continue,
                _ => format!("--{}", key.name.replace('_', "-")),
            };
            let given = line.contains(&format!("{flag} "));
            assert_eq!(recipe.subject(&key.path()), if given { flag.clone() } else { key.path() });
            let known = clap::Command::new("x");
            let known = <Flags as clap::Args>::augment_args(known);
            assert!(known.get_arguments().any(|a| a.get_long() == flag.strip_prefix("--")), "{flag}");
        }
    }

    #[test]
    fn what_concerns_the_file() {
        let recipe = |line: &str| {
            let mut recipe = Recipe::default();
            flags(line).apply(&mut recipe).map(|()| recipe)
        };
        let all = recipe("--strip prompt,gps --source-type TrainedAlgorithmicMedia --max-kb 300 --convert-to P3").unwrap().output;
        assert_eq!(all.policy().strip, [Strip::Gps, Strip::Prompt]);
        assert!(all.policy().source_type.unwrap().uri().ends_with("/trainedAlgorithmicMedia"));
        let none = recipe("--strip all,gps --metadata minimal").unwrap().output.policy();
        assert_eq!((none.keep, none.strip.len()), (Keep::Nothing, 0));
        for (line, word) in [
            ("--png small --format jpeg", "--png: it means nothing for JPEG"),
            ("--chroma 420 --format webp", "--chroma"),
            ("--progressive --format png", "--progressive"),
            ("--max-kb 10 --format tiff", "--max-kb"),
        ] {
            let e = recipe(line).unwrap_err();
            assert!(e.kind() == "usage" && e.to_string().contains(word) && e.to_string().contains("try: "), "{e}");
        }
        for wrong in ["--source-type photo", "--max-kb 5 --lossless", "--strip nothing"] {
            assert!(Only::try_parse_from(std::iter::once("x").chain(wrong.split_whitespace())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_format_given_as_a_flag_drops_how_the_recipe_packs_another() {
        let text = "[output]\nformat = \"jpeg\"\nquality = 80\nprogressive = true\nchroma = \"420\"\n";
        let apply = |line: &str| {
            let mut recipe = Recipe::parse(std::path::Path::new("r.toml"), text).unwrap();
            flags(line).apply(&mut recipe).map(|()| recipe.output)
        };
        let png = apply("--format png").unwrap();
        assert_eq!((png.quality, png.progressive, png.chroma_420), (None, false, false));
        let webp = apply("--format webp").unwrap();
        assert_eq!((webp.quality, webp.progressive), (Some(80), false));
        // What was typed is refused all the same.
        assert!(apply("--format png --quality 70").unwrap_err().to_string().contains("--quality"));
    }

    #[test]
    fn without_flags_a_recipe_stays_what_it_is() {
        let mut recipe = Recipe::open("poster").unwrap();
        flags("").apply(&mut recipe).unwrap();
        assert_eq!(recipe, Recipe::open("poster").unwrap());
        let mut recipe = Recipe::open("hero").unwrap();
        flags("--scale 2").apply(&mut recipe).unwrap();
        assert_eq!((recipe.upscale.size, recipe.output.bits), (Size::Scale(2.0), 16));
    }
}
