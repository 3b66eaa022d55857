//! What the output's own metadata says was done to it.

use std::path::Path;

use super::{Plan, Settings};
use crate::codec::{Encoding, Event};
use crate::color::ColourSpace;
use crate::image::Image;
use crate::upscale::size::Target;

/// What was done to the picture, for its history.
pub(super) fn event(
    source: &Path,
    image: &Image,
    target: &Target,
    plan: &Plan,
    encoding: &Encoding,
    settings: &Settings,
    mended: Option<&str>,
) -> Event {
    let resized = (image.width, image.height) != (target.width, target.height) || target.crops(image.width, image.height);
    let mut said = Vec::new();
    if resized {
        said.push(format!("{}x{} to {}x{} px", image.width, image.height, target.width, target.height));
    } else if image.format != encoding.format {
        said.push(format!("from {} to {}", image.format.name(), encoding.format.name()));
    }
    said.extend(plan.passes.iter().map(|p| format!("x{} by model {} sha256 {}", p.scale, p.model, p.sha256)));
    match (plan.faithful, plan.passes.is_empty()) {
        (share, false) if share > 0.0 => said.push(format!("faithful {share}")),
        (_, true) if resized => said.push("no model".into()),
        _ => {}
    }
    if let Some(grading) = &settings.grading {
        // Not by name: what a look is called decides no pixel, and this is part of the file.
        said.push(format!("graded, strength {}, operations sha256 {}", grading.strength(), grading.identity()));
    }
    match &settings.convert_to {
        Some(ColourSpace::Srgb) => said.push("colours to sRGB".into()),
        Some(ColourSpace::DisplayP3) => said.push("colours to Display P3".into()),
        Some(ColourSpace::Icc(_)) => said.push("colours to a given profile".into()),
        None => {}
    }
    said.extend(mended.map(str::to_owned));
    Event {
        action: match (resized, &settings.grading) {
            (true, _) => "resized",
            (_, Some(_)) => "edited",
            _ => "converted",
        }
        .into(),
        parameters: said.join("; "),
        software: concat!("lastmile ", env!("CARGO_PKG_VERSION")).into(),
        time: settings.epoch.or_else(|| modified(source)),
    }
}

/// What was done to a finished picture that was mended afterwards.
pub(super) fn mended_event(file: &Path, said: &str) -> Event {
    let software = concat!("lastmile ", env!("CARGO_PKG_VERSION")).into();
    Event { action: "edited".into(), parameters: said.into(), software, time: modified(file) }
}

/// A file's time, in seconds since 1970 UTC.
fn modified(file: &Path) -> Option<i64> {
    let time = std::fs::metadata(file).and_then(|m| m.modified()).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
