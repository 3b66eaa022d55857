//! `--name` and `output.name`: file-name patterns.

use std::ffi::OsString;
use std::path::Path;
use std::str::FromStr;

/// A file-name pattern: `{stem}`, `{w}`, `{h}` and `{ext}` (the source's) are filled in; the extension is added after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Stem,
    Ext,
    Width,
    Height,
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: String| Err(format!("{what}; for example '{{stem}}_{{w}}x{{h}}' (the extension is added by itself)"));
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            if at > 0 {
                parts.push(Part::Text(rest[..at].into()));
            }
            let Some(close) = rest[at..].find('}').filter(|_| rest[at..].starts_with('{')) else {
                return wrong(format!("`{text}` has a brace without its partner"));
            };
            parts.push(match &rest[at + 1..at + close] {
                "stem" => Part::Stem,
                "ext" => Part::Ext,
                "w" | "width" => Part::Width,
                "h" | "height" => Part::Height,
                other => return wrong(format!("`{{{other}}}` is not known; there are {{stem}}, {{ext}}, {{w}} and {{h}}")),
            });
            rest = &rest[at + close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        let bad = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
        if let Some(c) = parts.iter().find_map(|p| if let Part::Text(t) = p { t.chars().find(|c| bad(*c)) } else { None }) {
            return wrong(format!("`{}` cannot stand in a file name", c.escape_default()));
        }
        if text.starts_with('.') || text.trim() != text || text.is_empty() {
            return wrong(format!("`{text}` is no file name: it begins with a dot, or it begins or ends with a space, or is empty"));
        }
        Ok(Self(parts))
    }
}

impl Template {
    /// Whether the pattern needs the result's size.
    pub fn needs_size(&self) -> bool {
        self.0.iter().any(|p| matches!(p, Part::Width | Part::Height))
    }

    /// The file name without extension.
    pub fn stem(&self, source: &Path, size: (usize, usize)) -> OsString {
        let mut name = OsString::new();
        for part in &self.0 {
            match part {
                Part::Text(t) => name.push(t),
                Part::Stem => name.push(source.file_stem().unwrap_or_default()),
                Part::Ext => name.push(source.extension().unwrap_or_default()),
                Part::Width => name.push(size.0.to_string()),
                Part::Height => name.push(size.1.to_string()),
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let t: Template = "{stem}_{w}x{h}".parse().unwrap();
        assert!(t.needs_size());
        assert_eq!(t.stem(Path::new("a/hero.final.png"), (8, 9)), "hero.final_8x9");
        for bad in ["{nope}", "a/b", "{stem", "stem}", "", ".x"] {
            let e = bad.parse::<Template>().unwrap_err();
            assert!(e.contains("for example"), "{e}");
        }
    }
}
