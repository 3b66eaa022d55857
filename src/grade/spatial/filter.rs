//! A user's own formula.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use toml::de::DeValue;

use super::{Band, Frame, SpatialOp};
use crate::error::{Error, Result};
use crate::grade::param::{Rule, Value, kind, params};
use crate::grade::unreadable;
use crate::lane::trace::{self, Traced};
use crate::lane::{At, Rgb};

params! {
    /// A formula of your own, written in WGSL, the language of graphics cards: a file with one function
    /// `fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32>`. `c` is the encoded sRGB colour, `pos` the middle of the
    /// pixel from the top left corner, `p` has the numbers of `params`. It needs a graphics card.
    pub struct Filter = "filter" {
        /// The .wgsl file, relative to the look file.
        filter: WgslFile = WgslFile::default(), Rule::Any, "";
        /// The members of `Params`: a number is an f32, a list of two to four numbers a vector.
        params: Members = Members::default(), Rule::Any, "";
    }
}

/// A file with WGSL.
#[derive(Clone, Default)]
pub struct WgslFile {
    name: String,
    /// There once it was read.
    text: Option<Arc<str>>,
}

/// Equal contents, whatever the name.
impl PartialEq for WgslFile {
    fn eq(&self, o: &Self) -> bool {
        match (&self.text, &o.text) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self.name == o.name,
            _ => false,
        }
    }
}

/// The hash alone: it is what decides the pixels.
impl fmt::Debug for WgslFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => Sha256::digest(text.as_bytes()).iter().try_for_each(|b| write!(f, "{b:02x}")),
            None => write!(f, "{:?}", self.name),
        }
    }
}

impl Value for WgslFile {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        String::read(value, rule).map(|name| Self { name, text: None })
    }
    fn show(&self) -> String {
        self.name.show()
    }
    fn allowed(_: Rule) -> String {
        "a path".into()
    }
}

/// Names, and one to four numbers each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Members(Vec<(String, Vec<f32>)>);

impl Value for Members {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        let table = value.as_table().ok_or_else(|| format!("is {}, not {{ name = 0.5, other = [1, 0, 0] }}", kind(value)))?;
        let mut members = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !letters || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || name.starts_with("lm_") {
                return Err(format!("has `{name}`; names are letters, digits and _, begin with a letter, and not with lm_"));
            }
            let numbers = match value.get_ref().as_array() {
                Some(list) => list.iter().map(|v| f32::read(v.get_ref(), rule)).collect::<Result<Vec<_>, _>>(),
                None => f32::read(value.get_ref(), rule).map(|v| vec![v]),
            };
            let numbers = numbers.map_err(|e| format!("has `{name}`, which {e}"))?;
            if !(1..=4).contains(&numbers.len()) || (numbers.len() == 1 && value.get_ref().is_array()) {
                return Err(format!("has `{name}` with {} numbers in a list, not two to four", numbers.len()));
            }
            members.push((name.to_owned(), numbers));
        }
        Ok(Self(members))
    }
    fn show(&self) -> String {
        let number = |v: &[f32]| if let [v] = v { v.to_string() } else { format!("{v:?}") };
        let members: Vec<String> = self.0.iter().map(|(name, v)| format!("{name} = {}", number(v))).collect();
        if members.is_empty() { "{}".into() } else { format!("{{ {} }}", members.join(", ")) }
    }
    fn allowed(_: Rule) -> String {
        "{ name = number or [numbers], ... }".into()
    }
}

impl Filter {
    /// The file's path, for messages.
    pub fn file(&self) -> &str {
        &self.filter.name
    }
}

impl SpatialOp for Filter {
    fn is_noop(&self) -> bool {
        self.filter.name.is_empty()
    }

    /// There is no way on the processor; [`crate::grade::stage::Grade`] refuses to try.
    fn apply(&self, _frame: &Frame, _around: &Band, _rows: &mut Band) {}

    fn traced(&self, c: Rgb<Traced>, _at: &At<Traced>) -> Option<Rgb<Traced>> {
        let text = Arc::clone(self.filter.text.as_ref()?);
        let filter = trace::Filter { file: self.filter.name.clone(), text, params: self.params.0.clone() };
        Some(Traced::filter(c, &filter))
    }

    fn needs_gpu(&self) -> bool {
        true
    }

    fn load(&mut self, folder: &Path) -> Result<()> {
        /// More than anybody writes.
        const MOST_BYTES: u64 = 1 << 20;
        if self.filter.text.is_some() {
            return Ok(());
        }
        if self.filter.name.is_empty() {
            return Err(Error::usage("operation \"filter\"", "names no file", "filter = \"my.wgsl\""));
        }
        let path = std::path::absolute(folder.join(&self.filter.name)).map_err(|e| Error::io(&self.filter.name, e))?;
        let size = std::fs::metadata(&path).map_err(|e| unreadable(&path, &e))?.len();
        if size > MOST_BYTES {
            return Err(Error::usage(path.display(), format!("is no filter: {size} bytes"), "a text file with WGSL"));
        }
        self.filter.text = Some(std::fs::read_to_string(&path).map_err(|e| unreadable(&path, &e))?.into());
        self.filter.name = path.to_string_lossy().into_owned();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::grade::Look;

    fn look(folder: &std::path::Path, keys: &str) -> crate::Result<Look> {
        Look::parse("t.toml", &format!("[[op]]\n{keys}\n"), folder)
    }

    #[test]
    fn parameters_are_read_and_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wgsl"), "fn filter() {}").unwrap();
        let given = look(folder.path(), "filter = \"a.wgsl\"\nparams = { much = 2, tint = [1, 0.5, 0] }").unwrap();
        let text = given.to_string();
        assert!(text.contains("type = \"filter\"") && text.contains("{ much = 2, tint = [1.0, 0.5, 0.0] }"), "{text}");
        assert_eq!(Look::parse("t.toml", &text, std::path::Path::new("")).unwrap().steps, given.steps);
        assert_eq!(given.spatial(), ["filter"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wgsl"), "").unwrap();
        for (keys, part) in [
            ("type = \"filter\"", "names no file"),
            ("filter = \"b.wgsl\"", "b.wgsl"),
            ("filter = \"a.wgsl\"\nparams = 3", "a number, not {"),
            ("filter = \"a.wgsl\"\nparams = { \"a b\" = 1 }", "`a b`"),
            ("filter = \"a.wgsl\"\nparams = { a = [1, 2, 3, 4, 5] }", "5 numbers"),
            ("filter = \"a.wgsl\"\nparams = { a = \"x\" }", "`a`, which is a text"),
            ("filter = \"a.wgsl\"\namuont = 3", "`amuont`"),
        ] {
            let e = look(folder.path(), keys).unwrap_err().to_string();
            assert!(e.contains(part) && e.contains("t.toml, line"), "{keys}: {e}");
        }
    }
}
