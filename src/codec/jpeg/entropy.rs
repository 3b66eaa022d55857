//! Whether the entropy-coded data of a Huffman-coded JPEG (ITU-T T.81, annexes F and G) holds every block, by reading its codes and
//! nothing more. The pixel decoder fills what is missing with grey and does not say so.

use super::progressive::{self, Band};
use super::{DHT, DRI, SOF0, SOS, Segment, is_frame};

/// A canonical Huffman code (T.81, F.2.2.3).
#[derive(Clone)]
pub(super) struct Table {
    /// By the next [`SHORT`] bits: length and value of the code that they begin with; length 0 for longer codes.
    short: Vec<(u8, u8)>,
    /// By length: one past the last code of that length, aligned to 16 bits; 0 where there is none.
    ends: [u32; 17],
    /// By length: index of its first value minus its first code.
    offsets: [i32; 17],
    values: Vec<u8>,
    /// As `short`, for AC coefficients: bits of the code and of the number behind it, and how many coefficients they pass over; 64
    /// where the rest of the block is 0.
    steps: Vec<(u8, u8)>,
}

/// Codes of up to so many bits are looked up at once.
const SHORT: u32 = 10;

impl Table {
    fn new(counts: &[u8], values: &[u8]) -> Self {
        let mut t = Self { short: vec![(0, 0); 1 << SHORT], ends: [0; 17], offsets: [0; 17], values: values.to_vec(), steps: Vec::new() };
        let (mut code, mut index) = (0u32, 0i32);
        for len in 1..=16u32 {
            let n = u32::from(counts[len as usize - 1]);
            t.offsets[len as usize] = index - code as i32;
            if len <= SHORT {
                for (k, value) in (code..code + n).zip(values.iter().skip(index as usize)) {
                    let from = (k << (SHORT - len)) as usize;
                    if let Some(slots) = t.short.get_mut(from..from + (1 << (SHORT - len))) {
                        slots.fill((len as u8, *value));
                    }
                }
            }
            code += n;
            index += n as i32;
            t.ends[len as usize] = if n > 0 { code << (16 - len) } else { 0 };
            code <<= 1;
        }
        t.steps = t.short.iter().map(|&(len, value)| if len > 0 { (len + (value & 15), passed(value)) } else { (0, 0) }).collect();
        t
    }
}

/// How many coefficients a code for AC coefficients passes over (F.2.2.2).
fn passed(value: u8) -> u8 {
    match (value >> 4, value & 15) {
        (15, 0) => 16,
        (_, 0) => 64,
        (run, _) => run + 1,
    }
}

/// Bits of one scan up to the next marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, aligned to the top; zeros behind them.
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Tops up to 32 bits or more, enough for a code and what follows it.
    #[inline]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(four) = self.data.get(self.at..).and_then(|d| d.first_chunk::<4>())
            && let four = u32::from_be_bytes(*four)
            && (!four).wrapping_sub(0x0101_0101) & four & 0x8080_8080 == 0
        {
            self.held |= u64::from(four) << (32 - self.count);
            self.count += 32;
            self.at += 4;
            return;
        }
        while self.count < 32 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => return,
                (Some(&b), _) => {
                    self.at += 1;
                    b
                }
            };
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next code's value; none if the data ends or there is no such code.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Table) -> Option<u8> {
        self.fill();
        let (len, value) = table.short[(self.held >> (64 - SHORT)) as usize];
        if len > 0 {
            self.skip(u32::from(len))?;
            return Some(value);
        }
        let peek = (self.held >> 48) as u32;
        let len = (SHORT + 1..=16).find(|&len| peek < table.ends[len as usize])?;
        self.skip(len)?;
        let index = (peek >> (16 - len)) as i32 + table.offsets[len as usize];
        table.values.get(usize::try_from(index).ok()?).copied()
    }

    /// The next `n` bits, 16 at most.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> Option<u32> {
        self.fill();
        let value = if n == 0 { 0 } else { (self.held >> (64 - n)) as u32 };
        self.skip(n)?;
        Some(value)
    }

    /// Passes over `n` bits that follow a code, 16 at most.
    #[inline]
    pub(super) fn skip(&mut self, n: u32) -> Option<()> {
        self.count = self.count.checked_sub(n)?;
        self.held <<= n;
        Some(())
    }

    /// Goes behind the next restart marker; none if another marker or the end comes first.
    fn restart(&mut self) -> Option<()> {
        loop {
            self.at += self.data.get(self.at..)?.iter().position(|&b| b == 0xff)?;
            match self.data.get(self.at + 1)? {
                0xd0..=0xd7 => break,
                0 => self.at += 2,
                0xff => self.at += 1,
                _ => return None,
            }
        }
        self.at += 2;
        (self.held, self.count) = (0, 0);
        Some(())
    }
}

struct Part {
    id: u8,
    across: usize,
    down: usize,
    seen: bool,
    /// Blocks in a row, whole units; and, in a progressive file, of each block which coefficients are not 0 so far.
    pitch: usize,
    blocks: Vec<u64>,
}

/// A component of a scan: its place in the frame and its tables for DC and AC.
type Chosen = (usize, usize, usize);

/// Whether every block of every scan is there, and a scan of every component; `None` for headers that make no sense (the decoder
/// will say why).
pub(super) fn intact(segments: &[Segment<'_>]) -> Option<bool> {
    let sof = segments.iter().find(|s| is_frame(s.marker)).filter(|s| s.marker <= SOF0 + 2)?;
    let progressive = sof.marker == SOF0 + 2;
    let &[_, h1, h0, w1, w0, n] = sof.data.first_chunk::<6>()?;
    let (width, height) = (usize::from(w1) << 8 | usize::from(w0), usize::from(h1) << 8 | usize::from(h0));
    let of = |c: &[u8]| {
        let (across, down) = (usize::from(c[1] >> 4), usize::from(c[1] & 15));
        Part { id: c[0], across, down, seen: false, pitch: 0, blocks: Vec::new() }
    };
    let mut parts: Vec<Part> = sof.data[6..].chunks_exact(3).take(usize::from(n)).map(of).collect();
    if parts.is_empty() || parts.iter().any(|p| !(1..=4).contains(&p.across) || !(1..=4).contains(&p.down)) {
        return None;
    }
    let (most_across, most_down) = (parts.iter().map(|p| p.across).max()?, parts.iter().map(|p| p.down).max()?);
    let (units_across, units_down) = (width.div_ceil(8 * most_across), height.div_ceil(8 * most_down));
    for p in parts.iter_mut().filter(|_| progressive) {
        p.pitch = units_across * p.across;
        let blocks = p.pitch * units_down * p.down;
        p.blocks.try_reserve_exact(blocks).ok()?;
        p.blocks.resize(blocks, 0);
    }
    let mut tables: [[Option<Table>; 4]; 2] = Default::default();
    let mut interval = 0usize;
    for s in segments {
        match s.marker {
            DRI => interval = s.data.first_chunk::<2>().map_or(0, |d| usize::from(u16::from_be_bytes(*d))),
            DHT => {
                let mut rest = s.data;
                while let Some((&[head, ref counts @ ..], after)) = rest.split_first_chunk::<17>() {
                    let n = counts.iter().map(|&c| usize::from(c)).sum();
                    let values = after.get(..n)?;
                    *tables.get_mut(usize::from(head >> 4))?.get_mut(usize::from(head & 15))? = Some(Table::new(counts, values));
                    rest = &after[n..];
                }
            }
            SOS => {
                let n = usize::from(*s.data.first()?);
                let chosen: Option<Vec<Chosen>> = s
                    .data
                    .get(1..1 + 2 * n)?
                    .chunks_exact(2)
                    .map(|c| {
                        let i = parts.iter().position(|p| p.id == c[0])?;
                        Some((i, usize::from(c[1] >> 4), usize::from(c[1] & 15)))
                    })
                    .collect();
                let chosen = chosen?;
                if progressive {
                    let scan = s.whole.get(head_len(s) + s.data.len()..)?;
                    let mut bits = Bits { data: scan, at: 0, held: 0, count: 0 };
                    let band = Band::of(s)?;
                    let units = (units_across, units_down);
                    let size = |i: usize| {
                        let p: &Part = &parts[i];
                        (side(width, p.across, most_across), side(height, p.down, most_down))
                    };
                    // Which block comes next: of a scan of one component those that its own size needs (A.2.2), else whole units (A.2.3).
                    let places: Box<dyn Iterator<Item = (usize, usize, usize, bool)>> = match chosen[..] {
                        [] => return None,
                        [(i, ..)] => {
                            let (across, down) = size(i);
                            Box::new((0..across * down).map(move |n| (0, n % across, n / across, true)))
                        }
                        _ => {
                            let shapes: Vec<(usize, usize)> = chosen.iter().map(|&(i, ..)| (parts[i].across, parts[i].down)).collect();
                            Box::new((0..units.0 * units.1).flat_map(move |unit| {
                                let (ux, uy) = (unit % units.0, unit / units.0);
                                let of = |(c, (a, d)): (usize, (usize, usize))| {
                                    (0..a * d).map(move |n| (c, ux * a + n % a, uy * d + n / a, c == 0 && n == 0))
                                };
                                shapes.clone().into_iter().enumerate().flat_map(of).collect::<Vec<_>>()
                            }))
                        }
                    };
                    let (mut unit, mut run) = (0usize, 0u32);
                    for (c, x, y, first) in places {
                        if first {
                            if interval > 0 && unit > 0 && unit.is_multiple_of(interval) {
                                run = 0;
                                if bits.restart().is_none() {
                                    return Some(false);
                                }
                            }
                            unit += 1;
                        }
                        let (i, dc, ac) = chosen[c];
                        let known = {
                            let p = &mut parts[i];
                            p.blocks.get_mut(y * p.pitch + x)?
                        };
                        let table = |class: usize, n: usize| tables[class].get(n).and_then(Option::as_ref);
                        match progressive::block(&mut bits, &band, (table(0, dc), table(1, ac)), known, &mut run) {
                            progressive::Read::Whole => {}
                            progressive::Read::Ended => return Some(false),
                            progressive::Read::Senseless => return None,
                        }
                    }
                    chosen.iter().filter(|_| band.from == 0).for_each(|&(i, ..)| parts[i].seen = true);
                    continue;
                }
                // A scan of one component has only the blocks that its own size needs (A.2.2), others whole units (A.2.3).
                let (units, blocks): (usize, Vec<(usize, usize)>) = match chosen[..] {
                    [] => return None,
                    [(i, dc, ac)] => {
                        let p = &parts[i];
                        (side(width, p.across, most_across) * side(height, p.down, most_down), vec![(dc, ac)])
                    }
                    _ => {
                        let all = chosen.iter().flat_map(|&(i, dc, ac)| std::iter::repeat_n((dc, ac), parts[i].across * parts[i].down));
                        (width.div_ceil(8 * most_across) * height.div_ceil(8 * most_down), all.collect())
                    }
                };
                let scan = s.whole.get(head_len(s) + s.data.len()..)?;
                let mut bits = Bits { data: scan, at: 0, held: 0, count: 0 };
                for unit in 0..units {
                    if interval > 0 && unit > 0 && unit % interval == 0 && bits.restart().is_none() {
                        return Some(false);
                    }
                    for &(dc, ac) in &blocks {
                        if block(&mut bits, tables[0].get(dc)?.as_ref()?, tables[1].get(ac)?.as_ref()?).is_none() {
                            return Some(false);
                        }
                    }
                }
                chosen.iter().for_each(|&(i, ..)| parts[i].seen = true);
            }
            _ => {}
        }
    }
    Some(parts.iter().all(|p| p.seen))
}

/// Blocks that a component of a picture `size` pixels long has, if its factor is `own` of `most`.
fn side(size: usize, own: usize, most: usize) -> usize {
    (size * own).div_ceil(most).div_ceil(8)
}

/// Bytes before a segment's data: 0xff (once or more), marker and length.
fn head_len(s: &Segment<'_>) -> usize {
    s.whole.iter().take_while(|&&b| b == 0xff).count() + 3
}

/// Reads over one block (F.2.2.1 and F.2.2.2).
fn block(bits: &mut Bits<'_>, dc: &Table, ac: &Table) -> Option<()> {
    let size = bits.symbol(dc)?;
    bits.skip(u32::from(size.min(16)))?;
    let mut k = 1;
    while k < 64 {
        bits.fill();
        let (taken, step) = ac.steps[(bits.held >> (64 - SHORT)) as usize];
        if taken > 0 {
            bits.skip(u32::from(taken))?;
            k += step;
        } else {
            let value = bits.symbol(ac)?;
            bits.skip(u32::from(value & 15))?;
            k += passed(value);
        }
    }
    Some(())
}
