//! The review as a folder that opens from disk, for somebody who has neither this program nor the pictures: whole pictures
//! at screen size, and every finding at 100 %. Verdicts stay in that browser; the page saves them as a file for `apply`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::server::PAGE;
use super::tile::{Side, Tiler};
use super::verdicts::replace;
use super::{Card, Picture, Review};
use crate::batch::journal::sha256;
use crate::error::{Error, Result};
use crate::inspect::Rect;

/// Longer side of whole pictures, pixels. Smaller pictures are there in full.
const WHOLE: usize = 2048;
/// Least side of the part round a finding that is there at 100 %, and the most.
const AROUND: (usize, usize) = (768, 1600);

/// Writes the folder, which must be new or empty. `progress` is told how many pictures are done.
///
/// # Errors
/// [`Error::Usage`] if something is there already; a file that cannot be written. A picture that cannot be read is listed
/// without pixels.
pub fn write(review: &Review, to: &Path, progress: &dyn Fn(usize)) -> Result<()> {
    let full = |path: &Path| std::fs::read_dir(path).map(|mut d| d.next().is_some());
    match full(to) {
        Ok(false) => {}
        Ok(true) => return Err(Error::usage("--export", format!("{} is not empty", to.display()), "a new folder")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::usage("--export", format!("{}: {e}", to.display()), "a new folder")),
    }
    let folder = to.join("pictures");
    std::fs::create_dir_all(&folder).map_err(|e| Error::output(&folder, format!("it cannot be created: {e}"), "another folder"))?;
    let tiles = Tiler::new(0);
    let mut listing = review.listing();
    let seal: String = listing.pictures.iter().map(|p| p.sha256.as_str()).collect();
    let cards = std::mem::take(&mut listing.pictures);
    let mut pictures = Vec::with_capacity(cards.len());
    for (mut card, p) in cards.into_iter().zip(&review.pictures) {
        review.describe(p, &mut card.entry)?;
        pictures.push(one(&tiles, p, card, &folder)?);
        progress(pictures.len());
    }
    let mut data = serde_json::to_value(&listing).map_err(|e| Error::Internal(format!("export: {e}")))?;
    data["pictures"] = pictures.into();
    data["seal"] = sha256(seal.as_bytes())[..16].into();
    data["notices"] = json!([]);
    for (name, _, text) in PAGE {
        let text = text.replace("<!-- data -->", "<script src=\"data.js\" defer></script>");
        replace(&to.join(name), text.as_bytes())?;
    }
    // U+2028 and U+2029 are fine in JSON and in scripts alike since ECMAScript 2019.
    replace(&to.join("data.js"), format!("window.REVIEW = {data};\n").as_bytes())
}

/// Writes one picture's images and tells the page about them.
fn one(tiles: &Tiler, p: &Picture, card: Card, folder: &Path) -> Result<Value> {
    let id = card.id;
    let places = card.report.iter().flat_map(|r| r.findings.iter().map(|f| f.rect).chain(r.text_like.iter().copied()));
    let findings: Vec<[usize; 4]> = places.map(|at| around(at, p)).collect();
    let heat = card.heat.clone();
    let mut value = serde_json::to_value(card).map_err(|e| Error::Internal(format!("export: {e}")))?;
    value["generator"] = p.generator().into();
    let mut sides = vec![("result".to_string(), Side::Result)];
    if p.source.is_some() {
        sides.push(("source".into(), Side::Source));
    }
    if p.repair.is_some() {
        sides.push(("repair".into(), Side::Repair));
    }
    sides.extend(heat.iter().map(|d| (format!("heat-{d}"), Side::Heat(d))));
    let thumb = tiles.whole(p, Side::Result, 360).and_then(|t| t.jpeg());
    let thumb = match thumb {
        Ok(jpeg) => jpeg,
        // It stands in the list; that it cannot be read is what the page says about it.
        Err(Error::Input { .. } | Error::Limit { .. }) => {
            value["width"] = 0.into();
            value["pieces"] = json!({});
            return Ok(value);
        }
        Err(e) => return Err(e),
    };
    replace(&folder.join(format!("{id}-thumb.jpg")), &thumb)?;
    let mut pieces = serde_json::Map::new();
    for (name, side) in sides {
        let mut list = Vec::new();
        let mut put = |name: String, bytes: Vec<u8>, area: [usize; 4]| -> Result<()> {
            replace(&folder.join(&name), &bytes)?;
            let url = PathBuf::from("pictures").join(&name);
            list.push(json!({ "url": url.to_string_lossy().replace('\\', "/"), "x": area[0], "y": area[1], "w": area[2], "h": area[3] }));
            Ok(())
        };
        let whole = tiles.whole(p, side, WHOLE)?;
        let area = [0, 0, p.width, p.height];
        let exact = whole.width == p.width;
        if exact || matches!(side, Side::Heat(_)) {
            put(format!("{id}-{name}.png"), whole.png()?, area)?;
        } else {
            put(format!("{id}-{name}.jpg"), whole.jpeg()?, area)?;
        }
        if !exact {
            for (n, area) in findings.iter().enumerate() {
                let crop = tiles.cut(p, side, *area, (area[2], area[3]))?;
                put(format!("{id}-{name}-{}.png", n + 1), crop.png()?, *area)?;
            }
        }
        pieces.insert(name, list.into());
    }
    value["pieces"] = pieces.into();
    Ok(value)
}

/// The part of a picture that is shown round a place.
fn around(at: Rect, p: &Picture) -> [usize; 4] {
    let along = |at: usize, size: usize, all: usize| {
        let span = size.saturating_add(256).clamp(AROUND.0, AROUND.1).min(all).max(1);
        let middle = at.saturating_add(size / 2);
        (middle.saturating_sub(span / 2).min(all.saturating_sub(span)), span)
    };
    let ((x, w), (y, h)) = (along(at.x, at.w, p.width), along(at.y, at.h, p.height));
    [x, y, w, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_round_a_finding_stays_inside() {
        let p = Picture { width: 4000, height: 600, ..Picture::default() };
        let around = |x, y, w, h| around(Rect { x, y, w, h }, &p);
        assert_eq!(around(0, 0, 10, 10), [0, 0, 768, 600]);
        assert_eq!(around(3990, 590, 10, 10), [3232, 0, 768, 600]);
        assert_eq!(around(1000, 100, 1000, 10), [872, 0, 1256, 600]);
        assert_eq!(around(usize::MAX, 5, usize::MAX, usize::MAX), [2400, 0, 1600, 600]);
    }
}
