//! What `--strip` takes out: positions, and what generators were told.
//!
//! Prompts go by one rule for all places: first everything is read that a generator was told, then every value goes, wherever it
//! stands, that is a generator's own or repeats any of that. What cannot be taken apart is looked through at the end, as bytes;
//! a block that still holds some of it goes whole, and that is said.

use super::exif::entries::{self, GPS_IFD, Which};
use super::metadata::find;
use super::xmp::{self, Found, LASTMILE, Packet};
use super::{Metadata, exif, generation, ifd};

/// Removes positions.
pub(super) fn gps(m: &mut Metadata, notes: &mut Vec<String>) {
    if let Some(block) = &mut m.exif {
        for which in [Which::Main, Which::Exif] {
            entries::remove(block, which, |t| t == GPS_IFD);
            let said = entries::readings(block, which);
            entries::remove(block, which, |t| said.iter().any(|(tag, texts)| *tag == t && texts.iter().any(|t| names_position(t))));
        }
        if entries::says_nothing(block) {
            m.exif = None;
        }
    }
    xmp::cut(&mut m.xmp, |f| is_position(f.namespace, f.name));
    if m.xmp.as_deref().is_some_and(|x| Packet::scan(x).is_none_or(|p| names_position(&p.plain()))) {
        m.xmp = None;
        notes.push("its XMP packet still held a position where it could not be taken out, so it was left out as a whole".into());
    }
    m.text.retain(|t| {
        let name = t.keyword.rsplit(':').next().unwrap_or("");
        !is_position("", name) && !names_position(&t.value)
    });
    if m.comment.as_deref().is_some_and(|c| names_position(&String::from_utf8_lossy(c))) {
        m.comment = None;
    }
}

/// Whether a property or text of this name holds a position.
fn is_position(namespace: &str, name: &str) -> bool {
    const GEO: &str = "http://www.w3.org/2003/01/geo/wgs84_pos#";
    let name = name.to_ascii_lowercase();
    // `longtitude` is how a maker of drones writes it.
    name.starts_with("gps") || ["latitude", "longitude", "longtitude"].iter().any(|w| name.contains(w)) || namespace == GEO
}

/// Whether a text has properties of positions in it, as packets and lists of tags do.
fn names_position(text: &str) -> bool {
    text.len() > 8
        && ["gpslatitude", "gpslongitude", "gpslongtitude"]
            .iter()
            .any(|w| find(text.to_ascii_lowercase().as_bytes(), w.as_bytes()).is_some())
}

/// What generators were told, as far as the metadata says.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Prompts, folded: their parts are theirs as well.
    prompts: Vec<String>,
    /// Folded texts that no value may hold.
    texts: Vec<String>,
    /// Of these, in their own spelling, what is long enough to be looked for among bytes.
    bytes: Vec<String>,
}

/// Shorter texts of one word must be all of a value to make it a repetition.
const TELLING: usize = 12;
/// Texts in a graph's JSON from this length on are looked for elsewhere.
const PROSE: usize = 16;
/// No more texts are looked for: a graph may hold any number.
const MOST: usize = 4096;

impl Secrets {
    pub(super) fn of(m: &Metadata) -> Self {
        let mut all = Self::default();
        let mut look = |keyword: &str, text: &str| {
            if generation::is_keyword(keyword) || generation::is_generators(text) {
                let (prompts, others) = generation::told(text, keyword);
                prompts.iter().for_each(|p| all.prompt(p));
                let prose = |t: &&String| t.chars().count() >= PROSE && (t.trim().contains(char::is_whitespace) || !t.is_ascii());
                others.iter().filter(prose).for_each(|t| all.text(t));
            }
        };
        m.text.iter().for_each(|t| look(&t.keyword, &t.value));
        m.comment.iter().for_each(|c| look("", &eight_bit(c)));
        m.hidden.iter().for_each(|h| look("", &h.text));
        if let Some(block) = &m.exif {
            for which in [Which::Main, Which::Exif, Which::Thumbnail] {
                entries::readings(block, which).iter().flat_map(|r| &r.1).for_each(|t| look("", t));
            }
        }
        if let Some(p) = m.xmp.as_deref().and_then(Packet::scan) {
            p.everything().iter().for_each(|f| f.value.iter().for_each(|v| look(f.name, v)));
        }
        for (_, text) in m.iptc.iter().flat_map(|i| iptc_records(i)) {
            look("", &eight_bit(text));
        }
        for g in generation::generation(m).into_iter().chain(m.hidden.as_ref().and_then(|h| generation::generation_in(&h.text))) {
            all.prompt(&g.prompt);
            all.prompt(&g.negative);
        }
        all
    }

    fn prompt(&mut self, text: &str) {
        let one = folded(text);
        if one.chars().count() >= 3 && !self.prompts.contains(&one) && self.prompts.len() < MOST {
            self.prompts.push(one);
        }
        self.text(text);
        text.split(['\n', '\r']).filter(|l| l.chars().count() >= PROSE).for_each(|l| self.text(l));
    }

    fn text(&mut self, text: &str) {
        let one = folded(text);
        if one.chars().count() >= 3 && self.texts.len() < MOST && !self.texts.contains(&one) {
            self.texts.push(one);
            if telling(text.trim()) {
                self.bytes.push(text.trim().to_string());
            }
        }
    }

    /// Whether a value repeats something of it. `free` texts are those that people read, where a part of a prompt is a prompt.
    fn told_in(&self, value: &str, free: bool) -> bool {
        let one = folded(value);
        let holds = |v: &str| self.texts.iter().any(|t| if telling(t) { v.contains(t.as_str()) } else { v == t });
        holds(&one)
            || free && one.chars().count() >= TELLING && self.prompts.iter().any(|p| p.contains(&one))
            || generation::texts_of_json(value).iter().any(|v| holds(&folded(v)))
    }

    fn in_value(&self, value: &str, free: bool) -> bool {
        generation::is_generators(value) || self.told_in(value, free)
    }

    /// Whether it stands somewhere in a block, in any of the encodings that metadata have.
    fn in_bytes(&self, block: &[u8]) -> bool {
        let wide = |t: &str, order: fn(u16) -> [u8; 2]| t.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        self.bytes.iter().any(|t| {
            [t.clone().into_bytes(), wide(t, u16::to_le_bytes), wide(t, u16::to_be_bytes)].iter().any(|n| find(block, n).is_some())
        })
    }
}

/// Whether a text, if it stands in another one, cannot stand there by chance.
fn telling(text: &str) -> bool {
    text.chars().count() >= TELLING || text.contains(char::is_whitespace)
}

/// Small letters, and one space wherever there are any.
fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.trim_matches('\0').split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
    out
}

fn eight_bit(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|&b| char::from(b)).collect(), str::to_string)
}

/// Removes what generators wrote and what repeats it. `secrets` are those of the source.
pub(super) fn prompt(secrets: &Secrets, m: &mut Metadata, notes: &mut Vec<String>) {
    texts(secrets, m);
    if m.comment.as_deref().is_some_and(|c| secrets.in_value(&eight_bit(c), true)) {
        m.comment = None;
    }
    if let Some(block) = &mut m.exif {
        for which in [Which::Main, Which::Exif] {
            let said = entries::readings(block, which);
            let doomed = |(tag, texts): &(u16, Vec<String>)| texts.iter().any(|t| secrets.in_value(t, entries::is_free_text(*tag)));
            let doomed: Vec<u16> = said.iter().filter(|e| doomed(e)).map(|e| e.0).collect();
            entries::remove(block, which, |t| doomed.contains(&t));
        }
        if exif::is_valid(block) && entries::says_nothing(block) {
            m.exif = None;
        }
    }
    xmp::cut(&mut m.xmp, |f: &Found<'_>| {
        f.namespace == LASTMILE || generation::is_prompt_key(f.name) || f.value.as_deref().is_some_and(|v| secrets.in_value(v, true))
    });
    if let Some(iptc) = &mut m.iptc {
        let all = iptc_records(iptc);
        let kept: Vec<u8> = all.iter().filter(|(_, text)| !secrets.in_value(&eight_bit(text), true)).flat_map(|r| r.0).copied().collect();
        let end: usize = all.iter().map(|r| r.0.len()).sum();
        *iptc = [&kept, &iptc[end..]].concat();
    }
    check(secrets, m, notes);
}

/// PNG texts.
fn texts(secrets: &Secrets, m: &mut Metadata) {
    if generation::in_general_texts(m) {
        m.text.retain(|t| !matches!(t.keyword.as_str(), "Comment" | "Description" | "Source" | "Title" | "Generation time"));
    }
    let told = m.text.iter().any(|t| generation::is_prompt_key(&t.keyword));
    // ComfyUI writes everything that a node wishes beside its graphs, each under a keyword of its own, as JSON.
    let graphs = m.text.iter().any(|t| generation::is_graph(&t.value));
    let is_json = |t: &str| t.trim_start().starts_with(['{', '[', '"']) && serde_json::from_str::<serde::de::IgnoredAny>(t).is_ok();
    m.text.retain(|t| {
        let key = generation::is_keyword(&t.keyword) || told && generation::is_setting(&t.keyword) || graphs && is_json(&t.value);
        let translated = t.international.as_ref().is_some_and(|i| secrets.in_value(&i.translated_keyword, true));
        !key && !translated && !secrets.in_value(&t.value, true)
    });
}

/// The last look: blocks in which something is left go.
fn check(secrets: &Secrets, m: &mut Metadata, notes: &mut Vec<String>) {
    let mut gone =
        |what: &str| notes.push(format!("its {what} still held a prompt where it could not be taken out, and was left out as a whole"));
    if let Some(block) = m.exif.as_ref().filter(|b| secrets.in_bytes(b)) {
        // In what no directory points to, most likely: writing all directories anew leaves it behind.
        let anew = ifd::read(block).map(|d| ifd::block(&ifd::Directory { more: false, ..d }));
        m.exif = anew.filter(|b| exif::is_valid(b) && !secrets.in_bytes(b));
        if m.exif.is_none() {
            gone("EXIF block");
        }
    }
    let dirty = |x: &[u8]| {
        let plain = Packet::scan(x).map_or_else(|| eight_bit(x), |p| p.plain());
        let plain = folded(&plain);
        secrets.in_bytes(x) || secrets.texts.iter().any(|t| telling(t) && plain.contains(t.as_str()))
    };
    if m.xmp.as_deref().is_some_and(dirty) {
        m.xmp = None;
        gone("XMP packet");
    }
    if m.iptc.as_deref().is_some_and(|i| secrets.in_bytes(i)) {
        m.iptc = None;
        gone("IPTC block");
    }
    m.iptc = m.iptc.take().filter(|i| !i.is_empty());
}

/// The records of an IPTC-IIM 4.2 block, as far as it is sound: all of each, and its value.
fn iptc_records(iptc: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(&[0x1c, _, _, hi, lo]) = iptc.get(at..).and_then(|b| b.first_chunk::<5>()) {
        let stated = usize::from(u16::from_be_bytes([hi, lo]));
        // 1.5: with the highest bit set, this says how many bytes of length follow.
        let more = if stated & 0x8000 == 0 { 0 } else { stated & 0x7fff };
        let len = match more {
            0 => Some(stated),
            1..=8 => iptc.get(at + 5..at + 5 + more).map(|b| b.iter().fold(0, |v, &b| v << 8 | usize::from(b))),
            _ => None,
        };
        let start = at + 5 + more;
        let Some((value, end)) = len.and_then(|l| start.checked_add(l)).and_then(|end| Some((iptc.get(start..end)?, end))) else { break };
        all.push((&iptc[at..end], value));
        at = end;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::exif::entries::{IMAGE_DESCRIPTION, MAKE, MODEL, USER_COMMENT, Value, add, empty, of_comment};
    use super::super::xmp::{DC, EXIF, IPTC_EXT, PHOTOSHOP};
    use super::super::{Changes, Hidden, International, Policy, Strip, Text};
    use super::*;

    const SECRET: &str = "zebra on a unicycle";
    const PARAMETERS: &str = "zebra on a unicycle\nNegative prompt: blurry background\nSteps: 20, Sampler: Euler a, Seed: 1";
    const GRAPH: &str = r#"{"3":{"class_type":"KSampler","inputs":{"seed":1,"text":"zebra on a unicycle","positive":["3",0]}}}"#;
    const WORKFLOW: &str = r#"{"nodes":[{"id":1,"type":"x","widgets_values":["zebra on a unicycle"]}],"links":[]}"#;

    fn stripped(m: &Metadata, strip: Strip) -> (Metadata, Vec<String>) {
        let policy = Policy { strip: vec![strip], ..Policy::default() };
        m.changed(&Changes { width: 4, height: 4, policy, ..Changes::default() })
    }

    /// Nothing of the prompt is anywhere in it, in no encoding.
    fn clean(m: &Metadata, what: &str) {
        let said = format!("{:?}", Metadata { exif: None, xmp: None, iptc: None, comment: None, ..m.clone() });
        assert!(!said.contains("zebra") && !said.contains("blurry"), "{what}: {said}");
        for block in [&m.exif, &m.xmp, &m.iptc, &m.comment].into_iter().flatten() {
            for word in ["zebra", "blurry"] {
                let wide = |order: fn(u16) -> [u8; 2]| word.encode_utf16().flat_map(order).collect::<Vec<u8>>();
                for needle in [word.into(), wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
                    assert_eq!(find(block, &needle), None, "{what}: {}", String::from_utf8_lossy(block));
                }
            }
        }
    }

    fn exif(entries: &[(Which, u16, Value)]) -> Metadata {
        let mut block = empty();
        for (which, tag, value) in entries {
            assert!(add(&mut block, *which, &[(*tag, value.clone())]));
        }
        assert!(add(&mut block, Which::Main, &[(0x0131, Value::Ascii("tool".into()))]));
        Metadata { exif: Some(block), ..Metadata::default() }
    }

    fn texts(pairs: &[(&str, &str)]) -> Metadata {
        Metadata { text: pairs.iter().map(|(k, v)| Text::new(*k, *v)).collect(), ..Metadata::default() }
    }

    fn property(namespace: &str, name: &str, value: &str) -> Metadata {
        let mut packet = None;
        assert!(xmp::set(&mut packet, namespace, "p", name, value) && xmp::set(&mut packet, DC, "dc", "rights", "mine"));
        Metadata { xmp: packet, ..Metadata::default() }
    }

    #[test]
    fn a_prompt_goes_from_exif_however_it_is_written() {
        let ascii = |s: String| Value::Ascii(s);
        let wide = |s: &str| Value::Undefined(s.encode_utf16().flat_map(u16::to_le_bytes).collect());
        let comment = |code: &[u8], text: &[u8]| Value::Undefined([code, text].concat());
        let le: Vec<u8> = PARAMETERS.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = PARAMETERS.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let plain = PARAMETERS.as_bytes();
        let said = [
            comment(b"UNICODE\0", &le),
            comment(b"Unicode\0", &le),
            comment(b"UNICODE\0", plain),
            comment(b"JIS\0\0\0\0\0", plain),
            comment(&[0; 8], &be),
            comment(b"", plain),
            comment(b"ASCII\0\0\0", PARAMETERS.replace('\n', "\r\n").as_bytes()),
            comment(b"ASCII\0\0\0", PARAMETERS.replace('\n', "\r").as_bytes()),
            comment(b"ASCII\0\0\0", PARAMETERS.replace("Steps: ", "Steps:").as_bytes()),
            of_comment(WORKFLOW),
        ];
        for value in said {
            for which in [Which::Main, Which::Exif] {
                let m = exif(&[(which, USER_COMMENT, value.clone()), (Which::Main, IMAGE_DESCRIPTION, ascii(SECRET.to_string() + ", 8k"))]);
                let (out, notes) = stripped(&m, Strip::Prompt);
                clean(&out, &format!("{value:?}"));
                assert_eq!(entries::text(out.exif.as_ref().unwrap(), Which::Main, 0x0131).as_deref(), Some("tool"));
                // A graph alone says no prompt that could be looked for elsewhere, but its texts are.
                assert!(notes.is_empty(), "{value:?}: {notes:?}");
            }
        }
        for (a, b) in [
            (format!("Workflow:{WORKFLOW}"), format!("Prompt:{GRAPH}")),
            (format!("other_key:{WORKFLOW}"), format!("workflow: {WORKFLOW}")),
        ] {
            let m = exif(&[(Which::Main, IMAGE_DESCRIPTION, ascii(a)), (Which::Main, MAKE, ascii(b))]);
            clean(&stripped(&m, Strip::Prompt).0, "keyed graphs");
        }
        clean(&stripped(&exif(&[(Which::Main, 0x9c9c, wide(PARAMETERS))]), Strip::Prompt).0, "XPComment");
        let camera = exif(&[(Which::Main, MODEL, ascii("Model 1".into())), (Which::Exif, USER_COMMENT, of_comment("a holiday"))]);
        assert_eq!(stripped(&camera, Strip::Prompt).0.exif, camera.exif);
    }

    #[test]
    fn what_repeats_a_prompt_goes_with_it() {
        for (m, left) in [
            (texts(&[("parameters", PARAMETERS), ("Comment", SECRET), ("Description", "Zebra on a  unicycle."), ("Author", "me")]), 1),
            (texts(&[("prompt", SECRET), ("negative_prompt", "blurry background"), ("seed", "1"), ("Original Prompt", SECRET)]), 0),
            (texts(&[("Prompt", SECRET), ("Negative Prompt", "blurry"), ("Stable Diffusion model", "m"), ("Title", "mine")]), 1),
            (texts(&[("prompt", GRAPH), ("workflow", WORKFLOW), ("my_extra", "{\"p\":\"zebra\"}"), ("Title", "mine")]), 1),
            (texts(&[("UserComment", PARAMETERS), ("Software", "tool")]), 1),
        ] {
            let (out, _) = stripped(&m, Strip::Prompt);
            clean(&out, &format!("{m:?}"));
            assert_eq!(out.text.len(), left, "{:?}", out.text);
        }
        let translated = International { language: "en".into(), translated_keyword: SECRET.into() };
        let mut m = texts(&[("parameters", PARAMETERS), ("Title", "x")]);
        m.text[1].international = Some(translated);
        clean(&stripped(&m, Strip::Prompt).0, "a translated keyword");
        let hidden = Some(Hidden { text: PARAMETERS.into(), place: "alpha" });
        clean(&stripped(&Metadata { hidden, ..texts(&[("Title", SECRET)]) }, Strip::Prompt).0, "a hidden text");
        clean(&stripped(&Metadata { comment: Some(WORKFLOW.into()), ..Metadata::default() }, Strip::Prompt).0, "a comment");
    }

    #[test]
    fn a_prompt_goes_from_xmp_and_iptc() {
        for (namespace, name, value) in [
            (IPTC_EXT, "AIPromptInformation", SECRET),
            (DC, "description", PARAMETERS),
            (EXIF, "UserComment", PARAMETERS),
            (PHOTOSHOP, "Instructions", WORKFLOW),
        ] {
            let mut m = property(namespace, name, value);
            let item = "<rdf:li>kept</rdf:li><rdf:li>zebra &#111;n a unicycle</rdf:li>";
            let body = format!("<dc:subject><rdf:Bag>{item}</rdf:Bag></dc:subject>");
            assert!(xmp::insert(&mut m.xmp, &format!(" xmlns:dc=\"{DC}\""), &body));
            let (out, notes) = stripped(&m, Strip::Prompt);
            clean(&out, name);
            let packet = out.xmp.unwrap();
            let p = Packet::scan(&packet).unwrap();
            assert_eq!(
                (p.values(DC, "subject"), p.value(DC, "rights"), notes.len()),
                (vec!["kept".into()], Some("mine".into()), 0),
                "{name}"
            );
        }
        let record = |set: u8, text: &str| [&[0x1c, 2, set][..], &(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
        let iptc = [record(120, PARAMETERS), record(80, "me"), record(5, "zebra on a unicycle")].concat();
        let (out, _) = stripped(&Metadata { iptc: Some(iptc), ..Metadata::default() }, Strip::Prompt);
        assert_eq!(out.iptc, Some(record(80, "me")));
    }

    #[test]
    fn a_block_that_cannot_be_taken_apart_goes_whole_and_that_is_said() {
        // Behind everything that directories lead to.
        let mut m = exif(&[(Which::Exif, USER_COMMENT, of_comment(PARAMETERS))]);
        m.exif.as_mut().unwrap().extend(PARAMETERS.bytes());
        m.xmp = property(DC, "title", "x").xmp.map(|x| [&x[..], b"<!-- zebra on a unicycle -->"].concat());
        m.iptc = Some([&b"\x1c\x02\x50\0\x02me"[..], b"broken", SECRET.as_bytes()].concat());
        let (out, notes) = stripped(&m, Strip::Prompt);
        clean(&out, "leftovers");
        assert!(out.exif.is_some() && out.xmp.is_none() && out.iptc.is_none(), "{out:?}");
        assert!(notes.iter().any(|n| n.contains("XMP")) && notes.iter().any(|n| n.contains("IPTC")), "{notes:?}");
        for packet in [format!("<!DOCTYPE x><rdf:RDF>{SECRET}</rdf:RDF>"), format!("<RDF xmlns='{}'><a>{SECRET}</a></RDF>", xmp::RDF)] {
            for strip in [Strip::Prompt, Strip::Gps] {
                let (out, notes) = stripped(&Metadata { xmp: Some(packet.clone().into_bytes()), ..Metadata::default() }, strip);
                assert!(out.xmp.is_none() && notes[0].contains("XMP"), "{notes:?}");
            }
        }
    }

    #[test]
    fn a_position_goes_from_every_place() {
        let mut packet = None;
        let inside = "<i:LocationCreated><rdf:Bag><rdf:li rdf:parseType=\"Resource\"><i:City>Here</i:City><e:GPSLatitude>48,1N</e:GPSLatitude>\
            </rdf:li></rdf:Bag></i:LocationCreated><d:GpsLongtitude>11</d:GpsLongtitude>";
        let declared = format!(" xmlns:i=\"{IPTC_EXT}\" xmlns:e=\"{EXIF}\" xmlns:d=\"http://www.dji.com/drone-dji/1.0/\"");
        assert!(xmp::insert(&mut packet, &declared, inside));
        let pairs = [("exif:GPSLatitude", "48/1"), ("Raw", "<x exif:GPSLatitude='48'/>"), ("Title", "mine")];
        let m = Metadata { xmp: packet, comment: Some(b"GPSLatitude: 48.1".to_vec()), ..texts(&pairs) };
        let (out, notes) = stripped(&m, Strip::Gps);
        let said = String::from_utf8(out.xmp.unwrap()).unwrap();
        assert!(said.contains("<i:City>Here</i:City>") && !said.to_lowercase().contains("gps"), "{said}");
        assert_eq!((out.text, out.comment, notes.len()), (vec![Text::new("Title", "mine")], None, 0));
        let hidden = property(DC, "title", "x").xmp.map(|x| [&x[..], b"<!-- exif:GPSLatitude='48' -->"].concat());
        let (out, notes) = stripped(&Metadata { xmp: hidden, ..Metadata::default() }, Strip::Gps);
        assert!(out.xmp.is_none() && notes.len() == 1);
    }

    #[test]
    fn iptc_records_of_every_length_are_found() {
        let long = [&[0x1c, 2, 120, 0x80, 4, 0, 0, 0, 3][..], b"abc"].concat();
        let both = [&long[..], &[0x1c, 2, 5, 0, 1, b'x'], b"\x1c\x02\x05\0\x09cut"].concat();
        let found = iptc_records(&both);
        assert_eq!(found.iter().map(|r| r.1).collect::<Vec<_>>(), [&b"abc"[..], b"x"]);
        assert_eq!(found[0].0, long);
    }
}
