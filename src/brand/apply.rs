//! A kit applied to a picture: match and look as one LUT, then size, logo and file.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use crate::alpha::bleed_alpha;
use crate::band::{Band, Sink, Stage};
use crate::brand::kit::{Export, Kit, Protect};
use crate::brand::overlay::{Mark, Overlay, Place, choose, place};
use crate::brand::palette::Swatch;
use crate::brand::score::{self, Score};
use crate::codec::{self, Encoding, Format, Limits};
use crate::color::{Profile, ToSrgb, Transfer, White, delta_e_2000, srgb_to_lab};
use crate::error::{Error, Result};
use crate::flow::Chain;
use crate::grade::Program;
use crate::grade::matching::{LUT_SIZE, Match, Statistics, skin_likeness, srgb_to_oklab};
use crate::image::{Channels, Image, Samples};
use crate::lane::Lut3d;
use crate::resample::{Crop, Filter, Light, Resize, Scaler};

/// Changes whenever the same kit gives other pixels.
const PIXELS: u32 = 1;

/// A kit with everything it names loaded.
pub struct Brand {
    kit: Kit,
    look: Program,
    reference: Option<Statistics>,
    profile: Option<score::Profile>,
    marks: Vec<Mark>,
    identity: String,
}

/// What is done to the colours of a picture or a group of them.
#[derive(Debug, Clone)]
pub struct Grade {
    lut: Lut3d,
    /// 0..=the kit's.
    pub strength: f32,
    /// Why the strength is less than the kit's, if it is.
    pub reduced: Option<String>,
    pub matched: Match,
}

impl Grade {
    /// What becomes of a colour (encoded sRGB, 0..1).
    pub fn colour(&self, c: [f32; 3]) -> [f32; 3] {
        self.lut.eval(c)
    }
}

/// A file that was made.
#[derive(Debug, Clone)]
pub struct Made {
    pub width: usize,
    pub height: usize,
    pub bytes: u64,
    pub notes: Vec<String>,
    /// Of the final file.
    pub score: Score,
    /// The gate that it missed.
    pub held: Option<String>,
}

impl Brand {
    /// Loads what the kit names.
    ///
    /// # Errors
    /// What is wrong with a reference picture, the look or the logo.
    pub fn open(kit: Kit) -> Result<Self> {
        let look = Program::new(kit.look.as_slice(), 1.0)?;
        let reference = kit.reference()?;
        let profile = reference.as_ref().map(score::Profile::of);
        let logos: Vec<&Path> = kit.logo.iter().flat_map(|l| std::iter::once(&l.file).chain(&l.variant)).map(|p| p.as_path()).collect();
        let marks = logos.iter().map(|p| Mark::read(p)).collect::<Result<_>>()?;
        let mut hash = Sha256::new();
        // Names of files do not decide pixels, their contents do.
        let nameless = Kit { file: "".into(), references: vec![], look: None, ..kit.clone() };
        hash.update(format!("{PIXELS} {nameless:?} {:?}", kit.look.as_ref().map(|l| &l.steps)));
        for path in kit.references.iter().map(|p| p.as_path()).chain(logos.iter().copied()) {
            hash.update(Sha256::digest(std::fs::read(path).map_err(|e| Error::io(path, e))?));
        }
        let identity = hash.finalize().iter().fold("brand ".to_owned(), |mut text, b| {
            let _ = write!(text, "{b:02x}");
            text
        });
        Ok(Self { kit, look, reference, profile, marks, identity })
    }

    pub fn kit(&self) -> &Kit {
        &self.kit
    }

    /// Everything about the kit that decides pixels, as one word for the journal.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The score of a picture, by its [`score::statistics`].
    pub fn score(&self, picture: &Statistics) -> Score {
        Score::of(picture, self.profile.as_ref(), &self.kit.palette)
    }

    /// One transform for all pictures with these statistics, as strong as the kit says and its limits allow.
    ///
    /// # Errors
    /// None that can be caused by pictures.
    pub fn grade(&self, from: &Statistics) -> Result<Grade> {
        const STEPS: usize = 20;
        let matched = self.reference.as_ref().map_or_else(Match::identity, |to| Match::between(from, to));
        let full = |c: [f32; 3]| self.look.colour(matched.eval(c));
        let graded = |strength: f32| {
            let full = &full;
            move |c: [f32; 3]| {
                let f = full(c);
                [0, 1, 2].map(|k| c[k] + (f[k] - c[k]) * strength)
            }
        };
        let mut reduced = None;
        let mut strength = self.kit.strength;
        for step in (0..=STEPS).rev() {
            strength = self.kit.strength * step as f32 / STEPS as f32;
            match broken(from, &matched, strength, graded(strength), &self.kit.protect, &self.kit.palette) {
                Some(why) if step > 0 => reduced = reduced.or(Some(why)),
                _ => break,
            }
        }
        let lut = Lut3d::from_fn(LUT_SIZE, graded(strength))?;
        let reduced = reduced.map(|why| format!("strength reduced from {:.2} to {strength:.2}: {why}", self.kit.strength));
        Ok(Grade { lut, strength, reduced, matched })
    }

    /// Size of the result of an export.
    pub fn size(&self, export: &Export, width: usize, height: usize) -> (usize, usize) {
        let (_, size) = fit(export, width, height);
        size
    }

    /// Makes one file: `bytes` are the source's, `encoding` says how it is written (bits 0 keep the source's depth).
    ///
    /// # Errors
    /// Whatever is wrong with the source or the output; [`Error::Interrupted`] once `stop` is set.
    #[allow(clippy::too_many_arguments)]
    pub fn make(
        &self,
        source: &Path,
        bytes: &[u8],
        limits: &Limits,
        grade: &Grade,
        export: &Export,
        encoding: &Encoding,
        output: &Path,
        stop: &AtomicBool,
        progress: &dyn Fn(f64),
    ) -> Result<Made> {
        let mut image = codec::decode(source, bytes, limits)?;
        let mut notes = std::mem::take(&mut image.notes);
        bleed_alpha(&mut image);
        let to_srgb = Some(image.metadata.icc.as_deref()).flatten().map(|icc| Profile::from_icc(icc)?.to_srgb()).transpose()?;
        if let Some(icc) = image.metadata.icc.take() {
            let name = Profile::from_icc(&icc)?.name().to_owned();
            if !name.to_ascii_lowercase().contains("srgb") {
                notes.push(format!("converted from \"{name}\" to sRGB"));
            }
        }
        let alpha = image.channels.has_alpha();
        let channels = Channels::of(3, alpha);
        let (crop, (width, height)) = fit(export, image.width, image.height);
        if (width, height) != (image.width, image.height) && export.cover.is_some_and(|c| c != (width, height)) {
            notes.push(format!("it is too small for {}: {width}x{height} px", export.name));
        }
        let bits = match (encoding.bits, image.bits()) {
            (0, 16 | 32) if encoding.format.supports_16_bit() => 16,
            (0, _) => 8,
            (given, _) => given,
        };
        let encoding = Encoding { bits, ..encoding.clone() };
        Format::check(source, &encoding, width, height)?;
        let mut chain = Chain::new();
        chain.then(Colour { to_srgb, linear: matches!(image.samples, Samples::F32(_)), lut: &grade.lut, alpha });
        if (width, height) != (image.width, image.height) {
            let scaler = Scaler::new(image.width, image.height, width, height, Filter::Lanczos3, Some(crop))?;
            chain.then(Resize::new(scaler.clamp_ringing(0.0), channels.count(), Light::Linear(Transfer::srgb())));
        }
        let overlay = self.overlay(&image, grade, &crop, (width, height), &mut notes)?;
        let metadata = image.metadata.for_output(width, height, None);
        notes.extend(codec::losses(&encoding, channels, &metadata));
        notes.extend(grade.reduced.clone());
        let mut encoder = codec::encoder(output, &encoding, width, height, channels, &metadata)?;
        let mut write = |mut band: Band| {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if let Some(overlay) = &overlay {
                overlay.apply(&mut band);
            }
            encoder.write(&band)?;
            progress(band.end() as f64 / height as f64);
            Ok(())
        };
        /// Source rows that are handed on at once.
        const ROWS: usize = 64;
        for y in (0..image.height).step_by(ROWS) {
            chain.push(image.band(y, (y + ROWS).min(image.height), 0..image.channels.count()), &mut write)?;
        }
        chain.finish(&mut write)?;
        drop(chain);
        drop(image);
        let bytes = encoder.finish()?;
        // The gate looks at what is delivered, not at what was meant.
        let file = std::fs::read(output).map_err(|e| Error::io(output, e))?;
        let score = self.score(&score::statistics(&codec::decode(output, &file, limits)?)?);
        let held = self.missed(&score, bytes);
        notes.push(format!("score {:.1}", score.score));
        Ok(Made { width, height, bytes, notes, score, held })
    }

    fn missed(&self, score: &Score, bytes: u64) -> Option<String> {
        let gate = &self.kit.gate;
        let low = gate.score.filter(|least| score.score < *least).map(|least| format!("score {:.1} is below {least}", score.score));
        let large = || {
            let most = gate.max_kb.filter(|most| bytes > most * 1000)?;
            Some(format!("{} kB are more than {most}", bytes.div_ceil(1000)))
        };
        low.or_else(large)
    }

    /// The logo for this picture, or a note why there is none.
    fn overlay(&self, image: &Image, grade: &Grade, crop: &Crop, size: (usize, usize), notes: &mut Vec<String>) -> Result<Option<Overlay>> {
        let (Some(rules), Some(first)) = (&self.kit.logo, self.marks.first()) else { return Ok(None) };
        let Some(at) = place(rules, first.size(), size) else {
            notes.push(format!("{}x{} px have no room for the logo: left off", size.0, size.1));
            return Ok(None);
        };
        let under = under(image, grade, crop, size, at);
        let Some(mark) = choose(&self.marks, under) else { return Ok(None) };
        // A variant may have other proportions.
        let Some(at) = place(rules, mark.size(), size) else { return Ok(None) };
        Overlay::new(mark, at).map(Some)
    }
}

/// Mean luminance of the graded picture where the logo will lie. Profiles are left aside: it only decides light or dark.
fn under(image: &Image, grade: &Grade, crop: &Crop, size: (usize, usize), at: Place) -> f32 {
    let (sx, sy) = (crop.width / size.0 as f64, crop.height / size.1 as f64);
    let span = |origin: f64, from: usize, n: usize, step: f64, end: usize| {
        let a = ((origin + from as f64 * step) as usize).min(end - 1);
        a..((origin + (from + n) as f64 * step) as usize).clamp(a + 1, end)
    };
    let (xs, ys) = (span(crop.x, at.x, at.width, sx, image.width), span(crop.y, at.y, at.height, sy, image.height));
    let mut sum = (0f64, 0f64);
    for y in ys.clone().step_by((ys.len() / 64).max(1)) {
        let row = image.colour(y, y + 1);
        for x in xs.clone().step_by((xs.len() / 64).max(1)) {
            let mut c = grade.lut.eval([0, 1, 2].map(|k| row.row(if row.channels == 1 { 0 } else { k }, 0)[x]));
            Transfer::srgb().linear(&mut c);
            sum = (sum.0 + f64::from(0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]), sum.1 + 1.0);
        }
    }
    (sum.0 / sum.1.max(1.0)) as f32
}

/// What of the source is taken, and the size it gets. Nothing is enlarged.
fn fit(export: &Export, width: usize, height: usize) -> (Crop, (usize, usize)) {
    let (w, h) = (width as f64, height as f64);
    let whole = Crop { x: 0.0, y: 0.0, width: w, height: h };
    if let Some((cw, ch)) = export.cover {
        let scale = (w / cw as f64).min(h / ch as f64);
        let (kw, kh) = (cw as f64 * scale, ch as f64 * scale);
        let middle = |focus: f64, all: f64, part: f64| (focus * all - part / 2.0).clamp(0.0, all - part);
        let crop = Crop { x: middle(export.focus[0], w, kw), y: middle(export.focus[1], h, kh), width: kw, height: kh };
        let size = if scale >= 1.0 { (cw, ch) } else { ((kw.round() as usize).max(1), (kh.round() as usize).max(1)) };
        return (crop, size);
    }
    match export.long_edge {
        Some(edge) if edge < width.max(height) => {
            let scale = edge as f64 / w.max(h);
            (whole, (((w * scale).round() as usize).max(1), ((h * scale).round() as usize).max(1)))
        }
        _ => (whole, (width, height)),
    }
}

/// Brings rows to sRGB and through the LUT.
struct Colour<'a> {
    to_srgb: Option<ToSrgb>,
    /// Samples without a profile are linear light.
    linear: bool,
    lut: &'a Lut3d,
    alpha: bool,
}

impl Stage for Colour<'_> {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        let mut band = match &self.to_srgb {
            Some(to) => to.band(&band)?,
            None => band,
        };
        if self.linear && self.to_srgb.is_none() {
            let n = band.width * band.rows * if band.channels < 3 { 1 } else { 3 };
            Transfer::srgb().encoded(&mut band.data[..n]);
        }
        let mut out = Band::new(band.y, band.width, band.rows, 3 + usize::from(self.alpha));
        let n = band.width * band.rows;
        let planes = if band.channels >= 3 { [0, 1, 2] } else { [0; 3] };
        let (r, rest) = out.data.split_at_mut(n);
        let (g, b) = rest.split_at_mut(n);
        let from = planes.map(|p| band.plane(p));
        for i in 0..n {
            [r[i], g[i], b[i]] = self.lut.eval([from[0][i], from[1][i], from[2][i]]);
        }
        if self.alpha {
            out.plane_mut(3).copy_from_slice(band.plane(band.channels - 1));
        }
        next(out)
    }

    fn finish(&mut self, _next: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }
}

/// What a grade of this strength does not keep, if anything: the 95th percentile over the pictures' own colours counts, for
/// greys the mean of a level.
fn broken(
    from: &Statistics,
    matched: &Match,
    strength: f32,
    graded: impl Fn([f32; 3]) -> [f32; 3],
    protect: &Protect,
    palette: &[Swatch],
) -> Option<String> {
    const MOST: f64 = 0.95;
    let lab = |c: [f32; 3]| srgb_to_lab(c.map(f64::from), White::D65);
    let guarded: Vec<(&Swatch, [f64; 3])> = palette.iter().filter(|s| s.protected).map(|s| (s, s.lab())).collect();
    let mut skin: Vec<(f64, f64)> = Vec::new();
    let mut brand: Vec<(f64, f64)> = Vec::new();
    // Weight, then weighted L, a and b of greys after the grade and a and b before it, by lightness.
    let mut greys = [[0f64; 6]; 4];
    for (weight, c) in from.content() {
        let weight = f64::from(weight);
        let white = matched.balanced(c);
        let balanced = [0, 1, 2].map(|k| c[k] + (white[k] - c[k]) * strength);
        let (before, out) = (srgb_to_oklab(balanced), graded(c));
        let after = srgb_to_oklab(out);
        let chroma = before[1].hypot(before[2]);
        if chroma > 0.025 && skin_likeness(before) > 0.5 {
            let turn = (before[1] * after[2] - before[2] * after[1]).atan2(before[1] * after[1] + before[2] * after[2]);
            skin.push((f64::from(turn.to_degrees().abs()), weight));
        }
        if chroma < 0.015 {
            // Shades of grey a little to either side are no tint; what all of them share is.
            let ([l, a, b], [_, a0, b0]) = (lab(out), lab(balanced));
            let level = &mut greys[((before[0] * 4.0) as usize).min(3)];
            for (sum, v) in level.iter_mut().zip([1.0, l, a, b, a0, b0]) {
                *sum += weight * v;
            }
        }
        for (swatch, of) in &guarded {
            let own = lab(c);
            if delta_e_2000(own, *of) <= swatch.tolerance {
                brand.push((delta_e_2000(own, lab(out)) / swatch.tolerance, weight));
            }
        }
    }
    let worst = |mut values: Vec<(f64, f64)>| {
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = values.iter().map(|(_, w)| w).sum();
        let mut done = 0.0;
        values
            .iter()
            .find(|(_, w)| {
                done += w;
                done >= MOST * total
            })
            .map_or(0.0, |(v, _)| *v)
    };
    let (skin, brand) = (worst(skin), worst(brand));
    // A handful of pixels makes no tint.
    let grey = greys
        .iter()
        .filter(|g| g[0] > 0.005)
        .fold(0f64, |most, [w, l, a, b, a0, b0]| most.max(delta_e_2000([l / w, a / w, b / w], [l / w, a0 / w, b0 / w])));
    if skin > f64::from(protect.skin_degrees) {
        return Some(format!("skin would turn by {skin:.1} degrees"));
    }
    if grey > protect.neutral_de {
        return Some(format!("greys would be tinted by {grey:.1} dE2000"));
    }
    (brand > 1.0).then(|| "a protected colour would leave its tolerance".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(long_edge: Option<usize>, cover: Option<(usize, usize)>, focus: [f64; 2]) -> Export {
        Export { name: "x".into(), long_edge, cover, focus, format: None, quality: None }
    }

    #[test]
    fn sizes_and_cuts() {
        let of = |e: &Export, w, h| {
            let (c, s) = fit(e, w, h);
            ([c.x, c.y, c.width, c.height].map(|v| v.round() as usize), s)
        };
        assert_eq!(of(&export(Some(500), None, [0.5; 2]), 1000, 400), ([0, 0, 1000, 400], (500, 200)));
        assert_eq!(of(&export(Some(5000), None, [0.5; 2]), 1000, 400), ([0, 0, 1000, 400], (1000, 400)));
        assert_eq!(of(&export(None, Some((200, 200)), [0.5; 2]), 1000, 400), ([300, 0, 400, 400], (200, 200)));
        assert_eq!(of(&export(None, Some((200, 200)), [0.9, 0.5]), 1000, 400), ([600, 0, 400, 400], (200, 200)));
        assert_eq!(of(&export(None, Some((800, 800)), [0.0; 2]), 1000, 400), ([0, 0, 400, 400], (400, 400)));
    }
}
