//! Entries put into and taken out of EXIF blocks while everything else stays at its place.
//!
//! A directory that grows is copied behind the end of the block, with its new values, and linked from there; what its old
//! entries point to does not move. So a MakerNote, whose inner offsets count from the start of the block, stays whole.
//!
//! Over 500 lines because adding, changing, blanking and reading share one notion of where a value stands.

use super::{
    ASCII, EXIF_IFD, Entry, LONG, RATIONAL, SHORT, UNDEFINED, entries, ifd0, integer, little, put, put_integer, put_u16, put_u32, u16_at,
    u32_at,
};

pub(in crate::codec) const IMAGE_DESCRIPTION: u16 = 0x010e;
pub(in crate::codec) const MAKE: u16 = 0x010f;
pub(in crate::codec) const MODEL: u16 = 0x0110;
pub(in crate::codec) const ARTIST: u16 = 0x013b;
pub(in crate::codec) const COPYRIGHT: u16 = 0x8298;
/// IPTC-IIM records; TIFF's place for them, which readers accept in an EXIF block too.
pub(in crate::codec) const IPTC: u16 = 0x83bb;
pub(in crate::codec) const GPS_IFD: u16 = 0x8825;
const INTEROPERABILITY: u16 = 0xa005;
pub(in crate::codec) const USER_COMMENT: u16 = 0x9286;

/// Which directory of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) enum Which {
    /// IFD0.
    Main,
    /// The EXIF directory that IFD0 points to.
    Exif,
    /// IFD1, which is only read: it goes with the thumbnail.
    Thumbnail,
    /// What the EXIF directory points to; it says which rules for files are followed. Only what it has is changed.
    Interoperability,
}

/// A value to be added.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::codec) enum Value {
    /// A text; the final NUL is added.
    Ascii(String),
    Undefined(Vec<u8>),
    Short(u16),
    Long(u32),
    Rational(u32, u32),
}

impl Value {
    /// Field type, count and bytes.
    fn encode(&self, little: bool) -> (u16, usize, Vec<u8>) {
        let long = |v: u32| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        match self {
            Self::Ascii(s) => (ASCII, s.len() + 1, [s.as_bytes(), b"\0"].concat()),
            Self::Undefined(b) => (UNDEFINED, b.len(), b.clone()),
            Self::Short(v) => (SHORT, 1, if little { v.to_le_bytes() } else { v.to_be_bytes() }.to_vec()),
            Self::Long(v) => (LONG, 1, long(*v).to_vec()),
            Self::Rational(n, d) => (RATIONAL, 1, [long(*n), long(*d)].concat()),
        }
    }
}

/// A block with an empty first directory.
pub(in crate::codec) fn empty() -> Vec<u8> {
    b"MM\0*\0\0\0\x08\0\0\0\0\0\0".to_vec()
}

/// Puts entries into a directory, replacing those of the same tag. False, and nothing changed, if the block is not sound.
pub(in crate::codec) fn add(block: &mut Vec<u8>, which: Which, new: &[(u16, Value)]) -> bool {
    let before = block.len();
    let done = match which {
        Which::Main => grow_main(block, new),
        Which::Exif => grow_exif(block, new),
        Which::Thumbnail | Which::Interoperability => None,
    };
    if done.is_none() {
        block.truncate(before);
    }
    done.is_some()
}

fn grow_main(block: &mut Vec<u8>, new: &[(u16, Value)]) -> Option<()> {
    let (little, list, next) = ifd0(block)?;
    let next = u32_at(block, next, little).unwrap_or(0);
    let at = append(block, little, &list, new, next)?;
    put_u32(block, 4, at, little)
}

fn grow_exif(block: &mut Vec<u8>, new: &[(u16, Value)]) -> Option<()> {
    let (little, main, _) = ifd0(block)?;
    let list = match main.iter().find(|e| e.tag == EXIF_IFD) {
        Some(e) => entries(block, u32_at(block, e.at, little)? as usize, little)?.0,
        None => Vec::new(),
    };
    let at = append(block, little, &list, new, 0)?;
    match main.iter().find(|e| e.tag == EXIF_IFD) {
        Some(e) => put_u32(block, e.at, at, little),
        None => grow_main(block, &[(EXIF_IFD, Value::Long(at))]),
    }
}

/// Writes old entries and new ones behind the end of the block and says where.
fn append(block: &mut Vec<u8>, little: bool, old: &[Entry], new: &[(u16, Value)], next: u32) -> Option<u32> {
    let mut all: Vec<(u16, [u8; 12])> = Vec::new();
    for e in old.iter().filter(|e| !new.iter().any(|n| n.0 == e.tag)) {
        all.push((e.tag, block.get(e.at - 8..e.at + 4)?.try_into().ok()?));
    }
    for (tag, value) in new {
        let (kind, count, bytes) = value.encode(little);
        let mut raw = [0; 12];
        put_u16(&mut raw, 0, *tag, little)?;
        put_u16(&mut raw, 2, kind, little)?;
        put_u32(&mut raw, 4, u32::try_from(count).ok()?, little)?;
        if bytes.len() <= 4 {
            put(&mut raw, 8, &bytes)?;
        } else {
            pad(block);
            put_u32(&mut raw, 8, u32::try_from(block.len()).ok()?, little)?;
            block.extend(bytes);
        }
        all.push((*tag, raw));
    }
    all.sort_by_key(|e| e.0);
    pad(block);
    let at = u32::try_from(block.len()).ok()?;
    let count = u16::try_from(all.len()).ok()?;
    block.extend(if little { count.to_le_bytes() } else { count.to_be_bytes() });
    all.iter().for_each(|(_, raw)| block.extend(raw));
    block.extend(if little { next.to_le_bytes() } else { next.to_be_bytes() });
    Some(at)
}

/// TIFF 6.0 asks for even offsets.
fn pad(block: &mut Vec<u8>) {
    if block.len() % 2 == 1 {
        block.push(0);
    }
}

fn directory(block: &[u8], which: Which) -> Option<(bool, usize)> {
    let little = little(block)?;
    let at = u32_at(block, 4, little)? as usize;
    if which == Which::Main {
        return Some((little, at));
    }
    let (list, next) = entries(block, at, little)?;
    if which == Which::Thumbnail {
        return u32_at(block, next, little).filter(|&at| at >= 8).map(|at| (little, at as usize));
    }
    let exif = u32_at(block, list.iter().find(|e| e.tag == EXIF_IFD)?.at, little)? as usize;
    if which == Which::Interoperability {
        let (list, _) = entries(block, exif, little)?;
        return Some((little, u32_at(block, list.iter().find(|e| e.tag == INTEROPERABILITY)?.at, little)? as usize));
    }
    Some((little, exif))
}

/// A single whole number.
pub(in crate::codec) fn number(block: &[u8], which: Which, tag: u16) -> Option<u32> {
    let (little, at) = directory(block, which)?;
    let (list, _) = entries(block, at, little)?;
    integer(block, list.iter().find(|e| e.tag == tag)?, little)
}

/// Sets a single whole number where it is.
pub(in crate::codec) fn set_number(block: &mut [u8], which: Which, tag: u16, value: u32) {
    let Some((little, at)) = directory(block, which) else { return };
    let Some((list, _)) = entries(block, at, little) else { return };
    for e in list.iter().filter(|e| e.tag == tag) {
        put_integer(block, e, value, little);
    }
}

/// Puts other bytes in the place of a value of as many bytes.
pub(in crate::codec) fn overwrite(block: &mut [u8], which: Which, tag: u16, new: &[u8]) -> bool {
    let Some((little, at)) = directory(block, which) else { return false };
    let Some((list, _)) = entries(block, at, little) else { return false };
    let Some(e) = list.iter().find(|e| e.tag == tag) else { return false };
    let at = outside(block, e, little).map_or(e.at, |span| span.start);
    let len = super::super::ifd::width(e.kind).checked_mul(e.count as usize);
    len == Some(new.len()) && put(block, at, new).is_some()
}

/// A list of SHORT where it is, each value replaced by what `change` (its place, itself) makes of it. None if there is no such
/// list; false, and nothing changed, if one has no new value.
pub(in crate::codec) fn map_shorts(block: &mut [u8], which: Which, tag: u16, change: impl Fn(usize, u16) -> Option<u16>) -> Option<bool> {
    let (little, at) = directory(block, which)?;
    let (list, _) = entries(block, at, little)?;
    let e = list.iter().find(|e| e.tag == tag)?;
    let at = outside(block, e, little).map_or(e.at, |span| span.start);
    let n = (e.count as usize).min(16);
    if e.kind != SHORT || e.count > 16 {
        return Some(false);
    }
    let new: Option<Vec<u16>> = (0..n).map(|i| change(i, u16_at(block, at + 2 * i, little)?)).collect();
    let Some(new) = new else { return Some(false) };
    for (i, v) in new.into_iter().enumerate() {
        put_u16(block, at + 2 * i, v, little);
    }
    Some(true)
}

/// Takes the entries out that `doomed` names, blanking their values; a directory pointed to is blanked whole.
pub(in crate::codec) fn remove(block: &mut [u8], which: Which, doomed: impl Fn(u16) -> bool) -> bool {
    let Some((little, at)) = directory(block, which) else { return false };
    let Some((list, end)) = entries(block, at, little) else { return false };
    if !list.iter().any(|e| doomed(e.tag)) {
        return false;
    }
    let next: Vec<u8> = block.get(end..end.saturating_add(4)).map_or_else(|| vec![0; 4], <[u8]>::to_vec);
    let kept: Vec<u8> =
        list.iter().filter(|e| !doomed(e.tag)).flat_map(|e| block.get(e.at - 8..e.at + 4).unwrap_or(&[]).to_vec()).collect();
    for e in list.iter().filter(|e| doomed(e.tag)) {
        if e.tag == GPS_IFD {
            let sub = u32_at(block, e.at, little).map_or(usize::MAX, |v| v as usize);
            let inner = entries(block, sub, little).map(|(l, _)| l).unwrap_or_default();
            inner.iter().for_each(|e| blank(block, e, little));
            if let Some(b) = block.get_mut(sub..(sub.saturating_add(2 + inner.len() * 12))) {
                b.fill(0);
            }
        } else {
            blank(block, e, little);
        }
    }
    let stop = (end + 4).min(block.len());
    if let Some(b) = block.get_mut(at + 2..stop) {
        b.fill(0);
    }
    put_u16(block, at, (kept.len() / 12) as u16, little);
    put(block, at + 2, &kept);
    put(block, at + 2 + kept.len(), &next);
    true
}

/// Where a value that does not fit its entry stands.
fn outside(block: &[u8], e: &Entry, little: bool) -> Option<std::ops::Range<usize>> {
    let len = super::super::ifd::width(e.kind).checked_mul(e.count as usize).filter(|&l| l > 4)?;
    let at = u32_at(block, e.at, little)? as usize;
    Some(at..at.checked_add(len).filter(|&end| at >= 8 && end <= block.len())?)
}

/// Where directories and values stand that lead from the first directory: itself, those it points to, and their values.
pub(in crate::codec) fn in_use(block: &[u8]) -> Vec<std::ops::Range<usize>> {
    let Some((little, at)) = directory(block, Which::Main) else { return Vec::new() };
    let mut all: Vec<_> = std::iter::once(0..8).collect();
    let mut to_do = vec![at];
    while let Some(at) = to_do.pop() {
        let Some((list, end)) = entries(block, at, little) else { continue };
        if all.contains(&(at..end)) {
            continue;
        }
        all.push(at..end);
        all.extend(list.iter().filter_map(|e| outside(block, e, little)));
        let pointers = list.iter().filter(|e| [EXIF_IFD, GPS_IFD, INTEROPERABILITY].contains(&e.tag));
        to_do.extend(pointers.filter_map(|e| u32_at(block, e.at, little)).map(|v| v as usize));
    }
    all
}

/// Blanks a directory, its values and those it points to, but for what `kept` holds.
pub(in crate::codec) fn blank_directory(block: &mut [u8], at: usize, kept: &[std::ops::Range<usize>]) {
    let Some(little) = little(block) else { return };
    let mut to_do = vec![at];
    let mut seen = Vec::new();
    while let Some(at) = to_do.pop().filter(|_| seen.len() < 16) {
        let Some((list, end)) = entries(block, at, little).filter(|_| !seen.contains(&at)) else { continue };
        seen.push(at);
        let pointers = list.iter().filter(|e| [EXIF_IFD, GPS_IFD, INTEROPERABILITY].contains(&e.tag));
        to_do.extend(pointers.filter_map(|e| u32_at(block, e.at, little)).map(|v| v as usize));
        to_do.extend(u32_at(block, end, little).filter(|&next| next >= 8).map(|v| v as usize));
        let spans: Vec<_> =
            list.iter().filter_map(|e| outside(block, e, little)).chain(std::iter::once(at..(end + 4).min(block.len()))).collect();
        for span in spans {
            if kept.iter().all(|k| k.end <= span.start || k.start >= span.end) {
                block[span].fill(0);
            }
        }
    }
}

fn blank(block: &mut [u8], e: &Entry, little: bool) {
    if let Some(span) = outside(block, e, little) {
        block[span].fill(0);
    }
}

/// The bytes of a value, in the block's byte order.
pub(in crate::codec) fn bytes(block: &[u8], which: Which, tag: u16) -> Option<&[u8]> {
    let (little, at) = directory(block, which)?;
    let (list, _) = entries(block, at, little)?;
    let e = list.iter().find(|e| e.tag == tag)?;
    match outside(block, e, little) {
        Some(span) => block.get(span),
        None => {
            let len = super::super::ifd::width(e.kind).checked_mul(e.count as usize).filter(|&l| l <= 4)?;
            block.get(e.at..e.at + len)
        }
    }
}

/// A text value without its final NULs; UTF-8, else Latin-1.
pub(in crate::codec) fn text(block: &[u8], which: Which, tag: u16) -> Option<String> {
    let b = bytes(block, which, tag)?;
    let b = &b[..b.iter().rposition(|&b| b != 0)? + 1];
    Some(std::str::from_utf8(b).map_or_else(|_| b.iter().map(|&b| char::from(b)).collect(), str::to_string))
}

/// A text for UserComment as generators write it: `UNICODE` and big-endian UTF-16, whatever the block's own order.
pub(in crate::codec) fn of_comment(text: &str) -> Value {
    Value::Undefined(b"UNICODE\0".iter().copied().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect())
}

/// The text of UserComment (EXIF 2.32, 4.6.5), also where it stands in the first directory, as some generators put it there.
pub(in crate::codec) fn user_comment(block: &[u8]) -> Option<String> {
    let b = bytes(block, Which::Exif, USER_COMMENT).or_else(|| bytes(block, Which::Main, USER_COMMENT))?;
    let said = match coded(b) {
        // Some writers say UNICODE and mean UTF-8.
        (Code::Unicode, rest) if !is_plain(rest) => utf16(rest),
        (Code::Unknown, rest) if looks_wide(rest) => utf16(rest),
        (_, rest) => eight_bit(rest),
    };
    let said = said.trim_end_matches(['\0', ' ']).to_string();
    (!said.is_empty()).then_some(said)
}

/// What a UserComment says about its characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Unicode,
    /// ASCII, JIS or nothing that is known.
    Other,
    /// Eight zeros: the standard's "undefined".
    Unknown,
}

/// The characters of a UserComment without their code, which writers spell in large and small letters.
fn coded(b: &[u8]) -> (Code, &[u8]) {
    match b.split_first_chunk::<8>() {
        Some((code, rest)) if code.eq_ignore_ascii_case(b"UNICODE\0") => (Code::Unicode, rest),
        Some(([0, 0, 0, 0, 0, 0, 0, 0], rest)) => (Code::Unknown, rest),
        Some((code, rest)) if code.eq_ignore_ascii_case(b"ASCII\0\0\0") || code.eq_ignore_ascii_case(b"JIS\0\0\0\0\0") => {
            (Code::Other, rest)
        }
        _ => (Code::Other, b),
    }
}

/// Whether this is UTF-8 without zeros, and mostly ASCII: pairs of ASCII characters make rare signs in UTF-16.
fn is_plain(b: &[u8]) -> bool {
    let b = &b[..b.iter().rposition(|&b| b != 0).map_or(0, |i| i + 1)];
    let printable = b.iter().filter(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()).count();
    !b.contains(&0) && std::str::from_utf8(b).is_ok() && printable * 2 > b.len()
}

fn looks_wide(b: &[u8]) -> bool {
    b.iter().take(64).filter(|&&b| b == 0).count() * 4 > b.len().min(64)
}

/// Texts for people, in which a part of a prompt is a prompt.
pub(in crate::codec) fn is_free_text(tag: u16) -> bool {
    matches!(tag, IMAGE_DESCRIPTION | USER_COMMENT | 0x9c9b..=0x9c9f)
}

/// Every entry of a directory that may be a text, read in all encodings that it may have.
pub(in crate::codec) fn readings(block: &[u8], which: Which) -> Vec<(u16, Vec<String>)> {
    /// BYTE, ASCII, UNDEFINED and EXIF 3.0's UTF-8.
    const TEXTS: [u16; 4] = [1, ASCII, UNDEFINED, 129];
    let Some((little, at)) = directory(block, which) else { return Vec::new() };
    let Some((list, _)) = entries(block, at, little) else { return Vec::new() };
    let read = |e: &Entry| {
        let span = match outside(block, e, little) {
            Some(span) => span,
            None => e.at..e.at + (e.count as usize).min(4),
        };
        let b = coded(block.get(span)?).1;
        let mut all = vec![eight_bit(b)];
        if looks_wide(b) || !is_plain(b) {
            all.extend(wide(b));
        }
        Some((e.tag, all.into_iter().map(|t| t.trim_matches('\0').to_string()).filter(|t| !t.is_empty()).collect()))
    };
    list.iter().filter(|e| TEXTS.contains(&e.kind)).filter_map(read).collect()
}

fn eight_bit(b: &[u8]) -> String {
    std::str::from_utf8(b).map_or_else(|_| b.iter().map(|&b| char::from(b)).collect(), str::to_string)
}

/// UTF-16 in both orders.
fn wide(b: &[u8]) -> [String; 2] {
    let pairs = b.as_chunks::<2>().0;
    [u16::from_le_bytes, u16::from_be_bytes].map(|unit| {
        let units: Vec<u16> = pairs.iter().map(|&p| unit(p)).collect();
        String::from_utf16_lossy(&units).trim_start_matches('\u{feff}').to_string()
    })
}

/// UTF-16 in the order of its mark, else in the order in which more code units are below 256.
fn utf16(b: &[u8]) -> String {
    let pairs = b.as_chunks::<2>().0;
    let (order, skip) = match pairs.first() {
        Some([0xff, 0xfe]) => (true, 1),
        Some([0xfe, 0xff]) => (false, 1),
        _ => (pairs.iter().filter(|p| p[1] == 0).count() > pairs.iter().filter(|p| p[0] == 0).count(), 0),
    };
    let units: Vec<u16> = pairs[skip..].iter().map(|&p| if order { u16::from_le_bytes(p) } else { u16::from_be_bytes(p) }).collect();
    String::from_utf16_lossy(&units)
}

/// Whether the block says nothing at all.
pub(in crate::codec) fn says_nothing(block: &[u8]) -> bool {
    says_nothing_but(block, &[])
}

/// Whether the first directory holds none but these tags, and no other directory anything.
pub(in crate::codec) fn says_nothing_but(block: &[u8], tags: &[u16]) -> bool {
    let Some((little, list, next)) = ifd0(block) else { return false };
    let sub_empty = |e: &Entry| {
        e.tag == EXIF_IFD && u32_at(block, e.at, little).and_then(|at| u16_at(block, at as usize, little)).is_some_and(|n| n == 0)
    };
    list.iter().all(|e| tags.contains(&e.tag) || sub_empty(e)) && u32_at(block, next, little).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::super::{dpi, orientation};
    use super::*;

    #[test]
    fn entries_come_and_go_and_nothing_else_moves() {
        for little in [true, false] {
            let before = sample(little, 6);
            let mut b = before.clone();
            assert!(add(&mut b, Which::Exif, &[(USER_COMMENT, of_comment("a \u{732b}, Steps: 20"))]));
            assert!(add(&mut b, Which::Main, &[(MAKE, Value::Ascii("workflow:{}".into())), (MODEL, Value::Ascii("abc".into()))]));
            assert_eq!(user_comment(&b).as_deref(), Some("a \u{732b}, Steps: 20"));
            assert_eq!(text(&b, Which::Main, MAKE).as_deref(), Some("workflow:{}"));
            assert_eq!(text(&b, Which::Main, MODEL).as_deref(), Some("abc"));
            assert_eq!((orientation(&b), dpi(&b)), (orientation(&before), dpi(&before)));
            assert_eq!(bytes(&b, Which::Exif, 0x927c), Some(&b"MAKERNOT"[..]));
            let note = |b: &[u8]| b.windows(8).position(|w| w == b"MAKERNOT");
            assert_eq!(note(&b), note(&before), "the maker note moved");
            let tags: Vec<u16> = ifd0(&b).unwrap().1.iter().map(|e| e.tag).collect();
            assert!(tags.is_sorted(), "{tags:?}");
            let (le, _, next) = ifd0(&b).unwrap();
            let (_, _, was) = ifd0(&before).unwrap();
            assert_eq!(u32_at(&b, next, le), u32_at(&before, was, le), "the thumbnail's link is kept");
            assert!(remove(&mut b, Which::Exif, |t| t == USER_COMMENT));
            assert!(remove(&mut b, Which::Main, |t| t == MAKE || t == MODEL));
            assert!(!remove(&mut b, Which::Main, |t| t == MAKE));
            assert_eq!((user_comment(&b), text(&b, Which::Main, MAKE)), (None, None));
            assert_eq!((orientation(&b), dpi(&b)), (orientation(&before), dpi(&before)));
            assert!(!b.windows(8).any(|w| w == b"workflow"), "a removed value is still there");
            assert!(!says_nothing(&b));
        }
    }

    #[test]
    fn a_block_made_from_nothing_ends_as_nothing() {
        let mut b = empty();
        assert!(says_nothing(&b));
        assert!(add(&mut b, Which::Exif, &[(USER_COMMENT, of_comment("x"))]));
        assert!(add(
            &mut b,
            Which::Main,
            &[(0x0128, Value::Short(2)), (0x011a, Value::Rational(300, 1)), (0x011b, Value::Rational(300, 1))]
        ));
        assert_eq!((dpi(&b), says_nothing(&b)), (Some((300.0, 300.0)), false));
        assert!(remove(&mut b, Which::Main, |t| t != EXIF_IFD) && remove(&mut b, Which::Exif, |_| true));
        assert!(says_nothing(&b));
    }

    #[test]
    fn comments_are_read_in_every_coding() {
        let with = |head: &[u8], body: &[u8]| {
            let mut b = empty();
            add(&mut b, Which::Exif, &[(USER_COMMENT, Value::Undefined([head, body].concat()))]);
            user_comment(&b)
        };
        let le: Vec<u8> = "caf\u{e9} 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(with(b"UNICODE\0", &le).as_deref(), Some("caf\u{e9} 1"));
        assert_eq!(with(b"UNICODE\0", &[&[0xff, 0xfe][..], &le].concat()).as_deref(), Some("caf\u{e9} 1"));
        assert_eq!(with(b"ASCII\0\0\0", b"hello  \0").as_deref(), Some("hello"));
        assert_eq!(with(b"", b"{\"json\": 1}").as_deref(), Some("{\"json\": 1}"));
        assert_eq!(with(b"\0\0\0\0\0\0\0\0", b"   "), None);
    }

    #[test]
    fn broken_blocks_are_harmless() {
        let whole = sample(false, 3);
        let mut state = 5u32;
        for _ in 0..20_000 {
            let mut b = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % b.len();
                b[at] = (state >> 24) as u8;
            }
            b.truncate((state >> 4) as usize % (b.len() + 1));
            let before = b.clone();
            if !add(&mut b, Which::Exif, &[(USER_COMMENT, of_comment("x"))]) {
                assert_eq!(b, before);
            }
            add(&mut b, Which::Main, &[(GPS_IFD, Value::Long(state))]);
            remove(&mut b, Which::Main, |t| t % 2 == 1);
            remove(&mut b, Which::Exif, |_| true);
            user_comment(&b);
            says_nothing(&b);
        }
    }
}
