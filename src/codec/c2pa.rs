//! C2PA manifest stores (C2PA 2.1; JUMBF boxes of ISO 19566-5 with CBOR of RFC 8949 inside): what the claim says.
//!
//! Nothing is verified: whether a signature holds is for a C2PA validator to say. A claim covers the source's exact bytes, so no
//! output carries it; [`sidecar`] names the file in which it can be kept.

use std::path::{Path, PathBuf};

use super::bmff::boxes;

/// What the active manifest of a store claims. Not verified.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Claim {
    /// The program that made the claim.
    pub generator: String,
    pub title: String,
    /// Labels of the assertions made.
    pub assertions: Vec<String>,
    /// Actions in order, without the prefix `c2pa.`.
    pub actions: Vec<String>,
    /// Software agents named by the actions, each once.
    pub agents: Vec<String>,
    /// `digitalSourceType` of the actions, each once, as stated.
    pub source_types: Vec<String>,
    /// Manifests in the store; those before the last belong to ingredients.
    pub manifests: usize,
}

/// The file that keeps the source's manifest store beside an output: `hero.png` has `hero.png.source.c2pa`.
///
/// The name says `source`, because a validator takes `hero.c2pa` as a claim about `hero.png` itself; and it has the output's
/// extension, because `hero.png` and `hero.jpg` may stand side by side.
pub fn sidecar(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_os_string();
    name.push(".source.c2pa");
    name.into()
}

/// Boxes and CBOR items nest no deeper than this.
const DEPTH: usize = 16;
/// Items read from one CBOR value at most.
const ITEMS: usize = 100_000;

impl Claim {
    /// Reads a manifest store; none if it holds no claim that can be read.
    pub fn read(store: &[u8]) -> Option<Self> {
        let (kind, content) = boxes(store).next()?;
        if &kind != b"jumb" {
            return None;
        }
        let manifests: Vec<&[u8]> = boxes(content).filter(|b| &b.0 == b"jumb").map(|b| b.1).collect();
        let active = manifests.last()?;
        let mut claim = Self { manifests: manifests.len(), ..Self::default() };
        let mut found = false;
        for (_, part) in boxes(active).filter(|b| &b.0 == b"jumb") {
            let label = label(part);
            if label == "c2pa.assertions" {
                for (_, assertion) in boxes(part).filter(|b| &b.0 == b"jumb") {
                    claim.assertion(assertion);
                }
            } else if label.starts_with("c2pa.claim") {
                let Some(value) = cbor_in(part) else { continue };
                found = true;
                let info = value.get("claim_generator_info").map(|i| i.first());
                let name = info.map_or_else(String::new, agent);
                claim.generator = if name.is_empty() { value.text("claim_generator") } else { name };
                claim.title = value.text("dc:title");
            }
        }
        found.then_some(claim)
    }

    fn assertion(&mut self, part: &[u8]) {
        let label = label(part);
        if label.starts_with("c2pa.actions")
            && let Some(Cbor::Array(actions)) = cbor_in(part).as_ref().and_then(|v| v.get("actions"))
        {
            for a in actions {
                let action = a.text("action");
                self.actions.push(action.strip_prefix("c2pa.").unwrap_or(&action).to_string());
                let by = match a.get("softwareAgent") {
                    Some(Cbor::Text(s)) => s.clone(),
                    Some(map) => agent(map),
                    None => String::new(),
                };
                for (value, list) in [(by, &mut self.agents), (a.text("digitalSourceType"), &mut self.source_types)] {
                    if !value.is_empty() && !list.contains(&value) {
                        list.push(value);
                    }
                }
            }
        }
        self.assertions.push(label);
    }
}

/// Name and version of a generator-info map.
fn agent(map: &Cbor) -> String {
    format!("{} {}", map.text("name"), map.text("version")).trim().to_string()
}

/// The label in a superbox's description box: 16 bytes of type, a byte of flags, then the label up to a NUL.
fn label(superbox: &[u8]) -> String {
    let text = boxes(superbox).find(|b| &b.0 == b"jumd").and_then(|b| {
        let flags = b.1.get(16)?;
        (flags & 2 != 0).then(|| b.1[17..].split(|&c| c == 0).next().unwrap_or(&[]))
    });
    String::from_utf8_lossy(text.unwrap_or(&[])).into_owned()
}

fn cbor_in(superbox: &[u8]) -> Option<Cbor> {
    let (_, data) = boxes(superbox).find(|b| &b.0 == b"cbor")?;
    let mut room = ITEMS;
    item(&mut &data[..], DEPTH, &mut room)
}

/// As much of CBOR as is looked at; numbers and bytes are passed over.
#[derive(Debug, Clone, PartialEq)]
enum Cbor {
    Text(String),
    Array(Vec<Cbor>),
    Map(Vec<(Cbor, Cbor)>),
    Other,
}

impl Cbor {
    fn get(&self, key: &str) -> Option<&Cbor> {
        match self {
            Self::Map(all) => all.iter().find(|(k, _)| matches!(k, Self::Text(t) if t == key)).map(|(_, v)| v),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> String {
        match self.get(key) {
            Some(Self::Text(t)) => t.clone(),
            _ => String::new(),
        }
    }

    /// An array's first item, or the value itself.
    fn first(&self) -> &Self {
        match self {
            Self::Array(all) => all.first().unwrap_or(self),
            _ => self,
        }
    }
}

/// Reads one item (RFC 8949, section 3).
fn item(from: &mut &[u8], depth: usize, room: &mut usize) -> Option<Cbor> {
    *room = room.checked_sub(1)?;
    let depth = depth.checked_sub(1)?;
    let (&head, rest) = from.split_first()?;
    *from = rest;
    let (major, info) = (head >> 5, head & 31);
    let argument = match info {
        0..=23 => Some(u64::from(info)),
        24..=27 => {
            let n = 1usize << (info - 24);
            let bytes = from.get(..n)?;
            *from = &from[n..];
            Some(bytes.iter().fold(0, |v, &b| v << 8 | u64::from(b)))
        }
        31 => None,
        _ => return None,
    };
    let is_break = |from: &mut &[u8]| {
        let end = from.first() == Some(&0xff);
        if end {
            *from = &from[1..];
        }
        end
    };
    match (major, argument) {
        (0 | 1, Some(_)) | (7, Some(_)) => Some(Cbor::Other),
        (2 | 3, Some(n)) => {
            let n = usize::try_from(n).ok()?;
            let bytes = from.get(..n)?;
            *from = &from[n..];
            Some(if major == 3 { Cbor::Text(String::from_utf8_lossy(bytes).into_owned()) } else { Cbor::Other })
        }
        (2 | 3, None) => {
            let mut text = String::new();
            while !is_break(from) {
                if let Cbor::Text(t) = item(from, depth, room)? {
                    text += &t;
                }
            }
            Some(if major == 3 { Cbor::Text(text) } else { Cbor::Other })
        }
        (4, n) => {
            let mut all = Vec::new();
            while n.map_or_else(|| !is_break(from), |n| (all.len() as u64) < n) {
                all.push(item(from, depth, room)?);
            }
            Some(Cbor::Array(all))
        }
        (5, n) => {
            let mut all = Vec::new();
            while n.map_or_else(|| !is_break(from), |n| (all.len() as u64) < n) {
                all.push((item(from, depth, room)?, item(from, depth, room)?));
            }
            Some(Cbor::Map(all))
        }
        (6, Some(_)) => item(from, depth, room),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jumb(label: &str, inside: &[u8]) -> Vec<u8> {
        let description = [&[0; 16][..], &[3], label.as_bytes(), b"\0"].concat();
        wrap(b"jumb", &[wrap(b"jumd", &description), inside.to_vec()].concat())
    }

    fn wrap(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    #[test]
    fn cbor_of_the_standard_is_read() {
        // RFC 8949, appendix A.
        let read = |b: &[u8]| item(&mut &b[..], DEPTH, &mut 100);
        let text = |s: &str| Cbor::Text(s.into());
        assert_eq!(read(b"\x64IETF"), Some(text("IETF")));
        assert_eq!(read(b"\x7f\x65strea\x64ming\xff"), Some(text("streaming")));
        assert_eq!(
            read(b"\xa2\x61a\x01\x61b\x82\x02\x03"),
            Some(Cbor::Map(vec![(text("a"), Cbor::Other), (text("b"), Cbor::Array(vec![Cbor::Other, Cbor::Other]))]))
        );
        assert_eq!(read(b"\xbf\x61a\x9f\xff\xff"), Some(Cbor::Map(vec![(text("a"), Cbor::Array(vec![]))])));
        assert_eq!(read(b"\xc0\x61t"), Some(text("t")));
        assert_eq!(read(b"\xf9\x3c\x00"), Some(Cbor::Other));
        for bad in [&b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x7b\0\0\0\xff\0\0\0\0", &[0x81; 100], b"", b"\x1c"] {
            assert_eq!(read(bad), None);
        }
    }

    #[test]
    fn the_last_manifest_counts() {
        let manifest = |title: &str| {
            let claim =
                [b"\xa2\x68dc:title".as_slice(), &[0x60 + title.len() as u8], title.as_bytes(), b"\x6fclaim_generator\x63gen"].concat();
            let actions = [b"\xa1\x67actions\x81\xa2\x66action\x6cc2pa.created\x71digitalSourceType\x62st".as_slice()].concat();
            let assertions = jumb("c2pa.assertions", &jumb("c2pa.actions.v2", &wrap(b"cbor", &actions)));
            jumb("urn:x", &[assertions, jumb("c2pa.claim", &wrap(b"cbor", &claim))].concat())
        };
        let store = jumb("c2pa", &[manifest("one"), manifest("two")].concat());
        let claim = Claim::read(&store).unwrap();
        assert_eq!((claim.title.as_str(), claim.generator.as_str(), claim.manifests), ("two", "gen", 2));
        assert_eq!((claim.actions, claim.source_types), (vec!["created".to_string()], vec!["st".to_string()]));
        for cut in 0..store.len() {
            Claim::read(&store[..cut]);
        }
        assert_eq!(sidecar(Path::new("a/b.png")), Path::new("a/b.png.source.c2pa"));
    }
}
