//! Regions that always take the faithful networks: logos, lettering, faces. A grey picture says where: white is protected.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::band::Band;
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::inspect::plane::Plane;
use crate::resample::Filter;

/// Source pixels beyond what was drawn that are protected as well, nearly whole.
const DRAWN: usize = 2;
/// Source pixels over which that fades then. Between pixels of the result another one is added by interpolation, so that nothing
/// changes further than [`FEATHER`] from what was drawn.
const FADE: usize = 1;
/// The furthest that a mask reaches beyond what was drawn, in source pixels.
pub const FEATHER: usize = DRAWN + FADE + 1;

/// The mask of one picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protect {
    /// The picture that says where.
    pub mask: PathBuf,
    /// Of that file: what decides pixels, wherever it lies.
    pub sha256: String,
}

/// A mask ready to be used, feathered outwards, at the size of the source.
pub(super) struct Mask {
    plane: Plane,
    /// Rows of the source in which it is not 0 anywhere near.
    used: Vec<bool>,
}

impl Mask {
    /// Reads a mask for a source and a result of these sizes; it has either size. Transparent is not protected.
    ///
    /// # Errors
    /// A file that cannot be read; a mask of another size.
    pub fn open(path: &Path, source: (usize, usize), result: (usize, usize), limits: &Limits) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::input(path, "this mask is not there (any more)", "--protect with the mask's new place"),
            _ => Error::io(path, e),
        })?;
        let image = codec::decode(path, &bytes, limits)?;
        let (w, h) = (image.width, image.height);
        if (w, h) != source && (w, h) != result {
            let what =
                format!("this mask has {w}x{h} px, but its picture {}x{} and the result {}x{}", source.0, source.1, result.0, result.1);
            return Err(Error::input(path, what, "a mask of the source's size, drawn over it: white is protected"));
        }
        let all = image.band(0, h, 0..image.channels.count());
        let colours = image.channels.colours();
        let mut plane = Plane::new(w, h);
        for (i, v) in plane.data.iter_mut().enumerate() {
            let grey = (0..colours).map(|c| all.plane(c)[i]).sum::<f32>() / colours as f32;
            let alpha = if image.channels.has_alpha() { all.plane(colours)[i] } else { 1.0 };
            *v = (grey * alpha).clamp(0.0, 1.0);
        }
        let plane = plane.resize(source.0, source.1, Filter::Box)?;
        // What was drawn stays whole; it fades beyond.
        let plane = plane.dilate(DRAWN).mean(FADE);
        let row_used = |y: usize| plane.row(y).iter().any(|v| *v > 0.0);
        let used = (0..plane.height).map(|y| (y.saturating_sub(1)..(y + 2).min(plane.height)).any(row_used)).collect();
        Ok(Self { plane, used })
    }

    /// Whether nothing is protected.
    pub fn is_empty(&self) -> bool {
        !self.used.iter().any(|u| *u)
    }

    /// Lays `faithful` over `chosen`: its share is the mask. Where that is 0, `chosen` stays to the last bit.
    pub fn blend(&self, chosen: &Band, faithful: &Band, scale: usize) -> Band {
        let mut out = chosen.clone();
        let place = |at: usize| (at as f32 + 0.5) / scale as f32 - 0.5;
        let mut shares = vec![0.0; chosen.width];
        for r in 0..chosen.rows {
            let y = chosen.y + r;
            if !self.used[(y / scale).min(self.plane.height - 1)] {
                continue;
            }
            for (x, share) in shares.iter_mut().enumerate() {
                *share = self.plane.sample(place(x), place(y)).clamp(0.0, 1.0);
            }
            for c in 0..chosen.channels {
                for ((o, f), share) in out.row_mut(c, r).iter_mut().zip(faithful.row(c, r)).zip(&shares) {
                    if *share > 0.0 {
                        *o += (f - *o) * share;
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Encoding, Metadata};
    use crate::image::Channels;

    fn mask(dir: &Path, w: usize, h: usize) -> PathBuf {
        let path = dir.join("m.png");
        let mut encoder = codec::encoder(&path, &Encoding::default(), w, h, Channels::Grey, &Metadata::default()).unwrap();
        let mut band = Band::new(0, w, h, 1);
        for y in h / 4..h / 2 {
            band.row_mut(0, y)[w / 4..w / 2].fill(1.0);
        }
        encoder.write(&band).unwrap();
        encoder.finish().unwrap();
        path
    }

    #[test]
    fn the_protected_part_is_faithful_and_the_rest_untouched() {
        let dir = tempfile::tempdir().unwrap();
        for (w, h) in [(40, 32), (160, 128)] {
            let mask = Mask::open(&mask(dir.path(), w, h), (40, 32), (160, 128), &Limits::default()).unwrap();
            assert!(!mask.is_empty());
            let (chosen, mut faithful) = (Band::new(0, 160, 128, 3), Band::new(0, 160, 128, 3));
            faithful.data.fill(1.0);
            let out = mask.blend(&chosen, &faithful, 4);
            let at = |x: usize, y: usize| out.row(1, y)[x];
            for (x, y) in [(40, 32), (60, 40), (79, 63)] {
                assert!((at(x, y) - 1.0).abs() < 1e-5, "{x},{y}: {}", at(x, y));
            }
            for (x, y) in [(20, 40), (100, 40), (60, 12), (60, 84), (0, 0), (159, 127)] {
                assert_eq!(at(x, y), 0.0, "{x},{y}");
            }
            assert!(at(83, 40) > 0.0 && at(83, 40) < 1.0, "it fades");
            let rows: Vec<Band> = (0..128)
                .step_by(17)
                .map(|y| {
                    let end = (y + 17).min(128);
                    mask.blend(&chosen.slice(y, end), &faithful.slice(y, end), 4)
                })
                .collect();
            assert!(rows.iter().all(|b| b.data == out.slice(b.y, b.end()).data));
        }
    }

    #[test]
    fn another_size_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = mask(dir.path(), 41, 32);
        let e = Mask::open(&path, (40, 32), (160, 128), &Limits::default()).err().unwrap();
        let said = e.to_string();
        assert!(e.kind() == "input" && said.contains("41x32") && said.contains("40x32") && said.contains("160x128"), "{said}");
        let gone = Mask::open(&dir.path().join("gone.png"), (1, 1), (1, 1), &Limits::default()).err().unwrap();
        assert!(gone.to_string().contains("not there"), "{gone}");
    }
}
