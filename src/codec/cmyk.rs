//! CMYK and YCbCr to RGB, for the containers that can hold them.

use std::path::Path;

use moxcms::{ColorProfile, Layout, RenderingIntent, TransformOptions};

use super::{Metadata, zeros};
use crate::color::ColourSpace;
use crate::error::Result;

/// Converts interleaved ink amounts (0 = no ink, 255 = full) to sRGB and says how.
///
/// With a CMYK profile: its relative colorimetric transform to sRGB. Without one: `R = (1 - C)(1 - K)`, likewise G and B, which
/// is what browsers show.
pub(super) fn to_srgb(path: &Path, ink: &[u8], icc: Option<&[u8]>) -> Result<(Vec<u8>, String)> {
    let n = ink.len() / 4;
    let mut rgb = zeros::<u8>(path, n * 3)?;
    if let Some(transform) = icc.and_then(transform)
        && ink.chunks(4 << 16).zip(rgb.chunks_mut(3 << 16)).all(|(i, o)| transform.transform(i, o).is_ok())
    {
        return Ok((rgb, "CMYK was converted to sRGB through its embedded profile".into()));
    }
    for (o, i) in rgb.chunks_exact_mut(3).zip(ink.chunks_exact(4)) {
        let white = 255 - u32::from(i[3]);
        for c in 0..3 {
            o[c] = (((255 - u32::from(i[c])) * white + 127) / 255) as u8;
        }
    }
    Ok((rgb, "CMYK without a usable profile was converted to sRGB as (1 - ink)(1 - black); colours are approximate".into()))
}

/// What a file says of its colours, once its CMYK has become sRGB: programs for print go by it.
pub(super) fn now_srgb(metadata: &mut Metadata) {
    metadata.converted(ColourSpace::Srgb.icc().ok());
}

/// One pixel of full-range YCbCr to RGB: JFIF 1.02 with ITU-R BT.601 coefficients, rounded.
pub(super) fn ycbcr_to_rgb(p: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(p[0]), f32::from(p[1]) - 128.0, f32::from(p[2]) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| (v + 0.5).clamp(0.0, 255.0) as u8)
}

fn transform(icc: &[u8]) -> Option<std::sync::Arc<dyn moxcms::TransformExecutor<u8> + Send + Sync>> {
    if icc.get(16..20) != Some(b"CMYK") {
        return None;
    }
    let from = ColorProfile::new_from_slice(icc).ok()?;
    let options = TransformOptions { rendering_intent: RenderingIntent::RelativeColorimetric, ..TransformOptions::default() };
    from.create_transform_8bit(Layout::Rgba, &ColorProfile::new_srgb(), Layout::Rgb, options).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ycbcr_has_grey_and_primaries_where_jfif_puts_them() {
        assert_eq!(ycbcr_to_rgb([77, 128, 128]), [77; 3]);
        assert_eq!(ycbcr_to_rgb([76, 85, 255]), [254, 0, 0]);
        assert_eq!(ycbcr_to_rgb([29, 255, 107]), [0, 0, 254]);
    }

    #[test]
    fn the_default_formula_keeps_white_black_and_primaries() {
        let ink = [0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 128];
        let (rgb, note) = to_srgb(Path::new("x"), &ink, None).unwrap();
        assert_eq!(rgb, [255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 0, 0, 127, 127, 127]);
        assert!(note.contains("approximate"));
    }
}
