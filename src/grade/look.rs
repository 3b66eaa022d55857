//! Look files.
//!
//! ```toml
//! title = "Late summer"
//! description = "Warm, soft, a little faded"
//! base = "clean"                # another look, built in or a file beside this one; its operations come first
//!
//! [[op]]
//! type = "exposure"
//! stops = 0.2
//!
//! [[op]]
//! type = "saturation"
//! id = "punch"                  # a look with this one as its base can change it: id = "punch", amount = 1.3
//! amount = 1.1
//! opacity = 0.8                 # and masks, see `Place`
//! luma = [0.0, 0.5]
//! ```

use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::builtin;
use super::kernel::{Hue, Mask};
use super::op::{AnyKernel, Op};
use super::param::{Rule, kind, params};
use super::unreadable;
use crate::error::{Error, Result, nearest};

/// Grading operations in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Its file or built-in name, for messages.
    pub name: String,
    /// A short title for people; the name if the file has none.
    pub title: String,
    /// A sentence, maybe empty.
    pub description: String,
    pub steps: Vec<Step>,
}

/// One operation of a look.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The name by which a look built on this one can change it; empty for none.
    pub id: String,
    pub op: Op,
    pub place: Place,
}

params! {
    /// What every operation can be told beside its own parameters: how strongly and where it acts.
    pub struct Place = "place" {
        /// How much of the result is taken: 0 nothing, 1 all of it.
        opacity: f32 = 1.0, Rule::Range(0.0, 1.0), "";
        /// Only where the encoded Rec. 709 luma before the operation lies in this range.
        luma: Option<[f32; 2]> = None, Rule::Range(-1.0, 4.0), "";
        /// How far outside of the range the operation fades out.
        luma_softness: f32 = 0.1, Rule::Range(0.0, 1.0), "";
        /// Only around this hue: 29 red, 55 orange and skin, 105 yellow, 142 green, 195 aqua, 255 blue, 300 purple, 340 magenta.
        hue: Option<f32> = None, Rule::Range(0.0, 360.0), "degrees in OKLab";
        /// How far to either side it acts in full.
        hue_width: f32 = 25.0, Rule::Range(0.0, 180.0), "degrees";
        /// How much further until it has faded out.
        hue_softness: f32 = 20.0, Rule::Range(0.0, 180.0), "degrees";
    }
}

impl Place {
    /// As constants.
    pub fn mask(&self) -> Mask {
        Mask {
            opacity: self.opacity,
            luma: self.luma.map(|range| (range, self.luma_softness)),
            hue: self.hue.map(|degrees| Hue::new(degrees, self.hue_width, self.hue_softness)),
        }
    }
}

impl Step {
    /// An operation that acts everywhere.
    pub fn new(op: Op) -> Self {
        Self { id: String::new(), op, place: Place::default() }
    }

    /// Whether it changes nothing.
    pub fn is_noop(&self) -> bool {
        self.place.opacity == 0.0 || self.op.is_noop()
    }

    /// Its formula, `None` for spatial operations; `look` is for messages.
    ///
    /// # Errors
    /// [`Error::Usage`] if its parameters do not fit together.
    pub fn kernel(&self, look: &str) -> Result<Option<AnyKernel>> {
        self.op.kernel().map_err(|e| Error::usage(look, format!("operation \"{}\": {e}", self.op.name()), ""))
    }
}

/// The keys at the top of a look file.
const KEYS: [&str; 4] = ["title", "description", "base", "op"];
/// Looks under looks that are still taken for intended.
const DEPTH: usize = 8;

impl Look {
    /// A built-in look by its name, or a look file.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is neither, naming the built-in look that was meant; whatever is wrong in the file.
    pub fn find(spec: &str) -> Result<Self> {
        Self::find_from(spec, Path::new(""), 0)
    }

    fn find_from(spec: &str, folder: &Path, depth: usize) -> Result<Self> {
        if let Some((name, text)) = builtin::LOOKS.iter().find(|(name, _)| *name == spec) {
            return Self::read_text(name, text, Path::new(""), depth);
        }
        let path = folder.join(spec);
        if path.is_file() {
            return Self::read_from(&path, depth);
        }
        let names = || builtin::LOOKS.iter().map(|(name, _)| *name);
        let hint = match nearest(spec, names()) {
            Some(near) => format!("\"{near}\""),
            None => format!("a .toml file, or one of {}", names().collect::<Vec<_>>().join(", ")),
        };
        Err(Error::usage("look", format!("\"{spec}\" is neither built in nor a file"), hint))
    }

    /// Reads a look file, the looks it is based on, and the files that its operations name.
    ///
    /// # Errors
    /// [`Error::Usage`] with file, line and key for whatever is wrong with it.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_from(path, 0)
    }

    fn read_from(path: &Path, depth: usize) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::read_text(&path.display().to_string(), &text, folder, depth)
    }

    /// Reads the text of a look file; `name` is for messages, `folder` is where the files it names lie.
    ///
    /// # Errors
    /// As [`Look::read`].
    pub fn parse(name: &str, text: &str, folder: &Path) -> Result<Self> {
        Self::read_text(name, text, folder, 0)
    }

    fn read_text(name: &str, text: &str, folder: &Path, depth: usize) -> Result<Self> {
        let source = Source { name, text };
        let table = DeTable::parse(text).map_err(|e| source.error(e.span(), e.message(), "TOML as on https://toml.io"))?;
        let mut look = Self { name: name.to_owned(), title: name.to_owned(), description: String::new(), steps: Vec::new() };
        let table = table.get_ref();
        if let Some(key) = table.keys().find(|k| !KEYS.contains(&k.get_ref().as_ref())) {
            return Err(source.unknown(key, "a look", KEYS));
        }
        if let Some(base) = table.get("base") {
            let spec = source.text("base", base)?;
            if depth == DEPTH {
                return Err(source.error(
                    Some(base.span()),
                    format!("`base`: more than {DEPTH} looks under one another"),
                    "look for a circle",
                ));
            }
            let found = Self::find_from(spec, folder, depth + 1);
            look.steps = found.map_err(|e| source.within(base.span(), "base", e))?.steps;
        }
        if let Some(title) = table.get("title") {
            look.title = source.text("title", title)?.to_owned();
        }
        if let Some(description) = table.get("description") {
            look.description = source.text("description", description)?.to_owned();
        }
        if let Some(ops) = table.get("op") {
            let Some(list) = ops.get_ref().as_array() else {
                return Err(source.error(
                    Some(ops.span()),
                    format!("`op` is {}", kind(ops.get_ref())),
                    "[[op]] with two brackets, one for each operation",
                ));
            };
            for op in list.iter() {
                look.step(&source, op, folder)?;
            }
        }
        Ok(look)
    }

    /// Adds an operation, or changes the one of the base that has its id.
    fn step(&mut self, source: &Source<'_>, value: &Spanned<DeValue<'_>>, folder: &Path) -> Result<()> {
        let Some(table) = value.get_ref().as_table() else {
            return Err(source.error(
                Some(value.span()),
                format!("an operation is {}", kind(value.get_ref())),
                "[[op]] and its keys below",
            ));
        };
        let id = table.get("id").map(|v| source.text("id", v)).transpose()?.unwrap_or_default();
        let known = self.steps.iter().position(|s| !id.is_empty() && s.id == id);
        let typed = table.get("type").map(|v| Ok((v, source.text("type", v)?))).transpose()?;
        let mut step = match (known, typed) {
            (Some(i), None) => self.steps[i].clone(),
            (Some(i), Some((_, name))) if name == self.steps[i].op.name() => self.steps[i].clone(),
            (_, Some((at, name))) => match Op::named(name) {
                Some(op) => Step { id: id.to_owned(), op, place: Place::default() },
                None => {
                    let hint = match nearest(name, Op::NAMES.iter().copied()) {
                        Some(near) => format!("type = \"{near}\""),
                        None => format!("one of {}", Op::NAMES.join(", ")),
                    };
                    return Err(source.error(Some(at.span()), format!("`type`: there is no operation \"{name}\""), hint));
                }
            },
            // The file says it all.
            (None, None) if table.get("filter").is_some() => Step::new(Op::Filter(super::spatial::Filter::default())),
            (None, None) => {
                let hint = format!("type = one of {}", Op::NAMES.join(", "));
                return Err(source.error(Some(value.span()), "an operation without `type`", hint));
            }
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if ["type", "id"].contains(&name) {
                continue;
            }
            let done = step.op.set(name, value.get_ref()).or_else(|| step.place.set(name, value.get_ref()));
            match done {
                Some(Ok(())) => {}
                Some(Err(what)) => {
                    return Err(source.error(Some(value.span()), format!("`{name}` of \"{}\" {what}", step.op.name()), ""));
                }
                None => {
                    let known = step.op.params().into_iter().chain(Place::params()).map(|p| p.name);
                    return Err(source.unknown(key, &format!("\"{}\"", step.op.name()), known));
                }
            }
        }
        let key = if matches!(step.op, Op::Filter(_)) { "filter" } else { "file" };
        step.op.load(folder).map_err(|e| source.within(value.span(), key, e))?;
        // Every range is kept by now; what is left is what does not fit together.
        step.op.kernel().map_err(|e| source.error(Some(value.span()), format!("operation \"{}\": {e}", step.op.name()), ""))?;
        match known {
            Some(i) => self.steps[i] = step,
            None => self.steps.push(step),
        }
        Ok(())
    }

    /// The names of its operations that are more than a function of colour, and so fit in no LUT.
    pub fn spatial(&self) -> Vec<&'static str> {
        self.steps.iter().filter(|s| !s.is_noop() && s.op.spatial().is_some()).map(|s| s.op.name()).collect()
    }

    /// A look of one operation, as `--lut` and `--cdl` make it.
    pub fn of(name: &str, op: Op) -> Self {
        Self { name: name.to_owned(), title: name.to_owned(), description: String::new(), steps: vec![Step::new(op)] }
    }
}

/// The look as a file: everything that is not the default, files named as they were.
impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rust's own quoting is no TOML once there are accents or spaces of other kinds.
        let quoted = |text: &str| toml::Value::from(text).to_string();
        writeln!(f, "title = {}", quoted(&self.title))?;
        if !self.description.is_empty() {
            writeln!(f, "description = {}", quoted(&self.description))?;
        }
        for step in &self.steps {
            writeln!(f, "\n[[op]]\ntype = \"{}\"", step.op.name())?;
            if !step.id.is_empty() {
                writeln!(f, "id = {}", quoted(&step.id))?;
            }
            for (key, value) in step.op.written().into_iter().chain(step.place.written()) {
                writeln!(f, "{key} = {value}")?;
            }
        }
        Ok(())
    }
}

/// The file that an error is about.
struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn error(&self, span: Option<Range<usize>>, what: impl fmt::Display, hint: impl fmt::Display) -> Error {
        match span {
            Some(span) => Error::usage(format_args!("{}, line {}", self.name, self.line(span.start)), what, hint),
            None => Error::usage(self.name, what, hint),
        }
    }

    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
    }

    fn unknown<'k>(&self, key: &Spanned<std::borrow::Cow<'_, str>>, of: &str, known: impl IntoIterator<Item = &'k str>) -> Error {
        let known: Vec<&str> = known.into_iter().collect();
        let name = key.get_ref().as_ref();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("`{near}`"),
            None => format!("one of {}", known.join(", ")),
        };
        self.error(Some(key.span()), format!("`{name}` is no key of {of}"), hint)
    }

    fn text<'v>(&self, key: &str, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str> {
        let what = || format!("`{key}` is {}, not a text in quotes", kind(value.get_ref()));
        value.get_ref().as_str().ok_or_else(|| self.error(Some(value.span()), what(), ""))
    }

    /// An error of another file that this one names.
    fn within(&self, span: Range<usize>, key: &str, e: Error) -> Error {
        match e {
            Error::Usage { subject, what, hint } => self.error(Some(span), format!("`{key}`: {subject}: {what}"), hint),
            e => e,
        }
    }
}

#[cfg(test)]
mod tests;
