//! XMP packets (ISO 16684-1), read and edited as text, so that everything not meant stays byte for byte.
//!
//! A small scanner finds elements and attributes; only properties right below an `rdf:Description` are looked at. Packets that
//! are not UTF-8 or not well nested are left alone: reading finds nothing, editing says so.
//!
//! Over 500 lines because reading and changing a packet share one notion of where things stand in its text.

mod cut;

use std::borrow::Cow;
use std::ops::Range;

pub(super) use cut::{Found, cut, utf8};

pub(super) const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
pub(super) const XMP: &str = "http://ns.adobe.com/xap/1.0/";
pub(super) const XMP_MM: &str = "http://ns.adobe.com/xap/1.0/mm/";
pub(super) const XMP_NOTE: &str = "http://ns.adobe.com/xmp/note/";
pub(super) const XMP_RIGHTS: &str = "http://ns.adobe.com/xap/1.0/rights/";
pub(super) const DC: &str = "http://purl.org/dc/elements/1.1/";
pub(super) const EXIF: &str = "http://ns.adobe.com/exif/1.0/";
pub(super) const PHOTOSHOP: &str = "http://ns.adobe.com/photoshop/1.0/";
pub(super) const TIFF: &str = "http://ns.adobe.com/tiff/1.0/";
pub(super) const IPTC_EXT: &str = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/";
/// This program's own properties: see `carry`.
pub(super) const LASTMILE: &str = "urn:lastmile:1.0:";

/// An attribute: its value, and all of it with the white space before.
#[derive(Debug, Clone)]
struct Attribute<'a> {
    name: &'a str,
    value: Range<usize>,
    whole: Range<usize>,
}

#[derive(Debug, Clone)]
struct Element<'a> {
    name: &'a str,
    attributes: Vec<Attribute<'a>>,
    /// From `<` to behind the end tag.
    whole: Range<usize>,
    /// Between start and end tag; empty behind a self-closing tag.
    inner: Range<usize>,
    parent: Option<usize>,
}

/// A property of an `rdf:Description`.
#[derive(Debug, Clone)]
pub(super) struct Property {
    pub namespace: String,
    pub name: String,
    /// Index of the `rdf:Description` that holds it.
    description: usize,
    /// What to cut out to remove it.
    pub whole: Range<usize>,
    /// Index of its element; none for an attribute.
    element: Option<usize>,
    value: Range<usize>,
}

/// Packets that declare more are not looked at: every name is looked up among them.
const MAX_NAMESPACES: usize = 256;

/// A scanned packet.
pub(super) struct Packet<'a> {
    text: &'a str,
    elements: Vec<Element<'a>>,
    namespaces: Vec<(&'a str, Cow<'a, str>)>,
    rdf: usize,
}

impl<'a> Packet<'a> {
    /// Scans a packet; none if it is not UTF-8, not well nested or has no `rdf:RDF`.
    pub(super) fn scan(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let elements = scan(text)?;
        let mut namespaces: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for a in elements.iter().flat_map(|e| &e.attributes) {
            if let Some(prefix) = a.name.strip_prefix("xmlns:") {
                let uri = unescape(&text[a.value.clone()]);
                if !namespaces.contains(&(prefix, uri.clone())) {
                    namespaces.push((prefix, uri));
                }
            }
            if namespaces.len() > MAX_NAMESPACES {
                return None;
            }
        }
        let mut p = Self { text, elements, namespaces, rdf: 0 };
        p.rdf = (0..p.elements.len()).find(|&i| p.is(p.elements[i].name, RDF, "RDF"))?;
        Some(p)
    }

    fn namespace(&self, prefix: &str) -> &str {
        self.namespaces.iter().find(|n| n.0 == prefix).map_or("", |n| &n.1)
    }

    fn is(&self, qualified: &str, namespace: &str, name: &str) -> bool {
        qualified.split_once(':').is_some_and(|(prefix, local)| local == name && self.namespace(prefix) == namespace)
    }

    fn children(&self, of: usize) -> impl Iterator<Item = usize> + '_ {
        // Children follow their parent; the first element that is not inside ends them.
        let end = self.elements[of].whole.end;
        (of + 1..self.elements.len())
            .take_while(move |&i| self.elements[i].whole.start < end)
            .filter(move |&i| self.elements[i].parent == Some(of))
    }

    /// Every property of every description, in order.
    pub(super) fn properties(&self) -> Vec<Property> {
        let mut found = Vec::new();
        for d in self.children(self.rdf).filter(|&d| self.is(self.elements[d].name, RDF, "Description")) {
            for a in &self.elements[d].attributes {
                let Some((prefix, local)) = a.name.split_once(':').filter(|(p, _)| *p != "xmlns" && *p != "xml") else { continue };
                let namespace = self.namespace(prefix);
                if namespace != RDF {
                    found.push(Property {
                        namespace: namespace.into(),
                        name: local.into(),
                        description: d,
                        whole: a.whole.clone(),
                        element: None,
                        value: a.value.clone(),
                    });
                }
            }
            for c in self.children(d) {
                let e = &self.elements[c];
                let Some((prefix, local)) = e.name.split_once(':') else { continue };
                found.push(Property {
                    namespace: self.namespace(prefix).into(),
                    name: local.into(),
                    description: d,
                    whole: e.whole.clone(),
                    element: Some(c),
                    value: e.inner.clone(),
                });
            }
        }
        found
    }

    fn property(&self, namespace: &str, name: &str) -> Option<Property> {
        self.properties().into_iter().find(|p| p.namespace == namespace && p.name == name)
    }

    /// The values of a property: one, or the items of its list.
    pub(super) fn values(&self, namespace: &str, name: &str) -> Vec<String> {
        self.property(namespace, name).map_or_else(Vec::new, |p| self.values_of(&p))
    }

    /// The first value of a property.
    pub(super) fn value(&self, namespace: &str, name: &str) -> Option<String> {
        self.values(namespace, name).into_iter().next()
    }

    fn values_of(&self, p: &Property) -> Vec<String> {
        let text = |r: &Range<usize>| unescape(self.text[r.clone()].trim()).into_owned();
        let Some(element) = p.element else { return vec![text(&p.value)] };
        let items = self.items(element);
        if !items.is_empty() {
            return items.into_iter().map(|i| text(&self.elements[i].inner)).collect();
        }
        match self.elements[element].attributes.iter().find(|a| self.is(a.name, RDF, "resource")) {
            Some(a) => vec![text(&a.value)],
            None if self.children(element).next().is_some() => Vec::new(),
            None => vec![text(&p.value)],
        }
    }

    /// The `rdf:li` of a list below a property.
    fn items(&self, element: usize) -> Vec<usize> {
        let Some(list) = self.children(element).next() else { return Vec::new() };
        self.children(list).filter(|&i| self.is(self.elements[i].name, RDF, "li")).collect()
    }

    /// The fields of every structure in a list property: (namespace, name, value), attributes included; values keep their
    /// white space.
    pub(super) fn structures(&self, namespace: &str, name: &str) -> Vec<Vec<(String, String, String)>> {
        let Some(element) = self.property(namespace, name).and_then(|p| p.element) else { return Vec::new() };
        let mut all = Vec::new();
        for item in self.items(element) {
            let inner = self.children(item).find(|&c| self.is(self.elements[c].name, RDF, "Description"));
            let mut fields = Vec::new();
            for &holder in [Some(item), inner].iter().flatten() {
                let mut push = |qualified: &str, value: &Range<usize>| {
                    if let Some((prefix, local)) = qualified.split_once(':').filter(|(p, _)| *p != "xmlns" && *p != "xml")
                        && self.namespace(prefix) != RDF
                    {
                        let value = unescape(&self.text[value.clone()]).into_owned();
                        fields.push((self.namespace(prefix).to_string(), local.to_string(), value));
                    }
                };
                self.elements[holder].attributes.iter().for_each(|a| push(a.name, &a.value));
                self.children(holder).for_each(|c| push(self.elements[c].name, &self.elements[c].inner));
            }
            all.push(fields);
        }
        all
    }

    /// What `rdf:about` says, which all descriptions of a packet share.
    fn about(&self) -> &str {
        self.children(self.rdf)
            .flat_map(|d| &self.elements[d].attributes)
            .find(|a| self.is(a.name, RDF, "about"))
            .map_or("", |a| &self.text[a.value.clone()])
    }

    /// The source of a property, with the namespaces it needs to stand alone.
    pub(super) fn excerpt(&self, p: &Property) -> String {
        let body = match p.element {
            Some(_) => self.text[p.whole.clone()].to_string(),
            None => {
                let name = self.text[p.whole.clone()].trim().split('=').next().unwrap_or("").trim();
                format!("<{name}>{}</{name}>", &self.text[p.value.clone()])
            }
        };
        let mut declared = String::new();
        for (i, (prefix, uri)) in self.namespaces.iter().enumerate() {
            let first = self.namespaces[..i].iter().all(|n| n.0 != *prefix);
            if first && *prefix != "rdf" && body.contains(&format!("{prefix}:")) {
                declared += &format!(" xmlns:{prefix}=\"{}\"", escape(uri));
            }
        }
        format!("<rdf:Description rdf:about=\"{}\"{declared}>{body}</rdf:Description>", self.about())
    }
}

/// All elements in order of their start tags; none if they do not nest.
fn scan(text: &str) -> Option<Vec<Element<'_>>> {
    let b = text.as_bytes();
    let mut elements: Vec<Element<'_>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(skip) = text.get(at..)?.find('<') {
        at += skip;
        let past = |end: &str| text[at..].find(end).map(|i| at + i + end.len());
        if text[at..].starts_with("<!--") {
            at = past("-->")?;
        } else if text[at..].starts_with("<![CDATA[") {
            at = past("]]>")?;
        } else if text[at..].starts_with("<?") {
            at = past("?>")?;
        } else if text[at..].starts_with("<!") {
            return None; // a document type: entities could be declared there
        } else if text[at..].starts_with("</") {
            let end = past(">")?;
            let i = open.pop()?;
            if text[at + 2..end - 1].trim_end() != elements[i].name {
                return None;
            }
            elements[i].inner.end = at;
            elements[i].whole.end = end;
            at = end;
        } else {
            let start = at;
            let word = |from: usize| {
                from + text[from..].find(|c: char| c.is_ascii_whitespace() || "=/><".contains(c)).unwrap_or(text.len() - from)
            };
            let name_end = word(at + 1);
            let name = &text[at + 1..name_end];
            let mut attributes = Vec::new();
            at = name_end;
            let empty = loop {
                let before = at;
                while b.get(at)?.is_ascii_whitespace() {
                    at += 1;
                }
                match b.get(at)? {
                    b'>' => break false,
                    b'/' if b.get(at + 1) == Some(&b'>') => break true,
                    _ => {}
                }
                let end = word(at);
                let attribute = &text[at..end];
                at = end;
                while b.get(at)?.is_ascii_whitespace() {
                    at += 1;
                }
                if attribute.is_empty() || b.get(at) != Some(&b'=') {
                    return None;
                }
                at += 1;
                while b.get(at)?.is_ascii_whitespace() {
                    at += 1;
                }
                let quote = *b.get(at).filter(|q| matches!(q, b'"' | b'\''))?;
                let len = b[at + 1..].iter().position(|&c| c == quote)?;
                attributes.push(Attribute { name: attribute, value: at + 1..at + 1 + len, whole: before..at + 2 + len });
                at += 2 + len;
            };
            at += if empty { 2 } else { 1 };
            let parent = open.last().copied();
            if !empty {
                open.push(elements.len());
            }
            elements.push(Element { name, attributes, whole: start..at, inner: at..at, parent });
        }
    }
    open.is_empty().then_some(elements)
}

const EMPTY: &str = "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF \
                     xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"></rdf:RDF></x:xmpmeta>\n<?xpacket end=\"w\"?>";

/// Whether properties can be added to and removed from a packet.
pub(super) fn is_editable(packet: &[u8]) -> bool {
    Packet::scan(packet).is_some()
}

/// A packet with nothing in it.
pub(super) fn new_packet() -> Vec<u8> {
    EMPTY.into()
}

/// Puts an `rdf:Description` in front of the end of `rdf:RDF`; a packet is made where there is none. False, and nothing changed,
/// if the packet cannot be edited.
pub(super) fn insert(packet: &mut Option<Vec<u8>>, declarations: &str, body: &str) -> bool {
    let text = packet.clone().unwrap_or_else(|| EMPTY.into());
    let Some(p) = Packet::scan(&text) else { return false };
    let rdf = &p.elements[p.rdf];
    if rdf.inner.start == rdf.whole.end {
        // `<rdf:RDF/>`: nothing is in it, so nothing is lost by a new packet.
        *packet = None;
        return insert(packet, declarations, body);
    }
    let own = if rdf.name.starts_with("rdf:") { String::new() } else { format!(" xmlns:rdf=\"{RDF}\"") };
    let new = format!("<rdf:Description{own} rdf:about=\"{}\"{declarations}>{body}</rdf:Description>", p.about());
    *packet = Some([&text[..rdf.inner.end], new.as_bytes(), &text[rdf.inner.end..]].concat());
    true
}

/// Puts whole descriptions (see [`Packet::excerpt`]) in front of the end of `rdf:RDF`.
pub(super) fn insert_descriptions(packet: &mut Vec<u8>, descriptions: &str) -> bool {
    let Some(at) = Packet::scan(packet).map(|p| p.elements[p.rdf].inner.end) else { return false };
    packet.splice(at..at, descriptions.bytes());
    true
}

/// Removes the properties that `doomed` (namespace, name) names, and the packet if none are left. True if some were there.
pub(super) fn remove(packet: &mut Option<Vec<u8>>, doomed: impl Fn(&str, &str) -> bool) -> bool {
    let Some(text) = packet.as_mut() else { return false };
    let Some(p) = Packet::scan(text) else { return false };
    let all = p.properties();
    if !all.iter().any(|p| doomed(&p.namespace, &p.name)) {
        return false;
    }
    let mut cut: Vec<Range<usize>> = Vec::new();
    for group in all.chunk_by(|a, b| a.description == b.description) {
        let before = cut.len();
        cut.extend(group.iter().filter(|p| doomed(&p.namespace, &p.name)).map(|p| p.whole.clone()));
        if cut.len() - before == group.len() {
            // A description that loses all it has goes whole.
            cut.truncate(before);
            cut.push(p.elements[group[0].description].whole.clone());
        }
    }
    cut.sort_by_key(|r| r.start);
    cut.iter().rev().for_each(|r| drop(text.splice(r.clone(), [])));
    if Packet::scan(text).is_some_and(|p| p.properties().is_empty()) {
        *packet = None;
    }
    true
}

/// A packet cut in two for JPEG, whose segments are small (ISO 16684-3, 1.1.3.1): the largest properties go into the second
/// part until the first has at most `room` bytes. Also the second part's MD5 digest, by which the first names it.
pub(super) fn split(packet: &[u8], room: usize) -> Option<(Vec<u8>, Vec<u8>, String)> {
    use md5::Digest;
    const POINTER: usize = 200;
    let p = Packet::scan(packet)?;
    let mut all = p.properties();
    all.sort_by_key(|q| std::cmp::Reverse(q.whole.len()));
    let mut left = packet.len();
    let moved: Vec<Property> = all
        .into_iter()
        .take_while(|q| {
            let more = left + POINTER > room;
            left -= if more { q.whole.len() } else { 0 };
            more
        })
        .collect();
    if left + POINTER > room {
        return None;
    }
    let body: String = moved.iter().map(|q| p.excerpt(q)).collect();
    let extended = format!("<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"{RDF}\">{body}</rdf:RDF></x:xmpmeta>").into_bytes();
    let digest: String = md5::Md5::digest(&extended).iter().map(|b| format!("{b:02X}")).collect();
    let mut cut: Vec<Range<usize>> = moved.into_iter().map(|q| q.whole).collect();
    cut.sort_by_key(|r| r.start);
    let mut main = packet.to_vec();
    cut.iter().rev().for_each(|r| drop(main.splice(r.clone(), [])));
    let mut main = Some(main);
    set(&mut main, XMP_NOTE, "xmpNote", "HasExtendedXMP", &digest);
    main.filter(|m| m.len() <= room).map(|m| (m, extended, digest))
}

/// The digest of the second part that a packet names, if there is one.
pub(super) fn extension(packet: &[u8]) -> Option<String> {
    Packet::scan(packet)?.value(XMP_NOTE, "HasExtendedXMP")
}

/// Undoes [`split`]. False, and nothing changed, if the parts are not sound.
pub(super) fn join(packet: &mut Option<Vec<u8>>, extended: &[u8]) -> bool {
    let Some(p) = Packet::scan(extended) else { return false };
    let body: String = p.properties().iter().map(|q| p.excerpt(q)).collect();
    if !packet.as_mut().is_some_and(|text| insert_descriptions(text, &body)) {
        return false;
    }
    remove(packet, |n, l| n == XMP_NOTE && l == "HasExtendedXMP");
    true
}

/// Sets a simple property, replacing what it was. False if the packet cannot be edited.
pub(super) fn set(packet: &mut Option<Vec<u8>>, namespace: &str, prefix: &str, name: &str, value: &str) -> bool {
    remove(packet, |n, l| n == namespace && l == name);
    insert(packet, &format!(" xmlns:{prefix}=\"{namespace}\""), &format!("<{prefix}:{name}>{}</{prefix}:{name}>", escape(value)))
}

/// Appends an item (the inside of an `rdf:li` with `rdf:parseType="Resource"`) to an ordered list.
pub(super) fn append(packet: &mut Option<Vec<u8>>, namespace: &str, prefix: &str, name: &str, declarations: &str, item: &str) -> bool {
    // The packet may know RDF by another prefix.
    let item = format!("<rdf:li xmlns:rdf=\"{RDF}\" rdf:parseType=\"Resource\"{declarations}>{item}</rdf:li>");
    let end_of_list = packet.as_deref().and_then(Packet::scan).and_then(|p| {
        let element = p.property(namespace, name)?.element?;
        let list = &p.elements[p.children(element).next()?];
        (list.inner.start < list.whole.end).then_some(list.inner.end)
    });
    if let (Some(text), Some(at)) = (packet.as_mut(), end_of_list) {
        text.splice(at..at, item.into_bytes());
        return true;
    }
    remove(packet, |n, l| n == namespace && l == name);
    insert(packet, &format!(" xmlns:{prefix}=\"{namespace}\""), &format!("<{prefix}:{name}><rdf:Seq>{item}</rdf:Seq></{prefix}:{name}>"))
}

/// Replaces every value of a simple property, whatever its prefix, and leaves a packet alone that has none.
pub(super) fn replace(packet: &mut Vec<u8>, namespace: &str, name: &str, value: &str) {
    let spans = |p: Packet<'_>| {
        let leaf =
            |q: &Property| q.element.is_none_or(|e| p.elements[e].inner.start < p.elements[e].whole.end && p.children(e).next().is_none());
        let found = p.properties().into_iter().filter(|q| q.namespace == namespace && q.name == name && leaf(q));
        found.map(|q| q.value).collect::<Vec<_>>()
    };
    let mut all = Packet::scan(packet).map(spans).unwrap_or_default();
    all.sort_by_key(|r| r.start);
    all.into_iter().rev().for_each(|r| drop(packet.splice(r, value.bytes())));
}

/// Whether XML 1.0 can hold every character.
pub(super) fn is_xml(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
}

/// Text for element or attribute content; line ends survive.
pub(super) fn escape(text: &str) -> String {
    escape_text(text).replace('"', "&quot;")
}

/// Text for element content alone, where quotes may stand: graphs in JSON have tens of thousands of them.
pub(super) fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\r' => out += "&#13;",
            c => out.push(c),
        }
    }
    out
}

/// The text behind XML's five entities, character references and CDATA sections.
fn unescape(text: &str) -> Cow<'_, str> {
    if let Some(inner) = text.strip_prefix("<![CDATA[").and_then(|t| t.strip_suffix("]]>")) {
        return inner.into();
    }
    if !text.contains('&') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(i) = rest.find('&') {
        out += &rest[..i];
        rest = &rest[i..];
        let known = rest.bytes().take(12).position(|b| b == b';').and_then(|end| {
            let name = &rest[1..end];
            let c = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                _ => {
                    let digits = name.strip_prefix('#')?;
                    let code = match digits.strip_prefix('x') {
                        Some(hex) => u32::from_str_radix(hex, 16),
                        None => digits.parse(),
                    };
                    char::from_u32(code.ok()?)?
                }
            };
            Some((c, end))
        });
        match known {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out += rest;
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- <rdf:RDF> -->
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="uuid:1" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:e='http://ns.adobe.com/exif/1.0/'
    xmp:CreatorTool="A &amp; B" e:GPSLatitude='12,3N'>
   <d:title xmlns:d="http://purl.org/dc/elements/1.1/"><rdf:Alt><rdf:li xml:lang="x-default">caf&#233; &lt;1&gt;</rdf:li></rdf:Alt></d:title>
   <e:GPSLongitude>4,5E</e:GPSLongitude>
  </rdf:Description>
  <rdf:Description rdf:about="uuid:1" xmlns:q="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><q:DigitalSourceType rdf:resource="http://x/y"/></rdf:Description>
 </rdf:RDF>
</x:xmpmeta><?xpacket end="w"?>"#;

    fn value(packet: &Option<Vec<u8>>, namespace: &str, name: &str) -> Option<String> {
        Packet::scan(packet.as_ref()?)?.value(namespace, name)
    }

    #[test]
    fn properties_are_found_by_namespace_in_every_spelling() {
        let p = Some(SAMPLE.as_bytes().to_vec());
        assert_eq!(value(&p, XMP, "CreatorTool").as_deref(), Some("A & B"));
        assert_eq!(value(&p, DC, "title").as_deref(), Some("caf\u{e9} <1>"));
        assert_eq!(value(&p, EXIF, "GPSLatitude").as_deref(), Some("12,3N"));
        assert_eq!(value(&p, EXIF, "GPSLongitude").as_deref(), Some("4,5E"));
        assert_eq!(value(&p, IPTC_EXT, "DigitalSourceType").as_deref(), Some("http://x/y"));
        assert_eq!(value(&p, DC, "rights"), None);
    }

    #[test]
    fn removing_leaves_the_rest_byte_for_byte() {
        let mut p = Some(SAMPLE.as_bytes().to_vec());
        assert!(remove(&mut p, |n, l| n == EXIF && l.starts_with("GPS")));
        let want = SAMPLE.replace(" e:GPSLatitude='12,3N'", "").replace("<e:GPSLongitude>4,5E</e:GPSLongitude>", "");
        assert_eq!(String::from_utf8(p.clone().unwrap()).unwrap(), want);
        assert!(!remove(&mut p, |n, _| n == EXIF));
        assert!(remove(&mut p, |_, _| true));
        assert_eq!(p, None);
    }

    #[test]
    fn values_are_set_and_lists_grow() {
        for start in [None, Some(SAMPLE.as_bytes().to_vec())] {
            let mut p = start;
            assert!(set(&mut p, IPTC_EXT, "Iptc4xmpExt", "DigitalSourceType", "a<b&\r\nc"));
            assert_eq!(value(&p, IPTC_EXT, "DigitalSourceType").as_deref(), Some("a<b&\r\nc"));
            for i in 0..3 {
                assert!(append(&mut p, XMP_MM, "xmpMM", "History", " xmlns:s=\"u\"", &format!("<s:n> {i}</s:n>")));
            }
            let text = p.unwrap();
            let list = Packet::scan(&text).unwrap().structures(XMP_MM, "History");
            let field = |i: i32| vec![("u".to_string(), "n".to_string(), format!(" {i}"))];
            assert_eq!(list, [field(0), field(1), field(2)]);
        }
    }

    #[test]
    fn structures_written_as_attributes_are_read() {
        let p = format!(
            "<r:RDF xmlns:r='{RDF}'><r:Description xmlns:m='{XMP_MM}' xmlns:s='S'><m:History><r:Seq><r:li s:action='saved' s:when='1'/></r:Seq>\
             </m:History></r:Description></r:RDF>"
        );
        let mut p = Some(p.into_bytes());
        assert!(append(&mut p, XMP_MM, "xmpMM", "History", "", "<s:action>resized</s:action>"));
        let text = p.unwrap();
        let list = Packet::scan(&text).unwrap().structures(XMP_MM, "History");
        assert_eq!(list.len(), 2);
        assert_eq!(list[0][0], ("S".into(), "action".into(), "saved".into()));
        assert_eq!(list[1][0].2, "resized");
        assert!(String::from_utf8(text).unwrap().contains("</rdf:li></r:Seq>"));
    }

    #[test]
    fn an_excerpt_stands_alone() {
        let p = Packet::scan(SAMPLE.as_bytes()).unwrap();
        let all = p.properties();
        let joined: String = all.iter().map(|q| p.excerpt(q)).collect();
        let alone = format!("<rdf:RDF xmlns:rdf=\"{RDF}\">{joined}</rdf:RDF>");
        let again = Packet::scan(alone.as_bytes()).unwrap();
        for q in &all {
            assert_eq!(again.values(&q.namespace, &q.name), p.values(&q.namespace, &q.name), "{q:?}");
        }
    }

    #[test]
    fn a_large_packet_is_cut_and_joined() {
        let mut p = Some(SAMPLE.as_bytes().to_vec());
        assert!(set(&mut p, "urn:big", "big", "one", &"x".repeat(5000)) && set(&mut p, "urn:big", "big", "two", &"&".repeat(500)));
        let whole = p.clone().unwrap();
        let (main, extended, digest) = split(&whole, 3000).unwrap();
        assert!(main.len() <= 3000 && extended.len() > 5000);
        assert_eq!((extension(&main), digest.len()), (Some(digest), 32));
        let mut back = Some(main);
        assert!(!join(&mut back, b"<broken") && join(&mut back, &extended));
        let back = back.unwrap();
        let (a, b) = (Packet::scan(&back).unwrap(), Packet::scan(&whole).unwrap());
        let values = |p: &Packet<'_>| {
            let mut all: Vec<_> = p.properties().iter().map(|q| (q.name.clone(), p.values(&q.namespace, &q.name))).collect();
            all.sort();
            all
        };
        assert_eq!(values(&a), values(&b));
        assert_eq!(split(&whole, 300), None);
    }

    #[test]
    fn what_is_not_a_packet_is_left_alone() {
        for bad in ["", "plain", "<a><b></a></b>", "<rdf:RDF", "<!DOCTYPE x><rdf:RDF/>", "<a b=c/>", "<a b='1/>"] {
            let mut p = Some(bad.as_bytes().to_vec());
            assert!(!set(&mut p, DC, "dc", "title", "x"), "{bad}");
            assert_eq!(p.as_deref(), Some(bad.as_bytes()));
        }
        let whole = SAMPLE.as_bytes();
        for cut in 0..whole.len() {
            let mut p = Some(whole[..cut].to_vec());
            let _ = Packet::scan(&whole[..cut]).map(|p| p.properties().len());
            remove(&mut p, |_, _| true);
        }
    }
}
