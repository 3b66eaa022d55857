//! The brand card: one page that shows a kit to somebody who has never seen it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::band::Band;
use crate::brand::apply::{Brand, Grade};
use crate::brand::kit::{Corner, Focus};
use crate::brand::palette::hex;
use crate::brand::proof::{jpeg, small};
use crate::brand::report::{curves, escaped, page};
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::grade::matching::{Collector, Statistics};

/// The ten tones of the Monk skin tone scale (Monk, 2019), sRGB.
pub const SKIN: [&str; 10] = ["#f6ede4", "#f3e7db", "#f7ead0", "#eadaba", "#d7bd96", "#a07e56", "#825c43", "#604134", "#3a312a", "#292420"];
/// Pictures shown at most.
const SHOWN: usize = 6;

/// The page: references, palette, what the kit makes of pictures with a warm and a cold cast, tone curve, and rules. Pictures
/// are in it, so that it can be sent as one file.
///
/// # Errors
/// What is wrong with a picture that the kit names.
pub fn card(brand: &Brand) -> Result<String> {
    let kit = brand.kit();
    let mut body = format!("<h1>{}</h1>", escaped(&kit.name));
    let mut copies = Vec::new();
    for path in kit.references.iter().take(SHOWN) {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        copies.push(small(&codec::decode(path, &bytes, &Limits::default())?, 360)?);
    }
    if !copies.is_empty() {
        body += "<h2>North star</h2><div class=row>";
        for (path, copy) in kit.references.iter().zip(&copies) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let _ = write!(body, "<figure><img src=\"{}\"><figcaption>{}</figcaption></figure>", inline(copy)?, escaped(&name));
        }
        body += "</div>";
    }
    if !kit.palette.is_empty() {
        body += "<h2>Palette</h2><div class=row>";
        for s in &kit.palette {
            // No "-0".
            let [l, a, b] = s.lab().map(|v| v.round() + 0.0);
            let _ = write!(
                body,
                "<figure><b style=\"background:{0}\"></b><figcaption>{1}<br>{0}<br>Lab {l:.0} {a:.0} {b:.0}<br>&plusmn; {2:.0} dE2000{3}</figcaption></figure>",
                s.code(),
                escaped(&s.name),
                s.tolerance,
                if s.protected { "<br>protected" } else { "" }
            );
        }
        body += "</div>";
    }
    if brand.colours() {
        // Pictures whose right answer is known: the references themselves.
        let (shown, what) = match copies.is_empty() {
            true => (vec![chart()], "Ten skin tones, greys and bright colours"),
            false => (copies, "The references"),
        };
        let _ = write!(
            body,
            "<h2>Before and after</h2><p>{what} as a warm and a cold generator might give them, and what the kit makes of them.</p>"
        );
        for (i, (name, gain)) in [("warm", [1.0, 0.95, 0.82]), ("cold", [0.86, 0.96, 1.0])].into_iter().enumerate() {
            let seen: Vec<Band> = shown.iter().map(|b| cast(b, gain)).collect();
            let mut all: Option<Statistics> = None;
            for band in &seen {
                let mut collector = Collector::default();
                collector.push(band);
                match &mut all {
                    None => all = Some(collector.finish()),
                    Some(all) => all.merge(&collector.finish()),
                }
            }
            let (Some(statistics), Some(before)) = (all, seen.get(i % seen.len())) else { continue };
            let grade = brand.grade(&statistics, Path::new(""))?;
            let mut after = before.clone();
            graded(&grade, &mut after);
            let note = grade.reduced.map_or_else(String::new, |why| format!("<br>{}", escaped(&why)));
            let _ = write!(
                body,
                "<div class=\"row wide\"><figure><img src=\"{}\"><figcaption>{name}, before</figcaption></figure>\
                 <figure><img src=\"{}\"><figcaption>after{note}</figcaption></figure></div>",
                inline(before)?,
                inline(&after)?
            );
        }
    }
    if let Some(profile) = brand.profile() {
        let n = kit.references.len();
        let of = if n == 1 { "the reference".into() } else { format!("the {n} references") };
        let _ = write!(
            body,
            "<h2>Tone of {of}</h2><p>Lightness of the pixels from the darkest to the lightest.</p>{}",
            curves(&[], Some(profile))
        );
    }
    if let Some(logo) = &kit.logo {
        body += "<h2>Logo</h2><div class=row>";
        for file in std::iter::once(&logo.file).chain(&logo.variant) {
            let kind = if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("svg")) { "svg+xml" } else { "png" };
            let bytes = std::fs::read(file).map_err(|e| Error::io(file, e))?;
            let name = escaped(&file.file_name().unwrap_or_default().to_string_lossy());
            let source = format!("data:image/{kind};base64,{}", base64(&bytes));
            for ground in ["light", "dark"] {
                let _ = write!(body, "<figure class=\"logo {ground}\"><img src=\"{source}\" alt=\"{name} on {ground}\"></figure>");
            }
        }
        body += "</div>";
    }
    let _ = write!(
        body,
        "<h2>Rules</h2><ul><li>skin turns by {} degrees at most<li>greys are tinted by {} dE2000 at most<li>strength {}",
        kit.protect.skin_degrees, kit.protect.neutral_de, kit.strength
    );
    if let Some(l) = &kit.logo {
        let corner = match l.corner {
            Corner::TopLeft => "top left",
            Corner::TopRight => "top right",
            Corner::BottomLeft => "bottom left",
            Corner::BottomRight => "bottom right",
        };
        let _ = write!(
            body,
            "<li>logo: {corner}, {:.0} % of the shorter side, {} px at least, {} logo heights from the edges",
            l.width * 100.0,
            l.min_px,
            l.clear
        );
    }
    for e in kit.exports.iter().filter(|e| !e.name.is_empty()) {
        let size = match (e.cover, e.long_edge) {
            (Some((w, h)), _) => {
                format!("{w} &times; {h} px, cut {}", if e.focus == Focus::Auto { "around the subject" } else { "around a fixed place" })
            }
            (None, Some(px)) => format!("{px} px on the longer side"),
            (None, None) => "in its own size".into(),
        };
        let format = e.format.map_or_else(|| "as it came".into(), |f| f.name().to_owned());
        let limit = e.max_kb.map_or_else(String::new, |kb| format!(", {kb} kB at most"));
        let _ = write!(body, "<li>{}: {size}, {format}{limit}", escaped(&e.name));
    }
    Ok(page(&kit.name, &(body + "</ul>")))
}

/// Skin tones, greys and bright colours.
fn chart() -> Band {
    const BRIGHT: [&str; 10] =
        ["#c8102e", "#e4581b", "#f2b705", "#8fb339", "#2e8b57", "#1f9e9e", "#2f6fb5", "#3b3f98", "#7d3c98", "#c2417c"];
    let (cell, width) = (52, 520);
    let mut band = Band::new(0, width, 3 * cell, 3);
    for y in 0..band.rows {
        for x in 0..width {
            let rgb = match y / cell {
                0 => hex(SKIN[x / cell]).unwrap_or_default().map(f32::from),
                1 => [(x as f32 + 0.5) / width as f32 * 255.0; 3],
                _ => hex(BRIGHT[x / cell]).unwrap_or_default().map(f32::from),
            };
            (0..3).for_each(|c| band.row_mut(c, y)[x] = rgb[c] / 255.0);
        }
    }
    band
}

/// Every channel times its gain.
fn cast(band: &Band, gain: [f32; 3]) -> Band {
    let mut out = band.clone();
    (0..3).for_each(|c| out.plane_mut(c).iter_mut().for_each(|v| *v *= gain[c]));
    out
}

fn graded(grade: &Grade, band: &mut Band) {
    let Some(g) = &grade.grading else { return };
    let mut last = ([f32::NAN; 3], [0.0; 3]);
    for i in 0..band.width * band.rows {
        let c = [0, 1, 2].map(|k| band.plane(k)[i]);
        if last.0 != c {
            last = (c, g.colour(c));
        }
        (0..3).for_each(|k| band.plane_mut(k)[i] = last.1[k]);
    }
}

/// A picture as a `data:` URL (RFC 2397).
///
/// # Errors
/// There is no place for temp files.
pub fn inline(band: &Band) -> Result<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let own = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("lastmile-card-{}-{own}.jpg", std::process::id()));
    let made = jpeg(band, &path).and_then(|()| std::fs::read(&path).map_err(|e| Error::io(&path, e)));
    let _ = std::fs::remove_file(&path);
    Ok(format!("data:image/jpeg;base64,{}", base64(&made?)))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let n = part.iter().enumerate().fold(0u32, |n, (i, b)| n | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            text.push(if i <= part.len() { DIGITS[(n >> (18 - 6 * i) & 63) as usize] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brand::Kit;
    use crate::brand::kit::blank;
    use crate::brand::palette::Swatch;

    #[test]
    fn base64_as_in_the_rfc() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_card_shows_what_there_is() {
        let kit = Kit::parse("a.brand.toml".as_ref(), &blank("A <b>", &[], &[Swatch::parse("red=#d0103a").unwrap()], None)).unwrap();
        let page = card(&Brand::open(kit).unwrap()).unwrap();
        assert!(page.contains("#d0103a") && page.contains("A &lt;b>") && !page.contains("Before and after"));
        let kit = Kit::parse("a.brand.toml".as_ref(), "name = \"a\"\nlook = \"clean\"\n").unwrap();
        let page = card(&Brand::open(kit).unwrap()).unwrap();
        assert!(page.matches("data:image/jpeg;base64,").count() == 4, "warm and cold, before and after");
    }
}
