//! What a file carries beside its pixels, how it is corrected for a processed picture, and what a container cannot hold.

use super::exif::{self, Patched};
use super::{Encoding, Format, Hidden, carry, ifd, png, xmp};
use crate::image::Channels;

/// Decompressed metadata of one file beyond this is dropped with a note (compression bombs).
pub(super) const MAX_METADATA_BYTES: usize = 64 << 20;
/// The most one JPEG segment can hold beside its length field.
pub(super) const JPEG_SEGMENT: usize = 65_533;

/// Everything beside the pixels, in container-neutral form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// ICC profile bytes.
    pub icc: Option<Vec<u8>>,
    /// EXIF as a TIFF block (without `Exif\0\0`); MakerNote bytes and offsets untouched.
    pub exif: Option<Vec<u8>>,
    /// XMP packet (the RDF/XML text).
    pub xmp: Option<Vec<u8>>,
    /// IPTC-IIM records.
    pub iptc: Option<Vec<u8>>,
    /// PNG text chunks, in order.
    pub text: Vec<Text>,
    /// JPEG comment.
    pub comment: Option<Vec<u8>>,
    /// Pixels per inch, horizontal and vertical.
    pub dpi: Option<(f64, f64)>,
    /// C2PA manifest store (JUMBF) of the source. Its claim covers the source's bytes only, so no encoder writes it.
    pub c2pa: Option<Vec<u8>>,
    /// A text that was hidden in the pixels and is not there any more; only [`decode`](super::decode) finds it, and no encoder
    /// writes it.
    pub hidden: Option<Hidden>,
}

/// A PNG text chunk (tEXt, zTXt or iTXt).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    pub keyword: String,
    pub value: String,
    /// Present for iTXt; others are Latin-1.
    pub international: Option<International>,
}

/// The extra fields of an iTXt chunk; often both are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct International {
    /// RFC 3066 language tag.
    pub language: String,
    pub translated_keyword: String,
}

impl Text {
    /// Text without a language; written as iTXt only where Latin-1 cannot hold it.
    pub fn new(keyword: impl Into<String>, value: impl Into<String>) -> Self {
        Self { keyword: keyword.into(), value: value.into(), international: None }
    }
}

impl Metadata {
    /// The metadata as the processed picture has to carry it: sizes corrected where they are stated, orientation 1, stale
    /// thumbnails removed, and the resolution replaced if `dpi` (pixels per inch) is given.
    pub fn for_output(&self, width: usize, height: usize, dpi: Option<(f64, f64)>) -> Metadata {
        let mut out = self.clone();
        let (w, h) = (u32::try_from(width).unwrap_or(u32::MAX), u32::try_from(height).unwrap_or(u32::MAX));
        (out.c2pa, out.hidden) = (None, None);
        if let Some(block) = &mut out.exif {
            exif::set_orientation(block, 1);
            exif::set_size(block, w, h);
            exif::drop_thumbnail(block);
            // Also where it was turned, or another place counted.
            let new = dpi.is_some();
            let close = |a: f64, b: f64| (a - b).abs() < 0.05;
            if let Some(dpi) = dpi.or(out.dpi)
                && (new || exif::dpi(block).is_none_or(|stated| !close(stated.0, dpi.0) || !close(stated.1, dpi.1)))
            {
                exif::set_dpi(block, dpi);
            }
        }
        // Small pictures of the source.
        xmp::cut(&mut out.xmp, |f| f.name == "Thumbnails" && f.namespace == xmp::XMP);
        if let Some(packet) = &mut out.xmp {
            set_xmp(packet, "tiff:Orientation", "1");
            for name in ["tiff:ImageWidth", "exif:PixelXDimension"] {
                set_xmp(packet, name, &w.to_string());
            }
            for name in ["tiff:ImageLength", "exif:PixelYDimension"] {
                set_xmp(packet, name, &h.to_string());
            }
            if let Some((x, y)) = dpi.or(out.dpi.filter(|(x, y)| x != y)) {
                for (name, v) in [("tiff:XResolution", x), ("tiff:YResolution", y)] {
                    let (n, d) = exif::rational(v);
                    set_xmp(packet, name, &format!("{n}/{d}"));
                }
                set_xmp(packet, "tiff:ResolutionUnit", "2");
            }
        }
        if dpi.is_some() {
            out.dpi = dpi;
        }
        out
    }

    /// About how many bytes this takes in a file.
    pub fn bytes(&self) -> usize {
        let blocks = [&self.icc, &self.exif, &self.xmp, &self.iptc, &self.comment];
        blocks.iter().filter_map(|b| b.as_ref()).map(Vec::len).sum::<usize>()
            + self.text.iter().map(|t| t.keyword.len() + t.value.len()).sum::<usize>()
    }

    /// The profile, if it can describe pixels with `colours` (1 or 3) colour channels.
    pub(super) fn icc_for(&self, channels: Channels) -> Option<&[u8]> {
        self.icc.as_deref().filter(|icc| icc_fits(icc, channels.colours()))
    }
}

/// What a file written as `how` with these channels cannot keep of `metadata`, one plain sentence each.
pub fn losses(how: &Encoding, channels: Channels, metadata: &Metadata) -> Vec<String> {
    let name = how.format.name();
    let (metadata, mut lost) = carry::into(how.format, metadata);
    let metadata = metadata.as_ref();
    if channels.has_alpha() && !how.format.supports_alpha() {
        lost.push(format!("{name} has no alpha channel: transparent parts were laid over white"));
    }
    if metadata.icc.is_some() && metadata.icc_for(channels).is_none() {
        lost.push("the ICC profile does not describe this kind of pixels and was left out".into());
    }
    let too_big = |what: &str, bytes: usize| format!("{what} ({bytes} bytes) is larger than a {name} file can hold and was left out");
    let cannot = |what: &str| format!("{what} cannot be stored in a {name} file and was left out");
    if how.format == Format::Png {
        for t in metadata.text.iter().filter(|t| png::keyword(t).is_none()) {
            let key = if t.keyword.is_empty() { "without a name".to_string() } else { format!("`{}`", t.keyword) };
            lost.push(format!("the text {key} was left out: a PNG text has a name of 1 to 79 Latin-1 characters"));
        }
    }
    if how.format == Format::Jpeg {
        if let Some(b) = metadata.exif.as_ref().filter(|b| !jpeg_holds(b, 6)) {
            lost.push(too_big("the EXIF block", b.len()));
        }
        let too_large = |b: &&Vec<u8>| !jpeg_holds(b, 29) && xmp::split(b, JPEG_SEGMENT - 29).is_none();
        if let Some(b) = metadata.xmp.as_ref().filter(too_large) {
            lost.push(too_big("the XMP packet", b.len()));
        }
        if let Some(b) = metadata.icc_for(channels).filter(|b| b.len() > JPEG_MAX_ICC) {
            lost.push(too_big("the ICC profile", b.len()));
        }
        if let Some(b) = metadata.iptc.as_ref().filter(|b| !jpeg_holds(b, 14 + 13)) {
            lost.push(too_big("the IPTC block", b.len()));
        }
        if let Some(b) = metadata.comment.as_ref().filter(|b| !jpeg_holds(b, 0)) {
            lost.push(too_big("the comment", b.len()));
        }
    }
    if matches!(how.format, Format::WebP | Format::Avif) && metadata.iptc.is_some() {
        lost.push(cannot("the IPTC block"));
    }
    if let (Some(block), Some(dpi)) = (&metadata.exif, metadata.dpi)
        && exif::set_dpi(&mut block.clone(), dpi) == Patched::Stuck
    {
        lost.push("the resolution inside the EXIF block could not be corrected".into());
    }
    if how.format == Format::Tiff
        && let Some(block) = metadata.exif.as_deref().and_then(ifd::read)
        && block.subs.iter().any(|(_, sub)| sub.find(MAKER_NOTE).is_some())
    {
        lost.push("the camera's maker note had to be moved; offsets inside it may no longer lead anywhere".into());
    }
    lost
}

/// MakerNote in the EXIF directory.
pub(super) const MAKER_NOTE: u16 = 0x927c;

/// 255 segments of 65,519 bytes each.
pub(super) const JPEG_MAX_ICC: usize = 255 * (JPEG_SEGMENT - 14);

/// Whether `block` fits a JPEG segment behind a header of `head` bytes.
pub(super) fn jpeg_holds(block: &[u8], head: usize) -> bool {
    block.len() + head <= JPEG_SEGMENT
}

/// Whether an ICC profile describes pixels with this many colour channels (1 or 3).
///
/// ICC.1:2010, 7.2: bytes 16..20 of the header name the data colour space, 36..40 are `acsp`.
pub(super) fn icc_fits(icc: &[u8], colours: usize) -> bool {
    icc.get(36..40) == Some(b"acsp") && icc.get(16..20) == Some(if colours == 1 { b"GRAY" } else { b"RGB " })
}

/// Whether an ICC profile has, inside its bytes, the tags that colours are worked out from (ICC.1:2010, 7.3 and 8.3): curves and
/// colorants, the curve of a grey one, or a table.
pub(super) fn icc_is_sound(icc: &[u8]) -> bool {
    let number = |at: usize| Some(u32::from_be_bytes(icc.get(at..at + 4)?.try_into().ok()?) as usize);
    let tags = (0..number(128).unwrap_or(0).min(1000)).map_while(|i| {
        let at = 132 + 12 * i;
        Some((icc.get(at..at + 4)?, number(at + 4)?, number(at + 8)?))
    });
    let there: Vec<&[u8]> = tags
        .filter(|&(_, at, len)| len >= 8 && at >= 128 && at.checked_add(len).is_some_and(|end| end <= icc.len()))
        .map(|t| t.0)
        .collect();
    let has = |names: &[&[u8; 4]]| names.iter().all(|n| there.contains(&n.as_slice()));
    has(&[b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"])
        || has(&[b"kTRC"])
        || [b"A2B0", b"A2B1", b"A2B2", b"D2B0"].iter().any(|n| has(&[n]))
}

/// Orientation stated by an XMP packet, 1..=8.
pub(super) fn xmp_orientation(packet: &[u8]) -> Option<u8> {
    let packet = &*xmp::utf8(packet);
    let said = || {
        let (from, to) = xmp_value(packet, "tiff:Orientation", 0)?;
        std::str::from_utf8(&packet[from..to]).ok().map(str::to_string)
    };
    let said = said().or_else(|| xmp::Packet::scan(packet)?.value(xmp::TIFF, "Orientation"))?;
    said.trim().parse().ok().filter(|v| (1..=8).contains(v))
}

/// Replaces every value of a simple property (`tiff:` or `exif:`), written as attribute or as element, by whatever prefix.
pub(super) fn set_xmp(packet: &mut Vec<u8>, name: &str, value: &str) {
    if let Some((prefix, local)) = name.split_once(':') {
        xmp::replace(packet, if prefix == "exif" { xmp::EXIF } else { xmp::TIFF }, local, value);
    }
    // In packets that are too damaged to be taken apart, too.
    let mut at = 0;
    while let Some((from, to)) = xmp_value(packet, name, at) {
        packet.splice(from..to, value.bytes());
        at = from + value.len();
    }
}

/// Where the value of the next `name="..."` or `<name>...</` at or after `start` stands.
fn xmp_value(packet: &[u8], name: &str, start: usize) -> Option<(usize, usize)> {
    let mut at = start;
    loop {
        at += find(packet.get(at..)?, name.as_bytes())?;
        let before = at.checked_sub(1).and_then(|i| packet.get(i)).copied();
        let mut p = at + name.len();
        at = p;
        let element = before == Some(b'<');
        if element && packet.get(p) == Some(&b'>') {
            let from = p + 1;
            let to = from + packet[from..].iter().position(|&b| b == b'<')?;
            return Some((from, to));
        }
        if !before.is_some_and(|b| b.is_ascii_whitespace()) {
            continue;
        }
        while packet.get(p).is_some_and(u8::is_ascii_whitespace) {
            p += 1;
        }
        if packet.get(p) != Some(&b'=') {
            continue;
        }
        p += 1;
        while packet.get(p).is_some_and(u8::is_ascii_whitespace) {
            p += 1;
        }
        let quote = match packet.get(p) {
            Some(&q @ (b'"' | b'\'')) => q,
            _ => continue,
        };
        let to = p + 1 + packet[p + 1..].iter().position(|&b| b == quote)?;
        return Some((p + 1, to));
    }
}

/// Position of `needle` in `hay`.
pub(super) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

/// Names of parts of a file that have no place in another one; of more than a few only how many.
#[derive(Debug, Clone, Default)]
pub(super) struct Dropped {
    names: Vec<String>,
    more: usize,
}

impl Dropped {
    pub(super) fn add(&mut self, name: String) {
        const MOST: usize = 12;
        match self.names.len() {
            _ if self.names.contains(&name) => {}
            MOST.. => self.more += 1,
            _ => self.names.push(name),
        }
    }

    /// "its chunks bKGD, prVt are not carried"; none if there were none.
    pub(super) fn note(&self, what: &str) -> Option<String> {
        let more = if self.more > 0 { format!(" and {} more", self.more) } else { String::new() };
        (!self.names.is_empty()).then(|| format!("its {what} {}{more} are not carried", self.names.join(", ")))
    }
}

/// What Photoshop image resources (`8BIM` blocks) hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Resources {
    /// IPTC-IIM records, of all blocks that have some.
    pub iptc: Option<Vec<u8>>,
    /// The copyright flag is set.
    copyrighted: bool,
    url: Option<String>,
    /// Bytes of other resources.
    pub other: usize,
}

impl Resources {
    /// Puts flag and address of the copyright where XMP has its place for them, unless it says something there already.
    pub(super) fn tell_xmp(&self, packet: &mut Option<Vec<u8>>) {
        let mark = self.copyrighted.then(|| ("Marked", "True".to_string()));
        for (name, value) in mark.into_iter().chain(self.url.clone().map(|url| ("WebStatement", url))) {
            let stated = packet.as_deref().and_then(xmp::Packet::scan).is_some_and(|p| p.value(xmp::XMP_RIGHTS, name).is_some());
            if !stated && xmp::is_xml(&value) {
                xmp::set(packet, xmp::XMP_RIGHTS, "xmpRights", name, &value);
            }
        }
    }
}

/// Reads Photoshop image resources.
pub(super) fn resources(mut irb: &[u8]) -> Resources {
    let mut found = Resources::default();
    while let Some(rest) = irb.strip_prefix(b"8BIM") {
        let step = || -> Option<(u16, &[u8], &[u8])> {
            let id = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
            let name = usize::from(*rest.get(2)?) + 1;
            let at = 2 + name + name % 2;
            let len = u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?) as usize;
            let data = rest.get(at + 4..(at + 4).checked_add(len)?)?;
            Some((id, data, rest.get(at + 4 + len + len % 2..).unwrap_or(&[])))
        };
        let Some((id, data, next)) = step() else { break };
        match (id, data) {
            (0x0404, records) if !records.is_empty() => {
                let all = found.iptc.get_or_insert_default();
                if all != records {
                    all.extend_from_slice(records);
                }
            }
            (0x040a, [flag]) => found.copyrighted = *flag != 0,
            (0x040b, url) => found.url = Some(String::from_utf8_lossy(url).trim_matches('\0').to_string()).filter(|u| !u.is_empty()),
            _ => found.other += data.len(),
        }
        irb = next;
    }
    found
}

/// IPTC-IIM records as a Photoshop image resource.
pub(super) fn resource_of_iptc(iptc: &[u8]) -> Vec<u8> {
    let mut out = b"8BIM\x04\x04\0\0".to_vec();
    out.extend((iptc.len() as u32).to_be_bytes());
    out.extend(iptc);
    if iptc.len() % 2 == 1 {
        out.push(0);
    }
    out
}

/// A resolution read from a file, freed from the rounding of its unit (2,835 pixels per metre are 72 dpi, and so are 2,834
/// where a writer cut off the fraction).
pub(super) fn tidy_dpi(x: f64, y: f64) -> Option<(f64, f64)> {
    let tidy = |v: f64| if (v - v.round()).abs() < 0.026 { v.round() } else { v };
    let sane = |v: f64| v.is_finite() && (1.0..1e6).contains(&v);
    let (x, y) = (tidy(x), tidy(y));
    (sane(x) && sane(y)).then_some((x, y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmp_values_are_replaced_as_attribute_and_element() {
        let mut p = b"<rdf:Description xmlns:tiff='x' tiff:Orientation = \"6\"\n tiff:ImageWidth='40'><tiff:ImageWidth>40</tiff:ImageWidth><mytiff:ImageWidth>1</mytiff:ImageWidth>".to_vec();
        assert_eq!(xmp_orientation(&p), Some(6));
        set_xmp(&mut p, "tiff:Orientation", "1");
        set_xmp(&mut p, "tiff:ImageWidth", "16000");
        let s = String::from_utf8(p).unwrap();
        assert_eq!(
            s,
            "<rdf:Description xmlns:tiff='x' tiff:Orientation = \"1\"\n tiff:ImageWidth='16000'><tiff:ImageWidth>16000</tiff:ImageWidth><mytiff:ImageWidth>1</mytiff:ImageWidth>"
        );
    }

    #[test]
    fn iptc_travels_in_photoshop_resources() {
        for len in [1, 2, 9] {
            let iptc = vec![0x1c; len];
            let mut irb = b"8BIM\x03\xed\0\0\0\0\0\x03abc\0".to_vec();
            irb.extend(resource_of_iptc(&iptc));
            assert_eq!(resources(&irb), Resources { iptc: Some(iptc), other: 3, ..Resources::default() });
        }
    }

    #[test]
    fn all_records_and_the_copyright_of_photoshop_count() {
        let mut irb = resource_of_iptc(b"\x1c\x02\x78\0\x01a");
        irb.extend(resource_of_iptc(b"\x1c\x02\x50\0\x02me"));
        irb.extend(b"8BIM\x04\x0a\0\0\0\0\0\x01\x01\0");
        irb.extend(b"8BIM\x04\x0b\0\0\0\0\0\x0dhttps://a.b/c");
        let found = resources(&irb);
        assert_eq!((found.iptc.as_deref(), found.other), (Some(&b"\x1c\x02\x78\0\x01a\x1c\x02\x50\0\x02me"[..]), 0));
        let mut packet = None;
        found.tell_xmp(&mut packet);
        xmp::set(&mut packet, xmp::XMP_RIGHTS, "xmpRights", "Marked", "False");
        found.tell_xmp(&mut packet);
        let text = packet.unwrap();
        let value = |name| xmp::Packet::scan(&text).unwrap().values(xmp::XMP_RIGHTS, name);
        assert_eq!((value("Marked"), value("WebStatement")), (vec!["False".to_string()], vec!["https://a.b/c".to_string()]));
    }

    #[test]
    fn resolutions_lose_the_rounding_of_their_unit() {
        for dpi in [72.0, 96.0, 150.0, 300.0, 1200.0] {
            let per_metre = (dpi / 0.0254f64).round();
            assert_eq!(tidy_dpi(per_metre * 0.0254, dpi), Some((dpi, dpi)));
        }
        assert_eq!(tidy_dpi(0.0, 72.0), None);
    }

    #[test]
    fn the_output_states_its_own_size_and_resolution() {
        let m = Metadata {
            exif: Some(exif::tests::sample(false, 6)),
            xmp: Some(b"<x tiff:Orientation=\"6\" exif:PixelXDimension=\"40\" tiff:XResolution=\"72/1\"/>".to_vec()),
            dpi: Some((72.0, 72.0)),
            c2pa: Some(vec![1]),
            ..Metadata::default()
        };
        let out = m.for_output(160, 120, Some((300.0, 300.0)));
        assert_eq!(exif::orientation(out.exif.as_ref().unwrap()), Some(1));
        assert_eq!(exif::dpi(out.exif.as_ref().unwrap()), Some((300.0, 300.0)));
        assert_eq!(out.xmp.unwrap(), b"<x tiff:Orientation=\"1\" exif:PixelXDimension=\"160\" tiff:XResolution=\"300/1\"/>");
        assert_eq!((out.dpi, out.c2pa), (Some((300.0, 300.0)), None));
        assert_eq!(m.for_output(1, 1, None).dpi, Some((72.0, 72.0)));
    }

    #[test]
    fn what_a_container_cannot_hold_is_said() {
        let m = Metadata {
            text: vec![Text::new("parameters", "a cat")],
            iptc: Some(vec![1]),
            exif: Some(vec![0; 70_000]),
            ..Metadata::default()
        };
        let how = |format| Encoding { format, quality: 92, lossless: false, bits: 8, ..Encoding::default() };
        assert!(losses(&how(Format::Png), Channels::Rgba, &m).is_empty());
        let jpeg = losses(&how(Format::Jpeg), Channels::Rgba, &m).join("\n");
        for word in ["white", "EXIF block (70000 bytes)"] {
            assert!(jpeg.contains(word), "{jpeg}");
        }
        let odd = Metadata { text: vec![Text::new("parameters", "a cat")], xmp: Some(b"no packet".to_vec()), ..Metadata::default() };
        assert!(losses(&how(Format::WebP), Channels::Rgb, &odd).join("\n").contains("`parameters`"));
    }

    #[test]
    fn sizes_are_corrected_under_any_prefix_and_stale_pictures_go() {
        let packet = format!(
            "<rdf:RDF xmlns:rdf='{}'><rdf:Description xmlns:t='{}' xmlns:x='{}' t:Orientation='6'><t:ImageWidth>40</t:ImageWidth>\
             <x:Thumbnails><rdf:Alt><rdf:li rdf:parseType='Resource'><x:image>AAAA</x:image></rdf:li></rdf:Alt></x:Thumbnails>\
             </rdf:Description></rdf:RDF>",
            xmp::RDF,
            xmp::TIFF,
            xmp::XMP
        );
        assert_eq!(xmp_orientation(packet.as_bytes()), Some(6));
        let wide: Vec<u8> = packet.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(xmp_orientation(&wide), Some(6));
        let out = Metadata { xmp: Some(packet.into_bytes()), ..Metadata::default() }.for_output(160, 120, None);
        let said = String::from_utf8(out.xmp.unwrap()).unwrap();
        assert!(said.contains("t:Orientation='1'") && said.contains("<t:ImageWidth>160</t:ImageWidth>"), "{said}");
        assert!(!said.contains("Thumbnails") && !said.contains("AAAA"), "{said}");
    }

    #[test]
    fn a_profile_without_its_tags_is_not_sound() {
        let whole = moxcms::ColorProfile::new_display_p3().encode().unwrap();
        let grey = moxcms::ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
        assert!(icc_is_sound(&whole) && icc_is_sound(&grey));
        let cut = &whole[..200];
        let spoilt = [&whole[..140], &vec![0xff; whole.len() - 140]].concat();
        assert!(icc_fits(cut, 3) && !icc_is_sound(cut) && icc_fits(&spoilt, 3) && !icc_is_sound(&spoilt));
    }

    #[test]
    fn a_png_text_without_a_sound_name_is_said() {
        let long = "k".repeat(80);
        let m = Metadata { text: vec![Text::new(&long, "v"), Text::new("", "v"), Text::new("fine", "v")], ..Metadata::default() };
        let said = losses(&Encoding::default(), Channels::Rgb, &m);
        assert!(said.len() == 2 && said[0].contains(&long) && said[1].contains("without a name"), "{said:?}");
    }
}
