//! TIFF directories as data: read out of a TIFF file or an EXIF block, written back with every offset made anew.
//!
//! TIFF 6.0, section 2; BigTIFF differs in the width of counts and offsets only. Values are held little-endian.

/// Sub-directories that are followed: EXIF, GPS, interoperability.
const POINTERS: [u16; 3] = [0x8769, 0x8825, 0xa005];
/// IPTC is bytes, though Photoshop labels it LONG; it must not be swapped.
const IPTC: u16 = 33723;

const SHORT: u16 = 3;
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;
const LONG8: u16 = 16;

/// One tag and its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub tag: u16,
    pub kind: u16,
    /// Values, little-endian.
    pub data: Vec<u8>,
}

/// A directory and those it points to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Directory {
    pub fields: Vec<Field>,
    pub subs: Vec<(u16, Directory)>,
    /// Another directory follows (the next page, or a thumbnail).
    pub more: bool,
}

/// Bytes per value of a field type, 0 if unknown.
pub(super) fn width(kind: u16) -> usize {
    match kind {
        // 129 is EXIF 3.0's UTF-8.
        1 | 2 | 6 | 7 | 129 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 0,
    }
}

/// Bytes swapped together: a rational is two 4-byte numbers.
fn unit(kind: u16) -> usize {
    if kind == 5 || kind == 10 { 4 } else { width(kind) }
}

impl Field {
    pub(super) fn short(tag: u16, values: &[u16]) -> Self {
        Self { tag, kind: SHORT, data: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
    }

    pub(super) fn long(tag: u16, value: u32) -> Self {
        Self { tag, kind: LONG, data: value.to_le_bytes().to_vec() }
    }

    pub(super) fn rational(tag: u16, value: (u32, u32)) -> Self {
        Self { tag, kind: 5, data: [value.0.to_le_bytes(), value.1.to_le_bytes()].concat() }
    }

    pub(super) fn bytes(tag: u16, kind: u16, data: &[u8]) -> Self {
        Self { tag, kind, data: data.to_vec() }
    }

    /// Offsets or lengths in the file, as wide as the file needs.
    pub(super) fn positions(tag: u16, values: &[u64], big: bool) -> Self {
        if big {
            return Self { tag, kind: LONG8, data: values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        }
        Self { tag, kind: LONG, data: values.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect() }
    }

    /// All values as integers; empty for other types.
    pub(super) fn integers(&self) -> Vec<u64> {
        let n = width(self.kind);
        // Signed ones are read as what they are if they are not negative, which nothing that is asked for can be.
        if !matches!(self.kind, 1 | 6 | 8 | 9 | SHORT | LONG | 13 | LONG8 | 18) {
            return Vec::new();
        }
        self.data.chunks_exact(n).map(|b| b.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))).collect()
    }

    /// The first value of a rational.
    pub(super) fn ratio(&self) -> Option<f64> {
        let b: [u8; 8] = self.data.get(..8)?.try_into().ok()?;
        let (n, d) = (u32::from_le_bytes([b[0], b[1], b[2], b[3]]), u32::from_le_bytes([b[4], b[5], b[6], b[7]]));
        (self.kind == 5 && d != 0).then(|| f64::from(n) / f64::from(d))
    }
}

impl Directory {
    pub(super) fn find(&self, tag: u16) -> Option<&Field> {
        self.fields.iter().find(|f| f.tag == tag)
    }

    /// The first value of an integer tag.
    pub(super) fn integer(&self, tag: u16) -> Option<u64> {
        self.find(tag)?.integers().first().copied()
    }

    /// All values of an integer tag.
    pub(super) fn integers(&self, tag: u16) -> Vec<u64> {
        self.find(tag).map(Field::integers).unwrap_or_default()
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    little: bool,
    big: bool,
    /// Value bytes that may still be copied: entries could all point at the same large area.
    room: usize,
}

/// The first directory of a TIFF file or EXIF block.
pub(super) fn read(bytes: &[u8]) -> Option<Directory> {
    let (little, big) = match bytes.get(..4)? {
        b"II*\0" => (true, false),
        b"MM\0*" => (false, false),
        b"II+\0" => (true, true),
        b"MM\0+" => (false, true),
        _ => return None,
    };
    let mut r = Reader { bytes, little, big, room: bytes.len() + (1 << 16) };
    let at = if big { r.number(8, 8)? } else { r.number(4, 4)? };
    r.directory(usize::try_from(at).ok()?, 0)
}

impl Reader<'_> {
    fn number(&self, at: usize, n: usize) -> Option<u64> {
        let b = self.bytes.get(at..at.checked_add(n)?)?;
        let join = |v: u64, &b: &u8| v << 8 | u64::from(b);
        Some(if self.little { b.iter().rev().fold(0, join) } else { b.iter().fold(0, join) })
    }

    fn directory(&mut self, at: usize, depth: usize) -> Option<Directory> {
        let (head, entry, inline) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let n = usize::try_from(self.number(at, head)?).ok()?.min(4096);
        let mut dir = Directory::default();
        for i in 0..n {
            let e = at + head + i * entry;
            let (Some(tag), Some(kind), Some(count)) = (self.number(e, 2), self.number(e + 2, 2), self.number(e + 4, inline)) else {
                break;
            };
            let (tag, mut kind) = (tag as u16, kind as u16);
            let value = e + 4 + inline;
            if POINTERS.contains(&tag) && depth < 2 {
                let to = self.number(value, inline).and_then(|v| usize::try_from(v).ok());
                if let Some(sub) = to.and_then(|to| self.directory(to, depth + 1)) {
                    dir.subs.push((tag, sub));
                }
                continue;
            }
            let Some(len) = usize::try_from(count).ok().and_then(|c| c.checked_mul(width(kind))).filter(|&l| l > 0 && l <= self.room)
            else {
                continue;
            };
            let from = if len <= inline { Some(value) } else { self.number(value, inline).and_then(|v| usize::try_from(v).ok()) };
            let Some(data) = from.and_then(|f| self.bytes.get(f..f.checked_add(len)?)) else { continue };
            self.room -= len;
            let mut data = data.to_vec();
            if tag == IPTC {
                kind = UNDEFINED;
            }
            if !self.little && unit(kind) > 1 {
                data.chunks_exact_mut(unit(kind)).for_each(<[u8]>::reverse);
            }
            dir.fields.push(Field { tag, kind, data });
        }
        dir.more = self.number(at + head + n * entry, inline).is_some_and(|next| next != 0);
        Some(dir)
    }
}

/// The bytes of a directory, its values and its sub-directories, for position `at` of a little-endian file; and where in the
/// file the directory itself begins. `at` must be even.
pub(super) fn write(dir: &Directory, at: u64, big: bool) -> (Vec<u8>, u64) {
    let (head, entry, inline) = if big { (8, 20, 8) } else { (2, 12, 4) };
    let mut out = Vec::new();
    let mut fields: Vec<(u16, u16, u64, Vec<u8>)> = Vec::new();
    let pad = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(8), 0);
    for (tag, sub) in &dir.subs {
        let (bytes, begins) = write(sub, at + out.len() as u64, big);
        out.extend(bytes);
        pad(&mut out);
        fields.push((*tag, if big { 18 } else { LONG }, 1, begins.to_le_bytes()[..inline].to_vec()));
    }
    for f in &dir.fields {
        let count = (f.data.len() / width(f.kind).max(1)) as u64;
        let value = if f.data.len() <= inline {
            f.data.clone()
        } else {
            let position = at + out.len() as u64;
            out.extend_from_slice(&f.data);
            pad(&mut out);
            position.to_le_bytes()[..inline].to_vec()
        };
        fields.push((f.tag, f.kind, count, value));
    }
    fields.sort_by_key(|f| f.0);
    let begins = at + out.len() as u64;
    out.extend_from_slice(&(fields.len() as u64).to_le_bytes()[..head]);
    for (tag, kind, count, mut value) in fields {
        out.extend(tag.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes()[..inline]);
        value.resize(inline, 0);
        out.extend(value);
    }
    debug_assert_eq!((out.len() as u64 - (begins - at) - head as u64) % entry, 0);
    out.resize(out.len() + inline, 0);
    (out, begins)
}

/// A directory as an EXIF block.
pub(super) fn block(dir: &Directory) -> Vec<u8> {
    let (bytes, begins) = write(dir, 8, false);
    let mut out = b"II*\0".to_vec();
    out.extend((begins as u32).to_le_bytes());
    out.extend(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::super::exif;
    use super::*;

    #[test]
    fn a_block_is_rebuilt_with_the_same_values() {
        for little in [true, false] {
            let dir = read(&exif::tests::sample(little, 6)).unwrap();
            assert!(dir.more);
            assert_eq!(dir.integer(0x0112), Some(6));
            let sub = &dir.subs[0].1;
            assert_eq!((sub.find(0x927c).unwrap().data.as_slice(), sub.integer(0xa002)), (&b"MAKERNOT"[..], Some(40)));
            let again = read(&block(&dir)).unwrap();
            assert_eq!((&again.fields, &again.subs), (&dir.fields, &dir.subs));
            assert_eq!(exif::orientation(&block(&dir)), Some(6));
        }
    }

    #[test]
    fn big_directories_read_back() {
        let dir = Directory {
            fields: vec![Field::long(256, 9), Field::positions(273, &[1 << 40, 5], true), Field::rational(282, (300, 1))],
            subs: vec![(0x8769, Directory { fields: vec![Field::bytes(0x927c, 7, b"0123456789")], ..Directory::default() })],
            more: false,
        };
        let (bytes, begins) = write(&dir, 16, true);
        let mut file = b"II+\0\x08\0\0\0".to_vec();
        file.extend(begins.to_le_bytes());
        file.extend(bytes);
        assert_eq!(read(&file), Some(dir));
    }

    #[test]
    fn hostile_directories_end() {
        let whole = exif::tests::sample(false, 3);
        let mut state = 7u32;
        for _ in 0..5000 {
            let mut b = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % b.len();
                b[at] = (state >> 24) as u8;
            }
            if let Some(dir) = read(&b) {
                assert!(dir.fields.iter().map(|f| f.data.len()).sum::<usize>() <= b.len() + (1 << 16));
            }
        }
        // A directory that is its own EXIF directory.
        let mut loops = b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0".to_vec();
        loops.extend([0; 4]);
        assert!(read(&loops).is_some());
    }
}
