//! A PNG's pixel data unpacked in one go by libdeflate, which is nearly twice as fast as a decoder that is given it bit by bit, and
//! handed on in stored blocks (RFC 1951, 3.2.4), so that filters, palettes and depths stay the `png` crate's affair.

use std::cell::Cell;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

/// Larger pixel data is unpacked as rows are read.
pub(super) const MOST: u64 = 128 << 20;
/// Of what a thread keeps for its next picture.
pub(super) const KEPT: usize = 64 << 20;
/// A stored block's most.
const BLOCK: usize = 0xffff;
/// zlib's header (RFC 1950), without anything.
const ZLIB: [u8; 2] = [0x78, 0x01];

/// A chunk's kind and data.
type Piece<'a> = ([u8; 4], &'a [u8]);

thread_local! {
    /// Memory that was used before costs less than memory that the system must clear first.
    static ROOM: Cell<(Vec<u8>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// The rows, each behind its filter's number, if the data is sound, holds all `raw` bytes and no more, and the memory is there.
pub(super) fn of(chunks: &[Piece<'_>], compressed: usize, raw: usize) -> Option<Vec<u8>> {
    let (mut packed, mut rows) = ROOM.take();
    packed.clear();
    let whole = match chunks.iter().filter(|c| &c.0 == b"IDAT").collect::<Vec<_>>()[..] {
        [(_, one)] => *one,
        ref parts => {
            packed.try_reserve_exact(compressed).ok()?;
            parts.iter().for_each(|(_, data)| packed.extend_from_slice(data));
            &packed
        }
    };
    if rows.capacity() < raw {
        rows = bytemuck::try_zeroed_vec(raw).ok()?;
    }
    rows.resize(raw, 0);
    let found = libdeflater::Decompressor::new().zlib_decompress(whole, &mut rows);
    let full = found == Ok(raw);
    if !full {
        ROOM.set((packed, rows));
        return None;
    }
    ROOM.set((packed, Vec::new()));
    Some(rows)
}

/// Keeps the memory for the thread's next picture.
pub(super) fn done(rows: Vec<u8>) {
    let (packed, _) = ROOM.take();
    let small = |v: Vec<u8>| if v.capacity() <= KEPT { v } else { Vec::new() };
    ROOM.set((small(packed), small(rows)));
}

/// A PNG file in pieces, of which most lie elsewhere.
pub(super) struct Source<'a> {
    pieces: Vec<Slice<'a>>,
    /// The piece that is read, and how much of it was.
    piece: usize,
    at: usize,
}

enum Slice<'a> {
    Own(Vec<u8>),
    There(&'a [u8]),
}

impl Slice<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(v) => v,
            Self::There(v) => v,
        }
    }
}

impl<'a> Source<'a> {
    /// A file of these chunks, its pixel data replaced by the unpacked, if there is any. Checksums are 0.
    pub(super) fn new(chunks: &[Piece<'a>], unpacked: Option<&'a [u8]>) -> Self {
        let mut pieces = vec![Slice::Own(b"\x89PNG\r\n\x1a\n".to_vec())];
        let mut unpacked = unpacked;
        let replaced = unpacked.is_some();
        for (kind, data) in chunks {
            if replaced && kind == b"IDAT" {
                if let Some(rows) = unpacked.take() {
                    stored(rows, &mut pieces);
                }
                continue;
            }
            pieces.push(Slice::Own([&(data.len() as u32).to_be_bytes()[..], kind].concat()));
            pieces.push(Slice::There(data));
            pieces.push(Slice::Own(vec![0; 4]));
        }
        Self { pieces, piece: 0, at: 0 }
    }
}

/// One IDAT chunk of stored blocks.
fn stored<'a>(rows: &'a [u8], pieces: &mut Vec<Slice<'a>>) {
    let blocks = rows.len().div_ceil(BLOCK);
    let len = ZLIB.len() + blocks * 5 + rows.len() + 4;
    let mut head = [&(len as u32).to_be_bytes()[..], b"IDAT", &ZLIB].concat();
    for (i, block) in rows.chunks(BLOCK).enumerate() {
        let len = block.len() as u16;
        head.push(u8::from(i + 1 == blocks));
        head.extend(len.to_le_bytes());
        head.extend((!len).to_le_bytes());
        pieces.push(Slice::Own(std::mem::take(&mut head)));
        pieces.push(Slice::There(block));
    }
    // Adler-32 and the chunk's checksum.
    pieces.push(Slice::Own(vec![0; 8]));
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.pieces.get(self.piece).is_some_and(|p| p.bytes().len() == self.at) {
            (self.piece, self.at) = (self.piece + 1, 0);
        }
        Ok(self.pieces.get(self.piece).map_or(&[], |p| &p.bytes()[self.at..]))
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

impl Read for Source<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let n = from.len().min(to.len());
        to[..n].copy_from_slice(&from[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// The decoder asks for it and makes no use of it.
impl Seek for Source<'_> {
    fn seek(&mut self, _to: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(rows: &[u8]) -> Vec<u8> {
        let mut z = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(3));
        z.write_all(rows).unwrap();
        z.finish().unwrap()
    }

    /// 300 x 200 grey pixels.
    fn rows() -> Vec<u8> {
        (0..200u32).flat_map(|y| std::iter::once(1).chain((0..300u32).map(move |x| (x * y % 251) as u8))).collect()
    }

    #[test]
    fn what_is_sound_and_full_is_unpacked_and_nothing_else() {
        let rows = rows();
        let z = packed(&rows);
        let of = |data: &[u8], raw: usize| of(&[(*b"IDAT", data)], data.len(), raw);
        assert_eq!(of(&z, rows.len()).as_deref(), Some(&rows[..]));
        assert_eq!(super::of(&[(*b"IDAT", &z[..99]), (*b"IDAT", &z[99..])], z.len(), rows.len()).as_deref(), Some(&rows[..]));
        done(rows.clone());
        assert_eq!(of(&z, rows.len()).as_deref(), Some(&rows[..]), "in memory that was used before");
        for raw in [rows.len() - 1, rows.len() + 1, 0] {
            assert_eq!(of(&z, raw), None, "{raw}");
        }
        assert_eq!(of(&z[..z.len() - 9], rows.len()), None);
        let mut wrong = z.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(of(&wrong, rows.len()), None, "its checksum is wrong");
    }

    #[test]
    fn stored_blocks_are_the_same_picture() {
        let rows = rows();
        let z = packed(&rows);
        let header: &[u8] = &[0, 0, 1, 44, 0, 0, 0, 200, 8, 0, 0, 0, 0];
        let chunks: [Piece<'_>; 4] = [(*b"IHDR", header), (*b"IDAT", &z[..500]), (*b"IDAT", &z[500..]), (*b"IEND", &[])];
        let pixels = |unpacked: Option<&[u8]>| {
            let mut options = png::DecodeOptions::default();
            options.set_ignore_crc(true);
            let mut reader = png::Decoder::new_with_options(Source::new(&chunks, unpacked), options).read_info().unwrap();
            let mut out = vec![0; 300 * 200];
            reader.next_frame(&mut out).unwrap();
            out
        };
        let unpacked = of(&chunks, z.len(), rows.len()).unwrap();
        assert!(pixels(None) == pixels(Some(&unpacked)));
    }
}
