//! The mended version of a finished picture, as a file like the one it came from.

use std::path::Path;

use super::ROWS;
use super::history::mended_event;
use crate::codec::{self, Changes, Encoding};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::inspect::repair::Patches;

/// How a note begins that says why there is no mended version although there are patches.
pub const NOT_WRITTEN: &str = "the mended version could not be written: ";

/// How a file is written that is to be like another one, whose bytes are given: as it tells itself, else as `written` says.
pub(super) fn encoding_like(image: &Image, bytes: &[u8], written: Option<&Encoding>) -> Encoding {
    let mut how = written.filter(|w| w.format == image.format).cloned().unwrap_or_default();
    (how.format, how.bits) = (image.format, image.bits());
    if how.quality == 0 {
        how.quality = image.format.default_quality();
    }
    how.as_told_by(bytes)
}

/// What a report says about a mended version whose pixels outside the regions are not quite those of the result.
pub(super) fn encoded_again(how: &Encoding) -> Option<String> {
    let colour = match how.format {
        codec::Format::Jpeg if how.chroma_420 => ", colour at half the resolution",
        _ => "",
    };
    let (name, quality) = (how.format.name(), how.quality);
    how.is_lossy().then(|| {
        format!(
            "the mended version is encoded again ({name}, quality {quality}{colour}): outside the regions pixels may differ by a few codes"
        )
    })
}

/// Writes a picture with its patches, as it was otherwise.
pub(super) fn write_mended(image: &Image, encoding: &Encoding, patches: &Patches, from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let (width, height) = (image.width, image.height);
    let changes = Changes { width, height, history: vec![mended_event(from, &patches.said())], ..Changes::default() };
    let (mut metadata, _) = image.metadata.changed(&changes);
    metadata.icc.clone_from(&image.metadata.icc);
    let mut encoder = codec::encoder(to, encoding, width, height, image.channels, &metadata)?;
    let mut y = 0;
    while y < height {
        let end = (y + ROWS).min(height);
        let mut band = image.band(y, end, 0..image.channels.count());
        patches.apply(&mut band);
        encoder.write(&band)?;
        y = end;
    }
    encoder.finish().map(|_| ())
}
