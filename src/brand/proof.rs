//! Pages of pictures: small copies that every browser shows, and a proof sheet of before and after.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::band::Band;
use crate::brand::report::{escaped, page};
use crate::codec::{self, Encoding, Format, Limits, Metadata};
use crate::color::{ColourSpace, Conversion, Transfer};
use crate::error::{Error, Result};
use crate::image::{Channels, Image, Samples};
use crate::resample::{Filter, Scaler};

/// Longer side of the copies on a proof sheet, pixels.
const SIDE: usize = 1080;

/// A small copy in sRGB, no larger than `side` pixels; what is clear lies over white.
///
/// # Errors
/// A profile that nothing can be converted from.
pub fn small(image: &Image, side: usize) -> Result<Band> {
    let long = image.width.max(image.height);
    let size = |v: usize| if long <= side { v } else { (v * side / long).max(1) };
    let n = image.channels.count();
    let mut band = image.band(0, image.height, 0..n);
    let scaler = Scaler::new(image.width, image.height, size(image.width), size(image.height), Filter::Box, None)?;
    band = scaler.rows(&band, 0..size(image.height))?;
    let linear = matches!(image.samples, Samples::F32(_)) && image.metadata.icc.is_none();
    if linear {
        let colours = band.width * band.rows * image.channels.colours();
        Transfer::srgb().encoded(&mut band.data[..colours]);
    }
    if let Some(c) = Conversion::new(image.metadata.icc.as_deref(), &ColourSpace::Srgb)? {
        band = c.band(&band)?;
    }
    let mut out = Band::new(0, band.width, band.rows, 3);
    let alpha = image.channels.has_alpha().then(|| band.plane(band.channels - 1).to_vec());
    for c in 0..3 {
        out.plane_mut(c).copy_from_slice(band.plane(if band.channels < 3 { 0 } else { c }));
        if let Some(a) = &alpha {
            out.plane_mut(c).iter_mut().zip(a).for_each(|(v, a)| *v = *v * a + 1.0 - a);
        }
    }
    Ok(out)
}

/// Writes three channels of sRGB as a JPEG.
///
/// # Errors
/// The file cannot be written.
pub fn jpeg(band: &Band, path: &Path) -> Result<()> {
    let how = Encoding { format: Format::Jpeg, quality: 90, ..Encoding::default() };
    let mut encoder = codec::encoder(path, &how, band.width, band.rows, Channels::of(3, false), &Metadata::default())?;
    encoder.write(band)?;
    encoder.finish().map(drop)
}

/// Writes `proof.html` into `root` for pictures (source, and output below `root`; those of one source stand together), with
/// small copies in `page/`. `held` are the outputs that missed a gate. Outputs that are not there are left out.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(root: &Path, pictures: &[(&Path, &Path)], held: &[(PathBuf, String)]) -> Result<PathBuf> {
    let folder = root.join("page");
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let mut shown = 0;
    let mut copy = |path: &Path| -> Result<(String, usize, usize)> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let image = codec::decode(path, &bytes, &Limits { first_frame: true, ..Limits::default() })?;
        shown += 1;
        let name = format!("{shown:03}.jpg");
        jpeg(&small(&image, SIDE)?, &folder.join(&name))?;
        Ok((format!("page/{name}"), image.width, image.height))
    };
    let figure = |body: &mut String, (src, w, h): (String, usize, usize), what: &str, why: Option<&str>| {
        let why = why.map_or_else(String::new, |w| format!("<br><span class=held>held: {}</span>", escaped(w)));
        let _ =
            write!(body, "<figure><img src=\"{src}\"><figcaption>{} &middot; {w} &times; {h} px{why}</figcaption></figure>", escaped(what));
    };
    let mut body = "<h1>Proof</h1><p>Each picture as it came, then as it will be delivered.</p>".to_owned();
    for group in pictures.chunk_by(|a, b| a.0 == b.0) {
        let source = group[0].0;
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let _ = write!(body, "<h2>{}</h2><div class=pair>", escaped(&name));
        if let Ok(before) = copy(source) {
            figure(&mut body, before, "before", None);
        }
        for (_, output) in group {
            let path = root.join(output);
            let missed = held.iter().find(|(p, _)| p.strip_prefix(root).is_ok_and(|p| p.ends_with(output)));
            let at = missed.map_or(path.as_path(), |(p, _)| p);
            if let Ok(after) = copy(at) {
                figure(&mut body, after, &output.display().to_string(), missed.map(|(_, why)| why.as_str()));
            }
        }
        body += "</div>";
    }
    let to = root.join("proof.html");
    std::fs::write(&to, page("Proof", &body)).map_err(|e| Error::io(&to, e))?;
    Ok(to)
}
