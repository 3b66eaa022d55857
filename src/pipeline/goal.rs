//! Writing the finished rows, once or, to stay within a size, as often as that takes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ROWS;
use crate::band::Band;
use crate::codec::{self, Encoding, Metadata};
use crate::error::{Error, Result};
use crate::image::{Channels, Image};
use crate::spool::{Depth, SpoolWriter, Temporary};
use crate::upscale::size::Target;

/// Where the finished rows go: into the file, or, if it has a size to stay within, into a spool from which the file is written
/// as often as it takes to find the quality.
pub(super) struct Goal<'a> {
    output: &'a Path,
    pub(super) encoding: Encoding,
    size: (usize, usize),
    channels: Channels,
    metadata: Metadata,
    to: To,
}

enum To {
    /// And the most kilobytes that it may take, which nothing can be done about.
    File(Box<dyn codec::Encoder>, Option<u32>),
    Spool {
        rows: SpoolWriter,
        file: Temporary,
        max_kb: u32,
    },
}

impl<'a> Goal<'a> {
    pub(super) fn new(
        output: &'a Path,
        encoding: Encoding,
        target: &Target,
        channels: Channels,
        metadata: Metadata,
        max_kb: Option<u32>,
    ) -> Result<Self> {
        let size = (target.width, target.height);
        let to = match max_kb.filter(|_| encoding.is_lossy()) {
            None => To::File(codec::encoder(output, &encoding, size.0, size.1, channels, &metadata)?, max_kb),
            Some(max_kb) => {
                let file = Temporary::new(output.with_extension("spool"));
                To::Spool { rows: SpoolWriter::create(file.path(), size.0, channels.count(), Depth::U16)?, file, max_kb }
            }
        };
        Ok(Self { output, encoding, size, channels, metadata, to })
    }

    pub(super) fn write(&mut self, band: &Band) -> Result<()> {
        match &mut self.to {
            To::File(encoder, _) => encoder.write(band),
            To::Spool { rows, .. } => {
                if band.data.iter().any(|v| v.is_nan()) {
                    let what = format!("rows {}..{} hold values that are not numbers (NaN)", band.y, band.end());
                    return Err(Error::quality(self.output.display(), what, "--precision fp32, or another --model"));
                }
                rows.write(band)
            }
        }
    }

    /// The next rows of a picture that goes into the file as it is.
    pub(super) fn write_rows(&mut self, image: &Image, from: usize, to: usize) -> Result<()> {
        match &mut self.to {
            To::File(encoder, _) => encoder.write_rows(image, from, to),
            To::Spool { .. } => self.write(&image.band(from, to, 0..image.channels.count())),
        }
    }

    /// Completes the file; its size in bytes.
    pub(super) fn finish(self, stop: &AtomicBool, notes: &mut Vec<String>) -> Result<u64> {
        let Self { output, encoding, size: (w, h), channels, metadata, to } = self;
        let (rows, file, max_kb) = match to {
            To::File(encoder, most) => {
                let bytes = encoder.finish()?;
                return match most.filter(|kb| bytes > u64::from(*kb) * 1000) {
                    Some(_) => Err(Error::limit(
                        "--max-kb",
                        format!("the {} file takes {} kB and has no quality to lower", encoding.format.name(), bytes.div_ceil(1000)),
                        "--format jpeg or webp, or a higher --max-kb",
                    )),
                    None => Ok(bytes),
                };
            }
            To::Spool { rows, file, max_kb } => (rows, file, max_kb),
        };
        let mut rows = rows.finish()?;
        let best = encoding.quality;
        let mut least = u64::MAX;
        let mut at = |quality: u8| -> Result<u64> {
            let how = Encoding { quality, ..encoding.clone() };
            let mut encoder = codec::encoder(output, &how, w, h, channels, &metadata)?;
            let mut y = 0;
            while y < h {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                let end = (y + ROWS).min(h);
                encoder.write(&rows.read(y, end)?)?;
                y = end;
            }
            let bytes = encoder.finish()?;
            least = least.min(bytes);
            Ok(bytes)
        };
        let found = largest_quality(best, u64::from(max_kb) * 1000, &mut at);
        let (quality, bytes) = found.map_err(|e| for_metadata(e, least, metadata.bytes() as u64, max_kb))?;
        drop(file);
        if quality < best {
            notes.push(format!("quality {quality} instead of {best} to stay within {max_kb} kB"));
        }
        Ok(bytes)
    }
}

/// Says so where the smallest file that was made would meet a limit without what goes along with the picture: a smaller size does not
/// help there.
fn for_metadata(error: Error, least: u64, metadata: u64, max_kb: u32) -> Error {
    match error {
        Error::Limit { subject, what, .. } if least.saturating_sub(metadata) <= u64::from(max_kb) * 1000 => {
            let what = format!("{what}; {} kB of it are metadata (prompt, workflow, profile)", metadata.div_ceil(1000));
            Error::limit(subject, what, "--strip prompt or --metadata minimal, or a higher --max-kb")
        }
        e => e,
    }
}

/// The highest quality up to `best` whose file takes no more than `limit` bytes, and its size; `at` writes the file at a quality
/// and tells its size. The last file written is the one found.
///
/// # Errors
/// [`Error::Limit`] if even the lowest quality worth having takes more.
fn largest_quality(best: u8, limit: u64, at: &mut dyn FnMut(u8) -> Result<u64>) -> Result<(u8, u64)> {
    /// Below this, blocks are all that is seen.
    const WORST: u8 = 10;
    let bytes = at(best)?;
    if bytes <= limit {
        return Ok((best, bytes));
    }
    let (mut fits, mut over, mut last) = (None, best, best);
    let mut low = WORST.min(best);
    while low < over {
        // The lowest first: most limits that cannot be met are found out at once.
        let middle = if fits.is_none() { low } else { low + (over - low) / 2 };
        let bytes = at(middle)?;
        last = middle;
        if bytes > limit {
            if fits.is_none() {
                let what = format!("even at quality {middle} the file takes {} kB, more than {} kB", bytes.div_ceil(1000), limit / 1000);
                return Err(Error::limit("--max-kb", what, "a smaller size, or a higher --max-kb"));
            }
            over = middle;
        } else {
            fits = Some((middle, bytes));
            low = middle + 1;
        }
    }
    match fits {
        Some((quality, bytes)) if quality == last => Ok((quality, bytes)),
        Some((quality, _)) => Ok((quality, at(quality)?)),
        None => Err(Error::limit("--max-kb", format!("the file takes more than {} kB at quality {best}", limit / 1000), "a smaller size")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that takes `quality` times 10 bytes.
    fn search(best: u8, limit: u64) -> (Result<(u8, u64)>, Vec<u8>) {
        let mut tried = Vec::new();
        let found = largest_quality(best, limit, &mut |q| {
            tried.push(q);
            Ok(u64::from(q) * 10)
        });
        (found, tried)
    }

    #[test]
    fn the_highest_quality_that_fits_is_found_and_written_last() {
        for best in [10, 11, 50, 95, 100] {
            for limit in 100..=1000 {
                let (found, tried) = search(best, limit);
                let want = best.min((limit / 10) as u8);
                assert_eq!(found.unwrap(), (want, u64::from(want) * 10), "{best} {limit}");
                assert_eq!(*tried.last().unwrap(), want, "{best} {limit}: {tried:?}");
                assert!(tried.len() <= 10, "{tried:?}");
            }
        }
        assert_eq!(search(95, 950).1, [95], "what fits at once is written once");
        let (none, tried) = search(95, 99);
        let e = none.unwrap_err();
        assert_eq!((e.kind(), tried), ("limit", vec![95, 10]));
        assert!(e.to_string().contains("even at quality 10") && e.to_string().contains("--max-kb"), "{e}");
        assert_eq!(search(5, 49).0.unwrap_err().kind(), "limit");
    }

    #[test]
    fn a_limit_that_metadata_take_up_names_them() {
        let refused = || search(95, 99).0.unwrap_err();
        let said = for_metadata(refused(), 570_000, 560_000, 300).to_string();
        assert!(
            said.contains("even at quality 10") && said.contains("560 kB of it are metadata") && said.contains("--strip prompt"),
            "{said}"
        );
        assert_eq!(for_metadata(refused(), 570_000, 20_000, 300).to_string(), refused().to_string());
        assert_eq!(for_metadata(Error::Interrupted, 570_000, 560_000, 300).kind(), "interrupted");
    }
}
