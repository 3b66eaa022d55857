//! Cases with what they are compared with, kept on disk: making them takes longer than measuring them, and a change of a detector
//! does not change them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use lastmile::inspect::Picture;
use lastmile::inspect::plane::Plane;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cases::Case;

/// A case and its faithful enlargement; none where that is the result itself.
pub type Compared = (Case, Option<Picture>);

/// What stands before the pixels of a file: one line.
#[derive(Serialize, Deserialize)]
struct Head {
    kind: String,
    variant: String,
    strength: usize,
    /// Result, source; all 8 bits a channel.
    sizes: [(usize, usize); 2],
    masked: bool,
    compared: bool,
}

/// A folder of `KEEP`, if that is set.
pub struct Kept(Option<PathBuf>);

impl Kept {
    /// Cases made by other code, or compared with another network, are others.
    pub fn new(network: &str) -> Self {
        let code = [
            include_str!("cases.rs"),
            include_str!("hard.rs"),
            include_str!("random.rs"),
            include_str!("rendered.rs"),
            include_str!("host.rs"),
            network,
        ];
        let hash: String = Sha256::digest(code.concat()).iter().take(6).map(|b| format!("{b:02x}")).collect();
        let folder = std::env::var_os("KEEP").map(|d| Path::new(&d).join(hash));
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).unwrap();
        }
        Self(folder)
    }

    /// The cases of that name, made if they are not there.
    pub fn cases(&self, name: &str, make: impl FnOnce() -> Vec<Compared>) -> Vec<Compared> {
        let Some(path) = self.0.as_ref().map(|d| d.join(format!("{name}.cases"))) else { return make() };
        if let Ok(bytes) = std::fs::read(&path) {
            return parse(&bytes);
        }
        let made = make();
        let part = path.with_extension("part");
        std::fs::write(&part, bytes_of(&made)).unwrap();
        std::fs::rename(part, path).unwrap();
        made
    }
}

fn bytes_of(cases: &[Compared]) -> Vec<u8> {
    let mut out = Vec::new();
    for (case, faithful) in cases {
        let sizes = [&case.result, &case.source].map(|p| (p.width, p.height));
        let (masked, compared) = (case.mask.is_some(), faithful.is_some());
        let head = Head { kind: case.kind.into(), variant: case.variant.into(), strength: case.strength, sizes, masked, compared };
        writeln!(out, "{}", serde_json::to_string(&head).unwrap()).unwrap();
        for p in [&case.result, &case.source] {
            (0..3).for_each(|c| out.extend(p.channel(c).data.iter().map(|v| (v * 255.0).round() as u8)));
        }
        out.extend(case.mask.iter().flat_map(|m| m.data.iter().map(|v| u8::from(*v > 0.5))));
        if let Some(p) = faithful {
            (0..3).for_each(|c| out.extend(p.channel(c).data.iter().flat_map(|v| v.to_le_bytes())));
        }
    }
    out
}

fn parse(mut from: &[u8]) -> Vec<Compared> {
    let mut out = Vec::new();
    while let Some(end) = from.iter().position(|b| *b == b'\n') {
        let head: Head = serde_json::from_slice(&from[..end]).unwrap();
        from = &from[end + 1..];
        let mut take = |n: usize| {
            let mut bytes = vec![0; n];
            from.read_exact(&mut bytes).unwrap();
            bytes
        };
        let mut coded = |(width, height): (usize, usize), unit: f32| Plane {
            width,
            height,
            data: take(width * height).iter().map(|v| f32::from(*v) / unit).collect(),
        };
        let [result, source] = head.sizes.map(|size| Picture::from_planes(std::array::from_fn(|_| coded(size, 255.0))));
        let (width, height) = head.sizes[0];
        let mask = head.masked.then(|| coded((width, height), 1.0));
        let faithful = head.compared.then(|| {
            Picture::from_planes(std::array::from_fn(|_| {
                let floats = take(4 * width * height).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                Plane { width, height, data: floats }
            }))
        });
        let (kind, variant): (&'static str, &'static str) = (head.kind.leak(), head.variant.leak());
        out.push((Case { kind, variant, strength: head.strength, result, source, mask }, faithful));
    }
    out
}
