//! Metadata from one container's places to another's, and back.
//!
//! | what | PNG | JPEG | WebP | TIFF |
//! |---|---|---|---|---|
//! | text chunks | tEXt, iTXt | XMP `lastmile:PngText` (exact: keyword, value, language; `lastmile:Coding` `percent` where XML lacks a character) | likewise | likewise |
//! | text `parameters` | | besides, EXIF UserComment (`UNICODE`, UTF-16BE), where A1111, Forge, SwarmUI and Fooocus look | likewise | likewise |
//! | text `workflow`, `prompt` holding JSON | | besides, EXIF Make `workflow:{...}` and Model `prompt:{...}`, where ComfyUI looks | likewise | likewise |
//! | comment | text `Comment` | COM | XMP `lastmile:Comment` | likewise |
//! | IPTC-IIM | zTXt `Raw profile type iptc` | APP13 | EXIF tag 33723 | tag 33723 |
//! | resolution | pHYs | JFIF density | EXIF | XResolution, YResolution |
//!
//! EXIF entries are only added where the block has none of that tag, so a camera's own stay. Reading takes the copies out again
//! when they say the same as the exact form, so a picture that goes round comes back with what it had. A UserComment or
//! Make/Model that a generator wrote itself becomes PNG text when a PNG is written, and stays in the EXIF block too. An EXIF block
//! that is too large for a JPEG is made to fit: first such data goes into XMP, which may be of any size there, then the largest
//! entries are left out, and that is said.

use std::borrow::Cow;

use super::exif::entries::{self, IPTC, MAKE, MODEL, USER_COMMENT, Value, Which};
use super::ifd::{self, Directory};
use super::metadata::{JPEG_SEGMENT, MAKER_NOTE, find};
use super::xmp::{self, LASTMILE, Packet};
use super::{Format, International, Metadata, Text, exif, generation};

/// Keyword in PNG, EXIF tag and what stands before the text there (ComfyUI's own way in WebP).
const COMFY: [(&str, u16, &str); 2] = [("prompt", MODEL, "prompt:"), ("workflow", MAKE, "workflow:")];

/// The most an EXIF block in a JPEG segment can hold.
const JPEG_EXIF: usize = JPEG_SEGMENT - 6;

/// The metadata as `format` holds it, and what of it has no place there, one plain sentence each.
pub(super) fn into(format: Format, m: &Metadata) -> (Cow<'_, Metadata>, Vec<String>) {
    let mut lost = Vec::new();
    let mut out = Cow::Borrowed(m);
    if format == Format::Png {
        for text in generator_texts(m) {
            out.to_mut().text.push(text);
        }
        return (out, lost);
    }
    if format == Format::Jpeg && m.exif.as_ref().is_some_and(|b| b.len() > JPEG_EXIF && exif::is_valid(b)) {
        fit_exif(out.to_mut(), &mut lost);
    }
    if !out.text.is_empty() {
        let out = out.to_mut();
        texts_into_xmp(format, out, &mut lost);
        texts_into_exif(format, out);
        let comment = out.text.iter().find(|t| t.keyword == "Comment" && t.value.len() <= JPEG_SEGMENT);
        if let Some(t) = comment.filter(|_| format == Format::Jpeg && out.comment.is_none()) {
            out.comment = Some(t.value.clone().into_bytes());
        }
        out.text.clear();
    }
    if matches!(format, Format::WebP | Format::Tiff | Format::Avif)
        && let Some(comment) = &m.comment
    {
        let said = latin1_or_utf8(comment);
        let out = out.to_mut();
        if !xmp::is_xml(&said) || !xmp::set(&mut out.xmp, LASTMILE, "lastmile", "Comment", &said) {
            lost.push(format!("the JPEG comment cannot be stored in a {} file's XMP packet and was left out", format.name()));
        }
        out.comment = None;
    }
    if matches!(format, Format::WebP | Format::Avif) {
        if let Some(iptc) = &m.iptc {
            let out = out.to_mut();
            let block = out.exif.get_or_insert_with(entries::empty);
            if entries::add(block, Which::Main, &[(IPTC, Value::Undefined(iptc.clone()))]) {
                out.iptc = None;
            }
        }
        if let Some((x, y)) = m.dpi {
            let block = out.to_mut().exif.get_or_insert_with(entries::empty);
            if exif::dpi(block).is_none_or(|(bx, by)| (bx - x).abs() > 0.5 || (by - y).abs() > 0.5)
                && exif::set_dpi(block, (x, y)) != exif::Patched::Yes
            {
                exif::add_dpi(block, (x, y));
            }
        }
    }
    (out, lost)
}

fn latin1_or_utf8(bytes: &[u8]) -> String {
    let said = std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|&b| char::from(b)).collect(), str::to_string);
    said.trim_end_matches('\0').to_string()
}

/// Makes an EXIF block fit a JPEG segment: what generators put there becomes text, then the largest entries go.
fn fit_exif(m: &mut Metadata, lost: &mut Vec<String>) {
    m.text.extend(generator_texts(m));
    copies_out_of_exif(m);
    let Some(mut dir) = m.exif.as_deref().and_then(ifd::read) else { return };
    let mut gone = Vec::new();
    while at_most(&dir) > JPEG_EXIF {
        let Some((tag, bytes)) = drop_largest(&mut dir) else { break };
        gone.push(format!("{} ({bytes} bytes)", entry_name(tag)));
    }
    let block = ifd::block(&dir);
    if !gone.is_empty() {
        const NAMED: usize = 5;
        let (those, more) = (if gone.len() == 1 { "was" } else { "were" }, gone.len().saturating_sub(NAMED));
        gone.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} smaller ones") } else { String::new() };
        lost.push(format!("the EXIF block is larger than a JPEG file can hold: its {}{more} {those} left out", gone.join(", ")));
    }
    let maker_note = |d: &Directory| d.subs.iter().any(|(_, sub)| sub.find(MAKER_NOTE).is_some());
    if maker_note(&dir) {
        lost.push("the camera's maker note had to be moved; offsets inside it may no longer lead anywhere".into());
    }
    m.exif = (!entries::says_nothing(&block)).then_some(block);
}

/// The most bytes that a directory takes as a block.
fn at_most(dir: &Directory) -> usize {
    let values: usize = dir.fields.iter().map(|f| 12 + if f.data.len() > 4 { f.data.len() + 7 } else { 0 }).sum();
    24 + values + dir.subs.iter().map(|(_, sub)| 12 + at_most(sub)).sum::<usize>()
}

/// Takes the largest entry out of a directory and those below it; its tag and bytes.
fn drop_largest(dir: &mut Directory) -> Option<(u16, usize)> {
    fn largest(dir: &Directory) -> usize {
        dir.fields.iter().map(|f| f.data.len()).chain(dir.subs.iter().map(|(_, sub)| largest(sub))).max().unwrap_or(0)
    }
    let most = largest(dir);
    if let Some(i) = dir.fields.iter().position(|f| f.data.len() == most) {
        return Some((dir.fields.remove(i).tag, most));
    }
    dir.subs.iter_mut().map(|(_, sub)| sub).find(|sub| largest(sub) == most).and_then(drop_largest)
}

fn entry_name(tag: u16) -> String {
    let name = match tag {
        MAKER_NOTE => "MakerNote",
        USER_COMMENT => "UserComment",
        entries::IMAGE_DESCRIPTION => "ImageDescription",
        MAKE => "Make",
        MODEL => "Model",
        _ => return format!("tag 0x{tag:04x}"),
    };
    name.into()
}

/// PNG texts for what a generator wrote into EXIF, unless there are such texts.
fn generator_texts(m: &Metadata) -> Vec<Text> {
    let Some(block) = &m.exif else { return Vec::new() };
    let mut found = Vec::new();
    let has = |keyword: &str| m.text.iter().any(|t| t.keyword == keyword);
    for (keyword, tag, head) in COMFY {
        let said = entries::text(block, Which::Main, tag).and_then(|s| s.strip_prefix(head).map(str::to_string));
        if let Some(value) = said.filter(|v| !has(keyword) && v.trim_start().starts_with('{')) {
            found.push(Text::new(keyword, value));
        }
    }
    if !has("parameters")
        && let Some(said) = entries::user_comment(block).filter(|s| generation::is_parameters(s))
    {
        found.push(Text::new("parameters", said));
    }
    found
}

/// Writes every text, exactly, as `lastmile:PngText`.
fn texts_into_xmp(format: Format, m: &mut Metadata, lost: &mut Vec<String>) {
    let mut items = String::new();
    let mut refused: Vec<String> = Vec::new();
    for t in &m.text {
        if !xmp::is_xml(&t.keyword) {
            refused.push(format!("`{}`", t.keyword.escape_debug()));
            continue;
        }
        let mut item = field("Keyword", &t.keyword);
        item += &match xmp::is_xml(&t.value) {
            true => field("Value", &t.value),
            false => field("Value", &percent(&t.value)) + &field("Coding", PERCENT),
        };
        if let Some(i) = &t.international {
            item += &field("Language", &i.language);
            item += &field("TranslatedKeyword", &i.translated_keyword);
        }
        items += &format!("<rdf:li rdf:parseType=\"Resource\">{item}</rdf:li>");
    }
    xmp::remove(&mut m.xmp, |n, l| n == LASTMILE && l == "PngText");
    let body = format!("<lastmile:PngText><rdf:Seq>{items}</rdf:Seq></lastmile:PngText>");
    if !items.is_empty() && !xmp::insert(&mut m.xmp, &format!(" xmlns:lastmile=\"{LASTMILE}\""), &body) {
        refused = m.text.iter().map(|t| format!("`{}`", t.keyword)).collect();
    }
    refused.dedup();
    if !refused.is_empty() {
        let name = format.name();
        lost.push(format!("the PNG text {} cannot be stored in a {name} file's XMP packet and was left out", refused.join(", ")));
    }
}

fn field(name: &str, value: &str) -> String {
    format!("<lastmile:{name}>{}</lastmile:{name}>", xmp::escape_text(value))
}

/// How a value is written that has characters which XML lacks.
const PERCENT: &str = "percent";

/// `%` and the characters that XML lacks as `%XX`, byte by byte in UTF-8.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut four = [0; 4];
    for c in text.chars() {
        let one = c.encode_utf8(&mut four);
        if c == '%' || !xmp::is_xml(one) {
            one.bytes().for_each(|b| out += &format!("%{b:02X}"));
        } else {
            out += one;
        }
    }
    out
}

/// Undoes [`percent`]; none for what it did not write.
fn unpercent(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        if b == b'%' {
            let (code, after) = rest.split_first_chunk::<2>()?;
            rest = after;
            out.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// Puts copies where the generators' own readers look, as far as there is room and nothing stands there.
fn texts_into_exif(format: Format, m: &mut Metadata) {
    let room = if format == Format::Jpeg { JPEG_EXIF } else { usize::MAX };
    let mut block = m.exif.clone().unwrap_or_else(entries::empty);
    let before = block.len();
    let mut put = |which: Which, tag: u16, value: Value| {
        let mut longer = block.clone();
        if entries::bytes(&block, which, tag).is_none() && entries::add(&mut longer, which, &[(tag, value)]) && longer.len() <= room {
            block = longer;
        }
    };
    let text = |keyword: &str| m.text.iter().find(|t| t.keyword == keyword).map(|t| t.value.as_str());
    if let Some(value) = text("parameters") {
        put(Which::Exif, USER_COMMENT, entries::of_comment(value));
    }
    for (keyword, tag, head) in COMFY {
        if let Some(value) = text(keyword).filter(|v| v.trim_start().starts_with('{') && !v.contains('\0')) {
            put(Which::Main, tag, Value::Ascii(format!("{head}{value}")));
        }
    }
    if block.len() > before {
        m.exif = Some(block);
    }
}

/// Undoes [`into`] on what was read from a file.
pub(super) fn out_of(m: &mut Metadata) {
    if let Some(p) = m.xmp.as_deref().filter(|x| find(x, LASTMILE.as_bytes()).is_some()).and_then(Packet::scan) {
        let texts = p.structures(LASTMILE, "PngText").into_iter().filter_map(|fields| {
            let get = |name: &str| fields.iter().find(|f| f.0 == LASTMILE && f.1 == name).map(|f| f.2.clone());
            let international = get("Language")
                .map(|language| International { language, translated_keyword: get("TranslatedKeyword").unwrap_or_default() });
            let value = get("Value")?;
            let value = if get("Coding").as_deref() == Some(PERCENT) { unpercent(&value).unwrap_or(value) } else { value };
            Some(Text { keyword: get("Keyword")?, value, international })
        });
        let (texts, comment) = (texts.collect::<Vec<_>>(), p.value(LASTMILE, "Comment"));
        if m.text.is_empty() {
            m.text = texts;
            copies_out_of_exif(m);
        }
        if m.comment.is_none() {
            m.comment = comment.map(String::into_bytes);
        }
        xmp::remove(&mut m.xmp, |n, l| n == LASTMILE && matches!(l, "PngText" | "Comment"));
        if m.comment.as_deref().is_some_and(|c| m.text.iter().any(|t| t.keyword == "Comment" && t.value.as_bytes() == c)) {
            m.comment = None;
        }
    }
    if let Some(block) = &mut m.exif
        && let Some(iptc) = entries::bytes(block, Which::Main, IPTC).map(<[u8]>::to_vec)
    {
        entries::remove(block, Which::Main, |t| t == IPTC);
        m.iptc.get_or_insert(iptc);
    }
    if m.exif.as_deref().is_some_and(entries::says_nothing) {
        m.exif = None;
    }
}

/// Takes entries out that say the same as a text.
fn copies_out_of_exif(m: &mut Metadata) {
    let Some(block) = &mut m.exif else { return };
    let text = |keyword: &str| m.text.iter().find(|t| t.keyword == keyword).map(|t| t.value.as_str());
    if text("parameters").is_some_and(|v| entries::user_comment(block).as_deref() == Some(v.trim_end_matches(['\0', ' ']))) {
        entries::remove(block, Which::Exif, |t| t == USER_COMMENT);
    }
    for (keyword, tag, head) in COMFY {
        let said = entries::text(block, Which::Main, tag);
        if text(keyword).is_some_and(|v| said.as_deref().and_then(|s| s.strip_prefix(head)) == Some(v)) {
            entries::remove(block, Which::Main, |t| t == tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<Text> {
        let international = Some(International { language: "fr".into(), translated_keyword: "Titre".into() });
        vec![
            Text::new("parameters", "a cat\nNegative prompt: dog\r\nSteps: 20, Sampler: Euler a"),
            Text::new("prompt", "{\"1\": {\"x\": \"<&\\\"\"}}"),
            Text::new("workflow", "{\"nodes\": []}"),
            Text::new("Comment", "caf\u{e9}  "),
            Text { keyword: "Title".into(), value: "\u{732b}".into(), international },
            Text { keyword: "Empty".into(), value: String::new(), international: Some(International::default()) },
        ]
    }

    #[test]
    fn texts_go_round_through_every_container() {
        for exif in [None, Some(exif::tests::sample(true, 1)), Some(exif::tests::sample(false, 1))] {
            for format in [Format::Jpeg, Format::WebP, Format::Tiff] {
                let m = Metadata { text: texts(), exif: exif.clone(), iptc: Some(vec![0x1c, 2, 3]), ..Metadata::default() };
                let (there, lost) = into(format, &m);
                assert!(lost.is_empty() && there.text.is_empty(), "{lost:?}");
                let block = there.exif.as_deref().unwrap();
                assert_eq!(entries::user_comment(block).as_deref(), Some(m.text[0].value.as_str()));
                assert_eq!(entries::text(block, Which::Main, MAKE).as_deref(), Some("workflow:{\"nodes\": []}"));
                let mut back = there.into_owned();
                out_of(&mut back);
                assert_eq!((&back.text, &back.iptc, &back.xmp, &back.comment), (&m.text, &m.iptc, &None, &None), "{format:?}");
                assert_eq!(back.exif.is_some(), exif.is_some());
                if let Some(block) = back.exif {
                    assert_eq!(entries::bytes(&block, Which::Exif, 0x927c), Some(&b"MAKERNOT"[..]));
                    assert_eq!(entries::user_comment(&block), None);
                }
            }
        }
    }

    #[test]
    fn what_a_generator_put_into_exif_becomes_text_in_a_png() {
        let mut block = entries::empty();
        entries::add(&mut block, Which::Exif, &[(USER_COMMENT, entries::of_comment("a cat\nSteps: 20, Seed: 5"))]);
        entries::add(&mut block, Which::Main, &[(MODEL, Value::Ascii("prompt:{\"1\":{}}".into())), (MAKE, Value::Ascii("Canon".into()))]);
        let m = Metadata { exif: Some(block.clone()), ..Metadata::default() };
        let (there, _) = into(Format::Png, &m);
        assert_eq!(there.text, [Text::new("prompt", "{\"1\":{}}"), Text::new("parameters", "a cat\nSteps: 20, Seed: 5")]);
        assert_eq!(there.exif, Some(block));
        let mut holiday = entries::empty();
        entries::add(&mut holiday, Which::Exif, &[(USER_COMMENT, entries::of_comment("holiday in June"))]);
        assert!(into(Format::Png, &Metadata { exif: Some(holiday), ..Metadata::default() }).0.text.is_empty());
    }

    #[test]
    fn a_cameras_own_entries_are_not_replaced() {
        let mut block = entries::empty();
        entries::add(&mut block, Which::Main, &[(MAKE, Value::Ascii("Canon".into()))]);
        entries::add(&mut block, Which::Exif, &[(USER_COMMENT, entries::of_comment("mine"))]);
        let m = Metadata { exif: Some(block), text: texts(), ..Metadata::default() };
        let (there, _) = into(Format::WebP, &m);
        let there = there.exif.as_deref().unwrap();
        assert_eq!(entries::text(there, Which::Main, MAKE).as_deref(), Some("Canon"));
        assert_eq!(entries::user_comment(there).as_deref(), Some("mine"));
    }

    #[test]
    fn what_xml_cannot_hold_is_said() {
        let m = Metadata { text: vec![Text::new("a\u{1}", "x"), Text::new("b", "fine")], ..Metadata::default() };
        let (there, lost) = into(Format::Jpeg, &m);
        assert!(lost[0].contains("`a\\u{1}`") && !lost[0].contains("`b`"), "{lost:?}");
        let mut back = there.into_owned();
        out_of(&mut back);
        assert_eq!(back.text, [Text::new("b", "fine")]);
        let odd = Metadata { xmp: Some(b"not a packet".to_vec()), comment: Some(b"c".to_vec()), ..m };
        assert_eq!(into(Format::WebP, &odd).1.len(), 2);
    }

    #[test]
    fn characters_that_xml_lacks_go_round() {
        let odd = "page one\u{c}100 % \u{1b}[1m\0caf\u{e9}\u{fffe} \"quoted\" <&>";
        let m = Metadata { text: vec![Text::new("parameters", odd), Text::new("b", "100 %41")], ..Metadata::default() };
        for format in [Format::Jpeg, Format::WebP, Format::Tiff] {
            let (there, lost) = into(format, &m);
            assert!(lost.is_empty(), "{lost:?}");
            let packet = String::from_utf8(there.xmp.clone().unwrap()).unwrap();
            assert!(packet.contains("\"quoted\" &lt;&amp;&gt;") && packet.contains("%0C100 %25"), "{packet}");
            let mut back = there.into_owned();
            out_of(&mut back);
            assert_eq!(back.text, m.text);
        }
        assert_eq!((unpercent("%4"), unpercent("%zz"), unpercent("%ff")), (None, None, None));
    }

    #[test]
    fn the_resolution_gets_into_a_block_that_has_none() {
        let mut block = entries::empty();
        entries::add(&mut block, Which::Main, &[(MAKE, Value::Ascii("Canon".into()))]);
        let m = Metadata { exif: Some(block), dpi: Some((300.0, 300.0)), ..Metadata::default() };
        let (there, _) = into(Format::WebP, &m);
        assert_eq!(exif::dpi(there.exif.as_ref().unwrap()), Some((300.0, 300.0)));
    }
}
