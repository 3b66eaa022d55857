//! Boxes of the ISO base media file format (ISO/IEC 14496-12), which JPEG XL, AVIF and JUMBF share.

/// The boxes of a file or of a box's content: type and content. Ends where they stop making sense.
pub(super) fn boxes(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    all(bytes).filter(|b| b.2).map(|b| (b.0, b.1))
}

/// The same with a last box that is cut off, and whether a box is whole.
pub(super) fn all(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8], bool)> {
    std::iter::from_fn(move || {
        let head = bytes.first_chunk::<8>()?;
        let kind = [head[4], head[5], head[6], head[7]];
        let (skip, len) = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => (8, bytes.len()),
            1 => (16, usize::try_from(u64::from_be_bytes(*bytes.get(8..16)?.first_chunk()?)).ok()?),
            n => (8, n as usize),
        };
        let whole = len <= bytes.len();
        let content = bytes.get(skip..len.min(bytes.len()))?;
        bytes = bytes.get(len..).unwrap_or(&[]);
        Some((kind, content, whole))
    })
}

/// One item of a HEIF file (ISO/IEC 23008-12): a picture, a part of one, or metadata.
#[cfg(feature = "avif")]
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Item {
    pub id: u32,
    /// `av01`, `Exif`, `mime`, `grid`, ...
    pub kind: [u8; 4],
    /// For `mime`.
    pub content_type: String,
    pub data: Vec<u8>,
    /// Property boxes in order: type and content.
    pub properties: Vec<([u8; 4], Vec<u8>)>,
    /// References to other items: type and target.
    pub references: Vec<([u8; 4], u32)>,
}

#[cfg(feature = "avif")]
impl Item {
    pub fn property(&self, kind: &[u8; 4]) -> Option<&[u8]> {
        self.properties.iter().find(|p| p.0 == *kind).map(|p| &p.1[..])
    }

    /// The item that this one refers to in that way.
    pub fn refers(&self, kind: &[u8; 4]) -> Option<u32> {
        self.references.iter().find(|r| r.0 == *kind).map(|r| r.1)
    }
}

/// The items of a HEIF file.
#[cfg(feature = "avif")]
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Heif {
    pub primary: u32,
    pub items: Vec<Item>,
    /// Some item's data lies behind the end of the file.
    pub cut: bool,
}

/// Big-endian numbers of given widths from the front of a slice.
#[cfg(feature = "avif")]
struct Numbers<'a>(&'a [u8]);

#[cfg(feature = "avif")]
impl Numbers<'_> {
    fn take(&mut self, bytes: usize) -> Option<u64> {
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(head.iter().fold(0, |v, b| v << 8 | u64::from(*b)))
    }

    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|&b| b == 0)?;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Some(text)
    }
}

#[cfg(feature = "avif")]
impl Heif {
    /// Reads the `meta` box of a file; `None` if there is none or it makes no sense.
    pub fn read(file: &[u8]) -> Option<Self> {
        /// Items and properties of one file at most.
        const MOST: usize = 4096;
        let meta = boxes(file).find(|b| &b.0 == b"meta")?.1.get(4..)?;
        let inside = |kind: &[u8; 4]| boxes(meta).find(|b| b.0 == *kind).map(|b| b.1);
        let mut heif = Self::default();
        let pitm = inside(b"pitm")?;
        heif.primary = Numbers(pitm.get(4..)?).take(if pitm[0] == 0 { 2 } else { 4 })? as u32;
        let iinf = inside(b"iinf")?;
        for (_, infe) in boxes(iinf.get(if *iinf.first()? == 0 { 6 } else { 8 }..)?).filter(|b| &b.0 == b"infe").take(MOST) {
            let version = *infe.first()?;
            if version < 2 {
                continue;
            }
            let mut n = Numbers(infe.get(4..)?);
            let id = n.take(if version == 2 { 2 } else { 4 })? as u32;
            n.take(2)?;
            let kind = *n.0.first_chunk::<4>()?;
            n.take(4)?;
            let content_type = if &kind == b"mime" { n.text().and_then(|_| n.text()).unwrap_or_default() } else { String::new() };
            heif.items.push(Item { id, kind, content_type, ..Item::default() });
        }
        heif.locations(file, inside(b"iloc")?, inside(b"idat").unwrap_or(&[]))?;
        if let Some(iref) = inside(b"iref") {
            let wide = if *iref.first()? == 0 { 2 } else { 4 };
            for (kind, data) in boxes(iref.get(4..)?).take(MOST) {
                let mut n = Numbers(data);
                let from = n.take(wide)? as u32;
                for _ in 0..n.take(2)? {
                    let to = n.take(wide)? as u32;
                    if let Some(item) = heif.items.iter_mut().find(|i| i.id == from) {
                        item.references.push((kind, to));
                    }
                }
            }
        }
        let iprp = inside(b"iprp")?;
        let all: Vec<([u8; 4], &[u8])> = boxes(boxes(iprp).find(|b| &b.0 == b"ipco")?.1).take(MOST).collect();
        for (_, ipma) in boxes(iprp).filter(|b| &b.0 == b"ipma") {
            let (version, wide) = (*ipma.first()?, ipma.get(3)? & 1 == 1);
            let mut n = Numbers(ipma.get(4..)?);
            for _ in 0..n.take(4)? {
                let id = n.take(if version == 0 { 2 } else { 4 })? as u32;
                for _ in 0..n.take(1)? {
                    let index = if wide { n.take(2)? & 0x7fff } else { n.take(1)? & 0x7f };
                    let property = (index as usize).checked_sub(1).and_then(|i| all.get(i));
                    let item = heif.items.iter_mut().find(|i| i.id == id);
                    if let (Some((kind, data)), Some(item)) = (property, item)
                        && item.properties.len() < 64
                    {
                        item.properties.push((*kind, data.to_vec()));
                    }
                }
            }
        }
        Some(heif)
    }

    /// Reads `iloc` and fetches the items' data from the file or from `idat`.
    fn locations(&mut self, file: &[u8], iloc: &[u8], idat: &[u8]) -> Option<()> {
        let version = *iloc.first()?;
        let &[sizes, more] = iloc.get(4..6)?.first_chunk::<2>()?;
        let (offset, length, base) = (usize::from(sizes >> 4), usize::from(sizes & 15), usize::from(more >> 4));
        let index = if version == 0 { 0 } else { usize::from(more & 15) };
        if [offset, length, base, index].iter().any(|w| ![0, 4, 8].contains(w)) {
            return None;
        }
        let wide = if version < 2 { 2 } else { 4 };
        let mut n = Numbers(iloc.get(6..)?);
        // No item's data is longer than the file, all of them together not much longer.
        let mut room = file.len().saturating_mul(2);
        for _ in 0..n.take(wide)? {
            let id = n.take(wide)? as u32;
            let method = if version == 0 { 0 } else { n.take(2)? & 15 };
            n.take(2)?;
            let start = n.take(base)?;
            for _ in 0..n.take(2)? {
                n.take(index)?;
                let (at, len) = (n.take(offset)?.saturating_add(start), n.take(length)?);
                let Some(item) = self.items.iter_mut().find(|i| i.id == id) else { continue };
                let from = if method == 0 { file } else { idat };
                let at = usize::try_from(at).ok()?;
                let len = if len == 0 { from.len().saturating_sub(at) } else { usize::try_from(len).ok()? };
                match at.checked_add(len).and_then(|end| from.get(at..end)) {
                    Some(part) if method < 2 && part.len() <= room => {
                        room -= part.len();
                        item.data.extend_from_slice(part);
                    }
                    _ => self.cut = true,
                }
            }
        }
        Some(())
    }

    pub fn item(&self, id: u32) -> Option<&Item> {
        self.items.iter().find(|i| i.id == id)
    }

    /// The items that describe `id`.
    pub fn about(&self, id: u32) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |i| i.refers(b"cdsc") == Some(id))
    }

    /// A file with this brand: `ftyp`, `meta`, `mdat`.
    pub fn write(&self, brand: &[u8; 4], compatible: &[u8]) -> Vec<u8> {
        let boxed = |kind: &[u8; 4], parts: &[&[u8]]| {
            let len = 8 + parts.iter().map(|p| p.len()).sum::<usize>();
            let mut out = (len as u32).to_be_bytes().to_vec();
            out.extend(kind);
            parts.iter().for_each(|p| out.extend_from_slice(p));
            out
        };
        let full = |kind: &[u8; 4], version: u8, parts: &[&[u8]]| {
            let head = [version, 0, 0, 0];
            boxed(kind, &[&[&head[..]][..], parts].concat())
        };
        let short = |v: usize| (v as u16).to_be_bytes();
        let mut infes = short(self.items.len()).to_vec();
        for i in &self.items {
            let mime = if &i.kind == b"mime" { format!("{}\0", i.content_type) } else { String::new() };
            infes.extend(full(b"infe", 2, &[&short(i.id as usize), &[0, 0], &i.kind, b"\0", mime.as_bytes()]));
        }
        // A property that several items have is written once.
        let mut properties: Vec<&([u8; 4], Vec<u8>)> = Vec::new();
        let mut ipma = (self.items.iter().filter(|i| !i.properties.is_empty()).count() as u32).to_be_bytes().to_vec();
        for i in self.items.iter().filter(|i| !i.properties.is_empty()) {
            ipma.extend(short(i.id as usize));
            ipma.push(i.properties.len() as u8);
            for p in &i.properties {
                let index = properties.iter().position(|q| *q == p).unwrap_or_else(|| {
                    properties.push(p);
                    properties.len() - 1
                });
                // What a reader must understand to show the picture.
                let essential = matches!(&p.0, b"av1C" | b"irot" | b"imir" | b"clap");
                ipma.push((index as u8 + 1) | if essential { 0x80 } else { 0 });
            }
        }
        let ipco: Vec<u8> = properties.iter().flat_map(|p| boxed(&p.0, &[&p.1])).collect();
        let iprp = boxed(b"iprp", &[&boxed(b"ipco", &[&ipco]), &full(b"ipma", 0, &[&ipma])]);
        let iref: Vec<u8> = self
            .items
            .iter()
            .flat_map(|i| i.references.iter().map(|r| boxed(&r.0, &[&short(i.id as usize), &[0, 1], &short(r.1 as usize)])))
            .flatten()
            .collect();
        let ftyp = boxed(b"ftyp", &[brand, &[0; 4], compatible]);
        let meta = |data_at: usize| {
            let mut at = data_at;
            let mut iloc = [&[0x44, 0][..], &short(self.items.len())].concat();
            for i in &self.items {
                iloc.extend([short(i.id as usize), [0, 0], [0, 1]].concat());
                iloc.extend((at as u32).to_be_bytes());
                iloc.extend((i.data.len() as u32).to_be_bytes());
                at += i.data.len();
            }
            let parts = [
                full(b"hdlr", 0, &[&[0; 4], b"pict", &[0; 12], b"\0"]),
                full(b"pitm", 0, &[&short(self.primary as usize)]),
                full(b"iloc", 0, &[&iloc]),
                full(b"iinf", 0, &[&infes]),
                if iref.is_empty() { Vec::new() } else { full(b"iref", 0, &[&iref]) },
                iprp.clone(),
            ];
            full(b"meta", 0, &[&parts.concat()])
        };
        // The offsets have a fixed width, so that they do not change the length of what stands before the data.
        let data_at = ftyp.len() + meta(0).len() + 8;
        let data: Vec<u8> = self.items.iter().flat_map(|i| i.data.iter().copied()).collect();
        [ftyp, meta(data_at), boxed(b"mdat", &[&data])].concat()
    }
}

#[cfg(all(test, feature = "avif"))]
mod tests {
    use super::*;

    #[test]
    fn items_go_out_and_in() {
        let heif = Heif {
            primary: 1,
            items: vec![
                Item {
                    id: 1,
                    kind: *b"av01",
                    data: vec![1, 2, 3],
                    properties: vec![(*b"ispe", vec![0; 12]), (*b"pixi", vec![7])],
                    ..Item::default()
                },
                Item {
                    id: 2,
                    kind: *b"av01",
                    data: vec![4],
                    properties: vec![(*b"ispe", vec![0; 12])],
                    references: vec![(*b"auxl", 1)],
                    ..Item::default()
                },
                Item {
                    id: 3,
                    kind: *b"mime",
                    content_type: "application/rdf+xml".into(),
                    data: vec![5; 300],
                    references: vec![(*b"cdsc", 1)],
                    ..Item::default()
                },
            ],
            cut: false,
        };
        let file = heif.write(b"avif", b"avifmif1");
        assert_eq!(Heif::read(&file), Some(heif.clone()));
        assert_eq!(heif.about(1).next().map(|i| i.id), Some(3));
        assert!(Heif::read(&file[..file.len() - 5]).is_some_and(|h| h.cut));
        for keep in 0..file.len() - 304 {
            // Whatever is cut, nothing panics.
            let _ = Heif::read(&file[..keep]);
        }
    }
}
