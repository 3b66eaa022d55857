//! Kit files (`*.brand.toml`).
//!
//! Over 500 lines because each key's rule, its example and what is said of mistakes are to be read beside each other.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::brand::palette::{Swatch, TOLERANCE, hex};
use crate::color::ColourSpace;
use crate::error::{Error, Result, nearest};
use crate::grade::Look;

/// What the name of a kit file ends with.
pub const EXTENSION: &str = ".brand.toml";

/// A brand.
#[derive(Debug, Clone)]
pub struct Kit {
    /// The file, for messages.
    pub file: PathBuf,
    pub name: String,
    /// Applied after the match.
    pub look: Option<Look>,
    /// How much of match and look is applied at most, 0..=1.
    pub strength: f32,
    /// Pictures that show the look; paths from where the program runs.
    pub references: Vec<PathBuf>,
    pub group_by: GroupBy,
    pub palette: Vec<Swatch>,
    pub protect: Protect,
    pub logo: Option<Logo>,
    /// At least one.
    pub exports: Vec<Export>,
    pub gate: Gate,
}

/// Which pictures get one transform together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// Those that the same generator made, by their metadata; those without go by folder.
    Generator,
    /// Those in the same folder.
    Folder,
    /// Each picture for itself.
    Picture,
    /// All of them: the frames of one sequence.
    Sequence,
}

/// What grading must keep; its strength is reduced until it does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Protect {
    /// Hue of skin, in degrees in OKLab, after white balance.
    pub skin_degrees: f32,
    /// How much of its chroma skin may lose on the whole, 0..1, and gain likewise; looks that take all of it are meant.
    pub skin_chroma: f32,
    /// By how much skin may become lighter or darker on the whole, in CIELAB L.
    pub skin_lightness: f32,
    /// Colour of greys: CIEDE2000 without lightness, after white balance.
    pub neutral_de: f64,
}

impl Default for Protect {
    fn default() -> Self {
        Self { skin_degrees: 4.0, skin_chroma: 0.35, skin_lightness: 12.0, neutral_de: 1.5 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corner {
    TopLeft,
    TopRight,
    BottomLeft,
    BottomRight,
}

/// A logo and its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Logo {
    pub file: PathBuf,
    /// The variant for light backgrounds, if `file` is the one for dark ones, or the other way round: the one with more
    /// contrast to what lies under it is taken.
    pub variant: Option<PathBuf>,
    pub corner: Corner,
    /// Share of the picture's shorter side that the logo's width takes, 0..1.
    pub width: f64,
    /// Smaller than this it is not put on.
    pub min_px: usize,
    /// Distance from the edges, as a share of the logo's height.
    pub clear: f64,
}

/// A file to make of each picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Export {
    /// The folder below the output folder; empty for its top.
    pub name: String,
    /// Pixels of the longer side at most; `None` keeps the size.
    pub long_edge: Option<usize>,
    /// A rectangle to fill, cut around `focus`.
    pub cover: Option<(usize, usize)>,
    /// What a cut keeps in its middle as far as it can.
    pub focus: Focus,
    /// `None` keeps the source's.
    pub format: Option<crate::codec::Format>,
    /// 1..=100.
    pub quality: Option<u8>,
    /// sRGB unless another one is given.
    pub profile: Option<ColourSpace>,
    /// The quality is lowered until the file has no more kilobytes (1000 bytes).
    pub max_kb: Option<u32>,
    /// How the file is called, a pattern as `--name` takes it; `None` keeps the source's name.
    pub naming: Option<String>,
}

/// The part of a picture that matters most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Focus {
    /// 0..1 from the left and the top.
    At([f64; 2]),
    /// Where most detail, colour and skin is ([`crate::brand::focus`]).
    Auto,
}

impl Default for Focus {
    fn default() -> Self {
        Self::At([0.5; 2])
    }
}

/// Files that do not reach this are held.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Gate {
    /// Least score, 0..100.
    pub score: Option<f64>,
    /// Most of [`crate::brand::score::Score::p90`], CIEDE2000.
    pub p90: Option<f64>,
    /// Most kilobytes (1000 bytes) of a file.
    pub max_kb: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    look: Option<Spanned<String>>,
    strength: Option<Spanned<f32>>,
    #[serde(default)]
    references: Vec<Spanned<String>>,
    #[serde(default = "by_folder")]
    group_by: GroupBy,
    #[serde(default)]
    palette: Vec<FileSwatch>,
    #[serde(default)]
    protect: FileProtect,
    logo: Option<FileLogo>,
    #[serde(default)]
    export: Vec<FileExport>,
    #[serde(default)]
    gate: FileGate,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileProtect {
    skin_degrees: Option<Spanned<f32>>,
    skin_chroma: Option<Spanned<f32>>,
    skin_lightness: Option<Spanned<f32>>,
    neutral_de: Option<Spanned<f64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileGate {
    score: Option<Spanned<f64>>,
    p90: Option<Spanned<f64>>,
    max_kb: Option<Spanned<u64>>,
}

fn by_folder() -> GroupBy {
    GroupBy::Folder
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSwatch {
    name: Option<String>,
    colour: Spanned<String>,
    tolerance: Option<Spanned<f64>>,
    #[serde(default)]
    protected: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLogo {
    file: Spanned<String>,
    variant: Option<Spanned<String>>,
    corner: Option<Corner>,
    width: Option<Spanned<f64>>,
    min_px: Option<usize>,
    clear: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileExport {
    name: Spanned<String>,
    long_edge: Option<Spanned<usize>>,
    cover: Option<Spanned<[usize; 2]>>,
    focus: Option<Spanned<FileFocus>>,
    format: Option<Spanned<String>>,
    quality: Option<Spanned<u8>>,
    profile: Option<Spanned<String>>,
    max_kb: Option<Spanned<u32>>,
    naming: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FileFocus {
    At([f64; 2]),
    Word(String),
}

/// How each key is written, for those who wrote it otherwise.
const EXAMPLES: [(&str, &str); 29] = [
    ("name", "name = \"Acme\""),
    ("look", "look = \"clean\""),
    ("strength", "strength = 0.8"),
    ("references", "references = [\"one.jpg\", \"two.jpg\"]"),
    ("group_by", "group_by = \"folder\""),
    ("palette", "[[palette]], once for each colour"),
    ("colour", "colour = \"#d0103a\""),
    ("tolerance", "tolerance = 6.0"),
    ("protected", "protected = true"),
    ("protect", "[protect]"),
    ("skin_degrees", "skin_degrees = 4.0"),
    ("neutral_de", "neutral_de = 1.5"),
    ("logo", "[logo]"),
    ("file", "file = \"logo.png\""),
    ("variant", "variant = \"logo-dark.png\""),
    ("corner", "corner = \"bottom-right\""),
    ("width", "width = 0.18"),
    ("min_px", "min_px = 48"),
    ("clear", "clear = 0.5"),
    ("export", "[[export]], once for each file to make"),
    ("long_edge", "long_edge = 2048"),
    ("cover", "cover = [1080, 1080]"),
    ("focus", "focus = \"auto\", or [0.5, 0.4]: from the left and the top"),
    ("format", "format = \"jpeg\""),
    ("quality", "quality = 88, from 1 to 100"),
    ("max_kb", "max_kb = 400"),
    ("gate", "[gate]"),
    ("score", "score = 40"),
    ("p90", "p90 = 30"),
];

/// A kit's text, for messages.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn at(&self, span: std::ops::Range<usize>, what: impl std::fmt::Display, hint: impl std::fmt::Display) -> Error {
        let line = self.text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1;
        Error::usage(format_args!("{}, line {line}", self.file.display()), what, hint)
    }

    /// What serde said, with the nearest name for one that is not known.
    fn told(&self, e: &toml::de::Error) -> Error {
        let message = e.message();
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let span = e.span().unwrap_or_default();
        let first = message.lines().next().unwrap_or_default();
        if let (true, Some((word, known))) = (message.starts_with("unknown"), quoted.split_first()) {
            let hint = match nearest(word, known.iter().copied()) {
                Some(near) => format!("`{near}`"),
                None => format!("one of {}", known.join(", ")),
            };
            return self.at(span, first, hint);
        }
        // A value of another kind: its key stands in the same line, and serde's words for types are Rust's.
        let line = self.text.get(..span.start).unwrap_or_default().rfind('\n').map_or(0, |n| n + 1);
        let line = self.text.get(line..).unwrap_or_default().lines().next().unwrap_or_default();
        let key = line.split('=').next().unwrap_or_default().trim().trim_matches(['[', ']']).trim();
        match EXAMPLES.iter().find(|(known, _)| *known == key) {
            Some((_, example)) if e.span().is_some() => self.at(span, format!("`{key}` is of another kind: {}", line.trim()), example),
            _ => self.at(span, first, "`lastmile brand new` writes a kit with every key"),
        }
    }

    fn within<T: PartialOrd + Copy + std::fmt::Display>(&self, key: &str, v: &Spanned<T>, low: T, high: T) -> Result<T> {
        let value = *v.get_ref();
        if (low..=high).contains(&value) {
            return Ok(value);
        }
        Err(self.at(v.span(), format!("`{key}` is {value}"), format!("{low} to {high}")))
    }

    fn file(&self, key: &str, v: &Spanned<String>) -> Result<PathBuf> {
        self.files(key, std::slice::from_ref(v)).map(|mut paths| paths.remove(0))
    }

    /// Several files; all that are missing are told at once, with the line of the first.
    fn files(&self, key: &str, all: &[Spanned<String>]) -> Result<Vec<PathBuf>> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let paths: Vec<PathBuf> = all.iter().map(|v| folder.join(v.get_ref())).collect();
        let missing = || paths.iter().zip(all).filter(|(path, _)| !path.is_file());
        let Some((_, first)) = missing().next() else { return Ok(paths) };
        let names: Vec<String> = missing().map(|(path, _)| path.display().to_string()).collect();
        Err(self.at(first.span(), format!("`{key}`: there is no file {}", names.join(", nor ")), "a path relative to the kit"))
    }
}

impl Kit {
    /// Reads a kit; every file it names is there afterwards.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Usage`] with file, line and key for whatever is wrong in it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        Self::parse(path, &text)
    }

    /// Reads the text of a kit that lies at `file`.
    ///
    /// # Errors
    /// As [`Kit::read`].
    pub fn parse(file: &Path, text: &str) -> Result<Self> {
        let source = Source { file, text };
        let raw: File = toml::from_str(text).map_err(|e| source.told(&e))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let look = raw.look.as_ref().map(|l| {
            let beside = folder.join(l.get_ref());
            let found = if beside.is_file() { Look::read(&beside) } else { Look::find(l.get_ref()) };
            found.map_err(|e| source.at(l.span(), format!("`look`: {e}"), ""))
        });
        let palette = raw.palette.iter().map(|s| {
            let code = s.colour.get_ref();
            let rgb = hex(code).ok_or_else(|| source.at(s.colour.span(), format!("`colour`: \"{code}\" is no colour"), "\"#d0103a\""))?;
            let tolerance = s.tolerance.as_ref().map(|t| source.within("tolerance", t, 0.5, 50.0)).transpose()?.unwrap_or(TOLERANCE);
            Ok(Swatch { name: s.name.clone().unwrap_or_else(|| code.clone()), rgb, tolerance, protected: s.protected })
        });
        let protect = Protect::default();
        let protect = Protect {
            skin_degrees: raw.protect.skin_degrees.map_or(Ok(protect.skin_degrees), |v| source.within("skin_degrees", &v, 0.0, 180.0))?,
            skin_chroma: raw.protect.skin_chroma.map_or(Ok(protect.skin_chroma), |v| source.within("skin_chroma", &v, 0.0, 0.99))?,
            skin_lightness: raw
                .protect
                .skin_lightness
                .map_or(Ok(protect.skin_lightness), |v| source.within("skin_lightness", &v, 0.0, 100.0))?,
            neutral_de: raw.protect.neutral_de.map_or(Ok(protect.neutral_de), |v| source.within("neutral_de", &v, 0.0, 100.0))?,
        };
        for (key, line) in [("score", &raw.gate.score), ("p90", &raw.gate.p90)] {
            if let Some(line) = line.as_ref().filter(|_| raw.references.is_empty()) {
                return Err(source.at(
                    line.span(),
                    format!("`{key}`: there is nothing to measure it from"),
                    "references = [\"north-star.jpg\"]",
                ));
            }
        }
        let gate = Gate {
            score: raw.gate.score.map(|v| source.within("score", &v, 0.0, 100.0)).transpose()?,
            p90: raw.gate.p90.map(|v| source.within("p90", &v, 0.0, 100.0)).transpose()?,
            max_kb: raw.gate.max_kb.map(|v| source.within("max_kb", &v, 1, u64::from(u32::MAX))).transpose()?,
        };
        let mut exports = raw.export.iter().map(|e| export(&source, e)).collect::<Result<Vec<_>>>()?;
        for (i, e) in raw.export.iter().enumerate() {
            if raw.export[..i].iter().any(|o| o.name.get_ref().eq_ignore_ascii_case(e.name.get_ref())) {
                return Err(source.at(e.name.span(), format!("`name`: a second export called \"{}\"", e.name.get_ref()), "another name"));
            }
        }
        if exports.is_empty() {
            exports.push(Export::default());
        }
        Ok(Self {
            file: file.to_path_buf(),
            name: raw.name.clone(),
            look: look.transpose()?,
            strength: raw.strength.as_ref().map(|s| source.within("strength", s, 0.0, 1.0)).transpose()?.unwrap_or(1.0),
            references: source.files("references", &raw.references)?,
            group_by: raw.group_by,
            palette: palette.collect::<Result<_>>()?,
            protect,
            logo: raw.logo.as_ref().map(|l| logo(&source, l)).transpose()?,
            exports,
            gate,
        })
    }
}

fn logo(source: &Source<'_>, l: &FileLogo) -> Result<Logo> {
    let file = |key: &str, v: &Spanned<String>| {
        let path = source.file(key, v)?;
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("png" | "svg") => Ok(path),
            _ => Err(source.at(
                v.span(),
                format!("`{key}`: {} is neither PNG nor SVG", path.display()),
                "the logo as an SVG, or as a PNG with alpha, as large as it is needed",
            )),
        }
    };
    Ok(Logo {
        file: file("file", &l.file)?,
        variant: l.variant.as_ref().map(|v| file("variant", v)).transpose()?,
        corner: l.corner.unwrap_or(Corner::BottomRight),
        width: l.width.as_ref().map(|w| source.within("width", w, 0.01, 1.0)).transpose()?.unwrap_or(0.18),
        min_px: l.min_px.unwrap_or(48),
        clear: l.clear.as_ref().map(|c| source.within("clear", c, 0.0, 10.0)).transpose()?.unwrap_or(0.5),
    })
}

fn export(source: &Source<'_>, e: &FileExport) -> Result<Export> {
    use crate::codec::Format;
    let name = e.name.get_ref();
    let plain = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
    if name.is_empty() || !name.chars().all(plain) || name.trim() != name || name.starts_with('_') {
        return Err(source.at(
            e.name.span(),
            format!("`name`: \"{name}\" is no name for a folder"),
            "letters, digits, - and _; it must not begin with _",
        ));
    }
    const FORMATS: [(&str, Format); 4] = [("png", Format::Png), ("jpeg", Format::Jpeg), ("webp", Format::WebP), ("tiff", Format::Tiff)];
    let format = e.format.as_ref().map(|f| {
        let names = || FORMATS.iter().map(|(n, _)| *n);
        FORMATS.iter().find(|(n, _)| n == f.get_ref()).map(|(_, f)| *f).ok_or_else(|| {
            let hint = nearest(f.get_ref(), names()).map_or_else(|| names().collect::<Vec<_>>().join(", "), |n| format!("\"{n}\""));
            source.at(f.span(), format!("`format`: \"{}\" is not written", f.get_ref()), hint)
        })
    });
    let format = format.transpose()?;
    if let (Some(format @ (Format::Png | Format::Tiff)), Some(limit)) = (format, &e.max_kb) {
        return Err(source.at(
            limit.span(),
            format!("`max_kb`: a {} file has no quality to lower until it fits", format.name()),
            "format = \"jpeg\" or \"webp\", or no `max_kb`",
        ));
    }
    if let (Some(format @ (Format::Png | Format::Tiff)), Some(quality)) = (format, &e.quality) {
        return Err(source.at(
            quality.span(),
            format!("`quality`: a {} file loses nothing and has none", format.name()),
            "format = \"jpeg\" or \"webp\", or no `quality`",
        ));
    }
    if let (Some(_), Some(cover)) = (&e.long_edge, &e.cover) {
        return Err(source.at(cover.span(), "`cover` beside `long_edge`", "one of them"));
    }
    let side = |key: &str, v: usize, span: std::ops::Range<usize>| match v {
        16..=65_535 => Ok(v),
        _ => Err(source.at(span, format!("`{key}` is {v}"), "16 to 65535 pixels")),
    };
    let focus = e.focus.as_ref().map(|f| match f.get_ref() {
        FileFocus::At(at) if at.iter().all(|v| (0.0..=1.0).contains(v)) => Ok(Focus::At(*at)),
        FileFocus::Word(word) if word == "auto" => Ok(Focus::Auto),
        FileFocus::At(_) => Err(source.at(f.span(), "`focus` lies outside of the picture", "[0.5, 0.5] is its middle, or \"auto\"")),
        FileFocus::Word(word) => Err(source.at(f.span(), format!("`focus` is \"{word}\""), "[0.5, 0.5], the middle, or \"auto\"")),
    });
    let profile = e.profile.as_ref().map(|p| match p.get_ref().to_ascii_lowercase().as_str() {
        "srgb" => Ok(ColourSpace::Srgb),
        "p3" => Ok(ColourSpace::DisplayP3),
        _ => {
            let path = source.file("profile", p)?;
            let space = ColourSpace::Icc(std::fs::read(&path).map_err(|e| Error::io(&path, e))?);
            space.icc().map_err(|e| source.at(p.span(), format!("`profile`: {e}"), "srgb, p3 or an RGB profile"))?;
            Ok(space)
        }
    });
    Ok(Export {
        name: name.clone(),
        long_edge: e.long_edge.as_ref().map(|v| side("long_edge", *v.get_ref(), v.span())).transpose()?,
        cover: e
            .cover
            .as_ref()
            .map(|v| Ok((side("cover", v.get_ref()[0], v.span())?, side("cover", v.get_ref()[1], v.span())?)))
            .transpose()?,
        focus: focus.transpose()?.unwrap_or_default(),
        format,
        quality: e.quality.as_ref().map(|q| source.within("quality", q, 1, 100)).transpose()?,
        profile: profile.transpose()?,
        max_kb: e.max_kb.as_ref().map(|k| source.within("max_kb", k, 1, u32::MAX)).transpose()?,
        naming: e.naming.as_ref().map(|n| n.get_ref().clone()),
    })
}

/// The text of a new kit with comments on every key.
pub fn blank(name: &str, references: &[String], palette: &[Swatch], logo: Option<&str>) -> String {
    // Rust's own quoting is no TOML once there are accents or spaces of other kinds.
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let list = references.iter().map(|r| quoted(r)).collect::<Vec<_>>().join(", ");
    let name = quoted(name);
    let mut text = format!(
        "# A brand kit for lastmile. Paths count from this file.\n\
         name = {name}\n\n\
         # Pictures that show how everything shall look.\n\
         references = [{list}]\n\
         # A look on top of that: a built-in one or a file.\n\
         # look = \"warm.toml\"\n\
         # How much of both, 0 to 1.\n\
         strength = 1.0\n\
         # One transform for all pictures of a \"folder\", of a \"generator\" (by their metadata), for each \"picture\", or\n\
         # for all of them (\"sequence\").\n\
         group_by = \"folder\"\n\n\
         # Grading is weakened until it keeps these.\n\
         [protect]\n\
         skin_degrees = 4.0   # how far the hue of skin may turn\n\
         skin_chroma = 0.35   # how much of its colourfulness skin may lose, 0 to 0.99, and gain likewise\n\
         skin_lightness = 12.0  # how much lighter or darker skin may become, CIELAB L\n\
         neutral_de = 1.5     # how far greys may be tinted, CIEDE2000\n"
    );
    for s in palette {
        text += &format!(
            "\n[[palette]]\nname = {}\ncolour = \"{}\"\ntolerance = {:.1}     # CIEDE2000\nprotected = {}  # true: grading is weakened until it stays within the tolerance\n",
            quoted(&s.name),
            s.code(),
            s.tolerance,
            s.protected
        );
    }
    text += &match logo {
        Some(file) => format!(
            "\n[logo]\nfile = {}\n# variant = \"logo-dark.png\"   # the one with more contrast is taken\n\
             corner = \"bottom-right\"       # top-left, top-right, bottom-left\n\
             width = 0.18                  # of the picture's shorter side\n\
             min_px = 48                   # narrower than this it is left off\nclear = 0.5                   # distance from the edges, in logo heights\n",
            quoted(file)
        ),
        None => "\n# [logo]\n# file = \"logo.png\"\n".into(),
    };
    text += "\n# Files to make of each picture, each in a folder of that name; without any, one file as the source is.\n\
             # [[export]]\n# name = \"web\"\n# long_edge = 2048\n# format = \"jpeg\"\n# quality = 88\n#\n\
             # [[export]]\n# name = \"square\"\n# cover = [1080, 1080]\n# focus = \"auto\"          # or [0.5, 0.4]: from the left and the top\n# profile = \"p3\"          # srgb unless given\n# max_kb = 400            # the quality is lowered until it fits\n# naming = \"{stem}_{w}x{h}\"\n\n\
             # Files that miss one of these go to _hold/.\n\
             # [gate]\n# score = 40    # at least, 0 to 100; `lastmile brand score` tells what your pictures have\n# p90 = 30      # dE2000 that nine tenths of the tones are within, from the references; other scenes have 20 to 45\n# max_kb = 900\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        Kit::parse(Path::new("k/acme.brand.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_key_and_what_was_meant() {
        let cases = [
            ("name = \"a\"\nstrenght = 1.0", "line 2", "strenght", "`strength`"),
            ("name = \"a\"\nstrength = 1.5", "line 2", "`strength` is 1.5", "0 to 1"),
            ("name = \"a\"\n[[palette]]\ncolour = \"red\"", "line 3", "\"red\" is no colour", "#d0103a"),
            ("name = \"a\"\n[[palette]]\ncolor = \"#000000\"", "line 3", "color", "`colour`"),
            ("name = \"a\"\n\nreferences = [\"no.png\"]", "line 3", "no.png", "relative to the kit"),
            ("name = \"a\"\ngroup_by = \"foldr\"", "line 2", "foldr", "`folder`"),
            ("name = \"a\"\n[[export]]\nname = \"a/b\"", "line 3", "a/b", "letters"),
            ("name = \"a\"\n[[export]]\nname = \"a\"\nformat = \"jpg\"", "line 4", "jpg", "jpeg"),
            ("name = \"a\"\n[[export]]\nname = \"a\"\n[[export]]\nname = \"A\"", "line 5", "a second export", "another name"),
            ("name = \"a\"\n[[export]]\nname = \"a\"\nfocus = [2.0, 0.0]", "line 4", "`focus`", "middle"),
            ("name = \"a\"\nlook = \"no such look\"", "line 2", "no such look", ""),
            ("name = \"a\"\n[gate]\nscor = 4", "line 3", "scor", "`score`"),
            ("name = 3", "line 1", "`name` is of another kind: name = 3", "\"Acme\""),
            ("name = \"a\"\n[[export]]\nname = \"a\"\nfocus = 0.5", "line 4", "focus = 0.5", "from the left"),
            ("name = \"a\"\n[[export]]\nname = \"a\"\nquality = 300", "line 4", "quality = 300", "1 to 100"),
            ("name = \"a\"\n[[export]]\nname = \"a\"\ncover = \"1080x1080\"", "line 4", "1080x1080", "[1080, 1080]"),
            ("name = \"a\"\n[export]\nname = \"a\"", "line 2", "[export]", "[[export]]"),
            ("name = \"a\"\n[[export]]\nname = \"a\"\nformat = \"png\"\nmax_kb = 20", "line 5", "PNG", "jpeg"),
            ("name = \"a\"\n[protect]\nskin_degrees = -4", "line 3", "`skin_degrees` is -4", "0 to 180"),
            ("name = \"a\"\n[protect]\nneutral_de = nan", "line 3", "`neutral_de` is NaN", "0 to 100"),
            ("name = \"a\"\n[gate]\nscore = 40", "line 3", "nothing to measure", "references"),
        ];
        for (text, line, what, hint) in cases {
            let said = said(text);
            assert!(said.starts_with("k/acme.brand.toml, line "), "{said}");
            for part in [line, what, hint] {
                assert!(said.contains(part), "{part:?} in {said}");
            }
        }
    }

    #[test]
    fn a_new_kit_reads_back() {
        let red = Swatch::parse("red=#d0103a").unwrap();
        // A letter and an accent of its own, as file systems of macOS write it, and a space that does not break.
        let odd = "Cafe\u{301}\u{a0}\"&\" Co";
        let text = blank(odd, &[], std::slice::from_ref(&red), None);
        let kit = Kit::parse(Path::new("acme.brand.toml"), &text).unwrap();
        assert_eq!((kit.name.as_str(), kit.palette.as_slice(), kit.strength), (odd, [red].as_slice(), 1.0));
        assert_eq!((kit.protect, kit.gate, kit.exports.len()), (Protect::default(), Gate::default(), 1));
        assert!(kit.references.is_empty());
        // Every key that is only a comment is one that may stand there.
        let uncommented: String = text
            .lines()
            .map(|l| l.strip_prefix("# ").filter(|k| k.starts_with('[') || k.contains(" = ")).unwrap_or(l))
            .filter(|l| !["look", "file", "[logo]", "score", "p90"].iter().any(|left_out| l.starts_with(left_out)))
            .map(|l| format!("{l}\n"))
            .collect();
        let kit = Kit::parse(Path::new("acme.brand.toml"), &uncommented).unwrap();
        assert_eq!((kit.exports.len(), kit.gate.max_kb), (2, Some(900)));
        assert_eq!(kit.exports[1].naming.as_deref(), Some("{stem}_{w}x{h}"));
    }
}
