//! EXIF blocks, read and patched in place.
//!
//! An EXIF block is a small TIFF file: header, IFD0, the EXIF sub-IFD and IFD1 (the thumbnail). MakerNotes hold offsets that
//! count from the start of the block, so the block is never rebuilt: values are overwritten where they stand.
//! Tag numbers: EXIF 2.32 (CIPA DC-008), TIFF 6.0.

pub(super) mod entries;

/// Orientation, SHORT.
const ORIENTATION: u16 = 0x0112;
const IMAGE_WIDTH: u16 = 0x0100;
const IMAGE_LENGTH: u16 = 0x0101;
const X_RESOLUTION: u16 = 0x011a;
const Y_RESOLUTION: u16 = 0x011b;
const THUMBNAIL_AT: u16 = 0x0201;
const THUMBNAIL_BYTES: u16 = 0x0202;
const RESOLUTION_UNIT: u16 = 0x0128;
const EXIF_IFD: u16 = 0x8769;
const PIXEL_X_DIMENSION: u16 = 0xa002;
const PIXEL_Y_DIMENSION: u16 = 0xa003;

const BYTE: u16 = 1;
const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const SBYTE: u16 = 6;
const UNDEFINED: u16 = 7;
const SSHORT: u16 = 8;
const SLONG: u16 = 9;

/// One 12-byte directory entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    /// Position of the 4-byte value field in the block.
    at: usize,
}

/// Byte order of a block, or none if it is not a TIFF block.
fn little(block: &[u8]) -> Option<bool> {
    match block.get(..4)? {
        b"II*\0" => Some(true),
        b"MM\0*" => Some(false),
        _ => None,
    }
}

fn u16_at(block: &[u8], at: usize, little: bool) -> Option<u16> {
    let b: [u8; 2] = block.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(if little { u16::from_le_bytes(b) } else { u16::from_be_bytes(b) })
}

fn u32_at(block: &[u8], at: usize, little: bool) -> Option<u32> {
    let b: [u8; 4] = block.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if little { u32::from_le_bytes(b) } else { u32::from_be_bytes(b) })
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    block.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

fn put_u32(block: &mut [u8], at: usize, v: u32, little: bool) -> Option<()> {
    put(block, at, &if little { v.to_le_bytes() } else { v.to_be_bytes() })
}

fn put_u16(block: &mut [u8], at: usize, v: u16, little: bool) -> Option<()> {
    put(block, at, &if little { v.to_le_bytes() } else { v.to_be_bytes() })
}

/// The entries of the directory at `at` and the position of its next-directory pointer.
fn entries(block: &[u8], at: usize, little: bool) -> Option<(Vec<Entry>, usize)> {
    // A directory inside the header would be changed with it.
    let n = usize::from(u16_at(block, Some(at).filter(|at| *at >= 8)?, little)?);
    let mut list = Vec::new();
    for i in 0..n {
        let e = at + 2 + i * 12;
        if e + 12 > block.len() {
            return Some((list, block.len()));
        }
        list.push(Entry {
            tag: u16_at(block, e, little)?,
            kind: u16_at(block, e + 2, little)?,
            count: u32_at(block, e + 4, little)?,
            at: e + 8,
        });
    }
    Some((list, at + 2 + n * 12))
}

fn ifd0(block: &[u8]) -> Option<(bool, Vec<Entry>, usize)> {
    let little = little(block)?;
    let (list, next) = entries(block, u32_at(block, 4, little)? as usize, little)?;
    Some((little, list, next))
}

fn sub_ifd(block: &[u8], little: bool, parent: &[Entry], tag: u16) -> Vec<Entry> {
    parent
        .iter()
        .find(|e| e.tag == tag)
        .and_then(|e| u32_at(block, e.at, little))
        .and_then(|at| entries(block, at as usize, little))
        .map_or_else(Vec::new, |(list, _)| list)
}

/// A single whole number, of whichever type: some writers take BYTE for an orientation.
fn integer(block: &[u8], e: &Entry, little: bool) -> Option<u32> {
    match (e.kind, e.count) {
        (BYTE | SBYTE, 1) => block.get(e.at).copied().map(u32::from),
        (SHORT | SSHORT, 1) => u16_at(block, e.at, little).map(u32::from),
        (LONG | SLONG, 1) => u32_at(block, e.at, little),
        _ => None,
    }
}

fn put_integer(block: &mut [u8], e: &Entry, v: u32, little: bool) -> bool {
    match (e.kind, e.count) {
        (BYTE | SBYTE, 1) => u8::try_from(v).ok().and_then(|v| put(block, e.at, &[v])).is_some(),
        (SHORT | SSHORT, 1) => u16::try_from(v).ok().and_then(|v| put_u16(block, e.at, v, little)).is_some(),
        (LONG | SLONG, 1) => put_u32(block, e.at, v, little).is_some(),
        _ => false,
    }
}

/// Whether the block has a readable first directory.
pub(super) fn is_valid(block: &[u8]) -> bool {
    ifd0(block).is_some()
}

/// The orientation 1..=8, if there is a valid one.
pub(super) fn orientation(block: &[u8]) -> Option<u8> {
    let (little, list, _) = ifd0(block)?;
    let e = list.iter().find(|e| e.tag == ORIENTATION)?;
    u8::try_from(integer(block, e, little)?).ok().filter(|v| (1..=8).contains(v))
}

/// Sets the orientation where the tag is present.
pub(super) fn set_orientation(block: &mut [u8], value: u8) {
    if let Some((little, list, _)) = ifd0(block) {
        for e in list.iter().filter(|e| e.tag == ORIENTATION) {
            put_integer(block, e, u32::from(value), little);
        }
    }
}

/// Pixels per inch from X/YResolution and ResolutionUnit (inch if absent).
pub(super) fn dpi(block: &[u8]) -> Option<(f64, f64)> {
    let (little, list, _) = ifd0(block)?;
    let find = |tag| list.iter().find(|e| e.tag == tag);
    let ratio = |tag| {
        let e: &Entry = find(tag)?;
        if e.kind != RATIONAL || e.count != 1 {
            return None;
        }
        let at = u32_at(block, e.at, little)? as usize;
        let (n, d) = (u32_at(block, at, little)?, u32_at(block, at.checked_add(4)?, little)?);
        (n > 0 && d > 0).then(|| f64::from(n) / f64::from(d))
    };
    let unit = find(RESOLUTION_UNIT).and_then(|e| integer(block, e, little)).unwrap_or(2);
    let per_inch = match unit {
        2 => 1.0,
        3 => 2.54,
        _ => return None,
    };
    Some((ratio(X_RESOLUTION)? * per_inch, ratio(Y_RESOLUTION)? * per_inch))
}

/// What [`set_size`] and [`set_dpi`] could not patch, because the tag is not there or has an unusual type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patched {
    Yes,
    /// The tag is not there (nothing stale remains).
    Absent,
    /// The tag is there but cannot be overwritten in place.
    Stuck,
}

/// Sets ImageWidth/ImageLength and PixelX/YDimension where they are present.
pub(super) fn set_size(block: &mut [u8], width: u32, height: u32) -> Patched {
    let Some((little, list, _)) = ifd0(block) else { return Patched::Absent };
    let sub = sub_ifd(block, little, &list, EXIF_IFD);
    let mut done = Patched::Absent;
    for e in list.iter().chain(&sub) {
        let v = match e.tag {
            IMAGE_WIDTH | PIXEL_X_DIMENSION => width,
            IMAGE_LENGTH | PIXEL_Y_DIMENSION => height,
            _ => continue,
        };
        if !put_integer(block, e, v, little) {
            // A smaller field has room for a LONG (its value field is 4 bytes), so the type is widened where it stands.
            if matches!(e.kind, BYTE | SBYTE | SHORT | SSHORT) && e.count == 1 {
                put_u16(block, e.at - 6, LONG, little);
                put_u32(block, e.at, v, little);
            } else {
                done = Patched::Stuck;
                continue;
            }
        }
        if done == Patched::Absent {
            done = Patched::Yes;
        }
    }
    done
}

/// Sets X/YResolution (as inches) where they are present.
pub(super) fn set_dpi(block: &mut [u8], dpi: (f64, f64)) -> Patched {
    let Some((little, list, _)) = ifd0(block) else { return Patched::Absent };
    let mut done = Patched::Absent;
    let mut unit = false;
    for e in &list {
        match e.tag {
            X_RESOLUTION | Y_RESOLUTION => {
                let v = if e.tag == X_RESOLUTION { dpi.0 } else { dpi.1 };
                let at = u32_at(block, e.at, little).map_or(usize::MAX, |v| v as usize);
                let (n, d) = rational(v);
                let fits = e.kind == RATIONAL && e.count == 1 && at.checked_add(8).is_some_and(|end| end <= block.len());
                if fits && put_u32(block, at, n, little).is_some() && put_u32(block, at + 4, d, little).is_some() {
                    done = Patched::Yes;
                } else {
                    return Patched::Stuck;
                }
            }
            RESOLUTION_UNIT => unit = put_integer(block, e, 2, little),
            _ => {}
        }
    }
    // Without the unit tag the standard says inch.
    if done == Patched::Yes && !unit && list.iter().any(|e| e.tag == RESOLUTION_UNIT) { Patched::Stuck } else { done }
}

/// Unlinks IFD1, whose thumbnail shows the picture before processing, and blanks it with the thumbnail's data: what it says
/// about the picture stands in IFD0, or stood there before somebody took it out.
pub(super) fn drop_thumbnail(block: &mut [u8]) {
    let Some((little, _, next)) = ifd0(block) else { return };
    if let Some((list, _)) = u32_at(block, next, little).filter(|&at| at >= 8).and_then(|at| entries(block, at as usize, little)) {
        let value = |tag| list.iter().find(|e| e.tag == tag).and_then(|e| integer(block, e, little)).map(|v| v as usize);
        if let (Some(at), Some(len)) = (value(THUMBNAIL_AT), value(THUMBNAIL_BYTES))
            && block.get(at..at.saturating_add(2)) == Some(b"\xff\xd8")
            && let Some(data) = block.get_mut(at..at.saturating_add(len))
        {
            data.fill(0);
        }
        if let Some(at) = u32_at(block, next, little) {
            entries::blank_directory(block, at as usize, &entries::in_use(block));
        }
    }
    put(block, next, &[0; 4]);
}

/// Puts X/YResolution (as inches) into a block, whether or not they are there.
pub(super) fn add_dpi(block: &mut Vec<u8>, dpi: (f64, f64)) -> bool {
    let ratio = |v| {
        let (n, d) = rational(v);
        entries::Value::Rational(n, d)
    };
    let new = [(X_RESOLUTION, ratio(dpi.0)), (Y_RESOLUTION, ratio(dpi.1)), (RESOLUTION_UNIT, entries::Value::Short(2))];
    entries::add(block, entries::Which::Main, &new)
}

/// Whether the block says nothing but the resolution and an orientation (which the pixels have), as blocks made for WebP do.
pub(super) fn is_only_dpi(block: &[u8]) -> bool {
    entries::says_nothing_but(block, &[ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT])
}

/// A resolution as a fraction with four decimals.
pub(super) fn rational(v: f64) -> (u32, u32) {
    if v.fract() == 0.0 && v <= f64::from(u32::MAX) {
        return (v as u32, 1);
    }
    ((v * 10_000.0).round().clamp(1.0, f64::from(u32::MAX)) as u32, 10_000)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A block with orientation, resolution, dimensions (SHORT), a maker note and a thumbnail directory.
    pub(in crate::codec) fn sample(little: bool, orientation: u8) -> Vec<u8> {
        let w = |b: &mut Vec<u8>, v: u32, n: usize| {
            let le = v.to_le_bytes();
            if little { b.extend(&le[..n]) } else { b.extend(le[..n].iter().rev()) }
        };
        let entry = |b: &mut Vec<u8>, tag: u16, kind: u16, count: u32, v: u32| {
            w(b, tag.into(), 2);
            w(b, kind.into(), 2);
            w(b, count, 4);
            if kind == SHORT && count == 1 {
                w(b, v, 2);
                w(b, 0, 2);
            } else {
                w(b, v, 4);
            }
        };
        let mut b = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        w(&mut b, 8, 4);
        let (sub, data, thumb) = (8 + 2 + 5 * 12 + 4, 8 + 2 + 5 * 12 + 4 + 2 + 3 * 12 + 4, 8 + 2 + 5 * 12 + 4 + 2 + 3 * 12 + 4 + 16 + 8);
        w(&mut b, 5, 2);
        entry(&mut b, ORIENTATION, SHORT, 1, orientation.into());
        entry(&mut b, X_RESOLUTION, RATIONAL, 1, data);
        entry(&mut b, Y_RESOLUTION, RATIONAL, 1, data + 8);
        entry(&mut b, RESOLUTION_UNIT, SHORT, 1, 3);
        entry(&mut b, EXIF_IFD, LONG, 1, sub);
        w(&mut b, thumb, 4);
        w(&mut b, 3, 2);
        entry(&mut b, 0x927c, 7, 8, data + 16);
        entry(&mut b, PIXEL_X_DIMENSION, SHORT, 1, 40);
        entry(&mut b, PIXEL_Y_DIMENSION, LONG, 1, 30);
        w(&mut b, 0, 4);
        for _ in 0..2 {
            w(&mut b, 11811, 4);
            w(&mut b, 100, 4);
        }
        b.extend(b"MAKERNOT");
        w(&mut b, 1, 2);
        entry(&mut b, 0x0103, SHORT, 1, 6);
        w(&mut b, 0, 4);
        b
    }

    #[test]
    fn patching_keeps_every_other_byte() {
        for little in [true, false] {
            let before = sample(little, 6);
            let mut b = before.clone();
            assert_eq!(orientation(&b), Some(6));
            let d = dpi(&b).unwrap();
            assert!((d.0 - 299.9994).abs() < 1e-9, "{d:?}");
            set_orientation(&mut b, 1);
            assert_eq!(orientation(&b), Some(1));
            assert_eq!(b.iter().zip(&before).filter(|(a, b)| a != b).count(), 1);
            assert_eq!(set_size(&mut b, 70_000, 300), Patched::Yes);
            let (le, list, next) = ifd0(&b).unwrap();
            let sub = sub_ifd(&b, le, &list, EXIF_IFD);
            assert_eq!(integer(&b, &sub[1], le), Some(70_000));
            assert_eq!(integer(&b, &sub[2], le), Some(300));
            assert_eq!(set_dpi(&mut b, (300.0, 150.5)), Patched::Yes);
            assert_eq!(dpi(&b), Some((300.0, 150.5)));
            assert_ne!(u32_at(&b, next, le), Some(0));
            drop_thumbnail(&mut b);
            assert_eq!(u32_at(&b, next, le), Some(0));
            assert_eq!(b.len(), before.len());
            let at = before.windows(8).position(|w| w == b"MAKERNOT").unwrap();
            assert_eq!(&b[at..at + 8], b"MAKERNOT");
        }
    }

    #[test]
    fn an_orientation_counts_whatever_its_type() {
        for (kind, little) in [(BYTE, true), (BYTE, false), (SBYTE, true), (SSHORT, false), (SLONG, true), (SLONG, false)] {
            let mut b = sample(little, 1);
            let (_, list, _) = ifd0(&b).unwrap();
            let e = list.iter().find(|e| e.tag == ORIENTATION).unwrap();
            put_u16(&mut b, e.at - 6, kind, little);
            put(&mut b, e.at, &[0; 4]);
            let at = if little || kind == BYTE || kind == SBYTE { e.at } else { e.at + if kind == SLONG { 3 } else { 1 } };
            b[at] = 6;
            assert_eq!(orientation(&b), Some(6), "type {kind}");
            assert_eq!(super::super::ifd::read(&b).unwrap().integer(ORIENTATION), Some(6), "type {kind}");
            set_orientation(&mut b, 1);
            assert_eq!(orientation(&b), Some(1), "type {kind}");
        }
    }

    #[test]
    fn what_the_thumbnails_directory_says_goes_with_it() {
        let mut b = entries::empty();
        b.extend(b"secret words\0\0");
        b[10..14].copy_from_slice(&28u32.to_be_bytes());
        b.extend(b"\0\x02\x01\x0e\0\x02\0\0\0\x0d\0\0\0\x0e\x87\x69\0\x04\0\0\0\x01\0\0\0\x1c\0\0\0\0");
        assert_eq!(entries::readings(&b, entries::Which::Thumbnail)[0].1, ["secret words"]);
        let mut shared = b.clone();
        drop_thumbnail(&mut b);
        assert!(b[14..].iter().all(|&v| v == 0), "{b:?}");
        // A value that the first directory has too stays.
        entries::add(&mut shared, entries::Which::Main, &[(PIXEL_X_DIMENSION, entries::Value::Undefined(vec![7; 13]))]);
        let (le, list, _) = ifd0(&shared).unwrap();
        put_u32(&mut shared, list[0].at, 14, le);
        drop_thumbnail(&mut shared);
        assert_eq!(&shared[14..26], b"secret words");
    }

    #[test]
    fn a_resolution_is_put_where_none_was() {
        let mut b = entries::empty();
        assert!(add_dpi(&mut b, (300.0, 72.25)));
        assert_eq!((dpi(&b), is_only_dpi(&b)), (Some((300.0, 72.25)), true));
        assert!(add_dpi(&mut b, (150.0, 150.0)));
        assert_eq!(dpi(&b), Some((150.0, 150.0)));
    }

    #[test]
    fn broken_blocks_are_harmless() {
        let whole = sample(true, 3);
        let mut state = 1u32;
        for cut in 0..whole.len() {
            for _ in 0..20 {
                let mut b = whole[..cut].to_vec();
                for _ in 0..3 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if let Some(v) = b.get_mut((state >> 8) as usize % cut.max(1)) {
                        *v = (state >> 24) as u8;
                    }
                }
                let len = b.len();
                orientation(&b);
                dpi(&b);
                set_orientation(&mut b, 1);
                set_size(&mut b, 9, 9);
                set_dpi(&mut b, (1.0, 1.0));
                drop_thumbnail(&mut b);
                assert_eq!(b.len(), len);
            }
        }
    }
}
