//! Recipes: what to make of pictures, in one TOML file (`*.recipe.toml`).
//!
//! The command line's flags fill the same [`Recipe`], so that a job is the same whether it was typed or read. [`keys`] is the
//! one list of what may stand in a file. Everything wrong with a file is told at once, with line, key, what was expected and
//! the nearest name there is.
//!
//! Over 500 lines because what a recipe is, what is refused in one, and how a file is read belong together.

pub mod keys;
mod name;
mod schema;
pub mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use name::Template;
pub use schema::{blank, schema};

use crate::brand::kit::GroupBy;
use crate::codec::{Format, Keep, Policy, SourceType, Strip};
use crate::error::{Error, Result, nearest};
use crate::grade::device::GradeDevice;
use crate::grade::grading::Source;
use crate::inspect::repair::Repair;
use crate::inspect::{Tier, Verdict};
use crate::upscale::device::{Device, Precision};
use crate::upscale::size::{Fit, Size};
use keys::{KEYS, Key, SECTIONS, SIZES, Value};
use text::Tile;

/// How tiles are joined.
pub type Tiles = crate::upscale::engine::TileMode;

/// The recipes in the program, by name, from the quickest to the largest.
pub static BUILT_IN: [(&str, &str); 4] = [
    ("draft", include_str!("../recipes/draft.recipe.toml")),
    ("standard", include_str!("../recipes/standard.recipe.toml")),
    ("hero", include_str!("../recipes/hero.recipe.toml")),
    ("poster", include_str!("../recipes/poster.recipe.toml")),
];

/// What the name of a recipe file ends with.
pub const EXTENSION: &str = ".recipe.toml";

/// What to make of pictures. [`Recipe::default`] is what the program does unless told.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// For people: what it is for.
    pub about: String,
    pub upscale: Upscale,
    pub inspect: Inspect,
    pub look: Look,
    /// The brand that pictures are finished for: a kit file.
    pub kit: Option<PathBuf>,
    pub output: Output,
    pub run: Run,
    pub price: Price,
    /// Where paths in the file count from.
    base: PathBuf,
    /// What messages call the keys that were given: `poster.recipe.toml:4: upscale.print`, or `--print`.
    given: BTreeMap<String, String>,
}

/// How pictures are enlarged.
#[derive(Debug, Clone, PartialEq)]
pub struct Upscale {
    /// An id, a path or `none`; the built-in faithful ones if not given.
    pub model: Option<String>,
    pub size: Size,
    pub fit: Fit,
    /// 0..=1.
    pub faithful: f32,
    /// 0..=1, for networks that were trained with two strengths.
    pub denoise: Option<f32>,
    pub colour_lock: bool,
    /// Masks of what always takes the faithful networks: a file, or a folder of the sources' shape. Not a key: a recipe is for
    /// any picture, a mask for one.
    pub protect: Option<PathBuf>,
}

/// How results are inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspect {
    pub when: When,
    pub tier: Tier,
    /// The mildest verdict that makes a run end with exit code 4.
    pub fail_on: Option<Verdict>,
    /// What is done about regions that can be mended; `None` suggests where results are inspected.
    pub repair: Option<Repair>,
}

/// Which results are inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// Those of networks that may invent.
    #[default]
    Auto,
    Always,
    Never,
}

/// How colours are graded: matched to references, then each of the sources in turn, all of it mixed with the ungraded colours.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Pictures to match.
    pub references: Vec<PathBuf>,
    /// Which pictures get one match together.
    pub group_by: GroupBy,
    pub sources: Vec<Source>,
    /// 0..=1.
    pub strength: f32,
    pub device: GradeDevice,
}

/// The files that are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `None` keeps the source's.
    pub format: Option<Format>,
    /// 1..=100; the format's default if not given.
    pub quality: Option<u8>,
    pub lossless: bool,
    /// The most a lossy file may have, in units of 1000 bytes.
    pub max_kb: Option<u32>,
    /// PNG: the smallest file rather than the fastest.
    pub small: bool,
    /// JPEG: colour at half the resolution.
    pub chroma_420: bool,
    /// JPEG: coarse to fine.
    pub progressive: bool,
    /// 8, 16, or 0 to keep the source's.
    pub bits: u8,
    pub dither: bool,
    /// `srgb`, `p3` or the path of an ICC profile; `None` keeps the source's.
    pub convert_to: Option<String>,
    /// Animations give their first frame rather than an error.
    pub first_frame: bool,
    /// Only what a picture needs to be shown and credited is carried.
    pub minimal: bool,
    pub strip: Vec<Stripped>,
    pub source_type: Option<SourceType>,
    pub name: Option<Template>,
}

impl Output {
    /// What shall become of the sources' metadata.
    pub fn policy(&self) -> Policy {
        let keep = match () {
            () if self.strip.contains(&Stripped::All) => Keep::Nothing,
            () if self.minimal => Keep::Minimal,
            () => Keep::All,
        };
        let each = [(Stripped::Gps, Strip::Gps), (Stripped::Prompt, Strip::Prompt)];
        let strip = each.into_iter().filter(|(s, _)| keep != Keep::Nothing && self.strip.contains(s)).map(|(_, s)| s).collect();
        Policy { keep, strip, source_type: self.source_type.clone() }
    }
}

/// What `strip` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stripped {
    /// Everything but profile and resolution.
    All,
    Gps,
    /// What generators wrote.
    Prompt,
}

/// How the machine is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub device: Device,
    pub precision: Precision,
    pub tile: Tile,
    pub tile_mode: Tiles,
    /// Of a source, in pixels.
    pub max_pixels: u64,
}

/// What results cost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Price {
    pub currency: String,
    pub per_run: f64,
    pub per_file: f64,
    /// Per million pixels of the results.
    pub per_mp: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            about: String::new(),
            upscale: Upscale {
                model: None,
                size: Size::Model,
                fit: Fit::Inside,
                faithful: 0.0,
                denoise: None,
                colour_lock: true,
                protect: None,
            },
            inspect: Inspect { when: When::Auto, tier: Tier::Standard, fail_on: None, repair: None },
            look: Look {
                references: Vec::new(),
                group_by: GroupBy::Picture,
                sources: Vec::new(),
                strength: 1.0,
                device: GradeDevice::Auto,
            },
            kit: None,
            output: Output {
                format: None,
                quality: None,
                lossless: false,
                max_kb: None,
                small: false,
                chroma_420: false,
                progressive: false,
                bits: 0,
                dither: true,
                convert_to: None,
                first_frame: false,
                minimal: false,
                strip: Vec::new(),
                source_type: None,
                name: None,
            },
            run: Run {
                device: Device::Auto,
                precision: Precision::Auto,
                tile: Tile::Auto,
                tile_mode: Tiles::Auto,
                max_pixels: 1_000_000_000,
            },
            price: Price::default(),
            base: PathBuf::new(),
            given: BTreeMap::new(),
        }
    }
}

impl Price {
    /// What `files` results of `megapixels` together cost; `None` if nothing has a price.
    pub fn total(&self, files: usize, megapixels: f64) -> Option<f64> {
        let free = self.per_run == 0.0 && self.per_file == 0.0 && self.per_mp == 0.0;
        let run = if files > 0 { self.per_run } else { 0.0 };
        (!free).then_some(run + self.per_file * files as f64 + self.per_mp * megapixels)
    }
}

impl Recipe {
    /// A built-in recipe by its name, else the file of that path.
    ///
    /// # Errors
    /// [`Error::Usage`]: no such recipe (with the nearest names), or everything that is wrong with it.
    pub fn open(spec: &str) -> Result<Self> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == spec) {
            return Self::parse(Path::new(&format!("{name}{EXTENSION}")), text);
        }
        let path = Path::new(spec);
        let is_path = spec.contains(['/', '\\']) || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
        if !is_path && !path.is_file() {
            let beside = format!("{spec}{EXTENSION}");
            let hint = match Path::new(&beside).is_file() {
                true => format!("`{beside}`, which is a file here"),
                false => {
                    nearest(spec, BUILT_IN.iter().map(|b| b.0)).map_or_else(String::new, |n| format!("`{n}`; "))
                        + "one of draft, standard, hero, poster, or the path of a .recipe.toml file"
                }
            };
            return Err(Error::usage(format!("recipe {spec}"), "no recipe of that name", hint));
        }
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::usage(spec, "no such recipe", "`lastmile recipe new` writes one to start from"),
            std::io::ErrorKind::InvalidData => Error::usage(spec, "a recipe is text in UTF-8; this is not", "`lastmile recipe new`"),
            _ => Error::usage(spec, format!("it cannot be read: {e}"), ""),
        })?;
        Self::parse(path, &text)
    }

    /// Reads a recipe; `file` is used in messages and to find files that the recipe names.
    ///
    /// # Errors
    /// [`Error::Usage`] with everything that is wrong: line, key, what was expected, the nearest name.
    pub fn parse(file: &Path, text: &str) -> Result<Self> {
        // Notepad and its kin begin files with a byte-order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut recipe = Self { base: file.parent().map(Path::to_path_buf).unwrap_or_default(), ..Self::default() };
        let mut reader = Reader { file, text, faults: Vec::new() };
        let (table, errors) = DeTable::parse_recoverable(text);
        for e in errors {
            let at = e.span().map_or(0, |s| s.start);
            reader.fault(at, "", e.message().to_owned(), String::new());
        }
        if reader.faults.is_empty() {
            reader.top(table.get_ref(), &mut recipe);
        }
        reader.end()?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Notes that a flag gives a key's value from now on.
    pub fn flag(&mut self, key: &str, flag: &str) {
        if SIZES.contains(&key) {
            self.given.retain(|k, _| !SIZES.contains(&k.as_str()));
        }
        self.given.insert(key.into(), flag.into());
        if key == "output.format" {
            self.fit_to_format();
        }
    }

    /// How the recipe packs files of one format means nothing once a flag chose another. Limits (`max_kb`, `depth`) stay: what they
    /// ask for is then refused instead of forgotten.
    fn fit_to_format(&mut self) {
        let Some(format) = self.output.format else { return };
        let own = |key: &str| self.given.get(key).is_none_or(|g| !g.starts_with("--"));
        let lossy = matches!(format, Format::Jpeg | Format::WebP | Format::Avif);
        let [quality, lossless, png, chroma, progressive] =
            ["output.quality", "output.lossless", "output.png", "output.chroma", "output.progressive"].map(own);
        let o = &mut self.output;
        o.quality = o.quality.filter(|_| lossy || !quality);
        o.lossless &= format == Format::WebP || !lossless;
        o.small &= format == Format::Png || !png;
        o.chroma_420 &= format == Format::Jpeg || !chroma;
        o.progressive &= format == Format::Jpeg || !progressive;
    }

    /// What messages call a key: where it was given.
    pub fn subject(&self, key: &str) -> String {
        self.given.get(key).cloned().unwrap_or_else(|| key.into())
    }

    /// A way out, in the words of where the key was given: as a flag, or as a line of the recipe.
    fn hint<'a>(&self, key: &str, flag: &'a str, line: &'a str) -> &'a str {
        if self.given.get(key).is_some_and(|g| g.starts_with("--")) { flag } else { line }
    }

    /// Refuses combinations that make no sense. To be called again after flags were added.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key and where it was given.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, what: &str, flag: &str, line: &str| Err(Error::usage(self.subject(key), what, self.hint(key, flag, line)));
        let Upscale { size, fit, model, faithful, denoise, .. } = &self.upscale;
        if *fit != Fit::Inside && !matches!(size, Size::Box { .. } | Size::Print { .. }) {
            let flag = "--size 3840x2160 or --print 24x36in@300 beside it";
            return wrong("upscale.fit", "there is no box to fill", flag, "size = \"3840x2160\" or print = \"24x36in@300\" beside it");
        }
        if denoise.is_some() && model.as_deref().is_none_or(|m| m == "none") {
            let what = "the built-in networks were not trained with two strengths";
            return wrong("upscale.denoise", what, "--model realesr-general-x4v3 beside it", "model = \"realesr-general-x4v3\" beside it");
        }
        if model.as_deref() == Some("none") {
            if *size == Size::Model {
                let flag = "--scale 2 or --long-edge 3840 beside it";
                let what = "`none` has no factor of its own";
                return wrong("upscale.model", what, flag, "scale = 2 or long_edge = 3840 beside it");
            }
            if *faithful > 0.0 {
                let what = "without a network there is nothing to blend";
                return wrong("upscale.faithful", what, "another --model", "another model");
            }
        }
        if self.look.references.is_empty() && self.look.group_by != GroupBy::Picture {
            let what = "there is nothing to match";
            return wrong("look.group_by", what, "--match REF beside it", "match = [\"north-star.jpg\"] beside it");
        }
        if self.look.references.is_empty() && self.given.contains_key("look.match") {
            return wrong("look.match", "there is no picture in it", "--match REF", "match = [\"north-star.jpg\"]");
        }
        let Output { format, quality, lossless, bits, .. } = &self.output;
        if quality.is_some() && *lossless {
            return wrong("output.quality", "a lossless file has no quality", "either of --quality and --lossless", "one of the two");
        }
        if let (Some(q), Some(f @ (Format::Png | Format::Tiff))) = (quality, format) {
            let what = format!("{q} means nothing for {}, which loses nothing", f.name());
            return wrong("output.quality", &what, "--format jpeg or --format webp", "format = \"jpeg\" or \"webp\"");
        }
        if *lossless && !matches!(format, None | Some(Format::WebP)) {
            let flag = "--format webp; PNG and TIFF are lossless anyway";
            let what = "it chooses between two kinds of WebP";
            return wrong("output.lossless", what, flag, "format = \"webp\"; PNG and TIFF are lossless anyway");
        }
        if let (16, Some(f @ (Format::Jpeg | Format::WebP | Format::Avif))) = (*bits, format) {
            let what = format!("16 bits per sample do not fit into {}, which holds fewer", f.name());
            return wrong("output.depth", &what, "--format png or --format tiff", "format = \"png\" or \"tiff\"");
        }
        let Output { max_kb, small, chroma_420, progressive, .. } = &self.output;
        let lossy = [Format::Jpeg, Format::WebP, Format::Avif];
        for (key, given, takes, flag, line) in [
            ("output.max_kb", max_kb.is_some(), &lossy[..], "--format jpeg or --format webp", "format = \"jpeg\" or \"webp\""),
            ("output.png", *small, &[Format::Png][..], "--format png", "format = \"png\""),
            ("output.chroma", *chroma_420, &lossy[..1], "--format jpeg", "format = \"jpeg\""),
            ("output.progressive", *progressive, &lossy[..1], "--format jpeg", "format = \"jpeg\""),
        ] {
            if let Some(f) = format.filter(|f| given && !takes.contains(f)) {
                return wrong(key, &format!("it means nothing for {} files", f.name()), flag, line);
            }
        }
        if max_kb.is_some() && *lossless {
            return wrong(
                "output.max_kb",
                "the size of a lossless file cannot be chosen",
                "either of --max-kb and --lossless",
                "one of the two",
            );
        }
        Ok(())
    }

    /// A file that a recipe names, seen from where the program runs.
    fn beside(&self, file: &str) -> String {
        self.base.join(file).to_string_lossy().into_owned()
    }

    /// A path in the file, seen from where the program runs; ids stay as they are.
    fn path(&self, spec: &str) -> String {
        let is_path =
            spec.contains(['/', '\\']) || [".onnx", ".icc", ".icm", ".toml"].iter().any(|e| spec.to_ascii_lowercase().ends_with(e));
        if is_path { self.base.join(spec).to_string_lossy().into_owned() } else { spec.into() }
    }
}

/// One thing wrong with a file.
struct Fault {
    line: usize,
    key: String,
    what: String,
    hint: String,
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|b| **b == b'\n').count()
    }

    fn fault(&mut self, at: usize, key: &str, what: String, hint: String) {
        let line = self.line(at);
        self.faults.push(Fault { line, key: key.into(), what, hint });
    }

    /// All faults as one error.
    fn end(mut self) -> Result<()> {
        self.faults.sort_by_key(|f| f.line);
        let place = |f: &Fault| if f.key.is_empty() { String::new() } else { format!(": {}", f.key) };
        match self.faults.as_slice() {
            [] => Ok(()),
            [f] => Err(Error::usage(format!("{}:{}{}", self.file.display(), f.line, place(f)), &f.what, &f.hint)),
            many => {
                let mut text = format!("{} mistakes", many.len());
                for f in many {
                    let hint = if f.hint.is_empty() { String::new() } else { format!(" (try {})", f.hint) };
                    let _ = write!(text, "\n  line {}{}: {}{hint}", f.line, place(f), f.what);
                }
                Err(Error::usage(self.file.display(), text, ""))
            }
        }
    }

    fn top(&mut self, table: &DeTable<'_>, recipe: &mut Recipe) {
        for (name, value) in written(table) {
            let (at, word) = (name.span().start, name.get_ref().as_ref());
            if let Some(key) = key("", word) {
                self.set(key, value, recipe);
            } else if SECTIONS.iter().any(|(section, _)| *section == word) {
                match value.get_ref().as_table() {
                    Some(t) => self.section(word, t, recipe),
                    None => self.fault(at, word, format!("expected a section, found {}", found(value.get_ref())), format!("[{word}]")),
                }
            } else {
                let hint = match KEYS.iter().find(|k| k.name == word) {
                    Some(k) => format!("it below [{}]", k.section),
                    None => {
                        let top = KEYS.iter().filter(|k| k.section.is_empty()).map(|k| k.name);
                        suggest(word, top.chain(SECTIONS.iter().map(|s| s.0)))
                    }
                };
                self.fault(at, word, "unknown key".into(), hint);
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>, recipe: &mut Recipe) {
        for (name, value) in written(table) {
            let (at, word) = (name.span().start, name.get_ref().as_ref());
            if let Some(key) = key(section, word) {
                self.set(key, value, recipe);
                continue;
            }
            let elsewhere = KEYS.iter().find(|k| k.name == word);
            let hint = match elsewhere {
                Some(k) if k.section.is_empty() => "it above all sections".into(),
                Some(k) => format!("it below [{}]", k.section),
                None => suggest(word, KEYS.iter().filter(|k| k.section == section).map(|k| k.name)),
            };
            self.fault(at, &format!("{section}.{word}"), "unknown key".into(), hint);
        }
    }

    fn set(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>, recipe: &mut Recipe) {
        let (at, path) = (value.span().start, key.path());
        if SIZES.contains(&path.as_str())
            && let Some(first) = recipe.given.iter().find(|(k, _)| SIZES.contains(&k.as_str()))
        {
            let what = format!("a second size; {} gives one already", first.1);
            return self.fault(at, &path, what, "one of the two".into());
        }
        match put(key, value.get_ref(), recipe) {
            Ok(()) => {
                let subject = format!("{}:{}: {path}", self.file.display(), self.line(at));
                recipe.given.insert(path, subject);
            }
            Err(what) => self.fault(at, &path, what, String::new()),
        }
    }
}

/// A table's entries in the order of the file.
fn written<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Spanned<Cow<'i, str>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn key(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.section == section && k.name == name)
}

/// Hands a value to its key, or says what was expected.
fn put(key: &Key, value: &DeValue<'_>, recipe: &mut Recipe) -> Result<(), String> {
    let unexpected = || format!("expected {}, found {}", key.expects(), found(value));
    let whole = || value.as_integer().and_then(|i| i64::from_str_radix(i.as_str(), i.radix()).ok());
    let number = || whole().map(|i| i as f64).or_else(|| value.as_float().and_then(|f| f.as_str().parse().ok()));
    let word = || match value {
        DeValue::String(s) => Some(s.to_string()),
        DeValue::Integer(_) => whole().map(|i| i.to_string()),
        DeValue::Float(f) => f.as_str().parse::<f64>().ok().map(|f| f.to_string()),
        _ => None,
    };
    match &key.value {
        Value::Text(set) => match value.as_str() {
            Some(text) => set(recipe, text),
            None => Err(unexpected()),
        },
        Value::Texts(set) => {
            let list: Option<Vec<&str>> = match value {
                DeValue::Array(a) => a.iter().map(|v| v.get_ref().as_str()).collect(),
                one => one.as_str().map(|t| vec![t]),
            };
            match list {
                Some(texts) => set(recipe, &texts),
                None => Err(unexpected()),
            }
        }
        Value::Flag(set) => match word() {
            Some(text) => set(recipe, &text).map_err(|e| format!("expected {e}; found {}", found(value))),
            None => Err(unexpected()),
        },
        Value::OneOf(words, set) => match word() {
            Some(text) if words.contains(&text.as_str()) => {
                set(recipe, &text);
                Ok(())
            }
            Some(text) => {
                let near = nearest(&text, words.iter().copied()).map(|n| format!("; perhaps {}", keys::written(n)));
                Err(unexpected() + &near.unwrap_or_default())
            }
            None => Err(unexpected()),
        },
        Value::Switch(set) => match value.as_bool() {
            Some(on) => {
                set(recipe, on);
                Ok(())
            }
            None => Err(unexpected()),
        },
        Value::Number(least, most, set) => match number().filter(|v| (*least..=*most).contains(v)) {
            Some(v) => {
                set(recipe, v);
                Ok(())
            }
            None => Err(unexpected()),
        },
        Value::Whole(least, most, set) => match whole().filter(|v| (*least..=*most).contains(v)) {
            Some(v) => {
                set(recipe, v);
                Ok(())
            }
            None => Err(unexpected()),
        },
    }
}

/// A value as a message shows it.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(s) if s.chars().count() > 60 => format!("a text of {} characters", s.chars().count()),
        DeValue::String(s) => format!("the text {s:?}"),
        DeValue::Integer(i) => format!("the whole number {i}"),
        DeValue::Float(f) => format!("the number {f}"),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

fn suggest<'a>(word: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(word, names.clone()) {
        Some(near) => format!("`{near}`"),
        None => format!("one of {}", names.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests;
