//! Statements about pixels that stop being true when the pixels change: their colour space, and places in the picture.
//!
//! Tag numbers: Exif 2.32 (CIPA DC-008), DCF 2.0 (CIPA DC-009). Regions: MWG Guidelines 2.0, 5.9. Panoramas: Google's Photo Sphere XMP.

use super::exif::entries::{self, Which};
use super::{Metadata, xmp};
use crate::color::{Profile, profile_bytes};

/// In the EXIF directory; 1 is sRGB, 65535 "uncalibrated", and 2 what cameras wrote for Adobe RGB before DCF 2.0.
const COLOUR_SPACE: u16 = 0xa001;
const SUBJECT_AREA: u16 = 0x9214;
const SUBJECT_LOCATION: u16 = 0xa214;
/// Of the interoperability directory: `R98` (sRGB) or `R03` (Adobe RGB).
const INDEX: u16 = 1;
/// TransferFunction, WhitePoint, PrimaryChromaticities and YCbCrCoefficients of the first directory.
const COLORIMETRY: [u16; 4] = [0x012d, 0x013e, 0x013f, 0x0211];
/// Gamma, of the EXIF directory.
const GAMMA: u16 = 0xa500;

const REGIONS: &str = "http://www.metadataworkinggroup.com/schemas/regions/";
const PHOTO: &str = "http://ns.microsoft.com/photo/1.2/";
const PANORAMA: &str = "http://ns.google.com/photos/1.0/panorama/";

/// Pixel counts of a panorama: across and down.
const PANORAMA_X: [&str; 5] = [
    "CroppedAreaImageWidthPixels",
    "FullPanoWidthPixels",
    "CroppedAreaLeftPixels",
    "LargestValidInteriorRectLeft",
    "LargestValidInteriorRectWidth",
];
const PANORAMA_Y: [&str; 5] = [
    "CroppedAreaImageHeightPixels",
    "FullPanoHeightPixels",
    "CroppedAreaTopPixels",
    "LargestValidInteriorRectTop",
    "LargestValidInteriorRectHeight",
];

/// The profile of a file that has none but says in EXIF that its colours are those of Adobe RGB (1998), as cameras do.
pub(super) fn adobe_rgb(block: &[u8]) -> Option<Vec<u8>> {
    let space = entries::number(block, Which::Exif, COLOUR_SPACE);
    let index = entries::text(block, Which::Interoperability, INDEX);
    let stated = space == Some(2) || (space != Some(1) && index.is_some_and(|i| i.trim() == "R03"));
    stated.then(|| profile_bytes(&moxcms::ColorProfile::new_adobe_rgb())).flatten()
}

impl Metadata {
    /// The metadata of pixels that were converted to RGB in this profile (none is sRGB): what else it says of their colours is
    /// corrected or taken out.
    pub fn converted(&mut self, icc: Option<Vec<u8>>) {
        let profile = icc.as_deref().and_then(|icc| Profile::from_icc(icc).ok());
        let srgb = icc.is_none() || profile.as_ref().is_some_and(Profile::is_srgb);
        if let Some(block) = &mut self.exif {
            entries::set_number(block, Which::Exif, COLOUR_SPACE, if srgb { 1 } else { 0xffff });
            entries::remove(block, Which::Exif, |t| t == GAMMA);
            entries::remove(block, Which::Main, |t| COLORIMETRY.contains(&t));
            if !(srgb && entries::overwrite(block, Which::Interoperability, INDEX, b"R98\0")) {
                entries::remove(block, Which::Interoperability, |t| t == INDEX);
            }
        }
        if let Some(packet) = &mut self.xmp {
            xmp::replace(packet, xmp::EXIF, "ColorSpace", if srgb { "1" } else { "65535" });
            // 3 is RGB.
            xmp::replace(packet, xmp::PHOTOSHOP, "ColorMode", "3");
        }
        let name = if srgb { "sRGB IEC61966-2.1".into() } else { profile.map(|p| p.name().to_owned()).unwrap_or_default() };
        match &mut self.xmp {
            Some(packet) if !name.is_empty() => xmp::replace(packet, xmp::PHOTOSHOP, "ICCProfile", &xmp::escape(&name)),
            packet => drop(xmp::remove(packet, |n, l| n == xmp::PHOTOSHOP && l == "ICCProfile")),
        }
        self.icc = icc;
    }

    /// Takes places in the picture out, once it was turned, cut or stretched. True if there were any.
    pub(super) fn drop_places(&mut self) -> bool {
        let block = self.exif.as_mut();
        let stated = block.is_some_and(|b| entries::remove(b, Which::Exif, |t| [SUBJECT_AREA, SUBJECT_LOCATION].contains(&t)));
        let doomed = |namespace: &str, name: &str| match namespace {
            REGIONS | PANORAMA => true,
            PHOTO => name == "RegionInfo",
            xmp::EXIF => matches!(name, "SubjectArea" | "SubjectLocation"),
            xmp::IPTC_EXT => name == "ImageRegion",
            _ => false,
        };
        xmp::remove(&mut self.xmp, doomed) | stated
    }

    /// Multiplies places that are told in pixels. False if some could not be and were taken out. Shares of the picture stay.
    pub(super) fn scale_places(&mut self, across: f64, down: f64) -> bool {
        let by = |v: f64, i: usize| (v * if i.is_multiple_of(2) { across } else { down }).round();
        let mut all = true;
        if let Some(block) = &mut self.exif {
            for tag in [SUBJECT_AREA, SUBJECT_LOCATION] {
                let scaled = entries::map_shorts(block, Which::Exif, tag, |i, v| {
                    let v = by(f64::from(v), i);
                    (v <= f64::from(u16::MAX)).then_some(v as u16)
                });
                if scaled == Some(false) {
                    all = false;
                    entries::remove(block, Which::Exif, |t| t == tag);
                }
            }
        }
        let in_pixels = |p: &xmp::Packet<'_>| {
            let pixels: Vec<String> = (0..5)
                .flat_map(|i| [(PANORAMA_X[i], 0), (PANORAMA_Y[i], 1)])
                .filter_map(|(name, i)| Some((name, by(p.value(PANORAMA, name)?.trim().parse().ok()?, i))))
                .map(|(name, v)| format!("{name} {v}"))
                .collect();
            let regions =
                p.properties().iter().any(|q| q.namespace == xmp::IPTC_EXT && q.name == "ImageRegion" && p.excerpt(q).contains("pixel"));
            (pixels, regions)
        };
        let (pixels, regions) = self.xmp.as_deref().and_then(xmp::Packet::scan).map(|p| in_pixels(&p)).unwrap_or_default();
        if let Some(packet) = &mut self.xmp {
            for (name, value) in pixels.iter().filter_map(|p| p.split_once(' ')) {
                xmp::replace(packet, PANORAMA, name, value);
            }
        }
        // Copies of what EXIF says, in pixels as well.
        let copies = |n: &str, l: &str| n == xmp::EXIF && matches!(l, "SubjectArea" | "SubjectLocation");
        let lone = xmp::remove(&mut self.xmp, copies)
            && self
                .exif
                .as_deref()
                .is_none_or(|b| [SUBJECT_AREA, SUBJECT_LOCATION].iter().all(|t| entries::bytes(b, Which::Exif, *t).is_none()));
        let named = regions && xmp::remove(&mut self.xmp, |n, l| n == xmp::IPTC_EXT && l == "ImageRegion");
        all && !lone && !named
    }
}
