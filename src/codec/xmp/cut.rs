//! Values at any depth of a packet: looked at, and cut out.

use std::borrow::Cow;
use std::ops::Range;

use super::{Packet, RDF, unescape};

/// A value, or a structure, somewhere in a packet.
pub(in crate::codec) struct Found<'a> {
    pub namespace: &'a str,
    /// Without prefix. An item of a list has the name of the property that holds the list.
    pub name: &'a str,
    /// None for what has elements inside.
    pub value: Option<Cow<'a, str>>,
}

impl<'a> Packet<'a> {
    /// Namespace and local name; an unprefixed name has none.
    fn resolved(&self, qualified: &'a str) -> (&str, &'a str) {
        qualified.split_once(':').map_or(("", qualified), |(prefix, local)| (self.namespace(prefix), local))
    }

    /// The nearest element from here upwards that RDF's grammar does not own.
    fn owner(&self, mut element: usize) -> (&str, &'a str) {
        loop {
            let (namespace, name) = self.resolved(self.elements[element].name);
            match self.elements[element].parent {
                Some(up) if namespace == RDF => element = up,
                _ => return (namespace, name),
            }
        }
    }

    fn has_children(&self, element: usize) -> bool {
        self.children(element).next().is_some()
    }

    /// Whether an attribute says something: not a declaration, a language or how the element is to be read.
    fn tells(&self, attribute: &'a str) -> bool {
        let (namespace, name) = self.resolved(attribute);
        let declares = attribute == "xmlns" || attribute.starts_with("xmlns:") || attribute.starts_with("xml:");
        let reads = namespace == RDF && matches!(name, "parseType" | "about" | "ID" | "nodeID" | "datatype");
        !(declares || reads)
    }

    fn of_element(&self, i: usize) -> Found<'_> {
        let (namespace, name) = self.owner(i);
        let value = (!self.has_children(i)).then(|| unescape(&self.text[self.elements[i].inner.clone()]));
        Found { namespace, name, value }
    }

    fn of_attribute(&self, i: usize, a: usize) -> Found<'_> {
        let attribute = &self.elements[i].attributes[a];
        let (namespace, name) = self.resolved(attribute.name);
        let (namespace, name) = if namespace == RDF { self.owner(i) } else { (namespace, name) };
        Found { namespace, name, value: Some(unescape(&self.text[attribute.value.clone()])) }
    }

    /// Everything inside `rdf:RDF`.
    pub(in crate::codec) fn everything(&self) -> Vec<Found<'_>> {
        let mut all = Vec::new();
        for i in 0..self.elements.len() {
            all.push(self.of_element(i));
            let attributes = (0..self.elements[i].attributes.len()).filter(|&a| self.tells(self.elements[i].attributes[a].name));
            all.extend(attributes.map(|a| self.of_attribute(i, a)));
        }
        all
    }

    /// What has to go so that nothing `doomed` is left: whole elements where nothing else is in them.
    fn doomed(&self, doomed: &impl Fn(&Found<'_>) -> bool) -> Vec<Range<usize>> {
        let n = self.elements.len();
        let mut gone = vec![false; n];
        let mut cut: Vec<Range<usize>> = Vec::new();
        // Children follow their parents, so that they are settled before them.
        for i in (0..n).rev() {
            let e = &self.elements[i];
            let (namespace, name) = self.resolved(e.name);
            let grammar = namespace == RDF && matches!(name, "RDF" | "Description");
            let mut left = 0;
            let mut lost = 0;
            for (a, attribute) in e.attributes.iter().enumerate().filter(|(_, a)| self.tells(a.name)) {
                if doomed(&self.of_attribute(i, a)) {
                    cut.push(attribute.whole.clone());
                    lost += 1;
                    gone[i] |= !grammar && self.resolved(attribute.name).0 == RDF;
                } else {
                    left += 1;
                }
            }
            let (mut inside, mut kept) = (0, 0);
            for c in self.children(i) {
                inside += 1;
                kept += usize::from(!gone[c]);
            }
            let emptied = kept == 0 && left == 0 && (inside > 0 || lost > 0 && self.text[e.inner.clone()].trim().is_empty());
            let above = e.parent.is_none() || namespace == RDF && name == "RDF" || i < self.rdf;
            gone[i] |= !above && (emptied || !grammar && doomed(&self.of_element(i)));
            if gone[i] {
                cut.push(e.whole.clone());
            }
        }
        cut.sort_by_key(|r| (r.start, std::cmp::Reverse(r.end)));
        let mut end = 0;
        cut.retain(|r| {
            let outer = r.start >= end;
            end = end.max(r.end);
            outer
        });
        cut
    }

    /// All its text as a reader sees it, for a look whether something is in it anywhere.
    pub(in crate::codec) fn plain(&self) -> String {
        unescape(&self.text.replace("<![CDATA[", "").replace("]]>", "")).into_owned()
    }
}

/// Cuts out every value and structure that `doomed` names, at any depth, and the packet if nothing is left in it. True if some
/// were there.
pub(in crate::codec) fn cut(packet: &mut Option<Vec<u8>>, doomed: impl Fn(&Found<'_>) -> bool) -> bool {
    let Some(text) = packet.as_mut() else { return false };
    let Some(ranges) = Packet::scan(text).map(|p| p.doomed(&doomed)).filter(|r| !r.is_empty()) else { return false };
    ranges.into_iter().rev().for_each(|r| drop(text.splice(r, [])));
    if Packet::scan(text).is_some_and(|p| p.properties().is_empty()) {
        *packet = None;
    }
    true
}

/// A packet as UTF-8: UTF-16 and UTF-32 are converted, single bytes that are no UTF-8 are taken for Latin-1.
pub(in crate::codec) fn utf8(packet: &[u8]) -> Cow<'_, [u8]> {
    let wide = |width: usize, little: bool| -> Vec<u32> {
        let number = |b: &[u8]| {
            let join = |v: u32, &b: &u8| v << 8 | u32::from(b);
            if little { b.iter().rev().fold(0, join) } else { b.iter().fold(0, join) }
        };
        packet.chunks_exact(width).map(number).collect()
    };
    let narrow = |units: Vec<u32>| String::from_utf16_lossy(&units.into_iter().map(|u| u as u16).collect::<Vec<_>>());
    let full = |units: Vec<u32>| units.into_iter().map(|u| char::from_u32(u).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    let text: String = match packet.first_chunk::<4>() {
        Some([0, 0, 0xfe, 0xff] | [0, 0, 0, b'<']) => full(wide(4, false)),
        Some([0xff, 0xfe, 0, 0] | [b'<', 0, 0, 0]) => full(wide(4, true)),
        Some([0xfe, 0xff, ..] | [0, b'<', ..]) => narrow(wide(2, false)),
        Some([0xff, 0xfe, ..] | [b'<', 0, ..]) => narrow(wide(2, true)),
        _ if std::str::from_utf8(packet).is_ok() => return packet.into(),
        _ => {
            let mut text = String::with_capacity(packet.len());
            for chunk in packet.utf8_chunks() {
                text += chunk.valid();
                text.extend(chunk.invalid().iter().map(|&b| char::from(b)));
            }
            return text.into_bytes().into();
        }
    };
    let text = text.trim_start_matches('\u{feff}');
    // A declaration of the encoding would not be true any more.
    let body = text.strip_prefix("<?xml").and_then(|t| t.split_once("?>")).map_or(text, |(_, rest)| rest.trim_start());
    body.as_bytes().to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RDF};
    use super::*;

    fn packet(body: &str) -> Option<Vec<u8>> {
        Some(format!("<rdf:RDF xmlns:rdf='{RDF}' xmlns:a='A' xmlns:b='B'>{body}</rdf:RDF>").into_bytes())
    }

    fn inner(p: &Option<Vec<u8>>) -> String {
        let text = String::from_utf8(p.clone().unwrap()).unwrap();
        text.split_once('>').unwrap().1.strip_suffix("</rdf:RDF>").unwrap().to_string()
    }

    #[test]
    fn a_value_goes_from_every_depth_and_its_neighbours_stay() {
        let no = |f: &Found<'_>| f.value.as_deref().is_some_and(|v| v.contains("no"));
        for (body, left) in [
            ("<rdf:Description a:x='no' a:y='1'/>", "<rdf:Description a:y='1'/>"),
            ("<rdf:Description><a:x>n&#111;</a:x><a:y>1</a:y></rdf:Description>", "<rdf:Description><a:y>1</a:y></rdf:Description>"),
            (
                "<rdf:Description><a:x><rdf:Bag><rdf:li>no</rdf:li><rdf:li>1</rdf:li></rdf:Bag></a:x></rdf:Description>",
                "<rdf:Description><a:x><rdf:Bag><rdf:li>1</rdf:li></rdf:Bag></a:x></rdf:Description>",
            ),
            (
                "<rdf:Description a:y='1'><a:x><rdf:Bag><rdf:li xml:lang='e'>no</rdf:li></rdf:Bag></a:x></rdf:Description>",
                "<rdf:Description a:y='1'></rdf:Description>",
            ),
            (
                "<rdf:Description><a:x rdf:parseType='Resource'><b:p>no</b:p><b:q>1</b:q></a:x></rdf:Description>",
                "<rdf:Description><a:x rdf:parseType='Resource'><b:q>1</b:q></a:x></rdf:Description>",
            ),
            (
                "<rdf:Description a:y='1'><a:x><rdf:Description b:p='no'/></a:x><a:z rdf:resource='no'/></rdf:Description>",
                "<rdf:Description a:y='1'></rdf:Description>",
            ),
            ("<rdf:Description a:y='1'><x xmlns='C'>no</x></rdf:Description>", "<rdf:Description a:y='1'></rdf:Description>"),
        ] {
            let mut p = packet(body);
            assert!(cut(&mut p, no), "{body}");
            assert_eq!(inner(&p), left);
            assert!(!cut(&mut p, no));
        }
        let mut all = packet("<rdf:Description a:x='no'/>");
        assert!(cut(&mut all, no));
        assert_eq!(all, None);
    }

    #[test]
    fn items_have_the_name_of_their_property() {
        let p = packet("<rdf:Description><a:x><rdf:Alt><rdf:li>1</rdf:li></rdf:Alt></a:x></rdf:Description>").unwrap();
        let p = Packet::scan(&p).unwrap();
        let all = p.everything();
        assert!(all.iter().any(|f| (f.namespace, f.name, f.value.as_deref()) == ("A", "x", Some("1"))));
    }

    #[test]
    fn other_encodings_become_utf8() {
        let text = "<x>caf\u{e9} \u{732b} \u{1f600}</x>";
        let wide = |big: bool| text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect::<Vec<_>>();
        let four: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        for bytes in [wide(true), wide(false), [&[0xff, 0xfe][..], &wide(false)].concat(), [&[0xfe, 0xff][..], &wide(true)].concat(), four]
        {
            assert_eq!(std::str::from_utf8(&utf8(&bytes)).unwrap(), text);
        }
        assert_eq!(&*utf8(text.as_bytes()), text.as_bytes());
        assert_eq!(std::str::from_utf8(&utf8(b"<x>caf\xe9 \xc3\xa9</x>")).unwrap(), "<x>caf\u{e9} \u{e9}</x>");
        let declared: Vec<u8> = "<?xml version='1.0' encoding='UTF-16'?>\n<x/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(&*utf8(&declared), b"<x/>");
    }
}
