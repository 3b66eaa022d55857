//! `lastmile meta`: everything a picture says beside its pixels, and what two pictures say differently.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Globals, JsonTarget, out, say};
use crate::codec::{self, Claim, Examined, Generation, Hidden, Limits};
use crate::error::{Error, Exit, Result};
use crate::image::Channels;

/// Show prompt, model, seed, colour and provenance of pictures
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lastmile meta hero.png\n  lastmile meta --diff renders/hero.png final/hero.jpg\n  lastmile meta renders/*.png --json -"
)]
pub struct Args {
    /// Pictures
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show only what the second of two files says differently from the first
    #[arg(long)]
    diff: bool,
}

/// Longest value printed without `-v`, characters; what describes the making is always printed whole.
const SHORT: usize = 160;

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let silent = globals.json == Some(JsonTarget::Stdout);
    let mut json = match &globals.json {
        Some(target) => Some(target.open()?),
        None => None,
    };
    if args.diff {
        let [a, b] = args.files.as_slice() else {
            return Err(Error::usage("--diff", format!("takes two files, not {}", args.files.len()), "lastmile meta --diff A B").into());
        };
        let (a, b) = (Found::read(a)?, Found::read(b)?);
        let changes = differences(&a.facts(), &b.facts());
        if let Some(to) = &mut json {
            let list: Vec<_> = changes.iter().map(|(name, a, b)| json!({ "name": name, "a": a, "b": b })).collect();
            writeln!(
                to,
                "{}",
                with_raw(
                    json!({ "event": "diff", "a": a.path.display().to_string(), "b": b.path.display().to_string(), "changes": list }),
                    &[("a_raw", &a.path), ("b_raw", &b.path)]
                )
            )?;
            to.flush()?;
        }
        if !silent {
            print_differences(&changes, globals.verbosity > 0)?;
        }
        return Ok(Exit::Done);
    }
    let mut exit = Exit::Done;
    for (i, path) in args.files.iter().enumerate() {
        match Found::read(path) {
            Ok(found) => {
                if let Some(to) = &mut json {
                    writeln!(to, "{}", found.json())?;
                }
                if !silent {
                    if i > 0 {
                        out("")?;
                    }
                    found.print(globals.verbosity > 0)?;
                }
            }
            Err(e) => {
                exit = Exit::Failed;
                if let Some(to) = &mut json {
                    let error = json!({ "kind": e.kind(), "message": e.to_string() });
                    writeln!(
                        to,
                        "{}",
                        with_raw(json!({ "event": "meta", "input": path.display().to_string(), "error": error }), &[("input_raw", path)])
                    )?;
                }
                say(format_args!("error: {e}"));
            }
        }
    }
    if let Some(to) = &mut json {
        to.flush()?;
    }
    Ok(exit)
}

/// All that is known about one file.
struct Found {
    path: PathBuf,
    examined: Examined,
    generation: Option<Generation>,
    hidden: Option<Hidden>,
    claim: Option<Claim>,
}

impl Found {
    fn read(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::usage(path.display(), "is a folder", format!("its pictures: lastmile meta {}/*", path.display())));
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let limits = Limits::default();
        let examined = codec::examine(path, &bytes, &limits)?;
        // Only lossless 8-bit files can hide a text; one whose pixels are damaged hides none that could be read.
        let lossless = !matches!(examined.header.format, codec::Format::Jpeg) && examined.header.bits == 8;
        let hidden = if lossless { codec::decode(path, &bytes, &limits).ok().and_then(|i| i.metadata.hidden) } else { None };
        let m = &examined.metadata;
        let generation = codec::generation(m).or_else(|| {
            let h = hidden.as_ref()?;
            let found = codec::generation_in(&h.text)?;
            Some(Generation { found_in: format!("hidden in {} (stealth PNG info)", h.place), ..found })
        });
        let claim = m.c2pa.as_deref().and_then(Claim::read);
        Ok(Self { path: path.into(), generation, hidden, claim, examined })
    }

    /// The lines for people: name, value, and whether the value is printed whole.
    fn lines(&self) -> Vec<(String, String, bool)> {
        let Examined { header: h, metadata: m, notes } = &self.examined;
        let mut all: Vec<(String, String, bool)> = Vec::new();
        let mut say = |name: &str, value: String, whole: bool| {
            if !value.is_empty() {
                all.push((name.into(), value, whole));
            }
        };
        let (w, height) = h.upright();
        let turned = if h.orientation == 1 { String::new() } else { format!(", stored with EXIF orientation {}", h.orientation) };
        let depth = if h.bits == 32 { "float".into() } else { format!("{} bit", h.bits) };
        say("picture", format!("{} {w}x{height} {} {depth}{turned}", h.format.name(), channels(h.channels)), true);
        if m.icc.is_none() {
            say("colour", "no profile: sRGB is assumed".into(), true);
        }
        if let Some(g) = &self.generation {
            for (name, value) in making(g) {
                say(name, value.into(), true);
            }
        }
        if let Some(h) = &self.hidden {
            say(
                "stealth",
                format!("{} characters hidden in the lowest bits of {}; processing clears them", h.text.chars().count(), h.place),
                true,
            );
        }
        say("source type", m.source_type().unwrap_or_default(), true);
        say("provenance", m.provenance_url().unwrap_or_default(), true);
        if let Some(store) = &m.c2pa {
            let said = match &self.claim {
                Some(c) => claim_lines(c),
                None => vec!["a manifest that could not be read".into()],
            };
            let head = format!("{} bytes of Content Credentials; signature not checked, not carried into outputs", store.len());
            say("c2pa", std::iter::once(head).chain(said).collect::<Vec<_>>().join("\n"), true);
        }
        for (name, value) in m.facts() {
            if !matches!(name.as_str(), "c2pa") {
                say(if name == "icc" { "colour" } else { &name }, value, false);
            }
        }
        for note in notes.iter().filter(|n| !n.contains("(C2PA)")) {
            say("note", note.clone(), true);
        }
        all
    }

    fn print(&self, whole: bool) -> std::io::Result<()> {
        out(self.path.display())?;
        let lines = self.lines();
        let width = lines.iter().map(|l| l.0.chars().count()).max().unwrap_or(0).min(28);
        for (name, value, always) in lines {
            let value = if whole || always { value } else { shortened(&value) };
            let mut rows = value.lines();
            out(format_args!("  {name:<width$}  {}", rows.next().unwrap_or("")))?;
            for row in rows {
                out(format_args!("  {:<width$}  {row}", ""))?;
            }
        }
        Ok(())
    }

    /// What can be compared, each name once.
    fn facts(&self) -> BTreeMap<String, String> {
        let h = &self.examined.header;
        let (w, height) = h.upright();
        let mut all = BTreeMap::from([
            ("format".to_string(), h.format.name().to_string()),
            ("size".into(), format!("{w}x{height}")),
            ("channels".into(), channels(h.channels).into()),
            ("bits".into(), h.bits.to_string()),
            ("orientation".into(), h.orientation.to_string()),
        ]);
        for (name, value) in self.examined.metadata.facts() {
            all.entry(name).and_modify(|v| *v = format!("{v}\n{value}")).or_insert(value);
        }
        if let Some(g) = &self.generation {
            all.extend(making(g).into_iter().filter(|(n, v)| !v.is_empty() && *n != "found in").map(|(n, v)| (n.into(), v.into())));
        }
        if let Some(h) = &self.hidden {
            all.insert("stealth".into(), h.text.clone());
        }
        if let Some(c) = &self.claim {
            all.insert("c2pa claim".into(), claim_lines(c).join("\n"));
        }
        all
    }

    fn json(&self) -> serde_json::Value {
        let Examined { header: h, metadata: m, notes } = &self.examined;
        let (w, height) = h.upright();
        let facts: Vec<_> = m.facts().into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let said = json!({
            "event": "meta", "input": self.path.display().to_string(), "format": h.format, "width": w, "height": height,
            "channels": channels(h.channels), "bits": h.bits, "orientation": h.orientation,
            "dpi": m.dpi.map(|(x, y)| [x, y]), "generation": self.generation,
            "source_type": m.source_type(), "provenance": m.provenance_url(),
            "stealth": self.hidden.as_ref().map(|h| json!({ "place": h.place, "text": h.text, "survives": false })),
            "c2pa": m.c2pa.as_ref().map(|s| json!({ "bytes": s.len(), "claim": self.claim, "signature_checked": false, "carried": false })),
            "facts": facts, "notes": notes,
        });
        with_raw(said, &[("input_raw", &self.path)])
    }
}

/// Adds paths that are not UTF-8 as the journal and the other verbs' events write them.
fn with_raw(mut event: serde_json::Value, paths: &[(&str, &Path)]) -> serde_json::Value {
    if let Some(o) = event.as_object_mut() {
        let odd = paths.iter().filter(|(_, path)| path.to_str().is_none());
        o.extend(odd.map(|(key, path)| (key.to_string(), crate::batch::journal::percent(path.as_os_str()).into())));
    }
    event
}

fn channels(c: Channels) -> &'static str {
    match c {
        Channels::Grey => "grey",
        Channels::GreyAlpha => "grey+alpha",
        Channels::Rgb => "RGB",
        Channels::Rgba => "RGB+alpha",
    }
}

fn making(g: &Generation) -> [(&'static str, &str); 10] {
    [
        ("generator", &g.generator),
        ("prompt", &g.prompt),
        ("negative", &g.negative),
        ("model", &g.model),
        ("model hash", &g.model_hash),
        ("seed", &g.seed),
        ("steps", &g.steps),
        ("sampler", &g.sampler),
        ("cfg", &g.cfg),
        ("found in", &g.found_in),
    ]
}

fn claim_lines(c: &Claim) -> Vec<String> {
    let mut lines = Vec::new();
    let short = |t: &String| t.rsplit('/').next().unwrap_or(t).to_string();
    let types: Vec<String> = c.source_types.iter().map(short).collect();
    for (name, value) in [
        ("claimed by", c.generator.clone()),
        ("title", c.title.clone()),
        ("actions", c.actions.join(", ")),
        ("made with", c.agents.join(", ")),
        ("source types", types.join(", ")),
        ("ingredients", if c.manifests > 1 { format!("{} earlier manifests", c.manifests - 1) } else { String::new() }),
    ] {
        if !value.is_empty() {
            lines.push(format!("{name} {value}"));
        }
    }
    lines
}

/// One line of at most [`SHORT`] characters, with the length of what was cut.
fn shortened(value: &str) -> String {
    let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let n = line.chars().count();
    if n <= SHORT {
        return line;
    }
    let head: String = line.chars().take(SHORT).collect();
    format!("{head}... ({n} characters; -v for all)")
}

/// Name, value in the first, value in the second, where they differ.
type Change = (String, Option<String>, Option<String>);

fn differences(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<Change> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|n| a.get(*n) != b.get(*n)).map(|n| (n.clone(), a.get(n).cloned(), b.get(n).cloned())).collect()
}

fn print_differences(changes: &[Change], whole: bool) -> std::io::Result<()> {
    if changes.is_empty() {
        return out("nothing differs");
    }
    for (name, a, b) in changes {
        out(name)?;
        for (sign, value) in [('-', a), ('+', b)] {
            let Some(value) = value else { continue };
            let value = if whole { value.clone() } else { shortened(value) };
            for row in value.lines() {
                out(format_args!("  {sign} {row}"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_both_sides() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<BTreeMap<_, _>>();
        let got = differences(&map(&[("a", "1"), ("b", "2"), ("c", "3")]), &map(&[("a", "1"), ("b", "x"), ("d", "4")]));
        let text = |s: &str| Some(s.to_string());
        assert_eq!(got, [("b".into(), text("2"), text("x")), ("c".into(), text("3"), None), ("d".into(), None, text("4"))]);
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        assert_eq!(shortened("a\nb"), "a b");
        let long = shortened(&"\u{e9}".repeat(500));
        assert!(long.ends_with("... (500 characters; -v for all)") && long.chars().count() < 220, "{long}");
    }
}
