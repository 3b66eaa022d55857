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
