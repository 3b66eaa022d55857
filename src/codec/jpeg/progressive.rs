//! Scans of a progressive JPEG (ITU-T T.81, annex G): read over to see whether they are whole, and counted to see whether any are
//! missing.

use super::entropy::{Bits, Table};
use super::{SOF0, SOS, Segment, is_frame};

/// What a scan holds: coefficients `from..=to`, down to the bit `low`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Band {
    pub from: u8,
    pub to: u8,
    /// One more bit of what is known, rather than the first.
    pub refines: bool,
    pub low: u8,
}

impl Band {
    /// Of a scan header; none if it makes no sense.
    pub(super) fn of(sos: &Segment<'_>) -> Option<Self> {
        let n = usize::from(*sos.data.first()?);
        let &[from, to, bits] = sos.data.get(1 + 2 * n..)?.first_chunk()?;
        let sense = if from == 0 { to == 0 } else { n == 1 && from <= to && to < 64 };
        sense.then_some(Self { from, to, refines: bits >> 4 > 0, low: bits & 15 })
    }
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Whole,
    /// The data ends before it, or is not of this code.
    Ended,
    /// There is no table for it.
    Senseless,
}

/// Reads over one block. `known` are the coefficients that are not 0 so far, `run` the blocks to come that have nothing new.
pub(super) fn block(bits: &mut Bits<'_>, band: &Band, (dc, ac): (Option<&Table>, Option<&Table>), known: &mut u64, run: &mut u32) -> Read {
    let whole = match (band.from, band.refines) {
        (0, true) => bits.take(1).map(drop),
        (0, false) => match dc {
            Some(table) => bits.symbol(table).and_then(|size| bits.skip(u32::from(size.min(16)))),
            None => return Read::Senseless,
        },
        _ => match ac {
            Some(table) if band.refines => refine(bits, band, table, known, run),
            Some(table) => first(bits, band, table, known, run),
            None => return Read::Senseless,
        },
    };
    if whole.is_some() { Read::Whole } else { Read::Ended }
}

/// How many blocks end here, this one included (G.1.2.2).
fn end_of_band(bits: &mut Bits<'_>, size: u8) -> Option<u32> {
    Some((1 << size) + bits.take(u32::from(size))?)
}

/// The first bits of AC coefficients (G.1.2.2).
fn first(bits: &mut Bits<'_>, band: &Band, table: &Table, known: &mut u64, run: &mut u32) -> Option<()> {
    if *run > 0 {
        *run -= 1;
        return Some(());
    }
    let mut k = band.from;
    while k <= band.to {
        let symbol = bits.symbol(table)?;
        match (symbol >> 4, symbol & 15) {
            (15, 0) => k += 16,
            (size, 0) => {
                *run = end_of_band(bits, size)? - 1;
                break;
            }
            (zeros, size) => {
                bits.skip(u32::from(size))?;
                k += zeros;
                *known |= 1 << k.min(63);
                k += 1;
            }
        }
    }
    Some(())
}

/// One more bit of AC coefficients (G.1.2.3): of each that is known, and those that are new with this bit.
fn refine(bits: &mut Bits<'_>, band: &Band, table: &Table, known: &mut u64, run: &mut u32) -> Option<()> {
    let before = *known;
    let mut k = band.from;
    if *run == 0 {
        while k <= band.to {
            let symbol = bits.symbol(table)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            if size == 0 && zeros < 15 {
                *run = end_of_band(bits, zeros)?;
                break;
            }
            if size > 0 {
                bits.take(1)?;
            }
            while k <= band.to {
                if before >> k & 1 == 1 {
                    bits.take(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if size > 0 {
                *known |= 1 << k.min(63);
            }
            k += 1;
        }
    }
    if *run > 0 {
        for k in k..=band.to {
            if before >> k & 1 == 1 {
                bits.take(1)?;
            }
        }
        *run -= 1;
    }
    Some(())
}

/// Whether some coefficient of a progressive picture was never sent down to its last bit: scans are missing at the end.
pub(super) fn coarse(segments: &[Segment<'_>]) -> bool {
    let Some(sof) = segments.iter().find(|s| is_frame(s.marker)).filter(|s| s.marker == SOF0 + 2) else { return false };
    let ids = sof.data.get(6..).unwrap_or_default().chunks_exact(3).map(|c| c[0]);
    let mut left: Vec<(u8, [u8; 64])> = ids.map(|id| (id, [u8::MAX; 64])).collect();
    for sos in segments.iter().filter(|s| s.marker == SOS) {
        let Some(band) = Band::of(sos) else { continue };
        let n = usize::from(sos.data[0]);
        for id in sos.data[1..1 + 2 * n].iter().step_by(2) {
            let of_it = left.iter_mut().filter(|l| l.0 == *id);
            of_it.for_each(|l| l.1[usize::from(band.from)..=usize::from(band.to)].fill(band.low));
        }
    }
    left.iter().any(|(_, low)| low.iter().any(|&low| low > 0))
}
