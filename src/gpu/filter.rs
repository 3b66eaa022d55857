//! Checks what users write in WGSL before a driver sees it.

use wgpu::naga::front::wgsl;
use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};
use wgpu::naga::{AddressSpace, SourceLocation};

use crate::error::{Error, Result};
use crate::lane::trace::Filter;

/// Functions of the language that the frame and looks call; a user's function of that name would take their place.
const USED: [&str; 9] = ["abs", "floor", "sqrt", "round", "clamp", "min", "max", "select", "bitcast"];
const SIGNATURE: &str = "fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32>";

/// Checks one filter, as a module of its own.
///
/// # Errors
/// [`Error::Usage`] with file, line and column.
pub(super) fn check(filter: &Filter) -> Result<()> {
    let text = filter.module();
    let lines = filter.text.lines().count().max(1);
    let wrong = |at: Option<SourceLocation>, what: &str, hint: &str| {
        // What is found in the lines that were added is about the function as a whole.
        let place = match at {
            Some(at) if at.line_number as usize <= lines => format!("{}:{}:{}", filter.file, at.line_number, column(&text, &at)),
            _ => filter.file.clone(),
        };
        Error::usage(place, Filter::message(what), hint)
    };
    let module = wgsl::parse_str(&text).map_err(|e| {
        let at = e.location(&text);
        let about_call = at.is_none_or(|at| at.line_number as usize > lines);
        let notes: Vec<&str> = e.notes().collect();
        let what = std::iter::once(e.message()).chain(notes).collect::<Vec<_>>().join("; ");
        wrong(at, &what, if about_call { SIGNATURE } else { "WGSL as on https://www.w3.org/TR/WGSL" })
    })?;
    let has = |name: &str| module.functions.iter().find(|(_, f)| f.name.as_deref() == Some(name));
    if let Some(name) = USED.iter().find(|name| has(name).is_some()) {
        return Err(wrong(None, &format!("has a function `{name}`, which is the language's own"), "another name"));
    }
    if let Some((_, v)) = module.global_variables.iter().find(|(_, v)| v.space != AddressSpace::Private) {
        let what = format!("declares `{}`, a buffer or texture; a filter has none", v.name.as_deref().unwrap_or("?"));
        return Err(wrong(None, &what, "numbers through `params` in the look, or const tables in the file"));
    }
    if !module.entry_points.is_empty() {
        return Err(wrong(None, "has an entry point (@compute, @vertex or @fragment)", SIGNATURE));
    }
    Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).map(drop).map_err(|e| {
        // The outermost says only where; the innermost says what.
        let mut what = e.as_inner().to_string();
        let mut source = std::error::Error::source(e.as_inner());
        while let Some(inner) = source {
            what = format!("{what}: {inner}");
            source = inner.source();
        }
        wrong(e.location(&text), &what, SIGNATURE)
    })
}

/// Counted in characters, from 1; the compiler counts bytes.
fn column(text: &str, at: &SourceLocation) -> usize {
    let from = at.offset as usize + 1 - at.line_position as usize;
    text.get(from..at.offset as usize).map_or(at.line_position as usize, |before| before.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter {
            file: "my.wgsl".into(),
            text: text.into(),
            params: vec![("amount".into(), vec![0.5]), ("tint".into(), vec![1.0, 0.0, 0.0])],
        }
    }

    #[test]
    fn a_filter_with_helpers_and_constants_passes() {
        let text = "const SCALE: f32 = 2.0;\nfn twice(v: f32) -> f32 { return v * SCALE; }\n\
            fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32> {\n  return mix(c, p.tint, twice(p.amount) * fract(pos.x));\n}\n";
        check(&filter(text)).unwrap();
        let none = Filter { params: vec![], ..filter("fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32> { return c; }") };
        check(&none).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        let head = "fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32> {\n";
        for (text, place, part) in [
            (format!("{head}  return c * p.amuont;\n}}"), "my.wgsl:2:16", "amuont"),
            (format!("// ä\n{head}  let é = 1.0; retrun c;\n}}"), "my.wgsl:3:", "c"),
            (format!("{head}  return c.x;\n}}"), "my.wgsl:1:4", "filter"),
            ("fn other() {}".to_owned(), "my.wgsl", "fn filter(c: vec3<f32>, p: Params"),
            ("fn filter(c: vec3<f32>) -> vec3<f32> { return c; }".to_owned(), "my.wgsl", "fn filter(c: vec3<f32>, p: Params"),
            (format!("{head} return c; }}\nfn clamp(a: f32) -> f32 {{ return a; }}"), "my.wgsl", "`clamp`"),
            (format!("@group(0) @binding(9) var<storage, read> a: array<f32>;\n{head} return c * a[0]; }}"), "my.wgsl", "`a`, a buffer"),
            (format!("{head} return c; }}\n@compute @workgroup_size(1) fn go() {{}}"), "my.wgsl", "entry point"),
        ] {
            let e = check(&filter(&text)).unwrap_err();
            assert_eq!(e.exit(), crate::Exit::Usage);
            let e = e.to_string();
            assert!(e.starts_with(place) && e.contains(part) && !e.contains("lm_"), "{text}\n{e}");
        }
    }
}
