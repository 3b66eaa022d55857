//! Models that can be downloaded: `models/catalogue.toml`, part of the program.
//!
//! To add one: a table in that file. Every entry is a checkpoint of an architecture that [`super::import`] knows.

use std::sync::OnceLock;

use serde::Deserialize;

use super::model::{Kind, check_id};
use crate::error::{Error, Result};

/// A model that others publish.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    /// What `--model` takes once it is here.
    pub id: String,
    /// The checkpoint as its authors publish it.
    pub url: String,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// SHA-256 of the checkpoint, lower-case hexadecimal.
    pub sha256: String,
    /// Licence of the weights, an SPDX expression.
    pub licence: String,
    /// The project it comes from.
    pub source: String,
    pub kind: Kind,
    /// Output pixels per input pixel along each axis.
    pub scale: u32,
    /// One sentence for whoever has to choose.
    pub note: String,
    /// Id of the same network trained to denoise less.
    pub weak_denoise: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<Public>,
}

/// All models that can be downloaded, in the order of the file.
pub fn all() -> &'static [Public] {
    static ALL: OnceLock<Vec<Public>> = OnceLock::new();
    // A test parses and checks the file; a damaged one would not get into a program.
    ALL.get_or_init(|| parse(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/catalogue.toml"))).unwrap_or_default())
}

/// The model of that id.
pub fn find(id: &str) -> Option<&'static Public> {
    all().iter().find(|p| p.id == id)
}

/// Reads a catalogue and checks each entry.
///
/// # Errors
/// [`Error::Usage`] naming the entry and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Public>> {
    let wrong = |what: String| Error::usage("catalogue.toml", what, "");
    let File { model } = toml::from_str(text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
    for (i, entry) in model.iter().enumerate() {
        let id = &entry.id;
        let wrong = |what: &str| Err(wrong(format!("`{id}`: {what}")));
        check_id(id).map_err(|e| Error::usage("catalogue.toml", e, ""))?;
        if model[..i].iter().any(|other| other.id == *id) {
            return wrong("is there twice");
        }
        if !entry.url.starts_with("https://") || ![".pth", ".safetensors"].iter().any(|end| entry.url.ends_with(end)) {
            return wrong("`url` must be https and end in .pth or .safetensors");
        }
        if entry.sha256.len() != 64 || !entry.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return wrong("`sha256` must be 64 lower-case hexadecimal digits");
        }
        if entry.weak_denoise.as_ref().is_some_and(|twin| !model.iter().any(|other| other.id == *twin)) {
            return wrong("`weak_denoise` names no entry");
        }
    }
    Ok(model)
}

impl Public {
    /// Where to get it: the official address, or with `mirror` in place of its `https://HOST`.
    pub fn address(&self, mirror: Option<&str>) -> String {
        let path = self.url.trim_start_matches("https://").split_once('/').map_or("", |(_, path)| path);
        mirror.map_or_else(|| self.url.clone(), |m| format!("{}/{path}", m.trim_end_matches('/')))
    }

    /// The command that makes a model of the checkpoint once it has been fetched by hand.
    pub fn by_hand(&self) -> String {
        let file = self.url.rsplit('/').next().unwrap_or_default();
        let kind = if self.kind == Kind::Faithful { "faithful" } else { "perceptual" };
        let Self { id, licence, source, .. } = self;
        format!("lastmile models import {file} --name {id} --kind {kind} --licence {licence} --source {source}")
    }
}

/// Whether a licence allows commercial use of the weights; `None` for one that is not known here.
///
/// Only the usual permissive licences and Creative Commons are known; `A OR B` allows what either does.
pub fn commercial(licence: &str) -> Option<bool> {
    const YES: [&str; 13] = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "0BSD",
        "Unlicense",
        "CC0-1.0",
        "CC-BY-4.0",
        "CC-BY-SA-4.0",
        "MPL-2.0",
        "Unicode-3.0",
    ];
    let one = |name: &str| match name.trim() {
        name if YES.contains(&name) => Some(true),
        name if name.starts_with("CC-BY-NC") => Some(false),
        _ => None,
    };
    let all = |names: &str| {
        let each: Vec<_> = names.split(" AND ").map(one).collect();
        if each.contains(&Some(false)) { Some(false) } else { each.into_iter().collect::<Option<Vec<_>>>().map(|_| true) }
    };
    let either: Vec<_> = licence.split(" OR ").map(all).collect();
    if either.contains(&Some(true)) { Some(true) } else { either.into_iter().collect::<Option<Vec<_>>>().map(|_| false) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upscale::catalogue::EMBEDDED;

    #[test]
    fn the_catalogue_is_sound() {
        let all = parse(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/catalogue.toml"))).unwrap();
        assert_eq!(all, super::all());
        assert!(all.len() >= 6);
        for entry in &all {
            assert!(EMBEDDED.iter().all(|e| e.id != entry.id), "{}", entry.id);
            assert!(commercial(&entry.licence).is_some() && !entry.note.is_empty(), "{}", entry.id);
        }
        assert_eq!(find("realesr-general-x4v3").unwrap().weak_denoise.as_deref(), Some("realesr-general-wdn-x4v3"));
        assert_eq!(find("none"), None);
    }

    #[test]
    fn wrong_entries_are_named() {
        let good = "[[model]]\nid = \"a\"\nurl = \"https://h/a.pth\"\nsha256 = \"00\"\nlicence = \"MIT\"\nsource = \"s\"\nkind = \"faithful\"\nscale = 2\nnote = \"n\"\n";
        let good = good.replace("\"00\"", &format!("\"{}\"", "0".repeat(64)));
        assert_eq!(parse(&good).unwrap().len(), 1);
        for (text, says) in [
            (good.replace("https", "http"), "must be https"),
            (good.replace("a.pth", "a.exe"), "end in .pth"),
            (good.replace("000", "00"), "64 lower-case"),
            (good.replace("\"a\"", "\"../a\""), "no usable id"),
            (good.clone() + &good, "`a`: is there twice"),
            (good.clone() + "weak_denoise = \"b\"\n", "names no entry"),
            (good.replace("note", "notes"), "notes"),
        ] {
            let e = parse(&text).unwrap_err().to_string();
            assert!(e.contains(says), "{e}");
        }
    }

    #[test]
    fn a_mirror_stands_in_for_scheme_and_host() {
        let entry = find("realesr-animevideov3").unwrap();
        assert_eq!(entry.address(None), entry.url);
        let path = "/xinntao/Real-ESRGAN/releases/download/v0.2.5.0/realesr-animevideov3.pth";
        assert_eq!(entry.address(Some("http://127.0.0.1:8000/github/")), format!("http://127.0.0.1:8000/github{path}"));
        assert_eq!(
            entry.address(Some("https://proxy.example/https://github.com")),
            format!("https://proxy.example/https://github.com{path}")
        );
        assert!(
            entry.by_hand().starts_with("lastmile models import realesr-animevideov3.pth --name realesr-animevideov3 --kind perceptual")
        );
    }

    #[test]
    fn licences_and_commerce() {
        for (licence, allowed) in [
            ("MIT OR Apache-2.0", Some(true)),
            ("BSD-3-Clause", Some(true)),
            ("CC-BY-NC-SA-4.0", Some(false)),
            ("MIT AND CC-BY-NC-4.0", Some(false)),
            ("CC-BY-NC-4.0 OR MIT", Some(true)),
            ("CC-BY-NC-4.0 OR Mine", None),
            ("MIT AND Mine", None),
            ("", None),
            ("unknown", None),
        ] {
            assert_eq!(commercial(licence), allowed, "{licence}");
        }
    }
}
