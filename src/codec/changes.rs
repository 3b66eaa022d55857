//! What a processed picture's metadata must say that its source's did not, and what it shall not say any more.

use super::exif::entries::{self, ARTIST, COPYRIGHT, Value, Which};
use super::xmp::{self, DC, IPTC_EXT, PHOTOSHOP, Packet, XMP_MM, XMP_RIGHTS};
use super::{Metadata, c2pa, strip};
use crate::error::{Error, Result};

/// How much metadata an output carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Everything.
    #[default]
    All,
    /// Colour profile, resolution, creator, copyright, credit and DigitalSourceType.
    Minimal,
    /// Colour profile and resolution, without which the picture would look different.
    Nothing,
}

/// One `--strip` wish that leaves the rest in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strip {
    /// GPS data in EXIF, XMP and texts. Place names stay, and so does what only a camera's maker can read (MakerNote).
    Gps,
    /// Prompts, workflows and settings of generators, and every other value that repeats a prompt.
    Prompt,
}

/// How a picture came to be, a term of the IPTC Digital Source Type vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceType(String);

/// Where the vocabulary lives; a term's full name is this and the term.
const VOCABULARY: &str = "http://cv.iptc.org/newscodes/digitalsourcetype/";

/// IPTC NewsCodes, Digital Source Type, as of 2025.
pub const SOURCE_TYPES: [&str; 15] = [
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicMedia",
    "algorithmicallyEnhanced",
    "compositeSynthetic",
    "compositeCapture",
    "composite",
    "digitalCapture",
    "computationalCapture",
    "digitalCreation",
    "humanEdits",
    "negativeFilm",
    "positiveFilm",
    "print",
    "screenCapture",
];

impl SourceType {
    /// A term or its full name.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else, with the terms there are.
    pub fn new(text: &str) -> Result<Self> {
        let bare = text.strip_prefix(VOCABULARY).unwrap_or(text);
        match SOURCE_TYPES.iter().find(|t| t.eq_ignore_ascii_case(bare)) {
            Some(term) => Ok(Self((*term).into())),
            None => Err(Error::usage("--source-type", format!("`{text}` is not a term of IPTC's vocabulary"), SOURCE_TYPES.join(", "))),
        }
    }

    /// The full name, as XMP states it.
    pub fn uri(&self) -> String {
        format!("{VOCABULARY}{}", self.0)
    }
}

/// What shall become of a source's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub keep: Keep,
    /// What goes although the rest stays; sorted, so that equal wishes are equal.
    pub strip: Vec<Strip>,
    /// Replaces what the source states.
    pub source_type: Option<SourceType>,
}

/// One step of a picture's history, for `xmpMM:History`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    /// A word of XMP's ResourceEvent: `resized`, `edited`, `converted`.
    pub action: String,
    /// What was done with what, e.g. "x4, model lastmile-start-x4, sha256 1f..".
    pub parameters: String,
    /// Program and version.
    pub software: String,
    /// Seconds since 1970, UTC. Never the time of the run: `SOURCE_DATE_EPOCH` or the source's modification time.
    pub time: Option<i64>,
}

/// Everything [`Metadata::changed`] does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Size of the output, pixels.
    pub width: usize,
    pub height: usize,
    /// Size of the picture before, as it is looked at; none where it had this size already.
    pub from: Option<(usize, usize)>,
    /// A part of it was taken, or the sides were stretched differently.
    pub cut: bool,
    /// A new resolution, pixels per inch.
    pub dpi: Option<(f64, f64)>,
    pub policy: Policy,
    /// Appended to the history, in order; not with [`Keep::Nothing`].
    pub history: Vec<Event>,
}

impl Metadata {
    /// The metadata as the processed picture has to carry it, and a sentence for everything noteworthy.
    ///
    /// Stated sizes and orientation are corrected and the stale thumbnail goes ([`Metadata::for_output`]). A DigitalSourceType
    /// that only the C2PA claim stated is written to XMP, because the claim itself cannot be carried.
    pub fn changed(&self, c: &Changes) -> (Metadata, Vec<String>) {
        let mut notes = Vec::new();
        let mut m = self.for_output(c.width, c.height, c.dpi);
        let (across, down) = c.from.map_or((1.0, 1.0), |(w, h)| (c.width as f64 / w.max(1) as f64, c.height as f64 / h.max(1) as f64));
        if c.cut {
            if m.drop_places() {
                notes.push(
                    "places in the picture (face regions, subject, panorama) were told for the whole of it, and were left out".into(),
                );
            }
        } else if (across, down) != (1.0, 1.0) && !m.scale_places(across, down) {
            notes.push("a place in the picture was told in pixels in a way that cannot be enlarged, and was left out".into());
        }
        let claimed = self.c2pa.as_deref().and_then(c2pa::Claim::read).and_then(|claim| claim.source_types.first().cloned());
        let takes_apart = !c.policy.strip.is_empty() || c.policy.source_type.is_some() || c.policy.keep == Keep::Minimal;
        if takes_apart && c.policy.keep != Keep::Nothing && m.xmp_is_damaged() {
            m.xmp = None;
            notes.push("its XMP packet cannot be taken apart, so it was left out as a whole".into());
        }
        match c.policy.keep {
            Keep::All => {}
            Keep::Minimal => m = minimal(&m),
            Keep::Nothing => m = Metadata { icc: m.icc, dpi: m.dpi, ..Metadata::default() },
        }
        if c.policy.strip.contains(&Strip::Gps) {
            strip::gps(&mut m, &mut notes);
        }
        if c.policy.strip.contains(&Strip::Prompt) {
            strip::prompt(&strip::Secrets::of(self), &mut m, &mut notes);
        }
        let stated = m.xmp.as_deref().and_then(Packet::scan).and_then(|p| p.value(IPTC_EXT, "DigitalSourceType"));
        let from_claim = claimed.filter(|t| stated.is_none() && c.policy.keep != Keep::Nothing && t.starts_with("http"));
        let mut unwritten = false;
        if let Some(uri) = c.policy.source_type.as_ref().map(SourceType::uri).or(from_claim.clone()) {
            unwritten |= !xmp::set(&mut m.xmp, IPTC_EXT, "Iptc4xmpExt", "DigitalSourceType", &uri);
            if c.policy.source_type.is_none() && !unwritten {
                notes.push(format!("its DigitalSourceType ({}) stood in the C2PA claim only and was written to XMP", bare(&uri)));
            }
        }
        if c.policy.keep != Keep::Nothing {
            for event in &c.history {
                unwritten |= !append(&mut m, event);
            }
        }
        if unwritten {
            notes.push("its XMP packet is damaged: the history and source type could not be added to it".into());
        }
        (m, notes)
    }
}

/// A term without the vocabulary it is from.
pub(super) fn bare(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap_or(uri)
}

fn append(m: &mut Metadata, e: &Event) -> bool {
    const EVENT: &str = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#";
    let mut item = String::new();
    let when = e.time.map(rfc3339).unwrap_or_default();
    for (name, value) in [("action", &e.action), ("parameters", &e.parameters), ("softwareAgent", &e.software), ("when", &when)] {
        if !value.is_empty() {
            item += &format!("<stEvt:{name}>{}</stEvt:{name}>", xmp::escape(value));
        }
    }
    xmp::append(&mut m.xmp, XMP_MM, "xmpMM", "History", &format!(" xmlns:stEvt=\"{EVENT}\""), &item)
}

/// A time in UTC. Days to civil date: H. Hinnant, "chrono-compatible low-level date algorithms".
fn rfc3339(seconds: i64) -> String {
    let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let z = days + 719_468;
    let (era, day) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (d, month) = (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let y = year + era * 400 + i64::from(month <= 2);
    format!("{y:04}-{month:02}-{d:02}T{:02}:{:02}:{:02}Z", clock / 3600, clock / 60 % 60, clock % 60)
}

/// What the law and shops ask for, and what keeps the picture looking the same.
fn minimal(m: &Metadata) -> Metadata {
    let mut out = Metadata { icc: m.icc.clone(), dpi: m.dpi, ..Metadata::default() };
    if let Some(block) = &m.exif {
        let kept: Vec<_> =
            [ARTIST, COPYRIGHT].into_iter().filter_map(|tag| Some((tag, Value::Ascii(entries::text(block, Which::Main, tag)?)))).collect();
        let mut small = entries::empty();
        if !kept.is_empty() && entries::add(&mut small, Which::Main, &kept) {
            out.exif = Some(small);
        }
    }
    if let Some(p) = m.xmp.as_deref().and_then(Packet::scan) {
        let wanted = |n: &str, l: &str| match n {
            DC => matches!(l, "creator" | "rights"),
            PHOTOSHOP => l == "Credit",
            IPTC_EXT => l == "DigitalSourceType",
            _ => n == XMP_RIGHTS,
        };
        let kept: String = p.properties().iter().filter(|q| wanted(&q.namespace, &q.name)).map(|q| p.excerpt(q)).collect();
        if !kept.is_empty() {
            let mut packet = xmp::new_packet();
            if xmp::insert_descriptions(&mut packet, &kept) {
                out.xmp = Some(packet);
            }
        }
    }
    out.iptc = m.iptc.as_deref().map(minimal_iptc).filter(|i| !i.is_empty());
    out.text = m.text.iter().filter(|t| matches!(t.keyword.as_str(), "Author" | "Copyright")).cloned().collect();
    out
}

/// Character set (1:90), by-line (2:80), credit (2:110) and copyright notice (2:116) of IPTC-IIM 4.2 records.
fn minimal_iptc(mut iptc: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut said = false;
    while let Some(&[0x1c, record, set, hi, lo]) = iptc.first_chunk::<5>() {
        // A length of 32,768 and more is followed by more length bytes; none of the wanted sets is that long.
        let len = 5 + usize::from(u16::from_be_bytes([hi, lo]));
        let Some(all) = iptc.get(..len) else { break };
        let text = record == 2 && matches!(set, 80 | 110 | 116);
        if text || (record, set) == (1, 90) {
            out.extend_from_slice(all);
            said |= text;
        }
        iptc = &iptc[len..];
    }
    if said { out } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::exif::entries::{GPS_IFD, MAKE, USER_COMMENT};
    use super::super::xmp::EXIF;
    use super::*;
    use crate::codec::Text;

    fn value(m: &Metadata, namespace: &str, name: &str) -> Option<String> {
        Packet::scan(m.xmp.as_deref()?)?.value(namespace, name)
    }

    #[test]
    fn times_are_written_in_utc() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), want);
        }
    }

    #[test]
    fn history_and_source_type_are_added() {
        let event = |n: u32| Event {
            action: "resized".into(),
            parameters: format!("x{n}, model <m>"),
            software: "lastmile 1".into(),
            time: Some(0),
        };
        let changes = Changes {
            width: 8,
            height: 8,
            history: vec![event(2), event(4)],
            policy: Policy { source_type: Some(SourceType::new("trainedalgorithmicmedia").unwrap()), ..Policy::default() },
            ..Changes::default()
        };
        let (once, notes) = Metadata::default().changed(&changes);
        assert!(notes.is_empty());
        let (twice, _) = once.changed(&Changes { policy: Policy::default(), ..changes });
        assert_eq!(value(&twice, IPTC_EXT, "DigitalSourceType").unwrap(), format!("{VOCABULARY}trainedAlgorithmicMedia"));
        let text = twice.xmp.unwrap();
        let history = Packet::scan(&text).unwrap().structures(XMP_MM, "History");
        assert_eq!(history.len(), 4);
        let fields: Vec<_> = history[3].iter().map(|f| (f.1.as_str(), f.2.as_str())).collect();
        assert_eq!(
            fields,
            [("action", "resized"), ("parameters", "x4, model <m>"), ("softwareAgent", "lastmile 1"), ("when", "1970-01-01T00:00:00Z")]
        );
        assert!(SourceType::new("photo").unwrap_err().to_string().contains("trainedAlgorithmicMedia"));
        let broken = Metadata { xmp: Some(b"<rdf".to_vec()), ..Metadata::default() };
        assert!(broken.changed(&Changes { history: vec![Event::default()], ..Changes::default() }).1[0].contains("damaged"));
    }

    fn full() -> Metadata {
        let mut block = entries::empty();
        entries::add(
            &mut block,
            Which::Main,
            &[
                (ARTIST, Value::Ascii("me".into())),
                (MAKE, Value::Ascii("workflow:{\"nodes\":[]}".into())),
                (0x0131, Value::Ascii("tool".into())),
            ],
        );
        entries::add(&mut block, Which::Exif, &[(USER_COMMENT, entries::of_comment("secret cat\nSteps: 2, Seed: 1"))]);
        // A GPS directory with one value outside its entry.
        let at = block.len() as u32;
        block.extend(b"\0\x01\0\x1d\0\x02\0\0\0\x0b".iter().chain(&(at + 18).to_be_bytes()).chain(&[0; 4]));
        block.extend(b"2024:01:01\0");
        entries::add(&mut block, Which::Main, &[(GPS_IFD, Value::Long(at))]);
        let mut packet = None;
        xmp::set(&mut packet, DC, "dc", "rights", "mine & yours");
        xmp::set(&mut packet, EXIF, "exif", "GPSLatitude", "48,1N");
        xmp::set(&mut packet, IPTC_EXT, "Iptc4xmpExt", "DigitalSourceType", "http://x/trainedAlgorithmicMedia");
        Metadata {
            icc: Some(vec![1]),
            exif: Some(block),
            xmp: packet,
            iptc: Some(b"\x1c\x02\x50\0\x02me\x1c\x02\x78\0\x04text".to_vec()),
            text: vec![Text::new("parameters", "secret cat\nSteps: 2"), Text::new("Author", "me"), Text::new("my_graph", "{\"nodes\":[]}")],
            comment: Some(b"secret cat\nSteps: 2".to_vec()),
            dpi: Some((300.0, 300.0)),
            c2pa: None,
            hidden: None,
        }
    }

    fn changed(keep: Keep, strip: &[Strip]) -> Metadata {
        full()
            .changed(&Changes {
                width: 4,
                height: 4,
                policy: Policy { keep, strip: strip.to_vec(), source_type: None },
                ..Changes::default()
            })
            .0
    }

    #[test]
    fn gps_goes_and_the_rest_stays() {
        let m = changed(Keep::All, &[Strip::Gps]);
        let block = m.exif.as_ref().unwrap();
        assert!(!block.windows(4).any(|w| w == b"2024"), "GPS data is still in the block");
        assert_eq!(entries::bytes(block, Which::Main, GPS_IFD), None);
        assert_eq!(entries::text(block, Which::Main, ARTIST).as_deref(), Some("me"));
        assert_eq!(value(&m, EXIF, "GPSLatitude"), None);
        assert_eq!(value(&m, DC, "rights").as_deref(), Some("mine & yours"));
        assert_eq!(m.text, full().text);
        assert!(full().exif.unwrap().windows(4).any(|w| w == b"2024"));
    }

    #[test]
    fn no_prompt_is_left_anywhere() {
        let m = changed(Keep::All, &[Strip::Prompt]);
        assert_eq!((m.text.len(), m.comment.as_ref()), (1, None));
        let block = m.exif.as_ref().unwrap();
        assert_eq!((entries::user_comment(block), entries::text(block, Which::Main, MAKE)), (None, None));
        assert!(!block.windows(2).any(|w| w == b"\0s" || w == b"{\""), "a prompt is still in the block");
        assert_eq!(entries::text(block, Which::Main, 0x0131).as_deref(), Some("tool"));
        assert_eq!(super::super::generation(&m), None);
    }

    #[test]
    fn minimal_and_nothing_keep_what_they_say() {
        let m = changed(Keep::Minimal, &[]);
        assert_eq!((m.icc, m.dpi, m.comment), (Some(vec![1]), Some((300.0, 300.0)), None));
        assert_eq!(m.text, [Text::new("Author", "me")]);
        assert_eq!(m.iptc.as_deref(), Some(&b"\x1c\x02\x50\0\x02me"[..]));
        assert_eq!(entries::text(m.exif.as_ref().unwrap(), Which::Main, ARTIST).as_deref(), Some("me"));
        let p = m.xmp.clone().unwrap();
        let names: Vec<String> = Packet::scan(&p).unwrap().properties().into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["rights", "DigitalSourceType"]);
        let n = changed(Keep::Nothing, &[]);
        assert_eq!(n, Metadata { icc: Some(vec![1]), dpi: Some((300.0, 300.0)), ..Metadata::default() });
    }
}
