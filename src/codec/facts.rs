//! Metadata as a flat list of names and values, for people to read and to compare.

use super::exif::entries::{self, ARTIST, COPYRIGHT, GPS_IFD, IMAGE_DESCRIPTION, MAKE, MODEL, Which};
use super::metadata::MAKER_NOTE;
use super::xmp::{self, DC, EXIF, IPTC_EXT, LASTMILE, PHOTOSHOP, Packet, XMP, XMP_MM, XMP_RIGHTS};
use super::{Metadata, changes};
use crate::color::Profile;

/// EXIF texts of the first directory and of the EXIF directory.
const TEXTS: [(Which, u16, &str); 14] = [
    (Which::Main, IMAGE_DESCRIPTION, "ImageDescription"),
    (Which::Main, MAKE, "Make"),
    (Which::Main, MODEL, "Model"),
    (Which::Main, 0x0131, "Software"),
    (Which::Main, 0x0132, "DateTime"),
    (Which::Main, ARTIST, "Artist"),
    (Which::Main, COPYRIGHT, "Copyright"),
    (Which::Exif, 0x9003, "DateTimeOriginal"),
    (Which::Exif, 0x9004, "DateTimeDigitized"),
    (Which::Exif, 0xa420, "ImageUniqueID"),
    (Which::Exif, 0xa430, "CameraOwnerName"),
    (Which::Exif, 0xa431, "BodySerialNumber"),
    (Which::Exif, 0xa433, "LensMake"),
    (Which::Exif, 0xa434, "LensModel"),
];

/// Prefixes as the standards write them.
const PREFIXES: [(&str, &str); 12] = [
    (XMP, "xmp"),
    (XMP_MM, "xmpMM"),
    (XMP_RIGHTS, "xmpRights"),
    (DC, "dc"),
    (EXIF, "exif"),
    (PHOTOSHOP, "photoshop"),
    (IPTC_EXT, "Iptc4xmpExt"),
    (LASTMILE, "lastmile"),
    ("http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "Iptc4xmpCore"),
    ("http://ns.adobe.com/tiff/1.0/", "tiff"),
    ("http://purl.org/dc/terms/", "dcterms"),
    ("http://ns.useplus.org/ldf/xmp/1.0/", "plus"),
];

/// IPTC-IIM 4.2, record 2: the data sets people look for.
const IPTC: [(u8, &str); 12] = [
    (5, "ObjectName"),
    (25, "Keywords"),
    (40, "SpecialInstructions"),
    (55, "DateCreated"),
    (80, "By-line"),
    (90, "City"),
    (101, "Country"),
    (105, "Headline"),
    (110, "Credit"),
    (115, "Source"),
    (116, "CopyrightNotice"),
    (120, "Caption"),
];

impl Metadata {
    /// Everything found, as (name, value) in a fixed order; a name may repeat. Blocks without a text form give their size.
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut say = |name: String, value: String| all.push((name, value));
        let bytes = |n: usize| format!("{n} bytes");
        if let Some(icc) = &self.icc {
            let name = Profile::from_icc(icc).map(|p| p.name().to_string()).unwrap_or_default();
            say("icc".into(), if name.is_empty() { bytes(icc.len()) } else { name });
        }
        if let Some((x, y)) = self.dpi {
            let short = |v: f64| format!("{v:.2}").trim_end_matches('0').trim_end_matches('.').to_string();
            say("resolution".into(), if x == y { format!("{} dpi", short(x)) } else { format!("{} x {} dpi", short(x), short(y)) });
        }
        for t in &self.text {
            say(format!("text {}", t.keyword), t.value.clone());
        }
        if let Some(c) = &self.comment {
            say("comment".into(), String::from_utf8_lossy(c).trim_end_matches('\0').to_string());
        }
        if let Some(block) = &self.exif {
            for (which, tag, name) in TEXTS {
                if let Some(value) = entries::text(block, which, tag) {
                    say(format!("exif {name}"), value);
                }
            }
            if let Some(value) = entries::user_comment(block) {
                say("exif UserComment".into(), value);
            }
            if entries::bytes(block, Which::Main, GPS_IFD).is_some() {
                say("exif GPS".into(), "present".into());
            }
            if let Some(note) = entries::bytes(block, Which::Exif, MAKER_NOTE) {
                say("exif MakerNote".into(), bytes(note.len()));
            }
            say("exif".into(), bytes(block.len()));
        }
        if let Some(packet) = &self.xmp {
            match Packet::scan(packet) {
                Some(p) => {
                    for q in p.properties() {
                        let prefix = PREFIXES.iter().find(|(uri, _)| *uri == q.namespace).map_or(q.namespace.as_str(), |n| n.1);
                        let items = p.structures(&q.namespace, &q.name);
                        let value = if items.iter().any(|i| !i.is_empty()) {
                            let one = |fields: &Vec<(String, String, String)>| {
                                fields.iter().map(|f| format!("{}: {}", f.1, f.2.trim())).collect::<Vec<_>>().join(", ")
                            };
                            items.iter().map(one).collect::<Vec<_>>().join("; ")
                        } else {
                            p.values(&q.namespace, &q.name).join("; ")
                        };
                        say(format!("xmp {prefix}:{}", q.name), value);
                    }
                }
                None => say("xmp".into(), format!("{} (cannot be read)", bytes(packet.len()))),
            }
        }
        if let Some(iptc) = &self.iptc {
            for (set, value) in iptc_texts(iptc) {
                let name = IPTC.iter().find(|i| i.0 == set).map_or_else(|| format!("2:{set}"), |i| i.1.to_string());
                say(format!("iptc {name}"), value);
            }
        }
        if let Some(store) = &self.c2pa {
            say("c2pa".into(), bytes(store.len()));
        }
        all
    }

    /// The digital source type stated in XMP, as a bare term.
    pub fn source_type(&self) -> Option<String> {
        let p = Packet::scan(self.xmp.as_deref()?)?;
        p.value(IPTC_EXT, "DigitalSourceType").map(|uri| changes::bare(&uri).to_string())
    }

    /// What `dcterms:provenance` points to: where a manifest store is kept that is not in the file.
    pub fn provenance_url(&self) -> Option<String> {
        Packet::scan(self.xmp.as_deref()?)?.value("http://purl.org/dc/terms/", "provenance")
    }

    /// Whether an XMP packet is there that cannot be edited, so that nothing can be added to it.
    pub fn xmp_is_damaged(&self) -> bool {
        self.xmp.as_deref().is_some_and(|p| !xmp::is_editable(p))
    }
}

/// Texts of record 2. UTF-8, else Latin-1.
fn iptc_texts(mut iptc: &[u8]) -> Vec<(u8, String)> {
    let mut all = Vec::new();
    while let Some(&[0x1c, record, set, hi, lo]) = iptc.first_chunk::<5>() {
        let len = usize::from(u16::from_be_bytes([hi, lo]));
        let Some(data) = iptc.get(5..5 + len) else { break };
        if record == 2 && set != 0 {
            let text = std::str::from_utf8(data).map_or_else(|_| data.iter().map(|&b| char::from(b)).collect(), str::to_string);
            all.push((set, text));
        }
        iptc = &iptc[5 + len..];
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Text;

    #[test]
    fn everything_found_is_listed() {
        let m = Metadata {
            exif: Some(super::super::exif::tests::sample(true, 6)),
            xmp: Some(b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description xmlns:a='u' a:b='c' xmlns:i='http://iptc.org/std/Iptc4xmpExt/2008-02-29/' i:DigitalSourceType='http://x/y'/></rdf:RDF>".to_vec()),
            iptc: Some(b"\x1c\x01\x5a\0\x03\x1b%G\x1c\x02\x78\x00\x05hello\x1c\x02\xc8\0\x01\xe9".to_vec()),
            text: vec![Text::new("parameters", "a cat")],
            comment: Some(b"hi\0".to_vec()),
            dpi: Some((300.0, 72.5)),
            c2pa: Some(vec![0; 9]),
            ..Metadata::default()
        };
        let got: Vec<String> = m.facts().into_iter().map(|(n, v)| format!("{n} = {v}")).collect();
        let want = [
            "resolution = 300 x 72.5 dpi",
            "text parameters = a cat",
            "comment = hi",
            "exif MakerNote = 8 bytes",
            "exif = 158 bytes",
            "xmp u:b = c",
            "xmp Iptc4xmpExt:DigitalSourceType = http://x/y",
            "iptc Caption = hello",
            "iptc 2:200 = \u{e9}",
            "c2pa = 9 bytes",
        ];
        assert_eq!(got, want);
        assert_eq!(m.source_type().as_deref(), Some("y"));
    }
}
